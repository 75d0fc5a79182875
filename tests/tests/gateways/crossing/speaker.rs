//! One client, whatever it speaks.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use emqttd_tests::stomp::Stomp;
use emqttd_tests::transport::{self, WebSocket, Wire, opcode};
use emqttd_tests::{Broker, Client, Connect, Publish, Version, unique};

use crate::coap::endpoint::{self as coap, option};
use crate::common::{address, eventually, shown};
use crate::sn::device::{self as sn, flag};

/// What there is.
pub const PROTOCOLS: [&str; 6] = ["mqtt311", "mqtt5", "stomp", "sockjs", "sn", "coap"];

/// A connected client. Everything it says has been taken by the broker when the call returns.
pub trait Speaker {
    fn subscribe(&mut self, filter: &str);
    fn publish(&mut self, topic: &str, payload: &str);
    /// the next message is this one
    fn receives(&mut self, topic: &str, payload: &str);
    /// the broker has ended the connection
    fn is_displaced(&mut self);
    fn is_denied_subscribing(&mut self, filter: &str);
    fn is_denied_publishing(&mut self, topic: &str);
}

/// Connects.
#[track_caller]
pub fn open<'a>(protocol: &str, broker: &'a Broker, clientid: &str) -> Box<dyn Speaker + 'a> {
    match protocol {
        "mqtt311" => Box::new(broker.open(&Connect::new(Version::V311, clientid))),
        "mqtt5" => Box::new(broker.open(&Connect::new(Version::V5, clientid))),
        "stomp" => Box::new(Stomp::guest(
            address(broker, "stomp:tcp"),
            &[("client-id", clientid)],
        )),
        "sockjs" => {
            let wire = transport::tcp(address(broker, "sockjs:http"));
            let mut stomp = Stomp::over(TextSocket::open(wire));
            stomp.connect(&[
                ("login", "guest"),
                ("passcode", "guest"),
                ("client-id", clientid),
            ]);
            Box::new(stomp)
        }
        "sn" => Box::new(Sn(sn::Device::connected(broker, clientid))),
        "coap" => Box::new(Coap::connected(broker, clientid)),
        other => panic!("{other}"),
    }
}

impl Speaker for Client {
    fn subscribe(&mut self, filter: &str) {
        self.sub(filter, 1);
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        self.publish(Publish::new(topic, payload).qos(1));
    }

    fn receives(&mut self, topic: &str, payload: &str) {
        self.expect(topic, payload);
    }

    fn is_displaced(&mut self) {
        self.closed();
    }

    fn is_denied_subscribing(&mut self, filter: &str) {
        let codes = self.subscribe(&[emqttd_tests::Sub::new(filter, 1)], &[]);
        assert!(codes[0] >= 0x80, "{codes:02x?}");
    }

    fn is_denied_publishing(&mut self, topic: &str) {
        self.send_publish(Publish::new(topic, "x"));
        self.ping();
    }
}

impl Speaker for Stomp {
    fn subscribe(&mut self, filter: &str) {
        self.sub("1", filter, &[]);
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        self.done("SEND", &[("destination", topic)], payload);
    }

    fn receives(&mut self, topic: &str, payload: &str) {
        let message = self.message("1", payload);
        assert_eq!(message.value("destination"), topic);
    }

    fn is_displaced(&mut self) {
        // ERROR says why.
        self.refused();
    }

    fn is_denied_subscribing(&mut self, filter: &str) {
        self.say("SUBSCRIBE", &[("id", "1"), ("destination", filter)], "");
        self.refused();
    }

    fn is_denied_publishing(&mut self, topic: &str) {
        self.say("SEND", &[("destination", topic), ("receipt", "r")], "x");
        self.refused();
    }
}

/// A raw WebSocket whose messages are text, as a stream of bytes.
struct TextSocket {
    socket: WebSocket<TcpStream>,
    unread: Vec<u8>,
}

impl TextSocket {
    fn open(wire: TcpStream) -> TextSocket {
        TextSocket {
            socket: WebSocket::open_at(wire, "/stomp/websocket"),
            unread: Vec::new(),
        }
    }
}

impl Read for TextSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.socket.read_frame()? {
                Some(frame) if frame.opcode == opcode::TEXT => self.unread = frame.payload,
                Some(frame) if frame.opcode == opcode::CLOSE => return Ok(0),
                Some(_) => {}
                None => return Ok(0),
            }
        }
        let n = self.unread.len().min(into.len());
        into[..n].copy_from_slice(&self.unread[..n]);
        self.unread.drain(..n);
        Ok(n)
    }
}

