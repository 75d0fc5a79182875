//! Discovery, connecting, publishing at each QoS, and how a connection ends.

use std::net::UdpSocket;

use emqttd_tests::{Broker, Connect, Version, unique};

use super::device::*;
use crate::common::{
    DEADLINE, address, eventually, shown, wait_for_client, wait_until_gone, watcher,
};

/// Check 1: SEARCHGW, and ADVERTISE every so often.
#[test]
fn a_gateway_is_found() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let to = listener.local_addr().unwrap();
    let keys = format!(
        "mqtt.sn.gateway_id = 9\nmqtt.sn.advertise_duration = 1\nmqtt.sn.advertise_to = {to}\n"
    );
    let broker = gateway(&keys);
    let mut bytes = [0; 16];
    for _ in 0..2 {
        let n = listener.recv(&mut bytes).unwrap();
        assert_eq!(hex(&bytes[..n]), "0500090001");
    }
    let device = Device::new(&broker);
    device.says("030100");
    device.hears("030209");
}

#[test]
fn the_defaults_are_advertised() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let to = listener.local_addr().unwrap();
    let broker = gateway(&format!("mqtt.sn.advertise_to = {to}\n"));
    let mut bytes = [0; 16];
    let n = listener.recv(&mut bytes).unwrap();
    assert_eq!(hex(&bytes[..n]), "0500010384");
    let device = Device::new(&broker);
    device.says("030100");
    device.hears("030201");
}

#[test]
fn a_device_is_a_client_like_any_other() {
    let broker = gateway("");
    let id = unique("sn");
    let device = Device::connected(&broker, &id);
    let row = wait_for_client(&broker, &id);
    assert!(row.contains("username=mqtt_sn_user"), "{row}");
    assert!(
        row.contains(&format!("peername={}", device.address())),
        "{row}"
    );
    let (_, sessions) = broker.ctl(&["sessions", "show", &id]);
    assert!(sessions.contains(&id), "{sessions}");
    let (_, listeners) = broker.ctl(&["listeners"]);
    let rows = listeners.split("listener on mqtt-sn:udp:").nth(1).unwrap();
    assert!(rows.contains("current_clients : 1"), "{listeners}");
    device.says("0218");
    device.hears("0218");
    wait_until_gone(&broker, &id);
}

#[test]
fn presence_tells_of_devices() {
    let conf = "module.presence = on\nmodule.presence.qos = 1\n";
    let config = config("")
        .plugin_conf("emq_modules", conf)
        .loaded(&["emq_modules", "emq_sn"]);
    let broker = Broker::start(config);
    let mut watcher = watcher(&broker, "$SYS/brokers/+/clients/sn-there/+", 0);
    let device = Device::connected(&broker, "sn-there");
    let message = watcher.recv_message();
    assert!(message.topic.ends_with("/connected"), "{message:?}");
    assert!(message.payload.contains("\"username\":\"mqtt_sn_user\""));
    assert!(message.payload.contains("\"ipaddress\":\"127.0.0.1\""));
    device.says("0218");
    let message = watcher.recv_message();
    assert!(message.topic.ends_with("/disconnected"), "{message:?}");
    assert!(message.payload.contains("\"reason\":\"normal\""));
}

#[test]
fn an_empty_client_id_is_given_one() {
    let broker = gateway("");
    let device = Device::new(&broker);
    device.connect(flag::CLEAN, 60, "");
    let (_, clients) = broker.ctl(&["clients", "list"]);
    let at = format!("peername={}", device.address());
    assert!(clients.contains(&at), "{clients}");
}

#[test]
fn connecting_again() {
    let broker = gateway("");
    let device = Device::connected(&broker, "sn-again");
    let topic = device.register("sn/again");
    // The same once more: topic ids are forgotten.
    device.connect(flag::CLEAN, 60, "sn-again");
    device.send(&publish(flag::QOS1, topic, 7, b"x"));
    device.hears(&format!("070d{topic:04x}000702"));
    // Another name: refused, and the connection is over.
    device.send(&connect(flag::CLEAN, 60, "sn-other"));
    device.hears("030503");
    wait_until_gone(&broker, "sn-again");
    assert_eq!(shown(&broker, "sn-other"), None);
    device.send(&publish(flag::QOS1, 1, 8, b"x"));
    // DISCONNECT tells a device that its connection is over, for want of another answer.
    let answers = std::iter::from_fn(|| {
        device.says("030100");
        Some(hex(&device.recv())).filter(|got| got != "030201")
    });
    for answer in answers {
        assert_eq!(answer, "0218");
    }
}

#[test]
fn another_protocol_is_refused() {
    let broker = gateway("");
    let device = Device::new(&broker);
    device.says("0904040200 3c6f6c64".replace(' ', "").as_str());
    let got = device.recv();
    assert_eq!(&got[..2], [3, 5]);
    assert_ne!(got[2], 0, "{}", hex(&got));
    assert_eq!(shown(&broker, "old"), None);
}

