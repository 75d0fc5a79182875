//! From a message and its targets to the outputs and queues of its receivers.

use crate::conn::{ConnId, NONE};
use crate::hooks::{by_name, view};
use crate::metrics::Metric;
use crate::out::SHARE_FROM;
use crate::passing::Passing;
use crate::shard::Shard;
use crate::target::Options;
use emqttd_mqtt::{PublishHead, QoS, Version};
use emqttd_plugin_sdk::HookPoint;
use emqttd_router::Target;
use emqttd_session::{Ack, Delivery, Dropped, Effect, Message, Sent, Session};
use std::sync::Arc;

impl Shard {
    /// A message of another shard for sessions of this one.
    pub(crate) fn deliver_here(
        &mut self,
        message: &Arc<Message>,
        targets: &[Target],
        seqs: &[u64],
        from: u64,
    ) {
        self.encoded.clear();
        self.deliver_run(&mut Passing::of(message), targets, seqs, from);
    }

    /// `seqs` has a number for each target, or is empty.
    pub(crate) fn deliver_run(
        &mut self,
        passing: &mut Passing<'_>,
        run: &[Target],
        seqs: &[u64],
        from: u64,
    ) {
        let mut at = 0;
        while at < run.len() {
            let same = 1 + run[at + 1..]
                .iter()
                .take_while(|t| t.owner == run[at].owner)
                .count();
            let range = at..at + same;
            let seqs = seqs.get(range.clone()).unwrap_or_default();
            self.deliver_to(passing, &run[range], seqs, from);
            at += same;
        }
    }

    /// Delivers to one session, which may have several filters that match.
    #[inline]
    fn deliver_to(
        &mut self,
        passing: &mut Passing<'_>,
        matches: &[Target],
        seqs: &[u64],
        from: u64,
    ) {
        let Some(slot) = self.living(matches[0].owner) else {
            return;
        };
        if matches[0].owner == from && self.settings.session.ignore_loop_deliver {
            return;
        }
        let entry = &self.sessions[slot as usize];
        let (conn, version) = (entry.conn, entry.session.version());
        let own = matches[0].owner == from;
        if matches.len() == 1 || version != Version::V5 {
            // 3.x clients get one copy for each filter, at its QoS (sheet 7.3).
            for (at, target) in matches.iter().enumerate() {
                let seq = seqs.get(at).copied().unwrap_or(0);
                let options = Options::unpack(target.opts);
                // [MQTT-3.8.3-3]
                if !(options.no_local && own) {
                    self.deliver_one(passing, slot, conn, options, target.sub_id, seq);
                }
            }
            return;
        }
        // MQTT 5 clients get one copy, at the highest QoS, with all identifiers [MQTT-3.3.4-2].
        let mut wanted = matches
            .iter()
            .map(|target| (Options::unpack(target.opts), target.sub_id))
            .filter(|(options, _)| !(options.no_local && own));
        let Some((mut all, id)) = wanted.next() else {
            return;
        };
        let mut ids = Delivery::new(Arc::clone(passing.keep()), QoS::AtMostOnce);
        ids.add_id(id);
        for (options, id) in wanted {
            all.qos = all.qos.max(options.qos);
            all.keep_retain |= options.keep_retain;
            ids.add_id(id);
        }
        ids.qos = self.effective_qos(passing.parts.qos, all.qos);
        ids.retain = passing.parts.retain && all.keep_retain;
        // One copy was stored, unless the client came back with another version meanwhile.
        let mut stored = seqs.iter().copied().filter(|seq| *seq > 0);
        ids.seq = stored.next().unwrap_or(0);
        for seq in stored {
            self.write_done(slot, seq, ids.message.size());
        }
        self.send(slot, ids);
    }

    #[inline]
    pub(crate) fn effective_qos(&self, published: QoS, subscribed: QoS) -> QoS {
        if self.settings.session.upgrade_qos {
            published.max(subscribed)
        } else {
            published.min(subscribed)
        }
    }

    #[inline]
    fn deliver_one(
        &mut self,
        passing: &mut Passing<'_>,
        slot: u32,
        conn: ConnId,
        options: Options,
        sub_id: u32,
        seq: u64,
    ) {
        let qos = self.effective_qos(passing.parts.qos, options.qos);
        // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
        let retain = passing.parts.retain && options.keep_retain;
        if qos == QoS::AtMostOnce
            && conn != NONE
            && sub_id == 0
            && self.conns[conn as usize].plain
            && passing.parts.payload.len() < SHARE_FROM
            && !self.node.hooks.has(HookPoint::MessageDelivered)
        {
            return self.write_plain(passing, slot, conn, retain);
        }
        let mut delivery = Delivery::new(Arc::clone(passing.keep()), qos);
        delivery.sub_id = sub_id;
        delivery.retain = retain;
        delivery.seq = seq;
        self.send(slot, delivery);
    }

