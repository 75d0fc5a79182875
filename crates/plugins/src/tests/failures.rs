//! What a plugin must not do, and what becomes of it when it does.

use super::bench::*;
use crate::desk::Site;
use crate::guard::{Calls, Guard, Reporter};
use crate::wrap::{
    GuardedCommand, GuardedHooks, GuardedHttp, GuardedMechanism, GuardedPipe, GuardedReload,
};
use crate::{MOST_PANICS, SLOW};
use emqttd_management::{PluginControl, PluginError};
use emqttd_plugin_sdk::{
    AclAnswer, AuthAnswer, AuthMechanism, AuthProvider, Call, Change, Client, ClientRef, Command,
    Context, Exchange, ExchangeStep, Flow, HookPoint, Hooks, HttpRequest, Message, PipeEvents,
    Plugin, QoS, Reply, Severity, StartError, TopicEntry, Verdict,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Writes down what it is told.
#[derive(Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Reporter for Notes {
    fn alarm(&self, id: &str, _: Severity, _: &str, summary: Option<&str>) {
        self.0.lock().push(format!("{id} {}", summary.is_some()));
    }

    fn crashed(&self, guard: &Arc<Guard>) {
        self.0.lock().push(format!("crashed {}", guard.name));
    }
}

pub fn guard() -> (Arc<Guard>, Arc<Notes>) {
    let notes: Arc<Notes> = Arc::default();
    (Guard::new("p", Arc::clone(&notes) as _), notes)
}

/// Panics, whatever it is asked.
struct Panics;

impl Hooks for Panics {
    fn points(&self) -> u32 {
        HookPoint::ALL
    }
    fn client_connected(&self, _: &Client, _: u8) {
        panic!("connected");
    }
    fn client_disconnected(&self, _: &Client, _: &str, _: Option<u8>) {
        panic!("disconnected");
    }
    fn client_subscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        table.clear();
        panic!("subscribe");
    }
    fn client_unsubscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        table.clear();
        panic!("unsubscribe");
    }
    fn session_created(&self, _: ClientRef<'_>) {
        panic!("created");
    }
    fn session_subscribed(&self, _: ClientRef<'_>, _: &TopicEntry) {
        panic!("subscribed");
    }
    fn session_unsubscribed(&self, _: ClientRef<'_>, _: &TopicEntry) {
        panic!("unsubscribed");
    }
    fn session_terminated(&self, _: ClientRef<'_>, _: &str) {
        panic!("terminated");
    }
    fn message_publish(&self, _: &Message<'_>) -> Verdict {
        panic!("publish");
    }
    fn message_delivered(&self, _: ClientRef<'_>, _: &Message<'_>) {
        panic!("delivered");
    }
    fn message_acked(&self, _: ClientRef<'_>, _: &Message<'_>) {
        panic!("acked");
    }
    fn message_dropped(&self, _: &Message<'_>, _: &str) {
        panic!("dropped");
    }
}

fn entry() -> TopicEntry {
    TopicEntry {
        topic: "a/#".into(),
        qos: QoS::AtLeastOnce,
        share: None,
        local: false,
    }
}

#[test]
fn a_panic_in_any_hook_is_as_if_it_were_not_there() {
    let client = a_client();
    let (message, by_name) = (a_message(), client.by_name());
    let mut table = vec![entry()];
    type Ask<'a> = Box<dyn FnOnce(&GuardedHooks) + 'a>;
    let mut asks: Vec<Ask<'_>> = vec![
        Box::new(|h| h.client_connected(&client, 0)),
        Box::new(|h| h.client_disconnected(&client, "normal", None)),
        Box::new(|h| h.session_created(by_name)),
        Box::new(|h| h.session_subscribed(by_name, &entry())),
        Box::new(|h| h.session_unsubscribed(by_name, &entry())),
        Box::new(|h| h.session_terminated(by_name, "normal")),
        Box::new(|h| assert_eq!(h.message_publish(&message), Verdict::Pass)),
        Box::new(|h| h.message_delivered(by_name, &message)),
        Box::new(|h| h.message_acked(by_name, &message)),
        Box::new(|h| h.message_dropped(&message, "x")),
    ];
    asks.push(Box::new(|h| {
        assert_eq!(h.client_subscribe(by_name, &mut table), Flow::Next);
        assert_eq!(h.client_unsubscribe(by_name, &mut table), Flow::Next);
        assert_eq!(table, [entry()]);
    }));
    let mut panics = 0;
    for ask in asks {
        let (guard, _) = guard();
        let hooks = GuardedHooks::new(&guard, Arc::new(Panics));
        assert_eq!(hooks.points(), HookPoint::ALL);
        ask(&hooks);
        assert!(!guard.is_closed());
        panics += guard.figures().panics;
    }
    assert_eq!(panics, 12);
}

