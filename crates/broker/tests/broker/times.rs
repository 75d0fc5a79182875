//! What time does: wills, sessions, messages, keep alive; and what the end of the broker does.

use crate::net::{Client, Net, retainer};
use crate::packets::*;
use emqttd_mqtt::{Property, Version};
use emqttd_plugin_sdk::{self as sdk, Access, AclAnswer, AclProvider, DynAcl, RetainSettings};
use std::sync::Arc;
use std::time::Duration;

/// A watcher of `w`, and whether a will has come.
fn watched(net: &mut Net) -> Client {
    let watcher = net.connect(&Connect::v5("watcher"));
    net.subscribe(watcher, "w", 2);
    watcher
}

fn dying(delay: u32, expiry: u32) -> Connect {
    Connect::v5("dying")
        .keep()
        .expiry(expiry)
        .will("w", "bye", 1, false)
        .will_property(Property::WillDelayInterval(delay))
}

#[test]
fn a_will_is_published_after_its_delay_or_with_the_end_of_its_session() {
    for (delay, expiry, due) in [
        (0, 0, 0),
        (0, 60, 0),
        (10, 60, 10),
        (60, 10, 10),
        (10, 10, 10),
        (10, 0, 0),
        (10, u32::MAX, 10),
    ] {
        let mut net = Net::new(2);
        let watcher = watched(&mut net);
        let client = net.connect(&dying(delay, expiry));
        net.lose(client);
        if due > 0 {
            net.advance(due * 1000 - 1);
            assert_eq!(
                net.payloads(watcher),
                [""; 0],
                "delay {delay}, expiry {expiry}: too early"
            );
        }
        net.advance(200);
        assert_eq!(
            net.payloads(watcher),
            ["bye"],
            "delay {delay}, expiry {expiry}"
        );
        net.advance(200_000);
        assert_eq!(net.payloads(watcher), [""; 0], "once");
    }
}

#[test]
fn who_returns_in_time_has_no_will() {
    let mut net = Net::new(2);
    let watcher = watched(&mut net);
    let client = net.connect(&dying(10, 60));
    net.lose(client);
    net.advance(9_500);
    let (client, present, _) = net.resume(&dying(10, 60));
    assert!(present);
    net.advance(100_000);
    assert_eq!(net.payloads(watcher), [""; 0]);
    // A clean start ends the old session and with it the delay [MQTT-3.1.3-9].
    net.lose(client);
    net.advance(1000);
    let connect = Connect {
        clean: true,
        ..dying(10, 60)
    };
    net.connect(&connect);
    assert_eq!(net.payloads(watcher), ["bye"]);
}

#[test]
fn a_normal_disconnect_takes_the_will_away_and_reason_4_asks_for_it() {
    for (reason, wills) in [(0x00, 0), (0x04, 1), (0x80, 1)] {
        let mut net = Net::new(1);
        let watcher = watched(&mut net);
        let client = net.connect(&dying(0, 0));
        net.send(client, &disconnect(Version::V5, reason));
        assert_eq!(net.closed(client), Some("normal"));
        assert_eq!(net.payloads(watcher).len(), wills, "reason {reason}");
    }
}

#[test]
fn a_will_on_takeover_is_published_for_5_only_and_not_while_it_is_delayed() {
    for (old, clean, wills) in [
        (Connect::v3("dying").will("w", "bye", 1, false), true, 0),
        (
            Connect::v3("dying").keep().will("w", "bye", 1, false),
            false,
            0,
        ),
        (dying(0, 60), false, 1),
        (dying(10, 60), false, 0),
        (dying(10, 60), true, 1),
    ] {
        let mut net = Net::new(2);
        let watcher = watched(&mut net);
        net.connect(&old);
        let new = if clean {
            Connect::v5("dying")
        } else {
            Connect::v5("dying").keep().expiry(60)
        };
        net.connect(&new);
        net.advance(100_000);
        assert_eq!(net.payloads(watcher).len(), wills, "{old:?}, clean {clean}");
    }
}

struct NoWill;

impl AclProvider for NoWill {
    async fn check(&self, client: &sdk::Client, access: Access, topic: &str) -> AclAnswer {
        if (&*client.clientid, access, topic) == ("dying", Access::Publish, "mp/w") {
            AclAnswer::Deny
        } else {
            AclAnswer::Ignore
        }
    }
}

