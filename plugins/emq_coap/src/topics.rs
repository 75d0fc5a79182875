//! What requests do with the topics of `/ps`.
//!
//! A value is kept when the broker has taken its publication, so nobody puts one there whom the ACL does not let publish; and
//! it is shown to those whom the ACL lets subscribe, which the broker is asked by a subscription in the client's session. So
//! it is about making a topic, which holds nothing yet. Who wants to remove what somebody else has published shows by publishing an empty retained message that he may.

use crate::app::{App, Job};
use crate::brokerage::{Broker, ClientNo};
use crate::codec::Code;
use crate::endpoint::Endpoint;
use crate::link_format::write_topic;
use crate::plan::{Form, PsPlan, bad};
use crate::ps::location;
use crate::request::{ETag, Outcome, Response, Ticket};
use crate::store::{Publication, Topic};
use crate::watching::{Waiter, Want};
use crate::well_known::LINK_FORMAT;
use bytes::Bytes;
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Outgoing;
use std::sync::Arc;
use std::time::Instant;

/// Topics in a list at the most; each of them is asked about.
const MAX_LISTED: usize = 100;

/// A list that is being made.
pub struct Listing {
    ticket: Ticket,
    /// topics of which is not known whether the client may see them
    left: usize,
    /// those that it may, and their Content-Formats
    topics: Vec<(String, Option<u16>)>,
}

/// Topics that are to go.
pub struct Deletion {
    client: ClientNo,
    ticket: Ticket,
    root: String,
    /// topics of others: whether they may be removed is still to be shown; the root is the last and so the first to be
    left: Vec<String>,
    /// topics that go when that is done
    cleared: Vec<String>,
    then: Then,
}

/// What comes after a deletion.
enum Then {
    Nothing,
    /// the topic is made anew
    Create {
        format: Option<u16>,
        max_age: u32,
    },
}

impl<B: Broker> App<B> {
    /// A request for `/ps`.
    pub fn execute_ps(
        &mut self,
        now: Instant,
        no: ClientNo,
        ticket: Ticket,
        endpoint: Endpoint,
        plan: PsPlan,
    ) -> Outcome {
        let waiter = |want| Waiter {
            ticket,
            endpoint,
            want,
        };
        match plan {
            PsPlan::List => self.list(no, ticket, endpoint),
            PsPlan::Read { topic, accept } => self.want(no, &topic, waiter(Want::Read { accept })),
            PsPlan::Observe {
                topic,
                accept,
                renews,
            } => self.want(no, &topic, waiter(Want::ReadOn { accept, renews })),
            PsPlan::Publish {
                message,
                format,
                max_age,
                may_proceed,
            } => {
                if !may_proceed {
                    return Outcome::Now(Response::new(Code::PRECONDITION_FAILED));
                }
                self.publish_value(no, ticket, message, format, max_age)
            }
            PsPlan::Create {
                topic,
                format,
                max_age,
            } => self.want(no, &topic, waiter(Want::Create { format, max_age })),
            PsPlan::Delete { topic, may_proceed } => {
                let is_there = self.store.get(&topic).is_some();
                if !is_there && self.store.below(&topic).next().is_none() {
                    return Outcome::Now(Response::new(Code::NOT_FOUND));
                }
                if !may_proceed {
                    return Outcome::Now(Response::new(Code::PRECONDITION_FAILED));
                }
                self.delete(now, no, ticket, topic, Then::Nothing)
            }
        }
    }

