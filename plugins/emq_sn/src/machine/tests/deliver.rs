//! Messages for clients: names of topics, REGISTER, retries, QoS 2.

use super::*;
use crate::world::Kind::Subscribe;

#[test]
fn by_the_name_that_the_client_knows() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("09 12 20 000e 71312f78");
    bench.answer(key, Subscribe, 14, 1);
    bench.asked();
    assert_eq!(
        bench.message(key, "q1/x", "hi", 1, 9),
        ["090c20000300096869"]
    );
    assert_eq!(bench.say("07 0d 0003 0009 00"), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 9"]);
    let nice = "/predefined/topic/name/nice";
    assert_eq!(bench.message(key, nice, "hi", 0, 0), ["090c01000200006869"]);
    assert_eq!(bench.message(key, "xy", "hi", 0, 0), ["090c02787900006869"]);
    assert!(bench.machine.devices.iter().all(|(_, d)| !d.owes()));
}

#[test]
fn retained_and_repeated_messages_say_so() {
    let mut bench = Bench::new();
    let key = bench.client();
    let mut message = Incoming {
        topic: "xy".into(),
        payload: b"hi".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        dup: true,
        id: 9,
        subscriptions: Vec::new(),
        about: None,
    };
    bench
        .machine
        .message(bench.now, key, message.clone(), &mut bench.world);
    assert_eq!(bench.sent(), ["090cb2787900096869"]);
    message.qos = QoS::AtMostOnce;
    message.id = 0;
    bench
        .machine
        .message(bench.now, key, message, &mut bench.world);
    assert_eq!(bench.sent(), ["090c12787900006869"]);
}

#[test]
fn through_a_wildcard_register_comes_first() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.message(key, "t/1", "a", 0, 0), ["090a00030001742f31"]);
    // What follows waits behind it, whatever its topic: the order is kept.
    assert_eq!(bench.message(key, "t/1", "b", 1, 4), [""; 0]);
    assert_eq!(bench.message(key, "xy", "c", 0, 0), [""; 0]);
    assert_eq!(bench.message(key, "t/2", "d", 0, 0), [""; 0]);
    // Not its REGACK.
    assert_eq!(bench.say("07 0b 0003 0009 00"), [""; 0]);
    assert_eq!(bench.say("07 0b 0004 0001 00"), [""; 0]);
    assert_eq!(
        bench.say("07 0b 0003 0001 00"),
        [
            "080c000003000061",
            "080c200003000462",
            "080c027879000063",
            "090a00040002742f32"
        ]
    );
    assert_eq!(bench.say("07 0b 0004 0002 00"), ["080c000004000064"]);
    bench.say("07 0d 0003 0004 00");
    assert_eq!(bench.asked(), ["1: ack 4"]);
    assert_eq!(bench.message(key, "t/1", "e", 0, 0), ["080c000003000065"]);
}

#[test]
fn register_is_repeated_and_then_the_client_is_lost() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "t/1", "a", 1, 4);
    assert_eq!(bench.wait(9), [""; 0]);
    assert_eq!(bench.wait(1), ["090a00030001742f31"]);
    assert_eq!(bench.wait(10), ["090a00030001742f31"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.wait(10), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort retry_timeout"]);
    let (retransmitted, lost) = (Count::Retransmitted, Count::Lost);
    assert_eq!(bench.world.counted, [retransmitted, retransmitted, lost]);
}

#[test]
fn regack_that_refuses() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "t/1", "a", 1, 4);
    bench.message(key, "xy", "b", 0, 0);
    // Congestion: later.
    assert_eq!(bench.say("07 0b 0003 0001 01"), [""; 0]);
    assert_eq!(bench.wait(10), ["090a00030001742f31"]);
    // It does not want that topic: the message is done, the others go on.
    assert_eq!(bench.say("07 0b 0003 0001 03"), ["080c027879000062"]);
    assert_eq!(bench.asked(), ["1: ack 4"]);
}

