//! `emq_reloader`: what changes on disk is loaded anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use emqttd_tests::certs::Certs;
use emqttd_tests::transport::{self, Wire};
use emqttd_tests::{Broker, Client, Config, Connect, Version, unique};
use rustls::ClientConfig;

use crate::stranger::fixture;

const PLUGIN: &str = "emq_reloader";
const OPEN: &str = "{allow, all}.\n";
const SHUT: &str = "{deny, all, publish, [\"secret\"]}.\n{allow, all}.\n";

/// The plugin with files that are looked at so often.
fn config(interval: &str) -> Config {
    let conf = format!("reloader.interval = {interval}\nreloader.logfile = reloader.log\n");
    Config::with_plugin(PLUGIN, &conf).acl(OPEN)
}

#[track_caller]
fn reload(broker: &Broker, words: &[&str]) -> String {
    let (_, text) = broker.ctl(&[&["reload"], words].concat());
    text
}

fn set_acl(broker: &Broker, text: &str) {
    fs::write(broker.root.join("etc/acl.conf"), text).unwrap();
}

/// The lines of `reloader.log`, without their times.
fn log(broker: &Broker) -> Vec<String> {
    let text = fs::read_to_string(broker.root.join("log/reloader.log")).unwrap();
    text.lines().map(|line| line[24..].to_owned()).collect()
}

