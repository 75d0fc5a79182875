//! `emq_sn`: a gateway for clients that speak MQTT-SN 1.2 over UDP.
//!
//! Datagrams are read and written by [`packet`]. [`machine`] is all clients of the gateway as a machine without I/O;
//! [`device`] is one of them, with the ids of its topics ([`topics`]) and what the broker has for it ([`downlink`]).
//! [`gateway`] is the one task that has the socket and does what the machine asks for. To the broker each client is a
//! virtual client.

mod advertise;
// What has no I/O is open to the fuzz target.
#[doc(hidden)]
pub mod device;
mod downlink;
mod gateway;
#[doc(hidden)]
pub mod machine;
mod outside;
#[doc(hidden)]
pub mod packet;
mod settings;
#[doc(hidden)]
pub mod topics;
mod unconnected;
#[doc(hidden)]
pub mod world;

use emqttd_gateway::{Gone, UdpSettings, UdpSocket, address, until_dropped};
use emqttd_plugin_sdk::{Call, Context, Descriptor, Plugin, Reply, StartError};
use gateway::{Command, Commands};
use machine::Listed;
use settings::Settings;
use std::fmt::Write;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

/// How long the end of the task is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_sn",
        env!("CARGO_PKG_VERSION"),
        "MQTT-SN Gateway",
        |ctx| Ok(Box::new(Running::start(ctx)?)),
    )
    .gateway()
}

/// The plugin while it runs.
struct Running {
    commands: Commands,
    gone: Gone,
    /// the socket, and `mqtt.sn.port` as it was when that was opened; none when the plugin ends
    open: Mutex<Option<(UdpSocket, String)>>,
}

impl Running {
    fn start(ctx: &Context) -> Result<Running, StartError> {
        let settings = Settings::read(&ctx.config())?;
        let socket = open(ctx, &settings)?;
        let listens_on = settings.listen_on.clone();
        let opened = Mutex::new(Some((socket.clone(), listens_on)));
        let (commands, to_obey) = unbounded_channel();
        let (guard, gone) = until_dropped();
        ctx.spawn(gateway::run(ctx.clone(), settings, socket, to_obey, guard));
        let asking = commands.clone();
        let usage = [("sn clients", "MQTT-SN clients, and what they do")];
        ctx.command("sn", &usage, move |call| list(&asking, &call));
        Ok(Running {
            commands,
            gone,
            open: opened,
        })
    }
}

fn open(ctx: &Context, settings: &Settings) -> Result<UdpSocket, StartError> {
    UdpSocket::open(
        ctx,
        UdpSettings {
            protocol: "mqtt-sn:udp".into(),
            listen_on: settings.listen_on.clone(),
            key: "mqtt.sn.port",
            max_clients: settings.rules.max_clients,
        },
    )
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = Settings::read(&ctx.config()).map_err(|error| error.0)?;
        let mut opened = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let same = opened
            .as_ref()
            .is_some_and(|(_, listens_on)| address(listens_on) == address(&settings.listen_on));
        let socket = match same {
            true => None,
            false => Some(open(ctx, &settings).map_err(|error| error.0)?),
        };
        let listens_on = settings.listen_on.clone();
        let change = Command::Settings(Box::new(settings), socket.clone());
        // Without the task the broker is about to end the plugin.
        let _ = self.commands.send(change);
        if let Some(socket) = socket
            && let Some((former, _)) = opened.replace((socket, listens_on))
        {
            former.retire(ctx);
        }
        Ok(())
    }

    fn stop(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.commands.send(Command::Stop);
        if !self.gone.wait(PATIENCE) {
            log::warn!("emq_sn: its task has not ended within {PATIENCE:?}");
        }
    }
}

/// `sn clients`
fn list(commands: &Commands, call: &Call<'_>) -> Reply {
    if call.args != ["clients"] {
        return Reply::Usage;
    }
    let (sender, receiver) = mpsc::channel();
    let _ = commands.send(Command::List(sender));
    match receiver.recv_timeout(PATIENCE) {
        Ok(mut clients) => {
            clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
            Reply::Text(clients.iter().fold(String::new(), row))
        }
        Err(_) => Reply::Failed("the gateway does not answer".into()),
    }
}

fn row(mut text: String, listed: &Listed) -> String {
    let Listed {
        client_id,
        peer,
        state,
        traffic: (received, sent),
    } = listed;
    let state = format!("{state:?}").to_lowercase();
    let address = peer.address;
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "Client({}, peername={address}",
        client_id.escape_debug()
    );
    if let Some(node) = &peer.node {
        text.push_str(", node=");
        node.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
    }
    let _ = writeln!(text, ", state={state}, received={received}, sent={sent})");
    text
}
