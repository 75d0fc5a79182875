//! Properties of MQTT 5.0: a validated block of bytes with typed views.

use crate::encode::{put_binary, put_string};
use crate::frame::put_varint;
use crate::text::{Reader, utf8};
use crate::{DecodeError, DecodeErrorKind, topic};

/// The properties of one packet, or of a will.
///
/// A block that came from a decoder is valid: every property may stand in that packet, none stands twice that may not,
/// every value is in its range. A block of any other origin ([`Properties::new`]) is read up to its first error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

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

/// Which properties may stand in a packet, and which of them more than once: one bit per identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    once: u64,
    repeated: u64,
    /// Known in the packet, but not from this side: a protocol error.
    other_side: u64,
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

const fn bits(ids: &[u8]) -> u64 {
    let mut bits = 0;
    let mut index = 0;
    while index < ids.len() {
        bits |= 1 << ids[index];
        index += 1;
    }
    bits
}

/// Table 2-4 of the standard, by packet.
pub(crate) mod allowed {
    use super::{Allowed, id::*};

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
        repeated: super::bits(&[USER_PROPERTY]),
        other_side: super::bits(&[SUBSCRIPTION_ID]),
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
}

/// What a server passes on with an application message: [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16],
/// [MQTT-3.3.2-17], [MQTT-3.3.2-20].
const FORWARDED: u64 = bits(&[
    id::PAYLOAD_FORMAT,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Properties<'static> = Properties(&[]);

    /// Views `raw` (properties without the length before them) as properties. For bytes that came from
    /// [`Properties::as_bytes`], [`Properties::forwardable`] or [`Property::encode`].
    #[inline]
    pub const fn new(raw: &'a [u8]) -> Properties<'a> {
        Properties(raw)
    }

    /// Reads a length and as many bytes, and checks them against what `allowed` says.
    #[inline]
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        allowed: Allowed,
    ) -> Result<Properties<'a>, DecodeError> {
        // The most common length is 0 [MQTT-2.2.2-1].
        if let [0, ..] = reader.rest() {
            reader.u8()?;
            return Ok(Properties::EMPTY);
        }
        let len = reader.varint()?;
        let properties = Properties(reader.bytes(len as usize)?);
        properties.validate(allowed)?;
        Ok(properties)
    }

    fn validate(self, allowed: Allowed) -> Result<(), DecodeError> {
        let mut seen = 0_u64;
        let mut reader = Reader::new(self.0);
        while !reader.is_empty() {
            let property = Property::read(&mut reader)?;
            let bit = 1 << property.id();
            if allowed.other_side & bit != 0 {
                return Err(DecodeError::protocol("property that only a server sends"));
            }
            if (allowed.once | allowed.repeated) & bit == 0 {
                return Err(DecodeError::malformed(
                    "property that may not stand in this packet",
                ));
            }
            if seen & allowed.once & bit != 0 {
                return Err(DecodeError::protocol("property that stands twice"));
            }
            seen |= bit;
            property.check_value()?;
        }
        if seen & bits(&[id::AUTH_DATA, id::AUTH_METHOD]) == bits(&[id::AUTH_DATA]) {
            return Err(DecodeError::protocol(
                "authentication data without an authentication method",
            ));
        }
        Ok(())
    }

    /// Whether there is no property.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The properties as they stand in the packet, without the length before them.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The properties in their order.
    #[inline]
    pub fn iter(&self) -> PropertyIter<'a> {
        PropertyIter(Reader::new(self.0))
    }

    /// Appends to `out` what a server passes on with an application message, in its order: payload format, content type,
    /// response topic, correlation data, user properties.
    #[inline]
    pub fn forwardable(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            self.copy_forwardable(out);
        }
    }

    fn copy_forwardable(&self, out: &mut Vec<u8>) {
        let mut reader = Reader::new(self.0);
        // Neighbours that are passed on are copied in one piece.
        let mut run = reader.rest();
        loop {
            let before = reader.rest();
            let read = Raw::read(&mut reader);
            if read.as_ref().is_ok_and(|raw| FORWARDED & 1 << raw.id != 0) {
                continue;
            }
            out.extend_from_slice(&run[..run.len() - before.len()]);
            if read.is_err() {
                return;
            }
            run = reader.rest();
        }
    }

    fn find(&self, id: u8) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.0);
        while let Ok(raw) = Raw::read(&mut reader) {
            if raw.id == id {
                return Some(raw.value);
            }
        }
        None
    }

    fn byte(&self, id: u8) -> Option<u8> {
        self.find(id)?.first().copied()
    }

    fn two_bytes(&self, id: u8) -> Option<u16> {
        self.find(id)?
            .first_chunk()
            .map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn four_bytes(&self, id: u8) -> Option<u32> {
        self.find(id)?
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn string(&self, id: u8) -> Option<&'a str> {
        utf8(self.find(id)?).ok()
    }

    /// Whether the payload is UTF-8 text (1) or not said to be (0).
    pub fn payload_format(&self) -> Option<u8> {
        self.byte(id::PAYLOAD_FORMAT)
    }

    /// Seconds a message may wait.
    pub fn message_expiry(&self) -> Option<u32> {
        self.four_bytes(id::MESSAGE_EXPIRY)
    }

    /// Description of the payload's content.
    pub fn content_type(&self) -> Option<&'a str> {
        self.string(id::CONTENT_TYPE)
    }

    /// Topic for a response.
    pub fn response_topic(&self) -> Option<&'a str> {
        self.string(id::RESPONSE_TOPIC)
    }

    /// What the requester knows its request by.
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(id::CORRELATION_DATA)
    }

    /// The first subscription identifier; a PUBLISH of a server may have several, see [`Properties::subscription_ids`].
    pub fn subscription_id(&self) -> Option<u32> {
        self.subscription_ids().next()
    }

    /// All subscription identifiers.
    pub fn subscription_ids(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// Seconds the session outlives the connection; 0xFFFF_FFFF means for ever.
    pub fn session_expiry(&self) -> Option<u32> {
        self.four_bytes(id::SESSION_EXPIRY)
    }

    /// The client id that the server chose.
    pub fn assigned_client_id(&self) -> Option<&'a str> {
        self.string(id::ASSIGNED_CLIENT_ID)
    }

    /// Seconds; takes the place of the client's keep alive.
    pub fn server_keep_alive(&self) -> Option<u16> {
        self.two_bytes(id::SERVER_KEEP_ALIVE)
    }

    /// Name of the authentication method.
    pub fn auth_method(&self) -> Option<&'a str> {
        self.string(id::AUTH_METHOD)
    }

    /// Data of the authentication method.
    pub fn auth_data(&self) -> Option<&'a [u8]> {
        self.find(id::AUTH_DATA)
    }

    /// Whether reason strings and user properties may be sent on failures; absent means yes.
    pub fn request_problem_information(&self) -> Option<bool> {
        self.byte(id::REQUEST_PROBLEM_INFO).map(|value| value != 0)
    }

    /// Seconds between the loss of the connection and the will.
    pub fn will_delay(&self) -> Option<u32> {
        self.four_bytes(id::WILL_DELAY)
    }

    /// Whether response information is asked for; absent means no.
    pub fn request_response_information(&self) -> Option<bool> {
        self.byte(id::REQUEST_RESPONSE_INFO).map(|value| value != 0)
    }

    /// Base for response topics.
    pub fn response_information(&self) -> Option<&'a str> {
        self.string(id::RESPONSE_INFO)
    }

    /// Another server to use.
    pub fn server_reference(&self) -> Option<&'a str> {
        self.string(id::SERVER_REFERENCE)
    }

    /// Text for people that explains the reason code.
    pub fn reason_string(&self) -> Option<&'a str> {
        self.string(id::REASON_STRING)
    }

    /// How many QoS 1 and 2 messages the sender of the packet takes at once; absent means 65,535.
    pub fn receive_maximum(&self) -> Option<u16> {
        self.two_bytes(id::RECEIVE_MAXIMUM)
    }

    /// The highest topic alias that the sender of the packet takes; absent means 0.
    pub fn topic_alias_maximum(&self) -> Option<u16> {
        self.two_bytes(id::TOPIC_ALIAS_MAXIMUM)
    }

    /// The alias of the topic; not 0.
    pub fn topic_alias(&self) -> Option<u16> {
        self.two_bytes(id::TOPIC_ALIAS)
    }

    /// 0 or 1; absent means 2.
    pub fn maximum_qos(&self) -> Option<u8> {
        self.byte(id::MAXIMUM_QOS)
    }

    /// Whether the server keeps retained messages; absent means yes.
    pub fn retain_available(&self) -> Option<bool> {
        self.byte(id::RETAIN_AVAILABLE).map(|value| value != 0)
    }

    /// User properties in their order; a name may stand several times.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The longest packet, in bytes, that the sender of the packet takes; absent means no limit.
    pub fn maximum_packet_size(&self) -> Option<u32> {
        self.four_bytes(id::MAXIMUM_PACKET_SIZE)
    }

    /// Whether filters may have wildcards; absent means yes.
    pub fn wildcard_subscription_available(&self) -> Option<bool> {
        self.byte(id::WILDCARD_SUB_AVAILABLE)
            .map(|value| value != 0)
    }

    /// Whether subscriptions may have identifiers; absent means yes.
    pub fn subscription_ids_available(&self) -> Option<bool> {
        self.byte(id::SUB_ID_AVAILABLE).map(|value| value != 0)
    }

    /// Whether there are shared subscriptions; absent means yes.
    pub fn shared_subscription_available(&self) -> Option<bool> {
        self.byte(id::SHARED_SUB_AVAILABLE).map(|value| value != 0)
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Iterates over properties; ends at the first that cannot be read.
#[derive(Debug, Clone)]
pub struct PropertyIter<'a>(Reader<'a>);

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if let Ok(property) = Property::read(&mut self.0) {
            return Some(property);
        }
        self.0 = Reader::new(&[]);
        None
    }
}

/// A property cut out but not interpreted. The value is without the length before it.
struct Raw<'a> {
    id: u8,
    value: &'a [u8],
}

impl<'a> Raw<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Raw<'a>, DecodeError> {
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
    fn read(reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
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
    fn check_value(&self) -> Result<(), DecodeError> {
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