    /// Publishes what is to be kept.
    fn publish_value(
        &mut self,
        no: ClientNo,
        ticket: Ticket,
        mut message: Outgoing,
        format: u16,
        max_age: u32,
    ) -> Outcome {
        let Some(client) = self.clients.get(&no) else {
            return Outcome::Now(Response::busy(1));
        };
        if let Some(topic) = self.store.get(&message.topic) {
            // A name that somebody else has only reserved binds nobody.
            let binds = topic.value.is_some() || topic.owner == client.owner;
            if binds && topic.format.is_some_and(|there| there != format) {
                return Outcome::Now(bad("the topic has another Content-Format"));
            }
        }
        // Only of an acknowledged message is known that the ACL has let it pass.
        if message.qos == QoS::AtMostOnce {
            message.qos = QoS::AtLeastOnce;
        }
        let publication = Publication {
            topic: message.topic.clone(),
            format,
            max_age,
            payload: Bytes::copy_from_slice(&message.payload),
            retained: message.retain,
            owner: Arc::clone(&client.owner),
        };
        let job = Job::Keep {
            ticket,
            publication,
        };
        self.publish(no, &message, job, Code::CHANGED)
    }

    /// The broker has a publication.
    pub fn keep(&mut self, now: Instant, publication: Publication) -> Response {
        let location = location(&publication.topic);
        match self.store.publish(now, publication) {
            Ok(true) => Response {
                location,
                ..Response::new(Code::CREATED)
            },
            Ok(false) => Response::new(Code::CHANGED),
            Err(_) => Response {
                max_age: Some(60),
                ..Response::error(
                    Code::UNAVAILABLE,
                    "published, but there is no room to keep it",
                )
            },
        }
    }

    /// The last value of a topic; `None` = a retained message may be it.
    ///
    /// # Errors
    /// The answer, when it is not to be had in that format.
    pub fn read(
        &self,
        now: Instant,
        topic: &str,
        accept: Option<u16>,
    ) -> Result<Option<Response>, Response> {
        let Some(topic) = self.store.get(topic) else {
            return Ok(None);
        };
        let is_other = |format| accept.is_some_and(|accept| accept != format);
        if topic.format.is_some_and(is_other) {
            return Err(bad("the topic has another Content-Format"));
        }
        Ok(value(topic, now))
    }

    /// Makes a topic, or takes its value away.
    pub fn create(
        &mut self,
        now: Instant,
        no: ClientNo,
        ticket: Ticket,
        topic: &str,
        format: Option<u16>,
        max_age: u32,
    ) -> Outcome {
        if self.store.get(topic).is_some() {
            let then = Then::Create { format, max_age };
            return self.delete(now, no, ticket, topic.into(), then);
        }
        Outcome::Now(self.created(now, no, topic, format, max_age))
    }

    fn created(
        &mut self,
        now: Instant,
        no: ClientNo,
        topic: &str,
        format: Option<u16>,
        max_age: u32,
    ) -> Response {
        let Some(client) = self.clients.get(&no) else {
            return Response::busy(1);
        };
        match self
            .store
            .create(now, topic, format, max_age, &client.owner)
        {
            Ok(()) => Response {
                location: location(topic),
                ..Response::new(Code::CREATED)
            },
            Err(_) => Response::busy(60),
        }
    }

    /// Begins to remove a topic that is there.
    fn delete(
        &mut self,
        now: Instant,
        no: ClientNo,
        ticket: Ticket,
        root: String,
        then: Then,
    ) -> Outcome {
        let Some(client) = self.clients.get(&no) else {
            return Outcome::Now(Response::busy(1));
        };
        // Its own it may remove as it could overwrite them.
        let is_own = |name: &str| {
            let topic = self.store.get(name);
            topic.is_none_or(|topic| topic.owner == client.owner && !topic.retained)
        };
        let below = match then {
            Then::Nothing => self.store.below(&root).map(String::from).collect(),
            Then::Create { .. } => Vec::new(),
        };
        let all = below.into_iter().chain([root.clone()]);
        let (cleared, left): (Vec<String>, Vec<String>) = all.partition(|name| is_own(name));
        let deletion = Deletion {
            client: no,
            ticket,
            root,
            left,
            cleared,
            then,
        };
        self.go_on(now, deletion)
    }

