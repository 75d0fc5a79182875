//! Messages on their way when the broker ends: nothing acknowledged is lost, nothing of QoS 2 comes twice.

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Broker, Client, Connect, Packet, Publish, Version, unique};

use crate::durable::{ENDS, again, config, each, eventually, figure, leave, nothing_owed, settle};

/// Messages of QoS 1 and 2 that waited come in their order, under new identifiers, and are not repetitions.
#[test]
fn offline_messages_come_in_order() {
    each(config, |broker, end, v| {
        let topic = unique("offline");
        let connect = leave(broker, v, &topic, 2);
        let mut publisher = broker.client(v, "pub");
        for i in 0..20 {
            publisher.pub_(&topic, 1 + i % 2, &i.to_string());
        }
        assert_eq!(figure(broker, "messages_owed"), 20);
        broker.restart(end);
        assert_eq!(figure(broker, "messages_owed"), 20);
        let mut client = again(broker, &connect);
        for i in 0..20 {
            let message = client.expect(&topic, &i.to_string());
            assert_eq!(message.qos, 1 + i % 2);
            assert!(!message.dup, "{message:?}");
            assert_eq!(message.id, Some(u16::from(i) + 1));
        }
        client.quiet();
        settle(&mut client);
        broker.restart(end);
        again(broker, &connect).quiet();
        nothing_owed(broker);
    });
}

/// One session is owed what comes before the restart, and what comes after it, while it is away.
#[test]
fn what_comes_after_the_restart_waits_behind() {
    each(config, |broker, end, v| {
        let topic = unique("behind");
        let connect = leave(broker, v, &topic, 2);
        let mut expected = Vec::new();
        for round in 0..3 {
            let mut publisher = broker.client(v, "pub");
            for i in 0..5 {
                let payload = format!("{round}.{i}");
                publisher.pub_(&topic, 1 + i % 2, &payload);
                expected.push(payload);
            }
            broker.restart(end);
        }
        assert_eq!(again(broker, &connect).payloads(15), expected);
    });
}

/// QoS 0 that waits for a session is not stored.
#[test]
fn qos_0_is_not_stored() {
    each(config, |broker, end, v| {
        let topic = unique("qos0");
        let connect = leave(broker, v, &topic, 2);
        let mut publisher = broker.client(v, "pub");
        for (payload, qos) in [("a", 0), ("b", 1), ("c", 0), ("d", 2)] {
            publisher.pub_(&topic, qos, payload);
        }
        broker.restart(end);
        let mut client = again(broker, &connect);
        assert_eq!(client.payloads(2), ["b", "d"]);
        client.quiet();
    });
}

