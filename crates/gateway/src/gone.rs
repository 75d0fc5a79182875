//! Waiting for the end of a task, so that its socket is closed when the plugin is loaded again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Goes into the task, beside what the task holds.
#[derive(Debug)]
pub struct Guard {
    _alive: Sender<()>,
}

/// Tells when the [`Guard`] has been dropped.
#[derive(Debug)]
pub struct Gone(Mutex<Receiver<()>>);

/// A guard, and what tells of its end.
pub fn until_dropped() -> (Guard, Gone) {
    let (sender, receiver) = channel();
    (Guard { _alive: sender }, Gone(Mutex::new(receiver)))
}

impl Gone {
    /// Blocks until the guard is dropped, at the most so long; whether it was. Not to be called in a task.
    pub fn wait(&self, most: Duration) -> bool {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent.
        receiver.recv_timeout(most) == Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_the_end() {
        let (guard, gone) = until_dropped();
        assert!(!gone.wait(Duration::from_millis(1)));
        let holder = std::thread::spawn(move || drop(guard));
        assert!(gone.wait(Duration::from_secs(20)));
        assert!(holder.join().is_ok());
        assert!(gone.wait(Duration::ZERO));
    }
}
