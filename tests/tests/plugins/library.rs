//! What can be wrong with a library, and what a plugin in one can do wrong. `tests/plugin-fixture` is the plugin.

use std::fs;
use std::time::{Duration, Instant};

use emqttd_tests::packet::{Prop, encode_props};
use emqttd_tests::{Broker, Client, Config, Connect, Packet, Version, Will, frame, unique};

use crate::stranger::fixture;

const PLUGIN: &str = "emq_plugin_fixture";
const V: Version = Version::V311;

/// The first bytes of the header in a library, and where its numbers stand behind them.
const MAGIC: &[u8] = b"emqttd plugin\0\x1a\n";
const MAJOR: usize = 16;
const MINOR: usize = 18;
const PANIC: usize = 24;

fn library() -> Vec<u8> {
    fs::read(fixture()).unwrap()
}

/// A library whose header has another value at this place.
fn patched(place: usize, value: u8) -> Vec<u8> {
    let mut bytes = library();
    let at = bytes
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
        .unwrap();
    bytes[at + place] = value;
    bytes
}

/// A library in which each `from` is a `to`, of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = library();
    let mut found = 0;
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "no {from} in the library");
    bytes
}

fn put(broker: &Broker, name: &str, bytes: &[u8]) {
    let dir = broker.root.join("plugins");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{name}.so")), bytes).unwrap();
}

/// A broker with the library in its place, and not loaded.
fn with_library() -> Broker {
    with_config(Config::new())
}

fn with_config(config: Config) -> Broker {
    let config = config.plugin_conf(PLUGIN, "").loaded(&[]);
    let broker = Broker::start(config.set("mqtt.broker.sys_interval", "1h"));
    put(&broker, PLUGIN, &library());
    broker
}

/// Writes the plugin's file: what it is to do, and where.
fn configure(broker: &Broker, at: &str, what: &str, more: &str) {
    let text = format!("{PLUGIN}.at = {at}\n{PLUGIN}.do = {what}\n{more}");
    broker.write_plugin_conf(PLUGIN, &text);
}

/// Loads the plugin, which is to do something somewhere.
fn load(broker: &Broker, at: &str, what: &str, more: &str) {
    configure(broker, at, what, more);
    broker.load(PLUGIN);
}

/// Why the plugin is not loaded.
#[track_caller]
fn refusal(broker: &Broker, plugin: &str) -> String {
    let (_, text) = broker.ctl(&["plugins", "load", plugin]);
    assert!(text.starts_with("load plugin error: "), "{text}");
    assert!(!broker.loaded_plugins().contains(&plugin.into()));
    text
}

/// The answer of the plugin's command, which has to be a good one.
#[track_caller]
fn ask(broker: &Broker, words: &[&str]) -> String {
    let (code, text) = broker.ctl(&[&["fixture"], words].concat());
    assert_eq!(code, 0, "{words:?}: {text}");
    text.trim_end().into()
}

/// Waits until `f` holds.
#[track_caller]
fn wait(broker: &Broker, what: &str, f: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "no {what}:\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn code_of_connect(broker: &Broker, username: &str, password: &str) -> u8 {
    let mut client = broker.raw(V);
    let connect = Connect::new(V, &unique("who"));
    client.send(&connect.username(username).password(password).encode());
    client.connack().1
}

// What is wrong with the file.

#[test]
fn what_is_no_library_is_refused() {
    let broker = with_library();
    let program = fs::read(broker.root.join("bin/emqttd_ctl")).unwrap();
    for bytes in [&b""[..], b"text", &program] {
        put(&broker, PLUGIN, bytes);
        let text = refusal(&broker, PLUGIN);
        assert!(text.contains("not a plugin of emqttd"), "{text}");
    }
    // Our header, and nothing behind it.
    put(&broker, PLUGIN, MAGIC);
    assert!(refusal(&broker, PLUGIN).contains("cannot be opened"));
    // Half a library.
    let bytes = library();
    for cut in [bytes.len() / 2, bytes.len() - 1] {
        put(&broker, PLUGIN, &bytes[..cut]);
        assert!(refusal(&broker, PLUGIN).contains("its end is missing"));
    }
    // After all that a good one is loaded.
    put(&broker, PLUGIN, &bytes);
    broker.load(PLUGIN);
    let copies = fs::read_dir(broker.root.join("data/run")).unwrap();
    assert_eq!(copies.count(), 0, "copies are removed");
}

