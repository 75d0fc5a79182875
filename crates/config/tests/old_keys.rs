//! The 67 keys of earlier 2.x releases that 2.3.11 no longer knew.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Etc, accepted, warning};

/// Old key, value, and what it must become.
type Old = (&'static str, &'static str, Keys);
type Keys = &'static [(&'static str, &'static str)];

const OLD: &[Old] = &[
    (
        "auth.client.dev-1",
        "pw",
        &[
            ("auth.client.dev-1.clientid", "dev-1"),
            ("auth.client.dev-1.password", "pw"),
        ],
    ),
    (
        "auth.http.acl_nomatch",
        "deny",
        &[("auth.http.acl_nomatch", "deny")],
    ),
    (
        "auth.ldap.user_dn",
        "uid=%u",
        &[("auth.ldap.user_dn", "uid=%u")],
    ),
    (
        "auth.mongo.acl_nomatch",
        "deny",
        &[("auth.mongo.acl_nomatch", "deny")],
    ),
    (
        "auth.mysql.acl_nomatch",
        "deny",
        &[("auth.mysql.acl_nomatch", "deny")],
    ),
    (
        "auth.pgsql.acl_nomatch",
        "allow",
        &[("auth.pgsql.acl_nomatch", "allow")],
    ),
    (
        "auth.redis.acl_nomatch",
        "deny",
        &[("auth.redis.acl_nomatch", "deny")],
    ),
    (
        "auth.username.admin",
        "pw",
        &[
            ("auth.user.admin.username", "admin"),
            ("auth.user.admin.password", "pw"),
        ],
    ),
    ("cluster.id", "x", &[("cluster.name", "x")]),
    ("cluster.multicast", "239.192.0.1:44369", &[]),
    ("coap.handler.mqtt", "emq_coap_gateway", &[]),
    ("coap.prefix.mqtt", "mqtt", &[]),
    ("coap.server", "127.0.0.1:5700", &[("coap.port", "5700")]),
    (
        "mqtt.client_idle_timeout",
        "40s",
        &[("mqtt.client.idle_timeout", "40s")],
    ),
    (
        "mqtt.listener.http",
        "8090",
        &[("listener.ws.external", "8090")],
    ),
    (
        "mqtt.listener.http.acceptors",
        "3",
        &[("listener.ws.external.acceptors", "3")],
    ),
    (
        "mqtt.listener.http.max_clients",
        "3",
        &[("listener.ws.external.max_clients", "3")],
    ),
    (
        "mqtt.listener.https",
        "8091",
        &[("listener.wss.external", "8091")],
    ),
    (
        "mqtt.listener.https.acceptors",
        "3",
        &[("listener.wss.external.acceptors", "3")],
    ),
    (
        "mqtt.listener.https.cacertfile",
        "a.pem",
        &[("listener.wss.external.cacertfile", "a.pem")],
    ),
    (
        "mqtt.listener.https.certfile",
        "b.pem",
        &[("listener.wss.external.certfile", "b.pem")],
    ),
    (
        "mqtt.listener.https.fail_if_no_peer_cert",
        "true",
        &[("listener.wss.external.fail_if_no_peer_cert", "true")],
    ),
    (
        "mqtt.listener.https.failed_if_no_peer_cert",
        "true",
        &[("listener.wss.external.fail_if_no_peer_cert", "true")],
    ),
    (
        "mqtt.listener.https.handshake_timeout",
        "10s",
        &[("listener.wss.external.handshake_timeout", "10s")],
    ),
    (
        "mqtt.listener.https.keyfile",
        "k.pem",
        &[("listener.wss.external.keyfile", "k.pem")],
    ),
    (
        "mqtt.listener.https.max_clients",
        "3",
        &[("listener.wss.external.max_clients", "3")],
    ),
    (
        "mqtt.listener.https.verify",
        "verify_peer",
        &[("listener.wss.external.verify", "verify_peer")],
    ),
    (
        "mqtt.listener.ssl",
        "8892",
        &[("listener.ssl.external", "8892")],
    ),
    (
        "mqtt.listener.ssl.acceptors",
        "3",
        &[("listener.ssl.external.acceptors", "3")],
    ),
    (
        "mqtt.listener.ssl.cacertfile",
        "a.pem",
        &[("listener.ssl.external.cacertfile", "a.pem")],
    ),
    (
        "mqtt.listener.ssl.certfile",
        "b.pem",
        &[("listener.ssl.external.certfile", "b.pem")],
    ),
    (
        "mqtt.listener.ssl.fail_if_no_peer_cert",
        "true",
        &[("listener.ssl.external.fail_if_no_peer_cert", "true")],
    ),
    (
        "mqtt.listener.ssl.failed_if_no_peer_cert",
        "true",
        &[("listener.ssl.external.fail_if_no_peer_cert", "true")],
    ),
    (
        "mqtt.listener.ssl.handshake_timeout",
        "10s",
        &[("listener.ssl.external.handshake_timeout", "10s")],
    ),
    (
        "mqtt.listener.ssl.keyfile",
        "k.pem",
        &[("listener.ssl.external.keyfile", "k.pem")],
    ),
    (
        "mqtt.listener.ssl.max_clients",
        "3",
        &[("listener.ssl.external.max_clients", "3")],
    ),
    (
        "mqtt.listener.ssl.rate_limit",
        "100,10",
        &[("listener.ssl.external.rate_limit", "100,10")],
    ),
    (
        "mqtt.listener.ssl.tls_versions",
        "tlsv1.2",
        &[("listener.ssl.external.tls_versions", "tlsv1.2")],
    ),
    (
        "mqtt.listener.ssl.verify",
        "verify_peer",
        &[("listener.ssl.external.verify", "verify_peer")],
    ),
    (
        "mqtt.listener.tcp",
        "127.0.0.1:1893",
        &[("listener.tcp.external", "127.0.0.1:1893")],
    ),
    (
        "mqtt.listener.tcp.acceptors",
        "3",
        &[("listener.tcp.external.acceptors", "3")],
    ),
    (
        "mqtt.listener.tcp.backlog",
        "100",
        &[("listener.tcp.external.backlog", "100")],
    ),
    (
        "mqtt.listener.tcp.buffer",
        "4096",
        &[("listener.tcp.external.buffer", "4096")],
    ),
    (
        "mqtt.listener.tcp.max_clients",
        "3",
        &[("listener.tcp.external.max_clients", "3")],
    ),
    (
        "mqtt.listener.tcp.nodelay",
        "false",
        &[("listener.tcp.external.nodelay", "false")],
    ),
    (
        "mqtt.listener.tcp.rate_limit",
        "100,10",
        &[("listener.tcp.external.rate_limit", "100,10")],
    ),
    (
        "mqtt.listener.tcp.recbuf",
        "4096",
        &[("listener.tcp.external.recbuf", "4096")],
    ),
    (
        "mqtt.listener.tcp.sndbuf",
        "4096",
        &[("listener.tcp.external.sndbuf", "4096")],
    ),
    (
        "mqtt.listener.tcp.tune_buffer",
        "off",
        &[("listener.tcp.external.tune_buffer", "off")],
    ),
    ("mqtt.module.presence", "on", &[("module.presence", "on")]),
    (
        "mqtt.module.presence.qos",
        "2",
        &[("module.presence.qos", "2")],
    ),
    ("mqtt.module.retainer", "on", &[]),
    (
        "mqtt.module.retainer.expired_after",
        "60",
        &[("retainer.expiry_interval", "60s")],
    ),
    (
        "mqtt.module.retainer.max_message_num",
        "7",
        &[("retainer.max_message_num", "7")],
    ),
    (
        "mqtt.module.retainer.max_payload_size",
        "7KB",
        &[("retainer.max_payload_size", "7KB")],
    ),
    (
        "mqtt.module.retainer.storage_type",
        "disc",
        &[("retainer.storage_type", "disc")],
    ),
    (
        "mqtt.module.subscription",
        "on",
        &[("module.subscription", "on")],
    ),
    (
        "mqtt.module.subscription.topics",
        "$client/%c=1, $user/%u=2",
        &[
            ("module.subscription.1.topic", "$client/%c"),
            ("module.subscription.1.qos", "1"),
            ("module.subscription.2.topic", "$user/%u"),
            ("module.subscription.2.qos", "2"),
        ],
    ),
    ("mqtt.pubsub.by_clientid", "true", &[]),
    (
        "mqtt.queue.high_watermark",
        "70%",
        &[("mqtt.mqueue.high_watermark", "70%")],
    ),
    (
        "mqtt.queue.low_watermark",
        "10%",
        &[("mqtt.mqueue.low_watermark", "10%")],
    ),
    (
        "mqtt.queue.max_length",
        "infinity",
        &[("mqtt.mqueue.max_length", "0")],
    ),
    (
        "mqtt.queue.priority",
        "t=1",
        &[("mqtt.mqueue.priority", "t=1")],
    ),
    (
        "mqtt.queue.qos0",
        "false",
        &[("mqtt.mqueue.store_qos0", "false")],
    ),
    (
        "mqtt.queue.type",
        "priority",
        &[("mqtt.mqueue.type", "priority")],
    ),
    (
        "mqtt.session.collect_interval",
        "20",
        &[("mqtt.session.enable_stats", "on")],
    ),
    (
        "mqtt.session.expired_after",
        "48h",
        &[("mqtt.session.expiry_interval", "48h")],
    ),
];

