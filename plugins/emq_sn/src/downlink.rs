//! What the broker has for one client: what waits, what is on its way, and the REGISTER before it.

use crate::packet::{Flags, LONGEST, PUBLISH_HEAD, Packet, REGISTER_HEAD, ReturnCode, TopicKind};
use crate::topics::Registry;
use crate::world::{Count, Env, Peer, World};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Incoming;
use std::collections::VecDeque;

/// Messages at QoS 1 and 2 on their way to a client at the most; the broker's window is mostly less.
const FLIGHTS: usize = 64;
/// Messages that wait for a client at the most.
const WAITING: usize = 1000;
/// Their bytes, beyond which those at QoS 0 give way.
const WAITING_BYTES: usize = 1024 * 1024;
/// Their bytes at the most: twice what the broker's window holds of the largest.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Of them at QoS 0, when the client listens, at the least: they wait for its REGACK only.
const BEHIND_REGISTER: usize = 100;
/// Bytes that a frame of a forwarder may take.
const FRAME: usize = 255;

/// What the broker has for one client. Made when the first of it comes, and let go with the last.
#[derive(Debug, Default)]
pub struct Downlink {
    /// in their order
    waiting: VecDeque<Waiting>,
    /// bytes of them
    bytes: usize,
    /// of them, at QoS 0
    at_qos_0: usize,
    /// at QoS 1 and 2, sent and not acknowledged
    flights: Vec<Flight>,
    /// what waits stands behind it
    registering: Option<Registering>,
    last_msg_id: u16,
    /// at QoS 2, given up before the client had them: the broker's PUBREL is not for it
    given_up: Vec<u16>,
}

#[derive(Debug)]
struct Waiting {
    message: Incoming,
    /// how often it was sent before
    tries: u32,
}

/// A message at QoS 1 or 2 under way.
#[derive(Debug)]
struct Flight {
    /// packet identifier of the broker, and of the client
    id: u16,
    step: Step,
    sent: u64,
    tries: u32,
}

#[derive(Debug)]
enum Step {
    /// PUBLISH was sent
    Published(Incoming),
    /// PUBREC came; the broker has not released it yet
    Received,
    /// PUBREL was sent
    Released,
}

/// A REGISTER without REGACK.
#[derive(Debug)]
struct Registering {
    topic_id: u16,
    msg_id: u16,
    sent: u64,
    tries: u32,
}

/// What a client at the far end is known by, for one call.
pub struct Far<'a, C> {
    pub peer: &'a Peer,
    pub registry: &'a mut Registry,
    pub client: &'a C,
}

/// What has come of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// it goes on
    Left,
    /// something was sent as often as it may be, without an answer
    Over,
}

impl Downlink {
    /// Whether there is nothing to remember.
    pub fn is_idle(&self) -> bool {
        self.is_flushed() && self.flights.is_empty() && self.given_up.is_empty()
    }

    /// What is remembered is within its bounds, and counted rightly.
    ///
    /// # Panics
    /// When that is not so.
    #[doc(hidden)]
    pub fn check(&self) {
        // What was under way may have come back.
        assert!(self.waiting.len() <= WAITING + FLIGHTS);
        assert!(self.bytes <= MOST_BYTES + FLIGHTS * LONGEST);
        let sizes = self.waiting.iter().map(|w| size(&w.message));
        assert_eq!(self.bytes, sizes.sum::<usize>());
        let qos = self.waiting.iter().map(|w| w.message.qos);
        let at_qos_0 = qos.filter(|qos| *qos == QoS::AtMostOnce);
        assert_eq!(self.at_qos_0, at_qos_0.count());
    }

