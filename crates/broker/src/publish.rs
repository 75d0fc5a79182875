//! From an inbound PUBLISH to the output of its receivers: the path that has to be fast.

use crate::access::{Access, AccessRequest};
use crate::conn::{ConnId, Known, NONE, Phase, PublishCache};
use crate::group::{Assign, Group, GroupLimits, Member};
use crate::hooks::HookPoint;
use crate::metrics::Metric;
use crate::node::Node;
use crate::out::SHARE_FROM;
use crate::retain::Stored;
use crate::shard::{Later, Mail, Shard};
use crate::target::{Options, Owner, Receiver, receiver};
use emqttd_config::AclDenyAction;
use emqttd_mqtt::{
    AckKind, DecodeError, DecodeErrorKind, Packet, Publish, PublishHead, QoS, ReasonCode, Version,
};
use emqttd_router::Target;
use emqttd_session::{
    Ack, Delivery, Dropped, Effect, Inbound, Message, MessageParts, Publisher, Sent, Session,
};
use std::ops::Range;
use std::sync::Arc;

/// Longest topic name of a 3.x client, bytes (sheet 7.2).
pub(crate) const MAX_TOPIC_LEN_3: usize = 4096;
/// Targets that a connection remembers for its next publish.
const MOST_REMEMBERED: usize = 256;
/// Names longer than this, or with more levels, are not worth remembering for the next publish.
const CACHE_TOPIC_LEN: usize = 1024;

/// A message on its way: borrowed from the scratch buffer until somebody has to keep it.
pub(crate) struct Passing<'a> {
    parts: MessageParts<'a>,
    publisher: Option<&'a Arc<Publisher>>,
    /// milliseconds of the node's clock; `u64::MAX` = never
    expires_at: u64,
    unix: u64,
    kept: Option<Arc<Message>>,
    /// the packet as QoS 0 for 3.x and for 5.0, once somebody needed it, in the shard's `encoded`
    packets: [Option<Range<usize>>; 2],
}

impl<'a> Passing<'a> {
    fn of(message: &'a Arc<Message>) -> Passing<'a> {
        Passing {
            parts: message.parts(),
            publisher: message.publisher.as_ref(),
            expires_at: message.expires_at,
            unix: message.timestamp,
            kept: Some(Arc::clone(message)),
            packets: [None, None],
        }
    }

    /// The message as something that can be kept.
    fn keep(&mut self) -> &Arc<Message> {
        self.kept.get_or_insert_with(|| {
            Arc::new(Message::new(
                self.parts,
                self.publisher.cloned(),
                self.unix,
                self.expires_at,
            ))
        })
    }
}

impl Shard {
    /// PUBLISH from a client.
    pub(crate) fn on_publish(
        &mut self,
        id: ConnId,
        version: Version,
        first: u8,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let mut cache = self.conns[id as usize].cache.take().unwrap_or_default();
        let PublishCache { topic, known } = &mut *cache;
        let publish = emqttd_mqtt::decode_publish_known(version, first, body, topic)?;
        self.counters.add(
            match publish.qos {
                QoS::AtMostOnce => Metric::Qos0Received,
                QoS::AtLeastOnce => Metric::Qos1Received,
                QoS::ExactlyOnce => Metric::Qos2Received,
            },
            1,
        );
        if self.conns[id as usize].traced {
            crate::trace::received(&self.conns[id as usize], &Packet::Publish(publish));
        }
        let new_topic = self.publish_with(id, &publish, topic, known)?;
        // The connection may have been closed meanwhile, and its memory given back.
        if self.conns[id as usize].phase == Phase::Connected {
            if let Some(new_topic) = new_topic {
                *topic = new_topic;
            }
            self.conns[id as usize].cache = Some(cache);
        }
        Ok(())
    }

