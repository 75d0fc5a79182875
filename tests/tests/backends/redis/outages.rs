//! Redis that is not there, goes, comes back, and hangs.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

fn conf(redis: &Redis, more: &str) -> String {
    format!("{}{SHIPPED}{more}", server(redis))
}

#[test]
fn the_plugin_loads_while_redis_is_down() {
    let Some(redis) = Redis::start() else { return };
    let name = new_user(&redis, "p");
    redis.stop();
    let broker = broker(&conf(&redis, ""));
    assert!(broker.is_active(PLUGIN));
    // MQTT 3.1, 3.1.1 and 5.
    for (version, code) in emqttd_tests::ALL.into_iter().zip([3, 3, 0x88]) {
        let connect = Connect::new(version, &unique("down"));
        let connect = connect.username(&name).password("p");
        assert_eq!(answer_to(&broker, &connect), code, "{version}");
    }
    assert!(auth_test(&broker, "c", &name, "p").contains("refused"));
    redis.start_again();
    eventually("users get in", || answer(&broker, &name, "p") == ALLOWED);
    assert_eq!(answer(&broker, &name, "x"), REFUSED);
}

/// `set` of a key that EMQ could change while it ran.
#[test]
fn another_server_while_the_plugin_runs() {
    let Some(redis) = Redis::start() else { return };
    let name = new_user(&redis, "p");
    let there = server(&redis);
    let there = there
        .lines()
        .find(|line| line.contains(".server "))
        .unwrap();
    let broker = broker(&conf(&redis, "auth.redis.server = 127.0.0.1:1\n"));
    let set = |pair: &str| {
        let app = format!("--app={PLUGIN}");
        broker.ctl(&["set", &pair.replace(' ', ""), &app]).1
    };
    assert_eq!(answer(&broker, &name, "p"), UNAVAILABLE);
    assert!(set(there).contains("successfully"));
    eventually("the other is asked", || {
        answer(&broker, &name, "p") == ALLOWED
    });
    let refused = set("auth.redis.server=a:b");
    assert!(
        refused.contains("a:b") && !refused.contains("successfully"),
        "{refused}"
    );
    assert_eq!(answer(&broker, &name, "p"), ALLOWED);
    assert_eq!(answer(&broker, &name, "x"), REFUSED);
}

/// Killed and started again with clients connecting all the time: each gets an answer, nobody who is in suffers.
#[test]
fn killed_in_flight() {
    let Some(redis) = Redis::start() else { return };
    let broker = broker(&conf(&redis, ""));
    let name = new_user(&redis, "p");
    allow(&redis, &name, &["t", "3"]);
    let mut inside = login(&broker, &name, "p");
    inside.sub("t", 0);
    assert!(may_publish(&mut inside, "t"));
    inside.expect("t", "x");
    let mut watcher = login(&broker, &new_user(&redis, "p"), "p");
    watcher.sub("$SYS/brokers/+/alarms/#", 1);

    let over = &AtomicBool::new(false);
    /// Ends the flood, also when the test fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (broker, name) = (&broker, &*name);
    std::thread::scope(|scope| {
        let end = End(over);
        let flood = || {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                answers.push(answer(broker, name, "p"));
            }
            answers
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        eventually("some are in", || metric(broker, "auth/allowed") > 20);
        redis.kill();
        let alarm = "/alarms/backend_unavailable.emq_auth_redis/";
        let raised = watcher.recv_message();
        assert!(
            raised.topic.ends_with(&format!("{alarm}alert")),
            "{raised:?}"
        );
        eventually("some are not", || metric(broker, "auth/unavailable") > 5);
        // What is decided stays.
        assert!(may_publish(&mut inside, "t"));
        inside.expect("t", "x");
        redis.start_again();
        let cleared = watcher.recv_message();
        assert!(
            cleared.topic.ends_with(&format!("{alarm}clear")),
            "{cleared:?}"
        );
        let before = metric(broker, "auth/allowed");
        eventually("they are in again", || {
            metric(broker, "auth/allowed") > before + 20
        });
        drop(end);
        for thread in threads {
            let answers = thread.join().unwrap();
            assert!(
                answers
                    .iter()
                    .all(|code| [ALLOWED, UNAVAILABLE].contains(code))
            );
            assert_eq!(answers.last(), Some(&ALLOWED));
        }
    });
    inside.ping();
}

