//! How connections and sessions end.

use crate::alarm::AlarmEvent;
use crate::conn::{ConnId, NONE, Phase};
use crate::hooks::by_name;
use crate::metrics::Metric;
use crate::shard::{Later, Shard};
use emqttd_mqtt::{Disconnect, Properties, ReasonCode, Version};
use emqttd_plugin_sdk::HookPoint;
use emqttd_plugin_sdk::virtual_client::Will;
use emqttd_session::Message;
use std::hash::BuildHasher;
use std::sync::Arc;

impl Shard {
    /// DISCONNECT from the client: the will is dropped [MQTT-3.14.4-3], unless it asks for it.
    pub(crate) fn on_disconnect(&mut self, id: ConnId, disconnect: &Disconnect<'_>) {
        self.counters.add(Metric::Disconnect, 1);
        let v5 = self.version_of(id) == Version::V5;
        let detail = self.conns[id as usize].detail();
        if v5 {
            detail.disconnect_code = u16::from(disconnect.reason.0);
        }
        if let Some(expiry) = disconnect.properties.session_expiry() {
            // [MQTT-3.14.2-2]: a session that was to end with its connection cannot be made to last.
            if detail.expiry == 0 && expiry > 0 {
                return self.close(id, ReasonCode::PROTOCOL_ERROR, "protocol_error");
            }
            let most = self.settings.session.max_expiry_interval.as_secs();
            let expiry = if most > 0 {
                expiry.min(u32::try_from(most).unwrap_or(u32::MAX))
            } else {
                expiry
            };
            detail.expiry = expiry;
            let slot = self.conns[id as usize].session;
            self.sessions[slot as usize].expiry = expiry;
        }
        if disconnect.reason == ReasonCode::SUCCESS {
            self.conns[id as usize].detail().will = None;
        }
        self.hang_up(id, "normal");
    }

    /// Ends a connection from our side: MQTT 5 clients are told why [MQTT-3.14.0-1].
    pub(crate) fn close(&mut self, id: ConnId, reason: ReasonCode, why: &'static str) {
        if self.conns[id as usize].phase == Phase::Connected && self.version_of(id) == Version::V5 {
            self.say_goodbye(id, reason);
        }
        self.hang_up(id, why);
    }

    pub(crate) fn say_goodbye(&mut self, id: ConnId, reason: ReasonCode) {
        self.counters.add(Metric::DisconnectSent, 1);
        self.conns[id as usize].detail().disconnect_code = u16::from(reason.0);
        // [MQTT-3.14.2-3]: no text that would make the packet too large for the client.
        let conn = &self.conns[id as usize];
        let fits = conn.max_packet as usize >= reason.name().len() + 16;
        let text = (fits && conn.peek().problem_information).then(|| reason.name());
        let version = self.version_of(id);
        self.reply(id, |out| {
            emqttd_mqtt::encode_disconnect(out, version, reason, None, text, None)
        });
    }

    /// Ends a connection without a word: what is left in its buffer is still written.
    pub(crate) fn hang_up(&mut self, id: ConnId, why: &'static str) {
        if self.conns[id as usize].phase == Phase::Connected {
            self.leave_will(id);
            self.detach(id, why, false);
        }
        self.end(id, why);
    }

    /// The connection is over as far as the protocol goes; the event loop closes the socket.
    pub(crate) fn end(&mut self, id: ConnId, why: &'static str) {
        let timeout = self.now;
        let conn = &mut self.conns[id as usize];
        conn.phase = Phase::Closing;
        conn.cache = None;
        let detail = conn.detail();
        detail.close_reason = why;
        detail.rare = None;
        let wait = detail.peer.listener.settings.send_timeout.as_millis() as u64;
        if detail.blocked_since == 0 {
            detail.blocked_since = timeout;
        }
        self.conn_timers.set(id, timeout + wait);
        self.mark(id);
    }

    /// A connection ends without DISCONNECT: its will is published, now or after its delay
    /// [MQTT-3.1.2-8], [MQTT-3.1.3-9].
    fn leave_will(&mut self, id: ConnId) {
        let slot = self.conns[id as usize].session;
        let expiry = self.sessions[slot as usize].expiry;
        let Some(will) = self.conns[id as usize].detail().will.take() else {
            return;
        };
        let wait = will.delay.min(expiry);
        if wait == 0 {
            return self.publish_will(id, &will.message);
        }
        let due = self.now + u64::from(wait) * 1000;
        self.sessions[slot as usize].will = Some(Box::new((due, Arc::clone(&will.message))));
        let owner = self.owner_of(slot);
        self.judge_will(id, &will.message, move |shard, will, allowed| {
            let Some(slot) = shard.living(owner).filter(|_| !allowed) else {
                return;
            };
            let waiting = &mut shard.sessions[slot as usize].will;
            if waiting
                .take_if(|waiting| Arc::ptr_eq(&waiting.1, &will))
                .is_some()
            {
                shard.write_session(slot);
            }
        });
    }

