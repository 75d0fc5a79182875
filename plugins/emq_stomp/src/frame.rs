//! Frames of STOMP 1.0, 1.1 and 1.2, and the bytes that they are.
//!
//! [`Decoder`] finds frames in what has come and copies nothing: a [`Frame`] borrows. [`Encoder`] appends one to a
//! buffer.

use memchr::{memchr, memchr2};
use std::borrow::Cow;
use std::fmt;

/// Bytes of the first line at the most; the longest command has eleven.
const COMMAND: usize = 64;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0: headers are as they are.
    V1_0,
    /// 1.1: `\n`, `\c` and `\\` in headers.
    V1_1,
    /// 1.2: also `\r`.
    V1_2,
}

impl Version {
    /// All of them, the highest first.
    pub const ALL: [Version; 3] = [Version::V1_2, Version::V1_1, Version::V1_0];

    /// As in `accept-version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// What stands for the byte after a backslash.
    fn unescape(self, byte: u8) -> Option<char> {
        match byte {
            b'n' => Some('\n'),
            b'c' => Some(':'),
            b'\\' => Some('\\'),
            b'r' if self == Version::V1_2 => Some('\r'),
            _ => None,
        }
    }

    /// What follows the backslash when the byte cannot stand for itself; 0 = it can.
    #[inline]
    fn escape(self, byte: u8) -> u8 {
        match byte {
            // 1.0 has no escapes, but a topic of MQTT may have a line feed, and what follows it must not become a
            // header. The original wrote it like this.
            b'\n' => b'n',
            b':' if self > Version::V1_0 => b'c',
            b'\\' if self > Version::V1_0 => b'\\',
            b'\r' if self == Version::V1_2 => b'r',
            _ => 0,
        }
    }
}

/// The most that a frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// headers
    pub max_headers: usize,
    /// bytes of a header: name, colon and value as they are sent
    pub max_header_length: usize,
    /// bytes of the body
    pub max_body_length: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_headers: 10,
            max_header_length: 1024,
            max_body_length: 8192,
        }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is against the grammar.
    Malformed(&'static str),
    /// More headers than that.
    TooManyHeaders(usize),
    /// A header with more bytes than that.
    HeaderTooLong(usize),
    /// A body with more bytes than that.
    BodyTooLong(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Malformed(what) => write!(f, "Malformed frame: {what}"),
            Fault::TooManyHeaders(most) => {
                write!(f, "More headers than frame.max_headers = {most}")
            }
            Fault::HeaderTooLong(most) => {
                write!(
                    f,
                    "A header is longer than frame.max_header_length = {most}"
                )
            }
            Fault::BodyTooLong(most) => {
                write!(f, "The body is longer than frame.max_body_length = {most}")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// A frame, borrowed from the bytes it came in. Its headers have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// command, which may be an unknown one
    pub command: &'a str,
    /// body
    pub body: &'a [u8],
    /// lines of headers
    lines: &'a str,
    /// the version whose escapes there are; `None` = there are none
    escapes: Option<Version>,
}

impl<'a> Frame<'a> {
    /// Headers in their order. Of those with the same name the first counts.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let escapes = self.escapes;
        let text = move |raw: &'a str| match escapes {
            Some(version) if raw.contains('\\') => Cow::Owned(unescaped(raw, version)),
            _ => Cow::Borrowed(raw),
        };
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            // Each line has been checked to have both; what is found is one byte long.
            let end = memchr(b'\n', rest.as_bytes())?;
            let colon = memchr(b':', rest.as_bytes())?;
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            let value = &line[colon + 1..];
            let value = value.strip_suffix('\r').unwrap_or(value);
            Some((text(&line[..colon]), text(value)))
        })
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut headers = self.headers();
        headers.find_map(|(other, value)| (other == name).then_some(value))
    }
}

/// Text that has been checked for escapes that are none.
fn unescaped(raw: &str, version: Version) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // What is escaped is one byte long.
        if let Some(meant) = rest.bytes().next().and_then(|byte| version.unescape(byte)) {
            text.push(meant);
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

/// Whether every backslash begins an escape that the version knows.
fn has_valid_escapes(raw: &[u8], version: Version) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        match rest.get(at + 1).map(|byte| version.unescape(*byte)) {
            Some(Some(_)) => rest = &rest[at + 2..],
            _ => return false,
        }
    }
    true
}

/// What was at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// bytes that have been used: the frame and what stands before it
    pub used: usize,
    /// the frame; `None` = it is not whole yet
    pub frame: Option<Frame<'a>>,
}

