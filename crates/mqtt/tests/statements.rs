//! What the standard says about encodings, one test for each statement or group of them. A name without a version is that
//! of the statement in MQTT 5.0; `v311` marks those of 3.1.1.
#![allow(clippy::unwrap_used)]

use emqttd_mqtt::{
    Connect, DecodeError, DecodeErrorKind as Kind, Packet, Properties, Property, QoS, ReasonCode,
    SubscriptionOptions, Version, decode, decode_publish, fixed_header,
};

const V31: Version = Version::V31;
const V311: Version = Version::V311;
const V5: Version = Version::V5;
const ALL: [Version; 3] = [V31, V311, V5];

/// Decodes one whole packet.
fn parse(version: Version, packet: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let header = fixed_header(packet)?.expect("the fixed header is complete");
    assert_eq!(
        header.packet_len(),
        packet.len(),
        "the test gives one whole packet"
    );
    decode(version, header.first, &packet[header.len..])
}

/// A packet of these parts, with its remaining length.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    assert!(body.len() < 128);
    let mut packet = vec![first, body.len() as u8];
    packet.extend(body);
    packet
}

#[track_caller]
fn refused(version: Version, packet: &[u8], kind: Kind) {
    match parse(version, packet) {
        Ok(packet) => panic!("{version:?} takes {packet:?}"),
        Err(error) => assert_eq!(error.kind, kind, "{version:?}: {error}"),
    }
}

#[track_caller]
fn accepted(version: Version, packet: &[u8]) -> Packet<'_> {
    match parse(version, packet) {
        Ok(packet) => packet,
        Err(error) => panic!("{version:?} refuses {packet:02x?}: {error}"),
    }
}

/// CONNECT with an empty payload but for the client id `c`.
fn connect(protocol: &[u8], level: u8, flags: u8, tail: &[u8]) -> Vec<u8> {
    let len = [0, protocol.len() as u8];
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(
        0x10,
        &[
            &len,
            protocol,
            &[level, flags, 0, 10],
            properties,
            b"\x00\x01c",
            tail,
        ],
    )
}

/// A v5 packet of `first` with `head`, then these properties, then `tail`.
fn with_properties(first: u8, head: &[u8], properties: &[u8], tail: &[u8]) -> Vec<u8> {
    packet(first, &[head, &[properties.len() as u8], properties, tail])
}

fn connect_with(properties: &[u8]) -> Vec<u8> {
    with_properties(
        0x10,
        b"\x00\x04MQTT\x05\x02\x00\x0a",
        properties,
        b"\x00\x01c",
    )
}

fn publish_with(properties: &[u8]) -> Vec<u8> {
    with_properties(0x30, b"\x00\x01t", properties, b"payload")
}

