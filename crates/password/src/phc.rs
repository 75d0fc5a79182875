//! Hashes that say themselves how they were made, in the form of the password hashing competition:
//!
//! ```text
//! $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//! $scrypt$ln=14,r=8,p=1$<salt>$<hash>
//! ```
//!
//! They come from somebody else's table, so what they ask for is bounded before anything is done.

use crate::Unverifiable;
use crate::stored::argon2id;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Params, Version};
use std::fmt;

/// Memory of one check, bytes: what the scrypt of OWASP takes, and twice the Argon2id of RFC 9106 (for hosts with
/// little memory), PHP and Python. As many checks run at a time as there are cores.
const MAX_MEMORY: u64 = 128 << 20;

/// Memory gone through in one check, bytes: about a second.
const MAX_WORK: u64 = 1 << 30;

/// Characters of the longest text with the longest salt and hash.
const MAX_LEN: usize = 512;

/// The functions known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phc {
    /// `argon2id`
    Argon2id,
    /// `scrypt`
    Scrypt,
}

impl fmt::Display for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phc::Argon2id => "argon2id",
            Phc::Scrypt => "scrypt",
        })
    }
}

/// How one hash was made.
struct Recipe<'a> {
    /// the text before the hash, with the last `$`
    front: &'a str,
    salt: Salt,
    hash: Output,
    work: Work,
}

enum Work {
    Argon2id(Params, Version),
    Scrypt(scrypt::Params),
}

impl Phc {
    /// Whether it could be verified.
    pub(crate) fn check(self, text: &[u8]) -> Result<(), Unverifiable> {
        self.read(text).map(drop)
    }

    /// The text that `password` gives when hashed as that one was: what hash stands in it does not matter, but for its
    /// length.
    pub(crate) fn make(self, password: &[u8], like: &[u8]) -> Result<Vec<u8>, Unverifiable> {
        let recipe = self.read(like)?;
        let mut made = vec![0; recipe.hash.len()];
        let done = match recipe.work {
            Work::Argon2id(params, version) => {
                argon2id(params, version, password, &recipe.salt, &mut made).is_ok()
            }
            Work::Scrypt(params) => {
                scrypt::scrypt(password, &recipe.salt, &params, &mut made).is_ok()
            }
        };
        let made = Output::new(&made).ok().filter(|_| done);
        let made = made.ok_or(Unverifiable::Malformed)?;
        Ok(format!("{}{made}", recipe.front).into_bytes())
    }

    /// The text without its hash, to keep as one keeps a salt: zeros stand in the hash's place, for its length.
    pub(crate) fn frame(self, text: &[u8]) -> Option<Vec<u8>> {
        let recipe = self.read(text).ok()?;
        let zeros = Output::new(&vec![0; recipe.hash.len()]).ok()?;
        Some(format!("{}{zeros}", recipe.front).into_bytes())
    }

    fn read(self, text: &[u8]) -> Result<Recipe<'_>, Unverifiable> {
        let recipe = || {
            let text = std::str::from_utf8(text).ok()?;
            let parsed = PasswordHash::new(text)
                .ok()
                .filter(|_| text.len() <= MAX_LEN)?;
            let front = text.get(..=text.rfind('$')?)?;
            (parsed.algorithm.as_str() == self.to_string()).then_some((front, parsed))
        };
        let (front, parsed) = recipe().ok_or(Unverifiable::Malformed)?;
        let work = match self {
            Phc::Argon2id => argon2id_of(&parsed),
            Phc::Scrypt => scrypt_of(&parsed),
        }?;
        let (Some(salt), Some(hash)) = (parsed.salt, parsed.hash) else {
            return Err(Unverifiable::Malformed);
        };
        Ok(Recipe {
            front,
            salt,
            hash,
            work,
        })
    }
}

fn argon2id_of(parsed: &PasswordHash) -> Result<Work, Unverifiable> {
    let version = match parsed.version {
        // Texts without it are older than it.
        None => Ok(Version::V0x10),
        Some(version) => Version::try_from(version),
    };
    let params = Params::try_from(parsed).map_err(|_| Unverifiable::Malformed)?;
    let memory = u64::from(params.m_cost()) << 10;
    bounded(memory, memory.saturating_mul(params.t_cost().into()))?;
    Ok(Work::Argon2id(
        params,
        version.map_err(|_| Unverifiable::Malformed)?,
    ))
}

