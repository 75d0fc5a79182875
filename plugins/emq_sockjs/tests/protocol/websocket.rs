//! WebSockets, with frames of SockJS and without.

use crate::client::{LONG, Server};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(server: &Server, path: &str) -> Socket {
        let request = format!("ws://{}{path}", server.address)
            .into_client_request()
            .unwrap();
        let stream = TcpStream::connect(&server.address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap();
        Socket(socket)
    }

    async fn message(&mut self) -> Message {
        tokio::time::timeout(LONG, self.0.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    async fn text(&mut self) -> String {
        match self.message().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Code and reason of the server's close frame, after which the connection ends.
    async fn close(mut self) -> (u16, String) {
        let close = match self.message().await {
            Message::Close(Some(close)) => (close.code.into(), close.reason.to_string()),
            other => panic!("{other:?}"),
        };
        while let Some(Ok(_)) = tokio::time::timeout(LONG, self.0.next()).await.unwrap() {}
        close
    }
}

#[tokio::test]
async fn transport() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "/echo/000/same/websocket").await;
    assert_eq!(socket.text().await, "o");
    for (sent, answer) in [
        ("", None),
        ("[]", None),
        ("[\"a\"]", Some("a[\"a\"]")),
        ("\"b\"", Some("a[\"b\"]")),
        ("[\"\\ud800\\u2028\"]", Some("a[\"\\ud800\\u2028\"]")),
    ] {
        socket.send(sent).await;
        if let Some(answer) = answer {
            assert_eq!(socket.text().await, answer);
        }
    }
    // The name of the session does not count.
    let mut other = Socket::open(&server, "/echo/000/same/websocket").await;
    assert_eq!(other.text().await, "o");
    other.send("[\"other\"]").await;
    assert_eq!(other.text().await, "a[\"other\"]");
    socket.send("[\"first\"]").await;
    assert_eq!(socket.text().await, "a[\"first\"]");
    server
        .post("/echo/000/same/xhr_send", "[\"x\"]")
        .await
        .verify(404, "");
    other.0.close(None).await.unwrap();
    while let Some(Ok(_)) = tokio::time::timeout(LONG, other.0.next()).await.unwrap() {}
}

#[tokio::test]
async fn close() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "/close/000/a/websocket").await;
    assert_eq!(socket.text().await, "o");
    assert_eq!(socket.text().await, "c[3000,\"Go away!\"]");
    assert_eq!(socket.close().await, (1000, "Normal closure".to_owned()));
    let socket = Socket::open(&server, "/close/websocket").await;
    assert_eq!(socket.close().await, (3000, "Go away!".to_owned()));
}

#[tokio::test]
async fn broken_framing() {
    let server = Server::start().await;
    for message in [
        Message::text("[\"a"),
        Message::text("x"),
        Message::binary("[\"a\"]"),
    ] {
        let mut socket = Socket::open(&server, "/echo/000/a/websocket").await;
        assert_eq!(socket.text().await, "o");
        socket.0.send(message).await.unwrap();
        assert_eq!(socket.close().await, (3000, "Broken framing.".to_owned()));
    }
    let mut socket = Socket::open(&server, "/echo/000/a/websocket").await;
    assert_eq!(socket.text().await, "o");
    socket.send(&"x".repeat(1024 * 1024 + 1)).await;
    assert!(!matches!(
        tokio::time::timeout(LONG, socket.0.next()).await.unwrap(),
        Some(Ok(Message::Text(_)))
    ));
}

#[tokio::test]
async fn without_frames() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "/echo/websocket").await;
    socket.send("Hello world!\u{ffff}").await;
    assert_eq!(socket.text().await, "Hello world!\u{ffff}");
    socket
        .0
        .send(Message::binary(&b"\xff\x00"[..]))
        .await
        .unwrap();
    assert_eq!(socket.message().await, Message::binary(&b"\xff\x00"[..]));
}

#[tokio::test]
async fn heart_beats() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "/quick/000/a/websocket").await;
    assert_eq!(socket.text().await, "o");
    // Pings are answered by reading on.
    for _ in 0..3 {
        assert_eq!(socket.text().await, "h");
        assert!(matches!(socket.message().await, Message::Ping(_)));
    }
    // A peer that answers none is gone: nobody reads here, so nothing is answered.
    let mut raw = Socket::open(&server, "/quick/websocket").await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(matches!(raw.message().await, Message::Ping(_)));
    assert_eq!(raw.message().await, Message::Close(None));
}

const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
];

#[tokio::test]
async fn handshakes() {
    let server = Server::start().await;
    for version in ["7", "8", "13"] {
        for (connection, upgrade) in [
            ("Upgrade", "websocket"),
            ("keep-alive, Upgrade", "WebSocket"),
        ] {
            let headers = [
                ("Upgrade", upgrade),
                ("Connection", connection),
                ("Sec-WebSocket-Version", version),
                ("Sec-WebSocket-Origin", "http://asd"),
                ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
            ];
            let stream = server
                .open("GET", "/echo/0/0/websocket", &headers, "")
                .await;
            let head = &stream.response;
            assert_eq!(head.status, 101);
            assert_eq!(
                head.header("sec-websocket-accept"),
                "HSmrc0sMlYUkAGmm5OPpG2HaGWk="
            );
            assert_eq!(head.header("connection").to_lowercase(), "upgrade");
            assert_eq!(head.header("upgrade").to_lowercase(), "websocket");
            assert_eq!(head.find("content-length"), None);
            assert_eq!(head.find("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn protocols() {
    let server = Server::start().await;
    for (offered, chosen) in [
        ("v10.stomp, v11.stomp, v12.stomp", Some("v12.stomp")),
        ("v11.stomp", Some("v11.stomp")),
        ("mqtt", None),
    ] {
        let mut headers = UPGRADE.to_vec();
        headers.push(("Sec-WebSocket-Protocol", offered));
        let stream = server.open("GET", "/echo/websocket", &headers, "").await;
        assert_eq!(stream.response.status, 101);
        assert_eq!(stream.response.find("sec-websocket-protocol"), chosen);
    }
}

#[tokio::test]
async fn requests_that_are_none() {
    let server = Server::start().await;
    for path in ["/echo/0/0/websocket", "/echo/websocket"] {
        let response = server.get(path).await;
        response.verify(400, "Can \"Upgrade\" only to \"WebSocket\".");
        let headers = [("Upgrade", "WebSocket"), ("Connection", "close")];
        let response = server.ask("GET", path, &headers, "").await;
        response.verify(400, "\"Connection\" must be \"Upgrade\".");
        for headers in [&[][..], &UPGRADE] {
            server
                .ask("POST", path, headers, "")
                .await
                .verify_405("GET");
        }
        let response = server.ask("GET", path, &UPGRADE[..2], "").await;
        response.verify(426, "");
        assert_eq!(response.header("sec-websocket-version"), "13, 8, 7");
        let response = server.ask("GET", path, &UPGRADE[..3], "").await;
        assert_eq!(response.status, 400);
    }
    for path in [
        "/disabled_websocket_echo/0/0/websocket",
        "/disabled_websocket_echo/websocket",
    ] {
        assert_eq!(server.ask("GET", path, &UPGRADE, "").await.status, 404);
        assert_eq!(server.get(path).await.status, 404);
    }
}
