//! `mqtt.*`.

use super::{Key, NATURAL, PERIOD, PERIOD_OR_ZERO, SIZE};
use crate::Reload;
use crate::value::Type;

const fn key(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning)
}

const fn session(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).reload(Reload::NewSessions)
}

const fn client(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).reload(Reload::ListenerRestart)
}

const U16: Type = Type::Integer {
    min: 0,
    max: 65_535,
};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("mqtt.allow_anonymous", Type::Enum(&["true", "false", "local"]),
        "who is let in when no module decided: all, nobody, or loopback peers only")
        .default("false").ships("local").hot(),
    key("mqtt.acl_nomatch", Type::Enum(&["allow", "deny"]), "the answer when no ACL rule decided")
        .default("allow").ships("allow").hot(),
    key("mqtt.acl_file", Type::File, "rules of the built-in ACL; absent = none")
        .ships("etc/acl.conf").reload(Reload::BrokerRestart),
    key("mqtt.acl_deny_action", Type::Enum(&["ignore", "disconnect"]),
        "what a client sees whose PUBLISH is denied")
        .default("ignore").shows("ignore"),
    key("mqtt.cache_acl", Type::Bool, "remember ACL answers for each connection")
        .default("true").ships("true").hot(),
    key("mqtt.acl_cache_max_size", Type::Integer { min: 1, max: 1_048_576 },
        "ACL answers remembered for a connection")
        .default("64").shows("64"),
    key("mqtt.acl_cache_ttl", PERIOD_OR_ZERO,
        "how long an ACL answer is remembered; 0 = as long as the connection")
        .default("0").shows("0"),
    client("mqtt.max_clientid_len", Type::Integer { min: 1, max: 65_535 }, "longest client id, bytes")
        .default("1024").ships("1024"),
    client("mqtt.max_packet_size", Type::ByteSize { min: 16, max: u64::MAX }, "largest remaining length of a packet")
        .default("64KB").ships("64KB"),
    key("mqtt.max_connect_size", Type::ByteSize { min: 64, max: u64::MAX },
        "largest CONNECT: what a client may send before it is known")
        .default("64KB").shows("64KB"),
    key("mqtt.max_topic_levels", U16, "levels of a topic name or filter; 0 = no limit")
        .default("0").shows("0"),
    key("mqtt.max_topic_alias", U16, "topic aliases an MQTT 5 client may use")
        .default("32").shows("32"),
    key("mqtt.max_keepalive", U16, "longest keepalive in seconds, told to MQTT 5 clients; 0 = any")
        .default("0").shows("0"),
    key("mqtt.websocket_protocol_header", Type::Flag, "ask WebSocket clients for the mqtt subprotocol")
        .default("on").ships("on").hot(),
    client("mqtt.keepalive_backoff", Type::Float,
        "kept for old files; the broker waits 1.5 times the keepalive, as MQTT says")
        .default("1.25").ships("0.75").kept(),
    client("mqtt.conn.force_gc_count", NATURAL, "Erlang VM").ships("100").without_effect(),

    client("mqtt.client.idle_timeout", PERIOD, "time for CONNECT to arrive")
        .default("30s").ships("30s"),
    client("mqtt.client.max_publish_rate", Type::Integer { min: 0, max: 4_294_967_295 },
        "PUBLISH packets a second from one client; 0 = no limit")
        .default("0").shows("5"),
    key("mqtt.client.max_send_buffer", Type::ByteSize { min: 4096, max: 1 << 32 },
        "bytes that may wait for a client that does not read, before it is disconnected")
        .default("1MB").shows("1MB"),
    client("mqtt.client.enable_stats", Type::StatsFlag, "count packets of each connection")
        .default("off").ships("off"),

    session("mqtt.session.max_subscriptions", NATURAL, "subscriptions of a session; 0 = no limit")
        .default("0").ships("0"),
    session("mqtt.session.upgrade_qos", Type::Flag, "deliver with the QoS of the subscription, if higher")
        .default("off").ships("off"),
    session("mqtt.session.max_inflight", NATURAL, "QoS 1 and 2 messages sent and not acknowledged; 0 = no limit")
        .default("100").ships("32"),
    session("mqtt.session.retry_interval", PERIOD, "time until an unacknowledged message is sent again")
        .default("20s").ships("20s"),
    session("mqtt.session.max_awaiting_rel", NATURAL, "received QoS 2 messages not yet released; 0 = no limit")
        .default("0").ships("1000"),
    session("mqtt.session.await_rel_timeout", PERIOD, "time such a message waits for PUBREL")
        .default("20s").ships("30s"),
    session("mqtt.session.enable_stats", Type::StatsFlag, "count messages of each session")
        .default("off").ships("on"),
    session("mqtt.session.expiry_interval", PERIOD_OR_ZERO, "life of an MQTT 3.x session without its client")
        .default("2h").ships("2h"),
    key("mqtt.session.max_expiry_interval", PERIOD_OR_ZERO,
        "longest session expiry an MQTT 5 client may ask for; 0 = any")
        .default("0").shows("0"),
    session("mqtt.session.ignore_loop_deliver", Type::Bool, "keep a client's own messages from it")
        .default("false").ships("false"),

    session("mqtt.mqueue.type", Type::Enum(&["simple", "priority"]), "one lane, or one for each topic")
        .default("simple").ships("simple"),
    session("mqtt.mqueue.priority", Type::Priorities, "topic=priority, 0 to 255, with commas")
        .default("").shows("topic/1=10,topic/2=8"),
    session("mqtt.mqueue.max_length", Type::Length, "messages waiting for a session; 0 = no limit")
        .default("0").ships("1000"),
    key("mqtt.mqueue.max_bytes", SIZE, "bytes of messages waiting for a session; 0 = no limit")
        .default("64MB").shows("64MB"),
    session("mqtt.mqueue.low_watermark", Type::Percent, "fill at which the alarm is cleared")
        .default("20%").ships("20%"),
    session("mqtt.mqueue.high_watermark", Type::Percent, "fill at which the alarm is raised")
        .default("60%").ships("60%"),
    session("mqtt.mqueue.store_qos0", Type::Bool, "queue QoS 0 messages too")
        .default("true").ships("true"),

    key("mqtt.broker.sys_interval", PERIOD, "period of the $SYS topics")
        .default("1m").ships("1m").reload(Reload::BrokerRestart),
    key("mqtt.pubsub.pool_size", NATURAL, "Erlang VM").default("8").ships("8").without_effect(),
    key("mqtt.pubsub.async", Type::Bool, "never read, in EMQ neither")
        .default("true").ships("true").without_effect(),
    key("mqtt.bridge.max_queue_len", NATURAL, "messages a bridge keeps while its peer is down")
        .default("10000").ships("10000").kept(),
    key("mqtt.bridge.ping_down_interval", PERIOD, "time between attempts to reach the peer")
        .default("1s").ships("1s").kept(),
    key("mqtt.plugins.etc_dir", Type::File, "directory of the plugins' files; absent = no plugins")
        .ships("etc/plugins/"),
    key("plugins.on_failure", Type::Enum(&["stop", "continue"]), "what a start does when a plugin that decides who may connect, or what is allowed, cannot be started")
        .default("stop").shows("stop"),
    key("mqtt.plugins.loaded_file", Type::File, "list of the plugins to start; absent = none")
        .ships("data/loaded_plugins"),
];
