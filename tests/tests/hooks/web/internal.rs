//! Messages that no client of MQTT has sent, and subscriptions that it has not asked for.

use super::*;
use emqttd_tests::{Sub, Will};

#[test]
fn the_name_of_a_plugin_in_both_fields() {
    let sink = Sink::start();
    let config = Config::with_plugin(PLUGIN, &everything(&sink))
        .plugin_conf(
            "emq_modules",
            "module.presence = on\nmodule.presence.qos = 1\n",
        )
        .loaded(&["emq_modules", PLUGIN]);
    let broker = Broker::start(config);
    let mut hk1 = broker.open(&Connect::new(Version::V311, "hk1"));
    hk1.sub("$SYS/brokers/+/clients/hk2/connected", 1);
    sink.wait_for(4);
    sink.take();
    let _hk2 = broker.open(&Connect::new(Version::V311, "hk2"));
    hk1.recv_message();
    // Two of hk2, and what hk1 got; that it was published is not told, as of all below `$SYS`.
    let posts = sink.wait_for(4);
    let bodies = texts(&posts);
    let of_messages: Vec<&String> = bodies.iter().filter(|b| b.contains("payload")).collect();
    assert_eq!(of_messages.len(), 2, "{bodies:?}");
    for (body, action) in of_messages.into_iter().zip(["delivered", "acked"]) {
        let head = format!(
            r#"{{"action":"message_{action}","client_id":"hk1","username":"undefined","from_client_id":"presence","from_username":"presence","topic":"$SYS/brokers/emq@127.0.0.1/clients/hk2/connected","qos":1,"retain":false,"payload":"{{\"clientid\":\"hk2\","#
        );
        assert!(body.starts_with(&head), "{body}");
    }
}

/// What a Lua script publishes.
#[test]
fn what_a_plugin_publishes() {
    let sink = Sink::start();
    let script = "function on_message_publish(clientid, username, topic, payload, qos, retain)\n\
                  emq.publish('made', payload, 1)\n\
                  return topic, payload, qos, retain\nend\n\
                  function register_hook() return 'on_message_publish' end\n";
    let config = Config::with_plugin(PLUGIN, &publishes(&sink))
        .plugin_conf("emq_lua_hook", "")
        .file("hook_lua/make.lua", script)
        .loaded(&["emq_lua_hook", PLUGIN]);
    let broker = Broker::start(config);
    let mut client = broker.open(&Connect::new(Version::V311, "hk1"));
    client.pub_("t", 1, "x");
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk1","from_username":"undefined","topic":"t","qos":1,"retain":false,"payload":"x","ts":0}"#,
            r#"{"action":"message_publish","from_client_id":"emq_lua_hook","from_username":"emq_lua_hook","topic":"made","qos":1,"retain":false,"payload":"x","ts":0}"#,
        ],
    );
}

/// Plugins are asked in the order in which they were loaded: what a script before the web hook has refused is not told,
/// and what it has changed is told as it is then.
#[test]
fn filters_that_a_script_changes() {
    let sink = Sink::start();
    let script = "function on_client_subscribe(clientid, username, topic)\n\
                  if topic == 'no' then return false end\n\
                  return topic .. '/1'\nend\n\
                  function register_hook() return 'on_client_subscribe' end\n";
    let asked = |topic: &str| {
        format!(
            r#"{{"action":"client_subscribe","client_id":"hk1","username":"undefined","topic":"{topic}","opts":{{"qos":1}}}}"#
        )
    };
    let subscribed = r#"{"action":"session_subscribed","client_id":"hk1","username":"undefined","topic":"t/1","opts":{"qos":1}}"#;
    for (loaded, told) in [
        (["emq_lua_hook", PLUGIN], &["t/1"][..]),
        ([PLUGIN, "emq_lua_hook"], &["no", "t"]),
    ] {
        let config = Config::with_plugin(PLUGIN, &everything(&sink))
            .plugin_conf("emq_lua_hook", "")
            .file("hook_lua/change.lua", script)
            .loaded(&loaded);
        let broker = Broker::start(config);
        let mut client = broker.open(&Connect::new(Version::V311, "hk1"));
        sink.wait_for(2);
        sink.take();
        let codes = client.subscribe(&[Sub::new("no", 1), Sub::new("t", 1)], &[]);
        assert_eq!(codes, [0x80, 1]);
        let mut wanted: Vec<String> = told.iter().map(|topic| asked(topic)).collect();
        wanted.push(subscribed.into());
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        expect(&sink, &wanted);
        drop(broker);
        sink.take();
    }
}

/// `subscriptions add` and `del`: nobody asks the client, so only the session is told of.
#[test]
fn subscriptions_by_the_command_line() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let mut client = broker.open(&Connect::new(Version::V311, "hk1"));
    sink.wait_for(2);
    sink.take();
    assert_eq!(
        broker.ctl(&["subscriptions", "add", "hk1", "t/1", "1"]).0,
        0
    );
    assert_eq!(broker.ctl(&["subscriptions", "del", "hk1", "t/1"]).0, 0);
    client.ping();
    expect(
        &sink,
        &[
            r#"{"action":"session_subscribed","client_id":"hk1","username":"undefined","topic":"t/1","opts":{"qos":1}}"#,
            r#"{"action":"session_unsubscribed","client_id":"hk1","username":"undefined","topic":"t/1"}"#,
        ],
    );
}

/// The will of a session that has outlived its connection, and the session's end.
#[test]
fn what_comes_late() {
    use emqttd_tests::Prop;
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let will = Will::new("t/w", "gone").prop(Prop::WillDelay(1));
    let connect = Connect::new(Version::V5, "hk1")
        .prop(Prop::SessionExpiry(1))
        .will(will);
    broker.open(&connect).drop_connection();
    let posts = sink.wait_for(5);
    let of = |word: &str| {
        posts
            .iter()
            .filter(|post| post.text().contains(word))
            .count()
    };
    assert_eq!(of(r#""action":"client_disconnected""#), 1);
    assert_eq!(of(r#""from_client_id":"hk1""#), 1);
    assert_eq!(of(r#""action":"session_terminated""#), 1);
    let last = posts[2].text();
    assert!(last.contains("client_disconnected"), "{last}");
}
