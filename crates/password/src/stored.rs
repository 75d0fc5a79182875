//! How the broker keeps a password.

use crate::memory::with_blocks;
use crate::scram::Keys;
use crate::{Form, hex, unhex};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use std::fmt;
use subtle::ConstantTimeEq;

/// Bytes of salt and of hash.
const SALT: usize = 16;
const HASH: usize = 32;

/// What a check of a password costs the broker, and whoever has stolen the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// KiB
    memory: u32,
    /// times it is gone through
    passes: u32,
}

impl Cost {
    /// What OWASP asks for: 19 MiB, 2 passes; some 20 to 50 ms.
    pub const STANDARD: Cost = Cost {
        memory: 19_456,
        passes: 2,
    };
    /// 4 MiB, 1 pass; some 3 ms. The least there is: for passwords that machines have made up.
    pub const LIGHT: Cost = Cost {
        memory: 4_096,
        passes: 1,
    };

    fn params(self) -> Result<Params, HashError> {
        Params::new(self.memory, self.passes, 1, Some(HASH)).map_err(HashError::of)
    }
}

/// A password could not be hashed: the system gives no random numbers, or the password is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashError(String);

impl HashError {
    fn of(error: impl fmt::Display) -> HashError {
        HashError(format!("the password cannot be hashed: {error}"))
    }
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HashError {}

/// A password as it is kept: Argon2id, and what SCRAM needs.
///
/// It is written as lines of text:
///
/// ```text
/// $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
/// inner salt,md5 6b2c0e41
/// SCRAM-SHA-256$15000:<salt>$<StoredKey>:<ServerKey>
/// ```
///
/// The second is there when only a hash of the password was known: what Argon2id was made from is that hash.
/// The third is the form of RFC 5803.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// in the form of the password hashing competition
    argon2: String,
    /// what is done to a password before: form and salt
    inner: Option<(Form, Vec<u8>)>,
    scram: Option<Keys>,
}

impl fmt::Debug for Stored {
    /// Not the hashes: they are nearly as good as the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.as_ref().map(|(form, _)| form.to_string());
        f.debug_struct("Stored")
            .field("inner", &inner)
            .field("scram", &self.scram.is_some())
            .finish_non_exhaustive()
    }
}

impl Stored {
    /// Of a password. Takes as long as `cost` says; keys for SCRAM, too, when iterations are given.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(
        password: &[u8],
        cost: Cost,
        scram_iterations: Option<u32>,
    ) -> Result<Stored, HashError> {
        let scram = scram_iterations
            .map(|iterations| Keys::new(password, iterations))
            .transpose()
            .map_err(HashError::of)?;
        Ok(Stored {
            argon2: hash(password, cost)?,
            inner: None,
            scram,
        })
    }

    /// Of the hash of a password that nobody here knows.
    pub(crate) fn over(
        form: Form,
        salt: &[u8],
        hashed: &[u8],
        cost: Cost,
    ) -> Result<Stored, HashError> {
        Ok(Stored {
            argon2: hash(hashed, cost)?,
            inner: Some((form, salt.to_vec())),
            scram: None,
        })
    }

    /// Whether it is the password. Takes as long as it was made to take: not for an event loop.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.inner {
            None => self.check(password),
            Some((form, salt)) => form
                .make(password, salt)
                .is_some_and(|made| self.check(&made)),
        }
    }

    /// Whether it was made from this hash of a password.
    pub(crate) fn keeps_hash(&self, form: Form, salt: &[u8], hashed: &[u8]) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|(was, its)| *was == form && its == salt) && self.check(hashed)
    }

    /// Whether Argon2id was made from that.
    fn check(&self, secret: &[u8]) -> bool {
        let check = || {
            let kept = PasswordHash::new(&self.argon2).ok()?;
            let params = Params::try_from(&kept).ok()?;
            let hash = kept.hash?;
            let mut made = vec![0; hash.as_ref().len()];
            argon2id(params, Version::V0x13, secret, &kept.salt?, &mut made).ok()?;
            Some(made.ct_eq(hash.as_ref()).into())
        };
        check().unwrap_or(false)
    }

    /// Keys for SCRAM, where the password was known when it was stored.
    pub fn scram(&self) -> Option<&Keys> {
        self.scram.as_ref()
    }

    /// Whether it was made with that cost and these iterations.
    pub fn is_of(&self, cost: Cost, scram_iterations: Option<u32>) -> bool {
        let parameters = format!("$m={},t={},p=1$", cost.memory, cost.passes);
        let iterations = self.scram.as_ref().map(Keys::iterations);
        // What had only a hash to go by has no keys whatever is wanted.
        self.argon2.contains(&parameters)
            && (iterations == scram_iterations || self.inner.is_some())
    }

    /// As text.
    pub fn encode(&self) -> String {
        let mut text = self.argon2.clone();
        if let Some((form, salt)) = &self.inner {
            text += &format!("\ninner {form} {}", hex(salt));
        }
        if let Some(keys) = &self.scram {
            text += &format!("\n{keys}");
        }
        text
    }

    /// From text; `None` = it is none that this version knows.
    pub fn decode(text: &str) -> Option<Stored> {
        let mut lines = text.lines();
        let argon2 = lines.next()?.to_string();
        let params = PasswordHash::new(&argon2)
            .ok()
            .filter(|hash| hash.algorithm.as_str() == "argon2id")?;
        Params::try_from(&params).ok()?;
        let mut stored = Stored {
            argon2,
            inner: None,
            scram: None,
        };
        for line in lines {
            if let Some(inner) = line.strip_prefix("inner ") {
                let (form, salt) = inner.split_once(' ')?;
                stored.inner = Some((form.parse().ok()?, unhex(salt)?));
            } else {
                stored.scram = Some(line.parse().ok()?);
            }
        }
        Some(stored)
    }
}

