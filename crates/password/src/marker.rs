//! Recognizing a password that was checked a moment ago, without keeping it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// Makes [`Mark`]s, under a key that is made with it and never leaves the process.
///
/// A mark takes a microsecond where a check takes milliseconds: whoever can read the memory of the process can
/// guess passwords that much faster, as he could read those that clients send just then.
pub struct Marker(Hmac<Sha256>);

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}

impl Marker {
    /// With a new key; `None` = the system gives no random numbers.
    pub fn new() -> Option<Marker> {
        Hmac::new_from_slice(&crate::random()?).ok().map(Marker)
    }

    /// The mark of a password.
    pub fn mark(&self, password: &[u8]) -> Mark {
        let mac = self.0.clone().chain_update(password);
        Mark(mac.finalize().into_bytes().into())
    }
}

/// Stands for a password within one process.
#[derive(Clone, Copy)]
pub struct Mark([u8; 32]);

impl Mark {
    /// For tables of marks: no more telling than the mark itself.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Mark) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mark {}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks() {
        let marker = Marker::new().unwrap();
        assert_eq!(marker.mark(b"secret"), marker.mark(b"secret"));
        assert_ne!(marker.mark(b"secret"), marker.mark(b"Secret"));
        let other = Marker::new().unwrap();
        assert_ne!(marker.mark(b"secret"), other.mark(b"secret"));
        assert_eq!(format!("{:?}", marker.mark(b"secret")), "Mark");
    }
}
