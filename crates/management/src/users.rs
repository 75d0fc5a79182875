//! Who may use the management API and the dashboard: the `admins` of EMQ.

mod hashing;

use crate::clock::unix_millis;
use crate::records::Records;
use emqttd_broker::Broker;
use emqttd_password::{Cost, Stored};
use emqttd_plugin_sdk::Severity;
use hashing::Hashing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The password that everybody knows: that of EMQ's first user.
const DEFAULT_PASSWORD: &str = "public";

/// The user that only the command line deletes.
const ADMIN: &str = "admin";

/// What the first user is for.
const FIRST_TAGS: &str = "administrator";

/// Users at a time.
const MOST: usize = 1000;

/// Longest name and tags, characters; longest password, bytes.
const MAX_NAME: usize = 64;
const MAX_TAGS: usize = 256;
const MAX_PASSWORD: usize = 256;

/// The alarm that holds while somebody's password is [`DEFAULT_PASSWORD`].
const ALARM: &str = "default_password";

/// A user, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// unique
    pub username: String,
    /// a remark of EMQ's: `administrator`, `viewer`; nothing depends on it
    pub tags: String,
    /// the password is the one that everybody knows
    pub default_password: bool,
}

/// What [`Users::verify`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// it is the user
    Login(Login),
    /// no such user, or another password
    Wrong,
    /// nobody can say now; why
    Unavailable(String),
}

/// Who has shown the right password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// changes when what was given out for this login is to be void
    pub generation: u64,
    /// the password is the one that everybody knows
    pub default_password: bool,
}

/// Why a user could not be changed. As text, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserError {
    /// there is a user of that name
    Exists,
    /// there is none
    NotFound,
    /// what is wrong with the name
    BadName(String),
    /// what is wrong with the tags
    BadTags(String),
    /// what is wrong with the new password
    BadPassword(String),
    /// the old password is another
    WrongPassword,
    /// `admin` can be deleted on the machine only
    Protected,
    /// there are as many as there may be
    TooMany,
    /// it could not be stored
    Store(String),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Exists => f.write_str("there is a user of that name"),
            UserError::NotFound => f.write_str("there is no user of that name"),
            UserError::BadName(why) | UserError::BadTags(why) | UserError::BadPassword(why) => {
                f.write_str(why)
            }
            UserError::WrongPassword => f.write_str("the old password is wrong"),
            UserError::Protected => {
                f.write_str("admin can only be deleted by `emqttd_ctl admins del admin`")
            }
            UserError::TooMany => write!(f, "there are {MOST} users already"),
            UserError::Store(why) => write!(f, "it could not be stored: {why}"),
        }
    }
}

impl std::error::Error for UserError {}

impl From<io::Error> for UserError {
    fn from(error: io::Error) -> UserError {
        UserError::Store(error.to_string())
    }
}

/// As it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    /// Argon2id, in the form of the password hashing competition
    password: String,
    tags: String,
    generation: u64,
    /// noted when it was set: later nobody can see it
    default_password: bool,
}

/// The users. They last, whether the dashboard is loaded or not.
///
/// Every call may block: on the disk, and for a turn at hashing.
pub struct Users {
    broker: Broker,
    records: Records<Record>,
    /// names of which the configuration has made a user once
    made: Records<()>,
    hashing: Hashing,
    /// the highest generation that this process gave out; changed by who changes records
    highest: AtomicU64,
}

impl Users {
    pub(crate) fn new(broker: &Broker) -> Users {
        Users::with_cost(broker, Cost::STANDARD)
    }

    fn with_cost(broker: &Broker, cost: Cost) -> Users {
        Users {
            broker: broker.clone(),
            records: Records::new(broker.table("management/users")),
            made: Records::new(broker.table("management/default_user")),
            hashing: Hashing::new(cost),
            highest: AtomicU64::new(0),
        }
    }

    /// All users by name; none while they cannot be read.
    pub fn list(&self) -> Vec<User> {
        let all = self.records.look(|rows| {
            let users = rows.iter().map(|(name, row)| row.user(name));
            users.collect()
        });
        all.unwrap_or_default()
    }

