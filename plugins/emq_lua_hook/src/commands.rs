//! The verb `luahook`, and loading what is there when the plugin starts.

use crate::emq::Library;
use crate::engine::{Engine, ScriptStatus};
use crate::script::unix_seconds;
use crate::scripts::{Directory, Files, Unread, name_of, word};
use emqttd_plugin_sdk::{Call, Context, Reloadable, Reply};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// Rows of the usage text; EMQ had the first five.
const USAGE: [(&str, &str); 7] = [
    ("luahook load <Script>", "load lua script into hook"),
    ("luahook unload <Script>", "unload lua script from hook"),
    ("luahook reload <Script>", "reload lua script into hook"),
    (
        "luahook enable <Script>",
        "enable lua script and load it into hook",
    ),
    (
        "luahook disable <Script>",
        "unload lua script out of hook and disable it",
    ),
    ("luahook list", "list lua scripts"),
    (
        "luahook status [<Script>]",
        "calls, errors and cost of lua scripts",
    ),
];
/// Rows that `luahook` alone prints, as scripts of operators know them.
const EMQ_ROWS: usize = 5;

/// Why each script that could not be loaded was not.
type Failed = BTreeMap<String, String>;

/// The scripts of the directory, and what the engine has of them.
pub(crate) struct Scripts {
    ctx: Context,
    directory: Directory,
    engine: Arc<Engine>,
    library: Arc<Library>,
    /// Whoever loads or renames holds it, so that one does so at a time.
    failed: Mutex<Failed>,
    me: Weak<Scripts>,
}

