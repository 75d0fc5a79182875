//! An exact MQTT client: what a correct library keeps on its own stable storage is kept here over
//! connections and over deaths of the broker.
//!
//! That is, for the sender: unacknowledged PUBLISH packets in order, and which of them have reached PUBREL;
//! for the receiver: packet ids of QoS 2 messages that were taken and not yet released. Only with such a
//! client on both ends can a QoS 2 message be said to have come once.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use emqttd_tests::packet::{AckKind, Packet, Prop, Version, decode, frame};
use emqttd_tests::{Connect, Publish, Sub, Will};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::message::{Key, parse};
use crate::trace::Trace;

/// What came of reading a connection, or of its end.
#[derive(Debug)]
pub enum Event {
    /// CONNACK 0
    Up {
        /// session present
        present: bool,
    },
    /// CONNACK with another code
    Refused(u8),
    /// a message has been acknowledged for good: PUBACK, or PUBCOMP
    Acked(Key),
    /// PUBREC: from now on the broker must know this session
    Recorded,
    /// a reason of 0x80 or above in PUBACK or PUBREC
    Rejected(Key, u8),
    /// an application message reaches the application
    Got(Got),
    /// SUBACK for these filters
    Subscribed(Vec<(String, u8)>),
    /// UNSUBACK for these filters
    Unsubscribed(Vec<String>),
    /// PINGRESP
    Pong,
    /// the broker did what no broker may
    Violation(String),
    /// the connection has ended
    Closed,
}

/// A message as the application gets it.
#[derive(Debug)]
pub struct Got {
    /// topic
    pub topic: String,
    /// QoS it was delivered with
    pub qos: u8,
    /// RETAIN
    pub retain: bool,
    /// who published what, or `None` for an empty payload
    pub what: Option<Key>,
}

/// A PUBLISH on its way to the broker.
#[derive(Debug)]
struct Outbound {
    key: Key,
    publish: Publish,
    /// PUBREC came: PUBREL is what is repeated
    released: bool,
}

/// A SUBSCRIBE or UNSUBSCRIBE of this connection without its answer.
#[derive(Debug)]
enum Asked {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    inbox: Vec<u8>,
    out: Vec<u8>,
    up: bool,
    asked: HashMap<u16, Asked>,
    /// acknowledgements that are kept back for a while, in order
    held: VecDeque<(Instant, Vec<u8>)>,
    /// acknowledgements not before the one sent last
    last_due: Instant,
}

/// A client, with or without a connection.
#[derive(Debug)]
pub struct Client {
    /// client id
    pub name: String,
    /// version
    pub version: Version,
    /// whether the session outlives the connection
    pub persistent: bool,
    /// session expiry in seconds, of MQTT 5
    pub expiry: u32,
    /// Receive Maximum, of MQTT 5
    pub receive_maximum: Option<u16>,
    /// will of the next connection
    pub will: Option<Will>,
    /// longest time that an acknowledgement is kept back, milliseconds
    pub slow_acks: u64,
    outbound: VecDeque<Outbound>,
    inbound: HashMap<u16, Key>,
    next_id: u16,
    conn: Option<Conn>,
    trace: Trace,
}

impl Client {
    /// A client that was never connected.
    pub fn new(name: &str, version: Version, trace: &Trace) -> Client {
        Client {
            name: name.into(),
            version,
            persistent: true,
            expiry: 3600,
            receive_maximum: None,
            will: None,
            slow_acks: 0,
            outbound: VecDeque::new(),
            inbound: HashMap::new(),
            next_id: 1,
            conn: None,
            trace: trace.clone(),
        }
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.trace.note(format_args!("{} {line}", self.name));
    }

    /// Whether there is a connection, or one being made.
    pub fn connected(&self) -> bool {
        self.conn.is_some()
    }

    /// Whether CONNACK has come.
    pub fn up(&self) -> bool {
        self.conn.as_ref().is_some_and(|c| c.up)
    }

    /// PUBLISH packets of QoS 1 and 2 that are not through.
    pub fn in_flight(&self) -> usize {
        self.outbound.len()
    }

    /// QoS 2 messages taken from the broker and not released.
    pub fn unreleased(&self) -> usize {
        self.inbound.len()
    }

