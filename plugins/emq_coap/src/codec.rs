//! Bytes and messages of CoAP (RFC 7252, section 3).
//!
//! A message refers to the datagram it was decoded from: decoding allocates nothing, and never panics.

use std::fmt;

/// Numbers of options.
pub mod option {
    /// opaque, 0 to 8 bytes, several
    pub const IF_MATCH: u16 = 1;
    /// text
    pub const URI_HOST: u16 = 3;
    /// opaque, 1 to 8 bytes
    pub const ETAG: u16 = 4;
    /// empty
    pub const IF_NONE_MATCH: u16 = 5;
    /// number of up to 3 bytes (RFC 7641)
    pub const OBSERVE: u16 = 6;
    /// number of up to 2 bytes
    pub const URI_PORT: u16 = 7;
    /// text, several
    pub const LOCATION_PATH: u16 = 8;
    /// text, several
    pub const URI_PATH: u16 = 11;
    /// number of up to 2 bytes
    pub const CONTENT_FORMAT: u16 = 12;
    /// number of up to 4 bytes, seconds
    pub const MAX_AGE: u16 = 14;
    /// text, several
    pub const URI_QUERY: u16 = 15;
    /// number of up to 2 bytes
    pub const ACCEPT: u16 = 17;
    /// block of the response (RFC 7959)
    pub const BLOCK2: u16 = 23;
    /// block of the request (RFC 7959)
    pub const BLOCK1: u16 = 27;
    /// number of up to 4 bytes: bytes of the whole response (RFC 7959)
    pub const SIZE2: u16 = 28;
    /// text
    pub const PROXY_URI: u16 = 35;
    /// text
    pub const PROXY_SCHEME: u16 = 39;
    /// number of up to 4 bytes: bytes of the whole request
    pub const SIZE1: u16 = 60;
    /// number of one byte (RFC 7967)
    pub const NO_RESPONSE: u16 = 258;
}

/// Longest token, bytes.
pub const MAX_TOKEN: usize = 8;
/// Before the token.
const HEADER: usize = 4;
/// Ends the options, begins the payload.
const MARKER: u8 = 0xFF;

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CON: acknowledged
    Confirmable,
    /// NON
    NonConfirmable,
    /// ACK
    Acknowledgement,
    /// RST
    Reset,
}

impl Kind {
    /// Makes a message that is written already one of this type.
    pub fn set(self, message: &mut [u8]) {
        if let Some(first) = message.first_mut() {
            *first = *first & !0x30 | (self as u8) << 4;
        }
    }

    fn from_bits(bits: u8) -> Kind {
        match bits & 3 {
            0 => Kind::Confirmable,
            1 => Kind::NonConfirmable,
            2 => Kind::Acknowledgement,
            _ => Kind::Reset,
        }
    }
}

/// Code of a message: a method, or how a request went.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(u8);

