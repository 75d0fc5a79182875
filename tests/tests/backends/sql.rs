//! What `emq_auth_mysql` and `emq_auth_pgsql` have in common: each test of the modules below runs against both
//! servers.

pub mod failures;
pub mod logins;
pub mod rights;
pub mod tls;

use std::fmt::Display;
use std::io::Write as _;
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use emqttd_tests::servers::{PASSWORD, Server, USER};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Version, unique};

/// SHA-256 of `public`.
pub const PUBLIC: &str = "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7";
/// MD5 of `public`.
pub const PUBLIC_MD5: &str = "4c9184f37cff01bcdc32dc486ec36961";

/// CONNACK, in MQTT 3.1, 3.1.1 and 5.
pub const ACCEPTED: [u8; 3] = [0; 3];
pub const REFUSED: [u8; 3] = [4, 4, 0x86];
pub const UNAVAILABLE: [u8; 3] = [3, 3, 0x88];

/// A server, and how its plugin differs.
pub trait Database: Deref<Target = Server> + Sized + Send + Sync + 'static {
    const PLUGIN: &'static str;
    /// `auth.mysql`
    const HEAD: &'static str;
    /// The tables of the seed.
    const SCHEMA: &'static str;
    /// What makes a superuser.
    const TRUE: &'static str;
    /// A condition that takes half a minute.
    const SLEEP: &'static str;
    /// What tells the processes of a database that are at work on a query of users.
    const AT_WORK: &'static str;
    /// What counts the connections to a database but ours.
    const CONNECTIONS: &'static str;
    /// An option with which the server has no TLS.
    const WITHOUT_TLS: &'static str;

    fn shared() -> Option<&'static Self>;
    fn start_with(options: &[&str]) -> Option<Self>;
    /// A new database that user `mqtt` may use.
    fn fresh(&self) -> String;
    /// Runs statements as the administrator; a row a line.
    fn run(&self, database: &str, statements: &str) -> String;

    /// Ends all connections of `mqtt` to a database.
    fn end_all(&self, database: &str);

    fn start() -> Option<Self> {
        Self::start_with(&[])
    }
}

/// A test of this module for a server.
macro_rules! tests {
    ($server:ty: $($module:ident::$name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                crate::sql::$module::$name::<$server>();
            }
        )*
    };
}
pub(crate) use tests;

/// A database of its own, with the tables of the seed.
pub struct Bench<'a, D> {
    pub server: &'a D,
    pub database: String,
}

impl<'a, D: Database> Bench<'a, D> {
    pub fn new(server: &'a D) -> Bench<'a, D> {
        let bench = Bench::empty(server);
        bench.sql(D::SCHEMA);
        bench
    }

    /// Without tables.
    pub fn empty(server: &'a D) -> Bench<'a, D> {
        let database = server.fresh();
        Bench { server, database }
    }

    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.server.run(&self.database, statements)
    }

    #[track_caller]
    pub fn number(&self, query: &str) -> u64 {
        let text = self.sql(&query.replace("DB", &self.database));
        text.trim().parse().unwrap_or_else(|_| panic!("{text}"))
    }

    /// Puts a user of that name into the table.
    #[track_caller]
    pub fn user(&self, name: &str, password: &str, salt: Option<&str>) {
        let salt = salt.map_or("NULL".into(), |salt| format!("'{salt}'"));
        let name = name.replace('\'', "''");
        self.sql(&format!(
            "INSERT INTO mqtt_user (username, password, salt) VALUES ('{name}', '{password}', {salt})"
        ));
    }

    /// Puts a row into `mqtt_acl`: allow, ipaddr, username, clientid, access, topic.
    #[track_caller]
    pub fn rule(&self, values: &str) {
        self.sql(&format!(
            "INSERT INTO mqtt_acl (allow, ipaddr, username, clientid, access, topic) VALUES ({values})"
        ));
    }

    /// The keys of EMQ's file, for this database.
    pub fn keys(&self) -> Keys {
        let query =
            |columns| format!("select {columns} from mqtt_user where username = '%u' limit 1");
        Keys {
            head: D::HEAD,
            keys: Vec::new(),
        }
        .set("server", format!("127.0.0.1:{}", self.server.port()))
        .set("pool", 8)
        .set("username", USER)
        .set("password", PASSWORD)
        .set("database", &self.database)
        .set("auth_query", query("password"))
        .set("password_hash", "sha256")
        .set("super_query", query("is_superuser"))
        .set(
            "acl_query",
            "select allow, ipaddr, username, clientid, access, topic from mqtt_acl where ipaddr = '%a' \
             or username = '%u' or username = '$all' or clientid = '%c'",
        )
    }

    /// A broker that lets nobody in of whom the server says nothing.
    pub fn broker(&self, keys: &Keys) -> Broker {
        broker(D::PLUGIN, &keys.text())
    }
}

/// A broker with one plugin that lets nobody in of whom it says nothing.
pub fn broker(plugin: &str, conf: &str) -> Broker {
    let config = Config::with_plugin(plugin, conf)
        .set("mqtt.allow_anonymous", "false")
        .set("mqtt.max_clientid_len", "65535");
    Broker::start(config)
}

/// Keys of a plugin.
#[derive(Clone)]
pub struct Keys {
    head: &'static str,
    keys: Vec<(String, String)>,
}

impl Keys {
    pub fn set(mut self, name: &str, value: impl Display) -> Keys {
        self = self.without(name);
        self.keys.push((name.into(), value.to_string()));
        self
    }

