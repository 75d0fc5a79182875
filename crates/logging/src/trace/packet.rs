//! Packets as text, in the words of EMQ 2.x; what 5.0 added is named as the standard names it.

use emqttd_mqtt::{
    Ack, Auth, ConnAck, Connect, Packet, Properties, Property, Publish, QoS, ReasonCode, Version,
    Will,
};
use std::fmt::{self, Display, Formatter};

/// Bytes of a payload that are shown.
const MAX_SHOWN: usize = 16 * 1024;

/// What is shown of passwords.
const SECRET: &str = "******";

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// from the client
    Received,
    /// to the client
    Sent,
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Received => "RECV",
            Direction::Sent => "SEND",
        })
    }
}

/// A packet as one text: `RECV PUBACK(Q0, R0, D0, PacketId=2)`. Passwords and authentication data
/// are shown as `******`. Texts of the client are as they are: see [`crate::escape`].
pub fn format_packet(direction: Direction, packet: &Packet<'_>, version: Version) -> String {
    format!("{direction} {}", Shown { packet, version })
}

struct Shown<'a> {
    packet: &'a Packet<'a>,
    version: Version,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (qos, retain, dup) = match self.packet {
            Packet::Publish(publish) => (publish.qos, publish.retain, publish.dup),
            // The flags of these three are fixed and read like QoS 1.
            Packet::PubRel(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) => {
                (QoS::AtLeastOnce, false, false)
            }
            _ => (QoS::AtMostOnce, false, false),
        };
        let name = self.packet.packet_type().name();
        let (qos, retain, dup) = (u8::from(qos), u8::from(retain), u8::from(dup));
        write!(f, "{name}(Q{qos}, R{retain}, D{dup}")?;
        self.body(f)?;
        f.write_str(")")
    }
}

impl Shown<'_> {
    fn body(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.packet {
            Packet::Connect(connect) => show_connect(f, connect),
            Packet::ConnAck(connack) => self.connack(f, connack),
            Packet::Publish(publish) => show_publish(f, publish),
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => self.ack(f, ack),
            Packet::Subscribe(subscribe) => {
                write!(f, ", PacketId={}, TopicTable=[", subscribe.packet_id)?;
                for (index, (filter, options)) in subscribe.filters().enumerate() {
                    let (comma, filter) = (comma(index), Binary(filter.as_bytes()));
                    if self.version.is_v5() {
                        write!(f, "{comma}{{{filter},{:#04x}}}", options.to_byte())?;
                    } else {
                        write!(f, "{comma}{{{filter},{}}}", u8::from(options.qos))?;
                    }
                }
                f.write_str("]")?;
                show_properties(f, &subscribe.properties)
            }
            Packet::SubAck(suback) => {
                write!(
                    f,
                    ", PacketId={}, QosTable={:?}",
                    suback.packet_id, suback.codes
                )?;
                show_properties(f, &suback.properties)
            }
            Packet::Unsubscribe(unsubscribe) => {
                write!(f, ", PacketId={}, Topics=[", unsubscribe.packet_id)?;
                for (index, filter) in unsubscribe.filters().enumerate() {
                    write!(f, "{}{}", comma(index), Binary(filter.as_bytes()))?;
                }
                f.write_str("]")?;
                show_properties(f, &unsubscribe.properties)
            }
            Packet::UnsubAck(unsuback) => {
                write!(f, ", PacketId={}", unsuback.packet_id)?;
                if self.version.is_v5() {
                    write!(f, ", ReasonCodes={:?}", unsuback.codes)?;
                }
                show_properties(f, &unsuback.properties)
            }
            Packet::PingReq | Packet::PingResp => Ok(()),
            Packet::Disconnect(disconnect) => {
                self.reason(f, disconnect.reason)?;
                show_properties(f, &disconnect.properties)
            }
            Packet::Auth(Auth { reason, properties }) => {
                self.reason(f, *reason)?;
                show_properties(f, properties)
            }
        }
    }

    fn connack(&self, f: &mut Formatter<'_>, connack: &ConnAck<'_>) -> fmt::Result {
        let word = if self.version.is_v5() {
            "ReasonCode"
        } else {
            "ReturnCode"
        };
        let flags = u8::from(connack.session_present);
        write!(f, ", AckFlags={flags}, {word}={}", connack.code)?;
        show_properties(f, &connack.properties)
    }

    fn ack(&self, f: &mut Formatter<'_>, ack: &Ack<'_>) -> fmt::Result {
        write!(f, ", PacketId={}", ack.packet_id)?;
        self.reason(f, ack.reason)?;
        show_properties(f, &ack.properties)
    }

    fn reason(&self, f: &mut Formatter<'_>, reason: ReasonCode) -> fmt::Result {
        if self.version.is_v5() {
            write!(f, ", ReasonCode={}", reason.0)?;
        }
        Ok(())
    }
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

