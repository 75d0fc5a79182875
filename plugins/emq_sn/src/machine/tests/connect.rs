//! Discovery, CONNECT, the will, keep alive, DISCONNECT.

use super::*;
use crate::world::Kind;

const CONNECT: &str = "09 04 04 01 003c 736e31";
const CONNECT_WITH_WILL: &str = "09 04 0c 01 003c 736e31";

#[test]
fn search_is_answered_and_nothing_is_kept() {
    let mut bench = Bench::new();
    for port in 1..100 {
        assert_eq!(bench.from(port, "03 01 00"), ["030201"]);
    }
    assert_eq!(bench.machine.clients(), 0);
    assert!(bench.machine.by_peer.is_empty() && bench.machine.timers.is_empty());
}

#[test]
fn nothing_counts_before_connect() {
    let mut bench = Bench::new();
    for datagram in [
        "02 16",
        "05 16 736e31",
        "02 18",
        "09 0a 0000 0001 612f62",
        "09 0c 20 0001 0001 6869",
        "09 0c 60 0001 0001 6869",
        "07 12 00 0001 7131",
        "04 10 0001",
        "04 07 00 77",
        "05 00 01 0384",
        "03 05 00",
        "02 ff",
        "",
    ] {
        assert_eq!(bench.say(datagram), [""; 0], "{datagram}");
    }
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.machine.clients(), 0);
    assert_eq!(bench.world.counted, [Count::Malformed, Count::Malformed]);
}

#[test]
fn connect_and_disconnect() {
    let mut bench = Bench::new();
    assert_eq!(bench.say(CONNECT), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
    // Sent again while the broker is asked.
    assert_eq!(bench.say(CONNECT), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.let_in().1, ["030500"]);
    assert_eq!(bench.say("02 16"), ["0217"]);
    assert_eq!(bench.say("02 18"), ["0218"]);
    assert_eq!(bench.asked(), ["1: disconnect"]);
    assert_eq!(bench.machine.clients(), 0);
    assert!(bench.machine.by_peer.is_empty() && bench.machine.by_id.is_empty());
    assert_eq!(bench.machine.next_timer(), None);
    assert_eq!(bench.say("02 16"), [""; 0]);
}

#[test]
fn a_kept_session_is_asked_for_and_one_without_a_name_is_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("09 04 00 01 003c 736e31"), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=false will=-"]);
    assert_eq!(bench.from(2, "06 04 00 01 003c"), [""; 0]);
    assert_eq!(bench.asked(), ["connect  from 2 clean=true will=-"]);
    assert_eq!(bench.let_in().1, ["030500"]);
    assert!(bench.machine.by_id.is_empty());
}

#[test]
fn one_that_is_refused_is_told_congestion() {
    let mut bench = Bench::new();
    bench.say(CONNECT);
    let key = bench.world.connecting.pop().unwrap();
    let unwanted = bench
        .machine
        .connected(bench.now, key, None, &mut bench.world);
    assert_eq!(unwanted, None);
    assert_eq!(bench.sent(), ["030501"]);
    assert_eq!(bench.machine.clients(), 0);
}

