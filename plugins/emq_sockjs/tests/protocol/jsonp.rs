//! jsonp and jsonp_send.

use crate::client::{Response, Server, session};

const FORM: &str = "application/x-www-form-urlencoded";

async fn send(server: &Server, url: &str, content_type: &str, body: &str) -> Response {
    let headers = [("Content-Type", content_type)];
    server
        .ask("POST", &format!("{url}/jsonp_send"), &headers, body)
        .await
}

#[tokio::test]
async fn polling() {
    let server = Server::start().await;
    let url = session("/echo");
    let response = server.get(&format!("{url}/jsonp?c=%63allback")).await;
    response.verify(200, "/**/callback(\"o\");\r\n");
    let script = "application/javascript; charset=UTF-8";
    assert_eq!(response.header("content-type"), script);
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    response.verify_not_cached();
    let response = send(&server, &url, FORM, "d=%5B%22x%22%5D").await;
    response.verify(200, "ok");
    assert_eq!(response.header("content-type"), "text/plain; charset=UTF-8");
    response.verify_not_cached();
    let response = server.get(&format!("{url}/jsonp?c=%63allback")).await;
    response.verify(200, "/**/callback(\"a[\\\"x\\\"]\");\r\n");
    server
        .get(&format!("{url}/jsonp_send"))
        .await
        .verify_405("OPTIONS, POST");
    server
        .post(&format!("{url}/jsonp"), "")
        .await
        .verify_405("OPTIONS, GET");
}

#[tokio::test]
async fn callbacks() {
    let server = Server::start().await;
    let response = server.get("/echo/a/a/jsonp").await;
    response.verify(500, "\"callback\" parameter required");
    for callback in ["%20", "*", "abc(", "abc%28", ""] {
        let response = server.get(&format!("/echo/a/a/jsonp?c={callback}")).await;
        response.verify(500, "invalid \"callback\" parameter");
    }
    let response = server.get("/echo/a/a/jsonp?callback=x.y_z-1").await;
    response.verify(200, "/**/x.y_z-1(\"o\");\r\n");
}

#[tokio::test]
async fn payloads_that_are_none() {
    let server = Server::start().await;
    let url = session("/echo");
    let poll = format!("{url}/jsonp?c=x");
    server.get(&poll).await.verify(200, "/**/x(\"o\");\r\n");
    let broken = send(&server, &url, FORM, "d=%5B%22x").await;
    broken.verify(500, "Broken JSON encoding.");
    for body in ["", "d=", "p=p", "d=%22x%22"] {
        let response = send(&server, &url, FORM, body).await;
        response.verify(500, "Payload expected.");
    }
    send(&server, &url, FORM, "d=%5B%22b%22%5D")
        .await
        .verify(200, "ok");
    server
        .get(&poll)
        .await
        .verify(200, "/**/x(\"a[\\\"b\\\"]\");\r\n");
    let unknown = send(&server, &session("/echo"), FORM, "d=%5B%22b%22%5D").await;
    unknown.verify(404, "");
}

#[tokio::test]
async fn content_types() {
    let server = Server::start().await;
    let url = session("/echo");
    let poll = format!("{url}/jsonp?c=x");
    server.get(&poll).await.verify(200, "/**/x(\"o\");\r\n");
    let form = format!("{FORM}; charset=utf-8");
    send(&server, &url, &form, "d=%5B%22abc+d%22%5D")
        .await
        .verify(200, "ok");
    server
        .get(&poll)
        .await
        .verify(200, "/**/x(\"a[\\\"abc d\\\"]\");\r\n");
    send(&server, &url, "text/plain", "[\"%61bc+\"]")
        .await
        .verify(200, "ok");
    server
        .get(&poll)
        .await
        .verify(200, "/**/x(\"a[\\\"%61bc+\\\"]\");\r\n");
}

#[tokio::test]
async fn close() {
    let server = Server::start().await;
    let poll = session("/close") + "/jsonp?c=x";
    server.get(&poll).await.verify(200, "/**/x(\"o\");\r\n");
    for _ in 0..2 {
        let end = "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n";
        server.get(&poll).await.verify(200, end);
    }
}
