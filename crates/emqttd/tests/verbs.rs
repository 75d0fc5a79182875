//! The verbs of `bin/emqttd` with the texts and exit codes that scripts of EMQ 2.x expect.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// A release tree in a temporary directory; what still runs of it is stopped when it goes.
struct Tree {
    dir: tempfile::TempDir,
    port: u16,
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["bin", "etc/plugins", "data", "log"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_emqttd"), dir.path().join("bin/emqttd")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let tree = Tree { dir, port };
        tree.configure("");
        tree
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "node.name = verbs@127.0.0.1\nlog.syslog = off\nmqtt.allow_anonymous = true\n\
             listener.tcp.external = 127.0.0.1:{}\n{more}",
            self.port
        );
        fs::write(self.path().join("etc/emq.conf"), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Exit code, standard output, standard error; the verb is called from another directory.
    fn verb(&self, verb: &str) -> (i32, String, String) {
        let out = Command::new(self.path().join("bin/emqttd"))
            .arg(verb)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            out.status.code().unwrap(),
            text(out.stdout),
            text(out.stderr),
        )
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = Command::new(self.path().join("bin/emqttd"))
            .arg("stop")
            .output();
    }
}

#[test]
fn the_life_of_a_node() {
    let tree = Tree::new();
    let (exit, out, err) = tree.verb("start");
    assert!(
        out.ends_with(" is started successfully!\n"),
        "{exit} {out}{err}{}",
        log(&tree)
    );
    assert!(out.contains("emqttd "));
    assert_eq!(exit, 0);
    assert!(tree.answers());

    let (exit, out, _) = tree.verb("start");
    assert_eq!(
        (exit, out.lines().last()),
        (1, Some("Node is already running!"))
    );
    let (exit, out, _) = tree.verb("ping");
    assert_eq!((exit, out.as_str()), (0, "pong\n"));
    let (exit, before, _) = tree.verb("pid");
    assert_eq!(exit, 0);
    let pid: u32 = before.trim().parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists() || !Path::new("/proc/self").exists());

    // The same process, executed anew.
    let (exit, out, err) = tree.verb("restart");
    assert_eq!((exit, out.as_str()), (0, "ok\n"), "{err}{}", log(&tree));
    assert_eq!(tree.verb("pid").1, before);
    assert!(tree.answers());

    let (exit, out, _) = tree.verb("stop");
    assert_eq!((exit, out.as_str()), (0, "ok\n"));
    assert!(!tree.answers());
    for verb in ["stop", "ping", "pid", "restart"] {
        let (exit, out, err) = tree.verb(verb);
        assert_eq!((exit, out.as_str()), (1, ""), "{verb}");
        assert_eq!(
            err, "Node 'verbs@127.0.0.1' not responding to pings.\n",
            "{verb}"
        );
    }
    let (exit, out, _) = tree.verb("attach");
    assert_eq!((exit, out.as_str()), (1, "Node is not running!\n"));
}

#[test]
fn a_bad_configuration_does_not_start_and_does_not_stop_what_runs() {
    let tree = Tree::new();
    tree.configure("mqtt.allow_anonymos = true\n");
    let (exit, _, err) = tree.verb("start");
    assert_eq!(exit, 1);
    assert!(err.contains("emq.conf:5"), "{err}");
    assert!(err.contains("mqtt.allow_anonymous"), "{err}");

    tree.configure("");
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    tree.configure("mqtt.allow_anonymos = true\n");
    assert_eq!(tree.verb("restart").0, 1);
    // The name is read from the broken file no more, but the node is found and lives.
    assert_eq!(tree.verb("ping").0, 0);
    assert_eq!(tree.verb("stop").0, 0);
}

#[test]
fn a_tree_can_be_moved() {
    let tree = Tree::new();
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    assert_eq!(tree.verb("stop").0, 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::rename(tree.path(), &moved).unwrap();
    let run = |verb: &str| {
        Command::new(moved.join("bin/emqttd"))
            .arg(verb)
            .current_dir("/")
            .output()
            .unwrap()
    };
    assert!(run("start").status.success());
    assert!(tree.answers());
    assert!(run("stop").status.success());
    // So that the directory is there for its owner to remove.
    fs::rename(&moved, tree.path()).unwrap();
}

#[test]
fn unknown_verbs_show_the_usage() {
    let tree = Tree::new();
    let (exit, out, _) = tree.verb("nonsense");
    assert_eq!(exit, 1);
    let usage = out.lines().last().unwrap();
    for verb in [
        "start",
        "stop",
        "restart",
        "console",
        "foreground",
        "ping",
        "pid",
    ] {
        assert!(usage.contains(verb), "{usage}");
    }
}

fn log(tree: &Tree) -> String {
    fs::read_to_string(tree.path().join("log/run.log")).unwrap_or_default()
}
