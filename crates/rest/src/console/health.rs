//! `/health` and `/ready`, for those who start, stop and balance brokers.

use super::forms::{Patient, busy};
use crate::answer::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long an event loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether clients should be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// they should
    pub ready: bool,
    /// why they should not
    pub reasons: Vec<String>,
}

/// Whether the broker lives
///
/// 200 while its event loops answer. No login.
#[utoipa::path(get, path = "/health", tag = "Open", security(()),
    responses((status = 200, description = "it does", body = String, content_type = "text/plain", example = "ok"), Patient))]
pub async fn health(State(app): State<App>) -> Result<&'static str, Refusal> {
    let silent = app
        .ask_first(|core| core.broker.silent_loops(PATIENCE))
        .await?;
    match silent.is_empty() {
        true => Ok("ok"),
        false => Err(busy(format!("event loops that do not answer: {silent:?}"))),
    }
}

/// Whether clients should be sent here
///
/// No login.
#[utoipa::path(get, path = "/ready", tag = "Open", security(()),
    responses((status = 200, description = "they should", body = Ready),
              (status = 503, description = "they should not", body = Ready)))]
pub async fn ready(State(app): State<App>) -> Result<Response, Refusal> {
    let reasons: Vec<String> = app.ask_first(|core| core.broker.ready()).await?;
    let ready = reasons.is_empty();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(Ready { ready, reasons })).into_response())
}
