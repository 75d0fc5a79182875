#![allow(clippy::unwrap_used)]

use super::plugin;
use emqttd_password::scram;
use emqttd_plugin_sdk::testing::{FakeBroker, client};
use emqttd_plugin_sdk::{AuthAnswer, Client, Config, ExchangeStep, Reply};
use std::sync::atomic::{AtomicUsize, Ordering};

const ALLOW: AuthAnswer = AuthAnswer::Allow { superuser: false };
const TABLE: &str = "mqtt_auth_username";

/// Cheap hashes, and these keys.
fn config(pairs: &[(&str, &str)]) -> Config {
    let cheap = [
        ("auth.user.hash_cost", "light"),
        ("auth.user.scram_iterations", "4096"),
    ];
    Config::of(&[&cheap[..], pairs].concat())
}

fn started(pairs: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    broker.start(&plugin(), config(pairs)).unwrap();
    broker
}

fn refused(pairs: &[(&str, &str)]) -> String {
    let broker = FakeBroker::new();
    broker.start(&plugin(), config(pairs)).unwrap_err().0
}

fn user(name: &str) -> Client {
    Client {
        username: Some(name.into()),
        ..client("c1")
    }
}

fn ask(broker: &FakeBroker, name: &str, password: &str) -> AuthAnswer {
    broker.auth(&user(name), Some(password.as_bytes()))
}

fn users(broker: &FakeBroker, args: &[&str]) -> Reply {
    broker.command(&[&["users"], args].concat()).unwrap()
}

fn text(text: &str) -> Reply {
    Reply::Text(text.into())
}

/// Waits until the names of the file are in the table.
fn settled(broker: &FakeBroker, rows: usize) {
    broker.eventually(|| {
        let all = broker.rows(TABLE);
        let hashed = all.iter().filter(|(_, row)| row.starts_with(b"$argon2id$"));
        (hashed.count() == rows).then_some(())
    });
}

#[test]
fn it_guards() {
    let plugin = plugin();
    assert!(plugin.guards);
    assert_eq!(plugin.name, "emq_auth_username");
    assert_eq!(plugin.description, "Authentication with Username/Password");
}

#[test]
fn commands_and_their_texts() {
    let broker = started(&[]);
    assert_eq!(users(&broker, &["list"]), text(""));
    assert_eq!(users(&broker, &["add", "bob", "pw1"]), text("ok\n"));
    assert_eq!(
        users(&broker, &["add", "bob", "pw2"]),
        text("{error,existed}\n")
    );
    assert_eq!(ask(&broker, "bob", "pw1"), ALLOW);
    assert_eq!(ask(&broker, "bob", "pw2"), AuthAnswer::Deny);
    assert_eq!(users(&broker, &["add", "al", "x"]), text("ok\n"));
    assert_eq!(users(&broker, &["list"]), text("al\nbob\n"));
    assert_eq!(users(&broker, &["update", "bob", "pw2"]), text("ok\n"));
    assert_eq!(ask(&broker, "bob", "pw1"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "bob", "pw2"), ALLOW);
    assert_eq!(
        users(&broker, &["update", "eve", "x"]),
        text("{error,noexisted}\n")
    );
    assert_eq!(users(&broker, &["del", "bob"]), text("ok\n"));
    assert_eq!(users(&broker, &["del", "nobody"]), text("ok\n"));
    assert_eq!(ask(&broker, "bob", "pw2"), AuthAnswer::Ignore);
    assert_eq!(users(&broker, &["list"]), text("al\n"));
    for args in [
        &[][..],
        &["add"],
        &["add", "x"],
        &["list", "x"],
        &["passwd", "x", "y"],
    ] {
        assert_eq!(users(&broker, args), Reply::Usage, "{args:?}");
    }
    assert_eq!(broker.usage("users").unwrap().len(), 4);
}