    /// Whether all that waited has been sent.
    pub fn is_flushed(&self) -> bool {
        self.waiting.is_empty() && self.registering.is_none()
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages at QoS 1 and 2 that were sent and not answered.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// A message has come. [`Downlink::pump`] is to be called after it when the client listens.
    pub fn push<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        client: &W::Client,
        message: Incoming,
        asleep: bool,
    ) {
        if PUBLISH_HEAD + FRAME + message.payload.len() > LONGEST
            || REGISTER_HEAD + FRAME + message.topic.len() > LONGEST
        {
            return self.give_up(env, client, &message, Count::TooLarge);
        }
        self.put(Waiting { message, tries: 0 }, false);
        let most = env.rules.sleep_queue.min(WAITING);
        while self.at_qos_0
            > if asleep {
                most
            } else {
                most.max(BEHIND_REGISTER)
            }
        {
            self.drop_oldest(env, client);
        }
        while self.bytes > WAITING_BYTES && self.at_qos_0 > 0 {
            self.drop_oldest(env, client);
        }
        while self.waiting.len() > WAITING || self.bytes > MOST_BYTES {
            self.drop_oldest(env, client);
        }
        // For what comes where all hold too much something goes.
        let room = env.rules.most_bytes.saturating_mul(2);
        if env.is_full() && (self.at_qos_0 > 0 || env.held >= room) {
            self.drop_oldest(env, client);
        }
    }

    fn put(&mut self, waiting: Waiting, first: bool) {
        self.bytes += size(&waiting.message);
        self.at_qos_0 += usize::from(waiting.message.qos == QoS::AtMostOnce);
        match first {
            true => self.waiting.push_front(waiting),
            false => self.waiting.push_back(waiting),
        }
    }

    fn take(&mut self, index: usize) -> Option<Waiting> {
        let waiting = self.waiting.remove(index)?;
        self.bytes -= size(&waiting.message);
        self.at_qos_0 -= usize::from(waiting.message.qos == QoS::AtMostOnce);
        Some(waiting)
    }

    /// Drops the oldest message that waits, of those at QoS 0 if there is one. The broker is told that it is done:
    /// else it would keep it, and everything behind it, for a client that cannot take it.
    fn drop_oldest<W: World>(&mut self, env: &mut Env<'_, W>, client: &W::Client) {
        let at_qos_0 = |waiting: &Waiting| waiting.message.qos == QoS::AtMostOnce;
        let index = self.waiting.iter().position(at_qos_0).unwrap_or(0);
        self.drop_waiting(env, client, index);
    }

    fn drop_waiting<W: World>(&mut self, env: &mut Env<'_, W>, client: &W::Client, index: usize) {
        if let Some(Waiting { message, .. }) = self.take(index) {
            self.give_up(env, client, &message, Count::Dropped);
        }
    }