fn expect_connect(packet: Packet<'_>) -> Connect<'_> {
    match packet {
        Packet::Connect(connect) => *connect,
        other => panic!("{other:?} is not a CONNECT"),
    }
}

// 1.5 Data representation

#[test]
fn mqtt_1_5_4_1_strings_are_well_formed_utf8() {
    // A surrogate, an overlong form, a lone continuation byte, a truncated sequence.
    for bad in [&b"\xED\xA0\x80"[..], b"\xC0\x80", b"\x80", b"\xE2\x82"] {
        let len = [0, bad.len() as u8];
        for version in ALL {
            let tail: &[u8] = if version == V5 { b"\0" } else { b"" };
            refused(version, &packet(0x30, &[&len, bad, tail]), Kind::Malformed);
            refused(
                version,
                &packet(0x82, &[b"\0\x01", tail, &len, bad, b"\0"]),
                Kind::Malformed,
            );
            refused(
                version,
                &packet(0xA2, &[b"\0\x01", tail, &len, bad]),
                Kind::Malformed,
            );
        }
        // Client id, user name.
        refused(
            V311,
            &packet(0x10, &[b"\0\x04MQTT\x04\x02\0\x0a", &len, bad]),
            Kind::Malformed,
        );
        refused(
            V311,
            &connect(b"MQTT", 4, 0x82, &[&len[..], bad].concat()),
            Kind::Malformed,
        );
        refused(
            V5,
            &publish_with(&[&[0x03][..], &len, bad].concat()),
            Kind::Malformed,
        );
    }
}

#[test]
fn mqtt_1_5_4_2_strings_have_no_nul() {
    for version in ALL {
        let none: &[u8] = if version == V5 { b"\0" } else { b"" };
        refused(
            version,
            &packet(0x30, &[b"\0\x03a\0b", none]),
            Kind::TopicNameInvalid,
        );
        refused(
            version,
            &packet(0x82, &[b"\0\x01", none, b"\0\x01\0\0"]),
            Kind::Malformed,
        );
        refused(
            version,
            &packet(0xA2, &[b"\0\x01", none, b"\0\x01\0"]),
            Kind::Malformed,
        );
    }
    refused(
        V311,
        &packet(0x10, &[b"\0\x04MQTT\x04\x02\0\x0a\0\x01\0"]),
        Kind::Malformed,
    );
    refused(
        V31,
        &packet(0x10, &[b"\0\x06MQIsdp\x03\x02\0\x0a\0\x01\0"]),
        Kind::Malformed,
    );
    refused(
        V311,
        &connect(b"MQTT", 4, 0x82, b"\0\x01\0"),
        Kind::Malformed,
    );
    refused(V5, &publish_with(b"\x26\0\x01a\0\x01\0"), Kind::Malformed);
}

#[test]
fn mqtt_1_5_4_3_byte_order_mark_is_kept() {
    let packet = packet(0x30, &[b"\0\x04\xEF\xBB\xBFa"]);
    let Packet::Publish(publish) = accepted(V311, &packet) else {
        panic!("not a PUBLISH")
    };
    assert_eq!(publish.topic, "\u{FEFF}a");
}

#[test]
fn mqtt_1_5_5_1_variable_byte_integer_in_its_shortest_form() {
    let limits: [(&[u8], usize); 8] = [
        (&[0x00], 0),
        (&[0x7F], 127),
        (&[0x80, 0x01], 128),
        (&[0xFF, 0x7F], 16_383),
        (&[0x80, 0x80, 0x01], 16_384),
        (&[0xFF, 0xFF, 0x7F], 2_097_151),
        (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
        (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
    ];
    for (bytes, value) in limits {
        let header = fixed_header(&[&[0x30], bytes].concat()).unwrap().unwrap();
        assert_eq!(
            (header.first, header.len, header.remaining),
            (0x30, 1 + bytes.len(), value)
        );
        assert_eq!(emqttd_mqtt::varint_len(value), bytes.len());
    }
    for bad in [
        &[0x80, 0x00][..],
        &[0xFF, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x00],
        &[0xFF, 0xFF, 0xFF, 0xFF],
        &[0x80, 0x80, 0x80, 0x80, 0x01],
    ] {
        let error = fixed_header(&[&[0x30], bad].concat()).unwrap_err();
        assert_eq!(
            (error.kind, error.emq_reason()),
            (Kind::InvalidLength, "invalid_mqtt_frame_len")
        );
        assert_eq!(error.reason(), ReasonCode::MALFORMED_PACKET);
    }
    // The length of properties, and a subscription identifier.
    refused(V5, &packet(0x30, &[b"\0\x01t\x80\0"]), Kind::Malformed);
    refused(
        V5,
        &with_properties(0x82, b"\0\x01", b"\x0B\x81\0", b"\0\x01a\0"),
        Kind::Malformed,
    );
}

#[test]
fn fixed_header_waits_for_more_bytes() {
    for part in [
        &[][..],
        &[0x30],
        &[0x30, 0x80],
        &[0x30, 0xFF, 0xFF],
        &[0x30, 0x80, 0x80, 0x80],
    ] {
        assert_eq!(fixed_header(part), Ok(None), "{part:02x?}");
    }
}

// 2 Control packet format

#[test]
fn mqtt_2_1_3_1_reserved_header_flags() {
    let bodies: [(u8, &[u8]); 12] = [
        (0x10, b"\0\x04MQTT\x05\x02\0\x0a\0\0\x01c"),
        (0x20, b"\0\0\0"),
        (0x40, b"\0\x01"),
        (0x50, b"\0\x01"),
        (0x62, b"\0\x01"),
        (0x70, b"\0\x01"),
        (0x82, b"\0\x01\0\0\x01a\0"),
        (0x90, b"\0\x01\0\0"),
        (0xA2, b"\0\x01\0\0\x01a"),
        (0xB0, b"\0\x01\0\0"),
        (0xC0, b""),
        (0xE0, b""),
    ];
    for (first, body) in bodies {
        accepted(V5, &packet(first, &[body]));
        for flags in (0..16).filter(|flags| *flags != first & 0x0F) {
            refused(V5, &packet(first & 0xF0 | flags, &[body]), Kind::Malformed);
        }
    }
    refused(V5, &packet(0xD1, &[]), Kind::Malformed);
    refused(V5, &packet(0xF1, &[]), Kind::Malformed);
    // With a reason code the slower way is taken.
    refused(V5, &packet(0x60, &[b"\0\x01\x92"]), Kind::Malformed);
}

#[test]
fn v311_mqtt_2_2_2_2_reserved_header_flags() {
    refused(
        V311,
        &packet(0x11, &[b"\0\x04MQTT\x04\x02\0\x0a\0\x01c"]),
        Kind::Malformed,
    );
    for bad in [0x60, 0x61, 0x66, 0x6A, 0x42, 0x52, 0x72] {
        refused(V311, &packet(bad, &[b"\0\x01"]), Kind::Malformed);
    }
    refused(V311, &packet(0x80, &[b"\0\x01\0\x01a\0"]), Kind::Malformed);
    refused(V311, &packet(0xA0, &[b"\0\x01\0\x01a"]), Kind::Malformed);
    refused(V311, &packet(0xC1, &[]), Kind::Malformed);
    refused(V311, &packet(0xE1, &[]), Kind::Malformed);
}

#[test]
fn v31_unused_header_flags_are_disregarded() {
    // 3.1 repeats PUBREL, SUBSCRIBE and UNSUBSCRIBE with DUP, and only calls the other flags unused.
    assert!(
        matches!(accepted(V31, &packet(0x6A, &[b"\0\x07"])), Packet::PubRel(ack) if ack.packet_id == 7)
    );
    accepted(V31, &packet(0x8A, &[b"\0\x01\0\x01a\0"]));
    accepted(V31, &packet(0xAA, &[b"\0\x01\0\x01a"]));
    accepted(V31, &packet(0x11, &[b"\0\x06MQIsdp\x03\x02\0\x0a\0\x01c"]));
}

#[test]
fn packet_types_that_do_not_exist() {
    for version in ALL {
        refused(version, &[0x00, 0], Kind::Malformed);
    }
    refused(V311, &[0xF0, 0], Kind::Malformed);
    refused(V31, &[0xF0, 0], Kind::Malformed);
}

#[test]
fn mqtt_2_2_1_2_no_packet_identifier_with_qos_0() {
    let bytes = packet(0x30, &[b"\0\x01t\0\x01"]);
    let Packet::Publish(publish) = accepted(V311, &bytes) else {
        panic!("not a PUBLISH")
    };
    assert_eq!((publish.packet_id, publish.payload), (0, &b"\0\x01"[..]));
}

#[test]
fn mqtt_2_2_1_3_packet_identifier_is_not_0() {
    for version in ALL {
        let none: &[u8] = if version == V5 { b"\0" } else { b"" };
        refused(
            version,
            &packet(0x32, &[b"\0\x01t\0\0", none]),
            Kind::ProtocolError,
        );
        refused(
            version,
            &packet(0x34, &[b"\0\x01t\0\0", none]),
            Kind::ProtocolError,
        );
        refused(
            version,
            &packet(0x82, &[b"\0\0", none, b"\0\x01a\0"]),
            Kind::ProtocolError,
        );
        refused(
            version,
            &packet(0xA2, &[b"\0\0", none, b"\0\x01a"]),
            Kind::ProtocolError,
        );
        for first in [0x40, 0x50, 0x62, 0x70] {
            refused(version, &packet(first, &[b"\0\0"]), Kind::ProtocolError);
        }
    }
}

#[test]
fn mqtt_2_2_2_1_length_of_properties_is_there_even_if_0() {
    refused(V5, &packet(0x30, &[b"\0\x01t"]), Kind::Malformed);
    refused(V5, &packet(0x82, &[b"\0\x01"]), Kind::Malformed);
    refused(
        V5,
        &packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x0a"]),
        Kind::Malformed,
    );
    // A length beyond the packet.
    refused(V5, &packet(0x30, &[b"\0\x01t\x02\x01"]), Kind::Malformed);
}

#[test]
fn section_2_2_2_2_properties_stand_where_they_may() {
    let values: [(u8, &[u8]); 27] = [
        (0x01, b"\x01"),
        (0x02, b"\0\0\0\x01"),
        (0x03, b"\0\x01a"),
        (0x08, b"\0\x01a"),
        (0x09, b"\0\x01a"),
        (0x0B, b"\x01"),
        (0x11, b"\0\0\0\x01"),
        (0x12, b"\0\x01a"),
        (0x13, b"\0\x01"),
        (0x15, b"\0\x01a"),
        (0x16, b"\0\x01a"),
        (0x17, b"\x01"),
        (0x18, b"\0\0\0\x01"),
        (0x19, b"\x01"),
        (0x1A, b"\0\x01a"),
        (0x1C, b"\0\x01a"),
        (0x1F, b"\0\x01a"),
        (0x21, b"\0\x01"),
        (0x22, b"\0\x01"),
        (0x23, b"\0\x01"),
        (0x24, b"\x01"),
        (0x25, b"\x01"),
        (0x26, b"\0\x01a\0\x01b"),
        (0x27, b"\0\0\0\x01"),
        (0x28, b"\x01"),
        (0x29, b"\x01"),
        (0x2A, b"\x01"),
    ];
    type Place = (
        &'static str,
        u8,
        &'static [u8],
        &'static [u8],
        &'static [u8],
    );
    let places: [Place; 12] = [
        (
            "CONNECT",
            0x10,
            b"\0\x04MQTT\x05\x02\0\x0a",
            b"\0\x01c",
            &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        ),
        (
            "will",
            0x10,
            b"\0\x04MQTT\x05\x06\0\x0a\0\0\x01c",
            b"\0\x01t\0\0",
            &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        ),
        (
            "CONNACK",
            0x20,
            b"\0\0",
            b"",
            &[
                0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
                0x28, 0x29, 0x2A,
            ],
        ),
        (
            "PUBLISH",
            0x30,
            b"\0\x01t",
            b"",
            &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
        ),
        ("PUBACK", 0x40, b"\0\x01\0", b"", &[0x1F, 0x26]),
        ("PUBREC", 0x50, b"\0\x01\0", b"", &[0x1F, 0x26]),
        ("PUBREL", 0x62, b"\0\x01\0", b"", &[0x1F, 0x26]),
        ("SUBSCRIBE", 0x82, b"\0\x01", b"\0\x01a\0", &[0x0B, 0x26]),
        ("SUBACK", 0x90, b"\0\x01", b"\0", &[0x1F, 0x26]),
        ("UNSUBSCRIBE", 0xA2, b"\0\x01", b"\0\x01a", &[0x26]),
        ("UNSUBACK", 0xB0, b"\0\x01", b"\0", &[0x1F, 0x26]),
        ("DISCONNECT", 0xE0, b"\0", b"", &[0x11, 0x1C, 0x1F, 0x26]),
    ];
    for (name, first, head, tail, allowed) in places {
        for (id, value) in values {
            // Authentication data needs a method.
            let method: &[u8] = if id == 0x16 { b"\x15\0\x01m" } else { b"" };
            let properties = [&[id][..], value, method].concat();
            let result = parse(V5, &with_properties(first, head, &properties, tail)).map(drop);
            if allowed.contains(&id) {
                assert_eq!(result, Ok(()), "property {id:#x} in {name}");
            } else {
                assert_eq!(
                    result.unwrap_err().kind,
                    Kind::Malformed,
                    "property {id:#x} in {name}"
                );
            }
            // Cut inside the value.
            let cut = &properties[..properties.len() - 1];
            refused(
                V5,
                &with_properties(first, head, cut, tail),
                Kind::Malformed,
            );
            // Twice.
            let twice = [&properties[..], &properties].concat();
            let result = parse(V5, &with_properties(first, head, &twice, tail)).map(drop);
            let repeatable = id == 0x26 || (id == 0x0B && name == "PUBLISH");
            if allowed.contains(&id) && repeatable {
                assert_eq!(result, Ok(()), "property {id:#x} twice in {name}");
            } else if allowed.contains(&id) {
                assert_eq!(
                    result.unwrap_err().kind,
                    Kind::ProtocolError,
                    "property {id:#x} twice in {name}"
                );
            }
        }
        for unknown in [0x00, 0x04, 0x2B, 0x3F, 0x40, 0x7F, 0x80, 0xFF] {
            refused(
                V5,
                &with_properties(first, head, &[unknown, 0, 0], tail),
                Kind::Malformed,
            );
        }
    }
}

#[test]
fn values_of_properties_that_are_a_protocol_error() {
    for id in [0x17, 0x19] {
        accepted(V5, &connect_with(&[id, 0]));
        refused(V5, &connect_with(&[id, 2]), Kind::ProtocolError);
    }
    refused(V5, &connect_with(b"\x21\0\0"), Kind::ProtocolError); // receive maximum
    refused(V5, &connect_with(b"\x27\0\0\0\0"), Kind::ProtocolError); // maximum packet size
    refused(V5, &connect_with(b"\x16\0\x01a"), Kind::ProtocolError); // authentication data alone
    accepted(V5, &connect_with(b"\x22\0\0")); // topic alias maximum 0 says "none"
    for id in [0x24, 0x25, 0x28, 0x29, 0x2A] {
        refused(
            V5,
            &with_properties(0x20, b"\0\0", &[id, 2], b""),
            Kind::ProtocolError,
        );
    }
    refused(V5, &publish_with(b"\x01\x02"), Kind::ProtocolError); // payload format
    refused(
        V5,
        &with_properties(0x82, b"\0\x01", b"\x0B\0", b"\0\x01a\0"),
        Kind::ProtocolError,
    );
    refused(V5, &publish_with(b"\x0B\0"), Kind::ProtocolError);
}

// 3.1 CONNECT

#[test]
fn mqtt_3_1_2_1_and_2_protocol_name_and_level() {
    for (name, level, version, bridge) in [
        (&b"MQTT"[..], 4, V311, false),
        (b"MQTT", 5, V5, false),
        (b"MQIsdp", 3, V31, false),
        (b"MQTT", 0x84, V311, true),
        (b"MQIsdp", 0x83, V31, true),
    ] {
        let bytes = connect(name, level, 2, b"");
        let connect = expect_connect(accepted(V5, &bytes));
        assert_eq!((connect.version, connect.bridge), (version, bridge));
        assert_eq!(
            (connect.client_id, connect.keep_alive, connect.clean_start),
            ("c", 10, true)
        );
    }
    for (name, level) in [
        (&b"MQTT"[..], 3),
        (b"MQIsdp", 4),
        (b"mqtt", 4),
        (b"MQTTX", 4),
        (b"", 4),
    ] {
        refused(V311, &connect(name, level, 2, b""), Kind::UnknownProtocol);
    }
    for (name, level) in [
        (&b"MQTT"[..], 0),
        (b"MQTT", 6),
        (b"MQTT", 0x85),
        (b"MQIsdp", 2),
        (b"MQTT", 0xFF),
    ] {
        refused(
            V311,
            &connect(name, level, 2, b""),
            Kind::UnsupportedVersion,
        );
    }
    let error = parse(V5, &connect(b"MQTT", 6, 2, b"")).unwrap_err();
    assert_eq!(error.reason(), ReasonCode(0x84));
    assert_eq!(error.emq_reason(), "protocol_header_corrupt");
}

#[test]
fn mqtt_3_1_2_3_reserved_connect_flag() {
    refused(V311, &connect(b"MQTT", 4, 3, b""), Kind::Malformed);
    refused(V5, &connect(b"MQTT", 5, 3, b""), Kind::Malformed);
    accepted(V31, &connect(b"MQIsdp", 3, 3, b""));
}

#[test]
fn mqtt_3_1_2_11_to_13_will_flags_without_a_will() {
    for flags in [0x0A, 0x12, 0x1A, 0x22] {
        refused(V311, &connect(b"MQTT", 4, flags, b""), Kind::Malformed);
        refused(V5, &connect(b"MQTT", 5, flags, b""), Kind::Malformed);
        let bytes = connect(b"MQIsdp", 3, flags, b"");
        assert_eq!(expect_connect(accepted(V31, &bytes)).will, None);
    }
}

#[test]
fn mqtt_3_1_2_12_will_qos_is_not_3() {
    let bytes = connect(b"MQTT", 4, 0x36, b"\0\x01t\0\x01p");
    let will = expect_connect(accepted(V311, &bytes)).will.unwrap();
    assert_eq!(
        (will.qos, will.retain, will.topic, will.payload),
        (QoS::ExactlyOnce, true, "t", &b"p"[..])
    );
    refused(
        V311,
        &connect(b"MQTT", 4, 0x1E, b"\0\x01t\0\x01p"),
        Kind::Malformed,
    );
    refused(
        V31,
        &connect(b"MQIsdp", 3, 0x1E, b"\0\x01t\0\x01p"),
        Kind::Malformed,
    );
    refused(
        V5,
        &connect(b"MQTT", 5, 0x1E, b"\0\0\x01t\0\x01p"),
        Kind::Malformed,
    );
}

#[test]
fn mqtt_4_7_0_1_will_topic_is_a_topic_name() {
    for topic in [&b"\0\0"[..], b"\0\x01+", b"\0\x03a/#", b"\0\x01\0"] {
        refused(
            V311,
            &connect(b"MQTT", 4, 6, &[topic, b"\0\0"].concat()),
            Kind::TopicNameInvalid,
        );
    }
    refused(
        V311,
        &connect(b"MQTT", 4, 6, b"\0\x01\xFF\0\0"),
        Kind::Malformed,
    );
}

#[test]
fn v311_mqtt_3_1_2_22_password_without_user_name() {
    refused(
        V311,
        &connect(b"MQTT", 4, 0x42, b"\0\x01p"),
        Kind::Malformed,
    );
    refused(
        V31,
        &connect(b"MQIsdp", 3, 0x42, b"\0\x01p"),
        Kind::Malformed,
    );
    let bytes = connect(b"MQTT", 5, 0x42, b"\0\x01p");
    let connect = expect_connect(accepted(V5, &bytes));
    assert_eq!(
        (connect.username, connect.password),
        (None, Some(&b"p"[..]))
    );
}

#[test]
fn connect_payload_is_what_the_flags_say() {
    let bytes = connect(b"MQTT", 4, 0xC2, b"\0\x01u\0\x02\xFF\0");
    let connect_packet = expect_connect(accepted(V311, &bytes));
    assert_eq!(
        (connect_packet.username, connect_packet.password),
        (Some("u"), Some(&b"\xFF\0"[..]))
    );
    // Truncated, and with something behind.
    refused(
        V311,
        &connect(b"MQTT", 4, 0xC2, b"\0\x01u"),
        Kind::Malformed,
    );
    refused(
        V311,
        &connect(b"MQTT", 4, 0x82, b"\0\x02u"),
        Kind::Malformed,
    );
    refused(V311, &connect(b"MQTT", 4, 0x02, b"\0"), Kind::Malformed);
    refused(
        V311,
        &connect(b"MQTT", 4, 0x06, b"\0\x01t"),
        Kind::Malformed,
    );
    refused(V5, &connect(b"MQTT", 5, 0x02, b"\0"), Kind::Malformed);
}

#[test]
fn v31_user_name_and_password_may_be_missing_in_spite_of_their_flags() {
    let bytes = connect(b"MQIsdp", 3, 0xC2, b"");
    let connect_packet = expect_connect(accepted(V31, &bytes));
    assert_eq!(
        (connect_packet.username, connect_packet.password),
        (None, None)
    );
    let bytes = connect(b"MQIsdp", 3, 0xC2, b"\0\x01u");
    let connect_packet = expect_connect(accepted(V31, &bytes));
    assert_eq!(
        (connect_packet.username, connect_packet.password),
        (Some("u"), None)
    );
}

// 3.2 CONNACK

#[test]
fn mqtt_3_2_2_1_reserved_connack_flags() {
    assert!(
        matches!(accepted(V311, b"\x20\x02\x01\x00"), Packet::ConnAck(connack) if connack.session_present)
    );
    refused(V311, b"\x20\x02\x02\x00", Kind::Malformed);
    refused(V5, b"\x20\x03\x80\x00\x00", Kind::Malformed);
}

#[test]
fn mqtt_3_2_2_6_no_session_with_a_refusal() {
    refused(V311, b"\x20\x02\x01\x05", Kind::ProtocolError);
    refused(V5, b"\x20\x03\x01\x87\x00", Kind::ProtocolError);
}

#[test]
fn mqtt_3_2_2_8_codes_of_connack() {
    accepted(V311, b"\x20\x02\x00\x05");
    refused(V311, b"\x20\x02\x00\x06", Kind::ProtocolError);
    accepted(V5, b"\x20\x03\x00\x87\x00");
    refused(V5, b"\x20\x03\x00\x05\x00", Kind::ProtocolError);
}

// 3.3 PUBLISH

#[test]
fn mqtt_3_3_1_2_no_dup_with_qos_0() {
    refused(V311, &packet(0x38, &[b"\0\x01t"]), Kind::Malformed);
    refused(V5, &packet(0x38, &[b"\0\x01t\0"]), Kind::Malformed);
    let bytes = packet(0x38, &[b"\0\x01t"]);
    assert!(matches!(accepted(V31, &bytes), Packet::Publish(publish) if !publish.dup));
}

#[test]
fn mqtt_3_3_1_4_qos_is_not_3() {
    for version in ALL {
        refused(
            version,
            &packet(0x36, &[b"\0\x01t\0\x01\0"]),
            Kind::Malformed,
        );
    }
}

#[test]
fn publish_fields() {
    let bytes = packet(0x3D, &[b"\0\x03a/b\x12\x34\0payload"]);
    let Packet::Publish(publish) = accepted(V5, &bytes) else {
        panic!("not a PUBLISH")
    };
    assert!(publish.dup && publish.retain);
    assert_eq!((publish.qos, publish.packet_id), (QoS::ExactlyOnce, 0x1234));
    assert_eq!((publish.topic, publish.payload), ("a/b", &b"payload"[..]));
    // No payload is a payload.
    let bytes = packet(0x30, &[b"\0\x01t"]);
    assert!(
        matches!(accepted(V311, &bytes), Packet::Publish(publish) if publish.payload.is_empty())
    );
}

#[test]
fn mqtt_3_3_2_2_topic_name_without_wildcards() {
    // At every place of a word of eight bytes, and in the overlapping tail.
    for len in 1..40 {
        for at in 0..len {
            for bad in *b"+#\0" {
                let mut topic = vec![b'a'; len];
                topic[at] = bad;
                let bytes = packet(0x30, &[&[0, len as u8], &topic]);
                refused(V311, &bytes, Kind::TopicNameInvalid);
            }
        }
    }
    let error = parse(V5, &packet(0x30, &[b"\0\x03a/+\0"])).unwrap_err();
    assert_eq!(
        (error.reason(), error.emq_reason()),
        (ReasonCode::TOPIC_NAME_INVALID, "badtopic")
    );
    // Neighbours of the three bytes, and letters whose UTF-8 has them with the high bit set.
    for good in [
        "!\"$*,-\u{1}",
        "ab*\"*,$d",
        "\u{AB}\u{A3}x\u{80}",
        "a/\u{20AC}/\u{1F600}",
    ] {
        let bytes = packet(0x30, &[&[0, good.len() as u8], good.as_bytes()]);
        assert!(
            matches!(accepted(V311, &bytes), Packet::Publish(publish) if publish.topic == good)
        );
    }
}

#[test]
fn mqtt_4_7_3_1_empty_topic_only_with_an_alias() {
    refused(V31, &packet(0x30, &[b"\0\0"]), Kind::TopicNameInvalid);
    refused(V311, &packet(0x30, &[b"\0\0"]), Kind::TopicNameInvalid);
    refused(V5, &packet(0x30, &[b"\0\0\0"]), Kind::ProtocolError);
    refused(
        V5,
        &with_properties(0x30, b"\0\0", b"\x01\x01", b""),
        Kind::ProtocolError,
    );
    let bytes = with_properties(0x30, b"\0\0", b"\x23\0\x05", b"");
    let Packet::Publish(publish) = accepted(V5, &bytes) else {
        panic!("not a PUBLISH")
    };
    assert_eq!(
        (publish.topic, publish.properties.topic_alias()),
        ("", Some(5))
    );
}

#[test]
fn mqtt_3_3_2_8_topic_alias_is_not_0() {
    refused(V5, &publish_with(b"\x23\0\0"), Kind::TopicAliasInvalid);
    let error = parse(V5, &publish_with(b"\x23\0\0")).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::TOPIC_ALIAS_INVALID);
}

#[test]
fn mqtt_3_3_2_14_response_topic_without_wildcards() {
    accepted(V5, &publish_with(b"\x08\0\x03a/b"));
    for bad in [&b"\x08\0\x03a/+"[..], b"\x08\0\x01#", b"\x08\0\0"] {
        refused(V5, &publish_with(bad), Kind::ProtocolError);
    }
}

#[test]
fn mqtt_3_3_4_6_no_subscription_identifier_from_a_client() {
    let bytes = publish_with(b"\x0B\x05\x0B\x80\x01");
    let error = decode_publish(V5, 0x30, &bytes[2..]).unwrap_err();
    assert_eq!(error.kind, Kind::ProtocolError);
    let Packet::Publish(publish) = accepted(V5, &bytes) else {
        panic!("not a PUBLISH")
    };
    assert_eq!(publish.properties.subscription_id(), Some(5));
    assert_eq!(
        publish.properties.subscription_ids().collect::<Vec<_>>(),
        [5, 128]
    );
}

#[test]
fn mqtt_3_3_2_18_user_properties_keep_their_order() {
    let raw = b"\x26\0\x01b\0\x011\x02\0\0\0\x09\x26\0\x01a\0\x012\x23\0\x01\x03\0\x02tt\x26\0\x01b\0\x013";
    let bytes = publish_with(raw);
    let publish = decode_publish(V5, 0x30, &bytes[2..]).unwrap();
    let pairs: Vec<_> = publish.properties.user_properties().collect();
    assert_eq!(pairs, [("b", "1"), ("a", "2"), ("b", "3")]);
    // Expiry and alias are not passed on.
    let mut forwarded = vec![b'x'];
    publish.properties.forwardable(&mut forwarded);
    assert_eq!(
        forwarded,
        b"x\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x03\0\x02tt\x26\0\x01b\0\x013"
    );
    assert_eq!(publish.properties.message_expiry(), Some(9));
}

// 3.4 to 3.7 acknowledgements

#[test]
fn short_forms_of_acknowledgements() {
    for (first, error) in [(0x40, 0x87), (0x50, 0x97), (0x62, 0x92), (0x70, 0x92)] {
        let bytes = packet(first, &[b"\x12\x34"]);
        for version in ALL {
            let (Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack)) = accepted(version, &bytes)
            else {
                panic!("not an acknowledgement")
            };
            assert_eq!((ack.packet_id, ack.reason), (0x1234, ReasonCode::SUCCESS));
        }
        // Reason alone; with no properties; with a reason string.
        for (tail, text) in [
            (&[error][..], None),
            (&[error, 0], None),
            (&[error, 4, 0x1F, 0, 1, b'x'], Some("x")),
        ] {
            let bytes = packet(first, &[b"\0\x01", tail]);
            let (Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack)) = accepted(V5, &bytes)
            else {
                panic!("not an acknowledgement")
            };
            assert_eq!(
                (ack.reason.0, ack.properties.reason_string()),
                (error, text)
            );
            refused(V311, &bytes, Kind::Malformed);
        }
        refused(
            V5,
            &packet(first, &[b"\0\x01", &[error, 0, 0]]),
            Kind::Malformed,
        );
        refused(V5, &packet(first, &[b"\0"]), Kind::Malformed);
        refused(V311, &packet(first, &[]), Kind::Malformed);
    }
}

