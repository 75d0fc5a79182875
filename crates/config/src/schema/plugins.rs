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

    Key::new("recon.gc_interval", PERIOD, "time between looks for the largest figures").of("emq_recon").default("5m").ships("5m").hot(),
    Key::new("reloader.interval", PERIOD_OR_ZERO, "time between looks at the files; 0 = only when told")
        .of("emq_reloader").default("60s").ships("60s"),
    Key::new("reloader.logfile", Type::File, "log of what was reloaded, below log.dir")
        .of("emq_reloader").default("log/reloader.log").ships("reloader.log"),
];
