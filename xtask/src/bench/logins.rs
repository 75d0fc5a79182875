//! Rows about logins that another server decides, and about publishes under rules that it gave.
//!
//! The servers are scratch instances of the tests (`scratch-servers` of `tests/`), and the plugins have the files that
//! the broker is shipped with; only addresses, users and the form of the passwords differ.

mod scratch;
pub mod table;

use super::peers::Relay;
use super::server::{Extra, Peer, Programs, Server};
use crate::shell::{at, root};
use scratch::Scratch;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Bcrypt takes its time.
const LONG: Duration = Duration::from_secs(900);

/// What the rows are run with.
pub struct Bench<'a> {
    pub programs: &'a Programs,
    /// where the broker has its directory
    pub home: PathBuf,
    /// clients of a storm
    pub clients: u64,
    /// seconds of a measurement of publishes
    pub duration: f64,
    pub warmup: f64,
}

/// One row.
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New clients log in; the server is asked about each.
    Storm(Option<&'static Asked>, Stored),
    /// Messages at QoS 0, one to one in a closed loop, by clients that have logged in.
    Publish(Option<&'static Asked>),
}

/// A server, and how it is asked.
#[derive(PartialEq, Eq)]
pub struct Asked {
    /// as `scratch-servers` has it; none where the plugin knows by itself
    server: Option<&'static str>,
    plugin: &'static str,
    /// what clients send
    password: &'static str,
    /// keys in place of those of the shipped file; `PORT` and `FORM` are filled in
    keys: &'static [(&'static str, &'static str)],
    /// keys of the shipped file that are left out
    without: &'static [&'static str],
}

/// How the server has the passwords.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Sha256,
    /// cost 10
    Bcrypt,
}

impl Stored {
    /// The value of `password_hash`.
    fn form(self) -> &'static str {
        match self {
            Stored::Sha256 => "sha256",
            Stored::Bcrypt => "bcrypt",
        }
    }
}

static MYSQL: Asked = Asked {
    server: Some("mysql"),
    plugin: "emq_auth_mysql",
    password: "public",
    keys: &[
        ("auth.mysql.server", "127.0.0.1:PORT"),
        ("auth.mysql.username", "mqtt"),
        ("auth.mysql.password", "mqttpw"),
        ("auth.mysql.password_hash", "FORM"),
    ],
    without: &[],
};

static PGSQL: Asked = Asked {
    server: Some("pgsql"),
    plugin: "emq_auth_pgsql",
    password: "public",
    keys: &[
        ("auth.pgsql.server", "127.0.0.1:PORT"),
        ("auth.pgsql.username", "mqtt"),
        ("auth.pgsql.password", "mqttpw"),
        ("auth.pgsql.password_hash", "FORM"),
    ],
    without: &[],
};

static REDIS: Asked = Asked {
    server: Some("redis"),
    plugin: "emq_auth_redis",
    password: "public",
    keys: &[
        ("auth.redis.server", "127.0.0.1:PORT"),
        ("auth.redis.password", "rootpw"),
        ("auth.redis.password_hash", "FORM"),
    ],
    without: &[],
};

static MONGO: Asked = Asked {
    server: Some("mongo"),
    plugin: "emq_auth_mongo",
    password: "public",
    keys: &[
        ("auth.mongo.server", "127.0.0.1:PORT"),
        ("auth.mongo.login", "mqtt"),
        ("auth.mongo.password", "mqttpw"),
        ("auth.mongo.auth_source", "admin"),
        ("auth.mongo.auth_query.password_hash", "FORM"),
    ],
    without: &[],
};

static LDAP_SEARCH: Asked = Asked {
    server: Some("ldap"),
    plugin: "emq_auth_ldap",
    password: "public",
    keys: &[
        ("auth.ldap.port", "PORT"),
        ("auth.ldap.password_hash", "FORM"),
    ],
    without: &[],
};

