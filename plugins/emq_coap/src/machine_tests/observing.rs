//! Observers and notifications.
#![allow(clippy::unwrap_used)]

use super::rig::*;
use crate::block::Block;
use crate::codec::{Code, Kind, option};
use crate::machine::SMALL;
use crate::request::{Action, Ended, Fate, Observe, Observing, Response};
use std::time::Duration;

const GET: Code = Code::GET;
const ACK: Kind = Kind::Acknowledgement;
const RST: Kind = Kind::Reset;

fn observing(how: Observing) -> Option<Response> {
    let mut response = Response::new(Code::CONTENT);
    response.observing = Some(how);
    Some(response)
}

#[test]
fn notifications_byte_by_byte() {
    let mut rig = Rig::new();
    rig.answers([observing(Observing::Begun)]);
    // GET coap://host/mqtt/a, Observe 0, token 4a.
    rig.send_bytes(peer(0), b"\x41\x01\x00\x01\x4a\x60\x54mqtt\x01a");
    assert_eq!(rig.bytes(), b"\x61\x45\x00\x01\x4a\x60");
    let ticket = rig.app.seen[0].ticket;
    assert_eq!(rig.app.seen[0].observe, Some(Observe::Register));
    for n in 1..=3u8 {
        rig.notify(ticket, n.into(), b"on");
        let bytes = rig.bytes();
        let id = u16::from_be_bytes([bytes[2], bytes[3]]);
        assert_eq!(bytes[..2], *b"\x41\x45");
        assert_eq!(
            bytes[4..],
            *[b"\x4a\x61", &[n][..], b"\x61\x2a\xffon"].concat()
        );
        rig.settle(peer(0), ACK, id);
        assert_eq!(rig.app.notified.pop(), Some((n.into(), Fate::Acknowledged)));
    }
    // Observe 1: over.
    rig.send_bytes(peer(0), b"\x41\x01\x00\x02\x4a\x61\x01\x54mqtt\x01a");
    assert_eq!(rig.bytes(), b"\x61\x44\x00\x02\x4a");
    assert_eq!(rig.app.seen[1].observe, Some(Observe::Deregister));
    assert_eq!(rig.app.ended, [(ticket, Ended::Cancelled)]);
    rig.notify(ticket, 9, b"on");
    rig.silent();
    assert_eq!(rig.app.notified, [(9, Fate::Dropped)]);
    assert_eq!(rig.machine.peers.pinned(), 0);
}

#[test]
fn one_at_a_time_and_in_their_order() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1).token(b"1"));
    let two = rig.observe(peer(0), &Msg::con(GET, 2).token(b"2"));
    for n in 1..=10u8 {
        rig.notify(if n % 2 == 0 { two } else { one }, n.into(), &[n]);
    }
    for n in 1..=10u8 {
        let got = rig.next();
        rig.silent();
        assert_eq!((got.kind, &got.payload), (Kind::Confirmable, &vec![n]));
        assert_eq!(got.token, if n % 2 == 0 { b"2" } else { b"1" });
        assert_eq!(got.get(option::OBSERVE), Some(u32::from(n).div_ceil(2)));
        // The first time it is lost.
        rig.wait(Duration::from_secs(3));
        assert_eq!(rig.next(), got);
        rig.settle(peer(0), ACK, got.id);
        assert_eq!(
            rig.app.notified.last(),
            Some(&(n.into(), Fate::Acknowledged))
        );
    }
    rig.silent();
    // Other peers do not wait for it.
    let other = rig.observe(peer(1), &Msg::con(GET, 1));
    rig.notify(one, 0, b"x");
    rig.notify(other, 0, b"y");
    assert_eq!(
        (rig.next().payload, rig.next().payload),
        (b"x".to_vec(), b"y".to_vec())
    );
}

#[test]
fn a_reset_ends_it_and_the_others_go_on() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1).token(b"1"));
    let two = rig.observe(peer(0), &Msg::con(GET, 2).token(b"2"));
    rig.notify(one, 1, b"a");
    rig.notify(one, 2, b"b");
    rig.notify(two, 3, b"c");
    let first = rig.next();
    rig.settle(peer(0), RST, first.id);
    assert_eq!(rig.app.ended, [(one, Ended::Cancelled)]);
    assert_eq!(rig.app.notified, [(1, Fate::Dropped), (2, Fate::Dropped)]);
    assert_eq!(rig.next().payload, b"c");
    rig.silent();
}

