//! The end of the broker, and what stays when something ends or is replaced.

use super::bench::*;
use emqttd_management::PluginControl;
use emqttd_plugin_sdk::{
    AuthAnswer, AuthProvider, Client, Context, HttpResponse, Plugin, PluginListener, Publish,
    Reloadable, RetainSettings, RetainStorage, Severity,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn all_plugins_together_have_one_time_to_stop() {
    struct Stops(&'static str, Arc<Mutex<Vec<&'static str>>>);
    impl Plugin for Stops {
        fn stop(&self) {
            self.1.lock().push(self.0);
            if self.0.starts_with("hangs") {
                loop {
                    thread::park();
                }
            }
        }
    }
    let log: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let make = |name| {
        let log = Arc::clone(&log);
        plugin(name, move |_| Ok(Box::new(Stops(name, Arc::clone(&log)))))
    };
    let names = ["first", "hangs", "hangs_too", "last"];
    let bench = Bench::new(names.map(make).into());
    for name in names {
        bench.manager.load(name).unwrap();
    }
    let begun = Instant::now();
    bench.manager.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{begun:?}");
    assert_eq!(*log.lock(), ["last", "hangs_too", "hangs", "first"]);
    assert!(names.iter().all(|name| !bench.is_active(name)));
}

#[test]
fn a_plugin_that_blocks_in_its_start_does_not_keep_the_broker_from_stopping() {
    let (entered, inside) = channel();
    let entered = Mutex::new(entered);
    let never = Arc::new(AtomicBool::new(true));
    let started = Arc::clone(&never);
    let bench = Tree::with(vec![
        simple("blocks", move |_| {
            entered.lock().send(()).unwrap();
            loop {
                thread::park();
            }
        })
        .guard(),
        simple("next", move |_| started.store(false, Ordering::Relaxed)).guard(),
    ])
    .loaded("blocks.\nnext.\n")
    .open();
    thread::scope(|scope| {
        let boot = scope.spawn(|| bench.manager.boot());
        inside.recv().unwrap();
        bench.stopping.store(true, Ordering::SeqCst);
        // No error: it is what was asked for.
        assert_eq!(boot.join().unwrap(), Ok(Vec::new()));
    });
    assert!(never.load(Ordering::Relaxed));
    assert!(!bench.is_active("blocks") && !bench.is_active("next"));
}

#[test]
fn a_guard_that_is_off_stays_shut_when_what_needs_it_does_not_start() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    struct Door(Arc<AtomicBool>);
    impl AuthProvider for Door {
        async fn check(&self, _: &Client, _: Option<&[u8]>) -> AuthAnswer {
            assert!(!self.0.load(Ordering::Relaxed), "on purpose");
            AuthAnswer::Ignore
        }
    }
    let bench = Bench::new(vec![
        simple("door", move |ctx| ctx.auth(0, Door(Arc::clone(&is_broken)))).guard(),
        plugin("house", |_| Err("no bricks".into())).depends_on("door"),
        simple("hut", |_| {}).depends_on("door"),
    ]);
    bench.manager.load("door").unwrap();
    for _ in 0..crate::MOST_PANICS {
        bench.door();
    }
    eventually("the end", || !bench.is_active("door"));
    broken.store(false, Ordering::Relaxed);
    let refused = bench.manager.load("house").unwrap_err().to_string();
    assert!(refused.contains("no bricks"), "{refused}");
    assert!(!bench.is_active("door"));
    assert_eq!(bench.door(), "unavailable");
    assert!(bench.has_alarm("plugin_crashed.door"));
    // When all of them start, it opens.
    bench.manager.load("hut").unwrap();
    assert_eq!(bench.door(), "allow");
    eventually("the alarm's end", || {
        !bench.has_alarm("plugin_crashed.door")
    });
}

#[test]
fn alarms_of_a_new_form_stand_when_the_old_one_goes() {
    let bench = Bench::new(Vec::new());
    let form = |alarms: [&'static str; 2]| {
        simple("swap", move |ctx| {
            for id in alarms {
                ctx.alarm(id, Severity::Error, "t", Some("s"));
            }
        })
    };
    bench.library(form(["database", "disk"]));
    bench.manager.load("swap").unwrap();
    bench.library(form(["database", "fuel"]));
    bench.manager.reload("swap").unwrap();
    // Alarms are set and cleared in the order of the words.
    eventually("the end of the old one's", || !bench.has_alarm("disk"));
    assert!(bench.has_alarm("fuel"));
    assert!(bench.has_alarm("database"));
    bench.manager.unload("swap").unwrap();
    eventually("the end", || {
        !bench.has_alarm("fuel") && !bench.has_alarm("database")
    });
}

/// Retains so many messages, and starts or does not.
fn retains(
    most: usize,
    starts: bool,
) -> impl Fn(&Context) -> Result<Box<dyn Plugin>, emqttd_plugin_sdk::StartError> {
    move |ctx| {
        let settings = RetainSettings {
            storage: RetainStorage::Ram,
            max_message_num: most,
            max_payload_size: 0,
            expiry_interval: Duration::ZERO,
        };
        ctx.retain(Some(settings)).unwrap();
        match starts {
            true => Ok(Box::new(())),
            false => Err("as told".into()),
        }
    }
}

