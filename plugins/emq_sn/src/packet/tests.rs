#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Both directions.
fn is(hex: &str, packet: Packet<'_>) {
    let bytes = bytes(hex);
    assert_eq!(decode(&bytes), Ok(packet), "{hex}");
    let mut out = vec![0xAA];
    assert!(encode(&packet, &mut out));
    assert_eq!(out[0], 0xAA);
    assert_eq!(out[1..], bytes, "{hex}");
}

#[test]
fn every_packet_has_its_form() {
    is(
        "05 00 01 0384",
        Packet::Advertise {
            gateway_id: 1,
            duration: 900,
        },
    );
    is("03 01 00", Packet::SearchGw { radius: 0 });
    is(
        "03 02 01",
        Packet::GwInfo {
            gateway_id: 1,
            address: &[],
        },
    );
    is(
        "05 02 01 0A0B",
        Packet::GwInfo {
            gateway_id: 1,
            address: &[10, 11],
        },
    );
    is(
        "09 04 0C 01 003C 736E31",
        Packet::Connect {
            flags: Flags(0x0C),
            protocol_id: 1,
            duration: 60,
            client_id: b"sn1",
        },
    );
    is("03 05 00", Packet::ConnAck(ReturnCode::ACCEPTED));
    is("02 06", Packet::WillTopicReq);
    is("02 07", Packet::WillTopic(None));
    is(
        "04 07 30 77",
        Packet::WillTopic(Some(WillTopic {
            flags: Flags(0x30),
            topic: b"w",
        })),
    );
    is("02 08", Packet::WillMsgReq);
    is("05 09 627965", Packet::WillMsg(b"bye"));
    is("02 09", Packet::WillMsg(b""));
    is(
        "09 0A 0003 0001 612F62",
        Packet::Register {
            topic_id: 3,
            msg_id: 1,
            name: b"a/b",
        },
    );
    is(
        "07 0B 0003 0001 00",
        Packet::RegAck {
            topic_id: 3,
            msg_id: 1,
            code: ReturnCode::ACCEPTED,
        },
    );
    is(
        "09 0C 20 0003 0002 6869",
        Packet::Publish {
            flags: Flags(0x20),
            topic: 3,
            msg_id: 2,
            payload: b"hi",
        },
    );
    is(
        "07 0D 0063 0007 02",
        Packet::PubAck {
            topic_id: 99,
            msg_id: 7,
            code: ReturnCode::INVALID_TOPIC_ID,
        },
    );
    is("04 0E 0006", Packet::PubComp(6));
    is("04 0F 0006", Packet::PubRec(6));
    is("04 10 0006", Packet::PubRel(6));
    let subscribe = |flags, topic| Packet::Subscribe {
        flags: Flags(flags),
        msg_id: 14,
        topic,
    };
    is("07 12 20 000E 7131", subscribe(0x20, Topic::Name(b"q1")));
    is("07 12 21 000E 004D", subscribe(0x21, Topic::Id(77)));
    is("07 12 02 000E 7879", subscribe(0x02, Topic::Short(*b"xy")));
    is(
        "08 13 20 004D 000E 02",
        Packet::SubAck {
            flags: Flags(0x20),
            topic_id: 77,
            msg_id: 14,
            code: ReturnCode::INVALID_TOPIC_ID,
        },
    );
    is(
        "07 14 01 0014 0002",
        Packet::Unsubscribe {
            flags: Flags(1),
            msg_id: 20,
            topic: Topic::Id(2),
        },
    );
    is("04 15 0014", Packet::UnsubAck(20));
    is("02 16", Packet::PingReq(b""));
    is("05 16 736E31", Packet::PingReq(b"sn1"));
    is("02 17", Packet::PingResp);
    is("02 18", Packet::Disconnect(None));
    is("04 18 0002", Packet::Disconnect(Some(2)));
    is("02 1A", Packet::WillTopicUpd(None));
    is(
        "04 1A 10 77",
        Packet::WillTopicUpd(Some(WillTopic {
            flags: Flags(0x10),
            topic: b"w",
        })),
    );
    is("03 1B 00", Packet::WillTopicResp(ReturnCode::ACCEPTED));
    is("03 1C 78", Packet::WillMsgUpd(b"x"));
    is("03 1D 00", Packet::WillMsgResp(ReturnCode::ACCEPTED));
}

#[test]
fn flags_are_bits() {
    let flags = Flags(0b1111_1110);
    assert!(flags.dup() && flags.retain() && flags.will() && flags.clean());
    assert_eq!((flags.qos(), flags.topic_kind()), (3, TopicKind::Short));
    let none = Flags(0);
    assert!(!(none.dup() || none.retain() || none.will() || none.clean()));
    let made = Flags::of_qos(2).with_dup(true).with_retain(true);
    assert_eq!(made.with_topic_kind(TopicKind::Predefined), Flags(0xD1));
    assert_eq!(Flags(3).topic_kind(), TopicKind::Reserved);
}