#[test]
fn hooks_are_passed_on_as_they_are() {
    struct Changes;
    impl Hooks for Changes {
        fn points(&self) -> u32 {
            HookPoint::MessagePublish as u32 | HookPoint::ClientSubscribe as u32
        }
        fn client_subscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
            table.push(entry());
            Flow::Stop
        }
        fn message_publish(&self, _: &Message<'_>) -> Verdict {
            Verdict::Change(Change {
                topic: Some("x".into()),
                ..Change::default()
            })
        }
    }
    let (guard, _) = guard();
    let hooks = GuardedHooks::new(&guard, Arc::new(Changes));
    let mut table = Vec::new();
    let client = a_client();
    assert_eq!(
        hooks.client_subscribe(client.by_name(), &mut table),
        Flow::Stop
    );
    assert_eq!(table.len(), 1);
    assert!(matches!(hooks.message_publish(&a_message()), Verdict::Change(c) if c.topic.is_some()));
    assert_eq!(guard.figures().calls, 3);
    guard.close();
    assert_eq!(hooks.message_publish(&a_message()), Verdict::Pass);
    assert_eq!(guard.figures().calls, 3);
}

#[test]
fn a_panic_in_all_else_is_the_calls_error() {
    struct Bad;
    impl AuthMechanism for Bad {
        fn method(&self) -> &str {
            "BAD"
        }
        fn begin(&self, client: &Client) -> Box<dyn Exchange> {
            assert!(client.keepalive == 60, "begin");
            Box::new(Bad)
        }
    }
    impl Exchange for Bad {
        fn step(&mut self, _: &[u8]) -> ExchangeStep {
            panic!("step");
        }
    }
    impl PipeEvents for Bad {
        fn output(&mut self, _: &[u8]) -> usize {
            panic!("output");
        }
        fn room(&mut self) {}
        fn closed(&mut self, _: &str) {}
    }
    let fresh = || guard().0;
    let mechanism = GuardedMechanism::new(&fresh(), Arc::new(Bad));
    assert_eq!(mechanism.method(), "BAD");
    let mut exchange = mechanism.begin(&a_client());
    assert_eq!(exchange.step(b""), ExchangeStep::Fail);
    assert_eq!(exchange.step(b""), ExchangeStep::Fail);
    let mut client = a_client();
    client.keepalive = 1;
    assert_eq!(mechanism.begin(&client).step(b""), ExchangeStep::Fail);

    let guard = fresh();
    let mut pipe = GuardedPipe::new(&guard, Box::new(Bad));
    // What cannot be taken is taken: the connection must not wait for a plugin that is no more.
    assert_eq!((pipe.output(b"abc"), pipe.output(b"de")), (3, 2));
    assert_eq!(guard.figures().panics, 1);

    let command = GuardedCommand {
        guard: fresh(),
        listed: AtomicBool::new(false),
        inner: Command {
            name: "bad".into(),
            usage: Vec::new(),
            handler: Arc::new(|_| panic!("command")),
        },
    };
    let call = Call {
        args: &[],
        stdin: None,
    };
    assert!(matches!(command.run(call), Reply::Failed(text) if text.contains("bad of plugin p")));
    command.guard.close();
    assert!(matches!(command.run(call), Reply::Failed(text) if text.contains("switched off")));

    let http = GuardedHttp {
        guard: fresh(),
        inner: Arc::new(|_| panic!("http")),
    };
    let request = HttpRequest {
        method: "GET".into(),
        path: "/".into(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    assert_eq!(http.run(&request).status, 500);

    let reload = GuardedReload {
        guard: fresh(),
        inner: Arc::new(|| panic!("reload")),
    };
    assert!(reload.run().is_err());
}

#[test]
fn a_start_that_panics_or_fails_leaves_nothing() {
    let bench = Bench::new(vec![
        plugin("panics", |ctx| {
            ctx.auth(0, Says(AuthAnswer::Deny));
            panic!("on purpose")
        }),
        plugin("fails", |ctx| {
            ctx.auth(0, Says(AuthAnswer::Deny));
            ctx.command("left", &[], |_| Reply::Usage);
            Err(StartError("no \"luck\"".into()))
        }),
    ]);
    let refused = bench.manager.load("panics").unwrap_err().to_string();
    assert!(refused.starts_with("{panics,\"it panicked"), "{refused}");
    assert_eq!(
        bench.manager.load("fails"),
        Err(PluginError::Failed {
            app: "fails".into(),
            reason: "no \"luck\"".into()
        })
    );
    assert_eq!(bench.door(), "allow");
    assert!(!bench.cli.has("left"));
    assert!(!bench.is_active("panics") && !bench.is_active("fails"));
    let file = bench.tree.path().join("data/loaded_plugins");
    assert!(!file.exists());
}

#[test]
fn a_stop_that_panics_is_told() {
    struct Bad;
    impl Plugin for Bad {
        fn stop(&self) {
            panic!("on purpose");
        }
    }
    let bench = Bench::new(vec![plugin("bad", |ctx| {
        ctx.auth(0, Says(AuthAnswer::Deny));
        Ok(Box::new(Bad))
    })]);
    bench.manager.load("bad").unwrap();
    bench.manager.unload("bad").unwrap();
    assert_eq!(bench.door(), "allow");
    bench.manager.load("bad").unwrap();
}

#[test]
fn a_plugin_that_panics_again_and_again_is_switched_off() {
    let bench = Bench::new(vec![simple("shaky", |ctx| {
        ctx.hooks(0, OnSession(|| panic!("on purpose")));
    })]);
    bench.manager.load("shaky").unwrap();
    let life = bench.manager.life("shaky").unwrap();
    for n in 1..=MOST_PANICS {
        assert!(bench.is_active("shaky"));
        bench.session_created();
        assert_eq!(life.guard.figures().panics, n as u64);
    }
    drop(life);
    eventually("the end of the plugin", || !bench.is_active("shaky"));
    eventually("the alarm", || bench.has_alarm("plugin_crashed.shaky"));
    // It decides nothing: what it did is gone, and nothing stands in its place.
    assert_eq!(
        bench.auth(),
        [("mqtt.allow_anonymous".into(), "allow".into())]
    );
    assert_eq!(bench.loaded_file(), "shaky.\n");
    let facts = bench.manager.show("shaky").unwrap();
    assert!(facts.contains(&("state".into(), "switched off after panics".into())));
    bench.manager.load("shaky").unwrap();
    eventually("the alarm's end", || {
        !bench.has_alarm("plugin_crashed.shaky")
    });
    assert!(bench.is_active("shaky"));
}

#[test]
fn panics_of_tasks_and_timers_count() {
    struct Holds(#[allow(dead_code)] emqttd_plugin_sdk::Timer);
    impl Plugin for Holds {}
    let bench = Bench::new(vec![
        simple("tasks", |ctx| {
            for _ in 0..MOST_PANICS {
                ctx.spawn(async { panic!("on purpose") });
            }
        }),
        plugin("timer", |ctx| {
            let timer = ctx.every(Duration::from_millis(1), || panic!("on purpose"));
            Ok(Box::new(Holds(timer)))
        }),
    ]);
    for name in ["tasks", "timer"] {
        bench.manager.load(name).unwrap();
        let alarm = format!("plugin_crashed.{name}");
        eventually("the alarm", || bench.has_alarm(&alarm));
        eventually("the end", || !bench.is_active(name));
    }
}

#[test]
fn a_guard_that_is_switched_off_lets_nobody_pass() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    struct Door(Arc<AtomicBool>);
    impl AuthProvider for Door {
        async fn check(&self, _: &Client, _: Option<&[u8]>) -> AuthAnswer {
            assert!(!self.0.load(Ordering::Relaxed), "on purpose");
            AuthAnswer::Ignore
        }
    }
    let bench = Bench::new(vec![simple("door", move |ctx| {
        ctx.auth(0, Door(Arc::clone(&is_broken)));
        ctx.acl(0, Says(AclAnswer::Ignore));
    })]);
    bench.manager.load("door").unwrap();
    for _ in 0..MOST_PANICS {
        assert_eq!(bench.door(), "unavailable");
    }
    // From the last panic on, with no moment between.
    assert_eq!(bench.door(), "unavailable");
    eventually("the alarm", || bench.has_alarm("plugin_crashed.door"));
    eventually("the end", || !bench.is_active("door"));
    assert_eq!(bench.auth(), [("door".into(), "unavailable".into())]);
    assert_eq!(bench.acl(), "unavailable");
    // Loading it again opens the door when it works, and keeps it shut when it does not start.
    broken.store(false, Ordering::Relaxed);
    bench.manager.load("door").unwrap();
    assert_eq!(bench.auth().len(), 2);
    assert_eq!(
        (bench.door(), bench.acl()),
        ("allow".into(), "allow".into())
    );
    eventually("the alarm's end", || {
        !bench.has_alarm("plugin_crashed.door")
    });
    // Or the operator does without it.
    broken.store(true, Ordering::Relaxed);
    for _ in 0..MOST_PANICS {
        bench.door();
    }
    eventually("the end", || !bench.is_active("door"));
    assert_eq!(bench.door(), "unavailable");
    bench.manager.unload("door").unwrap();
    assert_eq!(
        bench.auth(),
        [("mqtt.allow_anonymous".into(), "allow".into())]
    );
    assert_eq!(bench.loaded_file(), "");
}

#[test]
fn when_the_broker_stops_the_door_stays_shut() {
    let bench = Bench::new(vec![
        simple("door", |ctx| ctx.auth(0, Says(AuthAnswer::Ignore))).guard(),
    ]);
    bench.manager.load("door").unwrap();
    assert_eq!(bench.door(), "allow");
    bench.manager.stop();
    assert_eq!(bench.door(), "unavailable");
    assert!(!bench.has_alarm("plugin_crashed.door"));
}

#[test]
fn a_guard_that_cannot_start_stops_the_boot() {
    let plugins = || {
        vec![
            plugin("emq_auth_username", |_| Err("no users".into())).guard(),
            plugin("emq_modules", |_| Err("no rules".into())),
            simple("fine", |_| {}),
        ]
    };
    let loaded = "emq_modules.\nemq_auth_username.\nfine.\n";
    let bench = Tree::with(plugins()).loaded(loaded).open();
    let errors = bench.manager.boot().unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("emq_auth_username cannot be started: no users"));
    assert!(errors[0].contains("plugins.on_failure = continue"));
    assert!(!bench.is_active("fine"));

    let bench = Tree::with(plugins())
        .loaded(loaded)
        .key("plugins.on_failure = continue")
        .open();
    let warnings = bench.manager.boot().unwrap();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("emq_modules cannot be started: no rules"));
    assert!(warnings[1].contains("as plugins.on_failure says"));
    assert!(bench.is_active("fine"));
    assert_eq!(bench.loaded_file(), loaded);
}

