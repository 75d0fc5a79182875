use super::{Bench, request};
use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

#[tokio::test]
async fn overview_and_history() {
    let bench = Bench::new();
    let node = bench
        .result("GET", "/overview".trim_start_matches('/'), None)
        .await;
    assert_eq!(node["node"], "emq@127.0.0.1");
    assert_eq!(node["event_loops"], 2);
    assert_eq!(node["stats"]["clients/count"], 0);
    assert_eq!(node["metrics"]["messages/dropped/expired"], 0);
    assert_eq!(node["load"].as_array().unwrap().len(), 3);
    assert!(node["memory"]["rss"].as_u64() > Some(1 << 20), "{node}");
    assert!(
        node["memory"]["rss"].as_u64() < node["memory"]["total"].as_u64(),
        "{node}"
    );
    assert_eq!(node["store"], Value::Null);
    for (query, step) in [("", 5), ("?range=hour", 5), ("?range=day", 120)] {
        let history = bench.result("GET", &format!("history{query}"), None).await;
        assert_eq!(history["step_seconds"], step, "{query}");
        let series = history["series"].as_object().unwrap();
        for name in [
            "messages/received",
            "bytes/sent",
            "clients",
            "cpu",
            "memory",
        ] {
            assert!(series.contains_key(name), "{name} is not in {series:?}");
        }
    }
    let why = bench.refusal(400, "GET", "history?range=week", None).await;
    assert!(why.contains("hour"), "{why}");
}

