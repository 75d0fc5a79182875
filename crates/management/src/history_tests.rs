#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::Site;

/// Looks taken at times of our own.
struct Clock {
    rings: Rings,
    begin: Instant,
    /// seconds by the clock that does not jump
    awake: u64,
}

/// A slot of the day begins here.
const FIRST: u64 = 14_000_000 * IN_ONE;

impl Clock {
    fn new() -> Clock {
        Clock {
            rings: Rings::default(),
            begin: Instant::now(),
            awake: 0,
        }
    }

    /// A look at the end of the slot `FIRST + slot`, `seconds` after the one before.
    fn look(&mut self, slot: u64, seconds: u64, received: u64) {
        self.awake += seconds;
        self.rings.add(&Look {
            at: self.begin + Duration::from_secs(self.awake),
            slot: FIRST + slot,
            counters: [received, 0, 0, 0, 0],
            levels: [slot, 0, 0, 0],
            cpu: Duration::from_millis(self.awake * 500),
            memory: 7,
        });
    }

    /// The last `n` values of a name, seen when the slot `FIRST + slot` has just ended.
    fn tail(&self, range: Range, name: &str, slot: u64, n: usize) -> Vec<Option<f64>> {
        let series = self.rings.series(range, (FIRST + slot + 1) * STEP);
        let column = series.names.iter().position(|other| *other == name);
        let values = &series.values[column.unwrap()];
        assert_eq!(values.len(), SLOTS);
        values[SLOTS - n..].to_vec()
    }
}

#[test]
fn rates_levels_and_what_is_not_known() {
    let mut clock = Clock::new();
    clock.look(0, 0, 100);
    clock.look(1, 5, 150);
    clock.look(2, 4, 150);
    let tail = |name| clock.tail(Range::Hour, name, 2, 4);
    // Nobody knows what came before the first look.
    let rates = [None, None, Some(10.0), Some(0.0)];
    assert_eq!(tail("messages/received"), rates);
    assert_eq!(tail("clients"), [None, Some(0.0), Some(1.0), Some(2.0)]);
    assert_eq!(tail("cpu"), [None, None, Some(50.0), Some(50.0)]);
    assert_eq!(tail("memory")[3], Some(7.0));
    let series = clock.rings.series(Range::Hour, (FIRST + 3) * STEP);
    assert_eq!(series.step_s, 5);
    assert_eq!(series.from_s, (FIRST + 3 - SLOTS as u64) * STEP);
    assert_eq!(series.names.len(), series.values.len());
}

#[test]
fn a_gap_has_no_values_and_no_rate_behind_it() {
    let mut clock = Clock::new();
    clock.look(0, 0, 0);
    clock.look(1, 5, 50);
    // The machine slept: the calendar goes on, the other clock does not.
    clock.look(4, 5, 100);
    clock.look(5, 5, 150);
    // The thread did not get to run, and the calendar was put right meanwhile.
    clock.look(6, 60, 150);
    // Woken early: the slot has been looked at.
    clock.look(6, 0, 1000);
    let rates = clock.tail(Range::Hour, "messages/received", 6, 7);
    let some = Some(10.0);
    assert_eq!(rates, [None, some, None, None, None, some, None]);
    let levels = clock.tail(Range::Hour, "clients", 6, 7);
    let levels: Vec<bool> = levels.iter().map(Option::is_some).collect();
    assert_eq!(levels, [true, true, false, false, true, true, true]);
}

#[test]
fn nobody_looked_lately() {
    let mut clock = Clock::new();
    clock.look(0, 0, 0);
    clock.look(1, 5, 50);
    assert_eq!(
        clock.tail(Range::Hour, "clients", 4, 4),
        [Some(1.0), None, None, None]
    );
    // The look at the slot that has just ended is about to be taken.
    assert_eq!(clock.tail(Range::Hour, "clients", 2, 1), [Some(1.0)]);
    let long_ago = clock.tail(Range::Hour, "clients", 2 * SLOTS as u64, SLOTS);
    assert!(long_ago.iter().all(Option::is_none));
}

#[test]
fn a_clock_that_is_put_back_forgets_what_lies_ahead() {
    let mut clock = Clock::new();
    for slot in 0..6 {
        clock.look(slot, 5, 0);
    }
    clock.look(2, 5, 0);
    clock.look(3, 5, 50);
    let rates = clock.tail(Range::Hour, "messages/received", 3, 4);
    assert_eq!(rates, [None, Some(0.0), None, Some(10.0)]);
    assert_eq!(clock.rings.hour.len(), 4);
}

#[test]
fn the_day_is_the_mean_of_what_is_known() {
    let mut clock = Clock::new();
    // The first slot of the day: looks from its third small slot on.
    for slot in 2..IN_ONE {
        clock.look(slot, 5, slot * 50);
    }
    clock.look(IN_ONE, 5, IN_ONE * 50 + 100);
    let rates = clock.tail(Range::Day, "messages/received", IN_ONE, 3);
    assert_eq!(rates, [None, Some(10.0), Some(30.0)]);
    let clients = clock.tail(Range::Day, "clients", IN_ONE, 2);
    assert_eq!(clients, [Some(12.5), Some(24.0)]);
}

#[test]
fn no_more_than_a_day_is_kept() {
    let mut clock = Clock::new();
    let slots = (SLOTS as u64 + 10) * IN_ONE;
    for slot in 0..slots {
        clock.look(slot, 5, 0);
    }
    assert_eq!(clock.rings.hour.len(), SLOTS);
    assert_eq!(clock.rings.day.len(), SLOTS);
    let day = clock.tail(Range::Day, "clients", slots - 1, SLOTS);
    assert!(day.iter().all(Option::is_some));
}

#[test]
fn a_thread_looks_once_it_is_asked_to() {
    let site = Site::new();
    let history = site.core.history();
    let known = || {
        let series = history.series(Range::Hour);
        let clients = &series.values[RATES.len()];
        clients.iter().any(Option::is_some)
    };
    assert!(!known());
    history.begin();
    history.begin();
    let begun = Instant::now();
    while !known() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(history.rates().len() <= RATES.len());
    // What is counted by that name is there.
    let metrics = site.core.broker.all_metrics();
    let stats = site.core.broker.stats();
    for name in RATES {
        assert!(metrics.iter().any(|(other, _)| *other == name), "{name}");
    }
    for (_, name) in LEVELS {
        assert!(stats.iter().any(|(other, _)| *other == name), "{name}");
    }
}
