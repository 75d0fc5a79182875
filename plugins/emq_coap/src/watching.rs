//! Observations, and subscriptions for them.
//!
//! A filter is subscribed to once in a session, however many observe it, and only one SUBSCRIBE or UNSUBSCRIBE for it is on
//! its way at a time: so they cannot overtake each other.

use crate::app::{App, receipt};
use crate::brokerage::{Broker, ClientNo};
use crate::clients::Due;
use crate::codec::Code;
use crate::endpoint::Endpoint;
use crate::plan::Form;
use crate::request::{Action, Observing, Outcome, Response, Ticket};
use crate::{ps, seed};
use bytes::Bytes;
use emqttd_plugin_sdk::topic::{SubscriptionFilter, matches};
use emqttd_plugin_sdk::virtual_client::Incoming;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests of one client that wait for an answer to SUBSCRIBE.
const MAX_WAITERS: usize = 256;
/// Observations of one client.
const MAX_OBSERVATIONS: usize = 1000;
/// Messages of one client that are with the transport; beyond that they count as delivered. The broker's window
/// (`mqtt.session.max_inflight`) is smaller, unless it has none.
const MAX_ACKS: usize = 1000;
/// How long a retained message may take to come after SUBACK. The broker sends what it has in memory at once.
pub const RETAINED: Duration = Duration::from_millis(100);
/// A new observer gets retained messages for so long after the last one.
const REPLAY: Duration = Duration::from_secs(5);
/// Content-Format of MQTT payloads: `application/octet-stream`.
const OCTETS: u16 = 42;

/// A filter that a session has to do with.
pub struct Filter {
    /// where the pattern begins, behind `$share/group/` and its like
    pattern: usize,
    /// the broker has it
    held: bool,
    asked: Option<Asked>,
    /// until what is asked is answered
    waiting: Vec<Waiter>,
    observers: Vec<Ticket>,
    /// may read, and wait for a retained message
    readers: Vec<Waiter>,
}

/// What is on its way to the broker.
enum Asked {
    Subscribe(Vec<Waiter>),
    Unsubscribe,
}

/// A request that needs a subscription.
pub struct Waiter {
    pub ticket: Ticket,
    pub endpoint: Endpoint,
    pub want: Want,
}

/// What it needs it for.
#[derive(Clone, Copy)]
pub enum Want {
    /// to observe the filter
    Observe { form: Form, renews: Option<Ticket> },
    /// the last value of a topic of `/ps`
    Read { accept: Option<u16> },
    /// the same, and those to come
    ReadOn {
        accept: Option<u16>,
        renews: Option<Ticket>,
    },
    /// to make a topic of `/ps`
    Create { format: Option<u16>, max_age: u32 },
    /// to show the topic in that list
    List(u64),
}

/// Somebody who observes a filter.
pub struct Observation {
    pub client: ClientNo,
    pub filter: Arc<str>,
    pub form: Form,
    endpoint: Endpoint,
    /// until then retained messages are for it
    replay: Instant,
}

/// A message that several filters match: the broker sends a copy for each of them, and does not say for which.
pub struct Copies {
    topic: String,
    payload: Bytes,
    retain: bool,
    /// filters that have had none
    left: Vec<Arc<str>>,
}

impl Filter {
    fn new(filter: &str) -> Filter {
        let pattern = SubscriptionFilter::parse(filter, true)
            .map_or(0, |parsed| filter.len() - parsed.filter.len());
        Filter {
            pattern,
            held: false,
            asked: None,
            waiting: Vec::new(),
            observers: Vec::new(),
            readers: Vec::new(),
        }
    }
}

impl<B: Broker> App<B> {
    /// A request needs a subscription.
    pub fn want(&mut self, no: ClientNo, filter: &str, waiter: Waiter) -> Outcome {
        let Some(client) = self.clients.get_mut(&no) else {
            return Outcome::Now(Response::busy(1));
        };
        let is_observer = matches!(waiter.want, Want::Observe { .. } | Want::ReadOn { .. });
        if client.waiters >= MAX_WAITERS || is_observer && client.observations >= MAX_OBSERVATIONS {
            return Outcome::Now(Response::busy(1));
        }
        client.waiters += 1;
        let name: Arc<str> = filter.into();
        let state = client.filters.entry(Arc::clone(&name));
        let state = state.or_insert_with(|| Filter::new(filter));
        state.waiting.push(waiter);
        self.step(no, &name);
        Outcome::Later
    }

