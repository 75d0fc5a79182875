//! Loading and unloading when nothing goes wrong, and the questions to which the answer is no.

use super::bench::*;
use emqttd_management::{PluginControl, PluginError};
use emqttd_plugin_sdk::{
    AclAnswer, AuthAnswer, Context, HttpRequest, HttpResponse, Key, KeyKind, Plugin, Reply,
    StartError,
};
use parking_lot::Mutex;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn error(app: &str, reason: &str) -> PluginError {
    PluginError::Failed {
        app: app.into(),
        reason: reason.into(),
    }
}

fn get(path: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        path: path.into(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

#[test]
fn everything_comes_and_goes() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sessions);
    let bench = Bench::new(vec![simple("all_sorts", move |ctx| {
        let seen = Arc::clone(&seen);
        ctx.hooks(
            0,
            OnSession(move || {
                seen.fetch_add(1, Ordering::Relaxed);
            }),
        );
        ctx.auth(0, Says(AuthAnswer::Deny));
        ctx.acl(3, Says(AclAnswer::Deny));
        ctx.command("sorts", &[("sorts <N>", "Count")], |call| match call.args {
            ["bad"] => Reply::Failed("no\n".into()),
            [n] => Reply::Text(format!("{n}!\n")),
            _ => Reply::Usage,
        });
        ctx.http(|request| HttpResponse {
            status: 200,
            content_type: "text/plain".into(),
            body: request.path.clone().into_bytes(),
        });
        ctx.metric("things").add(7);
        ctx.alarm(
            "sorts",
            emqttd_plugin_sdk::Severity::Warning,
            "t",
            Some("s"),
        );
    })]);
    let is_gone = |bench: &Bench| {
        let before = sessions.load(Ordering::Relaxed);
        bench.session_created();
        assert_eq!(sessions.load(Ordering::Relaxed), before);
        assert_eq!(
            bench.auth(),
            [("mqtt.allow_anonymous".into(), "allow".into())]
        );
        assert_eq!(bench.acl(), "allow");
        assert!(!bench.cli.has("sorts"));
        assert_eq!(bench.manager.http(&get("/api/plugins/all_sorts/x")), None);
        assert!(!bench.is_active("all_sorts"));
        assert_eq!(bench.manager.life("all_sorts").map(|_| ()), None);
    };
    is_gone(&bench);
    let done = bench.manager.load("all_sorts").unwrap();
    assert_eq!((done.started.len(), done.notes.len()), (1, 0));
    assert_eq!(bench.loaded_file(), "all_sorts.\n");
    assert_eq!(bench.auth(), [("all_sorts".into(), "deny".into())]);
    assert_eq!(bench.acl(), "deny");
    bench.session_created();
    assert_eq!(sessions.load(Ordering::Relaxed), 1);
    assert_eq!(bench.ctl(&["sorts", "4"]).text, "4!\n");
    assert_eq!(bench.ctl(&["sorts", "bad"]).exit, 1);
    assert!(bench.ctl(&["sorts"]).text.starts_with("sorts <N>"));
    let http = bench.manager.http(&get("/api/plugins/all_sorts/a/b"));
    assert_eq!(http.unwrap().body, b"/a/b");
    let http = bench.manager.http(&get("/api/plugins/all_sorts"));
    assert_eq!(http.unwrap().body, b"/");
    assert_eq!(bench.manager.http(&get("/api/plugins/other/")), None);
    eventually("the alarm", || bench.has_alarm("sorts"));
    let facts = bench.manager.show("all_sorts").unwrap();
    for fact in [
        ("kind", "built in"),
        ("state", "active"),
        ("hooks", "session.created (priority 0)"),
        ("auth", "sequence 0"),
        ("acl", "sequence 3"),
        ("command", "sorts"),
        ("http", "/api/plugins/all_sorts/"),
        ("all_sorts/things", "7"),
        ("panics", "0"),
    ] {
        let there = facts.iter().any(|(n, v)| (&**n, &**v) == fact);
        assert!(there, "{fact:?} is not in {facts:?}");
    }
    assert_eq!(
        bench.manager.load("all_sorts"),
        Err(PluginError::AlreadyStarted)
    );
    assert_eq!(bench.manager.unload("all_sorts").unwrap().notes, [""; 0]);
    assert_eq!(bench.loaded_file(), "");
    is_gone(&bench);
    eventually("the alarm's end", || !bench.has_alarm("sorts"));
    assert_eq!(
        bench.manager.unload("all_sorts"),
        Err(PluginError::NotStarted)
    );
    bench.manager.load("all_sorts").unwrap();
    assert!(bench.is_active("all_sorts"));
}

