//! How sessions end.

use crate::client::{Server, Stream, session};
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
