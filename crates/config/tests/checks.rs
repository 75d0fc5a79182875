//! What is refused, what is warned of, and that all of it is said at once.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;

use emqttd_config::{AccessNet, AllowAnonymous, PersistenceSync, Reload, Severity, load_text};
use std::path::Path;
use std::time::Duration;
use support::{Etc, accepted, errors, loaded, loaded_with, no_warning, refused, warning};

const TLS: &str =
    "listener.ssl.a = 8883\nlistener.ssl.a.keyfile = k.pem\nlistener.ssl.a.certfile = c.pem\n";

#[test]
fn all_problems_of_a_run_are_shown() {
    let etc = Etc::new("mqtt.nope = 1\nno line\nmqtt.cache_acl = on\nlog.dir = $(log.dir)\nmqtt.broker.sys_interval = 60\n")
        .with("plugins/emq_retainer.conf", "retainer.storage_typ = ram\n")
        .loading("emq_retainer.");
    let problems = etc.load().unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let has = |part: &str| {
        assert!(
            said.iter().any(|line| line.contains(part)),
            "{part}: {said:#?}"
        )
    };
    has("emq.conf:1:1: mqtt.nope: unknown key");
    has("emq.conf:2:1: a line is `key = value`");
    has("emq.conf:3:18: mqtt.cache_acl: bad value: `true` or `false` is expected, not `on`");
    has("emq.conf:4:11: log.dir: the references go in a circle: log.dir -> log.dir");
    has(
        "emq_retainer.conf:1:1: retainer.storage_typ: unknown key; the nearest known key is retainer.storage_type",
    );
    has("emq.conf:5:28: mqtt.broker.sys_interval: `60` has no unit");
    assert_eq!(
        problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count(),
        5
    );
}

#[test]
fn an_unknown_key_names_at_most_three_others() {
    let errors = refused("mqtt.session.max_awaiting_rell = 3");
    assert_eq!(errors[0].nearest[0], "mqtt.session.max_awaiting_rel");
    assert!(errors[0].nearest.len() <= 3);
}

#[test]
fn references_reach_given_keys_and_defaults() {
    let loaded = loaded(
        "log.dir = /var/log\nlog.error.file = $(log.dir)/e.log\nlog.info.file = $(node.data_dir)/i.log\n",
    );
    assert_eq!(
        loaded.settings.log.error.unwrap().path,
        std::path::Path::new("/var/log/e.log")
    );
    assert_eq!(
        loaded.settings.log.info.unwrap().path,
        std::path::Path::new("data/i.log")
    );
}

#[test]
fn references_see_what_the_environment_says() {
    let loaded = loaded_with(
        "log.dir = a\nlog.error.file = $(log.dir)/e\n",
        &[("EMQ_LOG__DIR", "b")],
    );
    assert_eq!(loaded.config.get("log.error.file"), Some("b/e"));
}

#[test]
fn anonymous_access_is_refused_unless_a_file_says_otherwise() {
    let mode = |text: &str| loaded(text).settings.mqtt.allow_anonymous;
    assert_eq!(mode(""), AllowAnonymous::False);
    assert_eq!(mode("mqtt.allow_anonymous = false"), AllowAnonymous::False);
    assert_eq!(mode("mqtt.allow_anonymous = local"), AllowAnonymous::Local);
    let open = loaded("mqtt.allow_anonymous = true");
    assert_eq!(open.settings.mqtt.allow_anonymous, AllowAnonymous::True);
    assert_eq!(warning(&open, "let in from everywhere").line, Some(1));
    assert!(!refused("mqtt.allow_anonymous = yes").is_empty());
}

#[test]
fn a_tls_listener_needs_key_and_certificate() {
    assert!(loaded(TLS).settings.listeners[0].tls.is_some());
    for kind in ["ssl", "wss"] {
        let errors = refused(&format!("listener.{kind}.a = 8883\n"));
        let said = support::lines(&errors);
        assert_eq!(errors.len(), 2, "{said}");
        assert!(said.contains(&format!("listener.{kind}.a.keyfile is missing")));
        assert!(said.contains(&format!("listener.{kind}.a.certfile is missing")));
        assert_eq!(errors[0].line, Some(1));
    }
    let errors = refused(&format!("{TLS}listener.ssl.a.verify = verify_peer\n"));
    assert!(
        errors[0]
            .message
            .contains("listener.ssl.a.cacertfile is missing")
    );
    assert_eq!(errors[0].line, Some(4));
}

#[test]
fn the_api_has_tls_once_it_has_a_key_of_it() {
    let api = "listener.api.m = 8080\n";
    assert!(loaded(api).settings.listeners[0].tls.is_none());
    let with_tls = loaded(&format!(
        "{api}listener.api.m.keyfile = k\nlistener.api.m.certfile = c\n"
    ));
    assert!(with_tls.settings.listeners[0].tls.is_some());
    assert!(!refused(&format!("{api}listener.api.m.keyfile = k\n")).is_empty());
}

