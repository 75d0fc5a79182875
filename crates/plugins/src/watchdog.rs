//! Sees calls into plugins that do not return: an alarm `plugin_blocked.<name>` stands until they do.

use crate::desk::{self, Desk};
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
/// The same of a call on a thread of its own, such as a command.
pub const BLOCKED_ASIDE: Duration = Duration::from_secs(60);
/// Between two looks, while there are plugins.
const PAUSE: Duration = Duration::from_millis(500);

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
            drop(alive);
            thread::park_timeout(PAUSE);
        }
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
            let limit = match current.site.on_event_loop() {
                true => BLOCKED,
                false => BLOCKED_ASIDE,
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