#[test]
fn a_password_from_standard_input() {
    let broker = started(&[]);
    let add = ["users", "add", "bob", "-"];
    let Some(Reply::Failed(error)) = broker.command(&add) else {
        panic!("there is no standard input");
    };
    assert!(error.contains("standard input"), "{error}");
    assert_eq!(
        broker.command_with(&add, Some("se cret\n")),
        Some(text("ok\n"))
    );
    assert_eq!(ask(&broker, "bob", "se cret"), ALLOW);
    assert_eq!(ask(&broker, "bob", "-"), AuthAnswer::Deny);
    // What is not asked for is not read.
    let named = broker.command_with(&["users", "add", "al", "pw"], Some("other"));
    assert_eq!(named, Some(text("ok\n")));
    assert_eq!(ask(&broker, "al", "pw"), ALLOW);
}

#[test]
fn bad_names_and_passwords() {
    let broker = started(&[]);
    let long = "x".repeat(65_536);
    for (name, password) in [("", "pw"), ("a\nb", "pw"), (&*long, "pw"), ("bob", "")] {
        let reply = users(&broker, &["add", name, password]);
        assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    }
    assert!(broker.rows(TABLE).is_empty());
    assert_eq!(ask(&broker, "", "pw"), AuthAnswer::Ignore);
}

#[test]
fn credentials_that_are_missing() {
    let broker = started(&[]);
    users(&broker, &["add", "bob", "pw"]);
    assert_eq!(broker.auth(&client("c1"), Some(b"pw")), AuthAnswer::Deny);
    assert_eq!(broker.auth(&client("c1"), None), AuthAnswer::Deny);
    assert_eq!(broker.auth(&user("bob"), None), AuthAnswer::Deny);
    assert_eq!(broker.auth(&user("eve"), None), AuthAnswer::Deny);
    assert_eq!(broker.auth(&user("bob"), Some(b"")), AuthAnswer::Deny);
    assert_eq!(broker.auth(&user(""), Some(b"pw")), AuthAnswer::Ignore);
    assert_eq!(
        broker.auth(&user("bob"), Some(b"\xff\xfe\x00")),
        AuthAnswer::Deny
    );
    assert_eq!(broker.auth(&user("bob"), Some(b"pw")), ALLOW);
}

#[test]
fn nothing_readable_is_in_the_table() {
    let broker = started(&[]);
    users(&broker, &["add", "bob", "correct horse"]);
    let rows = broker.rows(TABLE);
    let row = String::from_utf8(rows[0].1.clone()).unwrap();
    assert!(row.starts_with("$argon2id$v=19$m=4096,t=1,p=1$"), "{row}");
    assert!(row.contains("\nSCRAM-SHA-256$4096:"), "{row}");
    assert!(!row.contains("horse"), "{row}");
    let without = started(&[("auth.user.scram_iterations", "0")]);
    users(&without, &["add", "bob", "correct horse"]);
    let row = String::from_utf8(without.rows(TABLE)[0].1.clone()).unwrap();
    assert!(!row.contains("SCRAM"), "{row}");
    assert!(without.exchange("SCRAM-SHA-256", &client("c1")).is_none());
}

#[test]
fn users_outlive_a_restart() {
    let broker = started(&[]);
    users(&broker, &["add", "bob", "pw"]);
    broker.stop();
    assert_eq!(ask(&broker, "bob", "pw"), AuthAnswer::Ignore);
    // With other costs, too: what is stored says of what it was made.
    broker.start(&plugin(), Config::of(&[])).unwrap();
    assert_eq!(ask(&broker, "bob", "pw"), ALLOW);
    assert_eq!(ask(&broker, "bob", "x"), AuthAnswer::Deny);
}

