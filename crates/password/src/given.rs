//! A password as an operator has written it down.

use crate::{Cost, Form, HashError, Stored, unhex};
use std::borrow::Cow;
use std::fmt;

/// Bytes of salt before the MD5 in EMQ's table of user names.
const EMQ_SALT: usize = 4;

/// A password, or a hash of it, from a file or an old table.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    form: Form,
    salt: Option<Vec<u8>>,
    /// the password, or the hash of it
    secret: Vec<u8>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({})", self.form)
    }
}

impl Given {
    /// The password itself.
    pub fn plain(password: &[u8]) -> Given {
        Given {
            form: Form::Plain,
            salt: None,
            secret: password.to_vec(),
        }
    }

    /// A row of EMQ's `mqtt_auth_username`: 4 bytes of salt, and the MD5 of them and the password.
    pub fn emq_row(row: &[u8]) -> Option<Given> {
        let (salt, md5) = row.split_at_checked(EMQ_SALT)?;
        (md5.len() == 16).then(|| Given {
            form: Form::Hash(crate::form::Hash::Md5, crate::form::SaltAt::Front),
            salt: Some(salt.to_vec()),
            secret: crate::hex(md5).into_bytes(),
        })
    }

    /// As a line of a file has it. Where the form wants a salt it is `salt:hash`; for `salt,md5` also the 40
    /// hexadecimal digits of a row of EMQ's.
    ///
    /// # Errors
    /// What is wrong with it, without the text itself.
    pub fn parse(form: Form, text: &str) -> Result<Given, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        if form == Form::Plain {
            return Ok(Given::plain(text.as_bytes()));
        }
        let (salt, hash) = match text.rsplit_once(':') {
            Some((salt, hash)) if form.wants_salt() => (Some(salt.as_bytes().to_vec()), hash),
            None if form.to_string() == "salt,md5" => {
                let row = unhex(text).and_then(|row| Given::emq_row(&row));
                return row.ok_or_else(|| {
                    "is neither `salt:hash` nor the 40 hexadecimal digits of a row of EMQ's table"
                        .into()
                });
            }
            _ if form.wants_salt() => return Err(format!("is not `salt:hash`, as {form} wants")),
            _ => (None, text),
        };
        if !form.makes(hash) {
            return Err(format!("is none that {form} makes"));
        }
        Ok(Given {
            form,
            salt,
            secret: hash.as_bytes().to_vec(),
        })
    }

    /// The password, where it was not hashed.
    pub fn password(&self) -> Option<&[u8]> {
        (self.form == Form::Plain).then_some(&self.secret)
    }

    /// Whether it is the password.
    pub fn verify(&self, password: &[u8]) -> bool {
        let answer = self
            .form
            .verify(password, &self.secret, self.salt.as_deref());
        // A salt that its form wants is there from the beginning.
        answer.unwrap_or(false)
    }

    /// As [`Form::is_slow`].
    pub fn is_slow(&self) -> bool {
        self.form.is_slow()
    }

    /// Whether `stored` keeps this password, and was made as it would be made now.
    pub fn is_kept_by(&self, stored: &Stored, cost: Cost, scram_iterations: Option<u32>) -> bool {
        stored.is_of(cost, scram_iterations)
            && match self.form {
                Form::Plain => stored.verify(&self.secret),
                _ => stored.keeps_hash(self.form, &self.salt_bytes(), &self.digits()),
            }
    }

    /// As it is to be kept. Keys for SCRAM are made only where the password is known. Takes as long as
    /// `cost` says.
    ///
    /// # Errors
    /// As [`Stored::new`].
    pub fn store(&self, cost: Cost, scram_iterations: Option<u32>) -> Result<Stored, HashError> {
        match self.form {
            Form::Plain => Stored::new(&self.secret, cost, scram_iterations),
            form => Stored::over(form, &self.salt_bytes(), &self.digits(), cost),
        }
    }

    fn salt_bytes(&self) -> Cow<'_, [u8]> {
        match &self.salt {
            Some(salt) => salt.into(),
            None => self
                .form
                .salt_within(&self.secret)
                .unwrap_or_default()
                .into(),
        }
    }

    /// The hash as [`Form::make`] writes it.
    fn digits(&self) -> Vec<u8> {
        match self.form.is_hex() {
            true => self.secret.to_ascii_lowercase(),
            false => self.secret.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn given(form: &str, text: &str) -> Result<Given, String> {
        Given::parse(form.parse().unwrap(), text)
    }

    #[test]
    fn every_form_is_kept() {
        for (form, text) in [
            ("plain", "public"),
            ("md5", "4c9184f37cff01bcdc32dc486ec36961"),
            ("md5", "4C9184F37CFF01BCDC32DC486EC36961"),
            ("sha", "61c9b2b17db77a27841bbeeabff923448b0f6388"),
            ("salt md5", "salt:c91e85973ceee05f005996584f067a72"),
            ("md5,salt", "salt:b8fe9a6d76f4fa94adda07a7833e6402"),
            (
                "pbkdf2,sha256,1000,20",
                "salt:5a21f11c597da1447641c0a5ba58b856a76f1084",
            ),
            (
                "argon2id",
                "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
            ),
            (
                "scrypt",
                "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
            ),
        ] {
            let given = given(form, text).unwrap();
            assert!(given.verify(b"public"), "{form}");
            assert!(!given.verify(b"private"), "{form}");
            let stored = given.store(Cost::LIGHT, Some(4096)).unwrap();
            assert!(stored.verify(b"public"), "{form}");
            assert!(!stored.verify(b"private"), "{form}");
            assert!(!stored.encode().contains(text), "{form}");
            assert!(given.is_kept_by(&stored, Cost::LIGHT, Some(4096)), "{form}");
            assert!(
                !given.is_kept_by(&stored, Cost::STANDARD, Some(4096)),
                "{form}"
            );
            let other = Given::plain(b"private")
                .store(Cost::LIGHT, Some(4096))
                .unwrap();
            assert!(!given.is_kept_by(&other, Cost::LIGHT, Some(4096)), "{form}");
            // Where only the hash is known there can be no keys.
            assert_eq!(stored.scram().is_some(), form == "plain");
            assert!(!format!("{given:?}").contains(text));
        }
    }

    #[test]
    fn bcrypt() {
        let made = Form::Bcrypt.make(b"public", b"$2a$04$sSS8Eg.ovVzaHzi1nUHYK.");
        let text = String::from_utf8(made.unwrap()).unwrap();
        let bcrypt = given("bcrypt", &text).unwrap();
        assert!(bcrypt.is_slow());
        assert!(bcrypt.verify(b"public"));
        let stored = bcrypt.store(Cost::LIGHT, None).unwrap();
        assert!(stored.verify(b"public"));
        assert!(!stored.verify(b"private"));
        assert!(bcrypt.is_kept_by(&stored, Cost::LIGHT, None));
    }

    #[test]
    fn rows_of_emq() {
        // 4 bytes of salt and their MD5 with "public".
        let form: Form = "salt,md5".parse().unwrap();
        let md5 = form.make(b"public", &[0x6b, 0x2c, 0x0e, 0x41]).unwrap();
        let digits = format!("6b2c0e41{}", String::from_utf8(md5).unwrap());
        let given = given("salt,md5", &digits).unwrap();
        assert!(given.verify(b"public"));
        assert!(given.store(Cost::LIGHT, None).unwrap().verify(b"public"));
        assert_eq!(Given::emq_row(&unhex(&digits).unwrap()), Some(given));
        assert_eq!(Given::emq_row(b"public"), None);
        assert_eq!(Given::emq_row(b""), None);
    }

    #[test]
    fn refused_without_being_shown() {
        for (form, text) in [
            ("plain", ""),
            ("md5", "hunter2"),
            ("md5", "4c9184f37cff01bcdc32dc486ec3696"),
            ("md5", "xc9184f37cff01bcdc32dc486ec36961"),
            ("sha256", "4c9184f37cff01bcdc32dc486ec36961"),
            ("salt,md5", "hunter2"),
            ("salt,md5", "salt:hunter2"),
            ("md5,salt", "b8fe9a6d76f4fa94adda07a7833e6402"),
            ("bcrypt", "hunter2"),
            (
                "bcrypt",
                "$2a$31$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
            ),
            ("pbkdf2,sha,1,16", "salt:00"),
            ("argon2id", "hunter2"),
            (
                "argon2id",
                "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
            ),
            (
                "scrypt",
                "$scrypt$ln=30,r=8,p=1$c2FsdHNhbHQ$/Ad2HgGJoymc6XArwn08NA",
            ),
        ] {
            let error = given(form, text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
