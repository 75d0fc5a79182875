//! The broker, as a plugin in a library sees it.

use super::journal;
use super::objects::{Object, Objects, Reload};
use crate::virtual_client::Will;
use crate::wire::{self, request, to_broker};
use crate::{
    AuthMechanism, ClientRef, Command, Config, DynAcl, DynAuth, Entry, Figures, Holder, Hooks,
    Host, HostError, HttpHandler, PeerInfo, Pipe, PipeEvents, PluginListener, Publish, Reloadable,
    RetainSettings, Row, Severity, TopicEntry,
};
use emqttd_plugin_abi::{Data, Fault, Remote};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct RemoteHost {
    broker: Arc<Remote>,
    objects: Arc<Objects>,
    start: request::Start,
    metrics: Arc<Metrics>,
}

impl From<Fault> for HostError {
    fn from(fault: Fault) -> HostError {
        HostError(match fault {
            Fault::NotSupported => "this broker is older than the plugin and cannot do that".into(),
            Fault::Gone => "the plugin has ended".into(),
            fault => fault.to_string(),
        })
    }
}

impl RemoteHost {
    pub fn new(broker: Arc<Remote>, objects: Arc<Objects>, start: request::Start) -> RemoteHost {
        let metrics = Metrics {
            broker: Arc::clone(&broker),
            all: Mutex::default(),
        };
        RemoteHost {
            broker,
            objects,
            start,
            metrics: Arc::new(metrics),
        }
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Registers an object. A broker that cannot take it says so in the log.
    fn register(&self, op: u32, object: Object, args: &[u8], body: &[u8]) {
        let number = self.objects.add(object);
        if let Err(fault) = self.broker.call(op, number, args, body) {
            self.objects.remove(number);
            log::error!("operation {op}: {}", HostError::from(fault));
        }
    }

    fn of_client(&self, op: u32, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        let asked = encoded(&request::OfClient {
            client: client.into(),
            table,
            reason: None,
        });
        self.tell(op, &asked, &[]);
    }

    /// Asks for something that has no answer.
    fn tell(&self, op: u32, args: &[u8], body: &[u8]) {
        if let Err(fault) = self.broker.call(op, 0, args, body) {
            log::error!("operation {op}: {}", HostError::from(fault));
        }
    }

    fn ask(&self, op: u32, args: &[u8], body: &[u8]) -> Result<(u64, Data), HostError> {
        Ok(self.broker.call(op, 0, args, body)?)
    }

    /// Reads something; when that fails the log says why, and it is empty.
    fn read<T: Default + for<'b> Decode<'b, ()>>(&self, op: u32, number: u64) -> T {
        let answer = self.broker.call(op, number, &[], &[]);
        match answer.and_then(|(_, data)| wire::decode(&data)) {
            Ok(value) => value,
            Err(fault) => {
                log::error!("operation {op}: {}", HostError::from(fault));
                T::default()
            }
        }
    }

    fn count(&self, op: u32) -> usize {
        match self.ask(op, &[], &[]) {
            Ok((count, _)) => usize::try_from(count).unwrap_or(usize::MAX),
            Err(error) => {
                log::error!("operation {op}: {error}");
                0
            }
        }
    }
}

fn place(order: i32, points: u32) -> Vec<u8> {
    wire::encode(&request::Place { order, points })
}

fn row(table: &str, key: &[u8]) -> Vec<u8> {
    wire::encode(&request::RowKey { table, key })
}

fn encoded<T: Encode<()>>(message: &T) -> Vec<u8> {
    wire::encode(message)
}

impl Host for RemoteHost {
    fn plugin(&self) -> &str {
        &self.start.plugin
    }

    fn node(&self) -> String {
        self.start.node.clone()
    }

    fn version(&self) -> String {
        self.start.version.clone()
    }

    fn data_dir(&self) -> PathBuf {
        self.start.data_dir.clone()
    }

    fn log_dir(&self) -> PathBuf {
        self.start.log_dir.clone()
    }

    fn config(&self) -> Config {
        Config::new(self.read::<Vec<Entry>>(to_broker::CONFIG, 0))
    }