/// Checks 2 and 4, and the exchanges that were recorded.
#[test]
fn publishing_at_each_level() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    let mut watcher = watcher(&broker, "#", 2);
    // The first id behind the predefined ones, and the same one again.
    assert_eq!(device.register("sn/t1"), 3);
    assert_eq!(device.register("sn/t1"), 3);
    device.send(&publish(0, 3, 0, b"level 0"));
    watcher.expect("sn/t1", "level 0");
    device.send(&publish(flag::QOS1, 3, 5, b"level 1"));
    device.hears("070d0003000500");
    assert_eq!(watcher.expect("sn/t1", "level 1").qos, 1);
    device.send(&publish(flag::QOS2, 3, 6, b"level 2"));
    device.hears("040f0006");
    // Once only, however often it is sent.
    device.send(&publish(flag::QOS2 | flag::DUP, 3, 6, b"level 2"));
    device.hears("040f0006");
    device.says("04100006");
    device.hears("040e0006");
    assert_eq!(watcher.expect("sn/t1", "level 2").qos, 2);
    device.says("04100006");
    device.hears("040e0006");
    // One space of ids: the normal id 1 is the predefined topic 1.
    device.send(&publish(flag::QOS1, 1, 5, b"hello"));
    device.hears("070d0001000500");
    watcher.expect("/predefined/topic/name/hello", "hello");
    device.send(&publish(flag::PREDEFINED | flag::QOS1, 2, 9, b"nice"));
    device.hears("070d0002000900");
    watcher.expect("/predefined/topic/name/nice", "nice");
    // Unknown ids.
    device.send(&publish(flag::QOS1, 99, 7, b"x"));
    device.hears("070d0063000702");
    device.send(&publish(flag::QOS1 | flag::PREDEFINED, 9, 8, b"x"));
    device.hears("070d0009000802");
    device.send(&publish(0, 99, 0, b"x"));
    device.hears_nothing();
    // Short names.
    device.send(&publish(flag::SHORT, 0x6162, 0, b"short"));
    watcher.expect("ab", "short");
    device.send(&publish(flag::SHORT | flag::QOS1, 0x6123, 10, b"wild"));
    device.hears("070d6123000a03");
    // Retained, empty, and long enough for a length of three bytes.
    device.send(&publish(flag::RETAIN | flag::QOS1, 3, 11, b""));
    device.hears("070d0003000b00");
    watcher.expect("sn/t1", "");
    let long = "x".repeat(1000);
    device.send(&publish(flag::QOS1, 3, 12, long.as_bytes()));
    device.hears("070d0003000c00");
    watcher.expect("sn/t1", &long);
}

/// Check 7.
#[test]
fn without_a_connection_at_qos_minus_1() {
    let broker = gateway("mqtt.sn.enable_qos3 = on\n");
    let mut heard = watcher(&broker, "#", 0);
    let device = Device::new(&broker);
    let predefined = publish(flag::QOS_MINUS_1 | flag::PREDEFINED, 1, 0, b"a");
    device.send(&predefined);
    heard.expect("/predefined/topic/name/hello", "a");
    device.send(&publish(flag::QOS_MINUS_1 | flag::SHORT, 0x7879, 0, b"b"));
    heard.expect("xy", "b");
    // A registered id means nothing without a connection.
    device.send(&publish(flag::QOS_MINUS_1, 3, 0, b"c"));
    device.hears_nothing();
    // With one, as QoS 0.
    device.connect(flag::CLEAN, 60, "sn-minus");
    let topic = device.register("minus/one");
    device.send(&publish(flag::QOS_MINUS_1, topic, 0, b"d"));
    assert_eq!(heard.expect("minus/one", "d").qos, 0);
    drop(broker);

    let broker = gateway("mqtt.sn.enable_qos3 = off\n");
    let mut heard = watcher(&broker, "/predefined/#", 0);
    let device = Device::new(&broker);
    device.send(&predefined);
    device.hears_nothing();
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
    // The key is hot.
    let (_, text) = broker.ctl(&["set", "mqtt.sn.enable_qos3=on", "--app=emq_sn"]);
    assert!(text.contains("success") || text.contains("ok"), "{text}");
    device.send(&predefined);
    heard.expect("/predefined/topic/name/hello", "a");
}

/// Check 8.
#[test]
fn a_wrong_password_is_refused() {
    let config = config("")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = mqtt_sn_user\nauth.user.1.password = other\n",
        )
        .loaded(&["emq_auth_username", "emq_sn"])
        .set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    let device = Device::new(&broker);
    device.send(&connect(flag::CLEAN, 60, "sn-wrong"));
    device.hears("030501");
    assert_eq!(shown(&broker, "sn-wrong"), None);
}

