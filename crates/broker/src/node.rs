//! What all shards of the node share.

use crate::access::AccessControl;
use crate::alarm::{AlarmEvent, Alarms};
use crate::bans::BanTable;
use crate::conn::Peer;
use crate::durable::{NodeStore, Volatile};
use crate::group::Groups;
use crate::hooks::HookTable;
use crate::listener::ListenerState;
use crate::metrics::Counters;
use crate::ready::Pulse;
use crate::retain::Retained;
use crate::shard::Mail;
use crate::trace::Traces;
use arc_swap::ArcSwap;
use emqttd_config::Settings;
use emqttd_plugin_sdk::{Pipe, PipeEvents};
use emqttd_router::Router;
use emqttd_session::{Limits, QueueLimits};
use parking_lot::{Mutex, RwLock};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where other threads leave things for a shard.
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    waker: RwLock<Option<Box<dyn Fn() + Send + Sync>>>,
    /// a wake-up is under way or the shard is awake; saves one system call for each further batch
    woken: AtomicBool,
    /// weight of what waits
    load: AtomicUsize,
}

/// Weight of mail for one shard above which publishers of all shards wait.
const BACKLOG: usize = 16 * 1024 * 1024;

impl Mailbox {
    fn new() -> Mailbox {
        Mailbox {
            mail: Mutex::default(),
            waker: RwLock::default(),
            woken: AtomicBool::new(false),
            load: AtomicUsize::new(0),
        }
    }

    /// Whether somebody takes what is left: the shard's event loop runs, or is about to.
    pub fn has_waker(&self) -> bool {
        self.waker.read().is_some()
    }

    /// Leaves a batch, emptying it, and wakes the shard if it may be asleep.
    pub fn post(&self, batch: &mut Vec<Mail>) {
        let weight = batch.iter().map(Mail::weight).sum();
        self.load.fetch_add(weight, Ordering::Relaxed);
        self.mail.lock().append(batch);
        self.wake();
    }

    /// Wakes the shard.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.read()
        {
            waker();
        }
    }

    /// Whether something was left since the last [`Mailbox::take`].
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Whether so much was left that no more should be added for now.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.load.load(Ordering::Relaxed) > BACKLOG
    }

    /// As [`Mailbox::is_full`], for those who cannot wait and have to do without.
    pub fn is_overfull(&self) -> bool {
        self.load.load(Ordering::Relaxed) > 4 * BACKLOG
    }

    /// Weight of what was left.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Takes everything that was left.
    pub fn take(&self, into: &mut Vec<Mail>) {
        // Cleared first: whoever posts after this finds the flag down and wakes the shard again.
        self.woken.store(false, Ordering::Release);
        self.load.store(0, Ordering::Relaxed);
        std::mem::swap(&mut *self.mail.lock(), into);
    }
}

/// A number with its high-water mark.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub fn up(&self) {
        self.up_by(1);
    }

    pub fn up_by(&self, n: usize) {
        let now = self.now.fetch_add(n, Ordering::Relaxed) + n;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    pub fn down(&self) {
        self.down_by(1);
    }

    pub fn down_by(&self, n: usize) {
        self.now.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> (u64, u64) {
        (
            self.now.load(Ordering::Relaxed) as u64,
            self.most.load(Ordering::Relaxed) as u64,
        )
    }
}

/// Counts behind `$SYS/.../stats`.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub clients: Gauge,
    pub sessions: Gauge,
    pub subscriptions: Gauge,
    pub routes: Gauge,
}

/// Opens and closes listeners; the event loops implement it.
pub trait ListenerControl: Send + Sync {
    /// Opens a listener that is configured or was open before.
    fn start(&self, protocol: &str, listen_on: &str) -> Result<(), String>;
    /// Closes a listener and its connections.
    fn stop(&self, protocol: &str, listen_on: &str) -> Result<(), String>;
    /// Certificates, keys and lists of authorities that listeners use, configured or open, each once.
    fn cert_files(&self) -> Vec<PathBuf>;
    /// Reads them again for the connections to come; those that are there keep theirs. The error names each
    /// file that cannot be used, and its listener stays as it was.
    fn reload_certs(&self) -> Result<(), String>;
    /// Begins the orderly end of all event loops.
    fn shutdown(&self);
    /// A virtual connection, which its listener has counted in already; on failure it has been counted out.
    ///
    /// # Errors
    /// When no event loop runs any more.
    fn open_pipe(&self, peer: Peer, events: Box<dyn PipeEvents>) -> Result<Arc<dyn Pipe>, String>;
    /// Ends all connections of a plugin's listener and lets no more of them in; waits for that.
    ///
    /// # Errors
    /// When an event loop does not answer in time.
    fn close_pipes(&self, listener: &Arc<ListenerState>) -> Result<(), String>;
}

