//! Packets to bytes. Every function appends one packet to `out`.

mod answer;
mod publish;
mod request;

pub use answer::{
    AckKind, ConnAckOut, ConnAckProps, encode_ack, encode_auth, encode_connack, encode_disconnect,
    encode_pingresp, encode_suback, encode_unsuback,
};
pub use publish::{PublishHead, encode_publish_head, publish_len};
pub use request::{encode_connect, encode_pingreq, encode_subscribe, encode_unsubscribe};

use crate::frame::{MAX_REMAINING_LENGTH, put_varint, write_varint};
use crate::property::id;
use crate::{
    Ack, Auth, ConnAck, Disconnect, Packet, PacketType, Properties, Property, Publish, ReasonCode,
    SubAck, Subscribe, UnsubAck, Unsubscribe, Version,
};

/// Appends any packet, with all its properties, in its shortest form. For those who pass packets on or make them up whole;
/// the broker's own packets have functions of their own.
pub fn encode(out: &mut Vec<u8>, version: Version, packet: &Packet<'_>) {
    match packet {
        Packet::Connect(connect) => encode_connect(out, connect),
        Packet::ConnAck(connack) => put_connack(out, version, connack),
        Packet::Publish(publish) => put_publish(out, version, publish),
        Packet::PubAck(ack) => put_ack(out, version, AckKind::PubAck, ack),
        Packet::PubRec(ack) => put_ack(out, version, AckKind::PubRec, ack),
        Packet::PubRel(ack) => put_ack(out, version, AckKind::PubRel, ack),
        Packet::PubComp(ack) => put_ack(out, version, AckKind::PubComp, ack),
        Packet::Subscribe(Subscribe {
            packet_id,
            properties,
            payload,
            ..
        }) => {
            put_with_id(
                out,
                version,
                PacketType::Subscribe,
                *packet_id,
                *properties,
                payload,
            );
        }
        Packet::SubAck(SubAck {
            packet_id,
            properties,
            codes,
        }) => {
            put_with_id(
                out,
                version,
                PacketType::SubAck,
                *packet_id,
                *properties,
                codes,
            );
        }
        Packet::Unsubscribe(Unsubscribe {
            packet_id,
            properties,
            payload,
        }) => {
            put_with_id(
                out,
                version,
                PacketType::Unsubscribe,
                *packet_id,
                *properties,
                payload,
            );
        }
        Packet::UnsubAck(UnsubAck {
            packet_id,
            properties,
            codes,
        }) => {
            put_with_id(
                out,
                version,
                PacketType::UnsubAck,
                *packet_id,
                *properties,
                codes,
            );
        }
        Packet::PingReq => encode_pingreq(out),
        Packet::PingResp => encode_pingresp(out),
        Packet::Disconnect(disconnect) => put_disconnect(out, version, disconnect),
        Packet::Auth(auth) => put_auth(out, auth),
    }
}

fn put_connack(out: &mut Vec<u8>, version: Version, connack: &ConnAck<'_>) {
    packet(out, PacketType::ConnAck.first_byte(), |out| {
        out.extend_from_slice(&[u8::from(connack.session_present), connack.code]);
        put_properties(out, version, connack.properties);
    });
}

fn put_publish(out: &mut Vec<u8>, version: Version, publish: &Publish<'_>) {
    // All properties, also those a server would not pass on, are raw here.
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        properties: publish.properties.as_bytes(),
        payload_len: publish.payload.len(),
        ..PublishHead::default()
    };
    encode_publish_head(out, version, &head);
    out.extend_from_slice(publish.payload);
}

fn put_ack(out: &mut Vec<u8>, version: Version, kind: AckKind, ack: &Ack<'_>) {
    if ack.properties.is_empty() {
        encode_ack(out, version, kind, ack.packet_id, ack.reason, None);
        return;
    }
    packet(out, kind as u8, |out| {
        out.extend_from_slice(&ack.packet_id.to_be_bytes());
        if version.is_v5() {
            out.push(ack.reason.0);
            put_properties(out, version, ack.properties);
        }
    });
}

fn put_with_id(
    out: &mut Vec<u8>,
    version: Version,
    packet_type: PacketType,
    packet_id: u16,
    properties: Properties<'_>,
    payload: &[u8],
) {
    packet(out, packet_type.first_byte(), |out| {
        out.extend_from_slice(&packet_id.to_be_bytes());
        put_properties(out, version, properties);
        out.extend_from_slice(payload);
    });
}

fn put_disconnect(out: &mut Vec<u8>, version: Version, disconnect: &Disconnect<'_>) {
    packet(out, PacketType::Disconnect.first_byte(), |out| {
        if version.is_v5() {
            let properties = disconnect.properties.as_bytes();
            put_reason_and_properties(out, disconnect.reason, |out| {
                out.extend_from_slice(properties)
            });
        }
    });
}

fn put_auth(out: &mut Vec<u8>, auth: &Auth<'_>) {
    packet(out, PacketType::Auth.first_byte(), |out| {
        put_auth_body(out, auth.reason, |out| {
            out.extend_from_slice(auth.properties.as_bytes())
        });
    });
}

/// The body of DISCONNECT: nothing, the reason alone, or both.
fn put_reason_and_properties(
    out: &mut Vec<u8>,
    reason: ReasonCode,
    properties: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.push(reason.0);
    with_length(out, properties);
    if out[start + 1..] == [0] {
        out.truncate(if reason == ReasonCode::SUCCESS {
            start
        } else {
            start + 1
        });
    }
}

/// The body of AUTH: nothing, or both reason and properties.
fn put_auth_body(out: &mut Vec<u8>, reason: ReasonCode, properties: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(reason.0);
    with_length(out, properties);
    if out[start..] == [ReasonCode::SUCCESS.0, 0] {
        out.truncate(start);
    }
}

fn put_each(out: &mut Vec<u8>, properties: &[Option<Property<'_>>]) {
    for property in properties.iter().flatten() {
        property.encode(out);
    }
}

fn put_reason_string(out: &mut Vec<u8>, reason_string: Option<&str>) {
    if let Some(text) = reason_string {
        out.push(id::REASON_STRING);
        put_string(out, text);
    }
}

/// In 5.0, the properties with their length.
fn put_properties(out: &mut Vec<u8>, version: Version, properties: Properties<'_>) {
    if version.is_v5() {
        put_varint(out, properties.as_bytes().len());
        out.extend_from_slice(properties.as_bytes());
    }
}

/// A packet whose length is known once its body is there.
fn packet(out: &mut Vec<u8>, first: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(first);
    with_length(out, body);
}

/// Appends what `fill` appends, with its length as a variable byte integer before it.
fn with_length(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    fill(out);
    let len = out.len() - start - 1;
    debug_assert!(
        len <= MAX_REMAINING_LENGTH,
        "a packet longer than MQTT can say"
    );
    let mut length = [0; 4];
    let length_len = write_varint(&mut length, len);
    out[start] = length[0];
    if length_len > 1 {
        out.splice(start + 1..start + 1, length[1..length_len].iter().copied());
    }
}

/// A string with its length. One that is too long is cut at a character.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    put_binary(out, &text.as_bytes()[..end]);
}

/// Bytes with their length. What is beyond 65,535 bytes is cut.
pub(crate) fn put_binary(out: &mut Vec<u8>, data: &[u8]) {
    let len = data.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.extend_from_slice(&data[..len]);
}