/// Finds frames. It remembers how much of a frame that is not whole it has looked at, and nothing else.
#[derive(Debug, Default)]
pub struct Decoder {
    /// the frame at the front cannot be whole before there are so many bytes
    needed: usize,
    /// so many bytes of the frame at the front have no NUL that could end it
    scanned: usize,
}

impl Decoder {
    /// The frame at the front of `bytes`, which are those that earlier calls have not used and what came since.
    ///
    /// # Errors
    /// When there will be no frame whatever follows. Then nothing after it can be understood either.
    pub fn decode<'a>(
        &mut self,
        bytes: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Decoded<'a>, Fault> {
        let skipped = between(bytes);
        let partial = Decoded {
            used: skipped,
            frame: None,
        };
        let bytes = &bytes[skipped..];
        if bytes.len() < self.needed {
            return Ok(partial);
        }
        let Some(head) = Head::read(bytes, version, limits)? else {
            return Ok(partial);
        };
        let Some(end) = self.end_of_body(bytes, &head, limits)? else {
            return Ok(partial);
        };
        *self = Decoder::default();
        let frame = head.frame(&bytes[head.len..end], version)?;
        Ok(Decoded {
            used: skipped + end + 1,
            frame: Some(frame),
        })
    }

    /// Where the NUL stands that ends the frame; `None` = it has not come.
    fn end_of_body(
        &mut self,
        bytes: &[u8],
        head: &Head<'_>,
        limits: &Limits,
    ) -> Result<Option<usize>, Fault> {
        let most = limits.max_body_length;
        let Some(length) = head.content_length else {
            let from = self.scanned.max(head.len);
            let end = memchr(0, &bytes[from..]).map(|at| from + at);
            if end.unwrap_or(bytes.len()) - head.len > most {
                return Err(Fault::BodyTooLong(most));
            }
            self.scanned = bytes.len();
            return Ok(end);
        };
        if length > most {
            return Err(Fault::BodyTooLong(most));
        }
        let end = head.len + length;
        self.needed = end + 1;
        match bytes.get(end) {
            None => Ok(None),
            Some(0) => Ok(Some(end)),
            Some(_) => Err(Fault::Malformed("no NUL after content-length bytes")),
        }
    }
}

