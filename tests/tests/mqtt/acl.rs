//! What a client may do, and how it is told.

use std::sync::OnceLock;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{
    ALL, Broker, Config, Connect, Packet, Prop, Publish, Sub, V3, Version, Will, unique,
};

const RULES: &str = r##"
% test rules
{allow, {user, "root"}, pubsub, ["guarded/#"]}.
{allow, all, pubsub, ["own/%c/#", "usr/%u/#"]}.
{deny, all, pubsub, ["own/#", "usr/#", "guarded/#"]}.
{deny, all, publish, ["readonly/#"]}.
{deny, all, subscribe, ["writeonly/#", {eq, "#"}]}.
{deny, {ipaddr, "10.0.0.0/8"}, pubsub, ["#"]}.
{allow, all}.
"##;

fn ruled() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().acl(RULES)))
}

/// EMQ drops it without a word. 3.1.1 says to acknowledge or to close ([MQTT311-3.3.5-2]); that is
/// `mqtt.acl_deny_action`.
#[test]
fn emq_denied_publish_is_dropped_without_an_answer() {
    for v in V3 {
        let topic = format!("readonly/{}", unique("x"));
        let mut client = ruled().client(v, "denied");
        client.sub(&topic, 1);
        for qos in 0..=2 {
            client.send_publish(Publish::new(&topic, "x").qos(qos));
            client.quiet();
        }
        // A PUBREL for what was dropped is answered.
        client.send_ack(AckKind::Pubrel, 3);
        client.ack(AckKind::Pubcomp, 3);
        client.quiet();
    }
}

#[test]
fn mqtt5_3_3_4_1_denied_publish_is_answered_with_not_authorized() {
    let topic = format!("readonly/{}", unique("x"));
    let mut client = ruled().client(Version::V5, "denied");
    client.sub(&topic, 1);
    for qos in 0..=2 {
        let code = client.pub_(&topic, qos, "x");
        assert_eq!(code, if qos == 0 { 0 } else { 0x87 }, "QoS {qos}");
    }
    client.quiet();
}

#[test]
fn mqtt311_3_3_5_2_deny_action_disconnect() {
    let broker = Broker::start(
        Config::new()
            .acl(RULES)
            .set("mqtt.acl_deny_action", "disconnect"),
    );
    for v in ALL {
        let mut client = broker.client(v, "denied");
        client.send_publish(Publish::new("readonly/x", "x").qos(1));
        client.expect_closed(&[0x87]);
    }
}

/// One denied filter refuses the whole SUBSCRIBE of a 3.x client.
#[test]
fn emq_one_denied_filter_refuses_all() {
    for v in V3 {
        let topic = unique("fine");
        let mut client = ruled().client(v, "sub");
        let subs = [
            Sub::new(&topic, 1),
            Sub::new("writeonly/x", 1),
            Sub::new("own/other/x", 0),
        ];
        assert_eq!(client.subscribe(&subs, &[]), [0x80, 0x80, 0x80], "{v}");
        let mut publisher = ruled().client(v, "pub");
        publisher.pub_(&topic, 1, "x");
        client.nothing_from(&mut publisher);
    }
}

/// MQTT 5: each filter has its own answer.
#[test]
fn mqtt5_3_8_4_5_each_filter_is_decided_by_itself() {
    let topic = unique("fine");
    let mut client = ruled().client(Version::V5, "sub");
    let subs = [
        Sub::new(&topic, 1),
        Sub::new("writeonly/x", 1),
        Sub::new("#", 0),
        Sub::new("a/#", 2),
    ];
    assert_eq!(client.subscribe(&subs, &[]), [1, 0x87, 0x87, 2]);
    ruled().client(Version::V5, "pub").pub_(&topic, 1, "x");
    client.expect(&topic, "x");
}

/// [MQTT-3.1.2-29]: without problem information no text but on CONNACK, DISCONNECT and PUBLISH.
#[test]
fn mqtt5_3_1_2_29_no_reason_strings_unless_wanted() {
    let mut client = ruled()
        .open(&Connect::new(Version::V5, &unique("quiet")).prop(Prop::RequestProblemInfo(0)));
    let id = client.new_id();
    let bytes = client.subscribe_bytes(id, &[Sub::new("writeonly/x", 0)], &[]);
    client.send(&bytes);
    let (codes, props) = client.suback(id);
    assert_eq!((codes, props.0.len()), (vec![0x87], 0));
    let id = client.send_publish(Publish::new("readonly/x", "x").qos(1));
    let (code, props) = client.ack(AckKind::Puback, id);
    assert_eq!((code, props.0.len()), (0x87, 0));
    client.send_ack(AckKind::Pubrel, 9999);
    assert_eq!(client.ack(AckKind::Pubcomp, 9999).1.0.len(), 0);
}

