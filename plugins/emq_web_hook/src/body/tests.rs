#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::testing::{by_name, entry, message};
use serde_json::Value;

const ALICE: ClientRef<'static> = ClientRef {
    clientid: "hk1",
    username: Some("alice"),
};

fn shared(topic: &str, group: &str) -> TopicEntry {
    TopicEntry {
        share: Some(group.into()),
        ..entry(topic, QoS::ExactlyOnce)
    }
}

fn local(topic: &str) -> TopicEntry {
    TopicEntry {
        local: true,
        ..entry(topic, QoS::AtMostOnce)
    }
}

fn str_of(body: Bytes) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// A message of hk2, who has no user name.
fn pay<'a>(payload: &'a [u8]) -> Message<'a> {
    Message {
        from: Some(by_name("hk2", None)),
        qos: QoS::AtLeastOnce,
        timestamp: 1_795_383_947_999,
        ..message("t/1", payload)
    }
}

/// The payload of a message as it is posted, and whether the body says that something was lost.
fn posted(payload: &[u8], encoding: Encoding) -> (String, Option<Value>) {
    let body: Value = serde_json::from_slice(&message_publish(&pay(payload), encoding)).unwrap();
    let payload = body["payload"].as_str().unwrap().to_string();
    (payload, body.get("payload_lossy").cloned())
}

#[test]
fn bodies_are_those_recorded_of_emq() {
    let nobody = by_name("hk2", None);
    let t1 = entry("t/1", QoS::AtLeastOnce);
    let t2 = shared("t/2", "g");
    for (body, wanted) in [
        (
            session_created(ALICE),
            r#"{"action":"session_created","client_id":"hk1","username":"alice"}"#,
        ),
        (
            client_connected(ALICE),
            r#"{"action":"client_connected","client_id":"hk1","username":"alice","conn_ack":0}"#,
        ),
        (
            client_subscribe(ALICE, &t1),
            r#"{"action":"client_subscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":{"qos":1}}"#,
        ),
        (
            client_subscribe(ALICE, &t2),
            r#"{"action":"client_subscribe","client_id":"hk1","username":"alice","topic":"t/2","opts":{"qos":2,"share":"g"}}"#,
        ),
        (
            session_subscribed(ALICE, &t2),
            r#"{"action":"session_subscribed","client_id":"hk1","username":"alice","topic":"t/2","opts":{"qos":2,"share":"g"}}"#,
        ),
        (
            message_publish(&pay(b"pay"), Encoding::Plain),
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":1795383947}"#,
        ),
        (
            message_delivered(ALICE, &pay(b"pay"), Encoding::Plain),
            r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":1795383947}"#,
        ),
        (
            message_acked(ALICE, &pay(b"pay"), Encoding::Plain),
            r#"{"action":"message_acked","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":1795383947}"#,
        ),
        (
            client_unsubscribe(ALICE, &t1),
            r#"{"action":"client_unsubscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":[]}"#,
        ),
        (
            session_unsubscribed(ALICE, &t1),
            r#"{"action":"session_unsubscribed","client_id":"hk1","username":"alice","topic":"t/1"}"#,
        ),
        (
            client_disconnected(ALICE, "normal"),
            r#"{"action":"client_disconnected","client_id":"hk1","username":"alice","reason":"normal"}"#,
        ),
        (
            session_terminated(nobody, "normal"),
            r#"{"action":"session_terminated","client_id":"hk2","username":"undefined","reason":"normal"}"#,
        ),
    ] {
        assert_eq!(str_of(body), wanted);
    }
}

