//! How many connections are open.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Connections that are open.
#[derive(Default)]
pub(crate) struct Open {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// Counts while it is there.
pub(crate) struct Place(Arc<Open>);

impl Open {
    /// One more.
    pub fn enter(self: &Arc<Open>) -> Place {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Place(Arc::clone(self))
    }

    /// Waits until there is none, for so long at the most. Blocks.
    pub fn wait(&self, most: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // However that ends: who is still there then is cut off.
        let _ = self
            .fewer
            .wait_timeout_while(count, most, |count| *count > 0);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_last_one_ends_the_wait() {
        let open = Arc::new(Open::default());
        open.wait(Duration::from_secs(60));
        let places = [open.enter(), open.enter()];
        let start = Instant::now();
        open.wait(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20));
        let leaving = std::thread::spawn(move || drop(places));
        open.wait(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
        leaving.join().expect("it does not panic");
    }
}
