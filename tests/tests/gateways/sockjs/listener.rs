//! The listener, its keys, and the plugin's names.

use std::time::Duration;

use emqttd_tests::{Broker, Config, Version, transport};

use super::carrier::{Carrier, KINDS, Kind};
use super::http::{Http, get, post};
use super::{PLUGIN, at, config, session};
use crate::common::{address, eventually};

/// The seed's form of the file, which is of Erlang.
const SEED: &str = "[\n\
  {emq_sockjs, [\n\
    {sockjs, []},\n\n\
    {cowboy_listener, {stomp_sockjs, PORT, 4}},\n\n\
    %% TODO: unused...\n\
    {stomp, [\n\
      {frame, [\n\
        {max_headers,       10},\n\
        {max_header_length, 1024},\n\
        {max_body_length,   8192}\n\
      ]}\n\
    ]}\n\
  ]}\n\
].\n";

/// A port that was free a moment ago.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_file_may_have_the_form_of_the_seed() {
    let port = port();
    let seed = SEED.replace("PORT", &port.to_string());
    let config = Config::new()
        .file("etc/plugins/emq_sockjs.config", &seed)
        .loaded(&[]);
    let broker = Broker::start(config);
    // Under the name that the seed's commands have.
    let (code, text) = broker.ctl(&["plugins", "load", "emqttd_sockjs"]);
    assert!(
        code == 0 && text.contains(" loaded successfully."),
        "{text}"
    );
    let addr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(get(addr, "/stomp").body, "Welcome to SockJS!\n");
    let mut carrier = Carrier::open(Kind::Xhr, addr);
    carrier.connect(&[]);
    let (_, rows) = broker.ctl(&["listeners"]);
    assert!(rows.contains("listener on sockjs:http:"), "{rows}");
    assert!(rows.contains(&format!(":{port}\n")), "{rows}");
    eventually("the log says where", || {
        broker
            .log()
            .contains(&format!("SockJS URL: http://127.0.0.1:{port}/stomp"))
    });
}

/// emq_stomp is not needed, which the original wanted to be loaded before.
#[test]
fn it_works_without_emq_stomp_and_beside_it() {
    let config = config("")
        .plugin_conf("emq_stomp", "stomp.listener = 127.0.0.1:0\n")
        .loaded(&["emq_stomp", PLUGIN]);
    let broker = Broker::start(config);
    let mut carrier = Carrier::open(Kind::WebSocket, at(&broker));
    carrier.connect(&[]);
    carrier.sub("1", "t");
    let stomp_at = address(&broker, "stomp:tcp");
    let mut stomp = emqttd_tests::stomp::Stomp::guest(stomp_at, &[]);
    stomp.say("SEND", &[("destination", "t")], "x");
    assert_eq!(carrier.recv().text(), "x");
    broker.unload("emq_stomp");
    stomp.recv_within(Duration::from_secs(5));
    broker.client(Version::V311, "mqtt").pub_("t", 1, "y");
    assert_eq!(carrier.recv().text(), "y");
}

#[test]
fn it_goes_with_the_plugin_and_comes_again() {
    let broker = Broker::start(config(""));
    let addr = at(&broker);
    let mut carriers: Vec<Carrier> = KINDS
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Xhr | Kind::Jsonp))
        .map(|kind| {
            let mut carrier = Carrier::open(kind, addr);
            carrier.connect(&[]);
            carrier
        })
        .collect();
    // One that is not logged in.
    let mut early = Carrier::open(Kind::WebSocket, addr);
    broker.unload(PLUGIN);
    early.goes_away();
    for carrier in &mut carriers {
        carrier.goes_away();
    }
    assert!(std::net::TcpStream::connect(addr).is_err());
    assert!(!broker.ctl(&["listeners"]).1.contains("sockjs"));
    broker.write_plugin_conf(PLUGIN, &format!("sockjs.listener = {addr}\n"));
    for _ in 0..2 {
        broker.load(PLUGIN);
        Carrier::open(Kind::XhrStreaming, addr).connect(&[]);
        broker.unload(PLUGIN);
    }
}

