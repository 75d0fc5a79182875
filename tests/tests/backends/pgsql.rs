//! `emq_auth_pgsql` against PostgreSQL.

use std::fs;

use emqttd_tests::servers::{PASSWORD, Pgsql};
use emqttd_tests::{ALL, Version};

use crate::sql::{
    ACCEPTED, Bench, Database, PUBLIC, REFUSED, SEED_ROWS, acl_test, answer, answers, auth_test,
    broker, connect, login, logs, metric, open, publishes, reload, subscribes, tests,
};

impl Database for Pgsql {
    const PLUGIN: &'static str = "emq_auth_pgsql";
    const HEAD: &'static str = "auth.pgsql";
    // The seed's, with the lines that its page had lost.
    const SCHEMA: &'static str = "\
        CREATE TABLE mqtt_user ( \
          id SERIAL primary key, \
          is_superuser boolean, \
          username character varying(100), \
          password character varying(100), \
          salt character varying(40) \
        ); \
        CREATE TABLE mqtt_acl ( \
          id SERIAL primary key, \
          allow integer, \
          ipaddr character varying(60), \
          username character varying(100), \
          clientid character varying(100), \
          access  integer, \
          topic character varying(100) \
        );";
    const TRUE: &'static str = "true";
    const SLEEP: &'static str = "pg_sleep(30) is null";
    const AT_WORK: &'static str = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'DB' \
                                   AND application_name = 'emqttd' AND state = 'active'";
    const CONNECTIONS: &'static str = "SELECT count(*) FROM pg_stat_activity \
                                       WHERE datname = 'DB' AND application_name = 'emqttd'";
    const WITHOUT_TLS: &'static str = "ssl=off";

    fn shared() -> Option<&'static Pgsql> {
        Pgsql::shared()
    }

    fn start_with(options: &[&str]) -> Option<Pgsql> {
        Pgsql::start_with(options)
    }

    fn fresh(&self) -> String {
        self.fresh_database()
    }

    fn run(&self, database: &str, statements: &str) -> String {
        self.sql_in(database, statements)
    }

    fn end_all(&self, database: &str) {
        self.sql_in(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'emqttd'",
        );
    }
}

