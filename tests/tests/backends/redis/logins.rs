//! Passwords, replies, names, and what is shown of them.

use super::*;

/// The text of the manual of EMQ 2.x, with the host name filled in that was lost.
const SEED: &str = "
## Redis Server
auth.redis.server = SERVER

## Redis Pool Size
auth.redis.pool = 8

## Redis Database
auth.redis.database = 0

## Redis Password
## auth.redis.password =

## Variables: %u = username, %c = clientid

## Authentication Query Command
auth.redis.auth_cmd = HGET mqtt_user:%u password

## Password hash: plain, md5, sha, sha256, pbkdf2
auth.redis.password_hash = sha256

## Superuser Query Command
auth.redis.super_cmd = HGET mqtt_user:%u is_superuser

## ACL Query Command
auth.redis.acl_cmd = HGETALL mqtt_acl:%u
";

#[test]
fn the_manual_works_as_it_is_written() {
    let Some(redis) = Redis::start_with(&["--requirepass", ""]) else {
        return;
    };
    let place = format!("127.0.0.1:{}", redis.port());
    let broker = broker(&SEED.replace("SERVER", &place));
    redis.cmd(&["HSET", "mqtt_user:root", "is_superuser", "1"]);
    redis.cmd(&["HSET", "mqtt_user:root", "password", PUBLIC]);
    redis.cmd(&["HSET", "mqtt_user:alice", "password", PUBLIC]);
    for (topic, access) in [("topic1", "1"), ("topic2", "2"), ("topic3", "3")] {
        redis.cmd(&["HSET", "mqtt_acl:alice", topic, access]);
        redis.cmd(&["HSET", "mqtt_acl:root", topic, access]);
    }
    assert_eq!(answer(&broker, "alice", "public"), ALLOWED);
    assert_eq!(answer(&broker, "alice", "Public"), REFUSED);
    assert_eq!(answer(&broker, "alice", PUBLIC), REFUSED);
    assert_eq!(answer(&broker, "nobody", "public"), REFUSED);

    let mut alice = login(&broker, "alice", "public");
    let mut root = login(&broker, "root", "public");
    for (topic, subscribe, publish) in [
        ("topic1", true, false),
        ("topic2", false, true),
        ("topic3", true, true),
        ("topic4", false, false),
    ] {
        assert_eq!(may_subscribe(&mut alice, topic), subscribe, "{topic}");
        assert_eq!(may_publish(&mut alice, topic), publish, "{topic}");
        assert!(may_subscribe(&mut root, topic), "{topic}");
        assert!(may_publish(&mut root, topic), "{topic}");
    }
}

