//! The server's side of WebSocket (RFC 6455), without a socket.
//!
//! [`handshake`] answers the HTTP request. From then on [`WsDecoder::unframe`] turns what was read
//! into MQTT bytes in the same buffer, and [`header`] goes before each batch of MQTT bytes that is
//! sent. Nothing is buffered but a partial frame header or control frame, whatever a client sends.

mod frame;
mod handshake;

pub use frame::{
    ControlPayload, End, Event, MAX_HEADER, NO_CODE, Opcode, Step, Unframed, WsDecoder, WsError,
    close, frame_header, header, pong,
};
pub use handshake::{Handshake, HandshakeOptions, MAX_HEAD, Upgrade, handshake};
