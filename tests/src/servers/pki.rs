//! The certificates of the servers: made once, kept below the target directory.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::template;

/// A certificate or key file, such as `ca.crt`, of an authority that has issued
/// - `server.crt` with `server.key`, for `localhost`, the name of this machine, 127.0.0.1 and ::1,
/// - `misnamed.crt` with `misnamed.key`, of a server called `elsewhere.example`,
/// - `client.crt` with `client.key`, for the common name `mqtt`;
///
/// and of `other-ca.crt`, an authority that has issued nothing.
pub fn file(name: &str) -> PathBuf {
    // OpenLDAP's client takes `localhost` for the machine's own name.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    // What is in the directory, so that one of an earlier form is not taken for it.
    let recipe = format!("{host} server misnamed client");
    let kept = template::keep("certificates", &recipe, |dir| {
        let write = |name: &str, pem: String| fs::write(dir.join(name), pem).unwrap();
        let (pem, issuer) = authority("emqttd scratch servers");
        write("ca.crt", pem);
        write("other-ca.crt", authority("emqttd somebody else").0);
        let leaf = |file: &str, common: &str, names: &[&str], usage| {
            let names: Vec<String> = names.iter().map(|n| (*n).into()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, common);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![usage];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            write(&format!("{file}.crt"), certificate.pem());
            write(&format!("{file}.key"), key.serialize_pem());
        };
        let here = ["localhost", host, "127.0.0.1", "::1"];
        leaf(
            "server",
            "localhost",
            &here,
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        leaf(
            "misnamed",
            "elsewhere.example",
            &["elsewhere.example"],
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        leaf("client", "mqtt", &[], ExtendedKeyUsagePurpose::ClientAuth);
        for key in ["server.key", "misnamed.key", "client.key"] {
            super::process::set_mode(&dir.join(key), 0o600);
        }
    });
    kept.join(name)
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}
