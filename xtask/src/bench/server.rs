//! Brokers (and the relay) that the benchmark starts and stops, one at a time.

use super::peers::Relay;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ours,
    Relay,
    Mosquitto,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Ours => "emqttd",
            Peer::Relay => "relay",
            Peer::Mosquitto => "mosquitto",
        }
    }

    /// Where it listens: the first of some ports that is free, all below the range that the system takes client
    /// ports from.
    fn port(self) -> Result<u16, String> {
        let first = match self {
            Peer::Relay => 28880,
            Peer::Mosquitto => 28881,
            Peer::Ours => 28890,
        };
        let mut ports = (first..first + 200).step_by(20);
        ports
            .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
            .ok_or_else(|| format!("no free port for {}", self.name()))
    }
}

/// Where the programs are.
pub struct Programs {
    pub mqload: PathBuf,
    pub ours: PathBuf,
    pub mosquitto: PathBuf,
}

/// A running broker on `port`; ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
}

/// Limits raised as those of the peers were: the rows are about work, not about what is dropped.
const OUR_CONFIG: &str = "\
node.name = bench@127.0.0.1
log.console = console
log.console.level = error
mqtt.allow_anonymous = true
mqtt.acl_nomatch = allow
mqtt.session.max_inflight = 1000
mqtt.session.max_awaiting_rel = 0
mqtt.mqueue.max_length = 0
listener.tcp.external = 127.0.0.1:PORT
listener.tcp.external.max_clients = 100000
";

const MOSQUITTO_CONFIG: &str = "\
listener PORT 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 1000
set_tcp_nodelay true
persistence false
log_type error
user root
";

impl Server {
    /// Starts the broker in a directory of its own below `scratch` and waits until it listens.
    pub fn start(
        peer: Peer,
        programs: &Programs,
        relay: Relay,
        scratch: &Path,
    ) -> Result<Server, String> {
        let port = peer.port()?;
        let home = scratch.join(peer.name());
        // What a broker kept from its last row would change the next one.
        let _ = fs::remove_dir_all(&home);
        let write = |file: &str, text: &str| {
            let path = home.join(file);
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&path, text))
                .map_err(|e| format!("{}: {e}", path.display()))
        };
        let (program, args): (&Path, Vec<String>) = match peer {
            Peer::Ours => {
                write(
                    "etc/emq.conf",
                    &OUR_CONFIG.replace("PORT", &port.to_string()),
                )?;
                (&programs.ours, vec!["foreground".into()])
            }
            Peer::Relay => {
                write("output", "")?;
                let mut args = vec!["relay".into(), "--port".into(), port.to_string()];
                if relay == Relay::Ack {
                    args.push("--ack".into());
                }
                (&programs.mqload, args)
            }
            Peer::Mosquitto => {
                write(
                    "mosquitto.conf",
                    &MOSQUITTO_CONFIG.replace("PORT", &port.to_string()),
                )?;
                (
                    &programs.mosquitto,
                    vec!["-c".into(), "mosquitto.conf".into()],
                )
            }
        };
        let log = home.join("output");
        let out = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = out.map_err(|e| format!("{}: {e}", log.display()))?;
        // The shell raises the limit of open files and becomes the broker, so the process id stays.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\""])
            .arg(program)
            .args(args)
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && !matches!(child.try_wait(), Ok(Some(_))) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                // Until it has forgotten that connection.
                sleep(Duration::from_millis(300));
                return Ok(Server { child, port });
            }
            sleep(Duration::from_millis(50));
        }
        drop(Server { child, port });
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(format!("{} does not listen: {}", peer.name(), said.trim()))
    }

    /// Its process and the children of that, as the generator wants them.
    pub fn pids(&self) -> String {
        let id = self.child.id();
        let mut pids = id.to_string();
        for task in fs::read_dir(format!("/proc/{id}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            for child in fs::read_to_string(task.path().join("children"))
                .unwrap_or_default()
                .split_whitespace()
            {
                pids.push(',');
                pids.push_str(child);
            }
        }
        pids
    }

    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.alive() {
            let _ = Command::new("kill")
                .args(["-TERM", &self.child.id().to_string()])
                .status();
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.alive() && Instant::now() < deadline {
                sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