#[test]
fn what_is_not_here() {
    let bench = Tree::default()
        .file("etc/plugins/emq_stomp.conf", "")
        .open();
    assert_eq!(bench.manager.load("nope"), Err(PluginError::NotFound));
    assert_eq!(bench.manager.unload("nope"), Err(PluginError::NotStarted));
    assert_eq!(bench.manager.reload("nope"), Err(PluginError::NotStarted));
    assert_eq!(bench.manager.show("nope"), None);
    // Without a file it is not installed.
    assert_eq!(bench.manager.load("emq_coap"), Err(PluginError::NotFound));
    let reason = format!("not part of emqttd {}", emqttd_broker::VERSION);
    assert_eq!(
        bench.manager.load("emq_stomp"),
        Err(error("emq_stomp", &reason))
    );
    let rows = bench.manager.list();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].description, "Stomp Protocol Plugin");
    assert!(!rows[0].active);
}

#[test]
fn the_list_goes_by_file_names() {
    let bench = Tree::with(vec![simple("emq_modules", |_| {}), simple("zebra", |_| {})])
        .file("etc/plugins/emq_stomp.conf", "")
        .file("etc/plugins/emq_modules.conf", "")
        .file("etc/plugins/emq_plugin_template.config", "[].\n")
        .file("etc/plugins/emq_coap.conf.good", "")
        .file("etc/plugins/kafka.conf", "")
        .open();
    bench.library(simple("antelope", |_| {}));
    let names: Vec<String> = bench.manager.list().into_iter().map(|r| r.name).collect();
    assert_eq!(
        names,
        [
            "antelope",
            "emq_modules",
            "emq_plugin_template",
            "emq_stomp",
            "zebra"
        ]
    );
    bench.manager.load("antelope").unwrap();
    let row = bench.manager.list().remove(0);
    assert_eq!((&*row.version, row.active), ("1.0", true));
    assert!(
        bench
            .manager
            .show("antelope")
            .unwrap()
            .iter()
            .any(|(n, v)| n == "kind" && v.starts_with("library ") && v.ends_with("(ABI 1.0)"))
    );
}

#[test]
fn old_names_stand_for_the_new() {
    let bench = Bench::new(vec![simple("emq_modules", |_| {})]);
    let done = bench.manager.load("emq_mod_presence").unwrap();
    assert_eq!(done.name, "emq_modules");
    assert!(
        done.notes
            .iter()
            .any(|n| n.contains("is called emq_modules now"))
    );
    assert_eq!(bench.loaded_file(), "emq_modules.\n");
    assert_eq!(
        bench.manager.load("emq_modules"),
        Err(PluginError::AlreadyStarted)
    );
    bench.manager.unload("emq_mod_rewrite").unwrap();
    assert_eq!(bench.loaded_file(), "");
}

#[test]
fn the_file_keeps_what_it_has_and_its_order() {
    let bench = Tree::with(vec![simple("one", |_| {}), simple("two", |_| {})])
        .loaded("% mine\nemq_dashboard.\ntwo.\n")
        .open();
    assert_eq!(bench.manager.boot(), Ok(Vec::new()));
    assert!(bench.is_active("two"));
    // Starting changes nothing in it.
    assert_eq!(bench.loaded_file(), "% mine\nemq_dashboard.\ntwo.\n");
    bench.manager.load("one").unwrap();
    assert_eq!(bench.loaded_file(), "emq_dashboard.\ntwo.\none.\n");
    bench.manager.unload("two").unwrap();
    assert_eq!(bench.loaded_file(), "emq_dashboard.\none.\n");
}

#[test]
fn a_missing_file_is_made_and_one_that_cannot_be_written_is_said() {
    let bench = Bench::new(vec![simple("one", |_| {})]);
    bench.manager.boot().unwrap();
    assert_eq!(bench.loaded_file(), "");
    let path = bench.tree.path().join("data/loaded_plugins");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let done = bench.manager.load("one").unwrap();
    assert!(bench.is_active("one"));
    assert!(
        done.notes[0].contains("could not be written"),
        "{:?}",
        done.notes
    );
}

#[test]
fn plugins_start_in_the_order_of_the_file_and_stop_the_other_way_round() {
    struct Stops(&'static str, Arc<Mutex<Vec<String>>>);
    impl Plugin for Stops {
        fn stop(&self) {
            self.1.lock().push(format!("-{}", self.0));
        }
    }
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let make = |name: &'static str| {
        let log = Arc::clone(&log);
        plugin(name, move |_| {
            log.lock().push(format!("+{name}"));
            Ok(Box::new(Stops(name, Arc::clone(&log))))
        })
    };
    let bench = Tree::with(vec![
        make("a"),
        make("b").depends_on("c"),
        make("c"),
        make("d"),
    ])
    .loaded("d.\nb.\na.\nc.\n")
    .open();
    bench.manager.boot().unwrap();
    assert_eq!(*log.lock(), ["+d", "+c", "+b", "+a"]);
    log.lock().clear();
    bench.manager.stop();
    assert_eq!(*log.lock(), ["-a", "-b", "-c", "-d"]);
    assert_eq!(bench.loaded_file(), "d.\nb.\na.\nc.\n");
    assert_eq!(bench.manager.load("a"), Err(error("a", "the broker stops")));
}

