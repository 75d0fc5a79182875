//! Packets to bytes. Every function appends one packet to `out`.

use crate::frame::{MAX_REMAINING_LENGTH, put_varint, varint_len, write_varint};
use crate::property::id;
use crate::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Properties, Property, Publish,
    QoS, ReasonCode, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe, Version,
};

/// A PUBLISH but for its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishHead<'a> {
    /// Whether this may be a re-delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Topic name of at most 65,535 bytes; empty when `topic_alias` stands for it.
    pub topic: &'a str,
    /// Not written with QoS 0.
    pub packet_id: u16,
    /// Raw properties that were passed on ([`Properties::forwardable`]); not for 3.x.
    pub properties: &'a [u8],
    /// Seconds; not for 3.x.
    pub message_expiry: Option<u32>,
    /// Not 0; not for 3.x.
    pub topic_alias: Option<u16>,
    /// Identifiers of the subscriptions that matched, 1 to 268,435,455 each; not for 3.x.
    pub subscription_ids: &'a [u32],
    /// Bytes of the payload, which the caller appends.
    pub payload_len: usize,
}

impl PublishHead<'_> {
    /// Bytes of the properties, without the length before them.
    #[inline]
    fn properties_len(&self) -> usize {
        let mut len = self.properties.len();
        if self.message_expiry.is_some() {
            len += 5;
        }
        if self.topic_alias.is_some() {
            len += 3;
        }
        for &id in self.subscription_ids {
            len += 1 + varint_len(id as usize);
        }
        len
    }

    /// Remaining length and, in 5.0, the length of the properties.
    #[inline]
    fn lengths(&self, version: Version) -> (usize, usize) {
        let id_len = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let remaining = 2 + self.topic.len() + id_len + self.payload_len;
        if version.is_v5() {
            let properties_len = self.properties_len();
            (
                remaining + varint_len(properties_len) + properties_len,
                properties_len,
            )
        } else {
            (remaining, 0)
        }
    }
}

/// Bytes of the whole PUBLISH, with the payload. To be compared with the receiver's maximum packet size and with what MQTT
/// can say at all: [`MAX_REMAINING_LENGTH`] and five.
#[inline]
pub fn publish_len(version: Version, head: &PublishHead<'_>) -> usize {
    let (remaining, _) = head.lengths(version);
    1 + varint_len(remaining) + remaining
}

/// Appends a PUBLISH without its payload; its remaining length counts the payload.
///
/// The packet must not be longer than MQTT allows, see [`publish_len`].
#[inline]
pub fn encode_publish_head(out: &mut Vec<u8>, version: Version, head: &PublishHead<'_>) {
    debug_assert!(
        head.topic.len() <= crate::topic::MAX_LEN,
        "topic of {} bytes",
        head.topic.len()
    );
    let (remaining, properties_len) = head.lengths(version);
    out.reserve(5 + remaining - head.payload_len);

    // The first byte, the remaining length and the length of the topic go out in one piece.
    let mut start = [0; 7];
    // [MQTT-3.3.1-2]: QoS 0 has no DUP.
    let dup = head.dup && head.qos != QoS::AtMostOnce;
    start[0] = (PacketType::Publish as u8) << 4
        | u8::from(dup) << 3
        | (head.qos as u8) << 1
        | u8::from(head.retain);
    let topic_len = (head.topic.len() as u16).to_be_bytes();
    if remaining < 0x80 {
        start[1] = remaining as u8;
        [start[2], start[3]] = topic_len;
        out.extend_from_slice(&start[..4]);
    } else {
        let mut length = [0; 4];
        let len = write_varint(&mut length, remaining);
        start[1..5].copy_from_slice(&length);
        start[1 + len..3 + len].copy_from_slice(&topic_len);
        out.extend_from_slice(&start[..3 + len]);
    }
    out.extend_from_slice(head.topic.as_bytes());
    // [MQTT-2.2.1-2]: QoS 0 has no packet identifier.
    if head.qos != QoS::AtMostOnce {
        out.extend_from_slice(&head.packet_id.to_be_bytes());
    }
    if version.is_v5() {
        if properties_len == 0 {
            out.push(0);
        } else {
            put_publish_properties(out, head, properties_len);
        }
    }
}

