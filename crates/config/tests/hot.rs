//! `emqttd_ctl set`, `show`, and the report of `check-config`.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use emqttd_config::{AllowAnonymous, LogLevel, Origin, Reload, SetError};
use support::{Etc, accepted, loaded, loaded_with};

/// The keys that 2.3.11 let be changed while running.
const SETTABLE: &[&str] = &[
    "mqtt.allow_anonymous",
    "mqtt.acl_nomatch",
    "mqtt.acl_file",
    "mqtt.cache_acl",
    "mqtt.max_clientid_len",
    "mqtt.max_packet_size",
    "mqtt.websocket_protocol_header",
    "mqtt.keepalive_backoff",
    "mqtt.conn.force_gc_count",
    "mqtt.client.max_publish_rate",
    "mqtt.client.idle_timeout",
    "mqtt.client.enable_stats",
    "mqtt.session.max_subscriptions",
    "mqtt.session.upgrade_qos",
    "mqtt.session.max_inflight",
    "mqtt.session.retry_interval",
    "mqtt.session.max_awaiting_rel",
    "mqtt.session.await_rel_timeout",
    "mqtt.session.enable_stats",
    "mqtt.session.expiry_interval",
    "mqtt.session.ignore_loop_deliver",
    "mqtt.mqueue.type",
    "mqtt.mqueue.priority",
    "mqtt.mqueue.max_length",
    "mqtt.mqueue.low_watermark",
    "mqtt.mqueue.high_watermark",
    "mqtt.mqueue.store_qos0",
    "mqtt.broker.sys_interval",
    "log.console.level",
];

#[test]
fn the_settable_keys_are_those_of_the_original() {
    let config = accepted(Etc::new("").loading("emq_retainer.").load()).config;
    let list = config.settable();
    let core: Vec<&str> = list
        .iter()
        .filter(|key| key.app == "emqttd")
        .map(|key| key.key)
        .collect();
    assert_eq!(core.len(), SETTABLE.len());
    for key in SETTABLE {
        assert!(core.contains(key), "{key}");
    }
    let retainer: Vec<&str> = list
        .iter()
        .filter(|key| key.app == "emq_retainer")
        .map(|key| key.key)
        .collect();
    assert_eq!(
        retainer,
        [
            "retainer.max_message_num",
            "retainer.max_payload_size",
            "retainer.expiry_interval"
        ]
    );
    assert_eq!(list.len(), core.len() + retainer.len());
}

#[test]
fn keys_of_loaded_plugins_are_settable_too() {
    let mut config = accepted(Etc::new("").loading("emq_recon.").load()).config;
    let shown = |config: &emqttd_config::Config| config.show("emq_recon", "recon.gc_interval");
    assert!(
        config
            .settable()
            .iter()
            .any(|key| key.key == "recon.gc_interval" && key.value == "300000")
    );
    assert_eq!(shown(&config).unwrap(), "300000");
    config.plugin_unloaded("emq_recon");
    assert!(config.settable().iter().all(|key| key.app == "emqttd"));
    assert_eq!(
        shown(&config).unwrap_err().to_string(),
        "Invalid config --app: emq_recon"
    );
}

#[test]
fn values_are_listed_as_the_original_lists_them() {
    let config = loaded_with(
        "mqtt.allow_anonymous = local\nmqtt.session.expiry_interval = 8s\nmqtt.keepalive_backoff = 0.75\n\
         mqtt.mqueue.max_length = 50\nretainer.max_payload_size = 1KB\n",
        &[("EMQ_LOADED_PLUGINS", "emq_retainer")],
    )
    .config;
    for (key, value, datatype) in [
        ("mqtt.allow_anonymous", "local", "enum"),
        ("mqtt.session.expiry_interval", "8000", "duration"),
        ("mqtt.keepalive_backoff", "0.7500", "float"),
        ("mqtt.mqueue.max_length", "50", "integer"),
        ("retainer.max_payload_size", "1024", "bytesize"),
        ("mqtt.client.idle_timeout", "30000", "duration"),
        ("log.console.level", "info", "enum"),
        ("mqtt.acl_file", "undefined", "file"),
    ] {
        let row = config
            .settable()
            .into_iter()
            .find(|row| row.key == key)
            .unwrap();
        assert_eq!(
            (row.value.as_str(), row.datatype),
            (value, datatype),
            "{key}"
        );
        assert_eq!(config.show(row.app, key).unwrap(), value);
    }
}

#[test]
fn a_secret_is_not_shown() {
    const PASSWORD_OWNER: &str = "emq_auth_mysql";
    const PASSWORD: &str = "auth.mysql.password";
    let mut config = accepted(Etc::new("").loading("emq_auth_mysql.").load()).config;
    let shown = |config: &emqttd_config::Config| {
        let rows = config.settable();
        let row = rows.into_iter().find(|row| row.key == PASSWORD).unwrap();
        let shown = config.show(PASSWORD_OWNER, PASSWORD).unwrap();
        assert_eq!(row.value, shown);
        (row.secret, shown)
    };
    assert_eq!(shown(&config), (false, String::new()));
    config.set(PASSWORD_OWNER, PASSWORD, "geheim").unwrap();
    assert_eq!(shown(&config), (true, "***".to_owned()));
    assert_eq!(config.get(PASSWORD), Some("geheim"));
}

