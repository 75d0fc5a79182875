//! Requests: the message layer, options, blocks, bounds.
#![allow(clippy::unwrap_used)]

use super::rig::*;
use crate::block::Block;
use crate::codec::{Code, Kind, option};
use crate::endpoint::Endpoint;
use crate::machine::{Limits, PARTIAL, PENDING_PER_PEER, SLOTS, SMALL};
use crate::message::MAX_TRANSMIT_WAIT;
use crate::request::{Action, ETag, Fate, Method, Response, Ticket};
use std::time::Duration;

const GET: Code = Code::GET;
const PUT: Code = Code::PUT;

fn content(payload: &[u8]) -> Option<Response> {
    Some(Response::content(42, payload.to_vec()))
}

fn block(num: u32, more: bool, szx: u8) -> u32 {
    Block { num, more, szx }.value()
}

#[test]
fn what_is_no_request() {
    let mut rig = Rig::new();
    for silent in [
        &b""[..],
        b"\x40\x01",
        b"\x80\x01\x00\x01",
        b"\x00\x01\x00\x01",
        b"\x60\x45\x12\x34",
        b"\x70\x00\x12\x34",
        b"\x60\x00\x12\x34",
        b"\x50\x00\x12\x34",
        b"\x50\x45\x12\x34",
        b"\x59\x01\x55\x55xxxxxxxxx",
        b"\x50\x01\x55\x55\xff",
    ] {
        rig.send_bytes(peer(0), silent);
        rig.silent();
    }
    for reset in [
        // A ping, and a response to nothing.
        &b"\x40\x00\x55\x55"[..],
        b"\x40\x45\x55\x55",
        b"\x49\x01\x55\x55xxxxxxxxx",
        b"\x41\x01\x55\x55",
        b"\x40\x01\x55\x55\xff",
        b"\x40\x01\x55\x55\xf0",
        b"\x40\x01\x55\x55\x0f",
        b"\x40\x01\x55\x55\xb5a",
        b"\x40\x01\x55\x55\xd0",
        b"\x40\x01\x55\x55\xe0\xff\xff\xe0\xff\xff",
        b"\x41\x00\x55\x55x",
        b"\x40\x00\x55\x55\xffx",
        // Classes that there are not.
        b"\x40\x21\x55\x55",
        b"\x40\xe1\x55\x55",
    ] {
        rig.send_bytes(peer(0), reset);
        assert_eq!(rig.bytes(), b"\x70\x00\x55\x55", "{reset:02x?}");
    }
    assert_eq!(rig.app.seen, []);
    assert_eq!(rig.machine.peers.len(), 0);
}

#[test]
fn an_answer_byte_by_byte() {
    let mut rig = Rig::new();
    rig.answers([content(b"22.5 C")]);
    // GET coap://host/mqtt/a?c=1, token 4a.
    let request = b"\x41\x01\x7d\x34\x4a\xb4mqtt\x01a\x43c=1";
    rig.send_bytes(peer(0), request);
    let answer = rig.bytes();
    assert_eq!(answer, b"\x61\x45\x7d\x34\x4a\xc1\x2a\xff22.5 C");
    let seen = &rig.app.seen[0];
    assert_eq!((seen.method, seen.path.as_str()), (Method::Get, "mqtt/a"));
    // Its duplicates get the same, and nobody hears of them.
    for _ in 0..3 {
        rig.send_bytes(peer(0), request);
        assert_eq!(rig.bytes(), answer);
    }
    assert_eq!(rig.app.seen.len(), 1);
    assert_eq!(rig.machine.counters().duplicates, 3);
    // The same ID of another endpoint is another message.
    rig.send_bytes(peer(1), request);
    rig.send_bytes(secure(0), request);
    assert_eq!(rig.app.seen.len(), 3);
    assert_eq!(rig.bytes(), b"\x61\x44\x7d\x34\x4a");
}

