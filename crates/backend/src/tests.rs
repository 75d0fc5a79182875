//! Door and pool before a server in memory that comes, goes and hangs.

#![allow(clippy::unwrap_used)]

use crate::{
    Backend, Broken, Checker, Connector, Credentials, Door, Fault, Health, Pool, Question,
    Settings, Trace,
};
use emqttd_plugin_sdk::testing::{FakeBroker, client};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AuthAnswer, Client, Config, Context, Descriptor, Plugin, StartError,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ALLOWED: AuthAnswer = AuthAnswer::Allow { superuser: false };

/// What the server does with connections and questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    /// refuses connections and has closed those there were
    Gone,
    /// takes questions and says nothing
    Hangs,
    /// has an error for each question
    Complains,
}

#[derive(Debug)]
struct Server {
    mood: Mutex<Mood>,
    /// connections made in an earlier life are closed
    life: AtomicUsize,
    connects: AtomicUsize,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Server {
    fn new(mood: Mood) -> Arc<Server> {
        Arc::new(Server {
            mood: Mutex::new(mood),
            life: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn restart(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct ToServer(Arc<Server>);

impl Connector for ToServer {
    type Connection = usize;
    type Query = str;
    type Reply = bool;

    async fn connect(&self) -> Result<usize, String> {
        if self.0.mood() == Mood::Gone {
            return Err("connection refused".into());
        }
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.life.load(Ordering::SeqCst))
    }

    async fn ask(&self, life: &mut usize, query: &str) -> Result<bool, Broken> {
        let server = &self.0;
        if *life != server.life.load(Ordering::SeqCst) {
            return Err(Broken::Connection("closed".into()));
        }
        server.asked.fetch_add(1, Ordering::SeqCst);
        let now = server.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        server.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        server.at_once.fetch_sub(1, Ordering::SeqCst);
        match server.mood() {
            Mood::Answers => Ok(query == "right"),
            Mood::Complains => Err(Broken::Question("there is no such table".into())),
            Mood::Gone => Err(Broken::Connection("closed".into())),
            Mood::Hangs => std::future::pending().await,
        }
    }

    async fn ping(&self, life: &mut usize) -> Result<(), String> {
        self.ask(life, "ping")
            .await
            .map(drop)
            .map_err(|_| String::new())
    }
}

struct ByPool(Pool<ToServer>);

impl Backend for ByPool {
    async fn login(
        &self,
        _: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let right = self.0.ask(&String::from_utf8_lossy(password)).await?;
        trace.note(|| format!("the server says {right}"));
        Ok(if right { ALLOWED } else { AuthAnswer::Deny })
    }

    async fn act(
        &self,
        _: &Question<'_>,
        _: Access,
        topic: &str,
        _: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        match self.0.ask(topic).await? {
            true => Ok(AclAnswer::Allow),
            false => Ok(AclAnswer::Ignore),
        }
    }
}

/// A plugin `asks` before the server, with these keys below `auth.asks`.
fn start(server: &Arc<Server>, pool: usize, pairs: &[(&str, &str)]) -> FakeBroker {
    let server = Arc::clone(server);
    let start = move |ctx: &Context| -> Result<Box<dyn Plugin>, StartError> {
        let settings = Settings::read(&ctx.config(), "auth.asks")?;
        let health = Arc::new(Health::new(ctx, "the server in memory"));
        let pool = Pool::start(ctx, pool, &health, ToServer(Arc::clone(&server)));
        let door = Door::new(ctx, &settings, &health, ByPool(pool)).credentials(Credentials::Given);
        ctx.auth(0, door.clone());
        ctx.acl(0, door);
        Ok(Box::new(()))
    };
    let descriptor = Descriptor::new("asks", "1.0", "Asks a server", start);
    let pairs: Vec<(String, &str)> = pairs
        .iter()
        .map(|(key, value)| (format!("auth.asks.{key}"), *value))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let broker = FakeBroker::new();
    broker.start(&descriptor, Config::of(&pairs)).unwrap();
    broker
}

fn user(name: &str) -> Client {
    let mut client = client("c1");
    client.username = Some(name.into());
    client
}

fn login(broker: &FakeBroker, password: &[u8]) -> AuthAnswer {
    broker.auth(&user("u"), Some(password))
}

fn act(broker: &FakeBroker, topic: &str) -> AclAnswer {
    broker.acl(&user("u"), Access::Publish, topic)
}

#[test]
fn answers_and_figures() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 2, &[]);
    assert_eq!(login(&broker, b"right"), ALLOWED);
    assert_eq!(login(&broker, b"wrong"), AuthAnswer::Deny);
    assert_eq!(broker.auth(&user("u"), None), AuthAnswer::Deny, "not asked");
    assert_eq!(broker.auth(&client("c1"), Some(b"right")), AuthAnswer::Deny);
    assert_eq!(act(&broker, "right"), AclAnswer::Allow);
    assert_eq!(act(&broker, "other"), AclAnswer::Ignore);
    let dollar = broker.acl(&user("$u"), Access::Publish, "right");
    assert_eq!(dollar, AclAnswer::Ignore, "not asked");
    assert_eq!(server.asked(), 4);
    for (name, wanted) in [
        ("auth/asked", 2),
        ("auth/allowed", 1),
        ("auth/denied", 3),
        ("auth/within_1s", 2),
        ("auth/unavailable", 0),
        ("acl/asked", 2),
        ("acl/allowed", 1),
        ("acl/ignored", 2),
    ] {
        assert_eq!(broker.metric(name), Some(wanted), "{name}");
    }
}

#[test]
fn what_a_person_is_told() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 1, &[]);
    let (answer, story) = broker.explain_auth(&user("u"), Some(b"right"));
    assert_eq!(answer, ALLOWED);
    assert!(story.starts_with("the server says true; "), "{story}");
    assert!(story.ends_with(" ms"), "{story}");
    server.is(Mood::Gone);
    server.restart();
    let (answer, story) = broker.explain_auth(&user("u"), Some(b"right"));
    assert_eq!(answer, AuthAnswer::Unavailable);
    assert!(story.starts_with("connection refused; "), "{story}");
}

#[test]
fn started_before_the_server() {
    let server = Server::new(Mood::Gone);
    let broker = start(&server, 8, &[]);
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(login(&broker, b"right"), AuthAnswer::Unavailable);
        assert_eq!(act(&broker, "right"), AclAnswer::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits");
    assert_eq!(broker.alarms().len(), 1);
    server.is(Mood::Answers);
    broker.eventually(|| (login(&broker, b"right") == ALLOWED).then_some(()));
    broker.eventually(|| (act(&broker, "right") == AclAnswer::Allow).then_some(()));
    broker.eventually(|| (server.connects.load(Ordering::SeqCst) == 8).then_some(()));
    broker.eventually(|| broker.alarms().is_empty().then_some(()));
}

#[test]
fn restarted_between_two_questions() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 8, &[]);
    broker.eventually(|| (server.connects.load(Ordering::SeqCst) == 8).then_some(()));
    for _ in 0..3 {
        server.restart();
        // Every connection is broken; nobody who asks sees it.
        assert_eq!(login(&broker, b"right"), ALLOWED);
    }
}

