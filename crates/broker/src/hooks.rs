//! Hook points (sheet 5.2): where a plugin is told, or asked, about clients and messages.
//!
//! Callbacks run in ascending priority, equal ones in the order of registering. A point that nobody
//! uses costs the test of one bit.

use arc_swap::ArcSwap;
use emqttd_mqtt::QoS;
use emqttd_session::{Message, Publisher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A hook point.
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

/// Whether a chain goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow<T> {
    /// To the next callback, with this value.
    Next(T),
    /// The chain ends here, and what it was asked about does not happen.
    Stop,
}

/// An entry of the table that subscribe and unsubscribe hooks may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicEntry {
    /// filter without prefixes and mountpoint
    pub topic: String,
    /// requested QoS; not meaningful for unsubscribe
    pub qos: QoS,
    /// group of a shared subscription
    pub share: Option<String>,
    /// subscribed as `$local/`
    pub local: bool,
}

/// A set of callbacks; the ones not overridden do nothing. They run on event loops: they must not block.
#[allow(unused_variables)]
pub trait Hooks: Send + Sync {
    /// The points it wants, as a union of [`HookPoint`] values.
    fn points(&self) -> u32;
    /// After a CONNECT that parsed, also a refused one; `connack` is the 3.x return code.
    fn client_connected(&self, client: &Publisher, connack: u8) {}
    /// When a connection that had sent CONNECT ends, but not on takeover.
    fn client_disconnected(&self, client: &Publisher, reason: &str) {}
    /// After the ACL, before the session.
    fn client_subscribe(
        &self,
        client: &Publisher,
        table: Vec<TopicEntry>,
    ) -> Flow<Vec<TopicEntry>> {
        Flow::Next(table)
    }
    /// Before the session.
    fn client_unsubscribe(
        &self,
        client: &Publisher,
        table: Vec<TopicEntry>,
    ) -> Flow<Vec<TopicEntry>> {
        Flow::Next(table)
    }
    /// A new session.
    fn session_created(&self, client: &Publisher) {}
    /// Per topic, also when it was already there.
    fn session_subscribed(&self, client: &Publisher, entry: &TopicEntry) {}
    /// Per topic that was there.
    fn session_unsubscribed(&self, client: &Publisher, topic: &str) {}
    /// A session ended.
    fn session_terminated(&self, client: &Publisher, reason: &str) {}
    /// Every message that enters the broker.
    fn message_publish(&self, message: Arc<Message>) -> Flow<Arc<Message>> {
        Flow::Next(message)
    }
    /// Every PUBLISH written to a client.
    fn message_delivered(&self, client: &Publisher, message: &Message) {}
    /// PUBACK, or the first PUBREC.
    fn message_acked(&self, client: &Publisher, message: &Message) {}
    /// A message that somebody will not get, with the reason.
    fn message_dropped(&self, message: &Message, reason: &str) {}
}

/// The callbacks in force.
#[derive(Default)]
pub struct HookTable {
    points: AtomicU32,
    chain: ArcSwap<Vec<(i32, Arc<dyn Hooks>)>>,
}

impl HookTable {
    /// Adds a set of callbacks with a priority (EMQ's default is 0).
    pub fn add(&self, priority: i32, hooks: Arc<dyn Hooks>) {
        self.change(|chain| {
            let at = chain.partition_point(|(p, _)| *p <= priority);
            chain.insert(at, (priority, Arc::clone(&hooks)));
        });
    }

    /// Takes a set of callbacks away.
    pub fn remove(&self, hooks: &Arc<dyn Hooks>) {
        self.change(|chain| chain.retain(|(_, h)| !Arc::ptr_eq(h, hooks)));
    }

    fn change(&self, f: impl Fn(&mut Vec<(i32, Arc<dyn Hooks>)>)) {
        self.chain.rcu(|old| {
            let mut chain = Vec::clone(old);
            f(&mut chain);
            chain
        });
        let points = self
            .chain
            .load()
            .iter()
            .fold(0, |sum, (_, h)| sum | h.points());
        self.points.store(points, Ordering::Release);
    }

    /// Whether anybody uses a point.
    #[inline]
    pub fn has(&self, point: HookPoint) -> bool {
        self.points.load(Ordering::Relaxed) & point as u32 != 0
    }

    /// Calls `f` with each set of callbacks that wants the point, in order.
    pub fn each(&self, point: HookPoint, mut f: impl FnMut(&dyn Hooks)) {
        if self.has(point) {
            for (_, hooks) in self
                .chain
                .load()
                .iter()
                .filter(|(_, h)| h.points() & point as u32 != 0)
            {
                f(&**hooks);
            }
        }
    }

    /// Passes `value` along the chain; `None` when a callback stopped it.
    pub fn fold<T>(
        &self,
        point: HookPoint,
        mut value: T,
        f: impl Fn(&dyn Hooks, T) -> Flow<T>,
    ) -> Option<T> {
        if !self.has(point) {
            return Some(value);
        }
        for (_, hooks) in self
            .chain
            .load()
            .iter()
            .filter(|(_, h)| h.points() & point as u32 != 0)
        {
            match f(&**hooks, value) {
                Flow::Next(next) => value = next,
                Flow::Stop => return None,
            }
        }
        Some(value)
    }
}