#[test]
fn emq_acl_variables() {
    for v in ALL {
        let id = unique("vars");
        let mut client = ruled().open(&Connect::new(v, &id).username("joe"));
        for (filter, allowed) in [
            (format!("own/{id}/x"), true),
            (format!("own/{id}/#"), true),
            ("own/other/x".into(), false),
            ("own/+/x".into(), false),
            ("own/%c/x".into(), false),
            ("usr/joe/x".into(), true),
            ("usr/jim/x".into(), false),
        ] {
            let code = client.subscribe(&[Sub::new(&filter, 0)], &[])[0];
            assert_eq!(code < 0x80, allowed, "{v} {filter}: {code:02x}");
        }
        // Without a user name no rule with %u speaks of anybody.
        let mut nameless = ruled().client(v, "nameless");
        for filter in ["usr/undefined/x", "usr//x", "usr/%u/x"] {
            assert!(
                nameless.subscribe(&[Sub::new(filter, 0)], &[])[0] >= 0x80,
                "{v} {filter}"
            );
        }
    }
}

/// A client id or user name with wildcards must not open filters (CVE-2017-7650).
#[test]
fn emq_wildcards_in_names_do_not_widen_rules() {
    for v in ALL {
        for name in ["#", "+"] {
            let mut by_id = ruled().open(&Connect::new(v, name));
            assert!(
                by_id.subscribe(&[Sub::new("own/other/x", 0)], &[])[0] >= 0x80,
                "{v} id {name}"
            );
            by_id.disconnect();
            let mut by_name = ruled().open(&Connect::new(v, &unique("wild")).username(name));
            assert!(
                by_name.subscribe(&[Sub::new("usr/other/x", 0)], &[])[0] >= 0x80,
                "{v} user {name}"
            );
        }
    }
}

#[test]
fn emq_rules_for_a_user() {
    for v in ALL {
        let topic = format!("guarded/{}", unique("x"));
        let mut root = ruled().open(&Connect::new(v, &unique("root")).username("root"));
        let mut joe = ruled().open(&Connect::new(v, &unique("joe")).username("joe"));
        root.sub(&topic, 1);
        assert!(joe.subscribe(&[Sub::new(&topic, 1)], &[])[0] >= 0x80);
        joe.send_publish(Publish::new(&topic, "from joe").qos(0));
        joe.ping();
        root.pub_(&topic, 1, "from root");
        root.expect(&topic, "from root");
        root.nothing_from(&mut joe);
    }
}

/// A prefix is no way around a rule.
#[test]
fn emq_prefixes_are_stripped_before_the_check() {
    for v in ALL {
        let mut client = ruled().client(v, "prefix");
        for filter in [
            "$share/g/writeonly/x",
            "$queue/writeonly/x",
            "$local/writeonly/x",
        ] {
            assert!(
                client.subscribe(&[Sub::new(filter, 0)], &[])[0] >= 0x80,
                "{v} {filter}"
            );
        }
    }
}

#[test]
fn emq_denied_will_is_not_published() {
    for v in ALL {
        let topic = format!("readonly/{}", unique("will"));
        let id = unique("will");
        let mut watcher = ruled().client(v, "watch");
        watcher.sub(&topic, 1);
        ruled()
            .open(&Connect::new(v, &id).will(Will::new(&topic, "gone")))
            .drop_connection();
        let mut again = ruled().open(&Connect::new(v, &id));
        watcher.nothing_from(&mut again);
    }
}

#[test]
fn emq_denied_retained_message_is_not_stored() {
    for v in ALL {
        let topic = format!("readonly/{}", unique("retained"));
        let mut publisher = ruled().client(v, "pub");
        publisher.send_publish(Publish::new(&topic, "x").retained());
        let mut client = ruled().client(v, "sub");
        client.sub(&topic, 1);
        client.nothing_from(&mut publisher);
    }
}

/// MQTT 5 aliases: the topic behind the alias is what is checked.
#[test]
fn mqtt5_3_3_2_12_alias_is_no_way_around_a_rule() {
    let topic = format!("readonly/{}", unique("alias"));
    let mut client = ruled().client(Version::V5, "alias");
    client.sub(&topic, 1);
    for name in [topic.as_str(), ""] {
        let code = client.publish(Publish::new(name, "x").qos(1).prop(Prop::TopicAlias(1)));
        assert_eq!(code, 0x87, "{name:?}");
    }
    client.quiet();
}

