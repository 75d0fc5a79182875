//! What the session owes and has written, kept beside it and checked at every packet and effect.

use crate::client::ToClient;
use crate::store::{GROUP, Record, SELF};
use emqttd_mqtt::{QoS, ReasonCode, Version};
use emqttd_session::{Change, Delivery, Dropped, Effect, Limits, Message, Sink};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// What has become of a delivery. Each ends in exactly one of those after `Flying`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    New,
    Queued,
    Flying,
    /// QoS 0, written
    Written,
    /// PUBACK or the first PUBREC came
    Acked,
    /// the client answered PUBREC with an error
    Refused,
    Dropped,
    Expired,
    TooLarge,
    /// the broker crashed before it was on disk: its publisher got no acknowledgement
    Lost,
    /// it was on disk and cannot be read any more
    Unreadable,
}

#[derive(Debug)]
pub struct Entry {
    pub message: Arc<Message>,
    pub qos: QoS,
    pub group: bool,
    pub level: u8,
    /// those of one class and QoS are delivered in order
    pub class: u8,
    /// number in the store; 0 = it is not stored
    pub seq: u64,
    /// the disk has lost its body
    pub unreadable: bool,
    /// the broker crashed while it was owed
    pub crashed: bool,
    pub state: State,
}

impl Entry {
    /// Owner and number in the store.
    pub fn key(&self) -> (u64, u64) {
        (if self.group { GROUP } else { SELF }, self.seq)
    }

    /// Of the kind that may lie on disk while it waits.
    fn kind(&self) -> (QoS, u8) {
        (self.qos, self.class)
    }
}

/// An outbound QoS 1 or 2 message under its identifier.
#[derive(Debug)]
pub struct Flight {
    pub id: u16,
    pub num: u32,
    pub released: bool,
    /// its PUBLISH was written to this connection
    pub here: bool,
    pub sent_at: u64,
    /// its body is there
    pub loaded: bool,
    /// the store was told that it was sent
    pub recorded: bool,
}

/// What the session is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Send,
    Resume,
    Timer,
    Ack,
    /// something was read from the disk
    Page,
}

/// A connection as the broker knows it.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    pub version: Version,
    pub window: usize,
    pub max_packet: usize,
}

#[derive(Debug)]
pub struct Ledger {
    pub limits: Arc<Limits>,
    /// by number; the number of a delivery is its subscription identifier
    pub entries: Vec<Entry>,
    pub flights: Vec<Flight>,
    /// numbers waiting, by level
    pub lanes: BTreeMap<u8, VecDeque<u32>>,
    pub queued: usize,
    pub queued_qos0: usize,
    pub bytes: usize,
    pub connection: Option<Connection>,
    /// places of the window that are taken
    pub used: usize,
    pub alarm: bool,
    pub written: u64,
    pub enqueued: u64,
    pub dropped: u64,
    pub last_first: HashMap<(u8, QoS), u32>,
    pub durable: bool,
    /// after a crash, until all that waited then is gone: bounds are not known exactly
    pub loose: bool,
    /// for the store
    pub records: Vec<Record>,
    /// a page that was asked for
    pub wanted: Option<(u64, u64, usize)>,
    /// identifiers of those in flight whose bodies cannot be read
    pub unread: Vec<u16>,
    /// the delivery that is given to the session
    pub incoming: Option<u32>,
    // of one call
    pub call: Call,
    pub now: u64,
    pub out: Vec<ToClient>,
    refused: Vec<u32>,
    pub acked: Vec<Arc<Message>>,
    pub rels: Vec<(u16, ReasonCode)>,
    /// PUBRELs owed for QoS 2 messages that became too large to be sent again
    pub rels_owed: Vec<u16>,
    pub given_up: Vec<(u16, Arc<Message>)>,
}

impl Ledger {
    pub fn new(limits: Arc<Limits>) -> Ledger {
        Ledger {
            limits,
            entries: Vec::new(),
            flights: Vec::new(),
            lanes: BTreeMap::new(),
            queued: 0,
            queued_qos0: 0,
            bytes: 0,
            connection: None,
            used: 0,
            alarm: false,
            written: 0,
            enqueued: 0,
            dropped: 0,
            last_first: HashMap::new(),
            durable: false,
            loose: false,
            records: Vec::new(),
            wanted: None,
            unread: Vec::new(),
            incoming: None,
            call: Call::Send,
            now: 0,
            out: Vec::new(),
            refused: Vec::new(),
            acked: Vec::new(),
            rels: Vec::new(),
            rels_owed: Vec::new(),
            given_up: Vec::new(),
        }
    }

