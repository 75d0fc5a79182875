//! A durable session: what waits beyond a little in memory lies on disk, and is read when there is room.

use super::{Sent, Session};
use crate::backlog::Backlog;
use crate::message::Delivery;
use crate::queue::{Dropped, RAM_ONLINE};
use crate::sink::{Effect, Sink, record_done};
use std::sync::Arc;

impl Session {
    /// Whether what waits may lie on disk. Only stored deliveries ([`Delivery::seq`]) do.
    pub fn set_durable(&mut self, durable: bool) {
        self.durable = durable;
    }

    /// Whether what waits may lie on disk.
    pub fn durable(&self) -> bool {
        self.durable
    }

    /// The client has lost rights ([`Session::revoke`]) while messages lay on disk: the caller is to leave
    /// out of pages, and of bodies in flight, what the client may not have, and to record that as done.
    pub fn filters_backlog(&self) -> bool {
        self.flows
            .as_ref()
            .and_then(|flows| flows.backlog.as_ref())
            .is_some_and(|backlog| backlog.filter)
    }

    /// Asks that pages be filtered, as [`Session::revoke`] does.
    pub fn filter_backlog(&mut self) {
        if let Some(backlog) = self.flows.as_mut().and_then(|flows| flows.backlog.as_mut()) {
            backlog.filter = true;
        }
    }

    /// Whether a stored delivery that has to wait is only counted: there is enough in memory, or older ones
    /// are on disk. What came through a shared group has its number from there and stays in memory.
    pub(super) fn waits_on_disk(&self, delivery: &Delivery) -> bool {
        if delivery.group.is_some() {
            return false;
        }
        let Some(flows) = &self.flows else {
            return false;
        };
        let queue = &self.limits.queue;
        flows.backlog.as_ref().is_some_and(|b| !b.is_empty())
            || (self.durable
                && queue.priorities.is_none()
                && flows.queue.acknowledged_len() >= queue.ram_most(self.online))
    }

    /// Counts a delivery that is on disk. The oldest in memory makes way for it.
    pub(super) fn count(&mut self, delivery: Delivery, sink: &mut impl Sink) -> Sent {
        let size = delivery.message.size();
        let limits = &self.limits.queue;
        self.enqueued += 1;
        if limits.max_bytes > 0 && size > limits.max_bytes {
            self.dropped += 1;
            record_done(sink, &delivery);
            sink.effect(Effect::Dropped(delivery, Dropped::Full));
            return Sent::Gone;
        }
        let flows = self.flows();
        flows
            .backlog
            .get_or_insert_default()
            .count(delivery.seq, size);
        drop(delivery);
        self.trim(sink);
        self.queue_changed(sink);
        Sent::Queued
    }

    /// Drops the oldest in memory while there is more than the queue may hold. With priorities each lane
    /// has its own bound, which holds for what is in memory.
    fn trim(&mut self, sink: &mut impl Sink) {
        if self.limits.queue.priorities.is_some() {
            return;
        }
        let Some(flows) = &mut self.flows else { return };
        let beside = flows.beside();
        while self
            .limits
            .queue
            .exceeded(flows.queue.len() + beside.0, flows.queue.bytes() + beside.1)
        {
            let Some(oldest) = flows.queue.pop() else {
                break;
            };
            self.dropped += 1;
            record_done(sink, &oldest);
            sink.effect(Effect::Dropped(oldest, Dropped::Full));
        }
    }

    /// Asks for the next of what is on disk: when there is a connection and little is left in memory, or
    /// when there is too much, of which only what has been read can be dropped.
    pub(super) fn want_page(&mut self, sink: &mut impl Sink) {
        let Some(flows) = &mut self.flows else { return };
        let (queue, limits) = (&flows.queue, &self.limits.queue);
        let Some(backlog) = &mut flows.backlog else {
            return;
        };
        if backlog.loading() || backlog.is_empty() {
            return;
        }
        let all = limits.priorities.is_some();
        let most = limits.ram_most(self.online);
        let held = queue.acknowledged_len();
        let sends = self.online && (all || held <= most / 2);
        // All of memory was dropped before it could come to that.
        let exceeded =
            limits.exceeded(queue.len() + backlog.len(), queue.bytes() + backlog.bytes());
        if !sends && !exceeded && !backlog.clearing() {
            return;
        }
        let most = match backlog.clearing() {
            // Nothing of it stays.
            true => RAM_ONLINE,
            false if all => most,
            false => most - held.min(most - 1),
        };
        if let Some((from, to)) = backlog.ask() {
            sink.effect(Effect::WantPage { from, to, most });
        }
    }

    /// What was read for an [`Effect::WantPage`], in order of the numbers; `next` is where reading goes on,
    /// `None` when there is nothing more below the asked end.
    pub fn page(
        &mut self,
        deliveries: Vec<Delivery>,
        next: Option<u64>,
        now: u64,
        sink: &mut impl Sink,
    ) {
        let limits = Arc::clone(&self.limits);
        let Some(flows) = &mut self.flows else { return };
        let Some(backlog) = flows.backlog.as_mut().filter(|backlog| backlog.loading()) else {
            return;
        };
        for delivery in deliveries {
            if !backlog.take(delivery.seq, delivery.message.size()) {
                continue;
            }
            if delivery.message.expired(now) {
                record_done(sink, &delivery);
                sink.effect(Effect::Expired(delivery));
            } else if backlog.drops(delivery.seq) {
                record_done(sink, &delivery);
                sink.effect(Effect::Dropped(delivery, Dropped::Cleared));
            } else if limits.queue.priorities.is_none() {
                flows.queue.push_counted(delivery, &limits.queue);
            } else {
                let dropped = &mut self.dropped;
                flows
                    .queue
                    .push(delivery, &limits.queue, (0, 0), |delivery, why| {
                        *dropped += u64::from(why == Dropped::Full);
                        record_done(sink, &delivery);
                        sink.effect(Effect::Dropped(delivery, why));
                    });
            }
        }
        backlog.read_to(next);
        self.forget_empty_backlog();
        self.trim(sink);
        if self.online {
            self.drain(now, sink);
        }
        self.queue_changed(sink);
    }

    pub(super) fn forget_empty_backlog(&mut self) {
        let done = |backlog: &&mut Box<Backlog>| backlog.is_empty() && !backlog.unloaded;
        if let Some(flows) = &mut self.flows
            && flows.backlog.as_mut().filter(done).is_some()
        {
            flows.backlog = None;
        }
    }
}
