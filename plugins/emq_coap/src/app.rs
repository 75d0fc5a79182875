//! What requests do, as a machine without I/O: sessions come and go, answers follow.
//!
//! Observations are in `watching`, the topics of `/ps` in `topics`.

use crate::brokerage::{Answer, Broker, ClientNo};
use crate::clients::{Client, Due, Key, Waiting};
use crate::codec::Code;
use crate::endpoint::Endpoint;
use crate::plan::{Plan, PsPlan, Route, Who, bad};
use crate::request::{Action, Fate, Outcome, Request, Response, Ticket};
use crate::resource::route;
use crate::settings::Shared;
use crate::store::{Publication, TopicStore};
use crate::topics::{Deletion, Listing};
use crate::watching::{Observation, Waiter, Want};
use emqttd_gateway::{Shares, Source};
use emqttd_plugin_sdk::PeerInfo;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, NotNow, Outgoing, Refused};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Clients that are being connected at the same time. One address leaves as many places as it has to others, so that it
/// has half of them at the most.
const MAX_CONNECTING: usize = 2000;
/// Requests that wait for one client to be connected.
const MAX_WAITING: usize = 16;
/// Bytes of all requests that wait for clients to be connected.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Clients looked at to find one that makes room.
const LOOKED_AT: usize = 64;

/// Protocol and address of the listener of an endpoint.
pub type ListenerOf = Box<dyn Fn(&Endpoint) -> (String, String) + Send>;

/// Who sent a request, and its name.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub ticket: Ticket,
    pub endpoint: Endpoint,
    pub identity: Option<&'a str>,
}

/// What is waited for after a message was published.
pub enum Job {
    /// Nothing: that code is the answer.
    Publish { ticket: Ticket, success: Code },
    /// Its value is kept.
    Keep {
        ticket: Ticket,
        publication: Publication,
    },
    /// A topic of `/ps` goes.
    Clear { deletion: u64, topic: String },
}

/// All sessions, and what they are at.
pub struct App<B> {
    pub broker: B,
    pub settings: Shared,
    listener_of: ListenerOf,
    pub clients: HashMap<ClientNo, Client>,
    by_key: HashMap<Arc<Key>, ClientNo>,
    pub observations: HashMap<Ticket, Observation>,
    pub jobs: HashMap<u64, Job>,
    pub listings: HashMap<u64, Listing>,
    pub deletions: HashMap<u64, Deletion>,
    pub due: BTreeSet<(Instant, Due)>,
    pub actions: VecDeque<Action>,
    pub store: TopicStore,
    connecting: usize,
    /// of each source, those that are being connected
    connecting_of: Shares,
    /// of each source
    clients_of: Shares,
    /// where it is looked next for a client that makes room
    look_from: Option<(Instant, Due)>,
    waiting_bytes: usize,
    /// the last number that was given out
    last: u64,
}

impl<B: Broker> App<B> {
    /// Without clients.
    pub fn new(broker: B, settings: Shared, listener_of: ListenerOf) -> App<B> {
        let now = settings.load();
        let store = TopicStore::new(now.ps_max_topics, now.ps_max_bytes);
        drop(now);
        App {
            broker,
            settings,
            listener_of,
            clients: HashMap::new(),
            by_key: HashMap::new(),
            observations: HashMap::new(),
            jobs: HashMap::new(),
            listings: HashMap::new(),
            deletions: HashMap::new(),
            due: BTreeSet::new(),
            actions: VecDeque::new(),
            store,
            connecting: 0,
            connecting_of: Shares::default(),
            clients_of: Shares::default(),
            look_from: None,
            waiting_bytes: 0,
            last: 0,
        }
    }

    /// A number that was not given out before.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Answers a request that was left for later.
    pub fn respond(&mut self, ticket: Ticket, response: Response) {
        self.actions.push_back(Action::Respond { ticket, response });
    }

    /// A request.
    pub fn handle(&mut self, now: Instant, request: &Request<'_>) -> Outcome {
        let origin = Origin {
            ticket: request.ticket,
            endpoint: request.endpoint,
            identity: request.identity,
        };
        match route(request, &self.store) {
            Ok(Route::Answer(response)) | Err(response) => Outcome::Now(response),
            Ok(Route::As(who, plan)) => self.admit(now, origin, who, plan),
        }
    }

