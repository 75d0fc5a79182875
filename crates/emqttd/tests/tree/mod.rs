//! A release tree in a temporary directory, with the real program in it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What still runs of it is stopped when it goes.
pub struct Tree {
    dir: tempfile::TempDir,
    /// where its listener `tcp.external` is
    pub port: u16,
    variables: Vec<(String, String)>,
}

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

impl Tree {
    /// With a small configuration of one listener.
    pub fn new() -> Tree {
        let tree = Tree::bare();
        tree.configure("");
        tree
    }

    /// Without any configuration.
    pub fn bare() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["bin", "etc/plugins", "etc/certs", "data", "log"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_emqttd"), dir.path().join("bin/emqttd")).unwrap();
        Tree {
            dir,
            port: free_port(),
            variables: Vec::new(),
        }
    }

    /// Every verb from now on sees this variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// The small configuration, and `more`.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "node.name = verbs@127.0.0.1\nlog.syslog = off\nmqtt.allow_anonymous = true\n\
             listener.tcp.external = 127.0.0.1:{}\n{more}",
            self.port
        );
        self.write("etc/emq.conf", &text);
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Exit code, standard output, standard error; the verb is called from another directory.
    pub fn verb(&self, verb: &str) -> (i32, String, String) {
        self.verb_at(verb, None)
    }

    /// [`Tree::verb`] with a path behind the verb.
    pub fn verb_at(&self, verb: &str, path: Option<&Path>) -> (i32, String, String) {
        let mut command = Command::new(self.path().join("bin/emqttd"));
        command.arg(verb).args(path);
        command.current_dir("/").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name
                .to_string_lossy()
                .to_ascii_uppercase()
                .starts_with("EMQ")
            {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        // Another test that was forked while the program was copied has it open for writing until it executes.
        let out = loop {
            match command.output() {
                Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                out => break out.unwrap(),
            }
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            out.status.code().unwrap(),
            text(out.stdout),
            text(out.stderr),
        )
    }

    pub fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    /// Until nobody listens any more.
    pub fn await_silence(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.answers() {
            assert!(Instant::now() < end, "it still listens");
            std::thread::yield_now();
        }
    }

    /// Connects as MQTT 3.1.1 client `id` without a user name, to `port`.
    pub fn client(&self, port: u16, id: &str) -> TcpStream {
        let (stream, present) = connect(port, id, true);
        assert!(!present);
        stream
    }
}

/// Connects as MQTT 3.1.1 client `id`; whether its session was there.
pub fn connect(port: u16, id: &str, clean: bool) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let length = u8::try_from(12 + id.len()).unwrap();
    let id_length = u8::try_from(id.len()).unwrap();
    let mut connect = vec![0x10, length, 0, 4];
    connect.extend(b"MQTT\x04");
    connect.extend([u8::from(clean) << 1, 0, 60, 0, id_length]);
    connect.extend(id.as_bytes());
    stream.write_all(&connect).unwrap();
    let connack = read(&mut stream, 4);
    assert_eq!(
        [connack[0], connack[1], connack[3]],
        [0x20, 2, 0],
        "CONNACK"
    );
    (stream, connack[2] == 1)
}

/// The next `n` bytes.
pub fn read(stream: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = self.verb("stop");
    }
}

/// What the node told its console.
pub fn log(tree: &Tree) -> String {
    fs::read_to_string(tree.path().join("log/run.log")).unwrap_or_default()
}
