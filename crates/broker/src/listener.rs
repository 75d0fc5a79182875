//! What the broker knows of an open listener.

use emqttd_config::{Listener, ListenerKind};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// An open listener: its settings, and counts that its connections keep.
#[derive(Debug)]
pub struct ListenerState {
    /// its settings
    pub settings: Listener,
    current: AtomicUsize,
    closed: AtomicBool,
    shutdowns: Mutex<BTreeMap<&'static str, u64>>,
}

impl ListenerState {
    /// A listener without connections.
    pub fn new(settings: Listener) -> ListenerState {
        ListenerState {
            settings,
            current: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            shutdowns: Mutex::default(),
        }
    }

    /// `mqtt:tcp` and so on.
    pub fn protocol(&self) -> &'static str {
        match self.settings.kind {
            ListenerKind::Tcp => "mqtt:tcp",
            ListenerKind::Ssl => "mqtt:ssl",
            ListenerKind::Ws => "mqtt:ws",
            ListenerKind::Wss => "mqtt:wss",
            ListenerKind::Api => "mqtt:api",
        }
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
        let most = self.settings.max_clients;
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
