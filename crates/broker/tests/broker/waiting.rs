//! Providers that need time to answer: who asks waits, nobody else, and nothing is done twice.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::Executor;
use emqttd_mqtt::{Property, Version};
use emqttd_plugin_sdk::{
    self as sdk, Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, BoxFuture, DynAcl,
    DynAuth,
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Polls nothing until it is told to.
#[derive(Default)]
struct Held(Mutex<Vec<BoxFuture<()>>>);

impl Executor for Held {
    fn spawn(&self, future: BoxFuture<()>) {
        self.0.lock().unwrap().push(future);
    }
}

impl Held {
    fn poll(&self) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap());
        for mut future in waiting {
            let mut context = Context::from_waker(Waker::noop());
            if future.as_mut().poll(&mut context).is_pending() {
                self.0.lock().unwrap().push(future);
            }
        }
    }
}

/// Asked questions, and the answers that are given to them in turn.
#[derive(Default)]
struct Oracle {
    asked: Mutex<Vec<String>>,
    answers: Mutex<VecDeque<bool>>,
}

impl Oracle {
    async fn ask(&self, question: String) -> bool {
        self.asked.lock().unwrap().push(question);
        poll_fn(|_| match self.answers.lock().unwrap().pop_front() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }
}

struct Auth(Arc<Oracle>);

impl AuthProvider for Auth {
    async fn check(&self, client: &sdk::Client, password: Option<&[u8]>) -> AuthAnswer {
        let password = String::from_utf8_lossy(password.unwrap_or(b"-")).into_owned();
        match self.0.ask(format!("{} {password}", client.clientid)).await {
            true => AuthAnswer::Allow { superuser: false },
            false => AuthAnswer::Deny,
        }
    }
}

struct Acl(Arc<Oracle>);

impl AclProvider for Acl {
    async fn check(&self, client: &sdk::Client, access: Access, topic: &str) -> AclAnswer {
        let question = format!("{} {access:?} {topic}", client.clientid);
        match self.0.ask(question).await {
            true => AclAnswer::Allow,
            false => AclAnswer::Deny,
        }
    }
}

struct World {
    net: Net,
    held: Arc<Held>,
    oracle: Arc<Oracle>,
    acl: Arc<dyn DynAcl>,
}

impl World {
    fn new(shards: usize) -> World {
        let net = Net::new(shards);
        let (held, oracle) = (Arc::new(Held::default()), Arc::new(Oracle::default()));
        net.broker.access().set_executor(held.clone());
        let acl: Arc<dyn DynAcl> = Arc::new(Acl(Arc::clone(&oracle)));
        World {
            net,
            held,
            oracle,
            acl,
        }
    }

    fn with_auth(self) -> World {
        let auth: Arc<dyn DynAuth> = Arc::new(Auth(Arc::clone(&self.oracle)));
        self.net.broker.access().add_auth(0, "slow", &auth);
        self
    }

    fn with_acl(self) -> World {
        self.net.broker.access().add_acl(0, "slow", &self.acl);
        self
    }

    /// Gives the answers and lets the broker work.
    fn answer(&mut self, answers: &[bool]) {
        self.oracle.answers.lock().unwrap().extend(answers);
        self.held.poll();
        self.net.run();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.oracle.asked.lock().unwrap())
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.net.broker.all_metrics();
        let found = metrics.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no metric {name}")).1
    }

    fn connect(&mut self, connect: &Connect) -> (Client, Vec<Got>) {
        let client = self.net.open(0);
        let got = self.net.connect_on(client, connect);
        (client, got)
    }
}

fn connack(got: &[Got]) -> Option<u8> {
    match got {
        [Got::ConnAck { code, .. }, ..] => Some(*code),
        _ => None,
    }
}

#[test]
fn connect_waits_for_its_answer_and_others_do_not_wait_for_it() {
    let mut world = World::new(2);
    let other = world.net.connect(&Connect::v3("other"));
    let mut world = world.with_auth();
    for (allowed, code) in [(true, 0), (false, 4)] {
        let (client, got) = world.connect(&Connect::v3("c").user("u", "pw"));
        assert_eq!(got, []);
        assert_eq!(world.net.publish(other, "t", "x", 1), Some(0));
        world.answer(&[allowed]);
        let got = world.net.take(client);
        assert_eq!(connack(&got), Some(code));
        assert_eq!(world.asked(), ["c pw"], "asked once");
    }
    assert_eq!(world.metric("packets/connect"), 3, "counted once each");
}