/// `password_hash`, fields in Redis, and the password that is right.
const FORMS: &[(&str, &[&str], &str)] = &[
    ("plain", &["password", "public"], "public"),
    (
        "md5",
        &["password", "4c9184f37cff01bcdc32dc486ec36961"],
        "public",
    ),
    (
        "sha",
        &["password", "61c9b2b17db77a27841bbeeabff923448b0f6388"],
        "public",
    ),
    ("sha256", &["password", PUBLIC], "public"),
    (
        "sha256",
        &[
            "password",
            "EFA1F375D76194FA51A3556A97E641E61685F914D446979DA50A551A4333FFD7",
        ],
        "public",
    ),
    (
        "salt,md5",
        &[
            "password",
            "c91e85973ceee05f005996584f067a72",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "md5 salt",
        &[
            "password",
            "b8fe9a6d76f4fa94adda07a7833e6402",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "salt sha",
        &[
            "password",
            "54625c8c5d22e86e9a3d2732bf48d0f43d343366",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "sha,salt",
        &[
            "password",
            "43e71834067d59d83ae934bb80670178b810b9be",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "salt,sha256",
        &[
            "password",
            "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "sha256 , salt",
        &[
            "password",
            "f4a8615be301fbaf6213df33cfe5f22953aafc0c31beb8f2daef55b127444d27",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "pbkdf2,sha256,1000,20",
        &[
            "password",
            "5a21f11c597da1447641c0a5ba58b856a76f1084",
            "salt",
            "salt",
        ],
        "public",
    ),
    (
        "pbkdf2,sha,1,16",
        &[
            "password",
            "cdedb5281bb2f801565a1122b2563515",
            "salt",
            "ATHENA.MIT.EDUraeburn",
        ],
        "password",
    ),
    (
        "salt,bcrypt",
        &[
            "password",
            "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
            "salt",
            "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.",
        ],
        "foo",
    ),
    (
        "bcrypt",
        &[
            "password",
            "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
        ],
        "foo",
    ),
    (
        "argon2id",
        &[
            "password",
            "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
        ],
        "public",
    ),
    (
        "scrypt",
        &[
            "password",
            "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
        ],
        "public",
    ),
];

#[test]
fn every_form_of_hash() {
    let Some(redis) = Redis::shared() else { return };
    let conf = |form: &str, command: &str| {
        format!(
            "{}auth.redis.auth_cmd = {command}\nauth.redis.password_hash = {form}\n",
            server(redis)
        )
    };
    let broker = broker(&conf("plain", "GET nothing"));
    for (form, fields, password) in FORMS {
        let name = unique("hashed");
        let key = format!("mqtt_user:{name}");
        redis.cmd(&[&["HSET", &key], *fields].concat());
        // One field is asked for in all the ways there are.
        let commands: &[&str] = match fields.len() {
            2 => &[
                "HGET mqtt_user:%u password",
                "HMGET mqtt_user:%u password",
                "HMGET mqtt_user:%u password salt",
            ],
            _ => &["HMGET mqtt_user:%u password salt"],
        };
        for command in commands {
            reload(&broker, &conf(form, command));
            let asked = format!("{form}: {command}");
            assert_eq!(answer(&broker, &name, password), ALLOWED, "{asked}");
            assert_eq!(answer(&broker, &name, "other"), REFUSED, "{asked}");
            assert_eq!(answer(&broker, &name, ""), REFUSED, "{asked}");
        }
    }
}

#[test]
fn salts_that_are_missing_and_salts_too_many() {
    let Some(redis) = Redis::shared() else { return };
    let conf = |form: &str| {
        format!(
            "{}auth.redis.auth_cmd = HMGET mqtt_user:%u password salt\nauth.redis.password_hash = {form}\n",
            server(redis)
        )
    };
    let broker = broker(&conf("plain"));
    let plain = new_user(redis, "public");
    assert_eq!(answer(&broker, &plain, "public"), ALLOWED);
    redis.cmd(&["HSET", &format!("mqtt_user:{plain}"), "salt", "s"]);
    assert_eq!(answer(&broker, &plain, "public"), REFUSED);
    reload(&broker, &conf("salt,sha256"));
    let unsalted = new_user(redis, PUBLIC);
    assert_eq!(answer(&broker, &unsalted, "public"), REFUSED);
    assert!(broker.log().contains("the password has no salt"));
}

/// Who is not in Redis is passed on, and the others are not, whatever the reply looks like.
#[test]
fn replies_of_every_shape() {
    let Some(redis) = Redis::shared() else { return };
    let conf = |command: &str| format!("{}auth.redis.auth_cmd = {command}\n", server(redis));
    let broker = Broker::start(Config::with_plugin(PLUGIN, &conf("GET nothing")));
    let hash = new_user(redis, "secret");
    let empty = unique("empty");
    redis.cmd(&["HSET", &format!("mqtt_user:{empty}"), "is_superuser", "1"]);
    let string = unique("string");
    redis.cmd(&["SET", &format!("mqtt_user:{string}"), "secret"]);
    let number = unique("number");
    redis.cmd(&["SET", &format!("mqtt_user:{number}"), "77"]);
    let script = "EVAL return{redis.call('HGET',KEYS[1],'password'),false,{}} 1 mqtt_user:%u";
    // Command, user, password: the answer with anonymous clients allowed.
    for (command, name, password, wanted) in [
        ("HGET mqtt_user:%u password", &*hash, "secret", ALLOWED),
        ("HGET mqtt_user:%u password", &hash, "x", REFUSED),
        ("HGET mqtt_user:%u password", &empty, "x", ALLOWED),
        ("HGET mqtt_user:%u password", "nobody", "x", ALLOWED),
        // A string where a hash should be.
        ("HGET mqtt_user:%u password", &string, "secret", UNAVAILABLE),
        ("HMGET mqtt_user:%u password", &hash, "secret", ALLOWED),
        ("HMGET mqtt_user:%u password", &hash, "x", REFUSED),
        ("HMGET mqtt_user:%u password salt", &empty, "x", ALLOWED),
        ("HMGET mqtt_user:%u password salt", "nobody", "x", ALLOWED),
        ("GET mqtt_user:%u", &string, "secret", ALLOWED),
        ("GET mqtt_user:%u", &string, "x", REFUSED),
        ("GET mqtt_user:%u", "nobody", "x", ALLOWED),
        ("DECRBY mqtt_user:%u 0", &number, "77", ALLOWED),
        ("DECRBY mqtt_user:%u 0", &number, "7", REFUSED),
        ("LRANGE mqtt_user:%u 0 -1", "nobody", "x", ALLOWED),
        // A list whose first field is the password and whose third nobody looks at.
        (script, &hash, "secret", ALLOWED),
        (script, &hash, "x", REFUSED),
        (script, &empty, "x", ALLOWED),
        // Names of fields are no passwords.
        ("HGETALL mqtt_user:%u", &hash, "password", REFUSED),
        ("COMMAND INFO get%u", &hash, "x", ALLOWED),
        ("NOSUCHCOMMAND %u", &hash, "secret", UNAVAILABLE),
    ] {
        reload(&broker, &conf(command));
        assert_eq!(answer(&broker, name, password), wanted, "{command} {name}");
    }
}

#[test]
fn superusers() {
    let Some(redis) = Redis::shared() else { return };
    let conf = |command: &str| {
        format!(
            "{}{SHIPPED}auth.redis.super_cmd = {command}\n",
            server(redis)
        )
    };
    let broker = broker(&conf("HGET mqtt_user:%u is_superuser"));
    let user = |value: Option<&str>| {
        let name = new_user(redis, "p");
        if let Some(value) = value {
            redis.cmd(&["HSET", &format!("mqtt_user:{name}"), "is_superuser", value]);
        }
        // Rules that allow nothing of what follows.
        allow(redis, &name, &["other", "3"]);
        name
    };
    let is_super = |name: &str| {
        let mut client = login(&broker, name, "p");
        let subscribes = may_subscribe(&mut client, "t");
        assert_eq!(may_publish(&mut client, "t"), subscribes);
        subscribes
    };
    let (yes, no) = (user(Some("1")), user(Some("0")));
    for command in [
        "HGET mqtt_user:%u is_superuser",
        "HMGET mqtt_user:%u is_superuser",
    ] {
        reload(&broker, &conf(command));
        assert!(is_super(&yes), "{command}");
        assert!(!is_super(&no), "{command}");
        assert!(!is_super(&user(None)), "{command}");
        assert!(!is_super(&user(Some("true"))), "{command}");
    }
    // A command that fails makes nobody a superuser, and keeps nobody out.
    reload(&broker, &conf("GET mqtt_user:%u"));
    assert!(!is_super(&yes));
    assert!(auth_test(&broker, "c", &yes, "p").contains("no superuser: WRONGTYPE"));
}

#[test]
fn credentials_that_are_missing() {
    let Some(redis) = Redis::shared() else { return };
    let conf = format!("{}{SHIPPED}", server(redis));
    let open = Broker::start(Config::with_plugin(PLUGIN, &conf));
    let name = new_user(redis, "p");
    let bare = || Connect::new(Version::V311, &unique("bare"));
    assert_eq!(answer_to(&open, &bare()), REFUSED);
    assert_eq!(answer_to(&open, &bare().username(&name)), REFUSED);
    // An empty one is looked up like any other.
    assert_eq!(answer(&open, &name, ""), REFUSED);
    assert_eq!(answer(&open, "", "p"), ALLOWED);
    let closed = broker(&conf);
    assert_eq!(answer(&closed, "", "p"), REFUSED);
}

/// A name is one argument, and finds what is kept under this very name.
#[test]
fn hostile_names() {
    let Some(redis) = Redis::shared() else { return };
    let conf = format!(
        "{}auth.redis.auth_cmd = HMGET mqtt_user:%u:%c password\n",
        server(redis)
    );
    let broker = broker(&conf);
    let id = unique("id");
    let with = |name: &str, id: &str| Connect::new(Version::V311, id).username(name).password("p");
    redis.cmd(&["HSET", &format!("mqtt_user:alice:{id}"), "password", "p"]);
    assert_eq!(answer_to(&broker, &with("alice", &id)), ALLOWED);
    let long = "u".repeat(60_000);
    let names = [
        "x' or '1'='1",
        "*)(uid=*",
        "{\"$gt\":\"\"}",
        "a b",
        "a&b",
        "a\\b",
        "a\"b",
        "+",
        "#",
        "a/b",
        "%u",
        "%c",
        "*",
        "alice password",
        "ünï",
        &long,
    ];
    for name in names {
        assert_eq!(answer_to(&broker, &with(name, &id)), REFUSED, "{name}");
        let key = format!("mqtt_user:{name}:{id}");
        redis.cmd(&["HSET", &key, "password", "p"]);
        assert_eq!(answer_to(&broker, &with(name, &id)), ALLOWED, "{name}");
        redis.cmd(&["DEL", &key]);
    }
    // No argument ends at a line, or the protocol would be another's to speak.
    let evil = "x\r\nSET pwned 1\r\n";
    let code = answer_to(&broker, &with(evil, &id));
    assert!(code == REFUSED, "{code}");
    assert_eq!(redis.cmd(&["EXISTS", "pwned"]), "0");
    assert_eq!(answer_to(&broker, &with("alice", &id)), ALLOWED);
    for id in ["a b", "+/#", "%u"] {
        assert_eq!(answer_to(&broker, &with("alice", id)), REFUSED, "{id}");
    }
}

#[test]
fn two_hundred_at_once_through_eight_connections() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&format!("{}{SHIPPED}", server(redis)));
    let name = new_user(redis, "p");
    let connections = || {
        let all = redis.cmd(&["CLIENT", "LIST", "TYPE", "normal"]);
        let ours = |line: &&str| line.contains(&format!("user={USER}"));
        all.lines().filter(ours).count()
    };
    let before = connections();
    let mut clients: Vec<Client> = (0..200).map(|_| broker.raw(Version::V311)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let password = if n % 4 == 0 { "wrong" } else { "p" };
        client.send(&connect(&name, password).encode());
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let wanted = if n % 4 == 0 { REFUSED } else { ALLOWED };
        assert_eq!(client.connack().1, wanted);
    }
    // Other tests have pools here, too.
    assert!(connections() < before + 50, "not one for each client");
    assert_eq!(metric(&broker, "auth/asked"), 200);
    assert_eq!(metric(&broker, "auth/allowed"), 150);
    assert_eq!(metric(&broker, "auth/denied"), 50);
    assert!(metric(&broker, "auth/time_us") > 0);
}

#[test]
fn what_a_person_is_shown() {
    let Some(redis) = Redis::shared() else { return };
    let conf = format!(
        "{}auth.redis.auth_cmd = HMGET mqtt_user:%u password salt\nauth.redis.password_hash = salt,sha256\n\
         auth.redis.super_cmd = HGET mqtt_user:%u is_superuser\nauth.redis.acl_cmd = HGETALL mqtt_acl:%u\n",
        server(redis)
    );
    let broker = broker(&conf);
    let name = unique("shown");
    let hash = "f2ef7f9aedb2c3b5040bc16691a1177758a92ad91e1ee77770215a332bf6099f";
    let key = format!("mqtt_user:{name}");
    redis.cmd(&["HSET", &key, "password", hash, "salt", "salt"]);
    allow(redis, &name, &["t/%u/#", "1", "bad", "x"]);
    let shown = |password| auth_test(&broker, "c1", &name, password);
    let right = shown("public");
    for part in [
        &*format!("HMGET mqtt_user:{name} password salt; "),
        "password by `salt,sha256`: right",
        &format!("HGET mqtt_user:{name} is_superuser; no superuser"),
        " ms)",
        "result                  : allow",
    ] {
        assert!(right.contains(part), "{part}\n{right}");
    }
    let wrong = shown("guess-secret");
    assert!(
        wrong.contains("password by `salt,sha256`: wrong"),
        "{wrong}"
    );
    for secret in [hash, "guess-secret", "public", PASSWORD] {
        assert!(
            !wrong.contains(secret) && !right.contains(secret),
            "{secret}"
        );
        assert!(!broker.log().contains(secret), "{secret} in the log");
    }
    assert!(auth_test(&broker, "c1", "nobody", "x").contains("no such user"));
    let acl = |access: &str, topic: &str| {
        let (_, text) = broker.ctl(&["acl", "test", "c1", &name, "127.0.0.1", access, topic]);
        text
    };
    let allowed = acl("subscribe", &format!("t/{name}/x"));
    assert!(allowed.contains("`t/%u/#` (1) allows it"), "{allowed}");
    let denied = acl("publish", "y");
    for part in [
        &*format!("HGETALL mqtt_acl:{name}"),
        "2 rules, none allows it",
        "is passed over: access \"x\" of \"bad\" is not 1, 2 or 3",
    ] {
        assert!(denied.contains(part), "{part}\n{denied}");
    }
}

#[test]
fn a_bad_file_is_refused() {
    let Some(redis) = Redis::shared() else { return };
    let good = format!("{}{SHIPPED}", server(redis));
    let broker = broker(&good);
    for (line, wanted) in [
        ("auth.redis.auth_cmd = HGET", "auth.redis.auth_cmd"),
        (
            "auth.redis.password_hash = rot13",
            "auth.redis.password_hash",
        ),
        ("auth.redis.type = sentinel", "auth.redis.sentinel"),
        ("auth.redis.server = a,b", "auth.redis.server"),
        ("auth.redis.on_unavailable = perhaps", "on_unavailable"),
        (
            "auth.redis.ssl = true\nauth.redis.ssl_opts.cacertfile = /nowhere.pem",
            "/nowhere.pem",
        ),
    ] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("{good}{line}\n"));
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        assert!(text.contains("load plugin error"), "{line}: {text}");
        assert!(text.contains(wanted), "{line}: {text}");
        assert!(!text.contains(PASSWORD), "{text}");
        broker.write_plugin_conf(PLUGIN, &good);
        broker.load(PLUGIN);
    }
}
