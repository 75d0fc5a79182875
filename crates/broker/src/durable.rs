//! What survives the process: which sessions, subscriptions, messages, wills and retained messages are
//! written to the store, and when.
//!
//! A session whose client wants it kept is *durable* and has a number in the store, and so has a shared group
//! with such a member ([`Owing`]). The shard on which a message is published writes it once, with the list of
//! those who are owed it, before it acknowledges; each session writes for itself what becomes of it then
//! (`ConnSink::record`). All of that goes into the shard's [`Journal`].

pub(crate) mod journal;
pub(crate) mod load;
pub(crate) mod record;
mod restore;
mod table;
pub(crate) mod write;

pub(crate) use restore::restore;
pub use table::DurableTable;
pub(crate) use table::Volatile;

use crate::node::Node;
use emqttd_config::{Persistence, PersistenceSync};
use emqttd_store::{
    Disk, Health, OpenError, Options, OwnerId, Position, Recovered, Store, Sync, Table,
};
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Sessions by their number.
pub(crate) const SESSIONS: Table = 1;
/// Subscriptions by the number of the session and the name it keeps them under.
pub(crate) const SUBSCRIPTIONS: Table = 2;
/// Retained messages by topic.
pub(crate) const RETAINED: Table = 3;
/// QoS 2 messages that wait for their PUBREL, by number of the session and packet identifier.
pub(crate) const INBOUND: Table = 4;
/// Shared groups by their number.
pub(crate) const GROUPS: Table = 5;

/// Bytes handed to the store and not yet durable above which nothing at all is read from clients.
const MOST_UNSYNCED: u64 = 64 << 20;

/// Somebody who is owed messages as the store knows it.
#[derive(Debug)]
pub(crate) struct Owing {
    /// number in the store
    pub number: OwnerId,
    /// `seq` of the next message it will be owed
    next: AtomicU64,
    /// several filters that match make one delivery (MQTT 5)
    merges: AtomicBool,
    /// `next` when the broker started: all below was left by an earlier run
    pub restored_next: u64,
    /// it outlives its connection; one that does not has a number only for what its groups gave it
    pub lasting: bool,
}

impl Owing {
    pub fn new(number: OwnerId, next: u64, lasting: bool) -> Arc<Owing> {
        Arc::new(Owing {
            number,
            next: AtomicU64::new(next.max(1)),
            merges: AtomicBool::new(false),
            restored_next: next.max(1),
            lasting,
        })
    }

    /// Takes the number for one more message.
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn set_merges(&self, merges: bool) {
        self.merges.store(merges, Ordering::Relaxed);
    }

    pub fn merges(&self) -> bool {
        self.merges.load(Ordering::Relaxed)
    }
}

type Slots = Vec<Option<(u32, Arc<Owing>)>>;

/// The durable sessions of one shard by slot, for the other shards to look at.
#[derive(Debug, Default)]
pub(crate) struct Directory(RwLock<Slots>);

impl Directory {
    pub fn set(&self, slot: u32, epoch: u32, owing: Option<&Arc<Owing>>) {
        let mut slots = self.0.write();
        let at = slot as usize;
        if at >= slots.len() {
            if owing.is_none() {
                return;
            }
            slots.resize(at + 1, None);
        }
        slots[at] = owing.map(|owing| (epoch, Arc::clone(owing)));
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.0.read()
    }
}

/// The store of the node and what belongs to all shards of it.
pub(crate) struct NodeStore {
    pub store: Store,
    /// number of the next owner
    next_owner: AtomicU64,
    /// by shard
    pub directories: Vec<Directory>,
    /// by shard: position for which its outputs wait; `u64::MAX` = for none
    pub awaited: Vec<AtomicU64>,
    /// told of each advance of the store while somebody waits
    advanced: (Mutex<()>, Condvar),
    waiting: AtomicUsize,
    /// health of which shard 0 was told last, as a number
    told: AtomicU8,
}

impl NodeStore {
    pub fn new(store: Store, next_owner: OwnerId, shards: usize) -> NodeStore {
        NodeStore {
            store,
            next_owner: AtomicU64::new(next_owner.max(1)),
            directories: (0..shards).map(|_| Directory::default()).collect(),
            awaited: (0..shards).map(|_| AtomicU64::new(u64::MAX)).collect(),
            advanced: Default::default(),
            waiting: AtomicUsize::new(0),
            told: AtomicU8::new(Health::Good as u8),
        }
    }

    pub fn next_owner(&self) -> OwnerId {
        self.next_owner.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until everything before `position` is durable; `false` when it takes longer than `most`. Not for
    /// event loops.
    pub fn wait(&self, position: Position, most: Duration) -> bool {
        let end = Instant::now() + most;
        let (lock, condition) = &self.advanced;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = lock.lock();
        while self.store.durable() < position {
            if condition.wait_until(&mut guard, end).timed_out() {
                break;
            }
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.store.durable() >= position
    }

    /// So much is on its way to a disk that does not take it that nothing more should come.
    pub fn is_swamped(&self) -> bool {
        let store = &self.store;
        store.position().saturating_sub(store.durable()) > MOST_UNSYNCED
    }
}

/// What the store calls when more has become durable or its health has changed: it wakes the shards whom
/// that concerns. The store is opened before the broker, which fills in the node.
#[derive(Clone, Default)]
pub struct StoreWake(Arc<OnceLock<Arc<Node>>>);

impl StoreWake {
    /// For [`Store::open`].
    pub fn callback(&self) -> Arc<dyn Fn() + Send + std::marker::Sync> {
        let node = Arc::clone(&self.0);
        Arc::new(move || {
            if let Some(node) = node.get() {
                wake(node);
            }
        })
    }

    pub(crate) fn connect(&self, node: &Arc<Node>) {
        // A store belongs to one broker.
        let _ = self.0.set(Arc::clone(node));
    }
}

fn wake(node: &Node) {
    let Some(durable) = &node.durable else { return };
    let health = durable.store.health() as u8;
    if durable.told.swap(health, Ordering::AcqRel) != health {
        // Shard 0 raises the alarm.
        node.mailboxes[0].wake();
    }
    if durable.waiting.load(Ordering::SeqCst) > 0 {
        // With the lock, so that nobody is between looking and waiting.
        drop(durable.advanced.0.lock());
        durable.advanced.1.notify_all();
    }
    // With the one in `await_durable`.
    fence(Ordering::SeqCst);
    let reached = durable.store.durable();
    for (awaited, mailbox) in durable.awaited.iter().zip(&node.mailboxes) {
        if awaited.load(Ordering::Acquire) <= reached {
            mailbox.wake();
        }
    }
}

/// An open store, for [`crate::Broker::open`].
pub struct Storage {
    pub(crate) store: Store,
    /// what was found in it
    pub recovered: Recovered,
    pub(crate) wake: StoreWake,
}

impl Storage {
    /// Opens the store as the settings say; `None` when they say that nothing is stored.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(disk: Arc<dyn Disk>, settings: &Persistence) -> Result<Option<Storage>, OpenError> {
        let sync = match settings.sync {
            PersistenceSync::Off => return Ok(None),
            PersistenceSync::Always => Sync::Always,
            PersistenceSync::Every(interval) => Sync::Every(interval),
        };
        let options = Options {
            sync,
            segment_bytes: settings.segment_bytes,
            max_bytes: settings.max_bytes,
        };
        let wake = StoreWake::default();
        let (store, recovered) = Store::open(disk, options, wake.callback())?;
        Ok(Some(Storage {
            store,
            recovered,
            wake,
        }))
    }
}
