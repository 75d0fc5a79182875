//! `monitoring`: figures of nodes and listeners.

use super::forms::{Fault, Here};
use super::nodes::{RELEASE, RUNNING};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::Envelope;
use axum::extract::State;
use emqttd_management::Core;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Figures of a node and its machine.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeFigures {
    /// `node.name`
    pub name: String,
    /// what the broker is made with; in EMQ a version of Erlang
    pub otp_release: String,
    /// memory of the machine or the container, `72.94M`
    pub memory_total: String,
    /// memory of the broker, `72.94M`
    pub memory_used: String,
    /// threads it may have; in EMQ processes of Erlang
    pub process_available: u64,
    /// threads it has
    pub process_used: u64,
    /// files it may have open
    pub max_fds: u64,
    /// connected clients
    pub clients: u64,
    /// `Running`
    pub node_status: String,
    /// load of the machine over a minute, with two decimals
    pub load1: String,
    /// over 5 minutes
    pub load5: String,
    /// over 15 minutes
    pub load15: String,
}

/// `72.94M`, `1.50G`, `512.00K`, as EMQ writes memory.
fn memory(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / *unit as f64),
        None => bytes.to_string(),
    }
}

fn figures(core: &Core) -> NodeFigures {
    let system = core.system();
    let clients = core.broker.stats().into_iter();
    let clients = clients.filter(|(name, _)| *name == "clients/count");
    let [load1, load5, load15] = system.load.map(|load| format!("{load:.2}"));
    NodeFigures {
        name: core.broker.node_name(),
        otp_release: RELEASE.into(),
        memory_total: memory(system.memory_total),
        memory_used: memory(system.memory_rss),
        process_available: system.threads_max,
        process_used: system.threads,
        max_fds: system.fds_max,
        clients: clients.map(|(_, count)| count).sum(),
        node_status: RUNNING.into(),
        load1,
        load5,
        load15,
    }
}

/// Figures of all nodes.
#[utoipa::path(get, path = "/monitoring/nodes", tag = "Nodes", operation_id = "nodes_figures",
    responses((status = 200, body = Envelope<Vec<NodeFigures>>)))]
pub async fn nodes(app: State<App>) -> Result<Answer<Vec<NodeFigures>>, Fault> {
    Ok(Answer(vec![app.ask(figures).await?]))
}

/// Figures of a node.
#[utoipa::path(get, path = "/monitoring/nodes/{node}", tag = "Nodes", operation_id = "node_figures",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<NodeFigures>)))]
pub async fn node(_: Here, app: State<App>) -> Result<Answer<NodeFigures>, Fault> {
    Ok(Answer(app.ask(figures).await?))
}

/// Why connections of a listener ended, and how often: an object, or `[]` when none has.
#[derive(Debug)]
pub struct ShutdownCount(Vec<(String, u64)>);

impl Serialize for ShutdownCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.collect_seq(&self.0),
            some => serializer.collect_map(some.iter().map(|(reason, count)| (reason, count))),
        }
    }
}

impl PartialSchema for ShutdownCount {
    fn schema() -> RefOr<Schema> {
        let count = ObjectBuilder::new().schema_type(Type::Integer);
        let counts = ObjectBuilder::new()
            .additional_properties(Some(AdditionalProperties::RefOr(count.into())));
        let none = ArrayBuilder::new()
            .items(ArrayItems::False)
            .max_items(Some(0));
        OneOfBuilder::new()
            .item(counts)
            .item(none)
            .description(Some("by reason, how many connections ended; `[]` for none"))
            .into()
    }
}

impl ToSchema for ShutdownCount {}

/// An open listener.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenListener {
    /// `mqtt:tcp`, `dashboard:http`…
    pub protocol: String,
    /// its address
    pub listen: String,
    /// its key `acceptors`
    pub acceptors: u32,
    /// connections it takes
    pub max_clients: usize,
    /// connections it has
    pub current_clients: usize,
    /// why connections ended
    pub shutdown_count: ShutdownCount,
}

