//! Management: each operation on a running broker once, and the command line as a view of it.
//!
//! [`Cli`] knows the commands and answers one line of arguments with a text and an exit code;
//! [`server`] offers it on a Unix socket; [`client`] is the other end, which `emqttd_ctl` and
//! `emqttd ping|pid|stop|…` use.

pub mod backup;
mod bar;
mod cli;
pub mod client;
mod commands;
pub mod figures;
pub mod persistence;
mod proc;
pub mod server;
mod wire;

pub use bar::Bar;
pub use cli::{Call, Cli, Handler, Task, Watcher};
pub use commands::plugins::{PluginControl, PluginDone, PluginError, PluginRow};
pub use commands::{Core, core};
pub use wire::{Progress, Reply, Request};

/// What every answer calls this broker and its version: the same as below `$SYS/brokers/<node>/`.
pub use emqttd_broker::{SYSDESCR, VERSION};
