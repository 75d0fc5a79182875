//! Listeners of HTTP: what `emqttd_ctl listeners` does with them, TLS, and how they end.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{address, api, broker, config, with_dashboard};
use emqttd_tests::certs::Certs;
use emqttd_tests::http::{Http, read_answer};
use emqttd_tests::{Broker, Config};
use serde_json::json;

const NODES: &str = "/api/v2/management/nodes";

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "not so in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rest_listeners_are_shown_stopped_and_started() {
    let broker = Broker::start(with_dashboard(
        config().listener("api.mgmt", &[("acceptors", "4"), ("max_clients", "64")]),
        "dashboard.listener.http.max_clients = 7\n",
    ));
    let api_addr = broker.addr("api.mgmt");
    let page = address(&broker, "dashboard:http");
    let (_, text) = broker.ctl(&["listeners"]);
    let row = |head: &str, max: u32| {
        format!(
            "listener on {head}\n  acceptors       : 4\n  max_clients     : {max}\n  current_clients : 0\n  shutdown_count  : []\n"
        )
    };
    assert!(
        text.contains(&row(&format!("mqtt:api:{api_addr}"), 64)),
        "{text}"
    );
    assert!(
        text.contains(&row(&format!("dashboard:http:{page}"), 7)),
        "{text}"
    );
    for (proto, addr) in [("mqtt:api", api_addr), ("dashboard:http", page)] {
        let on = addr.to_string();
        let (exit, text) = broker.ctl(&["listeners", "stop", proto, &on]);
        assert_eq!(
            (exit, text),
            (0, format!("Stop {proto} listener on {on} successfully.\n"))
        );
        assert!(TcpStream::connect(addr).is_err());
        assert!(!broker.ctl(&["listeners"]).1.contains(proto));
        for verb in ["start", "restart"] {
            let (_, text) = broker.ctl(&["listeners", verb, proto, &on]);
            assert!(text.ends_with("successfully.\n"), "{text}");
            assert_eq!(Http::admin(addr).get(NODES).status, 200);
        }
    }
    // One that is connected is counted.
    let mut wire = Http::at(page).connect();
    wire.write_all(&Http::at(page).request("GET", "/status", None))
        .unwrap();
    assert_eq!(read_answer(&mut wire, "GET").unwrap().status, 200);
    assert!(
        broker
            .ctl(&["listeners"])
            .1
            .contains("current_clients : 1\n")
    );
}

#[test]
fn rest_the_dashboard_goes_with_its_plugin_and_comes_back() {
    let broker = Broker::start(with_dashboard(config(), ""));
    let page = address(&broker, "dashboard:http");
    assert_eq!(Http::at(page).get("/").status, 200);
    let (_, text) = broker.ctl(&["plugins", "list"]);
    assert!(
        text.contains("description=EMQ Web Dashboard, active=true"),
        "{text}"
    );
    let (_, text) = broker.ctl(&["plugins", "unload", "emq_dashboard"]);
    assert_eq!(text, "Plugin emq_dashboard unloaded successfully.\n");
    assert!(TcpStream::connect(page).is_err());
    // Users are the broker's.
    assert_eq!(api(&broker).get(NODES).status, 200);
    let (_, text) = broker.ctl(&["plugins", "load", "emq_dashboard"]);
    assert!(
        text.contains("Plugin emq_dashboard loaded successfully."),
        "{text}"
    );
    assert_eq!(
        Http::at(address(&broker, "dashboard:http")).get("/").status,
        200
    );
}

