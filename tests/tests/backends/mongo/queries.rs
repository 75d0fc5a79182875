//! Who comes in, and what the rules allow.

use super::*;
use emqttd_tests::{ALL, Publish};

/// Sheet 11.3, check 1.
#[test]
fn users_by_password() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(
        r#"[{{"username": "test", "password": "{PUBLIC}", "is_superuser": false}},
            {{"username": "UPPER", "password": "{}"}},
            {{"username": "root", "is_superuser": true}},
            {{"username": "null", "password": null}},
            {{"username": "number", "password": 1}},
            {{"username": "list", "password": ["{PUBLIC}"]}}]"#,
        PUBLIC.to_uppercase()
    );
    let broker = site(mongo, &users, "", "");
    for (version, code) in ALL.into_iter().zip(REFUSED) {
        let ask = |name: &str, password: &str| answer(&broker, &connect(version, name, password));
        assert_eq!(ask("test", "public"), 0, "{version}");
        assert_eq!(ask("test", "Public"), code, "{version}");
        assert_eq!(ask("test", PUBLIC), code, "{version}");
        assert_eq!(ask("nobody", "public"), code, "{version}");
        let bare = || Connect::new(version, &unique("bare"));
        for without in [
            bare(),
            bare().username("test"),
            bare().username("").password("public"),
            bare().username("test").password(""),
        ] {
            assert_eq!(answer(&broker, &without), code, "{version}");
        }
    }
    admitted(&broker, "UPPER", "public");
    refused(&broker, "upper", "public");
    for name in ["root", "null", "number", "list"] {
        for password in ["public", "null", "1", PUBLIC] {
            refused(&broker, name, password);
        }
    }
}

/// Who is unknown is the next one's business.
#[test]
fn an_unknown_user_is_passed_on() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(r#"[{{"username": "test", "password": "{PUBLIC}"}}]"#);
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &users);
    let conf = format!("{}{QUERIES}", keys(mongo, &database));
    let broker = Broker::start(Config::with_plugin(PLUGIN, &conf));
    admitted(&broker, "nobody", "x");
    refused(&broker, "test", "x");
    assert_eq!(
        answer(&broker, &Connect::new(Version::V311, &unique("bare"))),
        4
    );
    assert!(auth_test(&broker, "nobody", "x").contains("no document"));
}

