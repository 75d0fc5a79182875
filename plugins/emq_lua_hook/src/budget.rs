//! What is left of a call: instructions and time.
//!
//! The interpreter's count hook spends it, and so does every library function whose work depends on its
//! arguments. Once it is used up every further attempt to spend fails, whatever the script catches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `lua.max_instructions`: instructions of the interpreter, and steps of library functions
    pub instructions: u64,
    /// `lua.max_time`
    pub time: Duration,
    /// `lua.max_memory`: bytes of one interpreter
    pub memory: usize,
}

/// Steps between two looks at the clock.
const CLOCK_STEPS: u64 = 1000;

/// What a script is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Its file is run for the first time: it may log, and change nothing outside.
    Load = 0,
    /// Its file is run again, for the state of one call or of one more interpreter: nothing that it does is
    /// seen outside.
    Rerun = 1,
    /// One of its callbacks is called.
    Call = 2,
}

/// The budget of one interpreter; clones are the same one. Only the thread that has the interpreter uses it.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// name of the script, without `.lua`
    script: Box<str>,
    limits: Limits,
    /// what the times below count from
    epoch: Instant,
    /// steps left
    left: AtomicU64,
    /// steps left at which the clock is looked at next
    look_at: AtomicU64,
    /// microseconds after `epoch`
    deadline: AtomicU64,
    /// the deadline was missed when next to nothing had been done
    late: AtomicBool,
    /// one of the `WITHIN`, `OUT_OF_…`
    state: AtomicU8,
    phase: AtomicU8,
    published: AtomicU32,
}

/// The error of a call that has used its budget up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// of `lua.max_instructions`
    Steps(u64),
    /// of `lua.max_time`
    Time(Duration),
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exhausted::Steps(most) => write!(f, "cut off after lua.max_instructions = {most}"),
            Exhausted::Time(most) => write!(f, "cut off after lua.max_time = {most:?}"),
        }
    }
}

impl std::error::Error for Exhausted {}

const WITHIN: u8 = 0;
const OUT_OF_STEPS: u8 = 1;
const OUT_OF_TIME: u8 = 2;

impl Budget {
    /// For an interpreter of that script.
    pub fn new(script: &str, limits: Limits) -> Budget {
        let budget = Budget(Arc::new(Inner {
            script: script.into(),
            limits,
            epoch: Instant::now(),
            left: AtomicU64::new(0),
            look_at: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            late: AtomicBool::new(false),
            state: AtomicU8::new(WITHIN),
            phase: AtomicU8::new(Phase::Load as u8),
            published: AtomicU32::new(0),
        }));
        budget.begin(Phase::Load, Instant::now());
        budget
    }

    /// A call begins, with all of it.
    pub fn begin(&self, phase: Phase, now: Instant) {
        let Inner { limits, epoch, .. } = &*self.0;
        let deadline = now.duration_since(*epoch).saturating_add(limits.time);
        self.0.deadline.store(micros(deadline), Ordering::Relaxed);
        self.0.left.store(limits.instructions, Ordering::Relaxed);
        let look_at = limits.instructions.saturating_sub(CLOCK_STEPS);
        self.0.look_at.store(look_at, Ordering::Relaxed);
        self.0.late.store(false, Ordering::Relaxed);
        self.0.state.store(WITHIN, Ordering::Relaxed);
        self.0.published.store(0, Ordering::Relaxed);
        self.enter(phase);
    }

    /// The call goes on with something else, on the same budget.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Spends so many steps: one is about what an instruction of the interpreter costs (10 ns).
    ///
    /// # Errors
    /// When the budget is used up, by these or before. The script cannot catch it.
    #[inline]
    pub fn spend(&self, steps: u64) -> mlua::Result<()> {
        let left = self.0.left.load(Ordering::Relaxed);
        if steps <= left && left - steps >= self.0.look_at.load(Ordering::Relaxed) {
            self.0.left.store(left - steps, Ordering::Relaxed);
            return Ok(());
        }
        self.look(left, steps)
    }

    /// As [`Budget::spend`], and looks at the clock at once: for steps that may be long ones.
    ///
    /// # Errors
    /// As [`Budget::spend`].
    pub fn spend_and_look(&self, steps: u64) -> mlua::Result<()> {
        self.look(self.0.left.load(Ordering::Relaxed), steps)
    }

    /// Looks at the clock, and whether there are steps left.
    #[cold]
    fn look(&self, left: u64, steps: u64) -> mlua::Result<()> {
        let Inner { limits, epoch, .. } = &*self.0;
        if self.exhausted() {
            return Err(self.error());
        }
        let out_of = if steps > left {
            OUT_OF_STEPS
        } else if micros(epoch.elapsed()) > self.0.deadline.load(Ordering::Relaxed)
            && self.is_slow(left)
        {
            OUT_OF_TIME
        } else {
            let left = left - steps;
            self.0.left.store(left, Ordering::Relaxed);
            let look_at = left.saturating_sub(CLOCK_STEPS);
            self.0.look_at.store(look_at, Ordering::Relaxed);
            return Ok(());
        };
        debug_assert!(limits.instructions > 0, "checked with the settings");
        self.0.left.store(0, Ordering::Relaxed);
        // Steps left are never as many, so that every later spending comes here.
        self.0.look_at.store(u64::MAX, Ordering::Relaxed);
        self.0.state.store(out_of, Ordering::Relaxed);
        Err(self.error())
    }

