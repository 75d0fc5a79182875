//! Frames as bytes: how they may be cut, ended and escaped.

use emqttd_tests::stomp::{Stomp, frame};
use emqttd_tests::{Client, Publish, Version, unique};

use super::{broker, guest, here};
use crate::common::watcher;

/// A connection that speaks this version, and an MQTT client that gets everything below a topic.
fn speaking(version: &str) -> (Stomp, Client, String) {
    let base = unique("syntax");
    let watcher = watcher(broker(), &format!("{base}/#"), 0);
    let mut stomp = Stomp::open(here());
    stomp.escapes = version != "1.0";
    let headers = [
        ("accept-version", version),
        ("login", "guest"),
        ("passcode", "guest"),
    ];
    stomp.say("CONNECT", &headers, "");
    assert_eq!(stomp.recv().value("version"), version);
    (stomp, watcher, base)
}

/// Sheet 16.3, check 6.
#[test]
fn single_bytes_make_a_frame() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let mut stomp = Stomp::open(here());
    let mut bytes =
        b"\nCONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0\n\r\n".to_vec();
    let body = b"a\0b\n\nc\0";
    let length = body.len().to_string();
    let headers = [("destination", topic.as_str()), ("content-length", &length)];
    bytes.extend(frame("SEND", &headers, body));
    bytes.extend(frame("SEND", &headers[..1], "x"));
    bytes.extend(frame("DISCONNECT", &[("receipt", "1")], ""));
    for byte in bytes {
        stomp.send([byte]);
    }
    assert_eq!(stomp.recv().command, "CONNECTED");
    stomp.expect("RECEIPT\nreceipt-id:1\n\n\0");
    stomp.closed();
    watcher.expect(&topic, "a\0b\n\nc\0");
    watcher.expect(&topic, "x");
}

#[test]
fn any_body_comes_through() {
    let topic = unique("t");
    let mut stomp = guest();
    stomp.sub("1", &topic, &[]);
    let all: Vec<u8> = (0..=255).collect();
    let long = vec![0; 8192];
    for body in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\n",
        b"MESSAGE\n\n\0",
        &all,
        &long,
    ] {
        let length = body.len().to_string();
        let headers = [("destination", topic.as_str()), ("content-length", &length)];
        stomp.say("SEND", &headers, body);
        let message = stomp.recv();
        assert_eq!(message.body, body);
    }
    // One that MQTT sends may be longer than one that STOMP may send.
    let mut mqtt = broker().client(Version::V311, "mqtt");
    let huge = vec![b'x'; 60_000];
    mqtt.publish(Publish::new(&topic, &huge));
    assert_eq!(stomp.recv().body, huge);
}

#[test]
fn lines_may_end_with_carriage_return() {
    for version in ["1.0", "1.1", "1.2"] {
        let (mut stomp, mut watcher, base) = speaking(version);
        let text =
            format!("SEND\r\ndestination:{base}/a\r\ncontent-length:3\r\n\r\na\r\n\0\r\n\r\n");
        stomp.send(text);
        watcher.expect(&format!("{base}/a"), "a\r\n");
        stomp.send(format!("\r\nSEND\r\ndestination:{base}/b\r\n\r\nx\0\n\n\n"));
        watcher.expect(&format!("{base}/b"), "x");
        stomp.quiet();
    }
}

/// RabbitMQ takes NULs between frames, and some clients write them.
#[test]
fn nul_bytes_between_frames_do_no_harm() {
    for version in ["1.0", "1.1", "1.2"] {
        let (mut stomp, mut watcher, base) = speaking(version);
        for name in ["a", "b"] {
            stomp.send(format!("\n\0SEND\ndestination:{base}/{name}\n\nx\0\n\0"));
            watcher.expect(&format!("{base}/{name}"), "x");
        }
        stomp.quiet();
    }
}

#[test]
fn the_first_of_equal_headers_counts() {
    let (mut stomp, mut watcher, base) = speaking("1.2");
    stomp.send(format!(
        "SEND\ndestination:{base}/1\ndestination:{base}/2\ncontent-length:1\ncontent-length:0\n\nx\0"
    ));
    watcher.expect(&format!("{base}/1"), "x");
    watcher.quiet();
}

