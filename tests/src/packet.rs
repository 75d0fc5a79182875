//! MQTT packets as bytes: the test's own encoder and a strict decoder.

use std::fmt;

/// The protocol versions by what they put into CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1: `MQIsdp`, level 3
    V31,
    /// MQTT 3.1.1: `MQTT`, level 4
    V311,
    /// MQTT 5.0: `MQTT`, level 5
    V5,
}

impl Version {
    /// Protocol name and level.
    pub fn name_and_level(self) -> (&'static str, u8) {
        match self {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        }
    }

    /// Whether packets of this version carry properties and reason codes.
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V31 => "v31",
            Version::V311 => "v311",
            Version::V5 => "v5",
        })
    }
}

/// A variable byte integer.
pub fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Two bytes of length, then the bytes: MQTT's form of strings and binary data.
pub fn text(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = u16::try_from(value.len())
        .expect("a test string fits 65535 bytes")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(value);
    bytes
}

/// A packet: first byte, remaining length, body.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(varint(body.len() as u32));
    bytes.extend_from_slice(body);
    bytes
}

/// A property of MQTT 5.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Prop {
    PayloadFormat(u8),
    MessageExpiry(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AssignedClientId(String),
    ServerKeepAlive(u16),
    AuthMethod(String),
    AuthData(Vec<u8>),
    RequestProblemInfo(u8),
    WillDelay(u32),
    RequestResponseInfo(u8),
    ResponseInfo(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    User(String, String),
    MaximumPacketSize(u32),
    WildcardAvailable(u8),
    SubscriptionIdAvailable(u8),
    SharedAvailable(u8),
}

impl Prop {
    /// The property's identifier.
    pub fn id(&self) -> u8 {
        match self {
            Prop::PayloadFormat(_) => 0x01,
            Prop::MessageExpiry(_) => 0x02,
            Prop::ContentType(_) => 0x03,
            Prop::ResponseTopic(_) => 0x08,
            Prop::CorrelationData(_) => 0x09,
            Prop::SubscriptionId(_) => 0x0b,
            Prop::SessionExpiry(_) => 0x11,
            Prop::AssignedClientId(_) => 0x12,
            Prop::ServerKeepAlive(_) => 0x13,
            Prop::AuthMethod(_) => 0x15,
            Prop::AuthData(_) => 0x16,
            Prop::RequestProblemInfo(_) => 0x17,
            Prop::WillDelay(_) => 0x18,
            Prop::RequestResponseInfo(_) => 0x19,
            Prop::ResponseInfo(_) => 0x1a,
            Prop::ServerReference(_) => 0x1c,
            Prop::ReasonString(_) => 0x1f,
            Prop::ReceiveMaximum(_) => 0x21,
            Prop::TopicAliasMaximum(_) => 0x22,
            Prop::TopicAlias(_) => 0x23,
            Prop::MaximumQos(_) => 0x24,
            Prop::RetainAvailable(_) => 0x25,
            Prop::User(..) => 0x26,
            Prop::MaximumPacketSize(_) => 0x27,
            Prop::WildcardAvailable(_) => 0x28,
            Prop::SubscriptionIdAvailable(_) => 0x29,
            Prop::SharedAvailable(_) => 0x2a,
        }
    }

    /// A user property.
    pub fn user(name: &str, value: &str) -> Prop {
        Prop::User(name.into(), value.into())
    }

    /// Identifier and value as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.id()];
        match self {
            Prop::PayloadFormat(v)
            | Prop::RequestProblemInfo(v)
            | Prop::RequestResponseInfo(v)
            | Prop::MaximumQos(v)
            | Prop::RetainAvailable(v)
            | Prop::WildcardAvailable(v)
            | Prop::SubscriptionIdAvailable(v)
            | Prop::SharedAvailable(v) => bytes.push(*v),
            Prop::ServerKeepAlive(v)
            | Prop::ReceiveMaximum(v)
            | Prop::TopicAliasMaximum(v)
            | Prop::TopicAlias(v) => {
                bytes.extend(v.to_be_bytes());
            }
            Prop::MessageExpiry(v)
            | Prop::SessionExpiry(v)
            | Prop::WillDelay(v)
            | Prop::MaximumPacketSize(v) => {
                bytes.extend(v.to_be_bytes());
            }
            Prop::SubscriptionId(v) => bytes.extend(varint(*v)),
            Prop::ContentType(v)
            | Prop::ResponseTopic(v)
            | Prop::AssignedClientId(v)
            | Prop::AuthMethod(v)
            | Prop::ResponseInfo(v)
            | Prop::ServerReference(v)
            | Prop::ReasonString(v) => bytes.extend(text(v)),
            Prop::CorrelationData(v) | Prop::AuthData(v) => bytes.extend(text(v)),
            Prop::User(k, v) => {
                bytes.extend(text(k));
                bytes.extend(text(v));
            }
        }
        bytes
    }
}

