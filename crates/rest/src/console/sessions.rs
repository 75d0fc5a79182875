//! Sessions, with or without their clients, and what waits in them.

use super::forms::{
    Ask, Checked, Done, Envelope, Guarded, Listing, MOST_ROWS, Named, Patient, Place, find, limit,
    local_time, missing, refused, sorts, word,
};
use super::subscriptions::SubscriptionRow;
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{
    AdminError, InflightRow, SessionFilter, SessionInfo, SessionOrder, SessionQueue, WaitingRow,
};
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

/// Which sessions, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// in the client identifier, upper or lower case
    pub search: Option<String>,
    /// whether its client is connected
    pub online: Option<bool>,
    /// whether it ends with its connection
    pub clean_sess: Option<bool>,
    /// `client_id`, `mqueue_len`, `mqueue_dropped`, `inflight_len`, `subscriptions`, `created_at` or `deliver_msg`; behind `-`
    /// the greatest first
    #[param(schema_with = sort_values)]
    pub sort: Option<String>,
    /// rows of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// the `cursor` of the answer before
    pub cursor: Option<String>,
}

/// A session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionRow {
    /// client identifier
    pub client_id: String,
    /// it ends with its connection
    pub clean_sess: bool,
    /// subscriptions held
    pub subscriptions: u64,
    /// window in force; 0 without a limit
    pub max_inflight: u64,
    /// messages sent and not finished
    pub inflight_len: u64,
    /// messages waiting
    pub mqueue_len: u64,
    /// messages dropped because the queue was full
    pub mqueue_dropped: u64,
    /// messages of QoS 2 from the client that it has not released
    pub awaiting_rel_len: u64,
    /// PUBLISH packets written
    pub deliver_msg: u64,
    /// messages queued
    pub enqueue_msg: u64,
    /// local time
    #[schema(example = "2026-11-23 18:36:00")]
    pub created_at: String,
    /// the same in unix seconds
    pub created_at_unix: u64,
    /// its client is connected
    pub online: bool,
}

/// How much of a queue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// messages of each kind, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// What a session is to send.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queue {
    /// sent and not finished, the oldest first
    pub inflight: Vec<QueuedMessage>,
    /// waiting, the next first; only of those in memory
    pub waiting: Vec<QueuedMessage>,
    /// all that are in flight
    pub inflight_len: u64,
    /// all that wait, wherever they are
    pub waiting_len: u64,
    /// those of them that are only on disk
    pub on_disk: u64,
    /// messages of QoS 2 from the client that it has not released
    pub awaiting_rel: u64,
}

/// A message in a session. Its payload is not shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuedMessage {
    /// packet identifier; null while it waits
    pub packet_id: Option<u16>,
    /// `waiting`, or for what of the client the session waits: the word is the state of the exchange
    pub state: String,
    /// QoS of the delivery; null when only the identifier is left of it (QoS 2, after PUBREC)
    pub qos: Option<u8>,
    /// topic
    pub topic: Option<String>,
    /// bytes of its payload
    pub payload_size: Option<u64>,
    /// client identifier of its publisher; null for the broker's own
    pub from: Option<String>,
    /// when it was published, in unix milliseconds
    pub at: Option<u64>,
    /// it was published as one to retain
    pub retain: Option<bool>,
    /// it came through a shared subscription
    pub shared: Option<bool>,
}

const ORDERS: [(&str, SessionOrder); 7] = [
    ("client_id", SessionOrder::ClientId),
    ("mqueue_len", SessionOrder::MqueueLen),
    ("mqueue_dropped", SessionOrder::MqueueDropped),
    ("inflight_len", SessionOrder::Inflight),
    ("subscriptions", SessionOrder::Subscriptions),
    ("created_at", SessionOrder::CreatedAt),
    ("deliver_msg", SessionOrder::DeliverMsg),
];

fn sort_values() -> Object {
    sorts(&ORDERS)
}

const NO_SESSION: &str = "there is no such session";

fn refused_session(why: AdminError) -> Refusal {
    match why {
        AdminError::NotFound => missing(NO_SESSION),
        other => refused(other),
    }
}

impl SessionRow {
    /// A session as it is shown.
    pub fn of(session: SessionInfo) -> SessionRow {
        SessionRow {
            client_id: session.clientid,
            clean_sess: session.clean_sess,
            subscriptions: session.subscriptions as u64,
            max_inflight: session.max_inflight as u64,
            inflight_len: session.inflight as u64,
            mqueue_len: session.mqueue_len as u64,
            mqueue_dropped: session.mqueue_dropped,
            awaiting_rel_len: session.awaiting_rel as u64,
            deliver_msg: session.deliver_msg,
            enqueue_msg: session.enqueue_msg,
            created_at: local_time(session.created_at),
            created_at_unix: session.created_at,
            online: session.online,
        }
    }
}

impl QueuedMessage {
    fn in_flight(row: InflightRow) -> QueuedMessage {
        let state = row.state.as_str();
        QueuedMessage::new(Some(row.packet_id), state, row.message)
    }

    fn waiting(row: WaitingRow) -> QueuedMessage {
        QueuedMessage::new(None, "waiting", Some(row))
    }

