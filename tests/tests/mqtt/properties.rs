//! Properties of PUBLISH and their way through the broker; message expiry.

use std::thread::sleep;
use std::time::Duration;

use emqttd_tests::packet::encode_props;
use emqttd_tests::{Connect, Packet, Prop, Publish, Sub, V3, Version, frame, text, unique};

use crate::broker;

const V: Version = Version::V5;

/// [MQTT-3.3.2-17], [MQTT-3.3.2-4], [MQTT-3.3.2-20]
#[test]
fn mqtt5_3_3_2_18_properties_pass_unchanged_and_in_order() {
    let topic = unique("props");
    let users: Vec<Prop> = [
        ("b", "1"),
        ("a", "2"),
        ("b", "1"),
        ("", ""),
        ("ключ", "значение"),
        ("b", "3"),
    ]
    .iter()
    .map(|(k, v)| Prop::user(k, v))
    .collect();
    for qos in 0..=2 {
        let mut client = broker().client(V, "sub");
        client.sub(&topic, 2);
        let mut publish = Publish::new(&topic, "x").qos(qos);
        publish.props = vec![
            Prop::PayloadFormat(1),
            Prop::ContentType("text/plain; charset=utf-8".into()),
            Prop::ResponseTopic("answers/here".into()),
            Prop::CorrelationData((0..=255).collect()),
        ];
        publish.props.extend(users.clone());
        let sent = publish.props.clone();
        broker().client(V, "pub").publish(publish);
        let got = client.expect(&topic, "x").props;
        assert_eq!(got.0.len(), sent.len(), "{got:?}");
        for prop in &sent {
            assert!(got.0.contains(prop), "{prop:?}");
        }
        let order: Vec<Prop> = got
            .0
            .into_iter()
            .filter(|p| matches!(p, Prop::User(..)))
            .collect();
        assert_eq!(order, users);
    }
}

/// MQTT 3.x knows no properties: they are left out for it, and its messages have none.
#[test]
fn mqtt5_3_3_2_17_properties_between_versions() {
    for v in V3 {
        let topic = unique("versions");
        let mut old = broker().client(v, "old");
        let mut new = broker().client(V, "new");
        old.sub(&topic, 1);
        new.sub(&topic, 1);
        broker().client(V, "pub").publish(
            Publish::new(&topic, "five")
                .qos(1)
                .prop(Prop::user("k", "v")),
        );
        old.expect(&topic, "five");
        assert_eq!(new.expect(&topic, "five").props.user().len(), 1);
        broker().client(v, "pub").pub_(&topic, 1, "three");
        old.expect(&topic, "three");
        assert_eq!(new.expect(&topic, "three").props.0, []);
    }
}

/// Payload format 0 is the same as none; both may come.
#[test]
fn mqtt5_3_3_2_4_payload_format_0() {
    let topic = unique("format");
    let mut client = broker().client(V, "sub");
    client.sub(&topic, 0);
    broker()
        .client(V, "pub")
        .publish(Publish::new(&topic, "x").prop(Prop::PayloadFormat(0)));
    assert_eq!(client.expect(&topic, "x").props.payload_format(), Some(0));
}

#[test]
fn mqtt5_3_3_2_6_expiry_is_told_less_the_time_waited() {
    let topic = unique("left");
    let connect = Connect::persistent(V, &unique("left"));
    let mut client = broker().open(&connect);
    client.sub(&topic, 1);
    let mut publisher = broker().client(V, "pub");
    publisher.publish(
        Publish::new(&topic, "live")
            .qos(1)
            .prop(Prop::MessageExpiry(100)),
    );
    assert!(
        (99..=100).contains(
            &client
                .expect(&topic, "live")
                .props
                .message_expiry()
                .unwrap()
        )
    );
    client.disconnect();
    publisher.publish(
        Publish::new(&topic, "long")
            .qos(1)
            .prop(Prop::MessageExpiry(100)),
    );
    publisher.publish(
        Publish::new(&topic, "short")
            .qos(1)
            .prop(Prop::MessageExpiry(1)),
    );
    publisher.publish(Publish::new(&topic, "never").qos(1));
    // Time itself is what is tested here.
    sleep(Duration::from_millis(2100));
    let mut client = broker().open(&connect);
    let long = client.expect(&topic, "long");
    assert!(
        (96..=98).contains(&long.props.message_expiry().unwrap()),
        "{long:?}"
    );
    // [MQTT-3.3.2-5]: the short one is gone.
    assert_eq!(client.expect(&topic, "never").props.message_expiry(), None);
    client.nothing_from(&mut publisher);
}

