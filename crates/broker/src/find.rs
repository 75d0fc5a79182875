//! Looking for some of many: connected clients, sessions, subscriptions, routes, retained messages.
//!
//! Without an order rows come as they lie, and a page costs what it looks at. With one the least that follow the
//! cursor are picked in a walk over all of them. A walk goes in pieces, so that neither an event loop nor who waits
//! for a lock is held up for longer than a few tenths of a millisecond; what comes, goes or changes meanwhile may be
//! missed or met twice, and nothing else.

mod cursor;
mod key;
mod kinds;
mod shared;
mod text;
mod walk;

pub(crate) use walk::silent;

pub(crate) use walk::Budget;

use crate::admin::Broker;
use crate::info::*;
use kinds::{Clients, Sessions, Subscribed};
use walk::Asked;

/// Rows on a page at the most.
pub const MOST_ROWS: usize = 10_000;

/// Bytes of a part that is looked for, at the most: with a longer one, made for it, a text of 64 KB would take an
/// event loop seconds.
pub const LONGEST_PART: usize = 256;

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find<F, O> {
    /// which rows
    pub filter: F,
    /// in which order; `None` = as they lie
    pub order: Option<O>,
    /// the greatest first; counts only with an order
    pub descending: bool,
    /// what [`Page::next`] said; `None` = from the beginning
    pub after: Option<String>,
    /// rows to pass over, behind the cursor
    pub offset: usize,
    /// rows on the page, [`MOST_ROWS`] at the most
    pub limit: usize,
}

impl<F: Default, O> Default for Find<F, O> {
    fn default() -> Self {
        Find {
            filter: F::default(),
            order: None,
            descending: false,
            after: None,
            offset: 0,
            limit: 50,
        }
    }
}

/// Some of the rows that were looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// in the order that was asked for
    pub rows: Vec<T>,
    /// where the next page begins: for the same question; `None` = there is none
    pub next: Option<String>,
    /// how many rows there are on all pages, where that is known: with an order, or without a filter
    pub matched: Option<usize>,
    /// how many there are without a filter
    pub total: usize,
}

/// Which connected clients; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// part of the client id, ASCII letters in either case
    pub search: Option<String>,
    /// exactly this user name
    pub username: Option<String>,
    /// what the address begins with, as text
    pub ip: Option<String>,
    /// protocol of the listener: `mqtt:tcp`
    pub listener: Option<String>,
    /// 3, 4 or 5
    pub proto_ver: Option<u8>,
    /// clean session (3.x) or clean start (5.0)
    pub clean_sess: Option<bool>,
}

/// In which order clients come; equals by client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOrder {
    /// client identifier
    ClientId,
    /// user name, those without one first
    Username,
    /// address, those of IPv4 among themselves
    IpAddress,
    /// when it connected
    ConnectedAt,
    /// protocol version
    ProtoVer,
    /// keep alive
    Keepalive,
}

/// A connected client that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// as `clients list` shows it
    pub client: ClientInfo,
    /// protocol of its listener
    pub listener: String,
}

/// Which sessions; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// part of the client id, ASCII letters in either case
    pub search: Option<String>,
    /// whether a connection is attached
    pub online: Option<bool>,
    /// whether it ends with its connection
    pub clean_sess: Option<bool>,
}

/// In which order sessions come; equals by client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOrder {
    /// client identifier
    ClientId,
    /// messages waiting
    MqueueLen,
    /// messages dropped because the queue was full
    MqueueDropped,
    /// messages sent and not finished
    Inflight,
    /// subscriptions held
    Subscriptions,
    /// when it came to be
    CreatedAt,
    /// PUBLISH packets written
    DeliverMsg,
}

/// Which subscriptions; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// part of the client id, ASCII letters in either case
    pub search: Option<String>,
    /// part of the filter, ASCII letters in either case
    pub topic: Option<String>,
    /// granted QoS
    pub qos: Option<u8>,
    /// exactly this shared group (`$queue` for `$queue/`)
    pub share: Option<String>,
}

/// In which order subscriptions come; equals by the other of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionOrder {
    /// client identifier
    ClientId,
    /// the filter
    Topic,
}

/// Which routed filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// part of the filter, ASCII letters in either case
    pub search: Option<String>,
}

