//! Brokers (and the relay) that the benchmark starts and stops, one at a time.

use super::peers::Relay;
use std::collections::HashMap;
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
#[derive(Default)]
pub struct Programs {
    pub mqload: PathBuf,
    pub ours: PathBuf,
    pub mosquitto: PathBuf,
}

/// What a broker of ours has beside what all rows have.
#[derive(Default)]
pub struct Extra {
    /// lines of configuration
    pub config: String,
    /// the only plugin that is loaded, with the text of its file
    pub plugin: Option<(&'static str, String)>,
    /// nobody comes in whom that plugin does not know
    pub known_only: bool,
    /// other files of the broker's directory
    pub files: Vec<(&'static str, String)>,
}

/// A running broker on `port`; ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
    /// the directory that it runs in
    pub home: PathBuf,
    /// from its start until it listened
    pub took: Duration,
    /// what it needed to stop before that start
    pub stopped: Duration,
    launch: Launch,
}

/// How it is started, and started again.
#[derive(Clone)]
struct Launch {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
}

/// How a broker is stopped.
#[derive(Clone, Copy)]
pub enum Stop {
    /// SIGTERM: it may put things in order
    Asked,
    /// SIGKILL: it may not
    Killed,
}

/// Limits raised as those of the peers were: the rows are about work, not about what is dropped.
const OUR_CONFIG: &str = "\
node.name = bench@127.0.0.1
log.console = console
log.console.level = error
mqtt.allow_anonymous = true
mqtt.acl_nomatch = allow
mqtt.plugins.etc_dir = etc/plugins/
mqtt.plugins.loaded_file = data/loaded_plugins
mqtt.session.max_inflight = 1000
mqtt.session.max_awaiting_rel = 0
mqtt.mqueue.max_length = 0
listener.tcp.external = 127.0.0.1:PORT
listener.tcp.external.max_clients = 100000
";

/// As shipped.
const OUR_RETAINER: &str = "\
retainer.storage_type = disc
retainer.max_message_num = 1000000
retainer.max_payload_size = 64KB
retainer.expiry_interval = 0
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
    /// Starts the broker in a directory of its own below `scratch`, with what is `extra` if it is ours, and waits until
    /// it listens.
    pub fn start(
        peer: Peer,
        programs: &Programs,
        relay: Relay,
        scratch: &Path,
        extra: &Extra,
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
                let mut config = OUR_CONFIG.replace("PORT", &port.to_string()) + &extra.config;
                let (plugin, text) = match &extra.plugin {
                    Some((plugin, text)) => (*plugin, &**text),
                    None => ("emq_retainer", OUR_RETAINER),
                };
                if extra.known_only {
                    config = config.replace("allow_anonymous = true", "allow_anonymous = false");
                }
                for (file, text) in &extra.files {
                    write(file, text)?;
                }
                write("etc/emq.conf", &config)?;
                write("data/loaded_plugins", &format!("{plugin}.\n"))?;
                write(&format!("etc/plugins/{plugin}.conf"), text)?;
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
        let launch = Launch {
            name: peer.name(),
            program: program.to_owned(),
            args,
        };
        launch.run(home, port, Duration::from_secs(20))
    }

    /// Stops it and starts it again in its directory.
    pub fn again(mut self, stop: Stop, patience: Duration) -> Result<Server, String> {
        if !self.alive() {
            return Err(format!("{} has died: {}", self.launch.name, self.said()));
        }
        let start = Instant::now();
        self.stop(stop, patience);
        let stopped = start.elapsed();
        let (launch, home, port) = (self.launch.clone(), self.home.clone(), self.port);
        drop(self);
        let mut server = launch.run(home, port, patience)?;
        server.stopped = stopped;
        Ok(server)
    }

    /// What it wrote to its output, of this start.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(self.home.join("output")).unwrap_or_default();
        text.trim().to_owned()
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

    /// Bytes of memory: resident, and the most that ever was.
    pub fn memory(&self) -> (f64, f64) {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let of = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            let kb = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
            kb.unwrap_or_default() * 1024.0
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Its threads, and the processor time that each has used so far, nanoseconds.
    pub fn threads(&self) -> Result<HashMap<u32, u64>, String> {
        let path = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?;
        let used = tasks.flatten().filter_map(|task| {
            // One that has ended meanwhile is no thread of it.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let used = text.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, used))
        });
        Ok(used.collect())
    }

    fn stop(&mut self, how: Stop, patience: Duration) {
        if self.alive() {
            if let Stop::Asked = how {
                let _ = Command::new("kill")
                    .args(["-TERM", &self.child.id().to_string()])
                    .status();
                let deadline = Instant::now() + patience;
                while self.alive() && Instant::now() < deadline {
                    sleep(Duration::from_millis(20));
                }
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Asked, Duration::from_secs(5));
    }
}

impl Launch {
    fn run(self, home: PathBuf, port: u16, patience: Duration) -> Result<Server, String> {
        let log = home.join("output");
        let out = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = out.map_err(|e| format!("{}: {e}", log.display()))?;
        let start = Instant::now();
        // The shell raises the limit of open files and becomes the broker, so the process id stays.
        let child = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\""])
            .arg(&self.program)
            .args(&self.args)
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{}: {e}", self.program.display()))?;
        let mut server = Server {
            child,
            port,
            home,
            took: Duration::ZERO,
            stopped: Duration::ZERO,
            launch: self,
        };
        while start.elapsed() < patience && server.alive() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                server.took = start.elapsed();
                // Until it has forgotten that connection.
                sleep(Duration::from_millis(300));
                return Ok(server);
            }
            sleep(Duration::from_millis(5));
        }
        Err(format!(
            "{} does not listen: {}",
            server.launch.name,
            server.said()
        ))
    }
}
