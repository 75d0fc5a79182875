//! The figures of the last hour and of the last day, for charts. They are in memory, and begin anew with the broker.
//!
//! Time is cut into *slots* of 5 seconds, counted from 1970, so that slots of two looks are the same. A thread looks
//! once in each, at its end:
//!
//! - a *rate* is what was counted since the look before, divided by the seconds between (of a clock that does not
//!   jump);
//! - a *level* is what there is at that moment.
//!
//! A slot in which nobody looked has no values: before the start, while the machine slept, while the thread did not
//! get to run. The first look after such a gap has levels, and no rates. A slot of the day is 120 seconds, 24 of
//! the small ones: the mean of those that have a value. The newest slot of the day is not over yet. When the clock is
//! put back, what was noted for times that now lie ahead is forgotten. So the first values come 5 seconds after
//! [`History::begin`] at the latest, and the first rates after 10.

use crate::clock::unix_millis;
use crate::system::{cpu_time, memory_rss, share};
use emqttd_broker::Broker;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

/// Seconds of a slot.
const STEP: u64 = 5;

/// Slots kept of each length.
const SLOTS: usize = 720;

/// Small slots in a slot of the day.
const IN_ONE: u64 = 24;

/// A look that comes later than this after the one before has no rates.
const LATE: Duration = Duration::from_secs(2 * STEP);

/// Counters of which there are rates.
const RATES: [&str; 5] = [
    "messages/received",
    "messages/sent",
    "messages/dropped",
    "bytes/received",
    "bytes/sent",
];

/// Stats that are levels, and what they are called here.
const LEVELS: [(&str, &str); 4] = [
    ("clients", "clients/count"),
    ("sessions", "sessions/count"),
    ("subscriptions", "subscriptions/count"),
    ("retained", "retained/count"),
];

/// All there is: rates a second, levels, percent of a core, bytes.
const NAMES: [&str; WIDTH] = [
    RATES[0],
    RATES[1],
    RATES[2],
    RATES[3],
    RATES[4],
    LEVELS[0].0,
    LEVELS[1].0,
    LEVELS[2].0,
    LEVELS[3].0,
    "cpu",
    "memory",
];
const WIDTH: usize = RATES.len() + LEVELS.len() + 2;
const CPU: usize = WIDTH - 2;
const MEMORY: usize = WIDTH - 1;

/// Values by name; NaN where there is none, for half the memory of an `Option`.
type Row = [f64; WIDTH];

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 720 slots of 5 seconds
    Hour,
    /// 720 slots of 120 seconds
    Day,
}

/// Values of all slots of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// length of a slot, seconds
    pub step_s: u64,
    /// when the first slot begins, unix seconds
    pub from_s: u64,
    /// what is measured
    pub names: Vec<&'static str>,
    /// for each name a value for each slot; `None` = nobody looked
    pub values: Vec<Vec<Option<f64>>>,
}

/// The figures over time. Nobody looks before [`History::begin`].
pub struct History {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Broker,
    rings: Mutex<Rings>,
    /// the thread is there
    begun: Mutex<bool>,
}

/// What was measured, by slots.
#[derive(Default)]
struct Rings {
    hour: VecDeque<(u64, Row)>,
    day: VecDeque<(u64, Row)>,
    last: Option<Counted>,
}

/// What a rate is measured against.
struct Counted {
    at: Instant,
    slot: u64,
    counters: [u64; RATES.len()],
    cpu: Duration,
}

/// A look.
struct Look {
    at: Instant,
    slot: u64,
    counters: [u64; RATES.len()],
    levels: [u64; LEVELS.len()],
    cpu: Duration,
    memory: u64,
}

impl History {
    pub(crate) fn new(broker: &Broker) -> History {
        History {
            shared: Arc::new(Shared {
                broker: broker.clone(),
                rings: Mutex::default(),
                begun: Mutex::new(false),
            }),
        }
    }

