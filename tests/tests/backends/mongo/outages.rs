//! What happens when the server is not there, goes, comes back, or says nothing; and many clients at once.

use super::relay::Relay;
use super::stub::Stub;
use super::*;
use emqttd_tests::ALL;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The broker gives nobody more than five seconds; the rest is for a machine that compiles beside us.
const LONGEST: Duration = Duration::from_secs(15);

fn one_user() -> String {
    format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#)
}

/// All versions are told that it is not their fault.
#[track_caller]
fn unavailable(broker: &Broker) {
    for (version, code) in ALL.into_iter().zip(UNAVAILABLE) {
        assert_eq!(
            answer(broker, &connect(version, "u", "public")),
            code,
            "{version}"
        );
    }
}

#[test]
fn the_server_comes_after_the_plugin() {
    let Some(mongo) = Mongo::own() else { return };
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &one_user());
    mongo.kill();
    let broker = Broker::start(config(&format!("{}{QUERIES}", keys(&mongo, &database))));
    assert!(broker.is_active(PLUGIN));
    let log = broker.log();
    assert!(
        log.contains(&format!("MongoDB server {}", mongo.address())),
        "{log}"
    );
    unavailable(&broker);
    mongo.start_again();
    eventually("logins work without a reload", || {
        login(&broker, "u", "public") == 0
    });
    eventually("that is told", || broker.log().contains("answers again"));
    refused(&broker, "u", "x");
}

#[test]
fn killed_and_restarted_while_clients_connect() {
    let Some(mongo) = Mongo::own() else { return };
    let rules = r#"[{"username": "u", "pubsub": ["t"]}]"#;
    let broker = site(&mongo, &one_user(), rules, "");
    let mut before = user(&broker, "u");
    before.sub("t", 1);
    assert!(may_publish(&mut before, "t"));
    before.expect("t", "x");
    let (over, broken) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match login(&broker, "u", "public") {
                        0 => {}
                        3 => broken.store(true, Ordering::Relaxed),
                        other => panic!("CONNACK {other}"),
                    }
                    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
                }
            });
        }
        mongo.kill();
        eventually("who connects is told", || broken.load(Ordering::Relaxed));
        // Who was there stays, keeps its subscriptions, and what was decided is decided.
        before.ping();
        assert!(may_publish(&mut before, "t"));
        before.expect("t", "x");
        assert!(!may_publish(&mut before, "new"), "nothing new is allowed");
        mongo.start_again();
        eventually("logins work again", || login(&broker, "u", "public") == 0);
        over.store(true, Ordering::Relaxed);
    });
    eventually("rules are asked for again", || {
        acl_test(&broker, "u", "publish", "t").contains("a document allows it")
    });
    before.ping();
    assert!(metric(&broker, "auth/unavailable") > 0);
}

#[test]
fn a_server_that_hangs() {
    let Some(mongo) = Mongo::own() else { return };
    let rules = r#"[{"username": "u", "pubsub": ["t"]}]"#;
    let broker = site(&mongo, &one_user(), rules, "auth.mongo.timeout = 500ms\n");
    let mut before = user(&broker, "u");
    before.sub("t", 1);
    assert!(may_publish(&mut before, "t"));
    before.expect("t", "x");
    mongo.hang();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let begun = Instant::now();
                assert_eq!(login(&broker, "u", "public"), 3);
                assert!(begun.elapsed() < LONGEST);
            });
        }
        // Nobody else waits for that.
        for _ in 0..20 {
            let begun = Instant::now();
            before.ping();
            assert!(may_publish(&mut before, "t"));
            before.expect("t", "x");
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "{:?}",
                begun.elapsed()
            );
        }
    });
    // By now it is left alone: logins do not wait for an answer.
    eventually("the breaker is open", || {
        auth_test(&broker, "u", "public").contains("not asked: ")
    });
    mongo.resume();
    eventually("logins work again", || login(&broker, "u", "public") == 0);
}

