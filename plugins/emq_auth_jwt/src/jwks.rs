//! Sets of keys (RFC 7517).

use crate::key::{Algorithm, Key};
use serde_json::Value;

/// Keys of a set that are looked at; a set of more is no set of signing keys.
const MOST_KEYS: usize = 100;

/// A key of a set.
#[derive(Debug, Clone)]
pub(crate) struct Jwk {
    /// its name
    pub kid: Option<String>,
    /// the only algorithm it serves, where the set says so
    alg: Option<String>,
    pub key: Key,
}

impl Jwk {
    /// Whether a token with this name of a key and this algorithm may have been signed with it.
    pub fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let named = match (&self.kid, kid) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        let alg = self.alg.as_deref();
        let alike = alg.is_none_or(|alg| Algorithm::named(alg) == Some(algorithm));
        named && alike && self.key.serves(algorithm)
    }
}

/// Reads a set; `secrets` = also keys that are not public. Keys that are not for signatures or cannot be used are
/// left out, and why is said in the second part.
///
/// # Errors
/// When it is no set.
pub(crate) fn parse(text: &[u8], secrets: bool) -> Result<(Vec<Jwk>, Vec<String>), String> {
    let set: Value =
        serde_json::from_slice(text).map_err(|error| format!("is no JSON: {error}"))?;
    let Some(Value::Array(all)) = set.get("keys") else {
        return Err("is no set of keys: it has no list `keys`".into());
    };
    let mut keys = Vec::new();
    let mut left_out = Vec::new();
    for (index, jwk) in all.iter().enumerate() {
        if index == MOST_KEYS {
            left_out.push(format!("there are more than {MOST_KEYS} keys"));
            break;
        }
        match one(jwk, secrets) {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(why) => left_out.push(format!("key {} {why}", index + 1)),
        }
    }
    Ok((keys, left_out))
}

/// `None` = it is there for something else.
fn one(jwk: &Value, secrets: bool) -> Result<Option<Jwk>, String> {
    let Value::Object(jwk) = jwk else {
        return Err("is no object".into());
    };
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_string);
    if jwk.get("use").is_some_and(|usage| usage != "sig") {
        return Ok(None);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array().map(Vec::as_slice).unwrap_or_default();
        if !operations.iter().any(|one| one == "verify") {
            return Ok(None);
        }
    }
    let key = Key::from_jwk(jwk)?;
    if matches!(key, Key::Secret(_)) && !secrets {
        return Err("is a secret, which does not belong on a URL".into());
    }
    Ok(Some(Jwk {
        kid: text("kid"),
        alg: text("alg"),
        key,
    }))
}
