//! xhr and xhr_send, and what they show of sessions.

use crate::client::{Server, session};

#[tokio::test]
async fn any_server_and_session() {
    let server = Server::start().await;
    for part in [
        "/a/a",
        "/_/_",
        "/1/2",
        "/abcdefgh_i-j%20/abcdefg_i-j%20",
        "/~/é",
    ] {
        let response = server.post(&format!("/echo{part}/xhr"), "").await;
        response.verify(200, "o\n");
    }
    for part in ["//", "/a./a", "/a/a.", "/./.", "/", "///", "//a", "/a/"] {
        let path = format!("/echo{part}/xhr");
        assert_eq!(server.get(&path).await.status, 404, "{path}");
        assert_eq!(server.post(&path, "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_server_part_does_not_count() {
    let server = Server::start().await;
    server
        .post("/echo/000/same/xhr", "")
        .await
        .verify(200, "o\n");
    server
        .post("/echo/000/same/xhr_send", "[\"a\"]")
        .await
        .verify(204, "");
    server
        .post("/echo/999/same/xhr", "")
        .await
        .verify(200, "a[\"a\"]\n");
    // Services have sessions of their own.
    server
        .post("/close/000/same/xhr", "")
        .await
        .verify(200, "o\n");
}

#[tokio::test]
async fn polling() {
    let server = Server::start().await;
    let url = session("/echo");
    let response = server.post(&format!("{url}/xhr"), "").await;
    response.verify(200, "o\n");
    let script = "application/javascript; charset=UTF-8";
    assert_eq!(response.header("content-type"), script);
    response.verify_cors(None);
    response.verify_not_cached();
    response.verify_no_cookie();
    let response = server.post(&format!("{url}/xhr_send"), "[\"x\"]").await;
    response.verify(204, "");
    assert_eq!(response.header("content-type"), "text/plain; charset=UTF-8");
    response.verify_cors(None);
    response.verify_not_cached();
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "a[\"x\"]\n");
    let wrong = server.get(&format!("{url}/xhr")).await;
    wrong.verify_405("OPTIONS, POST");
    server
        .get(&format!("{url}/xhr_send"))
        .await
        .verify_405("OPTIONS, POST");
}

#[tokio::test]
async fn a_session_that_is_not_there() {
    let server = Server::start().await;
    let response = server
        .post(&(session("/echo") + "/xhr_send"), "[\"x\"]")
        .await;
    response.verify(404, "");
    response.verify_cors(None);
}

#[tokio::test]
async fn payloads_that_are_none() {
    let server = Server::start().await;
    let url = session("/echo");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    let send = format!("{url}/xhr_send");
    server
        .post(&send, "[\"x")
        .await
        .verify(500, "Broken JSON encoding.");
    server
        .post(&send, "[1]")
        .await
        .verify(500, "Broken JSON encoding.");
    server
        .post(&send, "")
        .await
        .verify(500, "Payload expected.");
    server
        .post(&send, "\"x\"")
        .await
        .verify(500, "Payload expected.");
    server.post(&send, "[\"a\"]").await.verify(204, "");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "a[\"a\"]\n");
    let long = format!("[\"{}\"]", "x".repeat(1024 * 1024));
    let response = server.post(&send, &long).await;
    assert_eq!(
        (response.status, response.header("connection")),
        (413, "close")
    );
}

#[tokio::test]
async fn content_types() {
    let server = Server::start().await;
    let url = session("/echo");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    for (index, content_type) in [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml; charset=utf-8",
        "text/xml",
    ]
    .into_iter()
    .enumerate()
    {
        let headers = [("Content-Type", content_type)];
        let body = format!("[\"{index}\"]");
        let path = format!("{url}/xhr_send");
        let response = server.ask("POST", &path, &headers, &body).await;
        response.verify(204, "");
        let echo = format!("a[\"{index}\"]\n");
        server
            .post(&format!("{url}/xhr"), "")
            .await
            .verify(200, &echo);
    }
}

#[tokio::test]
async fn headers_that_are_asked_for() {
    let server = Server::start().await;
    for (asked, allowed) in [("a, b, c", Some("a, b, c")), ("", None)] {
        let headers = [("Access-Control-Request-Headers", asked)];
        let path = session("/echo") + "/xhr";
        let response = server.ask("POST", &path, &headers, "").await;
        response.verify(200, "o\n");
        response.verify_cors(None);
        assert_eq!(response.find("access-control-allow-headers"), allowed);
    }
    let response = server.post(&(session("/echo") + "/xhr"), "").await;
    assert_eq!(response.find("access-control-allow-headers"), None);
}

#[tokio::test]
async fn no_messages() {
    let server = Server::start().await;
    let url = session("/echo");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    server
        .post(&format!("{url}/xhr_send"), "[]")
        .await
        .verify(204, "");
    server
        .post(&format!("{url}/xhr_send"), "[\"\"]")
        .await
        .verify(204, "");
    server
        .post(&format!("{url}/xhr_send"), "[\"a\"]")
        .await
        .verify(204, "");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "a[\"a\"]\n");
}

