//! The REST API as EMQ 2.3.11 answered it, below `/api/v2`: same paths, fields, codes and quirks. Where this broker
//! answers otherwise, `docs/differences.md` says so.

mod alarms;
mod clients;
mod configs;
mod forms;
mod legacy;
mod monitoring;
mod mqtt;
mod nodes;
mod paths;
mod plugins;
mod routes;
mod sessions;
mod subscriptions;
mod users;

pub use forms::not_found;

use crate::App;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

/// All of it that needs a login, and `POST auth`.
pub fn router() -> OpenApiRouter<App> {
    [
        routes!(nodes::list),
        routes!(nodes::one),
        routes!(monitoring::nodes),
        routes!(monitoring::node),
        routes!(monitoring::listeners),
        routes!(monitoring::listeners_of),
        routes!(monitoring::metrics),
        routes!(monitoring::metrics_of),
        routes!(monitoring::stats),
        routes!(monitoring::stats_of),
        routes!(alarms::list),
        routes!(clients::list),
        routes!(clients::one_of_node),
        routes!(clients::one, clients::kick),
        routes!(clients::clean_acl_cache),
        routes!(sessions::list),
        routes!(sessions::one_of_node),
        routes!(sessions::one),
        routes!(subscriptions::list),
        routes!(subscriptions::of_client_of_node),
        routes!(subscriptions::of_client),
        routes!(routes::list),
        routes!(mqtt::publish),
        routes!(mqtt::subscribe),
        routes!(mqtt::unsubscribe),
        routes!(plugins::list),
        routes!(plugins::switch),
        routes!(plugins::configuration, plugins::configure),
        routes!(configs::list),
        routes!(configs::list_of_node),
        routes!(configs::set),
        routes!(configs::set_on_node),
        routes!(users::list, users::add),
        routes!(users::one, users::set_tags, users::remove),
        routes!(users::auth),
        routes!(users::change_password),
    ]
    .into_iter()
    .fold(OpenApiRouter::new(), with_slash)
    // A filter may end with `/`: here it means something.
    .routes(routes!(routes::one))
}

/// `GET /`
pub fn root_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(paths::list))
}

/// `GET /status`
pub fn status_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(paths::status))
}

/// `POST /mqtt/publish` of EMQ 2.0 to 2.2
pub fn legacy_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(legacy::publish))
}

/// Adds handlers at their path and at the same with a slash behind it, which EMQ took for the same.
pub fn with_slash(
    router: OpenApiRouter<App>,
    handlers: UtoipaMethodRouter<App>,
) -> OpenApiRouter<App> {
    let (_, paths, methods) = &handlers;
    let methods = methods.clone();
    let slashed: Vec<String> = paths.paths.keys().map(|path| format!("{path}/")).collect();
    slashed
        .iter()
        .fold(router.routes(handlers), |router, path| {
            router.route(path, methods.clone())
        })
}