    fn auth(&self, sequence: i32, provider: Arc<dyn DynAuth>) {
        let place = place(sequence, 0);
        self.register(to_broker::AUTH, Object::Auth(provider), &place, &[]);
    }

    fn acl(&self, sequence: i32, provider: Arc<dyn DynAcl>) {
        let place = place(sequence, 0);
        self.register(to_broker::ACL, Object::Acl(provider), &place, &[]);
    }

    fn mechanism(&self, mechanism: Arc<dyn AuthMechanism>) {
        let method = mechanism.method().to_string();
        let object = Object::Mechanism(mechanism);
        self.register(to_broker::MECHANISM, object, &[], method.as_bytes());
    }

    fn forget_decisions(&self) {
        self.tell(to_broker::FORGET_DECISIONS, &[], &[]);
    }

    fn hooks(&self, priority: i32, hooks: Arc<dyn Hooks>) {
        let place = place(priority, hooks.points());
        self.register(to_broker::HOOKS, Object::Hooks(hooks), &place, &[]);
    }

    fn command(&self, command: Command) {
        let usage = encoded(&request::Usage {
            name: command.name,
            usage: command.usage,
        });
        let object = Object::Command(command.handler);
        self.register(to_broker::COMMAND, object, &usage, &[]);
    }

    fn http(&self, handler: Arc<HttpHandler>) {
        self.register(to_broker::HTTP, Object::Http(handler), &[], &[]);
    }

    fn metric(&self, name: &str) -> Arc<AtomicU64> {
        self.metrics.get(name)
    }

    fn publish(&self, message: Publish) -> Result<(), HostError> {
        self.ask(to_broker::PUBLISH, &encoded(&message), &message.payload)?;
        Ok(())
    }

    fn subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.of_client(to_broker::SUBSCRIBE, client, table);
    }

    fn unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.of_client(to_broker::UNSUBSCRIBE, client, table);
    }

    fn kick(&self, clientid: &str) {
        self.tell(to_broker::KICK, &[], clientid.as_bytes());
    }

    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        let alarm = encoded(&request::Alarm {
            id,
            severity,
            title,
            summary,
        });
        self.tell(to_broker::ALARM, &alarm, &[]);
    }

    fn table_put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        self.ask(to_broker::TABLE_PUT, &row(table, key), value)?;
        Ok(())
    }

    fn table_delete(&self, table: &str, key: &[u8]) -> Result<(), HostError> {
        self.ask(to_broker::TABLE_DELETE, &row(table, key), &[])?;
        Ok(())
    }

    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        let (found, value) = self.ask(to_broker::TABLE_GET, &row(table, key), &[])?;
        Ok((found != 0).then(|| value.to_vec()))
    }

    fn table_rows(&self, table: &str) -> Result<Vec<Row>, HostError> {
        let (_, data) = self.ask(to_broker::TABLE_ROWS, &[], table.as_bytes())?;
        let rows: request::Rows = wire::decode(&data)?;
        let rows = rows.rows.into_iter();
        Ok(rows
            .map(|(key, value)| (key.into(), value.into()))
            .collect())
    }

    fn listener(&self, listener: PluginListener) {
        self.tell(to_broker::LISTENER, &encoded(&listener), &[]);
    }

    fn listener_gone(&self, protocol: &str, listen_on: &str) {
        let name = encoded(&(protocol, listen_on));
        self.tell(to_broker::LISTENER_GONE, &name, &[]);
    }

    fn open(
        &self,
        peer: PeerInfo,
        events: Box<dyn PipeEvents>,
    ) -> Result<Arc<dyn Pipe>, HostError> {
        let events = self.objects.add_events(events);
        let opened = self
            .broker
            .call(to_broker::OPEN, events, &encoded(&peer), &[]);
        match opened {
            Ok((number, _)) => Ok(Arc::new(RemotePipe {
                broker: Arc::clone(&self.broker),
                number,
            })),
            Err(fault) => {
                self.objects.remove(events);
                Err(fault.into())
            }
        }
    }

    fn retain(&self, settings: Option<RetainSettings>) -> Result<(), HostError> {
        self.ask(to_broker::RETAIN, &encoded(&settings), &[])?;
        Ok(())
    }

    fn retained_count(&self) -> usize {
        self.count(to_broker::RETAINED_COUNT)
    }

    fn retained_topics(&self) -> Vec<String> {
        self.read(to_broker::RETAINED_TOPICS, 0)
    }

    fn retained_clean(&self) -> usize {
        self.count(to_broker::RETAINED_CLEAN)
    }

    fn figures(&self) -> Figures {
        self.read(to_broker::FIGURES, 0)
    }

    fn holders(&self, most: usize) -> Vec<Holder> {
        self.read(to_broker::HOLDERS, most as u64)
    }

    fn reloadables(&self) -> Vec<Reloadable> {
        self.read(to_broker::RELOADABLES, 0)
    }

    fn reload(&self, name: &str) -> Result<(), HostError> {
        self.ask(to_broker::RELOAD, &[], name.as_bytes())?;
        Ok(())
    }

    fn reloadable(&self, what: Reloadable, reload: Arc<Reload>) {
        let what = encoded(&what);
        self.register(to_broker::RELOADABLE, Object::Reload(reload), &what, &[]);
    }

    fn panicked(&self, what: &str) {
        self.tell(to_broker::PANICKED, &[], what.as_bytes());
    }
}

