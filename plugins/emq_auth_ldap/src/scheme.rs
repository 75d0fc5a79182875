//! Passwords as directories keep them in `userPassword` (RFC 2307): `{SSHA}` and base64.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

/// The longest name of a scheme; `{` and more before `}` is no scheme.
const LONGEST: usize = 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a stored password says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// Nothing: `password_hash` tells how it was made.
    Bare(&'a [u8]),
    /// `{SSHA}...`
    Scheme { name: &'a str, rest: &'a [u8] },
}

impl<'a> Stored<'a> {
    /// Takes it apart.
    pub fn of(value: &'a [u8]) -> Stored<'a> {
        Stored::scheme(value).unwrap_or(Stored::Bare(value))
    }

    fn scheme(value: &'a [u8]) -> Option<Stored<'a>> {
        let inner = value.strip_prefix(b"{")?;
        let end = inner.iter().position(|byte| *byte == b'}')?;
        let (name, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./".contains(byte);
        if name.is_empty() || name.len() > LONGEST || !name.iter().all(good) {
            return None;
        }
        let name = std::str::from_utf8(name).ok()?;
        Some(Stored::Scheme { name, rest })
    }
}

/// Whether `password` is the one; `None` = nobody here knows that scheme.
pub fn verify(name: &str, rest: &[u8], password: &[u8]) -> Option<bool> {
    Some(match name.to_ascii_uppercase().as_str() {
        "SHA" => plain::<Sha1>(rest, password),
        "SSHA" => salted::<Sha1>(rest, password),
        "MD5" => plain::<Md5>(rest, password),
        "SMD5" => salted::<Md5>(rest, password),
        "SHA256" => plain::<Sha256>(rest, password),
        "SSHA256" => salted::<Sha256>(rest, password),
        "SHA384" => plain::<Sha384>(rest, password),
        "SSHA384" => salted::<Sha384>(rest, password),
        "SHA512" => plain::<Sha512>(rest, password),
        "SSHA512" => salted::<Sha512>(rest, password),
        "CLEARTEXT" => Sha256::digest(rest).ct_eq(&Sha256::digest(password)).into(),
        _ => return None,
    })
}

fn plain<D: Digest>(rest: &[u8], password: &[u8]) -> bool {
    let stored = BASE64.decode(rest).unwrap_or_default();
    stored.ct_eq(&D::digest(password)).into()
}

/// The salt stands behind the hash, and went in behind the password.
fn salted<D: Digest>(rest: &[u8], password: &[u8]) -> bool {
    let stored = BASE64.decode(rest).unwrap_or_default();
    let Some((hash, salt)) = stored.split_at_checked(<D as Digest>::output_size()) else {
        return false;
    };
    let made = D::new().chain_update(password).chain_update(salt);
    hash.ct_eq(&made.finalize()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All of `secret`.
    const VECTORS: &[&str] = &[
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ",
        "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{CLEARTEXT}secret",
    ];

    fn check(stored: &str, password: &str) -> Option<bool> {
        match Stored::of(stored.as_bytes()) {
            Stored::Scheme { name, rest } => verify(name, rest, password.as_bytes()),
            Stored::Bare(_) => panic!("{stored}"),
        }
    }

    #[test]
    fn vectors() {
        for stored in VECTORS {
            assert_eq!(check(stored, "secret"), Some(true), "{stored}");
            assert_eq!(check(stored, "Secret"), Some(false), "{stored}");
            assert_eq!(check(stored, ""), Some(false), "{stored}");
            let head = stored.split_inclusive('}').next().unwrap();
            for broken in [head.to_string(), format!("{head}!"), format!("{head}AAAA")] {
                assert_eq!(check(&broken, "secret"), Some(false), "{broken}");
                assert_eq!(
                    check(&broken, ""),
                    Some(broken == "{CLEARTEXT}"),
                    "{broken}"
                );
            }
        }
    }

    #[test]
    fn salted_ones() {
        fn make<D: Digest>(password: &str, salt: &[u8]) -> String {
            let hash = D::new()
                .chain_update(password)
                .chain_update(salt)
                .finalize();
            BASE64.encode([hash.as_slice(), salt].concat())
        }
        for salt in [&b"salt"[..], &[0xff, 0], &[7; 16], b""] {
            for stored in [
                format!("{{SSHA}}{}", make::<Sha1>("p", salt)),
                format!("{{SMD5}}{}", make::<Md5>("p", salt)),
                format!("{{SSHA256}}{}", make::<Sha256>("p", salt)),
                format!("{{SSHA384}}{}", make::<Sha384>("p", salt)),
                format!("{{ssha512}}{}", make::<Sha512>("p", salt)),
            ] {
                assert_eq!(check(&stored, "p"), Some(true), "{stored}");
                assert_eq!(check(&stored, "q"), Some(false), "{stored}");
            }
        }
    }

    #[test]
    fn what_is_a_scheme() {
        for bare in [
            "",
            "{",
            "{}x",
            "{a b}x",
            "x{SHA}",
            "{SHA",
            "{aaaaaaaaaaaaaaaaaaaaa}",
        ] {
            assert_eq!(Stored::of(bare.as_bytes()), Stored::Bare(bare.as_bytes()));
        }
        assert_eq!(check("{CRYPT}$6$x$y", "x"), None);
        assert_eq!(check("{PBKDF2-SHA256}1", "x"), None);
    }
}
