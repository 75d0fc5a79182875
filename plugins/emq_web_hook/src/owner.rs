//! Who may use the table in which events wait: one life of the plugin at a time. The end of the one before may take
//! longer than anybody waits for it.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Brokers whose table somebody uses, by the directory of their data.
static OWNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static RELEASED: Condvar = Condvar::new();

/// Until it is dropped nobody else uses the table.
#[derive(Debug)]
pub(crate) struct Owner(PathBuf);

impl Owner {
    /// Waits until nobody else uses the table of the broker with this directory; `None` = somebody still does.
    pub fn take(dir: &Path, patience: Duration) -> Option<Owner> {
        let end = Instant::now() + patience;
        let mut owned = OWNED.lock();
        while owned.contains(dir) {
            if RELEASED.wait_until(&mut owned, end).timed_out() && owned.contains(dir) {
                return None;
            }
        }
        owned.insert(dir.into());
        Some(Owner(dir.into()))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        OWNED.lock().remove(&self.0);
        RELEASED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::thread;

    #[test]
    fn one_at_a_time() {
        let [dir, other] = ["owner/one", "owner/other"].map(Path::new);
        let soon = Duration::from_millis(20);
        let first = Owner::take(dir, soon).unwrap();
        assert!(Owner::take(dir, soon).is_none());
        assert!(Owner::take(other, soon).is_some());
        let second = thread::spawn(|| Owner::take(dir, Duration::from_secs(20)));
        thread::sleep(soon);
        assert!(!second.is_finished());
        drop(first);
        assert!(second.join().unwrap().is_some());
        assert!(Owner::take(dir, soon).is_some());
    }
}
