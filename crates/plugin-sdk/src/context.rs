//! What a plugin holds of the broker.

use crate::{
    AclProvider, AuthMechanism, AuthProvider, Call, ClientRef, Command, Config, Figures, Holder,
    Hooks, Host, HostError, HttpRequest, HttpResponse, PeerInfo, Pipe, PipeEvents, PluginListener,
    Publish, Reloadable, Reply, RetainSettings, Row, Severity, TopicEntry, WebListener,
};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

/// What a plugin holds of the broker; clones are cheap. Unless it says "blocks", a call may be made from
/// hooks too.
#[derive(Clone)]
pub struct Context {
    host: Arc<dyn Host>,
    runtime: Handle,
    tasks: Arc<Tasks>,
}

impl Context {
    /// For those who start plugins: the broker, a library, tests.
    pub fn new(host: Arc<dyn Host>, runtime: Handle) -> Context {
        Context {
            host,
            runtime,
            tasks: Arc::default(),
        }
    }

    /// For those who start plugins: what all of it goes through.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// For those who start plugins: ends all that the plugin has spawned, and what it spawns from now on.
    pub fn end_tasks(&self) {
        self.tasks.end();
    }

    /// Name of the plugin.
    pub fn plugin(&self) -> &str {
        self.host.plugin()
    }

    /// `node.name`.
    pub fn node(&self) -> String {
        self.host.node()
    }

    /// Version of the broker.
    pub fn version(&self) -> String {
        self.host.version()
    }

    /// Directory of the node's data.
    pub fn data_dir(&self) -> PathBuf {
        self.host.data_dir()
    }

    /// Directory of log files.
    pub fn log_dir(&self) -> PathBuf {
        self.host.log_dir()
    }

    /// The plugin's keys as they are now.
    pub fn config(&self) -> Config {
        self.host.config()
    }

    /// Joins the authentication chain. Higher sequences are asked first, of equal ones the latest; EMQ's
    /// plugins use 0.
    pub fn auth(&self, sequence: i32, provider: impl AuthProvider) {
        self.host.auth(sequence, Arc::new(provider));
    }

    /// Joins the ACL chain, before `acl.conf`.
    pub fn acl(&self, sequence: i32, provider: impl AclProvider) {
        self.host.acl(sequence, Arc::new(provider));
    }

    /// Adds a mechanism of enhanced authentication.
    pub fn mechanism(&self, mechanism: impl AuthMechanism) {
        self.host.mechanism(Arc::new(mechanism));
    }

    /// Every ACL decision remembered so far is void, and live subscriptions are asked about again.
    pub fn forget_decisions(&self) {
        self.host.forget_decisions();
    }

    /// Joins the hook points that `hooks` names. EMQ's priority is 0; lower ones run first.
    pub fn hooks(&self, priority: i32, hooks: impl Hooks) {
        self.host.hooks(priority, Arc::new(hooks));
    }

    /// Adds a command to `emqttd_ctl`; `usage` has a call and what it does for each row.
    pub fn command(
        &self,
        name: &str,
        usage: &[(&str, &str)],
        handler: impl Fn(Call<'_>) -> Reply + Send + Sync + 'static,
    ) {
        let row = |(call, what): &(&str, &str)| ((*call).to_string(), (*what).to_string());
        self.host.command(Command {
            name: name.into(),
            usage: usage.iter().map(row).collect(),
            handler: Arc::new(handler),
        });
    }

    /// Answers requests below `/api/plugins/<name>/`.
    pub fn http(&self, handler: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) {
        self.host.http(Arc::new(handler));
    }

    /// Opens a listener that answers the management API and serves files beside it; it closes when the plugin ends.
    /// Blocks: while the plugin starts.
    ///
    /// # Errors
    /// When its keys, address or certificates cannot be used. A plugin in a library cannot have one: it answers below
    /// `/api/plugins/<name>/` ([`Context::http`]).
    pub fn web(&self, listener: WebListener) -> Result<(), HostError> {
        self.host.web(listener)
    }

    /// A counter of the plugin's own, shown as `<plugin>/<name>`.
    pub fn metric(&self, name: &str) -> Metric {
        Metric(self.host.metric(name))
    }

    /// A table of the plugin's own, kept in the broker's store.
    pub fn table(&self, name: &str) -> Table {
        Table {
            host: Arc::clone(&self.host),
            name: name.into(),
        }
    }

    /// Whether tables outlast the process: not with `persistence.sync = off`, which has them in memory. A plugin in a
    /// library is always told that they do.
    pub fn tables_last(&self) -> bool {
        self.host.tables_last()
    }

    /// Publishes soon; messages of one thread keep their order.
    ///
    /// # Errors
    /// When the topic name is not valid.
    pub fn publish(&self, message: Publish) -> Result<(), HostError> {
        self.host.publish(message)
    }

    /// Subscribes a connected client soon: `client.subscribe` runs, no ACL, no SUBACK. Not when another user has
    /// come under its client id meanwhile.
    pub fn subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.host.subscribe(client, table);
    }

