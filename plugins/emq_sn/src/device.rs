//! One client: what it says, what the broker says to it, and what comes of time. No I/O.

use crate::downlink::{Downlink, Far, Patience};
use crate::packet::{Flags, Packet, ReturnCode, Topic, TopicKind, WillTopic};
use crate::topics::Registry;
use crate::world::{Connect, Count, Env, Kind, Peer, Taken, Ticket, World};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::topic::{has_wildcard, validate_filter, validate_name};
use emqttd_plugin_sdk::virtual_client::{Incoming, Outgoing, Will};
use std::sync::Arc;

/// How long what the broker has for one that wakes up is waited for, milliseconds.
const WAKING: u64 = 1000;
/// Questions to the broker without an answer, of one client, at the most.
const ASKS: usize = 16;
/// Messages at QoS 2 of a client that it has not released, at the most; then the oldest is forgotten.
const RECEIVED: usize = 32;

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has said CONNECT, and is asked for its will.
    Opening,
    /// The broker is asked.
    Connecting,
    /// It listens all the time.
    Active,
    /// It does not listen.
    Asleep,
    /// It has asked for what waits, and what the broker has for it is on its way.
    Waking,
    /// It sleeps, but listens until it has what waited for it.
    Awake,
}

/// Which part of its will the client is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    WillTopic,
    WillMsg,
}

/// Whether the client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum After {
    Stays,
    Gone,
}

/// What a CONNECT of a client that is there already means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// it is the same, or is done
    Done,
    /// it may not do that now
    Gone,
    /// it begins anew
    Anew,
}

/// CONNECT, with its client id as a text.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    pub flags: Flags,
    /// keep alive, seconds
    pub duration: u16,
    pub client_id: &'a str,
}

/// The broker's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// with a reason code, or of SUBACK
    Code(u8),
    /// the connection has ended before
    Ended,
}

/// A question to the broker.
#[derive(Debug)]
struct Ask {
    ticket: Ticket,
    what: Asking,
}

#[derive(Debug)]
enum Asking {
    Publish { qos: QoS, topic_id: u16 },
    Subscribe { what: Subscribing, asked: QoS },
    Unsubscribe,
}

/// What SUBACK will say.
#[derive(Debug)]
enum Subscribing {
    /// this id
    Id(u16),
    /// the id of this name
    Name(Box<str>),
}

/// One client.
pub struct Device<C> {
    /// where it is
    pub peer: Peer,
    /// its client identifier, as it has said it
    pub client_id: Arc<str>,
    /// which one of all that ever were
    pub serial: u32,
    /// when it is to be looked at; 0 = never
    pub timer: u64,
    state: State,
    asked: Asked,
    asked_tries: u8,
    clean: bool,
    /// keep alive, seconds
    duration: u16,
    /// how long it sleeps, seconds
    sleep: u16,
    /// when it was asked for its will
    asked_at: u64,
    /// when something came from it
    heard: u64,
    client: Option<C>,
    /// also one without a topic, which is none
    will: Option<Box<Will>>,
    registry: Registry,
    asks: Vec<Ask>,
    /// messages at QoS 2 that wait for PUBREL
    received: Vec<u16>,
    downlink: Option<Box<Downlink>>,
    /// packets from and to it, when they are counted
    pub traffic: (u32, u32),
}