/// Names that only the manual or early plugins had.
const OTHER: &[Old] = &[
    ("auth.mongo.user", "u", &[("auth.mongo.login", "u")]),
    (
        "mqtt.mqueue.qos0",
        "false",
        &[("mqtt.mqueue.store_qos0", "false")],
    ),
    (
        "module.retainer.expired_after",
        "0",
        &[("retainer.expiry_interval", "0")],
    ),
    ("module.subscription.backend", "on", &[]),
];

/// Enough of a TLS listener for its options to be read.
const TLS: &str = "listener.ssl.a = 1\nlistener.ssl.a.keyfile = k\nlistener.ssl.a.certfile = c\n";

#[test]
fn each_old_key_is_mapped_with_one_warning_that_names_the_new_one() {
    assert_eq!(OLD.len(), 67);
    for (old, value, new) in OLD.iter().chain(OTHER) {
        let mut text = format!("{old} = {value}\n");
        // A TLS listener wants more keys than the one under test.
        if *old == "mqtt.listener.ssl" || *old == "mqtt.listener.https" {
            text.push_str(&format!("{old}.keyfile = k\n{old}.certfile = c\n"));
        }
        let loaded = accepted(Etc::new(&text).load());
        let warnings: Vec<_> = loaded
            .warnings
            .iter()
            .filter(|warning| {
                warning.key.as_deref() == Some(*old) && warning.message.starts_with("of ")
            })
            .collect();
        assert_eq!(warnings.len(), 1, "{old}: {:?}", loaded.warnings);
        assert_eq!(warnings[0].line, Some(1));
        for (key, value) in *new {
            assert_eq!(loaded.config.get(key), Some(*value), "{old}");
            let successor = key.rsplit_once('.').unwrap().1;
            assert!(
                key == old || warnings[0].message.contains(successor),
                "{old}: {}",
                warnings[0]
            );
        }
        let given: usize = loaded
            .config
            .report()
            .iter()
            .filter(|key| key.origin != emqttd_config::Origin::Default)
            .count();
        let extra = text.lines().count() - 1;
        assert_eq!(given, new.len() + extra, "{old} sets something else too");
    }
}