#[test]
fn mqtt_3_4_2_1_reason_codes_of_acknowledgements() {
    for code in 0..=255 {
        let full = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].contains(&code);
        let short = [0, 0x92].contains(&code);
        for (first, known) in [(0x40, full), (0x50, full), (0x62, short), (0x70, short)] {
            let bytes = packet(first, &[b"\0\x01", &[code]]);
            if known {
                accepted(V5, &bytes);
            } else {
                refused(V5, &bytes, Kind::ProtocolError);
            }
        }
    }
}

// 3.8 to 3.11 subscribing

#[test]
fn mqtt_3_8_3_2_at_least_one_filter() {
    refused(V5, &packet(0x82, &[b"\0\x01\0"]), Kind::EmptyFilters);
    refused(V5, &packet(0xA2, &[b"\0\x01\0"]), Kind::EmptyFilters);
    for version in [V31, V311] {
        refused(version, &packet(0x82, &[b"\0\x01"]), Kind::EmptyFilters);
        refused(version, &packet(0xA2, &[b"\0\x01"]), Kind::EmptyFilters);
    }
    let error = parse(V311, &packet(0x82, &[b"\0\x01"])).unwrap_err();
    assert_eq!(
        (error.emq_reason(), error.reason()),
        ("empty_topics", ReasonCode::PROTOCOL_ERROR)
    );
}