/// Sheet 11.3, check 2, and all other forms of sheet 0.5.
#[test]
fn every_form_of_a_hash() {
    let Some(mongo) = Mongo::shared() else { return };
    const SALTED: &str = "password,salt";
    const BCRYPT: &str = "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6";
    const SCRYPT: &str =
        "$scrypt$ln=10,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$p8qPNzfSgsUqbyGW4AnFdPVph2DTDuzl0eDqCZK6iVg";
    const ARGON2ID: &str =
        "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4";
    let forms: [(&str, &str, &str, &str, &str); 16] = [
        ("plain", "password", "public", "public", ""),
        (
            "md5",
            "password",
            "public",
            "4c9184f37cff01bcdc32dc486ec36961",
            "",
        ),
        (
            "sha",
            "password",
            "public",
            "61c9b2b17db77a27841bbeeabff923448b0f6388",
            "",
        ),
        ("sha256", "password", "public", PUBLIC, ""),
        (
            "salt,md5",
            SALTED,
            "public",
            "c91e85973ceee05f005996584f067a72",
            "salt",
        ),
        (
            "md5 salt",
            SALTED,
            "public",
            "b8fe9a6d76f4fa94adda07a7833e6402",
            "salt",
        ),
        (
            "salt sha",
            SALTED,
            "public",
            "54625c8c5d22e86e9a3d2732bf48d0f43d343366",
            "salt",
        ),
        (
            "sha , salt",
            SALTED,
            "public",
            "43e71834067d59d83ae934bb80670178b810b9be",
            "salt",
        ),
        (
            "salt,sha256",
            "password salt",
            "public",
            "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
            "salt",
        ),
        (
            "sha256,salt",
            "password, salt",
            "public",
            "f4a8615be301fbaf6213df33cfe5f22953aafc0c31beb8f2daef55b127444d27",
            "salt",
        ),
        (
            "pbkdf2,sha256,1000,20",
            SALTED,
            "public",
            "5a21f11c597da1447641c0a5ba58b856a76f1084",
            "salt",
        ),
        (
            "pbkdf2,sha,1,16",
            SALTED,
            "password",
            "cdedb5281bb2f801565a1122b2563515",
            "ATHENA.MIT.EDUraeburn",
        ),
        ("bcrypt", "password", "foo", BCRYPT, ""),
        ("salt,bcrypt", SALTED, "foo", BCRYPT, &BCRYPT[..29]),
        ("argon2id", "password", "public", ARGON2ID, ""),
        ("scrypt", "password", "secret", SCRYPT, ""),
    ];
    let users: Vec<String> = forms
        .iter()
        .enumerate()
        .map(|(n, (_, _, _, stored, salt))| {
            format!(
                r#"{{"username": "u{n}", "password": "{stored}", "salt": "{salt}"}},
                   {{"username": "none{n}", "salt": "{salt}"}},
                   {{"username": "unsalted{n}", "password": "{stored}"}},
                   {{"username": "nullsalt{n}", "password": "{stored}", "salt": null}}"#
            )
        })
        .collect();
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &format!("[{}]", users.join(",")));
    // One broker, whose plugin is loaded anew for each.
    let broker = Broker::start(config(&format!("{}{QUERIES}", keys(mongo, &database))));
    for (n, (form, fields, password, _, _)) in forms.into_iter().enumerate() {
        broker.unload(PLUGIN);
        let conf = format!(
            "{}{QUERIES}auth.mongo.auth_query.password_field = {fields}\n\
             auth.mongo.auth_query.password_hash = {form}\n",
            keys(mongo, &database)
        );
        broker.write_plugin_conf(PLUGIN, &conf);
        broker.load(PLUGIN);
        let ask = |name: &str, password: &str| login(&broker, &format!("{name}{n}"), password);
        assert_eq!(ask("u", password), 0, "{form}");
        assert_eq!(ask("u", "wrong"), 4, "{form}");
        assert_eq!(ask("none", password), 4, "{form}");
        let salted = fields != "password" && !form.contains("bcrypt");
        let without = if salted { 4 } else { 0 };
        assert_eq!(ask("unsalted", password), without, "{form}");
        assert_eq!(ask("nullsalt", password), without, "{form}");
    }
}

