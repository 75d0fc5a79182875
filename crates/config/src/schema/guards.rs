//! Keys of the plugins that answer who may connect and do what: `emq_auth_*`.

use super::{Key, NATURAL, PERIOD, PERIOD_OR_ZERO, POSITIVE, VERIFY};
use crate::value::Type;

const PORT: Type = Type::Integer {
    min: 1,
    max: 65_535,
};
const METHOD: Type = Type::Enum(&["post", "get"]);
const HASH_COST: Type = Type::Enum(&["standard", "light"]);
const NOMATCH: Type = Type::Enum(&["allow", "deny"]);

const fn ldap(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_ldap")
}

const fn http(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_http").hot()
}

const fn mysql(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_mysql")
}

const fn pgsql(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_pgsql")
}

const fn redis(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_redis")
}

const fn mongo(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_auth_mongo")
}

const fn topology(pattern: &'static str, shown: &'static str) -> Key {
    mongo(pattern, NATURAL, "option of the driver").shows(shown)
}

/// A key of 2.0 and 2.1 that is still obeyed; `legacy` names it in a warning.
const fn nomatch(pattern: &'static str, app: &'static str) -> Key {
    Key::new(
        pattern,
        NOMATCH,
        "the answer where this plugin's ACL does not decide (2.0, 2.1)",
    )
    .of(app)
}

const ON_UNAVAILABLE: Type = Type::Enum(&["deny", "ignore", "cached"]);

/// What every plugin has that asks another server.
macro_rules! backend {
    ($app:literal, $head:literal) => {
        [
            Key::new(concat!($head, ".on_unavailable"), ON_UNAVAILABLE, "who comes in while the server does not answer: nobody; whom the next module lets in; who came in before")
                .of($app).default("deny").shows("deny"),
            Key::new(concat!($head, ".acl_on_unavailable"), ON_UNAVAILABLE, "what is allowed while the server does not answer: nothing new; what the next module says; what was")
                .of($app).default("deny").shows("deny"),
            Key::new(concat!($head, ".cached.ttl"), PERIOD, "how old an answer may be that counts by `cached`")
                .of($app).default("1h").shows("1h"),
            Key::new(concat!($head, ".cached.size"), POSITIVE, "answers kept for `cached`, of each kind")
                .of($app).default("10000").shows("10000"),
        ]
    };
}

/// TLS to that server.
macro_rules! tls {
    ($app:literal, $head:literal) => {
        [
            Key::new(
                concat!($head, ".verify"),
                VERIFY,
                "whether the server must prove who it is",
            )
            .of($app)
            .default("verify_peer")
            .shows("verify_peer"),
            Key::new(
                concat!($head, ".server_name"),
                Type::Text,
                "name in the server's certificate, where it is not the host's",
            )
            .of($app)
            .shows("db.example.com"),
        ]
    };
}

/// Its files, where 2.3 had no keys for them.
macro_rules! tls_files {
    ($app:literal, $head:literal) => {
        [
            Key::new(
                concat!($head, ".cacertfile"),
                Type::File,
                "who signs the server's certificate, PEM; absent = whom this machine trusts",
            )
            .of($app)
            .shows("etc/certs/cacert.pem"),
            Key::new(
                concat!($head, ".certfile"),
                Type::File,
                "certificate of the broker, PEM",
            )
            .of($app)
            .shows("etc/certs/cert.pem"),
            Key::new(
                concat!($head, ".keyfile"),
                Type::File,
                "its private key, PEM",
            )
            .of($app)
            .shows("etc/certs/key.pem"),
        ]
    };
}

const fn timeout(pattern: &'static str, app: &'static str) -> Key {
    Key::new(
        pattern,
        PERIOD,
        "an answer that takes longer is none; at most 4500ms",
    )
    .of(app)
    .default("4s")
    .shows("4s")
}