#[test]
fn subscribe_fields() {
    let bytes = packet(
        0x82,
        &[b"\0\x07\x02\x0B\x09\0\x01a\x2D\0\x03b/#\x12\0\0\x00"],
    );
    let Packet::Subscribe(subscribe) = accepted(V5, &bytes) else {
        panic!("not a SUBSCRIBE")
    };
    assert_eq!(
        (subscribe.packet_id, subscribe.properties.subscription_id()),
        (7, Some(9))
    );
    let filters: Vec<_> = subscribe.filters().collect();
    let first = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
    };
    let second = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        retain_handling: 1,
        ..Default::default()
    };
    // The empty filter is for the broker to refuse.
    assert_eq!(
        filters,
        [
            ("a", first),
            ("b/#", second),
            ("", SubscriptionOptions::default())
        ]
    );
}

#[test]
fn mqtt_3_8_3_5_reserved_bits_of_the_options() {
    for byte in 0..=255_u8 {
        let v5 = packet(0x82, &[b"\0\x01\0\0\x01a", &[byte]]);
        let v3 = packet(0x82, &[b"\0\x01\0\x01a", &[byte]]);
        if byte & 3 == 3 {
            for (version, bytes) in [(V31, &v3), (V311, &v3), (V5, &v5)] {
                refused(version, bytes, Kind::SubscriptionQos);
            }
            continue;
        }
        let Packet::Subscribe(subscribe) = accepted(V31, &v3) else {
            panic!("not a SUBSCRIBE")
        };
        let only_qos = SubscriptionOptions {
            qos: QoS::try_from(byte & 3).unwrap(),
            ..Default::default()
        };
        assert_eq!(subscribe.filters().collect::<Vec<_>>(), [("a", only_qos)]);
        if byte > 2 {
            refused(V311, &v3, Kind::Malformed);
        }
        if byte & 0xC0 != 0 {
            refused(V5, &v5, Kind::Malformed);
        } else if byte & 0x30 == 0x30 {
            refused(V5, &v5, Kind::ProtocolError);
        } else {
            let Packet::Subscribe(subscribe) = accepted(V5, &v5) else {
                panic!("not a SUBSCRIBE")
            };
            assert_eq!(subscribe.filters().next().unwrap().1.to_byte(), byte);
        }
    }
}

