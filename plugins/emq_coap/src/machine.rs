//! The transport of CoAP as a machine without I/O: datagrams, actions of the application and time go in; datagrams and
//! requests come out. Requests are here, their answers in `respond`, notifications in `notify`.

use crate::block::{Added, Block, body_key};
use crate::codec::{Code, Kind, Malformed, Message, Token, Writer, empty};
use crate::endpoint::Endpoint;
use crate::message::{Budget, Chance, MAX_TRANSMIT_WAIT, PATIENCE, Seen};
use crate::notify::tell;
use crate::observe::Observation;
use crate::peer::Peers;
use crate::request::{
    Action, Application, ETag, Ended, Fate, Head, Observe, OptionError, Outcome, Response, Ticket,
};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Requests of one peer that the application works on at the same time.
pub(crate) const PENDING_PER_PEER: usize = 128;
/// Of all peers.
const PENDING: usize = 16 * 1024;
/// Slots for duplicates of all peers, beyond the first four of each: 8 MB.
pub(crate) const SLOTS: usize = 256 * 1024;
/// Bytes of long replies for duplicates.
const REPLIES: usize = 8 * 1024 * 1024;
/// Endpoints that observe nothing and are remembered, with some 600 bytes each: anybody can make them up.
const STRANGERS: usize = 64 * 1024;
/// Bytes of requests and responses that are on their way in blocks.
pub(crate) const PARTIAL: usize = 32 * 1024 * 1024;
/// Bytes of notifications that wait.
pub(crate) const WAITING: usize = 64 * 1024 * 1024;
/// What an address that is not proven gets for a small request, bytes. For a larger one it gets three times as much as it has
/// sent.
pub(crate) const SMALL: usize = 150;
/// Seconds after which somebody who was refused may come again.
const LATER: u32 = 1;
/// Peers that have been silent are not looked for more often than that.
const SWEEP: Duration = Duration::from_secs(5);

/// Where datagrams go. It never waits: what cannot be sent is lost, as on any way.
pub trait Wire {
    /// Sends one.
    fn send(&mut self, to: &Endpoint, datagram: &[u8]);
}

/// What may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// largest payload in either direction, bytes
    pub max_message: usize,
    /// endpoints that observe something. As many others are remembered, within another bound.
    pub peers: usize,
}

/// What an operator may want to know. Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// datagrams that are no messages
    pub malformed: u64,
    /// messages that came again
    pub duplicates: u64,
    /// messages that were sent again
    pub retransmitted: u64,
    /// messages that were never acknowledged
    pub unanswered: u64,
    /// notifications that there was no room for, or that were too large
    pub dropped: u64,
    /// requests that there was no room for
    pub refused: u64,
}

/// What is held at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// endpoints that are remembered
    pub peers: usize,
    /// observations
    pub observations: usize,
    /// requests that the application works on
    pub pending: usize,
    /// bytes of what is on its way in blocks
    pub partial: usize,
    /// bytes of notifications that wait
    pub waiting: usize,
}

/// The transport. `now` never goes back.
pub struct Machine {
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) peers: Peers,
    /// requests that the application works on
    pub(crate) pending: HashMap<Ticket, Asked>,
    pub(crate) observations: HashMap<Ticket, Observation>,
    /// when peers are looked at, see [`Peer::due`](crate::peer::Peer::due)
    pub(crate) timers: BTreeSet<(Instant, u64)>,
    /// when requests are acknowledged if they are not answered; all take the same time, so they are in order
    patience: VecDeque<(Instant, Ticket)>,
    /// peers with something partial, by the time it is looked at
    pub(crate) partial: VecDeque<(Instant, u64)>,
    /// bytes of it
    pub(crate) partial_bytes: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) budget: Budget,
    pub(crate) chance: Chance,
    pub(crate) scratch: Vec<u8>,
    tickets: u64,
    begun: Instant,
}

/// What has to be known of a request to answer it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub peer: u64,
    pub confirmable: bool,
    pub id: u16,
    pub token: Token,
    /// an ACK has gone out: the response is a message of its own
    pub acknowledged: bool,
    pub observe: Option<u32>,
    /// the observation that it renews
    pub renews: Option<Ticket>,
    pub accept: Option<u16>,
    pub no_response: u32,
    pub block1: Option<Block>,
    pub size1: Option<u32>,
    pub block2: Option<Block>,
    /// what the client has already
    pub etags: Vec<ETag>,
    /// see [`body_key`]; `None` where nobody takes the response in blocks
    pub key: Option<u64>,
    /// bytes that the response may have
    pub room: usize,
}

