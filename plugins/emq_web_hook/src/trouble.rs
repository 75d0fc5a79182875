//! What people are told: alarms, and lines in the log that do not become a flood.

use crate::figures::{Figures, Reason};
use emqttd_plugin_sdk::{Context, Severity};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two lines in the log about the same.
const QUIET: Duration = Duration::from_secs(30);
/// So long nothing has been lost, for the alarm to end.
const CALM: Duration = Duration::from_secs(60);
/// A server that answered in this time is there, whatever happens to other requests; milliseconds.
const LATELY: u64 = 5000;
const UNREACHABLE: &str = "web_hook_unreachable";
const DROPPING: &str = "web_hook_dropping";

/// Tells it.
pub(crate) struct Trouble {
    ctx: Context,
    began: Instant,
    /// when the server answered last, milliseconds since `began` plus 1; 0 = never
    answered: AtomicU64,
    down: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// requests without success since the server went
    failures: u64,
    /// when the log was told of it, and whether the log thinks that the server is gone
    said: Option<Instant>,
    logged: bool,
    /// the last status of a refusal
    refusal: Option<u16>,
    /// the same about the store
    store_said: Option<Instant>,
    store_logged: bool,
    losses: Losses,
}

/// Events that are lost.
#[derive(Default)]
struct Losses {
    /// as they were when it was looked last
    seen: [u64; 5],
    alarm: Option<Alarm>,
}

/// That something is lost.
struct Alarm {
    /// losses before it
    before: [u64; 5],
    /// when something was lost last
    last: Instant,
    /// when people were told; `None` = they were not
    told: Option<Instant>,
    /// something was lost since
    news: bool,
}

impl Trouble {
    pub fn new(ctx: &Context) -> Trouble {
        Trouble {
            ctx: ctx.clone(),
            began: Instant::now(),
            answered: AtomicU64::new(0),
            down: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// The server has answered, if only that it does not want something.
    pub fn answers(&self) {
        self.answered.store(self.millis() + 1, Ordering::Relaxed);
        if !self.down.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        if self.down.swap(false, Ordering::Relaxed) {
            self.ctx.alarm(UNREACHABLE, Severity::Critical, "", None);
            if std::mem::take(&mut state.logged) {
                log::info!("emq_web_hook: the web server answers again");
            }
        }
    }

    /// A request had no success; `why` has no secret in it.
    pub fn fails(&self, why: &str) {
        let answered = self.answered.load(Ordering::Relaxed);
        if answered > 0 && self.millis() + 1 < answered.saturating_add(LATELY) {
            return;
        }
        let mut state = self.state.lock();
        if !self.down.swap(true, Ordering::Relaxed) {
            state.failures = 0;
            let title = "The web server of the web hook does not take events";
            self.ctx
                .alarm(UNREACHABLE, Severity::Critical, title, Some(why));
        }
        state.failures += 1;
        if state.said.is_some_and(|said| said.elapsed() < QUIET) {
            return;
        }
        state.said = Some(Instant::now());
        match std::mem::replace(&mut state.logged, true) {
            false => log::warn!("emq_web_hook: {why}"),
            true => log::warn!(
                "emq_web_hook: {why} ({} requests without success)",
                state.failures
            ),
        }
    }

    /// The server does not want an event.
    pub fn refuses(&self, status: u16) {
        self.state.lock().refusal = Some(status);
    }

    /// The store does not take or give events.
    pub fn store_fails(&self, why: &str) {
        let mut state = self.state.lock();
        if state.store_said.is_none_or(|said| said.elapsed() >= QUIET) {
            state.store_said = Some(Instant::now());
            state.store_logged = true;
            log::warn!("emq_web_hook: events cannot wait on disk: {why}");
        }
    }

    /// It does again.
    pub fn store_works(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.store_logged) {
            log::info!("emq_web_hook: events can wait on disk again");
        }
    }

    /// Looks whether events are lost. Every second.
    pub fn look(&self, figures: &Figures, now: Instant) {
        let losses = figures.losses();
        let mut state = self.state.lock();
        let refusal = state.refusal;
        let before = std::mem::replace(&mut state.losses.seen, losses);
        if losses != before {
            let alarm = state.losses.alarm.get_or_insert(Alarm {
                before,
                last: now,
                told: None,
                news: true,
            });
            alarm.last = now;
            alarm.news = true;
        }
        let Some(alarm) = &mut state.losses.alarm else {
            return;
        };
        let quiet = |told: Instant| now.duration_since(told) < QUIET;
        if alarm.news && !alarm.told.is_some_and(quiet) {
            alarm.news = false;
            alarm.told = Some(now);
            let text = summary(&alarm.before, &losses, refusal);
            log::warn!("emq_web_hook: events are lost: {text}");
            let title = "Events of the web hook are lost";
            self.ctx
                .alarm(DROPPING, Severity::Critical, title, Some(&text));
        } else if now.duration_since(alarm.last) >= CALM {
            state.losses.alarm = None;
            self.ctx.alarm(DROPPING, Severity::Critical, "", None);
            log::info!("emq_web_hook: no more events are lost");
        }
    }
}

/// `12 full, 3 refused (status 404)`
fn summary(before: &[u64; 5], now: &[u64; 5], refusal: Option<u16>) -> String {
    let lost = |reason: Reason| now[reason as usize] - before[reason as usize];
    let parts = Reason::ALL.into_iter().filter(|reason| lost(*reason) > 0);
    let parts: Vec<String> = parts
        .map(|reason| match (reason, refusal) {
            (Reason::Refused, Some(status)) => {
                format!("{} refused (status {status})", lost(reason))
            }
            _ => format!("{} {}", lost(reason), reason.name()),
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
