//! The broker under test: the real program, started in a release tree of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::certs::Certs;
use crate::client::Client;
use crate::connect::Connect;
use crate::packet::{Props, Version};
use crate::transport;
use crate::unique;

/// How long a start may take; generous, for a machine that compiles beside us.
const START: Duration = Duration::from_secs(60);

/// What goes into the release tree.
#[derive(Debug, Clone)]
pub struct Config {
    keys: Vec<(String, String)>,
    files: Vec<(String, String)>,
    listeners: Vec<(String, Vec<(String, String)>)>,
    env: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Config::new()
    }
}

impl Config {
    /// The values that EMQ 2.3.11 shipped, an `acl.conf` that allows everything, and one TCP listener,
    /// `tcp.external`.
    pub fn new() -> Config {
        let config = Config {
            keys: Vec::new(),
            files: Vec::new(),
            listeners: Vec::new(),
            env: Vec::new(),
        };
        config
            .set("node.name", "emq@127.0.0.1")
            .set("log.console", "console")
            .set("log.console.level", "debug")
            .set("log.error.file", "log/error.log")
            .set("log.syslog", "off")
            .set("mqtt.allow_anonymous", "true")
            .set("mqtt.acl_nomatch", "allow")
            .set("mqtt.acl_file", "etc/acl.conf")
            .set("mqtt.cache_acl", "true")
            .set("mqtt.max_clientid_len", "1024")
            .set("mqtt.max_packet_size", "64KB")
            .set("mqtt.websocket_protocol_header", "on")
            .set("mqtt.keepalive_backoff", "0.75")
            .set("mqtt.client.idle_timeout", "30s")
            .set("mqtt.client.enable_stats", "off")
            .set("mqtt.session.max_subscriptions", "0")
            .set("mqtt.session.upgrade_qos", "off")
            .set("mqtt.session.max_inflight", "32")
            .set("mqtt.session.retry_interval", "20s")
            .set("mqtt.session.max_awaiting_rel", "1000")
            .set("mqtt.session.await_rel_timeout", "30s")
            .set("mqtt.session.enable_stats", "on")
            .set("mqtt.session.expiry_interval", "2h")
            .set("mqtt.session.ignore_loop_deliver", "false")
            .set("mqtt.mqueue.type", "simple")
            .set("mqtt.mqueue.max_length", "1000")
            .set("mqtt.mqueue.low_watermark", "20%")
            .set("mqtt.mqueue.high_watermark", "60%")
            .set("mqtt.mqueue.store_qos0", "true")
            .set("mqtt.broker.sys_interval", "1m")
            .set("mqtt.plugins.etc_dir", "etc/plugins/")
            .set("mqtt.plugins.loaded_file", "data/loaded_plugins")
            .acl("{allow, all}.\n")
            .file(
                "etc/plugins/emq_retainer.conf",
                "retainer.storage_type = ram\nretainer.max_message_num = 0\nretainer.max_payload_size = 64KB\n\
                 retainer.expiry_interval = 0\n",
            )
            .file("data/loaded_plugins", "emq_retainer.\n")
            .listener("tcp.external", &[])
    }

    /// Sets a key of `etc/emq.conf`.
    pub fn set(mut self, key: &str, value: &str) -> Config {
        self = self.without(key);
        self.keys.push((key.into(), value.into()));
        self
    }

    /// Takes a key out of `etc/emq.conf`.
    pub fn without(mut self, key: &str) -> Config {
        self.keys.retain(|(k, _)| k != key);
        self
    }

    /// The text of `etc/acl.conf`.
    pub fn acl(self, text: &str) -> Config {
        self.file("etc/acl.conf", text)
    }

    /// A file of the release tree.
    pub fn file(mut self, path: &str, text: &str) -> Config {
        self.files.retain(|(p, _)| p != path);
        self.files.push((path.into(), text.into()));
        self
    }

    /// The tree has no such file.
    pub fn without_file(mut self, path: &str) -> Config {
        self.files.retain(|(p, _)| p != path);
        self
    }

    /// Adds `listener.<kind.name>` on a free port of the loopback address, with its sub-keys. TLS kinds get
    /// the certificate of [`Certs`].
    pub fn listener(mut self, kind_and_name: &str, keys: &[(&str, &str)]) -> Config {
        let mut keys: Vec<(String, String)> = keys
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        if kind_and_name.starts_with("ssl.") || kind_and_name.starts_with("wss.") {
            for (key, file) in [
                ("keyfile", "etc/certs/key.pem"),
                ("certfile", "etc/certs/cert.pem"),
            ] {
                if !keys.iter().any(|(k, _)| k == key) {
                    keys.push((key.into(), file.into()));
                }
            }
        }
        self.listeners.retain(|(name, _)| name != kind_and_name);
        self.listeners.push((kind_and_name.into(), keys));
        self
    }

