//! What can be asked for without a session: greeting, info, page of iframes, OPTIONS, wrong paths and methods.

use emqttd_tests::{Broker, unique};

use super::http::{Http, ask, get, post};
use super::{at, config, cors, here, not_cached, session};

#[test]
fn the_greeting() {
    for path in ["/stomp", "/stomp/"] {
        let answer = get(here(), path);
        assert_eq!(
            (answer.status(), &*answer.body),
            (200, "Welcome to SockJS!\n")
        );
        assert_eq!(
            answer.head.value("content-type"),
            "text/plain; charset=UTF-8"
        );
        assert_eq!(answer.head.header("set-cookie"), None);
    }
}

#[test]
fn paths_that_are_none() {
    for path in [
        "/a",
        "/a.html",
        "//",
        "///",
        "/a/a",
        "/a/a/",
        "/a/",
        "/a/a/a",
        "/a/b/xhrr",
        "/0/0/",
    ] {
        let answer = get(here(), &format!("/stomp{path}"));
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.head.header("set-cookie"), None);
    }
    // Parts of the path of a session have no dots, and are there.
    for path in ["//", "/a./a", "/a/a.", "/./.", "/", "///"] {
        for (method, name) in [("GET", "/xhr"), ("POST", "/xhr"), ("POST", "/xhr_send")] {
            let answer = ask(here(), method, &format!("/stomp{path}{name}"), &[], "");
            assert_eq!(answer.status(), 404, "{method} {path}{name}");
        }
    }
}

#[test]
fn any_names_make_a_session() {
    for part in ["/a/a", "/_/_", "/1/1", "/abcdefgh_i-j%20/abcdefg_i-j%20"] {
        let answer = post(here(), &format!("/stomp{part}{}/xhr", unique("s")), "");
        assert_eq!((answer.status(), &*answer.body), (200, "o\n"), "{part}");
    }
}

#[test]
fn info_tells_what_there_is() {
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let answer = get(here(), "/stomp/info");
        assert_eq!(answer.status(), 200);
        let kind = answer.head.value("content-type");
        assert_eq!(kind, "application/json; charset=UTF-8");
        not_cached(&answer.head);
        cors(&answer.head, None);
        assert_eq!(answer.head.header("set-cookie"), None);
        let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(info["websocket"], true);
        assert_eq!(info["cookie_needed"], false);
        assert_eq!(info["origins"], serde_json::json!(["*:*"]));
        let entropy = info["entropy"].as_u64().unwrap();
        assert!(entropy < 1 << 32, "{entropy}");
        numbers.push(entropy);
    }
    assert_ne!(numbers[0], numbers[1]);
    for origin in ["http://example.com", "null"] {
        let answer = ask(here(), "GET", "/stomp/info", &[("Origin", origin)], "");
        cors(&answer.head, Some(origin));
    }
}

#[test]
fn info_follows_the_keys() {
    let broker = Broker::start(config(
        "sockjs.websocket = off\nsockjs.cookie_needed = on\n",
    ));
    let answer = get(at(&broker), "/stomp/info");
    let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&info["websocket"], &info["cookie_needed"]),
        (&false.into(), &true.into())
    );
    // There is no WebSocket.
    for path in ["/stomp/0/0/websocket", "/stomp/websocket"] {
        let request = emqttd_tests::transport::ws_request(path, None);
        let mut http = Http::open(at(&broker));
        http.send(request.as_bytes());
        assert_eq!(http.head().status, 404, "{path}");
    }
    // The cookie comes with what belongs to a session, and keeps its value.
    let path = session();
    for (given, wanted) in [
        (None, "JSESSIONID=dummy; path=/"),
        (Some("a=b; JSESSIONID=abcdef"), "JSESSIONID=abcdef; path=/"),
    ] {
        let headers: Vec<_> = given.map(|value| ("Cookie", value)).into_iter().collect();
        for (method, name) in [
            ("POST", "xhr"),
            ("POST", "xhr_streaming"),
            ("GET", "eventsource"),
            ("GET", "htmlfile?c=x"),
            ("GET", "jsonp?c=x"),
            ("OPTIONS", "xhr"),
        ] {
            // A session for each, since one receives at a time.
            let path = format!("{path}{}/{name}", name.len() + given.map_or(0, str::len));
            let mut http = Http::open(at(&broker));
            http.ask(method, &path, &headers, "");
            let head = http.head();
            let cookie = head.value("set-cookie").to_ascii_lowercase();
            assert_eq!(cookie, wanted.to_ascii_lowercase(), "{name}");
        }
    }
}