/// Waits for so many lines, and returns them.
#[track_caller]
fn await_log(broker: &Broker, lines: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let log = log(broker);
        if log.len() >= lines {
            return log;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{log:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a message to `secret` comes through, on a connection that is there already.
fn may_publish(client: &mut Client, watcher: &mut Client) -> bool {
    // A denied one is not acknowledged.
    client.pub_("secret", 0, "said");
    client.pub_("other", 1, "end");
    let first = watcher.recv_message();
    if first.topic == "secret" {
        watcher.expect("other", "end");
    }
    first.topic == "secret"
}

fn clients(broker: &Broker) -> (Client, Client) {
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub("secret", 1);
    watcher.sub("other", 1);
    (broker.client(Version::V311, "speaker"), watcher)
}

#[test]
fn reloaded_rules_act_at_once_and_broken_ones_never() {
    let broker = Broker::start(config("0"));
    let (mut speaker, mut watcher) = clients(&broker);
    assert!(may_publish(&mut speaker, &mut watcher));

    set_acl(&broker, SHUT);
    let success = "Reload module acl successfully.";
    assert_eq!(reload(&broker, &["acl"]), format!("{success}\n"));
    assert!(!may_publish(&mut speaker, &mut watcher));

    set_acl(&broker, "{allow, all}.\n{deny, all");
    let text = reload(&broker, &["acl"]);
    assert!(text.starts_with("Failed to reload module acl: "), "{text}");
    assert!(text.contains("acl.conf"), "{text}");
    assert!(text.ends_with(".\n"), "{text}");
    assert!(!may_publish(&mut speaker, &mut watcher));
    assert_eq!(log(&broker), [success, text.trim_end()]);
}

#[test]
fn what_there_is_not_cannot_be_reloaded() {
    let broker = Broker::start(config("60s"));
    assert_eq!(
        reload(&broker, &["nosuch"]),
        "Failed to reload module nosuch: nofile.\n"
    );
    let usage = format!("{:<48}# Reload a Module\n", "reload <Module>");
    assert_eq!(reload(&broker, &[]), usage);
    assert_eq!(reload(&broker, &["acl", "certs"]), usage);
    broker.unload(PLUGIN);
    let (code, text) = broker.ctl(&["reload", "acl"]);
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("Reload module"), "{text}");
}

#[test]
fn a_changed_file_is_taken_up_and_an_unchanged_one_is_not() {
    let broker = Broker::start(config("1s").listener("ssl.external", &[]));
    let (mut speaker, mut watcher) = clients(&broker);
    let changed = Instant::now();
    set_acl(&broker, SHUT);
    // Two seconds, and some for a machine that compiles beside us; without the key it would be a minute.
    let log = await_log(&broker, 1);
    assert!(changed.elapsed() < Duration::from_secs(20));
    assert_eq!(log, ["Reload module acl successfully."]);
    assert!(!may_publish(&mut speaker, &mut watcher));

    set_acl(&broker, "{allow, nobody}.\n");
    let log = await_log(&broker, 2);
    let failed = "Failed to reload module acl: ";
    assert!(log[1].starts_with(failed), "{log:?}");
    assert!(!may_publish(&mut speaker, &mut watcher));

    // It is not tried again before it changes again; certificates, which did not change, were not loaded.
    set_acl(&broker, OPEN);
    let log = await_log(&broker, 3);
    assert_eq!(log.len(), 3, "{log:?}");
    assert_eq!(log[2], "Reload module acl successfully.");
    assert!(may_publish(&mut speaker, &mut watcher));
}

#[test]
fn interval_0_is_never() {
    let broker = Broker::start(config("0"));
    let (mut speaker, mut watcher) = clients(&broker);
    set_acl(&broker, SHUT);
    // Nothing is to happen, so there is nothing to wait for but time.
    std::thread::sleep(Duration::from_secs(3));
    assert!(may_publish(&mut speaker, &mut watcher));
    assert!(log(&broker).is_empty());
}

#[test]
fn a_plain_number_is_seconds() {
    let broker = Broker::start(config("1"));
    set_acl(&broker, SHUT);
    assert_eq!(await_log(&broker, 1), ["Reload module acl successfully."]);
}

/// A client over TLS, or the error of the handshake.
fn secure(broker: &Broker, config: &Arc<ClientConfig>) -> Option<Client> {
    let stream = transport::tcp(broker.addr("ssl.external"));
    let tls = transport::tls(stream, Arc::clone(config)).ok()?;
    Some(connected(tls))
}

fn connected(wire: impl Wire + 'static) -> Client {
    let connect = Connect::new(Version::V311, &unique("secure"));
    let mut client = Client::over(wire, connect.version, &connect.client_id);
    client.connect(&connect);
    client
}

#[test]
fn new_certificates_are_for_new_connections() {
    let mutual = [
        ("cacertfile", "etc/certs/cacert.pem"),
        ("verify", "verify_peer"),
        ("fail_if_no_peer_cert", "true"),
        // A refusal is seen in the handshake itself.
        ("tls_versions", "tlsv1.2"),
    ];
    let broker = Broker::start(config("0").listener("ssl.external", &mutual));
    let old = broker.certs.client(&[], Some("client"));
    let mut first = secure(&broker, &old).unwrap();

    // Another authority, certificate and key, and clients of that authority.
    let new = Certs::make(&broker.certs.dir).client(&[], Some("client"));
    assert!(secure(&broker, &new).is_none(), "nothing was reloaded yet");
    assert_eq!(
        reload(&broker, &["certs"]),
        "Reload module certs successfully.\n"
    );
    let mut second = secure(&broker, &new).unwrap();
    assert!(secure(&broker, &old).is_none());
    first.ping();
    second.ping();

    // A certificate without its key: nothing changes, and the file is named.
    fs::copy(
        broker.certs.dir.join("client-cert.pem"),
        broker.certs.dir.join("cert.pem"),
    )
    .unwrap();
    let text = reload(&broker, &["certs"]);
    assert!(
        text.starts_with("Failed to reload module certs: listener on "),
        "{text}"
    );
    assert!(text.contains("key.pem"), "{text}");
    let mut third = secure(&broker, &new).unwrap();
    third.ping();
    first.ping();
}

#[test]
fn new_certificates_are_taken_up_by_themselves() {
    let broker = Broker::start(config("1s").listener("ssl.external", &[]));
    let old = broker.certs.client(&[], None);
    let mut first = secure(&broker, &old).unwrap();
    let new = Certs::make(&broker.certs.dir).client(&[], None);
    assert_eq!(await_log(&broker, 1), ["Reload module certs successfully."]);
    secure(&broker, &new).unwrap().ping();
    assert!(secure(&broker, &old).is_none());
    first.ping();
}

#[test]
fn without_tls_there_are_no_certificates() {
    let broker = Broker::start(config("0"));
    assert_eq!(
        reload(&broker, &["certs"]),
        "Failed to reload module certs: nofile.\n"
    );
}

const LIBRARY: &str = "emq_plugin_fixture";

/// The fixture as it would be after a change of its source: with another description.
fn built_again(bytes: &[u8]) -> Vec<u8> {
    let (old, new) = (b"Misbehaves", b"Is another");
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// Puts a file in the place of another at once, as an installation does.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Ends the traffic of a test when it is dropped.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_rebuilt_plugin_is_swapped_under_traffic() {
    let config = config("1s")
        .plugin_conf("emq_recon", "")
        .plugin_conf(LIBRARY, "")
        .loaded(&[PLUGIN, "emq_recon"]);
    let broker = Broker::start(config);
    let first = fs::read(fixture()).unwrap();
    let path = broker.root.join(format!("plugins/{LIBRARY}.so"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &first).unwrap();
    broker.load(LIBRARY);
    let runs = |description: &str| {
        let (_, list) = broker.ctl(&["plugins", "list"]);
        let row = format!("description={description}, active=true");
        assert!(list.contains(&row), "{list}");
    };
    runs("Misbehaves");

    let swapped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a check fails.
        let done = Done(&swapped);
        let traffic = scope.spawn(|| {
            let mut client = broker.client(Version::V311, "traffic");
            client.sub("changed/#", 1);
            let mut n = 0;
            while !swapped.load(Ordering::Relaxed) {
                n += 1;
                // The plugin turns topic and payload round.
                client.pub_("change/x", 1, &format!("{n}."));
                let turned: String = n.to_string().chars().rev().collect();
                client.expect("changed/x", &format!(".{turned}"));
            }
            n
        });
        replace(&path, &built_again(&first));
        let log = await_log(&broker, 1);
        assert_eq!(log, [format!("Reload module {LIBRARY} successfully.")]);
        runs("Is another");

        // One that is no library: the one before goes on.
        replace(&path, b"not what it should be");
        let log = await_log(&broker, 2);
        let failed = format!("Failed to reload module {LIBRARY}: ");
        assert!(log[1].starts_with(&failed), "{log:?}");
        runs("Is another");
        drop(done);
        assert!(traffic.join().unwrap() > 0);
    });

    replace(&path, &first);
    let (_, text) = broker.ctl(&["recon", "remote_load", LIBRARY]);
    assert_eq!(text, format!("[{{module,{LIBRARY}}}]\n"));
    runs("Misbehaves");
}