tests!(Pgsql:
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

/// Puts rules before those of the server about who may log in how.
fn hba(pgsql: &Pgsql, rules: &str) {
    let path = pgsql.dir().join("data/pg_hba.conf");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{rules}\n{text}")).unwrap();
    pgsql.restart();
}

/// The plugin's section of the seed as it stands, but for the lost host name: the broker is `root` and has no
/// password.
#[test]
fn the_section_of_the_seed() {
    let Some(pgsql) = Pgsql::start() else { return };
    hba(&pgsql, "host mqtt root 127.0.0.1/32 trust");
    pgsql.admin("mqtt", Pgsql::SCHEMA);
    pgsql.admin("mqtt", SEED_ROWS);
    pgsql.admin(
        "mqtt",
        &format!("INSERT INTO mqtt_user (username, password) VALUES ('test', '{PUBLIC}')"),
    );
    let conf = format!(
        "## Postgre Server\nauth.pgsql.server = 127.0.0.1:{}\n\n\
         auth.pgsql.pool = 8\n\nauth.pgsql.username = root\n\n#auth.pgsql.password =\n\n\
         auth.pgsql.database = mqtt\n\nauth.pgsql.encoding = utf8\n\nauth.pgsql.ssl = false\n\n\
         ## Variables: %u = username, %c = clientid, %a = ipaddress\n\n\
         ## Authentication Query: select password only\n\
         auth.pgsql.auth_query = select password from mqtt_user where username = '%u' limit 1\n\n\
         ## Password hash: plain, md5, sha, sha256, pbkdf2\nauth.pgsql.password_hash = sha256\n\n\
         ## sha256 with salt prefix\n## auth.pgsql.password_hash = salt sha256\n\n\
         ## sha256 with salt suffix\n## auth.pgsql.password_hash = sha256 salt\n\n\
         ## Superuser Query\n\
         auth.pgsql.super_query = select is_superuser from mqtt_user where username = '%u' limit 1\n\n\
         ## ACL Query. Comment this query, the acl will be disabled.\n\
         auth.pgsql.acl_query = select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
         where ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c'\n",
        pgsql.port()
    );
    let broker = broker(Pgsql::PLUGIN, &conf);
    answers(&broker, "test", "public", ACCEPTED);
    answers(&broker, "test", "x", REFUSED);
    answers(&broker, "nobody", "public", REFUSED);
    let mut client = open(&broker, "test", "public");
    assert!(publishes(&mut client, "a/b"));
    assert!(!subscribes(&mut client, "#"));
    assert!(subscribes(&mut client, "a/#"));
    pgsql.admin("mqtt", "UPDATE mqtt_user SET is_superuser = true");
    assert!(subscribes(&mut open(&broker, "test", "public"), "#"));
}

/// Sheet 9, check 5; SCRAM is what all other tests use.
#[test]
fn passwords_of_the_broker_by_md5() {
    let Some(pgsql) = Pgsql::start_with(&["password_encryption=md5"]) else {
        return;
    };
    hba(
        &pgsql,
        "host all old 127.0.0.1/32 md5\nhost all plain 127.0.0.1/32 password",
    );
    let bench = Bench::new(&pgsql);
    bench.user("test", PUBLIC, None);
    for role in ["old", "plain"] {
        pgsql.admin(
            &bench.database,
            &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE mqtt"),
        );
        let kept = pgsql.admin(
            "postgres",
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'old'",
        );
        assert!(kept.starts_with("md5"), "{kept}");
        let broker = bench.broker(&bench.keys().set("username", role));
        assert_eq!(login(&broker, "test", "public"), 0, "{role}");
        reload::<Pgsql>(
            &broker,
            &bench.keys().set("username", role).set("password", "x"),
        );
        assert_eq!(login(&broker, "test", "public"), 3, "{role}");
        logs(&broker, "password authentication failed");
    }
}

/// True, and nothing else.
#[test]
fn what_makes_a_superuser() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let bench = Bench::new(pgsql);
    bench.user("test", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    let keys = bench.keys();
    let broker = bench.broker(&keys);
    for (what, superuser) in [
        ("true", true),
        ("1 = 1", true),
        ("false", false),
        ("null::boolean", false),
        ("1", false),
        ("'t'", false),
        ("'%u'", false),
    ] {
        reload::<Pgsql>(
            &broker,
            &keys.clone().set("super_query", format!("select {what}")),
        );
        let mut client = open(&broker, "test", "public");
        assert_eq!(publishes(&mut client, "t"), superuser, "{what}");
    }
}

/// Values are read as the type that they are compared with; who does not fit is not found, and that is all.
#[test]
fn values_of_every_type() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let bench = Bench::new(pgsql);
    pgsql.admin(&bench.database, "CREATE EXTENSION IF NOT EXISTS citext");
    bench.sql(&format!(
        "CREATE TYPE colour AS ENUM ('red', 'blue'); \
         CREATE DOMAIN label AS text CHECK (value <> ''); \
         CREATE TABLE things (i int, b bigint, u uuid, n inet, f char(20), c citext, e colour, l label, \
                              d date, hash varchar(64)); \
         INSERT INTO things VALUES (7, 5000000000, '6ecd8c99-4036-403d-bf84-cf8400f67836', '127.0.0.1', 'fixed', \
                                    'CiTeXt', 'red', 'label', '2020-02-29', '{PUBLIC}')"
    ));
    let keys = bench.keys();
    let broker = bench.broker(&keys);
    for (column, name, others) in [
        (
            "i",
            "7",
            &["8", "x", "7.5", "99999999999999999999", "", "7; --"][..],
        ),
        ("b", "5000000000", &["x", "-1"]),
        ("u", "6ecd8c99-4036-403d-bf84-cf8400f67836", &["x", "{}"]),
        (
            "n",
            "127.0.0.1",
            &["127.0.0.2", "::1", "localhost", "127.0.0.1/99"],
        ),
        ("f", "fixed", &["fixe", "FIXED"]),
        ("c", "cItExT", &["citex"]),
        ("e", "red", &["blue", "green"]),
        ("l", "label", &["x"]),
        ("d", "2020-02-29", &["2021-02-29", "today?"]),
    ] {
        let query = format!("select hash from things where {column} = '%u' and '%u' <> ''");
        reload::<Pgsql>(&broker, &keys.clone().set("auth_query", query));
        let before = metric(&broker, Pgsql::PLUGIN, "auth/unavailable");
        assert_eq!(
            login(&broker, name, "public"),
            0,
            "{column} {}",
            broker.log()
        );
        for _ in 0..3 {
            for other in others {
                assert_eq!(login(&broker, other, "public"), 4, "{column} {other:?}");
            }
        }
        assert_eq!(metric(&broker, Pgsql::PLUGIN, "auth/unavailable"), before);
        assert_eq!(login(&broker, name, "public"), 0, "{column}");
    }
    let query = "select hash from things where i = '%u'";
    reload::<Pgsql>(&broker, &keys.clone().set("auth_query", query));
    let text = auth_test(&broker, "c", "seven", "public");
    assert!(
        text.contains("not of the type that it is compared with"),
        "{text}"
    );

    // Who may choose his client id must not get rid of the rules by that.
    bench.user("u", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    let acl = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl where id = '%c' or true";
    reload::<Pgsql>(&broker, &keys.clone().set("acl_query", acl));
    let mut numbered = connect(Version::V5, "u", "public");
    for id in ["12345", "abc"] {
        numbered.client_id = id.into();
        assert!(!publishes(&mut broker.open(&numbered), "t"), "{id}");
    }
    assert_eq!(login(&broker, "u", "public"), 0);
    let text = acl_test(&broker, "abc", "u", "publish", "t");
    assert!(
        text.contains("a value of the client is not of the type"),
        "{text}"
    );
    // Nor where the plugin has nothing to say while its server is away.
    let careless = keys
        .clone()
        .set("acl_query", acl)
        .set("acl_on_unavailable", "ignore");
    reload::<Pgsql>(&broker, &careless);
    numbered.client_id = "abc".into();
    assert!(!publishes(&mut broker.open(&numbered), "t"));
}

/// Columns of every type that can be read, and one that cannot.
#[test]
fn columns_of_every_type() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let bench = Bench::empty(pgsql);
    bench.sql(&format!(
        "CREATE TABLE mqtt_user (username text, password char(80), is_superuser boolean); \
         INSERT INTO mqtt_user VALUES ('u', '{PUBLIC}', false); \
         CREATE TABLE mqtt_acl (allow boolean, ipaddr inet, username name, clientid uuid, access smallint, topic text); \
         INSERT INTO mqtt_acl VALUES (false, NULL, 'u', NULL, 2, 'all/#'); \
         INSERT INTO mqtt_acl VALUES (false, '127.0.0.0/8', NULL, NULL, 2, 'net/#'); \
         INSERT INTO mqtt_acl VALUES (false, '10.0.0.0/8', NULL, NULL, 2, 'other/#'); \
         INSERT INTO mqtt_acl VALUES (false, NULL, NULL, '6ecd8c99-4036-403d-bf84-cf8400f67836', 2, 'uuid/#')"
    ));
    let acl = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
               where ipaddr is null or ipaddr >>= '%a'";
    let keys = bench.keys().set("acl_query", acl);
    let broker = bench.broker(&keys);
    for version in ALL {
        assert_eq!(answer(&broker, &connect(version, "u", "public")), 0);
    }
    let mut connect = connect(Version::V5, "u", "public");
    connect.client_id = "6ecd8c99-4036-403d-bf84-cf8400f67836".into();
    let mut client = broker.open(&connect);
    for (topic, may) in [
        ("all/x", false),
        ("net/x", false),
        ("other/x", true),
        ("uuid/x", false),
    ] {
        assert_eq!(publishes(&mut client, topic), may, "{topic}");
    }
    let numeric =
        "select allow::int::numeric, ipaddr, username, clientid, access, topic from mqtt_acl";
    reload::<Pgsql>(&broker, &keys.set("acl_query", numeric));
    assert!(!publishes(&mut open(&broker, "u", "public"), "other/x"));
    logs(
        &broker,
        "acl_query: column 1 (allow) cannot be read: its type is numeric: cast it to text",
    );
}

