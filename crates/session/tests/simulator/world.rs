//! One session, one client, and a network between them that loses what it carries.

mod acks;
mod crash;
mod end;

use crate::client::{Client, ToClient, ToServer};
use crate::inbound::Inflow;
use crate::ledger::{Call, Connection, Entry, Ledger, State};
use crate::rng::Rng;
use crate::store::{Record, Store};
use crash::Asked;
use emqttd_mqtt::{QoS, ReasonCode, Version};
use emqttd_session::{
    Ack, Delivery, GroupRef, Limits, Message, MessageParts, QueueLimits, Sent, Session,
};
use std::collections::VecDeque;
use std::sync::Arc;

const TOPICS: [&str; 3] = ["low", "middle", "high"];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

pub struct World {
    pub rng: Rng,
    pub now: u64,
    trace: bool,
    pub session: Session,
    pub ledger: Ledger,
    pub client: Client,
    pub inflow: Inflow,
    /// beside a durable session
    store: Option<Store>,
    /// stored, and not yet given to the session
    mail: VecDeque<u32>,
    /// for the store, of what the client publishes
    inbound: Vec<Record>,
    /// what is being read for the session
    asked: Asked,
    /// packets under way; emptied when the connection breaks. The broker holds each back until the store has
    /// synced up to its place
    down: VecDeque<(u64, ToClient)>,
    up: VecDeque<ToServer>,
    /// the network carries packets; the broker may not have noticed that it does not
    alive: bool,
}

