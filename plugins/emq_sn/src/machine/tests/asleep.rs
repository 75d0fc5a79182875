//! Clients that sleep.

use super::*;

const SLEEP_10: &str = "04 18 000a";
const AWAKE: &str = "05 16 736e31";

#[test]
fn what_came_meanwhile_is_sent_when_it_asks() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say(SLEEP_10), ["0218"]);
    assert_eq!(bench.asked(), [""; 0]);
    for (n, payload) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(bench.message(key, "xy", payload, 1, n), [""; 0]);
    }
    assert_eq!(
        bench.say(AWAKE),
        [
            "080c227879000161",
            "080c227879000262",
            "080c227879000363",
            "0217"
        ]
    );
    bench.say("07 0d 7879 0001 00");
    bench.say("07 0d 7879 0003 00");
    assert_eq!(bench.asked(), ["1: ack 1", "1: ack 3"]);
    // It sleeps again: nothing is repeated to it until it asks.
    assert_eq!(bench.wait(10), [""; 0]);
    assert_eq!(bench.message(key, "xy", "d", 0, 0), [""; 0]);
    assert_eq!(
        bench.say(AWAKE),
        ["080ca27879000262", "080c027879000064", "0217"]
    );
    assert_eq!(bench.say(AWAKE), ["080ca27879000262", "0217"]);
    bench.say("07 0d 7879 0002 00");
    assert_eq!(bench.say(AWAKE), ["0217"]);
}

#[test]
fn what_is_on_its_way_comes_before_pingresp() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    let datagram = bytes(AWAKE);
    for _ in 0..2 {
        bench
            .machine
            .datagram(bench.now, address(1), &datagram, &mut bench.world);
    }
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.world.catching_up.len(), 1);
    assert_eq!(bench.message(key, "xy", "a", 0, 0), [""; 0]);
    bench.caught_up();
    assert_eq!(bench.sent(), ["080c027879000061", "0217"]);
    // A broker that does not answer is not waited for.
    bench
        .machine
        .datagram(bench.now, address(1), &datagram, &mut bench.world);
    assert_eq!(bench.wait(1), ["0217"]);
    bench.caught_up();
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn many_messages_are_acknowledged_before_pingresp() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    for n in 1..=20 {
        bench.message(key, "xy", "a", 1, n);
    }
    // The window of the session is full, perhaps: there may be more.
    assert_eq!(bench.say(AWAKE).len(), 20);
    for n in 1..=4 {
        assert_eq!(bench.say(&format!("07 0d 7879 {n:04x} 00")), [""; 0]);
        assert_eq!(bench.message(key, "xy", "b", 1, 20 + n).len(), 1);
    }
    for n in 5..=8 {
        assert_eq!(bench.say(&format!("07 0d 7879 {n:04x} 00")), [""; 0]);
    }
    // As it may be that there are no more, the broker is asked.
    assert_eq!(bench.say("07 0d 7879 0009 00"), ["0217"]);
    // One that does not acknowledge before PINGRESP asks once more.
    bench.message(key, "xy", "c", 1, 30);
    let sent = bench.say(AWAKE);
    assert_eq!(sent.len(), 16);
    assert!(!sent.contains(&"0217".to_string()));
    let sent = bench.say(AWAKE);
    assert_eq!(sent.len(), 17);
    assert_eq!(sent[16], "0217");
}

#[test]
fn only_under_its_own_name() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    bench.message(key, "xy", "a", 0, 0);
    assert_eq!(bench.say("02 16"), [""; 0]);
    assert_eq!(bench.say("05 16 736e32"), [""; 0]);
    assert_eq!(bench.say("06 16 736e3131"), [""; 0]);
    assert_eq!(bench.say(AWAKE), ["080c027879000061", "0217"]);
}

