#![allow(clippy::unwrap_used)]

use super::plugin;
use emqttd_plugin_sdk::testing::{FakeBroker, client};
use emqttd_plugin_sdk::{AuthAnswer, Client, Config, Reply};

const ALLOW: AuthAnswer = AuthAnswer::Allow { superuser: false };
const TABLE: &str = "mqtt_auth_clientid";

fn config(pairs: &[(&str, &str)]) -> Config {
    Config::of(&[&[("auth.client.hash_cost", "light")], pairs].concat())
}

fn started(pairs: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    broker.start(&plugin(), config(pairs)).unwrap();
    broker
}

fn ask(broker: &FakeBroker, id: &str, password: &str) -> AuthAnswer {
    broker.auth(&client(id), Some(password.as_bytes()))
}

fn clientid(broker: &FakeBroker, args: &[&str]) -> Reply {
    broker.command(&[&["clientid"], args].concat()).unwrap()
}

fn text(text: &str) -> Reply {
    Reply::Text(text.into())
}

/// Waits until the row of an id is another than `before`, and hashed.
fn hashed(broker: &FakeBroker, id: &str, before: Option<&[u8]>) -> Vec<u8> {
    broker.eventually(|| {
        let mut rows = broker.rows(TABLE).into_iter();
        let (_, row) = rows.find(|(key, _)| key == id.as_bytes())?;
        (row.starts_with(b"$argon2id$") && Some(&row[..]) != before).then_some(row)
    })
}

#[test]
fn it_guards() {
    let plugin = plugin();
    assert!(plugin.guards);
    assert_eq!(plugin.name, "emq_auth_clientid");
    assert_eq!(plugin.description, "Authentication with ClientId/Password");
}

#[test]
fn the_entries_of_the_file() {
    let file = [
        ("auth.client.1.clientid", "id"),
        ("auth.client.1.password", "passwd"),
        ("auth.client.2.clientid", "dev:devid"),
        ("auth.client.2.password", "passwd2"),
        ("auth.client.4.clientid", "client~!@#$%^&*()_+"),
        ("auth.client.4.password", "passwd~!@#$%^&*()_+"),
    ];
    let broker = started(&file);
    let all = || {
        assert_eq!(ask(&broker, "id", "passwd"), ALLOW);
        assert_eq!(ask(&broker, "id", "x"), AuthAnswer::Deny);
        assert_eq!(ask(&broker, "id", ""), AuthAnswer::Deny);
        assert_eq!(broker.auth(&client("id"), None), AuthAnswer::Deny);
        assert_eq!(
            broker.auth(&client("id"), Some(b"\xff\x00")),
            AuthAnswer::Deny
        );
        assert_eq!(ask(&broker, "dev:devid", "passwd2"), ALLOW);
        assert_eq!(
            ask(&broker, "client~!@#$%^&*()_+", "passwd~!@#$%^&*()_+"),
            ALLOW
        );
        // An id that is not there, one that the broker gave out, and none.
        assert_eq!(ask(&broker, "other", "passwd"), AuthAnswer::Ignore);
        assert_eq!(ask(&broker, "emqttd_5F3A", "passwd"), AuthAnswer::Ignore);
        assert_eq!(ask(&broker, "", "passwd"), AuthAnswer::Ignore);
        assert_eq!(broker.auth(&client("other"), None), AuthAnswer::Deny);
        // The user name is not looked at.
        for name in ["id", "other"] {
            let named = Client {
                username: Some(name.into()),
                ..client("id")
            };
            assert_eq!(broker.auth(&named, Some(b"passwd")), ALLOW);
            assert_eq!(broker.auth(&named, Some(b"x")), AuthAnswer::Deny);
        }
    };
    // At once, and when they are hashed.
    all();
    for id in ["id", "dev:devid", "client~!@#$%^&*()_+"] {
        let row = String::from_utf8(hashed(&broker, id, None)).unwrap();
        assert!(!row.contains("passwd") && !row.contains("SCRAM"), "{row}");
    }
    all();
    // Nobody who came with the password of the file has cost a hash, before or after.
    let before = broker.metric("checked").unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&broker, "dev:devid", "passwd2"), ALLOW);
    }
    assert_eq!(broker.metric("checked").unwrap(), before);
    assert!(broker.exchange("SCRAM-SHA-256", &client("id")).is_none());
}

