//! What a server sends besides PUBLISH; DISCONNECT, AUTH and the acknowledgements also go the other way.

use super::{
    packet, put_auth_body, put_each, put_reason_and_properties, put_reason_string, with_length,
};
use crate::{PacketType, Property, ReasonCode, Version};

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