#[test]
fn a_non_is_answered_by_a_non() {
    let mut rig = Rig::new();
    let put = Msg::non(PUT, 7)
        .option(option::URI_PATH, b"x")
        .payload(b"p");
    let answer = rig.ask(peer(0), &put);
    assert_eq!(
        (answer.kind, answer.code),
        (Kind::NonConfirmable, Code::CHANGED)
    );
    assert_eq!(answer.token, b"t");
    rig.send(peer(0), &put);
    rig.silent();
    assert_eq!(rig.app.seen.len(), 1);
    assert_eq!(rig.app.seen[0].payload, b"p");
}

#[test]
fn an_answer_that_comes_soon_is_piggybacked() {
    let mut rig = Rig::new();
    rig.answers([None]);
    let put = Msg::con(PUT, 7);
    rig.send(peer(0), &put);
    rig.send(peer(0), &put);
    rig.wait(Duration::from_millis(499));
    rig.silent();
    let ticket = rig.app.seen[0].ticket;
    let respond = |rig: &mut Rig| {
        rig.act(Action::Respond {
            ticket,
            response: Response::new(Code::CHANGED),
        });
    };
    respond(&mut rig);
    assert_eq!(rig.bytes(), b"\x61\x44\x00\x07t");
    respond(&mut rig);
    rig.wait(Duration::from_secs(100));
    rig.silent();
    rig.send(peer(0), &put);
    assert_eq!(rig.bytes(), b"\x61\x44\x00\x07t");
    assert_eq!(rig.app.seen.len(), 1);
}

#[test]
fn an_answer_that_takes_long_is_a_message_of_its_own() {
    let mut rig = Rig::new();
    rig.answers([None]);
    let put = Msg::con(PUT, 7);
    rig.send(peer(0), &put);
    rig.wait(Duration::from_millis(500));
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x07");
    rig.send(peer(0), &put);
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x07");
    rig.act(Action::Respond {
        ticket: rig.app.seen[0].ticket,
        response: Response::new(Code::CHANGED),
    });
    let answer = rig.next();
    assert_eq!(
        (answer.kind, answer.code),
        (Kind::Confirmable, Code::CHANGED)
    );
    assert_eq!(answer.token, b"t");
    // Sent again after 2 to 3 seconds, then after twice as long each.
    let begun = rig.now;
    let mut times = Vec::new();
    while times.len() < 4 {
        rig.wait(Duration::from_millis(100));
        while let Some((_, bytes)) = rig.sent.0.pop_front() {
            assert_eq!(Msg::decode(&bytes), answer);
            times.push((rig.now - begun).as_secs_f32());
        }
    }
    let first = times[0];
    assert!((2.0..=3.1).contains(&first), "{times:?}");
    for (time, factor) in times.iter().zip([1.0, 3.0, 7.0, 15.0]) {
        assert!((time - first * factor).abs() < 0.1 * factor, "{times:?}");
    }
    rig.wait(Duration::from_secs(200));
    rig.silent();
    assert_eq!(rig.machine.counters().retransmitted, 4);
    assert_eq!(rig.machine.counters().unanswered, 1);
    assert_eq!(rig.machine.timers.len(), 0);
}

#[test]
fn separate_answers_wait_for_each_other() {
    let mut rig = Rig::new();
    rig.answers([None, None]);
    rig.send(peer(0), &Msg::con(PUT, 1).token(b"1"));
    rig.send(peer(0), &Msg::con(PUT, 2).token(b"2"));
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x01");
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x02");
    for at in 0..2 {
        rig.act(Action::Respond {
            ticket: rig.app.seen[at].ticket,
            response: Response::new(Code::CHANGED),
        });
    }
    let first = rig.next();
    rig.silent();
    assert_eq!(first.token, b"1");
    rig.settle(peer(1), Kind::Acknowledgement, first.id);
    rig.settle(peer(0), Kind::Acknowledgement, first.id.wrapping_add(1));
    rig.silent();
    rig.settle(peer(0), Kind::Acknowledgement, first.id);
    let second = rig.next();
    assert_eq!(second.token, b"2");
    assert_ne!(second.id, first.id);
    rig.settle(peer(0), Kind::Reset, second.id);
    rig.wait(Duration::from_secs(100));
    rig.silent();
}

