//! What a session keeps, and for how long.

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use emqttd_tests::{ALL, Broker, Config, Connect, Prop, Publish, Sub, V3, Version, unique};

use crate::broker;

/// 3.x sessions expire after a second.
fn forgetful() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.session.expiry_interval", "1s")
                .set("mqtt.mqueue.store_qos0", "false"),
        )
    })
}

/// [MQTT-3.1.2-23], [MQTT311-3.1.2-4], [MQTT311-4.1.0-1]
#[test]
fn mqtt_3_1_2_5_all_subscriptions_come_back_with_their_qos() {
    for v in ALL {
        let base = unique("subs");
        let connect = Connect::persistent(v, &unique("subs"));
        let mut client = broker().open(&connect);
        client.sub(&format!("{base}/0"), 0);
        client.sub(&format!("{base}/+/1"), 1);
        client.sub(&format!("{base}/2/#"), 2);
        client.disconnect();
        let mut client = broker().open(&connect);
        let mut publisher = broker().client(v, "pub");
        for (topic, qos) in [("0", 0), ("x/1", 1), ("2/y", 2)] {
            publisher.pub_(&format!("{base}/{topic}"), 2, "x");
            assert_eq!(
                client.expect(&format!("{base}/{topic}"), "x").qos,
                qos,
                "{v}"
            );
        }
    }
}

#[test]
fn emq_session_expires_after_expiry_interval() {
    for v in V3 {
        let connect = Connect::persistent(v, &unique("expire"));
        forgetful().open(&connect).disconnect();
        let (client, present, _) = forgetful().resume(&connect);
        assert!(present || v == Version::V31);
        client.disconnect();
        // Time itself is what is tested here.
        sleep(Duration::from_millis(2000));
        let (_, present, _) = forgetful().resume(&connect);
        assert!(!present, "{v}");
    }
}

/// A live session never expires.
#[test]
fn mqtt_4_1_0_1_session_lives_while_connected() {
    for v in ALL {
        let topic = unique("live");
        let connect = Connect::persistent(v, &unique("live")).clean(false);
        let mut connect = connect;
        if v.is_v5() {
            connect.props = vec![Prop::SessionExpiry(1)];
        }
        let mut client = forgetful().open(&connect);
        client.sub(&topic, 1);
        sleep(Duration::from_millis(1500));
        forgetful().client(v, "pub").pub_(&topic, 1, "x");
        client.expect(&topic, "x");
    }
}

#[test]
fn mqtt5_4_1_0_2_session_expires() {
    for (expiry, waits) in [(None, 0), (Some(0), 0), (Some(1), 2100)] {
        let mut connect = Connect::new(Version::V5, &unique("expire")).clean(false);
        if let Some(expiry) = expiry {
            connect = connect.prop(Prop::SessionExpiry(expiry));
        }
        broker().open(&connect).disconnect();
        sleep(Duration::from_millis(waits));
        let (_, present, _) = broker().resume(&connect);
        assert!(!present, "{expiry:?}");
    }
}

#[test]
fn mqtt5_3_1_2_23_session_is_kept_until_it_expires() {
    for expiry in [5, 3600, u32::MAX] {
        let connect = Connect::new(Version::V5, &unique("kept"))
            .clean(false)
            .prop(Prop::SessionExpiry(expiry));
        let (client, _, props) = broker().resume(&connect);
        // A server that uses another value says so.
        assert!(props.session_expiry().is_none_or(|e| e > 0));
        client.drop_connection();
        let (_, present, _) = broker().resume(&connect);
        assert!(present, "{expiry}");
    }
}

/// A clean start begins a new session, which is kept like any.
#[test]
fn mqtt5_3_1_2_4_clean_start_with_expiry_is_kept() {
    let connect = Connect::new(Version::V5, &unique("cs")).prop(Prop::SessionExpiry(100));
    broker().open(&connect).disconnect();
    let (_, present, _) = broker().resume(&connect.clean(false));
    assert!(present);
}

/// DISCONNECT may change the expiry.
#[test]
fn mqtt5_3_14_2_2_disconnect_changes_the_expiry() {
    let id = unique("change");
    let kept = Connect::persistent(Version::V5, &id);
    broker()
        .open(&kept)
        .disconnect_with(0, &[Prop::SessionExpiry(0)]);
    let (client, present, _) = broker().resume(&kept);
    assert!(!present, "expiry 0 at DISCONNECT ends the session");
    client.disconnect_with(0, &[Prop::SessionExpiry(100)]);
    let (client, present, _) = broker().resume(&kept);
    assert!(present);
    client.disconnect();
}

