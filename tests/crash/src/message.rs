//! Payloads that name themselves: who published them, and which of theirs they are.

use std::fmt;

/// Client number of the publisher, and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// number of the client
    pub who: u16,
    /// the client's own count
    pub n: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}.{}", self.who, self.n)
    }
}

/// The payload of a message: its name, then filler that follows from the name, `length` bytes or what
/// the name needs.
pub fn payload(key: Key, length: usize) -> Vec<u8> {
    let mut bytes = format!("{}.{}.{length}|", key.who, key.n).into_bytes();
    for at in bytes.len()..length {
        bytes.push(filler(key, at));
    }
    bytes
}

fn filler(key: Key, at: usize) -> u8 {
    b'a' + ((key.n as usize).wrapping_mul(7) + at) as u8 % 26
}

/// Reads a payload back, every byte of it; `None` for an empty one.
pub fn parse(payload: &[u8]) -> Result<Option<Key>, String> {
    if payload.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        let shown = &payload[..payload.len().min(40)];
        format!(
            "{} bytes, {}",
            payload.len(),
            String::from_utf8_lossy(shown)
        )
    };
    let end = payload.iter().position(|b| *b == b'|').ok_or_else(wrong)?;
    let head = std::str::from_utf8(&payload[..end]).map_err(|_| wrong())?;
    let mut words = head.split('.');
    let mut word = || words.next().ok_or_else(wrong);
    let key = Key {
        who: word()?.parse().map_err(|_| wrong())?,
        n: word()?.parse().map_err(|_| wrong())?,
    };
    let length: usize = word()?.parse().map_err(|_| wrong())?;
    let whole = payload.len() == length.max(end + 1)
        && (end + 1..payload.len()).all(|at| payload[at] == filler(key, at));
    if whole { Ok(Some(key)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_and_damage_is_seen() {
        for length in [0, 5, 100, 70_000] {
            let key = Key { who: 3, n: 412 };
            let mut bytes = payload(key, length);
            assert_eq!(parse(&bytes), Ok(Some(key)));
            bytes.push(b'x');
            assert!(parse(&bytes).is_err());
            bytes.truncate(bytes.len() - 2);
            assert!(parse(&bytes).is_err());
        }
        assert_eq!(parse(b""), Ok(None));
        assert!(parse(b"nonsense").is_err());
    }
}
