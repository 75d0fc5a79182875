//! The clients of others: stomp.py, stompjs.

use std::process::Command;
use std::thread;

use emqttd_tests::peers;

use super::{broker, here};
use crate::common::run_with_echo;

const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

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
