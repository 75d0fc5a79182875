//! The task with a socket, and a broker whose end of the pipes is in the hands of the test.
#![allow(clippy::unwrap_used)]

use super::Command;
use crate::{Running, plugin};
use emqttd_plugin_sdk::testing::{FakeBroker, FakePipe};
use emqttd_plugin_sdk::{Config, Descriptor, Reply};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CONNECT: &[u8] = b"\x09\x04\x04\x01\x00\x3csn1";

fn start(more: &[(&str, &str)]) -> FakeBroker {
    let mut keys = vec![
        ("mqtt.sn.port", "127.0.0.1:0"),
        ("mqtt.sn.advertise_duration", "0"),
        ("mqtt.sn.username", "user-%c"),
        ("mqtt.sn.password", "abc"),
    ];
    keys.extend_from_slice(more);
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(&keys)).unwrap();
    broker
}

fn address(broker: &FakeBroker) -> SocketAddr {
    let listeners = broker.listeners();
    listeners.last().unwrap().listen_on.parse().unwrap()
}

/// A device, from any port.
struct Device(UdpSocket);

impl Device {
    fn new(gateway: SocketAddr) -> Device {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket.connect(gateway).unwrap();
        Device(socket)
    }

    fn says(&self, datagram: &[u8]) {
        self.0.send(datagram).unwrap();
    }

    fn hears(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let len = self.0.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    /// Connects; the broker's end of its pipe.
    fn connect(&self, broker: &FakeBroker) -> FakePipe {
        let before = broker.pipes().len();
        self.says(CONNECT);
        let pipe = broker.eventually(|| broker.pipes().get(before).cloned());
        assert_eq!(pipe.output(b"\x20\x02\0\0"), 4);
        assert_eq!(self.hears(), b"\x03\x05\0");
        pipe
    }
}

/// What the plugin has sent through a pipe, once it ends so.
fn received(broker: &FakeBroker, pipe: &FakePipe) -> Vec<u8> {
    broker.eventually(|| Some(pipe.received()).filter(|bytes| !bytes.is_empty()))
}

#[test]
fn clients_log_in_and_all_that_waits_for_them_arrives() {
    let broker = start(&[]);
    let device = Device::new(address(&broker));
    let pipe = device.connect(&broker);
    let connect = received(&broker, &pipe);
    let end = b"\x00\x03sn1\x00\x08user-sn1\x00\x03abc";
    assert!(connect.ends_with(end), "{connect:?}");
    assert_eq!(pipe.peer().peername, device.0.local_addr().unwrap());
    // Many more than are taken in one turn.
    let mut messages = Vec::new();
    for n in 0..200 {
        messages.extend_from_slice(b"\x30\x05\0\x02xy");
        messages.push(n);
    }
    assert_eq!(pipe.output(&messages), messages.len());
    for n in 0..200 {
        assert_eq!(device.hears(), [8, 0x0C, 2, b'x', b'y', 0, 0, n]);
    }
    pipe.end("kick");
    assert_eq!(device.hears(), b"\x02\x18");
}

#[test]
fn suback_comes_before_what_the_subscription_lets_in() {
    let broker = start(&[]);
    let device = Device::new(address(&broker));
    let pipe = device.connect(&broker);
    received(&broker, &pipe);
    for n in 1..=100 {
        device.says(&[7, 0x12, 2, 0, n, b'x', b'y']);
        let subscribe = received(&broker, &pipe);
        let [0x82, _, high, low, ..] = subscribe[..] else {
            panic!("{subscribe:?}");
        };
        let answer = [&[0x90, 3, high, low, 0][..], b"\x30\x05\0\x02xy!"].concat();
        assert_eq!(pipe.output(&answer), answer.len());
        assert_eq!(device.hears(), [8, 0x13, 0, 0, 0, 0, n, 0]);
        assert_eq!(device.hears(), b"\x08\x0c\x02xy\0\0!");
    }
}

#[test]
fn what_came_before_is_sent_before_pingresp() {
    let broker = start(&[]);
    let device = Device::new(address(&broker));
    let pipe = device.connect(&broker);
    received(&broker, &pipe);
    device.says(b"\x04\x18\0\x3c");
    assert_eq!(device.hears(), b"\x02\x18");
    for _ in 0..100 {
        device.says(b"\x05\x16sn1");
        assert_eq!(received(&broker, &pipe), b"\xc0\0");
        // The message, and the answer to PINGREQ behind it.
        assert_eq!(pipe.output(b"\x30\x05\0\x02xy!\xd0\0"), 9);
        assert_eq!(device.hears(), b"\x08\x0c\x02xy\0\0!");
        assert_eq!(device.hears(), b"\x02\x17");
    }
}

#[test]
fn the_port_moves_and_is_free_at_the_end() {
    let broker = start(&[]);
    let first = address(&broker);
    let device = Device::new(first);
    device.connect(&broker);
    // One that is taken.
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let refused = broker.set("mqtt.sn.port", &taken).unwrap_err();
    assert!(refused.starts_with("mqtt.sn.port"), "{refused}");
    device.says(b"\x02\x16");
    assert_eq!(device.hears(), b"\x02\x17");
    broker.set("mqtt.sn.gateway_id", "7").unwrap();
    device.says(b"\x03\x01\0");
    assert_eq!(device.hears(), b"\x03\x02\x07");
    // Another one.
    drop(held);
    broker.set("mqtt.sn.port", &taken).unwrap();
    assert_eq!(device.hears(), b"\x02\x18");
    let second = address(&broker);
    assert_ne!(first, second);
    broker.eventually(|| UdpSocket::bind(first).ok());
    let device = Device::new(second);
    device.connect(&broker);
    broker.stop();
    assert_eq!(device.hears(), b"\x02\x18");
    UdpSocket::bind(second).unwrap();
}

#[test]
fn advertise_goes_out_at_once_and_again() {
    let listening = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = listening.local_addr().unwrap().to_string();
    let keys = [
        ("mqtt.sn.advertise_to", &*to),
        ("mqtt.sn.advertise_duration", "1"),
        ("mqtt.sn.gateway_id", "9"),
    ];
    let _broker = start(&keys);
    listening
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for _ in 0..2 {
        let mut buffer = [0; 64];
        let len = listening.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..len], [5, 0, 9, 0, 1]);
    }
}

