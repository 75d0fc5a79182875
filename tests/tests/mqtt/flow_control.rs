//! Receive maximum and maximum packet size, both ways.

use std::sync::OnceLock;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{
    ALL, Broker, Config, Connect, Packet, Prop, Publish, Sub, V3, Version, frame, unique,
};

use crate::broker;

/// Takes five QoS 2 messages at a time and packets of 1 KB.
fn strict() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.session.max_awaiting_rel", "5")
                .set("mqtt.max_packet_size", "1KB"),
        )
    })
}

/// [MQTT-4.9.0-1], [MQTT-4.9.0-2]
#[test]
fn mqtt5_3_3_4_9_server_keeps_within_receive_maximum() {
    for maximum in [1u16, 3, 20] {
        for qos in 1..=2 {
            let topic = unique("recvmax");
            let connect =
                Connect::new(Version::V5, &unique("recvmax")).prop(Prop::ReceiveMaximum(maximum));
            let mut client = broker().open(&connect);
            client.sub(&topic, 2);
            let mut publisher = broker().client(Version::V5, "pub");
            let total = usize::from(maximum) * 2 + 3;
            for i in 0..total {
                publisher.pub_(&topic, qos, &i.to_string());
            }
            let mut held: std::collections::VecDeque<_> =
                (0..maximum).map(|_| client.recv_publish()).collect();
            client.quiet();
            for i in usize::from(maximum)..total {
                let message = held.pop_front().unwrap();
                if qos == 2 {
                    // [MQTT-4.9.0-2]: PUBREC gives nothing back, PUBCOMP does.
                    client.send_ack(AckKind::Pubrec, message.id.unwrap());
                    client.ack(AckKind::Pubrel, message.id.unwrap());
                    client.quiet();
                    client.send_ack(AckKind::Pubcomp, message.id.unwrap());
                } else {
                    client.acknowledge(&message);
                }
                let next = client.recv_publish();
                assert_eq!(next.payload, i.to_string());
                held.push_back(next);
                client.quiet();
            }
        }
    }
}

/// A refusing PUBREC gives the place back as well.
#[test]
fn mqtt5_4_9_0_2_refusing_pubrec_gives_quota_back() {
    let topic = unique("refusing");
    let mut client = broker()
        .open(&Connect::new(Version::V5, &unique("refusing")).prop(Prop::ReceiveMaximum(1)));
    client.sub(&topic, 2);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 2, "one");
    publisher.pub_(&topic, 2, "two");
    let one = client.recv_publish();
    client.quiet();
    client.send_ack_code(AckKind::Pubrec, one.id.unwrap(), 0x80);
    client.expect(&topic, "two");
}

/// [MQTT-3.3.4-10]: QoS 0 and all other packets pass a full window.
#[test]
fn mqtt5_4_9_0_3_other_packets_pass_a_full_window() {
    let topic = unique("passes");
    let mut client =
        broker().open(&Connect::new(Version::V5, &unique("passes")).prop(Prop::ReceiveMaximum(1)));
    client.sub(&topic, 2);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, "in flight");
    publisher.pub_(&topic, 1, "waiting");
    let held = client.recv_publish();
    publisher.pub_(&topic, 0, "QoS 0 passes");
    assert_eq!(client.recv_publish().payload, "QoS 0 passes");
    client.sub(&format!("{topic}/other"), 1);
    assert_eq!(client.unsubscribe(&[&format!("{topic}/other")]), [0]);
    assert_eq!(client.pub_(&format!("{topic}/x"), 2, "own") & 0x80, 0);
    client.quiet();
    client.acknowledge(&held);
    client.expect(&topic, "waiting");
}

/// EMQ: a window of 32 messages (`max_inflight`).
#[test]
fn emq_max_inflight_is_the_window_of_3_x() {
    for v in V3 {
        let topic = unique("window");
        let mut client = broker().client(v, "window");
        client.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        for i in 0..40 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        let held: Vec<_> = (0..32).map(|_| client.recv_publish()).collect();
        client.quiet();
        // Acknowledged in any order, each releases the next.
        client.acknowledge(&held[17]);
        assert_eq!(client.recv_publish().payload, "32", "{v}");
        client.quiet();
        client.acknowledge(&held[3]);
        client.acknowledge(&held[0]);
        assert_eq!(client.recv_publish().payload, "33");
        assert_eq!(client.recv_publish().payload, "34");
        client.quiet();
    }
}

