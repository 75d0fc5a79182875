//! The keys `auth.ldap.*`.

use crate::rights::Rights;
use emqttd_backend::{Address, Settings, Template, TlsSettings, Var};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Config, StartError};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What a connection is hidden by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    None,
    /// TLS after a request for it, over the ordinary port.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// One of the servers, which all have the same entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub address: Address,
    pub security: Security,
}

impl Server {
    /// Whether what is sent to it could be read on its way.
    pub fn is_exposed(&self) -> bool {
        let here = match self.address.host.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.address.host == "localhost",
        };
        self.security == Security::None && !here
    }
}

/// Who the broker is to the directory.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub dn: String,
    /// never empty: a bind without a password is anonymous
    pub password: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.dn)
    }
}

/// How a password is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `user_dn`: by a bind as that entry
    Bind { dn: Template },
    /// `auth_dn`: by an attribute of the entry that is found below `base`
    Search {
        base: Template,
        /// what is searched for: user name or client id
        key: Var,
        /// the attribute that has it
        key_attribute: String,
        password_attribute: String,
        form: Form,
    },
}

/// All keys, understood.
#[derive(Debug, Clone)]
pub struct LdapSettings {
    pub common: Settings,
    /// at least one
    pub servers: Vec<Server>,
    /// where one of the servers wants it
    pub tls: Option<TlsSettings>,
    /// `Some` where entries are read
    pub identity: Option<Identity>,
    pub mode: Mode,
    pub pool: usize,
    pub superuser_attribute: Option<String>,
    pub rights: Rights,
}

impl LdapSettings {
    /// Reads and checks them.
    pub fn read(config: &Config) -> Result<LdapSettings, StartError> {
        let mut common = Settings::read(config, "auth.ldap")?;
        // EMQ's key is in seconds, others are not; it meant them and took milliseconds.
        let seconds = config.integer("auth.ldap.timeout").unwrap_or(0);
        common.timeout = Settings::patience(match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => Duration::MAX,
        });
        let servers = servers(config)?;
        let hidden = |server: &Server| server.security != Security::None;
        let tls = match servers.iter().any(hidden) {
            true => Some(TlsSettings::options(config, "auth.ldap.ssl")?),
            false => None,
        };
        let mode = mode(config)?;
        let superuser_attribute = attribute(config, "superuser_attribute")?;
        let rights = Rights {
            publish: attribute(config, "publish_attribute")?,
            subscribe: attribute(config, "subscribe_attribute")?,
            pubsub: attribute(config, "pubsub_attribute")?,
        };
        let identity = identity(config, &mode)?;
        let pool = config.integer("auth.ldap.pool");
        Ok(LdapSettings {
            common,
            servers,
            tls,
            identity,
            mode,
            pool: pool.map_or(8, |size| usize::try_from(size).unwrap_or(8)),
            superuser_attribute,
            rights,
        })
    }
}

/// A key that is there and not empty.
fn text<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    let text = config.text(&format!("auth.ldap.{name}"))?.trim();
    Some(text).filter(|text| !text.is_empty())
}

/// Why a key cannot be used.
fn refused(config: &Config, name: &str, what: &str) -> StartError {
    let key = format!("auth.ldap.{name}");
    match config.entry(&key) {
        Some(entry) => entry.refused(what),
        None => StartError(format!("{key} {what}")),
    }
}

fn servers(config: &Config) -> Result<Vec<Server>, StartError> {
    let on = |name: &str| config.switch(&format!("auth.ldap.{name}")) == Some(true);
    let usual = match (on("ssl"), on("starttls")) {
        (true, true) => {
            let what = "cannot be on together with auth.ldap.ssl, which is TLS from the start";
            return Err(refused(config, "starttls", what));
        }
        (true, false) => Security::Tls,
        (false, true) => Security::StartTls,
        (false, false) => Security::None,
    };
    let port = config.integer("auth.ldap.port");
    let port = port.and_then(|port| u16::try_from(port).ok());
    let list = config.text("auth.ldap.servers").unwrap_or("127.0.0.1");
    let words = list.split(',').map(str::trim);
    let all: Result<Vec<Server>, String> = words
        .filter(|word| !word.is_empty())
        .map(|word| server(word, port.unwrap_or(PORT), usual))
        .collect();
    match all {
        Ok(all) if all.is_empty() => Err(refused(config, "servers", "names no server")),
        Ok(all) => Ok(all),
        Err(why) => Err(refused(config, "servers", &format!("is wrong: {why}"))),
    }
}

const PORT: u16 = 389;
const TLS_PORT: u16 = 636;

/// One of the list: `host`, `host:port`, or a URL without anything behind that.
fn server(word: &str, port: u16, usual: Security) -> Result<Server, String> {
    let (rest, port, security) = if let Some(rest) = word.strip_prefix("ldaps://") {
        let port = if port == PORT { TLS_PORT } else { port };
        (rest, port, Security::Tls)
    } else {
        let rest = word.strip_prefix("ldap://").unwrap_or(word);
        (rest, port, usual)
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '@']) {
        return Err(format!(
            "`{word}` is no host:port, ldap://host:port or ldaps://host:port"
        ));
    }
    Ok(Server {
        address: Address::parse(rest, port)?,
        security,
    })
}

