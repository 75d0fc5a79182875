//! Several shards: whoever is where, it is one broker.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_mqtt::{Property, Version};
use std::collections::BTreeMap;

/// One client for each shard, `stem` in its name, by connections that shard 0 accepted.
fn one_on_each(net: &mut Net, stem: &str, make: impl Fn(&str) -> Connect) -> Vec<Client> {
    let names: Vec<String> = (0..net.shards.len())
        .map(|shard| net.name_on(shard, stem))
        .collect();
    let clients: Vec<Client> = names.iter().map(|name| net.connect(&make(name))).collect();
    for (shard, client) in clients.iter().enumerate() {
        assert_eq!(
            net.shard_of(*client),
            (shard, usize::from(shard != 0)),
            "{stem} {shard}"
        );
        net.take(*client);
    }
    clients
}

#[test]
fn a_connection_goes_to_the_shard_of_its_client_id_with_all_its_bytes() {
    for shards in [1, 2, 4] {
        let mut net = Net::new(shards);
        for shard in 0..shards {
            let name = net.name_on(shard, "mover");
            for accepted_by in 0..shards {
                let client = net.open(accepted_by);
                // SUBSCRIBE, PUBLISH and half a PINGREQ come in the same read as CONNECT.
                let mut bytes = Connect::v3(&name).bytes();
                bytes.extend(subscribe(Version::V311, 1, &[("m", 0)]));
                bytes.extend(publish(Version::V311, "m", b"x", 0, false, 0, &[]));
                bytes.push(PINGREQ[0]);
                net.send(client, &bytes);
                assert_eq!(
                    net.shard_of(client),
                    (shard, usize::from(shard != accepted_by))
                );
                let got = net.take(client);
                assert!(
                    matches!(
                        &got[..],
                        [
                            Got::ConnAck { code: 0, .. },
                            Got::SubAck(1, _),
                            Got::Publish(_)
                        ]
                    ),
                    "{got:?}"
                );
                net.send(client, &PINGREQ[1..]);
                assert_eq!(net.take(client), [Got::PingResp]);
                net.lose(client);
            }
        }
        assert_eq!(net.stat("sessions/count"), 0);
    }
}

#[test]
fn a_client_without_an_id_stays_where_it_is_and_is_found_by_the_id_it_was_given() {
    let mut net = Net::new(4);
    for shard in 0..4 {
        let client = net.open(shard);
        let got = net.connect_on(client, &Connect::v5(""));
        let Got::ConnAck {
            code: 0,
            properties,
            ..
        } = &got[0]
        else {
            panic!("{got:?}")
        };
        let name = emqttd_mqtt::Properties::new(properties)
            .assigned_client_id()
            .unwrap()
            .to_string();
        assert_eq!(net.shard_of(client), (shard, 0));
        assert!(net.admin(move |broker| broker.client(&name).is_some()));
    }
}

#[test]
fn every_message_reaches_every_shard_once_and_in_order() {
    for shards in [2, 4] {
        let mut net = Net::new(shards);
        let subscribers = one_on_each(&mut net, "sub", Connect::v3);
        for client in &subscribers {
            assert_eq!(net.subscribe(*client, "q/#", 2), 2);
        }
        let publishers = one_on_each(&mut net, "pub", Connect::v5);
        for qos in 0..=2 {
            for (n, publisher) in publishers.iter().enumerate() {
                // All in one read, so that they travel together.
                let ids: Vec<u16> = (0..30)
                    .map(|i| {
                        net.put_publish(*publisher, &format!("q/{n}"), &format!("{i}"), qos, false)
                    })
                    .collect();
                net.run();
                if qos == 2 {
                    let release: Vec<u8> = ids
                        .iter()
                        .flat_map(|id| ack(Version::V5, 6, *id, 0))
                        .collect();
                    net.send(*publisher, &release);
                }
                net.take(*publisher);
            }
            let want: Vec<String> = (0..30).map(|i| i.to_string()).collect();
            for client in &subscribers {
                let got = net.messages(*client);
                for n in 0..shards {
                    let topic = format!("q/{n}");
                    let of: Vec<String> = got
                        .iter()
                        .filter(|m| m.topic == topic)
                        .map(|m| m.text())
                        .collect();
                    assert_eq!(of, want, "shards {shards}, QoS {qos}, publisher {n}");
                }
                assert!(got.iter().all(|m| m.qos == qos && !m.dup));
            }
        }
    }
}

