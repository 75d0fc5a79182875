//! SEND, SUBSCRIBE, MESSAGE, UNSUBSCRIBE, and MQTT on the other side.

use emqttd_tests::stomp::Stomp;
use emqttd_tests::{ALL, Publish, Version, unique};

use super::{broker, guest, here};
use crate::common::watcher;

/// Sheet 16.3, check 3.
#[test]
fn messages_go_to_mqtt() {
    let queue = format!("/queue/{}", unique("a"));
    for version in ALL {
        let mut mqtt = broker().client(version, "mqtt");
        mqtt.sub(&queue, 2);
        let mut stomp = guest();
        let to = [("destination", queue.as_str())];
        stomp.say("SEND", &to, "one");
        let message = mqtt.expect(&queue, "one");
        assert_eq!((message.qos, message.retain), (0, false));
        stomp.say("SEND", &[to[0], ("receipt", "r1")], "two");
        stomp.expect("RECEIPT\nreceipt-id:r1\n\n\0");
        assert_eq!(mqtt.expect(&queue, "two").qos, 1);
        for (qos, level) in [("0", 0), ("1", 1), ("2", 2)] {
            stomp.done("SEND", &[to[0], ("qos", qos)], "three");
            let message = mqtt.expect(&queue, "three");
            // Without a receipt it may be less, with one it is what is asked for.
            assert_eq!((message.qos, message.retain), (level, false));
            stomp.say("SEND", &[to[0], ("qos", qos)], "four");
            assert_eq!(mqtt.expect(&queue, "four").qos, level);
        }
        // Other headers have no place in MQTT 3.1.1.
        stomp.done("SEND", &[to[0], ("content-type", "x/y"), ("a", "b")], "");
        mqtt.expect(&queue, "");
        stomp.disconnect();
    }
}

/// Sheet 16.3, check 3, and the order of headers that was observed.
#[test]
fn messages_come_from_mqtt() {
    for version in ALL {
        let queue = format!("/queue/{}", unique("a"));
        let mut mqtt = broker().client(version, "mqtt");
        let mut stomp = guest();
        stomp.sub("7", &queue, &[]);
        for (count, qos) in [(1, 0), (2, 1), (3, 2)] {
            mqtt.pub_(&queue, qos, "from mqtt");
            stomp.expect(&format!(
                "MESSAGE\nsubscription:7\nmessage-id:{count}\ndestination:{queue}\n\
                 content-type:text/plain\ncontent-length:9\n\nfrom mqtt\0"
            ));
        }
        mqtt.pub_(&queue, 0, "");
        stomp.expect(&format!(
            "MESSAGE\nsubscription:7\nmessage-id:4\ndestination:{queue}\ncontent-type:text/plain\n\n\0"
        ));
        stomp.done("UNSUBSCRIBE", &[("id", "7")], "");
        mqtt.pub_(&queue, 1, "unheard");
        stomp.nothing_from(&mut mqtt);
    }
}

#[test]
fn messages_go_from_one_to_another() {
    let queue = unique("q");
    let (mut one, mut two) = (guest(), guest());
    one.sub("a", &queue, &[]);
    two.sub("b", &queue, &[]);
    two.done("SEND", &[("destination", &queue)], "hi");
    one.message("a", "hi");
    // Who sends is not left out.
    two.message("b", "hi");
}

#[test]
fn a_thousand_messages_keep_their_order() {
    let queue = unique("q");
    let mut mqtt = watcher(broker(), &queue, 0);
    let (mut sender, mut receiver) = (guest(), guest());
    receiver.sub("a", &queue, &[]);
    let frames: Vec<u8> = (0..1000)
        .flat_map(|n| format!("SEND\ndestination:{queue}\n\n{n}\0").into_bytes())
        .collect();
    sender.send(&frames);
    for n in 0..1000 {
        let text = n.to_string();
        let message = receiver.message("a", &text);
        assert_eq!(message.value("message-id"), (n + 1).to_string());
        mqtt.expect(&queue, &text);
    }
}

