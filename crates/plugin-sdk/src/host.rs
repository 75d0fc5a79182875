//! All that a plugin can ask of the broker, as one interface.
//!
//! There are two of them: the broker's own, and the one in a library that sends each call over the ABI. A
//! plugin uses [`Context`](crate::Context), which puts this into better words.

use crate::{
    AuthMechanism, ClientRef, Command, Config, DynAcl, DynAuth, Figures, Holder, Hooks,
    HttpHandler, PeerInfo, Pipe, PipeEvents, PluginListener, Publish, Reloadable, RetainSettings,
    TopicEntry, WebListener,
};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Why the broker could not do what it was asked, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostError(pub String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostError {}

/// A row of a table: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// How bad an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Severity {
    Warning,
    Error,
    Critical,
}

/// What the broker does for one plugin. No call waits for an event loop, so all of them may be made from
/// hooks, except where it says "blocks". What is registered ends with the plugin.
#[allow(missing_docs)]
pub trait Host: Send + Sync {
    /// name of the plugin
    fn plugin(&self) -> &str;
    /// `node.name`
    fn node(&self) -> String;
    /// version of the broker
    fn version(&self) -> String;
    /// directory for files of the node's own (`node.data_dir`)
    fn data_dir(&self) -> PathBuf;
    /// directory of log files
    fn log_dir(&self) -> PathBuf;
    /// the plugin's keys as they are now
    fn config(&self) -> Config;

    /// Higher sequences are asked first, of equal ones the latest.
    fn auth(&self, sequence: i32, provider: Arc<dyn DynAuth>);
    fn acl(&self, sequence: i32, provider: Arc<dyn DynAcl>);
    fn mechanism(&self, mechanism: Arc<dyn AuthMechanism>);
    /// Every ACL decision remembered so far is void, and live subscriptions are asked about again.
    fn forget_decisions(&self);
    fn hooks(&self, priority: i32, hooks: Arc<dyn Hooks>);
    fn command(&self, command: Command);
    fn http(&self, handler: Arc<HttpHandler>);
    /// A counter of the plugin's, shown as `<plugin>/<name>`.
    fn metric(&self, name: &str) -> Arc<AtomicU64>;

    /// Publishes soon, in the order of the calls made from one thread.
    fn publish(&self, message: Publish) -> Result<(), HostError>;
    /// Subscribes a connected client soon, as if it had asked: `client.subscribe` runs, the ACL is not
    /// asked, no SUBACK is sent. Not when another user has come under its client id meanwhile.
    fn subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>);
    /// Takes subscriptions of a client away soon; `client.unsubscribe` runs.
    fn unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>);
    /// Ends a client's connection soon.
    fn kick(&self, clientid: &str);
    /// Sets an alarm, or clears it when there is no summary.
    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>);

    /// Rows of a table of the plugin's own, durable on return. Blocks.
    fn table_put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), HostError>;
    fn table_delete(&self, table: &str, key: &[u8]) -> Result<(), HostError>;
    fn table_get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, HostError>;
    fn table_rows(&self, table: &str) -> Result<Vec<Row>, HostError>;
    /// Whether tables outlast the process: not with `persistence.sync = off`, which has them in memory.
    fn tables_last(&self) -> bool {
        true
    }

    /// Shows a listener of the plugin's own.
    fn listener(&self, listener: PluginListener);
    /// Takes one away again. Blocks.
    fn listener_gone(&self, protocol: &str, listen_on: &str);
    /// Opens a virtual connection.
    fn open(&self, peer: PeerInfo, events: Box<dyn PipeEvents>)
    -> Result<Arc<dyn Pipe>, HostError>;

    /// Opens a listener of the broker's web server. Blocks.
    ///
    /// # Errors
    /// When it cannot be opened; always for a plugin in a library.
    fn web(&self, listener: WebListener) -> Result<(), HostError> {
        Err(HostError(format!(
            "{}: only plugins that are part of the broker can open web listeners",
            listener.protocol
        )))
    }

    /// Keeps retained messages from now on, as said; `None` = keeps and sends none. Blocks.
    fn retain(&self, settings: Option<RetainSettings>) -> Result<(), HostError>;
    fn retained_count(&self) -> usize;
    /// Blocks.
    fn retained_topics(&self) -> Vec<String>;
    /// Removes all of them, and says how many. Blocks.
    fn retained_clean(&self) -> usize;

    /// Blocks.
    fn figures(&self) -> Figures;
    /// The clients for which most is held. Blocks.
    fn holders(&self, most: usize) -> Vec<Holder>;
    /// What can be reloaded.
    fn reloadables(&self) -> Vec<Reloadable>;
    /// Loads something anew; the old stays when that fails. Blocks.
    fn reload(&self, name: &str) -> Result<(), HostError>;
    /// Adds something that can be reloaded.
    fn reloadable(
        &self,
        what: Reloadable,
        reload: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    );

    /// Calls `poll`, once, which lets a task of the plugin go on; whoever watches sees when it does not return.
    fn polls(&self, poll: &mut dyn FnMut()) {
        poll();
    }
    /// A task or timer of the plugin, `what`, has panicked; it is counted as a call's panic is.
    fn panicked(&self, what: &str) {
        let _ = what;
    }
}
