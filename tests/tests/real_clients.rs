//! Clients that others wrote, from the registries: mosquitto's, paho-mqtt, mqtt.js, rumqttc.
//!
//! `cargo xtask test` installs them and says where they are. A client that is not there is skipped with a
//! word, but never in CI (`CI=true`).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Config, broker::program, unique};

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .listener("ssl.external", &[])
                .listener("ws.external", &[])
                .listener("wss.external", &[]),
        )
    })
}

fn ca() -> String {
    broker()
        .certs
        .dir
        .join("cacert.pem")
        .to_str()
        .unwrap()
        .to_string()
}

fn port(listener: &str) -> String {
    broker().addr(listener).port().to_string()
}

/// Says why a client is skipped; in CI that is a failure.
fn skip(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{why}: not allowed in CI"
    );
    eprintln!("skipped: {why}");
}

/// Runs a client; it must end well within half a minute and print `ok`.
#[track_caller]
fn run(command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

fn works(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// The build directory, `target`.
fn target() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.ancestors().nth(3).unwrap().to_path_buf()
}

fn clients() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
}

// mosquitto

fn mosquitto() -> bool {
    let there = Command::new("mosquitto_pub").arg("--help").output().is_ok();
    if !there {
        skip("mosquitto_pub is not installed (Debian: mosquitto-clients)");
    }
    there
}

/// Options of mosquitto's programs for a listener.
fn options(listener: &str, version: &str) -> Vec<String> {
    let mut options: Vec<String> = ["-h", "127.0.0.1", "-p", &port(listener), "-V", version]
        .iter()
        .map(|s| (*s).into())
        .collect();
    if listener.starts_with("ssl") {
        options.extend(["--cafile".into(), ca()]);
    }
    options
}

fn mosquitto_over(listener: &str) {
    if !mosquitto() {
        return;
    }
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let topic = unique("mosquitto");
            let id = unique("msub");
            let options = options(listener, version);
            let mut subscriber = Command::new("mosquitto_sub")
                .args(&options)
                .args([
                    "-i",
                    &id,
                    "-t",
                    &format!("{topic}/#"),
                    "-q",
                    qos,
                    "-C",
                    "2",
                    "-W",
                    "20",
                    "-v",
                ])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            // Published once the broker knows of the subscription.
            let start = Instant::now();
            while !broker()
                .ctl(&["subscriptions", "show", &id])
                .1
                .contains(&topic)
            {
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "{version}: no subscription"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            for name in ["a", "b"] {
                run(Command::new("mosquitto_pub").args(&options).args([
                    "-t",
                    &format!("{topic}/{name}"),
                    "-m",
                    name,
                    "-q",
                    qos,
                ]));
            }
            let status = subscriber.wait().unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut subscriber.stdout.take().unwrap(), &mut text)
                .unwrap();
            assert!(status.success(), "{version} QoS {qos}: {status} {text}");
            assert_eq!(
                text,
                format!("{topic}/a a\n{topic}/b b\n"),
                "{version} QoS {qos}"
            );
        }
        // Retained.
        let topic = unique("mosquitto");
        let options = options(listener, version);
        run(Command::new("mosquitto_pub")
            .args(&options)
            .args(["-t", &topic, "-m", "kept", "-r", "-q", "1"]));
        let text = run(Command::new("mosquitto_sub")
            .args(&options)
            .args(["-t", &topic, "-C", "1", "-W", "10"]));
        assert_eq!(text, "kept\n", "{version}");
    }
}

#[test]
fn mosquitto_over_tcp() {
    mosquitto_over("tcp.external");
}

#[test]
fn mosquitto_over_tls() {
    mosquitto_over("ssl.external");
}

