//! CONNECT: who comes in, and with which session.

use crate::access::Permit;
use crate::conn::{AliasesOut, ConnId, Known, NONE, Phase, RunningExchange, Will};
use crate::hooks::by_name;
use crate::metrics::Metric;
use crate::node::unix_seconds;
use crate::packet::Taken;
use crate::shard::{Later, SessionSlot, Shard};
use emqttd_mqtt::{
    Auth, ConnAckOut, ConnAckProps, Connect, DecodeError, DecodeErrorKind, ReasonCode, Version,
};
use emqttd_plugin_sdk::{Access, AuthAnswer, ExchangeStep, HookPoint};
use emqttd_session::{Message, MessageParts, Publisher, Session};
use hashbrown::hash_table::Entry;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Aliases kept for one receiving client at the most, whatever it offers.
const MOST_ALIASES_OUT: u16 = 64;

/// What the answer to a CONNECT says besides its code.
#[derive(Default)]
struct Extras<'a> {
    auth_method: Option<&'a str>,
    auth_data: Option<&'a [u8]>,
    assigned: bool,
}

impl Shard {
    /// CONNECT from a client that has not sent one before. `whole` is the packet with its header.
    pub(crate) fn on_connect(&mut self, id: ConnId, connect: &Connect<'_>, whole: &[u8]) -> Taken {
        let version = connect.version;
        let conn = &mut self.conns[id as usize];
        conn.version = version;
        conn.bridge = connect.bridge;
        let detail = conn.detail();
        // [MQTT-3.1.2-29]
        detail.problem_information = connect
            .properties
            .request_problem_information()
            .unwrap_or(true);
        (detail.clean_start, detail.keepalive) = (connect.clean_start, connect.keep_alive);
        if let Err(reason) = self.examine_clientid(connect) {
            self.refuse(id, reason, connect.client_id, connect.username);
            return Taken::Done;
        }
        let assigned = connect.client_id.is_empty();
        let publisher = match self.asking_publisher(id) {
            Some(publisher) => publisher,
            None => self.new_publisher(id, connect),
        };
        self.conns[id as usize].detail().publisher = Some(Arc::clone(&publisher));
        if self.is_banned(id, &publisher) {
            self.refuse_banned(id, &publisher);
            return Taken::Done;
        }
        let longest = usize::from(u16::MAX) - self.mount_len(id);
        let longest = match version {
            Version::V5 => longest,
            _ => crate::publish::MAX_TOPIC_LEN_3.min(longest),
        };
        if connect
            .will
            .as_ref()
            .is_some_and(|will| will.topic.len() > longest)
        {
            let reason = ReasonCode::TOPIC_NAME_INVALID;
            self.refuse(id, reason, connect.client_id, connect.username);
            return Taken::Done;
        }
        let retains = version != Version::V5 || self.node.retained.is_on();
        if !retains && connect.will.as_ref().is_some_and(|will| will.retain) {
            // [MQTT-3.2.2-13]
            let reason = ReasonCode::RETAIN_NOT_SUPPORTED;
            self.refuse(id, reason, connect.client_id, connect.username);
            return Taken::Done;
        }
        if let Some(method) = connect.properties.auth_method() {
            return self.begin_exchange(id, &publisher, method, connect, whole);
        }
        match self.authenticate(id, connect, &publisher) {
            None => return Taken::Waits,
            Some(AuthAnswer::Allow { superuser }) => {
                self.conns[id as usize].superuser = superuser;
                match self.rights(id, connect, &publisher) {
                    None => return Taken::Waits,
                    Some(Permit::Unknown) => {
                        self.refuse_access(id, &publisher, ReasonCode::SERVER_UNAVAILABLE);
                        return Taken::Done;
                    }
                    Some(Permit::Allowed | Permit::Denied) => {}
                }
                let extras = Extras {
                    assigned,
                    ..Extras::default()
                };
                self.accept(id, connect, publisher, &extras);
            }
            // EMQ says "bad password" to that, too, which devices take for final.
            Some(AuthAnswer::Unavailable) => {
                self.refuse_access(id, &publisher, ReasonCode::SERVER_UNAVAILABLE);
            }
            Some(AuthAnswer::Deny | AuthAnswer::Ignore) => {
                self.refuse_access(id, &publisher, ReasonCode::BAD_USER_NAME_OR_PASSWORD);
            }
        }
        Taken::Done
    }

