//! `emq_auth_username`: passwords by user name, from configuration and by the verb `users`, and SCRAM.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use emqttd_password::scram;
use emqttd_tests::packet::encode_props;
use emqttd_tests::{Broker, Client, Config, Connect, End, Packet, Prop, Version, frame, unique};

const PLUGIN: &str = "emq_auth_username";

/// Hashes that cost little; the standard ones have tests of their own.
const CHEAP: &str = "auth.user.hash_cost = light\nauth.user.scram_iterations = 4096\n";

/// Bad user name or password.
const REFUSED: [u8; 3] = [4, 4, 0x86];

fn config(conf: &str) -> Config {
    Config::with_plugin(PLUGIN, &format!("{CHEAP}{conf}"))
}

/// The broker of all tests that change nothing but users of their own; it lets nobody in who is unknown.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(config("").set("mqtt.allow_anonymous", "false")))
}

/// `users ...`, which has to print that and end with 0.
#[track_caller]
fn users(broker: &Broker, args: &[&str], printed: &str) {
    let (code, text) = broker.ctl(&[&["users"], args].concat());
    assert_eq!((code, &*text), (0, printed), "users {args:?}");
}

/// A user of that test, with a password.
#[track_caller]
fn new_user(broker: &Broker, password: &str) -> String {
    let name = unique("user");
    users(broker, &["add", &name, password], "ok\n");
    name
}

fn connect(version: Version, name: &str, password: &str) -> Connect {
    Connect::new(version, &unique("auth"))
        .username(name)
        .password(password)
}

