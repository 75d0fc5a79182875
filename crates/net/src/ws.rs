//! The server's side of WebSocket (RFC 6455), without a socket.
//!
//! [`handshake`] answers the HTTP request; afterwards [`WsDecoder::unwrap`] turns what was read
//! into MQTT bytes in the same buffer, and [`binary_header`] goes before each batch of MQTT bytes.

use std::net::IpAddr;
use std::ops::Range;

/// Most bytes of a request head.
pub const MAX_HEAD: usize = 8192;

/// What a listener wants of the HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeOptions<'a> {
    /// `mqtt.websocket_protocol_header`: the client must offer a sub-protocol that starts with `mqtt`.
    pub check_protocol: bool,
    /// `proxy_address_header`
    pub address_header: Option<&'a str>,
    /// `proxy_port_header`
    pub port_header: Option<&'a str>,
}

/// Outcome of [`handshake`].
#[derive(Debug)]
pub enum Handshake {
    /// The head is not complete: call again with more bytes after these.
    NeedMore,
    /// Send `response`; from then on frames are spoken.
    Accept(Box<Upgrade>),
    /// Send `response` and close.
    Refuse {
        /// The HTTP answer.
        response: Vec<u8>,
        /// For the log.
        reason: &'static str,
    },
}

/// An accepted request.
#[derive(Debug)]
pub struct Upgrade {
    /// Bytes of the input that were the request; frames follow.
    pub consumed: usize,
    /// The HTTP answer to send.
    pub response: Vec<u8>,
    /// The sub-protocol chosen.
    pub protocol: Option<String>,
    /// The client's address according to `address_header`.
    pub address: Option<IpAddr>,
    /// The client's port according to `port_header`.
    pub port: Option<u16>,
    /// The request's headers, for hooks (cookies, for instance).
    pub headers: Box<[(String, String)]>,
}

/// Reads the HTTP request at the front of `input`; keep at most [`MAX_HEAD`] bytes for it.
pub fn handshake(input: &[u8], options: &HandshakeOptions<'_>) -> Handshake {
    let _ = (input, options);
    unimplemented!()
}

/// Opcode of a frame that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// MQTT bytes.
    Binary = 2,
    /// Close.
    Close = 8,
    /// Ping.
    Ping = 9,
    /// Pong.
    Pong = 10,
}

/// Payload of a control frame: at most 125 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPayload {
    len: u8,
    bytes: [u8; 125],
}

/// What [`WsDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// MQTT bytes, unmasked, in this range of the buffer; possibly a part of a frame.
    Payload(Range<usize>),
    /// Answer with [`pong`].
    Ping(ControlPayload),
    /// Nothing to do.
    Pong,
    /// The client closes, with this code (1005 = none given): answer with [`close`], then close.
    Close(u16),
    /// All input is consumed.
    NeedMore,
}

/// One step of [`WsDecoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with. Nothing ever has to be kept for the next call.
    pub consumed: usize,
    /// What was found.
    pub event: Event,
}

/// Reads client frames. It keeps partial headers and control frames itself, so each call may
/// be given a fresh buffer that starts where the last one ended.
#[derive(Debug, Default)]
pub struct WsDecoder {}

/// Outcome of [`WsDecoder::unwrap`].
#[derive(Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// The MQTT bytes, contiguous.
    pub payload: Range<usize>,
    /// The client closed; the answer is in the replies. Handle `payload` first, then send and close.
    pub closed: bool,
}

impl WsDecoder {
    /// One step: consumes some of `buf`, unmasking in place.
    pub fn decode(&mut self, buf: &mut [u8]) -> Result<Step, WsError> {
        let _ = buf;
        unimplemented!()
    }

    /// Consumes all of `buf`: MQTT bytes of all frames are moved together inside `buf`,
    /// pongs and the answer to a close are appended to `replies`.
    ///
    /// After an error send [`close`] with [`WsError::code`] and close.
    pub fn unwrap(&mut self, buf: &mut [u8], replies: &mut Vec<u8>) -> Result<Unwrapped, WsError> {
        let _ = (buf, replies);
        unimplemented!()
    }
}

/// A client that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsError {
    /// A client's frame must be masked.
    Unmasked,
}

impl WsError {
    /// The close code to send.
    pub fn code(self) -> u16 {
        1002
    }
}

/// Longest header of a frame that the server sends.
pub const MAX_HEADER: usize = 10;

/// Header of a final, unmasked frame of `len` bytes: the first `.1` bytes of the array.
pub fn header(opcode: Opcode, len: usize) -> ([u8; MAX_HEADER], usize) {
    let _ = (opcode, len);
    unimplemented!()
}

/// Appends the header of a frame of `len` bytes.
pub fn frame_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    let _ = (out, opcode, len);
    unimplemented!()
}

/// Appends a close frame (1005 = without a code).
pub fn close(out: &mut Vec<u8>, code: u16) {
    let _ = (out, code);
    unimplemented!()
}

/// Appends a pong; `payload` longer than 125 bytes is cut.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    let _ = (out, payload);
    unimplemented!()
}