#[test]
fn one_text_is_loaded_alone() {
    let loaded =
        load_text(b"mqtt.max_clientid_len = 7\nmqtt.plugins.loaded_file = /nowhere/x\n").unwrap();
    assert_eq!(loaded.settings.mqtt.max_clientid_len, 7);
    assert!(loaded.config.loaded_plugins().is_empty());
    assert!(load_text(b"nonsense").is_err());
}

#[test]
fn tls_options_without_verification_are_warned_of() {
    let loaded = loaded(&format!(
        "{TLS}listener.ssl.a.fail_if_no_peer_cert = true\nlistener.ssl.a.peer_cert_as_username = cn\nlistener.ssl.a.crlfile = x\n"
    ));
    assert_eq!(
        loaded.warnings.len(),
        3,
        "{}",
        support::lines(&loaded.warnings)
    );
}

#[test]
fn access_rules_are_asked_in_ascending_order_of_their_number() {
    let loaded = loaded(
        "listener.tcp.a = 1\nlistener.tcp.a.access.10 = allow all\nlistener.tcp.a.access.2 = deny 10.0.0.0/8\n\
         listener.tcp.a.access.1 = deny 192.168.0.1\nlistener.tcp.ab = 2\nlistener.tcp.ab.access.1 = allow all\n",
    );
    let rules = &loaded.settings.listeners[0].access;
    let nets: Vec<_> = rules.iter().map(|rule| rule.net).collect();
    assert_eq!(
        nets,
        [
            AccessNet::Net("192.168.0.1".parse().unwrap(), 32),
            AccessNet::Net("10.0.0.0".parse().unwrap(), 8),
            AccessNet::All,
        ]
    );
    assert_eq!(loaded.settings.listeners[1].access.len(), 1);
    assert_eq!(
        warning(&loaded, "backwards").key.as_deref(),
        Some("listener.tcp.a.access.1")
    );
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let errors = refused("listener.tcp.a = 1883\nlistener.ws.b = 0.0.0.0:1883\n");
    assert!(
        errors[0]
            .message
            .contains("address of listener.tcp.a already")
    );
    let errors = refused("listener.tcp.a = 8080\nlistener.api.b = 8080\n");
    assert!(errors[0].message.contains("8080 is the address of"));
    // Port 0 is a different one each time.
    loaded("listener.tcp.a = 0\nlistener.tcp.b = 0\n");
}

#[test]
fn options_of_a_listener_without_address_are_warned_of_once() {
    let loaded = loaded("listener.tcp.a.backlog = 10\nlistener.tcp.a.acceptors = 10\n");
    assert_eq!(loaded.settings.listeners, []);
    assert_eq!(loaded.warnings.len(), 1);
    warning(&loaded, "there is no `listener.tcp.a = ` line");
}

#[test]
fn listeners_stand_in_the_order_of_the_file() {
    let loaded = loaded("listener.ws.z = 3\nlistener.tcp.b = 2\nlistener.tcp.a = 1\n");
    let names: Vec<&str> = loaded
        .settings
        .listeners
        .iter()
        .map(|l| l.name.as_str())
        .collect();
    assert_eq!(names, ["z", "b", "a"]);
}

#[test]
fn a_rate_without_burst_is_refused() {
    assert!(
        refused("listener.tcp.a = 1\nlistener.tcp.a.rate_limit = 10,100\n")[0]
            .message
            .contains("burst > rate")
    );
}

#[test]
fn the_alarm_is_cleared_below_the_level_that_raises_it() {
    let errors = refused("mqtt.mqueue.low_watermark = 70%\n");
    assert!(
        errors[0]
            .message
            .contains("above mqtt.mqueue.high_watermark = 60%")
    );
}

#[test]
fn a_mountpoint_is_no_filter() {
    assert!(!refused("listener.tcp.a = 1\nlistener.tcp.a.mountpoint = a/+/\n").is_empty());
    let loaded = loaded("listener.tcp.a = 1\nlistener.tcp.a.mountpoint = a/b/\n");
    assert_eq!(
        loaded.settings.listeners[0].mountpoint.as_deref(),
        Some("a/b/")
    );
}

#[test]
fn a_keepalive_factor_is_said_to_have_no_effect() {
    no_warning(&loaded("mqtt.keepalive_backoff = 0.75"));
    warning(
        &loaded("mqtt.keepalive_backoff = 1.25"),
        "1.5 times its keepalive",
    );
}

#[test]
fn keys_without_effect_are_named_once() {
    let loaded =
        loaded("node.smp = auto\nsasl = off\nlistener.tcp.a = 1\nlistener.tcp.a.zone = z\n");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0]
            .message
            .ends_with("node.smp, sasl, listener.tcp.a.zone")
    );
}

