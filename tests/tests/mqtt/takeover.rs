//! A second connection with the client id of a live one.

use std::time::{Duration, Instant};

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Connect, Prop, Publish, V3, Version, Will, unique};

use crate::broker;

/// [MQTT311-3.1.4-2]
#[test]
fn mqtt_3_1_4_3_old_connection_is_closed() {
    for old in ALL {
        for new in ALL {
            let id = unique("takeover");
            let mut first = broker().open(&Connect::new(old, &id));
            let mut second = broker().open(&Connect::new(new, &id));
            first.expect_closed(&[0x8e]);
            second.quiet();
        }
    }
}

/// The session moves with all that is in it: subscriptions, messages in flight, queue.
#[test]
fn mqtt_3_1_2_5_live_session_is_taken_over_whole() {
    for v in ALL {
        let topic = unique("whole");
        let connect = Connect::persistent(v, &unique("whole")).prop(Prop::ReceiveMaximum(2));
        let mut first = broker().open(&connect);
        first.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..50).map(|i| i.to_string()).collect();
        for payload in &payloads {
            publisher.pub_(&topic, 2, payload);
        }
        assert_eq!(first.recv_publish().payload, "0");
        let (mut second, present, _) = broker().resume(&connect);
        assert!(present || v == Version::V31, "{v}");
        first.closed();
        assert_eq!(second.payloads(50), payloads, "{v}");
        second.nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt_3_1_2_4_clean_takeover_discards_the_session() {
    for v in ALL {
        let topic = unique("clean");
        let id = unique("clean");
        let mut first = broker().open(&Connect::persistent(v, &id));
        first.sub(&topic, 1);
        let (mut second, present, _) = broker().resume(&Connect::new(v, &id));
        assert!(!present);
        first.closed();
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 1, "x");
        second.nothing_from(&mut publisher);
    }
}

/// EMQ: a live clean session is resumed by a CONNECT that is not clean. For 3.1.1 a clean session ends with
/// its connection ([MQTT311-3.1.2-6]), so nothing of it may be reused.
#[test]
fn mqtt311_3_1_2_6_clean_session_is_not_resumed() {
    for v in V3 {
        let topic = unique("noreuse");
        let id = unique("noreuse");
        let mut first = broker().open(&Connect::new(v, &id));
        first.sub(&topic, 1);
        let (mut second, present, _) = broker().resume(&Connect::persistent(v, &id));
        assert!(!present, "{v}");
        first.closed();
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 1, "x");
        second.nothing_from(&mut publisher);
    }
}

/// 3.x as EMQ: the will of a connection that was taken over is not published.
#[test]
fn emq_takeover_publishes_no_will() {
    for v in V3 {
        for clean in [true, false] {
            let topic = unique("nowill");
            let id = unique("nowill");
            let mut watcher = broker().client(v, "watch");
            watcher.sub(&topic, 1);
            let connect = Connect::persistent(v, &id).clean(clean);
            let mut first = broker().open(&connect.clone().will(Will::new(&topic, "gone")));
            let mut second = broker().open(&connect);
            first.closed();
            watcher.nothing_from(&mut second);
        }
    }
}

/// MQTT 5 section 3.1.4: without a delay the will is published on takeover.
#[test]
fn mqtt5_3_1_4_3_takeover_publishes_a_will_without_delay() {
    for clean in [true, false] {
        let topic = unique("will");
        let id = unique("will");
        let mut watcher = broker().client(Version::V5, "watch");
        watcher.sub(&topic, 1);
        let connect = Connect::persistent(Version::V5, &id).clean(clean);
        let mut first = broker().open(&connect.clone().will(Will::new(&topic, "gone")));
        let _second = broker().open(&connect);
        assert_eq!(first.closed(), Some(0x8e));
        watcher.expect(&topic, "gone");
    }
}

/// With a delay, and the session going on: no will.
#[test]
fn mqtt5_3_1_3_9_takeover_within_the_delay_publishes_no_will() {
    let topic = unique("delayed");
    let id = unique("delayed");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let connect = Connect::persistent(Version::V5, &id);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(100));
    let mut first = broker().open(&connect.clone().will(will));
    let mut second = broker().open(&connect);
    assert_eq!(first.closed(), Some(0x8e));
    watcher.nothing_from(&mut second);
}

