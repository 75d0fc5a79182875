//! When the server does not answer.

use super::{
    ACCEPTED, Bench, Database, Keys, PUBLIC, UNAVAILABLE, answers, eventually, login, logs, metric,
    open, publishes, subscribes,
};
use emqttd_tests::{Broker, Config};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An answer that takes longer than that was waited for.
const SOON: Duration = Duration::from_secs(15);

/// A server with user `test`, who may do all but publish to `no/#`.
fn bench<D: Database>(server: &D) -> Bench<'_, D> {
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 2, 'no/#'");
    bench
}

/// Sheet 8, check 7: the plugin loads without the server, and needs no reload when it comes.
pub fn started_before_the_server<D: Database>() {
    let Some(server) = D::start() else { return };
    let bench = bench(&server);
    server.stop();
    let started = Instant::now();
    let broker = bench.broker(&bench.keys());
    assert!(broker.is_active(D::PLUGIN));
    assert!(started.elapsed() < Duration::from_secs(20));
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(login(&broker, "test", "public"), 3);
        assert!(asked.elapsed() < SOON);
    }
    answers(&broker, "test", "public", UNAVAILABLE);
    server.start_again();
    eventually("it is asked again", || {
        login(&broker, "test", "public") == 0
    });
    assert_eq!(login(&broker, "test", "wrong"), 4);
    logs(&broker, "answers again");
}

/// Clients come all the time, and none of them waits; who is there does what he did.
pub fn killed_and_restarted_in_flight<D: Database>() {
    let Some(server) = D::start() else { return };
    let bench = bench(&server);
    let broker = bench.broker(&bench.keys());
    let mut client = open(&broker, "test", "public");
    assert!(publishes(&mut client, "yes/known"));
    assert!(subscribes(&mut client, "in"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let comer = || {
            let mut codes = [0_u32; 2];
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                match login(&broker, "test", "public") {
                    0 => codes[0] += 1,
                    3 => codes[1] += 1,
                    code => panic!("{code}"),
                }
                assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
            }
            codes
        };
        let comers: Vec<_> = (0..4).map(|_| scope.spawn(comer)).collect();
        for _ in 0..2 {
            eventually("it answers", || login(&broker, "test", "public") == 0);
            server.kill();
            eventually("it is missed", || login(&broker, "test", "public") == 3);
            // What was decided counts on; what was not is refused, and messages arrive.
            assert!(publishes(&mut client, "yes/known"));
            assert!(!publishes(&mut client, "yes/new"));
            assert!(!subscribes(&mut client, "new"));
            client.ping();
            server.start_again();
        }
        eventually("it answers", || login(&broker, "test", "public") == 0);
        over.store(true, Ordering::Relaxed);
        for comer in comers {
            let [accepted, unavailable] = comer.join().unwrap();
            assert!(accepted > 0 && unavailable > 0, "{accepted} {unavailable}");
        }
    });
    assert!(publishes(&mut client, "yes/later"));
    assert!(!publishes(&mut client, "no/later"));
    assert!(subscribes(&mut client, "later"));
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// It takes connections and says nothing: after a few that waited nobody waits any more.
pub fn hanging<D: Database>() {
    let Some(server) = D::start() else { return };
    let bench = bench(&server);
    let broker = bench.broker(&bench.keys().set("timeout", "300ms"));
    let mut client = open(&broker, "test", "public");
    assert!(publishes(&mut client, "yes/known"));
    server.hang();
    for _ in 0..10 {
        let asked = Instant::now();
        assert_eq!(login(&broker, "test", "public"), 3);
        assert!(asked.elapsed() < SOON);
    }
    // Cached decisions are not slowed.
    let asked = Instant::now();
    for _ in 0..100 {
        assert!(publishes(&mut client, "yes/known"));
    }
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    logs(&broker, &format!("alarm backend_unavailable.{}", D::PLUGIN));
    server.resume();
    eventually("it answers", || login(&broker, "test", "public") == 0);
    assert!(publishes(&mut client, "yes/later"));
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// `on_unavailable` and `acl_on_unavailable`: deny, ignore, cached.
pub fn what_counts_when_it_is_down<D: Database>() {
    let Some(server) = D::start() else { return };
    let bench = bench(&server);
    let broker = |word: &str| {
        let keys: Keys = bench.keys().set("on_unavailable", word);
        let keys = keys.set("acl_on_unavailable", word);
        // The next of both chains lets all in.
        Broker::start(Config::with_plugin(D::PLUGIN, &keys.text()))
    };
    let [deny, ignore, cached] = ["deny", "ignore", "cached"].map(broker);
    let mut clients = [&deny, &ignore, &cached].map(|broker| {
        // What is remembered is remembered of a client.
        let connect = super::connect(emqttd_tests::Version::V5, "test", "public");
        let mut client = broker.open(&connect);
        assert!(publishes(&mut client, "yes/known"));
        assert!(!publishes(&mut client, "no/known"));
        assert!(subscribes(&mut client, "known"));
        client.disconnect();
        connect
    });
    server.kill();

    let again = |broker: &Broker, connect: &emqttd_tests::Connect| super::answer(broker, connect);
    assert_eq!(again(&deny, &clients[0]), 0x88);
    assert_eq!(again(&ignore, &clients[1]), 0);
    assert_eq!(login(&ignore, "anybody", "at all"), 0);
    assert_eq!(again(&cached, &clients[2]), 0);
    assert_eq!(login(&cached, "anybody", "at all"), 3);
    // Only with the password that was right.
    let right = clients[2].clone();
    clients[2] = clients[2].clone().password("wrong");
    assert_eq!(again(&cached, &clients[2]), 0x88);

    let mut client = cached.open(&right);
    assert!(publishes(&mut client, "yes/known"));
    assert!(!publishes(&mut client, "no/known"));
    assert!(subscribes(&mut client, "known"));
    assert!(!publishes(&mut client, "yes/new"));
    let mut client = ignore.open(&clients[1]);
    assert!(publishes(&mut client, "no/known"));
    assert!(metric(&deny, D::PLUGIN, "auth/unavailable") > 0);
    assert!(metric(&ignore, D::PLUGIN, "auth/ignored") > 1);
    assert_eq!(metric(&cached, D::PLUGIN, "auth/allowed"), 3);
}

/// The server ends connections (`wait_timeout`, an administrator): nobody notices.
pub fn ended_connections_are_made_anew<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = bench(server);
    let broker = bench.broker(&bench.keys());
    answers(&broker, "test", "public", ACCEPTED);
    eventually("eight connections", || bench.number(D::CONNECTIONS) == 8);
    for _ in 0..3 {
        server.end_all(&bench.database);
        answers(&broker, "test", "public", ACCEPTED);
    }
    assert_eq!(metric(&broker, D::PLUGIN, "auth/unavailable"), 0);
}

