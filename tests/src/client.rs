//! A blocking MQTT client for tests: sends any bytes, reads strictly, and never waits without a deadline.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::connect::Connect;
use crate::packet::{AckKind, Packet, Prop, Props, Version, decode, encode_props, frame, text};
use crate::transport::{DEADLINE, Wire, is_closed};
use crate::unique;

/// A connection to the broker.
pub struct Client {
    wire: Box<dyn Wire>,
    /// how the packets of this connection are encoded
    pub version: Version,
    /// client id, for messages of failing tests
    pub name: String,
    inbox: Vec<u8>,
    pending: VecDeque<Packet>,
    next_id: u16,
    history: VecDeque<String>,
}

/// A PUBLISH in the making.
#[derive(Debug, Clone)]
pub struct Publish {
    /// topic
    pub topic: String,
    /// payload
    pub payload: Vec<u8>,
    /// QoS
    pub qos: u8,
    /// retain
    pub retain: bool,
    /// DUP
    pub dup: bool,
    /// packet id, sent when QoS > 0
    pub id: u16,
    /// properties (MQTT 5)
    pub props: Vec<Prop>,
}

impl Publish {
    /// A QoS 0 message.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Publish {
        Publish {
            topic: topic.into(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            dup: false,
            id: 0,
            props: Vec::new(),
        }
    }
    /// With this QoS.
    pub fn qos(mut self, qos: u8) -> Publish {
        self.qos = qos;
        self
    }
    /// With this packet id; without one, [`Client::publish`] chooses.
    pub fn id(mut self, id: u16) -> Publish {
        self.id = id;
        self
    }
    /// With RETAIN set.
    pub fn retained(mut self) -> Publish {
        self.retain = true;
        self
    }
    /// With DUP set.
    pub fn dup(mut self) -> Publish {
        self.dup = true;
        self
    }
    /// With this property.
    pub fn prop(mut self, prop: Prop) -> Publish {
        self.props.push(prop);
        self
    }
    /// The packet.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = text(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version.is_v5() {
            body.extend(encode_props(&self.props));
        }
        body.extend(&self.payload);
        frame(
            0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain),
            &body,
        )
    }
}

/// A filter with its subscription options.
#[derive(Debug, Clone)]
pub struct Sub {
    /// filter
    pub filter: String,
    /// the options byte; on MQTT 3.x only the QoS
    pub options: u8,
}

impl Sub {
    /// Filter and QoS.
    pub fn new(filter: &str, qos: u8) -> Sub {
        Sub {
            filter: filter.into(),
            options: qos,
        }
    }
    /// No Local.
    pub fn no_local(mut self) -> Sub {
        self.options |= 0x04;
        self
    }
    /// Retain As Published.
    pub fn retain_as_published(mut self) -> Sub {
        self.options |= 0x08;
        self
    }
    /// Retain Handling.
    pub fn retain_handling(mut self, value: u8) -> Sub {
        self.options |= value << 4;
        self
    }
}

/// A received message without its packet id, to compare with what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// topic
    pub topic: String,
    /// payload
    pub payload: String,
    /// QoS
    pub qos: u8,
    /// RETAIN
    pub retain: bool,
    /// DUP
    pub dup: bool,
    /// packet id
    pub id: Option<u16>,
    /// properties
    pub props: Props,
}

impl Client {
    /// A client over this connection; nothing is sent.
    pub fn over(wire: impl Wire + 'static, version: Version, name: &str) -> Client {
        Client {
            wire: Box::new(wire),
            version,
            name: name.into(),
            inbox: Vec::new(),
            pending: VecDeque::new(),
            next_id: 1,
            history: VecDeque::new(),
        }
    }

    fn note(&mut self, mut line: String) {
        if let Some((at, _)) = line.char_indices().nth(400) {
            line.truncate(at);
            line += "...";
        }
        if self.history.len() == 40 {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let history: Vec<&str> = self.history.iter().map(String::as_str).collect();
        panic!(
            "{} ({}): {what}\n  {}",
            self.name,
            self.version,
            history.join("\n  ")
        );
    }

    // Sending.

    /// Sends bytes as they are. That the broker has closed already is for the next read to tell.
    pub fn send(&mut self, bytes: &[u8]) {
        let shown = bytes.len().min(80);
        self.note(format!(
            "sent {} bytes: {:02x?}",
            bytes.len(),
            &bytes[..shown]
        ));
        match self.wire.write_all(bytes).and_then(|()| self.wire.flush()) {
            Ok(()) => {}
            Err(e) if is_closed(&e) => self.note(format!("sending failed: {e}")),
            Err(e) => self.fail(&format!("sending: {e}")),
        }
    }

    /// Closes the TCP connection at once, as a lost network looks to the broker.
    pub fn drop_connection(self) {
        let _ = self.wire.tcp().shutdown(Shutdown::Both);
    }

    /// Sends DISCONNECT with reason 0 and waits for the broker to close.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(&[0xe0, 0]);
        let _ = self.closed();
    }