/// The code of CONNACK.
#[track_caller]
fn answer(broker: &Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

#[track_caller]
fn admitted(broker: &Broker, name: &str, password: &str) {
    for version in emqttd_tests::ALL {
        assert_eq!(
            answer(broker, &connect(version, name, password)),
            0,
            "{version}"
        );
    }
}

#[track_caller]
fn refused(broker: &Broker, name: &str, password: &str) {
    for (version, code) in emqttd_tests::ALL.into_iter().zip(REFUSED) {
        let connect = connect(version, name, password);
        assert_eq!(answer(broker, &connect), code, "{version}");
    }
}

/// Sheet 5, check 1 and 2.
#[test]
fn users_that_are_added_get_in() {
    let broker = broker();
    let name = new_user(broker, "p");
    admitted(broker, &name, "p");
    refused(broker, &name, "x");
    users(broker, &["add", &name, "q"], "{error,existed}\n");
    admitted(broker, &name, "p");
    refused(broker, &name, "q");
    let (_, list) = broker.ctl(&["users", "list"]);
    assert!(list.lines().any(|line| line == name), "{list}");
}

#[test]
fn users_are_updated_and_deleted() {
    let broker = broker();
    let name = new_user(broker, "p");
    admitted(broker, &name, "p");
    let mut connected = broker.open(&connect(Version::V311, &name, "p"));
    users(broker, &["update", &name, "q"], "ok\n");
    refused(broker, &name, "p");
    admitted(broker, &name, "q");
    users(broker, &["del", &name], "ok\n");
    refused(broker, &name, "q");
    users(broker, &["del", &name], "ok\n");
    users(broker, &["update", &name, "r"], "{error,noexisted}\n");
    // Who is connected stays.
    connected.ping();
}

#[test]
fn wrong_arguments_print_the_usage() {
    let (code, text) = broker().ctl(&["users", "add", "bob"]);
    assert_eq!(code, 0);
    let calls: Vec<&str> = text.lines().map(|row| row[..48].trim_end()).collect();
    let wanted = [
        "users list",
        "users add <Username> <Password>",
        "users update <Username> <NewPassword>",
        "users del <Username>",
    ];
    assert_eq!(calls, wanted, "{text}");
}

#[test]
fn a_password_from_standard_input() {
    let broker = broker();
    let name = unique("stdin");
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["users", "add", &name, "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    ctl.stdin
        .take()
        .unwrap()
        .write_all("p w€\n".as_bytes())
        .unwrap();
    let output = ctl.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"ok\n");
    admitted(broker, &name, "p w€");
    refused(broker, &name, "-");
    // At its end there is no password, and so no user.
    let (code, text) = broker.ctl(&["users", "add", &unique("stdin"), "-"]);
    assert_eq!((code, &*text), (1, "Error: the password is empty\n"));
}

#[test]
fn credentials_that_are_missing() {
    let broker = Broker::start(config(""));
    users(&broker, &["add", "bob", "p"], "ok\n");
    for (version, code) in emqttd_tests::ALL.into_iter().zip(REFUSED) {
        let bare = || Connect::new(version, &unique("bare"));
        // Though anonymous clients are allowed.
        assert_eq!(answer(&broker, &bare()), code, "{version}");
        assert_eq!(answer(&broker, &bare().username("bob")), code, "{version}");
        assert_eq!(answer(&broker, &bare().username("eve")), code, "{version}");
        assert_eq!(
            answer(&broker, &bare().username("bob").password("")),
            code,
            "{version}"
        );
        assert_eq!(
            answer(&broker, &bare().username("").password("p")),
            0,
            "{version}"
        );
    }
    // Sheet 5, check 5.
    admitted(&broker, "eve", "p");
    refused(self::broker(), "eve", "p");
}

/// Sheet 5, check 6.
#[test]
fn passwords_that_are_not_utf8() {
    // The MD5 of the bytes 0xff 0xfe.
    let broker = Broker::start(
        config(
            "auth.user.password_hash = md5\nauth.user.1.username = latin\n\
             auth.user.1.password = f3b25701fe362ec84616a93a45ce9998\n",
        )
        .set("mqtt.allow_anonymous", "false"),
    );
    for version in emqttd_tests::ALL {
        let mut connect = connect(version, "latin", "");
        connect.password = Some(vec![0xff, 0xfe]);
        assert_eq!(answer(&broker, &connect), 0, "{version}");
        connect.password = Some(vec![0xff, 0xff]);
        assert_ne!(answer(&broker, &connect), 0, "{version}");
        connect.password = Some(vec![0xff; 65_535]);
        connect.client_id = unique("long");
    }
    admitted(self::broker(), &new_user(self::broker(), "ключ"), "ключ");
}

/// Sheet 5, check 3 and 4.
#[test]
fn users_outlive_restarts_and_count_more_than_the_file() {
    let conf = "auth.user.1.username = a\nauth.user.1.password = p2\n\
                auth.user.2.username = name~!@#$%^&*()_+\nauth.user.2.password = pwsswd~!@#$%^&*()_+";
    let mut broker = Broker::start(config("").set("mqtt.allow_anonymous", "false"));
    users(&broker, &["add", "a", "p"], "ok\n");
    admitted(&broker, "a", "p");
    broker.end(End::Kill);
    broker.write_plugin_conf(PLUGIN, &format!("{CHEAP}{conf}"));
    broker.start_again();
    for _ in 0..2 {
        admitted(&broker, "a", "p");
        refused(&broker, "a", "p2");
        admitted(&broker, "name~!@#$%^&*()_+", "pwsswd~!@#$%^&*()_+");
        refused(&broker, "name~!@#$%^&*()_+", "p");
        broker.restart(End::Stop);
    }
    // Loaded anew, too, and a deleted user is gone for good.
    users(&broker, &["del", "a"], "ok\n");
    broker.write_plugin_conf(PLUGIN, CHEAP);
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    refused(&broker, "a", "p");
    broker.restart(End::Kill);
    refused(&broker, "a", "p");
}

#[test]
fn unloaded_it_decides_nothing() {
    let broker = Broker::start(config(""));
    users(&broker, &["add", "bob", "p"], "ok\n");
    refused(&broker, "bob", "x");
    broker.unload(PLUGIN);
    admitted(&broker, "bob", "x");
    let (code, text) = broker.ctl(&["users", "list"]);
    assert_eq!(code, 1);
    assert!(text.contains("Usage"), "{text}");
    broker.load(PLUGIN);
    refused(&broker, "bob", "x");
    users(&broker, &["list"], "bob\n");
}

#[test]
fn a_bad_file_is_refused_at_load_and_at_boot() {
    let mut broker = Broker::start(config("").set("mqtt.allow_anonymous", "false"));
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, "auth.user.1.password = hunter2\n");
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    for part in [
        "load plugin error",
        "auth.user.1.password",
        "emq_auth_username.conf:1",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!broker.is_active(PLUGIN));
    // A broker without its guard does not start.
    broker.end(End::Stop);
    std::fs::write(
        broker.root.join("data/loaded_plugins"),
        format!("{PLUGIN}.\n"),
    )
    .unwrap();
    let text = broker.try_start_again().unwrap_err();
    assert!(text.contains("auth.user.1.password"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn no_password_is_in_the_log_or_in_the_data() {
    let mut broker = Broker::start(config(
        "auth.user.1.username = filed\nauth.user.1.password = correct-horse-1\n",
    ));
    users(&broker, &["add", "bob", "correct-horse-2"], "ok\n");
    admitted(&broker, "bob", "correct-horse-2");
    admitted(&broker, "filed", "correct-horse-1");
    refused(&broker, "bob", "wrong-horse-3");
    broker.end(End::Stop);
    assert!(!broker.log().contains("-horse-"));
    let mut dirs = vec![broker.root.join("data"), broker.root.join("log")];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                files += 1;
                let found = bytes.windows(7).any(|part| part == b"-horse-");
                assert!(!found, "{}", path.display());
            }
        }
    }
    assert!(files > 2, "{files} files were looked at");
}

