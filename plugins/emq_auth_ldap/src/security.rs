//! TLS for one server.

use crate::settings::{Security, Server};
use emqttd_backend::TlsSettings;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// How the library is told of a server: a URL, and TLS where it has it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The connection is made before: the host of this URL is only the name in the certificate.
    pub url: String,
    pub starttls: bool,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Route {
    /// The way to `server`.
    pub fn new(server: &Server, tls: Option<&TlsSettings>) -> Result<Route, String> {
        let starttls = server.security == Security::StartTls;
        let (Some(tls), false) = (tls, server.security == Security::None) else {
            return Ok(Route {
                url: "ldap://localhost".into(),
                starttls: false,
                tls: None,
            });
        };
        let name = tls.server_name.as_deref().unwrap_or(&server.address.host);
        ServerName::try_from(name).map_err(|_| format!("`{name}` is no name of a server"))?;
        let mut config = tls.client_config()?;
        let host = match name.parse::<Ipv6Addr>() {
            Ok(address) => {
                // No certificate has the name of the URL: it is not asked for, nor looked at.
                config.enable_sni = false;
                if tls.verify {
                    let verifier = Named::new(address, tls)?;
                    config
                        .dangerous()
                        .set_certificate_verifier(Arc::new(verifier));
                }
                "localhost"
            }
            Err(_) => name,
        };
        let scheme = if starttls { "ldap" } else { "ldaps" };
        Ok(Route {
            url: format!("{scheme}://{host}"),
            starttls,
            tls: Some(Arc::new(config)),
        })
    }
}

/// Looks for an IPv6 address in the certificate. The library takes names from URLs, in which such an address
/// stands in brackets, and finds that this is no name.
#[derive(Debug)]
struct Named {
    address: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn new(address: Ipv6Addr, tls: &TlsSettings) -> Result<Named, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(tls.roots()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        Ok(Named {
            address: ServerName::IpAddress(address.into()),
            verifier: verifier.map_err(|error| error.to_string())?,
        })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let address = &self.address;
        self.verifier
            .verify_server_cert(certificate, intermediates, address, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
