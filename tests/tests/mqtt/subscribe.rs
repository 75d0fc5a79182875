//! SUBSCRIBE and SUBACK, subscription options, overlapping filters.

use emqttd_tests::{
    ALL, Connect, Packet, Prop, Publish, STRICT, Sub, V3, Version, frame, text, unique,
};

use crate::broker;

/// [MQTT-3.8.4-2], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1], [MQTT-3.9.3-2], [MQTT-2.2.1-6], [MQTT-3.8.4-5]
#[test]
fn mqtt_3_8_4_1_suback_answers_each_filter_in_order() {
    for v in ALL {
        let base = unique("order");
        let mut client = broker().client(v, "order");
        let subs: Vec<Sub> = [2, 0, 1, 0, 2]
            .iter()
            .enumerate()
            .map(|(i, q)| Sub::new(&format!("{base}/{i}"), *q))
            .collect();
        assert_eq!(client.subscribe(&subs, &[]), [2, 0, 1, 0, 2], "{v}");
        let mut publisher = broker().client(v, "pub");
        for (i, qos) in [2, 0, 1, 0, 2].into_iter().enumerate() {
            let topic = format!("{base}/{i}");
            publisher.pub_(&topic, 2, "x");
            assert_eq!(client.expect(&topic, "x").qos, qos, "{v}");
        }
    }
}

#[test]
fn mqtt_3_8_1_1_wrong_flags_close() {
    for v in STRICT {
        for first in [0x80, 0x81, 0x83, 0x84, 0x8f] {
            let mut client = broker().client(v, "flags");
            let mut bytes = client.subscribe_bytes(1, &[Sub::new("a", 0)], &[]);
            bytes[0] = first;
            client.send(&bytes);
            client.expect_closed(&[0x81]);
        }
    }
}

/// [MQTT311-3.8.3-3]
#[test]
fn mqtt_3_8_3_2_no_filters_closes() {
    for v in ALL {
        let mut client = broker().client(v, "nofilters");
        let bytes = client.subscribe_bytes(1, &[], &[]);
        client.send(&bytes);
        client.expect_closed(&[0x81, 0x82]);
    }
}

#[test]
fn mqtt_2_2_1_3_subscribe_with_packet_id_0_closes() {
    for v in ALL {
        let mut client = broker().client(v, "id0");
        let bytes = client.subscribe_bytes(0, &[Sub::new("a", 0)], &[]);
        client.send(&bytes);
        client.expect_closed(&[0x81, 0x82]);
    }
}

#[test]
fn mqtt_3_8_3_1_filter_must_be_utf8() {
    for v in ALL {
        for filter in [&b"\xff"[..], b"a\0b", b"\xed\xbf\xbf"] {
            let mut client = broker().client(v, "utf");
            let mut body = vec![0, 1];
            if v.is_v5() {
                body.push(0);
            }
            body.extend(text(filter));
            body.push(0);
            client.send(&frame(0x82, &body));
            client.expect_closed(&[0x81, 0x8f]);
        }
    }
}

/// [MQTT311-3-8.3-4]
#[test]
fn mqtt_3_8_3_5_reserved_bits_of_the_options_close() {
    for v in STRICT {
        let wrong: &[u8] = if v.is_v5() {
            &[0x40, 0x80, 0xc1, 0x03]
        } else {
            &[0x03, 0x04, 0x08, 0x10, 0x80]
        };
        for options in wrong {
            let mut client = broker().client(v, "options");
            let mut body = vec![0, 1];
            if v.is_v5() {
                body.push(0);
            }
            body.extend(text("a"));
            body.push(*options);
            client.send(&frame(0x82, &body));
            client.expect_closed(&[0x81, 0x82]);
        }
    }
}

#[test]
fn mqtt5_3_8_3_5_retain_handling_3_closes() {
    let mut client = broker().client(Version::V5, "rh3");
    let bytes = client.subscribe_bytes(1, &[Sub::new("a", 0).retain_handling(3)], &[]);
    client.send(&bytes);
    client.expect_closed(&[0x81, 0x82]);
}

