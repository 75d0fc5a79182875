//! The one way into a plugin: panics stay inside, what takes long is seen, and a plugin that is off is not
//! called.

use crate::clock;
use crate::desk::{self, Site};
use emqttd_plugin_sdk::Severity;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Panics within [`PANIC_WINDOW`] that switch a plugin off.
pub const MOST_PANICS: usize = 5;
/// See [`MOST_PANICS`].
pub const PANIC_WINDOW: Duration = Duration::from_secs(60);
/// A call on an event loop that takes longer is counted as slow.
pub const SLOW: Duration = Duration::from_millis(10);
/// Between two warnings about slow calls of one plugin.
const WARNING_PAUSE: u64 = 10_000;

/// Who is told what becomes of a plugin.
pub(crate) trait Reporter: Send + Sync {
    /// Sets an alarm, or clears it when there is no summary.
    fn alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>);
    /// The plugin has panicked too often and is not called any more: take it out. Must not block.
    fn crashed(&self, guard: &Arc<Guard>);
}

/// A number on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// Counts what goes into one plugin, from its start to its end.
pub(crate) struct Guard {
    /// of the plugin
    pub name: Arc<str>,
    /// tells it from the guards of all other plugins, and of earlier lives of this one
    pub number: u64,
    /// it is not called any more
    closed: AtomicBool,
    /// by number of the thread
    calls: [Stripe; 8],
    panics: AtomicU64,
    slow: AtomicU64,
    timeouts: AtomicU64,
    recent: Mutex<VecDeque<Instant>>,
    /// when the next warning about slow calls may come, and how many were not told
    warn_at: AtomicU64,
    untold: AtomicU64,
    reporter: Arc<dyn Reporter>,
}

/// Figures of a [`Guard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// since the plugin was loaded
    pub calls: u64,
    /// of them ended in a panic
    pub panics: u64,
    /// of them took longer than [`SLOW`] on an event loop
    pub slow: u64,
    /// questions that were not answered in time
    pub timeouts: u64,
}

impl Guard {
    pub fn new(name: &str, reporter: Arc<dyn Reporter>) -> Arc<Guard> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Arc::new(Guard {
            name: name.into(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            closed: AtomicBool::new(false),
            calls: Default::default(),
            panics: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            recent: Mutex::default(),
            warn_at: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            reporter,
        })
    }

    /// Calls the plugin; `None` = it panicked, or it is not to be called.
    #[inline]
    pub fn call<T>(self: &Arc<Self>, site: Site, f: impl FnOnce() -> T) -> Option<T> {
        if self.is_closed() {
            return None;
        }
        self.call_even_closed(site, f)
    }

    /// Calls the plugin although it is closed: for its end.
    pub fn call_even_closed<T>(self: &Arc<Self>, site: Site, f: impl FnOnce() -> T) -> Option<T> {
        let begun = clock::coarse();
        let result = desk::noted(self.number, site, |thread| {
            self.calls[thread % self.calls.len()]
                .0
                .fetch_add(1, Ordering::Relaxed);
            catch_unwind(AssertUnwindSafe(f))
        });
        if site.on_event_loop() {
            let took = clock::coarse().saturating_sub(begun);
            if took > SLOW.as_millis() as u64 {
                self.was_slow(site, took);
            }
        }
        match result {
            Ok(value) => Some(value),
            Err(panic) => {
                self.panicked(site, panic_text(&*panic));
                if !panic.is::<&str>() && !panic.is::<String>() {
                    // Dropping what a stranger has thrown could panic again.
                    std::mem::forget(panic);
                }
                None
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// It is not called any more; `false` when it was closed before.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub fn figures(&self) -> Calls {
        Calls {
            calls: self.calls.iter().map(|n| n.0.load(Ordering::Relaxed)).sum(),
            panics: self.panics.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
        }
    }

    #[cold]
    fn was_slow(&self, site: Site, took: u64) {
        self.slow.fetch_add(1, Ordering::Relaxed);
        let now = clock::coarse();
        let due = self.warn_at.load(Ordering::Relaxed);
        let ours = now >= due
            && self
                .warn_at
                .compare_exchange(
                    due,
                    now + WARNING_PAUSE,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !ours {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let untold = self.untold.swap(0, Ordering::Relaxed);
        let more = match untold {
            0 => String::new(),
            n => format!(" ({n} more since the last warning)"),
        };
        log::warn!(
            "plugin {}: {} took {took} ms on an event loop, where all its clients wait{more}",
            self.name,
            site.name()
        );
    }

    /// An answer did not come in time.
    #[cold]
    pub fn timed_out(&self, site: Site, after: Duration) {
        if self
            .timeouts
            .fetch_add(1, Ordering::Relaxed)
            .is_power_of_two()
        {
            log::warn!(
                "plugin {}: no answer to a question of {} within {after:?}; it is refused",
                self.name,
                site.name()
            );
        }
    }

    /// Code of the plugin has panicked; when that was once too often it is called no more.
    #[cold]
    pub fn panicked(self: &Arc<Self>, site: Site, what: &str) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        log::error!("plugin {}: {} panicked: {what}", self.name, site.name());
        let often = {
            let now = Instant::now();
            let mut recent = self.recent.lock();
            recent.push_back(now);
            while recent
                .front()
                .is_some_and(|at| now.duration_since(*at) > PANIC_WINDOW)
            {
                recent.pop_front();
            }
            recent.len() >= MOST_PANICS
        };
        if often && self.close() {
            self.reporter.crashed(self);
        }
    }

    /// Sets or clears an alarm of the plugin's: `plugin_blocked.<name>` and the like.
    pub fn alarm(&self, kind: &str, severity: Severity, title: &str, summary: Option<&str>) {
        let id = format!("{kind}.{}", self.name);
        self.reporter.alarm(&id, severity, title, summary);
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}
