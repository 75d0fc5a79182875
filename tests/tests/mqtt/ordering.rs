//! Order of messages.

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Connect, Packet, Publish, unique};

use crate::broker;

/// [MQTT-4.6.0-6], [MQTT311-4.6.0-5], [MQTT311-4.6.0-6]
#[test]
fn mqtt_4_6_0_5_each_qos_keeps_its_order() {
    for v in ALL {
        for qos in 0..=2 {
            let topic = unique("order");
            let mut client = broker().client(v, "order");
            client.sub(&topic, qos);
            let mut publisher = broker().client(v, "pub");
            let payloads: Vec<String> = (0..300).map(|i| i.to_string()).collect();
            // All at once, as fast as it goes; QoS 1 and 2 are acknowledged below.
            let mut bytes = Vec::new();
            for (i, payload) in payloads.iter().enumerate() {
                bytes.extend(
                    Publish::new(&topic, payload)
                        .qos(qos)
                        .id(i as u16 + 1)
                        .encode(v),
                );
            }
            publisher.send(&bytes);
            if qos == 2 {
                for id in 1..=300 {
                    publisher.ack(AckKind::Pubrec, id);
                    publisher.send_ack(AckKind::Pubrel, id);
                }
            }
            assert_eq!(client.payloads(300), payloads, "{v} QoS {qos}");
        }
    }
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4]: a server as receiver acknowledges in order too.
#[test]
fn mqtt_4_6_0_2_acknowledgements_come_in_order() {
    for v in ALL {
        let topic = unique("acks");
        let mut publisher = broker().client(v, "pub");
        let mut bytes = Vec::new();
        for id in 1..=100u16 {
            bytes.extend(
                Publish::new(&topic, "x")
                    .qos(1 + (id % 2) as u8)
                    .id(id)
                    .encode(v),
            );
        }
        publisher.send(&bytes);
        let mut pubacks = Vec::new();
        let mut pubrecs = Vec::new();
        for _ in 0..100 {
            match publisher.recv() {
                Packet::Ack {
                    kind: AckKind::Puback,
                    id,
                    ..
                } => pubacks.push(id),
                Packet::Ack {
                    kind: AckKind::Pubrec,
                    id,
                    ..
                } => pubrecs.push(id),
                other => panic!("{v}: {other:?}"),
            }
        }
        assert_eq!(
            pubacks,
            (1..=100).filter(|i| i % 2 == 0).collect::<Vec<u16>>()
        );
        assert_eq!(
            pubrecs,
            (1..=100).filter(|i| i % 2 == 1).collect::<Vec<u16>>()
        );
        for id in &pubrecs {
            publisher.send_ack(AckKind::Pubrel, *id);
        }
        for id in pubrecs {
            publisher.ack(AckKind::Pubcomp, id);
        }
    }
}

/// A client that answers PUBREC for several gets PUBREL in that order ([MQTT-4.6.0-4]).
#[test]
fn mqtt_4_6_0_4_pubrel_in_the_order_of_pubrec() {
    for v in ALL {
        let topic = unique("pubrel");
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 2);
        let mut publisher = broker().client(v, "pub");
        for i in 0..10 {
            publisher.pub_(&topic, 2, &i.to_string());
        }
        let mut ids: Vec<u16> = (0..10).map(|_| client.recv_publish().id.unwrap()).collect();
        ids.reverse();
        for id in &ids {
            client.send_ack(AckKind::Pubrec, *id);
        }
        for id in &ids {
            assert!(
                matches!(client.recv(), Packet::Ack { kind: AckKind::Pubrel, id: got, .. } if got == *id),
                "{v}"
            );
        }
    }
}

/// What was stored comes before what is live.
#[test]
fn mqtt_4_6_0_5_stored_messages_precede_live_ones() {
    for v in ALL {
        let topic = unique("stored");
        let connect = Connect::persistent(v, &unique("stored"));
        let mut client = broker().open(&connect);
        client.sub(&topic, 1);
        client.disconnect();
        let mut publisher = broker().client(v, "pub");
        for i in 0..100 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        let mut client = broker().open(&connect);
        for i in 100..200 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        assert_eq!(
            client.payloads(200),
            (0..200).map(|i| i.to_string()).collect::<Vec<_>>(),
            "{v}"
        );
    }
}

/// Several publishers at once: each one's messages keep their order.
#[test]
fn mqtt_4_6_0_5_order_per_publisher() {
    for v in ALL {
        let topic = unique("many");
        let mut client = broker().client(v, "sub");
        client.sub(&topic, 1);
        std::thread::scope(|scope| {
            for p in 0..4 {
                let topic = &topic;
                scope.spawn(move || {
                    let mut publisher = broker().client(v, "pub");
                    for i in 0..100 {
                        publisher.pub_(topic, 1, &format!("{p} {i}"));
                    }
                });
            }
            let mut last = [-1i32; 4];
            for _ in 0..400 {
                let payload = client.recv_message().payload;
                let (p, i) = payload.split_once(' ').unwrap();
                let (p, i): (usize, i32) = (p.parse().unwrap(), i.parse().unwrap());
                assert_eq!(i, last[p] + 1, "{v}");
                last[p] = i;
            }
        });
    }
}