/// `on_unavailable` and `acl_on_unavailable`.
#[test]
fn the_answer_without_an_answer() {
    let Some(mongo) = Mongo::own() else { return };
    let database = mongo.fresh_database();
    let users = format!(
        r#"[{{"username": "u", "password": "{PUBLIC}"}}, {{"username": "v", "password": "{PUBLIC}"}}]"#
    );
    mongo.insert(&database, "mqtt_user", &users);
    mongo.insert(
        &database,
        "mqtt_acl",
        r#"[{"username": "u", "publish": ["t", "s"]}]"#,
    );
    let head = format!("{}{QUERIES}", keys(&mongo, &database));
    let start = |word: &str| {
        let more =
            format!("auth.mongo.on_unavailable = {word}\nauth.mongo.acl_on_unavailable = {word}\n");
        // Who is unknown comes in, and what nobody decides is allowed.
        let conf = format!("{head}{more}");
        Broker::start(Config::with_plugin(PLUGIN, &conf).set("mqtt.cache_acl", "false"))
    };
    let brokers = ["deny", "ignore", "cached"].map(|word| {
        let broker = start(word);
        let client = Connect::new(Version::V5, "c1")
            .username("u")
            .password("public");
        let mut client = broker.open(&client);
        assert!(may_publish(&mut client, "t") && !may_publish(&mut client, "no"));
        (word, broker, client)
    });
    mongo.kill();
    for (word, broker, mut client) in brokers {
        let ask = |clientid: &str, name: &str, password: &str| {
            answer(
                &broker,
                &Connect::new(Version::V311, clientid)
                    .username(name)
                    .password(password),
            )
        };
        let (known, unknown) = match word {
            "deny" => (3, 3),
            "ignore" => (0, 0),
            _ => (0, 3),
        };
        // Those that were answered before, and those that were not.
        let publishes = ["t", "no", "s"].map(|topic| may_publish(&mut client, topic));
        assert_eq!(
            publishes,
            match word {
                "deny" => [false, false, false],
                "ignore" => [true, true, true],
                _ => [true, false, false],
            },
            "{word}"
        );
        assert_eq!(ask("c2", "v", "public"), unknown, "{word}");
        assert_eq!(ask("c1", "u", "x"), unknown, "{word}: another password");
        assert_eq!(ask("c1", "u", "public"), known, "{word}");
        if word == "cached" {
            let text = auth_test(&broker, "u", "public");
            assert!(text.contains("as it answered the last time"), "{text}");
        }
    }
}

/// An answer that is an error of this question refuses it, and the server counts as there.
#[test]
fn a_question_that_is_refused() {
    let stub = Stub::sharded(
        1,
        &[bson::doc! {"username": "u", "password": PUBLIC, "is_superuser": true}],
    );
    let head = format!("auth.mongo.server = {}\n{QUERIES}", stub.address(0));
    let forbidden = |query: &str| format!("{head}auth.mongo.{query}.collection = forbidden\n");
    let broker = Broker::start(config(&forbidden("auth_query")));
    for _ in 0..10 {
        assert_eq!(login(&broker, "u", "public"), 3);
    }
    let text = auth_test(&broker, "u", "public");
    assert!(
        text.contains("not authorized") && !text.contains("not asked"),
        "{text}"
    );
    assert!(broker.log().contains("not authorized"), "{}", broker.log());
    // A query for superusers that fails makes nobody one, and keeps nobody out.
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, &forbidden("super_query"));
    broker.load(PLUGIN);
    admitted(&broker, "u", "public");
    let text = auth_test(&broker, "u", "public");
    assert!(
        text.contains("no superuser: ") && !text.contains("superuser: true"),
        "{text}"
    );
    broker.unload(PLUGIN);
    broker.write_plugin_conf(
        PLUGIN,
        &format!("{}auth.mongo.super_query = off\n", forbidden("acl_query")),
    );
    broker.load(PLUGIN);
    assert!(!may_publish(&mut user(&broker, "u"), "t"));
    assert!(acl_test(&broker, "u", "publish", "t").contains("unavailable"));
}

#[test]
fn two_hundred_logins_at_once() {
    let Some(mongo) = Mongo::shared() else { return };
    let database = mongo.fresh_database();
    let users: Vec<String> = (0..200)
        .map(|n| format!(r#"{{"username": "u{n}", "password": "{PUBLIC}"}}"#))
        .collect();
    mongo.insert(&database, "mqtt_user", &format!("[{}]", users.join(",")));
    let relay = Relay::start("127.0.0.1".parse().unwrap(), mongo.port());
    let conf = format!("{}{QUERIES}", keys_at(&relay.address(), &database));
    let broker = Broker::start(config(&conf));
    // All of them are sent before an answer is read.
    let mut clients: Vec<Client> = (0..200)
        .map(|n| {
            let mut client = broker.raw(Version::V311);
            let password = if n % 10 == 0 { "wrong" } else { "public" };
            client.send(&connect(Version::V311, &format!("u{n}"), password).encode());
            client
        })
        .collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let wanted = if n % 10 == 0 { 4 } else { 0 };
        assert_eq!(client.connack().1, wanted, "u{n}");
    }
    // The pool's, and those by which the driver watches the server.
    let most = relay.most();
    assert!((2..=8 + 3).contains(&most), "{most} connections");
}

#[test]
fn an_address_of_ipv6() {
    if !Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let Some(mongo) = Mongo::shared() else { return };
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &one_user());
    let relay = Relay::start("::1".parse().unwrap(), mongo.port());
    assert!(relay.address().starts_with("[::1]:"));
    let broker = Broker::start(config(&format!(
        "{}{QUERIES}",
        keys_at(&relay.address(), &database)
    )));
    admitted(&broker, "u", "public");
    refused(&broker, "u", "x");
    assert!(relay.most() > 0);
}
