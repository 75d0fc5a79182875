//! Where a session's packets, effects and records go.

use crate::message::{Delivery, Message};
use crate::queue::Dropped;
use emqttd_mqtt::ReasonCode;
use std::sync::Arc;

/// Where a session's packets and effects go.
pub trait Sink {
    /// Writes a PUBLISH; `id` is 0 for QoS 0. `false` when it is larger than the client takes; the
    /// session then behaves as if it had been sent and acknowledged [MQTT-3.1.2-25].
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool;
    /// Writes a PUBREL.
    fn pubrel(&mut self, id: u16, reason: ReasonCode);
    /// Tells what happened besides.
    fn effect(&mut self, effect: Effect);
    /// Tells what the store has to remember of stored deliveries ([`Delivery::seq`]), and of the packet
    /// identifiers under which a durable session has sent others at QoS 2 (with a number of 0). What is written
    /// in the same call for QoS 2 (PUBLISH, PUBREL) may leave only when the record is on stable storage.
    fn record(&mut self, change: Change<'_>) {
        let _ = change;
    }
}

/// What happened besides packets.
#[derive(Debug)]
pub enum Effect {
    /// The client has acknowledged it: PUBACK, or the first PUBREC.
    Acked(Arc<Message>),
    /// It will not be delivered: the queue was full, or keeps no QoS 0.
    Dropped(Delivery, Dropped),
    /// It expired before it could be sent [MQTT-3.3.2-5].
    Expired(Delivery),
    /// It is larger than the client takes.
    TooLarge(Delivery),
    /// The queue has passed its high mark; its length.
    QueueHigh(usize),
    /// The queue has fallen below its low mark.
    QueueLow,
    /// An inbound QoS 2 message was given up after `await_rel_timeout` (3.x only): its packet identifier.
    AwaitRelTimeout(u16, Arc<Message>),
    /// Messages are to be read from the store and given to [`crate::Session::page`], which must be called
    /// once for each of these: those owed to the session with numbers in `from..to`, the first `most`.
    WantPage {
        /// from this number on
        from: u64,
        /// and below this one
        to: u64,
        /// not more than so many
        most: usize,
    },
}

/// What the store has to remember. Each stored delivery leaves the session by exactly one of
/// `Released` (its `Completed` then only frees the packet identifier), `Completed` or `Done`.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// It was written under a packet identifier. Not told again when it is sent again under the same one.
    Sent {
        /// packet identifier
        id: u16,
        /// what was sent
        delivery: &'a Delivery,
    },
    /// PUBREC was seen, or it is given up and the client is asked to let its identifier go.
    Released {
        /// packet identifier
        id: u16,
        /// what was sent; `None` when it could not be read after a restart
        delivery: Option<&'a Delivery>,
    },
    /// The flow has ended, and the packet identifier is free.
    Completed {
        /// packet identifier
        id: u16,
        /// what was sent; `None` when it was released before
        delivery: Option<&'a Delivery>,
    },
    /// It was not in flight and is gone: dropped, expired, too large, revoked.
    Done {
        /// what is gone
        delivery: &'a Delivery,
    },
}

/// Tells the store that a delivery which was not in flight is gone.
pub(crate) fn record_done(sink: &mut impl Sink, delivery: &Delivery) {
    if delivery.seq != 0 {
        sink.record(Change::Done { delivery });
    }
}
