//! A script that is loaded, with an interpreter for each core.

use crate::budget::Phase;
use crate::engine::ScriptStatus;
use crate::hooks::Hook;
use crate::vm::{Failure, Recipe, Registered, Vm, Work};
use mlua::{IntoLuaMulti, MultiValue};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Calls of one callback in a row that are cut off by a limit before a script is suspended.
const MOST_CUT_OFF: u32 = 10;
/// Errors of a script that are logged at once, and the time after which one more may be.
const LOGGED: (u32, Duration) = (10, Duration::from_secs(1));

thread_local! {
    /// Number of this thread, by which it chooses an interpreter.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
    /// This thread is inside of a script.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A script that is loaded.
pub(crate) struct Script {
    recipe: Recipe,
    registered: Registered,
    /// one a core; with `lua.state = keep` there is one, since they share nothing
    vms: Box<[Place]>,
    /// by callback: one that always hangs is found out beside others that never do
    cut_off_in_row: [AtomicU32; Hook::ALL.len()],
    suspended: AtomicBool,
    errors: Mutex<Errors>,
}

/// An interpreter on cache lines of its own.
#[repr(align(64))]
struct Place(Mutex<Vm>);

/// What has gone wrong with a script.
#[derive(Default)]
struct Errors {
    errors: u64,
    cut_off: u64,
    last: Option<(String, u64)>,
    /// lines that may be logged now, and since when
    lines: Option<(u32, Instant)>,
    /// errors that were not logged
    untold: u64,
}

/// The thread is inside of a script until this is dropped.
struct Inside;

impl Inside {
    fn enter() -> Option<Inside> {
        // Not `then_some`: an `Inside` that is dropped would say that the thread has left.
        (!INSIDE.replace(true)).then(|| Inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

impl Script {
    /// Runs its file in each of `interpreters` interpreters.
    ///
    /// # Errors
    /// What is wrong with it, with file and line.
    pub fn load(recipe: Recipe, interpreters: usize) -> Result<Script, String> {
        // The loader's thread may have come from a hook only by way of a script, which has no such function.
        let _inside = Inside::enter();
        let (first, registered) = recipe.make(Phase::Load)?;
        let mut vms = vec![Place(Mutex::new(first))];
        let count = if recipe.keep { 1 } else { interpreters.max(1) };
        while vms.len() < count {
            let (vm, _) = recipe.make(Phase::Rerun)?;
            vms.push(Place(Mutex::new(vm)));
        }
        Ok(Script {
            recipe,
            registered,
            vms: vms.into_boxed_slice(),
            cut_off_in_row: Hook::ALL.map(|_| AtomicU32::new(0)),
            suspended: AtomicBool::new(false),
            errors: Mutex::default(),
        })
    }

    /// Without `.lua`.
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// What it wants to be called for.
    pub fn registered(&self) -> &Registered {
        &self.registered
    }

    /// Calls a callback, and has `read` look at what it returns; `None` = it failed, or the script is suspended.
    /// `bytes` is the size of the arguments, where they are large. `suspend` is called when this was once too often.
    pub fn call<T>(
        &self,
        hook: Hook,
        bytes: usize,
        args: impl IntoLuaMulti,
        read: impl FnOnce(MultiValue) -> Result<T, String>,
        suspend: impl FnOnce(&Script, &str),
    ) -> Option<T> {
        if self.suspended.load(Ordering::Relaxed) {
            return None;
        }
        // Nothing that a script may call comes back here. If it did, it would wait for the interpreter it is in.
        let _inside = Inside::enter()?;
        let result = match bytes > self.recipe.limits.memory / 4 {
            true => Err(Failure::TooLarge(format!(
                "{}.lua: a payload of {bytes} bytes is too large for lua.max_memory",
                self.name()
            ))),
            false => self.with_vm(|vm| vm.call(&self.recipe, hook, args, read)),
        };
        match result {
            Ok(value) => {
                let cut_off = &self.cut_off_in_row[hook as usize];
                if cut_off.load(Ordering::Relaxed) != 0 {
                    cut_off.store(0, Ordering::Relaxed);
                }
                Some(value)
            }
            Err(failure) => {
                self.failed(hook, &failure, suspend);
                None
            }
        }
    }

    /// With an interpreter that nobody else has: that of this thread if it is free, else another, else waits for it.
    fn with_vm<T>(&self, f: impl FnOnce(&mut Vm) -> T) -> T {
        let first = THREAD.with(|number| number % self.vms.len());
        let (before, after) = self.vms.split_at(first);
        for Place(vm) in after.iter().chain(before) {
            if let Some(mut vm) = vm.try_lock() {
                return f(&mut vm);
            }
        }
        f(&mut self.vms[first].0.lock())
    }

    #[cold]
    fn failed(&self, hook: Hook, failure: &Failure, suspend: impl FnOnce(&Script, &str)) {
        let cut_off = matches!(failure, Failure::CutOff(_));
        let text = failure.text();
        let told = {
            let mut errors = self.errors.lock();
            errors.errors += 1;
            errors.cut_off += u64::from(cut_off);
            errors.last = Some((text.to_string(), unix_seconds()));
            errors.may_be_told(Instant::now())
        };
        if let Some(untold) = told {
            let more = match untold {
                0 => String::new(),
                n => format!(" ({n} more errors of this script since the last line)"),
            };
            log::error!(
                "emq_lua_hook: {} of {}.lua failed: {text}{more}",
                hook.name(),
                self.name()
            );
        }
        let in_row = &self.cut_off_in_row[hook as usize];
        match failure {
            Failure::TooLarge(_) => {}
            Failure::Error(_) => in_row.store(0, Ordering::Relaxed),
            Failure::CutOff(_) => {
                let times = in_row.fetch_add(1, Ordering::Relaxed) + 1;
                if times >= MOST_CUT_OFF && !self.suspended.swap(true, Ordering::Relaxed) {
                    log::error!(
                        "emq_lua_hook: {}.lua was cut off {MOST_CUT_OFF} times in a row in {}: it is suspended \
                         until it is loaded again",
                        self.name(),
                        hook.name()
                    );
                    suspend(self, text);
                }
            }
        }
    }

    /// How it does.
    pub fn status(&self) -> ScriptStatus {
        let work = self.vms.iter().fold(Work::default(), |sum, Place(vm)| {
            let Work { calls, nanos } = vm.lock().work;
            Work {
                calls: sum.calls + calls,
                nanos: sum.nanos + nanos,
            }
        });
        let errors = self.errors.lock();
        ScriptStatus {
            name: self.name().to_string(),
            hooks: self
                .registered
                .hooks
                .iter()
                .map(|hook| hook.name())
                .collect(),
            unknown: self.registered.unknown.clone(),
            calls: work.calls,
            errors: errors.errors,
            cut_off: errors.cut_off,
            last_error: errors.last.clone(),
            suspended: self.suspended.load(Ordering::Relaxed),
            micros: work.nanos / 1000,
        }
    }
}

impl Errors {
    /// Whether this one is logged; if so, how many before were not.
    fn may_be_told(&mut self, now: Instant) -> Option<u64> {
        let (most, pause) = LOGGED;
        let (lines, since) = self.lines.get_or_insert((most, now));
        let more = now.duration_since(*since).as_nanos() / pause.as_nanos();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            *lines = lines.saturating_add(more).min(most);
            *since = now;
        }
        match lines.checked_sub(1) {
            Some(rest) => {
                *lines = rest;
                Some(std::mem::take(&mut self.untold))
            }
            None => {
                self.untold += 1;
                None
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_thread_is_inside_of_one_script() {
        let inside = Inside::enter();
        assert!(inside.is_some());
        for _ in 0..3 {
            assert!(Inside::enter().is_none());
        }
        drop(inside);
        assert!(Inside::enter().is_some());
    }

    #[test]
    fn few_lines_are_logged() {
        let mut errors = Errors::default();
        let begun = Instant::now();
        for _ in 0..LOGGED.0 {
            assert_eq!(errors.may_be_told(begun), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(errors.may_be_told(begun), None);
        }
        let later = begun + LOGGED.1;
        assert_eq!(errors.may_be_told(later), Some(1000));
        assert_eq!(errors.may_be_told(later), None);
        let much_later = later + LOGGED.1 * 1_000_000;
        let told = (0..1000).filter(|_| errors.may_be_told(much_later).is_some());
        assert_eq!(told.count(), LOGGED.0 as usize);
    }
}