#[test]
fn what_a_plugin_needs_is_started_first_and_cannot_be_taken_away() {
    let bench = Bench::new(vec![
        simple("base", |_| {}),
        simple("middle", |_| {}).depends_on("base"),
        simple("top", |_| {})
            .depends_on("middle")
            .depends_on("base"),
        simple("lost", |_| {}).depends_on("gone"),
        simple("circle", |_| {}).depends_on("square"),
        simple("square", |_| {}).depends_on("circle"),
        simple("failing", |_| {})
            .depends_on("base")
            .depends_on("bad"),
        plugin("bad", |_| Err("out of order".into())),
    ]);
    assert_eq!(
        bench.manager.load("failing"),
        Err(error("bad", "out of order"))
    );
    assert!(!bench.is_active("base"));
    let done = bench.manager.load("top").unwrap();
    assert_eq!(done.started, ["base", "middle", "top"]);
    // As in EMQ only the one that was asked for.
    assert_eq!(bench.loaded_file(), "top.\n");
    assert_eq!(
        bench.manager.unload("base"),
        Err(error("base", "middle needs it"))
    );
    bench.manager.unload("top").unwrap();
    bench.manager.unload("middle").unwrap();
    bench.manager.unload("base").unwrap();
    assert_eq!(
        bench.manager.load("lost"),
        Err(error("lost", "it needs gone, which is not here"))
    );
    assert_eq!(
        bench.manager.load("circle"),
        Err(error("circle", "it needs itself, by way of others"))
    );
}

#[test]
fn configuration_is_read_at_each_load() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let keys = [
        Key::new("own.word", KeyKind::Text, "A word").default("none"),
        Key::new("own.number", KeyKind::Integer, "A number").default("1"),
    ];
    let bench = Bench::new(vec![
        simple("own", move |ctx| {
            let config = ctx.config();
            log.lock().push(format!(
                "{} {}",
                config.text("own.word").unwrap(),
                config.integer("own.number").unwrap()
            ));
        })
        .keys(keys),
        simple("other", |_| {}),
    ]);
    let conf = bench.tree.path().join("etc/plugins/own.conf");
    bench.manager.load("other").unwrap();
    bench.manager.load("own").unwrap();
    bench.manager.unload("own").unwrap();
    fs::write(&conf, "own.word = first\nown.number = 2\n").unwrap();
    bench.manager.load("own").unwrap();
    fs::write(&conf, "own.word = second\nown.number = many\n").unwrap();
    // A built-in is reloaded only when its file is in order.
    let refused = bench.manager.reload("own").unwrap_err().to_string();
    assert!(refused.contains("own.conf:2"), "{refused}");
    assert!(bench.is_active("own"));
    bench.manager.unload("own").unwrap();
    let refused = bench.manager.load("own").unwrap_err().to_string();
    assert!(refused.contains("own.conf:2"), "{refused}");
    assert!(bench.is_active("other") && !bench.is_active("own"));
    assert_eq!(bench.loaded_file(), "other.\n");
    fs::write(&conf, "own.word = third\n").unwrap();
    bench.manager.load("own").unwrap();
    assert_eq!(*seen.lock(), ["none 1", "first 2", "third 1"]);
}

#[test]
fn a_key_is_changed_while_the_plugin_runs() {
    struct Hot(Arc<Mutex<String>>);
    impl Plugin for Hot {
        fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
            match ctx.config().text("hot.word") {
                Some("bad") => Err("bad is bad".into()),
                Some("panic") => panic!("on purpose"),
                word => {
                    *self.0.lock() = word.unwrap_or_default().into();
                    Ok(())
                }
            }
        }
    }
    let word: Arc<Mutex<String>> = Arc::default();
    let shared = Arc::clone(&word);
    let key = Key::new("hot.word", KeyKind::Text, "A word")
        .default("none")
        .hot();
    let bench = Bench::new(vec![
        plugin("hot", move |_| Ok(Box::new(Hot(Arc::clone(&shared))))).keys([key]),
    ]);
    bench.manager.load("hot").unwrap();
    let set = |value: &str| {
        let mut config = bench.manager.config.lock().clone();
        config.set("hot", "hot.word", value).unwrap();
        bench
            .manager
            .reconfigure("hot", config.plugin_entries("hot"))
    };
    assert_eq!(set("new"), Ok(()));
    assert_eq!(*word.lock(), "new");
    assert_eq!(set("bad"), Err("bad is bad".into()));
    assert!(set("panic").unwrap_err().contains("panicked"));
    assert_eq!(*word.lock(), "new");
    let life = bench.manager.life("hot").unwrap();
    assert_eq!(life.context.config().text("hot.word"), Some("new"));
}

