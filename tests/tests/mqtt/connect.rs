//! CONNECT and CONNACK.

use std::sync::OnceLock;

use emqttd_tests::packet::AckKind;
use emqttd_tests::transport;
use emqttd_tests::{
    ALL, Broker, Client, Config, Connect, Packet, Prop, Publish, STRICT, Sub, V3, Version, Will,
    frame, text, unique,
};

use crate::broker;

/// Refuses everybody.
fn locked() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().set("mqtt.allow_anonymous", "false")))
}

#[test]
fn mqtt_3_1_0_1_first_packet_must_be_connect() {
    for v in ALL {
        let packets: [&[u8]; 5] = [
            &[0xc0, 0],
            &[0x30, 4, 0, 1, b'a', b'x'],
            &[0x82, 6, 0, 1, 0, 1, b'a', 0],
            &[0xe0, 0],
            &[0x40, 2, 0, 1],
        ];
        for packet in packets {
            let mut client = broker().raw(v);
            client.send(packet);
            // [MQTT-3.2.0-1], [MQTT-3.14.0-1]: nothing but CONNACK may come first, so nothing does.
            assert_eq!(client.closed(), None, "{v} {packet:02x?}");
        }
    }
}

#[test]
fn mqtt_3_1_0_2_second_connect_closes() {
    for v in ALL {
        let mut client = broker().client(v, "second");
        client.send(&Connect::new(v, &unique("second")).encode());
        client.expect_closed(&[0x82]);
    }
}

#[test]
fn mqtt_3_1_0_2_second_connect_publishes_the_will() {
    for v in ALL {
        let topic = unique("will");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 0);
        let connect = Connect::new(v, &unique("second")).will(Will::new(&topic, "gone"));
        let mut client = broker().open(&connect);
        client.send(&connect.encode());
        client.expect_closed(&[0x82]);
        watcher.expect(&topic, "gone");
    }
}

/// [MQTT311-3.1.2-1]
#[test]
fn mqtt_3_1_2_1_unknown_protocol_name_closes() {
    for v in ALL {
        for name in ["", "MQT", "mqtt", "MQTTX", "HTTP"] {
            let mut body = text(name);
            body.extend([v.name_and_level().1, 2, 0, 0]);
            if v.is_v5() {
                body.push(0);
            }
            body.extend(text("name"));
            let mut client = broker().raw(v);
            client.send(&frame(0x10, &body));
            let code = client.closed();
            assert!(
                [None, Some(0x84), Some(1)].contains(&code),
                "{v} {name:?}: {code:?}"
            );
        }
    }
}

#[test]
fn mqtt311_3_1_2_2_unknown_level_is_answered_with_1() {
    for level in [0, 2, 6, 9, 100] {
        let mut body = text("MQTT");
        body.extend([level, 2, 0, 0]);
        body.extend(text("level"));
        let mut client = broker().raw(Version::V311);
        client.send(&frame(0x10, &body));
        let mut answer = Vec::new();
        // Only the shape of 3.1.1 can be meant for a client of an unknown level.
        if let Some(Packet::Connack {
            session_present,
            code,
            ..
        }) = client.recv_or_eof()
        {
            assert!(!session_present);
            answer.push(code);
        }
        assert_eq!(answer, [1], "level {level}");
        assert_eq!(client.closed(), None);
    }
}

/// A level that goes with the other protocol name is refused in one way or the other.
#[test]
fn mqtt_3_1_2_2_mismatched_name_and_level_closes() {
    for (name, level) in [("MQIsdp", 4), ("MQTT", 3), ("MQIsdp", 5)] {
        let mut body = text(name);
        body.extend([level, 2, 0, 0]);
        body.extend(text("mismatch"));
        let mut client = broker().raw(Version::V311);
        client.send(&frame(0x10, &body));
        let code = client.closed();
        assert!([None, Some(1)].contains(&code), "{name} {level}: {code:?}");
    }
}

/// [MQTT311-3.2.2-6]: no code of 3.1.1 fits, so there is no CONNACK.
#[test]
fn mqtt_3_1_2_3_reserved_connect_flag_closes() {
    for v in STRICT {
        let mut client = broker().raw(v);
        client.send(&Connect::new(v, &unique("reserved")).flags(1).encode());
        let code = client.closed();
        if v.is_v5() {
            assert!([None, Some(0x81)].contains(&code), "{code:?}");
        } else {
            assert_eq!(code, None, "{v}: MQTT 3.x says to close without CONNACK");
        }
    }
}

