//! xhr_streaming, eventsource, htmlfile.

use emqttd_tests::Version;

use super::carrier::{Carrier, KINDS, Kind, messages};
use super::http::{Head, Http, ask};
use super::{CONNECT, CONNECTED, DISCONNECT, broker, cors, here, not_cached, session};

/// A session by that way of receiving: the head of the response, and the response.
fn stream(method: &str, path: &str) -> (Head, Http) {
    let mut http = Http::open(here());
    http.ask(method, path, &[], "");
    let head = http.head();
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    not_cached(&head);
    (head, http)
}

fn send(session: &str, body: &str) {
    let answer = ask(here(), "POST", &format!("{session}/xhr_send"), &[], body);
    assert_eq!(answer.status(), 204);
}

#[test]
fn xhr_streaming() {
    let session = session();
    let (head, mut http) = stream("POST", &format!("{session}/xhr_streaming"));
    assert_eq!(
        head.value("content-type"),
        "application/javascript; charset=UTF-8"
    );
    cors(&head, None);
    assert_eq!(http.until("\n").unwrap(), "h".repeat(2048) + "\n");
    assert_eq!(http.until("\n").unwrap(), "o\n");
    send(&session, CONNECT);
    assert_eq!(http.until("\n").unwrap(), format!("{CONNECTED}\n"));
    send(&session, DISCONNECT);
    assert!(http.until("\n").unwrap().contains("receipt-id:bye"));
    assert_eq!(http.until("\n").unwrap(), "c[3000,\"Go away!\"]\n");
    // And that was all.
    assert_eq!(http.until("\n"), None);
}

#[test]
fn eventsource() {
    let session = session();
    let (head, mut http) = stream("GET", &format!("{session}/eventsource"));
    let kind = head.value("content-type");
    assert!(
        kind == "text/event-stream" || kind == "text/event-stream; charset=UTF-8",
        "{kind}"
    );
    assert_eq!(http.until("\r\n").unwrap(), "\r\n");
    assert_eq!(http.until("\r\n\r\n").unwrap(), "data: o\r\n\r\n");
    send(&session, CONNECT);
    let wanted = format!("data: {CONNECTED}\r\n\r\n");
    assert_eq!(http.until("\r\n\r\n").unwrap(), wanted);
    send(&session, DISCONNECT);
    http.until("\r\n\r\n").unwrap();
    let wanted = "data: c[3000,\"Go away!\"]\r\n\r\n";
    assert_eq!(http.until("\r\n\r\n").unwrap(), wanted);
    assert_eq!(http.until("\r\n"), None);
}

#[test]
fn htmlfile() {
    let session = session();
    let (head, mut http) = stream("GET", &format!("{session}/htmlfile?c=%63allback"));
    assert_eq!(head.value("content-type"), "text/html; charset=UTF-8");
    let page = http.until("\r\n\r\n").unwrap();
    assert!(page.len() > 1024, "{}", page.len());
    assert_eq!(
        page.trim(),
        r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"#
    );
    let end = "</script>\r\n";
    assert_eq!(
        http.until(end).unwrap(),
        "<script>\np(\"o\");\n</script>\r\n"
    );
    send(&session, CONNECT);
    let wanted = serde_json::to_string(CONNECTED).unwrap();
    assert_eq!(
        http.until(end).unwrap(),
        format!("<script>\np({wanted});\n</script>\r\n")
    );
    send(&session, DISCONNECT);
    http.until(end).unwrap();
    let wanted = "<script>\np(\"c[3000,\\\"Go away!\\\"]\");\n</script>\r\n";
    assert_eq!(http.until(end).unwrap(), wanted);
    assert_eq!(http.until(end), None);
}

/// So that a browser's memory of one response does not grow for ever.
#[test]
fn a_response_ends_when_it_is_long() {
    for kind in [Kind::XhrStreaming, Kind::EventSource, Kind::HtmlFile] {
        let mut mqtt = broker().client(Version::V311, "long");
        let topic = emqttd_tests::unique("long");
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        carrier.sub("1", &topic);
        let body = "x".repeat(50_000);
        for _ in 0..3 {
            mqtt.pub_(&topic, 0, &body);
            assert_eq!(carrier.recv().text(), body);
        }
        assert_eq!(carrier.responses, 1);
        // What has had its 128 KB is over without a word, and the next goes on.
        mqtt.pub_(&topic, 0, "next");
        assert_eq!(carrier.recv().text(), "next");
        assert_eq!(carrier.responses, 2, "{kind:?}");
    }
}

/// Characters that a browser or something on the way changes are escaped, and come back as they were.
#[test]
fn fragile_characters_come_through() {
    let mut text = String::new();
    for c in (0..0x300)
        .chain(0x200b..0x2070)
        .chain(0xd700..0xd800)
        .chain(0xe000..0xe010)
        .chain(0xffe0..0x10010)
        .chain(0x1f600..0x1f610)
    {
        text.extend(char::from_u32(c));
    }
    text.retain(|c| c != '\0');
    text += "</script><!-- %25 %zz & \" ' \\ \\u0041";
    for kind in KINDS {
        let topic = emqttd_tests::unique("chars");
        let mut mqtt = broker().client(Version::V5, "chars");
        mqtt.sub(&topic, 1);
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        carrier.sub("1", &topic);
        carrier.say("SEND", &[("destination", &topic)], &text);
        mqtt.expect(&topic, &text);
        if kind == Kind::Raw {
            assert_eq!(carrier.recv().text(), text);
            continue;
        }
        let frame = carrier.frame();
        for c in frame.chars() {
            let fragile = matches!(c as u32,
                0..=0x1f | 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..=0xffff);
            assert!(!fragile, "{kind:?}: U+{:04x}", c as u32);
        }
        let whole: String = messages(&frame).concat();
        assert!(whole.ends_with(&format!("{text}\0")), "{kind:?}");
    }
}