/// Values by the name of their node.
pub type ByNode<T> = BTreeMap<String, T>;

/// Numbers by name.
pub type Numbers = BTreeMap<&'static str, u64>;

fn by_node<T>(app: &App, of_this: T) -> Answer<Vec<ByNode<T>>> {
    Answer(vec![ByNode::from([(
        app.core().broker.node_name(),
        of_this,
    )])])
}

fn open_listeners(core: &Core) -> Vec<OpenListener> {
    let rows = core.listeners().into_iter().filter(|row| row.running);
    rows.map(|row| OpenListener {
        protocol: row.protocol,
        listen: row.listen_on,
        acceptors: row.acceptors,
        max_clients: row.max_clients,
        current_clients: row.current_clients,
        shutdown_count: ShutdownCount(row.shutdown_count),
    })
    .collect()
}

/// The open listeners of all nodes.
#[utoipa::path(get, path = "/monitoring/listeners", tag = "Nodes", operation_id = "nodes_listeners",
    responses((status = 200, body = Envelope<Vec<BTreeMap<String, Vec<OpenListener>>>>)))]
pub async fn listeners(app: State<App>) -> Result<Answer<Vec<ByNode<Vec<OpenListener>>>>, Fault> {
    Ok(by_node(&app, app.ask(open_listeners).await?))
}

/// The open listeners of a node.
#[utoipa::path(get, path = "/monitoring/listeners/{node}", tag = "Nodes", operation_id = "node_listeners",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<Vec<OpenListener>>)))]
pub async fn listeners_of(_: Here, app: State<App>) -> Result<Answer<Vec<OpenListener>>, Fault> {
    Ok(Answer(app.ask(open_listeners).await?))
}

/// Counters of all nodes: packets, messages, bytes.
#[utoipa::path(get, path = "/monitoring/metrics", tag = "Nodes", operation_id = "nodes_metrics",
    responses((status = 200, body = Envelope<Vec<BTreeMap<String, BTreeMap<String, u64>>>>)))]
pub async fn metrics(app: State<App>) -> Result<Answer<Vec<ByNode<Numbers>>>, Fault> {
    let metrics = app.ask(|core| core.broker.metrics()).await?;
    Ok(by_node(&app, metrics.into_iter().collect()))
}

/// Counters of a node.
#[utoipa::path(get, path = "/monitoring/metrics/{node}", tag = "Nodes", operation_id = "node_metrics",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<BTreeMap<String, u64>>)))]
pub async fn metrics_of(_: Here, app: State<App>) -> Result<Answer<Numbers>, Fault> {
    let metrics = app.ask(|core| core.broker.metrics()).await?;
    Ok(Answer(metrics.into_iter().collect()))
}

/// How much there is on all nodes, and was at most.
#[utoipa::path(get, path = "/monitoring/stats", tag = "Nodes", operation_id = "nodes_stats",
    responses((status = 200, body = Envelope<Vec<BTreeMap<String, BTreeMap<String, u64>>>>)))]
pub async fn stats(app: State<App>) -> Result<Answer<Vec<ByNode<Numbers>>>, Fault> {
    let stats = app.ask(|core| core.broker.stats()).await?;
    Ok(by_node(&app, stats.into_iter().collect()))
}

/// How much there is on a node, and was at most.
#[utoipa::path(get, path = "/monitoring/stats/{node}", tag = "Nodes", operation_id = "node_stats",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<BTreeMap<String, u64>>)))]
pub async fn stats_of(_: Here, app: State<App>) -> Result<Answer<Numbers>, Fault> {
    let stats = app.ask(|core| core.broker.stats()).await?;
    Ok(Answer(stats.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::memory;

    #[test]
    fn memory_has_two_decimals_and_a_unit() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.00K"),
            (76_483_133, "72.94M"),
            (3 << 29, "1.50G"),
        ] {
            assert_eq!(memory(bytes), text);
        }
    }
}
