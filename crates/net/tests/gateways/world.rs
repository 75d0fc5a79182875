//! A broker with its event loops, the listener of a toy gateway, and clients of both kinds.

use emqttd_broker::{Broker, Executor, ListenerInfo, Storage};
use emqttd_mqtt::{
    Connect, Packet, Properties, PublishHead, QoS, SubscriptionOptions, Version, fixed_header,
};
use emqttd_net::Server;
use emqttd_plugin_sdk::virtual_client::{
    ConnectOptions, End, Event, Events, Incoming, Refused, VirtualClient,
};
use emqttd_plugin_sdk::{
    BoxFuture, Client, ClientRef, Flow, HookPoint, Hooks, HostError, Message, PeerInfo,
    PluginListener, TopicEntry, Verdict,
};
use emqttd_store::Directory;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The toy gateway's listener.
pub const LISTENER: (&str, &str) = ("toy:udp", "127.0.0.1:7000");

pub struct World {
    pub broker: Broker,
    pub runtime: Runtime,
    server: Option<Server>,
    port: u16,
    _dir: tempfile::TempDir,
}

/// Polls what the chains cannot answer at once.
struct Tokio(Handle);

impl Executor for Tokio {
    fn spawn(&self, future: BoxFuture<()>) {
        self.0.spawn(future);
    }
}

impl World {
    pub fn new(shards: usize) -> World {
        World::with(shards, "", toy())
    }

    /// With more lines in its emq.conf.
    pub fn with(shards: usize, conf: &str, listener: PluginListener) -> World {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "node.name = emq@127.0.0.1\nmqtt.allow_anonymous = true\nmqtt.acl_nomatch = allow\n\
             listener.tcp.test = 127.0.0.1:{port}\npersistence.dir = {}\n{conf}\n",
            dir.path().display()
        );
        let settings = emqttd_config::load_text(text.as_bytes()).unwrap().settings;
        let storage = if conf.contains("persistence.sync") {
            let disk = Directory::new(&settings.persistence.dir).unwrap();
            Storage::open(Arc::new(disk), &settings.persistence).unwrap()
        } else {
            None
        };
        let listeners = settings.listeners.clone();
        let (broker, shards) = Broker::open(settings, shards, storage).unwrap();
        let runtime = Runtime::new().unwrap();
        broker
            .access()
            .set_executor(Arc::new(Tokio(runtime.handle().clone())));
        let server = Server::start(&broker, shards).unwrap();
        server.open(&listeners).unwrap();
        broker.plugin_listener(listener);
        World {
            broker,
            runtime,
            server: Some(server),
            port,
            _dir: dir,
        }
    }

    /// Runs what a test does with virtual clients.
    pub fn run<T>(&self, test: impl Future<Output = T>) -> T {
        let test = async { tokio::time::timeout(3 * DEADLINE, test).await };
        self.runtime.block_on(test).unwrap()
    }

    /// Connects a virtual client from 10.0.0.`device`.
    pub async fn try_connect(
        &self,
        device: u8,
        options: ConnectOptions,
    ) -> Result<(VirtualClient, Events), Refused> {
        let broker = self.broker.clone();
        let open = move |events| broker.open_pipe(peer(device), events).map_err(HostError);
        soon(VirtualClient::connect_by(open, options)).await
    }

    pub async fn connect(&self, device: u8, clientid: &str) -> (VirtualClient, Events) {
        let options = ConnectOptions::new(clientid);
        self.try_connect(device, options).await.unwrap()
    }

    /// A client that comes through a socket.
    pub fn tcp(&self, clientid: &str) -> Tcp {
        self.tcp_with(clientid, true)
    }

    pub fn tcp_with(&self, clientid: &str, clean: bool) -> Tcp {
        let mut tcp = Tcp::open(self.port);
        let connect = Connect {
            version: Version::V311,
            bridge: false,
            clean_start: clean,
            keep_alive: 0,
            client_id: clientid,
            will: None,
            username: None,
            password: None,
            properties: Properties::EMPTY,
        };
        tcp.send(|out| emqttd_mqtt::encode_connect(out, &connect));
        let code = tcp.next(|packet| match packet {
            Packet::ConnAck(connack) => connack.code,
            other => panic!("{other:?}"),
        });
        assert_eq!(code, 0);
        tcp
    }

    /// What the hooks tell from now on.
    pub fn hooks(&self) -> Told {
        let (sender, lines) = mpsc::channel();
        let recorder = Recorder(Mutex::new(sender));
        self.broker.hooks().add(0, Arc::new(recorder));
        Told(lines)
    }

    /// The toy gateway's row in the list of listeners.
    pub fn row(&self) -> Option<ListenerInfo> {
        let rows = self.broker.listeners();
        rows.into_iter().find(|row| row.protocol == LISTENER.0)
    }

    /// Waits until something of the broker's is as it should be.
    pub fn until(&self, is_so: impl Fn(&Broker) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.broker) {
            assert!(begun.elapsed() < DEADLINE, "{:?}", self.row());
            std::thread::yield_now();
        }
    }

    /// Waits until nobody is there any more, and why they went is counted like that.
    pub fn until_left(&self, reasons: &[(&str, u64)]) {
        self.until(|_| {
            let row = self.row().unwrap();
            let counts = row.shutdown_count.iter().map(|(why, n)| (why.as_str(), *n));
            row.current_clients == 0 && counts.eq(reasons.iter().copied())
        });
    }

    /// Stops the broker, and waits for that.
    pub fn stop(&mut self) {
        self.broker.stop();
        if let Some(server) = self.server.take() {
            assert!(server.join());
        }
        if let Some(store) = self.broker.store() {
            store.close();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

pub fn toy() -> PluginListener {
    PluginListener {
        protocol: LISTENER.0.into(),
        listen_on: LISTENER.1.into(),
        acceptors: 2,
        max_clients: 1000,
        mountpoint: None,
    }
}

pub fn device(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5000))
}

