//! From an inbound PUBLISH to the output of its receivers: the path that has to be fast.

use crate::conn::{ConnId, Known, Phase, PublishCache};
use crate::decisions::Decision;
use crate::hooks::Passed;
use crate::metrics::Metric;
use crate::node::Node;
use crate::packet::Taken;
use crate::passing::Passing;
use crate::shard::{Mail, Shard};
use crate::target::{Receiver, receiver};
use emqttd_config::AclDenyAction;
use emqttd_mqtt::{
    AckKind, DecodeError, DecodeErrorKind, Packet, Publish, QoS, ReasonCode, Version,
};
use emqttd_plugin_sdk::{Access, HookPoint};
use emqttd_router::Target;
use emqttd_session::{Inbound, Message, MessageParts, Session};
use std::sync::Arc;

/// Longest topic name of a 3.x client, bytes (sheet 7.2).
pub(crate) const MAX_TOPIC_LEN_3: usize = 4096;
/// Targets that a connection remembers for its next publish.
const MOST_REMEMBERED: usize = 256;
/// Names longer than this, or with more levels, are not worth remembering for the next publish.
const CACHE_TOPIC_LEN: usize = 1024;

impl Shard {
    /// PUBLISH from a client.
    pub(crate) fn on_publish(
        &mut self,
        id: ConnId,
        version: Version,
        first: u8,
        body: &[u8],
    ) -> Result<Taken, DecodeError> {
        let mut cache = self.conns[id as usize].cache.take().unwrap_or_default();
        let PublishCache {
            topic,
            known,
            received,
        } = &mut *cache;
        let publish = emqttd_mqtt::decode_publish_known(version, first, body, topic)?;
        if publish.retain
            && self.conns[id as usize].peek().told_no_retain
            && !self.node.retained.is_on()
        {
            // It was told not to send such [MQTT-3.2.2-14].
            let reason = ReasonCode::RETAIN_NOT_SUPPORTED;
            self.close(id, reason, "retain_not_supported");
            return Ok(Taken::Done);
        }
        let Some(new_topic) = self.publish_with(id, &publish, topic, known)? else {
            self.conns[id as usize].cache = Some(cache);
            return Ok(Taken::Waits);
        };
        *received += 1;
        // The connection may have been closed meanwhile, and its memory given back.
        if self.conns[id as usize].phase == Phase::Connected {
            if let Some(new_topic) = new_topic {
                *topic = new_topic;
            }
            self.conns[id as usize].cache = Some(cache);
        }
        Ok(Taken::Done)
    }

    /// Gives the topic to remember when it is another than `topic`; nothing at all when the client has to
    /// wait for the ACL.
    fn publish_with(
        &mut self,
        id: ConnId,
        publish: &Publish<'_>,
        remembered: &str,
        known: &mut Known,
    ) -> Result<Option<Option<String>>, DecodeError> {
        let alias_topic;
        let mut topic = publish.topic;
        if self.version_of(id) == Version::V5
            && let Some(alias) = publish.properties.topic_alias()
        {
            alias_topic = self.resolve_alias(id, alias, publish.topic)?;
            topic = alias_topic.as_deref().unwrap_or(publish.topic);
        }
        let same = std::ptr::eq(topic, remembered) || topic == remembered;
        if !same {
            self.check_topic_name(id, topic)?;
        }
        let generation = self.node.access.generation();
        let remembered =
            same && known.decision.holds(generation, self.now) && self.settings.mqtt.cache_acl;
        if !remembered {
            let Some(decision) = self.may_publish(id, topic) else {
                return Ok(None);
            };
            known.decision = decision;
        }
        let allowed = known.decision.allowed;
        self.note_publish(id, publish);
        let mut new_topic = None;
        if !same {
            known.route_generation = 0;
            // A long name is not remembered; nothing is then known of the empty one, which matches none.
            new_topic = Some(if topic.len() > CACHE_TOPIC_LEN {
                String::new()
            } else {
                topic.to_string()
            });
        }
        if allowed {
            self.accept_publish(id, publish, topic, known);
        } else {
            self.refuse_publish(id, publish, topic);
        }
        Ok(Some(new_topic))
    }

