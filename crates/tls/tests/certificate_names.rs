//! Usernames out of client certificates.
#![allow(clippy::unwrap_used)]

use emqttd_config::CertField;
use emqttd_tls::cert_username;
use rcgen::string::{BmpString, TeletexString};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
use rustls::pki_types::CertificateDer;

fn cert(parts: &[(DnType, DnValue)]) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in parts {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .clone()
}

fn text(value: &str) -> DnValue {
    DnValue::Utf8String(value.to_owned())
}

fn cn(value: &str) -> Result<String, String> {
    cert_username(&cert(&[(DnType::CommonName, text(value))]), CertField::Cn)
}

fn dn(parts: &[(DnType, DnValue)]) -> String {
    cert_username(&cert(parts), CertField::Dn).unwrap()
}

#[test]
fn common_name() {
    assert_eq!(cn("device 7").unwrap(), "device 7");
    assert_eq!(cn("Gerät, 温度").unwrap(), "Gerät, 温度");
    let bmp = DnValue::BmpString(BmpString::try_from("Zähler").unwrap());
    let cert_of = |value| cert(&[(DnType::CommonName, value)]);
    assert_eq!(
        cert_username(&cert_of(bmp), CertField::Cn).unwrap(),
        "Zähler"
    );
    let teletex = DnValue::TeletexString(TeletexString::try_from("old").unwrap());
    assert_eq!(
        cert_username(&cert_of(teletex), CertField::Cn).unwrap(),
        "old"
    );
}

#[test]
fn several_common_names_are_joined() {
    // Two types of the same OID: rcgen keeps one value for each type.
    let parts = [
        (DnType::CommonName, text("a")),
        (DnType::CustomDnType(vec![2, 5, 4, 3]), text("b")),
    ];
    assert_eq!(cert_username(&cert(&parts), CertField::Cn).unwrap(), "a,b");
    assert_eq!(dn(&parts), "CN=b,CN=a");
}

#[test]
fn certificates_without_a_usable_name_are_refused() {
    let nameless = cert(&[(DnType::OrganizationName, text("EMQ"))]);
    let error = cert_username(&nameless, CertField::Cn).unwrap_err();
    assert_eq!(error, "the client certificate has no common name");
    assert_eq!(cert_username(&nameless, CertField::Dn).unwrap(), "O=EMQ");
    assert!(cert_username(&cert(&[]), CertField::Dn).is_err());
    for name in ["", "a\0b", "a\nb"] {
        assert!(cn(name).is_err(), "{name:?}");
    }
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert!(cert_username(&garbage, CertField::Cn).is_err());
}

#[test]
fn distinguished_name_of_rfc_4514() {
    let subject = [
        (DnType::CountryName, text("CN")),
        (DnType::StateOrProvinceName, text("Zhejiang")),
        (DnType::LocalityName, text("Hangzhou")),
        (DnType::OrganizationName, text("EMQ")),
        (DnType::OrganizationalUnitName, text("R&D")),
        (DnType::CommonName, text("device 7")),
    ];
    assert_eq!(
        dn(&subject),
        "CN=device 7,OU=R&D,O=EMQ,L=Hangzhou,ST=Zhejiang,C=CN"
    );
    let by_oid = |oid: &[u64]| dn(&[(DnType::CustomDnType(oid.to_vec()), text("x"))]);
    assert_eq!(by_oid(&[1, 2, 840, 113549, 1, 9, 1]), "EMAILADDRESS=x");
    assert_eq!(by_oid(&[0, 9, 2342, 19200300, 100, 1, 25]), "DC=x");
    // A type nobody knows: its number, and the DER of the value.
    assert_eq!(by_oid(&[1, 2, 3, 4]), "1.2.3.4=#0c0178");
}

#[test]
fn what_rfc_4514_escapes() {
    for (value, escaped) in [
        ("James \"Jim\" Smith, III", "James \\\"Jim\\\" Smith\\, III"),
        ("#1", "\\#1"),
        ("1#", "1#"),
        (" a b ", "\\ a b\\ "),
        (" ", "\\ "),
        ("a+b;c<d>e\\f=g", "a\\+b\\;c\\<d\\>e\\\\f=g"),
    ] {
        assert_eq!(
            dn(&[(DnType::CommonName, text(value))]),
            format!("CN={escaped}")
        );
    }
}
