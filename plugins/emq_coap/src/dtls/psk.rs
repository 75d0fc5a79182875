//! The file of pre-shared keys.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Longest identity that is taken, bytes.
pub(super) const IDENTITY: usize = 128;
/// Longest key, bytes.
const KEY: usize = 64;

/// Keys by identity.
#[derive(Default)]
pub(super) struct Keys(HashMap<Arc<str>, Vec<u8>>);

impl Keys {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Keys, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Keys::parse(&text).map_err(|why| format!("{}:{why}", path.display()))
    }

    /// Lines of `identity:key in hexadecimal`; empty ones, and those that begin with `#`, say nothing. An identity may
    /// have colons in it. The error begins with the number of the line, and shows no key.
    pub fn parse(text: &str) -> Result<Keys, String> {
        let mut keys = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |what: &str| format!("{}: {what}", number + 1);
            let (identity, key) = line
                .rsplit_once(':')
                .ok_or_else(|| refused("identity:key is expected"))?;
            let (identity, key) = (identity.trim(), key.trim());
            if !is_identity(identity) {
                return Err(refused(
                    "an identity has 1 to 128 bytes and no control characters",
                ));
            }
            let key = hexadecimal(key)
                .ok_or_else(|| refused("a key has 1 to 64 bytes, in hexadecimal"))?;
            if keys.insert(Arc::from(identity), key).is_some() {
                return Err(refused("this identity has a key already"));
            }
        }
        Ok(Keys(keys))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of an identity, and the identity as a name.
    pub fn get(&self, identity: &[u8]) -> Option<(Arc<str>, &[u8])> {
        let identity = std::str::from_utf8(identity).ok()?;
        let (identity, key) = self.0.get_key_value(identity)?;
        Some((Arc::clone(identity), key))
    }
}

fn is_identity(text: &str) -> bool {
    (1..=IDENTITY).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || !(1..=KEY).contains(&pairs.len()) {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines() {
        let keys = Keys::parse("# devices\n\n dev-1:00fF\nurn:dev:2 : 0102030405\n").unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.get(b"dev-1").unwrap().1, [0, 0xFF]);
        let (name, key) = keys.get(b"urn:dev:2").unwrap();
        assert_eq!((&*name, key), ("urn:dev:2", &[1, 2, 3, 4, 5][..]));
        assert!(keys.get(b"dev-2").is_none() && keys.get(b"\xFF").is_none());
        let long = format!("{}:00", "x".repeat(129));
        let long_key = format!("x:{}", "00".repeat(65));
        for wrong in [
            "x",
            ":00",
            "x:",
            "x:0",
            "x:0g",
            "x:é1",
            "a\u{1}b:00",
            &long,
            &long_key,
        ] {
            let why = Keys::parse(&format!("\n{wrong}\n")).err().unwrap();
            assert!(why.starts_with("2: "), "{wrong}: {why}");
            let key = wrong.rsplit(':').next().unwrap();
            assert!(key.len() < 2 || !why.contains(key), "{why}");
        }
        let twice = Keys::parse("secret:0011\nsecret:2233").err().unwrap();
        assert_eq!(twice, "2: this identity has a key already");
    }
}
