#![allow(clippy::unwrap_used)]

mod door;
mod receiving;
mod sending;

use super::*;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::End as BrokersEnd;

pub(crate) fn incoming(topic: &str, payload: &str) -> Incoming {
    Incoming {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
        id: 0,
        subscriptions: Vec::new(),
        about: None,
    }
}

/// A machine, the bytes it has not used, and its time.
struct Client {
    machine: Machine,
    input: BytesMut,
    now: Instant,
}

impl Client {
    fn with(mode: Mode, pairs: &[(&str, &str)]) -> Client {
        let settings = Arc::new(Settings::read(&Config::of(pairs), "stomp."));
        let now = Instant::now();
        Client {
            machine: Machine::new(mode, settings, now),
            input: BytesMut::new(),
            now,
        }
    }

    fn new(pairs: &[(&str, &str)]) -> Client {
        Client::with(Mode::Tcp, pairs)
    }

    /// Connected as 1.2.
    fn connected() -> Client {
        Client::connected_as("accept-version:1.2")
    }

    fn connected_as(headers: &str) -> Client {
        Client::new(&[]).connect(headers)
    }

    fn connect(mut self, headers: &str) -> Client {
        self.send(&format!("CONNECT\n{headers}\n\n\0"));
        assert!(matches!(self.ask(), Some(Ask::Connect(_))));
        self.machine.connected(Ok(()), self.now);
        assert!(self.told().starts_with("CONNECTED\n"));
        self
    }

    /// The client sends something. `^` stands for NUL.
    fn send(&mut self, bytes: &str) {
        self.input
            .extend_from_slice(bytes.replace('^', "\0").as_bytes());
        self.machine.heard(self.now);
        self.go_on();
    }

    fn go_on(&mut self) {
        self.machine.input(&mut self.input, self.now);
    }

    fn ask(&mut self) -> Option<Ask> {
        self.machine.next_ask()
    }

    /// Nothing is asked.
    fn quiet(&mut self) {
        assert_eq!(self.ask(), None);
    }

    /// The client is told; `^` stands for NUL.
    fn told(&mut self) -> String {
        let (out, _) = self.machine.take_output(Vec::new());
        String::from_utf8(out).unwrap().replace('\0', "^")
    }

    /// A message that is asked to be published: topic, payload, QoS, whether the answer is waited for.
    fn published(&mut self) -> (String, String, u8, bool) {
        match self.ask() {
            Some(Ask::Publish { message, answered }) => (
                message.topic,
                String::from_utf8(message.payload).unwrap(),
                message.qos as u8,
                answered,
            ),
            other => panic!("{other:?}"),
        }
    }

    /// Subscribes; its identifier.
    fn subscribe(&mut self, headers: &str) -> u32 {
        self.send(&format!("SUBSCRIBE\n{headers}\n\n^"));
        match self.ask() {
            Some(Ask::Subscribe(asked)) => {
                self.machine.subscribed(Ok(()));
                self.go_on();
                asked.identifier
            }
            other => panic!("{other:?}"),
        }
    }

    /// A message of the broker's.
    fn gets(&mut self, identifiers: &[u32], id: u16, topic: &str, payload: &str) {
        self.machine.event(Event::Message(Incoming {
            id,
            subscriptions: identifiers.into(),
            ..incoming(topic, payload)
        }));
    }

    fn after(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.machine.on_time(self.now, true, false);
    }

    /// The connection ends with that ERROR: its headers behind `message`, and its body.
    fn fails(&mut self, text: &str, receipt: Option<&str>) {
        let told = self.told();
        let receipt = receipt.map_or(String::new(), |id| format!("receipt-id:{id}\n"));
        let header = text.replace('\\', "\\\\").replace(':', "\\c");
        let header = if self.machine.version == Version::V1_0 {
            text.into()
        } else {
            header
        };
        let frame = format!(
            "ERROR\nmessage:{header}\ncontent-type:text/plain\n{receipt}content-length:{}\n\n{text}^",
            text.len()
        );
        assert!(told.ends_with(&frame), "{told} is not {frame}");
        assert_eq!(self.machine.ended(), Some(&End::ProtocolError));
    }
}

fn answer_of(connect: &str) -> String {
    let mut client = Client::new(&[]);
    client.send(connect);
    if let Some(Ask::Connect(_)) = client.ask() {
        client.machine.connected(Ok(()), client.now);
    }
    client.told()
}
