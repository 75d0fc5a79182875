//! The whole plugin, with a broker whose end of each connection is in the hands of the test.
#![allow(clippy::unwrap_used)]

use crate::codec::{Code, Kind, Message, Token, Writer, option};
use emqttd_plugin_sdk::testing::{FakeBroker, FakePipe};
use emqttd_plugin_sdk::{Config, Reply};
use std::net::UdpSocket;
use std::sync::Mutex;
use std::time::Duration;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

struct Rig {
    broker: FakeBroker,
    device: UdpSocket,
    id: u16,
    /// what a connection has received and nobody has looked at
    seen: Mutex<Vec<u8>>,
}

impl Rig {
    fn new() -> Rig {
        let broker = FakeBroker::new();
        let keys = [
            ("coap.port", "127.0.0.1:0"),
            ("coap.keepalive", "120s"),
            ("coap.max_clients", "10"),
            ("coap.max_message_size", "64KB"),
            ("coap.ps.max_topics", "10"),
            ("coap.ps.max_bytes", "1MB"),
        ];
        broker.start(&crate::plugin(), Config::of(&keys)).unwrap();
        let device = UdpSocket::bind("127.0.0.1:0").unwrap();
        device
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        device.connect(&broker.listeners()[0].listen_on).unwrap();
        Rig {
            broker,
            device,
            id: 0,
            seen: Mutex::default(),
        }
    }

    /// Sends a CON; its message ID is its token.
    fn ask(&mut self, method: Code, path: &[&str], query: &[&str], observe: bool, payload: &str) {
        self.id += 1;
        let token = Token::new(&self.id.to_be_bytes()).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Kind::Confirmable, method, self.id, &token);
        if observe {
            writer.uint(option::OBSERVE, 0);
        }
        for segment in path {
            writer.option(option::URI_PATH, segment.as_bytes());
        }
        for text in query {
            writer.option(option::URI_QUERY, text.as_bytes());
        }
        writer.payload(payload.as_bytes());
        self.device.send(&out).unwrap();
    }

    /// The next datagram: type, code, message ID, payload.
    fn hear(&self) -> (Kind, Code, u16, String) {
        let mut buffer = [0; 2048];
        let length = self.device.recv(&mut buffer).unwrap();
        let message = Message::decode(&buffer[..length]).unwrap();
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        (message.kind, message.code, message.id, payload)
    }

    fn connection(&self, number: usize) -> FakePipe {
        let found = || self.broker.pipes().get(number).cloned();
        self.broker.eventually(found)
    }

    /// The next packet that the broker gets; all here are shorter than 128 bytes.
    fn packet(&self, connection: &FakePipe) -> Vec<u8> {
        self.broker.eventually(|| {
            let mut seen = self.seen.lock().unwrap();
            seen.extend(connection.received());
            let length = 2 + usize::from(*seen.get(1)?);
            (seen.len() >= length).then(|| seen.drain(..length).collect())
        })
    }
}

fn ends_with(packet: &[u8], text: &str) -> bool {
    packet.ends_with(text.as_bytes())
}

#[test]
fn a_device_publishes_observes_and_leaves() {
    let mut rig = Rig::new();
    let query = ["c=c1", "u=tom", "p=secret"];
    rig.ask(Code::PUT, &["mqtt", "t"], &query, false, "21.5");
    let connection = rig.connection(0);
    let peer = connection.peer();
    assert_eq!(peer.listener.0, "coap:udp");
    assert_eq!(peer.peername, rig.device.local_addr().unwrap());
    let connect = rig.packet(&connection);
    assert!(connect[0] == 0x10 && ends_with(&connect, "\x00\x02c1\x00\x03tom\x00\x06secret"));
    // MQTT 3.1.1, clean session, 120 seconds.
    assert_eq!(connect[4..12], *b"MQTT\x04\xC2\x00\x78");
    connection.output(&CONNACK);
    assert_eq!(rig.packet(&connection), b"\x30\x07\x00\x01t21.5");
    assert_eq!(
        rig.hear(),
        (Kind::Acknowledgement, Code::CHANGED, 1, String::new())
    );
    // Observing.
    rig.ask(Code::GET, &["mqtt", "+"], &query, true, "");
    let subscribe = rig.packet(&connection);
    assert!(subscribe[0] == 0x82 && ends_with(&subscribe, "\x00\x01+\x01"));
    let id = [subscribe[2], subscribe[3]];
    // SUBACK, and a message right behind it.
    let publish = b"\x32\x06\x00\x01a\x00\x09x";
    let bytes = [&[0x90, 3, id[0], id[1], 1], &publish[..]].concat();
    connection.output(&bytes);
    assert_eq!(
        rig.hear(),
        (Kind::Acknowledgement, Code::CONTENT, 2, String::new())
    );
    let (kind, code, id, payload) = rig.hear();
    assert_eq!(
        (kind, code, &*payload),
        (Kind::Confirmable, Code::CONTENT, "x")
    );
    // The broker hears of it when the device has it.
    assert!(connection.received().is_empty());
    let ack = crate::codec::empty(Kind::Acknowledgement, id);
    rig.device.send(&ack).unwrap();
    assert_eq!(rig.packet(&connection), [0x40, 2, 0, 9]);
    // The end of the plugin is a good one.
    std::thread::scope(|scope| {
        scope.spawn(|| rig.broker.stop());
        assert_eq!(rig.packet(&connection), DISCONNECT);
        connection.end("normal");
    });
}

#[test]
fn who_is_refused_is_told_so() {
    let mut rig = Rig::new();
    rig.ask(Code::PUT, &["mqtt", "t"], &["c=c1"], false, "x");
    let connection = rig.connection(0);
    assert_eq!(rig.packet(&connection)[0], 0x10);
    connection.output(&[0x20, 2, 0, 4]);
    connection.end("auth_failure");
    assert_eq!(rig.hear().1, Code::UNAUTHORIZED);
    assert!(connection.received().is_empty());
}

#[test]
fn a_connection_that_ends_is_made_anew() {
    let mut rig = Rig::new();
    for number in 0..2 {
        rig.ask(Code::GET, &["mqtt"], &["c=c1"], false, "");
        let connection = rig.connection(number);
        assert_eq!(rig.packet(&connection)[0], 0x10);
        connection.output(&CONNACK);
        assert_eq!(rig.hear().1, Code::CONTENT);
        connection.end("kick");
    }
}

#[test]
fn the_command_lists_clients() {
    let mut rig = Rig::new();
    rig.ask(Code::GET, &["mqtt"], &["c=c1"], false, "");
    rig.connection(0).output(&CONNACK);
    rig.hear();
    let reply = rig.broker.command(&["coap", "clients"]);
    let address = rig.device.local_addr().unwrap();
    let wanted = format!("Client(c1, peername={address}, observations=0, received=0, sent=0)\n");
    assert_eq!(reply, Some(Reply::Text(wanted)));
    assert_eq!(rig.broker.command(&["coap"]), Some(Reply::Usage));
    // Nobody waits for it to leave.
    rig.connection(0).end("kick");
}
