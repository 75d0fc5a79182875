//! PUBLISH, in two steps: the head here, the payload by the caller, who may have it in one piece for many receivers.

use crate::frame::{put_varint, varint_len, write_varint};
use crate::{PacketType, Property, QoS, Version};

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
    /// Raw properties that were passed on ([`crate::Properties::forwardable`]); not for 3.x.
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
/// can say at all: [`crate::MAX_REMAINING_LENGTH`] and five.
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
