//! Listeners, those that are configured and closed among them.

use crate::Core;
use emqttd_broker::{AdminError, ListenerState};

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `mqtt:tcp`, `mqtt:ssl`, `mqtt:ws`, `mqtt:wss`, `mqtt:api`, or what a plugin calls its own
    pub protocol: String,
    /// `0.0.0.0:1883`
    pub listen_on: String,
    /// key `acceptors`
    pub acceptors: u32,
    /// most connections at a time
    pub max_clients: usize,
    /// connections now
    pub current_clients: usize,
    /// reasons for which connections ended, with how often
    pub shutdown_count: Vec<(String, u64)>,
    /// it is open
    pub running: bool,
}

/// What a listener is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerWish {
    /// open
    Running,
    /// closed, with all its connections
    Stopped,
    /// closed and opened: with the certificates and settings that there are now
    Restarted,
}

impl Core {
    /// The open listeners in the order of opening, then those that are configured and closed.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut all: Vec<Listener> = self
            .broker
            .listeners()
            .into_iter()
            .map(|open| Listener {
                protocol: open.protocol,
                listen_on: open.listen_on,
                acceptors: open.acceptors,
                max_clients: open.max_clients,
                current_clients: open.current_clients,
                shutdown_count: open.shutdown_count,
                running: true,
            })
            .collect();
        for configured in &self.broker.settings().listeners {
            let state = ListenerState::new(configured.clone());
            let closed = Listener {
                protocol: state.protocol().into(),
                listen_on: state.listen_on(),
                acceptors: configured.acceptors,
                max_clients: configured.max_clients,
                current_clients: 0,
                shutdown_count: Vec::new(),
                running: false,
            };
            let is_it = |other: &Listener| {
                other.protocol == closed.protocol && other.listen_on == closed.listen_on
            };
            if !all.iter().any(is_it) {
                all.push(closed);
            }
        }
        all
    }

    /// Opens or closes a listener. One that is already as it is to be stays.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when none of that protocol and address is open or configured; what the system said.
    pub fn listener_set(
        &self,
        protocol: &str,
        listen_on: &str,
        wish: ListenerWish,
    ) -> Result<(), AdminError> {
        let all = self.listeners();
        let found = all
            .iter()
            .find(|one| one.protocol == protocol && one.listen_on == listen_on)
            .ok_or(AdminError::NotFound)?;
        match (wish, found.running) {
            (ListenerWish::Running, true) | (ListenerWish::Stopped, false) => Ok(()),
            (ListenerWish::Running | ListenerWish::Restarted, false) => {
                self.listener_start(protocol, listen_on)
            }
            (ListenerWish::Stopped, true) => self.listener_stop(protocol, listen_on),
            (ListenerWish::Restarted, true) => self.listener_restart(protocol, listen_on),
        }
    }

    /// Opens one that is closed.
    pub(crate) fn listener_start(&self, protocol: &str, on: &str) -> Result<(), AdminError> {
        self.telling(|| self.broker.listener_start(protocol, on))
    }

    /// Closes one that is open.
    pub(crate) fn listener_stop(&self, protocol: &str, on: &str) -> Result<(), AdminError> {
        self.telling(|| self.broker.listener_stop(protocol, on))
    }

    /// Closes and opens one.
    pub(crate) fn listener_restart(&self, protocol: &str, on: &str) -> Result<(), AdminError> {
        self.telling(|| self.broker.listener_restart(protocol, on))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;
    use std::sync::Arc;

    #[test]
    fn closed_ones_are_there_too() {
        let site =
            Site::with("listener.tcp.external = 127.0.0.1:1883\nlistener.ws.external = 8083\n");
        let core = &site.core;
        let row = |at: usize| {
            let row = core.listeners().remove(at);
            (row.protocol, row.listen_on, row.running)
        };
        let tcp = ("mqtt:tcp".to_string(), "127.0.0.1:1883".to_string());
        assert_eq!(core.listeners().len(), 2);
        assert_eq!(row(0), (tcp.0.clone(), tcp.1.clone(), false));
        let settings = core.broker.settings().listeners.clone();
        let ws = settings.iter().find(|l| l.listen_on == "8083").unwrap();
        let open = Arc::new(ListenerState::new(ws.clone()));
        core.broker.listener_opened(Arc::clone(&open));
        assert_eq!(row(0), ("mqtt:ws".into(), "0.0.0.0:8083".into(), true));
        assert_eq!(row(1), (tcp.0.clone(), tcp.1.clone(), false));
        let set = |protocol, on, wish| core.listener_set(protocol, on, wish);
        // As they are already.
        set("mqtt:ws", "0.0.0.0:8083", ListenerWish::Running).unwrap();
        set(&tcp.0, &tcp.1, ListenerWish::Stopped).unwrap();
        assert_eq!(
            set("mqtt:ws", "0.0.0.0:9", ListenerWish::Running),
            Err(AdminError::NotFound)
        );
        // There are no event loops here that could open it.
        let answer = set(&tcp.0, &tcp.1, ListenerWish::Running);
        assert_eq!(answer, Err(AdminError::Other("not_running".into())));
    }
}
