//! Bytes to packets.

use crate::property::allowed;
use crate::text::{Reader, utf8};
use crate::{
    Ack, Auth, ConnAck, Connect, DecodeError, DecodeErrorKind, Disconnect, Packet, PacketType,
    Properties, Publish, QoS, ReasonCode, SubAck, Subscribe, SubscriptionOptions, UnsubAck,
    Unsubscribe, Version, Will, topic,
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
    publish::<true>(version, first, body)
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
    publish::<false>(version, first, body)
}

#[inline]
fn publish<'a, const OF_CLIENT: bool>(
    version: Version,
    first: u8,
    body: &'a [u8],
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
    let topic = utf8(reader.binary()?)?;
    // [MQTT-3.3.2-2], [MQTT-4.7.3-2]
    if topic::has_forbidden_byte(topic.as_bytes()) {
        return Err(DecodeError::new(
            DecodeErrorKind::TopicNameInvalid,
            "topic name with a wildcard or a NUL",
        ));
    }
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
    allowed: crate::property::Allowed,
) -> Result<Properties<'a>, DecodeError> {
    if version.is_v5() {
        Properties::decode(reader, allowed)
    } else {
        Ok(Properties::EMPTY)
    }
}

fn connect<'a>(first: u8, body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let (version, bridge) = protocol(&mut reader)?;
    check_flags(version, PacketType::Connect, first)?;
    let flags = ConnectFlags::read(version, reader.u8()?)?;
    let keep_alive = reader.u16()?;
    let connect_properties = properties(version, &mut reader, allowed::CONNECT)?;
    // [MQTT-3.1.3-3], [MQTT-3.1.3-4]
    let client_id = reader.string()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(will(version, &mut reader, qos, retain)?),
        None => None,
    };
    // 3.1 lets the remaining length overrule the flags: the fields may be missing.
    let cut_short = |reader: &Reader<'_>| version == Version::V31 && reader.is_empty();
    // [MQTT-3.1.3-12]
    let username = if flags.username && !cut_short(&reader) {
        Some(reader.string()?)
    } else {
        None
    };
    let password = if flags.password && !cut_short(&reader) {
        Some(reader.binary()?)
    } else {
        None
    };
    reader.end()?;
    Ok(Connect {
        version,
        bridge,
        clean_start: flags.clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties: connect_properties,
    })
}

/// Protocol name and level, and whether the level has the bridge bit.
fn protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
    // [MQTT-3.1.2-1]
    let name = reader.binary()?;
    let level = reader.u8()?;
    match (name, level) {
        (b"MQTT", 5) => Ok((Version::V5, false)),
        (b"MQTT", 4) => Ok((Version::V311, false)),
        (b"MQTT", 0x84) => Ok((Version::V311, true)),
        (b"MQIsdp", 3) => Ok((Version::V31, false)),
        (b"MQIsdp", 0x83) => Ok((Version::V31, true)),
        // The level of the other name, which EMQ 2 took for garbage.
        (b"MQTT", 3 | 0x83) | (b"MQIsdp", 4 | 5 | 0x84) => Err(DecodeError::new(
            DecodeErrorKind::UnknownProtocol,
            "protocol level that does not belong to the protocol name",
        )),
        // [MQTT-3.1.2-2]
        (b"MQTT" | b"MQIsdp", _) => Err(DecodeError::new(
            DecodeErrorKind::UnsupportedVersion,
            "protocol level that is not supported",
        )),
        _ => Err(DecodeError::new(
            DecodeErrorKind::UnknownProtocol,
            "unknown protocol name",
        )),
    }
}

struct ConnectFlags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl ConnectFlags {
    fn read(version: Version, flags: u8) -> Result<ConnectFlags, DecodeError> {
        // [MQTT-3.1.2-3]; 3.1 calls the bit unused.
        if flags & 0x01 != 0 && version != Version::V31 {
            return Err(DecodeError::malformed("reserved CONNECT flag"));
        }
        let will = if flags & 0x04 != 0 {
            // [MQTT-3.1.2-12]
            let qos =
                QoS::from_u8(flags >> 3 & 0b11).ok_or(DecodeError::malformed("will with QoS 3"))?;
            Some((qos, flags & 0x20 != 0))
        } else {
            // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1 disregards the bits.
            if flags & 0x38 != 0 && version != Version::V31 {
                return Err(DecodeError::malformed(
                    "will QoS or will retain without a will",
                ));
            }
            None
        };
        let (username, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
        // [3.1.1: MQTT-3.1.2-22]; 5.0 allows it.
        if password && !username && !version.is_v5() {
            return Err(DecodeError::malformed("password without a user name"));
        }
        Ok(ConnectFlags {
            clean_start: flags & 0x02 != 0,
            will,
            username,
            password,
        })
    }
}

fn will<'a>(
    version: Version,
    reader: &mut Reader<'a>,
    qos: QoS,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let properties = properties(version, reader, allowed::WILL)?;
    // [MQTT-3.1.3-11]; a will is published, so its topic is a topic name [MQTT-4.7.1-1].
    let topic = utf8(reader.binary()?)?;
    topic::validate_name(topic)?;
    let payload = reader.binary()?;
    Ok(Will {
        qos,
        retain,
        topic,
        payload,
        properties,
    })
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