/// QoS 0 overtakes what waits for the window.
#[test]
fn emq_qos0_overtakes_a_full_window() {
    for v in V3 {
        let topic = unique("overtake");
        let mut client = broker().client(v, "overtake");
        client.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        for i in 0..33 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        for _ in 0..32 {
            client.recv_publish();
        }
        publisher.pub_(&topic, 0, "first");
        assert_eq!(client.recv_publish().payload, "first", "{v}");
    }
}

/// The client overruns the server's receive maximum.
#[test]
fn mqtt5_3_3_4_7_overrunning_receive_maximum_closes() {
    let (mut client, _, props) = strict().resume(&Connect::new(Version::V5, &unique("overrun")));
    let maximum = props
        .receive_maximum()
        .expect("the broker tells its receive maximum");
    assert!(maximum <= 5, "{maximum}");
    let topic = unique("overrun");
    for id in 1..=maximum {
        client.send_publish(Publish::new(&topic, "x").qos(2).id(id));
        client.ack(AckKind::Pubrec, id);
    }
    // QoS 0 is not counted, nor is a repetition.
    client.pub_(&topic, 0, "x");
    client.send_publish(Publish::new(&topic, "x").qos(2).id(1).dup());
    client.ack(AckKind::Pubrec, 1);
    client.send_publish(Publish::new(&topic, "x").qos(2).id(maximum + 1));
    client.expect_closed(&[0x93]);
}

/// PUBREL gives the client's quota back: a thousand flows in a row pass.
#[test]
fn mqtt5_4_9_0_1_servers_quota_is_given_back() {
    let mut client = strict().client(Version::V5, "back");
    for id in 1..=200 {
        client.publish(
            Publish::new("flow/back", "x")
                .qos(1 + (id % 2) as u8)
                .id(id),
        );
    }
}

/// [MQTT-3.1.2-25]
#[test]
fn mqtt5_3_1_2_24_too_large_message_is_skipped() {
    for qos in 0..=2 {
        let topic = unique("large");
        let connect = Connect::new(Version::V5, &unique("large"))
            .prop(Prop::MaximumPacketSize(200))
            .prop(Prop::ReceiveMaximum(1));
        let mut client = broker().open(&connect);
        client.sub(&topic, 2);
        let mut publisher = broker().client(Version::V5, "pub");
        for i in 0..5 {
            publisher.pub_(&topic, qos, &"x".repeat(300));
            publisher.pub_(&topic, qos, &i.to_string());
        }
        assert_eq!(client.payloads(5), ["0", "1", "2", "3", "4"], "QoS {qos}");
        client.nothing_from(&mut publisher);
    }
}

/// Exactly the maximum is sent.
#[test]
fn mqtt5_3_1_2_24_packet_of_the_maximum_size_is_sent() {
    let topic = unique("exact");
    let mut client = broker()
        .open(&Connect::new(Version::V5, &unique("exact")).prop(Prop::MaximumPacketSize(100)));
    client.sub(&topic, 0);
    let mut publisher = broker().client(Version::V5, "pub");
    let overhead = Publish::new(&topic, "").encode(Version::V5).len();
    publisher.pub_(&topic, 0, &"y".repeat(101 - overhead));
    publisher.pub_(&topic, 0, &"x".repeat(100 - overhead));
    client.expect(&topic, &"x".repeat(100 - overhead));
}

/// A message that does not fit is kept from one client only.
#[test]
fn mqtt5_3_1_2_25_other_clients_get_the_large_message() {
    let topic = unique("others");
    let mut small = broker()
        .open(&Connect::new(Version::V5, &unique("small")).prop(Prop::MaximumPacketSize(100)));
    let mut large = broker().client(Version::V5, "large");
    small.sub(&topic, 1);
    large.sub(&topic, 1);
    let mut publisher = broker().client(Version::V5, "pub");
    publisher.pub_(&topic, 1, &"x".repeat(1000));
    large.expect(&topic, &"x".repeat(1000));
    small.nothing_from(&mut publisher);
}

