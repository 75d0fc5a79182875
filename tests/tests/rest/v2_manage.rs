//! The node and its figures, plugins, configuration, alarms.

use emqttd_tests::http::Http;
use emqttd_tests::{Broker, Config, Connect, Version};
use serde_json::{Value, json};

use crate::common::{api, broker, config};
use crate::v2_lists::eventually;

const NODE: &str = "/api/v2/nodes/emq@127.0.0.1";

#[track_caller]
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn rest_nodes() {
    let broker = broker();
    let http = api(&broker);
    let nodes = http.get("/api/v2/management/nodes").result();
    let facts = [
        "datetime",
        "node_status",
        "otp_release",
        "sysdescr",
        "uptime",
        "version",
    ];
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    assert_eq!(nodes[0]["name"], "emq@127.0.0.1");
    let one = http.get("/api/v2/management/nodes/emq@127.0.0.1").result();
    assert_eq!(keys(&one), facts);
    assert_eq!(one["node_status"], "Running");
    let (_, text) = broker.ctl(&["broker"]);
    for fact in ["version", "sysdescr"] {
        assert!(text.contains(one[fact].as_str().unwrap()), "{fact}: {text}");
    }
    // The order in which EMQ writes them.
    let raw = http.get("/api/v2/management/nodes").text();
    assert!(
        raw.starts_with(r#"{"code":0,"result":[{"name":"emq@127.0.0.1","version":""#),
        "{raw}"
    );
}

#[test]
fn rest_monitoring() {
    let broker = broker();
    let http = api(&broker);
    let mut client = broker.client(Version::V311, "mon");
    client.sub("mon", 0);
    let figures = http.get("/api/v2/monitoring/nodes/emq@127.0.0.1").result();
    assert_eq!(
        http.get("/api/v2/monitoring/nodes").result()[0]["name"],
        figures["name"]
    );
    assert_eq!(figures["clients"], 1);
    for name in ["memory_total", "memory_used"] {
        let text = figures[name].as_str().unwrap();
        let (number, unit) = text.split_at(text.len() - 1);
        assert!(
            number.parse::<f64>().unwrap() > 0.0 && "KMG".contains(unit),
            "{name} {text}"
        );
        assert_eq!(number.split_once('.').unwrap().1.len(), 2, "{text}");
    }
    for name in ["load1", "load5", "load15"] {
        let text = figures[name].as_str().unwrap();
        assert!(text.parse::<f64>().is_ok(), "{name} {text}");
        assert_eq!(text.split_once('.').unwrap().1.len(), 2, "{text}");
    }
    for name in ["process_used", "max_fds"] {
        assert!(figures[name].as_u64().unwrap() > 0, "{name}");
    }
    assert!(figures["process_available"].is_u64());

    let listeners = http
        .get("/api/v2/monitoring/listeners/emq@127.0.0.1")
        .result();
    let all = http.get("/api/v2/monitoring/listeners").result();
    assert_eq!(
        all[0]["emq@127.0.0.1"].as_array().unwrap().len(),
        listeners.as_array().unwrap().len()
    );
    let row = |protocol: &str| {
        let rows = listeners.as_array().unwrap().iter();
        rows.clone()
            .find(|row| row["protocol"] == protocol)
            .unwrap()
            .clone()
    };
    let tcp = row("mqtt:tcp");
    assert_eq!(tcp["listen"], broker.addr("tcp.external").to_string());
    assert_eq!(tcp["current_clients"], 1);
    assert_eq!(tcp["shutdown_count"]["kick"], json!(null));
    assert_eq!(
        row("mqtt:api")["listen"],
        broker.addr("api.mgmt").to_string()
    );

    http.delete(&format!("/api/v2/clients/{}", client.name))
        .result();
    client.expect_closed(&[]);
    let counted = || {
        let rows = http
            .get("/api/v2/monitoring/listeners/emq@127.0.0.1")
            .result();
        let rows = rows.as_array().unwrap().clone();
        let tcp = rows
            .iter()
            .find(|row| row["protocol"] == "mqtt:tcp")
            .unwrap();
        tcp["shutdown_count"]["kick"] == 1
    };
    eventually("the listener has counted it", counted);

    for (what, verb) in [("metrics", "metrics"), ("stats", "stats")] {
        let of_node = http
            .get(&format!("/api/v2/monitoring/{what}/emq@127.0.0.1"))
            .result();
        let all = http.get(&format!("/api/v2/monitoring/{what}")).result();
        assert_eq!(keys(&all[0]["emq@127.0.0.1"]), keys(&of_node));
        let (_, text) = broker.ctl(&["broker", verb]);
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.trim()))
            .collect();
        names.sort_unstable();
        assert_eq!(keys(&of_node), names);
    }
}