    /// Counts a PUBLISH, and shows it to the trace of its client.
    fn note_publish(&mut self, id: ConnId, publish: &Publish<'_>) {
        self.counters.add(
            match publish.qos {
                QoS::AtMostOnce => Metric::Qos0Received,
                QoS::AtLeastOnce => Metric::Qos1Received,
                QoS::ExactlyOnce => Metric::Qos2Received,
            },
            1,
        );
        if self.conns[id as usize].traced {
            crate::trace::received(&self.conns[id as usize], &Packet::Publish(*publish));
        }
    }

    /// Topic alias of an inbound PUBLISH: sets it, or gives the topic it stands for [MQTT-3.3.2-7].
    fn resolve_alias(
        &mut self,
        id: ConnId,
        alias: u16,
        topic: &str,
    ) -> Result<Option<Box<str>>, DecodeError> {
        let most = self.settings.mqtt.max_topic_alias;
        let invalid = |detail| DecodeError::new(DecodeErrorKind::TopicAliasInvalid, detail);
        if alias > most {
            return Err(invalid("a topic alias above the maximum"));
        }
        let aliases = &mut self.conns[id as usize].detail().rare().aliases_in;
        let at = usize::from(alias) - 1;
        if !topic.is_empty() {
            if aliases.len() <= at {
                aliases.resize(at + 1, None);
            }
            aliases[at] = Some(topic.into());
            return Ok(None);
        }
        match aliases.get(at) {
            Some(Some(topic)) => Ok(Some(topic.clone())),
            _ => Err(DecodeError::new(
                DecodeErrorKind::ProtocolError,
                "a topic alias that was not set",
            )),
        }
    }

    fn check_topic_name(&self, id: ConnId, topic: &str) -> Result<(), DecodeError> {
        let most = self.settings.mqtt.max_topic_levels;
        let too_long = self.version_of(id) != Version::V5 && topic.len() > MAX_TOPIC_LEN_3
            || self.mount_len(id) + topic.len() > usize::from(u16::MAX);
        if too_long || (most > 0 && emqttd_mqtt::topic::count_levels(topic) > most) {
            return Err(DecodeError::new(
                DecodeErrorKind::TopicNameInvalid,
                "a topic name too long or too deep",
            ));
        }
        Ok(())
    }

    /// Bytes that the listener's mountpoint adds to a topic.
    pub(crate) fn mount_len(&self, id: ConnId) -> usize {
        let settings = &self.conns[id as usize].peek().peer.listener.settings;
        settings.mountpoint.as_ref().map_or(0, String::len)
    }

    /// Whether the client may publish there; `None` = it has to wait for the answer.
    fn may_publish(&mut self, id: ConnId, topic: &str) -> Option<Decision> {
        let (now, generation) = (self.now, self.node.access.generation());
        let conn = &self.conns[id as usize];
        if conn.superuser {
            return Some(Decision::new(true, generation, u64::MAX));
        }
        let rare = conn.peek().rare.as_ref();
        let known = rare.and_then(|rare| rare.decisions.get(topic, generation, now));
        if let Some(decision) = known.filter(|_| self.settings.mqtt.cache_acl) {
            return Some(decision);
        }
        let permit = self.may(id, Access::Publish, topic)?;
        let mqtt = &self.settings.mqtt;
        let until = match mqtt.acl_cache_ttl.as_millis() {
            0 => u64::MAX,
            ttl => now.saturating_add(u64::try_from(ttl).unwrap_or(u64::MAX)),
        };
        let decision = Decision::of(permit, generation, until);
        if mqtt.cache_acl && topic.len() <= CACHE_TOPIC_LEN && decision.holds(generation, now) {
            let most = mqtt.acl_cache_max_size;
            let decisions = &mut self.conns[id as usize].detail().rare().decisions;
            decisions.remember(topic, decision, most, now);
        }
        Some(decision)
    }

    /// A denied PUBLISH: 3.x clients get no answer (sheet 6.3), MQTT 5 has one.
    fn refuse_publish(&mut self, id: ConnId, publish: &Publish<'_>, topic: &str) {
        self.counters.add(Metric::AclDenied, 1);
        let conn = &self.conns[id as usize];
        let version = conn.version;
        let clientid = conn.peek().publisher.as_ref().map_or("", |p| &*p.clientid);
        log::error!(
            "Client({}@{}): ACL denies PUBLISH to {}",
            emqttd_logging::escape(clientid),
            conn.peek().peer.addr,
            emqttd_logging::escape(topic)
        );
        if self.settings.mqtt.acl_deny_action == AclDenyAction::Disconnect {
            return self.close(id, ReasonCode::NOT_AUTHORIZED, "acl_denied");
        }
        if version == Version::V5 && publish.qos != QoS::AtMostOnce {
            let kind = if publish.qos == QoS::AtLeastOnce {
                AckKind::PubAck
            } else {
                AckKind::PubRec
            };
            self.reply_ack(id, kind, publish.packet_id, ReasonCode::NOT_AUTHORIZED);
        }
    }