/// Bytes between frames at the front: line ends and, as other servers have it, NULs. A CR whose LF has not come is left.
fn between(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match bytes[at..] {
            [b'\n' | 0, ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Command and headers.
struct Head<'a> {
    command: &'a [u8],
    lines: &'a [u8],
    has_escapes: bool,
    content_length: Option<usize>,
    /// with the empty line
    len: usize,
}

impl<'a> Head<'a> {
    /// `None` = it is not whole yet.
    fn read(bytes: &'a [u8], version: Version, limits: &Limits) -> Result<Option<Head<'a>>, Fault> {
        let Some((command, mut at)) = line(bytes, COMMAND, Fault::Malformed("no command"))? else {
            return Ok(None);
        };
        // What says who comes is never escaped, so that all versions read it alike.
        let escapes = version > Version::V1_0 && !matches!(command, b"CONNECT" | b"STOMP");
        let start = at;
        let (mut count, mut has_escapes, mut content_length) = (0, false, None);
        loop {
            let too_long = Fault::HeaderTooLong(limits.max_header_length);
            let Some((header, len)) = line(&bytes[at..], limits.max_header_length, too_long)?
            else {
                return Ok(None);
            };
            if header.is_empty() {
                return Ok(Some(Head {
                    command,
                    lines: &bytes[start..at],
                    has_escapes,
                    content_length,
                    len: at + len,
                }));
            }
            at += len;
            count += 1;
            if count > limits.max_headers {
                return Err(Fault::TooManyHeaders(limits.max_headers));
            }
            let Some(colon) = memchr(b':', header).filter(|colon| *colon > 0) else {
                return Err(Fault::Malformed("a header is not name:value"));
            };
            if escapes && memchr(b'\\', header).is_some() {
                if !has_valid_escapes(header, version) {
                    return Err(Fault::Malformed("an undefined escape"));
                }
                has_escapes = true;
            }
            if content_length.is_none() && &header[..colon] == b"content-length" {
                content_length = Some(number(&header[colon + 1..])?);
            }
        }
    }

    fn frame(&self, body: &'a [u8], version: Version) -> Result<Frame<'a>, Fault> {
        let text = |bytes| {
            str::from_utf8(bytes).map_err(|_| Fault::Malformed("command and headers are not UTF-8"))
        };
        Ok(Frame {
            command: text(self.command)?,
            body,
            lines: text(self.lines)?,
            escapes: self.has_escapes.then_some(version),
        })
    }
}

/// The line at the front without its end, and its bytes with it; `None` = it is not whole yet.
fn line(bytes: &[u8], most: usize, too_long: Fault) -> Result<Option<(&[u8], usize)>, Fault> {
    let Some(end) = memchr2(b'\n', 0, bytes) else {
        // With a CR that belongs to the end of the line.
        if bytes.len() > most.saturating_add(1) {
            return Err(too_long);
        }
        return Ok(None);
    };
    if bytes[end] == 0 {
        return Err(Fault::Malformed("NUL before the empty line"));
    }
    let line = &bytes[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > most {
        return Err(too_long);
    }
    Ok(Some((line, end + 1)))
}

fn number(digits: &[u8]) -> Result<usize, Fault> {
    let digits = digits.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed("content-length is not a number"));
    }
    Ok(digits.iter().fold(0_usize, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    }))
}

/// The receipt that a frame asks for which cannot be understood as a whole; as far as it can be found.
pub fn receipt_of(bytes: &[u8], version: Version, limits: &Limits) -> Option<String> {
    /// Headers that are looked at.
    const LOOKED_AT: usize = 100;
    let bytes = &bytes[between(bytes)..];
    let mut lines = bytes.split(|byte| *byte == b'\n').skip(1);
    for line in lines.by_ref().take(LOOKED_AT) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || memchr(0, line).is_some() {
            return None;
        }
        if let Some(value) = line.strip_prefix(b"receipt:") {
            let whole = lines.next().is_some() && line.len() <= limits.max_header_length;
            let value = str::from_utf8(value).ok().filter(|_| whole)?;
            if version == Version::V1_0 {
                return Some(value.into());
            }
            return has_valid_escapes(value.as_bytes(), version).then(|| unescaped(value, version));
        }
    }
    None
}

/// Appends one frame to a buffer: command, headers, then [`Encoder::body`]. Headers have no NUL.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// Begins a frame whose headers are escaped as in `version`; for CONNECTED that is 1.0.
    pub fn new(out: &'a mut Vec<u8>, command: &str, version: Version) -> Encoder<'a> {
        out.extend_from_slice(command.as_bytes());
        out.push(b'\n');
        Encoder { out, version }
    }

    /// Goes on with a frame whose beginning, with whole headers, has been made before.
    pub fn resume(out: &'a mut Vec<u8>, beginning: &[u8], version: Version) -> Encoder<'a> {
        out.extend_from_slice(beginning);
        Encoder { out, version }
    }

    /// Whether the version can say a header so that it is read as the same.
    pub fn can_say(&self, name: &str, value: &str) -> bool {
        let lost = |byte: &u8| match byte {
            0 => true,
            b'\r' => self.version < Version::V1_2,
            b'\n' => self.version == Version::V1_0,
            _ => false,
        };
        let in_name = |byte: &u8| lost(byte) || *byte == b':' && self.version == Version::V1_0;
        !name.is_empty()
            && !name.as_bytes().iter().any(in_name)
            && !value.as_bytes().iter().any(lost)
    }

    /// Adds a header with any name, see [`Encoder::can_say`].
    #[must_use]
    pub fn named(self, name: &str, value: &str) -> Encoder<'a> {
        put_escaped(self.out, name.as_bytes(), self.version);
        self.header("", value)
    }

    /// Adds a header whose name needs no escapes.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Encoder<'a> {
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        put_escaped(self.out, value.as_bytes(), self.version);
        self.out.push(b'\n');
        self
    }

    /// Adds a header that is a number.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Encoder<'a> {
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        push_decimal(self.out, value);
        self.out.push(b'\n');
        self
    }

    /// Ends the frame, with a body that may be empty.
    pub fn body(self, body: &[u8]) {
        if !body.is_empty() {
            self.out.extend_from_slice(b"content-length:");
            push_decimal(self.out, body.len() as u64);
            self.out.push(b'\n');
        }
        self.out.push(b'\n');
        self.out.extend_from_slice(body);
        self.out.push(0);
    }
}

fn put_escaped(out: &mut Vec<u8>, value: &[u8], version: Version) {
    // Nearly always there is nothing to escape.
    let special = |byte: &u8| matches!(byte, b'\n' | b'\r' | b':' | b'\\');
    let plain = value.iter().position(special).unwrap_or(value.len());
    out.extend_from_slice(&value[..plain]);
    for byte in &value[plain..] {
        match version.escape(*byte) {
            0 => out.push(*byte),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
    }
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // One digit.
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

// With its path, because the fuzz target takes this file alone.
#[cfg(test)]
#[path = "frame/tests.rs"]
mod tests;
