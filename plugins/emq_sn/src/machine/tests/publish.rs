//! REGISTER and PUBLISH of clients.

use super::*;
use crate::world::Kind::Publish;

#[test]
fn names_get_numbers() {
    let mut bench = Bench::new();
    bench.client();
    assert_eq!(bench.say("0b 0a 0000 0001 736e2f7431"), ["070b0003000100"]);
    assert_eq!(bench.say("0b 0a 0000 0002 736e2f7431"), ["070b0003000200"]);
    assert_eq!(bench.say("0b 0a 0000 0003 736e2f7432"), ["070b0004000300"]);
    // A predefined one has its own.
    let nice = text("/predefined/topic/name/nice");
    assert_eq!(
        bench.say(&format!("21 0a 0000 0004 {nice}")),
        ["070b0002000400"]
    );
    // Wildcards, nothing, and what is no text.
    assert_eq!(bench.say("09 0a 0000 0005 612f23"), ["070b0000000503"]);
    assert_eq!(bench.say("07 0a 0000 0006 2b"), ["070b0000000603"]);
    assert_eq!(bench.say("06 0a 0000 0007"), ["070b0000000703"]);
    assert_eq!(bench.say("08 0a 0000 0008 c328"), ["070b0000000803"]);
    assert_eq!(bench.say("08 0a 0000 0009 6100"), ["070b0000000903"]);
}

#[test]
fn qos_0() {
    let mut bench = Bench::new();
    bench.client();
    bench.say("09 0a 0000 0001 612f62");
    assert_eq!(bench.say("09 0c 00 0003 0000 6869"), [""; 0]);
    assert_eq!(bench.asked(), ["1: publish 0 a/b=hi/0/false"]);
    // Retained, and empty.
    assert_eq!(bench.say("07 0c 10 0003 0000"), [""; 0]);
    assert_eq!(bench.asked(), ["1: publish 0 a/b=/0/true"]);
    // An unknown id: there is nothing to answer.
    assert_eq!(bench.say("09 0c 00 0063 0000 6869"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    bench.world.busy = true;
    assert_eq!(bench.say("09 0c 00 0003 0000 6869"), [""; 0]);
    assert_eq!(bench.world.counted, [Count::Busy]);
}

#[test]
fn qos_1() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say("09 0c 20 0001 0005 6869"), [""; 0]);
    assert_eq!(
        bench.asked(),
        ["1: publish 5 /predefined/topic/name/hello=hi/1/false"]
    );
    // Sent again before the broker has answered.
    assert_eq!(bench.say("09 0c a0 0001 0005 6869"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.answer(key, Publish, 5, 0), ["070d0001000500"]);
    assert_eq!(bench.answer(key, Publish, 5, 0), [""; 0]);
    // 0x10: nobody has subscribed, which is fine. 0x87: the ACL.
    bench.say("09 0c 21 0001 0006 6869");
    assert_eq!(bench.answer(key, Publish, 6, 0x10), ["070d0001000600"]);
    bench.say("09 0c 21 0001 0007 6869");
    assert_eq!(bench.answer(key, Publish, 7, 0x87), ["070d0001000703"]);
    bench.asked();
    assert_eq!(bench.say("09 0c 20 0063 0007 6869"), ["070d0063000702"]);
    assert_eq!(bench.say("09 0c 21 0009 0008 6869"), ["070d0009000802"]);
    assert_eq!(bench.say("09 0c 23 0001 0009 6869"), ["070d0001000903"]);
    assert_eq!(bench.asked(), [""; 0]);
    bench.world.busy = true;
    assert_eq!(bench.say("09 0c 20 0001 000a 6869"), ["070d0001000a01"]);
}

#[test]
fn qos_2() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say("09 0c 40 0001 0006 6869"), [""; 0]);
    assert_eq!(
        bench.asked(),
        ["1: publish 6 /predefined/topic/name/hello=hi/2/false"]
    );
    assert_eq!(bench.answer(key, Publish, 6, 0), ["040f0006"]);
    // PUBREC was lost.
    assert_eq!(bench.say("09 0c c0 0001 0006 6869"), ["040f0006"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("04 10 0006"), ["040e0006"]);
    // PUBCOMP was lost.
    assert_eq!(bench.say("04 10 0006"), ["040e0006"]);
    // The number is free for another message.
    assert_eq!(bench.say("09 0c 40 0001 0006 6869"), [""; 0]);
    assert_eq!(bench.asked().len(), 1);
    assert_eq!(bench.answer(key, Publish, 6, 0x87), ["070d0001000603"]);
    assert_eq!(bench.say("09 0c 40 0063 0007 6869"), ["070d0063000702"]);
}

