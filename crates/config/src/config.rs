//! The merged table of keys: value and origin of each, and changing some of them while running.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use crate::{Problem, Settings};

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
pub struct SettableKey {
    /// the key
    pub key: &'static str,
    /// the value as EMQ prints it: durations in milliseconds, sizes in bytes, floats as `0.7500`
    pub value: String,
    /// `enum`, `integer`, `duration`, ...
    pub datatype: &'static str,
    /// `emqttd` or the plugin
    pub app: &'static str,
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

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Every key that a file, the environment or `set` gave a value.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub(crate) entries: HashMap<String, Entry>,
}

impl Config {
    /// The value of `key` in effect as text: given, or else the schema's default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.value.as_str())
    }

    /// Every key with value, origin, default and reload class, for `emqttd check-config`.
    pub fn report(&self) -> Vec<KeyReport> {
        Vec::new()
    }

    /// Keys that [`Config::set`] takes, with their values, for the apps that run.
    pub fn settable(&self) -> Vec<SettableKey> {
        Vec::new()
    }

    /// Changes a running value. The file is not written.
    ///
    /// # Errors
    /// See [`SetError`]; the configuration is then unchanged.
    pub fn set(&mut self, app: &str, key: &str, _value: &str) -> Result<Settings, SetError> {
        let _ = app;
        Err(SetError::NotSettable(key.to_owned()))
    }

    /// The value of a key as EMQ prints it, for `emqttd_ctl show`.
    ///
    /// # Errors
    /// [`SetError::InvalidApp`] or [`SetError::InvalidKey`].
    pub fn show(&self, app: &str, key: &str) -> Result<String, SetError> {
        let _ = app;
        Err(SetError::InvalidKey(key.to_owned()))
    }

    /// The keys of a plugin (or of `emqttd`) that were given, with their raw values, by name.
    pub fn of_app(&self, _app: &str) -> Vec<(&str, &str)> {
        Vec::new()
    }

    /// Plugins to start, in order, under their present names: `EMQ_LOADED_PLUGINS` or else
    /// the file that `mqtt.plugins.loaded_file` names.
    pub fn loaded_plugins(&self) -> &[String] {
        &[]
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
