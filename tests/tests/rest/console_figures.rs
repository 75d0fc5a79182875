//! `/metrics`, `/health`, `/ready`, the overview: the same numbers everywhere.

use std::collections::BTreeMap;

use emqttd_tests::http::Http;
use emqttd_tests::packet::Version;
use emqttd_tests::{Broker, Connect, Publish};
use serde_json::json;

use crate::common::{self, api};
use crate::console_common::{path, until};

/// Samples of a page: name and labels as they stand there, and the value.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<(String, f64)> = lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect();
    let all: BTreeMap<_, _> = samples.iter().cloned().collect();
    assert_eq!(all.len(), samples.len(), "a series comes twice");
    all
}

/// Rows `name : number` of `emqttd_ctl`.
fn rows(text: &str) -> BTreeMap<String, f64> {
    let rows = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(':')?;
        Some((name.trim().to_owned(), value.trim().parse().ok()?))
    });
    rows.collect()
}

#[test]
fn the_same_numbers_everywhere() {
    let broker = common::broker();
    let http = api(&broker);
    let mut subscriber = broker.open(&Connect::new(Version::V5, "subscriber"));
    subscriber.sub("figures/#", 2);
    let mut publisher = broker.client(Version::V311, "publisher");
    for n in 0..30u8 {
        let topic = format!("figures/{}", n % 3);
        publisher.publish(Publish::new(&topic, "x").qos(n % 3));
        subscriber.recv_message();
    }
    publisher.publish(Publish::new("figures/kept", "x").qos(1).retained());
    subscriber.recv_message();
    subscriber.ping();
    publisher.ping();
    let nobody = Http::at(broker.addr("api.mgmt"));
    let answer = nobody.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = samples(&answer.text());
    let counters = rows(&broker.ctl(&["broker", "metrics", "all"]).1);
    let stats = rows(&broker.ctl(&["broker", "stats"]).1);
    let overview = http.get(&path("overview")).result();
    for (ours, theirs) in [
        ("emqttd_bytes_received_total", "bytes/received"),
        ("emqttd_bytes_sent_total", "bytes/sent"),
        (
            "emqttd_messages_received_total{qos=\"0\"}",
            "messages/qos0/received",
        ),
        (
            "emqttd_messages_received_total{qos=\"1\"}",
            "messages/qos1/received",
        ),
        (
            "emqttd_messages_sent_total{qos=\"2\"}",
            "messages/qos2/sent",
        ),
        (
            "emqttd_packets_received_total{type=\"publish\"}",
            "packets/publish/received",
        ),
        (
            "emqttd_packets_received_total{type=\"connect\"}",
            "packets/connect",
        ),
        (
            "emqttd_packets_received_total{type=\"pubrel\"}",
            "packets/pubrel/received",
        ),
        (
            "emqttd_packets_sent_total{type=\"suback\"}",
            "packets/suback",
        ),
        (
            "emqttd_packets_sent_total{type=\"pubcomp\"}",
            "packets/pubcomp/sent",
        ),
        ("emqttd_messages_dropped_total", "messages/dropped"),
    ] {
        assert_eq!(page[ours], counters[theirs], "{ours}");
        assert_eq!(
            overview["metrics"][theirs].as_f64(),
            Some(page[ours]),
            "{ours}"
        );
    }
    assert!(page["emqttd_messages_received_total{qos=\"2\"}"] >= 10.0);
    let sum = |name: &str| {
        let of = page.iter().filter(|(series, _)| series.starts_with(name));
        of.map(|(_, n)| n).sum::<f64>()
    };
    assert_eq!(
        sum("emqttd_packets_received_total{"),
        counters["packets/received"]
    );
    assert_eq!(sum("emqttd_packets_sent_total{"), counters["packets/sent"]);
    assert_eq!(
        sum("emqttd_messages_received_total{"),
        counters["messages/received"]
    );
    for (ours, theirs) in [
        ("emqttd_clients", "clients/count"),
        ("emqttd_clients_peak", "clients/max"),
        ("emqttd_sessions", "sessions/count"),
        ("emqttd_subscriptions", "subscriptions/count"),
        ("emqttd_routes", "routes/count"),
        ("emqttd_retained_messages", "retained/count"),
    ] {
        assert_eq!(page[ours], stats[theirs], "{ours}");
        assert_eq!(
            overview["stats"][theirs].as_f64(),
            Some(page[ours]),
            "{ours}"
        );
    }
    assert_eq!(page["emqttd_clients"], 2.0);
    let listen = broker.addr("tcp.external");
    let labels = format!("{{listener=\"mqtt:tcp\",address=\"{listen}\"}}");
    assert_eq!(page[&format!("emqttd_listener_connections{labels}")], 2.0);
    assert_eq!(page[&format!("emqttd_listener_running{labels}")], 1.0);
    assert_eq!(page["emqttd_plugin_active{plugin=\"emq_retainer\"}"], 1.0);
    assert_eq!(
        page["emqttd_alarms{severity=\"warning\"}"], 1.0,
        "the default password"
    );
    assert!(page["emqttd_event_loop_rounds_total{loop=\"0\"}"] > 0.0);
    assert!(page["emqttd_event_loop_busy_seconds_total{loop=\"0\"}"] > 0.0);
    assert_eq!(sum("emqttd_event_loop_sessions{"), 2.0);
    assert_eq!(sum("emqttd_store_state{"), 1.0);
    assert!(page["emqttd_store_disk_bytes"] > 0.0);
    let resident = broker.resident() as f64;
    let said = page["emqttd_process_resident_memory_bytes"];
    assert!(
        (0.5..2.0).contains(&(said / resident)),
        "{said} of {resident}"
    );
    assert!(page["emqttd_process_cpu_seconds_total"] > 0.0);
    assert!(page["emqttd_process_open_fds"] < page["emqttd_process_max_fds"]);
    assert_eq!(overview["version"], "0.1.0");
    assert_eq!(overview["store"]["state"], "good");
}