fn mode(config: &Config) -> Result<Mode, StartError> {
    if let Some(dn) = text(config, "user_dn") {
        // Some directories also take `%u@example.com`.
        if dn.contains('=') && !is_dn(dn) {
            return Err(refused(config, "user_dn", NO_DN));
        }
        let dn = Template::parse(dn, Var::WHO);
        if !dn.has(Var::Username) && !dn.has(Var::Clientid) {
            let what = "has neither %u nor %c: all clients would be the same entry";
            return Err(refused(config, "user_dn", what));
        }
        return Ok(Mode::Bind { dn });
    }
    let Some(base) = text(config, "auth_dn") else {
        return Err("auth.ldap.auth_dn or auth.ldap.user_dn must say where clients are".into());
    };
    if !is_dn(base) {
        return Err(refused(config, "auth_dn", NO_DN));
    }
    let base = Template::parse(base, Var::WHO);
    let form: Form = text(config, "password_hash")
        .unwrap_or("sha256")
        .parse()
        .map_err(|why: String| refused(config, "password_hash", &format!("is wrong: {why}")))?;
    if form.wants_salt() {
        let what = "wants a salt, and an entry has no place for one; {SSHA256} and the like have it with them";
        return Err(refused(config, "password_hash", what));
    }
    let key = match base.has(Var::Clientid) && !base.has(Var::Username) {
        true => Var::Clientid,
        false => Var::Username,
    };
    Ok(Mode::Search {
        base,
        key,
        key_attribute: attribute(config, "username_attribute")?
            .unwrap_or_else(|| "username".into()),
        password_attribute: attribute(config, "password_attribute")?
            .unwrap_or_else(|| "password".into()),
        form,
    })
}

const NO_DN: &str = "is no DN: attribute=value pairs with commas between them";

/// Whether a key reads like a DN. What exactly is one only the directory knows.
fn is_dn(text: &str) -> bool {
    let pair = |part: &str| {
        let named = part.split_once('=').map(|(name, _)| name.trim());
        named.is_some_and(|name| !name.is_empty() && !name.contains(' '))
    };
    text.replace("\\,", "").split(',').all(pair)
}

