//! Listeners of plugins, and the virtual connections that come by them.
//!
//! A virtual connection is a connection like any other, but for its transport: not a socket but two
//! queues of bytes, of which the other ends are a gateway's ([`Pipe`], [`PipeEvents`]). What goes through
//! them is MQTT, so everything that holds for clients holds for those of gateways.

use crate::admin::Broker;
use crate::conn::Peer;
use crate::listener::ListenerState;
use emqttd_plugin_sdk::{PeerInfo, Pipe, PipeEvents, PluginListener};
use std::sync::Arc;

impl Broker {
    /// Shows a listener of a plugin's own in the list of listeners; from now on its clients may come
    /// ([`Broker::open_pipe`]). Of two with the same name, as while a plugin is swapped, the newer gets the
    /// clients.
    pub fn plugin_listener(&self, listener: PluginListener) -> Arc<ListenerState> {
        let state = Arc::new(ListenerState::of_plugin(listener));
        self.listener_opened(Arc::clone(&state));
        state
    }

    /// Changes how many clients may come by a listener of a plugin; the newest with that name.
    pub fn set_max_clients(&self, listener: &PluginListener) {
        let newest = self
            .listeners_of_plugins(&listener.protocol, &listener.listen_on)
            .last();
        if let Some(newest) = newest {
            newest.set_max_clients(listener.max_clients);
        }
    }

    /// As [`Broker::close_plugin_listener`], for the oldest with that name, if there is one.
    pub fn plugin_listener_gone(&self, protocol: &str, listen_on: &str) {
        let oldest = self.listeners_of_plugins(protocol, listen_on).next();
        if let Some(listener) = oldest {
            self.close_plugin_listener(&listener);
        }
    }

    /// Takes a plugin's listener out of the list and ends its connections: their wills are published, and
    /// nothing of the plugin's that belongs to them is called any more when this returns. Blocks: never call
    /// it from an event loop.
    pub fn close_plugin_listener(&self, listener: &Arc<ListenerState>) {
        self.listener_closed(listener);
        listener.set_closed();
        let control = self.node.control.read().clone();
        if let Some(Err(error)) = control.map(|control| control.close_pipes(listener)) {
            let (protocol, on) = (listener.protocol(), listener.listen_on());
            log::error!("listener {protocol} on {on}: closing: {error}");
        }
    }

    /// Whether a plugin has opened that listener, so that only the plugin can close it.
    pub fn is_listener_of_plugin(&self, protocol: &str, listen_on: &str) -> bool {
        self.listeners_of_plugins(protocol, listen_on)
            .next()
            .is_some()
    }

    /// Opens a virtual connection from that peer. MQTT bytes for the broker go into the [`Pipe`]; bytes for
    /// the client, and the end of the connection, come to `events`. Does not wait.
    ///
    /// # Errors
    /// When the listener has not been registered or has `max_clients` already, or when the broker stops.
    pub fn open_pipe(
        &self,
        peer: PeerInfo,
        events: Box<dyn PipeEvents>,
    ) -> Result<Arc<dyn Pipe>, String> {
        let (protocol, listen_on) = &peer.listener;
        let name = || format!("listener {protocol} on {listen_on}");
        let listener = self
            .listeners_of_plugins(protocol, listen_on)
            .last()
            .ok_or_else(|| format!("{}: no plugin has registered it", name()))?;
        let control = self.node.control.read().clone();
        let control = control.ok_or("the broker has no event loops")?;
        if !listener.enter() {
            log::warn!(
                "{}: max_clients reached, {} is refused",
                name(),
                peer.peername
            );
            return Err(format!("{}: max_clients reached", name()));
        }
        let peer = Peer {
            addr: peer.peername,
            listener,
            cert_username: peer.cert_username.map(Into::into),
            anonymous: peer.anonymous,
            headers: None,
        };
        control.open_pipe(peer, events)
    }

    /// Listeners of plugins with that name, the oldest first.
    fn listeners_of_plugins(
        &self,
        protocol: &str,
        listen_on: &str,
    ) -> impl Iterator<Item = Arc<ListenerState>> {
        let listeners = self.node.listeners.read();
        let of_plugins = listeners.iter().filter(|listener| {
            listener.is_of_plugin()
                && listener.protocol() == protocol
                && listener.listen_on() == listen_on
        });
        of_plugins.cloned().collect::<Vec<_>>().into_iter()
    }
}