#[test]
fn counters_of_a_plugin() {
    let config = common::config()
        .plugin_conf("emq_web_hook", "web.hook.api.url = http://127.0.0.1:1/\n")
        .loaded(&["emq_retainer", "emq_web_hook"]);
    let broker = Broker::start(config);
    let _client = broker.client(Version::V311, "hooked");
    let page = samples(&Http::at(broker.addr("api.mgmt")).get("/metrics").text());
    assert!(
        page["emqttd_plugin_calls_total{plugin=\"emq_web_hook\"}"] > 0.0,
        "{page:?}"
    );
    assert_eq!(
        page["emqttd_plugin_panics_total{plugin=\"emq_web_hook\"}"],
        0.0
    );
    let own = "emqttd_plugin_events_total{plugin=\"emq_web_hook\",event=\"";
    let own = page.keys().filter(|series| series.starts_with(own));
    let (_, shown) = broker.ctl(&["plugins", "show", "emq_web_hook"]);
    let counted = shown
        .lines()
        .filter(|line| line.starts_with("emq_web_hook/"))
        .count();
    assert!(counted > 0, "{shown}");
    assert_eq!(own.count(), counted);
}

#[test]
fn metrics_ask_for_a_login_where_they_are_to() {
    let broker = Broker::start(common::config().set("management.metrics.auth", "on"));
    let nobody = Http::at(broker.addr("api.mgmt"));
    assert_eq!(nobody.get("/metrics").status, 401);
    let http = api(&broker);
    assert_eq!(http.get("/metrics").status, 200);
    for (scope, status) in [("read", 200), ("publish", 403)] {
        let key = json!({"name": "prometheus", "scopes": [scope]});
        let key = http.post(&path("api_keys"), &key).result();
        let (id, secret) = (key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
        assert_eq!(
            nobody.clone().basic(id, secret).get("/metrics").status,
            status
        );
    }
    // The others never do.
    assert_eq!(nobody.get("/health").status, 200);
    assert_eq!(nobody.get("/ready").status, 200);
}

#[test]
fn health_and_readiness() {
    let broker = common::broker();
    let nobody = Http::at(broker.addr("api.mgmt"));
    let health = nobody.get("/health");
    assert_eq!((health.status, health.text().as_str()), (200, "ok"));
    let ready = nobody.get("/ready");
    assert_eq!(ready.json(), json!({"ready": true, "reasons": []}));
    assert_eq!(nobody.send("HEAD", "/health", None).status, 200);
}

#[test]
fn figures_over_time() {
    let broker = common::broker();
    let http = api(&broker);
    let _client = broker.client(Version::V311, "sampled");
    let target = path("history?range=hour");
    let history = until(&http, &target, |history| {
        let clients = history["series"]["clients"].as_array().unwrap();
        clients.iter().any(|n| n.as_f64() == Some(1.0))
    });
    assert_eq!(history["step_seconds"], 5);
    let lengths: Vec<usize> = history["series"]
        .as_object()
        .unwrap()
        .values()
        .map(|values| values.as_array().unwrap().len())
        .collect();
    assert!(lengths.iter().all(|n| *n == 720), "{lengths:?}");
}