/// Called with new settings.
pub(crate) type Observer = Box<dyn Fn(&Settings) + Send>;

/// Called with each change of the alarms.
pub(crate) type AlarmObserver = Box<dyn Fn(&AlarmEvent) + Send + Sync>;

/// The state that shards share.
pub(crate) struct Node {
    pub name: String,
    pub started: Instant,
    pub settings: ArcSwap<Settings>,
    pub limits: ArcSwap<Limits>,
    pub router: RwLock<Router>,
    /// changes with every change of the router
    pub route_generation: AtomicU64,
    pub groups: Groups,
    pub retained: Retained,
    /// where lasts what has to; `None` = nothing does
    pub durable: Option<NodeStore>,
    /// tables of plugins when there is no store
    pub volatile: Volatile,
    pub access: AccessControl,
    pub hooks: HookTable,
    pub counters: Vec<Arc<Counters>>,
    pub mailboxes: Vec<Mailbox>,
    pub gauges: Gauges,
    pub listeners: RwLock<Vec<Arc<ListenerState>>>,
    pub control: RwLock<Option<Arc<dyn ListenerControl>>>,
    pub alarms: Mutex<Alarms>,
    /// told of each change of the alarms
    pub alarm_observers: RwLock<Vec<AlarmObserver>>,
    pub pulse: Pulse,
    pub bans: BanTable,
    pub traces: Traces,
    /// told of new settings
    pub observers: Mutex<Vec<Observer>>,
    hasher: RandomState,
}

impl Node {
    pub fn new(
        settings: Settings,
        access: AccessControl,
        shards: usize,
        durable: Option<NodeStore>,
    ) -> Node {
        Node {
            name: settings.node.name.clone(),
            started: Instant::now(),
            limits: ArcSwap::from_pointee(session_limits(&settings)),
            settings: ArcSwap::from_pointee(settings),
            router: RwLock::new(Router::new()),
            route_generation: AtomicU64::new(1),
            groups: Groups::default(),
            retained: Retained::new(),
            durable,
            volatile: Volatile::default(),
            access,
            hooks: HookTable::default(),
            counters: (0..shards).map(|_| Arc::default()).collect(),
            mailboxes: (0..shards).map(|_| Mailbox::new()).collect(),
            gauges: Gauges::default(),
            listeners: RwLock::default(),
            control: RwLock::default(),
            alarms: Mutex::default(),
            alarm_observers: RwLock::default(),
            pulse: Pulse::new(shards),
            bans: BanTable::default(),
            traces: Traces::default(),
            observers: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Milliseconds since the node started, and a bit: never 0.
    pub fn now(&self) -> u64 {
        Node::clock(self.started.elapsed())
    }

    /// What [`Node::now`] says so long after the start.
    pub fn clock(since_start: Duration) -> u64 {
        since_start.as_millis() as u64 + 1
    }

    /// The shard to which a client id belongs.
    pub fn shard_of(&self, clientid: &str) -> usize {
        match self.mailboxes.len() {
            1 => 0,
            n => (self.hasher.hash_one(clientid) % n as u64) as usize,
        }
    }

    pub fn set_waker(&self, shard: usize, waker: Box<dyn Fn() + Send + Sync>) {
        *self.mailboxes[shard].waker.write() = Some(waker);
    }

    /// Changes the router, and tells every publish cache.
    pub fn change_routes<T>(&self, f: impl FnOnce(&mut Router) -> T) -> T {
        let mut router = self.router.write();
        let before = router.len();
        let result = f(&mut router);
        let after = router.len();
        // While the lock is held: a reader that sees the old generation has the old targets.
        self.route_generation.fetch_add(1, Ordering::AcqRel);
        drop(router);
        match after.checked_sub(before) {
            Some(more) => self.gauges.routes.up_by(more),
            None => self.gauges.routes.down_by(before - after),
        }
        result
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    unix_millis() / 1000
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_millis() as u64
}

/// What sessions made from now on work under.
pub(crate) fn session_limits(settings: &Settings) -> Limits {
    let session = &settings.session;
    let priorities = match session.queue_type {
        emqttd_config::QueueType::Simple => None,
        emqttd_config::QueueType::Priority => Some(Arc::new(session.queue_priorities.clone())),
    };
    Limits {
        max_inflight: session.max_inflight,
        retry_interval: session.retry_interval.as_millis() as u64,
        max_awaiting_rel: session.max_awaiting_rel,
        await_rel_timeout: session.await_rel_timeout.as_millis() as u64,
        queue: QueueLimits {
            max_length: session.queue_max_length,
            max_bytes: session.queue_max_bytes,
            store_qos0: session.queue_store_qos0,
            priorities,
            high_watermark: session.queue_high_watermark,
            low_watermark: session.queue_low_watermark,
            ram_most: 0,
        },
    }
}
