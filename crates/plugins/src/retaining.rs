//! By whose wish messages are retained.
//!
//! Each life of a plugin may have a wish; that of the youngest is in force, and when that life ends, the
//! next one again. So a new form of a plugin that fails leaves the settings of the old one.
//!
//! To put a wish in force may mean to convert all messages, which takes its time. One thread does it, for all
//! wishes that come meanwhile; a life that ends does not wait for it.

use crate::guard::panic_text;
use emqttd_plugin_sdk::RetainSettings;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Tells the broker how to retain.
type Apply = dyn Fn(Option<RetainSettings>) -> Result<(), String> + Send + Sync;

/// In force after a failure: equal to no wish.
const UNKNOWN: u64 = u64::MAX;

/// The wishes of all lives.
pub(crate) struct Retaining {
    apply: Box<Apply>,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// by number of the guard, which grows from life to life
    wishes: BTreeMap<u64, Wish>,
    /// number of the latest change of wishes
    changes: u64,
    /// all changes up to this one have been dealt with
    settled: u64,
    /// number of the wish in force; 0 = none
    in_force: u64,
    /// a thread deals with changes
    busy: bool,
    /// why a wish was not fulfilled, by its number, until who made it is told
    errors: BTreeMap<u64, String>,
}

struct Wish {
    /// the change with which it came
    number: u64,
    settings: RetainSettings,
    /// the wish of the same life before
    former: Option<RetainSettings>,
}

