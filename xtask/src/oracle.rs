//! `cargo xtask oracle`: recorded answers of EMQ 2.3.11, replayed against a release tree.

use crate::dist;
use crate::shell::{at, build, root, run_and_keep, target};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the broker may take to answer a ping, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let _ = fs::remove_dir_all(&tree);
    dist::make(&tree, "dev")?;
    let port = configure(&tree)?;
    let broker = Broker::start(&tree)?;
    broker.wait_for_first_tick()?;
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

/// Profile a over the shipped configuration, and one listener on a free port. Returns the port.
fn configure(tree: &Path) -> Result<u16, String> {
    let profile = root().join("tests/oracle/profile-a");
    let read = |path: PathBuf| at(&path, fs::read_to_string(&path));
    let port = free_port()?;
    let keys = read(profile.join("emq.conf"))?;
    let conf = tree.join("etc/emq.conf");
    let shipped = read(conf.clone())?;
    let without_listeners: String = shipped
        .lines()
        .filter(|l| !l.trim_start().starts_with("listener."))
        .fold(String::new(), line);
    let text = overlay(&without_listeners, &keys)
        + &format!(
            "listener.tcp.external = 127.0.0.1:{port}\nlistener.tcp.external.acceptors = 16\n\
             listener.tcp.external.max_clients = 102400\n"
        );
    at(&conf, fs::write(&conf, text))?;
    let acl = tree.join("etc/acl.conf");
    at(&acl, fs::copy(profile.join("acl.conf"), &acl))?;
    for plugin in ["emq_modules.conf", "emq_retainer.conf"] {
        let conf = tree.join("etc/plugins").join(plugin);
        let text = overlay(&read(conf.clone())?, &read(profile.join(plugin))?);
        at(&conf, fs::write(&conf, text))?;
    }
    Ok(port)
}

fn line(mut text: String, line: &str) -> String {
    text.push_str(line);
    text.push('\n');
    text
}

/// The first file with the settings of the second in place of its own.
fn overlay(shipped: &str, keys: &str) -> String {
    let name =
        |l: &str| Some(l.split_once('=')?.0.trim().to_owned()).filter(|n| !n.starts_with('#'));
    let ours: Vec<String> = keys.lines().filter_map(name).collect();
    let kept = shipped
        .lines()
        .filter(|l| !name(l).is_some_and(|n| ours.contains(&n)));
    kept.chain(keys.lines()).fold(String::new(), line)
}

fn free_port() -> Result<u16, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    bound
        .map(|addr| addr.port())
        .map_err(|e| format!("no free port: {e}"))
}

/// The broker of a tree, in the foreground; killed when dropped before it was stopped.
struct Broker {
    child: Child,
    tree: PathBuf,
}

impl Broker {
    fn start(tree: &Path) -> Result<Broker, String> {
        let output = tree.join("log/run.log");
        let log = at(&output, fs::File::create(&output))?;
        let err = at(&output, log.try_clone())?;
        let mut command = Command::new(tree.join("bin/emqttd"));
        command
            .arg("foreground")
            .current_dir(tree)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(err);
        let child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", tree.display()))?;
        let mut broker = Broker {
            child,
            tree: tree.to_owned(),
        };
        let end = Instant::now() + PATIENCE;
        while !broker.verb("ping") {
            let gone = broker.child.try_wait().is_ok_and(|status| status.is_some());
            if gone || Instant::now() > end {
                let text = fs::read_to_string(&output).unwrap_or_default();
                return Err(format!(
                    "the broker does not run; {}:\n{text}",
                    output.display()
                ));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(broker)
    }

    /// The recordings were made when `$SYS` had its three retained messages.
    fn wait_for_first_tick(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ctl = self.tree.join("bin/emqttd_ctl");
            let out = at(&ctl, Command::new(&ctl).args(["broker", "stats"]).output())?;
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
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

    fn verb(&self, verb: &str) -> bool {
        let mut command = Command::new(self.tree.join("bin/emqttd"));
        command
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    }

    fn stop(mut self) -> Result<(), String> {
        if !self.verb("stop") {
            return Err("`bin/emqttd stop` failed".into());
        }
        self.child
            .wait()
            .map(|_| ())
            .map_err(|e| format!("waiting for the broker: {e}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail when it has ended, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_replaced_and_comments_kept() {
        let text = overlay("## a = 0\na = 1\nb = 2\n", "## x\na = 3\nc = 4\n");
        assert_eq!(text, "## a = 0\nb = 2\n## x\na = 3\nc = 4\n");
    }

    #[test]
    fn the_last_line_counts() {
        let c = count("FAIL x\n104 passed, 2 failed, 21 skipped   (61 s)\n").unwrap_or_default();
        assert_eq!((c.passed, c.failed, c.skipped), (104, 2, 21));
        assert!(count("no result").is_none());
    }
}
