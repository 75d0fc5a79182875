//! Which plugins there are, which run, and how one comes and goes.

use crate::guard::{Guard, Reporter};
use crate::life::{Life, START_PATIENCE, START_PATIENCE_AT_BOOT, Source};
use crate::loaded_file;
use crate::registered::{End, NativeHost, Refusals};
use crate::retaining::Retaining;
use crate::runtime::Runtime;
use crate::watchdog::Watchdog;
use crate::web::WebServer;
use emqttd_broker::{Broker, VERSION};
use emqttd_config::{Config, PluginKeys, Problem, find_plugin, switch_of};
use emqttd_management::{Cli, PluginDone, PluginError};
use emqttd_plugin_sdk::{
    Config as Keys, Descriptor, HttpRequest, HttpResponse, Reloadable, Severity,
};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Opens a library: the plugin in it, and what it was made with.
pub type OpenLibrary = dyn Fn(&Path) -> Result<(Descriptor, String), String> + Send + Sync;

/// What a manager is made of.
pub struct Setup {
    /// the broker
    pub broker: Broker,
    /// its commands
    pub cli: Arc<Cli>,
    /// the configuration it was started with
    pub config: Arc<Mutex<Config>>,
    /// the directory `etc` of the release tree
    pub etc: PathBuf,
    /// plugins that are part of the program
    pub built_in: Vec<Descriptor>,
    /// opens libraries
    pub open_library: Arc<OpenLibrary>,
    /// the broker stops: from now on nothing is started or ended, and what starts is not waited for
    pub stopping: Arc<AtomicBool>,
}

/// What all plugins use of the broker.
pub(crate) struct Shared {
    pub broker: Broker,
    pub cli: Arc<Cli>,
    pub runtime: Arc<Runtime>,
    pub retaining: Retaining,
    web: OnceLock<Arc<dyn WebServer>>,
    manager: OnceLock<Weak<Manager>>,
}

impl Shared {
    pub fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        self.broker.post_alarm(id, severity, title, summary);
    }

    pub fn web(&self) -> Option<&Arc<dyn WebServer>> {
        self.web.get()
    }

    pub fn reloadables(&self) -> Vec<Reloadable> {
        self.manager().map_or_else(Vec::new, |m| m.reloadables())
    }

    pub fn reload(&self, name: &str) -> Result<(), String> {
        let manager = self.manager().ok_or("the broker stops")?;
        manager.reload_named(name)
    }

    fn manager(&self) -> Option<Arc<Manager>> {
        self.manager.get()?.upgrade()
    }
}

impl Reporter for Shared {
    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        Shared::alarm(self, id, severity, title, summary);
    }

    fn crashed(&self, guard: &Arc<Guard>) {
        let Some(manager) = self.manager() else {
            return;
        };
        let guard = Arc::clone(guard);
        // Who panicked may be an event loop, on which nothing may wait.
        let thread = std::thread::Builder::new()
            .name("plugin-off".into())
            .spawn(move || manager.switch_off(&guard));
        if let Err(error) = thread {
            log::error!("a plugin that is switched off stays in the tables: {error}");
        }
    }
}

/// A plugin that was switched off and is not to be passed by.
struct Off {
    name: String,
    refusals: Refusals,
}

/// Runs the plugins of a broker.
pub struct Manager {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<Mutex<Config>>,
    pub(crate) etc: PathBuf,
    pub(crate) built_in: Vec<Descriptor>,
    /// what opened libraries said of themselves
    pub(crate) opened: Mutex<BTreeMap<String, Descriptor>>,
    open_library: Arc<OpenLibrary>,
    watchdog: Watchdog,
    /// held by who starts or ends plugins
    pub(crate) changing: Mutex<()>,
    pub(crate) stopping: Arc<AtomicBool>,
    /// those that run, in the order of their starts
    lives: RwLock<Vec<Arc<Life>>>,
    off: Mutex<Vec<Off>>,
    /// the plugins are started with which the broker starts
    pub(crate) booting: AtomicBool,
}