#[test]
fn other_versions_are_refused_with_what_to_do() {
    let broker = with_library();
    put(&broker, PLUGIN, &patched(MAJOR, 2));
    let text = refusal(&broker, PLUGIN);
    let why = "built for plugin ABI 2.1, this broker has 1.1: rebuild it with emqttd-plugin-sdk";
    assert!(text.contains(why), "{text}");
    put(&broker, PLUGIN, &patched(MINOR, 9));
    let text = refusal(&broker, PLUGIN);
    let why = "built for plugin ABI 1.9, this broker has 1.1: use a newer broker";
    assert!(text.contains(why), "{text}");
    put(&broker, PLUGIN, &patched(PANIC, 1));
    let text = refusal(&broker, PLUGIN);
    assert!(text.contains("panic = \\\"abort\\\""), "{text}");
    assert!(text.contains("remove that line"), "{text}");
}

#[test]
fn a_library_without_its_symbols_is_refused() {
    let broker = with_library();
    put(
        &broker,
        PLUGIN,
        &renamed("emqttd_plugin_v1\0", "emqttd_plugin_vX\0"),
    );
    let text = refusal(&broker, PLUGIN);
    assert!(text.contains("no function emqttd_plugin_v1"), "{text}");
    put(
        &broker,
        PLUGIN,
        &renamed("emqttd_plugin_abi\0", "emqttd_plugin_abX\0"),
    );
    let text = refusal(&broker, PLUGIN);
    assert!(text.contains("not a plugin of emqttd"), "{text}");
}

#[test]
fn a_library_has_the_name_of_its_plugin() {
    let broker = with_library();
    put(&broker, "emq_plugin_other", &library());
    fs::write(broker.root.join("etc/plugins/emq_plugin_other.conf"), "").unwrap();
    let text = refusal(&broker, "emq_plugin_other");
    assert!(
        text.contains("holds the plugin emq_plugin_fixture"),
        "{text}"
    );
}

#[test]
fn a_new_library_under_the_old_name_is_the_new_one() {
    let broker = with_library();
    broker.load(PLUGIN);
    broker.unload(PLUGIN);
    put(&broker, PLUGIN, &renamed("Misbehaves", "Is another"));
    broker.load(PLUGIN);
    let (_, list) = broker.ctl(&["plugins", "list"]);
    assert!(
        list.contains("description=Is another, active=true"),
        "{list}"
    );
    // Loaded again and again it is opened once.
    let maps = || {
        let maps = fs::read_to_string(format!("/proc/{}/maps", broker.pid())).unwrap();
        maps.lines().filter(|line| line.contains(PLUGIN)).count()
    };
    let before = maps();
    for _ in 0..20 {
        broker.unload(PLUGIN);
        broker.load(PLUGIN);
    }
    assert_eq!(maps(), before);
}

#[test]
fn a_rebuilt_library_is_swapped() {
    let broker = with_library();
    load(
        &broker,
        "nowhere",
        "nothing",
        &format!("{PLUGIN}.guard = on\n"),
    );
    let mut client = broker.client(V, "swap");
    client.sub("changed/#", 1);
    put(&broker, PLUGIN, &renamed("Misbehaves", "Is another"));
    let (_, text) = broker.ctl(&["plugins", "reload", PLUGIN]);
    assert!(text.contains("reloaded successfully."), "{text}");
    client.pub_("change/x", 1, "abc");
    client.expect("changed/x", "cba");
    let (_, list) = broker.ctl(&["plugins", "list"]);
    assert!(
        list.contains("description=Is another, active=true"),
        "{list}"
    );
    // A broken one leaves the old in its place.
    put(&broker, PLUGIN, b"half written");
    let (_, text) = broker.ctl(&["plugins", "reload", PLUGIN]);
    assert!(text.contains("not a plugin of emqttd"), "{text}");
    client.pub_("change/x", 1, "abc");
    client.expect("changed/x", "cba");
}