/// All connections are cut while nobody looks: the next question is answered all the same.
#[test]
fn connections_that_are_cut() {
    let Some(redis) = Redis::start() else { return };
    let broker = broker(&conf(&redis, "auth.redis.pool = 4\n"));
    let name = new_user(&redis, "p");
    for _ in 0..5 {
        assert_eq!(answer(&broker, &name, "p"), ALLOWED);
        redis.cmd(&["CLIENT", "KILL", "USER", USER]);
        assert_eq!(answer(&broker, &name, "p"), ALLOWED);
    }
}

/// Sheet 10, check 5 and 6: the database is selected anew, with a password that a line of a file could hide.
#[test]
fn password_and_database_after_a_reconnect() {
    let secret = "pa # ss'w\"ord\\ #1";
    let password = format!(">{secret}");
    let user = ["--user", "spaced", "on", &password, "~*", "&*", "+@all"];
    let Some(redis) = Redis::start_with(&user) else {
        return;
    };
    let conf = format!(
        "auth.redis.server = localhost:{}\nauth.redis.username = spaced\nauth.redis.password = {secret}\n\
         auth.redis.database = 3\n{SHIPPED}",
        redis.port()
    );
    let broker = broker(&conf);
    let name = unique("third");
    let key = format!("mqtt_user:{name}");
    redis.cmd(&["-n", "3", "HSET", &key, "password", "three"]);
    redis.cmd(&["HSET", &key, "password", "zero"]);
    for _ in 0..2 {
        eventually("it is asked", || answer(&broker, &name, "three") == ALLOWED);
        for _ in 0..10 {
            assert_eq!(answer(&broker, &name, "three"), ALLOWED);
            assert_eq!(answer(&broker, &name, "zero"), REFUSED);
        }
        redis.restart();
    }
    assert!(!broker.log().contains(secret), "the password is in the log");
}

/// A wrong password of ours, or none, is said as it is.
#[test]
fn a_password_that_is_wrong() {
    let Some(redis) = Redis::shared() else { return };
    let port = redis.port();
    let right = conf(redis, "");
    let broker = broker(&right.replace(PASSWORD, "hunter2"));
    assert_eq!(answer(&broker, "u", "p"), UNAVAILABLE);
    let shown = auth_test(&broker, "c", "u", "p");
    assert!(shown.contains("refuses our password: WRONGPASS"), "{shown}");
    assert!(!broker.log().contains("hunter2"));
    let without = format!("auth.redis.server = 127.0.0.1:{port}\n{SHIPPED}");
    reload(&broker, &without);
    let shown = auth_test(&broker, "c", "u", "p");
    assert!(shown.contains("NOAUTH"), "{shown}");
    // The administrator has no name here, as before Redis 6.
    let admin = emqttd_tests::servers::ADMIN_PASSWORD;
    reload(
        &broker,
        &format!("{without}auth.redis.password = {admin}\n"),
    );
    assert_eq!(answer(&broker, &new_user(redis, "p"), "p"), ALLOWED);
    reload(&broker, &format!("{right}auth.redis.database = 9999\n"));
    let shown = auth_test(&broker, "c", "u", "p");
    assert!(shown.contains("database 9999: "), "{shown}");
}