#[test]
fn a_client_that_wants_to_be_asked_later_is_not_lost() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "t/1", "a", 1, 4);
    for _ in 0..5 {
        assert_eq!(bench.say("07 0b 0003 0001 01"), [""; 0]);
        assert_eq!(bench.wait(10), ["090a00030001742f31"]);
    }
    assert_eq!(bench.say("07 0b 0003 0001 00"), ["080c200003000461"]);
    for _ in 0..5 {
        assert_eq!(bench.say("07 0d 0003 0004 01"), [""; 0]);
        assert_eq!(bench.wait(10), ["080ca00003000461"]);
    }
    // Then it says nothing any more.
    assert_eq!(bench.wait(10), ["080ca00003000461"]);
    assert_eq!(bench.wait(10), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort retry_timeout"]);
}

#[test]
fn a_window_of_large_messages_waits_for_one_that_sleeps() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("09 0a 0000 0001 742f31");
    bench.say("04 18 003c");
    let large = "x".repeat(60_000);
    for id in 0..3 {
        bench.message(key, "t/1", &large, 0, id);
    }
    for id in 1..=32 {
        bench.message(key, "t/1", &large, 1, id);
    }
    // Those at QoS 0 have given way.
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.world.counted, [Count::Dropped; 3]);
    assert_eq!(bench.say("05 16 736e31").len(), 32);
    bench.machine.check();
}

#[test]
fn a_name_that_the_client_registers_meanwhile() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "t/1", "a", 0, 0);
    bench.message(key, "t/2", "b", 0, 0);
    assert_eq!(bench.say("09 0a 0000 0001 742f32"), ["070b0004000100"]);
    assert_eq!(
        bench.say("07 0b 0003 0001 00"),
        ["080c000003000061", "080c000004000062"]
    );
}

#[test]
fn a_topic_id_that_the_client_does_not_know() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("09 0a 0000 0001 742f31");
    assert_eq!(bench.message(key, "t/1", "a", 1, 4), ["080c200003000461"]);
    assert_eq!(bench.say("07 0d 0003 0004 02"), ["090a00030001742f31"]);
    assert_eq!(bench.say("07 0b 0003 0001 00"), ["080ca00003000461"]);
    assert_eq!(bench.asked(), [""; 0]);
    // For ever it is not told.
    assert_eq!(bench.say("07 0d 0003 0004 02"), ["090a00030002742f31"]);
    assert_eq!(bench.say("07 0b 0003 0002 00"), ["080ca00003000461"]);
    assert_eq!(bench.say("07 0d 0003 0004 02"), ["090a00030003742f31"]);
    assert_eq!(bench.asked(), ["1: ack 4"]);
    assert_eq!(bench.say("07 0b 0003 0003 00"), [""; 0]);
    // At QoS 0 the message is gone, but the next one arrives.
    assert_eq!(bench.message(key, "t/1", "a", 0, 0), ["080c000003000061"]);
    assert_eq!(bench.say("07 0d 0003 0000 02"), ["090a00030001742f31"]);
    assert_eq!(bench.message(key, "t/1", "b", 0, 0), [""; 0]);
    assert_eq!(bench.say("07 0b 0003 0001 00"), ["080c000003000062"]);
    // A predefined one cannot be told.
    let nice = "/predefined/topic/name/nice";
    bench.message(key, nice, "a", 1, 5);
    assert_eq!(bench.say("07 0d 0002 0005 02"), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 5"]);
}

#[test]
fn publish_is_repeated_with_dup_and_then_the_client_is_lost() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "xy", "a", 1, 4);
    bench.message(key, "xy", "b", 0, 0);
    assert_eq!(bench.wait(10), ["080ca27879000461"]);
    // Congestion at its end: time and count begin anew.
    bench.wait(5);
    assert_eq!(bench.say("07 0d 7879 0004 01"), [""; 0]);
    assert_eq!(bench.wait(9), [""; 0]);
    assert_eq!(bench.wait(1), ["080ca27879000461"]);
    assert_eq!(bench.wait(10), ["080ca27879000461"]);
    assert_eq!(bench.wait(10), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort retry_timeout"]);
}