#[test]
fn a_server_that_hangs() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 2, &[("timeout", "100ms")]);
    server.is(Mood::Hangs);
    let asked = server.asked();
    let begun = Instant::now();
    let mut slow = 0;
    for _ in 0..100 {
        let one = Instant::now();
        assert_eq!(login(&broker, b"right"), AuthAnswer::Unavailable);
        slow += usize::from(one.elapsed() >= Duration::from_millis(100));
    }
    // Five open the breaker; after that one in a while finds out.
    assert!((5..20).contains(&slow), "{slow} in {:?}", begun.elapsed());
    assert!(server.asked() - asked < 20);
    server.is(Mood::Answers);
    broker.eventually(|| (login(&broker, b"right") == ALLOWED).then_some(()));
}

#[test]
fn a_question_without_an_answer_is_no_outage() {
    let server = Server::new(Mood::Complains);
    let broker = start(&server, 1, &[]);
    for _ in 0..20 {
        assert_eq!(login(&broker, b"right"), AuthAnswer::Unavailable);
    }
    assert_eq!(server.asked(), 20, "each was asked");
    assert_eq!(server.connects.load(Ordering::SeqCst), 1);
    server.is(Mood::Answers);
    assert_eq!(login(&broker, b"right"), ALLOWED, "at once");
}

#[test]
fn what_counts_when_nobody_answers() {
    for (word, auth, acl) in [
        ("deny", AuthAnswer::Unavailable, AclAnswer::Unavailable),
        ("ignore", AuthAnswer::Ignore, AclAnswer::Ignore),
    ] {
        let server = Server::new(Mood::Gone);
        let keys = [("on_unavailable", word), ("acl_on_unavailable", word)];
        let broker = start(&server, 1, &keys);
        assert_eq!(login(&broker, b"right"), auth);
        assert_eq!(act(&broker, "right"), acl);
    }
}

