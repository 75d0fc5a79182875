#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::testing::{FakeBroker, message};
use std::fs;
use std::path::Path;

const UPPER: &str = "function register_hook() return 'on_message_publish' end
function on_message_publish(c, u, t, p, q, r) return t, p:upper(), q, r end";

/// A broker with the plugin and these files.
fn started(files: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    let dir = dir(&broker);
    fs::create_dir_all(&dir).unwrap();
    for (file, text) in files {
        fs::write(dir.join(file), text).unwrap();
    }
    restart(&broker);
    broker
}

fn restart(broker: &FakeBroker) {
    let dir = dir(broker);
    let config = Config::of(&[("lua.dir", dir.to_str().unwrap()), ("lua.max_time", "10s")]);
    broker.start(&crate::plugin(), config).unwrap();
}

fn dir(broker: &FakeBroker) -> PathBuf {
    broker.data_dir().join("hook_lua")
}

fn luahook(broker: &FakeBroker, words: &[&str]) -> String {
    match broker.command(&[&["luahook"], words].concat()) {
        Some(Reply::Text(text)) => text,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// What becomes of the payload `x`.
fn payload(broker: &FakeBroker) -> String {
    let publish = broker.message_publish(&message("t", b"x")).unwrap();
    String::from_utf8(publish.payload).unwrap()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn texts_of_emq() {
    let broker = started(&[("oracle.lua", UPPER)]);
    for (words, text) in [
        ("reload oracle", "success to reload \"oracle\"\n"),
        ("load nope", "fail to load \"nope\"\n"),
        ("reload nope", "fail to reload \"nope\"\n"),
        ("unload nope", "success to unload \"nope\"\n"),
        ("enable nope", "fail to enable \"nope\" due to enoent\n"),
        ("disable nope", "fail to disable \"nope\" due to enoent\n"),
        ("unload oracle", "success to unload \"oracle\"\n"),
        ("load oracle.lua", "success to load \"oracle\"\n"),
        ("disable oracle", "success to disable \"oracle\"\n"),
        ("load oracle", "fail to load \"oracle\"\n"),
        ("enable oracle", "success to enable \"oracle\"\n"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(luahook(&broker, &words), text);
    }
    let usage = "\
luahook load <Script>                           # load lua script into hook
luahook unload <Script>                         # unload lua script from hook
luahook reload <Script>                         # reload lua script into hook
luahook enable <Script>                         # enable lua script and load it into hook
luahook disable <Script>                        # unload lua script out of hook and disable it
";
    assert_eq!(luahook(&broker, &[]), usage);
    let help = broker.command(&["luahook", "help"]);
    assert_eq!(help, Some(Reply::Usage));
    assert_eq!(broker.usage("luahook").unwrap().len(), 7);
}

#[test]
fn a_script_comes_and_goes() {
    let broker = started(&[("a.lua", UPPER)]);
    assert_eq!(payload(&broker), "X");
    luahook(&broker, &["unload", "a"]);
    assert_eq!(payload(&broker), "x");
    luahook(&broker, &["load", "a"]);
    assert_eq!(payload(&broker), "X");

    // what has been edited counts when it is loaded
    let path = dir(&broker).join("a.lua");
    fs::write(&path, UPPER.replace("p:upper()", "p .. p")).unwrap();
    assert_eq!(payload(&broker), "X");
    luahook(&broker, &["reload", "a"]);
    assert_eq!(payload(&broker), "xx");

    // one that is broken does not take the place of one that works
    fs::write(&path, "function register_hook(").unwrap();
    let answer = luahook(&broker, &["reload", "a"]);
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "fail to reload \"a\"");
    assert!(lines[1].starts_with("a.lua:1:"), "{answer}");
    assert_eq!(lines[2], "a goes on as it was loaded before");
    assert_eq!(payload(&broker), "xx");

    luahook(&broker, &["disable", "a"]);
    assert_eq!(payload(&broker), "x");
    restart(&broker);
    assert_eq!(payload(&broker), "x");
    fs::write(dir(&broker).join("a.lua.x"), UPPER).unwrap();
    luahook(&broker, &["enable", "a"]);
    assert_eq!(payload(&broker), "X");
    restart(&broker);
    assert_eq!(payload(&broker), "X");
}

#[test]
fn a_broken_script_keeps_none_from_being_loaded() {
    let broker = started(&[
        ("a.lua", "this is no lua"),
        ("b.lua", "error('at once')"),
        ("c.lua", UPPER),
        ("d.lua", "while true do end"),
    ]);
    assert_eq!(payload(&broker), "X");
    assert_eq!(
        luahook(&broker, &["list"]),
        format!(
            "{:<32} broken\n{:<32} broken\n{:<32} loaded\n{:<32} broken\n",
            "a", "b", "c", "d"
        )
    );
    let status = luahook(&broker, &["status", "b"]);
    assert!(
        status.starts_with("b\n  state       : broken\n  load error  : b.lua:1: at once\n"),
        "{status}"
    );
    // without the directory there are no scripts, and the plugin runs
    fs::remove_dir_all(dir(&broker)).unwrap();
    restart(&broker);
    assert_eq!(payload(&broker), "x");
    assert!(luahook(&broker, &["list"]).contains("No such file"));
}

#[test]
fn no_file_is_overwritten() {
    let broker = started(&[("a.lua", UPPER), ("a.lua.x", "-- off")]);
    let told = "both a.lua and a.lua.x are there, remove one";
    assert_eq!(
        luahook(&broker, &["enable", "a"]),
        format!("fail to enable \"a\" due to eexist\n{told}\n")
    );
    assert_eq!(payload(&broker), "X");
    assert_eq!(
        luahook(&broker, &["disable", "a"]),
        format!(
            "fail to disable \"a\" due to eexist\n{told}; it is unloaded now, and is loaded again with the plugin\n"
        )
    );
    assert_eq!(payload(&broker), "x");
    assert_eq!(
        fs::read_to_string(dir(&broker).join("a.lua")).unwrap(),
        UPPER
    );
    assert_eq!(
        fs::read_to_string(dir(&broker).join("a.lua.x")).unwrap(),
        "-- off"
    );
    let status = luahook(&broker, &["status", "a"]);
    assert!(status.contains(told), "{status}");

    fs::remove_file(dir(&broker).join("a.lua.x")).unwrap();
    assert_eq!(
        luahook(&broker, &["enable", "a"]),
        "fail to enable \"a\" due to enoent\na.lua is there: it is enabled\n"
    );
}

#[test]
fn names_stay_in_the_directory() {
    let broker = started(&[]);
    let outside = broker.data_dir().join("out.lua");
    fs::write(&outside, UPPER).unwrap();
    for name in ["../out", "..", ".", "", ".lua", "a/b", "x\ny", "a\0b"] {
        for verb in ["load", "reload", "enable", "disable"] {
            let answer = luahook(&broker, &[verb, name]);
            assert!(
                answer.starts_with(&format!("fail to {verb} \"")),
                "{answer}"
            );
            assert_eq!(answer.lines().count(), 2, "{answer}");
        }
        assert!(luahook(&broker, &["unload", name]).starts_with("success to unload \""));
    }
    assert!(exists(&outside));
    assert_eq!(payload(&broker), "x");
}

#[test]
fn status_tells_what_a_script_does() {
    let script = "function register_hook() return 'on_message_publish', 'on_mesage_acked' end
function on_message_publish(c, u, t, p, q, r)
  if p == 'bad' then error('wrong\\27[31m') end
  emq.kv.set('k', p)
  return t, p, q, r
end";
    let broker = started(&[("off.lua.x", UPPER)]);
    fs::write(dir(&broker).join("a.lua"), script).unwrap();
    assert_eq!(
        luahook(&broker, &["load", "a"]),
        "success to load \"a\"\nno such hook: on_mesage_acked\n"
    );
    assert_eq!(payload(&broker), "x");
    broker.message_publish(&message("t", b"bad")).unwrap();

    let status = luahook(&broker, &["status", "a"]);
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap().split_once(": ").unwrap().1
    };
    assert!(status.starts_with("a\n"));
    assert_eq!(field("state"), "loaded");
    assert_eq!(field("hooks"), "on_message_publish");
    assert_eq!(field("no such hook"), "on_mesage_acked");
    assert_eq!(field("calls"), "2");
    assert_eq!(field("errors"), "1");
    assert_eq!(field("cut off"), "0");
    assert!(field("time").ends_with("us a call"));
    assert!(
        field("last error").contains("s ago, a.lua:3: wrong\\u{1b}[31m"),
        "{status}"
    );

    let all = luahook(&broker, &["status"]);
    assert!(
        all.starts_with(&format!("{}\n", status.lines().next().unwrap())),
        "{all}"
    );
    assert!(all.contains("\noff\n  state       : disabled\n"), "{all}");
    assert!(
        all.ends_with(" of 16777216 bytes\n") && all.contains("\nemq.kv: 1 keys, "),
        "{all}"
    );
    assert_eq!(
        luahook(&broker, &["status", "nope"]),
        "no script \"nope\"\n"
    );
}

/// What is shipped does what it says.
#[test]
fn the_example() {
    let example = include_str!("../../hook_lua/example.lua.x");
    let broker = started(&[("example.lua.x", example)]);
    assert_eq!(
        luahook(&broker, &["enable", "example"]),
        "success to enable \"example\"\n"
    );
    let reading = |value: &str| {
        let mut reading = message("example/readings/1", value.as_bytes());
        reading.from = Some(emqttd_plugin_sdk::testing::by_name("c1", None));
        broker
            .message_publish(&reading)
            .map(|publish| publish.payload)
    };
    let json: serde_json::Value = serde_json::from_slice(&reading("21.5").unwrap()).unwrap();
    assert_eq!(json["value"], 21.5);
    assert!(json["at"].as_u64().unwrap() > 1_700_000_000);
    assert!(reading("31.5").is_some());
    assert_eq!(broker.published(), []);
    assert!(reading("42").is_some());
    let alarm = &broker.published()[0];
    assert_eq!(
        (&*alarm.topic, alarm.payload.as_slice()),
        (
            "example/alarms",
            &br#"{"client":"c1","from":31.5,"to":42}"#[..]
        )
    );
    assert_eq!(reading("hot"), None);
    assert_eq!(payload(&broker), "x");
    let status = luahook(&broker, &["status", "example"]);
    assert!(status.contains("errors      : 0"), "{status}");
}
