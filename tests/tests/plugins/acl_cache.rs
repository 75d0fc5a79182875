//! What the broker remembers of a plugin that answers for the ACL, and how it is made to ask again. The plugin is
//! `tests/plugin-fixture`, whose answers change without a word, as those of a database do.

use std::fs;
use std::time::{Duration, Instant};

use emqttd_tests::{ALL, Broker, Client, Config, Connect, Publish, Sub, Version, unique};

use crate::stranger::fixture;

const PLUGIN: &str = "emq_plugin_fixture";

fn start(config: Config) -> Broker {
    let broker = Broker::start(config.plugin_conf(PLUGIN, "").loaded(&[]));
    let dir = broker.root.join("plugins");
    fs::create_dir_all(&dir).unwrap();
    fs::copy(fixture(), dir.join(format!("{PLUGIN}.so"))).unwrap();
    broker.write_plugin_conf(PLUGIN, &format!("{PLUGIN}.guard = on\n"));
    broker.load(PLUGIN);
    broker
}

#[track_caller]
fn deny(broker: &Broker, access: &str, topic: &str) {
    let answer = broker.ctl(&["fixture", "deny", access, topic]);
    assert_eq!(answer, (0, "done\n".into()));
}

#[track_caller]
fn clean(broker: &Broker, words: &[&str]) {
    let answer = broker.ctl(&[&["acl", "cache", "clean"], words].concat());
    assert_eq!(answer, (0, "ok\n".into()), "{words:?}");
}

/// Whether what is published comes back to the one who watches the topic.
fn arrives(publisher: &mut Client, watcher: &mut Client, topic: &str) -> bool {
    let payload = unique("payload");
    publisher.send_publish(Publish::new(topic, &payload).qos(0));
    publisher.ping();
    // Whatever has been published on this topic is before that.
    let mark = unique("mark");
    publisher.pub_("mark", 0, &mark);
    let mut found = false;
    loop {
        let publish = watcher.recv_publish();
        if publish.payload == mark {
            return found;
        }
        found |= publish.payload == payload;
    }
}

#[track_caller]
fn wait(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::yield_now();
    }
}

fn is_subscribed(broker: &Broker, clientid: &str, topic: &str) -> bool {
    broker
        .ctl(&["subscriptions", "show", clientid])
        .1
        .contains(topic)
}

#[test]
fn a_publisher_is_asked_about_again_after_a_clean() {
    let broker = start(Config::new());
    for v in ALL {
        for about in ["", "client", "topic"] {
            let (id, topic) = (unique("publisher"), unique("topic"));
            let mut publisher = broker.open(&Connect::new(v, &id));
            let mut watcher = broker.client(v, "watcher");
            watcher.sub(&topic, 0);
            watcher.sub("mark", 0);
            assert!(arrives(&mut publisher, &mut watcher, &topic));
            deny(&broker, "publish", &topic);
            assert!(arrives(&mut publisher, &mut watcher, &topic), "remembered");
            // Of others nothing is forgotten.
            let other = unique("other");
            let _other = broker.open(&Connect::new(v, &other));
            clean(&broker, &["client", &other]);
            clean(&broker, &["topic", "something/else"]);
            assert!(arrives(&mut publisher, &mut watcher, &topic), "remembered");
            match about {
                "client" => clean(&broker, &["client", &id]),
                "topic" => clean(&broker, &["topic", &topic]),
                _ => clean(&broker, &[]),
            }
            assert!(
                !arrives(&mut publisher, &mut watcher, &topic),
                "{v} clean {about}"
            );
            assert!(arrives(&mut publisher, &mut watcher, "mark"));
        }
    }
}

#[test]
fn a_subscription_that_is_no_longer_allowed_ends_with_a_clean() {
    let broker = start(Config::new());
    for v in ALL {
        for about in ["", "client", "topic", "filter"] {
            let (id, root) = (unique("subscriber"), unique("root"));
            let topic = format!("{root}/a");
            let mut subscriber = broker.open(&Connect::persistent(v, &id));
            subscriber.sub(&topic, 1);
            subscriber.sub(&format!("{root}/b"), 1);
            let other = unique("other");
            let mut elsewhere = broker.open(&Connect::new(v, &other));
            elsewhere.sub("elsewhere", 1);
            deny(&broker, "subscribe", &topic);
            assert!(is_subscribed(&broker, &id, &topic));
            match about {
                "client" => clean(&broker, &["client", &id]),
                "topic" => clean(&broker, &["topic", &topic]),
                "filter" => clean(&broker, &["topic", &format!("{root}/#")]),
                _ => clean(&broker, &[]),
            }
            wait("end of the subscription", || {
                !is_subscribed(&broker, &id, &topic)
            });
            assert!(is_subscribed(&broker, &id, &format!("{root}/b")));
            assert!(is_subscribed(&broker, &other, "elsewhere"));
            let code = subscriber.subscribe(&[Sub::new(&topic, 1)], &[])[0];
            assert!(code >= 0x80, "{v} {about}");
        }
    }
}

#[test]
fn a_session_whose_client_is_away_is_looked_at_when_it_returns() {
    let broker = start(Config::new());
    for v in ALL {
        let (id, topic) = (unique("away"), unique("topic"));
        let connect = Connect::persistent(v, &id);
        let mut client = broker.open(&connect);
        client.sub(&topic, 1);
        client.disconnect();
        deny(&broker, "subscribe", &topic);
        clean(&broker, &["client", &id]);
        let mut publisher = broker.client(v, "publisher");
        publisher.pub_(&topic, 1, "x");
        broker.open(&connect).nothing_from(&mut publisher);
        assert!(!is_subscribed(&broker, &id, &topic));
    }
}

#[test]
fn a_decision_is_asked_for_again_when_its_time_is_over() {
    let broker = start(Config::new().set("mqtt.acl_cache_ttl", "200ms"));
    let topic = unique("topic");
    let mut client = broker.client(Version::V5, "publisher");
    assert!(client.pub_(&topic, 1, "x") < 0x80);
    deny(&broker, "publish", &topic);
    wait("refusal", || client.pub_(&topic, 1, "x") == 0x87);
    assert!(client.pub_(&unique("other"), 1, "x") < 0x80);
}

#[test]
fn what_is_asked_for_wrongly() {
    let broker = start(Config::new());
    for (words, text) in [
        (&["client", "nobody"][..], "Not Found.\n"),
        (&["topic", "a/#/b"], "Error: not a topic filter\n"),
        (&["topic", ""], "Error: not a topic filter\n"),
    ] {
        let (_, said) = broker.ctl(&[&["acl", "cache", "clean"], words].concat());
        assert_eq!(said, text, "{words:?}");
    }
    for words in [&[][..], &["clean", "client"], &["clean", "everything"]] {
        let (_, said) = broker.ctl(&[&["acl", "cache"], words].concat());
        assert!(said.starts_with("acl cache clean  "), "{words:?}: {said}");
    }
}
