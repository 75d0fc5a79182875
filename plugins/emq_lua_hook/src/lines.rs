//! How many lines scripts may write to the log.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines that a script may write at once.
const BURST: u32 = 100;
/// After this time it may write one more: 20 a second.
const EACH: Duration = Duration::from_millis(50);
/// Scripts that are remembered; names of scripts that are gone are among them.
const MAX_SCRIPTS: usize = 1000;

/// Lines that each script has written lately.
#[derive(Default)]
pub(crate) struct Lines(Mutex<HashMap<Box<str>, Pace>>);

struct Pace {
    /// lines left, as of `since`
    left: u32,
    since: Instant,
    /// lines left out since the last one that was written
    held: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is written; so many before it were not.
    Write(u64),
    /// It is the first one that is left out.
    Mute,
    /// It is left out, as others before it.
    Drop,
}

impl Lines {
    /// Decides about a line of a script.
    pub fn admit(&self, script: &str, now: Instant) -> Admission {
        let mut scripts = self.0.lock();
        if let Some(pace) = scripts.get_mut(script) {
            return pace.admit(now);
        }
        if scripts.len() >= MAX_SCRIPTS {
            scripts.clear();
        }
        let pace = Pace {
            left: BURST - 1,
            since: now,
            held: 0,
        };
        scripts.insert(script.into(), pace);
        Admission::Write(0)
    }
}

impl Pace {
    fn admit(&mut self, now: Instant) -> Admission {
        let earned = now.saturating_duration_since(self.since).as_millis() / EACH.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= BURST - self.left {
            (self.left, self.since) = (BURST, now);
        } else {
            self.left += earned;
            self.since += EACH * earned;
        }
        if self.left == 0 {
            self.held += 1;
            return if self.held == 1 {
                Admission::Mute
            } else {
                Admission::Drop
            };
        }
        self.left -= 1;
        Admission::Write(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_its_own_pace() {
        let (lines, start) = (Lines::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(lines.admit("a", start), Admission::Write(0));
        }
        assert_eq!(lines.admit("a", start), Admission::Mute);
        assert_eq!(lines.admit("a", start + EACH / 2), Admission::Drop);
        assert_eq!(lines.admit("b", start), Admission::Write(0));
        assert_eq!(lines.admit("a", start + EACH), Admission::Write(2));
        assert_eq!(lines.admit("a", start + EACH), Admission::Mute);
        // in a long time no more than a burst is earned
        let later = start + Duration::from_secs(3600);
        assert_eq!(lines.admit("a", later), Admission::Write(1));
        for _ in 1..BURST {
            assert_eq!(lines.admit("a", later), Admission::Write(0));
        }
        assert_eq!(lines.admit("a", later), Admission::Mute);
    }

    #[test]
    fn a_steady_script_writes_twenty_lines_a_second() {
        let (lines, start) = (Lines::default(), Instant::now());
        let written = (0..10_000_u64)
            .filter(|ms| {
                let now = start + Duration::from_millis(*ms);
                matches!(lines.admit("a", now), Admission::Write(_))
            })
            .count();
        assert_eq!(written, 100 + 199);
    }

    #[test]
    fn names_are_not_remembered_without_end() {
        let (lines, now) = (Lines::default(), Instant::now());
        for n in 0..3 * MAX_SCRIPTS {
            lines.admit(&n.to_string(), now);
        }
        assert!(lines.0.lock().len() <= MAX_SCRIPTS);
    }
}
