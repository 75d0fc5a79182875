//! How sessions end.

use crate::client::{LONG, Server, Stream, session};
use crate::services;
use emq_sockjs::sockjs::server::Application;
use emq_sockjs::sockjs::session::Socket;
use emqttd_plugin_sdk::PeerInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::AsyncWriteExt;

const BUSY: &str = "c[2010,\"Another connection still open\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";
const GO_AWAY: &str = "c[3000,\"Go away!\"]\n";

/// A response that streams, of which the prelude has been read.
async fn streaming(server: &Server, url: &str) -> Stream {
    let path = format!("{url}/xhr_streaming");
    let mut stream = server.open("POST", &path, &[], "").await;
    assert_eq!(stream.chunk().await.len(), 2049);
    stream
}

/// Waits until a poll says something else than that somebody else receives.
async fn poll_when_free(server: &Server, url: &str) -> String {
    loop {
        let response = server.post(&format!("{url}/xhr"), "").await;
        if response.body != BUSY {
            return response.body;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_end_is_told_again_and_again() {
    let server = Server::start().await;
    let poll = session("/close") + "/xhr";
    server.post(&poll, "").await.verify(200, "o\n");
    for _ in 0..3 {
        server.post(&poll, "").await.verify(200, GO_AWAY);
    }
}

#[tokio::test]
async fn close_frame() {
    let server = Server::start().await;
    let url = session("/close");
    let mut first = streaming(&server, &url).await;
    assert_eq!(first.chunk().await, "o\n");
    assert_eq!(first.chunk().await, GO_AWAY);
    let mut second = streaming(&server, &url).await;
    assert_eq!(second.chunk().await, GO_AWAY);
    assert_eq!(first.chunk().await, "");
    assert_eq!(second.chunk().await, "");
}

#[tokio::test]
async fn one_receives_at_a_time() {
    let server = Server::start().await;
    let url = session("/echo");
    let mut first = streaming(&server, &url).await;
    assert_eq!(first.chunk().await, "o\n");
    let mut second = streaming(&server, &url).await;
    assert_eq!(second.chunk().await, BUSY);
    assert_eq!(second.chunk().await, "");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, BUSY);
    let mut source = server
        .open("GET", &format!("{url}/eventsource"), &[], "")
        .await;
    assert_eq!(source.chunk().await, "\r\n");
    assert_eq!(
        source.chunk().await,
        format!("data: {}\r\n\r\n", BUSY.trim())
    );
    // The first goes on.
    server
        .post(&format!("{url}/xhr_send"), "[\"x\"]")
        .await
        .verify(204, "");
    assert_eq!(first.chunk().await, "a[\"x\"]\n");
}

#[tokio::test]
async fn a_streaming_response_that_breaks() {
    let server = Server::start().await;
    let url = session("/echo");
    let mut first = streaming(&server, &url).await;
    assert_eq!(first.chunk().await, "o\n");
    let mut second = streaming(&server, &url).await;
    assert_eq!(second.chunk().await, BUSY);
    drop(first);
    assert_eq!(poll_when_free(&server, &url).await, INTERRUPTED);
    let mut third = streaming(&server, &url).await;
    assert_eq!(third.chunk().await, INTERRUPTED);
    assert_eq!(third.chunk().await, "");
    // It is there still, but nobody listens.
    server
        .post(&format!("{url}/xhr_send"), "[\"x\"]")
        .await
        .verify(204, "");
}

#[tokio::test]
async fn a_poll_that_breaks() {
    let server = Server::start().await;
    let url = session("/echo");
    let poll = format!("{url}/xhr");
    server.post(&poll, "").await.verify(200, "o\n");
    let waiting = server.open("POST", &poll, &[], "").await;
    server.post(&poll, "").await.verify(200, BUSY);
    drop(waiting);
    assert_eq!(poll_when_free(&server, &url).await, INTERRUPTED);
}

#[tokio::test]
async fn half_a_connection() {
    // Who sends no more receives no more.
    let server = Server::start().await;
    let url = session("/echo");
    let mut first = streaming(&server, &url).await;
    assert_eq!(first.chunk().await, "o\n");
    first.connection.0.shutdown().await.unwrap();
    assert_eq!(poll_when_free(&server, &url).await, INTERRUPTED);
}

/// Counts the sessions that are open.
struct Counting(Arc<AtomicUsize>);

impl Application for Counting {
    fn open(&self, socket: Socket, _peer: &PeerInfo) {
        let open = Arc::clone(&self.0);
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            while socket.recv().await.is_some() {}
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn max_payload(&self) -> usize {
        1024
    }
}

/// However a connection breaks, and when: the application hears of it.
#[tokio::test]
async fn no_session_outlives_its_connection() {
    let open = Arc::new(AtomicUsize::new(0));
    let server = services::empty().with(services::options("/count"), Counting(Arc::clone(&open)));
    let server = Server::with(server).await;
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];
    for round in 0..40 {
        for (method, path, headers) in [
            ("GET", "/count/websocket".to_owned(), &upgrade[..]),
            ("GET", session("/count") + "/websocket", &upgrade[..]),
            ("POST", session("/count") + "/xhr_streaming", &[]),
            ("GET", session("/count") + "/eventsource", &[]),
        ] {
            let mut connection = server.connect().await;
            connection.send(method, &path, "1.1", headers, "").await;
            match round % 4 {
                // With a reset, before anything has been read.
                0 => connection.0.get_ref().set_zero_linger().unwrap(),
                1 => tokio::task::yield_now().await,
                2 => drop(connection.response().await),
                _ => {
                    let mut stream = connection.response().await;
                    stream.connection.0.shutdown().await.unwrap();
                }
            }
        }
    }
    let began = Instant::now();
    while open.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < LONG, "{open:?} sessions are open");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