fn scrypt_of(parsed: &PasswordHash) -> Result<Work, Unverifiable> {
    let number = |name: &str| {
        let number = parsed.params.get_decimal(name).filter(|n| *n > 0);
        number.ok_or(Unverifiable::Malformed)
    };
    let (log_n, r, p) = (number("ln")?, number("r")?, number("p")?);
    let block = 128 * u64::from(r);
    let table = block.saturating_mul(1_u64.checked_shl(log_n).unwrap_or(u64::MAX));
    // One block for each `p` beside the table.
    let memory = table.saturating_add(block.saturating_mul(p.into()));
    bounded(memory, table.saturating_mul(p.into()))?;
    // What passed the bounds fits.
    let log_n = u8::try_from(log_n).map_err(|_| Unverifiable::TooCostly)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| Unverifiable::Malformed)?;
    Ok(Work::Scrypt(params))
}

fn bounded(memory: u64, work: u64) -> Result<(), Unverifiable> {
    // The blocks of scrypt's `p` come on top of a table of just the bound.
    match memory <= MAX_MEMORY + (MAX_MEMORY >> 4) && work <= MAX_WORK {
        true => Ok(()),
        false => Err(Unverifiable::TooCostly),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Form;
    use std::time::Instant;

    fn verify(form: &str, password: &str, stored: &str) -> Result<bool, Unverifiable> {
        let form: Form = form.parse().unwrap();
        assert!(form.is_slow());
        assert!(!form.wants_salt());
        form.verify(password.as_bytes(), stored.as_bytes(), None)
    }

    /// Made by argon2-cffi (the reference implementation), hashlib and passlib of Python.
    const VECTORS: &[(&str, &str, &str)] = &[
        (
            "argon2id",
            "public",
            "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
        ),
        (
            "argon2id",
            "public",
            "$argon2id$v=19$m=64,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$/Ad2HgGJoymc6XArwn08NA",
        ),
        (
            "argon2id",
            "pässword",
            "$argon2id$v=19$m=256,t=1,p=2$c2FsdHNhbHRzYWx0$tplT1+TGH2euP5Qz0OUpOL3p1EgMaMv56wKUsLP31c9kYvtKyG8MfX4QYjOKMY2FYkutU+C0w6FROiCPUiFUZA",
        ),
        (
            "argon2id",
            "public",
            "$argon2id$v=16$m=64,t=2,p=1$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
        ),
        // as texts of the older version often are
        (
            "argon2id",
            "public",
            "$argon2id$m=64,t=2,p=1$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
        ),
        (
            "scrypt",
            "public",
            "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
        ),
        (
            "scrypt",
            "pässword",
            "$scrypt$ln=4,r=1,p=3$MDEyMzQ1Njc4OWFiY2RlZg$BvahWeUuNX5FqXR4eMnKiHIVHDtXzm2xPYGJAs9keVcp48ChAU8EBSWYiflg/oIuqy5a/eLYBxu00c90Djd8ig",
        ),
        (
            "scrypt",
            "public",
            "$scrypt$ln=14,r=8,p=1$TmFDbCB3aXRoIHNhbHQhIQ$YW0HCkdgJfpRRl+f4KltjsZuSeA4dtWtQOuDM/Rhrl4",
        ),
        // 64 MiB, from passlib's manual
        (
            "scrypt",
            "password",
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        ),
    ];

    #[test]
    fn vectors() {
        for (form, password, stored) in VECTORS {
            assert_eq!(verify(form, password, stored), Ok(true), "{stored}");
            assert_eq!(verify(form, "other", stored), Ok(false), "{stored}");
            assert_eq!(verify(form, "", stored), Ok(false), "{stored}");
            // Base64 means its letters.
            let at = stored.rfind('$').unwrap();
            let (front, hash) = stored.split_at(at);
            let other = format!("{front}{}", hash.to_ascii_lowercase());
            assert_ne!(verify(form, password, &other), Ok(true), "{other}");
        }
    }

    #[test]
    fn what_is_none() {
        for form in ["argon2id", "scrypt"] {
            for stored in [
                "",
                "public",
                "$",
                "$argon2id",
                "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ",
                "$argon2id$v=18$m=64,t=2,p=1$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
                "$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$ESct/Vx6Ge5GjsUN3SnLnPJ68sZjoZntz+RY7de3Vj0",
                "$argon2id$v=19$m=1,t=2,p=1$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
                "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
                "$argon2id$v=19$m=64,t=2,p=0$c2FsdHNhbHQ$qjQ9xL+DbitlP5zd3O5qqEMYosWBM68AxQ2GGvqWhbQ",
                "$scrypt$ln=10,r=8$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
                "$scrypt$ln=0,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
                "$scrypt$ln=10,r=8,p=0$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
                "$scrypt$ln=10,r=-8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
                "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$short",
                "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
            ] {
                let answer = verify(form, "public", stored);
                assert_eq!(answer, Err(Unverifiable::Malformed), "{form} {stored}");
            }
        }
        // Each is none of the other's.
        for (form, password, stored) in VECTORS {
            let other = if *form == "scrypt" {
                "argon2id"
            } else {
                "scrypt"
            };
            let answer = verify(other, password, stored);
            assert_eq!(answer, Err(Unverifiable::Malformed), "{stored}");
        }
        let binary = Form::Phc(Phc::Scrypt).verify(b"x", b"$scrypt$\xff", None);
        assert_eq!(binary, Err(Unverifiable::Malformed));
    }

    #[test]
    fn what_would_take_too_long_is_not_begun() {
        let before = Instant::now();
        let argon2id =
            |cost: &str| format!("$argon2id$v=19${cost}$c2FsdHNhbHQ$/Ad2HgGJoymc6XArwn08NA");
        let scrypt = |cost: &str| format!("$scrypt${cost}$c2FsdHNhbHQ$/Ad2HgGJoymc6XArwn08NA");
        for cost in [
            "m=262144,t=1,p=1",
            "m=4294967295,t=1,p=1",
            "m=65536,t=17,p=1",
            "m=64,t=4294967295,p=1",
        ] {
            let answer = verify("argon2id", "x", &argon2id(cost));
            assert_eq!(answer, Err(Unverifiable::TooCostly), "{cost}");
        }
        for cost in [
            "ln=18,r=8,p=1",
            "ln=63,r=8,p=1",
            "ln=64,r=8,p=1",
            "ln=4294967295,r=1,p=1",
            "ln=1,r=4294967295,p=1",
            "ln=1,r=4294967295,p=4294967295",
            "ln=1,r=1,p=4294967295",
            "ln=17,r=8,p=9",
        ] {
            let answer = verify("scrypt", "x", &scrypt(cost));
            assert_eq!(answer, Err(Unverifiable::TooCostly), "{cost}");
        }
        assert!(before.elapsed().as_millis() < 500, "something was begun");
        // What is in common use is within the bounds.
        for cost in ["m=65536,t=3,p=4", "m=65536,t=4,p=1", "m=47104,t=1,p=1"] {
            assert_eq!(Phc::Argon2id.check(argon2id(cost).as_bytes()), Ok(()));
        }
        for cost in ["ln=17,r=8,p=1", "ln=16,r=8,p=2", "ln=14,r=8,p=5"] {
            assert_eq!(Phc::Scrypt.check(scrypt(cost).as_bytes()), Ok(()));
        }
    }

    #[test]
    fn a_frame_makes_the_same_and_knows_nothing() {
        for (form, password, stored) in &VECTORS[..7] {
            let Ok(Form::Phc(kind)) = form.parse() else {
                panic!("{form}");
            };
            let frame = kind.frame(stored.as_bytes()).unwrap();
            let hash = stored.rsplit('$').next().unwrap();
            assert!(!String::from_utf8_lossy(&frame).contains(hash));
            let made = kind.make(password.as_bytes(), &frame).unwrap();
            assert_eq!(made, stored.as_bytes());
        }
    }
}
