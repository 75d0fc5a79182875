//! The clients of others: stomp.py, stompjs.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use emqttd_tests::{Broker, Packet, Publish, Version, peers, unique};

use super::{broker, here};

const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

/// Runs a client while what it sends to `<base>/up` comes back at `<base>/down` by way of MQTT; it has to print `ok`.
#[track_caller]
pub fn run_with_echo(broker: &Broker, command: impl FnOnce(&str) -> Command) {
    let base = unique("peer");
    let mut mqtt = broker.client(Version::V5, "echo");
    mqtt.sub(&format!("{base}/up"), 0);
    let over = AtomicBool::new(false);
    let down = format!("{base}/down");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(Some(Packet::Publish { payload, .. })) =
                    mqtt.recv_within(Duration::from_millis(100))
                {
                    mqtt.publish(Publish::new(&down, payload).qos(1));
                }
            }
        });
        let (ok, text) = peers::attempt(&mut command(&base));
        over.store(true, Ordering::Relaxed);
        assert!(ok && text.trim() == "ok", "{text}");
    });
}

#[test]
fn stomp_py_speaks_with_mqtt() {
    let Some(python) = peers::gateways_python("stomp") else {
        return;
    };
    thread::scope(|scope| {
        for version in VERSIONS {
            let python = &python;
            scope.spawn(move || {
                run_with_echo(broker(), |base| {
                    let mut command = Command::new(python);
                    command.arg(peers::script("stomp_client.py"));
                    command.args([&here().port().to_string(), version, base]);
                    command
                });
            });
        }
    });
}

#[test]
fn stompjs_speaks_with_mqtt() {
    let url = format!("tcp://{}", here());
    thread::scope(|scope| {
        for version in VERSIONS {
            let Some(mut node) = peers::node(&["@stomp/stompjs"]) else {
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
    });
}
