//! A broker in memory, for the tests of a plugin.
//!
//! ```
//! use emqttd_plugin_sdk::testing::{FakeBroker, client};
//! use emqttd_plugin_sdk::{AuthAnswer, AuthProvider, Client, Config, Descriptor};
//!
//! struct Door;
//! impl AuthProvider for Door {
//!     async fn check(&self, client: &Client, _password: Option<&[u8]>) -> AuthAnswer {
//!         match &*client.clientid {
//!             "friend" => AuthAnswer::Allow { superuser: false },
//!             _ => AuthAnswer::Ignore,
//!         }
//!     }
//! }
//!
//! let door = Descriptor::new("door", "1.0", "Lets friends in", |ctx| {
//!     ctx.auth(0, Door);
//!     Ok(Box::new(()))
//! });
//! let broker = FakeBroker::new();
//! broker.start(&door, Config::default()).unwrap();
//! assert_eq!(broker.auth(&client("friend"), None), AuthAnswer::Allow { superuser: false });
//! assert_eq!(broker.auth(&client("fiend"), None), AuthAnswer::Ignore);
//! broker.stop();
//! assert_eq!(broker.auth(&client("friend"), None), AuthAnswer::Ignore);
//! ```

mod drive;
mod host;
mod keys;
mod pipe;

pub use pipe::FakePipe;

