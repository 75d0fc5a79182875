//! The QoS 1 and 2 flows of a session, in both directions.

use crate::backlog::Backlog;
use crate::ids::Ids;
use crate::message::{Delivery, GroupRef, Message};
use crate::queue::Queue;
use crate::sink::{Change, Effect, Sink};
use emqttd_mqtt::{QoS, ReasonCode};
use std::collections::VecDeque;
use std::sync::Arc;

/// How far an outbound QoS 1 or 2 message has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// PUBLISH sent, PUBACK or PUBREC awaited
    Published(Delivery),
    /// PUBREC seen and PUBREL sent, PUBCOMP awaited; the body is no longer needed [MQTT-4.3.3-8]
    Released,
    /// sent before a restart; its body is still to be read
    Unloaded { seq: u64, group: Option<GroupRef> },
}

/// An outbound QoS 1 or 2 message under its packet identifier.
#[derive(Debug)]
pub(crate) struct Inflight {
    pub stage: Stage,
    /// when its last packet was sent
    pub sent_at: u64,
    /// takes a place in the window of this connection
    pub counted: bool,
    /// the store knows that it was sent
    pub recorded: bool,
}

/// What became of a message sent to one more connection.
pub(crate) enum Again {
    /// it was written and takes a place in the window
    Written,
    /// it is too large by now; the client is asked to let its identifier go
    Released,
    /// it is too large by now, and nothing of it is left to do
    Ended,
}

impl Inflight {
    /// Sends an unacknowledged message to another connection than before. One that has become too large
    /// counts as sent [MQTT-3.1.2-25]; but a client may have received it at QoS 2 and keep its identifier,
    /// so that is not free before PUBREL and PUBCOMP.
    pub fn send_again(&mut self, id: u16, now: u64, sink: &mut impl Sink) -> Again {
        let Stage::Published(delivery) = &self.stage else {
            return Again::Released;
        };
        let written = sink.publish(delivery, id, true);
        self.counted = written;
        self.sent_at = now;
        if written {
            return Again::Written;
        }
        let Stage::Published(delivery) = std::mem::replace(&mut self.stage, Stage::Released) else {
            return Again::Released;
        };
        let ended = delivery.qos != QoS::ExactlyOnce;
        if self.recorded {
            let delivery = Some(&delivery);
            sink.record(if ended {
                Change::Completed { id, delivery }
            } else {
                Change::Released { id, delivery }
            });
        }
        sink.effect(Effect::TooLarge(delivery));
        if ended {
            return Again::Ended;
        }
        sink.pubrel(id, ReasonCode::SUCCESS);
        Again::Released
    }
}

/// An inbound QoS 2 message that waits for its PUBREL.
#[derive(Debug)]
pub(crate) struct Awaiting {
    pub message: Arc<Message>,
    pub since: u64,
    /// it came by an earlier connection
    pub old: bool,
}

/// Allocated when a session first needs it; idle clients have none.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub inflight: Ids<Inflight>,
    /// identifiers of messages sent on an earlier connection for which this one has had no room yet
    pub held: VecDeque<u16>,
    pub queue: Queue,
    /// what a durable session is owed beyond what it holds in memory; there only while there is something
    pub backlog: Option<Box<Backlog>>,
    pub awaiting: Ids<Awaiting>,
    pub last_id: u16,
    /// places of the window taken on this connection
    pub used: u16,
    pub retry_at: Option<u64>,
    pub await_at: Option<u64>,
}

impl Flows {
    /// The next identifier that is not in use [MQTT-2.2.1-3]. Fewer messages may be in flight than there are
    /// identifiers, so there always is one.
    pub fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == u16::MAX {
                1
            } else {
                self.last_id + 1
            };
            if !self.inflight.contains(self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Takes back the identifier just given out: nothing was sent under it.
    pub fn unused_id(&mut self, id: u16) {
        self.last_id = if id == 1 { u16::MAX } else { id - 1 };
    }

    pub fn is_empty(&self) -> bool {
        self.inflight.is_empty()
            && self.queue.is_empty()
            && self.awaiting.is_empty()
            && self.backlog.is_none()
    }

    /// Bytes of messages that are in flight and still needed.
    pub fn bytes_in_flight(&self) -> usize {
        let out = self.inflight.iter().map(|(_, entry)| match &entry.stage {
            Stage::Published(delivery) => delivery.message.size(),
            Stage::Released | Stage::Unloaded { .. } => 0,
        });
        let inbound = self.awaiting.iter().map(|(_, entry)| entry.message.size());
        out.sum::<usize>() + inbound.sum::<usize>()
    }

    /// Messages and bytes that wait on disk only.
    pub fn beside(&self) -> (usize, usize) {
        self.backlog
            .as_ref()
            .map_or((0, 0), |backlog| (backlog.len(), backlog.bytes()))
    }

    /// Bodies of messages in flight are still to be read.
    pub fn unloaded(&self) -> bool {
        self.backlog
            .as_ref()
            .is_some_and(|backlog| backlog.unloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred of them wait in the window of a busy client.
    #[test]
    fn what_is_in_flight_stays_small() {
        assert!(size_of::<Inflight>() <= 64, "{}", size_of::<Inflight>());
        assert!(size_of::<Delivery>() <= 48, "{}", size_of::<Delivery>());
        assert!(
            size_of::<crate::Session>() <= 80,
            "{}",
            size_of::<crate::Session>()
        );
    }
}
