//! What a plugin has registered: it comes into force at once, and goes as a whole.

use crate::guard::Guard;
use crate::manager::Shared;
use crate::web::OpenWeb;
use crate::wrap::{GuardedCommand, GuardedHttp, GuardedReload, Refusing};
use emqttd_plugin_sdk::{
    AuthMechanism, Call, Config, DynAcl, DynAuth, Hooks, PluginListener, Reloadable, Reply,
};
use parking_lot::{Mutex, RwLock};
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;

/// Where a plugin is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// it starts: what it registers is not in force yet
    #[default]
    Starting,
    Running,
    /// what it registers now would stay for ever: it is not taken
    Ended,
}

/// Why a plugin ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// the operator wants to be without it, or it has not started
    Unload,
    /// it is started again at once
    Restart,
    /// it panics again and again
    SwitchOff,
    /// the broker stops
    Stop,
}

/// What a plugin has registered.
#[derive(Default)]
pub(crate) struct Registered {
    pub phase: Phase,
    pub hooks: Vec<(i32, Arc<dyn Hooks>)>,
    pub auth: Vec<(i32, Arc<dyn DynAuth>)>,
    pub acl: Vec<(i32, Arc<dyn DynAcl>)>,
    pub mechanisms: Vec<Arc<dyn AuthMechanism>>,
    pub commands: Vec<Arc<GuardedCommand>>,
    /// what has been replaced and may still be in a call: commands whose names a newer life of the plugin has
    /// taken, handlers of HTTP requests, reloadables
    pub former: Vec<Arc<dyn Any + Send + Sync>>,
    pub http: Option<Arc<GuardedHttp>>,
    pub metrics: Vec<(String, Arc<AtomicU64>)>,
    pub reloads: Vec<(Reloadable, Arc<GuardedReload>)>,
    pub listeners: Vec<PluginListener>,
    pub web: Vec<Box<dyn OpenWeb>>,
    pub alarms: BTreeSet<String>,
}

/// Chain entries that refuse, in the place of those of a plugin that was switched off.
#[derive(Default)]
pub(crate) struct Refusals {
    auth: Vec<Arc<dyn DynAuth>>,
    acl: Vec<Arc<dyn DynAcl>>,
}

/// A line of `plugins show`: what it is, and its particulars.
pub(crate) type Fact = (String, String);

/// The broker for one life of one plugin.
pub(crate) struct NativeHost {
    pub shared: Arc<Shared>,
    pub guard: Arc<Guard>,
    pub runtime: Handle,
    pub config: RwLock<Config>,
    pub registered: Mutex<Registered>,
    /// the life that has taken the place of this one
    successor: OnceLock<Arc<NativeHost>>,
}

impl NativeHost {
    pub fn new(
        shared: &Arc<Shared>,
        guard: &Arc<Guard>,
        runtime: Handle,
        config: Config,
    ) -> NativeHost {
        NativeHost {
            shared: Arc::clone(shared),
            guard: Arc::clone(guard),
            runtime,
            config: RwLock::new(config),
            registered: Mutex::default(),
            successor: OnceLock::new(),
        }
    }

    /// Goes on with the counters of the plugin's former life.
    pub fn inherit(&self, old: &NativeHost) {
        self.registered.lock().metrics = old.registered.lock().metrics.clone();
    }

    /// Whether it decides who may come in or what they may do.
    pub fn decides(&self) -> bool {
        let registered = self.registered.lock();
        !(registered.auth.is_empty() && registered.acl.is_empty())
    }

    /// Whether it has listeners: two lives of it cannot run beside each other.
    pub fn listens(&self) -> bool {
        let registered = self.registered.lock();
        !(registered.listeners.is_empty() && registered.web.is_empty())
    }

    /// Puts other values in the place of the plugin's configuration, and gives the former.
    pub fn set_config(&self, config: Config) -> Config {
        std::mem::replace(&mut self.config.write(), config)
    }

