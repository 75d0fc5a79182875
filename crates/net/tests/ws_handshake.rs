//! The HTTP request that opens a WebSocket.
#![allow(clippy::unwrap_used)]

use emqttd_net::ws::{Handshake, HandshakeOptions, MAX_HEAD, Upgrade, handshake};

const OPTIONS: HandshakeOptions<'_> = HandshakeOptions {
    check_protocol: true,
    address_header: None,
    port_header: None,
};

const BASE: &[(&str, &str)] = &[
    ("Host", "broker"),
    ("Upgrade", "websocket"),
    ("Connection", "keep-alive, Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "mqtt"),
];

/// A good request, with the headers named in `changes` replaced (an empty value: left out).
fn request_to(target: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("GET {target} HTTP/1.1\r\n");
    let kept = BASE
        .iter()
        .filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
    for (name, value) in kept.chain(changes).filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn request(changes: &[(&str, &str)]) -> Vec<u8> {
    request_to("/mqtt", changes)
}

fn accept_with(request: &[u8], options: &HandshakeOptions<'_>) -> Upgrade {
    match handshake(request, options) {
        Handshake::Accept(upgrade) => *upgrade,
        other => panic!("{other:?} to {}", String::from_utf8_lossy(request)),
    }
}

fn accept(request: &[u8]) -> Upgrade {
    accept_with(request, &OPTIONS)
}

/// The whole text of a refusal.
fn refuse(request: &[u8]) -> String {
    match handshake(request, &OPTIONS) {
        Handshake::Refuse { response, .. } => String::from_utf8(response).unwrap(),
        other => panic!("{other:?} to {}", String::from_utf8_lossy(request)),
    }
}

fn assert_refused(request: &[u8], status: &str, body: &str) {
    let response = refuse(request);
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{response}"
    );
    assert!(response.contains("\r\nConnection: close"), "{response}");
    assert!(
        response.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{response}"
    );
    assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
}

#[test]
fn the_answer_of_rfc_6455() {
    let upgrade = accept(&[&request(&[])[..], b"\x82\x80"].concat());
    assert_eq!(upgrade.consumed, request(&[]).len());
    assert_eq!(
        String::from_utf8(upgrade.response).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    assert_eq!(upgrade.protocol.as_deref(), Some("mqtt"));
    assert_eq!((upgrade.address, upgrade.port), (None, None));
}

#[test]
fn every_beginning_of_a_request_asks_for_more() {
    let whole = request(&[]);
    for end in 0..whole.len() {
        assert!(
            matches!(handshake(&whole[..end], &OPTIONS), Handshake::NeedMore),
            "{end}"
        );
    }
}

#[test]
fn only_the_path_mqtt() {
    accept(&request_to("/mqtt?token=1", &[]));
    for path in ["/", "/mqtt/", "/ws", "/mqtt2", "/MQTT", "*"] {
        assert_refused(&request_to(path, &[]), "404", "Not found.");
    }
    // The path is looked at first.
    assert_refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404", "Not found.");
}

#[test]
fn not_an_upgrade() {
    for changes in [
        ("Upgrade", ""),
        ("Upgrade", "h2c"),
        ("Connection", ""),
        ("Connection", "close"),
    ] {
        assert_refused(&request(&[changes]), "400", "Bad Request");
    }
    let text = String::from_utf8(request(&[])).unwrap();
    assert_refused(text.replace("GET", "POST").as_bytes(), "400", "Bad Request");
    assert_refused(
        text.replace("HTTP/1.1", "HTTP/1.0").as_bytes(),
        "400",
        "Bad Request",
    );
    assert_refused(b"\x10\x0c\0\x04MQTT", "400", "Bad Request");
    assert_refused(b"GET /mqtt SPDY/9\r\n\r\n", "400", "Bad Request");
}

#[test]
fn header_names_and_tokens_in_any_case() {
    let text = String::from_utf8(request(&[])).unwrap();
    accept(
        text.replace("Upgrade: websocket", "UPGRADE: WebSocket")
            .as_bytes(),
    );
    accept(text.replace("keep-alive, Upgrade", "upgrade").as_bytes());
}

#[test]
fn one_protocol_of_the_list_is_chosen() {
    for (offer, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqtt, mqttv3.1", "mqtt"),
        // The name of the standard goes before those of old [MQTT-6.0.0-4].
        ("mqttv3.1,mqtt", "mqtt"),
        ("chat, mqtt", "mqtt"),
    ] {
        let upgrade = accept(&request(&[("Sec-WebSocket-Protocol", offer)]));
        assert_eq!(upgrade.protocol.as_deref(), Some(chosen));
        let response = String::from_utf8(upgrade.response).unwrap();
        assert!(response.contains(&format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n")));
    }
    // The list may be spread over several lines.
    let upgrade = accept(&request(&[
        ("Sec-WebSocket-Protocol", "chat"),
        ("sec-websocket-protocol", "mqttv3.1"),
    ]));
    assert_eq!(upgrade.protocol.as_deref(), Some("mqttv3.1"));
}

#[test]
fn other_protocols_are_refused() {
    for offer in ["", "chat", "MQTT", "xmqtt", ", ,", "mqtt stuff"] {
        let request = request(&[("Sec-WebSocket-Protocol", offer)]);
        assert_refused(&request, "400", "Bad WebSocket Protocol");
    }
}

#[test]
fn emq_header_stands_in_for_the_check_but_not_in_the_answer() {
    let upgrade = accept(&request(&[
        ("EMQ-WebSocket-Protocol", "mqtt"),
        ("Sec-WebSocket-Protocol", ""),
    ]));
    assert_eq!(upgrade.protocol, None);
    assert!(
        !String::from_utf8(upgrade.response)
            .unwrap()
            .contains("Protocol:")
    );
    accept(&request(&[
        ("EMQ-WebSocket-Protocol", "mqttv3.1"),
        ("Sec-WebSocket-Protocol", "chat"),
    ]));
    assert_refused(
        &request(&[("EMQ-WebSocket-Protocol", "chat")]),
        "400",
        "Bad WebSocket Protocol",
    );
}

#[test]
fn without_the_check_any_protocol_or_none() {
    let options = HandshakeOptions {
        check_protocol: false,
        ..OPTIONS
    };
    for (offer, chosen) in [
        ("", None),
        ("chat", Some("chat")),
        ("chat, mqtt", Some("mqtt")),
        ("a, b", Some("a")),
    ] {
        let upgrade = accept_with(&request(&[("Sec-WebSocket-Protocol", offer)]), &options);
        assert_eq!(upgrade.protocol.as_deref(), chosen);
    }
}

#[test]
fn only_version_13() {
    for version in ["", "8", "12", "13, 8"] {
        let request = request(&[("Sec-WebSocket-Version", version)]);
        assert_refused(&request, "426", "Upgrade Required");
        assert!(refuse(&request).contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }
}

#[test]
fn the_key_is_sixteen_bytes_once() {
    for key in [
        "",
        "c2hvcnQ=",
        "not base64!",
        "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n",
    ] {
        assert_refused(
            &request(&[("Sec-WebSocket-Key", key)]),
            "400",
            "Bad Request",
        );
    }
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_refused(&request(&[key, key]), "400", "Bad Request");
}

#[test]
fn a_request_with_a_body_is_refused() {
    assert_refused(&request(&[("Content-Length", "3")]), "400", "Bad Request");
    assert_refused(
        &request(&[("Transfer-Encoding", "chunked")]),
        "400",
        "Bad Request",
    );
    accept(&request(&[("Content-Length", "0")]));
}

#[test]
fn the_head_is_bounded() {
    let many: Vec<(String, String)> = (0..70)
        .map(|i| (format!("X-{i}"), "v".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_refused(&request(&many), "431", "Request Header Fields Too Large");

    let long = "x".repeat(MAX_HEAD);
    assert_refused(
        &request(&[("Cookie", &long)]),
        "431",
        "Request Header Fields Too Large",
    );
    let endless = format!("GET /mqtt HTTP/1.1\r\nCookie: {long}");
    assert_refused(endless.as_bytes(), "431", "Request Header Fields Too Large");

    // Frames behind a short head do not count.
    let upgrade = accept(&[request(&[]), vec![0; 2 * MAX_HEAD]].concat());
    assert_eq!(upgrade.consumed, request(&[]).len());
}

#[test]
fn address_and_port_of_the_proxy_headers() {
    let options = HandshakeOptions {
        address_header: Some("x-forwarded-for"),
        port_header: Some("X-Forwarded-Port"),
        ..OPTIONS
    };
    let peer = |value: &str, port: &str| {
        let request = request(&[("X-Forwarded-For", value), ("X-Forwarded-Port", port)]);
        let upgrade = accept_with(&request, &options);
        (
            upgrade.address.map(|address| address.to_string()),
            upgrade.port,
        )
    };
    assert_eq!(
        peer("10.0.0.1", "4711"),
        (Some("10.0.0.1".into()), Some(4711))
    );
    assert_eq!(
        peer("1.2.3.4, 10.0.0.9", "1, 2"),
        (Some("10.0.0.9".into()), Some(2))
    );
    assert_eq!(peer("2001:db8::1", ""), (Some("2001:db8::1".into()), None));
    assert_eq!(
        peer("[2001:db8::1]", "x"),
        (Some("2001:db8::1".into()), None)
    );
    assert_eq!(
        peer("[2001:db8::1]:80", "65536"),
        (Some("2001:db8::1".into()), None)
    );
    assert_eq!(peer("10.0.0.1:80", ""), (Some("10.0.0.1".into()), None));
    assert_eq!(peer("::ffff:10.0.0.1", ""), (Some("10.0.0.1".into()), None));
    assert_eq!(peer("unknown", ""), (None, None));
    // The last of several lines is the nearest proxy's.
    let request = request(&[
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-For", "10.0.0.2"),
    ]);
    let address = accept_with(&request, &options).address.unwrap();
    assert_eq!(address.to_string(), "10.0.0.2");
    // A listener that names no header trusts none.
    assert_eq!(accept(&request).address, None);
}

#[test]
fn headers_are_kept_for_hooks() {
    let upgrade = accept(&request(&[("Cookie", "session=1")]));
    assert!(
        upgrade
            .headers
            .contains(&("Cookie".to_owned(), "session=1".to_owned()))
    );
    assert_eq!(upgrade.headers.len(), BASE.len() + 1);
}