/// The name of an attribute, or its number.
fn attribute(config: &Config, name: &str) -> Result<Option<String>, StartError> {
    let Some(attribute) = text(config, name) else {
        return Ok(None);
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !attribute.bytes().all(good) {
        return Err(refused(config, name, "is no name of an attribute"));
    }
    Ok(Some(attribute.into()))
}

/// Who the broker is, where it reads entries.
fn identity(config: &Config, mode: &Mode) -> Result<Option<Identity>, StartError> {
    let bind = matches!(mode, Mode::Bind { .. });
    let readers = [
        "superuser_attribute",
        "publish_attribute",
        "subscribe_attribute",
        "pubsub_attribute",
    ];
    let reader = readers
        .into_iter()
        .find(|name| text(config, name).is_some());
    if bind && reader.is_none() {
        return Ok(None);
    }
    let Some(dn) = text(config, "bind_dn") else {
        let what =
            "needs auth.ldap.bind_dn and auth.ldap.bind_password: as whom the broker reads entries";
        return Err(refused(config, reader.unwrap_or("auth_dn"), what));
    };
    let password = config.text("auth.ldap.bind_password").unwrap_or_default();
    if password.is_empty() {
        let what = "needs auth.ldap.bind_password: without a password nobody is bound as anybody";
        return Err(refused(config, "bind_dn", what));
    }
    Ok(Some(Identity {
        dn: dn.into(),
        password: password.into(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<LdapSettings, String> {
        let keys: Vec<(String, &str)> = pairs
            .iter()
            .map(|(name, value)| (format!("auth.ldap.{name}"), *value))
            .collect();
        let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        LdapSettings::read(&Config::of(&keys)).map_err(|error| error.0)
    }

    const USER_DN: (&str, &str) = ("user_dn", "uid=%u,ou=People,dc=example,dc=com");
    const READER: [(&str, &str); 2] = [("bind_dn", "cn=r"), ("bind_password", " s ")];

    #[test]
    fn servers_in_all_forms() {
        let shown = |servers: &str, more: &[(&str, &str)]| {
            let keys = [&[USER_DN, ("servers", servers)], more].concat();
            let all = read(&keys)?.servers;
            let all = all
                .iter()
                .map(|s| format!("{} {:?}", s.address, s.security));
            Ok::<_, String>(all.collect::<Vec<_>>().join(" | "))
        };
        let verify_none = [("ssl.verify", "verify_none")];
        for (servers, more, wanted) in [
            (
                "a, b:1 ,[::1]:2",
                &[][..],
                "a:389 None | b:1 None | [::1]:2 None",
            ),
            (
                "a,::1",
                &[("port", "10389")],
                "a:10389 None | [::1]:10389 None",
            ),
            (
                "ldap://a/,ldaps://b,ldaps://c:1/",
                &[],
                "a:389 None | b:636 Tls | c:1 Tls",
            ),
            ("ldaps://[::1]", &[("port", "99")], "[::1]:99 Tls"),
            ("a,ldap://b", &[("ssl", "true")], "a:389 Tls | b:389 Tls"),
            (
                "a,ldaps://b",
                &[("starttls", "on")],
                "a:389 StartTls | b:636 Tls",
            ),
        ] {
            let more = [more, &verify_none].concat();
            assert_eq!(shown(servers, &more).unwrap(), wanted);
        }
        for servers in [
            "",
            " , ",
            "ldapi:///run/ldapi",
            "ldap://a/dc=x",
            "http://a",
            "a:b",
            "u@a",
        ] {
            let why = shown(servers, &[]).unwrap_err();
            assert!(why.starts_with("auth.ldap.servers (test) "), "{why}");
        }
        let both = [("ssl", "true"), ("starttls", "on")];
        assert!(shown("a", &both).unwrap_err().contains("starttls"));
        // The key is not there.
        assert_eq!(
            read(&[USER_DN]).unwrap().servers[0].address.host,
            "127.0.0.1"
        );
    }

    #[test]
    fn who_could_be_overheard() {
        for (servers, exposed) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("localhost", false),
            ("ldap.example.com", true),
            ("10.0.0.1", true),
            ("ldaps://10.0.0.1", false),
        ] {
            let keys = [USER_DN, ("servers", servers), ("ssl.verify", "verify_none")];
            let settings = read(&keys).unwrap();
            assert_eq!(settings.servers[0].is_exposed(), exposed, "{servers}");
        }
    }

    #[test]
    fn seconds() {
        for (timeout, millis) in [("30", 4500), ("2", 2000), ("0", 4500), ("-1", 4500)] {
            let settings = read(&[USER_DN, ("timeout", timeout)]).unwrap();
            assert_eq!(settings.common.timeout.as_millis(), millis, "{timeout}");
        }
    }

    #[test]
    fn the_two_modes() {
        let auth_dn = ("auth_dn", "cn=%u,ou=auth,dc=emqtt,dc=com");
        let seed = read(&[USER_DN]).unwrap();
        assert!(matches!(seed.mode, Mode::Bind { .. }) && seed.identity.is_none());
        // The key of the old releases is looked at first.
        let both = read(&[&READER[..], &[USER_DN, auth_dn]].concat()).unwrap();
        assert!(matches!(both.mode, Mode::Bind { .. }) && both.identity.is_none());
        let search = read(&[&READER[..], &[auth_dn]].concat()).unwrap();
        assert_eq!(search.identity.unwrap().password, " s ");
        for (base, wanted) in [
            ("cn=%u,ou=x", Var::Username),
            ("cn=%c,ou=x", Var::Clientid),
            ("cn=%c,ou=%u", Var::Username),
            ("ou=x", Var::Username),
        ] {
            let settings = read(&[&READER[..], &[("auth_dn", base)]].concat()).unwrap();
            let Mode::Search { key, form, .. } = settings.mode else {
                panic!("{base}");
            };
            assert_eq!((key, form.to_string()), (wanted, "sha256".into()), "{base}");
        }
    }

    #[test]
    fn names_of_entries() {
        for dn in ["%u@example.com", "uid=%u", "uid = %u, o=a\\, b+c=d"] {
            assert!(read(&[("user_dn", dn)]).is_ok(), "{dn}");
        }
    }

    #[test]
    fn what_cannot_be_used() {
        let auth_dn = ("auth_dn", "cn=%u");
        for (keys, what) in [
            (&[][..], "must say where clients are"),
            (&[("user_dn", "cn=x")], "neither %u nor %c"),
            (&[("user_dn", "uid=%u,example")], "is no DN"),
            (&[("auth_dn", "%u")], "is no DN"),
            (&[("auth_dn", "ou=a b, =c")], "is no DN"),
            (&[auth_dn], "needs auth.ldap.bind_dn"),
            (
                &[auth_dn, ("bind_dn", "cn=x")],
                "needs auth.ldap.bind_password",
            ),
            (
                &[USER_DN, ("publish_attribute", "p")],
                "auth.ldap.publish_attribute (test) needs auth.ldap.bind_dn",
            ),
            (
                &[USER_DN, ("superuser_attribute", "s")],
                "needs auth.ldap.bind_dn",
            ),
            (
                &[auth_dn, READER[0], READER[1], ("password_hash", "salt,md5")],
                "wants a salt",
            ),
            (
                &[auth_dn, READER[0], READER[1], ("password_hash", "x")],
                "is no password_hash",
            ),
            (
                &[auth_dn, ("username_attribute", "a)(b")],
                "is no name of an attribute",
            ),
            (
                &[USER_DN, ("ssl", "true"), ("ssl.cacertfile", "/nowhere")],
                "/nowhere",
            ),
        ] {
            let why = read(keys).unwrap_err();
            assert!(why.contains(what), "{why}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let keys = [
            &READER[..],
            &[("auth_dn", "cn=%u"), ("bind_password", "s3cret")],
        ]
        .concat();
        let shown = format!("{:?}", read(&keys).unwrap());
        assert!(
            shown.contains("cn=r") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