/// After `acl reload` the new rules hold for connected clients, their cached answers and their
/// subscriptions; a broken file changes nothing.
#[test]
fn emq_acl_reload_reaches_connected_clients() {
    let broker = Broker::start(Config::new().acl("{allow, all}.\n"));
    let file = broker.root.join("etc/acl.conf");
    for v in ALL {
        std::fs::write(&file, "{allow, all}.\n").unwrap();
        assert_eq!(broker.ctl(&["acl", "reload"]).0, 0);
        let topic = unique("reload");
        let mut subscriber = broker.client(v, "sub");
        subscriber.sub(&topic, 1);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 1, "allowed");
        subscriber.expect(&topic, "allowed");

        std::fs::write(&file, "{allow, all, publish, [\"#\"}.\n").unwrap();
        broker.ctl(&["acl", "reload"]);
        publisher.pub_(&topic, 1, "still allowed");
        subscriber.expect(&topic, "still allowed");

        // The subscription that is no longer allowed stops delivering.
        std::fs::write(
            &file,
            format!("{{deny, all, subscribe, [\"{topic}\"]}}.\n{{allow, all}}.\n"),
        )
        .unwrap();
        let (code, text) = broker.ctl(&["acl", "reload"]);
        assert_eq!(
            (code, text.as_str()),
            (0, "reload acl_internal successfully\n")
        );
        publisher.pub_(&topic, 1, "not for you");
        subscriber.nothing_from(&mut publisher);

        // And the publisher's cached yes is forgotten.
        let other = unique("cached");
        subscriber.sub(&other, 1);
        publisher.pub_(&other, 1, "yes");
        subscriber.expect(&other, "yes");
        std::fs::write(
            &file,
            format!("{{deny, all, publish, [\"{other}\"]}}.\n{{allow, all}}.\n"),
        )
        .unwrap();
        assert_eq!(broker.ctl(&["acl", "reload"]).0, 0);
        publisher.send_publish(Publish::new(&other, "no").qos(1));
        if v.is_v5() {
            assert!(matches!(publisher.recv(), Packet::Ack { code: 0x87, .. }));
        }
        subscriber.nothing_from(&mut publisher);
    }
}

/// What waits for an offline session is checked when it is delivered.
#[test]
fn emq_stored_subscription_is_checked_after_a_reload() {
    let broker = Broker::start(Config::new().acl("{allow, all}.\n"));
    let file = broker.root.join("etc/acl.conf");
    for v in ALL {
        std::fs::write(&file, "{allow, all}.\n").unwrap();
        broker.ctl(&["acl", "reload"]);
        let topic = unique("stored");
        let connect = Connect::persistent(v, &unique("stored"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 1);
        client.disconnect();
        std::fs::write(
            &file,
            format!("{{deny, all, subscribe, [\"{topic}\"]}}.\n{{allow, all}}.\n"),
        )
        .unwrap();
        broker.ctl(&["acl", "reload"]);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 1, "x");
        broker.open(&connect).nothing_from(&mut publisher);
    }
}

/// An unreadable file refuses the start, rather than opening everything.
#[test]
fn emq_unreadable_acl_file_refuses_to_start() {
    let broken = Config::new().acl("{allow, all\n");
    let missing = Config::new().set("mqtt.acl_file", "etc/no-such-file.conf");
    for config in [broken, missing] {
        let Err(log) = Broker::try_start(&config) else {
            panic!("the broker started")
        };
        assert!(log.contains("acl") || log.contains("no-such-file"), "{log}");
    }
}

#[test]
fn emq_acl_nomatch_decides_what_no_rule_does() {
    let broker = Broker::start(
        Config::new()
            .acl("{allow, all, pubsub, [\"open/#\"]}.\n")
            .set("mqtt.acl_nomatch", "deny"),
    );
    for v in ALL {
        let mut client = broker.client(v, "nomatch");
        assert!(
            client.subscribe(&[Sub::new("closed/x", 0)], &[])[0] >= 0x80,
            "{v}"
        );
        client.sub("open/x", 0);
    }
}

/// `mqtt.allow_anonymous = local` lets loopback in.
#[test]
fn emq_allow_anonymous_local() {
    let broker = Broker::start(Config::new().set("mqtt.allow_anonymous", "local"));
    for v in ALL {
        broker.client(v, "local").quiet();
    }
}

/// Absent means refuse.
#[test]
fn emq_allow_anonymous_absent_refuses() {
    let broker = Broker::start(Config::new().without("mqtt.allow_anonymous"));
    for v in ALL {
        let mut client = broker.raw(v);
        client.send(&Connect::new(v, &unique("absent")).encode());
        let code = client.closed();
        assert!(
            [Some(4), Some(0x86), Some(0x87)].contains(&code),
            "{v}: {code:02x?}"
        );
    }
}
