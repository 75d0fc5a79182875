//! `plugins list|load|unload`, `data/loaded_plugins`, the boot, and their bad input. (What can be wrong with a library
//! is in `library`, what a plugin can do wrong as well.)

use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use emqttd_tests::{ALL, Broker, Client, Config, Connect, End, Publish, Version, Will, unique};

use crate::stranger::fixture;

/// The plugins of this version.
const PLUGINS: [&str; 6] = [
    "emq_auth_clientid",
    "emq_auth_username",
    "emq_modules",
    "emq_recon",
    "emq_reloader",
    "emq_retainer",
];

const SOMEBODY: &str = "auth.user.1.username = somebody\nauth.user.1.password = secret\n\
                        auth.user.hash_cost = light\n";

const REWRITE: &str = "module.rewrite = on\nmodule.rewrite.rule.1 = old/# ^old/(.+)$ new/$1\n";

/// A broker that has the files of all plugins, and has loaded none.
fn all_files() -> Config {
    let mut config = Config::new().loaded(&[]);
    for plugin in PLUGINS {
        config = config.plugin_conf(plugin, "");
    }
    config
}

fn plugins(broker: &Broker, words: &[&str]) -> String {
    let (code, text) = broker.ctl(&[&["plugins"], words].concat());
    assert_eq!(code, 0, "{words:?}: {text}");
    text
}

/// What the broker said when it did not start.
fn refusal(config: &Config) -> String {
    match Broker::try_start(config) {
        Ok(_) => panic!("the broker started"),
        Err(log) => log,
    }
}

/// Whether somebody with this password is let in.
fn comes_in(broker: &Broker, password: &str) -> bool {
    let connect = Connect::new(Version::V311, &unique("auth"))
        .username("somebody")
        .password(password);
    let mut client = broker.raw(Version::V311);
    client.send(&connect.encode());
    client.connack().1 == 0
}

// What the commands say.

#[test]
fn emq_plugins_list() {
    let broker = Broker::start(
        all_files()
            .plugin_conf("emq_stomp", "")
            .plugin_conf("kafka_bridge", "")
            .file("etc/plugins/emq_recon.conf.good", "")
            .loaded(&["emq_recon", "emq_retainer"]),
    );
    let text = plugins(&broker, &["list"]);
    let rows: Vec<(&str, &str)> = text
        .lines()
        .map(|line| {
            let row = line.strip_prefix("Plugin(").unwrap();
            let (name, rest) = row.split_once(", version=").unwrap();
            (name, rest.split_once(", description=").unwrap().1)
        })
        .collect();
    assert_eq!(
        rows,
        [
            (
                "emq_auth_clientid",
                "Authentication with ClientId/Password, active=false)"
            ),
            (
                "emq_auth_username",
                "Authentication with Username/Password, active=false)"
            ),
            ("emq_modules", "EMQ Modules, active=false)"),
            ("emq_recon", "Recon Plugin, active=true)"),
            ("emq_reloader", "Reloader Plugin, active=false)"),
            ("emq_retainer", "EMQ Retainer, active=true)"),
            ("emq_stomp", "Stomp Protocol Plugin, active=false)"),
        ]
    );
    // Without its file a plugin that does not run is not seen.
    std::fs::remove_file(broker.root.join("etc/plugins/emq_stomp.conf")).unwrap();
    assert!(!plugins(&broker, &["list"]).contains("emq_stomp"));
}

#[test]
fn emq_plugins_load_and_unload() {
    let broker = Broker::start(all_files());
    for plugin in PLUGINS {
        assert_eq!(
            plugins(&broker, &["load", plugin]),
            format!("Start apps: [{plugin}]\nPlugin {plugin} loaded successfully.\n")
        );
        assert_eq!(
            plugins(&broker, &["load", plugin]),
            "load plugin error: already_started\n"
        );
        assert!(broker.is_active(plugin));
        assert_eq!(
            plugins(&broker, &["unload", plugin]),
            format!("Plugin {plugin} unloaded successfully.\n")
        );
        assert_eq!(
            plugins(&broker, &["unload", plugin]),
            "unload plugin error: not_started\n"
        );
        assert!(!broker.is_active(plugin));
    }
}