impl Code {
    /// 0.00
    pub const EMPTY: Code = Code::new(0, 0);
    /// 0.01
    pub const GET: Code = Code::new(0, 1);
    /// 0.02
    pub const POST: Code = Code::new(0, 2);
    /// 0.03
    pub const PUT: Code = Code::new(0, 3);
    /// 0.04
    pub const DELETE: Code = Code::new(0, 4);
    /// 2.01
    pub const CREATED: Code = Code::new(2, 1);
    /// 2.02
    pub const DELETED: Code = Code::new(2, 2);
    /// 2.03
    pub const VALID: Code = Code::new(2, 3);
    /// 2.04
    pub const CHANGED: Code = Code::new(2, 4);
    /// 2.05
    pub const CONTENT: Code = Code::new(2, 5);
    /// 2.07, of the draft for publish-subscribe: there is no value now
    pub const NO_CONTENT: Code = Code::new(2, 7);
    /// 2.31
    pub const CONTINUE: Code = Code::new(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Code = Code::new(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Code = Code::new(4, 1);
    /// 4.02
    pub const BAD_OPTION: Code = Code::new(4, 2);
    /// 4.03
    pub const FORBIDDEN: Code = Code::new(4, 3);
    /// 4.04
    pub const NOT_FOUND: Code = Code::new(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Code = Code::new(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Code = Code::new(4, 6);
    /// 4.08
    pub const ENTITY_INCOMPLETE: Code = Code::new(4, 8);
    /// 4.12
    pub const PRECONDITION_FAILED: Code = Code::new(4, 12);
    /// 4.13
    pub const ENTITY_TOO_LARGE: Code = Code::new(4, 13);
    /// 4.15
    pub const UNSUPPORTED_FORMAT: Code = Code::new(4, 15);
    /// 5.00
    pub const INTERNAL_ERROR: Code = Code::new(5, 0);
    /// 5.03
    pub const UNAVAILABLE: Code = Code::new(5, 3);
    /// 5.05
    pub const NO_PROXYING: Code = Code::new(5, 5);

    /// `class.detail`; class 0 to 7, detail 0 to 31.
    pub const fn new(class: u8, detail: u8) -> Code {
        Code((class << 5) | (detail & 31))
    }

    /// 0 = request, 2 = success, 4 = client's error, 5 = server's error.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The byte.
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// A method.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// 2.xx
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// The class says what it is.
    const fn is_known(self) -> bool {
        matches!(self.class(), 0 | 2 | 4 | 5)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 31)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What ties a response to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Token {
    // Bytes behind `len` are 0, so that equal tokens are equal in all fields.
    bytes: [u8; MAX_TOKEN],
    len: u8,
}

impl Token {
    /// `None` when it is longer than [`MAX_TOKEN`].
    pub fn new(token: &[u8]) -> Option<Token> {
        let mut bytes = [0; MAX_TOKEN];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        let len = u8::try_from(token.len()).ok()?;
        Some(Token { bytes, len })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Too short, or of another version: it is ignored (RFC 7252, section 3).
    NotCoap,
    /// Broken behind its header: RST when it is confirmable, else ignored (section 4.2).
    Format {
        /// its type
        kind: Kind,
        /// its message ID
        id: u16,
    },
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// type
    pub kind: Kind,
    /// code
    pub code: Code,
    /// message ID
    pub id: u16,
    /// token
    pub token: Token,
    /// options, in the order of their numbers
    pub options: Options<'a>,
    /// empty = none
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Of a datagram.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(datagram: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let Some((&[first, code, high, low], rest)) = datagram.split_first_chunk::<HEADER>() else {
            return Err(Malformed::NotCoap);
        };
        if first >> 6 != 1 {
            return Err(Malformed::NotCoap);
        }
        let kind = Kind::from_bits(first >> 4);
        let id = u16::from_be_bytes([high, low]);
        let code = Code(code);
        let malformed = Malformed::Format { kind, id };
        let (token, rest) = rest
            .split_at_checked(usize::from(first & 15))
            .ok_or(malformed)?;
        let token = Token::new(token).ok_or(malformed)?;
        let (options, payload) = Options::split(rest).ok_or(malformed)?;
        // Section 4.1: an empty message is its header alone.
        if !code.is_known() || (code == Code::EMPTY && datagram.len() > HEADER) {
            return Err(malformed);
        }
        Ok(Message {
            kind,
            code,
            id,
            token,
            options,
            payload,
        })
    }
}

/// Options of a message, which have been looked through: going over them cannot fail.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// Options, and the payload behind them. `None` = malformed.
    fn split(bytes: &'a [u8]) -> Option<(Options<'a>, &'a [u8])> {
        let (mut rest, mut number) = (bytes, 0u16);
        loop {
            match rest {
                [] => return Some((Options(bytes), &[])),
                // Section 3.1: a marker without a payload is an error.
                [MARKER] => return None,
                [MARKER, payload @ ..] => {
                    let options = &bytes[..bytes.len() - rest.len()];
                    return Some((Options(options), payload));
                }
                _ => {
                    let (delta, _, behind) = take_option(rest)?;
                    number = number.checked_add(delta)?;
                    rest = behind;
                }
            }
        }
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Numbers and values, in their order.
    pub fn iter(&self) -> OptionIter<'a> {
        OptionIter {
            rest: self.0,
            number: 0,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Options<'a> {
    type Item = (u16, &'a [u8]);
    type IntoIter = OptionIter<'a>;

    fn into_iter(self) -> OptionIter<'a> {
        self.iter()
    }
}

/// Goes over options.
#[derive(Debug, Clone)]
pub struct OptionIter<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Iterator for OptionIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (delta, value, rest) = take_option(self.rest)?;
        self.number = self.number.checked_add(delta)?;
        self.rest = rest;
        Some((self.number, value))
    }
}

/// One option: what is added to the number, its value, what follows.
fn take_option(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (delta, rest) = extended(first >> 4, rest)?;
    let (length, rest) = extended(first & 15, rest)?;
    let (value, rest) = rest.split_at_checked(usize::from(length))?;
    Some((delta, value, rest))
}

/// Section 3.1: 13 and 14 say that one or two more bytes follow; 15 is reserved.
fn extended(nibble: u8, bytes: &[u8]) -> Option<(u16, &[u8])> {
    match nibble {
        13 => {
            let (&more, rest) = bytes.split_first()?;
            Some((13 + u16::from(more), rest))
        }
        14 => {
            let (more, rest) = bytes.split_first_chunk::<2>()?;
            Some((u16::from_be_bytes(*more).checked_add(269)?, rest))
        }
        15 => None,
        small => Some((u16::from(small), bytes)),
    }
}

/// A number as options have it: big endian, leading zeros may be left out. `None` when it is longer than `most`
/// bytes.
pub fn uint(value: &[u8], most: usize) -> Option<u32> {
    if value.len() > most.min(4) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
    )
}

/// Writes a message behind what is in the buffer: options in the order of their numbers, then the payload.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    number: u16,
}

impl<'a> Writer<'a> {
    /// Begins.
    pub fn new(out: &'a mut Vec<u8>, kind: Kind, code: Code, id: u16, token: &Token) -> Self {
        let [high, low] = id.to_be_bytes();
        out.extend_from_slice(&[
            0x40 | (kind as u8) << 4 | token.len,
            code.to_byte(),
            high,
            low,
        ]);
        out.extend_from_slice(token.as_bytes());
        Writer { out, number: 0 }
    }

    /// An option. Its number is not below that of the one before; a value beyond 65,804 bytes is cut off.
    pub fn option(&mut self, number: u16, value: &[u8]) -> &mut Self {
        debug_assert!(number >= self.number, "options are written in order");
        let value = &value[..value.len().min(MAX_VALUE)];
        let delta = usize::from(number.saturating_sub(self.number));
        self.number = number;
        let at = self.out.len();
        self.out.push(0);
        let high = extend(self.out, delta);
        let low = extend(self.out, value.len());
        self.out[at] = high << 4 | low;
        self.out.extend_from_slice(value);
        self
    }

    /// An option that is a number, in as few bytes as it needs.
    pub fn uint(&mut self, number: u16, value: u32) -> &mut Self {
        let bytes = value.to_be_bytes();
        let zeros = (value.leading_zeros() / 8) as usize;
        self.option(number, &bytes[zeros..])
    }

    /// The payload, which ends the message.
    pub fn payload(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            self.out.push(MARKER);
            self.out.extend_from_slice(payload);
        }
    }
}

/// What fits behind a length of two bytes.
const MAX_VALUE: usize = 269 + u16::MAX as usize;

/// The nibble for a number, whose further bytes are written.
fn extend(out: &mut Vec<u8>, n: usize) -> u8 {
    match n {
        // Both are below the next limit, so nothing is cut off.
        0..=12 => n as u8,
        13..=268 => {
            out.push((n - 13) as u8);
            13
        }
        _ => {
            out.extend_from_slice(&((n - 269) as u16).to_be_bytes());
            14
        }
    }
}

/// An empty message: ACK or RST for that ID, or a ping.
pub fn empty(kind: Kind, id: u16) -> [u8; HEADER] {
    let [high, low] = id.to_be_bytes();
    [0x40 | (kind as u8) << 4, 0, high, low]
}