fn show_connect(f: &mut Formatter<'_>, connect: &Connect<'_>) -> fmt::Result {
    let password = if connect.password.is_some() {
        SECRET
    } else {
        "undefined"
    };
    write!(
        f,
        ", ClientId={}, ProtoName={}, ProtoVsn={}, CleanSess={}, KeepAlive={}, Username={}, Password={password}",
        connect.client_id,
        connect.version.protocol_name(),
        connect.version.level(),
        connect.clean_start,
        connect.keep_alive,
        connect.username.unwrap_or("undefined"),
    )?;
    if let Some(Will {
        qos,
        retain,
        topic,
        payload,
        properties,
    }) = &connect.will
    {
        let (qos, retain, payload) = (u8::from(*qos), u8::from(*retain), Binary(payload));
        write!(f, ", Will(Q{qos}, R{retain}, Topic={topic}, Msg={payload}")?;
        show_properties(f, properties)?;
        f.write_str(")")?;
    }
    show_properties(f, &connect.properties)
}

fn show_publish(f: &mut Formatter<'_>, publish: &Publish<'_>) -> fmt::Result {
    write!(f, ", Topic={}, PacketId=", publish.topic)?;
    match publish.qos {
        QoS::AtMostOnce => f.write_str("undefined")?,
        QoS::AtLeastOnce | QoS::ExactlyOnce => write!(f, "{}", publish.packet_id)?,
    }
    show_properties(f, &publish.properties)?;
    write!(f, ", Payload={}", Binary(publish.payload))
}

/// Nothing in 3.x, where there are none.
fn show_properties(f: &mut Formatter<'_>, properties: &Properties<'_>) -> fmt::Result {
    for (index, property) in properties.iter().enumerate() {
        f.write_str(if index == 0 { ", Properties=[" } else { ", " })?;
        match property {
            Property::AuthenticationData(_) => write!(f, "AuthenticationData({SECRET})")?,
            Property::CorrelationData(data) => write!(f, "CorrelationData({})", Binary(data))?,
            other => write!(f, "{other:?}")?,
        }
    }
    if properties.iter().next().is_some() {
        f.write_str("]")?;
    }
    Ok(())
}

/// Shows bytes as Erlang does; see [`Binary`].
pub fn erlang_binary(bytes: &[u8]) -> Binary<'_> {
    Binary(bytes)
}

/// Bytes as Erlang writes a binary: `<<"text">>` when they are a printable text, `<<1,2,255>>` when
/// not. A long one ends in `...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary<'a>(pub &'a [u8]);

impl Display for Binary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (shown, dots) = match self.0.get(..MAX_SHOWN) {
            Some(start) if start.len() < self.0.len() => (start, "..."),
            _ => (self.0, ""),
        };
        match printable(shown, !dots.is_empty()) {
            Some("") => f.write_str("<<>>"),
            Some(text) => {
                f.write_str("<<\"")?;
                for c in text.chars() {
                    match c {
                        '"' => f.write_str("\\\"")?,
                        '\\' => f.write_str("\\\\")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        '\t' => f.write_str("\\t")?,
                        c => write!(f, "{c}")?,
                    }
                }
                let encoding = if text.is_ascii() { "" } else { "/utf8" };
                write!(f, "\"{dots}{encoding}>>")
            }
            None => {
                f.write_str("<<")?;
                for (index, byte) in shown.iter().enumerate() {
                    write!(f, "{}{byte}", comma(index))?;
                }
                write!(f, "{dots}>>")
            }
        }
    }
}