#[tokio::test]
async fn questions_that_are_wrong_are_refused_with_a_sentence() {
    let bench = Bench::new();
    for what in ["clients", "sessions", "subscriptions", "routes", "retained"] {
        let page = bench.result("GET", &format!("search/{what}"), None).await;
        assert_eq!(page["objects"], json!([]), "{what}");
        assert_eq!(
            (&page["cursor"], &page["total"]),
            (&Value::Null, &json!(0)),
            "{what}"
        );
        for (query, word) in [
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("limit=99999999999999999999", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("sort=colour", "one of"),
            ("cursor=nonsense", "cursor"),
            ("page=2", "page"),
        ] {
            let path = format!("search/{what}?{query}");
            let why = bench.refusal(400, "GET", &path, None).await;
            assert!(why.contains(word), "{path}: {why}");
        }
    }
    let why = bench
        .refusal(400, "GET", "search/clients?sort=-colour", None)
        .await;
    let names = "client_id, username, ipaddress, connected_at, proto_ver, keepalive";
    assert!(why.contains(names), "{why}");
    let path = "search/retained?filter=a/%23/b";
    let why = bench.refusal(400, "GET", path, None).await;
    assert!(why.contains("filter"), "{why}");
    let why = bench
        .refusal(400, "GET", "search/clients?clean_sess=perhaps", None)
        .await;
    assert!(why.contains("clean_sess"), "{why}");
    for (path, word) in [
        ("search/clients?proto_ver=6", "3, 4 or 5"),
        ("search/subscriptions?qos=3", "0, 1 or 2"),
    ] {
        let why = bench.refusal(400, "GET", path, None).await;
        assert!(why.contains(word), "{path}: {why}");
    }
    // What is empty is as good as absent.
    let query = "search=&username=&ip=&listener=&sort=&cursor=";
    bench
        .result("GET", &format!("search/clients?{query}"), None)
        .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let bench = Bench::new();
    for (method, path, word) in [
        ("GET", "clients/a%2Fb%25%C3%A9/detail", "client"),
        ("GET", "sessions/nobody/queue", "session"),
        ("GET", "sessions/nobody/subscriptions", "session"),
        ("DELETE", "sessions/nobody", "session"),
        ("DELETE", "sessions/nobody/queue", "session"),
        ("GET", "retained/a/b", "retained message"),
        ("DELETE", "retained/a%2Fb", "retained message"),
        ("DELETE", "bans/ip/192.0.2.1", "ban"),
        ("DELETE", "traces/client/c1", "trace"),
        ("GET", "traces/topic/a%2Fb/log", "trace"),
        ("DELETE", "api_keys/ak_0123456789abcdef", "key"),
        ("GET", "plugins/nothing/config", "plugin"),
        ("PUT", "listeners/mqtt:tcp/127.0.0.1:9", "listener"),
    ] {
        let body = (method == "PUT").then_some(r#"{"state":"running"}"#);
        let why = bench.refusal(404, method, path, body).await;
        assert!(why.contains(word), "{method} {path}: {why}");
    }
    let why = bench.refusal(400, "GET", "clients/%FF/detail", None).await;
    assert!(why.contains("UTF-8"), "{why}");
    // A path that is none has no envelope: it is for whoever serves all of them.
    assert_eq!(bench.get("search/nothing").await.0, 404);
}

#[tokio::test]
async fn bodies_that_are_wrong() {
    let bench = Bench::new();
    for (method, path, body, word) in [
        ("POST", "bans", "", "EOF"),
        ("POST", "bans", "[]", ""),
        ("POST", "bans", r#"{"kind":"ip"}"#, "value"),
        (
            "POST",
            "bans",
            r#"{"kind":"colour","value":"x"}"#,
            "client_id",
        ),
        (
            "POST",
            "bans",
            r#"{"kind":"ip","value":"300.0.0.1"}"#,
            "300.0.0.1",
        ),
        ("POST", "bans", r#"{"kind":"client_id","value":""}"#, ""),
        (
            "POST",
            "bans",
            r#"{"kind":"client_id","value":"c","seconds":0}"#,
            "seconds",
        ),
        (
            "POST",
            "bans",
            r#"{"kind":"client_id","value":"c","second":9}"#,
            "second",
        ),
        (
            "POST",
            "test/acl",
            r#"{"client_id":"c","access":"publish","topic":""}"#,
            "topic",
        ),
        (
            "POST",
            "test/acl",
            r#"{"client_id":"c","access":"eat","topic":"t"}"#,
            "subscribe",
        ),
        (
            "POST",
            "test/acl",
            r#"{"client_id":"c","access":"publish","topic":"t","ip":"x"}"#,
            "ip",
        ),
        ("POST", "test/auth", r#"{"client_id":7}"#, "string"),
        ("PUT", "logging", r#"{"level":"loud"}"#, "debug"),
        (
            "PUT",
            "listeners/mqtt:tcp/1",
            r#"{"state":"ajar"}"#,
            "restarted",
        ),
        ("POST", "traces", r#"{"kind":"client","name":""}"#, "name"),
        (
            "POST",
            "api_keys",
            r#"{"name":"k","scopes":["fly"]}"#,
            "publish",
        ),
        ("POST", "api_keys", r#"{"name":"k","scopes":[]}"#, "scope"),
        (
            "POST",
            "api_keys",
            r#"{"name":"k","scopes":["read"],"expires_in":0}"#,
            "expires_in",
        ),
        ("PUT", "plugins/emq_retainer/config", "{}", "key"),
    ] {
        let why = bench.refusal(400, method, path, Some(body)).await;
        assert!(why.contains(word), "{method} {path} {body}: {why}");
    }
    let large = format!(
        r#"{{"kind":"client_id","value":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    bench.refusal(413, "POST", "bans", Some(&large)).await;
    // Without its type a body is not looked at.
    let response = bench.send("POST", "/api/v2/bans", None).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn bans_come_and_go() {
    let bench = Bench::new();
    let body = r#"{"kind":"username","value":"a/b é","reason":"too loud","seconds":600}"#;
    let ban = bench.result("POST", "bans", Some(body)).await;
    assert_eq!(ban["by"], "admin");
    let (at, until) = (ban["at"].as_u64().unwrap(), ban["until"].as_u64().unwrap());
    assert_eq!(until - at, 600);
    assert_eq!(bench.result("GET", "bans", None).await, json!([ban]));
    let body = r#"{"kind":"ip","value":"10.1.2.3/8"}"#;
    let network = bench.result("POST", "bans", Some(body)).await;
    assert_eq!(
        (&network["value"], &network["until"]),
        (&json!("10.0.0.0/8"), &Value::Null)
    );
    bench.refusal(400, "DELETE", "bans/colour/x", None).await;
    for path in ["bans/username/a%2Fb%20%C3%A9", "bans/ip/10.0.0.0%2F8"] {
        assert_eq!(bench.result("DELETE", path, None).await, json!([]));
        bench.refusal(404, "DELETE", path, None).await;
    }
    assert_eq!(bench.result("GET", "bans", None).await, json!([]));
}

#[tokio::test]
async fn keys_show_their_secret_once() {
    let bench = Bench::new();
    let body = r#"{"name":"for tests","scopes":["read","publish"],"expires_in":3600}"#;
    let made = bench.result("POST", "api_keys", Some(body)).await;
    let (id, secret) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    assert!(id.starts_with("ak_") && secret.len() >= 43, "{made}");
    let keys = bench.result("GET", "api_keys", None).await;
    assert_eq!(keys[0]["id"], id);
    assert_eq!(keys[0]["created_by"], "admin");
    assert_eq!(keys[0]["scopes"], json!(["read", "publish"]));
    assert!(!keys.to_string().contains(secret));
    let audit = bench.result("GET", "audit", None).await;
    assert!(!audit.to_string().contains(secret));
    assert_eq!(audit[0]["action"], "POST /api/v2/api_keys");
    assert_eq!(
        (&audit[0]["who"], &audit[0]["via"]),
        (&json!("admin"), &json!("basic"))
    );
    bench
        .result("DELETE", &format!("api_keys/{id}"), None)
        .await;
    assert_eq!(bench.result("GET", "api_keys", None).await, json!([]));
    // The newest first, and behind a number.
    let audit = bench.result("GET", "audit?limit=1", None).await;
    let newest = audit[0]["seq"].as_u64().unwrap();
    assert!(
        audit[0]["action"].as_str().unwrap().starts_with("DELETE"),
        "{audit}"
    );
    let older = bench
        .result("GET", &format!("audit?before={newest}"), None)
        .await;
    assert_eq!(older[0]["action"], "POST /api/v2/api_keys");
}

#[tokio::test]
async fn the_log_level() {
    let bench = Bench::new();
    let logging = bench.result("GET", "logging", None).await;
    let levels = logging["levels"].as_array().unwrap();
    assert!(levels.contains(&logging["level"]), "{logging}");
    let set = bench
        .result("PUT", "logging", Some(r#"{"level":"info"}"#))
        .await;
    assert_eq!(set["level"], "info");
    assert_eq!(bench.result("GET", "logging", None).await["level"], "info");
}

#[tokio::test]
async fn traces() {
    let bench = Bench::new();
    let body = r#"{"kind":"topic","name":"a/b"}"#;
    let trace = bench.result("POST", "traces", Some(body)).await;
    assert_eq!(
        (&trace["kind"], &trace["name"]),
        (&json!("topic"), &json!("a/b"))
    );
    bench.refusal(409, "POST", "traces", Some(body)).await;
    let traces = bench.result("GET", "traces", None).await;
    assert_eq!(
        (traces.as_array().unwrap().len(), &traces[0]["readable"]),
        (1, &json!(true))
    );
    let log = bench.result("GET", "traces/topic/a%2Fb/log", None).await;
    assert_eq!(log, json!({"text": "", "size": 0}));
    for bytes in ["0", "1048577", "x"] {
        let path = format!("traces/topic/a%2Fb/log?bytes={bytes}");
        let why = bench.refusal(400, "GET", &path, None).await;
        assert!(why.contains("bytes"), "{why}");
    }
    bench.result("DELETE", "traces/topic/a%2Fb", None).await;
    assert_eq!(bench.result("GET", "traces", None).await, json!([]));
}

#[tokio::test]
async fn access_is_tested_as_it_is() {
    let bench = Bench::new();
    let body = r#"{"client_id":"c","username":"u","access":"publish","topic":"t"}"#;
    let verdict = bench.result("POST", "test/acl", Some(body)).await;
    assert!(
        ["allow", "deny"].contains(&verdict["result"].as_str().unwrap()),
        "{verdict}"
    );
    assert_eq!(
        verdict["steps"].as_array().unwrap().last().unwrap()["module"],
        "mqtt.acl_nomatch"
    );
    let body = r#"{"client_id":"c","password":"secret word","ip":"::1"}"#;
    let verdict = bench.result("POST", "test/auth", Some(body)).await;
    assert!(!verdict.to_string().contains("secret word"), "{verdict}");
    bench.result("POST", "acl/clean_cache", None).await;
}

#[tokio::test]
async fn alarms_hold_and_end() {
    let bench = Bench::new();
    let broker = bench.app.core().broker.clone();
    let severity = emqttd_broker::Severity::Error;
    let ours = |alarms: &Value| {
        let all = alarms.as_array().unwrap().iter();
        all.filter(|alarm| alarm["id"] == "x")
            .cloned()
            .collect::<Vec<_>>()
    };
    broker.post_alarm("x", severity, "title", Some("summary"));
    // A call to all event loops comes behind it.
    broker.recheck();
    let alarms = bench.result("GET", "alarms", None).await;
    let active = ours(&alarms["active"]);
    assert_eq!(active.len(), 1, "{alarms}");
    assert_eq!(
        (&active[0]["severity"], &active[0]["title"]),
        (&json!("error"), &json!("title"))
    );
    broker.post_alarm("x", severity, "title", None);
    broker.recheck();
    let alarms = bench.result("GET", "alarms", None).await;
    assert!(ours(&alarms["active"]).is_empty());
    let past = ours(&alarms["history"]);
    assert!(
        past[0]["cleared_at"].as_u64() >= past[0]["since"].as_u64(),
        "{past:?}"
    );
}

#[tokio::test]
async fn its_own_listener_is_not_closed_by_accident() {
    let bench = Bench::new();
    let path = "listeners/mqtt:api/127.0.0.1:8080";
    for state in ["stopped", "restarted"] {
        let body = json!({ "state": state }).to_string();
        let why = bench.refusal(409, "PUT", path, Some(&body)).await;
        assert!(why.contains("force=true"), "{why}");
    }
    let body = r#"{"state":"stopped"}"#;
    bench
        .result("PUT", &format!("{path}?force=true"), Some(body))
        .await;
}

/// A store that is soon full.
const SMALL_STORE: &str =
    "persistence.sync = 1s\npersistence.segment_bytes = 1MB\npersistence.max_bytes = 8MB\n";

/// Puts into a [`SMALL_STORE`] until it takes nothing more.
fn fill_store(bench: &Bench) {
    let filling = bench.app.core().broker.table("filling");
    let mut rows = 0_u32;
    while filling.put(&rows.to_be_bytes(), &[0; 64 << 10]).is_ok() {
        rows += 1;
        assert!(rows < 1000);
    }
}

#[tokio::test]
async fn a_full_store_is_not_the_fault_of_who_asks() {
    let bench = Bench::with(SMALL_STORE);
    let ban = r#"{"kind":"client_id","value":"c"}"#;
    bench.result("POST", "bans", Some(ban)).await;
    fill_store(&bench);
    let key = r#"{"name":"k","scopes":["read"]}"#;
    let other = r#"{"kind":"client_id","value":"d"}"#;
    for (path, body) in [("bans", other), ("api_keys", key)] {
        let why = bench.refusal(503, "POST", path, Some(body)).await;
        assert!(why.contains("`emqttd_ctl store`"), "{why}");
    }
    // What a store that is full takes, because it makes room.
    bench.result("DELETE", "bans/client_id/c", None).await;
    assert_eq!(
        bench.result("GET", "bans", None).await,
        serde_json::json!([])
    );
    bench.app.core().broker.store().unwrap().close();
}

#[tokio::test]
async fn every_order_of_the_description_is_one() {
    let bench = Bench::new();
    let document: Value = serde_json::from_str(&crate::openapi::text()).unwrap();
    let mut searches = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        for sort in parameters.filter(|one| one["name"] == "sort") {
            searches += 1;
            let path = path.strip_prefix("/api/v2/").unwrap();
            assert_eq!(
                (&sort["schema"]["type"], &sort["required"]),
                (&"string".into(), &false.into())
            );
            let values = sort["schema"]["enum"].as_array().unwrap();
            let why = bench
                .refusal(400, "GET", &format!("{path}?sort=colour"), None)
                .await;
            for value in values {
                let value = value.as_str().unwrap();
                bench
                    .result("GET", &format!("{path}?sort={value}"), None)
                    .await;
                assert!(
                    why.contains(value.trim_start_matches('-')),
                    "{value}: {why}"
                );
            }
        }
    }
    assert_eq!(searches, 5);
}

#[tokio::test]
async fn what_is_wrong_is_named_at_once() {
    let bench = Bench::new();
    let path = "search/clients?limit=x";
    let why = bench.refusal(400, "GET", path, None).await;
    assert!(why.starts_with("limit: "), "{why}");
    let body = r#"{"kind":"client_id","value":7}"#;
    let why = bench.refusal(400, "POST", "bans", Some(body)).await;
    assert!(why.starts_with("value: "), "{why}");
}

#[tokio::test]
async fn a_logout_that_is_not_stored_is_not_called_done() {
    let bench = Bench::with(SMALL_STORE);
    let body = r#"{"username":"admin","password":"public"}"#;
    let login = bench.result("POST", "login", Some(body)).await;
    let bearer = format!("Bearer {}", login["token"].as_str().unwrap());
    assert_eq!(bench.send_as(&bearer, "/api/v2/me").await.status(), 200);
    fill_store(&bench);
    let logout = request("POST", "/api/v2/logout", &bearer);
    let answer = bench.call(logout.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 503);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("could not be stored"),
        "{body}"
    );
    // Until the next start it is ended all the same.
    assert_eq!(bench.send_as(&bearer, "/api/v2/me").await.status(), 401);
}
