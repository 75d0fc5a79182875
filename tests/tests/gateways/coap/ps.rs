//! `/ps`: the publish-subscribe draft.

use emqttd_tests::{Broker, Publish, Version};

use super::endpoint::*;
use crate::common::watcher;

fn with_format(method: u8, path: &str, format: u32, payload: &str) -> Message {
    Message::request(method, path)
        .with_number(option::CONTENT_FORMAT, format)
        .payload(payload)
}

/// Check 6.
#[test]
fn the_life_of_a_topic() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "#", 1);
    let mut device = Device::new(&broker);
    let made = device.ask(with_format(POST, "ps?c=ps1", 40, "<t>;ct=42"));
    assert_eq!(made.said(), "2.01");
    assert_eq!(made.values(option::LOCATION_PATH), [&b"ps"[..], b"t"]);
    assert_eq!(
        device
            .ask(with_format(POST, "ps?c=ps1", 40, "<t>;ct=42"))
            .said(),
        "2.01"
    );
    assert_eq!(
        device
            .ask(with_format(PUT, "ps/t?c=ps1", 42, "21.5"))
            .said(),
        "2.04"
    );
    heard.expect("t", "21.5");
    let read = device.ask(Message::request(GET, "ps/t?c=ps1"));
    assert_eq!(
        (read.said().as_str(), read.text().as_str()),
        ("2.05", "21.5")
    );
    let age = read.number(option::MAX_AGE).unwrap_or(60);
    assert!((50..=60).contains(&age), "{age}");
    assert_eq!(
        device.ask(with_format(PUT, "ps/t?c=ps1", 50, "{}")).said(),
        "4.00"
    );
    assert_eq!(device.asks(PUT, "ps/t?c=ps1", "x"), "4.15");
    assert_eq!(
        device.ask(with_format(PUT, "ps/t?c=ps1", 41, "x")).said(),
        "4.15"
    );
    assert_eq!(device.asks(DELETE, "ps/t?c=ps1", ""), "2.02");
    assert_eq!(device.asks(DELETE, "ps/t?c=ps1", ""), "4.04");
    assert_eq!(device.asks(GET, "ps/t?c=ps1", ""), "4.04");
    // Publishing makes a topic.
    let made = device.ask(with_format(PUT, "ps/new/one?c=ps1", 42, "1"));
    assert_eq!(
        (
            made.said().as_str(),
            made.values(option::LOCATION_PATH).len()
        ),
        ("2.01", 3)
    );
    heard.expect("new/one", "1");
    // Below a prefix.
    let made = device.ask(with_format(POST, "ps/new?c=ps1", 40, "<two>;ct=50"));
    assert_eq!(made.said(), "2.01");
    assert_eq!(
        made.values(option::LOCATION_PATH),
        [&b"ps"[..], b"new", b"two"]
    );
    // Deleting takes what is below with it, and nothing that merely has the letters.
    device.ask(with_format(PUT, "ps/brand-new?c=ps1", 42, "2"));
    assert_eq!(device.asks(DELETE, "ps/new?c=ps1", ""), "2.02");
    assert_eq!(device.asks(GET, "ps/new/one?c=ps1", ""), "4.04");
    assert_eq!(device.asks(GET, "ps/brand-new?c=ps1", ""), "2.05");
}

#[test]
fn what_is_refused() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    assert_eq!(device.asks(GET, "ps/t", ""), "4.00");
    assert_eq!(device.asks(GET, "ps/+?c=ps2", ""), "4.00");
    assert_eq!(device.asks(GET, "ps/unknown?c=ps2", ""), "4.04");
    for wrong in ["", "t", "<t", "<>;ct=42", "<t>;ct=x", "<t/#>;ct=42"] {
        let answer = device.ask(with_format(POST, "ps?c=ps2", 40, wrong)).said();
        assert_eq!(answer, "4.00", "{wrong}");
    }
    let observe = Message::request(GET, "ps/unknown?c=ps2").with_number(option::OBSERVE, 0);
    assert_eq!(device.ask(observe).said(), "4.04");
}

