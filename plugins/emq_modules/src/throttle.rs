//! Log lines that clients can cause, and so must not be able to flood the log with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Least time between two lines, milliseconds.
const APART: u64 = 1000;

/// Lets one line a second through.
#[derive(Debug)]
pub(crate) struct Throttle {
    started: Instant,
    /// when the next may pass, milliseconds after `started`
    next: AtomicU64,
    /// held back since the last one
    held: AtomicU64,
}

impl Throttle {
    pub(crate) fn new() -> Throttle {
        Throttle {
            started: Instant::now(),
            next: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// Writes a warning, or counts it for the next one.
    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.pass(now) {
            Some(0) => log::warn!("{}", line()),
            Some(held) => log::warn!("{} ({held} more like this)", line()),
            None => {}
        }
    }

    /// Whether a line may pass at `now`, and how many were held back before it.
    fn pass(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        // Of several threads that come at once, one writes.
        let mine = now >= next
            && self
                .next
                .compare_exchange(
                    next,
                    now.saturating_add(APART),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if mine {
            Some(self.held.swap(0, Ordering::Relaxed))
        } else {
            self.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second() {
        let throttle = Throttle::new();
        assert_eq!(throttle.pass(0), Some(0));
        assert_eq!(throttle.pass(1), None);
        assert_eq!(throttle.pass(999), None);
        assert_eq!(throttle.pass(1000), Some(2));
        assert_eq!(throttle.pass(1999), None);
        assert_eq!(throttle.pass(5000), Some(1));
    }
}
