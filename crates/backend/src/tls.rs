//! TLS to a server.

use emqttd_plugin_sdk::{Config, StartError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the keys say about TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// who signs the server's certificate, PEM; `None` = whom this machine trusts
    pub cacertfile: Option<PathBuf>,
    /// the broker's certificate and private key, PEM
    pub identity: Option<(PathBuf, PathBuf)>,
    /// whether the server must prove who it is
    pub verify: bool,
    /// the name in the server's certificate, where it is not the host's
    pub server_name: Option<String>,
}

impl TlsSettings {
    /// Reads `<switch>` (such as `auth.pgsql.ssl`), and what stands below `<options>` (`auth.pgsql.ssl_opts`):
    /// cacertfile, certfile, keyfile, verify, server_name. `None` = without TLS.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn read(
        config: &Config,
        switch: &str,
        options: &str,
    ) -> Result<Option<TlsSettings>, StartError> {
        match config.switch(switch) {
            Some(true) => TlsSettings::options(config, options).map(Some),
            _ => Ok(None),
        }
    }

    /// The options alone, where something else says that there is TLS (`https:`).
    ///
    /// # Errors
    /// As [`TlsSettings::read`].
    pub fn options(config: &Config, options: &str) -> Result<TlsSettings, StartError> {
        let entry = |name: &str| {
            let entry = config.entry(&format!("{options}.{name}"));
            entry.filter(|entry| !entry.value.trim().is_empty())
        };
        let path = |name: &str| entry(name).map(|entry| PathBuf::from(entry.value.trim()));
        let identity = match (path("certfile"), path("keyfile")) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                let given = entry("certfile").or(entry("keyfile"));
                let what = "is given alone: certfile and keyfile belong together";
                return Err(given.map_or_else(|| what.into(), |entry| entry.refused(what)));
            }
        };
        let tls = TlsSettings {
            cacertfile: path("cacertfile"),
            identity,
            verify: entry("verify").is_none_or(|entry| entry.value.trim() != "verify_none"),
            server_name: entry("server_name").map(|entry| entry.value.trim().into()),
        };
        // What cannot be used is said now, and not when the server is asked.
        match tls.client_config() {
            Ok(_) => Ok(tls),
            Err(why) => Err(StartError(format!("{options}: {why}"))),
        }
    }

    /// For libraries that take rustls as it is.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.verify {
            true => builder.with_root_certificates(self.roots()?),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider))),
        };
        let Some((cert, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(cert)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
        builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| format!("{}, {}: {error}", cert.display(), key.display()))
    }

    /// Whom to believe.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in self.authorities()? {
            // Each of them has been one already.
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        Ok(roots)
    }

    /// Whom to believe, as certificates; each of them can be read.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.cacertfile else {
            let mut all = rustls_native_certs::load_native_certs().certs;
            all.retain(|certificate| roots.add(certificate.clone()).is_ok());
            if all.is_empty() {
                return Err("this machine trusts nobody (no CA certificates are installed): give a cacertfile".into());
            }
            return Ok(all);
        };
        let all = certificates(path)?;
        for certificate in &all {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(all)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| error(&e))?
        .collect();
    match all.map_err(|e| error(&e))? {
        all if all.is_empty() => Err(error(&"holds no certificate")),
        all => Ok(all),
    }
}

/// `verify_none`: anyone may be the server; what is sent is still encrypted, and signed by who answers.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
