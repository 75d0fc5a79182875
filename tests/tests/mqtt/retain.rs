//! Retained messages.

use std::sync::OnceLock;

use emqttd_tests::{ALL, Broker, Config, Connect, Prop, Publish, Sub, V3, Version, unique};

use crate::broker;

fn small() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(Config::new().file(
            "etc/plugins/emq_retainer.conf",
            "retainer.storage_type = ram\nretainer.max_message_num = 0\nretainer.max_payload_size = 1KB\n\
             retainer.expiry_interval = 0\n",
        ))
    })
}

/// [MQTT-3.3.1-9], [MQTT311-3.3.1-6], [MQTT311-3.3.1-8], [MQTT311-3.3.1-5]
#[test]
fn mqtt_3_3_1_5_retained_message_is_stored_and_replaced() {
    for v in ALL {
        for qos in 0..=2 {
            let topic = unique("stored");
            let mut publisher = broker().client(v, "pub");
            publisher.publish(Publish::new(&topic, "old").qos(qos).retained());
            publisher.publish(Publish::new(&topic, "new").qos(qos).retained());
            let mut client = broker().client(v, "sub");
            client.sub(&topic, 2);
            let message = client.expect(&topic, "new");
            assert!(message.retain, "{v}");
            assert_eq!(message.qos, qos);
            client.nothing_from(&mut publisher);
        }
    }
}

/// Retained messages come after SUBACK, with the lower QoS.
#[test]
fn mqtt_3_8_4_8_retained_qos_is_the_lower() {
    for v in ALL {
        let topic = unique("lower");
        broker()
            .client(v, "pub")
            .publish(Publish::new(&topic, "x").qos(2).retained());
        for qos in 0..=2 {
            let mut client = broker().client(v, "sub");
            client.sub(&topic, qos);
            assert_eq!(client.expect(&topic, "x").qos, qos, "{v}");
        }
    }
}

/// [MQTT-3.3.1-7], [MQTT311-3.3.1-10], [MQTT311-3.3.1-11]
#[test]
fn mqtt_3_3_1_6_empty_payload_removes_the_retained_message() {
    for v in ALL {
        let topic = unique("cleared");
        let mut live = broker().client(v, "live");
        live.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "x").qos(1).retained());
        publisher.publish(Publish::new(&topic, "").qos(1).retained());
        // Live subscribers see both, without RETAIN.
        assert!(!live.expect(&topic, "x").retain);
        assert!(!live.expect(&topic, "").retain);
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 1);
        client.nothing_from(&mut publisher);
    }
}

/// [MQTT311-3.3.1-12]
#[test]
fn mqtt_3_3_1_8_message_without_retain_changes_nothing() {
    for v in ALL {
        let topic = unique("plain");
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "kept").qos(1).retained());
        publisher.pub_(&topic, 1, "passing");
        publisher.pub_(&topic, 1, "");
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 1);
        client.expect(&topic, "kept");
        client.nothing_from(&mut publisher);
    }
}

/// [MQTT311-3.3.1-9]
#[test]
fn mqtt_3_3_1_12_live_delivery_has_no_retain() {
    for v in ALL {
        let topic = unique("live");
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for qos in 0..=2 {
            publisher.publish(Publish::new(&topic, "x").qos(qos).retained());
            assert!(!client.expect(&topic, "x").retain, "{v}");
        }
    }
}

#[test]
fn mqtt5_3_3_1_13_retain_as_published() {
    let topic = unique("rap");
    let mut client = broker().client(Version::V5, "rap");
    client.subscribe(&[Sub::new(&topic, 1).retain_as_published()], &[]);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(Publish::new(&topic, "retained").qos(1).retained());
    assert!(client.expect(&topic, "retained").retain);
    publisher.pub_(&topic, 1, "plain");
    assert!(!client.expect(&topic, "plain").retain);
    // Replaced with the subscription.
    client.subscribe(&[Sub::new(&topic, 1).retain_handling(2)], &[]);
    publisher.publish(Publish::new(&topic, "retained").qos(1).retained());
    assert!(!client.expect(&topic, "retained").retain);
}

/// The retained copies themselves carry RETAIN, with and without the option.
#[test]
fn mqtt5_3_3_1_12_retained_copies_keep_retain() {
    let topic = unique("rap");
    broker()
        .client(Version::V5, "pub")
        .publish(Publish::new(&topic, "x").qos(1).retained());
    for sub in [
        Sub::new(&topic, 1),
        Sub::new(&topic, 1).retain_as_published(),
    ] {
        let mut client = broker().client(Version::V5, "rap");
        client.subscribe(&[sub], &[]);
        assert!(client.expect(&topic, "x").retain);
    }
}