#[test]
fn observing_a_topic() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let mut device = Device::new(&broker);
    device.ask(with_format(PUT, "ps/seen?c=ps3", 42, "first"));
    let mut reader = Device::new(&broker);
    let observe =
        |value| Message::request(GET, "ps/seen?c=ps4").with_number(option::OBSERVE, value);
    let first = reader.ask(observe(0));
    assert_eq!(first.said(), "2.05");
    device.ask(with_format(PUT, "ps/seen?c=ps3", 42, "second"));
    assert_eq!(reader.notified().text(), "second");
    // What MQTT publishes is the value from now on, since somebody observes.
    mqtt.publish(Publish::new("seen", "third").qos(1));
    assert_eq!(reader.notified().text(), "third");
    let read = device.ask(Message::request(GET, "ps/seen?c=ps3"));
    assert_eq!(read.text(), "third");
    assert_eq!(reader.ask(observe(1)).said(), "2.05");
    device.ask(with_format(PUT, "ps/seen?c=ps3", 42, "fourth"));
    reader.hears_nothing();
}

#[test]
fn a_value_gets_old() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    let short = with_format(PUT, "ps/old?c=ps5", 42, "x").with_number(option::MAX_AGE, 1);
    device.ask(short);
    let read = device.ask(Message::request(GET, "ps/old?c=ps5"));
    assert_eq!((read.said().as_str(), read.text().as_str()), ("2.05", "x"));
    crate::common::eventually("it has expired", || {
        let read = device.ask(Message::request(GET, "ps/old?c=ps5"));
        assert_eq!(read.said(), "2.05");
        read.payload.is_empty()
    });
}

/// Nobody reads through /ps what the ACL keeps from him.
#[test]
fn what_the_acl_denies() {
    let acl = "{deny, {client, \"ps-no\"}, subscribe, [\"secret\"]}.\n\
               {deny, {client, \"ps-no\"}, publish, [\"locked\"]}.\n{allow, all}.\n";
    let broker = Broker::start(config("").acl(acl));
    let mut device = Device::new(&broker);
    device.ask(with_format(PUT, "ps/secret?c=ps-yes", 42, "word"));
    assert_eq!(
        device
            .ask(Message::request(GET, "ps/secret?c=ps-yes"))
            .text(),
        "word"
    );
    let read = device.ask(Message::request(GET, "ps/secret?c=ps-no"));
    assert!(read.said().starts_with("4.0"), "{read:?}");
    assert!(!read.text().contains("word"), "{read:?}");
    let observe = Message::request(GET, "ps/secret?c=ps-no").with_number(option::OBSERVE, 0);
    assert!(device.ask(observe).said().starts_with("4.0"));
    // What it may not publish is not stored.
    device.ask(with_format(PUT, "ps/locked?c=ps-no", 42, "mine"));
    let read = device.ask(Message::request(GET, "ps/locked?c=ps-yes"));
    assert!(!read.text().contains("mine"), "{read:?}");
}

#[test]
fn the_store_is_bounded() {
    let broker = gateway("coap.ps.max_topics = 3\n");
    let mut device = Device::new(&broker);
    for n in 0..3 {
        let put = with_format(PUT, &format!("ps/b{n}?c=ps6"), 42, "x");
        assert_eq!(device.ask(put).said(), "2.01");
    }
    let fourth = device.ask(with_format(PUT, "ps/b3?c=ps6", 42, "x")).said();
    assert!(fourth.starts_with("5.") || fourth == "4.13", "{fourth}");
}

#[test]
fn what_there_is() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    let core = device.ask(Message::request(GET, ".well-known/core"));
    assert_eq!(
        (core.said().as_str(), core.text().as_str()),
        ("2.05", "</mqtt>,</ps>")
    );
    assert_eq!(core.number(option::CONTENT_FORMAT), Some(40));
}
