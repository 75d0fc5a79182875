//! The commands of the core, each a small function over [`emqttd_broker::Broker`].

mod access;
mod admins;
mod api_keys;
mod bans;
mod clients;
mod cluster;
mod control;
mod listeners;
mod node;
pub(crate) mod plugins;
mod settings;
mod store;
mod trace;

use crate::api_keys::ApiKeys;
use crate::audit::{self, Audit, Entry, Via};
use crate::cli::Cli;
use crate::configs::Configs;
use crate::history::History;
use crate::news::{News, Told};
use crate::secrets::Secrets;
use crate::system::{Meter, System};
use crate::traces::Traces;
use crate::users::Users;
use emqttd_broker::Broker;
use emqttd_config::Config;
use parking_lot::{Mutex, MutexGuard};
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
    kept: Arc<Kept>,
}

/// What management itself keeps: the same for all clones of a [`Core`].
struct Kept {
    users: Users,
    api_keys: ApiKeys,
    secrets: Secrets,
    audit: Audit,
    history: History,
    meter: Meter,
    news: Arc<News>,
    /// see [`Core::changing`]
    changing: Mutex<()>,
    /// held by who starts a trace
    tracing: Mutex<()>,
}

impl Core {
    /// The core of a broker that was started with `config`.
    pub fn new(broker: Broker, config: Arc<Mutex<Config>>) -> Core {
        let kept = Kept {
            users: Users::new(&broker),
            api_keys: ApiKeys::new(&broker),
            secrets: Secrets::new(&broker),
            audit: Audit::new(&broker),
            history: History::new(&broker),
            meter: Meter::new(),
            news: Arc::default(),
            changing: Mutex::default(),
            tracing: Mutex::default(),
        };
        Core {
            kept: Arc::new(kept),
            broker,
            config,
            restart: Arc::default(),
            stopping: Arc::default(),
            plugins: Arc::default(),
        }
    }

    /// Says who runs the plugins.
    pub fn set_plugins(&self, control: Arc<dyn PluginControl>) {
        let news = Arc::clone(&self.kept.news);
        // A broker has one.
        let _ = self.plugins.set(Arc::new(Told { control, news }));
    }

    /// Who runs the plugins; `None` while the broker starts.
    pub fn plugins(&self) -> Option<Arc<dyn PluginControl>> {
        self.plugins.get().cloned()
    }

    pub(crate) fn news(&self) -> &News {
        &self.kept.news
    }

    /// Who may use the management API and the dashboard.
    pub fn users(&self) -> &Users {
        &self.kept.users
    }

    /// Keys for programs.
    pub fn api_keys(&self) -> &ApiKeys {
        &self.kept.api_keys
    }

    /// A secret of the broker's own: made with the first use, the same after a restart.
    ///
    /// # Errors
    /// A sentence: it cannot be read or stored, or the system gives no random numbers.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], String> {
        self.kept.secrets.get(name)
    }

    /// Who changed what.
    pub fn audit(&self) -> &Audit {
        &self.kept.audit
    }

    /// Figures over time.
    pub fn history(&self) -> &History {
        &self.kept.history
    }

    /// Figures of the process and of the machine.
    pub fn system(&self) -> System {
        self.kept.meter.look()
    }

    /// Settings that may be changed.
    pub fn configs(&self) -> Configs<'_> {
        Configs(self)
    }

    /// Waits until nobody else changes values of the configuration. Taken before `config`, which stays free while a
    /// plugin is told, or is loaded anew: that may take a minute.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.kept.changing.lock()
    }

    /// Waits until nobody else starts a trace.
    pub(crate) fn tracing(&self) -> MutexGuard<'_, ()> {
        self.kept.tracing.lock()
    }

    /// Traces of clients and topics.
    pub fn traces(&self) -> Traces<'_> {
        Traces(self)
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

/// What is left when the plugins have been started, and have brought their commands: `admins`, which EMQ lists behind
/// theirs, commands of ours that it does not list, the audit log, and the first user.
pub fn after_boot(cli: &Arc<Cli>, core: &Core) {
    admins::register(cli, core);
    bans::register(cli, core);
    api_keys::register(cli, core);
    core.audit().open(&core.broker.settings().log.dir);
    let this = core.clone();
    cli.on_done(Box::new(move |done| {
        if let Some(action) = audit::action_of(done.argv) {
            let outcome = audit::outcome_of(&done);
            let entry = Entry::new(done.caller, "local", Via::Cli, &action, outcome);
            this.audit().record(entry);
        }
    }));
    let (login, password) = {
        let config = core.config.lock();
        let value = |key| config.get(key).unwrap_or_default().to_owned();
        (
            value("dashboard.default_user.login"),
            value("dashboard.default_user.password"),
        )
    };
    if let Err(error) = core.users().make_default(&login, &password) {
        log::error!("dashboard.default_user: the user cannot be made: {error}");
    }
}
