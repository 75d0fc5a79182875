//! Bytes to packets.

mod connect;

use connect::connect;

use crate::property::allowed;
use crate::text::{Reader, utf8};
use crate::{
    Ack, Auth, ConnAck, DecodeError, DecodeErrorKind, Disconnect, Packet, PacketType, Properties,
    Publish, QoS, ReasonCode, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe,
    Version, topic,
};

/// Decodes the body of a packet whose fixed header starts with `first`. CONNECT says its version itself.
///
/// Packets of both directions are taken: that a client sends a packet of a server is for the caller to notice. So a
/// PUBLISH may have subscription identifiers here; [`decode_publish`] refuses them.
///
/// # Errors
/// Whatever the packet violates. The connection it came from must be closed [MQTT-4.13.1-1].
#[inline]
pub fn decode<'a>(version: Version, first: u8, body: &'a [u8]) -> Result<Packet<'a>, DecodeError> {
    match first >> 4 {
        3 => Ok(Packet::Publish(decode_publish_from_server(
            version, first, body,
        )?)),
        4 => Ok(Packet::PubAck(ack(version, first, body)?)),
        5 => Ok(Packet::PubRec(ack(version, first, body)?)),
        6 => Ok(Packet::PubRel(ack(version, first, body)?)),
        7 => Ok(Packet::PubComp(ack(version, first, body)?)),
        _ => decode_other(version, first, body),
    }
}

fn decode_other<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
) -> Result<Packet<'a>, DecodeError> {
    let packet_type =
        PacketType::from_first(first).ok_or(DecodeError::malformed("packet type 0"))?;
    // CONNECT checks its flags itself, once it knows its version.
    if packet_type != PacketType::Connect {
        check_flags(version, packet_type, first)?;
    }
    match packet_type {
        PacketType::Connect => Ok(Packet::Connect(Box::new(connect(first, body)?))),
        PacketType::ConnAck => connack(version, body).map(Packet::ConnAck),
        PacketType::Subscribe => subscribe(version, body).map(Packet::Subscribe),
        PacketType::SubAck => suback(version, body).map(Packet::SubAck),
        PacketType::Unsubscribe => unsubscribe(version, body).map(Packet::Unsubscribe),
        PacketType::UnsubAck => unsuback(version, body).map(Packet::UnsubAck),
        PacketType::PingReq => Reader::new(body).end().map(|()| Packet::PingReq),
        PacketType::PingResp => Reader::new(body).end().map(|()| Packet::PingResp),
        PacketType::Disconnect => disconnect(version, body).map(Packet::Disconnect),
        PacketType::Auth => auth(version, body).map(Packet::Auth),
        PacketType::Publish
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp => decode(version, first, body),
    }
}

/// The flags of every type but PUBLISH are fixed [MQTT-2.1.3-1] [3.1.1: MQTT-2.2.2-2]. 3.1 calls them unused, and sets DUP
/// on repeated PUBREL, SUBSCRIBE and UNSUBSCRIBE.
#[inline]
fn check_flags(version: Version, packet_type: PacketType, first: u8) -> Result<(), DecodeError> {
    if first == packet_type.first_byte() || version == Version::V31 {
        Ok(())
    } else {
        Err(DecodeError::malformed("reserved flags of the fixed header"))
    }
}

/// Decodes a PUBLISH that a client sent. As [`decode`], but without the detour over [`Packet`], and a subscription
/// identifier is an error [MQTT-3.3.4-6].
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_publish<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
) -> Result<Publish<'a>, DecodeError> {
    publish::<true>(version, first, body, "")
}

/// As [`decode_publish`], for a connection that remembers the topic it published to last: if the topic of the packet is
/// `known`, it is not validated again.
///
/// `known` must be a topic that a decoder gave, or empty if there is none yet.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_publish_known<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
    known: &'a str,
) -> Result<Publish<'a>, DecodeError> {
    publish::<true>(version, first, body, known)
}

/// Decodes a PUBLISH that a server sent, which may have subscription identifiers.
///
/// # Errors
/// As [`decode`].
pub fn decode_publish_from_server<'a>(
    version: Version,
    first: u8,
    body: &'a [u8],
) -> Result<Publish<'a>, DecodeError> {
    publish::<false>(version, first, body, "")
}

#[inline]
fn publish<'a, const OF_CLIENT: bool>(
    version: Version,
    first: u8,
    body: &'a [u8],
    known: &'a str,
) -> Result<Publish<'a>, DecodeError> {
    // [MQTT-3.3.1-4]
    let qos =
        QoS::from_u8(first >> 1 & 0b11).ok_or(DecodeError::malformed("PUBLISH with QoS 3"))?;
    let mut dup = first & 0b1000 != 0;
    if dup && qos == QoS::AtMostOnce {
        // [MQTT-3.3.1-2]. 3.1 only gives the flag no meaning there.
        if version != Version::V31 {
            return Err(DecodeError::malformed("DUP with QoS 0"));
        }
        dup = false;
    }
    let mut reader = Reader::new(body);
    let topic = reader.binary()?;
    let topic = if topic == known.as_bytes() {
        known
    } else {
        topic_name(topic)?
    };
    // [MQTT-2.2.1-2]
    let packet_id = if qos == QoS::AtMostOnce {
        0
    } else {
        reader.packet_id()?
    };
    let mut properties = Properties::EMPTY;
    if version.is_v5() {
        let allowed = if OF_CLIENT {
            allowed::PUBLISH_OF_CLIENT
        } else {
            allowed::PUBLISH_OF_SERVER
        };
        properties = Properties::decode(&mut reader, allowed)?;
    }
    if topic.is_empty() {
        check_empty_topic(version, properties)?;
    }
    Ok(Publish {
        dup,
        qos,
        retain: first & 1 != 0,
        topic,
        packet_id,
        properties,
        payload: reader.rest(),
    })
}