/// What the client has not finished with: publishes come again with DUP and under their identifiers, a
/// flow behind its PUBREC goes on with PUBREL, and what is finished is not heard of again
/// [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1].
#[test]
fn flows_go_on_where_they_were() {
    each(config, |broker, end, v| {
        let topic = unique("stages");
        let connect = Connect::persistent(v, &unique("stages"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 2);
        let mut publisher = broker.client(v, "pub");
        for (payload, qos) in [
            ("puback pending", 1),
            ("pubrec pending", 2),
            ("pubcomp pending", 2),
            ("finished 1", 1),
            ("finished 2", 2),
            ("refused", 2),
        ] {
            publisher.pub_(&topic, qos, payload);
        }
        let ids: Vec<u16> = (0..6).map(|_| client.recv_publish().id.unwrap()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
        client.send_ack(AckKind::Pubrec, 3);
        client.ack(AckKind::Pubrel, 3);
        client.send_ack(AckKind::Puback, 4);
        client.send_ack(AckKind::Pubrec, 5);
        client.ack(AckKind::Pubrel, 5);
        client.send_ack(AckKind::Pubcomp, 5);
        if v.is_v5() {
            client.send_ack_code(AckKind::Pubrec, 6, 0x80);
        } else {
            client.send_ack(AckKind::Pubrec, 6);
            client.ack(AckKind::Pubrel, 6);
            client.send_ack(AckKind::Pubcomp, 6);
        }
        settle(&mut client);
        // Twice: what is repeated after one restart is repeated after the next.
        for _ in 0..2 {
            broker.restart(end);
            client = again(broker, &connect);
            expect_unfinished(&mut client);
            client.quiet();
        }
        client.send_ack(AckKind::Puback, 1);
        client.send_ack(AckKind::Pubrec, 2);
        client.ack(AckKind::Pubrel, 2);
        client.send_ack(AckKind::Pubcomp, 2);
        client.send_ack(AckKind::Pubcomp, 3);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 2, "next");
        let next = client.expect(&topic, "next");
        assert_eq!((next.id, next.dup), (Some(7), false), "{v}");
        settle(&mut client);
        broker.restart(end);
        again(broker, &connect).quiet();
        nothing_owed(broker);
    });
}

#[track_caller]
fn expect_unfinished(client: &mut Client) {
    for (id, qos, wanted) in [(1, 1, "puback pending"), (2, 2, "pubrec pending")] {
        let message = client.recv_publish();
        assert_eq!(message.payload, wanted);
        assert_eq!((message.id, message.qos), (Some(id), qos), "{wanted}");
        assert!(message.dup, "{message:?}");
    }
    match client.recv() {
        Packet::Ack {
            kind: AckKind::Pubrel,
            id: 3,
            ..
        } => {}
        other => panic!("PUBREL 3 wanted, got {other:?}"),
    }
}

/// What was in flight comes first, then what waited behind it; the window holds.
#[test]
fn in_flight_comes_before_what_waited() {
    let config = || config().set("mqtt.session.max_inflight", "3");
    each(config, |broker, end, v| {
        let topic = unique("window");
        let connect = Connect::persistent(v, &unique("window"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 2);
        let mut publisher = broker.client(v, "pub");
        for i in 0..10 {
            publisher.pub_(&topic, 1 + i % 2, &i.to_string());
        }
        for i in 0..3 {
            assert_eq!(client.recv_publish().payload, i.to_string());
        }
        settle(&mut client);
        broker.restart(end);
        let mut client = again(broker, &connect);
        let window: Vec<_> = (0..3).map(|_| client.recv_publish()).collect();
        client.quiet();
        for (i, message) in window.iter().enumerate() {
            assert_eq!(message.payload, i.to_string());
            assert!(message.dup);
        }
        for message in &window {
            client.acknowledge(message);
        }
        for i in 3..10 {
            assert!(!client.expect(&topic, &i.to_string()).dup);
        }
        client.quiet();
        drop(client);
        nothing_owed(broker);
    });
}

/// Inbound QoS 2: PUBREC was given, so the message is ours; it is published once, by its PUBREL
/// [MQTT-4.3.3-10].
#[test]
fn inbound_qos_2_goes_on_with_its_pubrel() {
    each(config, |broker, end, v| {
        let topic = unique("inbound");
        let watcher = leave(broker, v, &topic, 2);
        let connect = Connect::persistent(v, &unique("inbound"));
        let mut publisher = broker.open(&connect);
        for (id, payload) in [(7, "repeated"), (8, "finished"), (9, "released")] {
            publisher.send_publish(Publish::new(&topic, payload).qos(2).id(id));
            publisher.ack(AckKind::Pubrec, id);
        }
        publisher.send_ack(AckKind::Pubrel, 8);
        publisher.ack(AckKind::Pubcomp, 8);
        broker.restart(end);
        let mut publisher = again(broker, &connect);
        publisher.send_publish(Publish::new(&topic, "repeated").qos(2).id(7).dup());
        assert_eq!(publisher.ack(AckKind::Pubrec, 7).0, 0);
        for id in [7, 9] {
            publisher.send_ack(AckKind::Pubrel, id);
            assert_eq!(publisher.ack(AckKind::Pubcomp, id).0, 0);
        }
        broker.restart(end);
        let mut publisher = again(broker, &connect);
        for id in [7, 8, 9] {
            publisher.send_ack(AckKind::Pubrel, id);
            let code = publisher.ack(AckKind::Pubcomp, id).0;
            assert_eq!(code, if v.is_v5() { 0x92 } else { 0 }, "{v}");
        }
        // A finished identifier is free for a new message.
        publisher.send_publish(Publish::new(&topic, "new").qos(2).id(7));
        publisher.ack(AckKind::Pubrec, 7);
        publisher.send_ack(AckKind::Pubrel, 7);
        publisher.ack(AckKind::Pubcomp, 7);
        let mut watcher = again(broker, &watcher);
        assert_eq!(
            watcher.payloads(4),
            ["finished", "repeated", "released", "new"]
        );
        watcher.nothing_from(&mut publisher);
    });
}

/// What a session that does not last left between PUBREC and PUBREL goes with it.
#[test]
fn inbound_qos_2_of_a_clean_session_is_gone() {
    each(config, |broker, end, v| {
        let topic = unique("halfway");
        let watcher = leave(broker, v, &topic, 2);
        let connect = Connect::new(v, &unique("halfway"));
        let mut publisher = broker.open(&connect);
        publisher.send_publish(Publish::new(&topic, "half").qos(2).id(7));
        publisher.ack(AckKind::Pubrec, 7);
        broker.restart(end);
        let mut publisher = broker.open(&connect);
        publisher.send_ack(AckKind::Pubrel, 7);
        publisher.ack(AckKind::Pubcomp, 7);
        again(broker, &watcher).nothing_from(&mut publisher);
    });
}

/// Every publish that was acknowledged before SIGKILL is delivered after it, though the kill comes amid
/// the traffic; and what was not may come, once.
#[test]
fn kill_amid_a_stream_of_publishes() {
    for v in crate::durable::BOTH {
        for qos in [1, 2] {
            let mut broker = Broker::start(config().set("mqtt.mqueue.max_length", "0"));
            let topic = unique("stream");
            let watcher = leave(&broker, v, &topic, 2);
            let connect = Connect::persistent(v, &unique("stream"));
            let mut publisher = broker.open(&connect);
            for id in 1..=400u16 {
                publisher.send_publish(Publish::new(&topic, id.to_string()).qos(qos).id(id));
            }
            let kind = [AckKind::Puback, AckKind::Pubrec][usize::from(qos) - 1];
            for id in 1..=100 {
                publisher.ack(kind, id);
                if qos == 2 {
                    publisher.send_ack(AckKind::Pubrel, id);
                }
            }
            broker.end(emqttd_tests::End::Kill);
            let mut acknowledged = 100;
            let mut completed = 0;
            while let Some(packet) = publisher.recv_or_eof() {
                match packet {
                    Packet::Ack {
                        kind: AckKind::Pubcomp,
                        id,
                        ..
                    } => completed = completed.max(id),
                    Packet::Ack { kind: got, id, .. } if got == kind => {
                        acknowledged = acknowledged.max(id);
                    }
                    other => panic!("{other:?}"),
                }
            }
            broker.start_again();
            let mut publisher = again(&broker, &connect);
            if qos == 2 {
                for id in 1..=acknowledged {
                    publisher.send_ack(AckKind::Pubrel, id);
                    let code = publisher.ack(AckKind::Pubcomp, id).0;
                    // Known unless it was completed, or released just before the end.
                    assert!(code == 0 || id <= 100, "{id}: {code}");
                    assert!(code == 0x92 || id > completed || !v.is_v5(), "{id}: {code}");
                }
            }
            let marker = unique("end");
            let mut client = again(&broker, &watcher);
            client.sub(&marker, 2);
            let mut got = Vec::new();
            publisher.pub_(&marker, qos, "end");
            loop {
                let message = client.recv_message();
                if message.topic == marker {
                    break;
                }
                got.push(message.payload.parse::<u16>().unwrap());
            }
            let all: Vec<u16> = (1..=400).collect();
            assert!(
                got.len() >= usize::from(acknowledged),
                "{acknowledged}: {got:?}"
            );
            assert_eq!(got, all[..got.len()], "{v} QoS {qos}");
        }
    }
}

/// Many receivers of one message: each is owed it, and the body is stored once.
#[test]
fn body_is_stored_once_for_all_receivers() {
    for end in ENDS {
        let mut broker = Broker::start(config().set("mqtt.max_packet_size", "1MB"));
        let topic = unique("once");
        let sessions: Vec<Connect> = (0..30)
            .map(|_| leave(&broker, Version::V5, &topic, 2))
            .collect();
        let body = "b".repeat(100_000);
        let mut publisher = broker.client(Version::V5, "pub");
        for i in 0..10 {
            publisher.pub_(&topic, 1 + i % 2, &format!("{i}{body}"));
        }
        assert_eq!(figure(&broker, "messages_owed"), 300);
        let needed = figure(&broker, "needed_bytes");
        assert!((1_000_000..2_000_000).contains(&needed), "{needed}");
        broker.restart(end);
        for connect in &sessions {
            let got = again(&broker, connect).payloads(10);
            assert!(
                got.iter()
                    .enumerate()
                    .all(|(i, p)| *p == format!("{i}{body}"))
            );
        }
        nothing_owed(&broker);
        eventually("the bodies are no longer needed", || {
            figure(&broker, "needed_bytes") < 200_000
        });
    }
}