#[test]
fn mqtt_3_8_3_4_no_local_with_a_shared_subscription() {
    refused(
        V5,
        &packet(0x82, &[b"\0\x01\0\0\x0a$share/g/a\x04"]),
        Kind::ProtocolError,
    );
    accepted(V5, &packet(0x82, &[b"\0\x01\0\0\x0a$share/g/a\x01"]));
    accepted(V5, &packet(0x82, &[b"\0\x01\0\0\x06$share\x04"]));
}

#[test]
fn truncated_filters() {
    for version in ALL {
        let none: &[u8] = if version == V5 { b"\0" } else { b"" };
        refused(
            version,
            &packet(0x82, &[b"\0\x01", none, b"\0\x01a"]),
            Kind::Malformed,
        );
        refused(
            version,
            &packet(0x82, &[b"\0\x01", none, b"\0\x01a\0\0"]),
            Kind::Malformed,
        );
        refused(
            version,
            &packet(0xA2, &[b"\0\x01", none, b"\0\x01a\0\x02b"]),
            Kind::Malformed,
        );
    }
}

#[test]
fn unsubscribe_fields() {
    let bytes = packet(0xA2, &[b"\0\x07\0\x01a\0\x03b/#"]);
    let Packet::Unsubscribe(unsubscribe) = accepted(V311, &bytes) else {
        panic!("not an UNSUBSCRIBE")
    };
    assert_eq!(unsubscribe.filters().collect::<Vec<_>>(), ["a", "b/#"]);
}