    /// An environment variable of the broker; one given again has its last value.
    pub fn env(mut self, name: &str, value: &str) -> Config {
        self.env.push((name.into(), value.into()));
        self
    }

    fn emq_conf(&self, ports: &BTreeMap<String, SocketAddr>) -> String {
        let mut text = String::new();
        for (key, value) in &self.keys {
            text += &format!("{key} = {value}\n");
        }
        for (name, keys) in &self.listeners {
            text += &format!("listener.{name} = {}\n", ports[name]);
            for (key, value) in keys {
                text += &format!("listener.{name}.{key} = {value}\n");
            }
        }
        text
    }
}

/// How a broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// it is asked to, and does it in order
    Stop,
    /// SIGKILL
    Kill,
}

/// A running broker; killed and its tree removed when dropped.
///
/// A broker in a `static` is never dropped: its standard input is a pipe that ends with the test process,
/// and `EMQTTD_STOP_ON_STDIN_EOF` makes it stop then.
pub struct Broker {
    child: Child,
    /// the release tree
    pub root: PathBuf,
    /// certificates, made when a listener wants them
    pub certs: Certs,
    /// what the next start will be made with
    pub config: Config,
    ports: BTreeMap<String, SocketAddr>,
    /// where the output of this start begins
    log_from: u64,
    keep: bool,
}

