//! What the modes of `ack` mean: at least once, from the session's queue.

use emqttd_tests::stomp::{Frame, Stomp};
use emqttd_tests::{Broker, Client, Connect, End, Version, unique};

use super::{at, broker, config, guest, named};
use crate::common::{eventually, wait_until_gone};

/// Waits until the broker has so many messages of [`broker`]'s client in flight.
#[track_caller]
pub fn in_flight(clientid: &str, count: usize) {
    eventually(&format!("{count} of {clientid} in flight"), || {
        let (_, text) = broker().ctl(&["sessions", "show", clientid]);
        text.contains(&format!("inflight={count},"))
    });
}

fn publisher(broker: &Broker) -> Client {
    broker.client(Version::V311, "publisher")
}

/// The next messages of subscription 1, from this one to that one.
#[track_caller]
fn messages(stomp: &mut Stomp, bodies: &[&str]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for body in bodies {
        frames.push(stomp.message("1", body));
    }
    frames
}

#[test]
fn auto_is_done_when_it_is_sent() {
    let (topic, id) = (unique("t"), unique("auto"));
    let mut stomp = named(&id);
    stomp.sub("1", &topic, &[("ack", "auto")]);
    publisher(broker()).pub_(&topic, 2, "x");
    let message = stomp.message("1", "x");
    assert_eq!(message.header("ack"), None);
    in_flight(&id, 0);
}

#[test]
fn client_individual_acknowledges_one() {
    let (topic, id) = (unique("t"), unique("one"));
    let mut stomp = named(&id);
    stomp.sub("1", &topic, &[("ack", "client-individual")]);
    let mut mqtt = publisher(broker());
    for body in ["a", "b", "c"] {
        mqtt.pub_(&topic, 1, body);
    }
    let frames = messages(&mut stomp, &["a", "b", "c"]);
    in_flight(&id, 3);
    for (left, frame) in [(2, &frames[1]), (1, &frames[2]), (0, &frames[0])] {
        stomp.done("ACK", &[("id", frame.value("ack"))], "");
        in_flight(&id, left);
    }
}

#[test]
fn client_acknowledges_all_before() {
    let (topic, id) = (unique("t"), unique("all"));
    let mut stomp = named(&id);
    stomp.sub("1", &topic, &[("ack", "client")]);
    let other = unique("t");
    stomp.sub("2", &other, &[("ack", "client")]);
    let mut mqtt = publisher(broker());
    mqtt.pub_(&other, 1, "other");
    stomp.message("2", "other");
    for body in ["a", "b", "c"] {
        mqtt.pub_(&topic, 1, body);
    }
    let frames = messages(&mut stomp, &["a", "b", "c"]);
    in_flight(&id, 4);
    stomp.done("ACK", &[("id", frames[1].value("ack"))], "");
    // Of that subscription only.
    in_flight(&id, 2);
    stomp.done("ACK", &[("id", frames[2].value("ack"))], "");
    in_flight(&id, 1);
}

/// The names of the headers of ACK changed from version to version.
#[test]
fn each_version_names_a_message_its_way() {
    for version in ["1.0", "1.1"] {
        let (topic, id) = (unique("t"), unique("version"));
        let mut stomp = Stomp::open(super::here());
        let headers = [
            ("accept-version", version),
            ("login", "guest"),
            ("passcode", "guest"),
            ("client-id", &*id),
        ];
        stomp.say("CONNECT", &headers, "");
        assert_eq!(stomp.recv().value("version"), version);
        stomp.sub("1", &topic, &[("ack", "client")]);
        publisher(broker()).pub_(&topic, 1, "x");
        let message = stomp.message("1", "x");
        in_flight(&id, 1);
        let ack = [
            ("subscription", "1"),
            ("message-id", message.value("message-id")),
        ];
        stomp.done("ACK", &ack, "");
        in_flight(&id, 0);
    }
}

/// The window is that of any session; what does not fit waits in the broker.
#[test]
fn who_acknowledges_nothing_gets_no_more_than_the_window() {
    let (topic, id) = (unique("t"), unique("window"));
    let mut stomp = named(&id);
    stomp.sub("1", &topic, &[("ack", "client")]);
    let mut mqtt = publisher(broker());
    for n in 0..100 {
        mqtt.pub_(&topic, 1, &n.to_string());
    }
    let mut taken = 0;
    while taken < 100 {
        let mut last = stomp.message("1", &taken.to_string());
        taken += 1;
        while taken % 32 != 0 && taken < 100 {
            last = stomp.message("1", &taken.to_string());
            taken += 1;
        }
        stomp.quiet();
        stomp.done("ACK", &[("id", last.value("ack"))], "");
    }
    in_flight(&id, 0);
}

