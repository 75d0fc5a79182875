//! Which events are posted, and where.

use super::*;
use emqttd_tests::Sub;

/// A broker with the plugin's file as it is, which does not load.
fn refused(broker: &Broker, conf: &str) -> String {
    broker.write_plugin_conf(PLUGIN, conf);
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(text.starts_with("load plugin error: "), "{conf}: {text}");
    assert!(!broker.is_active(PLUGIN));
    text
}

/// Check 2 of the sheet.
#[test]
fn filters() {
    let sink = Sink::start();
    let conf = url(&sink)
        + &rule("message.publish", 1, r#", "topic": "a/#""#)
        + &rule("message.publish", 2, r#", "topic": "b/#""#)
        + "web.hook.pool = 1\n";
    let broker = start(&conf);
    let mut client = broker.client(Version::V311, "client");
    for topic in ["c/1", "a/1", "ab/1", "b", "a", "/a/1"] {
        client.pub_(topic, 1, "x");
    }
    let posts = sink.wait_for(3);
    let topics: Vec<&str> = posts
        .iter()
        .map(|post| field(post.text(), "topic"))
        .collect();
    assert_eq!(topics, ["a/1", "b", "a"]);
}

/// For subscriptions the filter is compared with what is subscribed.
#[test]
fn filters_of_each_event() {
    let sink = Sink::start();
    let rules: String = EVENTS
        .iter()
        .map(|event| match event.split_once('.').unwrap() {
            ("message", _) | (_, "subscribe" | "unsubscribe" | "subscribed" | "unsubscribed") => {
                rule(event, 1, r#", "topic": "yes/+""#)
            }
            _ => String::new(),
        })
        .collect();
    let broker = start(&(url(&sink) + &rules + "web.hook.pool = 1\n"));
    let mut client = broker.client(Version::V311, "client");
    let subs = ["no/1", "yes/1", "yes/1/2"].map(|filter| Sub::new(filter, 1));
    client.subscribe(&subs, &[]);
    for topic in ["no/1", "yes/1"] {
        client.pub_(topic, 1, "x");
        client.expect(topic, "x");
    }
    client.unsubscribe(&["no/1", "yes/1"]);
    let posts = sink.wait_for(7);
    let bodies = texts(&posts);
    let actions: Vec<&str> = bodies.iter().map(|body| field(body, "action")).collect();
    assert_eq!(
        actions,
        [
            "client_subscribe",
            "session_subscribed",
            "message_publish",
            "message_delivered",
            "message_acked",
            "client_unsubscribe",
            "session_unsubscribed"
        ]
    );
    assert!(bodies.iter().all(|body| field(body, "topic") == "yes/1"));
}

/// The same filter twice is one rule; two that match are two posts, as they were two registrations.
#[test]
fn rules_that_match_together() {
    let sink = Sink::start();
    let conf = url(&sink)
        + &rule("message.publish", 1, r#", "topic": "a/#""#)
        + &rule("message.publish", 2, r#", "topic": "a/#""#)
        + &rule("message.publish", 3, r#", "topic": "+/1""#)
        + "web.hook.pool = 1\n";
    let broker = start(&conf);
    let mut client = broker.client(Version::V311, "client");
    for topic in ["a/2", "a/1", "b/1"] {
        client.pub_(topic, 1, "x");
    }
    let posts = sink.wait_for(4);
    let topics: Vec<&str> = posts
        .iter()
        .map(|post| field(post.text(), "topic"))
        .collect();
    assert_eq!(topics, ["a/2", "a/1", "a/1", "b/1"]);
}

/// Nothing of what no rule is about, and nothing below `$SYS`.
#[test]
fn only_what_rules_say() {
    let sink = Sink::start();
    let broker = start(&publishes(&sink));
    let mut client = broker.client(Version::V311, "client");
    client.sub("#", 1);
    for topic in ["$SYS/x", "t"] {
        client.pub_(topic, 1, "x");
    }
    client.expect("t", "x");
    client.disconnect();
    // Another one's end of all that.
    broker.client(Version::V311, "other").pub_("end", 1, "x");
    let posts = sink.wait_for(2);
    let topics: Vec<&str> = posts
        .iter()
        .map(|post| field(post.text(), "topic"))
        .collect();
    assert_eq!(topics, ["t", "end"]);
}

#[test]
fn what_is_wrong_is_said_with_its_key() {
    let sink = Sink::start();
    let broker = Broker::start(Config::new().plugin_conf(PLUGIN, ""));
    let key = "web.hook.rule.message.publish.1";
    for value in [
        "{\"action\": \"on_message_publish\"",
        "on_message_publish",
        "[]",
        "{\"action\": \"on_message_publish\", \"topic\": \"a/#/b\"}",
        "{\"action\": \"on_message_publish\", \"topic\": 5}",
        "{\"action\": \"on_message_publish\", \"encode_payload\": \"base62\"}",
        "{\"topic\": \"a\"}",
        "{\"action\": \"on_client_connected\"}",
        "{\"action\": \"on_message_publish\", \"filter\": \"a/#\"}",
    ] {
        let said = refused(&broker, &format!("{}{key} = {value}\n", url(&sink)));
        assert!(said.contains(key), "{value}: {said}");
    }
    for (key, value) in [
        ("web.hook.api.url", "ftp://localhost/"),
        ("web.hook.api.url", "localhost"),
        ("web.hook.pool", "0"),
        ("web.hook.batch_size", "0"),
        ("web.hook.on_full", "wait"),
        ("web.hook.http_version", "3"),
        ("web.hook.encode_payload", "base62"),
        ("web.hook.header.content-length", "1"),
    ] {
        let said = refused(
            &broker,
            &format!("{}{key} = {value}\n", rule("message.publish", 1, "")),
        );
        assert!(said.contains(key), "{key} = {value}: {said}");
    }
    let file = "web.hook.ssl.cacertfile = etc/certs/nothing.pem\n";
    let said = refused(&broker, &(publishes(&sink) + file));
    assert!(said.contains("web.hook.ssl"), "{said}");
    assert!(said.contains("etc/certs/nothing.pem"), "{said}");
    let both = "web.hook.username = u\nweb.hook.password = secret-p\nweb.hook.token = secret-t\n";
    let said = refused(&broker, &(publishes(&sink) + both));
    assert!(said.contains("web.hook.token"), "{said}");
    assert!(!broker.log().contains("secret-"), "a secret is in the log");
    // And then it loads.
    broker.write_plugin_conf(PLUGIN, &publishes(&sink));
    broker.load(PLUGIN);
    broker.client(Version::V311, "client").pub_("t", 1, "x");
    sink.wait_for(1);
}

/// `set web.hook.api.url` counts from the next post on; what waits goes there too.
#[test]
fn the_url_can_be_changed() {
    let (old, new) = (Sink::start(), Sink::start());
    let broker = start(&publishes(&old));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", ["0"]);
    assert_eq!(payloads(&old.wait_for(1)), ["0"]);
    old.set(Mode::Refuse);
    publish_all(&mut client, "t", ["1"]);
    eventually("it was tried", || figure(&broker, "failed") > 0);
    let said = set(&broker, "web.hook.api.url", "nonsense");
    assert!(!said.contains("successfully"), "{said}");
    let said = set(&broker, "web.hook.api.url", &new.url("/other"));
    assert!(said.contains("successfully"), "{said}");
    publish_all(&mut client, "t", ["2"]);
    let posts = new.wait_for(2);
    assert_eq!(payloads(&posts), ["1", "2"]);
    assert!(posts.iter().all(|post| post.target == "/other"));
}

#[test]
fn unloaded_and_loaded() {
    let sink = Sink::start();
    let broker = start(&publishes(&sink));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", ["0"]);
    sink.wait_for(1);
    broker.unload(PLUGIN);
    sink.wait_for_connections(0);
    publish_all(&mut client, "t", ["1"]);
    broker.load(PLUGIN);
    publish_all(&mut client, "t", ["2"]);
    assert_eq!(payloads(&sink.wait_for(2)), ["0", "2"]);
}
