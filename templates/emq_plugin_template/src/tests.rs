//! Tests without a broker.

use crate::plugin;
use emqttd_plugin_sdk::testing::{FakeBroker, by_name, client, entry, message};
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer, Config, QoS, Reply};

/// A key with the name of the plugin before it.
fn key(name: &str) -> String {
    format!("{}.{name}", env!("CARGO_PKG_NAME"))
}

fn started(keys: &[(&str, &str)]) -> FakeBroker {
    let keys: Vec<_> = keys.iter().map(|(k, v)| (key(k), *v)).collect();
    let pairs: Vec<_> = keys.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(&pairs)).unwrap();
    broker
}

#[test]
fn everybody_is_admitted() {
    for delay in ["0s", "20ms"] {
        let broker = started(&[("delay", delay)]);
        let c = client("c");
        let admitted = AuthAnswer::Allow { superuser: false };
        assert_eq!(broker.auth(&c, None), admitted);
        assert_eq!(broker.auth(&c, Some(b"pw")), admitted);
        assert_eq!(broker.acl(&c, Access::Publish, "t"), AclAnswer::Allow);
        assert_eq!(broker.acl(&c, Access::Subscribe, "#"), AclAnswer::Allow);
    }
}

#[test]
fn or_left_to_others() {
    let broker = started(&[("admit", "off")]);
    assert_eq!(broker.auth(&client("c"), None), AuthAnswer::Ignore);
    let acl = broker.acl(&client("c"), Access::Publish, "t");
    assert_eq!(acl, AclAnswer::Ignore);
}

#[test]
fn the_command() {
    let broker = started(&[]);
    let ok = Some(Reply::Text("ok\n".into()));
    assert_eq!(broker.command(&["cmd", "arg1", "arg2"]), ok);
    assert_eq!(broker.command(&["cmd"]), Some(Reply::Usage));
    broker.stop();
    assert_eq!(broker.command(&["cmd"]), None);
}

#[test]
fn hooks_change_nothing() {
    let broker = started(&[]);
    let c = by_name("c", None);
    let table = vec![entry("t", QoS::AtLeastOnce)];
    let after = broker.client_subscribe(c, table.clone());
    assert_eq!(after, Some(table));
    let passed = broker.message_publish(&message("t", b"payload")).unwrap();
    assert_eq!(passed.payload, b"payload");
    broker
        .message_publish(&message("$SYS/uptime", b"1"))
        .unwrap();
    assert_eq!(broker.metric("messages"), Some(1), "$SYS is not counted");
}

#[test]
fn keys_can_be_changed() {
    let broker = started(&[]);
    assert_eq!(broker.set(&key("say"), "off"), Ok(()));
    assert!(broker.set(&key("say"), "perhaps").is_err());
}