    /// Where a message of this client is on its way to the broker.
    pub fn whereabouts(&self, key: Key) -> &'static str {
        match self.outbound.iter().find(|o| o.key == key) {
            None => "no longer with the publisher",
            Some(o) if o.released => "PUBREL sent, no PUBCOMP",
            Some(_) => "PUBLISH sent, not acknowledged",
        }
    }

    /// Opens a connection and sends CONNECT.
    pub fn connect(&mut self, registry: &Registry, token: Token, to: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(to)?;
        // Refused on a socket that is not connected yet is no harm: packets are small and few.
        let _ = stream.set_nodelay(true);
        registry.register(
            &mut stream,
            token,
            Interest::READABLE.add(Interest::WRITABLE),
        )?;
        let mut connect = Connect::new(self.version, &self.name).clean(!self.persistent);
        if self.persistent {
            connect = connect.prop(Prop::SessionExpiry(self.expiry));
        }
        if let Some(most) = self.receive_maximum {
            connect = connect.prop(Prop::ReceiveMaximum(most));
        }
        connect.will = self.will.clone();
        self.note(format_args!("> CONNECT {token:?} {connect:?}"));
        self.conn = Some(Conn {
            stream,
            inbox: Vec::new(),
            out: connect.encode(),
            up: false,
            asked: HashMap::new(),
            held: VecDeque::new(),
            last_due: Instant::now(),
        });
        Ok(())
    }

    /// The connection is gone at once, as a lost network looks to the broker: what was not read is lost.
    pub fn drop_connection(&mut self, registry: &Registry) {
        if let Some(mut conn) = self.conn.take() {
            self.note(format_args!("= end of the connection"));
            let _ = registry.deregister(&mut conn.stream);
        }
    }

    /// Sends DISCONNECT; acknowledgements kept back go first. The broker closes.
    pub fn disconnect(&mut self) {
        self.note(format_args!("> DISCONNECT"));
        if let Some(conn) = &mut self.conn {
            while let Some((_, bytes)) = conn.held.pop_front() {
                conn.out.extend(bytes);
            }
            conn.out.extend([0xe0, 0]);
            conn.flush();
        }
    }

    /// The session is no longer known to the broker: QoS 2 flows cannot be ended (their keys are returned),
    /// QoS 1 messages are published anew.
    pub fn forget_session(&mut self) -> Vec<Key> {
        self.inbound.clear();
        let (kept, lost): (VecDeque<_>, VecDeque<_>) =
            self.outbound.drain(..).partition(|o| o.publish.qos == 1);
        self.outbound = kept;
        for one in &mut self.outbound {
            one.publish.dup = false;
        }
        lost.into_iter().map(|o| o.key).collect()
    }

    /// Repeats what is in flight, in order, with DUP where a PUBLISH may have arrived before
    /// [MQTT-4.4.0-1], [MQTT-4.6.0-1].
    pub fn resend(&mut self, present: bool) {
        let version = self.version;
        let Some(conn) = &mut self.conn else { return };
        for one in &mut self.outbound {
            let (id, key, released) = (one.publish.id, one.key, one.released);
            let line = format_args!("{} > again {key} id {id} released {released}", self.name);
            self.trace.note(line);
            if one.released {
                conn.out.extend(ack(AckKind::Pubrel, one.publish.id));
            } else {
                one.publish.dup = present;
                conn.out.extend(one.publish.encode(version));
            }
        }
        conn.flush();
    }

    fn new_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            let asked = self
                .conn
                .as_ref()
                .is_some_and(|c| c.asked.contains_key(&id));
            if !asked && self.outbound.iter().all(|o| o.publish.id != id) {
                return id;
            }
        }
    }

    /// Sends a message; of QoS 1 and 2, it is in flight from now on.
    pub fn publish(&mut self, key: Key, mut publish: Publish) {
        if publish.qos > 0 {
            publish.id = self.new_id();
        }
        let (topic, qos, id) = (&publish.topic, publish.qos, publish.id);
        self.note(format_args!("> {key} to {topic} QoS {qos} id {id}"));
        if let Some(conn) = &mut self.conn {
            conn.out.extend(publish.encode(self.version));
            conn.flush();
        }
        if publish.qos > 0 {
            self.outbound.push_back(Outbound {
                key,
                publish,
                released: false,
            });
        }
    }

    /// Sends SUBSCRIBE with these filters and QoS.
    pub fn subscribe(&mut self, filters: &[(String, u8)]) {
        self.note(format_args!("> SUBSCRIBE {filters:?}"));
        let id = self.new_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.version.is_v5() {
            body.push(0);
        }
        for (filter, qos) in filters {
            let sub = Sub::new(filter, *qos);
            body.extend(emqttd_tests::text(&sub.filter));
            body.push(sub.options);
        }
        if let Some(conn) = &mut self.conn {
            conn.out.extend(frame(0x82, &body));
            let names = filters.iter().map(|(f, _)| f.clone()).collect();
            conn.asked.insert(id, Asked::Subscribe(names));
            conn.flush();
        }
    }

    /// Sends UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, filters: &[String]) {
        self.note(format_args!("> UNSUBSCRIBE {filters:?}"));
        let id = self.new_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.version.is_v5() {
            body.push(0);
        }
        for filter in filters {
            body.extend(emqttd_tests::text(filter));
        }
        if let Some(conn) = &mut self.conn {
            conn.out.extend(frame(0xa2, &body));
            conn.asked.insert(id, Asked::Unsubscribe(filters.to_vec()));
            conn.flush();
        }
    }

    /// Sends PINGREQ.
    pub fn ping(&mut self) {
        if let Some(conn) = &mut self.conn {
            conn.out.extend([0xc0, 0]);
            conn.flush();
        }
    }

    /// Lets go of acknowledgements whose time has come; returns when the next one is due.
    pub fn flush_due(&mut self, now: Instant) -> Option<Instant> {
        let conn = self.conn.as_mut()?;
        let mut any = false;
        while conn.held.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, bytes)) = conn.held.pop_front() {
                self.trace
                    .note(format_args!("{} > {bytes:02x?}", self.name));
                conn.out.extend(bytes);
                any = true;
            }
        }
        if any {
            conn.flush();
        }
        conn.held.front().map(|(due, _)| *due)
    }

    /// The socket can be written or read: does both, and tells what happened. `delay` is how long an
    /// acknowledgement is kept back.
    pub fn ready(
        &mut self,
        registry: &Registry,
        mut delay: impl FnMut(u64) -> Duration,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let Some(conn) = &mut self.conn else {
            return events;
        };
        conn.flush();
        let open = conn.read();
        let inbox = std::mem::take(&mut conn.inbox);
        let mut at = 0;
        loop {
            match decode(&inbox[at..], self.version) {
                Ok(Some((packet, length))) => {
                    at += length;
                    self.packet(packet, &mut delay, &mut events);
                }
                Ok(None) => break,
                Err(e) => {
                    events.push(Event::Violation(format!("it sent what it may not: {e}")));
                    at = inbox.len();
                    break;
                }
            }
        }
        if let Some(conn) = &mut self.conn {
            conn.inbox = inbox[at..].to_vec();
            conn.flush();
        }
        if !open {
            self.drop_connection(registry);
            events.push(Event::Closed);
        }
        events
    }

    fn packet(
        &mut self,
        packet: Packet,
        delay: &mut impl FnMut(u64) -> Duration,
        events: &mut Vec<Event>,
    ) {
        if !matches!(packet, Packet::Publish { .. }) {
            self.note(format_args!("< {packet:?}"));
        }
        let Some(conn) = &mut self.conn else { return };
        match packet {
            Packet::Connack {
                session_present,
                code: 0,
                ..
            } => {
                conn.up = true;
                events.push(Event::Up {
                    present: session_present,
                });
            }
            Packet::Connack { code, .. } => events.push(Event::Refused(code)),
            Packet::Publish {
                dup,
                qos,
                retain,
                topic,
                id,
                payload,
                ..
            } => {
                if let Ok(Some(key)) = parse(&payload) {
                    let id = id.unwrap_or(0);
                    self.trace.note(format_args!(
                        "{} < {key} on {topic} QoS {qos} id {id} dup {dup} retain {retain}",
                        self.name
                    ));
                }
                let what = match parse(&payload) {
                    Ok(what) => what,
                    Err(e) => {
                        events.push(Event::Violation(format!(
                            "a payload on {topic} is not what was sent: {e}"
                        )));
                        None
                    }
                };
                let got = Got {
                    topic,
                    qos,
                    retain,
                    what,
                };
                let wait = delay(self.slow_acks);
                match (qos, id) {
                    (1, Some(id)) => {
                        events.push(Event::Got(got));
                        conn.hold(wait, ack(AckKind::Puback, id));
                    }
                    (2, Some(id)) => {
                        let key = what.unwrap_or_default();
                        match self.inbound.get(&id) {
                            None => {
                                self.inbound.insert(id, key);
                                events.push(Event::Got(got));
                            }
                            Some(known) if *known != key => events.push(Event::Violation(format!(
                                "packet id {id} is in use for {known} and came with {key}"
                            ))),
                            // [MQTT-3.3.1-1]
                            Some(_) if !dup => events
                                .push(Event::Violation(format!("{key} was repeated without DUP"))),
                            Some(_) => {}
                        }
                        conn.hold(wait, ack(AckKind::Pubrec, id));
                    }
                    _ => events.push(Event::Got(got)),
                }
            }
            Packet::Ack { kind, id, code, .. } => self.acknowledged(kind, id, code, delay, events),
            Packet::Suback { id, codes, .. } => match conn.asked.remove(&id) {
                Some(Asked::Subscribe(filters)) if filters.len() == codes.len() => {
                    let granted = filters.into_iter().zip(codes).collect();
                    events.push(Event::Subscribed(granted));
                }
                _ => events.push(Event::Violation(format!("SUBACK {id} with {codes:?}"))),
            },
            Packet::Unsuback { id, .. } => match conn.asked.remove(&id) {
                Some(Asked::Unsubscribe(filters)) => events.push(Event::Unsubscribed(filters)),
                _ => events.push(Event::Violation(format!("UNSUBACK {id}"))),
            },
            Packet::Pingresp => events.push(Event::Pong),
            // The close follows.
            Packet::Disconnect { .. } => {}
            Packet::Auth { .. } => events.push(Event::Violation("AUTH".into())),
        }
    }

    fn acknowledged(
        &mut self,
        kind: AckKind,
        id: u16,
        code: u8,
        delay: &mut impl FnMut(u64) -> Duration,
        events: &mut Vec<Event>,
    ) {
        let Some(conn) = &mut self.conn else { return };
        if kind == AckKind::Pubrel {
            // A second one, for an id that was released before, is answered all the same.
            self.inbound.remove(&id);
            conn.hold(delay(self.slow_acks), ack(AckKind::Pubcomp, id));
            return;
        }
        let Some(at) = self.outbound.iter().position(|o| o.publish.id == id) else {
            return events.push(Event::Violation(format!(
                "{kind:?} {id} for nothing in flight"
            )));
        };
        let (key, qos, released) = {
            let one = &self.outbound[at];
            (one.key, one.publish.qos, one.released)
        };
        match kind {
            AckKind::Puback | AckKind::Pubrec if code >= 0x80 => {
                self.outbound.remove(at);
                events.push(Event::Rejected(key, code));
            }
            AckKind::Puback if qos == 1 => {
                self.outbound.remove(at);
                events.push(Event::Acked(key));
            }
            AckKind::Pubrec if qos == 2 => {
                self.outbound[at].released = true;
                conn.out.extend(ack(AckKind::Pubrel, id));
                events.push(Event::Recorded);
            }
            AckKind::Pubcomp if qos == 2 && released => {
                self.outbound.remove(at);
                // 0x92 is right for a PUBREL that was repeated over a new connection.
                if ![0, 0x92].contains(&code) {
                    events.push(Event::Violation(format!("PUBCOMP {id} with 0x{code:02x}")));
                }
                events.push(Event::Acked(key));
            }
            _ => events.push(Event::Violation(format!(
                "{kind:?} {id} for {key} of QoS {qos}, PUBREC seen: {released}"
            ))),
        }
    }
}

impl Conn {
    /// Writes as far as the socket takes it. An error shows when reading.
    fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(n) if n > 0 => _ = self.out.drain(..n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    /// Reads all there is; `false` when the connection has ended.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => self.inbox.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    /// Sends an acknowledgement after `wait`, never before an earlier one [MQTT-4.6.0-2].
    fn hold(&mut self, wait: Duration, bytes: Vec<u8>) {
        if wait.is_zero() && self.held.is_empty() {
            self.out.extend(bytes);
            return;
        }
        let due = (Instant::now() + wait).max(self.last_due);
        self.last_due = due;
        self.held.push_back((due, bytes));
    }
}

fn ack(kind: AckKind, id: u16) -> Vec<u8> {
    let first = (kind as u8) << 4 | if kind == AckKind::Pubrel { 2 } else { 0 };
    frame(first, &id.to_be_bytes())
}
