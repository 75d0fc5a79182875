//! What only a client sends: for bridges and tests.

use super::{packet, put_binary, put_properties, put_string};
use crate::{Connect, PacketType, Properties, SubscriptionOptions, Version};

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

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
}
