//! Questions to the access chains that cannot be answered at once: the connection that asks waits, and
//! nobody else.
//!
//! The packet that asks is not used. When the answers are there it is taken again from its first byte, and
//! finds them here. An answer that a chain gave which has changed meanwhile counts nothing: it is asked
//! again.

use crate::access::{AccessRequest, Ask, Permit, anonymous_answer};
use crate::conn::{ConnId, Phase};
use crate::node::Node;
use crate::shard::{Mail, Next, Shard, Step};
use crate::subscribe::entry_of;
use emqttd_mqtt::{Connect, QoS};
use emqttd_plugin_sdk::{Access, AuthAnswer, BoxFuture, Client};
use emqttd_session::{Message, Publisher};
use hashbrown::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

/// What a connection waits to be told, and what it has been told already.
pub(crate) struct Asking {
    /// tells the answers to these questions from those to earlier ones
    serial: u64,
    /// of the chains that were asked
    generation: u64,
    /// how often they have changed before all answers were there
    changes: u32,
    /// answers that have not come
    open: usize,
    /// who asks to come in: kept, because the client id may be one that was given out
    publisher: Option<Arc<Publisher>>,
    auth: Option<AuthAnswer>,
    /// answers about publishing and about subscribing
    acl: [HashMap<Box<str>, Permit>; 2],
}

/// Rechecks of subscriptions that are under way on a shard.
#[derive(Default)]
pub(crate) struct Rechecks {
    /// clients about whom an answer has not come
    open: usize,
    /// they were asked for again meanwhile
    again: bool,
    /// when those are asked for again that got no answer; 0 = there are none
    pub due: u64,
}

/// How long, in milliseconds, a connection is not read while it waits; the answer ends that sooner.
pub(crate) const WAIT: u64 = 1000;

/// After how many milliseconds is asked again what nobody could say.
const ASK_AGAIN: u64 = 5000;

/// Parts in which many questions of one packet are asked side by side.
const SIDE_BY_SIDE: usize = 8;

/// Changes of the chains after which who waits is refused.
const MOST_CHANGES: u32 = 16;

/// What a packet comes to whose sender has to wait.
pub(crate) const WAITING: Step = Step::Wait(0, Next::Pause(WAIT));

/// Brings an answer to the shard that has asked, or word that there will be none.
struct Bringing<T: Send + 'static> {
    node: Arc<Node>,
    index: usize,
    take: Option<Take<T>>,
}

type Take<T> = Box<dyn FnOnce(&mut Shard, Option<T>) + Send>;

impl<T: Send + 'static> Bringing<T> {
    fn bring(&mut self, answer: Option<T>) {
        if let Some(take) = self.take.take() {
            let call = Box::new(move |shard: &mut Shard| take(shard, answer));
            self.node.mailboxes[self.index].post(&mut vec![Mail::Call(call)]);
        }
    }
}

impl<T: Send + 'static> Drop for Bringing<T> {
    fn drop(&mut self) {
        self.bring(None);
    }
}

impl Shard {
    /// Whether the connection waits for an answer.
    #[inline]
    pub(crate) fn is_waiting(&self, id: ConnId) -> bool {
        self.conns[id as usize].asking && self.asking(id).is_some_and(|asking| asking.open > 0)
    }

    fn asking(&self, id: ConnId) -> Option<&Asking> {
        let rare = self.conns[id as usize].peek().rare.as_ref()?;
        rare.asking.as_deref()
    }

    /// The answers that count: those of the chains as they are now.
    fn answers(&self, id: ConnId) -> Option<&Asking> {
        if !self.conns[id as usize].asking {
            return None;
        }
        let asking = self.asking(id)?;
        (asking.generation == self.node.access.generation()).then_some(asking)
    }

    /// Whether the chains change faster than they answer.
    fn is_given_up(&self, id: ConnId) -> bool {
        self.conns[id as usize].asking
            && self
                .asking(id)
                .is_some_and(|asking| asking.changes > MOST_CHANGES)
    }

    /// Who asked to come in when this CONNECT was looked at before.
    pub(crate) fn asking_publisher(&self, id: ConnId) -> Option<Arc<Publisher>> {
        self.asking(id)?.publisher.clone()
    }