/// What waits for a full window expires too; what was sent does not ([MQTT-4.3.3-7], [MQTT-4.3.3-13]).
#[test]
fn mqtt5_3_3_2_5_expiry_while_waiting_for_the_window() {
    let topic = unique("window");
    let connect = Connect::persistent(V, &unique("window")).prop(Prop::ReceiveMaximum(1));
    let mut client = broker().open(&connect);
    client.sub(&topic, 2);
    let mut publisher = broker().client(V, "pub");
    for payload in ["sent", "waits"] {
        publisher.publish(
            Publish::new(&topic, payload)
                .qos(2)
                .prop(Prop::MessageExpiry(1)),
        );
    }
    publisher.publish(Publish::new(&topic, "stays").qos(2));
    let sent = client.recv_publish();
    sleep(Duration::from_millis(2100));
    client.drop_connection();
    let mut client = broker().open(&connect);
    let again = client.recv_publish();
    assert_eq!(
        (again.id, again.dup, again.payload.as_str()),
        (sent.id, true, "sent")
    );
    client.acknowledge(&again);
    client.expect(&topic, "stays");
    client.nothing_from(&mut publisher);
}

/// An expired message does not take a 3.x client's place in the queue either.
#[test]
fn mqtt5_3_3_2_5_expiry_for_a_3_x_subscriber() {
    let topic = unique("old");
    let connect = Connect::persistent(Version::V311, &unique("old"));
    let mut client = broker().open(&connect);
    client.sub(&topic, 1);
    client.disconnect();
    let mut publisher = broker().client(V, "pub");
    publisher.publish(
        Publish::new(&topic, "short")
            .qos(1)
            .prop(Prop::MessageExpiry(1)),
    );
    publisher.publish(
        Publish::new(&topic, "long")
            .qos(1)
            .prop(Prop::MessageExpiry(100)),
    );
    sleep(Duration::from_millis(2100));
    broker().open(&connect).expect(&topic, "long");
}

/// Message expiry 0 means: now or never. A live subscriber may get it.
#[test]
fn mqtt5_3_3_2_5_expiry_0_is_not_stored() {
    let topic = unique("zero");
    let connect = Connect::persistent(V, &unique("zero"));
    let mut client = broker().open(&connect);
    client.sub(&topic, 1);
    client.disconnect();
    let mut publisher = broker().client(V, "pub");
    publisher.publish(
        Publish::new(&topic, "zero")
            .qos(1)
            .prop(Prop::MessageExpiry(0)),
    );
    publisher.publish(Publish::new(&topic, "x").qos(1));
    sleep(Duration::from_millis(1100));
    broker().open(&connect).expect(&topic, "x");
}

/// Properties of PUBLISH that are wrong by kind, number, or value.
#[test]
fn mqtt5_4_13_1_1_wrong_publish_properties_close() {
    let wrong: [(&str, Vec<Prop>); 9] = [
        ("payload format 2", vec![Prop::PayloadFormat(2)]),
        (
            "payload format twice",
            vec![Prop::PayloadFormat(1), Prop::PayloadFormat(1)],
        ),
        (
            "expiry twice",
            vec![Prop::MessageExpiry(1), Prop::MessageExpiry(1)],
        ),
        (
            "content type twice",
            vec![Prop::ContentType("a".into()), Prop::ContentType("a".into())],
        ),
        (
            "response topic twice",
            vec![
                Prop::ResponseTopic("a".into()),
                Prop::ResponseTopic("a".into()),
            ],
        ),
        (
            "alias twice",
            vec![Prop::TopicAlias(1), Prop::TopicAlias(1)],
        ),
        ("session expiry", vec![Prop::SessionExpiry(1)]),
        ("will delay", vec![Prop::WillDelay(1)]),
        ("reason string", vec![Prop::ReasonString("a".into())]),
    ];
    for (what, props) in wrong {
        let mut client = broker().client(V, "wrong");
        let mut publish = Publish::new("t", "x");
        publish.props = props;
        client.send(&publish.encode(V));
        let code = client.closed();
        assert!(
            [Some(0x81), Some(0x82), Some(0x99)].contains(&code),
            "{what}: {code:02x?}"
        );
    }
}

