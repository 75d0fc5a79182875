//! `/mqtt`: as 2.2 and later had it, and the commands of the releases before.

use emqttd_tests::{Broker, Connect, Publish, Version};

use super::endpoint::*;
use crate::common::{DEADLINE, eventually, shown, wait_for_client, wait_until_gone, watcher};

/// Check 1.
#[test]
fn a_put_publishes() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "#", 2);
    let mut device = Device::new(&broker);
    assert_eq!(
        device.asks(PUT, "mqtt/topic1?c=client1&u=tom&p=secret", "1234"),
        "2.04"
    );
    let message = heard.expect("topic1", "1234");
    assert_eq!((message.qos, message.retain), (0, false));
    let row = wait_for_client(&broker, "client1");
    assert!(row.contains("username=tom"), "{row}");
    // A slash inside of a segment, and between segments.
    assert_eq!(
        device.asks(PUT, "mqtt/a/b?c=client1&u=tom&p=secret", "x"),
        "2.04"
    );
    heard.expect("a/b", "x");
    let path = Message::request(PUT, "?c=client1&u=tom&p=secret").payload("y");
    let path = path
        .with(option::URI_PATH, b"mqtt")
        .with(option::URI_PATH, b"a/b");
    assert_eq!(device.ask(path).said(), "2.04");
    heard.expect("a/b", "y");
    // Unknown parameters are passed over; QoS and retain are parameters of ours.
    assert_eq!(
        device.asks(
            PUT,
            "mqtt/t?c=client1&u=tom&p=secret&zz=1&qos=1&retain=1",
            "z"
        ),
        "2.04"
    );
    assert_eq!(heard.expect("t", "z").qos, 1);
    assert_eq!(
        device.asks(PUT, "mqtt/t?c=client1&u=tom&p=secret&qos=2", "zz"),
        "2.04"
    );
    assert_eq!(heard.expect("t", "zz").qos, 2);
    assert!(
        device
            .asks(PUT, "mqtt/t?c=client1&u=tom&p=secret&qos=3", "")
            .starts_with("4.")
    );
    // Not confirmable.
    device.ask(
        Message::request(PUT, "mqtt/t?c=client1&u=tom&p=secret")
            .payload("n")
            .non(),
    );
    heard.expect("t", "n");
}

/// Check 7: the command of the user's page.
#[test]
fn the_post_of_2_0() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "hello", 1);
    let mut device = Device::new(&broker);
    let form = "qos=0&retain=0&message=payload&topic=hello";
    assert_eq!(device.asks(POST, "mqtt", form), "2.01");
    heard.expect("hello", "payload");
    assert_eq!(
        device.asks(
            POST,
            "mqtt",
            "qos=1&retain=0&message=one&topic=hello&client=coap-named"
        ),
        "2.01"
    );
    assert_eq!(heard.expect("hello", "one").qos, 1);
    // Percent-encoded, as 2.1 had it.
    assert_eq!(
        device.asks(POST, "mqtt", "topic=hello&message=a%26b%20c"),
        "2.01"
    );
    heard.expect("hello", "a&b c");
    for wrong in [
        "",
        "message=x",
        "topic=%23&message=x",
        "topic=&message=x",
        "qos=7&topic=hello&message=x",
    ] {
        assert_eq!(device.asks(POST, "mqtt", wrong), "4.00", "{wrong}");
    }
}

#[test]
fn an_anonymous_post_is_authenticated() {
    let config = config("").set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    let mut device = Device::new(&broker);
    let form = "qos=0&retain=0&message=payload&topic=hello";
    assert_eq!(device.asks(POST, "mqtt", form), "4.01");
}

/// Check 2.
#[test]
fn observing() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let mut device = Device::new(&broker);
    let observe = |value| {
        Message::request(GET, "?c=coap-obs")
            .with(option::URI_PATH, b"mqtt")
            .with(option::URI_PATH, b"a/+")
            .with_number(option::OBSERVE, value)
    };
    let first = device.ask(observe(0));
    assert_eq!((first.said(), first.payload.len()), ("2.05".into(), 0));
    assert!(first.number(option::OBSERVE).is_some(), "{first:?}");
    let mut last = first.number(option::OBSERVE).unwrap();
    for n in 0..10 {
        mqtt.publish(Publish::new("a/x", n.to_string()).qos(1));
        let got = device.notified();
        assert_eq!(
            (got.token.clone(), got.text()),
            (first.token.clone(), n.to_string())
        );
        assert_eq!(
            (got.kind, got.number(option::CONTENT_FORMAT)),
            (CON, Some(42))
        );
        let now = got.number(option::OBSERVE).unwrap();
        assert!(now > last, "{now} after {last}");
        last = now;
    }
    let (_, text) = broker.ctl(&["subscriptions", "show", "coap-obs"]);
    assert!(text.contains("a/+"), "{text}");
    let ended = device.ask(observe(1));
    assert_eq!(ended.said(), "2.05");
    assert_eq!(ended.number(option::OBSERVE), None);
    mqtt.publish(Publish::new("a/x", "late").qos(1));
    device.hears_nothing();
    let (_, text) = broker.ctl(&["subscriptions", "show", "coap-obs"]);
    assert!(!text.contains("a/+"), "{text}");
    // RST ends it, too.
    device.ask(observe(0));
    mqtt.publish(Publish::new("a/x", "reset").qos(1));
    let got = device.recv();
    device.reset(&got);
    eventually("the subscription has ended", || {
        !broker
            .ctl(&["subscriptions", "show", "coap-obs"])
            .1
            .contains("a/+")
    });
    mqtt.publish(Publish::new("a/x", "after").qos(1));
    device.hears_nothing();
    assert_eq!(device.ask(observe(2)).said(), "4.02");
}

