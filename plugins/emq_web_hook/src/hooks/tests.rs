#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::testing::{by_name, client, entry, message};
use emqttd_plugin_sdk::{Config, QoS};
use std::sync::{Arc, Mutex};

type Posted = Arc<Mutex<Vec<Event>>>;

/// Hooks with these rules, and what they post.
fn hooks(rules: &[(&str, &str)]) -> (impl Hooks, Posted) {
    let pairs: Vec<(String, &str)> = rules
        .iter()
        .map(|(key, value)| (format!("web.hook.rule.{key}"), *value))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&**key, *value)).collect();
    let posted = Posted::default();
    let post = Arc::clone(&posted);
    let rules = Rules::read(&Config::of(&pairs)).unwrap();
    let hooks = WebHooks::new(rules, move |event| post.lock().unwrap().push(event));
    (hooks, posted)
}

/// The bodies since this was last asked.
fn take(posted: &Posted) -> Vec<String> {
    let text = |event: Event| String::from_utf8(event.body.to_vec()).unwrap();
    posted.lock().unwrap().drain(..).map(text).collect()
}

#[test]
fn only_clients_that_were_let_in_come_and_go() {
    let (hooks, posted) = hooks(&[
        ("client.connected.1", r#"{"action": "on_client_connected"}"#),
        (
            "client.disconnected.1",
            r#"{"action": "on_client_disconnected"}"#,
        ),
    ]);
    let refused = client("c");
    hooks.client_connected(&refused, 4);
    hooks.client_disconnected(&refused, "auth_failure", None);
    assert_eq!(take(&posted), [""; 0]);
    let accepted = Client {
        connected_at: 1_795_383_947,
        ..client("c")
    };
    hooks.client_connected(&accepted, 0);
    hooks.client_disconnected(&accepted, "conflict", Some(0x8e));
    // It failed to authenticate again.
    hooks.client_disconnected(&accepted, "auth_failure", Some(0x87));
    assert_eq!(
        take(&posted),
        [
            r#"{"action":"client_connected","client_id":"c","username":"undefined","conn_ack":0}"#,
            r#"{"action":"client_disconnected","client_id":"c","username":"undefined","reason":"auth_failure"}"#,
        ]
    );
}

#[test]
fn each_filter_is_an_event() {
    let (hooks, posted) = hooks(&[
        (
            "client.subscribe.1",
            r##"{"action": "on_client_subscribe", "topic": "a/#"}"##,
        ),
        (
            "client.unsubscribe.1",
            r##"{"action": "on_client_unsubscribe"}"##,
        ),
        (
            "session.subscribed.1",
            r##"{"action": "on_session_subscribed", "topic": "b"}"##,
        ),
    ]);
    let who = by_name("c", Some("u"));
    let mut table = vec![
        entry("a/1", QoS::AtMostOnce),
        entry("b", QoS::AtMostOnce),
        entry("a/+", QoS::AtLeastOnce),
        // Cancelled by another hook.
        entry("", QoS::AtLeastOnce),
    ];
    assert_eq!(hooks.client_subscribe(who, &mut table), Flow::Next);
    assert_eq!(table.len(), 4);
    for entry in &table {
        hooks.session_subscribed(who, entry);
        hooks.session_unsubscribed(who, entry);
    }
    assert_eq!(hooks.client_unsubscribe(who, &mut table), Flow::Next);
    let posted = take(&posted);
    let topics: Vec<&str> = posted
        .iter()
        .map(|body| body.rsplit(r#""username":"u","#).next().unwrap())
        .collect();
    assert_eq!(
        topics,
        [
            r#""topic":"a/1","opts":{"qos":0}}"#,
            r#""topic":"a/+","opts":{"qos":1}}"#,
            r#""topic":"b","opts":{"qos":0}}"#,
            r#""topic":"a/1","opts":[]}"#,
            r#""topic":"b","opts":[]}"#,
            r#""topic":"a/+","opts":[]}"#,
        ]
    );
}

#[test]
fn a_message_is_posted_once_for_each_rule_and_in_its_encoding() {
    let (hooks, posted) = hooks(&[
        (
            "message.publish.1",
            r##"{"action": "on_message_publish", "topic": "a/#"}"##,
        ),
        (
            "message.publish.2",
            r##"{"action": "on_message_publish", "topic": "b/#"}"##,
        ),
        (
            "message.publish.3",
            r##"{"action": "on_message_publish", "topic": "+/1", "encode_payload": "base64"}"##,
        ),
        (
            "message.delivered.1",
            r##"{"action": "on_message_delivered"}"##,
        ),
    ]);
    let payloads = || -> Vec<serde_json::Value> {
        let read = |body: String| {
            serde_json::from_str::<serde_json::Value>(&body).unwrap()["payload"].take()
        };
        take(&posted).into_iter().map(read).collect()
    };
    for topic in ["c/2", "$SYS/a", "a/2"] {
        assert_eq!(hooks.message_publish(&message(topic, b"x")), Verdict::Pass);
    }
    assert_eq!(payloads(), ["x"]);
    assert_eq!(hooks.message_publish(&message("a/1", b"x")), Verdict::Pass);
    assert_eq!(payloads(), ["x", "eA=="]);
    // What is delivered may be the broker's own; what nobody asks for is not posted.
    hooks.message_delivered(by_name("c", None), &message("$SYS/a", b"y"));
    hooks.message_acked(by_name("c", None), &message("a/1", b"y"));
    assert_eq!(payloads(), ["y"]);
}

#[test]
fn the_broker_s_own_topics_are_not_posted_when_published() {
    let (hooks, posted) = hooks(&[("message.publish.1", r#"{"action": "on_message_publish"}"#)]);
    hooks.message_publish(&message("$SYS/brokers", b"x"));
    assert_eq!(take(&posted), [""; 0]);
    hooks.message_publish(&message("$other", b"x"));
    assert_eq!(take(&posted).len(), 1);
}

#[test]
fn events_of_a_client_are_in_one_lane() {
    let (hooks, posted) = hooks(&[
        ("session.created.1", r#"{"action": "on_session_created"}"#),
        (
            "session.terminated.1",
            r#"{"action": "on_session_terminated"}"#,
        ),
        ("message.publish.1", r#"{"action": "on_message_publish"}"#),
        ("message.acked.1", r#"{"action": "on_message_acked"}"#),
    ]);
    let (one, two) = (by_name("one", None), by_name("two", Some("u")));
    hooks.session_created(one);
    hooks.message_publish(&Message {
        from: Some(one),
        ..message("t", b"")
    });
    // Whose event it is counts, not who has sent the message.
    hooks.message_acked(
        one,
        &Message {
            from: Some(two),
            ..message("t", b"")
        },
    );
    hooks.session_terminated(one, "normal");
    hooks.session_created(two);
    let events = std::mem::take(&mut *posted.lock().unwrap());
    let lanes: Vec<u64> = events.iter().map(|event| event.lane).collect();
    assert!(lanes[..4].iter().all(|lane| *lane == lanes[0]));
    assert_ne!(lanes[4], lanes[0]);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    assert!(
        events
            .iter()
            .all(|event| now.abs_diff(event.at.into()) < 60_000)
    );
}
