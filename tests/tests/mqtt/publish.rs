//! PUBLISH: delivery, flags, QoS 0.

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Publish, Version, unique};

use crate::broker;

/// [MQTT-2.2.1-2], [MQTT-3.3.4-1], [MQTT-3.8.4-8], [MQTT-4.3.1-1], [MQTT-3.3.2-3]: for each pair of published and granted
/// QoS, across all versions of publisher and subscriber.
#[test]
fn mqtt_3_8_4_8_delivered_qos_is_the_lower() {
    for from in ALL {
        for to in ALL {
            let topic = unique("lower");
            let mut publisher = broker().client(from, "pub");
            for granted in 0..=2 {
                let mut subscriber = broker().client(to, "sub");
                subscriber.sub(&topic, granted);
                for published in 0..=2 {
                    let payload = format!("{published}-{granted}");
                    assert_eq!(publisher.pub_(&topic, published, &payload) & 0x80, 0);
                    let message = subscriber.expect(&topic, &payload);
                    assert_eq!(message.qos, published.min(granted), "{from} to {to}");
                    // [MQTT-3.3.1-2], [MQTT-4.3.2-2], [MQTT-4.3.3-2]
                    assert!(!message.dup && !message.retain);
                }
            }
        }
    }
}

#[test]
fn mqtt_3_3_1_3_dup_is_not_passed_on() {
    for v in ALL {
        let topic = unique("dup");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for qos in 1..=2 {
            publisher.publish(Publish::new(&topic, "again").qos(qos).dup());
            assert!(!subscriber.expect(&topic, "again").dup, "{v} QoS {qos}");
        }
    }
}

#[test]
fn mqtt_3_3_1_4_qos_3_closes() {
    for v in ALL {
        let mut client = broker().client(v, "qos3");
        client.send(&Publish::new("a", "x").qos(3).id(1).encode(v));
        client.expect_closed(&[0x81]);
    }
}

/// [MQTT-2.2.1-2]
#[test]
fn mqtt5_3_3_1_2_dup_on_qos_0_closes() {
    let mut client = broker().client(Version::V5, "dup0");
    client.send(&Publish::new("a", "x").dup().encode(Version::V5));
    client.expect_closed(&[0x81, 0x82]);
}

/// [MQTT311-2.3.1-1]
#[test]
fn mqtt_2_2_1_3_packet_id_0_closes() {
    for v in ALL {
        for qos in 1..=2 {
            let mut client = broker().client(v, "id0");
            client.send(&Publish::new("a", "x").qos(qos).id(0).encode(v));
            client.expect_closed(&[0x81, 0x82]);
        }
    }
}

#[test]
fn mqtt_3_3_2_2_wildcards_in_a_topic_name_close() {
    for v in ALL {
        for topic in ["+", "#", "a/+", "a/#", "a+b", "a#", "a/+/b"] {
            let mut client = broker().client(v, "wild");
            client.send(&Publish::new(topic, "x").encode(v));
            client.expect_closed(&[0x81, 0x82, 0x90]);
        }
    }
}

/// [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-1.5.4-1], [MQTT-1.5.4-2]
#[test]
fn mqtt_3_3_2_1_topic_name_must_be_good_utf8() {
    for v in ALL {
        for topic in [
            &b""[..],
            b"a\0b",
            b"\xff",
            b"a/\xc3\x28",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\x80",
        ] {
            let mut client = broker().client(v, "utf");
            let mut body = emqttd_tests::text(topic);
            if v.is_v5() {
                body.push(0);
            }
            client.send(&emqttd_tests::frame(0x30, &body));
            client.expect_closed(&[0x81, 0x82, 0x90]);
        }
    }
}

/// [MQTT-1.5.4-3], [MQTT-4.7.3-4]: U+FEFF is a character like others, and nothing is normalised.
#[test]
fn mqtt_1_5_4_3_bom_and_combining_characters_stay() {
    for v in ALL {
        let base = unique("bom");
        let mut subscriber = broker().client(v, "sub");
        let mut publisher = broker().client(v, "pub");
        subscriber.sub(&format!("{base}/\u{feff}a"), 0);
        subscriber.sub(&format!("{base}/e\u{301}"), 0);
        for (topic, arrives) in [
            ("a", false),
            ("\u{feff}a", true),
            ("\u{e9}", false),
            ("e\u{301}", true),
        ] {
            let topic = format!("{base}/{topic}");
            publisher.pub_(&topic, 0, &topic);
            if arrives {
                subscriber.expect(&topic, &topic);
            }
        }
        subscriber.nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt_4_5_0_1_every_matching_client_gets_it() {
    for v in ALL {
        let topic = unique("fan");
        let mut subscribers: Vec<_> = (0..20)
            .map(|i| broker().client(ALL[i % 3], "fan"))
            .collect();
        for subscriber in &mut subscribers {
            subscriber.sub(&topic, 1);
        }
        broker().client(v, "pub").pub_(&topic, 1, "to all");
        for subscriber in &mut subscribers {
            subscriber.expect(&topic, "to all");
        }
    }
}

#[test]
fn mqtt_3_3_4_1_publish_to_nobody_is_acknowledged() {
    for v in ALL {
        let mut client = broker().client(v, "nobody");
        let topic = unique("nobody");
        // On MQTT 5 the broker may say that there was nobody (0x10).
        for qos in 0..=2 {
            let code = client.pub_(&topic, qos, "x");
            assert!(
                code == 0 || (v.is_v5() && code == 0x10 && qos > 0),
                "{v} {code:02x}"
            );
        }
    }
}

#[test]
fn mqtt_4_3_1_1_payloads_of_every_size_pass() {
    for v in ALL {
        let topic = unique("sizes");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for size in [
            0, 1, 100, 126, 127, 128, 129, 16_000, 16_383, 16_384, 40_000, 65_000,
        ] {
            let payload: String = (0..size)
                .map(|i| char::from(b'a' + (i % 26) as u8))
                .collect();
            for qos in 0..=2 {
                publisher.pub_(&topic, qos, &payload);
                assert!(subscriber.recv_message().payload == payload, "{v} {size}");
            }
        }
    }
}

#[test]
fn mqtt_4_3_1_1_payload_is_opaque() {
    for v in ALL {
        let topic = unique("opaque");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let payload: Vec<u8> = (0..=255).collect();
        publisher.publish(Publish::new(&topic, &payload).qos(1));
        let emqttd_tests::Packet::Publish {
            payload: got, id, ..
        } = subscriber.recv()
        else {
            panic!("no PUBLISH")
        };
        assert_eq!(got, payload);
        subscriber.send_ack(AckKind::Puback, id.unwrap());
    }
}

/// PUBACK comes before the publisher's own copy.
#[test]
fn emq_puback_precedes_the_own_delivery() {
    for v in emqttd_tests::V3 {
        let topic = unique("own");
        let mut client = broker().client(v, "own");
        client.sub(&topic, 1);
        let id = client.send_publish(Publish::new(&topic, "mine").qos(1));
        assert!(matches!(
            client.recv(),
            emqttd_tests::Packet::Ack { kind: AckKind::Puback, id: got, .. } if got == id
        ));
        client.expect(&topic, "mine");
    }
}
