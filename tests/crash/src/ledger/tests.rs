//! A ledger that finds nothing must be one that can find something.

use super::*;
use crate::client::Got;

const PUBLISHER: Who = 0;
const ALICE: Who = 1;
const BOB: Who = 2;

fn ledger() -> Ledger {
    let names = ["publisher", "alice", "bob"].map(String::from).to_vec();
    let own = |filter: &str| Subscription::new(filter, 2, None);
    let shared = || Subscription::new("$share/one/g/+", 2, Some(0));
    let mut ledger = Ledger::new(
        names,
        vec![
            vec![],
            vec![own("s/#"), own("w/#"), shared()],
            vec![own("s/#"), shared()],
        ],
    );
    ledger.lasting = 1 << ALICE | 1 << BOB;
    for (who, filter) in [(ALICE, "s/#"), (ALICE, "w/#"), (ALICE, "$share/one/g/+")] {
        ledger.set_state(who, filter, State::Active);
    }
    ledger
}

fn send(ledger: &mut Ledger, topic: &str, qos: u8) -> Key {
    ledger.send(PUBLISHER, topic, qos, false, false, Purpose::Traffic)
}

fn got(topic: &str, qos: u8, key: Key) -> Got {
    Got {
        topic: topic.into(),
        qos,
        retain: false,
        what: Some(key),
    }
}

fn settle(ledger: &mut Ledger) {
    ledger.settle(0, |_, _| String::new());
}

fn found(ledger: &Ledger) -> Vec<(Kind, u64)> {
    let count = |kind| (kind, ledger.findings.count(kind));
    Kind::ALL
        .map(count)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect()
}

#[test]
fn what_was_acknowledged_and_owed_must_come() {
    let mut ledger = ledger();
    let came = send(&mut ledger, "s/1", 1);
    let lost = send(&mut ledger, "s/1", 2);
    let open = send(&mut ledger, "s/1", 1);
    ledger.acked(came);
    ledger.acked(lost);
    ledger.received(ALICE, &got("s/1", 1, came));
    assert!(!ledger.settled(0));
    assert!(ledger.settled(1 << ALICE), "nobody else is owed it");
    settle(&mut ledger);
    assert_eq!(found(&ledger), [(Kind::Lost, 1)]);
    assert!(ledger.findings.told()[0].1.contains(&lost.to_string()));
    // It may still be published when its publisher returns.
    ledger.acked(open);
    settle(&mut ledger);
    assert_eq!(found(&ledger), [(Kind::Lost, 2)]);
}

#[test]
fn nothing_is_owed_without_a_suback_or_after_unsubscribe() {
    let mut ledger = ledger();
    let early = send(&mut ledger, "s/1", 1);
    ledger.set_state(BOB, "s/#", State::Unknown);
    let unsure = send(&mut ledger, "s/1", 1);
    for key in [early, unsure] {
        ledger.acked(key);
        ledger.received(ALICE, &got("s/1", 1, key));
    }
    assert!(ledger.settled(0));
    let late = send(&mut ledger, "s/1", 1);
    ledger.acked(late);
    assert!(!ledger.settled(0));
    ledger.set_state(ALICE, "s/#", State::Unknown);
    assert!(ledger.settled(0));
    assert_eq!(ledger.waiting(ALICE), 0);
}

#[test]
fn exactly_once_is_once() {
    let mut ledger = ledger();
    let key = send(&mut ledger, "s/1", 2);
    ledger.received(ALICE, &got("s/1", 2, key));
    assert_eq!(found(&ledger), []);
    ledger.received(ALICE, &got("s/1", 2, key));
    assert_eq!(found(&ledger), [(Kind::Duplicate, 1)]);
    let key = send(&mut ledger, "s/1", 1);
    ledger.received(ALICE, &got("s/1", 1, key));
    ledger.received(ALICE, &got("s/1", 1, key));
    assert_eq!(ledger.counts.duplicated_qos1, 1);
    assert_eq!(found(&ledger), [(Kind::Duplicate, 1)]);
}

#[test]
fn a_group_gets_each_message_and_those_of_qos_2_once() {
    let mut ledger = ledger();
    ledger.set_state(BOB, "$share/one/g/+", State::Active);
    let lost = send(&mut ledger, "g/1", 1);
    let twice = send(&mut ledger, "g/1", 2);
    ledger.acked(lost);
    ledger.acked(twice);
    ledger.received(ALICE, &got("g/1", 2, twice));
    ledger.received(BOB, &got("g/1", 2, twice));
    settle(&mut ledger);
    assert_eq!(found(&ledger), [(Kind::Lost, 1), (Kind::Duplicate, 1)]);
}

