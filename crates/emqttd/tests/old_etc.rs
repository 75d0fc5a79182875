//! `etc` directories as EMQ 2.0 to 2.3.11 had them start the real program unchanged; only ports are
//! moved, by the variables that EMQ had for it.
#![allow(clippy::unwrap_used)]

mod tree;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use tree::{Tree, free_port, log, read};

/// The tree of an installation, and where its listeners are.
struct Old {
    tree: Tree,
    internal: u16,
    ssl: u16,
    ws: u16,
    wss: u16,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/fixtures")
}

/// The directory `release` of the fixtures. Those without an `acl.conf` had the same as 2.3.11.
fn old(release: &str) -> Old {
    let mut tree = Tree::bare();
    let from = fixtures().join(release);
    let etc = tree.path().join("etc");
    fs::copy(fixtures().join("emq-2.3.11/acl.conf"), etc.join("acl.conf")).unwrap();
    fs::copy(from.join("emq.conf"), etc.join("emq.conf")).unwrap();
    for entry in fs::read_dir(from.join("plugins")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), etc.join("plugins").join(entry.file_name())).unwrap();
    }
    emqttd_net::selfsigned::write_missing(&etc.join("certs")).unwrap();
    let (internal, ssl, ws, wss) = (free_port(), free_port(), free_port(), free_port());
    // The names of 2.0 and 2.1 for the last two.
    let web = match release {
        "emq-2.0" | "emq-2.1" => ["EMQ_HTTP_PORT", "EMQ_HTTPS_PORT"],
        _ => ["EMQ_WS_PORT", "EMQ_WSS_PORT"],
    };
    let port = tree.port;
    for (name, port) in [
        ("EMQ_TCP_PORT", port),
        ("EMQ_SSL_PORT", ssl),
        (web[0], ws),
        (web[1], wss),
    ] {
        tree.set(name, &format!("127.0.0.1:{port}"));
    }
    let text = fs::read_to_string(etc.join("emq.conf")).unwrap();
    if text.contains("listener.tcp.internal") {
        let to = format!("127.0.0.1:{internal}");
        tree.set("EMQ_LISTENER__TCP__INTERNAL", &to);
    }
    if text.contains("listener.api.mgmt") {
        let to = format!("127.0.0.1:{}", free_port());
        tree.set("EMQ_LISTENER__API__MGMT", &to);
    }
    tree.set("EMQ_DASHBOARD__LISTENER__HTTP", "127.0.0.1:0");
    Old {
        tree,
        internal,
        ssl,
        ws,
        wss,
    }
}

/// Starts it, publishes to itself over MQTT, stops it; what `start` wrote to standard error.
fn lives(old: &Old) -> String {
    let tree = &old.tree;
    let (exit, out, err) = tree.verb("start");
    assert_eq!(exit, 0, "{out}{err}{}", log(tree));
    assert!(out.ends_with(" is started successfully!\n"), "{out}");
    exchange(tree, tree.port);
    let (exit, out, _) = tree.verb("stop");
    assert_eq!((exit, out.as_str()), (0, "ok\n"));
    assert!(!tree.answers());
    err
}

/// One client subscribes and hears what it publishes.
fn exchange(tree: &Tree, port: u16) {
    let mut client = tree.client(port, "old");
    client
        .write_all(b"\x82\x08\x00\x01\x00\x03a/b\x00")
        .unwrap();
    assert_eq!(read(&mut client, 5), [0x90, 3, 0, 1, 0], "SUBACK");
    client.write_all(b"\x30\x07\x00\x03a/bhi").unwrap();
    assert_eq!(read(&mut client, 9), b"\x30\x07\x00\x03a/bhi", "PUBLISH");
    client.write_all(b"\xe0\x00").unwrap();
}

fn open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Each of these is in a line of its own.
fn warned(err: &str, texts: &[&str]) {
    for text in texts {
        assert!(
            err.lines()
                .any(|line| line.starts_with("warning: ") && line.contains(text)),
            "no warning with `{text}` in\n{err}"
        );
    }
}