#[test]
fn other_protocols_and_names_that_are_no_text_are_not_supported() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("09 04 04 02 003c 736e31"), ["030503"]);
    assert_eq!(bench.say("08 04 04 01 003c c328"), ["030503"]);
    assert_eq!(bench.machine.clients(), 0);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn the_will_is_asked_for() {
    let mut bench = Bench::new();
    assert_eq!(bench.say(CONNECT_WITH_WILL), ["0206"]);
    assert_eq!(bench.say("07 07 30 6f2f7731"), ["0208"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("06 09 676f6e65"), [""; 0]);
    assert_eq!(
        bench.asked(),
        ["connect sn1 from 1 clean=true will=o/w1=gone/1/true"]
    );
    assert_eq!(bench.let_in().1, ["030500"]);
}

#[test]
fn an_empty_will_topic_is_no_will() {
    let mut bench = Bench::new();
    assert_eq!(bench.say(CONNECT_WITH_WILL), ["0206"]);
    assert_eq!(bench.say("02 07"), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
    assert_eq!(bench.let_in().1, ["030500"]);
}

#[test]
fn a_will_topic_that_is_none_is_refused() {
    let mut bench = Bench::new();
    bench.say(CONNECT_WITH_WILL);
    assert_eq!(bench.say("05 07 00 6123"), ["030503"]);
    assert_eq!(bench.machine.clients(), 0);
}

#[test]
fn questions_about_the_will_are_repeated_and_then_given_up() {
    let mut bench = Bench::new();
    bench.say(CONNECT_WITH_WILL);
    assert_eq!(bench.wait(9), [""; 0]);
    assert_eq!(bench.wait(1), ["0206"]);
    assert_eq!(bench.say("04 07 00 77"), ["0208"]);
    // WILLMSGREQ was lost.
    assert_eq!(bench.say("04 07 00 77"), ["0208"]);
    assert_eq!(bench.wait(20), ["0208", "0208"]);
    assert_eq!(bench.wait(10), [""; 0]);
    assert_eq!(bench.machine.clients(), 0);
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn connect_while_the_will_is_asked_for_begins_anew() {
    let mut bench = Bench::new();
    bench.say(CONNECT_WITH_WILL);
    bench.say("04 07 00 77");
    assert_eq!(bench.say(CONNECT_WITH_WILL), ["0206"]);
    assert_eq!(bench.say("02 07"), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
}

/// The broker works on one CONNECT of an address at a time, however many come: the last one is next.
#[test]
fn connect_as_another_waits_for_the_answer_to_the_first() {
    let mut bench = Bench::new();
    bench.say(CONNECT);
    for other in ["09 04 04 01 003c 736e32", "09 04 04 01 003d 736e33"] {
        assert_eq!(bench.say(other), [""; 0]);
        assert_eq!(bench.say(other), [""; 0]);
    }
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
    assert_eq!(bench.unwanted(), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn3 from 1 clean=true will=-"]);
    assert_eq!(bench.let_in().1, ["030500"]);
    assert_eq!(bench.say("02 16"), ["0217"]);
    // With a will, which is asked for then.
    let mut bench = Bench::new();
    bench.say(CONNECT);
    assert_eq!(bench.say("09 04 0c 01 003c 736e32"), [""; 0]);
    assert_eq!(bench.unwanted(), ["0206"]);
    assert_eq!(bench.machine.clients(), 1);
}

#[test]
fn one_that_leaves_before_the_answer_is_let_go_with_it() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.say(CONNECT);
        assert_eq!(bench.say("02 18"), ["0218"]);
    }
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
    assert_eq!(bench.unwanted(), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.machine.clients(), 0);
    bench.machine.check();
    // It comes back before the answer.
    bench.say(CONNECT);
    bench.say("02 18");
    assert_eq!(bench.say(CONNECT), [""; 0]);
    bench.asked();
    assert_eq!(bench.unwanted(), [""; 0]);
    assert_eq!(bench.asked(), ["connect sn1 from 1 clean=true will=-"]);
    assert_eq!(bench.let_in().1, ["030500"]);
}

/// CONNACK, or the last word of the client before it, may be lost: it says that again.
#[test]
fn what_was_connacked_is_connacked_again() {
    let mut bench = Bench::new();
    bench.say(CONNECT_WITH_WILL);
    bench.say("04 07 00 77");
    bench.say("03 09 78");
    // The answer is on its way.
    assert_eq!(bench.say("03 09 78"), [""; 0]);
    assert_eq!(bench.let_in().1, ["030500"]);
    bench.asked();
    assert_eq!(bench.say("03 09 78"), ["030500"]);
    // That is not the will it has connected with.
    assert_eq!(bench.say("03 09 79"), [""; 0]);
    assert_eq!(bench.say("02 07"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    let mut bench = Bench::new();
    bench.say(CONNECT_WITH_WILL);
    bench.say("02 07");
    bench.let_in();
    assert_eq!(bench.say("02 07"), ["030500"]);
    assert_eq!(bench.say("02 09"), [""; 0]);
}

#[test]
fn connect_again_forgets_the_topic_ids() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.say("09 0a 0000 0001 612f62"), ["070b0003000100"]);
    assert_eq!(bench.message(key, "a/b", "x", 0, 0), ["080c000003000078"]);
    assert_eq!(bench.say(CONNECT), ["030500"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("09 0c 20 0003 0002 6869"), ["070d0003000202"]);
    assert_eq!(bench.message(key, "a/b", "x", 0, 0), ["090a00030001612f62"]);
    assert_eq!(bench.say("07 0b 0003 0001 00"), ["080c000003000078"]);
}

#[test]
fn connect_again_with_a_will_asks_for_it() {
    let mut bench = Bench::new();
    bench.client();
    assert_eq!(bench.say(CONNECT_WITH_WILL), ["030500", "0206"]);
    assert_eq!(bench.say("04 07 20 77"), ["0208"]);
    // Whoever goes by the specification waits for CONNACK now, whoever goes by EMQ has it already.
    assert_eq!(bench.say("03 09 78"), ["030500"]);
    assert_eq!(bench.asked(), ["1: will w=x/1/false"]);
    assert_eq!(bench.say(CONNECT_WITH_WILL), ["030500", "0206"]);
    // It does not answer: it keeps what it has, and stays.
    assert_eq!(bench.wait(20), ["0206", "0206"]);
    assert_eq!(bench.wait(15), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("02 16"), ["0217"]);
}

#[test]
fn connect_again_as_another_is_not_supported() {
    for other in ["09 04 04 01 003c 736e32", "09 04 04 02 003d 736e31"] {
        let mut bench = Bench::new();
        bench.client();
        assert_eq!(bench.say(other), ["030503"]);
        assert_eq!(bench.asked(), ["1: abort protocol_error"]);
        assert_eq!(bench.machine.clients(), 0);
        assert_eq!(bench.say("02 16"), [""; 0]);
    }
}

#[test]
fn wills_are_updated_and_deleted() {
    let mut bench = Bench::new();
    bench.client();
    // A payload alone is no will yet.
    assert_eq!(bench.say("05 1c 627965"), ["031d00"]);
    assert_eq!(bench.asked(), ["1: will -"]);
    assert_eq!(bench.say("04 1a 30 77"), ["031b00"]);
    assert_eq!(bench.asked(), ["1: will w=bye/1/true"]);
    assert_eq!(bench.say("03 1c 78"), ["031d00"]);
    assert_eq!(bench.asked(), ["1: will w=x/1/true"]);
    assert_eq!(bench.say("04 1a 00 2b"), ["031b03"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.say("02 1a"), ["031b00"]);
    assert_eq!(bench.asked(), ["1: will -"]);
}

#[test]
fn a_silent_client_is_lost_whoever_else_speaks() {
    let mut bench = Bench::new();
    bench.client();
    bench.client_at(2, "sn2");
    for _ in 0..8 {
        assert_eq!(bench.wait(10), [""; 0]);
        assert_eq!(bench.from(2, "02 16"), ["0217"]);
    }
    assert_eq!(bench.wait(9), [""; 0]);
    assert_eq!(bench.wait(1), ["0218"]);
    assert_eq!(bench.asked(), ["1: abort keepalive_timeout"]);
    assert_eq!(bench.world.counted, [Count::Lost]);
    assert_eq!(bench.from(2, "02 16"), ["0217"]);
}

#[test]
fn whatever_it_says_keeps_a_client_alive() {
    let mut bench = Bench::new();
    bench.client();
    for _ in 0..5 {
        assert_eq!(bench.wait(80), [""; 0]);
        assert_eq!(bench.say("08 0c 00 0001 0000 78"), [""; 0]);
    }
    bench.asked();
    bench.wait(90);
    assert_eq!(bench.asked(), ["1: abort keepalive_timeout"]);
}

#[test]
fn without_a_keep_alive_nobody_is_lost() {
    let mut bench = Bench::new();
    bench.say("09 04 04 01 0000 736e31");
    bench.let_in();
    bench.asked();
    assert_eq!(bench.wait(1_000_000), [""; 0]);
    assert_eq!(bench.say("02 16"), ["0217"]);
}

#[test]
fn one_that_the_broker_ends_is_told() {
    let mut bench = Bench::new();
    let key = bench.client();
    assert_eq!(bench.closed(key), ["0218"]);
    assert_eq!(bench.machine.clients(), 0);
    assert_eq!(bench.closed(key), [""; 0]);
    // What comes late for it is for nobody.
    assert_eq!(bench.message(key, "a/b", "x", 0, 0), [""; 0]);
    let next = bench.client();
    assert_eq!(next.slot, key.slot);
    assert_eq!(bench.answer(key, Kind::Publish, 1, 0), [""; 0]);
    assert_eq!(bench.closed(key), [""; 0]);
    assert_eq!(bench.say("02 16"), ["0217"]);
}

#[test]
fn the_same_client_elsewhere_takes_over() {
    let mut bench = Bench::new();
    let old = bench.client();
    let new = bench.client_at(2, "sn1");
    assert_eq!(bench.closed(old), ["0218"]);
    assert_eq!(bench.machine.by_id.len(), 1);
    assert_eq!(bench.from(2, "02 16"), ["0217"]);
    assert_eq!(bench.from(1, "02 16"), [""; 0]);
    assert_eq!(bench.closed(new), ["0218"]);
    assert!(bench.machine.by_id.is_empty());
}

#[test]
fn all_are_told_of_the_end() {
    let mut bench = Bench::new();
    bench.client();
    bench.client_at(2, "sn2");
    bench.from(3, CONNECT_WITH_WILL);
    bench.sent();
    bench.machine.end(bench.now, &mut bench.world);
    assert_eq!(bench.sent(), ["0218"; 3]);
    assert_eq!(bench.machine.clients(), 0);
    assert!(bench.machine.timers.is_empty());
}

#[test]
fn forwarders_speak_for_many() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("04 fe 00 0a 03 01 00"), ["030201"]);
    assert_eq!(bench.say("04 fe 00 0a 09 04 04 01 003c 736e31"), [""; 0]);
    bench.let_in();
    bench.say("04 fe 00 0b 09 04 04 01 003c 736e32");
    bench.let_in();
    bench.asked();
    assert_eq!(
        bench.say("04 fe 00 0b 09 0a 0000 0001 612f62"),
        ["070b0003000100"]
    );
    let to = |node: u8| Peer {
        address: address(1),
        node: Some([node].into()),
    };
    let datagram = bytes("04 fe 00 0a 02 16");
    bench
        .machine
        .datagram(bench.now, address(1), &datagram, &mut bench.world);
    assert_eq!(bench.world.sent, [(to(0x0a), vec![2, 0x17])]);
    assert_eq!(bench.machine.clients(), 2);
    // What the forwarder says for itself is not for them.
    bench.sent();
    assert_eq!(bench.say("02 16"), [""; 0]);
}