#[test]
fn the_right_password_is_let_in() {
    let config = config("mqtt.sn.password = right\n")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = mqtt_sn_user\nauth.user.1.password = right\n",
        )
        .loaded(&["emq_auth_username", "emq_sn"])
        .set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    Device::connected(&broker, "sn-right");
}

#[test]
fn what_the_acl_denies() {
    let acl = "{allow, {user, \"mqtt_sn_user\"}, pubsub, [\"open/#\"]}.\n\
               {deny, {user, \"mqtt_sn_user\"}, pubsub, [\"#\"]}.\n{allow, all}.\n";
    let broker = Broker::start(config("").acl(acl));
    let mut watcher = watcher(&broker, "#", 0);
    let device = Device::connected(&broker, "sn-acl");
    device.send(&subscribe(flag::QOS1, 0x0e, b"closed/a"));
    device.hears("0813200000000e80");
    let closed = device.register("closed/b");
    device.send(&publish(flag::QOS1, closed, 15, b"x"));
    device.hears(&format!("070d{closed:04x}000f03"));
    let open = device.register("open/b");
    device.send(&publish(flag::QOS1, open, 16, b"y"));
    device.hears(&format!("070d{open:04x}001000"));
    watcher.expect("open/b", "y");
}

#[test]
fn the_ends_of_a_connection() {
    let broker = gateway("");
    // Kicked.
    let device = Device::connected(&broker, "sn-kicked");
    broker.ctl(&["clients", "kick", "sn-kicked"]);
    device.hears("0218");
    wait_until_gone(&broker, "sn-kicked");
    // Taken over by an MQTT client, and back.
    let device = Device::connected(&broker, "sn-taken");
    let mut mqtt = broker.open(&Connect::new(Version::V5, "sn-taken"));
    device.hears("0218");
    device.connect(flag::CLEAN, 60, "sn-taken");
    mqtt.expect_closed(&[0x8e]);
    // Taken over by another device.
    let other = Device::connected(&broker, "sn-taken");
    device.hears("0218");
    let topic = other.register("a/b");
    other.send(&publish(flag::QOS1, topic, 1, b""));
    other.hears(&format!("070d{topic:04x}000100"));
    // Unloaded; the port is free at once.
    let at = address(&broker, "mqtt-sn:udp");
    broker.unload("emq_sn");
    other.hears("0218");
    UdpSocket::bind(at).unwrap();
    broker.load("emq_sn");
    eventually("it listens again", || {
        broker.ctl(&["listeners"]).1.contains("mqtt-sn:udp:")
    });
    Device::connected(&broker, "sn-after");
}

#[test]
fn silence_ends_it_whatever_others_do() {
    let broker = gateway("");
    let busy = Device::connected(&broker, "sn-busy");
    let silent = Device::new(&broker);
    silent.connect(flag::CLEAN, 1, "sn-silent");
    let begun = std::time::Instant::now();
    while shown(&broker, "sn-silent").is_some() {
        busy.says("0216");
        busy.hears("0217");
        assert!(begun.elapsed() < DEADLINE);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(begun.elapsed().as_millis() > 900, "{:?}", begun.elapsed());
    // The busy one is still there.
    busy.says("0216");
    busy.hears("0217");
}

/// A forwarder puts a header before each packet, and gets the answers with the same one.
#[test]
fn behind_a_forwarder() {
    let broker = gateway("");
    let mut watcher = watcher(&broker, "fwd/#", 0);
    let forwarder = Device::new(&broker);
    let wrap = |node: &[u8], packet: &[u8]| {
        let head = [&[3 + node.len() as u8, 0xfe, 1][..], node].concat();
        [&head[..], packet].concat()
    };
    let unwrap = |node: &[u8]| {
        let got = forwarder.recv();
        let head = [&[3 + node.len() as u8, 0xfe][..]].concat();
        assert_eq!(got[..2], head[..], "{}", hex(&got));
        let length = usize::from(got[0]);
        assert_eq!(&got[3..length], node, "{}", hex(&got));
        hex(&got[length..])
    };
    for (node, id) in [(&[0xa1, 0xa2][..], "fwd-a"), (&[0xb1][..], "fwd-b")] {
        forwarder.send(&wrap(node, &connect(flag::CLEAN, 60, id)));
        assert_eq!(unwrap(node), "030500");
        wait_for_client(&broker, id);
        forwarder.send(&wrap(node, &register(0, 1, "fwd/x")));
        assert_eq!(unwrap(node), "070b0003000100");
        forwarder.send(&wrap(node, &publish(0, 3, 0, id.as_bytes())));
        watcher.expect("fwd/x", id);
    }
    // The second one's goodbye is not the first one's.
    forwarder.send(&wrap(&[0xb1], &[2, 0x18]));
    assert_eq!(unwrap(&[0xb1]), "0218");
    wait_until_gone(&broker, "fwd-b");
    forwarder.send(&wrap(&[0xa1, 0xa2], &[2, 0x16]));
    assert_eq!(unwrap(&[0xa1, 0xa2]), "0217");
}