#[test]
fn set_changes_the_running_value_and_only_that() {
    let mut config = loaded_with(
        "mqtt.allow_anonymous = true\n",
        &[("EMQ_LOADED_PLUGINS", "emq_retainer")],
    )
    .config;
    let before = config.clone();
    let settings = config
        .set("emqttd", "mqtt.allow_anonymous", "false")
        .unwrap();
    assert_eq!(settings.mqtt.allow_anonymous, AllowAnonymous::False);
    assert_eq!(config.get("mqtt.allow_anonymous"), Some("false"));
    let row = config
        .report()
        .into_iter()
        .find(|row| row.key == "mqtt.allow_anonymous")
        .unwrap();
    assert_eq!(row.origin, Origin::Set);
    assert_eq!(before.get("mqtt.allow_anonymous"), Some("true"));

    let settings = config
        .set("emqttd", "mqtt.session.expiry_interval", "1h")
        .unwrap();
    assert_eq!(settings.session.expiry_interval, Duration::from_secs(3600));
    assert_eq!(
        config
            .show("emqttd", "mqtt.session.expiry_interval")
            .unwrap(),
        "3600000"
    );
    let settings = config.set("emqttd", "log.console.level", "debug").unwrap();
    assert_eq!(settings.log.console_level, LogLevel::Debug);
    assert_eq!(settings.mqtt.allow_anonymous, AllowAnonymous::False);
    config
        .set("emq_retainer", "retainer.max_message_num", "9")
        .unwrap();
    assert_eq!(config.get("retainer.max_message_num"), Some("9"));
}

#[test]
fn errors_read_as_those_of_the_original() {
    let mut config = loaded("").config;
    for (app, key, value, text) in [
        (
            "emqttd",
            "mqtt.nope",
            "1",
            "The following config keys are not settable: [\"mqtt.nope\"]",
        ),
        (
            "emqttd",
            "node.name",
            "a@b",
            "The following config keys are not settable: [\"node.name\"]",
        ),
        (
            "emqttd",
            "retainer.max_message_num",
            "1",
            "The following config keys are not settable: [\"retainer.max_message_num\"]",
        ),
        (
            "emqttd",
            "mqtt.session.max_inflight",
            "abc",
            "\"mqtt.session.max_inflight\": error type is: \"abc\"",
        ),
        (
            "emqttd",
            "mqtt.mqueue.low_watermark",
            "70%",
            "\"mqtt.mqueue.low_watermark\": error type is: \"70%\"",
        ),
        (
            "nope",
            "mqtt.cache_acl",
            "true",
            "Invalid config --app: nope",
        ),
        (
            "emq_stomp",
            "stomp.allow_anonymous",
            "true",
            "Invalid config --app: emq_stomp",
        ),
    ] {
        assert_eq!(config.set(app, key, value).unwrap_err().to_string(), text);
    }
    assert_eq!(
        config.show("emqttd", "mqtt.nope").unwrap_err(),
        SetError::InvalidKey("mqtt.nope".into())
    );
    assert_eq!(config.get("mqtt.session.max_inflight"), Some("100"));
    assert_eq!(config.get("mqtt.mqueue.low_watermark"), Some("20%"));
}

#[test]
fn each_key_is_reported_with_its_origin() {
    let etc = Etc::new("\nmqtt.max_packet_size = 1MB\nlistener.tcp.a = 1\nnode.cookie = geheim\n");
    let loaded = accepted(etc.load_with(&[("EMQ_NODE__NAME", "a@b")]));
    let report = loaded.config.report();
    let row = |key: &str| report.iter().find(|row| row.key == key).unwrap();
    let size = row("mqtt.max_packet_size");
    assert_eq!(
        size.origin,
        Origin::File {
            path: etc.path("emq.conf"),
            line: 2
        }
    );
    assert_eq!(
        (size.value.as_deref(), size.default, size.reload),
        (Some("1MB"), Some("64KB"), Reload::ListenerRestart)
    );
    assert_eq!(
        row("node.name").origin,
        Origin::Environment("EMQ_NODE__NAME".into())
    );
    assert_eq!(row("mqtt.cache_acl").origin, Origin::Default);
    assert_eq!(row("mqtt.acl_file").value, None);
    assert_eq!(row("listener.tcp.a").value.as_deref(), Some("1"));
    assert_eq!(row("node.cookie").value.as_deref(), Some("***"));
    assert!(report.iter().all(|row| !row.meaning.is_empty()));

    let text = loaded.config.render_report();
    assert!(
        text.contains(&format!(
            "mqtt.max_packet_size = 1MB    # {}:2, default 64KB; listener restart\n",
            etc.path("emq.conf").display()
        )),
        "{text}"
    );
    assert!(text.contains("mqtt.cache_acl = true    # default; at once\n"));
    assert!(text.contains("node.name = a@b    # environment variable EMQ_NODE__NAME, default emq@127.0.0.1; not settable\n"));
    assert!(!text.contains("geheim"));
}

#[test]
fn keys_of_a_plugin_keep_their_order_and_text() {
    let etc = Etc::new("").with(
        "plugins/emq_stomp.conf",
        "stomp.listener = 61613\nstomp.frame.max_headers = 5\nstomp.default_user.login = x\n",
    );
    let config = accepted(etc.load()).config;
    assert_eq!(
        config.of_app("emq_stomp"),
        [
            ("stomp.listener", "61613"),
            ("stomp.frame.max_headers", "5"),
            ("stomp.default_user.login", "x"),
        ]
    );
    assert_eq!(config.of_app("emq_sn"), []);
    assert_eq!(loaded_with("", &[]).config.of_app("emqttd"), []);
}