impl Retaining {
    pub fn new(
        apply: impl Fn(Option<RetainSettings>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Retaining {
        Retaining {
            apply: Box::new(apply),
            state: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    /// Notes what a life wishes, or that it wishes nothing any more; for [`Retaining::settle`].
    pub fn note(&self, life: u64, settings: Option<RetainSettings>) -> u64 {
        let mut state = self.state.lock();
        state.changes += 1;
        let number = state.changes;
        let former = state.wishes.remove(&life).map(|wish| wish.settings);
        if let Some(settings) = settings {
            let wish = Wish {
                number,
                settings,
                former,
            };
            state.wishes.insert(life, wish);
        }
        number
    }

    /// Waits until that change has been dealt with. Not for event loops.
    ///
    /// # Errors
    /// Why the wish is not fulfilled; the one before is in force again then.
    pub fn settle(&self, change: u64) -> Result<(), String> {
        let mut state = self.state.lock();
        while state.settled < change {
            match state.busy {
                true => self.settled.wait(&mut state),
                false => self.work(&mut state),
            }
        }
        state.errors.remove(&change).map_or(Ok(()), Err)
    }

    /// Forgets the wish of a life that ends. When another thread is at work it is left to that.
    pub fn forget(&self, life: u64) {
        let mut state = self.state.lock();
        if state.wishes.remove(&life).is_none() {
            return;
        }
        state.changes += 1;
        if !state.busy {
            self.work(&mut state);
        }
    }

    /// Deals with all changes.
    fn work(&self, state: &mut MutexGuard<'_, State>) {
        state.busy = true;
        while state.settled < state.changes {
            let change = state.changes;
            let youngest = state.wishes.last_key_value();
            let (life, number, settings) = youngest.map_or((0, 0, None), |(life, wish)| {
                (*life, wish.number, Some(wish.settings.clone()))
            });
            if number != state.in_force {
                let apply = || catch_unwind(AssertUnwindSafe(|| (self.apply)(settings)));
                let done = MutexGuard::unlocked(state, apply)
                    .unwrap_or_else(|panic| Err(panic_text(&*panic).to_string()));
                match done {
                    Ok(()) => state.in_force = number,
                    Err(error) => state.failed(life, number, error),
                }
            }
            state.settled = change;
            self.settled.notify_all();
        }
        state.busy = false;
        self.settled.notify_all();
    }
}

impl State {
    /// A wish cannot be fulfilled: the one before it is tried again.
    fn failed(&mut self, life: u64, number: u64, error: String) {
        self.in_force = UNKNOWN;
        log::error!("retained messages: {error}");
        let Some(mut wish) = self.wishes.remove(&life) else {
            return;
        };
        if wish.number != number {
            // There is another one meanwhile.
            self.wishes.insert(life, wish);
            return;
        }
        self.errors.insert(number, error);
        self.changes += 1;
        if let Some(settings) = wish.former.take() {
            wish.settings = settings;
            wish.number = self.changes;
            self.wishes.insert(life, wish);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::RetainStorage;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;
    use std::time::Duration;

    fn settings(most: usize) -> Option<RetainSettings> {
        Some(RetainSettings {
            storage: RetainStorage::Ram,
            max_message_num: most,
            max_payload_size: 0,
            expiry_interval: Duration::ZERO,
        })
    }

    /// Tells what it is to apply, and waits until it may have done it.
    fn slow() -> (Arc<Retaining>, Receiver<usize>, Sender<Result<(), String>>) {
        let (told, applied) = channel();
        let (go, gate) = channel();
        let gate = Mutex::new(gate);
        let retaining = Retaining::new(move |settings| {
            told.send(settings.map_or(0, |s| s.max_message_num))
                .unwrap();
            gate.lock().recv().unwrap()
        });
        (Arc::new(retaining), applied, go)
    }

    #[test]
    fn a_life_that_ends_while_its_wish_is_put_in_force_leaves_the_one_before() {
        let (retaining, applied, go) = slow();
        go.send(Ok(())).unwrap();
        retaining.settle(retaining.note(1, settings(10))).unwrap();
        assert_eq!(applied.recv(), Ok(10));
        let (young, number) = (Arc::clone(&retaining), retaining.note(2, settings(20)));
        let converting = thread::spawn(move || young.settle(number));
        assert_eq!(applied.recv(), Ok(20));
        // It does not wait for it.
        retaining.forget(2);
        go.send(Ok(())).unwrap();
        go.send(Ok(())).unwrap();
        assert_eq!(converting.join().unwrap(), Ok(()));
        assert_eq!(applied.recv(), Ok(10));
        go.send(Ok(())).unwrap();
        retaining.forget(1);
        assert_eq!(applied.recv(), Ok(0));
    }

    #[test]
    fn the_old_life_goes_and_nothing_is_converted() {
        let (retaining, applied, go) = slow();
        for life in [1, 2] {
            go.send(Ok(())).unwrap();
            let number = retaining.note(life, settings(life as usize));
            retaining.settle(number).unwrap();
            assert_eq!(applied.recv(), Ok(life as usize));
        }
        retaining.forget(1);
        retaining.forget(3);
        assert!(applied.try_recv().is_err());
    }

    #[test]
    fn a_wish_that_cannot_be_fulfilled_is_an_error_and_the_one_before_comes_back() {
        let (retaining, applied, go) = slow();
        go.send(Ok(())).unwrap();
        retaining.settle(retaining.note(1, settings(1))).unwrap();
        go.send(Err("no store".into())).unwrap();
        go.send(Ok(())).unwrap();
        let refused = retaining.settle(retaining.note(1, settings(2)));
        assert_eq!(refused, Err("no store".into()));
        // A life that has none before.
        go.send(Err("no store".into())).unwrap();
        go.send(Ok(())).unwrap();
        assert!(retaining.settle(retaining.note(2, settings(3))).is_err());
        assert_eq!(applied.try_iter().collect::<Vec<_>>(), [1, 2, 1, 3, 1]);
    }

    #[test]
    fn a_panic_keeps_nobody_waiting() {
        let retaining = Retaining::new(|settings| match settings {
            Some(_) => panic!("on purpose"),
            None => Ok(()),
        });
        for _ in 0..2 {
            let refused = retaining.settle(retaining.note(1, settings(1)));
            assert_eq!(refused, Err("on purpose".into()));
        }
    }
}
