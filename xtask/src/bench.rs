//! `cargo xtask bench`: our broker, the relay that is the physical floor, and mosquitto, on the same rows.
//!
//! The yardstick is the processor time of the broker's process for each delivered message. For each repetition and
//! row, the three run one after the other, so that whatever else the machine does meets all of them. The rows about
//! durable sessions (`durable`) have the disk for a floor.

mod dashboard;
mod durable;
mod gateways;
mod hooks;
mod logins;
mod peers;
mod report;
mod results;
mod server;
mod web;

use crate::shell::{at, cargo, has, root, run as run_command, target};
use peers::{ROWS, Relay, Row};
use serde_json::{Map, Value};
use server::{Extra, Peer, Programs, Server};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: cargo xtask bench [options]
  --reps N         repetitions of each row (3)
  --rows A,B       only these rows; `memory`, `durable`, `logins`,
                   `hooks`, `web` and `gateways` stand for all of a kind;
                   `dashboard` is one row, of two minutes
  --big            also the row durable-start, which takes minutes
  --sessions N     its sessions (1000000)
  --logins N       new clients of the rows about logins (2000)
  --sleepers N     MQTT-SN clients of the row sn-sleep (20000)
  --sync MODE      persistence.sync of the durable rows, in place of its default: always, off, 100ms ...
  --scratch DIR    where brokers keep their data: the durable rows measure its disk
  --peers A,B      only these of emqttd, relay, mosquitto
  --duration S     seconds of a measurement (3)
  --quick          one repetition of one second: to see that it works, not to compare
  --broker PATH    a built emqttd, in place of building one
  --write          write the table to bench/RESULTS.md";

struct Options {
    reps: usize,
    rows: Vec<&'static Row>,
    durable: Vec<&'static durable::Row>,
    logins: Vec<&'static logins::Row>,
    hooks: Vec<&'static hooks::Row>,
    web: Vec<&'static web::Row>,
    gateways: Vec<&'static gateways::Row>,
    dashboard: bool,
    clients: u64,
    sleepers: u64,
    peers: Vec<Peer>,
    duration: f64,
    warmup: f64,
    broker: Option<PathBuf>,
    sync: Option<String>,
    sessions: u64,
    scratch: PathBuf,
    write: bool,
}

/// One result of the generator.
#[derive(Clone)]
pub struct Run {
    pub row: &'static str,
    pub peer: &'static str,
    pub result: Result<Value, String>,
}

