//! Topic ids and what comes to devices.

use emqttd_tests::{Broker, Publish, Version, unique};

use super::device::*;
use crate::common::watcher;

/// The exchanges that were recorded.
#[test]
fn registering() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    for (name, answer) in [
        ("sn/t1", "070b0003000100"),
        ("sn/t2", "070b0004000100"),
        ("sn/t1", "070b0003000100"),
        ("wild/#", "070b0000000103"),
        ("wild/+/x", "070b0000000103"),
        ("/predefined/topic/name/nice", "070b0002000100"),
    ] {
        device.send(&register(0, 1, name));
        assert_eq!(hex(&device.recv()), answer, "{name}");
    }
    // Ids are each device's own.
    let other = Device::connected(&broker, &unique("sn"));
    assert_eq!(other.register("another/topic"), 3);
}

#[test]
fn subscribing_and_what_is_delivered() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    let mut mqtt = broker.client(Version::V311, "mqtt");
    // By name: a new id, which PUBLISH has.
    device.send(&subscribe(flag::QOS1, 1, b"q1"[..].repeat(2).as_slice()));
    device.hears("0813200003000100");
    mqtt.publish(Publish::new("q1q1", "a").qos(1));
    device.receives(flag::QOS1, 3, "a");
    mqtt.publish(Publish::new("q1q1", "a0"));
    device.receives(0, 3, "a0");
    // A predefined one; an unknown one.
    device.send(&subscribe(flag::QOS1 | flag::PREDEFINED, 2, &[0, 2]));
    device.hears("0813200002000200");
    mqtt.publish(Publish::new("/predefined/topic/name/nice", "b").qos(1));
    device.receives(flag::QOS1 | flag::PREDEFINED, 2, "b");
    device.send(&subscribe(flag::QOS1 | flag::PREDEFINED, 0x0e, &[0, 77]));
    device.hears("081320004d000e02");
    // A short name.
    device.send(&subscribe(flag::QOS1 | flag::SHORT, 3, b"xy"));
    device.hears("0813200000000300");
    mqtt.publish(Publish::new("xy", "c").qos(1));
    device.receives(flag::QOS1 | flag::SHORT, 0x7879, "c");
    // Unsubscribing, by each kind.
    device.send(&unsubscribe(0, 0x14, b"q1q1"));
    device.hears("04150014");
    device.send(&unsubscribe(flag::PREDEFINED, 0x15, &[0, 2]));
    device.hears("04150015");
    device.send(&unsubscribe(flag::SHORT, 0x16, b"xy"));
    device.hears("04150016");
    for topic in ["q1q1", "/predefined/topic/name/nice", "xy"] {
        mqtt.publish(Publish::new(topic, "x").qos(1));
    }
    device.hears_nothing();
    device.send(&unsubscribe(0, 0x17, b"never/subscribed"));
    device.hears("04150017");
}

/// Check 3; the message waits for REGACK.
#[test]
fn a_wildcard_registers_first() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    let mut mqtt = broker.client(Version::V311, "mqtt");
    assert_eq!(device.subscribe(flag::QOS1, "t/#"), 0);
    mqtt.publish(Publish::new("t/1", "first").qos(1));
    mqtt.publish(Publish::new("t/1", "second").qos(1));
    let asked = device.recv();
    assert_eq!(
        hex(&asked[..4]),
        format!("{:02x}0a0003", asked.len()),
        "{}",
        hex(&asked)
    );
    assert_eq!(&asked[6..], b"t/1");
    device.hears_nothing();
    device.send(&[7, 0x0b, asked[2], asked[3], asked[4], asked[5], 0]);
    device.receives(flag::QOS1, 3, "first");
    device.receives(flag::QOS1, 3, "second");
    // Known from now on.
    mqtt.publish(Publish::new("t/1", "third"));
    device.receives(0, 3, "third");
    // A topic of two bytes needs no id.
    assert_eq!(device.subscribe(0, "+"), 0);
    mqtt.publish(Publish::new("zz", "short"));
    device.receives(flag::SHORT, 0x7a7a, "short");
}

