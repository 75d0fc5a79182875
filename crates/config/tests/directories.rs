//! Whole `etc` directories: the one we ship, and those that installations of EMQ 2.x have.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use emqttd_config::{
    AllowAnonymous, CertField, Listener, ListenerKind, Loaded, LogConsole, LogLevel, Origin,
    QueueType, find_plugin,
};
use support::{accepted, lines, load_dir, warning};

fn fixture(name: &str) -> Loaded {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    accepted(load_dir(&dir, &[]))
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc")
}

fn listener<'a>(loaded: &'a Loaded, kind: ListenerKind, name: &str) -> &'a Listener {
    loaded
        .settings
        .listeners
        .iter()
        .find(|listener| listener.kind == kind && listener.name == name)
        .unwrap()
}

#[test]
fn the_shipped_directory_warns_only_of_keys_without_effect() {
    let loaded = accepted(load_dir(&shipped(), &[]));
    assert_eq!(loaded.warnings.len(), 1, "{}", lines(&loaded.warnings));
    let warning = warning(&loaded, "have no effect");
    for key in [
        "node.smp",
        "node.process_limit",
        "sysmon.long_gc",
        "mqtt.pubsub.async",
    ] {
        assert!(warning.message.contains(key), "{key}");
    }
}

#[test]
fn the_shipped_directory_is_safe_and_complete() {
    let loaded = accepted(load_dir(&shipped(), &[]));
    let settings = &loaded.settings;
    assert_eq!(settings.mqtt.allow_anonymous, AllowAnonymous::Local);
    assert!(settings.mqtt.acl_nomatch_allow);
    assert_eq!(
        settings.mqtt.acl_file.as_deref(),
        Some(Path::new("etc/acl.conf"))
    );
    assert_eq!(settings.node.name, "emq@127.0.0.1");
    assert_eq!(settings.node.data_dir, Path::new("data"));
    let config = &loaded.config;
    assert_eq!(config.get("retainer.storage_type"), Some("disc"));
    assert_eq!(config.get("retainer.max_message_num"), Some("1000000"));
    assert_eq!(config.get("retainer.max_payload_size"), Some("64KB"));
    assert_eq!(settings.session.max_inflight, 32);
    assert_eq!(settings.session.queue_max_bytes, 64 << 20);
    assert_eq!(settings.log.console, LogConsole::Console);
    assert_eq!(settings.log.console_level, LogLevel::Error);
    assert_eq!(settings.log.info, None);
    assert_eq!(settings.log.syslog.as_ref().unwrap().facility, 16);
    assert_eq!(
        settings.plugins_loaded_file.as_deref(),
        Some(Path::new("data/loaded_plugins"))
    );
    let kinds: Vec<_> = settings
        .listeners
        .iter()
        .map(|l| (l.kind, l.name.as_str(), l.listen_on.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (ListenerKind::Tcp, "external", "0.0.0.0:1883"),
            (ListenerKind::Tcp, "internal", "127.0.0.1:11883"),
            (ListenerKind::Ssl, "external", "8883"),
            (ListenerKind::Ws, "external", "8083"),
            (ListenerKind::Wss, "external", "8084"),
            (ListenerKind::Api, "mgmt", "127.0.0.1:8080"),
        ]
    );
    let wss = listener(&loaded, ListenerKind::Wss, "external")
        .tls
        .as_ref()
        .unwrap();
    assert_eq!(wss.keyfile.as_deref(), Some(Path::new("etc/certs/key.pem")));
    assert!(wss.tls12 && wss.tls13 && wss.reuse_sessions && !wss.verify_peer);
}

#[test]
fn every_shipped_plugin_file_belongs_to_a_plugin() {
    let mut count = 0;
    for entry in std::fs::read_dir(shipped().join("plugins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            find_plugin(name.split('.').next().unwrap()).is_some(),
            "{name}"
        );
        count += 1;
    }
    assert_eq!(count, 21);
}

