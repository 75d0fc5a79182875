//! The plugin with clients over TCP, and a broker whose end of each virtual client is in the hands of the test.
#![allow(clippy::unwrap_used)]

use crate::plugin;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::testing::{FakeBroker, FakePipe};
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const CONNECT: &[u8] = b"CONNECT\naccept-version:1.2\n\n\0";
const CONNECTED: &str = "CONNECTED\nserver:emq-stomp/1.2\nversion:1.2\nheart-beat:0,0\n\n^";

/// A packet of a client: its first byte and what follows its length.
type Packet = (u8, Vec<u8>);

struct Session<'a> {
    broker: &'a FakeBroker,
    client: TcpStream,
    pipe: FakePipe,
    /// bytes of the virtual client that are not used
    received: RefCell<Vec<u8>>,
}

fn started(pairs: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    let mut all = vec![("stomp.listener", "127.0.0.1:0")];
    all.extend_from_slice(pairs);
    broker.start(&plugin(), Config::of(&all)).unwrap();
    broker
}

fn open(broker: &FakeBroker) -> TcpStream {
    let listener = broker.listeners().remove(0);
    let client = TcpStream::connect(listener.listen_on).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
}

/// What the client is told until the connection ends; `^` stands for NUL.
fn rest(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap().replace('\0', "^")
}

impl Session<'_> {
    /// A client whose CONNECT the broker has taken.
    fn new(broker: &FakeBroker) -> Session<'_> {
        let before = broker.pipes().len();
        let mut client = open(broker);
        client.write_all(CONNECT).unwrap();
        let pipe = broker.eventually(|| broker.pipes().get(before).cloned());
        let mut session = Session {
            broker,
            client,
            pipe,
            received: RefCell::default(),
        };
        assert_eq!(session.packet().0, 0x10);
        session.output(&[0x20, 3, 0, 0, 0]);
        session.told(CONNECTED);
        session
    }

    /// The next packet of the virtual client.
    fn packet(&self) -> Packet {
        self.broker.eventually(|| {
            let mut received = self.received.borrow_mut();
            received.extend(self.pipe.received());
            let (mut len, mut at) = (0, 1);
            loop {
                let byte = *received.get(at)?;
                len |= usize::from(byte & 0x7F) << (7 * (at - 1));
                at += 1;
                if byte < 0x80 {
                    break;
                }
            }
            if received.len() < at + len {
                return None;
            }
            let packet: Vec<u8> = received.drain(..at + len).collect();
            Some((packet[0], packet[at..].to_vec()))
        })
    }

    fn output(&self, bytes: &[u8]) {
        assert_eq!(self.pipe.output(bytes), bytes.len());
    }

    fn say(&mut self, text: &str) {
        let bytes = text.replace('^', "\0");
        self.client.write_all(bytes.as_bytes()).unwrap();
    }

    fn told(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        self.client.read_exact(&mut bytes).unwrap();
        let told = String::from_utf8(bytes).unwrap().replace('\0', "^");
        assert_eq!(told, expected);
    }

    /// Subscribes; the identifier of the subscription.
    fn subscribe(&mut self, headers: &str, code: u8) -> Vec<u8> {
        self.say(&format!("SUBSCRIBE\n{headers}\n\n^"));
        let (first, body) = self.packet();
        assert_eq!((first, body[3]), (0x82, 0x0B));
        self.output(&[0x90, 4, body[0], body[1], 0, code]);
        let properties = usize::from(body[2]);
        body[4..3 + properties].to_vec()
    }
}

