//! The limits of frames: an ERROR that names the limit, and then the end.

use emqttd_tests::stomp::{Frame, Stomp, frame};
use emqttd_tests::{Broker, unique};

use super::{at, broker, config, guest, here};
use crate::common::watcher;

#[track_caller]
fn refused(mut stomp: Stomp, bytes: impl AsRef<[u8]>, limit: &str) -> Frame {
    stomp.send(bytes);
    let error = stomp.refused();
    assert!(error.text().contains(limit), "{limit}: {}", error.text());
    error
}

fn with_headers(topic: &str, count: usize, body: &str) -> Vec<u8> {
    let names: Vec<String> = (1..count).map(|n| format!("h{n}")).collect();
    let mut headers = vec![("destination", topic)];
    headers.extend(names.iter().map(|name| (name.as_str(), "v")));
    frame("SEND", &headers, body)
}

/// Sheet 16.3, check 8; the original took everything.
#[test]
fn what_fits_is_taken_and_one_more_is_not() {
    let topic = unique("t");
    let mut watcher = watcher(broker(), &topic, 0);
    let mut stomp = guest();
    stomp.send(with_headers(&topic, 10, "ten"));
    watcher.expect(&topic, "ten");
    refused(stomp, with_headers(&topic, 11, "eleven"), "max_headers");

    for length in [8192, 8193] {
        let body = "x".repeat(length);
        for counted in [false, true] {
            let count = length.to_string();
            let mut headers = vec![("destination", topic.as_str())];
            if counted {
                headers.push(("content-length", &count));
            }
            let mut stomp = guest();
            let bytes = frame("SEND", &headers, &body);
            if length == 8193 {
                refused(stomp, bytes, "max_body_length");
            } else {
                stomp.send(bytes);
                watcher.expect(&topic, &body);
            }
        }
    }
    // A length that is said is enough.
    let said = format!("SEND\ndestination:{topic}\ncontent-length:8193\n\n");
    refused(guest(), said, "max_body_length");

    // The line of a header, or of its value: both fit at the limit.
    let value = "v".repeat(1000);
    let mut stomp = guest();
    let headers = [("destination", topic.as_str()), ("h", &value)];
    stomp.say("SEND", &headers, "long");
    watcher.expect(&topic, "long");
    let value = "v".repeat(1025);
    let headers = [("destination", topic.as_str()), ("h", &value)];
    refused(stomp, frame("SEND", &headers, ""), "max_header_length");
    watcher.quiet();
}

/// CONNECT has the same limits: nobody is known yet.
#[test]
fn connect_has_limits() {
    let names: Vec<String> = (0..11).map(|n| format!("h{n}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let bytes = frame("CONNECT", &headers, "");
    refused(Stomp::open(here()), bytes, "max_headers");
    let bytes = frame("CONNECT", &[("login", &"x".repeat(1100))], "");
    refused(Stomp::open(here()), bytes, "max_header_length");
    let bytes = frame("CONNECT", &[("content-length", "8193")], "");
    refused(Stomp::open(here()), bytes, "max_body_length");
}

/// None of these ends by itself.
#[test]
fn what_never_ends_is_refused() {
    for (endless, known) in [
        ("x", true),
        ("x", false),
        ("SEND\nx", true),
        ("SEND\ndestination:x", true),
        ("SEND\nx:y\n", true),
        ("SEND\ndestination:a\n\n", true),
    ] {
        let mut stomp = match known {
            true => guest(),
            false => Stomp::open(here()),
        };
        let (first, rest) = match endless.rsplit_once('\n') {
            Some((head, "")) => (format!("{head}\n"), "a:b\n"),
            Some((head, rest)) => (format!("{head}\n{rest}"), rest),
            None => (endless.to_owned(), "x"),
        };
        let rest = match endless.ends_with("\n\n") {
            true => "x",
            false => rest,
        };
        stomp.send(first);
        let flood = rest.repeat(64 * 1024 / rest.len());
        // 64 MB at the most; it is refused long before.
        for _ in 0..1000 {
            if stomp.try_send(flood.as_bytes()).is_err() {
                break;
            }
        }
        while let Some(Some(frame)) = stomp.recv_within(std::time::Duration::from_secs(10)) {
            assert_eq!(frame.command, "ERROR");
        }
        stomp.closed();
    }
}

#[test]
fn limits_are_those_of_the_keys() {
    let conf = "stomp.frame.max_headers = 4\nstomp.frame.max_header_length = 40\nstomp.frame.max_body_length = 20000\n";
    let broker = Broker::start(config(conf));
    let mut watcher = watcher(&broker, "t", 0);
    let open = || {
        let mut stomp = Stomp::open(at(&broker));
        let login = [("login", "guest"), ("passcode", "guest")];
        stomp.say("CONNECT", &login, "");
        assert_eq!(stomp.recv().command, "CONNECTED");
        stomp
    };
    let body = "x".repeat(20_000);
    let mut stomp = open();
    stomp.send(with_headers("t", 4, &body));
    watcher.expect("t", &body);
    refused(stomp, with_headers("t", 5, "x"), "max_headers");
    let bytes = frame("SEND", &[("destination", &"x".repeat(41))], "");
    refused(open(), bytes, "max_header_length");
    refused(
        open(),
        with_headers("t", 1, &(body + "x")),
        "max_body_length",
    );
}
