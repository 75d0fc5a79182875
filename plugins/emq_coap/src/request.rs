//! What lies between the transport of CoAP and the resources: requests, responses, notifications.
//!
//! The transport ([`Machine`](crate::machine::Machine)) has done what no resource needs to know of: duplicates, lost
//! messages, blocks in both directions, options that nobody understands, ETags that are still valid. A resource sees a
//! request with its whole payload, and answers with a whole response.
//!
//! # Observing
//!
//! A GET with [`Observe::Register`] is answered by a [`Response`] with [`Response::observing`]. From then on the [`Ticket`] of
//! that request is the name of the *observation*: [`Action::Notify`] sends to it, [`Application::ended`] says that it is
//! over. The transport gives notifications their numbers, sends them in their order, one unacknowledged CON at a time for
//! each endpoint, again when they are lost, and in blocks when they are large.

use crate::codec::{Code, Message, Options, option, uint};
use crate::endpoint::Endpoint;
use bytes::Bytes;
use std::task::{Context, Poll};
use std::time::Instant;

/// Names a request until it is answered, and the observation that it has begun after that. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a request wants to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// 0.01
    Get,
    /// 0.02
    Post,
    /// 0.03
    Put,
    /// 0.04
    Delete,
    /// Any other; 4.05 is the answer.
    Other,
}

impl Method {
    fn of(code: Code) -> Method {
        match code {
            Code::GET => Method::Get,
            Code::POST => Method::Post,
            Code::PUT => Method::Put,
            Code::DELETE => Method::Delete,
            _ => Method::Other,
        }
    }
}

/// The Observe option of a GET; other values are answered with 4.02 before anybody sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// 0
    Register,
    /// 1. If there is an observation with the token of this request, it has ended already, as [`Ended::Cancelled`].
    Deregister,
}

/// A request, put together from its blocks. It refers to the datagram: what lasts longer has to be copied.
#[derive(Debug)]
pub struct Request<'a> {
    /// name of this request
    pub ticket: Ticket,
    /// who asks
    pub endpoint: Endpoint,
    /// who DTLS says it is: identity of the pre-shared key, or common name of the certificate
    pub identity: Option<&'a str>,
    /// method
    pub method: Method,
    /// Content-Format of the payload
    pub content_format: Option<u16>,
    /// Content-Format that the response should have. A 2.05 with another one becomes 4.06 on its way out; a resource
    /// only looks at this where it can say it sooner.
    pub accept: Option<u16>,
    /// of a GET
    pub observe: Option<Observe>,
    /// the observation of this endpoint with the token of this request, which the request renews. Answer
    /// [`Observing::Renewed`] when it is about the same thing.
    pub renews: Option<Ticket>,
    /// seconds
    pub max_age: Option<u32>,
    /// If-None-Match: only when there is nothing there yet
    pub if_none_match: bool,
    /// the whole payload
    pub payload: &'a [u8],
    options: Options<'a>,
    has_if_match: bool,
}

impl<'a> Request<'a> {
    /// Segments of Uri-Path, decoded. An empty path has none; the path `/` may come as one empty segment.
    pub fn path(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        texts(self.options, option::URI_PATH)
    }

    /// Uri-Query: what is before the first `=`, and behind it; `""` when there is none.
    pub fn query(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        texts(self.options, option::URI_QUERY)
            .map(|text| text.split_once('=').unwrap_or((text, "")))
    }

    /// Whether If-Match and If-None-Match let it be done, for a resource that has this ETag now; `None` = there is no such
    /// resource. If not, the answer is 4.12 (RFC 7252, section 5.10.8).
    pub fn may_proceed(&self, etag: Option<&[u8]>) -> bool {
        if self.if_none_match && etag.is_some() {
            return false;
        }
        // An empty one means "whatever is there".
        !self.has_if_match
            || etag.is_some_and(|etag| {
                values(self.options, option::IF_MATCH)
                    .any(|value| value.is_empty() || value == etag)
            })
    }
}

fn values(options: Options<'_>, number: u16) -> impl Iterator<Item = &[u8]> {
    options
        .iter()
        .filter(move |(n, _)| *n == number)
        .map(|(_, value)| value)
}

/// Texts were checked when the request was read: those that are none are not met here.
fn texts(options: Options<'_>, number: u16) -> impl Iterator<Item = &str> {
    values(options, number).filter_map(|value| std::str::from_utf8(value).ok())
}

/// What a request is answered with, or what an observer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// how it went
    pub code: Code,
    /// Content-Format of the payload
    pub content_format: Option<u16>,
    /// Max-Age, seconds
    pub max_age: Option<u32>,
    /// 1 to 8 bytes. Not needed for blocks: there the transport makes one of the payload.
    pub etag: Option<ETag>,
    /// Location-Path
    pub location: Vec<String>,
    /// begins or renews an observation; only in answer to [`Observe::Register`]
    pub observing: Option<Observing>,
    /// payload, of whatever size
    pub payload: Bytes,
}

