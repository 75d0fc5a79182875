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

/// Builds, starts, replays, stops. `args` go to the runner. What failed is replayed once more, alone.
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
    let ports = configure(&tree)?;
    let broker = Broker::start(&tree)?;
    wait_for_first_tick(&broker)?;
    let mut result = play(&tree, ports, args, "oracle.json")?;
    if let Some(alone) = again(&result.failures) {
        println!("\n=== what failed, alone");
        let args: Vec<String> = args.iter().cloned().chain(alone).collect();
        let second = play(&tree, ports, &args, "oracle-again.json")?;
        result.excuse(&second);
    }
    broker.stop()?;
    Ok(result.count)
}

/// What one call of the runner found.
struct Played {
    count: Count,
    /// ids of the scenarios that failed
    failures: Vec<String>,
}

impl Played {
    /// What passed alone counts as passed, and is told.
    fn excuse(&mut self, alone: &Played) {
        // Fewer were played again when the runner has left some out.
        if alone.count.passed + alone.count.failed != self.failures.len() {
            return;
        }
        self.failures.retain(|id| {
            let failed = alone.failures.contains(id);
            let verdict = if failed {
                "FAILED"
            } else {
                "failed once, passed alone"
            };
            println!("{verdict}: {id}");
            failed
        });
        self.count.passed += self.count.failed - self.failures.len();
        self.count.failed = self.failures.len();
    }
}

/// The words that make the runner play these scenarios and no others, one after another. Machines are shared, and a tick of
/// `$SYS` may fall into an answer: what passes by itself is no failure. More than a few are no accident.
fn again(failures: &[String]) -> Option<[String; 4]> {
    const MOST: usize = 10;
    let words = |only| ["--jobs".into(), "1".into(), "--only".into(), only];
    (1..=MOST)
        .contains(&failures.len())
        .then(|| words(format!("^({})$", failures.join("|"))))
}

/// Calls the runner. Later words of `args` win over earlier ones.
fn play(tree: &Path, ports: Ports, args: &[String], json: &str) -> Result<Played, String> {
    let here = root().join("tests/oracle");
    let (_, text) = run_and_keep(
        Command::new("python3")
            .arg(here.join("run-emq2-oracle.py"))
            .args(["--mqtt-port", &ports.mqtt.to_string()])
            .args(["--hook-port", &ports.hook.to_string()])
            .args(["--api-port", &ports.api.to_string()])
            .args(["--ws-port", &ports.ws.to_string()])
            .arg("--ctl")
            .arg(tree.join("bin/emqttd_ctl"))
            .arg("--skip")
            .arg(here.join("skip.txt"))
            .arg("--json")
            .arg(target().join(json))
            .args(args)
            .current_dir(tree),
    )?;
    let count = count(&text).ok_or("the runner ended without a result")?;
    let failures = failures(&text);
    Ok(Played { count, failures })
}

/// The ids in the lines `FAIL id  title`.
fn failures(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("FAIL ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
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

/// Where the runner meets the broker.
#[derive(Clone, Copy)]
struct Ports {
    /// the broker's listener
    mqtt: u16,
    /// the runner takes there what the web hook posts
    hook: u16,
    /// the REST API
    api: u16,
    /// MQTT over WebSocket
    ws: u16,
}

/// Profile a over the shipped configuration.
fn configure(tree: &Path) -> Result<Ports, String> {
    let profile = root().join("tests/oracle/profile-a");
    let read = |path: PathBuf| at(&path, fs::read_to_string(&path));
    let (api, ws) = (node::free_port()?, node::free_port()?);
    let listeners =
        format!("listener.api.mgmt = 127.0.0.1:{api}\nlistener.ws.external = 127.0.0.1:{ws}\n");
    let keys = read(profile.join("emq.conf"))? + &listeners;
    let ports = Ports {
        mqtt: node::make(tree, "dev", &keys)?,
        hook: node::free_port()?,
        api,
        ws,
    };
    for (from, to) in [
        ("acl.conf", "etc/acl.conf"),
        ("hook_lua/oracle.lua", "hook_lua/oracle.lua"),
    ] {
        let from = profile.join(from);
        at(&from, fs::copy(&from, tree.join(to)))?;
    }
    let url = format!("web.hook.api.url = http://127.0.0.1:{}/hook\n", ports.hook);
    for (plugin, more) in [
        ("emq_modules", ""),
        ("emq_retainer", ""),
        ("emq_web_hook", &*url),
    ] {
        let keys = read(profile.join(plugin).with_extension("conf"))? + more;
        node::configure_plugin(tree, plugin, &keys)?;
    }
    Ok(ports)
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

    #[test]
    fn what_passes_alone_is_no_failure() {
        let text =
            "FAIL sys-01-tick  the tick\n     0 read a\n        got:      FAIL \nFAIL cli-2  x\n";
        let failures = failures(text);
        assert_eq!(failures, ["sys-01-tick", "cli-2"]);
        let words = again(&failures).unwrap_or_default();
        assert_eq!(words, ["--jobs", "1", "--only", "^(sys-01-tick|cli-2)$"]);
        let played = |passed, failures: &[&str]| Played {
            count: Count {
                passed,
                failed: failures.len(),
                skipped: 1,
            },
            failures: failures.iter().map(|&id| id.into()).collect(),
        };
        let mut first = played(5, &["sys-01-tick", "cli-2"]);
        first.excuse(&played(1, &["cli-2"]));
        assert_eq!((first.count.passed, first.count.failed), (6, 1));
        assert_eq!(first.failures, ["cli-2"]);
        // What was not played again is excused by nothing.
        first.excuse(&played(0, &[]));
        assert_eq!((first.count.passed, first.count.failed), (6, 1));
    }

    #[test]
    fn nothing_or_too_much_is_not_played_again() {
        assert!(again(&[]).is_none());
        assert!(again(&vec![String::new(); 11]).is_none());
    }
}