#[test]
fn what_follows_a_waiting_connect_is_used_after_it_and_a_given_out_id_stays() {
    let mut world = World::new(2).with_auth();
    let client = world.net.open(0);
    let mut bytes = Connect::v5("").bytes();
    bytes.extend(subscribe(Version::V5, 1, &[("t", 1)]));
    world.net.put(client, &bytes);
    world.net.connect_on(client, &Connect::v5(""));
    assert_eq!(world.asked().len(), 1);
    world.answer(&[true]);
    let got = world.net.take(client);
    let Got::ConnAck { code: 0, .. } = &got[0] else {
        panic!("{got:?}");
    };
    assert!(world.asked().is_empty(), "the second CONNECT was an error");
}

#[test]
fn an_answer_for_a_client_that_is_gone_is_nobodys() {
    let mut world = World::new(1).with_auth();
    let (gone, _) = world.connect(&Connect::v3("gone"));
    world.net.lose(gone);
    let (next, _) = world.connect(&Connect::v3("next"));
    // The first answer is for the one that is gone, whose place the second has.
    world.answer(&[true]);
    assert_eq!(world.net.take(next), []);
    world.answer(&[false]);
    assert_eq!(connack(&world.net.take(next)), Some(4));
    assert!(world.net.broker.clients().is_empty() || world.net.closed(next).is_some());
}

