//! BEGIN, COMMIT, ABORT.

use emqttd_tests::stomp::Stomp;
use emqttd_tests::{Broker, Version, unique};

use super::{at, broker, config, guest};
use crate::common::watcher;

const T1: (&str, &str) = ("transaction", "t1");

/// The last frame sent has to be refused with that text.
#[track_caller]
fn refused(mut stomp: Stomp, text: &str) {
    let length = text.len();
    stomp.expect(&format!(
        "ERROR\ncontent-type:text/plain\ncontent-length:{length}\n\n{text}\0"
    ));
    stomp.closed();
}

/// Sheet 16.3, check 4.
#[test]
fn a_transaction_is_done_as_a_whole_or_not() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 2);
    let mut stomp = guest();
    let send = [("destination", topic.as_str()), T1];
    for end in ["ABORT", "COMMIT"] {
        stomp.say("BEGIN", &[T1], "");
        stomp.say("SEND", &send, format!("1 {end}"));
        stomp.done("SEND", &send, format!("2 {end}"));
        // What is not of the transaction is done at once.
        stomp.done("SEND", &send[..1], format!("beside {end}"));
        watcher.expect(&topic, &format!("beside {end}"));
        watcher.quiet();
        stomp.done(end, &[T1], "");
    }
    watcher.expect(&topic, "1 COMMIT");
    watcher.expect(&topic, "2 COMMIT");
    stomp.say("COMMIT", &[T1], "");
    refused(stomp, "Transaction t1 not found");
    watcher.quiet();
}

#[test]
fn a_transaction_that_is_not_there_is_an_error() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    for (command, headers) in [
        ("COMMIT", vec![("transaction", "tx9")]),
        ("ABORT", vec![("transaction", "tx9")]),
        (
            "SEND",
            vec![("destination", topic.as_str()), ("transaction", "tx9")],
        ),
        ("ACK", vec![("id", "1"), ("transaction", "tx9")]),
        ("NACK", vec![("id", "1"), ("transaction", "tx9")]),
    ] {
        let mut stomp = guest();
        stomp.say(command, &headers, "");
        refused(stomp, "Transaction tx9 not found");
    }
    let mut stomp = guest();
    stomp.say("BEGIN", &[("transaction", "tx1")], "");
    stomp.say("BEGIN", &[("transaction", "tx1")], "");
    refused(stomp, "Transaction tx1 already started");
    watcher.quiet();
}

#[test]
fn transactions_are_of_their_connection_and_end_with_it() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let send = [("destination", topic.as_str()), T1];
    let mut one = guest();
    one.done("BEGIN", &[T1], "");
    one.done("SEND", &send, "one");
    let mut two = guest();
    two.done("BEGIN", &[T1], "");
    two.done("SEND", &send, "two");
    one.disconnect();
    two.done("COMMIT", &[T1], "");
    watcher.expect(&topic, "two");
    watcher.quiet();
}

#[test]
fn several_may_be_open() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let mut stomp = guest();
    for id in ["a", "b", "c"] {
        stomp.say("BEGIN", &[("transaction", id)], "");
    }
    for (id, body) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        let headers = [("destination", topic.as_str()), ("transaction", id)];
        stomp.done("SEND", &headers, body);
    }
    for id in ["b", "c", "a"] {
        stomp.done("COMMIT", &[("transaction", id)], "");
    }
    assert_eq!(watcher.payloads(4), ["2", "4", "1", "3"]);
}

#[test]
fn their_number_and_their_time_have_a_limit() {
    let conf = "stomp.max_transactions = 2\nstomp.transaction_timeout = 1s\n";
    let broker = Broker::start(config(conf));
    let mut watcher = watcher(&broker, "t", 0);
    let mut stomp = Stomp::guest(at(&broker), &[]);
    stomp.done("BEGIN", &[("transaction", "1")], "");
    stomp.done("BEGIN", &[("transaction", "2")], "");
    stomp.say("BEGIN", &[("transaction", "3")], "");
    assert!(stomp.refused().text().contains("transactions"));
    // One that is open for too long is aborted.
    let mut stomp = Stomp::guest(at(&broker), &[]);
    stomp.done("BEGIN", &[T1], "");
    stomp.done("SEND", &[("destination", "t"), T1], "late");
    std::thread::sleep(std::time::Duration::from_millis(1300));
    stomp.say("COMMIT", &[T1], "");
    refused(stomp, "Transaction t1 not found");
    watcher.quiet();
}

/// What a transaction may keep waiting is bounded: by an ERROR, not by memory.
#[test]
fn an_endless_transaction_is_refused() {
    let mut stomp = guest();
    stomp.say("BEGIN", &[T1], "");
    let body = "x".repeat(8000);
    let frame = format!("SEND\ndestination:a\ntransaction:t1\n\n{body}\0");
    // 80 MB.
    for _ in 0..10_000 {
        if stomp.try_send(frame.as_bytes()).is_err() {
            return;
        }
    }
    stomp.refused();
}

#[test]
fn acknowledgements_are_part_of_it() {
    let topic = unique("t");
    let id = unique("tx");
    let mut mqtt = broker().client(Version::V311, "mqtt");
    let mut stomp = super::named(&id);
    stomp.sub("1", &topic, &[("ack", "client-individual")]);
    mqtt.pub_(&topic, 1, "x");
    let message = stomp.message("1", "x");
    let ack = [("id", message.value("ack")), T1];
    stomp.done("BEGIN", &[T1], "");
    stomp.done("ACK", &ack, "");
    stomp.done("ABORT", &[T1], "");
    super::acknowledge::in_flight(&id, 1);
    stomp.done("BEGIN", &[T1], "");
    stomp.done("ACK", &ack, "");
    super::acknowledge::in_flight(&id, 1);
    stomp.done("COMMIT", &[T1], "");
    super::acknowledge::in_flight(&id, 0);
}
