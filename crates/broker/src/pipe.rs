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
    /// ([`Broker::open_pipe`]). One that is shown already stays as it is.
    pub fn plugin_listener(&self, listener: PluginListener) {
        let state = ListenerState::of_plugin(listener);
        let mut listeners = self.node.listeners.write();
        let same = |other: &Arc<ListenerState>| {
            other.protocol() == state.protocol() && other.listen_on() == state.listen_on()
        };
        if listeners.iter().any(same) {
            let (protocol, on) = (state.protocol(), state.listen_on());
            return log::warn!("listener {protocol} on {on} of a plugin is there already");
        }
        listeners.push(Arc::new(state));
    }

    /// Takes a plugin's listener out of the list and ends its connections: their wills are published, and
    /// nothing of the plugin's that belongs to them is called any more when this returns. Blocks: never call
    /// it from an event loop.
    pub fn plugin_listener_gone(&self, protocol: &str, listen_on: &str) {
        let Some(listener) = self.listener_of_plugin(protocol, listen_on) else {
            return;
        };
        self.listener_closed(&listener);
        listener.set_closed();
        let control = self.node.control.read().clone();
        if let Some(Err(error)) = control.map(|control| control.close_pipes(&listener)) {
            log::error!("listener {protocol} on {listen_on}: closing: {error}");
        }
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
            .listener_of_plugin(protocol, listen_on)
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
            headers: None,
        };
        control.open_pipe(peer, events)
    }

    fn listener_of_plugin(&self, protocol: &str, listen_on: &str) -> Option<Arc<ListenerState>> {
        let listeners = self.node.listeners.read();
        let mut of_plugins = listeners.iter().filter(|listener| listener.is_of_plugin());
        let found = of_plugins.find(|l| l.protocol() == protocol && l.listen_on() == listen_on);
        found.cloned()
    }
}