/// From 0 it may not be raised.
#[test]
fn mqtt5_3_14_2_2_expiry_0_cannot_be_raised_at_disconnect() {
    let id = unique("raise");
    let mut client = broker().open(&Connect::new(Version::V5, &id));
    client.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 100]);
    client.expect_closed(&[0x82]);
    let (_, present, _) = broker().resume(&Connect::persistent(Version::V5, &id));
    assert!(!present);
}

/// The expiry is that of the latest connection.
#[test]
fn mqtt5_3_1_2_23_expiry_is_that_of_the_last_connect() {
    let id = unique("latest");
    broker()
        .open(&Connect::persistent(Version::V5, &id))
        .disconnect();
    let (client, present, _) = broker().resume(&Connect::new(Version::V5, &id).clean(false));
    assert!(present);
    client.disconnect();
    let (_, present, _) = broker().resume(&Connect::persistent(Version::V5, &id));
    assert!(!present, "the connection in between had no expiry");
}

#[test]
fn emq_offline_qos0_is_stored_in_order() {
    for v in ALL {
        let topic = unique("store");
        let connect = Connect::persistent(v, &unique("store"));
        let mut client = broker().open(&connect);
        client.sub(&topic, 2);
        client.disconnect();
        let mut publisher = broker().client(v, "pub");
        for (payload, qos) in [("a", 0), ("b", 1), ("c", 0), ("d", 2)] {
            publisher.pub_(&topic, qos, payload);
        }
        assert_eq!(
            broker().open(&connect).payloads(4),
            ["a", "b", "c", "d"],
            "{v}"
        );
    }
}

#[test]
fn emq_store_qos0_false_skips_offline_qos0() {
    for v in ALL {
        let topic = unique("nostore");
        let connect = Connect::persistent(v, &unique("nostore"));
        let mut client = forgetful().open(&connect);
        client.sub(&topic, 2);
        client.disconnect();
        let mut publisher = forgetful().client(v, "pub");
        for (payload, qos) in [("a", 0), ("b", 1), ("c", 0), ("d", 2)] {
            publisher.pub_(&topic, qos, payload);
        }
        let mut client = forgetful().open(&connect);
        assert_eq!(client.payloads(2), ["b", "d"], "{v}");
        client.nothing_from(&mut publisher);
    }
}

/// Packet ids go on over a reconnect.
#[test]
fn emq_packet_ids_continue_over_reconnects() {
    for v in V3 {
        let topic = unique("ids");
        let connect = Connect::persistent(v, &unique("ids"));
        let mut publisher = broker().client(v, "pub");
        let mut client = broker().open(&connect);
        client.sub(&topic, 1);
        let mut last = 0;
        for _ in 0..3 {
            for _ in 0..3 {
                publisher.pub_(&topic, 1, "x");
                let id = client.recv_message().id.unwrap();
                assert_eq!(id, last + 1, "{v}");
                last = id;
            }
            client.disconnect();
            client = broker().open(&connect);
        }
    }
}

/// A session may be resumed with another version of the protocol.
#[test]
fn mqtt_3_1_2_5_session_passes_between_versions() {
    let id = unique("versions");
    let topic = unique("versions");
    let mut client = broker().open(&Connect::persistent(Version::V311, &id));
    client.sub(&topic, 1);
    client.disconnect();
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.publish(
        Publish::new(&topic, "one")
            .qos(1)
            .prop(Prop::user("a", "b")),
    );
    let (mut client, present, _) = broker().resume(&Connect::persistent(Version::V5, &id));
    assert!(present);
    assert_eq!(
        client.expect(&topic, "one").props.user(),
        [("a".into(), "b".into())]
    );
    client.subscribe(
        &[Sub::new(&format!("{topic}/2"), 1)],
        &[Prop::SubscriptionId(9)],
    );
    client.disconnect();
    publisher.pub_(&format!("{topic}/2"), 1, "two");
    let (mut client, present, _) = broker().resume(&Connect::persistent(Version::V311, &id));
    assert!(present);
    client.expect(&format!("{topic}/2"), "two");
}
