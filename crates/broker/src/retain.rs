//! Retained messages: one for each topic name, in a tree.

use emqttd_config::Retainer;
use emqttd_router::RetainedTree;
use emqttd_session::Message;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The retained messages of the node.
#[derive(Default)]
pub(crate) struct Retained {
    /// with a number that grows with each message, for the order of publishing
    tree: RwLock<RetainedTree<(u64, Arc<Message>)>>,
    /// grows with every change of the tree
    sequence: AtomicU64,
    count: AtomicUsize,
    most: AtomicUsize,
}

/// What became of a message that was to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    /// An empty payload: what was there is gone [MQTT-3.3.1-6].
    Removed,
    /// `max_message_num` or `max_payload_size` forbids it.
    Refused,
}

impl Retained {
    /// Keeps the message, or removes what its topic had when the payload is empty [MQTT-3.3.1-7]. `write` is
    /// called when that has changed something, before anybody else can change it again: so the store hears
    /// of messages on one topic in the order in which they replace each other.
    pub fn store(
        &self,
        message: &Arc<Message>,
        limits: &Retainer,
        write: impl FnOnce(Stored),
    ) -> Stored {
        let topic = message.topic();
        let mut tree = self.tree.write();
        if message.payload().is_empty() {
            if tree.remove(topic).is_some() {
                write(Stored::Removed);
            }
            self.sequence.fetch_add(1, Ordering::Release);
            self.count.store(tree.len(), Ordering::Relaxed);
            return Stored::Removed;
        }
        if limits.max_payload_size > 0 && message.payload().len() > limits.max_payload_size {
            return Stored::Refused;
        }
        // One more than the limit is kept, as EMQ does (observed 5).
        if limits.max_message_num > 0
            && tree.len() > limits.max_message_num
            && tree.get(topic).is_none()
        {
            return Stored::Refused;
        }
        let sequence = self.sequence.fetch_add(1, Ordering::Release);
        tree.insert(topic, (sequence, Arc::clone(message)));
        write(Stored::Yes);
        self.count.store(tree.len(), Ordering::Relaxed);
        self.most.fetch_max(tree.len(), Ordering::Relaxed);
        Stored::Yes
    }

    /// Puts a message back that an earlier run of the broker has kept.
    pub fn put_back(&self, message: &Arc<Message>) {
        let mut tree = self.tree.write();
        let sequence = self.sequence.fetch_add(1, Ordering::Release);
        tree.insert(message.topic(), (sequence, Arc::clone(message)));
        self.count.store(tree.len(), Ordering::Relaxed);
        self.most.fetch_max(tree.len(), Ordering::Relaxed);
    }

    /// Changes with every message that is stored or removed.
    pub fn generation(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Whether the message is still the one its topic has.
    pub fn is_current(&self, message: &Arc<Message>) -> bool {
        let tree = self.tree.read();
        tree.get(message.topic())
            .is_some_and(|(_, there)| Arc::ptr_eq(there, message))
    }

    /// Those that match, in the order in which they were published.
    pub fn matching(&self, filter: &str, now: u64) -> Vec<Arc<Message>> {
        if self.count() == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.tree.read().matching(filter, |_, (sequence, message)| {
            if !message.expired(now) {
                found.push((*sequence, Arc::clone(message)));
            }
        });
        found.sort_unstable_by_key(|(sequence, _)| *sequence);
        found.into_iter().map(|(_, message)| message).collect()
    }

    /// Removes what has expired, and calls `removed` with the topics before anybody else can change them
    /// again: the store hears of their end before it hears of what comes after.
    pub fn sweep(&self, now: u64, removed: impl FnOnce(&[String])) {
        let mut old = Vec::new();
        self.tree.read().for_each(|topic, (_, message)| {
            if message.expired(now) {
                old.push(topic.to_string());
            }
        });
        if old.is_empty() {
            return;
        }
        let mut tree = self.tree.write();
        // One that another thread has replaced meanwhile stays.
        old.retain(|topic| {
            let expired = tree
                .get(topic)
                .is_some_and(|(_, message)| message.expired(now));
            if expired {
                tree.remove(topic);
            }
            expired
        });
        removed(&old);
        self.count.store(tree.len(), Ordering::Relaxed);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The most there have been since the start.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}