#[test]
fn nack_puts_it_behind_what_waits() {
    let (topic, id) = (unique("t"), unique("nack"));
    let mut stomp = named(&id);
    stomp.sub("1", &topic, &[("ack", "client-individual")]);
    let mut mqtt = publisher(broker());
    mqtt.pub_(&topic, 1, "a");
    mqtt.pub_(&topic, 1, "b");
    let frames = messages(&mut stomp, &["a", "b"]);
    assert_eq!(frames[0].header("redelivered"), None);
    stomp.say("NACK", &[("id", frames[0].value("ack"))], "");
    let again = stomp.message("1", "a");
    assert_eq!(again.header("redelivered"), Some("true"));
    in_flight(&id, 2);
    stomp.done("ACK", &[("id", again.value("ack"))], "");
    stomp.done("ACK", &[("id", frames[1].value("ack"))], "");
    in_flight(&id, 0);
    // It may say that nobody wants it.
    mqtt.pub_(&topic, 1, "c");
    let message = stomp.message("1", "c");
    let drop = [("id", message.value("ack")), ("requeue", "false")];
    stomp.done("NACK", &drop, "");
    in_flight(&id, 0);
    stomp.nothing_from(&mut mqtt);
}

#[test]
fn nack_drops_where_the_key_says_so() {
    let broker = Broker::start(config("stomp.nack = drop\n"));
    let mut stomp = Stomp::guest(at(&broker), &[("client-id", "dropper")]);
    stomp.sub("1", "t", &[("ack", "client")]);
    let mut mqtt = publisher(&broker);
    for body in ["a", "b", "c"] {
        mqtt.pub_("t", 1, body);
    }
    let frames = messages(&mut stomp, &["a", "b", "c"]);
    // Cumulative, as ACK of that subscription is.
    stomp.done("NACK", &[("id", frames[2].value("ack"))], "");
    eventually("nothing is in flight", || {
        let (_, text) = broker.ctl(&["sessions", "show", "dropper"]);
        text.contains("inflight=0,")
    });
    stomp.nothing_from(&mut mqtt);
}

#[test]
fn a_message_that_is_not_there_cannot_be_acknowledged() {
    for command in ["ACK", "NACK"] {
        let mut stomp = guest();
        stomp.say(command, &[("id", "77"), ("receipt", "r")], "");
        let error = stomp.refused();
        assert_eq!(error.header("receipt-id"), Some("r"));
    }
}

/// At least once: what was not acknowledged comes again to the next connection of the session.
#[test]
fn a_session_that_is_kept_sends_again() {
    let (topic, id) = (unique("t"), unique("kept"));
    let session = [("client-id", id.as_str()), ("clean-session", "false")];
    let mut stomp = Stomp::guest(super::here(), &session);
    stomp.sub("1", &topic, &[("ack", "client-individual")]);
    let mut mqtt = publisher(broker());
    mqtt.pub_(&topic, 1, "a");
    mqtt.pub_(&topic, 1, "b");
    let frames = messages(&mut stomp, &["a", "b"]);
    stomp.done("ACK", &[("id", frames[0].value("ack"))], "");
    stomp.drop_connection();
    wait_until_gone(broker(), &id);
    mqtt.pub_(&topic, 1, "c");
    let mut stomp = Stomp::guest(super::here(), &session);
    stomp.sub("1", &topic, &[("ack", "client-individual")]);
    let again = stomp.message("1", "b");
    assert_eq!(again.header("redelivered"), Some("true"));
    let fresh = stomp.message("1", "c");
    assert_eq!(fresh.header("redelivered"), None);
    stomp.done("ACK", &[("id", again.value("ack"))], "");
    stomp.done("ACK", &[("id", fresh.value("ack"))], "");
    in_flight(&id, 0);
    stomp.disconnect();
    // A clean one forgets.
    Stomp::guest(super::here(), &[("client-id", &id)]).disconnect();
    mqtt.pub_(&topic, 1, "d");
    let mut stomp = Stomp::guest(super::here(), &session);
    stomp.sub("1", &topic, &[]);
    stomp.nothing_from(&mut mqtt);
}

/// What a STOMP client leaves behind, an MQTT client of that identifier may take, and back.
#[test]
fn a_session_is_one_for_all_protocols() {
    for version in [Version::V311, Version::V5] {
        let (topic, id) = (unique("t"), unique("both"));
        let session = [("client-id", id.as_str()), ("clean-session", "false")];
        let mut stomp = Stomp::guest(super::here(), &session);
        stomp.sub("1", &topic, &[("ack", "client")]);
        let mut mqtt = publisher(broker());
        mqtt.pub_(&topic, 1, "a");
        stomp.message("1", "a");
        let (mut taker, present, _) = broker().resume(&Connect::persistent(version, &id));
        assert!(present);
        // The one before is told why, if it can be.
        if let Some(Some(frame)) = stomp.recv_within(std::time::Duration::from_secs(10)) {
            assert_eq!(frame.command, "ERROR");
            stomp.closed();
        }
        let message = taker.recv_publish();
        assert_eq!((message.payload.as_str(), message.qos), ("a", 1));
        let mut stomp = Stomp::guest(super::here(), &session);
        taker.expect_closed(&[0x8e]);
        stomp.sub("1", &topic, &[("ack", "client")]);
        let again = stomp.message("1", "a");
        stomp.done("ACK", &[("id", again.value("ack"))], "");
        in_flight(&id, 0);
        stomp.disconnect();
        Stomp::guest(super::here(), &[("client-id", &id)]).disconnect();
    }
}

