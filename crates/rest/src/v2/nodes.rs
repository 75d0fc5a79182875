//! `management/nodes`: the nodes of the cluster, which is this one.

use super::forms::{Fault, Here};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::Envelope;
use emqttd_management::{Core, SYSDESCR, VERSION};
use serde::Serialize;
use utoipa::ToSchema;

/// What there is to know of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeFacts {
    /// version of the broker
    pub version: String,
    /// what it is
    pub sysdescr: String,
    /// `5 seconds`, `2 minutes, 5 seconds`…
    pub uptime: String,
    /// local time there, `YYYY-MM-DD HH:MM:SS`
    pub datetime: String,
    /// what the broker is made with; in EMQ a version of Erlang
    pub otp_release: String,
    /// `Running`
    pub node_status: String,
}

/// A node with its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// `node.name`
    pub name: String,
    /// the rest
    #[serde(flatten)]
    pub facts: NodeFacts,
}

/// What stands where EMQ names its release of Erlang and the version of its emulator.
pub const RELEASE: &str = concat!("Rust/", env!("CARGO_PKG_VERSION"));

/// Where EMQ says whether a node runs.
pub const RUNNING: &str = "Running";

fn facts(core: &Core) -> NodeFacts {
    NodeFacts {
        version: VERSION.into(),
        sysdescr: SYSDESCR.into(),
        uptime: core.broker.uptime(),
        datetime: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
        otp_release: RELEASE.into(),
        node_status: RUNNING.into(),
    }
}

/// The nodes of the cluster.
#[utoipa::path(get, path = "/management/nodes", tag = "Nodes", operation_id = "nodes",
    responses((status = 200, body = Envelope<Vec<Node>>)))]
pub async fn list(app: axum::extract::State<App>) -> Answer<Vec<Node>> {
    Answer(vec![Node {
        name: app.core().broker.node_name(),
        facts: facts(app.core()),
    }])
}

/// One node.
#[utoipa::path(get, path = "/management/nodes/{node}", tag = "Nodes", operation_id = "node",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<NodeFacts>)))]
pub async fn one(_: Here, app: axum::extract::State<App>) -> Result<Answer<NodeFacts>, Fault> {
    Ok(Answer(facts(app.core())))
}