#[test]
fn a_waiting_publish_keeps_its_place_and_is_asked_about_once() {
    let mut world = World::new(2);
    let watcher = world.net.connect(&Connect::v3("watcher"));
    world.net.subscribe(watcher, "#", 0);
    let client = world.net.connect(&Connect::v5("c"));
    let mut world = world.with_acl();
    world.answer(&[true]);
    world.asked();
    world.oracle.answers.lock().unwrap().clear();
    let mut bytes = Vec::new();
    for (n, topic) in ["a", "a", "no", "a", "b"].iter().enumerate() {
        bytes.extend(publish(
            Version::V5,
            topic,
            n.to_string().as_bytes(),
            1,
            false,
            n as u16 + 1,
            &[],
        ));
    }
    world.net.send(client, &bytes);
    assert_eq!(world.asked(), ["c Publish a"]);
    assert_eq!(world.net.payloads(watcher), [""; 0]);
    world.answer(&[true]);
    assert_eq!(world.asked(), ["c Publish no"]);
    assert_eq!(world.net.payloads(watcher), ["0", "1"]);
    world.answer(&[false]);
    world.answer(&[true]);
    assert_eq!(world.asked(), ["c Publish b"], "a is remembered");
    assert_eq!(world.net.payloads(watcher), ["3", "4"]);
    let reasons: Vec<u8> = world
        .net
        .take(client)
        .iter()
        .map(|got| match got {
            Got::PubAck(_, reason) => *reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, [0, 0, 0x87, 0, 0]);
    assert_eq!(world.metric("messages/qos1/received"), 5);
}

#[test]
fn a_subscribe_waits_for_all_its_filters() {
    let mut world = World::new(1);
    let client = world.net.connect(&Connect::v5("c"));
    let mut world = world.with_acl();
    world.net.send(
        client,
        &subscribe(Version::V5, 7, &[("a", 1), ("b", 1), ("c", 0)]),
    );
    assert_eq!(
        world.asked(),
        ["c Subscribe a", "c Subscribe b", "c Subscribe c"]
    );
    world.answer(&[true, false]);
    assert_eq!(world.net.take(client), []);
    world.answer(&[true]);
    assert_eq!(world.net.take(client), [Got::SubAck(7, vec![1, 0x87, 0])]);
    assert!(world.asked().is_empty());
    assert_eq!(world.metric("packets/subscribe"), 1);
}

#[test]
fn a_will_waits_for_its_answer() {
    for delay in [0, 5] {
        let mut world = World::new(1);
        let watcher = world.net.connect(&Connect::v3("watcher"));
        world.net.subscribe(watcher, "w", 0);
        let dying = |id: &str| Connect::v5(id).keep().expiry(60).will("w", id, 0, false);
        let clients = ["yes", "no"].map(|id| {
            let connect = dying(id).will_property(Property::WillDelayInterval(delay));
            world.net.connect(&connect)
        });
        let mut world = world.with_acl();
        for client in clients {
            world.net.lose(client);
        }
        assert_eq!(world.asked(), ["yes Publish w", "no Publish w"]);
        assert_eq!(world.net.payloads(watcher), [""; 0]);
        world.answer(&[true, false]);
        world.net.advance(10_000);
        assert_eq!(world.net.payloads(watcher), ["yes"]);
    }
}

#[test]
fn rights_that_are_taken_away_end_subscriptions_when_the_answer_is_there() {
    let mut world = World::new(2);
    let client = world.net.connect(&Connect::v3("c"));
    world.net.subscribe(client, "a", 1);
    world.net.subscribe(client, "b", 1);
    let mut world = world.with_acl();
    world.net.broker.post_forget();
    world.net.run();
    assert_eq!(world.oracle.asked.lock().unwrap().len(), 1);
    assert!(world.net.broker.has_route("a") && world.net.broker.has_route("b"));
    world.answer(&[false, false]);
    let mut asked = world.asked();
    asked.sort();
    assert_eq!(
        asked,
        ["c Subscribe a", "c Subscribe b"],
        "one after the other"
    );
    assert!(!world.net.broker.has_route("a") && !world.net.broker.has_route("b"));
}

#[test]
fn a_session_is_resumed_only_when_all_answers_are_there() {
    let mut world = World::new(1);
    let kept = || Connect::v5("c").keep().expiry(1000);
    let client = world.net.connect(&kept());
    world.net.subscribe(client, "mine", 1);
    world.net.subscribe(client, "theirs", 1);
    world.net.lose(client);
    let other = world.net.connect(&Connect::v3("other"));
    world.net.publish(other, "mine", "1", 1);
    world.net.publish(other, "theirs", "2", 1);
    let mut world = world.with_acl();
    let (client, got) = world.connect(&kept());
    assert_eq!(got, [], "nothing before the rights are known");
    let asked = world.asked();
    assert_eq!(asked.len(), 2);
    let answers: Vec<bool> = asked.iter().map(|q| q.ends_with("mine")).collect();
    world.answer(&answers);
    let got = world.net.take(client);
    assert_eq!(connack(&got), Some(0));
    let topics: Vec<&str> = got
        .iter()
        .filter_map(|got| match got {
            Got::Publish(publish) => Some(publish.topic.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(topics, ["mine"]);
    assert!(!world.net.broker.has_route("theirs"));
}

/// Says always the same, at once.
struct Says(AclAnswer);

impl AclProvider for Says {
    async fn check(&self, _: &sdk::Client, _: Access, _: &str) -> AclAnswer {
        self.0
    }
}

impl World {
    /// Another provider comes in the place of the one that takes its time.
    fn replace_acl(&mut self, answer: AclAnswer) -> Arc<dyn DynAcl> {
        let new: Arc<dyn DynAcl> = Arc::new(Says(answer));
        self.net.broker.access().replace_acl(&self.acl, &new);
        self.net.broker.post_forget();
        self.net.run();
        std::mem::replace(&mut self.acl, new)
    }
}

#[test]
fn a_late_answer_of_a_chain_that_has_changed_counts_nothing() {
    let mut world = World::new(1);
    let kept = || Connect::v5("kept").keep().expiry(1000);
    let client = world.net.connect(&kept());
    world.net.subscribe(client, "old", 1);
    world.net.lose(client);
    let [publisher, subscriber] = ["p", "s"].map(|id| world.net.connect(&Connect::v5(id)));
    let mut world = world.with_acl();
    world
        .net
        .send(publisher, &publish(Version::V5, "t", b"", 1, false, 1, &[]));
    world
        .net
        .send(subscriber, &subscribe(Version::V5, 7, &[("new", 1)]));
    let (resuming, _) = world.connect(&kept());
    assert_eq!(world.asked().len(), 3);
    world.replace_acl(AclAnswer::Deny);
    world.answer(&[true, true, true]);
    assert_eq!(world.net.take(publisher), [Got::PubAck(1, 0x87)]);
    assert_eq!(world.net.take(subscriber), [Got::SubAck(7, vec![0x87])]);
    assert_eq!(connack(&world.net.take(resuming)), Some(0));
    assert!(!world.net.broker.has_route("old") && !world.net.broker.has_route("new"));
}

/// It may have been read before the rights were changed.
#[test]
fn a_late_answer_counts_nothing_when_decisions_were_cleaned_meanwhile() {
    type Clean = fn(&emqttd_broker::Broker);
    let clean: [Clean; 2] = [
        |broker| drop(broker.clean_acl_cache_of("c")),
        |broker| drop(broker.clean_acl_cache_about("t")),
    ];
    for clean in clean {
        let mut world = World::new(1);
        let client = world.net.connect(&Connect::v5("c"));
        let mut world = world.with_acl();
        let bytes = publish(Version::V5, "t", b"", 1, false, 1, &[]);
        world.net.send(client, &bytes);
        assert_eq!(world.asked(), ["c Publish t"]);
        world.net.admin(clean);
        world.answer(&[true]);
        assert_eq!(world.net.take(client), []);
        assert_eq!(world.asked(), ["c Publish t"]);
        world.answer(&[false]);
        assert_eq!(world.net.take(client), [Got::PubAck(1, 0x87)]);
    }
    // Who is coming in is one of them.
    let mut world = World::new(1);
    let kept = || Connect::v5("c").keep().expiry(1000);
    let client = world.net.connect(&kept());
    world.net.subscribe(client, "t", 1);
    world.net.lose(client);
    let mut world = world.with_acl();
    let (client, _) = world.connect(&kept());
    assert_eq!(world.asked(), ["c Subscribe t"]);
    assert_eq!(world.net.admin(|b| b.clean_acl_cache_of("c")), Ok(()));
    world.answer(&[true]);
    assert_eq!(world.asked(), ["c Subscribe t"]);
    world.answer(&[false]);
    assert_eq!(connack(&world.net.take(client)), Some(0));
    assert!(!world.net.broker.has_route("t"));
}

#[test]
fn who_asked_to_come_in_is_asked_about_again_when_the_chain_has_changed() {
    let mut world = World::new(1).with_auth();
    let (client, _) = world.connect(&Connect::v3("c"));
    struct Deny;
    impl AuthProvider for Deny {
        async fn check(&self, _: &sdk::Client, _: Option<&[u8]>) -> AuthAnswer {
            AuthAnswer::Deny
        }
    }
    let guard: Arc<dyn DynAuth> = Arc::new(Deny);
    world.net.broker.access().add_auth(1, "guard", &guard);
    world.answer(&[true]);
    assert_eq!(connack(&world.net.take(client)), Some(4));
}

#[test]
fn what_nobody_can_say_refuses_what_is_new_and_leaves_what_is_there() {
    let mut world = World::new(1);
    let client = world.net.connect(&Connect::v5("c").keep().expiry(1000));
    world.net.subscribe(client, "a", 1);
    let mut world = world.with_acl();
    world.replace_acl(AclAnswer::Unavailable);
    assert!(world.net.broker.has_route("a"));
    assert_eq!(world.net.subscribe(client, "b", 1), 0x87);
    assert_eq!(world.net.publish(client, "t", "x", 1), Some(0x87));
    // It is not let in to its session, which stays as it is, for rights cannot be looked at.
    world.net.lose(client);
    world.net.broker.post_forget();
    let (client, got) = world.connect(&Connect::v5("c").keep().expiry(1000));
    assert_eq!(connack(&got), Some(0x88));
    assert!(world.net.broker.has_route("a") && world.net.closed(client).is_some());
    world.replace_acl(AclAnswer::Allow);
    let (client, got) = world.connect(&Connect::v5("c").keep().expiry(1000));
    assert!(matches!(
        got[..],
        [Got::ConnAck {
            present: true,
            code: 0,
            ..
        }]
    ));
    assert_eq!(world.net.publish(client, "a", "x", 1), Some(0));
}

#[test]
fn what_nobody_could_say_is_asked_again() {
    let mut world = World::new(1);
    let client = world.net.connect(&Connect::v5("c"));
    world.net.subscribe(client, "a", 1);
    let mut world = world.with_acl();
    world.replace_acl(AclAnswer::Unavailable);
    assert!(world.net.broker.has_route("a"));
    // No `post_forget` here: nobody says that the answer is another now.
    let new: Arc<dyn DynAcl> = Arc::new(Says(AclAnswer::Deny));
    world.net.broker.access().replace_acl(&world.acl, &new);
    world.net.advance(10_000);
    assert!(!world.net.broker.has_route("a"));
}

#[test]
fn many_filters_are_asked_about_once_each_and_side_by_side() {
    let mut world = World::new(1);
    let client = world.net.connect(&Connect::v5("c"));
    let mut world = world.with_acl();
    let names: Vec<String> = (0..4000).map(|n| format!("{n:04}")).collect();
    let filters = names.iter().chain(&names);
    let filters: Vec<(&str, u8)> = filters.map(|name| (name.as_str(), 0)).collect();
    world.net.send(client, &subscribe(Version::V5, 7, &filters));
    let first = world.asked().len();
    assert_eq!(first, 8);
    while world.net.take(client).is_empty() {
        world.answer(&[true; 500]);
        if world.net.broker.has_route("3999") {
            break;
        }
    }
    assert_eq!(first + world.asked().len(), names.len());
}

#[test]
fn an_exchange_waits_for_the_rights_of_the_session_too() {
    struct Open;
    impl sdk::AuthMechanism for Open {
        fn method(&self) -> &str {
            "OPEN"
        }
        fn begin(&self, _: &sdk::Client) -> Box<dyn sdk::Exchange> {
            Box::new(Opens)
        }
    }
    struct Opens;
    impl sdk::Exchange for Opens {
        fn step(&mut self, data: &[u8]) -> sdk::ExchangeStep {
            match data {
                b"long" => sdk::ExchangeStep::Continue(b"go on".to_vec()),
                _ => sdk::ExchangeStep::Success {
                    data: b"done".to_vec(),
                    superuser: false,
                },
            }
        }
    }
    for data in [b"short".as_slice(), b"long"] {
        let mut world = World::new(1);
        let mechanism: Arc<dyn sdk::AuthMechanism> = Arc::new(Open);
        world.net.broker.access().add_mechanism(&mechanism);
        let kept = |data: &[u8]| {
            Connect::v5("c")
                .keep()
                .expiry(1000)
                .property(Property::AuthenticationMethod("OPEN"))
                .property(Property::AuthenticationData(data))
        };
        let (client, _) = world.connect(&kept(b"short"));
        world.net.subscribe(client, "a", 1);
        world.net.lose(client);
        let other = world.net.connect(&Connect::v3("other"));
        world.net.publish(other, "a", "secret", 1);
        let mut world = world.with_acl();
        let (client, got) = world.connect(&kept(data));
        if data == b"long" {
            assert!(
                matches!(got[..], [Got::Auth { reason: 0x18, .. }]),
                "{got:?}"
            );
            world.net.send(client, &auth(0x18, Some("OPEN"), b"x"));
            assert_eq!(world.net.take(client), []);
        } else {
            assert_eq!(got, []);
        }
        assert_eq!(world.asked(), ["c Subscribe a"]);
        world.answer(&[false]);
        let got = world.net.take(client);
        assert!(
            matches!(
                got[..],
                [Got::ConnAck {
                    present: true,
                    code: 0,
                    ..
                }]
            ),
            "{got:?}"
        );
        assert_eq!(world.net.publish(other, "x", "y", 0), None);
        world.net.send(client, PINGREQ);
        assert_eq!(world.net.take(client), [Got::PingResp]);
    }
}

#[test]
fn waiting_is_no_silence_of_the_client() {
    let mut world = World::new(1);
    let client = world.net.connect(&Connect::v3("c").keep_alive(2));
    let mut world = world.with_acl();
    world
        .net
        .send(client, &subscribe(Version::V311, 1, &[("a", 1)]));
    world.net.advance(10_000);
    assert_eq!(world.net.closed(client), None);
    world.answer(&[true]);
    assert_eq!(world.net.take(client).len(), 1);
    world.net.advance(10_000);
    assert_eq!(world.net.closed(client), Some("keepalive_timeout"));
}

#[test]
fn without_an_executor_a_thread_waits() {
    struct Sleepy;
    impl AuthProvider for Sleepy {
        async fn check(&self, _: &sdk::Client, _: Option<&[u8]>) -> AuthAnswer {
            let mut polled = false;
            poll_fn(move |context| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            AuthAnswer::Allow { superuser: false }
        }
    }
    let mut net = Net::new(1);
    let auth: Arc<dyn DynAuth> = Arc::new(Sleepy);
    net.broker.access().add_auth(0, "sleepy", &auth);
    let client = net.open(0);
    let mut got = net.connect_on(client, &Connect::v3("c"));
    while got.is_empty() {
        std::thread::yield_now();
        net.run();
        got = net.take(client);
    }
    assert_eq!(connack(&got), Some(0));
    let steps = net.broker.auth_test("c", None, None, [127, 0, 0, 1].into());
    assert_eq!((&*steps[0].module, &*steps[0].answer), ("sleepy", "allow"));
}
