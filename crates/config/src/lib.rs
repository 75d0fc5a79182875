//! The `key = value` configuration of EMQ 2.x: reading, checking, and the typed result.
//!
//! [`load`] reads `emq.conf` and the plugins' files below one directory, lets environment variables
//! override them, and returns the table ([`Config`]), what it means ([`Settings`]) and what the
//! operator should know ([`Problem`]). Every key stands once, in the table of `schema`.

mod assemble;
mod config;
mod environment;
mod legacy;
mod listener;
mod load;
mod own;
mod plugin;
mod plugin_keys;
mod plugin_list;
mod plugin_set;
mod problem;
mod reader;
mod reference;
mod schema;
mod settings;
pub mod term;
mod term_file;
mod value;

pub use config::{Config, KeyReport, Loaded, Origin, Reload, SetError, SettableKey};
pub use load::{load, load_text, load_with};
pub use plugin::{PLUGINS, Plugin, find_plugin, library, switch_of};
pub use plugin_keys::{PluginKeys, load_plugin, load_plugin_with};
pub use plugin_set::{PluginChange, PluginKeyFacts};
pub use problem::{Problem, Severity};
pub use settings::*;