#[test]
fn a_changed_key_starts_a_plugin_anew_that_says_so() {
    struct Life(Arc<Mutex<Vec<String>>>, String);
    impl Plugin for Life {
        fn stop(&self) {
            self.0.lock().push(format!("{} ends", self.1));
        }
    }
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let shared = Arc::clone(&seen);
    let start = move |ctx: &Context| {
        let word = ctx
            .config()
            .text("anew.word")
            .unwrap_or_default()
            .to_string();
        if word == "bad" {
            return Err("bad is bad".into());
        }
        ctx.metric("lives").inc();
        shared.lock().push(format!("{word} starts"));
        Ok(Box::new(Life(Arc::clone(&shared), word)) as Box<dyn Plugin>)
    };
    let key = Key::new("anew.word", KeyKind::Text, "A word")
        .default("first")
        .hot();
    let bench = Bench::new(vec![plugin("anew", start).keys([key]).anew()]);
    bench.manager.load("anew").unwrap();
    let set = |value: &str| {
        let mut config = bench.manager.config.lock();
        let mut changed = config.clone();
        changed.set("anew", "anew.word", value).unwrap();
        let entries = changed.plugin_entries("anew");
        // As the command does: it holds the configuration meanwhile.
        bench.manager.reconfigure("anew", entries)?;
        *config = changed;
        Ok::<(), String>(())
    };
    assert_eq!(set("second"), Ok(()));
    let refused = set("bad").unwrap_err();
    assert!(refused.contains("bad is bad"), "{refused}");
    assert_eq!(
        *seen.lock(),
        ["first starts", "second starts", "first ends"]
    );
    let life = bench.manager.life("anew").unwrap();
    assert_eq!(life.context.config().text("anew.word"), Some("second"));
    assert_eq!(life.context.metric("lives").get(), 2);
    bench.manager.unload("anew").unwrap();
    assert_eq!(seen.lock().last().unwrap(), "second ends");
}

#[test]
fn tasks_and_timers_end_with_the_plugin() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    struct Holds(#[allow(dead_code)] emqttd_plugin_sdk::Timer);
    impl Plugin for Holds {}
    let (ticks, ended) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (count, end) = (Arc::clone(&ticks), Arc::clone(&ended));
    let bench = Bench::new(vec![plugin("busy", move |ctx| {
        let held = Dropped(Arc::clone(&end));
        ctx.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let count = Arc::clone(&count);
        let timer = ctx.every(std::time::Duration::from_millis(1), move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        Ok(Box::new(Holds(timer)))
    })]);
    bench.manager.load("busy").unwrap();
    eventually("ticks", || ticks.load(Ordering::Relaxed) > 2);
    assert!(!ended.load(Ordering::Acquire));
    bench.manager.unload("busy").unwrap();
    eventually("the task's end", || ended.load(Ordering::Acquire));
}

#[test]
fn tables_outlive_a_plugin() {
    let bench = Bench::new(vec![plugin("keeper", |ctx| {
        let table = ctx.table("rows");
        let before = table.get(b"k").map_err(|e| StartError(e.to_string()))?;
        table
            .put(b"k", b"v")
            .map_err(|e| StartError(e.to_string()))?;
        ctx.command("before", &[], move |_| {
            Reply::Text(format!("{}", before.is_some()))
        });
        Ok(Box::new(()))
    })]);
    bench.manager.load("keeper").unwrap();
    assert_eq!(bench.ctl(&["before"]).text, "false");
    bench.manager.unload("keeper").unwrap();
    bench.manager.load("keeper").unwrap();
    assert_eq!(bench.ctl(&["before"]).text, "true");
}

#[test]
fn a_command_of_the_broker_stays_its_own() {
    let bench = Bench::new(vec![simple("greedy", |ctx| {
        ctx.command("status", &[], |_| Reply::Text("mine".into()));
    })]);
    bench
        .cli
        .register("status", &[], Box::new(|_| Some("the broker's".into())));
    bench.manager.load("greedy").unwrap();
    assert_eq!(bench.ctl(&["status"]).text, "the broker's");
    bench.manager.unload("greedy").unwrap();
    assert_eq!(bench.ctl(&["status"]).text, "the broker's");
}
