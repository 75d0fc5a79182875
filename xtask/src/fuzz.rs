//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.

use crate::shell::{at, cargo, option, root, run as sh, run_and_keep, target};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

/// Coverage as libFuzzer wants it, by options that the stable compiler takes.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Longest a target may think about one input, seconds.
const TIMEOUT: u32 = 10;

/// Runs every target, or the one named, and returns how many passed.
pub fn run(args: &[String]) -> Result<usize, String> {
    let seconds: u32 = match option(args, "--seconds") {
        Some(n) => n
            .parse()
            .map_err(|_| format!("--seconds {n}: not a number"))?,
        None => 60,
    };
    let mut words = args.iter();
    let mut wanted = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => _ = words.next(),
            name => wanted.push(name),
        }
    }
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|w| !all.iter().any(|t| t == *w)) {
        return Err(format!(
            "no fuzz target {unknown}; there are {}",
            all.join(", ")
        ));
    }
    let chosen: Vec<String> = all
        .into_iter()
        .filter(|t| wanted.is_empty() || wanted.contains(&t.as_str()))
        .collect();
    let binaries = build()?;
    let queue = Mutex::new(chosen.iter());
    let failed = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers.min(chosen.len()) {
            scope.spawn(|| {
                // A worker that panicked took no target with it.
                let next = || queue.lock().unwrap_or_else(|e| e.into_inner()).next();
                while let Some(name) = next() {
                    if let Err(e) = fuzz(&binaries, name, seconds) {
                        failed.lock().unwrap_or_else(|e| e.into_inner()).push(e);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    if failed.is_empty() {
        Ok(chosen.len())
    } else {
        Err(failed.join("\n"))
    }
}

/// Names of the targets: `fuzz/fuzz_targets/<name>.rs`.
pub fn targets() -> Result<Vec<String>, String> {
    let dir = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in at(&dir, fs::read_dir(&dir))? {
        let path = at(&dir, entry)?.path();
        if path.extension().is_some_and(|x| x == "rs") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = Command::new(rustc)
        .arg("-vV")
        .output()
        .map_err(|e| format!("rustc: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".into())
}

fn build() -> Result<PathBuf, String> {
    let host = host()?;
    let dir = target().join("fuzz");
    // Naming the target keeps the flags away from build scripts.
    let mut command = cargo(&["build", "--release", "--bins", "--target", &host]);
    command.current_dir(root().join("fuzz"));
    command
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_TARGET_DIR", &dir);
    sh(&mut command)?;
    Ok(dir.join(host).join("release"))
}

fn fuzz(binaries: &std::path::Path, name: &str, seconds: u32) -> Result<(), String> {
    let corpus = root().join("fuzz/corpus").join(name);
    at(&corpus, fs::create_dir_all(&corpus))?;
    let artifacts = target().join("fuzz/artifacts").join(name);
    at(&artifacts, fs::create_dir_all(&artifacts))?;
    let (ok, _) = run_and_keep(
        Command::new(binaries.join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg("-rss_limit_mb=1024")
            .arg("-print_final_stats=1")
            // Not each input that reaches something new: whoever looks for a failure would not find it.
            .arg("-verbosity=0")
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(&corpus),
    )?;
    if ok {
        return Ok(());
    }
    Err(format!(
        "fuzz target {name} failed; its input lies in {}",
        artifacts.display()
    ))
}
