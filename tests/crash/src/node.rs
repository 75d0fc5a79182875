//! The broker under test: one release tree, started and killed in it again and again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a start or a stop may take; generous, for a machine that compiles beside us.
const PATIENCE: Duration = Duration::from_secs(30);

/// A release tree and, most of the time, a broker that runs in it.
pub struct Node {
    /// the tree; kept when something was found
    pub root: PathBuf,
    /// where clients connect
    pub addr: SocketAddr,
    shards: usize,
    sync: String,
    child: Option<Child>,
    /// how long the starts took
    pub starts: Vec<Duration>,
}

impl Node {
    /// Makes the tree around the program `broker`; nothing runs yet.
    pub fn new(broker: &Path, shards: usize, sync: &str) -> io::Result<Node> {
        let root = std::env::temp_dir().join(format!("emqttd-crash-{}", std::process::id()));
        for dir in ["bin", "etc/plugins", "data", "log"] {
            fs::create_dir_all(root.join(dir))?;
        }
        // A copy: the program must stay what it is while the run lasts, whatever is built meanwhile.
        fs::copy(broker, root.join("bin/emqttd"))?;
        if let Some(ctl) = broker.parent().map(|dir| dir.join("emqttd_ctl"))
            && ctl.exists()
        {
            fs::copy(ctl, root.join("bin/emqttd_ctl"))?;
        }
        fs::write(root.join("etc/acl.conf"), "{allow, all}.\n")?;
        fs::write(root.join("data/loaded_plugins"), "emq_retainer.\n")?;
        fs::write(
            root.join("etc/plugins/emq_retainer.conf"),
            "retainer.storage_type = disc\nretainer.max_message_num = 0\nretainer.max_payload_size = 64KB\n\
             retainer.expiry_interval = 0\n",
        )?;
        let mut node = Node {
            root,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            shards,
            sync: sync.into(),
            child: None,
            starts: Vec::new(),
        };
        node.choose_port()?;
        Ok(node)
    }

    fn choose_port(&mut self) -> io::Result<()> {
        self.addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        fs::write(self.root.join("etc/emq.conf"), self.conf())
    }

    /// Nothing may be dropped for want of room, or given up for want of time; files of the store are
    /// small, so that they fill and are cleaned while the run lasts.
    fn conf(&self) -> String {
        let Node {
            addr, shards, sync, ..
        } = self;
        format!(
            "node.name = emq@127.0.0.1\n\
             node.shards = {shards}\n\
             log.console = console\n\
             log.console.level = warning\n\
             log.error.file = log/error.log\n\
             log.syslog = off\n\
             mqtt.allow_anonymous = true\n\
             mqtt.acl_nomatch = allow\n\
             mqtt.acl_file = etc/acl.conf\n\
             mqtt.max_packet_size = 1MB\n\
             mqtt.session.max_inflight = 32\n\
             mqtt.session.retry_interval = 20s\n\
             mqtt.session.max_awaiting_rel = 1000\n\
             mqtt.session.await_rel_timeout = 2h\n\
             mqtt.session.expiry_interval = 2h\n\
             mqtt.mqueue.type = simple\n\
             mqtt.mqueue.max_length = 0\n\
             mqtt.mqueue.store_qos0 = true\n\
             mqtt.plugins.etc_dir = etc/plugins/\n\
             mqtt.plugins.loaded_file = data/loaded_plugins\n\
             persistence.sync = {sync}\n\
             persistence.segment_bytes = 1MB\n\
             listener.tcp.external = {addr}\n\
             listener.tcp.external.acceptors = 16\n\
             listener.tcp.external.max_clients = 1024\n"
        )
    }

    /// What the broker printed, over all its starts.
    pub fn output(&self) -> PathBuf {
        self.root.join("log/run.log")
    }

    /// Runs the program and does not wait for anything.
    pub fn spawn(&mut self) -> io::Result<()> {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.output())?;
        let err = log.try_clone()?;
        self.child = Some(
            Command::new(self.root.join("bin/emqttd"))
                .arg("foreground")
                .current_dir(&self.root)
                // It stops when this process is gone, however that came about.
                .env("EMQTTD_STOP_ON_STDIN_EOF", "1")
                .stdin(Stdio::piped())
                .stdout(log)
                .stderr(err)
                .spawn()?,
        );
        Ok(())
    }

    /// Runs the program and waits until it accepts connections.
    pub fn start(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let begun = Instant::now();
            self.spawn()
                .map_err(|e| format!("starting the broker: {e}"))?;
            match self.wait_until_open(begun) {
                Ok(()) => {
                    self.starts.push(begun.elapsed());
                    return Ok(());
                }
                Err(why) => {
                    let text = self.tail(20);
                    if !text.to_lowercase().contains("in use") {
                        return Err(format!("{why}\n{text}"));
                    }
                    // Somebody took the port while no broker ran.
                    self.choose_port().map_err(|e| e.to_string())?;
                }
            }
        }
        Err("no port is free for long".into())
    }

    fn wait_until_open(&mut self, begun: Instant) -> Result<(), String> {
        while TcpStream::connect(self.addr).is_err() {
            if let Some(status) = self.ended() {
                return Err(format!("the broker ended at its start: {status}"));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the broker does not listen on {}", self.addr));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// How the broker ended, if it did by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// SIGKILL, and the end of the process awaited.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail when it has ended already, which `ended` tells.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the broker to stop; `false` when it did not end well in time and was killed.
    pub fn ask_to_stop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
    }

    /// Waits for a broker that was asked to stop.
    pub fn wait_stopped(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match self.ended() {
                Some(status) if status.success() => {
                    self.child = None;
                    return Ok(());
                }
                Some(status) => {
                    self.child = None;
                    return Err(format!("a broker asked to stop ended with {status}"));
                }
                None if begun.elapsed() > PATIENCE => {
                    self.kill();
                    return Err("a broker asked to stop did not".into());
                }
                None => sleep(Duration::from_millis(1)),
            }
        }
    }

    /// The last lines of what the broker printed.
    pub fn tail(&self, lines: usize) -> String {
        let bytes = fs::read(self.output()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Bytes of the files below the data directory, as `du` counts them.
    pub fn data_bytes(&self) -> u64 {
        fn sum(dir: &Path) -> u64 {
            use std::os::unix::fs::MetadataExt;
            let Ok(entries) = fs::read_dir(dir) else {
                return 0;
            };
            entries
                .flatten()
                .map(|entry| match entry.metadata() {
                    Ok(meta) if meta.is_dir() => sum(&entry.path()),
                    Ok(meta) => meta.blocks() * 512,
                    Err(_) => 0,
                })
                .sum()
        }
        sum(&self.root.join("data"))
    }

    /// Removes the tree; for a run that found nothing.
    pub fn remove(mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
