//! Why a packet was refused.

use std::fmt;

use crate::ReasonCode;

/// A packet that breaks the standard. The connection it came from must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// The class, which selects what the peer is told.
    pub kind: DecodeErrorKind,
    /// What is wrong, for a log line.
    pub detail: &'static str,
}

/// Classes of [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecodeErrorKind {
    /// The bytes are not a packet.
    Malformed,
    /// A packet that may not be sent, although it can be parsed.
    ProtocolError,
    /// A remaining length of more than four bytes, or in more bytes than it needs.
    InvalidLength,
    /// Longer than the receiver takes. Not made by the codec; here so that the broker's own check speaks the same language.
    PacketTooLarge,
    /// CONNECT with a protocol name that is neither `MQTT` nor `MQIsdp`, or with the level of the other name.
    UnknownProtocol,
    /// CONNECT with the protocol name `MQTT` and an unknown level: CONNACK 1 in 3.x, 0x84 in 5.0.
    UnsupportedVersion,
    /// A topic name with a wildcard or a NUL, or an empty one.
    TopicNameInvalid,
    /// A topic filter that breaks the rules for wildcards. Made by the broker, which sees the filters one by one.
    TopicFilterInvalid,
    /// A subscription with the QoS 3.
    SubscriptionQos,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    EmptyFilters,
    /// A topic alias of 0.
    TopicAliasInvalid,
}

impl DecodeError {
    /// An error of this kind.
    #[inline]
    pub const fn new(kind: DecodeErrorKind, detail: &'static str) -> DecodeError {
        DecodeError { kind, detail }
    }

    #[cold]
    pub(crate) const fn malformed(detail: &'static str) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Malformed, detail)
    }

    #[cold]
    pub(crate) const fn protocol(detail: &'static str) -> DecodeError {
        DecodeError::new(DecodeErrorKind::ProtocolError, detail)
    }

    /// The reason code for the DISCONNECT or CONNACK of MQTT 5.0.
    pub const fn reason(&self) -> ReasonCode {
        match self.kind {
            DecodeErrorKind::Malformed | DecodeErrorKind::InvalidLength => {
                ReasonCode::MALFORMED_PACKET
            }
            DecodeErrorKind::ProtocolError
            | DecodeErrorKind::SubscriptionQos
            | DecodeErrorKind::EmptyFilters => ReasonCode::PROTOCOL_ERROR,
            DecodeErrorKind::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            DecodeErrorKind::UnknownProtocol | DecodeErrorKind::UnsupportedVersion => {
                ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            }
            DecodeErrorKind::TopicNameInvalid => ReasonCode::TOPIC_NAME_INVALID,
            DecodeErrorKind::TopicFilterInvalid => ReasonCode::TOPIC_FILTER_INVALID,
            DecodeErrorKind::TopicAliasInvalid => ReasonCode::TOPIC_ALIAS_INVALID,
        }
    }

    /// The name EMQ 2 has for the end of such a connection, as hooks, presence and `listeners` show it.
    pub const fn emq_reason(&self) -> &'static str {
        match self.kind {
            DecodeErrorKind::Malformed
            | DecodeErrorKind::ProtocolError
            | DecodeErrorKind::TopicAliasInvalid => "parser_error",
            DecodeErrorKind::InvalidLength | DecodeErrorKind::PacketTooLarge => {
                "invalid_mqtt_frame_len"
            }
            DecodeErrorKind::UnknownProtocol | DecodeErrorKind::UnsupportedVersion => {
                "protocol_header_corrupt"
            }
            DecodeErrorKind::TopicNameInvalid
            | DecodeErrorKind::TopicFilterInvalid
            | DecodeErrorKind::SubscriptionQos => "badtopic",
            DecodeErrorKind::EmptyFilters => "empty_topics",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)
    }
}

impl std::error::Error for DecodeError {}
