//! Certificates for development and tests: a certificate authority, a server for `localhost`,
//! a client.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The files, with whether each is secret.
const FILES: [(&str, bool); 5] = [
    ("cacert.pem", false),
    ("client-key.pem", true),
    ("client-cert.pem", false),
    ("key.pem", true),
    ("cert.pem", false),
];

/// Writes `cacert.pem`, `cert.pem`, `key.pem`, `client-cert.pem` and `client-key.pem` into `dir`,
/// which it makes if need be; `true` when it did. As soon as one of them is there it writes
/// nothing: they belong together, and the one there may be somebody's own.
///
/// The key of the authority is not kept: nobody can issue more certificates with it.
///
/// # Errors
/// When the directory or a file cannot be written.
pub fn write_missing(dir: &Path) -> io::Result<bool> {
    if FILES.iter().any(|(name, _)| dir.join(name).exists()) {
        return Ok(false);
    }
    std::fs::create_dir_all(dir)?;
    let texts = generate().map_err(io::Error::other)?;
    for ((name, secret), text) in FILES.iter().zip(texts) {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if *secret { 0o600 } else { 0o644 })
            .open(dir.join(name))?
            .write_all(text.as_bytes())?;
    }
    Ok(true)
}

/// The texts of [`FILES`].
fn generate() -> Result<[String; 5], rcgen::Error> {
    let mut authority = params("emqttd development CA", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_cert = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let issue = |mut params: CertificateParams, usage| -> Result<[String; 2], rcgen::Error> {
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok([key.serialize_pem(), params.signed_by(&key, &issuer)?.pem()])
    };
    let server = params("localhost", &["localhost", "127.0.0.1", "::1"])?;
    let [server_key, server_cert] = issue(server, ExtendedKeyUsagePurpose::ServerAuth)?;
    let client = params("client", &[])?;
    let [client_key, client_cert] = issue(client, ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok([
        authority_cert.pem(),
        client_key,
        client_cert,
        server_key,
        server_cert,
    ])
}

fn params(common_name: &str, names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}
