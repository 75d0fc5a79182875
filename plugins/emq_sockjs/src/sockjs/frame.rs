//! What server and client say to each other in a session: frames one way, arrays of messages the other way.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Why a session ends, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 1002, 2010, 3000, ...
    pub code: u16,
    /// in words
    pub reason: Cow<'static, str>,
}

impl Close {
    /// With that code and reason.
    pub const fn new(code: u16, reason: &'static str) -> Close {
        Close {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    /// The server has ended it.
    pub const GO_AWAY: Close = Close::new(3000, "Go away!");
    /// Somebody else receives.
    pub const BUSY: Close = Close::new(2010, "Another connection still open");
    /// The connection of who received has broken.
    pub const INTERRUPTED: Close = Close::new(1002, "Connection interrupted");
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The session is open.
    Open,
    /// Messages in their order; not empty.
    Messages(Vec<Bytes>),
    /// Nothing has happened for a while.
    Heartbeat,
    /// It is over.
    Close(Close),
}

impl Frame {
    /// As it is written, without what a transport puts around it. ASCII apart from characters that no client
    /// stumbles over.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Frame::Open => b"o".to_vec(),
            Frame::Heartbeat => b"h".to_vec(),
            Frame::Messages(messages) => {
                let size: usize = messages.iter().map(|message| message.len() + 3).sum();
                let mut text = Vec::with_capacity(size + size / 8 + 3);
                text.extend_from_slice(b"a[");
                for (index, message) in messages.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    quote(message, &mut text);
                }
                text.push(b']');
                text
            }
            Frame::Close(close) => {
                let mut text = format!("c[{},", close.code).into_bytes();
                quote(close.reason.as_bytes(), &mut text);
                text.push(b']');
                text
            }
        }
    }
}

/// Appends a message as a JSON string. Characters that some browser or proxy changes or drops on the way are escaped
/// as sockjs-node escapes them, and all outside of the basic plane. The message is UTF-8 in which, as in
/// strings of JavaScript, half a surrogate pair may stand; a byte that is neither becomes U+FFFD.
pub fn quote(message: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    let mut rest = message;
    while !rest.is_empty() {
        let plain = plain_ascii(rest);
        into.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if rest.is_empty() {
            break;
        }
        let (character, size) = first(rest);
        rest = &rest[size..];
        match character {
            0x22 => into.extend_from_slice(b"\\\""),
            0x5c => into.extend_from_slice(b"\\\\"),
            0x08 => into.extend_from_slice(b"\\b"),
            0x09 => into.extend_from_slice(b"\\t"),
            0x0a => into.extend_from_slice(b"\\n"),
            0x0c => into.extend_from_slice(b"\\f"),
            0x0d => into.extend_from_slice(b"\\r"),
            0x1_0000.. => {
                let above = character - 0x1_0000;
                escape(0xd800 + (above >> 10), into);
                escape(0xdc00 + (above & 0x3ff), into);
            }
            _ if is_fragile(character) => escape(character, into),
            _ => {
                let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    into.push(b'"');
}

/// How many bytes at the beginning are ASCII that needs no escape.
fn plain_ascii(text: &[u8]) -> usize {
    let special = |&byte: &u8| !(0x20..0x80).contains(&byte) || byte == b'"' || byte == b'\\';
    text.iter().position(special).unwrap_or(text.len())
}

/// The characters of sockjs-node's `escapable`.
fn is_fragile(character: u32) -> bool {
    matches!(
        character,
        0..=0x1f
            | 0xd800..=0xdfff
            | 0x200c..=0x200f
            | 0x2028..=0x202f
            | 0x2060..=0x206f
            | 0xfff0..=0xffff
    )
}

fn escape(unit: u32, into: &mut Vec<u8>) {
    into.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

/// The first character and its bytes. Not empty.
fn first(text: &[u8]) -> (u32, usize) {
    const BROKEN: (u32, usize) = (0xfffd, 1);
    let size = match text[0] {
        0..=0x7f => return (u32::from(text[0]), 1),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return BROKEN,
    };
    let Some(bytes) = text.get(..size) else {
        return BROKEN;
    };
    if let Ok(valid) = std::str::from_utf8(bytes) {
        return (
            valid.chars().next().map_or(0xfffd, |first| first as u32),
            size,
        );
    }
    match surrogate(bytes) {
        Some(unit) => (u32::from(unit), size),
        None => BROKEN,
    }
}

/// Half a surrogate pair, as it stands in three bytes.
pub fn surrogate(bytes: &[u8]) -> Option<u16> {
    match *bytes {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf] => {
            Some(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f))
        }
        _ => None,
    }
}

/// Why messages of a client are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no array.
    Empty,
    /// It is not JSON, or something else than text is in it.
    Broken,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Empty => "Payload expected.",
            Refused::Broken => "Broken JSON encoding.",
        })
    }
}