    pub fn begin(&mut self, call: Call, now: u64) {
        self.call = call;
        self.now = now;
        self.out.clear();
        self.acked.clear();
        self.rels.clear();
        self.rels_owed.clear();
        self.given_up.clear();
    }

    pub fn end(&self) {
        assert!(
            self.refused.is_empty(),
            "too large and not told: {:?}",
            self.refused
        );
        for flight in &self.flights {
            let entry = &self.entries[flight.num as usize - 1];
            let told = entry.seq != 0 || (self.durable && entry.qos == QoS::ExactlyOnce);
            assert_eq!(flight.recorded, told, "{} is told to be sent", flight.id);
        }
    }

    pub fn entry(&mut self, num: u32) -> &mut Entry {
        &mut self.entries[num as usize - 1]
    }

    pub fn own_window(&self) -> usize {
        match self.limits.max_inflight {
            0 => usize::from(u16::MAX) - 1,
            most => usize::from(most),
        }
    }

    pub fn flight(&self, id: u16) -> Option<usize> {
        self.flights.iter().position(|flight| flight.id == id)
    }

    /// Takes a flight out and its place with it.
    pub fn land(&mut self, at: usize) -> Flight {
        let flight = self.flights.remove(at);
        self.used -= usize::from(flight.here);
        flight
    }

    /// Something of an earlier connection still waits to be sent again.
    pub fn holds(&self) -> bool {
        self.flights
            .iter()
            .any(|flight| !flight.released && !flight.here)
    }

    pub fn enqueue(&mut self, num: u32) {
        let entry = self.entry(num);
        assert_eq!(entry.state, State::New, "delivery {num} queued");
        entry.state = State::Queued;
        let (level, size, qos) = (entry.level, entry.message.size(), entry.qos);
        self.lanes.entry(level).or_default().push_back(num);
        self.queued += 1;
        self.queued_qos0 += usize::from(qos == QoS::AtMostOnce);
        self.bytes += size;
    }

    /// Takes a delivery out of the queue if it is there; returns how many of its lane and kind were before it.
    pub fn leave_queue(&mut self, num: u32) -> usize {
        let entry = self.entry(num);
        if entry.state == State::New {
            return 0;
        }
        assert_eq!(
            entry.state,
            State::Queued,
            "delivery {num} is taken from the queue"
        );
        let (level, size, qos) = (entry.level, entry.message.size(), entry.qos);
        let lane = self
            .lanes
            .get_mut(&level)
            .expect("a queued delivery has a lane");
        let at = lane
            .iter()
            .position(|other| *other == num)
            .expect("it stands in its lane");
        lane.remove(at);
        let before: Vec<u32> = lane.iter().take(at).copied().collect();
        self.queued -= 1;
        self.queued_qos0 -= usize::from(qos == QoS::AtMostOnce);
        self.bytes -= size;
        if !self.durable {
            return at;
        }
        // Those on disk are not dropped before what is in memory.
        let kind = self.entry(num).kind();
        before
            .into_iter()
            .filter(|other| self.entry(*other).kind() == kind)
            .count()
    }

    /// A delivery is written for the first time.
    fn first(&mut self, num: u32) {
        let now = self.now;
        let entry = self.entry(num);
        assert!(
            !entry.message.expired(now),
            "delivery {num} had expired [MQTT-3.3.2-5]"
        );
        let (qos, level, state) = (entry.qos, entry.level, entry.state);
        let class = entry.class;
        let last = self.last_first.entry((class, qos)).or_default();
        assert!(
            *last < num,
            "delivery {num} of {qos:?} written after {last} [MQTT-4.6.0-6]"
        );
        *last = num;
        if state == State::Queued && qos != QoS::AtMostOnce && !self.loose {
            let higher = self
                .lanes
                .range(level + 1..)
                .flat_map(|(_, lane)| lane)
                .copied();
            for other in higher.collect::<Vec<_>>() {
                assert_eq!(
                    self.entry(other).qos,
                    QoS::AtMostOnce,
                    "{num} goes before {other} of a higher level"
                );
            }
        }
        self.leave_queue(num);
    }

