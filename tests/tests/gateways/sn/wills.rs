//! Wills: how they are set up, changed, and when they are published.

use emqttd_tests::{Broker, Connect, Version};

use super::device::*;
use crate::common::{wait_until_gone, watcher};

/// CONNECT with a will, which has to be asked for.
#[track_caller]
fn connect_with_will(
    broker: &Broker,
    id: &str,
    duration: u16,
    topic: &str,
    payload: &str,
) -> Device {
    let device = Device::new(broker);
    device.send(&connect(flag::CLEAN | flag::WILL, duration, id));
    device.hears("0206");
    device.send(&text(7, &[flag::QOS1], topic));
    device.hears("0208");
    device.send(&text(9, &[], payload));
    device.hears("030500");
    device
}

/// Check 5: silence brings it out, while another device talks.
#[test]
fn a_lost_device() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "will/#", 1);
    let busy = Device::connected(&broker, "sn-busy");
    let _device = connect_with_will(&broker, "sn-will", 1, "will/lost", "gone");
    let message = loop {
        busy.says("0216");
        busy.hears("0217");
        if let Some(Some(emqttd_tests::Packet::Publish {
            topic,
            payload,
            qos,
            ..
        })) = heard.recv_within(std::time::Duration::from_millis(50))
        {
            break (topic, String::from_utf8(payload.to_vec()).unwrap(), qos);
        }
    };
    assert_eq!(message, ("will/lost".into(), "gone".into(), 1));
    wait_until_gone(&broker, "sn-will");
}

#[test]
fn no_will_after_a_goodbye() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "will/#", 1);
    let device = connect_with_will(&broker, "sn-bye", 60, "will/bye", "gone");
    device.says("0218");
    device.hears("0218");
    wait_until_gone(&broker, "sn-bye");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

#[test]
fn an_empty_topic_is_no_will() {
    let broker = gateway("");
    let device = Device::new(&broker);
    device.send(&connect(flag::CLEAN | flag::WILL, 60, "sn-none"));
    device.hears("0206");
    device.says("0207");
    device.hears("030500");
    device.says("0216");
    device.hears("0217");
}

#[test]
fn connecting_again_before_the_will_is_told() {
    let broker = gateway("");
    let device = Device::new(&broker);
    device.send(&connect(flag::CLEAN | flag::WILL, 60, "sn-twice"));
    device.hears("0206");
    device.send(&connect(flag::CLEAN, 60, "sn-twice"));
    device.hears("030500");
}

#[test]
fn a_changed_will() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "will/#", 1);
    let device = connect_with_will(&broker, "sn-changed", 1, "will/old", "old");
    device.send(&text(0x1a, &[flag::QOS1], "will/new"));
    device.hears("031b00");
    device.send(&text(0x1c, &[], "new"));
    device.hears("031d00");
    heard.expect("will/new", "new");
    wait_until_gone(&broker, "sn-changed");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

#[test]
fn a_deleted_will() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "will/#", 1);
    let device = connect_with_will(&broker, "sn-deleted", 1, "will/old", "old");
    device.says("021a");
    device.hears("031b00");
    wait_until_gone(&broker, "sn-deleted");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

/// An MQTT client with the same name takes over: no will then.
#[test]
fn taken_over() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "will/#", 1);
    let device = connect_with_will(&broker, "sn-moved", 60, "will/moved", "gone");
    let _mqtt = broker.open(&Connect::new(Version::V311, "sn-moved"));
    device.hears("0218");
    // As MQTT 3.1.1 clients here and in EMQ.
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}