// What goes over the ABI.

#[test]
fn all_that_a_plugin_may_ask_of_the_broker() {
    let broker = with_library();
    load(&broker, "nowhere", "nothing", "");
    assert_eq!(
        ask(&broker, &["facts"]),
        format!("{PLUGIN} emq@127.0.0.1 true true")
    );
    assert_eq!(ask(&broker, &["key", "do"]), "nothing");
    assert_eq!(ask(&broker, &["key", "unknown"]), "none");

    let mut client = broker.client(V, "ops");
    let id = client.name.clone();
    assert_eq!(ask(&broker, &["subscribe", &id, "op/#"]), "done");
    wait(&broker, "subscription", || {
        broker
            .ctl(&["subscriptions", "show", &id])
            .1
            .contains("op/#")
    });
    assert_eq!(ask(&broker, &["publish", "op/1", "text"]), "done");
    client.expect("op/1", "text");
    assert_eq!(ask(&broker, &["later", "op/2"]), "done");
    client.expect("op/2", "Some(9)");
    assert_eq!(ask(&broker, &["every", "op/3"]), "done");
    client.expect("op/3", "tick");
    client.expect("op/3", "tick");
    assert_eq!(ask(&broker, &["every"]), "done");
    let (code, text) = broker.ctl(&["fixture", "publish", "a/+", "x"]);
    assert!(code == 1 && !text.is_empty(), "{text}");
    assert_eq!(ask(&broker, &["unsubscribe", &id, "op/#"]), "done");
    wait(&broker, "end of the subscription", || {
        !broker
            .ctl(&["subscriptions", "show", &id])
            .1
            .contains("op/#")
    });
    assert_eq!(ask(&broker, &["kick", &id]), "done");
    client.closed();

    assert_eq!(ask(&broker, &["alarm", "smells of smoke"]), "done");
    assert_eq!(ask(&broker, &["alarm"]), "done");
    assert_eq!(ask(&broker, &["forget"]), "done");
    assert_eq!(ask(&broker, &["log", "hello\nthere"]), "done");
    wait(&broker, "log", || {
        broker.log().contains("fixture says hello")
    });

    assert_eq!(ask(&broker, &["put", "k", "v"]), "done");
    assert_eq!(ask(&broker, &["put", "l", ""]), "done");
    assert_eq!(ask(&broker, &["get", "k"]), "v");
    assert_eq!(ask(&broker, &["get", "l"]), "");
    assert_eq!(ask(&broker, &["get", "m"]), "none");
    assert_eq!(ask(&broker, &["rows"]), "k=v l=");
    assert_eq!(ask(&broker, &["delete", "l"]), "done");
    assert_eq!(ask(&broker, &["rows"]), "k=v");

    assert_eq!(ask(&broker, &["count", "3"]), "3");
    wait(&broker, "counter", || {
        let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
        let counter = format!("{PLUGIN}/counter");
        let line = text.lines().find(|line| line.starts_with(&counter));
        line.is_some_and(|line| line.trim_end().ends_with(" 3"))
    });

    assert_eq!(ask(&broker, &["retain"]), "done");
    assert_eq!(ask(&broker, &["retained"]), "0 []");
    let mut client = broker.client(V, "kept");
    client.publish(emqttd_tests::Publish::new("keep/me", "x").qos(1).retained());
    assert_eq!(ask(&broker, &["retained"]), "1 [\"keep/me\"]");
    assert_eq!(ask(&broker, &["retained", "clean"]), "1");
    assert!(ask(&broker, &["figures"]).contains(" loops, "));
    let reloadables = ask(&broker, &["reloadables"]);
    assert!(
        reloadables.split(' ').any(|name| name == "fixture_part"),
        "{reloadables}"
    );
    assert_eq!(ask(&broker, &["reload", "fixture_part"]), "done");
    let (code, text) = broker.ctl(&["fixture", "reload", "nothing"]);
    assert_eq!((code, text.trim_end()), (1, "nofile"));
    let (_, usage) = broker.ctl(&["fixture", "nonsense"]);
    assert!(usage.contains("# uses the broker"), "{usage}");

    // What is kept in tables outlives the plugin.
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    assert_eq!(ask(&broker, &["rows"]), "k=v");
}