/// Many with right passwords at once, then all of them again.
#[test]
fn a_storm_of_reconnects() {
    let broker = Broker::start(config("").set("mqtt.allow_anonymous", "false"));
    users(&broker, &["add", "fleet", "p"], "ok\n");
    let names: Vec<String> = (0..20).map(|_| new_user(&broker, "own")).collect();
    let storm = || {
        thread::scope(|scope| {
            for (own, _) in names.iter().zip(0..20) {
                let broker = &broker;
                scope.spawn(move || {
                    for _ in 0..20 {
                        assert_eq!(answer(broker, &connect(Version::V311, "fleet", "p")), 0);
                        assert_eq!(answer(broker, &connect(Version::V5, own, "own")), 0);
                        assert_eq!(answer(broker, &connect(Version::V311, "fleet", "x")), 4);
                    }
                });
            }
        });
    };
    storm();
    storm();
    // Each name's password was hashed once, and the wrong one of the fleet.
    let (_, metrics) = broker.ctl(&["plugins", "show", PLUGIN]);
    let metric = |name: &str| {
        let head = format!("{PLUGIN}/{name}");
        let row = metrics.lines().find(|row| row.starts_with(&head));
        let row = row.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        row.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(metric("checked"), 22, "{metrics}");
    assert_eq!(metric("remembered"), 2 * 1200 - 22, "{metrics}");
    assert_eq!(metric("busy"), 0, "{metrics}");
}

/// Checks at the standard cost hold up nobody who is connected.
#[test]
fn guessing_holds_up_nobody() {
    let broker = Broker::start(
        Config::with_plugin(PLUGIN, "auth.user.scram_iterations = 0\n")
            .set("mqtt.allow_anonymous", "false"),
    );
    users(&broker, &["add", "bob", "p"], "ok\n");
    users(&broker, &["add", "al", "p"], "ok\n");
    let mut bob = broker.open(&connect(Version::V5, "bob", "p"));
    bob.sub("t", 1);
    // 40 guesses of which each costs a hash, and are not waited for.
    let guesses: Vec<Client> = (0..40)
        .map(|n| {
            let mut guess = broker.raw(Version::V311);
            guess.send(&connect(Version::V311, "al", &format!("guess{n}")).encode());
            guess
        })
        .collect();
    for n in 0..50 {
        bob.pub_("t", 1, &format!("{n}"));
        bob.expect("t", &format!("{n}"));
    }
    // Who is known comes in while the guesses still wait.
    assert_eq!(answer(&broker, &connect(Version::V5, "bob", "p")), 0);
    for mut guess in guesses {
        assert_eq!(guess.connack().1, 4);
    }
}

/// A client that has sent its first message, and the challenge.
fn challenged(broker: &Broker, connect: Connect, scram: &scram::Client) -> (Client, Vec<u8>) {
    let mut client = broker.raw(Version::V5);
    let connect = connect
        .prop(Prop::AuthMethod(scram::NAME.into()))
        .prop(Prop::AuthData(scram.first().into_bytes()));
    client.send(&connect.encode());
    let data = auth(&mut client, 0x18);
    (client, data)
}

/// The data of the AUTH packet that comes.
#[track_caller]
fn auth(client: &mut Client, wanted: u8) -> Vec<u8> {
    match client.recv() {
        Packet::Auth { code, props } => {
            assert_eq!(code, wanted);
            assert_eq!(props.auth_method().as_deref(), Some(scram::NAME));
            props.auth_data().unwrap()
        }
        other => panic!("AUTH wanted, got {other:?}"),
    }
}

fn send_auth(client: &mut Client, code: u8, data: &str) {
    let mut body = vec![code];
    body.extend(encode_props(&[
        Prop::AuthMethod(scram::NAME.into()),
        Prop::AuthData(data.into()),
    ]));
    client.send(&frame(0xf0, &body));
}

#[test]
fn scram_over_mqtt_5() {
    let broker = broker();
    let name = new_user(broker, "p€ncil");
    let scram = scram::Client::new(&name, "p€ncil".as_bytes(), "rOprNGfwEbeRWgbNEkqO");
    let bare = || Connect::new(Version::V5, &unique("scram"));
    for connect in [bare(), bare().username(&name)] {
        let (mut client, challenge) = challenged(broker, connect, &scram);
        let (last, proof_of_server) = scram.last(&challenge).unwrap();
        send_auth(&mut client, 0x18, &last);
        let (_, code, props) = client.connack();
        assert_eq!(code, 0);
        assert_eq!(props.auth_method().as_deref(), Some(scram::NAME));
        assert_eq!(props.auth_data(), Some(proof_of_server.into_bytes()));
        client.ping();
        // Once more, on the running connection [MQTT-4.12.1-1].
        send_auth(&mut client, 0x19, &scram.first());
        let challenge = auth(&mut client, 0x18);
        let (last, proof_of_server) = scram.last(&challenge).unwrap();
        send_auth(&mut client, 0x18, &last);
        assert_eq!(auth(&mut client, 0x00), proof_of_server.into_bytes());
        client.ping();
        // A wrong proof ends it [MQTT-4.12.1-2].
        let wrong = scram::Client::new(&name, b"pencil", "abc");
        send_auth(&mut client, 0x19, &wrong.first());
        let challenge = auth(&mut client, 0x18);
        send_auth(&mut client, 0x18, &wrong.last(&challenge).unwrap().0);
        client.expect_closed(&[0x87]);
    }
}

#[test]
fn scram_that_proves_nothing() {
    let broker = broker();
    let name = new_user(broker, "pencil");
    let bare = || Connect::new(Version::V5, &unique("scram"));
    let good = scram::Client::new(&name, b"pencil", "abc");
    for (connect, scram) in [
        (bare(), scram::Client::new(&name, b"pen", "abc")),
        (
            bare(),
            scram::Client::new(&unique("nobody"), b"pencil", "abc"),
        ),
        // as somebody else
        (
            bare().username("admin"),
            scram::Client::new(&name, b"pencil", "abc"),
        ),
    ] {
        let (mut client, challenge) = challenged(broker, connect, &scram);
        send_auth(&mut client, 0x18, &scram.last(&challenge).unwrap().0);
        assert_eq!(client.closed(), Some(0x87), "{scram:?}");
    }
    // A proof of another exchange.
    let (_one, challenge) = challenged(broker, bare(), &good);
    let (mut other, _) = challenged(broker, bare(), &good);
    send_auth(&mut other, 0x18, &good.last(&challenge).unwrap().0);
    assert_eq!(other.closed(), Some(0x87));
    // First messages that are none.
    for first in [
        "",
        "n,,n=,r=abc",
        "p=tls-unique,,n=bob,r=abc",
        "\u{fffd}",
        &"x".repeat(50_000),
    ] {
        let mut client = broker.raw(Version::V5);
        let connect = bare()
            .prop(Prop::AuthMethod(scram::NAME.into()))
            .prop(Prop::AuthData(first.into()));
        client.send(&connect.encode());
        assert_eq!(client.closed(), Some(0x87));
    }
    // Without the mechanism.
    let off = Broker::start(Config::with_plugin(
        PLUGIN,
        "auth.user.scram_iterations = 0\n",
    ));
    let mut client = off.raw(Version::V5);
    let connect = bare().prop(Prop::AuthMethod(scram::NAME.into()));
    client.send(&connect.encode());
    assert_eq!(client.closed(), Some(0x8c));
}