#[test]
fn emq_plugins_that_are_not_there() {
    let broker = Broker::start(all_files().plugin_conf("emq_plugin_template", ""));
    for name in [
        "nope",
        "emq_nope",
        "",
        "../../etc/emq",
        "emq_recon.conf",
        "emq_x\n",
    ] {
        assert_eq!(
            plugins(&broker, &["load", name]),
            "load plugin error: not_found\n",
            "{name:?}"
        );
        assert_eq!(
            plugins(&broker, &["unload", name]),
            "unload plugin error: not_started\n",
            "{name:?}"
        );
    }
    let text = plugins(&broker, &["load", "emq_plugin_template"]);
    assert!(
        text.starts_with("load plugin error: {emq_plugin_template,\"not part of emqttd "),
        "{text}"
    );
    assert_eq!(broker.loaded_plugins(), Vec::<String>::new());
}

#[test]
fn emq_plugins_usage() {
    let broker = Broker::start(all_files());
    let usage = "plugins list                                    # Show loaded plugins\n\
                 plugins load <Plugin>                           # Load plugin\n\
                 plugins unload <Plugin>                         # Unload plugin\n";
    for words in [
        &[][..],
        &["load"],
        &["unload"],
        &["load", "a", "b"],
        &["nope"],
    ] {
        assert_eq!(plugins(&broker, words), usage, "{words:?}");
    }
}

// The list of plugins to start.

#[test]
fn the_list_is_written_at_once_and_read_at_the_start() {
    let mut broker = Broker::start(all_files().file(
        "data/loaded_plugins",
        "%% these\nemq_recon.\r\n'emq_modules'. emq_reloader. % and this\n",
    ));
    for plugin in ["emq_recon", "emq_modules", "emq_reloader"] {
        assert!(broker.is_active(plugin), "{plugin}");
    }
    broker.load("emq_retainer");
    let all = ["emq_recon", "emq_modules", "emq_reloader", "emq_retainer"];
    assert_eq!(broker.loaded_plugins(), all);
    broker.unload("emq_modules");
    assert_eq!(
        broker.loaded_plugins(),
        ["emq_recon", "emq_reloader", "emq_retainer"]
    );
    broker.load("emq_modules");
    broker.restart(emqttd_tests::End::Kill);
    assert_eq!(
        broker.loaded_plugins(),
        ["emq_recon", "emq_reloader", "emq_retainer", "emq_modules"]
    );
    for plugin in all {
        assert!(broker.is_active(plugin), "{plugin}");
    }
    assert!(!broker.is_active("emq_auth_username"));
    // In order, too, and an orderly stop forgets nothing.
    broker.restart(emqttd_tests::End::Stop);
    assert_eq!(broker.loaded_plugins().len(), 4);
}

#[test]
fn no_list_is_an_empty_one() {
    for text in ["", "\n\n", "% nothing\n"] {
        let broker = Broker::start(all_files().file("data/loaded_plugins", text));
        assert!(!plugins(&broker, &["list"]).contains("active=true"));
    }
    let broker = Broker::start(all_files());
    std::fs::remove_file(broker.root.join("data/loaded_plugins")).unwrap();
    broker.load("emq_recon");
    assert_eq!(broker.loaded_plugins(), ["emq_recon"]);
}

#[test]
fn a_list_that_is_something_else_stops_the_start() {
    let log = refusal(&all_files().file("data/loaded_plugins", "emq_recon.\n<html>\n"));
    assert!(log.contains("data/loaded_plugins:2:"), "{log}");
    assert!(log.contains("is not the name of a plugin"), "{log}");
}

