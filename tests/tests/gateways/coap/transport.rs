//! The messages themselves (RFC 7252, 7641, 7959), and what nobody should send.

use emqttd_tests::{Publish, Version};

use super::endpoint::*;
use crate::common::{Random, watcher};

#[test]
fn pings_and_rubbish() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    device.hears_nothing();
    // Another version, half a header, an answer that nobody waits for: silence.
    for silent in [
        &b"\x80\x01\x00\x01"[..],
        b"\x40\x01",
        b"",
        b"\x60\x45\x12\x34",
        b"\x70\x00\x12\x34",
    ] {
        device.send_bytes(silent);
        device.hears_nothing();
    }
    // A token of nine bytes, a payload marker without payload, an option that runs out: reset.
    for wrong in [
        &b"\x49\x01\x55\x55xxxxxxxxx"[..],
        b"\x40\x02\x55\x55\xff",
        b"\x40\x01\x55\x55\xb5a",
        b"\x40\x01\x55\x55\xf0",
        b"\x41\x00\x55\x55x",
    ] {
        device.send_bytes(wrong);
        let got = device.recv();
        assert_eq!(
            (got.kind, got.code, got.id),
            (RST, 0, 0x5555),
            "{wrong:02x?}"
        );
    }
    // Not confirmable ones are not reset.
    device.send_bytes(b"\x59\x01\x55\x55xxxxxxxxx");
    device.hears_nothing();
}

#[test]
fn what_is_sent_twice_is_done_once() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "twice", 1);
    let mut device = Device::new(&broker);
    let sent = device.send(Message::request(PUT, "mqtt/twice?c=coap-twice").payload("x"));
    let first = device.recv();
    assert_eq!((first.said().as_str(), first.id), ("2.04", sent.id));
    for _ in 0..3 {
        device.send_bytes(&sent.encode());
        assert_eq!(device.recv(), first);
    }
    heard.expect("twice", "x");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

#[test]
fn options() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    let core = || Message::request(GET, ".well-known/core");
    // Unknown: critical ones are refused, elective ones passed over.
    assert_eq!(device.ask(core().with(9, b"x")).said(), "4.02");
    assert_eq!(device.ask(core().with(2050, b"x")).said(), "2.05");
    assert_eq!(
        device
            .ask(core().with(option::PROXY_URI, b"coap://x/"))
            .said(),
        "5.05"
    );
    assert_eq!(
        device.ask(core().with_number(option::ACCEPT, 40)).said(),
        "2.05"
    );
    assert_eq!(
        device.ask(core().with_number(option::ACCEPT, 50)).said(),
        "4.06"
    );
    let token = Message {
        token: vec![1, 2, 3, 4, 5, 6, 7, 8],
        ..core()
    };
    assert_eq!(device.ask(token).token, [1, 2, 3, 4, 5, 6, 7, 8]);
    // Methods that there are not.
    assert_eq!(device.ask(Message::request(9, "mqtt/t?c=x")).said(), "4.05");
    // Conditions.
    let put = |path: &str| {
        Message::request(PUT, path)
            .with_number(option::CONTENT_FORMAT, 42)
            .payload("x")
    };
    let none = put("ps/cond?c=coap-if").with(option::IF_NONE_MATCH, b"");
    assert_eq!(device.ask(none.clone()).said(), "2.01");
    assert_eq!(device.ask(none).said(), "4.12");
    let other = put("ps/cond?c=coap-if").with(option::IF_MATCH, b"no such");
    assert_eq!(device.ask(other).said(), "4.12");
}

