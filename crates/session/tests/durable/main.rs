//! Single cases of a durable session: what it tells the store, what it leaves on disk, how it comes back.

#![allow(clippy::unwrap_used, missing_docs)]

use emqttd_mqtt::{QoS, ReasonCode, Version};
use emqttd_session::{
    Ack, Change, Delivery, Dropped, Effect, GroupRef, Inbound, Limits, Message, MessageParts,
    QueueLimits, Restored, RestoredFlight, Sent, Session, Sink,
};
use std::sync::Arc;

mod backlog;
mod restart;
mod told;

const GROUP: GroupRef = GroupRef(9);

/// A record, with the number of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Sent(u16, u64),
    Released(u16, Option<u64>),
    Completed(u16, Option<u64>),
    Done(u64),
}

#[derive(Default)]
struct Wire {
    max_packet: Option<usize>,
    /// number, identifier, DUP
    published: Vec<(u64, u16, bool)>,
    rels: Vec<u16>,
    effects: Vec<Effect>,
    told: Vec<Told>,
}

impl Wire {
    /// The pages that were asked for.
    fn pages(&mut self) -> Vec<(u64, u64, usize)> {
        let pages = self.effects.iter().filter_map(|effect| match effect {
            Effect::WantPage { from, to, most } => Some((*from, *to, *most)),
            _ => None,
        });
        let pages = pages.collect();
        self.effects
            .retain(|effect| !matches!(effect, Effect::WantPage { .. }));
        pages
    }

    fn numbers(&self) -> Vec<u64> {
        self.published.iter().map(|(seq, ..)| *seq).collect()
    }
}

impl Sink for Wire {
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        let fits = self
            .max_packet
            .is_none_or(|most| delivery.message.size() <= most);
        if fits {
            self.published.push((delivery.seq, id, dup));
        }
        fits
    }

    fn pubrel(&mut self, id: u16, _: ReasonCode) {
        self.rels.push(id);
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn record(&mut self, change: Change<'_>) {
        self.told.push(match change {
            Change::Sent { id, delivery } => Told::Sent(id, delivery.seq),
            Change::Released { id, delivery } => Told::Released(id, delivery.map(|d| d.seq)),
            Change::Completed { id, delivery } => Told::Completed(id, delivery.map(|d| d.seq)),
            Change::Done { delivery } => Told::Done(delivery.seq),
        });
    }
}

fn message(size: usize, expires_at: u64) -> Arc<Message> {
    let payload = vec![0; size - 1];
    let parts = MessageParts {
        topic: "t",
        properties: &[],
        payload: &payload,
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    Arc::new(Message::new(parts, None, 0, expires_at))
}

/// A stored delivery of ten bytes.
fn stored(seq: u64, qos: QoS) -> Delivery {
    let mut delivery = Delivery::new(message(10, u64::MAX), qos);
    delivery.seq = seq;
    delivery
}

fn page(seqs: impl IntoIterator<Item = u64>) -> Vec<Delivery> {
    seqs.into_iter()
        .map(|seq| stored(seq, QoS::AtLeastOnce))
        .collect()
}

fn limits(max_inflight: u16, queue: QueueLimits) -> Arc<Limits> {
    Arc::new(Limits {
        max_inflight,
        queue,
        ..Limits::default()
    })
}

/// Four stored messages may wait in memory.
fn few(queue: QueueLimits) -> QueueLimits {
    QueueLimits {
        ram_most: 4,
        ..queue
    }
}

fn durable(max_inflight: u16, queue: QueueLimits) -> Session {
    let mut session = Session::new(limits(max_inflight, few(queue)));
    session.set_durable(true);
    session
}

fn send(session: &mut Session, seqs: impl IntoIterator<Item = u64>, wire: &mut Wire) {
    for seq in seqs {
        session.send(stored(seq, QoS::AtLeastOnce), 0, wire);
    }
}

fn connect(session: &mut Session, wire: &mut Wire) {
    session.detach();
    session.attach(Version::V5, 65_535, 0);
    session.resume(0, wire);
}

fn flight(id: u16, seq: u64) -> RestoredFlight {
    RestoredFlight {
        id,
        released: false,
        seq,
        group: None,
    }
}

fn restored(in_flight: Vec<RestoredFlight>, front: u64, next: u64, owed: usize) -> Restored {
    Restored {
        version: Version::V5,
        last_id: 7,
        in_flight,
        front,
        next,
        owed,
        bytes: owed * 10,
        awaiting: Vec::new(),
    }
}