    /// Asks the broker for what is needed next.
    fn step(&mut self, no: ClientNo, name: &Arc<str>) {
        let Some(client) = self.clients.get_mut(&no) else {
            return;
        };
        let Some(filter) = client.filters.get_mut(name) else {
            return;
        };
        if filter.asked.is_some() {
            return;
        }
        if !filter.waiting.is_empty() {
            // Also when the broker has it already: it says whether it is still allowed, and sends what is retained.
            filter.asked = Some(Asked::Subscribe(std::mem::take(&mut filter.waiting)));
            self.broker.subscribe(no, name);
            return;
        }
        let is_needed = !filter.observers.is_empty() || !filter.readers.is_empty();
        if filter.held && !is_needed {
            filter.held = false;
            filter.asked = Some(Asked::Unsubscribe);
            self.broker.unsubscribe(no, name);
        } else if !is_needed {
            client.filters.remove(name);
        }
    }

    /// SUBACK, or the end of the connection.
    pub fn subscribed(
        &mut self,
        now: Instant,
        no: ClientNo,
        name: &Arc<str>,
        granted: Option<bool>,
    ) {
        let Some(client) = self.clients.get_mut(&no) else {
            return;
        };
        let Some(filter) = client.filters.get_mut(name) else {
            return;
        };
        let Some(Asked::Subscribe(waiters)) = filter.asked.take() else {
            return;
        };
        filter.held |= granted == Some(true);
        client.waiters -= waiters.len();
        for waiter in waiters {
            match granted {
                Some(true) => self.granted(now, no, name, waiter),
                Some(false) => self.refuse(&waiter, &Response::new(Code::FORBIDDEN)),
                None => self.refuse(&waiter, &Response::busy(1)),
            }
        }
        if granted == Some(false) {
            // Whoever observes it got it when it was still allowed.
            self.end_observers(no, name, &Response::new(Code::FORBIDDEN));
        }
        self.step(no, name);
    }

    /// UNSUBACK.
    pub fn unsubscribed(&mut self, no: ClientNo, name: &Arc<str>) {
        let client = self.clients.get_mut(&no);
        if let Some(filter) = client.and_then(|client| client.filters.get_mut(name)) {
            filter.asked = None;
            self.step(no, name);
        }
    }

    fn granted(&mut self, now: Instant, no: ClientNo, name: &Arc<str>, waiter: Waiter) {
        let ticket = waiter.ticket;
        match waiter.want {
            Want::Observe { form, renews } => {
                let nothing = Response::new(Code::CONTENT);
                self.observe(now, no, name, &waiter, form, renews, nothing);
            }
            Want::Read { accept } | Want::ReadOn { accept, .. } => {
                match self.read(now, name, accept) {
                    Ok(Some(value)) => self.found(now, no, name, &waiter, value),
                    Ok(None) => self.await_retained(now, no, name, waiter),
                    Err(response) => self.respond(ticket, response),
                }
            }
            Want::Create { format, max_age } => {
                if let Outcome::Now(response) = self.create(now, no, ticket, name, format, max_age)
                {
                    self.respond(ticket, response);
                }
            }
            Want::List(listing) => self.listed(listing, Some(name)),
        }
    }

    /// A reader has what it wanted.
    fn found(
        &mut self,
        now: Instant,
        no: ClientNo,
        name: &Arc<str>,
        reader: &Waiter,
        value: Response,
    ) {
        match reader.want {
            Want::ReadOn { renews, .. } => {
                self.observe(now, no, name, reader, Form::Ps, renews, value);
            }
            _ => self.respond(reader.ticket, value),
        }
    }

    /// Begins an observation, or goes on with one.
    #[allow(clippy::too_many_arguments)]
    fn observe(
        &mut self,
        now: Instant,
        no: ClientNo,
        name: &Arc<str>,
        waiter: &Waiter,
        form: Form,
        renews: Option<Ticket>,
        mut response: Response,
    ) {
        let old = renews.and_then(|ticket| self.observations.get(&ticket));
        let is_same =
            old.is_some_and(|old| old.client == no && old.filter == *name && old.form == form);
        if is_same {
            response.observing = Some(Observing::Renewed);
            return self.respond(waiter.ticket, response);
        }
        let client = self.clients.get_mut(&no);
        let Some(filter) = client.and_then(|client| {
            client.observations += 1;
            client.filters.get_mut(name)
        }) else {
            return self.respond(waiter.ticket, Response::busy(1));
        };
        filter.observers.push(waiter.ticket);
        // Who has got a value is not told of an older one.
        let replay = match form == Form::Ps && !response.payload.is_empty() {
            true => now,
            false => now + REPLAY,
        };
        let observation = Observation {
            client: no,
            filter: Arc::clone(name),
            form,
            endpoint: waiter.endpoint,
            replay,
        };
        self.observations.insert(waiter.ticket, observation);
        response.observing = Some(Observing::Begun);
        self.respond(waiter.ticket, response);
    }

