//! Shared subscriptions: `$share/<group>/<filter>` and `$queue/<filter>`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{
    ALL, Broker, Client, Config, Connect, Packet, Prop, Publish, Sub, V3, Version, unique,
};

use crate::broker;

/// A window of two messages, so that members of all versions can be full.
fn narrow() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().set("mqtt.session.max_inflight", "2")))
}

/// The payloads that each member got, until all of `count` have come; every message is acknowledged.
#[track_caller]
pub(crate) fn collect(members: &mut [Client], count: usize) -> Vec<Vec<String>> {
    let mut got = vec![Vec::new(); members.len()];
    let start = std::time::Instant::now();
    while got.iter().map(Vec::len).sum::<usize>() < count {
        for (member, got) in members.iter_mut().zip(&mut got) {
            while let Some(packet) = member.recv_within(Duration::from_millis(5)) {
                match packet {
                    Some(Packet::Publish {
                        id, qos, payload, ..
                    }) => {
                        got.push(String::from_utf8(payload).unwrap());
                        match (qos, id) {
                            (1, Some(id)) => member.send_ack(AckKind::Puback, id),
                            (2, Some(id)) => member.send_ack(AckKind::Pubrec, id),
                            _ => {}
                        }
                    }
                    Some(Packet::Ack {
                        kind: AckKind::Pubrel,
                        id,
                        ..
                    }) => member.send_ack(AckKind::Pubcomp, id),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(
            start.elapsed() < emqttd_tests::transport::DEADLINE,
            "{got:?} of {count}"
        );
    }
    got
}

/// Each message goes to one member, and none is left out.
#[test]
fn mqtt_4_8_2_3_each_message_goes_to_one_member() {
    for v in ALL {
        for prefix in ["$share/group/", "$queue/"] {
            for qos in 0..=2 {
                let topic = unique("one");
                let mut members: Vec<Client> =
                    (0..3).map(|_| broker().client(v, "member")).collect();
                for member in &mut members {
                    member.sub(&format!("{prefix}{topic}"), qos);
                }
                let mut publisher = broker().client(v, "pub");
                for i in 0..90 {
                    publisher.pub_(&topic, qos, &i.to_string());
                }
                let got = collect(&mut members, 90);
                let mut all: Vec<String> = got.concat();
                all.sort();
                all.dedup();
                assert_eq!(all.len(), 90, "{v} {prefix} QoS {qos}");
                assert!(
                    got.iter().all(|g| !g.is_empty()),
                    "{v}: a member got nothing: {got:?}"
                );
                for member in &mut members {
                    member.nothing_from(&mut publisher);
                }
            }
        }
    }
}

/// Groups, plain subscribers and filters are independent of each other.
#[test]
fn mqtt_4_8_2_3_groups_and_plain_subscribers_each_get_a_copy() {
    for v in ALL {
        let base = unique("copies");
        let topic = format!("{base}/x");
        let filters = [
            format!("$share/a/{topic}"),
            format!("$share/b/{topic}"),
            format!("$share/a/{base}/+"),
            format!("$queue/{topic}"),
            topic.clone(),
        ];
        let mut clients: Vec<Client> = filters
            .iter()
            .map(|filter| {
                let mut client = broker().client(v, "copies");
                client.sub(filter, 1);
                client
            })
            .collect();
        broker().client(v, "pub").pub_(&topic, 1, "x");
        for client in &mut clients {
            client.expect(&topic, "x");
        }
    }
}

/// [MQTT-4.8.2-3]: the member's granted QoS holds.
#[test]
fn mqtt_4_8_2_3_granted_qos_is_respected() {
    for v in ALL {
        for granted in 0..=2 {
            let topic = unique("granted");
            let mut member = broker().client(v, "member");
            member.sub(&format!("$share/g/{topic}"), granted);
            broker().client(v, "pub").pub_(&topic, 2, "x");
            assert_eq!(member.expect(&topic, "x").qos, granted, "{v}");
        }
    }
}

/// [MQTT-4.8.2-2]
#[test]
fn mqtt5_4_8_2_1_malformed_shared_filters_are_refused() {
    for filter in [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//x",
        "$share/+/x",
        "$share/#/x",
        "$share/g+/x",
        "$share/g#/x",
    ] {
        let mut client = broker().client(Version::V5, "bad");
        let bytes = client.subscribe_bytes(1, &[Sub::new(filter, 0)], &[]);
        client.send(&bytes);
        match client.recv() {
            Packet::Suback { codes, .. } => assert_eq!(codes, [0x8f], "{filter}"),
            Packet::Disconnect { code, .. } => {
                assert!([0x81, 0x82, 0x8f].contains(&code), "{filter} {code:02x}")
            }
            other => panic!("{filter}: {other:?}"),
        }
    }
}

/// 3.x: what EMQ closed for. An empty group or filter is the sheet's correction 15.
#[test]
fn emq_malformed_shared_filters_are_refused() {
    for v in V3 {
        for filter in ["$share/g", "$share/g#/x", "$queue/$share/g/x"] {
            let mut client = broker().client(v, "bad");
            let bytes = client.subscribe_bytes(1, &[Sub::new(filter, 0)], &[]);
            client.send(&bytes);
            match client.recv_or_eof() {
                None => {}
                Some(Packet::Suback { codes, .. }) => assert_eq!(codes, [0x80], "{v} {filter}"),
                other => panic!("{v} {filter}: {other:?}"),
            }
        }
    }
}

/// An offline member holds no messages while another can take them.
#[test]
fn mqtt_4_8_2_offline_member_gets_nothing_while_another_is_there() {
    for v in ALL {
        let topic = unique("offline");
        let away = Connect::persistent(v, &unique("away"));
        let mut gone = broker().open(&away);
        gone.sub(&format!("$share/g/{topic}"), 1);
        gone.disconnect();
        let mut here = broker().client(v, "here");
        here.sub(&format!("$share/g/{topic}"), 1);
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        for payload in &payloads {
            publisher.pub_(&topic, 1, payload);
        }
        assert_eq!(here.payloads(40), payloads, "{v}");
        broker().open(&away).nothing_from(&mut publisher);
    }
}

/// A member whose window is full holds no messages while another can take them.
#[test]
fn mqtt_4_8_2_full_member_gets_no_more_while_another_has_room() {
    for v in ALL {
        let topic = unique("full");
        let filter = format!("$share/g/{topic}");
        let mut full = narrow().client(v, "full");
        full.sub(&filter, 1);
        let mut publisher = narrow().client(v, "pub");
        publisher.pub_(&topic, 1, "f0");
        publisher.pub_(&topic, 1, "f1");
        let held = [full.recv_publish(), full.recv_publish()];
        let mut free = narrow().client(v, "free");
        free.sub(&filter, 1);
        for i in 0..30 {
            publisher.pub_(&topic, 1, &i.to_string());
            assert_eq!(free.recv_message().payload, i.to_string(), "{v}");
        }
        full.quiet();
        for message in &held {
            full.acknowledge(message);
        }
    }
}

/// All members full: messages wait for the group and go to whoever has room first.
#[test]
fn mqtt_4_8_2_messages_wait_while_all_members_are_full() {
    for v in ALL {
        let topic = unique("wait");
        let filter = format!("$share/g/{topic}");
        let mut a = narrow().client(v, "a");
        let mut b = narrow().client(v, "b");
        a.sub(&filter, 1);
        b.sub(&filter, 1);
        let mut publisher = narrow().client(v, "pub");
        for i in 0..20 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        let mut seen: Vec<String> = Vec::new();
        let held_a = [a.recv_publish(), a.recv_publish()];
        let held_b = [b.recv_publish(), b.recv_publish()];
        seen.extend(held_a.iter().chain(&held_b).map(|m| m.payload.clone()));
        a.quiet();
        b.quiet();
        // Only b acknowledges: it gets all the rest.
        for message in &held_b {
            b.acknowledge(message);
        }
        seen.extend(b.payloads(16));
        a.quiet();
        seen.sort_by_key(|p| p.parse::<u32>().unwrap());
        assert_eq!(
            seen,
            (0..20).map(|i| i.to_string()).collect::<Vec<_>>(),
            "{v}"
        );
    }
}

/// What a member did not acknowledge when it goes for good passes to another.
#[test]
fn mqtt_4_8_2_unacknowledged_qos1_passes_on_when_a_member_ends() {
    for v in ALL {
        let topic = unique("passes");
        let filter = format!("$share/g/{topic}");
        let mut leaving = broker().client(v, "leaving");
        leaving.sub(&filter, 1);
        let mut publisher = broker().client(v, "pub");
        for i in 0..5 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        for _ in 0..5 {
            leaving.recv_publish();
        }
        let mut staying = broker().client(v, "staying");
        staying.sub(&filter, 1);
        leaving.drop_connection();
        let mut got = staying.payloads(5);
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3", "4"], "{v}");
        staying.nothing_from(&mut publisher);
    }
}

/// What waited for a member that unsubscribes or ends passes on as well.
#[test]
fn mqtt_4_8_2_queued_messages_pass_on_when_a_member_leaves() {
    for v in ALL {
        for how in ["unsubscribe", "end"] {
            let topic = unique("queued");
            let filter = format!("$share/g/{topic}");
            let mut leaving = narrow().client(v, "leaving");
            leaving.sub(&filter, 1);
            let mut publisher = narrow().client(v, "pub");
            for i in 0..10 {
                publisher.pub_(&topic, 1, &i.to_string());
            }
            let held = [leaving.recv_publish(), leaving.recv_publish()];
            let mut staying = narrow().client(v, "staying");
            staying.sub(&filter, 1);
            let mut wanted: Vec<String> = (0..10).map(|i| i.to_string()).collect();
            if how == "unsubscribe" {
                leaving.unsubscribe(&[&filter]);
                // [MQTT-3.10.4-3]: what was sent is finished by the one that got it.
                for message in &held {
                    leaving.acknowledge(message);
                }
                leaving.quiet();
                wanted.drain(..2);
            } else {
                leaving.drop_connection();
            }
            let mut got = staying.payloads(wanted.len());
            got.sort_by_key(|p| p.parse::<u32>().unwrap());
            assert_eq!(got, wanted, "{v} {how}");
        }
    }
}

/// [MQTT-4.8.2-4]
#[test]
fn mqtt5_4_8_2_5_qos2_in_flight_is_not_given_to_another() {
    let topic = unique("qos2");
    let filter = format!("$share/g/{topic}");
    let mut leaving = broker().client(Version::V5, "leaving");
    leaving.sub(&filter, 2);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 2, "mine");
    leaving.recv_publish();
    let mut staying = broker().client(Version::V5, "staying");
    staying.sub(&filter, 2);
    leaving.drop_connection();
    staying.nothing_from(&mut publisher);
}

/// The member's session lives on: the flow goes on there when it comes back.
#[test]
fn mqtt_4_8_2_4_flow_is_finished_with_the_same_member() {
    for v in ALL {
        let topic = unique("same");
        let filter = format!("$share/g/{topic}");
        let connect = Connect::persistent(v, &unique("same"));
        let mut member = broker().open(&connect);
        member.sub(&filter, 2);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 2, "mine");
        let message = member.recv_publish();
        let mut other = broker().client(v, "other");
        other.sub(&filter, 2);
        member.drop_connection();
        let mut member = broker().open(&connect);
        let again = member.recv_message();
        assert_eq!(
            (again.id, again.dup, again.payload.as_str()),
            (message.id, true, "mine"),
            "{v}"
        );
        other.nothing_from(&mut publisher);
    }
}

#[test]
fn mqtt5_4_8_2_6_refused_message_is_not_given_to_another() {
    let topic = unique("refused");
    let filter = format!("$share/g/{topic}");
    let mut publisher = broker().client(Version::V5, "pub");
    for qos in 1..=2 {
        let mut first = broker().client(Version::V5, "first");
        first.sub(&filter, 2);
        publisher.pub_(&topic, qos, "unwanted");
        let message = first.recv_publish();
        let mut second = broker().client(Version::V5, "second");
        second.sub(&filter, 2);
        let kind = if qos == 1 {
            AckKind::Puback
        } else {
            AckKind::Pubrec
        };
        first.send_ack_code(kind, message.id.unwrap(), 0x80);
        first.quiet();
        second.nothing_from(&mut publisher);
        first.nothing_from(&mut publisher);
    }
}

/// One persistent member is enough: nothing is lost while everybody is away.
#[test]
fn mqtt_4_8_2_nothing_is_lost_while_one_member_is_persistent() {
    for v in ALL {
        let topic = unique("kept");
        let filter = format!("$share/g/{topic}");
        let connect = Connect::persistent(v, &unique("kept"));
        let mut persistent = broker().open(&connect);
        persistent.sub(&filter, 1);
        persistent.disconnect();
        let mut publisher = broker().client(v, "pub");
        for i in 0..5 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        // A visitor takes what comes now, leaves some of it unacknowledged, and ends.
        let mut visitor = broker().client(v, "visitor");
        visitor.sub(&filter, 1);
        publisher.pub_(&topic, 1, "visitor");
        let mut seen = Vec::new();
        loop {
            let message = visitor.recv_publish();
            seen.push(message.payload.clone());
            if message.payload == "visitor" {
                break;
            }
            visitor.acknowledge(&message);
        }
        visitor.drop_connection();
        let mut back = broker().open(&connect);
        let left = 6 - (seen.len() - 1);
        let mut all: Vec<String> = seen[..seen.len() - 1].to_vec();
        all.extend(back.payloads(left));
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "visitor"], "{v}");
    }
}

