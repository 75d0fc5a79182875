//! Packets of MQTT-SN 1.2, and their form in a datagram.

/// Longest packet: what UDP over IPv4 takes.
pub const LONGEST: usize = 65_507;
/// Bytes of a PUBLISH before its payload, with the long form of its length.
pub const PUBLISH_HEAD: usize = 9;
/// Bytes of a REGISTER before its topic name, with the long form of its length.
pub const REGISTER_HEAD: usize = 8;

/// Type of the frame in which a forwarder sends on the packet of a client that it speaks for.
const ENCAPSULATED: u8 = 0xFE;

/// DUP, QoS, Retain, Will, CleanSession and the type of a topic, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

/// What stands in the place of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// an id from REGISTER, or a topic name in SUBSCRIBE and UNSUBSCRIBE
    Normal,
    /// an id that both sides know beforehand
    Predefined,
    /// a topic name of two characters
    Short,
    /// not defined
    Reserved,
}

impl Flags {
    const DUP: u8 = 0x80;
    const RETAIN: u8 = 0x10;
    const WILL: u8 = 0x08;
    const CLEAN: u8 = 0x04;

    /// Flags with a quality of service: 0 to 2, and 3 for -1.
    pub fn of_qos(qos: u8) -> Flags {
        Flags((qos & 3) << 5)
    }

    /// Sent before.
    pub fn dup(self) -> bool {
        self.0 & Flags::DUP != 0
    }

    /// 0 to 2, and 3 for -1.
    pub fn qos(self) -> u8 {
        self.0 >> 5 & 3
    }

    /// To be retained, or retained before.
    pub fn retain(self) -> bool {
        self.0 & Flags::RETAIN != 0
    }

    /// The client wants to be asked for its will.
    pub fn will(self) -> bool {
        self.0 & Flags::WILL != 0
    }

    /// The client wants a session without a past.
    pub fn clean(self) -> bool {
        self.0 & Flags::CLEAN != 0
    }

    /// What stands in the place of the topic.
    pub fn topic_kind(self) -> TopicKind {
        match self.0 & 3 {
            0 => TopicKind::Normal,
            1 => TopicKind::Predefined,
            2 => TopicKind::Short,
            _ => TopicKind::Reserved,
        }
    }

    /// With DUP, or as it is.
    pub fn with_dup(self, dup: bool) -> Flags {
        Flags(self.0 | if dup { Flags::DUP } else { 0 })
    }

    /// With Retain, or as it is.
    pub fn with_retain(self, retain: bool) -> Flags {
        Flags(self.0 | if retain { Flags::RETAIN } else { 0 })
    }

    /// With the type of the topic.
    pub fn with_topic_kind(self, kind: TopicKind) -> Flags {
        Flags(self.0 & !3 | kind as u8)
    }
}

/// Answers of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnCode(pub u8);

#[allow(missing_docs)]
impl ReturnCode {
    pub const ACCEPTED: ReturnCode = ReturnCode(0);
    pub const CONGESTION: ReturnCode = ReturnCode(1);
    pub const INVALID_TOPIC_ID: ReturnCode = ReturnCode(2);
    pub const NOT_SUPPORTED: ReturnCode = ReturnCode(3);
    /// EMQ's own: the ACL does not allow the subscription.
    pub const DENIED: ReturnCode = ReturnCode(0x80);
}

/// What SUBSCRIBE and UNSUBSCRIBE are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// a topic filter; whether it is one has not been looked at
    Name(&'a [u8]),
    /// a predefined id
    Id(u16),
    /// a filter of two characters
    Short([u8; 2]),
}

/// QoS and Retain of a will, and its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopic<'a> {
    /// QoS and Retain
    pub flags: Flags,
    /// whether it is a topic name has not been looked at
    pub topic: &'a [u8],
}

