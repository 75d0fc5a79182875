//! The session machine.

use crate::flows::{Again, Flows, Inflight, Stage};
use crate::message::Delivery;
use crate::queue::{Dropped, QueueLimits};
use crate::sink::{Change, Effect, Sink, record_done};
use crate::subscriptions::Subscriptions;
use emqttd_mqtt::{QoS, ReasonCode, Version};
use std::sync::Arc;

mod acks;
mod end;
mod inbound;
mod look;
mod restore;
mod stored;
mod timers;

pub use acks::Ack;
pub use end::Owed;
pub use inbound::Inbound;
pub use look::InFlight;
pub use restore::{Restored, RestoredFlight};

/// Limits under which a session works; shared by all that were made under the same settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// window of unacknowledged QoS 1 and 2 messages; 0 = as many as there are identifiers
    pub max_inflight: u16,
    /// milliseconds after which 3.x clients are sent an unacknowledged message again; 0 = never
    pub retry_interval: u64,
    /// inbound QoS 2 messages that may wait for PUBREL; 0 = as many as there are identifiers
    pub max_awaiting_rel: u16,
    /// milliseconds after which a 3.x client's is given up; 0 = never
    pub await_rel_timeout: u64,
    /// bounds of the queue
    pub queue: QueueLimits,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was written.
    Now,
    /// It waits.
    Queued,
    /// It is gone; the reason went to [`Sink::effect`].
    Gone,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// what it is subscribed to
    pub subscriptions: Subscriptions,
    limits: Arc<Limits>,
    flows: Option<Box<Flows>>,
    /// PUBLISH packets written, retransmissions included
    pub delivered: u64,
    /// messages that were queued
    pub enqueued: u64,
    /// messages dropped because the queue was full
    pub dropped: u64,
    window: u16,
    /// identifier given out last, while there are no flows
    last_id: u16,
    version: Version,
    online: bool,
    durable: bool,
}

/// One fewer than there are identifiers, so that a free one can always be found.
const MOST_INFLIGHT: u16 = u16::MAX - 1;

impl Session {
    /// A new session, offline.
    pub fn new(limits: Arc<Limits>) -> Session {
        Session {
            subscriptions: Subscriptions::default(),
            limits,
            flows: None,
            delivered: 0,
            enqueued: 0,
            dropped: 0,
            window: 0,
            last_id: 0,
            version: Version::V311,
            online: false,
            durable: false,
        }
    }

    /// Puts a connection behind the session. `receive_maximum` is the client's [MQTT-3.3.4-9]
    /// (65,535 for 3.x). Nothing is sent before [`Session::resume`].
    pub fn attach(&mut self, version: Version, receive_maximum: u16, now: u64) {
        self.window = self.own_window().min(receive_maximum).max(1);
        self.version = version;
        self.online = true;
        if let Some(flows) = &mut self.flows {
            // The time offline does not count against a client that could not send its PUBREL.
            for (_, awaiting) in flows.awaiting.iter_mut() {
                awaiting.since = now;
                awaiting.old = true;
            }
        }
        self.arm_await(now);
    }

    /// Takes the connection away.
    pub fn detach(&mut self) {
        self.online = false;
        if let Some(backlog) = self.flows.as_mut().and_then(|flows| flows.backlog.as_mut()) {
            backlog.resume_due = false;
        }
        if self.flows.as_ref().is_some_and(|flows| flows.is_empty()) {
            // Identifiers go on where they were (sheet 7.6), also over a reconnection.
            self.last_id = self
                .flows
                .take()
                .map_or(self.last_id, |flows| flows.last_id);
        }
    }

    /// A connection is attached.
    pub fn online(&self) -> bool {
        self.online
    }

    /// Protocol version of the connection, or of the last one.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The window in force, as configured (0 = no limit).
    pub fn max_inflight(&self) -> u16 {
        self.limits.max_inflight
    }

    /// Outbound messages not yet finished.
    pub fn inflight_len(&self) -> usize {
        self.flows.as_ref().map_or(0, |flows| flows.inflight.len())
    }

    /// Messages waiting, in memory and on disk.
    pub fn queue_len(&self) -> usize {
        self.flows
            .as_ref()
            .map_or(0, |flows| flows.queue.len() + flows.beside().0)
    }

    /// Messages waiting in memory.
    pub fn queue_len_in_memory(&self) -> usize {
        self.flows.as_ref().map_or(0, |flows| flows.queue.len())
    }

    /// Bytes of those, each message counted as if this session alone held it.
    pub fn queue_bytes_in_memory(&self) -> usize {
        self.flows.as_ref().map_or(0, |flows| flows.queue.bytes())
    }

