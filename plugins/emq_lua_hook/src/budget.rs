//! What one call of a script may cost.

use mlua::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps that a call has left; the count hook and every library function take from it.
///
/// One step is about one instruction of the interpreter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<State>);

#[derive(Debug, Default)]
struct State {
    left: AtomicU64,
}

/// A call has no step left.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script used up its instructions")
    }
}

impl std::error::Error for Exhausted {}

impl Budget {
    /// A call begins: it has `steps`.
    pub(crate) fn refill(&self, steps: u64) {
        self.0.left.store(steps, Ordering::Relaxed);
    }

    /// Takes `steps`; an error once none is left.
    // Only the thread that holds the interpreter spends, so a load and a store do.
    #[inline]
    pub(crate) fn spend(&self, steps: u64) -> mlua::Result<()> {
        let left = self.0.left.load(Ordering::Relaxed);
        let rest = left.saturating_sub(steps);
        self.0.left.store(rest, Ordering::Relaxed);
        if rest == 0 {
            return Err(Error::external(Exhausted));
        }
        Ok(())
    }

    /// Whether a call has no step left.
    pub(crate) fn exhausted(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) == 0
    }
}
