//! What a WebSocket client may send. First byte 0: the HTTP request; else frames, which are also fed in pieces of that
//! many bytes.
//!
//! Pieces must give what the whole gives; an answer must be well-formed whatever the request holds.
#![no_main]

// Of the net crate only these two files: the rest of it would bring TLS, with its C code, into this build.
#[allow(dead_code)]
#[path = "../../crates/net/src/ws/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../../crates/net/src/ws/handshake.rs"]
mod handshake;

use frame::{End, WsDecoder};
use handshake::{Handshake, HandshakeOptions, MAX_HEAD, handshake};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0, request)) => check_request(request),
        Some((&size, frames)) => {
            assert_eq!(
                receive(frames, frames.len().max(1)),
                receive(frames, size.into())
            );
        }
        None => {}
    }
});

/// MQTT bytes, replies and end of a connection that gets `input` in pieces of `size` bytes.
fn receive(input: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Option<End>) {
    let mut decoder = WsDecoder::default();
    let (mut payload, mut replies) = (Vec::new(), Vec::new());
    for piece in input.chunks(size) {
        let mut buf = piece.to_vec();
        let unframed = decoder.unframe(&mut buf, &mut replies);
        payload.extend_from_slice(&buf[unframed.payload]);
        if unframed.end.is_some() {
            check_replies(&replies, true);
            return (payload, replies, unframed.end);
        }
    }
    assert!(payload.len() <= input.len());
    check_replies(&replies, false);
    (payload, replies, None)
}

/// Pongs, and a close frame exactly at the end of an ended connection.
fn check_replies(mut replies: &[u8], ended: bool) {
    let mut closed = false;
    while let [first, len, rest @ ..] = replies {
        assert!(!closed && *len <= 125 && matches!(first, 0x8a | 0x88));
        closed = *first == 0x88;
        replies = &rest[usize::from(*len)..];
    }
    assert!(replies.is_empty() && closed == ended);
}

fn check_request(request: &[u8]) {
    for check_protocol in [true, false] {
        let options = HandshakeOptions {
            check_protocol,
            address_header: Some("X-Forwarded-For"),
            port_header: Some("X-Forwarded-Port"),
        };
        match handshake(request, &options) {
            Handshake::NeedMore => assert!(request.len() < MAX_HEAD),
            Handshake::Accept(upgrade) => {
                assert!(upgrade.consumed <= request.len().min(MAX_HEAD));
                let response = String::from_utf8(upgrade.response).expect("text");
                // Nothing of the request may add a line to the answer.
                let lines = 5 + usize::from(upgrade.protocol.is_some());
                assert_eq!(response.matches("\r\n").count(), lines);
                assert_eq!(response.matches(['\r', '\n']).count(), 2 * lines);
                assert!(response.starts_with("HTTP/1.1 101 ") && response.ends_with("\r\n\r\n"));
                for end in [0, upgrade.consumed / 2, upgrade.consumed - 1] {
                    assert!(matches!(
                        handshake(&request[..end], &options),
                        Handshake::NeedMore
                    ));
                }
            }
            Handshake::Refuse { response, .. } => assert!(response.starts_with(b"HTTP/1.1 4")),
        }
    }
}
