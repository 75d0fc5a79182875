//! What there is: clients, sessions, subscriptions, routes, and how ids and pages are written.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use emqttd_tests::http::Http;
use emqttd_tests::{Broker, Client, Connect, Version};
use serde_json::{Value, json};

use crate::common::{api, broker};

/// What is so in a moment.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const NODE: &str = "/api/v2/nodes/emq@127.0.0.1";

/// 404, `text/plain`, and nothing else.
#[track_caller]
fn nothing(http: &Http, method: &str, target: &str) {
    let answer = http.send(method, target, None);
    let kind = answer.header("content-type").map(str::to_owned);
    assert_eq!(
        (answer.status, kind.as_deref(), answer.text().as_str()),
        (404, Some("text/plain"), ""),
        "{method} {target}"
    );
}

fn ids(page: &Value) -> Vec<String> {
    let rows = page["objects"].as_array().unwrap().iter();
    rows.map(|row| row["client_id"].as_str().unwrap().to_owned())
        .collect()
}

fn crowd(broker: &Broker, count: usize) -> Vec<Client> {
    (0..count)
        .map(|n| {
            let mut client = broker.open(&Connect::new(Version::V311, &format!("c{n:02}")));
            client.sub(&format!("t/{n:02}"), 1);
            client
        })
        .collect()
}

#[test]
fn rest_pages() {
    let broker = broker();
    let _crowd = crowd(&broker, 45);
    let http = api(&broker);
    for list in ["clients", "sessions", "subscriptions"] {
        let page = |query: &str| http.get(&format!("{NODE}/{list}{query}")).result();
        let third = page("?curr_page=3&page_size=20");
        assert_eq!(ids(&third), ["c40", "c41", "c42", "c43", "c44"], "{list}");
        let figures = |page: &Value| {
            let figure = |name: &str| page[name].as_u64().unwrap();
            ["current_page", "page_size", "total_num", "total_page"].map(figure)
        };
        assert_eq!(figures(&third), [3, 20, 45, 3]);
        let first = page("");
        assert_eq!(figures(&first), [1, 20, 45, 3]);
        assert_eq!(ids(&first), ids(&page("?curr_page=1&page_size=20")));
        assert_eq!(figures(&page("?page_size=45")), [1, 45, 45, 1]);
        assert_eq!(figures(&page("?page_size=44")), [1, 44, 45, 2]);
        let beyond = page("?curr_page=900&page_size=7");
        assert_eq!(figures(&beyond), [900, 7, 45, 7]);
        assert!(ids(&beyond).is_empty());
        let far = page("?curr_page=9223372036854775807&page_size=10000");
        assert!(ids(&far).is_empty());
        // Every row once, on pages that do not divide the number of rows.
        let all: Vec<String> = (1..=7)
            .flat_map(|n| ids(&page(&format!("?curr_page={n}&page_size=7"))))
            .collect();
        assert_eq!(all.len(), 45);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 45);
        // More than the bound is answered as the bound.
        assert_eq!(figures(&page("?page_size=1000000")), [1, 10_000, 45, 1]);
        // As EMQ: before the first page is the first one.
        assert_eq!(ids(&page("?curr_page=0&page_size=2")), ["c00", "c01"]);
        assert_eq!(ids(&page("?curr_page=-3&page_size=2")), ["c00", "c01"]);
        for wrong in [
            "?page_size=0",
            "?page_size=-1",
            "?page_size=x",
            "?page_size=",
            "?page_size=1.0",
            "?curr_page=two",
            "?curr_page=%31x",
            "?curr_page=99999999999999999999",
        ] {
            nothing(&http, "GET", &format!("{NODE}/{list}{wrong}"));
        }
    }
    let routes = http.get("/api/v2/routes?curr_page=5&page_size=10").result();
    let topics: Vec<&str> = routes["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["t/40", "t/41", "t/42", "t/43", "t/44"]);
    assert_eq!(
        (&routes["total_num"], &routes["total_page"]),
        (&json!(45), &json!(5))
    );
    nothing(&http, "GET", "/api/v2/routes?page_size=0");
}

