//! QoS 1 in both directions, over reconnects.

use std::sync::OnceLock;
use std::time::Duration;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Packet, Publish, V3, Version, unique};

use crate::broker;

/// Retries after a second (MQTT 3.x only).
fn impatient() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().set("mqtt.session.retry_interval", "1s")))
}

/// [MQTT-2.2.1-5], [MQTT-3.4.2-1]
#[test]
fn mqtt_4_3_2_4_puback_carries_the_packet_id() {
    for v in ALL {
        let mut client = broker().client(v, "puback");
        for id in [1, 2, 255, 256, 65_535, 1] {
            client.publish(Publish::new("ack/ids", "x").qos(1).id(id));
        }
    }
}

#[test]
fn mqtt_4_3_2_5_same_id_after_puback_is_a_new_message() {
    for v in ALL {
        let topic = unique("sameid");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "one").qos(1).id(5));
        publisher.publish(Publish::new(&topic, "two").qos(1).id(5));
        publisher.publish(Publish::new(&topic, "two").qos(1).id(5).dup());
        assert_eq!(subscriber.payloads(3), ["one", "two", "two"]);
    }
}

/// [MQTT-2.2.1-4], [MQTT-4.3.2-1]: ids in use are not given again, also when acknowledgements come out of
/// order.
#[test]
fn mqtt_2_2_1_4_packet_ids_in_flight_differ() {
    for v in ALL {
        let topic = unique("ids");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let mut in_flight: Vec<u16> = Vec::new();
        for round in 0..50u32 {
            publisher.pub_(&topic, 1, &round.to_string());
            let id = subscriber.recv_publish().id.unwrap();
            assert!(!in_flight.contains(&id), "{v}: {id} is still in use");
            in_flight.push(id);
            if in_flight.len() > 20 {
                let acked = in_flight.remove((round as usize * 7) % in_flight.len());
                subscriber.send_ack(AckKind::Puback, acked);
            }
        }
    }
}

/// [MQTT-3.3.1-1], [MQTT-4.3.2-3], [MQTT311-2.3.1-3], [MQTT311-2.3.1-4]
#[test]
fn mqtt_4_4_0_1_unacknowledged_are_resent_on_resume() {
    for v in ALL {
        let id = unique("resend");
        let topic = unique("resend");
        let mut subscriber = broker().open(&Connect::persistent(v, &id));
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        for payload in ["a", "b", "c", "d"] {
            publisher.pub_(&topic, 1, payload);
        }
        let sent: Vec<_> = (0..4).map(|_| subscriber.recv_publish()).collect();
        // The second is acknowledged and must not come again.
        subscriber.send_ack(AckKind::Puback, sent[1].id.unwrap());
        subscriber.ping();
        subscriber.drop_connection();
        let mut subscriber = broker().open(&Connect::persistent(v, &id));
        for was in [&sent[0], &sent[2], &sent[3]] {
            let again = subscriber.recv_publish();
            assert_eq!(
                (again.payload.as_str(), again.id, again.dup),
                (was.payload.as_str(), was.id, true),
                "{v}"
            );
        }
        subscriber.quiet();
    }
}

/// [MQTT-4.6.0-1]: the order of resending is that of first sending, also the second time, where EMQ 2.x shuffled.
#[test]
fn mqtt_4_6_0_5_resending_twice_keeps_the_order() {
    for v in ALL {
        let id = unique("twice");
        let topic = unique("twice");
        let mut subscriber = broker().open(&Connect::persistent(v, &id));
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        for payload in &payloads {
            publisher.pub_(&topic, 1, payload);
        }
        let first: Vec<u16> = (0..10)
            .map(|_| subscriber.recv_publish().id.unwrap())
            .collect();
        for _ in 0..3 {
            subscriber.drop_connection();
            subscriber = broker().open(&Connect::persistent(v, &id));
            let again: Vec<_> = (0..10).map(|_| subscriber.recv_publish()).collect();
            assert_eq!(
                again.iter().map(|m| m.payload.clone()).collect::<Vec<_>>(),
                payloads,
                "{v}"
            );
            assert_eq!(
                again.iter().map(|m| m.id.unwrap()).collect::<Vec<_>>(),
                first,
                "{v}"
            );
            assert!(again.iter().all(|m| m.dup));
        }
        for id in first {
            subscriber.send_ack(AckKind::Puback, id);
        }
        subscriber.quiet();
    }
}

/// After a resume the window is that of the new connection: what was in flight is counted once, and
/// everything queued comes through.
#[test]
fn mqtt_4_9_0_1_quota_is_reset_on_resume() {
    for v in ALL {
        let id = unique("quota");
        let topic = unique("quota");
        let connect = Connect::persistent(v, &id).prop(emqttd_tests::Prop::ReceiveMaximum(5));
        let mut subscriber = broker().open(&connect);
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        for payload in &payloads {
            publisher.pub_(&topic, 1, payload);
        }
        // Lose the connection with a full window several times.
        for _ in 0..4 {
            for expected in &payloads[..5] {
                assert_eq!(&subscriber.recv_publish().payload, expected, "{v}");
            }
            subscriber.drop_connection();
            subscriber = broker().open(&connect);
        }
        assert_eq!(subscriber.payloads(100), payloads, "{v}");
        subscriber.nothing_from(&mut publisher);
    }
}

