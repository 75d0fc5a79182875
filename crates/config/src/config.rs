//! The merged table of keys: value and origin of each, and changing some of them while running.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use emqttd_plugin_sdk::KeyKind;

use crate::plugin_keys::Stranger;
use crate::schema::{self, CORE, Key};
use crate::value::{Checked, Type, Value};
use crate::{Problem, Settings, assemble, own};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// a line of a file
    File {
        /// the file, below the `etc` directory that was loaded
        path: PathBuf,
        /// line, counted from 1
        line: usize,
    },
    /// an environment variable
    Environment(String),
    /// the schema
    Default,
    /// `emqttd_ctl set`
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
            Self::Set => f.write_str("set"),
        }
    }
}

/// When a changed value acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// settable; acts at once
    Now,
    /// settable; acts for sessions created afterwards
    NewSessions,
    /// settable; acts once the listener has been restarted
    ListenerRestart,
    /// settable; acts once the broker has been restarted, which forgets it: change the file too
    BrokerRestart,
    /// only read at start
    NotSettable,
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "at once",
            Self::NewSessions => "new sessions",
            Self::ListenerRestart => "listener restart",
            Self::BrokerRestart => "broker restart",
            Self::NotSettable => "not settable",
        })
    }
}

/// A key of [`Config::report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// the key
    pub key: String,
    /// its value in effect, `None` when unset; `***` for a password
    pub value: Option<String>,
    /// where the value comes from
    pub origin: Origin,
    /// the schema's default
    pub default: Option<&'static str>,
    /// when a running broker takes a new value
    pub reload: Reload,
    /// `emqttd` or the plugin that owns the key
    pub app: &'static str,
    /// what the key means
    pub meaning: &'static str,
}

/// A key of [`Config::settable`], for `emqttd_ctl set` and the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettableKey<'a> {
    /// the key
    pub key: &'a str,
    /// the value as EMQ prints it: durations in milliseconds, sizes in bytes, floats as `0.7500`
    pub value: String,
    /// `enum`, `integer`, `duration`, ...
    pub datatype: &'static str,
    /// `emqttd` or the plugin
    pub app: &'a str,
    /// it is set, and not to be shown to everybody
    pub secret: bool,
}

/// Why [`Config::set`] or [`Config::show`] did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// `Invalid config --app: <app>`
    InvalidApp(String),
    /// `Invalid config keys: ...`: no such key (only of [`Config::show`])
    InvalidKey(String),
    /// `The following config keys are not settable: ["<key>"]`
    NotSettable(String),
    /// `"<key>": error type is: "<value>"`
    BadValue {
        /// the key
        key: String,
        /// the value that was refused
        value: String,
        /// what would be right, for logs
        reason: String,
    },
}

/// The text EMQ prints for the error.
impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidApp(app) => write!(f, "Invalid config --app: {app}"),
            Self::InvalidKey(key) => write!(f, "Invalid config keys: [\"{key}\"]"),
            Self::NotSettable(key) => {
                write!(f, "The following config keys are not settable: [\"{key}\"]")
            }
            Self::BadValue { key, value, .. } => {
                write!(f, "\"{key}\": error type is: \"{value}\"")
            }
        }
    }
}

impl std::error::Error for SetError {}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) parsed: Value,
    pub(crate) origin: Origin,
    pub(crate) row: &'static Key,
}

/// Every key that a file, the environment or `set` gave a value.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub(crate) entries: HashMap<String, Entry>,
    /// the keys in the order of the files
    pub(crate) order: Vec<String>,
    pub(crate) loaded_plugins: Vec<String>,
    pub(crate) plugins_from_environment: bool,
    /// loaded plugins that brought their own keys
    pub(crate) strangers: Vec<Stranger>,
    /// by plugin, what [`Config::set_plugin`] changed: it counts whenever the plugin is loaded
    pub(crate) overrides: BTreeMap<String, Vec<(String, String)>>,
}

impl Config {
    /// The value of `key` in effect as text: given, or else the schema's default.
    pub fn get(&self, key: &str) -> Option<&str> {
        match self.entries.get(key) {
            Some(entry) => Some(&entry.value),
            None => schema::find(key)?.default,
        }
    }

