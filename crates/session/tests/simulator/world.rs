//! One session, one client, and a network between them that loses what it carries.

use crate::client::{Client, ToClient, ToServer};
use crate::inbound::Inflow;
use crate::ledger::{Call, Connection, Entry, Ledger, State};
use crate::rng::Rng;
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
    /// packets under way; emptied when the connection breaks
    down: VecDeque<ToClient>,
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
        self.deliver_message(message, qos, group);
    }

    pub fn deliver_message(&mut self, message: Arc<Message>, qos: QoS, group: bool) -> Sent {
        let priorities = self.limits().queue.priorities.clone();
        let listed = priorities.iter().flat_map(|list| list.iter());
        let level = listed
            .filter(|(topic, _)| topic == message.topic())
            .map(|(_, level)| *level)
            .next()
            .unwrap_or(0);
        let num = self.ledger.entries.len() as u32 + 1;
        let mut delivery = Delivery::new(Arc::clone(&message), qos);
        delivery.sub_id = num;
        delivery.group = group.then_some(GroupRef(7));
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
            state: State::New,
        });
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
        assert_eq!(session.queue_len(), ledger.queued, "queued");
        assert_eq!(session.queue_bytes(), ledger.bytes, "bytes queued");
        assert_eq!(
            session.awaiting_rel_len(),
            self.inflow.awaiting_len(),
            "awaiting PUBREL"
        );
        assert_eq!(session.delivered, ledger.written, "PUBLISH packets counted");
        assert_eq!(session.enqueued, ledger.enqueued, "queued messages counted");
        assert_eq!(session.dropped, ledger.dropped, "dropped messages counted");
        let limits = &ledger.limits.queue;
        if limits.max_length > 0 {
            assert!(
                ledger
                    .lanes
                    .values()
                    .all(|lane| lane.len() <= limits.max_length),
                "a lane above its limit"
            );
        }
        assert!(
            limits.max_bytes == 0 || ledger.bytes <= limits.max_bytes,
            "bytes above their limit"
        );
        self.check_alarm();
        self.check_stall();
        for packet in self.ledger.out.drain(..) {
            if self.trace {
                eprintln!(
                    "{:>9}   <- {packet:?}{}",
                    self.now,
                    if self.alive { "" } else { " (lost)" }
                );
            }
            if self.alive {
                self.down.push_back(packet);
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
        let open = ledger.used < connection.window;
        let room = open && ledger.flights.len() < ledger.own_window();
        assert!(
            !(open && ledger.holds()),
            "there is room and an older message waits"
        );
        assert!(
            !(room && ledger.queued > 0 && !ledger.holds()),
            "there is room and a message waits"
        );
        assert_eq!(
            ledger.queued_qos0, 0,
            "QoS 0 waits while there is a connection"
        );
        assert_eq!(
            self.session.has_room(),
            room && ledger.queued == 0 && !ledger.holds(),
            "has_room"
        );
    }

    // The network.

    /// A packet arrives at the client.
    pub fn carry_down(&mut self) -> bool {
        let Some(packet) = self.down.pop_front() else {
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
                let answer = self
                    .inflow
                    .publish(&mut self.session, seq, qos, id, self.now);
                self.ledger.begin(Call::Ack, self.now);
                self.ledger.out.extend(answer);
                self.after_call();
            }
            ToServer::PubRel { id } => {
                let answer = self.inflow.release(&mut self.session, id);
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
        let due: Vec<u16> = self
            .ledger
            .flights
            .iter()
            .filter(|f| f.released)
            .map(|f| f.id)
            .collect();
        self.ledger.begin(Call::Resume, self.now);
        self.session.resume(self.now, &mut self.ledger);
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
        self.check_deadline(false);
        self.client.connected(version, receive_maximum, send_quota);
        self.client.pump(&mut self.up);
    }

    // Acknowledgements as the broker gets them. The ledger goes first.

    fn puback(&mut self, id: u16) {
        let at = self.ledger.flight(id).filter(|at| {
            let flight = &self.ledger.flights[*at];
            !flight.released && self.ledger.entries[flight.num as usize - 1].qos == QoS::AtLeastOnce
        });
        let acked = at.map(|at| {
            let num = self.ledger.land(at).num;
            self.ledger.entry(num).state = State::Acked;
            Arc::clone(&self.ledger.entry(num).message)
        });
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.puback(id, self.now, &mut self.ledger);
        self.after_ack(ack, acked.is_some(), acked, &[]);
    }

    fn pubrec(&mut self, id: u16, refused: bool) {
        let at = self.ledger.flight(id).filter(|at| {
            let flight = &self.ledger.flights[*at];
            self.ledger.entries[flight.num as usize - 1].qos == QoS::ExactlyOnce
        });
        let version = self.session.version();
        let other_qos = at.is_none() && self.ledger.flight(id).is_some();
        let (mut known, mut acked, mut rels) = (false, None, vec![]);
        match at {
            Some(at) if !self.ledger.flights[at].released => {
                known = true;
                let num = self.ledger.flights[at].num;
                acked = Some(Arc::clone(&self.ledger.entry(num).message));
                if refused {
                    self.ledger.land(at);
                    self.ledger.entry(num).state = State::Refused;
                } else {
                    self.ledger.entry(num).state = State::Acked;
                    let handed = self.client.seen.get(&num).map_or(0, |seen| seen.handed);
                    assert_eq!(handed, 1, "{num} was acknowledged");
                    self.ledger.flights[at].released = true;
                    self.ledger.flights[at].sent_at = self.now;
                    rels.push((id, ReasonCode::SUCCESS));
                }
            }
            Some(at) if !refused => {
                known = true;
                self.ledger.flights[at].sent_at = self.now;
                rels.push((id, ReasonCode::SUCCESS));
            }
            None if !refused && !other_qos && version == Version::V5 => {
                rels.push((id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
            }
            None if !refused && !other_qos => rels.push((id, ReasonCode::SUCCESS)),
            _ => {}
        }
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.pubrec(id, refused, self.now, &mut self.ledger);
        self.after_ack(ack, known, acked, &rels);
    }

    fn pubcomp(&mut self, id: u16) {
        let at = self
            .ledger
            .flight(id)
            .filter(|at| self.ledger.flights[*at].released);
        if let Some(at) = at {
            self.ledger.land(at);
        }
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.pubcomp(id, self.now, &mut self.ledger);
        self.after_ack(ack, at.is_some(), None, &[]);
    }

    fn after_ack(
        &mut self,
        ack: Ack,
        known: bool,
        acked: Option<Arc<Message>>,
        rels: &[(u16, ReasonCode)],
    ) {
        assert_eq!(ack, if known { Ack::Known } else { Ack::Missed });
        let told = &self.ledger.acked;
        assert_eq!(
            told.len(),
            usize::from(acked.is_some()),
            "acknowledged messages told"
        );
        assert!(
            acked.iter().zip(told).all(|(a, b)| Arc::ptr_eq(a, b)),
            "another message is told to be acknowledged"
        );
        let owed = self
            .ledger
            .rels_owed
            .iter()
            .map(|id| (*id, ReasonCode::SUCCESS));
        let wanted: Vec<_> = rels.iter().copied().chain(owed).collect();
        assert_eq!(self.ledger.rels, wanted, "PUBREL");
        self.after_call();
    }

    /// An acknowledgement that fits nothing: an unknown identifier, or the wrong flow.
    fn stray_ack(&mut self) {
        if !self.session.online() {
            return;
        }
        let id = match self.ledger.flights.len() {
            0 => 1 + self.rng.below(40) as u16,
            len if self.rng.percent(70) => self.ledger.flights[self.rng.index(len)].id,
            _ => 1 + self.rng.below(65_535) as u16,
        };
        let state = self.ledger.flight(id).map(|at| {
            let flight = &self.ledger.flights[at];
            (
                self.ledger.entries[flight.num as usize - 1].qos,
                flight.released,
            )
        });
        self.log(|| format!("stray acknowledgement {id}, which is {state:?}"));
        match (state, self.rng.below(3)) {
            (None, 0) => self.puback(id),
            (None, 1) => self.pubcomp(id),
            (None, _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            (Some((QoS::AtLeastOnce, _)), 0) => self.pubcomp(id),
            (Some((QoS::AtLeastOnce, _)), _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            (Some((_, false)), 0) => self.pubcomp(id),
            (Some(_), 1) => self.puback(id),
            (Some((_, true)), _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            _ => {}
        }
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
        let resends =
            interval > 0 && self.session.online() && self.session.version() != Version::V5;
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
        self.inflow.timer(&self.ledger.given_up, self.now);
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
            .filter(|f| old && interval > 0 && (f.here || f.released));
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

    // The end of a round.

    /// Both ends work without haste or loss until nothing is under way.
    fn settle(&mut self) {
        self.client.pump(&mut self.up);
        loop {
            let mut moved = self.carry_down() | self.carry_up();
            if self.client.pending_len() > 0 {
                self.client.acknowledge(&mut self.rng, &mut self.up);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// The client keeps reading and the connection stays: everything is delivered.
    pub fn finish(&mut self) {
        if !self.alive || !self.session.online() {
            self.connect_somehow();
        }
        self.settle();
        assert_eq!(self.session.inflight_len(), 0, "still in flight");
        assert_eq!(self.session.queue_len(), 0, "still queued");
        assert!(self.session.has_room(), "the window is not whole");
        assert!(self.client.is_quiet(), "the client still waits");
        // What the broker of a 3.x client had no room for is sent again on the next connection.
        for _ in 0..=self.client.outgoing_len() {
            if self.client.outgoing_len() > 0 {
                self.connect_somehow();
                self.settle();
            }
        }
        assert_eq!(
            self.client.outgoing_len(),
            0,
            "messages of the client's are not finished"
        );
        assert_eq!(
            self.session.awaiting_rel_len(),
            0,
            "messages wait for PUBREL"
        );
        self.inflow.check(&self.client.completed);
        self.check_deliveries();
        self.check_window();
        self.disconnect();
        assert_eq!(self.session.deadline(), None);
    }

    fn check_deliveries(&self) {
        for (at, entry) in self.ledger.entries.iter().enumerate() {
            let num = at as u32 + 1;
            let seen = self.client.seen.get(&num).copied().unwrap_or_default();
            let holds = match (entry.state, entry.qos) {
                (State::Written, QoS::AtMostOnce) => seen.packets <= 1,
                (State::Acked, QoS::AtLeastOnce) => seen.handed >= 1,
                (State::Acked, QoS::ExactlyOnce) => seen.handed == 1,
                (State::Refused, QoS::ExactlyOnce) => seen.handed == 0,
                (State::Dropped | State::Expired, _) => seen.packets == 0,
                // It may have arrived on an earlier connection that took larger packets.
                (State::TooLarge, QoS::AtMostOnce) => seen.packets == 0,
                (State::TooLarge, QoS::AtLeastOnce) => true,
                (State::TooLarge, QoS::ExactlyOnce) => seen.handed <= 1,
                _ => false,
            };
            assert!(
                holds,
                "delivery {num}, {:?}, is {:?}, and the client has {seen:?}",
                entry.qos, entry.state
            );
        }
    }

    /// As many messages as the window has places are sent at once, and no more.
    fn check_window(&mut self) {
        let window = self
            .ledger
            .connection
            .expect("there is a connection")
            .window;
        if window > 64 || self.ledger.connection.is_some_and(|c| c.max_packet < 60) {
            return;
        }
        let parts = MessageParts {
            topic: "low",
            properties: &[],
            payload: b"",
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let message = Arc::new(Message::new(parts, None, self.now, u64::MAX));
        for _ in 0..window {
            let sent = self.deliver_message(Arc::clone(&message), QoS::AtLeastOnce, false);
            assert_eq!(sent, Sent::Now, "a place of the window was lost");
        }
        let sent = self.deliver_message(message, QoS::ExactlyOnce, false);
        assert_ne!(sent, Sent::Now, "the window has grown");
        self.settle();
        self.check_deliveries();
    }

    /// The session ends: what may go to others of a group is handed out, and nothing else [MQTT-4.8.2-5].
    pub fn end_session(self) {
        let World {
            session, ledger, ..
        } = self;
        let entry = |num: u32| &ledger.entries[num as usize - 1];
        let flying = ledger
            .flights
            .iter()
            .filter(|flight| !flight.released)
            .map(|flight| flight.num);
        let flying = flying.filter(|num| entry(*num).qos == QoS::AtLeastOnce);
        let queued = ledger.lanes.values().rev().flatten().copied();
        let wanted: Vec<u32> = flying
            .chain(queued)
            .filter(|num| entry(*num).group)
            .collect();
        let owed: Vec<u32> = session
            .into_owed()
            .iter()
            .map(|delivery| delivery.sub_id)
            .collect();
        assert_eq!(owed, wanted, "owed to the group");
    }

    /// Uses up packet identifiers until they are about to begin anew, with one message kept in flight.
    pub fn near_the_last_id(&mut self) {
        self.connect(Version::V5, u16::MAX, usize::MAX);
        let parts = MessageParts {
            topic: "low",
            properties: &[],
            payload: b"",
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let message = Arc::new(Message::new(parts, None, self.now, u64::MAX));
        self.deliver_message(Arc::clone(&message), QoS::ExactlyOnce, false);
        let mut id = 0;
        while id < 65_530 {
            let sent = self.deliver_message(Arc::clone(&message), QoS::AtLeastOnce, false);
            if sent != Sent::Now {
                return;
            }
            id = self.ledger.flights.last().expect("it was sent").id;
            while self.carry_down() {}
            self.client.drop_ack_of(id);
            self.puback(id);
        }
    }
}