    /// The plugin has started: what it has registered comes into force. In the place of `old`, if that is
    /// given: no message and no question passes without one of the two. Whether the ACL decides otherwise from
    /// now on, so that what is allowed is to be asked for again.
    pub fn commit(self: &Arc<Self>, old: Option<&NativeHost>) -> bool {
        let mut registered = self.registered.lock();
        registered.phase = Phase::Running;
        match old {
            Some(old) => {
                // An old life has one at the most: it ends then.
                let _ = old.successor.set(Arc::clone(self));
                self.put_in(&registered, &mut old.registered.lock())
            }
            None => self.put_in(&registered, &mut Registered::default()),
        }
    }

    fn put_in(&self, new: &Registered, old: &mut Registered) -> bool {
        let (hooks, access) = (self.shared.broker.hooks(), self.shared.broker.access());
        pair(&new.hooks, &old.hooks, |place, priority, new| match place {
            Some(old) => hooks.replace(old, new),
            None => hooks.add(priority, Arc::clone(new)),
        });
        pair(&new.auth, &old.auth, |place, sequence, new| match place {
            Some(old) => access.replace_auth(old, new),
            None => access.add_auth(sequence, &self.guard.name, new),
        });
        pair(&new.acl, &old.acl, |place, sequence, new| match place {
            Some(old) => access.replace_acl(old, new),
            None => access.add_acl(sequence, &self.guard.name, new),
        });
        for mechanism in &new.mechanisms {
            access.add_mechanism(mechanism);
        }
        for command in &new.commands {
            let known = old
                .commands
                .iter()
                .any(|c| c.inner.name == command.inner.name);
            self.add_command(command, known);
        }
        // Of what is left in `old` nothing else is in force; its commands must not take the new ones along.
        let taken = |c: &mut Arc<GuardedCommand>| {
            let mut names = new.commands.iter().map(|new| &new.inner.name);
            names.any(|name| *name == c.inner.name)
        };
        for command in old.commands.extract_if(.., taken) {
            old.former.push(command);
        }
        !new.acl.is_empty() || !old.acl.is_empty()
    }

