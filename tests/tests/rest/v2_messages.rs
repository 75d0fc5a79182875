//! Publishing and subscribing over REST, and what is said of bodies that are wrong.

use emqttd_tests::http::Http;
use emqttd_tests::{Broker, Client, Version, unique};
use serde_json::{Value, json};

use crate::common::{api, broker};

const PUBLISH: &str = "/api/v2/mqtt/publish";
const SUBSCRIBE: &str = "/api/v2/mqtt/subscribe";
const UNSUBSCRIBE: &str = "/api/v2/mqtt/unsubscribe";

#[track_caller]
fn refused(http: &Http, target: &str, body: &Value, code: i64, message: &str) {
    let answer = http.post(target, body);
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!(
        answer.json(),
        json!({ "code": code, "message": message }),
        "{body}"
    );
}

fn start() -> (Broker, Http, Client) {
    let broker = broker();
    let http = api(&broker);
    let client = broker.client(Version::V311, "rest");
    (broker, http, client)
}

#[test]
fn rest_publish() {
    let (broker, http, mut client) = start();
    client.sub("t/#", 2);
    let done = http.post(PUBLISH, &json!({ "topic": "t/a", "payload": "p" }));
    assert_eq!(done.json(), json!({ "code": 0, "result": [] }));
    let message = client.expect("t/a", "p");
    assert_eq!((message.qos, message.retain), (0, false));
    let all = json!({ "topic": "t/é/漢", "payload": "ü\u{0}\"", "qos": 2, "retain": true, "client_id": "me" });
    http.post(PUBLISH, &all).result();
    let message = client.expect("t/é/漢", "ü\u{0}\"");
    assert_eq!((message.qos, message.retain), (2, false));
    client.acknowledge(&message);
    let mut late = broker.client(Version::V311, "late");
    late.sub("t/#", 0);
    assert!(late.expect("t/é/漢", "ü\u{0}\"").retain);
    // An empty payload with retain takes it away, as in MQTT.
    http.post(
        PUBLISH,
        &json!({ "topic": "t/é/漢", "payload": "", "retain": true }),
    )
    .result();
    let mut later = broker.client(Version::V311, "later");
    later.sub("t/#", 0);
    later.nothing_from(&mut client);
    // The body counts, not what it is called.
    let plain = http.clone().header("Content-Type", "text/plain");
    plain
        .post(
            &format!("{PUBLISH}/"),
            &json!({ "topic": "t/a,b", "payload": "c", "more": [1] }),
        )
        .result();
    later.expect("t/a,b", "c");
}

#[test]
fn rest_publish_refuses() {
    let (_broker, http, mut client) = start();
    // No MQTT client could have such an identifier.
    let long = json!({ "topic": "t", "payload": "p", "client_id": "c".repeat(65_536) });
    refused(
        &http,
        PUBLISH,
        &long,
        102,
        "client_id has at most 65535 bytes",
    );
    client.sub("#", 0);
    for topic in ["", "a/#", "+/a", "a\u{0}b"] {
        let body = json!({ "topic": topic, "payload": "x" });
        refused(
            &http,
            PUBLISH,
            &body,
            102,
            &format!("validate topic: {topic} fail"),
        );
    }
    for body in [
        json!({}),
        json!({ "topic": "t" }),
        json!({ "payload": "p", "qos": 9 }),
    ] {
        refused(&http, PUBLISH, &body, 107, "params error");
    }
    for (field, value) in [
        ("topic", json!(5)),
        ("topic", json!(null)),
        ("payload", json!({})),
        ("payload", json!(7)),
        ("qos", json!(3)),
        ("qos", json!(-1)),
        ("qos", json!("1")),
        ("qos", json!(0.5)),
        ("retain", json!(1)),
        ("retain", json!("true")),
        ("client_id", json!(["x"])),
    ] {
        let mut body = json!({ "topic": "t", "payload": "p" });
        body[field] = value;
        refused(&http, PUBLISH, &body, 108, "params type error");
    }
    refused(&http, PUBLISH, &json!([]), 108, "params type error");
    for text in [
        "not json",
        "{",
        "{\"topic\":\"t\",\"payload\":\"p\"",
        "\u{ff}",
    ] {
        let answer = http.send("POST", PUBLISH, Some(text.as_bytes()));
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json(),
            json!({ "code": 109, "message": "Body not json" })
        );
    }
    let bytes = http.send(
        "POST",
        PUBLISH,
        Some(b"{\"topic\":\"t\",\"payload\":\"\xff\"}"),
    );
    assert_eq!(bytes.code(), 109);
    let empty = http.send("POST", PUBLISH, Some(b""));
    assert_eq!(
        empty.json(),
        json!({ "code": 107, "message": "params error" })
    );
    let none = http.send("POST", PUBLISH, None);
    assert_eq!(none.code(), 107);
    let deep = "[".repeat(100_000);
    assert_eq!(
        http.send("POST", PUBLISH, Some(deep.as_bytes())).code(),
        109
    );
    let large = json!({ "topic": "t", "payload": "x".repeat(1 << 20) });
    assert_eq!(http.post(PUBLISH, &large).status, 413);
    let mut other = _broker.client(Version::V311, "other");
    client.nothing_from(&mut other);
}

