//! Input that means no good: nobody else may notice.

use std::io::Read;
use std::time::{Duration, Instant};

use emqttd_tests::stomp::{Stomp, frame};
use emqttd_tests::{Broker, Version, transport, unique};

use super::{at, broker, config, guest, here};
use crate::common::Random;

/// Frames that are nearly good: a byte changed, left out, put in, or a piece twice.
#[test]
fn frames_with_mistakes_end_in_order() {
    let mut random = Random(0x5707_1e57);
    let seeds = [
        frame("SEND", &[("destination", "h"), ("receipt", "1")], "x"),
        frame(
            "SUBSCRIBE",
            &[("id", "1"), ("destination", "h/+"), ("ack", "client")],
            "",
        ),
        frame("UNSUBSCRIBE", &[("id", "1")], ""),
        frame("BEGIN", &[("transaction", "1")], ""),
        frame("SEND", &[("destination", "h"), ("transaction", "1")], "y"),
        frame("ACK", &[("id", "1"), ("transaction", "1")], ""),
        frame("NACK", &[("id", "1")], ""),
        frame("COMMIT", &[("transaction", "1")], ""),
        frame(
            "SEND",
            &[("destination", "h"), ("content-length", "3")],
            "a\0b",
        ),
    ];
    for round in 0..150 {
        let mut bytes = Vec::new();
        if round % 3 > 0 {
            let headers = [
                ("accept-version", "1.2"),
                ("login", "guest"),
                ("passcode", "guest"),
            ];
            bytes.extend(frame("CONNECT", &headers, ""));
        }
        let good = bytes.len();
        for _ in 0..1 + random.below(6) {
            bytes.extend(&seeds[random.below(seeds.len())]);
        }
        for _ in 0..1 + random.below(4) {
            let at = good + random.below(bytes.len() - good);
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\n\0:\\\r"[random.below(5)]),
                _ => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend(piece);
                }
            }
            if bytes.len() == good {
                bytes.push(0);
            }
        }
        let mut stream = transport::tcp(here());
        let _ = std::io::Write::write_all(&mut stream, &bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Whatever it was, it is over when the client is.
        let mut sink = Vec::new();
        if let Err(e) = stream.read_to_end(&mut sink) {
            assert!(transport::is_closed(&e), "{e}: {bytes:?}");
        }
    }
    guest().quiet();
}

#[test]
fn noise_is_refused() {
    let mut random = Random(99);
    for _ in 0..50 {
        let mut stomp = Stomp::open(here());
        let mut noise = random.bytes(4000);
        noise.extend(b"\n\n\0\n\n\0");
        stomp.send(&noise);
        while let Some(Some(frame)) = stomp.recv_within(Duration::from_secs(5)) {
            assert_eq!(frame.command, "ERROR");
        }
    }
    guest().quiet();
}

/// Somebody who sends as fast as he can does not hold up the others.
#[test]
fn a_flood_starves_nobody() {
    let broker = Broker::start(config(""));
    let addr = at(&broker);
    let before = broker.resident();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut flood = Stomp::guest(addr, &[]);
                let body = "x".repeat(4000);
                let bytes = frame("SEND", &[("destination", "flood")], body).repeat(16);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    flood.try_send(&bytes).unwrap();
                }
            });
        }
        // Who reads all of it.
        scope.spawn(|| {
            let mut reader = Stomp::guest(addr, &[]);
            reader.sub("1", "flood", &[]);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = reader.recv_within(Duration::from_millis(50));
            }
        });
        let mut stomp = Stomp::guest(addr, &[]);
        let mut mqtt = broker.client(Version::V311, "other");
        stomp.sub("1", "calm", &[]);
        let begun = Instant::now();
        for n in 0..20 {
            let text = n.to_string();
            mqtt.pub_("calm", 1, &text);
            stomp.message("1", &text);
            stomp.done("SEND", &[("destination", "calm")], "own");
            stomp.message("1", "own");
        }
        let took = begun.elapsed();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(took < Duration::from_secs(8), "{took:?}");
    });
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MB", grown >> 20);
}

/// What a client does not read waits nowhere without an end.
#[test]
fn who_does_not_read_costs_no_more_than_the_bounds() {
    let broker = Broker::start(config(""));
    let before = broker.resident();
    let mut slow: Vec<Stomp> = (0..4)
        .map(|n| {
            let mut stomp = Stomp::guest(at(&broker), &[]);
            let ack = ["auto", "client"][n % 2];
            stomp.sub("1", "flood", &[("ack", ack)]);
            stomp
        })
        .collect();
    let mut mqtt = broker.client(Version::V311, "flood");
    let mut quick = Stomp::guest(at(&broker), &[]);
    quick.sub("1", "end", &[]);
    let body = "x".repeat(10_000);
    // 80 MB for each.
    for n in 0..8000 {
        mqtt.send_publish(emqttd_tests::Publish::new("flood", &body));
        if n % 1000 == 0 {
            mqtt.pub_("end", 1, "still here");
            quick.message("1", "still here");
        }
    }
    mqtt.pub_("end", 1, "last");
    quick.message("1", "last");
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MB", grown >> 20);
    // What there is of it comes in whole frames.
    for stomp in &mut slow {
        assert_eq!(stomp.recv().text().len(), body.len());
    }
}

/// Receipts that nobody reads are held up with the frames that ask for them.
#[test]
fn who_asks_and_does_not_read_is_held_up() {
    let broker = Broker::start(config(""));
    let before = broker.resident();
    let mut stomp = Stomp::guest(at(&broker), &[]);
    stomp.set_write_timeout(Duration::from_millis(500));
    let receipt = "r".repeat(900);
    let bytes = frame("SEND", &[("destination", "a"), ("receipt", &receipt)], "").repeat(64);
    // 128 MB, of which each byte asks for another.
    for _ in 0..2200 {
        if stomp.try_send(&bytes).is_err() {
            break;
        }
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MB", grown >> 20);
    Stomp::guest(at(&broker), &[]).quiet();
}

/// A thousand subscriptions and then some are one connection's affair.
#[test]
fn many_subscriptions_do_not_slow_down_others() {
    let base = unique("many");
    let mut stomp = guest();
    let mut frames = Vec::new();
    for n in 0..2000 {
        let (id, to) = (n.to_string(), format!("{base}/{n}"));
        frames.extend(frame("SUBSCRIBE", &[("id", &id), ("destination", &to)], ""));
    }
    let begun = Instant::now();
    stomp.send(frames);
    stomp.done("SEND", &[("destination", &format!("{base}/1999"))], "x");
    // Either all of them are there, or there is a limit and it was said.
    stomp.message("1999", "x");
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let (_, text) = broker().ctl(&["broker", "stats"]);
    assert!(text.contains("clients/count"), "{text}");
}