#[test]
fn virtual_clients() {
    let broker = with_library();
    load(
        &broker,
        "nowhere",
        "nothing",
        &format!("{PLUGIN}.listen = on\n"),
    );
    let text = ask(&broker, &["device", "dev1", "dev/1"]);
    assert!(text.contains(" 50 "), "{text}");
    let text = ask(&broker, &["device", "dev2"]);
    assert!(text.contains("NoPlace"), "{text}");
    let mut watcher = broker.client(V, "watch");
    watcher.sub("dev/3", 0);
    ask(&broker, &["device", "dev3", "dev/3"]);
    assert_eq!(watcher.recv_message().topic, "dev/3");
    // Whoever has to be known and is not, whatever mqtt.allow_anonymous is.
    let text = ask(&broker, &["stranger", "dev4"]);
    assert!(text.contains("Code(4)"), "{text}");
    let listeners = || broker.ctl(&["listeners"]).1;
    assert!(listeners().contains("fixture:udp"));
    ask(&broker, &["unlisten"]);
    assert!(!listeners().contains("fixture:udp"));
    let (_, text) = broker.ctl(&["fixture", "device", "dev5", "dev/5"]);
    assert!(text.contains("NoPlace"), "{text}");
}

#[test]
fn hooks_change_and_drop_over_the_abi() {
    let broker = with_library();
    load(&broker, "nowhere", "nothing", "");
    let mut client = broker.client(V, "hooks");
    client.sub("changed/#", 1);
    client.sub("drop", 1);
    client.sub("from", 1);
    client.pub_("to", 1, "rewritten");
    client.expect("to", "rewritten");
    client.pub_("drop", 1, "nobody gets it");
    client.pub_("change/1", 1, "");
    client.expect("changed/1", "");
    client.pub_("change/2", 1, "abc");
    client.expect("changed/2", "cba");
    client.unsubscribe(&["from"]);
    client.pub_("to", 1, "not subscribed any more");
    client.pub_("change/3", 1, "last");
    client.expect("changed/3", "tsal");
}

#[test]
fn providers_answer_at_once_or_later() {
    let guard = format!("{PLUGIN}.guard = on\n{PLUGIN}.time = 30ms\n");
    for (at, what) in [("nowhere", "nothing"), ("auth", "late"), ("acl", "late")] {
        let broker = with_library();
        load(&broker, at, what, &guard);
        assert_eq!(code_of_connect(&broker, "root", "secret"), 0, "{what}");
        assert_ne!(code_of_connect(&broker, "root", "other"), 0);
        assert_ne!(code_of_connect(&broker, "unknown", ""), 0);
        assert_eq!(code_of_connect(&broker, "anybody", ""), 0, "ignored");
        let mut client = broker.client(Version::V5, "acl");
        assert_eq!(client.pub_("no/entry", 1, "x"), 0x87);
        client.sub("yes/#", 1);
        client.pub_("yes/1", 1, "x");
        client.expect("yes/1", "x");
        let codes = client.subscribe(&[emqttd_tests::Sub::new("write/#", 0)], &[]);
        assert_eq!(codes, [0x87]);
        // A superuser is not asked about topics.
        let root = Connect::new(Version::V5, &unique("root")).username("root");
        let mut root = broker.open(&root.password("secret"));
        root.sub("write/#", 0);
    }
}

