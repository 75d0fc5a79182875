//! A session as it was before a restart.

use super::{Limits, Session, Stage};
use crate::backlog::Backlog;
use crate::flows::{Awaiting, Flows, Inflight};
use crate::message::{Delivery, GroupRef, Message};
use crate::seqs::Seqs;
use crate::sink::{Change, Sink};
use emqttd_mqtt::Version;
use std::sync::Arc;

/// What the store knows of a session. Its subscriptions are put in afterwards.
#[derive(Debug)]
pub struct Restored {
    /// protocol version of the last connection
    pub version: Version,
    /// packet identifier given out last
    pub last_id: u16,
    /// on their way to the client, in the order of sending
    pub in_flight: Vec<RestoredFlight>,
    /// number of the first message that may still be owed to the session itself
    pub front: u64,
    /// number of the next message it will be owed
    pub next: u64,
    /// how many of those between it is owed, those in flight included
    pub owed: usize,
    /// their bytes
    pub bytes: usize,
    /// inbound QoS 2 messages whose PUBREL had not come, by packet identifier
    pub awaiting: Vec<(u16, Arc<Message>)>,
}

/// A message that was on its way at the restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredFlight {
    /// packet identifier
    pub id: u16,
    /// its PUBREC was seen; it is no longer owed
    pub released: bool,
    /// under which number it is owed
    pub seq: u64,
    /// the shared group that is owed it; `None`: the session itself
    pub group: Option<GroupRef>,
}

impl Session {
    /// A durable session after a restart, offline. The bodies of what was in flight are read later: see
    /// [`Session::needs_loading`].
    pub fn restored(limits: Arc<Limits>, restored: Restored) -> Session {
        let mut session = Session::new(limits);
        session.durable = true;
        session.version = restored.version;
        session.last_id = restored.last_id;
        let mut flows = Flows {
            last_id: restored.last_id,
            ..Flows::default()
        };
        let mut seqs = Seqs::range(restored.front, restored.next);
        let mut waiting = restored.owed;
        let mut unloaded = false;
        for flight in restored.in_flight {
            if flight.id == 0 || flows.inflight.contains(flight.id) {
                continue;
            }
            let (seq, group) = (flight.seq, flight.group);
            if group.is_none() && seqs.remove(seq) && !flight.released {
                waiting = waiting.saturating_sub(1);
            }
            // What was not stored is lost; its identifier remains to be let go.
            let released = flight.released || seq == 0;
            unloaded |= !released;
            let stage = if released {
                Stage::Released
            } else {
                Stage::Unloaded { seq, group }
            };
            flows.inflight.push(
                flight.id,
                Inflight {
                    stage,
                    sent_at: 0,
                    counted: false,
                    recorded: true,
                },
            );
        }
        for (id, message) in restored.awaiting {
            if !flows.awaiting.contains(id) {
                flows.awaiting.push(
                    id,
                    Awaiting {
                        message,
                        since: 0,
                        old: true,
                    },
                );
            }
        }
        if waiting == 0 {
            seqs = Seqs::default();
        }
        if waiting > 0 || unloaded {
            let backlog = Backlog::restored(seqs, restored.next, waiting, restored.bytes, unloaded);
            flows.backlog = Some(Box::new(backlog));
        }
        if !flows.is_empty() {
            session.flows = Some(Box::new(flows));
        }
        session
    }

    /// Bodies of messages in flight are still to be read: those of [`Session::missing`], to be given to
    /// [`Session::loaded_in_flight`]. Until then a connection may be attached and resumed, but is sent
    /// nothing of QoS 1 or 2.
    pub fn needs_loading(&self) -> bool {
        self.flows.as_ref().is_some_and(|flows| flows.unloaded())
    }

    /// What was in flight and has no body yet: packet identifier, number, and the shared group that is owed
    /// it (`None`: the session itself), in the order of sending.
    pub fn missing(&self) -> impl Iterator<Item = (u16, u64, Option<GroupRef>)> + '_ {
        let entries = self.flows.iter().flat_map(|flows| flows.inflight.iter());
        entries.filter_map(|(id, entry)| match entry.stage {
            Stage::Unloaded { seq, group } => Some((id, seq, group)),
            Stage::Published(_) | Stage::Released => None,
        })
    }

    /// The bodies of [`Session::missing`]. What could not be read is given up; since the client may hold its
    /// identifier, and at which QoS is not known, it is asked to let that go: every client answers a PUBREL.
    /// A connection that waits for this is resumed.
    pub fn loaded_in_flight(
        &mut self,
        bodies: Vec<(u16, Option<Delivery>)>,
        now: u64,
        sink: &mut impl Sink,
    ) {
        let Some(flows) = &mut self.flows else { return };
        let Some(backlog) = flows.backlog.as_mut().filter(|backlog| backlog.unloaded) else {
            return;
        };
        backlog.unloaded = false;
        let resume = std::mem::take(&mut backlog.resume_due);
        for (id, body) in bodies {
            let (Some(mut delivery), Some(entry)) = (body, flows.inflight.get_mut(id)) else {
                continue;
            };
            if let Stage::Unloaded { seq, group } = entry.stage {
                (delivery.seq, delivery.group) = (seq, group);
                if group.is_none() {
                    backlog.not_waiting(delivery.message.size());
                }
                entry.stage = Stage::Published(delivery);
            }
        }
        for (id, entry) in flows.inflight.iter_mut() {
            if matches!(entry.stage, Stage::Unloaded { .. }) {
                entry.stage = Stage::Released;
                let delivery = None;
                sink.record(Change::Released { id, delivery });
            }
        }
        self.forget_empty_backlog();
        if resume && self.online {
            self.resume(now, sink);
        }
    }
}