#[test]
fn options_that_are_not_obeyed() {
    let mut rig = Rig::new();
    let get = || Msg::con(GET, 9);
    let refused = [
        (get().option(9, b"x"), Code::BAD_OPTION),
        (get().option(65_001, b"x"), Code::BAD_OPTION),
        (get().option(option::URI_PATH, b"\xff"), Code::BAD_OPTION),
        (
            get().option(option::URI_PATH, &[b'a'; 256]),
            Code::BAD_OPTION,
        ),
        (get().option(option::URI_QUERY, b"c=\xc3"), Code::BAD_OPTION),
        (get().option(option::URI_HOST, b""), Code::BAD_OPTION),
        (get().option(option::IF_MATCH, &[0; 9]), Code::BAD_OPTION),
        (get().option(option::IF_NONE_MATCH, b"x"), Code::BAD_OPTION),
        (get().option(option::ACCEPT, b"123"), Code::BAD_OPTION),
        (
            get()
                .option(option::ACCEPT, b"1")
                .option(option::ACCEPT, b"2"),
            Code::BAD_OPTION,
        ),
        (get().option(option::BLOCK2, b"1234"), Code::BAD_OPTION),
        (get().number(option::OBSERVE, 2), Code::BAD_OPTION),
        (
            get().option(option::PROXY_URI, b"coap://x"),
            Code::NO_PROXYING,
        ),
        (
            get().option(option::PROXY_SCHEME, b"coap"),
            Code::NO_PROXYING,
        ),
        (get().number(option::BLOCK1, 7), Code::BAD_REQUEST),
        (get().number(option::BLOCK2, 7), Code::BAD_REQUEST),
    ];
    for (request, code) in refused {
        let answer = rig.ask(peer(0), &request);
        assert_eq!(
            (answer.kind, answer.code, answer.id),
            (Kind::Acknowledgement, code, 9),
            "{request:?}"
        );
        let non = Msg {
            kind: Kind::NonConfirmable,
            ..request
        };
        rig.send(peer(0), &non);
        rig.silent();
    }
    assert_eq!(rig.app.seen, []);
    assert_eq!(rig.machine.peers.len(), 0);
    // These are passed over.
    let fine = get()
        .option(option::URI_HOST, b"anything")
        .number(option::URI_PORT, 1)
        .option(2050, b"x")
        .option(option::ETAG, &[0; 9])
        .option(option::CONTENT_FORMAT, b"123")
        .number(option::MAX_AGE, 5)
        .number(option::MAX_AGE, 6);
    assert_eq!(rig.ask(peer(0), &fine).code, Code::CHANGED);
    let put = Msg::con(PUT, 10).number(option::OBSERVE, 5);
    assert_eq!(rig.ask(peer(0), &put).code, Code::CHANGED);
    assert_eq!(rig.app.seen[1].observe, None);
    let unknown = Msg::con(Code::new(0, 31), 11);
    rig.ask(peer(0), &unknown);
    assert_eq!(rig.app.seen[2].method, Method::Other);
}

#[test]
fn conditions() {
    let request = |options: &[(u16, &[u8])]| {
        let mut message = Msg::con(PUT, 1);
        for (number, value) in options {
            message = message.option(*number, value);
        }
        message.encode()
    };
    let may = |datagram: &[u8], etag: Option<&[u8]>| {
        crate::request::with_request(datagram, Ticket(1), peer(0), |request| {
            request.may_proceed(etag)
        })
    };
    let none = request(&[(option::IF_NONE_MATCH, b"")]);
    assert!(may(&none, None) && !may(&none, Some(b"x")));
    let any = request(&[(option::IF_MATCH, b"")]);
    assert!(!may(&any, None) && may(&any, Some(b"x")));
    let some = request(&[(option::IF_MATCH, b"x"), (option::IF_MATCH, b"y")]);
    assert!(may(&some, Some(b"y")) && !may(&some, Some(b"z")) && !may(&some, None));
    let free = request(&[]);
    assert!(may(&free, None) && may(&free, Some(b"x")));
}