/// A device that has started anew numbers its messages from the beginning: the first is not the one of before.
#[test]
fn a_clean_connect_forgets_what_was_not_released() {
    for (flags, heard) in [("04", [""; 0].to_vec()), ("00", ["040f0001"].to_vec())] {
        let mut bench = Bench::new();
        let key = bench.client();
        bench.say("09 0a 0000 0001 612f62");
        bench.say("08 0c 40 0003 0001 78");
        assert_eq!(bench.answer(key, Publish, 1, 0), ["040f0001"]);
        assert_eq!(
            bench.say(&format!("09 04 {flags} 01 003c 736e31")),
            ["030500"]
        );
        bench.say("09 0a 0000 0001 612f62");
        bench.asked();
        assert_eq!(bench.say("08 0c 40 0003 0001 79"), heard);
        assert_eq!(bench.asked().is_empty(), !heard.is_empty());
    }
}

#[test]
fn short_names() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say("09 0c 22 6162 0005 6869"), [""; 0]);
    assert_eq!(bench.asked(), ["1: publish 5 ab=hi/1/false"]);
    assert_eq!(bench.answer(key, Publish, 5, 0), ["070d6162000500"]);
    assert_eq!(bench.say("09 0c 22 6123 0006 6869"), ["070d6123000603"]);
    assert_eq!(bench.say("09 0c 22 c328 0007 6869"), ["070dc328000703"]);
    assert_eq!(bench.say("09 0c 02 2b62 0000 6869"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn qos_minus_1_when_it_is_off() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("09 0c 61 0001 0000 6869"), [""; 0]);
    bench.client();
    assert_eq!(bench.say("09 0c 61 0001 0000 6869"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn qos_minus_1_when_it_is_on() {
    let mut bench = Bench::with(Rules {
        qos_minus_1: true,
        ..rules()
    });
    assert_eq!(bench.say("09 0c 61 0001 0000 6869"), [""; 0]);
    assert_eq!(bench.say("09 0c 72 6162 0000 6869"), [""; 0]);
    assert_eq!(
        bench.asked(),
        [
            "publish /predefined/topic/name/hello=hi/0/false",
            "publish ab=hi/0/true"
        ]
    );
    // Ids that only a connected client could know, unknown ones, wildcards.
    bench.say("09 0c 60 0001 0000 6869");
    bench.say("09 0c 61 0009 0000 6869");
    bench.say("09 0c 62 6123 0000 6869");
    bench.say("09 0c 63 0001 0000 6869");
    // Other qualities of service need CONNECT.
    bench.say("09 0c 01 0001 0000 6869");
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.machine.clients(), 0);
    bench.client();
    bench.say("09 0a 0000 0001 612f62");
    assert_eq!(bench.say("09 0c 60 0003 0000 6869"), [""; 0]);
    assert_eq!(bench.asked(), ["1: publish 0 a/b=hi/0/false"]);
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut bench = Bench::new();
    let key = bench.client();
    for n in 1..=16 {
        assert_eq!(bench.say(&format!("08 0c 20 0001 {n:04x} 78")), [""; 0]);
    }
    assert_eq!(bench.asked().len(), 16);
    assert_eq!(bench.say("08 0c 20 0001 0011 78"), ["070d0001001101"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.answer(key, Publish, 1, 0), ["070d0001000100"]);
    assert_eq!(bench.say("08 0c 20 0001 0011 78"), [""; 0]);
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn messages_that_are_never_released_are_forgotten_the_oldest_first() {
    let mut bench = Bench::new();
    let key = bench.client();
    for n in 1..=33 {
        bench.say(&format!("08 0c 40 0001 {n:04x} 78"));
        assert_eq!(bench.answer(key, Publish, n, 0), [format!("040f{n:04x}")]);
    }
    bench.asked();
    assert_eq!(bench.say("08 0c c0 0001 0002 78"), ["040f0002"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("08 0c c0 0001 0001 78"), [""; 0]);
    assert_eq!(bench.asked().len(), 1);
}
