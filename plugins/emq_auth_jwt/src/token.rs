//! The compact form of a JSON Web Token (RFC 7515, RFC 7519).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A token, taken apart. Nothing of it is true before its signature has been checked.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// the name of its algorithm
    pub alg: String,
    /// the key that it says it was signed with
    pub kid: Option<String>,
    /// what was signed
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
    /// the text of the claims
    payload: Vec<u8>,
}

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// It was not meant as one: a password.
    Other,
    /// It is one, and broken.
    Broken(&'static str),
}

impl<'a> Token<'a> {
    /// Takes it apart. What does not begin like a token, with a header in JSON, is none.
    pub fn parse(text: &'a [u8]) -> Result<Token<'a>, NoToken> {
        let dot = text.iter().position(|byte| *byte == b'.');
        let (header, rest) = text.split_at(dot.ok_or(NoToken::Other)?);
        let header = object(&decoded(header).ok_or(NoToken::Other)?).ok_or(NoToken::Other)?;
        let rest = &rest[1..];
        let broken = Err(NoToken::Broken("is a token, but not of three parts"));
        let Some(dot) = rest.iter().position(|byte| *byte == b'.') else {
            return broken;
        };
        let (payload, signature) = (&rest[..dot], &rest[dot + 1..]);
        if signature.contains(&b'.') {
            return broken;
        }
        // An extension that must be understood; none is.
        if header.contains_key("crit") {
            return Err(NoToken::Broken("is a token that wants to be understood"));
        }
        let (Some(payload), Some(signature)) = (decoded(payload), decoded(signature)) else {
            return Err(NoToken::Broken(
                "is a token with a part that is not base64url",
            ));
        };
        let Some(Value::String(alg)) = header.get("alg") else {
            return Err(NoToken::Broken("is a token without alg"));
        };
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(NoToken::Broken("is a token with a kid that is no text")),
        };
        let end = text.len() - rest.len() + dot;
        Ok(Token {
            alg: alg.clone(),
            kid,
            signed: &text[..end],
            signature,
            payload,
        })
    }

    /// What it claims; `None` = that is no object of JSON. To be asked after its signature was right.
    pub fn claims(&self) -> Option<Map<String, Value>> {
        object(&self.payload)
    }
}

/// base64url without padding, in its one form.
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::encoded;

    #[test]
    fn a_token() {
        let text = format!(
            "{}.{}.AQID",
            encoded(r#"{"alg":"HS256","kid":"k"}"#),
            encoded("{}")
        );
        let token = Token::parse(text.as_bytes()).unwrap();
        assert_eq!((&*token.alg, token.kid.as_deref()), ("HS256", Some("k")));
        assert_eq!(token.signature, [1, 2, 3]);
        assert_eq!([token.signed, b".AQID"].concat(), text.as_bytes());
        assert!(token.claims().unwrap().is_empty());
    }

    #[test]
    fn what_is_a_password() {
        for text in [
            "",
            ".",
            "..",
            "secret",
            "a.b.c",
            "eyJ.x.y",
            "p.w",
            "....",
            &format!("{}.x.y", encoded("[1]")),
            &format!("{}.x.y", encoded("{")),
            &format!("{}=.x.y", encoded("{}")),
            &encoded("{}"),
        ] {
            assert_eq!(
                Token::parse(text.as_bytes()).unwrap_err(),
                NoToken::Other,
                "{text}"
            );
        }
        assert_eq!(Token::parse(b"\xff.\xff").unwrap_err(), NoToken::Other);
    }

    #[test]
    fn what_is_broken() {
        let good = r#"{"alg":"HS256"}"#;
        for (header, rest) in [
            (good, ".e30"),
            (good, ".e30.AQ.AQ"),
            (good, ".e30.AQ.AQ.AQ"),
            (good, ".e3 0.AQ"),
            (good, ".e30.AQ=="),
            (good, ".e30.AR"),
            ("{}", ".e30.AQ"),
            (r#"{"alg":5}"#, ".e30.AQ"),
            (r#"{"alg":"HS256","kid":[]}"#, ".e30.AQ"),
            (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, ".e30.AQ"),
        ] {
            let text = format!("{}{rest}", encoded(header));
            let why = Token::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(why, NoToken::Broken(_)), "{header} {rest}");
        }
        let text = format!("{}.{}.AQ", encoded(good), encoded("[]"));
        assert_eq!(Token::parse(text.as_bytes()).unwrap().claims(), None);
        // Deeper than anybody means it.
        let deep = format!(r#"{{"a":{}"#, "[".repeat(100_000));
        let text = format!("{}.{}.AQ", encoded(good), encoded(&deep));
        assert_eq!(Token::parse(text.as_bytes()).unwrap().claims(), None);
    }
}
