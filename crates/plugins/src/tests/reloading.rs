//! Putting a newer form of something in its place.

use super::bench::*;
use emqttd_management::{PluginControl, PluginError};
use emqttd_plugin_sdk::{
    AclAnswer, AuthAnswer, Descriptor, HookPoint, Hooks, Message, Reloadable, Reply, Verdict,
};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Counts the messages that pass.
struct Counts(Arc<AtomicUsize>);

impl Hooks for Counts {
    fn points(&self) -> u32 {
        HookPoint::MessagePublish as u32
    }

    fn message_publish(&self, _: &Message<'_>) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Pass
    }
}

fn version(number: u32, count: &Arc<AtomicUsize>) -> Descriptor {
    let count = Arc::clone(count);
    let mut made = simple("swap", move |ctx| {
        ctx.hooks(0, Counts(Arc::clone(&count)));
        ctx.auth(0, Says(AuthAnswer::Deny));
        ctx.acl(0, Says(AclAnswer::Deny));
        ctx.metric("starts").inc();
        ctx.command("version", &[], move |_| Reply::Text(number.to_string()));
    })
    .guard();
    made.version = number.to_string().into();
    made
}

#[test]
fn a_library_is_swapped_under_traffic() {
    let count = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(Vec::new());
    bench.library(version(1, &count));
    bench.manager.load("swap").unwrap();
    let (ended, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let message = a_message();
                bench.broker.hooks().each(HookPoint::MessagePublish, |h| {
                    drop(h.message_publish(&message))
                });
                sent.fetch_add(1, Ordering::Relaxed);
                assert_eq!(bench.door(), "deny");
                assert_eq!(bench.acl(), "deny");
                assert!(bench.cli.has("version"));
            }
        });
        for number in 2..30 {
            bench.library(version(number, &count));
            let done = bench.manager.reload("swap").unwrap();
            assert_eq!(done.notes, [""; 0]);
            assert_eq!(bench.ctl(&["version"]).text, number.to_string());
        }
        ended.store(true, Ordering::Relaxed);
        traffic.join().unwrap();
    });
    // Each message met the plugin, and met it once.
    assert_eq!(count.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
    assert_eq!(bench.manager.list()[0].version, "29");
    let facts = bench.manager.show("swap").unwrap();
    assert!(facts.contains(&("swap/starts".into(), "29".into())));
    assert_eq!(bench.loaded_file(), "swap.\n");
    bench.manager.unload("swap").unwrap();
    assert_eq!(
        (bench.door(), bench.acl()),
        ("allow".into(), "allow".into())
    );
    assert!(!bench.cli.has("version"));
}

#[test]
fn a_broken_library_leaves_the_old_in_place() {
    let count = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(Vec::new());
    bench.library(version(1, &count));
    bench.manager.load("swap").unwrap();
    bench.library(plugin("swap", |ctx| {
        ctx.auth(0, Says(AuthAnswer::Allow { superuser: true }));
        Err("does not work".into())
    }));
    assert_eq!(
        bench.manager.reload("swap"),
        Err(PluginError::Failed {
            app: "swap".into(),
            reason: "does not work".into()
        })
    );
    bench.libraries.lock().clear();
    let refused = bench.manager.reload("swap").unwrap_err().to_string();
    assert!(refused.contains("not a library"), "{refused}");
    bench.library(version(2, &count));
    let other = bench.libraries.lock().pop().unwrap();
    let mut renamed = other.1.clone();
    renamed.name = "swop".into();
    bench.libraries.lock().push((other.0, renamed));
    let refused = bench.manager.reload("swap").unwrap_err().to_string();
    assert!(refused.contains("holds the plugin swop"), "{refused}");
    assert_eq!(bench.door(), "deny");
    assert_eq!(bench.auth().len(), 1);
    assert_eq!(bench.manager.list()[0].version, "1");
    assert_eq!(bench.ctl(&["version"]).text, "1");
}

