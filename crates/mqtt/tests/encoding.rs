//! The bytes that the encoders write, one packet of each form.
#![allow(clippy::unwrap_used)]

use emqttd_mqtt::{
    AckKind, ConnAckOut, ConnAckProps, Connect, Properties, Property, PublishHead, QoS, ReasonCode,
    SubscriptionOptions, Version, Will, encode_ack, encode_auth, encode_connack, encode_connect,
    encode_disconnect, encode_pingreq, encode_pingresp, encode_publish_head, encode_suback,
    encode_subscribe, encode_unsuback, encode_unsubscribe, publish_len,
};

const V31: Version = Version::V31;
const V311: Version = Version::V311;
const V5: Version = Version::V5;

/// What `encode` appends; what was there before must stay.
fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out);
    assert!(out.starts_with(b"before"));
    out.split_off(6)
}

fn publish(version: Version, head: &PublishHead<'_>) -> Vec<u8> {
    let bytes = bytes(|out| encode_publish_head(out, version, head));
    assert_eq!(bytes.len() + head.payload_len, publish_len(version, head));
    bytes
}

#[test]
fn publish_of_each_version() {
    let head = PublishHead {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "a/b",
        packet_id: 0x1234,
        properties: b"\x01\x01",
        message_expiry: Some(7),
        topic_alias: Some(5),
        subscription_ids: &[1, 300],
        payload_len: 4,
    };
    for version in [V31, V311] {
        assert_eq!(publish(version, &head), b"\x3B\x0B\0\x03a/b\x12\x34");
    }
    assert_eq!(
        publish(V5, &head),
        b"\x3B\x1B\0\x03a/b\x12\x34\x0F\x02\0\0\0\x07\x23\0\x05\x0B\x01\x0B\xAC\x02\x01\x01"
    );
}

#[test]
fn mqtt_3_3_1_2_and_2_2_1_2_qos_0_has_neither_dup_nor_packet_identifier() {
    let head = PublishHead {
        dup: true,
        topic: "t",
        packet_id: 9,
        ..PublishHead::default()
    };
    assert_eq!(publish(V311, &head), b"\x30\x03\0\x01t");
    assert_eq!(publish(V5, &head), b"\x30\x04\0\x01t\0");
}

#[test]
fn publish_lengths_at_the_limits_of_the_variable_byte_integer() {
    for (payload_len, length) in [
        (124, &[127][..]),
        (125, &[0x80, 1]),
        (16_380, &[0xFF, 0x7F]),
        (16_381, &[0x80, 0x80, 1]),
        (2_097_148, &[0xFF, 0xFF, 0x7F]),
        (2_097_149, &[0x80, 0x80, 0x80, 1]),
        (268_435_452, &[0xFF, 0xFF, 0xFF, 0x7F]),
    ] {
        let head = PublishHead {
            topic: "t",
            payload_len,
            ..PublishHead::default()
        };
        assert_eq!(publish(V311, &head), [&[0x30], length, b"\0\x01t"].concat());
    }
}

#[test]
fn acknowledgements_in_their_shortest_form() {
    let ack = |version, kind, reason, text| {
        bytes(|out| encode_ack(out, version, kind, 0x0102, reason, text))
    };
    let kinds = [
        (AckKind::PubAck, 0x40),
        (AckKind::PubRec, 0x50),
        (AckKind::PubRel, 0x62),
        (AckKind::PubComp, 0x70),
    ];
    for (kind, first) in kinds {
        assert_eq!(
            ack(V311, kind, ReasonCode(0x87), Some("no")),
            [first, 2, 1, 2]
        );
        assert_eq!(ack(V5, kind, ReasonCode::SUCCESS, None), [first, 2, 1, 2]);
        assert_eq!(
            ack(V5, kind, ReasonCode(0x92), None),
            [first, 3, 1, 2, 0x92]
        );
        assert_eq!(
            ack(V5, kind, ReasonCode(0x92), Some("no")),
            [first, 9, 1, 2, 0x92, 5, 0x1F, 0, 2, b'n', b'o']
        );
        assert_eq!(
            ack(V5, kind, ReasonCode::SUCCESS, Some("")),
            [first, 7, 1, 2, 0, 3, 0x1F, 0, 0]
        );
    }
}