#[test]
fn the_fixed_variables_and_those_of_the_container() {
    let conf = "node.name = a@b\nlistener.tcp.external = 1\nlistener.ssl.external = 2\nlistener.ssl.external.keyfile = k\n\
                listener.ssl.external.certfile = c\nlistener.ws.external = 3\nlistener.wss.external = 4\n\
                listener.wss.external.keyfile = k\nlistener.wss.external.certfile = c\n";
    let loaded = loaded_with(
        conf,
        &[
            ("EMQ_NODE_COOKIE", "secret"),
            ("EMQ_MAX_PORTS", "4096"),
            ("EMQ_MAX_PACKET_SIZE", "1MB"),
            ("EMQ_TCP_PORT", "11"),
            ("EMQ_SSL_PORT", "12"),
            ("EMQ_WS_PORT", "127.0.0.1:13"),
            ("EMQ_WSS_PORT", "14"),
            ("EMQ_NAME", "n"),
            ("EMQ_HOST", "h"),
            ("EMQ_WAIT_TIME", "5"),
            ("EMQ_ADMIN_PASSWORD", "hidden"),
        ],
    );
    no_warning(&loaded);
    assert_eq!(loaded.settings.node.name, "n@h");
    assert_eq!(loaded.settings.node.max_ports, 4096);
    assert_eq!(loaded.settings.mqtt.max_packet_size, 1 << 20);
    let ports: Vec<u16> = loaded
        .settings
        .listeners
        .iter()
        .map(|l| l.addr.port())
        .collect();
    assert_eq!(ports, [11, 12, 13, 14]);
    assert_eq!(loaded.config.get("node.cookie"), Some("secret"));
    assert_eq!(
        loaded.config.get("dashboard.default_user.password"),
        Some("hidden")
    );
}

#[test]
fn the_name_of_the_node_has_three_variables() {
    let name = |env: &[(&str, &str)]| loaded_with("node.name = f@f", env).settings.node.name;
    assert_eq!(name(&[("EMQ_NODE_NAME", "x@y"), ("EMQ_NAME", "n")]), "x@y");
    assert_eq!(name(&[("EMQ_NODE__NAME", "x@y")]), "x@y");
    assert_eq!(name(&[("EMQ_HOST", "h")]), "emq@h");
    assert_eq!(name(&[("EMQ_NAME", "")]), "f@f");
}

#[test]
fn old_variables_move_the_web_listeners() {
    let loaded = loaded_with(
        "listener.ws.external = 8083",
        &[("EMQ_HTTP_PORT", "9083"), ("EMQ_JOIN_CLUSTER", "x@y")],
    );
    assert_eq!(loaded.settings.listeners[0].addr.port(), 9083);
    warning(&loaded, "EMQ_HTTP_PORT: of 2.0 and 2.1");
    warning(&loaded, "EMQ_JOIN_CLUSTER: clusters come");
}

#[test]
fn the_general_form_opens_listeners_and_names_bad_values() {
    let loaded = loaded_with(
        "",
        &[
            ("EMQ_LISTENER__TCP__OTHER", "1999"),
            ("EMQ_RETAINER__MAX_MESSAGE_NUM", "3"),
        ],
    );
    assert_eq!(loaded.settings.listeners[0].name, "other");
    assert_eq!(loaded.config.get("retainer.max_message_num"), Some("3"));
    let errors = errors(Etc::new("").load_with(&[("EMQ_MQTT__CACHE_ACL", "maybe")]));
    assert!(
        errors[0]
            .to_string()
            .starts_with("environment variable EMQ_MQTT__CACHE_ACL: mqtt.cache_acl: bad value")
    );
}

#[test]
fn the_directories_of_placeholders_come_from_the_environment() {
    let loaded = loaded_with(
        "mqtt.acl_file = {{ platform_etc_dir }}/acl.conf",
        &[("PLATFORM_ETC_DIR", "/e")],
    );
    assert_eq!(loaded.config.get("mqtt.acl_file"), Some("/e/acl.conf"));
}

