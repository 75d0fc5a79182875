use super::bench::{Bench, bytes, endpoint, get, text};
use crate::codec::Code;
use crate::request::{Action, Fate, Observing};
use std::time::Duration;

#[test]
fn messages_come_as_notifications_and_are_acknowledged_when_the_device_has_them() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&get("/mqtt/a/+?c=1").observe(0)), None);
    assert_eq!(bench.log(), ["subscribe a/+"]);
    bench.nothing();
    bench.suback("a/+", true);
    let response = bench.answer();
    assert_eq!(response.code, Code::CONTENT);
    assert!(response.payload.is_empty());
    assert_eq!(response.observing, Some(Observing::Begun));
    let observation = bench.last;
    bench.message("a/x", "1", 7);
    bench.message("a/y", "2", 0);
    let (to, receipt, response) = bench.notification();
    assert_eq!((to, response.content_format), (observation, Some(42)));
    assert_eq!(response.payload, bytes("1"));
    assert_ne!(receipt, 0);
    let (_, at_qos_0, response) = bench.notification();
    assert_eq!((at_qos_0, text(&response)), (0, "2"));
    // The broker asks again: the device is still being asked.
    bench.message_with("a/x", "1", 7, false, true);
    bench.nothing();
    assert!(bench.log().is_empty());
    bench.notified(to, receipt, Fate::Acknowledged);
    assert_eq!(bench.log(), ["ack 7"]);
}

#[test]
fn a_denied_subscription() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&get("/mqtt/t?c=1").observe(0)), None);
    bench.suback("t", false);
    let response = bench.answer();
    assert_eq!((response.code, response.observing), (Code::FORBIDDEN, None));
    assert_eq!(bench.log(), ["subscribe t"]);
    assert!(bench.app.observations.is_empty());
}

#[test]
fn two_observers_of_a_filter_are_one_subscription() {
    let mut bench = Bench::connected();
    let one = bench.observe("/mqtt/t?c=1", "t");
    let two = bench.observe("/mqtt/t?c=1", "t");
    bench.log();
    bench.message("t", "x", 3);
    let (a, receipt_a, _) = bench.notification();
    let (b, receipt_b, _) = bench.notification();
    assert_eq!((a, b), (one, two));
    bench.nothing();
    bench.notified(a, receipt_a, Fate::Acknowledged);
    assert!(bench.log().is_empty());
    bench.notified(b, receipt_b, Fate::Dropped);
    assert_eq!(bench.log(), ["ack 3"]);
    bench.app.drop_observation(one);
    assert!(bench.log().is_empty());
    bench.app.drop_observation(two);
    assert_eq!(bench.log(), ["unsubscribe t"]);
    // What was on its way is acknowledged, for nobody gets it.
    bench.message("t", "x", 4);
    bench.nothing();
    assert_eq!(bench.log(), ["ack 4"]);
    bench.unsuback("t");
    assert!(bench.log().is_empty());
}

#[test]
fn subscribe_and_unsubscribe_do_not_overtake_each_other() {
    let mut bench = Bench::connected();
    let one = bench.observe("/mqtt/t?c=1", "t");
    bench.log();
    bench.app.drop_observation(one);
    assert_eq!(bench.send(&get("/mqtt/t?c=1").observe(0)), None);
    assert_eq!(bench.log(), ["unsubscribe t"]);
    bench.unsuback("t");
    assert_eq!(bench.log(), ["subscribe t"]);
    bench.suback("t", true);
    assert_eq!(bench.answer().observing, Some(Observing::Begun));
}

#[test]
fn each_observer_gets_a_message_once_however_many_filters_match() {
    let mut bench = Bench::connected();
    let filters = ["a/b", "a/+", "#"];
    let observers: Vec<_> = filters
        .iter()
        .map(|filter| bench.observe(&format!("/mqtt/{filter}?c=1"), filter))
        .collect();
    // The broker sends a copy for each filter; the same message twice are six copies.
    for id in 1..7 {
        bench.message("a/b", "x", id);
    }
    let mut told: Vec<_> = (0..6).map(|_| bench.notification().0).collect();
    bench.nothing();
    told[..3].sort_unstable();
    told[3..].sort_unstable();
    assert_eq!(told, [&observers[..], &observers[..]].concat());
    // One that only one filter matches.
    bench.message("z", "x", 7);
    assert_eq!(bench.notification().0, observers[2]);
    bench.nothing();
}

#[test]
fn a_message_with_fewer_copies_than_filters_does_not_confuse_the_next_one() {
    let mut bench = Bench::connected();
    let shared = bench.observe("/mqtt/$share/g/t?c=1", "$share/g/t");
    let own = bench.observe("/mqtt/t?c=1", "t");
    // The group's copies went to another member.
    for (id, payload) in [(1, "x"), (2, "y")] {
        bench.message("t", payload, id);
        let (to, _, response) = bench.notification();
        assert_eq!((to, text(&response)), (own, payload));
    }
    bench.message("t", "z", 3);
    bench.message("t", "z", 4);
    assert_eq!(bench.notification().0, own);
    assert_eq!(bench.notification().0, shared);
}

