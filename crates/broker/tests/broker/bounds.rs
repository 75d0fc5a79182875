//! What one client, or all of them, may cost: buffers, replays, rates, pressure.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_mqtt::{Property, Version};
use std::time::Duration;

/// A subscriber to `t` that reads nothing, and a publisher.
fn blocked(net: &mut Net, subscriber: &Connect, qos: u8) -> (Client, Client) {
    let client = net.connect(subscriber);
    net.subscribe(client, "t", qos);
    net.take(client);
    net.set_room(client, 0);
    (client, net.connect(&Connect::v3("publisher")))
}

#[test]
fn qos_0_above_the_send_buffer_of_a_client_that_does_not_read_is_dropped() {
    const LIMIT: usize = 16 * 1024;
    for connect in [
        Connect::v3("slow"),
        Connect::v5("slow").property(Property::TopicAliasMaximum(5)),
    ] {
        // Large payloads are not copied but count all the same.
        for size in [100, 1000, 5000] {
            let mut net = Net::with(2, |s| s.mqtt.max_send_buffer = LIMIT);
            let (slow, publisher) = blocked(&mut net, &connect, 0);
            let other = net.connect(&Connect::v3("other"));
            net.subscribe(other, "t", 0);
            for i in 0..500 {
                net.publish(publisher, "t", &format!("{i:0size$}"), 0);
            }
            let waiting = net.waiting(slow);
            assert!(
                waiting > LIMIT && waiting <= LIMIT + size + 20,
                "{waiting} bytes wait"
            );
            let dropped = net.metric("messages/dropped/send_buffer_full");
            assert_eq!(net.payloads(other).len(), 500, "others are not held up");
            net.set_room(slow, usize::MAX);
            net.run();
            let got: Vec<usize> = net
                .payloads(slow)
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
            assert_eq!(got, (0..500 - dropped as usize).collect::<Vec<_>>());
            net.publish(publisher, "t", "9", 0);
            assert_eq!(net.payloads(slow), ["9"], "it reads again");
        }
    }
}

#[test]
fn who_takes_nothing_for_the_send_timeout_is_ended_and_its_session_kept() {
    let mut net = Net::with(2, |s| s.listeners[0].send_timeout = Duration::from_secs(15));
    let watcher = net.connect(&Connect::v3("watcher"));
    net.subscribe(watcher, "w", 0);
    let connect = Connect::v3("slow").keep().will("w", "bye", 0, false);
    let (slow, publisher) = blocked(&mut net, &connect, 1);
    net.publish(publisher, "t", "x", 1);
    // A byte now and then is progress.
    for _ in 0..3 {
        net.advance(10_000);
        net.set_room(slow, 1);
        net.run();
    }
    assert_eq!(net.closed(slow), None);
    net.advance(14_800);
    assert_eq!(net.closed(slow), None);
    net.advance(400);
    assert_eq!(
        net.closed(slow),
        Some("timeout"),
        "the socket is closed, too"
    );
    assert_eq!(net.payloads(watcher), ["bye"]);
    let (_, present, got) = net.resume(&connect);
    assert!(present);
    assert!(
        matches!(&got[..], [Got::Publish(m)] if m.dup && m.payload == b"x"),
        "{got:?}"
    );
}

#[test]
fn a_connection_that_reads_in_time_is_not_ended() {
    let mut net = Net::new(1);
    let (slow, publisher) = blocked(&mut net, &Connect::v3("slow"), 0);
    for _ in 0..5 {
        net.publish(publisher, "t", "x", 0);
        net.advance(10_000);
        net.set_room(slow, usize::MAX);
        net.run();
        net.set_room(slow, 0);
    }
    net.advance(60_000);
    assert_eq!(net.closed(slow), None);
    assert_eq!(net.payloads(slow).len(), 5);
}