/// Measures, prints the table, and writes it on demand.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let programs = programs(&options)?;
    let scratch = &options.scratch;
    at(scratch, std::fs::create_dir_all(scratch))?;
    let bench = durable::Bench {
        programs: &programs,
        // Beside the brokers of the other rows.
        scratch: at(scratch, scratch.canonicalize())?.join("durable"),
        duration: options.duration,
        warmup: options.warmup,
        sync: options.sync.clone(),
        sessions: options.sessions,
    };
    at(&bench.scratch, std::fs::create_dir_all(&bench.scratch))?;
    let ask = logins::Bench {
        programs: &programs,
        home: logins::home(scratch),
        clients: options.clients,
        duration: options.duration,
        warmup: options.warmup,
    };
    let beside = OneToOne {
        programs: &programs,
        home: scratch.join("hooks"),
        duration: options.duration,
        warmup: options.warmup,
    };
    let through = gateways::Bench {
        programs: &programs,
        home: scratch.join("gateways"),
        duration: options.duration,
        warmup: options.warmup,
        sleepers: options.sleepers,
    };
    let before = report::load_average();
    let mut runs = Vec::new();
    for rep in 1..=options.reps {
        let mut add = |row: &'static str, peer: Peer, result: Result<Value, String>| {
            match &result {
                Ok(value) => eprintln!("{rep}/{} {row} {value}", options.reps),
                Err(e) => eprintln!("{rep}/{} {row} {}: {e}", options.reps, peer.name()),
            }
            runs.push(Run {
                row,
                peer: peer.name(),
                result,
            });
        };
        for row in &options.rows {
            for peer in options
                .peers
                .iter()
                .filter(|p| **p != Peer::Relay || row.relay != Relay::No)
            {
                let result = measure(*peer, row, &programs, &options);
                add(row.name, *peer, result);
            }
        }
        // One start of a large store tells what there is to know, and takes long enough.
        for row in options.durable.iter().filter(|r| !r.big || rep == 1) {
            let result = (row.run)(&bench).map(Value::Object);
            add(row.name, Peer::Ours, result);
        }
        for row in &options.logins {
            let result = ask.run(row).map(Value::Object);
            add(row.name, Peer::Ours, result);
        }
        for row in &options.hooks {
            let result = row.run(&beside).map(Value::Object);
            add(row.name, Peer::Ours, result);
        }
        for row in &options.web {
            let result = row.run(&beside).map(Value::Object);
            add(row.name, Peer::Ours, result);
        }
        for row in &options.gateways {
            let result = row.run(&through).map(Value::Object);
            add(row.name, Peer::Ours, result);
        }
        if options.dashboard {
            let result = dashboard::run(&beside).map(Value::Object);
            add(dashboard::NAME, Peer::Ours, result);
        }
    }
    let _ = std::fs::remove_dir_all(&ask.home);
    let _ = std::fs::remove_dir_all(&beside.home);
    let _ = std::fs::remove_dir_all(&through.home);
    let _ = std::fs::remove_dir_all(&bench.scratch);
    let mut parts = parts(&options, &runs, &before, &bench, &ask);
    parts.extend(gateway_part(&options, &runs, &before, &through));
    print!("{}", results::with("", &parts));
    if options.write {
        let path = root().join("bench/RESULTS.md");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        at(&path, std::fs::write(&path, results::with(&old, &parts)))?;
    }
    let failed = runs.iter().filter(|r| r.result.is_err()).count();
    if failed > 0 {
        Err(format!("{failed} of {} measurements failed", runs.len()))
    } else {
        Ok(())
    }
}

/// The parts of the report that this run has rows of.
fn parts(
    options: &Options,
    runs: &[Run],
    before: &str,
    bench: &durable::Bench,
    ask: &logins::Bench,
) -> Vec<(&'static str, String)> {
    let of = |names: &[&str]| -> Vec<Run> {
        let runs = runs.iter().filter(|run| names.contains(&run.row));
        runs.cloned().collect()
    };
    let mut parts = Vec::new();
    if !options.rows.is_empty() {
        let names: Vec<&str> = options.rows.iter().map(|r| r.name).collect();
        let text = report::markdown(&options.rows, &of(&names), options.reps, before);
        parts.push(("memory", text));
    }
    for (part, big) in [("durable", false), ("start", true)] {
        let rows = options.durable.iter().copied().filter(|r| r.big == big);
        let rows: Vec<&durable::Row> = rows.collect();
        if !rows.is_empty() {
            let names: Vec<&str> = rows.iter().map(|r| r.name).collect();
            let reps = if big { 1 } else { options.reps };
            let text = durable::table::markdown(&rows, &of(&names), reps, before, bench);
            parts.push((part, text));
        }
    }
    if !options.logins.is_empty() {
        let names: Vec<&str> = options.logins.iter().map(|r| r.name).collect();
        let runs = of(&names);
        let text = logins::table::markdown(&options.logins, &runs, options.reps, before, ask);
        parts.push(("logins", text));
    }
    if !options.hooks.is_empty() {
        let names: Vec<&str> = options.hooks.iter().map(|r| r.name).collect();
        let text = hooks::markdown(&options.hooks, &of(&names), options.reps, before);
        parts.push(("hooks", text));
    }
    if options.dashboard {
        let text = dashboard::markdown(&of(&[dashboard::NAME]), options.reps, before);
        parts.push(("dashboard", text));
    }
    if !options.web.is_empty() {
        let names: Vec<&str> = options.web.iter().map(|r| r.name).collect();
        let text = web::markdown(&options.web, &of(&names), options.reps, before);
        parts.push(("web", text));
    }
    parts
}

