//! What clients send (RFC 5802, section 7).

use super::MAX_MESSAGE;
use std::borrow::Cow;
use std::fmt;

/// It is no message of SCRAM, or asks for what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed SCRAM message")
    }
}

impl std::error::Error for Malformed {}

/// A client's first message: `n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    header: &'a str,
    bare: &'a str,
    username: Cow<'a, str>,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// From its bytes.
    ///
    /// # Errors
    /// When it is malformed or longer than 4 KB, wants channel binding or an extension, or to be admitted as
    /// somebody else.
    pub fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, Malformed> {
        let text = text(message)?;
        let (binding, rest) = text.split_once(',').ok_or(Malformed)?;
        // `y`: the client could bind the channel and has seen that the server cannot, which is so.
        if binding != "n" && binding != "y" {
            return Err(Malformed);
        }
        let (authzid, bare) = rest.split_once(',').ok_or(Malformed)?;
        let header = text.get(..text.len() - bare.len()).ok_or(Malformed)?;
        // `m=` asks for an extension, and none is known; others, at the end, may be there.
        let mut attributes = bare.split(',');
        let username = name(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if !is_nonce(nonce) || !attributes.all(is_extension) {
            return Err(Malformed);
        }
        if !authzid.is_empty() && name(attribute(Some(authzid), "a=")?)? != username {
            return Err(Malformed);
        }
        Ok(ClientFirst {
            header,
            bare,
            username,
            nonce,
        })
    }

    /// Whom it claims to be.
    pub fn username(&self) -> &str {
        &self.username
    }

    pub(super) fn nonce(&self) -> &str {
        self.nonce
    }

    /// `n,,`
    pub(super) fn header(&self) -> &str {
        self.header
    }

    /// What is behind the header.
    pub(super) fn bare(&self) -> &str {
        self.bare
    }
}

/// A client's second message: `c=biws,r=...,p=...`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) binding: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: &'a str,
    pub(super) without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, Malformed> {
        let text = text(message)?;
        // The proof is the last attribute, and base64 has no comma.
        let (without_proof, proof) = text.rsplit_once(',').ok_or(Malformed)?;
        let mut attributes = without_proof.split(',');
        let last = ClientFinal {
            binding: attribute(attributes.next(), "c=")?,
            nonce: attribute(attributes.next(), "r=")?,
            proof: attribute(Some(proof), "p=")?,
            without_proof,
        };
        attributes
            .all(is_extension)
            .then_some(last)
            .ok_or(Malformed)
    }
}

fn text(message: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
    let sound = message.len() <= MAX_MESSAGE && !text.contains('\0');
    sound.then_some(text).ok_or(Malformed)
}

fn attribute<'a>(text: Option<&'a str>, name: &str) -> Result<&'a str, Malformed> {
    text.and_then(|text| text.strip_prefix(name))
        .ok_or(Malformed)
}

/// `=2C` stands for a comma, `=3D` for `=`; an `=` by itself is an error.
fn name(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if text.is_empty() {
        return Err(Malformed);
    }
    if !text.contains('=') {
        return Ok(Cow::Borrowed(text));
    }
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Malformed),
        };
        name.push(letter);
        name.push_str(rest);
    }
    Ok(Cow::Owned(name))
}

/// Printable, at least one.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A letter of its own, `=`, and a value.
fn is_extension(text: &str) -> bool {
    let mut letters = text.chars();
    let letter = letters.next();
    letter.is_some_and(|c| c.is_ascii_alphabetic() && !"nmracisptve".contains(c))
        && letters.next() == Some('=')
        && letters.next().is_some()
}