#[tokio::test]
async fn cookies() {
    let server = Server::start().await;
    for action in [
        "xhr",
        "xhr_streaming",
        "eventsource",
        "htmlfile?c=x",
        "jsonp?c=x",
    ] {
        let method = if action.starts_with("xhr") {
            "POST"
        } else {
            "GET"
        };
        for (given, set) in [
            (None, "JSESSIONID=dummy; path=/"),
            (Some("JSESSIONID=abcdef"), "JSESSIONID=abcdef; path=/"),
            (Some("a=b; JSESSIONID=x; c=d"), "JSESSIONID=x; path=/"),
        ] {
            let headers: Vec<_> = given.map(|cookie| ("Cookie", cookie)).into_iter().collect();
            let path = format!("{}/{action}", session("/cookie_needed_echo"));
            let stream = server.open(method, &path, &headers, "").await;
            assert_eq!(stream.response.status, 200);
            assert_eq!(stream.response.header("set-cookie"), set, "{action}");
            let path = format!("{}/{action}", session("/echo"));
            let stream = server.open(method, &path, &headers, "").await;
            stream.response.verify_no_cookie();
        }
    }
}

/// The characters that a server must escape and those that clients do, half surrogate pairs among them.
#[tokio::test]
async fn characters_that_get_lost() {
    let server = Server::start().await;
    let url = session("/echo");
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, "o\n");
    let by_server = (0..0x20)
        .chain(0x200c..=0x200f)
        .chain(0x2028..=0x202f)
        .chain(0x2060..=0x206f)
        .chain(0xfff0..=0xffff);
    let by_client = (0xd800..=0xdfff).chain([0xfffe, 0xffff]);
    for units in [by_server.collect::<Vec<u32>>(), by_client.collect()] {
        let text: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let body = format!("[\"{text}\"]");
        server
            .post(&format!("{url}/xhr_send"), &body)
            .await
            .verify(204, "");
        let short = text
            .replace("\\u0008", "\\b")
            .replace("\\u0009", "\\t")
            .replace("\\u000a", "\\n")
            .replace("\\u000c", "\\f")
            .replace("\\u000d", "\\r");
        let echo = format!("a[\"{short}\"]\n");
        server
            .post(&format!("{url}/xhr"), "")
            .await
            .verify(200, &echo);
    }
    // What clients escape beside these comes back as it is.
    let body = "[\"\\u0300\\u0374\\u0591\\u1fee\\u212a\\ufb4e\"]";
    server
        .post(&format!("{url}/xhr_send"), body)
        .await
        .verify(204, "");
    let echo = "a[\"\u{300}\u{374}\u{591}\u{1fee}\u{212a}\u{fb4e}\"]\n";
    server
        .post(&format!("{url}/xhr"), "")
        .await
        .verify(200, echo);
}