#[test]
fn a_value_may_have_colons_and_blanks() {
    for version in ["1.0", "1.1", "1.2"] {
        let (mut stomp, mut watcher, base) = speaking(version);
        stomp.say("SEND", &[("destination", &format!("{base}/a:b c"))], "x");
        watcher.expect(&format!("{base}/a:b c"), "x");
        // Blanks belong to it: STOMP 1.2 says so, and MQTT topics may have them.
        if version != "1.0" {
            stomp.say("SEND", &[("destination", &format!("{base}/d "))], "x");
            watcher.expect(&format!("{base}/d "), "x");
        }
    }
}

/// What a header is in each version.
#[test]
fn escapes_are_those_of_the_version() {
    for (version, sent, topic) in [
        ("1.0", r"a\cb", r"a\cb"),
        ("1.0", r"a\q", r"a\q"),
        ("1.1", r"a\cb\\c", r"a:b\c"),
        ("1.2", r"a\cb\\c", r"a:b\c"),
        ("1.2", r"a\\cb", r"a\cb"),
    ] {
        let (mut stomp, mut watcher, base) = speaking(version);
        stomp.sub("1", &format!("{base}/#"), &[]);
        stomp.say("SEND", &[("destination", &format!("{base}/{sent}"))], "x");
        watcher.expect(&format!("{base}/{topic}"), "x");
        let message = stomp.message("1", "x");
        assert_eq!(message.value("destination"), format!("{base}/{topic}"));
        if version == "1.2" {
            // A colon in a value is escaped on the way out.
            let text = String::from_utf8(message.bytes).unwrap();
            let value = topic.replace('\\', r"\\").replace(':', r"\c");
            assert!(
                text.contains(&format!("destination:{base}/{value}\n")),
                "{text}"
            );
        }
    }
    // An escape in a name.
    let (mut stomp, mut watcher, base) = speaking("1.2");
    stomp.send(format!("SEND\ndestination:{base}/a\nx\\cy:1\n\nx\0"));
    watcher.expect(&format!("{base}/a"), "x");
}

#[test]
fn an_escape_that_is_none_is_an_error() {
    for (version, value) in [
        ("1.1", r"a\t"),
        ("1.2", r"a\t"),
        ("1.2", r"a\"),
        ("1.1", r"a\r"),
    ] {
        let (mut stomp, mut watcher, base) = speaking(version);
        stomp.say("SEND", &[("destination", &format!("{base}/{value}"))], "x");
        stomp.refused();
        watcher.quiet();
    }
}

#[test]
fn frames_that_are_none_are_errors() {
    for bytes in [
        "SEND\ndestination\n\n\0",
        "SEND\ndestination:a\ncontent-length:x\n\n\0",
        "SEND\ndestination:a\ncontent-length:-1\n\n\0",
        "SEND\ndestination:a\ncontent-length:99999999999999999999999999\n\n\0",
        "SEND\ndestination:a\ncontent-length:1\n\nxy\0",
        "SEND\ndestination:\u{0}a\n\n\0",
        ":\n\n\0",
        "SE\0ND\n\n\0",
    ] {
        let mut stomp = guest();
        stomp.send(bytes);
        stomp.refused();
    }
    // Headers are UTF-8.
    let mut stomp = guest();
    stomp.send(b"SEND\ndestination:\xff\xfe\n\n\0");
    stomp.refused();
}

/// STOMP 1.0 knows subscriptions without an id, and ACK by the id of the message.
#[test]
fn version_1_0_needs_no_id() {
    let (mut stomp, mut watcher, base) = speaking("1.0");
    let topic = format!("{base}/a");
    stomp.done(
        "SUBSCRIBE",
        &[("destination", &topic), ("ack", "client")],
        "",
    );
    stomp.say("SEND", &[("destination", &topic)], "x");
    watcher.expect(&topic, "x");
    let message = stomp.recv();
    assert_eq!(
        (message.command.as_str(), message.text()),
        ("MESSAGE", "x".into())
    );
    assert_eq!(message.value("destination"), topic);
    let ack = [("message-id", message.value("message-id"))];
    stomp.done("ACK", &ack, "");
    stomp.done("UNSUBSCRIBE", &[("destination", &topic)], "");
    stomp.say("SEND", &[("destination", &topic)], "y");
    watcher.expect(&topic, "y");
    stomp.quiet();
}