/// Keys of our own, which all or most of these plugins have.
#[rustfmt::skip]
pub(super) const BACKENDS: &[&[Key]] = &[
    &backend!("emq_auth_ldap", "auth.ldap"),
    &[Key::new("auth.ldap.ssl.server_name", Type::Text, "name in the server's certificate, where it is not the host's").of("emq_auth_ldap").shows("ldap.example.com")],
    &backend!("emq_auth_http", "auth.http"),
    &tls_files!("emq_auth_http", "auth.http.ssl_opts"),
    &tls!("emq_auth_http", "auth.http.ssl_opts"),
    &backend!("emq_auth_mysql", "auth.mysql"),
    &[Key::new("auth.mysql.ssl", Type::Bool, "TLS to the server").of("emq_auth_mysql").default("false").shows("false")],
    &tls_files!("emq_auth_mysql", "auth.mysql.ssl_opts"),
    &tls!("emq_auth_mysql", "auth.mysql.ssl_opts"),
    &backend!("emq_auth_pgsql", "auth.pgsql"),
    &tls!("emq_auth_pgsql", "auth.pgsql.ssl_opts"),
    &backend!("emq_auth_redis", "auth.redis"),
    &[Key::new("auth.redis.ssl", Type::Bool, "TLS to the server").of("emq_auth_redis").default("false").shows("false")],
    &tls_files!("emq_auth_redis", "auth.redis.ssl_opts"),
    &tls!("emq_auth_redis", "auth.redis.ssl_opts"),
    &backend!("emq_auth_mongo", "auth.mongo"),
    // Without server_name: MongoDB's driver takes none.
    &[Key::new("auth.mongo.ssl_opts.verify", VERIFY, "whether the server must prove who it is").of("emq_auth_mongo").default("verify_peer").shows("verify_peer")],
    &[
        timeout("auth.http.timeout", "emq_auth_http"),
        timeout("auth.mysql.timeout", "emq_auth_mysql"),
        timeout("auth.pgsql.timeout", "emq_auth_pgsql"),
        timeout("auth.redis.timeout", "emq_auth_redis"),
        timeout("auth.mongo.timeout", "emq_auth_mongo"),
        Key::new("auth.redis.subs_cmd", Type::Text, "asks for topics to subscribe a client to; absent = none").of("emq_auth_redis").shows("HGETALL mqtt_subs:%u"),
        Key::new("auth.redis.username", Type::Text, "the broker's name (Redis 6 and later)").of("emq_auth_redis").shows(""),
        Key::new("auth.redis.type", Type::Enum(&["single", "sentinel", "cluster"]), "topology").of("emq_auth_redis").default("single").shows("single"),
        Key::new("auth.redis.sentinel", Type::Text, "name of the master that the sentinels in `server` know").of("emq_auth_redis").shows("mymaster"),
        Key::new("auth.redis.sentinel_username", Type::Text, "the broker's name for the sentinels").of("emq_auth_redis").shows(""),
        Key::new("auth.redis.sentinel_password", Type::Secret, "the broker's password for the sentinels; absent = they want none").of("emq_auth_redis").shows(""),
        Key::new("auth.ldap.starttls", Type::Flag, "TLS over the ordinary port").of("emq_auth_ldap").default("off").shows("off"),
        Key::new("auth.ldap.username_attribute", Type::Text, "attribute that is searched for").of("emq_auth_ldap").default("username").shows("username"),
        Key::new("auth.ldap.password_attribute", Type::Text, "attribute that holds the password or its hash").of("emq_auth_ldap").default("password").shows("password"),
        Key::new("auth.ldap.superuser_attribute", Type::Text, "attribute that is TRUE or 1 for superusers; absent = nobody is one").of("emq_auth_ldap").shows("isSuperuser"),
        Key::new("auth.ldap.publish_attribute", Type::Text, "attribute with topic filters that may be published to").of("emq_auth_ldap").shows("mqttPublishTopic"),
        Key::new("auth.ldap.subscribe_attribute", Type::Text, "attribute with topic filters that may be subscribed to").of("emq_auth_ldap").shows("mqttSubscribeTopic"),
        Key::new("auth.ldap.pubsub_attribute", Type::Text, "attribute with topic filters for both").of("emq_auth_ldap").shows("mqttPubsubTopic"),
        Key::new("auth.ldap.pool", POSITIVE, "connections").of("emq_auth_ldap").default("8").shows("8"),
        Key::new("auth.http.pool", POSITIVE, "connections kept open, and requests under way at a time").of("emq_auth_http").default("32").shows("32"),
        Key::new("auth.http.header.$name", Type::Secret, "a header of every request").of("emq_auth_http"),
        Key::new("auth.http.content_type", Type::Enum(&["form", "json"]), "how a POST has its parameters").of("emq_auth_http").default("form").shows("form"),
        Key::new("auth.jwt.from", Type::Enum(&["password", "username"]), "where the token is").of("emq_auth_jwt").default("password").shows("password"),
        Key::new("auth.jwt.jwks", Type::Text, "keys as JWKS: a file, or an http(s) URL").of("emq_auth_jwt").shows("https://id.example.com/jwks.json"),
        Key::new("auth.jwt.jwks.refresh", PERIOD, "how often the URL is read").of("emq_auth_jwt").default("5m").shows("5m"),
        Key::new("auth.jwt.leeway", PERIOD_OR_ZERO, "by how much clocks may differ").of("emq_auth_jwt").default("0s").shows("0s"),
        Key::new("auth.jwt.verify_claims.$claim", Type::Text, "a claim that must have this value; %u and %c stand for user name and client id").of("emq_auth_jwt").shows("%u"),
        Key::new("auth.jwt.superuser_claim", Type::Text, "claim that is true for superusers; absent = nobody is one").of("emq_auth_jwt").shows("is_superuser"),
        Key::new("auth.jwt.acl_claim", Type::Text, "claim with `pub`, `sub` and `all`: lists of topic filters; absent = no ACL").of("emq_auth_jwt").shows("acl"),
        Key::new("auth.jwt.disconnect_after_expiry", Type::Flag, "end connections whose token expires").of("emq_auth_jwt").default("off").shows("off"),
        Key::new("auth.jwt.issuer", Type::Text, "the issuer that a token must have").of("emq_auth_jwt").shows("https://id.example.com"),
        Key::new("auth.jwt.audience", Type::Text, "the audience that a token must have").of("emq_auth_jwt").shows("mqtt"),
    ],
    &tls_files!("emq_auth_jwt", "auth.jwt.ssl_opts"),
    &tls!("emq_auth_jwt", "auth.jwt.ssl_opts"),
];

