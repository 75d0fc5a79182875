//! What the dashboard needs beyond the API of 2.3.11: everything here is additive, in the same envelope, with the status that
//! HTTP has for what went wrong.

mod access;
mod alarms;
mod api_keys;
mod audit;
mod bans;
mod clients;
pub mod events;
pub mod forms;
mod health;
mod history;
mod listeners;
mod logging;
mod metrics;
mod overview;
pub(crate) mod plugins;
mod retained;
mod routes;
mod sessions;
mod subscriptions;
#[cfg(test)]
mod tests;
mod traces;

use crate::state::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// All that needs a login, relative to `/api/v2`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(overview::overview))
        .routes(routes!(history::history))
        .routes(routes!(clients::search))
        .routes(routes!(clients::detail))
        .routes(routes!(sessions::search))
        .routes(routes!(sessions::delete))
        .routes(routes!(sessions::queue, sessions::clear_queue))
        .routes(routes!(sessions::subscriptions))
        .routes(routes!(subscriptions::search))
        .routes(routes!(routes::search))
        .routes(routes!(retained::search))
        .routes(routes!(retained::get, retained::delete))
        .routes(routes!(bans::list, bans::add))
        .routes(routes!(bans::remove))
        .routes(routes!(alarms::alarms))
        .routes(routes!(access::test_acl))
        .routes(routes!(access::test_auth))
        .routes(routes!(access::reload))
        .routes(routes!(access::clean_cache))
        .routes(routes!(listeners::list))
        .routes(routes!(listeners::set))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::show))
        .routes(routes!(plugins::config, plugins::configure))
        .routes(routes!(plugins::reload))
        .routes(routes!(logging::get, logging::set))
        .routes(routes!(traces::list, traces::start))
        .routes(routes!(traces::stop))
        .routes(routes!(traces::log))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::remove))
        .routes(routes!(audit::recent))
        .routes(routes!(events::events))
}

/// `/metrics`, `/health` and `/ready`, which stand beside `/api`.
pub fn open_router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(metrics::metrics))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
}