#[test]
fn rest_alarms() {
    let broker = broker();
    let alarms = api(&broker).get(&format!("{NODE}/alarms")).result();
    let rows = alarms.as_array().unwrap().iter();
    let default = rows
        .clone()
        .find(|row| row["id"] == "default_password")
        .unwrap();
    assert_eq!(default["severity"], "warning");
    assert_eq!(
        keys(default),
        ["id", "occurred_at", "severity", "summary", "title"]
    );
}

/// A broker that has emq_auth_username beside emq_retainer.
fn with_plugins() -> Broker {
    let conf = "auth.user.1.username = bob\nauth.user.1.password = secret\nauth.user.password_hash = plain\n";
    Broker::start(config().plugin_conf("emq_auth_username", conf))
}

fn switch(http: &Http, plugin: &str, active: &Value) -> Value {
    let answer = http.put(
        &format!("{NODE}/plugins/{plugin}"),
        &json!({ "active": active }),
    );
    assert_eq!(answer.status, 200);
    answer.json()
}

#[test]
fn rest_plugins() {
    let broker = with_plugins();
    let http = api(&broker);
    let active = || {
        let rows = http.get(&format!("{NODE}/plugins")).result();
        let rows = rows.as_array().unwrap().clone();
        let row = rows
            .iter()
            .find(|row| row["name"] == "emq_auth_username")
            .unwrap();
        assert_eq!(keys(row), ["active", "description", "name", "version"]);
        assert_eq!(row["description"], "Authentication with Username/Password");
        row["active"].as_bool().unwrap()
    };
    let name = "emq_auth_username";
    assert!(!active());
    assert_eq!(
        switch(&http, name, &json!(false)),
        json!({ "code": 111, "message": "not_started" })
    );
    assert_eq!(
        switch(&http, name, &json!(true)),
        json!({ "code": 0, "result": [] })
    );
    assert!(active() && broker.loaded_plugins().contains(&name.to_owned()));
    assert_eq!(
        switch(&http, name, &json!(true)),
        json!({ "code": 110, "message": "already_started" })
    );
    assert_eq!(
        switch(&http, name, &json!(false)),
        json!({ "code": 0, "result": [] })
    );
    assert!(!active() && !broker.loaded_plugins().contains(&name.to_owned()));
    for active in [true, false] {
        let unknown = switch(&http, "nope", &json!(active));
        assert_eq!(unknown["code"], if active { 102 } else { 111 }, "{unknown}");
    }
    for wrong in [json!("true"), json!(1), json!(null)] {
        assert_eq!(
            switch(&http, name, &wrong),
            json!({ "code": 108, "message": "params type error" })
        );
    }
    let dashboard = switch(&http, "emq_dashboard", &json!(false));
    assert_eq!(dashboard["code"], 102);
    assert!(
        dashboard["message"]
            .as_str()
            .unwrap()
            .contains("emqttd_ctl plugins unload emq_dashboard")
    );
    // What goes wrong in a plugin is told in words.
    broker.write_plugin_conf(
        name,
        "auth.user.1.username = bob\nauth.user.password_hash = rot13\n",
    );
    let failed = switch(&http, name, &json!(true));
    assert_eq!(failed["code"], 102);
    assert!(
        failed["message"].as_str().unwrap().contains("rot13"),
        "{failed}"
    );
}