/// The topic of a PUBLISH, which may be empty here.
#[inline]
fn topic_name(bytes: &[u8]) -> Result<&str, DecodeError> {
    let topic = utf8(bytes)?;
    // [MQTT-3.3.2-2], [MQTT-4.7.3-2]
    if topic::has_forbidden_byte(bytes) {
        return Err(DecodeError::new(
            DecodeErrorKind::TopicNameInvalid,
            "topic name with a wildcard or a NUL",
        ));
    }
    Ok(topic)
}

/// [MQTT-4.7.3-1]; in 5.0 a topic alias stands for the topic.
#[cold]
fn check_empty_topic(version: Version, properties: Properties<'_>) -> Result<(), DecodeError> {
    if !version.is_v5() {
        Err(topic::TopicError::Empty.into())
    } else if properties.topic_alias().is_none() {
        Err(DecodeError::protocol(
            "empty topic name without a topic alias",
        ))
    } else {
        Ok(())
    }
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
#[inline]
fn ack<'a>(version: Version, first: u8, body: &'a [u8]) -> Result<Ack<'a>, DecodeError> {
    // The form without reason code and properties, which is the only one in 3.x.
    if let [high, low] = *body {
        let packet_id = u16::from_be_bytes([high, low]);
        let flags_right =
            (first == 0x62 || (first & 0x0F == 0 && first != 0x60)) || version == Version::V31;
        if packet_id != 0 && flags_right {
            return Ok(Ack {
                packet_id,
                reason: ReasonCode::SUCCESS,
                properties: Properties::EMPTY,
            });
        }
    }
    long_ack(version, first, body)
}

fn long_ack<'a>(version: Version, first: u8, body: &'a [u8]) -> Result<Ack<'a>, DecodeError> {
    let packet_type =
        PacketType::from_first(first).ok_or(DecodeError::malformed("packet type 0"))?;
    check_flags(version, packet_type, first)?;
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let mut ack = Ack {
        packet_id,
        reason: ReasonCode::SUCCESS,
        properties: Properties::EMPTY,
    };
    if version.is_v5() && !reader.is_empty() {
        ack.reason = reason(&mut reader, packet_type)?;
        // The length of no properties may be left out.
        if !reader.is_empty() {
            ack.properties = Properties::decode(&mut reader, allowed::ACK)?;
        }
    }
    reader.end()?;
    Ok(ack)
}

fn reason(reader: &mut Reader<'_>, packet_type: PacketType) -> Result<ReasonCode, DecodeError> {
    let reason = ReasonCode(reader.u8()?);
    if reason.is_valid_in(packet_type) {
        Ok(reason)
    } else {
        Err(DecodeError::protocol(
            "reason code that may not stand in this packet",
        ))
    }
}

fn properties<'a>(
    version: Version,
    reader: &mut Reader<'a>,
    allowed: allowed::Allowed,
) -> Result<Properties<'a>, DecodeError> {
    if version.is_v5() {
        Properties::decode(reader, allowed)
    } else {
        Ok(Properties::EMPTY)
    }
}

fn connack<'a>(version: Version, body: &'a [u8]) -> Result<ConnAck<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let flags = reader.u8()?;
    // [MQTT-3.2.2-1]; in 3.1 the whole byte is reserved.
    if flags > 1 && version != Version::V31 {
        return Err(DecodeError::malformed("reserved CONNACK flags"));
    }
    let code = reader.u8()?;
    let known = if version.is_v5() {
        ReasonCode(code).is_valid_in(PacketType::ConnAck)
    } else {
        code <= 5
    };
    if !known {
        return Err(DecodeError::protocol(
            "reason code that may not stand in this packet",
        ));
    }
    let session_present = flags == 1 && version != Version::V31;
    // [MQTT-3.2.2-6] [3.1.1: MQTT-3.2.2-4]
    if session_present && code != 0 {
        return Err(DecodeError::protocol(
            "session present although the connection is refused",
        ));
    }
    let properties = properties(version, &mut reader, allowed::CONNACK)?;
    reader.end()?;
    Ok(ConnAck {
        session_present,
        code,
        properties,
    })
}

