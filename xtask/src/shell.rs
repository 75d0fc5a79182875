//! Running programs, and where things are.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// The root of the repository.
pub fn root() -> PathBuf {
    let mut dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.pop();
    dir
}

/// Cargo's target directory: this program lies in `<target>/<profile>/`.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().ok();
    let dir = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    dir.map_or_else(|| root().join("target"), Path::to_owned)
}

/// Directory of the programs of a cargo profile.
pub fn binaries(profile: &str) -> PathBuf {
    target().join(if profile == "dev" { "debug" } else { profile })
}

/// `cargo`, the one that runs us, at the root of the repository.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    // What cargo set for us would be taken for a change of the environment, and all be built anew.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Builds the broker and its command line program.
pub fn build(profile: &str) -> Result<(), String> {
    run(&mut cargo(&[
        "build",
        "--profile",
        profile,
        "-p",
        "emqttd",
        "-p",
        "emqttd-ctl",
    ]))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs to the end; anything but success is an error.
pub fn run(command: &mut Command) -> Result<(), String> {
    let line = shown(command);
    println!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("{line}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}"))
    }
}

/// Runs to the end, shows the output while it comes and returns it, with whether all went well.
pub fn run_and_keep(command: &mut Command) -> Result<(bool, String), String> {
    let line = shown(command);
    println!("$ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{line}: {e}"))?;
    let out = child.stdout.take().map(|s| thread::spawn(|| echo(s)));
    let err = child.stderr.take().map(|s| thread::spawn(|| echo(s)));
    let status = child.wait().map_err(|e| format!("{line}: {e}"))?;
    // A thread that panicked has lost its text, not the outcome.
    let text: String = [out, err]
        .into_iter()
        .flatten()
        .map(|t| t.join().unwrap_or_default())
        .collect();
    Ok((status.success(), text))
}

fn echo(stream: impl Read) -> String {
    let mut kept = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let _ = std::io::stdout().write_all(&line);
        kept.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    kept
}

/// Whether `program` is found in the path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Whether the command runs and succeeds; its output is dropped.
pub fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

/// The word after `option`.
pub fn option<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    let at = args.iter().position(|a| a == option)?;
    args.get(at + 1).map(String::as_str)
}

/// Turns an error of the system into a sentence about `path`.
pub fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| format!("{}: {e}", path.display()))
}
