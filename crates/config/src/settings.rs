//! What the rest of the broker reads: every setting, typed and checked.
//!
//! Built once from the merged `key = value` table by [`crate::load`]; nothing outside this crate
//! parses configuration text. Durations are `Duration`, sizes are bytes, `0` means "no limit"
//! wherever the field says so.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of the core, as of start-up or of the last `emqttd_ctl set`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `node.*`
    pub node: Node,
    /// `persistence.*` (new)
    pub persistence: Persistence,
    /// `log.*`
    pub log: Log,
    /// `mqtt.*` outside sessions and queues
    pub mqtt: Mqtt,
    /// `mqtt.session.*` and `mqtt.mqueue.*`
    pub session: Session,
    /// `listener.*`, in the order of the file
    pub listeners: Vec<Listener>,
    /// `mqtt.plugins.etc_dir`
    pub plugins_etc_dir: Option<PathBuf>,
    /// `mqtt.plugins.loaded_file`
    pub plugins_loaded_file: Option<PathBuf>,
    /// `plugins.on_failure`
    pub plugins_on_failure: PluginsOnFailure,
    /// `management.metrics.auth` (new): whether `/metrics` asks for a login
    pub metrics_auth: bool,
}

/// `plugins.on_failure`: when a plugin that guards the door cannot be started
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginsOnFailure {
    /// The broker does not start.
    Stop,
    /// It starts without the plugin.
    Continue,
}

/// `node.*`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// `node.name`, as `name@host`
    pub name: String,
    /// `node.max_ports`: open files asked of the system at start
    pub max_ports: u64,
    /// `node.shards` (new): event loops; `0` chooses by the number of cores
    pub shards: usize,
    /// `node.data_dir` (new; `data`)
    pub data_dir: PathBuf,
}

/// `persistence.sync`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersistenceSync {
    /// An acknowledgement means that the message is on stable storage.
    Always,
    /// It means that the system has the message; it is on stable storage after this time.
    Every(Duration),
    /// Nothing is stored: what EMQ 2.x did.
    Off,
}

/// `persistence.*`, read at start only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persistence {
    /// `persistence.sync` (`always`)
    pub sync: PersistenceSync,
    /// `persistence.dir` (`store`), below `node.data_dir` if it is relative
    pub dir: PathBuf,
    /// `persistence.max_bytes` (0 = no limit): size on disk at which nothing more is stored
    pub max_bytes: u64,
    /// `persistence.segment_bytes` (32MB): size of one file
    pub segment_bytes: u64,
}

/// `mqtt.allow_anonymous`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowAnonymous {
    /// Everybody whom no module decided on is let in.
    True,
    /// Nobody is.
    False,
    /// Only peers whose address is a loopback one (new value).
    Local,
}

/// `mqtt.acl_deny_action` (new)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclDenyAction {
    /// What EMQ 2.x did: the packet is dropped, the connection stays.
    Ignore,
    /// The connection is closed.
    Disconnect,
}

/// `mqtt.*` outside sessions and queues.
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// `mqtt.allow_anonymous`
    pub allow_anonymous: AllowAnonymous,
    /// `mqtt.acl_nomatch = allow`
    pub acl_nomatch_allow: bool,
    /// `mqtt.acl_file`; `None` when absent
    pub acl_file: Option<PathBuf>,
    /// `mqtt.acl_deny_action` (new; `ignore`)
    pub acl_deny_action: AclDenyAction,
    /// `mqtt.cache_acl`
    pub cache_acl: bool,
    /// `mqtt.acl_cache_max_size` (new; 64): entries a connection
    pub acl_cache_max_size: usize,
    /// `mqtt.acl_cache_ttl` (new; 0 = as long as the connection)
    pub acl_cache_ttl: Duration,
    /// `mqtt.max_clientid_len`, bytes
    pub max_clientid_len: usize,
    /// `mqtt.max_packet_size`, bytes of *remaining length*
    pub max_packet_size: usize,
    /// `mqtt.max_connect_size` (new; 64KB), bytes of CONNECT, which comes before authentication
    pub max_connect_size: usize,
    /// `mqtt.max_topic_levels` (new; 0 = no limit): levels of a name or filter
    pub max_topic_levels: usize,
    /// `mqtt.max_topic_alias` (new; 32): inbound aliases a connection may use
    pub max_topic_alias: u16,
    /// `mqtt.max_keepalive` (new; 0 = none), seconds: told to MQTT 5 clients as Server Keep Alive
    pub max_keepalive: u16,
    /// `mqtt.websocket_protocol_header = on`
    pub websocket_protocol_header: bool,
    /// `mqtt.client.idle_timeout`: time to CONNECT
    pub idle_timeout: Duration,
    /// `mqtt.client.max_publish_rate`, PUBLISH packets per second (0 = no limit)
    pub max_publish_rate: u32,
    /// `mqtt.client.max_send_buffer` (new; 1MB): bytes waiting for a client that does not read,
    /// beyond which it is disconnected
    pub max_send_buffer: usize,
    /// `mqtt.client.enable_stats`
    pub client_stats: bool,
    /// `mqtt.broker.sys_interval`
    pub sys_interval: Duration,
}

