//! xhr, xhr_send, jsonp, jsonp_send.

use super::carrier::json;
use super::http::{Http, ask, get, post};
use super::{BYE, CONNECT, CONNECTED, DISCONNECT, cors, here, not_cached, session};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The protocol's first test.
#[test]
fn a_simple_session() {
    let session = session();
    let poll = || post(here(), &format!("{session}/xhr"), "");
    let send = |body: &str| post(here(), &format!("{session}/xhr_send"), body);
    let opened = poll();
    assert_eq!((opened.status(), &*opened.body), (200, "o\n"));
    let kind = opened.head.value("content-type");
    assert_eq!(kind, "application/javascript; charset=UTF-8");
    cors(&opened.head, None);
    not_cached(&opened.head);
    let sent = send(CONNECT);
    assert_eq!((sent.status(), &*sent.body), (204, ""));
    assert_eq!(sent.head.value("content-type"), "text/plain; charset=UTF-8");
    cors(&sent.head, None);
    not_cached(&sent.head);
    assert_eq!(poll().body, format!("{CONNECTED}\n"));
    // The server's part of the path is anybody's.
    let elsewhere = session.replace("/000/", "/999/");
    let sent = post(here(), &format!("{elsewhere}/xhr_send"), DISCONNECT);
    assert_eq!(sent.status(), 204);
    assert_eq!(poll().body, format!("{BYE}\n"));
    for _ in 0..2 {
        assert_eq!(poll().body, "c[3000,\"Go away!\"]\n");
    }
}

/// Sheet 17, check 4.
#[test]
fn nothing_can_be_sent_to_a_session_that_is_not_there() {
    for (name, body) in [("xhr_send", "[\"x\"]"), ("jsonp_send", "d=%5B%22x%22%5D")] {
        let path = format!("{}/{name}", session());
        let headers: &[_] = if name == "xhr_send" { &[] } else { &[FORM] };
        let answer = ask(here(), "POST", &path, headers, body);
        assert_eq!(answer.status(), 404, "{name}");
        assert_eq!(answer.head.header("set-cookie"), None);
    }
}

#[test]
fn messages_that_are_none_are_told_so_and_nothing_else_happens() {
    let session = session();
    let path = format!("{session}/xhr_send");
    assert_eq!(post(here(), &format!("{session}/xhr"), "").body, "o\n");
    for (body, told) in [
        ("[\"x", "Broken JSON encoding."),
        ("{}", "Payload expected."),
        ("[1]", "Broken JSON encoding."),
        ("[\"a\",null]", "Broken JSON encoding."),
        ("x", "Broken JSON encoding."),
        ("", "Payload expected."),
    ] {
        let answer = post(here(), &path, body);
        assert_eq!((answer.status(), &*answer.body), (500, told), "{body}");
    }
    for (body, told) in [
        ("", "Payload expected."),
        ("d=", "Payload expected."),
        ("p=p", "Payload expected."),
        ("d=%5B%22x", "Broken JSON encoding."),
    ] {
        let path = format!("{session}/jsonp_send");
        let answer = ask(here(), "POST", &path, &[FORM], body);
        assert_eq!((answer.status(), &*answer.body), (500, told), "{body}");
    }
    // It goes on as if nothing had been.
    assert_eq!(post(here(), &path, "[]").status(), 204);
    assert_eq!(post(here(), &path, CONNECT).status(), 204);
    let answer = post(here(), &format!("{session}/xhr"), "");
    assert_eq!(answer.body, format!("{CONNECTED}\n"));
}

/// Clients say all sorts of things about it.
#[test]
fn the_content_type_is_nobodys_business() {
    let session = session();
    assert_eq!(post(here(), &format!("{session}/xhr"), "").body, "o\n");
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml; charset=utf-8",
        "text/xml",
    ];
    for kind in types {
        let path = format!("{session}/xhr_send");
        let answer = ask(
            here(),
            "POST",
            &path,
            &[("Content-Type", kind)],
            "[\"\\n\"]",
        );
        assert_eq!(answer.status(), 204, "{kind}");
    }
}

#[test]
fn jsonp() {
    let session = session();
    let poll = || get(here(), &format!("{session}/jsonp?c=%63allback"));
    let send = |headers: &[(&str, &str)], body: &str| {
        let path = format!("{session}/jsonp_send");
        let answer = ask(here(), "POST", &path, headers, body);
        assert_eq!((answer.status(), &*answer.body), (200, "ok"), "{body}");
        assert_eq!(
            answer.head.value("content-type"),
            "text/plain; charset=UTF-8"
        );
        not_cached(&answer.head);
    };
    let opened = poll();
    assert_eq!(
        (opened.status(), &*opened.body),
        (200, "/**/callback(\"o\");\r\n")
    );
    let kind = opened.head.value("content-type");
    assert_eq!(kind, "application/javascript; charset=UTF-8");
    not_cached(&opened.head);
    // As a form, with blanks as plus signs, and in two messages; and as it is.
    let connect = "d=%5B%22CONNECT%5Cnaccept-version%3A1.2%5Cn%22,%22login%3Aguest%5Cnpasscode:guest%5Cn\
                   a:b+c%20d%5Cn%5Cn%5Cu0000%22%5D";
    send(&[FORM], connect);
    let got = poll().body;
    let json: String = serde_json::from_str(
        got.strip_prefix("/**/callback(")
            .unwrap()
            .strip_suffix(");\r\n")
            .unwrap(),
    )
    .unwrap();
    assert_eq!(json, CONNECTED);
    send(&[("Content-Type", "text/plain")], DISCONNECT);
    let got = poll().body;
    assert!(got.contains("receipt-id:bye"), "{got}");
    assert_eq!(
        poll().body,
        "/**/callback(\"c[3000,\\\"Go away!\\\"]\");\r\n"
    );
}

#[test]
fn a_callback_is_a_name() {
    let session = session();
    for name in ["jsonp", "htmlfile"] {
        let answer = get(here(), &format!("{session}/{name}"));
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.body, "\"callback\" parameter required");
        for wrong in ["%20", "*", "abc(", "abc%28", "a%3Cscript%3E", "%0A", "a%22"] {
            let answer = get(here(), &format!("{session}/{name}?c={wrong}"));
            assert_eq!(
                (answer.status(), &*answer.body),
                (500, "invalid \"callback\" parameter"),
                "{wrong}"
            );
        }
        assert_eq!(get(here(), &format!("{session}/{name}?c=")).status(), 500);
    }
}

/// One that nobody could have a use for is not kept in memory.
#[test]
fn a_body_has_a_limit() {
    let session = session();
    assert_eq!(post(here(), &format!("{session}/xhr"), "").body, "o\n");
    let huge = format!("[\"{}\"]", "x".repeat(4 << 20));
    for (name, headers) in [("xhr_send", &[][..]), ("jsonp_send", &[FORM][..])] {
        let mut http = Http::open(here());
        // It may be refused before all of it was sent.
        http.send(
            format!(
                "POST {session}/{name} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n",
                headers
                    .iter()
                    .map(|(n, v)| format!("{n}: {v}\r\n"))
                    .collect::<String>(),
                huge.len()
            )
            .as_bytes(),
        );
        let mut wire = http.into_wire();
        let _ = std::io::Write::write_all(&mut wire, huge.as_bytes());
        if let Some(head) = Http::over(wire).try_head() {
            assert_eq!(head.status, 413);
        }
    }
    // The session is what it was.
    assert_eq!(
        post(here(), &format!("{session}/xhr_send"), &json(&["\n"])).status(),
        204
    );
}