impl Machine {
    /// Knows nobody. `keys` are secret: message IDs come of them.
    pub fn new(limits: Limits, keys: (u64, u64), now: Instant) -> Machine {
        Machine {
            limits,
            counters: Counters::default(),
            peers: Peers::new(),
            pending: HashMap::new(),
            observations: HashMap::new(),
            timers: BTreeSet::new(),
            patience: VecDeque::new(),
            partial: VecDeque::new(),
            partial_bytes: 0,
            waiting_bytes: 0,
            budget: Budget {
                slots: SLOTS,
                bytes: REPLIES,
            },
            chance: Chance::new(keys),
            scratch: Vec::new(),
            tickets: 0,
            begun: now,
        }
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is held at the moment.
    pub fn held(&self) -> Held {
        Held {
            peers: self.peers.len(),
            observations: self.observations.len(),
            pending: self.pending.len(),
            partial: self.partial_bytes,
            waiting: self.waiting_bytes,
        }
    }

    /// A datagram has come. `identity` is what DTLS knows of the peer.
    pub fn receive(
        &mut self,
        now: Instant,
        from: Endpoint,
        identity: Option<&str>,
        datagram: &[u8],
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(malformed) => {
                self.counters.malformed += 1;
                if let Malformed::Format {
                    kind: Kind::Confirmable,
                    id,
                } = malformed
                {
                    wire.send(&from, &empty(Kind::Reset, id));
                }
                return;
            }
        };
        match message.kind {
            Kind::Acknowledgement | Kind::Reset => self.settled(now, &from, &message, app, wire),
            _ if message.code.is_request() => {
                self.request(now, from, identity, &message, app, wire);
            }
            // A ping (section 4.3), or a response to what was never asked (section 5.3.2).
            Kind::Confirmable => wire.send(&from, &empty(Kind::Reset, message.id)),
            Kind::NonConfirmable => {}
        }
    }

    /// The endpoint is gone, as one of DTLS may be.
    pub fn gone(&mut self, now: Instant, endpoint: &Endpoint, app: &mut impl Application) {
        if let Some(key) = self.peers.find(endpoint) {
            self.lose(now, key, app);
            self.forget(now, key, app);
        }
    }

    /// Does what the application wants.
    pub fn act(
        &mut self,
        now: Instant,
        action: Action,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        match action {
            Action::Respond { ticket, response } => {
                let Some(asked) = self.pending.remove(&ticket) else {
                    return;
                };
                if let Some(peer) = self.peers.get(asked.peer) {
                    peer.pending -= 1;
                }
                self.respond(now, ticket, asked, response, app, wire);
            }
            Action::Notify {
                observation,
                receipt,
                response,
            } => self.notify(now, observation, receipt, response, app, wire),
            Action::Forget { observation } => {
                if let Some(peer) = self.end(now, observation, None, app) {
                    self.proceed(now, peer, app, wire);
                }
            }
        }
    }

