//! UNSUBSCRIBE and UNSUBACK.

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Packet, Publish, STRICT, V3, Version, frame, text, unique};

use crate::broker;

/// [MQTT-3.10.4-1], [MQTT-3.10.4-4], [MQTT-2.2.1-6]
#[test]
fn mqtt_3_10_4_2_unsubscribed_filter_delivers_no_more() {
    for v in ALL {
        let base = unique("unsub");
        let mut client = broker().client(v, "unsub");
        let mut publisher = broker().client(v, "pub");
        client.sub(&format!("{base}/a"), 1);
        client.sub(&format!("{base}/b"), 1);
        let codes = client.unsubscribe(&[&format!("{base}/a")]);
        assert_eq!(codes, if v.is_v5() { vec![0] } else { vec![] });
        publisher.pub_(&format!("{base}/a"), 1, "x");
        publisher.pub_(&format!("{base}/b"), 1, "y");
        client.expect(&format!("{base}/b"), "y");
    }
}

/// Filters are compared as characters, not by what they match.
#[test]
fn mqtt_3_10_4_1_only_the_identical_filter_is_removed() {
    for v in ALL {
        let base = unique("exact");
        let mut client = broker().client(v, "exact");
        let mut publisher = broker().client(v, "pub");
        client.sub(&format!("{base}/x"), 1);
        for other in ["+", "#", "X", "x/", "/x"] {
            let codes = client.unsubscribe(&[&format!("{base}/{other}")]);
            assert_eq!(
                codes,
                if v.is_v5() { vec![0x11] } else { vec![] },
                "{v} {other}"
            );
        }
        publisher.pub_(&format!("{base}/x"), 1, "still");
        client.expect(&format!("{base}/x"), "still");
    }
}

/// [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2]
#[test]
fn mqtt_3_10_4_6_several_filters_are_answered_once() {
    for v in ALL {
        let base = unique("several");
        let mut client = broker().client(v, "several");
        client.sub(&format!("{base}/a"), 0);
        client.sub(&format!("{base}/b/#"), 0);
        let codes = client.unsubscribe(&[
            &format!("{base}/a"),
            &format!("{base}/none"),
            &format!("{base}/b/#"),
        ]);
        assert_eq!(codes, if v.is_v5() { vec![0, 0x11, 0] } else { vec![] });
        client.quiet();
    }
}

/// [MQTT311-3.6.1-1] speaks of PUBREL; this is the same rule for UNSUBSCRIBE.
#[test]
fn mqtt_3_10_1_1_wrong_flags_close() {
    for v in STRICT {
        for first in [0xa0, 0xa1, 0xa3, 0xa6, 0xaf] {
            let mut client = broker().client(v, "flags");
            let mut bytes = client.unsubscribe_bytes(1, &["a"]);
            bytes[0] = first;
            client.send(&bytes);
            client.expect_closed(&[0x81]);
        }
    }
}

#[test]
fn mqtt_3_10_3_2_no_filters_closes() {
    for v in ALL {
        let mut client = broker().client(v, "none");
        let bytes = client.unsubscribe_bytes(1, &[]);
        client.send(&bytes);
        client.expect_closed(&[0x81, 0x82]);
    }
}

#[test]
fn mqtt_3_10_3_1_filter_must_be_utf8() {
    for v in ALL {
        let mut client = broker().client(v, "utf");
        let mut body = vec![0, 1];
        if v.is_v5() {
            body.push(0);
        }
        body.extend(text(b"\xff\xfe"));
        client.send(&frame(0xa2, &body));
        client.expect_closed(&[0x81, 0x8f]);
    }
}

#[test]
fn mqtt_2_2_1_3_unsubscribe_with_packet_id_0_closes() {
    for v in ALL {
        let mut client = broker().client(v, "id0");
        let bytes = client.unsubscribe_bytes(0, &["a"]);
        client.send(&bytes);
        client.expect_closed(&[0x81, 0x82]);
    }
}

/// What was sent before is carried through.
#[test]
fn mqtt_3_10_4_3_flows_that_began_are_finished() {
    for v in ALL {
        let topic = unique("finish");
        let mut client = broker().client(v, "finish");
        client.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 2, "x");
        let message = client.recv_publish();
        client.unsubscribe(&[&topic]);
        client.acknowledge(&message);
        publisher.publish(Publish::new(&topic, "y").qos(2));
        client.nothing_from(&mut publisher);
    }
}

/// UNSUBSCRIBE, SUBSCRIBE again: delivery resumes.
#[test]
fn mqtt_3_10_4_2_subscribing_again_works() {
    for v in ALL {
        let topic = unique("back");
        let mut client = broker().client(v, "back");
        let mut publisher = broker().client(v, "pub");
        for i in 0..5 {
            client.sub(&topic, 1);
            publisher.pub_(&topic, 1, &i.to_string());
            client.expect(&topic, &i.to_string());
            client.unsubscribe(&[&topic]);
            publisher.pub_(&topic, 1, "missed");
        }
        client.nothing_from(&mut publisher);
    }
}

/// 3.x may unsubscribe with the bare filter what it subscribed with a prefix, and the other way round.
#[test]
fn emq_unsubscribe_takes_prefixed_and_bare_spelling() {
    for v in V3 {
        let topic = unique("spelling");
        let mut publisher = broker().client(v, "pub");
        for (subscribe, unsubscribe) in [
            (format!("$local/{topic}"), topic.clone()),
            (format!("$local/{topic}"), format!("$local/{topic}")),
            (format!("$share/g/{topic}"), topic.clone()),
            (format!("$share/g/{topic}"), format!("$share/g/{topic}")),
            (format!("$queue/{topic}"), format!("$queue/{topic}")),
        ] {
            let mut client = broker().client(v, "spelling");
            client.sub(&subscribe, 1);
            publisher.pub_(&topic, 1, "x");
            client.expect(&topic, "x");
            client.unsubscribe(&[&unsubscribe]);
            publisher.pub_(&topic, 1, "y");
            client.nothing_from(&mut publisher);
        }
    }
}

/// MQTT 5: the plain and the shared subscription are two.
#[test]
fn mqtt5_3_10_4_1_plain_and_shared_are_two_subscriptions() {
    let topic = unique("two");
    let shared = format!("$share/g/{topic}");
    let mut client = broker().client(Version::V5, "two");
    client.sub(&topic, 1);
    client.sub(&shared, 1);
    assert_eq!(client.unsubscribe(&[&topic]), [0]);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, "x");
    client.expect(&topic, "x");
    assert_eq!(client.unsubscribe(&[&shared]), [0]);
    assert_eq!(client.unsubscribe(&[&shared]), [0x11]);
    publisher.pub_(&topic, 1, "y");
    client.nothing_from(&mut publisher);
}

/// UNSUBSCRIBE between two PUBLISH of the same segment takes effect between them.
#[test]
fn mqtt_3_10_4_2_order_within_a_segment() {
    for v in ALL {
        let topic = unique("segment");
        let mut client = broker().client(v, "segment");
        client.sub(&topic, 0);
        let mut bytes = Publish::new(&topic, "before").encode(v);
        bytes.extend(client.unsubscribe_bytes(50, &[&topic]));
        bytes.extend(Publish::new(&topic, "after").qos(1).id(51).encode(v));
        client.send(&bytes);
        client.await_packet(|p| matches!(p, Packet::Unsuback { id: 50, .. }));
        client.ack(AckKind::Puback, 51);
        client.expect(&topic, "before");
        client.quiet();
    }
}