/// The part about gateways, if there are rows of it.
fn gateway_part(
    options: &Options,
    runs: &[Run],
    before: &str,
    bench: &gateways::Bench,
) -> Option<(&'static str, String)> {
    let rows = &options.gateways;
    let of_them = |run: &&Run| rows.iter().any(|row| row.name == run.row);
    let runs: Vec<Run> = runs.iter().filter(of_them).cloned().collect();
    (!rows.is_empty()).then(|| {
        let text = gateways::markdown(rows, &runs, options.reps, before, bench);
        ("gateways", text)
    })
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, String> {
        let mut options = Options {
            reps: 3,
            rows: ROWS.iter().collect(),
            durable: durable::ROWS.iter().filter(|r| !r.big).collect(),
            logins: logins::ROWS.iter().collect(),
            hooks: hooks::ROWS.iter().collect(),
            web: web::ROWS.iter().collect(),
            gateways: gateways::ROWS.iter().collect(),
            dashboard: true,
            clients: 2000,
            sleepers: 20_000,
            peers: vec![Peer::Relay, Peer::Ours, Peer::Mosquitto],
            duration: 3.0,
            warmup: 0.7,
            broker: None,
            sync: None,
            sessions: 1_000_000,
            scratch: target().join("bench"),
            write: false,
        };
        let mut big = false;
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
                    let rows = rows(value()?)?;
                    (options.rows, options.durable) = (rows.memory, rows.durable);
                    (options.logins, options.hooks) = (rows.logins, rows.hooks);
                    (options.web, options.gateways) = (rows.web, rows.gateways);
                    options.dashboard = rows.dashboard;
                }
                "--logins" => options.clients = number(value()?)?.max(1.0) as u64,
                "--sleepers" => options.sleepers = number(value()?)?.max(1.0) as u64,
                "--big" => big = true,
                "--sessions" => options.sessions = number(value()?)? as u64,
                "--sync" => options.sync = Some(value()?.clone()),
                "--scratch" => options.scratch = value()?.into(),
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
                "--quick" => {
                    (options.reps, options.duration, options.warmup) = (1, 1.0, 0.3);
                    (options.clients, options.sleepers) = (100, 2000);
                }
                "--write" => options.write = true,
                other => return Err(format!("{other}?\n{USAGE}")),
            }
        }
        if big && !options.durable.iter().any(|r| r.big) {
            options
                .durable
                .extend(durable::ROWS.iter().filter(|r| r.big));
        }
        if !options.peers.contains(&Peer::Ours) {
            options.durable.clear();
            options.logins.clear();
            options.hooks.clear();
            options.web.clear();
            options.gateways.clear();
            options.dashboard = false;
        }
        Ok(options)
    }
}

/// Rows about messages in memory, about durable sessions, about logins, about plugins that hear of messages,
/// about those that tell others, about gateways, and the one about the dashboard.
#[derive(Default)]
struct Rows {
    memory: Vec<&'static Row>,
    durable: Vec<&'static durable::Row>,
    logins: Vec<&'static logins::Row>,
    hooks: Vec<&'static hooks::Row>,
    web: Vec<&'static web::Row>,
    gateways: Vec<&'static gateways::Row>,
    dashboard: bool,
}

impl Rows {
    fn len(&self) -> usize {
        let all = self.memory.len() + self.durable.len() + self.logins.len();
        let others = self.hooks.len() + self.web.len() + self.gateways.len();
        all + others + usize::from(self.dashboard)
    }
}

/// The rows that a list of names means.
fn rows(names: &str) -> Result<Rows, String> {
    let mut found = Rows::default();
    for name in names.split(',') {
        let before = found.len();
        let memory = ROWS.iter();
        let durable = durable::ROWS.iter();
        let logins = logins::ROWS.iter();
        let hooks = hooks::ROWS.iter();
        found
            .memory
            .extend(memory.filter(|r| [r.name, "memory"].contains(&name)));
        found
            .durable
            .extend(durable.filter(|r| r.name == name || (name == "durable" && !r.big)));
        found
            .logins
            .extend(logins.filter(|r| [r.name, "logins"].contains(&name)));
        found
            .hooks
            .extend(hooks.filter(|r| [r.name, "hooks"].contains(&name)));
        let web = web::ROWS.iter();
        found
            .web
            .extend(web.filter(|r| [r.name, "web"].contains(&name)));
        let gateways = gateways::ROWS.iter();
        found
            .gateways
            .extend(gateways.filter(|r| [r.name, "gateways"].contains(&name)));
        found.dashboard |= name == dashboard::NAME;
        if found.len() == before {
            let known = ROWS.iter().map(|r| r.name);
            let known = known.chain(durable::ROWS.iter().map(|r| r.name));
            let known = known.chain(logins::ROWS.iter().map(|r| r.name));
            let known = known.chain(hooks::ROWS.iter().map(|r| r.name));
            let known = known.chain(web::ROWS.iter().map(|r| r.name));
            let known = known.chain(gateways::ROWS.iter().map(|r| r.name));
            let known: Vec<&str> = known.chain([dashboard::NAME]).collect();
            return Err(format!("no row {name}; there are {}", known.join(", ")));
        }
    }
    Ok(found)
}