/// [MQTT-3.1.4-4], [MQTT-3.2.2-2], [MQTT-4.1.0-1]
#[test]
fn mqtt_3_1_2_4_clean_discards_the_session() {
    for v in ALL {
        let id = unique("clean");
        let topic = unique("clean");
        let mut first = broker().open(&Connect::persistent(v, &id));
        first.sub(&topic, 1);
        first.disconnect();
        let (mut second, present, _) = broker().resume(&Connect::new(v, &id));
        assert!(!present, "{v}");
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&topic, 1, "lost");
        second.nothing_from(&mut publisher);
        second.disconnect();
        // [MQTT311-3.1.2-6]: what a clean session did is not reused either.
        let (_, present, _) = broker().resume(&Connect::persistent(v, &id));
        assert!(!present, "{v}");
    }
}

/// [MQTT-3.1.2-6], [MQTT-3.2.2-3], [MQTT-3.1.2-23], [MQTT-3.1.3-2]
#[test]
fn mqtt_3_1_2_5_session_is_resumed() {
    for v in ALL {
        let id = unique("resume");
        let topic = unique("resume");
        let (mut first, present, _) = broker().resume(&Connect::persistent(v, &id));
        assert!(!present, "{v}: there was no session");
        first.sub(&topic, 1);
        first.disconnect();
        let (mut second, present, _) = broker().resume(&Connect::persistent(v, &id));
        // In MQTT 3.1 that byte is reserved, and EMQ set it nevertheless.
        assert!(present || v == Version::V31, "{v}");
        broker()
            .client(v, "pub")
            .pub_(&topic, 1, "still subscribed");
        second.expect(&topic, "still subscribed");
    }
}

/// [MQTT-3.1.2-13], [MQTT311-3.1.2-11], [MQTT311-3.1.2-13], [MQTT311-3.1.2-15]
#[test]
fn mqtt_3_1_2_11_will_bits_without_will_flag_close() {
    for v in STRICT {
        for bits in [0x08, 0x10, 0x20, 0x38] {
            let mut client = broker().raw(v);
            client.send(&Connect::new(v, &unique("willbits")).flags(bits).encode());
            let code = client.closed();
            assert!(
                [None, Some(0x81), Some(0x82)].contains(&code),
                "{v} {bits:02x}: {code:02x?}"
            );
        }
    }
}

#[test]
fn mqtt_3_1_2_12_will_qos_3_closes() {
    for v in ALL {
        let mut client = broker().raw(v);
        client.send(
            &Connect::new(v, &unique("willqos"))
                .will(Will::new("w", "x").qos(3))
                .encode(),
        );
        let code = client.closed();
        assert!(
            [None, Some(0x81), Some(0x9b)].contains(&code),
            "{v}: {code:02x?}"
        );
    }
}

/// [MQTT-3.1.2-16], [MQTT-3.1.2-18], [MQTT-3.1.2-9]: the flags say what the payload holds; more is
/// malformed.
#[test]
fn mqtt_3_1_4_1_payload_beyond_the_flags_closes() {
    for v in ALL {
        let mut whole = Connect::new(v, &unique("beyond")).encode();
        whole.extend(text("stray"));
        whole[1] += 7;
        let mut client = broker().raw(v);
        client.send(&whole);
        let code = client.closed();
        assert!([None, Some(0x81)].contains(&code), "{v}: {code:02x?}");
    }
}

/// [MQTT-3.1.2-17], [MQTT-3.1.2-19]: fields that the flags announce and the payload lacks.
#[test]
fn mqtt_3_1_4_1_payload_short_of_the_flags_closes() {
    for v in STRICT {
        for flags in [0x80, 0xc0, 0x04, 0x84] {
            let mut client = broker().raw(v);
            client.send(&Connect::new(v, &unique("short")).flags(flags).encode());
            let code = client.closed();
            assert!(
                [None, Some(0x81)].contains(&code),
                "{v} {flags:02x}: {code:02x?}"
            );
        }
    }
}

#[test]
fn mqtt311_3_1_2_22_password_without_user_name_closes() {
    for v in V3 {
        let mut client = broker().raw(v);
        client.send(
            &Connect::new(v, &unique("passonly"))
                .password("secret")
                .encode(),
        );
        assert_eq!(client.closed(), None, "{v}");
    }
}

#[test]
fn mqtt5_3_1_2_19_password_without_user_name_is_fine() {
    broker()
        .open(&Connect::new(Version::V5, &unique("passonly")).password("secret"))
        .quiet();
}