    /// Bytes of messages in flight, in both directions, counted likewise.
    pub fn inflight_bytes(&self) -> usize {
        self.flows
            .as_ref()
            .map_or(0, |flows| flows.bytes_in_flight())
    }

    /// Bytes waiting, in memory and on disk.
    pub fn queue_bytes(&self) -> usize {
        self.flows
            .as_ref()
            .map_or(0, |flows| flows.queue.bytes() + flows.beside().1)
    }

    /// Whether a QoS 1 or 2 message given to [`Session::send`] now would be written at once.
    pub fn has_room(&self) -> bool {
        self.online
            && self.flows.as_ref().is_none_or(|flows| {
                self.has_place(flows) && flows.queue.is_empty() && flows.backlog.is_none()
            })
    }

    /// Whether one more message may be in flight: the client takes it, no older one waits for a place, and
    /// with those released on earlier connections, which do not count against the client's window, they
    /// are not more than the settings allow.
    fn has_place(&self, flows: &Flows) -> bool {
        flows.used < self.window
            && flows.held.is_empty()
            && flows.inflight.len() < usize::from(self.own_window())
            && !flows.unloaded()
    }

    /// The window of the settings.
    fn own_window(&self) -> u16 {
        match self.limits.max_inflight {
            0 => MOST_INFLIGHT,
            most => most.min(MOST_INFLIGHT),
        }
    }

    fn flows(&mut self) -> &mut Flows {
        flows_of(&mut self.flows, self.last_id)
    }

    /// Sends again what an earlier connection left unfinished, in its order and under its identifiers
    /// [MQTT-4.4.0-1], [MQTT-4.6.0-1], then what waited. The window begins anew [MQTT-4.9.0-1].
    pub fn resume(&mut self, now: u64, sink: &mut impl Sink) {
        let Some(flows) = &mut self.flows else { return };
        flows.used = 0;
        flows.held.clear();
        if let Some(backlog) = flows.backlog.as_mut().filter(|backlog| backlog.unloaded) {
            // Goes on in `loaded_in_flight`; only QoS 0 need not wait for that.
            backlog.resume_due = true;
            return self.drain(now, sink);
        }
        let mut ended = Vec::new();
        for (id, entry) in flows.inflight.iter_mut() {
            entry.counted = false;
            match &entry.stage {
                Stage::Released => {
                    entry.sent_at = now;
                    sink.pubrel(id, ReasonCode::SUCCESS);
                }
                Stage::Unloaded { .. } => {}
                Stage::Published(_) if flows.used >= self.window => flows.held.push_back(id),
                Stage::Published(_) => match entry.send_again(id, now, sink) {
                    Again::Written => {
                        self.delivered += 1;
                        flows.used += 1;
                    }
                    Again::Released => {}
                    Again::Ended => ended.push(id),
                },
            }
        }
        for id in ended {
            flows.inflight.remove(id);
        }
        self.arm_retry(now);
        self.drain(now, sink);
    }

    /// Delivers a message: writes it if there is a connection and room, else queues it.
    pub fn send(&mut self, delivery: Delivery, now: u64, sink: &mut impl Sink) -> Sent {
        if delivery.message.expired(now) {
            record_done(sink, &delivery);
            sink.effect(Effect::Expired(delivery));
            return Sent::Gone;
        }
        if self.online && delivery.qos == QoS::AtMostOnce {
            // Passes by what waits: order holds among messages of the same QoS only [MQTT-4.6.0-6].
            return self.write_qos0(delivery, sink);
        }
        if self.has_room() {
            return self.write(delivery, now, sink);
        }
        self.enqueue(delivery, sink)
    }

    fn enqueue(&mut self, delivery: Delivery, sink: &mut impl Sink) -> Sent {
        if delivery.seq != 0 && self.waits_on_disk(&delivery) {
            return self.count(delivery, sink);
        }
        let limits = &self.limits.queue;
        let flows = flows_of(&mut self.flows, self.last_id);
        let beside = match &flows.backlog {
            Some(_) if limits.priorities.is_none() => flows.beside(),
            _ => (0, 0),
        };
        let mut full = 0;
        let queued = flows.queue.push(delivery, limits, beside, |delivery, why| {
            full += u64::from(why == Dropped::Full);
            record_done(sink, &delivery);
            sink.effect(Effect::Dropped(delivery, why));
        });
        self.enqueued += 1;
        self.dropped += full;
        match flows.queue.watermark(limits, beside.0) {
            Some(true) => sink.effect(Effect::QueueHigh(flows.queue.len() + beside.0)),
            Some(false) => sink.effect(Effect::QueueLow),
            None => {}
        }
        if flows.backlog.is_some() {
            self.want_page(sink);
        }
        if queued { Sent::Queued } else { Sent::Gone }
    }

