//! The smaller things that go between a plugin and the broker: commands, HTTP, virtual clients, retained
//! messages, figures.

use crate::virtual_client::Will;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A command of `emqttd_ctl`.
#[derive(Clone)]
pub struct Command {
    /// its first word
    pub name: String,
    /// rows of the usage text: call, what it does
    pub usage: Vec<(String, String)>,
    /// answers it
    pub handler: Arc<CommandHandler>,
}

/// Answers a call. Runs on a thread of management: it may block, for a minute at the most.
pub type CommandHandler = dyn Fn(Call<'_>) -> Reply + Send + Sync;

/// The arguments of one call, without the name of the command.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// arguments, as the shell passed them
    pub args: &'a [&'a str],
    /// standard input of `emqttd_ctl`, where the command asked for it
    pub stdin: Option<&'a str>,
}

/// Answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// printed; exit code 0
    Text(String),
    /// printed; exit code 1
    Failed(String),
    /// the arguments are not understood: the usage rows are printed
    Usage,
}

/// A request below `/api/plugins/<name>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, ...
    pub method: String,
    /// path behind the plugin's own, beginning with `/`
    pub path: String,
    /// decoded query
    pub query: Vec<(String, String)>,
    /// headers, names in lower case
    pub headers: Vec<(String, String)>,
    /// body
    pub body: Vec<u8>,
}

/// Answer to an [`HttpRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// status code
    pub status: u16,
    /// `Content-Type`
    pub content_type: String,
    /// body
    pub body: Vec<u8>,
}

/// Answers HTTP requests. Runs outside of the event loops: it may block.
pub type HttpHandler = dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync;

/// A listener of the broker's own web server, opened for a plugin ([`Context::web`](crate::Context::web)): it answers
/// the management API, and beside it the files given here. It closes when the plugin ends.
#[derive(Debug, Clone)]
pub struct WebListener {
    /// `dashboard:http`, as `emqttd_ctl listeners` shows it
    pub protocol: String,
    /// key of its address among those of the plugin, such as `dashboard.listener.http`; below it stand `acceptors`,
    /// `max_clients`, `access.$id`, and for TLS `keyfile`, `certfile`, `cacertfile`, `crlfile`, `verify`,
    /// `fail_if_no_peer_cert`, `tls_versions`, `ciphers`, `reuse_sessions`, `honor_cipher_order`, `handshake_timeout`
    pub key: String,
    /// whether it speaks TLS
    pub tls: bool,
    /// what is answered where the API is not
    pub files: &'static [WebFile],
    /// `Content-Security-Policy` of the pages
    pub policy: &'static str,
}

/// A file of a web page, which anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebFile {
    /// `/index.html`, which is that of `/` too
    pub path: &'static str,
    /// `Content-Type`
    pub content_type: &'static str,
    /// what is in it
    pub content: &'static [u8],
    /// the same, compressed by gzip, where that is worth it
    pub gzip: Option<&'static [u8]>,
    /// it never changes under that name: browsers need not ask again
    pub immutable: bool,
}

/// A listener of a plugin's own, for `emqttd_ctl listeners`: connections opened with its name count here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginListener {
    /// `coap:udp`, `stomp:tcp`
    pub protocol: String,
    /// `0.0.0.0:5683`
    pub listen_on: String,
    /// acceptors, as configured
    pub acceptors: u32,
    /// most clients at a time
    pub max_clients: usize,
    /// put before the topics of its clients
    pub mountpoint: Option<String>,
}

impl PluginListener {
    /// Whether both have the same protocol and address.
    pub fn is(&self, other: &PluginListener) -> bool {
        self.protocol == other.protocol && self.listen_on == other.listen_on
    }
}

/// Who is at the far end of a virtual client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// a listener that the plugin has registered: its protocol and address
    pub listener: (String, String),
    /// address of the device
    pub peername: SocketAddr,
    /// user name from a certificate
    pub cert_username: Option<String>,
    /// whether `mqtt.allow_anonymous` counts when no authentication provider knows it; `false` = then it is
    /// refused (code 4)
    pub anonymous: bool,
}

