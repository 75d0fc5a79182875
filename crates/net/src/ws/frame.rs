//! Frames: what a client sends, taken apart; what the server sends, put together.

use std::fmt;
use std::ops::Range;

/// Longest header of a frame that the server sends.
pub const MAX_HEADER: usize = 10;
/// Stands for "no code" where a close code is asked for (RFC 6455, 7.1.5); never sent.
pub const NO_CODE: u16 = 1005;

/// Longest payload of a control frame.
const MAX_CONTROL: usize = 125;
/// Two fixed bytes, the longest length, the mask.
const MAX_CLIENT_HEADER: usize = 14;

/// Opcode of a frame that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// MQTT bytes [MQTT-6.0.0-1].
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xa,
}

/// Opcode of a frame that a client sends, once it is known to be in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ClientFrame {
    /// A binary frame or a continuation of one.
    #[default]
    Data,
    Close,
    Ping,
    Pong,
}

/// Payload of a control frame: at most 125 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ControlPayload {
    len: u8,
    bytes: [u8; MAX_CONTROL],
}

impl ControlPayload {
    const EMPTY: ControlPayload = ControlPayload {
        len: 0,
        bytes: [0; MAX_CONTROL],
    };

    /// The bytes, unmasked.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Adds what still fits; a control frame's length was checked before.
    fn extend(&mut self, part: &[u8]) {
        let at = usize::from(self.len);
        let end = (at + part.len()).min(MAX_CONTROL);
        self.bytes[at..end].copy_from_slice(&part[..end - at]);
        self.len = end as u8;
    }
}

impl fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControlPayload")
            .field(&self.as_slice())
            .finish()
    }
}

/// What [`WsDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// MQTT bytes, unmasked, in this range of the buffer; possibly a part of a frame.
    Payload(Range<usize>),
    /// To be answered with [`pong`].
    Ping(ControlPayload),
    /// Nothing to do.
    Pong,
    /// The client closes, with this code or [`NO_CODE`]: answer with [`close`], then close.
    Close(u16),
    /// All input is consumed.
    NeedMore,
}

/// One step of [`WsDecoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with; the next step starts after them.
    pub consumed: usize,
    /// What was found.
    pub event: Event,
}

/// Outcome of [`WsDecoder::unframe`].
#[derive(Debug, PartialEq, Eq)]
pub struct Unframed {
    /// The MQTT bytes, contiguous, in this range of the buffer.
    pub payload: Range<usize>,
    /// Set when the connection is over. Handle `payload` first, send the replies, close.
    pub end: Option<End>,
}

/// Why [`WsDecoder::unframe`] reads no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client sent a close frame with this code or [`NO_CODE`].
    Closed(u16),
    /// The client broke the protocol.
    Error(WsError),
}

/// Reads client frames, in any pieces.
///
/// It keeps partial headers and control frames itself: every call may be given a fresh buffer that
/// starts with the byte after the last one of the call before.
#[derive(Debug, Default)]
pub struct WsDecoder {
    /// The header being read.
    head: [u8; MAX_CLIENT_HEADER],
    /// Bytes in `head`; 0 while in a payload.
    head_len: u8,
    /// Kind of the frame whose payload is being read.
    frame: ClientFrame,
    /// Rotated so that its first byte is for the payload's next one.
    mask: [u8; 4],
    /// Bytes of the payload not yet seen.
    remaining: u64,
    /// A frame's header is read, its payload (or its end) is next.
    in_payload: bool,
    /// A binary message has begun whose last frame has not.
    in_message: bool,
    /// A close frame was read: what follows is not looked at (RFC 6455, 5.5.1).
    closed: bool,
    /// The control frame being read.
    control: Option<Box<ControlPayload>>,
}

