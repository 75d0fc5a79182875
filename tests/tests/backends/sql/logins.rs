//! Who gets in.

use super::{
    ACCEPTED, Bench, Database, PUBLIC, REFUSED, UNAVAILABLE, answer, answers, auth_test, connect,
    eventually, hostile, login, metric, open, publishes, reload,
};
use emqttd_tests::{ALL, Broker, Config, Connect, unique};

/// Sheet 8, check 1.
pub fn right_and_wrong_passwords<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    bench.user("upper", &PUBLIC.to_uppercase(), None);
    bench.sql("INSERT INTO mqtt_user (username, password) VALUES ('null', NULL)");
    let broker = bench.broker(&bench.keys());
    answers(&broker, "test", "public", ACCEPTED);
    answers(&broker, "test", "x", REFUSED);
    answers(&broker, "upper", "public", ACCEPTED);
    answers(&broker, "null", "public", REFUSED);
    answers(&broker, "nobody", "public", REFUSED);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/asked"), 15);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/allowed"), 6);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/denied"), 6);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/ignored"), 3);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/unavailable"), 0);

    // Who is not in the table is somebody else's business; who is in it is not, and who says nothing neither.
    let open = Broker::start(Config::with_plugin(D::PLUGIN, &bench.keys().text()));
    answers(&open, "nobody", "public", ACCEPTED);
    answers(&open, "test", "x", REFUSED);
    for (version, code) in ALL.into_iter().zip(REFUSED) {
        let bare = || Connect::new(version, &unique("bare"));
        for connect in [
            bare(),
            bare().username("test"),
            bare().username("test").password(""),
            bare().username("").password("public"),
        ] {
            assert_eq!(answer(&open, &connect), code, "{version}");
        }
    }
}

/// Each form of `password_hash`, with the vectors of the sheet: form, password, salt, stored. Sheet 8, check 2.
const FORMS: &[(&str, &str, &str, &str)] = &[
    ("plain", "public", "", "public"),
    ("md5", "public", "", super::PUBLIC_MD5),
    (
        "sha",
        "public",
        "",
        "61c9b2b17db77a27841bbeeabff923448b0f6388",
    ),
    ("sha256", "public", "", PUBLIC),
    (
        "salt,md5",
        "public",
        "salt",
        "c91e85973ceee05f005996584f067a72",
    ),
    (
        "md5,salt",
        "public",
        "salt",
        "b8fe9a6d76f4fa94adda07a7833e6402",
    ),
    (
        "salt,sha",
        "public",
        "salt",
        "54625c8c5d22e86e9a3d2732bf48d0f43d343366",
    ),
    (
        "sha,salt",
        "public",
        "salt",
        "43e71834067d59d83ae934bb80670178b810b9be",
    ),
    (
        "salt,sha256",
        "public",
        "salt",
        "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
    ),
    (
        "sha256,salt",
        "public",
        "salt",
        "f4a8615be301fbaf6213df33cfe5f22953aafc0c31beb8f2daef55b127444d27",
    ),
    // The seed's way to write it.
    (
        "salt sha256",
        "public",
        "salt",
        "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
    ),
    (
        "sha256 salt",
        "public",
        "salt",
        "F4A8615BE301FBAF6213DF33CFE5F22953AAFC0C31BEB8F2DAEF55B127444D27",
    ),
    (
        "pbkdf2,sha256,1000,20",
        "public",
        "salt",
        "5a21f11c597da1447641c0a5ba58b856a76f1084",
    ),
    (
        "pbkdf2,sha,1,16",
        "password",
        "ATHENA.MIT.EDUraeburn",
        "cdedb5281bb2f801565a1122b2563515",
    ),
    (
        "salt,bcrypt",
        "foo",
        "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.",
        "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
    ),
    (
        "bcrypt",
        "public",
        "",
        "$2a$04$abcdefghijklmnopqrstuuaNoRgelGRsJ2Tm9Zn/HHRlHib6lnzBu",
    ),
    (
        "bcrypt",
        "public",
        "",
        "$2y$04$abcdefghijklmnopqrstuuaNoRgelGRsJ2Tm9Zn/HHRlHib6lnzBu",
    ),
    (
        "bcrypt,salt",
        "public",
        "$2b$04$abcdefghijklmnopqrstuu",
        "$2b$04$abcdefghijklmnopqrstuuaNoRgelGRsJ2Tm9Zn/HHRlHib6lnzBu",
    ),
    (
        "argon2id",
        "public",
        "",
        "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
    ),
    (
        "scrypt",
        "public",
        "",
        "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
    ),
];