    /// Shows of the next topic that it may be removed, or removes them all.
    fn go_on(&mut self, now: Instant, mut deletion: Deletion) -> Outcome {
        let Some(topic) = deletion.left.pop() else {
            return Outcome::Now(self.finish(now, deletion));
        };
        let message = Outgoing::new(&*topic, Vec::new())
            .qos(QoS::AtLeastOnce)
            .retain(true);
        let number = self.number();
        let job = Job::Clear {
            deletion: number,
            topic,
        };
        let client = deletion.client;
        let outcome = self.publish(client, &message, job, Code::DELETED);
        if matches!(outcome, Outcome::Later) {
            self.deletions.insert(number, deletion);
        }
        outcome
    }

    /// The broker has an empty message, or `failed` says why not.
    pub fn cleared(&mut self, now: Instant, number: u64, topic: String, failed: Option<Response>) {
        let Some(mut deletion) = self.deletions.remove(&number) else {
            return;
        };
        let ticket = deletion.ticket;
        let outcome = match failed {
            None => {
                deletion.cleared.push(topic);
                self.go_on(now, deletion)
            }
            // What lies below and is somebody else's stays.
            Some(response) if response.code == Code::FORBIDDEN && topic != deletion.root => {
                self.go_on(now, deletion)
            }
            Some(response) => Outcome::Now(response),
        };
        if let Outcome::Now(response) = outcome {
            self.respond(ticket, response);
        }
    }

    fn finish(&mut self, now: Instant, deletion: Deletion) -> Response {
        let Deletion {
            client,
            root,
            cleared,
            then,
            ..
        } = deletion;
        if let Then::Create { format, max_age } = then {
            return self.created(now, client, &root, format, max_age);
        }
        for name in &cleared {
            self.store.remove(name);
        }
        let over = self.observations.iter().filter(|(_, observation)| {
            let name = &*observation.filter;
            observation.form == Form::Ps && cleared.iter().any(|cleared| cleared == name)
        });
        let over = over.map(|(ticket, _)| *ticket).collect();
        self.end_all(over, &Response::new(Code::NOT_FOUND));
        Response::new(Code::DELETED)
    }

    /// Begins a list of the topics that the client may read.
    fn list(&mut self, no: ClientNo, ticket: Ticket, endpoint: Endpoint) -> Outcome {
        let topics = self.store.iter().take(MAX_LISTED);
        let topics: Vec<String> = topics.map(|(name, _)| name.into()).collect();
        if topics.is_empty() {
            return Outcome::Now(Response::content(LINK_FORMAT, Bytes::new()));
        }
        let number = self.number();
        let listing = Listing {
            ticket,
            left: topics.len(),
            topics: Vec::new(),
        };
        self.listings.insert(number, listing);
        for topic in topics {
            let waiter = Waiter {
                ticket,
                endpoint,
                want: Want::List(number),
            };
            if let Outcome::Now(_) = self.want(no, &topic, waiter) {
                self.listed(number, None);
            }
        }
        Outcome::Later
    }

    /// Whether a topic is in a list is known.
    pub fn listed(&mut self, number: u64, topic: Option<&str>) {
        let Some(listing) = self.listings.get_mut(&number) else {
            return;
        };
        if let Some(name) = topic
            && let Some(topic) = self.store.get(name)
        {
            listing.topics.push((name.into(), topic.format));
        }
        listing.left -= 1;
        if listing.left == 0
            && let Some(listing) = self.listings.remove(&number)
        {
            let Listing {
                ticket, mut topics, ..
            } = listing;
            topics.sort_unstable();
            let mut links = String::new();
            for (name, format) in &topics {
                write_topic(&mut links, name, *format);
            }
            self.respond(ticket, Response::content(LINK_FORMAT, links));
        }
    }
}

/// The value of a topic, if it has one.
fn value(topic: &Topic, now: Instant) -> Option<Response> {
    let (payload, left) = topic.fresh(now)?;
    Some(Response {
        code: Code::CONTENT,
        content_format: topic.format,
        max_age: Some(left),
        etag: ETag::new(&topic.etag()),
        location: Vec::new(),
        observing: None,
        payload: payload.clone(),
    })
}
