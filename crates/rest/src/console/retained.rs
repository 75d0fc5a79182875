//! Retained messages: searched, shown, taken away.

use super::forms::{
    Ask, Checked, Done, Envelope, Guarded, Listing, Named, Patient, Place, bad, find, missing,
    refused, sorts, word,
};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emqttd_broker::{AdminError, RetainedFilter, RetainedOrder};
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

/// Payloads up to this go into an answer: 1 MB.
const MOST_PAYLOAD: usize = 1 << 20;

/// Which retained messages, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetainedQuery {
    /// a topic filter, such as `a/+/#`
    pub filter: Option<String>,
    /// in the topic
    pub search: Option<String>,
    /// `topic`; behind `-` the greatest first. Without it they come as they were published
    #[param(schema_with = sort_values)]
    pub sort: Option<String>,
    /// rows of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// the `cursor` of the answer before
    pub cursor: Option<String>,
}

/// A retained message without its payload.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RetainedRow {
    /// topic
    pub topic: String,
    /// QoS
    pub qos: u8,
    /// bytes of its payload; null while that is only on disk
    pub payload_size: Option<u64>,
    /// when it was published, in unix milliseconds
    pub published_at: u64,
    /// client identifier of its publisher; null for the broker's own
    pub from: Option<String>,
    /// when it is over, in unix milliseconds; null when it stays
    pub expires_at: Option<u64>,
}

/// A retained message.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetainedMessage {
    /// topic
    pub topic: String,
    /// QoS
    pub qos: u8,
    /// its payload as text; null when it is not UTF-8, or larger than 1 MB
    pub payload: Option<String>,
    /// its payload in Base64; null when it is larger than 1 MB
    pub payload_base64: Option<String>,
    /// bytes of its payload
    pub payload_size: u64,
    /// when it was published, in unix milliseconds
    pub published_at: u64,
    /// client identifier of its publisher; null for the broker's own
    pub from: Option<String>,
    /// when it is over, in unix milliseconds; null when it stays
    pub expires_at: Option<u64>,
}

fn refused_message(why: AdminError) -> Refusal {
    match why {
        AdminError::NotFound => missing("there is no retained message of that topic"),
        AdminError::BadTopic => bad("that is no topic name"),
        other => refused(other),
    }
}

impl RetainedRow {
    fn of(row: emqttd_broker::RetainedRow) -> RetainedRow {
        RetainedRow {
            topic: row.topic,
            qos: row.qos,
            payload_size: row.payload_size.map(|n| n as u64),
            published_at: row.published_at,
            from: row.from,
            expires_at: row.expires_at,
        }
    }
}

impl RetainedMessage {
    fn of(message: emqttd_broker::RetainedMessage) -> RetainedMessage {
        let size = message.payload.len();
        let shown = (size <= MOST_PAYLOAD).then_some(message.payload);
        RetainedMessage {
            topic: message.topic,
            qos: message.qos,
            payload_base64: shown.as_ref().map(|payload| STANDARD.encode(payload)),
            payload: shown.and_then(|payload| String::from_utf8(payload).ok()),
            payload_size: size as u64,
            published_at: message.published_at,
            from: message.from,
            expires_at: message.expires_at,
        }
    }
}

/// By what they can be sorted.
const ORDERS: [(&str, RetainedOrder); 1] = [("topic", RetainedOrder::Topic)];

fn sort_values() -> Object {
    sorts(&ORDERS)
}

/// Search the retained messages
///
/// Without their payloads. Scope `read`.
#[utoipa::path(get, path = "/search/retained", tag = "Retained", operation_id = "search_retained", params(RetainedQuery),
    responses((status = 200, description = "retained messages", body = Envelope<Listing<RetainedRow>>), Guarded, Checked, Patient))]
pub async fn search(
    State(app): State<App>,
    Ask(query): Ask<RetainedQuery>,
) -> Result<Answer<Listing<RetainedRow>>, Refusal> {
    let filter = RetainedFilter {
        filter: word(query.filter),
        search: word(query.search),
    };
    let find = find(filter, &ORDERS, query.sort, query.limit, query.cursor)?;
    let page = app
        .ask(move |core| core.broker.find_retained(&find))
        .await?;
    let page = page.map_err(refused)?;
    Ok(Answer(Listing::of(page, RetainedRow::of)))
}

/// A retained message
///
/// With its payload, if that is not larger than 1 MB. Scope `read`.
#[utoipa::path(get, path = "/retained/{*topic}", tag = "Retained", operation_id = "get_retained",
    params(("topic" = String, Path, description = "topic name; it may have slashes, and may be percent-encoded")),
    responses((status = 200, description = "the message", body = Envelope<RetainedMessage>), Guarded, Checked, Named, Patient))]
pub async fn get(
    State(app): State<App>,
    Place(topic): Place<String>,
) -> Result<Answer<RetainedMessage>, Refusal> {
    let found = app
        .ask(move |core| {
            let found = core.broker.retained_get(&topic);
            found.map(RetainedMessage::of)
        })
        .await?;
    found.map(Answer).map_err(refused_message)
}

/// Take a retained message away
///
/// Scope `clients`.
#[utoipa::path(delete, path = "/retained/{*topic}", tag = "Retained", operation_id = "delete_retained",
    params(("topic" = String, Path, description = "topic name; it may have slashes, and may be percent-encoded")),
    responses((status = 200, description = "it is gone", body = Envelope<Done>), Guarded, Checked, Named, Patient))]
pub async fn delete(
    State(app): State<App>,
    Place(topic): Place<String>,
) -> Result<Answer<Done>, Refusal> {
    let done = app
        .ask(move |core| core.broker.retained_delete(&topic))
        .await?;
    done.map_err(refused_message)?;
    Ok(Answer(Done))
}
