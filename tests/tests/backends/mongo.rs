//! `emq_auth_mongo`: sheet 11 against MongoDB, or what stands in for it (see `emqttd_tests::servers::Mongo`).

mod outages;
mod queries;
mod relay;
mod stub;
mod tls;
mod topology;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emqttd_tests::servers::Mongo;
use emqttd_tests::{Broker, Client, Config, Connect, Sub, Version, unique};

const PLUGIN: &str = "emq_auth_mongo";

/// CONNACK for a wrong password, by [`emqttd_tests::ALL`].
const REFUSED: [u8; 3] = [4, 4, 0x86];
/// CONNACK while nobody can tell.
const UNAVAILABLE: [u8; 3] = [3, 3, 0x88];

/// The queries that EMQ 2.3 shipped.
const QUERIES: &str = "auth.mongo.auth_query.collection = mqtt_user\n\
                       auth.mongo.auth_query.password_field = password\n\
                       auth.mongo.auth_query.password_hash = sha256\n\
                       auth.mongo.auth_query.selector = username=%u\n\
                       auth.mongo.super_query = on\n\
                       auth.mongo.super_query.collection = mqtt_user\n\
                       auth.mongo.super_query.super_field = is_superuser\n\
                       auth.mongo.super_query.selector = username=%u\n\
                       auth.mongo.acl_query = on\n\
                       auth.mongo.acl_query.collection = mqtt_acl\n\
                       auth.mongo.acl_query.selector = username=%u\n";

/// SHA-256 of `public`.
const PUBLIC: &str = "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7";

/// The keys for a database of that server, before those of the queries.
fn keys(mongo: &Mongo, database: &str) -> String {
    keys_at(mongo.address(), database)
}

/// As [`keys`], where the server is found elsewhere.
fn keys_at(address: &str, database: &str) -> String {
    format!(
        "auth.mongo.server = {address}\nauth.mongo.login = mqtt\nauth.mongo.password = mqttpw\n\
         auth.mongo.auth_source = admin\nauth.mongo.database = {database}\nauth.mongo.pool = 8\n"
    )
}

/// A broker with the plugin that lets nobody in who is unknown.
fn config(conf: &str) -> Config {
    Config::with_plugin(PLUGIN, conf).set("mqtt.allow_anonymous", "false")
}

/// A database with users, and a broker that knows them. `more` goes behind the keys and counts more than they.
fn site(mongo: &Mongo, users: &str, rules: &str, more: &str) -> Broker {
    let database = mongo.fresh_database();
    if !users.is_empty() {
        mongo.insert(&database, "mqtt_user", users);
    }
    if !rules.is_empty() {
        mongo.insert(&database, "mqtt_acl", rules);
    }
    Broker::start(config(&format!(
        "{}{QUERIES}{more}",
        keys(mongo, &database)
    )))
}

fn connect(version: Version, name: &str, password: &str) -> Connect {
    Connect::new(version, &unique("mongo"))
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
fn login(broker: &Broker, name: &str, password: &str) -> u8 {
    answer(broker, &connect(Version::V311, name, password))
}

#[track_caller]
fn admitted(broker: &Broker, name: &str, password: &str) {
    assert_eq!(login(broker, name, password), 0, "{name}");
}

#[track_caller]
fn refused(broker: &Broker, name: &str, password: &str) {
    assert_eq!(login(broker, name, password), 4, "{name}");
}

/// An MQTT 5 client of that user, whose password is `public`.
#[track_caller]
fn user(broker: &Broker, name: &str) -> Client {
    broker.open(&connect(Version::V5, name, "public"))
}

/// Whether a publication is taken.
#[track_caller]
fn may_publish(client: &mut Client, topic: &str) -> bool {
    match client.pub_(topic, 1, "x") {
        0 | 0x10 => true,
        0x87 => false,
        other => panic!("PUBACK {other:#x} for {topic}"),
    }
}

/// Whether a subscription is granted.
#[track_caller]
fn may_subscribe(client: &mut Client, filter: &str) -> bool {
    match client.subscribe(&[Sub::new(filter, 1)], &[])[..] {
        [1] => true,
        [0x87] => false,
        ref other => panic!("SUBACK {other:x?} for {filter}"),
    }
}

/// `emqttd_ctl auth test`, with the password on standard input.
fn auth_test(broker: &Broker, name: &str, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", "c1", name, "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ctl.stdin.take().unwrap();
    writeln!(stdin, "{password}").unwrap();
    drop(stdin);
    String::from_utf8(ctl.wait_with_output().unwrap().stdout).unwrap()
}

/// `emqttd_ctl acl test`.
fn acl_test(broker: &Broker, name: &str, access: &str, topic: &str) -> String {
    broker
        .ctl(&["acl", "test", "c1", name, "127.0.0.1", access, topic])
        .1
}

/// A counter of `plugins show`.
#[track_caller]
fn metric(broker: &Broker, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let head = format!("{PLUGIN}/{name}: ");
    let row = text.lines().find(|row| row.starts_with(&head));
    let row = row.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    row.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks again until the answer is that one, as clients do that try again.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
