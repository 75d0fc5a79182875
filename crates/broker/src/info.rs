//! What management may ask of a running broker: plain copies of its state, and the errors of the
//! operations in [`crate::Broker`]. Each row is a snapshot; nothing here holds a lock.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A connected client, as `clients list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// client identifier
    pub clientid: String,
    /// clean session (3.x) or clean start (5.0) of its CONNECT
    pub clean_sess: bool,
    /// user name in force (that of the certificate where the listener says so)
    pub username: Option<String>,
    /// peer address, after PROXY protocol or forwarded headers
    pub peername: SocketAddr,
    /// unix seconds
    pub connected_at: u64,
    /// protocol level: 3, 4 or 5
    pub proto_ver: u8,
    /// keep alive in force, seconds
    pub keepalive: u16,
}

/// Names a session as EMQ's process ids do: `<shard.slot.0>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid {
    /// event loop that owns it
    pub shard: u16,
    /// its place there
    pub slot: u32,
}

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}.{}.0>", self.shard, self.slot)
    }
}

/// A session, online or not, as `sessions list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// client identifier
    pub clientid: String,
    /// clean session: ends with its connection
    pub clean_sess: bool,
    /// subscriptions held
    pub subscriptions: usize,
    /// window in force; 0 = no limit
    pub max_inflight: usize,
    /// QoS 1 and 2 messages sent and not finished
    pub inflight: usize,
    /// messages waiting
    pub mqueue_len: usize,
    /// messages dropped because the queue was full
    pub mqueue_dropped: u64,
    /// inbound QoS 2 messages not yet released
    pub awaiting_rel: usize,
    /// PUBLISH packets written, retransmissions included
    pub deliver_msg: u64,
    /// messages queued
    pub enqueue_msg: u64,
    /// unix seconds
    pub created_at: u64,
    /// a connection is attached
    pub online: bool,
}

/// A subscription, as `subscriptions list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// client identifier of its session
    pub clientid: String,
    /// its session
    pub pid: Pid,
    /// the filter without `$share/<group>/`, `$queue/`, `$local/`, with the mountpoint
    pub topic: String,
    /// granted QoS
    pub qos: u8,
    /// group of a shared subscription; `$queue` for `$queue/`
    pub share: Option<String>,
    /// subscribed as `$local/`
    pub local: bool,
}

/// A routed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// the filter
    pub topic: String,
    /// only `$local/` subscriptions hold it
    pub local: bool,
}

/// An open listener, as `listeners` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// `mqtt:tcp`, `mqtt:ssl`, `mqtt:ws`, `mqtt:wss`
    pub protocol: String,
    /// address as configured: `1883` or `127.0.0.1:1883`... shown with `0.0.0.0:` for a bare port
    pub listen_on: String,
    /// `acceptors` key
    pub acceptors: u32,
    /// `max_clients` key
    pub max_clients: usize,
    /// connections open now
    pub current_clients: usize,
    /// reasons for which connections ended, with how often
    pub shutdown_count: Vec<(String, u64)>,
}

/// What a trace follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TraceTarget {
    /// packets of one client
    Client(String),
    /// publishes to one exact topic name
    Topic(String),
}

/// A running trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceInfo {
    /// what it follows
    pub target: TraceTarget,
    /// where it writes
    pub file: PathBuf,
}

/// Why an operation of [`crate::Broker`] could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminError {
    /// no such client, session, listener, trace
    NotFound,
    /// already there
    Existed,
    /// not a valid topic filter or name
    BadTopic,
    /// not now, or not known whether it was done: the store or an event loop is the reason; as a sentence
    Unavailable(String),
    /// anything else, as a sentence
    Other(String),
}

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminError::NotFound => f.write_str("not_found"),
            AdminError::Existed => f.write_str("existed"),
            AdminError::BadTopic => f.write_str("badtopic"),
            AdminError::Unavailable(s) | AdminError::Other(s) => f.write_str(s),
        }
    }
}

/// One module's answer in a walk through the authentication or ACL chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainStep {
    /// name of the module (`acl_internal`, a plugin, `mqtt.acl_nomatch`, `mqtt.allow_anonymous`)
    pub module: String,
    /// `allow`, `deny`, `ignore`, `unavailable`, `allow (superuser)`
    pub answer: String,
    /// why: the rule with its line, the query, the key
    pub detail: String,
}
