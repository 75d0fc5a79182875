//! Datagrams that nobody should send.

use std::net::UdpSocket;

use emqttd_tests::unique;

use super::device::*;
use crate::common::{Random, address, watcher};

#[test]
fn wrong_lengths_and_types_are_ignored() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    for datagram in [
        "00",
        "01",
        "02",
        "0218ff",
        "0318",
        "0100",
        "010002",
        "03fe",
        "0203",
        "0211",
        "02ff",
        "0104",
        "0304",
        "0504040100",
        "030c00",
        "060c0000",
        "040a00",
        "0412",
        "0412000102",
        "050d0000",
        "03fe01",
        "04fe0100",
        "03fe0103fe0102",
        "ff0c",
        "0600",
        "021f",
        "0401000102030405",
    ] {
        device.says(datagram);
        device.hears_nothing();
    }
    // The same packets as one length of three bytes is fine.
    device.says("01000416");
    device.hears("0217");
}

#[test]
fn packets_out_of_order() {
    let broker = gateway("");
    // Before CONNECT nothing is obeyed.
    let device = Device::new(&broker);
    let mut heard = watcher(&broker, "#", 0);
    for early in [
        register(0, 1, "a/b"),
        publish(0, 1, 0, b"x"),
        publish(flag::QOS1, 1, 1, b"x"),
        publish(flag::SHORT, 0x6162, 0, b"x"),
        subscribe(flag::QOS1, 1, b"#"),
        text(7, &[0], "will"),
        text(9, &[], "will"),
        text(0x1a, &[0], "will"),
        text(0x1c, &[], "will"),
        packet(&[0x18]),
    ] {
        device.send(&early);
    }
    loop {
        device.says("030100");
        match hex(&device.recv()).as_str() {
            "030201" => break,
            // It has no connection: so it may be told.
            "0218" => {}
            other => panic!("{other}"),
        }
    }
    heard.nothing_from(&mut broker.client(emqttd_tests::Version::V311, "marker"));
    // Acknowledgements for nothing.
    let device = Device::connected(&broker, &unique("sn"));
    for odd in [
        "070d0003000100",
        "070b0003000100",
        "040e0001",
        "040f0001",
        "070d0003000102",
    ] {
        device.says(odd);
    }
    device.says("0216");
    loop {
        match hex(&device.recv()).as_str() {
            "0217" => break,
            // PUBREC is answered, that the device may forget it.
            "04100001" => {}
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_storm_of_rubbish() {
    let broker = gateway("mqtt.sn.enable_qos3 = on\n");
    let honest = Device::connected(&broker, &unique("sn"));
    let topic = honest.register("honest/x");
    let mut heard = watcher(&broker, "honest/x", 1);
    let mut random = Random(7);
    let to = address(&broker, "mqtt-sn:udp");
    let sockets: Vec<UdpSocket> = (0..16)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let before = broker.resident();
    for round in 0..200u16 {
        for n in 0..100 {
            let mut bytes = random.bytes(40);
            // Most of them with a right length and a known type.
            if n % 4 != 0 {
                bytes.insert(0, random.below(0x1e) as u8);
                bytes = packet(&bytes);
            }
            sockets[random.below(sockets.len())]
                .send_to(&bytes, to)
                .unwrap();
        }
        honest.send(&publish(flag::QOS1, topic, round + 1, b"still here"));
        loop {
            let got = honest.recv();
            if hex(&got) == format!("070d{topic:04x}{:04x}00", round + 1) {
                break;
            }
        }
        heard.expect("honest/x", "still here");
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

/// Half a connection from many addresses costs a bounded number of places, and they are given back.
#[test]
fn more_devices_than_there_is_room_for() {
    let broker = gateway("mqtt.sn.max_clients = 5\n");
    let devices: Vec<Device> = (0..5)
        .map(|n| Device::connected(&broker, &format!("sn-{n}")))
        .collect();
    let late = Device::new(&broker);
    late.send(&connect(flag::CLEAN, 60, "sn-late"));
    late.hears("030501");
    devices[0].says("0218");
    devices[0].hears("0218");
    crate::common::wait_until_gone(&broker, "sn-0");
    late.connect(flag::CLEAN, 60, "sn-late");
}
