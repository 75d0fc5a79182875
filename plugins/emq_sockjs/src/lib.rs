//! `emq_sockjs`: STOMP for web pages, through SockJS.
//!
//! [`sockjs`] is a server of that protocol for any application; ours gives the messages of a session to the engine of
//! `emq_stomp`, which need not be loaded for that.

mod demo;
mod settings;
pub mod sockjs;
mod stomp;

use emq_stomp::settings::{Settings as StompSettings, Shared};
use emqttd_gateway::{Control, TcpListener};
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, PluginListener, StartError};
use settings::{PREFIX, Settings};
use sockjs::server::Server;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stomp::Stomp;

/// How long clients may take to hear of the end.
const PARTING: Duration = Duration::from_millis(500);

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_sockjs",
        env!("CARGO_PKG_VERSION"),
        "SockJS(Stomp) Plugin for emqttd broker",
        |ctx| Ok(Box::new(Running::start(ctx)?)),
    )
    .gateway()
}

/// The plugin while it runs.
struct Running {
    listener: Control,
    server: Arc<Server>,
    stomp: Shared<StompSettings>,
}

impl Running {
    fn start(ctx: &Context) -> Result<Running, StartError> {
        let config = ctx.config();
        let settings = Settings::read(&config)?;
        let stomp = StompSettings::read(&config, "sockjs.").shared();
        let tls = settings.listener.tls.is_some();
        let (protocol, acceptors) = (
            settings.listener.protocol.clone(),
            settings.listener.acceptors,
        );
        let listener = TcpListener::open(ctx, settings.listener)?;
        // Connections are more than clients.
        ctx.listener(PluginListener {
            protocol,
            listen_on: listener.local_addr().to_string(),
            acceptors,
            max_clients: settings.max_clients,
            mountpoint: None,
        });
        let spawning = ctx.clone();
        let spawn = Box::new(move |future| {
            spawning.spawn(future);
        });
        let application = Stomp::new(ctx, Arc::clone(&stomp));
        let server = Server::new(demo::FILES, spawn).with(settings.options, application);
        let server = Arc::new(server);
        let control = listener.control();
        log::info!("SockJS URL: {}", url(listener.local_addr(), tls));
        let serving = Arc::clone(&server);
        listener.serve(ctx, move |connection| {
            Arc::clone(&serving).serve(connection.stream, connection.peer)
        });
        Ok(Running {
            listener: control,
            server,
            stomp,
        })
    }
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = StompSettings::read(&ctx.config(), "sockjs.");
        self.stomp.store(Arc::new(settings));
        Ok(())
    }

    fn stop(&self) {
        self.listener.close();
        self.server.close();
        let end = Instant::now() + PARTING;
        while self.server.is_receiving() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Where a browser on this machine finds it.
fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("{scheme}://{address}{PREFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let of = |address: &str, tls| address.parse().map(|address| url(address, tls));
        assert_eq!(
            of("0.0.0.0:61616", false).as_deref(),
            Ok("http://127.0.0.1:61616/stomp")
        );
        assert_eq!(
            of("[::]:1", true).as_deref(),
            Ok("https://127.0.0.1:1/stomp")
        );
        assert_eq!(
            of("192.0.2.1:1", false).as_deref(),
            Ok("http://192.0.2.1:1/stomp")
        );
    }
}