/// Sheet 11.3, check 3.
#[test]
fn superusers_are_true() {
    let Some(mongo) = Mongo::shared() else { return };
    let document = |name: &str, flag: &str| {
        format!(r#"{{"username": "{name}", "password": "{PUBLIC}"{flag}}}"#)
    };
    let users = [
        document("true", r#", "is_superuser": true"#),
        document("one", r#", "is_superuser": 1"#),
        document("text", r#", "is_superuser": "true""#),
        document("false", r#", "is_superuser": false"#),
        document("null", r#", "is_superuser": null"#),
        document("none", ""),
    ];
    let users = format!("[{}]", users.join(","));
    // Nobody but superusers may do anything.
    let rules = r#"[{"username": "$all"}]"#;
    let more = "auth.mongo.acl_query.selector = username=$all\n";
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &users);
    mongo.insert(&database, "mqtt_acl", rules);
    let conf = format!("{}{QUERIES}{more}", keys(mongo, &database));
    let broker = Broker::start(config(&conf));
    for name in ["true", "one", "text", "false", "null", "none"] {
        let mut client = user(&broker, name);
        assert_eq!(may_publish(&mut client, "t"), name == "true", "{name}");
        assert_eq!(may_subscribe(&mut client, "#"), name == "true", "{name}");
    }
    assert!(auth_test(&broker, "true", "public").contains("is_superuser: true"));

    // In a collection of their own, and switched off.
    let admins = r#"[{"id": "c1", "rights": {"all": true}}]"#;
    mongo.insert(&database, "admins", admins);
    let own = "auth.mongo.super_query.collection = admins\nauth.mongo.super_query.selector = id=%c\n\
               auth.mongo.super_query.super_field = rights.all\n";
    for (more, superusers) in [
        (own, ["none"].as_slice()),
        ("auth.mongo.super_query = off\n", &[]),
    ] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("{conf}{more}"));
        broker.load(PLUGIN);
        for (name, clientid) in [("none", "c1"), ("true", "c2")] {
            let connect = Connect::new(Version::V5, clientid)
                .username(name)
                .password("public");
            let mut client = broker.open(&connect);
            assert_eq!(
                may_publish(&mut client, "t"),
                superusers.contains(&name),
                "{name}"
            );
        }
    }
}

/// Sheet 11.3, check 4, with the documents of the seed.
#[test]
fn rules_of_the_seed() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(
        r#"[{{"username": "test", "password": "{PUBLIC}"}}, {{"username": "admin", "password": "{PUBLIC}"}},
            {{"username": "free", "password": "{PUBLIC}"}}, {{"username": "$x", "password": "{PUBLIC}"}}]"#
    );
    let rules = r##"[{"username": "test", "publish": ["t/1", "t/2"], "subscribe": ["user/%u", "client/%c"]},
                    {"username": "admin", "pubsub": ["#"]}, {"username": "$x"}]"##;
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &users);
    mongo.insert(&database, "mqtt_acl", rules);
    let conf = format!("{}{QUERIES}", keys(mongo, &database));
    for nomatch in ["allow", "deny"] {
        let config = config(&conf)
            .set("mqtt.acl_nomatch", nomatch)
            .acl("{deny, all, pubsub, [\"never\"]}.\n");
        let broker = Broker::start(config);
        let mut test = broker.open(
            &Connect::new(Version::V5, "c1")
                .username("test")
                .password("public"),
        );
        for (topic, allowed) in [
            ("t/1", true),
            ("t/2", true),
            ("t/3", false),
            ("user/test", false),
        ] {
            assert_eq!(may_publish(&mut test, topic), allowed, "{topic}");
        }
        for (filter, allowed) in [
            ("user/test", true),
            ("client/c1", true),
            ("client/c2", false),
            ("user/+", false),
            ("t/1", false),
            ("#", false),
        ] {
            assert_eq!(may_subscribe(&mut test, filter), allowed, "{filter}");
        }
        let mut admin = user(&broker, "admin");
        assert!(may_publish(&mut admin, "t/9") && may_subscribe(&mut admin, "#"));
        admin.unsubscribe(&["#"]);
        let mut free = user(&broker, "free");
        assert_eq!(may_publish(&mut free, "t/3"), nomatch == "allow");
        // About names with $ nobody is asked (sheet 0.4).
        let mut dollar = user(&broker, "$x");
        assert_eq!(may_subscribe(&mut dollar, "t/3"), nomatch == "allow");
        // MQTT 3.1.1: 0x80, and a publication that goes nowhere.
        let mut old = broker.open(&connect(Version::V311, "test", "public"));
        assert_eq!(old.subscribe(&[Sub::new("t/1", 1)], &[]), [0x80]);
        admin.sub("t/#", 0);
        old.send_publish(Publish::new("t/3", "denied"));
        old.pub_("t/1", 1, "allowed");
        admin.expect("t/1", "allowed");
    }
}