/// A large number of lines through one publisher and one subscriber.
#[test]
fn mosquitto_streams_lines() {
    if !mosquitto() {
        return;
    }
    let topic = unique("lines");
    let id = unique("lines");
    let options = options("tcp.external", "mqttv5");
    let subscriber = Command::new("mosquitto_sub")
        .args(&options)
        .args(["-i", &id, "-t", &topic, "-q", "2", "-C", "1000", "-W", "30"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !broker()
        .ctl(&["subscriptions", "show", &id])
        .1
        .contains(&topic)
    {
        assert!(start.elapsed() < Duration::from_secs(10), "no subscription");
        std::thread::sleep(Duration::from_millis(20));
    }
    let lines: String = (0..1000).map(|i| format!("{i}\n")).collect();
    let mut publisher = Command::new("mosquitto_pub")
        .args(&options)
        .args(["-t", &topic, "-q", "2", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut publisher.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    let output = subscriber.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
}

// paho-mqtt

/// A Python that has paho-mqtt: `$EMQTTD_TEST_PYTHON`, that of `target/tools`, or the system's.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("EMQTTD_TEST_PYTHON").map(PathBuf::from);
    let found = [
        named,
        Some(target().join("tools/venv/bin/python")),
        Some("python3".into()),
    ]
    .into_iter()
    .flatten()
    .find(|python| works(Command::new(python).args(["-c", "import paho.mqtt"])));
    if found.is_none() {
        skip("no Python with paho-mqtt (cargo xtask test installs one)");
    }
    found
}

fn paho_over(transport: &str, listener: &str) {
    let Some(python) = python() else { return };
    for version in ["3", "4", "5"] {
        let text = run(Command::new(&python)
            .arg(clients().join("paho_client.py"))
            .args([transport, &port(listener), version, &ca(), &unique("paho")]));
        assert_eq!(text.trim(), "ok", "version {version}");
    }
}

#[test]
fn paho_over_tcp() {
    paho_over("tcp", "tcp.external");
}

#[test]
fn paho_over_tls() {
    paho_over("tls", "ssl.external");
}

#[test]
fn paho_over_websocket() {
    paho_over("ws", "ws.external");
}

#[test]
fn paho_over_secure_websocket() {
    paho_over("wss", "wss.external");
}

// mqtt.js

fn mqttjs_over(scheme: &str, listener: &str) {
    let dir = std::env::var_os("EMQTTD_TEST_NODE_DIR")
        .map_or_else(|| target().join("tools/node"), PathBuf::from);
    let modules = dir.join("node_modules");
    if !modules.join("mqtt").is_dir() || !works(Command::new("node").arg("--version")) {
        skip("no node with mqtt.js (cargo xtask test installs it)");
        return;
    }
    let path = if scheme.starts_with("ws") {
        "/mqtt"
    } else {
        ""
    };
    let url = format!("{scheme}://127.0.0.1:{}{path}", port(listener));
    for version in ["3", "4", "5"] {
        let text = run(Command::new("node")
            .env("NODE_PATH", &modules)
            .arg(clients().join("mqttjs_client.js"))
            .args([&url, version, &ca(), &unique("mqttjs")]));
        assert_eq!(text.trim(), "ok", "{url} version {version}");
    }
}

#[test]
fn mqttjs_over_tcp() {
    mqttjs_over("mqtt", "tcp.external");
}

#[test]
fn mqttjs_over_tls() {
    mqttjs_over("mqtts", "ssl.external");
}

#[test]
fn mqttjs_over_websocket() {
    mqttjs_over("ws", "ws.external");
}

#[test]
fn mqttjs_over_secure_websocket() {
    mqttjs_over("wss", "wss.external");
}

// rumqttc

/// Builds the client beside our own programs; it has a lock file of its own.
fn rumqttc() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let dir = target().join("tools/rumqttc");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let output = Command::new(cargo)
                .args(["build", "--locked", "--quiet", "--manifest-path"])
                .arg(clients().join("rumqttc/Cargo.toml"))
                .env("CARGO_TARGET_DIR", &dir)
                .output();
            match output {
                Ok(output) if output.status.success() => Some(dir.join("debug/rumqttc-client")),
                Ok(output) => {
                    skip(&format!(
                        "rumqttc does not build: {}",
                        String::from_utf8_lossy(&output.stderr)
                    ));
                    None
                }
                Err(e) => {
                    skip(&format!("no cargo to build rumqttc with: {e}"));
                    None
                }
            }
        })
        .clone()
}

fn rumqttc_over(listener: &str, ca: &str) {
    let Some(client) = rumqttc() else { return };
    for version in ["3", "5"] {
        let text =
            run(Command::new(&client).args([&port(listener), version, ca, &unique("rumqttc")]));
        assert_eq!(text.trim(), "ok", "version {version}");
    }
}

#[test]
fn rumqttc_over_tcp() {
    rumqttc_over("tcp.external", "-");
}

#[test]
fn rumqttc_over_tls() {
    rumqttc_over("ssl.external", &ca());
}

/// The programs of this build are the ones under test.
#[test]
fn programs_are_there() {
    assert!(program("emqttd").is_file() && program("emqttd_ctl").is_file());
}