thread_local! {
    static LAST_USED: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

impl Broker {
    /// Starts a broker and waits until all its listeners accept. A port that somebody else took in the
    /// meantime is tried again with others.
    pub fn start(config: Config) -> Broker {
        install_panic_hook();
        let mut tries = 0;
        loop {
            tries += 1;
            match Broker::try_start(&config) {
                Ok(broker) => return broker,
                Err(log) if tries < 3 && log.to_lowercase().contains("in use") => {}
                Err(log) => panic!("the broker did not start:\n{log}"),
            }
        }
    }

    /// Starts the broker; an error is what it printed. For tests of refusals to start.
    pub fn try_start(config: &Config) -> Result<Broker, String> {
        let root = new_root();
        let certs = populate(&root, config);
        let ports = reserve_ports(config);
        let mut broker = Broker {
            child: launch(&root, config, &ports),
            root,
            certs,
            config: config.clone(),
            ports,
            log_from: 0,
            keep: false,
        };
        broker.await_listeners()?;
        Ok(broker)
    }

    fn await_listeners(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        let addresses: Vec<SocketAddr> = self.ports.values().copied().collect();
        for addr in addresses {
            while TcpStream::connect(addr).is_err() {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return Err(format!("{status}\n{}", self.log_of_this_start()));
                }
                if Instant::now() > deadline {
                    return Err(format!("nothing on {addr}\n{}", self.log_of_this_start()));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // The socket of `emqttd_ctl` is there a moment after the listeners.
        while !self.log_of_this_start().contains(" is running now") {
            // It may have opened those before it found that it cannot open another.
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("{status}\n{}", self.log_of_this_start()));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not run\n{}", self.log_of_this_start()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the broker and waits until it has.
    pub fn end(&mut self, how: End) {
        match how {
            End::Stop => {
                let status = self.stop();
                assert!(status.success(), "{status}:\n{}", self.log_of_this_start());
            }
            End::Kill => {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
            }
        }
    }

    /// Starts a broker that has ended again, in its tree, with [`Broker::config`] as it then is, on other ports.
    pub fn start_again(&mut self) {
        let mut tries = 0;
        while let Err(log) = self.try_start_again() {
            tries += 1;
            assert!(
                tries < 3 && log.to_lowercase().contains("in use"),
                "the broker did not start again:\n{log}"
            );
        }
    }

    /// As [`Broker::start_again`]; an error is what it printed.
    pub fn try_start_again(&mut self) -> Result<(), String> {
        self.log_from = fs::metadata(self.output()).map_or(0, |meta| meta.len());
        self.ports = reserve_ports(&self.config);
        self.child = launch(&self.root, &self.config, &self.ports);
        self.await_listeners()
    }

    /// Ends the broker and starts it again.
    pub fn restart(&mut self, how: End) {
        self.end(how);
        self.start_again();
    }

    /// Runs a verb of `bin/emqttd` and waits for its end: exit code and what it printed.
    pub fn verb(&self, args: &[&str]) -> (i32, String) {
        run(&self.root, "emqttd", args)
    }

    /// The address of a listener, by kind and name such as `tcp.external`.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        LAST_USED.with(|last| *last.borrow_mut() = Some(self.root.clone()));
        *self
            .ports
            .get(listener)
            .unwrap_or_else(|| panic!("no listener {listener}"))
    }

    /// A TCP connection to `tcp.external`.
    pub fn tcp(&self) -> TcpStream {
        transport::tcp(self.addr("tcp.external"))
    }

    /// A client with nothing sent.
    pub fn raw(&self, version: Version) -> Client {
        Client::over(self.tcp(), version, "raw")
    }

    /// A client whose CONNECT was accepted.
    #[track_caller]
    pub fn open(&self, connect: &Connect) -> Client {
        self.resume(connect).0
    }

    /// As [`Broker::open`], with session present and the properties of CONNACK.
    #[track_caller]
    pub fn resume(&self, connect: &Connect) -> (Client, bool, Props) {
        let mut client = Client::over(self.tcp(), connect.version, &connect.client_id);
        let (present, props) = client.connect(connect);
        (client, present, props)
    }

    /// A clean client with a client id of its own.
    #[track_caller]
    pub fn client(&self, version: Version, word: &str) -> Client {
        self.open(&Connect::new(version, &unique(word)))
    }

    /// Runs `emqttd_ctl`: exit code and what it printed.
    pub fn ctl(&self, args: &[&str]) -> (i32, String) {
        run(&self.root, "emqttd_ctl", args)
    }

    /// What the broker printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    /// What it printed since it was started last.
    pub fn log_of_this_start(&self) -> String {
        let bytes = fs::read(self.output()).unwrap_or_default();
        let from = usize::try_from(self.log_from).unwrap().min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    fn output(&self) -> PathBuf {
        self.root.join("log/test-output.log")
    }

    /// The broker's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the broker, bytes.
    pub fn resident(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kb = line.split_whitespace().next().unwrap();
        kb.parse::<u64>().unwrap() * 1024
    }

    /// Closes the broker's standard input, which asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the broker does not stop:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Leaves the release tree behind when dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.keep && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Writes `etc/emq.conf` and starts the program; what it prints goes behind what is there.
fn launch(root: &Path, config: &Config, ports: &BTreeMap<String, SocketAddr>) -> Child {
    fs::write(root.join("etc/emq.conf"), config.emq_conf(ports)).unwrap();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(root.join("log/test-output.log"))
        .unwrap();
    Command::new(root.join("bin/emqttd"))
        .arg("foreground")
        .current_dir(root)
        .env("EMQTTD_STOP_ON_STDIN_EOF", "1")
        .envs(config.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("starting {}: {e}", root.display()))
}

/// Runs a program of the tree: exit code and what it printed.
fn run(root: &Path, program: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(root.join("bin").join(program))
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program} runs: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// `<tmp>/emqttd-test-<pid>-<n>`: short, for the limit on socket paths.
fn new_root() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SWEEP: Once = Once::new();
    SWEEP.call_once(sweep);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("emqttd-test-{}-{n}", std::process::id()))
}

/// Removes the trees of test processes that are gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|n| n.strip_prefix("emqttd-test-"))
            .and_then(|n| n.split('-').next())
        else {
            continue;
        };
        if Path::new("/proc/self").exists() && !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn populate(root: &Path, config: &Config) -> Certs {
    for dir in ["bin", "etc/plugins", "etc/certs", "data", "log"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for name in ["emqttd", "emqttd_ctl"] {
        let from = program(name);
        let to = root.join("bin").join(name);
        // A hard link costs nothing; a copy is for temporary directories on another file system.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).unwrap_or_else(|e| panic!("copying {}: {e}", from.display()));
        }
    }
    for (path, text) in &config.files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let certs = root.join("etc/certs");
    if config
        .listeners
        .iter()
        .any(|(name, _)| name.starts_with("ssl.") || name.starts_with("wss."))
    {
        Certs::make(&certs)
    } else {
        Certs { dir: certs }
    }
}

/// The program under test: `$EMQTTD_BIN` and what lies beside it, else the build directory of this test.
pub fn program(name: &str) -> PathBuf {
    let dir = match std::env::var_os("EMQTTD_BIN") {
        Some(bin) => PathBuf::from(bin)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default(),
        None => {
            let me = std::env::current_exe().unwrap();
            let deps = me.parent().unwrap();
            if deps.ends_with("deps") {
                deps.parent().unwrap().to_path_buf()
            } else {
                deps.to_path_buf()
            }
        }
    };
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not there: build it first (cargo build -p emqttd -p emqttd-ctl) or set EMQTTD_BIN",
        path.display()
    );
    path
}

/// Ports that are free at this moment, all held until the last is found so that they differ.
fn reserve_ports(config: &Config) -> BTreeMap<String, SocketAddr> {
    let held: Vec<(String, TcpListener)> = config
        .listeners
        .iter()
        .map(|(name, _)| {
            (
                name.clone(),
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            )
        })
        .collect();
    held.iter()
        .map(|(name, listener)| (name.clone(), listener.local_addr().unwrap()))
        .collect()
}

/// A failing test shows the end of the log of the broker that it used last.
fn install_panic_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            default(info);
            let root = LAST_USED.with(|last| last.borrow().clone());
            if let Some(root) = root {
                let log = fs::read_to_string(root.join("log/test-output.log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(25)..].join("\n  ");
                eprintln!("the end of the broker's log, {}:\n  {tail}", root.display());
            }
        }));
    });
}
