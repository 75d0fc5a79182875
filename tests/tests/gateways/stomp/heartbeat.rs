//! Heart-beats.

use std::time::{Duration, Instant};

use emqttd_tests::stomp::Stomp;
use emqttd_tests::{Version, unique};

use super::{broker, here};

/// A connection with this `heart-beat`, for which the answer has to be that.
#[track_caller]
fn beating(asked: &str, answered: &str) -> Stomp {
    let mut stomp = Stomp::open(here());
    let connected = stomp.connect(&[
        ("login", "guest"),
        ("passcode", "guest"),
        ("heart-beat", asked),
    ]);
    assert_eq!(
        String::from_utf8(connected.bytes).unwrap(),
        format!("CONNECTED\nserver:emq-stomp/1.2\nversion:1.2\nheart-beat:{answered}\n\n\0")
    );
    stomp
}

/// Sheet 16.3, check 5: for about twice the interval, and not less.
#[test]
fn who_is_silent_is_closed() {
    let mut stomp = beating("1000,2000", "2000,1000");
    let begun = Instant::now();
    match stomp.recv_within(Duration::from_secs(10)) {
        // It may be told.
        Some(Some(frame)) => {
            assert_eq!(frame.command, "ERROR");
            stomp.closed();
        }
        other => assert_eq!(other, Some(None)),
    }
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(1900)..Duration::from_millis(3900)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn the_server_beats_when_it_has_nothing_to_say() {
    let begun = Instant::now();
    let mut stomp = beating("0,300", "300,0");
    stomp.await_beats(4);
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(1000)..Duration::from_millis(2500)).contains(&took),
        "{took:?}"
    );
    // What it says otherwise is a beat as well.
    let topic = unique("t");
    stomp.sub("1", &topic, &[]);
    let mut mqtt = broker().client(Version::V311, "busy");
    let before = stomp.beats;
    for _ in 0..8 {
        mqtt.pub_(&topic, 0, "x");
        stomp.message("1", "x");
        assert_eq!(stomp.recv_within(Duration::from_millis(100)), None);
    }
    assert!(stomp.beats - before <= 1, "{}", stomp.beats - before);
}

#[test]
fn line_feeds_and_frames_keep_a_client_alive() {
    let mut stomp = beating("400,0", "0,400");
    let topic = unique("t");
    for n in 0..12 {
        // A piece of a frame counts as well.
        match n {
            6 => stomp.send("SEND\n"),
            7 => stomp.send(format!("destination:{topic}\n")),
            8 => stomp.send("\nx\0"),
            _ => stomp.send("\n"),
        }
        assert_eq!(stomp.recv_within(Duration::from_millis(250)), None);
    }
    assert_eq!(stomp.beats, 0);
    stomp.quiet();
}

#[test]
fn without_heart_beats_nobody_is_closed() {
    for asked in ["0,0", "0,60000"] {
        let turned: Vec<&str> = asked.rsplit(',').collect();
        let mut stomp = beating(asked, &turned.join(","));
        assert_eq!(stomp.recv_within(Duration::from_millis(500)), None);
        stomp.quiet();
    }
}

#[test]
fn a_heart_beat_that_is_none_is_refused() {
    for asked in ["", "1", "a,b", "-1,0", "1,2,3"] {
        let mut stomp = Stomp::open(here());
        let headers = [
            ("accept-version", "1.2"),
            ("login", "guest"),
            ("passcode", "guest"),
            ("heart-beat", asked),
        ];
        stomp.say("CONNECT", &headers, "");
        stomp.refused();
    }
}

/// They came with STOMP 1.1; clients that say what they speak, and speak 1.0, send none. Those that say nothing are
/// answered as the original did.
#[test]
fn version_1_0_has_none_where_it_was_asked_for() {
    for (offered, answered) in [
        (Some("1.0"), "0,0"),
        (Some("1.0,1.1"), "2000,1000"),
        (None, "2000,1000"),
    ] {
        let mut stomp = Stomp::open(here());
        let mut headers = vec![("login", "guest"), ("passcode", "guest")];
        headers.push(("heart-beat", "1000,2000"));
        headers.extend(offered.map(|versions| ("accept-version", versions)));
        stomp.say("CONNECT", &headers, "");
        assert_eq!(stomp.recv().value("heart-beat"), answered, "{offered:?}");
    }
}