#[test]
fn mqtt_3_9_3_2_codes_of_suback_and_unsuback() {
    for code in 0..=255_u8 {
        let v311_code = matches!(code, 0..=2 | 0x80);
        assert_eq!(
            parse(V311, &packet(0x90, &[b"\0\x01", &[code]])).is_ok(),
            v311_code,
            "{code:#x}"
        );
        let known = [
            0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ]
        .contains(&code);
        assert_eq!(
            parse(V5, &packet(0x90, &[b"\0\x01\0", &[code]])).is_ok(),
            known,
            "{code:#x}"
        );
        let known = [0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91].contains(&code);
        assert_eq!(
            parse(V5, &packet(0xB0, &[b"\0\x01\0", &[code]])).is_ok(),
            known,
            "{code:#x}"
        );
    }
    refused(V5, &packet(0x90, &[b"\0\x01\0"]), Kind::Malformed);
    refused(V5, &packet(0xB0, &[b"\0\x01\0"]), Kind::Malformed);
    refused(V311, &packet(0xB0, &[b"\0\x01\0"]), Kind::Malformed);
}

// 3.12 to 3.15

#[test]
fn pings_have_no_body() {
    for version in ALL {
        assert_eq!(accepted(version, &[0xC0, 0]), Packet::PingReq);
        assert_eq!(accepted(version, &[0xD0, 0]), Packet::PingResp);
        refused(version, &[0xC0, 1, 0], Kind::Malformed);
        refused(version, &[0xD0, 1, 0], Kind::Malformed);
    }
}