#[test]
fn options_are_kept_for_long() {
    let session = session();
    for (path, methods) in [
        ("/stomp/info".to_owned(), ["OPTIONS", "GET"]),
        (format!("{session}/xhr"), ["OPTIONS", "POST"]),
        (format!("{session}/xhr_send"), ["OPTIONS", "POST"]),
        (format!("{session}/xhr_streaming"), ["OPTIONS", "POST"]),
    ] {
        for origin in [None, Some("http://a.example"), Some("null")] {
            let mut headers: Vec<_> = origin.map(|o| ("Origin", o)).into_iter().collect();
            headers.push(("Access-Control-Request-Headers", "a, b, c"));
            let answer = ask(here(), "OPTIONS", &path, &headers, "");
            assert_eq!((answer.status(), &*answer.body), (204, ""), "{path}");
            let head = &answer.head;
            assert_eq!(
                head.value("access-control-allow-methods"),
                methods.join(", ")
            );
            assert_eq!(head.value("access-control-allow-headers"), "a, b, c");
            assert!(head.value("cache-control").contains("public"));
            assert!(head.value("cache-control").contains("max-age=31536000"));
            assert!(head.value("access-control-max-age").parse::<u32>().unwrap() > 1_000_000);
            assert!(head.value("expires").contains("GMT"));
            assert_eq!(head.header("last-modified"), None);
            cors(head, origin);
        }
    }
    // Headers that were not asked for are not allowed.
    for asked in [None, Some("")] {
        let headers: Vec<_> = asked
            .map(|text| ("Access-Control-Request-Headers", text))
            .into_iter()
            .collect();
        let path = format!("{session}/xhr");
        let answer = ask(here(), "OPTIONS", &path, &headers, "");
        assert_eq!(answer.head.header("access-control-allow-headers"), None);
    }
}

#[test]
fn wrong_methods_are_not_allowed() {
    let session = session();
    for (path, wrong, allowed) in [
        (format!("{session}/xhr"), "GET", "POST"),
        (format!("{session}/xhr_send"), "GET", "POST"),
        (format!("{session}/xhr_streaming"), "PUT", "POST"),
        (format!("{session}/jsonp?c=x"), "POST", "GET"),
        (format!("{session}/jsonp_send"), "GET", "POST"),
        (format!("{session}/eventsource"), "POST", "GET"),
        (format!("{session}/htmlfile?c=x"), "POST", "GET"),
        (format!("{session}/websocket"), "POST", "GET"),
        ("/stomp/info".into(), "DELETE", "GET"),
    ] {
        let answer = ask(here(), wrong, &path, &[], "");
        assert_eq!(answer.status(), 405, "{wrong} {path}");
        let allow = answer.head.value("allow");
        assert!(allow.contains(allowed) && !allow.contains(wrong), "{allow}");
        assert_eq!(answer.body, "");
        assert_eq!(answer.head.header("content-type"), None);
    }
}

