//! Sees calls into plugins that do not return: an alarm `plugin_blocked.<name>` stands until they do.

use crate::desk::{self, Desk, Site};
use crate::guard::Guard;
use emqttd_plugin_sdk::Severity;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A call on an event loop that lasts longer is blocked.
pub const BLOCKED: Duration = Duration::from_secs(1);
/// The same of a task, which has its thread together with others.
pub const BLOCKED_TASK: Duration = Duration::from_secs(5);
/// The same of a call on a thread of its own, such as a command.
pub const BLOCKED_ASIDE: Duration = Duration::from_secs(60);
/// Between two looks, while plugins are called.
const PAUSE: Duration = Duration::from_millis(500);
/// The same when they are not called for long: so late the first call that blocks may be seen.
const LONG_PAUSE: Duration = Duration::from_secs(8);

type Guards = Mutex<Vec<Weak<Guard>>>;

/// The thread that looks. It ends when this is dropped.
pub(crate) struct Watchdog {
    guards: Arc<Guards>,
    thread: Thread,
}

impl Watchdog {
    pub fn start() -> io::Result<Watchdog> {
        let guards: Arc<Guards> = Arc::default();
        let watched = Arc::downgrade(&guards);
        let thread = thread::Builder::new()
            .name("plugin-watch".into())
            .spawn(move || watch(&watched))?;
        Ok(Watchdog {
            guards,
            thread: thread.thread().clone(),
        })
    }

    /// Calls through this guard are watched from now on.
    pub fn add(&self, guard: &Arc<Guard>) {
        self.guards.lock().push(Arc::downgrade(guard));
        self.thread.unpark();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

fn watch(guards: &Weak<Guards>) {
    let mut looks = Looks::default();
    let mut pace = Pace::default();
    while let Some(guards) = guards.upgrade() {
        let alive: Vec<Arc<Guard>> = {
            let mut guards = guards.lock();
            guards.retain(|guard| guard.strong_count() > 0);
            guards.iter().filter_map(Weak::upgrade).collect()
        };
        drop(guards);
        looks.look(&desk::all(), &alive, Instant::now());
        if alive.is_empty() {
            thread::park();
        } else {
            let calls = alive.iter().map(|guard| guard.figures().calls).sum();
            let pause = pace.pause(alive.len(), calls, looks.0.is_empty());
            drop(alive);
            thread::park_timeout(pause);
        }
    }
}

/// How often is looked: the less, the longer nothing happens.
#[derive(Default)]
struct Pace {
    /// plugins at the last look, and the calls of all of them
    seen: (usize, u64),
    pause: Duration,
}

impl Pace {
    /// Until the next look. `idle` = no call is under way.
    fn pause(&mut self, plugins: usize, calls: u64, idle: bool) -> Duration {
        let before = std::mem::replace(&mut self.seen, (plugins, calls));
        self.pause = match idle && before == self.seen {
            true => (self.pause * 2).min(LONG_PAUSE),
            false => PAUSE,
        };
        self.pause
    }
}

/// A call as it was seen first.
struct Seen {
    serial: u64,
    since: Instant,
    guard: Arc<Guard>,
    /// the alarm is set because of it
    told: bool,
}

/// What was seen at the last look, by number of the desk.
#[derive(Default)]
struct Looks(HashMap<usize, Seen>);

impl Looks {
    fn look(&mut self, desks: &[Arc<Desk>], guards: &[Arc<Guard>], now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for desk in desks {
            let Some(current) = desk.current() else {
                continue;
            };
            let earlier = match before.remove(&desk.number) {
                Some(seen) if seen.serial == current.serial => Some(seen),
                Some(other) => {
                    before.insert(desk.number, other);
                    None
                }
                None => None,
            };
            let fresh = || {
                let guard = guards.iter().find(|guard| guard.number == current.guard)?;
                Some(Seen {
                    serial: current.serial,
                    since: now,
                    guard: Arc::clone(guard),
                    told: false,
                })
            };
            let Some(mut seen) = earlier.or_else(fresh) else {
                continue;
            };
            let limit = match current.site {
                site if site.on_event_loop() => BLOCKED,
                Site::Task => BLOCKED_TASK,
                _ => BLOCKED_ASIDE,
            };
            let lasted = now.duration_since(seen.since);
            if !seen.told && lasted >= limit {
                seen.told = true;
                let summary = format!(
                    "{} of {} has not returned for {} s on thread {}",
                    current.site.name(),
                    seen.guard.name,
                    lasted.as_secs(),
                    desk.thread
                );
                log::error!("plugin {summary}");
                seen.guard.alarm(
                    "plugin_blocked",
                    Severity::Critical,
                    &format!("Plugin {} is blocked", seen.guard.name),
                    Some(&summary),
                );
            }
            self.0.insert(desk.number, seen);
        }
        for seen in before.into_values().filter(|seen| seen.told) {
            self.returned(&seen, now);
        }
    }

    fn returned(&self, seen: &Seen, now: Instant) {
        let name = &seen.guard.name;
        log::warn!(
            "plugin {name}: the call that was blocked has returned, {} s after it was seen",
            now.duration_since(seen.since).as_secs()
        );
        let others = self
            .0
            .values()
            .any(|other| other.told && other.guard.name == *name);
        if !others {
            seen.guard
                .alarm("plugin_blocked", Severity::Critical, "", None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_happens_is_looked_less_and_less() {
        let mut pace = Pace::default();
        let mut pauses = |plugins, calls, idle| pace.pause(plugins, calls, idle).as_millis();
        assert_eq!(pauses(1, 0, true), 500);
        let idle: Vec<_> = (0..6).map(|_| pauses(1, 0, true)).collect();
        assert_eq!(idle, [1000, 2000, 4000, 8000, 8000, 8000]);
        // A call was made; another one is under way; one more plugin is there.
        assert_eq!(pauses(1, 1, true), 500);
        assert_eq!(pauses(1, 1, true), 1000);
        assert_eq!(pauses(1, 1, false), 500);
        assert_eq!(pauses(1, 1, true), 1000);
        assert_eq!(pauses(2, 1, true), 500);
    }
}