/// [MQTT-3.1.3-1], [MQTT-3.1.3-3]: every optional field at once, in the order of the standard.
#[test]
fn mqtt_3_1_3_1_all_payload_fields_are_read() {
    for v in ALL {
        let id = unique("fields");
        let topic = unique("fields");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 2);
        let connect = Connect::new(v, &id)
            .keep_alive(60)
            .username("usér")
            .password("secret")
            .will(Will::new(&topic, "all of it").qos(2));
        let client = broker().open(&connect);
        assert!(
            broker()
                .ctl(&["clients", "show", &id])
                .1
                .contains("username=usér"),
            "{v}"
        );
        client.drop_connection();
        assert_eq!(watcher.expect(&topic, "all of it").qos, 2);
    }
}

#[test]
fn mqtt_3_1_3_4_client_id_that_is_not_utf8_closes() {
    for v in ALL {
        for id in [&b"\xff\xfe"[..], b"a\0b", b"\xed\xa0\x80"] {
            let mut packet = Connect::new(v, "").encode();
            packet.truncate(packet.len() - 2);
            packet.extend(text(id));
            packet[1] += id.len() as u8;
            let mut client = broker().raw(v);
            client.send(&packet);
            let code = client.closed();
            assert!(
                [None, Some(2), Some(0x81), Some(0x85)].contains(&code),
                "{v} {id:02x?}: {code:02x?}"
            );
        }
    }
}

#[test]
fn mqtt_3_1_3_5_ordinary_client_ids_are_allowed() {
    for v in ALL {
        for id in [
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            broker().open(&Connect::new(v, id)).disconnect();
        }
    }
}

/// [MQTT-3.1.3-8]
#[test]
fn emq_client_id_may_have_1024_bytes_and_not_more() {
    for v in ALL {
        broker()
            .open(&Connect::new(v, &"x".repeat(1024)))
            .disconnect();
        let mut client = broker().raw(v);
        client.send(&Connect::new(v, &"x".repeat(1025)).encode());
        assert_eq!(
            client.closed(),
            Some(if v.is_v5() { 0x85 } else { 2 }),
            "{v}"
        );
    }
}

/// [MQTT-3.1.3-7], [MQTT-3.2.2-16]
#[test]
fn mqtt5_3_1_3_6_empty_client_id_is_assigned() {
    let (a, _, props_a) = broker().resume(&Connect::new(Version::V5, ""));
    let (b, _, props_b) = broker().resume(&Connect::new(Version::V5, "").clean(false));
    let (id_a, id_b) = (
        props_a.assigned_client_id().unwrap(),
        props_b.assigned_client_id().unwrap(),
    );
    assert!(!id_a.is_empty());
    assert_ne!(id_a, id_b);
    // The session is that of the assigned id.
    let taken = broker().open(&Connect::new(Version::V5, &id_a));
    let mut a = a;
    assert_eq!(a.closed(), Some(0x8e));
    taken.disconnect();
    b.disconnect();
}

#[test]
fn mqtt5_3_2_2_16_no_assigned_id_when_the_client_has_one() {
    let (_client, _, props) = broker().resume(&Connect::new(Version::V5, &unique("own")));
    assert_eq!(props.assigned_client_id(), None);
}

#[test]
fn mqtt311_3_1_3_6_empty_client_id_with_clean_session() {
    let mut a = broker().open(&Connect::new(Version::V311, ""));
    let mut b = broker().open(&Connect::new(Version::V311, ""));
    // Each got an id of its own: neither took the other's place.
    a.quiet();
    b.quiet();
    assert!(
        broker()
            .ctl(&["clients", "list"])
            .1
            .contains("Client(emqttd_")
    );
}

/// [MQTT311-3.1.3-9], [MQTT311-3.2.2-5]
#[test]
fn mqtt311_3_1_3_8_empty_client_id_without_clean_session_is_refused() {
    for (v, clean) in [
        (Version::V311, false),
        (Version::V31, false),
        (Version::V31, true),
    ] {
        let mut client = broker().raw(v);
        client.send(&Connect::new(v, "").clean(clean).encode());
        assert_eq!(client.closed(), Some(2), "{v} clean={clean}");
    }
}