    /// Whether it is the script that has taken so long. When it has done next to nothing it may be that the machine
    /// had something else to do; then there is time until the next look.
    fn is_slow(&self, left: u64) -> bool {
        self.0.limits.instructions - left >= CLOCK_STEPS
            || self.0.late.swap(true, Ordering::Relaxed)
    }

    /// Whether it is used up. What was caught of the script's errors is then to be raised again.
    pub fn exhausted(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) != WITHIN
    }

    /// The error of a budget that is used up.
    #[cold]
    pub fn error(&self) -> mlua::Error {
        mlua::Error::external(match self.0.state.load(Ordering::Relaxed) {
            OUT_OF_TIME => Exhausted::Time(self.0.limits.time),
            _ => Exhausted::Steps(self.0.limits.instructions),
        })
    }

    /// What the script is doing.
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => Phase::Load,
            1 => Phase::Rerun,
            _ => Phase::Call,
        }
    }

    /// What a call may use.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Name of the script, without `.lua`.
    pub fn script(&self) -> &str {
        &self.0.script
    }

    /// Counts a message that this call publishes, and says how many they are with it.
    pub fn count_published(&self) -> u32 {
        self.0
            .published
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }
}

/// For tests of the libraries: without a bound of time.
#[cfg(test)]
impl Default for Budget {
    fn default() -> Budget {
        let limits = Limits {
            instructions: 1_000_000,
            time: Duration::from_secs(3600),
            memory: 1 << 24,
        };
        let budget = Budget::new("test", limits);
        budget.enter(Phase::Call);
        budget
    }
}

#[cfg(test)]
impl Budget {
    /// A call begins: it has `steps`.
    pub fn refill(&self, steps: u64) {
        self.begin(Phase::Call, Instant::now());
        self.0.left.store(steps, Ordering::Relaxed);
        self.0.look_at.store(0, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn budget(instructions: u64, time: Duration) -> Budget {
        let limits = Limits {
            instructions,
            time,
            memory: 1 << 20,
        };
        Budget::new("x", limits)
    }

    #[test]
    fn steps_end() {
        let budget = budget(2500, Duration::from_secs(3600));
        budget.spend(999).unwrap();
        budget.spend(1).unwrap();
        budget.spend(1500).unwrap();
        budget.spend(0).unwrap();
        assert!(!budget.exhausted());
        let error = budget.spend(1).unwrap_err().to_string();
        assert!(error.contains("lua.max_instructions = 2500"), "{error}");
        assert!(budget.exhausted());
        assert!(budget.spend(0).is_err(), "for ever");
        budget.begin(Phase::Call, Instant::now());
        assert!(!budget.exhausted());
        budget.spend(2500).unwrap();
        assert!(budget.spend(u64::MAX).is_err());
    }

    #[test]
    fn time_ends() {
        let budget = budget(u64::MAX, Duration::from_millis(5));
        let begun = Instant::now();
        budget.begin(Phase::Call, begun);
        let error = loop {
            if let Err(error) = budget.spend(1) {
                break error.to_string();
            }
            assert!(begun.elapsed() < Duration::from_secs(10));
        };
        assert!(begun.elapsed() >= Duration::from_millis(5));
        assert!(error.contains("lua.max_time = 5ms"), "{error}");
        assert!(budget.spend(0).is_err());
    }

    #[test]
    fn who_was_kept_waiting_is_not_cut_off() {
        let budget = budget(1_000_000, Duration::from_millis(5));
        let long_ago = Instant::now();
        std::thread::sleep(Duration::from_millis(10));
        // Much may be one instruction: the next look ends it.
        budget.begin(Phase::Call, long_ago);
        budget.spend_and_look(100).unwrap();
        assert!(budget.spend_and_look(100).is_err());
        // Each call anew.
        budget.begin(Phase::Call, long_ago);
        budget.spend_and_look(100).unwrap();
        // Who has done something is cut off at once.
        budget.begin(Phase::Call, long_ago);
        budget.spend(CLOCK_STEPS).unwrap();
        assert!(budget.spend_and_look(1).is_err());
    }

    #[test]
    fn messages_are_counted_by_call() {
        let budget = budget(1, Duration::from_secs(1));
        assert_eq!([budget.count_published(), budget.count_published()], [1, 2]);
        budget.begin(Phase::Call, Instant::now());
        assert_eq!(budget.count_published(), 1);
    }
}
