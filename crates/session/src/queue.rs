//! Messages that wait: for the client to come back, or for room in the window.

use crate::message::{Delivery, Message};
use emqttd_mqtt::QoS;
use std::collections::VecDeque;
use std::sync::Arc;

/// Stored messages that a durable session holds in memory while its client is connected: enough to be sent
/// while the next are read.
pub const RAM_ONLINE: usize = 256;
/// And while it is not: most clients that are away are away for long.
pub const RAM_OFFLINE: usize = 16;

/// Bounds of a queue, shared by all sessions made under the same settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// messages; 0 = no limit; with priorities it holds for each level
    pub max_length: usize,
    /// bytes of topics, properties and payloads; 0 = no limit
    pub max_bytes: usize,
    /// keep QoS 0 messages too
    pub store_qos0: bool,
    /// exact topic names with their priority; `None` = one lane for all
    pub priorities: Option<Arc<Vec<(String, u8)>>>,
    /// percent of `max_length` above which the alarm is set; 0 = never
    pub high_watermark: u8,
    /// percent of `max_length` below which it is cleared
    pub low_watermark: u8,
    /// stored messages that a durable session holds in memory; 0 = [`RAM_ONLINE`], [`RAM_OFFLINE`]
    pub ram_most: usize,
}

impl QueueLimits {
    /// Stored messages that a durable session holds in memory.
    pub(crate) fn ram_most(&self, online: bool) -> usize {
        match self.ram_most {
            0 if online => RAM_ONLINE,
            0 => RAM_OFFLINE,
            most => most,
        }
    }

    /// Whether so many messages of so many bytes are more than the queue may hold.
    pub(crate) fn exceeded(&self, len: usize, bytes: usize) -> bool {
        (self.max_length > 0 && len > self.max_length)
            || (self.max_bytes > 0 && bytes > self.max_bytes)
    }
}

/// Why a message left the queue, or never got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// the oldest went because the queue was full
    Full,
    /// QoS 0, and `store_qos0` is off
    QoS0,
    /// somebody wanted the queue to be empty: [`crate::Session::clear_backlog`]
    Cleared,
}

#[derive(Debug, Default)]
struct Lane {
    priority: u8,
    waiting: VecDeque<Delivery>,
}

/// First in, first out; with priorities, the higher level first.
#[derive(Debug, Default)]
pub struct Queue {
    /// in descending order of priority; one lane when there are no priorities
    lanes: Vec<Lane>,
    len: usize,
    bytes: usize,
    qos0: usize,
    above_high: bool,
}

impl Queue {
    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages waiting that are not of QoS 0.
    pub(crate) fn acknowledged_len(&self) -> usize {
        self.len - self.qos0
    }

    /// Adds a delivery. When a bound is reached the oldest of its lane goes, whatever its QoS
    /// (sheet 7.7); those are handed to `dropped`. `false` when the delivery itself is one of them.
    /// `beside` are messages and bytes that count as well and wait elsewhere.
    pub fn push(
        &mut self,
        delivery: Delivery,
        limits: &QueueLimits,
        beside: (usize, usize),
        mut dropped: impl FnMut(Delivery, Dropped),
    ) -> bool {
        if delivery.qos == QoS::AtMostOnce && !limits.store_qos0 {
            dropped(delivery, Dropped::QoS0);
            return false;
        }
        let size = delivery.message.size();
        if limits.max_bytes > 0 && size > limits.max_bytes {
            dropped(delivery, Dropped::Full);
            return false;
        }
        let at = self.lane(&delivery, limits);
        while self.lanes[at].waiting.len() + beside.0 >= limits.max_length && limits.max_length > 0
        {
            let Some(oldest) = self.pop_lane(at) else {
                break;
            };
            dropped(oldest, Dropped::Full);
        }
        while limits.max_bytes > 0 && self.bytes + beside.1 + size > limits.max_bytes {
            // The lowest priority pays first, and none pays for a lower one.
            let Some(from) = self
                .lanes
                .iter()
                .rposition(|lane| !lane.waiting.is_empty())
                .filter(|from| *from >= at)
            else {
                if beside.1 > 0 {
                    break;
                }
                dropped(delivery, Dropped::Full);
                return false;
            };
            let oldest = self
                .pop_lane(from)
                .expect("the lane was found not to be empty");
            dropped(oldest, Dropped::Full);
        }
        self.put(at, delivery);
        true
    }