/// Sheet 16.3, check 7; the original crashed.
#[test]
fn wildcards_deliver_with_the_real_destination() {
    let base = unique("w");
    let mut mqtt = broker().client(Version::V311, "mqtt");
    let mut stomp = guest();
    stomp.sub("plus", &format!("{base}/+"), &[]);
    stomp.sub("other", &format!("{base}/x/#"), &[]);
    mqtt.pub_(&format!("{base}/a"), 0, "1");
    assert_eq!(
        stomp.message("plus", "1").value("destination"),
        format!("{base}/a")
    );
    mqtt.pub_(&format!("{base}/x/y"), 0, "2");
    let message = stomp.message("other", "2");
    assert_eq!(message.value("destination"), format!("{base}/x/y"));
    stomp.done("UNSUBSCRIBE", &[("id", "plus")], "");
    mqtt.pub_(&format!("{base}/a"), 0, "3");
    mqtt.pub_(&format!("{base}/x/y"), 0, "4");
    stomp.message("other", "4");
    stomp.quiet();
}

/// Each subscription has its own messages, also when several match or name one topic.
#[test]
fn each_subscription_that_matches_gets_the_message() {
    let base = unique("s");
    let topic = format!("{base}/a");
    let mut mqtt = broker().client(Version::V311, "mqtt");
    let mut stomp = guest();
    for (id, filter) in [("1", &topic), ("2", &topic), ("3", &format!("{base}/+"))] {
        stomp.sub(id, filter, &[]);
    }
    mqtt.pub_(&topic, 1, "x");
    let mut ids: Vec<String> = (0..3)
        .map(|_| {
            let frame = stomp.recv();
            assert_eq!(frame.text(), "x");
            assert_eq!(frame.value("destination"), topic);
            frame.value("subscription").into()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    stomp.nothing_from(&mut mqtt);
    // One of two for the same topic goes, the other stays.
    stomp.done("UNSUBSCRIBE", &[("id", "1")], "");
    stomp.done("UNSUBSCRIBE", &[("id", "3")], "");
    mqtt.pub_(&topic, 1, "y");
    stomp.message("2", "y");
    stomp.nothing_from(&mut mqtt);
}

#[test]
fn the_same_subscription_again_changes_nothing() {
    let topic = unique("t");
    let mut mqtt = broker().client(Version::V311, "mqtt");
    let mut stomp = guest();
    stomp.sub("1", &topic, &[]);
    stomp.sub("1", &topic, &[("ack", "auto")]);
    mqtt.pub_(&topic, 0, "x");
    stomp.message("1", "x");
    stomp.nothing_from(&mut mqtt);
    // The same id for something else is a mistake.
    stomp.say("SUBSCRIBE", &[("id", "1"), ("destination", "other")], "");
    stomp.refused();
}

#[test]
fn retained_messages_are_sent_and_come() {
    let topic = unique("r");
    let mut sender = guest();
    let to = [("destination", topic.as_str()), ("retain", "true")];
    sender.done("SEND", &to, "kept");
    let mut mqtt = broker().client(Version::V311, "mqtt");
    mqtt.sub(&topic, 0);
    let message = mqtt.recv_message();
    assert_eq!((message.payload.as_str(), message.retain), ("kept", true));
    let mut stomp = guest();
    stomp.sub("1", &topic, &[]);
    stomp.message("1", "kept");
    sender.done("SEND", &to, "");
    stomp.message("1", "");
}

#[test]
fn a_subscription_may_ask_for_more_than_qos_0() {
    let topic = unique("q");
    let id = unique("qos");
    let mut stomp = Stomp::guest(here(), &[("client-id", &id)]);
    stomp.sub("1", &topic, &[("qos", "1")]);
    let (_, text) = broker().ctl(&["subscriptions", "show", &id]);
    assert!(
        text.contains(&topic) && text.contains("qos     : 1"),
        "{text}"
    );
    let mut mqtt = broker().client(Version::V311, "mqtt");
    mqtt.pub_(&topic, 1, "x");
    // Nothing is left to acknowledge once it is written.
    let message = stomp.message("1", "x");
    assert_eq!(message.header("ack"), None);
    crate::common::eventually("it is acknowledged", || {
        let (_, text) = broker().ctl(&["sessions", "show", &id]);
        text.contains("inflight=0")
    });
}

#[test]
fn what_lacks_something_is_refused() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), "#", 0);
    for (command, headers) in [
        ("SEND", vec![]),
        ("SEND", vec![("destination", "")]),
        ("SEND", vec![("destination", "a/#")]),
        ("SEND", vec![("destination", "a/+/b")]),
        ("SEND", vec![("destination", &*topic), ("qos", "3")]),
        ("SUBSCRIBE", vec![("id", "1")]),
        ("SUBSCRIBE", vec![("destination", &*topic)]),
        ("SUBSCRIBE", vec![("id", "1"), ("destination", "")]),
        ("SUBSCRIBE", vec![("id", "1"), ("destination", "a#")]),
        (
            "SUBSCRIBE",
            vec![("id", "1"), ("destination", &*topic), ("ack", "never")],
        ),
        // There is nobody who could select.
        (
            "SUBSCRIBE",
            vec![("id", "1"), ("destination", &*topic), ("selector", "a = 1")],
        ),
        ("UNSUBSCRIBE", vec![]),
        ("ACK", vec![]),
        ("NACK", vec![]),
        ("BEGIN", vec![]),
        ("COMMIT", vec![]),
        ("ABORT", vec![]),
        ("HELLO", vec![]),
        ("MESSAGE", vec![]),
        ("CONNECTED", vec![]),
        ("send", vec![("destination", &*topic)]),
    ] {
        let mut stomp = guest();
        stomp.say(command, &[&headers[..], &[("receipt", "r7")]].concat(), "x");
        let error = stomp.refused();
        assert_eq!(
            error.header("receipt-id"),
            Some("r7"),
            "{command} {headers:?}"
        );
        assert_eq!(error.header("content-type"), Some("text/plain"));
        assert!(!error.body.is_empty());
    }
    watcher.quiet();
}

