//! `plugins`: the words for what whoever runs the plugins does.

use super::Core;
use crate::cli::Cli;
use std::fmt::Write as _;

/// A row of `plugins list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    /// its name, which is that of its file
    pub name: String,
    /// its version
    pub version: String,
    /// what it is for
    pub description: String,
    /// it runs
    pub active: bool,
}

/// Why a plugin could not be loaded, or unloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginError {
    /// it runs already
    AlreadyStarted,
    /// it does not run
    NotStarted,
    /// there is none of that name
    NotFound,
    /// it does not start, or cannot be missed
    Failed {
        /// the plugin that is the cause
        app: String,
        /// a sentence
        reason: String,
    },
}

/// The reason as EMQ prints it.
impl std::fmt::Display for PluginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PluginError::AlreadyStarted => f.write_str("already_started"),
            PluginError::NotStarted => f.write_str("not_started"),
            PluginError::NotFound => f.write_str("not_found"),
            PluginError::Failed { app, reason } => {
                let reason = reason.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "{{{app},\"{}\"}}", reason.trim_end().replace('\n', "; "))
            }
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginDone {
    /// the plugin's name as it is now
    pub name: String,
    /// plugins that were started for it, itself the last
    pub started: Vec<String>,
    /// what the operator should know
    pub notes: Vec<String>,
}

/// Who runs the plugins.
pub trait PluginControl: Send + Sync {
    /// Those there are, by the names of their files.
    fn list(&self) -> Vec<PluginRow>;
    /// Starts one, and notes it in the list of plugins to start.
    ///
    /// # Errors
    /// See [`PluginError`]; nothing has changed then.
    fn load(&self, name: &str) -> Result<PluginDone, PluginError>;
    /// Ends one, and takes it off that list.
    ///
    /// # Errors
    /// As [`PluginControl::load`].
    fn unload(&self, name: &str) -> Result<PluginDone, PluginError>;
    /// Has a newer form of it take its place.
    ///
    /// # Errors
    /// As [`PluginControl::load`].
    fn reload(&self, name: &str) -> Result<PluginDone, PluginError>;
    /// All about one: name and value of each line.
    fn show(&self, name: &str) -> Option<Vec<(String, String)>>;
    /// Gives a plugin that runs changed values of its keys.
    ///
    /// # Errors
    /// Why it does not take them: it goes on with the former.
    fn reconfigure(&self, name: &str, entries: Vec<emqttd_plugin_sdk::Entry>)
    -> Result<(), String>;
}

/// `plugins list|load|unload`, and `show` and `reload`, which EMQ did not have and its usage text does not
/// know.
pub fn register(cli: &Cli, core: &Core) {
    let core = core.clone();
    cli.register(
        "plugins",
        &[
            ("plugins list", "Show loaded plugins"),
            ("plugins load <Plugin>", "Load plugin"),
            ("plugins unload <Plugin>", "Unload plugin"),
        ],
        Box::new(move |call| match core.plugins() {
            Some(control) => plugins(call.args, &*control),
            // Only before the broker is up.
            None => match call.args {
                ["list"] | ["load" | "unload" | "reload" | "show", _] => {
                    Some("plugins are not started yet\n".into())
                }
                _ => None,
            },
        }),
    );
}

fn plugins(args: &[&str], control: &dyn PluginControl) -> Option<String> {
    Some(match *args {
        ["list"] => control.list().iter().map(row).collect(),
        ["load", name] => match control.load(name) {
            Ok(done) => said(&done, "loaded"),
            Err(error) => format!("load plugin error: {error}\n"),
        },
        ["unload", name] => match control.unload(name) {
            Ok(done) => said(&done, "unloaded"),
            Err(error) => format!("unload plugin error: {error}\n"),
        },
        ["reload", name] => match control.reload(name) {
            Ok(done) => said(&done, "reloaded"),
            Err(error) => format!("reload plugin error: {error}\n"),
        },
        ["show", name] => match control.show(name) {
            Some(facts) => facts
                .iter()
                .map(|(name, value)| format!("{name:<20}: {value}\n"))
                .collect(),
            None => "Not Found.\n".into(),
        },
        _ => return None,
    })
}