/// With a random salt, in the form of the password hashing competition.
fn hash(secret: &[u8], cost: Cost) -> Result<String, HashError> {
    let params = cost.params()?;
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(HashError::of)?;
    let mut hash = [0; HASH];
    argon2id(params.clone(), Version::V0x13, secret, &salt, &mut hash)?;
    let whole = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(HashError::of)?,
        salt: Some(Salt::new(&salt).map_err(HashError::of)?),
        hash: Some(Output::new(&hash).map_err(HashError::of)?),
    };
    Ok(whole.to_string())
}

pub(crate) fn argon2id(
    params: Params,
    version: Version,
    secret: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), HashError> {
    let blocks = params.block_count();
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
    with_blocks(blocks, |memory| {
        argon2.hash_password_into_with_memory(secret, salt, out, memory)
    })
    .map_err(HashError::of)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn round_trip() {
        for (password, scram) in [
            (&b"secret"[..], None),
            (b"\xff\x00", Some(4096)),
            (b"", None),
        ] {
            let stored = Stored::new(password, Cost::LIGHT, scram).unwrap();
            let read = Stored::decode(&stored.encode()).unwrap();
            assert_eq!(read, stored);
            assert!(read.verify(password));
            assert!(!read.verify(b"other"));
            assert_eq!(read.scram().map(Keys::iterations), scram);
            assert!(read.is_of(Cost::LIGHT, scram));
            assert!(!read.is_of(Cost::STANDARD, scram));
            assert!(!read.is_of(Cost::LIGHT, Some(5000)));
        }
    }

    #[test]
    fn standard_is_what_owasp_asks_for() {
        let stored = Stored::new(b"secret", Cost::STANDARD, None).unwrap();
        let text = stored.encode();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        assert!(stored.verify(b"secret"));
        assert_ne!(
            text,
            Stored::new(b"secret", Cost::STANDARD, None)
                .unwrap()
                .encode()
        );
    }

    #[test]
    fn over_a_hash() {
        let form: Form = "salt,md5".parse().unwrap();
        let hashed = form.make(b"public", b"\x01\x02\x03\x04").unwrap();
        let stored = Stored::over(form, &[1, 2, 3, 4], &hashed, Cost::LIGHT).unwrap();
        let read = Stored::decode(&stored.encode()).unwrap();
        assert_eq!(read, stored);
        assert!(read.verify(b"public"));
        assert!(!read.verify(b"private"));
        assert!(!read.verify(&hashed), "the hash is not the password");
        assert!(read.scram().is_none());
    }

    #[test]
    fn made_elsewhere() {
        // From the tests of the reference implementation.
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let stored = Stored::decode(text).unwrap();
        assert!(stored.verify(b"password"));
        assert!(!stored.verify(b"passwore"));
    }

    #[test]
    fn what_is_none() {
        let good = Stored::new(b"x", Cost::LIGHT, Some(4096)).unwrap().encode();
        for text in [
            "",
            "public",
            "4c9184f37cff01bcdc32dc486ec36961",
            "$argon2id$",
            "$argon2i$v=19$m=4096,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
            "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
            &format!("{good}\nmore"),
            &format!("{good}\ninner md5"),
            &format!("{good}\ninner md5 abc"),
            &format!("{good}\ninner rot13 00"),
        ] {
            assert_eq!(Stored::decode(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_hash() {
        let stored = Stored::new(b"secret", Cost::LIGHT, Some(4096)).unwrap();
        let shown = format!("{stored:?}");
        for part in stored.argon2.split('$').filter(|part| part.len() > 20) {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