    /// Takes subscriptions of a client away soon; `client.unsubscribe` runs.
    pub fn unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.host.unsubscribe(client, table);
    }

    /// Ends a client's connection soon.
    pub fn kick(&self, clientid: &str) {
        self.host.kick(clientid);
    }

    /// Sets an alarm, or clears it when there is no summary.
    pub fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        self.host.alarm(id, severity, title, summary);
    }

    /// Shows a listener of the plugin's own in `emqttd_ctl listeners`. Said again of the same protocol and address,
    /// it changes how many clients may come; nobody is ended for it.
    pub fn listener(&self, listener: PluginListener) {
        self.host.listener(listener);
    }

    /// Takes a listener of the plugin's own out of the list, and ends the connections that were opened with its
    /// name. When the plugin is unloaded that is done without being asked for. Blocks.
    pub fn listener_gone(&self, protocol: &str, listen_on: &str) {
        self.host.listener_gone(protocol, listen_on);
    }

    /// Opens a virtual connection: bytes of MQTT in both directions.
    ///
    /// # Errors
    /// When the listener is unknown or has no place left.
    pub fn open(
        &self,
        peer: PeerInfo,
        events: impl PipeEvents + 'static,
    ) -> Result<Arc<dyn Pipe>, HostError> {
        self.host.open(peer, Box::new(events))
    }

    /// Keeps retained messages from now on, as said; `None` = keeps and sends none. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn retain(&self, settings: Option<RetainSettings>) -> Result<(), HostError> {
        self.host.retain(settings)
    }

    /// Retained messages.
    pub fn retained_count(&self) -> usize {
        self.host.retained_count()
    }

    /// Their topics. Blocks.
    pub fn retained_topics(&self) -> Vec<String> {
        self.host.retained_topics()
    }

    /// Removes all of them, and says how many. Blocks.
    pub fn retained_clean(&self) -> usize {
        self.host.retained_clean()
    }

    /// Figures of the node's own working. Blocks.
    pub fn figures(&self) -> Figures {
        self.host.figures()
    }

    /// The clients for which most is held, the greatest first. Blocks.
    pub fn holders(&self, most: usize) -> Vec<Holder> {
        self.host.holders(most)
    }

    /// What can be reloaded.
    pub fn reloadables(&self) -> Vec<Reloadable> {
        self.host.reloadables()
    }

    /// Loads something anew; the old stays when that fails. Blocks.
    ///
    /// # Errors
    /// When there is no such thing (`nofile`), or its new form cannot be used.
    pub fn reload(&self, name: &str) -> Result<(), HostError> {
        self.host.reload(name)
    }

    /// Adds something of the plugin's own that can be reloaded.
    pub fn reloadable(
        &self,
        what: Reloadable,
        reload: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.host.reloadable(what, Arc::new(reload));
    }

    /// Runs a future beside the broker; it ends with the plugin.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let host = Arc::clone(&self.host);
        let mut future = Box::pin(future);
        let watched = std::future::poll_fn(move |cx| {
            let mut polled = None;
            host.polls(&mut || {
                polled = Some(catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))));
            });
            match polled {
                Some(Ok(poll)) => poll,
                // Who waits for the task gets the panic; the broker counts it.
                Some(Err(panic)) => {
                    host.panicked("a task");
                    resume_unwind(panic)
                }
                // Not called: there is nothing to wait for either.
                None => Poll::Pending,
            }
        });
        self.tasks.keep(self.runtime.spawn(watched))
    }

    /// Runs work that takes long without awaiting; `None` when it panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = self.runtime.spawn_blocking(work).await;
        if done.as_ref().is_err_and(|error| error.is_panic()) {
            self.host.panicked("work that blocks");
        }
        done.ok()
    }

    /// Waits for a future. Blocks: only while the plugin starts, and in commands.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Calls `f` again and again, `interval` apart, until the timer is dropped or the plugin ends. When it
    /// panics the next call comes all the same.
    pub fn every(&self, interval: Duration, f: impl Fn() + Send + Sync + 'static) -> Timer {
        let host = Arc::clone(&self.host);
        let task = self.spawn(async move {
            let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if catch_unwind(AssertUnwindSafe(&f)).is_err() {
                    host.panicked("a timer");
                }
            }
        });
        Timer(task)
    }
}

/// What a plugin has spawned and what has not ended yet.
#[derive(Default)]
struct Tasks(Mutex<TaskList>);

#[derive(Default)]
struct TaskList {
    running: Vec<AbortHandle>,
    /// length at which those that have ended are taken out
    full: usize,
    ended: bool,
}

impl Tasks {
    fn keep<T>(&self, task: JoinHandle<T>) -> JoinHandle<T> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.ended {
            task.abort();
            return task;
        }
        if list.running.len() >= list.full {
            list.running.retain(|task| !task.is_finished());
            list.full = 64.max(2 * list.running.len());
        }
        list.running.push(task.abort_handle());
        task
    }

    fn end(&self) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.ended = true;
        for task in list.running.drain(..) {
            task.abort();
        }
    }
}

/// Ends when it is dropped.
pub struct Timer(JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A counter.
#[derive(Clone)]
pub struct Metric(Arc<AtomicU64>);

impl Metric {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// As a level, not a count.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rows that outlive the broker. Every call blocks: never from a hook.
#[derive(Clone)]
pub struct Table {
    host: Arc<dyn Host>,
    name: String,
}

impl Table {
    /// Sets a row; durable on return.
    ///
    /// # Errors
    /// When the store cannot take it now.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        self.host.table_put(&self.name, key, value)
    }

    /// Takes a row away; durable on return; fine when there is none.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn delete(&self, key: &[u8]) -> Result<(), HostError> {
        self.host.table_delete(&self.name, key)
    }

    /// A row.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        self.host.table_get(&self.name, key)
    }

    /// All rows, by key.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn rows(&self) -> Result<Vec<Row>, HostError> {
        self.host.table_rows(&self.name)
    }
}