pub fn peer(number: u8) -> PeerInfo {
    PeerInfo {
        listener: (LISTENER.0.into(), LISTENER.1.into()),
        peername: device(number),
        cert_username: None,
        anonymous: true,
    }
}

/// It happens, and soon.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

pub async fn message(events: &mut Events) -> Incoming {
    match soon(events.recv()).await {
        Some(Event::Message(message)) => message,
        other => panic!("{other:?} instead of a message"),
    }
}

/// The end of a connection, all events before it skipped.
pub async fn end(events: &mut Events) -> End {
    loop {
        match soon(events.recv()).await {
            Some(Event::Closed(end)) => {
                assert_eq!(soon(events.recv()).await, None);
                return end;
            }
            Some(_) => {}
            None => panic!("events end without a word"),
        }
    }
}

/// A client with a socket.
pub struct Tcp {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Tcp {
    fn open(port: u16) -> Tcp {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Tcp {
            stream,
            received: Vec::new(),
        }
    }

    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = Vec::new();
        write(&mut packet);
        self.stream.write_all(&packet).unwrap();
    }

    /// The next packet.
    pub fn next<T>(&mut self, look: impl FnOnce(Packet<'_>) -> T) -> T {
        loop {
            if let Some(header) = fixed_header(&self.received).unwrap()
                && self.received.len() >= header.packet_len()
            {
                let rest = self.received.split_off(header.packet_len());
                let packet = std::mem::replace(&mut self.received, rest);
                let body = &packet[header.len..];
                return look(emqttd_mqtt::decode(Version::V311, header.first, body).unwrap());
            }
            let mut bytes = [0; 4096];
            let n = self.stream.read(&mut bytes).unwrap();
            assert!(n > 0, "closed by the broker");
            self.received.extend_from_slice(&bytes[..n]);
        }
    }

    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        self.send(|out| {
            emqttd_mqtt::encode_subscribe(
                out,
                Version::V311,
                1,
                Properties::EMPTY,
                &[(filter, options)],
            );
        });
        self.next(|packet| assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}"));
    }

    /// Publishes at QoS 1 and waits for PUBACK.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        let head = PublishHead {
            qos: QoS::AtLeastOnce,
            topic,
            packet_id: 7,
            payload_len: payload.len(),
            ..PublishHead::default()
        };
        self.send(|out| {
            emqttd_mqtt::encode_publish_head(out, Version::V311, &head);
            out.extend_from_slice(payload);
        });
        self.next(|packet| assert!(matches!(packet, Packet::PubAck(_)), "{packet:?}"));
    }

    /// Topic and payload of the next message.
    pub fn message(&mut self) -> (String, Vec<u8>) {
        self.next(|packet| match packet {
            Packet::Publish(publish) => (publish.topic.into(), publish.payload.into()),
            other => panic!("{other:?} instead of a message"),
        })
    }

    /// The broker closes the connection.
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset says the same.
        let _ = self.stream.read_to_end(&mut rest);
    }
}

/// Lines that hooks have told.
pub struct Told(mpsc::Receiver<String>);

impl Told {
    pub fn next(&self) -> String {
        self.0.recv_timeout(DEADLINE).unwrap()
    }

    /// Waits until this line is told.
    pub fn until(&self, wanted: &str) {
        loop {
            let line = self.next();
            if line == wanted {
                return;
            }
        }
    }
}

struct Recorder(Mutex<mpsc::Sender<String>>);

impl Recorder {
    fn tell(&self, line: String) {
        // The test may have heard enough.
        let _ = self.0.lock().unwrap().send(line);
    }
}

impl Hooks for Recorder {
    fn points(&self) -> u32 {
        HookPoint::ALL & !(HookPoint::MessageDropped as u32)
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        let Client {
            clientid,
            listener,
            peername,
            ..
        } = client;
        self.tell(format!(
            "connected {clientid} {listener} {peername} {connack}"
        ));
    }

    fn client_disconnected(&self, client: &Client, reason: &str, _: Option<u8>) {
        self.tell(format!("disconnected {} {reason}", client.clientid));
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.tell(format!("subscribe {} {}", client.clientid, table[0].topic));
        Flow::Next
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.tell(format!(
            "unsubscribe {} {}",
            client.clientid, table[0].topic
        ));
        Flow::Next
    }

    fn session_created(&self, client: ClientRef<'_>) {
        self.tell(format!("created {}", client.clientid));
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.tell(format!("subscribed {} {}", client.clientid, entry.topic));
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.tell(format!("unsubscribed {} {}", client.clientid, entry.topic));
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.tell(format!("terminated {} {reason}", client.clientid));
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if let Some(from) = message.from {
            self.tell(format!("publish {} {}", from.clientid, message.topic));
        }
        Verdict::Pass
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.tell(format!("delivered {} {}", client.clientid, message.topic));
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.tell(format!("acked {} {}", client.clientid, message.topic));
    }
}