impl<C> Device<C> {
    /// One that has said CONNECT.
    pub fn new(peer: Peer, serial: u32, hello: Hello<'_>, now: u64) -> Device<C> {
        Device {
            peer,
            client_id: hello.client_id.into(),
            serial,
            timer: 0,
            state: State::Opening,
            asked: Asked::Nothing,
            asked_tries: 0,
            // A session without a name cannot be kept.
            clean: hello.flags.clean() || hello.client_id.is_empty(),
            duration: hello.duration,
            sleep: 0,
            asked_at: 0,
            heard: now,
            client: None,
            will: None,
            registry: Registry::default(),
            asks: Vec::new(),
            received: Vec::new(),
            downlink: None,
            traffic: (0, 0),
        }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the broker owes it an answer about a subscription, which is to come before messages.
    pub fn subscribes(&self) -> bool {
        let subscribes = |ask: &Ask| ask.ticket.kind == Kind::Subscribe;
        self.asks.iter().any(subscribes)
    }

    /// Whether something is remembered of what the broker has for it.
    #[doc(hidden)]
    pub fn owes(&self) -> bool {
        self.downlink.is_some()
    }

    /// What is remembered is within its bounds.
    ///
    /// # Panics
    /// When that is not so.
    #[doc(hidden)]
    pub fn check(&self) {
        assert!(self.asks.len() <= ASKS && self.received.len() <= RECEIVED);
        if let Some(downlink) = &self.downlink {
            downlink.check();
        }
    }

    /// Takes its connection to the broker away.
    pub fn take_client(&mut self) -> Option<C> {
        self.client.take()
    }

    /// When it is to be looked at next.
    pub fn deadline<W: World>(&self, env: &Env<'_, W>) -> Option<u64> {
        let asked = (self.asked != Asked::Nothing)
            .then(|| self.asked_at.saturating_add(env.rules.retry_interval));
        let listens = matches!(self.state, State::Active | State::Awake);
        let retry = self.downlink.as_ref().filter(|_| listens);
        let retry = retry.and_then(|downlink| downlink.due(env.rules.retry_interval));
        let waking = (self.state == State::Waking).then(|| self.heard.saturating_add(WAKING));
        [asked, retry, waking, self.silence_ends()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When it is lost unless something comes from it.
    fn silence_ends(&self) -> Option<u64> {
        let patience = match self.state {
            State::Opening | State::Connecting => return None,
            State::Active if self.duration == 0 => return None,
            State::Active => u64::from(self.duration) * 1500,
            State::Asleep | State::Waking | State::Awake => sleep_patience(self.sleep),
        };
        Some(self.heard.saturating_add(patience))
    }

    fn end<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, reason: &'static str) -> After {
        self.tell_end(env);
        if let Some(client) = self.client.take() {
            env.world.abort(client, reason);
        }
        After::Gone
    }

    // CONNECT and the will.

    /// The first CONNECT: asks for the will, or the broker.
    pub fn begin<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, hello: Hello<'_>) {
        match hello.flags.will() {
            true => self.ask(env, Asked::WillTopic),
            false => self.connect(env),
        }
    }

    fn connect<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        self.asked = Asked::Nothing;
        self.state = State::Connecting;
        let connect = Connect {
            client_id: self.client_id.to_string(),
            clean: self.clean,
            will: self.effective_will(),
        };
        env.world.connect(env.key, &self.peer, connect);
    }

    fn effective_will(&self) -> Option<Will> {
        let will = self.will.as_deref().filter(|will| !will.topic.is_empty());
        will.cloned()
    }