impl Write for TextSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send_frame(true, opcode::TEXT, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for TextSocket {
    fn tcp(&self) -> &TcpStream {
        &self.socket.wire
    }
}

struct Sn(sn::Device);

impl Speaker for Sn {
    fn subscribe(&mut self, filter: &str) {
        self.0.subscribe(flag::QOS1, filter);
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        let id = self.0.register(topic);
        self.0
            .send(&sn::publish(flag::QOS1, id, 7, payload.as_bytes()));
        self.0.hears(&format!("070d{id:04x}000700"));
    }

    fn receives(&mut self, topic: &str, payload: &str) {
        // By an id that it was told at SUBSCRIBE, or is told now.
        let mut got = self.0.recv();
        if got[1] == 0x0a {
            assert_eq!(String::from_utf8_lossy(&got[6..]), topic);
            self.0.send(&[7, 0x0b, got[2], got[3], got[4], got[5], 0]);
            got = self.0.recv();
        }
        assert_eq!((got[1], got[2]), (0x0c, flag::QOS1), "{}", sn::hex(&got));
        assert_eq!(String::from_utf8_lossy(&got[7..]), payload);
        self.0.send(&[7, 0x0d, got[3], got[4], got[5], got[6], 0]);
    }

    fn is_displaced(&mut self) {
        self.0.hears("0218");
    }

    fn is_denied_subscribing(&mut self, filter: &str) {
        self.0
            .send(&sn::subscribe(flag::QOS1, 5, filter.as_bytes()));
        self.0.hears("0813200000000580");
    }

    fn is_denied_publishing(&mut self, topic: &str) {
        let id = self.0.register(topic);
        self.0.send(&sn::publish(flag::QOS1, id, 6, b"x"));
        self.0.hears(&format!("070d{id:04x}000603"));
    }
}

/// A CoAP client; it observes one filter. That it has been displaced is asked of the broker, for it is not told.
struct Coap<'a> {
    device: coap::Device,
    /// what names it in each request
    query: String,
    clientid: String,
    username: String,
    broker: &'a Broker,
}

impl<'a> Coap<'a> {
    #[track_caller]
    fn connected(broker: &'a Broker, clientid: &str) -> Coap<'a> {
        // The same names would be the same client, which nothing displaces.
        let username = unique("user");
        let mut coap = Coap {
            device: coap::Device::new(broker),
            query: format!("c={clientid}&u={username}"),
            clientid: clientid.into(),
            username,
            broker,
        };
        let said = coap
            .device
            .asks(coap::GET, &format!("mqtt?{}", coap.query), "");
        assert_eq!(said, "2.05");
        coap
    }

    /// A request about a topic or filter, whose characters need no escapes this way.
    fn request(&self, method: u8, topic: &str) -> coap::Message {
        coap::Message::request(method, &format!("mqtt?{}", self.query))
            .with(option::URI_PATH, topic.as_bytes())
    }

    fn observe(&mut self, filter: &str) -> String {
        let request = self.request(coap::GET, filter);
        self.device
            .ask(request.with_number(option::OBSERVE, 0))
            .said()
    }

    fn put(&mut self, topic: &str, payload: &str) -> String {
        let request = self.request(coap::PUT, topic);
        let request = request.with(option::URI_QUERY, b"qos=1");
        self.device.ask(request.payload(payload)).said()
    }
}

impl Speaker for Coap<'_> {
    fn subscribe(&mut self, filter: &str) {
        assert_eq!(self.observe(filter), "2.05");
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        assert_eq!(self.put(topic, payload), "2.04");
    }

    /// A notification has no topic.
    fn receives(&mut self, _: &str, payload: &str) {
        assert_eq!(self.device.notified().text(), payload);
    }

    fn is_displaced(&mut self) {
        let name = format!("username={}", self.username);
        eventually("another has its place", || {
            !shown(self.broker, &self.clientid).is_some_and(|row| row.contains(&name))
        });
    }

    fn is_denied_subscribing(&mut self, filter: &str) {
        assert_eq!(self.observe(filter), "4.03");
    }

    fn is_denied_publishing(&mut self, topic: &str) {
        assert_eq!(self.put(topic, "x"), "4.03");
    }
}