/// [MQTT-4.7.1-2], [MQTT-4.7.3-1]
#[test]
fn mqtt_4_7_1_1_malformed_filters_are_refused() {
    for v in ALL {
        for filter in ["", "a/#/b", "a#", "#a", "a+", "+a", "a/b+/c", "##", "a/#/#"] {
            let mut client = broker().client(v, "badfilter");
            let bytes = client.subscribe_bytes(3, &[Sub::new(filter, 0)], &[]);
            client.send(&bytes);
            // Closing is right, and so is a reason of 0x8F on MQTT 5 or 0x80 on 3.1.1.
            match client.recv_or_eof() {
                None => {}
                Some(Packet::Suback { codes, .. }) => {
                    assert!(codes[0] >= 0x80, "{v} {filter:?} was granted");
                }
                Some(Packet::Disconnect { code, .. }) => {
                    assert!([0x81, 0x82, 0x8f].contains(&code), "{filter:?}")
                }
                Some(other) => panic!("{v} {filter:?}: {other:?}"),
            }
        }
    }
}

/// [MQTT-3.8.4-4]
#[test]
fn mqtt_3_8_4_3_same_filter_replaces_the_subscription() {
    for v in ALL {
        let topic = unique("again");
        let mut client = broker().client(v, "again");
        let mut publisher = broker().client(v, "pub");
        for qos in [0, 2, 1, 0] {
            client.sub(&topic, qos);
            publisher.pub_(&topic, 2, "x");
            assert_eq!(client.expect(&topic, "x").qos, qos, "{v}");
        }
        client.nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt_3_8_4_5_same_filter_twice_in_one_packet() {
    for v in ALL {
        let topic = unique("twice");
        let mut client = broker().client(v, "twice");
        assert_eq!(
            client.subscribe(&[Sub::new(&topic, 2), Sub::new(&topic, 1)], &[]),
            [2, 1],
            "{v}"
        );
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 2, "x");
        assert_eq!(
            client.expect(&topic, "x").qos,
            1,
            "{v}: the last one counts"
        );
        client.nothing_from(&mut publisher);
    }
}

/// No message is lost while a subscription is replaced.
#[test]
fn mqtt_3_8_4_4_no_loss_while_replacing() {
    for v in ALL {
        let topic = unique("replace");
        let mut client = broker().client(v, "replace");
        client.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let mut got = Vec::new();
        for round in 0..30 {
            let id = publisher.send_publish(Publish::new(&topic, round.to_string()).qos(1));
            let sub_id = client.new_id();
            let bytes = client.subscribe_bytes(sub_id, &[Sub::new(&topic, 1)], &[]);
            client.send(&bytes);
            publisher.ack(emqttd_tests::packet::AckKind::Puback, id);
            client.suback(sub_id);
            got.extend(client.payloads(1));
        }
        assert_eq!(
            got,
            (0..30).map(|i| i.to_string()).collect::<Vec<_>>(),
            "{v}"
        );
    }
}

/// [MQTT-3.3.4-4], [MQTT-3.3.4-3]: MQTT 5 gets one copy with the highest QoS and the identifiers of all
/// matching subscriptions.
#[test]
fn mqtt5_3_3_4_2_overlapping_filters_give_one_copy_of_the_highest_qos() {
    let base = unique("overlap");
    let mut client = broker().client(Version::V5, "overlap");
    client.subscribe(
        &[Sub::new(&format!("{base}/+"), 0)],
        &[Prop::SubscriptionId(7)],
    );
    client.subscribe(
        &[Sub::new(&format!("{base}/#"), 2)],
        &[Prop::SubscriptionId(200_000_000)],
    );
    client.subscribe(&[Sub::new(&format!("{base}/x"), 1)], &[]);
    client.subscribe(
        &[Sub::new(&format!("+/x/{base}"), 1)],
        &[Prop::SubscriptionId(9)],
    );
    let mut publisher = broker().client(Version::V5, "pub");
    let topic = format!("{base}/x");
    for qos in 0..=2 {
        publisher.pub_(&topic, qos, "one copy");
        let message = client.expect(&topic, "one copy");
        assert_eq!(message.qos, qos);
        assert_eq!(message.props.subscription_ids(), [7, 200_000_000]);
    }
    client.nothing_from(&mut publisher);
}

/// MQTT 3.x clients get what EMQ gave them: a copy for each filter, each with that filter's QoS. The
/// standard allows it (section 3.3.5 of 3.1.1).
#[test]
fn emq_overlapping_filters_give_a_copy_each() {
    for v in V3 {
        let base = unique("overlap");
        let mut client = broker().client(v, "overlap");
        client.subscribe(
            &[
                Sub::new(&format!("{base}/+"), 0),
                Sub::new(&format!("{base}/#"), 2),
                Sub::new(&format!("{base}/x"), 1),
            ],
            &[],
        );
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&format!("{base}/x"), 2, "x");
        let mut qos: Vec<u8> = (0..3).map(|_| client.recv_message().qos).collect();
        qos.sort_unstable();
        assert_eq!(qos, [0, 1, 2], "{v}");
        client.nothing_from(&mut publisher);
    }
}