#[test]
fn representations_that_are_wanted() {
    let mut rig = Rig::new();
    let accept = |id, format| Msg::con(GET, id).number(option::ACCEPT, format);
    rig.answers([content(b"x"), content(b"x")]);
    assert_eq!(rig.ask(peer(0), &accept(1, 42)).code, Code::CONTENT);
    let refused = rig.ask(peer(0), &accept(2, 50));
    assert_eq!(
        (refused.code, refused.payload),
        (Code::NOT_ACCEPTABLE, vec![])
    );
    let tagged = || {
        let mut response = Response::content(42, &b"x"[..]);
        response.etag = ETag::new(b"v1");
        response.max_age = Some(9);
        Some(response)
    };
    rig.answers([tagged(), tagged()]);
    let has = |id, etag: &[u8]| Msg::con(GET, id).option(option::ETAG, etag);
    let valid = rig.ask(peer(0), &has(3, b"v0").option(option::ETAG, b"v1"));
    assert_eq!((valid.code, valid.payload.len()), (Code::VALID, 0));
    assert_eq!(valid.value(option::ETAG), Some(&b"v1"[..]));
    assert_eq!(valid.get(option::MAX_AGE), Some(9));
    assert_eq!(valid.get(option::CONTENT_FORMAT), None);
    assert_eq!(rig.ask(peer(0), &has(4, b"v0")).code, Code::CONTENT);
}

#[test]
fn answers_that_nobody_wants() {
    let mut rig = Rig::new();
    let put = |message: Msg, bits| message.number(option::NO_RESPONSE, bits);
    rig.send(peer(0), &put(Msg::non(PUT, 1), 2));
    rig.silent();
    rig.send(peer(0), &put(Msg::con(PUT, 2), 26));
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x02");
    rig.send(peer(0), &put(Msg::con(PUT, 2), 26));
    assert_eq!(rig.bytes(), b"\x60\x00\x00\x02");
    assert_eq!(
        rig.ask(peer(0), &put(Msg::non(PUT, 3), 8)).code,
        Code::CHANGED
    );
    rig.answers([Some(Response::new(Code::NOT_FOUND))]);
    rig.send(peer(0), &put(Msg::non(PUT, 4), 8));
    rig.silent();
    assert_eq!(rig.app.seen.len(), 4);
}

#[test]
fn a_request_in_blocks() {
    let mut rig = Rig::new();
    let part = |id: u16, num, more, payload: &[u8]| {
        Msg::con(PUT, id)
            .option(option::URI_PATH, b"x")
            .number(option::BLOCK1, block(num, more, 0))
            .payload(payload)
    };
    let first = part(1, 0, true, &[1; 16]);
    let answer = rig.ask(peer(0), &first);
    assert_eq!(answer.code, Code::CONTINUE);
    assert_eq!(answer.get(option::BLOCK1), Some(block(0, true, 0)));
    // Twice the same message is one block.
    let second = part(2, 1, true, &[2; 16]);
    assert_eq!(rig.ask(peer(0), &second).code, Code::CONTINUE);
    assert_eq!(rig.ask(peer(0), &second).code, Code::CONTINUE);
    // Other endpoints and other resources have blocks of their own.
    let stranger = part(3, 2, false, b"x");
    assert_eq!(rig.ask(peer(1), &stranger).code, Code::ENTITY_INCOMPLETE);
    let other = part(4, 2, false, b"x").option(option::URI_PATH, b"y");
    assert_eq!(rig.ask(peer(0), &other).code, Code::ENTITY_INCOMPLETE);
    let last = rig.ask(peer(0), &part(5, 2, false, &[3; 5]));
    assert_eq!(last.code, Code::CHANGED);
    assert_eq!(last.get(option::BLOCK1), Some(block(2, false, 0)));
    assert_eq!(rig.app.seen.len(), 1);
    let whole = [&[1; 16][..], &[2; 16], &[3; 5]].concat();
    assert_eq!(rig.app.seen[0].payload, whole);
    assert_eq!(rig.machine.partial_bytes, 0);
    // One block alone.
    let alone = rig.ask(peer(0), &part(6, 0, false, b"abc"));
    assert_eq!(alone.get(option::BLOCK1), Some(block(0, false, 0)));
    assert_eq!(rig.app.seen[1].payload, b"abc");
    // Blocks that are not what they say.
    assert_eq!(
        rig.ask(peer(0), &part(7, 0, true, &[0; 15])).code,
        Code::BAD_REQUEST
    );
    assert_eq!(
        rig.ask(peer(0), &part(8, 0, false, &[0; 17])).code,
        Code::BAD_REQUEST
    );
    // What is not gone on with is forgotten.
    rig.ask(peer(0), &part(9, 0, true, &[1; 16]));
    assert_eq!(rig.machine.partial_bytes, 16);
    rig.wait(MAX_TRANSMIT_WAIT * 2);
    assert_eq!(rig.machine.partial_bytes, 0);
    let late = rig.ask(peer(0), &part(10, 1, true, &[1; 16]));
    assert_eq!(late.code, Code::ENTITY_INCOMPLETE);
}