/// `mqtt.mqueue.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// One first-in-first-out lane.
    Simple,
    /// A lane per topic, higher priority first.
    Priority,
}

/// `mqtt.session.*` and `mqtt.mqueue.*`
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// `mqtt.session.max_subscriptions` (0 = no limit)
    pub max_subscriptions: usize,
    /// `mqtt.session.upgrade_qos = on`
    pub upgrade_qos: bool,
    /// `mqtt.session.max_inflight` (0 = no limit but that of packet ids)
    pub max_inflight: u16,
    /// `mqtt.session.retry_interval` for MQTT 3.x clients
    pub retry_interval: Duration,
    /// `mqtt.session.max_awaiting_rel` (0 = no limit but that of packet ids)
    pub max_awaiting_rel: u16,
    /// `mqtt.session.await_rel_timeout`
    pub await_rel_timeout: Duration,
    /// `mqtt.session.enable_stats`
    pub enable_stats: bool,
    /// `mqtt.session.expiry_interval` of MQTT 3.x sessions with clean_session = 0
    pub expiry_interval: Duration,
    /// `mqtt.session.max_expiry_interval` (new; 0 = no limit): the longest an MQTT 5 client may ask for
    pub max_expiry_interval: Duration,
    /// `mqtt.session.ignore_loop_deliver`
    pub ignore_loop_deliver: bool,
    /// `mqtt.mqueue.type`
    pub queue_type: QueueType,
    /// `mqtt.mqueue.priority`: exact topic names with 0-255, unlisted topics 0
    pub queue_priorities: Vec<(String, u8)>,
    /// `mqtt.mqueue.max_length`, messages (0 = no limit); for `priority` per topic
    pub queue_max_length: usize,
    /// `mqtt.mqueue.max_bytes` (new; 64MB), bytes of topics and payloads a session (0 = no limit)
    pub queue_max_bytes: usize,
    /// `mqtt.mqueue.low_watermark`, percent
    pub queue_low_watermark: u8,
    /// `mqtt.mqueue.high_watermark`, percent
    pub queue_high_watermark: u8,
    /// `mqtt.mqueue.store_qos0`
    pub queue_store_qos0: bool,
}

/// Kinds of `listener.<kind>.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// MQTT over TCP, `mqtt:tcp`
    Tcp,
    /// MQTT over TLS, `mqtt:ssl`
    Ssl,
    /// MQTT over WebSocket, `mqtt:ws`
    Ws,
    /// MQTT over WebSocket over TLS, `mqtt:wss`
    Wss,
    /// The management HTTP API, `mqtt:api`; over TLS where it has a key of that
    Api,
}

/// `peer_cert_as_username`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertField {
    /// The common name.
    Cn,
    /// The subject as an RFC 4514 string.
    Dn,
}

/// Who an `access.$id` rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessNet {
    /// `all`
    All,
    /// An address with a prefix length.
    Net(std::net::IpAddr, u8),
}

/// `access.$id = allow|deny <net>`, in ascending order of `$id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessRule {
    /// `allow` or `deny`
    pub allow: bool,
    /// the addresses it speaks of
    pub net: AccessNet,
}

