//! What the tests need beside Rust and a C compiler: looked for, and installed on Debian.

use crate::shell::{at, has, run, target, works};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A program, the Debian package that brings it, and what it is for.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    (
        "mosquitto_pub",
        &["mosquitto-clients"],
        "tests with the clients of mosquitto",
    ),
    ("valgrind", &["valgrind"], "instruction counts"),
    (
        "python3",
        &["python3", "python3-venv"],
        "the recorded exchanges, tests with paho-mqtt",
    ),
    ("npm", &["nodejs", "npm"], "tests with mqtt.js"),
    ("c++", &["g++"], "fuzzing"),
];

/// The versions that the tests run with.
const PAHO: &str = "paho-mqtt==2.1.0";
const MQTT_JS: &str = "mqtt@5";

/// Where the tests find the interpreter that has paho-mqtt.
pub fn python() -> PathBuf {
    target().join("tools/venv/bin/python")
}

/// Where the tests find `node_modules/mqtt`.
pub fn node_dir() -> PathBuf {
    target().join("tools/node")
}

/// Installs what is missing and can be installed; returns what still is missing, a sentence each.
pub fn ensure() -> Vec<String> {
    let mut wanted: Vec<&str> = Vec::new();
    for (program, packages, _) in PROGRAMS {
        if !has(program) {
            wanted.extend(*packages);
        }
    }
    if has("python3") && !works("python3", &["-c", "import venv, ensurepip"]) {
        wanted.push("python3-venv");
    }
    if !wanted.is_empty()
        && let Err(e) = install(&wanted)
    {
        println!("xtask: {e}");
    }
    let mut missing = Vec::new();
    for (program, packages, what) in PROGRAMS {
        if !has(program) {
            missing.push(format!("{program} ({}) for {what}", packages.join(", ")));
        }
    }
    if let Err(e) = paho() {
        missing.push(format!("paho-mqtt: {e}"));
    }
    if let Err(e) = mqtt_js() {
        missing.push(format!("mqtt.js: {e}"));
    }
    missing
}

fn install(packages: &[&str]) -> Result<(), String> {
    if !has("apt-get") {
        return Err(format!("please install: {}", packages.join(", ")));
    }
    let root = works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]);
    if !root && !works("sudo", &["-n", "true"]) {
        return Err(format!(
            "please run: sudo apt-get install {}",
            packages.join(" ")
        ));
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        run(&mut command)
    };
    apt(&["update", "-q"])?;
    apt(&[
        &["install", "-q", "-y", "--no-install-recommends"],
        packages,
    ]
    .concat())
}

fn paho() -> Result<(), String> {
    let python = python();
    if python.is_file() && works(&python.to_string_lossy(), &["-c", "import paho.mqtt"]) {
        return Ok(());
    }
    let venv = target().join("tools/venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "-q", PAHO]))
}

fn mqtt_js() -> Result<(), String> {
    let dir = node_dir();
    if dir.join("node_modules/mqtt/package.json").is_file() {
        return Ok(());
    }
    at(&dir, fs::create_dir_all(&dir))?;
    let npm = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
    run(Command::new("npm").args(npm).arg(&dir).arg(MQTT_JS))
}
