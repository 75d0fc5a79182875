//! SUBSCRIBE and UNSUBSCRIBE, from clients and from management, and the retained messages that follow.

use crate::access::Permit;
use crate::conn::ConnId;
use crate::group::Group;
use crate::hooks::by_name;
use crate::metrics::Metric;
use crate::packet::Taken;
use crate::shard::{Later, Shard};
use crate::target::{Options, group_target};
use emqttd_mqtt::topic::SubscriptionFilter;
use emqttd_mqtt::{
    DecodeError, DecodeErrorKind, QoS, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe,
    Version,
};
use emqttd_plugin_sdk::{Access, Flow, HookPoint, TopicEntry};
use emqttd_router::Target;
use emqttd_session::{Message, Subscription};
use std::sync::Arc;

/// One filter of a SUBSCRIBE on its way through ACL and hook.
struct Wanted {
    entry: TopicEntry,
    options: SubscriptionOptions,
    /// what SUBACK will say if nothing is subscribed
    refused: Option<ReasonCode>,
}

/// The name under which a session keeps a subscription.
fn key_of(entry: &TopicEntry, mountpoint: Option<&str>) -> String {
    let local = if entry.local { "$local/" } else { "" };
    let mount = mountpoint.unwrap_or("");
    match entry.share.as_deref() {
        None => format!("{local}{mount}{}", entry.topic),
        Some("$queue") => format!("{local}$queue/{mount}{}", entry.topic),
        Some(group) => format!("{local}$share/{group}/{mount}{}", entry.topic),
    }
}

/// The parts of such a name. It was made from parts that were valid, so it has them.
pub(crate) fn parts_of(key: &str) -> SubscriptionFilter<'_> {
    SubscriptionFilter::parse(key, false).unwrap_or(SubscriptionFilter {
        filter: key,
        share: None,
        local: false,
    })
}

/// The same for hooks.
pub(crate) fn entry_of(key: &str, qos: QoS) -> TopicEntry {
    let parts = parts_of(key);
    TopicEntry {
        topic: parts.filter.into(),
        qos: qos.into(),
        share: parts.share.map(Into::into),
        local: parts.local,
    }
}

impl Shard {
    /// SUBSCRIBE from a client.
    pub(crate) fn on_subscribe(
        &mut self,
        id: ConnId,
        packet: &Subscribe<'_>,
    ) -> Result<Taken, DecodeError> {
        let v5 = self.version_of(id) == Version::V5;
        let mut wanted = Vec::new();
        for (filter, options) in packet.filters() {
            wanted.push(self.examine(id, filter, options)?);
        }
        let asked = wanted.iter().filter(|one| one.refused.is_none());
        let filters = asked.map(|one| one.entry.topic.as_str());
        if !self.may_all(id, Access::Subscribe, filters) {
            return Ok(Taken::Waits);
        }
        for one in wanted.iter_mut().filter(|one| one.refused.is_none()) {
            // A literal `%u` or `%c` asked for by a client is no variable and is never granted by one.
            match self.may(id, Access::Subscribe, &one.entry.topic) {
                Some(Permit::Allowed) => {}
                Some(Permit::Denied | Permit::Unknown) => {
                    one.refused = Some(ReasonCode::NOT_AUTHORIZED);
                }
                // The chains have changed in this moment.
                None => return Ok(Taken::Waits),
            }
        }
        self.counters.add(Metric::Subscribe, 1);
        let written = self.written();
        let denied = wanted
            .iter()
            .any(|one| one.refused == Some(ReasonCode::NOT_AUTHORIZED));
        if denied {
            self.log_denied(id, &wanted);
            if self.settings.mqtt.acl_deny_action == emqttd_config::AclDenyAction::Disconnect {
                self.close(id, ReasonCode::NOT_AUTHORIZED, "acl_denied");
                return Ok(Taken::Done);
            }
            if !v5 {
                // EMQ refuses the whole packet for one denied filter (sheet 6.3).
                wanted
                    .iter_mut()
                    .for_each(|one| one.refused = Some(ReasonCode::NOT_AUTHORIZED));
            }
        }
        self.ask_subscribe_hook(id, &mut wanted);
        let sub_id = packet.properties.subscription_id().unwrap_or(0);
        let mut codes = Vec::with_capacity(wanted.len());
        let mut replays = Vec::new();
        for one in &wanted {
            let code = match one.refused {
                Some(reason) => reason,
                None => self.grant(id, one, sub_id, false, &mut replays),
            };
            codes.push(if v5 || !code.is_error() { code.0 } else { 0x80 });
        }
        let version = self.version_of(id);
        let packet_id = packet.packet_id;
        self.counters.add(Metric::Suback, 1);
        let position = self.conns[id as usize].out.end();
        self.reply(id, |out| {
            emqttd_mqtt::encode_suback(out, version, packet_id, &codes, None)
        });
        // Acknowledged subscriptions are not forgotten.
        self.gate_if_written(id, position, written);
        if self.closing(id) {
            // SUBACK was larger than the client takes.
            return Ok(Taken::Done);
        }
        for key in replays {
            self.begin_replay(id, &key);
        }
        self.mark_replays(id);
        let slot = self.conns[id as usize].session;
        self.offer_groups(slot);
        Ok(Taken::Done)
    }

