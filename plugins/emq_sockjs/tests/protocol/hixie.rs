//! WebSockets of draft-hixie-76, which browsers spoke before RFC 6455.

use crate::client::{Connection, Server, Stream};
use tokio::io::AsyncWriteExt;

const KEYS: [(&str, &str); 5] = [
    ("Upgrade", "WebSocket"),
    ("Connection", "Upgrade"),
    ("Origin", "http://example.com"),
    ("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5"),
    ("Sec-WebSocket-Key2", "12998 5 Y3 1  .P00"),
];

async fn send(connection: &mut Connection, bytes: &[u8]) {
    connection.0.write_all(bytes).await.unwrap();
}

async fn expect(connection: &mut Connection, text: &str) {
    let frame = [b"\0", text.as_bytes(), b"\xff"].concat();
    assert_eq!(
        connection
            .bytes(frame.len())
            .await
            .escape_ascii()
            .to_string(),
        frame.escape_ascii().to_string()
    );
}

/// The head comes before the last part of the request, which some proxies hold back until then.
async fn open(server: &Server, path: &str) -> Connection {
    let Stream {
        mut connection,
        response: head,
    } = server.open("GET", path, &KEYS, "").await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("connection").to_lowercase(), "upgrade");
    assert_eq!(head.header("upgrade").to_lowercase(), "websocket");
    assert_eq!(
        head.header("sec-websocket-location"),
        format!("ws://localhost{path}")
    );
    assert_eq!(head.header("sec-websocket-origin"), "http://example.com");
    assert_eq!(head.find("content-length"), None);
    assert_eq!(head.find("transfer-encoding"), None);
    send(&mut connection, b"aaaaaaaa").await;
    let answer = b"\xca4\x00\xd8\xa5\x08G\x97,\xd5qZ\xba\xbfC{";
    assert_eq!(connection.bytes(16).await, answer);
    connection
}

#[tokio::test]
async fn transport() {
    let server = Server::start().await;
    let mut connection = open(&server, "/echo/000/a/websocket?x=y").await;
    expect(&mut connection, "o").await;
    send(&mut connection, b"\0\xff\0[\"a\"").await;
    send(&mut connection, b"]\xff\0\"\xc3\xa4\"\xff").await;
    let mut both = Vec::new();
    while both.iter().filter(|byte| **byte == b'"').count() < 4 {
        both.extend(connection.bytes(1).await);
    }
    let both = String::from_utf8_lossy(&both).into_owned();
    assert!(
        both.contains("a[\"a\"") && both.contains("\"\u{e4}\""),
        "{both}"
    );
    let end = String::from_utf8_lossy(&connection.bytes(2).await).into_owned();
    assert_eq!(end, "]\u{fffd}");
    // The client says that it ends.
    send(&mut connection, b"\xff\0").await;
    assert_eq!(connection.rest().await, b"\xff\0");
}

#[tokio::test]
async fn close() {
    let server = Server::start().await;
    let mut connection = open(&server, "/close/000/a/websocket").await;
    expect(&mut connection, "o").await;
    expect(&mut connection, "c[3000,\"Go away!\"]").await;
    assert_eq!(connection.bytes(2).await, b"\xff\0");
    send(&mut connection, b"\xff\0").await;
    assert_eq!(connection.rest().await, b"");
    let mut connection = open(&server, "/close/websocket").await;
    assert_eq!(connection.bytes(2).await, b"\xff\0");
}

#[tokio::test]
async fn without_frames() {
    let server = Server::start().await;
    let mut connection = open(&server, "/echo/websocket").await;
    send(&mut connection, b"\0Hello\0world!\xff").await;
    expect(&mut connection, "Hello\0world!").await;
}

/// There are no pings: that the client says nothing means nothing.
#[tokio::test]
async fn heart_beats() {
    let server = Server::start().await;
    let mut connection = open(&server, "/quick/000/a/websocket").await;
    expect(&mut connection, "o").await;
    for _ in 0..4 {
        expect(&mut connection, "h").await;
    }
}

#[tokio::test]
async fn what_is_against_the_rules_ends_it() {
    let server = Server::start().await;
    for bytes in [&b"\0[\"a\xff"[..], b"\x80\x01x", b"\x01x\xff"] {
        let mut connection = open(&server, "/echo/000/a/websocket").await;
        expect(&mut connection, "o").await;
        send(&mut connection, bytes).await;
        assert_eq!(connection.bytes(2).await, b"\xff\0");
    }
}

#[tokio::test]
async fn keys_that_are_none() {
    let server = Server::start().await;
    for (key, value) in [
        (3, "12345"),
        (3, "nothing"),
        (3, "1 24  3"),
        (4, "99999999999 9"),
    ] {
        let mut headers = KEYS;
        headers[key].1 = value;
        let response = server.ask("GET", "/echo/0/0/websocket", &headers, "").await;
        response.verify(
            400,
            "\"Sec-WebSocket-Key1\" or \"Sec-WebSocket-Key2\" is wrong.",
        );
    }
    let response = server
        .ask("GET", "/echo/0/0/websocket", &KEYS[..4], "")
        .await;
    response.verify(426, "");
}