#[test]
fn what_is_no_packet() {
    for hex in [
        "",
        "00",
        "01",
        "02",
        "03 16",      // too long a length
        "02 16 00",   // too short a length
        "01 0003",    // no type
        "01 0002 16", // its own length is not counted
        "02 03",      // unknown types
        "02 11",
        "02 19",
        "02 1E",
        "02 FF",
        "05 04 04 01 00", // CONNECT without its duration
        "03 18 00",       // half a duration
        "05 18 0000 00",  // something behind it
        "05 12 00 0001",  // SUBSCRIBE without a topic
        "06 12 01 0001 02",
        "08 12 01 0001 0002 00",
        "06 12 02 0001 61",
        "07 12 03 0001 6161", // a type of topic that there is not
        "04 06 00 00",
        "03 0E 00",
    ] {
        assert_eq!(decode(&bytes(hex)), Err(Malformed), "{hex}");
    }
    // Flags without a topic.
    assert_eq!(decode(&bytes("03 07 10")), Ok(Packet::WillTopic(None)));
}

#[test]
fn long_packets_have_a_length_of_two_bytes() {
    let payload = vec![b'x'; 300];
    let packet = Packet::WillMsg(&payload);
    let mut out = Vec::new();
    assert!(encode(&packet, &mut out));
    assert_eq!(out[..4], bytes("01 0130 09"));
    assert_eq!(out.len(), 0x130);
    assert_eq!(decode(&out), Ok(packet));
    // The long form of a short one is fine.
    assert_eq!(decode(&bytes("01 0004 16")), Ok(Packet::PingReq(b"")));
    let edge = |len: usize| {
        let payload = vec![0; len];
        let mut out = Vec::new();
        let fits = encode(&Packet::WillMsg(&payload), &mut out);
        (fits, out.len())
    };
    assert_eq!(edge(253), (true, 255));
    assert_eq!(edge(254), (true, 258));
    assert_eq!(edge(LONGEST - 4), (true, LONGEST));
    assert_eq!(edge(LONGEST - 3), (false, 0));
}

#[test]
fn heads_are_as_long_as_said() {
    let mut out = Vec::new();
    let payload = vec![0; 1000];
    let publish = Packet::Publish {
        flags: Flags(0),
        topic: 0,
        msg_id: 0,
        payload: &payload,
    };
    assert!(encode(&publish, &mut out));
    assert_eq!(out.len(), PUBLISH_HEAD + 1000);
    out.clear();
    let register = Packet::Register {
        topic_id: 0,
        msg_id: 0,
        name: &payload,
    };
    assert!(encode(&register, &mut out));
    assert_eq!(out.len(), REGISTER_HEAD + 1000);
}

#[test]
fn frames_of_forwarders() {
    let frame =
        |hex: &str| unwrap(&bytes(hex)).map(|f| (f.node.map(<[u8]>::to_vec), f.packet.to_vec()));
    assert_eq!(frame("02 16"), Ok((None, vec![2, 0x16])));
    assert_eq!(
        frame("05 FE 00 AABB 02 16"),
        Ok((Some(vec![0xAA, 0xBB]), vec![2, 0x16]))
    );
    assert_eq!(frame("03 FE 01 02 16"), Ok((Some(vec![]), vec![2, 0x16])));
    assert_eq!(frame("02 FE"), Err(Malformed));
    assert_eq!(frame("09 FE 00 AABB 02 16"), Err(Malformed));
    let mut out = Vec::new();
    wrap(&[0xAA, 0xBB], &mut out);
    assert!(encode(&Packet::PingResp, &mut out));
    assert_eq!(out, bytes("05 FE 00 AABB 02 17"));
    let node = [7; 252];
    out.clear();
    wrap(&node, &mut out);
    assert_eq!(unwrap(&out).unwrap().node, Some(&node[..]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_not(datagram in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = unwrap(&datagram);
        if let Ok(packet) = decode(&datagram) {
            let mut out = Vec::new();
            prop_assert!(encode(&packet, &mut out));
            prop_assert_eq!(decode(&out), Ok(packet));
        }
    }

    #[test]
    fn bytes_of_a_known_type_as_well(
        kind in 0u8..0x1E,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut datagram = bytes("01 0000");
        datagram.push(kind);
        datagram.extend_from_slice(&body);
        let length = u16::try_from(datagram.len()).unwrap();
        datagram[1..3].copy_from_slice(&length.to_be_bytes());
        if let Ok(packet) = decode(&datagram) {
            let mut out = Vec::new();
            prop_assert!(encode(&packet, &mut out));
            prop_assert_eq!(decode(&out), Ok(packet));
        }
    }
}

#[test]
fn a_long_packet_is_no_frame_of_a_forwarder() {
    // Its length has the type of such a frame in its second byte.
    let payload = vec![0; 0xFE00 - PUBLISH_HEAD];
    let packet = Packet::Publish {
        flags: Flags::of_qos(1),
        topic: 1,
        msg_id: 2,
        payload: &payload,
    };
    let mut datagram = Vec::new();
    assert!(encode(&packet, &mut datagram));
    assert_eq!(datagram[..4], [1, 0xFE, 0, 0x0C]);
    let frame = unwrap(&datagram).unwrap();
    assert_eq!(frame.node, None);
    assert_eq!(decode(frame.packet), Ok(packet));
}