/// In which order routed filters come: always in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteOrder {
    /// the filter
    Topic,
}

/// Which retained messages; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetainedFilter {
    /// a topic filter
    pub filter: Option<String>,
    /// part of the topic, ASCII letters in either case
    pub search: Option<String>,
}

/// In which order retained messages come; without one, in that of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainedOrder {
    /// the topic
    Topic,
}

/// A retained message without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedRow {
    /// its topic
    pub topic: String,
    /// QoS it was published with
    pub qos: u8,
    /// bytes of the payload; `None` = it is on disk and was not read
    pub payload_size: Option<usize>,
    /// unix milliseconds
    pub published_at: u64,
    /// client identifier of who published it, where that is in memory
    pub from: Option<String>,
    /// when its own expiry interval ends, unix milliseconds
    pub expires_at: Option<u64>,
}

impl Broker {
    /// Connected clients.
    ///
    /// # Errors
    /// When the cursor is not one of such a question, a part that is looked for is too long, or an event loop does not
    /// answer.
    pub fn find_clients(
        &self,
        find: &Find<ClientFilter, ClientOrder>,
    ) -> Result<Page<ClientRow>, AdminError> {
        examine(&[&find.filter.search])?;
        let asked = Asked {
            kind: b'c',
            order: find.order.map_or(0, |order| 1 + order as u8),
            all: find.filter == ClientFilter::default(),
            total: self.node.gauges.clients.get().0 as usize,
            sought: Clients {
                filter: find.filter.clone(),
                order: find.order,
            },
        };
        self.page(find, asked)
    }

    /// Sessions, online or not.
    ///
    /// # Errors
    /// As [`Broker::find_clients`].
    pub fn find_sessions(
        &self,
        find: &Find<SessionFilter, SessionOrder>,
    ) -> Result<Page<SessionInfo>, AdminError> {
        examine(&[&find.filter.search])?;
        let asked = Asked {
            kind: b's',
            order: find.order.map_or(0, |order| 1 + order as u8),
            all: find.filter == SessionFilter::default(),
            total: self.node.gauges.sessions.get().0 as usize,
            sought: Sessions {
                filter: find.filter.clone(),
                order: find.order,
            },
        };
        self.page(find, asked)
    }

    /// Subscriptions; those of a session by their filter where no order is asked for.
    ///
    /// # Errors
    /// As [`Broker::find_clients`].
    pub fn find_subscriptions(
        &self,
        find: &Find<SubscriptionFilter, SubscriptionOrder>,
    ) -> Result<Page<SubscriptionInfo>, AdminError> {
        examine(&[&find.filter.search, &find.filter.topic])?;
        let asked = Asked {
            kind: b'u',
            order: find.order.map_or(0, |order| 1 + order as u8),
            all: find.filter == SubscriptionFilter::default(),
            total: self.node.gauges.subscriptions.get().0 as usize,
            sought: Subscribed {
                filter: find.filter.clone(),
                order: find.order,
            },
        };
        self.page(find, asked)
    }

    /// Routed filters, in their order.
    ///
    /// # Errors
    /// When the cursor is not one of such a question, or routes change faster than they can be looked through.
    pub fn find_routes(
        &self,
        find: &Find<RouteFilter, RouteOrder>,
    ) -> Result<Page<RouteInfo>, AdminError> {
        examine(&[&find.filter.search])?;
        self.routes_page(find)
    }

    /// Retained messages.
    ///
    /// # Errors
    /// When the cursor is not one of such a question; [`AdminError::BadTopic`] when the topic filter is none.
    pub fn find_retained(
        &self,
        find: &Find<RetainedFilter, RetainedOrder>,
    ) -> Result<Page<RetainedRow>, AdminError> {
        examine(&[&find.filter.search])?;
        self.retained_page(find)
    }
}

/// The parts that are looked for are short enough.
fn examine(parts: &[&Option<String>]) -> Result<(), AdminError> {
    let mut parts = parts.iter().copied().flatten();
    match parts.any(|part| part.len() > LONGEST_PART) {
        false => Ok(()),
        true => Err(AdminError::Other(format!(
            "what is searched for has {LONGEST_PART} bytes at the most"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
