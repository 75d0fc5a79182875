//! `cargo xtask bench`: our broker, the relay that is the physical floor, and mosquitto, on the same rows.
//!
//! The yardstick is the processor time of the broker's process for each delivered message. For each repetition and
//! row, the three run one after the other, so that whatever else the machine does meets all of them.

mod peers;
mod report;
mod server;

use crate::shell::{at, cargo, has, root, run as run_command, target};
use peers::{ROWS, Relay, Row};
use serde_json::Value;
use server::{Peer, Programs, Server};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: cargo xtask bench [options]
  --reps N         repetitions of each row (3)
  --rows A,B       only these rows
  --peers A,B      only these of emqttd, relay, mosquitto
  --duration S     seconds of a measurement (3)
  --quick          one repetition of one second: to see that it works, not to compare
  --broker PATH    a built emqttd, in place of building one
  --write          write the table to bench/RESULTS.md";

struct Options {
    reps: usize,
    rows: Vec<&'static Row>,
    peers: Vec<Peer>,
    duration: f64,
    warmup: f64,
    broker: Option<PathBuf>,
    write: bool,
}

/// One result of the generator.
pub struct Run {
    pub row: &'static str,
    pub peer: &'static str,
    pub result: Result<Value, String>,
}

/// Measures, prints the table, and writes it on demand.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let programs = programs(&options)?;
    let scratch = target().join("bench");
    at(&scratch, std::fs::create_dir_all(&scratch))?;
    let before = report::load_average();
    let mut runs = Vec::new();
    for rep in 1..=options.reps {
        for row in &options.rows {
            for peer in options
                .peers
                .iter()
                .filter(|p| **p != Peer::Relay || row.relay != Relay::No)
            {
                let result = measure(*peer, row, &programs, &options, &scratch);
                match &result {
                    Ok(value) => eprintln!("{rep}/{} {value}", options.reps),
                    Err(e) => eprintln!("{rep}/{} {} {}: {e}", options.reps, row.name, peer.name()),
                }
                runs.push(Run {
                    row: row.name,
                    peer: peer.name(),
                    result,
                });
            }
        }
    }
    let report = report::markdown(&options.rows, &runs, options.reps, &before);
    println!("{report}");
    if options.write {
        let path = root().join("bench/RESULTS.md");
        at(&path, std::fs::write(&path, &report))?;
    }
    let failed = runs.iter().filter(|r| r.result.is_err()).count();
    if failed > 0 {
        Err(format!("{failed} of {} measurements failed", runs.len()))
    } else {
        Ok(())
    }
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, String> {
        let mut options = Options {
            reps: 3,
            rows: ROWS.iter().collect(),
            peers: vec![Peer::Relay, Peer::Ours, Peer::Mosquitto],
            duration: 3.0,
            warmup: 0.7,
            broker: None,
            write: false,
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{option} wants a value\n{USAGE}"))
            };
            let number = |text: &String| {
                text.parse::<f64>()
                    .map_err(|_| format!("{option} {text}: not a number"))
            };
            match &**option {
                "--reps" => options.reps = number(value()?)? as usize,
                "--duration" => options.duration = number(value()?)?,
                "--rows" => {
                    let find = |name| {
                        ROWS.iter()
                            .find(|r| r.name == name)
                            .ok_or_else(|| unknown_row(name))
                    };
                    options.rows = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--peers" => {
                    let all = [Peer::Relay, Peer::Ours, Peer::Mosquitto];
                    let find = |name| {
                        all.into_iter()
                            .find(|p| p.name() == name)
                            .ok_or(format!("no peer {name}\n{USAGE}"))
                    };
                    options.peers = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--broker" => options.broker = Some(value()?.into()),
                "--quick" => (options.reps, options.duration, options.warmup) = (1, 1.0, 0.3),
                "--write" => options.write = true,
                other => return Err(format!("{other}?\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn unknown_row(name: &str) -> String {
    let names: Vec<&str> = ROWS.iter().map(|r| r.name).collect();
    format!("no row {name}; there are {}", names.join(", "))
}

/// Starts the broker, runs the generator against it, and stops it.
fn measure(
    peer: Peer,
    row: &Row,
    programs: &Programs,
    options: &Options,
    scratch: &Path,
) -> Result<Value, String> {
    let mut server = Server::start(peer, programs, row.relay, scratch)?;
    let mut generator = Command::new(&programs.mqload)
        .args(row.args.split(' '))
        .args(["--port", &server.port.to_string(), "--pid", &server.pids()])
        .args(["--peer", peer.name(), "--row", row.name])
        .args([
            "--dur",
            &options.duration.to_string(),
            "--warmup",
            &options.warmup.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", programs.mqload.display()))?;
    // It stops by itself; this is for a broker that does not answer. One line of output fits into the pipe.
    let deadline = Instant::now() + Duration::from_secs(150);
    while let Ok(None) = generator.try_wait() {
        if Instant::now() > deadline {
            let _ = generator.kill();
            break;
        }
        sleep(Duration::from_millis(20));
    }
    let _ = generator.wait();
    let mut text = String::new();
    if let Some(mut out) = generator.stdout.take() {
        out.read_to_string(&mut text)
            .map_err(|e| format!("the generator's output: {e}"))?;
    }
    if !server.alive() {
        return Err("the broker died".into());
    }
    let value: Value =
        serde_json::from_str(text.trim()).map_err(|_| format!("no result but {text:?}"))?;
    match value.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(value),
    }
}

/// Builds the generator and the broker, and finds mosquitto.
fn programs(options: &Options) -> Result<Programs, String> {
    // A workspace of its own; its files go beside ours.
    let place = target().join("mqload");
    let manifest = root().join("bench/mqload/Cargo.toml");
    run_command(
        cargo(&["build", "--quiet", "--release", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&place),
    )?;
    let ours = match &options.broker {
        Some(path) => at(path, path.canonicalize())?,
        None if options.peers.contains(&Peer::Ours) => {
            run_command(&mut cargo(&["build", "--release", "-p", "emqttd"]))?;
            target().join("release/emqttd")
        }
        None => PathBuf::new(),
    };
    let mosquitto = if options.peers.contains(&Peer::Mosquitto) {
        mosquitto()?
    } else {
        PathBuf::new()
    };
    Ok(Programs {
        mqload: place.join("release/mqload"),
        ours,
        mosquitto,
    })
}

/// Finds mosquitto, which Debian puts where only root looks.
fn find_mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places
        .map(|place| place.join("mosquitto"))
        .find(|file| file.is_file())
}

/// Finds mosquitto, or installs Debian's without letting its service start.
fn mosquitto() -> Result<PathBuf, String> {
    if let Some(found) = find_mosquitto() {
        return Ok(found);
    }
    if !has("apt-get") {
        return Err(
            "mosquitto is missing: install it, or leave it out with --peers relay,emqttd".into(),
        );
    }
    // While this file says 101, the package system starts no service.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists() && forbid_services(policy).is_ok();
    let installed = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", "mosquitto"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    if ours {
        let _ = std::fs::remove_file(policy);
    }
    match (installed, find_mosquitto()) {
        (Ok(status), Some(found)) if status.success() => Ok(found),
        _ => Err("apt-get install mosquitto failed (apt-get update first?)".into()),
    }
}

fn forbid_services(policy: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(policy)?;
    file.write_all(b"#!/bin/sh\nexit 101\n")
}
