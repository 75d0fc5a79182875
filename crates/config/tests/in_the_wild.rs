//! What installations of EMQ 2.x contain that the manual does not say; one test for each rule.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{Etc, accepted, errors, loaded, loaded_with, no_warning, refused, warning};

#[test]
fn rule_1_a_number_without_unit_is_seconds() {
    let loaded = loaded("mqtt.broker.sys_interval = 60\n");
    assert_eq!(loaded.settings.mqtt.sys_interval, Duration::from_secs(60));
    let note = warning(&loaded, "taken as seconds");
    assert_eq!(
        (note.line, note.key.as_deref()),
        (Some(1), Some("mqtt.broker.sys_interval"))
    );
}

#[test]
fn rule_2_trees_that_the_original_refused_start() {
    let etc = Etc::new("cluster.discovery = k8s\nmqtt.allow_anonymous = false\n")
        .with(
            "plugins/emq_auth_http.conf",
            "auth.http.auth_req = http://h/auth\n# auth.http.auth_req.params = x=%u\n",
        )
        .with(
            "plugins/emq_auth_mongo.conf",
            "auth.mongo.server = 127.0.0.1:27017\n",
        )
        .with(
            "plugins/emq_auth_pgsql.conf",
            "auth.pgsql.server = 127.0.0.1\n## auth.pgsql.database = mqtt\n",
        );
    let loaded = accepted(etc.load());
    warning(&loaded, "clusters come with a later version");
    assert_eq!(
        loaded.config.get("auth.http.auth_req"),
        Some("http://h/auth")
    );
}

#[test]
fn rule_3_files_of_unknown_plugins_are_one_warning_each() {
    let etc = Etc::new("")
        .with(
            "plugins/emq_kafka_bridge.conf",
            "kafka.x = \u{0}\nthis is no configuration\nnode.name = \n",
        )
        .with("plugins/emqttd_plugin_kafka.config", "} not erlang {");
    let loaded = accepted(etc.load());
    assert_eq!(loaded.warnings.len(), 2);
    warning(
        &loaded,
        "emq_kafka_bridge.conf: belongs to a plugin that this broker does not have",
    );
    warning(&loaded, "emqttd_plugin_kafka.config: belongs to a plugin");
}

#[test]
fn rule_3_a_missing_plugin_stops_the_start_if_it_is_to_be_loaded() {
    let etc = Etc::new("")
        .with("plugins/emq_kafka_bridge.conf", "x")
        .loading("emq_retainer.\nemq_kafka_bridge.\n");
    let errors = errors(etc.load());
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, Some(2));
    assert!(
        errors[0]
            .message
            .contains("emq_kafka_bridge is to be loaded")
    );
    assert!(errors[0].message.contains("to go on without it"));
    // A name without even a file was passed over by the original too.
    let loaded = accepted(Etc::new("").loading("emq_kafka_bridge.\n").load());
    warning(&loaded, "there is no plugin emq_kafka_bridge");
}

#[test]
fn rule_5_a_stray_semicolon_is_left_out() {
    let etc = Etc::new("").with(
        "plugins/emq_auth_redis.conf",
        "auth.redis.password_hash = plain;",
    );
    let loaded = accepted(etc.load());
    assert_eq!(loaded.config.get("auth.redis.password_hash"), Some("plain"));
    warning(&loaded, "the `;` at the end");
}

#[test]
fn rule_5_buffers_of_4096mb_are_cut() {
    let loaded =
        loaded("listener.tcp.a = 1\nlistener.tcp.a.recbuf = 4096MB\nlistener.tcp.a.sndbuf = 4KB\n");
    assert_eq!(loaded.settings.listeners[0].recbuf, Some(64 << 20));
    assert_eq!(loaded.settings.listeners[0].sndbuf, Some(4096));
    assert_eq!(warning(&loaded, "more than can be used").line, Some(2));
}

#[test]
fn rule_6_host_parts_are_not_resolved() {
    let loaded = loaded("node.name = 9ce667cd8da6@172.18.0.7");
    assert_eq!(loaded.settings.node.name, "9ce667cd8da6@172.18.0.7");
    no_warning(&loaded);
}

