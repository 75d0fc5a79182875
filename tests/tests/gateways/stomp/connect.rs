//! CONNECT: versions, logins, and that nothing comes before it.

use std::thread;
use std::time::{Duration, Instant};

use emqttd_tests::stomp::{Stomp, frame};
use emqttd_tests::{Broker, unique};

use super::{at, broker, config, guest, here, named};
use crate::common::{shown, wait_until_gone, watcher};

const WRONG: &str =
    "ERROR\ncontent-type:text/plain\ncontent-length:24\n\nLogin or passcode error!\0";
const GUEST: [(&str, &str); 2] = [("login", "guest"), ("passcode", "guest")];

/// The answer to CONNECT of 1.2 with these headers has to be that, and then the end.
#[track_caller]
fn refused(broker: &Broker, headers: &[(&str, &str)]) {
    let mut stomp = Stomp::open(at(broker));
    let version = [("accept-version", "1.2")];
    stomp.say("CONNECT", &[&version, headers].concat(), "");
    stomp.expect(WRONG);
    stomp.closed();
}

/// Sheet 16.3, check 1.
#[test]
fn the_highest_common_version_is_spoken() {
    for (command, offered, spoken) in [
        ("CONNECT", Some("1.0,1.1,1.2"), "1.2"),
        ("STOMP", Some("1.2,1.1,1.0"), "1.2"),
        ("STOMP", Some("1.1"), "1.1"),
        ("CONNECT", Some("1.0,1.1"), "1.1"),
        ("CONNECT", Some("1.0"), "1.0"),
        ("CONNECT", Some("1.1,2.0,3"), "1.1"),
        ("CONNECT", None, "1.0"),
    ] {
        let mut stomp = Stomp::open(here());
        let versions: Vec<_> = offered.map(|v| ("accept-version", v)).into_iter().collect();
        stomp.say(command, &[&GUEST[..], &versions].concat(), "");
        stomp.expect(&format!(
            "CONNECTED\nserver:emq-stomp/1.2\nversion:{spoken}\nheart-beat:0,0\n\n\0"
        ));
        stomp.disconnect();
    }
}

#[test]
fn without_a_common_version_the_versions_are_named() {
    let mut stomp = Stomp::open(here());
    let headers = [("accept-version", "2.0")];
    stomp.say("CONNECT", &[&GUEST[..], &headers].concat(), "");
    stomp.expect(
        "ERROR\nversion:1.0,1.1,1.2\ncontent-type:text/plain\ncontent-length:33\n\n\
         Supported protocol versions < 1.2\0",
    );
    stomp.closed();
}

/// Sheet 16.3, check 2.
#[test]
fn logins_that_nobody_knows_are_refused() {
    let broker = broker();
    for (login, passcode) in [
        ("guest", "x"),
        ("guest", ""),
        ("guest", "guestt"),
        ("bob", "x"),
        ("bob", "guest"),
        ("Guest", "guest"),
    ] {
        refused(broker, &[("login", login), ("passcode", passcode)]);
    }
    refused(broker, &[("login", "guest")]);
    refused(broker, &[("login", "bob")]);
    // Without a login there is nothing that could be wrong.
    Stomp::open(here()).connect(&[]);
}

#[test]
fn a_login_may_be_asked_for() {
    let broker = Broker::start(config("stomp.allow_anonymous = false\n"));
    refused(&broker, &[]);
    refused(&broker, &[("passcode", "guest")]);
    Stomp::guest(at(&broker), &[]);
}

/// CONNECT and CONNECTED are not escaped in any version of STOMP.
#[test]
fn headers_of_connect_are_taken_as_they_are() {
    let user = "stomp.default_user.login = a\\cb\nstomp.default_user.passcode = p:\\n\\q:q\n";
    let broker = Broker::start(config(user));
    for version in ["1.0", "1.1", "1.2"] {
        let mut stomp = Stomp::open(at(&broker));
        let headers = [
            ("accept-version", version),
            ("login", "a\\cb"),
            ("passcode", "p:\\n\\q:q"),
        ];
        stomp.say("CONNECT", &headers, "");
        assert_eq!(stomp.recv().command, "CONNECTED", "{version}");
    }
}