#[test]
fn emq_2_0() {
    let old = old("emq-2.0");
    let err = lives(&old);
    warned(
        &err,
        &[
            "emq.conf:39:1: mqtt.listener.tcp: of an earlier release is called listener.tcp.external now",
            "mqtt.queue.qos0: of an earlier release is called mqtt.mqueue.store_qos0 now",
            "`60` has no unit; taken as seconds",
            "emq_mod_retainer.conf:2:1: module.retainer.max_message_num",
            "let in from everywhere",
            "emq_mod_rewrite.config: the plugin emq_mod_rewrite is called emq_modules now",
        ],
    );
}

#[test]
fn emq_2_1() {
    let old = old("emq-2.1");
    let err = lives(&old);
    warned(
        &err,
        &[
            "mqtt.queue.max_length: of an earlier release",
            "the period `60s` of 2.1 is no longer a setting",
            "`infinity` is written 0 now",
            "let in from everywhere",
        ],
    );
}

#[test]
fn emq_2_2() {
    let old = old("emq-2.2");
    let err = lives(&old);
    warned(
        &err,
        &[
            "cluster.id: of an earlier release is called cluster.name now",
            "let in from everywhere",
        ],
    );
}

#[test]
fn emq_2_3_11_with_all_its_listeners() {
    let old = old("emq-2.3.11");
    let tree = &old.tree;
    // What the release came with.
    tree.write(
        "data/loaded_plugins",
        "emq_recon.\nemq_modules.\nemq_retainer.\nemq_dashboard.\n",
    );
    let (exit, out, err) = tree.verb("start");
    assert_eq!(exit, 0, "{out}{err}{}", log(tree));
    warned(
        &err,
        &[
            "these keys are accepted but have no effect here: node.smp, ",
            "listener.tcp.external.send_timeout_close: is set a second time",
            "let in from everywhere",
        ],
    );
    exchange(tree, tree.port);
    exchange(tree, old.internal);
    for port in [old.ssl, old.ws, old.wss] {
        assert!(open(port));
    }
    let told = log(tree);
    for line in [
        format!(
            "mqtt:tcp listen on 127.0.0.1:{} with 16 acceptors.",
            tree.port
        ),
        format!(
            "mqtt:ssl listen on 127.0.0.1:{} with 16 acceptors.",
            old.ssl
        ),
        format!("mqtt:wss listen on 127.0.0.1:{} with 4 acceptors.", old.wss),
    ] {
        assert!(told.contains(&line), "{line} in\n{told}");
    }
    assert_eq!(tree.verb("stop").0, 0);
    let stopped = format!("stopped mqtt:tcp on 127.0.0.1:{}\n", tree.port);
    assert!(log(tree).contains(&stopped));
}

#[test]
fn a_tree_without_a_key_makes_its_own_and_keeps_it() {
    let old = old("emq-2.3.11");
    let certs = old.tree.path().join("etc/certs");
    for entry in fs::read_dir(&certs).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (exit, out, err) = old.tree.verb("start");
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.contains("etc/certs was empty"), "{out}");
    let key = fs::read(certs.join("key.pem")).unwrap();
    assert_eq!(old.tree.verb("stop").0, 0);
    assert_eq!(old.tree.verb("start").0, 0);
    assert_eq!(fs::read(certs.join("key.pem")).unwrap(), key);
    assert_eq!(old.tree.verb("stop").0, 0);
}

#[test]
fn a_missing_certificate_keeps_the_node_from_starting() {
    let old = old("emq-2.3.11");
    fs::remove_file(old.tree.path().join("etc/certs/cert.pem")).unwrap();
    let (exit, _, err) = old.tree.verb("start");
    assert_eq!(exit, 1);
    for port in [old.ssl, old.wss] {
        let listener = format!("listener on 127.0.0.1:{port}: certfile ");
        assert!(err.contains(&listener), "{err}");
    }
    assert!(!old.tree.answers());
}