/// [MQTT-3.1.3-11], [MQTT-3.1.3-12]
#[test]
fn mqtt_3_1_3_11_will_topic_and_user_name_must_be_utf8() {
    for v in ALL {
        let mut will = Connect::new(v, &unique("utf"))
            .will(Will::new("ZZ", "x"))
            .encode();
        let at = will.windows(2).position(|w| w == b"ZZ").unwrap();
        will[at] = 0xff;
        let mut user = Connect::new(v, &unique("utf")).username("ZZ").encode();
        let at = user.windows(2).position(|w| w == b"ZZ").unwrap();
        user[at] = 0xc0;
        for packet in [will, user] {
            let mut client = broker().raw(v);
            client.send(&packet);
            let code = client.closed();
            assert!(
                [None, Some(0x81), Some(0x90)].contains(&code),
                "{v}: {code:02x?}"
            );
        }
    }
}

#[test]
fn mqtt_4_7_0_1_will_topic_with_wildcard_is_refused() {
    for v in ALL {
        for topic in ["a/+", "#", "a/#", ""] {
            let mut client = broker().raw(v);
            client.send(
                &Connect::new(v, &unique("willwild"))
                    .will(Will::new(topic, "x"))
                    .encode(),
            );
            let code = client.closed();
            assert!(
                [None, Some(0x81), Some(0x82), Some(0x90)].contains(&code),
                "{v} {topic:?}: {code:02x?}"
            );
        }
    }
}

/// [MQTT-3.1.4-2], [MQTT-3.2.2-7], [MQTT-3.2.2-6], [MQTT-4.13.2-1]
#[test]
fn mqtt_3_1_4_2_refused_client_is_closed_after_connack() {
    for v in ALL {
        for connect in [
            Connect::new(v, &unique("anon")),
            Connect::new(v, &unique("anon"))
                .username("nobody")
                .password("wrong"),
        ] {
            let mut client = Client::over(locked().tcp(), v, "refused");
            client.send(&connect.encode());
            let code = client.closed();
            if v.is_v5() {
                assert!([Some(0x86), Some(0x87)].contains(&code), "{code:02x?}");
            } else {
                assert_eq!(code, Some(4), "{v}: EMQ refuses with 4");
            }
        }
    }
}

/// A refused client's session is not touched and its will is not published.
#[test]
fn mqtt_3_1_4_6_nothing_after_a_refused_connect_is_processed() {
    for v in ALL {
        let mut client = Client::over(locked().tcp(), v, "refused");
        let connect = Connect::new(v, &unique("anon")).will(Will::new("w", "x"));
        let mut bytes = connect.encode();
        bytes.extend(Publish::new("t", "x").qos(1).id(7).encode(v));
        bytes.extend(client.subscribe_bytes(8, &[Sub::new("t", 0)], &[]));
        bytes.extend([0xc0, 0]);
        client.send(&bytes);
        let (_, code, _) = client.connack();
        assert_ne!(code, 0);
        // [MQTT-3.14.0-1]: not even a DISCONNECT comes after a refusal.
        assert_eq!(client.closed(), None, "{v}");
    }
}

/// [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-3.1.4-5]: packets behind CONNECT in the same segment are
/// answered after CONNACK, which comes once.
#[test]
fn mqtt_3_2_0_1_connack_comes_first() {
    for v in ALL {
        let topic = unique("first");
        let mut client = broker().raw(v);
        let mut bytes = Connect::new(v, &unique("first")).encode();
        bytes.extend(Publish::new(&topic, "x").qos(1).id(9).encode(v));
        bytes.extend([0xc0, 0]);
        client.send(&bytes);
        let (_, code, _) = client.connack();
        assert_eq!(code, 0);
        assert!(matches!(
            client.recv(),
            Packet::Ack {
                kind: AckKind::Puback,
                id: 9,
                ..
            }
        ));
        assert_eq!(client.recv(), Packet::Pingresp);
    }
}

/// CONNECT may come in as many segments as it likes.
#[test]
fn mqtt_4_2_0_1_connect_byte_by_byte() {
    for v in ALL {
        let mut client = broker().raw(v);
        for byte in Connect::new(v, &unique("bytes"))
            .username("u")
            .password("p")
            .encode()
        {
            client.send(&[byte]);
        }
        assert_eq!(client.connack().1, 0);
    }
}

#[test]
fn emq_bridge_bit_is_accepted_and_keeps_retain() {
    for (v, level) in [(Version::V31, 0x83), (Version::V311, 0x84)] {
        let topic = unique("bridge");
        let mut bridge = broker().open(&Connect::new(v, &unique("bridge")).level(level));
        bridge.sub(&topic, 1);
        let mut plain = broker().client(v, "plain");
        plain.sub(&topic, 1);
        let mut publisher = broker().client(v, "pub");
        publisher.publish(Publish::new(&topic, "kept").qos(1).retained());
        assert!(
            bridge.expect(&topic, "kept").retain,
            "{v}: the bridge sees RETAIN on live messages"
        );
        assert!(!plain.expect(&topic, "kept").retain, "{v}");
        publisher.publish(Publish::new(&topic, "live").qos(1));
        assert!(!bridge.expect(&topic, "live").retain, "{v}");
    }
}