/// Sheet 11.3, check 5: all documents that match any selector, not one of each.
#[test]
fn rules_of_several_documents() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(
        r#"[{{"username": "u", "password": "{PUBLIC}"}}, {{"username": "v", "password": "{PUBLIC}"}}]"#
    );
    let rules = r##"[{"username": "u", "publish": ["own/1"]}, {"username": "u", "publish": ["own/2"]},
                    {"username": "$all", "pubsub": ["all/#"]}, {"clientid": "$all", "subscribe": ["any"]},
                    {"username": "stranger", "pubsub": ["#"]}]"##;
    let more = "auth.mongo.acl_query.selector.1 = username=%u\n\
                auth.mongo.acl_query.selector.2 = username=$all\n\
                auth.mongo.acl_query.selector.10 = clientid=$all\n";
    let broker = site(mongo, &users, rules, more);
    let mut u = user(&broker, "u");
    for topic in ["own/1", "own/2", "all/x"] {
        assert!(may_publish(&mut u, topic), "{topic}");
    }
    assert!(!may_publish(&mut u, "any") && !may_publish(&mut u, "other"));
    assert!(may_subscribe(&mut u, "any") && may_subscribe(&mut u, "all/#"));
    let mut v = user(&broker, "v");
    assert!(may_publish(&mut v, "all/x") && !may_publish(&mut v, "own/1"));

    // Without the bare selector: its empty default matches nothing, and not everything.
    let database = mongo.fresh_database();
    mongo.insert(&database, "mqtt_user", &users);
    mongo.insert(&database, "mqtt_acl", rules);
    let queries = QUERIES.replace("auth.mongo.acl_query.selector = username=%u\n", "");
    let only = "auth.mongo.acl_query.selector.1 = username=%u, clientid=%c\n\
                auth.mongo.acl_query.selector.2 = username=$all\n";
    broker.unload(PLUGIN);
    broker.write_plugin_conf(
        PLUGIN,
        &format!("{}{queries}{only}", keys(mongo, &database)),
    );
    broker.load(PLUGIN);
    let mut u = user(&broker, "u");
    assert!(may_publish(&mut u, "all/x"));
    assert!(!may_publish(&mut u, "own/1") && !may_publish(&mut u, "other"));
}

#[test]
fn documents_that_make_no_sense() {
    let Some(mongo) = Mongo::shared() else { return };
    let names = ["text", "both", "items", "empty", "only"];
    let users: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"username": "{name}", "password": "{PUBLIC}"}}"#))
        .collect();
    let rules = r#"[{"username": "text", "publish": "t"}, {"username": "text", "publish": ["t"]},
                    {"username": "both", "publish": ["t"], "pubsub": {"0": "t"}}, {"username": "both", "pubsub": []},
                    {"username": "items", "publish": [1, null, {"a": 1}, "a/#/b", "", "t"]},
                    {"username": "empty", "publish": null},
                    {"username": "only", "publish": 7}]"#;
    let broker = site(mongo, &format!("[{}]", users.join(",")), rules, "");
    for (name, allowed) in [
        ("text", true),
        ("both", false),
        ("items", true),
        ("empty", false),
        ("only", true),
    ] {
        // As if it were not there: `only` has no rules, and mqtt.acl_nomatch allows.
        assert_eq!(
            may_publish(&mut user(&broker, name), "t"),
            allowed,
            "{name}"
        );
    }
    let log = broker.log();
    assert!(log.contains("`publish` is no array"), "{log}");
    assert!(acl_test(&broker, "only", "publish", "t").contains("none of which makes sense"));
}