fn limits(rng: &mut Rng) -> Limits {
    let low_watermark = rng.pick(&[0, 20, 60]);
    let priorities = [("high".to_owned(), 9), ("middle".to_owned(), 4)];
    Limits {
        max_inflight: rng.pick(&[0, 1, 1, 2, 3, 5, 32]),
        retry_interval: rng.pick(&[0, 1000, 20_000]),
        max_awaiting_rel: rng.pick(&[0, 1, 3, 100]),
        await_rel_timeout: rng.pick(&[0, 5000, 300_000]),
        queue: QueueLimits {
            max_length: rng.pick(&[0, 1, 3, 10, 1000]),
            max_bytes: rng.pick(&[0, 0, 60, 300, 10_000]),
            store_qos0: rng.percent(70),
            priorities: rng.percent(40).then(|| Arc::new(priorities.to_vec())),
            high_watermark: low_watermark + rng.pick(&[0, 20, 40]),
            low_watermark,
            ram_most: 0,
        },
    }
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let limits = Arc::new(limits(&mut rng));
        let mut client = Client::new(rng.pick(&[2, 10, u16::MAX]));
        client.refuses = rng.percent(40);
        client.shuffles_acks = rng.percent(30);
        if trace {
            eprintln!("{limits:#?}");
        }
        World {
            now: rng.below(100_000),
            trace,
            session: Session::new(Arc::clone(&limits)),
            ledger: Ledger::new(Arc::clone(&limits)),
            client,
            inflow: Inflow::new(&limits),
            store: None,
            mail: VecDeque::new(),
            inbound: Vec::new(),
            asked: Asked::default(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            alive: false,
            rng,
        }
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9} {}", self.now, text());
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.ledger.limits
    }

    /// One random event.
    pub fn step(&mut self) {
        if self.store.is_some() && self.rng.percent(30) {
            return self.store_step();
        }
        match self.rng.below(100) {
            0..24 => self.deliver(),
            24..45 => {
                for _ in 0..=self.rng.below(3) {
                    self.carry_down();
                }
            }
            45..66 => {
                for _ in 0..=self.rng.below(3) {
                    self.carry_up();
                }
            }
            66..80 if self.alive => self.client.acknowledge(&mut self.rng, &mut self.up),
            80..85 => self.client_publishes(),
            85..88 => self.stray_ack(),
            88..93 => self.time_passes(),
            93..95 => self.cut(),
            95 => self.disconnect(),
            96..98 => self.connect_somehow(),
            98 if !self.alive => self.connect_somehow(),
            _ => self.timer(),
        }
    }

    // The outbound direction: messages come, packets go.

    fn deliver(&mut self) {
        let qos = self.rng.pick(&QOS);
        let topic = self.rng.pick(&TOPICS);
        let size = self.rng.pick(&[0, 8, 20, 50, 100]);
        let expires_at = match self.rng.below(10) {
            0 => self.now,
            1..3 => self.now + 1 + self.rng.below(30_000),
            _ => u64::MAX,
        };
        let group = self.rng.percent(30);
        let last = self
            .ledger
            .entries
            .last()
            .map(|entry| Arc::clone(&entry.message));
        let message = match last {
            // The same message again, as through a second subscription.
            Some(message) if self.rng.percent(15) => message,
            _ => {
                let payload = vec![b'x'; size];
                let parts = MessageParts {
                    topic,
                    properties: &[],
                    payload: &payload,
                    qos,
                    retain: false,
                };
                Arc::new(Message::new(parts, None, self.now, expires_at))
            }
        };
        let num = self.publish(message, qos, group);
        let class = |num: u32| self.ledger.entries[num as usize - 1].class;
        let waits = self.mail.iter().any(|other| class(*other) == class(num));
        if self.store.is_some() && (waits || self.rng.percent(40)) {
            return self.mail.push_back(num);
        }
        self.hand(num);
    }

    pub fn deliver_message(&mut self, message: Arc<Message>, qos: QoS, group: bool) -> Sent {
        let num = self.publish(message, qos, group);
        self.hand(num)
    }

    /// A message that the session is owed; it is stored first.
    fn publish(&mut self, message: Arc<Message>, qos: QoS, group: bool) -> u32 {
        let priorities = self.limits().queue.priorities.clone();
        let listed = priorities.iter().flat_map(|list| list.iter());
        let level = listed
            .filter(|(topic, _)| topic == message.topic())
            .map(|(_, level)| *level)
            .next()
            .unwrap_or(0);
        let num = self.ledger.entries.len() as u32 + 1;
        self.log(|| {
            format!(
                "deliver {num} {qos:?} {} size {} group {group}",
                message.topic(),
                message.size()
            )
        });
        self.ledger.entries.push(Entry {
            message,
            qos,
            group,
            level,
            class: level,
            seq: 0,
            unreadable: false,
            crashed: false,
            state: State::New,
        });
        self.store_message(num);
        num
    }

    /// The delivery as it is given to the session.
    fn delivery(&self, num: u32) -> Delivery {
        let entry = &self.ledger.entries[num as usize - 1];
        let mut delivery = Delivery::new(Arc::clone(&entry.message), entry.qos);
        delivery.sub_id = num;
        delivery.group = entry.group.then_some(GroupRef(7));
        delivery.seq = entry.seq;
        delivery
    }

    /// Gives a delivery to the session.
    fn hand(&mut self, num: u32) -> Sent {
        self.log(|| format!("hand over {num}"));
        let delivery = self.delivery(num);
        let qos = delivery.qos;
        self.ledger.incoming = Some(num);
        let room = self.session.has_room();
        self.ledger.begin(Call::Send, self.now);
        let sent = self.session.send(delivery, self.now, &mut self.ledger);
        match (sent, self.ledger.entry(num).state) {
            (Sent::Now, State::Flying) => assert!(room, "has_room said no"),
            (Sent::Now, State::Written) => {}
            (Sent::Queued, State::New) => {
                assert!(!room || qos == QoS::AtMostOnce, "has_room said yes");
                self.ledger.enqueued += 1;
                self.ledger.enqueue(num);
            }
            (Sent::Gone, State::Dropped) => self.ledger.enqueued += 1,
            (Sent::Gone, State::Expired | State::TooLarge) => {}
            (sent, state) => panic!("send({num}) says {sent:?}, and it is {state:?}"),
        }
        assert!(self.ledger.acked.is_empty() && self.ledger.rels.is_empty());
        self.after_call();
        sent
    }

    /// Checks what holds after every call, and puts what was written on the wire.
    fn after_call(&mut self) {
        let (session, ledger) = (&self.session, &self.ledger);
        ledger.end();
        assert_eq!(session.inflight_len(), ledger.flights.len(), "in flight");
        let ghosts = session.queue_len().checked_sub(ledger.queued);
        assert!(
            ghosts.is_some_and(|ghosts| ghosts <= self.asked.ghosts),
            "{} queued, not {}",
            session.queue_len(),
            ledger.queued
        );
        if !ledger.loose {
            assert_eq!(session.queue_bytes(), ledger.bytes, "bytes queued");
        }
        assert_eq!(
            session.awaiting_rel_len(),
            self.inflow.awaiting_len(),
            "awaiting PUBREL"
        );
        assert_eq!(session.delivered, ledger.written, "PUBLISH packets counted");
        assert_eq!(session.enqueued, ledger.enqueued, "queued messages counted");
        assert_eq!(session.dropped, ledger.dropped, "dropped messages counted");
        let limits = &ledger.limits.queue;
        // What is on disk has to be read before it can be dropped.
        let excess = ledger.wanted.is_some() || self.asked.page.is_some() || ledger.loose;
        if limits.max_length > 0 && !excess {
            assert!(
                ledger
                    .lanes
                    .values()
                    .all(|lane| lane.len() <= limits.max_length),
                "a lane above its limit"
            );
        }
        assert!(
            limits.max_bytes == 0 || ledger.bytes <= limits.max_bytes || excess,
            "bytes above their limit"
        );
        self.store_call();
        self.check_alarm();
        self.check_stall();
        let place = self.store.as_ref().map_or(0, Store::position);
        for packet in self.ledger.out.drain(..) {
            if self.trace {
                eprintln!(
                    "{:>9}   <- {packet:?}{}",
                    self.now,
                    if self.alive { "" } else { " (lost)" }
                );
            }
            if self.alive {
                let waits =
                    !matches!(packet, ToClient::Publish { qos, .. } if qos != QoS::ExactlyOnce);
                self.down.push_back((if waits { place } else { 0 }, packet));
            }
        }
    }

    fn check_alarm(&self) {
        let (ledger, limits) = (&self.ledger, &self.ledger.limits.queue);
        let watched =
            limits.max_length > 0 && limits.high_watermark > 0 && limits.priorities.is_none();
        if !watched {
            return assert!(!ledger.alarm);
        }
        if ledger.loose {
            return;
        }
        let of = |percent: u8| limits.max_length * usize::from(percent);
        if ledger.queued * 100 > of(limits.high_watermark) {
            assert!(ledger.alarm, "{} queued and no alarm", ledger.queued);
        }
        if ledger.queued == 0 || ledger.queued * 100 < of(limits.low_watermark) {
            assert!(!ledger.alarm, "{} queued and still an alarm", ledger.queued);
        }
    }

    /// Nothing waits that could be sent.
    fn check_stall(&self) {
        let ledger = &self.ledger;
        assert_eq!(self.session.online(), ledger.connection.is_some());
        let Some(connection) = ledger.connection else {
            return assert!(!self.session.has_room());
        };
        assert_eq!(
            ledger.queued_qos0, 0,
            "QoS 0 waits while there is a connection"
        );
        if self.session.needs_loading() {
            return assert!(!self.session.has_room());
        }
        let reads = self.asked.page.is_some();
        let open = ledger.used < connection.window;
        let room = open && ledger.flights.len() < ledger.own_window();
        assert!(
            !(open && ledger.holds()),
            "there is room and an older message waits"
        );
        assert!(
            !(room && ledger.queued > 0 && !ledger.holds()) || reads,
            "there is room and a message waits"
        );
        assert_eq!(
            self.session.has_room(),
            room && ledger.queued == 0 && !ledger.holds() && !reads,
            "has_room"
        );
    }

    // The network.

    /// A packet arrives at the client.
    pub fn carry_down(&mut self) -> bool {
        let synced = self.store.as_ref().map_or(0, Store::durable_to);
        let Some((_, packet)) = self.down.pop_front_if(|(place, _)| *place <= synced) else {
            return false;
        };
        self.log(|| format!("client gets {packet:?}"));
        self.client.receive(packet, &mut self.rng);
        self.client.pump(&mut self.up);
        true
    }

    /// A packet arrives at the broker.
    pub fn carry_up(&mut self) -> bool {
        let Some(packet) = self.up.pop_front() else {
            return false;
        };
        self.log(|| format!("broker gets {packet:?}"));
        match packet {
            ToServer::PubAck { id } => self.puback(id),
            ToServer::PubRec { id, refused } => self.pubrec(id, refused),
            ToServer::PubComp { id } => self.pubcomp(id),
            ToServer::Publish { seq, qos, id } => {
                let answer = self.inflow.publish(
                    &mut self.session,
                    seq,
                    qos,
                    id,
                    self.now,
                    &mut self.inbound,
                );
                self.ledger.begin(Call::Ack, self.now);
                self.ledger.out.extend(answer);
                self.after_call();
            }
            ToServer::PubRel { id } => {
                let answer = self
                    .inflow
                    .release(&mut self.session, id, &mut self.inbound);
                self.ledger.begin(Call::Ack, self.now);
                self.ledger.out.push(answer);
                self.after_call();
            }
        }
        true
    }

    fn client_publishes(&mut self) {
        let qos = self
            .rng
            .pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]);
        self.client.publish(qos);
        if self.alive {
            self.client.pump(&mut self.up);
        }
    }

    /// The connection breaks: all that is under way is lost. The broker does not know yet.
    pub fn cut(&mut self) {
        self.log(|| "cut".into());
        self.alive = false;
        self.down.clear();
        self.up.clear();
    }

    /// The broker sees the connection end.
    pub fn disconnect(&mut self) {
        self.cut();
        self.log(|| "disconnect".into());
        self.session.detach();
        self.ledger.connection = None;
        self.ledger.used = 0;
        self.ledger.begin(Call::Send, self.now);
        self.after_call();
    }

    fn connect_somehow(&mut self) {
        // A 3.x client may have begun more than the broker's receive maximum for MQTT 5; it ends that first.
        self.inflow.turned_away &= self.client.outgoing_len() > 0;
        let version = if self.inflow.turned_away {
            Version::V311
        } else {
            self.rng
                .pick(&[Version::V31, Version::V311, Version::V5, Version::V5])
        };
        let (receive_maximum, max_packet) = match version {
            Version::V5 => (
                self.rng.pick(&[1, 1, 2, 3, 10, u16::MAX]),
                self.rng.pick(&[20, 60, 1000, usize::MAX]),
            ),
            _ => (u16::MAX, usize::MAX),
        };
        self.connect(version, receive_maximum, max_packet);
    }

    /// A new connection; it takes over when the old one is still there.
    pub fn connect(&mut self, version: Version, receive_maximum: u16, max_packet: usize) {
        if self.session.online() {
            self.disconnect();
        }
        self.cut();
        self.log(|| {
            format!("connect {version:?} receive maximum {receive_maximum} packets {max_packet}")
        });
        self.alive = true;
        let window = self.ledger.own_window().min(usize::from(receive_maximum));
        self.ledger.connection = Some(Connection {
            version,
            window,
            max_packet,
        });
        self.ledger.used = 0;
        for flight in &mut self.ledger.flights {
            flight.here = false;
            if flight.released {
                flight.sent_at = self.now;
            }
        }
        self.session.attach(version, receive_maximum, self.now);
        assert_eq!(self.session.version(), version);
        let send_quota = self.inflow.attach(version, self.now);
        let due = self.released();
        self.ledger.begin(Call::Resume, self.now);
        self.session.resume(self.now, &mut self.ledger);
        if self.session.needs_loading() {
            assert!(self.ledger.rels.is_empty());
            self.asked.bodies = true;
            self.after_call();
        } else {
            self.after_resume(&due);
        }
        self.check_deadline(false);
        self.client.connected(version, receive_maximum, send_quota);
        self.client.pump(&mut self.up);
    }

    fn released(&self) -> Vec<u16> {
        let released = self.ledger.flights.iter().filter(|f| f.released);
        released.map(|f| f.id).collect()
    }

    /// What was left unfinished was sent again; `due` are the identifiers that had been released.
    fn after_resume(&mut self, due: &[u16]) {
        assert!(self.ledger.acked.is_empty());
        // [MQTT-4.4.0-1]; what is too large now was sent before and is ended by PUBREL too.
        let sent: Vec<u16> = self.ledger.rels.iter().map(|(id, _)| *id).collect();
        let wanted: Vec<u16> = sent
            .iter()
            .copied()
            .filter(|id| due.contains(id) || self.ledger.rels_owed.contains(id))
            .collect();
        assert_eq!(sent, wanted, "PUBREL without a reason");
        assert_eq!(
            sent.len(),
            due.len() + self.ledger.rels_owed.len(),
            "PUBREL not sent again"
        );
        assert!(
            sent.iter().filter(|id| due.contains(id)).eq(due.iter()),
            "PUBRELs out of order"
        );
        assert!(
            self.ledger
                .rels
                .iter()
                .all(|(_, reason)| *reason == ReasonCode::SUCCESS)
        );
        self.after_call();
    }

    // Time.

    fn time_passes(&mut self) {
        let jump = self.rng.pick(&[1, 10, 500, 1000, 5000, 30_000, 400_000]);
        self.now += self.rng.below(jump + 1);
        if let Some(at) = self.session.deadline()
            && self.rng.percent(40)
        {
            self.now = self.now.max(at);
        }
        if self.rng.percent(70) {
            self.timer();
        }
    }

    /// The timer runs: at its time, late, or when nothing is due.
    pub fn timer(&mut self) {
        self.log(|| "timer".into());
        let interval = self.limits().retry_interval;
        let resends = interval > 0
            && self.session.online()
            && self.session.version() != Version::V5
            && !self.session.needs_loading();
        let fired = self.session.deadline().is_some_and(|at| at <= self.now);
        let due = |flight: &&crate::ledger::Flight| {
            resends && (flight.here || flight.released) && flight.sent_at + interval <= self.now
        };
        let rels: Vec<_> = self
            .ledger
            .flights
            .iter()
            .filter(due)
            .filter(|flight| flight.released)
            .collect();
        let rels: Vec<_> = rels
            .iter()
            .map(|flight| (flight.id, ReasonCode::SUCCESS))
            .collect();
        self.ledger.begin(Call::Timer, self.now);
        self.session.on_timer(self.now, &mut self.ledger);
        assert_eq!(self.ledger.rels, rels, "PUBREL sent again by the timer");
        for (id, _) in rels {
            let at = self.ledger.flight(id).expect("it was there");
            self.ledger.flights[at].sent_at = self.now;
        }
        self.inflow
            .timer(&self.ledger.given_up, self.now, &mut self.inbound);
        assert!(self.ledger.acked.is_empty());
        self.after_call();
        self.check_deadline(fired);
    }

    /// The timer is set for what is due next; exactly so when it has just run.
    fn check_deadline(&self, exact: bool) {
        let deadline = self.session.deadline();
        assert!(
            deadline.is_none_or(|at| at > self.now) || !exact,
            "the timer does not go on"
        );
        let old = self.session.online() && self.session.version() != Version::V5;
        let interval = self.limits().retry_interval;
        let flights = self
            .ledger
            .flights
            .iter()
            .filter(|f| old && interval > 0 && (f.here || f.released))
            .filter(|_| !self.session.needs_loading());
        let retry = flights.map(|flight| flight.sent_at + interval).min();
        let wanted = retry
            .into_iter()
            .chain(self.inflow.deadline().filter(|_| old))
            .min();
        match (deadline, wanted) {
            (None, None) => {}
            // An acknowledgement does not move the timer: it may be early, never late.
            (Some(at), Some(wanted)) => assert!(
                at <= wanted.max(self.now + 1),
                "timer at {at}, due at {wanted}"
            ),
            (Some(_), None) => assert!(
                !exact || !self.session.online(),
                "a timer with nothing to do"
            ),
            (None, Some(wanted)) => panic!("nothing would be sent at {wanted}"),
        }
    }
}
