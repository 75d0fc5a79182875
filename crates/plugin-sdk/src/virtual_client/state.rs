//! The client's side of one connection, as a machine without tasks: packets in, packets out, events.

use super::about::About;
use super::options::{ConnectOptions, Outgoing};
use crate::{Pipe, QoS};
use emqttd_mqtt::{
    AckKind, ConnAck, Packet, Properties, Property, Publish, PublishHead, ReasonCode,
    SubscriptionOptions, Version, fixed_header,
};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes of packets for the broker beyond which no more are added.
const OUT: usize = 64 * 1024;
/// Bytes of events beyond which no more are taken from the broker.
const EVENT_BYTES: usize = 1024 * 1024;
/// Most bytes of a buffer that is kept for the next packets.
const SPARE_BYTES: usize = 16 * 1024;
/// PINGREQ packets without answer at the most.
const PINGS: usize = 8;

/// What comes from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message for the device.
    Message(Incoming),
    /// PUBREL for a message that was acknowledged; only with [`ConnectOptions::release_by_hand`].
    Released {
        /// of the message
        id: u16,
    },
    /// The connection has ended; the last event.
    Closed(End),
}

/// A message for the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// topic name, without the mountpoint of the listener
    pub topic: String,
    /// the application message
    pub payload: Vec<u8>,
    /// quality of service
    pub qos: QoS,
    /// a retained message that was there before the subscription
    pub retain: bool,
    /// it may have been sent before, on an earlier connection
    pub dup: bool,
    /// for [`VirtualClient::ack`](super::VirtualClient::ack); 0 at QoS 0
    pub id: u16,
    /// identifiers of the subscriptions it is for, as given to
    /// [`VirtualClient::subscribe_as`](super::VirtualClient::subscribe_as); only MQTT 5
    pub subscriptions: Vec<u32>,
    /// what else is said of it; only MQTT 5
    pub about: Option<Box<About>>,
}

/// How a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// as in `client.disconnected`: `normal`, `kick`, `conflict`, `keepalive_timeout`, ...
    pub reason: String,
    /// reason code of the broker's DISCONNECT (MQTT 5)
    pub code: Option<u8>,
}

/// What CONNACK said.
#[derive(Debug)]
pub(super) struct Greeting {
    pub code: u8,
    pub session_present: bool,
    pub keepalive: Option<u16>,
    pub clientid: Option<String>,
    pub receive_maximum: Option<u16>,
}

/// Who waits for an answer of the broker, and his place among those who may.
pub(super) struct Answer<T> {
    sender: oneshot::Sender<T>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Answer<T> {
    pub fn new(sender: oneshot::Sender<T>, permit: OwnedSemaphorePermit) -> Answer<T> {
        Answer {
            sender,
            _permit: permit,
        }
    }

    fn give(self, answer: T) {
        // Whoever asked may have given up waiting.
        let _ = self.sender.send(answer);
    }
}

/// What waits under a packet identifier of ours.
enum Pending {
    Publish {
        /// which of the client's messages at QoS 1 and 2 it is
        serial: u64,
        /// the broker has it: PUBREC came
        taken: bool,
        answer: Answer<u8>,
    },
    Subscribe(Answer<Vec<u8>>),
    Unsubscribe(Answer<()>),
}

/// A PINGREQ without PINGRESP.
struct Ping {
    /// the last message at QoS 1 and 2 before it
    serial: u64,
    /// who waits for the answer
    told: Option<oneshot::Sender<()>>,
}

/// How far a message of the broker's has come, under its packet identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// the gateway has it, the device perhaps not
    Told(QoS),
    /// PUBREC sent
    Acknowledged,
    /// PUBREL came, and the gateway is to complete it
    Released,
}

