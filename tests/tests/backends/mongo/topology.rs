//! Replica sets, sharded clusters, and how the broker logs in.

use super::stub::Stub;
use super::*;
use bson::{Document, doc};

/// A login in less than that does not wait for a server that is gone; EMQ took 30 s. Generous for a busy machine:
/// what it must tell apart are milliseconds from the two seconds that the plugin waits for a fit server.
const SOON: Duration = Duration::from_millis(1500);

fn users() -> Vec<Document> {
    vec![doc! {"username": "u", "password": PUBLIC}]
}

fn start(stub: &Stub, more: &str) -> Broker {
    let conf = format!(
        "auth.mongo.server = {}\n{QUERIES}auth.mongo.acl_query = off\n{more}",
        stub.addresses()
    );
    Broker::start(config(&conf))
}

/// A login that is right, and one that is not, each soon.
#[track_caller]
fn soon(broker: &Broker) {
    let begun = Instant::now();
    admitted(broker, "u", "public");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    refused(broker, "u", "x");
    assert!(begun.elapsed() < 2 * SOON, "{:?}", begun.elapsed());
}

const RS: &str = "auth.mongo.type = rs\nauth.mongo.rs_set_name = rs0\n";

/// Sheet 11.3, check 6.
#[test]
fn another_primary_is_elected() {
    let stub = Stub::replica_set(&users());
    let broker = start(&stub, &format!("{RS}auth.mongo.r_mode = master\n"));
    admitted(&broker, "u", "public");
    assert_eq!(stub.answered(), [0], "the primary");
    stub.kill(0);
    // Only a primary may be asked, and there is none.
    assert_eq!(login(&broker, "u", "public"), 3);
    assert_eq!(stub.answered(), [] as [usize; 0]);
    stub.elect(2);
    eventually("the new primary is found", || {
        login(&broker, "u", "public") == 0
    });
    assert!(stub.answered().iter().all(|member| *member == 2));
    soon(&broker);
    // The old one is back, and does not count as one.
    stub.revive(0);
    soon(&broker);
    assert!(stub.answered().iter().all(|member| *member == 2));
}

/// While there is no primary, the others are asked unless `r_mode = master` forbids it.
#[test]
fn logins_go_on_without_a_primary() {
    let stub = Stub::replica_set(&users());
    let broker = start(&stub, RS);
    soon(&broker);
    assert_eq!(stub.answered(), [0, 0], "the primary, while there is one");
    stub.kill(0);
    eventually("a secondary is asked", || {
        login(&broker, "u", "public") == 0
    });
    soon(&broker);
    assert!(!stub.answered().contains(&0));
}

/// The complaint of 2.3: with one member down a login took 30 s.
#[test]
fn a_dead_member_slows_no_login() {
    for (dead, more) in [
        (0, "auth.mongo.r_mode = slave_ok\n"),
        (1, ""),
        (2, "auth.mongo.r_mode = master\n"),
    ] {
        let stub = Stub::replica_set(&users());
        stub.kill(dead);
        if dead == 0 {
            stub.elect(1);
        }
        // The dead one is in the list, and its address in what the others say.
        let broker = start(&stub, &format!("{RS}{more}"));
        for _ in 0..5 {
            soon(&broker);
        }
        assert_eq!(metric(&broker, "auth/unavailable"), 0);
    }
}

/// `r_mode` says who is read from; 2.3 had mixed it up with `w_mode`.
#[test]
fn who_is_read_from() {
    let stub = Stub::replica_set(&users());
    for (more, primary) in [
        (
            "auth.mongo.r_mode = slave_ok\nauth.mongo.w_mode = unsafe\n",
            false,
        ),
        (
            "auth.mongo.r_mode = master\nauth.mongo.w_mode = safe\n",
            true,
        ),
        ("auth.mongo.w_mode = safe\n", true),
    ] {
        let broker = start(&stub, &format!("{RS}{more}"));
        eventually("all members are known", || {
            stub.answered();
            login(&broker, "u", "public") == 0 && (stub.answered() == [0]) == primary
        });
        soon(&broker);
        let answered = stub.answered();
        assert!(
            answered.iter().all(|member| (*member == 0) == primary),
            "{more}: {answered:?}"
        );
    }
}