    /// Finds the session, or makes it.
    fn admit(&mut self, now: Instant, origin: Origin<'_>, who: Who, plan: Plan) -> Outcome {
        let key = Key::new(who, origin.endpoint, origin.identity);
        let Some(&no) = self.by_key.get(&key) else {
            return self.open(now, origin, Arc::new(key), plan);
        };
        let connected = self.touch(now, no);
        if let Some(client) = self.clients.get_mut(&no) {
            client.endpoint = origin.endpoint;
            client.received += u64::from(self.settings.load().enable_stats);
        }
        if connected && self.broker.is_closed(no) {
            // Kicked or taken over, and nobody has told us yet.
            self.forget(no, &Response::busy(1));
            return self.open(now, origin, Arc::new(key), plan);
        }
        if connected {
            return self.execute(now, no, origin.ticket, origin.endpoint, plan);
        }
        self.wait(no, origin, plan)
    }

    /// A sign of life. Whether the client is connected.
    pub fn touch(&mut self, now: Instant, no: ClientNo) -> bool {
        let Some(client) = self.clients.get_mut(&no) else {
            return false;
        };
        client.seen = now;
        let connected = client.waiting.is_none();
        // The broker has the same keep alive and half as much patience again: it hears of the client often enough
        // for us to be the first who see that it is silent.
        if connected && now.saturating_duration_since(client.pinged) >= client.keepalive / 8 {
            client.pinged = now;
            self.broker.ping(no);
        }
        connected
    }

    fn open(&mut self, now: Instant, origin: Origin<'_>, key: Arc<Key>, plan: Plan) -> Outcome {
        let settings = self.settings.load();
        let (most, keepalive) = (settings.max_clients, settings.keepalive);
        let counted = settings.enable_stats;
        drop(settings);
        let source = Source::of(origin.endpoint.address());
        let free = MAX_CONNECTING - self.connecting;
        if self.connecting_of.held(source) >= free {
            return Outcome::Now(Response::busy(1));
        }
        if self.clients.len() >= most && !self.make_room(key.is_proven(), source, most) {
            return Outcome::Now(Response::busy(30));
        }
        let clientid = key.clientid();
        let mut options = ConnectOptions::new(&*clientid);
        // A keep alive that MQTT cannot say is none.
        let seconds = keepalive.as_millis().div_ceil(1000);
        options.keepalive = u16::try_from(seconds).unwrap_or(0);
        if let Some((username, password)) = key.credentials() {
            options.username = Some(username.into());
            options.password = password.map(Into::into);
        }
        let peer = PeerInfo {
            listener: (self.listener_of)(&origin.endpoint),
            peername: origin.endpoint.address(),
            cert_username: key.by_identity().map(Into::into),
            anonymous: true,
        };
        let no = ClientNo(self.number());
        let mut client = Client::new(now, Arc::clone(&key), &clientid, keepalive, origin.endpoint);
        client.looked_at = client.over_at();
        client.received = u64::from(counted);
        self.due.insert((client.looked_at, Due::Client(no)));
        self.clients.insert(no, client);
        self.by_key.insert(key, no);
        self.connecting += 1;
        self.connecting_of.take(source);
        self.clients_of.take(source);
        self.broker.connect(no, peer, options);
        self.wait(no, origin, plan)
    }

