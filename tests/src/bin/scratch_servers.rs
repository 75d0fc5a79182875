//! Scratch servers for trying plugins by hand and for the benchmark:
//!
//! `scratch-servers mysql pgsql redis ldap mongo http [--users N] [--stored HASH]`
//!
//! Starts them, fills the tables of EMQ's own configuration with the users `u0`, `u1`, ..., who may do everything,
//! and prints a line of JSON for each server. They end when standard input does. `http` lets everybody in.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;

use emqttd_tests::servers::{Ldap, Mongo, Mysql, Pgsql, Redis, Server};

/// Tables as EMQ's documentation has them, for MySQL.
const MYSQL: &str = "
CREATE TABLE mqtt_user (
    id int(11) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    username varchar(100) DEFAULT NULL, password varchar(100) DEFAULT NULL, salt varchar(35) DEFAULT NULL,
    is_superuser tinyint(1) DEFAULT 0, created datetime DEFAULT NULL,
    UNIQUE KEY mqtt_username (username));
CREATE TABLE mqtt_acl (
    id int(11) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    allow int(1) DEFAULT NULL, ipaddr varchar(60) DEFAULT NULL, username varchar(100) DEFAULT NULL,
    clientid varchar(100) DEFAULT NULL, access int(2) NOT NULL, topic varchar(100) NOT NULL DEFAULT '');
INSERT INTO mqtt_user (username, password)
    SELECT concat('u', seq), 'STORED' FROM seq_0_to_LAST;
";

const PGSQL: &str = "
CREATE TABLE mqtt_user (
    id serial PRIMARY KEY, username varchar(100) UNIQUE, password varchar(100), salt varchar(40),
    is_superuser boolean DEFAULT false);
CREATE TABLE mqtt_acl (
    id serial PRIMARY KEY, allow integer, ipaddr varchar(60), username varchar(100), clientid varchar(100),
    access integer, topic varchar(100));
INSERT INTO mqtt_user (username, password)
    SELECT 'u' || n, 'STORED' FROM generate_series(0, LAST) n;
";

/// Everybody may publish and subscribe to everything.
const RULE: &str =
    "INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, '$all', 3, '#');";

const REDIS: &str = "
for i = 0, tonumber(ARGV[1]) - 1 do
    redis.call('HSET', 'mqtt_user:u' .. i, 'password', ARGV[2], 'is_superuser', '0')
    redis.call('HSET', 'mqtt_acl:u' .. i, '#', '3')
end";

/// What users have: the password `public`, or what `--stored` says of it.
struct Users {
    count: usize,
    stored: String,
}

impl Users {
    fn fill(&self, text: &str) -> String {
        text.replace("STORED", &self.stored)
            .replace("LAST", &(self.count - 1).to_string())
    }

    fn mysql(&self, mysql: &Mysql) {
        mysql.sql(&self.fill(MYSQL));
        mysql.sql(RULE);
    }

    fn pgsql(&self, pgsql: &Pgsql) {
        pgsql.sql(&self.fill(PGSQL));
        pgsql.sql(RULE);
    }

    fn redis(&self, redis: &Redis) {
        redis.cmd(&["EVAL", REDIS, "0", &self.count.to_string(), &self.stored]);
    }

    /// Below `ou=people` for a bind with the password, and of class `mqttUser` for a search.
    fn ldap(&self, ldap: &Ldap) {
        let (mut people, mut users) = (String::new(), String::new());
        for i in 0..self.count {
            people += &format!(
                "dn: uid=u{i},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: u{i}\n\
                 cn: u{i}\nsn: u{i}\nuserPassword: public\n\n"
            );
            users += &format!(
                "dn: cn=u{i},ou=auth,dc=emqtt,dc=com\nobjectClass: mqttUser\ncn: u{i}\n\
                 username: u{i}\npassword: {}\n\n",
                self.stored
            );
        }
        ldap.add(&people);
        ldap.add(&users);
    }