#[test]
fn first_receipts_keep_their_order() {
    let mut ledger = ledger();
    let [first, second] = [1, 1].map(|qos| send(&mut ledger, "s/1", qos));
    let other = send(&mut ledger, "s/1", 2);
    for key in [second, first] {
        ledger.received(ALICE, &got("s/1", 1, key));
    }
    ledger.received(ALICE, &got("s/1", 2, other));
    assert_eq!(found(&ledger), [(Kind::Order, 1)]);
}

#[test]
fn what_has_ended_stays_so() {
    let mut ledger = ledger();
    let before = send(&mut ledger, "s/1", 1);
    ledger.acked(before);
    ledger.set_state(ALICE, "s/#", State::Gone);
    ledger.received(ALICE, &got("s/1", 1, before));
    assert_eq!(found(&ledger), [], "it may have been on its way");
    let after = send(&mut ledger, "s/1", 1);
    ledger.received(ALICE, &got("s/1", 1, after));
    assert_eq!(found(&ledger), [(Kind::Revived, 1)]);

    ledger.set_state(BOB, "s/#", State::Active);
    let owed = send(&mut ledger, "s/1", 1);
    ledger.acked(owed);
    ledger.session_ended(BOB, false);
    ledger.set_state(BOB, "s/#", State::Active);
    assert!(ledger.settled(0), "an expired session is owed nothing");
    ledger.received(BOB, &got("s/1", 1, owed));
    assert_eq!(
        found(&ledger),
        [(Kind::ExpiredRevived, 1), (Kind::Revived, 1)]
    );
}

#[test]
fn a_session_that_should_be_there_takes_what_it_was_owed_with_it() {
    let mut ledger = ledger();
    let key = send(&mut ledger, "s/1", 1);
    ledger.acked(key);
    ledger.session_ended(ALICE, true);
    assert_eq!(found(&ledger), [(Kind::Lost, 1)]);
}

#[test]
fn wills_come_or_do_not() {
    let mut ledger = ledger();
    let will = |ledger: &mut Ledger| ledger.send(BOB, "w/2", 1, false, false, Purpose::Will);
    let lost = will(&mut ledger);
    ledger.acked(lost);
    let taken_back = will(&mut ledger);
    ledger.will_taken_back(taken_back);
    settle(&mut ledger);
    ledger.received(ALICE, &got("w/2", 1, taken_back));
    assert_eq!(found(&ledger), [(Kind::WillLost, 1), (Kind::WillWrong, 1)]);
}

#[test]
fn a_retained_message_is_the_last_acknowledged_or_a_later_one() {
    let mut ledger = ledger();
    let retain = |ledger: &mut Ledger, deletes| {
        ledger.send(PUBLISHER, "r/0/0", 1, true, deletes, Purpose::Traffic)
    };
    let old = retain(&mut ledger, false);
    let acked = retain(&mut ledger, false);
    ledger.acked(old);
    ledger.acked(acked);
    let newer = retain(&mut ledger, false);
    let baseline = ledger.baseline();
    let wrong = |ledger: &Ledger, value: Option<Key>| {
        let seen = HashMap::from([("r/0/0".to_owned(), value)]);
        ledger.retained_wrong(&baseline, &seen).len()
    };
    assert_eq!(wrong(&ledger, Some(old)), 1);
    assert_eq!(wrong(&ledger, Some(acked)), 0);
    assert_eq!(wrong(&ledger, Some(newer)), 0);
    assert_eq!(wrong(&ledger, None), 1);
    retain(&mut ledger, true);
    assert_eq!(wrong(&ledger, None), 0, "a deletion may have arrived");
}

#[test]
fn filters_cover_topics() {
    for (filter, topic, covered) in [
        ("s/#", "s/1", true),
        ("s/#", "s", true),
        ("s/+", "s/1", true),
        ("s/+", "s/1/2", false),
        ("s/1", "s/2", false),
        ("$share/one/g/+", "g/7", true),
        ("$share/one/g/+", "s/7", false),
    ] {
        let sub = Subscription::new(filter, 1, None);
        assert_eq!(sub.covers(topic), covered, "{filter} {topic}");
    }
}