/// [MQTT311-3.3.5-1]: whatever the number of copies, one has the highest QoS that is granted.
#[test]
fn mqtt_3_3_4_2_the_highest_granted_qos_is_respected() {
    for v in ALL {
        let base = unique("highest");
        let mut client = broker().client(v, "highest");
        client.sub(&format!("{base}/#"), 1);
        client.sub(&format!("{base}/+"), 2);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&format!("{base}/x"), 2, "x");
        let copies = if v.is_v5() { 1 } else { 2 };
        let best = (0..copies).map(|_| client.recv_message().qos).max();
        assert_eq!(best, Some(2), "{v}");
    }
}

#[test]
fn mqtt5_3_8_3_3_no_local() {
    let topic = unique("nolocal");
    let id = unique("nolocal");
    let mut client = broker().open(&Connect::persistent(Version::V5, &id));
    client.subscribe(&[Sub::new(&topic, 1).no_local()], &[]);
    let mut other = broker().client(Version::V5, "other");
    client.pub_(&topic, 1, "own");
    other.pub_(&topic, 1, "other");
    client.expect(&topic, "other");
    // It is the client id that counts, also over a reconnect.
    client.disconnect();
    let mut client = broker().open(&Connect::persistent(Version::V5, &id));
    client.pub_(&topic, 1, "own");
    other.pub_(&topic, 1, "other");
    client.expect(&topic, "other");
    // The option is replaced with the subscription.
    client.sub(&topic, 1);
    client.pub_(&topic, 1, "own");
    client.expect(&topic, "own");
}

/// With an overlapping filter that has no No Local the message comes, for that filter.
#[test]
fn mqtt5_3_8_3_3_no_local_concerns_only_its_subscription() {
    let base = unique("nolocal");
    let mut client = broker().client(Version::V5, "nolocal");
    client.subscribe(
        &[Sub::new(&format!("{base}/#"), 1).no_local()],
        &[Prop::SubscriptionId(1)],
    );
    client.subscribe(
        &[Sub::new(&format!("{base}/x"), 1)],
        &[Prop::SubscriptionId(2)],
    );
    client.pub_(&format!("{base}/x"), 1, "own");
    let message = client.expect(&format!("{base}/x"), "own");
    assert_eq!(message.props.subscription_ids(), [2]);
    client.pub_(&format!("{base}/y"), 1, "own");
    client.quiet();
}

#[test]
fn mqtt5_3_8_3_4_no_local_on_a_shared_subscription_closes() {
    let mut client = broker().client(Version::V5, "sharenl");
    let bytes = client.subscribe_bytes(1, &[Sub::new("$share/g/t", 0).no_local()], &[]);
    client.send(&bytes);
    client.expect_closed(&[0x82]);
}