#[test]
fn a_built_in_that_guards_leaves_no_gap() {
    let bench = Bench::new(vec![
        simple("door", |ctx| ctx.auth(0, Says(AuthAnswer::Deny))).guard(),
        simple("window", |_| {}),
    ]);
    bench.manager.load("door").unwrap();
    bench.manager.load("window").unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert_ne!(bench.door(), "allow");
            }
        });
        for _ in 0..20 {
            bench.manager.reload("door").unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        watch.join().unwrap();
    });
    assert_eq!(bench.auth(), [("door".into(), "deny".into())]);
    // Its place in the list of plugins to start is as it was.
    assert_eq!(bench.loaded_file(), "door.\nwindow.\n");
}

#[test]
fn a_built_in_guard_that_does_not_come_back_keeps_the_door_shut() {
    let fine = Arc::new(AtomicBool::new(true));
    let is_fine = Arc::clone(&fine);
    let bench = Bench::new(vec![
        plugin("door", move |ctx| {
            ctx.auth(0, Says(AuthAnswer::Ignore));
            match is_fine.load(Ordering::Relaxed) {
                true => Ok(Box::new(())),
                false => Err("no users".into()),
            }
        })
        .guard(),
    ]);
    bench.manager.load("door").unwrap();
    fine.store(false, Ordering::Relaxed);
    let refused = bench.manager.reload("door").unwrap_err().to_string();
    assert!(refused.contains("no users; it does not run any more"));
    assert_eq!(bench.door(), "unavailable");
    assert!(bench.manager.load("door").is_err());
    assert_eq!(bench.door(), "unavailable");
    fine.store(true, Ordering::Relaxed);
    bench.manager.load("door").unwrap();
    assert_eq!(bench.door(), "allow");
}

#[test]
fn what_can_be_reloaded() {
    let reloads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reloads);
    let bench = Tree::with(vec![simple("scripts", move |ctx| {
        let count = Arc::clone(&count);
        let what = Reloadable {
            name: "script.lua".into(),
            files: vec!["hook_lua/script.lua".into()],
        };
        ctx.reloadable(what, move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err("line 3".into()),
        });
    })])
    .open();
    let manager = &bench.manager;
    let names = || -> Vec<String> {
        let all = manager.reloadables();
        all.into_iter().map(|what| what.name).collect()
    };
    manager.load("scripts").unwrap();
    bench.library(version(1, &Arc::default()));
    manager.load("swap").unwrap();
    assert_eq!(names(), ["script.lua", "swap"]);
    assert_eq!(manager.reload_named("script.lua"), Ok(()));
    assert_eq!(manager.reload_named("script.lua"), Err("line 3".into()));
    assert_eq!(manager.reload_named("swap"), Ok(()));
    // A plugin that is part of the program has no other form.
    assert_eq!(manager.reload_named("scripts"), Err("nofile".into()));
    assert_eq!(manager.reload_named("nope"), Err("nofile".into()));
    assert_eq!(manager.reload_named("acl"), Err("nofile".into()));
    manager.unload("scripts").unwrap();
    assert_eq!(names(), ["swap"]);
    assert_eq!(manager.reload_named("script.lua"), Err("nofile".into()));
}

#[test]
fn rules_are_reloaded() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("acl.conf");
    fs::write(&file, "{allow, all}.\n").unwrap();
    let bench = Tree::default()
        .key(&format!("mqtt.acl_file = {}", file.display()))
        .open();
    let all = bench.manager.reloadables();
    assert_eq!(
        (all[0].name.as_str(), &all[0].files),
        ("acl", &vec![file.clone()])
    );
    fs::write(&file, "{deny, all}.\n").unwrap();
    assert_eq!(bench.acl(), "allow");
    bench.manager.reload_named("acl").unwrap();
    assert_eq!(bench.acl(), "deny");
    fs::write(&file, "{deny, al").unwrap();
    assert!(bench.manager.reload_named("acl").is_err());
    assert_eq!(bench.acl(), "deny");
}
