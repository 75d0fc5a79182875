//! The level of the log.

use super::forms::{Body, Checked, Envelope, Guarded, Sized1M, bad};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_management::{ConfigError, Core, LOG_LEVELS};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the log tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct Logging {
    /// the level in force
    #[schema(example = "error")]
    pub level: String,
    /// those there are
    pub levels: Vec<String>,
}

/// A level.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// one of `levels`
    pub level: String,
}

impl Logging {
    fn of(core: &Core) -> Logging {
        Logging {
            level: core.log_level().into(),
            levels: LOG_LEVELS.map(Into::into).into(),
        }
    }
}

/// What the log tells
///
/// Scope `read`.
#[utoipa::path(get, path = "/logging", tag = "Logging", operation_id = "get_logging",
    responses((status = 200, description = "the level", body = Envelope<Logging>), Guarded))]
pub async fn get(State(app): State<App>) -> Result<Answer<Logging>, Refusal> {
    app.ask(Logging::of).await.map(Answer)
}

/// Have the log tell more, or less
///
/// Until the broker starts again. Scope `manage`.
#[utoipa::path(put, path = "/logging", tag = "Logging", operation_id = "set_logging", request_body = LogLevel,
    responses((status = 200, description = "the level", body = Envelope<Logging>), Guarded, Checked, Sized1M))]
pub async fn set(
    State(app): State<App>,
    Body(wanted): Body<LogLevel>,
) -> Result<Answer<Logging>, Refusal> {
    if !LOG_LEVELS.contains(&wanted.level.as_str()) {
        let levels = LOG_LEVELS.join(", ");
        return Err(bad(format!("level should be one of {levels}")));
    }
    let done = app
        .ask(move |core| {
            core.set_log_level(&wanted.level)?;
            Ok(Logging::of(core))
        })
        .await?;
    done.map(Answer)
        .map_err(|why: ConfigError| bad(why.to_string()))
}