    fn examine_clientid(&self, connect: &Connect<'_>) -> Result<(), ReasonCode> {
        let invalid = Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        if connect.client_id.len() > self.settings.mqtt.max_clientid_len {
            return invalid;
        }
        // [MQTT-3.1.3-8] of 3.1.1: an empty id needs a clean session; 3.1 has none at all.
        match connect.version {
            Version::V31 if connect.client_id.is_empty() => invalid,
            Version::V311 if connect.client_id.is_empty() && !connect.clean_start => invalid,
            _ => Ok(()),
        }
    }

    /// Who asks to come in: the user name is that of the certificate where the listener says so.
    fn new_publisher(&mut self, id: ConnId, connect: &Connect<'_>) -> Arc<Publisher> {
        let clientid: Arc<str> = if connect.client_id.is_empty() {
            self.new_clientid()
        } else {
            connect.client_id.into()
        };
        let username = match self.conns[id as usize].peek().peer.cert_username() {
            Some(name) => Some(name.into()),
            None => connect.username.map(Into::into),
        };
        Arc::new(Publisher { clientid, username })
    }

    /// A failed authentication is CONNACK 4 (sheet 6.1), or 0x86; one that could not be done 3, or 0x88. Both
    /// hooks run.
    fn refuse_access(&mut self, id: ConnId, publisher: &Publisher, reason: ReasonCode) {
        log::error!(
            "Client({}@{}): username {} is refused",
            emqttd_logging::escape(&publisher.clientid),
            self.conns[id as usize].peek().peer.addr,
            emqttd_logging::escape(publisher.username.as_deref().unwrap_or("undefined")),
        );
        let username = publisher.username.clone();
        self.refuse(id, reason, &publisher.clientid, username.as_deref());
        self.tell_disconnected(id, publisher, "auth_failure");
    }

    fn is_banned(&self, id: ConnId, publisher: &Publisher) -> bool {
        let ip = self.conns[id as usize].peek().peer.addr.ip();
        let username = publisher.username.as_deref();
        self.node.bans.meets(&publisher.clientid, username, ip)
    }

    /// CONNACK 5, or 0x8A [MQTT-3.2.2-5 of 3.1.1].
    fn refuse_banned(&mut self, id: ConnId, publisher: &Publisher) {
        log::info!(
            "Client({}@{}): banned",
            emqttd_logging::escape(&publisher.clientid),
            self.conns[id as usize].peek().peer.addr,
        );
        let username = publisher.username.as_deref();
        self.refuse(id, ReasonCode::BANNED, &publisher.clientid, username);
        self.tell_disconnected(id, publisher, "banned");
    }

    /// Runs `client.connected`.
    fn tell_connected(&self, id: ConnId, publisher: &Publisher, connack: u8) {
        if self.node.hooks.has(HookPoint::ClientConnected) {
            let client = self.client_of(id, publisher);
            self.node.hooks.each(HookPoint::ClientConnected, |h| {
                h.client_connected(&client, connack);
            });
        }
    }

    /// Runs `client.disconnected`, after the will.
    pub(crate) fn tell_disconnected(
        &mut self,
        id: ConnId,
        publisher: &Publisher,
        why: &'static str,
    ) {
        if self.node.hooks.has(HookPoint::ClientDisconnected) {
            let client = self.client_of(id, publisher);
            let code = u8::try_from(self.conns[id as usize].peek().disconnect_code).ok();
            self.later.push_back(Later::Hook(Box::new(move |hooks| {
                hooks.each(HookPoint::ClientDisconnected, |h| {
                    h.client_disconnected(&client, why, code);
                });
            })));
        }
    }

