//! The scripts that are loaded.

use crate::budget::Budget;
use crate::emq::Library;
use crate::hooks::{Hook, LuaHook};
use crate::sandbox::Sandbox;
use crate::script::Script;
use crate::settings::Settings;
use crate::vm::Recipe;
use arc_swap::{ArcSwap, Guard};
use emqttd_plugin_sdk::{Context, Severity, StartError};
use mlua::{IntoLuaMulti, MultiValue};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// The scripts that are loaded, and their interpreters.
pub(crate) struct Engine {
    ctx: Context,
    settings: Settings,
    library: Arc<Library>,
    interpreters: usize,
    /// held while scripts are loaded and unloaded: hooks for which the broker calls us
    changing: Mutex<Vec<Hook>>,
    scripts: ArcSwap<Scripts>,
    me: Weak<Engine>,
}

/// All that are loaded.
#[derive(Default)]
struct Scripts {
    /// by name: in this order they are called
    all: Vec<Arc<Script>>,
    /// those that want each of [`Hook::ALL`]
    chains: [Vec<Arc<Script>>; Hook::ALL.len()],
}

/// What a script is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptStatus {
    /// without `.lua`
    pub name: String,
    /// hooks that it has registered, in the order of the sheet
    pub hooks: Vec<&'static str>,
    /// names that its `register_hook` has returned and that are no hooks
    pub unknown: Vec<String>,
    /// callbacks called
    pub calls: u64,
    /// of them failed: errors, and returns that cannot be used; those that were cut off are among them
    pub errors: u64,
    /// of them were cut off by a limit
    pub cut_off: u64,
    /// the last error with its file and line, and when it was (unix seconds)
    pub last_error: Option<(String, u64)>,
    /// it has been cut off too often in a row, and is not called until it is loaded again
    pub suspended: bool,
    /// time spent in its callbacks, microseconds
    pub micros: u64,
}

/// A script as a hook calls it.
pub(crate) struct Member<'a> {
    engine: &'a Engine,
    script: &'a Script,
}

/// The scripts of one hook, as they are at one moment.
pub(crate) struct Members<'a> {
    engine: &'a Engine,
    hook: Hook,
    scripts: Guard<Arc<Scripts>>,
}

impl Engine {
    /// Without scripts.
    ///
    /// # Errors
    /// When not even an interpreter without a script can be made within the limits.
    pub fn new(
        ctx: &Context,
        settings: Settings,
        library: Arc<Library>,
    ) -> Result<Arc<Engine>, StartError> {
        let budget = Budget::new("", settings.limits);
        Sandbox::new(&budget, &library)
            .map_err(|error| StartError(format!("no interpreter can be made: {error}")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new_cyclic(|me| Engine {
            ctx: ctx.clone(),
            settings,
            library,
            interpreters: cores,
            changing: Mutex::default(),
            scripts: ArcSwap::default(),
            me: Weak::clone(me),
        }))
    }

    /// Loads a script in the place of the one with its name.
    ///
    /// # Errors
    /// What is wrong with it, with file and line; the old one stays loaded then.
    pub fn load(&self, name: &str, source: &[u8]) -> Result<(), String> {
        let mut hooks = self.changing.lock();
        let recipe = Recipe {
            name: name.into(),
            source: source.into(),
            limits: self.settings.limits,
            keep: self.settings.keep,
            library: Arc::clone(&self.library),
        };
        let script = Arc::new(Script::load(recipe, self.interpreters)?);
        for unknown in &script.registered().unknown {
            log::warn!(
                "emq_lua_hook: register_hook of {name}.lua returned {unknown:?}, which is no hook"
            );
        }
        if script.registered().hooks.is_empty() {
            log::warn!("emq_lua_hook: {name}.lua has registered no hook, and is never called");
        }
        let mut all = self.others(name);
        let at = all.partition_point(|other| other.name() < name);
        all.insert(at, Arc::clone(&script));
        self.scripts.store(Arc::new(Scripts::of(all)));
        self.clear_alarm(name);
        for hook in &script.registered().hooks {
            self.join(&mut hooks, *hook);
        }
        Ok(())
    }

    /// Takes a script out; `false` = there is none of that name.
    pub fn unload(&self, name: &str) -> bool {
        let _changing = self.changing.lock();
        let before = self.scripts.load().all.len();
        let all = self.others(name);
        if all.len() == before {
            return false;
        }
        self.scripts.store(Arc::new(Scripts::of(all)));
        self.clear_alarm(name);
        true
    }

    /// All scripts by name.
    pub fn status(&self) -> Vec<ScriptStatus> {
        let scripts = self.scripts.load();
        scripts.all.iter().map(|script| script.status()).collect()
    }

    /// The end: nothing of it is left in the list of alarms.
    pub fn stop(&self) {
        let _changing = self.changing.lock();
        let scripts = self.scripts.swap(Arc::default());
        for script in &scripts.all {
            self.clear_alarm(script.name());
        }
    }

    /// The scripts that want a hook.
    pub fn chain(&self, hook: Hook) -> Members<'_> {
        Members {
            engine: self,
            hook,
            scripts: self.scripts.load(),
        }
    }

