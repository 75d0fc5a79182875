//! How long sessions live, and what they may cost.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Publish, Version, unique};

use super::carrier::{Carrier, KINDS, Kind, json};
use super::http::{Http, ask, post};
use super::{CONNECT, at, broker, config, session};
use crate::common::{eventually, shown, wait_for_client, wait_until_gone};

/// One whose sessions die soon and whose heart beats fast.
fn quick() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(config(
            "sockjs.heartbeat_delay = 500ms\nsockjs.disconnect_delay = 1s\n",
        ))
    })
}

/// Sheet 17, check 5.
#[test]
fn a_session_without_a_receiver_is_gone_and_its_subscriptions_too() {
    let id = unique("alone");
    let mut carrier = Carrier::open(Kind::Xhr, at(quick()));
    carrier.connect(&[("client-id", &id)]);
    carrier.sub("1", &id);
    let row = quick().ctl(&["subscriptions", "show", &id]).1;
    assert!(row.contains(&id), "{row}");
    let begun = Instant::now();
    wait_until_gone(quick(), &id);
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(700)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    assert!(!quick().ctl(&["subscriptions", "show", &id]).1.contains(&id));
    // Its name is free again, and nothing can be sent to what it was.
    let path = carrier.session().to_owned();
    assert_eq!(
        post(at(quick()), &format!("{path}/xhr_send"), "[]").status(),
        404
    );
    assert_eq!(post(at(quick()), &format!("{path}/xhr"), "").body, "o\n");
}

#[test]
fn a_session_lives_while_somebody_receives() {
    let lives = |kind: Kind| {
        let id = unique("lives");
        let mut carrier = Carrier::open(kind, at(quick()));
        carrier.connect(&[("client-id", &id)]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1600) && kind != Kind::Raw {
            assert_eq!(carrier.frame(), "h", "{kind:?}");
        }
        carrier.sub("1", "t");
        assert!(shown(quick(), &id).is_some(), "{kind:?}");
    };
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || lives(kind));
        }
    });
}

#[test]
fn hearts_beat_when_there_is_nothing_else() {
    let begun = Instant::now();
    let mut carrier = Carrier::open(Kind::XhrStreaming, at(quick()));
    for _ in 0..3 {
        carrier.expect("h");
    }
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(1400)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
}

/// A connection that is gone ends the session, at the latest when its time is over.
#[test]
fn a_client_that_vanishes_is_gone() {
    for kind in KINDS {
        let id = unique("gone");
        let mut carrier = Carrier::open(kind, at(quick()));
        carrier.connect(&[("client-id", &id)]);
        wait_for_client(quick(), &id);
        carrier.cut();
        wait_until_gone(quick(), &id);
    }
}

/// Who opens session after session finds an end of it.
#[test]
fn sessions_are_limited() {
    let broker = Broker::start(config("sockjs.listener.max_clients = 3\n"));
    let addr = at(&broker);
    let mut kept: Vec<Carrier> = (0..3).map(|_| Carrier::open(Kind::Xhr, addr)).collect();
    kept[0].connect(&[]);
    let answer = post(addr, &format!("{}/xhr", session()), "");
    assert!(
        answer.status() >= 500 || answer.body.starts_with("c["),
        "{answer:?}"
    );
    // Those who are there go on, and so does what needs no session.
    kept[1].connect(&[]);
    assert_eq!(super::http::get(addr, "/stomp").status(), 200);
    // One that has ended makes room.
    kept[0].say("DISCONNECT", &[], "");
    eventually("there is room", || {
        let opened = post(addr, &format!("{}/xhr", session()), "");
        opened.status() == 200 && opened.body == "o\n"
    });
}