/// PUBLISH at QoS 1 for the subscription with that identifier.
fn publish(identifier: &[u8], id: u8, topic: &str, payload: &str) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&[0, id, u8::try_from(identifier.len() + 1).unwrap(), 0x0B]);
    body.extend_from_slice(identifier);
    body.extend_from_slice(payload.as_bytes());
    let mut packet = vec![0x32, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

#[test]
fn messages_go_both_ways() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    let peer = session.pipe.peer().clone();
    assert_eq!(peer.peername, session.client.local_addr().unwrap());
    assert!(peer.anonymous);

    session.say("SEND\ndestination:a\n\nx^SEND\ndestination:a\nreceipt:r\n\ny^");
    assert_eq!(session.packet(), (0x30, b"\x00\x01a\x00x".to_vec()));
    let (first, body) = session.packet();
    assert_eq!(
        (first, &body[..3], &body[5..]),
        (0x32, &b"\x00\x01a"[..], &b"\x00y"[..])
    );
    session.output(&[0x40, 2, body[3], body[4]]);
    session.told("RECEIPT\nreceipt-id:r\n\n^");

    let identifier = session.subscribe("id:1\ndestination:b/+\nqos:1\nreceipt:s", 1);
    session.told("RECEIPT\nreceipt-id:s\n\n^");
    session.output(&publish(&identifier, 9, "b/c", "hello"));
    session.told(
        "MESSAGE\nsubscription:1\nmessage-id:1\ndestination:b/c\ncontent-type:text/plain\n\
         content-length:5\n\nhello^",
    );
    // Mode auto: the client has it.
    let (first, body) = session.packet();
    assert_eq!((first, &body[..2]), (0x40, &[0, 9][..]));

    let identifier = session.subscribe("id:2\ndestination:d\nack:client", 1);
    session.output(&publish(&identifier, 10, "d", "job"));
    session.told(
        "MESSAGE\nsubscription:2\nmessage-id:2\ndestination:d\ncontent-type:text/plain\nack:2\n\
         content-length:3\n\njob^",
    );
    session.say("ACK\nid:2\n\n^UNSUBSCRIBE\nid:2\nreceipt:u\n\n^");
    let (first, body) = session.packet();
    assert_eq!((first, &body[..2]), (0x40, &[0, 10][..]));
    let (first, body) = session.packet();
    assert_eq!((first, &body[3..]), (0xA2, &b"\x00\x01d"[..]));
    session.output(&[0xB0, 4, body[0], body[1], 0, 0]);
    session.told("RECEIPT\nreceipt-id:u\n\n^");

    session.say("DISCONNECT\nreceipt:bye\n\n^");
    assert_eq!(session.packet().0, 0xE0);
    session.pipe.end("normal");
    assert_eq!(rest(&mut session.client), "RECEIPT\nreceipt-id:bye\n\n^");
}

#[test]
fn what_the_broker_refuses_ends_it_with_an_error() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    session.say("SEND\ndestination:a\nreceipt:r\n\ny^");
    let (_, body) = session.packet();
    session.output(&[0x40, 3, body[3], body[4], 0x87]);
    let text = "Not published: not authorized";
    let expected = format!(
        "ERROR\nmessage:Not published\\c not authorized\ncontent-type:text/plain\nreceipt-id:r\n\
         content-length:29\n\n{text}^"
    );
    assert_eq!(rest(&mut session.client), expected);
    broker.eventually(|| session.pipe.closed().filter(|why| why == "protocol_error"));
    assert_eq!(broker.metric("frames/refused"), Some(0));

    let mut session = Session::new(&broker);
    session.subscribe("id:1\ndestination:a", 0x87);
    let told = rest(&mut session.client);
    assert!(told.ends_with("Not subscribed: not authorized^"), "{told}");
}

#[test]
fn a_login_is_refused_as_the_original_did() {
    let broker = started(&[]);
    let expected = "ERROR\ncontent-type:text/plain\ncontent-length:24\n\nLogin or passcode error!^";
    let mut client = open(&broker);
    client
        .write_all(b"CONNECT\nlogin:tom\npasscode:x\n\n\0")
        .unwrap();
    let pipe = broker.eventually(|| broker.pipes().first().cloned());
    assert!(!pipe.peer().anonymous);
    broker.eventually(|| (!pipe.received().is_empty()).then_some(()));
    pipe.output(&[0x20, 3, 0, 0x86, 0]);
    assert_eq!(rest(&mut client), expected);
    // The default user's is not even asked about.
    let mut client = open(&broker);
    client
        .write_all(b"CONNECT\nlogin:guest\npasscode:x\n\n\0")
        .unwrap();
    assert_eq!(rest(&mut client), expected);
    assert_eq!(broker.pipes().len(), 1);
    broker.eventually(|| (broker.metric("logins/refused") == Some(2)).then_some(()));
}

