//! Scratch servers for trying plugins by hand and for the benchmark:
//!
//! `scratch-servers mysql pgsql redis ldap mongo http [--users N] [--bcrypt]`
//!
//! Starts them, fills the tables of EMQ's own configuration with the users `u0`, `u1`, ..., who have the password
//! `public` and may do everything, and prints a line of JSON for each server. They end when standard input does.
//! Passwords are stored as SHA-256, or as bcrypt of cost 10. `http` lets everybody in.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;

use emqttd_tests::servers::{Ldap, Mongo, Mysql, Pgsql, Redis, Server, keep};

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
";

const PGSQL: &str = "
CREATE TABLE mqtt_user (
    id serial PRIMARY KEY, username varchar(100) UNIQUE, password varchar(100), salt varchar(40),
    is_superuser boolean DEFAULT false);
CREATE TABLE mqtt_acl (
    id serial PRIMARY KEY, allow integer, ipaddr varchar(60), username varchar(100), clientid varchar(100),
    access integer, topic varchar(100));
";

/// Everybody may publish and subscribe to everything.
const RULE: &str =
    "INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, '$all', 3, '#');";

const REDIS: &str = "
for i, stored in ipairs(ARGV) do
    redis.call('HSET', 'mqtt_user:u' .. i - 1, 'password', stored, 'is_superuser', '0')
    redis.call('HSET', 'mqtt_acl:u' .. i - 1, '#', '3')
end";

/// The password `public` as each user has it stored.
struct Users {
    stored: Vec<String>,
}

impl Users {
    fn sha256(count: usize) -> Users {
        let stored = "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7";
        Users {
            stored: vec![stored.into(); count],
        }
    }

    /// Each with a salt of its own. They take minutes to make, so that they are kept.
    fn bcrypt(count: usize) -> Users {
        let kept = keep("bcrypt", &count.to_string(), |dir| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let numbers: Vec<usize> = (0..count).collect();
            let hash = |n: &usize| {
                let mut salt = [0; 16];
                salt[..8].copy_from_slice(&n.to_be_bytes());
                let parts = bcrypt::hash_with_salt("public", 10, salt).unwrap();
                parts.to_string() + "\n"
            };
            let text: String = std::thread::scope(|scope| {
                let shares = numbers.chunks(count.div_ceil(cores));
                let threads: Vec<_> = shares
                    .map(|share| scope.spawn(|| share.iter().map(hash).collect::<String>()))
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            std::fs::write(dir.join("stored"), text).unwrap();
        });
        let text = std::fs::read_to_string(kept.join("stored")).unwrap();
        Users {
            stored: text.lines().map(String::from).collect(),
        }
    }

    /// Number of a user, and what is stored.
    fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        self.stored.iter().map(String::as_str).enumerate()
    }

    /// The rows of `mqtt_user`, and the rule.
    fn rows(&self) -> String {
        let rows: Vec<String> = self
            .all()
            .map(|(i, stored)| format!("('u{i}','{stored}')"))
            .collect();
        let rows = rows.join(",");
        format!("INSERT INTO mqtt_user (username, password) VALUES {rows};\n{RULE}")
    }

    fn mysql(&self, mysql: &Mysql) {
        mysql.sql(MYSQL);
        mysql.sql(&self.rows());
    }

    fn pgsql(&self, pgsql: &Pgsql) {
        pgsql.sql(PGSQL);
        pgsql.sql(&self.rows());
    }

    fn redis(&self, redis: &Redis) {
        let mut words = vec!["EVAL", REDIS, "0"];
        words.extend(self.all().map(|(_, stored)| stored));
        redis.cmd(&words);
    }

    /// Below `ou=people` for a bind with the password, and of class `mqttUser` for a search.
    fn ldap(&self, ldap: &Ldap) {
        let (mut people, mut users) = (String::new(), String::new());
        for (i, stored) in self.all() {
            people += &format!(
                "dn: uid=u{i},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: u{i}\n\
                 cn: u{i}\nsn: u{i}\nuserPassword: public\n\n"
            );
            users += &format!(
                "dn: cn=u{i},ou=auth,dc=emqtt,dc=com\nobjectClass: mqttUser\ncn: u{i}\n\
                 username: u{i}\npassword: {stored}\n\n"
            );
        }
        ldap.add(&people);
        ldap.add(&users);
    }

    fn mongo(&self, mongo: &Mongo) {
        let of = |document: &dyn Fn(usize, &str) -> String| {
            let all: Vec<String> = self.all().map(|(i, stored)| document(i, stored)).collect();
            format!("[{}]", all.join(","))
        };
        let user = |i: usize, stored: &str| {
            format!(r#"{{"username":"u{i}","password":"{stored}","is_superuser":false}}"#)
        };
        let rule = |i: usize, _: &str| format!(r##"{{"username":"u{i}","pubsub":["#"]}}"##);
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
    let (mut names, mut count, mut bcrypt) = (Vec::new(), 10, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match &*word {
            "--users" => {
                let number = words.next().and_then(|n| n.parse().ok());
                count = number.filter(|n| *n > 0).unwrap_or(count);
            }
            "--bcrypt" => bcrypt = true,
            _ => names.push(word),
        }
    }
    let users = if bcrypt {
        Users::bcrypt(count)
    } else {
        Users::sha256(count)
    };
    let mut running = Vec::new();
    for name in &names {
        match start(name, &users) {
            Some(server) => running.push(server),
            None => return ExitCode::FAILURE,
        }
    }
    if running.is_empty() {
        eprintln!("scratch-servers mysql|pgsql|redis|ldap|mongo|http ... [--users N] [--bcrypt]");
        return ExitCode::FAILURE;
    }
    std::io::stdout().flush().unwrap();
    // Whoever started us goes, and they go with us.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    ExitCode::SUCCESS
}