static LDAP_BIND: Asked = Asked {
    server: Some("ldap"),
    plugin: "emq_auth_ldap",
    password: "public",
    keys: &[
        ("auth.ldap.port", "PORT"),
        ("auth.ldap.user_dn", "uid=%u,ou=people,dc=example,dc=com"),
    ],
    without: &[
        "auth.ldap.bind_dn",
        "auth.ldap.bind_password",
        "auth.ldap.auth_dn",
        "auth.ldap.password_hash",
    ],
};

static HTTP: Asked = Asked {
    server: Some("http"),
    plugin: "emq_auth_http",
    password: "public",
    keys: &[
        ("auth.http.auth_req", "http://127.0.0.1:PORT/mqtt/auth"),
        (
            "auth.http.super_req",
            "http://127.0.0.1:PORT/mqtt/superuser",
        ),
        ("auth.http.acl_req", "http://127.0.0.1:PORT/mqtt/acl"),
    ],
    without: &[],
};

/// The token is signed with the secret of the shipped file, by HS256.
static JWT: Asked = Asked {
    server: None,
    plugin: "emq_auth_jwt",
    password: "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCJ9.35hEG2XOGIAGKJwy2AMwVj-tCgvwteGNTodFy004z8I",
    keys: &[],
    without: &[],
};

const fn storm(name: &'static str, title: &'static str, asked: &'static Asked) -> Row {
    Row {
        name,
        title,
        kind: Kind::Storm(Some(asked), Stored::Sha256),
    }
}

const fn publish(name: &'static str, title: &'static str, asked: Option<&'static Asked>) -> Row {
    Row {
        name,
        title,
        kind: Kind::Publish(asked),
    }
}

pub const ROWS: &[Row] = &[
    Row {
        name: "login-none",
        title: "nobody is asked",
        kind: Kind::Storm(None, Stored::Sha256),
    },
    storm("login-mysql", "MariaDB, SHA-256", &MYSQL),
    Row {
        name: "login-mysql-bcrypt",
        title: "MariaDB, bcrypt",
        kind: Kind::Storm(Some(&MYSQL), Stored::Bcrypt),
    },
    storm("login-pgsql", "PostgreSQL, SHA-256", &PGSQL),
    storm("login-redis", "Redis, SHA-256", &REDIS),
    storm("login-mongo", "MongoDB's stand-in, SHA-256", &MONGO),
    storm("login-ldap", "OpenLDAP, search, SHA-256", &LDAP_SEARCH),
    storm("login-ldap-bind", "OpenLDAP, bind", &LDAP_BIND),
    storm("login-http", "a small web service", &HTTP),
    storm("login-jwt", "nobody; a token is checked, HS256", &JWT),
    publish("acl-none", "no plugin", None),
    publish("acl-mysql", "rules of MariaDB", Some(&MYSQL)),
    publish("acl-pgsql", "rules of PostgreSQL", Some(&PGSQL)),
    publish("acl-redis", "rules of Redis", Some(&REDIS)),
    publish("acl-http", "answers of a web service", Some(&HTTP)),
    publish("acl-mongo", "rules of MongoDB's stand-in", Some(&MONGO)),
];

