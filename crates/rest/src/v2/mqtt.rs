//! `mqtt/publish`, `mqtt/subscribe`, `mqtt/unsubscribe`: the ACL is not asked, since whoever may call them may do as he
//! likes with the broker.

use super::forms::{Body, Fault, Fields, Form};
use crate::App;
use crate::answer::{DONE, code};
use crate::console::forms::Done;
use crate::openapi::Outcome;
use axum::extract::State;
use axum::response::IntoResponse;
use emqttd_broker::AdminError;
use emqttd_plugin_sdk::topic::SubscriptionFilter;
use utoipa::ToSchema;

/// Longest client identifier, bytes: MQTT has no longer strings.
pub(super) const LONGEST_ID: usize = 65_535;

/// A message.
#[derive(Debug, ToSchema)]
pub struct Publish {
    /// where to
    #[schema(example = "a/b")]
    topic: String,
    /// what
    payload: String,
    /// who publishes it
    #[schema(required = false, default = "http")]
    client_id: String,
    /// its QoS
    #[schema(required = false, default = 0, minimum = 0, maximum = 2)]
    qos: u8,
    /// whether it is kept for those who subscribe later
    #[schema(required = false, default = false)]
    retain: bool,
}

impl Form for Publish {
    fn read(fields: &Fields) -> Publish {
        Publish {
            topic: fields.text("topic"),
            payload: fields.text("payload"),
            client_id: fields.text_or("client_id", "http"),
            qos: fields.qos(),
            retain: fields.boolean_or("retain", false),
        }
    }
}

/// Publishes a message.
#[utoipa::path(post, path = "/mqtt/publish", tag = "MQTT", operation_id = "publish", request_body = Publish,
    responses((status = 200, body = Outcome<Done>, description = "102: the topic is not one that can be published to, or client_id is too long")))]
pub async fn publish(
    app: State<App>,
    Body(body): Body<Publish>,
) -> Result<impl IntoResponse, Fault> {
    if body.client_id.len() > LONGEST_ID {
        let sentence = format!("client_id has at most {LONGEST_ID} bytes");
        return Err(Fault::said(code::UNKNOWN, sentence));
    }
    let topic = body.topic.clone();
    let done = app
        .ask(move |core| {
            let payload = body.payload.as_bytes();
            core.broker
                .publish(&body.client_id, &body.topic, payload, body.qos, body.retain)
        })
        .await?;
    done.map_err(|error| explain(error, "", &topic))?;
    Ok(DONE)
}

/// A client, and a filter.
#[derive(Debug, ToSchema)]
pub struct Subscribe {
    /// client identifier
    client_id: String,
    /// a topic filter; wildcards, `$share/…/`, `$queue/` and `$local/` mean what they mean in MQTT
    #[schema(example = "a/#")]
    topic: String,
    /// the greatest QoS that the client is sent
    #[schema(required = false, default = 0, minimum = 0, maximum = 2)]
    qos: u8,
}

impl Form for Subscribe {
    fn read(fields: &Fields) -> Subscribe {
        Subscribe {
            client_id: fields.text("client_id"),
            topic: fields.text("topic"),
            qos: fields.qos(),
        }
    }
}

/// Subscribes for a client. No SUBACK is sent to it.
#[utoipa::path(post, path = "/mqtt/subscribe", tag = "MQTT", operation_id = "subscribe", request_body = Subscribe,
    responses((status = 200, body = Outcome<Done>, description = "102: there is no such client, or the filter is none")))]
pub async fn subscribe(
    app: State<App>,
    Body(body): Body<Subscribe>,
) -> Result<impl IntoResponse, Fault> {
    let (id, topic) = (body.client_id.clone(), body.topic.clone());
    let done = app
        .ask(move |core| {
            core.broker
                .subscribe(&body.client_id, &body.topic, body.qos)
        })
        .await?;
    done.map_err(|error| explain(error, &id, &topic))?;
    Ok(DONE)
}

/// A client, and a filter that it has.
#[derive(Debug, ToSchema)]
pub struct Unsubscribe {
    /// client identifier
    client_id: String,
    /// the filter, as it was subscribed to
    #[schema(example = "a/#")]
    topic: String,
}

impl Form for Unsubscribe {
    fn read(fields: &Fields) -> Unsubscribe {
        Unsubscribe {
            client_id: fields.text("client_id"),
            topic: fields.text("topic"),
        }
    }
}

/// Takes a subscription from a client. It is fine when it has none of that filter.
#[utoipa::path(post, path = "/mqtt/unsubscribe", tag = "MQTT", operation_id = "unsubscribe", request_body = Unsubscribe,
    responses((status = 200, body = Outcome<Done>, description = "102: there is no such client, or the filter is none")))]
pub async fn unsubscribe(
    app: State<App>,
    Body(body): Body<Unsubscribe>,
) -> Result<impl IntoResponse, Fault> {
    let (id, topic) = (body.client_id.clone(), body.topic.clone());
    let done = app
        .ask(
            move |core| match SubscriptionFilter::parse(&body.topic, false) {
                Ok(_) => core.broker.unsubscribe(&body.client_id, &body.topic),
                Err(_) => Err(AdminError::BadTopic),
            },
        )
        .await?;
    done.map_err(|error| explain(error, &id, &topic))?;
    Ok(DONE)
}

/// The words of EMQ for what cannot be done.
fn explain(error: AdminError, id: &str, topic: &str) -> Fault {
    let sentence = match error {
        AdminError::BadTopic => format!("validate topic: {topic} fail"),
        AdminError::NotFound => format!("Clientid: {id} not found"),
        other => other.to_string(),
    };
    Fault::said(code::UNKNOWN, sentence)
}