#[test]
fn rest_plugin_configs() {
    let broker = broker();
    let http = api(&broker);
    let target = format!("{NODE}/plugin_configs/emq_retainer");
    let value = |key: &str| {
        let rows = http.get(&target).result();
        let rows = rows.as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        assert_eq!(keys(row), ["desc", "key", "required", "value"]);
        row["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value("retainer.max_payload_size"), "64KB");
    let done = http.put(&target, &json!({ "retainer.max_payload_size": "10" }));
    assert_eq!(done.json(), json!({ "code": 0, "result": [] }));
    assert_eq!(value("retainer.max_payload_size"), "10");
    // It is in force.
    let mut client = broker.client(Version::V311, "ret");
    for (topic, payload) in [("kept", "0123456789"), ("not", "0123456789a")] {
        let body = json!({ "topic": topic, "payload": payload, "retain": true });
        http.post("/api/v2/mqtt/publish", &body).result();
    }
    client.sub("not", 0);
    client.sub("kept", 0);
    client.expect("kept", "0123456789");
    for (wrong, code) in [
        (json!({ "retainer.nope": "1" }), 102),
        (json!({ "retainer.max_payload_size": "much" }), 102),
        (json!({ "retainer.max_payload_size": 5 }), 108),
        (json!([]), 108),
    ] {
        let answer = http.put(&target, &wrong);
        assert_eq!(
            (answer.status, answer.code()),
            (200, code),
            "{wrong} {}",
            answer.text()
        );
    }
    assert_eq!(value("retainer.max_payload_size"), "10");
    for method in ["GET", "PUT"] {
        let body = (method == "PUT").then_some(&b"{}"[..]);
        let unknown = http.send(method, &format!("{NODE}/plugin_configs/nope"), body);
        assert_eq!((unknown.status, unknown.text().as_str()), (404, ""));
    }
}

#[test]
fn rest_secrets_of_plugins_are_not_shown() {
    let conf = "auth.mysql.server = 127.0.0.1:1\nauth.mysql.username = root\nauth.mysql.password = hunter2\n";
    let broker = Broker::start(config().plugin_conf("emq_auth_mysql", conf));
    let http = api(&broker);
    let target = format!("{NODE}/plugin_configs/emq_auth_mysql");
    let text = http.get(&target).text();
    assert!(!text.contains("hunter2"), "{text}");
    let rows = http.get(&target).result();
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows
        .find(|row| row["key"] == "auth.mysql.password")
        .unwrap();
    assert_eq!(row["value"], "******");
}

#[test]
fn rest_configs() {
    let broker = Broker::start(config().set("mqtt.mqueue.max_length", "50"));
    let http = api(&broker);
    let all = http.get("/api/v2/configs").result();
    let rows = http.get(&format!("{NODE}/configs")).result();
    assert_eq!(all, json!({ "emq@127.0.0.1": rows }));
    let row = |key: &str| {
        let rows = http.get(&format!("{NODE}/configs")).result();
        let rows = rows.as_array().unwrap().clone();
        rows.iter().find(|row| row["key"] == key).unwrap().clone()
    };
    assert_eq!(
        row("mqtt.mqueue.max_length"),
        json!({ "key": "mqtt.mqueue.max_length", "value": "50", "datatpye": "integer", "app": "emqttd" })
    );
    let anonymous = |value: &str| json!({ "key": "mqtt.allow_anonymous", "value": value });
    for target in [
        "/api/v2/configs/emqttd".to_owned(),
        format!("{NODE}/configs/emqttd"),
    ] {
        assert_eq!(http.put(&target, &anonymous("false")).result(), json!([]));
        assert_eq!(row("mqtt.allow_anonymous")["value"], "false");
        let mut client = broker.raw(Version::V311);
        client.send(&Connect::new(Version::V311, "anon").encode());
        assert_eq!(client.connack().1, 4);
        assert_eq!(http.put(&target, &anonymous("true")).result(), json!([]));
        broker.client(Version::V311, "anon").disconnect();
        let unknown = http.put(&target, &json!({ "key": "mqtt.nope", "value": "1" }));
        assert_eq!(
            (unknown.status, unknown.json()),
            (200, json!({ "code": 102 }))
        );
        let wrong = http.put(&target, &anonymous("perhaps"));
        assert_eq!((wrong.status, wrong.code()), (200, 102));
        assert!(
            wrong.json()["message"]
                .as_str()
                .unwrap()
                .contains("perhaps")
        );
        assert_eq!(http.put(&target, &json!({ "key": "x" })).code(), 107);
        assert_eq!(
            http.put(&target, &json!({ "key": "x", "value": 1 })).code(),
            108
        );
    }
    let app = http.put("/api/v2/configs/nope", &anonymous("true"));
    assert_eq!(app.code(), 102);
    // A key of a plugin.
    let size = json!({ "key": "retainer.max_payload_size", "value": "2KB" });
    http.put("/api/v2/configs/emq_retainer", &size).result();
    assert_eq!(row("retainer.max_payload_size")["app"], "emq_retainer");
    assert_eq!(row("retainer.max_payload_size")["value"], "2048");
}

#[test]
fn rest_config_is_as_it_was_after_a_restart() {
    let mut broker = Broker::start(Config::clone(&config()));
    let change = json!({ "key": "mqtt.allow_anonymous", "value": "false" });
    api(&broker).put("/api/v2/configs/emqttd", &change).result();
    broker.restart(emqttd_tests::End::Stop);
    broker.client(Version::V311, "again").disconnect();
}