/// Properties with their length in front.
pub fn encode_props(props: &[Prop]) -> Vec<u8> {
    let body: Vec<u8> = props.iter().flat_map(Prop::encode).collect();
    let mut bytes = varint(body.len() as u32);
    bytes.extend(body);
    bytes
}

/// The properties of a received packet, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Props(pub Vec<Prop>);

macro_rules! getters {
    ($($name:ident: $variant:ident -> $type:ty),* $(,)?) => {
        impl Props {
            $(
                #[doc = concat!("The value of `", stringify!($variant), "`, if it is there.")]
                pub fn $name(&self) -> Option<$type> {
                    self.0.iter().find_map(|p| match p { Prop::$variant(v) => Some(v.clone()), _ => None })
                }
            )*
        }
    };
}

getters! {
    payload_format: PayloadFormat -> u8,
    message_expiry: MessageExpiry -> u32,
    content_type: ContentType -> String,
    response_topic: ResponseTopic -> String,
    correlation_data: CorrelationData -> Vec<u8>,
    session_expiry: SessionExpiry -> u32,
    assigned_client_id: AssignedClientId -> String,
    server_keep_alive: ServerKeepAlive -> u16,
    auth_method: AuthMethod -> String,
    auth_data: AuthData -> Vec<u8>,
    response_info: ResponseInfo -> String,
    reason_string: ReasonString -> String,
    receive_maximum: ReceiveMaximum -> u16,
    topic_alias_maximum: TopicAliasMaximum -> u16,
    topic_alias: TopicAlias -> u16,
    maximum_qos: MaximumQos -> u8,
    retain_available: RetainAvailable -> u8,
    maximum_packet_size: MaximumPacketSize -> u32,
    wildcard_available: WildcardAvailable -> u8,
    subscription_id_available: SubscriptionIdAvailable -> u8,
    shared_available: SharedAvailable -> u8,
}

impl Props {
    /// All user properties in their order.
    pub fn user(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|p| match p {
                Prop::User(k, v) => Some((k.clone(), v.clone())),
                _ => None,
            })
            .collect()
    }

    /// All subscription identifiers, sorted.
    pub fn subscription_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self
            .0
            .iter()
            .filter_map(|p| match p {
                Prop::SubscriptionId(v) => Some(*v),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids
    }
}

/// The four acknowledgements of PUBLISH, by packet type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AckKind {
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
}

/// A packet that a server may send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet {
    Connack {
        session_present: bool,
        code: u8,
        props: Props,
    },
    Publish {
        dup: bool,
        qos: u8,
        retain: bool,
        topic: String,
        id: Option<u16>,
        props: Props,
        payload: Vec<u8>,
    },
    Ack {
        kind: AckKind,
        id: u16,
        code: u8,
        props: Props,
    },
    Suback {
        id: u16,
        codes: Vec<u8>,
        props: Props,
    },
    Unsuback {
        id: u16,
        codes: Vec<u8>,
        props: Props,
    },
    Pingresp,
    Disconnect {
        code: u8,
        props: Props,
    },
    Auth {
        code: u8,
        props: Props,
    },
}

