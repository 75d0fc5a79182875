//! The keys `auth.redis.*`.

use crate::Command;
use emqttd_backend::{Address, Settings, TlsSettings};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Config, Entry, StartError};
use std::fmt;

const PORT: u16 = 6379;
/// That of sentinels.
const SENTINEL_PORT: u16 = 26379;

/// All of them.
#[derive(Debug)]
pub(crate) struct RedisSettings {
    pub common: Settings,
    pub servers: Servers,
    pub pool: usize,
    pub database: u32,
    /// of the servers that have the data
    pub login: Option<Login>,
    pub tls: Option<TlsSettings>,
    pub password_hash: Form,
    pub auth: Option<Command>,
    pub superuser: Option<Command>,
    pub acl: Option<Command>,
    pub subscriptions: Option<Command>,
}

/// Where the data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Servers {
    Single(Address),
    Sentinel {
        sentinels: Vec<Address>,
        /// name of the master
        master: String,
        login: Option<Login>,
    },
    Cluster(Vec<Address>),
}

/// What AUTH is sent with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub username: Option<String>,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.username)
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, all) = match self {
            Servers::Single(server) => return write!(f, "Redis server {server}"),
            Servers::Sentinel {
                sentinels, master, ..
            } => (format!("Redis master {master} of"), sentinels),
            Servers::Cluster(nodes) => ("Redis cluster".into(), nodes),
        };
        f.write_str(&what)?;
        for (index, address) in all.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {address}")?;
        }
        Ok(())
    }
}

impl RedisSettings {
    /// Reads them.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong; never a password.
    pub fn read(config: &Config) -> Result<RedisSettings, StartError> {
        let servers = Servers::read(config)?;
        let database = number(config, "auth.redis.database", 0)?;
        if let (Servers::Cluster(_), Some(entry)) = (&servers, config.entry("auth.redis.database"))
            && database != 0
        {
            return Err(entry.refused("must be 0: a cluster has no other database"));
        }
        let password_hash = match config.entry("auth.redis.password_hash") {
            None => Form::Plain,
            Some(entry) => match entry.value.trim().parse() {
                Ok(form) => form,
                Err(why) => return Err(entry.refused(why)),
            },
        };
        let command = |name: &str| {
            let entry = config.entry(&format!("auth.redis.{name}"));
            let parsed = entry.map(|e| Command::parse(&e.value).map_err(|why| e.refused(why)));
            parsed.transpose()
        };
        Ok(RedisSettings {
            common: Settings::read(config, "auth.redis")?,
            servers,
            pool: number(config, "auth.redis.pool", 8)? as usize,
            database,
            login: login(config, "auth.redis.password", "auth.redis.username")?,
            tls: TlsSettings::read(config, "auth.redis.ssl", "auth.redis.ssl_opts")?,
            password_hash,
            auth: command("auth_cmd")?,
            superuser: command("super_cmd")?,
            acl: command("acl_cmd")?,
            subscriptions: command("subs_cmd")?,
        })
    }
}

impl Servers {
    fn read(config: &Config) -> Result<Servers, StartError> {
        let key = |name: &str| {
            let entry = config.entry(&format!("auth.redis.{name}"));
            entry.filter(|entry| !entry.value.trim().is_empty())
        };
        let kind = key("type").map_or("single", |entry| entry.value.trim());
        let port = if kind == "sentinel" {
            SENTINEL_PORT
        } else {
            PORT
        };
        let Some(server) = key("server") else {
            return Err("auth.redis.server is not set: it takes the host:port of Redis".into());
        };
        let mut all =
            Address::parse_list(&server.value, port).map_err(|why| server.refused(why))?;
        match kind {
            "cluster" => Ok(Servers::Cluster(all)),
            "sentinel" => {
                let Some(master) = key("sentinel") else {
                    return Err(server.refused(
                        "names sentinels, and auth.redis.sentinel does not name their master",
                    ));
                };
                Ok(Servers::Sentinel {
                    sentinels: all,
                    master: master.value.trim().into(),
                    login: login(
                        config,
                        "auth.redis.sentinel_password",
                        "auth.redis.sentinel_username",
                    )?,
                })
            }
            _ => match (all.pop(), all.is_empty()) {
                (Some(one), true) => Ok(Servers::Single(one)),
                _ => Err(server
                    .refused("names several servers: set auth.redis.type to sentinel or cluster")),
            },
        }
    }
}

