//! `/metrics`: figures for Prometheus. Nothing here walks over clients or sessions.

mod counters;
mod page;

use super::forms::Patient;
use super::overview::state_name;
use crate::answer::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use emqttd_broker::Severity;
use emqttd_management::{Core, VERSION};
use emqttd_store::Health;
use page::Kind::{Counter, Gauge};
use page::Page;

/// Figures for Prometheus
///
/// In its text format 0.0.4; the names are in docs/monitoring.md. No login unless `management.metrics.auth = on`.
#[utoipa::path(get, path = "/metrics", tag = "Open", operation_id = "metrics", security(()),
    responses((status = 200, description = "the figures", body = String, content_type = "text/plain"),
              (status = 401, description = "a login is wanted"), Patient))]
pub async fn metrics(State(app): State<App>) -> Result<Response, Refusal> {
    let streams = app.events().streams();
    let text = app.ask(move |core| text(core, streams)).await?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

fn text(core: &Core, streams: usize) -> String {
    let mut page = Page::default();
    node(&mut page, core);
    levels(&mut page, core);
    counters::write(&mut page, &core.broker.all_metrics());
    listeners(&mut page, core);
    loops(&mut page, core);
    plugins(&mut page, core);
    store(&mut page, core);
    page.one(
        "emqttd_event_streams",
        Gauge,
        "Streams of events that are open at the management API.",
        streams,
    );
    page.into_text()
}

fn node(page: &mut Page, core: &Core) {
    let node = core.broker.node_name();
    page.family(
        "emqttd_build_info",
        Gauge,
        "Always 1; the labels say which version runs on which node.",
    )
    .sample(&[("version", VERSION), ("node", &node)], 1);
    let system = core.system();
    page.one(
        "emqttd_start_time_seconds",
        Gauge,
        "When the broker was started, in unix seconds.",
        system.started_at,
    );
    page.one(
        "emqttd_process_cpu_seconds_total",
        Counter,
        "Processor time used.",
        system.cpu_seconds,
    );
    page.one(
        "emqttd_process_resident_memory_bytes",
        Gauge,
        "Memory held by the process.",
        system.memory_rss,
    );
    page.one(
        "emqttd_memory_limit_bytes",
        Gauge,
        "Memory of the machine, or of the container where that has a limit.",
        system.memory_total,
    );
    page.one(
        "emqttd_process_open_fds",
        Gauge,
        "Files and sockets that are open.",
        system.fds_used,
    );
    page.one(
        "emqttd_process_max_fds",
        Gauge,
        "Files and sockets that may be open.",
        system.fds_max,
    );
    page.one(
        "emqttd_process_threads",
        Gauge,
        "Threads of the process.",
        system.threads,
    );
}

/// Families of `stats`: its name there, ours, and what it is.
const LEVELS: [(&str, &str, &str); 5] = [
    ("clients", "emqttd_clients", "Clients that are connected."),
    (
        "sessions",
        "emqttd_sessions",
        "Sessions, with or without their clients.",
    ),
    (
        "subscriptions",
        "emqttd_subscriptions",
        "Subscriptions of all sessions.",
    ),
    ("routes", "emqttd_routes", "Filters that are subscribed to."),
    ("retained", "emqttd_retained_messages", "Retained messages."),
];

/// The peaks of the same.
const PEAKS: [(&str, &str); 5] = [
    ("clients", "emqttd_clients_peak"),
    ("sessions", "emqttd_sessions_peak"),
    ("subscriptions", "emqttd_subscriptions_peak"),
    ("routes", "emqttd_routes_peak"),
    ("retained", "emqttd_retained_messages_peak"),
];

fn levels(page: &mut Page, core: &Core) {
    let stats = core.broker.stats();
    let find = |what: &str, which: &str| {
        let row = stats.iter().find(|(name, _)| {
            name.split_once('/')
                .is_some_and(|(of, kind)| of == what && kind == which)
        });
        row.map_or(0, |(_, n)| *n)
    };
    for (what, name, help) in LEVELS {
        page.one(name, Gauge, help, find(what, "count"));
    }
    for (what, name) in PEAKS {
        let help = "The most of them at a time since the start.";
        page.one(name, Gauge, help, find(what, "max"));
    }
    page.one(
        "emqttd_shared_groups_waiting_messages",
        Gauge,
        "Messages that wait in shared groups until a member can take them.",
        core.broker.group_backlog(),
    );
    let alarms = core.broker.alarms();
    let mut family = page.family("emqttd_alarms", Gauge, "Alarms that hold, by severity.");
    for (severity, word) in [
        (Severity::Warning, "warning"),
        (Severity::Error, "error"),
        (Severity::Critical, "critical"),
    ] {
        let held = alarms.iter().filter(|alarm| alarm.severity == severity);
        family.sample(&[("severity", word)], held.count());
    }
}

fn listeners(page: &mut Page, core: &Core) {
    let listeners = core.listeners();
    let mut family = page.family(
        "emqttd_listener_running",
        Gauge,
        "1 while the listener is open.",
    );
    for l in &listeners {
        let labels = [("listener", &*l.protocol), ("address", &*l.listen_on)];
        family.sample(&labels, u8::from(l.running));
    }
    let mut family = page.family(
        "emqttd_listener_connections",
        Gauge,
        "Connections that are open, by listener.",
    );
    for l in &listeners {
        let labels = [("listener", &*l.protocol), ("address", &*l.listen_on)];
        family.sample(&labels, l.current_clients);
    }
    let mut family = page.family(
        "emqttd_listener_max_connections",
        Gauge,
        "Connections that may be open, by listener.",
    );
    for l in &listeners {
        let labels = [("listener", &*l.protocol), ("address", &*l.listen_on)];
        family.sample(&labels, l.max_clients);
    }
    let mut family = page.family(
        "emqttd_listener_closed_connections_total",
        Counter,
        "Connections that have ended, by listener and reason.",
    );
    for l in &listeners {
        for (reason, n) in &l.shutdown_count {
            let labels = [
                ("listener", &*l.protocol),
                ("address", &*l.listen_on),
                ("reason", reason),
            ];
            family.sample(&labels, n);
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn loops(page: &mut Page, core: &Core) {
    let loops = core.broker.loops();
    let names: Vec<String> = (0..loops.len()).map(|n| n.to_string()).collect();
    let mut each = |name, kind, help, value: &dyn Fn(usize) -> f64| {
        let mut family = page.family(name, kind, help);
        for (n, number) in names.iter().enumerate() {
            family.sample(&[("loop", number)], value(n));
        }
    };
    each(
        "emqttd_event_loop_busy_seconds_total",
        Counter,
        "Time an event loop spent working, not waiting.",
        &|n| seconds(loops[n].busy),
    );
    each(
        "emqttd_event_loop_rounds_total",
        Counter,
        "Rounds of an event loop.",
        &|n| loops[n].rounds as f64,
    );
    each(
        "emqttd_event_loop_longest_round_seconds",
        Gauge,
        "Longest round of an event loop of late.",
        &|n| seconds(loops[n].longest),
    );
    each(
        "emqttd_event_loop_sessions",
        Gauge,
        "Sessions of an event loop.",
        &|n| loops[n].sessions as f64,
    );
    each(
        "emqttd_event_loop_mail_bytes",
        Gauge,
        "Messages from other event loops that wait for one.",
        &|n| loops[n].mail as f64,
    );
}

/// A plugin that runs: its name, and what it says of itself.
type Facts = (String, Vec<(String, String)>);

/// What is known of each call into a plugin: the word in its facts, the family, and what it is.
const CALLS: [(&str, &str, &str); 4] = [
    ("calls", "emqttd_plugin_calls_total", "Calls into a plugin."),
    (
        "slow calls",
        "emqttd_plugin_slow_calls_total",
        "Calls into a plugin that held up an event loop.",
    ),
    (
        "timeouts",
        "emqttd_plugin_timeouts_total",
        "Answers of a plugin that did not come in time.",
    ),
    (
        "panics",
        "emqttd_plugin_panics_total",
        "Panics of a plugin.",
    ),
];

fn plugins(page: &mut Page, core: &Core) {
    let control = core.plugins();
    let rows = control.as_ref().map(|plugins| plugins.list());
    let rows = rows.unwrap_or_default();
    let mut family = page.family("emqttd_plugin_active", Gauge, "1 while the plugin runs.");
    for row in &rows {
        family.sample(&[("plugin", &row.name)], u8::from(row.active));
    }
    let running = rows.into_iter().filter(|row| row.active);
    let running: Vec<Facts> = running
        .filter_map(|row| {
            let facts = control.as_ref()?.show(&row.name)?;
            Some((row.name, facts))
        })
        .collect();
    for (word, name, help) in CALLS {
        let mut family = page.family(name, Counter, help);
        for (plugin, facts) in &running {
            let fact = facts.iter().find(|(fact, _)| fact == word);
            if let Some(n) = fact.and_then(|(_, n)| n.parse::<u64>().ok()) {
                family.sample(&[("plugin", plugin)], n);
            }
        }
    }
    let mut family = page.family(
        "emqttd_plugin_events_total",
        Counter,
        "What plugins count of their own, by plugin and the name they give it.",
    );
    for (plugin, facts) in &running {
        for (fact, n) in facts {
            let own = fact
                .strip_prefix(plugin)
                .and_then(|of| of.strip_prefix('/'));
            if let (Some(event), Ok(n)) = (own, n.parse::<u64>()) {
                family.sample(&[("plugin", plugin), ("event", event)], n);
            }
        }
    }
}

fn store(page: &mut Page, core: &Core) {
    let status = core.broker.store().map(|store| store.status());
    let mut family = page.family(
        "emqttd_store_state",
        Gauge,
        "1 for the state the store is in: good, behind, full, failing.",
    );
    for state in [Health::Good, Health::Behind, Health::Full, Health::Failing] {
        if let Some(status) = &status {
            let labels = [("state", state_name(state))];
            family.sample(&labels, u8::from(status.health == state));
        }
    }
    let mut each = |name, kind, help, value: &dyn Fn(&emqttd_store::Status) -> f64| {
        let mut family = page.family(name, kind, help);
        if let Some(status) = &status {
            family.sample(&[], value(status));
        }
    };
    each(
        "emqttd_store_disk_bytes",
        Gauge,
        "Bytes of all files of the store.",
        &|s| s.disk_bytes as f64,
    );
    each(
        "emqttd_store_live_bytes",
        Gauge,
        "Bytes in the store that are still needed.",
        &|s| s.live_bytes as f64,
    );
    each(
        "emqttd_store_unsynced_bytes",
        Gauge,
        "Bytes handed to the store that are not durable yet.",
        &|s| s.position.saturating_sub(s.durable) as f64,
    );
    each(
        "emqttd_store_owed_messages",
        Gauge,
        "Messages in the store that sessions are to get, summed over all sessions.",
        &|s| s.owed as f64,
    );
    each(
        "emqttd_store_syncs_total",
        Counter,
        "Syncs of the store's files.",
        &|s| s.syncs as f64,
    );
    each(
        "emqttd_store_sync_p50_seconds",
        Gauge,
        "Half of the syncs took less.",
        &|s| s.sync_p50.as_secs_f64(),
    );
    each(
        "emqttd_store_sync_p99_seconds",
        Gauge,
        "99 of 100 syncs took less.",
        &|s| s.sync_p99.as_secs_f64(),
    );
}