    /// Answers a CONNECT that cannot be used and closes [MQTT-3.2.2-5 of 3.1.1], [MQTT-3.1.4-2].
    fn refuse(&mut self, id: ConnId, reason: ReasonCode, clientid: &str, username: Option<&str>) {
        let version = self.version_of(id);
        let code = connack_code(version, reason);
        let connack = ConnAckOut {
            session_present: false,
            code,
            props: ConnAckProps::default(),
        };
        self.counters.add(Metric::Connack, 1);
        let publisher = Publisher {
            clientid: clientid.into(),
            username: username.map(Into::into),
        };
        let code = connack_code(Version::V311, reason);
        self.tell_connected(id, &publisher, code);
        self.reply(id, |out| {
            emqttd_mqtt::encode_connack(out, version, &connack)
        });
        let why = match reason {
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "bad_clientid",
            ReasonCode::BAD_USER_NAME_OR_PASSWORD
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::SERVER_UNAVAILABLE => "auth_failure",
            ReasonCode::BANNED => "banned",
            ReasonCode::BAD_AUTHENTICATION_METHOD => "bad_auth_method",
            _ => "refused",
        };
        self.end(id, why);
    }

    /// A first packet that could not be read, or is none that may come first.
    pub(crate) fn refuse_bad_connect(&mut self, id: ConnId, error: &DecodeError, packet: &[u8]) {
        let fresh = self.conns[id as usize].phase == Phase::Fresh;
        let version = match error.kind {
            // [MQTT-3.1.2-2]: the level is answered in the language of 3.1.1, which all understand.
            DecodeErrorKind::UnsupportedVersion => Version::V311,
            // [MQTT-3.1.4-1]: the client has said that it speaks 5.0.
            _ if fresh && says_v5(packet) => Version::V5,
            _ => return self.end(id, first_packet_reason(error)),
        };
        self.counters.add(Metric::Connect, 1);
        self.counters.add(Metric::Connack, 1);
        let code = connack_code(version, error.reason());
        let connack = ConnAckOut {
            session_present: false,
            code,
            props: ConnAckProps::default(),
        };
        self.reply(id, |out| {
            emqttd_mqtt::encode_connack(out, version, &connack)
        });
        self.end(id, error.emq_reason());
    }

    /// A client id of the form EMQ gives out, belonging to this shard.
    fn new_clientid(&mut self) -> Arc<str> {
        loop {
            self.epoch = self.epoch.wrapping_add(1);
            let number = self.hasher.hash_one((self.epoch, self.unix, self.index)) >> 16;
            let id = format!("emqttd_{number}");
            if self.node.shard_of(&id) == self.index && self.find_session(&id).is_none() {
                return id.into();
            }
        }
    }

