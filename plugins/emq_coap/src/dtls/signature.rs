//! Signatures of the handshake (RFC 5246, 7.4.1.4.1; RFC 8446, 4.2.3).

use aws_lc_rs::signature::{self as lc, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme as Scheme;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What we take from clients. None has SHA-1.
pub(super) const SCHEMES: [Scheme; 9] = [
    Scheme::ECDSA_NISTP256_SHA256,
    Scheme::ECDSA_NISTP384_SHA384,
    Scheme::ED25519,
    Scheme::RSA_PSS_SHA256,
    Scheme::RSA_PSS_SHA384,
    Scheme::RSA_PSS_SHA512,
    Scheme::RSA_PKCS1_SHA256,
    Scheme::RSA_PKCS1_SHA384,
    Scheme::RSA_PKCS1_SHA512,
];

/// What a client takes from us. One that does not say is asked for no SHA-1, which RFC 5246 would have it mean.
pub(super) fn offered(schemes: Option<&[u16]>) -> Vec<Scheme> {
    match schemes {
        Some(schemes) => schemes.iter().copied().map(Scheme::from).collect(),
        None => vec![Scheme::ECDSA_NISTP256_SHA256, Scheme::RSA_PKCS1_SHA256],
    }
}

/// Whether the key of a certificate has signed the message. In TLS 1.2 a scheme of ECDSA names the hash alone, the
/// curve is that of the key.
pub(super) fn is_good(
    certificate: &CertificateDer<'_>,
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let algorithms: &[&dyn VerificationAlgorithm] = match scheme {
        Scheme::ECDSA_NISTP256_SHA256 => {
            &[&lc::ECDSA_P256_SHA256_ASN1, &lc::ECDSA_P384_SHA256_ASN1]
        }
        Scheme::ECDSA_NISTP384_SHA384 => {
            &[&lc::ECDSA_P384_SHA384_ASN1, &lc::ECDSA_P256_SHA384_ASN1]
        }
        Scheme::ED25519 => &[&lc::ED25519],
        Scheme::RSA_PSS_SHA256 => &[&lc::RSA_PSS_2048_8192_SHA256],
        Scheme::RSA_PSS_SHA384 => &[&lc::RSA_PSS_2048_8192_SHA384],
        Scheme::RSA_PSS_SHA512 => &[&lc::RSA_PSS_2048_8192_SHA512],
        Scheme::RSA_PKCS1_SHA256 => &[&lc::RSA_PKCS1_2048_8192_SHA256],
        Scheme::RSA_PKCS1_SHA384 => &[&lc::RSA_PKCS1_2048_8192_SHA384],
        Scheme::RSA_PKCS1_SHA512 => &[&lc::RSA_PKCS1_2048_8192_SHA512],
        _ => return false,
    };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let key = &certificate.public_key().subject_public_key.data;
    let verifies = |algorithm: &&'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(*algorithm, key)
            .verify(message, signature)
            .is_ok()
    };
    algorithms.iter().any(verifies)
}