/// What a client calls itself is a value, and never a part of a query or a wildcard.
#[test]
fn hostile_names() {
    let Some(mongo) = Mongo::shared() else { return };
    let names = [
        "x' or '1'='1",
        "*)(uid=*",
        r#"{"$gt":""}"#,
        r#"{"$ne":null}"#,
        "$where",
        "/.*/",
        "a b",
        "a&b",
        "+",
        "#",
        "a/b",
        "\r\n",
        "\"",
        "\\",
        "%u",
        "%c",
        "%25u",
        "test,clientid=x",
    ];
    let users =
        format!(r#"[{{"username": "test", "password": "{PUBLIC}", "is_superuser": true}}]"#);
    let broker = site(mongo, &users, "", "");
    let mut honest = user(&broker, "test");
    let long = "n".repeat(60_000);
    for name in names.into_iter().chain([&*long]) {
        refused(&broker, name, "public");
        let named = Connect::new(Version::V5, &unique("x"))
            .username("test")
            .password(name);
        assert_eq!(answer(&broker, &named), 0x86);
    }
    honest.ping();
    let log = broker.log();
    assert!(
        !log.contains("does not answer") && !log.contains("Error code"),
        "{log}"
    );

    // In rules: a name with a wildcard or a slash is granted nothing by %u and %c.
    let document = |name: &&str| {
        let name = name
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace("\r\n", "\\r\\n");
        format!(r#"{{"username": "{name}", "password": "{PUBLIC}"}}"#)
    };
    let users: Vec<String> = names.iter().map(document).collect();
    let rules = r#"[{"username": "$all", "pubsub": ["own/%u/x", "mine/%c"]}]"#;
    let more = "auth.mongo.acl_query.selector = username=$all\n";
    let broker = site(mongo, &format!("[{}]", users.join(",")), rules, more);
    for name in names {
        admitted(&broker, name, "public");
        if name.contains(['\r', '\n']) || name.starts_with('$') {
            continue;
        }
        let mut client = broker.open(
            &Connect::new(Version::V5, name)
                .username(name)
                .password("public"),
        );
        let harmless = !name.contains(['+', '#', '/']);
        assert!(!may_subscribe(&mut client, "own/other/x"), "{name}");
        if harmless {
            assert!(may_publish(&mut client, &format!("own/{name}/x")), "{name}");
            assert!(
                may_subscribe(&mut client, &format!("mine/{name}")),
                "{name}"
            );
        } else {
            assert!(!may_subscribe(&mut client, "own/#") && !may_subscribe(&mut client, "mine/+"));
        }
        client.disconnect();
    }
}

/// Selectors may name fields inside of others, and their values are never operators.
#[test]
fn selectors() {
    let Some(mongo) = Mongo::shared() else { return };
    let database = mongo.fresh_database();
    let users = format!(
        r#"[{{"login": {{"name": "u", "key": "{PUBLIC}"}}, "device": "d1", "state": "on"}},
            {{"login": {{"name": "v", "key": "{PUBLIC}"}}, "device": "d1", "state": "off"}}]"#
    );
    mongo.insert(&database, "people", &users);
    let head = format!(
        "{}auth.mongo.auth_query.collection = people\nauth.mongo.auth_query.password_field = login.key\n",
        keys(mongo, &database)
    );
    let start = |selector: &str| {
        config(&format!(
            "{head}auth.mongo.auth_query.selector = {selector}\n"
        ))
    };
    let broker = Broker::start(start("login.name=%u, device=%c state=on"));
    let ask = |name: &str, clientid: &str| {
        answer(
            &broker,
            &Connect::new(Version::V311, clientid)
                .username(name)
                .password("public"),
        )
    };
    assert_eq!((ask("u", "d1"), ask("u", "d2"), ask("v", "d1")), (0, 4, 4));
    let broker = Broker::start(start(r#"login.name=%u,state={"$ne":"x"}"#));
    refused(&broker, "u", "public");
}

/// A selector that would match every document is refused, by name.
#[test]
fn a_selector_that_is_empty() {
    let Some(mongo) = Mongo::shared() else { return };
    let broker = site(mongo, "", "", "");
    let head = keys(mongo, &mongo.fresh_database());
    for (key, more) in [
        (
            "auth.mongo.auth_query.selector",
            "auth.mongo.auth_query.selector = ,\n",
        ),
        (
            "auth.mongo.super_query.selector",
            "auth.mongo.super_query.selector = ,\n",
        ),
        (
            "auth.mongo.acl_query.selector",
            "auth.mongo.acl_query.selector = ,\n",
        ),
        (
            "auth.mongo.acl_query.selector.2",
            "auth.mongo.acl_query.selector.2 = ,\n",
        ),
        (
            "auth.mongo.auth_query.selector",
            "auth.mongo.auth_query.selector = $or=x\n",
        ),
        (
            "auth.mongo.auth_query.password_field",
            "auth.mongo.auth_query.password_field = a,b,c\n",
        ),
        (
            "auth.mongo.auth_query.password_hash",
            "auth.mongo.auth_query.password_hash = salt,md5\n",
        ),
        ("auth.mongo.server", "auth.mongo.server = a b\n"),
        (
            "auth.mongo.ssl_opts",
            "auth.mongo.ssl = true\nauth.mongo.ssl_opts.cacertfile = etc/none.pem\n",
        ),
    ] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("{head}{QUERIES}{more}"));
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        assert!(
            text.contains("load plugin error") && text.contains(key),
            "{key}: {text}"
        );
        broker.write_plugin_conf(PLUGIN, &format!("{head}{QUERIES}"));
        broker.load(PLUGIN);
    }
    // A query without any.
    for missing in ["auth_query", "super_query", "acl_query"] {
        let line = format!("auth.mongo.{missing}.selector = username=%u\n");
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("{head}{}", QUERIES.replace(&line, "")));
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        let key = format!("auth.mongo.{missing}.selector is missing");
        assert!(text.contains(&key), "{text}");
        broker.write_plugin_conf(PLUGIN, &format!("{head}{QUERIES}"));
        broker.load(PLUGIN);
    }
}

