//! Plugins, listeners, traces, the log, access tests, keys; and that each change is noted.

use std::fs;
use std::time::{Duration, Instant};

use emqttd_tests::http::Http;
use emqttd_tests::packet::Version;
use emqttd_tests::{Broker, Connect, Publish, unique};
use serde_json::{Value, json};

use crate::common::{self, api};
use crate::console_common::{broker, column, path, refusal, until};

/// The newest entries of the audit log, method and path and outcome.
fn audit(http: &Http, n: usize) -> Vec<String> {
    let entries = http.get(&path(&format!("audit?limit={n}"))).result();
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|e| {
            format!(
                "{} {}",
                e["action"].as_str().unwrap(),
                e["outcome"].as_str().unwrap()
            )
        })
        .collect()
}

fn key<'a>(config: &'a Value, name: &str) -> &'a Value {
    let mut keys = config["keys"].as_array().unwrap().iter();
    let found = keys.find(|key| key["key"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {config}"))
}

#[test]
fn a_plugin_is_configured_while_it_runs() {
    let broker = common::broker();
    let http = api(&broker);
    let target = path("plugins/emq_retainer/config");
    let config = http.get(&target).result();
    assert_eq!(config["file"], "etc/plugins/emq_retainer.conf");
    let most = key(&config, "retainer.max_message_num");
    assert_eq!(
        (&most["value"], &most["secret"]),
        (&json!("0"), &json!(false))
    );
    assert!(!most["desc"].as_str().unwrap().is_empty());
    let set = json!({"retainer.max_message_num": "1"});
    let done = http.put(&target, &set).result();
    assert_eq!(
        done["lines"].as_str().unwrap().trim(),
        "retainer.max_message_num = 1"
    );
    let expected = match most["live"].as_bool().unwrap() {
        true => "live",
        false => "restarted",
    };
    assert_eq!(done["applied"], expected);
    let config = http.get(&target).result();
    assert_eq!(key(&config, "retainer.max_message_num")["value"], "1");
    // It holds: the second message finds no room.
    let mut client = broker.client(Version::V311, "keeper");
    for topic in ["kept/a", "kept/b"] {
        client.publish(Publish::new(topic, "x").qos(1).retained());
    }
    let found = http.get(&path("search/retained?search=kept")).result();
    assert_eq!(column(&found["objects"], "topic"), ["kept/a"]);
    let file = fs::read_to_string(broker.root.join("etc/plugins/emq_retainer.conf")).unwrap();
    assert!(file.contains("max_message_num = 0"), "files are left alone");
    for (body, word) in [
        (
            json!({"retainer.max_message_num": "many"}),
            "max_message_num",
        ),
        (json!({"retainer.colour": "red"}), "retainer.colour"),
        (json!({"retainer.max_message_num": 7}), "string"),
    ] {
        let why = refusal(&http.put(&target, &body), 400);
        assert!(why.contains(word), "{why}");
    }
    assert_eq!(
        audit(&http, 2),
        [
            "PUT /api/v2/plugins/emq_retainer/config 400 code 102".to_owned(),
            "PUT /api/v2/plugins/emq_retainer/config 400 code 102".to_owned(),
        ]
    );
}

#[test]
fn a_plugin_is_restarted_where_it_has_to_be() {
    let broker = common::broker();
    let http = api(&broker);
    let target = path("plugins/emq_retainer/config");
    let before = http.get(&path("plugins/emq_retainer")).result();
    assert_eq!(before["active"], true);
    let config = http.get(&target).result();
    let keys = config["keys"].as_array().unwrap();
    let cold = keys.iter().find(|key| key["live"] == false);
    let cold = cold.expect("a key that cannot be changed live")["key"]
        .as_str()
        .unwrap();
    let value = key(&config, cold)["value"].as_str().unwrap().to_owned();
    let other = match value.as_str() {
        "ram" => "disc",
        _ => "ram",
    };
    assert_eq!(cold, "retainer.storage_type");
    let done = http.put(&target, &json!({ cold: other })).result();
    assert_eq!(done["applied"], "restarted");
    let config = http.get(&target).result();
    assert_eq!(key(&config, cold)["value"], other);
    assert!(broker.is_active("emq_retainer"));
    broker.unload("emq_retainer");
    let done = http.put(&target, &json!({ cold: "ram" })).result();
    assert_eq!(done["applied"], "kept");
    let answer = http.post(&path("plugins/emq_retainer/reload"), &json!({}));
    assert!(refusal(&answer, 409).contains("does not run"));
    broker.load("emq_retainer");
    http.post(&path("plugins/emq_retainer/reload"), &json!({}))
        .result();
    let plugins = http.get(&path("plugins")).result();
    assert!(column(&plugins, "name").contains(&"emq_retainer".to_owned()));
    let shown = http.get(&path("plugins/emq_retainer")).result();
    let facts = shown["facts"].as_array().unwrap();
    assert!(facts.contains(&json!(["state", "active"])), "{shown}");
    assert!(refusal(&http.get(&path("plugins/nothing")), 404).contains("plugin"));
}

#[test]
fn secrets_of_plugins_are_not_shown() {
    let config = common::config().plugin_conf(
        "emq_auth_redis",
        "auth.redis.server = 127.0.0.1:1\nauth.redis.password = the secret word\n",
    );
    let broker = Broker::start(config);
    let http = api(&broker);
    let target = path("plugins/emq_auth_redis/config");
    let answer = http.get(&target);
    assert!(
        !answer.text().contains("the secret word"),
        "{}",
        answer.text()
    );
    let config = answer.result();
    let password = key(&config, "auth.redis.password");
    assert_eq!(
        (&password["value"], &password["secret"]),
        (&json!("******"), &json!(true))
    );
    let body = json!({"auth.redis.password": "another secret word"});
    let done = http.put(&target, &body);
    assert!(
        !done.text().contains("another secret word"),
        "{}",
        done.text()
    );
    // It is written a moment later.
    let end = Instant::now() + Duration::from_secs(10);
    let log = loop {
        let log = fs::read_to_string(broker.root.join("log/audit.log")).unwrap_or_default();
        if log.contains("PUT /api/v2/plugins/emq_auth_redis/config") {
            break log;
        }
        assert!(Instant::now() < end, "{log}");
        std::thread::yield_now();
    };
    assert!(!log.contains("secret word"), "{log}");
    assert!(!broker.log().contains("another secret word"));
}

#[test]
fn listeners_are_closed_and_opened() {
    let broker = common::broker();
    let http = api(&broker);
    let listen = broker.addr("tcp.external").to_string();
    let target = path(&format!("listeners/mqtt:tcp/{listen}"));
    let mut client = broker.client(Version::V311, "listened");
    let row = |running: bool| {
        let rows = until(&http, &path("listeners"), |rows| {
            let mut rows = rows.as_array().unwrap().iter();
            rows.any(|row| row["listen"] == listen.as_str() && row["running"] == running)
        });
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["listen"] == listen.as_str())
            .unwrap()
            .clone()
    };
    let open = row(true);
    assert_eq!(
        (&open["protocol"], &open["current_clients"]),
        (&json!("mqtt:tcp"), &json!(1))
    );
    let set = |state: &str| http.put(&target, &json!({ "state": state })).result();
    assert_eq!(set("stopped"), json!([]));
    client.closed();
    row(false);
    assert!(std::net::TcpStream::connect(&listen).is_err());
    set("stopped");
    set("running");
    row(true);
    set("running");
    let mut client = broker.client(Version::V311, "listened");
    set("restarted");
    client.closed();
    broker.client(Version::V311, "listened").ping();
    let answer = http.put(
        &path("listeners/mqtt:tcp/127.0.0.1:1"),
        &json!({"state": "running"}),
    );
    assert!(refusal(&answer, 404).contains("listener"));
}