    pub fn without(mut self, name: &str) -> Keys {
        self.keys.retain(|(key, _)| key != name);
        self
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let line = |(name, value): &(String, String)| format!("{}.{name} = {value}\n", self.head);
        self.keys.iter().map(line).collect()
    }
}

/// Loads the plugin with other keys.
#[track_caller]
pub fn reload<D: Database>(broker: &Broker, keys: &Keys) {
    broker.write_plugin_conf(D::PLUGIN, &keys.text());
    broker.unload(D::PLUGIN);
    broker.load(D::PLUGIN);
}

pub fn connect(version: Version, name: &str, password: &str) -> Connect {
    Connect::new(version, &unique("sql"))
        .username(name)
        .password(password)
}

/// The code of CONNACK.
#[track_caller]
pub fn answer(broker: &Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

/// In all versions.
#[track_caller]
pub fn answers(broker: &Broker, name: &str, password: &str, codes: [u8; 3]) {
    for (version, code) in ALL.into_iter().zip(codes) {
        let connect = connect(version, name, password);
        assert_eq!(answer(broker, &connect), code, "{version} {name:?}");
    }
}

/// The code of one CONNECT of MQTT 3.1.1.
#[track_caller]
pub fn login(broker: &Broker, name: &str, password: &str) -> u8 {
    answer(broker, &connect(Version::V311, name, password))
}

/// Tries until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The log says so, sooner or later.
#[track_caller]
pub fn logs(broker: &Broker, what: &str) {
    eventually(what, || broker.log().contains(what));
}

/// An MQTT 5 client, which is told what it may not.
#[track_caller]
pub fn open(broker: &Broker, name: &str, password: &str) -> Client {
    broker.open(&connect(Version::V5, name, password))
}

#[track_caller]
pub fn publishes(client: &mut Client, topic: &str) -> bool {
    client.pub_(topic, 1, "x") < 0x80
}

#[track_caller]
pub fn subscribes(client: &mut Client, filter: &str) -> bool {
    let codes = client.subscribe(&[emqttd_tests::Sub::new(filter, 0)], &[]);
    assert_eq!(codes.len(), 1);
    codes[0] < 0x80
}

/// A counter of the plugin, such as `auth/asked`.
#[track_caller]
pub fn metric(broker: &Broker, plugin: &str, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", plugin]);
    let head = format!("{plugin}/{name}: ");
    let row = text.lines().find(|row| row.starts_with(&head));
    let row = row.unwrap_or_else(|| panic!("no {name} in {text}"));
    row.rsplit(' ').next().unwrap().parse().unwrap()
}

/// `auth test` with a password.
pub fn auth_test(broker: &Broker, clientid: &str, username: &str, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", clientid, username, "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("{password}\n");
    ctl.stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let output = ctl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub fn acl_test(broker: &Broker, clientid: &str, name: &str, access: &str, topic: &str) -> String {
    let args = ["acl", "test", clientid, name, "127.0.0.1", access, topic];
    broker.ctl(&args).1
}

/// Names with which a client could try to be somebody else, or to break something.
pub fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "x' or '1'='1",
        "x' or '1'='1' -- ",
        "x'; DROP TABLE mqtt_user; -- ",
        "\\' or 1=1 -- ",
        "x\\",
        "'",
        "''",
        "\"",
        "`",
        "?",
        ":name",
        "$1",
        "%",
        "_",
        "%u",
        "%c",
        "'%u'",
        "*)(uid=*",
        r#"{"$gt":""}"#,
        "a b",
        "a&b",
        "+",
        "#",
        "a/b",
        "\r\n",
        "$all",
        "NULL",
        "ü€🦀",
        "\u{fffd}",
    ]
    .map(String::from)
    .to_vec();
    // The first packet of a connection is at most 64 KB long.
    for length in [101, 4_000, 65_000] {
        names.push("x".repeat(length));
        names.push("'".repeat(length));
    }
    names
}

/// The rows of `mqtt_acl` that EMQ's pages had.
pub const SEED_ROWS: &str = "INSERT INTO mqtt_acl (id, allow, ipaddr, username, clientid, access, topic) VALUES \
     (1,1,NULL,'$all',NULL,2,'#'), \
     (2,0,NULL,'$all',NULL,1,'$SYS/#'), \
     (3,0,NULL,'$all',NULL,1,'eq #'), \
     (5,1,'127.0.0.1',NULL,NULL,2,'$SYS/#'), \
     (6,1,'127.0.0.1',NULL,NULL,2,'#'), \
     (7,1,NULL,'dashboard',NULL,1,'$SYS/#')";