/// With a delay, but the session ends by the clean start: the will comes at once.
#[test]
fn mqtt5_3_1_2_8_clean_takeover_ends_the_session_and_its_delay() {
    let topic = unique("ends");
    let id = unique("ends");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(100));
    let mut first = broker().open(&Connect::persistent(Version::V5, &id).will(will));
    let _second = broker().open(&Connect::new(Version::V5, &id));
    assert_eq!(first.closed(), Some(0x8e));
    watcher.expect(&topic, "gone");
}

/// MQTT 5 without an expiry: the session ends with the old connection, and with it the delay of the will.
#[test]
fn mqtt5_4_1_0_2_session_without_expiry_ends_at_takeover() {
    let topic = unique("noexpiry");
    let id = unique("noexpiry");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(100));
    let mut first = broker().open(&Connect::new(Version::V5, &id).will(will));
    first.sub(&format!("{topic}/x"), 1);
    let (mut second, present, _) = broker().resume(&Connect::persistent(Version::V5, &id));
    assert!(!present);
    assert_eq!(first.closed(), Some(0x8e));
    watcher.expect(&topic, "gone");
    watcher.pub_(&format!("{topic}/x"), 1, "x");
    second.nothing_from(&mut watcher);
}

/// Many takeovers in a row: one connection remains, and it works.
#[test]
fn mqtt_3_1_4_3_takeover_storm() {
    for v in ALL {
        let id = unique("storm");
        let topic = unique("storm");
        let connect = Connect::persistent(v, &id);
        let mut first = broker().open(&connect);
        first.sub(&topic, 1);
        let mut clients: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..10)
                            .filter_map(|_| {
                                let mut client = broker().raw(v);
                                client.send(&connect.encode());
                                // The next may have taken over before this one's CONNACK.
                                matches!(
                                    client.recv_or_eof(),
                                    Some(emqttd_tests::Packet::Connack { code: 0, .. })
                                )
                                .then_some(client)
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            handles
                .into_iter()
                .flat_map(|h| h.join().unwrap())
                .collect()
        });
        let mut last = broker().open(&connect);
        for client in &mut clients {
            client.closed();
        }
        first.closed();
        broker().client(v, "pub").pub_(&topic, 1, "after the storm");
        last.expect(&topic, "after the storm");
    }
}

/// A client that takes over at once gets what its other connection did not acknowledge, as DUP.
#[test]
fn mqtt_4_4_0_1_takeover_resends_what_is_in_flight() {
    for v in ALL {
        let topic = unique("inflight");
        let connect = Connect::persistent(v, &unique("inflight"));
        let mut first = broker().open(&connect);
        first.sub(&topic, 1);
        broker().client(v, "pub").pub_(&topic, 1, "x");
        let was = first.recv_publish();
        let mut second = broker().open(&connect);
        let again = second.recv_publish();
        assert_eq!((again.id, again.dup), (was.id, true), "{v}");
        second.send_ack(AckKind::Puback, again.id.unwrap());
        second.quiet();
    }
}

/// The old connection's packets that arrive late belong to nobody.
#[test]
fn mqtt_3_1_4_3_old_connection_is_not_heard() {
    for v in ALL {
        let topic = unique("late");
        let id = unique("late");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        let mut first = broker().open(&Connect::new(v, &id));
        let mut second = broker().open(&Connect::new(v, &id));
        first.send(&Publish::new(&topic, "late").encode(v));
        first.closed();
        watcher.nothing_from(&mut second);
    }
}

/// A takeover is quick: it does not wait for the old connection to do anything.
#[test]
fn mqtt_3_1_4_3_takeover_does_not_wait() {
    for v in ALL {
        let id = unique("quick");
        let _first = broker().open(&Connect::new(v, &id));
        let start = Instant::now();
        let _second = broker().open(&Connect::new(v, &id));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
