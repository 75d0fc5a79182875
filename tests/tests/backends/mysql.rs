//! `emq_auth_mysql` against MariaDB.

use std::fs;

use emqttd_tests::servers::{Mysql, PASSWORD};
use emqttd_tests::unique;

use crate::sql::{
    ACCEPTED, Bench, Database, PUBLIC, REFUSED, SEED_ROWS, acl_test, answers, broker, login, logs,
    open, publishes, reload, subscribes, tests,
};

impl Database for Mysql {
    const PLUGIN: &'static str = "emq_auth_mysql";
    const HEAD: &'static str = "auth.mysql";
    // The seed's, with the lines that its page had lost.
    const SCHEMA: &'static str = "\
        CREATE TABLE `mqtt_user` ( \
          `id` int(11) unsigned NOT NULL AUTO_INCREMENT, \
          `username` varchar(100) DEFAULT NULL, \
          `password` varchar(100) DEFAULT NULL, \
          `salt` varchar(35) DEFAULT NULL, \
          `is_superuser` tinyint(1) DEFAULT 0, \
          `created` datetime DEFAULT NULL, \
          PRIMARY KEY (`id`), \
          UNIQUE KEY `mqtt_username` (`username`) \
        ) ENGINE=MyISAM DEFAULT CHARSET=utf8; \
        CREATE TABLE `mqtt_acl` ( \
          `id` int(11) unsigned NOT NULL AUTO_INCREMENT, \
          `allow` int(1) DEFAULT NULL COMMENT '0: deny, 1: allow', \
          `ipaddr` varchar(60) DEFAULT NULL COMMENT 'IpAddress', \
          `username` varchar(100) DEFAULT NULL COMMENT 'Username', \
          `clientid` varchar(100) DEFAULT NULL COMMENT 'ClientId', \
          `access` int(2) NOT NULL COMMENT '1: subscribe, 2: publish, 3: pubsub', \
          `topic` varchar(100) NOT NULL DEFAULT '' COMMENT 'Topic Filter', \
          PRIMARY KEY (`id`) \
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8;";
    const TRUE: &'static str = "1";
    const SLEEP: &'static str = "sleep(30) = 0";
    const AT_WORK: &'static str = "SELECT count(*) FROM information_schema.processlist \
                                   WHERE db = 'DB' AND user = 'mqtt' AND command <> 'Sleep'";
    const CONNECTIONS: &'static str =
        "SELECT count(*) FROM information_schema.processlist WHERE db = 'DB' AND user = 'mqtt'";
    const WITHOUT_TLS: &'static str = "--skip-ssl";

    fn shared() -> Option<&'static Mysql> {
        Mysql::shared()
    }

    fn start_with(options: &[&str]) -> Option<Mysql> {
        Mysql::start_with(options)
    }

    fn fresh(&self) -> String {
        self.fresh_database()
    }

    fn run(&self, database: &str, statements: &str) -> String {
        self.sql_in(database, statements)
    }

    fn end_all(&self, database: &str) {
        let ids = "SELECT id FROM information_schema.processlist WHERE user = 'mqtt' AND db = ";
        for id in self.sql(&format!("{ids}'{database}'")).lines() {
            self.sql(&format!("KILL {id}"));
        }
    }
}

tests!(Mysql:
    logins::right_and_wrong_passwords,
    logins::every_form_of_hash,
    logins::the_first_row_counts,
    logins::hostile_names_find_nothing,
    logins::two_hundred_at_once,
    logins::auth_test_tells,
    logins::a_table_that_comes_later,
    logins::without_queries,
    rights::superusers,
    rights::rows_of_every_form,
    rights::rows_about_nobody,
    rights::names_with_a_dollar_and_no_match,
    rights::the_rows_of_the_seed,
    failures::started_before_the_server,
    failures::killed_and_restarted_in_flight,
    failures::hanging,
    failures::what_counts_when_it_is_down,
    failures::ended_connections_are_made_anew,
    failures::a_slow_query_is_given_up,
    tls::with_right_and_wrong_authority,
    tls::files_that_are_none,
    tls::against_a_server_without_tls,
    tls::over_ipv6,
    tls::the_brokers_own_password_is_wrong,
);