/// What was asked and answered is shown, and no secret with it.
#[test]
fn what_auth_test_shows() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = r#"[{"username": "u", "password": "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
                     "salt": "salt"}]"#;
    let rules = r#"[{"username": "u", "publish": ["t/1"]}]"#;
    let more = "auth.mongo.auth_query.password_field = password,salt\n\
                auth.mongo.auth_query.password_hash = salt,sha256\n";
    let broker = site(mongo, users, rules, more);
    let right = auth_test(&broker, "u", "public");
    for part in [
        "emq_auth_mongo",
        "allow",
        "mqtt_user",
        r#""username": "u""#,
        "1 document",
        "right",
        " ms",
    ] {
        assert!(right.contains(part), "{part}: {right}");
    }
    let wrong = auth_test(&broker, "u", "secret-guess");
    assert!(wrong.contains("wrong") && wrong.contains("deny"), "{wrong}");
    for text in [&right, &wrong] {
        for secret in ["f2ef7f9", "secret-guess", "public", "\"salt\"", "mqttpw"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let allowed = acl_test(&broker, "u", "publish", "t/1");
    for part in [
        "mqtt_acl",
        r#""username": "u""#,
        "a document allows it",
        " ms",
        "allow",
    ] {
        assert!(allowed.contains(part), "{part}: {allowed}");
    }
    let denied = acl_test(&broker, "u", "subscribe", "t/1");
    assert!(
        denied.contains("1 document, none of which allows it"),
        "{denied}"
    );
    assert!(!broker.log().contains("secret-guess") && !broker.log().contains("mqttpw"));
}

#[test]
fn metrics() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#);
    let rules = r#"[{"username": "u", "publish": ["t"]}]"#;
    let broker = site(mongo, &users, rules, "");
    let mut client = user(&broker, "u");
    refused(&broker, "u", "x");
    refused(&broker, "nobody", "x");
    refused(&broker, "nobody", "");
    assert!(may_publish(&mut client, "t"));
    assert!(!may_publish(&mut client, "no"));
    for (name, wanted) in [
        ("auth/asked", 3),
        ("auth/allowed", 1),
        ("auth/denied", 2),
        ("auth/ignored", 1),
        ("auth/unavailable", 0),
        ("acl/asked", 2),
        ("acl/allowed", 1),
        ("acl/denied", 1),
    ] {
        assert_eq!(metric(&broker, name), wanted, "{name}");
    }
    assert!(metric(&broker, "auth/time_us") > 0);
}