#[test]
fn rest_rows() {
    let broker = broker();
    let http = api(&broker);
    let connect = Connect::new(Version::V311, "alone")
        .clean(false)
        .keep_alive(77)
        .username("alice");
    let mut client = broker.open(&connect);
    client.sub("$share/g/sh/+", 1);
    client.sub("$local/lo", 2);
    client.sub("plain", 0);
    let of = |rows: Value| {
        assert_eq!(rows["objects"].as_array().unwrap().len(), 1, "{rows}");
        rows["objects"][0].clone()
    };
    let row = of(http.get("/api/v2/clients/alone").result());
    assert!(row["port"].as_u64().unwrap() > 0);
    let at = row["connected_at"].as_str().unwrap();
    let shape: String = at
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00 00:00:00");
    let expected = json!({
        "client_id": "alone", "username": "alice", "ipaddress": "127.0.0.1", "port": row["port"],
        "clean_sess": false, "proto_ver": 4, "keepalive": 77, "connected_at": at,
    });
    assert_eq!(row, expected);
    assert_eq!(of(http.get(&format!("{NODE}/clients")).result()), expected);
    assert_eq!(
        of(http.get(&format!("{NODE}/clients/alone")).result()),
        expected
    );

    let row = of(http.get("/api/v2/sessions/alone").result());
    let expected = json!({
        "client_id": "alone", "clean_sess": false, "subscriptions": 3, "max_inflight": 32, "inflight_len": 0,
        "mqueue_len": 0, "mqueue_dropped": 0, "awaiting_rel_len": 0, "deliver_msg": 0, "enqueue_msg": 0,
        "created_at": row["created_at"],
    });
    assert_eq!(row, expected);
    assert_eq!(
        of(http.get(&format!("{NODE}/sessions/alone")).result()),
        expected
    );
    assert_eq!(of(http.get(&format!("{NODE}/sessions")).result()), expected);

    let mut rows = http.get("/api/v2/subscriptions/alone").result()["objects"]
        .as_array()
        .unwrap()
        .clone();
    rows.sort_by_key(|row| row["topic"].to_string());
    let expected = json!([
        { "client_id": "alone", "topic": "lo", "qos": 2 },
        { "client_id": "alone", "topic": "plain", "qos": 0 },
        { "client_id": "alone", "topic": "sh/+", "qos": 1 },
    ]);
    assert_eq!(json!(rows), expected);

    let page = http.get("/api/v2/routes").result();
    let mut topics: Vec<&str> = page["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["topic"].as_str().unwrap())
        .collect();
    topics.sort_unstable();
    assert_eq!(topics, ["$local/lo", "plain", "sh/+"]);
    assert_eq!(page["objects"][0]["node"], "emq@127.0.0.1");

    // A session outlives its connection.
    client.disconnect();
    let gone = || http.get("/api/v2/clients/alone").result() == json!({ "objects": [] });
    eventually("the client is gone", gone);
    assert_eq!(
        of(http.get("/api/v2/sessions/alone").result())["subscriptions"],
        3
    );
}

/// A name of any bytes, as it stands in a path.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn rest_ids_of_any_kind() {
    let broker = broker();
    let http = api(&broker);
    let names = [
        "a/b",
        "100%",
        "%2F",
        "a b+c",
        "客户端",
        "é\u{301}🦀",
        "x?y#z",
        "..",
        ".",
        "a&b=c;d",
        "$SYS",
        "\"'<>\\",
        "{id}",
        "*",
    ];
    for name in names {
        let mut client = broker.open(&Connect::new(Version::V311, name));
        client.sub("t", 0);
        let id = encoded(name);
        for path in [
            format!("/api/v2/clients/{id}"),
            format!("{NODE}/clients/{id}"),
            format!("/api/v2/sessions/{id}/"),
            format!("{NODE}/sessions/{id}"),
            format!("/api/v2/subscriptions/{id}"),
            format!("{NODE}/subscriptions/{id}"),
        ] {
            assert_eq!(ids(&http.get(&path).result()), [name], "{path}");
        }
        let cleaned = http.put(
            &format!("/api/v2/clients/{id}/clean_acl_cache"),
            &json!({ "topic": "t" }),
        );
        assert_eq!(cleaned.result(), json!([]));
        assert_eq!(
            http.delete(&format!("/api/v2/clients/{id}")).result(),
            json!([])
        );
        client.expect_closed(&[]);
        let again = http.delete(&format!("/api/v2/clients/{id}"));
        assert_eq!((again.status, again.json()), (200, json!({ "code": 112 })));
    }
    // No id is such a thing.
    for id in ["%ff", "a%C3", "%ED%A0%80"] {
        for path in ["clients", "sessions", "subscriptions", "routes", "users"] {
            nothing(&http, "GET", &format!("/api/v2/{path}/{id}"));
        }
        nothing(&http, "DELETE", &format!("/api/v2/clients/{id}"));
    }
    for path in ["clients", "sessions", "subscriptions"] {
        let nobody = http.get(&format!("/api/v2/{path}/nobody")).result();
        assert_eq!(nobody, json!({ "objects": [] }));
        nothing(&http, "GET", &format!("/api/v2/{path}"));
        nothing(&http, "GET", &format!("/api/v2/{path}/a/b"));
    }
    let unknown = http.put(
        "/api/v2/clients/nobody/clean_acl_cache",
        &json!({ "topic": "t" }),
    );
    assert_eq!(
        (unknown.status, unknown.json()),
        (200, json!({ "code": 112 }))
    );
    let untold = http.put("/api/v2/clients/nobody/clean_acl_cache", &json!({}));
    assert_eq!(
        untold.json(),
        json!({ "code": 107, "message": "params error" })
    );
}

