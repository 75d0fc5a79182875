//! `emq_auth_http`, before a web service of our own.

mod failures;
mod logins;
mod requests;
mod rights;
mod tls;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emqttd_tests::servers::http::{HttpServer, Received, Reply};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Version, unique};

const PLUGIN: &str = "emq_auth_http";

/// CONNACK, in MQTT 3.1, 3.1.1 and 5.
const ACCEPTED: [u8; 3] = [0; 3];
const REFUSED: [u8; 3] = [4, 4, 0x86];
const UNAVAILABLE: [u8; 3] = [3, 3, 0x88];

/// The text of the seed, with a host put in where its own was lost.
fn seed(service: &HttpServer) -> String {
    format!(
        "auth.http.auth_req = {}\n\
         auth.http.auth_req.method = post\n\
         auth.http.auth_req.params = clientid=%c,username=%u,password=%P\n\
         auth.http.super_req = {}\n\
         auth.http.super_req.method = post\n\
         auth.http.super_req.params = clientid=%c,username=%u\n\
         auth.http.acl_req = {}\n\
         auth.http.acl_req.method = get\n\
         auth.http.acl_req.params = access=%A,username=%u,clientid=%c,ipaddr=%a,topic=%t\n",
        service.url("/auth"),
        service.url("/super"),
        service.url("/acl"),
    )
}

/// Only the question who comes in.
fn auth_only(service: &HttpServer) -> String {
    format!("auth.http.auth_req = {}\n", service.url("/auth"))
}

/// A broker that lets nobody in by itself.
fn broker(conf: &str) -> Broker {
    Broker::start(Config::with_plugin(PLUGIN, conf).set("mqtt.allow_anonymous", "false"))
}

/// The same, where those in doubt come in.
fn open_broker(conf: &str) -> Broker {
    Broker::start(Config::with_plugin(PLUGIN, conf))
}

/// A status for each path; 404 for others.
fn service(statuses: &'static [(&'static str, u16)]) -> HttpServer {
    HttpServer::start(move |request| {
        let found = statuses.iter().find(|(path, _)| *path == request.path());
        Reply::status(found.map_or(404, |(_, status)| *status))
    })
}

fn connect(version: Version, name: &str, password: &str) -> Connect {
    Connect::new(version, &unique("http"))
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

/// The codes in all versions.
#[track_caller]
fn answers(broker: &Broker, name: &str, password: &str) -> [u8; 3] {
    ALL.map(|version| answer(broker, &connect(version, name, password)))
}

/// A connected client of MQTT 3.1.1.
#[track_caller]
fn client(broker: &Broker, name: &str) -> Client {
    broker.open(&connect(Version::V311, name, "p"))
}

/// Tries until the code is that, for what has no sign.
#[track_caller]
fn await_answer(broker: &Broker, name: &str, code: u8) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let connect = connect(Version::V311, name, "p");
    while answer(broker, &connect) != code {
        assert!(Instant::now() < deadline, "{name} never gets {code}");
    }
}

/// What `auth test` prints.
fn auth_test(broker: &Broker, clientid: &str, name: &str, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", clientid, name, "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ctl.stdin.take().unwrap();
    writeln!(stdin, "{password}").unwrap();
    drop(stdin);
    let output = ctl.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A figure of the plugin's own.
#[track_caller]
fn figure(broker: &Broker, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let row = text.lines().find(|line| line.contains(name));
    let row = row.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    let number = row.rsplit([' ', ':']).next();
    number.and_then(|n| n.trim().parse().ok()).unwrap()
}

/// `emqttd_ctl set`, which has to succeed.
#[track_caller]
fn set(broker: &Broker, key: &str, value: &str) {
    let (_, text) = broker.ctl(&["set", &format!("{key}={value}"), "--app=emq_auth_http"]);
    assert!(text.contains("successfully"), "{key}={value}: {text}");
}

/// The value of a parameter of a form, or behind the `?`, with what the encoding hides.
fn param(request: &Received, name: &str) -> Option<Vec<u8>> {
    let query = request.target.split_once('?').map(|(_, query)| query);
    let query = query.unwrap_or_default().split('&');
    let head = format!("{name}=");
    let mut pairs = query.chain(request.body.split('&'));
    let value = pairs.find_map(|pair| pair.strip_prefix(&head))?;
    let mut bytes = value.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    Some(out)
}