impl WsDecoder {
    /// One step: consumes some of `buf`, unmasking in place.
    ///
    /// # Errors
    /// The client broke the protocol: send [`close`] with [`WsError::code`] and close. The decoder
    /// must not be used any more.
    pub fn decode(&mut self, buf: &mut [u8]) -> Result<Step, WsError> {
        let mut at = 0;
        while !self.closed {
            if !self.in_payload {
                at += self.read_header(&buf[at..])?;
                if !self.in_payload {
                    break;
                }
            }
            let available = buf.len() - at;
            // Not more than `available`, so it fits an usize.
            let take = self.remaining.min(available as u64) as usize;
            let part = &mut buf[at..at + take];
            unmask(part, &mut self.mask);
            self.remaining -= take as u64;
            let range = at..at + take;
            at = range.end;
            self.in_payload = self.remaining > 0;

            if self.frame == ClientFrame::Data {
                if take > 0 {
                    return Ok(Step {
                        consumed: at,
                        event: Event::Payload(range),
                    });
                }
            } else if let Some(event) = self.read_control(&buf[range])? {
                return Ok(Step {
                    consumed: at,
                    event,
                });
            }
            if at == buf.len() {
                break;
            }
        }
        Ok(Step {
            consumed: buf.len(),
            event: Event::NeedMore,
        })
    }

    /// Consumes all of `buf`: the MQTT bytes of all its frames are moved together inside `buf`
    /// (those of a single frame stay where they are); pongs, and the close frame when the
    /// connection is over, are appended to `replies`.
    pub fn unframe(&mut self, buf: &mut [u8], replies: &mut Vec<u8>) -> Unframed {
        let mut payload = 0..0;
        let mut at = 0;
        let end = loop {
            if at == buf.len() {
                break None;
            }
            let step = match self.decode(&mut buf[at..]) {
                Ok(step) => step,
                Err(error) => {
                    self.closed = true;
                    close(replies, error.code());
                    break Some(End::Error(error));
                }
            };
            match step.event {
                Event::Payload(range) => {
                    let range = at + range.start..at + range.end;
                    if payload.is_empty() {
                        payload = range;
                    } else {
                        let len = range.len();
                        buf.copy_within(range, payload.end);
                        payload.end += len;
                    }
                }
                Event::Ping(ping) => pong(replies, ping.as_slice()),
                Event::Pong | Event::NeedMore => {}
                Event::Close(code) => {
                    close(replies, code);
                    break Some(End::Closed(code));
                }
            }
            at += step.consumed;
        };
        Unframed { payload, end }
    }

    /// Takes header bytes off the front of `input`; sets `in_payload` when the header is complete.
    fn read_header(&mut self, input: &[u8]) -> Result<usize, WsError> {
        let mut used = 0;
        loop {
            let have = usize::from(self.head_len);
            let need = if have < 2 {
                2
            } else {
                let extended = match self.head[1] & 0x7f {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                2 + extended + 4
            };
            if have == need {
                self.finish_header()?;
                return Ok(used);
            }
            let take = (need - have).min(input.len() - used);
            if take == 0 {
                return Ok(used);
            }
            self.head[have..have + take].copy_from_slice(&input[used..used + take]);
            used += take;
            self.head_len += take as u8;
            if have < 2 && self.head_len == 2 {
                self.check_start()?;
            }
        }
    }

    /// Judges the first two bytes of a header, before anything else of the frame is waited for.
    fn check_start(&mut self) -> Result<(), WsError> {
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 {
            return Err(WsError::ReservedBits);
        }
        if second & 0x80 == 0 {
            return Err(WsError::Unmasked);
        }
        let last = first & 0x80 != 0;
        self.frame = match first & 0x0f {
            0x0 if self.in_message => ClientFrame::Data,
            0x0 => return Err(WsError::UnexpectedContinuation),
            0x1 | 0x2 if self.in_message => return Err(WsError::ExpectedContinuation),
            // MQTT travels in binary frames only [MQTT-6.0.0-1].
            0x1 => return Err(WsError::Text),
            0x2 => ClientFrame::Data,
            0x8 => ClientFrame::Close,
            0x9 => ClientFrame::Ping,
            0xa => ClientFrame::Pong,
            _ => return Err(WsError::Opcode),
        };
        if self.frame == ClientFrame::Data {
            self.in_message = !last;
        } else if !last {
            return Err(WsError::FragmentedControl);
        } else if usize::from(second & 0x7f) > MAX_CONTROL {
            return Err(WsError::LongControl);
        }
        Ok(())
    }

    /// Reads length and mask of a complete header.
    fn finish_header(&mut self) -> Result<(), WsError> {
        let h = &self.head;
        let (length, smallest, mask_at) = match h[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([h[2], h[3]])), 126, 4),
            127 => {
                let bytes = [h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]];
                (u64::from_be_bytes(bytes), 0x1_0000, 10)
            }
            short => (u64::from(short), 0, 2),
        };
        if length < smallest || length > i64::MAX as u64 {
            return Err(WsError::Length);
        }
        self.mask = [h[mask_at], h[mask_at + 1], h[mask_at + 2], h[mask_at + 3]];
        self.remaining = length;
        self.in_payload = true;
        self.head_len = 0;
        Ok(())
    }

    /// Adds `part` to the control frame being read; the event when that completes it.
    fn read_control(&mut self, part: &[u8]) -> Result<Option<Event>, WsError> {
        let payload = self
            .control
            .get_or_insert_with(|| Box::new(ControlPayload::EMPTY));
        payload.extend(part);
        if self.remaining > 0 {
            return Ok(None);
        }
        let payload = *payload.as_ref();
        self.control = None;
        Ok(Some(match self.frame {
            ClientFrame::Ping => Event::Ping(payload),
            ClientFrame::Close => {
                self.closed = true;
                Event::Close(close_code(payload.as_slice())?)
            }
            ClientFrame::Pong | ClientFrame::Data => Event::Pong,
        }))
    }
}