/// Has been dealt with when this returns.
fn retain_message(bench: &Bench, topic: &str) {
    let message = Publish {
        retain: true,
        ..Publish::new(topic, "m")
    };
    bench.broker.post_publish(message).unwrap();
    // By the same event loop, and after it.
    let severity = emqttd_broker::Severity::Warning;
    bench.broker.post_alarm(topic, severity, "t", Some("s"));
    eventually("the message", || bench.has_alarm(topic));
}

#[test]
fn a_new_form_that_fails_leaves_retained_messages_to_the_old() {
    let bench = Bench::new(Vec::new());
    bench.library(plugin("keeper", retains(1, true)));
    bench.manager.load("keeper").unwrap();
    bench.library(plugin("keeper", retains(5, false)));
    assert!(bench.manager.reload("keeper").is_err());
    retain_message(&bench, "a");
    retain_message(&bench, "b");
    bench.library(plugin("keeper", retains(2, true)));
    bench.manager.reload("keeper").unwrap();
    assert_eq!(bench.broker.retained_topics(), ["a"]);
    retain_message(&bench, "c");
    assert_eq!(bench.broker.retained_topics(), ["a", "c"]);
    bench.manager.unload("keeper").unwrap();
    let clean = bench.broker.retained_count();
    retain_message(&bench, "d");
    assert_eq!(bench.broker.retained_count(), clean);
}

/// Asks the broker for something when it is dropped.
struct Parting(Context);

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.metric("partings").inc();
        self.0.alarm("parting", Severity::Error, "t", None);
    }
}

#[test]
fn what_closures_hold_may_ask_for_something_when_it_is_dropped() {
    let bench = Arc::new(Bench::new(vec![simple("polite", |ctx| {
        for _ in 0..2 {
            let held = Parting(ctx.clone());
            ctx.http(move |_| {
                let _ = &held;
                HttpResponse {
                    status: 200,
                    content_type: "text/plain".into(),
                    body: Vec::new(),
                }
            });
            let held = Parting(ctx.clone());
            let what = Reloadable {
                name: "part".into(),
                files: Vec::new(),
            };
            ctx.reloadable(what, move || {
                let _ = &held;
                Ok(())
            });
        }
    })]));
    let (done, over) = channel();
    let of_thread = Arc::clone(&bench);
    let coming_and_going = thread::spawn(move || {
        of_thread.manager.load("polite").unwrap();
        let facts = of_thread.manager.show("polite").unwrap();
        done.send(facts).unwrap();
        let notes = of_thread.manager.unload("polite").unwrap().notes;
        drop(of_thread);
        done.send(vec![(String::new(), notes.concat())]).unwrap();
    });
    let facts = over.recv_timeout(Duration::from_secs(20)).unwrap();
    // Those that were replaced.
    assert!(facts.contains(&("polite/partings".into(), "2".into())));
    let notes = over.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(notes, [(String::new(), String::new())]);
    coming_and_going.join().unwrap();
}

#[test]
fn a_listener_may_change_and_go_while_its_plugin_runs() {
    let listener = |listen_on: &str, max_clients| PluginListener {
        protocol: "toy:udp".into(),
        listen_on: listen_on.into(),
        acceptors: 1,
        max_clients,
        mountpoint: None,
    };
    let kept: Arc<Mutex<Option<Context>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let bench = Bench::new(vec![simple("toy", move |ctx| {
        ctx.listener(listener("127.0.0.1:1", 5));
        ctx.listener(listener("127.0.0.1:2", 6));
        *keep.lock() = Some(ctx.clone());
    })]);
    bench.manager.load("toy").unwrap();
    let ctx = kept.lock().take().unwrap();
    let rows = || {
        let rows = bench.broker.listeners().into_iter();
        rows.map(|row| (row.listen_on, row.max_clients)).collect()
    };
    let row = |on: &str, most: usize| (on.to_string(), most);
    let seen: Vec<(String, usize)> = rows();
    assert_eq!(seen, [row("127.0.0.1:1", 5), row("127.0.0.1:2", 6)]);
    // The same once more is no second one.
    ctx.listener(listener("127.0.0.1:1", 7));
    let seen: Vec<(String, usize)> = rows();
    assert_eq!(seen, [row("127.0.0.1:1", 7), row("127.0.0.1:2", 6)]);
    ctx.listener_gone("toy:udp", "127.0.0.1:3");
    ctx.listener_gone("toy:udp", "127.0.0.1:1");
    ctx.listener_gone("toy:udp", "127.0.0.1:1");
    let seen: Vec<(String, usize)> = rows();
    assert_eq!(seen, [row("127.0.0.1:2", 6)]);
    bench.manager.unload("toy").unwrap();
    assert!(bench.broker.listeners().is_empty());
}