#[test]
fn a_new_key_can_be_uncommented_as_it_stands() {
    let text = std::fs::read_to_string(shipped().join("emq.conf")).unwrap();
    for key in [
        "node.shards",
        "node.data_dir",
        "mqtt.acl_deny_action",
        "mqtt.acl_cache_max_size",
        "mqtt.acl_cache_ttl",
        "mqtt.max_connect_size",
        "mqtt.max_topic_levels",
        "mqtt.max_topic_alias",
        "mqtt.max_keepalive",
        "mqtt.client.max_send_buffer",
        "mqtt.session.max_expiry_interval",
        "mqtt.mqueue.max_bytes",
        "listener.tcp.external.max_conn_rate",
    ] {
        let commented = format!("\n## {key} = ");
        assert!(text.contains(&commented), "{key}");
        let loaded = support::loaded(&text.replace(&commented, &format!("\n{key} = ")));
        assert!(matches!(
            loaded
                .config
                .report()
                .iter()
                .find(|r| r.key == key)
                .unwrap()
                .origin,
            Origin::File { .. }
        ));
    }
}

#[test]
fn a_stock_2_3_11_directory_loads() {
    let loaded = fixture("emq-2.3.11");
    warning(&loaded, "have no effect");
    warning(&loaded, "let in from everywhere");
    // The original set this one twice and never the internal one's.
    let twice = warning(&loaded, "is set a second time");
    assert_eq!(
        twice.key.as_deref(),
        Some("listener.tcp.external.send_timeout_close")
    );
    assert_eq!(loaded.warnings.len(), 3, "{}", lines(&loaded.warnings));

    let settings = &loaded.settings;
    assert_eq!(settings.mqtt.allow_anonymous, AllowAnonymous::True);
    assert_eq!(settings.listeners.len(), 6);
    assert_eq!(settings.session.await_rel_timeout, Duration::from_secs(30));
    assert_eq!(settings.session.max_awaiting_rel, 1000);
    let external = listener(&loaded, ListenerKind::Tcp, "external");
    assert_eq!(
        (external.acceptors, external.max_clients, external.backlog),
        (16, 102_400, 1024)
    );
    assert_eq!(external.access.len(), 1);
    let internal = listener(&loaded, ListenerKind::Tcp, "internal");
    assert!(!internal.nodelay && internal.send_timeout_close && internal.access.is_empty());
    assert_eq!(internal.send_timeout, Duration::from_secs(5));
    assert!(listener(&loaded, ListenerKind::Api, "mgmt").tls.is_none());
    assert_eq!(loaded.config.of_app("emq_auth_redis").len(), 7);
    assert_eq!(loaded.config.get("auth.jwt.secret"), Some("emqsecret"));
}

#[test]
fn a_2_2_directory_loads() {
    let loaded = fixture("emq-2.2");
    warning(
        &loaded,
        "cluster.id: of an earlier release is called cluster.name now",
    );
    warning(
        &loaded,
        "cluster.multicast: of an earlier release is ignored",
    );
    warning(
        &loaded,
        "mqtt.pubsub.by_clientid: of an earlier release is ignored",
    );
    warning(&loaded, "`60` has no unit");
    warning(&loaded, "auth.ldap.user_dn: of 2.0 to 2.2 is still obeyed");
    assert_eq!(loaded.config.get("cluster.name"), Some("emq"));
    assert_eq!(loaded.settings.mqtt.sys_interval, Duration::from_secs(60));
    assert_eq!(
        loaded.config.get("auth.mysql.password"),
        Some("pa#ss%word{1}")
    );
    assert_eq!(
        loaded.config.get("auth.mysql.password_hash"),
        Some("salt sha256")
    );
    // No wss line: no wss listener.
    assert_eq!(loaded.settings.listeners.len(), 5);
}

