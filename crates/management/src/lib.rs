//! Management: each operation on a running broker once, and the command line as a view of it.
//!
//! [`Cli`] knows the commands and answers one line of arguments with a text and an exit code;
//! [`server`] offers it on a Unix socket; [`client`] is the other end, which `emqttd_ctl` and
//! `emqttd ping|pid|stop|…` use.

mod cli;
pub mod client;
mod commands;
mod proc;
pub mod server;
mod wire;

pub use cli::{Call, Cli, Handler};
pub use commands::{Core, core};
pub use wire::{Reply, Request};

/// What `version` is in every answer: that of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `broker` and `$SYS/brokers/<node>/sysdescr` call this broker.
pub const SYSDESCR: &str = "EMQ-compatible MQTT Broker";