#[test]
fn a_request_that_is_too_large() {
    let mut rig = Rig::new();
    let announced = Msg::con(PUT, 1)
        .number(option::BLOCK1, block(0, true, 6))
        .number(option::SIZE1, 4097)
        .payload(&[0; 1024]);
    let answer = rig.ask(peer(0), &announced);
    assert_eq!(answer.code, Code::ENTITY_TOO_LARGE);
    assert_eq!(answer.get(option::SIZE1), Some(4096));
    assert_eq!(rig.machine.partial_bytes, 0);
    let mut code = Code::CONTINUE;
    for num in 0..5 {
        assert_eq!(code, Code::CONTINUE);
        let part = Msg::con(PUT, 10 + num)
            .number(option::BLOCK1, block(num.into(), true, 6))
            .payload(&[0; 1024]);
        code = rig.ask(peer(0), &part).code;
    }
    assert_eq!(code, Code::ENTITY_TOO_LARGE);
    let at_once = Msg::con(PUT, 20).payload(&[0; 4097]);
    assert_eq!(rig.ask(peer(0), &at_once).code, Code::ENTITY_TOO_LARGE);
    assert_eq!(rig.machine.partial_bytes, 0);
    assert_eq!(rig.app.seen, []);
}

#[test]
fn blocks_of_all_together_are_bounded() {
    let mut rig = Rig::with(Limits {
        max_message: 1 << 20,
        peers: 100_000,
    });
    let part = Msg::con(PUT, 1)
        .number(option::BLOCK1, block(0, true, 6))
        .payload(&[0; 1024]);
    for n in 0..40_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let from = Endpoint::Plain(([10, a, b, c], 1).into());
        assert_eq!(rig.ask(from, &part).code, Code::CONTINUE);
        assert!(rig.machine.partial_bytes <= PARTIAL);
    }
    // The latest are there.
    let next = Msg::con(PUT, 2)
        .number(option::BLOCK1, block(1, false, 6))
        .payload(b"x");
    let [_, a, b, c] = 39_999u32.to_be_bytes();
    let from = Endpoint::Plain(([10, a, b, c], 1).into());
    assert_eq!(rig.ask(from, &next).code, Code::CHANGED);
    let from = Endpoint::Plain(([10, 0, 0, 0], 1).into());
    assert_eq!(rig.ask(from, &next).code, Code::ENTITY_INCOMPLETE);
}