#[test]
fn mqtt5_3_3_1_9_retain_handling_0_sends_each_time() {
    let topic = unique("rh");
    broker()
        .client(Version::V5, "pub")
        .publish(Publish::new(&topic, "x").qos(1).retained());
    let mut client = broker().client(Version::V5, "rh");
    for _ in 0..3 {
        client.subscribe(&[Sub::new(&topic, 1).retain_handling(0)], &[]);
        client.expect(&topic, "x");
    }
}

#[test]
fn mqtt5_3_3_1_10_retain_handling_1_sends_to_a_new_subscription() {
    let topic = unique("rh");
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(Publish::new(&topic, "x").qos(1).retained());
    let mut client = broker().client(Version::V5, "rh");
    let sub = [Sub::new(&topic, 1).retain_handling(1)];
    client.subscribe(&sub, &[]);
    client.expect(&topic, "x");
    client.subscribe(&sub, &[]);
    client.nothing_from(&mut publisher);
    client.unsubscribe(&[&topic]);
    client.subscribe(&sub, &[]);
    client.expect(&topic, "x");
}

/// The subscription of a resumed session exists already.
#[test]
fn mqtt5_3_3_1_10_retain_handling_1_after_resume() {
    let topic = unique("rh");
    let connect = Connect::persistent(Version::V5, &unique("rh"));
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(Publish::new(&topic, "x").qos(1).retained());
    let mut client = broker().open(&connect);
    let sub = [Sub::new(&topic, 1).retain_handling(1)];
    client.subscribe(&sub, &[]);
    client.expect(&topic, "x");
    client.disconnect();
    let mut client = broker().open(&connect);
    client.subscribe(&sub, &[]);
    client.nothing_from(&mut publisher);
}

#[test]
fn mqtt5_3_3_1_11_retain_handling_2_sends_nothing() {
    let topic = unique("rh");
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(Publish::new(&topic, "x").qos(1).retained());
    let mut client = broker().client(Version::V5, "rh");
    client.subscribe(&[Sub::new(&topic, 1).retain_handling(2)], &[]);
    client.nothing_from(&mut publisher);
    publisher.pub_(&topic, 1, "live");
    client.expect(&topic, "live");
}

/// [MQTT311-3.8.4-3]: an identical SUBSCRIBE brings them again.
#[test]
fn mqtt_3_8_4_4_subscribing_again_resends() {
    for v in ALL {
        let topic = unique("again");
        broker()
            .client(v, "pub")
            .publish(Publish::new(&topic, "x").qos(1).retained());
        let mut client = broker().client(v, "sub");
        for _ in 0..2 {
            client.sub(&topic, 1);
            assert!(client.expect(&topic, "x").retain, "{v}");
        }
    }
}

/// Two filters of one SUBSCRIBE bring two sets.
#[test]
fn emq_overlapping_filters_give_retained_twice() {
    for v in V3 {
        let base = unique("sets");
        broker()
            .client(v, "pub")
            .publish(Publish::new(&format!("{base}/x"), "x").retained());
        let mut client = broker().client(v, "sub");
        client.subscribe(
            &[
                Sub::new(&format!("{base}/+"), 0),
                Sub::new(&format!("{base}/#"), 0),
            ],
            &[],
        );
        assert_eq!(client.payloads(2), ["x", "x"], "{v}");
    }
}

/// Resuming a session is not subscribing.
#[test]
fn mqtt_3_3_1_9_resume_sends_no_retained_messages() {
    for v in ALL {
        let topic = unique("resume");
        let connect = Connect::persistent(v, &unique("resume"));
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "x").qos(1).retained());
        let mut client = broker().open(&connect);
        client.sub(&topic, 1);
        client.expect(&topic, "x");
        client.disconnect();
        broker().open(&connect).nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt311_3_1_2_7_retained_messages_outlive_the_session() {
    for v in ALL {
        let topic = unique("outlive");
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "x").qos(1).retained());
        publisher.disconnect();
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 1);
        client.expect(&topic, "x");
    }
}

/// Wildcards find them all, and only them.
#[test]
fn mqtt_3_3_1_9_wildcards_find_retained_messages() {
    for v in ALL {
        let base = unique("wild");
        let mut publisher = broker().client(v, "pub");
        for topic in ["a", "a/b", "a/b/c", "a//c", "d/b", "/x"] {
            publisher.publish(
                Publish::new(&format!("{base}/{topic}"), topic)
                    .qos(1)
                    .retained(),
            );
        }
        for (filter, wanted) in [
            ("#", &["/x", "a", "a//c", "a/b", "a/b/c", "d/b"][..]),
            ("a/#", &["a", "a//c", "a/b", "a/b/c"]),
            ("+/b", &["a/b", "d/b"]),
            ("a/+/c", &["a//c", "a/b/c"]),
            ("+", &["a"]),
            ("/x", &["/x"]),
            ("/+", &["/x"]),
            ("e", &[]),
        ] {
            let mut client = broker().client(v, "sub");
            client.sub(&format!("{base}/{filter}"), 1);
            let mut got = client.payloads(wanted.len());
            got.sort();
            assert_eq!(got, wanted, "{v} {filter}");
            client.nothing_from(&mut publisher);
        }
    }
}