/// TLS keys of a listener.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// `keyfile`
    pub keyfile: Option<PathBuf>,
    /// `certfile`
    pub certfile: Option<PathBuf>,
    /// `cacertfile`
    pub cacertfile: Option<PathBuf>,
    /// `crlfile` (new): revoked client certificates, PEM
    pub crlfile: Option<PathBuf>,
    /// `verify = verify_peer`
    pub verify_peer: bool,
    /// `fail_if_no_peer_cert`
    pub fail_if_no_peer_cert: bool,
    /// TLS 1.2 offered (`tls_versions`; absent = yes)
    pub tls12: bool,
    /// TLS 1.3 offered (`tls_versions`; absent = yes)
    pub tls13: bool,
    /// `ciphers`, OpenSSL or IANA names as written; empty = the library's
    pub ciphers: Vec<String>,
    /// `reuse_sessions`
    pub reuse_sessions: bool,
    /// `honor_cipher_order`
    pub honor_cipher_order: bool,
    /// `handshake_timeout`
    pub handshake_timeout: Duration,
}

/// `listener.<kind>.<name>` with its sub-keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// kind
    pub kind: ListenerKind,
    /// `<name>` of the key; never shown by the CLI
    pub name: String,
    /// the address
    pub addr: SocketAddr,
    /// the address as written (`1883` or `127.0.0.1:1883`), which the CLI shows
    pub listen_on: String,
    /// `acceptors`, reported only
    pub acceptors: u32,
    /// `max_clients`
    pub max_clients: usize,
    /// `max_conn_rate` (new; 0 = no limit): connections accepted per second
    pub max_conn_rate: u32,
    /// `access.$id`
    pub access: Vec<AccessRule>,
    /// `mountpoint`
    pub mountpoint: Option<String>,
    /// `rate_limit = burst,rate`, bytes and bytes per second of inbound data
    pub rate_limit: Option<(u64, u64)>,
    /// `proxy_protocol = on`
    pub proxy_protocol: bool,
    /// `proxy_protocol_timeout`
    pub proxy_protocol_timeout: Duration,
    /// `peer_cert_as_username`
    pub peer_cert_as_username: Option<CertField>,
    /// `proxy_address_header`
    pub proxy_address_header: Option<String>,
    /// `proxy_port_header`
    pub proxy_port_header: Option<String>,
    /// `backlog`
    pub backlog: u32,
    /// `send_timeout`
    pub send_timeout: Duration,
    /// `send_timeout_close = on`
    pub send_timeout_close: bool,
    /// `recbuf`, bytes; `None` = the system's
    pub recbuf: Option<usize>,
    /// `sndbuf`, bytes; `None` = the system's
    pub sndbuf: Option<usize>,
    /// `nodelay`
    pub nodelay: bool,
    /// `reuseaddr`
    pub reuseaddr: bool,
    /// TLS keys; `Some` for ssl and wss, and for an api listener that has one of them
    pub tls: Option<Tls>,
}

/// Severity of a log line, as EMQ names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// debug
    Debug,
    /// info
    Info,
    /// notice
    Notice,
    /// warning
    Warning,
    /// error
    Error,
    /// critical
    Critical,
    /// alert
    Alert,
    /// emergency
    Emergency,
    /// none: nothing is written
    None,
}

/// `log.console`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogConsole {
    /// nowhere
    Off,
    /// `log.console.file`
    File,
    /// standard output
    Console,
    /// both
    Both,
}

/// A log file with its rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// path
    pub path: PathBuf,
    /// rotate beyond this many bytes (0 = only at midnight)
    pub size: u64,
    /// rotated files kept
    pub count: u32,
}

/// `log.*`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// `log.dir`
    pub dir: PathBuf,
    /// `log.console`
    pub console: LogConsole,
    /// `log.console.level`
    pub console_level: LogLevel,
    /// `log.console.file/size/count`
    pub console_file: LogFile,
    /// `log.info.file/size/count`
    pub info: Option<LogFile>,
    /// `log.error.file/size/count`
    pub error: Option<LogFile>,
    /// `log.error.messages_per_second`
    pub messages_per_second: u32,
    /// `log.crash`, `log.crash.file`
    pub crash: Option<PathBuf>,
    /// `log.syslog*`
    pub syslog: Option<Syslog>,
}

/// `log.syslog.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// `log.syslog.identity`
    pub identity: String,
    /// facility number of RFC 5424 (`daemon` = 3, `local0` = 16, ...)
    pub facility: u8,
    /// `log.syslog.level`
    pub level: LogLevel,
}