#[test]
fn a_2_1_directory_loads() {
    let loaded = fixture("emq-2.1");
    let settings = &loaded.settings;
    assert!(settings.mqtt.client_stats && settings.session.enable_stats);
    assert_eq!(settings.session.queue_max_length, 0);
    assert_eq!(settings.listeners.len(), 3);
    let tcp = listener(&loaded, ListenerKind::Tcp, "external");
    assert_eq!(
        (tcp.acceptors, tcp.max_clients, tcp.backlog),
        (8, 1024, 1024)
    );
    let tls = listener(&loaded, ListenerKind::Ssl, "external")
        .tls
        .as_ref()
        .unwrap();
    assert_eq!(tls.handshake_timeout, Duration::from_secs(15));
    assert!(tls.tls12 && !tls.tls13);
    assert_eq!(
        listener(&loaded, ListenerKind::Ws, "external").addr.port(),
        8083
    );
    assert_eq!(loaded.config.get("auth.redis.acl_nomatch"), Some("deny"));
    assert_eq!(loaded.config.get("recon.gc_interval"), Some("600s"));
    assert_eq!(loaded.config.get("coap.port"), Some("5683"));
}

#[test]
fn a_2_0_directory_loads() {
    let loaded = fixture("emq-2.0");
    let settings = &loaded.settings;
    assert_eq!(settings.mqtt.idle_timeout, Duration::from_secs(30));
    assert_eq!(
        settings.session.expiry_interval,
        Duration::from_secs(86_400)
    );
    assert_eq!(settings.session.queue_type, QueueType::Priority);
    assert_eq!(
        settings.session.queue_priorities,
        [("topic/1".to_owned(), 10), ("topic/2".to_owned(), 8)]
    );
    assert!(!settings.session.queue_store_qos0 && !settings.session.enable_stats);
    assert_eq!(
        settings.log.error.as_ref().unwrap().path,
        Path::new("log/error.log")
    );
    let config = &loaded.config;
    assert_eq!(config.get("retainer.max_message_num"), Some("100000"));
    assert_eq!(config.get("retainer.expiry_interval"), Some("3600s"));
    let tcp = listener(&loaded, ListenerKind::Tcp, "external");
    assert_eq!(tcp.rate_limit, Some((102_400, 10_240)));
    assert_eq!((tcp.recbuf, tcp.sndbuf), (Some(4096), Some(4096)));
    let ssl = listener(&loaded, ListenerKind::Ssl, "external");
    let tls = ssl.tls.as_ref().unwrap();
    assert!(tls.verify_peer && tls.fail_if_no_peer_cert);
    assert_eq!(ssl.peer_cert_as_username, None::<CertField>);
    assert_eq!(
        listener(&loaded, ListenerKind::Wss, "external").addr.port(),
        8084
    );
    assert_eq!(loaded.config.get("auth.user.admin.username"), Some("admin"));
    assert_eq!(
        loaded.config.get("auth.user.admin.password"),
        Some("public")
    );
    assert_eq!(loaded.config.get("module.presence.qos"), Some("0"));
    for (old, new) in [
        ("emq_mod_presence", "emq_modules"),
        ("emq_mod_rewrite", "emq_modules"),
        ("emq_mod_retainer", "emq_retainer"),
    ] {
        let text = format!("the plugin {old} is called {new} now, and its file {new}.conf");
        warning(&loaded, &text);
    }
}

#[test]
fn no_directory_of_plugins_is_no_plugins() {
    let etc = support::Etc::new("node.name = a@b");
    std::fs::remove_dir(etc.path("plugins")).unwrap();
    assert_eq!(accepted(etc.load()).settings.node.name, "a@b");
}

#[test]
fn no_emq_conf_is_an_error() {
    let etc = support::Etc::new("");
    std::fs::remove_file(etc.path("emq.conf")).unwrap();
    let errors = support::errors(etc.load());
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("emq.conf: cannot be read"));
}