pub fn every_form_of_hash<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    let keys = bench.keys();
    for (n, (_, _, salt, stored)) in FORMS.iter().enumerate() {
        let salt = Some(*salt).filter(|salt| !salt.is_empty());
        bench.user(&format!("user{n}"), stored, salt);
        bench.user(&format!("nosalt{n}"), stored, None);
    }
    let broker = bench.broker(&keys);
    for (n, (form, password, salt, _)) in FORMS.iter().enumerate() {
        let columns = match salt.is_empty() {
            true => "password",
            false => "password, salt",
        };
        let query = format!("select {columns} from mqtt_user where username = '%u' limit 1");
        let keys = keys.clone().set("password_hash", form);
        reload::<D>(&broker, &keys.set("auth_query", query));
        let user = format!("user{n}");
        // Bcrypt of the sheet's cost may take longer than there is time on a machine that is busy with much else;
        // it is remembered when it is done.
        eventually(form, || login(&broker, &user, password) == 0);
        eventually(form, || login(&broker, &user, "wrong") == 4);
        if !salt.is_empty() && !form.contains("bcrypt") {
            // A NULL where the form wants a salt.
            let code = login(&broker, &format!("nosalt{n}"), password);
            assert_eq!(code, 4, "{form} without salt");
        }
    }
}

/// An answer of several rows, and names of columns.
pub fn the_first_row_counts<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, Some("x"));
    bench.user("other", super::PUBLIC_MD5, None);
    let query = "select password, salt from mqtt_user where username = '%u' or username = 'other' order by id";
    let broker = bench.broker(&bench.keys().set("auth_query", query));
    assert_eq!(login(&broker, "test", "public"), 0);
    // Names of their own, and more columns than are needed.
    let query = "select password as pass_hash, salt as pass_salt, username from mqtt_user where username = '%u'";
    reload::<D>(&broker, &bench.keys().set("auth_query", query));
    assert_eq!(login(&broker, "test", "public"), 0);
    let salted = bench.keys().set("auth_query", query);
    reload::<D>(&broker, &salted.set("password_hash", "sha256,salt"));
    assert_eq!(login(&broker, "test", "public"), 4);
}

/// Sheet 8, check 3; sheet 9, check 2.
pub fn hostile_names_find_nothing<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    bench.rule("1, NULL, 'test', NULL, 3, '#'");
    // As the client id, and twice in one query.
    let by_client =
        "select password from mqtt_user where username = '%c' or (username = '%u' and '%u' <> '')";
    let broker = bench.broker(&bench.keys().set("auth_query", by_client));
    assert_eq!(login(&broker, "test", "public"), 0);
    let before = metric(&broker, D::PLUGIN, "auth/asked");
    let names = hostile();
    for name in &names {
        let as_name = connect(emqttd_tests::Version::V311, name, "public");
        let code = answer(&broker, &as_name);
        assert_eq!(code, 4, "{:.50} {}", name, name.len());
        let mut as_id = connect(emqttd_tests::Version::V311, "nobody", "public");
        as_id.client_id = name.clone();
        assert_eq!(answer(&broker, &as_id), 4, "{:.50} {}", name, name.len());
    }
    let asked = 2 * names.len() as u64;
    assert_eq!(metric(&broker, D::PLUGIN, "auth/asked"), before + asked);
    assert_eq!(metric(&broker, D::PLUGIN, "auth/unavailable"), 0);
    assert_eq!(login(&broker, "test", "public"), 0);

    // A client with such an id is still its user, for the ACL as well.
    for name in names.iter().filter(|name| name.len() < 5_000) {
        let mut connect = connect(emqttd_tests::Version::V5, "test", "public");
        connect.client_id = name.clone();
        let mut client = broker.open(&connect);
        assert!(publishes(&mut client, "a/b"), "{:.50}", name);
    }
    assert_eq!(metric(&broker, D::PLUGIN, "acl/unavailable"), 0);
    assert_eq!(bench.number("SELECT count(*) FROM mqtt_user"), 1);
}