pub(super) struct State {
    version: Version,
    by_hand: bool,
    most_events: usize,
    connack: Option<oneshot::Sender<Greeting>>,
    /// packets for the broker; what is before `out_start` it has taken
    out: Vec<u8>,
    out_start: usize,
    /// who lets the broker know later of what is left for it
    corks: u32,
    /// the beginning of a packet from the broker
    partial: Vec<u8>,
    events: VecDeque<Event>,
    event_bytes: usize,
    /// the broker waits until events have been taken
    blocked: bool,
    /// nobody takes events any more
    deaf: bool,
    pending: HashMap<u16, Pending>,
    last_id: u16,
    /// of the last message at QoS 1 and 2
    serial: u64,
    /// for each PINGREQ without PINGRESP, the last message before it
    pings: VecDeque<Ping>,
    /// who is to be told of a PINGRESP, after the events before it
    caught_up: Vec<oneshot::Sender<()>>,
    received: HashMap<u16, Received>,
    /// of the broker's DISCONNECT
    code: Option<u8>,
    broken: bool,
    /// DISCONNECT is among the packets for the broker
    leaving: bool,
    end: Option<End>,
}

impl State {
    pub fn new(options: &ConnectOptions, connack: oneshot::Sender<Greeting>) -> State {
        State {
            version: options.version(),
            by_hand: options.release_by_hand,
            most_events: options.events.max(1),
            connack: Some(connack),
            out: Vec::new(),
            out_start: 0,
            corks: 0,
            partial: Vec::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            blocked: false,
            deaf: false,
            pending: HashMap::new(),
            last_id: 0,
            serial: 0,
            pings: VecDeque::new(),
            caught_up: Vec::new(),
            received: HashMap::new(),
            code: None,
            broken: false,
            leaving: false,
            end: None,
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The broker has sent what it may not.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Ends it: all who wait are let go.
    pub fn end(&mut self, reason: &str) {
        let end = End {
            reason: reason.to_string(),
            code: self.code,
        };
        self.connack = None;
        self.pending = HashMap::new();
        self.pings = VecDeque::new();
        self.caught_up = Vec::new();
        self.received = HashMap::new();
        self.out = Vec::new();
        self.out_start = 0;
        self.partial = Vec::new();
        self.end = Some(end.clone());
        self.events.push_back(Event::Closed(end));
    }

    // Towards the broker.

    /// Whether packets may be added.
    pub fn has_room(&self) -> bool {
        self.out.len() - self.out_start < OUT
    }

    /// Leaves packets for the broker, as many as it takes; whether there were any, so that it is to be told.
    pub fn flush(&mut self, pipe: &dyn Pipe) -> bool {
        let waiting = &self.out[self.out_start..];
        if waiting.is_empty() {
            return false;
        }
        self.out_start += pipe.leave(waiting).min(waiting.len());
        if self.out_start == self.out.len() {
            // A quiet client holds no memory.
            give_back(std::mem::take(&mut self.out));
            self.out_start = 0;
        } else if self.out_start > OUT {
            self.out.drain(..self.out_start);
            self.out_start = 0;
        }
        true
    }

    /// The broker is not to be told of what is left for it.
    pub fn cork(&mut self) {
        self.corks += 1;
    }

    /// Takes back one [`State::cork`]; whether it was the last.
    pub fn uncork(&mut self) -> bool {
        self.corks -= 1;
        self.corks == 0
    }

    /// Whether somebody else tells the broker of what is left for it.
    pub fn is_corked(&self) -> bool {
        self.corks > 0
    }

    /// Adds a packet as it is.
    pub fn put_raw(&mut self, packet: &[u8]) {
        self.out.extend_from_slice(packet);
    }

    /// An identifier that nothing waits under. There is one: far fewer wait than there are.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.pending.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Adds a PUBLISH; at QoS 1 and 2 somebody waits for its acknowledgement. Returns its serial number.
    pub fn publish(&mut self, message: &Outgoing, answer: Option<Answer<u8>>) -> u64 {
        let packet_id = match answer {
            None => 0,
            Some(answer) => {
                let id = self.next_id();
                self.serial += 1;
                let pending = Pending::Publish {
                    serial: self.serial,
                    taken: false,
                    answer,
                };
                self.pending.insert(id, pending);
                id
            }
        };
        if self.out.capacity() == 0 {
            self.out = SPARE.take();
        }
        let properties = match &message.about {
            Some(about) if self.version.is_v5() => about.encode(),
            _ => Vec::new(),
        };
        let head = PublishHead {
            qos: message.qos.into(),
            retain: message.retain,
            topic: &message.topic,
            packet_id,
            properties: &properties,
            payload_len: message.payload.len(),
            ..PublishHead::default()
        };
        emqttd_mqtt::encode_publish_head(&mut self.out, self.version, &head);
        self.out.extend_from_slice(&message.payload);
        self.serial
    }

    /// Adds a SUBSCRIBE; `identifier` 0 = the subscriptions have none.
    pub fn subscribe(&mut self, filters: &[(&str, QoS)], identifier: u32, answer: Answer<Vec<u8>>) {
        let id = self.next_id();
        self.pending.insert(id, Pending::Subscribe(answer));
        let filters = filters.iter().map(|(filter, qos)| {
            let options = SubscriptionOptions {
                qos: (*qos).into(),
                ..SubscriptionOptions::default()
            };
            (*filter, options)
        });
        let filters: Vec<_> = filters.collect();
        let mut properties = Vec::new();
        if identifier != 0 && self.version.is_v5() {
            Property::SubscriptionIdentifier(identifier).encode(&mut properties);
        }
        let properties = Properties::new(&properties);
        emqttd_mqtt::encode_subscribe(&mut self.out, self.version, id, properties, &filters);
    }

    /// Adds an UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, filters: &[&str], answer: Answer<()>) {
        let id = self.next_id();
        self.pending.insert(id, Pending::Unsubscribe(answer));
        emqttd_mqtt::encode_unsubscribe(
            &mut self.out,
            self.version,
            id,
            Properties::EMPTY,
            filters,
        );
    }

    /// Adds a PINGREQ, unless something else shows already that the client lives.
    pub fn ping(&mut self) {
        if self.out.is_empty() && self.pings.len() < PINGS {
            self.put_ping(None);
        }
    }

    /// Adds a PINGREQ; its answer is given to who is told by it, or nobody when there are too many.
    pub fn catch_up(&mut self) -> oneshot::Receiver<()> {
        let (sender, answer) = oneshot::channel();
        if self.end.is_none() && self.pings.len() < PINGS {
            self.put_ping(Some(sender));
        }
        answer
    }

    fn put_ping(&mut self, told: Option<oneshot::Sender<()>>) {
        let serial = self.serial;
        self.pings.push_back(Ping { serial, told });
        emqttd_mqtt::encode_pingreq(&mut self.out);
    }

    /// Asks what has become of the messages up to `serial`, or of all. In 3.1.1 the broker does not answer a
    /// PUBLISH that the ACL denies; but it answers in order, so what is not acknowledged before the answer to a
    /// later PINGREQ never will be.
    pub fn ask_after(&mut self, serial: Option<u64>) {
        let serial = serial.unwrap_or(self.serial);
        let asked = self.pings.back().is_some_and(|last| last.serial >= serial);
        if !self.version.is_v5() && !asked && self.pings.len() < PINGS {
            self.put_ping(None);
        }
    }

    fn on_pingresp(&mut self) {
        let Some(Ping { serial, told }) = self.pings.pop_front() else {
            return;
        };
        self.caught_up.extend(told);
        if self.version.is_v5() {
            return;
        }
        let asked = serial;
        let denied = self.pending.extract_if(|_, pending| match pending {
            Pending::Publish { serial, taken, .. } => *serial <= asked && !*taken,
            _ => false,
        });
        for (_, pending) in denied {
            if let Pending::Publish { answer, .. } = pending {
                answer.give(ReasonCode::NOT_AUTHORIZED.0);
            }
        }
    }

    /// Adds a DISCONNECT, once.
    pub fn disconnect(&mut self) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let reason = ReasonCode::SUCCESS;
        emqttd_mqtt::encode_disconnect(&mut self.out, self.version, reason, None, None, None);
    }