#[test]
fn connack_of_each_version() {
    let mut connack = ConnAckOut {
        session_present: true,
        ..ConnAckOut::default()
    };
    assert_eq!(
        bytes(|out| encode_connack(out, V311, &connack)),
        b"\x20\x02\x01\x00"
    );
    // 3.1 knows no session present.
    assert_eq!(
        bytes(|out| encode_connack(out, V31, &connack)),
        b"\x20\x02\x00\x00"
    );
    connack.props = ConnAckProps {
        session_expiry: Some(1),
        receive_maximum: Some(2),
        maximum_qos: Some(1),
        retain_available: Some(false),
        maximum_packet_size: Some(3),
        assigned_client_id: Some("c"),
        topic_alias_maximum: Some(4),
        reason_string: Some("r"),
        user_properties: &[("k", "v")],
        wildcard_subscription_available: Some(true),
        subscription_ids_available: Some(false),
        shared_subscription_available: Some(true),
        server_keep_alive: Some(5),
        response_information: Some("i"),
        server_reference: Some("s"),
        auth_method: Some("m"),
        auth_data: Some(b"d"),
    };
    let bytes = bytes(|out| encode_connack(out, V5, &connack));
    let emqttd_mqtt::Packet::ConnAck(decoded) = emqttd_mqtt::decode(V5, 0x20, &bytes[2..]).unwrap()
    else {
        panic!("not a CONNACK")
    };
    assert!(decoded.session_present);
    let properties = decoded.properties;
    assert_eq!(properties.session_expiry(), Some(1));
    assert_eq!(properties.receive_maximum(), Some(2));
    assert_eq!(properties.maximum_qos(), Some(1));
    assert_eq!(properties.retain_available(), Some(false));
    assert_eq!(properties.maximum_packet_size(), Some(3));
    assert_eq!(properties.assigned_client_id(), Some("c"));
    assert_eq!(properties.topic_alias_maximum(), Some(4));
    assert_eq!(properties.reason_string(), Some("r"));
    assert_eq!(
        properties.user_properties().collect::<Vec<_>>(),
        [("k", "v")]
    );
    assert_eq!(properties.wildcard_subscription_available(), Some(true));
    assert_eq!(properties.subscription_ids_available(), Some(false));
    assert_eq!(properties.shared_subscription_available(), Some(true));
    assert_eq!(properties.server_keep_alive(), Some(5));
    assert_eq!(properties.response_information(), Some("i"));
    assert_eq!(properties.server_reference(), Some("s"));
    assert_eq!(properties.auth_method(), Some("m"));
    assert_eq!(properties.auth_data(), Some(&b"d"[..]));
    assert_eq!(properties.iter().count(), 17);
}

#[test]
fn mqtt_3_2_2_6_no_session_present_with_a_refusal() {
    let connack = ConnAckOut {
        session_present: true,
        code: 0x87,
        ..ConnAckOut::default()
    };
    assert_eq!(
        bytes(|out| encode_connack(out, V5, &connack)),
        b"\x20\x03\x00\x87\x00"
    );
}

#[test]
fn suback_and_unsuback_of_each_version() {
    let codes = [0, 1, 2, 0x87];
    assert_eq!(
        bytes(|out| encode_suback(out, V311, 7, &codes, Some("x"))),
        b"\x90\x06\0\x07\0\x01\x02\x80"
    );
    assert_eq!(
        bytes(|out| encode_suback(out, V5, 7, &codes, None)),
        b"\x90\x07\0\x07\0\0\x01\x02\x87"
    );
    assert_eq!(
        bytes(|out| encode_suback(out, V5, 7, &[1], Some("x"))),
        b"\x90\x08\0\x07\x04\x1F\0\x01x\x01"
    );
    assert_eq!(
        bytes(|out| encode_unsuback(out, V311, 7, &[0x11], Some("x"))),
        b"\xB0\x02\0\x07"
    );
    assert_eq!(
        bytes(|out| encode_unsuback(out, V5, 7, &[0x11], None)),
        b"\xB0\x04\0\x07\0\x11"
    );
}

#[test]
fn long_packets_have_a_long_length() {
    let codes = vec![1; 20_000];
    let suback = bytes(|out| encode_suback(out, V311, 7, &codes, None));
    assert_eq!(suback[..6], [0x90, 0xA2, 0x9C, 0x01, 0, 7]);
    assert_eq!(suback.len(), 20_006);
    let text = "x".repeat(200);
    let suback = bytes(|out| encode_suback(out, V5, 7, &[1], Some(&text)));
    assert_eq!(
        suback[..10],
        [0x90, 0xD0, 0x01, 0, 7, 0xCB, 0x01, 0x1F, 0, 200]
    );
    assert_eq!(suback.len(), 3 + 208);
}

