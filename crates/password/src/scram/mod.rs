//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! A client proves that it knows the password without sending it, and sees that the server knows it, too.
//! [`ClientFirst`] is its first message, [`Challenge`] is the server's answer and what it checks the second by. [`Client`]
//! is the other side, by which servers are tested.

mod client;
mod message;

pub use client::Client;
pub use message::{ClientFirst, Malformed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use message::ClientFinal;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// The name of the mechanism.
pub const NAME: &str = "SCRAM-SHA-256";

/// Fewer are not secure (RFC 7677, section 4).
pub const MIN_ITERATIONS: u32 = 4_096;

/// Of a client's message, in bytes: more is refused unread.
const MAX_MESSAGE: usize = 4_096;

const SALT: usize = 16;
/// Random bytes in the server's part of the nonce.
const NONCE: usize = 18;

type Sha = [u8; 32];

/// What the server keeps of a password: enough to check a proof, not enough to make one.
///
/// Written as RFC 5803 says: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Sha,
    server_key: Sha,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.iterations)
    }
}

impl Keys {
    /// Of a password, with a random salt. Takes some milliseconds for 10,000 iterations.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(password: &[u8], iterations: u32) -> Result<Keys, getrandom::Error> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt)?;
        Ok(Keys::with_salt(password, iterations, &salt))
    }

    fn with_salt(password: &[u8], iterations: u32, salt: &[u8]) -> Keys {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(&prepared(password), salt, iterations, &mut salted);
        Keys {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// Of nobody: they look like those of a user, are always the same for one name, and no proof fits them.
    /// `secret` is to be the same for as long as salts of users are.
    pub fn of_nobody(name: &str, iterations: u32, secret: &[u8]) -> Keys {
        let made = |what: &str| hmac(secret, format!("{what}:{name}").as_bytes());
        Keys {
            iterations,
            salt: made("salt")[..SALT].to_vec(),
            stored_key: made("StoredKey"),
            server_key: made("ServerKey"),
        }
    }

    /// Iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored) = (BASE64.encode(&self.salt), BASE64.encode(self.stored_key));
        let server = BASE64.encode(self.server_key);
        write!(f, "{NAME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Keys {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Keys, Malformed> {
        let key = |text: &str| BASE64.decode(text).ok()?.try_into().ok();
        let parse = || {
            let (name, rest) = text.split_once('$')?;
            let (salting, keys) = rest.split_once('$')?;
            let (iterations, salt) = salting.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            (name == NAME).then_some(())?;
            Some(Keys {
                iterations: iterations.parse().ok()?,
                salt: BASE64.decode(salt).ok()?,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        parse().ok_or(Malformed)
    }
}

/// The server's answer to a client's first message, and what it remembers until the second.
pub struct Challenge {
    keys: Keys,
    /// `n=user,r=...` and the server's answer, with a comma between them
    exchanged: String,
    /// where the answer begins
    answer: usize,
    /// of both
    nonce: String,
    /// what `c=` must be
    binding: String,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({:?})", self.keys)
    }
}

impl Challenge {
    /// To a client's first message, with a random nonce.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(first: &ClientFirst<'_>, keys: Keys) -> Result<Challenge, getrandom::Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        Ok(Challenge::with_nonce(first, keys, &BASE64.encode(nonce)))
    }

    fn with_nonce(first: &ClientFirst<'_>, keys: Keys, server: &str) -> Challenge {
        let nonce = format!("{}{server}", first.nonce());
        let mut exchanged = format!("{},", first.bare());
        let answer = exchanged.len();
        let salt = BASE64.encode(&keys.salt);
        exchanged += &format!("r={nonce},s={salt},i={}", keys.iterations);
        Challenge {
            keys,
            exchanged,
            answer,
            nonce,
            binding: BASE64.encode(first.header()),
        }
    }

    /// The message for the client.
    pub fn message(&self) -> &str {
        self.exchanged.get(self.answer..).unwrap_or_default()
    }

    /// Checks the client's second message. The last message for it, by which it sees that this server knows the
    /// password; `None` = it has proved nothing.
    pub fn check(&self, message: &[u8]) -> Option<String> {
        let last = ClientFinal::parse(message).ok()?;
        if last.nonce != self.nonce || last.binding != self.binding {
            return None;
        }
        let proof: Sha = BASE64.decode(last.proof).ok()?.try_into().ok()?;
        let exchanged = format!("{},{}", self.exchanged, last.without_proof);
        let signature = hmac(&self.keys.stored_key, exchanged.as_bytes());
        let mut client_key = proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let stored_key: Sha = Sha256::digest(client_key).into();
        if !bool::from(stored_key.ct_eq(&self.keys.stored_key)) {
            return None;
        }
        let signature = hmac(&self.keys.server_key, exchanged.as_bytes());
        Some(format!("v={}", BASE64.encode(signature)))
    }
}

/// As SASLprep has it, so that one that was typed on another keyboard is the same; what it forbids, and what is not
/// text, stays as it is.
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    let text = std::str::from_utf8(password).ok();
    match text.and_then(|text| stringprep::saslprep(text).ok()) {
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Sha {
    // A key of any length will do.
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(data).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