#[test]
fn as_it_was_answered_before() {
    let server = Server::new(Mood::Answers);
    let keys = [
        ("on_unavailable", "cached"),
        ("acl_on_unavailable", "cached"),
    ];
    let broker = start(&server, 1, &keys);
    assert_eq!(login(&broker, b"right"), ALLOWED);
    assert_eq!(act(&broker, "right"), AclAnswer::Allow);
    server.is(Mood::Gone);
    server.restart();
    assert_eq!(login(&broker, b"right"), ALLOWED);
    assert_eq!(act(&broker, "right"), AclAnswer::Allow);
    // What was not asked before is not known.
    assert_eq!(login(&broker, b"wrong"), AuthAnswer::Unavailable);
    assert_eq!(act(&broker, "other"), AclAnswer::Unavailable);
    assert_eq!(
        broker.auth(&user("v"), Some(b"right")),
        AuthAnswer::Unavailable
    );
    broker.acl_cache_clean();
    assert_eq!(act(&broker, "right"), AclAnswer::Unavailable, "made void");
    // A refusal is remembered too, and takes the place of what was allowed.
    server.is(Mood::Answers);
    broker.eventually(|| (login(&broker, b"wrong") == AuthAnswer::Deny).then_some(()));
    server.is(Mood::Gone);
    server.restart();
    assert_eq!(login(&broker, b"wrong"), AuthAnswer::Deny);
    assert_eq!(login(&broker, b"right"), AuthAnswer::Unavailable);
}

#[test]
fn remembered_answers_grow_old() {
    let server = Server::new(Mood::Answers);
    let keys = [("on_unavailable", "cached"), ("cached.ttl", "1ms")];
    let broker = start(&server, 1, &keys);
    assert_eq!(login(&broker, b"right"), ALLOWED);
    server.is(Mood::Gone);
    server.restart();
    broker.eventually(|| (login(&broker, b"right") == AuthAnswer::Unavailable).then_some(()));
}

#[test]
fn nomatch_of_the_oldest_files() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 1, &[("acl_nomatch", "deny")]);
    assert_eq!(act(&broker, "other"), AclAnswer::Deny);
    let broker = start(&server, 1, &[("acl_nomatch", "allow")]);
    assert_eq!(act(&broker, "other"), AclAnswer::Allow);
}

#[test]
fn many_at_once_share_the_connections() {
    let server = Server::new(Mood::Answers);
    let broker = start(&server, 3, &[]);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| assert_eq!(login(&broker, b"right"), ALLOWED));
        }
    });
    assert_eq!(server.asked(), 64);
    assert!(server.most_at_once.load(Ordering::SeqCst) <= 3);
    assert_eq!(server.connects.load(Ordering::SeqCst), 3);
}

#[test]
fn keys_that_make_no_sense() {
    for (key, value) in [("on_unavailable", "maybe"), ("cached.size", "-1")] {
        let key = format!("auth.asks.{key}");
        let config = Config::of(&[(&key, value)]);
        let error = Settings::read(&config, "auth.asks").unwrap_err();
        assert!(
            error.0.starts_with(&format!("{key} (test) takes ")),
            "{error}"
        );
    }
}

/// Compares with a hash that takes long.
struct BySlowHash(Checker);

impl Backend for BySlowHash {
    async fn login(
        &self,
        _: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let stored = b"$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6";
        match self.0.is_right(password, Some(stored), None, trace).await? {
            true => Ok(ALLOWED),
            false => Ok(AuthAnswer::Deny),
        }
    }

    async fn act(
        &self,
        _: &Question<'_>,
        _: Access,
        _: &str,
        _: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        Ok(AclAnswer::Ignore)
    }
}

/// Clients can bring it about that checks take long: nobody gets past them by that, and the server is not to blame.
#[test]
fn a_check_that_takes_too_long() {
    let start = |ctx: &Context| -> Result<Box<dyn Plugin>, StartError> {
        let settings = Settings::read(&ctx.config(), "auth.asks")?;
        let health = Arc::new(Health::new(ctx, "the server in memory"));
        let checker = Checker::new(ctx, "bcrypt".parse().unwrap(), &health);
        ctx.auth(0, Door::new(ctx, &settings, &health, BySlowHash(checker)));
        Ok(Box::new(()))
    };
    let descriptor = Descriptor::new("asks", "1.0", "Asks nobody", start);
    let broker = FakeBroker::new();
    let keys = [
        ("auth.asks.on_unavailable", "ignore"),
        ("auth.asks.timeout", "10ms"),
    ];
    broker.start(&descriptor, Config::of(&keys)).unwrap();
    for n in 0..8 {
        let wrong = format!("wrong {n}");
        let (answer, story) = broker.explain_auth(&user("u"), Some(wrong.as_bytes()));
        assert_eq!(answer, AuthAnswer::Unavailable);
        assert!(
            story.starts_with("the password could not be checked"),
            "{story}"
        );
    }
    assert_eq!(broker.alarms().len(), 0);
}