#[test]
fn a_will_that_the_acl_denies_is_not_published() {
    for delay in [0, 5] {
        let mut net = Net::with(2, |s| s.listeners[0].mountpoint = Some("mp/".into()));
        let acl: Arc<dyn DynAcl> = Arc::new(NoWill);
        net.broker.access().add_acl(0, "no will", &acl);
        let watcher = watched(&mut net);
        let client = net.connect(&dying(delay, 60));
        net.lose(client);
        net.advance(100_000);
        assert_eq!(net.payloads(watcher), [""; 0]);
        let other = net.connect(&Connect {
            id: "other".into(),
            ..dying(delay, 60)
        });
        net.lose(other);
        net.advance(100_000);
        assert_eq!(net.payloads(watcher), ["bye"]);
    }
}

#[test]
fn a_will_keeps_its_qos_retain_flag_and_lifetime() {
    let mut net = Net::new(1);
    let connect = Connect::v5("dying")
        .keep()
        .expiry(600)
        .will("w", "bye", 2, true)
        .will_property(Property::WillDelayInterval(100))
        .will_property(Property::MessageExpiryInterval(50));
    let client = net.connect(&connect);
    net.lose(client);
    net.advance(100_100);
    let reader = net.connect(&Connect::v5("reader"));
    net.subscribe(reader, "w", 2);
    let got = net.messages(reader);
    assert_eq!(got.len(), 1, "its lifetime begins when it is published");
    assert_eq!(
        (got[0].qos, got[0].retain, got[0].expiry),
        (2, true, Some(50))
    );
    net.advance(50_000);
    let late = net.connect(&Connect::v5("late"));
    net.subscribe(late, "w", 2);
    assert_eq!(net.messages(late), []);
}

#[test]
fn a_session_ends_when_its_expiry_interval_is_over() {
    let three = Duration::from_secs(30);
    for (connect, seconds) in [
        (Connect::v3("c").keep(), Some(30)),
        (Connect::v5("c").keep().expiry(7), Some(7)),
        (Connect::v5("c").keep().expiry(u32::MAX), None),
        (Connect::v5("c").keep().expiry(1000), Some(1000)),
    ] {
        let mut net = Net::with(2, |s| s.session.expiry_interval = three);
        let client = net.connect(&connect);
        net.subscribe(client, "t", 1);
        net.lose(client);
        net.advance(seconds.unwrap_or(1_000_000) * 1000 - 100);
        assert_eq!(net.stat("sessions/count"), 1, "{connect:?}");
        if seconds.is_some() {
            net.advance(300);
            assert_eq!(net.stat("sessions/count"), 0, "{connect:?}");
            assert_eq!(
                (net.stat("subscriptions/count"), net.stat("routes/count")),
                (0, 0)
            );
            let (_, present, _) = net.resume(&connect);
            assert!(!present);
        } else {
            let (_, present, _) = net.resume(&connect);
            assert!(present);
        }
    }
}

#[test]
fn a_session_expires_only_while_nobody_is_there() {
    let mut net = Net::new(2);
    let connect = Connect::v5("c").keep().expiry(10);
    let client = net.connect(&connect);
    net.advance(60_000);
    net.lose(client);
    net.advance(9_000);
    let (client, present, _) = net.resume(&connect);
    assert!(present);
    net.advance(60_000);
    assert_eq!(net.stat("sessions/count"), 1);
    // DISCONNECT may change the interval.
    let mut bytes = Vec::new();
    let reason = emqttd_mqtt::ReasonCode::SUCCESS;
    emqttd_mqtt::encode(
        &mut bytes,
        Version::V5,
        &emqttd_mqtt::Packet::Disconnect(emqttd_mqtt::Disconnect {
            reason,
            properties: emqttd_mqtt::Properties::new(&properties(&[
                Property::SessionExpiryInterval(0),
            ])),
        }),
    );
    net.send(client, &bytes);
    assert_eq!(net.stat("sessions/count"), 0);
}

#[test]
fn max_expiry_interval_bounds_what_a_client_asks_for_and_connack_tells_it() {
    let mut net = Net::with(1, |s| {
        s.session.max_expiry_interval = Duration::from_secs(20)
    });
    let client = net.open(0);
    let got = net.connect_on(client, &Connect::v5("c").keep().expiry(u32::MAX));
    let Got::ConnAck { properties, .. } = &got[0] else {
        panic!()
    };
    assert_eq!(
        emqttd_mqtt::Properties::new(properties).session_expiry(),
        Some(20)
    );
    net.lose(client);
    net.advance(20_200);
    assert_eq!(net.stat("sessions/count"), 0);
}

fn publish_expiring(
    net: &mut Net,
    client: Client,
    topic: &str,
    seconds: u32,
    qos: u8,
    retain: bool,
) {
    let id = if qos == 0 { 0 } else { net.next_id(client) };
    let expiry = properties(&[Property::MessageExpiryInterval(seconds)]);
    net.send(
        client,
        &publish(Version::V5, topic, b"x", qos, retain, id, &expiry),
    );
    if qos == 2 {
        net.send(client, &ack(Version::V5, 6, id, 0));
    }
}

