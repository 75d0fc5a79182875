//! Routes: the filters that somebody has subscribed to.

use super::forms::{Ask, Checked, Envelope, Guarded, Listing, Patient, find, refused, sorts, word};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{RouteFilter, RouteOrder};
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

/// Which routes, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RouteQuery {
    /// in the filter
    pub search: Option<String>,
    /// `topic`; behind `-` the greatest first
    #[param(schema_with = sort_values)]
    pub sort: Option<String>,
    /// rows of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// the `cursor` of the answer before
    pub cursor: Option<String>,
}

/// A filter that somebody has subscribed to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RouteRow {
    /// the filter
    pub topic: String,
    /// the node
    pub node: String,
    /// only `$local/` subscriptions hold it
    pub local: bool,
}

/// By what they can be sorted.
const ORDERS: [(&str, RouteOrder); 1] = [("topic", RouteOrder::Topic)];

fn sort_values() -> Object {
    sorts(&ORDERS)
}

/// Search the routes
///
/// Scope `read`.
#[utoipa::path(get, path = "/search/routes", tag = "Routes", operation_id = "search_routes", params(RouteQuery),
    responses((status = 200, description = "routes", body = Envelope<Listing<RouteRow>>), Guarded, Checked, Patient))]
pub async fn search(
    State(app): State<App>,
    Ask(query): Ask<RouteQuery>,
) -> Result<Answer<Listing<RouteRow>>, Refusal> {
    let filter = RouteFilter {
        search: word(query.search),
    };
    let find = find(filter, &ORDERS, query.sort, query.limit, query.cursor)?;
    let node = app.core().broker.node_name();
    let page = app.ask(move |core| core.broker.find_routes(&find)).await?;
    let page = page.map_err(refused)?;
    Ok(Answer(Listing::of(page, |route| RouteRow {
        topic: route.topic,
        node: node.clone(),
        local: route.local,
    })))
}