#[test]
fn beyond_the_hard_limit_a_connection_that_takes_nothing_is_ended_at_once() {
    const LIMIT: usize = 4096;
    let mut net = Net::with(2, |s| {
        s.mqtt.max_send_buffer = LIMIT;
        s.session.max_inflight = 0;
    });
    let watcher = net.connect(&Connect::v3("watcher"));
    net.subscribe(watcher, "w", 0);
    // QoS 1 is not dropped for a full buffer, so something else has to give.
    let connect = Connect::v3("slow").keep().will("w", "bye", 0, false);
    let (slow, publisher) = blocked(&mut net, &connect, 1);
    let mut sent = 0;
    while net.closed(slow).is_none() {
        assert!(sent < 100, "{} bytes wait", net.waiting(slow));
        net.publish(publisher, "t", &"x".repeat(1000), 1);
        sent += 1;
    }
    assert!(sent >= 8 * LIMIT / 1000);
    assert_eq!(net.closed(slow), Some("timeout"));
    assert_eq!(net.payloads(watcher), ["bye"]);
    let (client, present, mut got) = net.resume(&connect);
    got.extend(net.take(client));
    assert!(present);
    assert_eq!(
        got.iter().filter(|g| matches!(g, Got::Publish(_))).count(),
        sent,
        "QoS 1 is not lost"
    );
    net.lose(client);

    // Answers count as well: this one asks and asks.
    let asking = net.connect(&Connect::v5("asking"));
    net.take(asking);
    net.set_room(asking, 0);
    let mut sent = 0;
    while net.closed(asking).is_none() {
        assert!(sent < 30_000);
        net.send(asking, &PINGREQ.repeat(100));
        sent += 100;
    }
    assert_eq!(net.stat("clients/count"), 2);
}

#[test]
fn a_kicked_client_that_takes_nothing_is_closed_in_time() {
    let mut net = Net::with(1, |s| s.mqtt.max_send_buffer = 4096);
    let (slow, publisher) = blocked(&mut net, &Connect::v5("slow"), 0);
    for _ in 0..10 {
        net.publish(publisher, "t", &"x".repeat(4000), 0);
    }
    net.admin(|broker| broker.kick("slow")).unwrap();
    assert_eq!(net.stat("clients/count"), 1, "for the broker it is gone");
    net.advance(16_000);
    assert_eq!(net.closed(slow), Some("kick"));
    assert_eq!(net.listener.current(), 1);
}

