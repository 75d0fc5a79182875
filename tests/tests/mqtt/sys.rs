//! `$SYS`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use emqttd_tests::{ALL, Broker, Config, Version, unique};

const PREFIX: &str = "$SYS/brokers/emq@127.0.0.1";

fn ticking() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().set("mqtt.broker.sys_interval", "1s")))
}

const STATS: [&str; 7] = [
    "clients",
    "retained",
    "routes",
    "sessions",
    "subscribers",
    "subscriptions",
    "topics",
];

const METRICS: [&str; 38] = [
    "bytes/received",
    "bytes/sent",
    "messages/dropped",
    "messages/qos0/received",
    "messages/qos0/sent",
    "messages/qos1/received",
    "messages/qos1/sent",
    "messages/qos2/dropped",
    "messages/qos2/received",
    "messages/qos2/sent",
    "messages/received",
    "messages/retained",
    "messages/sent",
    "packets/connack",
    "packets/connect",
    "packets/disconnect",
    "packets/pingreq",
    "packets/pingresp",
    "packets/puback/missed",
    "packets/puback/received",
    "packets/puback/sent",
    "packets/pubcomp/missed",
    "packets/pubcomp/received",
    "packets/pubcomp/sent",
    "packets/publish/received",
    "packets/publish/sent",
    "packets/pubrec/missed",
    "packets/pubrec/received",
    "packets/pubrec/sent",
    "packets/pubrel/missed",
    "packets/pubrel/received",
    "packets/pubrel/sent",
    "packets/received",
    "packets/sent",
    "packets/suback",
    "packets/subscribe",
    "packets/unsuback",
    "packets/unsubscribe",
];

/// One tick brings every stat and every metric once, decimal, QoS 0, not retained.
#[test]
fn emq_sys_stats_and_metrics() {
    for v in ALL {
        let mut client = ticking().client(v, "sys");
        client.sub(&format!("{PREFIX}/stats/#"), 1);
        client.sub(&format!("{PREFIX}/metrics/#"), 1);
        let mut got: BTreeMap<String, String> = BTreeMap::new();
        while got.len() < 2 * STATS.len() + METRICS.len() {
            let message = client.recv_message();
            assert!(!message.retain && message.qos == 0, "{v}: {message:?}");
            message
                .payload
                .parse::<u64>()
                .unwrap_or_else(|_| panic!("{message:?}"));
            got.insert(
                message.topic[PREFIX.len() + 1..].to_string(),
                message.payload,
            );
        }
        for name in STATS {
            for which in ["count", "max"] {
                assert!(
                    got.contains_key(&format!("stats/{name}/{which}")),
                    "{v} {name}: {got:?}"
                );
            }
        }
        for name in METRICS {
            assert!(got.contains_key(&format!("metrics/{name}")), "{v} {name}");
        }
        assert!(got["stats/clients/count"].parse::<u64>().unwrap() >= 1);
        assert!(got["metrics/packets/connect"].parse::<u64>().unwrap() >= 1);
    }
}

/// Uptime and datetime every second.
#[test]
fn emq_sys_uptime_and_datetime() {
    let mut client = ticking().client(Version::V311, "sys");
    client.sub(&format!("{PREFIX}/uptime"), 0);
    for _ in 0..2 {
        let message = client.recv_message();
        assert!(
            message.payload.ends_with(" seconds") && !message.retain,
            "{message:?}"
        );
    }
    client.unsubscribe(&[&format!("{PREFIX}/uptime")]);
    client.sub(&format!("{PREFIX}/datetime"), 0);
    loop {
        let message = client.recv_message();
        if !message.topic.ends_with("datetime") {
            continue;
        }
        let shape: String = message
            .payload
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(shape, "9999-99-99 99:99:99");
        break;
    }
}