    fn new(packet_id: Option<u16>, state: &str, row: Option<WaitingRow>) -> QueuedMessage {
        let row = row.as_ref();
        QueuedMessage {
            packet_id,
            state: state.into(),
            qos: row.map(|row| row.qos),
            topic: row.map(|row| row.topic.clone()),
            payload_size: row.map(|row| row.payload_size as u64),
            from: row.and_then(|row| row.from.clone()),
            at: row.map(|row| row.at),
            retain: row.map(|row| row.retain),
            shared: row.map(|row| row.shared),
        }
    }
}

impl Queue {
    fn of(queue: SessionQueue) -> Queue {
        let inflight = queue.inflight.into_iter();
        let waiting = queue.waiting.into_iter();
        Queue {
            inflight: inflight.map(QueuedMessage::in_flight).collect(),
            waiting: waiting.map(QueuedMessage::waiting).collect(),
            inflight_len: queue.inflight_len as u64,
            waiting_len: queue.waiting_len as u64,
            on_disk: queue.on_disk as u64,
            awaiting_rel: queue.awaiting_rel as u64,
        }
    }
}

/// Search the sessions
///
/// Those of clients that are away, too. Scope `read`.
#[utoipa::path(get, path = "/search/sessions", tag = "Sessions", operation_id = "search_sessions", params(SessionQuery),
    responses((status = 200, description = "sessions", body = Envelope<Listing<SessionRow>>), Guarded, Checked, Patient))]
pub async fn search(
    State(app): State<App>,
    Ask(query): Ask<SessionQuery>,
) -> Result<Answer<Listing<SessionRow>>, Refusal> {
    let filter = SessionFilter {
        search: word(query.search),
        online: query.online,
        clean_sess: query.clean_sess,
    };
    let find = find(filter, &ORDERS, query.sort, query.limit, query.cursor)?;
    let page = app
        .ask(move |core| core.broker.find_sessions(&find))
        .await?;
    let page = page.map_err(refused)?;
    Ok(Answer(Listing::of(page, SessionRow::of)))
}

/// End a session
///
/// Its client is disconnected if it is there, and what waits is discarded. Scope `clients`.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "Sessions", operation_id = "delete_session",
    params(("id" = String, Path, description = "client identifier, percent-encoded")),
    responses((status = 200, description = "it has ended", body = Envelope<Done>), Guarded, Checked, Named, Patient))]
pub async fn delete(
    State(app): State<App>,
    Place(id): Place<String>,
) -> Result<Answer<Done>, Refusal> {
    let done = app.ask(move |core| core.broker.session_delete(&id)).await?;
    done.map_err(refused_session)?;
    Ok(Answer(Done))
}

/// What a session is to send
///
/// Messages in flight and messages that wait, without payloads. Scope `read`.
#[utoipa::path(get, path = "/sessions/{id}/queue", tag = "Sessions", operation_id = "session_queue",
    params(("id" = String, Path, description = "client identifier, percent-encoded"), QueueQuery),
    responses((status = 200, description = "the queue", body = Envelope<Queue>), Guarded, Checked, Named))]
pub async fn queue(
    State(app): State<App>,
    Place(id): Place<String>,
    Ask(query): Ask<QueueQuery>,
) -> Result<Answer<Queue>, Refusal> {
    let most = limit(query.limit)?;
    let found = app
        .ask(move |core| core.broker.session_queue(&id, most))
        .await?;
    let queue = found.ok_or_else(|| missing(NO_SESSION))?;
    Ok(Answer(Queue::of(queue)))
}

/// Discard what waits in a session
///
/// Messages in flight stay. Scope `clients`.
#[utoipa::path(delete, path = "/sessions/{id}/queue", tag = "Sessions", operation_id = "clear_session_queue",
    params(("id" = String, Path, description = "client identifier, percent-encoded")),
    responses((status = 200, description = "it is empty", body = Envelope<Done>), Guarded, Checked, Named, Patient))]
pub async fn clear_queue(
    State(app): State<App>,
    Place(id): Place<String>,
) -> Result<Answer<Done>, Refusal> {
    let done = app.ask(move |core| core.broker.clear_queue(&id)).await?;
    done.map_err(refused_session)?;
    Ok(Answer(Done))
}

/// Subscriptions of a session
///
/// The first 1,000, whether its client is connected or not. Scope `read`.
#[utoipa::path(get, path = "/sessions/{id}/subscriptions", tag = "Sessions", operation_id = "session_subscriptions",
    params(("id" = String, Path, description = "client identifier, percent-encoded")),
    responses((status = 200, description = "its subscriptions", body = Envelope<Vec<SubscriptionRow>>),
              Guarded, Checked, Named))]
pub async fn subscriptions(
    State(app): State<App>,
    Place(id): Place<String>,
) -> Result<Answer<Vec<SubscriptionRow>>, Refusal> {
    let found = app
        .ask(move |core| core.broker.subscriptions_of(&id))
        .await?;
    let rows = found.ok_or_else(|| missing(NO_SESSION))?.into_iter();
    Ok(Answer(
        rows.take(MOST_ROWS).map(SubscriptionRow::of).collect(),
    ))
}