    /// Tells the broker that a message is done which the client does not have.
    fn give_up<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        client: &W::Client,
        message: &Incoming,
        why: Count,
    ) {
        env.world.count(why);
        if message.qos == QoS::AtMostOnce {
            return;
        }
        if message.qos == QoS::ExactlyOnce && !self.given_up.contains(&message.id) {
            self.given_up.push(message.id);
        }
        env.world.ack(client, message.id);
    }

    /// Sends what waits, up to the first message whose topic the client has to be told of before.
    pub fn pump<W: World>(&mut self, env: &mut Env<'_, W>, far: &mut Far<'_, W::Client>) {
        while self.registering.is_none() {
            let Some(Waiting { message, .. }) = self.waiting.front() else {
                break;
            };
            if message.qos != QoS::AtMostOnce && self.flights.len() >= FLIGHTS {
                break;
            }
            match place(&message.topic, far.registry, env) {
                Some((kind, topic)) => {
                    let Some(waiting) = self.take(0) else { break };
                    self.launch(env, far.peer, waiting, kind, topic);
                }
                None => self.register_front(env, far),
            }
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// As [`Downlink::push`] and [`Downlink::pump`] for a client that listens; most messages wait for nothing.
    pub fn deliver<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        far: &mut Far<'_, W::Client>,
        message: Incoming,
    ) {
        if self.is_flushed()
            && self.flights.len() < FLIGHTS
            && PUBLISH_HEAD + FRAME + message.payload.len() <= LONGEST
            && let Some((kind, topic)) = place(&message.topic, far.registry, env)
        {
            return self.launch(env, far.peer, Waiting { message, tries: 0 }, kind, topic);
        }
        self.push(env, far.client, message, false);
        self.pump(env, far);
    }

    fn launch<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        peer: &Peer,
        waiting: Waiting,
        kind: TopicKind,
        topic: u16,
    ) {
        let Waiting { message, tries } = waiting;
        send_publish(env, peer, &message, kind, topic, message.dup || tries > 0);
        if message.qos != QoS::AtMostOnce {
            self.flights.push(Flight {
                id: message.id,
                step: Step::Published(message),
                sent: env.now,
                tries,
            });
        }
    }

    /// Sends REGISTER for the message that is the first to go; without an id left the message is dropped.
    fn register_front<W: World>(&mut self, env: &mut Env<'_, W>, far: &mut Far<'_, W::Client>) {
        let Some(Waiting { message, .. }) = self.waiting.front() else {
            return;
        };
        let (topic, predefined) = (message.topic.as_str(), &env.rules.predefined);
        let has_room = !env.is_full() || far.registry.has(topic, predefined);
        let id = has_room.then(|| far.registry.register_untold(topic, predefined));
        match id.flatten() {
            Some(topic_id) => self.register(env, far.peer, topic_id, topic.to_string().as_bytes()),
            None => self.drop_waiting(env, far.client, 0),
        }
    }

    fn register<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        peer: &Peer,
        topic_id: u16,
        name: &[u8],
    ) {
        self.last_msg_id = self.last_msg_id.checked_add(1).unwrap_or(1);
        let msg_id = self.last_msg_id;
        let packet = Packet::Register {
            topic_id,
            msg_id,
            name,
        };
        env.world.send(peer, &packet);
        self.registering = Some(Registering {
            topic_id,
            msg_id,
            sent: env.now,
            tries: 0,
        });
    }

    /// REGACK has come.
    pub fn regack<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        far: &mut Far<'_, W::Client>,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let fits = |r: &mut Registering| r.topic_id == topic_id && r.msg_id == msg_id;
        match code {
            // It wants to be asked later: the retry does that. And it is there.
            ReturnCode::CONGESTION => {
                if let Some(registering) = self.registering.as_mut()
                    && fits(registering)
                {
                    (registering.tries, registering.sent) = (0, env.now);
                }
            }
            ReturnCode::ACCEPTED => {
                if self.registering.take_if(fits).is_some() {
                    far.registry.told(topic_id);
                }
            }
            // It does not want that topic, and so not what waits for it.
            _ => {
                if self.registering.take_if(fits).is_some() {
                    let name = far.registry.name(topic_id, &env.rules.predefined).cloned();
                    let front = self.waiting.front().map(|w| w.message.topic.as_str());
                    if name.is_some() && name.as_deref() == front {
                        self.drop_waiting(env, far.client, 0);
                    }
                }
            }
        }
    }

    /// PUBACK has come.
    pub fn puback<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        far: &mut Far<'_, W::Client>,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let published = |f: &Flight| f.id == msg_id && matches!(f.step, Step::Published(_));
        let index = self.flights.iter().position(published);
        match (code, index) {
            (ReturnCode::ACCEPTED, Some(index)) => {
                let ended = match &self.flights[index].step {
                    Step::Published(message) => message.qos == QoS::AtLeastOnce,
                    _ => false,
                };
                // At QoS 2 PUBREC is the answer.
                if ended {
                    self.flights.remove(index);
                    env.world.ack(far.client, msg_id);
                }
            }
            (ReturnCode::CONGESTION, Some(index)) => {
                let flight = &mut self.flights[index];
                (flight.tries, flight.sent) = (0, env.now);
            }
            (ReturnCode::INVALID_TOPIC_ID, index) => {
                self.invalid_topic_id(env, far, topic_id, index);
            }
            // It does not want the message.
            (_, Some(index)) => self.drop_flight(env, far.client, index),
            (_, None) => {}
        }
    }

    /// The client does not know a topic id: it is told again, and what came under it is sent again.
    fn invalid_topic_id<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        far: &mut Far<'_, W::Client>,
        topic_id: u16,
        flight: Option<usize>,
    ) {
        let name = far.registry.name(topic_id, &env.rules.predefined).cloned();
        let own = name.filter(|name| env.rules.predefined.id(name).is_none());
        let Some(name) = own else {
            // A predefined id or a short name: there is nothing to tell.
            if let Some(index) = flight {
                self.drop_flight(env, far.client, index);
            }
            return;
        };
        far.registry.forgotten(topic_id);
        if let Some(index) = flight {
            let flight = self.flights.remove(index);
            let tries = flight.tries + 1;
            match flight.step {
                Step::Published(message) if tries <= env.rules.max_retries => {
                    self.put(Waiting { message, tries }, true);
                }
                Step::Published(message) => {
                    self.give_up(env, far.client, &message, Count::Dropped);
                }
                _ => {}
            }
        }
        if self.registering.is_none() {
            self.register(env, far.peer, topic_id, name.as_bytes());
        }
    }

    /// Gives a message up: the broker is told that it is done.
    fn drop_flight<W: World>(&mut self, env: &mut Env<'_, W>, client: &W::Client, index: usize) {
        let flight = self.flights.remove(index);
        if let Step::Published(message) = flight.step {
            self.give_up(env, client, &message, Count::Dropped);
        }
    }

    /// PUBREC has come.
    pub fn pubrec<W: World>(&mut self, env: &mut Env<'_, W>, far: &Far<'_, W::Client>, id: u16) {
        match self.flights.iter_mut().find(|f| f.id == id) {
            Some(flight) => match &flight.step {
                Step::Published(message) if message.qos == QoS::ExactlyOnce => {
                    flight.step = Step::Received;
                    env.world.ack(far.client, id);
                }
                Step::Released => env.world.send(far.peer, &Packet::PubRel(id)),
                _ => {}
            },
            // From an exchange that is over here: the client can end it too.
            None => env.world.send(far.peer, &Packet::PubRel(id)),
        }
    }

    /// The broker has released a message at QoS 2.
    pub fn released<W: World>(&mut self, env: &mut Env<'_, W>, far: &Far<'_, W::Client>, id: u16) {
        if let Some(index) = self.given_up.iter().position(|given_up| *given_up == id) {
            self.given_up.swap_remove(index);
            env.world.complete(far.client, id);
            return;
        }
        env.world.send(far.peer, &Packet::PubRel(id));
        match self.flights.iter_mut().find(|f| f.id == id) {
            Some(flight) => {
                flight.step = Step::Released;
                flight.sent = env.now;
                flight.tries = 0;
            }
            None => self.flights.push(Flight {
                id,
                step: Step::Released,
                sent: env.now,
                tries: 0,
            }),
        }
    }

    /// PUBCOMP has come.
    pub fn pubcomp<W: World>(&mut self, env: &mut Env<'_, W>, client: &W::Client, id: u16) {
        let released = |f: &Flight| f.id == id && matches!(f.step, Step::Released);
        if let Some(index) = self.flights.iter().position(released) {
            self.flights.remove(index);
            env.world.complete(client, id);
        }
    }

    /// When something is to be sent again.
    pub fn due(&self, retry_interval: u64) -> Option<u64> {
        let flights = self.flights.iter().filter(|f| f.is_asked());
        let sent = flights.map(|flight| flight.sent);
        let sent = sent.chain(self.registering.iter().map(|r| r.sent)).min()?;
        Some(sent.saturating_add(retry_interval))
    }

    /// Sends again what was sent before `before` and not answered.
    pub fn retry<W: World>(
        &mut self,
        env: &mut Env<'_, W>,
        far: &mut Far<'_, W::Client>,
        before: u64,
    ) -> Patience {
        if let Some(registering) = self.registering.as_mut().filter(|r| r.sent <= before) {
            if registering.tries >= env.rules.max_retries {
                return Patience::Over;
            }
            registering.tries += 1;
            registering.sent = env.now;
            resend_register(env, far, registering);
        }
        for flight in self.flights.iter_mut().filter(|f| f.is_asked()) {
            if flight.sent > before {
                continue;
            }
            if flight.tries >= env.rules.max_retries {
                return Patience::Over;
            }
            flight.tries += 1;
            flight.sent = env.now;
            resend(env, far, flight);
        }
        Patience::Left
    }

    /// The client listens again: all that it has not acknowledged is sent once more. How often that was done while it
    /// did not listen is forgotten.
    pub fn resend_all<W: World>(&mut self, env: &mut Env<'_, W>, far: &mut Far<'_, W::Client>) {
        if let Some(registering) = &mut self.registering {
            (registering.tries, registering.sent) = (0, env.now);
            resend_register(env, far, registering);
        }
        for flight in self.flights.iter_mut().filter(|f| f.is_asked()) {
            (flight.tries, flight.sent) = (0, env.now);
            resend(env, far, flight);
        }
    }

    /// The client has forgotten its topic ids: what it was sent under them goes back to what waits.
    pub fn forget_ids(&mut self) {
        self.registering = None;
        let published = |f: &mut Flight| matches!(f.step, Step::Published(_));
        let flights: Vec<Flight> = self.flights.extract_if(.., published).collect();
        for flight in flights.into_iter().rev() {
            if let Step::Published(message) = flight.step {
                let tries = flight.tries + 1;
                self.put(Waiting { message, tries }, true);
            }
        }
    }
}

