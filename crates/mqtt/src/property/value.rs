//! One property: its identifier, its value, its bytes.

use crate::encode::{put_binary, put_string};
use crate::frame::put_varint;
use crate::text::Reader;
use crate::{DecodeError, DecodeErrorKind, topic};

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the standard.
pub enum Property<'a> {
    PayloadFormatIndicator(u8),
    /// Seconds.
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    /// Seconds; 0xFFFF_FFFF means never.
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(u8),
    /// Seconds.
    WillDelayInterval(u32),
    RequestResponseInformation(u8),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    UserProperty(&'a str, &'a str),
    /// Bytes.
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(u8),
    SubscriptionIdentifierAvailable(u8),
    SharedSubscriptionAvailable(u8),
}

/// Property identifiers (2.2.2.2).
pub(crate) mod id {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTH_METHOD: u8 = 0x15;
    pub const AUTH_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFO: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFO: u8 = 0x19;
    pub const RESPONSE_INFO: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_SUB_AVAILABLE: u8 = 0x28;
    pub const SUB_ID_AVAILABLE: u8 = 0x29;
    pub const SHARED_SUB_AVAILABLE: u8 = 0x2A;
}

/// A property cut out but not interpreted. The value is without the length before it.
pub(super) struct Raw<'a> {
    pub(super) id: u8,
    pub(super) value: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Raw<'a>, DecodeError> {
        // The identifier is a variable byte integer, but all that exist fit in one byte.
        let id = reader.u8()?;
        let value = match id {
            id::PAYLOAD_FORMAT
            | id::REQUEST_PROBLEM_INFO
            | id::REQUEST_RESPONSE_INFO
            | id::MAXIMUM_QOS
            | id::RETAIN_AVAILABLE
            | id::WILDCARD_SUB_AVAILABLE
            | id::SUB_ID_AVAILABLE
            | id::SHARED_SUB_AVAILABLE => reader.bytes(1)?,
            id::SERVER_KEEP_ALIVE
            | id::RECEIVE_MAXIMUM
            | id::TOPIC_ALIAS_MAXIMUM
            | id::TOPIC_ALIAS => reader.bytes(2)?,
            id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY | id::MAXIMUM_PACKET_SIZE => {
                reader.bytes(4)?
            }
            id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::CORRELATION_DATA
            | id::ASSIGNED_CLIENT_ID
            | id::AUTH_METHOD
            | id::AUTH_DATA
            | id::RESPONSE_INFO
            | id::SERVER_REFERENCE
            | id::REASON_STRING => reader.binary()?,
            id::SUBSCRIPTION_ID => {
                let before = reader.rest();
                reader.varint()?;
                &before[..before.len() - reader.rest().len()]
            }
            id::USER_PROPERTY => {
                let before = reader.rest();
                reader.binary()?;
                reader.binary()?;
                &before[..before.len() - reader.rest().len()]
            }
            _ => return Err(DecodeError::malformed("unknown property")),
        };
        Ok(Raw { id, value })
    }
}