#[test]
fn puback_tells_of_missing_subscribers_wherever_they_would_be() {
    let mut net = Net::new(2);
    let clients = one_on_each(&mut net, "c", Connect::v5);
    assert_eq!(net.publish(clients[0], "t", "", 1), Some(0x10));
    net.subscribe(clients[1], "t", 0);
    assert_eq!(net.publish(clients[0], "t", "", 1), Some(0));
    assert_eq!(net.unsubscribe(clients[1], "t"), [0]);
    assert_eq!(net.publish(clients[0], "t", "", 1), Some(0x10));
}

#[test]
fn a_client_id_is_taken_over_from_a_connection_accepted_elsewhere() {
    let mut net = Net::new(3);
    let name = net.name_on(2, "taken");
    let (old, present, _) = {
        let client = net.open(1);
        let got = net.connect_on(client, &Connect::v5(&name).keep().expiry(60));
        (
            client,
            matches!(got[0], Got::ConnAck { present: true, .. }),
            got,
        )
    };
    assert!(!present);
    net.subscribe(old, "t", 1);
    for accepted_by in 0..3 {
        let before = Client::clone(&old);
        let client = net.open(accepted_by);
        let got = net.connect_on(client, &Connect::v5(&name).keep().expiry(60));
        assert!(
            matches!(
                got[0],
                Got::ConnAck {
                    present: true,
                    code: 0,
                    ..
                }
            ),
            "{got:?}"
        );
        if accepted_by == 0 {
            // [MQTT-3.1.4-3]
            assert_eq!(net.take(before), [Got::Disconnect(0x8E)]);
            assert_eq!(net.closed(before), Some("conflict"));
        }
    }
    assert_eq!(net.stat("clients/count"), 1);
    assert_eq!(net.stat("sessions/count"), 1);
    assert_eq!(net.stat("subscriptions/count"), 1);
    let other = net.name_on(0, "other");
    let other = net.connect(&Connect::v3(&other));
    assert_eq!(net.publish(other, "t", "x", 1), Some(0));
    assert_eq!(net.admin(|broker| broker.clients().len()), 2);
}

#[test]
fn two_connections_with_one_client_id_in_one_round_leave_one() {
    let mut net = Net::new(2);
    let name = net.name_on(1, "twin");
    let clients: Vec<Client> = (0..6).map(|n| net.open(n % 2)).collect();
    for client in &clients {
        net.put(*client, &Connect::v3(&name).bytes());
    }
    net.run();
    let open: Vec<&Client> = clients
        .iter()
        .filter(|c| net.closed(**c).is_none())
        .collect();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (net.stat("clients/count"), net.stat("sessions/count")),
        (1, 1)
    );
    assert_eq!(net.listener.current(), 1);
}

#[test]
fn what_waited_for_an_offline_session_comes_from_all_shards() {
    let mut net = Net::new(4);
    let name = net.name_on(3, "offline");
    let client = net.connect(&Connect::v3(&name).keep());
    net.subscribe(client, "o/#", 2);
    net.lose(client);
    let publishers = one_on_each(&mut net, "pub", Connect::v3);
    for (n, publisher) in publishers.iter().enumerate() {
        for i in 0..5 {
            net.publish(*publisher, &format!("o/{n}"), &i.to_string(), (i % 3) as u8);
        }
    }
    let (_, present, got) = net.resume(&Connect::v3(&name).keep());
    assert!(present);
    for n in 0..4 {
        let of: Vec<String> = got
            .iter()
            .filter_map(|g| {
                if let Got::Publish(m) = g {
                    Some(m)
                } else {
                    None
                }
            })
            .filter(|m| m.topic == format!("o/{n}"))
            .map(|m| m.text())
            .collect();
        assert_eq!(of, ["0", "1", "2", "3", "4"]);
    }
}