/// A query that takes too long: its client is told so, others get in, and the server stops with it.
pub fn a_slow_query_is_given_up<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = bench(server);
    bench.user("slow", PUBLIC, None);
    let query = format!(
        "select password from mqtt_user where username = '%u' and (username <> 'slow' or {})",
        D::SLEEP
    );
    let keys = bench.keys().set("auth_query", query);
    let broker = bench.broker(&keys.set("timeout", "500ms"));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = super::connect(emqttd_tests::Version::V311, "slow", "public");
        let mut client = broker.raw(connect.version);
        client.send(&connect.encode());
        waiting.push(client);
    }
    assert_eq!(login(&broker, "test", "public"), 0);
    for client in &mut waiting {
        assert_eq!(client.connack().1, 3);
    }
    // One that goes away while it waits.
    let connect = super::connect(emqttd_tests::Version::V311, "slow", "public");
    let mut gone = broker.raw(connect.version);
    gone.send(&connect.encode());
    gone.drop_connection();
    eventually("the server stops", || bench.number(D::AT_WORK) == 0);
    eventually("all are there again", || bench.number(D::CONNECTIONS) == 8);
    assert_eq!(login(&broker, "test", "public"), 0);
    assert!(auth_test_says(&broker, "no answer within 500ms"));
}

fn auth_test_says(broker: &Broker, what: &str) -> bool {
    let text = super::auth_test(broker, "c1", "slow", "public");
    text.contains(what) && text.ends_with(": deny\n")
}