/// A member that leaves gets no more, the others get everything.
#[test]
fn mqtt_3_10_4_2_member_that_unsubscribes_leaves_the_group() {
    for v in ALL {
        let topic = unique("leave");
        let filter = format!("$share/g/{topic}");
        let mut a = broker().client(v, "a");
        let mut b = broker().client(v, "b");
        a.sub(&filter, 1);
        b.sub(&filter, 1);
        a.unsubscribe(&[&filter]);
        let mut publisher = broker().client(v, "pub");
        let payloads: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        for payload in &payloads {
            publisher.pub_(&topic, 1, payload);
        }
        assert_eq!(b.payloads(20), payloads, "{v}");
        a.nothing_from(&mut publisher);
    }
}

/// Subscription identifiers go with the member's subscription.
#[test]
fn mqtt5_3_3_4_3_shared_subscription_has_its_identifier() {
    let topic = unique("subid");
    let mut member = broker().client(Version::V5, "member");
    member.subscribe(
        &[Sub::new(&format!("$share/g/{topic}"), 1)],
        &[Prop::SubscriptionId(11)],
    );
    broker()
        .client(Version::V5, "pub")
        .publish(Publish::new(&topic, "x").qos(1).prop(Prop::user("k", "v")));
    let message = member.expect(&topic, "x");
    assert_eq!(message.props.subscription_ids(), [11]);
    assert_eq!(message.props.user(), [("k".into(), "v".into())]);
}

/// Work is spread: with equal members none gets more than three quarters.
#[test]
fn emq_selection_is_spread() {
    let topic = unique("spread");
    let mut members: Vec<Client> = ALL.iter().map(|v| broker().client(*v, "member")).collect();
    for member in &mut members {
        member.sub(&format!("$queue/{topic}"), 0);
    }
    let mut publisher = broker().client(Version::V311, "pub");
    for i in 0..300 {
        publisher.pub_(&topic, 0, &i.to_string());
    }
    let got = collect(&mut members, 300);
    let counts: BTreeMap<usize, usize> = got.iter().map(Vec::len).enumerate().collect();
    assert!(counts.values().all(|n| *n > 30 && *n < 225), "{counts:?}");
}

/// `$local/` receives what is published on this node, and is no prefix of published names.
#[test]
fn emq_local_subscription() {
    for v in ALL {
        let topic = unique("local");
        let mut client = broker().client(v, "local");
        client.sub(&format!("$local/{topic}"), 1);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 1, "x");
        client.expect(&topic, "x");
        publisher.pub_(&format!("$local/{topic}"), 1, "y");
        client.nothing_from(&mut publisher);
    }
}
