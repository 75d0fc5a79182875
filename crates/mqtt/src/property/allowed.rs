//! Which properties may stand where: table 2-4 of the standard.

use super::value::id::*;

/// Which properties may stand in a packet, and which of them more than once: one bit per identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(super) once: u64,
    pub(super) repeated: u64,
    /// Known in the packet, but not from this side: a protocol error.
    pub(super) other_side: u64,
}

impl Allowed {
    const fn new(once: &[u8], repeated: &[u8]) -> Allowed {
        Allowed {
            once: bits(once),
            repeated: bits(repeated),
            other_side: 0,
        }
    }
}

pub(super) const fn bits(ids: &[u8]) -> u64 {
    let mut bits = 0;
    let mut index = 0;
    while index < ids.len() {
        bits |= 1 << ids[index];
        index += 1;
    }
    bits
}

pub(crate) const CONNECT: Allowed = Allowed::new(
    &[
        SESSION_EXPIRY,
        AUTH_METHOD,
        AUTH_DATA,
        REQUEST_PROBLEM_INFO,
        REQUEST_RESPONSE_INFO,
        RECEIVE_MAXIMUM,
        TOPIC_ALIAS_MAXIMUM,
        MAXIMUM_PACKET_SIZE,
    ],
    &[USER_PROPERTY],
);
pub(crate) const WILL: Allowed = Allowed::new(
    &[
        PAYLOAD_FORMAT,
        MESSAGE_EXPIRY,
        CONTENT_TYPE,
        RESPONSE_TOPIC,
        CORRELATION_DATA,
        WILL_DELAY,
    ],
    &[USER_PROPERTY],
);
pub(crate) const CONNACK: Allowed = Allowed::new(
    &[
        SESSION_EXPIRY,
        ASSIGNED_CLIENT_ID,
        SERVER_KEEP_ALIVE,
        AUTH_METHOD,
        AUTH_DATA,
        RESPONSE_INFO,
        SERVER_REFERENCE,
        REASON_STRING,
        RECEIVE_MAXIMUM,
        TOPIC_ALIAS_MAXIMUM,
        MAXIMUM_QOS,
        RETAIN_AVAILABLE,
        MAXIMUM_PACKET_SIZE,
        WILDCARD_SUB_AVAILABLE,
        SUB_ID_AVAILABLE,
        SHARED_SUB_AVAILABLE,
    ],
    &[USER_PROPERTY],
);
/// [MQTT-3.3.4-6]: a client sends no subscription identifier.
pub(crate) const PUBLISH_OF_CLIENT: Allowed = Allowed {
    repeated: bits(&[USER_PROPERTY]),
    other_side: bits(&[SUBSCRIPTION_ID]),
    ..PUBLISH_OF_SERVER
};
pub(crate) const PUBLISH_OF_SERVER: Allowed = Allowed::new(
    &[
        PAYLOAD_FORMAT,
        MESSAGE_EXPIRY,
        CONTENT_TYPE,
        RESPONSE_TOPIC,
        CORRELATION_DATA,
        TOPIC_ALIAS,
    ],
    &[USER_PROPERTY, SUBSCRIPTION_ID],
);
/// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
pub(crate) const ACK: Allowed = Allowed::new(&[REASON_STRING], &[USER_PROPERTY]);
pub(crate) const SUBSCRIBE: Allowed = Allowed::new(&[SUBSCRIPTION_ID], &[USER_PROPERTY]);
pub(crate) const UNSUBSCRIBE: Allowed = Allowed::new(&[], &[USER_PROPERTY]);
pub(crate) const DISCONNECT: Allowed = Allowed::new(
    &[SESSION_EXPIRY, SERVER_REFERENCE, REASON_STRING],
    &[USER_PROPERTY],
);
pub(crate) const AUTH: Allowed =
    Allowed::new(&[AUTH_METHOD, AUTH_DATA, REASON_STRING], &[USER_PROPERTY]);