/// [MQTT311-3.1.2-5], [MQTT-4.5.0-1]
#[test]
fn mqtt_4_5_0_1_messages_wait_for_an_offline_session() {
    for v in ALL {
        let id = unique("offline");
        let topic = unique("offline");
        let mut subscriber = broker().open(&Connect::persistent(v, &id));
        subscriber.sub(&topic, 2);
        subscriber.disconnect();
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        for (i, payload) in payloads.iter().enumerate() {
            publisher.pub_(&topic, 1 + (i % 2) as u8, payload);
        }
        let mut subscriber = broker().open(&Connect::persistent(v, &id));
        for payload in &payloads {
            let message = subscriber.expect(&topic, payload);
            assert!(!message.dup, "{v}: sent for the first time");
        }
        subscriber.nothing_from(&mut publisher);
    }
}

/// An acknowledgement that nobody waits for changes nothing.
#[test]
fn emq_unknown_puback_is_ignored() {
    for v in ALL {
        let mut client = broker().client(v, "unknown");
        client.send_ack(AckKind::Puback, 77);
        client.send_ack(AckKind::Pubcomp, 78);
        client.quiet();
    }
}

#[test]
fn emq_unacknowledged_are_resent_after_retry_interval() {
    for v in V3 {
        let topic = unique("retry");
        let mut subscriber = impatient().client(v, "sub");
        subscriber.sub(&topic, 2);
        let mut publisher = impatient().client(v, "pub");
        publisher.pub_(&topic, 1, "one");
        publisher.pub_(&topic, 2, "two");
        let first = [subscriber.recv_publish(), subscriber.recv_publish()];
        assert!(!first[0].dup && !first[1].dup);
        for _ in 0..2 {
            for was in &first {
                let again = subscriber.recv_publish();
                assert_eq!(
                    (again.id, again.dup, &again.payload),
                    (was.id, true, &was.payload),
                    "{v}"
                );
            }
        }
        // After PUBREC it is PUBREL that is repeated, never the PUBLISH ([MQTT-4.3.3-6]).
        subscriber.send_ack(AckKind::Puback, first[0].id.unwrap());
        subscriber.send_ack(AckKind::Pubrec, first[1].id.unwrap());
        for _ in 0..2 {
            subscriber.ack(AckKind::Pubrel, first[1].id.unwrap());
        }
        subscriber.send_ack(AckKind::Pubcomp, first[1].id.unwrap());
        subscriber.quiet();
    }
}

/// MQTT 5 resends on resume and at no other time.
#[test]
fn mqtt5_4_4_0_1_nothing_is_resent_on_a_live_connection() {
    let topic = unique("noretry");
    let mut subscriber = impatient().client(Version::V5, "sub");
    subscriber.sub(&topic, 2);
    let mut publisher = impatient().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, "one");
    publisher.pub_(&topic, 2, "two");
    subscriber.recv_publish();
    subscriber.recv_publish();
    // Two retry intervals pass for a client of 3.1.1 meanwhile: what is awaited is its second retry.
    let other = unique("noretry");
    let mut old = impatient().client(Version::V311, "old");
    old.sub(&other, 1);
    publisher.pub_(&other, 1, "x");
    for _ in 0..3 {
        old.recv_publish();
    }
    subscriber.quiet();
}

#[test]
fn mqtt5_4_4_0_2_puback_with_an_error_ends_the_message() {
    let id = unique("refuse");
    let topic = unique("refuse");
    let connect = Connect::persistent(Version::V5, &id);
    let mut subscriber = broker().open(&connect);
    subscriber.sub(&topic, 2);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, "unwanted");
    publisher.pub_(&topic, 2, "unwanted too");
    let one = subscriber.recv_publish();
    subscriber.send_ack_code(AckKind::Puback, one.id.unwrap(), 0x80);
    let two = subscriber.recv_publish();
    subscriber.send_ack_code(AckKind::Pubrec, two.id.unwrap(), 0x97);
    subscriber.quiet();
    subscriber.drop_connection();
    broker().open(&connect).quiet();
}

/// Both sides lose the connection amid a flow of their own, and nothing is lost or doubled beyond what
/// QoS 1 allows.
#[test]
fn mqtt_4_3_2_3_no_loss_over_many_reconnects() {
    for v in ALL {
        let id = unique("flaky");
        let topic = unique("flaky");
        let connect = Connect::persistent(v, &id);
        let mut subscriber = broker().open(&connect);
        subscriber.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        let mut got: Vec<u32> = Vec::new();
        let mut read = |subscriber: &mut Client, ack: bool| {
            let message = subscriber.recv_publish();
            let number: u32 = message.payload.parse().unwrap();
            if got.last().is_none_or(|last| number > *last) {
                got.push(number);
            }
            if ack {
                subscriber.acknowledge(&message);
            }
            number
        };
        for round in 0..20u32 {
            for i in 0..5 {
                publisher.pub_(&topic, 1, &(round * 5 + i).to_string());
            }
            for _ in 0..3 {
                read(&mut subscriber, true);
            }
            read(&mut subscriber, false);
            subscriber.drop_connection();
            subscriber = broker().open(&connect);
        }
        while read(&mut subscriber, true) != 99 {}
        assert_eq!(got, (0..100).collect::<Vec<_>>(), "{v}");
        assert_eq!(
            subscriber.recv_within(Duration::from_millis(50)),
            None::<Option<Packet>>,
            "{v}"
        );
        subscriber.quiet();
    }
}