const AUTH_QUERY: &str = "select password from mqtt_user where username = '%u' limit 1";
const SUPER_QUERY: &str = "select is_superuser from mqtt_user where username = '%u' limit 1";
const ACL_QUERY: &str = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
     where ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c'";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    Key::new("auth.client.$id.clientid", Type::Text, "a client id that may connect")
        .of("emq_auth_clientid").shows("id"),
    Key::new("auth.client.$id.password", Type::Secret, "its password")
        .of("emq_auth_clientid").shows("passwd"),
    Key::new("auth.client.password_hash", Type::PasswordHash, "how passwords in the file are written; salted ones as salt:hash")
        .of("emq_auth_clientid").default("plain").shows("plain"),
    Key::new("auth.client.hash_cost", HASH_COST, "how costly stored hashes are; light is for passwords made by machines")
        .of("emq_auth_clientid").default("standard").shows("standard"),
    Key::new("auth.client.password_cache", Type::Flag, "recognize a password that was checked before")
        .of("emq_auth_clientid").default("on").shows("on"),
    Key::new("auth.user.$id.username", Type::Text, "a username that may connect")
        .of("emq_auth_username").shows("admin"),
    Key::new("auth.user.$id.password", Type::Secret, "its password")
        .of("emq_auth_username").shows("public"),
    Key::new("auth.user.password_hash", Type::PasswordHash, "how passwords in the file are written; salted ones as salt:hash")
        .of("emq_auth_username").default("plain").shows("plain"),
    Key::new("auth.user.hash_cost", HASH_COST, "how costly stored hashes are; light is for passwords made by machines")
        .of("emq_auth_username").default("standard").shows("standard"),
    Key::new("auth.user.password_cache", Type::Flag, "recognize a password that was checked before")
        .of("emq_auth_username").default("on").shows("on"),
    Key::new("auth.user.scram_iterations", Type::Integer { min: 0, max: 10_000_000 }, "of SCRAM-SHA-256, at least 4096; 0 = no SCRAM")
        .of("emq_auth_username").default("15000").shows("15000"),
    Key::new("auth.jwt.secret", Type::Secret, "secret of HS256, HS384, HS512")
        .of("emq_auth_jwt").ships("emqsecret"),
    Key::new("auth.jwt.pubkey", Type::File, "public key of RS, PS, ES and EdDSA algorithms, or a certificate with it, PEM")
        .of("emq_auth_jwt").shows("etc/certs/jwt_public_key.pem"),

    ldap("auth.ldap.servers", Type::Text, "hosts, with commas, tried in turn").ships("127.0.0.1").hot(),
    ldap("auth.ldap.port", PORT, "port of all of them").default("389").ships("389").hot(),
    ldap("auth.ldap.timeout", NATURAL, "seconds").default("30").ships("30").hot(),
    ldap("auth.ldap.bind_dn", Type::Text, "who the broker is").ships("cn=root,dc=emqtt,dc=com").hot(),
    ldap("auth.ldap.bind_password", Type::Secret, "the broker's password").ships("public").hot(),
    ldap("auth.ldap.auth_dn", Type::Text, "where a client is looked up; %u or %c")
        .ships("cn=%u,ou=auth,dc=emqtt,dc=com").hot(),
    ldap("auth.ldap.password_hash", Type::PasswordHash, "how the stored password was made")
        .default("sha256").ships("sha256").hot(),
    ldap("auth.ldap.user_dn", Type::Text, "bind as the client under this name (2.0 to 2.2)"),
    ldap("auth.ldap.ssl", Type::Bool, "TLS to the server").default("false").ships("false"),
    ldap("auth.ldap.ssl.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    ldap("auth.ldap.ssl.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    ldap("auth.ldap.ssl.cacertfile", Type::File, "who signs the server's certificate, PEM")
        .shows("etc/certs/cacert.pem"),
    ldap("auth.ldap.ssl.verify", VERIFY, "check the server's certificate").shows("verify_peer"),
    ldap("auth.ldap.ssl.fail_if_no_peer_cert", Type::Bool, "of no meaning for a client").shows("true"),

    http("auth.http.auth_req", Type::Text, "URL asked who may connect; absent = none")
        .ships("http://127.0.0.1:8080/mqtt/auth"),
    http("auth.http.auth_req.method", METHOD, "how it is asked").default("post").ships("post"),
    http("auth.http.auth_req.params", Type::Text, "name=%u, with commas")
        .ships("clientid=%c,username=%u,password=%P"),
    http("auth.http.super_req", Type::Text, "URL asked who is a superuser; absent = nobody")
        .ships("http://127.0.0.1:8080/mqtt/superuser"),
    http("auth.http.super_req.method", METHOD, "how it is asked").default("post").ships("post"),
    http("auth.http.super_req.params", Type::Text, "name=%u, with commas").ships("clientid=%c,username=%u"),
    http("auth.http.acl_req", Type::Text, "URL asked what a client may do; absent = none")
        .ships("http://127.0.0.1:8080/mqtt/acl"),
    http("auth.http.acl_req.method", METHOD, "how it is asked").default("get").ships("get"),
    http("auth.http.acl_req.params", Type::Text, "name=%u, with commas")
        .ships("access=%A,username=%u,clientid=%c,ipaddr=%a,topic=%t"),
    nomatch("auth.http.acl_nomatch", "emq_auth_http"),

    mysql("auth.mysql.server", Type::Text, "host:port").ships("127.0.0.1:3306").hot(),
    mysql("auth.mysql.pool", POSITIVE, "connections").default("8").ships("8").hot(),
    mysql("auth.mysql.username", Type::Text, "the broker's name").default("").shows("").hot(),
    mysql("auth.mysql.password", Type::Secret, "the broker's password").default("").shows("").hot(),
    mysql("auth.mysql.database", Type::Text, "database").ships("mqtt").hot(),
    mysql("auth.mysql.auth_query", Type::Text, "asks for password[, salt]; absent = no authentication")
        .ships(AUTH_QUERY),
    mysql("auth.mysql.password_hash", Type::PasswordHash, "how the stored password was made")
        .default("sha256").ships("sha256").hot(),
    mysql("auth.mysql.super_query", Type::Text, "asks who is a superuser; absent = nobody")
        .ships(SUPER_QUERY),
    mysql("auth.mysql.acl_query", Type::Text, "asks for rules; absent = no ACL").ships(ACL_QUERY),
    nomatch("auth.mysql.acl_nomatch", "emq_auth_mysql"),

    pgsql("auth.pgsql.server", Type::Text, "host:port").ships("127.0.0.1:5432").hot(),
    pgsql("auth.pgsql.pool", POSITIVE, "connections").default("8").ships("8").hot(),
    pgsql("auth.pgsql.username", Type::Text, "the broker's name").default("").ships("root").hot(),
    pgsql("auth.pgsql.password", Type::Secret, "the broker's password").default("").shows("").hot(),
    pgsql("auth.pgsql.database", Type::Text, "database").ships("mqtt").hot(),
    pgsql("auth.pgsql.encoding", Type::Text, "not used, in EMQ neither").default("utf8").ships("utf8"),
    pgsql("auth.pgsql.ssl", Type::Bool, "TLS to the server").default("false").ships("false"),
    pgsql("auth.pgsql.ssl_opts.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    pgsql("auth.pgsql.ssl_opts.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    pgsql("auth.pgsql.ssl_opts.cacertfile", Type::File, "who signs the server's certificate, PEM")
        .shows("etc/certs/cacert.pem"),
    pgsql("auth.pgsql.auth_query", Type::Text, "asks for password[, salt]; absent = no authentication")
        .ships(AUTH_QUERY),
    pgsql("auth.pgsql.password_hash", Type::PasswordHash, "how the stored password was made")
        .default("sha256").ships("sha256").hot(),
    pgsql("auth.pgsql.pbkdf2_macfun", Type::Text, "not used, in EMQ neither"),
    pgsql("auth.pgsql.pbkdf2_iterations", NATURAL, "not used, in EMQ neither"),
    pgsql("auth.pgsql.pbkdf2_dklen", NATURAL, "not used, in EMQ neither"),
    pgsql("auth.pgsql.super_query", Type::Text, "asks who is a superuser; absent = nobody")
        .ships(SUPER_QUERY),
    pgsql("auth.pgsql.acl_query", Type::Text, "asks for rules; absent = no ACL").ships(ACL_QUERY),
    nomatch("auth.pgsql.acl_nomatch", "emq_auth_pgsql"),

    redis("auth.redis.server", Type::Text, "host:port").ships("127.0.0.1:6379").hot(),
    redis("auth.redis.pool", POSITIVE, "connections").default("8").ships("8").hot(),
    redis("auth.redis.database", NATURAL, "number of the database").default("0").ships("0"),
    redis("auth.redis.password", Type::Secret, "the broker's password").default("").shows("").hot(),
    redis("auth.redis.auth_cmd", Type::Text, "asks for password[ salt]; absent = no authentication")
        .ships("HMGET mqtt_user:%u password"),
    redis("auth.redis.password_hash", Type::PasswordHash, "how the stored password was made")
        .default("plain").ships("plain").hot(),
    redis("auth.redis.super_cmd", Type::Text, "asks who is a superuser; absent = nobody")
        .ships("HGET mqtt_user:%u is_superuser"),
    redis("auth.redis.acl_cmd", Type::Text, "asks for rules; absent = no ACL")
        .ships("HGETALL mqtt_acl:%u"),
    nomatch("auth.redis.acl_nomatch", "emq_auth_redis"),

    mongo("auth.mongo.type", Type::Enum(&["single", "unknown", "sharded", "rs"]), "topology")
        .default("single").ships("single").hot(),
    mongo("auth.mongo.rs_set_name", Type::Text, "name of the replica set").default("mqtt").shows("testrs"),
    mongo("auth.mongo.server", Type::Text, "host:port, with commas").ships("127.0.0.1:27017").hot(),
    mongo("auth.mongo.pool", POSITIVE, "connections").default("8").ships("8").hot(),
    mongo("auth.mongo.login", Type::Text, "the broker's name").default("").shows("").hot(),
    mongo("auth.mongo.password", Type::Secret, "the broker's password").default("").shows("").hot(),
    mongo("auth.mongo.auth_source", Type::Text, "database that knows that name")
        .default("mqtt").shows("admin").hot(),
    mongo("auth.mongo.database", Type::Text, "database").default("mqtt").ships("mqtt").hot(),
    mongo("auth.mongo.ssl", Type::Bool, "TLS to the server").default("false").shows("false"),
    mongo("auth.mongo.ssl_opts.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    mongo("auth.mongo.ssl_opts.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    mongo("auth.mongo.ssl_opts.cacertfile", Type::File, "who signs the server's certificate, PEM")
        .shows("etc/certs/cacert.pem"),
    mongo("auth.mongo.w_mode", Type::Enum(&["undef", "safe", "unsafe"]), "wait for writes").shows("safe"),
    mongo("auth.mongo.r_mode", Type::Enum(&["undef", "master", "slave_ok"]), "who is read from").shows("slave_ok"),
    mongo("auth.mongo.topology.pool_size", NATURAL, "connections of each worker").default("1").ships("1"),
    mongo("auth.mongo.topology.max_overflow", NATURAL, "connections above that").default("0").ships("0"),
    topology("auth.mongo.topology.overflow_ttl", "1000"),
    topology("auth.mongo.topology.overflow_check_period", "1000"),
    topology("auth.mongo.topology.local_threshold_ms", "1000"),
    topology("auth.mongo.topology.connect_timeout_ms", "20000"),
    topology("auth.mongo.topology.socket_timeout_ms", "100"),
    topology("auth.mongo.topology.server_selection_timeout_ms", "30000"),
    topology("auth.mongo.topology.wait_queue_timeout_ms", "1000"),
    topology("auth.mongo.topology.heartbeat_frequency_ms", "10000"),
    topology("auth.mongo.topology.min_heartbeat_frequency_ms", "1000"),
    mongo("auth.mongo.topology.$name", NATURAL, "option of the driver"),
    mongo("auth.mongo.auth_query.collection", Type::Text, "where users are")
        .default("mqtt_user").ships("mqtt_user").hot(),
    mongo("auth.mongo.auth_query.password_field", Type::Text, "field of the hash[, of the salt]")
        .default("password").ships("password").hot(),
    mongo("auth.mongo.auth_query.password_hash", Type::PasswordHash, "how the stored password was made")
        .default("sha256").ships("sha256").hot(),
    mongo("auth.mongo.auth_query.selector", Type::Text, "field=%u, with commas").ships("username=%u").hot(),
    mongo("auth.mongo.super_query", Type::Flag, "ask who is a superuser").default("off").ships("on").hot(),
    mongo("auth.mongo.super_query.collection", Type::Text, "where users are")
        .default("mqtt_user").ships("mqtt_user").hot(),
    mongo("auth.mongo.super_query.super_field", Type::Text, "field that is true for them")
        .default("is_superuser").ships("is_superuser").hot(),
    mongo("auth.mongo.super_query.selector", Type::Text, "field=%u, with commas").ships("username=%u").hot(),
    mongo("auth.mongo.acl_query", Type::Flag, "ask for rules").default("off").ships("on").hot(),
    mongo("auth.mongo.acl_query.collection", Type::Text, "where rules are")
        .default("mqtt_user").ships("mqtt_acl").hot(),
    mongo("auth.mongo.acl_query.selector", Type::Text, "field=%u, with commas").ships("username=%u").hot(),
    mongo("auth.mongo.acl_query.selector.$id", Type::Text, "one of several selectors")
        .shows("username=%u,clientid=%c").hot(),
    nomatch("auth.mongo.acl_nomatch", "emq_auth_mongo"),
];