    /// Sends DISCONNECT with a reason and properties (MQTT 5) and waits for the broker to close.
    #[track_caller]
    pub fn disconnect_with(mut self, code: u8, props: &[Prop]) {
        let mut body = vec![code];
        body.extend(encode_props(props));
        self.send(&frame(0xe0, &body));
        let _ = self.closed();
    }

    /// A packet id that this client did not use yet.
    pub fn new_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        id
    }

    /// Publishes and carries the QoS flow through to its end; returns the reason code of PUBACK or PUBREC
    /// (0 for QoS 0). A code of 0x80 or more ends a QoS 2 flow at PUBREC.
    #[track_caller]
    pub fn publish(&mut self, mut publish: Publish) -> u8 {
        if publish.qos > 0 && publish.id == 0 {
            publish.id = self.new_id();
        }
        let id = publish.id;
        self.send(&publish.encode(self.version));
        match publish.qos {
            0 => 0,
            1 => self.ack(AckKind::Puback, id).0,
            _ => {
                let (code, _) = self.ack(AckKind::Pubrec, id);
                if code < 0x80 {
                    self.send_ack(AckKind::Pubrel, id);
                    assert_eq!(
                        self.ack(AckKind::Pubcomp, id).0,
                        0,
                        "{}: PUBCOMP",
                        self.name
                    );
                }
                code
            }
        }
    }

    /// Publishes `payload` to `topic`; see [`Client::publish`].
    #[track_caller]
    pub fn pub_(&mut self, topic: &str, qos: u8, payload: &str) -> u8 {
        self.publish(Publish::new(topic, payload).qos(qos))
    }

    /// Sends PUBLISH and waits for nothing; returns its packet id.
    pub fn send_publish(&mut self, mut publish: Publish) -> u16 {
        if publish.qos > 0 && publish.id == 0 {
            publish.id = self.new_id();
        }
        self.send(&publish.encode(self.version));
        publish.id
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP, reason 0.
    pub fn send_ack(&mut self, kind: AckKind, id: u16) {
        let first = (kind as u8) << 4 | if kind == AckKind::Pubrel { 2 } else { 0 };
        self.send(&frame(first, &id.to_be_bytes()));
    }

    /// Sends an acknowledgement with a reason code (MQTT 5).
    pub fn send_ack_code(&mut self, kind: AckKind, id: u16, code: u8) {
        let first = (kind as u8) << 4 | if kind == AckKind::Pubrel { 2 } else { 0 };
        let [high, low] = id.to_be_bytes();
        self.send(&frame(first, &[high, low, code]));
    }

    /// Subscribes to one filter; fails unless it is granted as asked.
    #[track_caller]
    pub fn sub(&mut self, filter: &str, qos: u8) {
        let codes = self.subscribe(&[Sub::new(filter, qos)], &[]);
        assert_eq!(codes, [qos], "{}: SUBACK for {filter}", self.name);
    }

    /// Subscribes; returns the codes of SUBACK.
    #[track_caller]
    pub fn subscribe(&mut self, subs: &[Sub], props: &[Prop]) -> Vec<u8> {
        let id = self.new_id();
        let bytes = self.subscribe_bytes(id, subs, props);
        self.send(&bytes);
        self.suback(id).0
    }

    /// A SUBSCRIBE packet.
    pub fn subscribe_bytes(&self, id: u16, subs: &[Sub], props: &[Prop]) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if self.version.is_v5() {
            body.extend(encode_props(props));
        }
        for sub in subs {
            body.extend(text(&sub.filter));
            body.push(if self.version.is_v5() {
                sub.options
            } else {
                sub.options & 3
            });
        }
        frame(0x82, &body)
    }

    /// Waits for the SUBACK of this packet id.
    #[track_caller]
    pub fn suback(&mut self, id: u16) -> (Vec<u8>, Props) {
        match self.await_packet(|p| matches!(p, Packet::Suback { .. })) {
            Packet::Suback {
                id: got,
                codes,
                props,
            } if got == id => (codes, props),
            other => self.fail(&format!("SUBACK {id} wanted, got {other:?}")),
        }
    }

    /// Unsubscribes; returns the codes of UNSUBACK (none on MQTT 3.x).
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.new_id();
        let bytes = self.unsubscribe_bytes(id, filters);
        self.send(&bytes);
        match self.await_packet(|p| matches!(p, Packet::Unsuback { .. })) {
            Packet::Unsuback { id: got, codes, .. } if got == id => codes,
            other => self.fail(&format!("UNSUBACK {id} wanted, got {other:?}")),
        }
    }

    /// An UNSUBSCRIBE packet.
    pub fn unsubscribe_bytes(&self, id: u16, filters: &[&str]) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if self.version.is_v5() {
            body.push(0);
        }
        for filter in filters {
            body.extend(text(filter));
        }
        frame(0xa2, &body)
    }

    // Receiving.

    /// The next packet; `None` when the broker closed the connection.
    #[track_caller]
    pub fn recv_or_eof(&mut self) -> Option<Packet> {
        self.recv_within(DEADLINE)
            .unwrap_or_else(|| self.fail("nothing came before the deadline"))
    }

    /// The next packet within `limit`: `None` when nothing came, `Some(None)` when the connection closed.
    #[track_caller]
    pub fn recv_within(&mut self, limit: Duration) -> Option<Option<Packet>> {
        if let Some(packet) = self.pending.pop_front() {
            return Some(Some(packet));
        }
        self.read_packet(Instant::now() + limit)
    }

    #[track_caller]
    fn read_packet(&mut self, deadline: Instant) -> Option<Option<Packet>> {
        loop {
            match decode(&self.inbox, self.version) {
                Err(e) => {
                    let bytes = format!("{:02x?}", &self.inbox[..self.inbox.len().min(80)]);
                    self.fail(&format!("the broker sent what it may not: {e}: {bytes}"));
                }
                Ok(Some((packet, length))) => {
                    self.inbox.drain(..length);
                    self.note(format!("got {packet:?}"));
                    return Some(Some(packet));
                }
                Ok(None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wire.tcp().set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16 * 1024];
            match self.wire.read(&mut buffer) {
                Ok(0) => {
                    self.note("closed by the broker".into());
                    return Some(None);
                }
                Ok(n) => self.inbox.extend_from_slice(&buffer[..n]),
                Err(e) if is_closed(&e) => {
                    self.note(format!("closed by the broker: {e}"));
                    return Some(None);
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(e) => self.fail(&format!("reading: {e}")),
            }
        }
    }

    /// The next packet.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        match self.recv_or_eof() {
            Some(packet) => packet,
            None => self.fail("the broker closed the connection"),
        }
    }

    /// The first packet for which `wanted` holds; those before it stay in order for [`Client::recv`].
    #[track_caller]
    pub fn await_packet(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(at) = self.pending.iter().position(&wanted) {
            return self.pending.remove(at).unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.read_packet(deadline) {
                Some(Some(packet)) if wanted(&packet) => return packet,
                Some(Some(packet)) => self.pending.push_back(packet),
                Some(None) => self.fail("the broker closed the connection"),
                None => self.fail("the packet waited for did not come before the deadline"),
            }
        }
    }

    /// Waits for the CONNACK, which must be the first packet: session present, code, properties.
    #[track_caller]
    pub fn connack(&mut self) -> (bool, u8, Props) {
        match self.recv() {
            Packet::Connack {
                session_present,
                code,
                props,
            } => (session_present, code, props),
            other => self.fail(&format!("CONNACK wanted, got {other:?}")),
        }
    }

    /// Waits for this acknowledgement: its reason code and properties.
    #[track_caller]
    pub fn ack(&mut self, kind: AckKind, id: u16) -> (u8, Props) {
        match self.await_packet(|p| matches!(p, Packet::Ack { kind: k, .. } if *k == kind)) {
            Packet::Ack {
                id: got,
                code,
                props,
                ..
            } if got == id => (code, props),
            other => self.fail(&format!("{kind:?} {id} wanted, got {other:?}")),
        }
    }

    /// The next packet, which must be a PUBLISH; nothing is acknowledged.
    #[track_caller]
    pub fn recv_publish(&mut self) -> Message {
        match self.recv() {
            Packet::Publish {
                dup,
                qos,
                retain,
                topic,
                id,
                props,
                payload,
            } => Message {
                topic,
                payload: String::from_utf8_lossy(&payload).into_owned(),
                qos,
                retain,
                dup,
                id,
                props,
            },
            other => self.fail(&format!("PUBLISH wanted, got {other:?}")),
        }
    }

    /// The next packet, which must be a PUBLISH; its flow is carried through to the end.
    #[track_caller]
    pub fn recv_message(&mut self) -> Message {
        let message = self.recv_publish();
        self.acknowledge(&message);
        message
    }

    /// Carries the receiver's side of a message's flow through to the end.
    #[track_caller]
    pub fn acknowledge(&mut self, message: &Message) {
        let Some(id) = message.id else { return };
        if message.qos == 1 {
            self.send_ack(AckKind::Puback, id);
        } else {
            self.send_ack(AckKind::Pubrec, id);
            let (code, _) = self.ack(AckKind::Pubrel, id);
            assert_eq!(code, 0, "{}: PUBREL", self.name);
            self.send_ack(AckKind::Pubcomp, id);
        }
    }

    /// The next packet must be a message with this topic and payload; its flow is carried through.
    #[track_caller]
    pub fn expect(&mut self, topic: &str, payload: &str) -> Message {
        let message = self.recv_message();
        if message.topic != topic || message.payload != payload {
            self.fail(&format!("{topic} {payload:?} wanted, got {message:?}"));
        }
        message
    }

    /// The payloads of the next `n` messages, flows carried through.
    #[track_caller]
    pub fn payloads(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.recv_message().payload).collect()
    }

    /// Reads until the broker has closed the connection; the reason code of a CONNACK or DISCONNECT that
    /// came last, if one came.
    #[track_caller]
    pub fn closed(&mut self) -> Option<u8> {
        self.closed_within(DEADLINE)
    }

    /// [`Client::closed`] with a deadline of its own.
    #[track_caller]
    pub fn closed_within(&mut self, limit: Duration) -> Option<u8> {
        let deadline = Instant::now() + limit;
        let mut last = None;
        let mut disconnected = false;
        loop {
            let next = self.pending.pop_front().map(Some);
            match next.map(Some).unwrap_or_else(|| self.read_packet(deadline)) {
                None => self.fail("the broker did not close the connection"),
                Some(None) => return last,
                Some(Some(packet)) => {
                    // [MQTT-3.14.4-1], [MQTT-3.14.4-2]
                    if disconnected {
                        self.fail(&format!("{packet:?} after DISCONNECT"));
                    }
                    last = match packet {
                        Packet::Connack { code, .. } => Some(code),
                        Packet::Disconnect { code, .. } => {
                            disconnected = true;
                            Some(code)
                        }
                        _ => None,
                    };
                }
            }
        }
    }

    /// The broker must close the connection: on MQTT 5 with a DISCONNECT of one of these codes, on MQTT 3.x
    /// with nothing said.
    #[track_caller]
    pub fn expect_closed(&mut self, codes: &[u8]) {
        let got = self.closed();
        let fine = if self.version.is_v5() {
            got.is_some_and(|c| codes.contains(&c))
        } else {
            got.is_none()
        };
        if !fine {
            self.fail(&format!("closing with {codes:02x?} wanted, got {got:02x?}"));
        }
    }

    /// Sends PINGREQ and waits for PINGRESP; what came before stays for [`Client::recv`].
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        self.await_packet(|p| matches!(p, Packet::Pingresp));
    }

    /// PINGREQ must be answered with nothing in between.
    #[track_caller]
    pub fn quiet(&mut self) {
        self.send(&[0xc0, 0]);
        match self.recv() {
            Packet::Pingresp => {}
            other => self.fail(&format!("nothing wanted, got {other:?}")),
        }
    }

    /// Nothing that `publisher` sent so far may be still on its way to this client: `publisher` sends a
    /// marker, which must be the very next message. `publisher` may not have a full window.
    #[track_caller]
    pub fn nothing_from(&mut self, publisher: &mut Client) {
        let topic = unique("marker");
        self.sub(&topic, 0);
        publisher.publish(Publish::new(&topic, "marker"));
        self.expect(&topic, "marker");
        self.unsubscribe(&[&topic]);
    }

    /// Sends this CONNECT and fails unless it is accepted: session present and properties.
    #[track_caller]
    pub fn connect(&mut self, connect: &Connect) -> (bool, Props) {
        self.send(&connect.encode());
        let (present, code, props) = self.connack();
        if code != 0 {
            self.fail(&format!("CONNECT refused with 0x{code:02x}"));
        }
        (present, props)
    }
}
