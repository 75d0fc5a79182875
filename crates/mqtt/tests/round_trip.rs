//! Random packets through encoder and decoder; random bytes through the decoder.
#![allow(clippy::unwrap_used)]

use emqttd_mqtt::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Properties, Property, Publish,
    PublishHead, QoS, ReasonCode, SubAck, SubscriptionOptions, UnsubAck, Version, Will, decode,
    decode_publish, encode, encode_publish_head, encode_subscribe, encode_unsubscribe,
    fixed_header, publish_len, topic,
};
use proptest::prelude::*;
use proptest::sample::select;

fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V31, Version::V311, Version::V5])
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\u{20AC}\u{1F600}/ ]{0,20}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z\u{20AC}\u{1F600}/ $]{1,40}"
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

/// Valid properties for packets that may have those of `ids`, with some user properties among them.
fn properties(ids: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let numbers = (1..=u16::MAX, 1..=u32::MAX, 1..268_435_456_u32, 0..2_u8);
    let user = prop::collection::vec((text(), text()), 0..4);
    let chosen = prop::sample::subsequence(ids, 0..=ids.len()).prop_shuffle();
    (chosen, numbers, text(), name(), data(), user).prop_map(
        |(chosen, numbers, text, name, data, user)| {
            let (two, four, varint, bit) = numbers;
            let mut out = Vec::new();
            let mut user = user
                .iter()
                .map(|(name, value)| Property::UserProperty(name, value));
            for id in chosen {
                let property = match id {
                    0x01 => Property::PayloadFormatIndicator(bit),
                    0x02 => Property::MessageExpiryInterval(four),
                    0x03 => Property::ContentType(&text),
                    0x08 => Property::ResponseTopic(&name),
                    0x09 => Property::CorrelationData(&data),
                    0x0B => Property::SubscriptionIdentifier(varint),
                    0x11 => Property::SessionExpiryInterval(four),
                    0x12 => Property::AssignedClientIdentifier(&text),
                    0x13 => Property::ServerKeepAlive(two),
                    0x15 => Property::AuthenticationMethod(&text),
                    0x17 => Property::RequestProblemInformation(bit),
                    0x18 => Property::WillDelayInterval(four),
                    0x19 => Property::RequestResponseInformation(bit),
                    0x1A => Property::ResponseInformation(&text),
                    0x1C => Property::ServerReference(&text),
                    0x1F => Property::ReasonString(&text),
                    0x21 => Property::ReceiveMaximum(two),
                    0x22 => Property::TopicAliasMaximum(two),
                    0x23 => Property::TopicAlias(two),
                    0x24 => Property::MaximumQos(bit),
                    0x25 => Property::RetainAvailable(bit),
                    0x27 => Property::MaximumPacketSize(four),
                    0x28 => Property::WildcardSubscriptionAvailable(bit),
                    0x29 => Property::SubscriptionIdentifierAvailable(bit),
                    0x2A => Property::SharedSubscriptionAvailable(bit),
                    other => panic!("no property {other:#x}"),
                };
                property.encode(&mut out);
                if id == 0x15 {
                    Property::AuthenticationData(&data).encode(&mut out);
                }
                user.next().iter().for_each(|user| user.encode(&mut out));
            }
            user.for_each(|user| user.encode(&mut out));
            out
        },
    )
}

const CONNECT: &[u8] = &[0x11, 0x15, 0x17, 0x19, 0x21, 0x22, 0x27];
const WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18];
const CONNACK: &[u8] = &[
    0x11, 0x12, 0x13, 0x15, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x27, 0x28, 0x29, 0x2A,
];
const PUBLISH: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23];
const FORWARDABLE: &[u8] = &[0x01, 0x03, 0x08, 0x09];

fn only_v5(version: Version, raw: &[u8]) -> Properties<'_> {
    if version == Version::V5 {
        Properties::new(raw)
    } else {
        Properties::EMPTY
    }
}