#[test]
fn enhanced_authentication() {
    let broker = with_library();
    load(&broker, "nowhere", "nothing", "");
    let exchange = |first: &str, second: &str| {
        let mut client = broker.raw(Version::V5);
        let props = |data: &str| {
            vec![
                Prop::AuthMethod("FIXTURE".into()),
                Prop::AuthData(data.into()),
            ]
        };
        let mut connect = Connect::new(Version::V5, &unique("auth"));
        for prop in props(first) {
            connect = connect.prop(prop);
        }
        client.send(&connect.encode());
        match client.recv() {
            Packet::Auth { code: 0x18, props } => {
                assert_eq!(props.auth_data().as_deref(), Some(&b"again"[..]));
            }
            other => panic!("{other:?}"),
        }
        let mut body = vec![0x18];
        body.extend(encode_props(&props(second)));
        client.send(&frame(0xf0, &body));
        client
    };
    let (_, code, props) = exchange("me", "me").connack();
    assert_eq!(code, 0);
    assert_eq!(props.auth_data().as_deref(), Some(&b"welcome"[..]));
    assert_eq!(exchange("me", "you").closed(), Some(0x87));
}

#[test]
fn keys_are_changed_while_it_runs() {
    let broker = with_library();
    load(&broker, "nowhere", "nothing", "");
    let set = |value: &str| {
        let key = format!("{PLUGIN}.hot={value}");
        broker.ctl(&["set", &key, &format!("--app={PLUGIN}")]).1
    };
    assert!(set("good").contains("successfully"));
    assert_eq!(ask(&broker, &["key", "hot"]), "good");
    assert!(set("bad").contains("it does not like that"));
    assert_eq!(ask(&broker, &["key", "hot"]), "good");
}

// What the plugin does wrong.

/// Lets everything happen that calls the plugin.
fn everything(broker: &Broker) {
    let mut client: Client = broker.open(&Connect::new(V, &unique("all")).will(Will::new("w", "")));
    client.sub("all/t", 1);
    client.pub_("all/t", 1, "x");
    client.expect("all/t", "x");
    client.pub_("nobody", 1, "x");
    client.unsubscribe(&["all/t"]);
    client.disconnect();
    let _ = broker.ctl(&["fixture", "facts"]);
    let _ = broker.ctl(&["fixture", "reload", "fixture_part"]);
    let key = format!("{PLUGIN}.hot=x");
    let _ = broker.ctl(&["set", &key, &format!("--app={PLUGIN}")]);
}

#[test]
fn a_panic_is_an_error_of_that_call() {
    let broker = with_library();
    for what in ["panic", "throw"] {
        for at in [
            "client_connected",
            "client_disconnected",
            "client_subscribe",
            "client_unsubscribe",
            "session_created",
            "session_subscribed",
            "session_unsubscribed",
            "session_terminated",
            "message_publish",
            "message_delivered",
            "message_acked",
            "message_dropped",
            "command",
            "reload",
            "reconfigure",
            "stop",
            "drop",
            "task",
        ] {
            let before = broker.log().len();
            load(&broker, at, what, "");
            everything(&broker);
            broker.unload(PLUGIN);
            wait(&broker, at, || broker.log()[before..].contains("panicked"));
        }
    }
    // It lives, and the plugin can be used.
    load(&broker, "nowhere", "nothing", "");
    everything(&broker);
    assert!(broker.is_active(PLUGIN));
}

#[test]
fn a_panic_of_a_guard_refuses() {
    let guard = format!("{PLUGIN}.guard = on\n");
    let broker = with_library();
    for what in ["panic", "throw", "late panic"] {
        load(&broker, "auth", what, &guard);
        assert_ne!(code_of_connect(&broker, "root", "secret"), 0, "{what}");
        broker.unload(PLUGIN);
        load(&broker, "acl", what, &guard);
        let mut client = broker.client(Version::V5, "acl");
        assert_eq!(client.pub_("yes/1", 1, "x"), 0x87, "{what}");
        broker.unload(PLUGIN);
    }
    assert_eq!(code_of_connect(&broker, "anybody", ""), 0);
}