impl Scripts {
    /// None is loaded yet.
    pub fn new(
        ctx: &Context,
        dir: PathBuf,
        engine: &Arc<Engine>,
        library: &Arc<Library>,
    ) -> Arc<Scripts> {
        Arc::new_cyclic(|me| Scripts {
            ctx: ctx.clone(),
            directory: Directory::new(dir),
            engine: Arc::clone(engine),
            library: Arc::clone(library),
            failed: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// Loads all that are on, by name. One that cannot be loaded is passed over.
    pub fn load_all(&self) {
        let list = match self.directory.list() {
            Ok(list) => list,
            Err(error) => {
                let path = self.directory.path().display();
                return log::warn!("emq_lua_hook: no scripts: {path}: {error}");
            }
        };
        let mut failed = self.failed.lock();
        let on = list.iter().filter(|(_, files)| files.on);
        for (name, _) in on {
            // What went wrong is in the log.
            let _ = self.load(name, &mut failed);
        }
    }

    /// Adds the verb.
    pub fn register(self: &Arc<Self>) {
        let scripts = Arc::clone(self);
        self.ctx
            .command("luahook", &USAGE, move |call| scripts.answer(call));
    }

    fn answer(&self, call: Call<'_>) -> Reply {
        Reply::Text(match call.args {
            [] => USAGE[..EMQ_ROWS]
                .iter()
                .fold(String::new(), |mut rows, (call, what)| {
                    let _ = writeln!(rows, "{call:<48}# {what}");
                    rows
                }),
            ["list"] => self.list(),
            ["status"] => self.status(),
            ["status", script] => self.status_of(script),
            [
                verb @ ("load" | "reload" | "unload" | "enable" | "disable"),
                script,
            ] => self.switch(verb, script),
            _ => return Reply::Usage,
        })
    }

    fn switch(&self, verb: &str, script: &str) -> String {
        let name = match name_of(script) {
            Ok(name) => name,
            // Nothing of that name is loaded then, which is all that was asked for.
            Err(_) if verb == "unload" => return success(verb, &shown(script)),
            Err(why) => return failure(verb, &shown(script), "", why),
        };
        let mut failed = self.failed.lock();
        match verb {
            "unload" => {
                self.unload(name, &mut failed);
                success(verb, name)
            }
            "enable" => self.enable(name, &mut failed),
            "disable" => self.disable(name, &mut failed),
            _ => self.loaded(verb, name, &mut failed),
        }
    }

    /// Loads a script anew. What is wrong with it is logged: who has asked for it may be a script of an operator.
    fn load(&self, name: &str, failed: &mut Failed) -> Result<(), Unread> {
        let loaded = self
            .directory
            .read(name)
            .and_then(|source| self.engine.load(name, &source).map_err(Unread::Wrong));
        match &loaded {
            Ok(()) => {
                log::info!("emq_lua_hook: {name}.lua is loaded");
                failed.remove(name);
                self.offer(name);
            }
            Err(Unread::NotThere) => {
                failed.remove(name);
            }
            Err(Unread::Wrong(why)) => {
                log::error!("emq_lua_hook: {name}.lua is not loaded: {why}");
                failed.insert(name.into(), why.clone());
            }
        }
        loaded
    }

    /// Lets `emq_reloader` watch the file, and `emqttd_ctl reload <name>.lua` load it.
    fn offer(&self, name: &str) {
        let file = format!("{name}.lua");
        let what = Reloadable {
            files: vec![self.directory.path().join(&file)],
            name: file,
        };
        let (me, name) = (Weak::clone(&self.me), name.to_string());
        self.ctx.reloadable(what, move || {
            let Some(scripts) = me.upgrade() else {
                return Err("the plugin ends".into());
            };
            // Those that were loaded once stay in the list of what can be reloaded.
            if scripts.find(&name).is_none() {
                return Err(format!("it is not loaded (luahook load {name})"));
            }
            let mut failed = scripts.failed.lock();
            scripts.load(&name, &mut failed).map_err(|why| match why {
                Unread::NotThere => "its file is gone; it goes on as it was loaded".into(),
                Unread::Wrong(why) => why,
            })
        });
    }

    fn unload(&self, name: &str, failed: &mut Failed) {
        self.engine.unload(name);
        failed.remove(name);
    }

    /// Loads a script, and says so.
    fn loaded(&self, verb: &str, name: &str, failed: &mut Failed) -> String {
        let why = match self.load(name, failed) {
            Ok(()) => {
                let mut text = success(verb, name);
                if let Some(status) = self.find(name).filter(|status| !status.unknown.is_empty()) {
                    let _ = writeln!(text, "no such hook: {}", shown(&status.unknown.join(", ")));
                }
                return text;
            }
            Err(Unread::NotThere) => String::new(),
            Err(Unread::Wrong(why)) => shown(&why),
        };
        let mut text = failure(verb, name, "", &why);
        if self.find(name).is_some() {
            let _ = writeln!(text, "{name} goes on as it was loaded before");
        }
        text
    }

    fn enable(&self, name: &str, failed: &mut Failed) -> String {
        match self.directory.enable(name) {
            Ok(()) => self.loaded("enable", name, failed),
            Err(error) => {
                let hint = match error.kind() {
                    ErrorKind::AlreadyExists => both(name),
                    ErrorKind::NotFound if self.directory.files(name).on => {
                        format!("{name}.lua is there: it is enabled")
                    }
                    _ => String::new(),
                };
                failure("enable", name, &word(&error), &hint)
            }
        }
    }

    fn disable(&self, name: &str, failed: &mut Failed) -> String {
        self.unload(name, failed);
        match self.directory.disable(name) {
            Ok(()) => success("disable", name),
            Err(error) => {
                let mut hint = match error.kind() {
                    ErrorKind::NotFound => String::new(),
                    ErrorKind::AlreadyExists => both(name) + "; ",
                    _ => format!("{error}; "),
                };
                if !hint.is_empty() {
                    hint += "it is unloaded now, and is loaded again with the plugin";
                }
                failure("disable", name, &word(&error), &hint)
            }
        }
    }

    fn find(&self, name: &str) -> Option<ScriptStatus> {
        let mut all = self.engine.status().into_iter();
        all.find(|status| status.name == name)
    }

    /// All scripts, of the directory and of the engine, and what each is at.
    fn all(&self) -> Result<BTreeMap<String, Row>, String> {
        let failed = self.failed.lock().clone();
        let list = self.directory.list();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (name, files) in list.as_ref().ok().into_iter().flatten() {
            let row = rows.entry(name.clone()).or_default();
            row.files = *files;
            row.failed = failed.get(name).cloned();
        }
        for status in self.engine.status() {
            let row = rows.entry(status.name.clone()).or_default();
            row.status = Some(status);
        }
        match list {
            Err(error) if rows.is_empty() => {
                Err(format!("{}: {error}\n", self.directory.path().display()))
            }
            _ => Ok(rows),
        }
    }

    fn list(&self) -> String {
        let rows = match self.all() {
            Ok(rows) => rows,
            Err(why) => return why,
        };
        rows.iter().fold(String::new(), |mut text, (name, row)| {
            let _ = writeln!(text, "{name:<32} {}", row.state());
            text
        })
    }

    fn status(&self) -> String {
        let rows = match self.all() {
            Ok(rows) => rows,
            Err(why) => return why,
        };
        let mut text = String::new();
        for (name, row) in &rows {
            row.write(name, &mut text);
        }
        let kv = self.library.kv_figures();
        let _ = writeln!(
            text,
            "emq.kv: {} keys, {} of {} bytes",
            kv.entries, kv.bytes, kv.max_bytes
        );
        text
    }

    fn status_of(&self, script: &str) -> String {
        let rows = match self.all() {
            Ok(rows) => rows,
            Err(why) => return why,
        };
        let mut text = String::new();
        match name_of(script)
            .ok()
            .and_then(|name| rows.get_key_value(name))
        {
            Some((name, row)) => row.write(name, &mut text),
            None => text = format!("no script \"{}\"\n", shown(script)),
        }
        text
    }
}

/// What a script is at.
#[derive(Default)]
struct Row {
    files: Files,
    failed: Option<String>,
    status: Option<ScriptStatus>,
}

impl Row {
    fn state(&self) -> &'static str {
        match &self.status {
            Some(status) if status.suspended => "suspended",
            Some(_) => "loaded",
            None if self.failed.is_some() => "broken",
            None if self.files.on => "not loaded",
            None => "disabled",
        }
    }

    fn write(&self, name: &str, text: &mut String) {
        let _ = writeln!(text, "{name}");
        let mut line = |field: &str, value: &str| {
            let _ = writeln!(text, "  {field:<12}: {value}");
        };
        line("state", self.state());
        if self.files.on && self.files.off {
            line("files", &both(name));
        }
        if let Some(why) = &self.failed {
            line("load error", &shown(why));
        }
        let Some(status) = &self.status else {
            return;
        };
        line("hooks", &status.hooks.join(", "));
        if !status.unknown.is_empty() {
            line("no such hook", &shown(&status.unknown.join(", ")));
        }
        line("calls", &status.calls.to_string());
        line("errors", &status.errors.to_string());
        line("cut off", &status.cut_off.to_string());
        let each = status.micros as f64 / (status.calls.max(1)) as f64;
        line(
            "time",
            &format!("{} us, {each:.1} us a call", status.micros),
        );
        if let Some((why, at)) = &status.last_error {
            line("last error", &format!("{}, {}", ago(*at), shown(why)));
        }
    }
}

/// How long ago a moment is, of Unix seconds.
fn ago(at: u64) -> String {
    let seconds = unix_seconds().saturating_sub(at);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

fn both(name: &str) -> String {
    format!("both {name}.lua and {name}.lua.x are there, remove one")
}

fn success(verb: &str, name: &str) -> String {
    format!("success to {verb} \"{name}\"\n")
}

/// EMQ's line, and one with the reason where EMQ had none.
fn failure(verb: &str, name: &str, due_to: &str, why: &str) -> String {
    let mut text = format!("fail to {verb} \"{name}\"");
    if !due_to.is_empty() {
        let _ = write!(text, " due to {due_to}");
    }
    text.push('\n');
    if !why.is_empty() {
        text += why;
        text.push('\n');
    }
    text
}

/// On a terminal: what clients have sent may be in an error.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