    /// Subscribes a connected client on behalf of a plugin: `client.subscribe` runs, the ACL is not asked,
    /// and no SUBACK is sent.
    pub(crate) fn subscribe_for(&mut self, id: ConnId, table: Vec<TopicEntry>) {
        let wanted = |entry: TopicEntry| Wanted {
            options: SubscriptionOptions {
                qos: entry.qos.into(),
                ..SubscriptionOptions::default()
            },
            entry,
            refused: None,
        };
        let mut wanted: Vec<Wanted> = table.into_iter().map(wanted).collect();
        self.ask_subscribe_hook(id, &mut wanted);
        let mut replays = Vec::new();
        for one in wanted.iter().filter(|one| one.refused.is_none()) {
            self.grant(id, one, 0, true, &mut replays);
        }
        for key in replays {
            self.begin_replay(id, &key);
        }
        self.mark_replays(id);
        let slot = self.conns[id as usize].session;
        self.offer_groups(slot);
    }

    /// Takes subscriptions of a connected client away on behalf of a plugin; `client.unsubscribe` runs.
    pub(crate) fn unsubscribe_for(&mut self, id: ConnId, table: Vec<TopicEntry>) {
        let mut entries: Vec<_> = table.into_iter().map(Ok).collect();
        self.ask_unsubscribe_hook(id, &mut entries);
        for entry in entries.into_iter().flatten() {
            self.take_away(id, &entry);
        }
    }

    /// The parts of a filter, with what is wrong with it. 3.x clients are closed for a bad one (sheet 7.2).
    fn examine(
        &self,
        id: ConnId,
        filter: &str,
        options: SubscriptionOptions,
    ) -> Result<Wanted, DecodeError> {
        let v5 = self.version_of(id) == Version::V5;
        let most = self.settings.mqtt.max_topic_levels;
        let too_deep = |filter: &str| {
            (most > 0 && emqttd_mqtt::topic::count_levels(filter) > most)
                || (!v5 && filter.len() > crate::publish::MAX_TOPIC_LEN_3)
                || self.mount_len(id) + filter.len() > usize::from(u16::MAX)
        };
        let parsed = SubscriptionFilter::parse(filter, v5)
            .ok()
            .filter(|parsed| !too_deep(parsed.filter));
        let Some(parsed) = parsed else {
            if !v5 {
                return Err(DecodeError::new(
                    DecodeErrorKind::TopicFilterInvalid,
                    "a topic filter that is not valid",
                ));
            }
            let entry = TopicEntry {
                topic: filter.into(),
                qos: options.qos.into(),
                share: None,
                local: false,
            };
            return Ok(Wanted {
                entry,
                options,
                refused: Some(ReasonCode::TOPIC_FILTER_INVALID),
            });
        };
        if parsed.share.is_some() && options.no_local {
            // [MQTT-3.8.3-4]
            return Err(DecodeError::new(
                DecodeErrorKind::ProtocolError,
                "no local on a shared subscription",
            ));
        }
        let entry = TopicEntry {
            topic: parsed.filter.into(),
            qos: options.qos.into(),
            share: parsed.share.map(Into::into),
            local: parsed.local,
        };
        Ok(Wanted {
            entry,
            options,
            refused: None,
        })
    }

