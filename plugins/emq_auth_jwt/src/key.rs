//! Keys, and what is signed with them. A key serves the algorithms of its own kind and no other: a token that
//! says `HS256` is never checked with a public key, and one that says `none` with nothing.

use crate::token::decoded;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self as sig, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};
use std::fmt;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Shorter ones are broken by who can pay for it.
const LEAST_RSA_BITS: usize = 2048;
const MOST_RSA_BITS: usize = 8192;

/// `alg` of RFC 7518 and RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// By its name, which is written in one way only; `none` is none.
    pub fn named(name: &str) -> Option<Algorithm> {
        use Algorithm::*;
        Some(match name {
            "HS256" => Hs256,
            "HS384" => Hs384,
            "HS512" => Hs512,
            "RS256" => Rs256,
            "RS384" => Rs384,
            "RS512" => Rs512,
            "PS256" => Ps256,
            "PS384" => Ps384,
            "PS512" => Ps512,
            "ES256" => Es256,
            "ES384" => Es384,
            "ES512" => Es512,
            "EdDSA" => EdDsa,
            _ => return None,
        })
    }

    /// Whether who can check can also sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

/// A curve of ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

/// A key that signatures are checked with.
#[derive(Clone)]
pub(crate) enum Key {
    /// of HMAC
    Secret(Box<[u8]>),
    /// modulus and exponent, big-endian
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// a point as SEC 1 writes it
    Ec {
        curve: Curve,
        point: Box<[u8]>,
    },
    Ed25519(Box<[u8]>),
}

/// Its kind, not the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Secret(_) => "secret",
            Key::Rsa { .. } => "RSA",
            Key::Ec { curve, .. } => match curve {
                Curve::P256 => "P-256",
                Curve::P384 => "P-384",
                Curve::P521 => "P-521",
            },
            Key::Ed25519(_) => "Ed25519",
        })
    }
}

impl Key {
    /// Whether signatures of that algorithm are made with such a key.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Key::Secret(_) => algorithm.is_symmetric(),
            Key::Rsa { .. } => {
                matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
            }
            Key::Ec { curve, .. } => matches!(
                (curve, algorithm),
                (Curve::P256, Es256) | (Curve::P384, Es384) | (Curve::P521, Es512)
            ),
            Key::Ed25519(_) => algorithm == EdDsa,
        }
    }

    /// Whether the signature is right. Never, where the algorithm is not of this key's kind.
    pub fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.serves(algorithm) {
            return false;
        }
        match self {
            Key::Secret(secret) => {
                let hash = match algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                // In constant time.
                hmac::verify(&hmac::Key::new(hash, secret), signed, signature).is_ok()
            }
            Key::Rsa { n, e } => {
                let padding = match algorithm {
                    Algorithm::Rs256 => &sig::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &sig::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &sig::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &sig::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &sig::RSA_PSS_2048_8192_SHA384,
                    _ => &sig::RSA_PSS_2048_8192_SHA512,
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(padding, signed, signature).is_ok()
            }
            Key::Ec { curve, point } => {
                let algorithm = match curve {
                    Curve::P256 => &sig::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &sig::ECDSA_P384_SHA384_FIXED,
                    Curve::P521 => &sig::ECDSA_P521_SHA512_FIXED,
                };
                let key = UnparsedPublicKey::new(algorithm, point);
                key.verify(signed, signature).is_ok()
            }
            Key::Ed25519(bytes) => {
                let key = UnparsedPublicKey::new(&sig::ED25519, bytes);
                key.verify(signed, signature).is_ok()
            }
        }
    }

    /// The first public key or certificate of a PEM file.
    ///
    /// # Errors
    /// Why there is none.
    pub fn from_pem(text: &[u8]) -> Result<Key, String> {
        for pem in Pem::iter_from_buffer(text) {
            let pem = pem.map_err(|error| format!("is no PEM file: {error}"))?;
            match &*pem.label {
                "PUBLIC KEY" => {
                    let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents)
                        .map_err(|_| "has a broken public key")?;
                    return Key::from_info(&info);
                }
                "RSA PUBLIC KEY" => {
                    let (_, key) = RSAPublicKey::from_der(&pem.contents)
                        .map_err(|_| "has a broken RSA key")?;
                    return Key::rsa(key.modulus, key.exponent);
                }
                "CERTIFICATE" => {
                    let certificate = pem.parse_x509().map_err(|_| "has a broken certificate")?;
                    return Key::from_info(certificate.public_key());
                }
                label if label.contains("PRIVATE KEY") => {
                    return Err("has a private key; only the public one belongs here".into());
                }
                _ => {}
            }
        }
        Err("has neither a public key nor a certificate in PEM form".into())
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Key, String> {
        let algorithm = &info.algorithm;
        if algorithm.algorithm == OID_SIG_ED25519 {
            return Key::ed25519(&info.subject_public_key.data);
        }
        match info.parsed() {
            Ok(PublicKey::RSA(key)) => Key::rsa(key.modulus, key.exponent),
            Ok(PublicKey::EC(point)) => {
                let curve = algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
                let curve = match curve {
                    Some(oid) if oid == OID_EC_P256 => Curve::P256,
                    Some(oid) if oid == OID_NIST_EC_P384 => Curve::P384,
                    Some(oid) if oid == OID_NIST_EC_P521 => Curve::P521,
                    _ => return Err("has a key of a curve other than P-256, P-384, P-521".into()),
                };
                Key::ec(curve, point.data())
            }
            _ => Err("has a key that is neither RSA, EC nor Ed25519".into()),
        }
    }

    /// A key of a JWKS (RFC 7517, RFC 7518 part 6).
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Key, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            let found = text(name).and_then(|value| decoded(value.as_bytes()));
            found.ok_or_else(|| format!("has no usable `{name}`"))
        };
        match (text("kty"), text("crv")) {
            (Some("oct"), _) => match bytes("k")? {
                k if k.is_empty() => Err("has an empty `k`".into()),
                k => Ok(Key::Secret(k.into())),
            },
            (Some("RSA"), _) => Key::rsa(&bytes("n")?, &bytes("e")?),
            (Some("EC"), Some(crv)) => {
                let curve = match crv {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    _ => return Err("is of a curve other than P-256, P-384, P-521".into()),
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if [x.len(), y.len()] != [curve.width(); 2] {
                    return Err("has a coordinate of another length than its curve's".into());
                }
                Key::ec(curve, &[&[4], &x[..], &y[..]].concat())
            }
            (Some("OKP"), Some("Ed25519")) => Key::ed25519(&bytes("x")?),
            _ => Err("is of a kind that is not known".into()),
        }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Key, String> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let leading = n.first().map_or(0, |first| first.leading_zeros() as usize);
        let bits = 8 * n.len() - leading;
        if !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits) {
            return Err(format!(
                "has an RSA key of {bits} bits; {LEAST_RSA_BITS} to {MOST_RSA_BITS} are possible"
            ));
        }
        Ok(Key::Rsa {
            n: n.into(),
            e: e.into(),
        })
    }

    fn ec(curve: Curve, point: &[u8]) -> Result<Key, String> {
        let lengths = [1 + curve.width(), 1 + 2 * curve.width()];
        match lengths.contains(&point.len()) {
            true => Ok(Key::Ec {
                curve,
                point: point.into(),
            }),
            false => Err("has a point that is not of its curve".into()),
        }
    }

    fn ed25519(bytes: &[u8]) -> Result<Key, String> {
        match bytes.len() {
            32 => Ok(Key::Ed25519(bytes.into())),
            _ => Err("has an Ed25519 key that is not of 32 bytes".into()),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