#[test]
fn a_payload_in_blocks() {
    let broker = gateway("coap.max_message_size = 1KB\n");
    let mut heard = watcher(&broker, "blocks", 1);
    let mut device = Device::new(&broker);
    let block = |n: u32, more: bool, fill: &str| {
        Message::request(PUT, "mqtt/blocks?c=coap-blocks")
            .with_number(option::BLOCK1, n << 4 | u32::from(more) << 3 | 1)
            .payload(fill.repeat(32))
    };
    for (n, fill) in ["a", "b", "c"].iter().enumerate() {
        let got = device.ask(block(n as u32, n < 2, fill));
        assert_eq!(got.said(), if n < 2 { "2.31" } else { "2.04" });
        assert!(got.number(option::BLOCK1).is_some(), "{got:?}");
    }
    heard.expect(
        "blocks",
        &["a".repeat(32), "b".repeat(32), "c".repeat(32)].concat(),
    );
    // One that is missing, one that nothing came before, and too many of them.
    assert_eq!(device.ask(block(0, true, "a")).said(), "2.31");
    assert_eq!(device.ask(block(2, false, "c")).said(), "4.08");
    assert_eq!(device.ask(block(5, true, "x")).said(), "4.08");
    let mut last = String::new();
    for n in 0..40 {
        last = device.ask(block(n, true, "x")).said();
        if last != "2.31" {
            break;
        }
    }
    assert_eq!(last, "4.13");
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

/// A value that is read in blocks is one value, also when another is written meanwhile.
#[test]
fn an_answer_in_blocks() {
    let broker = gateway("");
    let mut device = Device::new(&broker);
    let put = |fill: &str| {
        Message::request(PUT, "ps/long?c=coap-long")
            .with_number(option::CONTENT_FORMAT, 42)
            .payload(fill.repeat(500))
    };
    device.ask(put("a"));
    let mut read = |n: u32| {
        let get =
            Message::request(GET, "ps/long?c=coap-long").with_number(option::BLOCK2, n << 4 | 2);
        device.ask(get)
    };
    let mut whole = String::new();
    let mut etags = Vec::new();
    for n in 0.. {
        let got = read(n);
        assert_eq!(got.said(), "2.05");
        let block = got.number(option::BLOCK2).unwrap();
        assert_eq!((block >> 4, block & 7), (n, 2));
        etags.push(got.values(option::ETAG).concat());
        whole += &got.text();
        if block & 8 == 0 {
            break;
        }
    }
    assert_eq!(whole, "a".repeat(500));
    assert!(!etags[0].is_empty() && etags.iter().all(|etag| *etag == etags[0]));
    device.ask(put("b"));
    let get = Message::request(GET, "ps/long?c=coap-long").with_number(option::BLOCK2, 2);
    assert_ne!(device.ask(get).values(option::ETAG).concat(), etags[0]);
}

/// An address that has proved nothing gets no more than a few times what it sent.
#[test]
fn nobody_is_flooded_through_it() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let mut device = Device::new(&broker);
    device.ask(
        Message::request(PUT, "ps/large?c=coap-a")
            .with_number(option::CONTENT_FORMAT, 42)
            .payload("x".repeat(900)),
    );
    let mut stranger = Device::new(&broker);
    let request = stranger.send(Message::request(GET, "ps/large?c=coap-b"));
    let got = stranger.recv();
    let (sent, came) = (request.encode().len(), got.encode().len());
    assert!(came <= (3 * sent).max(160), "{came} bytes for {sent}");
    // Notifications that it does not acknowledge: one at a time, and not for long.
    let observe = Message::request(GET, "mqtt/quiet/%23?c=coap-c");
    let mut observe = observe.with_number(option::OBSERVE, 0);
    observe
        .options
        .retain(|(number, value)| *number != option::URI_PATH || value != b"%23");
    observe = observe.with(option::URI_PATH, b"#");
    let mut victim = Device::new(&broker);
    assert_eq!(victim.ask(observe).said(), "2.05");
    for n in 0..50 {
        mqtt.publish(Publish::new("quiet/x", n.to_string()).qos(1));
    }
    let first = victim.recv();
    assert_eq!((first.kind, first.text().as_str()), (CON, "0"));
    while let Some(again) = victim.recv_within(std::time::Duration::from_millis(500)) {
        assert_eq!(again.id, first.id, "{again:?}");
    }
    // Once it has, they come.
    victim.acknowledge(&first);
    for n in 1..50 {
        assert_eq!(victim.notified().text(), n.to_string());
    }
}

#[test]
fn a_storm_of_rubbish() {
    let broker = gateway("");
    let mut honest = Device::new(&broker);
    let mut heard = watcher(&broker, "honest", 1);
    let mut random = Random(11);
    let strangers: Vec<Device> = (0..16).map(|_| Device::new(&broker)).collect();
    let before = broker.resident();
    for round in 0..200 {
        for n in 0..100 {
            let mut bytes = random.bytes(60);
            if n % 4 != 0 && bytes.len() > 4 {
                // A version, a kind and a token that are possible, and a method.
                bytes[0] = 0x40 | bytes[0] & 0x34;
                bytes[1] &= 7;
            }
            strangers[random.below(16)].send_bytes(&bytes);
        }
        let put = Message::request(PUT, "mqtt/honest?c=coap-honest").payload(format!("{round}"));
        assert_eq!(honest.ask(put).said(), "2.04");
        heard.expect("honest", &round.to_string());
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}