#[test]
fn who_does_not_answer_is_gone() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1).token(b"1"));
    let two = rig.observe(peer(0), &Msg::con(GET, 2).token(b"2"));
    let other = rig.observe(peer(1), &Msg::con(GET, 1));
    rig.notify(one, 1, b"a");
    rig.notify(two, 2, b"b");
    rig.wait(Duration::from_secs(61));
    assert_eq!(rig.sent.0.len(), 5);
    assert_eq!(rig.app.ended, []);
    rig.wait(Duration::from_secs(33));
    assert_eq!(rig.app.ended, [(one, Ended::Lost), (two, Ended::Lost)]);
    assert_eq!(rig.app.notified, [(1, Fate::Dropped), (2, Fate::Dropped)]);
    assert_eq!(rig.sent.0.len(), 5);
    rig.sent.0.clear();
    rig.notify(other, 3, b"c");
    assert_eq!(rig.next().payload, b"c");
    assert_eq!(rig.machine.observations.len(), 1);
    assert_eq!(rig.machine.waiting_bytes, 0);
}

#[test]
fn those_who_asked_by_non_are_told_by_non() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::non(GET, 1));
    // As far as an address may be told something that has proven nothing.
    let mut bytes = 0;
    let mut first = None;
    for n in 1..100u8 {
        rig.notify(one, n.into(), &[n]);
        let Some((_, datagram)) = rig.sent.0.pop_front() else {
            break;
        };
        let got = Msg::decode(&datagram);
        if got.kind == Kind::Confirmable {
            first = Some(got);
            continue;
        }
        assert_eq!(rig.app.notified.last(), Some(&(n.into(), Fate::Sent)));
        bytes += datagram.len();
    }
    let first = first.unwrap();
    assert!((SMALL - 40..=SMALL).contains(&bytes), "{bytes}");
    rig.settle(peer(0), ACK, first.id);
    // Now it has; what waited is sent, and from time to time somebody has to listen.
    let mut row = 0;
    let mut last = first.payload[0];
    for n in 101..200u8 {
        while let Some((_, datagram)) = rig.sent.0.pop_front() {
            let got = Msg::decode(&datagram);
            assert_eq!(got.payload[0], last + 1);
            last += 1;
            row += 1;
            if got.kind == Kind::Confirmable {
                assert_eq!(row, 33);
                row = 0;
                rig.settle(peer(0), ACK, got.id);
            }
        }
        last = last.max(n - 1);
        rig.notify(one, n.into(), &[n]);
    }
    // After a long time, too.
    rig.sent.0.clear();
    rig.wait(Duration::from_secs(2));
    rig.sent.0.clear();
    let later = rig.observe(peer(1), &Msg::non(GET, 1));
    rig.wait(Duration::from_secs(3600));
    rig.sent.0.clear();
    rig.notify(later, 0, b"x");
    assert_eq!(rig.next().kind, Kind::Confirmable);
}

#[test]
fn a_reset_of_a_non_ends_it() {
    let mut rig = Rig::new();
    let one = rig.observe(secure(0), &Msg::non(GET, 1));
    let mut ids = Vec::new();
    for n in 0..12u8 {
        rig.notify(one, 0, &[n]);
        ids.push(rig.next().id);
    }
    // Too old, and an ACK of a NON: nothing.
    rig.settle(secure(0), RST, ids[0]);
    rig.settle(secure(0), ACK, ids[11]);
    assert_eq!(rig.app.ended, []);
    rig.settle(secure(0), RST, ids[5]);
    assert_eq!(rig.app.ended, [(one, Ended::Cancelled)]);
    assert_eq!(rig.machine.peers.pinned(), 0);
}

#[test]
fn registering_again() {
    let mut rig = Rig::new();
    let get = |id| Msg::con(GET, id).number(option::OBSERVE, 0);
    let one = rig.observe(peer(0), &Msg::con(GET, 1));
    rig.notify(one, 1, b"a");
    let first = rig.next();
    rig.notify(one, 2, b"b");
    rig.answers([observing(Observing::Renewed)]);
    let answer = rig.ask(peer(0), &get(2));
    assert_eq!(answer.get(option::OBSERVE), Some(2));
    assert_eq!(rig.app.seen[1].renews, Some(one));
    assert_eq!(rig.app.ended, []);
    rig.settle(peer(0), ACK, first.id);
    let second = rig.next();
    assert_eq!(
        (second.payload.clone(), second.get(option::OBSERVE)),
        (b"b".to_vec(), Some(3))
    );
    rig.settle(peer(0), ACK, second.id);
    // Another thing under the same token.
    rig.notify(one, 3, b"c");
    rig.next();
    rig.answers([observing(Observing::Begun)]);
    let answer = rig.ask(peer(0), &get(3));
    assert_eq!(answer.get(option::OBSERVE), Some(5));
    assert_eq!(rig.app.ended, [(one, Ended::Replaced)]);
    assert_eq!(rig.app.notified.last(), Some(&(3, Fate::Dropped)));
    let two = rig.app.seen[2].ticket;
    rig.notify(two, 0, b"d");
    assert_eq!(rig.next().payload, b"d");
    assert_eq!(rig.machine.observations.len(), 1);
    // One that is refused changes nothing.
    rig.answers([Some(Response::new(Code::FORBIDDEN))]);
    assert_eq!(rig.ask(peer(0), &get(4)).code, Code::FORBIDDEN);
    assert_eq!(rig.machine.observations.len(), 1);
}

