//! A gateway for devices that speak lines of text over TCP, as a pattern and for tests.
//!
//! | line of the device | answer |
//! |---|---|
//! | `connect <clientid> <user> <password> <clean: 1 or 0> <will topic>`; `-` = none | `connack <code> <session present>` |
//! | `sub <qos> <filter>` | `suback <code>` |
//! | `unsub <filter>` | `unsuback` |
//! | `pub <qos> <topic> <payload>` | `puback <code>` |
//! | `ack <id>` | none |
//! | `quit` | none: the connection ends in good order |
//!
//! What comes: `msg <qos> <id> <topic> <payload>`, and at the end `closed <reason>`.

use emqttd_plugin_sdk::tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use emqttd_plugin_sdk::tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use emqttd_plugin_sdk::tokio::net::{TcpListener, TcpStream};
use emqttd_plugin_sdk::tokio::sync::mpsc::{Receiver, Sender, channel};
use emqttd_plugin_sdk::tokio::{self};
use emqttd_plugin_sdk::virtual_client::{
    ConnectOptions, Event, Events, Outgoing, VirtualClient, Will,
};
use emqttd_plugin_sdk::{
    Context, Descriptor, Key, KeyKind, PeerInfo, Plugin, PluginListener, QoS, StartError,
    export_plugin,
};
use std::net::SocketAddr;

export_plugin!(plugin);

const NAME: &str = "emq_plugin_gateway";
const PROTOCOL: &str = "toy:tcp";

fn plugin() -> Descriptor {
    Descriptor::new(NAME, "0.1.0", "A gateway for lines of text", start).keys([
        Key::new(
            "emq_plugin_gateway.listener",
            KeyKind::Text,
            "where devices connect",
        )
        .default("127.0.0.1:0"),
        Key::new(
            "emq_plugin_gateway.max_clients",
            KeyKind::Integer,
            "most devices at a time",
        )
        .default("16"),
        Key::new(
            "emq_plugin_gateway.mountpoint",
            KeyKind::Text,
            "before all topics",
        ),
    ])
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let config = ctx.config();
    let listen_on = config
        .text("emq_plugin_gateway.listener")
        .unwrap_or_default();
    let socket = ctx
        .block_on(TcpListener::bind(listen_on))
        .map_err(|e| format!("{NAME}.listener = {listen_on}: {e}"))?;
    let listen_on = socket.local_addr().map_err(|e| e.to_string())?.to_string();
    let most = config
        .integer("emq_plugin_gateway.max_clients")
        .unwrap_or(16);
    ctx.listener(PluginListener {
        protocol: PROTOCOL.into(),
        listen_on: listen_on.clone(),
        acceptors: 1,
        max_clients: usize::try_from(most).unwrap_or(0),
        mountpoint: config.text("emq_plugin_gateway.mountpoint").map(Into::into),
    });
    let accepting = ctx.clone();
    ctx.spawn(async move {
        // Failing to accept means too many files: whoever waits goes on waiting.
        while let Ok((stream, peername)) = socket.accept().await {
            let peer = PeerInfo {
                listener: (PROTOCOL.into(), listen_on.clone()),
                peername,
                cert_username: None,
                anonymous: true,
            };
            accepting.spawn(serve(accepting.clone(), stream, peer));
        }
    });
    Ok(Box::new(()))
}

/// One device, from its first line to its last.
async fn serve(ctx: Context, stream: TcpStream, peer: PeerInfo) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Ok(Some(first)) = lines.next_line().await else {
        return;
    };
    let Some(options) = options(&first) else {
        return say(&mut writer, "connect first").await;
    };
    let from: SocketAddr = peer.peername;
    match VirtualClient::connect(&ctx, peer, options).await {
        Err(refused) => {
            emqttd_plugin_sdk::log::info!("{from}: {refused}");
            say(&mut writer, &format!("connack {} 0", refused.code())).await;
        }
        Ok((client, events)) => {
            let present = u8::from(client.session_present());
            say(&mut writer, &format!("connack 0 {present}")).await;
            // Answers and messages go out by a task of their own: whoever waits for the broker does not take
            // events, and whoever takes events does not wait for the broker.
            let (answers, waiting) = channel(16);
            ctx.spawn(write(writer, events, waiting));
            obey(client, lines, answers).await;
        }
    }
}

/// `connect <clientid> <user> <password> <clean> <will topic>`
fn options(line: &str) -> Option<ConnectOptions> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["connect", clientid, username, password, clean, will] = words[..] else {
        return None;
    };
    let mut options = ConnectOptions::new(clientid).clean(clean == "1");
    if username != "-" {
        options = options.credentials(username, password);
    }
    if will != "-" {
        options = options.will(Will {
            topic: will.into(),
            payload: clientid.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
        });
    }
    Some(options)
}

/// Does what the device says, one line after the other.
async fn obey(
    client: VirtualClient,
    mut lines: Lines<BufReader<OwnedReadHalf>>,
    to: Sender<String>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let answer = match words[..] {
            ["sub", level, filter] => match client.subscribe(&[(filter, qos(level))]).await {
                Ok(codes) => format!("suback {}", codes[0]),
                Err(_) => return,
            },
            ["unsub", filter] => match client.unsubscribe(&[filter]).await {
                Ok(()) => "unsuback".into(),
                Err(_) => return,
            },
            ["pub", level, topic, payload] => {
                let message = Outgoing::new(topic, payload).qos(qos(level));
                match client.publish(&message).await {
                    Ok(code) => format!("puback {code}"),
                    Err(_) => return,
                }
            }
            ["ack", id] => {
                client.ack(id.parse().unwrap_or(0));
                continue;
            }
            ["quit"] => return client.disconnect().await,
            _ => "what?".into(),
        };
        // When nobody writes any more the connection has ended.
        let _ = to.send(answer).await;
    }
    client.abort("device_lost");
}

fn qos(word: &str) -> QoS {
    let level = word.parse().ok().and_then(QoS::from_u8);
    level.unwrap_or_default()
}

/// Tells the device all there is to tell.
async fn write(mut writer: OwnedWriteHalf, mut events: Events, mut answers: Receiver<String>) {
    loop {
        // Answers first: a SUBACK comes before the messages that it lets in.
        let line = tokio::select! {
            biased;
            Some(answer) = answers.recv() => answer,
            event = events.recv() => match event {
                Some(Event::Message(message)) => {
                    let payload = String::from_utf8_lossy(&message.payload);
                    let (qos, id, topic) = (message.qos as u8, message.id, &message.topic);
                    format!("msg {qos} {id} {topic} {payload}")
                }
                Some(Event::Released { .. }) => continue,
                Some(Event::Closed(end)) => {
                    return say(&mut writer, &format!("closed {}", end.reason)).await;
                }
                None => return,
            },
        };
        say(&mut writer, &line).await;
    }
}

/// Writes a line; a device that is gone is noticed by its reader.
async fn say(writer: &mut OwnedWriteHalf, line: &str) {
    let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
}
