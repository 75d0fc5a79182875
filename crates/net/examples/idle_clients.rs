//! What an idle virtual client costs in memory: `idle_clients [HOW_MANY]`. Linux only.

use emqttd_broker::Broker;
use emqttd_net::Server;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, VirtualClient};
use emqttd_plugin_sdk::{HostError, PeerInfo, PipeEvents, PluginListener, QoS};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// A gateway that only takes what comes.
struct Ready(mpsc::Sender<()>);

impl PipeEvents for Ready {
    fn output(&mut self, bytes: &[u8]) -> usize {
        // Nobody waits for it at the end.
        let _ = self.0.send(());
        bytes.len()
    }
    fn room(&mut self) {}
    fn closed(&mut self, _reason: &str) {}
}

fn resident() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse::<usize>()? * 1024)
}

fn main() -> Result<(), Failure> {
    let many = std::env::args().nth(1).map_or(Ok(50_000), |n| n.parse())?;
    let text = b"node.name = emq@127.0.0.1\nmqtt.allow_anonymous = true\n";
    let settings = emqttd_config::load_text(text).map_err(|e| format!("{e:?}"))?;
    let (broker, shards) = Broker::new(settings.settings, 2)?;
    let server = Server::start(&broker, shards)?;
    let name = ("toy:udp".to_string(), "127.0.0.1:7000".to_string());
    broker.plugin_listener(PluginListener {
        protocol: name.0.clone(),
        listen_on: name.1.clone(),
        acceptors: 1,
        max_clients: 10 * many,
        mountpoint: None,
    });
    let peer = |n: usize| PeerInfo {
        listener: name.clone(),
        peername: SocketAddr::from(([10, 0, 0, 1], n as u16)),
        cert_username: None,
        anonymous: true,
    };
    let each = |before: usize| -> Result<usize, Failure> { Ok((resident()? - before) / many) };

    let before = resident()?;
    let (sender, ready) = mpsc::channel();
    let mut pipes = Vec::with_capacity(many);
    for n in 0..many {
        let pipe = broker.open_pipe(peer(n), Box::new(Ready(sender.clone())))?;
        let mut connect = b"\x10\x14\0\x04MQTT\x04\x02\0\0\0\x08".to_vec();
        connect.extend_from_slice(format!("p{n:07}").as_bytes());
        pipe.send(&connect);
        pipes.push(pipe);
        ready.recv()?;
    }
    println!("{many} raw pipes, connected: {} bytes each", each(before)?);

    let before = resident()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let begun = Instant::now();
    let mut clients = Vec::with_capacity(many);
    runtime.block_on(async {
        for n in 0..many {
            let open = |events| broker.open_pipe(peer(n), events).map_err(HostError);
            let options = ConnectOptions::new(format!("v{n:07}"));
            let (client, events) = VirtualClient::connect_by(open, options).await?;
            let filter = format!("to/{n}");
            client.subscribe(&[(&filter, QoS::AtLeastOnce)]).await?;
            clients.push((client, events));
        }
        Ok::<(), Failure>(())
    })?;
    let took = begun.elapsed();
    println!(
        "{many} virtual clients with a subscription: {} bytes each, {:.0} us to connect and subscribe",
        each(before)?,
        took.as_secs_f64() * 1e6 / many as f64
    );
    let begun = Instant::now();
    drop(clients);
    while broker.clients().len() > many {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("gone after {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    broker.stop();
    server.join();
    Ok(())
}
