//! Responses that stream: xhr_streaming, eventsource, htmlfile.

use crate::client::{Server, session};

async fn send(server: &Server, url: &str, body: &str) {
    server
        .post(&format!("{url}/xhr_send"), body)
        .await
        .verify(204, "");
}

#[tokio::test]
async fn xhr_streaming() {
    let server = Server::start().await;
    let url = session("/echo");
    let mut stream = server
        .open("POST", &format!("{url}/xhr_streaming"), &[], "")
        .await;
    let head = &stream.response;
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-type"),
        "application/javascript; charset=UTF-8"
    );
    head.verify_cors(None);
    head.verify_not_cached();
    assert_eq!(stream.chunk().await, "h".repeat(2048) + "\n");
    assert_eq!(stream.chunk().await, "o\n");
    send(&server, &url, "[\"x\"]").await;
    assert_eq!(stream.chunk().await, "a[\"x\"]\n");
}

/// Responses end when so much has come, the prelude not counted.
#[tokio::test]
async fn limit_of_xhr_streaming() {
    let server = Server::start().await;
    let url = session("/echo");
    let mut stream = server
        .open("POST", &format!("{url}/xhr_streaming"), &[], "")
        .await;
    assert_eq!(stream.chunk().await.len(), 2049);
    assert_eq!(stream.chunk().await, "o\n");
    let message = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        send(&server, &url, &message).await;
        assert_eq!(stream.chunk().await, format!("a{message}\n"));
    }
    assert_eq!(stream.chunk().await, "");
    // The session goes on.
    let mut stream = server
        .open("POST", &format!("{url}/xhr_streaming"), &[], "")
        .await;
    assert_eq!(stream.chunk().await.len(), 2049);
    send(&server, &url, "[\"x\"]").await;
    assert_eq!(stream.chunk().await, "a[\"x\"]\n");
}

#[tokio::test]
async fn event_source() {
    let server = Server::start().await;
    let url = session("/echo");
    let mut stream = server
        .open("GET", &format!("{url}/eventsource"), &[], "")
        .await;
    let head = &stream.response;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), "text/event-stream");
    head.verify_cors(None);
    head.verify_not_cached();
    assert_eq!(stream.chunk().await, "\r\n");
    assert_eq!(stream.chunk().await, "data: o\r\n\r\n");
    send(&server, &url, "[\"x\"]").await;
    assert_eq!(stream.chunk().await, "data: a[\"x\"]\r\n\r\n");
    send(&server, &url, r#"["  \u0000\n\r "]"#).await;
    assert_eq!(
        stream.chunk().await,
        "data: a[\"  \\u0000\\n\\r \"]\r\n\r\n"
    );
    // Clients decode percent signs.
    send(&server, &url, "[\"100%41\"]").await;
    assert_eq!(stream.chunk().await, "data: a[\"100%2541\"]\r\n\r\n");
    let long = format!("[\"{}\"]", "x".repeat(4096));
    send(&server, &url, &long).await;
    assert_eq!(stream.chunk().await, format!("data: a{long}\r\n\r\n"));
    assert_eq!(stream.chunk().await, "");
    server
        .post(&format!("{url}/eventsource"), "")
        .await
        .verify_405("OPTIONS, GET");
}

const HTML: &str = "<!doctype html>
<html><head>
  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />
  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>";

#[tokio::test]
async fn html_file() {
    let server = Server::start().await;
    let url = session("/echo");
    let path = format!("{url}/htmlfile?c=%63allback");
    let mut stream = server.open("GET", &path, &[], "").await;
    let head = &stream.response;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), "text/html; charset=UTF-8");
    head.verify_not_cached();
    let prelude = stream.chunk().await;
    assert_eq!(prelude.trim(), HTML);
    assert!(prelude.len() > 1024);
    assert_eq!(stream.chunk().await, "<script>\np(\"o\");\n</script>\r\n");
    send(&server, &url, "[\"x\"]").await;
    let script = "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n";
    assert_eq!(stream.chunk().await, script);
    send(&server, &url, "[\"</script>\"]").await;
    let script = "<script>\np(\"a[\\\"\\u003c/script>\\\"]\");\n</script>\r\n";
    assert_eq!(stream.chunk().await, script);
    let long = "x".repeat(4096);
    send(&server, &url, &format!("[\"{long}\"]")).await;
    let script = format!("<script>\np(\"a[\\\"{long}\\\"]\");\n</script>\r\n");
    assert_eq!(stream.chunk().await, script);
    assert_eq!(stream.chunk().await, "");
}

#[tokio::test]
async fn callbacks_of_html_files() {
    let server = Server::start().await;
    let response = server.get("/echo/a/a/htmlfile").await;
    response.verify(500, "\"callback\" parameter required");
    for callback in ["%20", "*", "abc(", "abc%28", "", "a;b", "%ff"] {
        let response = server
            .get(&format!("/echo/a/a/htmlfile?c={callback}"))
            .await;
        response.verify(500, "invalid \"callback\" parameter");
    }
    // No session has been opened by that.
    server
        .post("/echo/a/a/xhr_send", "[\"x\"]")
        .await
        .verify(404, "");
}