/// A server that hangs costs each question its time, then nobody any; it is found when it goes on.
#[test]
fn hanging() {
    let Some(redis) = Redis::start() else { return };
    let broker = broker(&conf(&redis, "auth.redis.timeout = 500ms\n"));
    let name = new_user(&redis, "p");
    allow(&redis, &name, &["t", "3"]);
    let mut inside = login(&broker, &name, "p");
    inside.sub("t", 0);
    assert!(may_publish(&mut inside, "t"));
    inside.expect("t", "x");
    redis.hang();
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(answer(&broker, &name, "p"), UNAVAILABLE);
    }
    assert!(begun.elapsed() >= Duration::from_millis(5 * 500));
    let shown = auth_test(&broker, "c", &name, "p");
    assert!(shown.contains("no answer within 500ms"), "{shown}");
    // The breaker is open: but for one in a while they do not wait.
    eventually("nobody is asked", || {
        auth_test(&broker, "c", &name, "p").contains("not asked: no answer within 500ms")
    });
    for _ in 0..40 {
        assert_eq!(answer(&broker, &name, "p"), UNAVAILABLE);
        assert!(may_publish(&mut inside, "t"), "a decision that is known");
        inside.expect("t", "x");
    }
    // One that is not known is refused, and nothing is taken away.
    assert!(!may_publish(&mut inside, "other"));
    redis.resume();
    eventually("users get in", || answer(&broker, &name, "p") == ALLOWED);
    eventually("rules count", || !may_subscribe(&mut inside, "other"));
    inside.pub_("t", 0, "still");
    inside.expect("t", "still");
}

#[test]
fn what_counts_meanwhile() {
    let Some(redis) = Redis::start() else { return };
    let name = new_user(&redis, "p");
    allow(&redis, &name, &["t", "3"]);
    let with = |auth: &str, acl: &str| {
        conf(
            &redis,
            &format!("auth.redis.on_unavailable = {auth}\nauth.redis.acl_on_unavailable = {acl}\n"),
        )
    };
    // Anonymous clients are allowed, and so is what no rule speaks of.
    let broker = Broker::start(Config::with_plugin(PLUGIN, &with("deny", "deny")));
    let known = connect(&name, "p");
    let known_v5 = Connect::new(Version::V5, &known.client_id);
    let known_v5 = known_v5.username(&name).password("p");
    for (auth, acl) in [("deny", "deny"), ("ignore", "ignore"), ("cached", "cached")] {
        reload(&broker, &with(auth, acl));
        let ask = |connect: &Connect| answer_to(&broker, connect);
        let wrong = connect(&name, "x");
        assert_eq!(ask(&known), ALLOWED, "{auth}");
        assert_eq!(ask(&wrong), REFUSED, "{auth}");
        let mut client = broker.open(&known_v5);
        assert!(may_publish(&mut client, "t"), "{acl}");
        assert!(!may_publish(&mut client, "u"), "{acl}");
        redis.stop();
        let stranger = connect(&name, "p");
        let codes = [ask(&known), ask(&wrong), ask(&stranger)];
        let wanted = match auth {
            "deny" => [UNAVAILABLE; 3],
            "ignore" => [ALLOWED; 3],
            _ => [ALLOWED, REFUSED, UNAVAILABLE],
        };
        assert_eq!(codes, wanted, "{auth}");
        let mut client = match auth {
            // `known` in MQTT 3.1.1 has taken the session over.
            "deny" => {
                redis.start_again();
                eventually("back", || ask(&known) == ALLOWED);
                let client = broker.open(&known_v5);
                redis.stop();
                client
            }
            _ => broker.open(&known_v5),
        };
        let acts = ["t", "u", "v"].map(|topic| may_publish(&mut client, topic));
        let wanted = match acl {
            "deny" => [false; 3],
            "ignore" => [true; 3],
            _ => [true, false, false],
        };
        assert_eq!(acts, wanted, "{acl}");
        redis.start_again();
        eventually("back", || ask(&connect(&name, "x")) == REFUSED);
    }
}

#[test]
fn ipv6() {
    let Some(redis) = Redis::shared() else { return };
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let broker = broker(&conf(redis, "").replace("127.0.0.1:", "[::1]:"));
    assert_eq!(answer(&broker, &new_user(redis, "p"), "p"), ALLOWED);
}