    fn mongo(&self, mongo: &Mongo) {
        let of = |document: &dyn Fn(usize) -> String| {
            let all: Vec<String> = (0..self.count).map(document).collect();
            format!("[{}]", all.join(","))
        };
        let stored = &self.stored;
        let user =
            |i| format!(r#"{{"username":"u{i}","password":"{stored}","is_superuser":false}}"#);
        let rule = |i| format!(r##"{{"username":"u{i}","pubsub":["#"]}}"##);
        mongo.insert("mqtt", "mqtt_user", &of(&user));
        mongo.insert("mqtt", "mqtt_acl", &of(&rule));
        let index = r#"[{"key": {"username": 1}, "name": "username"}]"#;
        for collection in ["mqtt_user", "mqtt_acl"] {
            let command = format!(r#"{{"createIndexes": "{collection}", "indexes": {index}}}"#);
            mongo.run("mqtt", &command);
        }
    }
}

/// Keeps a server until the end.
type Running = Box<dyn std::any::Any>;

/// Starts a server and fills it; `None` if it is not installed, which has been said.
fn start(name: &str, users: &Users) -> Option<Running> {
    let tell = |port: u16, server: Option<&Server>| {
        let (tls, ca) = match server {
            Some(server) => (server.tls_port(), server.ca().display().to_string()),
            None => (port, String::new()),
        };
        println!(r#"{{"server":"{name}","port":{port},"tls_port":{tls},"ca":"{ca}"}}"#);
    };
    match name {
        "mysql" => {
            let server = Mysql::start()?;
            users.mysql(&server);
            tell(server.port(), Some(&server));
            Some(Box::new(server))
        }
        "pgsql" => {
            let server = Pgsql::start()?;
            users.pgsql(&server);
            tell(server.port(), Some(&server));
            Some(Box::new(server))
        }
        "redis" => {
            let server = Redis::start()?;
            users.redis(&server);
            tell(server.port(), Some(&server));
            Some(Box::new(server))
        }
        "ldap" => {
            let server = Ldap::start()?;
            users.ldap(&server);
            tell(server.port(), Some(&server));
            Some(Box::new(server))
        }
        "mongo" => {
            let server = Mongo::own()?;
            users.mongo(&server);
            tell(server.port(), Some(&server));
            Some(Box::new(server))
        }
        "http" => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            tell(listener.local_addr().unwrap().port(), None);
            Some(Box::new(std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || serve(stream));
                }
            })))
        }
        other => {
            eprintln!("{other}? There are mysql, pgsql, redis, ldap, mongo and http.");
            None
        }
    }
}

/// Answers requests one after the other: everybody may do everything, and nobody is a superuser.
fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut output = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        input.read_line(&mut first).ok().filter(|n| *n > 0)?;
        loop {
            let mut header = String::new();
            input.read_line(&mut header).ok().filter(|n| *n > 0)?;
            match header.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        std::io::copy(&mut (&mut input).take(length), &mut std::io::sink()).ok()?;
        let status = if first.contains("/mqtt/superuser") {
            "403 Forbidden"
        } else {
            "200 OK"
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        output.write_all(answer.as_bytes()).ok()?;
    }
}

fn main() -> ExitCode {
    // SHA-256 of "public".
    let sha256 = "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7";
    let mut users = Users {
        count: 10,
        stored: sha256.into(),
    };
    let mut names = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (&*word, words.len()) {
            ("--users", 1..) => {
                let count = words.next().and_then(|n| n.parse().ok());
                users.count = count.filter(|n| *n > 0).unwrap_or(users.count);
            }
            ("--stored", 1..) => users.stored = words.next().unwrap_or_default(),
            _ => names.push(word),
        }
    }
    let mut running = Vec::new();
    for name in &names {
        match start(name, &users) {
            Some(server) => running.push(server),
            None => return ExitCode::FAILURE,
        }
    }
    if running.is_empty() {
        eprintln!(
            "scratch-servers mysql|pgsql|redis|ldap|mongo|http ... [--users N] [--stored HASH]"
        );
        return ExitCode::FAILURE;
    }
    std::io::stdout().flush().unwrap();
    // Whoever started us goes, and they go with us.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    ExitCode::SUCCESS
}