    /// PUBACK or PUBREC for a message that was told.
    pub fn ack(&mut self, id: u16) -> bool {
        match self.received.get(&id) {
            Some(Received::Told(QoS::ExactlyOnce)) => {
                self.received.insert(id, Received::Acknowledged);
                self.put_ack(AckKind::PubRec, id);
                true
            }
            Some(Received::Told(_)) => {
                self.received.remove(&id);
                self.put_ack(AckKind::PubAck, id);
                true
            }
            _ => false,
        }
    }

    /// PUBCOMP for a message that was released.
    pub fn complete(&mut self, id: u16) -> bool {
        if self.received.get(&id) != Some(&Received::Released) {
            return false;
        }
        self.received.remove(&id);
        self.put_ack(AckKind::PubComp, id);
        true
    }

    fn put_ack(&mut self, kind: AckKind, id: u16) {
        let reason = ReasonCode::SUCCESS;
        emqttd_mqtt::encode_ack(&mut self.out, self.version, kind, id, reason, None);
    }

    // From the broker.

    fn is_full(&self) -> bool {
        self.events.len() >= self.most_events || self.event_bytes >= EVENT_BYTES
    }

    /// Takes bytes from the broker, as long as there is room for events; returns how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_full() {
                self.blocked = true;
                return at;
            }
            let rest = &bytes[at..];
            at += if self.partial.is_empty() {
                self.take_first(rest)
            } else {
                self.take_more(rest)
            };
            if self.broken {
                return bytes.len();
            }
        }
        at
    }

    /// The packet at the front, or all there is of it; how many bytes that is.
    fn take_first(&mut self, bytes: &[u8]) -> usize {
        match fixed_header(bytes) {
            Ok(Some(header)) if header.packet_len() <= bytes.len() => {
                let len = header.packet_len();
                self.packet(header.first, &bytes[header.len..len]);
                len
            }
            Ok(_) => {
                self.partial = bytes.to_vec();
                bytes.len()
            }
            Err(_) => {
                self.broken = true;
                bytes.len()
            }
        }
    }

    /// What is missing of the packet that has begun, as far as it is there; how many bytes that is.
    fn take_more(&mut self, bytes: &[u8]) -> usize {
        let missing = match fixed_header(&self.partial) {
            // Its length is not whole.
            Ok(None) => 1,
            Ok(Some(header)) => header.packet_len() - self.partial.len(),
            Err(_) => {
                self.broken = true;
                return bytes.len();
            }
        };
        let taken = missing.min(bytes.len());
        self.partial.extend_from_slice(&bytes[..taken]);
        if let Ok(Some(header)) = fixed_header(&self.partial)
            && header.packet_len() == self.partial.len()
        {
            let packet = std::mem::take(&mut self.partial);
            self.packet(header.first, &packet[header.len..]);
        }
        taken
    }

    fn packet(&mut self, first: u8, body: &[u8]) {
        let Ok(packet) = emqttd_mqtt::decode(self.version, first, body) else {
            self.broken = true;
            return;
        };
        match packet {
            Packet::Publish(publish) => self.on_publish(&publish),
            Packet::PubAck(ack) => self.acknowledged(ack.packet_id, ack.reason.0),
            // [MQTT-4.3.3-4]: a refusal ends it.
            Packet::PubRec(ack) if ack.reason.0 >= 0x80 => {
                self.acknowledged(ack.packet_id, ack.reason.0);
            }
            Packet::PubRec(ack) => {
                if let Some(Pending::Publish { taken, .. }) = self.pending.get_mut(&ack.packet_id) {
                    *taken = true;
                }
                self.put_ack(AckKind::PubRel, ack.packet_id);
            }
            Packet::PubComp(ack) => self.acknowledged(ack.packet_id, ack.reason.0),
            Packet::PubRel(ack) => self.on_pubrel(ack.packet_id),
            Packet::SubAck(suback) => {
                if let Some(Pending::Subscribe(answer)) = self.pending.remove(&suback.packet_id) {
                    answer.give(suback.codes.to_vec());
                }
            }
            Packet::UnsubAck(unsuback) => {
                if let Some(Pending::Unsubscribe(answer)) = self.pending.remove(&unsuback.packet_id)
                {
                    answer.give(());
                }
            }
            Packet::ConnAck(connack) => self.on_connack(&connack),
            Packet::PingResp => self.on_pingresp(),
            Packet::Disconnect(disconnect) => self.code = Some(disconnect.reason.0),
            _ => self.broken = true,
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>) {
        let Some(sender) = self.connack.take() else {
            self.broken = true;
            return;
        };
        let properties = connack.properties;
        let greeting = Greeting {
            code: connack.code,
            session_present: connack.session_present,
            keepalive: properties.server_keep_alive(),
            clientid: properties.assigned_client_id().map(Into::into),
            receive_maximum: properties.receive_maximum(),
        };
        // Whoever connects may have given up waiting: then the connection ends with him.
        let _ = sender.send(greeting);
    }

    fn acknowledged(&mut self, id: u16, code: u8) {
        if let Some(Pending::Publish { answer, .. }) = self.pending.remove(&id) {
            answer.give(code);
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let (id, qos) = (publish.packet_id, QoS::from(publish.qos));
        match self.received.get(&id) {
            // The broker repeats itself: the gateway has it already.
            Some(Received::Told(_)) if publish.dup => return,
            Some(Received::Acknowledged | Received::Released) if publish.dup => {
                return self.put_ack(AckKind::PubRec, id);
            }
            _ => {}
        }
        if self.deaf {
            return;
        }
        if qos != QoS::AtMostOnce {
            self.received.insert(id, Received::Told(qos));
        }
        let message = Incoming {
            topic: publish.topic.into(),
            payload: publish.payload.into(),
            qos,
            retain: publish.retain,
            dup: publish.dup,
            id,
            subscriptions: publish.properties.subscription_ids().collect(),
            about: About::read(publish.properties),
        };
        self.event_bytes += size_of_event(&message);
        self.events.push_back(Event::Message(message));
    }

    fn on_pubrel(&mut self, id: u16) {
        if self.by_hand && !self.deaf {
            if self.received.insert(id, Received::Released) != Some(Received::Released) {
                self.events.push_back(Event::Released { id });
            }
            return;
        }
        self.received.remove(&id);
        self.put_ack(AckKind::PubComp, id);
    }

    // Towards the gateway.

    /// Those whose PINGRESP has come. To be told when the events have been announced.
    pub fn take_caught_up(&mut self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.caught_up)
    }

    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.end.is_some() && self.events.is_empty()
    }

    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.event_bytes -= size_of_event(message);
        }
        if self.events.is_empty() {
            // A quiet client holds no memory.
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Whether the broker waits and there is room again, by half, so that it is not woken for each event.
    pub fn may_go_on(&mut self) -> bool {
        let room = self.events.len() <= self.most_events / 2 && self.event_bytes <= EVENT_BYTES / 2;
        room && std::mem::take(&mut self.blocked)
    }

    /// Nobody takes events from now on; `true` when the broker waits for that.
    pub fn stop_listening(&mut self) -> bool {
        self.deaf = true;
        self.events = VecDeque::new();
        self.event_bytes = 0;
        std::mem::take(&mut self.blocked)
    }
}

thread_local! {
    /// For the packets of the next client that publishes on this thread: most are taken by the broker at once.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the buffer for the next one, unless it is large.
fn give_back(mut buffer: Vec<u8>) {
    if (1..=SPARE_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.set(buffer);
    }
}

fn size_of_event(message: &Incoming) -> usize {
    let about = message.about.as_ref().map_or(0, |about| about.size());
    size_of::<Event>() + message.topic.len() + message.payload.len() + about
}