struct Reader<'a> {
    bytes: &'a [u8],
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        if self.bytes.len() < n {
            return Err(format!("{n} bytes wanted, {} left", self.bytes.len()));
        }
        let (head, tail) = self.bytes.split_at(n);
        self.bytes = tail;
        Ok(head)
    }
    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }
    fn u16(&mut self) -> Result<u16> {
        let b = self.take(2)?;
        Ok(u16::from_be_bytes([b[0], b[1]]))
    }
    fn u32(&mut self) -> Result<u32> {
        let b = self.take(4)?;
        Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
    /// [MQTT-1.5.5-1]: the shortest form only.
    fn varint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for place in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                if place > 0 && byte == 0 {
                    return Err("a variable byte integer longer than needed".into());
                }
                return Ok(value);
            }
        }
        Err("a variable byte integer of more than four bytes".into())
    }
    fn binary(&mut self) -> Result<Vec<u8>> {
        let n = self.u16()?;
        Ok(self.take(usize::from(n))?.to_vec())
    }
    /// [MQTT-1.5.4-1], [MQTT-1.5.4-2]
    fn text(&mut self) -> Result<String> {
        let text = String::from_utf8(self.binary()?).map_err(|e| e.to_string())?;
        if text.contains('\0') {
            return Err("U+0000 in a string".into());
        }
        Ok(text)
    }
    fn packet_id(&mut self) -> Result<u16> {
        match self.u16()? {
            0 => Err("packet identifier 0".into()),
            id => Ok(id),
        }
    }
    fn props(&mut self, allowed: &[u8]) -> Result<Props> {
        let length = self.varint()? as usize;
        let mut inner = Reader {
            bytes: self.take(length)?,
        };
        let mut props: Vec<Prop> = Vec::new();
        while !inner.bytes.is_empty() {
            let id = inner.u8()?;
            if !allowed.contains(&id) {
                return Err(format!("property 0x{id:02x} does not belong here"));
            }
            if id != 0x26 && id != 0x0b && props.iter().any(|p| p.id() == id) {
                return Err(format!("property 0x{id:02x} twice"));
            }
            props.push(inner.prop(id)?);
        }
        Ok(Props(props))
    }
    fn prop(&mut self, id: u8) -> Result<Prop> {
        Ok(match id {
            0x01 => Prop::PayloadFormat(self.u8()?),
            0x02 => Prop::MessageExpiry(self.u32()?),
            0x03 => Prop::ContentType(self.text()?),
            0x08 => Prop::ResponseTopic(self.text()?),
            0x09 => Prop::CorrelationData(self.binary()?),
            0x0b => Prop::SubscriptionId(self.varint()?),
            0x11 => Prop::SessionExpiry(self.u32()?),
            0x12 => Prop::AssignedClientId(self.text()?),
            0x13 => Prop::ServerKeepAlive(self.u16()?),
            0x15 => Prop::AuthMethod(self.text()?),
            0x16 => Prop::AuthData(self.binary()?),
            0x1a => Prop::ResponseInfo(self.text()?),
            0x1c => Prop::ServerReference(self.text()?),
            0x1f => Prop::ReasonString(self.text()?),
            0x21 => Prop::ReceiveMaximum(self.u16()?),
            0x22 => Prop::TopicAliasMaximum(self.u16()?),
            0x23 => Prop::TopicAlias(self.u16()?),
            0x24 => Prop::MaximumQos(self.u8()?),
            0x25 => Prop::RetainAvailable(self.u8()?),
            0x26 => Prop::User(self.text()?, self.text()?),
            0x27 => Prop::MaximumPacketSize(self.u32()?),
            0x28 => Prop::WildcardAvailable(self.u8()?),
            0x29 => Prop::SubscriptionIdAvailable(self.u8()?),
            0x2a => Prop::SharedAvailable(self.u8()?),
            _ => return Err(format!("property 0x{id:02x} is not for clients")),
        })
    }
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes).to_vec()
    }
    fn end(&self) -> Result<()> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes too many", self.bytes.len()))
        }
    }
}

