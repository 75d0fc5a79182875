//! Traces: the packets of a client, or the messages of a topic, in a file of their own.

use super::forms::{
    Ask, Body, Checked, Done, Envelope, Guarded, Named, Place, Settled, Sized1M, bad, conflict,
    missing,
};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_management::{TraceError, TraceKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Most of a log in an answer: 1 MB.
const MOST_BYTES: usize = 1 << 20;
/// As much of it when the question does not say.
const BYTES: usize = 64 << 10;

/// What a trace follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TraceKind)]
pub enum Followed {
    /// the packets of a client
    Client,
    /// what is published to a topic
    Topic,
}

/// A trace that runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trace {
    /// what it follows
    pub kind: Followed,
    /// client identifier, or topic
    pub name: String,
    /// the file it writes to
    pub file: String,
    /// bytes of it
    pub size: u64,
    /// it was started here: its log can be read here
    pub readable: bool,
}

/// A trace to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrace {
    /// what it follows
    pub kind: Followed,
    /// client identifier, or topic
    pub name: String,
}

/// How much of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Tail {
    /// bytes from its end, 65,536 when absent
    #[param(minimum = 1, maximum = 1048576)]
    pub bytes: Option<u64>,
}

/// The end of a log.
#[derive(Debug, Serialize, ToSchema)]
pub struct TraceLog {
    /// its last lines
    pub text: String,
    /// bytes of all of it
    pub size: u64,
}

impl From<Followed> for TraceKind {
    fn from(kind: Followed) -> TraceKind {
        match kind {
            Followed::Client => TraceKind::Client,
            Followed::Topic => TraceKind::Topic,
        }
    }
}

impl Trace {
    fn of(trace: emqttd_management::Trace) -> Trace {
        Trace {
            kind: match trace.kind {
                TraceKind::Client => Followed::Client,
                TraceKind::Topic => Followed::Topic,
            },
            name: trace.name,
            file: trace.file,
            size: trace.size,
            readable: trace.ours,
        }
    }
}

fn refused(why: TraceError) -> Refusal {
    match why {
        TraceError::NotFound => missing("there is no such trace"),
        TraceError::Exists => conflict("that is traced already"),
        TraceError::TooMany => conflict("there are too many traces; stop one first"),
        TraceError::BadName(why) => bad(why),
        TraceError::Io(why) => conflict(why),
    }
}

/// Traces that run
///
/// Scope `read`.
#[utoipa::path(get, path = "/traces", tag = "Traces", operation_id = "list_traces",
    responses((status = 200, description = "the traces", body = Envelope<Vec<Trace>>), Guarded))]
pub async fn list(State(app): State<App>) -> Result<Answer<Vec<Trace>>, Refusal> {
    let traces = app.ask(|core| core.traces().list()).await?;
    Ok(Answer(traces.into_iter().map(Trace::of).collect()))
}

/// Start a trace
///
/// Its file lies in the directory of the log. Scope `manage`.
#[utoipa::path(post, path = "/traces", tag = "Traces", operation_id = "start_trace", request_body = NewTrace,
    responses((status = 200, description = "the trace", body = Envelope<Trace>), Guarded, Checked, Settled, Sized1M))]
pub async fn start(
    State(app): State<App>,
    Body(new): Body<NewTrace>,
) -> Result<Answer<Trace>, Refusal> {
    if new.name.is_empty() {
        return Err(bad("name should not be empty"));
    }
    let done = app
        .ask(move |core| core.traces().start(new.kind.into(), &new.name))
        .await?;
    done.map(|trace| Answer(Trace::of(trace))).map_err(refused)
}

/// Stop a trace
///
/// Its log can still be read. Scope `manage`.
#[utoipa::path(delete, path = "/traces/{kind}/{name}", tag = "Traces", operation_id = "stop_trace",
    params(("kind" = Followed, Path, description = "what it follows"),
           ("name" = String, Path, description = "client identifier or topic, percent-encoded")),
    responses((status = 200, description = "it has stopped", body = Envelope<Done>), Guarded, Checked, Named))]
pub async fn stop(
    State(app): State<App>,
    Place((kind, name)): Place<(Followed, String)>,
) -> Result<Answer<Done>, Refusal> {
    let done = app
        .ask(move |core| core.traces().stop(kind.into(), &name))
        .await?;
    done.map_err(refused)?;
    Ok(Answer(Done))
}

/// The end of a trace's log
///
/// Scope `manage`.
#[utoipa::path(get, path = "/traces/{kind}/{name}/log", tag = "Traces", operation_id = "trace_log",
    params(("kind" = Followed, Path, description = "what it follows"),
           ("name" = String, Path, description = "client identifier or topic, percent-encoded"), Tail),
    responses((status = 200, description = "the end of the log", body = Envelope<TraceLog>), Guarded, Checked, Named))]
pub async fn log(
    State(app): State<App>,
    Place((kind, name)): Place<(Followed, String)>,
    Ask(tail): Ask<Tail>,
) -> Result<Answer<TraceLog>, Refusal> {
    let bytes = match tail.bytes.map(usize::try_from) {
        None => BYTES,
        Some(Ok(bytes @ 1..=MOST_BYTES)) => bytes,
        Some(_) => return Err(bad(format!("bytes should be 1 to {MOST_BYTES}"))),
    };
    let tail = app
        .ask(move |core| core.traces().tail(kind.into(), &name, bytes))
        .await?;
    let tail = tail.map_err(refused)?;
    Ok(Answer(TraceLog {
        text: tail.text,
        size: tail.size,
    }))
}
