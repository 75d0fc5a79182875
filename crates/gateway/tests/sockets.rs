//! The sockets of a gateway, opened by a plugin in a broker that is in memory.
#![allow(clippy::unwrap_used)]

use emqttd_config::Tls;
use emqttd_gateway::{
    Control, Inbox, Stream, TcpListener, TcpSettings, UdpSettings, UdpSocket, tls_settings,
};
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::tokio::io::{AsyncReadExt, AsyncWriteExt};
use emqttd_plugin_sdk::{Config, Context, Descriptor, Plugin, StartError};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

fn tcp(listen_on: &str, max_clients: usize, tls: Option<Tls>) -> TcpSettings {
    TcpSettings {
        protocol: "toy:tcp".into(),
        listen_on: listen_on.into(),
        key: "toy.listener",
        acceptors: 3,
        max_clients,
        tls,
    }
}

struct Toy(Control);

impl Plugin for Toy {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let most = ctx.config().integer("toy.max_clients").unwrap();
        self.0.set_max_clients(ctx, usize::try_from(most).unwrap());
        Ok(())
    }

    fn stop(&self) {
        self.0.close();
    }
}

/// A plugin that echoes what comes, after the address of who it comes from.
fn echo(settings: TcpSettings) -> (Descriptor, Arc<Mutex<Option<SocketAddr>>>) {
    let place: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let told = Arc::clone(&place);
    let plugin = Descriptor::new("toy", "1", "Echo", move |ctx| {
        let listener = TcpListener::open(ctx, settings.clone())?;
        *told.lock().unwrap() = Some(listener.local_addr());
        let control = listener.control();
        listener.serve(ctx, |mut connection| async move {
            let peer = &connection.peer;
            if let Stream::Plain(stream) = &connection.stream {
                // Whether one that has vanished is noticed.
                assert!(socket2::SockRef::from(stream).keepalive().unwrap());
            }
            assert!(peer.anonymous && peer.listener.0 == "toy:tcp");
            let hello = format!("{} {}\n", peer.peername, connection.stream.is_tls());
            let _ = connection.stream.write_all(hello.as_bytes()).await;
            let mut byte = [0];
            while connection.stream.read_exact(&mut byte).await.is_ok() {
                let _ = connection.stream.write_all(&byte).await;
                let _ = connection.stream.flush().await;
            }
        });
        Ok(Box::new(Toy(control)))
    });
    (plugin, place)
}