#[test]
fn the_listener_one_came_by_is_closed_only_if_one_means_it() {
    let broker = common::broker();
    let http = api(&broker);
    let listen = broker.addr("api.mgmt");
    let target = path(&format!("listeners/mqtt:api/{listen}"));
    let why = refusal(&http.put(&target, &json!({"state": "stopped"})), 409);
    assert!(why.contains("force=true"), "{why}");
    http.put(
        &format!("{target}?force=true"),
        &json!({"state": "stopped"}),
    )
    .result();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::net::TcpStream::connect(listen).is_ok() {
        assert!(std::time::Instant::now() < end, "it is still open");
        std::thread::yield_now();
    }
    let (code, text) = broker.ctl(&["listeners", "start", "mqtt:api", &listen.to_string()]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(http.get(&path("overview")).status, 200, "{text}");
}

#[test]
fn a_trace_is_followed() {
    let http = api(broker());
    let id = format!("{}/ä", unique("traced"));
    let segment = crate::console_common::segment(&id);
    let trace = http
        .post(&path("traces"), &json!({"kind": "client", "name": id}))
        .result();
    assert_eq!(
        (&trace["kind"], &trace["readable"]),
        (&json!("client"), &json!(true))
    );
    let mut client = broker().open(&Connect::new(Version::V311, &id));
    client.publish(Publish::new("traced/topic", "x").qos(1));
    let log = path(&format!("traces/client/{segment}/log"));
    let found = until(&http, &log, |log| {
        log["text"].as_str().unwrap().contains("traced/topic")
    });
    let size = found["size"].as_u64().unwrap();
    assert_eq!(found["text"].as_str().unwrap().len() as u64, size);
    let tail = http.get(&format!("{log}?bytes=10")).result();
    assert!(tail["text"].as_str().unwrap().len() <= 10, "{tail}");
    assert!(tail["size"].as_u64() >= Some(size));
    let traces = http.get(&path("traces")).result();
    assert!(column(&traces, "name").contains(&id));
    let file = trace["file"].as_str().unwrap();
    let name = file.rsplit('/').next().unwrap();
    assert!(name.is_ascii() && !file.contains(".."), "{file}");
    http.delete(&path(&format!("traces/client/{segment}")))
        .result();
    let traces = http.get(&path("traces")).result();
    assert!(!column(&traces, "name").contains(&id), "{traces}");
    // What it has written can still be read.
    let last = http.get(&log).result();
    assert!(last["text"].as_str().unwrap().contains("traced/topic"));
    let never = path("traces/client/never%20traced/log");
    assert!(refusal(&http.get(&never), 404).contains("trace"));
}

#[test]
fn the_log_tells_more_when_asked() {
    let broker = common::broker();
    let http = api(&broker);
    let level = http.get(&path("logging")).result();
    assert!(
        level["levels"]
            .as_array()
            .unwrap()
            .contains(&json!("debug"))
    );
    let set = http
        .put(&path("logging"), &json!({"level": "critical"}))
        .result();
    assert_eq!(set["level"], "critical");
    let why = refusal(&http.put(&path("logging"), &json!({"level": "loud"})), 400);
    assert!(why.contains("warning"), "{why}");
    assert_eq!(audit(&http, 2)[1], "PUT /api/v2/logging 200");
}

#[test]
fn access_is_tested_as_a_client_would_find_it() {
    let config = common::config()
        .set("mqtt.acl_nomatch", "deny")
        .acl("{allow, {user, \"u\"}, publish, [\"a/#\"]}.\n{deny, all}.\n");
    let broker = Broker::start(config);
    let http = api(&broker);
    let ask = |user: &str, access: &str, topic: &str| {
        let body = json!({"client_id": "c", "username": user, "access": access, "topic": topic});
        http.post(&path("test/acl"), &body).result()
    };
    let allowed = ask("u", "publish", "a/b");
    assert_eq!(allowed["result"], "allow");
    let last = allowed["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["module"], "acl_internal");
    assert!(
        last["detail"].as_str().unwrap().contains("line 1"),
        "{last}"
    );
    assert_eq!(ask("u", "subscribe", "a/b")["result"], "deny");
    assert_eq!(ask("v", "publish", "a/b")["result"], "deny");
    fs::write(broker.root.join("etc/acl.conf"), "{allow, all}.\n").unwrap();
    http.post(&path("acl/reload"), &json!({})).result();
    assert_eq!(ask("v", "publish", "a/b")["result"], "allow");
    fs::write(broker.root.join("etc/acl.conf"), "{allow, nonsense\n").unwrap();
    let why = refusal(&http.post(&path("acl/reload"), &json!({})), 409);
    assert!(
        why.contains("acl.conf") && why.contains("former rules stay"),
        "{why}"
    );
    let body = json!({"client_id": "c", "username": "u", "password": "the secret word"});
    let answer = http.post(&path("test/auth"), &body);
    assert_eq!(answer.result()["result"], "allow");
    assert!(!answer.text().contains("the secret word"));
}

#[test]
fn keys_may_do_what_their_scopes_say() {
    let broker = common::broker();
    let http = api(&broker);
    let nobody = Http::at(broker.addr("api.mgmt"));
    let make = |scopes: Value| {
        let body = json!({"name": "k", "scopes": scopes});
        http.post(&path("api_keys"), &body).result()
    };
    let requests = [
        ("GET", "overview", None, "read"),
        ("GET", "search/clients", None, "read"),
        ("GET", "bans", None, "read"),
        ("DELETE", "sessions/nobody", None, "clients"),
        ("POST", "acl/clean_cache", None, "clients"),
        (
            "POST",
            "bans",
            Some(r#"{"kind":"ip","value":"192.0.2.1"}"#),
            "clients",
        ),
        ("POST", "acl/reload", None, "manage"),
        ("PUT", "logging", Some(r#"{"level":"error"}"#), "manage"),
        ("POST", "test/auth", Some(r#"{"client_id":"c"}"#), "manage"),
        ("GET", "audit", None, "admin"),
        ("GET", "api_keys", None, "admin"),
        (
            "POST",
            "api_keys",
            Some(r#"{"name":"n","scopes":["admin"]}"#),
            "admin",
        ),
    ];
    for scope in ["read", "clients", "manage", "publish", "admin"] {
        let key = make(json!([scope]));
        let bearer = format!(
            "{}.{}",
            key["id"].as_str().unwrap(),
            key["secret"].as_str().unwrap()
        );
        let with = nobody.clone().bearer(&bearer);
        for (method, target, body, needed) in requests {
            let answer = with.send(method, &path(target), body.map(str::as_bytes));
            if scope == needed || scope == "admin" {
                assert!(
                    ![401, 403].contains(&answer.status),
                    "{scope} {method} {target}: {}",
                    answer.text()
                );
            } else {
                let why = refusal(&answer, 403);
                assert!(
                    why.contains(&format!("`{needed}`")),
                    "{scope} {method} {target}: {why}"
                );
            }
        }
        let id = key["id"].as_str().unwrap();
        http.delete(&path(&format!("api_keys/{id}"))).result();
        assert_eq!(
            with.get(&path("overview")).status,
            401,
            "it is void at once"
        );
    }
}

#[test]
fn each_change_is_noted() {
    let broker = common::broker();
    let http = api(&broker);
    let body = json!({"kind": "client_id", "value": "noted/é"});
    http.post(&path("bans"), &body).result();
    http.delete(&path("bans/client_id/noted%2F%C3%A9")).result();
    http.get(&path("bans")).result();
    http.post(&path("acl/clean_cache"), &json!({})).result();
    assert_eq!(
        audit(&http, 3),
        [
            "POST /api/v2/acl/clean_cache 200",
            "DELETE /api/v2/bans/client_id/noted%2F%C3%A9 200",
            "POST /api/v2/bans 200",
        ]
    );
    let entries = http.get(&path("audit?limit=1")).result();
    let entry = &entries[0];
    assert_eq!(
        (&entry["who"], &entry["via"]),
        (&json!("admin"), &json!("basic"))
    );
    assert!(
        entry["from"].as_str().unwrap().starts_with("127.0.0.1"),
        "{entry}"
    );
    let older = http
        .get(&path(&format!("audit?before={}", entry["seq"])))
        .result();
    assert!(
        older
            .as_array()
            .unwrap()
            .iter()
            .all(|e| e["seq"].as_u64() < entry["seq"].as_u64())
    );
    broker.ctl(&["acl", "reload"]);
    let entries = http.get(&path("audit?limit=1")).result();
    assert_eq!(
        (&entries[0]["via"], &entries[0]["action"]),
        (&json!("cli"), &json!("acl reload"))
    );
}