#[test]
fn an_error_is_read_even_by_who_sends_on() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    let mut bytes = b"NONSENSE\n\n\0".to_vec();
    bytes.resize(200_000, b'x');
    session.client.write_all(&bytes).unwrap();
    let told = rest(&mut session.client);
    assert!(told.ends_with("Unknown command NONSENSE^"), "{told}");
}

#[test]
fn a_full_broker_holds_back_and_loses_nothing() {
    let broker = started(&[]);
    let session = Session::new(&broker);
    session.pipe.set_room(1000);
    let mut sender = session.client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for number in 0..3000 {
            let frame = format!("SEND\ndestination:a\n\n{number:0100}\0");
            sender.write_all(frame.as_bytes()).unwrap();
        }
    });
    for number in 0..3000 {
        if number % 10 == 0 {
            // Now and then there is room.
            session.pipe.set_room(0);
            session.pipe.set_room(2000);
        }
        let (first, body) = session.packet();
        assert_eq!(first, 0x30);
        assert_eq!(body[4..], *format!("{number:0100}").as_bytes());
    }
    sending.join().unwrap();
    assert_eq!(session.pipe.closed(), None);
}

#[test]
fn a_client_that_does_not_read_does_not_stop_its_own_frames() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    // More receipts than sockets hold on the way, and none is read before the last is asked for.
    let frame = "BEGIN\ntransaction:t\nreceipt:r\n\n^ABORT\ntransaction:t\n\n^";
    session.say(&frame.repeat(2000));
    session.say("SEND\ndestination:a\n\nend^");
    assert_eq!(session.packet(), (0x30, b"\x00\x01a\x00end".to_vec()));
    session.told(&"RECEIPT\nreceipt-id:r\n\n^".repeat(2000));
}

#[test]
fn what_was_sent_before_the_end_is_done() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    session.say("SEND\ndestination:a\nreceipt:r\n\nlast^");
    session.client.shutdown(Shutdown::Write).unwrap();
    let (_, body) = session.packet();
    assert_eq!(session.pipe.closed(), None);
    session.output(&[0x40, 2, body[3], body[4]]);
    assert_eq!(rest(&mut session.client), "RECEIPT\nreceipt-id:r\n\n^");
    broker.eventually(|| session.pipe.closed().filter(|why| why == "closed"));
}

#[test]
fn heart_beats_are_sent() {
    let broker = started(&[]);
    let mut client = open(&broker);
    client
        .write_all(b"CONNECT\naccept-version:1.2\nheart-beat:0,100\n\n\0")
        .unwrap();
    let pipe = broker.eventually(|| broker.pipes().first().cloned());
    broker.eventually(|| (!pipe.received().is_empty()).then_some(()));
    pipe.output(&[0x20, 3, 0, 0, 0]);
    let expected = CONNECTED.replace("0,0", "100,0") + "\n\n";
    let mut bytes = vec![0; expected.len()];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap().replace('\0', "^"),
        expected
    );
}

#[test]
fn the_broker_ends_it() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    session.pipe.end("kick");
    let told = rest(&mut session.client);
    assert!(told.ends_with("Connection closed: kick^"), "{told}");
}

#[test]
fn limits_take_effect_while_clients_are_there() {
    let broker = started(&[]);
    let mut session = Session::new(&broker);
    broker.set("stomp.frame.max_body_length", "3").unwrap();
    broker.set("stomp.listener.max_clients", "1").unwrap();
    session.say("SEND\ndestination:a\n\nxyz^");
    session.packet();
    // There is no place for another.
    let mut other = open(&broker);
    match other.read(&mut [0; 1]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    session.say("SEND\ndestination:a\n\nwxyz^");
    let told = rest(&mut session.client);
    assert!(told.ends_with("frame.max_body_length = 3^"), "{told}");
}

#[test]
fn it_can_be_loaded_again_at_once() {
    let broker = started(&[]);
    let address = broker.listeners().remove(0).listen_on;
    let session = Session::new(&broker);
    broker.stop();
    let config = Config::of(&[("stomp.listener", &address)]);
    broker.start(&plugin(), config).unwrap();
    drop(session);
    Session::new(&broker);
    let other = FakeBroker::new();
    let config = Config::of(&[("stomp.listener", &address)]);
    let error = other.start(&plugin(), config).unwrap_err().to_string();
    assert!(
        error.contains("stomp.listener") && error.contains(&address),
        "{error}"
    );
}