    /// When [`Machine::tick`] is to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let patience = self.patience.front().map(|(at, _)| *at);
        let partial = self.partial.front().map(|(at, _)| *at);
        let silent = self
            .peers
            .oldest()
            .map(|(_, second)| self.begun + Duration::from_secs(second.into()) + SWEEP);
        [timer, patience, partial, silent]
            .into_iter()
            .flatten()
            .min()
    }

    /// It is later.
    pub fn tick(&mut self, now: Instant, app: &mut impl Application, wire: &mut impl Wire) {
        while let Some((at, ticket)) = self.patience.front().copied() {
            if at > now {
                break;
            }
            self.patience.pop_front();
            self.acknowledge(ticket, wire);
        }
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.due(now, key, app, wire);
        }
        while self.partial.front().is_some_and(|(at, _)| *at <= now) {
            self.sweep(now);
        }
        let second = self.second(now);
        while let Some((key, until)) = self.peers.oldest() {
            if until > second {
                break;
            }
            self.forget(now, key, app);
        }
    }

    /// Seconds since the start.
    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// A request that is not answered yet is acknowledged (section 5.2.2).
    fn acknowledge(&mut self, ticket: Ticket, wire: &mut impl Wire) {
        let Some(asked) = self.pending.get_mut(&ticket) else {
            return;
        };
        if let Some(peer) = self.peers.get(asked.peer) {
            asked.acknowledged = true;
            let ack = empty(Kind::Acknowledgement, asked.id);
            peer.seen.reply(asked.id, &ack, &mut self.budget);
            wire.send(&peer.endpoint, &ack);
        }
    }

    fn request(
        &mut self,
        now: Instant,
        from: Endpoint,
        identity: Option<&str>,
        message: &Message<'_>,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let head = match check(message) {
            Ok(head) => head,
            // Section 5.4.1: a NON with such an option is passed over.
            Err(code) => {
                if message.kind == Kind::Confirmable {
                    self.refuse(&from, message, code, wire);
                }
                return;
            }
        };
        let second = self.second(now);
        let key = self.enter(now, &from, app);
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        match peer.seen.receive(message.id, second, &mut self.budget) {
            Seen::New => {}
            // What changes nothing may be done again (section 4.5).
            Seen::Forgotten if message.code == Code::GET => {}
            Seen::Silent | Seen::Forgotten => {
                self.counters.duplicates += 1;
                return;
            }
            Seen::Replied(reply) => {
                self.counters.duplicates += 1;
                // What is shorter than its original is no duplicate, but somebody who wants more than he may have.
                if peer.proven || reply.len() <= may_have(message) {
                    wire.send(&from, reply);
                }
                return;
            }
        }
        let mut asked = Asked::new(key, message, &head);
        if !peer.proven {
            peer.credit = may_have(message);
            asked.room = peer.credit;
        }
        let ticket = self.next_ticket();
        let body;
        let payload = match self.body(now, message, &head, &mut asked) {
            Ok(None) => message.payload,
            Ok(Some(whole)) => {
                body = whole;
                &body
            }
            Err(code) => {
                return self.respond(now, ticket, asked, Response::new(code), app, wire);
            }
        };
        if asked.block2.is_some_and(|block| block.num > 0) {
            match self.later_block(now, &asked) {
                Some(response) => return self.respond(now, ticket, asked, response, app, wire),
                // Asking again is harmless for a GET only.
                None if message.code != Code::GET => {
                    let response = Response::new(Code::ENTITY_INCOMPLETE);
                    return self.respond(now, ticket, asked, response, app, wire);
                }
                None => {}
            }
        }
        let mut request = head.request(message, ticket, from, identity, payload);
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        if peer.pending >= PENDING_PER_PEER || self.pending.len() >= PENDING {
            self.counters.refused += 1;
            return self.respond(now, ticket, asked, Response::busy(LATER), app, wire);
        }
        if let (Some(observe), Some(old)) = (request.observe, peer.observation(&message.token)) {
            match observe {
                Observe::Register => {
                    let lives = |old: &Ticket| {
                        let observed = self.observations.get(old);
                        observed.is_some_and(|observed| !observed.is_closing)
                    };
                    asked.renews = Some(old).filter(lives);
                    request.renews = asked.renews;
                }
                Observe::Deregister => {
                    self.end(now, old, Some(Ended::Cancelled), app);
                    self.proceed(now, key, app, wire);
                }
            }
        }
        match app.handle(now, &request) {
            Outcome::Now(response) => self.respond(now, ticket, asked, response, app, wire),
            Outcome::Later => {
                if let Some(peer) = self.peers.get(key) {
                    peer.pending += 1;
                }
                if asked.confirmable {
                    self.patience.push_back((now + PATIENCE, ticket));
                }
                self.pending.insert(ticket, asked);
            }
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// The answer to a CON that needs no peer and leaves nothing behind.
    fn refuse(&mut self, to: &Endpoint, message: &Message<'_>, code: Code, wire: &mut impl Wire) {
        let (kind, id) = (Kind::Acknowledgement, message.id);
        self.scratch.clear();
        Writer::new(&mut self.scratch, kind, code, id, &message.token);
        wire.send(to, &self.scratch);
    }

    /// The peer of a request.
    fn enter(&mut self, now: Instant, from: &Endpoint, app: &mut impl Application) -> u64 {
        let second = self.second(now);
        if let Some(key) = self.peers.find(from) {
            self.peers.touch(key, second);
            return key;
        }
        let most = self.limits.peers.clamp(1, STRANGERS);
        while self.peers.len() - self.peers.pinned() >= most
            && let Some((oldest, _)) = self.peers.oldest()
        {
            self.forget(now, oldest, app);
        }
        let first_id = self.chance.message_id();
        self.peers.add(*from, first_id, second)
    }

    /// The body of a request: `None` = the payload of the message is all of it. An error is the answer.
    fn body(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        head: &Head<'_>,
        asked: &mut Asked,
    ) -> Result<Option<Vec<u8>>, Code> {
        let max = self.limits.max_message;
        let announced = head.size1.is_some_and(|size| size as usize > max);
        if announced || message.payload.len() > max {
            asked.size1 = u32::try_from(max).ok();
            return Err(Code::ENTITY_TOO_LARGE);
        }
        let Some(block) = asked.block1 else {
            return Ok(None);
        };
        // Section 2.2 of RFC 7959: all blocks but the last one are full.
        let size = message.payload.len();
        if size > block.size() || (block.more && size < block.size()) {
            return Err(Code::BAD_REQUEST);
        }
        if block.num == 0 && !block.more {
            return Ok(None);
        }
        let key = body_key(message.code, message.options);
        let Some(peer) = self.peers.get(asked.peer) else {
            return Err(Code::INTERNAL_ERROR);
        };
        let added = peer.assemblies.add(
            now,
            key,
            block,
            message.payload,
            max,
            &mut self.partial_bytes,
        );
        self.keep_partial(now, asked.peer);
        match added {
            Added::Whole(body) => Ok(Some(body)),
            Added::Continue => Err(Code::CONTINUE),
            Added::Incomplete => Err(Code::ENTITY_INCOMPLETE),
            Added::TooLarge => {
                asked.size1 = u32::try_from(max).ok();
                Err(Code::ENTITY_TOO_LARGE)
            }
        }
    }

    /// There is something partial of that peer: it is looked at later, and others go when there is too much of it.
    pub(crate) fn keep_partial(&mut self, now: Instant, key: u64) {
        if let Some(peer) = self.peers.get(key)
            && !std::mem::replace(&mut peer.swept, true)
        {
            self.partial.push_back((now + MAX_TRANSMIT_WAIT, key));
        }
        if self.partial.len() > 2 * self.peers.len() + 64 {
            // More than half are of peers that were forgotten: anybody can make up many.
            let peers = &mut self.peers;
            self.partial.retain(|(_, key)| peers.get(*key).is_some());
        }
        while self.partial_bytes > PARTIAL {
            let Some((_, oldest)) = self.partial.pop_front() else {
                break;
            };
            if let Some(peer) = self.peers.get(oldest) {
                peer.swept = false;
                peer.assemblies.clear(&mut self.partial_bytes);
                peer.snapshots.clear(&mut self.partial_bytes);
            }
        }
    }

    /// Drops what is partial and old of the peer that has waited longest.
    fn sweep(&mut self, now: Instant) {
        let Some((_, key)) = self.partial.pop_front() else {
            return;
        };
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        peer.swept = false;
        if let Some(since) = now.checked_sub(MAX_TRANSMIT_WAIT) {
            peer.assemblies.expire(since, &mut self.partial_bytes);
            peer.snapshots.expire(since, &mut self.partial_bytes);
        }
        if !peer.assemblies.is_empty() || !peer.snapshots.is_empty() {
            peer.swept = true;
            self.partial.push_back((now + MAX_TRANSMIT_WAIT, key));
        }
    }

    /// Forgets a peer that observes nothing.
    fn forget(&mut self, now: Instant, key: u64, app: &mut impl Application) {
        let Some(mut peer) = self.peers.remove(key) else {
            return;
        };
        peer.seen.release(&mut self.budget);
        peer.assemblies.clear(&mut self.partial_bytes);
        peer.snapshots.clear(&mut self.partial_bytes);
        if let Some(due) = peer.due {
            self.timers.remove(&(due, key));
        }
        // The last word of an observation may be on its way yet.
        if let Some((observation, receipt)) = peer.sending.and_then(|sent| sent.notification) {
            tell(now, observation, receipt, Fate::Dropped, app);
        }
        debug_assert!(peer.queue.is_empty() && peer.observations.is_empty());
    }
}

