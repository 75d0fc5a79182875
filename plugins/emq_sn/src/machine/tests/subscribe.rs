//! SUBSCRIBE and UNSUBSCRIBE.

use super::*;
use crate::world::Kind::{Subscribe, Unsubscribe};

#[test]
fn by_name() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("0b 0a 0000 0001 736e2f7431");
    assert_eq!(bench.say("08 12 20 000e 713132"), [""; 0]);
    assert_eq!(bench.asked(), ["1: subscribe 14 q12 1"]);
    assert!(bench.machine.subscribes(key));
    // Sent again before the broker has answered.
    assert_eq!(bench.say("08 12 a0 000e 713132"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.answer(key, Subscribe, 14, 1), ["0813200004000e00"]);
    assert!(!bench.machine.subscribes(key));
    // The broker grants less than was asked for.
    bench.say("08 12 40 000f 713133");
    assert_eq!(bench.answer(key, Subscribe, 15, 0), ["0813000005000f00"]);
    // A name that has a number keeps it.
    bench.say("0a 12 40 0010 736e2f7431");
    assert_eq!(bench.answer(key, Subscribe, 16, 2), ["0813400003001000"]);
    let hello = text("/predefined/topic/name/hello");
    bench.say(&format!("21 12 00 0011 {hello}"));
    assert_eq!(bench.answer(key, Subscribe, 17, 0), ["0813000001001100"]);
}

#[test]
fn by_wildcard() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("08 12 20 000e 742f23");
    assert_eq!(bench.asked(), ["1: subscribe 14 t/# 1"]);
    assert_eq!(bench.answer(key, Subscribe, 14, 1), ["0813200000000e00"]);
    assert_eq!(bench.say("09 12 20 000f 612f2362"), ["0813200000000f03"]);
    assert_eq!(bench.say("07 12 20 0010 c328"), ["0813200000001003"]);
    assert_eq!(bench.say("07 12 60 0011 7131"), ["0813600000001103"]);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn by_predefined_id() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("07 12 01 000e 0002");
    assert_eq!(
        bench.asked(),
        ["1: subscribe 14 /predefined/topic/name/nice 0"]
    );
    assert_eq!(bench.answer(key, Subscribe, 14, 0), ["0813000002000e00"]);
    assert_eq!(bench.say("07 12 21 000e 004d"), ["081320004d000e02"]);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn by_short_name() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("07 12 22 000e 7879");
    assert_eq!(bench.asked(), ["1: subscribe 14 xy 1"]);
    assert_eq!(bench.answer(key, Subscribe, 14, 1), ["0813200000000e00"]);
}

#[test]
fn what_the_acl_denies() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("08 12 20 000e 713132");
    assert_eq!(bench.answer(key, Subscribe, 14, 0x80), ["0813200000000e80"]);
    // It has taken no number.
    assert_eq!(bench.say("09 0a 0000 0001 612f62"), ["070b0003000100"]);
}

#[test]
fn no_more() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say("07 14 00 0014 7131"), [""; 0]);
    assert_eq!(bench.asked(), ["1: unsubscribe 20 q1"]);
    assert_eq!(bench.answer(key, Unsubscribe, 20, 0), ["04150014"]);
    bench.say("07 14 01 0015 0002");
    bench.say("07 14 02 0016 7879");
    assert_eq!(
        bench.asked(),
        [
            "1: unsubscribe 21 /predefined/topic/name/nice",
            "1: unsubscribe 22 xy"
        ]
    );
    assert_eq!(bench.answer(key, Unsubscribe, 21, 0), ["04150015"]);
    // What is not there is answered all the same.
    assert_eq!(bench.say("07 14 01 0017 004d"), ["04150017"]);
    assert_eq!(bench.say("07 14 00 0018 2361"), ["04150018"]);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn ids_that_are_used_up() {
    let mut bench = Bench::with(Rules {
        predefined: Arc::new(Predefined::new([(0xFFFD, "last/but/one".to_string())])),
        ..rules()
    });
    let key = bench.client();
    assert_eq!(bench.say("09 0a 0000 0001 612f62"), ["070bfffe000100"]);
    assert_eq!(bench.say("09 0a 0000 0002 612f63"), ["070b0000000203"]);
    assert_eq!(bench.say("08 12 20 0003 612f63"), ["0813200000000303"]);
    assert_eq!(bench.asked(), [""; 0]);
    // Through a wildcard it cannot be named.
    assert_eq!(bench.message(key, "a/c", "x", 1, 7), [""; 0]);
    assert_eq!(bench.asked(), ["1: ack 7"]);
    assert_eq!(bench.world.counted, [Count::Dropped]);
    assert_eq!(bench.message(key, "a/b", "x", 0, 0), ["080c00fffe000078"]);
}
