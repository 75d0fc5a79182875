//! What a connection may send: a byte that picks the version, then packets.
//!
//! Nothing may panic; what is taken for a packet must survive being written and read again; the ways to decode a PUBLISH
//! must agree.
#![no_main]

use emqttd_mqtt::topic::{self, SubscriptionFilter};
use emqttd_mqtt::{
    Packet, Properties, Publish, Version, decode, decode_publish, decode_publish_known, encode,
    fixed_header,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&version, mut stream)) = input.split_first() else {
        return;
    };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(version % 3)];
    while let Ok(Some(header)) = fixed_header(stream) {
        let Some(body) = stream.get(header.len..header.packet_len()) else {
            return;
        };
        check_packet(version, header.first, body);
        stream = &stream[header.packet_len()..];
    }
});

fn check_packet(version: Version, first: u8, body: &[u8]) {
    let decoded = decode(version, first, body);
    if first >> 4 == 3 {
        check_publish(version, first, body, decoded.as_ref().ok());
    }
    let Ok(packet) = decoded else { return };

    let mut once = Vec::new();
    encode(&mut once, version, &packet);
    let header = fixed_header(&once).expect("valid").expect("complete");
    assert_eq!(header.packet_len(), once.len());
    let again =
        decode(version, header.first, &once[header.len..]).expect("what was written can be read");
    assert_eq!(again, packet);
    let mut twice = Vec::new();
    encode(&mut twice, version, &again);
    assert_eq!(twice, once);

    match packet {
        Packet::Connect(connect) => {
            check_properties(connect.properties);
            if let Some(will) = connect.will {
                check_properties(will.properties);
                topic::validate_name(will.topic).expect("a will has a valid topic");
            }
        }
        Packet::Subscribe(subscribe) => {
            check_properties(subscribe.properties);
            assert_ne!(subscribe.filters().count(), 0);
            for (filter, options) in subscribe.filters() {
                let _ = SubscriptionFilter::parse(filter, version == Version::V5);
                assert!(options.retain_handling <= 2);
            }
        }
        Packet::Unsubscribe(unsubscribe) => assert_ne!(unsubscribe.filters().count(), 0),
        Packet::ConnAck(connack) => check_properties(connack.properties),
        Packet::Disconnect(disconnect) => check_properties(disconnect.properties),
        Packet::Auth(auth) => check_properties(auth.properties),
        _ => {}
    }
}

fn check_publish(version: Version, first: u8, body: &[u8], decoded: Option<&Packet<'_>>) {
    let of_client = decode_publish(version, first, body);
    // A connection that remembers the topic must see the same packet.
    if let Ok(publish) = &of_client {
        let topic = publish.topic.to_owned();
        assert_eq!(
            decode_publish_known(version, first, body, &topic),
            of_client
        );
    }
    assert_eq!(
        decode_publish_known(version, first, body, "another/topic"),
        of_client
    );
    match decoded {
        Some(Packet::Publish(publish)) => {
            check_message(publish);
            // The one difference: a client sends no subscription identifiers.
            let expected = publish
                .properties
                .subscription_id()
                .is_none()
                .then_some(*publish);
            assert_eq!(of_client.ok(), expected);
        }
        Some(other) => panic!("{other:?} is not a PUBLISH"),
        None => assert!(of_client.is_err()),
    }
}

fn check_message(publish: &Publish<'_>) {
    check_properties(publish.properties);
    if publish.topic.is_empty() {
        assert!(publish.properties.topic_alias().is_some());
    } else {
        topic::validate_name(publish.topic).expect("a PUBLISH has a valid topic");
    }
    let mut forwarded = Vec::new();
    publish.properties.forwardable(&mut forwarded);
    let properties = Properties::new(&forwarded);
    assert!(
        properties
            .user_properties()
            .eq(publish.properties.user_properties())
    );
    assert_eq!(
        properties.correlation_data(),
        publish.properties.correlation_data()
    );
    assert_eq!(
        (properties.topic_alias(), properties.message_expiry()),
        (None, None)
    );
}

/// Properties of a valid packet can be read to their end, and written as they were.
fn check_properties(properties: Properties<'_>) {
    let mut written = Vec::new();
    for property in properties {
        property.encode(&mut written);
    }
    assert_eq!(written, properties.as_bytes());
}