fn put_publish_properties(out: &mut Vec<u8>, head: &PublishHead<'_>, len: usize) {
    put_varint(out, len);
    if let Some(seconds) = head.message_expiry {
        Property::MessageExpiryInterval(seconds).encode(out);
    }
    if let Some(alias) = head.topic_alias {
        Property::TopicAlias(alias).encode(out);
    }
    for &id in head.subscription_ids {
        Property::SubscriptionIdentifier(id).encode(out);
    }
    // [MQTT-3.3.2-18]: user properties keep their order.
    out.extend_from_slice(head.properties);
}

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // The names are those of the standard.
pub enum AckKind {
    PubAck = PacketType::PubAck.first_byte(),
    PubRec = PacketType::PubRec.first_byte(),
    PubRel = PacketType::PubRel.first_byte(),
    PubComp = PacketType::PubComp.first_byte(),
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP in its shortest form. Reason and reason string are for 5.0 only.
#[inline]
pub fn encode_ack(
    out: &mut Vec<u8>,
    version: Version,
    kind: AckKind,
    packet_id: u16,
    reason: ReasonCode,
    reason_string: Option<&str>,
) {
    let [high, low] = packet_id.to_be_bytes();
    if !version.is_v5() || (reason == ReasonCode::SUCCESS && reason_string.is_none()) {
        out.extend_from_slice(&[kind as u8, 2, high, low]);
    } else if reason_string.is_none() {
        out.extend_from_slice(&[kind as u8, 3, high, low, reason.0]);
    } else {
        packet(out, kind as u8, |out| {
            out.extend_from_slice(&[high, low, reason.0]);
            with_length(out, |out| put_reason_string(out, reason_string));
        });
    }
}

/// What a CONNACK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnAckOut<'a> {
    /// Whether the session is resumed. Only with code 0 [MQTT-3.2.2-6].
    pub session_present: bool,
    /// A return code (0 to 5) in 3.x, a reason code in 5.0.
    pub code: u8,
    /// Not for 3.x.
    pub props: ConnAckProps<'a>,
}

/// Properties of a CONNACK. `None` leaves the property out, which has the meaning the standard gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // As the getters of `Properties`.
pub struct ConnAckProps<'a> {
    /// Seconds.
    pub session_expiry: Option<u32>,
    pub receive_maximum: Option<u16>,
    /// 0 or 1.
    pub maximum_qos: Option<u8>,
    pub retain_available: Option<bool>,
    /// Bytes.
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_id: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: &'a [(&'a str, &'a str)],
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_ids_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    /// Seconds.
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub auth_method: Option<&'a str>,
    pub auth_data: Option<&'a [u8]>,
}

impl ConnAckProps<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        let single = [
            self.session_expiry.map(Property::SessionExpiryInterval),
            self.receive_maximum.map(Property::ReceiveMaximum),
            self.maximum_qos.map(Property::MaximumQos),
            self.retain_available
                .map(|yes| Property::RetainAvailable(yes.into())),
            self.maximum_packet_size.map(Property::MaximumPacketSize),
            self.assigned_client_id
                .map(Property::AssignedClientIdentifier),
            self.topic_alias_maximum.map(Property::TopicAliasMaximum),
            self.reason_string.map(Property::ReasonString),
            self.wildcard_subscription_available
                .map(|yes| Property::WildcardSubscriptionAvailable(yes.into())),
            self.subscription_ids_available
                .map(|yes| Property::SubscriptionIdentifierAvailable(yes.into())),
            self.shared_subscription_available
                .map(|yes| Property::SharedSubscriptionAvailable(yes.into())),
            self.server_keep_alive.map(Property::ServerKeepAlive),
            self.response_information.map(Property::ResponseInformation),
            self.server_reference.map(Property::ServerReference),
            self.auth_method.map(Property::AuthenticationMethod),
            self.auth_data.map(Property::AuthenticationData),
        ];
        for property in single.iter().flatten() {
            property.encode(out);
        }
        for &(name, value) in self.user_properties {
            Property::UserProperty(name, value).encode(out);
        }
    }
}

/// Appends a CONNACK.
pub fn encode_connack(out: &mut Vec<u8>, version: Version, connack: &ConnAckOut<'_>) {
    packet(out, PacketType::ConnAck.first_byte(), |out| {
        // 3.1 has no session present: the byte is reserved there.
        let session_present =
            connack.session_present && connack.code == 0 && version >= Version::V311;
        out.extend_from_slice(&[u8::from(session_present), connack.code]);
        if version.is_v5() {
            with_length(out, |out| connack.props.put(out));
        }
    });
}

