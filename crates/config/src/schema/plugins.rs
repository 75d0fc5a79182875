//! Keys of emq_retainer, emq_modules, emq_dashboard, emq_web_hook, emq_recon and emq_reloader.

use super::{Key, NATURAL, PERIOD, PERIOD_OR_ZERO, POSITIVE, QOS, SIZE, VERIFY};
use crate::value::Type;

const fn retainer(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_retainer")
}

const fn module(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_modules")
}

const fn dashboard(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_dashboard")
}

const fn hook(pattern: &'static str, shown: &'static str) -> Key {
    Key::new(pattern, Type::Text, "what to post when it happens, as JSON")
        .of("emq_web_hook")
        .ships(shown)
}

/// A key of the web hook that EMQ did not have.
const fn web(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_web_hook")
}

const fn lua(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_lua_hook")
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    retainer("retainer.storage_type", Type::Enum(&["ram", "disc", "disc_only"]), "where retained messages are")
        .default("ram").ships("disc"),
    retainer("retainer.max_message_num", NATURAL, "retained messages; 0 = no limit")
        .default("1000000").ships("1000000").hot(),
    retainer("retainer.max_payload_size", SIZE, "largest payload that is retained; 0 = no limit")
        .default("64KB").ships("64KB").hot(),
    retainer("retainer.expiry_interval", Type::ExpiryMillis, "life of a retained message; 0 = for ever, a bare number is milliseconds")
        .default("0").ships("0").hot(),

    module("module.presence", Type::Flag, "publish who connects and disconnects")
        .default("off").ships("on"),
    module("module.presence.qos", QOS, "QoS of those messages").default("1").ships("1"),
    module("module.subscription", Type::Flag, "subscribe each client as it connects")
        .default("off").ships("off"),
    module("module.subscription.$id.topic", Type::TopicFilter, "a filter; %c and %u as whole levels")
        .shows("$client/%c"),
    module("module.subscription.$id.qos", QOS, "QoS of that subscription").shows("1"),
    module("module.rewrite", Type::Flag, "rewrite topics").default("off").ships("off"),
    module("module.rewrite.rule.$id", Type::RewriteRule, "<filter> <regular expression> <destination>")
        .shows("x/# ^x/y/(.+)$ z/y/$1"),

    dashboard("dashboard.default_user.login", Type::Text, "first user, created if there is none of this name")
        .default("admin").ships("admin"),
    dashboard("dashboard.default_user.password", Type::Secret, "its password")
        .default("public").ships("public"),
    dashboard("dashboard.listener.http", Type::Address, "address of the web interface").ships("18083"),
    dashboard("dashboard.listener.https", Type::Address, "the same over TLS").shows("18084"),
    dashboard("dashboard.listener.http|https.acceptors", POSITIVE, "reported only")
        .default("8").each(&[("dashboard.listener.http.acceptors", "4")]),
    dashboard("dashboard.listener.http|https.max_clients", POSITIVE, "connections at the same time")
        .default("64").each(&[("dashboard.listener.http.max_clients", "512")]),
    dashboard("dashboard.listener.http|https.access.$id", Type::Access, "allow or deny a network")
        .each(&[("dashboard.listener.http.access.1", "allow all")]),
    dashboard("dashboard.listener.https.handshake_timeout", PERIOD, "time for the TLS handshake")
        .default("15s").shows("15s"),
    dashboard("dashboard.listener.https.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    dashboard("dashboard.listener.https.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    dashboard("dashboard.listener.https.cacertfile", Type::File, "who signs clients' certificates, PEM")
        .shows("etc/certs/cacert.pem"),
    dashboard("dashboard.listener.https.dhfile", Type::File, "Diffie-Hellman parameters, PEM")
        .shows("etc/certs/dh-params.pem"),
    dashboard("dashboard.listener.https.verify", VERIFY, "ask clients for a certificate").shows("verify_peer"),
    dashboard("dashboard.listener.https.fail_if_no_peer_cert", Type::Bool, "refuse clients without one").shows("true"),
    dashboard("dashboard.listener.https.tls_versions", Type::TlsVersions, "TLS versions offered")
        .shows("tlsv1.2,tlsv1.1,tlsv1"),
    dashboard("dashboard.listener.https.ciphers", Type::Text, "ciphers offered")
        .shows("ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384"),
    dashboard("dashboard.listener.https.secure_renegotiate", Type::Flag, "there is no renegotiation").shows("off"),
    dashboard("dashboard.listener.https.reuse_sessions", Type::Flag, "resume TLS sessions").default("on").shows("on"),
    dashboard("dashboard.listener.https.honor_cipher_order", Type::Flag, "the server's order of ciphers counts").shows("on"),

    Key::new("web.hook.api.url", Type::Text, "where each event is posted to")
        .of("emq_web_hook").ships("http://127.0.0.1").hot(),
    hook("web.hook.rule.client.connected.$id", "{\"action\": \"on_client_connected\"}"),
    hook("web.hook.rule.client.disconnected.$id", "{\"action\": \"on_client_disconnected\"}"),
    hook("web.hook.rule.client.subscribe.$id", "{\"action\": \"on_client_subscribe\"}"),
    hook("web.hook.rule.client.unsubscribe.$id", "{\"action\": \"on_client_unsubscribe\"}"),
    hook("web.hook.rule.session.created.$id", "{\"action\": \"on_session_created\"}"),
    hook("web.hook.rule.session.subscribed.$id", "{\"action\": \"on_session_subscribed\"}"),
    hook("web.hook.rule.session.unsubscribed.$id", "{\"action\": \"on_session_unsubscribed\"}"),
    hook("web.hook.rule.session.terminated.$id", "{\"action\": \"on_session_terminated\"}"),
    hook("web.hook.rule.message.publish.$id", "{\"action\": \"on_message_publish\"}"),
    hook("web.hook.rule.message.delivered.$id", "{\"action\": \"on_message_delivered\"}"),
    hook("web.hook.rule.message.acked.$id", "{\"action\": \"on_message_acked\"}"),

    web("web.hook.encode_payload", Type::Enum(&["plain", "base64"]), "how payloads are written; a rule may say otherwise").default("plain").shows("base64"),
    web("web.hook.header.$name", Type::Secret, "a header of every request"),
    web("web.hook.username", Type::Text, "user name of the web server's basic authentication").shows("emqttd"),
    web("web.hook.password", Type::Secret, "its password").shows("secret"),
    web("web.hook.token", Type::Secret, "bearer token").shows("abc"),
    web("web.hook.http_version", Type::Enum(&["auto", "1.1", "2"]), "auto: over TLS what the server prefers, else 1.1").default("auto").shows("auto"),
    web("web.hook.pool", Type::Integer { min: 1, max: 1024 }, "requests under way at a time; those about one client follow each other").default("8").shows("8"),
    web("web.hook.timeout", PERIOD, "a request without answer for so long has failed").default("5s").shows("5s"),
    web("web.hook.deadline", PERIOD, "an event that could not be delivered is tried again for so long").default("1m").shows("1m"),
    web("web.hook.batch_size", Type::Integer { min: 1, max: 10_000 }, "most events in a request; more than 1: each body is a JSON array").default("1").shows("100"),
    web("web.hook.queue.max_count", POSITIVE, "events that wait in memory").default("100000").shows("100000"),
    web("web.hook.queue.max_bytes", SIZE, "bytes of them").default("64MB").shows("64MB"),
    web("web.hook.on_full", Type::Enum(&["drop_oldest", "drop_newest", "spill"]), "what is lost when more wait: the oldest, the newest, or nothing, as they wait on disk").default("drop_oldest").shows("spill"),
    web("web.hook.spill.max_bytes", SIZE, "bytes that wait on disk").default("1GB").shows("1GB"),
    web("web.hook.ssl.cacertfile", Type::File, "who signs the server's certificate, PEM; absent = whom this machine trusts").shows("etc/certs/cacert.pem"),
    web("web.hook.ssl.certfile", Type::File, "certificate of the broker, PEM").shows("etc/certs/cert.pem"),
    web("web.hook.ssl.keyfile", Type::File, "its private key, PEM").shows("etc/certs/key.pem"),
    web("web.hook.ssl.verify", VERIFY, "whether the server must prove who it is").default("verify_peer").shows("verify_peer"),
    web("web.hook.ssl.server_name", Type::Text, "name in the server's certificate, where it is not the host's").shows("hooks.example.com"),

    lua("lua.dir", Type::File, "where the scripts are").default("hook_lua").shows("hook_lua"),
    lua("lua.state", Type::Enum(&["reset", "keep"]), "what scripts have assigned is forgotten after each call, or kept").default("reset").shows("keep"),
    lua("lua.on_error", Type::Enum(&["pass", "refuse"]), "a message or subscription whose script fails passes unchanged, or does not").default("pass").shows("pass"),
    lua("lua.max_instructions", POSITIVE, "instructions of one call").default("1000000").shows("1000000"),
    lua("lua.max_memory", SIZE, "memory of an interpreter; each script has one for each core, or one with lua.state = keep").default("16MB").shows("16MB"),
    lua("lua.max_time", PERIOD, "time of one call").default("100ms").shows("100ms"),
    lua("lua.kv.max_bytes", SIZE, "memory of emq.kv").default("16MB").shows("16MB"),

    Key::new("recon.gc_interval", PERIOD, "time between looks for the largest figures").of("emq_recon").default("5m").ships("5m").hot(),
    Key::new("reloader.interval", PERIOD_OR_ZERO, "time between looks at the files; 0 = only when told")
        .of("emq_reloader").default("60s").ships("60s"),
    Key::new("reloader.logfile", Type::File, "log of what was reloaded, below log.dir")
        .of("emq_reloader").default("log/reloader.log").ships("reloader.log"),
];