impl Bench<'_> {
    /// Starts the server and the broker, runs the generator, and stops them.
    pub fn run(&self, row: &Row) -> Result<Map<String, Value>, String> {
        let (asked, stored) = match row.kind {
            Kind::Storm(asked, stored) => (asked, stored),
            Kind::Publish(asked) => (asked, Stored::Sha256),
        };
        let server = match asked.and_then(|asked| asked.server) {
            Some(name) => Some(Scratch::start(
                name,
                self.clients,
                stored == Stored::Bcrypt,
            )?),
            None => None,
        };
        let port = server.as_ref().map_or(0, |server| server.port);
        let extra = Extra {
            plugin: match asked {
                Some(asked) => Some((asked.plugin, asked.file(port, stored.form())?)),
                None => None,
            },
            known_only: asked.is_some(),
            ..Extra::default()
        };
        let password = asked.map_or("public", |asked| asked.password);
        let programs = self.programs;
        let mut broker = Server::start(Peer::Ours, programs, Relay::No, &self.home, &extra)?;
        if asked.is_some() {
            self.until_asked(&mut broker, password)?;
        }
        let figures = match row.kind {
            Kind::Storm(..) => {
                let args = format!("logins --n {} --user u --password {password}", self.clients);
                // So many that none waits longer for its turn than the plugin waits.
                let few = ["", " --inflight 16"][usize::from(stored == Stored::Bcrypt)];
                let mut figures = self.generate(&mut broker, &(args.clone() + few))?;
                if stored == Stored::Bcrypt {
                    // What was found out about a password and a hash is remembered.
                    let again = self.generate(&mut broker, &args)?;
                    for (key, value) in again {
                        figures.insert(format!("again_{key}"), value);
                    }
                }
                figures
            }
            Kind::Publish(_) => {
                let args = format!(
                    "p2p --pairs 16 --window 100 --user u0 --password {password} --dur {} --warmup {}",
                    self.duration, self.warmup
                );
                self.generate(&mut broker, &args)?
            }
        };
        for key in ["refused", "again_refused", "closed", "lost"] {
            if figures.get(key).and_then(Value::as_i64).unwrap_or(0) != 0 {
                return Err(format!("{key}: {}", Value::Object(figures)));
            }
        }
        Ok(figures)
    }

    /// Waits until the plugin has its connections: until the first client comes in.
    fn until_asked(&self, broker: &mut Server, password: &str) -> Result<(), String> {
        let mut last = json!(null);
        for _ in 0..50 {
            let args = format!("logins --n 1 --user u --password {password}");
            let figures = self.generate(broker, &args)?;
            if figures.get("refused").and_then(Value::as_i64) == Some(0) {
                return Ok(());
            }
            last = Value::Object(figures);
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("nobody is let in: {last} {}", broker.said()))
    }

    fn generate(&self, broker: &mut Server, args: &str) -> Result<Map<String, Value>, String> {
        let mut command = Command::new(&self.programs.mqload);
        command.args(args.split(' '));
        command.args(["--port", &broker.port.to_string()]);
        command.args(["--pid", &broker.pids()]);
        match super::generate(&mut command, LONG) {
            _ if !broker.alive() => Err(format!("the broker died: {}", broker.said())),
            Ok(Value::Object(figures)) => Ok(figures),
            Ok(other) => Err(format!("{args}: {other}")),
            Err(e) => Err(format!("{args}: {e}; {}", broker.said())),
        }
    }
}

impl Asked {
    /// The shipped file of the plugin with our keys.
    fn file(&self, port: u16, form: &str) -> Result<String, String> {
        let path = root().join(format!("etc/plugins/{}.conf", self.plugin));
        let shipped = at(&path, fs::read_to_string(&path))?;
        Ok(with_keys(&shipped, self.keys, self.without, port, form))
    }
}

fn with_keys(
    shipped: &str,
    keys: &[(&str, &str)],
    without: &[&str],
    port: u16,
    form: &str,
) -> String {
    let ours = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        keys.iter().any(|(k, _)| *k == key) || without.contains(&key)
    };
    let mut text: String = shipped
        .lines()
        .filter(|line| !ours(line))
        .map(|line| format!("{line}\n"))
        .collect();
    for (key, value) in keys {
        let value = value.replace("PORT", &port.to_string());
        text += &format!("{key} = {}\n", value.replace("FORM", form));
    }
    text
}

/// Where the broker of these rows lives, below the scratch directory.
pub fn home(scratch: &Path) -> PathBuf {
    scratch.join("logins")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_the_place_of_the_shipped_ones() {
        let shipped =
            "## auth.x.server = a\nauth.x.server = 127.0.0.1:1\nauth.x.pool = 8\nauth.x.dn = d\n";
        let keys = [("auth.x.server", "127.0.0.1:PORT"), ("auth.x.hash", "FORM")];
        assert_eq!(
            with_keys(shipped, &keys, &["auth.x.dn"], 7, "bcrypt"),
            "## auth.x.server = a\nauth.x.pool = 8\nauth.x.server = 127.0.0.1:7\nauth.x.hash = bcrypt\n"
        );
    }

    #[test]
    fn names_are_of_one_row_each() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{name}");
        }
    }
}
