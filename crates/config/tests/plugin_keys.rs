//! The keys of one plugin, read when it is loaded; files of plugins that are not loaded, of strangers, and with terms.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use proptest::prelude::*;

use emqttd_config::{Config, PluginKeys, PluginsOnFailure, Problem, library, load_plugin};
use emqttd_plugin_sdk::{self as sdk, Key, KeyKind};
use support::{Etc, accepted, errors, lines, no_warning, warning};

/// A release tree, for libraries beside `etc`.
struct Tree {
    etc: Etc,
}

impl Tree {
    fn new(emq_conf: &str) -> Tree {
        Tree {
            etc: Etc::in_tree(emq_conf),
        }
    }

    fn with(self, name: &str, text: &str) -> Tree {
        Tree {
            etc: self.etc.with(name, text),
        }
    }

    fn with_library(self, file: &str) -> Tree {
        let dir = self.etc.path("../plugins");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(file), "").unwrap();
        self
    }
}

fn read_with(
    etc: &Etc,
    name: &str,
    own: &[Key],
    env: &[(&str, &str)],
) -> Result<PluginKeys, Vec<Problem>> {
    let env = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
    load_plugin(&etc.path(""), name, own, env)
}

fn read(etc: &Etc, name: &str, own: &[Key]) -> PluginKeys {
    read_with(etc, name, own, &[]).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

fn said(result: Result<PluginKeys, Vec<Problem>>) -> Vec<String> {
    match result {
        Ok(keys) => panic!("accepted: {keys:?}"),
        Err(problems) => problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(Problem::to_string)
            .collect(),
    }
}

fn values(keys: &PluginKeys) -> Vec<(&str, &str)> {
    keys.entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect()
}

fn own_keys() -> Vec<Key> {
    vec![
        Key::new("my.limit", KeyKind::Integer, "how many")
            .default("-1")
            .hot(),
        Key::new("my.on", KeyKind::Switch, "whether"),
        Key::new("my.wait", KeyKind::Duration, "how long")
            .default("2h")
            .hot(),
        Key::new("my.size", KeyKind::Size, "how much")
            .default("64KB")
            .hot(),
        Key::new("my.secret", KeyKind::Secret, "not shown").hot(),
        Key::new("my.rule.$id.topic", KeyKind::Text, "where"),
        Key::new(
            "my.way",
            KeyKind::OneOf(vec!["a".into(), "b".into()]),
            "which",
        )
        .default("a"),
    ]
}

#[test]
fn keys_of_the_table_come_from_files_environment_and_defaults() {
    let etc = Etc::new("mqtt.max_packet_size = 1MB\n").with(
        "plugins/emq_retainer.conf",
        "retainer.max_payload_size = 1KB\nretainer.expiry_interval = 1.5h\n",
    );
    let keys = read_with(
        &etc,
        "emq_retainer",
        &[],
        &[("EMQ_RETAINER__MAX_MESSAGE_NUM", "7")],
    )
    .unwrap();
    assert_eq!(
        values(&keys),
        [
            ("retainer.max_payload_size", "1KB"),
            ("retainer.expiry_interval", "1.5h"),
            ("retainer.max_message_num", "7"),
            ("retainer.storage_type", "ram"),
        ]
    );
    let origins: Vec<&str> = keys.entries.iter().map(|e| e.origin.as_str()).collect();
    assert!(origins[0].ends_with("emq_retainer.conf:1"), "{origins:?}");
    assert_eq!(
        origins[2..],
        [
            "environment variable EMQ_RETAINER__MAX_MESSAGE_NUM",
            "default"
        ]
    );
    // It is read anew each time.
    let etc = etc.with(
        "plugins/emq_retainer.conf",
        "retainer.max_message_num = 5\n",
    );
    assert_eq!(
        values(&read(&etc, "emq_retainer", &[]))[0],
        ("retainer.max_message_num", "5")
    );
}

#[test]
fn what_is_wrong_with_a_plugin_is_said_and_nothing_else() {
    let etc = Etc::new("mqtt.nope = 1\n")
        .with("plugins/emq_recon.conf", "recon.gc_intervall = 5m\n")
        .with("plugins/emq_reloader.conf", "reloader.interval = soon\n");
    let errors = said(read_with(&etc, "emq_recon", &[], &[]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].ends_with(
            "emq_recon.conf:1:1: recon.gc_intervall: unknown key; the nearest known key is recon.gc_interval"
        ),
        "{errors:?}"
    );
    assert_eq!(said(read_with(&etc, "emq_reloader", &[], &[])).len(), 1);
    read(&etc, "emq_retainer", &[]);
    let errors = said(read_with(
        &etc,
        "emq_retainer",
        &[],
        &[("EMQ_RETAINER__STORAGE_TYPE", "tape")],
    ));
    assert!(
        errors[0].contains("environment variable EMQ_RETAINER__STORAGE_TYPE"),
        "{errors:?}"
    );
}

#[test]
fn old_names_of_plugins_and_keys_are_understood() {
    let etc = Etc::new("").with(
        "plugins/emq_mod_retainer.conf",
        "module.retainer.storage_type = disc\nmodule.retainer.expired_after = 60\n",
    );
    for name in ["emq_retainer", "emq_mod_retainer"] {
        let keys = read(&etc, name, &[]);
        assert_eq!(
            values(&keys)[..2],
            [
                ("retainer.storage_type", "disc"),
                ("retainer.expiry_interval", "60s")
            ]
        );
        let warnings = lines(&keys.warnings);
        assert!(
            warnings.contains("is called retainer.expiry_interval now")
                && warnings.contains("its file emq_retainer.conf"),
            "{warnings}"
        );
    }
}

#[test]
fn a_module_of_2_0_is_a_switch_that_is_on() {
    let on = |etc: &Etc, name: &str, key: &str| {
        sdk::Config::new(read(etc, name, &[]).entries).switch(key)
    };
    let etc = Etc::new("");
    assert_eq!(on(&etc, "emq_modules", "module.presence"), Some(false));
    assert_eq!(on(&etc, "emq_mod_presence", "module.presence"), Some(true));
    let etc = Etc::new("").loading("emq_mod_rewrite.\nemq_mod_presence.\n");
    assert_eq!(on(&etc, "emq_modules", "module.rewrite"), Some(true));
    assert_eq!(on(&etc, "emq_modules", "module.presence"), Some(true));
    assert_eq!(on(&etc, "emq_modules", "module.subscription"), Some(false));
    let loaded = accepted(etc.load());
    assert_eq!(loaded.config.get("module.rewrite"), Some("on"));
    warning(
        &loaded,
        "emq_mod_rewrite is called emq_modules now, and is switched on by module.rewrite = on",
    );
    // What a file says counts.
    let etc = etc.with("plugins/emq_modules.conf", "module.presence = off\n");
    assert_eq!(on(&etc, "emq_modules", "module.presence"), Some(false));
}

#[test]
fn a_stranger_brings_its_keys() {
    let etc = Etc::new("node.name = a@b\n").with(
        "plugins/my_plugin.conf",
        "my.rule.1.topic = $(node.name)/x\nmy.on = true\nmy.wait = 1.5h\nmy.size = 10MB\n",
    );
    let keys = read_with(
        &etc,
        "my_plugin",
        &own_keys(),
        &[("EMQ_MY__LIMIT", "9"), ("EMQ_MY__WAY", "b")],
    )
    .unwrap();
    assert_eq!(
        values(&keys),
        [
            ("my.rule.1.topic", "a@b/x"),
            ("my.on", "true"),
            ("my.wait", "1.5h"),
            ("my.size", "10MB"),
            ("my.limit", "9"),
            ("my.way", "b"),
        ]
    );
    no_warnings(&keys);
    // A plugin reads it as it was checked.
    let wait = sdk::Config::new(keys.entries.clone()).duration("my.wait");
    assert_eq!(wait, Some(Duration::from_secs(5400)));
    let entries = read(&Etc::new(""), "my_plugin", &own_keys()).entries;
    let config = sdk::Config::new(entries);
    assert_eq!(config.integer("my.limit"), Some(-1));
    assert_eq!(config.size("my.size"), Some(65_536));
    assert_eq!(config.text("my.on"), None);
}

fn no_warnings(keys: &PluginKeys) {
    assert!(keys.warnings.is_empty(), "{}", lines(&keys.warnings));
}

#[test]
fn mistakes_in_a_strangers_file_have_their_line() {
    let etc = Etc::new("").with(
        "plugins/my_plugin.conf",
        "my.limitt = 1\nmy.way = c\nno line\nmy.limit = 1.5\nmy.on = yes\nmy.wait = soon\n",
    );
    let errors = said(read_with(&etc, "my_plugin", &own_keys(), &[]));
    let parts = [
        "my_plugin.conf:3:1: a line is `key = value`",
        "my_plugin.conf:1:1: my.limitt: unknown key; the nearest known key is my.limit",
        "my_plugin.conf:2:10: my.way: bad value (which): one of a, b is expected, not `c`",
        "my_plugin.conf:4:12: my.limit: bad value (how many): a whole number",
        "my_plugin.conf:5:9: my.on: bad value: `on` or `off` is expected, not `yes`",
        "my_plugin.conf:6:11: my.wait: bad value (how long): a duration",
    ];
    assert_eq!(errors.len(), parts.len(), "{errors:#?}");
    for part in parts {
        assert!(
            errors.iter().any(|e| e.contains(part)),
            "{part}: {errors:#?}"
        );
    }
}

#[test]
fn files_with_terms_are_read() {
    let etc = Etc::new("").with(
        "plugins/my_plugin.config",
        "[{my_plugin, [{'my.limit', 5}, {my, [{on, true}, {way, b}]}]}].\n",
    );
    assert_eq!(
        values(&read(&etc, "my_plugin", &own_keys()))[..3],
        [("my.limit", "5"), ("my.on", "true"), ("my.way", "b")]
    );
    let etc = etc.with(
        "plugins/my_plugin.config",
        "[{my_plugin,\n [{limt, 5}]}].\n",
    );
    let errors = said(read_with(&etc, "my_plugin", &own_keys(), &[]));
    assert!(
        errors[0].contains("my_plugin.config:2:3: my_plugin.limt: unknown key"),
        "{errors:?}"
    );

    let rules = "[{emq_mod_rewrite, [{rules, [{rewrite, \"x/#\", \"^x/y/(.+)$\", \"z/y/$1\"}]}]}].";
    let etc = Etc::new("").with("plugins/emq_mod_rewrite.config", rules);
    let keys = read(&etc, "emq_mod_rewrite", &[]);
    assert_eq!(
        values(&keys)[..2],
        [
            ("module.rewrite.rule.1", "x/# ^x/y/(.+)$ z/y/$1"),
            ("module.rewrite", "on")
        ]
    );
    // Switches in the words of Erlang.
    let etc = Etc::new("").with(
        "plugins/emq_modules.config",
        "{emq_modules, [{'module.presence', true}]}.",
    );
    assert_eq!(
        values(&read(&etc, "emq_modules", &[]))[0],
        ("module.presence", "on")
    );
}

#[test]
fn one_plugin_has_one_file() {
    let etc = Etc::new("")
        .with("plugins/emq_recon.conf", "recon.gc_interval = 5m\n")
        .with(
            "plugins/emq_recon.config",
            "[{emq_recon, [{gc_interval, \"1m\"}]}].",
        );
    let errors = said(read_with(&etc, "emq_recon", &[], &[]));
    assert!(
        errors[0].contains("emq_recon.config: ")
            && errors[0].contains("emq_recon.conf configures emq_recon too"),
        "{errors:?}"
    );
    // An empty one, as the original shipped it, says nothing.
    let etc = etc.with("plugins/emq_recon.config", "[{emq_recon, []}].");
    no_warnings(&read(&etc, "emq_recon", &[]));
}

#[test]
fn files_of_plugins_that_are_not_loaded_stop_no_start() {
    let etc = |loaded: &str| {
        Etc::new("auth.ldap.port = x\n")
            .with(
                "plugins/emq_recon.conf",
                "recon.nope = 1\nno line\nrecon.gc_interval = soon\n",
            )
            .with("plugins/emq_stomp.config", "} no terms {")
            .loading(loaded)
    };
    let loaded = accepted(etc("").load());
    for part in [
        "emq_recon.conf:1:1: recon.nope: unknown key (emq_recon is not loaded: an error once it is)",
        "emq_recon.conf:2:1: a line is",
        "emq_recon.conf:3:21: recon.gc_interval: bad value",
        "emq.conf:1:18: auth.ldap.port: bad value",
    ] {
        warning(&loaded, part);
    }
    assert_eq!(errors(etc("emq_recon.").load()).len(), 3);
    // A key of the core is the core's, wherever it stands.
    let etc = Etc::new("").with("plugins/emq_recon.conf", "mqtt.max_packet_size = x\n");
    assert_eq!(errors(etc.load()).len(), 1);
}

#[test]
fn a_library_makes_a_plugin_known() {
    let file = format!("my_plugin{}", std::env::consts::DLL_SUFFIX);
    let with_prefix = format!("{}{file}", std::env::consts::DLL_PREFIX);
    for library_file in [file, with_prefix] {
        let tree = Tree::new("")
            .with("plugins/my_plugin.conf", "whatever it is\n")
            .with_library(&library_file);
        let etc = tree.etc.loading("my_plugin.");
        let loaded = accepted(etc.load_with(&[("EMQ_MY_PLUGIN__X", "1"), ("EMQ_MINE", "2")]));
        assert_eq!(loaded.config.loaded_plugins(), ["my_plugin"]);
        assert_eq!(
            library(&etc.path(""), "my_plugin")
                .unwrap()
                .file_name()
                .unwrap(),
            library_file.as_str()
        );
        assert_eq!(library(&etc.path(""), "other"), None);
        // A variable that may be its own is not complained of, until its keys are known.
        assert_eq!(loaded.warnings.len(), 1, "{}", lines(&loaded.warnings));
        warning(&loaded, "EMQ_MINE: stands for no key");
    }
    // What this version has itself is not replaced by a file that lies there.
    let tree = Tree::new("")
        .with("plugins/emq_recon.conf", "recon.nope = 1\n")
        .with_library(&format!("emq_recon{}", std::env::consts::DLL_SUFFIX));
    assert_eq!(errors(tree.etc.loading("emq_recon.").load()).len(), 1);
}

#[test]
fn the_template_is_a_stranger() {
    let library = format!("libemq_plugin_template{}", std::env::consts::DLL_SUFFIX);
    let tree = Tree::new("")
        .with("plugins/emq_plugin_template.conf", "my.limit = 3\n")
        .with_library(&library);
    let etc = tree.etc.loading("emq_plugin_template.");
    no_warning(&accepted(etc.load()));
    assert_eq!(
        values(&read(&etc, "emq_plugin_template", &own_keys()))[0],
        ("my.limit", "3")
    );
}

#[test]
fn a_program_may_have_plugins_of_others_in_it() {
    let etc = Etc::new("")
        .with("plugins/my_plugin.conf", "my.limit = 3\n")
        .loading("my_plugin.");
    assert_eq!(errors(etc.load()).len(), 1);
    let loaded = emqttd_config::load_with(&etc.path(""), std::iter::empty(), &["my_plugin"]);
    no_warning(&accepted(loaded));
}

#[test]
fn on_failure_says_whether_a_missing_plugin_stops_the_start() {
    let etc = |more: &str| {
        Etc::new(more)
            .loading("emq_kafka.\n")
            .with("plugins/emq_kafka.conf", "")
    };
    assert_eq!(errors(etc("").load()).len(), 1);
    let loaded = accepted(etc("plugins.on_failure = continue\n").load());
    assert_eq!(
        loaded.settings.plugins_on_failure,
        PluginsOnFailure::Continue
    );
    warning(
        &loaded,
        "emq_kafka is to be loaded, but this broker does not have it; the broker starts without it",
    );
    assert_eq!(
        accepted(Etc::new("").load()).settings.plugins_on_failure,
        PluginsOnFailure::Stop
    );
    assert_eq!(
        errors(Etc::new("plugins.on_failure = go\n").load()).len(),
        1
    );
}

fn with_loaded(etc: &Etc, name: &str, own: &[Key]) -> Config {
    let mut config = accepted(etc.load()).config;
    config.plugin_loaded(name, read(etc, name, own));
    config
}

#[test]
fn a_strangers_hot_keys_can_be_set() {
    let etc = Etc::new("");
    let mut config = with_loaded(&etc, "my_plugin", &own_keys());
    let settable: Vec<(&str, String, &str)> = config
        .settable()
        .into_iter()
        .filter(|key| key.app == "my_plugin")
        .map(|key| (key.key, key.value, key.datatype))
        .collect();
    assert_eq!(
        settable,
        [
            ("my.limit", "-1".to_owned(), "integer"),
            ("my.wait", "7200000".to_owned(), "duration"),
            ("my.size", "65536".to_owned(), "bytesize"),
            ("my.secret", "undefined".to_owned(), "string"),
        ]
    );
    config.set("my_plugin", "my.limit", "8").unwrap();
    config.set("my_plugin", "my.secret", "geheim").unwrap();
    assert_eq!(config.show("my_plugin", "my.limit").unwrap(), "8");
    assert_eq!(config.show("my_plugin", "my.secret").unwrap(), "***");
    let entries = config.plugin_entries("my_plugin");
    let limit = entries
        .iter()
        .find(|entry| entry.key == "my.limit")
        .unwrap();
    assert_eq!((limit.value.as_str(), limit.origin.as_str()), ("8", "set"));
    for (key, value, text) in [
        ("my.limit", "x", "\"my.limit\": error type is: \"x\""),
        (
            "my.way",
            "b",
            "The following config keys are not settable: [\"my.way\"]",
        ),
        (
            "recon.gc_interval",
            "1m",
            "The following config keys are not settable: [\"recon.gc_interval\"]",
        ),
    ] {
        assert_eq!(
            config.set("my_plugin", key, value).unwrap_err().to_string(),
            text
        );
    }
    config.plugin_unloaded("my_plugin");
    assert_eq!(
        config
            .set("my_plugin", "my.limit", "8")
            .unwrap_err()
            .to_string(),
        "Invalid config --app: my_plugin"
    );
}

#[test]
fn a_plugin_of_the_table_has_the_keys_of_its_last_load() {
    let etc = Etc::new("").with("plugins/emq_recon.conf", "recon.gc_interval = 1m\n");
    let mut config = with_loaded(&etc, "emq_recon", &[]);
    config.set("emq_recon", "recon.gc_interval", "2m").unwrap();
    assert_eq!(config.plugin_entries("emq_recon")[0].value, "2m");
    config.plugin_unloaded("emq_recon");
    let etc = etc.with("plugins/emq_recon.conf", "");
    config.plugin_loaded("emq_recon", read(&etc, "emq_recon", &[]));
    let entries = config.plugin_entries("emq_recon");
    assert_eq!(
        (entries[0].value.as_str(), entries[0].origin.as_str()),
        ("5m", "default")
    );
    assert_eq!(config.loaded_plugins(), ["emq_recon"]);
}

proptest! {
    #[test]
    fn any_file_of_a_plugin_is_read_or_refused(
        conf in proptest::collection::vec(any::<u8>(), 0..200),
        terms in "[\\[\\]{}().,\"'a-z0-9% \n]{0,80}",
    ) {
        let etc = Etc::new("")
            .with("plugins/my_plugin.conf", &conf)
            .with("plugins/emq_modules.config", format!("[{{emq_modules, [{terms}]}}]."));
        for (name, own) in [("my_plugin", own_keys()), ("emq_modules", Vec::new())] {
            if let Err(problems) = read_with(&etc, name, &own, &[]) {
                prop_assert!(problems.iter().any(Problem::is_error));
            }
        }
        // Neither is loaded: the broker starts.
        prop_assert!(etc.load_with(&[]).is_ok());
    }
}