#[test]
fn the_present_name_counts_more_than_the_old_one() {
    for text in [
        "mqtt.queue.qos0 = false\nmqtt.mqueue.store_qos0 = true\n",
        "mqtt.mqueue.store_qos0 = true\nmqtt.queue.qos0 = false\n",
    ] {
        let loaded = support::loaded(text);
        assert!(loaded.settings.session.queue_store_qos0);
        warning(&loaded, "mqtt.queue.qos0: is ignored, because");
    }
}

#[test]
fn an_old_key_with_a_bad_value_is_refused_at_its_line() {
    let errors = support::refused("\nmqtt.queue.qos0 = maybe\n");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, Some(2));
    assert_eq!(errors[0].key.as_deref(), Some("mqtt.mqueue.store_qos0"));
}

#[test]
fn statistics_that_were_off_stay_off() {
    assert!(
        !support::loaded("mqtt.session.collect_interval = 0")
            .settings
            .session
            .enable_stats
    );
}

#[test]
fn a_key_of_today_is_no_client_id_of_the_oldest_form() {
    let loaded = support::loaded("auth.client.hash_cost = light\nauth.client.hash-cost = pw\n");
    let config = &loaded.config;
    assert_eq!(config.get("auth.client.hash_cost"), Some("light"));
    assert_eq!(config.get("auth.client.hash_cost.clientid"), None);
    assert_eq!(
        config.get("auth.client.hash-cost.clientid"),
        Some("hash-cost")
    );
}

#[test]
fn unknown_sub_keys_of_old_listeners_are_unknown() {
    assert_eq!(
        support::refused("mqtt.listener.tcp.nope = 1")[0].message,
        "unknown key"
    );
    assert_eq!(
        support::refused("mqtt.listener.udp = 1")[0].message,
        "unknown key"
    );
    support::loaded(TLS);
}