/// [MQTT-4.12.0-1]: refused, as by one that fails.
#[test]
fn a_panic_in_an_exchange_refuses() {
    let broker = with_library();
    for at in ["begin", "step"] {
        load(&broker, at, "panic", "");
        let mut client = broker.raw(Version::V5);
        let connect = Connect::new(Version::V5, &unique("panic"))
            .prop(Prop::AuthMethod("FIXTURE".into()))
            .prop(Prop::AuthData(b"me".to_vec()));
        client.send(&connect.encode());
        let code = client.closed();
        assert!(code.is_some_and(|code| code >= 0x80), "{at}: {code:?}");
        broker.unload(PLUGIN);
    }
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let broker = with_library();
    configure(&broker, "start", "fail", "");
    assert!(refusal(&broker, PLUGIN).contains("as told"));
    for what in ["panic", "throw"] {
        configure(&broker, "start", what, "");
        assert!(refusal(&broker, PLUGIN).contains("panicked"), "{what}");
    }
    assert_ne!(broker.ctl(&["fixture", "facts"]).0, 0);
    configure(&broker, "nowhere", "nothing", "");
    broker.load(PLUGIN);
}

#[test]
fn one_that_panics_again_and_again_is_switched_off() {
    let broker = with_library();
    load(&broker, "message_publish", "panic", "");
    let mut client = broker.client(V, "often");
    client.sub("often", 1);
    for _ in 0..5 {
        client.pub_("often", 1, "x");
        client.expect("often", "x");
    }
    wait(&broker, "end of the plugin", || !broker.is_active(PLUGIN));
    assert_ne!(broker.ctl(&["fixture", "facts"]).0, 0);
    client.pub_("often", 1, "y");
    client.expect("often", "y");
}

#[test]
fn a_call_that_blocks_is_reported() {
    let broker = with_library();
    load(
        &broker,
        "message_publish",
        "block",
        &format!("{PLUGIN}.time = 60ms\n"),
    );
    let mut client = broker.client(V, "slow");
    client.pub_("slow", 1, "x");
    wait(&broker, "report", || {
        let log = broker.log();
        log.contains(&format!("plugin {PLUGIN}: message.publish took"))
    });
}

#[test]
fn an_answer_that_never_comes_is_a_refusal() {
    let broker = with_library();
    load(&broker, "auth", "never", &format!("{PLUGIN}.guard = on\n"));
    let begun = Instant::now();
    assert_ne!(code_of_connect(&broker, "root", "secret"), 0);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(9),
        "{took:?}"
    );
}

#[test]
fn unloaded_while_answers_are_awaited() {
    let broker = with_library();
    let guard = format!("{PLUGIN}.guard = on\n{PLUGIN}.time = 300ms\n");
    load(&broker, "auth", "late", &guard);
    let mut waiting: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = broker.raw(V);
            let connect = Connect::new(V, &unique("wait"));
            client.send(&connect.username("root").password("secret").encode());
            client
        })
        .collect();
    broker.unload(PLUGIN);
    for client in &mut waiting {
        // Answered: by the plugin, or as one that is gone.
        client.connack();
    }
    assert_eq!(
        code_of_connect(&broker, "root", "wrong"),
        0,
        "it asks nobody"
    );
}

#[test]
fn a_thread_that_is_left_behind_harms_nobody() {
    let broker = with_library();
    load(&broker, "start", "leave", "");
    everything(&broker);
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    broker.unload(PLUGIN);
    everything(&broker);
    assert_eq!(code_of_connect(&broker, "anybody", ""), 0);
}

#[test]
fn a_stop_that_hangs_is_not_waited_for_for_ever() {
    let broker = with_library();
    load(&broker, "stop", "hang", "");
    let begun = Instant::now();
    let (_, text) = broker.ctl(&["plugins", "unload", PLUGIN]);
    assert!(text.contains("unloaded successfully."), "{text}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    everything(&broker);
}
