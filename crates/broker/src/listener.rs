//! What the broker knows of an open listener.

use emqttd_config::{Listener, ListenerKind};
use emqttd_plugin_sdk::PluginListener;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a virtual client may take nothing before its connection ends: `send_timeout` of EMQ's listeners.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// An open listener: its settings, and counts that its connections keep.
#[derive(Debug)]
pub struct ListenerState {
    /// its settings
    pub settings: Listener,
    protocol: Cow<'static, str>,
    of_plugin: bool,
    current: AtomicUsize,
    most: AtomicUsize,
    closed: AtomicBool,
    shutdowns: Mutex<BTreeMap<&'static str, u64>>,
}

impl ListenerState {
    /// A listener without connections.
    pub fn new(settings: Listener) -> ListenerState {
        let protocol = match settings.kind {
            ListenerKind::Tcp => "mqtt:tcp",
            ListenerKind::Ssl => "mqtt:ssl",
            ListenerKind::Ws => "mqtt:ws",
            ListenerKind::Wss => "mqtt:wss",
            ListenerKind::Api => "mqtt:api",
        };
        ListenerState::with(settings, protocol.into(), false)
    }

    /// A plugin's own listener: the plugin has the socket, its clients come as virtual connections.
    pub fn of_plugin(listener: PluginListener) -> ListenerState {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let settings = Listener {
            // What lies between socket and MQTT is the plugin's affair: nothing, as with plain TCP.
            kind: ListenerKind::Tcp,
            name: listener.protocol.clone(),
            addr: listener.listen_on.parse().unwrap_or(nowhere),
            listen_on: listener.listen_on,
            acceptors: listener.acceptors,
            max_clients: listener.max_clients,
            max_conn_rate: 0,
            access: Vec::new(),
            mountpoint: listener.mountpoint,
            rate_limit: None,
            proxy_protocol: false,
            proxy_protocol_timeout: Duration::ZERO,
            peer_cert_as_username: None,
            proxy_address_header: None,
            proxy_port_header: None,
            backlog: 0,
            send_timeout: SEND_TIMEOUT,
            send_timeout_close: true,
            recbuf: None,
            sndbuf: None,
            nodelay: false,
            reuseaddr: false,
            tls: None,
        };
        ListenerState::with(settings, listener.protocol.into(), true)
    }

    fn with(settings: Listener, protocol: Cow<'static, str>, of_plugin: bool) -> ListenerState {
        ListenerState {
            most: AtomicUsize::new(settings.max_clients),
            settings,
            protocol,
            of_plugin,
            current: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            shutdowns: Mutex::default(),
        }
    }

    /// `mqtt:tcp` and so on; what a plugin calls its own.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Whether a plugin has it: then its connections are virtual, and it goes with the plugin.
    pub fn is_of_plugin(&self) -> bool {
        self.of_plugin
    }

    /// The address as the CLI shows it: a bare port stands for all addresses.
    pub fn listen_on(&self) -> String {
        if self.settings.listen_on.contains(':') {
            self.settings.listen_on.clone()
        } else {
            format!("0.0.0.0:{}", self.settings.listen_on)
        }
    }

    /// Counts a connection in; `false` when there are `max_clients` already.
    pub fn enter(&self) -> bool {
        let most = self.max_clients();
        let entered = self
            .current
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < most).then_some(n + 1)
            });
        entered.is_ok()
    }

    /// Counts a connection out. A normal end is not listed (observed 2).
    pub fn leave(&self, reason: &'static str) {
        self.current.fetch_sub(1, Ordering::AcqRel);
        if reason != "normal" {
            *self.shutdowns.lock().entry(reason).or_default() += 1;
        }
    }

    /// It is closed: connections that are on their way between shards end too.
    pub fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Most connections at a time.
    pub fn max_clients(&self) -> usize {
        self.most.load(Ordering::Acquire)
    }

    /// Most connections at a time from now on; those that are there stay.
    pub(crate) fn set_max_clients(&self, most: usize) {
        self.most.store(most, Ordering::Release);
    }

    /// Connections open now.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    /// Reasons for which connections ended, with how often.
    pub fn shutdown_count(&self) -> Vec<(String, u64)> {
        self.shutdowns
            .lock()
            .iter()
            .map(|(reason, n)| ((*reason).to_string(), *n))
            .collect()
    }
}
