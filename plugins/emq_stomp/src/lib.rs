//! `emq_stomp`: STOMP 1.0, 1.1 and 1.2 over TCP and TLS.
//!
//! [`frame`] are the bytes, [`connection`] serves a client whatever carries them; `emq_sockjs` uses both.

pub mod connection;
pub mod frame;
mod heart_beat;
mod machine;
mod open;
pub mod settings;
mod tcp;

use connection::{Mode, serve};
use emqttd_gateway::{Connection, Control, Stream, TcpListener, TcpSettings, tls_settings};
use emqttd_plugin_sdk::{Config, Context, Descriptor, PeerInfo, Plugin, StartError};
use open::Open;
use settings::{Settings, Shared};
use std::sync::Arc;
use std::time::Duration;

/// How long clients may take to read what they are told when the plugin ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// The key of the address.
const LISTENER: &str = "stomp.listener";

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_stomp",
        env!("CARGO_PKG_VERSION"),
        "Stomp Protocol Plugin",
        |ctx| Ok(Box::new(Running::start(ctx)?)),
    )
    .gateway()
}

/// The plugin while it runs.
struct Running {
    settings: Shared<Settings>,
    control: Control,
    open: Arc<Open>,
}

impl Running {
    fn start(ctx: &Context) -> Result<Running, StartError> {
        let config = ctx.config();
        let settings = Settings::read(&config, "stomp.").shared();
        let tls = match config.switch("stomp.listener.ssl") {
            Some(true) => Some(tls_settings(&config, "stomp.listener.")?),
            _ => None,
        };
        let protocol = if tls.is_some() {
            "stomp:ssl"
        } else {
            "stomp:tcp"
        };
        let acceptors = config.integer("stomp.listener.acceptors").unwrap_or(4);
        let listener = TcpListener::open(
            ctx,
            TcpSettings {
                protocol: protocol.into(),
                listen_on: config.text(LISTENER).unwrap_or("61613").into(),
                key: LISTENER,
                acceptors: u32::try_from(acceptors).unwrap_or(u32::MAX),
                max_clients: max_clients(&config),
                tls,
            },
        )?;
        let running = Running {
            settings,
            control: listener.control(),
            open: Arc::default(),
        };
        let (serving, open) = (Arc::clone(&running.settings), Arc::clone(&running.open));
        let context = ctx.clone();
        listener.serve(ctx, move |connection| {
            let Connection { stream, peer, .. } = connection;
            let (ctx, settings, place) = (context.clone(), Arc::clone(&serving), open.enter());
            async move {
                let _place = place;
                over(ctx, peer, settings, stream).await;
            }
        });
        Ok(running)
    }
}

fn max_clients(config: &Config) -> usize {
    let most = config.integer("stomp.listener.max_clients");
    most.and_then(|most| usize::try_from(most).ok())
        .unwrap_or(512)
}

/// Serves a client over that stream.
async fn over(ctx: Context, peer: PeerInfo, settings: Shared<Settings>, stream: Stream) {
    match stream {
        Stream::Plain(stream) => {
            let (reader, writer) = stream.into_split();
            let (reader, writer) = (tcp::Reader::new(reader), tcp::Writer::new(writer));
            serve(ctx, peer, settings, Mode::Tcp, reader, writer).await;
        }
        Stream::Tls(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            let (reader, writer) = (tcp::Reader::new(reader), tcp::Writer::new(writer));
            serve(ctx, peer, settings, Mode::Tcp, reader, writer).await;
        }
    }
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let config = ctx.config();
        self.settings
            .store(Arc::new(Settings::read(&config, "stomp.")));
        self.control.set_max_clients(ctx, max_clients(&config));
        Ok(())
    }

    /// The broker has ended all virtual clients: theirs are told so.
    fn stop(&self) {
        self.control.close();
        self.open.wait(GOODBYE);
    }
}
