//! Bytes that are no MQTT, and packets that a server does not take.

use emqttd_tests::packet::AckKind;
use emqttd_tests::transport::{masked_frame, opcode};
use emqttd_tests::{ALL, Connect, Publish, STRICT, V3, Version, frame, text, unique};

use crate::broker;

/// Types 0 and 15 are reserved in 3.x, and some packets only a server sends. EMQ ignored them; the standard
/// says to close.
#[test]
fn mqtt_2_1_3_1_packets_of_no_business_close() {
    for v in ALL {
        let mut packets: Vec<Vec<u8>> = vec![
            frame(0x00, &[]),
            frame(0x0f, &[]),
            frame(0x20, if v.is_v5() { &[0, 0, 0] } else { &[0, 0] }),
            frame(0x90, if v.is_v5() { &[0, 1, 0, 0] } else { &[0, 1, 0] }),
            frame(0xb0, if v.is_v5() { &[0, 1, 0, 0] } else { &[0, 1] }),
            frame(0xd0, &[]),
        ];
        if !v.is_v5() {
            packets.push(frame(0xf0, &[]));
        }
        for packet in packets {
            let mut client = broker().client(v, "business");
            client.send(&packet);
            client.expect_closed(&[0x81, 0x82]);
        }
    }
}

/// [MQTT-3.14.1-1], [MQTT-3.6.1-1], [MQTT311-2.2.2-1]: reserved header flags, packet by packet.
#[test]
fn mqtt311_2_2_2_2_reserved_header_flags_close() {
    for v in STRICT {
        for (right, body) in [
            (0x40, &[0, 1][..]),
            (0x50, &[0, 1]),
            (0x62, &[0, 1]),
            (0x70, &[0, 1]),
            (0xc0, &[]),
            (0xe0, &[]),
        ] {
            for flags in 0..16u8 {
                let first = (right & 0xf0) | flags;
                if first == right {
                    continue;
                }
                let mut client = broker().client(v, "flags");
                client.send(&frame(first, body));
                client.expect_closed(&[0x81]);
            }
        }
    }
}

#[test]
fn mqtt_3_6_1_1_pubrel_flags() {
    for v in STRICT {
        let mut client = broker().client(v, "pubrel");
        client.send_publish(Publish::new("malformed/pubrel", "x").qos(2).id(1));
        client.ack(AckKind::Pubrec, 1);
        client.send(&frame(0x60, &[0, 1]));
        client.expect_closed(&[0x81]);
    }
}

/// [MQTT311-3.14.1-1]
#[test]
fn mqtt_3_14_1_1_disconnect_flags_lose_the_connection_with_its_will() {
    for v in STRICT {
        let topic = unique("discwill");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 0);
        let will = emqttd_tests::Will::new(&topic, "gone");
        let mut client = broker().open(&Connect::new(v, &unique("discwill")).will(will));
        client.send(&[0xe1, 0]);
        client.expect_closed(&[0x81]);
        watcher.expect(&topic, "gone");
    }
}

/// MQTT 3.1 calls the flags unused, sets DUP on a repeated SUBSCRIBE, and lets the remaining length overrule
/// the flags of CONNECT.
#[test]
fn emq_mqtt_3_1_is_lenient_with_flags() {
    let v = Version::V31;
    let mut client = broker().raw(v);
    client.send(&Connect::new(v, &unique("lenient")).flags(0x80).encode());
    assert_eq!(client.connack().1, 0);
    let mut bytes = client.subscribe_bytes(1, &[emqttd_tests::Sub::new("lenient/x", 1)], &[]);
    bytes[0] |= 0x08;
    client.send(&bytes);
    assert_eq!(client.suback(1).0, [1]);
    let mut bytes = client.unsubscribe_bytes(2, &["lenient/x"]);
    bytes[0] |= 0x08;
    client.send(&bytes);
    client.await_packet(|p| matches!(p, emqttd_tests::Packet::Unsuback { id: 2, .. }));
    client.quiet();
}

/// A remaining length of more than four bytes.
#[test]
fn mqtt_1_5_5_1_endless_remaining_length_closes() {
    for v in ALL {
        let mut client = broker().client(v, "endless");
        client.send(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        client.expect_closed(&[0x81, 0x95]);
        let mut raw = broker().raw(v);
        raw.send(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01]);
        let code = raw.closed();
        assert!([None, Some(0x81)].contains(&code), "{v}");
    }
}

/// DISCONNECT with reasons that a client may not give, or a body before MQTT 5.
#[test]
fn mqtt_3_14_2_1_wrong_disconnect_bodies() {
    for v in V3 {
        let mut client = broker().client(v, "body");
        client.send(&frame(0xe0, &[0]));
        assert_eq!(client.closed(), None);
    }
    for code in [0x01, 0x8e, 0x18, 0xfe] {
        let mut client = broker().client(Version::V5, "code");
        client.send(&frame(0xe0, &[code]));
        client.closed();
    }
}

/// Random bytes never hurt anybody else.
#[test]
fn mqtt_4_13_1_1_noise_closes_only_its_own_connection() {
    let mut bystander = broker().client(Version::V5, "bystander");
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..200 {
        let noise: Vec<u8> = (0..next() % 200).map(|_| next() as u8).collect();
        let mut client = if round % 2 == 0 {
            broker().raw(ALL[round % 3])
        } else {
            broker().client(ALL[round % 3], "noise")
        };
        client.send(&noise);
        client.drop_connection();
    }
    bystander.quiet();
}

/// Every packet cut at every place, and the rest never sent: no answer, no harm.
#[test]
fn mqtt_4_2_0_1_packets_cut_short_wait() {
    for v in ALL {
        let whole = Publish::new("cut/short", "payload").qos(1).id(1).encode(v);
        for cut in 1..whole.len() {
            let mut client = broker().client(v, "cut");
            client.send(&whole[..cut]);
            client.send(&whole[cut..]);
            client.ack(AckKind::Puback, 1);
        }
    }
}

/// Other protocols knocking at the door.
#[test]
fn mqtt_3_1_0_1_other_protocols_close() {
    let knocks: [Vec<u8>; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        masked_frame(
            true,
            opcode::BINARY,
            &Connect::new(Version::V311, "x").encode(),
        ),
    ];
    for knock in knocks {
        let mut client = broker().raw(Version::V311);
        client.send(&knock);
        assert_eq!(client.closed(), None, "{knock:02x?}");
    }
}

/// The broker says with which address it had to do.
#[test]
fn emq_malformed_packets_leave_a_log_line_with_the_address() {
    let broker = emqttd_tests::Broker::start(emqttd_tests::Config::new());
    let stream = broker.tcp();
    let me = stream.local_addr().unwrap().to_string();
    let mut client = emqttd_tests::Client::over(stream, Version::V311, "log");
    client.connect(&Connect::new(Version::V311, "loud"));
    let mut body = text("a/+");
    body.push(b'x');
    client.send(&frame(0x30, &body));
    assert_eq!(client.closed(), None);
    let start = std::time::Instant::now();
    while !broker
        .log()
        .lines()
        .any(|l| l.contains(&me) && !l.contains("[debug]"))
    {
        assert!(
            start.elapsed() < emqttd_tests::transport::DEADLINE,
            "no line names {me}:\n{}",
            broker.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