/// A packet. Texts have not been looked at.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    Advertise {
        gateway_id: u8,
        /// seconds to the next
        duration: u16,
    },
    SearchGw {
        radius: u8,
    },
    GwInfo {
        gateway_id: u8,
        address: &'a [u8],
    },
    Connect {
        flags: Flags,
        protocol_id: u8,
        /// keep alive, seconds
        duration: u16,
        client_id: &'a [u8],
    },
    ConnAck(ReturnCode),
    WillTopicReq,
    /// `None` = the client has no will
    WillTopic(Option<WillTopic<'a>>),
    WillMsgReq,
    WillMsg(&'a [u8]),
    Register {
        topic_id: u16,
        msg_id: u16,
        name: &'a [u8],
    },
    RegAck {
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    Publish {
        flags: Flags,
        /// an id, or two characters
        topic: u16,
        msg_id: u16,
        payload: &'a [u8],
    },
    PubAck {
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    PubComp(u16),
    PubRec(u16),
    PubRel(u16),
    Subscribe {
        flags: Flags,
        msg_id: u16,
        topic: Topic<'a>,
    },
    SubAck {
        flags: Flags,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    Unsubscribe {
        flags: Flags,
        msg_id: u16,
        topic: Topic<'a>,
    },
    UnsubAck(u16),
    /// with the client id of one that sleeps
    PingReq(&'a [u8]),
    PingResp,
    /// with the seconds that the client will sleep
    Disconnect(Option<u16>),
    /// `None` = the will is deleted
    WillTopicUpd(Option<WillTopic<'a>>),
    WillTopicResp(ReturnCode),
    WillMsgUpd(&'a [u8]),
    WillMsgResp(ReturnCode),
}

/// A datagram that is no packet: of a wrong length, or of an unknown type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn flags(&mut self) -> Result<Flags, Malformed> {
        self.byte().map(Flags)
    }

    fn code(&mut self) -> Result<ReturnCode, Malformed> {
        self.byte().map(ReturnCode)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The rest, of which there must be something.
    fn some(&mut self) -> Result<&'a [u8], Malformed> {
        match self.rest() {
            [] => Err(Malformed),
            rest => Ok(rest),
        }
    }

    fn topic(&mut self, kind: TopicKind) -> Result<Topic<'a>, Malformed> {
        match kind {
            TopicKind::Normal => self.some().map(Topic::Name),
            TopicKind::Predefined => self.number().map(Topic::Id),
            TopicKind::Short => Ok(Topic::Short([self.byte()?, self.byte()?])),
            TopicKind::Reserved => Err(Malformed),
        }
    }

    /// Nothing at all, or flags and a topic.
    fn will_topic(&mut self) -> Result<Option<WillTopic<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let flags = self.flags()?;
        let topic = self.rest();
        // Flags without a topic say the same as nothing.
        Ok((!topic.is_empty()).then_some(WillTopic { flags, topic }))
    }
}

/// The packet that fills a datagram.
///
/// # Errors
/// When its length is not that of the datagram, a field is missing or too much, or the type is unknown.
pub fn decode(datagram: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut fields = Fields(datagram);
    // 1 stands for a length of two bytes that follow.
    let length = match fields.byte()? {
        1 => usize::from(fields.number()?),
        length => usize::from(length),
    };
    if length != datagram.len() {
        return Err(Malformed);
    }
    let packet = body(fields.byte()?, &mut fields)?;
    match fields.0 {
        [] => Ok(packet),
        _ => Err(Malformed),
    }
}

fn body<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Packet<'a>, Malformed> {
    Ok(match kind {
        0x00 => Packet::Advertise {
            gateway_id: fields.byte()?,
            duration: fields.number()?,
        },
        0x01 => Packet::SearchGw {
            radius: fields.byte()?,
        },
        0x02 => Packet::GwInfo {
            gateway_id: fields.byte()?,
            address: fields.rest(),
        },
        0x04 => Packet::Connect {
            flags: fields.flags()?,
            protocol_id: fields.byte()?,
            duration: fields.number()?,
            client_id: fields.rest(),
        },
        0x05 => Packet::ConnAck(fields.code()?),
        0x06 => Packet::WillTopicReq,
        0x07 => Packet::WillTopic(fields.will_topic()?),
        0x08 => Packet::WillMsgReq,
        0x09 => Packet::WillMsg(fields.rest()),
        0x0A => Packet::Register {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            name: fields.rest(),
        },
        0x0B => Packet::RegAck {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        0x0C => Packet::Publish {
            flags: fields.flags()?,
            topic: fields.number()?,
            msg_id: fields.number()?,
            payload: fields.rest(),
        },
        0x0D => Packet::PubAck {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        0x0E => Packet::PubComp(fields.number()?),
        0x0F => Packet::PubRec(fields.number()?),
        0x10 => Packet::PubRel(fields.number()?),
        0x12 => {
            let (flags, msg_id) = (fields.flags()?, fields.number()?);
            let topic = fields.topic(flags.topic_kind())?;
            Packet::Subscribe {
                flags,
                msg_id,
                topic,
            }
        }
        0x13 => Packet::SubAck {
            flags: fields.flags()?,
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        0x14 => {
            let (flags, msg_id) = (fields.flags()?, fields.number()?);
            let topic = fields.topic(flags.topic_kind())?;
            Packet::Unsubscribe {
                flags,
                msg_id,
                topic,
            }
        }
        0x15 => Packet::UnsubAck(fields.number()?),
        0x16 => Packet::PingReq(fields.rest()),
        0x17 => Packet::PingResp,
        0x18 => Packet::Disconnect(match fields.0 {
            [] => None,
            _ => Some(fields.number()?),
        }),
        0x1A => Packet::WillTopicUpd(fields.will_topic()?),
        0x1B => Packet::WillTopicResp(fields.code()?),
        0x1C => Packet::WillMsgUpd(fields.rest()),
        0x1D => Packet::WillMsgResp(fields.code()?),
        _ => return Err(Malformed),
    })
}

/// Puts the packet behind what `out` has. Nothing is put there when it would be longer than [`LONGEST`]; then the
/// answer is `false`.
pub fn encode(packet: &Packet<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(0);
    put_body(packet, out);
    let short = out.len() - start;
    if let Ok(length) = u8::try_from(short) {
        out[start] = length;
        return true;
    }
    let length = short + 2;
    match u16::try_from(length) {
        Ok(long) if length <= LONGEST => {
            let [high, low] = long.to_be_bytes();
            out.splice(start..=start, [1, high, low]);
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

fn put_body(packet: &Packet<'_>, out: &mut Vec<u8>) {
    let mut put = |kind: u8, head: &[&[u8]]| {
        out.push(kind);
        head.iter().for_each(|field| out.extend_from_slice(field));
    };
    let two = u16::to_be_bytes;
    match *packet {
        Packet::Advertise {
            gateway_id,
            duration,
        } => put(0x00, &[&[gateway_id], &two(duration)]),
        Packet::SearchGw { radius } => put(0x01, &[&[radius]]),
        Packet::GwInfo {
            gateway_id,
            address,
        } => put(0x02, &[&[gateway_id], address]),
        Packet::Connect {
            flags,
            protocol_id,
            duration,
            client_id,
        } => put(0x04, &[&[flags.0, protocol_id], &two(duration), client_id]),
        Packet::ConnAck(code) => put(0x05, &[&[code.0]]),
        Packet::WillTopicReq => put(0x06, &[]),
        Packet::WillTopic(will) => put_will_topic(0x07, will, &mut put),
        Packet::WillMsgReq => put(0x08, &[]),
        Packet::WillMsg(payload) => put(0x09, &[payload]),
        Packet::Register {
            topic_id,
            msg_id,
            name,
        } => put(0x0A, &[&two(topic_id), &two(msg_id), name]),
        Packet::RegAck {
            topic_id,
            msg_id,
            code,
        } => put(0x0B, &[&two(topic_id), &two(msg_id), &[code.0]]),
        Packet::Publish {
            flags,
            topic,
            msg_id,
            payload,
        } => put(0x0C, &[&[flags.0], &two(topic), &two(msg_id), payload]),
        Packet::PubAck {
            topic_id,
            msg_id,
            code,
        } => put(0x0D, &[&two(topic_id), &two(msg_id), &[code.0]]),
        Packet::PubComp(msg_id) => put(0x0E, &[&two(msg_id)]),
        Packet::PubRec(msg_id) => put(0x0F, &[&two(msg_id)]),
        Packet::PubRel(msg_id) => put(0x10, &[&two(msg_id)]),
        Packet::Subscribe {
            flags,
            msg_id,
            topic,
        } => put_asked_topic(0x12, flags, msg_id, topic, &mut put),
        Packet::SubAck {
            flags,
            topic_id,
            msg_id,
            code,
        } => put(0x13, &[&[flags.0], &two(topic_id), &two(msg_id), &[code.0]]),
        Packet::Unsubscribe {
            flags,
            msg_id,
            topic,
        } => put_asked_topic(0x14, flags, msg_id, topic, &mut put),
        Packet::UnsubAck(msg_id) => put(0x15, &[&two(msg_id)]),
        Packet::PingReq(client_id) => put(0x16, &[client_id]),
        Packet::PingResp => put(0x17, &[]),
        Packet::Disconnect(None) => put(0x18, &[]),
        Packet::Disconnect(Some(duration)) => put(0x18, &[&two(duration)]),
        Packet::WillTopicUpd(will) => put_will_topic(0x1A, will, &mut put),
        Packet::WillTopicResp(code) => put(0x1B, &[&[code.0]]),
        Packet::WillMsgUpd(payload) => put(0x1C, &[payload]),
        Packet::WillMsgResp(code) => put(0x1D, &[&[code.0]]),
    }
}

fn put_will_topic(kind: u8, will: Option<WillTopic<'_>>, put: &mut impl FnMut(u8, &[&[u8]])) {
    match will {
        None => put(kind, &[]),
        Some(will) => put(kind, &[&[will.flags.0], will.topic]),
    }
}

fn put_asked_topic(
    kind: u8,
    flags: Flags,
    msg_id: u16,
    topic: Topic<'_>,
    put: &mut impl FnMut(u8, &[&[u8]]),
) {
    let msg_id = msg_id.to_be_bytes();
    match topic {
        Topic::Name(name) => put(kind, &[&[flags.0], &msg_id, name]),
        Topic::Id(id) => put(kind, &[&[flags.0], &msg_id, &id.to_be_bytes()]),
        Topic::Short(name) => put(kind, &[&[flags.0], &msg_id, &name]),
    }
}

/// A datagram, and for whom its sender speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// the client behind a forwarder, by the name that the forwarder has for it; `None` = the sender itself
    pub node: Option<&'a [u8]>,
    /// a packet, as far as known
    pub packet: &'a [u8],
}

/// Opens the frame of a forwarder, if it is one.
///
/// # Errors
/// When it is one and not whole.
pub fn unwrap(datagram: &[u8]) -> Result<Frame<'_>, Malformed> {
    // A length of 1 says that the second byte is part of a long one.
    let &[length @ (0 | 2..), ENCAPSULATED, ..] = datagram else {
        return Ok(Frame {
            node: None,
            packet: datagram,
        });
    };
    // Length, type and control stand before the name; behind it the packet has no length of its own here.
    let node = datagram.get(3..usize::from(length)).ok_or(Malformed)?;
    Ok(Frame {
        node: Some(node),
        packet: &datagram[usize::from(length)..],
    })
}

/// Begins a frame for a forwarder; a packet is to follow. `node` came from [`unwrap`], so its length fits.
pub fn wrap(node: &[u8], out: &mut Vec<u8>) {
    let length = u8::try_from(node.len() + 3).unwrap_or(u8::MAX);
    // Control: a broadcast radius, of which this is none.
    out.extend_from_slice(&[length, ENCAPSULATED, 0]);
    out.extend_from_slice(&node[..usize::from(length) - 3]);
}

#[cfg(test)]
mod tests;
