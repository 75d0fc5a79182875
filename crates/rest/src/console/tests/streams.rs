use super::Bench;
use crate::console::events::{Kinds, MOST_OF_ONE, MOST_STREAMS};
use axum::body::Body;
use emqttd_broker::Severity;
use emqttd_management::{PluginControl, PluginDone, PluginError, PluginRow};
use emqttd_plugin_sdk::{Client, HookPoint};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn client(id: &str) -> Client {
    Client {
        clientid: id.into(),
        username: None,
        peername: "192.0.2.1:4711".parse().unwrap(),
        clean_sess: true,
        proto_ver: 4,
        keepalive: 60,
        will_topic: None,
        headers: Some(Arc::new([("cookie".to_owned(), "secret".to_owned())])),
        mountpoint: None,
        listener: "mqtt:ws".into(),
        connected_at: 0,
    }
}

/// What the stream says next.
async fn piece(body: &mut Body) -> String {
    let frame = timeout(PATIENCE, body.frame())
        .await
        .expect("the stream says nothing");
    let bytes = frame.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says up to and with `word`.
async fn until(body: &mut Body, word: &str) -> String {
    let mut all = String::new();
    while !all.contains(word) {
        all.push_str(&piece(body).await);
    }
    all
}

impl Bench {
    fn connected(&self, client: &Client, connack: u8) {
        let hooks = self.app.core().broker.hooks();
        hooks.each(HookPoint::ClientConnected, |h| {
            h.client_connected(client, connack)
        });
    }

    fn disconnected(&self, client: &Client) {
        let hooks = self.app.core().broker.hooks();
        hooks.each(HookPoint::ClientDisconnected, |h| {
            h.client_disconnected(client, "normal", Some(0));
        });
    }

    fn hears_clients(&self) -> bool {
        self.app
            .core()
            .broker
            .hooks()
            .has(HookPoint::ClientConnected)
    }
}

#[tokio::test]
async fn hooks_are_there_while_somebody_listens() {
    let bench = Bench::new();
    assert!(!bench.hears_clients());
    let alarms = bench.send("GET", "/api/v2/events?kinds=alarms", None).await;
    assert!(!bench.hears_clients());
    let clients = bench
        .send("GET", "/api/v2/events?kinds=clients", None)
        .await;
    let both = bench
        .send("GET", "/api/v2/events?kinds=clients,sessions", None)
        .await;
    assert!(bench.hears_clients());
    assert!(
        bench
            .app
            .core()
            .broker
            .hooks()
            .has(HookPoint::SessionCreated)
    );
    drop(both);
    assert!(bench.hears_clients());
    assert!(
        !bench
            .app
            .core()
            .broker
            .hooks()
            .has(HookPoint::SessionCreated)
    );
    drop(clients);
    assert!(!bench.hears_clients());
    drop(alarms);
    assert_eq!(bench.app.events().streams(), 0);
}

#[tokio::test]
async fn a_stream_tells_what_was_asked_for() {
    let bench = Bench::new();
    let path = "/api/v2/events?kinds=clients,alarms";
    let response = bench.send("GET", path, None).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(piece(&mut body).await, "retry: 2000\n\n");
    bench.connected(&client("refused"), 5);
    bench.connected(&client("c1"), 0);
    bench.disconnected(&client("c1"));
    let text = until(&mut body, "client.disconnected").await;
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("event: client.connected"));
    let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
    let row: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&row["client_id"], &row["username"]),
        (&"c1".into(), &"undefined".into())
    );
    assert_eq!(
        (&row["ipaddress"], &row["listener"]),
        (&"192.0.2.1".into(), &"mqtt:ws".into())
    );
    assert!(row["connected_at_unix"].as_u64() > Some(1_700_000_000));
    assert!(text.contains(r#""client_id":"c1","username":"undefined","reason":"normal","code":0"#));
    assert!(
        !text.contains("secret") && !text.contains("refused"),
        "{text}"
    );
    let broker = bench.app.core().broker.clone();
    broker.post_alarm("x", Severity::Critical, "t", Some("s"));
    broker.post_alarm("x", Severity::Critical, "t", None);
    let text = until(&mut body, "alarm.cleared").await;
    assert!(
        text.contains("event: alarm.set\ndata: {\"id\":\"x\",\"severity\":\"critical\""),
        "{text}"
    );
    assert!(!text.contains("event: stats"), "{text}");
}

/// A plugin that runs, or does not.
#[derive(Default)]
struct OnePlugin(AtomicBool);

impl PluginControl for OnePlugin {
    fn list(&self) -> Vec<PluginRow> {
        vec![PluginRow {
            name: "one".into(),
            version: "1.0".into(),
            description: String::new(),
            active: self.0.load(Ordering::SeqCst),
        }]
    }

    fn load(&self, _: &str) -> Result<PluginDone, PluginError> {
        self.0.store(true, Ordering::SeqCst);
        Ok(PluginDone::default())
    }

    fn unload(&self, _: &str) -> Result<PluginDone, PluginError> {
        self.0.store(false, Ordering::SeqCst);
        Ok(PluginDone::default())
    }

    fn reload(&self, _: &str) -> Result<PluginDone, PluginError> {
        Ok(PluginDone::default())
    }

    fn show(&self, _: &str) -> Option<Vec<(String, String)>> {
        None
    }

    fn reconfigure(&self, _: &str, _: Vec<emqttd_plugin_sdk::Entry>) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn plugins_are_told_when_they_start_and_stop() {
    let bench = Bench::new();
    let core = bench.app.core();
    core.set_plugins(Arc::new(OnePlugin::default()));
    // Whether or not somebody listens to something else already.
    let _other = bench
        .send("GET", "/api/v2/events?kinds=clients", None)
        .await;
    let path = "/api/v2/events?kinds=plugins";
    let mut body = bench.send("GET", path, None).await.into_body();
    piece(&mut body).await;
    // Time goes on only where somebody waits for it.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        core.plugins().unwrap().load("one").unwrap();
        let text = until(&mut body, "\n\n").await;
        assert_eq!(text, "event: plugin.started\ndata: {\"name\":\"one\"}\n\n");
        core.plugins().unwrap().unload("one").unwrap();
        let text = until(&mut body, "\n\n").await;
        assert_eq!(text, "event: plugin.stopped\ndata: {\"name\":\"one\"}\n\n");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn figures_come_by_themselves() {
    let bench = Bench::new();
    let response = bench.send("GET", "/api/v2/events?kinds=stats", None).await;
    let mut body = response.into_body();
    let text = until(&mut body, "event: stats").await;
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let stats: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(stats["stats"]["clients/count"], 0);
    assert_eq!(stats["metrics"]["messages/received"], 0);
    until(&mut body, "event: stats").await;
}

#[tokio::test]
async fn streams_are_bounded() {
    let bench = Bench::new();
    let hub = bench.app.events();
    let open = |n: usize| {
        let who = format!("user{}", n % 5);
        hub.listen(&bench.app, Kinds::CLIENTS, &who).ok()
    };
    let mut all: Vec<_> = (0..MOST_STREAMS).filter_map(open).collect();
    assert_eq!(all.len(), MOST_STREAMS);
    let why = bench.refusal(503, "GET", "events", None).await;
    assert!(why.contains("64 streams"), "{why}");
    all.pop();
    let response = bench.send("GET", "/api/v2/events", None).await;
    assert_eq!(response.status(), 200);
    let why = bench
        .refusal(400, "GET", "events?kinds=weather", None)
        .await;
    assert!(why.contains("clients, sessions, alarms"), "{why}");
}

#[tokio::test]
async fn one_login_does_not_take_all_streams() {
    let bench = Bench::new();
    let path = "/api/v2/events?kinds=clients";
    let mut all = Vec::new();
    for _ in 0..MOST_OF_ONE {
        let response = bench.send("GET", path, None).await;
        assert_eq!(response.status(), 200);
        all.push(response);
    }
    let why = bench.refusal(429, "GET", "events", None).await;
    assert!(why.contains("admin has 16 streams already"), "{why}");
    // Others have theirs, and a place that comes free is one.
    let other = bench.app.events();
    let other = other.listen(&bench.app, Kinds::CLIENTS, "other");
    assert!(other.is_ok());
    all.pop();
    let response = bench.send("GET", path, None).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_reader_that_sleeps_hears_how_much_it_lost() {
    let bench = Bench::new();
    let response = bench
        .send("GET", "/api/v2/events?kinds=clients", None)
        .await;
    let mut body = response.into_body();
    piece(&mut body).await;
    // One thread: what event loops see lies in the channel until the reader waits.
    for n in 0..20_000 {
        bench.connected(&client(&format!("c{n}")), 0);
    }
    let text = until(&mut body, "event: lost").await;
    assert!(text.contains("\"c0\"") && !text.contains("\"c19999\""));
    let lost = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: {\"n\":"));
    let lost: u64 = lost.unwrap().trim_end_matches('}').parse().unwrap();
    let told = text.matches("event: client.connected").count() as u64;
    assert!(lost > 10_000 && told >= 1000, "{lost} lost, {told} told");
    // And goes on.
    bench.connected(&client("later"), 0);
    until(&mut body, "\"later\"").await;
}

#[tokio::test]
async fn a_stream_ends_with_its_login() {
    let bench = Bench::new();
    let body = r#"{"name":"k","scopes":["read"]}"#;
    let key = bench.result("POST", "api_keys", Some(body)).await;
    let id = key["id"].as_str().unwrap();
    let bearer = format!("Bearer {id}.{}", key["secret"].as_str().unwrap());
    let response = bench.send_as(&bearer, "/api/v2/events?kinds=clients").await;
    let mut body = response.into_body();
    piece(&mut body).await;
    tokio::time::pause();
    // A heartbeat, for the key is there.
    let beat = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&beat[..], b": \n\n");
    tokio::time::resume();
    bench
        .result("DELETE", &format!("api_keys/{id}"), None)
        .await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    while let Some(frame) = body.frame().await {
        assert_eq!(&frame.unwrap().into_data().unwrap()[..], b": \n\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(bench.app.events().streams(), 0);
}