    fn accept_publish(
        &mut self,
        id: ConnId,
        publish: &Publish<'_>,
        topic: &str,
        known: &mut Known,
    ) {
        let (now, unix) = (self.now, self.unix);
        let conn = &self.conns[id as usize];
        let (version, slot) = (conn.version, conn.session);
        let publisher = Arc::clone(&self.sessions[slot as usize].publisher);
        let mounted;
        let mut topic = topic;
        if let Some(prefix) = &conn.peek().peer.listener.settings.mountpoint {
            mounted = format!("{prefix}{topic}");
            topic = &mounted;
        }
        let mut properties = Vec::new();
        let mut expires_at = u64::MAX;
        if version == Version::V5 && !publish.properties.is_empty() {
            publish.properties.forwardable(&mut properties);
            if let Some(seconds) = publish.properties.message_expiry() {
                expires_at = now + u64::from(seconds) * 1000;
            }
        }
        let parts = MessageParts {
            topic,
            properties: &properties,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
        };
        let mut passing = Passing {
            parts,
            publisher: Some(&publisher),
            expires_at,
            unix,
            kept: None,
            packets: [None, None],
        };
        let written = self.written();
        if publish.qos == QoS::ExactlyOnce {
            return self.begin_qos2(id, slot, publish.packet_id, &mut passing);
        }
        let owner = self.owner_of(slot);
        let hooked = self.hooked(&mut passing);
        let matched = match &hooked {
            Some(None) => {
                let generation = self
                    .node
                    .route_generation
                    .load(std::sync::atomic::Ordering::Acquire);
                if known.route_generation != generation {
                    known.route_generation = find_targets(&self.node, topic, &mut known.targets);
                }
                !known.targets.is_empty()
            }
            _ => true,
        };
        let position = self.conns[id as usize].out.end();
        if publish.qos == QoS::AtLeastOnce {
            // Before the delivery, which may be to the publisher itself (observed 3).
            let reason = if matched || version != Version::V5 {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::NO_MATCHING_SUBSCRIBERS
            };
            self.reply_ack(id, AckKind::PubAck, publish.packet_id, reason);
        }
        match hooked {
            None => {}
            Some(None) => self.pass_on(&mut passing, &known.targets, owner),
            Some(Some(changed)) => self.publish_changed(changed, owner),
        }
        if publish.qos == QoS::AtLeastOnce {
            // PUBACK says that the message is on disk, if anybody is to get it later.
            self.gate_if_written(id, position, written);
        }
        if known.targets.len() > MOST_REMEMBERED {
            // Beside so many writes a look-up costs nothing, and each publisher would keep a copy.
            known.targets = Vec::new();
            known.route_generation = 0;
        }
    }

    fn begin_qos2(&mut self, id: ConnId, slot: u32, packet_id: u16, passing: &mut Passing<'_>) {
        let now = self.now;
        let session: &mut Session = &mut self.sessions[slot as usize].session;
        match session.begin_qos2(packet_id, now, || Arc::clone(passing.keep())) {
            kept @ (Inbound::New | Inbound::Replaced(_) | Inbound::Duplicate) => {
                if let Inbound::Replaced(old) = kept {
                    self.counters.add(Metric::Qos2Dropped, 1);
                    self.forget_inbound(slot, old);
                }
                if kept != Inbound::Duplicate {
                    self.write_inbound(slot, packet_id, passing.keep());
                }
                let position = self.conns[id as usize].out.end();
                self.reply_ack(id, AckKind::PubRec, packet_id, ReasonCode::SUCCESS);
                if self.is_lasting(slot) {
                    // Also of one that came again: the first may be on its way to the disk still.
                    self.gate(id, position);
                }
                self.arm_session(slot);
            }
            Inbound::Full if self.version_of(id) == Version::V5 => {
                // [MQTT-3.3.4-8]
                self.counters.add(Metric::Qos2Dropped, 1);
                self.close(
                    id,
                    ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                    "receive_maximum_exceeded",
                );
            }
            // No PUBREC (sheet 7.3): the client tries again.
            Inbound::Full => self.counters.add(Metric::Qos2Dropped, 1),
        }
    }

