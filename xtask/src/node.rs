//! A release tree that commands try out: its configuration, and its broker as a process.

use crate::dist;
use crate::shell::at;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the broker may take to answer a ping, and to end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh tree in `tree` with programs of this cargo profile. `keys` take the place of those of the shipped
/// `emq.conf`, whose listeners give way to one on a free port of the loopback address. Returns the port.
pub fn make(tree: &Path, profile: &str, keys: &str) -> Result<u16, String> {
    let _ = fs::remove_dir_all(tree);
    dist::make(tree, profile)?;
    let port = free_port()?;
    let conf = tree.join("etc/emq.conf");
    let shipped = at(&conf, fs::read_to_string(&conf))?;
    let without_listeners: String = shipped
        .lines()
        .filter(|l| !l.trim_start().starts_with("listener."))
        .fold(String::new(), line);
    let text = overlay(&without_listeners, keys)
        + &format!(
            "listener.tcp.external = 127.0.0.1:{port}\nlistener.tcp.external.acceptors = 16\n\
             listener.tcp.external.max_clients = 102400\n"
        );
    at(&conf, fs::write(&conf, text))?;
    // Trees are tried out beside each other.
    configure_plugin(
        tree,
        "emq_dashboard",
        "dashboard.listener.http = 127.0.0.1:0\n",
    )?;
    Ok(port)
}

/// Puts keys in the place of those that the file of a plugin has.
pub fn configure_plugin(tree: &Path, plugin: &str, keys: &str) -> Result<(), String> {
    let conf = tree.join(format!("etc/plugins/{plugin}.conf"));
    let text = overlay(&at(&conf, fs::read_to_string(&conf))?, keys);
    at(&conf, fs::write(&conf, text))
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

/// A port of the loopback address at which nobody listens.
pub fn free_port() -> Result<u16, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    bound
        .map(|addr| addr.port())
        .map_err(|e| format!("no free port: {e}"))
}

/// The broker of a tree, in the foreground; killed when dropped before it was stopped.
pub struct Broker {
    child: Child,
    tree: PathBuf,
}

impl Broker {
    /// Starts it and waits until it answers.
    pub fn start(tree: &Path) -> Result<Broker, String> {
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `emqttd_ctl` and gives what it printed.
    pub fn ctl(&self, args: &[&str]) -> Result<String, String> {
        let ctl = self.tree.join("bin/emqttd_ctl");
        let out = at(&ctl, Command::new(&ctl).args(args).output())?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
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

    /// Stops it in order.
    pub fn stop(mut self) -> Result<(), String> {
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
}
