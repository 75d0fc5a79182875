//! `nodes/{node}/alarms`

use super::forms::{Fault, Here};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::{Envelope, local_time};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// An alarm that holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlarmRow {
    /// names it
    pub id: String,
    /// `warning`, `error` or `critical`
    pub severity: String,
    /// a line
    pub title: String,
    /// a sentence
    pub summary: String,
    /// local time, `YYYY-MM-DD HH:MM:SS`
    pub occurred_at: String,
}

/// The alarms of a node that hold.
#[utoipa::path(get, path = "/nodes/{node}/alarms", tag = "Alarms", operation_id = "node_alarms",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<Vec<AlarmRow>>)))]
pub async fn list(_: Here, app: State<App>) -> Result<Answer<Vec<AlarmRow>>, Fault> {
    let alarms = app.ask(|core| core.broker.alarms()).await?;
    let rows = alarms.into_iter().map(|alarm| AlarmRow {
        id: alarm.id,
        severity: format!("{:?}", alarm.severity).to_lowercase(),
        title: alarm.title,
        summary: alarm.summary,
        occurred_at: local_time(alarm.since),
    });
    Ok(Answer(rows.collect()))
}