/// The others are found by one that is named, and the name of the set counts.
#[test]
fn the_set_is_found_by_one_member() {
    let stub = Stub::replica_set(&users());
    let conf = |name: &str| {
        format!(
            "auth.mongo.server = {}\n{QUERIES}auth.mongo.acl_query = off\nauth.mongo.type = rs\n\
             auth.mongo.rs_set_name = {name}\n",
            stub.address(1)
        )
    };
    let broker = Broker::start(config(&conf("rs0")));
    eventually("the primary is found", || {
        stub.answered();
        login(&broker, "u", "public") == 0 && stub.answered() == [0]
    });
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, &conf("another"));
    broker.load(PLUGIN);
    assert_eq!(login(&broker, "u", "public"), 3);
}

/// `single` asks the server that is named, whatever it is.
#[test]
fn a_member_asked_alone() {
    let stub = Stub::replica_set(&users());
    let conf = format!(
        "auth.mongo.server = {},{}\n{QUERIES}auth.mongo.acl_query = off\n",
        stub.address(1),
        stub.address(0)
    );
    let broker = Broker::start(config(&conf));
    soon(&broker);
    assert_eq!(stub.answered(), [1, 1]);
    assert!(
        broker
            .log()
            .contains(&format!("asks {} alone", stub.address(1)))
    );
}

#[test]
fn any_mongos_of_a_sharded_cluster() {
    for kind in ["sharded", "unknown"] {
        let stub = Stub::sharded(2, &users());
        let broker = start(&stub, &format!("auth.mongo.type = {kind}\n"));
        soon(&broker);
        stub.kill(0);
        // Whose connection was to that one is asked again.
        eventually("the other is asked", || login(&broker, "u", "public") == 0);
        for _ in 0..3 {
            soon(&broker);
        }
        stub.answered();
        soon(&broker);
        assert_eq!(stub.answered(), [1, 1]);
        stub.revive(0);
        stub.kill(1);
        eventually("the first is asked again", || {
            login(&broker, "u", "public") == 0
        });
        soon(&broker);
    }
}

/// As a primary that a real server says it is.
#[test]
fn a_replica_set_of_one() {
    let Some(mongo) = Mongo::start_replica_set() else {
        return;
    };
    let users = format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#);
    let more = "auth.mongo.type = rs\nauth.mongo.rs_set_name = secantus\n";
    let broker = site(&mongo, &users, "", more);
    soon(&broker);
    mongo.restart();
    eventually("it is found again", || login(&broker, "u", "public") == 0);
}

/// Sheet 11.3, check 7: the one mechanism of MongoDB 3, which is all that this server offers.
#[test]
fn scram_sha_1() {
    let stub = Stub::scram_sha_1(&users());
    let conf = |login: &str, password: &str, source: &str| {
        format!(
            "auth.mongo.server = {}\nauth.mongo.{login} = mqtt\nauth.mongo.password = {password}\n{QUERIES}\
             auth.mongo.auth_source = {source}\nauth.mongo.acl_query = off\n",
            stub.address(0)
        )
    };
    let broker = Broker::start(config(&conf("login", "mqttpw", "admin")));
    soon(&broker);
    for (login_key, password, source, code) in [
        ("user", "mqttpw", "admin", 0),
        ("login", "wrong-horse", "admin", 3),
        ("login", "mqttpw", "mqtt", 3),
    ] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &conf(login_key, password, source));
        broker.load(PLUGIN);
        assert_eq!(login(&broker, "u", "public"), code, "{password} {source}");
    }
    assert!(broker.log().contains("uthentication"), "{}", broker.log());
    assert!(!broker.log().contains("wrong-horse"));
}

/// SCRAM-SHA-256, and who is not let in by it.
#[test]
fn scram_sha_256() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#);
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &users);
    let conf = format!("{}{QUERIES}", keys(mongo, &database));
    let broker = Broker::start(config(&conf));
    soon(&broker);
    for more in ["auth.mongo.password = x\n", "auth.mongo.login = nobody\n"] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("{conf}{more}"));
        broker.load(PLUGIN);
        assert_eq!(login(&broker, "u", "public"), 3, "{more}");
        let text = auth_test(&broker, "u", "public");
        assert!(text.contains("uthentication"), "{text}");
    }
}