impl<'a> Property<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
        Ok(match reader.u8()? {
            id::PAYLOAD_FORMAT => Property::PayloadFormatIndicator(reader.u8()?),
            id::MESSAGE_EXPIRY => Property::MessageExpiryInterval(reader.u32()?),
            id::CONTENT_TYPE => Property::ContentType(reader.string()?),
            id::RESPONSE_TOPIC => Property::ResponseTopic(reader.string()?),
            id::CORRELATION_DATA => Property::CorrelationData(reader.binary()?),
            id::SUBSCRIPTION_ID => Property::SubscriptionIdentifier(reader.varint()?),
            id::SESSION_EXPIRY => Property::SessionExpiryInterval(reader.u32()?),
            id::ASSIGNED_CLIENT_ID => Property::AssignedClientIdentifier(reader.string()?),
            id::SERVER_KEEP_ALIVE => Property::ServerKeepAlive(reader.u16()?),
            id::AUTH_METHOD => Property::AuthenticationMethod(reader.string()?),
            id::AUTH_DATA => Property::AuthenticationData(reader.binary()?),
            id::REQUEST_PROBLEM_INFO => Property::RequestProblemInformation(reader.u8()?),
            id::WILL_DELAY => Property::WillDelayInterval(reader.u32()?),
            id::REQUEST_RESPONSE_INFO => Property::RequestResponseInformation(reader.u8()?),
            id::RESPONSE_INFO => Property::ResponseInformation(reader.string()?),
            id::SERVER_REFERENCE => Property::ServerReference(reader.string()?),
            id::REASON_STRING => Property::ReasonString(reader.string()?),
            id::RECEIVE_MAXIMUM => Property::ReceiveMaximum(reader.u16()?),
            id::TOPIC_ALIAS_MAXIMUM => Property::TopicAliasMaximum(reader.u16()?),
            id::TOPIC_ALIAS => Property::TopicAlias(reader.u16()?),
            id::MAXIMUM_QOS => Property::MaximumQos(reader.u8()?),
            id::RETAIN_AVAILABLE => Property::RetainAvailable(reader.u8()?),
            id::USER_PROPERTY => Property::UserProperty(reader.string()?, reader.string()?),
            id::MAXIMUM_PACKET_SIZE => Property::MaximumPacketSize(reader.u32()?),
            id::WILDCARD_SUB_AVAILABLE => Property::WildcardSubscriptionAvailable(reader.u8()?),
            id::SUB_ID_AVAILABLE => Property::SubscriptionIdentifierAvailable(reader.u8()?),
            id::SHARED_SUB_AVAILABLE => Property::SharedSubscriptionAvailable(reader.u8()?),
            _ => return Err(DecodeError::malformed("unknown property")),
        })
    }

    /// The property identifier, below 64.
    pub const fn id(&self) -> u8 {
        match self {
            Property::PayloadFormatIndicator(_) => id::PAYLOAD_FORMAT,
            Property::MessageExpiryInterval(_) => id::MESSAGE_EXPIRY,
            Property::ContentType(_) => id::CONTENT_TYPE,
            Property::ResponseTopic(_) => id::RESPONSE_TOPIC,
            Property::CorrelationData(_) => id::CORRELATION_DATA,
            Property::SubscriptionIdentifier(_) => id::SUBSCRIPTION_ID,
            Property::SessionExpiryInterval(_) => id::SESSION_EXPIRY,
            Property::AssignedClientIdentifier(_) => id::ASSIGNED_CLIENT_ID,
            Property::ServerKeepAlive(_) => id::SERVER_KEEP_ALIVE,
            Property::AuthenticationMethod(_) => id::AUTH_METHOD,
            Property::AuthenticationData(_) => id::AUTH_DATA,
            Property::RequestProblemInformation(_) => id::REQUEST_PROBLEM_INFO,
            Property::WillDelayInterval(_) => id::WILL_DELAY,
            Property::RequestResponseInformation(_) => id::REQUEST_RESPONSE_INFO,
            Property::ResponseInformation(_) => id::RESPONSE_INFO,
            Property::ServerReference(_) => id::SERVER_REFERENCE,
            Property::ReasonString(_) => id::REASON_STRING,
            Property::ReceiveMaximum(_) => id::RECEIVE_MAXIMUM,
            Property::TopicAliasMaximum(_) => id::TOPIC_ALIAS_MAXIMUM,
            Property::TopicAlias(_) => id::TOPIC_ALIAS,
            Property::MaximumQos(_) => id::MAXIMUM_QOS,
            Property::RetainAvailable(_) => id::RETAIN_AVAILABLE,
            Property::UserProperty(..) => id::USER_PROPERTY,
            Property::MaximumPacketSize(_) => id::MAXIMUM_PACKET_SIZE,
            Property::WildcardSubscriptionAvailable(_) => id::WILDCARD_SUB_AVAILABLE,
            Property::SubscriptionIdentifierAvailable(_) => id::SUB_ID_AVAILABLE,
            Property::SharedSubscriptionAvailable(_) => id::SHARED_SUB_AVAILABLE,
        }
    }

    /// Values that their type could say but the standard forbids.
    pub(super) fn check_value(&self) -> Result<(), DecodeError> {
        match *self {
            Property::PayloadFormatIndicator(value)
            | Property::RequestProblemInformation(value)
            | Property::RequestResponseInformation(value)
            | Property::MaximumQos(value)
            | Property::RetainAvailable(value)
            | Property::WildcardSubscriptionAvailable(value)
            | Property::SubscriptionIdentifierAvailable(value)
            | Property::SharedSubscriptionAvailable(value)
                if value > 1 =>
            {
                Err(DecodeError::protocol("property that must be 0 or 1"))
            }
            // [MQTT-3.3.2-8]
            Property::TopicAlias(0) => Err(DecodeError::new(
                DecodeErrorKind::TopicAliasInvalid,
                "topic alias 0",
            )),
            Property::ReceiveMaximum(0) => Err(DecodeError::protocol("receive maximum 0")),
            Property::MaximumPacketSize(0) => Err(DecodeError::protocol("maximum packet size 0")),
            Property::SubscriptionIdentifier(0) => {
                Err(DecodeError::protocol("subscription identifier 0"))
            }
            // [MQTT-3.3.2-14]
            Property::ResponseTopic(name) if topic::validate_name(name).is_err() => Err(
                DecodeError::protocol("response topic that is not a topic name"),
            ),
            _ => Ok(()),
        }
    }

    /// Appends the property. Text and data longer than 65,535 bytes are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.id());
        match *self {
            Property::PayloadFormatIndicator(value)
            | Property::RequestProblemInformation(value)
            | Property::RequestResponseInformation(value)
            | Property::MaximumQos(value)
            | Property::RetainAvailable(value)
            | Property::WildcardSubscriptionAvailable(value)
            | Property::SubscriptionIdentifierAvailable(value)
            | Property::SharedSubscriptionAvailable(value) => out.push(value),
            Property::ServerKeepAlive(value)
            | Property::ReceiveMaximum(value)
            | Property::TopicAliasMaximum(value)
            | Property::TopicAlias(value) => out.extend_from_slice(&value.to_be_bytes()),
            Property::MessageExpiryInterval(value)
            | Property::SessionExpiryInterval(value)
            | Property::WillDelayInterval(value)
            | Property::MaximumPacketSize(value) => out.extend_from_slice(&value.to_be_bytes()),
            Property::SubscriptionIdentifier(value) => put_varint(out, value as usize),
            Property::ContentType(text)
            | Property::ResponseTopic(text)
            | Property::AssignedClientIdentifier(text)
            | Property::AuthenticationMethod(text)
            | Property::ResponseInformation(text)
            | Property::ServerReference(text)
            | Property::ReasonString(text) => put_string(out, text),
            Property::CorrelationData(data) | Property::AuthenticationData(data) => {
                put_binary(out, data)
            }
            Property::UserProperty(name, value) => {
                put_string(out, name);
                put_string(out, value);
            }
        }
    }
}