/// Decodes the packet at the front of `bytes`: `Ok(None)` when it is not complete, else the packet and
/// its length. Every departure from the standard is an error.
pub fn decode(bytes: &[u8], version: Version) -> Result<Option<(Packet, usize)>> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let mut length = 0usize;
    let mut header = 1;
    loop {
        let Some(&byte) = bytes.get(header) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            if header > 2 && byte == 0 {
                return Err("a remaining length longer than needed".into());
            }
            break;
        }
        if header == 5 {
            return Err("a remaining length of more than four bytes".into());
        }
    }
    let Some(body) = bytes.get(header..header + length) else {
        return Ok(None);
    };
    let mut body = Reader { bytes: body };
    let packet = decode_body(first, &mut body, version)?;
    body.end()?;
    Ok(Some((packet, header + length)))
}

fn decode_body(first: u8, body: &mut Reader<'_>, version: Version) -> Result<Packet> {
    let v5 = version.is_v5();
    let kind = first >> 4;
    let flags = first & 0x0f;
    let wanted = if kind == 6 { 2 } else { 0 };
    // [MQTT-2.1.3-1]
    if kind != 3 && flags != wanted {
        return Err(format!("flags {flags:04b} in a packet of type {kind}"));
    }
    Ok(match kind {
        2 => decode_connack(body, v5)?,
        3 => decode_publish(flags, body, v5)?,
        4..=7 => {
            let kind = match kind {
                4 => AckKind::Puback,
                5 => AckKind::Pubrec,
                6 => AckKind::Pubrel,
                _ => AckKind::Pubcomp,
            };
            let id = body.packet_id()?;
            let code = if v5 && !body.bytes.is_empty() {
                body.u8()?
            } else {
                0
            };
            let props = if v5 && !body.bytes.is_empty() {
                body.props(&[0x1f, 0x26])?
            } else {
                Props::default()
            };
            // [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
            let known: &[u8] = match kind {
                AckKind::Puback | AckKind::Pubrec => {
                    &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
                }
                AckKind::Pubrel | AckKind::Pubcomp => &[0x00, 0x92],
            };
            if !known.contains(&code) {
                return Err(format!("reason code 0x{code:02x} in {kind:?}"));
            }
            Packet::Ack {
                kind,
                id,
                code,
                props,
            }
        }
        9 => {
            let id = body.packet_id()?;
            let props = if v5 {
                body.props(&[0x1f, 0x26])?
            } else {
                Props::default()
            };
            let codes = body.rest();
            // [MQTT-3.9.3-2]
            let known: &[u8] = if v5 {
                &[
                    0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2,
                ]
            } else {
                &[0, 1, 2, 0x80]
            };
            if codes.is_empty() || codes.iter().any(|c| !known.contains(c)) {
                return Err(format!("SUBACK codes {codes:02x?}"));
            }
            Packet::Suback { id, codes, props }
        }
        11 => {
            let id = body.packet_id()?;
            let props = if v5 {
                body.props(&[0x1f, 0x26])?
            } else {
                Props::default()
            };
            let codes = body.rest();
            // [MQTT-3.11.3-2]
            if codes
                .iter()
                .any(|c| ![0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91].contains(c))
                || codes.is_empty() == v5
            {
                return Err(format!("UNSUBACK codes {codes:02x?}"));
            }
            Packet::Unsuback { id, codes, props }
        }
        13 => Packet::Pingresp,
        14 if v5 => {
            let code = if body.bytes.is_empty() { 0 } else { body.u8()? };
            // [MQTT-3.14.2-2]: no session expiry (0x11) from a server.
            let props = if body.bytes.is_empty() {
                Props::default()
            } else {
                body.props(&[0x1c, 0x1f, 0x26])?
            };
            // [MQTT-3.14.2-1]
            let known = [
                0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94,
                0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
            ];
            if !known.contains(&code) {
                return Err(format!(
                    "reason code 0x{code:02x} in DISCONNECT from a server"
                ));
            }
            Packet::Disconnect { code, props }
        }
        15 if v5 => {
            let code = if body.bytes.is_empty() { 0 } else { body.u8()? };
            let props = if body.bytes.is_empty() {
                Props::default()
            } else {
                body.props(&[0x15, 0x16, 0x1f, 0x26])?
            };
            // [MQTT-3.15.2-1]
            if ![0x00, 0x18].contains(&code) {
                return Err(format!("reason code 0x{code:02x} in AUTH from a server"));
            }
            Packet::Auth { code, props }
        }
        _ => return Err(format!("packet type {kind} from a server")),
    })
}

