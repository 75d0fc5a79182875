#![allow(clippy::unwrap_used)]

use std::fs;

use emqttd_plugin_sdk as sdk;

use super::*;
use crate::{load, load_plugin_with};

const RETAINER: &str = "emq_retainer";

/// A configuration with a plugin of EMQ, and the directory of its files.
fn loaded() -> (Config, tempdir::Dir) {
    let dir = tempdir::Dir::new();
    dir.write("emq.conf", "node.name = emq@127.0.0.1\n");
    dir.write(
        "plugins/emq_retainer.conf",
        "retainer.storage_type = ram\nretainer.max_payload_size = 64KB\n",
    );
    let config = load(&dir.0, std::iter::empty()).unwrap().config;
    (config, dir)
}

mod tempdir {
    use super::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub struct Dir(pub PathBuf);

    impl Dir {
        pub fn new() -> Dir {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("emqttd-plugin-set-{}-{number}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(dir.join("plugins")).unwrap();
            Dir(dir)
        }

        pub fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn value(config: &Config, name: &str, key: &str) -> Option<String> {
    let facts = config.plugin_keys(name).unwrap();
    facts.into_iter().find(|fact| fact.key == key)?.value
}

#[test]
fn facts_of_the_table() {
    let (config, _dir) = loaded();
    let facts = config.plugin_keys(RETAINER).unwrap();
    let of = |key: &str| facts.iter().find(|fact| fact.key == key).unwrap();
    let size = of("retainer.max_payload_size");
    assert_eq!(size.value.as_deref(), Some("64KB"));
    assert_eq!(size.datatype, "bytesize");
    assert!(size.required && !size.secret && size.choices.is_empty());
    let kind = of("retainer.storage_type");
    assert_eq!(kind.choices, ["ram", "disc", "disc_only"]);
    assert!(!kind.live);
    assert_eq!(config.plugin_keys("nope"), None);
}

#[test]
fn a_change_says_whether_a_running_plugin_takes_it() {
    let (mut config, dir) = loaded();
    let mut set = |pairs: &[(&str, &str)]| config.set_plugin(RETAINER, pairs).unwrap();
    let same = set(&[("retainer.storage_type", "ram")]);
    assert_eq!((same.any, same.live), (false, true));
    let hot = set(&[("retainer.max_payload_size", "1MB")]);
    assert_eq!((hot.any, hot.live), (true, true));
    let cold = set(&[
        ("retainer.storage_type", "disc"),
        ("retainer.max_payload_size", "2MB"),
    ]);
    assert_eq!((cold.any, cold.live), (true, false));
    // Loaded anew it has them; the file is as it was.
    let given = config.plugin_overrides(RETAINER);
    assert_eq!(given.len(), 2);
    let none = std::iter::empty();
    let keys = load_plugin_with(&dir.0, RETAINER, &[], none, &given).unwrap();
    let entry = |key: &str| keys.entries.iter().find(|e| e.key == key).unwrap();
    assert_eq!(entry("retainer.storage_type").value, "disc");
    assert_eq!(entry("retainer.storage_type").origin, "set");
    assert_eq!(entry("retainer.max_payload_size").value, "2MB");
    config.plugin_loaded(RETAINER, keys);
    let shown = value(&config, RETAINER, "retainer.storage_type");
    assert_eq!(shown.as_deref(), Some("disc"));
    // What was set later by other means is what counts.
    config
        .set(RETAINER, "retainer.max_payload_size", "3MB")
        .unwrap();
    let given = config.plugin_overrides(RETAINER);
    assert!(given.contains(&("retainer.max_payload_size".to_owned(), "3MB".to_owned())));
    // What is no key of it any more is passed by.
    let strange = [("retainer.gone".to_owned(), "1".to_owned())];
    let none = std::iter::empty();
    let keys = load_plugin_with(&dir.0, RETAINER, &[], none, &strange).unwrap();
    let said: Vec<String> = keys.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.contains("retainer.gone")),
        "{said:?}"
    );
}

#[test]
fn wrong_ones_change_nothing_and_old_ones_come_back() {
    let (mut config, _dir) = loaded();
    let pair = ("retainer.max_payload_size", "1MB");
    let bad = config.set_plugin(RETAINER, &[pair, ("retainer.storage_type", "tape")]);
    assert!(matches!(bad, Err(SetError::BadValue { .. })), "{bad:?}");
    let unknown = config.set_plugin(RETAINER, &[pair, ("mqtt.acl_nomatch", "deny")]);
    let key = "mqtt.acl_nomatch".to_owned();
    assert_eq!(unknown, Err(SetError::InvalidKey(key)));
    assert_eq!(value(&config, RETAINER, pair.0).as_deref(), Some("64KB"));
    assert_eq!(config.plugin_overrides(RETAINER), []);
    let before = config.clone();
    config.set_plugin(RETAINER, &[pair]).unwrap();
    config.restore_plugin(RETAINER, &before);
    assert_eq!(value(&config, RETAINER, pair.0).as_deref(), Some("64KB"));
    assert_eq!(config.plugin_overrides(RETAINER), []);
}

#[test]
fn a_stranger_knows_its_own_keys() {
    let keys = [
        sdk::Key::new(
            "mine.mode",
            sdk::KeyKind::OneOf(vec!["a".into(), "b".into()]),
            "how",
        )
        .default("a")
        .hot(),
        sdk::Key::new("mine.secret", sdk::KeyKind::Secret, "who knows"),
        sdk::Key::new("mine.rule.$id", sdk::KeyKind::Text, "a rule"),
    ];
    let dir = tempdir::Dir::new();
    dir.write("emq.conf", "");
    let none = std::iter::empty();
    let read = load_plugin_with(&dir.0, "mine", &keys, none, &[]).unwrap();
    let mut config = Config::default();
    assert_eq!(config.plugin_keys("mine"), None);
    config.plugin_loaded("mine", read);
    let facts = config.plugin_keys("mine").unwrap();
    assert_eq!(facts.len(), 2);
    assert_eq!(facts[0].choices, ["a", "b"]);
    assert!(facts[0].live && facts[0].required);
    assert!(facts[1].secret && facts[1].value.is_none());
    let hot = config.set_plugin("mine", &[("mine.mode", "b")]).unwrap();
    assert!(hot.any && hot.live);
    let cold = config
        .set_plugin("mine", &[("mine.rule.1", "x"), ("mine.secret", "s")])
        .unwrap();
    assert!(cold.any && !cold.live);
    assert_eq!(value(&config, "mine", "mine.rule.1").as_deref(), Some("x"));
    let unknown = config.set_plugin("mine", &[("mine.other", "x")]);
    assert!(matches!(unknown, Err(SetError::InvalidKey(_))));
    for n in 2..2 * MOST_GIVEN {
        let rule = format!("mine.rule.{n}");
        if config.set_plugin("mine", &[(&rule, "x")]).is_err() {
            break;
        }
    }
    assert_eq!(config.plugin_overrides("mine").len(), MOST_GIVEN);
    let given = config.plugin_overrides("mine");
    let none = std::iter::empty();
    let again = load_plugin_with(&dir.0, "mine", &keys, none, &given).unwrap();
    let set = |key: &str| {
        again
            .entries
            .iter()
            .any(|e| e.key == key && e.origin == "set")
    };
    assert!(set("mine.mode") && set("mine.rule.1") && set("mine.secret"));
}
