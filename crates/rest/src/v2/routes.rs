//! `routes`: the topics and filters that somebody has subscribed to.

use super::forms::{Fault, Name, Objects, Page, Paging};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::Envelope;
use axum::extract::State;
use emqttd_broker::{RouteInfo, RouteOrder};
use serde::Serialize;
use utoipa::ToSchema;

/// A route.
#[derive(Debug, Serialize, ToSchema)]
pub struct Route {
    /// the filter; with `$local/` when it is for messages of this node alone
    pub topic: String,
    /// the node to which it leads
    pub node: String,
}

impl Route {
    fn new(info: RouteInfo, node: String) -> Route {
        let topic = match info.local {
            true => format!("$local/{}", info.topic),
            false => info.topic,
        };
        Route { topic, node }
    }
}

/// All routes.
#[utoipa::path(get, path = "/routes", tag = "Routes", operation_id = "routes", params(Paging),
    responses((status = 200, body = Envelope<Page<Route>>)))]
pub async fn list(paging: Paging, app: State<App>) -> Result<Answer<Page<Route>>, Fault> {
    let page = app
        .ask(move |core| core.broker.find_routes(&paging.find(RouteOrder::Topic)))
        .await?
        .map_err(Fault::of_broker)?;
    let node = app.core().broker.node_name();
    let rows = page
        .rows
        .into_iter()
        .map(|row| Route::new(row, node.clone()));
    Ok(Answer(Page::new(paging, page.total, rows.collect())))
}

/// The route of exactly this filter, or none. Slashes in it may stand as they are.
#[utoipa::path(get, path = "/routes/{*topic}", tag = "Routes", operation_id = "route",
    params(("topic" = String, Path, description = "the filter")),
    responses((status = 200, body = Envelope<Objects<Route>>)))]
pub async fn one(Name(topic): Name, app: State<App>) -> Result<Answer<Objects<Route>>, Fault> {
    let node = app.core().broker.node_name();
    let found = app
        .ask(move |core| {
            let (filter, local) = match topic.strip_prefix("$local/") {
                Some(filter) => (filter, true),
                None => (topic.as_str(), false),
            };
            let route = core.broker.route(filter);
            route.filter(|route| route.local == local)
        })
        .await?;
    let rows = found.into_iter().map(|row| Route::new(row, node.clone()));
    Ok(Answer(rows.collect()))
}
