//! The verbs of `bin/emqttd` with the texts and exit codes that scripts of EMQ 2.x expect.

#![allow(clippy::unwrap_used)]

mod tree;

use std::fs;
use std::path::Path;
use std::process::Command;
use tree::{Tree, log};

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

#[test]
fn a_node_that_runs_is_not_ended_by_a_restart_into_a_broken_acl_file() {
    let tree = Tree::new();
    tree.write("etc/acl.conf", "{allow, all}.\n");
    tree.configure("mqtt.acl_file = etc/acl.conf\n");
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    // Without the access word 2.3.11 left the rules out in silence.
    tree.write(
        "etc/acl.conf",
        "{allow, all}.\n{allow, {ipaddr, \"127.0.0.1\"}, [\"t\"]}.\n",
    );
    for verb in ["restart", "check-config"] {
        let (exit, _, err) = tree.verb(verb);
        assert_eq!(exit, 1, "{verb}");
        assert!(err.contains("acl.conf:2:"), "{verb}: {err}");
        assert!(err.contains("the access word is missing"), "{verb}: {err}");
    }
    assert_eq!(tree.verb("ping").0, 0);
    assert_eq!(tree.verb("stop").0, 0);
    let (exit, _, err) = tree.verb("start");
    assert_eq!(exit, 1);
    assert!(err.contains("the access word is missing"), "{err}");
}

#[test]
fn without_etc_it_says_where_it_looked() {
    let tree = Tree::new();
    fs::remove_file(tree.path().join("etc/emq.conf")).unwrap();
    for verb in ["start", "foreground", "check-config"] {
        let (exit, _, err) = tree.verb(verb);
        assert_eq!(exit, 1, "{verb}");
        assert!(err.contains("there is no "), "{verb}: {err}");
        assert!(err.contains("etc/emq.conf"), "{verb}: {err}");
    }
}

#[test]
fn a_killed_node_leaves_nothing_in_the_way() {
    let tree = Tree::new();
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    let pid = tree.verb("pid").1;
    let killed = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.unwrap().success());
    tree.await_silence();
    assert_eq!(tree.verb("ping").0, 1);
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    assert_eq!(tree.verb("stop").0, 0);
}

#[test]
fn a_second_node_in_one_tree_is_refused_by_name() {
    let tree = Tree::new();
    assert_eq!(tree.verb("start").0, 0, "{}", log(&tree));
    let (exit, _, err) = tree.verb("foreground");
    assert_eq!(exit, 1);
    assert!(err.contains("node.data_dir data: another node"), "{err}");
    assert!(tree.answers());
    assert_eq!(tree.verb("stop").0, 0);
}

/// `/dev/full` takes no byte: a disk that is full must not end a broker that only wanted to tell.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_its_output_does_not_end_a_node() {
    let tree = Tree::new();
    std::os::unix::fs::symlink("/dev/full", tree.path().join("log/run.log")).unwrap();
    let (exit, out, err) = tree.verb("start");
    assert!(out.contains("is started successfully!"), "{out}{err}");
    assert_eq!(exit, 0);
    assert!(tree.answers());
    assert_eq!(tree.verb("stop").0, 0);
}