#[test]
fn an_answer_in_blocks_is_one_answer() {
    let mut rig = Rig::new();
    let body: Vec<u8> = (0..2500u32).map(|n| n as u8).collect();
    let get = |id, num, szx| Msg::con(GET, id).number(option::BLOCK2, block(num, false, szx));
    rig.answers([content(&body)]);
    let plain = Msg::con(GET, 1);
    let first = rig.ask(secure(0), &plain);
    assert_eq!(first.code, Code::CONTENT);
    assert_eq!(first.get(option::BLOCK2), Some(block(0, true, 6)));
    assert_eq!(first.get(option::SIZE2), Some(2500));
    let etag = first.value(option::ETAG).unwrap().to_vec();
    let mut whole = first.payload;
    // The resource changes meanwhile, which nobody is asked about.
    for num in 1..3 {
        let next = rig.ask(secure(0), &get(1 + num as u16, num, 6));
        assert_eq!(next.get(option::BLOCK2), Some(block(num, num < 2, 6)));
        assert_eq!(next.value(option::ETAG), Some(&etag[..]));
        assert_eq!(next.get(option::CONTENT_FORMAT), Some(42));
        assert_eq!(next.get(option::SIZE2), None);
        whole.extend(next.payload);
    }
    assert_eq!(whole, body);
    assert_eq!(rig.app.seen.len(), 1);
    // Smaller blocks from the middle, and one behind the end.
    let small = rig.ask(secure(0), &get(9, 100, 0));
    assert_eq!(small.payload, body[1600..1616]);
    assert_eq!(rig.ask(secure(0), &get(10, 3, 6)).code, Code::BAD_REQUEST);
    // The first block is always of what there is now.
    rig.answers([content(b"other, and longer than a block")]);
    let early = rig.ask(secure(0), &get(11, 0, 0));
    assert_eq!(early.payload, b"other, and longe");
    assert_eq!(early.get(option::BLOCK2), Some(block(0, true, 0)));
    assert_ne!(early.value(option::ETAG), Some(&etag[..]));
    assert_eq!(rig.app.seen.len(), 2);
    // Without it a later block is made of what there is.
    rig.wait(MAX_TRANSMIT_WAIT * 2);
    assert_eq!(rig.machine.partial_bytes, 0);
    rig.answers([content(b"other, and longer than a block")]);
    let later = rig.ask(secure(0), &get(12, 1, 0));
    assert_eq!(later.payload, b"r than a block");
    assert_eq!(later.value(option::ETAG), early.value(option::ETAG));
    // A POST is not done again for that.
    let post = Msg::con(Code::POST, 13).number(option::BLOCK2, block(1, false, 0));
    assert_eq!(rig.ask(secure(0), &post).code, Code::ENTITY_INCOMPLETE);
    // What fits says so, when somebody asks in blocks.
    rig.answers([content(b"short"), Some(Response::new(Code::CONTENT))]);
    let short = rig.ask(secure(0), &get(14, 0, 6));
    assert_eq!(short.get(option::BLOCK2), Some(block(0, false, 6)));
    assert_eq!(short.value(option::ETAG), None);
    let empty = rig.ask(secure(0), &get(15, 0, 6));
    assert_eq!(
        (empty.code, empty.get(option::BLOCK2)),
        (Code::CONTENT, None)
    );
    // An error is no block.
    rig.answers([Some(Response::error(Code::NOT_FOUND, "no such thing here"))]);
    let error = rig.ask(secure(0), &get(16, 5, 0).option(option::URI_PATH, b"n"));
    assert_eq!(
        (error.code, error.get(option::BLOCK2)),
        (Code::NOT_FOUND, None)
    );
}

#[test]
fn an_unproven_address_gets_little() {
    let mut rig = Rig::new();
    let body = vec![7; 2000];
    rig.answers([content(&body), content(&body), content(&body)]);
    rig.send(peer(0), &Msg::con(GET, 1).token(b"12345678"));
    let bytes = rig.bytes();
    assert!(bytes.len() <= SMALL, "{}", bytes.len());
    let first = Msg::decode(&bytes);
    assert_eq!(first.get(option::BLOCK2), Some(block(0, true, 2)));
    // A large block at once is not had either: it is a smaller one of the same place.
    let far = Msg::con(GET, 2).number(option::BLOCK2, block(1, false, 6));
    let far = far.option(option::URI_PATH, b"x");
    rig.send(peer(1), &far);
    let bytes = rig.bytes();
    assert!(bytes.len() <= SMALL, "{}", bytes.len());
    assert_eq!(
        Msg::decode(&bytes).get(option::BLOCK2),
        Some(block(16, true, 2))
    );
    // Who asks with more gets more.
    let large = Msg::con(GET, 3).option(option::URI_QUERY, &[b'q'; 250]);
    rig.send(peer(2), &large);
    let bytes = rig.bytes();
    assert!(bytes.len() > 512 && bytes.len() <= 3 * large.encode().len());
    // What only looks like its duplicate gets nothing.
    rig.send(peer(2), &Msg::con(GET, 3));
    rig.silent();
    rig.send(peer(2), &large);
    assert_eq!(rig.bytes(), bytes);
    // All of it can be had so.
    let mut whole = first.payload;
    for num in 1.. {
        let next = Msg::con(GET, 100 + num).number(option::BLOCK2, block(num.into(), false, 2));
        let next = rig.ask(peer(0), &next);
        whole.extend(&next.payload);
        if next.get(option::BLOCK2).unwrap() & 8 == 0 {
            break;
        }
    }
    assert_eq!(whole, body);
}