#[test]
fn rest_routes_by_their_filter() {
    let broker = broker();
    let http = api(&broker);
    let mut client = broker.client(Version::V311, "routes");
    for filter in ["a/b", "a/b/", "/a", "a//b", "x/+/y/#", "$local/only", "ü"] {
        client.sub(filter, 0);
    }
    let found = |path: &str| {
        let rows = http.get(&format!("/api/v2/routes/{path}")).result();
        let rows = rows["objects"].as_array().unwrap();
        assert!(rows.len() <= 1);
        rows.first()
            .map(|row| row["topic"].as_str().unwrap().to_owned())
    };
    for (path, topic) in [
        ("a/b", Some("a/b")),
        ("a%2Fb", Some("a/b")),
        ("a/b/", Some("a/b/")),
        ("a/b%2F", Some("a/b/")),
        ("/a", Some("/a")),
        ("%2Fa", Some("/a")),
        ("a//b", Some("a//b")),
        ("x/+/y/%23", Some("x/+/y/#")),
        ("x/%2B/y/%23", Some("x/+/y/#")),
        ("%C3%BC", Some("ü")),
        ("$local/only", Some("$local/only")),
        ("only", None),
        ("$local/a/b", None),
        ("a", None),
        ("a/c", None),
        ("x/1/y/2", None),
    ] {
        assert_eq!(found(path).as_deref(), topic, "{path}");
    }
}

#[test]
fn rest_paths_are_as_they_were() {
    let broker = broker();
    let http = api(&broker);
    let of_node = [
        "management/nodes/N",
        "monitoring/nodes/N",
        "monitoring/listeners/N",
        "monitoring/metrics/N",
        "monitoring/stats/N",
        "nodes/N/clients",
        "nodes/N/clients/x",
        "nodes/N/sessions",
        "nodes/N/sessions/x",
        "nodes/N/subscriptions",
        "nodes/N/subscriptions/x",
        "nodes/N/plugins",
        "nodes/N/plugin_configs/emq_retainer",
        "nodes/N/configs",
        "nodes/N/alarms",
    ];
    let others = [
        "management/nodes",
        "monitoring/nodes",
        "monitoring/listeners",
        "monitoring/metrics",
        "monitoring/stats",
        "clients/x",
        "sessions/x",
        "subscriptions/x",
        "routes",
        "configs",
        "users",
        "users/admin",
    ];
    for path in of_node.iter().chain(&others) {
        let target = format!("/api/v2/{}", path.replace('N', "emq@127.0.0.1"));
        let encoded = target.replace('@', "%40");
        for target in [target.clone(), format!("{target}/"), encoded] {
            let answer = http.get(&target);
            answer.result();
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{target}"
            );
        }
        nothing(&http, "POST", &target.replace("/users", "/users/x"));
        nothing(&http, "PATCH", &target);
        let elsewhere = format!("/api/v2/{}", path.replace('N', "emq@elsewhere"));
        if path.contains('N') {
            nothing(&http, "GET", &elsewhere);
        }
    }
    for (method, path) in [
        ("GET", "nope"),
        ("GET", "nodes"),
        ("GET", "nodes/emq@127.0.0.1"),
        ("GET", "mqtt/publish"),
        ("DELETE", "nodes/emq@127.0.0.1/clients"),
        ("GET", "auth"),
        ("GET", "change_pwd/admin"),
        ("PUT", "nodes/emq@elsewhere/plugins/emq_retainer"),
        ("PUT", "nodes/emq@elsewhere/configs/emqttd"),
    ] {
        nothing(&http, method, &format!("/api/v2/{path}"));
    }
}

#[test]
fn rest_root_and_status_need_no_login() {
    let broker = broker();
    let nobody = Http::at(broker.addr("api.mgmt"));
    let root = nobody.get("/");
    assert_eq!(root.header("content-type"), Some("application/json"));
    let paths = root.json()["paths"].as_array().unwrap().clone();
    assert_eq!(paths.len(), 29);
    assert!(paths.contains(&json!("api/v2/nodes/{node_name}/clients/{clientid}")));
    let status = nobody.get("/status");
    assert_eq!(status.header("content-type"), Some("text/plain"));
    assert_eq!(
        status.text(),
        "Node emq@127.0.0.1 is started\nemqttd is running"
    );
    for path in ["/", "/status"] {
        let head = nobody.send("HEAD", path, None);
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
}
