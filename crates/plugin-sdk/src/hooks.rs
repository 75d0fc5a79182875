//! Hook points: where a plugin is told, or asked, about clients and messages.

use crate::{Client, ClientRef, Message, QoS};

/// A hook point; the values are bits of [`Hooks::points`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum HookPoint {
    ClientConnected = 1 << 0,
    ClientDisconnected = 1 << 1,
    ClientSubscribe = 1 << 2,
    ClientUnsubscribe = 1 << 3,
    SessionCreated = 1 << 4,
    SessionSubscribed = 1 << 5,
    SessionUnsubscribed = 1 << 6,
    SessionTerminated = 1 << 7,
    MessagePublish = 1 << 8,
    MessageDelivered = 1 << 9,
    MessageAcked = 1 << 10,
    MessageDropped = 1 << 11,
}

impl HookPoint {
    /// All of them.
    pub const ALL: u32 = (1 << 12) - 1;
}

/// Whether a chain goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next callback.
    Next,
    /// The chain ends here, and what it was asked about does not happen.
    Stop,
}

/// What becomes of a message that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes as it is.
    Pass,
    /// It passes changed.
    Change(Change),
    /// It is dropped; its publisher gets its PUBACK or PUBREC all the same.
    Drop,
}

/// What is to be another in a message; `None` = as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// topic name; must be valid
    pub topic: Option<String>,
    /// the application message
    pub payload: Option<Vec<u8>>,
    /// quality of service
    pub qos: Option<QoS>,
    /// RETAIN flag
    pub retain: Option<bool>,
}

/// An entry of the table that subscribe and unsubscribe hooks may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicEntry {
    /// filter without `$share/<group>/`, `$queue/`, `$local/`; with the mountpoint in `session_*` hooks
    pub topic: String,
    /// requested QoS; not meaningful for unsubscribe
    pub qos: QoS,
    /// group of a shared subscription; `$queue` for `$queue/`
    pub share: Option<String>,
    /// subscribed as `$local/`
    pub local: bool,
}

/// A set of callbacks; the ones not overridden do nothing. They run on the event loops: they must not
/// block. What takes time is given to [`Context::spawn`](crate::Context::spawn).
///
/// Sets run in ascending priority, those of one priority in the order of registering.
#[allow(unused_variables)]
pub trait Hooks: Send + Sync + 'static {
    /// The points it wants, as a union of [`HookPoint`] values: for the others it costs nothing.
    fn points(&self) -> u32;
    /// On every CONNECT that parsed, also a refused one, before CONNACK is sent. `connack` is the 3.x
    /// return code.
    fn client_connected(&self, client: &Client, connack: u8) {}
    /// When a client that had sent CONNECT is gone, after its will. `reason` is EMQ's word, `conflict` for
    /// one that another connection with its client id has displaced; `code` is the reason code of the
    /// DISCONNECT that an MQTT 5 client has sent or got.
    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {}
    /// After the ACL, before the session. The table may be changed; entries keep their order. One whose topic is no
    /// filter any more is refused: to cancel one, empty its topic (hooks that come later see it so). Those missing
    /// at the end of the table are refused, too.
    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        Flow::Next
    }
    /// Before the session. Stop: nothing is unsubscribed, UNSUBACK is sent all the same.
    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        Flow::Next
    }
    /// A new session.
    fn session_created(&self, client: ClientRef<'_>) {}
    /// For each topic, also when it was subscribed before.
    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {}
    /// For each topic that was subscribed.
    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {}
    /// A session ended: `normal`, `expired`, `conflict`, ...
    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {}
    /// Every message that enters the broker: of clients, wills, management, `$SYS`, plugins.
    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        Verdict::Pass
    }
    /// Every PUBLISH written to a client, retransmissions included.
    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {}
    /// PUBACK, or the first PUBREC.
    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {}
    /// A message that somebody will not get, with the reason.
    fn message_dropped(&self, message: &Message<'_>, reason: &str) {}
}
