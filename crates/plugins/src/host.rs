//! The broker, as one plugin sees it.

use crate::desk::{self, Site};
use crate::registered::{NativeHost, Phase};
use crate::wrap::{
    ASK_TIMEOUT, GuardedAcl, GuardedAuth, GuardedCommand, GuardedHooks, GuardedHttp,
    GuardedMechanism, GuardedPipe, GuardedReload,
};
use emqttd_broker::VERSION;
use emqttd_plugin_sdk::{
    AuthMechanism, ClientRef, Command, Config, DynAcl, DynAuth, Figures, Holder, Hooks, Host,
    HostError, HttpHandler, PeerInfo, Pipe, PipeEvents, PluginListener, Publish, Reloadable,
    RetainSettings, Row, Severity, TopicEntry, WebListener,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

impl NativeHost {
    fn table(&self, table: &str) -> emqttd_broker::DurableTable {
        let name = format!("plugin/{}/{table}", self.guard.name);
        self.shared.broker.table(&name)
    }
}

fn failed(error: impl std::fmt::Display) -> HostError {
    HostError(error.to_string())
}

impl Host for NativeHost {
    fn plugin(&self) -> &str {
        &self.guard.name
    }

    fn node(&self) -> String {
        self.shared.broker.node_name()
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn data_dir(&self) -> PathBuf {
        self.shared.broker.settings().node.data_dir.clone()
    }

    fn log_dir(&self) -> PathBuf {
        self.shared.broker.settings().log.dir.clone()
    }

    fn config(&self) -> Config {
        self.config.read().clone()
    }

    fn auth(&self, sequence: i32, provider: Arc<dyn DynAuth>) {
        let provider: Arc<dyn DynAuth> = Arc::new(GuardedAuth {
            guard: Arc::clone(&self.guard),
            runtime: self.runtime.clone(),
            patience: ASK_TIMEOUT,
            inner: provider,
        });
        self.register(|registered, now| {
            if now {
                let access = self.shared.broker.access();
                access.add_auth(sequence, &self.guard.name, &provider);
            }
            registered.auth.push((sequence, provider));
        });
    }

    fn acl(&self, sequence: i32, provider: Arc<dyn DynAcl>) {
        let provider: Arc<dyn DynAcl> = Arc::new(GuardedAcl {
            guard: Arc::clone(&self.guard),
            runtime: self.runtime.clone(),
            patience: ASK_TIMEOUT,
            inner: provider,
        });
        self.register(|registered, now| {
            if now {
                let access = self.shared.broker.access();
                access.add_acl(sequence, &self.guard.name, &provider);
                self.shared.broker.post_forget();
            }
            registered.acl.push((sequence, provider));
        });
    }

    fn mechanism(&self, mechanism: Arc<dyn AuthMechanism>) {
        let mechanism: Arc<dyn AuthMechanism> =
            Arc::new(GuardedMechanism::new(&self.guard, mechanism));
        self.register(|registered, now| {
            if now {
                self.shared.broker.access().add_mechanism(&mechanism);
            }
            registered.mechanisms.push(mechanism);
        });
    }

    fn forget_decisions(&self) {
        self.shared.broker.post_forget();
    }

    fn hooks(&self, priority: i32, hooks: Arc<dyn Hooks>) {
        let hooks: Arc<dyn Hooks> = Arc::new(GuardedHooks::new(&self.guard, hooks));
        self.register(|registered, now| {
            if now {
                self.shared.broker.hooks().add(priority, Arc::clone(&hooks));
            }
            registered.hooks.push((priority, hooks));
        });
    }

    fn command(&self, command: Command) {
        let command = Arc::new(GuardedCommand {
            guard: Arc::clone(&self.guard),
            listed: AtomicBool::new(false),
            inner: command,
        });
        self.register(|registered, now| {
            if now {
                self.add_command(&command, false);
            }
            registered.commands.push(command);
        });
    }

    fn http(&self, handler: Arc<HttpHandler>) {
        let handler = Arc::new(GuardedHttp {
            guard: Arc::clone(&self.guard),
            inner: handler,
        });
        self.register(|registered, _| {
            if let Some(replaced) = registered.http.replace(handler) {
                registered.former.push(replaced);
            }
        });
        self.drop_former();
    }

    fn web(&self, listener: WebListener) -> Result<(), HostError> {
        let server = self
            .shared
            .web()
            .ok_or_else(|| failed("there is no web server"))?;
        let config = self.config();
        let open = server.open(&listener, &config).map_err(HostError)?;
        let mut taken = Some(open);
        self.register(|registered, _| registered.web.extend(taken.take()));
        // It has ended meanwhile: so does what it has just opened.
        if let Some(open) = taken {
            open.close();
        }
        Ok(())
    }

    fn metric(&self, name: &str) -> Arc<AtomicU64> {
        let mut registered = self.registered.lock();
        let found = registered.metrics.iter().find(|(other, _)| other == name);
        if let Some((_, counter)) = found {
            return Arc::clone(counter);
        }
        let counter = Arc::default();
        registered.metrics.push((name.into(), Arc::clone(&counter)));
        counter
    }

    fn publish(&self, message: Publish) -> Result<(), HostError> {
        self.shared.broker.post_publish(message).map_err(failed)
    }

    fn subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.shared.broker.post_subscribe(client, table);
    }

    fn unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.shared.broker.post_unsubscribe(client, table);
    }

    fn kick(&self, clientid: &str) {
        self.shared.broker.post_kick(clientid);
    }

    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        self.register(|registered, _| {
            match summary {
                Some(_) => drop(registered.alarms.insert(id.into())),
                None => drop(registered.alarms.remove(id)),
            }
            self.shared.alarm(id, severity, title, summary);
        });
    }

    fn table_put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        self.table(table).put(key, value).map_err(failed)
    }

    fn table_delete(&self, table: &str, key: &[u8]) -> Result<(), HostError> {
        self.table(table).delete(key).map_err(failed)
    }

    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        self.table(table).get(key).map_err(failed)
    }

    fn table_rows(&self, table: &str) -> Result<Vec<Row>, HostError> {
        self.table(table).rows().map_err(failed)
    }

    fn tables_last(&self) -> bool {
        self.shared.broker.store().is_some()
    }

    fn listener(&self, listener: PluginListener) {
        self.register(|registered, _| {
            let broker = &self.shared.broker;
            let known = registered.listeners.iter_mut();
            match known.into_iter().find(|known| known.is(&listener)) {
                Some(known) => {
                    broker.set_max_clients(&listener);
                    *known = listener;
                }
                None => {
                    broker.plugin_listener(listener.clone());
                    registered.listeners.push(listener);
                }
            }
        });
    }

    fn listener_gone(&self, protocol: &str, listen_on: &str) {
        let known = {
            let listeners = &mut self.registered.lock().listeners;
            let at = listeners
                .iter()
                .position(|known| (&*known.protocol, &*known.listen_on) == (protocol, listen_on));
            at.map(|at| listeners.remove(at))
        };
        // With the lock open: connections that end call hooks, and those may ask for something.
        if known.is_some() {
            self.shared.broker.plugin_listener_gone(protocol, listen_on);
        }
    }

    fn open(
        &self,
        peer: PeerInfo,
        events: Box<dyn PipeEvents>,
    ) -> Result<Arc<dyn Pipe>, HostError> {
        let events = Box::new(GuardedPipe::new(&self.guard, events));
        self.shared.broker.open_pipe(peer, events).map_err(failed)
    }

    fn retain(&self, settings: Option<RetainSettings>) -> Result<(), HostError> {
        let retaining = &self.shared.retaining;
        let change = {
            // Under the lock, so that a life that ends has either this wish to forget or none.
            let registered = self.registered.lock();
            if registered.phase == Phase::Ended {
                return Err(failed("the plugin is not loaded any more"));
            }
            retaining.note(self.guard.number, settings)
        };
        // Not under it: this waits for the event loops, which may be in a hook of this plugin.
        retaining.settle(change).map_err(failed)
    }

    fn retained_count(&self) -> usize {
        self.shared.broker.retained_count()
    }

    fn retained_topics(&self) -> Vec<String> {
        self.shared.broker.retained_topics()
    }

    fn retained_clean(&self) -> usize {
        self.shared.broker.retained_clean()
    }

    fn figures(&self) -> Figures {
        Figures {
            tasks: self.shared.runtime.tasks(),
            ..self.shared.broker.figures()
        }
    }

    fn holders(&self, most: usize) -> Vec<Holder> {
        self.shared.broker.holders(most)
    }

    fn reloadables(&self) -> Vec<Reloadable> {
        self.shared.reloadables()
    }

    fn reload(&self, name: &str) -> Result<(), HostError> {
        self.shared.reload(name).map_err(HostError)
    }

    fn reloadable(
        &self,
        what: Reloadable,
        reload: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    ) {
        let reload = Arc::new(GuardedReload {
            guard: Arc::clone(&self.guard),
            inner: reload,
        });
        self.register(|registered, _| {
            let same = |(other, _): &mut (Reloadable, _)| other.name == what.name;
            for (_, replaced) in registered.reloads.extract_if(.., same) {
                registered.former.push(replaced);
            }
            registered.reloads.push((what, reload));
        });
        self.drop_former();
    }

    fn polls(&self, poll: &mut dyn FnMut()) {
        desk::noted(self.guard.number, Site::Task, |_| poll());
    }

    fn panicked(&self, what: &str) {
        self.guard.panicked(Site::Task, what);
    }
}