/// Appends a SUBACK with one code per filter. In 3.x every code above 2 becomes 0x80 [3.1.1: MQTT-3.9.3-2].
pub fn encode_suback(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    codes: &[u8],
    reason_string: Option<&str>,
) {
    packet(out, PacketType::SubAck.first_byte(), |out| {
        out.extend_from_slice(&packet_id.to_be_bytes());
        if version.is_v5() {
            with_length(out, |out| put_reason_string(out, reason_string));
            out.extend_from_slice(codes);
        } else {
            out.extend(codes.iter().map(|&code| if code > 2 { 0x80 } else { code }));
        }
    });
}

/// Appends an UNSUBACK. The codes, one per filter, are for 5.0 only.
pub fn encode_unsuback(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    codes: &[u8],
    reason_string: Option<&str>,
) {
    packet(out, PacketType::UnsubAck.first_byte(), |out| {
        out.extend_from_slice(&packet_id.to_be_bytes());
        if version.is_v5() {
            with_length(out, |out| put_reason_string(out, reason_string));
            out.extend_from_slice(codes);
        }
    });
}

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
}

/// Appends a PINGRESP.
#[inline]
pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]);
}

/// Appends a DISCONNECT in its shortest form. In 3.x, where only a client sends it, it has no fields.
pub fn encode_disconnect(
    out: &mut Vec<u8>,
    version: Version,
    reason: ReasonCode,
    session_expiry: Option<u32>,
    reason_string: Option<&str>,
    server_reference: Option<&str>,
) {
    let properties = [
        session_expiry.map(Property::SessionExpiryInterval),
        reason_string.map(Property::ReasonString),
        server_reference.map(Property::ServerReference),
    ];
    packet(out, PacketType::Disconnect.first_byte(), |out| {
        if version.is_v5() {
            put_reason_and_properties(out, reason, |out| put_each(out, &properties));
        }
    });
}

/// Appends an AUTH in its shortest form.
pub fn encode_auth(
    out: &mut Vec<u8>,
    reason: ReasonCode,
    method: Option<&str>,
    data: Option<&[u8]>,
    reason_string: Option<&str>,
) {
    let properties = [
        method.map(Property::AuthenticationMethod),
        data.map(Property::AuthenticationData),
        reason_string.map(Property::ReasonString),
    ];
    packet(out, PacketType::Auth.first_byte(), |out| {
        put_auth_body(out, reason, |out| put_each(out, &properties));
    });
}

/// Appends a CONNECT of the version it names.
pub fn encode_connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let version = connect.version;
    packet(out, PacketType::Connect.first_byte(), |out| {
        put_string(out, version.protocol_name());
        let bridge = connect.bridge && !version.is_v5();
        out.push(version.level() | u8::from(bridge) << 7);
        let mut flags = u8::from(connect.clean_start) << 1;
        if let Some(will) = &connect.will {
            flags |= 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        }
        flags |=
            u8::from(connect.username.is_some()) << 7 | u8::from(connect.password.is_some()) << 6;
        out.push(flags);
        out.extend_from_slice(&connect.keep_alive.to_be_bytes());
        put_properties(out, version, connect.properties);
        put_string(out, connect.client_id);
        if let Some(will) = &connect.will {
            put_properties(out, version, will.properties);
            put_string(out, will.topic);
            put_binary(out, will.payload);
        }
        if let Some(username) = connect.username {
            put_string(out, username);
        }
        if let Some(password) = connect.password {
            put_binary(out, password);
        }
    });
}

/// Appends a SUBSCRIBE. Only the QoS of the options goes out in 3.x.
pub fn encode_subscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    properties: Properties<'_>,
    filters: &[(&str, SubscriptionOptions)],
) {
    packet(out, PacketType::Subscribe.first_byte(), |out| {
        out.extend_from_slice(&packet_id.to_be_bytes());
        put_properties(out, version, properties);
        for &(filter, options) in filters {
            put_string(out, filter);
            out.push(if version.is_v5() {
                options.to_byte()
            } else {
                options.qos as u8
            });
        }
    });
}

/// Appends an UNSUBSCRIBE.
pub fn encode_unsubscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    properties: Properties<'_>,
    filters: &[&str],
) {
    packet(out, PacketType::Unsubscribe.first_byte(), |out| {
        out.extend_from_slice(&packet_id.to_be_bytes());
        put_properties(out, version, properties);
        for filter in filters {
            put_string(out, filter);
        }
    });
}

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