    fn accept(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: Arc<Publisher>,
        extras: &Extras<'_>,
    ) {
        let version = connect.version;
        let v5 = version == Version::V5;
        let asked = connect.properties.session_expiry().unwrap_or(0);
        let (expiry, expiry_told) = self.session_expiry(connect, asked);
        let kept = self.find_session(&publisher.clientid);
        let kept = kept.is_some_and(|slot| self.is_lasting(slot));
        let (slot, present) = self.take_session(connect.clean_start, &publisher, expiry > 0);
        let now = self.now;
        let allowed = self.may_leave(id, connect) == Some(Permit::Allowed);
        let will = connect
            .will
            .as_ref()
            .map(|will| self.make_will(id, will, &publisher, allowed));
        let most_keepalive = self.settings.mqtt.max_keepalive;
        let keepalive = match (connect.keep_alive, most_keepalive) {
            (_, 0) => connect.keep_alive,
            (0, most) => most,
            (asked, most) => asked.min(most),
        };
        let most_aliases = connect
            .properties
            .topic_alias_maximum()
            .unwrap_or(0)
            .min(MOST_ALIASES_OUT);
        let trace = self.node.traces.client(&publisher.clientid);
        let conn = &mut self.conns[id as usize];
        conn.session = slot;
        conn.phase = Phase::Connected;
        conn.traced = trace.is_some();
        conn.max_packet = connect.properties.maximum_packet_size().unwrap_or(u32::MAX);
        conn.mounted = conn.peek().peer.listener.settings.mountpoint.is_some();
        let same_for_all = !v5 || (most_aliases == 0 && conn.max_packet == u32::MAX);
        conn.plain = same_for_all && !conn.mounted;
        let detail = conn.detail();
        detail.will = will;
        if trace.is_some() {
            detail.rare().trace = trace;
        }
        if conn.traced {
            let packet = emqttd_mqtt::Packet::Connect(Box::new(connect.clone()));
            crate::trace::received(conn, &packet);
        }
        let detail = conn.detail();
        // The server keeps to a 3.x client's own keep alive: it cannot tell it another.
        detail.keepalive = if v5 { keepalive } else { connect.keep_alive };
        detail.expiry = expiry;
        detail.clean_start = connect.clean_start;
        detail.connected_at = unix_seconds();
        detail.delivered_before = self.sessions[slot as usize].session.delivered;
        if most_aliases > 0 {
            detail.rare().aliases_out = AliasesOut {
                most: most_aliases,
                ..AliasesOut::default()
            };
        }
        if detail.keepalive > 0 {
            self.conn_timers
                .set(id, now + u64::from(detail.keepalive) * 1500);
        } else {
            self.conn_timers.cancel(id);
        }
        self.session_timers.cancel(slot);
        let identity = self.identity_of(id, &publisher);
        let generation = self.node.access.generation();
        let recheck = present && self.needs_recheck(id, slot, &publisher);
        if present && self.sessions[slot as usize].publisher.username != publisher.username {
            self.check_all_from_now_on(slot);
        }
        let entry = &mut self.sessions[slot as usize];
        entry.identity = identity;
        entry.acl_generation = generation;
        entry.conn = id;
        entry.expiry = expiry;
        entry.expires_at = 0;
        entry.publisher = Arc::clone(&publisher);
        let receive_maximum = connect.properties.receive_maximum().unwrap_or(u16::MAX);
        entry.session.attach(version, receive_maximum, now);
        if let Some(owing) = &entry.owing {
            owing.set_merges(v5);
        }
        self.write_session(slot);
        self.node.gauges.clients.up();
        self.tell_connected(id, &publisher, 0);
        let position = self.conns[id as usize].out.end();
        self.send_connack(
            id,
            connect,
            &publisher,
            present,
            expiry_told,
            keepalive,
            extras,
        );
        if kept && !present {
            // Who was told that his session is gone does not find it again [MQTT-3.1.2-4].
            self.gate(id, position);
        }
        if self.closing(id) {
            // CONNACK was larger than the client takes.
            return;
        }
        if recheck {
            self.recheck_subscriptions(id);
        }
        let (entry, mut sink) = self.sink(slot);
        entry.session.resume(now, &mut sink);
        self.handle_effects(slot);
        if self.sessions[slot as usize].session.needs_loading() {
            self.want_in_flight(slot);
        }
        self.arm_session(slot);
        if let Some(replay) = self.sessions[slot as usize].replay.take() {
            self.conns[id as usize].detail().rare().replay = *replay;
            self.replay(id);
        }
        self.offer_groups(slot);
    }

    /// Session Expiry Interval in force, and the one to tell the client when it is another than it asked for.
    fn session_expiry(&self, connect: &Connect<'_>, asked: u32) -> (u32, Option<u32>) {
        let settings = &self.settings.session;
        if connect.version != Version::V5 {
            let kept = u32::try_from(settings.expiry_interval.as_secs()).unwrap_or(u32::MAX - 1);
            return (if connect.clean_start { 0 } else { kept }, None);
        }
        let most = settings.max_expiry_interval.as_secs();
        if most > 0 && u64::from(asked) > most {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            return (most, Some(most));
        }
        (asked, None)
    }

    /// The session for a client id: a new one, or the one that is there, whoever had it
    /// [MQTT-3.1.4-3], [MQTT-3.1.2-4], [MQTT-3.1.2-5]. The flag is Session Present.
    fn take_session(
        &mut self,
        clean_start: bool,
        publisher: &Arc<Publisher>,
        lasting: bool,
    ) -> (u32, bool) {
        if let Some(slot) = self.find_session(&publisher.clientid) {
            let entry = &self.sessions[slot as usize];
            let old = entry.conn;
            if old != NONE {
                self.take_over(old, clean_start);
            } else if entry.expires_at <= self.now {
                // Its time is over, though its timer has not fired yet.
                self.end_session(slot, "expired");
            }
            // Unless it went with its connection just now.
            if clean_start && let Some(slot) = self.find_session(&publisher.clientid) {
                self.end_session(slot, "conflict");
            }
            // Plugins hear that the old one is gone before they hear of the new one.
            self.settle();
            if let Some(slot) = self.find_session(&publisher.clientid) {
                // Back before the delay was over: no will [MQTT-3.1.3-9].
                self.sessions[slot as usize].will = None;
                return (slot, true);
            }
        }
        let session = Session::new(Arc::clone(&self.limits));
        let slot = self.new_session(session, publisher);
        if lasting {
            self.make_lasting(slot);
        }
        self.node.hooks.each(HookPoint::SessionCreated, |h| {
            h.session_created(by_name(publisher));
        });
        (slot, false)
    }