    pub fn add_command(&self, command: &Arc<GuardedCommand>, replaces: bool) {
        let cli = &self.shared.cli;
        let name = &command.inner.name;
        if !replaces && cli.has(name) {
            log::error!(
                "plugin {}: there is a command {name} already; that of the plugin is not added",
                self.guard.name
            );
            return;
        }
        let rows: Vec<(&str, &str)> = command
            .inner
            .usage
            .iter()
            .map(|(call, what)| (call.as_str(), what.as_str()))
            .collect();
        command.listed.store(true, Ordering::Release);
        let command = Arc::clone(command);
        let task = Box::new(move |call: emqttd_management::Call<'_>| {
            let reply = command.run(Call {
                args: call.args,
                stdin: call.stdin,
            });
            match reply {
                Reply::Text(text) => Some(Ok(text)),
                Reply::Failed(text) => Some(Err(text)),
                Reply::Usage => None,
            }
        });
        cli.put(name, &rows, task);
    }

    /// Takes everything out of force. Unless the operator wants to be without the plugin, the chains get entries
    /// that refuse in the place of its own: whoever decides there is not passed by. Blocks while its virtual connections end.
    pub fn withdraw(&self, end: End) -> Refusals {
        let mut refusals = Refusals::default();
        let refuse = end != End::Unload;
        let (listeners, web, alarms) = {
            let mut registered = self.registered.lock();
            let running = registered.phase == Phase::Running;
            registered.phase = Phase::Ended;
            if running {
                self.take_out(&registered, refuse.then_some(&mut refusals));
            }
            (
                std::mem::take(&mut registered.listeners),
                std::mem::take(&mut registered.web),
                std::mem::take(&mut registered.alarms),
            )
        };
        let broker = &self.shared.broker;
        // With the lock open: connections that end call hooks, and those may ask for something.
        for listener in listeners {
            broker.plugin_listener_gone(&listener.protocol, &listener.listen_on);
        }
        web.iter().for_each(|listener| listener.close());
        if matches!(end, End::Unload | End::SwitchOff) {
            self.retain_no_more();
        }
        let clear = |id: &str| broker.post_alarm(id, emqttd_broker::Severity::Warning, "", None);
        match self.successor.get() {
            // Those that the new life has set are its own. It sets them under its lock, too.
            Some(successor) => {
                let theirs = successor.registered.lock();
                let left = alarms.iter().filter(|id| !theirs.alarms.contains(*id));
                left.for_each(|id| clear(id));
            }
            None => alarms.iter().for_each(|id| clear(id)),
        }
        refusals
    }

    /// Retained messages are neither kept nor sent from now on, if the plugin has asked for that and no other
    /// does. Not done when the plugin comes back at once, or the broker stops: a will may be retained then.
    pub fn retain_no_more(&self) {
        self.shared.retaining.forget(self.guard.number);
    }

    fn take_out(&self, registered: &Registered, mut refusals: Option<&mut Refusals>) {
        let broker = &self.shared.broker;
        for (_, hooks) in &registered.hooks {
            broker.hooks().remove(hooks);
        }
        let access = broker.access();
        for (_, provider) in &registered.auth {
            match &mut refusals {
                None => access.remove_auth(provider),
                Some(refusals) => {
                    let refusing: Arc<dyn DynAuth> = Arc::new(Refusing);
                    access.replace_auth(provider, &refusing);
                    refusals.auth.push(refusing);
                }
            }
        }
        for (_, provider) in &registered.acl {
            match &mut refusals {
                None => access.remove_acl(provider),
                Some(refusals) => {
                    let refusing: Arc<dyn DynAcl> = Arc::new(Refusing);
                    access.replace_acl(provider, &refusing);
                    refusals.acl.push(refusing);
                }
            }
        }
        for mechanism in &registered.mechanisms {
            access.remove_mechanism(mechanism);
        }
        let listed = |c: &&Arc<GuardedCommand>| c.listed.load(Ordering::Acquire);
        for command in registered.commands.iter().filter(listed) {
            self.shared.cli.unregister(&command.inner.name);
        }
        // Where it is refused instead, that is for what is asked from now on: who has a subscription keeps it.
        if refusals.is_none() && !registered.acl.is_empty() {
            broker.post_forget();
        }
    }

    /// Whether nobody can be in a call of the plugin, or come into one.
    pub fn is_quiet(&self) -> bool {
        let registered = self.registered.lock();
        fn sole<T: ?Sized>(held: &Arc<T>) -> bool {
            Arc::strong_count(held) == 1
        }
        fn alone<T: ?Sized>(list: &[(i32, Arc<T>)]) -> bool {
            list.iter().all(|(_, held)| sole(held))
        }
        alone(&registered.hooks)
            && alone(&registered.auth)
            && alone(&registered.acl)
            && registered.mechanisms.iter().all(sole)
            && registered.commands.iter().all(sole)
            && registered.former.iter().all(sole)
            && registered.http.iter().all(sole)
            && registered.reloads.iter().all(|(_, reload)| sole(reload))
    }

    /// Lets go of what was registered. Nobody else may hold it any more: see [`NativeHost::is_quiet`].
    pub fn clear(&self) {
        let cleared = std::mem::replace(
            &mut *self.registered.lock(),
            Registered {
                phase: Phase::Ended,
                ..Registered::default()
            },
        );
        // Code of the plugin, too.
        self.guard
            .call_even_closed(crate::desk::Site::Stop, || drop(cleared));
    }

    /// Lets go of what has been replaced and is in no call.
    pub fn drop_former(&self) {
        let idle: Vec<_> = {
            let mut registered = self.registered.lock();
            let sole = |held: &mut Arc<dyn Any + Send + Sync>| Arc::strong_count(held) == 1;
            registered.former.extract_if(.., sole).collect()
        };
        if idle.is_empty() {
            return;
        }
        // Code of the plugin, which may ask the broker for something: with the lock open.
        self.guard
            .call_even_closed(crate::desk::Site::Task, || drop(idle));
    }

    /// What answers HTTP requests.
    pub fn http_handler(&self) -> Option<Arc<GuardedHttp>> {
        let registered = self.registered.lock();
        (registered.phase == Phase::Running)
            .then(|| registered.http.clone())
            .flatten()
    }

    /// What the plugin can reload of its own.
    pub fn reloads(&self) -> Vec<(Reloadable, Arc<GuardedReload>)> {
        let registered = self.registered.lock();
        match registered.phase {
            Phase::Running => registered.reloads.clone(),
            Phase::Starting | Phase::Ended => Vec::new(),
        }
    }

    /// What it has registered, for people.
    pub fn facts(&self) -> Vec<Fact> {
        let registered = self.registered.lock();
        let mut facts = Vec::new();
        for (priority, hooks) in &registered.hooks {
            let points = crate::desk::points(hooks.points());
            facts.push(("hooks".into(), format!("{points} (priority {priority})")));
        }
        for (sequence, _) in &registered.auth {
            facts.push(("auth".into(), format!("sequence {sequence}")));
        }
        for (sequence, _) in &registered.acl {
            facts.push(("acl".into(), format!("sequence {sequence}")));
        }
        for mechanism in &registered.mechanisms {
            facts.push(("mechanism".into(), mechanism.method().into()));
        }
        for command in &registered.commands {
            facts.push(("command".into(), command.inner.name.clone()));
        }
        if registered.http.is_some() {
            facts.push(("http".into(), format!("/api/plugins/{}/", self.guard.name)));
        }
        for listener in &registered.listeners {
            let text = format!("{} on {}", listener.protocol, listener.listen_on);
            facts.push(("listener".into(), text));
        }
        for listener in &registered.web {
            facts.push(("listener".into(), listener.shown()));
        }
        for (what, _) in &registered.reloads {
            facts.push(("reloadable".into(), what.name.clone()));
        }
        for (name, counter) in &registered.metrics {
            let count = counter.load(Ordering::Relaxed);
            facts.push((format!("{}/{name}", self.guard.name), count.to_string()));
        }
        facts
    }

    /// Adds to what is registered, unless the plugin has ended.
    pub fn register(&self, add: impl FnOnce(&mut Registered, bool)) {
        let mut registered = self.registered.lock();
        match registered.phase {
            Phase::Starting => add(&mut registered, false),
            Phase::Running => add(&mut registered, true),
            Phase::Ended => log::warn!(
                "plugin {} wants to register something, and is not loaded any more",
                self.guard.name
            ),
        }
    }
}

impl Refusals {
    pub fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.acl.is_empty()
    }

    /// Nobody is refused any more. What is allowed is to be asked for again then.
    pub fn lift(&self, shared: &Shared) {
        let access = shared.broker.access();
        for provider in &self.auth {
            access.remove_auth(provider);
        }
        for provider in &self.acl {
            access.remove_acl(provider);
        }
    }
}

/// Gives each of `new` the place of one of `old` with the same number, if there is one.
fn pair<T: ?Sized>(
    new: &[(i32, Arc<T>)],
    old: &[(i32, Arc<T>)],
    put: impl Fn(Option<&Arc<T>>, i32, &Arc<T>),
) {
    let mut free: Vec<&(i32, Arc<T>)> = old.iter().collect();
    for (number, entry) in new {
        let at = free.iter().position(|(other, _)| other == number);
        let place = at.map(|at| free.remove(at));
        put(place.map(|(_, old)| old), *number, entry);
    }
}