fn connect(place: &Mutex<Option<SocketAddr>>) -> TcpStream {
    let stream = TcpStream::connect(place.lock().unwrap().unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The line that the server begins with.
fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Whether the other end closes without a word.
fn is_turned_away(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_come_until_there_are_too_many() {
    let (plugin, place) = echo(tcp("127.0.0.1:0", 2, None));
    let broker = FakeBroker::new();
    broker.start(&plugin, Config::default()).unwrap();
    let row = broker.listeners().remove(0);
    let addr = place.lock().unwrap().unwrap();
    assert_eq!(
        (row.protocol.as_str(), row.listen_on),
        ("toy:tcp", addr.to_string())
    );
    assert_eq!((row.acceptors, row.max_clients), (3, 2));

    let mut first = connect(&place);
    assert_eq!(
        line(&mut first),
        format!("{} false\n", first.local_addr().unwrap())
    );
    let mut second = connect(&place);
    line(&mut second);
    assert!(is_turned_away(&mut connect(&place)));
    // One more may come, or one that is there goes.
    broker.set("toy.max_clients", "3").unwrap();
    assert_eq!(broker.listeners()[0].max_clients, 3);
    assert_eq!(broker.listeners().len(), 1);
    let mut third = connect(&place);
    line(&mut third);
    assert!(is_turned_away(&mut connect(&place)));
    drop(second);
    let begun = Instant::now();
    loop {
        let mut next = connect(&place);
        let mut byte = [0];
        if next.read(&mut byte).is_ok_and(|n| n == 1) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE);
    }
    first.write_all(b"x").unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn what_is_unloaded_is_closed_when_that_is_done() {
    let (plugin, place) = echo(tcp("127.0.0.1:0", 2, None));
    let broker = FakeBroker::new();
    broker.start(&plugin, Config::default()).unwrap();
    let mut connection = connect(&place);
    line(&mut connection);
    let addr = place.lock().unwrap().unwrap();
    // Again and again on the same address.
    for _ in 0..20 {
        let (again, _) = echo(tcp(&addr.to_string(), 2, None));
        broker.start(&again, Config::default()).unwrap();
    }
    // Connections of a life end with it.
    assert!(is_turned_away(&mut connection));
    // Somebody else has it: an error that names key and address.
    let other = FakeBroker::new();
    let (again, _) = echo(tcp(&addr.to_string(), 2, None));
    let config = Config::of(&[("toy.listener", "x")]);
    let StartError(why) = other.start(&again, config).unwrap_err();
    assert!(
        why.starts_with(&format!("toy.listener (test) = {addr}: ")),
        "{why}"
    );
    assert!(why.contains("in use"), "{why}");
    let (wrong, _) = echo(tcp("localhost:1", 2, None));
    let StartError(why) = other.start(&wrong, Config::default()).unwrap_err();
    assert!(
        why.starts_with("toy.listener = localhost:1: a port"),
        "{why}"
    );
}

/// A certificate for localhost and its key in a directory; gives the certificate.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(dir.join("cert.pem"), issued.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    issued.cert.der().clone()
}

#[test]
fn tls_comes_before_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = certificate(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let config = Config::of(&[
        ("toy.tls.keyfile", &file("key.pem")),
        ("toy.tls.certfile", &file("cert.pem")),
        ("toy.tls.handshake_timeout", "100ms"),
    ]);
    let settings = tls_settings(&config, "toy.tls.").unwrap();
    let (plugin, place) = echo(tcp("127.0.0.1:0", 5, Some(settings)));
    let broker = FakeBroker::new();
    broker.start(&plugin, config).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut stream = StreamOwned::new(session, connect(&place));
    let hello = line(&mut stream);
    assert_eq!(
        hello,
        format!("{} true\n", stream.sock.local_addr().unwrap())
    );
    stream.write_all(b"y").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"y");
    // Whoever says nothing, or nonsense, is closed.
    let mut silent = connect(&place);
    assert!(is_turned_away(&mut silent));
    let mut loud = connect(&place);
    loud.write_all(b"CONNECT\n\n\0").unwrap();
    let mut alert = Vec::new();
    let _ = loud.read_to_end(&mut alert);
    assert!(!alert.starts_with(b"127"), "{alert:?}");
}

#[test]
fn keys_of_tls() {
    let of = |pairs: &[(&str, &str)]| tls_settings(&Config::of(pairs), "x.");
    let missing = of(&[]).unwrap_err();
    assert_eq!(missing.0, "x.keyfile is missing: TLS needs it");
    let files = [("x.keyfile", "k"), ("x.certfile", "c")];
    let plain = of(&files).unwrap();
    assert!(plain.tls12 && plain.tls13 && plain.reuse_sessions && !plain.verify_peer);
    assert_eq!(plain.handshake_timeout, Duration::from_secs(15));
    let with = |more: &[(&'static str, &'static str)]| of(&[&files[..], more].concat());
    assert!(with(&[("x.verify", "verify_peer")]).is_err());
    let all = with(&[
        ("x.verify", "verify_peer"),
        ("x.cacertfile", "a"),
        ("x.fail_if_no_peer_cert", "true"),
        ("x.tls_versions", "tlsv1.2, tlsv1.1"),
        ("x.ciphers", "A,B:C"),
        ("x.reuse_sessions", "off"),
        ("x.honor_cipher_order", "on"),
        ("x.handshake_timeout", "3s"),
    ])
    .unwrap();
    assert!(all.verify_peer && all.fail_if_no_peer_cert && all.honor_cipher_order);
    assert!(all.tls12 && !all.tls13 && !all.reuse_sessions);
    assert_eq!(all.ciphers, ["A", "B", "C"]);
    assert_eq!(all.handshake_timeout, Duration::from_secs(3));
}

/// A plugin that sends back what comes, beginning with a byte of its own.
fn udp_echo() -> (Descriptor, Arc<Mutex<Option<SocketAddr>>>) {
    let place: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let told = Arc::clone(&place);
    let plugin = Descriptor::new("toy", "1", "Echo", move |ctx| {
        let socket = UdpSocket::open(
            ctx,
            UdpSettings {
                protocol: "toy:udp".into(),
                listen_on: "127.0.0.1:0".into(),
                key: "toy.port",
                max_clients: 9,
            },
        )?;
        *told.lock().unwrap() = Some(socket.local_addr());
        let mut inbox: Inbox = socket.inbox();
        ctx.spawn(async move {
            while let Ok(datagram) = inbox.recv().await {
                assert_eq!(socket.peer(datagram.from).peername, datagram.from);
                socket.try_send_to(&[b"=", &datagram.bytes[..]].concat(), datagram.from);
            }
        });
        Ok(Box::new(()))
    });
    (plugin, place)
}

#[test]
fn datagrams_come_and_go() {
    let (plugin, place) = udp_echo();
    let broker = FakeBroker::new();
    broker.start(&plugin, Config::default()).unwrap();
    let addr = place.lock().unwrap().unwrap();
    let row = broker.listeners().remove(0);
    assert_eq!(
        (row.protocol.as_str(), row.listen_on),
        ("toy:udp", addr.to_string())
    );
    let devices: Vec<std::net::UdpSocket> = (0..3)
        .map(|_| {
            let device = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            device.set_read_timeout(Some(DEADLINE)).unwrap();
            device
        })
        .collect();
    let mut buffer = vec![0; 70_000];
    for size in [0, 1, 1000, 60_000] {
        for device in &devices {
            device.send_to(&vec![7; size], addr).unwrap();
        }
        for device in &devices {
            let (len, from) = device.recv_from(&mut buffer).unwrap();
            assert_eq!((len, from, buffer[0]), (size + 1, addr, b'='));
        }
    }
    // A burst keeps its order.
    for n in 0..100u8 {
        devices[0].send_to(&[n], addr).unwrap();
    }
    for n in 0..100u8 {
        assert_eq!(devices[0].recv(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], [b'=', n]);
    }
    assert_eq!(broker.metric("dropped/in"), Some(0));
    assert_eq!(broker.metric("dropped/out"), Some(0));
}

#[test]
fn a_flood_leaves_others_their_turn() {
    let turns: Arc<Mutex<Option<usize>>> = Arc::default();
    let told = Arc::clone(&turns);
    let plugin = Descriptor::new("toy", "1", "Flooded", move |ctx| {
        let settings = UdpSettings {
            protocol: "toy:udp".into(),
            listen_on: "127.0.0.1:0".into(),
            key: "toy.port",
            max_clients: 9,
        };
        let socket = UdpSocket::open(ctx, settings)?;
        let mut inbox = socket.inbox();
        let flood = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let send = || flood.send_to(b"x", socket.local_addr()).unwrap();
        ctx.block_on(async {
            // Read faster than they are taken, so that many wait.
            for _ in 0..200 {
                for _ in 0..9 {
                    send();
                }
                inbox.recv().await.unwrap();
            }
            for taken in 0..1000 {
                let received = std::pin::pin!(inbox.recv());
                let waker = std::task::Waker::noop();
                let mut cx = std::task::Context::from_waker(waker);
                if received.poll(&mut cx).is_pending() {
                    *told.lock().unwrap() = Some(taken);
                    break;
                }
            }
            // It goes on, and nothing is lost.
            assert!(inbox.try_recv().is_some());
            inbox.recv().await.unwrap();
        });
        Ok(Box::new(()))
    });
    let broker = FakeBroker::new();
    broker.start(&plugin, Config::default()).unwrap();
    let turn = turns.lock().unwrap().take();
    assert!(turn.is_some_and(|taken| taken <= 256), "{turn:?}");
    assert_eq!(broker.metric("dropped/in"), Some(0));
}