    /// Has a thread look from now on; the first one to ask starts it.
    pub fn begin(&self) {
        let mut begun = self.shared.begun.lock();
        if *begun {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let thread = Builder::new().name("history".into());
        match thread.spawn(move || run(&shared)) {
            Ok(_) => *begun = true,
            Err(error) => log::error!("no figures for charts are kept: {error}"),
        }
    }

    /// The values of a range. Its last slot is that of the newest look, or of now when nobody looked lately.
    pub fn series(&self, range: Range) -> Series {
        self.shared.rings.lock().series(range, unix_millis() / 1000)
    }

    /// The newest rates, a second; none until two looks have been taken, nor when the newest is old.
    pub fn rates(&self) -> Vec<(&'static str, f64)> {
        let rings = self.shared.rings.lock();
        let now = unix_millis() / 1000 / STEP;
        match rings.hour.back() {
            Some((slot, row)) if slot + 2 >= now && !row[0].is_nan() => {
                RATES.into_iter().zip(row.iter().copied()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Looks at the end of each slot, as long as there is somebody to look for.
fn run(shared: &Weak<Shared>) {
    loop {
        let left = STEP * 1000 - unix_millis() % (STEP * 1000);
        // Nobody is kept alive by somebody asleep.
        sleep(Duration::from_millis(left));
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let look = Look::take(&shared.broker);
        shared.rings.lock().add(&look);
    }
}

impl Look {
    fn take(broker: &Broker) -> Look {
        let metrics = broker.all_metrics();
        let stats = broker.stats();
        let of = |list: &[(&'static str, u64)], name: &str| {
            let found = list.iter().find(|(other, _)| *other == name);
            found.map_or(0, |(_, n)| *n)
        };
        Look {
            at: Instant::now(),
            // That which has just ended.
            slot: (unix_millis() / 1000 / STEP).saturating_sub(1),
            counters: RATES.map(|name| of(&metrics, name)),
            levels: LEVELS.map(|(_, name)| of(&stats, name)),
            cpu: cpu_time(),
            memory: memory_rss(),
        }
    }
}

impl Rings {
    fn add(&mut self, look: &Look) {
        // Woken a moment early: the slot is not over.
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.slot == look.slot)
        {
            return;
        }
        let mut row = [f64::NAN; WIDTH];
        let before = self.last.as_ref().filter(|last| {
            last.slot + 1 == look.slot && look.at.saturating_duration_since(last.at) <= LATE
        });
        if let Some(last) = before {
            let passed = look.at.saturating_duration_since(last.at);
            for ((value, now), then) in row.iter_mut().zip(look.counters).zip(last.counters) {
                *value = now.saturating_sub(then) as f64 / passed.as_secs_f64();
            }
            row[CPU] = share(look.cpu.saturating_sub(last.cpu), passed);
        }
        for (value, level) in row[RATES.len()..].iter_mut().zip(look.levels) {
            *value = level as f64;
        }
        row[MEMORY] = look.memory as f64;
        put(&mut self.hour, look.slot, row);
        let group = look.slot / IN_ONE;
        let rows = self.hour.iter().rev();
        let rows = rows.take_while(|(slot, _)| slot / IN_ONE == group);
        let mean = mean(rows.map(|(_, row)| row));
        put(&mut self.day, group, mean);
        self.last = Some(Counted {
            at: look.at,
            slot: look.slot,
            counters: look.counters,
            cpu: look.cpu,
        });
    }

    fn series(&self, range: Range, now_s: u64) -> Series {
        let (ring, step_s) = match range {
            Range::Hour => (&self.hour, STEP),
            Range::Day => (&self.day, STEP * IN_ONE),
        };
        let newest = ring.back().map_or(0, |(slot, _)| *slot);
        // The present slot of the day has values, that of the hour has none yet.
        let present = (now_s / step_s).saturating_sub(u64::from(range == Range::Hour));
        // The look at the slot that has just ended may be about to be taken.
        let last = match newest + 1 >= present {
            true => newest,
            false => present,
        };
        let first = (last + 1).saturating_sub(SLOTS as u64);
        let mut values = vec![vec![None; SLOTS]; WIDTH];
        for (slot, row) in ring.iter().filter(|(slot, _)| *slot >= first) {
            let at = usize::try_from(slot - first).unwrap_or(SLOTS);
            for (column, value) in values.iter_mut().zip(row) {
                if let Some(cell) = column.get_mut(at) {
                    *cell = Some(*value).filter(|value| !value.is_nan());
                }
            }
        }
        Series {
            step_s,
            from_s: first * step_s,
            names: NAMES.into(),
            values,
        }
    }
}

/// Sets the values of a slot; those of it and of later ones go.
fn put(ring: &mut VecDeque<(u64, Row)>, slot: u64, row: Row) {
    while ring.back().is_some_and(|(last, _)| *last >= slot) {
        ring.pop_back();
    }
    if ring.len() >= SLOTS {
        ring.pop_front();
    }
    ring.push_back((slot, row));
}

/// The mean of each value, over the rows that have it.
fn mean<'a>(rows: impl Iterator<Item = &'a Row>) -> Row {
    let mut sums = [(0.0, 0.0); WIDTH];
    for row in rows {
        for ((sum, count), value) in sums.iter_mut().zip(row).filter(|(_, v)| !v.is_nan()) {
            *sum += value;
            *count += 1.0;
        }
    }
    // 0 / 0 is what stands for no value.
    sums.map(|(sum, count)| sum / count)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
