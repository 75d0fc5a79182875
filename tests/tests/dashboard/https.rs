//! The HTTPS listener: its keys, and certificates that change while it is open.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;

use emqttd_tests::Broker;
use emqttd_tests::certs::Certs;
use emqttd_tests::http::{Http, read_answer};
use emqttd_tests::servers::ports;
use emqttd_tests::transport;
use rustls::version::{TLS12, TLS13};

use crate::config;

/// All keys that have an effect. With TLS 1.2 who is refused learns of it in the handshake.
const KEYS: &str = "\
    dashboard.listener.https.acceptors = 2\n\
    dashboard.listener.https.max_clients = 64\n\
    dashboard.listener.https.access.1 = allow 127.0.0.1\n\
    dashboard.listener.https.access.2 = deny all\n\
    dashboard.listener.https.handshake_timeout = 30s\n\
    dashboard.listener.https.certfile = etc/certs/cert.pem\n\
    dashboard.listener.https.keyfile = etc/certs/key.pem\n\
    dashboard.listener.https.cacertfile = etc/certs/cacert.pem\n\
    dashboard.listener.https.verify = verify_peer\n\
    dashboard.listener.https.fail_if_no_peer_cert = true\n\
    dashboard.listener.https.tls_versions = tlsv1.2\n\
    dashboard.listener.https.ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n\
    dashboard.listener.https.secure_renegotiate = off\n\
    dashboard.listener.https.reuse_sessions = on\n\
    dashboard.listener.https.honor_cipher_order = on\n";

#[test]
fn https_by_its_keys_and_with_certificates_that_change() {
    let (plain, secure) = (ports::reserve(), ports::reserve());
    let addr = SocketAddr::from(([127, 0, 0, 1], secure.number));
    let keys = format!("dashboard.listener.https = {addr}\n{KEYS}");
    let loaded = "emq_retainer.\nemq_dashboard.\nemq_reloader.\n";
    let config = config(&plain, &keys)
        .file("data/loaded_plugins", loaded)
        .file("etc/plugins/emq_reloader.conf", "reloader.interval = 0\n");
    let broker = Broker::start(config);
    let (_, listeners) = broker.ctl(&["listeners"]);
    assert!(
        listeners.contains(&format!("listener on dashboard:https:{addr}\n")),
        "{listeners}"
    );

    // Whose certificate the authority has signed comes in, and nobody else.
    let shakes = |certs: &Certs, version, client| {
        transport::tls(transport::tcp(addr), certs.client(&[version], client))
    };
    let old = Certs {
        dir: broker.root.join("etc/certs of before"),
    };
    let dir = broker.root.join("etc/certs");
    let page = |certs: &Certs| Http::at(addr).tls(certs.client(&[&TLS12], Some("client")));
    let answer = page(&broker.certs).get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("<!doctype html>"));
    assert!(shakes(&broker.certs, &TLS12, None).is_err());
    assert!(shakes(&broker.certs, &TLS13, Some("client")).is_err());
    let wire = shakes(&broker.certs, &TLS12, Some("client")).unwrap();
    let cipher = wire.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(
        format!("{cipher:?}"),
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    );

    // What cannot be used is refused, with its name, and changes nothing.
    let mut open = page(&broker.certs).connect();
    fs::rename(&dir, &old.dir).unwrap();
    let new = Certs::make(&dir);
    fs::rename(dir.join("key.pem"), dir.join("key of another name")).unwrap();
    fs::copy(old.dir.join("key.pem"), dir.join("key.pem")).unwrap();
    let (_, said) = broker.ctl(&["reload", "certs"]);
    assert!(
        said.starts_with("Failed to reload module certs: ") && said.contains("key.pem"),
        "{said}"
    );
    assert_eq!(page(&old).get("/").status, 200);

    // The new certificate is shown, and the new authority asked; who was there stays.
    fs::rename(dir.join("key of another name"), dir.join("key.pem")).unwrap();
    let (_, said) = broker.ctl(&["reload", "certs"]);
    assert_eq!(said, "Reload module certs successfully.\n");
    assert_eq!(page(&new).get("/").status, 200);
    assert!(shakes(&old, &TLS12, Some("client")).is_err());
    let request = page(&new).request("GET", "/", None);
    open.write_all(&request).unwrap();
    let answer = read_answer(&mut open, "GET").unwrap();
    assert_eq!(answer.status, 200);
}
