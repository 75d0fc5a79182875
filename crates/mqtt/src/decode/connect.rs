//! CONNECT.

use super::{check_flags, properties};
use crate::property::allowed;
use crate::text::{Reader, utf8};
use crate::{Connect, DecodeError, DecodeErrorKind, PacketType, QoS, Version, Will, topic};

pub(super) fn connect<'a>(first: u8, body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
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
    // [MQTT-3.1.3-11]; a will is published, so its topic is a topic name [MQTT-4.7.0-1].
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