impl Response {
    /// Nothing but a code.
    pub const fn new(code: Code) -> Response {
        Response {
            code,
            content_format: None,
            max_age: None,
            etag: None,
            location: Vec::new(),
            observing: None,
            payload: Bytes::new(),
        }
    }

    /// 2.05 with a payload.
    pub fn content(content_format: u16, payload: impl Into<Bytes>) -> Response {
        Response {
            content_format: Some(content_format),
            payload: payload.into(),
            ..Response::new(Code::CONTENT)
        }
    }

    /// An error with a line of text that says why (RFC 7252, section 5.5.2).
    pub fn error(code: Code, diagnostic: &'static str) -> Response {
        Response {
            payload: Bytes::from_static(diagnostic.as_bytes()),
            ..Response::new(code)
        }
    }

    /// 5.03: it may be asked again after that many seconds.
    pub fn busy(seconds: u32) -> Response {
        Response {
            max_age: Some(seconds),
            ..Response::new(Code::UNAVAILABLE)
        }
    }
}

/// What an answer does to observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observing {
    /// The request has begun an observation, named by its ticket. One that it [`Request::renews`] ends
    /// ([`Ended::Replaced`]).
    Begun,
    /// What the request [`Request::renews`] goes on under its old name, with what waits for it. When that has ended
    /// meanwhile there is no observation.
    Renewed,
}

/// Version of a representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag {
    bytes: [u8; 8],
    len: u8,
}

impl ETag {
    /// `None` unless it has 1 to 8 bytes.
    pub fn new(etag: &[u8]) -> Option<ETag> {
        let mut bytes = [0; 8];
        bytes.get_mut(..etag.len())?.copy_from_slice(etag);
        let len = u8::try_from(etag.len()).ok().filter(|len| *len > 0)?;
        Some(ETag { bytes, len })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Outcome {
    /// Answered.
    Now(Response),
    /// [`Action::Respond`] comes, always. Meanwhile a CON is acknowledged when it takes long.
    Later,
}

/// Why an observation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The device said so: RST to a notification, or Observe 1 with its token.
    Cancelled,
    /// The device no longer answers.
    Lost,
    /// Another request of the same endpoint had the same token, and began another one.
    Replaced,
    /// There is no room for it (too many of this endpoint, or in all); the response went out without Observe.
    NoRoom,
}

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The device has acknowledged it.
    Acknowledged,
    /// It was a NON, and is on its way.
    Sent,
    /// It was dropped: the observation is over, too much waits for this device, or it is larger than a message may be.
    Dropped,
}

/// What the resources want of the transport, other than an answer at once.
#[derive(Debug)]
pub enum Action {
    /// Answers a request that was left for [`Outcome::Later`].
    Respond {
        /// of the request
        ticket: Ticket,
        /// the answer
        response: Response,
    },
    /// Tells an observer something. A response that is no success (4.xx, 5.xx) ends the observation, without
    /// [`Application::ended`].
    Notify {
        /// which
        observation: Ticket,
        /// comes back with [`Application::notified`], exactly once. One with 0 is dropped first when there is no room,
        /// and comes back only if the device acknowledges it.
        receipt: u64,
        /// 2.05 and its payload
        response: Response,
    },
    /// Ends an observation without a word to the device and without [`Application::ended`]; what waits for it is dropped.
    Forget {
        /// which
        observation: Ticket,
    },
}

