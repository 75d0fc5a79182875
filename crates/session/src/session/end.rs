//! What a session loses: rights to messages, or its life.

use super::{Session, Stage};
use crate::message::{Delivery, GroupRef, Message};
use crate::sink::{Change, Sink, record_done};
use emqttd_mqtt::QoS;
use std::sync::Arc;

/// What a session that has ended was still owed through shared groups.
#[derive(Debug, Default)]
pub struct Owed {
    /// what may go to another member: QoS 1 messages that were not acknowledged, and whatever was never sent
    pub pass_on: Vec<Delivery>,
    /// stored ones that may go to nobody else, QoS 2 once sent [MQTT-4.8.2-5]: the group is owed them no more
    pub lost: Vec<Delivery>,
    /// those in flight at a restart whose bodies were never read; at QoS 1 they may go to another member
    pub unloaded: Vec<(GroupRef, u64)>,
}

impl Session {
    /// Takes back what waits or is not acknowledged and `keep` does not want, because the client has lost
    /// the right to it; hands those messages out. An identifier that a client may hold at QoS 2 is let
    /// go in the usual way.
    ///
    /// What is on disk is to be looked at when it has been read: see [`Session::filters_backlog`].
    pub fn revoke(
        &mut self,
        keep: impl Fn(&Message) -> bool,
        sink: &mut impl Sink,
    ) -> Vec<Arc<Message>> {
        let Some(flows) = &mut self.flows else {
            return Vec::new();
        };
        if let Some(backlog) = &mut flows.backlog {
            backlog.filter = true;
        }
        let mut gone = flows
            .queue
            .retain(&keep, |delivery| record_done(sink, delivery));
        let mut ended = Vec::new();
        for (id, entry) in flows.inflight.iter_mut() {
            let Stage::Published(delivery) = &entry.stage else {
                continue;
            };
            if keep(&delivery.message) {
                continue;
            }
            gone.push(Arc::clone(&delivery.message));
            let (delivery, recorded) = (Some(delivery), entry.recorded);
            if delivery.is_some_and(|d| d.qos == QoS::ExactlyOnce) {
                if recorded {
                    sink.record(Change::Released { id, delivery });
                }
                // Released without PUBREL: resuming sends it.
                entry.stage = Stage::Released;
            } else {
                if recorded {
                    sink.record(Change::Completed { id, delivery });
                }
                ended.push((id, entry.counted));
            }
        }
        for (id, counted) in ended {
            flows.inflight.remove(id);
            flows.used -= u16::from(counted);
        }
        if flows.backlog.is_some() {
            self.want_page(sink);
        }
        gone
    }

    /// Ends the session and hands out what was owed through shared groups: nothing of it is recorded.
    pub fn into_owed(self) -> Owed {
        let mut owed = Owed::default();
        let Some(mut flows) = self.flows else {
            return owed;
        };
        for (_, entry) in flows.inflight.drain() {
            match entry.stage {
                Stage::Published(delivery) if delivery.group.is_none() => {}
                Stage::Published(delivery) if delivery.qos == QoS::AtLeastOnce => {
                    owed.pass_on.push(delivery);
                }
                Stage::Published(delivery) if delivery.seq != 0 => owed.lost.push(delivery),
                Stage::Published(_) | Stage::Released => {}
                Stage::Unloaded { seq, group } => {
                    owed.unloaded.extend(group.map(|group| (group, seq)));
                }
            }
        }
        while let Some(delivery) = flows.queue.pop() {
            if delivery.group.is_some() {
                owed.pass_on.push(delivery);
            }
        }
        owed
    }
}