#[test]
fn last_words_and_silence() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1).token(b"1"));
    let two = rig.observe(peer(0), &Msg::con(GET, 2).token(b"2"));
    rig.act(Action::Notify {
        observation: one,
        receipt: 0,
        response: Response::new(Code::UNAVAILABLE),
    });
    let last = rig.next();
    assert_eq!(
        (last.code, last.get(option::OBSERVE)),
        (Code::UNAVAILABLE, None)
    );
    assert_eq!(rig.machine.observations.len(), 1);
    rig.notify(one, 7, b"x");
    assert_eq!(rig.app.notified, [(7, Fate::Dropped)]);
    // It is a CON that is sent again like others.
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.next(), last);
    rig.settle(peer(0), ACK, last.id);
    rig.notify(two, 8, b"x");
    rig.notify(two, 9, b"x");
    rig.next();
    rig.act(Action::Forget { observation: two });
    assert_eq!(
        rig.app.notified[1..],
        [
            (0, Fate::Acknowledged),
            (8, Fate::Dropped),
            (9, Fate::Dropped)
        ]
    );
    assert_eq!(rig.app.ended, []);
    rig.wait(Duration::from_secs(100));
    rig.silent();
    assert_eq!(rig.machine.timers.len(), 0);
}

#[test]
fn last_words_that_wait() {
    let mut rig = Rig::new();
    let get = Msg::con(GET, 1);
    let one = rig.observe(peer(0), &get);
    let last = |rig: &mut Rig, observation, receipt| {
        rig.act(Action::Notify {
            observation,
            receipt,
            response: Response::new(Code::UNAVAILABLE),
        });
    };
    rig.notify(one, 1, b"a");
    last(&mut rig, one, 2);
    // For the application it is over.
    rig.notify(one, 3, b"b");
    assert_eq!(rig.app.notified, [(3, Fate::Dropped)]);
    let first = rig.next();
    rig.settle(peer(0), ACK, first.id);
    assert_eq!(rig.next().code, Code::UNAVAILABLE);
    // Registering again under the same token renews nothing, and what waited is not said any more.
    let two = rig.observe(peer(1), &get);
    rig.notify(two, 4, b"a");
    last(&mut rig, two, 5);
    let three = rig.observe_again(peer(1), &Msg::con(GET, 2));
    assert_eq!(rig.app.seen.last().unwrap().renews, None);
    assert_eq!(rig.app.ended, []);
    rig.sent.0.clear();
    rig.notify(three, 6, b"c");
    assert_eq!(rig.next().payload, b"c");
    // Nor is anybody told when the device is gone.
    last(&mut rig, three, 7);
    rig.wait(Duration::from_secs(100));
    assert_eq!(rig.app.ended, []);
    assert_eq!(rig.machine.observations.len(), 0);
}

#[test]
fn last_words_to_who_is_forgotten() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1));
    rig.act(Action::Notify {
        observation: one,
        receipt: 1,
        response: Response::new(Code::UNAVAILABLE),
    });
    rig.next();
    for n in 1..10 {
        rig.ask(peer(n), &Msg::con(Code::PUT, 1));
    }
    assert_eq!(rig.app.notified, [(1, Fate::Dropped)]);
    assert_eq!(rig.machine.timers.len(), 0);
}