    fn await_retained(&mut self, now: Instant, no: ClientNo, name: &Arc<str>, reader: Waiter) {
        let at = now + RETAINED;
        let due = Due::Reader(no, Arc::clone(name), reader.ticket);
        let client = self.clients.get_mut(&no);
        if let Some(filter) = client.and_then(|client| client.filters.get_mut(name)) {
            filter.readers.push(reader);
            self.due.insert((at, due));
        }
    }

    /// No retained message has come for a reader.
    pub fn nothing_retained(
        &mut self,
        now: Instant,
        no: ClientNo,
        name: &Arc<str>,
        ticket: Ticket,
    ) {
        let client = self.clients.get_mut(&no);
        let Some(filter) = client.and_then(|client| client.filters.get_mut(name)) else {
            return;
        };
        let Some(at) = filter.readers.iter().position(|r| r.ticket == ticket) else {
            return;
        };
        let reader = filter.readers.swap_remove(at);
        match (self.store.get(name), reader.want) {
            (None, _) => self.refuse(&reader, &Response::new(Code::NOT_FOUND)),
            // It was only created, or its value has expired.
            (Some(_), Want::ReadOn { .. }) => {
                self.found(now, no, name, &reader, Response::new(Code::NO_CONTENT));
            }
            (Some(_), _) => self.respond(ticket, Response::new(Code::CONTENT)),
        }
        self.step(no, name);
    }

    /// What a request gets that is refused, or whose session is over.
    fn refuse(&mut self, waiter: &Waiter, response: &Response) {
        let renews = match waiter.want {
            Want::List(listing) => return self.listed(listing, None),
            Want::Observe { renews, .. } | Want::ReadOn { renews, .. } => renews,
            Want::Read { .. } | Want::Create { .. } => None,
        };
        self.respond(waiter.ticket, response.clone());
        if let Some(observation) = renews
            && self.drop_observation(observation)
        {
            self.actions.push_back(Action::Forget { observation });
        }
    }

    /// Ends the observations of an endpoint on a filter.
    pub fn unobserve(&mut self, no: ClientNo, endpoint: Endpoint, name: &str) {
        let Some(filter) = self.clients.get(&no).and_then(|c| c.filters.get(name)) else {
            return;
        };
        let of_endpoint = |ticket: &Ticket| {
            let observation = self.observations.get(ticket);
            observation.is_some_and(|observation| observation.endpoint == endpoint)
        };
        let over: Vec<Ticket> = filter
            .observers
            .iter()
            .copied()
            .filter(of_endpoint)
            .collect();
        for observation in over {
            self.drop_observation(observation);
            self.actions.push_back(Action::Forget { observation });
        }
    }

    /// An observation is over. `false` = it was already.
    pub fn drop_observation(&mut self, ticket: Ticket) -> bool {
        let Some(observation) = self.observations.remove(&ticket) else {
            return false;
        };
        let (no, name) = (observation.client, observation.filter);
        if let Some(client) = self.clients.get_mut(&no)
            && let Some(filter) = client.filters.get_mut(&name)
        {
            client.observations -= 1;
            filter.observers.retain(|observer| *observer != ticket);
            self.step(no, &name);
        }
        true
    }

    /// Ends all observations of a filter with a last word.
    fn end_observers(&mut self, no: ClientNo, name: &Arc<str>, response: &Response) {
        let filter = self.clients.get(&no).and_then(|c| c.filters.get(name));
        let observers = filter.map(|filter| filter.observers.clone());
        self.end_all(observers.unwrap_or_default(), response);
    }

    /// Ends observations with a last word.
    pub fn end_all(&mut self, observations: Vec<Ticket>, response: &Response) {
        for observation in observations {
            self.drop_observation(observation);
            self.actions.push_back(Action::Notify {
                observation,
                receipt: 0,
                response: response.clone(),
            });
        }
    }

    /// The session of a filter is over, and forgotten already.
    pub fn give_up(&mut self, filter: Filter, response: &Response) {
        let asked = match filter.asked {
            Some(Asked::Subscribe(waiters)) => waiters,
            _ => Vec::new(),
        };
        for waiter in asked.iter().chain(&filter.waiting).chain(&filter.readers) {
            self.refuse(waiter, response);
        }
        self.end_all(filter.observers, response);
    }