/// [MQTT-3.2.2-15]: the server's own maximum. EMQ counts the remaining length.
#[test]
fn mqtt_3_2_2_15_packet_beyond_the_servers_maximum_closes() {
    for v in ALL {
        let mut client = strict().client(v, "beyond");
        let topic = unique("beyond");
        let overhead = Publish::new(&topic, "").encode(v).len() - 2;
        client.pub_(&topic, 1, &"x".repeat(1024 - overhead - 2));
        client.send(&Publish::new(&topic, "x".repeat(1025 - overhead)).encode(v));
        client.expect_closed(&[0x95]);
    }
}

#[test]
fn mqtt5_3_2_2_15_servers_maximum_is_told() {
    let (_client, _, props) = strict().resume(&Connect::new(Version::V5, &unique("told")));
    let told = props
        .maximum_packet_size()
        .expect("the broker tells its maximum packet size");
    // 1 KB of remaining length and its header of three bytes.
    assert!((1024..=1029).contains(&told), "{told}");
}

/// The header alone decides: nothing is buffered for a packet that will be refused.
#[test]
fn mqtt_4_13_1_1_oversized_packet_is_refused_by_its_header() {
    for v in ALL {
        let mut client = strict().client(v, "header");
        client.send(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
        client.expect_closed(&[0x95]);
        // Before CONNECT as well.
        let mut raw = strict().raw(v);
        raw.send(&[0x10, 0xff, 0xff, 0xff, 0x7f]);
        let code = raw.closed();
        assert!([None, Some(0x95)].contains(&code), "{v}: {code:02x?}");
    }
}

/// [MQTT-3.5.2-2], [MQTT-3.6.2-2], [MQTT-3.7.2-2], [MQTT-3.9.2-1], [MQTT-3.11.2-1], [MQTT-3.14.2-3]: optional text is left out rather than break the client's maximum.
#[test]
fn mqtt5_3_4_2_2_optional_properties_never_break_the_maximum() {
    let mut client =
        broker().open(&Connect::new(Version::V5, &unique("tiny")).prop(Prop::MaximumPacketSize(8)));
    assert_eq!(
        client.subscribe(&[Sub::new("ok/x", 0), Sub::new("ok/y", 0)], &[]),
        [0, 0]
    );
    assert_eq!(client.unsubscribe(&["no/such"]), [0x11]);
    client.send_ack(AckKind::Pubrel, 99);
    assert_eq!(client.ack(AckKind::Pubcomp, 99).0, 0x92);
    client.send_ack(AckKind::Pubrec, 98);
    assert_eq!(client.ack(AckKind::Pubrel, 98).0, 0x92);
    assert_eq!(client.pub_("x", 2, "") & 0x80, 0);
    client.quiet();
    client.send(&[0x00, 0x00]);
    client.expect_closed(&[0x81]);
}

/// [MQTT-3.2.2-19]: a CONNACK that cannot fit is not sent at all.
#[test]
fn mqtt5_3_1_2_24_connack_respects_the_maximum() {
    let mut client = broker().raw(Version::V5);
    client.send(
        &Connect::new(Version::V5, "")
            .prop(Prop::MaximumPacketSize(5))
            .encode(),
    );
    match client.recv_or_eof() {
        None => {}
        Some(Packet::Connack { code, props, .. }) => {
            // Code, flags, property length: five bytes with the header. Anything more would not fit.
            assert!(props.0.is_empty() && code >= 0x80, "{code:02x} {props:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// PINGREQ has no body; a PUBLISH cannot be cut short. Lengths that lie are malformed.
#[test]
fn mqtt_4_13_1_1_lengths_that_lie_close() {
    for v in ALL {
        for bytes in [
            frame(0xc0, &[0]),
            frame(0x30, &[0, 10, b'a']),
            frame(0x32, &[0, 1, b'a', 0]),
            frame(0x82, &[0, 1, 0, 0, 10, b'a']),
            frame(0x40, &[0]),
            frame(0x62, &[1]),
        ] {
            let mut client = broker().client(v, "lies");
            client.send(&bytes);
            client.expect_closed(&[0x81, 0x82]);
        }
    }
}
