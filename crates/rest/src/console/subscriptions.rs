//! Subscriptions.

use super::forms::{
    Ask, Checked, Envelope, Guarded, Listing, Patient, bad, find, refused, sorts, word,
};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{SubscriptionFilter, SubscriptionInfo, SubscriptionOrder};
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

/// Which subscriptions, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubscriptionQuery {
    /// in the client identifier, upper or lower case
    pub search: Option<String>,
    /// in the filter
    pub topic: Option<String>,
    /// exactly this QoS
    #[param(maximum = 2)]
    pub qos: Option<u8>,
    /// exactly this group
    pub share: Option<String>,
    /// `client_id` or `topic`; behind `-` the greatest first
    #[param(schema_with = sort_values)]
    pub sort: Option<String>,
    /// rows of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// the `cursor` of the answer before
    pub cursor: Option<String>,
}

/// A subscription.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SubscriptionRow {
    /// client identifier
    pub client_id: String,
    /// the filter, without `$share/<group>/`, `$queue/`, `$local/`
    pub topic: String,
    /// granted QoS
    pub qos: u8,
    /// its group, `$queue` for `$queue/`; null when it is not shared
    pub share: Option<String>,
    /// subscribed as `$local/`
    pub local: bool,
}

const ORDERS: [(&str, SubscriptionOrder); 2] = [
    ("client_id", SubscriptionOrder::ClientId),
    ("topic", SubscriptionOrder::Topic),
];

fn sort_values() -> Object {
    sorts(&ORDERS)
}

impl SubscriptionRow {
    /// A subscription as it is shown.
    pub fn of(subscription: SubscriptionInfo) -> SubscriptionRow {
        SubscriptionRow {
            client_id: subscription.clientid,
            topic: subscription.topic,
            qos: subscription.qos,
            share: subscription.share,
            local: subscription.local,
        }
    }
}

/// Search the subscriptions
///
/// Scope `read`.
#[utoipa::path(get, path = "/search/subscriptions", tag = "Subscriptions", operation_id = "search_subscriptions",
    params(SubscriptionQuery),
    responses((status = 200, description = "subscriptions", body = Envelope<Listing<SubscriptionRow>>), Guarded, Checked, Patient))]
pub async fn search(
    State(app): State<App>,
    Ask(query): Ask<SubscriptionQuery>,
) -> Result<Answer<Listing<SubscriptionRow>>, Refusal> {
    if query.qos.is_some_and(|qos| qos > 2) {
        return Err(bad("qos should be 0, 1 or 2"));
    }
    let filter = SubscriptionFilter {
        search: word(query.search),
        topic: word(query.topic),
        qos: query.qos,
        share: word(query.share),
    };
    let find = find(filter, &ORDERS, query.sort, query.limit, query.cursor)?;
    let page = app
        .ask(move |core| core.broker.find_subscriptions(&find))
        .await?;
    let page = page.map_err(refused)?;
    Ok(Answer(Listing::of(page, SubscriptionRow::of)))
}