#[test]
fn the_file_counts_at_each_start() {
    let file = |password| {
        config(&[
            ("auth.client.1.clientid", "id"),
            ("auth.client.1.password", password),
        ])
    };
    let broker = FakeBroker::new();
    broker.start(&plugin(), file("old")).unwrap();
    let first = hashed(&broker, "id", None);
    // An entry that has not changed is not written again.
    broker.start(&plugin(), file("old")).unwrap();
    assert_eq!(ask(&broker, "id", "old"), ALLOW);
    assert_eq!(hashed(&broker, "id", None), first);
    // A changed one counts from the start on.
    broker.start(&plugin(), file("new")).unwrap();
    assert_eq!(ask(&broker, "id", "old"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "id", "new"), ALLOW);
    let second = hashed(&broker, "id", Some(&first));
    assert_eq!(ask(&broker, "id", "old"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "id", "new"), ALLOW);
    // So does the file against what was set by hand; a line that is gone leaves its row.
    assert_eq!(clientid(&broker, &["update", "id", "hand"]), text("ok\n"));
    assert_eq!(ask(&broker, "id", "hand"), ALLOW);
    let third = hashed(&broker, "id", Some(&second));
    broker.start(&plugin(), file("new")).unwrap();
    assert_eq!(ask(&broker, "id", "hand"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "id", "new"), ALLOW);
    hashed(&broker, "id", Some(&third));
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(ask(&broker, "id", "new"), ALLOW);
    assert_eq!(clientid(&broker, &["list"]), text("id\n"));
}

#[test]
fn the_last_of_two_entries_counts() {
    let broker = started(&[
        ("auth.client.2.clientid", "id"),
        ("auth.client.2.password", "first"),
        ("auth.client.10.clientid", "id"),
        ("auth.client.10.password", "second"),
    ]);
    assert_eq!(ask(&broker, "id", "second"), ALLOW);
    assert_eq!(ask(&broker, "id", "first"), AuthAnswer::Deny);
}

#[test]
fn a_name_within_the_key() {
    // What the oldest form, `auth.client.<clientid> = <password>`, is read as.
    let broker = started(&[
        (r"auth.client.my\.device.clientid", "my.device"),
        (r"auth.client.my\.device.password", "pw"),
    ]);
    assert_eq!(ask(&broker, "my.device", "pw"), ALLOW);
}

#[test]
fn commands_and_their_texts() {
    let broker = started(&[]);
    assert_eq!(clientid(&broker, &["list"]), text(""));
    assert_eq!(clientid(&broker, &["add", "c1", "pw1"]), text("ok\n"));
    assert_eq!(
        clientid(&broker, &["add", "c1", "pw2"]),
        text("{error,existed}\n")
    );
    assert_eq!(ask(&broker, "c1", "pw1"), ALLOW);
    assert_eq!(clientid(&broker, &["update", "c1", "pw2"]), text("ok\n"));
    assert_eq!(ask(&broker, "c1", "pw1"), AuthAnswer::Deny);
    assert_eq!(ask(&broker, "c1", "pw2"), ALLOW);
    assert_eq!(
        clientid(&broker, &["update", "c2", "x"]),
        text("{error,noexisted}\n")
    );
    let from_stdin = broker.command_with(&["clientid", "add", "c2", "-"], Some("pw"));
    assert_eq!(from_stdin, Some(text("ok\n")));
    assert_eq!(ask(&broker, "c2", "pw"), ALLOW);
    assert_eq!(clientid(&broker, &["list"]), text("c1\nc2\n"));
    assert_eq!(clientid(&broker, &["del", "c1"]), text("ok\n"));
    assert_eq!(clientid(&broker, &["del", "c1"]), text("ok\n"));
    assert_eq!(ask(&broker, "c1", "pw2"), AuthAnswer::Ignore);
    assert_eq!(clientid(&broker, &["add"]), Reply::Usage);
    assert_eq!(broker.usage("clientid").unwrap().len(), 4);
    // After a restart.
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(ask(&broker, "c2", "pw"), ALLOW);
    assert_eq!(clientid(&broker, &["list"]), text("c2\n"));
}

#[test]
fn files_that_are_refused() {
    for (pairs, part) in [
        (
            &[("auth.client.1.clientid", "id")][..],
            "auth.client.1.clientid (test)",
        ),
        (
            &[("auth.client.1.password", "hunter2")],
            "auth.client.1.password (test)",
        ),
        (
            &[
                ("auth.client.1.clientid", "id"),
                ("auth.client.1.password", ""),
            ],
            "auth.client.1.password (test)",
        ),
        (
            &[
                ("auth.client.1.clientid", ""),
                ("auth.client.1.password", "hunter2"),
            ],
            "auth.client.1.clientid (test)",
        ),
    ] {
        let broker = FakeBroker::new();
        let error = broker.start(&plugin(), config(pairs)).unwrap_err().0;
        assert!(
            error.contains(part) && !error.contains("hunter2"),
            "{error}"
        );
        assert_eq!(broker.plugin(), None);
    }
}

#[test]
fn a_plain_row_of_emq_is_taken_over() {
    let broker = FakeBroker::new();
    broker.put_row(TABLE, b"old", b"passwd");
    broker.put_row(TABLE, b"newer", b"$yescrypt$j9T$salt$hash");
    broker.start(&plugin(), config(&[])).unwrap();
    assert_eq!(ask(&broker, "old", "passwd"), ALLOW);
    hashed(&broker, "old", None);
    assert_eq!(ask(&broker, "old", "passwd"), ALLOW);
    assert_eq!(ask(&broker, "old", "x"), AuthAnswer::Deny);
    assert_eq!(
        ask(&broker, "newer", "$yescrypt$j9T$salt$hash"),
        AuthAnswer::Deny
    );
}
