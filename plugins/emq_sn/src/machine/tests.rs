//! Exchanges byte by byte, at times of their own: each line of what a client says and what it is told.
#![allow(clippy::unwrap_used)]

mod asleep;
mod connect;
mod deliver;
mod many;
mod publish;
mod subscribe;

use super::*;
use crate::topics::Predefined;
use crate::world::Kind;
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Will;
use std::fmt::Write;

/// What the machine has asked of the broker, as a line.
pub struct Lines {
    sent: Vec<(Peer, Vec<u8>)>,
    asked: Vec<String>,
    counted: Vec<Count>,
    clients: u32,
    connecting: Vec<Key>,
    catching_up: Vec<Key>,
    busy: bool,
    packets: u64,
}

pub fn shown(will: Option<&Will>) -> String {
    will.map_or("-".into(), |will| {
        let payload = String::from_utf8_lossy(&will.payload);
        format!(
            "{}={payload}/{}/{}",
            will.topic, will.qos as u8, will.retain
        )
    })
}

impl World for Lines {
    /// a number, from 1
    type Client = u32;

    fn send(&mut self, peer: &Peer, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        assert!(crate::packet::encode(packet, &mut bytes));
        self.packets += 1;
        self.sent.push((peer.clone(), bytes));
    }
    fn packets_sent(&self) -> u64 {
        self.packets
    }
    fn connect(&mut self, key: Key, peer: &Peer, connect: crate::world::Connect) {
        let crate::world::Connect {
            client_id,
            clean,
            will,
        } = connect;
        let will = shown(will.as_ref());
        let port = peer.address.port();
        self.asked.push(format!(
            "connect {client_id} from {port} clean={clean} will={will}"
        ));
        self.connecting.push(key);
    }
    fn publish(&mut self, _: Key, client: &u32, msg_id: u16, message: Outgoing) -> Taken {
        if self.busy {
            return Taken::Busy;
        }
        let Outgoing {
            topic,
            payload,
            qos,
            retain,
            about: _,
        } = message;
        let payload = String::from_utf8_lossy(&payload).to_string();
        self.asked.push(format!(
            "{client}: publish {msg_id} {topic}={payload}/{}/{retain}",
            qos as u8
        ));
        Taken::Yes
    }
    fn publish_unconnected(&mut self, message: Outgoing) {
        let payload = String::from_utf8_lossy(&message.payload).to_string();
        self.asked.push(format!(
            "publish {}={payload}/{}/{}",
            message.topic, message.qos as u8, message.retain
        ));
    }
    fn subscribe(&mut self, _: Key, client: &u32, msg_id: u16, filter: &str, qos: QoS) {
        self.asked.push(format!(
            "{client}: subscribe {msg_id} {filter} {}",
            qos as u8
        ));
    }
    fn unsubscribe(&mut self, _: Key, client: &u32, msg_id: u16, filter: &str) {
        self.asked
            .push(format!("{client}: unsubscribe {msg_id} {filter}"));
    }
    fn ack(&mut self, client: &u32, id: u16) {
        self.asked.push(format!("{client}: ack {id}"));
    }
    fn complete(&mut self, client: &u32, id: u16) {
        self.asked.push(format!("{client}: complete {id}"));
    }
    fn catch_up(&mut self, key: Key, _: &u32) {
        self.catching_up.push(key);
    }
    fn set_will(&mut self, client: &u32, will: Option<Will>) {
        self.asked
            .push(format!("{client}: will {}", shown(will.as_ref())));
    }
    fn disconnect(&mut self, client: u32) {
        self.asked.push(format!("{client}: disconnect"));
    }
    fn abort(&mut self, client: u32, reason: &'static str) {
        self.asked.push(format!("{client}: abort {reason}"));
    }
    fn count(&mut self, what: Count) {
        self.counted.push(what);
    }
}

use crate::world::Taken;

/// A gateway under test, and its time.
pub struct Bench {
    pub machine: Machine<Lines>,
    pub world: Lines,
    pub now: u64,
}

pub fn rules() -> Rules {
    Rules {
        gateway_id: 1,
        predefined: Arc::new(Predefined::new([
            (1, "/predefined/topic/name/hello".to_string()),
            (2, "/predefined/topic/name/nice".to_string()),
        ])),
        qos_minus_1: false,
        stats: false,
        max_clients: 1000,
        retry_interval: 10_000,
        max_retries: 2,
        sleep_queue: 3,
        most_bytes: usize::MAX,
    }
}

pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A text as hex.
pub fn text(text: &str) -> String {
    hex(text.as_bytes())
}

pub fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(rules())
    }

    pub fn with(rules: Rules) -> Bench {
        Bench {
            machine: Machine::new(rules),
            world: Lines {
                sent: Vec::new(),
                asked: Vec::new(),
                counted: Vec::new(),
                clients: 0,
                connecting: Vec::new(),
                catching_up: Vec::new(),
                busy: false,
                packets: 0,
            },
            now: 1_000_000,
        }
    }

    /// Packets that went out since this was last asked, as hex.
    pub fn sent(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.world.sent);
        sent.into_iter().map(|(_, bytes)| hex(&bytes)).collect()
    }

    /// What the broker was asked since this was last asked.
    pub fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.asked)
    }

    /// Says it from a port, and has what is answered at once: for one that wakes up nothing is on its way from the broker.
    pub fn from(&mut self, port: u16, datagram: &str) -> Vec<String> {
        let bytes = bytes(datagram);
        self.machine
            .datagram(self.now, address(port), &bytes, &mut self.world);
        self.caught_up();
        self.sent()
    }

    /// What the broker had for those who wake up has come.
    pub fn caught_up(&mut self) {
        for key in std::mem::take(&mut self.world.catching_up) {
            self.machine.caught_up(self.now, key, &mut self.world);
        }
    }

    /// As [`Bench::from`], from port 1.
    pub fn say(&mut self, datagram: &str) -> Vec<String> {
        self.from(1, datagram)
    }

    /// Lets in the client that was the last to ask; its number.
    pub fn let_in(&mut self) -> (Key, Vec<String>) {
        let key = self.world.connecting.pop().unwrap();
        self.world.clients += 1;
        let client = Some(self.world.clients);
        let unwanted = self
            .machine
            .connected(self.now, key, client, &mut self.world);
        assert_eq!(unwanted, None);
        (key, self.sent())
    }

    /// Lets in the client that was the last to ask, and that is not there any more; what is sent.
    pub fn unwanted(&mut self) -> Vec<String> {
        let key = self.world.connecting.pop().unwrap();
        let unwanted = self
            .machine
            .connected(self.now, key, Some(7), &mut self.world);
        assert_eq!(unwanted, Some(7));
        self.sent()
    }

    /// A client at that port, with keep alive 60 and clean session.
    pub fn client_at(&mut self, port: u16, id: &str) -> Key {
        let length = 6 + id.len();
        let sent = self.from(port, &format!("{length:02x} 04 04 01 003c {}", text(id)));
        assert_eq!(sent, [""; 0]);
        let asked = format!("connect {id} from {port} clean=true will=-");
        assert_eq!(self.asked(), [asked]);
        let (key, sent) = self.let_in();
        assert_eq!(sent, ["030500"]);
        key
    }

    /// The client sn1 at port 1.
    pub fn client(&mut self) -> Key {
        self.client_at(1, "sn1")
    }

    /// The broker answers a question.
    pub fn answer(&mut self, key: Key, kind: Kind, msg_id: u16, code: u8) -> Vec<String> {
        let ticket = Ticket { kind, msg_id };
        self.machine
            .answered(self.now, key, ticket, Answer::Code(code), &mut self.world);
        self.sent()
    }

    /// The broker has a message.
    pub fn message(
        &mut self,
        key: Key,
        topic: &str,
        payload: &str,
        qos: u8,
        id: u16,
    ) -> Vec<String> {
        let message = Incoming {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::from_u8(qos).unwrap(),
            retain: false,
            dup: false,
            id,
            subscriptions: Vec::new(),
            about: None,
        };
        self.machine
            .message(self.now, key, message, &mut self.world);
        self.sent()
    }

    /// The broker has released a message.
    pub fn released(&mut self, key: Key, id: u16) -> Vec<String> {
        self.machine.released(self.now, key, id, &mut self.world);
        self.sent()
    }

    /// The broker has ended a connection.
    pub fn closed(&mut self, key: Key) -> Vec<String> {
        self.machine.closed(self.now, key, &mut self.world);
        self.sent()
    }

    /// Lets time go by, and has what comes of it.
    pub fn wait(&mut self, seconds: u64) -> Vec<String> {
        let end = self.now + seconds * 1000;
        while let Some(at) = self.machine.next_timer()
            && at <= end
        {
            self.now = self.now.max(at);
            self.machine.look(self.now, &mut self.world);
        }
        self.now = end;
        self.machine.look(self.now, &mut self.world);
        self.sent()
    }
}
