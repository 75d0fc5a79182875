//! How many checks of passwords run at a time.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Those that wait, for each that runs: at 30 ms a check the last one waits two seconds. What waits longer would
/// be given up by the time its turn comes.
const QUEUE: usize = 64;

/// Lets as many in as there are cores, in the order of their coming, and turns away whom it could not serve soon.
#[derive(Debug)]
pub struct Gate {
    slots: Arc<Semaphore>,
    places: Semaphore,
}

/// A place inside; given back when dropped. Move it into the work.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code)] OwnedSemaphorePermit);

impl Gate {
    /// That of the process: whoever checks passwords shares the cores with all others who do.
    pub fn shared() -> &'static Gate {
        static SHARED: LazyLock<Gate> =
            LazyLock::new(|| Gate::with_slots(available_parallelism().map_or(1, usize::from)));
        &SHARED
    }

    /// For so many at a time.
    fn with_slots(slots: usize) -> Gate {
        Gate {
            slots: Arc::new(Semaphore::new(slots)),
            places: Semaphore::new(slots * QUEUE),
        }
    }

    /// Waits for a place inside; `None` = too many wait already.
    pub async fn enter(&self) -> Option<Turn> {
        // Held while it waits, and given up with the future when nobody waits for the answer any more.
        let _place = self.places.try_acquire().ok()?;
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        Some(Turn(slot))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn bounded() {
        let gate = Gate::with_slots(1);
        let mut idle = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(inside)) = pin!(gate.enter()).poll(&mut idle) else {
            panic!("nobody is inside");
        };
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(gate.enter())).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().poll(&mut idle).is_pending());
        }
        assert!(matches!(
            pin!(gate.enter()).poll(&mut idle),
            Poll::Ready(None)
        ));
        // Who goes away makes room for another.
        waiting.pop();
        let mut last = Box::pin(gate.enter());
        assert!(last.as_mut().poll(&mut idle).is_pending());
        drop(inside);
        let Poll::Ready(Some(second)) = waiting[0].as_mut().poll(&mut idle) else {
            panic!("the first in the queue is next");
        };
        assert!(last.as_mut().poll(&mut idle).is_pending());
        drop((waiting, second));
        assert!(matches!(
            last.as_mut().poll(&mut idle),
            Poll::Ready(Some(_))
        ));
    }
}