impl Flight {
    /// Whether the client has to answer.
    fn is_asked(&self) -> bool {
        !matches!(self.step, Step::Received)
    }
}

fn size(message: &Incoming) -> usize {
    size_of::<Waiting>() + message.topic.len() + message.payload.len()
}

/// How a topic is called towards the client; `None` = it has to be told of it before.
fn place<W: World>(topic: &str, registry: &Registry, env: &Env<'_, W>) -> Option<(TopicKind, u16)> {
    let predefined = &env.rules.predefined;
    if let Some(id) = predefined.id(topic) {
        return Some((TopicKind::Predefined, id));
    }
    if let Some(id) = registry.told_id(topic, predefined) {
        return Some((TopicKind::Normal, id));
    }
    match *topic.as_bytes() {
        [first, second] => Some((TopicKind::Short, u16::from_be_bytes([first, second]))),
        _ => None,
    }
}

fn send_publish<W: World>(
    env: &mut Env<'_, W>,
    peer: &Peer,
    message: &Incoming,
    kind: TopicKind,
    topic: u16,
    dup: bool,
) {
    let flags = Flags::of_qos(message.qos as u8)
        .with_topic_kind(kind)
        .with_retain(message.retain)
        // [MQTT-3.3.1-2], and so here: there is no DUP at QoS 0.
        .with_dup(dup && message.qos != QoS::AtMostOnce);
    let packet = Packet::Publish {
        flags,
        topic,
        msg_id: message.id,
        payload: &message.payload,
    };
    env.world.send(peer, &packet);
}

fn resend_register<W: World>(
    env: &mut Env<'_, W>,
    far: &Far<'_, W::Client>,
    registering: &Registering,
) {
    let Registering {
        topic_id, msg_id, ..
    } = *registering;
    if let Some(name) = far.registry.name(topic_id, &env.rules.predefined) {
        env.world.count(Count::Retransmitted);
        let packet = Packet::Register {
            topic_id,
            msg_id,
            name: name.as_bytes(),
        };
        env.world.send(far.peer, &packet);
    }
}

fn resend<W: World>(env: &mut Env<'_, W>, far: &Far<'_, W::Client>, flight: &Flight) {
    match &flight.step {
        Step::Published(message) => {
            // The id is there: it was when this was sent first, and nothing that takes ids away leaves flights.
            if let Some((kind, topic)) = place(&message.topic, far.registry, env) {
                env.world.count(Count::Retransmitted);
                send_publish(env, far.peer, message, kind, topic, true);
            }
        }
        Step::Released => {
            env.world.count(Count::Retransmitted);
            env.world.send(far.peer, &Packet::PubRel(flight.id));
        }
        Step::Received => {}
    }
}