#[test]
fn the_page_of_iframes() {
    let script = "http://localhost/sockjs-test.js";
    let broker = Broker::start(config(&format!("sockjs.sockjs_url = {script}\n")));
    let mut tags = Vec::new();
    for name in [
        "iframe.html",
        "iframe-a.html",
        "iframe-.html",
        "iframe-0.1.2.html",
        "iframe-0.1.2abc-dirty.2144.html",
        "iframe-a.html?t=1234",
        "iframe-0.1.2.html?t=123414",
    ] {
        let answer = get(at(&broker), &format!("/stomp/{name}"));
        assert_eq!(answer.status(), 200, "{name}");
        let head = &answer.head;
        assert_eq!(head.value("content-type"), "text/html; charset=UTF-8");
        assert!(head.value("cache-control").contains("public"));
        assert!(head.value("cache-control").contains("max-age=31536000"));
        assert!(head.value("expires").contains("GMT"));
        assert_eq!(head.header("last-modified"), None);
        assert_eq!(head.header("set-cookie"), None);
        let body = &answer.body;
        assert!(
            body.starts_with("<!DOCTYPE html>\n<html>\n<head>\n"),
            "{body}"
        );
        for line in [
            "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n",
            "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n",
            "document.domain = document.domain;",
            "SockJS.bootstrap_iframe();",
            &format!("  <script src=\"{script}\"></script>\n"),
            "<p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>",
        ] {
            assert!(body.contains(line), "{line}: {body}");
        }
        tags.push(head.value("etag").to_owned());
    }
    tags.dedup();
    assert_eq!(tags.len(), 1, "{tags:?}");
    // Who has it need not get it again.
    let known = [("If-None-Match", tags[0].as_str())];
    let answer = ask(at(&broker), "GET", "/stomp/iframe.html", &known, "");
    assert_eq!((answer.status(), &*answer.body), (304, ""));
    assert_eq!(answer.head.header("content-type"), None);
    for name in [
        "iframe.htm",
        "iframe",
        "IFRAME.HTML",
        "IFRAME",
        "iframe.HTML",
        "iframe.xml",
        "iframe-/.html",
    ] {
        let answer = get(at(&broker), &format!("/stomp/{name}"));
        assert_eq!(answer.status(), 404, "{name}");
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let mut http = Http::open(here());
    let session = session();
    for _ in 0..3 {
        http.ask("GET", "/stomp", &[], "");
        assert_eq!(http.answer().body, "Welcome to SockJS!\n");
    }
    http.ask("POST", &format!("{session}/xhr"), &[], "");
    assert_eq!(http.answer().body, "o\n");
    http.ask("POST", &format!("{session}/xhr_send"), &[], "[\"\\n\"]");
    assert_eq!(http.answer().status(), 204);
    http.ask("GET", "/nowhere-at-all", &[], "");
    http.answer();
    http.ask("GET", "/stomp/info", &[], "");
    assert_eq!(http.answer().status(), 200);
}

/// HTTP/1.0 has no chunks.
#[test]
fn the_old_http_is_answered_its_way() {
    let mut http = Http::open(here());
    http.send(b"GET /stomp HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let answer = http.answer();
    assert_eq!(answer.body, "Welcome to SockJS!\n");
    assert_eq!(answer.head.header("transfer-encoding"), None);
    let mut http = Http::open(here());
    let path = session();
    http.send(
        format!(
            "POST {path}/xhr_streaming HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    let head = http.head();
    assert_eq!(head.header("transfer-encoding"), None);
    assert_eq!(head.header("content-length"), None);
    assert_eq!(http.until("\n").unwrap().len(), 2049);
    assert_eq!(http.until("\n").unwrap(), "o\n");
}

/// The origin of a page is looked at where the key says which may come.
#[test]
fn origins_can_be_limited() {
    let keys = "sockjs.origins = https://good.example, http://two.example:8080\n";
    let broker = Broker::start(config(keys));
    let addr = at(&broker);
    for (origin, fine) in [
        ("https://good.example", true),
        ("http://two.example:8080", true),
        ("https://bad.example", false),
        ("http://good.example", false),
        ("https://good.example.evil", false),
        ("null", false),
    ] {
        let headers = [("Origin", origin)];
        let answer = ask(addr, "POST", &format!("{}/xhr", session()), &headers, "");
        assert_eq!(answer.status() == 200, fine, "{origin}: {answer:?}");
        let allowed = answer.head.header("access-control-allow-origin");
        assert_eq!(allowed == Some(origin), fine, "{origin}: {answer:?}");
        let request =
            emqttd_tests::transport::ws_request(&format!("{}/websocket", session()), None);
        let request = request.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"));
        let mut http = Http::open(addr);
        http.send(request.as_bytes());
        assert_eq!(http.head().status == 101, fine, "{origin}");
    }
    // What is no page in a browser names none.
    assert_eq!(post(addr, &format!("{}/xhr", session()), "").body, "o\n");
}

/// The demonstration is part of the plugin, and nothing else of the machine is.
#[test]
fn pages_of_the_demonstration() {
    for (path, kind) in [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/demo.css", "text/css"),
        ("/demo.js", "javascript"),
        ("/sockjs.js", "javascript"),
        ("/stomp.js", "javascript"),
        ("/?a=b", "text/html"),
    ] {
        let answer = get(here(), path);
        assert_eq!(answer.status(), 200, "{path}");
        let got = answer.head.value("content-type");
        assert!(got.contains(kind), "{path}: {got}");
        assert!(!answer.body.is_empty());
        // Nothing is loaded from elsewhere.
        for outside in ["http://", "https://", "src=\"//"] {
            assert!(!answer.body.contains(outside), "{path}: {outside}");
        }
        let tag = answer.head.value("etag");
        let again = ask(here(), "GET", path, &[("If-None-Match", tag)], "");
        assert_eq!(again.status(), 304, "{path}");
        let mut http = Http::open(here());
        http.ask("HEAD", path, &[], "");
        let head = http.head();
        assert!([200, 405].contains(&head.status), "{path}: {head:?}");
    }
    for path in [
        "/../etc/emq.conf",
        "/..%2f..%2fetc/emq.conf",
        "/etc/emq.conf",
        "/%2e%2e/etc/emq.conf",
        "//etc/passwd",
        "/.",
        "/stomp/../demo.js/..",
        "/demo.js%00",
    ] {
        let answer = get(here(), path);
        assert!(!answer.body.contains("node.name") && !answer.body.contains("root:"));
        assert!(
            [200, 400, 404].contains(&answer.status()),
            "{path}: {answer:?}"
        );
        // All there is beside is the page itself.
        let is_page = answer.body.is_empty() || answer.body.contains("STOMP over SockJS");
        assert!(is_page || answer.status() != 200, "{path}: {answer:?}");
    }
}