/// Starts the broker, runs the generator against it, and stops it.
fn measure(peer: Peer, row: &Row, programs: &Programs, options: &Options) -> Result<Value, String> {
    let mut server = Server::start(
        peer,
        programs,
        row.relay,
        &options.scratch,
        &Extra::default(),
    )?;
    let mut command = Command::new(&programs.mqload);
    command
        .args(row.args.split(' '))
        .args(["--port", &server.port.to_string(), "--pid", &server.pids()])
        .args(["--peer", peer.name(), "--row", row.name])
        .args(["--dur", &options.duration.to_string()])
        .args(["--warmup", &options.warmup.to_string()]);
    let result = generate(&mut command, Duration::from_secs(150));
    if server.alive() {
        result
    } else {
        Err("the broker died".into())
    }
}

/// What rows are run with that send messages from each publisher to a subscriber, beside plugins or without.
struct OneToOne<'a> {
    programs: &'a Programs,
    /// where the broker has its directory
    home: PathBuf,
    /// seconds of a measurement
    duration: f64,
    warmup: f64,
}

impl OneToOne<'_> {
    fn start(&self, extra: &Extra) -> Result<Server, String> {
        Server::start(Peer::Ours, self.programs, Relay::No, &self.home, extra)
    }

    /// Runs the generator; what it has measured, when every message came as it should.
    fn measure(&self, broker: &mut Server, args: &[&str]) -> Result<Map<String, Value>, String> {
        let mut command = Command::new(&self.programs.mqload);
        command
            .arg("p2p")
            .args(args)
            .args(["--port", &broker.port.to_string(), "--pid", &broker.pids()])
            .args(["--dur", &self.duration.to_string()])
            .args(["--warmup", &self.warmup.to_string()]);
        let result = generate(&mut command, Duration::from_secs(150));
        if !broker.alive() {
            return Err(format!("the broker died: {}", broker.said()));
        }
        let Value::Object(figures) = result? else {
            return Err("the generator says nothing".into());
        };
        for key in ["closed", "lost", "gaps", "bad"] {
            if figures.get(key).and_then(Value::as_i64).unwrap_or(0) != 0 {
                return Err(format!("{key}: {}", Value::Object(figures)));
            }
        }
        Ok(figures)
    }
}

/// Runs the generator; it stops by itself, and `patience` is for a broker that does not answer.
fn generate(command: &mut Command, patience: Duration) -> Result<Value, String> {
    let mut generator = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    // One line of output fits into the pipe.
    let deadline = Instant::now() + patience;
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
    let value: Value =
        serde_json::from_str(text.trim()).map_err(|_| format!("no result but {text:?}"))?;
    match value.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(value),
    }
}

/// Builds the generator and tells where it is.
pub fn generator() -> Result<PathBuf, String> {
    // A workspace of its own; its files go beside ours.
    let place = target().join("mqload");
    let manifest = root().join("bench/mqload/Cargo.toml");
    run_command(
        cargo(&["build", "--quiet", "--release", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&place),
    )?;
    Ok(place.join("release/mqload"))
}

/// Builds the generator and the broker, and finds mosquitto.
fn programs(options: &Options) -> Result<Programs, String> {
    let mqload = generator()?;
    let ours = match &options.broker {
        Some(path) => at(path, path.canonicalize())?,
        None if options.peers.contains(&Peer::Ours) => {
            let ours = ["build", "--release", "-p", "emqttd", "-p", "emqttd-ctl"];
            run_command(&mut cargo(&ours))?;
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
        mqload,
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