use crate::{
    AuthMechanism, Client, ClientRef, Command, Config, Context, Descriptor, DynAcl, DynAuth, Entry,
    Figures, Holder, Hooks, HttpHandler, Key, Message, Plugin, PluginListener, Publish, QoS,
    Reloadable, RetainSettings, Row, Severity, StartError, TopicEntry,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long [`FakeBroker::eventually`] waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A broker in memory that runs one plugin at a time. Use it from ordinary `#[test]` functions: it has a
/// tokio runtime of its own.
pub struct FakeBroker {
    fake: Arc<Fake>,
    runtime: Runtime,
    running: Mutex<Option<Running>>,
}

/// The plugin that has been started.
struct Running {
    name: String,
    keys: Vec<Key>,
    plugin: Box<dyn Plugin>,
    context: Context,
}

/// What plugin and test both see.
struct Fake {
    state: Mutex<State>,
    changed: Condvar,
    dir: PathBuf,
}

#[derive(Default)]
struct State {
    config: Config,
    registered: Registered,
    asked: Asked,
    tables: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// set: the store fails with this sentence
    store_error: Option<String>,
    /// set: tables are gone with the process
    volatile: bool,
    retained: Vec<String>,
    figures: Figures,
    holders: Vec<Holder>,
    reloads: Vec<(Reloadable, Arc<Reload>)>,
}

/// Loads something anew.
type Reload = dyn Fn() -> Result<(), String> + Send + Sync;

/// What ends with the plugin.
#[derive(Default)]
struct Registered {
    auth: Vec<(i32, Arc<dyn DynAuth>)>,
    acl: Vec<(i32, Arc<dyn DynAcl>)>,
    mechanisms: Vec<Arc<dyn AuthMechanism>>,
    hooks: Vec<(i32, Arc<dyn Hooks>)>,
    commands: Vec<Command>,
    http: Option<Arc<HttpHandler>>,
    metrics: BTreeMap<String, Arc<AtomicU64>>,
    listeners: Vec<PluginListener>,
    pipes: Vec<FakePipe>,
    retain: Option<RetainSettings>,
    reloads: Vec<(Reloadable, Arc<Reload>)>,
}

/// What the plugin has asked for.
#[derive(Default)]
struct Asked {
    published: Vec<Publish>,
    subscribed: Vec<(String, Vec<TopicEntry>)>,
    unsubscribed: Vec<(String, Vec<TopicEntry>)>,
    kicked: Vec<String>,
    alarms: BTreeMap<String, Alarm>,
    forgotten: usize,
}

/// An alarm that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Alarm {
    pub severity: Severity,
    pub title: String,
    pub summary: String,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Fake::state`]; whoever waits for something looks again.
    fn change<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.state());
        self.changed.notify_all();
        result
    }
}

impl Default for FakeBroker {
    fn default() -> FakeBroker {
        FakeBroker::new()
    }
}

impl FakeBroker {
    /// A broker without a plugin.
    pub fn new() -> FakeBroker {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("emqttd-fake-{}-{number}", std::process::id());
        FakeBroker {
            fake: Arc::new(Fake {
                state: Mutex::default(),
                changed: Condvar::new(),
                dir: std::env::temp_dir().join(name),
            }),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("threads can be started"),
            running: Mutex::new(None),
        }
    }

    /// Starts a plugin with these keys, and the defaults of its own. A plugin that runs is stopped before.
    ///
    /// # Errors
    /// Those of the plugin; what it had registered is gone then. Those of the broker, when the plugin declares
    /// its keys: one that is unknown, or a value of another kind.
    pub fn start(&self, descriptor: &Descriptor, config: Config) -> Result<(), StartError> {
        self.stop();
        if !descriptor.keys.is_empty() {
            for Entry { key, value, .. } in config.entries() {
                keys::check(&descriptor.keys, key, value)?;
            }
        }
        let mut entries: Vec<Entry> = descriptor.keys.iter().filter_map(keys::default).collect();
        entries.extend_from_slice(config.entries());
        self.fake
            .change(|state| state.config = Config::new(entries));
        let host = host::FakeHost {
            fake: Arc::clone(&self.fake),
            name: descriptor.name.to_string(),
        };
        let context = Context::new(Arc::new(host), self.runtime.handle().clone());
        match (descriptor.start)(&context) {
            Ok(plugin) => {
                *self.running() = Some(Running {
                    name: descriptor.name.to_string(),
                    keys: descriptor.keys.clone(),
                    plugin,
                    context,
                });
                Ok(())
            }
            Err(error) => {
                self.fake
                    .change(|state| state.registered = Registered::default());
                context.end_tasks();
                Err(error)
            }
        }
    }

    /// Unloads the plugin: what it has registered is gone, then it is told. Tables stay, and what it has asked
    /// for can still be read.
    pub fn stop(&self) {
        let Some(running) = self.running().take() else {
            return;
        };
        let registered = self
            .fake
            .change(|state| std::mem::take(&mut state.registered));
        drop(registered);
        running.plugin.stop();
        running.context.end_tasks();
    }

    /// Changes a key as `emqttd_ctl set` does; when the plugin refuses, the old value stays.
    ///
    /// # Errors
    /// The plugin's answer; the broker's, as in [`FakeBroker::start`], also for keys that are not hot; or that no
    /// plugin runs.
    pub fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let running = self.running();
        let Some(running) = &*running else {
            return Err("no plugin runs".into());
        };
        if !running.keys.is_empty() && !keys::check(&running.keys, key, value)?.hot {
            return Err(format!("{key} cannot be changed while the plugin runs"));
        }
        let before = self.fake.state().config.clone();
        let mut entries = before.entries().to_vec();
        entries.retain(|entry| entry.key != key);
        entries.push(Entry {
            key: key.into(),
            value: value.into(),
            origin: "set".into(),
        });
        self.fake
            .change(|state| state.config = Config::new(entries));
        let answer = running.plugin.reconfigure(&running.context);
        if answer.is_err() {
            self.fake.change(|state| state.config = before);
        }
        answer
    }

    /// Name of the plugin that runs.
    pub fn plugin(&self) -> Option<String> {
        self.running().as_ref().map(|running| running.name.clone())
    }

    /// Directory that the plugin sees as the node's data; removed with the broker.
    pub fn data_dir(&self) -> &Path {
        &self.fake.dir
    }

    /// Waits until `f` has something: it is asked again whenever the plugin has called the broker.
    ///
    /// # Panics
    /// When there is nothing after 5 seconds.
    pub fn eventually<T>(&self, f: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = f() {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing came in {PATIENCE:?}");
            // What `f` looks at may also be outside of the broker.
            let (_state, _) = self
                .fake
                .changed
                .wait_timeout(self.fake.state(), Duration::from_millis(20))
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What the plugin has published since this was last asked.
    pub fn published(&self) -> Vec<Publish> {
        std::mem::take(&mut self.fake.state().asked.published)
    }

    /// Subscriptions it has asked for since this was last asked: client identifier and table.
    pub fn subscribed(&self) -> Vec<(String, Vec<TopicEntry>)> {
        std::mem::take(&mut self.fake.state().asked.subscribed)
    }

    /// As [`FakeBroker::subscribed`], for what it wanted taken away.
    pub fn unsubscribed(&self) -> Vec<(String, Vec<TopicEntry>)> {
        std::mem::take(&mut self.fake.state().asked.unsubscribed)
    }

    /// Clients it has kicked since this was last asked.
    pub fn kicked(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.state().asked.kicked)
    }

    /// Alarms that are set, by id.
    pub fn alarms(&self) -> BTreeMap<String, Alarm> {
        self.fake.state().asked.alarms.clone()
    }

    /// How often it has made remembered decisions void.
    pub fn forgotten(&self) -> usize {
        self.fake.state().asked.forgotten
    }

    /// What a counter of its own stands at; `None` = it has not made it.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let state = self.fake.state();
        let counter = state.registered.metrics.get(name)?;
        Some(counter.load(Ordering::Relaxed))
    }

    /// Listeners it has shown.
    pub fn listeners(&self) -> Vec<PluginListener> {
        self.fake.state().registered.listeners.clone()
    }

    /// Virtual connections it has opened, the ended ones too.
    pub fn pipes(&self) -> Vec<FakePipe> {
        self.fake.state().registered.pipes.clone()
    }

    /// Rows of a table, by key.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        let state = self.fake.state();
        let rows = state.tables.get(table).into_iter().flatten();
        rows.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Sets a row, also before a plugin is started.
    pub fn put_row(&self, table: &str, key: &[u8], value: &[u8]) {
        let mut state = self.fake.state();
        let rows = state.tables.entry(table.into()).or_default();
        rows.insert(key.into(), value.into());
    }

    /// As a broker with `persistence.sync = off`: tables are gone with the process.
    pub fn tables_are_volatile(&self) {
        self.fake.state().volatile = true;
    }

    /// From now on the store fails with this sentence; `None` = works again.
    pub fn store_fails(&self, error: Option<&str>) {
        self.fake.state().store_error = error.map(str::to_string);
    }

    /// How it wants retained messages kept; `None` = not at all.
    pub fn retain_settings(&self) -> Option<RetainSettings> {
        self.fake.state().registered.retain.clone()
    }

    /// Sets the topics that have a retained message.
    pub fn set_retained(&self, topics: &[&str]) {
        self.fake.state().retained = topics.iter().map(|topic| (*topic).into()).collect();
    }

    /// Sets what the plugin sees as figures of the node.
    pub fn set_figures(&self, figures: Figures, holders: Vec<Holder>) {
        let mut state = self.fake.state();
        state.figures = figures;
        state.holders = holders;
    }

    /// Adds something of the broker's that the plugin can reload.
    pub fn add_reloadable(
        &self,
        what: Reloadable,
        reload: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.fake.state().reloads.push((what, Arc::new(reload)));
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.stop();
        // It is only there if the plugin has asked for it.
        let _ = std::fs::remove_dir_all(&self.fake.dir);
    }
}

/// A client of MQTT 3.1.1 on a TCP listener, without user name; change its fields as needed.
pub fn client(clientid: &str) -> Client {
    Client {
        clientid: clientid.into(),
        username: None,
        peername: ([127, 0, 0, 1], 1883).into(),
        clean_sess: true,
        proto_ver: 4,
        keepalive: 60,
        will_topic: None,
        headers: None,
        mountpoint: None,
        listener: "mqtt:tcp".into(),
        connected_at: 0,
    }
}

/// A message at QoS 0 of the broker itself; change its fields as needed.
pub fn message<'a>(topic: &'a str, payload: &'a [u8]) -> Message<'a> {
    Message {
        topic,
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        from: None,
        properties: &[],
        timestamp: 0,
    }
}

/// A client by its names.
pub fn by_name<'a>(clientid: &'a str, username: Option<&'a str>) -> ClientRef<'a> {
    ClientRef { clientid, username }
}

/// An entry of a table of subscriptions.
pub fn entry(topic: &str, qos: QoS) -> TopicEntry {
    TopicEntry {
        topic: topic.into(),
        qos,
        share: None,
        local: false,
    }
}

#[cfg(test)]
mod tests;