#[test]
fn rest_pages_are_files_and_nothing_else() {
    let broker = Broker::start(with_dashboard(config(), ""));
    let page = Http::at(address(&broker, "dashboard:http"));
    let answer = page.get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("<!doctype html>"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-eval"));
    let tag = answer.header("etag").unwrap();
    assert_eq!(
        page.clone().header("If-None-Match", tag).get("/").status,
        304
    );
    assert_eq!(page.send("HEAD", "/", None).status, 200);
    for path in [
        "/../etc/emq.conf",
        "/..%2f..%2fetc/emq.conf",
        "/%2e%2e/etc/passwd",
        "/assets/../../data",
        "//etc/passwd",
        "/etc/emq.conf",
        "/index.html/",
        "/.",
        "/%00",
    ] {
        let answer = page.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (404, ""), "{path}");
    }
    // What a script of the page is named by its content stays for a year.
    let text = answer.text();
    if let Some(at) = text.find("./assets/") {
        let name = text[at + 1..].split('"').next().unwrap();
        let script = page.clone().header("Accept-Encoding", "gzip").get(name);
        assert_eq!(script.status, 200, "{name}");
        assert!(
            script
                .header("cache-control")
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(script.header("content-encoding"), Some("gzip"));
    }
    let answer = page.get("/api/logout");
    assert_eq!(answer.status, 401);
    assert_eq!(
        Http::admin(address(&broker, "dashboard:http"))
            .get("/api/logout")
            .status,
        401
    );
    assert_eq!(page.get("/api/v2/users").status, 401);
}

#[test]
fn rest_over_tls_with_a_certificate_that_changes() {
    let broker = Broker::start(Config::new().listener("ssl.a", &[]).listener(
        "api.mgmt",
        &[
            ("keyfile", "etc/certs/key.pem"),
            ("certfile", "etc/certs/cert.pem"),
            ("handshake_timeout", "2s"),
        ],
    ));
    let addr = broker.addr("api.mgmt");
    let http = Http::admin(addr).tls(broker.certs.client(&[], None));
    assert_eq!(http.get(NODES).status, 200);
    // Who says nothing, or no TLS, is not waited for.
    let mut plain = Http::at(addr).connect();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(read_answer(&mut plain, "GET").is_none());
    let mut silent = Http::at(addr).connect();
    let begun = Instant::now();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(9));
    // Another authority signs from now on: the old client does not believe it, a new one does.
    let before = broker.certs.client(&[], None);
    let dir = broker.root.join("etc/certs");
    for entry in fs::read_dir(&dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let certs = Certs::make(&dir);
    let http = Http::admin(addr).tls(certs.client(&[], None));
    eventually("the new certificate is shown", || {
        let stream = emqttd_tests::transport::tcp(addr);
        emqttd_tests::transport::tls(stream, certs.client(&[], None)).is_ok()
    });
    assert_eq!(http.get(NODES).status, 200);
    let stream = emqttd_tests::transport::tcp(addr);
    assert!(emqttd_tests::transport::tls(stream, before).is_err());
}

#[test]
fn rest_the_broker_ends_while_requests_are_open() {
    let mut broker = broker();
    let http = api(&broker);
    let mut events = http.connect();
    events
        .write_all(&http.request("GET", "/api/v2/events?kinds=stats", None))
        .unwrap();
    let mut first = [0; 12];
    events.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut half = http.connect();
    half.write_all(b"GET /status HTT").unwrap();
    let begun = Instant::now();
    assert!(broker.stop().success());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn rest_a_port_that_is_taken_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let config = Config::new().set("listener.api.mgmt", &at);
    let log = Broker::try_start(&config).err().unwrap();
    assert!(log.contains(&format!("listener on {at}: ")), "{log}");
}

#[test]
fn rest_a_change_that_restarts_the_dashboard_is_answered_by_it() {
    let broker = Broker::start(with_dashboard(config(), ""));
    let page = Http::admin(address(&broker, "dashboard:http"));
    let path = "/api/v2/plugins/emq_dashboard/config";
    let wrong = page.put(path, &json!({ "dashboard.listener.http.max_clients": "x" }));
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let changed = page.put(path, &json!({ "dashboard.listener.http.max_clients": "9" }));
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.result()["applied"], "restarted");
    eventually("the dashboard is open with the new value", || {
        let (_, text) = broker.ctl(&["listeners"]);
        let page = text
            .split("listener on ")
            .find(|row| row.starts_with("dashboard:http:"));
        page.is_some_and(|row| row.contains("max_clients     : 9\n"))
    });
    // By the path of 2.3, too.
    let page = Http::admin(address(&broker, "dashboard:http"));
    let path = "/api/v2/nodes/emq@127.0.0.1/plugin_configs/emq_dashboard";
    let changed = page.put(
        path,
        &json!({ "dashboard.listener.http.max_clients": "11" }),
    );
    assert_eq!((changed.status, changed.code()), (200, 0));
    eventually("the dashboard is open with that value", || {
        let (_, text) = broker.ctl(&["listeners"]);
        let mut rows = text.split("listener on ");
        let page = rows.find(|row| row.starts_with("dashboard:http:"));
        page.is_some_and(|row| row.contains("max_clients     : 11\n"))
    });
    let again = Http::admin(address(&broker, "dashboard:http"));
    assert_eq!(
        again
            .post("/api/v2/plugins/emq_dashboard/reload", &json!({}))
            .status,
        200
    );
    eventually("the dashboard is open again", || {
        let (_, text) = broker.ctl(&["listeners"]);
        text.contains("listener on dashboard:http:")
    });
}
