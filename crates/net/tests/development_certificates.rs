//! The certificates for development.
#![cfg(feature = "selfsigned")]
#![allow(clippy::unwrap_used)]

mod pki;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use emqttd_config::{CertField, Tls};
use emqttd_net::selfsigned::write_missing;
use emqttd_net::tls::{TlsContext, cert_username};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

#[test]
fn development_certificates() {
    let dir = pki::Dir::new();
    let certs = dir.path("etc/certs");
    assert!(write_missing(&certs).unwrap());
    for name in ["key.pem", "client-key.pem"] {
        assert_eq!(
            fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let settings = Tls {
        keyfile: Some(certs.join("key.pem")),
        certfile: Some(certs.join("cert.pem")),
        cacertfile: Some(certs.join("cacert.pem")),
        verify_peer: true,
        tls12: true,
        tls13: true,
        ..Tls::default()
    };
    let (_, warnings) = TlsContext::from_settings(&settings).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let client = CertificateDer::from_pem_file(certs.join("client-cert.pem")).unwrap();
    assert_eq!(cert_username(&client, CertField::Cn).unwrap(), "client");
    let server = CertificateDer::from_pem_file(certs.join("cert.pem")).unwrap();
    assert_eq!(cert_username(&server, CertField::Cn).unwrap(), "localhost");

    // One of them there: nothing is written.
    for name in ["cacert.pem", "client-key.pem", "client-cert.pem", "key.pem"] {
        fs::remove_file(certs.join(name)).unwrap();
    }
    let before = fs::read(certs.join("cert.pem")).unwrap();
    assert!(!write_missing(&certs).unwrap());
    assert_eq!(fs::read(certs.join("cert.pem")).unwrap(), before);
    assert!(!certs.join("key.pem").exists());
}