    /// A user.
    pub fn get(&self, name: &str) -> Option<User> {
        let found = self.records.look(|rows| Some(rows.get(name)?.user(name)));
        found.ok().flatten()
    }

    /// The present generation of a user: what was given out under another is void. `None` = there is no such user.
    pub fn generation(&self, name: &str) -> Option<u64> {
        let found = self.records.look(|rows| Some(rows.get(name)?.generation));
        found.ok().flatten()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn add(&self, name: &str, password: &str, tags: &str) -> Result<(), UserError> {
        check_name(name)?;
        check_tags(tags)?;
        if self.record(name)?.is_some() {
            return Err(UserError::Exists);
        }
        let password = self.hashed(password)?;
        let held = self.records.changing();
        if self.record(name)?.is_some() {
            return Err(UserError::Exists);
        }
        if self.records.look(BTreeMap::len)? >= MOST {
            return Err(UserError::TooMany);
        }
        let record = Record {
            generation: self.next_generation()?,
            tags: tags.into(),
            ..password
        };
        self.records.put(&held, name, record)?;
        self.alarm();
        Ok(())
    }

    /// Deletes a user, for somebody on the machine: that may be `admin`, too.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::Store`].
    pub fn remove(&self, name: &str) -> Result<(), UserError> {
        let held = self.records.changing();
        self.record(name)?.ok_or(UserError::NotFound)?;
        self.records.delete(&held, name)?;
        self.alarm();
        Ok(())
    }

    /// Deletes a user, for somebody who came over the network: never `admin`, or the last one could lock out all.
    ///
    /// # Errors
    /// As [`Users::remove`], and [`UserError::Protected`].
    pub fn remove_remotely(&self, name: &str) -> Result<(), UserError> {
        match name {
            ADMIN => Err(UserError::Protected),
            _ => self.remove(name),
        }
    }

    /// Gives a user other tags. What was given out for the user is void.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::BadTags`], [`UserError::Store`].
    pub fn set_tags(&self, name: &str, tags: &str) -> Result<(), UserError> {
        check_tags(tags)?;
        let held = self.records.changing();
        let record = self.record(name)?.ok_or(UserError::NotFound)?;
        let record = Record {
            generation: self.next_generation()?,
            tags: tags.into(),
            ..record
        };
        Ok(self.records.put(&held, name, record)?)
    }

    /// Gives a user another password. What was given out for the user is void.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::BadPassword`], [`UserError::Store`].
    pub fn set_password(&self, name: &str, new: &str) -> Result<(), UserError> {
        self.replace_password(name, new, None)
    }

    /// The same for somebody who knows the old one.
    ///
    /// # Errors
    /// As [`Users::set_password`], and [`UserError::WrongPassword`].
    pub fn change_password(&self, name: &str, old: &str, new: &str) -> Result<(), UserError> {
        self.record(name)?.ok_or(UserError::NotFound)?;
        match self.verify(name, old) {
            Verified::Login(login) => self.replace_password(name, new, Some(login.generation)),
            Verified::Wrong => Err(UserError::WrongPassword),
            Verified::Unavailable(why) => Err(UserError::Store(why)),
        }
    }

    /// `seen`: the generation for which the old password was right.
    fn replace_password(&self, name: &str, new: &str, seen: Option<u64>) -> Result<(), UserError> {
        self.record(name)?.ok_or(UserError::NotFound)?;
        let password = self.hashed(new)?;
        let held = self.records.changing();
        let record = self.record(name)?.ok_or(UserError::NotFound)?;
        if seen.is_some_and(|generation| generation != record.generation) {
            return Err(UserError::WrongPassword);
        }
        let record = Record {
            generation: self.next_generation()?,
            tags: record.tags,
            ..password
        };
        self.records.put(&held, name, record)?;
        self.alarm();
        Ok(())
    }

    /// Whether that is the user's password. An unknown user takes as long as a wrong password.
    pub fn verify(&self, name: &str, password: &str) -> Verified {
        // None can be that long, and hashing it would only take time.
        if password.len() > MAX_PASSWORD {
            return Verified::Wrong;
        }
        let record = match self.record(name) {
            Ok(record) => record,
            Err(error) => return Verified::Unavailable(error.to_string()),
        };
        let stored = record.as_ref().map(|record| record.password.as_str());
        match (self.hashing.verify(stored, password), record) {
            (true, Some(record)) => Verified::Login(Login {
                generation: record.generation,
                default_password: record.default_password,
            }),
            _ => Verified::Wrong,
        }
    }

    /// Makes the user that the configuration names, unless it has done so before: who deletes that user does not
    /// want it back with the next start.
    pub(crate) fn make_default(&self, name: &str, password: &str) -> Result<(), UserError> {
        let made = self.made.look(|rows| rows.contains_key(name))?;
        if !made {
            match self.add(name, password, FIRST_TAGS) {
                Ok(()) | Err(UserError::Exists) => {}
                Err(error) => return Err(error),
            }
            self.made.put(&self.made.changing(), name, ())?;
        }
        self.alarm();
        Ok(())
    }

    fn record(&self, name: &str) -> io::Result<Option<Record>> {
        self.records.look(|rows| rows.get(name).cloned())
    }

    /// A record with that password.
    fn hashed(&self, password: &str) -> Result<Record, UserError> {
        if password.is_empty() || password.len() > MAX_PASSWORD {
            let why = format!("a password has 1 to {MAX_PASSWORD} bytes");
            return Err(UserError::BadPassword(why));
        }
        let stored: Stored = self
            .hashing
            .hash(password)
            .map_err(|e| UserError::Store(e.to_string()))?;
        Ok(Record {
            password: stored.encode(),
            tags: String::new(),
            generation: 0,
            default_password: password == DEFAULT_PASSWORD,
        })
    }

    /// Above all that have ever been given out, those of deleted users among them: it is the time, in milliseconds,
    /// and rises even when the clock does not.
    fn next_generation(&self) -> io::Result<u64> {
        let kept = self
            .records
            .look(|rows| rows.values().map(|row| row.generation).max())?;
        let given = self.highest.load(Ordering::Relaxed);
        let above = kept.unwrap_or(0).max(given).saturating_add(1);
        let generation = unix_millis().max(above);
        self.highest.store(generation, Ordering::Relaxed);
        Ok(generation)
    }

    /// Sets the alarm, or clears it.
    fn alarm(&self) {
        let any = self.list().iter().any(|user| user.default_password);
        let summary = any.then_some(
            "somebody has the password that EMQ gave its first user, which everybody knows (`emqttd_ctl admins list` says who). It is taken \
             on this machine only, until `emqttd_ctl admins passwd <Username> <Password>` sets another.",
        );
        let title = "A user of the dashboard has the default password";
        self.broker
            .post_alarm(ALARM, Severity::Warning, title, summary);
    }
}

impl Record {
    fn user(&self, name: &str) -> User {
        User {
            username: name.into(),
            tags: self.tags.clone(),
            default_password: self.default_password,
        }
    }
}

fn check_name(name: &str) -> Result<(), UserError> {
    let length = name.chars().count();
    let why = if length == 0 || length > MAX_NAME {
        format!("a user name has 1 to {MAX_NAME} characters")
    } else if name.chars().any(char::is_control) {
        "a user name has no control characters".to_string()
    } else if name.contains(':') {
        // RFC 7617: it divides name and password.
        "a user name has no `:`, which HTTP Basic cannot carry".to_string()
    } else {
        return Ok(());
    };
    Err(UserError::BadName(why))
}

fn check_tags(tags: &str) -> Result<(), UserError> {
    if tags.chars().count() > MAX_TAGS || tags.chars().any(char::is_control) {
        let why = format!("tags have up to {MAX_TAGS} characters, and no control characters");
        return Err(UserError::BadTags(why));
    }
    Ok(())
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
