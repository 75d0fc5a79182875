//! The end of all plugins, with that of the broker.

use crate::Manager;
use crate::life::{DRAIN_PATIENCE, STOP_PATIENCE};
use crate::registered::End;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Manager {
    /// Ends all plugins, the last first; from now on none is started. After the event loops, so that up to the
    /// last will it is the plugins that decide, see and retain. Those that guard leave the door shut.
    ///
    /// It takes [`STOP_PATIENCE`] at the most. A plugin is waited for until half of what is left of that is gone;
    /// then the next one stops beside it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _changing = self.changing.lock();
        let end = Instant::now() + STOP_PATIENCE;
        let left = || end.saturating_duration_since(Instant::now());
        let lives = self.lives();
        let mut retiring = Vec::new();
        for life in lives.iter().rev() {
            let drain = DRAIN_PATIENCE.min(left() / 4);
            let mut stops = life.begin_retiring(End::Stop, drain);
            stops.wait(left() / 2);
            retiring.push((life, stops));
        }
        for (life, mut stops) in retiring {
            stops.wait(left());
            let (refusals, _) = stops.conclude(life);
            self.ended(life, End::Stop, refusals);
        }
    }

    /// Ends what runs beside the event loops. After them, because they may wait for it.
    pub fn end_runtime(&self) {
        self.shared.runtime.end();
    }
}