/// A list that cannot be written: the plugin runs, and the operator is told.
#[test]
fn a_list_that_cannot_be_written_is_said() {
    let broker = Broker::start(all_files());
    let list = broker.root.join("data/loaded_plugins");
    std::fs::remove_file(&list).unwrap();
    std::fs::create_dir(&list).unwrap();
    let text = plugins(&broker, &["load", "emq_recon"]);
    assert!(
        text.contains("Plugin emq_recon loaded successfully.\n"),
        "{text}"
    );
    assert!(
        text.contains("loaded_plugins could not be written"),
        "{text}"
    );
    assert!(broker.is_active("emq_recon"));
}

#[test]
fn the_environment_is_a_list_too() {
    let config = all_files()
        .loaded(&["emq_recon"])
        .env("EMQ_LOADED_PLUGINS", "\"emq_modules, emq_reloader\"");
    let broker = Broker::start(config);
    assert_eq!(broker.loaded_plugins(), ["emq_modules", "emq_reloader"]);
    assert!(!broker.is_active("emq_recon"));
    assert!(broker.is_active("emq_modules"));
}

#[test]
fn listeners_open_after_plugins() {
    let broker = Broker::start(
        Config::with_plugin("emq_modules", "module.presence = on\n").loaded(&["emq_modules"]),
    );
    let log = broker.log();
    let at = |text: &str| {
        log.find(text)
            .unwrap_or_else(|| panic!("no {text} in {log}"))
    };
    assert!(
        at("Load emq_mod_presence module successfully.") < at("mqtt:tcp listen on"),
        "{log}"
    );
}

// Names of earlier releases.