/// What a client does not fetch waits nowhere without an end.
#[test]
fn who_does_not_receive_costs_no_more_than_the_bounds() {
    let broker = Broker::start(config(""));
    let before = broker.resident();
    let mut carriers: Vec<Carrier> = [Kind::Xhr, Kind::XhrStreaming, Kind::WebSocket, Kind::Raw]
        .into_iter()
        .map(|kind| {
            let mut carrier = Carrier::open(kind, at(&broker));
            carrier.connect(&[]);
            carrier.sub("1", "flood");
            carrier
        })
        .collect();
    let mut mqtt = broker.client(Version::V311, "flood");
    let body = "x".repeat(10_000);
    // 60 MB for each.
    for _ in 0..6000 {
        mqtt.send_publish(Publish::new("flood", &body));
    }
    mqtt.ping();
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MB", grown >> 20);
    for carrier in &mut carriers {
        assert_eq!(carrier.recv().text(), body);
    }
}

/// What the broker does not take is not taken from the client either.
#[test]
fn who_sends_without_end_is_held_up_or_served() {
    let broker = Broker::start(config(""));
    let before = broker.resident();
    let addr = at(&broker);
    let mut carrier = Carrier::open(Kind::Xhr, addr);
    carrier.connect(&[]);
    let frames = "SEND\ndestination:a\n\n0123456789\0".repeat(200);
    let body = json(&[&frames]);
    for _ in 0..500 {
        let answer = post(addr, &format!("{}/xhr_send", carrier.session()), &body);
        assert_eq!(answer.status(), 204);
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MB", grown >> 20);
    assert_eq!(super::http::get(addr, "/stomp").status(), 200);
}

/// Requests that do not end, that are no requests, and too many at once.
#[test]
fn hostile_requests_end_and_others_are_served() {
    let broker = Broker::start(config(""));
    let addr = at(&broker);
    let before = broker.resident();
    let endless: [&[u8]; 4] = [
        b"GET /stomp HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /stomp/",
        b"\x16\x03\x01\x00\xff",
        b"POST /stomp/0/0/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for begin in endless {
        let mut stream = emqttd_tests::transport::tcp(addr);
        use std::io::{Read, Write};
        stream.write_all(begin).unwrap();
        let more = match begin.ends_with(b"\r\n\r\n") {
            true => b"1000\r\n"
                .iter()
                .copied()
                .chain([b'x'; 4096])
                .chain(*b"\r\n")
                .collect(),
            false => vec![b'x'; 4096],
        };
        // 40 MB at the most.
        for _ in 0..10_000 {
            if stream.write_all(&more).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.starts_with("HTTP/1.1 2"), "{text}");
    }
    // Nobody opens a session by sending.
    for n in 0..500 {
        let answer = ask(
            addr,
            "POST",
            &format!("/stomp/0/s{n}/xhr_send"),
            &[],
            CONNECT,
        );
        assert_eq!(answer.status(), 404);
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{} MB", grown >> 20);
    let mut carrier = Carrier::open(Kind::WebSocket, addr);
    carrier.connect(&[]);
}

/// A message on its way is not lost by a poll that was over.
#[test]
fn polls_lose_nothing() {
    for kind in [Kind::Xhr, Kind::Jsonp, Kind::XhrStreaming] {
        let topic = unique("polls");
        let mut mqtt = broker().client(Version::V311, "polls");
        let mut carrier = Carrier::open(kind, super::here());
        carrier.connect(&[]);
        carrier.sub("1", &topic);
        for n in 0..300 {
            mqtt.pub_(&topic, 0, &n.to_string());
        }
        for n in 0..300 {
            assert_eq!(carrier.recv().text(), n.to_string(), "{kind:?}");
        }
    }
    // A connection may also be kept for one poll after the other.
    let session = session();
    let mut http = Http::open(super::here());
    http.ask("POST", &format!("{session}/xhr"), &[], "");
    assert_eq!(http.answer().body, "o\n");
    for _ in 0..20 {
        http.ask("POST", &format!("{session}/xhr_send"), &[], &json(&["\n"]));
        assert_eq!(http.answer().status(), 204);
    }
}
