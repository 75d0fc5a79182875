#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::TopicEntry;
use emqttd_plugin_sdk::testing::{FakeBroker, by_name, client, entry, message};

fn started(keys: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(keys)).unwrap();
    broker
}

fn topic(broker: &FakeBroker, topic: &str) -> String {
    broker.message_publish(&message(topic, b"m")).unwrap().topic
}

#[test]
fn without_keys_it_does_nothing() {
    let broker = started(&[]);
    broker.client_connected(&client("c"), 0);
    broker.client_disconnected(&client("c"), "normal", None);
    assert!(broker.published().is_empty());
    assert!(broker.subscribed().is_empty());
    assert_eq!(topic(&broker, "x/y/1"), "x/y/1");
}

#[test]
fn presence_is_published() {
    let broker = started(&[("module.presence", "on"), ("module.presence.qos", "2")]);
    let mut c = client("a/+");
    broker.client_connected(&c, 2);
    c.proto_ver = 5;
    broker.client_disconnected(&c, "keepalive_timeout", Some(0x8d));
    let published = broker.published();
    let topics: Vec<&str> = published.iter().map(|m| &*m.topic).collect();
    assert_eq!(
        topics,
        [
            "$SYS/brokers/fake@127.0.0.1/clients/a/%2b/connected",
            "$SYS/brokers/fake@127.0.0.1/clients/a/%2b/disconnected",
        ]
    );
    for message in &published {
        assert_eq!(message.qos, QoS::ExactlyOnce);
        assert!(!message.retain);
        assert_eq!(message.from.as_deref(), Some("presence"));
    }
    let text = |n: usize| String::from_utf8(published[n].payload.clone()).unwrap();
    assert!(text(0).contains(r#""clientid":"a/+","username":"undefined","#));
    assert!(text(0).contains(r#""connack":2,"#));
    assert!(text(1).ends_with(r#","reason_code":141}"#));
}

#[test]
fn presence_has_qos_1_unless_said_otherwise() {
    let broker = started(&[("module.presence", "on")]);
    broker.client_connected(&client("c"), 0);
    assert_eq!(broker.published()[0].qos, QoS::AtLeastOnce);
}

#[test]
fn a_client_id_too_long_for_a_topic_is_left_out() {
    let broker = started(&[("module.presence", "on")]);
    broker.client_connected(&client(&"c".repeat(65_535)), 2);
    assert!(broker.published().is_empty());
    broker.client_connected(&client("c"), 0);
    assert_eq!(broker.published().len(), 1);
}

#[test]
fn clients_are_subscribed_when_they_are_let_in() {
    let broker = started(&[
        ("module.subscription", "on"),
        ("module.subscription.1.topic", "$client/%c"),
        ("module.subscription.2.topic", "$user/%u"),
        ("module.subscription.2.qos", "2"),
    ]);
    broker.client_connected(&client("c1"), 4);
    assert!(broker.subscribed().is_empty(), "refused");
    let mut c = client("c1");
    c.username = Some("a/b".into());
    broker.client_connected(&c, 0);
    let first = entry("$client/c1", QoS::AtLeastOnce);
    assert_eq!(
        broker.subscribed(),
        [("c1".to_string(), vec![first.clone()])],
        "only what the name fits into"
    );
    c.username = Some("alice".into());
    broker.client_connected(&c, 0);
    let second = entry("$user/alice", QoS::ExactlyOnce);
    assert_eq!(
        broker.subscribed(),
        [("c1".to_string(), vec![first, second])]
    );
    c.clientid = "#".into();
    c.username = Some("+".into());
    broker.client_connected(&c, 0);
    assert!(broker.subscribed().is_empty(), "nothing fits");
}

const RULES: [(&str, &str); 4] = [
    ("module.rewrite", "on"),
    ("module.rewrite.rule.1", "x/# ^x/y/(.+)$ z/y/$1"),
    ("module.rewrite.rule.2", "y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2"),
    ("module.rewrite.rule.3", "w/# ^w/(.+)$ w+/$1"),
];

#[test]
fn topics_are_rewritten_on_every_way_in() {
    let broker = started(&RULES);
    assert_eq!(topic(&broker, "x/y/2"), "z/y/2");
    assert_eq!(topic(&broker, "x/1/2"), "x/1/2");
    assert_eq!(topic(&broker, "y/a/z/b"), "y/z/b");
    let c = by_name("c", None);
    let entry = |topic, share: Option<&str>| TopicEntry {
        share: share.map(str::to_string),
        ..entry(topic, QoS::AtLeastOnce)
    };
    let asked = vec![
        entry("x/y/#", None),
        entry("y/a/z/+", None),
        entry("x/y/2", Some("g")),
        entry("other", None),
    ];
    let wanted = vec![
        entry("z/y/#", None),
        entry("y/z/+", None),
        entry("z/y/2", Some("g")),
        entry("other", None),
    ];
    let subscribed = broker.client_subscribe(c, asked.clone());
    assert_eq!(subscribed, Some(wanted.clone()));
    assert_eq!(broker.client_unsubscribe(c, asked), Some(wanted));
}

#[test]
fn a_result_that_is_no_topic_is_not_used() {
    let broker = started(&RULES);
    assert_eq!(topic(&broker, "w/1"), "w/1");
    // The rule matches a filter, too; what it makes of it would be valid as a filter only.
    let broker = started(&[
        ("module.rewrite", "on"),
        ("module.rewrite.rule.1", "x/# ^x/(.+)$ $1/#"),
    ]);
    assert_eq!(topic(&broker, "x/a"), "x/a");
    let table = vec![entry("x/a", QoS::AtMostOnce)];
    let subscribed = broker.client_subscribe(by_name("c", None), table).unwrap();
    assert_eq!(subscribed[0].topic, "a/#");
    let table = vec![entry("x/a/#", QoS::AtMostOnce)];
    let subscribed = broker.client_subscribe(by_name("c", None), table).unwrap();
    assert_eq!(subscribed[0].topic, "x/a/#");
}

/// By a hook before this one, which has left it without a topic.
#[test]
fn what_is_cancelled_stays_so() {
    let broker = started(&[
        ("module.rewrite", "on"),
        ("module.rewrite.rule.1", "# ^.*$ all"),
    ]);
    let who = by_name("c", None);
    let table = || vec![entry("", QoS::AtMostOnce), entry("a", QoS::AtMostOnce)];
    for table in [
        broker.client_subscribe(who, table()).unwrap(),
        broker.client_unsubscribe(who, table()).unwrap(),
    ] {
        assert_eq!([&*table[0].topic, &*table[1].topic], ["", "all"]);
    }
}

#[test]
fn a_bad_key_loads_nothing() {
    for (key, value) in [
        ("module.presence.qos", "3"),
        ("module.subscription.1.topic", "a/#/b"),
        ("module.rewrite.rule.1", "x/# ^( y"),
    ] {
        let keys = [
            ("module.presence", "on"),
            ("module.subscription", "on"),
            ("module.rewrite", "on"),
            (key, value),
        ];
        let broker = FakeBroker::new();
        let error = broker.start(&plugin(), Config::of(&keys)).unwrap_err().0;
        assert!(
            error.starts_with(&format!("test: {key} = {value}: ")),
            "{error}"
        );
        broker.client_connected(&client("c"), 0);
        assert!(broker.published().is_empty(), "{key}");
    }
}

#[test]
fn what_is_off_is_not_read() {
    let broker = started(&[
        ("module.subscription", "off"),
        ("module.subscription.1.topic", "a/#/b"),
        ("module.rewrite", "off"),
        ("module.rewrite.rule.1", "x/# ^( y"),
    ]);
    assert_eq!(topic(&broker, "x/1"), "x/1");
}
