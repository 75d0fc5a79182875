//! Heart-beats, the end of sessions that nobody receives, and places.

use crate::client::{Server, session};
use std::time::{Duration, Instant};

#[tokio::test]
async fn heart_beats() {
    let server = Server::start().await;
    let url = session("/quick");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    let began = Instant::now();
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "h\n");
    assert!(began.elapsed() >= Duration::from_millis(200));
    let mut stream = server
        .open("POST", &format!("{url}/xhr_streaming"), &[], "")
        .await;
    assert_eq!(stream.chunk().await.len(), 2049);
    assert_eq!(stream.chunk().await, "h\n");
    assert_eq!(stream.chunk().await, "h\n");
}

#[tokio::test]
async fn a_session_that_nobody_receives() {
    let server = Server::start().await;
    let url = session("/quick");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    let began = Instant::now();
    // Sending is not receiving.
    loop {
        let response = server.post(&format!("{url}/xhr_send"), "[\"x\"]").await;
        if response.status == 404 {
            break;
        }
        response.verify(204, "");
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    // The name is free again.
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
}

#[tokio::test]
async fn places() {
    let server = Server::start().await;
    let first = server
        .open("POST", &(session("/quick") + "/xhr_streaming"), &[], "")
        .await;
    server
        .post(&(session("/quick") + "/xhr"), "")
        .await
        .verify(200, "o\n");
    let full = server.post(&(session("/quick") + "/xhr"), "").await;
    full.verify(503, "Too many sessions.\n");
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];
    let path = "/quick/websocket";
    assert_eq!(server.ask("GET", path, &upgrade, "").await.status, 503);
    // The second has been alone for its time.
    let began = Instant::now();
    let taken = loop {
        let stream = server.open("GET", path, &upgrade, "").await;
        if stream.response.status == 101 {
            break stream;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(server.ask("GET", path, &upgrade, "").await.status, 503);
    // The place of a WebSocket is free when it is closed.
    drop(taken);
    while server.open("GET", path, &upgrade, "").await.response.status != 101 {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(first);
}

/// Who sends more than the application takes waits.
#[tokio::test]
async fn a_session_that_is_full() {
    let server = Server::start().await;
    let url = session("/quick");
    let mut stream = server
        .open("POST", &format!("{url}/xhr_streaming"), &[], "")
        .await;
    assert_eq!(stream.chunk().await.len(), 2049);
    assert_eq!(stream.chunk().await, "o\n");
    let message = "x".repeat(900);
    let body = format!("[\"{message}\",\"{message}\",\"{message}\",\"{message}\"]");
    server
        .post(&format!("{url}/xhr_send"), &body)
        .await
        .verify(204, "");
    let mut text = String::new();
    while text.matches(&message).count() < 4 {
        text += &stream.chunk().await;
        if text.len() > 4096 {
            stream = server
                .open("POST", &format!("{url}/xhr_streaming"), &[], "")
                .await;
        }
        assert!(text.len() < 20_000);
    }
}