    fn ask<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, what: Asked) {
        self.asked = what;
        self.asked_at = env.now;
        self.asked_tries = 0;
        self.repeat_question(env);
    }

    fn repeat_question<W: World<Client = C>>(&self, env: &mut Env<'_, W>) {
        match self.asked {
            Asked::Nothing => {}
            Asked::WillTopic => env.world.send(&self.peer, &Packet::WillTopicReq),
            Asked::WillMsg => env.world.send(&self.peer, &Packet::WillMsgReq),
        }
    }

    /// Another CONNECT from where it is.
    pub fn connect_again<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        hello: Hello<'_>,
    ) -> Again {
        let same = *hello.client_id == *self.client_id;
        match self.state {
            State::Opening => Again::Anew,
            // The answer is on its way.
            State::Connecting if same && self.duration == hello.duration => Again::Done,
            State::Connecting => Again::Anew,
            State::Active if !same || self.duration != hello.duration => self.refuse(env),
            State::Asleep | State::Waking | State::Awake if !same => self.refuse(env),
            State::Active => {
                self.registry.clear();
                if let Some(downlink) = &mut self.downlink {
                    downlink.forget_ids();
                }
                self.greet(env, ReturnCode::ACCEPTED);
                if hello.flags.will() {
                    self.ask(env, Asked::WillTopic);
                }
                self.pump(env);
                Again::Done
            }
            State::Asleep | State::Waking | State::Awake => {
                self.duration = hello.duration;
                self.state = State::Active;
                self.greet(env, ReturnCode::ACCEPTED);
                self.resend_and_pump(env);
                Again::Done
            }
        }
    }

    fn refuse<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) -> Again {
        self.greet(env, ReturnCode::NOT_SUPPORTED);
        if let Some(client) = self.client.take() {
            env.world.abort(client, "protocol_error");
        }
        Again::Gone
    }

    fn greet<W: World<Client = C>>(&self, env: &mut Env<'_, W>, code: ReturnCode) {
        env.world.send(&self.peer, &Packet::ConnAck(code));
    }

    /// The broker has let it in, or not. Gives the connection back when it is not wanted any more.
    pub fn connected<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        outcome: Option<C>,
    ) -> After {
        match outcome {
            None => {
                self.greet(env, ReturnCode::CONGESTION);
                After::Gone
            }
            Some(client) => {
                self.client = Some(client);
                self.state = State::Active;
                self.heard = env.now;
                self.greet(env, ReturnCode::ACCEPTED);
                After::Stays
            }
        }
    }

    fn on_will_topic<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        will: Option<WillTopic<'_>>,
    ) -> After {
        if self.asked == Asked::Nothing {
            return After::Stays;
        }
        let Some(will) = will else {
            self.will = None;
            return self.will_is_known(env);
        };
        match self.put_will_topic(will) {
            true => {
                self.ask(env, Asked::WillMsg);
                After::Stays
            }
            // Later it keeps the will that it has.
            false if self.state == State::Opening => {
                self.greet(env, ReturnCode::NOT_SUPPORTED);
                After::Gone
            }
            false => {
                self.asked = Asked::Nothing;
                After::Stays
            }
        }
    }

    fn on_will_msg<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, payload: &[u8]) -> After {
        if self.asked != Asked::WillMsg {
            return After::Stays;
        }
        self.will_or_new().payload = payload.into();
        self.will_is_known(env)
    }

    fn will_is_known<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) -> After {
        self.asked = Asked::Nothing;
        match self.state {
            State::Opening => self.connect(env),
            _ => self.update_will(env),
        }
        After::Stays
    }

    fn will_or_new(&mut self) -> &mut Will {
        self.will.get_or_insert_with(|| {
            Box::new(Will {
                topic: String::new(),
                payload: Vec::new(),
                qos: QoS::AtMostOnce,
                retain: false,
            })
        })
    }

    /// Whether it is a topic name.
    fn put_will_topic(&mut self, asked: WillTopic<'_>) -> bool {
        let Some(topic) = name(asked.topic) else {
            return false;
        };
        let will = self.will_or_new();
        will.topic = topic.into();
        will.retain = asked.flags.retain();
        will.qos = QoS::from_u8(asked.flags.qos()).unwrap_or_default();
        true
    }

    fn update_will<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        let will = self.effective_will();
        if let Some(client) = &self.client {
            env.world.set_will(client, will);
        }
    }

    fn on_will_topic_upd<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        will: Option<WillTopic<'_>>,
    ) {
        let code = match will {
            None => {
                self.will = None;
                ReturnCode::ACCEPTED
            }
            Some(will) if self.put_will_topic(will) => ReturnCode::ACCEPTED,
            Some(_) => ReturnCode::NOT_SUPPORTED,
        };
        if code == ReturnCode::ACCEPTED {
            self.update_will(env);
        }
        env.world.send(&self.peer, &Packet::WillTopicResp(code));
    }

    fn on_will_msg_upd<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, payload: &[u8]) {
        self.will_or_new().payload = payload.into();
        self.update_will(env);
        let packet = Packet::WillMsgResp(ReturnCode::ACCEPTED);
        env.world.send(&self.peer, &packet);
    }

    // Packets.

    /// A packet has come that is not CONNECT.
    pub fn packet<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        packet: &Packet<'_>,
    ) -> After {
        match *packet {
            Packet::WillTopic(will) => return self.on_will_topic(env, will),
            Packet::WillMsg(payload) => return self.on_will_msg(env, payload),
            Packet::Disconnect(duration) => return self.on_disconnect(env, duration),
            _ => {}
        }
        if self.client.is_none() {
            // Nothing counts before CONNACK.
            return After::Stays;
        }
        match *packet {
            Packet::Register { msg_id, name, .. } => self.on_register(env, msg_id, name),
            Packet::Publish {
                flags,
                topic,
                msg_id,
                payload,
            } => self.on_publish(env, flags, topic, msg_id, payload),
            Packet::PubRel(msg_id) => {
                self.received.retain(|id| *id != msg_id);
                if self.received.is_empty() {
                    self.received = Vec::new();
                }
                env.world.send(&self.peer, &Packet::PubComp(msg_id));
            }
            Packet::Subscribe {
                flags,
                msg_id,
                topic,
            } => self.on_subscribe(env, flags, msg_id, topic),
            Packet::Unsubscribe { msg_id, topic, .. } => self.on_unsubscribe(env, msg_id, topic),
            Packet::PingReq(client_id) => self.on_pingreq(env, client_id),
            Packet::WillTopicUpd(will) => self.on_will_topic_upd(env, will),
            Packet::WillMsgUpd(payload) => self.on_will_msg_upd(env, payload),
            Packet::RegAck { .. }
            | Packet::PubAck { .. }
            | Packet::PubRec(_)
            | Packet::PubComp(_) => self.on_answer_of_client(env, packet),
            _ => return After::Stays,
        }
        // One that sleeps is kept by what it says as PINGREQ of its own.
        if self.state != State::Asleep {
            self.heard = env.now;
        }
        After::Stays
    }

    fn on_disconnect<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        duration: Option<u16>,
    ) -> After {
        env.world.send(&self.peer, &Packet::Disconnect(None));
        let sleeps = duration.filter(|seconds| *seconds > 0 && self.client.is_some());
        if let Some(seconds) = sleeps {
            self.state = State::Asleep;
            self.sleep = seconds;
            self.heard = env.now;
            self.asked = Asked::Nothing;
            return After::Stays;
        }
        if let Some(client) = self.client.take() {
            env.world.disconnect(client);
        }
        After::Gone
    }

    fn on_pingreq<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, client_id: &[u8]) {
        match self.state {
            State::Active => env.world.send(&self.peer, &Packet::PingResp),
            // One without a name has none to wake up by.
            _ if client_id.is_empty() || *client_id != *self.client_id.as_bytes() => {}
            State::Asleep => {
                if let Some(client) = &self.client {
                    self.state = State::Waking;
                    env.world.catch_up(env.key, client);
                }
            }
            State::Awake => self.resend_and_pump(env),
            _ => {}
        }
    }

    /// What the broker had for it has come.
    pub fn caught_up<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        if self.state == State::Waking {
            self.state = State::Awake;
            self.resend_and_pump(env);
        }
    }

    fn on_register<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        msg_id: u16,
        text: &[u8],
    ) {
        let predefined = &env.rules.predefined;
        let id = name(text).and_then(|name| self.registry.register(name, predefined));
        let code = match id {
            Some(_) => ReturnCode::ACCEPTED,
            None => ReturnCode::NOT_SUPPORTED,
        };
        let packet = Packet::RegAck {
            topic_id: id.unwrap_or(0),
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
        // The broker's messages may wait for that very name.
        self.pump(env);
    }

    /// The topic name that stands in a PUBLISH.
    fn topic_of<W: World<Client = C>>(
        &self,
        env: &Env<'_, W>,
        kind: TopicKind,
        topic: u16,
    ) -> Result<String, ReturnCode> {
        let predefined = &env.rules.predefined;
        let known = match kind {
            TopicKind::Normal => self.registry.name(topic, predefined),
            TopicKind::Predefined => predefined.name(topic),
            TopicKind::Short => return short_name(topic).ok_or(ReturnCode::NOT_SUPPORTED),
            TopicKind::Reserved => return Err(ReturnCode::NOT_SUPPORTED),
        };
        let topic = known.ok_or(ReturnCode::INVALID_TOPIC_ID)?;
        // A predefined one may be for subscriptions only.
        match has_wildcard(topic) {
            true => Err(ReturnCode::NOT_SUPPORTED),
            false => Ok(topic.to_string()),
        }
    }

    fn on_publish<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        flags: Flags,
        topic: u16,
        msg_id: u16,
        payload: &[u8],
    ) {
        let qos = match QoS::from_u8(flags.qos()) {
            Some(qos) => qos,
            None if env.rules.qos_minus_1 => QoS::AtMostOnce,
            None => return,
        };
        if qos != QoS::AtMostOnce && self.is_repeated(env, qos, msg_id) {
            return;
        }
        let answer = match self.topic_of(env, flags.topic_kind(), topic) {
            Err(code) => Some(code),
            Ok(_) if qos != QoS::AtMostOnce && self.asks.len() >= ASKS => {
                Some(ReturnCode::CONGESTION)
            }
            Ok(name) => {
                let message = Outgoing {
                    topic: name,
                    payload: payload.into(),
                    qos,
                    retain: flags.retain(),
                };
                self.publish(env, topic, msg_id, message)
            }
        };
        match answer {
            Some(code) if qos != QoS::AtMostOnce => self.puback(env, topic, msg_id, code),
            Some(ReturnCode::CONGESTION) => env.world.count(Count::Busy),
            _ => {}
        }
    }

    /// Hands a message to the broker; the code of what is known of it at once.
    fn publish<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        topic_id: u16,
        msg_id: u16,
        message: Outgoing,
    ) -> Option<ReturnCode> {
        let client = self.client.as_ref()?;
        let qos = message.qos;
        match env.world.publish(env.key, client, msg_id, message) {
            Taken::Yes if qos == QoS::AtMostOnce => None,
            Taken::Yes => {
                let what = Asking::Publish { qos, topic_id };
                self.remember(Kind::Publish, msg_id, what);
                None
            }
            Taken::Busy => Some(ReturnCode::CONGESTION),
            Taken::Invalid => Some(ReturnCode::NOT_SUPPORTED),
            // The end of the connection comes as an event.
            Taken::Closed => None,
        }
    }

    /// Whether a message is one that came before: one that the broker has not answered, or that it has and the client
    /// has not released.
    fn is_repeated<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        qos: QoS,
        msg_id: u16,
    ) -> bool {
        if qos == QoS::ExactlyOnce && self.received.contains(&msg_id) {
            env.world.send(&self.peer, &Packet::PubRec(msg_id));
            return true;
        }
        self.is_asked(Kind::Publish, msg_id)
    }

    fn puback<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let packet = Packet::PubAck {
            topic_id,
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
    }

    fn is_asked(&self, kind: Kind, msg_id: u16) -> bool {
        let ticket = Ticket { kind, msg_id };
        self.asks.iter().any(|ask| ask.ticket == ticket)
    }

    fn remember(&mut self, kind: Kind, msg_id: u16, what: Asking) {
        let ticket = Ticket { kind, msg_id };
        self.asks.push(Ask { ticket, what });
    }

    fn on_subscribe<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        flags: Flags,
        msg_id: u16,
        topic: Topic<'_>,
    ) {
        if self.is_asked(Kind::Subscribe, msg_id) {
            return;
        }
        let refused = match self.subscribing(env, topic) {
            Err(refused) => Err(refused),
            Ok(_) if self.asks.len() >= ASKS => Err((0, ReturnCode::CONGESTION)),
            Ok(wanted) => match QoS::from_u8(flags.qos()) {
                Some(qos) => Ok((wanted, qos)),
                None => Err((0, ReturnCode::NOT_SUPPORTED)),
            },
        };
        match refused {
            Err((topic_id, code)) => {
                let flags = Flags::of_qos(flags.qos());
                self.suback(env, flags, topic_id, msg_id, code);
            }
            Ok(((filter, what), qos)) => {
                let Some(client) = &self.client else { return };
                env.world.subscribe(env.key, client, msg_id, &filter, qos);
                let what = Asking::Subscribe { what, asked: qos };
                self.remember(Kind::Subscribe, msg_id, what);
            }
        }
    }

    /// The filter that a SUBSCRIBE is about, and the id of its SUBACK; or id and code of one that refuses.
    fn subscribing<W: World<Client = C>>(
        &self,
        env: &Env<'_, W>,
        topic: Topic<'_>,
    ) -> Result<(String, Subscribing), (u16, ReturnCode)> {
        let predefined = &env.rules.predefined;
        let refused = (0, ReturnCode::NOT_SUPPORTED);
        match topic {
            Topic::Id(id) => {
                let name = predefined.name(id);
                let name = name.ok_or((id, ReturnCode::INVALID_TOPIC_ID))?;
                Ok((name.to_string(), Subscribing::Id(id)))
            }
            Topic::Short(text) => {
                let filter = filter(&text).ok_or(refused)?;
                Ok((filter.to_string(), Subscribing::Id(0)))
            }
            Topic::Name(text) => {
                let filter = filter(text).ok_or(refused)?;
                if has_wildcard(filter) {
                    return Ok((filter.to_string(), Subscribing::Id(0)));
                }
                if !self.registry.has_room(filter, predefined) {
                    return Err(refused);
                }
                Ok((filter.to_string(), Subscribing::Name(filter.into())))
            }
        }
    }

    fn suback<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        flags: Flags,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let packet = Packet::SubAck {
            flags,
            topic_id,
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
    }

    fn on_unsubscribe<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        msg_id: u16,
        topic: Topic<'_>,
    ) {
        if self.is_asked(Kind::Unsubscribe, msg_id) {
            return;
        }
        let filter = match &topic {
            Topic::Id(id) => env.rules.predefined.name(*id).map(|name| &**name),
            Topic::Short(text) => filter(text),
            Topic::Name(text) => filter(text),
        };
        match (filter, &self.client) {
            (Some(filter), Some(client)) if self.asks.len() < ASKS => {
                env.world.unsubscribe(env.key, client, msg_id, filter);
                self.remember(Kind::Unsubscribe, msg_id, Asking::Unsubscribe);
            }
            // With too much under way it asks again.
            (Some(_), _) => {}
            // There is no such subscription.
            (None, _) => env.world.send(&self.peer, &Packet::UnsubAck(msg_id)),
        }
    }

    // The broker.

    /// The broker has answered.
    pub fn answered<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        ticket: Ticket,
        answer: Answer,
    ) {
        let Some(index) = self.asks.iter().position(|ask| ask.ticket == ticket) else {
            return;
        };
        let Ask { what, .. } = self.asks.remove(index);
        if self.asks.is_empty() {
            self.asks = Vec::new();
        }
        let msg_id = ticket.msg_id;
        match (what, answer) {
            (Asking::Unsubscribe, _) => {
                env.world.send(&self.peer, &Packet::UnsubAck(msg_id));
            }
            // The end of the connection comes as an event.
            (_, Answer::Ended) => {}
            (Asking::Publish { topic_id, .. }, Answer::Code(0x80..)) => {
                self.puback(env, topic_id, msg_id, ReturnCode::NOT_SUPPORTED);
            }
            (Asking::Publish { qos, topic_id }, Answer::Code(_)) => {
                if qos == QoS::ExactlyOnce {
                    if self.received.len() >= RECEIVED {
                        self.received.remove(0);
                    }
                    self.received.push(msg_id);
                    env.world.send(&self.peer, &Packet::PubRec(msg_id));
                } else {
                    self.puback(env, topic_id, msg_id, ReturnCode::ACCEPTED);
                }
            }
            // As EMQ's other refusals, with the QoS that was asked for.
            (Asking::Subscribe { asked, .. }, Answer::Code(0x80..)) => {
                let flags = Flags::of_qos(asked as u8);
                self.suback(env, flags, 0, msg_id, ReturnCode::DENIED);
            }
            (Asking::Subscribe { what, .. }, Answer::Code(qos)) => {
                let topic_id = match what {
                    Subscribing::Id(id) => Some(id),
                    Subscribing::Name(name) => self.registry.register(&name, &env.rules.predefined),
                };
                // Without an id its messages are announced as those of a wildcard.
                let topic_id = topic_id.unwrap_or(0);
                self.suback(
                    env,
                    Flags::of_qos(qos),
                    topic_id,
                    msg_id,
                    ReturnCode::ACCEPTED,
                );
            }
        }
    }

    /// The broker has a message for it.
    pub fn message<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, message: Incoming) {
        let listens = matches!(self.state, State::Active | State::Awake);
        self.with_downlink(env, |downlink, env, far| match listens {
            true => downlink.deliver(env, far, message),
            false => downlink.push(env, far.client, message, true),
        });
    }

    /// The broker has released a message at QoS 2.
    pub fn released<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, id: u16) {
        self.with_downlink(env, |downlink, env, far| downlink.released(env, far, id));
    }

    /// The broker has ended the connection.
    pub fn closed<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        self.client = None;
        self.tell_end(env);
    }

    /// Tells the client that it is not connected any more.
    pub fn tell_end<W: World<Client = C>>(&self, env: &mut Env<'_, W>) {
        env.world.send(&self.peer, &Packet::Disconnect(None));
    }

    fn on_answer_of_client<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        packet: &Packet<'_>,
    ) {
        let listens = matches!(self.state, State::Active | State::Awake);
        self.with_downlink(env, |downlink, env, far| {
            match *packet {
                Packet::RegAck {
                    topic_id,
                    msg_id,
                    code,
                } => downlink.regack(env, far, topic_id, msg_id, code),
                Packet::PubAck {
                    topic_id,
                    msg_id,
                    code,
                } => downlink.puback(env, far, topic_id, msg_id, code),
                Packet::PubRec(msg_id) => downlink.pubrec(env, far, msg_id),
                Packet::PubComp(msg_id) => downlink.pubcomp(env, far.client, msg_id),
                _ => {}
            }
            if listens {
                downlink.pump(env, far);
            }
        });
        self.fall_asleep_if_flushed(env);
    }

    /// Works on what the broker has for it; afterwards nothing is kept that is not needed.
    fn with_downlink<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        work: impl FnOnce(&mut Downlink, &mut Env<'_, W>, &mut Far<'_, C>),
    ) {
        let Some(client) = &self.client else { return };
        let mut far = Far {
            peer: &self.peer,
            registry: &mut self.registry,
            client,
        };
        match &mut self.downlink {
            Some(downlink) => {
                work(downlink, env, &mut far);
                if downlink.is_idle() {
                    self.downlink = None;
                }
            }
            None => {
                let mut downlink = Downlink::default();
                work(&mut downlink, env, &mut far);
                if !downlink.is_idle() {
                    self.downlink = Some(Box::new(downlink));
                }
            }
        }
    }

    fn pump<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        if self.downlink.is_some() && matches!(self.state, State::Active | State::Awake) {
            self.with_downlink(env, |downlink, env, far| downlink.pump(env, far));
        }
        self.fall_asleep_if_flushed(env);
    }

    fn resend_and_pump<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        if self.downlink.is_some() {
            self.with_downlink(env, |downlink, env, far| downlink.resend_all(env, far));
        }
        self.pump(env);
    }

    /// One that is awake sleeps again when it has what waited for it: PINGRESP says so.
    fn fall_asleep_if_flushed<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        let flushed = self.downlink.as_ref().is_none_or(|d| d.is_flushed());
        if self.state == State::Awake && flushed {
            self.state = State::Asleep;
            self.heard = env.now;
            env.world.send(&self.peer, &Packet::PingResp);
        }
    }

    // Time.

    /// Looks at what has come of time.
    pub fn look<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) -> After {
        if self.silence_ends().is_some_and(|end| end <= env.now) {
            env.world.count(Count::Lost);
            let reason = match self.state {
                State::Asleep | State::Waking | State::Awake => "asleep_timeout",
                _ => "keepalive_timeout",
            };
            return self.end(env, reason);
        }
        if self.state == State::Waking && self.heard.saturating_add(WAKING) <= env.now {
            self.caught_up(env);
        }
        let before = env.now.saturating_sub(env.rules.retry_interval);
        if self.asked != Asked::Nothing && self.asked_at <= before {
            if u32::from(self.asked_tries) < env.rules.max_retries {
                self.asked_tries = self.asked_tries.saturating_add(1);
                self.asked_at = env.now;
                self.repeat_question(env);
            } else if self.state == State::Opening {
                return After::Gone;
            } else {
                // It keeps the will that it has.
                self.asked = Asked::Nothing;
            }
        }
        if self.downlink.is_some() && matches!(self.state, State::Active | State::Awake) {
            let mut patience = Patience::Left;
            self.with_downlink(env, |downlink, env, far| {
                patience = downlink.retry(env, far, before);
            });
            return self.patience(env, patience);
        }
        After::Stays
    }

    fn patience<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        patience: Patience,
    ) -> After {
        match (patience, self.state) {
            (Patience::Left, _) => After::Stays,
            // Its sleep says when it is lost.
            (Patience::Over, State::Awake) => {
                self.state = State::Asleep;
                After::Stays
            }
            (Patience::Over, _) => {
                env.world.count(Count::Lost);
                self.end(env, "retry_timeout")
            }
        }
    }
}

/// How long a client may be silent that has said it sleeps for so many seconds: as the specification advises, half as
/// long again up to a minute, and a tenth beyond.
fn sleep_patience(seconds: u16) -> u64 {
    u64::from(seconds) * if seconds <= 60 { 1500 } else { 1100 }
}

/// A topic name.
fn name(text: &[u8]) -> Option<&str> {
    let name = str::from_utf8(text).ok()?;
    validate_name(name).ok().map(|()| name)
}

/// A topic filter.
fn filter(text: &[u8]) -> Option<&str> {
    let filter = str::from_utf8(text).ok()?;
    validate_filter(filter).ok().map(|()| filter)
}

/// A topic name of two characters.
pub fn short_name(topic: u16) -> Option<String> {
    name(&topic.to_be_bytes()).map(str::to_string)
}