impl Asked {
    fn new(peer: u64, message: &Message<'_>, head: &Head<'_>) -> Asked {
        // Answers to these are small, unless they say otherwise; the others may be taken in blocks.
        let is_small = matches!(message.code, Code::PUT | Code::DELETE) && head.block2.is_none();
        let key = (!is_small).then(|| body_key(message.code, message.options));
        let etags = head.has_etag.then(|| head.etags().filter_map(ETag::new));
        Asked {
            peer,
            confirmable: message.kind == Kind::Confirmable,
            id: message.id,
            token: message.token,
            acknowledged: false,
            observe: head.observe.filter(|_| message.code == Code::GET),
            renews: None,
            accept: head.accept,
            no_response: head.no_response,
            block1: head.block1.and_then(Block::new),
            size1: None,
            block2: head.block2.and_then(Block::new),
            etags: etags.map(Iterator::collect).unwrap_or_default(),
            key,
            room: usize::MAX,
        }
    }
}

/// What is refused whoever asks.
fn check<'a>(message: &Message<'a>) -> Result<Head<'a>, Code> {
    let head = Head::read(message.options).map_err(|error| match error {
        OptionError::Critical => Code::BAD_OPTION,
        OptionError::Proxy => Code::NO_PROXYING,
    })?;
    let reserved = |block: Option<u32>| block.is_some_and(|value| Block::new(value).is_none());
    if reserved(head.block1) || reserved(head.block2) {
        return Err(Code::BAD_REQUEST);
    }
    if message.code == Code::GET && head.observe.is_some_and(|value| value > 1) {
        return Err(Code::BAD_OPTION);
    }
    Ok(head)
}

/// Bytes that an address that is not proven may have for a message.
fn may_have(message: &Message<'_>) -> usize {
    let payload = message.payload.len();
    let marker = usize::from(payload > 0);
    let size = 4 + message.token.as_bytes().len() + message.options.size() + marker + payload;
    SMALL.max(3 * size)
}
