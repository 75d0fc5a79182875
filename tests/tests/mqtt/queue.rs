//! Bounds of what waits for a session.

use std::sync::OnceLock;

use emqttd_tests::{ALL, Broker, Config, Connect, unique};

/// Three messages a session, drop the oldest.
fn simple() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.mqueue.max_length", "3")
                .set("mqtt.session.max_inflight", "2"),
        )
    })
}

/// Three messages a topic, two topics with priorities.
fn priority() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.mqueue.type", "priority")
                .set("mqtt.mqueue.priority", "prio/high=10,prio/low=8")
                .set("mqtt.mqueue.max_length", "3"),
        )
    })
}

#[test]
fn emq_full_queue_drops_the_oldest() {
    for v in ALL {
        let topic = unique("oldest");
        let id = unique("oldest");
        let connect = Connect::persistent(v, &id);
        let mut client = simple().open(&connect);
        client.sub(&topic, 2);
        client.disconnect();
        let mut publisher = simple().client(v, "pub");
        for (payload, qos) in [("a", 2), ("b", 1), ("c", 0), ("d", 1), ("e", 0)] {
            publisher.pub_(&topic, qos, payload);
        }
        let (code, text) = simple().ctl(&["sessions", "show", &id]);
        assert_eq!(code, 0);
        assert!(
            text.contains("mqueue_len=3, mqueue_dropped=2,"),
            "{v}: {text}"
        );
        let mut client = simple().open(&connect);
        assert_eq!(client.payloads(3), ["c", "d", "e"], "{v}");
        client.nothing_from(&mut publisher);
    }
}

/// Online with a full window the queue is the same one.
#[test]
fn emq_full_window_and_queue_drop_the_oldest_waiting() {
    for v in ALL {
        let topic = unique("window");
        let mut client = simple().client(v, "window");
        client.sub(&topic, 1);
        let mut publisher = simple().client(v, "pub");
        for i in 0..8 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        // Two are in flight; of the six behind them the last three remain.
        let first = [client.recv_publish(), client.recv_publish()];
        client.ping();
        for message in &first {
            client.acknowledge(message);
        }
        assert_eq!(client.payloads(3), ["5", "6", "7"], "{v}");
        client.nothing_from(&mut publisher);
    }
}

#[test]
fn emq_priority_queue_sends_the_higher_topic_first() {
    for v in ALL {
        let connect = Connect::persistent(v, &unique("prio"));
        let plain = unique("plain");
        let mut client = priority().open(&connect);
        for filter in ["prio/#", &plain] {
            client.sub(filter, 1);
        }
        client.disconnect();
        let mut publisher = priority().client(v, "pub");
        for (topic, n) in [(plain.as_str(), 4), ("prio/low", 4), ("prio/high", 2)] {
            for i in 0..n {
                publisher.pub_(topic, 1, &format!("number{i}"));
            }
        }
        let mut client = priority().open(&connect);
        let got: Vec<(String, String)> = (0..8)
            .map(|_| {
                let message = client.recv_message();
                (message.topic, message.payload[6..].to_string())
            })
            .collect();
        let wanted: Vec<(String, String)> = [
            ("prio/high", "0"),
            ("prio/high", "1"),
            ("prio/low", "1"),
            ("prio/low", "2"),
            ("prio/low", "3"),
            (plain.as_str(), "1"),
            (plain.as_str(), "2"),
            (plain.as_str(), "3"),
        ]
        .iter()
        .map(|(t, p)| ((*t).to_string(), (*p).to_string()))
        .collect();
        assert_eq!(got, wanted, "{v}");
    }
}
