//! Bodies: one JSON object for an event, its fields in the order that EMQ had them.
//!
//! They are made on the event loops, so they are written by hand: what is to be written is measured first, and then
//! written into memory of exactly that size.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use emqttd_plugin_sdk::{ClientRef, Message, TopicEntry};

/// How payloads are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As text. What is not UTF-8 is replaced by U+FFFD, and `"payload_lossy":true` says so.
    Plain,
    /// As Base64 with padding (RFC 4648, 4).
    Base64,
}

/// A client has been accepted.
pub(crate) fn client_connected(client: ClientRef<'_>) -> Bytes {
    of_client(
        client,
        "client_connected",
        &[Piece::Raw(",\"conn_ack\":0}")],
    )
}

/// A client is gone.
pub(crate) fn client_disconnected(client: ClientRef<'_>, reason: &str) -> Bytes {
    of_client(client, "client_disconnected", &ended(reason))
}

/// A client wants to subscribe to a filter.
pub(crate) fn client_subscribe(client: ClientRef<'_>, entry: &TopicEntry) -> Bytes {
    of_subscription(client, "client_subscribe", entry, &asked(entry))
}

/// A client wants to unsubscribe from a filter.
pub(crate) fn client_unsubscribe(client: ClientRef<'_>, entry: &TopicEntry) -> Bytes {
    of_subscription(client, "client_unsubscribe", entry, &kind(entry))
}

/// There is a new session.
pub(crate) fn session_created(client: ClientRef<'_>) -> Bytes {
    of_client(client, "session_created", &[Piece::Raw("}")])
}

/// A session has subscribed to a filter.
pub(crate) fn session_subscribed(client: ClientRef<'_>, entry: &TopicEntry) -> Bytes {
    of_subscription(client, "session_subscribed", entry, &asked(entry))
}

/// A session has unsubscribed from a filter.
pub(crate) fn session_unsubscribed(client: ClientRef<'_>, entry: &TopicEntry) -> Bytes {
    let topic = [
        Piece::Raw(",\"topic\":"),
        text(&entry.topic),
        Piece::Raw("}"),
    ];
    of_client(client, "session_unsubscribed", &topic)
}

/// A session has ended.
pub(crate) fn session_terminated(client: ClientRef<'_>, reason: &str) -> Bytes {
    of_client(client, "session_terminated", &ended(reason))
}

/// A message has come in.
pub(crate) fn message_publish(message: &Message<'_>, encoding: Encoding) -> Bytes {
    of_message(
        &[Piece::Raw("{\"action\":\"message_publish\"")],
        message,
        encoding,
    )
}

/// A message has been written to a client.
pub(crate) fn message_delivered(
    client: ClientRef<'_>,
    message: &Message<'_>,
    encoding: Encoding,
) -> Bytes {
    of_message(&head(client, "message_delivered"), message, encoding)
}

/// A client has acknowledged a message.
pub(crate) fn message_acked(
    client: ClientRef<'_>,
    message: &Message<'_>,
    encoding: Encoding,
) -> Bytes {
    of_message(&head(client, "message_acked"), message, encoding)
}

/// What each body about a client begins with.
fn head<'a>(client: ClientRef<'a>, action: &'static str) -> [Piece<'a>; 6] {
    [
        Piece::Raw("{\"action\":\""),
        Piece::Raw(action),
        Piece::Raw("\",\"client_id\":"),
        text(client.clientid),
        Piece::Raw(",\"username\":"),
        text(client.username.unwrap_or(NO_NAME)),
    ]
}

/// What stands for the user name of a client without one.
const NO_NAME: &str = "undefined";

