//! `overview`: the node in one answer.

use super::events::now;
use super::forms::local_time;
use super::forms::{Envelope, Guarded};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_management::{Core, SYSDESCR, VERSION};
use emqttd_store::{Health, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// The node in one answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// `node.name`
    #[schema(example = "emq@127.0.0.1")]
    pub node: String,
    /// version of this broker
    pub version: String,
    /// what it calls itself
    pub sysdescr: String,
    /// seconds since the start
    pub uptime_seconds: u64,
    /// the start, in unix seconds
    pub started_at: u64,
    /// local time
    #[schema(example = "2026-11-23 18:36:00")]
    pub datetime: String,
    /// processors that the process may use
    pub cores: u64,
    /// event loops
    pub event_loops: u64,
    /// operating system and its version
    pub os: String,
    /// memory
    pub memory: Memory,
    /// load of the machine over 1, 5 and 15 minutes
    #[schema(min_items = 3, max_items = 3)]
    pub load: Vec<f64>,
    /// files and sockets
    pub fds: Descriptors,
    /// processor time used of late, in percent of a core
    pub cpu_percent: f64,
    /// numbers now and their peaks (`clients/count`, `clients/max`, …)
    pub stats: BTreeMap<String, u64>,
    /// all counters since the start, also those that EMQ did not have
    pub metrics: BTreeMap<String, u64>,
    /// what the main counters gained in a second, of late
    pub rates: BTreeMap<String, f64>,
    /// alarms that hold
    pub alarms: u64,
    /// what is on disk; null with `persistence.sync = off`
    pub store: Option<StoreFigures>,
}

/// Memory in bytes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Memory {
    /// held by this process
    pub rss: u64,
    /// of the machine, or of the container where that has a limit
    pub total: u64,
}

/// Open files and sockets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Descriptors {
    /// open now
    pub used: u64,
    /// open at most
    pub max: u64,
}

/// Figures of the store.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoreFigures {
    /// `good`, `behind`, `full`, `failing`
    pub state: String,
    /// why it fails, or why it last failed
    pub error: Option<String>,
    /// bytes of its files
    pub bytes: u64,
    /// bytes of what is still needed
    pub live_bytes: u64,
    /// messages owed, summed over all sessions
    pub owed: u64,
    /// syncs since the start
    pub syncs: u64,
    /// half of the syncs took less, in milliseconds
    pub sync_p50_ms: f64,
    /// 99 % of the syncs took less, in milliseconds
    pub sync_p99_ms: f64,
}

/// Health of the store as a word.
pub fn state_name(health: Health) -> &'static str {
    match health {
        Health::Good => "good",
        Health::Behind => "behind",
        Health::Full => "full",
        Health::Failing => "failing",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl StoreFigures {
    fn of(status: Status) -> StoreFigures {
        StoreFigures {
            state: state_name(status.health).into(),
            error: status.error,
            bytes: status.disk_bytes,
            live_bytes: status.live_bytes,
            owed: status.owed,
            syncs: status.syncs,
            sync_p50_ms: millis(status.sync_p50),
            sync_p99_ms: millis(status.sync_p99),
        }
    }
}

impl Overview {
    fn of(core: &Core) -> Overview {
        let broker = &core.broker;
        let system = core.system();
        let now = now() / 1000;
        let rows = |rows: Vec<(&'static str, u64)>| {
            let rows = rows.into_iter();
            rows.map(|(name, n)| (name.to_owned(), n)).collect()
        };
        let rates = core.history().rates().into_iter();
        Overview {
            node: broker.node_name(),
            version: VERSION.into(),
            sysdescr: SYSDESCR.into(),
            uptime_seconds: now.saturating_sub(system.started_at),
            started_at: system.started_at,
            datetime: local_time(now),
            cores: system.cores as u64,
            event_loops: broker.shards() as u64,
            os: system.os,
            memory: Memory {
                rss: system.memory_rss,
                total: system.memory_total,
            },
            load: system.load.to_vec(),
            fds: Descriptors {
                used: system.fds_used,
                max: system.fds_max,
            },
            cpu_percent: system.cpu_percent,
            stats: rows(broker.stats()),
            metrics: rows(broker.all_metrics()),
            rates: rates.map(|(name, n)| (name.to_owned(), n)).collect(),
            alarms: broker.alarms().len() as u64,
            store: broker.store().map(|store| StoreFigures::of(store.status())),
        }
    }
}

/// The node in one answer
///
/// Who it is, how it fares, its counters and rates. Scope `read`.
#[utoipa::path(get, path = "/overview", tag = "Nodes",
    responses((status = 200, description = "the node", body = Envelope<Overview>), Guarded))]
pub async fn overview(State(app): State<App>) -> Result<Answer<Overview>, Refusal> {
    app.ask(Overview::of).await.map(Answer)
}