fn said(done: &PluginDone, what: &str) -> String {
    // What EMQ says comes last: scripts look for it there.
    let mut out = String::new();
    for note in &done.notes {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{note}");
    }
    if !done.started.is_empty() {
        let _ = writeln!(out, "Start apps: [{}]", done.started.join(","));
    }
    let _ = writeln!(out, "Plugin {} {what} successfully.", done.name);
    out
}

fn row(plugin: &PluginRow) -> String {
    format!(
        "Plugin({}, version={}, description={}, active={})\n",
        plugin.name, plugin.version, plugin.description, plugin.active
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use parking_lot::Mutex;

    /// Knows the plugins `one` and `two`, of which the latter needs the former.
    #[derive(Default)]
    struct Two(Mutex<Vec<String>>);

    impl PluginControl for Two {
        fn list(&self) -> Vec<PluginRow> {
            let active = |name: &str| self.0.lock().iter().any(|n| n == name);
            ["one", "two"]
                .map(|name| PluginRow {
                    name: name.into(),
                    version: "1.2".into(),
                    description: "For tests".into(),
                    active: active(name),
                })
                .into()
        }

        fn load(&self, name: &str) -> Result<PluginDone, PluginError> {
            let mut running = self.0.lock();
            match name {
                _ if running.iter().any(|n| n == name) => Err(PluginError::AlreadyStarted),
                "two" => {
                    running.extend(["one".into(), "two".into()]);
                    Ok(PluginDone {
                        name: name.into(),
                        started: running.clone(),
                        notes: vec!["Mind this.".into()],
                    })
                }
                "bad" => Err(PluginError::Failed {
                    app: "bad".into(),
                    reason: "a \"word\" in\ntwo lines\n".into(),
                }),
                _ => Err(PluginError::NotFound),
            }
        }

        fn unload(&self, name: &str) -> Result<PluginDone, PluginError> {
            let mut running = self.0.lock();
            let at = running
                .iter()
                .position(|n| n == name)
                .ok_or(PluginError::NotStarted)?;
            Ok(PluginDone {
                name: running.remove(at),
                ..PluginDone::default()
            })
        }

        fn reload(&self, name: &str) -> Result<PluginDone, PluginError> {
            let there = self.0.lock().iter().any(|n| n == name);
            let done = PluginDone {
                name: name.into(),
                ..PluginDone::default()
            };
            there.then_some(done).ok_or(PluginError::NotStarted)
        }

        fn show(&self, name: &str) -> Option<Vec<(String, String)>> {
            (name == "one").then(|| vec![("name".into(), "one".into())])
        }

        fn reconfigure(&self, _: &str, _: Vec<emqttd_plugin_sdk::Entry>) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn the_words_of_emq() {
        let control = Two::default();
        let ask = |args: &[&str]| plugins(args, &control).unwrap();
        assert_eq!(
            ask(&["list"]).lines().next(),
            Some("Plugin(one, version=1.2, description=For tests, active=false)")
        );
        assert_eq!(
            ask(&["load", "two"]),
            "Mind this.\nStart apps: [one,two]\nPlugin two loaded successfully.\n"
        );
        assert_eq!(
            ask(&["load", "two"]),
            "load plugin error: already_started\n"
        );
        assert_eq!(ask(&["load", "nope"]), "load plugin error: not_found\n");
        assert_eq!(
            ask(&["load", "bad"]),
            "load plugin error: {bad,\"a \\\"word\\\" in; two lines\"}\n"
        );
        assert_eq!(
            ask(&["reload", "two"]),
            "Plugin two reloaded successfully.\n"
        );
        assert_eq!(
            ask(&["unload", "two"]),
            "Plugin two unloaded successfully.\n"
        );
        assert_eq!(
            ask(&["unload", "two"]),
            "unload plugin error: not_started\n"
        );
        assert_eq!(
            ask(&["reload", "two"]),
            "reload plugin error: not_started\n"
        );
        assert_eq!(ask(&["show", "one"]), "name                : one\n");
        assert_eq!(ask(&["show", "two"]), "Not Found.\n");
        assert_eq!(plugins(&["load"], &control), None);
    }
}
