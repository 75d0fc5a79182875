//! The packets, borrowed from the bytes they came in.

use crate::text::Reader;
use crate::{PacketType, Properties, QoS, ReasonCode, Version};

/// A packet of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the standard.
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// The type of the packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// From the protocol name and level.
    pub version: Version,
    /// The bit 0x80 of the level, which bridges of mosquitto set (3.x only).
    pub bridge: bool,
    /// Clean start; clean session in 3.x.
    pub clean_start: bool,
    /// Seconds; 0 means none.
    pub keep_alive: u16,
    /// May be empty; whether that is allowed is for the broker to say.
    pub client_id: &'a str,
    /// The will, if the will flag is set.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password: any bytes.
    pub password: Option<&'a [u8]>,
    /// Properties of CONNECT; those of the will are in [`Will`].
    pub properties: Properties<'a>,
}

/// The will of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// QoS to publish it with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// A valid topic name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// Will delay and the properties of the message.
    pub properties: Properties<'a>,
}

/// CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server resumes a session.
    pub session_present: bool,
    /// Return code 0 to 5 in 3.x, a reason code in 5.0.
    pub code: u8,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
}

/// PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this may be a re-delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// A valid topic name; empty only in 5.0 and only with a topic alias.
    pub topic: &'a str,
    /// 0 with QoS 0, not 0 otherwise.
    pub packet_id: u16,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Not 0.
    pub packet_id: u16,
    /// [`ReasonCode::SUCCESS`] in 3.x.
    pub reason: ReasonCode,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
}

/// What a subscription asks for besides its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS to deliver with.
    pub qos: QoS,
    /// Do not deliver messages of the subscriber's own client id (5.0).
    pub no_local: bool,
    /// Deliver the retain flag as it was published (5.0).
    pub retain_as_published: bool,
    /// 0: send retained messages; 1: only for a new subscription; 2: never (5.0).
    pub retain_handling: u8,
}

impl SubscriptionOptions {
    /// The options of a byte. Bits without a meaning are not looked at; `None` for a QoS or retain handling of 3.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<SubscriptionOptions> {
        let Some(qos) = QoS::from_u8(byte & 0b11) else {
            return None;
        };
        let retain_handling = byte >> 4 & 0b11;
        if retain_handling == 3 {
            return None;
        }
        Some(SubscriptionOptions {
            qos,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling,
        })
    }

    /// The byte of MQTT 5.0; the low two bits are that of 3.x.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling & 0b11) << 4
    }
}

/// SUBSCRIBE.
///
/// Every filter is UTF-8 without NUL and every options byte is valid; whether a filter is a topic filter
/// ([`crate::topic`]) is not checked, since 5.0 answers for each filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Not 0.
    pub packet_id: u16,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// The payload, with at least one filter.
    pub(crate) payload: &'a [u8],
    /// Says which bits of the options have a meaning.
    pub(crate) version: Version,
}

impl<'a> Subscribe<'a> {
    /// The filters with their options, in the order of the packet; at least one.
    pub fn filters(&self) -> Filters<'a> {
        Filters {
            reader: Reader::new(self.payload),
            version: self.version,
        }
    }
}

/// Iterates over the filters of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Filters<'a> {
    reader: Reader<'a>,
    version: Version,
}

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, SubscriptionOptions);

    fn next(&mut self) -> Option<Self::Item> {
        // The payload was validated when the packet was decoded, so an error is the end.
        let filter = self.reader.string().ok()?;
        let byte = self.reader.u8().ok()?;
        let options = SubscriptionOptions::from_byte(if self.version.is_v5() {
            byte
        } else {
            byte & 0b11
        })?;
        Some((filter, options))
    }
}

/// UNSUBSCRIBE. The filters are UTF-8 without NUL; their syntax is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Not 0.
    pub packet_id: u16,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// The payload, with at least one filter.
    pub(crate) payload: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// The filters in the order of the packet; at least one.
    pub fn filters(&self) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters(Reader::new(self.payload))
    }
}

/// Iterates over the filters of an UNSUBSCRIBE.
#[derive(Debug, Clone)]
pub struct UnsubscribeFilters<'a>(Reader<'a>);

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.string().ok()
    }
}

/// SUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Not 0.
    pub packet_id: u16,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// One code per filter: 0, 1, 2 or 0x80 in 3.x, reason codes in 5.0.
    pub codes: &'a [u8],
}

/// UNSUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// Not 0.
    pub packet_id: u16,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
    /// One reason code per filter in 5.0; empty in 3.x.
    pub codes: &'a [u8],
}

/// DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// [`ReasonCode::SUCCESS`] in 3.x: normal disconnection.
    pub reason: ReasonCode,
    /// Properties; empty in 3.x.
    pub properties: Properties<'a>,
}

/// AUTH (5.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue authentication or re-authenticate.
    pub reason: ReasonCode,
    /// Properties. The authentication method is there unless the packet has no body at all.
    pub properties: Properties<'a>,
}