/// The text of the seed as it stands, with the host that it lost; its queries have no switches, and its rules are
/// looked for where its users are.
#[test]
fn the_configuration_of_the_seed() {
    let Some(mongo) = Mongo::shared() else { return };
    const SEED: &str = "\
## Mongo Server
auth.mongo.server = HOST

## Mongo Pool Size
auth.mongo.pool = 8

## Mongo User
auth.mongo.user = mqtt

## Mongo Password
auth.mongo.password = mqttpw

## Mongo Database
auth.mongo.database = mqtt

## auth_query
auth.mongo.auth_query.collection = mqtt_user

auth.mongo.auth_query.password_field = password

auth.mongo.auth_query.password_hash = sha256

auth.mongo.auth_query.selector = username=%u

## super_query
auth.mongo.super_query.collection = mqtt_user

auth.mongo.super_query.super_field = is_superuser

auth.mongo.super_query.selector = username=%u

## acl_query
auth.mongo.acl_query.collection = mqtt_user

auth.mongo.acl_query.selector = username=%u
";
    let database = mongo.fresh_database();
    mongo.insert(
        &database,
        "mqtt_user",
        &format!(
            r#"[{{"username": "test", "password": "{PUBLIC}", "is_superuser": false}},
                {{"username": "root", "is_superuser": true}},
                {{"username": "boss", "password": "{PUBLIC}", "is_superuser": true}},
                {{"username": "mixed", "password": "{PUBLIC}", "publish": ["t/1"]}}]"#
        ),
    );
    let acl = r##"[{"username": "test", "publish": ["t/1", "t/2"], "subscribe": ["user/%u", "client/%c"]},
                  {"username": "admin", "pubsub": ["#"]}]"##;
    mongo.insert(&database, "mqtt_acl", acl);
    // The test has a database of its own, and the server's users are in `admin`.
    let conf = SEED
        .replace("HOST", mongo.address())
        .replace("database = mqtt\n", &format!("database = {database}\n"))
        + "auth.mongo.auth_source = admin\n";
    let broker = Broker::start(config(&conf));
    for (name, password, code) in [
        ("test", "public", 0),
        ("test", "x", 4),
        ("root", "public", 4),
        ("nobody", "public", 4),
    ] {
        assert_eq!(login(&broker, name, password), code, "{name}");
    }
    assert!(may_publish(&mut user(&broker, "boss"), "any"));
    let mut mixed = user(&broker, "mixed");
    assert!(may_publish(&mut mixed, "t/1") && !may_publish(&mut mixed, "t/2"));
    // The document of a user without rules allows nothing: the slip of the seed, as EMQ took it.
    assert!(!may_publish(&mut user(&broker, "test"), "t/1"));

    // With the collection in which its sample data are.
    broker.unload(PLUGIN);
    let conf = conf.replace(
        "acl_query.collection = mqtt_user",
        "acl_query.collection = mqtt_acl",
    );
    broker.write_plugin_conf(PLUGIN, &conf);
    broker.load(PLUGIN);
    let mut test = user(&broker, "test");
    assert!(may_publish(&mut test, "t/1") && !may_publish(&mut test, "t/3"));
    assert!(may_subscribe(&mut test, "user/test"));
}

/// 2.0 and 2.1 had their own answer for what no rule speaks of.
#[test]
fn acl_nomatch_of_old_files() {
    let Some(mongo) = Mongo::shared() else { return };
    let users = format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#);
    let broker = site(mongo, &users, "", "auth.mongo.acl_nomatch = deny\n");
    assert!(!may_publish(&mut user(&broker, "u"), "t"));
}
