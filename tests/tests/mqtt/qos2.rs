//! QoS 2 in both directions, over reconnects.

use std::sync::OnceLock;

use emqttd_tests::packet::AckKind::{self, Pubcomp, Pubrec, Pubrel};
use emqttd_tests::{ALL, Broker, Config, Connect, Packet, Publish, V3, Version, unique};

use crate::broker;

/// Holds three QoS 2 messages of a client until PUBREL, for a second.
fn narrow() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.session.max_awaiting_rel", "3")
                .set("mqtt.session.await_rel_timeout", "1s"),
        )
    })
}

/// [MQTT-4.3.3-11], [MQTT-4.3.3-12], [MQTT-3.5.2-1], [MQTT-3.7.2-1], [MQTT-2.2.1-5]
#[test]
fn mqtt_4_3_3_8_whole_flow_delivers_once() {
    for v in ALL {
        let topic = unique("flow");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for (id, payload) in [(1, "one"), (65_535, "two"), (1, "three")] {
            publisher.publish(Publish::new(&topic, payload).qos(2).id(id));
            subscriber.expect(&topic, payload);
        }
        subscriber.nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt_4_3_3_10_repeated_publish_before_pubrel_is_delivered_once() {
    for v in ALL {
        let topic = unique("repeat");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        let publish = Publish::new(&topic, "once").qos(2).id(9);
        publisher.send_publish(publish.clone());
        publisher.ack(Pubrec, 9);
        for _ in 0..3 {
            publisher.send_publish(publish.clone().dup());
            publisher.ack(Pubrec, 9);
        }
        publisher.send_ack(Pubrel, 9);
        publisher.ack(Pubcomp, 9);
        subscriber.expect(&topic, "once");
        subscriber.nothing_from(&mut publisher);
    }
}

/// The sheet's correction 11: EMQ forgot on resume what waited for PUBREL, and lost the message.
#[test]
fn mqtt_4_3_3_10_inbound_state_survives_a_reconnect() {
    for v in ALL {
        let topic = unique("inbound");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let connect = Connect::persistent(v, &unique("inbound"));
        let mut publisher = broker().open(&connect);
        let publish = Publish::new(&topic, "once").qos(2).id(3);
        publisher.send_publish(publish.clone());
        publisher.ack(Pubrec, 3);
        publisher.drop_connection();
        let mut publisher = broker().open(&connect);
        publisher.send_publish(publish.dup());
        assert_eq!(publisher.ack(Pubrec, 3).0 & 0x80, 0, "{v}");
        publisher.drop_connection();
        let mut publisher = broker().open(&connect);
        publisher.send_ack(Pubrel, 3);
        assert_eq!(publisher.ack(Pubcomp, 3).0, 0, "{v}: the id is known");
        subscriber.expect(&topic, "once");
        subscriber.nothing_from(&mut publisher);
        // The id is free again.
        publisher.publish(Publish::new(&topic, "next").qos(2).id(3));
        subscriber.expect(&topic, "next");
    }
}

/// PUBREL for an id that nobody knows is answered: 0x92 on MQTT 5.
#[test]
fn mqtt_4_3_3_11_pubrel_of_an_unknown_id_gets_pubcomp() {
    for v in ALL {
        let mut client = broker().client(v, "unknown");
        client.send_ack(Pubrel, 4711);
        assert_eq!(
            client.ack(Pubcomp, 4711).0,
            if v.is_v5() { 0x92 } else { 0 },
            "{v}"
        );
        client.quiet();
    }
}

#[test]
fn mqtt_4_3_3_4_pubrec_of_an_unknown_id_gets_pubrel() {
    for v in ALL {
        let mut client = broker().client(v, "unknown");
        client.send_ack(Pubrec, 4711);
        assert_eq!(
            client.ack(Pubrel, 4711).0,
            if v.is_v5() { 0x92 } else { 0 },
            "{v}"
        );
    }
}

/// [MQTT-4.3.3-3], [MQTT-4.3.3-1], [MQTT-3.3.1-1]
#[test]
fn mqtt_4_4_0_1_publish_is_resent_until_pubrec() {
    for v in ALL {
        let topic = unique("resend");
        let connect = Connect::persistent(v, &unique("resend"));
        let mut subscriber = broker().open(&connect);
        subscriber.sub(&topic, 2);
        broker().client(v, "pub").pub_(&topic, 2, "x");
        let first = subscriber.recv_publish();
        assert_eq!((first.qos, first.dup), (2, false));
        for _ in 0..2 {
            subscriber.drop_connection();
            subscriber = broker().open(&connect);
            let again = subscriber.recv_publish();
            assert_eq!((again.id, again.dup, again.qos), (first.id, true, 2), "{v}");
        }
        subscriber.acknowledge(&first);
        subscriber.quiet();
    }
}

/// [MQTT-4.3.3-5], [MQTT-4.4.0-1]
#[test]
fn mqtt_4_3_3_6_after_pubrec_only_pubrel_is_resent() {
    for v in ALL {
        let topic = unique("pubrel");
        let connect = Connect::persistent(v, &unique("pubrel"));
        let mut subscriber = broker().open(&connect);
        subscriber.sub(&topic, 2);
        broker().client(v, "pub").pub_(&topic, 2, "x");
        let id = subscriber.recv_publish().id.unwrap();
        subscriber.send_ack(Pubrec, id);
        assert_eq!(subscriber.ack(Pubrel, id).0, 0);
        for _ in 0..2 {
            subscriber.drop_connection();
            subscriber = broker().open(&connect);
            assert!(
                matches!(subscriber.recv(), Packet::Ack { kind: Pubrel, id: got, code: 0, .. } if got == id),
                "{v}: PUBREL comes again"
            );
            subscriber.quiet();
        }
        subscriber.send_ack(Pubcomp, id);
        subscriber.quiet();
        subscriber.drop_connection();
        broker().open(&connect).quiet();
    }
}

/// PUBLISH and PUBREL are resent together, each in the order of its first sending.
#[test]
fn mqtt_4_6_0_5_mixed_flows_are_resent_in_order() {
    for v in ALL {
        let topic = unique("mixed");
        let connect = Connect::persistent(v, &unique("mixed"));
        let mut subscriber = broker().open(&connect);
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for i in 0..6 {
            publisher.pub_(&topic, 2, &i.to_string());
        }
        let ids: Vec<u16> = (0..6)
            .map(|_| subscriber.recv_publish().id.unwrap())
            .collect();
        // PUBREC for the first and the fourth.
        for i in [0, 3] {
            subscriber.send_ack(Pubrec, ids[i]);
            subscriber.ack(Pubrel, ids[i]);
        }
        subscriber.drop_connection();
        let mut subscriber = broker().open(&connect);
        let (mut publishes, mut releases) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            match subscriber.recv() {
                Packet::Publish { id, dup, .. } => {
                    assert!(dup);
                    publishes.push(id.unwrap());
                }
                Packet::Ack {
                    kind: Pubrel, id, ..
                } => releases.push(id),
                other => panic!("{v}: {other:?}"),
            }
        }
        assert_eq!(publishes, [ids[1], ids[2], ids[4], ids[5]], "{v}");
        assert_eq!(releases, [ids[0], ids[3]], "{v}");
        subscriber.quiet();
    }
}

/// A packet id is not given to a new message before PUBCOMP.
#[test]
fn mqtt_2_2_1_4_id_is_in_use_until_pubcomp() {
    for v in ALL {
        let topic = unique("inuse");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        let mut used = Vec::new();
        for i in 0..20 {
            publisher.pub_(&topic, 2, &i.to_string());
            let id = subscriber.recv_publish().id.unwrap();
            subscriber.send_ack(Pubrec, id);
            subscriber.ack(Pubrel, id);
            assert!(!used.contains(&id), "{v}");
            used.push(id);
        }
    }
}

/// EMQ hands a QoS 2 message on when PUBREL comes, and answers PUBCOMP first.
#[test]
fn emq_qos2_is_routed_at_pubrel() {
    for v in V3 {
        let topic = unique("atrel");
        let mut client = broker().client(v, "self");
        client.sub(&topic, 2);
        let id = client.send_publish(Publish::new(&topic, "later").qos(2));
        client.ack(Pubrec, id);
        client.pub_(&topic, 0, "sooner");
        client.expect(&topic, "sooner");
        client.send_ack(Pubrel, id);
        assert!(
            matches!(client.recv(), Packet::Ack { kind: Pubcomp, .. }),
            "{v}"
        );
        client.expect(&topic, "later");
    }
}

/// [MQTT-4.3.3-9]
#[test]
fn mqtt_4_3_3_12_id_is_free_after_pubcomp() {
    for v in ALL {
        let topic = unique("free");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for i in 0..3 {
            publisher.publish(Publish::new(&topic, i.to_string()).qos(2).id(8));
        }
        // A DUP of a finished flow is a new message: the receiver cannot know better.
        publisher.publish(Publish::new(&topic, "2").qos(2).id(8).dup());
        assert_eq!(subscriber.payloads(4), ["0", "1", "2", "2"], "{v}");
    }
}

/// 3.x: the message beyond `max_awaiting_rel` gets no PUBREC and is dropped, the connection stays.
#[test]
fn emq_max_awaiting_rel_drops_the_message() {
    for v in V3 {
        let topic = unique("narrow");
        let mut subscriber = narrow().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = narrow().client(v, "pub");
        for id in 1..=4 {
            publisher.send_publish(Publish::new(&topic, id.to_string()).qos(2).id(id));
        }
        for id in 1..=3 {
            publisher.ack(Pubrec, id);
        }
        publisher.quiet();
        for id in 1..=3 {
            publisher.send_ack(Pubrel, id);
            publisher.ack(Pubcomp, id);
        }
        assert_eq!(subscriber.payloads(3), ["1", "2", "3"], "{v}");
        subscriber.nothing_from(&mut publisher);
    }
}

/// After `await_rel_timeout` the message is dropped; a late PUBREL is answered and routes nothing.
#[test]
fn emq_await_rel_timeout_drops_the_message() {
    let v = Version::V311;
    let topic = unique("awaitrel");
    let mut subscriber = narrow().client(v, "sub");
    subscriber.sub(&topic, 2);
    let mut publisher = narrow().client(v, "pub");
    for id in 1..=3 {
        publisher.send_publish(Publish::new(&topic, "late").qos(2).id(id));
        publisher.ack(Pubrec, id);
    }
    // The room comes back when the three have timed out: a fourth is taken.
    let start = std::time::Instant::now();
    loop {
        publisher.send_publish(Publish::new(&topic, "fourth").qos(2).id(4));
        publisher.send(&[0xc0, 0]);
        match publisher.recv() {
            Packet::Ack {
                kind: AckKind::Pubrec,
                id: 4,
                ..
            } => break,
            Packet::Pingresp => {}
            other => panic!("{other:?}"),
        }
        assert!(
            start.elapsed() < emqttd_tests::transport::DEADLINE,
            "await_rel_timeout does nothing"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    publisher.await_packet(|p| *p == Packet::Pingresp);
    for id in 1..=4 {
        publisher.send_ack(Pubrel, id);
        publisher.ack(Pubcomp, id);
    }
    subscriber.expect(&topic, "fourth");
    subscriber.nothing_from(&mut publisher);
}

/// Both ends lose their connections at every step of a QoS 2 flow: exactly once all the same.
#[test]
fn mqtt_4_3_3_10_exactly_once_over_reconnects_at_every_step() {
    for v in ALL {
        let topic = unique("steps");
        let from = Connect::persistent(v, &unique("from"));
        let to = Connect::persistent(v, &unique("to"));
        let mut subscriber = broker().open(&to);
        subscriber.sub(&topic, 2);
        for cut in 0..4 {
            let payload = format!("cut {cut}");
            let id = 10 + cut;
            let mut publisher = broker().open(&from);
            publisher.send_publish(Publish::new(&topic, &payload).qos(2).id(id));
            if cut > 0 {
                publisher.ack(Pubrec, id);
            }
            if cut > 1 {
                publisher.send_ack(Pubrel, id);
            }
            if cut > 2 {
                publisher.ack(Pubcomp, id);
            } else {
                publisher.drop_connection();
                publisher = broker().open(&from);
                // What a client does on reconnecting: PUBLISH again before PUBREC, PUBREL after.
                if cut == 0 {
                    publisher.send_publish(Publish::new(&topic, &payload).qos(2).id(id).dup());
                    publisher.ack(Pubrec, id);
                }
                publisher.send_ack(Pubrel, id);
                publisher.ack(Pubcomp, id);
            }
            publisher.disconnect();

            // The receiver: cut off before PUBREC, before PUBCOMP, or not at all.
            let message = subscriber.recv_publish();
            assert_eq!(message.payload, payload, "{v}");
            let message_id = message.id.unwrap();
            if cut == 0 {
                subscriber.drop_connection();
                subscriber = broker().open(&to);
                assert_eq!(subscriber.recv_publish().id, message.id, "{v}");
            }
            subscriber.send_ack(Pubrec, message_id);
            subscriber.ack(Pubrel, message_id);
            if cut == 1 {
                subscriber.drop_connection();
                subscriber = broker().open(&to);
                subscriber.ack(Pubrel, message_id);
            }
            subscriber.send_ack(Pubcomp, message_id);
            subscriber.quiet();
        }
    }
}