/// Rules 1, 3, 6, 7, 8, 10 and 12 of what installations have, in one tree.
#[test]
fn in_the_wild() {
    let mut old = old("emq-2.3.11");
    let etc = old.tree.path().join("etc");
    let mut text = fs::read_to_string(etc.join("emq.conf")).unwrap();
    text.push_str("mqtt.broker.sys_interval = 60\nmqtt.max_clientid_len =1000\r\n");
    text.push_str("log.error.file ={{ platform_log_dir }}/error.log\n");
    old.tree.write("etc/emq.conf", &text);
    // A name that no resolver knows; somebody's container once had it.
    old.tree.set("EMQ_NODE_NAME", "9ce667cd8da6@172.18.0.7");
    old.tree
        .set("EMQ_LOADED_PLUGINS", "\"emq_recon, emq_retainer\"");
    old.tree.set("EMQ_MQTT__SESSION__MAX-INFLIGHT", "\"16\"");
    old.tree.set("EMQ_MQTT__NO_SUCH", "1");
    old.tree.set("EMQX_NAME", "x");
    old.tree.write(
        "etc/plugins/emq_kafka_bridge.conf",
        "} no configuration {\n",
    );
    old.tree
        .write("etc/plugins/emq_retainer.conf.good", "nonsense\n");
    // Files of other places, linked over those of the release.
    let elsewhere = old.tree.path().join("data/mysql.conf");
    fs::write(&elsewhere, "auth.mysql.password = a#b %c {d} $%^&*()\n").unwrap();
    let link = etc.join("plugins/emq_auth_mysql.conf");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();

    let err = lives(&old);
    warned(
        &err,
        &[
            "mqtt.broker.sys_interval: `60` has no unit",
            "emq_kafka_bridge.conf: belongs to a plugin that this broker does not have",
            "EMQ_MQTT__NO_SUCH: stands for no key",
            "EMQX_NAME",
        ],
    );
    assert!(!err.contains("emq_retainer.conf.good"), "{err}");
    assert!(
        log(&old.tree).contains("starting emqttd on node '9ce667cd8da6@172.18.0.7'"),
        "{}",
        log(&old.tree)
    );
    let loaded = fs::read_to_string(old.tree.path().join("data/loaded_plugins")).unwrap();
    assert_eq!(loaded, "emq_recon.\nemq_retainer.\n");
}

/// Rule 3: a plugin that decides nothing is passed over; one whose file lies there and which is to
/// be loaded is missed.
#[test]
fn a_missing_plugin_that_is_to_be_loaded_keeps_the_node_from_starting() {
    let old = old("emq-2.3.11");
    old.tree.write("etc/plugins/emq_kafka_bridge.conf", "x\n");
    old.tree
        .write("data/loaded_plugins", "emq_retainer.\nemq_kafka_bridge.\n");
    let (exit, _, err) = old.tree.verb("start");
    assert_eq!(exit, 1);
    assert!(err.contains("loaded_plugins:2:"), "{err}");
    // Looked at from elsewhere, as `verb` does, and before anything is started.
    assert!(!log(&old.tree).contains("loaded_plugins"), "{err}");
    assert_eq!(old.tree.verb("check-config").0, 1);
    assert!(err.contains("to go on without it"), "{err}");
    // As it says.
    old.tree.write("data/loaded_plugins", "emq_retainer.\n");
    lives(&old);
}

/// Rule 9: what is deleted is off, whatever the environment says.
#[test]
fn deleted_listeners_stay_closed() {
    let old = old("emq-2.3.11");
    let path = old.tree.path().join("etc/emq.conf");
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text
        .lines()
        .filter(|line| !line.starts_with("listener.ws") && !line.starts_with("listener.ssl"))
        .map(|line| format!("{line}\n"))
        .collect();
    old.tree.write("etc/emq.conf", &kept);
    let (exit, _, err) = old.tree.verb("start");
    assert_eq!(exit, 0, "{err}");
    warned(
        &err,
        &["EMQ_WS_PORT: is ignored: no file opens listener.ws.external"],
    );
    assert!(old.tree.answers());
    for port in [old.ssl, old.ws, old.wss] {
        assert!(!open(port));
    }
    assert_eq!(old.tree.verb("stop").0, 0);
}