    /// Gives a session its place.
    pub(crate) fn new_session(&mut self, session: Session, publisher: &Arc<Publisher>) -> u32 {
        self.epoch = self.epoch.wrapping_add(1) % crate::target::EPOCHS;
        let slot = self.sessions.insert(SessionSlot {
            session,
            publisher: Arc::clone(publisher),
            owing: None,
            conn: NONE,
            epoch: self.epoch,
            expiry: 0,
            expires_at: 0,
            will: None,
            groups: Vec::new(),
            replay: None,
            notes: None,
            refused_group: false,
            alarmed: false,
            acl_generation: self.node.access.generation(),
            identity: 0,
            created_at: unix_seconds(),
        }) as u32;
        let Shard {
            registry,
            sessions,
            hasher,
            ..
        } = self;
        let hash_of = |slot: &u32| hasher.hash_one(&*sessions[*slot as usize].publisher.clientid);
        let hash = hasher.hash_one(&*publisher.clientid);
        match registry.entry(hash, |other| *other == slot, hash_of) {
            Entry::Vacant(entry) => {
                entry.insert(slot);
            }
            Entry::Occupied(_) => {}
        }
        self.node.gauges.sessions.up();
        slot
    }

    /// Whether all is known of a client that is to be accepted; `None` = it has to wait.
    fn rights(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Publisher,
    ) -> Option<Permit> {
        let resume = self.may_resume(id, publisher, connect.clean_start);
        // Asked side by side.
        let leave = self.may_leave(id, connect);
        leave.and(resume)
    }

    /// Whether the will may be published as things are now; `None` = the client has to wait for the answer.
    /// Asked only where it would be stored.
    fn may_leave(&mut self, id: ConnId, connect: &Connect<'_>) -> Option<Permit> {
        match &connect.will {
            Some(will) if self.journal.is_some() => {
                let topic = self.mounted(id, will.topic);
                self.may(id, Access::Publish, &topic)
            }
            _ => Some(Permit::Allowed),
        }
    }

