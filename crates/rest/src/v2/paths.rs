//! `/` and `/status`, which need no login.

use crate::App;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// As EMQ lists them: not all there are.
const PATHS: [&str; 29] = [
    "api/v2/management/nodes",
    "api/v2/management/nodes/{node_name}",
    "api/v2/monitoring/nodes",
    "api/v2/monitoring/nodes/{node_name}",
    "api/v2/monitoring/listeners",
    "api/v2/monitoring/listeners/{node_name}",
    "api/v2/monitoring/metrics/",
    "api/v2/monitoring/metrics/{node_name}",
    "api/v2/monitoring/stats",
    "api/v2/monitoring/stats/{node_name}",
    "api/v2/nodes/{node_name}/clients",
    "api/v2/nodes/{node_name}/clients/{clientid}",
    "api/v2/clients/{clientid}",
    "api/v2/clients/{clientid}/clean_acl_cache",
    "api/v2/nodes/{node_name}/sessions",
    "api/v2/nodes/{node_name}/sessions/{clientid}",
    "api/v2/sessions/{clientid}",
    "api/v2/nodes/{node_name}/subscriptions",
    "api/v2/nodes/{node_name}/subscriptions/{clientid}",
    "api/v2/subscriptions/{clientid}",
    "api/v2/routes",
    "api/v2/routes/{topic}",
    "api/v2/mqtt/publish",
    "api/v2/mqtt/subscribe",
    "api/v2/mqtt/unsubscribe",
    "api/v2/nodes/{node_name}/plugins",
    "api/v2/nodes/{node_name}/plugins/{plugin_name}",
    "api/v2/configs/{app}",
    "api/v2/nodes/{node_name}/configs/{app}",
];

/// Paths of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paths {
    /// without the slash before them
    pub paths: &'static [&'static str],
}

/// Paths of the API, on its own ports.
#[utoipa::path(get, path = "/", tag = "Open", operation_id = "paths", security(()),
    responses((status = 200, body = Paths)))]
pub async fn list() -> Json<Paths> {
    Json(Paths { paths: &PATHS })
}

/// Whether the broker runs, in two lines.
#[utoipa::path(get, path = "/status", tag = "Open", operation_id = "status", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn status(app: State<App>) -> Response {
    let node = app.core().broker.node_name();
    let text = format!("Node {node} is started\nemqttd is running");
    ([(CONTENT_TYPE, "text/plain")], text).into_response()
}
