//! Events, as clients, sessions, plugins and listeners come and go.

use emqttd_tests::http::Http;
use emqttd_tests::packet::Version;
use emqttd_tests::{Broker, Connect, unique};
use serde_json::{Value, json};

use crate::common::{self, api};
use crate::console_common::{Event, Events, broker, path, refusal};

/// Whether it is `name` about that client.
fn about(name: &'static str, id: &str) -> impl Fn(&Event) -> bool {
    move |(event, data)| event == name && data["client_id"] == id
}

#[test]
fn clients_and_sessions_come_and_go() {
    let http = api(broker());
    let mut events = Events::open(&http, "clients,sessions");
    let mut only_sessions = Events::open(&http, "sessions");
    for version in [Version::V311, Version::V5] {
        let id = unique("comes");
        let connect = Connect::new(version, &id).username("somebody");
        let client = broker().open(&connect);
        events.find(about("session.created", &id));
        let row = events.find(about("client.connected", &id));
        assert_eq!(
            (&row["username"], &row["listener"]),
            (&json!("somebody"), &json!("mqtt:tcp"))
        );
        assert_eq!(row["ipaddress"], "127.0.0.1");
        client.disconnect();
        let gone = events.find(about("client.disconnected", &id));
        assert_eq!(
            (&gone["reason"], &gone["username"]),
            (&json!("normal"), &json!("somebody"))
        );
        let over = events.find(about("session.terminated", &id));
        assert_eq!(over["reason"], "normal");
        only_sessions.find(about("session.created", &id));
        let (name, _) = only_sessions.next().unwrap();
        assert_eq!(name.split('.').next(), Some("session"));
    }
}

#[test]
fn refused_clients_are_no_events() {
    let http = api(broker());
    let mut events = Events::open(&http, "clients");
    let mut refused = broker().raw(Version::V311);
    let empty = Connect::new(Version::V311, "").clean(false);
    refused.send(&empty.encode());
    assert_eq!(refused.connack().1, 2);
    let id = unique("accepted");
    let _client = broker().open(&Connect::new(Version::V311, &id));
    let row = events.find(|(_, data)| data["client_id"] == "" || data["client_id"] == id.as_str());
    assert_eq!(row["client_id"], id);
}

#[test]
fn figures_plugins_and_listeners() {
    let broker = common::broker();
    let http = api(&broker);
    let mut events = Events::open(&http, "stats,plugins,listeners");
    let stats = events.find(|(name, _)| name == "stats");
    assert_eq!(stats["stats"]["clients/count"], 0);
    let _client = broker.client(Version::V311, "counted");
    events.find(|(name, data)| name == "stats" && data["stats"]["clients/count"] == 1);
    broker.unload("emq_retainer");
    let stopped = events.find(|(name, _)| name == "plugin.stopped");
    assert_eq!(stopped, json!({"name": "emq_retainer"}));
    broker.load("emq_retainer");
    let started = events.find(|(name, _)| name == "plugin.started");
    assert_eq!(started["name"], "emq_retainer");
    let listen = broker.addr("tcp.external").to_string();
    let target = path(&format!("listeners/mqtt:tcp/{listen}"));
    http.put(&target, &json!({"state": "stopped"})).result();
    let closed = events.find(|(name, _)| name == "listener.closed");
    assert_eq!(closed, json!({"protocol": "mqtt:tcp", "listen": listen}));
    http.put(&target, &json!({"state": "running"})).result();
    events.find(|(name, data)| name == "listener.opened" && data["listen"] == listen.as_str());
}

#[test]
fn alarms_are_told() {
    let broker = common::broker();
    let http = api(&broker);
    let mut events = Events::open(&http, "alarms");
    // The alarm that the default password is in use ends when it is changed.
    let change = json!({"old_pwd": "public", "new_pwd": "a better one"});
    assert_eq!(http.put(&path("change_pwd/admin"), &change).code(), 0);
    let cleared = events.find(|(name, _)| name == "alarm.cleared");
    assert_eq!(
        (&cleared["id"], &cleared["severity"]),
        (&json!("default_password"), &json!("warning"))
    );
    let http = Http::at(broker.addr("api.mgmt")).basic("admin", "a better one");
    let alarms = http.get(&path("alarms")).result();
    assert_eq!(alarms["active"], json!([]));
    assert_eq!(alarms["history"][0], cleared);
}

#[test]
fn a_stream_needs_a_login_and_ends_with_it() {
    let broker = common::broker();
    let http = api(&broker);
    let nobody = Http::at(broker.addr("api.mgmt")).get(&path("events"));
    assert_eq!(nobody.status, 401);
    let key = json!({"name": "publisher", "scopes": ["publish"]});
    let key = http.post(&path("api_keys"), &key).result();
    let other = Http::at(broker.addr("api.mgmt"))
        .basic(key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
    assert!(refusal(&other.get(&path("events")), 403).contains("read"));
    let answer = http.get(&path("events?kinds=weather"));
    assert!(refusal(&answer, 400).contains("clients, sessions, alarms"));
}

/// Somebody with an API key.
fn reader(broker: &Broker, http: &Http, n: usize) -> Http {
    let key = json!({"name": format!("reader {n}"), "scopes": ["read"]});
    let key = http.post(&path("api_keys"), &key).result();
    let part = |name: &str| key[name].as_str().unwrap().to_owned();
    Http::at(broker.addr("api.mgmt")).basic(&part("id"), &part("secret"))
}

#[test]
fn there_are_64_streams_at_most_and_16_of_one() {
    let broker = common::broker();
    let http = api(&broker);
    let readers: Vec<Http> = (0..4).map(|n| reader(&broker, &http, n)).collect();
    let mut all: Vec<Events> = Vec::new();
    for reader in &readers {
        all.extend((0..16).map(|_| Events::open(reader, "clients")));
        if all.len() < 64 {
            assert!(refusal(&reader.get(&path("events")), 429).contains("16"));
        }
    }
    assert!(refusal(&http.get(&path("events")), 503).contains("64"));
    let id = unique("heard");
    let client = broker.open(&Connect::new(Version::V311, &id));
    for events in &mut all {
        events.find(about("client.connected", &id));
    }
    all.clear();
    // Places come free when the connections are seen to be closed: at the next event, or heartbeat.
    drop(client);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let page = http.get("/metrics").text();
        if page.lines().any(|line| line == "emqttd_event_streams 0") {
            break;
        }
        assert!(std::time::Instant::now() < end, "streams stay");
        std::thread::yield_now();
    }
    let mut again = Events::open(&http, "stats");
    assert!(matches!(again.next(), Some((name, Value::Object(_))) if name == "stats"));
}
