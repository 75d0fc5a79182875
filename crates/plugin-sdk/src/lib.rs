//! What a plugin of emqttd may use, and nothing else of the broker.
//!
//! A plugin is a [`Descriptor`] with a function that starts it. That function is given a [`Context`]
//! and registers through it what the plugin is there for: providers of authentication and ACL, hooks,
//! commands of `emqttd_ctl`, HTTP routes, timers. The broker takes all of it away again when the plugin
//! is unloaded; a plugin has nothing to undo.
//!
//! Plugins that are part of the broker and plugins of strangers, loaded from a library, use the same
//! traits. Between a library and the broker lies [`Host`]: on the broker's side it is the broker, in a
//! library it is messages over the ABI.

mod access;
mod client;
mod config;
mod context;
#[doc(hidden)]
pub mod guest;
mod hooks;
mod host;
mod message;
mod plugin;
pub mod rule;
mod service;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topic;
pub mod virtual_client;
#[doc(hidden)]
pub mod wire;

#[doc(hidden)]
pub use emqttd_plugin_abi as abi;
/// For the log macros: what a plugin logs comes into the broker's log.
pub use log;
/// The runtime that [`Context::spawn`] and `async fn` providers run on.
pub use tokio;

/// Version of the SDK.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use access::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthMechanism, AuthProvider, BoxFuture, DynAcl,
    DynAuth, Exchange, ExchangeStep,
};
pub use client::{Client, ClientRef};
pub use config::{Config, Entry, Key, KeyKind};
pub use context::{Context, Metric, Table, Timer};
pub use hooks::{Change, Flow, HookPoint, Hooks, TopicEntry, Verdict};
pub use host::{Host, HostError, Row, Severity};
pub use message::{Message, Publish, QoS};
pub use plugin::{Descriptor, Plugin, Start, StartError};
pub use service::{
    Call, Command, CommandHandler, Figures, Holder, HttpHandler, HttpRequest, HttpResponse,
    LoopFigures, PeerInfo, Pipe, PipeEvents, PluginListener, Reloadable, Reply, RetainSettings,
    RetainStorage, WebFile, WebListener,
};