    fn again(&mut self, num: u32, id: u16) {
        let at = self
            .flight(id)
            .unwrap_or_else(|| panic!("DUP under {id}, which is not in use"));
        let flight = &self.flights[at];
        assert_eq!(
            flight.num, num,
            "identifier {id} is another's [MQTT-2.2.1-3]"
        );
        assert!(
            !flight.released,
            "PUBLISH {id} after its PUBREC [MQTT-4.3.3-6]"
        );
        let version = self.connection.expect("written to a connection").version;
        match self.call {
            Call::Resume | Call::Ack | Call::Page => {
                assert!(
                    !flight.here,
                    "{id} sent again on the same connection [MQTT-4.4.0-1]"
                );
                let settled = |f: &Flight| f.released || f.here || self.refused.contains(&f.num);
                assert!(
                    self.flights[..at].iter().all(settled),
                    "{id} sent again before an older one [MQTT-4.6.0-1]"
                );
                self.used += 1;
            }
            Call::Timer => {
                assert_ne!(
                    version,
                    Version::V5,
                    "{id} sent again on the same connection [MQTT-4.4.0-1]"
                );
                assert!(
                    flight.here,
                    "the timer sends {id}, which has no place in the window"
                );
                assert!(
                    flight.sent_at + self.limits.retry_interval <= self.now,
                    "{id} sent again too early"
                );
            }
            Call::Send => panic!("a delivery made {id} be sent again"),
        }
        let now = self.now;
        let flight = &mut self.flights[at];
        flight.here = true;
        flight.sent_at = now;
    }
}

impl Sink for Ledger {
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        let connection = self.connection.expect("a PUBLISH needs a connection");
        let num = delivery.sub_id;
        let entry = self.entry(num);
        assert!(
            Arc::ptr_eq(&entry.message, &delivery.message) && entry.qos == delivery.qos,
            "delivery {num} changed"
        );
        let (qos, level) = (entry.qos, entry.class);
        assert_eq!(entry.seq, delivery.seq, "number of delivery {num}");
        assert_eq!(entry.group, delivery.group.is_some());
        assert_eq!(
            qos == QoS::AtMostOnce,
            id == 0,
            "identifier {id} at {qos:?} [MQTT-2.2.1-2]"
        );
        assert!(
            !dup || qos != QoS::AtMostOnce,
            "DUP at QoS 0 [MQTT-3.3.1-2]"
        );
        if delivery.message.size() > connection.max_packet {
            self.refused.push(num);
            return false;
        }
        if dup {
            self.again(num, id);
        } else {
            self.first(num);
            if qos == QoS::AtMostOnce {
                self.entry(num).state = State::Written;
            } else {
                assert!(
                    self.flight(id).is_none(),
                    "identifier {id} is in use [MQTT-2.2.1-3]"
                );
                assert!(
                    !self.holds(),
                    "{num} passes by what an earlier connection sent [MQTT-4.6.0-1]"
                );
                self.entry(num).state = State::Flying;
                self.flights.push(Flight {
                    id,
                    num,
                    released: false,
                    here: true,
                    sent_at: self.now,
                    loaded: true,
                    recorded: false,
                });
                self.used += 1;
                assert!(
                    self.flights.len() <= self.own_window(),
                    "more in flight than max_inflight"
                );
            }
        }
        assert!(
            self.used <= connection.window,
            "{} in a window of {} [MQTT-3.3.4-9]",
            self.used,
            connection.window
        );
        self.written += 1;
        self.out.push(ToClient::Publish {
            num,
            level,
            qos,
            id,
            dup,
        });
        true
    }

    fn pubrel(&mut self, id: u16, reason: ReasonCode) {
        assert!(self.connection.is_some(), "a PUBREL needs a connection");
        self.rels.push((id, reason));
        self.out.push(ToClient::PubRel { id, reason });
    }

    fn record(&mut self, change: Change<'_>) {
        assert!(self.durable, "{change:?} of a session without a store");
        let record = match change {
            Change::Sent { id, delivery } => {
                let key = self.entry(delivery.sub_id).key();
                assert_eq!(key.1, delivery.seq);
                let at = self.flight(id).expect("it was written before");
                let flight = &mut self.flights[at];
                assert!(!flight.recorded && flight.num == delivery.sub_id);
                flight.recorded = true;
                Record::Sent {
                    id,
                    owner: key.0,
                    seq: key.1,
                    num: delivery.sub_id,
                }
            }
            Change::Released { id, delivery } => {
                assert_eq!(delivery.is_none(), self.unread.contains(&id), "{change:?}");
                Record::Released { id }
            }
            Change::Completed { id, .. } => Record::Completed { id },
            Change::Done { delivery } => {
                let (owner, seq) = self.entry(delivery.sub_id).key();
                assert_eq!(seq, delivery.seq);
                Record::Done { owner, seq }
            }
        };
        self.records.push(record);
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Acked(message) => self.acked.push(message),
            Effect::Dropped(delivery, why) => self.on_dropped(&delivery, why),
            Effect::Expired(delivery) => {
                assert!(
                    delivery.message.expired(self.now),
                    "delivery {} had not expired",
                    delivery.sub_id
                );
                self.leave_queue(delivery.sub_id);
                self.entry(delivery.sub_id).state = State::Expired;
            }
            Effect::TooLarge(delivery) => self.on_too_large(&delivery),
            Effect::QueueHigh(len) => {
                assert!(!self.alarm, "the alarm is set twice");
                let limits = &self.limits.queue;
                assert!(
                    len * 100 > limits.max_length * usize::from(limits.high_watermark),
                    "alarm at {len}"
                );
                self.alarm = true;
            }
            Effect::QueueLow => {
                assert!(self.alarm, "an alarm is cleared that was not set");
                self.alarm = false;
            }
            Effect::AwaitRelTimeout(id, message) => self.given_up.push((id, message)),
            Effect::WantPage { from, to, most } => {
                assert!(self.durable && from < to && most > 0);
                assert_eq!(self.wanted, None, "a page is asked for twice");
                self.wanted = Some((from, to, most));
            }
        }
    }
}