#[test]
fn a_message_that_waits_expires_or_arrives_with_what_is_left() {
    for qos in 1..=2 {
        let mut net = Net::new(2);
        let sleeper = Connect::v5("sleeper").keep().expiry(600);
        let client = net.connect(&sleeper);
        net.subscribe(client, "t", 2);
        net.lose(client);
        let publisher = net.connect(&Connect::v5("publisher"));
        publish_expiring(&mut net, publisher, "t", 10, qos, false);
        publish_expiring(&mut net, publisher, "t", 30, qos, false);
        publish_expiring(&mut net, publisher, "t", 20, qos, false);
        net.advance(20_000);
        let (client, _, mut got) = net.resume(&sleeper);
        got.extend(net.take(client));
        let left: Vec<Option<u32>> = got
            .iter()
            .filter_map(|g| {
                if let Got::Publish(m) = g {
                    Some(m.expiry)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(left, [Some(10)], "QoS {qos}");
        assert_eq!(net.metric("messages/dropped/expired"), 2);
    }
}

#[test]
fn retained_messages_expire_by_their_own_time_or_that_of_the_retainer() {
    let mut net = Net::new(1);
    let expiry_interval = Duration::from_secs(100);
    let settings = RetainSettings {
        expiry_interval,
        ..retainer()
    };
    net.broker.retain(Some(settings)).unwrap();
    let publisher = net.connect(&Connect::v5("publisher"));
    publish_expiring(&mut net, publisher, "own", 10, 1, true);
    for qos in 0..=2 {
        net.retain(publisher, &format!("q{qos}"), "x", qos);
    }
    net.admin(|broker| broker.publish("http", "admin", b"x", 1, true))
        .unwrap();
    let seen = |net: &mut Net, name: &str| {
        let reader = net.connect(&Connect::v5(name));
        net.subscribe(reader, "+", 2);
        let mut topics: Vec<String> = net.messages(reader).into_iter().map(|m| m.topic).collect();
        topics.sort();
        net.lose(reader);
        topics
    };
    assert_eq!(seen(&mut net, "a"), ["admin", "own", "q0", "q1", "q2"]);
    net.advance(10_000);
    assert_eq!(seen(&mut net, "b"), ["admin", "q0", "q1", "q2"]);
    net.advance(91_000);
    assert_eq!(seen(&mut net, "c"), [""; 0]);
    // $SYS keeps three of its own.
    net.advance(61_000);
    assert!(
        net.stat("retained/count") <= 3,
        "what has expired is swept away"
    );
}

#[test]
fn silence_longer_than_one_and_a_half_keep_alives_ends_the_connection() {
    for version in [Version::V311, Version::V5] {
        let mut net = Net::new(2);
        let watcher = watched(&mut net);
        let connect = Connect {
            version,
            ..Connect::v3("c")
        }
        .keep_alive(10)
        .will("w", "bye", 0, false);
        let client = net.connect(&connect);
        net.take(client);
        for _ in 0..3 {
            net.advance(14_800);
            assert_eq!(net.closed(client), None);
            net.send(client, PINGREQ);
            assert_eq!(net.take(client), [Got::PingResp]);
        }
        net.advance(14_900);
        assert_eq!(net.closed(client), None);
        net.advance(400);
        assert_eq!(net.closed(client), Some("keepalive_timeout"));
        let told: &[Got] = if version == Version::V5 {
            &[Got::Disconnect(0x8D)]
        } else {
            &[]
        };
        assert_eq!(net.take(client), told);
        assert_eq!(net.payloads(watcher), ["bye"]);
    }
}

#[test]
fn a_keep_alive_is_kept_to_also_by_who_reads_slowly_or_stops_in_a_packet() {
    // Whatever else a connection waits for, silence is silence.
    let mut net = Net::new(1);
    let publisher = net.connect(&Connect::v3("publisher"));
    let slow = net.connect(&Connect::v3("slow").keep_alive(2));
    net.subscribe(slow, "t", 0);
    net.set_room(slow, 0);
    net.publish(publisher, "t", &"x".repeat(1000), 0);
    net.advance(500);
    net.set_room(slow, usize::MAX);
    net.advance(2_800);
    assert_eq!(
        net.closed(slow),
        Some("keepalive_timeout"),
        "blocked for a while"
    );

    let half = net.connect(&Connect::v3("half").keep_alive(2));
    net.advance(1000);
    net.send(half, &PINGREQ[..1]);
    net.advance(2_200);
    assert_eq!(
        net.closed(half),
        Some("keepalive_timeout"),
        "half a packet is none"
    );
}

#[test]
fn a_server_keep_alive_takes_the_place_of_the_client_s() {
    let mut net = Net::with(1, |s| s.mqtt.max_keepalive = 10);
    for asked in [0, 60] {
        let client = net.open(0);
        let got = net.connect_on(client, &Connect::v5("c").keep_alive(asked));
        let Got::ConnAck { properties, .. } = &got[0] else {
            panic!()
        };
        assert_eq!(
            emqttd_mqtt::Properties::new(properties).server_keep_alive(),
            Some(10)
        );
        net.advance(15_300);
        assert_eq!(
            net.closed(client),
            Some("keepalive_timeout"),
            "[MQTT-3.1.2-21]"
        );
    }
    let three = net.connect(&Connect::v3("d"));
    net.advance(100_000);
    assert_eq!(net.closed(three), None);
}

#[test]
fn who_does_not_send_connect_in_time_is_sent_away() {
    let mut net = Net::new(1);
    for bytes in [&[][..], &[0x10], &[0x10, 0x40, 0x00, 0x04]] {
        let client = net.open(0);
        net.send(client, bytes);
        net.advance(29_800);
        assert_eq!(net.closed(client), None);
        net.advance(400);
        assert_eq!(net.closed(client), Some("idle_timeout"), "{bytes:?}");
    }
}

#[test]
fn a_packet_that_stops_half_way_ends_the_connection() {
    for keep_alive in [0, 600] {
        let mut net = Net::new(1);
        let client = net.connect(&Connect::v3("c").keep_alive(keep_alive));
        net.advance(5_000);
        net.send(client, &[0x30, 0x10, 0x00]);
        net.advance(29_800);
        assert_eq!(net.closed(client), None);
        net.advance(400);
        assert_eq!(
            net.closed(client),
            Some("idle_timeout"),
            "keep alive {keep_alive}"
        );
    }
}

#[test]
fn a_3x_client_is_sent_again_what_it_does_not_acknowledge() {
    let mut net = Net::with(2, |s| s.session.retry_interval = Duration::from_secs(20));
    let publisher = net.connect(&Connect::v3("publisher"));
    for (connect, again) in [(Connect::v3("three"), 2), (Connect::v5("five"), 0)] {
        let client = net.connect(&connect);
        net.take(client);
        net.subscribe(client, "t", 1);
        net.silent(client);
        net.publish(publisher, "t", "x", 1);
        assert!(!net.messages(client)[0].dup);
        net.advance(41_000);
        let got = net.messages(client);
        assert_eq!(got.len(), again);
        assert!(got.iter().all(|m| m.dup));
        net.lose(client);
    }
}

#[test]
fn a_qos_2_message_that_is_not_released_is_given_up_for_3x() {
    let mut net = Net::with(1, |s| s.session.await_rel_timeout = Duration::from_secs(30));
    let client = net.connect(&Connect::v3("c"));
    let id = net.put_publish(client, "t", "x", 2, false);
    net.run();
    assert_eq!(
        net.admin(|broker| broker.session("c"))
            .unwrap()
            .awaiting_rel,
        1
    );
    net.advance(30_200);
    assert_eq!(
        net.admin(|broker| broker.session("c"))
            .unwrap()
            .awaiting_rel,
        0
    );
    assert_eq!(net.metric("messages/qos2/dropped"), 1);
    net.take(client);
    net.send(client, &ack(Version::V311, 6, id, 0));
    assert_eq!(
        net.take(client),
        [Got::PubComp(id, 0)],
        "PUBREL is answered all the same"
    );
    assert_eq!(net.metric("packets/pubrel/missed"), 1);
}

#[test]
fn a_broker_that_stops_tells_its_clients_and_publishes_wills() {
    let mut net = Net::new(2);
    let name = net.name_on(1, "will");
    let dying = net.connect(&Connect::v5(&name).will("w", "bye", 1, true));
    let three = net.connect(&Connect::v3("three"));
    let keeper = net.connect(&Connect::v3("keeper").keep());
    net.subscribe(keeper, "w", 1);
    net.lose(keeper);
    let fresh = net.open(0);
    net.take(dying);
    net.shut_down();
    assert_eq!(net.take(dying), [Got::Disconnect(0x8B)]);
    for client in [dying, three, fresh] {
        assert_eq!(net.closed(client), Some("shutdown"));
    }
    assert_eq!(net.stat("clients/count"), 0);
    assert_eq!(net.stat("retained/count"), 1);
    assert_eq!(
        net.admin(|broker| broker.session("keeper"))
            .unwrap()
            .mqueue_len,
        1
    );
}