#[test]
fn mqtt_3_14_2_1_disconnect_forms_and_codes() {
    let reason = |bytes: &[u8]| match accepted(V5, bytes) {
        Packet::Disconnect(disconnect) => {
            (disconnect.reason.0, disconnect.properties.session_expiry())
        }
        other => panic!("{other:?} is not a DISCONNECT"),
    };
    assert_eq!(reason(&[0xE0, 0]), (0, None));
    assert_eq!(reason(&[0xE0, 1, 4]), (4, None));
    assert_eq!(reason(&[0xE0, 2, 4, 0]), (4, None));
    assert_eq!(reason(b"\xE0\x07\x00\x05\x11\0\0\0\x09"), (0, Some(9)));
    refused(V5, &[0xE0, 3, 4, 0, 0], Kind::Malformed);
    let known: Vec<u8> = (0..=255)
        .filter(|code| parse(V5, &[0xE0, 1, *code]).is_ok())
        .collect();
    #[rustfmt::skip]
    assert_eq!(known, [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x84, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
        0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    ]);
    for version in [V31, V311] {
        accepted(version, &[0xE0, 0]);
        refused(version, &[0xE0, 1, 0], Kind::Malformed);
    }
}

#[test]
fn mqtt_3_15_2_1_auth_forms_and_codes() {
    assert!(
        matches!(accepted(V5, &[0xF0, 0]), Packet::Auth(auth) if auth.reason == ReasonCode::SUCCESS)
    );
    let bytes = with_properties(0xF0, &[0x18], b"\x15\0\x01m\x16\0\x02\0\xFF", b"");
    let Packet::Auth(auth) = accepted(V5, &bytes) else {
        panic!("not an AUTH")
    };
    assert_eq!(auth.reason, ReasonCode::CONTINUE_AUTHENTICATION);
    assert_eq!(auth.properties.auth_method(), Some("m"));
    assert_eq!(auth.properties.auth_data(), Some(&b"\0\xFF"[..]));
    refused(V5, &[0xF0, 1, 0x18], Kind::Malformed);
    refused(V5, &[0xF0, 2, 0x18, 0], Kind::ProtocolError);
    refused(
        V5,
        &with_properties(0xF0, &[0x04], b"\x15\0\x01m", b""),
        Kind::ProtocolError,
    );
}

#[test]
fn reason_codes_have_distinct_names() {
    let names: Vec<_> = (0..=255)
        .map(|code| ReasonCode(code).name())
        .filter(|name| *name != "unknown")
        .collect();
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((names.len(), distinct.len()), (43, 43));
}

#[test]
fn properties_of_any_origin_are_read_up_to_the_first_error() {
    let mut raw = Vec::new();
    Property::ReceiveMaximum(10).encode(&mut raw);
    raw.extend(b"\x26\0\x01a");
    let properties = Properties::new(&raw);
    assert_eq!(properties.receive_maximum(), Some(10));
    assert_eq!(properties.iter().count(), 1);
    assert_eq!(properties.auth_method(), None);
}
