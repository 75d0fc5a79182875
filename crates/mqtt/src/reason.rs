//! Reason codes of MQTT 5.0.

use crate::PacketType;

/// A reason code: one byte; 0x80 and above are failures. Which codes a packet may carry: [`ReasonCode::is_valid_in`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    /// Success; also: normal disconnection, QoS 0 granted.
    pub const SUCCESS: ReasonCode = ReasonCode(0x00);
    /// QoS 1 granted.
    pub const GRANTED_QOS_1: ReasonCode = ReasonCode(0x01);
    /// QoS 2 granted.
    pub const GRANTED_QOS_2: ReasonCode = ReasonCode(0x02);
    /// Disconnect with will message.
    pub const DISCONNECT_WITH_WILL: ReasonCode = ReasonCode(0x04);
    /// No matching subscribers.
    pub const NO_MATCHING_SUBSCRIBERS: ReasonCode = ReasonCode(0x10);
    /// No subscription existed.
    pub const NO_SUBSCRIPTION_EXISTED: ReasonCode = ReasonCode(0x11);
    /// Continue authentication.
    pub const CONTINUE_AUTHENTICATION: ReasonCode = ReasonCode(0x18);
    /// Re-authenticate.
    pub const RE_AUTHENTICATE: ReasonCode = ReasonCode(0x19);
    /// Unspecified error.
    pub const UNSPECIFIED_ERROR: ReasonCode = ReasonCode(0x80);
    /// Malformed packet.
    pub const MALFORMED_PACKET: ReasonCode = ReasonCode(0x81);
    /// Protocol error.
    pub const PROTOCOL_ERROR: ReasonCode = ReasonCode(0x82);
    /// Implementation specific error.
    pub const IMPLEMENTATION_SPECIFIC_ERROR: ReasonCode = ReasonCode(0x83);
    /// Unsupported protocol version.
    pub const UNSUPPORTED_PROTOCOL_VERSION: ReasonCode = ReasonCode(0x84);
    /// Client identifier not valid.
    pub const CLIENT_IDENTIFIER_NOT_VALID: ReasonCode = ReasonCode(0x85);
    /// Bad user name or password.
    pub const BAD_USER_NAME_OR_PASSWORD: ReasonCode = ReasonCode(0x86);
    /// Not authorized.
    pub const NOT_AUTHORIZED: ReasonCode = ReasonCode(0x87);
    /// Server unavailable.
    pub const SERVER_UNAVAILABLE: ReasonCode = ReasonCode(0x88);
    /// Server busy.
    pub const SERVER_BUSY: ReasonCode = ReasonCode(0x89);
    /// Banned.
    pub const BANNED: ReasonCode = ReasonCode(0x8A);
    /// Server shutting down.
    pub const SERVER_SHUTTING_DOWN: ReasonCode = ReasonCode(0x8B);
    /// Bad authentication method.
    pub const BAD_AUTHENTICATION_METHOD: ReasonCode = ReasonCode(0x8C);
    /// Keep alive timeout.
    pub const KEEP_ALIVE_TIMEOUT: ReasonCode = ReasonCode(0x8D);
    /// Session taken over.
    pub const SESSION_TAKEN_OVER: ReasonCode = ReasonCode(0x8E);
    /// Topic filter invalid.
    pub const TOPIC_FILTER_INVALID: ReasonCode = ReasonCode(0x8F);
    /// Topic name invalid.
    pub const TOPIC_NAME_INVALID: ReasonCode = ReasonCode(0x90);
    /// Packet identifier in use.
    pub const PACKET_IDENTIFIER_IN_USE: ReasonCode = ReasonCode(0x91);
    /// Packet identifier not found.
    pub const PACKET_IDENTIFIER_NOT_FOUND: ReasonCode = ReasonCode(0x92);
    /// Receive maximum exceeded.
    pub const RECEIVE_MAXIMUM_EXCEEDED: ReasonCode = ReasonCode(0x93);
    /// Topic alias invalid.
    pub const TOPIC_ALIAS_INVALID: ReasonCode = ReasonCode(0x94);
    /// Packet too large.
    pub const PACKET_TOO_LARGE: ReasonCode = ReasonCode(0x95);
    /// Message rate too high.
    pub const MESSAGE_RATE_TOO_HIGH: ReasonCode = ReasonCode(0x96);
    /// Quota exceeded.
    pub const QUOTA_EXCEEDED: ReasonCode = ReasonCode(0x97);
    /// Administrative action.
    pub const ADMINISTRATIVE_ACTION: ReasonCode = ReasonCode(0x98);
    /// Payload format invalid.
    pub const PAYLOAD_FORMAT_INVALID: ReasonCode = ReasonCode(0x99);
    /// Retain not supported.
    pub const RETAIN_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9A);
    /// QoS not supported.
    pub const QOS_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9B);
    /// Use another server.
    pub const USE_ANOTHER_SERVER: ReasonCode = ReasonCode(0x9C);
    /// Server moved.
    pub const SERVER_MOVED: ReasonCode = ReasonCode(0x9D);
    /// Shared subscriptions not supported.
    pub const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9E);
    /// Connection rate exceeded.
    pub const CONNECTION_RATE_EXCEEDED: ReasonCode = ReasonCode(0x9F);
    /// Maximum connect time.
    pub const MAXIMUM_CONNECT_TIME: ReasonCode = ReasonCode(0xA0);
    /// Subscription identifiers not supported.
    pub const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: ReasonCode = ReasonCode(0xA1);
    /// Wildcard subscriptions not supported.
    pub const WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: ReasonCode = ReasonCode(0xA2);

    /// Whether the code says that something failed.
    #[inline]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The name in lower case with underscores, `unknown` for a number without meaning. 0 is `success`, also where the
    /// standard calls it normal disconnection or granted QoS 0.
    pub const fn name(self) -> &'static str {
        match self {
            ReasonCode::SUCCESS => "success",
            ReasonCode::GRANTED_QOS_1 => "granted_qos1",
            ReasonCode::GRANTED_QOS_2 => "granted_qos2",
            ReasonCode::DISCONNECT_WITH_WILL => "disconnect_with_will_message",
            ReasonCode::NO_MATCHING_SUBSCRIBERS => "no_matching_subscribers",
            ReasonCode::NO_SUBSCRIPTION_EXISTED => "no_subscription_existed",
            ReasonCode::CONTINUE_AUTHENTICATION => "continue_authentication",
            ReasonCode::RE_AUTHENTICATE => "re_authenticate",
            ReasonCode::UNSPECIFIED_ERROR => "unspecified_error",
            ReasonCode::MALFORMED_PACKET => "malformed_packet",
            ReasonCode::PROTOCOL_ERROR => "protocol_error",
            ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR => "implementation_specific_error",
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "unsupported_protocol_version",
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "client_identifier_not_valid",
            ReasonCode::BAD_USER_NAME_OR_PASSWORD => "bad_username_or_password",
            ReasonCode::NOT_AUTHORIZED => "not_authorized",
            ReasonCode::SERVER_UNAVAILABLE => "server_unavailable",
            ReasonCode::SERVER_BUSY => "server_busy",
            ReasonCode::BANNED => "banned",
            ReasonCode::SERVER_SHUTTING_DOWN => "server_shutting_down",
            ReasonCode::BAD_AUTHENTICATION_METHOD => "bad_authentication_method",
            ReasonCode::KEEP_ALIVE_TIMEOUT => "keepalive_timeout",
            ReasonCode::SESSION_TAKEN_OVER => "session_taken_over",
            ReasonCode::TOPIC_FILTER_INVALID => "topic_filter_invalid",
            ReasonCode::TOPIC_NAME_INVALID => "topic_name_invalid",
            ReasonCode::PACKET_IDENTIFIER_IN_USE => "packet_identifier_inuse",
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND => "packet_identifier_not_found",
            ReasonCode::RECEIVE_MAXIMUM_EXCEEDED => "receive_maximum_exceeded",
            ReasonCode::TOPIC_ALIAS_INVALID => "topic_alias_invalid",
            ReasonCode::PACKET_TOO_LARGE => "packet_too_large",
            ReasonCode::MESSAGE_RATE_TOO_HIGH => "message_rate_too_high",
            ReasonCode::QUOTA_EXCEEDED => "quota_exceeded",
            ReasonCode::ADMINISTRATIVE_ACTION => "administrative_action",
            ReasonCode::PAYLOAD_FORMAT_INVALID => "payload_format_invalid",
            ReasonCode::RETAIN_NOT_SUPPORTED => "retain_not_supported",
            ReasonCode::QOS_NOT_SUPPORTED => "qos_not_supported",
            ReasonCode::USE_ANOTHER_SERVER => "use_another_server",
            ReasonCode::SERVER_MOVED => "server_moved",
            ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED => "shared_subscriptions_not_supported",
            ReasonCode::CONNECTION_RATE_EXCEEDED => "connection_rate_exceeded",
            ReasonCode::MAXIMUM_CONNECT_TIME => "maximum_connect_time",
            ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED => {
                "subscription_identifiers_not_supported"
            }
            ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => {
                "wildcard_subscriptions_not_supported"
            }
            _ => "unknown",
        }
    }

    /// Whether a packet of type `packet` may carry this code, in either direction.
    ///
    /// [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.9.3-2],
    /// [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1].
    #[rustfmt::skip]
    pub const fn is_valid_in(self, packet: PacketType) -> bool {
        match packet {
            PacketType::ConnAck => matches!(self.0,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F),
            PacketType::PubAck | PacketType::PubRec => matches!(self.0,
                0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99),
            PacketType::PubRel | PacketType::PubComp => matches!(self.0, 0x00 | 0x92),
            PacketType::SubAck => matches!(self.0,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2),
            PacketType::UnsubAck => matches!(self.0, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            PacketType::Disconnect => matches!(self.0,
                0x00 | 0x04 | 0x80..=0x84 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2),
            PacketType::Auth => matches!(self.0, 0x00 | 0x18 | 0x19),
            _ => false,
        }
    }
}

impl std::fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReasonCode(0x{:02X} {})", self.0, self.name())
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ReasonCode> for u8 {
    #[inline]
    fn from(code: ReasonCode) -> u8 {
        code.0
    }
}
