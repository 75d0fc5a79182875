//! The time of day, replaceable in tests.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::sync::Arc;

/// A clock and the local time zone.
#[derive(Clone)]
pub(crate) struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    zone: TimeZone,
}

impl Clock {
    /// The clock of the system, with the time zone it has now.
    pub(crate) fn system() -> Clock {
        Clock::new(Timestamp::now, TimeZone::system())
    }

    pub(crate) fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        zone: TimeZone,
    ) -> Clock {
        Clock {
            now: Arc::new(now),
            zone,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) fn local(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
pub(crate) mod test {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use parking_lot::Mutex;

    /// A clock that stands until it is set.
    #[derive(Clone)]
    pub(crate) struct Stopped(Arc<Mutex<Timestamp>>);

    impl Stopped {
        /// `2026-11-22T21:41:42.414Z`
        pub(crate) fn at(time: &str) -> Stopped {
            Stopped(Arc::new(Mutex::new(time.parse().unwrap())))
        }

        pub(crate) fn set(&self, time: &str) {
            *self.0.lock() = time.parse().unwrap();
        }

        /// This clock, in UTC.
        pub(crate) fn clock(&self) -> Clock {
            let now = self.0.clone();
            Clock::new(move || *now.lock(), TimeZone::UTC)
        }
    }
}
