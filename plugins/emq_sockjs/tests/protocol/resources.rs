//! What there is without a session.

use crate::client::{Response, Server};
use serde_json::Value;

#[tokio::test]
async fn greeting() {
    let server = Server::start().await;
    for path in ["/echo", "/echo/"] {
        let response = server.get(path).await;
        response.verify(200, "Welcome to SockJS!\n");
        assert_eq!(response.header("content-type"), "text/plain; charset=UTF-8");
        response.verify_no_cookie();
    }
    server.post("/echo", "").await.verify_405("GET, HEAD");
}

#[tokio::test]
async fn not_found() {
    let server = Server::start().await;
    for suffix in [
        "/a",
        "/a.html",
        "//",
        "///",
        "/a/a",
        "/a/a/",
        "/a/",
        "/0/0/unknown",
        "/0/0/0/xhr",
        "/echo",
    ] {
        assert_eq!(
            server.get(&format!("/echo{suffix}")).await.status,
            404,
            "{suffix}"
        );
        assert_eq!(
            server.post(&format!("/echo{suffix}"), "").await.status,
            404,
            "{suffix}"
        );
    }
    for path in ["/", "/echox", "/index.html", "/%2e%2e/x", "/../echo"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

const IFRAME: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="/sockjs.js"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#;

#[tokio::test]
async fn iframe_page() {
    let server = Server::start().await;
    for suffix in [
        "/iframe.html",
        "/iframe-a.html",
        "/iframe-.html",
        "/iframe-0.1.2.html",
        "/iframe-0.1.2abc-dirty.2144.html",
        "/iframe-a.html?t=1234",
        "/iframe-0.1.2abc-dirty.2144.html?t=qweqweq123",
    ] {
        let response = server.get(&format!("/echo{suffix}")).await;
        response.verify(200, IFRAME);
        assert_eq!(response.header("content-type"), "text/html; charset=UTF-8");
        response.verify_cached();
        response.verify_no_cookie();
        // The MD5 of the page, in quotes.
        assert_eq!(
            response.header("etag"),
            "\"5ff84430262941008d61a8033546b552\""
        );
    }
    for suffix in [
        "/iframe.htm",
        "/iframe",
        "/IFRAME.HTML",
        "/IFRAME",
        "/iframe.HTML",
        "/iframe.xml",
        "/iframe-/.html",
    ] {
        assert_eq!(
            server.get(&format!("/echo{suffix}")).await.status,
            404,
            "{suffix}"
        );
    }
}

#[tokio::test]
async fn iframe_page_that_is_known() {
    let server = Server::start().await;
    let tag = server
        .get("/echo/iframe.html")
        .await
        .header("etag")
        .to_owned();
    let asked = async |tags: &str| -> Response {
        let headers = [("If-None-Match", tags)];
        server.ask("GET", "/echo/iframe.html", &headers, "").await
    };
    for tags in [&tag, "*", &format!("\"x\", {tag}"), &format!("W/{tag}")] {
        let response = asked(tags).await;
        response.verify(304, "");
        assert_eq!(response.find("content-type"), None);
        assert_eq!(response.header("etag"), tag);
        response.verify_cached();
    }
    asked("\"x\"").await.verify(200, IFRAME);
}

fn info(response: &Response) -> Value {
    assert_eq!(response.status, 200);
    serde_json::from_str(&response.body).unwrap()
}

#[tokio::test]
async fn information() {
    let server = Server::start().await;
    let response = server
        .ask("GET", "/echo/info", &[("Origin", "test")], "")
        .await;
    assert_eq!(
        response.header("content-type"),
        "application/json; charset=UTF-8"
    );
    response.verify_no_cookie();
    response.verify_not_cached();
    response.verify_cors(Some("test"));
    let data = info(&response);
    assert_eq!(data["websocket"], true);
    assert_eq!(data["cookie_needed"], false);
    assert_eq!(data["origins"], serde_json::json!(["*:*"]));
    let first = data["entropy"].as_u64().unwrap();
    assert!(first < 1 << 32);
    assert_eq!(data.as_object().unwrap().len(), 4);

    let response = server.get("/echo/info").await;
    response.verify_cors(None);
    assert_ne!(info(&response)["entropy"].as_u64().unwrap(), first);

    let data = info(&server.get("/disabled_websocket_echo/info").await);
    assert_eq!(data["websocket"], false);
    let response = server.get("/cookie_needed_echo/info").await;
    response.verify_no_cookie();
    assert_eq!(info(&response)["cookie_needed"], true);
    server
        .post("/echo/info", "")
        .await
        .verify_405("OPTIONS, GET, HEAD");
}

#[tokio::test]
async fn options() {
    let server = Server::start().await;
    for (path, methods) in [
        ("/info", "OPTIONS, GET"),
        ("/chunking_test", "OPTIONS, POST"),
        ("/abc/abc/xhr", "OPTIONS, POST"),
        ("/abc/abc/xhr_send", "OPTIONS, POST"),
        ("/abc/abc/xhr_streaming", "OPTIONS, POST"),
        ("/abc/abc/jsonp_send", "OPTIONS, POST"),
        ("/abc/abc/jsonp", "OPTIONS, GET"),
        ("/abc/abc/eventsource", "OPTIONS, GET"),
        ("/abc/abc/htmlfile", "OPTIONS, GET"),
    ] {
        for origin in [
            None,
            Some("test"),
            Some("null"),
            Some("http://a.example:81"),
        ] {
            let mut headers = vec![("Access-Control-Request-Method", methods)];
            headers.extend(origin.map(|origin| ("Origin", origin)));
            let response = server
                .ask("OPTIONS", &format!("/echo{path}"), &headers, "")
                .await;
            response.verify(204, "");
            response.verify_cached();
            response.verify_cors(origin);
            assert_eq!(response.header("access-control-max-age"), "31536000");
            assert_eq!(response.header("access-control-allow-methods"), methods);
            assert_eq!(response.find("content-length"), None);
        }
    }
}

#[tokio::test]
async fn chunking_test() {
    let server = Server::start().await;
    let mut stream = server.open("POST", "/echo/chunking_test", &[], "").await;
    assert_eq!(stream.response.status, 200);
    let script = "application/javascript; charset=UTF-8";
    assert_eq!(stream.response.header("content-type"), script);
    stream.response.verify_cors(None);
    assert_eq!(stream.chunk().await, "h\n");
    assert_eq!(stream.chunk().await, " ".repeat(2048) + "h\n");
    assert_eq!(stream.chunk().await, "h\n");
    assert_eq!(stream.chunk().await, "h\n");
}