/// A virtual connection.
struct RemotePipe {
    broker: Arc<Remote>,
    number: u64,
}

impl Pipe for RemotePipe {
    fn send(&self, bytes: &[u8]) -> usize {
        let taken = self.broker.call(to_broker::SEND, self.number, &[], bytes);
        // One that has ended takes nothing.
        taken.map_or(0, |(taken, _)| usize::try_from(taken).unwrap_or(0))
    }

    fn close(&self, reason: &str) {
        let close = to_broker::CLOSE;
        let _ = self.broker.call(close, self.number, &[], reason.as_bytes());
    }

    fn resume(&self) {
        let _ = self.broker.call(to_broker::RESUME, self.number, &[], &[]);
    }

    fn set_will(&self, will: Option<Will>) {
        let (op, number) = (to_broker::SET_WILL, self.number);
        let _ = match will {
            Some(will) => self
                .broker
                .call(op, number, &encoded(&Some(&will)), &will.payload),
            None => self.broker.call(op, number, &encoded(&None::<Will>), &[]),
        };
    }
}

impl Drop for RemotePipe {
    fn drop(&mut self) {
        let forget = to_broker::FORGET_PIPE;
        let _ = self.broker.call(forget, self.number, &[], &[]);
    }
}

/// Counters of the plugin, brought to the broker from time to time.
pub(super) struct Metrics {
    broker: Arc<Remote>,
    all: Mutex<BTreeMap<String, Counter>>,
}

struct Counter {
    value: Arc<AtomicU64>,
    /// what the broker has been told
    told: u64,
}

impl Metrics {
    fn get(&self, name: &str) -> Arc<AtomicU64> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = all.get(name) {
            return Arc::clone(&counter.value);
        }
        let value = Arc::<AtomicU64>::default();
        let counter = Counter {
            value: Arc::clone(&value),
            told: 0,
        };
        all.insert(name.into(), counter);
        drop(all);
        if let Err(fault) = self.broker.call(to_broker::METRIC, 0, &[], name.as_bytes()) {
            log::error!("counter {name}: {fault}");
        }
        value
    }

    /// Tells the broker what has changed, and takes over the level of its log.
    pub fn bring(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = all.iter_mut().filter_map(|(name, counter)| {
            let value = counter.value.load(Ordering::Relaxed);
            let before = std::mem::replace(&mut counter.told, value);
            (before != value).then(|| (name.clone(), value))
        });
        let metrics = changed.collect();
        drop(all);
        let tick = encoded(&request::Tick { metrics });
        if let Ok((level, _)) = self.broker.call(to_broker::TICK, 0, &tick, &[]) {
            journal::set_level(level);
        }
    }
}