#[test]
fn old_names_are_understood() {
    let broker = Broker::start(all_files());
    let text = plugins(&broker, &["load", "emq_mod_presence"]);
    for line in [
        "Start apps: [emq_modules]\nPlugin emq_modules loaded successfully.\n",
        "The plugin emq_mod_presence is called emq_modules now: use that name.\n",
        "It is on until the next start: for longer, module.presence = on must stand in the file of emq_modules.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(broker.is_active("emq_modules"));
    assert_eq!(broker.loaded_plugins(), ["emq_modules"]);
    // It is what was asked for: presence.
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub("$SYS/brokers/+/clients/#", 1);
    let id = unique("guest");
    let _guest = broker.open(&Connect::new(Version::V311, &id));
    let topic = format!("$SYS/brokers/emq@127.0.0.1/clients/{id}/connected");
    assert_eq!(watcher.recv_message().topic, topic);
    for old in ["emq_mod_rewrite", "emq_mod_subscription", "emq_modules"] {
        assert_eq!(
            plugins(&broker, &["load", old]),
            "load plugin error: already_started\n"
        );
    }
    assert!(
        plugins(&broker, &["unload", "emq_mod_rewrite"])
            .contains("Plugin emq_modules unloaded successfully.\n")
    );
    assert_eq!(broker.loaded_plugins(), Vec::<String>::new());
    // With the file saying so there is nothing to say.
    broker.write_plugin_conf("emq_modules", "module.presence = on\n");
    let text = plugins(&broker, &["load", "emq_mod_presence"]);
    assert!(!text.contains("next start"), "{text}");
    broker.load_as("emq_mod_retainer", "emq_retainer");
}

#[test]
fn a_tree_of_2_0_starts() {
    let rules = "[{emq_mod_rewrite, [{rules, [\n  %% old to new\n  \
                 {rewrite, \"old/#\", \"^old/(.+)$\", \"new/$1\"}\n]}]}].\n";
    let config = Config::new()
        .file("etc/plugins/emq_mod_rewrite.config", rules)
        .file(
            "etc/plugins/emq_mod_retainer.conf",
            "module.retainer.max_message_num = 1\nmodule.retainer.expired_after = 0\n",
        )
        .without_file("etc/plugins/emq_retainer.conf")
        .file(
            "data/loaded_plugins",
            "emq_mod_retainer.\nemq_mod_rewrite.\n",
        );
    let broker = Broker::start(config);
    let mut client = broker.client(Version::V311, "client");
    client.sub("new/#", 0);
    client.pub_("old/a", 0, "x");
    client.expect("new/a", "x");
    let mut publisher = broker.client(Version::V311, "publisher");
    for topic in ["r/1", "r/2"] {
        publisher.publish(Publish::new(topic, "kept").qos(1).retained());
    }
    let mut late = broker.client(Version::V311, "late");
    late.sub("r/#", 0);
    late.expect("r/1", "kept");
    late.nothing_from(&mut publisher);
    let log = broker.log();
    for text in [
        "emq_mod_rewrite is called emq_modules now",
        "emq_mod_retainer is called emq_retainer now",
        "module.retainer.max_message_num: of an earlier release is called retainer.max_message_num now",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
}

// Configuration.

#[test]
fn the_file_is_read_at_each_load() {
    let broker = Broker::start(Config::with_plugin("emq_auth_username", SOMEBODY));
    assert!(comes_in(&broker, "secret") && !comes_in(&broker, "wrong"));
    broker.unload("emq_auth_username");
    assert!(comes_in(&broker, "wrong"));
    let other = SOMEBODY.replace("somebody", "other");
    broker.write_plugin_conf("emq_auth_username", &other);
    broker.load("emq_auth_username");
    let (_, users) = broker.ctl(&["users", "list"]);
    assert!(users.lines().any(|name| name == "other"), "{users}");
}

/// In 2.3.11 this stopped the start.
#[test]
fn a_bad_file_of_a_plugin_that_is_not_loaded_is_a_warning_until_it_is() {
    let broker =
        Broker::start(all_files().plugin_conf("emq_recon", "# it is\nrecon.gc_intervall = 5m\n"));
    let said = "emq_recon.conf:2:1: recon.gc_intervall: unknown key";
    let log = broker.log();
    assert!(
        log.contains(&format!(
            "warning: etc/plugins/{said} (emq_recon is not loaded"
        )),
        "{log}"
    );
    let text = plugins(&broker, &["load", "emq_recon"]);
    assert!(
        text.starts_with("load plugin error: {emq_recon,\""),
        "{text}"
    );
    assert!(text.contains(said), "{text}");
    assert!(
        text.contains("the nearest known key is recon.gc_interval"),
        "{text}"
    );
    assert!(!broker.is_active("emq_recon"));
    assert_eq!(broker.loaded_plugins(), Vec::<String>::new());
    broker.write_plugin_conf("emq_recon", "recon.gc_interval = soon\n");
    let text = plugins(&broker, &["load", "emq_recon"]);
    assert!(
        text.contains("emq_recon.conf:1:21: recon.gc_interval: bad value"),
        "{text}"
    );
    broker.write_plugin_conf("emq_recon", "recon.gc_interval = 5m\n");
    broker.load("emq_recon");
}

#[test]
fn a_bad_file_of_a_plugin_that_is_loaded_stops_the_start() {
    let config = Config::with_plugin("emq_recon", "recon.gc_intervall = 5m\n");
    let log = refusal(&config);
    assert!(
        log.contains("emq_recon.conf:1:1: recon.gc_intervall: unknown key; the nearest known key is recon.gc_interval"),
        "{log}"
    );
}

#[test]
fn files_with_erlang_terms() {
    let terms = "{emq_modules, [{'module.rewrite', true},\n  {rules, [{rewrite, \"old/#\", \"^old/(.+)$\", \"new/$1\"}]}]}.\n";
    let config = Config::new()
        .file("etc/plugins/emq_modules.config", terms)
        .loaded(&["emq_modules"]);
    let broker = Broker::start(config);
    let mut client = broker.client(Version::V311, "client");
    client.sub("new/#", 0);
    client.pub_("old/a", 0, "x");
    client.expect("new/a", "x");
    broker.unload("emq_modules");
    // Two files that both say something: which of them counts?
    broker.write_plugin_conf("emq_modules", "module.presence = on\n");
    let text = plugins(&broker, &["load", "emq_modules"]);
    assert!(
        text.contains("emq_modules.config: ")
            && text.contains("emq_modules.conf configures emq_modules too"),
        "{text}"
    );
    std::fs::write(
        broker.root.join("etc/plugins/emq_modules.config"),
        "} no terms {",
    )
    .unwrap();
    std::fs::remove_file(broker.root.join("etc/plugins/emq_modules.conf")).unwrap();
    let text = plugins(&broker, &["load", "emq_modules"]);
    assert!(text.contains("emq_modules.config:1:"), "{text}");
}

#[test]
fn keys_of_a_plugin_can_be_set_while_it_runs() {
    let broker = Broker::start(all_files());
    let set = ["set", "recon.gc_interval=1m", "--app=emq_recon"];
    let show = ["show", "recon.gc_interval", "--app=emq_recon"];
    let invalid = "Invalid config --app: emq_recon\n";
    assert_eq!(broker.ctl(&set).1, invalid);
    broker.load("emq_recon");
    assert!(broker.ctl(&show).1.contains("300000"));
    assert!(broker.ctl(&set).1.contains("set to \"1m\" successfully"));
    assert!(broker.ctl(&show).1.contains("60000"));
    broker.unload("emq_recon");
    assert_eq!(broker.ctl(&show).1, invalid);
    // Loaded again it has what the file says.
    broker.load("emq_recon");
    assert!(broker.ctl(&show).1.contains("300000"));
}

#[test]
fn verbs_come_and_go() {
    let broker = Broker::start(all_files());
    for (plugin, verb) in [
        ("emq_recon", "recon"),
        ("emq_reloader", "reload"),
        ("emq_retainer", "retainer"),
        ("emq_auth_username", "users"),
        ("emq_auth_clientid", "clientid"),
    ] {
        let known = || {
            let (_, help) = broker.ctl(&["help"]);
            let there = help
                .lines()
                .any(|line| line.split(' ').next() == Some(verb));
            let (code, _) = broker.ctl(&[verb]);
            assert_eq!(code == 0, there, "{verb}");
            there
        };
        assert!(!known(), "{verb}");
        broker.load(plugin);
        assert!(known(), "{verb}");
        broker.unload(plugin);
        assert!(!known(), "{verb}");
    }
}

// A start at which something is wrong.

/// A user name without a password: nobody knows who is meant to come in.
const NO_PASSWORD: &str = "auth.user.1.username = somebody\n";

#[test]
fn a_guard_that_cannot_be_started_stops_the_start() {
    let config = Config::with_plugin("emq_auth_username", NO_PASSWORD);
    let log = refusal(&config);
    for text in [
        "the plugin emq_auth_username cannot be started: ",
        "emq_auth_username.conf:1",
        "plugins.on_failure = continue",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert!(!log.contains(" listen on "), "{log}");
    // Unless the operator says otherwise.
    let mut broker = Broker::start(config.set("plugins.on_failure", "continue"));
    assert!(comes_in(&broker, "wrong"));
    assert!(!broker.is_active("emq_auth_username"));
    assert!(
        broker
            .log()
            .contains("emq_auth_username cannot be started: "),
        "{}",
        broker.log()
    );
    // The list is left as it is: the next start may go better.
    assert_eq!(broker.loaded_plugins(), ["emq_auth_username"]);
    broker.write_plugin_conf("emq_auth_username", SOMEBODY);
    broker.restart(emqttd_tests::End::Stop);
    assert!(comes_in(&broker, "secret") && !comes_in(&broker, "wrong"));
}

#[test]
fn others_that_cannot_be_started_are_passed_over() {
    let broker = Broker::start(
        all_files()
            .plugin_conf(
                "emq_modules",
                "module.rewrite = on\nmodule.rewrite.rule.1 = x/# ^x( z\n",
            )
            .loaded(&["emq_recon", "emq_modules", "emq_reloader"]),
    );
    assert!(broker.is_active("emq_recon") && broker.is_active("emq_reloader"));
    assert!(!broker.is_active("emq_modules"));
    let log = broker.log();
    assert!(
        log.contains("the plugin emq_modules cannot be started: ")
            && log.contains("emq_modules.conf:2"),
        "{log}"
    );
    assert_eq!(broker.loaded_plugins().len(), 3);
}

#[test]
fn plugins_that_this_broker_does_not_have() {
    // One of a stranger that has a file: somebody counts on it.
    let config = all_files()
        .plugin_conf("kafka_bridge", "whatever it is")
        .loaded(&["emq_recon", "kafka_bridge"]);
    let log = refusal(&config);
    assert!(log.contains("data/loaded_plugins:2:"), "{log}");
    assert!(log.contains("to go on without it"), "{log}");
    for (names, set) in [
        (["emq_plugin_template", "emq_lua_hook"], "stop"),
        (["emq_nope", "nope"], "stop"),
        (["emq_nope", "kafka_bridge"], "continue"),
    ] {
        let config = all_files()
            .plugin_conf("kafka_bridge", "whatever it is")
            .set("plugins.on_failure", set)
            .loaded(&[names[0], names[1], "emq_recon"]);
        let broker = Broker::start(config);
        assert!(broker.is_active("emq_recon"));
        for name in names {
            assert!(broker.log().contains(name), "{}", broker.log());
        }
    }
}

// While there are clients.

#[test]
fn of_two_loads_at_once_one_is_done() {
    let broker = Broker::start(all_files());
    for verb in ["load", "unload"] {
        let texts: Vec<String> = std::thread::scope(|threads| {
            let running: Vec<_> = (0..4)
                .map(|_| threads.spawn(|| plugins(&broker, &[verb, "emq_auth_username"])))
                .collect();
            running.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let done = texts
            .iter()
            .filter(|text| text.contains("successfully"))
            .count();
        let wanted = if verb == "load" {
            "already_started"
        } else {
            "not_started"
        };
        let refused = texts.iter().filter(|text| text.contains(wanted)).count();
        assert_eq!((done, refused), (1, 3), "{texts:?}");
    }
}

/// Between two packets: what is published after the answer of `load` goes through the hook, what is published after the
/// answer of `unload` does not, and what was subscribed before stays.
#[test]
fn hooks_are_there_after_the_answer_and_not_before() {
    let broker = Broker::start(all_files().plugin_conf("emq_modules", REWRITE));
    for v in ALL {
        let mut client = broker.client(v, "client");
        // As they are written: no hook is there yet.
        client.sub("old/#", 1);
        client.sub("new/#", 1);
        for n in 0..20 {
            client.pub_("old/a", 1, &format!("{n}"));
            client.expect("old/a", &format!("{n}"));
            broker.load("emq_modules");
            client.pub_("old/a", 1, &format!("{n} rewritten"));
            client.expect("new/a", &format!("{n} rewritten"));
            broker.unload("emq_modules");
        }
    }
}

#[test]
fn chain_entries_are_there_after_the_answer_and_not_before() {
    let broker = Broker::start(all_files().plugin_conf("emq_auth_username", SOMEBODY));
    let mut before = broker.client(Version::V311, "before");
    for _ in 0..5 {
        assert!(comes_in(&broker, "wrong"));
        broker.load("emq_auth_username");
        assert!(!comes_in(&broker, "wrong"));
        assert!(comes_in(&broker, "secret"));
        broker.unload("emq_auth_username");
    }
    // Whoever was in is still in.
    before.quiet();
}

/// A publisher and a subscriber of one topic, with a steady stream between them.
fn stream(broker: &Broker, v: Version, qos: u8, ready: &Barrier, end: &AtomicBool) -> u64 {
    let topic = unique("stream");
    let mut subscriber = broker.client(v, "sub");
    subscriber.sub(&topic, qos);
    let mut publisher = broker.client(v, "pub");
    ready.wait();
    let mut sent = 0_u64;
    while !end.load(Ordering::Relaxed) {
        // One at a time, so that each is somewhere between the two when a hook comes or goes; QoS 0 in bursts.
        let burst = if qos == 0 { 50 } else { 1 };
        for n in 0..burst {
            publisher.pub_(&topic, qos, &(sent + n).to_string());
        }
        for n in 0..burst {
            let message = subscriber.recv_message();
            assert_eq!((message.topic.as_str(), message.qos), (topic.as_str(), qos));
            assert_eq!(message.payload, (sent + n).to_string(), "{v} QoS {qos}");
        }
        sent += burst;
    }
    // Both connections are as they were, and nothing is left over.
    publisher.quiet();
    subscriber.quiet();
    sent
}

/// All of them, again and again, while clients of each version publish and receive at each QoS: nothing is lost, nothing
/// comes twice or out of order, nobody is disconnected.
#[test]
fn all_plugins_come_and_go_under_traffic() {
    let broker = Broker::start(
        all_files()
            .plugin_conf(
                "emq_modules",
                "module.presence = on\nmodule.subscription = on\nmodule.subscription.1.topic = never/%c\n\
                 module.subscription.1.qos = 1\nmodule.rewrite = on\nmodule.rewrite.rule.1 = # ^(stream.*)$ $1\n",
            )
            .plugin_conf("emq_auth_username", SOMEBODY),
    );
    let end = AtomicBool::new(false);
    // Everybody is in before a plugin is there that asks for passwords.
    let ready = Barrier::new(1 + 3 * ALL.len());
    let sent: Vec<u64> = std::thread::scope(|threads| {
        let streams: Vec<_> = ALL
            .iter()
            .flat_map(|&v| (0..3).map(move |qos| (v, qos)))
            .map(|(v, qos)| {
                let (broker, ready, end) = (&broker, &ready, &end);
                threads.spawn(move || stream(broker, v, qos, ready, end))
            })
            .collect();
        ready.wait();
        let end_of_it = EndOf(&end);
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < Duration::from_secs(3) || rounds < 3 {
            for plugin in PLUGINS {
                broker.load(plugin);
            }
            for plugin in PLUGINS {
                broker.unload(plugin);
            }
            rounds += 1;
        }
        drop(end_of_it);
        streams.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(sent.iter().all(|&sent| sent > 100), "{sent:?}");
    // Nothing is left of any of them.
    let (_, listed) = broker.ctl(&["plugins", "list"]);
    assert!(!listed.contains("active=true"), "{listed}");
    assert!(comes_in(&broker, "wrong"));
    let mut client = broker.client(Version::V311, "after");
    client.sub("$SYS/brokers/+/clients/#", 0);
    broker.client(Version::V311, "guest").disconnect();
    client.quiet();
}

/// Ends the streams, also when the test fails meanwhile.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that connect while a guard comes and goes are let in or refused, and never left waiting.
#[test]
fn connects_under_way_are_answered() {
    let broker = Broker::start(all_files().plugin_conf("emq_auth_username", SOMEBODY));
    let end = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let connecting: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    let mut answers = [0_u32; 2];
                    while !end.load(Ordering::Relaxed) {
                        answers[usize::from(comes_in(&broker, "wrong"))] += 1;
                        assert!(comes_in(&broker, "secret"));
                    }
                    answers
                })
            })
            .collect();
        let end_of_it = EndOf(&end);
        for _ in 0..10 {
            broker.load("emq_auth_username");
            broker.unload("emq_auth_username");
        }
        drop(end_of_it);
        let answers: Vec<_> = connecting.into_iter().map(|t| t.join().unwrap()).collect();
        let refused: u32 = answers.iter().map(|a| a[0]).sum();
        let admitted: u32 = answers.iter().map(|a| a[1]).sum();
        assert!(refused > 0 && admitted > 0, "{answers:?}");
    });
}

/// The plugins that were there start again.
#[test]
fn a_stop_ends_them_all() {
    let mut broker = Broker::start(
        all_files()
            .plugin_conf("emq_auth_username", SOMEBODY)
            .loaded(&PLUGINS),
    );
    let client: Client = broker.open(
        &Connect::new(Version::V5, &unique("client"))
            .username("somebody")
            .password("secret"),
    );
    broker.end(End::Stop);
    drop(client);
    assert_eq!(broker.loaded_plugins(), PLUGINS);
    broker.start_again();
    for plugin in PLUGINS {
        assert!(broker.is_active(plugin), "{plugin}");
    }
}

const FIXTURE: &str = "emq_plugin_fixture";

/// Puts the library of `tests/plugin-fixture` into the tree, with this file.
fn put_fixture(broker: &Broker, conf: &str) {
    let dir = broker.root.join("plugins");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(fixture(), dir.join(format!("{FIXTURE}.so"))).unwrap();
    broker.write_plugin_conf(FIXTURE, conf);
}

/// A session that stays while its client is away.
fn durable(id: &str) -> Connect {
    Connect::new(Version::V311, id).clean(false)
}

/// Plugins decide, see and change up to the last will, and what is durable survives them.
#[test]
fn a_stop_loses_nothing_that_plugins_decide_about() {
    let mut broker = Broker::start(all_files().plugin_conf(FIXTURE, ""));
    put_fixture(&broker, &format!("{FIXTURE}.guard = on\n"));
    broker.load(FIXTURE);
    let (stays, away) = (unique("stays"), unique("away"));
    for id in [&stays, &away] {
        broker.open(&durable(id)).sub("#", 1);
    }
    let (here, _, _) = broker.resume(&durable(&stays));
    // The fixture turns `change/x` into `changed/x`, backwards, and forbids what begins with "no".
    let dying: Vec<Client> = ["will/a", "change/b", "no/c"]
        .iter()
        .map(|topic| {
            let will = Will::new(topic, "abc").qos(1);
            broker.open(&Connect::new(Version::V311, &unique("dying")).will(will))
        })
        .collect();
    broker.restart(End::Stop);
    drop((here, dying));
    for id in [&stays, &away] {
        let (mut client, present, _) = broker.resume(&durable(id));
        assert!(present, "{id}");
        let mut last = broker.client(Version::V311, "last");
        last.publish(Publish::new("last", "").qos(1));
        let mut got = Vec::new();
        loop {
            let message = client.recv_message();
            match message.topic.as_str() {
                "last" => break,
                topic if topic.starts_with("$SYS/") => {}
                topic => got.push(format!("{topic} {}", message.payload)),
            }
        }
        got.sort();
        // Who was there until the end has got those already that the kernel took, and did not acknowledge them.
        assert_eq!(got, ["changed/b cba", "will/a abc"], "{id}");
    }
}

/// Starts the broker in the tree of one that has ended, and waits until a plugin blocks in its start.
fn start_that_blocks(broker: &Broker) -> Child {
    let child = Command::new(broker.root.join("bin/emqttd"))
        .arg("foreground")
        .current_dir(&broker.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", child.id());
    let begun = Instant::now();
    while !threads(&tasks).iter().any(|name| name == "plugin-start\n") {
        assert!(begun.elapsed() < Duration::from_secs(20), "no start");
    }
    child
}

fn threads(tasks: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .collect()
}

#[test]
fn a_signal_during_the_start_ends_the_broker() {
    let config = all_files().plugin_conf(FIXTURE, "");
    let mut broker = Broker::start(config);
    let conf = format!("{FIXTURE}.at = start\n{FIXTURE}.do = hang\n");
    put_fixture(&broker, &conf);
    broker.end(End::Stop);
    let list = format!("emq_recon.\n{FIXTURE}.\nemq_retainer.\n");
    std::fs::write(broker.root.join("data/loaded_plugins"), list).unwrap();
    let mut child = start_that_blocks(&broker);
    let pid = child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(told.success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut out, &mut said).unwrap();
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("is running now"), "{said}");
    // The next start is as any other.
    broker.write_plugin_conf(FIXTURE, "");
    broker.start_again();
    for plugin in ["emq_recon", FIXTURE, "emq_retainer"] {
        assert!(broker.is_active(plugin), "{plugin}");
    }
}