#[test]
fn one_that_does_not_ask_in_time_is_lost() {
    let mut bench = Bench::new();
    bench.client();
    bench.say(SLEEP_10);
    assert_eq!(bench.wait(14), [""; 0]);
    assert_eq!(bench.say(AWAKE), ["0217"]);
    assert_eq!(bench.wait(14), [""; 0]);
    // What others say, and what it says besides, is no PINGREQ.
    assert_eq!(bench.say("02 16"), [""; 0]);
    bench.client_at(2, "sn2");
    assert_eq!(bench.wait(1), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort asleep_timeout"]);
    assert_eq!(bench.say(AWAKE), [""; 0]);
}

#[test]
fn a_long_sleep_has_less_to_spare() {
    let mut bench = Bench::new();
    bench.client();
    bench.say("04 18 03e8");
    assert_eq!(bench.wait(1099), [""; 0]);
    assert_eq!(bench.wait(1), ["0218"]);
}

#[test]
fn the_duration_can_be_changed() {
    let mut bench = Bench::new();
    bench.client();
    bench.say(SLEEP_10);
    bench.wait(9);
    assert_eq!(bench.say("04 18 0014"), ["0218"]);
    assert_eq!(bench.wait(29), [""; 0]);
    assert_eq!(bench.say(SLEEP_10), ["0218"]);
    assert_eq!(bench.wait(15), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort asleep_timeout"]);
}

#[test]
fn disconnect_ends_the_sleep() {
    let mut bench = Bench::new();
    bench.client();
    bench.say(SLEEP_10);
    assert_eq!(bench.say("02 18"), ["0218"]);
    assert_eq!(bench.asked(), ["1: disconnect"]);
    bench.client();
    // No duration at all.
    assert_eq!(bench.say("04 18 0000"), ["0218"]);
    assert_eq!(bench.asked(), ["2: disconnect"]);
}

#[test]
fn connect_ends_the_sleep_and_brings_what_came() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("09 0a 0000 0001 742f31");
    bench.say(SLEEP_10);
    bench.message(key, "t/1", "a", 1, 1);
    bench.message(key, "t/2", "b", 0, 0);
    // With another keep alive, and a will that is not asked for.
    assert_eq!(
        bench.say("09 04 0c 01 000a 736e31"),
        ["030500", "080c200003000161", "090a00040001742f32"]
    );
    assert_eq!(bench.say("07 0b 0004 0001 00"), ["080c000004000062"]);
    assert_eq!(bench.say("02 16"), ["0217"]);
    assert_eq!(bench.message(key, "t/2", "c", 0, 0), ["080c000004000063"]);
    assert_eq!(bench.wait(10), ["080ca00003000161"]);
    bench.wait(5);
    assert_eq!(bench.asked(), ["1: abort keepalive_timeout"]);
}

#[test]
fn connect_is_a_sign_of_life() {
    let mut bench = Bench::new();
    bench.client();
    for _ in 0..3 {
        bench.wait(80);
        assert_eq!(bench.say("09 04 04 01 003c 736e31"), ["030500"]);
    }
    bench.say("04 18 03e8");
    bench.wait(900);
    assert_eq!(bench.say("09 04 04 01 000a 736e31"), ["030500"]);
    assert_eq!(bench.wait(14), [""; 0]);
    assert_eq!(bench.say("02 16"), ["0217"]);
    bench.wait(15);
    assert_eq!(bench.asked(), ["1: abort keepalive_timeout"]);
}

#[test]
fn another_cannot_take_its_address() {
    let mut bench = Bench::new();
    bench.client();
    bench.say(SLEEP_10);
    assert_eq!(bench.say("09 04 04 01 003c 736e32"), ["030503"]);
    assert_eq!(bench.asked(), ["1: abort protocol_error"]);
}

#[test]
fn pingresp_waits_for_regack() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    bench.message(key, "t/1", "a", 0, 0);
    bench.message(key, "t/2", "b", 0, 0);
    assert_eq!(bench.say(AWAKE), ["090a00030001742f31"]);
    assert_eq!(
        bench.say("07 0b 0003 0001 00"),
        ["080c000003000061", "090a00040002742f32"]
    );
    // It asks again: REGISTER was lost.
    assert_eq!(bench.say(AWAKE), ["090a00040002742f32"]);
    assert_eq!(bench.message(key, "xy", "c", 0, 0), [""; 0]);
    assert_eq!(
        bench.say("07 0b 0004 0002 00"),
        ["080c000004000062", "080c027879000063", "0217"]
    );
    assert_eq!(bench.message(key, "xy", "d", 0, 0), [""; 0]);
}

#[test]
fn one_that_falls_silent_while_awake_is_asleep() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say("04 18 0064");
    bench.message(key, "t/1", "a", 0, 0);
    let register = "090a00030001742f31";
    assert_eq!(bench.say(AWAKE), [register]);
    assert_eq!(bench.wait(60), [register; 2]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say(AWAKE), [register]);
    assert_eq!(
        bench.say("07 0b 0003 0001 00"),
        ["080c000003000061", "0217"]
    );
}

#[test]
fn at_qos_0_the_newest_are_kept() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    bench.message(key, "xy", "1", 1, 1);
    for payload in ["a", "b", "c", "d", "e"] {
        bench.message(key, "xy", payload, 0, 0);
    }
    assert_eq!(bench.world.counted, [Count::Dropped, Count::Dropped]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(
        bench.say(AWAKE),
        [
            "080c227879000131",
            "080c027879000063",
            "080c027879000064",
            "080c027879000065",
            "0217"
        ]
    );
}

#[test]
fn none_are_kept_when_that_is_configured() {
    let mut bench = Bench::with(Rules {
        sleep_queue: 0,
        ..rules()
    });
    let key = bench.client();
    // One that listens only has to answer REGISTER.
    bench.message(key, "t/1", "a", 0, 0);
    assert_eq!(bench.say("07 0b 0003 0001 00"), ["080c000003000061"]);
    bench.say(SLEEP_10);
    bench.message(key, "xy", "a", 0, 0);
    assert_eq!(bench.world.counted, [Count::Dropped]);
    assert_eq!(bench.say(AWAKE), ["0217"]);
}

#[test]
fn it_may_wake_up_at_another_port() {
    let mut bench = Bench::new();
    let key = bench.client();
    bench.say(SLEEP_10);
    bench.message(key, "xy", "a", 0, 0);
    assert_eq!(bench.from(2, AWAKE), ["080c027879000061", "0217"]);
    assert_eq!(bench.from(1, AWAKE), ["0217"]);
    assert_eq!(bench.machine.by_peer.len(), 1);
    // Not at another address, and not while it is connected.
    let elsewhere = ([127, 0, 0, 2], 1).into();
    bench
        .machine
        .datagram(bench.now, elsewhere, &bytes(AWAKE), &mut bench.world);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.say("09 04 04 01 003c 736e31"), ["030500"]);
    assert_eq!(bench.from(2, AWAKE), [""; 0]);
    assert_eq!(bench.say("02 16"), ["0217"]);
    assert_eq!(bench.closed(key), ["0218"]);
    assert!(bench.machine.by_peer.is_empty());
}

#[test]
fn it_may_publish_without_waking_up() {
    let mut bench = Bench::new();
    bench.client();
    bench.say(SLEEP_10);
    bench.say("09 0c 00 0001 0000 6869");
    assert_eq!(
        bench.asked(),
        ["1: publish 0 /predefined/topic/name/hello=hi/0/false"]
    );
    bench.wait(15);
    assert_eq!(bench.asked(), ["1: abort asleep_timeout"]);
}
