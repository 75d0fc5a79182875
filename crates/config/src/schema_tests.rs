#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::*;
use crate::reader::{Platform, decode, read, read_file};

fn etc() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../etc")
}

/// Keys of the shipped files with their values, active and commented.
fn shipped() -> (HashMap<String, String>, HashMap<String, String>) {
    let mut paths = vec![etc().join("emq.conf")];
    for entry in std::fs::read_dir(etc().join("plugins")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "conf") {
            paths.push(path);
        }
    }
    let (mut active, mut commented) = (HashMap::new(), HashMap::new());
    for path in paths {
        let bytes = read_file(&path).unwrap();
        let text = decode(&bytes);
        for line in text.lines() {
            let (into, line) = match line.strip_prefix("## ") {
                Some(line) => (&mut commented, line),
                None => (&mut active, line),
            };
            let (lines, _) = read(line, &Platform::default());
            for line in lines.into_iter().filter(|line| find(&line.key).is_some()) {
                into.insert(line.key, line.value);
            }
        }
    }
    (active, commented)
}

#[test]
fn each_key_stands_once() {
    let mut seen = HashSet::new();
    for key in keys() {
        assert!(seen.insert(key.pattern), "{} twice", key.pattern);
    }
}

#[test]
fn defaults_and_shipped_values_pass_their_own_type() {
    for key in keys() {
        let shipped = match key.shipped {
            Shipped::Absent => Vec::new(),
            Shipped::Value(value) | Shipped::Commented(value) => vec![value],
            Shipped::Each(values) => {
                for (concrete, _) in values {
                    assert_eq!(find(concrete).unwrap().pattern, key.pattern);
                }
                values.iter().map(|&(_, value)| value).collect()
            }
        };
        for value in shipped.into_iter().chain(key.default) {
            let checked = key.kind.check(value);
            assert!(checked.is_ok(), "{} = {value}: {checked:?}", key.pattern);
        }
    }
}

#[test]
fn the_shipped_files_say_what_the_table_says() {
    let (active, commented) = shipped();
    for key in keys() {
        match key.shipped {
            Shipped::Value(value) => {
                let concrete = key.pattern.replace("$id", "1");
                assert_eq!(
                    active.get(&concrete).map(String::as_str),
                    Some(value),
                    "{concrete}"
                );
            }
            Shipped::Commented(value) if key.is_concrete() => {
                assert_eq!(
                    commented.get(key.pattern).map(String::as_str),
                    Some(value),
                    "{}",
                    key.pattern
                );
                assert!(!active.contains_key(key.pattern), "{}", key.pattern);
            }
            Shipped::Commented(_) => {
                let row = commented
                    .keys()
                    .find(|name| find(name).unwrap().pattern == key.pattern);
                assert!(row.is_some(), "{}", key.pattern);
            }
            Shipped::Each(values) => {
                for (concrete, value) in values {
                    assert_eq!(
                        active.get(*concrete).map(String::as_str),
                        Some(*value),
                        "{concrete}"
                    );
                }
            }
            Shipped::Absent => {}
        }
    }
    for (name, value) in &active {
        let row = find(name).unwrap();
        let known = match row.shipped {
            Shipped::Value(shipped) => shipped == value,
            Shipped::Each(values) => values
                .iter()
                .any(|(key, shipped)| key == name && shipped == value),
            Shipped::Absent | Shipped::Commented(_) => false,
        };
        assert!(known, "{name} = {value} stands in a file, not in the table");
    }
}

#[test]
fn free_words_match_any_word() {
    let pattern = |key| find(key).map(|row| row.pattern);
    assert_eq!(
        pattern("listener.tcp.external"),
        Some("listener.tcp|ssl|ws|wss|api.$name")
    );
    assert_eq!(
        pattern("listener.wss.a-b@c.access.17"),
        Some("listener.tcp|ssl|ws|wss|api.$name.access.$id")
    );
    assert_eq!(pattern("listener.tcp.external.keyfile"), None);
    assert_eq!(pattern("listener.udp.external"), None);
    assert_eq!(pattern("listener.tcp"), None);
    assert_eq!(
        pattern("mqtt.allow_anonymous"),
        Some("mqtt.allow_anonymous")
    );
    assert_eq!(
        pattern("auth.mongo.topology.pool_size"),
        Some("auth.mongo.topology.pool_size")
    );
    assert_eq!(
        pattern("auth.mongo.topology.other"),
        Some("auth.mongo.topology.$name")
    );
    assert_eq!(pattern(""), None);
}

#[test]
fn a_backslash_keeps_a_dot_in_its_word() {
    assert_eq!(words(r"a.b\.c.d"), ["a", r"b\.c", "d"]);
    assert_eq!(words(""), [""]);
    assert!(find(r"auth.user.a\.b.password").is_some());
}

#[test]
fn the_nearest_keys_come_first() {
    assert_eq!(nearest("mqtt.alow_anonymous")[0], "mqtt.allow_anonymous");
    assert_eq!(
        nearest("listener.tcp.mine.acceptor")[0],
        "listener.tcp.mine.acceptors"
    );
    assert_eq!(
        nearest("mqtt.session.max_inflights")[0],
        "mqtt.session.max_inflight"
    );
    assert!(nearest("mqtt.session.max_inflights").len() <= 3);
    assert_eq!(nearest("zzzzzzzzzzzzzzzzzzzzzzzzzz"), Vec::<String>::new());
}

#[test]
fn the_29_keys_of_the_core_and_those_of_the_retainer_are_settable() {
    let settable = |app| {
        keys()
            .filter(|key| key.app == app && key.reload != Reload::NotSettable)
            .count()
    };
    assert_eq!(settable(CORE), 29);
    assert_eq!(settable("emq_retainer"), 3);
    assert_eq!(settable("emq_auth_http"), 9);
}
