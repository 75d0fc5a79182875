//! The commands of the core, each a small function over [`emqttd_broker::Broker`].

mod access;
mod clients;
mod cluster;
mod control;
mod listeners;
mod node;
pub(crate) mod plugins;
mod settings;
mod store;
mod trace;

use crate::cli::Cli;
use emqttd_broker::Broker;
use emqttd_config::Config;
use parking_lot::Mutex;
use plugins::PluginControl;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What the core commands work on.
#[derive(Clone)]
pub struct Core {
    /// the running broker
    pub broker: Broker,
    /// the configuration it was started with, and what `set` changed since
    pub config: Arc<Mutex<Config>>,
    /// `restart` was asked for: see [`Core::restart_wanted`]
    restart: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    plugins: Arc<OnceLock<Arc<dyn PluginControl>>>,
}

impl Core {
    /// The core of a broker that was started with `config`.
    pub fn new(broker: Broker, config: Arc<Mutex<Config>>) -> Core {
        Core {
            broker,
            config,
            restart: Arc::default(),
            stopping: Arc::default(),
            plugins: Arc::default(),
        }
    }

    /// Says who runs the plugins.
    pub fn set_plugins(&self, control: Arc<dyn PluginControl>) {
        // A broker has one.
        let _ = self.plugins.set(control);
    }

    /// Who runs the plugins; `None` while the broker starts.
    pub fn plugins(&self) -> Option<Arc<dyn PluginControl>> {
        self.plugins.get().cloned()
    }

    /// Begins the orderly end of the broker, and does not wait for it. While the broker starts there are no event
    /// loops that could be told: who starts it looks at [`Core::stopping`].
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.broker.stop();
    }

    /// Set when the broker is told to stop.
    pub fn stopping(&self) -> &Arc<AtomicBool> {
        &self.stopping
    }

    /// After the broker has stopped: whether it is to start again in the same process
    /// (`emqttd restart`), which `main` does by executing itself.
    pub fn restart_wanted(&self) -> bool {
        self.restart.load(Ordering::Acquire)
    }
}

/// A registry with every command of the core, in the order EMQ lists them.
pub fn core(core: &Core) -> Arc<Cli> {
    let cli = Cli::new(&core.broker.node_name());
    node::register_status(&cli, core);
    node::register_broker(&cli, core);
    cluster::register_cluster(&cli, core);
    access::register_acl(&cli, core);
    clients::register_clients(&cli, core);
    clients::register_sessions(&cli, core);
    clients::register_routes(&cli, core);
    clients::register_topics(&cli, core);
    clients::register_subscriptions(&cli, core);
    plugins::register(&cli, core);
    cluster::register_bridges(&cli, core);
    node::register_vm(&cli);
    node::register_mnesia(&cli, core);
    trace::register(&cli, core);
    listeners::register(&cli, core);
    access::register_auth(&cli, core);
    settings::register(&cli, core);
    store::register(&cli, core);
    control::register(&cli, core);
    Arc::new(cli)
}