    /// A message for a client.
    pub fn message(&mut self, now: Instant, no: ClientNo, message: Incoming) {
        let Some(client) = self.clients.get_mut(&no) else {
            return;
        };
        if message.dup && client.acks.contains_key(&message.id) {
            // The broker asks again; the device has not answered yet.
            return;
        }
        let payload = Bytes::from(message.payload);
        let topic = &*message.topic;
        let mut candidates: Vec<Arc<str>> = Vec::new();
        for (name, filter) in &client.filters {
            let pattern = name.get(filter.pattern..).unwrap_or(name);
            let is_one = match message.retain {
                false => filter.held,
                // What was retained before is for those who have just subscribed.
                true => {
                    !filter.readers.is_empty()
                        || filter.observers.iter().any(|ticket| {
                            let observation = self.observations.get(ticket);
                            observation.is_some_and(|observation| observation.replay > now)
                        })
                }
            };
            if is_one && matches(pattern, topic) {
                candidates.push(Arc::clone(name));
            }
        }
        let copies = &mut client.copies;
        let chosen = choose(copies, candidates, topic, &payload, message.retain);
        let id = message.id;
        let told = match chosen {
            Some(name) => self.tell(now, no, &name, topic, &payload, message.retain, id),
            None => 0,
        };
        let Some(client) = self.clients.get_mut(&no).filter(|_| id != 0) else {
            return;
        };
        match told {
            0 => self.broker.ack(no, id),
            told => {
                client.acks.insert(id, told);
            }
        }
    }

    /// Tells those who observe or read a filter. How many notifications will say what became of them.
    #[allow(clippy::too_many_arguments)]
    fn tell(
        &mut self,
        now: Instant,
        no: ClientNo,
        name: &Arc<str>,
        topic: &str,
        payload: &Bytes,
        retain: bool,
        id: u16,
    ) -> u32 {
        let Some(client) = self.clients.get_mut(&no) else {
            return 0;
        };
        let id = if client.acks.len() < MAX_ACKS { id } else { 0 };
        let Some(filter) = client.filters.get_mut(name) else {
            return 0;
        };
        let observers = filter.observers.clone();
        if self.settings.load().enable_stats {
            client.sent += u64::try_from(observers.len()).unwrap_or(0);
        }
        let readers = std::mem::take(&mut filter.readers);
        let mut kept = false;
        let mut told = 0;
        for observer in observers {
            let Some(observation) = self.observations.get_mut(&observer) else {
                continue;
            };
            if retain && observation.replay <= now {
                continue;
            }
            if retain {
                observation.replay = now + REPLAY;
            }
            let response = match observation.form {
                Form::Payload => Response::content(OCTETS, payload.clone()),
                Form::Fields => Response {
                    payload: seed::notification(topic, payload),
                    ..Response::new(Code::CONTENT)
                },
                Form::Ps => {
                    if !std::mem::replace(&mut kept, true) {
                        self.store.update(now, topic, payload);
                    }
                    self.value(now, topic, payload)
                }
            };
            told += u32::from(id != 0);
            self.actions.push_back(Action::Notify {
                observation: observer,
                receipt: receipt(no, id),
                response,
            });
        }
        for reader in &readers {
            let value = self.value(now, topic, payload);
            self.found(now, no, name, reader, value);
        }
        if !readers.is_empty() {
            self.step(no, name);
        }
        told
    }

    /// A payload as the value of a topic of `/ps`.
    fn value(&self, now: Instant, topic: &str, payload: &Bytes) -> Response {
        let kept = self.store.get(topic);
        let format = kept.and_then(|kept| kept.format).unwrap_or(OCTETS);
        let left = kept.and_then(|kept| kept.fresh(now)).map(|(_, left)| left);
        Response {
            max_age: Some(left.unwrap_or(ps::DEFAULT_MAX_AGE)),
            ..Response::content(format, payload.clone())
        }
    }

    /// A notification of a message has an end; the broker is told at the last one.
    pub fn settle(&mut self, no: ClientNo, id: u16) {
        let Some(client) = self.clients.get_mut(&no) else {
            return;
        };
        if let Some(left) = client.acks.get_mut(&id) {
            *left -= 1;
            if *left == 0 {
                client.acks.remove(&id);
                self.broker.ack(no, id);
            }
        }
    }
}

/// Which of the filters that match a message this copy of it is for. Copies of one message come one behind the other,
/// and are all the same: each filter gets one.
fn choose(
    copies: &mut Option<Copies>,
    mut candidates: Vec<Arc<str>>,
    topic: &str,
    payload: &Bytes,
    retain: bool,
) -> Option<Arc<str>> {
    if candidates.len() < 2 {
        *copies = None;
        return candidates.pop();
    }
    if let Some(copies) = copies
        && copies.topic == topic
        && copies.payload == *payload
        && copies.retain == retain
    {
        while let Some(name) = copies.left.pop() {
            if candidates.contains(&name) {
                return Some(name);
            }
        }
    }
    // Last those whose copy may be another client's: of a shared subscription.
    candidates.sort_by_key(|name| !name.starts_with('$'));
    let first = candidates.pop();
    *copies = Some(Copies {
        topic: topic.into(),
        payload: payload.clone(),
        retain,
        left: candidates,
    });
    first
}