/// Retains so many messages, all in one go.
fn retain_many(net: &mut Net, n: usize, size: usize, qos: u8) {
    let publisher = net.connect(&Connect::v3("retainer"));
    for i in 0..n {
        net.put_publish(
            publisher,
            &format!("r/{}/{i}", i % 7),
            &format!("{i:0size$}"),
            qos,
            true,
        );
    }
    net.run();
    if qos == 2 {
        let ids: Vec<u16> = net
            .take(publisher)
            .iter()
            .filter_map(|g| {
                if let Got::PubRec(id, _) = g {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect();
        let release: Vec<u8> = ids
            .iter()
            .flat_map(|id| ack(Version::V311, 6, *id, 0))
            .collect();
        net.send(publisher, &release);
    }
    net.lose(publisher);
    assert_eq!(net.stat("retained/count"), n as u64);
}

fn in_order(got: &[Publish]) -> bool {
    got.iter()
        .map(|m| m.text().parse::<usize>().unwrap())
        .eq(0..got.len())
}

/// A persistent session is owed what its connection had no time to take.
#[test]
fn retained_messages_go_on_when_a_persistent_session_comes_again() {
    for qos in [0, 1] {
        let mut net = Net::with(2, |s| {
            s.mqtt.max_send_buffer = 4096;
            s.session.max_inflight = 20;
        });
        retain_many(&mut net, 500, 20, qos);
        let connect = Connect {
            clean: false,
            ..Connect::v3("comes-again")
        };
        let client = net.connect(&connect);
        net.take(client);
        net.set_room(client, 0);
        net.send(client, &subscribe(Version::V311, 1, &[("r/#", qos)]));
        net.lose(client);
        let (client, present, mut got) = net.resume(&connect);
        assert!(present);
        got.extend(net.take(client));
        let mut texts: Vec<String> = got
            .iter()
            .filter_map(|packet| match packet {
                Got::Publish(message) => Some(message.text()),
                _ => None,
            })
            .collect();
        texts.sort();
        texts.dedup();
        // At QoS 0 what was written to the lost connection is gone; nothing else is.
        let least = if qos == 0 { 350 } else { 500 };
        assert!(texts.len() >= least, "{} at QoS {qos}", texts.len());
    }
}

#[test]
fn ten_thousand_retained_messages_arrive_paced_by_what_the_client_takes() {
    const LIMIT: usize = 64 * 1024;
    const N: usize = 10_000;
    for qos in 0..=2 {
        let mut net = Net::with(2, |s| {
            s.mqtt.max_send_buffer = LIMIT;
            s.session.max_inflight = 20;
            s.session.queue_max_length = 5;
            s.session.max_awaiting_rel = 0;
        });
        retain_many(&mut net, N, 20, qos);
        for connect in [
            Connect::v3("all"),
            Connect::v5("all").property(Property::ReceiveMaximum(3)),
        ] {
            // One who takes all at once gets all without anything else happening.
            let client = net.connect(&connect);
            net.take(client);
            net.subscribe(client, "r/#", qos);
            let got = net.messages(client);
            assert_eq!(got.len(), N, "QoS {qos}");
            assert!(in_order(&got) && got.iter().all(|m| m.retain && m.qos == qos && !m.dup));
            net.lose(client);

            // One who takes a little at a time, too, and no more than that is laid in store for it.
            let client = net.connect(&Connect {
                id: "slow".into(),
                ..connect
            });
            net.take(client);
            net.set_room(client, 0);
            let version = net.version(client);
            net.send(client, &subscribe(version, 1, &[("r/#", qos)]));
            let mut got = Vec::new();
            for _ in 0..2000 {
                let waiting = net.waiting(client);
                assert!(waiting <= LIMIT / 2 + 100, "{waiting}");
                net.set_room(client, 10_000);
                net.run();
                got.extend(net.messages(client));
                if got.len() == N {
                    break;
                }
            }
            assert_eq!(got.len(), N, "QoS {qos}, in pieces");
            assert!(in_order(&got));
            net.lose(client);
        }
        let lost: u64 = ["queue_full", "send_buffer_full", "expired", "too_large"]
            .iter()
            .map(|why| net.metric(&format!("messages/dropped/{why}")))
            .sum();
        assert_eq!(lost, 0);
    }
}

#[test]
fn what_is_published_during_a_replay_is_not_lost() {
    let mut net = Net::with(2, |s| s.session.max_inflight = 5);
    retain_many(&mut net, 200, 1, 1);
    let client = net.connect(&Connect::v3("c"));
    net.take(client);
    net.silent(client);
    net.subscribe(client, "r/#", 1);
    let publisher = net.connect(&Connect::v3("publisher"));
    for i in 0..50 {
        net.publish(publisher, "r/live", &format!("live{i}"), 1);
    }
    let mut got = Vec::new();
    while got.len() < 250 {
        let new = net.messages(client);
        assert!(!new.is_empty(), "{} came", got.len());
        assert!(new.len() <= 5, "no more than the window");
        for message in new {
            net.put(client, &ack(Version::V311, 4, message.id, 0));
            got.push(message);
        }
        net.run();
    }
    let live: Vec<String> = got
        .iter()
        .filter(|m| !m.retain)
        .map(Publish::text)
        .collect();
    assert_eq!(
        live,
        (0..50).map(|i| format!("live{i}")).collect::<Vec<_>>()
    );
    assert!(in_order(
        &got.into_iter().filter(|m| m.retain).collect::<Vec<_>>()
    ));
}

#[test]
fn who_publishes_faster_than_allowed_is_read_later() {
    let mut net = Net::with(2, |s| s.mqtt.max_publish_rate = 10);
    let watcher = net.connect(&Connect::v3("watcher"));
    net.subscribe(watcher, "t", 0);
    let fast = net.connect(&Connect::v3("fast"));
    for i in 0..35 {
        net.put_publish(fast, "t", &i.to_string(), (i % 2) as u8, false);
    }
    net.run();
    let mut got = net.payloads(watcher);
    assert_eq!(got.len(), 10);
    for most in [20, 30, 35] {
        net.advance(1000);
        got.extend(net.payloads(watcher));
        assert!(
            got.len().abs_diff(most) <= 1,
            "{} after a while, not {most}",
            got.len()
        );
    }
    assert_eq!(got, (0..35).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(net.metric("clients/rate_limited") > 0);
    assert_eq!(net.unread(fast), 0);
    // Whoever keeps to the rate is never delayed.
    let slow = net.connect(&Connect::v3("slow"));
    for _ in 0..30 {
        net.publish(slow, "t", "x", 0);
        assert_eq!(net.payloads(watcher).len(), 1);
        net.advance(101);
    }
}

#[test]
fn output_of_a_fan_out_is_written_before_more_is_read() {
    const MEGABYTE: usize = 1 << 20;
    for (shards, size, n) in [
        (1, 1000, 3000),
        (1, 20_000, 150),
        (3, 1000, 3000),
        (3, 20_000, 150),
    ] {
        let mut net = Net::new(shards);
        let subscribers: Vec<Client> = (0..40)
            .map(|n| {
                let client = net.connect(&Connect::v3(&format!("sub{n}")));
                net.subscribe(client, "t", 0);
                client
            })
            .collect();
        let publisher = net.connect(&Connect::v3("publisher"));
        net.take(publisher);
        for i in 0..n {
            net.put_publish(publisher, "t", &format!("{i:0size$}"), 0, false);
        }
        net.run();
        // 120 MB have gone out. One message may go beyond the bound, but no more.
        assert!(
            net.peak <= 4 * MEGABYTE + 40 * (size + 20),
            "{} bytes at once, {shards} shards",
            net.peak
        );
        for client in subscribers {
            let got = net.messages(client);
            assert!(got.len() == n && in_order(&got), "{} of {n}", got.len());
        }
    }
}

#[test]
fn connack_says_how_large_a_packet_may_be_and_a_larger_one_ends_the_connection() {
    let mut net = Net::with(1, |s| s.mqtt.max_packet_size = 1000);
    let client = net.open(0);
    let got = net.connect_on(client, &Connect::v5("c"));
    let Got::ConnAck { properties, .. } = &got[0] else {
        panic!()
    };
    assert_eq!(
        emqttd_mqtt::Properties::new(properties).maximum_packet_size(),
        Some(1000)
    );
    // The header alone says enough.
    net.send(client, &[0x30, 0xE9, 0x07]);
    assert_eq!(net.take(client), [Got::Disconnect(0x95)]);
    assert!(net.closed(client).is_some());
}

#[test]
fn a_session_holds_so_many_subscriptions_and_no_more() {
    let mut net = Net::with(1, |s| s.session.max_subscriptions = 3);
    for connect in [Connect::v3("a"), Connect::v5("b")] {
        let client = net.connect(&connect);
        for filter in ["1", "2", "3"] {
            assert_eq!(net.subscribe(client, filter, 1), 1);
        }
        let refused = if connect.version == Version::V5 {
            0x97
        } else {
            0x80
        };
        assert_eq!(net.subscribe(client, "4", 1), refused);
        assert_eq!(
            net.subscribe(client, "3", 2),
            2,
            "one that is there may change"
        );
        net.unsubscribe(client, "1");
        assert_eq!(net.subscribe(client, "4", 1), 1);
    }
}

#[test]
fn inbound_qos_2_beyond_the_receive_maximum_is_refused() {
    let mut net = Net::with(1, |s| s.session.max_awaiting_rel = 3);
    for connect in [Connect::v3("a"), Connect::v5("b")] {
        let client = net.connect(&connect);
        net.take(client);
        for _ in 0..4 {
            net.put_publish(client, "t", "x", 2, false);
        }
        net.run();
        let got = net.take(client);
        assert_eq!(
            got.iter().filter(|g| matches!(g, Got::PubRec(..))).count(),
            3
        );
        if connect.version == Version::V5 {
            assert_eq!(got.last(), Some(&Got::Disconnect(0x93)), "[MQTT-3.3.4-9]");
        } else {
            assert_eq!(net.closed(client), None);
        }
        net.lose(client);
    }
    assert_eq!(net.metric("messages/qos2/dropped"), 2);
}

#[test]
fn publishers_wait_for_a_shard_that_cannot_keep_up() {
    const MEGABYTE: usize = 1 << 20;
    let mut net = Net::new(2);
    let subscriber = net.name_on(1, "subscriber");
    let subscriber = net.connect(&Connect::v3(&subscriber));
    net.subscribe(subscriber, "t", 0);
    let publishers: Vec<Client> = (0..4)
        .map(|n| {
            let name = net.name_on(0, &format!("publisher{n}"));
            net.connect(&Connect::v3(&name))
        })
        .collect();
    net.stuck = Some(1);
    let payload = "x".repeat(1000);
    let mut sent = 0;
    for _ in 0..60 {
        for publisher in &publishers {
            for _ in 0..250 {
                net.put_publish(*publisher, "t", &payload, 0, false);
                sent += 1;
            }
        }
        // What is paused for a moment comes again.
        for _ in 0..10 {
            net.round();
            net.now += 1;
        }
    }
    let unread: usize = publishers.iter().map(|p| net.unread(*p)).sum();
    let read = sent * 1010 - unread;
    assert!(
        sent * 1010 > 55 * MEGABYTE && read < 32 * MEGABYTE,
        "{read} bytes wait for the other shard"
    );
    // Others are served meanwhile as soon as there is room; nothing is lost.
    net.stuck = None;
    net.advance(2000);
    assert_eq!(publishers.iter().map(|p| net.unread(*p)).sum::<usize>(), 0);
    assert_eq!(net.messages(subscriber).len(), sent);
}
