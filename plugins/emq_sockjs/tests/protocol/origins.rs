//! Pages that may not connect.

use crate::client::{Server, session};

#[tokio::test]
async fn origins() {
    let server = Server::start().await;
    for (origin, status) in [
        (None, 200),
        (Some("https://www.example.com"), 200),
        (Some("HTTPS://www.Example.com"), 200),
        // The page comes from this server.
        (Some("http://localhost"), 200),
        (Some("http://localhost:81"), 403),
        (Some("https://example.com"), 403),
        (Some("https://www.example.com.evil.example"), 403),
        (Some("null"), 403),
        (Some("*"), 403),
    ] {
        let headers: Vec<_> = origin
            .map(|origin| ("Origin", origin))
            .into_iter()
            .collect();
        let path = session("/ours") + "/xhr";
        let stream = server.open("POST", &path, &headers, "").await;
        assert_eq!(stream.response.status, status, "{origin:?}");
        let refused = stream
            .response
            .find("access-control-allow-origin")
            .is_none();
        assert_eq!(refused, status == 403, "{origin:?}");
        let info = server.ask("GET", "/ours/info", &headers, "").await;
        assert_eq!(info.status, status, "{origin:?}");
        let mut upgrade = headers.clone();
        upgrade.extend([
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
        ]);
        for path in ["/ours/websocket", "/ours/0/0/websocket"] {
            let stream = server.open("GET", path, &upgrade, "").await;
            let expected = if status == 200 { 101 } else { 403 };
            assert_eq!(stream.response.status, expected, "{origin:?}");
        }
    }
    let of_draft = [("Sec-WebSocket-Origin", "http://evil.example")];
    assert_eq!(
        server
            .ask("GET", "/ours/websocket", &of_draft, "")
            .await
            .status,
        403
    );
    // Around the invisible page there may be no other page either.
    let page = server.get("/ours/iframe.html").await;
    let policy = "frame-ancestors 'self' https://www.example.com";
    assert_eq!(page.header("content-security-policy"), policy);
    let page = server.get("/echo/iframe.html").await;
    assert_eq!(page.find("content-security-policy"), None);
}