impl Manager {
    /// A manager of plugins, none of which runs.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(setup: Setup) -> io::Result<Arc<Manager>> {
        let runtime = Arc::new(Runtime::default());
        setup
            .broker
            .access()
            .set_executor(Arc::clone(&runtime) as _);
        let broker = setup.broker.clone();
        let shared = Arc::new(Shared {
            retaining: Retaining::new(move |settings| broker.retain(settings)),
            broker: setup.broker,
            cli: setup.cli,
            runtime,
            web: OnceLock::new(),
            manager: OnceLock::new(),
        });
        let manager = Arc::new(Manager {
            shared: Arc::clone(&shared),
            config: setup.config,
            etc: setup.etc,
            built_in: setup.built_in,
            opened: Mutex::default(),
            open_library: setup.open_library,
            watchdog: Watchdog::start()?,
            changing: Mutex::default(),
            stopping: setup.stopping,
            lives: RwLock::default(),
            off: Mutex::default(),
            booting: AtomicBool::new(false),
        });
        // Set once, here.
        let _ = shared.manager.set(Arc::downgrade(&manager));
        Ok(manager)
    }

    /// Says who opens web listeners; before plugins start.
    pub fn set_web(&self, server: Arc<dyn WebServer>) {
        // A broker has one.
        let _ = self.shared.web.set(server);
    }

    /// A plugin that runs.
    pub(crate) fn life(&self, name: &str) -> Option<Arc<Life>> {
        let lives = self.lives.read();
        lives.iter().find(|l| *l.guard.name == *name).cloned()
    }

    /// All that run, in the order of their starts.
    pub(crate) fn lives(&self) -> Vec<Arc<Life>> {
        self.lives.read().clone()
    }

    /// Whether a plugin was switched off because it panicked.
    pub(crate) fn is_off(&self, name: &str) -> bool {
        self.off.lock().iter().any(|off| off.name == name)
    }

    /// The plugin of that name, and where it comes from.
    pub(crate) fn find(&self, name: &str) -> Result<(Descriptor, Source), PluginError> {
        if let Some(found) = self.built_in.iter().find(|d| d.name == name) {
            return Ok((found.clone(), Source::BuiltIn));
        }
        let Some(path) = emqttd_config::library(&self.etc, name) else {
            return Err(match find_plugin(name).filter(|_| self.has_file(name)) {
                None => PluginError::NotFound,
                Some(_) => failed(name, format!("not part of emqttd {VERSION}")),
            });
        };
        let opened = self.open(name, &path).map_err(|why| failed(name, why));
        opened.map(|(descriptor, made_with)| (descriptor, Source::Library { path, made_with }))
    }

    /// Opens the library in which the plugin `name` is to be.
    fn open(&self, name: &str, path: &Path) -> Result<(Descriptor, String), String> {
        let (descriptor, made_with) = (self.open_library)(path)?;
        if descriptor.name != name {
            return Err(format!(
                "{} holds the plugin {}; a library has the name of its plugin",
                path.display(),
                descriptor.name
            ));
        }
        let mut opened = self.opened.lock();
        opened.insert(name.into(), descriptor.clone());
        Ok((descriptor, made_with))
    }

    /// Starts a plugin and those it needs, and notes it in the file of loaded plugins.
    pub(crate) fn load_now(&self, asked: &str) -> Result<PluginDone, PluginError> {
        let _changing = self.changing.lock();
        let name = present_name(asked);
        self.must_go_on(name)?;
        let mut done = self.start_with_needs(name, asked)?;
        if name != asked {
            done.notes.push(renamed(asked, name));
            done.notes.extend(self.switched_on_for_now(asked, name));
        }
        done.notes.extend(self.note_in_file(|names| {
            if !names.iter().any(|other| present_name(other) == name) {
                names.push(name.into());
            }
        }));
        Ok(done)
    }

    /// For the name of a plugin that has become a switch of another one: what must stand in the file so that it
    /// is on after the next start, too, when the list says the present name.
    fn switched_on_for_now(&self, asked: &str, name: &str) -> Option<String> {
        let key = switch_of(asked)?;
        let (descriptor, _) = self.find(name).ok()?;
        let in_file = Keys::new(self.read_keys(name, &descriptor).ok()?.entries);
        (in_file.switch(key) != Some(true)).then(|| {
            format!("It is on until the next start: for longer, {key} = on must stand in the file of {name}.")
        })
    }

    /// Whether the broker has been told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Nothing is done to the plugin `name` when the broker stops.
    fn must_go_on(&self, name: &str) -> Result<(), PluginError> {
        match self.is_stopping() {
            true => Err(failed(name, "the broker stops")),
            false => Ok(()),
        }
    }

    /// Starts a plugin after those it needs. All or none. The caller holds `changing`.
    pub(crate) fn start_with_needs(
        &self,
        name: &str,
        asked: &str,
    ) -> Result<PluginDone, PluginError> {
        if self.life(name).is_some() {
            return Err(PluginError::AlreadyStarted);
        }
        let mut order = Vec::new();
        self.needs(name, &mut Vec::new(), &mut order)?;
        let mut done = PluginDone {
            name: name.into(),
            ..PluginDone::default()
        };
        for (descriptor, source) in order {
            let app = descriptor.name.to_string();
            let asked = if app == name { asked } else { &app };
            match self.start(descriptor, source, asked, None) {
                Ok(notes) => done.notes.extend(notes),
                Err(reason) => {
                    for started in done.started.iter().rev() {
                        self.end(started, End::Unload);
                    }
                    return Err(failed(&app, reason));
                }
            }
            done.started.push(app);
        }
        // Not before all of them run: those that are ended again must leave the door as it was.
        for app in &done.started {
            self.lift(app);
        }
        Ok(done)
    }

    /// Adds to `order` what must be started for `name`, and it last. `above` are those that need it.
    fn needs(
        &self,
        name: &str,
        above: &mut Vec<String>,
        order: &mut Vec<(Descriptor, Source)>,
    ) -> Result<(), PluginError> {
        if self.life(name).is_some() || order.iter().any(|(d, _)| d.name == name) {
            return Ok(());
        }
        if above.iter().any(|other| other == name) {
            return Err(failed(name, "it needs itself, by way of others"));
        }
        let (descriptor, source) = match self.find(name) {
            Err(PluginError::NotFound) if !above.is_empty() => {
                let needing = above.last().map_or("", String::as_str);
                return Err(failed(
                    needing,
                    format!("it needs {name}, which is not here"),
                ));
            }
            found => found?,
        };
        above.push(name.into());
        for other in &descriptor.depends {
            self.needs(other, above, order)?;
        }
        above.pop();
        order.push((descriptor, source));
        Ok(())
    }

    /// Starts one plugin, in the place of `old` if that is given. `asked` is the name under which it was
    /// asked for. Gives what the operator should know. What refuses in its place since its last end stays: see
    /// [`Manager::lift`].
    fn start(
        &self,
        descriptor: Descriptor,
        source: Source,
        asked: &str,
        old: Option<&Life>,
    ) -> Result<Vec<String>, String> {
        let name = descriptor.name.to_string();
        let keys = self.read_keys(asked, &descriptor)?;
        let notes = keys.warnings.iter().map(ToString::to_string).collect();
        self.begin(descriptor, source, Keys::new(keys.entries.clone()), old)?;
        self.config.lock().plugin_loaded(&name, keys);
        Ok(notes)
    }

    /// Starts a life, in the place of `old` if that is given.
    fn begin(
        &self,
        descriptor: Descriptor,
        source: Source,
        keys: Keys,
        old: Option<&Life>,
    ) -> Result<(), String> {
        let name = descriptor.name.to_string();
        let runtime = if descriptor.gateway {
            self.shared.runtime.of_gateways()
        } else {
            self.shared.runtime.handle()
        };
        let runtime = runtime.map_err(|e| e.to_string())?;
        let guard = Guard::new(&name, Arc::clone(&self.shared) as _);
        self.watchdog.add(&guard);
        let host = Arc::new(NativeHost::new(&self.shared, &guard, runtime.clone(), keys));
        if let Some(old) = old {
            host.inherit(&old.host);
        }
        let life = Life::start(
            descriptor,
            source,
            guard,
            host,
            runtime,
            self.patience(),
            &self.stopping,
        )?;
        let decides_anew = life.host.commit(old.map(|old| &*old.host));
        if decides_anew && !self.is_off(&name) {
            self.shared.broker.post_forget();
        }
        let version = life.descriptor.version.clone();
        {
            let mut lives = self.lives.write();
            match lives.iter().position(|l| l.guard.name == life.guard.name) {
                Some(at) => lives[at] = Arc::new(life),
                None => lives.push(Arc::new(life)),
            }
        }
        log::info!("plugin {name} {version} runs");
        Ok(())
    }

    /// Puts another life with other values of its keys in the place of one.
    pub(crate) fn begin_anew(&self, old: &Arc<Life>, keys: Keys) -> Result<(), String> {
        // Who asks is not to wait for as long as loading a plugin may take.
        let Some(_changing) = self.changing.try_lock() else {
            return Err("plugins are being loaded or unloaded; try again".into());
        };
        let name = &*old.guard.name;
        if self.is_stopping() || !self.life(name).is_some_and(|life| Arc::ptr_eq(&life, old)) {
            return Err("it is being unloaded".into());
        }
        self.begin(old.descriptor.clone(), old.source.clone(), keys, Some(old))?;
        if let Some(note) = old.retire(End::Unload).1 {
            log::warn!("{name}, before it was started anew: {note}");
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        match self.booting.load(Ordering::Acquire) {
            true => START_PATIENCE_AT_BOOT,
            false => START_PATIENCE,
        }
    }

    fn read_keys(&self, asked: &str, descriptor: &Descriptor) -> Result<PluginKeys, String> {
        let env = emqttd_management::client::environment();
        let given = self.config.lock().plugin_overrides(present_name(asked));
        let keys = emqttd_config::load_plugin_with(&self.etc, asked, &descriptor.keys, env, &given);
        keys.map_err(|problems| {
            let errors = problems.iter().filter(|p| Problem::is_error(p));
            let lines: Vec<String> = errors.map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    /// What stood in the place of a plugin that was switched off goes. Whether there was such a thing.
    pub(crate) fn lift(&self, name: &str) -> bool {
        let off: Vec<Off> = {
            let mut all = self.off.lock();
            let (these, others) = all.drain(..).partition(|off| off.name == name);
            *all = others;
            these
        };
        for off in &off {
            off.refusals.lift(&self.shared);
            let id = format!("plugin_crashed.{name}");
            self.shared.alarm(&id, Severity::Critical, "", None);
        }
        if !off.is_empty() {
            // Only now, when nobody is refused for the want of the plugin.
            self.shared.broker.post_forget();
        }
        !off.is_empty()
    }

    /// Ends a plugin that runs, and gives what the operator should know.
    fn end(&self, name: &str, why: End) -> Option<String> {
        let life = self.life(name)?;
        let (refusals, note) = life.retire(why);
        self.ended(&life, why, refusals);
        note
    }

    /// A plugin has ended.
    pub(crate) fn ended(&self, life: &Arc<Life>, why: End, refusals: Refusals) {
        let name = &*life.guard.name;
        if why == End::SwitchOff || !refusals.is_empty() {
            self.off.lock().push(Off {
                name: name.into(),
                refusals,
            });
        }
        self.lives.write().retain(|other| !Arc::ptr_eq(other, life));
        self.config.lock().plugin_unloaded(name);
        log::info!("plugin {name} has ended");
    }

    /// Ends a plugin and takes it off the file of loaded plugins.
    pub(crate) fn unload_now(&self, asked: &str) -> Result<PluginDone, PluginError> {
        let _changing = self.changing.lock();
        let name = present_name(asked);
        self.must_go_on(name)?;
        let mut done = PluginDone {
            name: name.into(),
            ..PluginDone::default()
        };
        if self.life(name).is_some() {
            let lives = self.lives.read();
            let needs = |life: &&Arc<Life>| life.descriptor.depends.iter().any(|d| d == name);
            if let Some(other) = lives.iter().find(needs) {
                return Err(failed(name, format!("{} needs it", other.guard.name)));
            }
            drop(lives);
            done.notes.extend(self.end(name, End::Unload));
        } else if !self.lift(name) {
            return Err(PluginError::NotStarted);
        }
        if name != asked {
            done.notes.push(renamed(asked, name));
        }
        done.notes
            .extend(self.note_in_file(|names| names.retain(|other| present_name(other) != name)));
        Ok(done)
    }

    /// Puts a newer form of a plugin in its place: of a library without a moment between the two.
    pub(crate) fn reload_now(&self, asked: &str) -> Result<PluginDone, PluginError> {
        let _changing = self.changing.lock();
        let name = present_name(asked);
        self.must_go_on(name)?;
        let old = self.life(name).ok_or(PluginError::NotStarted)?;
        let (descriptor, source) = self.find(name)?;
        let mut done = PluginDone {
            name: name.into(),
            ..PluginDone::default()
        };
        let beside = matches!(source, Source::Library { .. }) && !old.host.listens();
        if beside {
            let started = self.start(descriptor, source, name, Some(&old));
            done.notes.extend(started.map_err(|why| failed(name, why))?);
            done.notes.extend(old.retire(End::Unload).1);
            return Ok(done);
        }
        // Two lives of it cannot run beside each other. With an error in its file the old one goes on; one that
        // guards leaves the door shut meanwhile.
        let keys = self.read_keys(name, &descriptor);
        keys.map_err(|why| failed(name, why))?;
        done.notes.extend(self.end(name, End::Restart));
        let started = self.start(descriptor, source, name, None);
        let again = match (&started, &old.source) {
            (Err(_), Source::Library { .. }) => {
                let (descriptor, source) = (old.descriptor.clone(), old.source.clone());
                self.start(descriptor, source, name, None).is_ok()
            }
            _ => false,
        };
        if started.is_ok() || again {
            self.lift(name);
        }
        // Up to now retained messages were kept as the old life had wished it.
        old.host.retain_no_more();
        let state = match again {
            true => "the former runs again",
            false => "it does not run any more",
        };
        done.notes
            .extend(started.map_err(|why| failed(name, format!("{why}; {state}")))?);
        Ok(done)
    }

    /// Takes out a plugin that has panicked too often.
    fn switch_off(&self, guard: &Arc<Guard>) {
        let _changing = self.changing.lock();
        let name = &*guard.name;
        // It may be unloaded, or have another life by now.
        let Some(life) = self.life(name).filter(|l| Arc::ptr_eq(&l.guard, guard)) else {
            return;
        };
        let door = match life.host.decides() {
            true => "; nobody passes where it guarded until it is loaded or unloaded",
            false => "",
        };
        let summary = format!(
            "plugin {name} has panicked {} times within {} s and is switched off{door}",
            crate::MOST_PANICS,
            crate::PANIC_WINDOW.as_secs()
        );
        log::error!("{summary}");
        guard.alarm(
            "plugin_crashed",
            Severity::Critical,
            &format!("Plugin {name} is switched off"),
            Some(&summary),
        );
        self.end(name, End::SwitchOff);
    }

    /// Changes the file of loaded plugins, if there is to be one. A sentence when that fails.
    pub(crate) fn note_in_file(&self, change: impl FnOnce(&mut Vec<String>)) -> Option<String> {
        let path = self.shared.broker.settings().plugins_loaded_file.clone()?;
        let written = loaded_file::read(&path).and_then(|mut names| {
            change(&mut names);
            loaded_file::write(&path, &names)
        });
        let error = written.err()?;
        log::error!("{}: {error}", path.display());
        Some(format!(
            "{} could not be written, so that the next start does not know of it: {error}",
            path.display()
        ))
    }

    /// Answers a request for `/api/plugins/<name>/...`; `None` when no plugin that runs answers there.
    pub fn http(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let rest = request.path.strip_prefix("/api/plugins/")?;
        let (name, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let handler = self.life(name)?.host.http_handler()?;
        Some(handler.run(&HttpRequest {
            path: path.into(),
            ..request.clone()
        }))
    }
}

/// The name by which a plugin goes now.
pub(crate) fn present_name(name: &str) -> &str {
    find_plugin(name).map_or(name, |plugin| plugin.name)
}

fn renamed(asked: &str, name: &str) -> String {
    log::warn!("the plugin {asked} is called {name} now");
    format!("The plugin {asked} is called {name} now: use that name.")
}

pub(crate) fn failed(app: &str, reason: impl Into<String>) -> PluginError {
    PluginError::Failed {
        app: app.into(),
        reason: reason.into(),
    }
}