#[test]
fn a_file_adds_only_who_is_not_there() {
    let broker = started(&[]);
    users(&broker, &["add", "a", "p"]);
    let file = config(&[
        ("auth.user.1.username", "a"),
        ("auth.user.1.password", "p2"),
        ("auth.user.2.username", "name~!@#$%^&*()_+"),
        ("auth.user.2.password", "pwsswd~!@#$%^&*()_+"),
        ("auth.user.10.username", "feng@emqtt.io"),
        ("auth.user.10.password", "public"),
    ]);
    broker.start(&plugin(), file).unwrap();
    let all = |broker: &FakeBroker| {
        assert_eq!(ask(broker, "a", "p"), ALLOW);
        assert_eq!(ask(broker, "a", "p2"), AuthAnswer::Deny);
        assert_eq!(
            ask(broker, "name~!@#$%^&*()_+", "pwsswd~!@#$%^&*()_+"),
            ALLOW
        );
        assert_eq!(ask(broker, "feng@emqtt.io", "public"), ALLOW);
        assert_eq!(ask(broker, "feng@emqtt.io", "Public"), AuthAnswer::Deny);
    };
    // At once, and when they are hashed.
    all(&broker);
    settled(&broker, 3);
    all(&broker);
    // What is in the table stays there without the file.
    broker.start(&plugin(), config(&[])).unwrap();
    all(&broker);
}

#[test]
fn a_name_twice_in_the_file() {
    let broker = started(&[
        ("auth.user.2.username", "a"),
        ("auth.user.2.password", "first"),
        ("auth.user.10.username", "a"),
        ("auth.user.10.password", "second"),
    ]);
    assert_eq!(ask(&broker, "a", "first"), ALLOW);
    assert_eq!(ask(&broker, "a", "second"), AuthAnswer::Deny);
}

#[test]
fn a_deleted_user_of_the_file_is_gone_until_the_next_start() {
    let file = [("auth.user.1.username", "a"), ("auth.user.1.password", "p")];
    let broker = started(&file);
    assert_eq!(users(&broker, &["del", "a"]), text("ok\n"));
    assert_eq!(ask(&broker, "a", "p"), AuthAnswer::Ignore);
    broker.start(&plugin(), config(&file)).unwrap();
    assert_eq!(ask(&broker, "a", "p"), ALLOW);
}