    /// The packet that asked has been dealt with.
    pub(crate) fn forget_answers(&mut self, id: ConnId) {
        let conn = &mut self.conns[id as usize];
        conn.asking = false;
        if let Some(rare) = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut()) {
            rare.asking = None;
        }
    }

    /// Has asked again what the connection waits to be told, or has been told for the packet it is at.
    pub(crate) fn distrust_answers(&mut self, id: ConnId) {
        let conn = &mut self.conns[id as usize];
        let rare = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut());
        if let Some(asking) = rare.and_then(|rare| rare.asking.as_mut()) {
            // No chains are ever of this generation.
            asking.generation = u64::MAX;
        }
    }

    /// A question is about to be asked of the chains of that generation.
    fn begin_asking(&mut self, id: ConnId, generation: u64) -> (u64, &mut Asking) {
        self.questions += 1;
        let serial = self.questions;
        let conn = &mut self.conns[id as usize];
        conn.asking = true;
        let detail = conn.detail();
        let publisher = detail.publisher.clone();
        let asking = detail.rare().asking.get_or_insert_with(|| {
            Box::new(Asking {
                serial,
                generation,
                changes: 0,
                open: 0,
                publisher,
                auth: None,
                acl: Default::default(),
            })
        });
        if asking.generation != generation {
            asking.generation = generation;
            asking.changes += 1;
            asking.auth = None;
            asking.acl.iter_mut().for_each(HashMap::clear);
        }
        (asking.serial, asking)
    }

    /// Has `future` polled elsewhere; `take` gets what it comes to, `None` when it was dropped.
    fn answer_later<T: Send + 'static>(
        &self,
        future: BoxFuture<T>,
        take: impl FnOnce(&mut Shard, Option<T>) + Send + 'static,
    ) {
        let mut bringing = Bringing {
            node: Arc::clone(&self.node),
            index: self.index,
            take: Some(Box::new(take)),
        };
        self.node.access.spawn(Box::pin(async move {
            let answer = future.await;
            bringing.bring(Some(answer));
        }));
    }

    fn answered(&mut self, id: ConnId, serial: u64, note: impl FnOnce(&mut Asking)) {
        let Some(conn) = self.conns.get_mut(id as usize) else {
            return;
        };
        let rare = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut());
        // The connection may be another one by now.
        let asking = rare.and_then(|rare| rare.asking.as_mut());
        if let Some(asking) = asking.filter(|asking| asking.serial == serial) {
            note(asking);
            asking.open -= 1;
            if asking.open == 0 {
                self.awake.push(id);
            }
        }
    }

    /// Whether a client may come in; `None` = it has to wait.
    pub(crate) fn authenticate(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Arc<Publisher>,
    ) -> Option<AuthAnswer> {
        if let Some(answer) = self.answers(id).and_then(|asking| asking.auth) {
            return Some(answer);
        }
        if self.is_given_up(id) {
            return Some(AuthAnswer::Unavailable);
        }
        let client = Arc::new(self.connecting_client(id, connect, publisher));
        let nobody_knows = match self.conns[id as usize].peek().anonymous {
            true => anonymous_answer(client.peername.ip(), &self.settings.mqtt),
            false => AuthAnswer::Deny,
        };
        let access = &self.node.access;
        let generation = access.generation();
        match access.authenticate(&client, connect.password, nobody_knows) {
            Ask::Now(answer) => Some(answer),
            Ask::Later(future) => {
                let (serial, asking) = self.begin_asking(id, generation);
                asking.open += 1;
                self.answer_later(future, move |shard, answer| {
                    let answer = answer.unwrap_or(AuthAnswer::Unavailable);
                    shard.answered(id, serial, |asking| asking.auth = Some(answer));
                });
                None
            }
        }
    }

    /// Whether the client of a connection may do that; `None` = it has to wait.
    pub(crate) fn may(&mut self, id: ConnId, access: Access, topic: &str) -> Option<Permit> {
        if self.conns[id as usize].superuser {
            return Some(Permit::Allowed);
        }
        let known = self.answers(id);
        if let Some(permit) = known.and_then(|asking| asking.acl[access as usize].get(topic)) {
            return Some(*permit);
        }
        if self.is_given_up(id) {
            return Some(Permit::Unknown);
        }
        let generation = self.node.access.generation();
        match self.ask(id, access, topic) {
            Ask::Now(permit) => Some(permit),
            Ask::Later(future) => {
                let (serial, asking) = self.begin_asking(id, generation);
                asking.open += 1;
                let about: Box<str> = topic.into();
                self.answer_later(future, move |shard, permit| {
                    let permit = permit.unwrap_or(Permit::Unknown);
                    shard.answered(id, serial, |asking| {
                        asking.acl[access as usize].insert(about, permit);
                    });
                });
                None
            }
        }
    }

    /// Has the answers to many questions of one packet ready for [`Shard::may`]; `false` = its sender has to
    /// wait for them.
    pub(crate) fn may_all<'t>(
        &mut self,
        id: ConnId,
        access: Access,
        topics: impl Iterator<Item = &'t str>,
    ) -> bool {
        if self.conns[id as usize].superuser || !self.node.access.has_acl_providers() {
            return true;
        }
        let known = self.answers(id);
        let mut seen = HashSet::new();
        let mut topics: Vec<String> = topics
            .filter(|topic| known.is_none_or(|a| !a.acl[access as usize].contains_key(*topic)))
            .filter(|topic| seen.insert(*topic))
            .map(str::to_string)
            .collect();
        let Some(publisher) = self.conns[id as usize].peek().publisher.clone() else {
            return true;
        };
        if topics.is_empty() || self.is_given_up(id) {
            return true;
        }
        let client = self.client(id, &publisher);
        let settings = Arc::clone(&self.settings);
        let generation = self.node.access.generation();
        let part = topics.len().div_ceil(SIDE_BY_SIDE);
        let mut known = true;
        while !topics.is_empty() {
            let rest = topics.split_off(part.min(topics.len()));
            let part = std::mem::replace(&mut topics, rest);
            let names: Vec<Box<str>> = part.iter().map(|topic| topic.as_str().into()).collect();
            let asked = self
                .node
                .access
                .authorize_all(&client, access, part, &settings.mqtt);
            let (serial, asking) = self.begin_asking(id, generation);
            match asked {
                Ask::Now(permits) => {
                    asking.acl[access as usize].extend(names.into_iter().zip(permits))
                }
                Ask::Later(future) => {
                    known = false;
                    asking.open += 1;
                    self.answer_later(future, move |shard, permits| {
                        let none = || names.iter().map(|_| Permit::Unknown).collect();
                        let permits = permits.unwrap_or_else(none);
                        shard.answered(id, serial, |asking| {
                            asking.acl[access as usize].extend(names.into_iter().zip(permits));
                        });
                    });
                }
            }
        }
        known
    }

    /// Asks the ACL chain about the client of a connection.
    fn ask(&mut self, id: ConnId, access: Access, topic: &str) -> Ask<Permit> {
        let node = Arc::clone(&self.node);
        let detail = self.conns[id as usize].peek();
        let Some(publisher) = detail.publisher.clone() else {
            return Ask::Now(Permit::Denied);
        };
        let request = AccessRequest {
            clientid: &publisher.clientid,
            username: publisher.username.as_deref(),
            ip: detail.peer.addr.ip(),
        };
        let settings = Arc::clone(&self.settings);
        let client = || self.client(id, &publisher);
        node.access
            .authorize(&request, client, access, topic, &settings.mqtt)
    }

    /// The client of a connection, as plugins see it; kept while plugins are asked about it.
    fn client(&mut self, id: ConnId, publisher: &Arc<Publisher>) -> Arc<Client> {
        let connected = self.conns[id as usize].phase == Phase::Connected;
        let rare = self.conns[id as usize].detail().rare();
        if let Some(client) = &rare.client {
            return Arc::clone(client);
        }
        let client = Arc::new(self.client_of(id, publisher));
        if connected {
            self.conns[id as usize].detail().rare().client = Some(Arc::clone(&client));
        }
        client
    }

    /// The client of a connection, as plugins see it.
    pub(crate) fn client_of(&self, id: ConnId, publisher: &Publisher) -> Client {
        let conn = &self.conns[id as usize];
        let detail = conn.peek();
        let listener = &detail.peer.listener;
        Client {
            clientid: Arc::clone(&publisher.clientid),
            username: publisher.username.clone(),
            peername: detail.peer.addr,
            clean_sess: detail.clean_start,
            proto_ver: conn.version.level(),
            keepalive: detail.keepalive,
            will_topic: detail.will.as_ref().map(|will| will.message.topic().into()),
            headers: detail.peer.headers(),
            mountpoint: listener.settings.mountpoint.clone(),
            listener: listener.protocol().into(),
            connected_at: detail.connected_at,
        }
    }

    /// As [`Shard::client_of`], while its CONNECT is looked at.
    pub(crate) fn connecting_client(
        &self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Publisher,
    ) -> Client {
        Client {
            clean_sess: connect.clean_start,
            keepalive: connect.keep_alive,
            will_topic: connect.will.as_ref().map(|will| will.topic.into()),
            ..self.client_of(id, publisher)
        }
    }

    /// Asks whether a will may be published (with the mounted topic: sheet 14, 25), and does one or the
    /// other, now or when the answer is there.
    pub(crate) fn judge_will(
        &mut self,
        id: ConnId,
        will: &Arc<Message>,
        verdict: impl FnOnce(&mut Shard, Arc<Message>, bool) + Send + 'static,
    ) {
        let permit = match self.conns[id as usize].superuser {
            true => Ask::Now(Permit::Allowed),
            false => self.ask(id, Access::Publish, will.topic()),
        };
        let will = Arc::clone(will);
        let tell = move |shard: &mut Shard, permit: Option<Permit>| {
            let allowed = permit == Some(Permit::Allowed);
            if !allowed {
                log::error!(
                    "the will on {} is denied",
                    emqttd_logging::escape(will.topic())
                );
            }
            verdict(shard, will, allowed);
        };
        match permit {
            Ask::Now(permit) => tell(self, Some(permit)),
            Ask::Later(future) => self.answer_later(future, tell),
        }
    }

    /// Whether a session may be resumed by this client, so that nothing is delivered before its rights are
    /// known; `None` = the client has to wait, `Unknown` = it cannot be said now.
    pub(crate) fn may_resume(
        &mut self,
        id: ConnId,
        publisher: &Publisher,
        clean: bool,
    ) -> Option<Permit> {
        let slot = self.find_session(&publisher.clientid).filter(|_| !clean);
        let Some(slot) = slot.filter(|slot| self.needs_recheck(id, *slot, publisher)) else {
            return Some(Permit::Allowed);
        };
        let anew = self.sessions[slot as usize].publisher.username != publisher.username;
        let filters = self.checked_filters(id, slot, anew);
        let names = || filters.iter().map(|(_, filter)| filter.as_str());
        if !self.may_all(id, Access::Subscribe, names()) {
            return None;
        }
        let unknown = names().any(|f| self.may(id, Access::Subscribe, f) == Some(Permit::Unknown));
        Some(if unknown {
            Permit::Unknown
        } else {
            Permit::Allowed
        })
    }

    /// Who a session was looked at for.
    pub(crate) fn identity_of(&self, id: ConnId, publisher: &Publisher) -> u64 {
        let ip = self.conns[id as usize].peek().peer.addr.ip();
        self.hasher.hash_one((&publisher.username, ip))
    }

    /// Whether rights may have been taken away since a session was last looked at, or another one has come.
    pub(crate) fn needs_recheck(&self, id: ConnId, slot: u32, publisher: &Publisher) -> bool {
        let entry = &self.sessions[slot as usize];
        entry.acl_generation != self.node.access.generation()
            || entry.identity != self.identity_of(id, publisher)
    }

    /// Asks the ACL again about every subscription of a connected client; what it no longer allows ends, now
    /// or when the answer is there. What nobody can say is asked again later.
    pub(crate) fn recheck_subscriptions(&mut self, id: ConnId) {
        self.recheck_some(id, |_| true);
    }

    /// The same for those whose filter `which` says.
    pub(crate) fn recheck_some(&mut self, id: ConnId, which: impl Fn(&str) -> bool) {
        let slot = self.conns[id as usize].session;
        let publisher = self.conns[id as usize].peek().publisher.clone();
        let Some(publisher) = publisher.filter(|_| !self.conns[id as usize].superuser) else {
            return;
        };
        let (keys, filters): (Vec<_>, Vec<_>) = self
            .checked_filters(id, slot, false)
            .into_iter()
            .filter(|(_, filter)| which(filter))
            .unzip();
        if keys.is_empty() {
            return;
        }
        if let Some(asking) = self.answers(id) {
            let about = &asking.acl[Access::Subscribe as usize];
            let known: Option<Vec<Permit>> = filters
                .iter()
                .map(|f| about.get(f.as_str()).copied())
                .collect();
            if let Some(permits) = known {
                return self.apply_permits(slot, &keys, &permits);
            }
        }
        let generation = self.node.access.generation();
        let client = Arc::new(self.client_of(id, &publisher));
        let settings = Arc::clone(&self.settings);
        let access = &self.node.access;
        match access.authorize_all(&client, Access::Subscribe, filters, &settings.mqtt) {
            Ask::Now(permits) => self.apply_permits(slot, &keys, &permits),
            Ask::Later(future) => {
                self.rechecks.open += 1;
                let owner = self.owner_of(slot);
                self.answer_later(future, move |shard, permits| {
                    let current = generation == shard.node.access.generation();
                    match (shard.living(owner), permits.filter(|_| current)) {
                        (None, _) => {}
                        (Some(slot), Some(permits)) => shard.apply_permits(slot, &keys, &permits),
                        // The chain that answers has changed meanwhile.
                        (Some(_), None) => shard.recheck_at(shard.now),
                    }
                    shard.rechecks.open -= 1;
                    if shard.rechecks.open == 0 && std::mem::take(&mut shard.rechecks.again) {
                        shard.recheck_all();
                    }
                });
            }
        }
    }

    fn apply_permits(&mut self, slot: u32, keys: &[String], permits: &[Permit]) {
        let mut taken_away = false;
        for (key, permit) in keys.iter().zip(permits) {
            match permit {
                Permit::Allowed => {}
                Permit::Denied => taken_away |= self.end_subscription(slot, key),
                Permit::Unknown => self.recheck_at(self.now + ASK_AGAIN),
            }
        }
        if taken_away {
            self.forget_unsubscribed(slot);
        }
    }

    /// Its client did not ask for it, so only `session.unsubscribed` runs.
    fn end_subscription(&mut self, slot: u32, key: &str) -> bool {
        let ended = self.unsubscribe(slot, key);
        if ended {
            log::warn!(
                "the ACL no longer allows a subscription to {}: ended",
                emqttd_logging::escape(key)
            );
            self.tell_unsubscribed(slot, &entry_of(key, QoS::AtMostOnce));
        }
        ended
    }

    fn recheck_at(&mut self, at: u64) {
        let due = &mut self.rechecks.due;
        *due = if *due == 0 { at } else { at.min(*due) };
    }

    /// As [`Shard::recheck_subscriptions`], for all clients of this shard. One at a time.
    pub(crate) fn recheck_all(&mut self) {
        if self.rechecks.open > 0 {
            self.rechecks.again = true;
            return;
        }
        self.rechecks.due = 0;
        for id in 0..self.conns.len() as u32 {
            let slot = self.conns[id as usize].session;
            if slot != crate::conn::NONE {
                self.sessions[slot as usize].acl_generation = self.node.access.generation();
                self.recheck_subscriptions(id);
            }
        }
    }

    /// Asks again what nobody could say before, when its time has come.
    pub(crate) fn recheck_due(&mut self) {
        if self.rechecks.due > 0 && self.rechecks.due <= self.now {
            self.recheck_all();
        }
    }

    /// Connections that have their answers, for the event loop to read on.
    pub fn take_awake(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.awake)
    }
}