    /// Ends a client for another one. Those that anybody can make up give way to one that has shown who it is, and those
    /// of a source that has more than half of all to one of another; of those that are looked at, the one that was silent longest.
    /// `false` = there is none.
    fn make_room(&mut self, is_proven: bool, source: Source, most: usize) -> bool {
        let gives_way = |no: &ClientNo| {
            self.clients.get(no).is_some_and(|client| {
                let is_anybody = !client.key.is_proven();
                let (of, has_many) = (client.source(), &self.clients_of);
                let may = is_proven || is_anybody;
                let is_one_of_many =
                    client.waiting.is_none() && has_many.gives_way(of, source, most);
                (is_proven && is_anybody) || (may && is_one_of_many)
            })
        };
        let from = self.look_from.take();
        let all = match &from {
            Some(from) => self.due.range(from..),
            None => self.due.range(..),
        };
        let mut goes = None;
        for (looked_at, due) in all.enumerate() {
            if looked_at == LOOKED_AT {
                self.look_from = Some(due.clone());
                break;
            }
            if let (_, Due::Client(no)) = due
                && gives_way(no)
            {
                goes = Some(*no);
                break;
            }
        }
        if let Some(no) = goes {
            self.forget(no, &Response::busy(30));
            self.broker.leave(no);
        }
        goes.is_some()
    }