#[test]
fn a_second_connect_ends_it() {
    for command in ["CONNECT", "STOMP"] {
        let mut stomp = guest();
        stomp.say(command, &GUEST, "");
        stomp.refused();
    }
}

/// The original obeyed SEND and SUBSCRIBE of anybody.
#[test]
fn nothing_is_obeyed_before_connect() {
    let topic = unique("early");
    let mut watcher = watcher(broker(), &topic, 0);
    for (command, headers) in [
        ("SEND", vec![("destination", topic.as_str())]),
        ("SUBSCRIBE", vec![("id", "1"), ("destination", &topic)]),
        ("UNSUBSCRIBE", vec![("id", "1")]),
        ("ACK", vec![("id", "1")]),
        ("NACK", vec![("id", "1")]),
        ("BEGIN", vec![("transaction", "1")]),
        ("COMMIT", vec![("transaction", "1")]),
        ("ABORT", vec![("transaction", "1")]),
        ("DISCONNECT", vec![]),
        ("HELLO", vec![]),
    ] {
        let mut stomp = Stomp::open(here());
        stomp.say(command, &headers, "");
        stomp.refused();
        // A login behind it makes it no better.
        let mut stomp = Stomp::open(here());
        let connect = frame("CONNECT", &GUEST, "");
        stomp.send([frame(command, &headers, ""), connect].concat());
        stomp.refused();
    }
    watcher.quiet();
}

#[test]
fn line_feeds_may_stand_before_connect() {
    let mut stomp = Stomp::open(here());
    stomp.send("\n\r\n\n");
    stomp.connect(&GUEST);
}

/// Ten seconds, whether it says nothing or is slow about it.
#[test]
fn who_does_not_connect_is_closed() {
    let talks = |mut stomp: Stomp, bytes: &[u8]| {
        let begun = Instant::now();
        let mut bytes = bytes.iter();
        loop {
            match stomp.recv_within(Duration::from_millis(300)) {
                // It may say why.
                Some(Some(frame)) => assert_eq!(frame.command, "ERROR"),
                Some(None) => break,
                None => stomp.send(bytes.next().map_or(vec![], |byte| vec![*byte])),
            }
            assert!(begun.elapsed() < Duration::from_secs(14));
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(9), "{took:?}");
    };
    thread::scope(|scope| {
        scope.spawn(|| talks(Stomp::open(here()), b""));
        scope.spawn(|| talks(Stomp::open(here()), &[b'\n'; 100]));
        scope.spawn(|| talks(Stomp::open(here()), &[b'x'; 100]));
        // Who is connected is not meant.
        scope.spawn(|| {
            let mut stomp = guest();
            assert_eq!(stomp.recv_within(Duration::from_secs(11)), None);
            stomp.quiet();
        });
    });
}

#[test]
fn clients_have_identifiers_of_their_own() {
    let id = unique("mine");
    let mut stomp = named(&id);
    let row = shown(broker(), &id).unwrap();
    assert!(row.contains("username=guest"), "{row}");
    assert!(
        row.contains(&format!("peername={}", stomp.local_addr())),
        "{row}"
    );
    stomp.quiet();
    stomp.disconnect();
    wait_until_gone(broker(), &id);
    // Those that name none are found by their address, and are two.
    let (one, two) = (guest(), guest());
    let (_, text) = broker().ctl(&["clients", "list"]);
    let ids: Vec<&str> = [&one, &two]
        .iter()
        .map(|stomp| {
            let peer = format!("peername={}", stomp.local_addr());
            let row = text.lines().find(|row| row.contains(&peer));
            let row = row.unwrap_or_else(|| panic!("{peer} is not in {text}"));
            row["Client(".len()..].split(',').next().unwrap()
        })
        .collect();
    assert!(!ids[0].is_empty() && ids[0] != ids[1], "{ids:?}");
}