    /// Sets or clears the alarm, and asks for more of what is on disk.
    fn queue_changed(&mut self, sink: &mut impl Sink) {
        let Some(flows) = &mut self.flows else { return };
        let beside = flows.beside().0;
        match flows.queue.watermark(&self.limits.queue, beside) {
            Some(true) => sink.effect(Effect::QueueHigh(flows.queue.len() + beside)),
            Some(false) => sink.effect(Effect::QueueLow),
            None => {}
        }
        if flows.backlog.is_some() {
            self.want_page(sink);
        }
    }

    fn write_qos0(&mut self, delivery: Delivery, sink: &mut impl Sink) -> Sent {
        if sink.publish(&delivery, 0, false) {
            self.delivered += 1;
            return Sent::Now;
        }
        sink.effect(Effect::TooLarge(delivery));
        Sent::Gone
    }

    /// Sends a QoS 1 or 2 message under a new identifier; the caller has seen that there is room.
    fn write(&mut self, delivery: Delivery, now: u64, sink: &mut impl Sink) -> Sent {
        let flows = flows_of(&mut self.flows, self.last_id);
        let id = flows.next_id();
        if !sink.publish(&delivery, id, false) {
            flows.unused_id(id);
            record_done(sink, &delivery);
            sink.effect(Effect::TooLarge(delivery));
            return Sent::Gone;
        }
        self.delivered += 1;
        flows.used += 1;
        // The client keeps an identifier used at QoS 2 over a restart of the broker, whether the message was
        // stored or not: a forgotten one would be given to another message, which it would not take.
        let recorded = delivery.seq != 0 || (self.durable && delivery.qos == QoS::ExactlyOnce);
        if recorded {
            let delivery = &delivery;
            sink.record(Change::Sent { id, delivery });
        }
        flows.inflight.push(
            id,
            Inflight {
                stage: Stage::Published(delivery),
                sent_at: now,
                counted: true,
                recorded,
            },
        );
        if flows.retry_at.is_none() {
            self.arm_retry(now);
        }
        Sent::Now
    }

    /// Fills the window: first what an earlier connection sent, then the queue.
    fn drain(&mut self, now: u64, sink: &mut impl Sink) {
        if !self.online {
            return;
        }
        self.drain_held(now, sink);
        let mut popped = false;
        while let Some(flows) = &self.flows {
            let Some(next) = flows.queue.front() else {
                break;
            };
            if next.qos != QoS::AtMostOnce && !self.has_place(flows) {
                break;
            }
            let Some(delivery) = self.flows().queue.pop() else {
                break;
            };
            popped = true;
            self.write_queued(delivery, now, sink);
        }
        // Order holds among messages of the same QoS: those that will be sent at QoS 0 pass by what waits,
        // so none of QoS 0 may wait behind others [MQTT-4.6.0-6].
        let rest = match &mut self.flows {
            Some(flows) => flows.queue.take_qos0(),
            None => Vec::new(),
        };
        popped |= !rest.is_empty();
        for delivery in rest {
            self.write_queued(delivery, now, sink);
        }
        if popped || self.flows.as_ref().is_some_and(|f| f.backlog.is_some()) {
            self.queue_changed(sink);
        }
    }

    fn write_queued(&mut self, delivery: Delivery, now: u64, sink: &mut impl Sink) {
        if delivery.message.expired(now) {
            record_done(sink, &delivery);
            sink.effect(Effect::Expired(delivery));
        } else if delivery.qos == QoS::AtMostOnce {
            self.write_qos0(delivery, sink);
        } else {
            self.write(delivery, now, sink);
        }
    }

    fn drain_held(&mut self, now: u64, sink: &mut impl Sink) {
        let Some(flows) = &mut self.flows else { return };
        while flows.used < self.window {
            let Some(id) = flows.held.pop_front() else {
                break;
            };
            let Some(entry) = flows.inflight.get_mut(id) else {
                continue;
            };
            if !matches!(entry.stage, Stage::Published(_)) {
                continue;
            }
            match entry.send_again(id, now, sink) {
                Again::Written => {
                    self.delivered += 1;
                    flows.used += 1;
                }
                Again::Released => {}
                Again::Ended => {
                    flows.inflight.remove(id);
                }
            }
        }
    }
}

/// The flows, which come to be with the first use.
fn flows_of(flows: &mut Option<Box<Flows>>, last_id: u16) -> &mut Flows {
    flows.get_or_insert_with(|| {
        Box::new(Flows {
            last_id,
            ..Flows::default()
        })
    })
}
