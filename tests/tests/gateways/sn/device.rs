//! An MQTT-SN device, byte by byte: packets are written from the specification (1.2, section 5).

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use emqttd_tests::{Broker, Config};

use crate::common::{DEADLINE, address};

/// Bits of the flags field.
pub mod flag {
    pub const DUP: u8 = 0x80;
    pub const QOS1: u8 = 0x20;
    pub const QOS2: u8 = 0x40;
    pub const QOS_MINUS_1: u8 = 0x60;
    pub const RETAIN: u8 = 0x10;
    pub const WILL: u8 = 0x08;
    pub const CLEAN: u8 = 0x04;
    pub const PREDEFINED: u8 = 0x01;
    pub const SHORT: u8 = 0x02;
}

/// A broker with the gateway, these keys beside a port of its own and nothing to advertise to.
pub fn gateway(keys: &str) -> Broker {
    Broker::start(config(keys))
}

/// Its configuration.
pub fn config(keys: &str) -> Config {
    let conf = format!(
        "mqtt.sn.port = 127.0.0.1:0\nmqtt.sn.predefined.topic.0 = reserved\n\
         mqtt.sn.predefined.topic.1 = /predefined/topic/name/hello\n\
         mqtt.sn.predefined.topic.2 = /predefined/topic/name/nice\n\
         mqtt.sn.username = mqtt_sn_user\nmqtt.sn.password = abc\n{keys}"
    );
    Config::with_plugin("emq_sn", &conf)
}

/// One device with a socket of its own.
pub struct Device {
    socket: UdpSocket,
    gateway: SocketAddr,
}

impl Device {
    /// One that has said nothing yet.
    #[track_caller]
    pub fn new(broker: &Broker) -> Device {
        Device::at(address(broker, "mqtt-sn:udp"))
    }

    /// The same, for a gateway whose address is known.
    pub fn at(gateway: SocketAddr) -> Device {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Device { socket, gateway }
    }

    /// One that is connected with a clean session and a keep alive of a minute.
    #[track_caller]
    pub fn connected(broker: &Broker, clientid: &str) -> Device {
        let device = Device::new(broker);
        device.connect(flag::CLEAN, 60, clientid);
        device
    }

    /// CONNECT, which has to be accepted.
    #[track_caller]
    pub fn connect(&self, flags: u8, duration: u16, clientid: &str) {
        self.send(&connect(flags, duration, clientid));
        self.hears("030500");
    }

    /// The address that the gateway sees.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.gateway).unwrap();
    }

    /// Sends bytes written as hexadecimal digits.
    pub fn says(&self, hex: &str) {
        self.send(&unhex(hex));
    }

    /// The next datagram.
    #[track_caller]
    pub fn recv(&self) -> Vec<u8> {
        self.recv_within(DEADLINE)
            .unwrap_or_else(|| panic!("nothing came to {}", self.address()))
    }

    /// The next datagram, if one comes within that time.
    pub fn recv_within(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 65_536];
        self.socket.set_read_timeout(Some(limit)).unwrap();
        match self.socket.recv(&mut buffer) {
            Ok(n) => Some(buffer[..n].to_vec()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// The next datagram has to be this one, written as hexadecimal digits.
    #[track_caller]
    pub fn hears(&self, wanted: &str) {
        assert_eq!(hex(&self.recv()), wanted);
    }

    /// What was sent before is not answered: the next datagram is the answer to SEARCHGW.
    #[track_caller]
    pub fn hears_nothing(&self) {
        self.says("030100");
        let got = self.recv();
        assert_eq!(&got[..2], [3, 2], "{} instead of GWINFO", hex(&got));
    }

    /// REGISTER, which has to be accepted: the topic id.
    #[track_caller]
    pub fn register(&self, name: &str) -> u16 {
        self.send(&register(0, 0x4711, name));
        let got = self.recv();
        assert_eq!(got.len(), 7, "{}", hex(&got));
        assert_eq!((got[1], &got[4..]), (0x0b, &[0x47, 0x11, 0][..]));
        u16::from_be_bytes([got[2], got[3]])
    }

    /// SUBSCRIBE by name, which has to be accepted: the topic id.
    #[track_caller]
    pub fn subscribe(&self, flags: u8, name: &str) -> u16 {
        self.send(&subscribe(flags, 0x0815, name.as_bytes()));
        let got = self.recv();
        assert_eq!(got.len(), 8, "{}", hex(&got));
        assert_eq!((got[1], &got[5..]), (0x13, &[0x08, 0x15, 0][..]), "{name}");
        u16::from_be_bytes([got[3], got[4]])
    }

    /// The next datagram has to be a REGISTER for that topic, which is acknowledged: the topic id.
    #[track_caller]
    pub fn is_told(&self, name: &str) -> u16 {
        let got = self.recv();
        assert_eq!(got[1], 0x0a, "REGISTER wanted, not {}", hex(&got));
        assert_eq!(String::from_utf8_lossy(&got[6..]), name);
        self.send(&[7, 0x0b, got[2], got[3], got[4], got[5], 0]);
        u16::from_be_bytes([got[2], got[3]])
    }

    /// The next datagram has to be this PUBLISH; at QoS 1 it is acknowledged. Its message id.
    #[track_caller]
    pub fn receives(&self, flags: u8, topic: u16, payload: &str) -> u16 {
        let got = self.recv();
        assert_eq!(got[1], 0x0c, "PUBLISH wanted, not {}", hex(&got));
        let (id, body) = (u16::from_be_bytes([got[5], got[6]]), &got[7..]);
        let head = (got[2], u16::from_be_bytes([got[3], got[4]]));
        let text = String::from_utf8_lossy(body);
        assert_eq!((head, &*text), ((flags, topic), payload));
        if flags & flag::QOS_MINUS_1 == flag::QOS1 {
            assert_ne!(id, 0);
            self.send(&[7, 0x0d, got[3], got[4], got[5], got[6], 0]);
        }
        id
    }
}

/// A whole packet: its length (as one byte or three) and the rest.
pub fn packet(rest: &[u8]) -> Vec<u8> {
    let mut packet = match rest.len() + 1 {
        n if n < 256 => vec![n as u8],
        n => vec![1, ((n + 2) >> 8) as u8, (n + 2) as u8],
    };
    packet.extend_from_slice(rest);
    packet
}

fn two(n: u16) -> [u8; 2] {
    n.to_be_bytes()
}

pub fn connect(flags: u8, duration: u16, clientid: &str) -> Vec<u8> {
    packet(&[&[4, flags, 1][..], &two(duration), clientid.as_bytes()].concat())
}

pub fn register(topic: u16, id: u16, name: &str) -> Vec<u8> {
    packet(&[&[0x0a][..], &two(topic), &two(id), name.as_bytes()].concat())
}

pub fn publish(flags: u8, topic: u16, id: u16, payload: &[u8]) -> Vec<u8> {
    packet(&[&[0x0c, flags][..], &two(topic), &two(id), payload].concat())
}

pub fn subscribe(flags: u8, id: u16, topic: &[u8]) -> Vec<u8> {
    packet(&[&[0x12, flags][..], &two(id), topic].concat())
}

pub fn unsubscribe(flags: u8, id: u16, topic: &[u8]) -> Vec<u8> {
    packet(&[&[0x14, flags][..], &two(id), topic].concat())
}

pub fn text(kind: u8, before: &[u8], text: &str) -> Vec<u8> {
    packet(&[&[kind][..], before, text.as_bytes()].concat())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}
