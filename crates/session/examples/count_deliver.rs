//! Does one operation of a session N times, for `cargo xtask instructions`: `count_deliver OPERATION N`.
//! Without arguments it prints the operations that it knows.

use emqttd_mqtt::{PublishHead, QoS, ReasonCode, Version, encode_publish_head};
use emqttd_session::{Delivery, Effect, Limits, Message, MessageParts, QueueLimits, Session, Sink};
use std::hint::black_box;
use std::sync::Arc;

const OPERATIONS: [&str; 5] = [
    "deliver-qos0",
    "deliver-qos1-ack",
    "deliver-qos2-ack",
    "queue-and-send",
    "make-message",
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [operation, times] = &args[..] else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times: u64 = times.parse().unwrap_or(0);
    let mut session = Session::new(Arc::new(Limits {
        max_inflight: 100,
        queue: QueueLimits {
            max_length: 1_000,
            store_qos0: true,
            ..QueueLimits::default()
        },
        ..Limits::default()
    }));
    let mut out = Output::default();
    if operation != "queue-and-send" {
        session.attach(Version::V311, u16::MAX, 0);
        session.resume(0, &mut out);
    }
    let message = message();
    match &**operation {
        "deliver-qos0" => {
            for now in 0..times {
                session.send(
                    Delivery::new(Arc::clone(&message), QoS::AtMostOnce),
                    now,
                    &mut out,
                );
            }
        }
        "deliver-qos1-ack" => {
            for now in 0..times {
                session.send(
                    Delivery::new(Arc::clone(&message), QoS::AtLeastOnce),
                    now,
                    &mut out,
                );
                session.puback(out.id, now, &mut out);
            }
        }
        "deliver-qos2-ack" => {
            for now in 0..times {
                session.send(
                    Delivery::new(Arc::clone(&message), QoS::ExactlyOnce),
                    now,
                    &mut out,
                );
                session.pubrec(out.id, false, now, &mut out);
                session.pubcomp(out.id, now, &mut out);
            }
        }
        "queue-and-send" => {
            // A hundred at a time wait for a client that comes, takes them, and goes.
            for now in 0..times / 100 {
                for _ in 0..100 {
                    session.send(
                        Delivery::new(Arc::clone(&message), QoS::AtMostOnce),
                        now,
                        &mut out,
                    );
                }
                session.attach(Version::V311, u16::MAX, now);
                session.resume(now, &mut out);
                session.detach();
            }
        }
        "make-message" => {
            for _ in 0..times {
                out.packets += u64::from(black_box(self::message()).qos == QoS::AtLeastOnce);
            }
        }
        other => {
            eprintln!("count_deliver: no operation {other}");
            std::process::exit(2);
        }
    }
    assert_eq!(
        session.inflight_len() + session.queue_len(),
        0,
        "all was sent and acknowledged"
    );
    assert!(
        out.packets >= times / 100 * 100,
        "{} packets of {times}",
        out.packets
    );
}

fn message() -> Arc<Message> {
    let parts = MessageParts {
        topic: black_box("sensors/room-17/temperature"),
        properties: &[],
        payload: &[0x55; 64],
        qos: QoS::AtLeastOnce,
        retain: false,
    };
    Arc::new(Message::new(parts, None, 0, u64::MAX))
}

/// Encodes as a connection does, into a buffer that is written often.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    id: u16,
    packets: u64,
}

impl Sink for Output {
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        if self.bytes.len() > 8_192 {
            self.bytes.clear();
        }
        let message = &delivery.message;
        let head = PublishHead {
            dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: message.topic(),
            packet_id: id,
            payload_len: message.payload().len(),
            ..PublishHead::default()
        };
        encode_publish_head(&mut self.bytes, Version::V311, &head);
        self.bytes.extend_from_slice(message.payload());
        self.id = id;
        self.packets += 1;
        true
    }

    fn pubrel(&mut self, id: u16, reason: ReasonCode) {
        black_box((id, reason));
    }

    fn effect(&mut self, effect: Effect) {
        black_box(&effect);
    }
}