    /// Another will in the place of that of CONNECT, or none: only clients of gateways may change theirs. One whose
    /// topic is none changes nothing.
    pub fn set_will(&mut self, id: ConnId, will: Option<&Will>) {
        if self.conns[id as usize].phase != Phase::Connected {
            return;
        }
        let fits = |topic: &str| {
            topic.len() + self.mount_len(id) <= usize::from(u16::MAX)
                && emqttd_mqtt::topic::validate_name(topic).is_ok()
        };
        if will.is_some_and(|will| !fits(&will.topic)) {
            return;
        }
        let slot = self.conns[id as usize].session;
        let publisher = Arc::clone(&self.sessions[slot as usize].publisher);
        let made = will.map(|will| {
            let will = emqttd_mqtt::Will {
                qos: will.qos.into(),
                retain: will.retain,
                topic: &will.topic,
                payload: &will.payload,
                properties: Properties::EMPTY,
            };
            self.make_will(id, &will, &publisher, false)
        });
        let message = made.as_ref().map(|will| Arc::clone(&will.message));
        self.conns[id as usize].detail().will = made;
        // The one before is not published any more, whatever becomes of this one.
        self.write_session(slot);
        if let Some(message) = message
            && self.journal.is_some()
        {
            self.store_will_if_allowed(id, slot, &message);
        }
        self.settle();
    }

    /// Has a will stored, for a broker that ends without its client having done so, once the ACL has allowed it.
    fn store_will_if_allowed(&mut self, id: ConnId, slot: u32, message: &Arc<Message>) {
        let owner = self.owner_of(slot);
        self.judge_will(id, message, move |shard, message, allowed| {
            let Some(slot) = shard.living(owner).filter(|_| allowed) else {
                return;
            };
            let conn = shard.sessions[slot as usize].conn;
            if conn == NONE {
                return;
            }
            let will = &mut shard.conns[conn as usize].detail().will;
            if let Some(will) = will.as_mut()
                && Arc::ptr_eq(&will.message, &message)
            {
                will.allowed = true;
                shard.write_session(slot);
            }
        });
    }

    /// Takes the connection away from its session. On takeover the session stays for the one who comes.
    pub(crate) fn detach(&mut self, id: ConnId, why: &'static str, taken_over: bool) {
        let slot = std::mem::replace(&mut self.conns[id as usize].session, NONE);
        let detail = self.conns[id as usize].detail();
        if detail.replaying() {
            self.sessions[slot as usize].replay =
                Some(Box::new(std::mem::take(&mut detail.rare().replay)));
        }
        let now = self.now;
        self.node.gauges.clients.down();
        let owner = self.owner_of(slot);
        let entry = &mut self.sessions[slot as usize];
        entry.conn = NONE;
        entry.session.detach();
        for group in &entry.groups {
            group.refused(owner);
        }
        let publisher = Arc::clone(&entry.publisher);
        self.tell_disconnected(id, &publisher, why);
        if taken_over {
            return;
        }
        let entry = &mut self.sessions[slot as usize];
        if entry.expiry == 0 {
            return self.end_session(slot, "normal");
        }
        entry.expires_at = match entry.expiry {
            u32::MAX => u64::MAX,
            seconds => now + u64::from(seconds) * 1000,
        };
        self.write_session(slot);
        self.arm_session(slot);
    }

    /// Ends a session and all that it held [MQTT-4.1.0-1].
    pub(crate) fn end_session(&mut self, slot: u32, why: &'static str) {
        let owner = self.owner_of(slot);
        if self.sessions[slot as usize].alarmed {
            self.queue_alarm(slot, None);
        }
        let keys = self.unroute_all(slot, owner);
        let completed = self.complete_unread(slot);
        let inbound = self.sessions[slot as usize].session.awaited_ids();
        self.forget_session(slot, &keys, &inbound);
        self.session_timers.cancel(slot);
        let entry = self.sessions.remove(slot as usize);
        let Shard {
            registry, hasher, ..
        } = self;
        let hash = hasher.hash_one(&*entry.publisher.clientid);
        if let Ok(found) = registry.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        self.node.gauges.sessions.down();
        if let Some(will) = entry.will {
            // The session ends before the delay is over [MQTT-3.1.3-9].
            self.publish_allowed_will(&will.1);
        }
        if self.node.hooks.has(HookPoint::SessionTerminated) {
            let publisher = entry.publisher;
            self.later.push_back(Later::Hook(Box::new(move |hooks| {
                hooks.each(HookPoint::SessionTerminated, |h| {
                    h.session_terminated(by_name(&publisher), why);
                });
            })));
        }
        // Also of groups that it has left meanwhile.
        let mut owed = entry.session.into_owed();
        // Else a group that has not read what it is owed yet could read these before the record of their end is
        // applied.
        owed.unloaded.retain(|message| !completed.contains(message));
        self.pass_to_others(owed);
    }