#[test]
fn options_of_subscriptions() {
    let asked = |entry: &TopicEntry| {
        let body: Value = serde_json::from_slice(&client_subscribe(ALICE, entry)).unwrap();
        body["opts"].to_string()
    };
    let kind = |entry: &TopicEntry| {
        let body: Value = serde_json::from_slice(&client_unsubscribe(ALICE, entry)).unwrap();
        body["opts"].to_string()
    };
    let queue = shared("t", "$queue");
    let both = TopicEntry {
        local: true,
        ..shared("t", "g")
    };
    assert_eq!(asked(&queue), r#"{"qos":2,"share":"$queue"}"#);
    assert_eq!(asked(&local("t")), r#"{"local":true,"qos":0}"#);
    assert!(
        str_of(session_subscribed(ALICE, &local("t")))
            .ends_with(r#""opts":{"qos":0,"local":true}}"#)
    );
    assert!(
        str_of(client_subscribe(ALICE, &both))
            .ends_with(r#""opts":{"qos":2,"share":"g","local":true}}"#)
    );
    assert_eq!(kind(&queue), r#"{"share":"$queue"}"#);
    assert_eq!(kind(&local("t")), r#"{"local":true}"#);
    assert!(
        str_of(client_unsubscribe(ALICE, &both)).ends_with(r#""opts":{"share":"g","local":true}}"#)
    );
}

#[test]
fn senders() {
    let sent = |from| {
        let message = Message { from, ..pay(b"") };
        let body: Value =
            serde_json::from_slice(&message_publish(&message, Encoding::Plain)).unwrap();
        (
            body["from_client_id"].clone(),
            body["from_username"].clone(),
        )
    };
    let both = |a: &str, b: &str| (Value::from(a), Value::from(b));
    assert_eq!(sent(None), both("", ""));
    assert_eq!(sent(Some(ALICE)), both("hk1", "alice"));
    assert_eq!(sent(Some(by_name("hk2", None))), both("hk2", "undefined"));
    assert_eq!(
        sent(Some(by_name("presence", Some("")))),
        both("presence", "presence")
    );
}

#[test]
fn texts_are_ascii_with_escapes() {
    let client = by_name("\u{0}\u{1f}\u{7f}\u{8}\u{c}", Some("é\"\\€😀\r\n\t/"));
    assert_eq!(
        str_of(session_created(client)),
        "{\"action\":\"session_created\",\"client_id\":\"\\u0000\\u001f\\u007f\\b\\f\",\
         \"username\":\"\\u00e9\\\"\\\\\\u20ac\\ud83d\\ude00\\r\\n\\t/\"}"
    );
}

#[test]
fn payloads_that_are_no_text() {
    assert_eq!(
        posted(b"\xff\xfe", Encoding::Plain),
        ("\u{fffd}\u{fffd}".into(), Some(true.into()))
    );
    assert_eq!(
        posted(b"a\xe2\x82\"\xc3\xa9", Encoding::Plain),
        ("a\u{fffd}\"é".into(), Some(true.into()))
    );
    assert_eq!(
        posted("a\u{fffd}".as_bytes(), Encoding::Plain),
        ("a\u{fffd}".into(), None)
    );
    let body = str_of(message_acked(ALICE, &pay(b"\xff"), Encoding::Plain));
    assert!(
        body.ends_with(r#""payload":"\ufffd","ts":1795383947,"payload_lossy":true}"#),
        "{body}"
    );
    for (payload, encoded) in [
        (&b""[..], ""),
        (b"\xff", "/w=="),
        (b"\xff\xfe", "//4="),
        (b"\xff\xfe\0", "//4A"),
        (b"pay!", "cGF5IQ=="),
    ] {
        assert_eq!(posted(payload, Encoding::Base64), (encoded.into(), None));
    }
}

#[test]
fn numbers() {
    let ts = |timestamp| {
        let message = Message {
            timestamp,
            ..pay(b"")
        };
        let body: Value =
            serde_json::from_slice(&message_publish(&message, Encoding::Plain)).unwrap();
        body["ts"].as_u64().unwrap()
    };
    for timestamp in [0, 999, 1000, 9_999, 10_000, 1_530_000_000_000, u64::MAX] {
        assert_eq!(ts(timestamp), timestamp / 1000);
    }
}

/// Texts of all kinds of characters, reproducibly.
fn texts() -> impl Iterator<Item = String> {
    let kinds = [
        'a', '"', '\\', '\n', '\u{1}', '\u{7f}', 'é', '€', '\u{fffd}', '😀', 'z', ' ',
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..2000).map(move |round| {
        // Mostly plain ones, for those are looked at in blocks.
        let rare = 1 + next() % 40;
        let len = next() % 100;
        let pick = |n: u64| match n % rare {
            0 => kinds[(n / rare) as usize % kinds.len()],
            _ => char::from(b'a' + (n % 26) as u8),
        };
        let text: String = (0..len).map(|_| pick(next())).collect();
        format!("{round}{text}")
    })
}

#[test]
fn what_is_written_is_what_is_measured_and_read_back() {
    for text in texts() {
        let mut escaped = Vec::new();
        escape(&text, &mut escaped);
        assert_eq!(escaped.len(), escaped_len(&text), "{text:?}");
        assert!(escaped.is_ascii());
        assert_eq!(
            posted(text.as_bytes(), Encoding::Plain),
            (text.clone(), None)
        );
        // Cut anywhere, it is no text any more.
        let cut = &text.as_bytes()[..text.len() - 1];
        let (read, lossy) = posted(cut, Encoding::Plain);
        assert_eq!(read, String::from_utf8_lossy(cut));
        assert_eq!(lossy.is_some(), std::str::from_utf8(cut).is_err());
        let (read, _) = posted(cut, Encoding::Base64);
        assert_eq!(STANDARD.decode(read).unwrap(), cut);
        // `json` itself compares what it has measured with what it has written.
        let client = by_name(&text, Some(&text));
        let body: Value =
            serde_json::from_slice(&client_subscribe(client, &shared(&text, &text))).unwrap();
        for read in [
            &body["client_id"],
            &body["username"],
            &body["topic"],
            &body["opts"]["share"],
        ] {
            assert_eq!(*read, Value::from(text.as_str()));
        }
    }
}
