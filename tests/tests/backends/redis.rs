//! `emq_auth_redis` against Redis alone, with sentinels, and as a cluster.

mod logins;
mod outages;
mod rules;
mod subscriptions;
mod tls;
mod topologies;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emqttd_tests::servers::{PASSWORD, Redis, Server, USER};
use emqttd_tests::{Broker, Client, Config, Connect, Sub, Version, unique};

const PLUGIN: &str = "emq_auth_redis";

/// Codes of CONNACK, MQTT 3.1.1.
const ALLOWED: u8 = 0;
const UNAVAILABLE: u8 = 3;
const REFUSED: u8 = 4;

/// What EMQ 2.3 ships, but for the server.
const SHIPPED: &str = "auth.redis.auth_cmd = HMGET mqtt_user:%u password\n\
                       auth.redis.super_cmd = HGET mqtt_user:%u is_superuser\n\
                       auth.redis.acl_cmd = HGETALL mqtt_acl:%u\n";

/// SHA-256 of `public`.
const PUBLIC: &str = "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7";

/// Where the server is, and who we are there.
fn server(server: &Server) -> String {
    format!(
        "auth.redis.server = 127.0.0.1:{}\nauth.redis.username = {USER}\nauth.redis.password = {PASSWORD}\n",
        server.port()
    )
}

/// A broker that lets nobody in but by the plugin.
fn broker(conf: &str) -> Broker {
    Broker::start(config(conf))
}

fn config(conf: &str) -> Config {
    Config::with_plugin(PLUGIN, conf).set("mqtt.allow_anonymous", "false")
}

/// The plugin with another file.
#[track_caller]
fn reload(broker: &Broker, conf: &str) {
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, conf);
    broker.load(PLUGIN);
}

fn connect(name: &str, password: &str) -> Connect {
    Connect::new(Version::V311, &unique("redis"))
        .username(name)
        .password(password)
}

/// The code of CONNACK.
#[track_caller]
fn answer_to(broker: &Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

#[track_caller]
fn answer(broker: &Broker, name: &str, password: &str) -> u8 {
    answer_to(broker, &connect(name, password))
}

#[track_caller]
fn login(broker: &Broker, name: &str, password: &str) -> Client {
    let connect = Connect::new(Version::V5, &unique("redis"));
    broker.open(&connect.username(name).password(password))
}

/// A user of that test, whose password is stored as it is.
fn new_user(redis: &Redis, password: &str) -> String {
    let name = unique("user");
    redis.cmd(&["HSET", &format!("mqtt_user:{name}"), "password", password]);
    name
}

/// Sets fields of a user's rules.
fn allow(redis: &Redis, name: &str, rules: &[&str]) {
    let key = format!("mqtt_acl:{name}");
    redis.cmd(&[&["HSET", &key], rules].concat());
}

/// Whether the filter is granted.
#[track_caller]
fn may_subscribe(client: &mut Client, filter: &str) -> bool {
    match client.subscribe(&[Sub::new(filter, 0)], &[])[..] {
        [0] => true,
        [0x87] => false,
        ref codes => panic!("SUBACK {codes:02x?}"),
    }
}

#[track_caller]
fn may_publish(client: &mut Client, topic: &str) -> bool {
    match client.pub_(topic, 1, "x") {
        0 | 0x10 => true,
        0x87 => false,
        code => panic!("PUBACK {code:02x}"),
    }
}

/// A counter.
#[track_caller]
fn metric(broker: &Broker, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let head = format!("{PLUGIN}/{name}: ");
    let row = text.lines().find_map(|row| row.strip_prefix(&head));
    let row = row.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    row.trim().parse().unwrap()
}

/// `emqttd_ctl auth test` with a password.
#[track_caller]
fn auth_test(broker: &Broker, clientid: &str, name: &str, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", clientid, name, "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ctl.stdin.take().unwrap();
    stdin.write_all(format!("{password}\n").as_bytes()).unwrap();
    drop(stdin);
    let output = ctl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for what the broker does by itself.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
