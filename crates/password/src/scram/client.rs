//! The client's side: by it the tests of servers, and whoever logs in elsewhere, prove what they know.

use super::{BASE64, NAME, hmac, prepared};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use std::fmt;

/// A client that knows a user name and a password.
pub struct Client {
    header: String,
    bare: String,
    password: Vec<u8>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME} {}", self.bare)
    }
}

impl Client {
    /// With its part of the nonce.
    pub fn new(username: &str, password: &[u8], nonce: &str) -> Client {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Client {
            header: "n,,".into(),
            bare: format!("n={name},r={nonce}"),
            password: password.to_vec(),
        }
    }

    /// One that has sent this first message.
    #[cfg(test)]
    pub(super) fn of_first(first: &str, password: &[u8]) -> Option<Client> {
        let bare = first.splitn(3, ',').nth(2)?;
        Some(Client {
            header: first.strip_suffix(bare)?.into(),
            bare: bare.into(),
            password: password.to_vec(),
        })
    }

    /// Its first message.
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.bare)
    }

    /// Its second message, and what the server must answer to that; `None` = the challenge is none.
    pub fn last(&self, challenge: &[u8]) -> Option<(String, String)> {
        let challenge = std::str::from_utf8(challenge).ok()?;
        let attribute = |name| {
            challenge
                .split(',')
                .find_map(|part| part.strip_prefix(name))
        };
        let (nonce, salt) = (attribute("r=")?, BASE64.decode(attribute("s=")?).ok()?);
        let iterations = attribute("i=")?.parse().ok()?;
        let mut salted = [0; 32];
        let password = prepared(&self.password);
        pbkdf2::pbkdf2_hmac::<Sha256>(&password, &salt, iterations, &mut salted);
        let client_key = hmac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode(&self.header));
        let exchanged = format!("{},{challenge},{without_proof}", self.bare);
        let signature = hmac(&Sha256::digest(client_key), exchanged.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server = hmac(&hmac(&salted, b"Server Key"), exchanged.as_bytes());
        Some((
            format!("{without_proof},p={}", BASE64.encode(proof)),
            format!("v={}", BASE64.encode(server)),
        ))
    }
}