/// [MQTT-3.3.2-19], [MQTT-1.5.7-1], [MQTT-3.3.2-13]: strings in properties are UTF-8 without NUL.
#[test]
fn mqtt5_1_5_4_1_strings_in_properties_must_be_good() {
    for id in [0x03, 0x08, 0x26] {
        for bad in [&b"\xff"[..], b"a\0", b"\xed\xa0\x80"] {
            let mut props = vec![id];
            props.extend(text(bad));
            if id == 0x26 {
                props.extend(text("value"));
            }
            let mut body = text("t");
            body.push(props.len() as u8);
            body.extend(props);
            let mut client = broker().client(V, "utf");
            client.send(&frame(0x30, &body));
            client.expect_closed(&[0x81, 0x82, 0x90]);
        }
    }
}

/// An unknown property, and a property section that is cut or too long.
#[test]
fn mqtt5_2_2_2_1_broken_property_sections_close() {
    for section in [
        &[1, 0x7f][..],
        &[2, 0x00, 0x00],
        &[5, 0x01, 0x00],
        &[2, 0x02, 0x00],
        &[0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x82, 0x00, 0x01, 0x00],
        &[200, 1],
    ] {
        let mut body = text("t");
        body.extend(section);
        let mut client = broker().client(V, "section");
        client.send(&frame(0x30, &body));
        client.expect_closed(&[0x81, 0x82]);
    }
}

/// Properties where they do not belong, packet by packet.
#[test]
fn mqtt5_4_13_1_1_properties_of_other_packets_close() {
    let with = |first: u8, head: &[u8], prop: &Prop, tail: &[u8]| {
        let mut body = head.to_vec();
        body.extend(encode_props(std::slice::from_ref(prop)));
        body.extend(tail);
        frame(first, &body)
    };
    let mut tail = text("f");
    tail.push(0);
    let packets = [
        with(0x82, &[0, 1], &Prop::TopicAlias(1), &tail),
        with(0x82, &[0, 1], &Prop::ReasonString("x".into()), &tail),
        with(0xa2, &[0, 1], &Prop::SubscriptionId(1), &text("f")),
        with(0x40, &[0, 1, 0], &Prop::SubscriptionId(1), &[]),
        with(0x62, &[0, 1, 0], &Prop::ContentType("x".into()), &[]),
        with(0xe0, &[0], &Prop::WillDelay(1), &[]),
        with(0xe0, &[0], &Prop::AssignedClientId("x".into()), &[]),
    ];
    for packet in packets {
        let mut client = broker().client(V, "belongs");
        client.send(&packet);
        client.expect_closed(&[0x81, 0x82]);
    }
}

/// User properties are allowed on SUBSCRIBE, UNSUBSCRIBE, acknowledgements and DISCONNECT, and do nothing.
#[test]
fn mqtt5_2_2_2_1_user_properties_are_allowed_everywhere() {
    let topic = unique("everywhere");
    let users = [Prop::user("a", "b"), Prop::user("a", "c")];
    let mut client = broker().open(
        &Connect::new(V, &unique("everywhere"))
            .prop(users[0].clone())
            .prop(users[1].clone()),
    );
    assert_eq!(client.subscribe(&[Sub::new(&topic, 1)], &users), [1]);
    client.pub_(&topic, 1, "x");
    let message = client.recv_publish();
    let mut ack = message.id.unwrap().to_be_bytes().to_vec();
    ack.push(0);
    ack.extend(encode_props(&[
        Prop::ReasonString("thanks".into()),
        Prop::user("a", "b"),
    ]));
    client.send(&frame(0x40, &ack));
    let mut body = vec![0, 77];
    body.extend(encode_props(&users));
    body.extend(text(&topic));
    client.send(&frame(0xa2, &body));
    assert!(matches!(client.recv(), Packet::Unsuback { id: 77, .. }));
    client.disconnect_with(0, &users);
}

/// Acknowledgements in all their lengths: bare, with a reason, with an empty property section.
#[test]
fn mqtt5_3_4_2_1_short_forms_of_acknowledgements() {
    let topic = unique("short");
    let mut client = broker().client(V, "short");
    client.sub(&topic, 1);
    let mut publisher = broker().client(V, "pub");
    for tail in [&[][..], &[0], &[0, 0], &[0x10]] {
        publisher.pub_(&topic, 1, "x");
        let mut body = client.recv_publish().id.unwrap().to_be_bytes().to_vec();
        body.extend(tail);
        client.send(&frame(0x40, &body));
        client.quiet();
    }
}
