#![allow(clippy::unwrap_used)]

use super::plugin;
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Reply, RetainSettings, RetainStorage};
use std::time::Duration;

fn kept(pairs: &[(&str, &str)]) -> RetainSettings {
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(pairs)).unwrap();
    broker.retain_settings().unwrap()
}

#[test]
fn keys_become_settings() {
    let defaults = RetainSettings {
        storage: RetainStorage::Ram,
        max_message_num: 1_000_000,
        max_payload_size: 65_536,
        expiry_interval: Duration::ZERO,
    };
    assert_eq!(kept(&[]), defaults);
    let settings = kept(&[
        ("retainer.storage_type", "disc_only"),
        ("retainer.max_message_num", "0"),
        ("retainer.max_payload_size", "1MB"),
        ("retainer.expiry_interval", "1h30m"),
    ]);
    let wanted = RetainSettings {
        storage: RetainStorage::DiscOnly,
        max_message_num: 0,
        max_payload_size: 1 << 20,
        expiry_interval: Duration::from_secs(5400),
    };
    assert_eq!(settings, wanted);
    let disc = kept(&[("retainer.storage_type", "disc")]);
    assert_eq!(disc.storage, RetainStorage::Disc);
    // A number alone is milliseconds, and bytes.
    let bare = kept(&[
        ("retainer.expiry_interval", "1500"),
        ("retainer.max_payload_size", "10"),
    ]);
    assert_eq!(bare.expiry_interval, Duration::from_millis(1500));
    assert_eq!(bare.max_payload_size, 10);
}

#[test]
fn a_value_that_cannot_be_used_is_named() {
    for (key, value) in [
        ("retainer.storage_type", "disk"),
        ("retainer.max_message_num", "many"),
        ("retainer.max_message_num", "-1"),
        ("retainer.max_payload_size", "100Q"),
        ("retainer.expiry_interval", "soon"),
    ] {
        let broker = FakeBroker::new();
        let error = broker.start(&plugin(), Config::of(&[(key, value)]));
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("test: {key} = {value}: ")),
            "{error}"
        );
        assert_eq!(broker.retain_settings(), None);
    }
}

#[test]
fn hot_keys_change_and_a_bad_value_changes_nothing() {
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(&[])).unwrap();
    broker.set("retainer.max_message_num", "5").unwrap();
    assert_eq!(broker.retain_settings().unwrap().max_message_num, 5);
    assert!(broker.set("retainer.expiry_interval", "soon").is_err());
    let settings = broker.retain_settings().unwrap();
    assert_eq!(
        (settings.max_message_num, settings.expiry_interval),
        (5, Duration::ZERO)
    );
}

#[test]
fn the_verb_answers_with_the_texts_of_emq() {
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(&[])).unwrap();
    let text = |text: &str| Reply::Text(text.into());
    let ask = |args: &[&str]| broker.command(&[&["retainer"], args].concat()).unwrap();
    assert_eq!(ask(&["info"]), text("retained/total: 0\n"));
    assert_eq!(ask(&["topics"]), text(""));
    broker.set_retained(&["a/b", "$SYS/brokers"]);
    assert_eq!(ask(&["info"]), text("retained/total: 2\n"));
    assert_eq!(ask(&["topics"]), text("a/b\n$SYS/brokers\n"));
    assert_eq!(ask(&["clean"]), text("Cleaned 2 retained messages\n"));
    assert_eq!(ask(&["info"]), text("retained/total: 0\n"));
    for args in [&[][..], &["list"], &["info", "x"]] {
        assert_eq!(ask(args), Reply::Usage, "{args:?}");
    }
}
