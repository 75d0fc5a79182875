//! A byte that says how, then bytes of a STOMP client: the same frames are found however the bytes are cut, within the
//! limits; a frame that is written again is read as the same.
#![no_main]

#[allow(dead_code)]
#[path = "../../plugins/emq_stomp/src/frame.rs"]
mod frame;

use frame::{Decoder, Encoder, Fault, Frame, Limits, Version, receipt_of};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    max_headers: 4,
    max_header_length: 24,
    max_body_length: 16,
};

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else {
        return;
    };
    let version = Version::ALL[usize::from(how % 3)];
    let step = usize::from(how / 3 % 16) + 1;
    let (whole, fault) = decode(bytes, bytes.len().max(1), version);
    let (cut, fault_of_cut) = decode(bytes, step, version);
    assert_eq!(whole, cut);
    // Which limit is told of first may depend on how much is there.
    assert_eq!(fault.is_some(), fault_of_cut.is_some());
    receipt_of(bytes, version, &LIMITS);
});

#[derive(Debug, PartialEq, Eq)]
struct Owned {
    command: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn owned(frame: &Frame<'_>) -> Owned {
    let headers = frame.headers();
    Owned {
        command: frame.command.into(),
        headers: headers
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        body: frame.body.into(),
    }
}

/// Frames in bytes that come `step` at a time, and the fault that ends them.
fn decode(bytes: &[u8], step: usize, version: Version) -> (Vec<Owned>, Option<Fault>) {
    let mut decoder = Decoder::default();
    let (mut found, mut start, mut end) = (Vec::new(), 0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end + step);
        loop {
            match decoder.decode(&bytes[start..end], version, &LIMITS) {
                Err(fault) => return (found, Some(fault)),
                Ok(decoded) => {
                    assert!(decoded.used <= end - start);
                    start += decoded.used;
                    let Some(frame) = decoded.frame else { break };
                    check(&frame, version);
                    found.push(owned(&frame));
                }
            }
        }
        // What waits is bounded: command, headers, body, and the ends of their lines.
        assert!(end - start < 64 + 2 + 5 * 26 + 17 + step);
    }
    (found, None)
}

/// Within the limits, and the same when it is written and read.
fn check(frame: &Frame<'_>, version: Version) {
    let frame = owned(frame);
    assert!(frame.headers.len() <= LIMITS.max_headers);
    assert!(frame.body.len() <= LIMITS.max_body_length);
    // 1.0 cannot say everything, and 1.1 cannot end a line in CR.
    let sayable = version == Version::V1_2
        && !matches!(&*frame.command, "CONNECT" | "STOMP")
        && !frame.command.ends_with('\r')
        && frame
            .headers
            .iter()
            .all(|(name, _)| name != "content-length");
    if !sayable {
        return;
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &frame.command, version);
    for (name, value) in &frame.headers {
        assert!(encoder.can_say(name, value));
        encoder = encoder.named(name, value);
    }
    encoder.body(&frame.body);
    let wide = Limits {
        max_headers: 5,
        max_header_length: 100,
        max_body_length: 16,
    };
    let decoded = Decoder::default().decode(&bytes, version, &wide);
    let again = decoded.expect("it is a frame").frame.expect("it is whole");
    let mut again = owned(&again);
    again.headers.retain(|(name, _)| name != "content-length");
    assert_eq!(again, frame);
}