#[test]
fn an_address_is_not_proven_by_guesses() {
    let mut rig = Rig::new();
    let observation = rig.observe(peer(0), &Msg::con(GET, 1));
    rig.notify(observation, 1, b"x");
    assert_eq!(rig.next().kind, Kind::Confirmable);
    for id in 0..=u16::MAX {
        rig.settle(peer(0), Kind::Acknowledgement, id);
    }
    // One of them was right.
    assert_eq!(rig.app.notified, [(1, Fate::Acknowledged)]);
    rig.answers([content(&[7; 2000])]);
    rig.send(peer(0), &Msg::con(GET, 2));
    assert!(rig.bytes().len() <= SMALL);
}

#[test]
fn nothing_is_kept_of_those_who_are_forgotten() {
    let mut rig = Rig::new();
    let part = Msg::con(PUT, 1)
        .number(option::BLOCK1, block(0, true, 0))
        .payload(&[0; 16]);
    for n in 0..10_000 {
        assert_eq!(rig.ask(peer(n), &part).code, Code::CONTINUE);
    }
    assert_eq!(rig.machine.held().partial, 8 * 16);
    assert!(
        rig.machine.partial.len() < 200,
        "{}",
        rig.machine.partial.len()
    );
    rig.wait(Duration::from_secs(100));
    assert_eq!(rig.machine.held().partial, 0);
    assert!(rig.machine.partial.is_empty());
}

#[test]
fn peers_are_bounded_and_forgotten() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.ask(peer(n), &Msg::con(PUT, 1));
        assert!(rig.machine.peers.len() <= 8);
    }
    // The latest are known, the first not any more.
    rig.ask(peer(99), &Msg::con(PUT, 1));
    assert_eq!(rig.app.seen.len(), 100);
    rig.ask(peer(0), &Msg::con(PUT, 1));
    assert_eq!(rig.app.seen.len(), 101);
    rig.wait(Duration::from_secs(300));
    assert_eq!(rig.machine.peers.len(), 0);
    assert_eq!(rig.machine.deadline(), None);
    assert_eq!(rig.machine.budget.slots, SLOTS);
    rig.ask(peer(99), &Msg::con(PUT, 1));
    assert_eq!(rig.app.seen.len(), 102);
}

#[test]
fn requests_under_way_are_bounded() {
    let mut rig = Rig::new();
    rig.answers(vec![None; PENDING_PER_PEER]);
    for id in 0..PENDING_PER_PEER as u16 {
        rig.send(peer(0), &Msg::con(PUT, id));
    }
    rig.silent();
    let busy = rig.ask(peer(0), &Msg::con(PUT, 1000));
    assert_eq!(busy.code, Code::UNAVAILABLE);
    assert_eq!(busy.get(option::MAX_AGE), Some(1));
    assert_eq!(rig.ask(peer(1), &Msg::con(PUT, 1)).code, Code::CHANGED);
    rig.act(Action::Respond {
        ticket: rig.app.seen[0].ticket,
        response: Response::new(Code::CHANGED),
    });
    assert_eq!(rig.next().code, Code::CHANGED);
    assert_eq!(rig.ask(peer(0), &Msg::con(PUT, 1001)).code, Code::CHANGED);
    assert_eq!(rig.machine.counters().refused, 1);
    // Who is forgotten meanwhile gets no answer.
    for n in 2..40 {
        rig.ask(peer(n), &Msg::con(PUT, 1));
    }
    rig.act(Action::Respond {
        ticket: rig.app.seen[1].ticket,
        response: Response::new(Code::CHANGED),
    });
    rig.silent();
}