/// The resources: what requests are about. Nothing here waits. The task of the gateway calls all of it, one call at a time,
/// and no call is made from within another.
pub trait Application {
    /// Answers a request.
    fn handle(&mut self, now: Instant, request: &Request<'_>) -> Outcome;

    /// What became of a notification with a receipt. Those of an observation come in their order, and before
    /// [`Application::ended`].
    fn notified(&mut self, now: Instant, observation: Ticket, receipt: u64, fate: Fate);

    /// An observation is over. Not called after [`Action::Forget`] or a notification that ended it.
    fn ended(&mut self, now: Instant, observation: Ticket, why: Ended);

    /// When [`Application::tick`] is to be called next.
    fn deadline(&self) -> Option<Instant>;

    /// It is later: sessions may be over.
    fn tick(&mut self, now: Instant);

    /// The next thing to do for the transport; pending when there is none, and then woken when there is. Called again
    /// after `handle`, `notified`, `ended` and `tick`, so these may just put actions in a queue.
    fn poll_action(&mut self, cx: &mut Context<'_>) -> Poll<Action>;

    /// The plugin ends: every client leaves in good order. The future is awaited for some seconds, and nothing else is called after this.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a request has by its options, as the transport looks at them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Head<'a> {
    pub content_format: Option<u16>,
    pub accept: Option<u16>,
    pub observe: Option<u32>,
    pub max_age: Option<u32>,
    pub block1: Option<u32>,
    pub block2: Option<u32>,
    pub size1: Option<u32>,
    /// of the response, asked for
    pub size2: bool,
    pub no_response: u32,
    pub has_etag: bool,
    if_none_match: bool,
    has_if_match: bool,
    options: Options<'a>,
}

/// Why options cannot be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionError {
    /// 4.02 for a CON, silence for a NON (RFC 7252, section 5.4.1)
    Critical,
    /// 5.05: Proxy-Uri, Proxy-Scheme
    Proxy,
}

impl<'a> Head<'a> {
    /// Looks through the options of a request. What is critical has to be understood and well-formed; anything else that
    /// is not is left out (section 5.4).
    pub fn read(options: Options<'a>) -> Result<Head<'a>, OptionError> {
        let mut head = Head {
            options,
            ..Head::default()
        };
        let mut proxy = false;
        let mut last = None;
        for (number, value) in options {
            // Section 5.4.5: one too many of an option is as one that is not understood.
            let again = last.replace(number) == Some(number);
            let understood = match number {
                option::URI_PATH | option::URI_QUERY => {
                    value.len() <= 255 && std::str::from_utf8(value).is_ok()
                }
                option::IF_MATCH => {
                    head.has_if_match = true;
                    value.len() <= 8
                }
                option::ETAG => {
                    head.has_etag |= (1..=8).contains(&value.len());
                    true
                }
                _ if again => false,
                option::URI_HOST => (1..=255).contains(&value.len()),
                option::URI_PORT => value.len() <= 2,
                option::IF_NONE_MATCH => {
                    head.if_none_match = true;
                    value.is_empty()
                }
                option::PROXY_URI | option::PROXY_SCHEME => {
                    proxy = true;
                    true
                }
                option::ACCEPT => format(value, &mut head.accept),
                option::CONTENT_FORMAT => format(value, &mut head.content_format),
                option::OBSERVE => number_of(value, 3, &mut head.observe),
                option::MAX_AGE => number_of(value, 4, &mut head.max_age),
                option::BLOCK1 => number_of(value, 3, &mut head.block1),
                option::BLOCK2 => number_of(value, 3, &mut head.block2),
                option::SIZE1 => number_of(value, 4, &mut head.size1),
                option::SIZE2 => {
                    head.size2 = true;
                    true
                }
                option::NO_RESPONSE => {
                    head.no_response = uint(value, 1).unwrap_or(0);
                    true
                }
                _ => false,
            };
            // Odd numbers are critical.
            if !understood && number & 1 == 1 {
                return Err(OptionError::Critical);
            }
        }
        if proxy {
            return Err(OptionError::Proxy);
        }
        Ok(head)
    }

    /// The request for the resources.
    pub fn request(
        &self,
        message: &Message<'a>,
        ticket: Ticket,
        endpoint: Endpoint,
        identity: Option<&'a str>,
        payload: &'a [u8],
    ) -> Request<'a> {
        let method = Method::of(message.code);
        let observe = match self.observe {
            Some(0) if method == Method::Get => Some(Observe::Register),
            Some(1) if method == Method::Get => Some(Observe::Deregister),
            _ => None,
        };
        Request {
            ticket,
            endpoint,
            identity,
            method,
            content_format: self.content_format,
            accept: self.accept,
            observe,
            renews: None,
            max_age: self.max_age,
            if_none_match: self.if_none_match,
            payload,
            options: self.options,
            has_if_match: self.has_if_match,
        }
    }

    /// The ETags of representations that the client has.
    pub fn etags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        values(self.options, option::ETAG)
    }
}

fn number_of(value: &[u8], most: usize, into: &mut Option<u32>) -> bool {
    let number = uint(value, most);
    if number.is_some() {
        *into = number;
    }
    number.is_some()
}

fn format(value: &[u8], into: &mut Option<u16>) -> bool {
    let number = uint(value, 2).and_then(|n| u16::try_from(n).ok());
    if number.is_some() {
        *into = number;
    }
    number.is_some()
}

/// For tests of resources: a request of an endpoint as it comes from `datagram`, with its whole payload in it.
#[cfg(test)]
pub(crate) fn with_request<T>(
    datagram: &[u8],
    ticket: Ticket,
    endpoint: Endpoint,
    then: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let message = Message::decode(datagram).expect("a message");
    let head = Head::read(message.options).expect("known options");
    then(&head.request(&message, ticket, endpoint, None, message.payload))
}
