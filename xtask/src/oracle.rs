//! `cargo xtask oracle`: recorded answers of EMQ 2.3.11, replayed against a release tree.

use crate::node::{self, Broker, PATIENCE};
use crate::shell::{at, build, root, run_and_keep, target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many scenarios passed and were skipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// passed
    pub passed: usize,
    /// failed
    pub failed: usize,
    /// skipped
    pub skipped: usize,
}

/// Builds, starts, replays, stops. `args` go to the runner.
pub fn run(args: &[String]) -> Result<Count, String> {
    let count = replay(args)?;
    if count.failed == 0 {
        Ok(count)
    } else {
        Err(format!("{} scenarios failed", count.failed))
    }
}

/// As [`run`]; scenarios that failed are no error.
pub fn replay(args: &[String]) -> Result<Count, String> {
    build("dev")?;
    let tree = target().join("oracle");
    let port = configure(&tree)?;
    let broker = Broker::start(&tree)?;
    wait_for_first_tick(&broker)?;
    let here = root().join("tests/oracle");
    let json = target().join("oracle.json");
    let (_, text) = run_and_keep(
        Command::new("python3")
            .arg(here.join("run-emq2-oracle.py"))
            .args(["--mqtt-port", &port.to_string()])
            .arg("--ctl")
            .arg(tree.join("bin/emqttd_ctl"))
            .arg("--skip")
            .arg(here.join("skip.txt"))
            .arg("--json")
            .arg(&json)
            .args(args)
            .current_dir(&tree),
    )?;
    broker.stop()?;
    count(&text).ok_or_else(|| "the runner ended without a result".into())
}

/// The runner's last line: `N passed, N failed, N skipped`.
fn count(text: &str) -> Option<Count> {
    let line = text.lines().rev().find(|l| l.contains(" passed, "))?;
    let mut numbers = line
        .split(", ")
        .filter_map(|part| part.split(' ').next()?.parse().ok());
    Some(Count {
        passed: numbers.next()?,
        failed: numbers.next()?,
        skipped: numbers.next()?,
    })
}

/// Profile a over the shipped configuration. Returns the port.
fn configure(tree: &Path) -> Result<u16, String> {
    let profile = root().join("tests/oracle/profile-a");
    let read = |path: PathBuf| at(&path, fs::read_to_string(&path));
    let port = node::make(tree, "dev", &read(profile.join("emq.conf"))?)?;
    let acl = tree.join("etc/acl.conf");
    at(&acl, fs::copy(profile.join("acl.conf"), &acl))?;
    for plugin in ["emq_modules", "emq_retainer"] {
        let keys = read(profile.join(plugin).with_extension("conf"))?;
        node::configure_plugin(tree, plugin, &keys)?;
    }
    Ok(port)
}

/// The recordings were made when `$SYS` had its three retained messages.
fn wait_for_first_tick(broker: &Broker) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = broker.ctl(&["broker", "stats"])?;
        let row = text
            .lines()
            .find_map(|l| l.strip_prefix("retained/count")?.split(": ").nth(1));
        if row.is_some_and(|n| n.parse().is_ok_and(|n: u32| n >= 3)) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("nothing is retained below $SYS:\n{text}"));
        }
        sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let c = count("FAIL x\n104 passed, 2 failed, 21 skipped   (61 s)\n").unwrap_or_default();
        assert_eq!((c.passed, c.failed, c.skipped), (104, 2, 21));
        assert!(count("no result").is_none());
    }
}
