//! `history`: figures over time.

use super::forms::{Ask, Checked, Envelope, Guarded};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_management::Series;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// How far back.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HistoryRange)]
pub enum Range {
    /// the last hour
    #[default]
    Hour,
    /// the last day
    Day,
}

/// Which part of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Past {
    /// `hour` (also when absent) or `day`
    #[param(inline)]
    pub range: Option<Range>,
}

/// Figures over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// seconds from one value to the next
    pub step_seconds: u64,
    /// time of the first value, in unix seconds
    pub from: u64,
    /// values by name; null where nothing was taken down. Messages and bytes are rates a second, the others levels
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}

impl History {
    fn of(series: Series) -> History {
        let names = series.names.into_iter().map(str::to_owned);
        History {
            step_seconds: series.step_s,
            from: series.from_s,
            series: names.zip(series.values).collect(),
        }
    }
}

/// Figures over time
///
/// Message and byte rates, numbers of clients, sessions, subscriptions and retained messages, processor, memory: over
/// an hour or a day. Scope `read`.
#[utoipa::path(get, path = "/history", tag = "Monitoring", params(Past),
    responses((status = 200, description = "the figures", body = Envelope<History>), Guarded, Checked))]
pub async fn history(
    State(app): State<App>,
    Ask(past): Ask<Past>,
) -> Result<Answer<History>, Refusal> {
    let range = match past.range.unwrap_or_default() {
        Range::Hour => emqttd_management::Range::Hour,
        Range::Day => emqttd_management::Range::Day,
    };
    let series = app.ask(move |core| core.history().series(range)).await?;
    Ok(Answer(History::of(series)))
}