#[test]
fn a_library_that_cannot_be_opened_may_have_been_a_guard() {
    let bench = Tree::default()
        .file("plugins/strange.so", "")
        .loaded("strange.\n")
        .open();
    let errors = bench.manager.boot().unwrap_err();
    assert!(
        errors[0].contains("strange.so: not a library"),
        "{errors:?}"
    );
}

#[test]
fn slow_calls_are_counted_where_others_wait() {
    let slow = |site: Site| {
        let (guard, _) = guard();
        // There is nothing to wait for: what is measured is time.
        guard.call(site, || thread::sleep(SLOW * 4));
        guard.figures()
    };
    let calls = |slow| Calls {
        calls: 1,
        slow,
        ..Calls::default()
    };
    assert_eq!(slow(Site::MessagePublish), calls(1));
    assert_eq!(slow(Site::Auth), calls(1));
    assert_eq!(slow(Site::Command), calls(0));
}

#[test]
fn a_closed_guard_calls_nothing_and_says_so_once() {
    let (guard, notes) = guard();
    let calls = AtomicUsize::new(0);
    for _ in 0..2 * MOST_PANICS {
        guard.call(Site::Auth, || {
            calls.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose");
        });
    }
    assert_eq!(calls.load(Ordering::Relaxed), MOST_PANICS);
    assert_eq!(*notes.0.lock(), ["crashed p"]);
    // What is thrown need not be a text, and dropping it may panic again.
    struct Nasty;
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let (guard, _) = self::guard();
    assert_eq!(
        guard.call(Site::Auth, || std::panic::panic_any(Nasty)),
        None::<()>
    );
}

#[test]
fn registering_after_the_end_does_nothing() {
    let kept: Arc<Mutex<Option<Context>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let bench = Bench::new(vec![simple("late", move |ctx| {
        *keep.lock() = Some(ctx.clone());
    })]);
    bench.manager.load("late").unwrap();
    bench.manager.unload("late").unwrap();
    let ctx = kept.lock().take().unwrap();
    ctx.auth(0, Says(AuthAnswer::Deny));
    ctx.acl(0, Says(AclAnswer::Deny));
    ctx.hooks(0, OnSession(|| panic!("too late")));
    ctx.command("late", &[], |_| Reply::Usage);
    ctx.alarm("late", Severity::Error, "t", Some("s"));
    assert!(ctx.spawn(async {}).is_finished() || ctx.retain(None).is_err());
    assert_eq!(
        (bench.door(), bench.acl()),
        ("allow".into(), "allow".into())
    );
    bench.session_created();
    assert!(!bench.cli.has("late"));
    assert!(!bench.has_alarm("late"));
}
