//! Clients that others wrote, for tests: where they are, and how they are run.
//!
//! `cargo xtask tools` installs them. What is not there is `None`, with the reason printed; with `CI=true` that
//! is a panic.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::skip;

/// How long a client may run; a browser on a busy machine takes its time.
const DEADLINE: Duration = Duration::from_secs(180);

/// A script of `tests/clients`.
pub fn script(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients")).join(name)
}

/// A program, by its name and the Debian package that has it.
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed (Debian: {package})"));
    }
    found
}

/// A Python that has these modules of the gateways' clients (`stomp`, `aiocoap`, `mqttsn12`):
/// `$EMQTTD_TEST_GATEWAYS_PYTHON`, that of `target/tools`, or the system's.
pub fn gateways_python(modules: &str) -> Option<PathBuf> {
    let named = std::env::var_os("EMQTTD_TEST_GATEWAYS_PYTHON").map(PathBuf::from);
    let ours = crate::servers::target().join("tools/gateways/bin/python");
    let import = format!("import {modules}");
    let works = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", &import])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let places = [named, Some(ours), Some("python3".into())];
    let found = places.into_iter().flatten().find(works);
    if found.is_none() {
        skip(&format!("no Python with {modules} (cargo xtask tools)"));
    }
    found
}

/// Where packages of npm lie: below `$EMQTTD_TEST_NODE_DIR` or `target/tools/node`.
pub fn node_modules() -> PathBuf {
    let named = std::env::var_os("EMQTTD_TEST_NODE_DIR").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| crate::servers::target().join("tools/node"));
    dir.join("node_modules")
}

/// `node` with these packages: a command that finds them by `require`.
pub fn node(packages: &[&str]) -> Option<Command> {
    let modules = node_modules();
    for package in packages {
        if !modules.join(package).join("package.json").is_file() {
            skip(&format!("no npm package {package} (cargo xtask tools)"));
            return None;
        }
    }
    let mut command = Command::new(program("node", "nodejs")?);
    command.env("NODE_PATH", modules);
    Some(command)
}

/// Runs a client, which has to end in time and to succeed; returns what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let (ok, text) = attempt(command);
    assert!(ok, "{command:?}\n{text}");
    text
}

/// Runs a client: whether it succeeded, and what it printed, complaints last.
#[track_caller]
pub fn attempt(command: &mut Command) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let out = read_all(child.stdout.take());
    let err = read_all(child.stderr.take());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut text = out.join().unwrap() + &err.join().unwrap();
    if status.is_none() {
        text += "\nit did not end in time";
    }
    (status.is_some_and(|status| status.success()), text)
}

/// Reads a pipe to its end, so that the client is never held up by it.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    let mut pipe = pipe.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