#[test]
fn rest_subscribe_and_unsubscribe() {
    let (broker, http, mut client) = start();
    let id = client.name.clone();
    let mut publisher = broker.client(Version::V311, "pub");
    for (filter, topic, shown) in [
        ("rs/1", "rs/1", "rs/1"),
        ("rs/+/x/#", "rs/a/x/y", "rs/+/x/#"),
        ("$share/g/rs/3", "rs/3", "rs/3"),
    ] {
        let body = json!({ "client_id": id, "topic": filter, "qos": 1 });
        assert_eq!(http.post(SUBSCRIBE, &body).result(), json!([]));
        let rows = http.get(&format!("/api/v2/subscriptions/{id}")).result();
        assert_eq!(
            rows,
            json!({ "objects": [{ "client_id": id, "topic": shown, "qos": 1 }] })
        );
        publisher.pub_(topic, 1, filter);
        let message = client.expect(topic, filter);
        assert_eq!(message.qos, 1);
        client.acknowledge(&message);
        let body = json!({ "client_id": id, "topic": filter });
        assert_eq!(http.post(UNSUBSCRIBE, &body).result(), json!([]));
        client.nothing_from(&mut publisher);
        let rows = http.get(&format!("/api/v2/subscriptions/{id}")).result();
        assert_eq!(rows, json!({ "objects": [] }));
        // Nothing to take away is fine.
        assert_eq!(http.post(UNSUBSCRIBE, &body).result(), json!([]));
    }
    // QoS 0 unless something else is said; retained messages come as after SUBSCRIBE.
    let topic = unique("kept");
    http.post(
        PUBLISH,
        &json!({ "topic": topic, "payload": "r", "retain": true, "qos": 1 }),
    )
    .result();
    http.post(SUBSCRIBE, &json!({ "client_id": id, "topic": topic }))
        .result();
    let message = client.expect(&topic, "r");
    assert_eq!((message.qos, message.retain), (0, true));

    let nobody = json!({ "client_id": "none", "topic": "a/#" });
    for target in [SUBSCRIBE, UNSUBSCRIBE] {
        refused(&http, target, &nobody, 102, "Clientid: none not found");
        for filter in ["", "a/#/b", "a+", "$local/+x"] {
            let body = json!({ "client_id": id, "topic": filter });
            refused(
                &http,
                target,
                &body,
                102,
                &format!("validate topic: {filter} fail"),
            );
        }
        refused(&http, target, &json!({ "topic": "t" }), 107, "params error");
        refused(
            &http,
            target,
            &json!({ "client_id": id }),
            107,
            "params error",
        );
        let body = json!({ "client_id": 1, "topic": "t" });
        refused(&http, target, &body, 108, "params type error");
    }
    let body = json!({ "client_id": id, "topic": "t", "qos": 3 });
    refused(&http, SUBSCRIBE, &body, 108, "params type error");
}