    /// The given keys of a plugin (or of `emqttd`) with their values as text, in the order of the files.
    pub fn of_app(&self, app: &str) -> Vec<(&str, &str)> {
        self.given()
            .filter(|(_, entry)| entry.row.app == app)
            .map(|(key, entry)| (key, entry.value.as_str()))
            .collect()
    }

    /// Plugins to start, in order, under their present names: `EMQ_LOADED_PLUGINS` or else
    /// the file that `mqtt.plugins.loaded_file` names.
    pub fn loaded_plugins(&self) -> &[String] {
        &self.loaded_plugins
    }

    /// Whether [`Config::loaded_plugins`] come from the environment; the file is then to be rewritten.
    pub fn plugins_from_environment(&self) -> bool {
        self.plugins_from_environment
    }

    /// Every key with value, origin, default and reload class, for `emqttd check-config`: first all
    /// keys with a fixed name in the order of the shipped files, then listeners, rules and other keys
    /// with a free word as they stand in the files.
    pub fn report(&self) -> Vec<KeyReport> {
        let fixed = schema::keys()
            .filter(|row| row.is_concrete())
            .map(|row| self.key_report(row.pattern, row));
        let free = self
            .given()
            .filter(|(_, entry)| !entry.row.is_concrete())
            .map(|(key, entry)| self.key_report(key, entry.row));
        fixed.chain(free).collect()
    }

    fn key_report(&self, key: &str, row: &'static Key) -> KeyReport {
        let given = self.entries.get(key);
        let value = given.map(|entry| entry.value.as_str()).or(row.default);
        KeyReport {
            key: key.to_owned(),
            value: value.map(|value| match row.kind {
                Type::Secret if !value.is_empty() => "***".to_owned(),
                _ => value.to_owned(),
            }),
            origin: given.map_or(Origin::Default, |entry| entry.origin.clone()),
            default: row.default,
            reload: row.reload,
            app: row.app,
            meaning: row.meaning,
        }
    }

    /// [`Config::report`] as text, one line for each key that has a value.
    pub fn render_report(&self) -> String {
        let mut out = String::new();
        for key in self.report() {
            let Some(value) = &key.value else { continue };
            let default = match key.default {
                _ if key.origin == Origin::Default => String::new(),
                Some(default) => format!(", default {default}"),
                None => ", no default".to_owned(),
            };
            let _ = writeln!(
                out,
                "{} = {value}    # {}{default}; {}",
                key.key, key.origin, key.reload
            );
        }
        out
    }