#[test]
fn observers_are_bounded() {
    let mut rig = Rig::new();
    for n in 0..8 {
        rig.observe(peer(n), &Msg::con(GET, 1));
    }
    // Nine endpoints may not observe; the request is answered all the same.
    rig.answers([observing(Observing::Begun)]);
    let ninth = rig.ask(peer(8), &Msg::con(GET, 1).number(option::OBSERVE, 0));
    assert_eq!(
        (ninth.code, ninth.get(option::OBSERVE)),
        (Code::CONTENT, None)
    );
    let ticket = rig.app.seen.last().unwrap().ticket;
    assert_eq!(rig.app.ended, [(ticket, Ended::NoRoom)]);
    // Four for each of them, on the average.
    for id in 2..26 {
        rig.observe(peer(0), &Msg::con(GET, id).token(&id.to_be_bytes()));
    }
    rig.answers([observing(Observing::Begun)]);
    let more = rig.ask(
        peer(0),
        &Msg::con(GET, 99).token(b"x").number(option::OBSERVE, 0),
    );
    assert_eq!(more.get(option::OBSERVE), None);
    // Strangers do not push them out.
    for n in 100..200 {
        rig.ask(peer(n), &Msg::con(Code::PUT, 1));
    }
    assert_eq!(rig.machine.observations.len(), 32);
    assert_eq!(rig.machine.peers.len(), 16);
    rig.wait(Duration::from_secs(1000));
    assert_eq!(rig.machine.peers.len(), 8);
}

#[test]
fn what_waits_is_bounded() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1));
    for n in 1..=1000 {
        rig.notify(one, n, &[0; 2000]);
    }
    assert!(rig.machine.waiting_bytes <= 256 * 1024);
    let dropped = rig.app.notified.len();
    assert!(dropped > 800, "{dropped}");
    assert_eq!(rig.machine.counters().dropped, dropped as u64);
    rig.notify(one, 1001, &[0; 4097]);
    assert_eq!(rig.app.notified.last(), Some(&(1001, Fate::Dropped)));
}

#[test]
fn a_notification_in_blocks_is_taken_before_the_next() {
    let mut rig = Rig::new();
    let request = Msg::con(GET, 1).option(option::URI_PATH, b"x");
    let one = rig.observe(secure(0), &request);
    let (a, b) = (vec![b'a'; 2500], vec![b'b'; 2500]);
    rig.notify(one, 1, &a);
    rig.notify(one, 2, &b);
    let first = rig.next();
    assert_eq!(first.payload, a[..1024]);
    assert_eq!(first.get(option::SIZE2), Some(2500));
    let etag = first.value(option::ETAG).unwrap().to_vec();
    rig.settle(secure(0), ACK, first.id);
    rig.silent();
    for num in 1..3 {
        rig.wait(Duration::from_millis(2900));
        let next = Msg::con(GET, 1 + num)
            .token(b"other")
            .option(option::URI_PATH, b"x")
            .number(
                option::BLOCK2,
                Block {
                    num: num.into(),
                    more: false,
                    szx: 6,
                }
                .value(),
            );
        rig.send(secure(0), &next);
        let got = rig.next();
        assert_eq!(got.value(option::ETAG), Some(&etag[..]));
        assert_eq!(got.get(option::OBSERVE), None);
        let end = a.len().min((usize::from(num) + 1) * 1024);
        assert_eq!(got.payload, a[usize::from(num) * 1024..end]);
    }
    // With the last block the next one comes at once.
    let second = rig.next();
    assert_eq!(second.payload, b[..1024]);
    assert_eq!(rig.app.seen.len(), 1);
    // Whoever does not take it is not waited for.
    rig.notify(one, 3, b"c");
    rig.settle(secure(0), ACK, second.id);
    rig.silent();
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.next().payload, b"c");
}

#[test]
fn an_unproven_observer_gets_small_blocks() {
    let mut rig = Rig::new();
    let one = rig.observe(peer(0), &Msg::con(GET, 1));
    let body = [7; 1000];
    rig.notify(one, 1, &body);
    let bytes = rig.bytes();
    assert!(bytes.len() <= SMALL, "{}", bytes.len());
    let first = Msg::decode(&bytes);
    rig.settle(peer(0), ACK, first.id);
    rig.wait(Duration::from_secs(4));
    rig.notify(one, 2, &body);
    assert_eq!(rig.next().payload, body);
}

#[test]
fn an_endpoint_that_is_gone() {
    let mut rig = Rig::new();
    let one = rig.observe(secure(0), &Msg::con(GET, 1));
    rig.notify(one, 1, b"x");
    rig.machine.gone(rig.now, &secure(0), &mut rig.app);
    assert_eq!(rig.app.ended, [(one, Ended::Lost)]);
    assert_eq!(rig.app.notified, [(1, Fate::Dropped)]);
    assert_eq!((rig.machine.peers.len(), rig.machine.timers.len()), (0, 0));
}
