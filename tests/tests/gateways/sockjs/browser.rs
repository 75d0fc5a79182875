//! The clients of others: sockjs-client in Node and in Chromium, stompjs, stomp.py.

use std::process::Command;
use std::thread;

use emqttd_tests::servers::http::{HttpServer, Reply};
use emqttd_tests::{Broker, Packet, Version, peers};

use super::{at, broker, config, here};
use crate::common::run_with_echo;

#[test]
fn stompjs_over_sockjs_client_in_node() {
    let url = format!("http://{}/stomp", here());
    thread::scope(|scope| {
        for transport in ["websocket", "xhr-streaming", "eventsource", "xhr-polling"] {
            let packages = ["@stomp/stompjs", "sockjs-client"];
            let Some(mut node) = peers::node(&packages) else {
                return;
            };
            let url = &url;
            scope.spawn(move || {
                run_with_echo(broker(), |base| {
                    node.arg(peers::script("stompjs_client.js"));
                    node.args([url, "1.2", base, transport]);
                    node
                });
            });
        }
    });
}

#[test]
fn stompjs_and_stomp_py_over_raw_websocket() {
    let url = format!("ws://{}/stomp/websocket", here());
    thread::scope(|scope| {
        for version in ["1.0", "1.1", "1.2"] {
            let Some(mut node) = peers::node(&["@stomp/stompjs", "ws"]) else {
                return;
            };
            let url = &url;
            scope.spawn(move || {
                run_with_echo(broker(), |base| {
                    node.arg(peers::script("stompjs_client.js"));
                    node.args([url, version, base]);
                    node
                });
            });
        }
        let Some(python) = peers::gateways_python("stomp, websocket") else {
            return;
        };
        run_with_echo(broker(), |base| {
            let mut command = Command::new(python);
            command.arg(peers::script("stomp_client.py"));
            command.args([&here().port().to_string(), "1.2", base, "/stomp/websocket"]);
            command
        });
    });
}

/// `sockjs_browser.js` in a browser, if there is one.
fn browser() -> Option<Command> {
    let packages = ["playwright-core", "sockjs-client", "@stomp/stompjs"];
    let mut node = peers::node(&packages)?;
    node.arg(peers::script("sockjs_browser.js"));
    node.arg(peers::program("chromium", "chromium")?);
    Some(node)
}

#[track_caller]
fn all_work(broker: &Broker, page: &str, transports: &[&str]) {
    let Some(mut browser) = browser() else { return };
    let url = format!("http://{}/stomp", at(broker));
    run_with_echo(broker, |base| {
        browser.args(["transports", &url, page, base]);
        browser.args(transports);
        browser
    });
}

/// Sheet 17, check 3, for a page that comes from the plugin.
#[test]
fn transports_of_a_page_of_the_same_origin() {
    let page = format!("http://{}/", here());
    let transports = [
        "any",
        "websocket",
        "xhr-streaming",
        "eventsource",
        "htmlfile",
        "xhr-polling",
        "jsonp-polling",
    ];
    all_work(broker(), &page, &transports);
}

/// A page that comes from elsewhere, and whose iframes have the plugin's own script.
#[test]
fn iframes_with_the_script_of_the_plugin() {
    let elsewhere = HttpServer::start(|request| match request.path() {
        "/" => Reply::status(200)
            .header("Content-Type", "text/html")
            .body("<!doctype html><title>a page</title><body>a page"),
        _ => Reply::status(404),
    });
    let page = elsewhere.url("/").replace("127.0.0.1", "localhost");
    let transports = [
        "iframe-eventsource",
        "iframe-htmlfile",
        "iframe-xhr-polling",
    ];
    all_work(broker(), &page, &transports);
}

/// A page that comes from elsewhere: what browsers ask about first, and iframes.
#[test]
fn transports_of_a_page_of_another_origin() {
    let script = peers::node_modules().join("sockjs-client/dist/sockjs.min.js");
    let Ok(script) = std::fs::read_to_string(script) else {
        peers::node(&["sockjs-client"]);
        return;
    };
    let elsewhere = HttpServer::start(move |request| match request.path() {
        "/sockjs.js" => Reply::status(200)
            .header("Content-Type", "text/javascript; charset=utf-8")
            .body(&script),
        "/" => Reply::status(200)
            .header("Content-Type", "text/html")
            .body("<!doctype html><title>a page</title><body>a page"),
        _ => Reply::status(404),
    });
    // By another name, so that it is another site as well.
    let page = elsewhere.url("/").replace("127.0.0.1", "localhost");
    let keys = format!("sockjs.sockjs_url = {}\n", elsewhere.url("/sockjs.js"));
    let broker = Broker::start(config(&keys));
    let transports = [
        "websocket",
        "xhr-streaming",
        "eventsource",
        "xhr-polling",
        "jsonp-polling",
        "iframe-eventsource",
        "iframe-htmlfile",
        "iframe-xhr-polling",
    ];
    all_work(&broker, &page, &transports);
}

/// Sheet 17, check 3: the demo page, clicked.
#[test]
fn the_demo_page_works() {
    for (keys, transport) in [
        ("", "websocket"),
        ("sockjs.websocket = off\n", "xhr_streaming"),
    ] {
        let Some(mut browser) = browser() else { return };
        let broker = Broker::start(config(keys));
        let page = format!("http://{}/", at(&broker));
        let mut mqtt = broker.client(Version::V311, "demo");
        mqtt.sub("/queue/test", 0);
        thread::scope(|scope| {
            scope.spawn(move || {
                let got = mqtt.await_packet(|packet| matches!(packet, Packet::Publish { .. }));
                let Packet::Publish { payload, .. } = got else {
                    return;
                };
                assert_eq!(payload, b"from the browser");
                mqtt.pub_("/queue/test", 1, "to the browser");
            });
            browser.args(["demo", &page, transport]);
            assert_eq!(peers::run(&mut browser).trim(), "ok");
        });
    }
}