#[test]
fn files_that_are_refused() {
    for (pairs, parts) in [
        (
            &[("auth.user.1.username", "a")][..],
            &["auth.user.1.username (test)", "auth.user.1.password"][..],
        ),
        (
            &[("auth.user.1.password", "hunter2")],
            &["auth.user.1.password (test)", "auth.user.1.username"],
        ),
        (
            &[
                ("auth.user.1.username", ""),
                ("auth.user.1.password", "hunter2"),
            ],
            &["auth.user.1.username (test)", "empty"],
        ),
        (
            &[("auth.user.1.username", "a"), ("auth.user.1.password", "")],
            &["auth.user.1.password (test)", "empty"],
        ),
        (
            &[
                ("auth.user.password_hash", "md5"),
                ("auth.user.1.username", "a"),
                ("auth.user.1.password", "hunter2"),
            ],
            &["auth.user.1.password (test)", "md5"],
        ),
        (
            &[("auth.user.password_hash", "rot13")],
            &["auth.user.password_hash (test)"],
        ),
        (
            &[("auth.user.hash_cost", "none")],
            &["auth.user.hash_cost (test)", "light"],
        ),
        (
            &[("auth.user.scram_iterations", "4095")],
            &["scram_iterations (test)", "4096"],
        ),
    ] {
        let error = refused(pairs);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn hashes_in_the_file() {
    let broker = started(&[
        ("auth.user.password_hash", "md5"),
        ("auth.user.1.username", "a"),
        ("auth.user.1.password", "4C9184F37CFF01BCDC32DC486EC36961"),
        ("auth.user.2.username", "latin"),
        // of the bytes 0xff 0xfe, which are no text
        ("auth.user.2.password", "f3b25701fe362ec84616a93a45ce9998"),
    ]);
    let all = |broker: &FakeBroker| {
        assert_eq!(ask(broker, "a", "public"), ALLOW);
        assert_eq!(
            ask(broker, "a", "4c9184f37cff01bcdc32dc486ec36961"),
            AuthAnswer::Deny
        );
        assert_eq!(broker.auth(&user("latin"), Some(b"\xff\xfe")), ALLOW);
        assert_eq!(
            broker.auth(&user("latin"), Some(b"\xff\xff")),
            AuthAnswer::Deny
        );
    };
    all(&broker);
    settled(&broker, 2);
    all(&broker);
    broker.start(&plugin(), config(&[])).unwrap();
    all(&broker);
}

#[test]
fn a_row_of_emq_is_taken_over() {
    let broker = FakeBroker::new();
    // 4 bytes of salt and the MD5 of "salt" ++ "public".
    let mut row = b"salt".to_vec();
    let md5 = "c91e85973ceee05f005996584f067a72";
    row.extend((0..16).map(|i| u8::from_str_radix(&md5[2 * i..2 * i + 2], 16).unwrap()));
    broker.put_row(TABLE, b"old", &row);
    broker.put_row(TABLE, b"broken", b"what is this");
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(ask(&broker, "old", "public"), ALLOW);
    settled(&broker, 1);
    assert_eq!(ask(&broker, "old", "public"), ALLOW);
    assert_eq!(ask(&broker, "old", "private"), AuthAnswer::Deny);
    // Nobody is let in by what cannot be read, and nobody else is asked.
    assert_eq!(ask(&broker, "broken", "what is this"), AuthAnswer::Deny);
    assert_eq!(users(&broker, &["list"]), text("broken\nold\n"));
    assert_eq!(users(&broker, &["update", "broken", "new"]), text("ok\n"));
    assert_eq!(ask(&broker, "broken", "new"), ALLOW);
}

#[test]
fn a_store_that_fails() {
    let broker = started(&[]);
    users(&broker, &["add", "bob", "pw"]);
    broker.store_fails(Some("the disk is full"));
    for args in [
        &["add", "al", "x"][..],
        &["update", "bob", "x"],
        &["del", "bob"],
    ] {
        let reply = users(&broker, args);
        assert_eq!(
            reply,
            Reply::Failed("Error: the disk is full\n".into()),
            "{args:?}"
        );
    }
    // What is not written is not done.
    assert_eq!(ask(&broker, "bob", "pw"), ALLOW);
    assert_eq!(ask(&broker, "al", "x"), AuthAnswer::Ignore);
    let error = broker.start(&plugin(), config(&[])).unwrap_err();
    assert!(error.0.contains("the disk is full"), "{error}");
    broker.store_fails(None);
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(ask(&broker, "bob", "pw"), ALLOW);
}

#[test]
fn a_password_is_checked_once() {
    let broker = started(&[]);
    users(&broker, &["add", "bob", "pw"]);
    let metric = |name| broker.metric(name).unwrap();
    for _ in 0..50 {
        assert_eq!(ask(&broker, "bob", "pw"), ALLOW);
        assert_eq!(ask(&broker, "bob", "old"), AuthAnswer::Deny);
    }
    assert_eq!((metric("checked"), metric("remembered")), (2, 98));
    // A changed password is checked anew, the former too.
    users(&broker, &["update", "bob", "new"]);
    assert_eq!(ask(&broker, "bob", "pw"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "bob", "new"), ALLOW);
    assert_eq!(metric("checked"), 4);

    let never = started(&[("auth.user.password_cache", "off")]);
    users(&never, &["add", "bob", "pw"]);
    for _ in 0..3 {
        assert_eq!(ask(&never, "bob", "pw"), ALLOW);
    }
    assert_eq!(
        (never.metric("checked"), never.metric("remembered")),
        (Some(3), Some(0))
    );
}

#[test]
fn many_with_one_name_are_checked_once() {
    let broker = started(&[]);
    users(&broker, &["add", "fleet", "pw"]);
    let allowed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    if ask(&broker, "fleet", "pw") == ALLOW {
                        allowed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(allowed.into_inner(), 320);
    assert_eq!(broker.metric("checked"), Some(1));
    assert_eq!(broker.metric("busy"), Some(0));
}

/// An exchange of a client: the last step, and what the server should have said in it.
fn exchange(
    broker: &FakeBroker,
    as_client: &Client,
    name: &str,
    password: &str,
) -> (ExchangeStep, String) {
    let mut exchange = broker.exchange("SCRAM-SHA-256", as_client).unwrap();
    let scram = scram::Client::new(name, password.as_bytes(), "rOprNGfwEbeRWgbNEkqO");
    let ExchangeStep::Continue(challenge) = exchange.step(scram.first().as_bytes()) else {
        panic!("no challenge for {name}");
    };
    let (last, answer) = scram.last(&challenge).unwrap();
    let step = exchange.step(last.as_bytes());
    assert_eq!(
        exchange.step(last.as_bytes()),
        ExchangeStep::Fail,
        "it is over"
    );
    (step, answer)
}

#[test]
fn scram_from_the_same_table() {
    let broker = started(&[]);
    users(&broker, &["add", "bob=,x", "p€ncil"]);
    let nameless = client("c1");
    let (step, answer) = exchange(&broker, &nameless, "bob=,x", "p€ncil");
    let data = answer.into_bytes();
    assert_eq!(
        step,
        ExchangeStep::Success {
            data,
            superuser: false
        }
    );
    assert_eq!(
        exchange(&broker, &nameless, "bob=,x", "pencil").0,
        ExchangeStep::Fail
    );
    assert_eq!(
        exchange(&broker, &nameless, "nobody", "p€ncil").0,
        ExchangeStep::Fail
    );
    // Whom it has proved the broker is told: rules go by it.
    let mut proving = broker.exchange("SCRAM-SHA-256", &nameless).unwrap();
    let scram = scram::Client::new("bob=,x", "p€ncil".as_bytes(), "abc");
    let ExchangeStep::Continue(challenge) = proving.step(scram.first().as_bytes()) else {
        panic!("no challenge");
    };
    assert_eq!(proving.username(), None);
    proving.step(scram.last(&challenge).unwrap().0.as_bytes());
    assert_eq!(proving.username(), Some("bob=,x"));
    // One that was deleted in between.
    let mut running = broker.exchange("SCRAM-SHA-256", &nameless).unwrap();
    let scram = scram::Client::new("bob=,x", "p€ncil".as_bytes(), "abc");
    let ExchangeStep::Continue(challenge) = running.step(scram.first().as_bytes()) else {
        panic!("no challenge");
    };
    users(&broker, &["del", "bob=,x"]);
    let (last, _) = scram.last(&challenge).unwrap();
    assert_eq!(running.step(last.as_bytes()), ExchangeStep::Fail);
    for first in [&b""[..], b"\xff", b"p=tls-unique,,n=bob,r=abc"] {
        let mut exchange = broker.exchange("SCRAM-SHA-256", &nameless).unwrap();
        assert_eq!(exchange.step(first), ExchangeStep::Fail);
    }
    assert!(broker.exchange("SCRAM-SHA-1", &nameless).is_none());
}

#[test]
fn nobody_can_tell_who_is_a_user() {
    let challenge = |broker: &FakeBroker, name: &str| {
        let scram = scram::Client::new(name, b"x", "abc");
        let mut exchange = broker.exchange("SCRAM-SHA-256", &client("c1")).unwrap();
        let ExchangeStep::Continue(data) = exchange.step(scram.first().as_bytes()) else {
            panic!("no challenge for {name}");
        };
        let text = String::from_utf8(data).unwrap();
        let (_, salt_and_iterations) = text.split_once(",s=").unwrap();
        salt_and_iterations.to_string()
    };
    let broker = started(&[]);
    users(&broker, &["add", "bob", "pw"]);
    let (bob, eve) = (challenge(&broker, "bob"), challenge(&broker, "eve"));
    assert_eq!(bob.len(), eve.len());
    assert!(bob.ends_with(",i=4096") && eve.ends_with(",i=4096"));
    assert_ne!(eve, challenge(&broker, "eva"));
    // Both stay, over restarts too.
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(challenge(&broker, "bob"), bob);
    assert_eq!(challenge(&broker, "eve"), eve);
}
