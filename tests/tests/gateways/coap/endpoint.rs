//! A CoAP end point, byte by byte (RFC 7252, section 3).

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Config};

use crate::common::{DEADLINE, address};

/// Kinds of messages.
pub const CON: u8 = 0;
pub const NON: u8 = 1;
pub const ACK: u8 = 2;
pub const RST: u8 = 3;

/// Methods.
pub const GET: u8 = 1;
pub const POST: u8 = 2;
pub const PUT: u8 = 3;
pub const DELETE: u8 = 4;

/// Options.
pub mod option {
    pub const IF_MATCH: u16 = 1;
    pub const ETAG: u16 = 4;
    pub const IF_NONE_MATCH: u16 = 5;
    pub const OBSERVE: u16 = 6;
    pub const LOCATION_PATH: u16 = 8;
    pub const URI_PATH: u16 = 11;
    pub const CONTENT_FORMAT: u16 = 12;
    pub const MAX_AGE: u16 = 14;
    pub const URI_QUERY: u16 = 15;
    pub const ACCEPT: u16 = 17;
    pub const BLOCK2: u16 = 23;
    pub const BLOCK1: u16 = 27;
    pub const PROXY_URI: u16 = 35;
}

/// A broker with the gateway on a port of its own, without DTLS, and these keys.
pub fn gateway(keys: &str) -> Broker {
    Broker::start(config(keys))
}

/// Its configuration.
pub fn config(keys: &str) -> Config {
    Config::with_plugin("emq_coap", &format!("coap.port = 127.0.0.1:0\n{keys}"))
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    /// 0x45 = 2.05
    pub code: u8,
    pub id: u16,
    pub token: Vec<u8>,
    pub options: Vec<(u16, Vec<u8>)>,
    pub payload: Vec<u8>,
}

impl Message {
    /// A request for `path?query`; segments and parameters are sent as they stand, not decoded.
    pub fn request(method: u8, path: &str) -> Message {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut message = Message {
            code: method,
            ..Message::default()
        };
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            message = message.with(option::URI_PATH, segment.as_bytes());
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            message = message.with(option::URI_QUERY, parameter.as_bytes());
        }
        message
    }

    pub fn with(mut self, number: u16, value: &[u8]) -> Message {
        self.options.push((number, value.to_vec()));
        self
    }

    /// With an option that is a number.
    pub fn with_number(self, number: u16, value: u32) -> Message {
        let bytes = value.to_be_bytes();
        let from = (value.leading_zeros() / 8) as usize;
        self.with(number, &bytes[from..])
    }

    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Message {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub fn non(mut self) -> Message {
        self.kind = NON;
        self
    }

    /// Values of an option.
    pub fn values(&self, number: u16) -> Vec<&[u8]> {
        let these = self.options.iter().filter(|(n, _)| *n == number);
        these.map(|(_, value)| value.as_slice()).collect()
    }

    /// An option that is a number.
    pub fn number(&self, number: u16) -> Option<u32> {
        let value = *self.values(number).first()?;
        Some(
            value
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
        )
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// `2.05`
    pub fn said(&self) -> String {
        format!("{}.{:02}", self.code >> 5, self.code & 31)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0x40 | self.kind << 4 | self.token.len() as u8, self.code];
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(&self.token);
        let mut options = self.options.clone();
        options.sort_by_key(|(number, _)| *number);
        let mut last = 0;
        for (number, value) in &options {
            let (delta, more_delta) = nibble(number - last);
            let (length, more_length) = nibble(value.len() as u16);
            bytes.push(delta << 4 | length);
            bytes.extend(more_delta);
            bytes.extend(more_length);
            bytes.extend(value);
            last = *number;
        }
        if !self.payload.is_empty() {
            bytes.push(0xff);
            bytes.extend(&self.payload);
        }
        bytes
    }

    #[track_caller]
    pub fn decode(bytes: &[u8]) -> Message {
        assert!(bytes.len() >= 4 && bytes[0] >> 6 == 1, "{bytes:02x?}");
        let token = usize::from(bytes[0] & 15);
        let mut message = Message {
            kind: bytes[0] >> 4 & 3,
            code: bytes[1],
            id: u16::from_be_bytes([bytes[2], bytes[3]]),
            token: bytes[4..4 + token].to_vec(),
            ..Message::default()
        };
        let mut rest = &bytes[4 + token..];
        let mut number = 0;
        while let Some((&first, behind)) = rest.split_first() {
            if first == 0xff {
                message.payload = behind.to_vec();
                break;
            }
            rest = behind;
            let mut extended = |nibble: u8| match nibble {
                13 => {
                    let value = u16::from(rest[0]) + 13;
                    rest = &rest[1..];
                    value
                }
                14 => {
                    let value = u16::from_be_bytes([rest[0], rest[1]]) + 269;
                    rest = &rest[2..];
                    value
                }
                value => u16::from(value),
            };
            number += extended(first >> 4);
            let length = usize::from(extended(first & 15));
            message.options.push((number, rest[..length].to_vec()));
            rest = &rest[length..];
        }
        message
    }
}

