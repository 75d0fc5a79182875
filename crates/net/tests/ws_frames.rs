//! Client frames taken apart, server frames put together: RFC 6455 by the letter.
#![allow(clippy::unwrap_used)]

use emqttd_net::ws::{
    End, Event, NO_CODE, Opcode, Unframed, WsDecoder, WsError, close, frame_header, pong,
};
use proptest::prelude::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked client frame; `first` is the byte with FIN, reserved bits and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

/// What a connection yields that gets `input` in chunks of these sizes (the last one repeats).
#[derive(Debug, Default, PartialEq)]
struct Seen {
    payload: Vec<u8>,
    replies: Vec<u8>,
    end: Option<End>,
}

fn receive(input: &[u8], chunks: &[usize]) -> Seen {
    let mut decoder = WsDecoder::default();
    let mut seen = Seen::default();
    let mut rest = input;
    let mut sizes = chunks.iter().chain(chunks.last().into_iter().cycle());
    while !rest.is_empty() && seen.end.is_none() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        let mut buf = rest[..size].to_vec();
        rest = &rest[size..];
        let Unframed { payload, end } = decoder.unframe(&mut buf, &mut seen.replies);
        seen.payload.extend(&buf[payload]);
        seen.end = end;
    }
    seen
}

/// The same whether it comes at once or byte by byte.
fn receive_any(input: &[u8]) -> Seen {
    let whole = receive(input, &[usize::MAX]);
    assert_eq!(receive(input, &[1]), whole);
    whole
}

fn refused(input: &[u8], error: WsError) {
    let seen = receive_any(input);
    assert_eq!(seen.end, Some(End::Error(error)));
    let mut expected = Vec::new();
    close(&mut expected, error.code());
    assert_eq!(seen.replies, expected);
}