#[test]
fn a_huge_file_is_refused() {
    let etc = Etc::new(vec![b'#'; (4 << 20) + 1]);
    assert!(errors(etc.load())[0].message.contains("larger than 4 MB"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), loaded_plugins in any::<String>()) {
        let etc = Etc::new(&bytes).with("plugins/emq_retainer.conf", &bytes);
        match etc.load_with(&[("EMQ_LOADED_PLUGINS", &loaded_plugins)]) {
            Ok(loaded) => prop_assert!(loaded.warnings.iter().all(|warning| !warning.is_error())),
            Err(problems) => prop_assert!(problems.iter().any(|problem| problem.is_error())),
        }
    }

    #[test]
    fn any_value_of_any_environment_variable_is_taken_or_refused(name in "(EMQ|emq)[_-][A-Za-z_.-]{0,30}", value in any::<String>()) {
        let result = Etc::new("listener.tcp.external = 1883").load_with(&[(name.as_str(), value.as_str())]);
        if let Err(problems) = result {
            prop_assert!(problems.iter().any(|problem| problem.is_error()));
        }
    }

    #[test]
    fn a_file_written_from_a_report_means_the_same(
        inflight in 0_u32..65_536, retry in 1_u32..100_000, size in 16_u64..(1 << 28), port in 1_u16..65_535,
    ) {
        let text = format!(
            "mqtt.session.max_inflight = {inflight}\nmqtt.session.retry_interval = {retry}ms\n\
             mqtt.max_packet_size = {size}\nlistener.tcp.x = 127.0.0.1:{port}\n"
        );
        let first = loaded(&text);
        let again: String = first.config.report().iter()
            .filter(|key| key.key != "node.cookie" && !key.key.ends_with("password") && !key.key.ends_with("passcode"))
            .filter(|key| !key.key.starts_with("cluster") && key.app == "emqttd")
            .filter_map(|key| Some(format!("{} = {}\n", key.key, key.value.as_ref()?)))
            .collect();
        prop_assert_eq!(accepted(Etc::new(again).load()).settings, first.settings);
    }
}

#[test]
fn persistence_is_always_unless_a_file_says_otherwise() {
    let store = |text: &str| loaded(text).settings.persistence;
    let given = store("");
    assert_eq!(given.sync, PersistenceSync::Always);
    assert_eq!(given.dir, Path::new("data/store"));
    assert_eq!((given.max_bytes, given.segment_bytes), (0, 32 << 20));
    let sync = |text: &str| store(&format!("persistence.sync = {text}")).sync;
    assert_eq!(sync("always"), PersistenceSync::Always);
    assert_eq!(sync("off"), PersistenceSync::Off);
    let every = |millis| PersistenceSync::Every(Duration::from_millis(millis));
    assert_eq!(sync("200ms"), every(200));
    assert_eq!(sync("1s"), every(1000));
    assert_eq!(sync("1m30s"), every(90_000));
    let bare = loaded("persistence.sync = 2");
    assert_eq!(bare.settings.persistence.sync, every(2000));
    warning(&bare, "write `2s`");
    for wrong in ["on", "never", "0", "0s", "-1s", "Always"] {
        let errors = refused(&format!("persistence.sync = {wrong}"));
        assert!(
            errors[0].message.contains("`always`, `off` or a duration"),
            "{wrong}: {}",
            support::lines(&errors)
        );
    }
}

#[test]
fn the_store_lies_in_the_data_directory_or_where_an_absolute_path_leads() {
    let dir = |text: &str| loaded(text).settings.persistence.dir;
    assert_eq!(dir("node.data_dir = /var/emq"), Path::new("/var/emq/store"));
    assert_eq!(
        dir("persistence.dir = log/mqtt"),
        Path::new("data/log/mqtt")
    );
    assert_eq!(dir("persistence.dir = /ssd/mqtt"), Path::new("/ssd/mqtt"));
    for wrong in [".", "./"] {
        let errors = refused(&format!("persistence.dir = {wrong}"));
        assert!(errors[0].message.contains("a directory of its own"));
    }
}

#[test]
fn the_size_of_the_store_has_bounds() {
    let size = |text: &str| {
        let given = loaded(text).settings.persistence;
        (given.max_bytes, given.segment_bytes)
    };
    assert_eq!(
        size("persistence.max_bytes = 10GB\npersistence.segment_bytes = 1GB"),
        (10 << 30, 1 << 30)
    );
    assert_eq!(
        size("persistence.max_bytes = 4MB\npersistence.segment_bytes = 1MB"),
        (4 << 20, 1 << 20)
    );
    for wrong in ["0", "1023KB", "1025MB"] {
        refused(&format!("persistence.segment_bytes = {wrong}"));
    }
    let errors = refused("persistence.max_bytes = 127MB");
    assert_eq!(errors[0].key.as_deref(), Some("persistence.max_bytes"));
    assert!(errors[0].message.contains("134217728 bytes"));
}

#[test]
fn persistence_is_read_at_start_only() {
    let mut loaded = loaded("");
    for key in ["sync", "dir", "max_bytes", "segment_bytes"] {
        let key = format!("persistence.{key}");
        assert!(loaded.config.set("emqttd", &key, "1GB").is_err(), "{key}");
        let report = loaded.config.report();
        let row = report.iter().find(|row| row.key == key).unwrap();
        assert_eq!(row.reload, Reload::NotSettable, "{key}");
    }
}
