//! The scripts in the documentation do what it says.

#![allow(clippy::unwrap_used)]

use emqttd_plugin_sdk::testing::{FakeBroker, by_name, client, entry, message};
use emqttd_plugin_sdk::{Config, Message, Publish, QoS, Reply, TopicEntry};
use std::fs;

const GUIDE: &str = include_str!("../../../docs/hooks.md");
const README: &str = include_str!("../README.md");

/// The scripts of a text.
fn scripts(text: &str) -> Vec<&str> {
    let blocks = text.split("```lua\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The script that has all these words.
fn script(words: &[&str]) -> &'static str {
    let fits = |script: &&str| words.iter().all(|word| script.contains(word));
    scripts(GUIDE).into_iter().find(fits).unwrap()
}

struct Node {
    broker: FakeBroker,
}

/// With one script, x.
fn node(script: &str) -> Node {
    let broker = FakeBroker::new();
    let dir = broker.data_dir().join("hook_lua");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("x.lua"), script).unwrap();
    let config = Config::of(&[("lua.dir", dir.to_str().unwrap()), ("lua.max_time", "10s")]);
    broker.start(&crate::plugin(), config).unwrap();
    Node { broker }
}

impl Node {
    fn luahook(&self, verb: &str) -> String {
        match self.broker.command(&["luahook", verb, "x"]) {
            Some(Reply::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of a message of the client `c`.
    fn publish(&self, topic: &str, payload: &str) -> Option<(String, String)> {
        let message = Message {
            from: Some(by_name("c", None)),
            ..message(topic, payload.as_bytes())
        };
        let passed = self.broker.message_publish(&message)?;
        Some((passed.topic, String::from_utf8(passed.payload).unwrap()))
    }

    fn published(&self) -> Vec<(String, String)> {
        let text = |publish: Publish| (publish.topic, String::from_utf8(publish.payload).unwrap());
        self.broker.published().into_iter().map(text).collect()
    }

    fn no_errors(&self) {
        let status = self.luahook("status");
        assert!(status.contains("errors      : 0\n"), "{status}");
    }
}

fn is(passed: Option<(String, String)>, topic: &str, payload: &str) {
    assert_eq!(passed, Some((topic.into(), payload.into())));
}

fn filter(topic: &str) -> Vec<TopicEntry> {
    vec![entry(topic, QoS::AtLeastOnce)]
}

#[test]
fn every_script_can_be_loaded() {
    let all = [scripts(GUIDE), scripts(README)].concat();
    assert!(all.len() >= 11);
    for script in all {
        let node = node("");
        fs::write(node.broker.data_dir().join("hook_lua/x.lua"), script).unwrap();
        assert_eq!(
            node.luahook("reload"),
            "success to reload \"x\"\n",
            "{script}"
        );
    }
}

#[test]
fn every_callback_has_an_example() {
    let all = scripts(GUIDE).concat();
    for hook in crate::hooks::Hook::ALL {
        assert!(
            all.contains(&format!("function {}(", hook.name())),
            "{hook:?}"
        );
        assert!(GUIDE.contains(&format!("| `{}(", hook.name())), "{hook:?}");
    }
}

#[test]
fn clients_that_are_refused() {
    let node = node(script(&["on_client_connected", "refused"]));
    for _ in 0..4 {
        node.broker.client_connected(&client("c"), 4);
    }
    assert_eq!(node.published(), []);
    node.broker.client_connected(&client("c"), 4);
    node.broker.client_connected(&client("c"), 4);
    let told = (
        "monitor/refused".to_string(),
        r#"{"client":"c","code":4}"#.to_string(),
    );
    assert_eq!(node.published(), [told]);
    node.no_errors();
}

#[test]
fn presence() {
    let node = node(script(&["on_client_disconnected", "presence"]));
    node.broker.client_connected(&client("c"), 0);
    node.broker.client_connected(&client("d"), 5);
    node.broker
        .client_disconnected(&client("c"), "conflict", None);
    node.broker
        .client_disconnected(&client("c"), "normal", None);
    let told = |text: &str| ("presence/c".to_string(), text.to_string());
    assert_eq!(node.published(), [told("online"), told("offline: normal")]);
    node.no_errors();
}

#[test]
fn an_inbox_for_each() {
    let node = node(script(&["on_client_subscribe", "inbox"]));
    let subscribe = |clientid: &str, topic: &str| {
        let table = node
            .broker
            .client_subscribe(by_name(clientid, None), filter(topic));
        table.unwrap()[0].topic.clone()
    };
    assert_eq!(subscribe("c", "inbox"), "inbox/c");
    assert_eq!(subscribe("c", "other/+"), "other/+");
    assert_eq!(subscribe("c", "#"), "");
    assert_eq!(subscribe("+", "inbox"), "");
    let table = node
        .broker
        .client_unsubscribe(by_name("c", None), filter("inbox"));
    assert_eq!(table.unwrap()[0].topic, "inbox/c");
    node.no_errors();
}

#[test]
fn who_is_in_a_room() {
    let node = node(script(&["on_session_subscribed", "rooms"]));
    for topic in ["rooms/a", "rooms/+", "rooms/a/b"] {
        node.broker
            .session_subscribed(by_name("c", None), &filter(topic)[0]);
        node.broker
            .session_unsubscribed(by_name("c", None), &filter(topic)[0]);
    }
    let told = |topic: &str| (topic.to_string(), "c".to_string());
    assert_eq!(
        node.published(),
        [told("rooms/a/joined"), told("rooms/a/left")]
    );
    node.no_errors();
}

#[test]
fn readings_of_an_old_make() {
    let node = node(script(&["on_message_publish", "^old/"]));
    is(node.publish("t", "x"), "t", "x");
    let (topic, payload) = node.publish("old/k", "temp=21.5;hum=40").unwrap();
    assert_eq!(topic, "new/k");
    assert!(payload.starts_with(r#"{"at":1"#), "{payload}");
    assert!(payload.ends_with(r#","hum":40,"temp":21.5}"#), "{payload}");
    assert_eq!(node.publish("old/k", "temp=22"), None);
    assert!(node.publish("old/l", "temp=22").is_some());
    assert_eq!(node.publish("old/m", "nothing"), None);
    node.no_errors();
}

#[test]
fn commands_are_counted_and_timed() {
    let user = by_name("c", None);
    let node_of = |hook: &str| node(script(&[hook, "^commands/"]));
    let counting = node_of("on_message_delivered");
    counting
        .broker
        .message_delivered(user, &message("commands/1", b""));
    let status = counting.broker.command(&["luahook", "status"]);
    assert!(matches!(status, Some(Reply::Text(text)) if text.contains("emq.kv: 1 keys")));
    counting.no_errors();

    let timing = node_of("on_message_acked");
    is(timing.publish("commands/1", "on"), "commands/1", "on");
    timing
        .broker
        .message_acked(user, &message("commands/1", b"on"));
    timing.broker.message_acked(user, &message("other", b"on"));
    let told = timing.published();
    assert_eq!(told.len(), 1);
    let value: serde_json::Value = serde_json::from_str(&told[0].1).unwrap();
    assert!(value["seconds"].as_f64().unwrap() >= 0.0);
    timing.no_errors();
}

#[test]
fn what_is_forgotten() {
    let node = node(script(&["count = count + 1"]));
    is(node.publish("t", ""), "t", "1");
    is(node.publish("t", ""), "t", "1");
}

#[test]
fn json_that_is_none_passes() {
    let node = node(script(&["pcall(emq.json.decode"]));
    is(node.publish("t", "{"), "t", "{");
    is(node.publish("t", "5"), "t", "5");
    is(
        node.publish("t", r#"{"a":[]}"#),
        "t",
        r#"{"a":[],"from":"c"}"#,
    );
    node.no_errors();
}