/// Encodes and decodes `packet`, which must come out as it was.
fn check(version: Version, packet: &Packet<'_>) -> Result<(), TestCaseError> {
    let mut bytes = Vec::new();
    encode(&mut bytes, version, packet);
    let decoded = decode_whole(version, &bytes)?;
    prop_assert_eq!(&decoded, packet);
    prop_assert_eq!(PacketType::from_first(bytes[0]), Some(packet.packet_type()));
    Ok(())
}

fn decode_whole(version: Version, bytes: &[u8]) -> Result<Packet<'_>, TestCaseError> {
    // A shorter part is never mistaken for the whole packet.
    let header = fixed_header(bytes).unwrap().unwrap();
    prop_assert_eq!(header.packet_len(), bytes.len());
    for len in 0..header.len {
        prop_assert_eq!(fixed_header(&bytes[..len]), Ok(None));
    }
    decode(version, header.first, &bytes[header.len..])
        .map_err(|error| TestCaseError::fail(format!("{error:?}")))
}

proptest! {
    #[test]
    fn connect(
        version in version(),
        (bridge, clean_start, keep_alive) in any::<(bool, bool, u16)>(),
        (client_id, raw) in (text(), properties(CONNECT)),
        will in prop::option::of((qos(), any::<bool>(), name(), data(), properties(WILL))),
        (username, password) in (prop::option::of(text()), prop::option::of(data())),
    ) {
        let password = password.as_deref().filter(|_| version == Version::V5 || username.is_some());
        let connect = Connect {
            version,
            bridge: bridge && version != Version::V5,
            clean_start,
            keep_alive,
            client_id: &client_id,
            will: will.as_ref().map(|(qos, retain, topic, payload, raw)| Will {
                qos: *qos,
                retain: *retain,
                topic,
                payload,
                properties: only_v5(version, raw),
            }),
            username: username.as_deref(),
            password,
            properties: only_v5(version, &raw),
        };
        check(version, &Packet::Connect(Box::new(connect)))?;
    }

    #[test]
    fn connack(version in version(), session_present: bool, code in 0..6_u8, raw in properties(CONNACK)) {
        let session_present = session_present && version != Version::V31;
        let code = match (session_present, version) {
            (true, _) => 0,
            (false, Version::V5) => [0, 0x80, 0x84, 0x87, 0x97, 0x9F][usize::from(code)],
            (false, _) => code,
        };
        let connack = ConnAck { session_present, code, properties: only_v5(version, &raw) };
        check(version, &Packet::ConnAck(connack))?;
    }

    #[test]
    fn publish(
        version in version(),
        (dup, qos, retain) in (any::<bool>(), qos(), any::<bool>()),
        (topic, raw, payload) in (name(), properties(PUBLISH), data()),
        packet_id in 1..=u16::MAX,
    ) {
        let zero = qos == QoS::AtMostOnce;
        let publish = Publish {
            dup: dup && !zero,
            qos,
            retain,
            topic: &topic,
            packet_id: if zero { 0 } else { packet_id },
            properties: only_v5(version, &raw),
            payload: &payload,
        };
        check(version, &Packet::Publish(publish))?;
    }

    /// The broker's way: what a client sent is decoded, its properties are passed on, a head is written.
    #[test]
    fn publish_passed_on(
        version in version(),
        (topic, raw, payload) in (name(), properties(FORWARDABLE), data()),
        (message_expiry, topic_alias) in (any::<Option<u32>>(), prop::option::of(1..=u16::MAX)),
        subscription_ids in prop::collection::vec(1..268_435_456_u32, 0..4),
        (qos, packet_id) in (qos(), 1..=u16::MAX),
    ) {
        let mut forwarded = Vec::new();
        Properties::new(&raw).forwardable(&mut forwarded);
        prop_assert_eq!(&forwarded, &raw);
        let head = PublishHead {
            dup: false,
            qos,
            retain: false,
            topic: &topic,
            packet_id,
            properties: &forwarded,
            message_expiry,
            topic_alias,
            subscription_ids: &subscription_ids,
            payload_len: payload.len(),
        };
        let mut bytes = Vec::new();
        encode_publish_head(&mut bytes, version, &head);
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(bytes.len(), publish_len(version, &head));
        let Packet::Publish(publish) = decode_whole(version, &bytes)? else { panic!("not a PUBLISH") };
        prop_assert_eq!((publish.topic, publish.payload, publish.qos), (&topic[..], &payload[..], qos));
        if version == Version::V5 {
            prop_assert_eq!(publish.properties.message_expiry(), message_expiry);
            prop_assert_eq!(publish.properties.topic_alias(), topic_alias);
            prop_assert_eq!(publish.properties.subscription_ids().collect::<Vec<_>>(), subscription_ids);
            let mut again = Vec::new();
            publish.properties.forwardable(&mut again);
            prop_assert_eq!(again, raw);
        } else {
            prop_assert!(publish.properties.is_empty());
        }
    }

    #[test]
    fn forwardable_is_what_a_filter_of_the_iterator_gives(raw in properties(PUBLISH)) {
        let properties = Properties::new(&raw);
        let mut expected = Vec::new();
        for property in properties {
            let (Property::TopicAlias(_) | Property::MessageExpiryInterval(_)) = property else {
                property.encode(&mut expected);
                continue;
            };
        }
        let mut forwarded = Vec::new();
        properties.forwardable(&mut forwarded);
        prop_assert_eq!(forwarded, expected);
    }

    #[test]
    fn acknowledgements(
        version in version(),
        packet_id in 1..=u16::MAX,
        failed: bool,
        raw in properties(&[0x1F]),
    ) {
        let reason = |code| if failed && version == Version::V5 { ReasonCode(code) } else { ReasonCode::SUCCESS };
        let ack = |code| Ack { packet_id, reason: reason(code), properties: only_v5(version, &raw) };
        check(version, &Packet::PubAck(ack(0x87)))?;
        check(version, &Packet::PubRec(ack(0x97)))?;
        check(version, &Packet::PubRel(ack(0x92)))?;
        check(version, &Packet::PubComp(ack(0x92)))?;
    }

    #[test]
    fn subscribe(
        version in version(),
        packet_id in 1..=u16::MAX,
        raw in properties(&[0x0B]),
        filters in prop::collection::vec((text(), qos(), any::<(bool, bool)>(), 0..3_u8), 1..10),
    ) {
        let v5 = version == Version::V5;
        let filters: Vec<_> = filters
            .iter()
            .map(|(filter, qos, (no_local, as_published), handling)| {
                let options = SubscriptionOptions {
                    qos: *qos,
                    no_local: *no_local && v5,
                    retain_as_published: *as_published && v5,
                    retain_handling: if v5 { *handling } else { 0 },
                };
                (filter.as_str(), options)
            })
            .collect();
        let mut bytes = Vec::new();
        encode_subscribe(&mut bytes, version, packet_id, Properties::new(&raw), &filters);
        let packet = decode_whole(version, &bytes)?;
        check(version, &packet)?;
        let Packet::Subscribe(subscribe) = packet else { panic!("not a SUBSCRIBE") };
        prop_assert_eq!(subscribe.packet_id, packet_id);
        prop_assert_eq!(subscribe.properties, only_v5(version, &raw));
        prop_assert_eq!(subscribe.filters().collect::<Vec<_>>(), filters);
    }

    #[test]
    fn unsubscribe(
        version in version(),
        packet_id in 1..=u16::MAX,
        raw in properties(&[]),
        filters in prop::collection::vec(text(), 1..10),
    ) {
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let mut bytes = Vec::new();
        encode_unsubscribe(&mut bytes, version, packet_id, Properties::new(&raw), &filters);
        let packet = decode_whole(version, &bytes)?;
        check(version, &packet)?;
        let Packet::Unsubscribe(unsubscribe) = packet else { panic!("not an UNSUBSCRIBE") };
        prop_assert_eq!((unsubscribe.packet_id, unsubscribe.properties), (packet_id, only_v5(version, &raw)));
        prop_assert_eq!(unsubscribe.filters().collect::<Vec<_>>(), filters);
    }

    #[test]
    fn suback_unsuback_disconnect_auth(
        version in version(),
        packet_id in 1..=u16::MAX,
        raw in properties(&[0x1F]),
        codes in prop::collection::vec(select(vec![0, 1, 2, 0x80_u8]), 1..20),
        (leaving, exchange) in (properties(&[0x11, 0x1C, 0x1F]), properties(&[0x1F])),
    ) {
        let properties = only_v5(version, &raw);
        check(version, &Packet::SubAck(SubAck { packet_id, properties, codes: &codes }))?;
        let v5 = version == Version::V5;
        let codes: &[u8] = if v5 { &[0, 0x11, 0x8F] } else { &[] };
        check(version, &Packet::UnsubAck(UnsubAck { packet_id, properties, codes }))?;
        let reason = if v5 { ReasonCode::SESSION_TAKEN_OVER } else { ReasonCode::SUCCESS };
        check(version, &Packet::Disconnect(Disconnect { reason, properties: only_v5(version, &leaving) }))?;
        check(version, &Packet::PingReq)?;
        check(version, &Packet::PingResp)?;
        if v5 {
            let mut raw = exchange;
            Property::AuthenticationMethod("SCRAM-SHA-256").encode(&mut raw);
            let reason = ReasonCode::CONTINUE_AUTHENTICATION;
            check(version, &Packet::Auth(Auth { reason, properties: Properties::new(&raw) }))?;
        }
    }

    /// Whatever the bytes are: no panic, and what is taken for a packet survives being written and read again.
    #[test]
    fn any_bytes(version in version(), first: u8, body in prop::collection::vec(any::<u8>(), 0..64)) {
        again(version, first, &body)?;
    }

    /// The same for bytes that are nearly a packet.
    #[test]
    fn nearly_a_packet(
        version in version(),
        (topic, raw, payload) in (name(), properties(WILL), data()),
        (at, byte, cut) in (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()),
    ) {
        let will = Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: &topic,
            payload: &payload,
            properties: Properties::new(&raw),
        };
        let connect = Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id: "client",
            will: Some(will),
            username: Some("user"),
            password: Some(b"secret"),
            properties: Properties::EMPTY,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, version, &Packet::Connect(Box::new(connect)));
        let header = fixed_header(&bytes).unwrap().unwrap();
        let body = &mut bytes[header.len..];
        let cut = cut.index(body.len());
        // A part of CONNECT is no CONNECT; in 3.1 it may end before the user name and before the password.
        let part = decode(version, header.first, &body[..cut]);
        prop_assert!(part.is_err() || (version == Version::V31 && (cut + 14 == body.len() || cut + 8 == body.len())));
        body[at.index(body.len())] = byte;
        again(version, header.first, body)?;
    }
}

fn again(version: Version, first: u8, body: &[u8]) -> Result<(), TestCaseError> {
    let of_client = decode_publish(version, first, body);
    let Ok(packet) = decode(version, first, body) else {
        prop_assert!(first >> 4 != 3 || of_client.is_err());
        return Ok(());
    };
    if let Packet::Publish(publish) = packet {
        // The fast way agrees but for the identifiers that a client may not send.
        prop_assert_eq!(
            of_client.is_ok(),
            publish.properties.subscription_id().is_none()
        );
        prop_assert!(publish.topic.is_empty() || topic::validate_name(publish.topic).is_ok());
    }
    let mut bytes = Vec::new();
    encode(&mut bytes, version, &packet);
    let decoded = decode_whole(version, &bytes)?;
    prop_assert_eq!(decoded, packet);
    Ok(())
}
