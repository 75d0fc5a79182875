//! One client: what it says, what the broker says to it, and what comes of time. No I/O.

mod opening;
mod uplink;

pub use uplink::short_name;

use crate::downlink::{Downlink, Far, Patience};
use crate::packet::{Flags, Packet};
use crate::topics::Registry;
use crate::world::{Count, Env, Kind, Peer, World};
use emqttd_plugin_sdk::virtual_client::{Incoming, Will};
use std::sync::Arc;
use uplink::Ask;

/// How long what the broker has for one that wakes up is waited for, milliseconds.
const WAKING: u64 = 1000;
/// Messages under way to one that is awake from which on it is not sent to sleep before it has acknowledged some: half
/// of `mqtt.session.max_inflight` as it is shipped.
const CROWD: usize = 16;
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

/// What is done when the broker has answered about a client that wants something else by then.
#[derive(Debug)]
pub enum Afterwards {
    /// nothing: it has left
    Leaves,
    /// it begins anew, as it has said last
    Connects {
        /// of CONNECT
        flags: Flags,
        /// keep alive, seconds
        duration: u16,
        /// client identifier
        client_id: Box<str>,
    },
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
    /// it has just woken up: what it has not acknowledged is sent again
    resends: bool,
    /// it is awake, and many messages are under way to it
    crowded: bool,
    /// it is awake, and has asked once more
    insists: bool,
    /// when it was asked for its will
    asked_at: u64,
    /// when something came from it
    heard: u64,
    /// while the broker is asked; so that an address has one question about it under way, however often it asks
    afterwards: Option<Box<Afterwards>>,
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
            resends: false,
            crowded: false,
            insists: false,
            asked_at: 0,
            heard: now,
            afterwards: None,
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

    /// Bytes that it holds beside a few.
    pub fn held(&self) -> usize {
        let waiting = self.downlink.as_ref().map_or(0, |d| d.bytes());
        self.registry.bytes() + waiting
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

    /// When something came from it, milliseconds.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// It ends for another client.
    pub fn make_room<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        env.world.count(Count::Refused);
        let _ = self.end(env, "makes_room");
    }

    /// What it wants instead of the connection that the broker was asked for.
    pub fn take_afterwards(&mut self) -> Option<Box<Afterwards>> {
        self.afterwards.take()
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
        if self.state == State::Connecting {
            self.afterwards = Some(Box::new(Afterwards::Leaves));
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
                (self.resends, self.crowded, self.insists) = (true, false, false);
                self.wake(env);
            }
            State::Awake => {
                self.insists = true;
                self.resend_and_pump(env);
            }
            _ => {}
        }
    }

    /// Asks for what the broker has for it.
    fn wake<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        if let Some(client) = &self.client {
            self.state = State::Waking;
            env.world.catch_up(env.key, client);
        }
    }

    /// What the broker had for it has come.
    pub fn caught_up<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        if self.state != State::Waking {
            return;
        }
        self.state = State::Awake;
        match std::mem::take(&mut self.resends) {
            true => self.resend_and_pump(env),
            false => self.pump(env),
        }
    }

    // The broker.

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

    /// One that is awake sleeps again when it has what waited for it: PINGRESP says so. When many messages are under
    /// way the session may have more, which come as those are acknowledged.
    fn fall_asleep_if_flushed<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        let flushed = self.downlink.as_ref().is_none_or(|d| d.is_flushed());
        if self.state != State::Awake || !flushed {
            return;
        }
        let under_way = self.downlink.as_ref().map_or(0, |d| d.under_way());
        // Unless it asks once more: then it does not acknowledge before PINGRESP.
        if !self.insists && under_way >= CROWD {
            self.crowded = true;
        } else if !self.insists && self.crowded {
            self.crowded = false;
            self.wake(env);
        } else {
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
