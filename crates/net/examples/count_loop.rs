//! Sends one packet through a running event loop and waits for the answer, N times: `count_loop OPERATION N`.
//! Without arguments it prints the operations that it knows. For callgrind: what N and 3 N of them take.

use emqttd_broker::Broker;
use emqttd_mqtt::{PublishHead, QoS, Version, encode_pingreq, encode_publish_head};
use emqttd_net::Server;
use emqttd_plugin_sdk::{PeerInfo, PipeEvents, PluginListener};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

const OPERATIONS: [&str; 4] = ["tcp-ping", "tcp-publish", "pipe-ping", "pipe-publish"];

const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";

type Failure = Box<dyn std::error::Error>;

/// Counts the bytes that the broker sends.
struct Answers(mpsc::Sender<usize>);

impl PipeEvents for Answers {
    fn output(&mut self, bytes: &[u8]) -> usize {
        // Nobody waits for them at the end.
        let _ = self.0.send(bytes.len());
        bytes.len()
    }
    fn room(&mut self) {}
    fn closed(&mut self, _reason: &str) {}
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [operation, times] = &args[..] else {
        println!("{}", OPERATIONS.join("\n"));
        return Ok(());
    };
    let times: u64 = times.parse()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let text = format!(
        "node.name = emq@127.0.0.1\nmqtt.allow_anonymous = true\nlistener.tcp.test = 127.0.0.1:{port}\n"
    );
    let settings = emqttd_config::load_text(text.as_bytes()).map_err(|e| format!("{e:?}"))?;
    let listeners = settings.settings.listeners.clone();
    let (broker, shards) = Broker::new(settings.settings, 1)?;
    let server = Server::start(&broker, shards)?;
    server.open(&listeners).map_err(|e| e.join("\n"))?;

    let mut packet = Vec::new();
    let answer = if operation.ends_with("ping") {
        encode_pingreq(&mut packet);
        2
    } else {
        let head = PublishHead {
            qos: QoS::AtLeastOnce,
            topic: "sensors/12/temperature",
            packet_id: 1,
            payload_len: 16,
            ..PublishHead::default()
        };
        encode_publish_head(&mut packet, Version::V311, &head);
        packet.extend_from_slice(&[b'x'; 16]);
        4
    };
    if operation.starts_with("tcp") {
        over_tcp(port, &packet, answer, times)?;
    } else {
        over_pipe(&broker, &packet, answer, times)?;
    }
    broker.stop();
    server.join();
    Ok(())
}

fn over_tcp(port: u16, packet: &[u8], answer: usize, times: u64) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; 16];
    stream.write_all(CONNECT)?;
    stream.read_exact(&mut bytes[..4])?;
    for _ in 0..times {
        stream.write_all(packet)?;
        stream.read_exact(&mut bytes[..answer])?;
    }
    Ok(())
}

fn over_pipe(broker: &Broker, packet: &[u8], answer: usize, times: u64) -> Result<(), Failure> {
    let name = ("toy:udp".to_string(), "127.0.0.1:7000".to_string());
    broker.plugin_listener(PluginListener {
        protocol: name.0.clone(),
        listen_on: name.1.clone(),
        acceptors: 1,
        max_clients: 1,
        mountpoint: None,
    });
    let peer = PeerInfo {
        listener: name,
        peername: SocketAddr::from(([10, 0, 0, 1], 5000)),
        cert_username: None,
        anonymous: true,
    };
    let (sender, answers) = mpsc::channel();
    let pipe = broker.open_pipe(peer, Box::new(Answers(sender)))?;
    pipe.send(CONNECT);
    assert_eq!(answers.recv()?, 4);
    for _ in 0..times {
        pipe.send(packet);
        assert_eq!(answers.recv()?, answer);
    }
    Ok(())
}
