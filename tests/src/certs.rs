//! Certificates for TLS tests, made anew in each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A directory with an authority, a server certificate for `localhost` and 127.0.0.1, and two client
/// certificates, of which `revoked` stands in `crl.pem`.
pub struct Certs {
    /// where the PEM files lie
    pub dir: PathBuf,
}

impl Certs {
    /// Makes them in `dir`: `cacert.pem`, `cert.pem`, `key.pem`, `client-cert.pem`, `client-key.pem`,
    /// `revoked-cert.pem`, `revoked-key.pem`, `crl.pem`.
    pub fn make(dir: &Path) -> Certs {
        fs::create_dir_all(dir).unwrap();
        let write = |name: &str, pem: String| fs::write(dir.join(name), pem).unwrap();

        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name
            .push(DnType::CommonName, "emqttd test authority");
        let ca_key = KeyPair::generate().unwrap();
        write("cacert.pem", ca.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca, ca_key);

        let leaf = |name: &str, file: &str, serial: u64, usage: ExtendedKeyUsagePurpose| {
            let mut params =
                CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Tests");
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.serial_number = Some(SerialNumber::from(serial));
            let key = KeyPair::generate().unwrap();
            write(
                &format!("{file}cert.pem"),
                params.signed_by(&key, &issuer).unwrap().pem(),
            );
            write(&format!("{file}key.pem"), key.serialize_pem());
        };
        leaf("localhost", "", 1, ExtendedKeyUsagePurpose::ServerAuth);
        leaf("alice", "client-", 2, ExtendedKeyUsagePurpose::ClientAuth);
        leaf(
            "mallory",
            "revoked-",
            3,
            ExtendedKeyUsagePurpose::ClientAuth,
        );

        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(3u64),
                revocation_time: date_time_ymd(2020, 1, 2),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        write("crl.pem", crl.signed_by(&issuer).unwrap().pem().unwrap());
        Certs {
            dir: dir.to_path_buf(),
        }
    }

    /// A TLS client that trusts the authority, speaks only `versions` (all when empty), and shows the
    /// certificate `<client>-cert.pem`, if any.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        client: Option<&str>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.dir.join("cacert.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = if versions.is_empty() {
            rustls::ALL_VERSIONS
        } else {
            versions
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let cert = CertificateDer::from_pem_file(self.dir.join(format!("{name}-cert.pem")))
                    .unwrap();
                let key =
                    PrivateKeyDer::from_pem_file(self.dir.join(format!("{name}-key.pem"))).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        })
    }
}