fn nibble(value: u16) -> (u8, Vec<u8>) {
    match value {
        0..=12 => (value as u8, Vec::new()),
        13..=268 => (13, vec![(value - 13) as u8]),
        _ => (14, (value - 269).to_be_bytes().to_vec()),
    }
}

/// A device with a socket of its own.
pub struct Device {
    socket: UdpSocket,
    gateway: SocketAddr,
    id: u16,
}

impl Device {
    #[track_caller]
    pub fn new(broker: &Broker) -> Device {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Device {
            socket,
            gateway: address(broker, "coap:udp"),
            id: 0,
        }
    }

    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.gateway).unwrap();
    }

    /// The next datagram, if one comes within that time.
    pub fn recv_within(&self, limit: Duration) -> Option<Message> {
        let mut buffer = [0; 65_536];
        self.socket.set_read_timeout(Some(limit)).unwrap();
        match self.socket.recv(&mut buffer) {
            Ok(n) => Some(Message::decode(&buffer[..n])),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{e}"),
        }
    }

    #[track_caller]
    pub fn recv(&self) -> Message {
        self.recv_within(DEADLINE).expect("a datagram")
    }

    /// Sends a request under an id of its own and a token that is derived from it, and returns both.
    pub fn send(&mut self, mut message: Message) -> Message {
        self.id += 1;
        message.id = self.id;
        if message.token.is_empty() {
            message.token = self.id.to_be_bytes().to_vec();
        }
        self.send_bytes(&message.encode());
        message
    }

    /// Sends a request and waits for its response; a separate one is acknowledged. What else comes is a fault,
    /// but for notifications that are given to `beside`.
    #[track_caller]
    pub fn ask_beside(&mut self, message: Message, beside: &mut Vec<Message>) -> Message {
        let sent = self.send(message);
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < DEADLINE);
            let got = self.recv();
            if got.kind == CON {
                self.acknowledge(&got);
            }
            if got.code == 0 {
                assert_eq!((got.kind, got.id), (ACK, sent.id), "{got:?}");
            } else if got.token == sent.token {
                assert_eq!(got.kind == ACK, got.id == sent.id, "{got:?}");
                return got;
            } else {
                beside.push(got);
            }
        }
    }

    /// The same where nothing else may come.
    #[track_caller]
    pub fn ask(&mut self, message: Message) -> Message {
        let mut beside = Vec::new();
        let got = self.ask_beside(message, &mut beside);
        assert_eq!(beside, [], "beside {got:?}");
        got
    }

    /// The same; what was said, such as `2.05`.
    #[track_caller]
    pub fn asks(&mut self, method: u8, path: &str, payload: &str) -> String {
        self.ask(Message::request(method, path).payload(payload))
            .said()
    }

    pub fn acknowledge(&self, message: &Message) {
        let ack = Message {
            kind: ACK,
            id: message.id,
            ..Message::default()
        };
        self.send_bytes(&ack.encode());
    }

    pub fn reset(&self, message: &Message) {
        let reset = Message {
            kind: RST,
            id: message.id,
            ..Message::default()
        };
        self.send_bytes(&reset.encode());
    }

    /// The next datagram has to be a notification; it is acknowledged if it asks for that.
    #[track_caller]
    pub fn notified(&self) -> Message {
        let got = self.recv();
        assert_eq!(
            (got.said().as_str(), got.kind < ACK),
            ("2.05", true),
            "{got:?}"
        );
        if got.kind == CON {
            self.acknowledge(&got);
        }
        got
    }

    /// Nothing is on its way: the next datagram is the answer to a ping.
    #[track_caller]
    pub fn hears_nothing(&mut self) {
        self.id += 1;
        let ping = Message {
            id: self.id,
            ..Message::default()
        };
        self.send_bytes(&ping.encode());
        let got = self.recv();
        assert_eq!((got.kind, got.id), (RST, self.id), "{got:?}");
    }
}
