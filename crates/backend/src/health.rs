//! Whether the server is there, for people.

use emqttd_plugin_sdk::{Context, Severity};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines in the log that say the same.
const QUIET: Duration = Duration::from_secs(60);
/// Different complaints in that time; what clients do can call forth any number.
const MOST: usize = 10;

/// Tells the log and the alarms when a server goes and comes.
#[derive(Debug)]
pub struct Health {
    ctx: ContextOf,
    /// as people know it: `MySQL server 127.0.0.1:3306`
    server: String,
    state: Mutex<State>,
}

struct ContextOf(Context);

impl std::fmt::Debug for ContextOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.plugin())
    }
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    /// what was logged lately, and when
    said: Vec<(Instant, String)>,
}

impl Health {
    /// Of a server that nothing is known of.
    pub fn new(ctx: &Context, server: impl Into<String>) -> Health {
        Health {
            ctx: ContextOf(ctx.clone()),
            server: server.into(),
            state: Mutex::default(),
        }
    }

    /// The server, as people know it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// It does not answer; `why` has no secret in it.
    pub fn down(&self, why: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !state.down;
        self.say(&mut state, why, first);
        if !std::mem::replace(&mut state.down, true) {
            let summary = format!("{}: {why}", self.server);
            let title = "A server that plugins ask does not answer";
            let id = self.alarm_id();
            self.ctx
                .0
                .alarm(&id, Severity::Critical, title, Some(&summary));
        }
    }

    /// It answers.
    pub fn up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.down, false) {
            state.said.clear();
            log::info!("{}: {} answers again", self.ctx.0.plugin(), self.server);
            let id = self.alarm_id();
            self.ctx.0.alarm(&id, Severity::Critical, "", None);
        }
    }

    /// It answers, but not what it should: a table is missing, a row makes no sense.
    pub fn complain(&self, what: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.say(&mut state, what, false);
    }

    /// Logs, though not the same again and again, and not without end. `always`: all the same.
    fn say(&self, state: &mut State, what: &str, always: bool) {
        let said = &mut state.said;
        said.retain(|(at, _)| at.elapsed() < QUIET);
        let again = said.iter().any(|(_, text)| text == what);
        let enough = said.len() >= MOST || state.down && !said.is_empty();
        if always || !again && !enough {
            log::warn!("{}: {}: {what}", self.ctx.0.plugin(), self.server);
            said.push((Instant::now(), what.to_string()));
        }
    }

    fn alarm_id(&self) -> String {
        format!("backend_unavailable.{}", self.ctx.0.plugin())
    }
}