    /// A topic name with the mountpoint of the client's listener.
    fn mounted<'t>(&self, id: ConnId, topic: &'t str) -> Cow<'t, str> {
        let listener = &self.conns[id as usize].peek().peer.listener;
        match &listener.settings.mountpoint {
            Some(prefix) => Cow::Owned(format!("{prefix}{topic}")),
            None => Cow::Borrowed(topic),
        }
    }

    pub(crate) fn make_will(
        &self,
        id: ConnId,
        will: &emqttd_mqtt::Will<'_>,
        publisher: &Arc<Publisher>,
        allowed: bool,
    ) -> Box<Will> {
        let topic = &self.mounted(id, will.topic);
        let mut properties = Vec::new();
        will.properties.forwardable(&mut properties);
        let parts = MessageParts {
            topic,
            properties: &properties,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
        };
        // Its lifetime begins when it is published; until then the seconds stand in this field.
        let lifetime = will.properties.message_expiry().map_or(u64::MAX, u64::from);
        Box::new(Will {
            message: Arc::new(Message::new(
                parts,
                Some(Arc::clone(publisher)),
                self.unix,
                lifetime,
            )),
            delay: will.properties.will_delay().unwrap_or(0),
            allowed,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn send_connack(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Publisher,
        session_present: bool,
        session_expiry: Option<u32>,
        keepalive: u16,
        extras: &Extras<'_>,
    ) {
        let retains = self.node.retained.is_on();
        self.conns[id as usize].detail().told_no_retain =
            !retains && connect.version == Version::V5;
        let mqtt = &self.settings.mqtt;
        let response_information;
        let mut props = ConnAckProps::default();
        if connect.version == Version::V5 {
            props.retain_available = (!retains).then_some(false);
            let receive_maximum = self.settings.session.max_awaiting_rel;
            props.session_expiry = session_expiry;
            props.receive_maximum = (receive_maximum > 0).then_some(receive_maximum);
            props.maximum_packet_size = u32::try_from(mqtt.max_packet_size).ok();
            props.topic_alias_maximum = (mqtt.max_topic_alias > 0).then_some(mqtt.max_topic_alias);
            // [MQTT-3.2.2-21]
            props.server_keep_alive = (keepalive != connect.keep_alive).then_some(keepalive);
            // [MQTT-3.1.3-7]
            props.assigned_client_id = extras.assigned.then_some(&*publisher.clientid);
            props.auth_method = extras.auth_method;
            props.auth_data = extras.auth_data.filter(|data| !data.is_empty());
            // [MQTT-3.1.2-28]
            if connect.properties.request_response_information() == Some(true) {
                response_information = format!("response/{}", publisher.clientid);
                props.response_information = Some(&response_information);
            }
        }
        let mut connack = ConnAckOut {
            session_present,
            code: 0,
            props,
        };
        let most = self.conns[id as usize].max_packet as usize;
        let mut packet = Vec::new();
        emqttd_mqtt::encode_connack(&mut packet, connect.version, &connack);
        if packet.len() > most {
            // A client of very small packets goes without what it may also learn by going wrong.
            let props = &mut connack.props;
            (props.receive_maximum, props.maximum_packet_size) = (None, None);
            (props.topic_alias_maximum, props.response_information) = (None, None);
            packet.clear();
            emqttd_mqtt::encode_connack(&mut packet, connect.version, &connack);
        }
        self.counters.add(Metric::Connack, 1);
        self.reply(id, |out| out.extend_from_slice(&packet));
    }

    /// CONNECT with an Authentication Method: the exchange runs before CONNACK (MQTT 5, 4.12).
    fn begin_exchange(
        &mut self,
        id: ConnId,
        publisher: &Arc<Publisher>,
        method: &str,
        connect: &Connect<'_>,
        whole: &[u8],
    ) -> Taken {
        let Some(mechanism) = self.node.access.mechanism(method) else {
            let username = publisher.username.clone();
            let reason = ReasonCode::BAD_AUTHENTICATION_METHOD;
            self.refuse(id, reason, connect.client_id, username.as_deref());
            return Taken::Done;
        };
        let client = self.connecting_client(id, connect, publisher);
        let mut exchange = mechanism.begin(&client);
        let step = exchange.step(connect.properties.auth_data().unwrap_or_default());
        let running = RunningExchange {
            method: method.into(),
            exchange: Some(exchange),
            connect: Some(whole.to_vec()),
            proved: None,
        };
        let conn = &mut self.conns[id as usize];
        conn.phase = Phase::Authenticating;
        conn.detail().rare().exchange = Some(running);
        self.exchange_step(id, step)
    }

    /// AUTH from the client: goes on with an exchange, or begins to re-authenticate.
    pub(crate) fn on_auth(&mut self, id: ConnId, auth: &Auth<'_>) -> Taken {
        let publisher = self.conns[id as usize].peek().publisher.clone();
        let Some(mut running) = self.conns[id as usize].detail().rare().exchange.take() else {
            // [MQTT-4.12.0-7]: without a method in CONNECT there is no AUTH.
            self.close(id, ReasonCode::PROTOCOL_ERROR, "protocol_error");
            return Taken::Done;
        };
        // [MQTT-4.12.1-1]: the method never changes.
        if auth.properties.auth_method() != Some(&*running.method) {
            self.conns[id as usize].detail().rare().exchange = Some(running);
            self.close(id, ReasonCode::PROTOCOL_ERROR, "bad_auth_method");
            return Taken::Done;
        }
        if auth.reason == ReasonCode::RE_AUTHENTICATE
            && running.connect.is_none()
            && let (Some(mechanism), Some(publisher)) =
                (self.node.access.mechanism(&running.method), publisher)
        {
            running.exchange = Some(mechanism.begin(&self.client_of(id, &publisher)));
        } else if auth.reason != ReasonCode::CONTINUE_AUTHENTICATION {
            running.exchange = None;
        }
        let data = auth.properties.auth_data().unwrap_or_default();
        let step = running
            .exchange
            .as_mut()
            .map(|exchange| exchange.step(data));
        self.conns[id as usize].detail().rare().exchange = Some(running);
        match step {
            Some(step) => self.exchange_step(id, step),
            None => {
                self.close(id, ReasonCode::PROTOCOL_ERROR, "protocol_error");
                Taken::Done
            }
        }
    }

    fn exchange_step(&mut self, id: ConnId, step: ExchangeStep) -> Taken {
        let Some(mut running) = self.conns[id as usize].detail().rare().exchange.take() else {
            return Taken::Done;
        };
        let before_connack = running.connect.is_some();
        let step = match step {
            ExchangeStep::Success { .. } if !self.take_name(id, &running) => ExchangeStep::Fail,
            step => step,
        };
        match step {
            ExchangeStep::Continue(data) => {
                self.counters.add(Metric::AuthSent, 1);
                let method = running.method.clone();
                self.conns[id as usize].detail().rare().exchange = Some(running);
                self.reply(id, |out| {
                    let reason = ReasonCode::CONTINUE_AUTHENTICATION;
                    emqttd_mqtt::encode_auth(out, reason, Some(&method), Some(&data), None);
                });
            }
            ExchangeStep::Success { data, superuser } => {
                let conn = &mut self.conns[id as usize];
                let was_superuser = std::mem::replace(&mut conn.superuser, superuser);
                // It remembers what the client was allowed to publish.
                if let Some(cache) = &mut conn.cache {
                    cache.known = Known::default();
                }
                running.exchange = None;
                if before_connack {
                    running.proved = Some(data);
                    self.conns[id as usize].detail().rare().exchange = Some(running);
                    return self.accept_after_exchange(id);
                }
                let method = running.method.clone();
                self.conns[id as usize].detail().rare().exchange = Some(running);
                if was_superuser {
                    self.recheck_subscriptions(id);
                }
                self.counters.add(Metric::AuthSent, 1);
                self.reply(id, |out| {
                    let reason = ReasonCode::SUCCESS;
                    emqttd_mqtt::encode_auth(out, reason, Some(&method), Some(&data), None);
                });
            }
            // [MQTT-4.12.0-1], [MQTT-4.12.1-2]
            ExchangeStep::Fail if before_connack => {
                if let Some(publisher) = self.conns[id as usize].peek().publisher.clone() {
                    let username = publisher.username.as_deref();
                    self.refuse(
                        id,
                        ReasonCode::NOT_AUTHORIZED,
                        &publisher.clientid,
                        username,
                    );
                    self.tell_disconnected(id, &publisher, "auth_failure");
                }
            }
            ExchangeStep::Fail => self.close(id, ReasonCode::NOT_AUTHORIZED, "auth_failure"),
        }
        Taken::Done
    }

    /// The user name that an exchange has proved is the client's: `false` when it has another one.
    fn take_name(&mut self, id: ConnId, running: &RunningExchange) -> bool {
        let exchange = running.exchange.as_ref();
        let Some(name) = exchange.and_then(|exchange| exchange.username()) else {
            return true;
        };
        let detail = self.conns[id as usize].detail();
        let Some(publisher) = &detail.publisher else {
            return false;
        };
        match publisher.username.as_deref() {
            Some(known) => known == name,
            // A client that came in without a name stays without: its session and rights are nobody's.
            None if running.connect.is_none() => false,
            None => {
                detail.publisher = Some(Arc::new(Publisher {
                    clientid: Arc::clone(&publisher.clientid),
                    username: Some(name.into()),
                }));
                true
            }
        }
    }

    /// Whether an exchange has succeeded and its client waits to be accepted: the packet that comes is then
    /// the one that ended it, again.
    pub(crate) fn has_proved(&self, id: ConnId) -> bool {
        let rare = self.conns[id as usize].peek().rare.as_ref();
        let running = rare.and_then(|rare| rare.exchange.as_ref());
        running.is_some_and(|running| running.proved.is_some())
    }

    /// Accepts a client whose exchange has succeeded, when its rights are known.
    pub(crate) fn accept_after_exchange(&mut self, id: ConnId) -> Taken {
        let publisher = self.conns[id as usize].peek().publisher.clone();
        let Some(running) = &mut self.conns[id as usize].detail().rare().exchange else {
            return Taken::Done;
        };
        let method = running.method.clone();
        let (whole, proved) = (running.connect.take(), running.proved.take());
        let whole = whole.unwrap_or_default();
        // It was decoded once already, so it decodes again.
        let header = emqttd_mqtt::fixed_header(&whole).ok().flatten();
        let decoded = header.map(|h| emqttd_mqtt::decode(Version::V5, h.first, &whole[h.len..]));
        let (Some(Ok(emqttd_mqtt::Packet::Connect(connect))), Some(publisher)) =
            (decoded, publisher)
        else {
            return Taken::Done;
        };
        // Its name may be known only now, and the ban be newer than its CONNECT.
        if self.is_banned(id, &publisher) {
            self.refuse_banned(id, &publisher);
            return Taken::Done;
        }
        match self.rights(id, &connect, &publisher) {
            None => {
                if let Some(kept) = &mut self.conns[id as usize].detail().rare().exchange {
                    (kept.connect, kept.proved) = (Some(whole), proved);
                }
                return Taken::Waits;
            }
            Some(Permit::Unknown) => {
                self.refuse_access(id, &publisher, ReasonCode::SERVER_UNAVAILABLE);
            }
            Some(Permit::Allowed | Permit::Denied) => {
                let assigned = connect.client_id.is_empty();
                let extras = Extras {
                    auth_method: Some(&method),
                    auth_data: proved.as_deref(),
                    assigned,
                };
                self.accept(id, &connect, publisher, &extras);
            }
        }
        Taken::Done
    }

    /// The old connection of a client id that has come again.
    fn take_over(&mut self, old: ConnId, clean_start: bool) {
        let v5 = self.version_of(old) == Version::V5;
        let detail = self.conns[old as usize].detail();
        let will = detail.will.take();
        let slot = self.conns[old as usize].session;
        // A session that lasts only as long as its connection ends with it, whoever comes
        // [MQTT-3.1.2-6 of 3.1.1].
        let ends = clean_start || self.sessions[slot as usize].expiry == 0;
        // 3.x clients see EMQ's way: no will on takeover. MQTT 5 has it, unless its delay lets the
        // client return in time [MQTT-3.1.3-9]; the end of the session ends the delay.
        if let Some(will) = will
            && v5
            && (will.delay == 0 || ends)
        {
            self.publish_will(old, &will.message);
        }
        if v5 {
            self.say_goodbye(old, ReasonCode::SESSION_TAKEN_OVER);
        }
        self.detach(old, "conflict", true);
        self.end(old, "conflict");
        if ends {
            self.end_session(slot, "conflict");
        } else {
            // In one batch with the will that has left it.
            self.write_session(slot);
        }
    }

    /// Publishes a will if its client may; its lifetime begins now.
    pub(crate) fn publish_will(&mut self, id: ConnId, will: &Arc<Message>) {
        self.judge_will(id, will, |shard, will, allowed| {
            if allowed {
                shard.publish_allowed_will(&will);
            }
        });
    }

    pub(crate) fn publish_allowed_will(&mut self, will: &Arc<Message>) {
        let expires_at = match will.expires_at {
            u64::MAX => u64::MAX,
            seconds => self.now + seconds * 1000,
        };
        let message = Message::new(will.parts(), will.publisher.clone(), self.unix, expires_at);
        self.later.push_back(Later::Publish(Arc::new(message)));
    }
}

/// The CONNACK code of a reason: 3.x has five.
fn connack_code(version: Version, reason: ReasonCode) -> u8 {
    if version == Version::V5 {
        return reason.0;
    }
    match reason {
        ReasonCode::SUCCESS => 0,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED => 4,
        ReasonCode::BANNED => 5,
        _ => 3,
    }
}

/// Whether a packet begins as a CONNECT of MQTT 5 does.
fn says_v5(packet: &[u8]) -> bool {
    let header = emqttd_mqtt::fixed_header(packet).ok().flatten();
    header.is_some_and(|header| {
        header.first >> 4 == 1 && packet[header.len..].starts_with(b"\0\x04MQTT\x05")
    })
}

fn first_packet_reason(error: &DecodeError) -> &'static str {
    if error.detail == "the first packet is not CONNECT" {
        "protocol_not_connected"
    } else {
        error.emq_reason()
    }
}
