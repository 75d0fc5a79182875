//! What clients may do.

use super::{
    Bench, Database, PUBLIC, acl_test, auth_test, connect, login, metric, open, publishes, reload,
    subscribes,
};
use emqttd_tests::{Connect, Version, unique};

/// Sheet 8, check 6.
pub fn superusers<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    for name in ["super", "plain", "null"] {
        bench.user(name, PUBLIC, None);
    }
    bench.sql(&format!(
        "UPDATE mqtt_user SET is_superuser = {} WHERE username = 'super'; \
         UPDATE mqtt_user SET is_superuser = NULL WHERE username = 'null'",
        D::TRUE
    ));
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    let broker = bench.broker(&bench.keys());
    for (name, may) in [("super", true), ("plain", false), ("null", false)] {
        let mut client = open(&broker, name, "public");
        assert_eq!(publishes(&mut client, "t"), may, "{name}");
        assert_eq!(subscribes(&mut client, "t"), may, "{name}");
    }
    let text = auth_test(&broker, "c1", "super", "public");
    assert!(text.contains("; superuser; "), "{text}");
    // One that fails makes nobody a superuser, and keeps nobody out.
    let query = "select nothing from nowhere where u = '%u'";
    reload::<D>(&broker, &bench.keys().set("super_query", query));
    let mut client = open(&broker, "super", "public");
    assert!(!publishes(&mut client, "t"));
    super::logs(&broker, "super_query: ");
}

/// Rows, a client id, an access, a topic, and whether it may.
type Case = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
    bool,
);