    /// Publishes a message that is not in the scratch buffer: released by PUBREL, a will, from management.
    pub(crate) fn publish_message(&mut self, message: Arc<Message>, from: u64) {
        let mut passing = Passing::of(&message);
        match self.hooked(&mut passing) {
            None => {}
            Some(None) => {
                let mut targets = Vec::new();
                find_targets(&self.node, message.topic(), &mut targets);
                self.pass_on(&mut passing, &targets, from);
            }
            Some(Some(changed)) => {
                self.publish_changed(changed, from);
            }
        }
    }

    /// Runs `message.publish`: `None` when a callback stopped it, `Some(Some(_))` when it was changed.
    #[inline]
    fn hooked(&mut self, passing: &mut Passing<'_>) -> Option<Option<Arc<Message>>> {
        if self.node.traces.topics() {
            crate::trace::published(&self.node.traces, passing.keep());
        }
        if !self.node.hooks.has(HookPoint::MessagePublish) {
            return Some(None);
        }
        let message = Arc::clone(passing.keep());
        match self.node.hooks.publish(&message) {
            Passed::Same => Some(None),
            Passed::Changed(changed) => Some(Some(changed)),
            Passed::Dropped => {
                self.node.hooks.dropped(&message, "hook");
                None
            }
        }
    }

    fn publish_changed(&mut self, message: Arc<Message>, from: u64) {
        let mut targets = Vec::new();
        find_targets(&self.node, message.topic(), &mut targets);
        self.pass_on(&mut Passing::of(&message), &targets, from)
    }

    /// Retains the message if it asks for it and gives it to its receivers.
    fn pass_on(&mut self, passing: &mut Passing<'_>, targets: &[Target], from: u64) {
        if self.journal.is_some() {
            self.write_owed(passing, targets, from);
        }
        // After that, for it may hand the batch over, which must not part them.
        if passing.parts.retain {
            self.retain(passing);
        }
        if targets.is_empty() {
            if !passing.parts.topic.starts_with("$SYS/") {
                self.counters.add(Metric::Dropped, 1);
                if self.node.hooks.has(HookPoint::MessageDropped) {
                    self.node.hooks.dropped(passing.keep(), "no_subscribers");
                }
            }
            return;
        }
        self.encoded.clear();
        let seqs = std::mem::take(&mut self.seqs);
        let mut at = 0;
        while at < targets.len() {
            let target = &targets[at];
            match receiver(target) {
                Receiver::Group(group) => {
                    let seq = seqs.get(at).copied().unwrap_or(0);
                    at += 1;
                    if let Some(group) = self.node.groups.get(group) {
                        let message = Arc::clone(passing.keep());
                        self.assign(&group, &message, seq);
                    }
                }
                Receiver::Session(owner) => {
                    let run = run_of_shard(&targets[at..], owner.shard);
                    let run = at..at + run;
                    at = run.end;
                    let seqs = seqs.get(run.clone()).unwrap_or_default();
                    let run = &targets[run];
                    if usize::from(owner.shard) == self.index {
                        self.deliver_run(passing, run, seqs, from);
                    } else {
                        let message = Arc::clone(passing.keep());
                        let mail = Mail::Publish {
                            message,
                            targets: run.into(),
                            seqs: seqs.into(),
                            from,
                        };
                        self.mail(owner.shard, mail);
                    }
                }
            }
        }
        self.seqs = seqs;
    }
}

/// The targets of a topic, sorted by owner, and the generation they belong to.
fn find_targets(node: &Node, topic: &str, into: &mut Vec<Target>) -> u64 {
    into.clear();
    let router = node.router.read();
    let generation = node
        .route_generation
        .load(std::sync::atomic::Ordering::Acquire);
    router.route(topic, |target| into.push(*target));
    drop(router);
    if into.len() > 1 {
        into.sort_by_key(|target| target.owner);
    }
    generation
}

/// How many of the first targets belong to that shard.
fn run_of_shard(targets: &[Target], shard: u16) -> usize {
    targets
        .iter()
        .take_while(|t| matches!(receiver(t), Receiver::Session(owner) if owner.shard == shard))
        .count()
}
