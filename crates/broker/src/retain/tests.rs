#![allow(clippy::unwrap_used)]

use super::*;
use emqttd_mqtt::QoS;
use std::time::Duration;

const CLOCK: Clock = Clock {
    now: 1_000_000,
    unix: 1_700_000_000_000,
};

fn settings() -> RetainSettings {
    RetainSettings {
        storage: RetainStorage::Ram,
        max_message_num: 0,
        max_payload_size: 0,
        expiry_interval: Duration::ZERO,
    }
}

fn retained(settings: RetainSettings) -> Retained {
    let retained = Retained::new();
    retained.switch_on(settings);
    retained
}

fn message(topic: &str, payload: &str, age: u64, expires_at: u64) -> Arc<Message> {
    let parts = MessageParts {
        topic,
        properties: &[],
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    Arc::new(Message::new(parts, None, CLOCK.unix - age, expires_at))
}

fn put(retained: &Retained, topic: &str, payload: &str) -> Stored {
    put_aged(retained, topic, payload, 0, u64::MAX)
}

fn put_aged(retained: &Retained, topic: &str, payload: &str, age: u64, expires_at: u64) -> Stored {
    let message = message(topic, payload, age, expires_at);
    retained.store(&mut Passing::of(&message), CLOCK, |_| {})
}

/// All that a subscription would be sent, with searches of so many places at a time; `between` runs between
/// two of them.
fn found(retained: &Retained, filter: &str, step: usize, mut between: impl FnMut()) -> Vec<String> {
    let mut search = retained.search(filter);
    let (mut list, mut out) = (VecDeque::new(), VecDeque::new());
    while !matches!(search, Search::Over) {
        retained.find(&mut search, filter, step, &mut list);
        retained.take(&mut list, CLOCK, usize::MAX, &mut out);
        between();
    }
    out.iter()
        .map(|(_, message)| message.topic().to_string())
        .collect()
}

#[test]
fn exactly_the_limit_is_kept_and_what_is_there_may_be_replaced() {
    let retained = retained(RetainSettings {
        max_message_num: 2,
        max_payload_size: 5,
        ..settings()
    });
    // The broker's own do not count.
    assert_eq!(put(&retained, "$SYS/brokers", "n"), Stored::Yes);
    assert_eq!(put(&retained, "a", "12345"), Stored::Yes);
    assert_eq!(put(&retained, "a", "123456"), Stored::TooBig);
    assert_eq!(put(&retained, "b", "1"), Stored::Yes);
    assert_eq!(put(&retained, "c", "1"), Stored::Full);
    assert_eq!(put(&retained, "a", "2"), Stored::Yes);
    assert_eq!(put(&retained, "$SYS/brokers", "m"), Stored::Yes);
    assert_eq!(retained.count(), 3);
    assert_eq!(put(&retained, "a", ""), Stored::Removed);
    assert_eq!(put(&retained, "c", "1"), Stored::Yes);
    assert_eq!(found(&retained, "#", 100, || {}), ["b", "c"]);
    assert_eq!(retained.index.read().sys, 1);
    assert_eq!(put(&retained, "$SYS/brokers", ""), Stored::Removed);
    assert_eq!(retained.index.read().sys, 0);
    assert_eq!(retained.clean(u64::MAX, 100, |_| {}), 2);
    assert_eq!(
        (retained.count(), retained.bytes.load(Ordering::Relaxed)),
        (0, 0)
    );
}

#[test]
fn a_search_finds_the_same_whatever_its_steps_in_the_order_of_publishing() {
    let retained = retained(settings());
    for i in 0..300 {
        put(&retained, &format!("a/{}/b", 299 - i), "x");
        put(&retained, &format!("a/{i}/c"), "x");
    }
    put(&retained, "a/299/b", "later");
    let all: Vec<String> = found(&retained, "a/+/b", usize::MAX, || {});
    assert_eq!(all.len(), 300);
    assert_eq!((&*all[0], &*all[299]), ("a/298/b", "a/299/b"));
    for step in [1, 7, 100] {
        assert_eq!(found(&retained, "a/+/b", step, || {}), all);
    }
    // Names that go meanwhile send the search along the order of all messages; what comes meanwhile is not
    // part of it.
    let mut n = 0;
    let some = found(&retained, "a/+/b", 50, || {
        put(&retained, &format!("a/{n}/c"), "");
        put(&retained, &format!("a/{}/b", 1000 + n), "new");
        n += 1;
    });
    assert_eq!(some, all);
    assert_eq!(found(&retained, "#", 1000, || {}).len(), retained.count());
}

#[test]
fn more_than_are_kept_in_a_list_come_in_order_too() {
    let retained = retained(settings());
    let many = MOST_FOUND + 5000;
    for i in 0..many {
        put(&retained, &format!("m/{}/{i}", i % 100), "x");
    }
    put(&retained, "m/0/0", "replaced");
    let got = found(&retained, "m/#", 8192, || {});
    assert_eq!(got.len(), many);
    assert_eq!((&*got[0], &*got[many - 1]), ("m/1/1", "m/0/0"));
    let numbers = got[..many - 1]
        .iter()
        .map(|t| t.rsplit_once('/').unwrap().1);
    assert!(numbers.map(|n| n.parse::<usize>().unwrap()).eq(1..many));
}

#[test]
fn what_was_replaced_after_it_was_found_is_left_out() {
    let retained = retained(settings());
    put(&retained, "a", "1");
    put(&retained, "b", "1");
    let mut search = retained.search("+");
    let (mut list, mut out) = (VecDeque::new(), VecDeque::new());
    retained.find(&mut search, "+", 100, &mut list);
    put(&retained, "a", "2");
    retained.take(&mut list, CLOCK, 100, &mut out);
    assert_eq!(out.len(), 1);
    assert!(retained.is_current(out[0].0));
    assert_eq!(out[0].1.topic(), "b");
}

#[test]
fn messages_end_by_their_own_time_or_by_their_age_and_those_of_the_broker_never() {
    let retained = retained(RetainSettings {
        expiry_interval: Duration::from_secs(100),
        ..settings()
    });
    put_aged(&retained, "$SYS/brokers", "x", 500_000, u64::MAX);
    put_aged(&retained, "old", "x", 100_000, u64::MAX);
    put_aged(&retained, "own", "x", 0, CLOCK.now + 10);
    // Its own time is what counts.
    put_aged(&retained, "long", "x", 200_000, CLOCK.now + 500_000);
    put_aged(&retained, "young", "x", 50_000, u64::MAX);
    // Not sent from the moment on at which it is over.
    assert_eq!(found(&retained, "#", 100, || {}), ["own", "long", "young"]);
    let at = |now: u64| Clock {
        now: CLOCK.now + now,
        unix: CLOCK.unix + now,
    };
    let sweep = |now| {
        let mut gone = Vec::new();
        while retained.sweep(at(now), 1, |some| {
            gone.extend(some.iter().map(|m| m.topic().to_string()));
        }) {}
        gone
    };
    assert_eq!(sweep(0), [""; 0], "nothing is written of those in memory");
    assert_eq!(retained.count(), 4);
    assert_eq!(retained.due(), CLOCK.now + 10);
    sweep(10);
    assert_eq!((retained.count(), retained.due()), (3, CLOCK.now + 50_000));
    sweep(49_999);
    assert_eq!(retained.count(), 3);
    sweep(50_000);
    assert_eq!((retained.count(), retained.due()), (2, CLOCK.now + 500_000));
    // Another interval counts for what is there.
    put_aged(&retained, "young", "x", 50_000, u64::MAX);
    retained.switch_on(RetainSettings {
        expiry_interval: Duration::from_secs(10),
        ..settings()
    });
    sweep(0);
    assert_eq!(found(&retained, "#", 100, || {}), ["long"]);
    sweep(500_000);
    assert_eq!((retained.count(), retained.due()), (1, u64::MAX));
}

#[test]
fn nothing_is_kept_or_removed_while_it_is_off() {
    let retained = retained(settings());
    put(&retained, "a", "1");
    retained.switch_off();
    assert!(!retained.is_on());
    assert_eq!(put(&retained, "a", ""), Stored::Off);
    assert_eq!(put(&retained, "b", "1"), Stored::Off);
    assert!(!retained.sweep(CLOCK, 10, |_| {}));
    retained.switch_on(settings());
    assert_eq!(found(&retained, "#", 100, || {}), ["a"]);
}

#[test]
fn lines_of_the_log_are_bounded() {
    let retained = Retained::new();
    let said = (0..100).filter(|_| retained.may_say(1)).count();
    assert_eq!(said as u32, LINES);
    assert!(retained.may_say(2));
}