/// More retained messages than a window or an output buffer holds: all come.
#[test]
fn mqtt_3_3_1_9_many_retained_messages_all_come() {
    for v in ALL {
        let base = unique("many");
        let mut publisher = broker().client(v, "pub");
        let payload = "x".repeat(1000);
        for i in 0..500 {
            publisher.publish(
                Publish::new(&format!("{base}/{i}"), &payload)
                    .qos(1)
                    .retained(),
            );
        }
        for qos in [0, 1] {
            let mut client = broker().client(v, "sub");
            client.sub(&format!("{base}/+"), qos);
            let mut topics: Vec<String> = (0..500).map(|_| client.recv_message().topic).collect();
            topics.sort();
            topics.dedup();
            assert_eq!(topics.len(), 500, "{v} QoS {qos}");
        }
    }
}

/// MQTT 5 section 4.8.2: a shared subscription gets no retained messages.
#[test]
fn mqtt5_4_8_2_shared_subscriptions_get_no_retained_messages() {
    let topic = unique("share");
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(Publish::new(&topic, "x").qos(1).retained());
    let mut client = broker().client(Version::V5, "sub");
    client.sub(&format!("$share/g/{topic}"), 1);
    client.nothing_from(&mut publisher);
}

#[test]
fn emq_shared_and_local_subscriptions_get_retained_messages() {
    for v in V3 {
        let topic = unique("share");
        broker()
            .client(v, "pub")
            .publish(Publish::new(&topic, "x").qos(1).retained());
        for prefix in ["$share/g/", "$queue/", "$local/"] {
            let mut client = broker().client(v, "sub");
            client.sub(&format!("{prefix}{topic}"), 1);
            client.expect(&topic, "x");
        }
    }
}

#[test]
fn emq_max_payload_size_of_the_retainer() {
    for v in ALL {
        let topic = unique("size");
        let mut publisher = small().client(v, "pub");
        let mut live = small().client(v, "live");
        live.sub(&format!("{topic}/#"), 0);
        for (name, size) in [("fits", 1024), ("beyond", 1025)] {
            let payload = "x".repeat(size);
            publisher.publish(
                Publish::new(&format!("{topic}/{name}"), &payload)
                    .qos(1)
                    .retained(),
            );
            live.expect(&format!("{topic}/{name}"), &payload);
        }
        let mut client = small().client(v, "sub");
        client.sub(&format!("{topic}/#"), 0);
        assert_eq!(client.recv_message().topic, format!("{topic}/fits"), "{v}");
        client.nothing_from(&mut publisher);
    }
}

/// Properties are stored with the message.
#[test]
fn mqtt5_3_3_2_17_properties_are_retained() {
    let topic = unique("props");
    let props = [
        Prop::PayloadFormat(1),
        Prop::ContentType("text/plain".into()),
        Prop::ResponseTopic("answers".into()),
        Prop::CorrelationData(vec![1, 2, 3]),
        Prop::user("k", "v"),
        Prop::user("k", "w"),
    ];
    let mut publish = Publish::new(&topic, "x").qos(1).retained();
    publish.props = props.to_vec();
    broker().client(Version::V5, "pub").publish(publish);
    let mut client = broker().client(Version::V5, "sub");
    client.subscribe(&[Sub::new(&topic, 1)], &[Prop::SubscriptionId(3)]);
    let got = client.expect(&topic, "x").props;
    for prop in props {
        assert!(got.0.contains(&prop), "{prop:?} in {got:?}");
    }
    assert_eq!(
        got.user(),
        [("k".into(), "v".into()), ("k".into(), "w".into())]
    );
    assert_eq!(got.subscription_ids(), [3]);
}

/// A retained message expires, and its remaining time is told.
#[test]
fn mqtt5_3_3_2_6_retained_message_expires() {
    let topic = unique("expire");
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(
        Publish::new(&format!("{topic}/long"), "x")
            .qos(1)
            .retained()
            .prop(Prop::MessageExpiry(100)),
    );
    publisher.publish(
        Publish::new(&format!("{topic}/short"), "x")
            .qos(1)
            .retained()
            .prop(Prop::MessageExpiry(1)),
    );
    // Time itself is what is tested here.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut client = broker().client(Version::V5, "sub");
    client.sub(&format!("{topic}/#"), 1);
    let message = client.expect(&format!("{topic}/long"), "x");
    let left = message.props.message_expiry().unwrap();
    assert!((95..=98).contains(&left), "{left} s left");
    client.nothing_from(&mut publisher);
}
