//! Passwords: how they are kept, read in the forms of old tables, and proved without being sent.
//!
//! - [`Form`]: the `password_hash` of EMQ's plugins, for what other systems have hashed.
//! - [`Stored`]: how the broker itself keeps a password: Argon2id, and keys for SCRAM.
//! - [`Given`]: a password as an operator wrote it down, in one of the forms; becomes a `Stored`.
//! - [`scram`]: the server's side of SCRAM-SHA-256.
//! - [`Gate`] and [`Marker`]: checking costs milliseconds on purpose; these bound how often it is done.
//!
//! All comparisons take the same time wherever the two differ. No error text has a password in it.

#![warn(missing_debug_implementations)]

mod form;
mod gate;
mod given;
mod marker;
mod memory;
mod phc;
pub mod scram;
mod stored;

pub use form::{Form, Unverifiable};
pub use gate::{Gate, Turn};
pub use given::Given;
pub use marker::{Mark, Marker};
pub use phc::Phc;
pub use stored::{Cost, HashError, Stored};

use subtle::ConstantTimeEq;

/// A secret that nobody knows; `None` = the system gives no random numbers.
pub fn random() -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).ok()?;
    Some(secret)
}

/// Whether they are equal, in a time that tells nothing of where they differ, nor of the length of either.
fn same(a: &[u8], b: &[u8]) -> bool {
    use sha2::{Digest, Sha256};
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| {
        [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]
    });
    digits.map(char::from).collect()
}

/// The bytes that hexadecimal digits stand for.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(nibble(high)? << 4 | nibble(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}