/// The messages of an array of JSON strings, in UTF-8 as [`quote`] takes it.
///
/// # Errors
/// When there is no such array.
pub fn messages(payload: &[u8]) -> Result<Vec<Bytes>, Refused> {
    if payload.is_empty() {
        return Err(Refused::Empty);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Refused::Broken)?;
    match serde_json::from_str::<Vec<Message>>(text) {
        Ok(messages) => Ok(messages.into_iter().map(|message| message.0).collect()),
        // JSON, but no array.
        Err(error) if error.is_data() && !text.trim_start().starts_with('[') => Err(Refused::Empty),
        Err(_) => Err(Refused::Broken),
    }
}

/// As [`messages`], or a lone message, which may come through a WebSocket.
///
/// # Errors
/// When it is neither.
pub fn messages_or_one(payload: &str) -> Result<Vec<Bytes>, Refused> {
    if payload.trim_start().starts_with('[') {
        return messages(payload.as_bytes());
    }
    match serde_json::from_str::<Message>(payload) {
        Ok(message) => Ok(vec![message.0]),
        Err(_) => Err(Refused::Broken),
    }
}

/// A JSON string; as bytes, since a Rust string cannot have half a surrogate pair.
struct Message(Bytes);

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Message;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Message, E> {
                Ok(Message(Bytes::copy_from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn quoted(message: &[u8]) -> String {
        let mut text = Vec::new();
        quote(message, &mut text);
        String::from_utf8(text).unwrap()
    }

    fn decoded(payload: &str) -> Vec<Bytes> {
        messages(payload.as_bytes()).unwrap()
    }

    #[test]
    fn frames() {
        assert_eq!(Frame::Open.text(), b"o");
        assert_eq!(Frame::Heartbeat.text(), b"h");
        let messages = vec![Bytes::from("x"), Bytes::from("\"\n")];
        assert_eq!(Frame::Messages(messages).text(), br#"a["x","\"\n"]"#);
        let close = Frame::Close(Close::GO_AWAY);
        assert_eq!(close.text(), br#"c[3000,"Go away!"]"#);
    }

    #[test]
    fn what_is_escaped() {
        assert_eq!(
            quoted("  \0\n\r\u{8}\u{c}\t\u{1f} ".as_bytes()),
            r#""  \u0000\n\r\b\f\t\u001f ""#
        );
        assert_eq!(quoted("é\u{7f}\u{20ac}".as_bytes()), "\"é\u{7f}\u{20ac}\"");
        assert_eq!(quoted("\u{1f600}".as_bytes()), r#""\ud83d\ude00""#);
        assert_eq!(quoted(b"\xed\xa0\x80"), r#""\ud800""#);
        assert_eq!(quoted(b"\xff\xc3"), r#""\ufffd\ufffd""#);
        assert_eq!(quoted(b"\xc3("), r#""\ufffd(""#);
        for unit in (0u32..=0xffff).filter(|&unit| is_fragile(unit)) {
            let payload = format!("[\"\\u{unit:04x}\"]");
            let text = quoted(&decoded(&payload)[0]);
            assert!(text.is_ascii(), "{text}");
            assert_eq!(decoded(&format!("[{text}]")), decoded(&payload));
        }
    }

    #[test]
    fn arrays_of_messages() {
        assert_eq!(decoded("[]"), Vec::<Bytes>::new());
        assert_eq!(
            decoded(r#" ["a", "\u0041\ud83d\ude00"] "#),
            ["a", "A\u{1f600}"]
        );
        assert_eq!(
            decoded(r#"["\ud800x"]"#),
            [Bytes::from(&b"\xed\xa0\x80x"[..])]
        );
        assert_eq!(messages(b""), Err(Refused::Empty));
        for payload in ["\"a\"", "{}", "1", "null", " {\"a\":[\"b\"]}"] {
            assert_eq!(
                messages(payload.as_bytes()),
                Err(Refused::Empty),
                "{payload}"
            );
        }
        for payload in [
            "[\"a",
            "[1]",
            "[[\"a\"]]",
            "[null]",
            "[\"a\"]x",
            "]",
            "x",
            "[[[[[[[",
        ] {
            assert_eq!(
                messages(payload.as_bytes()),
                Err(Refused::Broken),
                "{payload}"
            );
        }
        assert_eq!(messages(b"[\"\xff\"]"), Err(Refused::Broken));
        assert_eq!(messages_or_one("\"a\""), Ok(vec![Bytes::from("a")]));
        assert_eq!(messages_or_one("[\"a\"]"), Ok(vec![Bytes::from("a")]));
        assert_eq!(messages_or_one("[\"a"), Err(Refused::Broken));
        assert_eq!(messages_or_one("{}"), Err(Refused::Broken));
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(text: String) {
            let frame = quoted(text.as_bytes());
            prop_assert_eq!(decoded(&format!("[{frame}]")), [Bytes::from(text)]);
        }

        #[test]
        fn any_bytes_are_quoted(bytes: Vec<u8>) {
            let frame = quoted(&bytes);
            prop_assert_eq!(decoded(&format!("[{frame}]")).len(), 1);
        }

        #[test]
        fn any_payload_is_judged(bytes: Vec<u8>) {
            let _ = messages(&bytes);
        }
    }
}