    /// Gives the topic to remember when it is another than `topic`.
    fn publish_with(
        &mut self,
        id: ConnId,
        publish: &Publish<'_>,
        remembered: &str,
        known: &mut Known,
    ) -> Result<Option<String>, DecodeError> {
        let alias_topic;
        let mut topic = publish.topic;
        if self.version_of(id) == Version::V5
            && let Some(alias) = publish.properties.topic_alias()
        {
            alias_topic = self.resolve_alias(id, alias, publish.topic)?;
            topic = alias_topic.as_deref().unwrap_or(publish.topic);
        }
        let mut new_topic = None;
        if !std::ptr::eq(topic, remembered) && topic != remembered {
            self.check_topic_name(id, topic)?;
            known.route_generation = 0;
            known.acl_generation = u64::MAX;
            // A long name is not remembered; nothing is then known of the empty one, which matches none.
            new_topic = Some(if topic.len() > CACHE_TOPIC_LEN {
                String::new()
            } else {
                topic.to_string()
            });
        }
        let acl_generation = self.node.access.generation();
        if known.acl_generation != acl_generation || !self.settings.mqtt.cache_acl {
            known.allowed = self.may_publish(id, topic);
            known.acl_generation = acl_generation;
        }
        if known.allowed {
            self.accept_publish(id, publish, topic, known);
        } else {
            self.refuse_publish(id, publish, topic);
        }
        Ok(new_topic)
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

    fn may_publish(&mut self, id: ConnId, topic: &str) -> bool {
        let generation = self.node.access.generation();
        let conn = &mut self.conns[id as usize];
        if conn.superuser {
            return true;
        }
        let most = if self.settings.mqtt.cache_acl {
            self.settings.mqtt.acl_cache_max_size
        } else {
            0
        };
        let detail = conn.detail();
        let cached = detail
            .rare
            .as_ref()
            .and_then(|rare| rare.acl_cache.get(topic));
        if let Some((seen, allowed)) = cached
            && *seen == generation
        {
            return *allowed;
        }
        let allowed = authorize(&self.node, &self.settings, detail, Access::Publish, topic);
        if most > 0 && topic.len() <= CACHE_TOPIC_LEN {
            let cache = &mut detail.rare().acl_cache;
            if cache.len() >= most {
                cache.clear();
            }
            cache.insert(topic.into(), (generation, allowed));
        }
        allowed
    }

    /// Whether the client of this connection may subscribe; never cached (sheet 6.4).
    pub(crate) fn may_subscribe(&mut self, id: ConnId, filter: &str) -> bool {
        let conn = &self.conns[id as usize];
        conn.superuser
            || authorize(
                &self.node,
                &self.settings,
                conn.peek(),
                Access::Subscribe,
                filter,
            )
    }

    /// Whether a will may be published: asked with the mounted topic (sheet 14, 25).
    pub(crate) fn may_publish_will(&self, id: ConnId, topic: &str) -> bool {
        let conn = &self.conns[id as usize];
        conn.superuser
            || authorize(
                &self.node,
                &self.settings,
                conn.peek(),
                Access::Publish,
                topic,
            )
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
            Inbound::New | Inbound::Duplicate => {
                self.reply_ack(id, AckKind::PubRec, packet_id, ReasonCode::SUCCESS);
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
        let result =
            self.node
                .hooks
                .fold(HookPoint::MessagePublish, Arc::clone(&message), |h, m| {
                    h.message_publish(m)
                });
        match result {
            None => {
                self.node.hooks.each(HookPoint::MessageDropped, |h| {
                    h.message_dropped(&message, "hook")
                });
                None
            }
            Some(same) if Arc::ptr_eq(&same, &message) => Some(None),
            Some(changed) => Some(Some(changed)),
        }
    }

    fn publish_changed(&mut self, message: Arc<Message>, from: u64) {
        let mut targets = Vec::new();
        find_targets(&self.node, message.topic(), &mut targets);
        self.pass_on(&mut Passing::of(&message), &targets, from)
    }

    /// Retains the message if it asks for it and gives it to its receivers.
    fn pass_on(&mut self, passing: &mut Passing<'_>, targets: &[Target], from: u64) {
        if passing.parts.retain {
            self.retain(passing);
        }
        if targets.is_empty() {
            if !passing.parts.topic.starts_with("$SYS/") {
                self.counters.add(Metric::Dropped, 1);
                if self.node.hooks.has(HookPoint::MessageDropped) {
                    let message = passing.keep();
                    self.node.hooks.each(HookPoint::MessageDropped, |h| {
                        h.message_dropped(message, "no_subscribers")
                    });
                }
            }
            return;
        }
        self.encoded.clear();
        let mut at = 0;
        while at < targets.len() {
            let target = &targets[at];
            match receiver(target) {
                Receiver::Group(group) => {
                    at += 1;
                    if let Some(group) = self.node.groups.get(group) {
                        let message = Arc::clone(passing.keep());
                        self.assign(&group, &message);
                    }
                }
                Receiver::Session(owner) => {
                    let run = run_of_shard(&targets[at..], owner.shard);
                    let run = &targets[at..at + run];
                    at += run.len();
                    if usize::from(owner.shard) == self.index {
                        self.deliver_run(passing, run, from);
                    } else {
                        let message = Arc::clone(passing.keep());
                        let mail = Mail::Publish {
                            message,
                            targets: run.into(),
                            from,
                        };
                        self.mail(owner.shard, mail);
                    }
                }
            }
        }
    }

    fn retain(&mut self, passing: &mut Passing<'_>) {
        let limits = &self.settings.retainer;
        if passing.expires_at == u64::MAX && !limits.expiry_interval.is_zero() {
            passing.expires_at = self.now + limits.expiry_interval.as_millis() as u64;
            let message = Message::new(
                passing.parts,
                passing.publisher.cloned(),
                passing.unix,
                passing.expires_at,
            );
            passing.expires_at = u64::MAX;
            if self.node.retained.store(&Arc::new(message), limits) == Stored::Refused {
                self.counters.add(Metric::DroppedRetainFull, 1);
            }
            return;
        }
        if self.node.retained.store(passing.keep(), limits) == Stored::Refused {
            self.counters.add(Metric::DroppedRetainFull, 1);
        }
    }

    /// A message of another shard for sessions of this one.
    pub(crate) fn deliver_here(&mut self, message: &Arc<Message>, targets: &[Target], from: u64) {
        self.encoded.clear();
        self.deliver_run(&mut Passing::of(message), targets, from);
    }

    fn deliver_run(&mut self, passing: &mut Passing<'_>, run: &[Target], from: u64) {
        let mut at = 0;
        while at < run.len() {
            let same = 1 + run[at + 1..]
                .iter()
                .take_while(|t| t.owner == run[at].owner)
                .count();
            self.deliver_to(passing, &run[at..at + same], from);
            at += same;
        }
    }

    /// Delivers to one session, which may have several filters that match.
    #[inline]
    fn deliver_to(&mut self, passing: &mut Passing<'_>, matches: &[Target], from: u64) {
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
            for target in matches {
                let options = Options::unpack(target.opts);
                // [MQTT-3.8.3-3]
                if !(options.no_local && own) {
                    self.deliver_one(passing, slot, conn, options, target.sub_id);
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
        self.send(slot, ids);
    }

    #[inline]
    fn effective_qos(&self, published: QoS, subscribed: QoS) -> QoS {
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

    /// Whether a connection takes nothing and has as much waiting as it may.
    fn is_choked(&self, id: ConnId) -> bool {
        let conn = &self.conns[id as usize];
        conn.blocked && conn.out.len() > self.settings.mqtt.max_send_buffer
    }

    /// Gives a delivery to a session of this shard.
    pub(crate) fn send(&mut self, slot: u32, delivery: Delivery) -> Sent {
        let conn = self.sessions[slot as usize].conn;
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
            let publisher = &self.sessions[slot as usize].publisher;
            let (metric, message, reason) = match effect {
                Effect::Acked(message) => {
                    self.node.hooks.each(HookPoint::MessageAcked, |h| {
                        h.message_acked(publisher, &message)
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
                Effect::AwaitRelTimeout(message) => {
                    (Metric::Qos2Dropped, message, "await_rel_timeout")
                }
                Effect::Dropped(delivery, Dropped::Full) => {
                    (Metric::DroppedQueueFull, delivery.message, "queue_full")
                }
                Effect::Dropped(delivery, Dropped::QoS0) => {
                    (Metric::DroppedQos0Queue, delivery.message, "queue_qos0")
                }
                Effect::Expired(delivery) => (Metric::DroppedExpired, delivery.message, "expired"),
                Effect::TooLarge(delivery) => {
                    (Metric::DroppedTooLarge, delivery.message, "too_large")
                }
            };
            self.counters.add(metric, 1);
            self.node.hooks.each(HookPoint::MessageDropped, |h| {
                h.message_dropped(&message, reason)
            });
        }
        self.effects = effects;
    }

    fn group_limits(&self) -> GroupLimits {
        let queue = &self.limits.queue;
        GroupLimits {
            max_length: queue.max_length,
            max_bytes: queue.max_bytes,
            store_qos0: queue.store_qos0,
        }
    }

    /// Finds a member of the group that can take the message, or leaves it with the group.
    pub(crate) fn assign(&mut self, group: &Arc<Group>, message: &Arc<Message>) {
        loop {
            let member = match group.assign(message, self.group_limits()) {
                Assign::To(member) => member,
                Assign::Waits => return,
                Assign::Dropped(dropped) => {
                    for message in dropped {
                        self.counters.add(Metric::DroppedGroupFull, 1);
                        self.node.hooks.each(HookPoint::MessageDropped, |h| {
                            h.message_dropped(&message, "group_full")
                        });
                    }
                    return;
                }
            };
            let owner = Owner::unpack(member.owner);
            if usize::from(owner.shard) != self.index {
                let mail = Mail::Assigned {
                    message: Arc::clone(message),
                    group: Arc::clone(group),
                    owner: member.owner,
                };
                return self.mail(owner.shard, mail);
            }
            if self.give(group, message, member) {
                return;
            }
        }
    }

    /// A message that another shard found to be for a member here.
    pub(crate) fn assigned(&mut self, message: Arc<Message>, group: &Arc<Group>, owner: u64) {
        let given = group
            .member(owner)
            .is_some_and(|member| self.give(group, &message, member));
        if !given {
            self.assign(group, &message);
        }
    }

    /// Gives a group's message to a member of this shard; `false` when it has no room.
    fn give(&mut self, group: &Arc<Group>, message: &Arc<Message>, member: Member) -> bool {
        let options = Options::unpack(member.opts);
        let qos = self.effective_qos(message.qos, options.qos);
        let slot = self.living(member.owner);
        let room = slot.is_some_and(|slot| {
            let session = &self.sessions[slot as usize].session;
            if qos == QoS::AtMostOnce {
                session.online() && !self.is_choked(self.sessions[slot as usize].conn)
            } else {
                session.has_room()
            }
        });
        let Some(slot) = slot.filter(|_| room) else {
            group.refused(member.owner);
            if let Some(slot) = slot {
                self.sessions[slot as usize].refused_group = true;
            }
            return false;
        };
        let mut delivery = Delivery::new(Arc::clone(message), qos);
        delivery.sub_id = member.sub_id;
        delivery.group = Some(group.id);
        delivery.retain = message.retain && options.keep_retain;
        self.send(slot, delivery);
        true
    }

    /// The session has room: its groups may give it what waits.
    pub(crate) fn offer_groups(&mut self, slot: u32) {
        let entry = &mut self.sessions[slot as usize];
        if !entry.session.has_room() {
            // Its groups hold it for full, or are told so by the next message: it offers itself later.
            entry.refused_group = !entry.groups.is_empty();
            return;
        }
        let owner = self.owner_of(slot);
        self.sessions[slot as usize].refused_group = false;
        for group in self.sessions[slot as usize].groups.clone() {
            group.ready(owner);
            let Some(member) = group.member(owner) else {
                continue;
            };
            while self.sessions[slot as usize].session.has_room() {
                let Some(message) = group.take() else { break };
                self.give(&group, &message, member);
            }
        }
        if !self.sessions[slot as usize].session.has_room() {
            // What still waits is offered when there is room again.
            self.sessions[slot as usize].refused_group = true;
            for group in &self.sessions[slot as usize].groups {
                group.refused(owner);
            }
        }
    }

    /// Hands what a session that is gone for good was owed to the other members of its groups.
    pub(crate) fn pass_to_others(&mut self, owed: Vec<Delivery>) {
        for delivery in owed {
            if let Some(group) = delivery.group.and_then(|id| self.node.groups.get(id)) {
                self.later.push_back(Later::Assign(group, delivery.message));
            }
        }
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

fn authorize(
    node: &Node,
    settings: &emqttd_config::Settings,
    detail: &crate::conn::Detail,
    access: Access,
    topic: &str,
) -> bool {
    let Some(publisher) = &detail.publisher else {
        return false;
    };
    let request = AccessRequest {
        clientid: &publisher.clientid,
        username: publisher.username.as_deref(),
        ip: detail.peer.addr.ip(),
    };
    node.access
        .authorize(&request, access, topic, &settings.mqtt, None)
}
