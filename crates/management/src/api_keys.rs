//! API keys: for programs, each with its own rights, none with a person's password.

use crate::clock::unix_seconds;
use crate::records::Records;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emqttd_broker::Broker;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Keys at a time.
const MOST: usize = 1000;

/// Longest name, characters.
const MAX_NAME: usize = 64;

/// Longest secret that is looked at, bytes; ours have 43.
const MAX_SECRET: usize = 256;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// to look at everything but users, keys and the audit log
    Read,
    /// to publish, to subscribe clients and to unsubscribe them
    Publish,
    /// to disconnect and to ban clients, to clear what is kept for them
    Clients,
    /// to change plugins, listeners, settings, logging and traces, and to ask the access chains
    Manage,
    /// everything
    Admin,
}

impl Scope {
    /// All there are.
    pub const ALL: [Scope; 5] = [
        Scope::Read,
        Scope::Publish,
        Scope::Clients,
        Scope::Manage,
        Scope::Admin,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Publish => "publish",
            Scope::Clients => "clients",
            Scope::Manage => "manage",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Scope, String> {
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| {
            let names = Scope::ALL.map(Scope::as_str).join(", ");
            format!("there is no scope `{}`: {names}", name.escape_debug())
        })
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `ak_` and 16 hexadecimal digits
    pub id: String,
    /// for people
    pub name: String,
    /// what it may be used for
    pub scopes: BTreeSet<Scope>,
    /// until when, unix seconds; `None` = until it is deleted
    pub expires_at: Option<u64>,
    /// who made it
    pub created_by: String,
    /// when, unix seconds
    pub created_at: u64,
    /// when it was last used since the broker started, unix seconds
    pub last_used: Option<u64>,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// for people
    pub name: String,
    /// what it may be used for
    pub scopes: BTreeSet<Scope>,
    /// until when, unix seconds
    pub expires_at: Option<u64>,
}

/// Why a key could not be made or deleted. As text, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyError {
    /// there is no such key
    NotFound,
    /// what is wrong with the name
    BadName(String),
    /// it could be used for nothing
    NoScope,
    /// it would have expired already
    Expired,
    /// there are as many as there may be
    TooMany,
    /// it could not be stored
    Store(String),
}

impl fmt::Display for ApiKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiKeyError::NotFound => f.write_str("there is no such key"),
            ApiKeyError::BadName(why) => f.write_str(why),
            ApiKeyError::NoScope => f.write_str("a key has at least one scope"),
            ApiKeyError::Expired => f.write_str("a key expires in the future"),
            ApiKeyError::TooMany => write!(f, "there are {MOST} keys already"),
            ApiKeyError::Store(why) => write!(f, "it could not be stored: {why}"),
        }
    }
}

impl std::error::Error for ApiKeyError {}

impl From<io::Error> for ApiKeyError {
    fn from(error: io::Error) -> ApiKeyError {
        ApiKeyError::Store(error.to_string())
    }
}

/// As it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    /// SHA-256 of the secret: that is random enough to need nothing slow
    secret: [u8; 32],
    scopes: BTreeSet<Scope>,
    expires_at: Option<u64>,
    created_by: String,
    created_at: u64,
}

/// The keys. They last; when each was used is known since the start only.
pub struct ApiKeys {
    records: Records<Record>,
    used: Mutex<BTreeMap<String, u64>>,
}

impl ApiKeys {
    pub(crate) fn new(broker: &Broker) -> ApiKeys {
        ApiKeys {
            records: Records::new(broker.table("management/api_keys")),
            used: Mutex::default(),
        }
    }

    /// Makes a key for `by`. The secret is given out here and never again.
    ///
    /// # Errors
    /// See [`ApiKeyError`].
    pub fn create(&self, new: NewKey, by: &str) -> Result<(ApiKey, String), ApiKeyError> {
        let length = new.name.chars().count();
        if length == 0 || length > MAX_NAME || new.name.chars().any(char::is_control) {
            let why = format!("a name has 1 to {MAX_NAME} characters, and no control characters");
            return Err(ApiKeyError::BadName(why));
        }
        if new.scopes.is_empty() {
            return Err(ApiKeyError::NoScope);
        }
        let now = unix_seconds();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(ApiKeyError::Expired);
        }
        let random = || {
            emqttd_password::random()
                .ok_or_else(|| ApiKeyError::Store("the system gives no random numbers".into()))
        };
        let secret = URL_SAFE_NO_PAD.encode(random()?);
        let record = Record {
            name: new.name,
            secret: Sha256::digest(&secret).into(),
            scopes: new.scopes,
            expires_at: new.expires_at,
            created_by: by.into(),
            created_at: now,
        };
        let held = self.records.changing();
        if self.records.look(BTreeMap::len)? >= MOST {
            return Err(ApiKeyError::TooMany);
        }
        let [a, b, c, d, e, f, g, h, ..] = random()?;
        let id = format!("ak_{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        let key = record.key(&id, None);
        self.records.put(&held, &id, record)?;
        Ok((key, secret))
    }