#[test]
fn rule_7_quotes_and_escapes_of_the_environment() {
    let loaded = loaded_with(
        "",
        &[
            ("EMQ_LOADED_PLUGINS", "\"emq_recon, emq_retainer\""),
            ("EMQ_AUTH__HTTP__AUTH_REQ", "http:\\/\\/h:1\\/auth"),
            (
                "EMQ_AUTH__MYSQL__AUTH_QUERY",
                "\"select password from u where name = '%u' limit 1\"",
            ),
        ],
    );
    assert_eq!(
        loaded.config.loaded_plugins(),
        ["emq_recon", "emq_retainer"]
    );
    assert!(loaded.config.plugins_from_environment());
    assert_eq!(
        loaded.config.get("auth.http.auth_req"),
        Some("http://h:1/auth")
    );
    assert_eq!(
        loaded.config.get("auth.mysql.auth_query"),
        Some("select password from u where name = '%u' limit 1")
    );
    no_warning(&loaded);
}

#[test]
fn rule_7_names_in_any_letters_and_with_hyphens() {
    let loaded = loaded_with(
        "listener.tcp.My-Name = 1\n",
        &[
            ("emq_mqtt__max_packet_size", "128KB"),
            ("EMQ_MQTT__SESSION__MAX-INFLIGHT", "7"),
            ("EMQ_LISTENER__TCP__MY-NAME", "1999"),
        ],
    );
    assert_eq!(loaded.settings.mqtt.max_packet_size, 131_072);
    assert_eq!(loaded.settings.session.max_inflight, 7);
    assert_eq!(loaded.settings.listeners.len(), 1);
    assert_eq!(loaded.settings.listeners[0].addr.port(), 1999);
    no_warning(&loaded);
}

#[test]
fn rule_7_names_that_map_to_nothing_are_warned_of_and_never_refused() {
    let loaded = loaded_with(
        "",
        &[
            ("EMQ_MQTT__ALOW_ANONYMOUS", "true"),
            ("EMQX_NAME", "x"),
            ("EMQX_HOST", "y"),
            ("EMQ_MQTT__QUEUE__QOS0", "false"),
            ("EMQ_MQTT__PUBSUB__BY_CLIENTID", "true"),
            ("HOME", "/"),
        ],
    );
    assert_eq!(
        loaded.warnings.len(),
        4,
        "{}",
        support::lines(&loaded.warnings)
    );
    let unknown = warning(&loaded, "EMQ_MQTT__ALOW_ANONYMOUS: stands for no key");
    assert_eq!(unknown.nearest[0], "mqtt.allow_anonymous");
    warning(&loaded, "EMQX_HOST, EMQX_NAME");
    warning(
        &loaded,
        "mqtt.queue.qos0 of an earlier release is called mqtt.mqueue.store_qos0",
    );
    warning(
        &loaded,
        "mqtt.pubsub.by_clientid of an earlier release is ignored",
    );
    assert!(!loaded.settings.session.queue_store_qos0);
}

#[test]
fn rule_8_copies_beside_the_files_are_not_read() {
    let etc = Etc::new("")
        .with("plugins/emq_retainer.conf", "retainer.max_message_num = 5")
        .with("plugins/emq_retainer.conf.good", "nonsense")
        .with("plugins/emq_retainer.conf~", "nonsense")
        .with("plugins/emq_retainer.CONF", "nonsense")
        .with("plugins/README", "nonsense");
    let loaded = accepted(etc.load());
    no_warning(&loaded);
    assert_eq!(loaded.config.get("retainer.max_message_num"), Some("5"));
}

#[cfg(unix)]
#[test]
fn rule_8_links_are_followed() {
    let etc = Etc::new("").with("elsewhere", "retainer.max_message_num = 6");
    std::os::unix::fs::symlink(etc.path("elsewhere"), etc.path("plugins/emq_retainer.conf"))
        .unwrap();
    assert_eq!(
        accepted(etc.load()).config.get("retainer.max_message_num"),
        Some("6")
    );
    let etc = Etc::new("").loading("emq_retainer.");
    std::os::unix::fs::symlink(etc.path("nowhere"), etc.path("plugins/emq_retainer.conf")).unwrap();
    assert!(errors(etc.load())[0].message.starts_with("cannot be read"));
}

#[test]
fn rule_9_what_is_deleted_is_off() {
    let loaded = loaded("");
    assert_eq!(loaded.settings.listeners, []);
    assert_eq!(loaded.settings.log.syslog, None);
    assert_eq!(loaded.settings.mqtt.acl_file, None);
    assert_eq!(loaded.settings.plugins_etc_dir, None);
    no_warning(&loaded);
}

#[test]
fn rule_9_the_environment_does_not_bring_a_deleted_listener_back() {
    let env = [("EMQ_TCP_PORT", "2883")];
    let deleted = loaded_with("listener.tcp.internal = 1\n", &env);
    assert_eq!(deleted.settings.listeners.len(), 1);
    warning(
        &deleted,
        "EMQ_TCP_PORT: is ignored: no file opens listener.tcp.external",
    );
    let moved = loaded_with("listener.tcp.external = 1883\n", &env);
    assert_eq!(moved.settings.listeners[0].listen_on, "2883");
    no_warning(&moved);
}

