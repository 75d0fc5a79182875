//! The fixed header and the variable byte integer.

use crate::{DecodeError, DecodeErrorKind};

/// The largest remaining length: 268,435,455 bytes.
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// What the first two to five bytes of a packet say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedHeader {
    /// The first byte: packet type and flags.
    pub first: u8,
    /// Bytes of the fixed header itself, 2 to 5.
    pub len: usize,
    /// Bytes that follow the fixed header.
    pub remaining: usize,
}

impl FixedHeader {
    /// Bytes of the whole packet.
    #[inline]
    pub const fn packet_len(&self) -> usize {
        self.len + self.remaining
    }
}

/// Reads the fixed header at the start of `buf`; `None` when more bytes are needed.
///
/// # Errors
/// [`DecodeErrorKind::InvalidLength`] for a remaining length of more than four bytes, or one written with more bytes than
/// it needs [MQTT-1.5.5-1].
#[inline]
pub fn fixed_header(buf: &[u8]) -> Result<Option<FixedHeader>, DecodeError> {
    match *buf {
        [first, length, ..] if length < 0x80 => Ok(Some(FixedHeader {
            first,
            len: 2,
            remaining: usize::from(length),
        })),
        [first, ref rest @ ..] => long_header(first, rest),
        [] => Ok(None),
    }
}

fn long_header(first: u8, rest: &[u8]) -> Result<Option<FixedHeader>, DecodeError> {
    match varint(rest) {
        Varint::Value { value, len } => Ok(Some(FixedHeader {
            first,
            len: 1 + len,
            remaining: value as usize,
        })),
        Varint::Incomplete => Ok(None),
        Varint::Invalid => Err(DecodeError::new(
            DecodeErrorKind::InvalidLength,
            "remaining length of a form that is not allowed",
        )),
    }
}

/// The outcome of reading a variable byte integer.
pub(crate) enum Varint {
    /// The number and the bytes it took.
    Value { value: u32, len: usize },
    /// The input ends inside of it.
    Incomplete,
    /// Five bytes or more, or more bytes than needed.
    Invalid,
}

/// Reads a variable byte integer [MQTT-1.5.5-1].
#[inline]
pub(crate) fn varint(buf: &[u8]) -> Varint {
    let mut value = 0;
    for index in 0..4 {
        let Some(&byte) = buf.get(index) else {
            return Varint::Incomplete;
        };
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            // A last byte of 0 adds nothing: the form is longer than it need be.
            return if byte == 0 && index > 0 {
                Varint::Invalid
            } else {
                Varint::Value {
                    value,
                    len: index + 1,
                }
            };
        }
    }
    Varint::Invalid
}

/// How many bytes `value` takes as a variable byte integer. Meaningful up to [`MAX_REMAINING_LENGTH`].
#[inline]
pub const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Writes `value` as a variable byte integer to the start of `buf` and returns its length.
///
/// `value` is at most [`MAX_REMAINING_LENGTH`]: whoever makes a packet has checked its length before.
#[inline]
pub(crate) fn write_varint(buf: &mut [u8; 4], value: usize) -> usize {
    debug_assert!(
        value <= MAX_REMAINING_LENGTH,
        "a packet longer than MQTT can say"
    );
    let len = varint_len(value);
    let mut rest = value;
    for byte in &mut buf[..len - 1] {
        *byte = (rest & 0x7F) as u8 | 0x80;
        rest >>= 7;
    }
    buf[len - 1] = (rest & 0x7F) as u8;
    len
}

/// Appends `value` as a variable byte integer.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: usize) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        let mut buf = [0; 4];
        let len = write_varint(&mut buf, value);
        out.extend_from_slice(&buf[..len]);
    }
}