fn subscribe<'a>(version: Version, body: &'a [u8]) -> Result<Subscribe<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = properties(version, &mut reader, allowed::SUBSCRIBE)?;
    let payload = reader.rest();
    // [MQTT-3.8.3-2]
    if reader.is_empty() {
        return Err(DecodeError::new(
            DecodeErrorKind::EmptyFilters,
            "SUBSCRIBE without a filter",
        ));
    }
    while !reader.is_empty() {
        // [MQTT-3.8.3-1]
        let filter = reader.string()?;
        check_options(version, filter, reader.u8()?)?;
    }
    Ok(Subscribe {
        packet_id,
        properties,
        payload,
        version,
    })
}

fn check_options(version: Version, filter: &str, byte: u8) -> Result<(), DecodeError> {
    if byte & 0b11 == 3 {
        return Err(DecodeError::new(
            DecodeErrorKind::SubscriptionQos,
            "subscription with QoS 3",
        ));
    }
    // [MQTT-3.8.3-5] [3.1.1: MQTT-3-8.3-4]; 3.1 calls the bits unused.
    let reserved = match version {
        Version::V31 => 0,
        Version::V311 => 0b1111_1100,
        Version::V5 => 0b1100_0000,
    };
    if byte & reserved != 0 {
        return Err(DecodeError::malformed(
            "reserved bits of the subscription options",
        ));
    }
    if version.is_v5() {
        let Some(options) = SubscriptionOptions::from_byte(byte) else {
            return Err(DecodeError::protocol("retain handling 3"));
        };
        // [MQTT-3.8.3-4]
        if options.no_local && filter.starts_with("$share/") {
            return Err(DecodeError::protocol("no local with a shared subscription"));
        }
    }
    Ok(())
}

fn suback<'a>(version: Version, body: &'a [u8]) -> Result<SubAck<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = properties(version, &mut reader, allowed::ACK)?;
    let codes = reader.rest();
    if codes.is_empty() {
        return Err(DecodeError::malformed("SUBACK without a code"));
    }
    let known = |&code: &u8| match version {
        Version::V5 => ReasonCode(code).is_valid_in(PacketType::SubAck),
        // [3.1.1: MQTT-3.9.3-2]
        Version::V31 | Version::V311 => matches!(code, 0..=2 | 0x80),
    };
    if !codes.iter().all(known) {
        return Err(DecodeError::protocol(
            "reason code that may not stand in this packet",
        ));
    }
    Ok(SubAck {
        packet_id,
        properties,
        codes,
    })
}

fn unsubscribe<'a>(version: Version, body: &'a [u8]) -> Result<Unsubscribe<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = properties(version, &mut reader, allowed::UNSUBSCRIBE)?;
    let payload = reader.rest();
    // [MQTT-3.10.3-2]
    if reader.is_empty() {
        return Err(DecodeError::new(
            DecodeErrorKind::EmptyFilters,
            "UNSUBSCRIBE without a filter",
        ));
    }
    while !reader.is_empty() {
        // [MQTT-3.10.3-1]
        reader.string()?;
    }
    Ok(Unsubscribe {
        packet_id,
        properties,
        payload,
    })
}

fn unsuback<'a>(version: Version, body: &'a [u8]) -> Result<UnsubAck<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if !version.is_v5() {
        reader.end()?;
        return Ok(UnsubAck {
            packet_id,
            properties: Properties::EMPTY,
            codes: &[],
        });
    }
    let properties = Properties::decode(&mut reader, allowed::ACK)?;
    let codes = reader.rest();
    if codes.is_empty() {
        return Err(DecodeError::malformed("UNSUBACK without a code"));
    }
    if !codes
        .iter()
        .all(|&code| ReasonCode(code).is_valid_in(PacketType::UnsubAck))
    {
        return Err(DecodeError::protocol(
            "reason code that may not stand in this packet",
        ));
    }
    Ok(UnsubAck {
        packet_id,
        properties,
        codes,
    })
}

fn disconnect<'a>(version: Version, body: &'a [u8]) -> Result<Disconnect<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut disconnect = Disconnect {
        reason: ReasonCode::SUCCESS,
        properties: Properties::EMPTY,
    };
    if version.is_v5() && !reader.is_empty() {
        disconnect.reason = reason(&mut reader, PacketType::Disconnect)?;
        if !reader.is_empty() {
            disconnect.properties = Properties::decode(&mut reader, allowed::DISCONNECT)?;
        }
    }
    reader.end()?;
    Ok(disconnect)
}

fn auth<'a>(version: Version, body: &'a [u8]) -> Result<Auth<'a>, DecodeError> {
    if !version.is_v5() {
        return Err(DecodeError::malformed(
            "packet type 15, which is AUTH in 5.0 only",
        ));
    }
    let mut reader = Reader::new(body);
    // Success without properties may be left out.
    if reader.is_empty() {
        return Ok(Auth {
            reason: ReasonCode::SUCCESS,
            properties: Properties::EMPTY,
        });
    }
    let reason = reason(&mut reader, PacketType::Auth)?;
    let properties = Properties::decode(&mut reader, allowed::AUTH)?;
    reader.end()?;
    if properties.auth_method().is_none() {
        return Err(DecodeError::protocol(
            "AUTH without an authentication method",
        ));
    }
    Ok(Auth { reason, properties })
}