#[test]
fn rule_10_values_hold_anything() {
    let etc = Etc::new("").with(
        "plugins/emq_auth_mysql.conf",
        "auth.mysql.password = a#b %c {d} $%^&*() =e\n",
    );
    assert_eq!(
        accepted(etc.load()).config.get("auth.mysql.password"),
        Some("a#b %c {d} $%^&*() =e")
    );
}

#[test]
fn rule_10_a_reference_to_nothing_shows_how_to_escape_it() {
    let conf = |password: &str| {
        Etc::new("")
            .with(
                "plugins/emq_auth_username.conf",
                format!("auth.user.1.password = {password}\n"),
            )
            .loading("emq_auth_username.")
    };
    let errors = errors(conf("pa$(ss)").load());
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains(r"\$(ss)"), "{}", errors[0]);
    assert_eq!(
        accepted(conf(r"pa\$(ss)").load())
            .config
            .get("auth.user.1.password"),
        Some("pa$(ss)")
    );
}

#[test]
fn rule_11_queries_as_people_write_them() {
    for query in [
        "select open_id as password from users where name = '%u'",
        "select password from one",
        "select a, b, c from t where ip = '%a' and clientid is NULL",
    ] {
        let etc = Etc::new("").with(
            "plugins/emq_auth_mysql.conf",
            format!("auth.mysql.auth_query = {query}\n"),
        );
        assert_eq!(
            accepted(etc.load()).config.get("auth.mysql.auth_query"),
            Some(query)
        );
    }
}

#[test]
fn rule_12_spacing_placeholders_and_keys_set_twice() {
    let loaded = loaded(
        "mqtt.acl_file ={{ platform_etc_dir }}/acl.conf\nmqtt.max_clientid_len =10\nmqtt.max_clientid_len = 20\n",
    );
    assert_eq!(
        loaded.settings.mqtt.acl_file.unwrap(),
        std::path::Path::new("etc/acl.conf")
    );
    assert_eq!(loaded.settings.mqtt.max_clientid_len, 20);
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].line, Some(3));
    assert!(
        loaded.warnings[0]
            .message
            .contains("emq.conf:2 is overridden")
    );
}

#[test]
fn rule_12_names_of_2_0_in_the_list_of_plugins() {
    let etc = Etc::new("").loading(
        "%% list\nemq_mod_presence.\nemq_mod_retainer. emq_mod_rewrite.\n\n'emq_recon'.\n",
    );
    let loaded = accepted(etc.load());
    assert_eq!(
        loaded.config.loaded_plugins(),
        ["emq_modules", "emq_retainer", "emq_recon"]
    );
    assert_eq!(
        warning(&loaded, "emq_mod_presence is called emq_modules now").line,
        Some(2)
    );
    assert!(!loaded.config.plugins_from_environment());
}

#[test]
fn a_list_of_plugins_that_is_something_else_is_refused() {
    let errors = errors(Etc::new("").loading("<html>").load());
    assert!(errors[0].message.contains("is not the name of a plugin"));
}

#[test]
fn rule_13_one_address_of_http_is_not_joined_by_default_ones() {
    let etc = Etc::new("").with(
        "plugins/emq_auth_http.conf",
        "auth.http.auth_req = http://h/a\n",
    );
    let loaded = accepted(etc.load());
    assert_eq!(loaded.config.get("auth.http.super_req"), None);
    assert_eq!(loaded.config.get("auth.http.acl_req"), None);
}

#[test]
fn files_in_latin1_and_with_windows_lines_are_read() {
    let etc = Etc::new(b"log.syslog.identity = caf\xe9\r\nmqtt.max_clientid_len = 9\r\n");
    let loaded = accepted(etc.load());
    assert_eq!(loaded.config.get("log.syslog.identity"), Some("café"));
    assert_eq!(loaded.settings.mqtt.max_clientid_len, 9);
}

#[test]
fn numbers_that_only_a_larger_machine_could_use_are_cut() {
    let loaded = loaded("mqtt.session.max_inflight = 70000\nmqtt.max_packet_size = 1GB\n");
    assert_eq!(loaded.settings.session.max_inflight, 65_535);
    assert_eq!(loaded.settings.mqtt.max_packet_size, 268_435_455);
    assert_eq!(loaded.warnings.len(), 2);
    assert!(
        refused("mqtt.session.max_inflight = -1")[0]
            .message
            .contains("bad value")
    );
}
