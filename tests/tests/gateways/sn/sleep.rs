//! Devices that sleep.

use std::time::{Duration, Instant};

use emqttd_tests::{Client, Publish, Version, unique};

use super::device::*;
use crate::common::{DEADLINE, shown, wait_until_gone, watcher};

/// Goes to sleep for so many seconds.
#[track_caller]
fn asleep(device: &Device, seconds: u16) {
    device.send(&[4, 0x18, (seconds >> 8) as u8, seconds as u8]);
    device.hears("0218");
}

fn ping(device: &Device, id: &str) {
    device.send(&text(0x16, &[], id));
}

fn publish_three(mqtt: &mut Client, topic: &str, qos: u8) {
    for payload in ["one", "two", "three"] {
        mqtt.publish(Publish::new(topic, payload).qos(qos));
    }
}

/// Check 6.
#[test]
fn messages_wait_until_it_wakes() {
    let broker = super::device::gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    for (qos, flags) in [(0, 0), (1, flag::QOS1)] {
        let id = unique("sn-sleep");
        let topic_name = format!("sleep/{qos}");
        let device = Device::connected(&broker, &id);
        let topic = device.subscribe(flag::QOS1, &topic_name);
        asleep(&device, 60);
        publish_three(&mut mqtt, &topic_name, qos);
        // Not by name, or by another name: nothing.
        device.says("0216");
        ping(&device, "someone-else");
        device.hears_nothing();
        ping(&device, &id);
        for payload in ["one", "two", "three"] {
            device.receives(flags, topic, payload);
        }
        device.hears("0217");
        // Asleep again.
        publish_three(&mut mqtt, &topic_name, qos);
        device.hears_nothing();
        // Back for good: what waits comes behind CONNACK.
        device.send(&connect(flag::CLEAN, 60, &id));
        device.hears("030500");
        for payload in ["one", "two", "three"] {
            device.receives(flags, topic, payload);
        }
        mqtt.publish(Publish::new(&topic_name, "awake").qos(qos));
        device.receives(flags, topic, "awake");
    }
}

#[test]
fn who_sleeps_longer_than_it_said_is_lost() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "sleep/will", 1);
    let device = Device::new(&broker);
    device.send(&connect(flag::CLEAN | flag::WILL, 60, "sn-overslept"));
    device.hears("0206");
    device.send(&text(7, &[flag::QOS1], "sleep/will"));
    device.hears("0208");
    device.send(&text(9, &[], "overslept"));
    device.hears("030500");
    asleep(&device, 1);
    heard.expect("sleep/will", "overslept");
    wait_until_gone(&broker, "sn-overslept");
}

#[test]
fn a_sleep_may_be_made_longer_and_ended() {
    let broker = gateway("");
    let device = Device::connected(&broker, "sn-longer");
    asleep(&device, 1);
    let begun = Instant::now();
    asleep(&device, 60);
    while begun.elapsed() < Duration::from_millis(2500) {
        assert!(shown(&broker, "sn-longer").is_some());
        std::thread::sleep(Duration::from_millis(100));
    }
    device.says("0218");
    device.hears("0218");
    wait_until_gone(&broker, "sn-longer");
}

#[test]
fn what_a_sleeper_is_kept_is_bounded() {
    let config = config("mqtt.sn.sleep_queue = 3\n").set("mqtt.mqueue.max_length", "10");
    let broker = emqttd_tests::Broker::start(config);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let device = Device::connected(&broker, "sn-bounded");
    let topic = device.subscribe(0, "sleep/bounded");
    asleep(&device, 60);
    for n in 0..500 {
        mqtt.publish(Publish::new("sleep/bounded", n.to_string()));
    }
    mqtt.ping();
    // The newest three, once the gateway has them all.
    let begun = Instant::now();
    loop {
        ping(&device, "sn-bounded");
        let mut got = Vec::new();
        loop {
            let next = device.recv();
            if next == [2, 0x17] {
                break;
            }
            assert_eq!(u16::from_be_bytes([next[3], next[4]]), topic);
            got.push(String::from_utf8(next[7..].to_vec()).unwrap());
        }
        assert!(got.len() <= 3, "{got:?}");
        if got.last().is_some_and(|last| last == "499") {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{got:?}");
    }
}

/// A device whose address has changed while it slept (a NAT forgets) wakes under its name.
#[test]
fn an_address_that_changes() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let old = Device::connected(&broker, "sn-nat");
    let topic = old.subscribe(flag::QOS1, "sleep/nat");
    asleep(&old, 60);
    mqtt.publish(Publish::new("sleep/nat", "x").qos(1));
    let new = Device::new(&broker);
    ping(&new, "sn-nat");
    new.receives(flag::QOS1, topic, "x");
    new.hears("0217");
    new.send(&connect(flag::CLEAN, 60, "sn-nat"));
    new.hears("030500");
    mqtt.publish(Publish::new("sleep/nat", "y").qos(1));
    new.receives(flag::QOS1, topic, "y");
    assert_eq!(old.recv_within(Duration::from_millis(100)), None);
}

/// What waits at QoS 1 for a session that is kept outlives the broker.
#[test]
fn what_waits_is_on_disk() {
    let mut broker = gateway("");
    let device = Device::new(&broker);
    device.connect(0, 60, "sn-durable");
    device.subscribe(flag::QOS1, "sleep/durable");
    asleep(&device, 600);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    publish_three(&mut mqtt, "sleep/durable", 1);
    broker.restart(emqttd_tests::End::Kill);
    let device = Device::new(&broker);
    device.connect(0, 60, "sn-durable");
    let id = device.is_told("sleep/durable");
    for payload in ["one", "two", "three"] {
        let got = device.recv();
        let flags = got[2] & !flag::DUP;
        assert_eq!(
            (got[1], flags, &got[7..]),
            (0x0c, flag::QOS1, payload.as_bytes())
        );
        assert_eq!(u16::from_be_bytes([got[3], got[4]]), id);
        device.send(&[7, 0x0d, got[3], got[4], got[5], got[6], 0]);
    }
}
