//! What the client publishes at QoS 2: each message is kept until its PUBREL.

use super::Session;
use crate::flows::Awaiting;
use crate::message::Message;
use emqttd_mqtt::Version;
use std::sync::Arc;

/// What an inbound QoS 2 PUBLISH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// new: kept until PUBREL
    New,
    /// new: kept in place of the oldest of an earlier connection, whose packet identifier this is and
    /// which is given up (MQTT 5)
    Replaced(u16),
    /// one that is already kept: to be answered again, not to be routed twice [MQTT-4.3.3-10]
    Duplicate,
    /// one too many
    Full,
}

impl Session {
    /// Packet identifiers of the inbound QoS 2 messages that wait for PUBREL.
    pub fn awaited_ids(&self) -> Vec<u16> {
        let flows = self.flows.iter();
        flows
            .flat_map(|flows| flows.awaiting.iter())
            .map(|(id, _)| id)
            .collect()
    }

    /// Inbound QoS 2 messages waiting for PUBREL.
    pub fn awaiting_rel_len(&self) -> usize {
        self.flows.as_ref().map_or(0, |flows| flows.awaiting.len())
    }

    /// An inbound QoS 2 PUBLISH; `make` is called when it has to be kept.
    pub fn begin_qos2(
        &mut self,
        id: u16,
        now: u64,
        make: impl FnOnce() -> Arc<Message>,
    ) -> Inbound {
        let most = if self.limits.max_awaiting_rel == 0 {
            u16::MAX
        } else {
            self.limits.max_awaiting_rel
        };
        let v5 = self.version == Version::V5;
        let flows = self.flows();
        if let Some(awaiting) = flows.awaiting.get_mut(id) {
            awaiting.old = false;
            return Inbound::Duplicate;
        }
        let mut kept = Inbound::New;
        if flows.awaiting.len() >= usize::from(most) {
            // An MQTT 5 client may send as many again on each connection: what one has left behind must
            // not keep it out for ever.
            let left = flows
                .awaiting
                .iter_mut()
                .find(|(_, awaiting)| awaiting.old)
                .map(|(id, _)| id);
            let Some(left) = left.filter(|_| v5) else {
                return Inbound::Full;
            };
            flows.awaiting.remove(left);
            kept = Inbound::Replaced(left);
        }
        flows.awaiting.push(
            id,
            Awaiting {
                message: make(),
                since: now,
                old: false,
            },
        );
        if flows.await_at.is_none() {
            self.arm_await(now);
        }
        kept
    }

    /// Whether an inbound QoS 2 message waits under this identifier.
    pub fn awaits(&self, id: u16) -> bool {
        self.flows
            .as_ref()
            .is_some_and(|flows| flows.awaiting.contains(id))
    }

    /// PUBREL from the client: hands out the message that is now to be routed [MQTT-4.3.3-12].
    pub fn release(&mut self, id: u16) -> Option<Arc<Message>> {
        let flows = self.flows.as_mut()?;
        let awaiting = flows.awaiting.remove(id)?;
        if flows.awaiting.is_empty() {
            flows.await_at = None;
        }
        Some(awaiting.message)
    }
}