    /// Leaves a request until its client is connected.
    fn wait(&mut self, no: ClientNo, origin: Origin<'_>, plan: Plan) -> Outcome {
        let bytes = match &plan {
            Plan::Publish { message, .. } | Plan::Ps(PsPlan::Publish { message, .. }) => {
                message.payload.len()
            }
            _ => 0,
        };
        let client = self.clients.get_mut(&no);
        let Some(waiting) = client.and_then(|client| client.waiting.as_mut()) else {
            return Outcome::Now(Response::busy(1));
        };
        if waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return Outcome::Now(Response::busy(1));
        }
        waiting.push(Waiting {
            ticket: origin.ticket,
            endpoint: origin.endpoint,
            plan,
            bytes,
        });
        self.waiting_bytes += bytes;
        Outcome::Later
    }

    /// Does what a request wants, in a session that is connected.
    fn execute(
        &mut self,
        now: Instant,
        no: ClientNo,
        ticket: Ticket,
        endpoint: Endpoint,
        plan: Plan,
    ) -> Outcome {
        match plan {
            Plan::Ping => Outcome::Now(Response::new(Code::CONTENT)),
            Plan::Publish { message, success } => {
                let job = Job::Publish { ticket, success };
                self.publish(no, &message, job, success)
            }
            Plan::Observe(watch) => {
                let (form, renews) = (watch.form, watch.renews);
                let waiter = Waiter {
                    ticket,
                    endpoint,
                    want: Want::Observe { form, renews },
                };
                self.want(no, &watch.filter, waiter)
            }
            Plan::Unobserve { filter } => {
                self.unobserve(no, endpoint, &filter);
                Outcome::Now(Response::new(Code::CONTENT))
            }
            Plan::Ps(plan) => self.execute_ps(now, no, ticket, endpoint, plan),
        }
    }

    /// Publishes; `success` is the answer when nobody has to be waited for.
    pub fn publish(
        &mut self,
        no: ClientNo,
        message: &Outgoing,
        job: Job,
        success: Code,
    ) -> Outcome {
        let number = self.number();
        match self.broker.publish(no, message, number) {
            Ok(true) => Outcome::Now(Response::new(success)),
            Ok(false) => {
                self.jobs.insert(number, job);
                Outcome::Later
            }
            Err(NotNow::Invalid(_)) => Outcome::Now(bad("not a message")),
            Err(NotNow::Busy | NotNow::Closed(_)) => Outcome::Now(Response::busy(1)),
        }
    }

    /// The broker has answered, or tells something.
    pub fn answered(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Connected { client, result } => self.connected(now, client, result),
            Answer::Published { job, code } => self.published(now, job, code),
            Answer::Subscribed {
                client,
                filter,
                granted,
            } => self.subscribed(now, client, &filter, granted),
            Answer::Unsubscribed { client, filter } => self.unsubscribed(client, &filter),
            Answer::Message { client, message } => self.message(now, client, message),
            Answer::Closed { client } => self.forget(client, &Response::busy(1)),
        }
    }

    fn connected(&mut self, now: Instant, no: ClientNo, result: Result<(), Refused>) {
        if !self.clients.contains_key(&no) {
            return self.broker.leave(no);
        }
        if let Err(refused) = result {
            return self.forget(no, &refusal(&refused));
        }
        for waiting in self.stop_waiting(no) {
            let Waiting {
                ticket,
                endpoint,
                plan,
                ..
            } = waiting;
            if let Outcome::Now(response) = self.execute(now, no, ticket, endpoint, plan) {
                self.respond(ticket, response);
            }
        }
    }

    /// The requests that have waited for a client to be connected.
    fn stop_waiting(&mut self, no: ClientNo) -> Vec<Waiting> {
        let Some(client) = self.clients.get_mut(&no) else {
            return Vec::new();
        };
        let Some(waiting) = client.waiting.take() else {
            return Vec::new();
        };
        self.connecting -= 1;
        self.connecting_of.give_back(client.source());
        self.waiting_bytes -= waiting.iter().map(|waiting| waiting.bytes).sum::<usize>();
        waiting
    }

    fn published(&mut self, now: Instant, number: u64, code: Option<u8>) {
        let Some(job) = self.jobs.remove(&number) else {
            return;
        };
        let failed = match code {
            Some(code) if code < 0x80 => None,
            // Not authorized.
            Some(0x87) => Some(Response::new(Code::FORBIDDEN)),
            _ => Some(Response::busy(1)),
        };
        match (job, failed) {
            (Job::Publish { ticket, success }, None) => {
                self.respond(ticket, Response::new(success));
            }
            (
                Job::Keep {
                    ticket,
                    publication,
                },
                None,
            ) => {
                let response = self.keep(now, publication);
                self.respond(ticket, response);
            }
            (Job::Publish { ticket, .. } | Job::Keep { ticket, .. }, Some(response)) => {
                self.respond(ticket, response);
            }
            (Job::Clear { deletion, topic }, failed) => {
                self.cleared(now, deletion, topic, failed);
            }
        }
    }

    /// A session is over: what waits for it gets `response`, and so do its observers.
    pub fn forget(&mut self, no: ClientNo, response: &Response) {
        for waiting in self.stop_waiting(no) {
            self.respond(waiting.ticket, response.clone());
        }
        let Some(client) = self.clients.remove(&no) else {
            return;
        };
        self.by_key.remove(&client.key);
        self.clients_of.give_back(client.source());
        self.due.remove(&(client.looked_at, Due::Client(no)));
        for (_, filter) in client.filters {
            self.give_up(filter, response);
        }
    }

    /// A notification has an end.
    pub fn notified(&mut self, now: Instant, observation: Ticket, receipt: u64, fate: Fate) {
        let observation = self.observations.get(&observation);
        if let Some(no) = observation.map(|observation| observation.client)
            && fate == Fate::Acknowledged
        {
            self.touch(now, no);
        }
        self.settle(ClientNo(receipt >> 16), receipt as u16);
    }

    /// When [`App::tick`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// It is later.
    pub fn tick(&mut self, now: Instant) {
        let settings = self.settings.load();
        self.store
            .set_bounds(settings.ps_max_topics, settings.ps_max_bytes);
        drop(settings);
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            match self.due.pop_first() {
                Some((_, Due::Client(no))) => self.look_at(now, no),
                Some((_, Due::Reader(no, filter, ticket))) => {
                    self.nothing_retained(now, no, &filter, ticket);
                }
                None => {}
            }
        }
    }

    fn look_at(&mut self, now: Instant, no: ClientNo) {
        let Some(client) = self.clients.get_mut(&no) else {
            return;
        };
        let over_at = client.over_at();
        if over_at > now {
            client.looked_at = over_at;
            self.due.insert((over_at, Due::Client(no)));
        } else {
            self.forget(no, &Response::busy(1));
            self.broker.leave(no);
        }
    }
}

/// What a client is told that the broker does not let in.
fn refusal(refused: &Refused) -> Response {
    match refused {
        // Identifier rejected.
        Refused::Code(2) => bad("client identifier is refused"),
        // User name or password; not authorized.
        Refused::Code(4 | 5) => Response::new(Code::UNAUTHORIZED),
        Refused::Invalid(_) => bad("user name or password is too long"),
        _ => Response::busy(5),
    }
}

/// What comes back with a notification: whose message it is.
pub fn receipt(no: ClientNo, id: u16) -> u64 {
    match id {
        0 => 0,
        id => no.0 << 16 | u64::from(id),
    }
}
