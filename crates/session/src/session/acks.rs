//! Acknowledgements of what the session has sent.

use super::{Session, Stage};
use crate::flows::Inflight;
use crate::sink::{Change, Effect, Sink};
use emqttd_mqtt::{QoS, ReasonCode, Version};
use std::sync::Arc;

/// What an acknowledgement was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// a message in flight
    Known,
    /// nothing that is in flight
    Missed,
}

impl Session {
    /// PUBACK from the client [MQTT-4.3.2-3].
    pub fn puback(&mut self, id: u16, now: u64, sink: &mut impl Sink) -> Ack {
        let Some(flows) = &mut self.flows else {
            return Ack::Missed;
        };
        let is_qos1 = |entry: &mut Inflight| matches!(&entry.stage, Stage::Published(d) if d.qos == QoS::AtLeastOnce);
        if !flows.inflight.get_mut(id).is_some_and(is_qos1) {
            // It may be for a message that was revoked, whose place another can have now.
            self.drain(now, sink);
            return Ack::Missed;
        }
        self.finish(id, now, sink);
        Ack::Known
    }

    /// PUBREC from the client; answers it. A `refused` one (reason 0x80 or above) ends the flow
    /// [MQTT-4.3.3-4]; an unknown one is answered all the same, so that the client can end its side.
    pub fn pubrec(&mut self, id: u16, refused: bool, now: u64, sink: &mut impl Sink) -> Ack {
        let version = self.version;
        let entry = self
            .flows
            .as_mut()
            .and_then(|flows| flows.inflight.get_mut(id));
        match entry {
            Some(Inflight {
                stage: Stage::Published(d),
                ..
            }) if d.qos == QoS::ExactlyOnce && refused => {
                self.finish(id, now, sink);
                Ack::Known
            }
            Some(
                entry @ Inflight {
                    stage: Stage::Published(_),
                    ..
                },
            ) => {
                let Stage::Published(delivery) = &entry.stage else {
                    return Ack::Missed;
                };
                if delivery.qos != QoS::ExactlyOnce {
                    return Ack::Missed;
                }
                let message = Arc::clone(&delivery.message);
                if entry.recorded {
                    let delivery = Some(delivery);
                    sink.record(Change::Released { id, delivery });
                }
                entry.stage = Stage::Released;
                entry.sent_at = now;
                sink.pubrel(id, ReasonCode::SUCCESS);
                sink.effect(Effect::Acked(message));
                Ack::Known
            }
            // It is sent again when its body is there, and then acknowledged again.
            Some(Inflight {
                stage: Stage::Unloaded { .. },
                ..
            }) => Ack::Missed,
            Some(_) if refused => Ack::Missed,
            Some(entry) => {
                entry.sent_at = now;
                sink.pubrel(id, ReasonCode::SUCCESS);
                Ack::Known
            }
            None => {
                if !refused {
                    let reason = if version == Version::V5 {
                        ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
                    } else {
                        ReasonCode::SUCCESS
                    };
                    sink.pubrel(id, reason);
                }
                Ack::Missed
            }
        }
    }

    /// PUBCOMP from the client [MQTT-4.3.3-7].
    pub fn pubcomp(&mut self, id: u16, now: u64, sink: &mut impl Sink) -> Ack {
        let Some(flows) = &mut self.flows else {
            return Ack::Missed;
        };
        if !matches!(
            flows.inflight.get_mut(id),
            Some(Inflight {
                stage: Stage::Released,
                ..
            })
        ) {
            return Ack::Missed;
        }
        self.finish(id, now, sink);
        Ack::Known
    }

    /// Ends a flow: the identifier and its place in the window are free again.
    pub(super) fn finish(&mut self, id: u16, now: u64, sink: &mut impl Sink) {
        let Some(flows) = &mut self.flows else { return };
        let Some(entry) = flows.inflight.remove(id) else {
            return;
        };
        if entry.counted {
            flows.used -= 1;
        }
        if flows.inflight.is_empty() {
            flows.retry_at = None;
        }
        let delivery = match entry.stage {
            Stage::Published(delivery) => Some(delivery),
            _ => None,
        };
        if entry.recorded {
            let delivery = delivery.as_ref();
            sink.record(Change::Completed { id, delivery });
        }
        if let Some(delivery) = delivery {
            sink.effect(Effect::Acked(delivery.message));
        }
        // With nothing in memory more is on its way already, if there is more on disk.
        if !flows.queue.is_empty() || !flows.held.is_empty() {
            self.drain(now, sink);
        }
    }
}