    /// Sets the session's timer to the first thing it waits for.
    pub(crate) fn arm_session(&mut self, slot: u32) {
        let entry = &self.sessions[slot as usize];
        let ends = Some(entry.expires_at).filter(|at| *at > 0 && *at != u64::MAX);
        let will = entry.will.as_ref().map(|will| will.0);
        match [entry.session.deadline(), ends, will]
            .into_iter()
            .flatten()
            .min()
        {
            Some(at) => self.session_timers.set(slot, at),
            None => self.session_timers.cancel(slot),
        }
    }

    pub(crate) fn session_timer(&mut self, slot: u32) {
        let now = self.now;
        let Some(entry) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        if entry.will.as_ref().is_some_and(|will| will.0 <= now)
            && let Some(will) = entry.will.take()
        {
            self.publish_allowed_will(&will.1);
            self.write_session(slot);
        }
        let entry = &self.sessions[slot as usize];
        if entry.conn == NONE && entry.expires_at > 0 && entry.expires_at <= now {
            return self.end_session(slot, "expired");
        }
        let (entry, mut sink) = self.sink(slot);
        entry.session.on_timer(now, &mut sink);
        if !self.effects.is_empty() {
            self.handle_effects(slot);
        }
        self.arm_session(slot);
    }

    /// PUBLISH packets above the rate a client may send: how long to wait, in milliseconds.
    pub(crate) fn over_rate(&mut self, id: ConnId) -> Option<u64> {
        let most = u64::from(self.settings.mqtt.max_publish_rate);
        if most == 0 {
            return None;
        }
        let now = self.now;
        let (left, since) = &mut self.conns[id as usize].detail().rare().rate;
        // Thousandths of a packet: `most` of them come back each millisecond.
        *left = if *since == 0 {
            most * 1000
        } else {
            (*left + (now - *since) * most).min(most * 1000)
        };
        *since = now;
        if *left >= 1000 {
            *left -= 1000;
            return None;
        }
        let wait = (1000 - *left).div_ceil(most);
        self.counters.add(Metric::RateLimited, 1);
        Some(wait.max(1))
    }

    /// The alarm of a session's queue (sheet 8.6); `None` clears it.
    pub(crate) fn queue_alarm(&mut self, slot: u32, len: Option<usize>) {
        self.sessions[slot as usize].alarmed = len.is_some();
        let clientid = &self.sessions[slot as usize].publisher.clientid;
        let id = format!("queue_high_watermark.{clientid}");
        let limits = &self.limits.queue;
        let mark = limits.max_length * usize::from(limits.high_watermark) / 100;
        let title = format!("Queue {clientid} high-water mark");
        let summary = len.map(|len| format!("queue len {len} > high_watermark {mark}"));
        let severity = crate::alarm::Severity::Warning;
        self.set_alarm(&id, severity, &title, summary.as_deref());
    }

    /// Sets an alarm, or clears it when there is no summary, and tells those who listen.
    pub(crate) fn set_alarm(
        &mut self,
        id: &str,
        severity: crate::alarm::Severity,
        title: &str,
        summary: Option<&str>,
    ) {
        let mut alarms = self.node.alarms.lock();
        let event = match summary {
            Some(summary) => alarms.set(id, severity, title, summary),
            None => alarms.clear(id),
        };
        let Some(event) = event else { return };
        let payload = match event {
            AlarmEvent::Set(_) => alarms.alert_json(id),
            AlarmEvent::Cleared(..) => alarms.clear_json(id),
        };
        drop(alarms);
        for observer in self.node.alarm_observers.read().iter() {
            observer(&event);
        }
        let what = if summary.is_some() { "alert" } else { "clear" };
        if let Some(payload) = payload {
            // Wildcards may not stand in a topic name (sheet 15, 28), but do in client ids.
            let id = id.replace('+', "%2b").replace('#', "%23");
            let topic = format!("$SYS/brokers/{}/alarms/{id}/{what}", self.node.name);
            if topic.len() > usize::from(u16::MAX) {
                return;
            }
            self.later.push_back(Later::Publish(self.own_message(
                &topic,
                payload.as_bytes(),
                false,
            )));
        }
    }
}