    /// All keys, those made first in front; none while they cannot be read.
    pub fn list(&self) -> Vec<ApiKey> {
        let used = self.used.lock();
        let all = self.records.look(|rows| {
            let keys = rows
                .iter()
                .map(|(id, row)| row.key(id, used.get(id).copied()));
            keys.collect::<Vec<_>>()
        });
        let mut all = all.unwrap_or_default();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// A key, whether it has expired or not.
    pub fn get(&self, id: &str) -> Option<ApiKey> {
        let used = self.used.lock().get(id).copied();
        let found = self.records.look(|rows| Some(rows.get(id)?.key(id, used)));
        found.ok().flatten()
    }

    /// Deletes a key: it is good for nothing at once.
    ///
    /// # Errors
    /// [`ApiKeyError::NotFound`], [`ApiKeyError::Store`].
    pub fn remove(&self, id: &str) -> Result<(), ApiKeyError> {
        let held = self.records.changing();
        if !self.records.look(|rows| rows.contains_key(id))? {
            return Err(ApiKeyError::NotFound);
        }
        self.records.delete(&held, id)?;
        self.used.lock().remove(id);
        Ok(())
    }

    /// The key, when that is its secret and it has not expired.
    pub fn verify(&self, id: &str, secret: &str) -> Option<ApiKey> {
        if secret.len() > MAX_SECRET {
            return None;
        }
        let given: [u8; 32] = Sha256::digest(secret).into();
        let now = unix_seconds();
        let found = self.records.look(|rows| {
            let row = rows.get(id)?;
            let right: bool = row.secret.ct_eq(&given).into();
            let good = right && row.expires_at.is_none_or(|at| now < at);
            good.then(|| row.key(id, Some(now)))
        });
        let key = found.ok().flatten()?;
        self.used.lock().insert(id.into(), now);
        Some(key)
    }
}

impl Record {
    fn key(&self, id: &str, last_used: Option<u64>) -> ApiKey {
        ApiKey {
            id: id.into(),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at,
            created_by: self.created_by.clone(),
            created_at: self.created_at,
            last_used,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;

    fn new(name: &str, scopes: &[Scope]) -> NewKey {
        NewKey {
            name: name.into(),
            scopes: scopes.iter().copied().collect(),
            expires_at: None,
        }
    }

    #[test]
    fn made_used_and_deleted() {
        let site = Site::new();
        let keys = site.core.api_keys();
        let (key, secret) = keys
            .create(new("ci", &[Scope::Read, Scope::Publish]), "admin")
            .unwrap();
        assert!(
            key.id.starts_with("ak_") && key.id.len() == 19,
            "{}",
            key.id
        );
        assert_eq!(secret.len(), 43);
        assert_eq!(keys.list(), std::slice::from_ref(&key));
        assert_eq!(key.created_by, "admin");
        let used = keys.verify(&key.id, &secret).unwrap();
        assert!(used.last_used.is_some());
        assert_eq!(keys.get(&key.id), Some(used));
        assert_eq!(keys.verify(&key.id, "other"), None);
        assert_eq!(keys.verify("ak_0000000000000000", &secret), None);
        assert_eq!(keys.verify(&key.id, &"x".repeat(MAX_SECRET + 1)), None);
        keys.remove(&key.id).unwrap();
        assert_eq!(keys.verify(&key.id, &secret), None);
        assert_eq!(keys.remove(&key.id), Err(ApiKeyError::NotFound));
        assert_eq!(keys.list(), []);
    }

    #[test]
    fn what_is_no_key() {
        let site = Site::new();
        let keys = site.core.api_keys();
        let made = |new| keys.create(new, "admin").map(drop);
        for name in ["", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            let answer = made(new(name, &[Scope::Read]));
            assert!(matches!(answer, Err(ApiKeyError::BadName(_))), "{name}");
        }
        assert_eq!(made(new("a", &[])), Err(ApiKeyError::NoScope));
        let past = NewKey {
            expires_at: Some(unix_seconds()),
            ..new("a", &[Scope::Admin])
        };
        assert_eq!(made(past), Err(ApiKeyError::Expired));
        assert_eq!(keys.list(), []);
    }

    #[test]
    fn one_that_has_expired_is_shown_and_good_for_nothing() {
        let site = Site::new();
        let keys = site.core.api_keys();
        let (key, secret) = keys.create(new("a", &[Scope::Read]), "x").unwrap();
        let mut row = keys.records.look(|rows| rows[&key.id].clone()).unwrap();
        row.expires_at = Some(unix_seconds());
        let held = keys.records.changing();
        keys.records.put(&held, &key.id, row).unwrap();
        assert_eq!(keys.verify(&key.id, &secret), None);
        assert_eq!(keys.list().len(), 1);
    }

    #[test]
    fn names_of_scopes() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(json, format!("\"{scope}\""));
        }
        assert!("all".parse::<Scope>().is_err());
    }
}
