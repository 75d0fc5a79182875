//! Alarms that hold, and those that have ended.

use super::forms::{Envelope, Guarded, local_time};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{Alarm, Severity};
use serde::Serialize;
use utoipa::ToSchema;

/// Alarms.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alarms {
    /// those that hold
    pub active: Vec<ActiveAlarm>,
    /// those that have ended, the newest first; 1,000 are remembered
    pub history: Vec<PastAlarm>,
}

/// An alarm that holds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActiveAlarm {
    /// names it
    pub id: String,
    /// `warning`, `error` or `critical`
    pub severity: String,
    /// a line
    pub title: String,
    /// a sentence
    pub summary: String,
    /// local time
    #[schema(example = "2026-11-23 18:36:00")]
    pub occurred_at: String,
    /// the same in unix seconds
    pub since: u64,
}

/// An alarm that has ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastAlarm {
    /// names it
    pub id: String,
    /// `warning`, `error` or `critical`
    pub severity: String,
    /// a line
    pub title: String,
    /// a sentence
    pub summary: String,
    /// local time
    #[schema(example = "2026-11-23 18:36:00")]
    pub occurred_at: String,
    /// the same in unix seconds
    pub since: u64,
    /// when it ended, in unix seconds
    pub cleared_at: u64,
}

fn severity(severity: Severity) -> String {
    let word = match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    };
    word.into()
}

impl ActiveAlarm {
    /// An alarm that holds, as it is shown.
    pub fn of(alarm: Alarm) -> ActiveAlarm {
        ActiveAlarm {
            id: alarm.id,
            severity: severity(alarm.severity),
            title: alarm.title,
            summary: alarm.summary,
            occurred_at: local_time(alarm.since),
            since: alarm.since,
        }
    }
}

impl PastAlarm {
    /// An alarm that ended at `cleared_at`, as it is shown.
    pub fn of(alarm: Alarm, cleared_at: u64) -> PastAlarm {
        PastAlarm {
            id: alarm.id,
            severity: severity(alarm.severity),
            title: alarm.title,
            summary: alarm.summary,
            occurred_at: local_time(alarm.since),
            since: alarm.since,
            cleared_at,
        }
    }
}

/// Alarms and their history
///
/// Scope `read`.
#[utoipa::path(get, path = "/alarms", tag = "Alarms",
    responses((status = 200, description = "the alarms", body = Envelope<Alarms>), Guarded))]
pub async fn alarms(State(app): State<App>) -> Result<Answer<Alarms>, Refusal> {
    let alarms = app.ask(|core| {
        let active = core.broker.alarms().into_iter();
        let history = core.broker.alarm_history().into_iter();
        Alarms {
            active: active.map(ActiveAlarm::of).collect(),
            history: history
                .map(|(alarm, at)| PastAlarm::of(alarm, at))
                .collect(),
        }
    });
    alarms.await.map(Answer)
}