/// Brokers, version and sysdescr are retained from the first tick on.
#[test]
fn emq_sys_retained_topics() {
    let mut waiting = ticking().client(Version::V311, "sys");
    waiting.sub(&format!("{PREFIX}/version"), 0);
    waiting.recv_message();
    waiting.sub(&format!("{PREFIX}/stats/clients/count"), 0);
    waiting.recv_message();
    for v in ALL {
        for (topic, payload) in [
            ("$SYS/brokers".to_string(), Some("emq@127.0.0.1")),
            (format!("{PREFIX}/version"), None),
            (format!("{PREFIX}/sysdescr"), None),
        ] {
            let mut client = ticking().client(v, "sys");
            client.sub(&topic, 0);
            let message = client.recv_message();
            assert!(message.retain, "{v} {topic}");
            if let Some(payload) = payload {
                assert_eq!(message.payload, payload);
            }
        }
    }
}

/// `messages/dropped` counts what nobody subscribed to, and bytes and packets count what passed.
#[test]
fn emq_metrics_count() {
    let broker = Broker::start(Config::new());
    let read = || -> BTreeMap<String, u64> {
        let (code, text) = broker.ctl(&["broker", "metrics"]);
        assert_eq!(code, 0);
        text.lines()
            .map(|l| {
                let (name, value) = l.split_once(':').unwrap();
                (name.trim().to_string(), value.trim().parse().unwrap())
            })
            .collect()
    };
    let before = read();
    let topic = unique("count");
    for v in ALL {
        let mut client = broker.client(v, "count");
        client.pub_(&topic, 1, "nobody");
        client.sub(&topic, 2);
        client.pub_(&topic, 0, "a");
        client.recv_message();
        client.pub_(&topic, 1, "b");
        client.recv_message();
        client.pub_(&topic, 2, "c");
        client.recv_message();
        client.ping();
        client.unsubscribe(&[&topic]);
        client.disconnect();
    }
    let after = read();
    let grown = |name: &str| after[name] - before[name];
    for (name, count) in [
        ("messages/dropped", 3),
        ("messages/received", 12),
        ("messages/qos0/received", 3),
        ("messages/qos1/received", 6),
        ("messages/qos2/received", 3),
        ("messages/sent", 9),
        ("messages/qos0/sent", 3),
        ("messages/qos1/sent", 3),
        ("messages/qos2/sent", 3),
        ("packets/connect", 3),
        ("packets/connack", 3),
        ("packets/disconnect", 3),
        ("packets/subscribe", 3),
        ("packets/suback", 3),
        ("packets/unsubscribe", 3),
        ("packets/unsuback", 3),
        ("packets/pingreq", 3),
        ("packets/pingresp", 3),
        ("packets/publish/received", 12),
        ("packets/publish/sent", 9),
        ("packets/puback/sent", 6),
        ("packets/puback/received", 3),
        ("packets/pubrec/sent", 3),
        ("packets/pubrec/received", 3),
        ("packets/pubrel/sent", 3),
        ("packets/pubrel/received", 3),
        ("packets/pubcomp/sent", 3),
        ("packets/pubcomp/received", 3),
    ] {
        assert_eq!(grown(name), count, "{name}");
    }
    assert!(grown("bytes/received") > 100 && grown("bytes/sent") > 100);
}

/// The shipped rules hide `$SYS` from everybody but loopback; here only that root wildcards never see it.
#[test]
fn mqtt_4_7_2_1_root_wildcard_does_not_see_sys() {
    for v in ALL {
        let mut client = ticking().client(v, "root");
        client.sub("#", 0);
        client.sub("+/+/+/+", 0);
        let mut sys = ticking().client(v, "sys");
        // Two ticks pass for somebody who does see them.
        sys.sub(&format!("{PREFIX}/uptime"), 0);
        sys.recv_message();
        sys.recv_message();
        loop {
            match client.recv_within(std::time::Duration::from_millis(1)) {
                None => break,
                Some(Some(emqttd_tests::Packet::Publish { topic, .. })) => {
                    assert!(!topic.starts_with('$'), "{v}: {topic}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