    #[inline]
    fn put(&mut self, lane: usize, delivery: Delivery) {
        self.bytes += delivery.message.size();
        self.len += 1;
        self.qos0 += usize::from(delivery.qos == QoS::AtMostOnce);
        self.lanes[lane].waiting.push_back(delivery);
    }

    /// Adds a delivery that was counted before, whatever the bounds.
    pub(crate) fn push_counted(&mut self, delivery: Delivery, limits: &QueueLimits) {
        let at = self.lane(&delivery, limits);
        self.put(at, delivery);
    }

    fn lane(&mut self, delivery: &Delivery, limits: &QueueLimits) -> usize {
        let priority = limits.priorities.as_ref().map_or(0, |listed| {
            let topic = delivery.message.topic_bytes();
            listed
                .iter()
                .find(|(t, _)| t.as_bytes() == topic)
                .map_or(0, |(_, p)| *p)
        });
        match self
            .lanes
            .binary_search_by(|lane| priority.cmp(&lane.priority))
        {
            Ok(at) => at,
            Err(at) => {
                self.lanes.insert(
                    at,
                    Lane {
                        priority,
                        waiting: VecDeque::new(),
                    },
                );
                at
            }
        }
    }

    fn pop_lane(&mut self, at: usize) -> Option<Delivery> {
        let delivery = self.lanes[at].waiting.pop_front()?;
        self.len -= 1;
        self.bytes -= delivery.message.size();
        self.qos0 -= usize::from(delivery.qos == QoS::AtMostOnce);
        Some(delivery)
    }

    /// The next to be sent.
    pub fn pop(&mut self) -> Option<Delivery> {
        let at = self
            .lanes
            .iter()
            .position(|lane| !lane.waiting.is_empty())?;
        let delivery = self.pop_lane(at);
        if self.len == 0 {
            self.lanes = Vec::new();
        }
        delivery
    }

    /// All of them, in the order in which [`Queue::pop`] takes them.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.lanes.iter().flat_map(|lane| &lane.waiting)
    }

    /// What [`Queue::pop`] would take.
    pub fn front(&self) -> Option<&Delivery> {
        self.lanes.iter().find_map(|lane| lane.waiting.front())
    }

    /// Takes out all of QoS 0, in their order.
    pub fn take_qos0(&mut self) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(self.qos0);
        if self.qos0 == 0 {
            return taken;
        }
        for lane in &mut self.lanes {
            for delivery in std::mem::take(&mut lane.waiting) {
                if delivery.qos == QoS::AtMostOnce {
                    self.bytes -= delivery.message.size();
                    taken.push(delivery);
                } else {
                    lane.waiting.push_back(delivery);
                }
            }
        }
        self.len -= taken.len();
        self.qos0 = 0;
        taken
    }

    /// Keeps what `keep` wants and hands out the rest.
    pub fn retain(
        &mut self,
        keep: impl Fn(&Message) -> bool,
        mut dropped: impl FnMut(&Delivery),
    ) -> Vec<Arc<Message>> {
        let mut gone = Vec::new();
        for lane in &mut self.lanes {
            lane.waiting.retain(|delivery| {
                let kept = keep(&delivery.message);
                if !kept {
                    self.qos0 -= usize::from(delivery.qos == QoS::AtMostOnce);
                    dropped(delivery);
                    gone.push(Arc::clone(&delivery.message));
                }
                kept
            });
        }
        self.len -= gone.len();
        self.bytes -= gone.iter().map(|message| message.size()).sum::<usize>();
        gone
    }

    /// `Some(true)` when the high mark has just been passed, `Some(false)` when the queue has just
    /// fallen below the low one; `beside` messages count as well and wait elsewhere.
    pub fn watermark(&mut self, limits: &QueueLimits, beside: usize) -> Option<bool> {
        if limits.max_length == 0 || limits.high_watermark == 0 || limits.priorities.is_some() {
            return None;
        }
        let len = self.len + beside;
        let percent = len * 100;
        if !self.above_high && percent > limits.max_length * usize::from(limits.high_watermark) {
            self.above_high = true;
            return Some(true);
        }
        // An empty queue is low even if the low mark is 0.
        let low = percent < limits.max_length * usize::from(limits.low_watermark);
        if self.above_high && (low || len == 0) {
            self.above_high = false;
            return Some(false);
        }
        None
    }
}

#[cfg(test)]
mod tests;