#[test]
fn retained_messages_are_for_the_new_observer() {
    let mut bench = Bench::connected();
    let old = bench.observe("/mqtt/t?c=1", "t");
    bench.retained("t", "kept", 1);
    assert_eq!(bench.notification().0, old);
    bench.pass(Duration::from_secs(6));
    let new = bench.observe("/mqtt/t?c=1", "t");
    bench.retained("t", "kept", 2);
    let (to, _, response) = bench.notification();
    assert_eq!((to, text(&response)), (new, "kept"));
    bench.nothing();
}

#[test]
fn observing_ends_by_observe_1() {
    let mut bench = Bench::connected();
    let mine = bench.observe("/mqtt/t?c=1", "t");
    let ask = get("/mqtt/t?c=1").observe(0).from(endpoint(1, 6000));
    assert_eq!(bench.send(&ask), None);
    bench.suback("t", true);
    bench.answer();
    bench.log();
    // Another token: the transport knows of nothing that ends.
    assert_eq!(bench.code(&get("/mqtt/t?c=1").observe(1)), Code::CONTENT);
    let action = bench.action();
    assert!(matches!(action, Some(Action::Forget { observation }) if observation == mine));
    bench.nothing();
    assert!(bench.log().is_empty(), "the other port goes on");
    let ask = get("/mqtt/t?c=1").observe(1).from(endpoint(1, 6000));
    assert_eq!(bench.code(&ask), Code::CONTENT);
    assert_eq!(bench.log(), ["unsubscribe t"]);
    assert_eq!(bench.code(&get("/mqtt/none?c=1").observe(1)), Code::CONTENT);
}

#[test]
fn renewing() {
    let mut bench = Bench::connected();
    let first = bench.observe("/mqtt/t?c=1", "t");
    bench.log();
    let again = get("/mqtt/t?c=1").observe(0).renews(first);
    assert_eq!(bench.send(&again), None);
    // The broker says whether it is still allowed.
    assert_eq!(bench.log(), ["subscribe t"]);
    bench.suback("t", true);
    assert_eq!(bench.answer().observing, Some(Observing::Renewed));
    assert_eq!(bench.app.observations.len(), 1);
    // The same token for something else.
    let other = get("/mqtt/u?c=1").observe(0).renews(first);
    assert_eq!(bench.send(&other), None);
    bench.suback("u", true);
    assert_eq!(bench.answer().observing, Some(Observing::Begun));
    bench.app.drop_observation(first);
    assert_eq!(bench.log(), ["subscribe u", "unsubscribe t"]);
}

#[test]
fn what_is_no_longer_allowed_ends() {
    let mut bench = Bench::connected();
    let first = bench.observe("/mqtt/t?c=1", "t");
    let other = bench.observe("/mqtt/t?c=1", "t");
    let again = get("/mqtt/t?c=1").observe(0).renews(first);
    assert_eq!(bench.send(&again), None);
    bench.suback("t", false);
    assert_eq!(bench.answer().code, Code::FORBIDDEN);
    let action = bench.action();
    assert!(matches!(action, Some(Action::Forget { observation }) if observation == first));
    let (to, _, response) = bench.notification();
    assert_eq!((to, response.code), (other, Code::FORBIDDEN));
    bench.nothing();
    assert!(bench.app.observations.is_empty());
}

#[test]
fn a_session_that_ends_answers_all_who_wait_for_it() {
    let mut bench = Bench::connected();
    let observation = bench.observe("/mqtt/t?c=1", "t");
    assert_eq!(bench.send(&get("/mqtt/u?c=1").observe(0)), None);
    bench.closed(bench.client());
    let mut seen = Vec::new();
    while let Some(action) = bench.action() {
        match action {
            Action::Respond { ticket, response } => seen.push((ticket, response.code)),
            Action::Notify {
                observation,
                response,
                ..
            } => seen.push((observation, response.code)),
            Action::Forget { .. } => panic!("nothing is forgotten"),
        }
    }
    seen.sort_unstable_by_key(|(ticket, _)| *ticket);
    let wanted = [observation, bench.last].map(|ticket| (ticket, Code::UNAVAILABLE));
    assert_eq!(seen, wanted);
    assert!(bench.app.observations.is_empty());
}

#[test]
fn observations_and_what_waits_are_bounded() {
    let mut bench = Bench::connected();
    let answers = (0..300).map(|n| bench.send(&get(&format!("/mqtt/{n}?c=1")).observe(0)));
    assert_eq!(answers.filter(Option::is_none).count(), 256);
    for n in 0..256 {
        bench.suback(&n.to_string(), true);
    }
    for n in 256..1000 {
        bench.app.actions.clear();
        bench.observe(&format!("/mqtt/{n}?c=1"), &n.to_string());
    }
    let more = get("/mqtt/more?c=1").observe(0);
    assert_eq!(bench.code(&more), Code::UNAVAILABLE);
    // So is what the transport has of a broker without a window.
    bench.log();
    bench.app.actions.clear();
    for id in 1..1101 {
        bench.message("999", "x", id);
    }
    assert_eq!(bench.log().len(), 100);
}