#[test]
fn observing_what_overlaps() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let mut device = Device::new(&broker);
    let mut tokens = Vec::new();
    for filter in ["o/#", "o/+", "o/x"] {
        let request = Message::request(GET, "?c=coap-over")
            .with(option::URI_PATH, b"mqtt")
            .with(option::URI_PATH, filter.as_bytes())
            .with_number(option::OBSERVE, 0);
        tokens.push(device.ask(request).token);
    }
    mqtt.publish(Publish::new("o/x", "all").qos(1));
    let mut got: Vec<_> = (0..3).map(|_| device.notified()).collect();
    got.sort_by_key(|message| message.token.clone());
    tokens.sort();
    for (message, token) in got.iter().zip(&tokens) {
        assert_eq!((message.text().as_str(), &message.token), ("all", token));
    }
    device.hears_nothing();
}

/// Check 3, and the rows of the sheet.
#[test]
fn what_is_refused() {
    let config = config("")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = tom\nauth.user.1.password = secret\n",
        )
        .loaded(&["emq_auth_username", "emq_coap"])
        .set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    let mut device = Device::new(&broker);
    let tom = "c=c1&u=tom&p=secret";
    for (method, path, answer) in [
        (PUT, "mqtt/t".to_owned(), "4.00"),
        (PUT, "mqtt/t?c=".to_owned(), "4.00"),
        (
            PUT,
            format!("mqtt/t?c={}&u=tom&p=secret", "x".repeat(97)),
            "4.00",
        ),
        (PUT, "mqtt/t?c=c1&u=tom&p=wrong".to_owned(), "4.01"),
        (GET, "mqtt/t?c=c1".to_owned(), "4.01"),
        (PUT, format!("mqtt/t?{tom}"), "2.04"),
        (GET, format!("mqtt/t?{tom}"), "2.05"),
        (GET, format!("mqtt?{tom}"), "2.05"),
        (POST, format!("mqtt/t?{tom}"), "4.05"),
        (DELETE, format!("mqtt/t?{tom}"), "4.05"),
        (GET, "other".to_owned(), "4.04"),
        (GET, String::new(), "4.04"),
        (PUT, format!("mqtt/+?{tom}"), "4.00"),
    ] {
        assert_eq!(device.asks(method, &path, ""), answer, "{method} {path}");
    }
}

#[test]
fn one_name_is_one_client() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    assert_eq!(device.asks(PUT, "mqtt/t?c=same&u=one", ""), "2.04");
    assert!(wait_for_client(&broker, "same").contains("username=one"));
    // Another user takes it over, as does MQTT, and the other way round.
    assert_eq!(device.asks(PUT, "mqtt/t?c=same&u=two", ""), "2.04");
    eventually("another user has it", || {
        shown(&broker, "same").is_some_and(|row| row.contains("username=two"))
    });
    let mut mqtt = broker.open(&Connect::new(Version::V5, "same"));
    assert_eq!(device.asks(PUT, "mqtt/t?c=same&u=two", ""), "2.04");
    mqtt.expect_closed(&[0x8e]);
    // Another port is the same client.
    let mut moved = Device::new(&broker);
    assert_eq!(moved.asks(PUT, "mqtt/t?c=same&u=two", ""), "2.04");
    let (_, listeners) = broker.ctl(&["listeners"]);
    let rows = listeners.split("listener on coap:udp:").nth(1).unwrap();
    assert!(rows.contains("current_clients : 1"), "{listeners}");
    // Kicked, the next request connects anew.
    broker.ctl(&["clients", "kick", "same"]);
    wait_until_gone(&broker, "same");
    assert_eq!(device.asks(PUT, "mqtt/t?c=same&u=two", ""), "2.04");
}

/// Check 4.
#[test]
fn a_client_lives_as_long_as_it_asks() {
    let broker = gateway("coap.keepalive = 1s\n");
    let mut device = Device::new(&broker);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 3500 {
        assert_eq!(device.asks(GET, "mqtt?c=alive", ""), "2.05");
        assert!(shown(&broker, "alive").is_some());
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let begun = std::time::Instant::now();
    wait_until_gone(&broker, "alive");
    assert!(begun.elapsed() < DEADLINE / 4);
}

/// Check 5.
#[test]
fn what_the_acl_denies() {
    let acl = "{deny, {client, \"coap-acl\"}, pubsub, [\"closed/#\"]}.\n{allow, all}.\n";
    let broker = Broker::start(config("").acl(acl));
    let mut heard = watcher(&broker, "#", 1);
    let mut device = Device::new(&broker);
    assert_eq!(device.asks(PUT, "mqtt/closed/a?c=coap-acl", "x"), "2.04");
    assert_eq!(
        device.asks(PUT, "mqtt/closed/a?c=coap-acl&qos=1", "x"),
        "4.03"
    );
    let request = Message::request(GET, "mqtt/closed/a?c=coap-acl").with_number(option::OBSERVE, 0);
    assert_eq!(device.ask(request).said(), "4.03");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}
