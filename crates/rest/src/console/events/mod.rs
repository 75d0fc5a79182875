//! `events`: what happens, as it happens (server-sent events).

mod hub;
mod kinds;
mod look;
mod seen;

pub use hub::{Full, Hub, Listener, MOST_OF_ONE, MOST_STREAMS};
pub use kinds::Kinds;
pub use seen::now;

use super::forms::{Ask, Checked, Guarded, Patient, bad, busy, refuse};
use crate::answer::Refusal;
use crate::auth::Caller;
use crate::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

/// A comment goes out after so long without an event.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the login still counts.
const CHECKS: Duration = Duration::from_secs(20);
/// About the most bytes that are made at a time.
const PIECE: usize = 64 << 10;

/// What to hear of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// `clients`, `sessions`, `alarms`, `plugins`, `listeners`, `stats`, with commas; all when absent
    #[param(example = "clients,alarms,stats")]
    pub kinds: Option<String>,
}

/// A stream on its way to its reader.
struct Reading<C> {
    listener: Listener,
    /// whether the login still counts
    counts: C,
    begun: bool,
    next_beat: Instant,
    next_check: Instant,
}

impl<C: Fn() -> bool> Reading<C> {
    /// The next bytes; `None` when the login does not count any more.
    async fn next(&mut self) -> Option<String> {
        if !self.begun {
            self.begun = true;
            // Something goes out at once: a proxy, and the reader, see that the stream is there.
            return Some("retry: 2000\n\n".into());
        }
        loop {
            if Instant::now() >= self.next_check {
                if !(self.counts)() {
                    return None;
                }
                self.next_check = Instant::now() + CHECKS;
            }
            let text = self.listener.take(PIECE);
            if !text.is_empty() {
                self.next_beat = Instant::now() + HEARTBEAT;
                return Some(text);
            }
            if Instant::now() >= self.next_beat {
                self.next_beat = Instant::now() + HEARTBEAT;
                return Some(": \n\n".into());
            }
            tokio::select! {
                () = self.listener.news() => {}
                () = sleep_until(self.next_beat.min(self.next_check)) => {}
            }
        }
    }
}

/// The answer that tells `listener` what comes for as long as `counts`.
fn stream(listener: Listener, counts: impl Fn() -> bool + Send + 'static) -> Response {
    let now = Instant::now();
    let reading = Reading {
        listener,
        counts,
        begun: false,
        next_beat: now + HEARTBEAT,
        next_check: now + CHECKS,
    };
    let pieces = futures_util::stream::unfold(reading, |mut reading| async move {
        let piece = reading.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), reading))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    // nginx would gather events otherwise.
    let unbuffered = [("x-accel-buffering", "no")];
    (headers, unbuffered, Body::from_stream(pieces)).into_response()
}

/// What happens, as it happens
///
/// Server-sent events: `client.connected`, `client.disconnected`, `session.created`, `session.terminated`, `alarm.set`,
/// `alarm.cleared`, `plugin.started`, `plugin.stopped`, `listener.opened`, `listener.closed`, `stats` (every two seconds),
/// `lost` (so many events went by unseen because this stream was read too slowly), each with JSON data. Every 15 seconds there
/// is a comment. The stream ends with the login. There are 64 at a time at most, and 16 of one user or API key. Scope `read`.
#[utoipa::path(get, path = "/events", tag = "Monitoring", operation_id = "events", params(EventQuery),
    responses((status = 200, description = "the stream", body = String, content_type = "text/event-stream"),
              Guarded, Checked, Patient))]
pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Ask(query): Ask<EventQuery>,
) -> Result<Response, Refusal> {
    let kinds = Kinds::parse(query.kinds.as_deref().unwrap_or_default()).map_err(bad)?;
    let listener = app.events().listen(&app, kinds, &caller.name);
    let listener = listener.map_err(|full| match full {
        Full::All => busy(format!("there are {MOST_STREAMS} streams already")),
        Full::OfOne => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "{} has {MOST_OF_ONE} streams already: close one (a page of the dashboard is one)",
                caller.name
            ),
        ),
    })?;
    // From the first line on everything is told.
    app.events().hears(kinds).await;
    Ok(stream(listener, move || caller.holds(&app)))
}