    /// Keys that [`Config::set`] takes, with their values, for the apps that run.
    pub fn settable(&self) -> Vec<SettableKey<'_>> {
        let table = schema::keys()
            .filter(|row| row.reload != Reload::NotSettable && row.is_concrete())
            .filter(|row| self.runs(row.app))
            .map(|row| SettableKey {
                key: row.pattern,
                value: self.printed(row),
                datatype: row.kind.datatype(),
                app: row.app,
                secret: row.kind == Type::Secret
                    && self.get(row.pattern).is_some_and(|v| !v.is_empty()),
            });
        let strangers = self.strangers.iter().flat_map(|stranger| {
            stranger.hot().map(|key| SettableKey {
                key: &key.name,
                value: printed_own(stranger, key),
                datatype: own::datatype(&key.kind),
                app: &stranger.name,
                secret: matches!(key.kind, KeyKind::Secret)
                    && stranger.value(&key.name).is_some_and(|v| !v.is_empty()),
            })
        });
        table.chain(strangers).collect()
    }

    /// The value of a key as EMQ prints it, for `emqttd_ctl show`.
    ///
    /// # Errors
    /// [`SetError::InvalidApp`] or [`SetError::InvalidKey`].
    pub fn show(&self, app: &str, key: &str) -> Result<String, SetError> {
        if let Some(stranger) = self.strangers.iter().find(|s| s.name == app) {
            let found = stranger.hot().find(|hot| hot.name == key);
            return found
                .map(|key| printed_own(stranger, key))
                .ok_or_else(|| SetError::InvalidKey(key.to_owned()));
        }
        match self.settable_row(app, key)? {
            Some(row) => Ok(self.printed(row)),
            None => Err(SetError::InvalidKey(key.to_owned())),
        }
    }

    /// Changes a running value. The file is not written.
    ///
    /// # Errors
    /// See [`SetError`]; the configuration is then unchanged.
    pub fn set(&mut self, app: &str, key: &str, value: &str) -> Result<Settings, SetError> {
        if let Some(stranger) = self.strangers.iter_mut().find(|s| s.name == app) {
            set_own(stranger, key, value)?;
            self.override_again(app, key, value);
            return Ok(assemble::settings(self).0);
        }
        let Some(row) = self.settable_row(app, key)? else {
            return Err(SetError::NotSettable(key.to_owned()));
        };
        let bad = |reason: String| SetError::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            reason,
        };
        let checked = row.kind.check(value).map_err(bad)?;
        let mut changed = self.clone();
        changed.insert(key, value, checked, Origin::Set, row);
        let (settings, problems) = assemble::settings(&changed);
        if let Some(problem) = problems.iter().find(|problem| problem.is_error()) {
            return Err(bad(problem.message.clone()));
        }
        changed.override_again(app, key, value);
        *self = changed;
        Ok(settings)
    }

    /// What [`Config::set_plugin`] has said of the key before must not come back when the plugin is loaded anew.
    fn override_again(&mut self, app: &str, key: &str, value: &str) {
        let given = self.overrides.get_mut(app).into_iter().flatten();
        for (_, former) in given.filter(|(other, _)| other == key) {
            value.clone_into(former);
        }
    }

    pub(crate) fn insert(
        &mut self,
        key: &str,
        value: &str,
        checked: Checked,
        origin: Origin,
        row: &'static Key,
    ) {
        let entry = Entry {
            value: checked.text.unwrap_or_else(|| value.to_owned()),
            parsed: checked.value,
            origin,
            row,
        };
        if self.entries.insert(key.to_owned(), entry).is_none() {
            self.order.push(key.to_owned());
        }
    }

    /// The given keys in the order of the files.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.order
            .iter()
            .filter_map(|key| Some((key.as_str(), self.entries.get(key)?)))
    }

    /// The value of `key`, given or by default.
    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        if let Some(entry) = self.entries.get(key) {
            return Some(entry.parsed.clone());
        }
        let row = schema::find(key);
        debug_assert!(row.is_some(), "{key} is not in the table");
        let row = row?;
        Some(row.kind.check(row.default?).ok()?.value)
    }

    /// The row of a key that may be set or shown; an error when `app` does not run.
    fn settable_row(&self, app: &str, key: &str) -> Result<Option<&'static Key>, SetError> {
        if !self.runs(app) {
            return Err(SetError::InvalidApp(app.to_owned()));
        }
        Ok(schema::find(key)
            .filter(|row| row.app == app && row.reload != Reload::NotSettable && row.is_concrete()))
    }

    /// The core and the plugins that are loaded.
    fn runs(&self, app: &str) -> bool {
        app == CORE || self.loaded_plugins.iter().any(|name| name == app)
    }

    fn printed(&self, row: &Key) -> String {
        match self.get(row.pattern) {
            None => "undefined".to_owned(),
            Some(value) if row.kind == Type::Secret && !value.is_empty() => "***".to_owned(),
            Some(value) => row.kind.print(value),
        }
    }
}

fn printed_own(stranger: &Stranger, key: &emqttd_plugin_sdk::Key) -> String {
    stranger.value(&key.name).map_or_else(
        || "undefined".to_owned(),
        |value| own::print(&key.kind, value),
    )
}

fn set_own(stranger: &mut Stranger, key: &str, value: &str) -> Result<(), SetError> {
    let settable = stranger.hot().any(|hot| hot.name == key);
    match settable {
        true => stranger.set(key, value),
        false => Err(SetError::NotSettable(key.to_owned())),
    }
}

/// What [`crate::load`] gives.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// the table
    pub config: Config,
    /// the typed result
    pub settings: Settings,
    /// what the operator should know
    pub warnings: Vec<Problem>,
}
