//! Properties of MQTT 5.0: a validated block of bytes with typed views.

use crate::DecodeError;
use crate::text::{Reader, utf8};

pub(crate) mod allowed;
mod value;

pub use value::Property;
pub(crate) use value::id;

use allowed::{Allowed, bits};
use value::Raw;

/// The properties of one packet, or of a will.
///
/// A block that came from a decoder is valid: every property may stand in that packet, none stands twice that may not,
/// every value is in its range. A block of any other origin ([`Properties::new`]) is read up to its first error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

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
