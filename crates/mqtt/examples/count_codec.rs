//! Does one operation of the codec N times, for `cargo xtask instructions`: `count_codec OPERATION N`.
//! Without arguments it prints the operations that it knows.

use emqttd_mqtt::{
    AckKind, PublishHead, QoS, ReasonCode, Version, decode, decode_publish, encode_ack,
    encode_publish_head, fixed_header,
};
use std::hint::black_box;

const OPERATIONS: [&str; 7] = [
    "decode-publish-qos0",
    "decode-publish-qos1",
    "decode-publish-v5",
    "decode-puback",
    "encode-publish-v311",
    "encode-publish-v5",
    "encode-puback",
];

const TOPIC: &str = "sensors/room-17/temperature";
const PAYLOAD: &[u8] = &[0x55; 64];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [operation, times] = &args[..] else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times: u64 = times.parse().unwrap_or(0);
    match &**operation {
        "decode-publish-qos0" => decode_publishes(Version::V311, &head(QoS::AtMostOnce), times),
        "decode-publish-qos1" => decode_publishes(Version::V311, &head(QoS::AtLeastOnce), times),
        "decode-publish-v5" => decode_publishes(Version::V5, &head(QoS::AtLeastOnce), times),
        "decode-puback" => {
            let packet = [0x40, 2, 0, 7];
            repeat(times, || {
                let (first, body) = split(black_box(&packet));
                black_box(decode(Version::V311, first, body).is_ok())
            });
        }
        "encode-publish-v311" => encode_publishes(Version::V311, times),
        "encode-publish-v5" => encode_publishes(Version::V5, times),
        "encode-puback" => {
            let mut out = Vec::with_capacity(64);
            repeat(times, || {
                out.clear();
                let id = black_box(7);
                encode_ack(
                    &mut out,
                    Version::V311,
                    AckKind::PubAck,
                    id,
                    ReasonCode::SUCCESS,
                    None,
                );
                black_box(out.len() == 4)
            });
        }
        other => {
            eprintln!("count_codec: no operation {other}");
            std::process::exit(2);
        }
    }
}

fn head(qos: QoS) -> PublishHead<'static> {
    PublishHead {
        qos,
        topic: TOPIC,
        packet_id: 7,
        payload_len: PAYLOAD.len(),
        ..PublishHead::default()
    }
}

fn decode_publishes(version: Version, head: &PublishHead<'_>, times: u64) {
    let mut packet = Vec::new();
    encode_publish_head(&mut packet, version, head);
    packet.extend_from_slice(PAYLOAD);
    repeat(times, || {
        let (first, body) = split(black_box(&packet));
        let publish = decode_publish(version, first, body);
        black_box(&publish)
            .as_ref()
            .is_ok_and(|p| p.payload.len() == PAYLOAD.len())
    });
}

fn encode_publishes(version: Version, times: u64) {
    let mut out = Vec::with_capacity(256);
    let head = head(QoS::AtLeastOnce);
    repeat(times, || {
        out.clear();
        encode_publish_head(&mut out, version, black_box(&head));
        black_box(out.len() > TOPIC.len())
    });
}

/// First byte and body of a packet that is complete.
fn split(packet: &[u8]) -> (u8, &[u8]) {
    match fixed_header(packet) {
        Ok(Some(header)) => (
            header.first,
            &packet[header.len..header.len + header.remaining],
        ),
        _ => (0, &[]),
    }
}

/// Fails loudly when the operation did not do what is to be counted.
fn repeat(times: u64, mut operation: impl FnMut() -> bool) {
    for _ in 0..times {
        assert!(operation(), "the operation failed");
    }
}