/// The bytes as text. A character at the end of a part that was cut off may be incomplete.
fn printable(bytes: &[u8], cut: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let sound = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(sound).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_mqtt::{Disconnect, SubAck, UnsubAck, decode, fixed_header};

    /// What is shown of a packet given as the bytes that came in.
    fn received(version: Version, bytes: &[u8]) -> String {
        let header = fixed_header(bytes).unwrap().unwrap();
        let packet = decode(version, header.first, &bytes[header.len..]).unwrap();
        format_packet(Direction::Received, &packet, version)
    }

    fn sent(version: Version, packet: Packet<'_>) -> String {
        format_packet(Direction::Sent, &packet, version)
    }

    #[test]
    fn connect_hides_the_password() {
        let bytes = b"\x10\x27\x00\x04MQTT\x04\xee\x00\x3c\x00\x02c1\x00\x01w\x00\x03bye\x00\x05alice\x00\x06secret";
        assert_eq!(
            received(Version::V311, bytes),
            "RECV CONNECT(Q0, R0, D0, ClientId=c1, ProtoName=MQTT, ProtoVsn=4, CleanSess=true, KeepAlive=60, \
             Username=alice, Password=******, Will(Q1, R1, Topic=w, Msg=<<\"bye\">>))"
        );
        let bytes = b"\x10\x0f\x00\x06MQIsdp\x03\x00\x00\x00\x00\x01c";
        assert_eq!(
            received(Version::V31, bytes),
            "RECV CONNECT(Q0, R0, D0, ClientId=c, ProtoName=MQIsdp, ProtoVsn=3, CleanSess=false, KeepAlive=0, \
             Username=undefined, Password=undefined)"
        );
    }

    #[test]
    fn secrets_of_5_0_are_hidden() {
        let bytes =
            b"\x10\x1d\x00\x04MQTT\x05\x02\x00\x0a\x0f\x15\x00\x05PLAIN\x16\x00\x04pass\x00\x01c";
        let text = received(Version::V5, bytes);
        assert!(
            text.ends_with(
                ", Properties=[AuthenticationMethod(\"PLAIN\"), AuthenticationData(******)])"
            ),
            "{text}"
        );
        let bytes = b"\xf0\x11\x18\x0f\x15\x00\x05PLAIN\x16\x00\x04pass";
        assert_eq!(
            received(Version::V5, bytes),
            "RECV AUTH(Q0, R0, D0, ReasonCode=24, Properties=[AuthenticationMethod(\"PLAIN\"), AuthenticationData(******)])"
        );
    }

    #[test]
    fn packets_of_3_x() {
        let v = Version::V311;
        let none = Properties::default();
        assert_eq!(
            received(v, b"\x82\x0b\x00\x0a\x00\x01a\x01\x00\x02b\"\x00"),
            r#"RECV SUBSCRIBE(Q1, R0, D0, PacketId=10, TopicTable=[{<<"a">>,1},{<<"b\"">>,0}])"#
        );
        assert_eq!(
            received(v, b"\xa2\x08\x00\x0a\x00\x01a\x00\x01b"),
            r#"RECV UNSUBSCRIBE(Q1, R0, D0, PacketId=10, Topics=[<<"a">>,<<"b">>])"#
        );
        assert_eq!(
            received(v, b"\x62\x02\x00\x02"),
            "RECV PUBREL(Q1, R0, D0, PacketId=2)"
        );
        assert_eq!(received(v, b"\xc0\x00"), "RECV PINGREQ(Q0, R0, D0)");
        assert_eq!(received(v, b"\xe0\x00"), "RECV DISCONNECT(Q0, R0, D0)");
        assert_eq!(
            received(v, b"\x3d\x06\x00\x01t\x00\x07\xff"),
            "RECV PUBLISH(Q2, R1, D1, Topic=t, PacketId=7, Payload=<<255>>)"
        );
        let ack = Ack {
            packet_id: 2,
            reason: ReasonCode::SUCCESS,
            properties: none,
        };
        assert_eq!(
            sent(v, Packet::PubAck(ack)),
            "SEND PUBACK(Q0, R0, D0, PacketId=2)"
        );
        assert_eq!(
            sent(v, Packet::PubRec(ack)),
            "SEND PUBREC(Q0, R0, D0, PacketId=2)"
        );
        assert_eq!(
            sent(v, Packet::PubComp(ack)),
            "SEND PUBCOMP(Q0, R0, D0, PacketId=2)"
        );
        let connack = ConnAck {
            session_present: true,
            code: 4,
            properties: none,
        };
        assert_eq!(
            sent(v, Packet::ConnAck(connack)),
            "SEND CONNACK(Q0, R0, D0, AckFlags=1, ReturnCode=4)"
        );
        let suback = SubAck {
            packet_id: 3,
            properties: none,
            codes: &[1, 0x80],
        };
        assert_eq!(
            sent(v, Packet::SubAck(suback)),
            "SEND SUBACK(Q0, R0, D0, PacketId=3, QosTable=[1, 128])"
        );
        let unsuback = UnsubAck {
            packet_id: 3,
            properties: none,
            codes: &[],
        };
        assert_eq!(
            sent(v, Packet::UnsubAck(unsuback)),
            "SEND UNSUBACK(Q0, R0, D0, PacketId=3)"
        );
        assert_eq!(sent(v, Packet::PingResp), "SEND PINGRESP(Q0, R0, D0)");
    }

    #[test]
    fn packets_of_5_0() {
        let v = Version::V5;
        assert_eq!(
            received(
                v,
                b"\x30\x0b\x00\x01t\x05\x01\x01\x09\x00\x00ok"[..13].as_ref()
            ),
            "RECV PUBLISH(Q0, R0, D0, Topic=t, PacketId=undefined, Properties=[PayloadFormatIndicator(1), CorrelationData(<<>>)], Payload=<<\"ok\">>)"
        );
        assert_eq!(
            received(v, b"\x82\x07\x00\x0a\x00\x00\x01a\x2d"),
            r#"RECV SUBSCRIBE(Q1, R0, D0, PacketId=10, TopicTable=[{<<"a">>,0x2d}])"#
        );
        let ack = Ack {
            packet_id: 2,
            reason: ReasonCode::NOT_AUTHORIZED,
            properties: Properties::default(),
        };
        assert_eq!(
            sent(v, Packet::PubAck(ack)),
            "SEND PUBACK(Q0, R0, D0, PacketId=2, ReasonCode=135)"
        );
        let unsuback = UnsubAck {
            packet_id: 3,
            properties: Properties::default(),
            codes: &[0, 17],
        };
        assert_eq!(
            sent(v, Packet::UnsubAck(unsuback)),
            "SEND UNSUBACK(Q0, R0, D0, PacketId=3, ReasonCodes=[0, 17])"
        );
        let disconnect = Disconnect {
            reason: ReasonCode::SERVER_BUSY,
            properties: Properties::default(),
        };
        assert_eq!(
            sent(v, Packet::Disconnect(disconnect)),
            "SEND DISCONNECT(Q0, R0, D0, ReasonCode=137)"
        );
        let connack = ConnAck {
            session_present: false,
            code: 0,
            properties: Properties::default(),
        };
        assert_eq!(
            sent(v, Packet::ConnAck(connack)),
            "SEND CONNACK(Q0, R0, D0, AckFlags=0, ReasonCode=0)"
        );
    }

    #[test]
    fn payloads_as_erlang_writes_them() {
        let show = |bytes: &[u8]| Binary(bytes).to_string();
        assert_eq!(show(b""), "<<>>");
        assert_eq!(show(b"traced"), "<<\"traced\">>");
        assert_eq!(show(b"a \"b\" \\ \n\r\t"), r#"<<"a \"b\" \\ \n\r\t">>"#);
        assert_eq!(show(&[1, 2, 255]), "<<1,2,255>>");
        assert_eq!(show(b"bell\x07"), "<<98,101,108,108,7>>");
        assert_eq!(show("\u{e9}".as_bytes()), "<<\"\u{e9}\"/utf8>>");
        let long = vec![b'x'; MAX_SHOWN + 1];
        assert_eq!(show(&long), format!("<<\"{}\"...>>", "x".repeat(MAX_SHOWN)));
        assert_eq!(
            show(&long[1..]),
            format!("<<\"{}\">>", "x".repeat(MAX_SHOWN))
        );
        let split = format!("{}\u{e9}", "x".repeat(MAX_SHOWN - 1));
        assert_eq!(
            show(split.as_bytes()),
            format!("<<\"{}\"...>>", "x".repeat(MAX_SHOWN - 1))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_shown(bytes: Vec<u8>) {
            let text = Binary(&bytes).to_string();
            proptest::prop_assert!(text.starts_with("<<") && text.ends_with(">>"));
        }
    }
}