    fn log_denied(&self, id: ConnId, wanted: &[Wanted]) {
        let conn = self.conns[id as usize].peek();
        let clientid = conn.publisher.as_ref().map_or("", |p| &*p.clientid);
        for one in wanted
            .iter()
            .filter(|one| one.refused == Some(ReasonCode::NOT_AUTHORIZED))
        {
            log::error!(
                "Client({}@{}): ACL denies SUBSCRIBE to {}",
                emqttd_logging::escape(clientid),
                conn.peer.addr,
                emqttd_logging::escape(&one.entry.topic)
            );
        }
    }

    /// Runs `client.subscribe` over what the ACL let through; a stop refuses it all (sheet 15, 13).
    fn ask_subscribe_hook(&mut self, id: ConnId, wanted: &mut [Wanted]) {
        if !self.node.hooks.has(HookPoint::ClientSubscribe) {
            return;
        }
        let Some(publisher) = self.conns[id as usize].peek().publisher.clone() else {
            return;
        };
        let mut table: Vec<TopicEntry> = wanted
            .iter()
            .filter(|one| one.refused.is_none())
            .map(|one| one.entry.clone())
            .collect();
        let client = by_name(&publisher);
        let flow = self.node.hooks.ask(HookPoint::ClientSubscribe, |h| {
            h.client_subscribe(client, &mut table)
        });
        if flow == Flow::Stop {
            table.clear();
        }
        let mut entries = table.into_iter();
        for one in wanted.iter_mut().filter(|one| one.refused.is_none()) {
            match entries.next() {
                Some(entry) if emqttd_mqtt::topic::validate_filter(&entry.topic).is_ok() => {
                    one.entry = entry
                }
                _ => one.refused = Some(ReasonCode::NOT_AUTHORIZED),
            }
        }
    }

