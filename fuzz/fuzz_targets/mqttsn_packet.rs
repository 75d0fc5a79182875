//! MQTT-SN: what is read as a packet is written and read again as the same; and a gateway whose peers and whose broker
//! do whatever they like stays within its bounds.
#![no_main]

use emq_sn::device::Answer;
use emq_sn::machine::Machine;
use emq_sn::packet::{Packet, decode, encode, unwrap, wrap};
use emq_sn::topics::Predefined;
use emq_sn::world::{Connect, Count, Key, Kind, Peer, Rules, Taken, Ticket, World};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::{Incoming, Outgoing, Will};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::sync::Arc;

/// The broker and the socket: it takes everything, and remembers who waits for it.
#[derive(Default)]
struct Everything {
    sent: u64,
    connecting: Vec<Key>,
    asked: Vec<(Key, Ticket)>,
    waking: Vec<Key>,
    busy: bool,
}

impl Everything {
    fn ask(&mut self, key: Key, kind: Kind, msg_id: u16) {
        self.asked.push((key, Ticket { kind, msg_id }));
    }
}

impl World for Everything {
    type Client = ();

    fn send(&mut self, _: &Peer, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        assert!(encode(packet, &mut bytes), "{packet:?}");
        assert_eq!(decode(&bytes), Ok(*packet));
        self.sent += 1;
    }
    fn packets_sent(&self) -> u64 {
        self.sent
    }
    fn connect(&mut self, key: Key, _: &Peer, _: Connect) {
        self.connecting.push(key);
    }
    fn publish(&mut self, key: Key, (): &(), msg_id: u16, message: Outgoing) -> Taken {
        if self.busy {
            return Taken::Busy;
        }
        if message.qos != QoS::AtMostOnce {
            self.ask(key, Kind::Publish, msg_id);
        }
        Taken::Yes
    }
    fn publish_unconnected(&mut self, _: Outgoing) {}
    fn subscribe(&mut self, key: Key, (): &(), msg_id: u16, _: &str, _: QoS) {
        self.ask(key, Kind::Subscribe, msg_id);
    }
    fn unsubscribe(&mut self, key: Key, (): &(), msg_id: u16, _: &str) {
        self.ask(key, Kind::Unsubscribe, msg_id);
    }
    fn ack(&mut self, (): &(), _: u16) {}
    fn complete(&mut self, (): &(), _: u16) {}
    fn catch_up(&mut self, key: Key, (): &()) {
        self.waking.push(key);
    }
    fn set_will(&mut self, (): &(), _: Option<Will>) {}
    fn disconnect(&mut self, (): ()) {}
    fn abort(&mut self, (): (), _: &'static str) {}
    fn count(&mut self, _: Count) {}
}

fn rules(flags: u8) -> Rules {
    let predefined = [(1, "/hello".to_string()), (2, "a/+".to_string())];
    Rules {
        gateway_id: 1,
        predefined: Arc::new(Predefined::new(predefined)),
        qos_minus_1: flags & 1 != 0,
        stats: flags & 2 != 0,
        max_clients: 4,
        retry_interval: 10_000,
        max_retries: 2,
        sleep_queue: usize::from(flags >> 2 & 3),
        most_bytes: 1 << 12,
    }
}

/// Takes bytes off the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

/// A packet that may have been meant, of what is left: most random bytes have a wrong length.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![u8::try_from(body.len() + 1).unwrap_or(255)];
    datagram.extend_from_slice(body);
    datagram
}

fuzz_target!(|input: &[u8]| {
    round_trip(input);
    let mut input = Input(input);
    let mut machine = Machine::new(rules(input.byte()));
    let mut world = Everything::default();
    let mut keys: Vec<Key> = Vec::new();
    let mut now = 1000;
    while !input.0.is_empty() {
        let what = input.byte();
        let from = SocketAddr::from(([127, 0, 0, what >> 7], u16::from(what >> 4 & 7)));
        let last = keys.last().copied();
        match what & 15 {
            0 => machine.datagram(now, from, input.bytes(), &mut world),
            1..=5 => {
                let datagram = with_length(input.bytes());
                machine.datagram(now, from, &datagram, &mut world);
            }
            6 => {
                let mut datagram = Vec::new();
                wrap(&[what], &mut datagram);
                datagram.extend_from_slice(&with_length(input.bytes()));
                machine.datagram(now, from, &datagram, &mut world);
            }
            7 | 8 => {
                if let Some(key) = world.connecting.pop() {
                    let client = (what < 0xF0).then_some(());
                    machine.connected(now, key, client, &mut world);
                    keys.push(key);
                }
            }
            9 => {
                if let Some((key, ticket)) = world.asked.pop() {
                    let answer = match input.byte() {
                        255 => Answer::Ended,
                        code => Answer::Code(code),
                    };
                    machine.answered(now, key, ticket, answer, &mut world);
                }
            }
            10 | 11 => {
                let qos = QoS::from_u8(what >> 4 & 3).unwrap_or_default();
                let topic = ["xy", "t/1", "t/2", "/hello"][usize::from(what >> 6)];
                let id = u16::from(input.byte());
                let message = Incoming {
                    topic: topic.into(),
                    payload: input.bytes().into(),
                    qos,
                    retain: id & 1 != 0,
                    dup: id & 2 != 0,
                    id: if qos == QoS::AtMostOnce { 0 } else { id.max(1) },
                    subscriptions: Vec::new(),
                    about: None,
                };
                if let Some(key) = last {
                    machine.message(now, key, message, &mut world);
                }
            }
            12 => {
                let id = u16::from(input.byte());
                if let Some(key) = last {
                    machine.released(now, key, id, &mut world);
                }
            }
            13 => {
                if let Some(key) = keys.pop() {
                    machine.closed(now, key, &mut world);
                }
            }
            14 if what & 16 == 0 => world.busy = !world.busy,
            14 => {
                if let Some(key) = world.waking.pop() {
                    machine.caught_up(now, key, &mut world);
                }
            }
            _ => {
                now += u64::from(input.byte()) * 500;
                machine.look(now, &mut world);
            }
        }
        machine.check();
        assert!(
            machine
                .next_timer()
                .is_none_or(|at| at > now || what & 15 != 15)
        );
    }
    machine.end(now, &mut world);
    machine.check();
    assert_eq!(machine.clients(), 0);
});

fn round_trip(datagram: &[u8]) {
    let Ok(frame) = unwrap(datagram) else { return };
    if let Some(node) = frame.node {
        let mut again = Vec::new();
        wrap(node, &mut again);
        again.extend_from_slice(frame.packet);
        assert_eq!(unwrap(&again), Ok(frame));
    }
    if let Ok(packet) = decode(frame.packet) {
        let mut bytes = Vec::new();
        assert!(encode(&packet, &mut bytes));
        assert_eq!(decode(&bytes), Ok(packet));
    }
}