/// 200 at once, through eight connections.
pub fn two_hundred_at_once<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    let broker = bench.broker(&bench.keys());
    let mut clients: Vec<_> = (0..200)
        .map(|n| {
            let connect = connect(ALL[n % 3], "test", "public");
            let client = broker.raw(connect.version);
            (client, connect)
        })
        .collect();
    for (client, connect) in &mut clients {
        client.send(&connect.encode());
    }
    for (client, connect) in &mut clients {
        assert_eq!(client.connack().1, 0, "{}", connect.client_id);
    }
    assert_eq!(metric(&broker, D::PLUGIN, "auth/allowed"), 200);
    // Each of the pool is made in the background, and there are no more.
    eventually("eight connections", || {
        let connections = bench.number(D::CONNECTIONS);
        assert!(connections <= 8, "{connections}");
        connections == 8
    });
}

/// `auth test` tells what was asked and answered, and no secret.
pub fn auth_test_tells<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user(
        "test",
        "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
        Some("salt"),
    );
    bench.rule("0, NULL, '$all', NULL, 2, 'secret/#'");
    let query = "select password, salt from mqtt_user where username = '%u' limit 1";
    let keys = bench.keys().set("password_hash", "salt,sha256");
    let broker = bench.broker(&keys.set("auth_query", query));
    let shown = |name: &str, password: &str, parts: &[&str]| {
        let text = auth_test(&broker, "c1", name, password);
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
        for secret in ["f2ef7f9a", "hunter2", "mqttpw", "\"salt\""] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let module = text.lines().next().unwrap_or_default();
        assert!(module.contains(" ms)"), "{text}");
        text
    };
    let asked = format!("auth_query: {query}, %u = ");
    let right = shown(
        "test",
        "public",
        &[
            &format!("{asked}\"test\"; 1 row"),
            "password by `salt,sha256`: right",
            "super_query: select is_superuser",
            "no superuser",
        ],
    );
    assert!(right.ends_with(": allow\n"), "{right}");
    shown(
        "test",
        "hunter2",
        &["password by `salt,sha256`: wrong", "result", ": deny"],
    );
    shown(
        "x' or '1'='1",
        "hunter2",
        &[&format!("{asked}\"x' or '1'='1\"; no row"), ": deny"],
    );
    let text = super::acl_test(&broker, "c1", "test", "publish", "secret/x");
    for part in [
        "acl_query: select allow",
        "%c = \"c1\"",
        "1 row",
        "a row denies it",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = super::acl_test(&broker, "c1", "test", "publish", "x");
    assert!(text.contains("no row is about it"), "{text}");
}

/// The plugin connects whether the table is there or not.
pub fn a_table_that_comes_later<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::empty(server);
    let broker = bench.broker(&bench.keys().set("on_unavailable", "deny"));
    answers(&broker, "test", "public", UNAVAILABLE);
    super::logs(&broker, "auth_query: ");
    super::logs(&broker, "mqtt_user");
    for _ in 0..20 {
        // Not an outage: each of them is asked.
        assert_eq!(login(&broker, "test", "public"), 3);
    }
    assert_eq!(metric(&broker, D::PLUGIN, "auth/unavailable"), 23);
    bench.sql(D::SCHEMA);
    bench.user("test", PUBLIC, None);
    answers(&broker, "test", "public", ACCEPTED);
    // Altered under prepared statements, and made anew.
    bench.sql("ALTER TABLE mqtt_user ADD COLUMN more int");
    answers(&broker, "test", "public", ACCEPTED);
    bench.sql("DROP TABLE mqtt_user; DROP TABLE mqtt_acl");
    answers(&broker, "test", "public", UNAVAILABLE);
    bench.sql(D::SCHEMA);
    bench.user("test", PUBLIC, None);
    answers(&broker, "test", "public", ACCEPTED);
    assert!(publishes(&mut open(&broker, "test", "public"), "t"));
}

/// Each of the queries may be left out.
pub fn without_queries<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    let broker = bench.broker(&bench.keys().without("acl_query").without("super_query"));
    assert!(publishes(&mut open(&broker, "test", "public"), "t"));
    let acl_only = bench.keys().without("auth_query");
    let broker = Broker::start(Config::with_plugin(D::PLUGIN, &acl_only.text()));
    // Without a user name, which is NULL in the query: `$all` counts.
    let bare = Connect::new(emqttd_tests::Version::V5, &unique("bare"));
    assert!(!publishes(&mut broker.open(&bare), "t"));
}