#[test]
fn a_message_that_the_client_does_not_want() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "xy", "a", 1, 4);
    assert_eq!(bench.say("07 0d 7879 0004 03"), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 4"]);
    bench.message(key, "xy", "a", 2, 5);
    assert_eq!(bench.say("07 0d 7879 0005 03"), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 5"]);
    // The broker's PUBREL is not for it.
    assert_eq!(bench.released(key, 5), [""; 0]);
    assert_eq!(bench.asked(), ["1: complete 5"]);
    assert_eq!(bench.wait(80), [""; 0]);
}

#[test]
fn qos_2() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.message(key, "xy", "a", 2, 4), ["080c427879000461"]);
    // PUBACK does not end it.
    assert_eq!(bench.say("07 0d 7879 0004 00"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("04 0f 0004"), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 4"]);
    assert_eq!(bench.say("04 0f 0004"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.released(key, 4), ["04100004"]);
    assert_eq!(bench.say("04 0f 0004"), ["04100004"]);
    assert_eq!(bench.wait(10), ["04100004"]);
    assert_eq!(bench.say("04 0e 0004"), [""; 0]);
    assert_eq!(bench.asked(), ["1: complete 4"]);
    assert_eq!(bench.say("04 0e 0004"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    // Of an exchange that this gateway has forgotten.
    assert_eq!(bench.say("04 0f 0007"), ["04100007"]);
    // Of one that began on an earlier connection of the session.
    assert_eq!(bench.released(key, 8), ["04100008"]);
    assert_eq!(bench.say("04 0e 0008"), [""; 0]);
    assert_eq!(bench.asked(), ["1: complete 8"]);
    assert!(bench.machine.devices.iter().all(|(_, d)| !d.owes()));
}

#[test]
fn pubrel_is_repeated_and_then_the_client_is_lost() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "xy", "a", 2, 4);
    bench.say("04 0f 0004");
    bench.released(key, 4);
    assert_eq!(bench.wait(20), ["04100004", "04100004"]);
    assert_eq!(bench.wait(10), ["0218"]);
}

#[test]
fn what_does_not_go_into_a_datagram_is_done() {
    let mut bench = Bench::new();
    let key = bench.client();
    let long = "x".repeat(65_400);
    assert_eq!(bench.message(key, "xy", &long, 1, 4), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 4"]);
    assert_eq!(bench.message(key, &long, "x", 0, 0), [""; 0]);
    assert_eq!(bench.world.counted, [Count::TooLarge, Count::TooLarge]);
    let fits = "x".repeat(65_000);
    let sent = bench.message(key, "xy", &fits, 0, 0);
    assert!(
        sent[0].starts_with("01fdf10c0278790000"),
        "{}",
        &sent[0][..30]
    );
}

#[test]
fn what_waits_behind_register_is_bounded() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.message(key, "t/1", "first", 1, 4);
    for n in 0..150 {
        assert_eq!(bench.message(key, "xy", &n.to_string(), 0, 0), [""; 0]);
    }
    assert_eq!(bench.world.counted, [Count::Dropped; 50]);
    let sent = bench.say("07 0b 0003 0001 00");
    assert_eq!(sent.len(), 101);
    assert_eq!(sent[1], format!("090c0278790000{}", text("50")));
    // Bytes, too; those at QoS 1 and 2 go when there are no others.
    bench.say("07 0d 0003 0004 00");
    bench.world.counted.clear();
    bench.asked();
    let long = "x".repeat(60_000);
    bench.message(key, "t/2", &long, 1, 5);
    for n in 6..80 {
        bench.message(key, "xy", &long, 1, n);
    }
    let dropped = bench.world.counted.len();
    assert!((5..8).contains(&dropped), "{dropped}");
    assert_eq!(bench.asked()[0], "1: ack 5");
}

#[test]
fn many_are_under_way_at_once() {
    let mut bench = Bench::new();
    let key = bench.client();
    for n in 1..=64 {
        assert_eq!(bench.message(key, "xy", "a", 1, n).len(), 1);
    }
    assert_eq!(bench.message(key, "xy", "a", 1, 65), [""; 0]);
    assert_eq!(bench.say("07 0d 7879 0007 00"), ["080c227879004161"]);
}