/// A virtual connection into the broker: MQTT packets as bytes, as if through a socket. All that holds for
/// a client holds for what comes this way: authentication, ACL, hooks, limits, kick, take-over.
/// [`VirtualClient`](crate::virtual_client::VirtualClient) is a client on top of it.
///
/// No call waits, and none calls back before it returns. Letting the pipe go closes it.
pub trait Pipe: Send + Sync {
    /// Bytes for the broker; how many it takes now: 64 KB may wait there. When not all, [`PipeEvents::room`] is
    /// called later; after the end none is taken.
    fn send(&self, bytes: &[u8]) -> usize;
    /// As [`Pipe::send`], only that the broker need not hear of it before [`Pipe::tell`]: so that it does not run into a
    /// lock that is still held where the bytes come from.
    fn leave(&self, bytes: &[u8]) -> usize {
        self.send(bytes)
    }
    /// Lets the broker know of what was left.
    fn tell(&self) {}
    /// The device is gone (without DISCONNECT its will is published). What was taken before is used first. The
    /// reason is a word (`a-z`, `0-9`, `_`) and one of a few; others are told as `closed`.
    fn close(&self, reason: &str);
    /// [`PipeEvents::output`] can take bytes again.
    fn resume(&self);
    /// Puts another will in the place of the one that CONNECT brought, or none, for protocols in which a client may
    /// change its mind (MQTT cannot say it). Only once CONNACK has come; one that is no will of MQTT changes nothing.
    fn set_will(&self, will: Option<Will>);
}

/// What the broker tells a virtual connection. Called on an event loop: must not block.
pub trait PipeEvents: Send {
    /// Bytes for the client; how many are taken now. When not all, the rest comes after [`Pipe::resume`].
    fn output(&mut self, bytes: &[u8]) -> usize;
    /// [`Pipe::send`] has room again.
    fn room(&mut self);
    /// The connection has ended; nothing follows. `reason` as in `client.disconnected`.
    fn closed(&mut self, reason: &str);
}

/// Where retained messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainStorage {
    /// in memory; gone at a restart
    Ram,
    /// in memory and on disk
    Disc,
    /// on disk; only their names in memory
    DiscOnly,
}

/// How retained messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainSettings {
    /// where
    pub storage: RetainStorage,
    /// most messages; 0 = no limit
    pub max_message_num: usize,
    /// longest payload in bytes; 0 = no limit
    pub max_payload_size: usize,
    /// life of a message without its own expiry; zero = without end
    pub expiry_interval: Duration,
}

/// Figures of the node's own working.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// each event loop
    pub loops: Vec<LoopFigures>,
    /// bytes held, by what holds them (`retained`, `queues`, `outputs`, ...)
    pub held: Vec<(String, u64)>,
    /// bytes received from and sent to clients since the start
    pub traffic: (u64, u64),
    /// tasks of the runtime of plugins
    pub tasks: u64,
    /// seconds since the start
    pub uptime: u64,
}

/// Figures of an event loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoopFigures {
    /// connections open
    pub connections: u64,
    /// sessions
    pub sessions: u64,
    /// rounds since the start
    pub rounds: u64,
    /// microseconds spent working, not waiting, since the start
    pub busy: u64,
    /// longest round since the figures were last asked for, microseconds
    pub longest: u64,
    /// bytes of mail that waits
    pub mail: u64,
}

/// A client and what is held for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// client identifier
    pub clientid: String,
    /// messages that wait in its queue
    pub queued: u64,
    /// bytes of them in memory
    pub queued_bytes: u64,
    /// messages sent and not acknowledged
    pub inflight: u64,
    /// bytes not yet written to its connection
    pub output: u64,
}

/// Something that can be loaded anew while the broker runs (`reload <name>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloadable {
    /// `acl`, `certs`, a plugin, a script
    pub name: String,
    /// the files it is made of
    pub files: Vec<PathBuf>,
}