/// Optional features are all offered: the standard lets a server leave out what is 1.
#[test]
fn mqtt5_3_2_2_9_everything_optional_is_offered() {
    let (_client, _, props) = broker().resume(&Connect::new(Version::V5, &unique("offer")));
    assert!(
        [None, Some(2)].contains(&props.maximum_qos()) && props.maximum_qos() != Some(2),
        "2 may not be sent"
    );
    for value in [
        props.retain_available(),
        props.wildcard_available(),
        props.subscription_id_available(),
        props.shared_available(),
    ] {
        assert!([None, Some(1)].contains(&value));
    }
    assert!(props.topic_alias_maximum().unwrap_or(0) > 0);
}

#[test]
fn mqtt5_3_1_2_28_no_response_information_unless_asked() {
    for value in [None, Some(0)] {
        let mut connect = Connect::new(Version::V5, &unique("respinfo"));
        if let Some(value) = value {
            connect = connect.prop(Prop::RequestResponseInfo(value));
        }
        let (_client, _, props) = broker().resume(&connect);
        assert_eq!(props.response_info(), None);
    }
}

/// Properties of CONNECT that are wrong by their kind, number or value.
#[test]
fn mqtt5_3_1_4_1_wrong_connect_properties_close() {
    let wrong: [(&str, Vec<Prop>, &[u8]); 11] = [
        (
            "session expiry twice",
            vec![Prop::SessionExpiry(1), Prop::SessionExpiry(1)],
            &[0x81, 0x82],
        ),
        (
            "receive maximum 0",
            vec![Prop::ReceiveMaximum(0)],
            &[0x81, 0x82],
        ),
        (
            "maximum packet size 0",
            vec![Prop::MaximumPacketSize(0)],
            &[0x81, 0x82],
        ),
        (
            "request problem info 2",
            vec![Prop::RequestProblemInfo(2)],
            &[0x81, 0x82],
        ),
        (
            "request response info 2",
            vec![Prop::RequestResponseInfo(2)],
            &[0x81, 0x82],
        ),
        (
            "auth data without method",
            vec![Prop::AuthData(b"x".to_vec())],
            &[0x81, 0x82],
        ),
        (
            "topic alias in CONNECT",
            vec![Prop::TopicAlias(1)],
            &[0x81, 0x82],
        ),
        (
            "subscription id in CONNECT",
            vec![Prop::SubscriptionId(1)],
            &[0x81, 0x82],
        ),
        (
            "receive maximum twice",
            vec![Prop::ReceiveMaximum(1), Prop::ReceiveMaximum(2)],
            &[0x81, 0x82],
        ),
        (
            "will delay in CONNECT",
            vec![Prop::WillDelay(1)],
            &[0x81, 0x82],
        ),
        (
            "assigned id from a client",
            vec![Prop::AssignedClientId("x".into())],
            &[0x81, 0x82],
        ),
    ];
    for (what, props, codes) in wrong {
        let mut connect = Connect::new(Version::V5, &unique("wrong"));
        connect.props = props;
        let mut client = broker().raw(Version::V5);
        client.send(&connect.encode());
        let code = client.closed();
        assert!(
            code.is_none_or(|c| codes.contains(&c)),
            "{what}: {code:02x?}"
        );
    }
}

/// [MQTT-3.1.2-20] and the like are the client's; here only that the broker does not ask for more: a
/// connection with keep alive 0 lives on.
#[test]
fn mqtt_3_1_2_22_keep_alive_0_is_never_timed_out() {
    for v in ALL {
        let mut client = broker().client(v, "zero");
        assert_eq!(
            client.recv_within(std::time::Duration::from_millis(300)),
            None,
            "{v}"
        );
        client.quiet();
    }
}

#[test]
fn mqtt_4_2_0_1_many_clients_at_once() {
    let mut clients: Vec<Client> = (0..200)
        .map(|i| broker().client(ALL[i % 3], "many"))
        .collect();
    for client in &mut clients {
        client.quiet();
    }
    // An address that only listens answers too: connections are independent of each other.
    drop(transport::tcp(broker().addr("tcp.external")));
}
