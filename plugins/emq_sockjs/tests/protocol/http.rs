//! HTTP 1.0 and 1.1.

use crate::client::{Server, session};
use tokio::io::AsyncWriteExt;

const GREETING: &str = "Welcome to SockJS!\n";

#[tokio::test]
async fn http_1_0() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection
        .send("GET", "/echo", "1.0", &[("Connection", "Keep-Alive")], "")
        .await;
    let mut stream = connection.response().await;
    assert_eq!(stream.response.header("connection"), "keep-alive");
    assert_eq!(stream.response.header("content-length"), "19");
    assert_eq!(stream.response.find("transfer-encoding"), None);
    stream.read_body().await;
    stream.response.verify(200, GREETING);
    // Without that the server closes.
    let mut connection = stream.connection;
    connection.send("GET", "/echo", "1.0", &[], "").await;
    let mut stream = connection.response().await;
    assert_eq!(stream.connection.rest().await, GREETING.as_bytes());
    assert!(["", "close"].contains(&stream.response.header("connection")));
}

#[tokio::test]
async fn http_1_0_streaming() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let path = session("/close") + "/xhr_streaming";
    let headers = [("Connection", "Keep-Alive")];
    connection.send("POST", &path, "1.0", &headers, "").await;
    let mut stream = connection.response().await;
    assert_eq!(stream.response.status, 200);
    assert_eq!(stream.response.find("transfer-encoding"), None);
    assert_eq!(stream.response.find("content-length"), None);
    // Only its end tells where the response ends.
    assert!(["", "close"].contains(&stream.response.header("connection")));
    let all = "h".repeat(2048) + "\no\nc[3000,\"Go away!\"]\n";
    assert_eq!(
        String::from_utf8(stream.connection.rest().await).unwrap(),
        all
    );
}

#[tokio::test]
async fn http_1_1() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    // The connection is used again.
    for path in ["/echo", "/echo/", "/echo"] {
        connection
            .send("GET", path, "1.1", &[("Connection", "Keep-Alive")], "")
            .await;
        let mut stream = connection.response().await;
        assert_eq!(stream.response.version, "HTTP/1.1");
        assert!(["", "keep-alive"].contains(&stream.response.header("connection")));
        assert_eq!(stream.response.header("content-length"), "19");
        stream.read_body().await;
        stream.response.verify(200, GREETING);
        connection = stream.connection;
    }
    let url = session("/echo");
    for (action, body, status) in [
        ("xhr", "", 200),
        ("xhr_send", "[\"a\"]", 204),
        ("xhr", "", 200),
        ("xhr_send", "", 500),
        ("nothing", "", 404),
    ] {
        connection
            .send("POST", &format!("{url}/{action}"), "1.1", &[], body)
            .await;
        let mut stream = connection.response().await;
        stream.read_body().await;
        assert_eq!(stream.response.status, status);
        connection = stream.connection;
    }
    connection
        .send("GET", "/echo", "1.1", &[("Connection", "close")], "")
        .await;
    let mut stream = connection.response().await;
    assert_eq!(stream.response.header("connection"), "close");
    assert_eq!(stream.connection.rest().await, GREETING.as_bytes());
}

#[tokio::test]
async fn http_1_1_streaming() {
    let server = Server::start().await;
    let path = session("/close") + "/xhr_streaming";
    for headers in [&[][..], &[("Connection", "close")]] {
        let mut stream = server.open("POST", &path, headers, "").await;
        assert_eq!(stream.response.status, 200);
        assert_eq!(stream.response.header("transfer-encoding"), "chunked");
        assert_eq!(stream.response.find("content-length"), None);
        assert_eq!(stream.chunk().await, "h".repeat(2048) + "\n");
        if headers.is_empty() {
            assert_eq!(stream.chunk().await, "o\n");
        }
        assert_eq!(stream.chunk().await, "c[3000,\"Go away!\"]\n");
        assert_eq!(stream.chunk().await, "");
    }
}

#[tokio::test]
async fn bodies_in_chunks() {
    let server = Server::start().await;
    let url = session("/echo");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    let mut connection = server.connect().await;
    let head = format!(
        "POST {url}/xhr_send HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.0.write_all(head.as_bytes()).await.unwrap();
    let go_on = connection.response().await;
    assert_eq!(go_on.response.status, 100);
    let mut connection = go_on.connection;
    connection
        .0
        .write_all(b"2\r\n[\"\r\n3\r\na\"]\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(connection.response().await.response.status, 204);
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "a[\"a\"]\n");
}

#[tokio::test]
async fn what_is_no_http() {
    let server = Server::start().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"[..],
        b"CONNECT\n\n\0\r\n\r\n",
        b"GET /echo HTTP/7.1\r\n\r\n",
    ] {
        let mut connection = server.connect().await;
        connection.0.write_all(nonsense).await.unwrap();
        let answer = connection.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
    }
    let mut connection = server.connect().await;
    let long = format!("GET /echo HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    // It may close before all is written.
    let _ = connection.0.write_all(long.as_bytes()).await;
    let answer = connection.response().await;
    assert_eq!(answer.response.status, 431);
}