#[test]
fn a_taken_address_is_an_error_that_names_the_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let broker = Broker::start(config("").loaded(&[]));
    broker.write_plugin_conf(PLUGIN, &format!("sockjs.listener = {addr}\n"));
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(
        text.contains("sockjs.listener") && text.contains(&addr.to_string()),
        "{text}"
    );
    assert!(!broker.is_active(PLUGIN));
}

#[test]
fn keys_that_are_hot_take_effect_at_once() {
    let broker = Broker::start(config(""));
    let set = |pair: &str| {
        let app = format!("--app={PLUGIN}");
        let (_, out) = broker.ctl(&["set", pair, &app]);
        assert!(out.contains("successfully"), "{out}");
    };
    let mut stays = Carrier::open(Kind::WebSocket, at(&broker));
    stays.connect(&[]);
    let answer = |frame: &str| {
        let mut carrier = Carrier::open(Kind::Raw, at(&broker));
        carrier.send(frame);
        carrier.recv().command
    };
    let guest = "CONNECT\nlogin:guest\npasscode:guest\n\n\0";
    assert_eq!(answer(guest), "CONNECTED");
    assert_eq!(answer("CONNECT\n\n\0"), "CONNECTED");
    set("sockjs.allow_anonymous=false");
    assert_eq!(answer("CONNECT\n\n\0"), "ERROR");
    set("sockjs.default_user.passcode=other");
    assert_eq!(answer(guest), "ERROR");
    set("sockjs.default_user.passcode=guest");
    set("sockjs.frame.max_headers=1");
    assert_eq!(answer(guest), "ERROR");
    // Who is there was not disturbed.
    stays.say("BEGIN", &[("transaction", "1")], "");
    set("sockjs.frame.max_headers=10");
    stays.sub("1", "t");
}

#[test]
fn it_may_speak_tls() {
    let keys = "sockjs.listener.ssl = on\nsockjs.listener.keyfile = etc/certs/key.pem\n\
                sockjs.listener.certfile = etc/certs/cert.pem\n";
    // The certificates are those of another listener.
    let broker = Broker::start(config(keys).listener("ssl.external", &[]));
    let addr = address(&broker, "sockjs:https");
    let open = || {
        let tls = broker.certs.client(&[], None);
        Http::over(transport::tls(transport::tcp(addr), tls).unwrap())
    };
    let session = session();
    let mut http = open();
    http.ask("POST", &format!("{session}/xhr"), &[], "");
    assert_eq!(http.answer().body, "o\n");
    http.ask("POST", &format!("{session}/xhr_send"), &[], super::CONNECT);
    assert_eq!(http.answer().status(), 204);
    http.ask("POST", &format!("{session}/xhr"), &[], "");
    assert_eq!(http.answer().body, format!("{}\n", super::CONNECTED));
    let mut http = open();
    http.send(transport::ws_request("/stomp/websocket", None).as_bytes());
    assert_eq!(http.head().status, 101);
}

#[test]
fn its_rows_show_places() {
    let broker = Broker::start(config("sockjs.listener.max_clients = 7\n"));
    let row = |key: &str, value: &str| {
        let row = format!("  {key:<16}: {value}\n");
        eventually(&row, || broker.ctl(&["listeners"]).1.contains(&row));
    };
    row("max_clients", "7");
    let mut carrier = Carrier::open(Kind::Xhr, at(&broker));
    carrier.connect(&[]);
    let (_, text) = broker.ctl(&["listeners"]);
    let (_, rows) = text.split_once("listener on sockjs:http:").unwrap();
    let rows = rows.split("listener on").next().unwrap();
    assert!(rows.contains("  current_clients : 1\n"), "{rows}");
    assert_eq!(
        post(at(&broker), &format!("{}/xhr", session()), "").body,
        "o\n"
    );
}