/// Each form of a row, and both verbs. The user is `u`, the client `c1` unless it says another.
const CASES: &[Case] = &[
    // By user, by client, by address, for all.
    (&["0, NULL, 'u', NULL, 3, 't'"], "c1", "publish", "t", false),
    (&["0, NULL, 'v', NULL, 3, 't'"], "c1", "publish", "t", true),
    (
        &["0, NULL, NULL, 'c1', 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (&["0, NULL, NULL, 'c1', 3, 't'"], "c2", "publish", "t", true),
    (
        &["0, '127.0.0.1', NULL, NULL, 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, '127.0.0.2', NULL, NULL, 3, 't'"],
        "c1",
        "publish",
        "t",
        true,
    ),
    (
        &["0, NULL, '$all', NULL, 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (&["0, '', '$all', '', 3, 't'"], "c1", "publish", "t", false),
    (
        &["0, '10.0.0.1', '$all', 'c9', 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    // All columns that are set have to match.
    (
        &["0, '127.0.0.1', 'u', 'c1', 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, '127.0.0.1', 'u', 'c2', 3, 't'"],
        "c1",
        "publish",
        "t",
        true,
    ),
    // The verbs.
    (&["0, NULL, 'u', NULL, 1, 't'"], "c1", "publish", "t", true),
    (
        &["0, NULL, 'u', NULL, 1, 't'"],
        "c1",
        "subscribe",
        "t",
        false,
    ),
    (&["0, NULL, 'u', NULL, 2, 't'"], "c1", "publish", "t", false),
    (
        &["0, NULL, 'u', NULL, 2, 't'"],
        "c1",
        "subscribe",
        "t",
        true,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 't'"],
        "c1",
        "subscribe",
        "t",
        false,
    ),
    // Topics.
    (
        &["0, NULL, 'u', NULL, 3, 'a/#'"],
        "c1",
        "publish",
        "a/b",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 'a/+'"],
        "c1",
        "subscribe",
        "a/+",
        false,
    ),
    // Who asks for more than is denied asks for that as well; a row that allows does not allow more.
    (
        &["0, NULL, 'u', NULL, 3, 'a/+'"],
        "c1",
        "subscribe",
        "a/#",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, '#'", "1, NULL, 'u', NULL, 3, 'a/+'"],
        "c1",
        "subscribe",
        "a/#",
        false,
    ),
    // A wildcard in front denies what begins with `$`, and does not allow it.
    (
        &["0, NULL, 'u', NULL, 3, '#'"],
        "c1",
        "publish",
        "$SYS/x",
        false,
    ),
    (
        &[
            "0, NULL, 'u', NULL, 3, '$SYS/#'",
            "1, NULL, 'u', NULL, 3, '#'",
        ],
        "c1",
        "publish",
        "$SYS/x",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 's/%u/x'"],
        "c1",
        "publish",
        "s/u/x",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 's/%c/x'"],
        "c1",
        "publish",
        "s/c1/x",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 's/%c/x'"],
        "c1",
        "publish",
        "s/c2/x",
        true,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 's/%u%c'"],
        "c1",
        "publish",
        "s/uc1",
        true,
    ),
    // Sheet 8, check 5.
    (
        &["0, NULL, '$all', NULL, 1, 'eq #'"],
        "c1",
        "subscribe",
        "#",
        false,
    ),
    (
        &["0, NULL, '$all', NULL, 1, 'eq #'"],
        "c1",
        "subscribe",
        "a/#",
        true,
    ),
    (
        &["0, NULL, '$all', NULL, 3, 'eq a/+'"],
        "c1",
        "subscribe",
        "a/+",
        false,
    ),
    (
        &["0, NULL, '$all', NULL, 3, 'eq a/+'"],
        "c1",
        "subscribe",
        "a/b",
        true,
    ),
    // Sheet 8, check 4: the last row counts.
    (
        &[
            "0, NULL, '$all', NULL, 3, '#'",
            "1, NULL, 'u', NULL, 3, 'a/#'",
        ],
        "c1",
        "publish",
        "a/b",
        true,
    ),
    (
        &[
            "0, NULL, '$all', NULL, 3, '#'",
            "1, NULL, 'u', NULL, 3, 'a/#'",
        ],
        "c1",
        "publish",
        "c",
        false,
    ),
    (
        &[
            "1, NULL, 'u', NULL, 3, 'a/#'",
            "0, NULL, '$all', NULL, 3, '#'",
        ],
        "c1",
        "publish",
        "a/b",
        false,
    ),
    // Rows that make no sense decide nothing, and what stands before them does.
    (
        &[
            "0, NULL, 'u', NULL, 3, 't'",
            "NULL, NULL, 'u', NULL, 3, 't'",
        ],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 't'", "2, NULL, 'u', NULL, 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 't'", "1, NULL, 'u', NULL, 7, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 't'", "1, 'x', 'u', NULL, 3, 't'"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &["0, NULL, 'u', NULL, 3, 't'", "1, NULL, 'u', NULL, 3, ''"],
        "c1",
        "publish",
        "t",
        false,
    ),
    (
        &[
            "0, NULL, 'u', NULL, 3, 't'",
            "1, NULL, 'u', NULL, 3, 'a/#/b'",
        ],
        "c1",
        "publish",
        "t",
        false,
    ),
    // Nothing there.
    (&[], "c1", "publish", "t", true),
];

pub fn rows_of_every_form<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    let query = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
                 where ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c' order by id";
    let broker = bench.broker(&bench.keys().set("acl_query", query));
    for (rows, client, access, topic, may) in CASES {
        bench.sql("DELETE FROM mqtt_acl");
        for row in *rows {
            bench.rule(row);
        }
        let text = acl_test(&broker, client, "u", access, topic);
        let result = if *may { "allow" } else { "deny" };
        let decided = text.contains("a row denies it");
        let allowed = text.contains("a row allows it") || text.contains("no row is about it");
        assert_eq!(
            (allowed, decided),
            (*may, !*may),
            "{rows:?} {access} {topic} {result}\n{text}"
        );
    }
    super::logs(&broker, "a row of the ACL is passed over");

    // The same through a client.
    bench.sql("DELETE FROM mqtt_acl");
    bench.user("u", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, '#'");
    bench.rule("1, NULL, 'u', NULL, 2, 'up/%u/#'");
    bench.rule("1, NULL, 'u', NULL, 1, 'down/%u/+'");
    let mut client = open(&broker, "u", "public");
    assert!(publishes(&mut client, "up/u/x"));
    assert!(!publishes(&mut client, "up/v/x"));
    assert!(!publishes(&mut client, "down/u/x"));
    assert!(subscribes(&mut client, "down/u/+"));
    assert!(!subscribes(&mut client, "down/u/#"));
    assert!(!subscribes(&mut client, "up/u/x"));
    assert!(!subscribes(&mut client, "#"));
}

/// A row with all three columns NULL: only a query that asks for it gets it.
pub fn rows_about_nobody<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("u", PUBLIC, None);
    bench.rule("0, NULL, NULL, NULL, 3, '#'");
    bench.rule("0, '127.0.0.0/8', NULL, NULL, 2, 'net/#'");
    let query = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl order by id";
    let broker = bench.broker(&bench.keys().set("acl_query", query));
    let mut client = open(&broker, "u", "public");
    assert!(publishes(&mut client, "t"));
    assert!(
        !publishes(&mut client, "net/x"),
        "by a network, which such a query can find"
    );
    super::logs(&broker, "ipaddr, username and clientid are all empty");

    // Fewer columns than there must be: nobody knows what they mean.
    let query = "select allow, topic from mqtt_acl";
    reload::<D>(&broker, &bench.keys().set("acl_query", query));
    let mut client = open(&broker, "u", "public");
    assert!(!publishes(&mut client, "t"));
    super::logs(&broker, "acl_query: gives 2 columns");
}

/// Names from which EMQ asked nothing, and what 2.0 and 2.1 had a key for.
pub fn names_with_a_dollar_and_no_match<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("$boss", PUBLIC, None);
    bench.user("u", PUBLIC, None);
    bench.rule("0, NULL, '$all', NULL, 3, 'no/#'");
    let broker = bench.broker(&bench.keys());
    let mut boss = open(&broker, "$boss", "public");
    assert!(publishes(&mut boss, "no/x"));
    assert!(!publishes(&mut open(&broker, "u", "public"), "no/x"));
    reload::<D>(&broker, &bench.keys().set("acl_nomatch", "deny"));
    let mut client = open(&broker, "u", "public");
    assert!(!publishes(&mut client, "yes"));
    assert_eq!(metric(&broker, D::PLUGIN, "acl/unavailable"), 0);
}

/// The file of the seed's rows, in the seed's schema. A client with the broker's own address.
pub fn the_rows_of_the_seed<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.sql(super::SEED_ROWS);
    for name in ["u", "dashboard"] {
        bench.user(name, PUBLIC, None);
    }
    let broker = bench.broker(&bench.keys());
    let mut client = open(&broker, "u", "public");
    assert!(publishes(&mut client, "a/b"));
    assert!(subscribes(&mut client, "a/#"));
    assert!(!subscribes(&mut client, "#"));
    assert!(!subscribes(&mut client, "$SYS/#"));
    let mut dashboard = open(&broker, "dashboard", "public");
    assert!(subscribes(&mut dashboard, "$SYS/#"));
    // A name is the name that CONNECT had, byte by byte, whomever the query finds.
    assert_eq!(login(&broker, "nobody", "public"), 4);
    let anonymous = Connect::new(Version::V311, &unique("anonymous"));
    assert_eq!(super::answer(&broker, &anonymous), 4);
    let mut cased = connect(Version::V5, "u", "public");
    cased.client_id = unique("Cased");
    assert!(publishes(&mut broker.open(&cased), "a/b"));
}