#[test]
fn mqtt5_3_3_4_3_subscription_identifiers() {
    let base = unique("subid");
    let mut client = broker().client(Version::V5, "subid");
    let filters: Vec<Sub> = ["a", "b", "+/c"]
        .iter()
        .map(|f| Sub::new(&format!("{base}/{f}"), 1))
        .collect();
    client.subscribe(&filters, &[Prop::SubscriptionId(1)]);
    client.subscribe(&[Sub::new(&format!("{base}/none"), 1)], &[]);
    client.subscribe(
        &[Sub::new(&format!("{base}/max"), 1)],
        &[Prop::SubscriptionId(268_435_455)],
    );
    let mut publisher = broker().client(Version::V5, "pub");
    for (topic, ids) in [
        ("a", &[1][..]),
        ("b", &[1]),
        ("x/c", &[1]),
        ("none", &[]),
        ("max", &[268_435_455]),
    ] {
        let topic = format!("{base}/{topic}");
        publisher.pub_(&topic, 1, "x");
        assert_eq!(
            client.expect(&topic, "x").props.subscription_ids(),
            ids,
            "{topic}"
        );
    }
    // A new SUBSCRIBE replaces the identifier, or takes it away.
    client.subscribe(
        &[Sub::new(&format!("{base}/a"), 1)],
        &[Prop::SubscriptionId(5)],
    );
    client.subscribe(&[Sub::new(&format!("{base}/b"), 1)], &[]);
    for (topic, ids) in [("a", &[5][..]), ("b", &[])] {
        let topic = format!("{base}/{topic}");
        publisher.pub_(&topic, 1, "x");
        assert_eq!(
            client.expect(&topic, "x").props.subscription_ids(),
            ids,
            "{topic}"
        );
    }
}

/// Identifiers belong to the session.
#[test]
fn mqtt5_3_3_4_3_subscription_identifiers_survive_a_reconnect() {
    let topic = unique("subid");
    let connect = Connect::persistent(Version::V5, &unique("subid"));
    let mut client = broker().open(&connect);
    client.subscribe(&[Sub::new(&topic, 1)], &[Prop::SubscriptionId(42)]);
    client.disconnect();
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, "offline");
    let mut client = broker().open(&connect);
    assert_eq!(
        client.expect(&topic, "offline").props.subscription_ids(),
        [42]
    );
    publisher.pub_(&topic, 1, "online");
    assert_eq!(
        client.expect(&topic, "online").props.subscription_ids(),
        [42]
    );
}

#[test]
fn mqtt5_3_3_4_6_publish_with_a_subscription_identifier_closes() {
    let mut client = broker().client(Version::V5, "subidpub");
    client.send(
        &Publish::new("a", "x")
            .prop(Prop::SubscriptionId(1))
            .encode(Version::V5),
    );
    client.expect_closed(&[0x81, 0x82]);
}

#[test]
fn mqtt5_3_8_2_subscription_identifier_0_or_two_close() {
    for props in [
        vec![Prop::SubscriptionId(0)],
        vec![Prop::SubscriptionId(1), Prop::SubscriptionId(2)],
    ] {
        let mut client = broker().client(Version::V5, "subid0");
        let bytes = client.subscribe_bytes(1, &[Sub::new("a", 0)], &props);
        client.send(&bytes);
        client.expect_closed(&[0x81, 0x82]);
    }
}

/// A client that subscribes and publishes in one segment is subscribed when its message is routed.
#[test]
fn mqtt_3_8_4_1_subscribe_and_publish_in_one_segment() {
    for v in ALL {
        let topic = unique("pipe");
        let mut client = broker().client(v, "pipe");
        let mut bytes = client.subscribe_bytes(5, &[Sub::new(&topic, 1)], &[]);
        bytes.extend(Publish::new(&topic, "x").qos(1).id(6).encode(v));
        client.send(&bytes);
        client.suback(5);
        client.ack(emqttd_tests::packet::AckKind::Puback, 6);
        client.expect(&topic, "x");
    }
}

#[test]
fn mqtt_3_8_4_5_hundred_filters_in_one_packet() {
    for v in ALL {
        let base = unique("hundred");
        let mut client = broker().client(v, "hundred");
        let subs: Vec<Sub> = (0..100)
            .map(|i| Sub::new(&format!("{base}/{i}"), (i % 3) as u8))
            .collect();
        let codes = client.subscribe(&subs, &[]);
        assert_eq!(
            codes,
            (0..100).map(|i| (i % 3) as u8).collect::<Vec<_>>(),
            "{v}"
        );
        broker()
            .client(v, "pub")
            .pub_(&format!("{base}/99"), 0, "x");
        client.expect(&format!("{base}/99"), "x");
    }
}