impl Ledger {
    fn on_dropped(&mut self, delivery: &Delivery, why: Dropped) {
        let num = delivery.sub_id;
        let incoming = match self.call {
            Call::Page => None,
            call => {
                assert_eq!(call, Call::Send, "{num} dropped although nothing came");
                self.incoming
            }
        };
        let sized = self.entry(incoming.unwrap_or(num));
        let (level, qos) = (sized.level, sized.qos);
        let (one, size) = match incoming {
            Some(_) => (1, sized.message.size()),
            None => (0, 0),
        };
        let limits = &self.limits.queue;
        match why {
            Dropped::QoS0 => assert!(
                qos == QoS::AtMostOnce && !limits.store_qos0,
                "{num} dropped as QoS 0"
            ),
            Dropped::Cleared => panic!("{num} dropped though nobody has cleared the queue"),
            Dropped::Full => {
                let lane = self.lanes.get(&level).map_or(0, VecDeque::len);
                let long = limits.max_length > 0 && lane + one > limits.max_length;
                let big = limits.max_bytes > 0 && self.bytes + size > limits.max_bytes;
                assert!(
                    long || big || self.loose,
                    "{num} dropped from a queue that is not full"
                );
                let loose = self.loose;
                let dropped = self.entry(num);
                assert!(
                    dropped.level <= level || long || loose,
                    "{num} pays for one of a lower level"
                );
                self.dropped += 1;
            }
        }
        let before = self.leave_queue(num);
        assert!(
            before == 0 || self.loose,
            "{num} was not the oldest of its lane"
        );
        self.entry(num).state = State::Dropped;
    }

    fn on_too_large(&mut self, delivery: &Delivery) {
        let num = delivery.sub_id;
        let at = self.refused.iter().position(|other| *other == num);
        self.refused
            .remove(at.unwrap_or_else(|| panic!("{num} is told to be too large and is not")));
        match self.entry(num).state {
            State::Flying => {
                let at = self
                    .flights
                    .iter()
                    .position(|flight| flight.num == num)
                    .expect("it is in flight");
                assert!(
                    !self.flights[at].here,
                    "{num} was written and is now too large"
                );
                if delivery.qos == QoS::ExactlyOnce {
                    // The client may hold its identifier: it is free only after PUBCOMP.
                    self.flights[at].released = true;
                    self.flights[at].sent_at = self.now;
                    self.rels_owed.push(self.flights[at].id);
                } else {
                    self.land(at);
                }
            }
            _ => {
                self.leave_queue(num);
            }
        }
        self.entry(num).state = State::TooLarge;
    }
}
