//! All about one client, one session's messages, one retained message.

use crate::admin::Broker;
use crate::info::*;

/// Subscriptions in a [`ClientDetail`] at the most.
pub const MOST_SUBSCRIPTIONS: usize = 1000;
/// Messages of each kind in a [`SessionQueue`] at the most.
pub const MOST_MESSAGES: usize = 1000;

/// All about a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDetail {
    /// as `clients list` shows it
    pub client: ClientInfo,
    /// as `sessions list` shows it
    pub session: SessionInfo,
    /// protocol of its listener: `mqtt:tcp`
    pub listener: String,
    /// address of its listener, as `listeners` shows it
    pub listen_on: String,
    /// what has passed since it connected
    pub traffic: Traffic,
    /// what is published when it is lost
    pub will: Option<WillInfo>,
    /// how long its session outlives the connection, seconds; 0 = not at all, `u32::MAX` = for ever
    pub expiry_interval: u32,
    /// what its listener puts before its topics
    pub mountpoint: Option<String>,
    /// whether no ACL holds for it
    pub superuser: bool,
    /// bytes that wait to be written to it
    pub send_pending: usize,
    /// by their filter, the first [`MOST_SUBSCRIPTIONS`]; `session.subscriptions` says how many there are
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// What has passed over a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// bytes of MQTT that came
    pub bytes_received: u64,
    /// bytes of MQTT that were written
    pub bytes_sent: u64,
    /// packets that came
    pub packets_received: u64,
    /// packets for it
    pub packets_sent: u64,
    /// PUBLISH packets that came
    pub messages_received: u64,
    /// PUBLISH packets for it
    pub messages_sent: u64,
}

/// A will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillInfo {
    /// with the mountpoint
    pub topic: String,
    /// its QoS
    pub qos: u8,
    /// its RETAIN flag
    pub retain: bool,
    /// bytes
    pub payload_size: usize,
    /// Will Delay Interval, seconds
    pub delay: u32,
}

/// The messages of a session that have not arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionQueue {
    /// sent and not finished, the oldest first
    pub inflight: Vec<InflightRow>,
    /// waiting in memory, the next first
    pub waiting: Vec<WaitingRow>,
    /// how many are in flight
    pub inflight_len: usize,
    /// how many wait, in memory and on disk
    pub waiting_len: usize,
    /// how many of those are on disk alone
    pub on_disk: usize,
    /// inbound QoS 2 messages not yet released
    pub awaiting_rel: usize,
}

/// How far a message in flight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightState {
    /// PUBLISH sent; PUBACK or PUBREC awaited
    Published,
    /// PUBREL sent, PUBCOMP awaited; the message itself is done with
    Released,
    /// sent before a restart, and still to be read from the disk
    Stored,
}

impl FlightState {
    /// `published`, `released`, `stored`.
    pub fn as_str(self) -> &'static str {
        match self {
            FlightState::Published => "published",
            FlightState::Released => "released",
            FlightState::Stored => "stored",
        }
    }
}

/// A message in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InflightRow {
    /// packet identifier
    pub packet_id: u16,
    /// how far it has come
    pub state: FlightState,
    /// what was sent, while that is known
    pub message: Option<WaitingRow>,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// QoS of the delivery
    pub qos: u8,
    /// its topic
    pub topic: String,
    /// bytes
    pub payload_size: usize,
    /// client identifier of who published it
    pub from: Option<String>,
    /// when it was published, unix milliseconds
    pub at: u64,
    /// RETAIN flag of the delivery
    pub retain: bool,
    /// it came by a shared group
    pub shared: bool,
}

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedMessage {
    /// its topic
    pub topic: String,
    /// QoS it was published with
    pub qos: u8,
    /// its payload
    pub payload: Vec<u8>,
    /// when it was published, unix milliseconds
    pub published_at: u64,
    /// client identifier of who published it
    pub from: Option<String>,
    /// user name of who published it
    pub username: Option<String>,
    /// when its own expiry interval ends, unix milliseconds
    pub expires_at: Option<u64>,
}

impl Broker {
    /// A connected client; `None` when it is not connected.
    pub fn client_detail(&self, _clientid: &str) -> Option<ClientDetail> {
        None
    }

    /// The messages of a session that have not arrived, `limit` of each kind ([`MOST_MESSAGES`] at the most);
    /// `None` when there is no such session.
    pub fn session_queue(&self, _clientid: &str, _limit: usize) -> Option<SessionQueue> {
        None
    }

    /// Ends a session with all that waits in it; its client's connection ends first (reason `kick`).
    ///
    /// # Errors
    /// When there is no such session.
    pub fn session_delete(&self, _clientid: &str) -> Result<(), AdminError> {
        Err(AdminError::Other("not there yet".into()))
    }

    /// Drops what waits in a session, not what is in flight; says how many messages. Those that are on disk are
    /// dropped as they are read, little by little.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn clear_queue(&self, _clientid: &str) -> Result<usize, AdminError> {
        Err(AdminError::Other("not there yet".into()))
    }

    /// The retained message of a topic. Reads the disk where the payload is there alone.
    ///
    /// # Errors
    /// `NotFound` when there is none; when the disk cannot be read.
    pub fn retained_get(&self, _topic: &str) -> Result<RetainedMessage, AdminError> {
        Err(AdminError::Other("not there yet".into()))
    }

    /// Removes the retained message of a topic; subscribers are not told.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn retained_delete(&self, _topic: &str) -> Result<(), AdminError> {
        Err(AdminError::Other("not there yet".into()))
    }
}
