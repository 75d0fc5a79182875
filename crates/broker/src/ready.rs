//! Whether the broker can do its work, for those who watch it from outside.

use crate::admin::Broker;
use emqttd_plugin_sdk::LoopFigures;
use emqttd_store::Health;
use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long an event loop may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which event loops have been asked for a sign of life and have not given it. One that is stuck is asked once,
/// however often somebody wants to know.
pub(crate) struct Pulse {
    asked: Mutex<Vec<bool>>,
    answered: Condvar,
}

impl Pulse {
    pub fn new(loops: usize) -> Pulse {
        Pulse {
            asked: Mutex::new(vec![false; loops]),
            answered: Condvar::new(),
        }
    }

    /// Those that are to be asked now.
    fn ask(&self) -> Vec<usize> {
        let mut asked = self.asked.lock();
        let loops = asked.len();
        let idle = |index: &usize| !std::mem::replace(&mut asked[*index], true);
        (0..loops).filter(idle).collect()
    }

    fn answer(&self, index: usize) {
        self.asked.lock()[index] = false;
        self.answered.notify_all();
    }

    /// Waits for all answers; those that are missing at the end.
    fn wait(&self, end: Instant) -> Vec<usize> {
        let mut asked = self.asked.lock();
        while asked.iter().any(|asked| *asked)
            && !self.answered.wait_until(&mut asked, end).timed_out()
        {}
        let all = asked.iter().enumerate();
        all.filter(|(_, asked)| **asked)
            .map(|(index, _)| index)
            .collect()
    }
}

impl Broker {
    /// Why clients should not be sent here now, a sentence each; none = the broker is ready. Waits for the event
    /// loops, some seconds at the most.
    pub fn ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for index in self.silent_loops(PATIENCE) {
            reasons.push(format!("event loop {index} does not answer"));
        }
        if self.node.listeners.read().is_empty() {
            reasons.push("no listener is open".into());
        }
        if let Some(durable) = &self.node.durable {
            let why = match durable.store.health() {
                // A store that is behind will catch up; clients wait a moment, wherever they are sent.
                Health::Good | Health::Behind => None,
                Health::Full => Some("the store is full".to_string()),
                Health::Failing => {
                    let error = durable.store.status().error.unwrap_or_default();
                    Some(format!("the store cannot write: {error}"))
                }
            };
            reasons.extend(why);
        }
        reasons
    }

    /// The event loops that do not answer within `patience`, by number.
    pub fn silent_loops(&self, patience: Duration) -> Vec<usize> {
        let end = Instant::now() + patience;
        for index in self.node.pulse.ask() {
            self.post(index, |shard| shard.node.pulse.answer(shard.index));
        }
        self.node.pulse.wait(end)
    }

    /// How the event loops have spent their time, without a walk: the number of connections is left out (0), and
    /// the longest round is forgotten by nobody but [`Broker::figures`]. A loop that does not answer is left out.
    pub fn loops(&self) -> Vec<LoopFigures> {
        let mut loops = self.on_all(|shard| (shard.index, shard.loop_reading()));
        loops.sort_by_key(|(index, _)| *index);
        loops.into_iter().map(|(_, figures)| figures).collect()
    }
}
