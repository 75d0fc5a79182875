//! The keys of the plugin.

use crate::selector::Selector;
use crate::tls::TlsFiles;
use emqttd_backend::{Address, Settings, TlsSettings};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Config, Entry, StartError};
use mongodb::options::{
    ClientOptions, Credential, ReadPreference, SelectionCriteria, ServerAddress, Tls,
};
use std::time::Duration;

const PORT: u16 = 27017;
/// Connections at most, whatever the keys multiply to.
const MOST_CONNECTIONS: u32 = 10_000;
/// Connections that are being made at a time: a storm of logins after a start should not wait for one by one.
const CONNECTING: u32 = 4;
/// A connection that takes longer is none, where the file does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The driver takes no shorter one.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// All keys.
#[derive(Debug)]
pub struct Keys {
    pub common: Settings,
    pub connection: Connection,
    pub users: Users,
    pub superusers: Option<Superusers>,
    pub rules: Option<Rules>,
}

/// Where users are.
#[derive(Debug)]
pub struct Users {
    pub collection: String,
    pub selector: Selector,
    /// path of the password, or of its hash
    pub password: String,
    /// path of the salt
    pub salt: Option<String>,
    pub form: Form,
}

/// Where superusers are.
#[derive(Debug)]
pub struct Superusers {
    pub collection: String,
    pub selector: Selector,
    /// path of what is true for them
    pub field: String,
}

/// Where rules are.
#[derive(Debug)]
pub struct Rules {
    pub collection: String,
    /// one of them is enough for a document
    pub selectors: Vec<Selector>,
}

/// Which servers, and how they are connected to.
#[derive(Debug)]
pub struct Connection {
    pub servers: Vec<Address>,
    pub topology: Topology,
    pub database: String,
    pub connections: u32,
    pub credential: Option<Credential>,
    pub tls: Option<TlsSettings>,
    /// who is read from
    pub reads: ReadPreference,
    /// how long a question waits for a server that may be asked
    pub selection: Duration,
    pub connect: Duration,
    pub heartbeat: Option<Duration>,
    pub local_threshold: Option<Duration>,
}

/// What the servers are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// one server, whatever it says of others
    Single,
    /// what the servers say
    Discovered,
    /// members of that replica set
    ReplicaSet(String),
}

impl Keys {
    /// Reads them.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn read(config: &Config) -> Result<Keys, StartError> {
        let common = Settings::read(config, "auth.mongo")?;
        let has = |query: &str, ids: bool| {
            let selector = format!("auth.mongo.{query}.selector");
            config.entry(&selector).is_some()
                || ids && !config.ids(&format!("{selector}.$id")).is_empty()
        };
        Ok(Keys {
            connection: Connection::read(config, &common)?,
            users: Users::read(config)?,
            superusers: match is_on(config, "super_query", has("super_query", false)) {
                true => Some(Superusers::read(config)?),
                false => None,
            },
            rules: match is_on(config, "acl_query", has("acl_query", true)) {
                true => Some(Rules::read(config)?),
                false => None,
            },
            common,
        })
    }
}

/// Whether a query is asked. 2.0 to 2.2 had no switches: there, and in their files, a query with a selector is on.
fn is_on(config: &Config, query: &str, has_selector: bool) -> bool {
    let key = format!("auth.mongo.{query}");
    let written = config
        .entry(&key)
        .is_some_and(|entry| entry.origin != "default");
    match config.switch(&key) {
        Some(on) if written => on,
        _ => has_selector,
    }
}

/// What the file has, without spaces around it; an empty value is none.
fn given<'a>(config: &'a Config, key: &str) -> Option<&'a Entry> {
    let entry = config.entry(key);
    entry.filter(|entry| !entry.value.trim().is_empty())
}

fn text(config: &Config, key: &str, otherwise: &str) -> String {
    given(config, key)
        .map_or(otherwise, |entry| entry.value.trim())
        .into()
}

fn selector(config: &Config, key: &str) -> Result<Selector, StartError> {
    match config.entry(key) {
        Some(entry) => Selector::parse(&entry.value).map_err(|why| entry.refused(why)),
        None => Err(missing(key)),
    }
}

fn missing(key: &str) -> StartError {
    let why =
        "is missing: without it every document would match. It takes pairs such as `username=%u`";
    StartError(format!("{key} {why}"))
}

impl Users {
    fn read(config: &Config) -> Result<Users, StartError> {
        let key = |name: &str| format!("auth.mongo.auth_query.{name}");
        let (password, salt) = match given(config, &key("password_field")) {
            None => ("password".into(), None),
            Some(entry) => {
                let is_divider = |c: char| c == ',' || c.is_whitespace();
                let words = entry
                    .value
                    .split(is_divider)
                    .filter(|word| !word.is_empty());
                match words.collect::<Vec<_>>()[..] {
                    [password] => (password.into(), None),
                    [password, salt] => (password.into(), Some(salt.into())),
                    _ => return Err(entry.refused("takes `password` or `password,salt`")),
                }
            }
        };
        let form = match given(config, &key("password_hash")) {
            None => "sha256".parse::<Form>()?,
            Some(entry) => entry
                .value
                .parse()
                .map_err(|why: String| entry.refused(why))?,
        };
        if form.wants_salt() && salt.is_none() {
            let entry = given(config, &key("password_hash"));
            let why = format!(
                "wants a salt: auth.mongo.auth_query.password_field = {password},salt names its field"
            );
            return Err(entry.map_or_else(|| why.as_str().into(), |entry| entry.refused(&why)));
        }
        Ok(Users {
            collection: text(config, &key("collection"), "mqtt_user"),
            selector: selector(config, &key("selector"))?,
            password,
            salt,
            form,
        })
    }
}