/// The plugin's section of the seed as it stands, but for the lost host name: the broker logs in without a name.
#[test]
fn the_section_of_the_seed() {
    let Some(mysql) = Mysql::start() else { return };
    mysql.sql("CREATE USER ''@'%'; GRANT SELECT ON mqtt.* TO ''@'%'");
    mysql.sql(Mysql::SCHEMA);
    mysql.sql(SEED_ROWS);
    mysql.sql(&format!(
        "INSERT INTO mqtt_user (username, password) VALUES ('test', '{PUBLIC}')"
    ));
    let conf = format!(
        "## Mysql Server\nauth.mysql.server = 127.0.0.1:{}\n\n\
         ## Mysql Pool Size\nauth.mysql.pool = 8\n\n\
         ## Mysql Username\n## auth.mysql.username =\n\n\
         ## Mysql Password\n## auth.mysql.password =\n\n\
         ## Mysql Database\nauth.mysql.database = mqtt\n\n\
         ## Variables: %u = username, %c = clientid\n\n\
         ## Authentication Query: select password only\n\
         auth.mysql.auth_query = select password from mqtt_user where username = '%u' limit 1\n\n\
         ## Password hash: plain, md5, sha, sha256, pbkdf2\nauth.mysql.password_hash = sha256\n\n\
         ## %% Superuser Query\n\
         auth.mysql.super_query = select is_superuser from mqtt_user where username = '%u' limit 1\n\n\
         ## ACL Query Command\n\
         auth.mysql.acl_query = select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
         where ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c'\n",
        mysql.port()
    );
    let broker = broker(Mysql::PLUGIN, &conf);
    answers(&broker, "test", "public", ACCEPTED);
    answers(&broker, "test", "x", REFUSED);
    answers(&broker, "nobody", "public", REFUSED);
    let mut client = open(&broker, "test", "public");
    assert!(publishes(&mut client, "a/b"));
    assert!(!subscribes(&mut client, "#"));
    assert!(subscribes(&mut client, "a/#"));
    mysql.sql("UPDATE mqtt_user SET is_superuser = 1");
    assert!(subscribes(&mut open(&broker, "test", "public"), "#"));
    // Host alone, port alone.
    let text = acl_test(&broker, "c", "test", "subscribe", "#");
    assert!(text.contains("a row denies it"), "{text}");
    let port = format!("auth.mysql.server = {}\n", mysql.port());
    let bare = conf.replace(
        &format!("auth.mysql.server = 127.0.0.1:{}\n", mysql.port()),
        &port,
    );
    broker.write_plugin_conf(Mysql::PLUGIN, &bare);
    broker.unload(Mysql::PLUGIN);
    broker.load(Mysql::PLUGIN);
    answers(&broker, "test", "public", ACCEPTED);
}

