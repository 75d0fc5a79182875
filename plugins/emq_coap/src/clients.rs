//! Sessions: one for each client that has said who it is.

use crate::brokerage::ClientNo;
use crate::endpoint::Endpoint;
use crate::plan::{Plan, Who};
use crate::request::Ticket;
use crate::store::Owner;
use crate::watching::{Copies, Filter};
use emqttd_gateway::Source;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client without a name stays when it observes nothing. Its next request makes it again.
const NAMELESS: Duration = Duration::from_secs(10);

/// A session is for one client with one set of credentials, at one IP address (its port may change): what the broker
/// decided about a client holds for the address from which it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    who: Who,
    ip: IpAddr,
    /// of a nameless client, which is its endpoint; else 0
    port: u16,
    secure: bool,
    /// as DTLS has it
    identity: Option<String>,
}

impl Key {
    /// Of a request.
    pub fn new(who: Who, endpoint: Endpoint, identity: Option<&str>) -> Key {
        let address = endpoint.address();
        Key {
            port: match who {
                Who::Named(_) => 0,
                Who::Nameless => address.port(),
            },
            who,
            ip: address.ip().to_canonical(),
            secure: endpoint.is_secure(),
            identity: identity.map(Into::into),
        }
    }

    /// Client identifier: one that is made up, when it gave none.
    pub fn clientid(&self) -> String {
        match &self.who {
            Who::Named(names) => names.clientid.clone(),
            // Hard to guess, so that nobody takes it over.
            Who::Nameless => format!("coap_{:016x}", RandomState::new().hash_one(self)),
        }
    }

    /// User name and password. Who gives no user name has the one that DTLS knows.
    pub fn credentials(&self) -> Option<(&str, Option<&str>)> {
        let (name, password) = match &self.who {
            Who::Named(names) => (names.username.as_deref(), names.password.as_deref()),
            Who::Nameless => (None, None),
        };
        let name = name.or(self.identity.as_deref())?;
        Some((name, password))
    }

    /// The user name is the one of DTLS.
    pub fn by_identity(&self) -> Option<&str> {
        let named = matches!(&self.who, Who::Named(names) if names.username.is_some());
        self.identity.as_deref().filter(|_| !named)
    }

    /// A certificate or a key has shown whose it is.
    pub fn is_proven(&self) -> bool {
        self.identity.is_some()
    }

    fn is_nameless(&self) -> bool {
        self.who == Who::Nameless
    }
}

/// A session.
pub struct Client {
    /// whose it is
    pub key: Arc<Key>,
    /// for what it publishes to `/ps`
    pub owner: Owner,
    /// where its last request came from
    pub endpoint: Endpoint,
    /// requests, with `coap.enable_stats`
    pub received: u64,
    /// notifications, with `coap.enable_stats`
    pub sent: u64,
    /// requests that wait until it is connected; `None` = it is
    pub waiting: Option<Vec<Waiting>>,
    /// `coap.keepalive` when it came
    pub keepalive: Duration,
    /// last sign of life
    pub seen: Instant,
    /// when it is looked at next, whether it is there still
    pub looked_at: Instant,
    /// last PINGREQ
    pub pinged: Instant,
    /// what it observes, and reads
    pub filters: BTreeMap<Arc<str>, Filter>,
    /// requests that wait for an answer to SUBSCRIBE
    pub waiters: usize,
    /// observations
    pub observations: usize,
    /// messages that the device does not have yet: packet identifier, notifications without an end
    pub acks: HashMap<u16, u32>,
    /// of a message that several filters match
    pub copies: Option<Copies>,
}

/// A request that waits until its client is connected.
pub struct Waiting {
    /// its name
    pub ticket: Ticket,
    /// who sent it
    pub endpoint: Endpoint,
    /// what it wants
    pub plan: Plan,
    /// bytes of its payload
    pub bytes: usize,
}

impl Client {
    /// One that is not connected yet.
    pub fn new(
        now: Instant,
        key: Arc<Key>,
        clientid: &str,
        keepalive: Duration,
        endpoint: Endpoint,
    ) -> Client {
        let username = key.credentials().map(|(name, _)| name.to_string());
        Client {
            key,
            owner: Arc::new((clientid.into(), username)),
            endpoint,
            received: 0,
            sent: 0,
            waiting: Some(Vec::new()),
            keepalive,
            seen: now,
            looked_at: now,
            pinged: now,
            filters: BTreeMap::new(),
            waiters: 0,
            observations: 0,
            acks: HashMap::new(),
            copies: None,
        }
    }

    /// Where it is; that does not change, its port may.
    pub fn source(&self) -> Source {
        Source::of(self.endpoint.address())
    }

    /// When it is over unless it gives a sign of life.
    pub fn over_at(&self) -> Instant {
        // EMQ looks each 1.25 intervals whether a request has come since it looked last.
        let mut patience = self.keepalive * 5 / 4;
        if self.key.is_nameless() && self.observations == 0 {
            patience = patience.min(NAMELESS);
        }
        self.seen + patience
    }
}

/// What is to be looked at at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Whether a client is still there.
    Client(ClientNo),
    /// No retained message has come for this reader.
    Reader(ClientNo, Arc<str>, Ticket),
}