    /// What a script fails at does not happen (`lua.on_error = refuse`).
    pub fn refuses(&self) -> bool {
        self.settings.refuse
    }

    fn others(&self, name: &str) -> Vec<Arc<Script>> {
        let scripts = self.scripts.load();
        let others = scripts.all.iter().filter(|other| other.name() != name);
        others.cloned().collect()
    }

    /// From the first script on that wants a hook the broker calls us for it, until the plugin ends.
    fn join(&self, joined: &mut Vec<Hook>, hook: Hook) {
        if joined.contains(&hook) {
            return;
        }
        if let Some(engine) = self.me.upgrade() {
            joined.push(hook);
            self.ctx.hooks(0, LuaHook { hook, engine });
        }
    }

    #[cold]
    fn suspended(&self, script: &Script, why: &str) {
        let title = format!("Lua script {}.lua is suspended", script.name());
        let what = match self.refuses() {
            true => "what it was asked about is refused",
            false => "the broker goes on without it",
        };
        let summary = format!("cut off too often, {what} until it is loaded again; last: {why}");
        let id = alarm(script.name());
        self.ctx.alarm(&id, Severity::Error, &title, Some(&summary));
        // It may have been taken out or loaded anew while the call was under way, and its alarm been cleared.
        let scripts = self.scripts.load();
        if !scripts.all.iter().any(|now| std::ptr::eq(&**now, script)) {
            self.clear_alarm(script.name());
        }
    }

    fn clear_alarm(&self, name: &str) {
        self.ctx.alarm(&alarm(name), Severity::Error, "", None);
    }
}

fn alarm(name: &str) -> String {
    format!("lua_script_{name}")
}

impl Scripts {
    fn of(all: Vec<Arc<Script>>) -> Scripts {
        let chain = |hook: &Hook| {
            let wanting = all.iter().filter(|s| s.registered().hooks.contains(hook));
            wanting.cloned().collect()
        };
        Scripts {
            chains: Hook::ALL.each_ref().map(chain),
            all,
        }
    }
}

impl Members<'_> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        let chain = &self.scripts.chains[self.hook as usize];
        let engine = self.engine;
        chain.iter().map(move |script| Member { engine, script })
    }
}

impl Member<'_> {
    /// Calls a callback, and has `read` look at what it returns; `None` = it failed. `bytes` is the size of the
    /// arguments, where they are large.
    pub fn call<T>(
        &self,
        hook: Hook,
        bytes: usize,
        args: impl IntoLuaMulti,
        read: impl FnOnce(MultiValue) -> Result<T, String>,
    ) -> Option<T> {
        let suspend = |script: &Script, why: &str| self.engine.suspended(script, why);
        self.script.call(hook, bytes, args, read, suspend)
    }
}