fn login(config: &Config, password: &str, username: &str) -> Result<Option<Login>, StartError> {
    let given = |key: &str| config.entry(key).filter(|entry| !entry.value.is_empty());
    match (given(password), given(username)) {
        (Some(secret), username) => Ok(Some(Login {
            username: username.map(|entry| entry.value.clone()),
            password: secret.value.clone(),
        })),
        (None, Some(name)) => Err(name.refused(format!("is of no use without {password}"))),
        (None, None) => Ok(None),
    }
}

fn number(config: &Config, key: &str, default: u32) -> Result<u32, StartError> {
    let read = |entry: &Entry| {
        let number = entry.value.trim().parse();
        number.map_err(|_| entry.refused("takes a number"))
    };
    config.entry(key).map_or(Ok(default), read)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<RedisSettings, StartError> {
        let mut pairs = vec![("auth.redis.server", "127.0.0.1:6390")];
        pairs.extend(more);
        RedisSettings::read(&Config::of(&pairs))
    }

    #[test]
    fn servers() {
        let shown = |more: &[(&str, &str)]| read(more).unwrap().servers.to_string();
        assert_eq!(shown(&[]), "Redis server 127.0.0.1:6390");
        assert_eq!(
            shown(&[("auth.redis.server", "db")]),
            "Redis server db:6379"
        );
        assert_eq!(
            shown(&[
                ("auth.redis.server", "a, b:7"),
                ("auth.redis.type", "cluster")
            ]),
            "Redis cluster a:6379, b:7"
        );
        assert_eq!(
            shown(&[
                ("auth.redis.server", "[::1],b"),
                ("auth.redis.type", "sentinel"),
                ("auth.redis.sentinel", "mymaster")
            ]),
            "Redis master mymaster of [::1]:26379, b:26379"
        );
    }

    #[test]
    fn a_password_is_taken_as_it_is_and_shown_nowhere() {
        let settings = read(&[
            ("auth.redis.password", " a#b c "),
            ("auth.redis.username", "mqtt"),
        ]);
        let settings = settings.unwrap();
        let login = settings.login.clone().unwrap();
        assert_eq!(login.password, " a#b c ");
        assert_eq!(login.username.as_deref(), Some("mqtt"));
        assert!(!format!("{settings:?}").contains("a#b"));
        assert_eq!(read(&[("auth.redis.password", "")]).unwrap().login, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pairs, wanted) in [
            (
                vec![("auth.redis.server", "")],
                "auth.redis.server is not set",
            ),
            (
                vec![("auth.redis.server", "a:b")],
                "auth.redis.server (test) `a:b`",
            ),
            (
                vec![("auth.redis.server", "a,b")],
                "auth.redis.server (test) names several",
            ),
            (
                vec![("auth.redis.type", "sentinel")],
                "auth.redis.sentinel does not name",
            ),
            (
                vec![("auth.redis.type", "cluster"), ("auth.redis.database", "3")],
                "auth.redis.database (test) must be 0",
            ),
            (
                vec![("auth.redis.username", "mqtt")],
                "auth.redis.username (test) is of no use",
            ),
            (
                vec![("auth.redis.acl_cmd", "HGETALL")],
                "auth.redis.acl_cmd (test) takes",
            ),
            (
                vec![("auth.redis.auth_cmd", "")],
                "auth.redis.auth_cmd (test) takes",
            ),
        ] {
            let StartError(why) = read(&pairs).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