#[test]
fn retained_messages_are_one_set() {
    let mut net = Net::new(4);
    let publishers = one_on_each(&mut net, "pub", Connect::v3);
    for (n, publisher) in publishers.iter().enumerate() {
        for qos in 0..=2 {
            net.retain(*publisher, &format!("r/{n}/{qos}"), "old", qos);
            net.retain(*publisher, &format!("r/{n}/{qos}"), "new", qos);
        }
        net.retain(*publisher, &format!("r/{n}/gone"), "x", 1);
        net.retain(publishers[(n + 1) % 4], &format!("r/{n}/gone"), "", 1);
    }
    assert_eq!(net.stat("retained/count"), 12);
    for client in one_on_each(&mut net, "sub", Connect::v3) {
        net.subscribe(client, "r/#", 2);
        let got = net.messages(client);
        let topics: BTreeMap<String, (u8, bool)> = got
            .iter()
            .map(|m| (m.topic.clone(), (m.qos, m.retain)))
            .collect();
        assert_eq!((got.len(), topics.len()), (12, 12));
        for (topic, (qos, retain)) in topics {
            assert!(retain && topic.ends_with(&qos.to_string()), "{topic}");
        }
        assert!(got.iter().all(|m| m.payload == b"new"));
    }
}

/// Members of `$share/g/s` on every shard.
fn members(net: &mut Net, make: impl Fn(&str) -> Connect) -> Vec<Client> {
    let clients = one_on_each(net, "member", make);
    for client in &clients {
        assert!(net.subscribe(*client, "$share/g/s", 1) <= 2);
    }
    clients
}

fn publish_many(net: &mut Net, publisher: Client, from: usize, n: usize, qos: u8) {
    for i in from..from + n {
        net.publish(publisher, "s", &i.to_string(), qos);
    }
}

