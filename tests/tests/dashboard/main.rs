//! The dashboard of the real binary in a real browser: the scenarios of `clients/dashboard`.

#![allow(clippy::unwrap_used)]

mod https;

use emqttd_tests::servers::ports::{self, Port};
use emqttd_tests::{Broker, Config, peers, servers};
use serde_json::json;
use std::fs;
use std::path::Path;

const PLUGIN: &str = "etc/plugins/emq_dashboard.conf";

/// The configuration of a broker whose dashboard listens on `port` of the loopback address.
fn config(port: &Port, more: &str) -> Config {
    let keys = format!(
        "dashboard.default_user.login = admin\ndashboard.default_user.password = public\n\
         dashboard.listener.http = 127.0.0.1:{}\n{more}",
        port.number
    );
    shipped(Config::new())
        .acl("{deny, all, publish, [\"denied/#\"]}.\n{allow, all}.\n")
        .file(PLUGIN, &keys)
        .file("data/loaded_plugins", "emq_retainer.\nemq_dashboard.\n")
        .listener("tcp.external", &[("max_clients", "20000")])
        .listener("ws.external", &[])
        .listener("wss.external", &[])
}

/// With the files of all plugins, as they are shipped: the list of plugins is that of a new user.
fn shipped(config: Config) -> Config {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/plugins"));
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let others = names.filter(|entry| entry.file_name() != "emq_retainer.conf");
    others.fold(config, |config, entry| {
        let name = entry.file_name().into_string().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        config.file(&format!("etc/plugins/{name}"), &text)
    })
}

/// A scenario against a broker of its own.
#[track_caller]
fn play(scenario: &str) {
    let port = ports::reserve();
    let page = format!("http://127.0.0.1:{}/", port.number);
    play_at(scenario, &page, config(&port, ""));
}

/// The dashboard is at `page`.
#[track_caller]
fn play_at(scenario: &str, page: &str, config: Config) {
    let Some(mut node) = peers::node(&["playwright-core", "axe-core", "mqtt"]) else {
        return;
    };
    let Some(chromium) = peers::program("chromium", "chromium") else {
        return;
    };
    let broker = Broker::start(config);
    let root = broker.root.clone();
    let given = json!({
        "chromium": chromium,
        "page": page,
        "mqtt": broker.addr("tcp.external").port(),
        "ws": broker.addr("ws.external").port(),
        "wss": broker.addr("wss.external").port(),
        "certificate": root.join("etc/certs/cert.pem"),
        "bin": root.join("bin"),
        "out": servers::target().join("dashboard"),
    });
    node.arg(peers::script("dashboard/main.js"));
    node.args([scenario, &given.to_string()]);
    let said = peers::run(&mut node);
    assert!(said.lines().any(|line| line == "ok"), "{said}");
}

macro_rules! scenarios {
    ($($name:ident: $what:literal)*) => {$(
        #[doc = $what]
        #[test]
        fn $name() {
            play(stringify!($name));
        }
    )*};
}

scenarios! {
    first_login: "The default password lets nobody do anything but change it; then everything."
    monitoring: "Overview with its charts, clients that come and go, sessions, subscriptions, topics, alarms."
    one_client: "A client's page: facts, subscriptions, queue, traffic, trace, kick, ban."
    retained: "Retained messages are found, read, published and deleted."
    plugins: "A plugin is stopped, started and configured."
    listeners: "A listener is stopped and started."
    websocket: "The WebSocket tool logs in as who it says, publishes and subscribes."
    http_api: "The API is documented, and tried."
    access: "ACL and authentication are asked; log level; traces."
    admin: "Users, API keys, the audit log."
    tabs: "Several tabs, and one user after the other."
    answers: "Answers that come late, or are refusals."
    english_and_light: "Every page in English and light, without serious faults of accessibility."
    chinese_and_dark: "The same in Chinese and dark."
    phone: "The menu and a list on a narrow screen."
    keyboard: "From the login to a client's page without a mouse."
    behind_a_proxy: "Below a path of another server; the default password is worth nothing there."
    restart: "The broker restarts while the page is open."
    many: "Ten thousand clients in the list."
    pictures: "What the README shows."
}

/// The page over HTTPS, and MQTT over TLS in its WebSocket tool.
#[test]
fn websocket_tls() {
    let (plain, secure) = (ports::reserve(), ports::reserve());
    let keys = format!(
        "dashboard.listener.https = 127.0.0.1:{}\n\
         dashboard.listener.https.keyfile = etc/certs/key.pem\n\
         dashboard.listener.https.certfile = etc/certs/cert.pem\n",
        secure.number
    );
    let page = format!("https://127.0.0.1:{}/", secure.number);
    play_at("websocket_tls", &page, config(&plain, &keys));
}

/// Where the dashboard is stands among the lines that the start prints, as in EMQ.
#[test]
fn the_start_says_where_it_is() {
    let port = ports::reserve();
    let broker = Broker::start(config(&port, ""));
    let said = broker.log();
    let line = format!(
        "dashboard:http listen on 127.0.0.1:{} with 4 acceptors.",
        port.number
    );
    assert!(said.lines().any(|said| said == line), "{said}");
}