/// XORs `data` with the mask and turns the mask to where the next byte needs it.
fn unmask(data: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len() % 4);
}

/// The code of a client's close frame, checked as RFC 6455, 7.4 wants.
fn close_code(payload: &[u8]) -> Result<u16, WsError> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() {
            Ok(NO_CODE)
        } else {
            Err(WsError::CloseCode)
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(WsError::CloseCode);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(WsError::CloseReason);
    }
    Ok(code)
}

/// How a client broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsError {
    /// A client's frame is not masked.
    Unmasked,
    /// A reserved bit is set though no extension was agreed on.
    ReservedBits,
    /// An opcode that is not defined.
    Opcode,
    /// A text frame.
    Text,
    /// A continuation without a message to continue.
    UnexpectedContinuation,
    /// A new message inside an unfinished one.
    ExpectedContinuation,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A length beyond 2^63 - 1 or not in its shortest form.
    Length,
    /// A close code that may not be sent.
    CloseCode,
    /// A close reason that is not UTF-8.
    CloseReason,
}

impl WsError {
    /// The close code to send.
    pub fn code(self) -> u16 {
        match self {
            WsError::Text => 1003,
            WsError::CloseReason => 1007,
            _ => 1002,
        }
    }
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WsError::Unmasked => "WebSocket frame without a mask",
            WsError::ReservedBits => "WebSocket frame with reserved bits",
            WsError::Opcode => "unknown WebSocket opcode",
            WsError::Text => "WebSocket text frame",
            WsError::UnexpectedContinuation => "WebSocket continuation of nothing",
            WsError::ExpectedContinuation => "WebSocket message inside another",
            WsError::FragmentedControl => "WebSocket control frame in fragments",
            WsError::LongControl => "WebSocket control frame too long",
            WsError::Length => "invalid WebSocket frame length",
            WsError::CloseCode => "invalid WebSocket close code",
            WsError::CloseReason => "WebSocket close reason is not UTF-8",
        })
    }
}

impl std::error::Error for WsError {}

/// Header of a final, unmasked frame with `len` bytes of payload, and how many bytes it has.
pub fn header(opcode: Opcode, len: usize) -> ([u8; MAX_HEADER], usize) {
    let mut head = [0; MAX_HEADER];
    head[0] = 0x80 | opcode as u8;
    let used = match len {
        0..=125 => {
            head[1] = len as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(len as u64).to_be_bytes());
            MAX_HEADER
        }
    };
    (head, used)
}

/// Appends the header of a frame with `len` bytes of payload.
pub fn frame_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    let (head, used) = header(opcode, len);
    out.extend_from_slice(&head[..used]);
}

/// Appends a close frame with this code, or without one for [`NO_CODE`].
pub fn close(out: &mut Vec<u8>, code: u16) {
    if code == NO_CODE {
        frame_header(out, Opcode::Close, 0);
    } else {
        frame_header(out, Opcode::Close, 2);
        out.extend_from_slice(&code.to_be_bytes());
    }
}

/// Appends a pong; a payload longer than a control frame may carry is cut.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    frame_header(out, Opcode::Pong, payload.len());
    out.extend_from_slice(payload);
}