fn numbers(mut all: Vec<String>) -> Vec<usize> {
    let mut numbers: Vec<usize> = all.drain(..).map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_shared_group_gives_each_message_to_one_member_anywhere() {
    for qos in 0..=1 {
        let mut net = Net::new(4);
        let members = members(&mut net, Connect::v3);
        let publisher = net.connect(&Connect::v3("publisher"));
        publish_many(&mut net, publisher, 0, 400, qos);
        let each: Vec<Vec<String>> = members.iter().map(|member| net.payloads(*member)).collect();
        for (n, part) in each.iter().enumerate() {
            // 400 among four: a fair choice is below 50 or above 150 less than once in 10^7 runs.
            assert!(
                (50..=150).contains(&part.len()),
                "member {n} got {}",
                part.len()
            );
        }
        assert_eq!(numbers(each.concat()), (0..400).collect::<Vec<_>>());
    }
}

#[test]
fn a_group_passes_by_members_that_are_offline_or_full_and_loses_nothing() {
    let mut net = Net::new(4);
    let members = members(&mut net, |name| {
        Connect::v5(name)
            .keep()
            .expiry(600)
            .property(Property::ReceiveMaximum(5))
    });
    net.lose(members[0]);
    // The second never acknowledges: its window holds five.
    net.silent(members[1]);
    let publisher = net.connect(&Connect::v3("publisher"));
    publish_many(&mut net, publisher, 0, 100, 1);
    let mut got = Vec::new();
    let stuck = net.payloads(members[1]);
    assert!(stuck.len() <= 5, "more than its Receive Maximum");
    got.extend(stuck);
    // Whoever acknowledges gets what waits in the group meanwhile.
    for _ in 0..100 {
        for member in [members[2], members[3]] {
            got.extend(net.payloads(member));
        }
    }
    assert_eq!(numbers(got), (0..100).collect::<Vec<_>>());
    assert_eq!(net.broker.group_backlog(), 0);
    assert_eq!(net.metric("messages/dropped/group_full"), 0);
}

#[test]
fn what_nobody_can_take_waits_in_the_group_for_the_first_who_returns() {
    let mut net = Net::new(4);
    let names: Vec<String> = (0..4).map(|shard| net.name_on(shard, "member")).collect();
    let make = |name: &str| Connect::v3(name).keep();
    for name in &names {
        let client = net.connect(&make(name));
        net.subscribe(client, "$queue/s", 1);
        net.lose(client);
    }
    let publisher = net.connect(&Connect::v3("publisher"));
    publish_many(&mut net, publisher, 0, 50, 1);
    assert_eq!(net.broker.group_backlog(), 50);
    let (client, present, got) = net.resume(&make(&names[2]));
    assert!(present);
    let mut texts: Vec<String> = got
        .into_iter()
        .filter_map(|g| {
            if let Got::Publish(m) = g {
                Some(m.text())
            } else {
                None
            }
        })
        .collect();
    texts.extend(net.payloads(client));
    assert_eq!(numbers(texts.clone()), (0..50).collect::<Vec<_>>());
    let want: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    assert_eq!(texts, want, "in the order of publishing");
    assert_eq!(net.broker.group_backlog(), 0);
}

#[test]
fn what_a_member_did_not_acknowledge_goes_to_another_when_its_session_ends() {
    let mut net = Net::new(2);
    let members = members(&mut net, Connect::v3);
    net.silent(members[0]);
    let publisher = net.connect(&Connect::v3("publisher"));
    publish_many(&mut net, publisher, 0, 60, 1);
    let unfinished = net.payloads(members[0]).len();
    assert!(unfinished > 0);
    let mut got = net.payloads(members[1]);
    assert_eq!(got.len() + unfinished, 60);
    // A clean session ends with its connection.
    net.lose(members[0]);
    got.extend(net.payloads(members[1]));
    assert_eq!(numbers(got), (0..60).collect::<Vec<_>>());
}

#[test]
fn management_reaches_clients_on_every_shard() {
    let mut net = Net::new(4);
    let clients = one_on_each(&mut net, "managed", Connect::v5);
    let names: Vec<String> =
        net.admin(|broker| broker.clients().into_iter().map(|c| c.clientid).collect());
    assert_eq!(names.len(), 4);
    assert!(names.is_sorted());
    net.retain(clients[0], "m/kept", "r", 0);
    for name in names.clone() {
        net.admin(move |broker| broker.subscribe(&name, "m/#", 1))
            .unwrap();
    }
    for client in &clients {
        assert_eq!(
            net.payloads(*client),
            ["r"],
            "retained messages follow a subscription by management"
        );
    }
    assert_eq!(net.admin(|broker| broker.subscriptions().len()), 4);
    net.admin(|broker| broker.publish("http", "m/x", b"p", 2, false))
        .unwrap();
    for client in &clients {
        let got = net.messages(*client);
        assert_eq!((got.len(), got[0].qos), (1, 1));
    }
    let name = names[0].clone();
    net.admin(move |broker| broker.unsubscribe(&name, "m/#"))
        .unwrap();
    assert_eq!(net.stat("subscriptions/count"), 3);
    for name in names.clone() {
        net.admin(move |broker| broker.kick(&name)).unwrap();
    }
    for client in &clients {
        assert_eq!(net.take(*client).last(), Some(&Got::Disconnect(0x98)));
        assert_eq!(net.closed(*client), Some("kick"));
    }
    let name = names[0].clone();
    assert!(net.admin(move |broker| broker.kick(&name)).is_err());
    assert_eq!(net.stat("clients/count"), 0);
}

#[test]
fn subscriptions_to_sys_topics_are_heard_on_every_shard() {
    let mut net = Net::new(4);
    let clients = one_on_each(&mut net, "sys", Connect::v3);
    for client in &clients {
        net.subscribe(*client, "$SYS/brokers/+/uptime", 0);
    }
    net.advance(5000);
    for client in &clients {
        let n = net.messages(*client).len();
        assert!((4..=6).contains(&n), "{n} ticks in five seconds");
    }
}
