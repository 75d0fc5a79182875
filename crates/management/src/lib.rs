//! Management: each operation on a running broker once. The command line is a view of it, and so is the HTTP API.
//!
//! [`Core`] is what operations work on: the broker, its configuration, who runs its plugins, and what management keeps
//! itself ([`Users`], [`ApiKeys`], [`Audit`], [`History`]). Its calls may block; none belongs on an event loop.
//!
//! [`Cli`] knows the commands and answers one line of arguments with a text and an exit code;
//! [`server`] offers it on a Unix socket; [`client`] is the other end, which `emqttd_ctl` and
//! `emqttd ping|pid|stop|…` use.

mod api_keys;
mod audit;
pub mod backup;
mod bar;
mod cli;
pub mod client;
mod clock;
mod commands;
mod configs;
pub mod figures;
mod history;
mod listeners;
mod news;
pub mod persistence;
mod plugin_config;
mod proc;
mod records;
mod secrets;
pub mod server;
mod system;
#[cfg(test)]
mod testing;
mod traces;
mod users;
mod wire;

pub use api_keys::{ApiKey, ApiKeyError, ApiKeys, NewKey, Scope};
pub use audit::{Audit, Entry, Via};
pub use bar::Bar;
pub use cli::{Call, Cli, Done, Handler, Observer, Task, Watcher};
pub use commands::plugins::{PluginControl, PluginDone, PluginError, PluginRow};
pub use commands::{Core, after_boot, core};
pub use configs::{ConfigError, ConfigKey, Configs, LOG_LEVELS, MASK};
pub use history::{History, Range, Series};
pub use listeners::{Listener, ListenerWish};
pub use plugin_config::{Applied, PluginConfigError, PluginKey};
pub use system::System;
pub use traces::{Tail, Trace, TraceError, TraceKind, Traces};
pub use users::{Login, User, UserError, Users, Verified};
pub use wire::{Progress, Reply, Request};

/// What every answer calls this broker and its version: the same as below `$SYS/brokers/<node>/`.
pub use emqttd_broker::{SYSDESCR, VERSION};
