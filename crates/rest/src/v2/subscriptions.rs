//! `subscriptions`: who gets what.

use super::forms::{Fault, Here, Name, Objects, Page, Paging};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::Envelope;
use axum::extract::State;
use emqttd_broker::{SubscriptionInfo, SubscriptionOrder};
use serde::Serialize;
use utoipa::ToSchema;

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct Subscription {
    /// client identifier
    pub client_id: String,
    /// the filter, without `$share/<group>/`, `$queue/` and `$local/`
    pub topic: String,
    /// granted QoS
    pub qos: u8,
}

impl From<SubscriptionInfo> for Subscription {
    fn from(info: SubscriptionInfo) -> Subscription {
        Subscription {
            client_id: info.clientid,
            topic: info.topic,
            qos: info.qos,
        }
    }
}

/// The subscriptions on a node, by client id.
#[utoipa::path(get, path = "/nodes/{node}/subscriptions", tag = "Subscriptions", operation_id = "node_subscriptions",
    params(("node" = String, Path, description = "its name"), Paging),
    responses((status = 200, body = Envelope<Page<Subscription>>)))]
pub async fn list(
    _: Here,
    paging: Paging,
    app: State<App>,
) -> Result<Answer<Page<Subscription>>, Fault> {
    let page = app
        .ask(move |core| {
            let find = paging.find(SubscriptionOrder::ClientId);
            core.broker.find_subscriptions(&find)
        })
        .await?
        .map_err(Fault::of_broker)?;
    let rows = page.rows.into_iter().map(Subscription::from).collect();
    Ok(Answer(Page::new(paging, page.total, rows)))
}

async fn find(app: &App, id: String) -> Result<Answer<Objects<Subscription>>, Fault> {
    let found = app
        .ask(move |core| core.broker.subscriptions_of(&id))
        .await?;
    let found = found.into_iter().flatten();
    Ok(Answer(found.map(Subscription::from).collect()))
}

/// The subscriptions of a client of a node.
#[utoipa::path(get, path = "/nodes/{node}/subscriptions/{id}", tag = "Subscriptions", operation_id = "node_client_subscriptions",
    params(("node" = String, Path, description = "its name"), ("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Subscription>>)))]
pub async fn of_client_of_node(
    Name(id): Name,
    app: State<App>,
) -> Result<Answer<Objects<Subscription>>, Fault> {
    find(&app, id).await
}

/// The subscriptions of a client.
#[utoipa::path(get, path = "/subscriptions/{id}", tag = "Subscriptions", operation_id = "client_subscriptions",
    params(("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Subscription>>)))]
pub async fn of_client(
    Name(id): Name,
    app: State<App>,
) -> Result<Answer<Objects<Subscription>>, Fault> {
    find(&app, id).await
}