#[test]
fn vectors_of_rfc_6455_section_5_7() {
    // "Hello", masked, as a binary frame.
    let mut buf = [
        0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let unframed = WsDecoder::default().unframe(&mut buf, &mut Vec::new());
    assert_eq!(
        unframed,
        Unframed {
            payload: 6..11,
            end: None
        }
    );
    assert_eq!(&buf[6..], b"Hello");

    // The ping of the section, masked, gets the pong of the section, not masked.
    let seen = receive_any(&[
        0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ]);
    assert_eq!(seen.replies, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

    let mut out = Vec::new();
    frame_header(&mut out, Opcode::Binary, 256);
    assert_eq!(out, [0x82, 0x7e, 0x01, 0x00]);
    out.clear();
    frame_header(&mut out, Opcode::Binary, 65536);
    assert_eq!(out, [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn lengths_at_their_limits() {
    for len in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i as u8).collect();
        let seen = receive(&frame(0x82, &payload), &[usize::MAX]);
        assert_eq!((seen.payload, seen.end), (payload.clone(), None));
        assert_eq!(receive(&frame(0x82, &payload), &[1]).payload, payload);

        let mut out = Vec::new();
        frame_header(&mut out, Opcode::Binary, len as usize);
        let mut unmasked = frame(0x82, &payload);
        unmasked.truncate(unmasked.len() - payload.len() - 4);
        unmasked[1] &= 0x7f;
        assert_eq!(out, unmasked);
    }
}

#[test]
fn several_frames_in_one_buffer_become_contiguous() {
    let input = [
        frame(0x82, b"one "),
        frame(0x82, b""),
        frame(0x89, b"ping"),
        frame(0x02, b"two "),
        frame(0x8a, b"unasked pong"),
        frame(0x00, b"thr"),
        frame(0x89, b""),
        frame(0x80, b"ee"),
    ]
    .concat();
    let mut buf = input.clone();
    let mut replies = Vec::new();
    let unframed = WsDecoder::default().unframe(&mut buf, &mut replies);
    assert_eq!(&buf[unframed.payload], b"one two three");
    assert_eq!(replies, b"\x8a\x04ping\x8a\x00");
    assert_eq!(receive(&input, &[1]).payload, b"one two three");
}

#[test]
fn a_part_of_a_frame_is_given_out_at_once() {
    let whole = frame(0x82, &[7; 1000]);
    let mut decoder = WsDecoder::default();
    let mut buf = whole[..100].to_vec();
    let step = decoder.decode(&mut buf).unwrap();
    assert_eq!((step.consumed, step.event), (100, Event::Payload(8..100)));
    assert_eq!(buf[8..], [7; 92]);
    let mut buf = whole[100..].to_vec();
    let step = decoder.decode(&mut buf).unwrap();
    assert_eq!((step.consumed, step.event), (908, Event::Payload(0..908)));
    assert_eq!(buf, [7; 908]);
    let step = decoder.decode(&mut []).unwrap();
    assert_eq!((step.consumed, step.event), (0, Event::NeedMore));
}

#[test]
fn close_is_answered_with_its_code_and_nothing_after_it_is_read() {
    for (payload, code) in [
        (&[][..], NO_CODE),
        (&[0x03, 0xe8], 1000),
        (b"\x03\xe8bye", 1000),
        (&[0x0f, 0xa0], 4000),
    ] {
        let input = [
            frame(0x82, b"last"),
            frame(0x88, payload),
            frame(0x82, b"late"),
        ]
        .concat();
        let seen = receive_any(&input);
        assert_eq!(seen.payload, b"last");
        assert_eq!(seen.end, Some(End::Closed(code)));
        let mut expected = vec![0x88, payload.len().min(2) as u8];
        expected.extend(&payload[..payload.len().min(2)]);
        assert_eq!(seen.replies, expected);
    }
    let mut decoder = WsDecoder::default();
    let mut replies = Vec::new();
    decoder.unframe(&mut frame(0x88, b""), &mut replies);
    let again = decoder.unframe(&mut frame(0x82, b"late"), &mut replies);
    assert_eq!(
        again,
        Unframed {
            payload: 0..0,
            end: None
        }
    );
    assert_eq!(replies, [0x88, 0]);
}

#[test]
fn bad_close_frames() {
    refused(&frame(0x88, &[3]), WsError::CloseCode);
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        refused(&frame(0x88, &code.to_be_bytes()), WsError::CloseCode);
    }
    refused(&frame(0x88, b"\x03\xe8\xff"), WsError::CloseReason);
    assert_eq!(WsError::CloseReason.code(), 1007);
}

#[test]
fn frames_that_break_the_protocol() {
    refused(&[0x82, 0x05], WsError::Unmasked);
    for first in [0xc2, 0xa2, 0x92] {
        refused(&frame(first, b"x"), WsError::ReservedBits);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused(&frame(0x80 | opcode, b"x"), WsError::Opcode);
    }
    refused(&frame(0x80, b"x"), WsError::UnexpectedContinuation);
    refused(&frame(0x00, b"x"), WsError::UnexpectedContinuation);
    refused(
        &[frame(0x02, b""), frame(0x82, b"")].concat(),
        WsError::ExpectedContinuation,
    );
    refused(
        &[frame(0x02, b""), frame(0x01, b"")].concat(),
        WsError::ExpectedContinuation,
    );
    for opcode in [0x08, 0x09, 0x0a] {
        refused(&frame(opcode, b""), WsError::FragmentedControl);
        refused(&frame(0x80 | opcode, &[0; 126]), WsError::LongControl);
    }
    // An ended message cannot be continued.
    let ended = [frame(0x02, b""), frame(0x80, b""), frame(0x80, b"")].concat();
    refused(&ended, WsError::UnexpectedContinuation);
}

#[test]
fn bad_lengths() {
    let with_length = |length: &[u8]| {
        let mut out = vec![0x82, 0x80 | if length.len() == 2 { 126 } else { 127 }];
        out.extend(length);
        out.extend(MASK);
        out
    };
    refused(&with_length(&125u16.to_be_bytes()), WsError::Length);
    refused(&with_length(&65535u64.to_be_bytes()), WsError::Length);
    refused(&with_length(&(1u64 << 63).to_be_bytes()), WsError::Length);
    refused(&with_length(&u64::MAX.to_be_bytes()), WsError::Length);
    // A length nobody will ever send is fine: nothing is stored for it.
    assert_eq!(
        receive_any(&with_length(&(u64::MAX >> 1).to_be_bytes())).end,
        None
    );
}

/// [MQTT-6.0.0-1]
#[test]
fn text_frames_close_the_connection() {
    refused(&frame(0x81, b"\x10\x0c"), WsError::Text);
    refused(&frame(0x01, b"\x10\x0c"), WsError::Text);
    assert_eq!(WsError::Text.code(), 1003);
}

#[test]
fn what_comes_before_an_error_is_still_given_out() {
    let seen = receive_any(&[frame(0x82, b"good"), frame(0x81, b"bad")].concat());
    assert_eq!(seen.payload, b"good");
    assert_eq!(seen.end, Some(End::Error(WsError::Text)));
}

#[test]
fn longest_ping() {
    let seen = receive_any(&frame(0x89, &[9; 125]));
    assert_eq!(seen.replies[..2], [0x8a, 125]);
    assert_eq!(seen.replies[2..], [9; 125]);
    let mut out = Vec::new();
    pong(&mut out, &[1; 200]);
    assert_eq!(out.len(), 127);
}

/// Client frames that are in order: messages in fragments with control frames between them.
fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let fragment = (
        bytes,
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..125)),
    );
    let message = proptest::collection::vec(fragment, 1..4);
    proptest::collection::vec(message, 0..6).prop_map(|messages| {
        let (mut wire, mut payload) = (Vec::new(), Vec::new());
        for message in messages {
            let last = message.len() - 1;
            for (i, (bytes, ping)) in message.into_iter().enumerate() {
                let opcode = if i == 0 { 0x02 } else { 0x00 };
                let fin = if i == last { 0x80 } else { 0x00 };
                wire.extend(frame(fin | opcode, &bytes));
                payload.extend(bytes);
                if let Some(ping) = ping {
                    wire.extend(frame(0x89, &ping));
                }
            }
        }
        (wire, payload)
    })
}

proptest! {
    #[test]
    fn any_split_of_good_frames_gives_the_same(
        (wire, payload) in conversation(),
        chunks in proptest::collection::vec(1usize..64, 1..40),
    ) {
        let whole = receive(&wire, &[usize::MAX]);
        prop_assert_eq!(&whole.payload, &payload);
        prop_assert_eq!(whole.end, None);
        prop_assert_eq!(receive(&wire, &chunks), whole);
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same(
        (mut wire, _) in conversation(),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        chunks in proptest::collection::vec(1usize..16, 1..40),
    ) {
        let at = at.index(wire.len() + 1);
        wire.splice(at..at, noise);
        let whole = receive(&wire, &[usize::MAX]);
        prop_assert_eq!(receive(&wire, &chunks), whole);
    }
}