fn decode_connack(body: &mut Reader<'_>, v5: bool) -> Result<Packet> {
    let ack_flags = body.u8()?;
    let code = body.u8()?;
    let props = if v5 {
        body.props(&[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2a,
        ])?
    } else {
        Props::default()
    };
    // [MQTT-3.2.2-1]
    if ack_flags > 1 {
        return Err(format!(
            "reserved bits in the CONNACK flags: {ack_flags:08b}"
        ));
    }
    // [MQTT-3.2.2-6]
    if ack_flags == 1 && code != 0 {
        return Err("session present beside a refusal".into());
    }
    // [MQTT-3.2.2-8]
    let known: &[u8] = if v5 {
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90,
            0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
        ]
    } else {
        &[0, 1, 2, 3, 4, 5]
    };
    if !known.contains(&code) {
        return Err(format!("CONNACK code 0x{code:02x}"));
    }
    if props.receive_maximum() == Some(0) || props.maximum_packet_size() == Some(0) {
        return Err("a maximum of 0 in CONNACK".into());
    }
    Ok(Packet::Connack {
        session_present: ack_flags == 1,
        code,
        props,
    })
}

fn decode_publish(flags: u8, body: &mut Reader<'_>, v5: bool) -> Result<Packet> {
    let qos = (flags >> 1) & 3;
    let dup = flags & 8 != 0;
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    if qos == 3 || (qos == 0 && dup) {
        return Err(format!("PUBLISH flags {flags:04b}"));
    }
    let topic = body.text()?;
    // [MQTT-3.3.2-2], [MQTT-4.7.3-1]
    if topic.contains(['+', '#']) || (topic.is_empty() && !v5) {
        return Err(format!("PUBLISH to {topic:?}"));
    }
    let id = if qos > 0 {
        Some(body.packet_id()?)
    } else {
        None
    };
    let props = if v5 {
        body.props(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26])?
    } else {
        Props::default()
    };
    // [MQTT-3.3.2-8]
    if props.topic_alias() == Some(0) || (topic.is_empty() && props.topic_alias().is_none()) {
        return Err("PUBLISH without a usable topic".into());
    }
    if props.subscription_ids().contains(&0) {
        return Err("subscription identifier 0".into());
    }
    Ok(Packet::Publish {
        dup,
        qos,
        retain: flags & 1 != 0,
        topic,
        id,
        props,
        payload: body.rest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_takes_the_bytes_of_the_standards_table() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
        ] {
            let bytes = varint(value);
            assert_eq!(bytes.len(), length);
            assert_eq!(Reader { bytes: &bytes }.varint(), Ok(value));
        }
    }

    #[test]
    fn decoder_refuses_what_a_server_may_not_send() {
        let bad: [(&[u8], Version); 9] = [
            (&[0x20, 2, 2, 0], Version::V311),
            (&[0x20, 2, 1, 2], Version::V311),
            (&[0x21, 2, 0, 0], Version::V311),
            (&[0x36, 5, 0, 1, b'a', 0, 1], Version::V311),
            (&[0x32, 5, 0, 1, b'a', 0, 0], Version::V311),
            (&[0x30, 3, 0, 1, b'+'], Version::V311),
            (&[0xe0, 0], Version::V311),
            (&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1], Version::V5),
            (&[0x40, 4, 0, 1, 0x92, 0], Version::V5),
        ];
        for (bytes, version) in bad {
            assert!(decode(bytes, version).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn decoder_waits_for_the_whole_packet() {
        let whole = [0x30, 4, 0, 1, b'a', b'x'];
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut], Version::V311), Ok(None));
        }
        let (packet, length) = decode(&whole, Version::V311).unwrap().unwrap();
        assert_eq!(length, 6);
        assert!(
            matches!(packet, Packet::Publish { ref topic, ref payload, .. } if topic == "a" && payload == b"x")
        );
    }
}