fn of_client(client: ClientRef<'_>, action: &'static str, tail: &[Piece<'_>]) -> Bytes {
    json(&[Piece::All(&head(client, action)), Piece::All(tail)])
}

fn ended(reason: &str) -> [Piece<'_>; 3] {
    [Piece::Raw(",\"reason\":"), text(reason), Piece::Raw("}")]
}

fn of_subscription(
    client: ClientRef<'_>,
    action: &'static str,
    entry: &TopicEntry,
    opts: &[Piece<'_>],
) -> Bytes {
    let topic = [
        Piece::Raw(",\"topic\":"),
        text(&entry.topic),
        Piece::Raw(",\"opts\":"),
        Piece::All(opts),
        Piece::Raw("}"),
    ];
    of_client(client, action, &topic)
}

/// The options of a subscription: `{"qos":1}`, `{"qos":1,"share":"g"}`, `{"qos":1,"local":true}`.
fn asked(entry: &TopicEntry) -> [Piece<'_>; 5] {
    let [share, group] = match &entry.share {
        Some(group) => [Piece::Raw(",\"share\":"), text(group)],
        None => [Piece::Raw(""), Piece::Raw("")],
    };
    [
        Piece::Raw("{\"qos\":"),
        Piece::Number(entry.qos as u64),
        share,
        group,
        Piece::Raw(if entry.local { ",\"local\":true}" } else { "}" }),
    ]
}

/// The same without QoS, which UNSUBSCRIBE has not. EMQ wrote an empty list where there was nothing.
fn kind(entry: &TopicEntry) -> [Piece<'_>; 3] {
    match (&entry.share, entry.local) {
        (Some(group), local) => [
            Piece::Raw("{\"share\":"),
            text(group),
            Piece::Raw(if local { ",\"local\":true}" } else { "}" }),
        ],
        (None, local) => [
            Piece::Raw(if local { "{\"local\":true}" } else { "[]" }),
            Piece::Raw(""),
            Piece::Raw(""),
        ],
    }
}

fn of_message(head: &[Piece<'_>], message: &Message<'_>, encoding: Encoding) -> Bytes {
    let (clientid, username) = sender(message);
    let (payload, end) = payload(message.payload, encoding);
    json(&[
        Piece::All(head),
        Piece::Raw(",\"from_client_id\":"),
        text(clientid),
        Piece::Raw(",\"from_username\":"),
        text(username),
        Piece::Raw(",\"topic\":"),
        text(message.topic),
        Piece::Raw(",\"qos\":"),
        Piece::Number(message.qos as u64),
        Piece::Raw(match message.retain {
            true => ",\"retain\":true,\"payload\":",
            false => ",\"retain\":false,\"payload\":",
        }),
        payload,
        Piece::Raw(",\"ts\":"),
        Piece::Number(message.timestamp / 1000),
        Piece::Raw(end),
    ])
}

/// What stands in `from_client_id` and `from_username`.
fn sender<'a>(message: &Message<'a>) -> (&'a str, &'a str) {
    match message.from {
        None => ("", ""),
        Some(from) => match from.username {
            None => (from.clientid, NO_NAME),
            // Management or a plugin: its name is both.
            Some("") => (from.clientid, from.clientid),
            Some(username) => (from.clientid, username),
        },
    }
}

/// The payload, and how the body ends.
fn payload(payload: &[u8], encoding: Encoding) -> (Piece<'_>, &'static str) {
    match (encoding, std::str::from_utf8(payload)) {
        (Encoding::Base64, _) => (Piece::Base64(payload), "}"),
        (Encoding::Plain, Ok(payload)) => (text(payload), "}"),
        (Encoding::Plain, Err(_)) => (Piece::Lossy(payload), ",\"payload_lossy\":true}"),
    }
}

/// Something to be written.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// as it stands
    Raw(&'static str),
    /// a string, and how long it is between its quotes
    Text(&'a str, usize),
    /// a string; what is not UTF-8 in it is replaced
    Lossy(&'a [u8]),
    /// a string
    Base64(&'a [u8]),
    Number(u64),
    All(&'a [Piece<'a>]),
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text, escaped_len(text))
}

fn json(pieces: &[Piece<'_>]) -> Bytes {
    let all = Piece::All(pieces);
    let len = all.len();
    let mut out = Vec::with_capacity(len);
    all.write(&mut out);
    debug_assert_eq!(out.len(), len, "what is measured is what is written");
    out.into()
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match *self {
            Piece::Raw(text) => text.len(),
            Piece::Text(_, len) => len + 2,
            Piece::Lossy(bytes) => {
                let chunk = |chunk: std::str::Utf8Chunk<'_>| {
                    let replaced = !chunk.invalid().is_empty();
                    escaped_len(chunk.valid()) + usize::from(replaced) * REPLACED.len()
                };
                bytes.utf8_chunks().map(chunk).sum::<usize>() + 2
            }
            Piece::Base64(bytes) => base64_len(bytes) + 2,
            Piece::Number(number) => number.checked_ilog10().map_or(1, |log| log as usize + 1),
            Piece::All(pieces) => pieces.iter().map(Piece::len).sum(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Piece::Raw(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Text(text, len) => {
                out.push(b'"');
                match len == text.len() {
                    true => out.extend_from_slice(text.as_bytes()),
                    false => escape(text, out),
                }
                out.push(b'"');
            }
            Piece::Lossy(bytes) => {
                out.push(b'"');
                for chunk in bytes.utf8_chunks() {
                    escape(chunk.valid(), out);
                    if !chunk.invalid().is_empty() {
                        out.extend_from_slice(REPLACED);
                    }
                }
                out.push(b'"');
            }
            Piece::Base64(bytes) => {
                out.push(b'"');
                let start = out.len();
                out.resize(start + base64_len(bytes), 0);
                // It fails only where there is no room.
                let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
                out.truncate(start + written);
                out.push(b'"');
            }
            Piece::Number(number) => write_number(number, out),
            Piece::All(pieces) => pieces.iter().for_each(|piece| piece.write(out)),
        }
    }
}

/// U+FFFD
const REPLACED: &[u8] = b"\\ufffd";

fn base64_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    // 2^64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Whether a byte stands for itself in a string: ASCII but for control characters, `"` and `\`.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// How many bytes a byte of UTF-8 becomes: the first of a character counts for all of it.
const ESCAPED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2,
            b' '..=b'~' => 1,
            0..=0x7f => 6,
            0x80..=0xbf => 0,
            // Two \u: those beyond U+FFFF are pairs of surrogates.
            0xf0.. => 12,
            _ => 6,
        };
        byte += 1;
    }
    table
};

/// How long a text is as a JSON string, without its quotes.
fn escaped_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    // Blocks without a way out in the middle become vector instructions.
    let block = |block: &[u8]| block.iter().fold(true, |plain, &b| plain & is_plain(b));
    let (blocks, rest) = bytes.as_chunks::<32>();
    match blocks.iter().all(|bytes| block(bytes)) && block(rest) {
        true => bytes.len(),
        false => bytes
            .iter()
            .map(|&b| usize::from(ESCAPED[usize::from(b)]))
            .sum(),
    }
}

/// Appends a text as EMQ wrote it: ASCII only, the rest as `\uXXXX`.
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut text = text;
    loop {
        let plain = text.bytes().position(|b| !is_plain(b));
        let (run, rest) = text.split_at(plain.unwrap_or(text.len()));
        out.extend_from_slice(run.as_bytes());
        let mut chars = rest.chars();
        let Some(c) = chars.next() else {
            return;
        };
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            '\x08' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\x0c' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            c => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| hex(*unit, out)),
        }
        text = chars.as_str();
    }
}

/// `\uXXXX`
fn hex(unit: u16, out: &mut Vec<u8>) {
    let digit = |shift: u16| b"0123456789abcdef"[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests;