#[test]
fn qos_minus_1_has_a_client_of_its_own() {
    let broker = start(&[("mqtt.sn.enable_qos3", "on")]);
    let device = Device::new(address(&broker));
    for payload in [b"a", b"b"] {
        device.says(&[b"\x08\x0c\x62xy\0\0", &payload[..]].concat());
    }
    let pipe = broker.eventually(|| broker.pipes().first().cloned());
    let connect = received(&broker, &pipe);
    assert!(connect.windows(13).any(|name| name == b"NegQos-Client"));
    assert_eq!(pipe.output(b"\x20\x02\0\0"), 4);
    let mut published = received(&broker, &pipe);
    while published.len() < 14 {
        published.extend(received(&broker, &pipe));
    }
    assert_eq!(published, b"\x30\x05\0\x02xya\x30\x05\0\x02xyb");
    // Refused, or ended by the broker: the next message is dropped, and one after a while connects again.
    pipe.end("kick");
    broker.eventually(|| {
        device.says(b"\x08\x0c\x62xy\0\0c");
        broker.pipes().get(1).cloned()
    });
}

#[test]
fn clients_are_listed() {
    let broker = start(&[("mqtt.sn.enable_stats", "on")]);
    let device = Device::new(address(&broker));
    device.connect(&broker);
    device.says(b"\x04\x18\0\x3c");
    assert_eq!(device.hears(), b"\x02\x18");
    let from = device.0.local_addr().unwrap();
    let row = format!("Client(sn1, peername={from}, state=asleep, received=1, sent=2)\n");
    assert_eq!(broker.command(&["sn", "clients"]), Some(Reply::Text(row)));
    assert_eq!(broker.command(&["sn", "what"]), Some(Reply::Usage));
}

#[test]
fn after_a_panic_it_begins_anew() {
    let commands = Arc::new(Mutex::new(None));
    let told = Arc::clone(&commands);
    let plugin = Descriptor::new("emq_sn", "1", "MQTT-SN", move |ctx| {
        let running = Running::start(ctx)?;
        *told.lock().unwrap() = Some(running.commands.clone());
        Ok(Box::new(running))
    });
    let broker = FakeBroker::new();
    let keys = [
        ("mqtt.sn.port", "127.0.0.1:0"),
        ("mqtt.sn.advertise_duration", "0"),
    ];
    broker.start(&plugin, Config::of(&keys)).unwrap();
    let place = address(&broker);
    let device = Device::new(place);
    let pipe = device.connect(&broker);
    broker.set("mqtt.sn.gateway_id", "7").unwrap();
    let commands = commands.lock().unwrap().take().unwrap();
    assert!(commands.send(Command::Panic).is_ok());
    // Its clients are gone, and the settings are those that it had.
    broker.eventually(|| pipe.closed());
    device.says(b"\x03\x01\0");
    assert_eq!(device.hears(), b"\x03\x02\x07");
    device.connect(&broker);
    drop(broker);
    UdpSocket::bind(place).unwrap();
}
