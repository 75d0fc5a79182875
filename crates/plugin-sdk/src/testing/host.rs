//! The fake broker as a plugin sees it.

use super::{Alarm, Fake, FakePipe, Reload, State};
use crate::{
    AuthMechanism, ClientRef, Command, Config, DynAcl, DynAuth, Figures, Holder, Hooks, Host,
    HostError, HttpHandler, PeerInfo, Pipe, PipeEvents, PluginListener, Publish, Reloadable,
    RetainSettings, Row, Severity, TopicEntry,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(super) struct FakeHost {
    pub fake: Arc<Fake>,
    pub name: String,
}

impl FakeHost {
    /// The store, if it works.
    fn store<T>(&self, f: impl FnOnce(&mut State) -> T) -> Result<T, HostError> {
        self.fake.change(|state| match &state.store_error {
            Some(error) => Err(HostError(error.clone())),
            None => Ok(f(state)),
        })
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.fake.dir.join(name);
        // A plugin that cannot use it finds out when it does.
        let _ = std::fs::create_dir_all(&dir);
        dir
    }
}

impl Host for FakeHost {
    fn plugin(&self) -> &str {
        &self.name
    }

    fn node(&self) -> String {
        "fake@127.0.0.1".into()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn data_dir(&self) -> PathBuf {
        self.dir("")
    }

    fn log_dir(&self) -> PathBuf {
        self.dir("log")
    }

    fn config(&self) -> Config {
        self.fake.state().config.clone()
    }

    fn auth(&self, sequence: i32, provider: Arc<dyn DynAuth>) {
        self.fake.change(|state| {
            let chain = &mut state.registered.auth;
            let place = chain.partition_point(|(other, _)| *other > sequence);
            chain.insert(place, (sequence, provider));
        });
    }

    fn acl(&self, sequence: i32, provider: Arc<dyn DynAcl>) {
        self.fake.change(|state| {
            let chain = &mut state.registered.acl;
            let place = chain.partition_point(|(other, _)| *other > sequence);
            chain.insert(place, (sequence, provider));
        });
    }

    fn mechanism(&self, mechanism: Arc<dyn AuthMechanism>) {
        self.fake
            .change(|state| state.registered.mechanisms.push(mechanism));
    }

    fn forget_decisions(&self) {
        self.fake.change(|state| state.asked.forgotten += 1);
    }

    fn hooks(&self, priority: i32, hooks: Arc<dyn Hooks>) {
        self.fake.change(|state| {
            let all = &mut state.registered.hooks;
            let place = all.partition_point(|(other, _)| *other <= priority);
            all.insert(place, (priority, hooks));
        });
    }

    fn command(&self, command: Command) {
        self.fake.change(|state| {
            let commands = &mut state.registered.commands;
            commands.retain(|other| other.name != command.name);
            commands.push(command);
        });
    }

    fn http(&self, handler: Arc<HttpHandler>) {
        self.fake
            .change(|state| state.registered.http = Some(handler));
    }

    fn metric(&self, name: &str) -> Arc<AtomicU64> {
        self.fake.change(|state| {
            let metrics = &mut state.registered.metrics;
            Arc::clone(metrics.entry(name.into()).or_default())
        })
    }

    fn publish(&self, message: Publish) -> Result<(), HostError> {
        let topic = &message.topic;
        if topic.is_empty() || topic.len() > 65535 || topic.contains(['+', '#', '\0']) {
            return Err(HostError(format!("{topic:?} is not a topic name")));
        }
        self.fake
            .change(|state| state.asked.published.push(message));
        Ok(())
    }

    fn subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.fake
            .change(|state| state.asked.subscribed.push((client.clientid.into(), table)));
    }

    fn unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.fake.change(|state| {
            state
                .asked
                .unsubscribed
                .push((client.clientid.into(), table))
        });
    }

    fn kick(&self, clientid: &str) {
        self.fake
            .change(|state| state.asked.kicked.push(clientid.into()));
    }

    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        self.fake.change(|state| match summary {
            Some(summary) => {
                let alarm = Alarm {
                    severity,
                    title: title.into(),
                    summary: summary.into(),
                };
                state.asked.alarms.insert(id.into(), alarm);
            }
            None => {
                state.asked.alarms.remove(id);
            }
        });
    }

    fn table_put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        self.store(|state| {
            let rows = state.tables.entry(table.into()).or_default();
            rows.insert(key.into(), value.into());
        })
    }

    fn table_delete(&self, table: &str, key: &[u8]) -> Result<(), HostError> {
        self.store(|state| {
            if let Some(rows) = state.tables.get_mut(table) {
                rows.remove(key);
            }
        })
    }

    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        self.store(|state| state.tables.get(table)?.get(key).cloned())
    }

    fn table_rows(&self, table: &str) -> Result<Vec<Row>, HostError> {
        self.store(|state| {
            let rows = state.tables.get(table).into_iter().flatten();
            rows.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    fn tables_last(&self) -> bool {
        !self.fake.state().volatile
    }

    fn listener(&self, listener: PluginListener) {
        self.fake.change(|state| {
            let listeners = &mut state.registered.listeners;
            match listeners.iter_mut().find(|known| known.is(&listener)) {
                Some(known) => *known = listener,
                None => listeners.push(listener),
            }
        });
    }

    fn listener_gone(&self, protocol: &str, listen_on: &str) {
        self.fake.change(|state| {
            let listeners = &mut state.registered.listeners;
            listeners
                .retain(|known| (&*known.protocol, &*known.listen_on) != (protocol, listen_on));
        });
    }

    fn open(
        &self,
        peer: PeerInfo,
        events: Box<dyn PipeEvents>,
    ) -> Result<Arc<dyn Pipe>, HostError> {
        let (protocol, listen_on) = &peer.listener;
        self.fake.change(|state| {
            let mut known = state.registered.listeners.iter();
            if !known.any(|l| l.protocol == *protocol && l.listen_on == *listen_on) {
                return Err(HostError(format!("no listener {protocol} on {listen_on}")));
            }
            let pipe = FakePipe::new(peer.clone(), events);
            state.registered.pipes.push(pipe.clone());
            Ok(pipe.for_the_plugin(Arc::clone(&self.fake)))
        })
    }

    fn retain(&self, settings: Option<RetainSettings>) -> Result<(), HostError> {
        self.store(|state| state.registered.retain = settings)
    }

    fn retained_count(&self) -> usize {
        self.fake.state().retained.len()
    }

    fn retained_topics(&self) -> Vec<String> {
        self.fake.state().retained.clone()
    }

    fn retained_clean(&self) -> usize {
        self.fake
            .change(|state| std::mem::take(&mut state.retained).len())
    }

    fn figures(&self) -> Figures {
        self.fake.state().figures.clone()
    }

    fn holders(&self, most: usize) -> Vec<Holder> {
        let state = self.fake.state();
        state.holders.iter().take(most).cloned().collect()
    }

    fn reloadables(&self) -> Vec<Reloadable> {
        let state = self.fake.state();
        let all = state.reloads.iter().chain(&state.registered.reloads);
        all.map(|(what, _)| what.clone()).collect()
    }

    fn reload(&self, name: &str) -> Result<(), HostError> {
        let reload = {
            let state = self.fake.state();
            let mut all = state.reloads.iter().chain(&state.registered.reloads);
            let found = all.find(|(what, _)| what.name == name);
            Arc::clone(&found.ok_or_else(|| HostError("nofile".into()))?.1)
        };
        // Without the lock: it may call the broker.
        reload().map_err(HostError)
    }

    fn reloadable(&self, what: Reloadable, reload: Arc<Reload>) {
        self.fake
            .change(|state| state.registered.reloads.push((what, reload)));
    }
}
