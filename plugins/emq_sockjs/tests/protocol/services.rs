//! The services that the tests of the SockJS protocol expect.

use emq_sockjs::sockjs::frame::Close;
use emq_sockjs::sockjs::server::{Application, Options, Origins, Server};
use emq_sockjs::sockjs::session::{Limits, Socket};
use emqttd_plugin_sdk::PeerInfo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Says what it hears.
struct Echo;

impl Application for Echo {
    fn open(&self, socket: Socket, _peer: &PeerInfo) {
        tokio::spawn(async move {
            while let Some(message) = socket.recv().await {
                socket.send(message).await;
            }
        });
    }

    fn max_payload(&self) -> usize {
        1024 * 1024
    }

    fn protocols(&self) -> &'static [&'static str] {
        &["v12.stomp", "v11.stomp"]
    }
}

/// Is over before it has begun.
struct Gone;

impl Application for Gone {
    fn open(&self, socket: Socket, _peer: &PeerInfo) {
        socket.close(Close::GO_AWAY);
    }

    fn max_payload(&self) -> usize {
        1024
    }
}

/// As the tests of the protocol want them.
pub fn options(prefix: &str) -> Options {
    Options {
        prefix: prefix.to_owned(),
        websocket: true,
        cookie_needed: false,
        response_limit: 4096,
        sockjs_url: "/sockjs.js".to_owned(),
        origins: Origins::All,
        limits: Limits {
            heartbeat: Duration::from_secs(25),
            disconnect: Duration::from_secs(5),
            queue: 256 * 1024,
        },
        max_sessions: 10_000,
    }
}

/// A server without services.
pub fn empty() -> Server {
    let spawn = Box::new(|future| {
        tokio::spawn(future);
    });
    Server::new(&[], spawn)
}

/// The four services, and two more at which other settings can be seen.
pub fn server() -> Server {
    let without_websocket = Options {
        websocket: false,
        ..options("/disabled_websocket_echo")
    };
    let with_cookie = Options {
        cookie_needed: true,
        ..options("/cookie_needed_echo")
    };
    let quick = Options {
        limits: Limits {
            heartbeat: Duration::from_millis(200),
            disconnect: Duration::from_millis(300),
            queue: 1024,
        },
        max_sessions: 2,
        ..options("/quick")
    };
    let ours = Options {
        origins: Origins::These(vec!["https://www.example.com".to_owned()]),
        ..options("/ours")
    };
    empty()
        .with(options("/echo"), Echo)
        .with(options("/close"), Gone)
        .with(without_websocket, Echo)
        .with(with_cookie, Echo)
        .with(quick, Echo)
        .with(ours, Echo)
}

/// Serves whoever connects.
pub async fn serve(server: Arc<Server>, listener: TcpListener) {
    while let Ok((stream, peername)) = listener.accept().await {
        let peer = PeerInfo {
            listener: ("sockjs:http".to_owned(), String::new()),
            peername,
            cert_username: None,
            anonymous: true,
        };
        tokio::spawn(Arc::clone(&server).serve(stream, peer));
    }
}