#[test]
fn an_id_that_the_device_does_not_know_is_registered_again() {
    let broker = gateway("mqtt.sn.retry_interval = 1s\n");
    let device = Device::connected(&broker, &unique("sn"));
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let id = device.subscribe(flag::QOS1, "reg/again");
    mqtt.publish(Publish::new("reg/again", "x").qos(1));
    let got = device.recv();
    assert_eq!(got[1], 0x0c);
    device.send(&[7, 0x0d, got[3], got[4], got[5], got[6], 2]);
    assert_eq!(device.is_told("reg/again"), id);
    let got = device.recv();
    assert_eq!((got[1], &got[7..]), (0x0c, &b"x"[..]), "{}", hex(&got));
    device.send(&[7, 0x0d, got[3], got[4], got[5], got[6], 0]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again() {
    let broker = gateway("mqtt.sn.retry_interval = 1s\nmqtt.sn.max_retries = 2\n");
    let device = Device::connected(&broker, "sn-deaf");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let id = device.subscribe(flag::QOS1, "again/1");
    mqtt.publish(Publish::new("again/1", "x").qos(1));
    let first = device.recv();
    let again = device.recv();
    assert_eq!((first[2], again[2]), (flag::QOS1, flag::QOS1 | flag::DUP));
    assert_eq!((&first[3..], &again[2 + 1..]), (&again[3..], &first[3..]));
    // Acknowledged, the next one comes, and nothing of the first.
    device.send(&[7, 0x0d, again[3], again[4], again[5], again[6], 0]);
    mqtt.publish(Publish::new("again/1", "y").qos(1));
    device.receives(flag::QOS1, id, "y");
    // REGISTER is sent again, too; then the device is lost.
    device.subscribe(0, "again/+");
    mqtt.publish(Publish::new("again/2", "z"));
    let asked = device.recv();
    assert_eq!(asked[1], 0x0a);
    for _ in 0..2 {
        assert_eq!(device.recv(), asked);
    }
    crate::common::wait_until_gone(&broker, "sn-deaf");
}

#[test]
fn level_2_to_a_device() {
    let broker = gateway("");
    let device = Device::connected(&broker, &unique("sn"));
    let mut mqtt = broker.client(Version::V311, "mqtt");
    device.send(&subscribe(flag::QOS2, 1, b"down/2"));
    device.hears("0813400003000100");
    mqtt.publish(Publish::new("down/2", "x").qos(2));
    let got = device.recv();
    assert_eq!((got[1], got[2]), (0x0c, flag::QOS2), "{}", hex(&got));
    let id = format!("{:02x}{:02x}", got[5], got[6]);
    device.says(&format!("040f{id}"));
    device.hears(&format!("0410{id}"));
    device.says(&format!("040e{id}"));
    device.hears_nothing();
    // The window is free again.
    mqtt.publish(Publish::new("down/2", "y").qos(2));
    assert_eq!(device.recv()[7..], *b"y");
}

#[test]
fn retained_messages() {
    let config = config("")
        .plugin_conf("emq_retainer", "retainer.storage_type = ram\n")
        .loaded(&["emq_retainer", "emq_sn"]);
    let broker = Broker::start(config);
    let device = Device::connected(&broker, &unique("sn"));
    let id = device.register("kept/up");
    device.send(&publish(flag::RETAIN | flag::QOS1, id, 1, b"up"));
    device.hears(&format!("070d{id:04x}000100"));
    let mut mqtt = watcher(&broker, "kept/up", 0);
    assert!(mqtt.expect("kept/up", "up").retain);
    mqtt.publish(Publish::new("kept/down", "down").qos(1).retained());
    let id = device.subscribe(0, "kept/down");
    device.receives(flag::RETAIN, id, "down");
}

/// Clean session off: the session is kept; ids are told anew.
#[test]
fn a_session_that_is_kept() {
    let broker = gateway("");
    let device = Device::new(&broker);
    device.connect(0, 60, "sn-kept");
    device.subscribe(flag::QOS1, "kept/session");
    device.says("0218");
    device.hears("0218");
    crate::common::wait_until_gone(&broker, "sn-kept");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    mqtt.publish(Publish::new("kept/session", "later").qos(1));
    let device = Device::new(&broker);
    device.connect(0, 60, "sn-kept");
    let id = device.is_told("kept/session");
    device.receives(flag::QOS1, id, "later");
    // A clean one forgets it.
    device.says("0218");
    device.hears("0218");
    device.connect(flag::CLEAN, 60, "sn-kept");
    mqtt.publish(Publish::new("kept/session", "gone").qos(1));
    device.hears_nothing();
}

#[test]
fn to_another_device() {
    let broker = gateway("");
    let from = Device::connected(&broker, &unique("sn"));
    let to = Device::connected(&broker, &unique("sn"));
    let filter = to.subscribe(flag::QOS1, "peer/x");
    let topic = from.register("peer/x");
    for n in 0..50u16 {
        let text = n.to_string();
        from.send(&publish(flag::QOS1, topic, n + 1, text.as_bytes()));
        from.hears(&format!("070d{topic:04x}{:04x}00", n + 1));
        to.receives(flag::QOS1, filter, &text);
    }
}