/// The number 1, of any width, and nothing else.
#[test]
fn what_makes_a_superuser() {
    let Some(mysql) = Mysql::shared() else { return };
    let bench = Bench::new(mysql);
    bench.user("test", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    let keys = bench.keys();
    let broker = bench.broker(&keys);
    for (what, superuser) in [
        ("1", true),
        ("cast(1 as unsigned)", true),
        ("count(*)", true),
        ("true", true),
        ("'1'", false),
        ("1.0", false),
        ("2", false),
        ("-1", false),
        ("null", false),
        ("'%u'", false),
    ] {
        reload::<Mysql>(
            &broker,
            &keys.clone().set("super_query", format!("select {what}")),
        );
        let mut client = open(&broker, "test", "public");
        assert_eq!(publishes(&mut client, "t"), superuser, "{what}");
    }
}

/// `password` and `salt` are found by their names, wherever they stand.
#[test]
fn columns_by_their_names() {
    let Some(mysql) = Mysql::shared() else { return };
    let bench = Bench::new(mysql);
    bench.user(
        "test",
        "f4a8615be301fbaf6213df33cfe5f22953aafc0c31beb8f2daef55b127444d27",
        Some("salt"),
    );
    let keys = bench.keys().set("password_hash", "sha256,salt");
    let broker = bench.broker(&keys);
    for columns in [
        "password, salt",
        "salt, password",
        "id, salt as Salt, password as PASSWORD",
        "password, id, salt",
        "password as hash, salt as pepper",
        "password, salt as pepper",
    ] {
        let query = format!("select {columns} from mqtt_user where username = '%u'");
        reload::<Mysql>(&broker, &keys.clone().set("auth_query", query));
        assert_eq!(login(&broker, "test", "public"), 0, "{columns}");
        assert_eq!(login(&broker, "test", "salt"), 4, "{columns}");
    }
}

/// Colons and quotes in a query are the server's business, and so are procedures.
#[test]
fn sql_of_every_sort() {
    let Some(mysql) = Mysql::shared() else { return };
    let bench = Bench::new(mysql);
    bench.user("test", PUBLIC, None);
    bench.sql(
        "CREATE TABLE `od:d` (`na:me` varchar(9), a text); INSERT INTO `od:d` VALUES ('test', '{\"a:b\": \"x\"}'); \
         CREATE PROCEDURE hash_of(IN name varchar(100)) SELECT password FROM mqtt_user WHERE username = name;",
    );
    let keys = bench.keys();
    let broker = bench.broker(&keys);
    for query in [
        "select password from mqtt_user where username = '%u' and 'a:b' <> '\\':c' and \"it''s :d\" <> '' -- :e '",
        "select /* :a '%c */ password from mqtt_user u join `od:d` o on o.`na:me` = u.username where username = '%u'",
        "select password from mqtt_user, (select @x := 1) y where username = '%u' and @x = 1",
        "select password from mqtt_user where username = '%u' and (select json_value(a, '$.a:b') from `od:d`) = 'x';",
        "select password from mqtt_user where username = '%u' and '%c' <> ':x' and '%a' = '127.0.0.1'",
        "call hash_of('%u')",
        "select password from mqtt_user where username like concat('%u', '%')",
    ] {
        reload::<Mysql>(&broker, &keys.clone().set("auth_query", query));
        assert_eq!(
            login(&broker, "test", "public"),
            0,
            "{query}\n{}",
            broker.log()
        );
        assert_eq!(login(&broker, "nobody", "public"), 4, "{query}");
    }
}

/// Which row `=` finds is the server's business: by EMQ's table case and blanks at the end do not matter. What
/// the rows of the ACL are compared with is the name that CONNECT had.
#[test]
fn names_by_the_collation_of_the_table() {
    let Some(mysql) = Mysql::shared() else { return };
    let bench = Bench::new(mysql);
    bench.user("alice", PUBLIC, None);
    bench.rule("0, NULL, 'alice', NULL, 3, 'no/#'");
    let broker = bench.broker(&bench.keys());
    for (name, may) in [("alice", false), ("Alice", true), ("alice ", true)] {
        let mut client = open(&broker, name, "public");
        assert_eq!(publishes(&mut client, "no/x"), may, "{name:?}");
    }
    let query = "select password from mqtt_user where username = binary '%u'";
    reload::<Mysql>(&broker, &bench.keys().set("auth_query", query));
    assert_eq!(login(&broker, "alice", "public"), 0);
    assert_eq!(login(&broker, "Alice", "public"), 4);
    assert_eq!(login(&broker, "alice ", "public"), 4);
}

#[test]
fn a_user_who_needs_a_certificate() {
    let Some(mysql) = Mysql::shared() else { return };
    let bench = Bench::new(mysql);
    bench.user("test", PUBLIC, None);
    let user = unique("certified");
    bench.sql(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SUBJECT '/CN=mqtt'; \
         GRANT ALL ON {}.* TO {user}@'%'",
        bench.database
    ));
    let keys = bench.keys().set("username", &user).set("ssl", "true");
    let keys = keys.set("ssl_opts.cacertfile", mysql.ca().display());
    let broker = bench.broker(&keys);
    assert_eq!(login(&broker, "test", "public"), 3);
    logs(&broker, "Access denied");
    let keys = keys
        .set("ssl_opts.certfile", mysql.client_cert().display())
        .set("ssl_opts.keyfile", mysql.client_key().display());
    reload::<Mysql>(&broker, &keys);
    assert_eq!(login(&broker, "test", "public"), 0);
}

/// A server that ends connections which are idle for a second.
#[test]
fn connections_that_were_idle_for_too_long() {
    let Some(mysql) = Mysql::start_with(&["--wait-timeout=1"]) else {
        return;
    };
    let bench = Bench::new(&mysql);
    bench.user("test", PUBLIC, None);
    let broker = bench.broker(&bench.keys());
    for _ in 0..2 {
        answers(&broker, "test", "public", ACCEPTED);
        crate::sql::eventually("the server ends them", || {
            bench.number(Mysql::CONNECTIONS) == 0
        });
    }
    answers(&broker, "test", "public", ACCEPTED);
    let refused = fs::read_to_string(broker.root.join("log/error.log")).unwrap_or_default();
    assert!(!refused.contains("emq_auth_mysql"), "{refused}");
}
