//! The circuit breaker: a server that does not answer is left alone for a while, and nobody waits for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Questions without an answer, one after the other, that open it.
const MOST: u32 = 5;
/// How long it stays open at first, and at most; the server's return is seen within that time.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(1);

/// Counts questions without an answer.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// one question is on its way to find out
    trying: bool,
    why: String,
}

impl Breaker {
    /// Whether the server may be asked.
    ///
    /// # Errors
    /// Why not.
    pub fn ask(&self, now: Instant) -> Result<(), String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut state.open else {
            return Ok(());
        };
        if now < open.until || open.trying {
            return Err(open.why.clone());
        }
        open.trying = true;
        Ok(())
    }

    /// It answered.
    pub fn answered(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
    }

    /// It did not; `true` = from now on nobody asks for a while.
    pub fn failed(&self, now: Instant, why: &str) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures < MOST {
            return false;
        }
        let pause = match &state.open {
            // Those that were under way when it opened say nothing new.
            Some(open) if !open.trying => return true,
            Some(open) => LONGEST.min(2 * open.pause),
            None => FIRST,
        };
        state.open = Some(Open {
            until: now + jittered(pause),
            pause,
            trying: false,
            why: why.to_string(),
        });
        true
    }

    /// The question that was on its way to find out was given up.
    pub fn gave_up(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut state.open {
            open.trying = false;
        }
    }
}

/// Three quarters of it up to all of it, so that many brokers do not come back at one moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // A new state has new keys: as good as dice for this.
    let dice = RandomState::new().hash_one(0) % 256;
    pause.mul_f64(0.75 + dice as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_tries_and_closes() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        for n in 1..=MOST {
            assert!(breaker.ask(now).is_ok());
            assert_eq!(breaker.failed(now, "refused"), n == MOST);
        }
        assert_eq!(breaker.ask(now), Err("refused".into()));
        for _ in 0..10 {
            now += LONGEST;
            assert!(breaker.ask(now).is_ok(), "one finds out");
            assert!(breaker.ask(now).is_err(), "and only one");
            assert!(breaker.failed(now, "timeout"));
            assert_eq!(breaker.ask(now), Err("timeout".into()));
        }
        now += LONGEST;
        assert!(breaker.ask(now).is_ok());
        breaker.gave_up();
        assert!(breaker.ask(now).is_ok(), "another one finds out");
        breaker.answered();
        assert!(breaker.ask(now).is_ok());
        assert!(!breaker.failed(now, "one failure is none"));
        assert!(breaker.ask(now).is_ok());
    }
}