#[test]
fn texts_that_are_too_long_are_cut_at_a_character() {
    let text = "\u{20AC}".repeat(30_000);
    let mut out = Vec::new();
    Property::ReasonString(&text).encode(&mut out);
    assert_eq!(Properties::new(&out).reason_string().unwrap().len(), 65_535);
    let text = format!("x{text}");
    out.clear();
    Property::ReasonString(&text).encode(&mut out);
    assert_eq!(Properties::new(&out).reason_string().unwrap().len(), 65_533);
}

#[test]
fn pings_and_disconnects() {
    assert_eq!(bytes(encode_pingreq), [0xC0, 0]);
    assert_eq!(bytes(encode_pingresp), [0xD0, 0]);
    let disconnect = |version, reason, expiry, text, reference| {
        bytes(|out| encode_disconnect(out, version, ReasonCode(reason), expiry, text, reference))
    };
    assert_eq!(disconnect(V311, 0x8E, Some(1), Some("x"), None), [0xE0, 0]);
    assert_eq!(disconnect(V5, 0, None, None, None), [0xE0, 0]);
    assert_eq!(disconnect(V5, 0x8E, None, None, None), [0xE0, 1, 0x8E]);
    assert_eq!(
        disconnect(V5, 0, Some(1), None, None),
        b"\xE0\x07\0\x05\x11\0\0\0\x01"
    );
    assert_eq!(
        disconnect(V5, 0x9C, None, Some("x"), Some("s")),
        b"\xE0\x0A\x9C\x08\x1F\0\x01x\x1C\0\x01s"
    );
}

#[test]
fn auth_forms() {
    let auth = |reason, method, data| {
        bytes(|out| encode_auth(out, ReasonCode(reason), method, data, None))
    };
    assert_eq!(auth(0, None, None), [0xF0, 0]);
    assert_eq!(
        auth(0x18, Some("m"), Some(&b"\xFF"[..])),
        b"\xF0\x0A\x18\x08\x15\0\x01m\x16\0\x01\xFF"
    );
}

#[test]
fn connect_of_each_version() {
    let mut raw = Vec::new();
    Property::ReceiveMaximum(9).encode(&mut raw);
    let mut connect = Connect {
        version: V5,
        bridge: true,
        clean_start: true,
        keep_alive: 60,
        client_id: "c",
        will: Some(Will {
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: "w",
            payload: b"p",
            properties: Properties::new(b"\x18\0\0\0\x05"),
        }),
        username: Some("u"),
        password: Some(b"\xFF"),
        properties: Properties::new(&raw),
    };
    assert_eq!(
        bytes(|out| encode_connect(out, &connect)),
        b"\x10\x23\0\x04MQTT\x05\xF6\0\x3C\x03\x21\0\x09\0\x01c\x05\x18\0\0\0\x05\0\x01w\0\x01p\0\x01u\0\x01\xFF"
    );
    connect.version = V311;
    assert_eq!(
        bytes(|out| encode_connect(out, &connect)),
        b"\x10\x19\0\x04MQTT\x84\xF6\0\x3C\0\x01c\0\x01w\0\x01p\0\x01u\0\x01\xFF"
    );
    connect.version = V31;
    connect.bridge = false;
    assert_eq!(
        bytes(|out| encode_connect(out, &connect)),
        b"\x10\x1B\0\x06MQIsdp\x03\xF6\0\x3C\0\x01c\0\x01w\0\x01p\0\x01u\0\x01\xFF"
    );
}

#[test]
fn subscribe_and_unsubscribe() {
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        ..Default::default()
    };
    let filters = [("a", options), ("b", SubscriptionOptions::default())];
    let id = Properties::new(b"\x0B\x05");
    assert_eq!(
        bytes(|out| encode_subscribe(out, V5, 7, id, &filters)),
        b"\x82\x0D\0\x07\x02\x0B\x05\0\x01a\x05\0\x01b\0"
    );
    assert_eq!(
        bytes(|out| encode_subscribe(out, V311, 7, id, &filters)),
        b"\x82\x0A\0\x07\0\x01a\x01\0\x01b\0"
    );
    let none = Properties::EMPTY;
    assert_eq!(
        bytes(|out| encode_unsubscribe(out, V5, 7, none, &["a"])),
        b"\xA2\x06\0\x07\0\0\x01a"
    );
    assert_eq!(
        bytes(|out| encode_unsubscribe(out, V311, 7, none, &["a"])),
        b"\xA2\x05\0\x07\0\x01a"
    );
}