    fn grant(
        &mut self,
        id: ConnId,
        one: &Wanted,
        sub_id: u32,
        unchecked: bool,
        replays: &mut Vec<String>,
    ) -> ReasonCode {
        let conn = &self.conns[id as usize];
        let (slot, v5, bridge) = (conn.session, conn.version == Version::V5, conn.bridge);
        let mountpoint = conn.peek().peer.listener.settings.mountpoint.clone();
        let key = key_of(&one.entry, mountpoint.as_deref());
        let most = self.settings.session.max_subscriptions;
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        let known = subscriptions.get(&key).is_some();
        if most > 0 && !known && subscriptions.len() >= most {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        let subscription = Subscription {
            qos: one.entry.qos.into(),
            no_local: one.options.no_local,
            retain_as_published: one.options.retain_as_published || bridge,
            id: sub_id,
            unchecked,
        };
        let new = self.subscribe(slot, &key, subscription);
        let send_retained = match one.options.retain_handling {
            // [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
            0 => true,
            1 => new,
            _ => false,
        };
        // No retained messages for a shared subscription of MQTT 5 (4.8.2); EMQ sends them to 3.x clients.
        if send_retained && !(v5 && one.entry.share.is_some()) {
            replays.push(key);
        }
        let mut entry = one.entry.clone();
        entry
            .topic
            .insert_str(0, mountpoint.as_deref().unwrap_or(""));
        self.tell_subscribed(slot, &entry);
        ReasonCode(one.entry.qos as u8)
    }

    /// Runs `session.subscribed`; the entry has the mountpoint in its topic.
    pub(crate) fn tell_subscribed(&self, slot: u32, entry: &TopicEntry) {
        let publisher = &self.sessions[slot as usize].publisher;
        self.node.hooks.each(HookPoint::SessionSubscribed, |h| {
            h.session_subscribed(by_name(publisher), entry);
        });
    }

    /// Runs `session.unsubscribed`.
    pub(crate) fn tell_unsubscribed(&self, slot: u32, entry: &TopicEntry) {
        let publisher = &self.sessions[slot as usize].publisher;
        self.node.hooks.each(HookPoint::SessionUnsubscribed, |h| {
            h.session_unsubscribed(by_name(publisher), entry);
        });
    }

    /// Subscribes a session under `key`; `true` when it had no such subscription.
    pub(crate) fn subscribe(&mut self, slot: u32, key: &str, subscription: Subscription) -> bool {
        self.drop_same(slot, key, &parts_of(key));
        let (new, group) = self.route(slot, key, subscription);
        if let Some(group) = group {
            self.write_group(slot, &group);
        }
        self.write_subscription(slot, key, &subscription, false);
        new
    }

    /// As [`Shard::subscribe`], without writing anything; also gives the group that the session has joined.
    pub(crate) fn route(
        &mut self,
        slot: u32,
        key: &str,
        subscription: Subscription,
    ) -> (bool, Option<Arc<Group>>) {
        let owner = self.owner_of(slot);
        let parts = parts_of(key);
        let mut joined = None;
        let entry = &mut self.sessions[slot as usize];
        let options = Options {
            qos: subscription.qos,
            no_local: subscription.no_local,
            keep_retain: subscription.retain_as_published,
            local: parts.local,
            lasting: entry.owing.as_ref().is_some_and(|owing| owing.lasting),
        };
        let target = Target {
            owner,
            opts: options.pack(),
            sub_id: subscription.id,
        };
        match parts.share {
            Some(name) => {
                let group =
                    self.node
                        .groups
                        .join(name, parts.filter, owner, target.opts, target.sub_id);
                let target = group_target(group.id);
                self.node
                    .change_routes(|router| router.subscribe(parts.filter, target));
                if !entry.groups.iter().any(|known| Arc::ptr_eq(known, &group)) {
                    entry.groups.push(Arc::clone(&group));
                }
                entry.refused_group = true;
                joined = Some(group);
            }
            None => {
                self.node
                    .change_routes(|router| router.subscribe(parts.filter, target));
            }
        }
        if parts.filter.starts_with("$SYS") && self.index != 0 {
            // Shard 0 publishes there once a second, but only while somebody listens.
            self.node.mailboxes[0].wake();
        }
        let new = self.sessions[slot as usize]
            .session
            .subscriptions
            .insert(key, subscription)
            .is_none();
        if new {
            self.node.gauges.subscriptions.up();
        }
        (new, joined)
    }

    /// A 3.x session holds one subscription for each stripped filter, whatever stood before it (sheet
    /// 7.8). A plain and a `$local/` one exclude each other in every version: they have the same route.
    fn drop_same(&mut self, slot: u32, key: &str, parts: &SubscriptionFilter<'_>) {
        let session = &self.sessions[slot as usize].session;
        let three = session.version() != Version::V5;
        let plain_only =
            parts.share.is_none() && !parts.local && self.sessions[slot as usize].groups.is_empty();
        if plain_only
            && session
                .subscriptions
                .get(&format!("$local/{key}"))
                .is_none()
        {
            return;
        }
        let same: Vec<String> = session
            .subscriptions
            .iter()
            .filter(|(other, _)| *other != key)
            .filter(|(other, _)| {
                let other = parts_of(other);
                other.filter == parts.filter
                    && (three || (other.share.is_none() && parts.share.is_none()))
            })
            .map(|(other, _)| other.to_string())
            .collect();
        for other in same {
            self.unsubscribe(slot, &other);
        }
    }

    /// Takes a subscription away; `false` when there was none.
    pub(crate) fn unsubscribe(&mut self, slot: u32, key: &str) -> bool {
        let owner = self.owner_of(slot);
        if self.sessions[slot as usize]
            .session
            .subscriptions
            .remove(key)
            .is_none()
        {
            return false;
        }
        self.forget_subscription(slot, key);
        self.unroute(slot, owner, key);
        self.node.gauges.subscriptions.down();
        true
    }

    fn unroute(&mut self, slot: u32, owner: u64, key: &str) {
        let parts = parts_of(key);
        let Some(name) = parts.share else {
            self.node
                .change_routes(|router| router.unsubscribe(parts.filter, owner));
            return;
        };
        let groups = &mut self.sessions[slot as usize].groups;
        let Some(at) = groups
            .iter()
            .position(|g| *g.name == *name && *g.filter == *parts.filter)
        else {
            return;
        };
        let group = groups.swap_remove(at);
        if self.node.groups.leave(&group, owner) {
            self.node.change_routes(|router| {
                router.unsubscribe(parts.filter, group_target(group.id).owner)
            });
            self.forget_group(&group);
            while let Some((message, _)) = group.take() {
                self.counters.add(Metric::DroppedGroupFull, 1);
                self.node.hooks.dropped(&message, "group_gone");
            }
        } else {
            // Another member may have room for what this one was about to take.
            while let Some((message, seq)) = group.take() {
                self.later
                    .push_back(Later::Assign(Arc::clone(&group), message, seq));
            }
        }
    }

    /// Takes all routes of a session that ends away, at once; gives the names of its subscriptions.
    pub(crate) fn unroute_all(&mut self, slot: u32, owner: u64) -> Vec<String> {
        let subscriptions = std::mem::take(&mut self.sessions[slot as usize].session.subscriptions);
        let mut shared = Vec::new();
        if !subscriptions.is_empty() {
            self.node.change_routes(|router| {
                for (key, _) in subscriptions.iter() {
                    let parts = parts_of(key);
                    if parts.share.is_some() {
                        shared.push(key.to_string());
                    } else {
                        router.unsubscribe(parts.filter, owner);
                    }
                }
            });
        }
        for key in shared {
            self.unroute(slot, owner, &key);
        }
        let n = subscriptions.len();
        self.node.gauges.subscriptions.down_by(n);
        let names = subscriptions.iter().map(|(key, _)| key.to_string());
        if self.is_lasting(slot) {
            names.collect()
        } else {
            Vec::new()
        }
    }

    /// UNSUBSCRIBE from a client.
    pub(crate) fn on_unsubscribe(
        &mut self,
        id: ConnId,
        packet: &Unsubscribe<'_>,
    ) -> Result<(), DecodeError> {
        self.counters.add(Metric::Unsubscribe, 1);
        let written = self.written();
        let version = self.version_of(id);
        let v5 = version == Version::V5;
        let mut entries = Vec::new();
        for filter in packet.filters() {
            match SubscriptionFilter::parse(filter, v5) {
                Ok(parsed) => entries.push(Ok(TopicEntry {
                    topic: parsed.filter.into(),
                    qos: QoS::AtMostOnce.into(),
                    share: parsed.share.map(Into::into),
                    local: parsed.local,
                })),
                Err(_) if v5 => entries.push(Err(ReasonCode::TOPIC_FILTER_INVALID)),
                Err(_) => {
                    let detail = "a topic filter that is not valid";
                    return Err(DecodeError::new(
                        DecodeErrorKind::TopicFilterInvalid,
                        detail,
                    ));
                }
            }
        }
        self.ask_unsubscribe_hook(id, &mut entries);
        let codes: Vec<u8> = entries
            .into_iter()
            .map(|entry| match entry {
                Ok(entry) => self.take_away(id, &entry).0,
                Err(reason) => reason.0,
            })
            .collect();
        self.counters.add(Metric::Unsuback, 1);
        let packet_id = packet.packet_id;
        // [MQTT-3.10.4-4]: answered whether anything was taken away or not.
        let position = self.conns[id as usize].out.end();
        self.reply(id, |out| {
            emqttd_mqtt::encode_unsuback(out, version, packet_id, &codes, None)
        });
        self.gate_if_written(id, position, written);
        Ok(())
    }

    fn ask_unsubscribe_hook(&mut self, id: ConnId, entries: &mut [Result<TopicEntry, ReasonCode>]) {
        if !self.node.hooks.has(HookPoint::ClientUnsubscribe) {
            return;
        }
        let Some(publisher) = self.conns[id as usize].peek().publisher.clone() else {
            return;
        };
        let mut table: Vec<TopicEntry> = entries.iter().flatten().cloned().collect();
        let client = by_name(&publisher);
        let flow = self.node.hooks.ask(HookPoint::ClientUnsubscribe, |h| {
            h.client_unsubscribe(client, &mut table)
        });
        if flow == Flow::Stop {
            table.clear();
        }
        let mut answer = table.into_iter();
        for entry in entries.iter_mut().filter(|entry| entry.is_ok()) {
            // A stop leaves the subscription and is answered all the same (sheet 5.2).
            *entry = answer.next().ok_or(ReasonCode::NO_SUBSCRIPTION_EXISTED);
        }
    }

    fn take_away(&mut self, id: ConnId, entry: &TopicEntry) -> ReasonCode {
        let slot = self.conns[id as usize].session;
        let mountpoint = self.conns[id as usize]
            .peek()
            .peer
            .listener
            .settings
            .mountpoint
            .clone();
        let key = key_of(entry, mountpoint.as_deref());
        let mut gone = self.unsubscribe(slot, &key);
        if !gone && self.version_of(id) != Version::V5 {
            // Any spelling with the same stripped filter takes the subscription of a 3.x client away.
            let filter = parts_of(&key).filter.to_string();
            let same = self.sessions[slot as usize]
                .session
                .subscriptions
                .iter()
                .map(|(other, _)| other);
            let other = same
                .filter(|other| parts_of(other).filter == filter)
                .map(str::to_string)
                .next();
            gone = other.is_some_and(|other| self.unsubscribe(slot, &other));
        }
        if !gone {
            return ReasonCode::NO_SUBSCRIPTION_EXISTED;
        }
        if self.node.hooks.has(HookPoint::SessionUnsubscribed) {
            let entry = TopicEntry {
                topic: parts_of(&key).filter.to_string(),
                ..entry.clone()
            };
            self.tell_unsubscribed(slot, &entry);
        }
        ReasonCode::SUCCESS
    }

    /// The subscriptions of a session that the ACL has a say in: their names, and the filters as its client
    /// writes them. `all` = also those that were made for the client without asking.
    pub(crate) fn checked_filters(
        &self,
        id: ConnId,
        slot: u32,
        all: bool,
    ) -> Vec<(String, String)> {
        let listener = &self.conns[id as usize].peek().peer.listener;
        let mount = listener.settings.mountpoint.as_deref().unwrap_or("");
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        subscriptions
            .iter()
            .filter(|(_, subscription)| all || !subscription.unchecked)
            .map(|(key, _)| {
                let mounted = parts_of(key).filter;
                let filter = mounted.strip_prefix(mount).unwrap_or(mounted);
                (key.to_string(), filter.to_string())
            })
            .collect()
    }

    /// Another user has come to this session: what was subscribed for the former without asking the ACL is
    /// asked about from now on.
    pub(crate) fn check_all_from_now_on(&mut self, slot: u32) {
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        let unchecked: Vec<(String, Subscription)> = subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.unchecked)
            .map(|(key, subscription)| (key.to_string(), *subscription))
            .collect();
        for (key, subscription) in unchecked {
            let checked = Subscription {
                unchecked: false,
                ..subscription
            };
            let subscriptions = &mut self.sessions[slot as usize].session.subscriptions;
            subscriptions.insert(&key, checked);
            self.write_subscription(slot, &key, &checked, false);
        }
    }

    /// Whether one of its filters matches.
    pub(crate) fn is_subscribed(&self, slot: u32, topic: &str) -> bool {
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        subscriptions
            .iter()
            .any(|(key, _)| emqttd_mqtt::topic::matches(parts_of(key).filter, topic))
    }

    /// Drops what waits for a session, or was not acknowledged, and matches none of its subscriptions.
    pub(crate) fn forget_unsubscribed(&mut self, slot: u32) {
        let filters: Vec<String> = self.sessions[slot as usize]
            .session
            .subscriptions
            .iter()
            .map(|(key, _)| parts_of(key).filter.to_string())
            .collect();
        let matches = |message: &Message| {
            filters
                .iter()
                .any(|filter| emqttd_mqtt::topic::matches(filter, message.topic()))
        };
        let (entry, mut sink) = self.sink(slot);
        let gone = entry.session.revoke(matches, &mut sink);
        if !self.effects.is_empty() {
            self.handle_effects(slot);
        }
        for message in gone {
            self.counters.add(Metric::AclDenied, 1);
            self.node.hooks.dropped(&message, "acl_denied");
        }
    }
}