#[test]
fn a_frame_in_error_ends_it_and_what_follows_is_not_done() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let mut stomp = guest();
    stomp.send(format!(
        "SEND\ndestination:{topic}\n\n1\0HELLO\n\n\0SEND\ndestination:{topic}\n\n2\0"
    ));
    stomp.refused();
    watcher.expect(&topic, "1");
    // What the closed connection sent goes no further.
    let mut other = broker().client(Version::V5, "other");
    other.publish(Publish::new(&topic, "3").qos(1));
    watcher.expect(&topic, "3");
}

#[test]
fn disconnect_says_goodbye() {
    let mut stomp = guest();
    stomp.say("DISCONNECT", &[("receipt", "bye")], "");
    stomp.expect("RECEIPT\nreceipt-id:bye\n\n\0");
    stomp.closed();
    let mut stomp = guest();
    stomp.say("DISCONNECT", &[], "");
    stomp.closed();
    // All that was sent before it is done.
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let mut stomp = guest();
    stomp.send(format!(
        "SEND\ndestination:{topic}\n\nlast\0DISCONNECT\nreceipt:bye\n\n\0"
    ));
    stomp.expect("RECEIPT\nreceipt-id:bye\n\n\0");
    stomp.closed();
    watcher.expect(&topic, "last");
}

/// STOMP asks for a RECEIPT for every frame but CONNECT; the original answered DISCONNECT only.
#[test]
fn every_frame_that_asks_gets_its_receipt() {
    let topic = unique("t");
    let mut stomp = guest();
    stomp.done("BEGIN", &[("transaction", "t")], "");
    stomp.done(
        "SUBSCRIBE",
        &[("id", "1"), ("destination", &topic), ("ack", "client")],
        "",
    );
    let to = [("destination", topic.as_str()), ("transaction", "t")];
    stomp.done("SEND", &to, "x");
    stomp.quiet();
    stomp.done("COMMIT", &[("transaction", "t")], "");
    let message = stomp.message("1", "x");
    stomp.done("ACK", &[("id", message.value("ack"))], "");
    stomp.done("SEND", &to[..1], "y");
    let message = stomp.message("1", "y");
    stomp.done("BEGIN", &[("transaction", "t")], "");
    stomp.done("ABORT", &[("transaction", "t")], "");
    stomp.done("UNSUBSCRIBE", &[("id", "1")], "");
    // Receipts come in the order of their frames, and have any characters.
    stomp.send(format!(
        "BEGIN\ntransaction:a\nreceipt:\\c\\n\\\\ü\n\n\0SEND\ndestination:{topic}\nreceipt:2\n\nx\0\
         ABORT\ntransaction:a\nreceipt:3\n\n\0"
    ));
    for id in ["\\c\\n\\\\ü", "2", "3"] {
        stomp.expect(&format!("RECEIPT\nreceipt-id:{id}\n\n\0"));
    }
    let _ = message;
    stomp.disconnect();
}
