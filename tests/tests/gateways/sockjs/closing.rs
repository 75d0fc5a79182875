//! Ends: in order, by a second receiver, by a connection that breaks.

use super::carrier::{Carrier, Kind};
use super::http::{Http, post};
use super::{CONNECT, CONNECTED, DISCONNECT, here, session};

const BUSY: &str = "c[2010,\"Another connection still open\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";

/// A stream of that session; its prelude was read.
fn stream(session: &str) -> Http {
    let mut http = Http::open(here());
    http.ask("POST", &format!("{session}/xhr_streaming"), &[], "");
    assert_eq!(http.head().status, 200);
    assert_eq!(http.until("\n").unwrap().len(), 2049);
    http
}

/// A poll that has nothing to tell yet.
fn poll(session: &str) -> Http {
    let mut http = Http::open(here());
    http.ask("POST", &format!("{session}/xhr"), &[], "");
    http
}

#[test]
fn streams_end_after_the_close_frame() {
    let session = session();
    let mut one = stream(&session);
    assert_eq!(one.until("\n").unwrap(), "o\n");
    for body in [CONNECT, DISCONNECT] {
        assert_eq!(
            post(here(), &format!("{session}/xhr_send"), body).status(),
            204
        );
        assert!(one.until("\n").unwrap().starts_with("a["));
    }
    assert_eq!(one.until("\n").unwrap(), "c[3000,\"Go away!\"]\n");
    assert_eq!(one.until("\n"), None);
    let mut two = stream(&session);
    assert_eq!(two.until("\n").unwrap(), "c[3000,\"Go away!\"]\n");
    assert_eq!(two.until("\n"), None);
}

#[test]
fn one_receives_at_a_time() {
    let session = session();
    let mut one = stream(&session);
    assert_eq!(one.until("\n").unwrap(), "o\n");
    let mut two = stream(&session);
    assert_eq!(two.until("\n").unwrap(), BUSY);
    assert_eq!(two.until("\n"), None);
    assert_eq!(post(here(), &format!("{session}/xhr"), "").body, BUSY);
    // The first does not notice.
    assert_eq!(
        post(here(), &format!("{session}/xhr_send"), CONNECT).status(),
        204
    );
    assert_eq!(one.until("\n").unwrap(), format!("{CONNECTED}\n"));
}

/// What was on its way may be lost, so that nothing can go on.
#[test]
fn a_stream_that_breaks_ends_the_session() {
    let session = session();
    let mut one = stream(&session);
    assert_eq!(one.until("\n").unwrap(), "o\n");
    assert_eq!(stream(&session).until("\n").unwrap(), BUSY);
    drop(one);
    // The server hears of it a moment later.
    let mut told = BUSY.to_owned();
    let begun = std::time::Instant::now();
    while told == BUSY {
        assert!(begun.elapsed().as_secs() < 10);
        let mut next = stream(&session);
        told = next.until("\n").unwrap();
        assert_eq!(next.until("\n"), None);
    }
    assert_eq!(told, INTERRUPTED);
}

#[test]
fn a_poll_that_breaks_ends_the_session() {
    let session = session();
    assert_eq!(post(here(), &format!("{session}/xhr"), "").body, "o\n");
    // Two at once: one of them is told so, the other waits.
    let (mut one, mut two) = (poll(&session), poll(&session));
    let short = std::time::Duration::from_millis(100);
    let begun = std::time::Instant::now();
    for http in [&mut one, &mut two] {
        assert_eq!(http.head().status, 200);
    }
    let told = loop {
        assert!(begun.elapsed().as_secs() < 10);
        if let Some(told) = one.until_within("\n", short) {
            drop(two);
            break told;
        }
        if let Some(told) = two.until_within("\n", short) {
            drop(one);
            break told;
        }
    };
    assert_eq!(told.as_deref(), Some(BUSY));
    let mut told = BUSY.to_owned();
    let begun = std::time::Instant::now();
    while told == BUSY {
        assert!(begun.elapsed().as_secs() < 10);
        told = post(here(), &format!("{session}/xhr"), "").body;
    }
    assert_eq!(told, INTERRUPTED);
}

#[test]
fn each_transport_says_goodbye() {
    for kind in [
        Kind::Xhr,
        Kind::XhrStreaming,
        Kind::EventSource,
        Kind::HtmlFile,
        Kind::Jsonp,
        Kind::WebSocket,
    ] {
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        // The last message, and then the end.
        carrier.say(
            "SUBSCRIBE",
            &[("id", "1"), ("destination", "a"), ("receipt", "1")],
            "",
        );
        carrier.say("DISCONNECT", &[("receipt", "2")], "");
        for receipt in ["1", "2"] {
            assert_eq!(carrier.recv().value("receipt-id"), receipt, "{kind:?}");
        }
        carrier.closed("c[3000,\"Go away!\"]");
    }
}