/// Quotes, colons and numbers of parameters in a query are the server's business.
#[test]
fn sql_of_every_sort() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let bench = Bench::new(pgsql);
    bench.user("test", PUBLIC, None);
    bench.sql("CREATE FUNCTION hash_of(text) RETURNS varchar AS 'SELECT password FROM mqtt_user WHERE username = $1' LANGUAGE sql");
    let keys = bench.keys();
    let broker = bench.broker(&keys);
    for query in [
        "select password from mqtt_user where username = '%u'::text and 'a:b' <> $$:c '$$ -- :d '",
        "select password pass_hash from mqtt_user where username in ('%u', '%u', '%c') and '%a'::inet << '127.0.0.0/8'",
        "with x as (select '%u' as name) select password from mqtt_user, x where username = x.name;",
        "select hash_of('%u') where hash_of('%u') is not null",
        "select password from mqtt_user where username like '%u' || '%'",
    ] {
        reload::<Pgsql>(&broker, &keys.clone().set("auth_query", query));
        assert_eq!(
            login(&broker, "test", "public"),
            0,
            "{query}\n{}",
            broker.log()
        );
        assert_eq!(login(&broker, "nobody", "public"), 4, "{query}");
    }
    // More parameters than there are values.
    let query = "select password from mqtt_user where username = '%u' and $2 = 'x'";
    reload::<Pgsql>(&broker, &keys.set("auth_query", query));
    for _ in 0..10 {
        assert_eq!(login(&broker, "test", "public"), 3);
    }
    logs(&broker, "auth_query: expected");
}

#[test]
fn a_user_who_needs_a_certificate() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let bench = Bench::new(pgsql);
    bench.user("test", PUBLIC, None);
    let keys = bench.keys().set("username", "certified").set("ssl", "true");
    let keys = keys.set("ssl_opts.cacertfile", pgsql.ca().display());
    let broker = bench.broker(&keys);
    assert_eq!(login(&broker, "test", "public"), 3);
    logs(&broker, "client certificate");
    let keys = keys
        .set("ssl_opts.certfile", pgsql.client_cert().display())
        .set("ssl_opts.keyfile", pgsql.client_key().display());
    reload::<Pgsql>(&broker, &keys);
    assert_eq!(login(&broker, "test", "public"), 0);
}