    /// QoS 0 to a connection that gets the same bytes as all of its version: one copy, no allocation.
    fn write_plain(&mut self, passing: &mut Passing<'_>, slot: u32, id: ConnId, retain: bool) {
        if passing.expires_at <= self.now {
            return self.counters.add(Metric::DroppedExpired, 1);
        }
        if self.is_choked(id) {
            return self.counters.add(Metric::DroppedSendBuffer, 1);
        }
        let version = self.conns[id as usize].version;
        let packet = &mut passing.packets[usize::from(version == Version::V5)];
        if packet.is_none() {
            let start = self.encoded.len();
            let mut head = PublishHead {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: passing.parts.topic,
                packet_id: 0,
                properties: passing.parts.properties,
                message_expiry: None,
                topic_alias: None,
                subscription_ids: &[],
                payload_len: passing.parts.payload.len(),
            };
            if passing.expires_at != u64::MAX {
                head.message_expiry = Some((passing.expires_at - self.now).div_ceil(1000) as u32);
            }
            emqttd_mqtt::encode_publish_head(&mut self.encoded, version, &head);
            self.encoded.extend_from_slice(passing.parts.payload);
            *packet = Some(start..self.encoded.len());
        }
        let range = packet.clone().unwrap_or_default();
        let conn = &mut self.conns[id as usize];
        let bytes = conn.out.bytes();
        let before = bytes.len();
        bytes.extend_from_slice(&self.encoded[range.clone()]);
        if retain {
            bytes[before] |= 1;
        }
        conn.packets += 1;
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
        if conn.traced {
            crate::conn::trace_sent(conn, before);
        }
        self.pressure += range.len();
        self.sessions[slot as usize].session.delivered += 1;
        self.counters.add(Metric::BytesSent, range.len() as u64);
        if passing.publisher.is_some() {
            self.counters.add(Metric::Qos0Sent, 1);
        }
    }

    /// Whether a connection has as much waiting as it may: it takes nothing, or what waits for the disk
    /// stands before it.
    pub(crate) fn is_choked(&self, id: ConnId) -> bool {
        let conn = &self.conns[id as usize];
        conn.out.len() > self.settings.mqtt.max_send_buffer && (conn.blocked || conn.out.is_gated())
    }

    /// Gives a delivery to a session of this shard.
    pub(crate) fn send(&mut self, slot: u32, mut delivery: Delivery) -> Sent {
        let entry = &self.sessions[slot as usize];
        let conn = entry.conn;
        if entry.owing.is_some() {
            self.write_unwritten(slot, &mut delivery);
        }
        if delivery.qos == QoS::AtMostOnce && conn != NONE && self.is_choked(conn) {
            self.counters.add(Metric::DroppedSendBuffer, 1);
            return Sent::Gone;
        }
        let now = self.now;
        let (entry, mut sink) = self.sink(slot);
        let idle = entry.session.deadline().is_none();
        let sent = entry.session.send(delivery, now, &mut sink);
        if !self.effects.is_empty() {
            self.handle_effects(slot);
        }
        if idle {
            self.arm_session(slot);
        }
        sent
    }

    /// Lets a connection's session handle an acknowledgement, and does what follows from it.
    #[inline]
    pub(crate) fn with_session(
        &mut self,
        id: ConnId,
        missed: Metric,
        f: impl FnOnce(&mut Session, u64, &mut crate::conn::ConnSink<'_>) -> Ack,
    ) {
        let slot = self.conns[id as usize].session;
        let now = self.now;
        let (entry, mut sink) = self.sink(slot);
        let ack = f(&mut entry.session, now, &mut sink);
        let refused = entry.refused_group;
        if ack == Ack::Missed {
            self.counters.add(missed, 1);
        }
        if !self.effects.is_empty() {
            self.handle_effects(slot);
        }
        if self.conns[id as usize].peek().replaying() {
            self.replay(id);
        }
        if refused {
            self.offer_groups(slot);
        }
    }

    pub(crate) fn handle_effects(&mut self, slot: u32) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            let (metric, message, reason) = match effect {
                Effect::Acked(message) => {
                    let publisher = &self.sessions[slot as usize].publisher;
                    self.node.hooks.each(HookPoint::MessageAcked, |h| {
                        h.message_acked(by_name(publisher), &view(&message));
                    });
                    continue;
                }
                Effect::QueueHigh(len) => {
                    self.queue_alarm(slot, Some(len));
                    continue;
                }
                Effect::QueueLow => {
                    self.queue_alarm(slot, None);
                    continue;
                }
                Effect::WantPage { from, to, most } => {
                    self.want_page(slot, from, to, most);
                    continue;
                }
                Effect::AwaitRelTimeout(id, message) => {
                    self.forget_inbound(slot, id);
                    (Metric::Qos2Dropped, message, "await_rel_timeout")
                }
                Effect::Dropped(delivery, Dropped::Full) => {
                    (Metric::DroppedQueueFull, delivery.message, "queue_full")
                }
                Effect::Dropped(delivery, Dropped::QoS0) => {
                    (Metric::DroppedQos0Queue, delivery.message, "queue_qos0")
                }
                Effect::Dropped(delivery, Dropped::Cleared) => {
                    (Metric::DroppedCleared, delivery.message, "cleared")
                }
                Effect::Expired(delivery) => (Metric::DroppedExpired, delivery.message, "expired"),
                Effect::TooLarge(delivery) => {
                    (Metric::DroppedTooLarge, delivery.message, "too_large")
                }
            };
            self.counters.add(metric, 1);
            self.node.hooks.dropped(&message, reason);
        }
        self.effects = effects;
    }
}
