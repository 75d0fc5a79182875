//! Answers that take their time or never come, and calls under way while their plugin is unloaded.

use super::bench::*;
use super::failures::guard;
use crate::wrap::GuardedAuth;
use emqttd_management::PluginControl;
use emqttd_plugin_sdk::{AuthAnswer, AuthProvider, Client, DynAuth, HookPoint, Plugin, Reply};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// A provider whose answer a test decides on.
struct Slow(Arc<Mutex<Vec<tokio::sync::oneshot::Sender<AuthAnswer>>>>);

impl AuthProvider for Slow {
    async fn check(&self, _: &Client, _: Option<&[u8]>) -> AuthAnswer {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.0.lock().push(sender);
        answer.await.unwrap_or(AuthAnswer::Unavailable)
    }
}

#[test]
fn an_answer_that_does_not_come_is_no() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (guard, _) = guard();
    let asked = Arc::default();
    let provider = |patience| {
        Arc::new(GuardedAuth {
            guard: Arc::clone(&guard),
            runtime: runtime.handle().clone(),
            patience,
            inner: Arc::new(Slow(Arc::clone(&asked))),
        })
    };
    let hasty = provider(Duration::from_millis(20));
    let question = hasty.check(Arc::new(a_client()), None);
    assert_eq!(runtime.block_on(question), AuthAnswer::Unavailable);
    assert_eq!(guard.figures().timeouts, 1);
    let provider = provider(Duration::from_secs(60));
    // One that does come is passed on, and one of a plugin that has been closed is not waited for.
    let question = Arc::clone(&provider).check(Arc::new(a_client()), None);
    let answered = runtime.spawn(question);
    eventually("the question", || asked.lock().len() == 2);
    asked.lock().pop().unwrap().send(AuthAnswer::Deny).unwrap();
    assert_eq!(runtime.block_on(answered).unwrap(), AuthAnswer::Deny);
    let question = Arc::clone(&provider).check(Arc::new(a_client()), None);
    guard.close();
    assert_eq!(runtime.block_on(question), AuthAnswer::Unavailable);
    assert_eq!(Arc::strong_count(&provider), 1);
}

#[test]
fn unloading_waits_for_questions_under_way() {
    struct Stops(Arc<AtomicBool>);
    impl Plugin for Stops {
        fn stop(&self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (asked, stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let (ask, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
    let bench = Bench::new(vec![plugin("slow", move |ctx| {
        ctx.auth(0, Slow(Arc::clone(&ask)));
        ctx.command("slow", &[], |_| Reply::Usage);
        Ok(Box::new(Stops(Arc::clone(&stop))))
    })]);
    bench.manager.load("slow").unwrap();
    thread::scope(|scope| {
        let door = scope.spawn(|| bench.door());
        eventually("the question", || asked.lock().len() == 1);
        let unloading = scope.spawn(|| bench.manager.unload("slow").unwrap());
        // New ones do not find it any more. Commands go last.
        eventually("the chain without it", || !bench.cli.has("slow"));
        assert_eq!(bench.door(), "allow");
        assert!(!stopped.load(Ordering::Acquire));
        let sender: tokio::sync::oneshot::Sender<AuthAnswer> = asked.lock().pop().unwrap();
        sender.send(AuthAnswer::Deny).unwrap();
        assert_eq!(door.join().unwrap(), "deny");
        assert_eq!(unloading.join().unwrap().notes, [""; 0]);
    });
    assert!(stopped.load(Ordering::Acquire));
}

/// Hooks in which a test can hold a thread.
fn held() -> (impl Fn() + Send + Sync, Receiver<()>, Sender<()>) {
    let (entered, inside) = channel();
    let (go, gate) = channel::<()>();
    let (entered, gate) = (Mutex::new(entered), Mutex::new(gate));
    let hold = move || {
        entered.lock().send(()).unwrap();
        let _ = gate.lock().recv();
    };
    (hold, inside, go)
}

#[test]
fn unloading_waits_for_hooks_under_way() {
    let (hold, inside, go) = held();
    let hold = Arc::new(hold);
    let bench = Bench::new(vec![simple("slow", move |ctx| {
        let hold = Arc::clone(&hold);
        ctx.hooks(0, OnSession(move || hold()));
    })]);
    bench.manager.load("slow").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| bench.session_created());
        inside.recv().unwrap();
        let unloading = scope.spawn(|| bench.manager.unload("slow").unwrap());
        let hooks = bench.broker.hooks();
        eventually("the table without it", || {
            !hooks.has(HookPoint::SessionCreated)
        });
        assert!(bench.is_active("slow"));
        go.send(()).unwrap();
        assert_eq!(unloading.join().unwrap().notes, [""; 0]);
    });
    assert!(!bench.is_active("slow"));
}

#[test]
fn a_call_that_never_returns_is_seen_and_its_plugin_can_be_unloaded() {
    let (hold, inside, go) = held();
    let hold = Arc::new(hold);
    let bench = Bench::new(vec![simple("stuck", move |ctx| {
        let hold = Arc::clone(&hold);
        ctx.hooks(0, OnSession(move || hold()));
    })]);
    bench.manager.load("stuck").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| bench.session_created());
        inside.recv().unwrap();
        eventually("the alarm", || bench.has_alarm("plugin_blocked.stuck"));
        let done = bench.manager.unload("stuck").unwrap();
        assert!(
            done.notes[0].contains("its code stays in memory"),
            "{:?}",
            done.notes
        );
        assert!(!bench.is_active("stuck"));
        // Others are none the worse for it.
        bench.session_created();
        go.send(()).unwrap();
    });
    eventually("the alarm's end", || {
        !bench.has_alarm("plugin_blocked.stuck")
    });
}

#[test]
fn a_task_that_holds_its_thread_is_seen() {
    let (hold, inside, go) = held();
    let hold = Arc::new(hold);
    let gateway = plugin("greedy", move |ctx| {
        let hold = Arc::clone(&hold);
        ctx.spawn(async move { hold() });
        Ok(Box::new(()))
    });
    let bench = Bench::new(vec![gateway.gateway()]);
    bench.manager.load("greedy").unwrap();
    inside.recv().unwrap();
    eventually("the alarm", || bench.has_alarm("plugin_blocked.greedy"));
    go.send(()).unwrap();
    eventually("the alarm's end", || {
        !bench.has_alarm("plugin_blocked.greedy")
    });
}
