//! The listener: TLS, its limits, hot keys, and that it goes and comes with the plugin.

use std::time::Duration;

use emqttd_tests::stomp::Stomp;
use emqttd_tests::transport;
use emqttd_tests::{Broker, Version};

use super::{PLUGIN, at, config};
use crate::common::{address, eventually, shown, wait_for_client};

const GUEST: [(&str, &str); 2] = [("login", "guest"), ("passcode", "guest")];

fn set(broker: &Broker, pair: &str) {
    let app = format!("--app={PLUGIN}");
    let (_, out) = broker.ctl(&["set", pair, &app]);
    assert!(out.contains("successfully"), "{out}");
}

fn rows(broker: &Broker, protocol: &str) -> String {
    let (_, text) = broker.ctl(&["listeners"]);
    let (_, rows) = text
        .split_once(&format!("listener on {protocol}:"))
        .unwrap();
    rows.split("listener on").next().unwrap().to_owned()
}

/// Whether CONNECT with these headers is let in.
fn admitted(broker: &Broker, headers: &[(&str, &str)]) -> bool {
    let mut stomp = Stomp::open(at(broker));
    stomp.say("CONNECT", headers, "");
    stomp.recv().command == "CONNECTED"
}

#[test]
fn keys_that_are_hot_take_effect_at_once() {
    let broker = Broker::start(config(""));
    let mut stays = Stomp::guest(at(&broker), &[]);
    assert!(admitted(&broker, &GUEST) && admitted(&broker, &[]));
    set(&broker, "stomp.allow_anonymous=false");
    assert!(admitted(&broker, &GUEST) && !admitted(&broker, &[]));
    set(&broker, "stomp.default_user.login=admin");
    set(&broker, "stomp.default_user.passcode=other");
    assert!(!admitted(&broker, &GUEST));
    let admin = [("login", "admin"), ("passcode", "other")];
    assert!(admitted(&broker, &admin));
    set(&broker, "stomp.frame.max_headers=2");
    assert!(admitted(&broker, &admin));
    let three = [admin[0], admin[1], ("a", "b")];
    assert!(!admitted(&broker, &three));
    set(&broker, "stomp.frame.max_headers=3");
    assert!(admitted(&broker, &three));
    set(&broker, "stomp.frame.max_header_length=20");
    let long = [admin[0], admin[1], ("a", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbb")];
    assert!(!admitted(&broker, &long));
    set(&broker, "stomp.frame.max_header_length=1024");
    set(&broker, "stomp.frame.max_body_length=3");
    let mut stomp = Stomp::open(at(&broker));
    stomp.say("CONNECT", &admin, "");
    assert_eq!(stomp.recv().command, "CONNECTED");
    stomp.say("SEND", &[("destination", "a")], "four");
    stomp.refused();
    set(&broker, "stomp.frame.max_body_length=8192");
    set(&broker, "stomp.frame.max_headers=10");
    // Nobody who is connected was disturbed; what is new holds for them as well.
    stays.sub("1", "t", &[("ack", "client")]);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    for (nack, again) in [("requeue", true), ("drop", false)] {
        set(&broker, &format!("stomp.nack={nack}"));
        mqtt.pub_("t", 1, nack);
        let message = stays.message("1", nack);
        stays.say("NACK", &[("id", message.value("ack"))], "");
        if again {
            let message = stays.message("1", nack);
            stays.done("ACK", &[("id", message.value("ack"))], "");
        }
        stays.nothing_from(&mut mqtt);
    }
    set(&broker, "stomp.max_transactions=1");
    stays.done("BEGIN", &[("transaction", "1")], "");
    stays.say("BEGIN", &[("transaction", "2")], "");
    stays.refused();
    set(&broker, "stomp.listener.acceptors=7");
}

#[test]
fn places_are_limited_and_shown() {
    let broker = Broker::start(config("stomp.listener.max_clients = 2\n"));
    let row = |key: &str, value: &str| {
        let row = format!("  {key:<16}: {value}\n");
        eventually(&row, || rows(&broker, "stomp:tcp").contains(&row));
    };
    row("max_clients", "2");
    row("acceptors", "4");
    row("current_clients", "0");
    let mut one = Stomp::guest(at(&broker), &[]);
    let two = Stomp::guest(at(&broker), &[]);
    row("current_clients", "2");
    let full = |broker: &Broker| {
        let mut third = Stomp::open(at(broker));
        third.say("CONNECT", &GUEST, "");
        match third.recv_within(Duration::from_secs(10)) {
            None => panic!("no answer"),
            Some(None) => true,
            Some(Some(frame)) => frame.command == "ERROR",
        }
    };
    assert!(full(&broker));
    one.quiet();
    two.disconnect();
    row("current_clients", "1");
    eventually("there is a place again", || !full(&broker));
    set(&broker, "stomp.listener.max_clients=5");
    row("max_clients", "5");
    let _more: Vec<Stomp> = (0..4).map(|_| Stomp::guest(at(&broker), &[])).collect();
}

#[test]
fn it_goes_with_the_plugin_and_comes_again() {
    let broker = Broker::start(config(""));
    let addr = at(&broker);
    let keep = [("client-id", "keeper"), ("clean-session", "false")];
    let mut one = Stomp::guest(addr, &keep);
    one.sub("1", "t", &[("ack", "client")]);
    let mut two = Stomp::open(addr);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    broker.unload(PLUGIN);
    for stomp in [&mut one, &mut two] {
        if let Some(Some(frame)) = stomp.recv_within(Duration::from_secs(10)) {
            assert_eq!(frame.command, "ERROR");
            stomp.closed();
        }
    }
    assert_eq!(shown(&broker, "keeper"), None);
    assert!(!broker.ctl(&["listeners"]).1.contains("stomp:tcp"));
    assert!(std::net::TcpStream::connect(addr).is_err());
    mqtt.pub_("t", 1, "meanwhile");
    // At the same address, at once.
    broker.write_plugin_conf(PLUGIN, &format!("stomp.listener = {addr}\n"));
    for _ in 0..3 {
        broker.load(PLUGIN);
        assert_eq!(at(&broker), addr);
        let mut stomp = Stomp::guest(addr, &keep);
        wait_for_client(&broker, "keeper");
        stomp.sub("1", "t", &[]);
        broker.unload(PLUGIN);
    }
    mqtt.quiet();
}

#[test]
fn a_taken_address_is_an_error_that_names_the_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let broker = Broker::start(config("").loaded(&[]));
    broker.write_plugin_conf(PLUGIN, &format!("stomp.listener = {addr}\n"));
    let (code, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(code != 0 || !text.contains("loaded successfully"), "{text}");
    assert!(
        text.contains("stomp.listener") && text.contains(&addr.to_string()),
        "{text}"
    );
    assert!(!broker.is_active(PLUGIN));
    drop(taken);
    broker.load(PLUGIN);
    Stomp::guest(addr, &[]);
}

const TLS: &str = "stomp.listener.ssl = on\nstomp.listener.keyfile = etc/certs/key.pem\n\
                   stomp.listener.certfile = etc/certs/cert.pem\nstomp.listener.handshake_timeout = 1s\n";

#[test]
fn the_listener_may_speak_tls() {
    // The certificates are those of another listener.
    let broker = Broker::start(config(TLS).listener("ssl.external", &[]));
    let addr = address(&broker, "stomp:ssl");
    let open = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let tls = broker.certs.client(versions, None);
        Stomp::over(transport::tls(transport::tcp(addr), tls).unwrap())
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stomp = open(&[version]);
        stomp.connect(&GUEST);
        stomp.sub("1", "t", &[]);
        let body = "x".repeat(8192);
        for _ in 0..20 {
            stomp.say("SEND", &[("destination", "t")], &body);
        }
        for _ in 0..20 {
            stomp.message("1", &body);
        }
        stomp.disconnect();
    }
    assert!(rows(&broker, "stomp:ssl").contains("max_clients     : 512"));
    // Who speaks no TLS, or nothing, is closed.
    for bytes in ["CONNECT\nlogin:guest\npasscode:guest\n\n\0", ""] {
        let mut stream = transport::tcp(addr);
        std::io::Write::write_all(&mut stream, bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        if let Err(e) = std::io::Read::read_to_end(&mut stream, &mut answer) {
            assert!(transport::is_closed(&e), "{e}");
        }
        assert!(!answer.starts_with(b"CONNECTED"));
    }
}

#[test]
fn clients_may_have_to_show_certificates() {
    let mutual = format!(
        "{TLS}stomp.listener.cacertfile = etc/certs/cacert.pem\nstomp.listener.verify = verify_peer\n\
         stomp.listener.fail_if_no_peer_cert = true\nstomp.listener.tls_versions = tlsv1.2\n"
    );
    let broker = Broker::start(config(&mutual).listener("ssl.external", &[]));
    let addr = address(&broker, "stomp:ssl");
    let open = |version, certificate| {
        let tls = broker.certs.client(&[version], certificate);
        transport::tls(transport::tcp(addr), tls)
    };
    let stream = open(&rustls::version::TLS12, Some("client")).unwrap();
    Stomp::over(stream).connect(&GUEST);
    assert!(open(&rustls::version::TLS12, None).is_err());
    assert!(open(&rustls::version::TLS13, Some("client")).is_err());
}