impl Superusers {
    fn read(config: &Config) -> Result<Superusers, StartError> {
        let key = |name: &str| format!("auth.mongo.super_query.{name}");
        Ok(Superusers {
            collection: text(config, &key("collection"), "mqtt_user"),
            selector: selector(config, &key("selector"))?,
            field: text(config, &key("super_field"), "is_superuser"),
        })
    }
}

impl Rules {
    fn read(config: &Config) -> Result<Rules, StartError> {
        let bare = "auth.mongo.acl_query.selector";
        let mut ids = config.ids(&format!("{bare}.$id"));
        // 2 before 10.
        ids.sort_by_key(|id| (id.parse::<u64>().ok(), id.clone()));
        let numbered = ids.iter().map(|id| format!("{bare}.{id}"));
        // The bare one is of use without others, and is wanted when there is none.
        let first = (ids.is_empty() || config.entry(bare).is_some()).then(|| bare.to_string());
        let keys = first.into_iter().chain(numbered);
        Ok(Rules {
            collection: text(config, "auth.mongo.acl_query.collection", "mqtt_user"),
            selectors: keys
                .map(|key| selector(config, &key))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Connection {
    fn read(config: &Config, common: &Settings) -> Result<Connection, StartError> {
        let mut servers = match config.entry("auth.mongo.server") {
            Some(entry) => {
                Address::parse_list(&entry.value, PORT).map_err(|why| entry.refused(why))?
            }
            None => vec![Address {
                host: "127.0.0.1".into(),
                port: PORT,
            }],
        };
        let topology = match text(config, "auth.mongo.type", "single").as_str() {
            "rs" => Topology::ReplicaSet(text(config, "auth.mongo.rs_set_name", "mqtt")),
            "unknown" | "sharded" => Topology::Discovered,
            _ => Topology::Single,
        };
        if topology == Topology::Single && servers.len() > 1 {
            log::warn!(
                "emq_auth_mongo: auth.mongo.type = single asks {} alone; for several servers there are rs and sharded",
                servers[0]
            );
            servers.truncate(1);
        }
        let name = text(config, "auth.mongo.login", "");
        let credential = (!name.is_empty()).then(|| {
            Credential::builder()
                .username(name)
                .password(
                    config
                        .text("auth.mongo.password")
                        .unwrap_or_default()
                        .to_string(),
                )
                .source(text(config, "auth.mongo.auth_source", "mqtt"))
                .build()
        });
        let reads = match text(config, "auth.mongo.r_mode", "undef").as_str() {
            "master" => ReadPreference::Primary,
            "slave_ok" => ReadPreference::SecondaryPreferred { options: None },
            _ => ReadPreference::PrimaryPreferred { options: None },
        };
        let option = |name: &str| {
            let number = config.integer(&format!("auth.mongo.topology.{name}"))?;
            u64::try_from(number).ok().filter(|number| *number > 0)
        };
        let period = |name: &str| option(name).map(Duration::from_millis);
        let workers = config.integer("auth.mongo.pool").unwrap_or(8).max(1);
        let each = option("pool_size")
            .unwrap_or(1)
            .saturating_add(option("max_overflow").unwrap_or(0));
        let connections = u64::try_from(workers).unwrap_or(1).saturating_mul(each);
        // A question that is asked again because its connection broke waits twice.
        let longest = common.timeout / 2;
        Ok(Connection {
            servers,
            topology,
            database: text(config, "auth.mongo.database", "mqtt"),
            connections: u32::try_from(connections)
                .unwrap_or(u32::MAX)
                .min(MOST_CONNECTIONS),
            credential,
            tls: TlsSettings::read(config, "auth.mongo.ssl", "auth.mongo.ssl_opts")?,
            reads,
            selection: period("server_selection_timeout_ms")
                .unwrap_or(longest)
                .min(longest),
            connect: period("connect_timeout_ms").unwrap_or(CONNECT_TIMEOUT),
            heartbeat: period("heartbeat_frequency_ms").map(|period| period.max(HEARTBEAT)),
            local_threshold: period("local_threshold_ms"),
        })
    }

    /// As people know it.
    pub fn title(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        format!("MongoDB server {}", servers.join(", "))
    }

    /// For the driver; the files have to live until it has been made.
    ///
    /// # Errors
    /// What is wrong with the files of TLS.
    pub fn options(&self) -> Result<(ClientOptions, Option<TlsFiles>), String> {
        let hosts = self.servers.iter().map(|address| ServerAddress::Tcp {
            host: address.host.clone(),
            port: Some(address.port),
        });
        let tls = self.tls.as_ref().map(TlsFiles::new).transpose()?;
        let mut options = ClientOptions::builder()
            .hosts(hosts.collect::<Vec<_>>())
            .app_name("emqttd".to_string())
            .max_pool_size(self.connections)
            .max_connecting(CONNECTING)
            .server_selection_timeout(self.selection)
            .connect_timeout(self.connect)
            .selection_criteria(SelectionCriteria::ReadPreference(self.reads.clone()))
            .build();
        match &self.topology {
            Topology::Single => options.direct_connection = Some(true),
            Topology::Discovered => options.direct_connection = Some(false),
            Topology::ReplicaSet(name) => options.repl_set_name = Some(name.clone()),
        }
        options.credential.clone_from(&self.credential);
        options.heartbeat_freq = self.heartbeat;
        options.local_threshold = self.local_threshold;
        options.tls = tls.as_ref().map(|tls| Tls::Enabled(tls.options.clone()));
        Ok((options, tls))
    }
}