#[test]
fn a_session_that_is_kept_needs_a_name() {
    let mut stomp = Stomp::open(super::here());
    let headers = [
        ("accept-version", "1.2"),
        ("login", "guest"),
        ("passcode", "guest"),
        ("clean-session", "false"),
    ];
    stomp.say("CONNECT", &headers, "");
    stomp.refused();
}

/// What comes for a subscription that the connection has no id for waits until it has one.
#[test]
fn messages_of_a_kept_session_wait_for_their_subscription() {
    let (one, two, id) = (unique("t"), unique("t"), unique("waits"));
    let session = [("client-id", id.as_str()), ("clean-session", "false")];
    let mut stomp = Stomp::guest(super::here(), &session);
    stomp.sub("1", &one, &[("ack", "client")]);
    stomp.sub("2", &two, &[("ack", "client")]);
    stomp.disconnect();
    let mut mqtt = publisher(broker());
    mqtt.pub_(&one, 1, "for one");
    mqtt.pub_(&two, 1, "for two");
    let mut stomp = Stomp::guest(super::here(), &session);
    in_flight(&id, 2);
    stomp.quiet();
    // Under another id than before.
    stomp.sub("b", &two, &[("ack", "client")]);
    let message = stomp.message("b", "for two");
    stomp.done("ACK", &[("id", message.value("ack"))], "");
    stomp.quiet();
    in_flight(&id, 1);
    // What nobody wants any more is ended by its name.
    stomp.done("UNSUBSCRIBE", &[("destination", &one)], "");
    in_flight(&id, 0);
    let (_, text) = broker().ctl(&["subscriptions", "show", &id]);
    assert!(!text.contains(&one) && text.contains(&two), "{text}");
    stomp.disconnect();
    Stomp::guest(super::here(), &[("client-id", &id)]).disconnect();
}

/// With a receipt a message is as safe as with PUBACK, and a kept session as that of an MQTT client.
#[test]
fn what_has_a_receipt_survives_the_broker() {
    let mut broker = Broker::start(config(""));
    let session = [("client-id", "durable"), ("clean-session", "false")];
    let mut stomp = Stomp::guest(at(&broker), &session);
    stomp.sub("1", "t", &[("ack", "client")]);
    let mut sender = Stomp::guest(at(&broker), &[]);
    for body in ["a", "b", "c"] {
        sender.done("SEND", &[("destination", "t")], body);
    }
    let frames = messages(&mut stomp, &["a", "b", "c"]);
    stomp.done("ACK", &[("id", frames[0].value("ack"))], "");
    // Known to the broker once something behind it is.
    stomp.done("SEND", &[("destination", "elsewhere")], "");
    broker.restart(End::Kill);
    let mut stomp = Stomp::guest(at(&broker), &session);
    stomp.sub("1", "t", &[("ack", "client")]);
    let mut next = stomp.recv();
    if next.text() == "a" {
        // At least once.
        next = stomp.recv();
    }
    assert_eq!(next.text(), "b");
    stomp.message("1", "c");
}

/// Workers share a queue; each gets what is its part, with the real destination.
#[test]
fn subscriptions_may_be_shared() {
    for share in ["$queue/", "$share/workers/"] {
        let topic = unique("work");
        let mut mqtt = publisher(broker());
        let mut workers: Vec<Stomp> = (0..2).map(|_| guest()).collect();
        for worker in &mut workers {
            let ack = [("ack", "client-individual")];
            worker.sub("1", &format!("{share}{topic}/+"), &ack);
        }
        for n in 0..20 {
            mqtt.pub_(&format!("{topic}/{n}"), 1, &n.to_string());
        }
        let mut got: Vec<u32> = Vec::new();
        for worker in &mut workers {
            while let Some(Some(frame)) =
                worker.recv_within(std::time::Duration::from_millis(if got.len() < 20 {
                    300
                } else {
                    1
                }))
            {
                assert_eq!(frame.value("subscription"), "1");
                assert_eq!(
                    frame.value("destination"),
                    format!("{topic}/{}", frame.text())
                );
                worker.done("ACK", &[("id", frame.value("ack"))], "");
                got.push(frame.text().parse().unwrap());
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<u32>>(), "{share}");
    }
}
