//! `emq_modules`: presence, subscription templates, rewrite.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emqttd_tests::{ALL, Broker, Client, Config, Connect, Publish, Sub, V3, Version, Will, unique};

const PLUGIN: &str = "emq_modules";

/// The rules of the seed, and some that are there to go wrong.
const RULES: &str = r"
module.presence = on
module.presence.qos = 1
module.rewrite = on
module.rewrite.rule.01 = x/# ^x/y/(.+)$ z/y/$1
module.rewrite.rule.02 = x/# ^x/(.+)$ never/$1
module.rewrite.rule.03 = y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2
module.rewrite.rule.04 = ten/# ^ten/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)/(.+)$ ten$10/$11
module.rewrite.rule.05 = one/# ^one/(.+)$ $10/one
module.rewrite.rule.06 = evil/# ^evil/(a+)+\1b$ hit
module.rewrite.rule.07 = bad/# ^bad/(.+)$ worse/$1/#/
module.rewrite.rule.08 = look/# ^look/(?!private/)(.+)$ seen/$1
module.rewrite.rule.09 = $SYS/# ^\$SYS/brokers/[^/]+/clients/rewritten(.+)$ presence/$1
module.subscription = off
";

/// The broker of all tests that need no configuration of their own, with several event loops.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let config = Config::with_plugin(PLUGIN, RULES)
            .loaded(&[PLUGIN, "emq_retainer"])
            .set("node.shards", "3")
            .acl("{deny, all, pubsub, [\"x/y/denied/#\"]}.\n{allow, all}.\n");
        Broker::start(config)
    })
}

/// A client that hears of the coming and going of the client with this id.
fn watcher(broker: &Broker, clientid: &str) -> Client {
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub(&format!("$SYS/brokers/+/clients/{clientid}/#"), 2);
    watcher
}

/// The next presence message has this topic, behind `clients/`, and this payload without its time.
#[track_caller]
fn expect(watcher: &mut Client, topic: &str, payload: &str) {
    let message = watcher.recv_message();
    let (left, time) = message.payload.split_once(r#","ts":"#).unwrap();
    let digits = time.bytes().take_while(u8::is_ascii_digit).count();
    let (time, right) = time.split_at(digits);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs().abs_diff(time.parse().unwrap()) < 60, "{time}");
    let prefix = "$SYS/brokers/emq@127.0.0.1/clients/";
    assert_eq!(message.topic, format!("{prefix}{topic}"));
    assert_eq!(format!("{left}{right}"), payload);
    assert_eq!((message.qos, message.retain), (1, false), "{message:?}");
}

/// What a client with no user name that is let in looks like.
fn connected(id: &str, level: u8) -> String {
    format!(
        r#"{{"clientid":"{id}","username":"undefined","ipaddress":"127.0.0.1","clean_sess":true,"protocol":{level},"connack":0}}"#
    )
}

/// What becomes of it; `code` is for MQTT 5.
fn disconnected(id: &str, reason: &str, version: Version, code: Option<u8>) -> String {
    let code = code
        .filter(|_| version.is_v5())
        .map_or(String::new(), |code| format!(r#","reason_code":{code}"#));
    format!(r#"{{"clientid":"{id}","username":"undefined","reason":"{reason}"{code}}}"#)
}

fn level(version: Version) -> u8 {
    version.name_and_level().1
}

/// Waits until the client has this subscription, as `emqttd_ctl subscriptions show` says.
#[track_caller]
fn await_subscription(broker: &Broker, clientid: &str, filter: &str, qos: u8) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let row = format!(" -> {filter}\n  qos     : {qos}\n");
    loop {
        let (_, text) = broker.ctl(&["subscriptions", "show", clientid]);
        if text.contains(&row) {
            return;
        }
        assert!(Instant::now() < deadline, "{row} is not in:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a line of the log, which a thread of its own writes.
#[track_caller]
fn await_log(broker: &Broker, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !broker.log().contains(text) {
        assert!(Instant::now() < deadline, "{text}: {}", broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

// Presence.

#[test]
fn presence_of_a_client_that_comes_and_goes() {
    for v in ALL {
        let id = unique("pres");
        let mut watcher = watcher(broker(), &id);
        let client = broker().open(&Connect::new(v, &id));
        expect(
            &mut watcher,
            &format!("{id}/connected"),
            &connected(&id, level(v)),
        );
        client.disconnect();
        let gone = disconnected(&id, "normal", v, Some(0));
        expect(&mut watcher, &format!("{id}/disconnected"), &gone);
        // Not retained.
        let mut late = self::watcher(broker(), &id);
        late.quiet();
    }
}

#[test]
fn presence_has_user_name_and_persistence_and_is_ascii() {
    let id = unique("user");
    let mut watcher = watcher(broker(), &id);
    let connect = Connect::persistent(Version::V311, &id).username("us\"\u{e9}\u{1d11e}");
    let client = broker().open(&connect);
    let name = r#""username":"us\"\u00e9\ud834\udd1e""#;
    expect(
        &mut watcher,
        &format!("{id}/connected"),
        &format!(
            r#"{{"clientid":"{id}",{name},"ipaddress":"127.0.0.1","clean_sess":false,"protocol":4,"connack":0}}"#
        ),
    );
    client.disconnect();
    expect(
        &mut watcher,
        &format!("{id}/disconnected"),
        &format!(r#"{{"clientid":"{id}",{name},"reason":"normal"}}"#),
    );
}

/// Opens a client, has it ended by `end`, and expects this reason, and in MQTT 5 this code.
#[track_caller]
fn ends(connect: &Connect, reason: &str, code: Option<u8>, end: impl FnOnce(Client)) {
    let id = &connect.client_id;
    let mut watcher = watcher(broker(), id);
    let client = broker().open(connect);
    let payload = connected(id, level(connect.version));
    expect(&mut watcher, &format!("{id}/connected"), &payload);
    end(client);
    let payload = disconnected(id, reason, connect.version, code);
    expect(&mut watcher, &format!("{id}/disconnected"), &payload);
}

#[test]
fn presence_says_why_a_client_is_gone() {
    for v in ALL {
        let plain = || Connect::new(v, &unique("why"));
        ends(&plain(), "closed", None, Client::drop_connection);
        let id = unique("kick");
        ends(&Connect::new(v, &id), "kick", Some(0x98), |mut client| {
            let (code, text) = broker().ctl(&["clients", "kick", &id]);
            assert_eq!((code, &*text), (0, ""));
            client.closed();
        });
        ends(&plain(), "badtopic", Some(0x90), |mut client| {
            client.send(&Publish::new("a/#", "x").encode(v));
            client.closed();
        });
        let silent = plain().keep_alive(1);
        ends(&silent, "keepalive_timeout", Some(0x8d), |mut client| {
            client.closed();
        });
    }
    let five = Connect::new(Version::V5, &unique("code"));
    ends(&five, "normal", Some(4), |client| {
        client.disconnect_with(4, &[]);
    });
}

#[test]
fn presence_of_a_takeover() {
    for old in ALL {
        for new in ALL {
            let id = unique("take");
            let mut watcher = watcher(broker(), &id);
            let mut first = broker().open(&Connect::new(old, &id));
            let topic = |event: &str| format!("{id}/{event}");
            expect(
                &mut watcher,
                &topic("connected"),
                &connected(&id, level(old)),
            );
            let second = broker().open(&Connect::new(new, &id));
            first.closed();
            let conflict = disconnected(&id, "conflict", old, Some(0x8e));
            expect(&mut watcher, &topic("disconnected"), &conflict);
            expect(
                &mut watcher,
                &topic("connected"),
                &connected(&id, level(new)),
            );
            second.disconnect();
            let gone = disconnected(&id, "normal", new, Some(0));
            expect(&mut watcher, &topic("disconnected"), &gone);
        }
    }
}

#[test]
fn presence_of_client_ids_that_are_no_topic_levels() {
    let word = unique("odd");
    for (id, topic) in [
        (format!("{word}/9"), format!("{word}/9")),
        (format!("{word}/+"), format!("{word}/%2b")),
        (format!("{word}/#"), format!("{word}/%23")),
        (format!("{word}/a+#%"), format!("{word}/a%2b%23%")),
    ] {
        let mut watcher = watcher(broker(), &topic);
        let client = broker().open(&Connect::new(Version::V311, &id));
        expect(
            &mut watcher,
            &format!("{topic}/connected"),
            &connected(&id, 4),
        );
        client.disconnect();
        let gone = disconnected(&id, "normal", Version::V311, None);
        expect(&mut watcher, &format!("{topic}/disconnected"), &gone);
    }
}

#[test]
fn presence_of_refused_clients() {
    let config = Config::with_plugin(PLUGIN, "module.presence = on\n")
        .set("mqtt.allow_anonymous", "false")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = good\nauth.user.1.password = pw\n",
        )
        .loaded(&[PLUGIN, "emq_auth_username"]);
    let broker = Broker::start(config);
    let good = Connect::new(Version::V311, &unique("watcher"))
        .username("good")
        .password("pw");
    let mut watcher = broker.open(&good);
    for v in ALL {
        let id = unique("bad");
        watcher.sub(&format!("$SYS/brokers/+/clients/{id}/#"), 1);
        let mut refused = broker.raw(v);
        let connect = Connect::new(v, &id).username("good").password("wrong");
        refused.send(&connect.encode());
        assert_eq!(refused.connack().1, if v.is_v5() { 0x86 } else { 4 });
        refused.closed();
        let level = level(v);
        expect(
            &mut watcher,
            &format!("{id}/connected"),
            &format!(
                r#"{{"clientid":"{id}","username":"good","ipaddress":"127.0.0.1","clean_sess":true,"protocol":{level},"connack":4}}"#
            ),
        );
        let message = watcher.recv_message();
        assert!(message.topic.ends_with(&format!("{id}/disconnected")));
        let start =
            format!(r#"{{"clientid":"{id}","username":"good","reason":"auth_failure","ts":"#);
        assert!(message.payload.starts_with(&start), "{message:?}");
    }
}

#[test]
fn presence_has_the_qos_of_its_key() {
    for qos in [0, 2] {
        let conf = format!("module.presence = on\nmodule.presence.qos = {qos}\n");
        let broker = Broker::start(Config::with_plugin(PLUGIN, &conf));
        let mut watcher = watcher(&broker, "c");
        broker.open(&Connect::new(Version::V5, "c")).disconnect();
        for event in ["connected", "disconnected"] {
            let message = watcher.recv_message();
            assert!(message.topic.ends_with(event), "{message:?}");
            assert_eq!(message.qos, qos);
        }
    }
}

// Subscription.

fn with_templates(more: &str) -> Broker {
    let conf = format!(
        "module.subscription = on\n\
         module.subscription.1.topic = $client/%c\nmodule.subscription.1.qos = 1\n\
         module.subscription.2.topic = user/%u\nmodule.subscription.2.qos = 2\n{more}"
    );
    let acl = "{deny, all, subscribe, [\"$client/#\", \"user/#\"]}.\n";
    Broker::start(Config::with_plugin(PLUGIN, &conf).acl(acl))
}

#[test]
fn clients_are_subscribed_as_they_connect() {
    let broker = with_templates("");
    let mut publisher = broker.client(Version::V311, "pub");
    for v in ALL {
        let id = unique("auto");
        let own = format!("$client/{id}");
        let connect = Connect::persistent(v, &id);
        for present in [false, v != Version::V31] {
            let (mut client, was, _) = broker.resume(&connect);
            assert_eq!(was, present, "{v}");
            await_subscription(&broker, &id, &own, 1);
            await_subscription(&broker, &id, "user/%u", 2);
            client.quiet();
            publisher.pub_(&own, 2, "hello");
            assert_eq!(client.expect(&own, "hello").qos, 1);
            // It may take it away again, until the next connect.
            client.unsubscribe(&[&own]);
            publisher.pub_(&own, 1, "unheard");
            client.nothing_from(&mut publisher);
            client.disconnect();
        }
        let named = Connect::new(v, &unique("auto")).username("alice");
        let mut client = broker.open(&named);
        await_subscription(&broker, &named.client_id, "user/alice", 2);
        publisher.pub_("user/alice", 2, "hello");
        assert_eq!(client.expect("user/alice", "hello").qos, 2);
    }
}

/// CVE-2017-7650.
#[test]
fn names_do_not_widen_subscriptions() {
    let broker = with_templates("module.subscription.3.topic = marker/x\n");
    let mut publisher = broker.client(Version::V311, "pub");
    for (clientid, username) in [("#", "+"), ("+", "a/b"), ("a/#", "#")] {
        let connect = Connect::new(Version::V311, clientid).username(username);
        let mut client = broker.open(&connect);
        await_subscription(&broker, clientid, "marker/x", 1);
        let (_, text) = broker.ctl(&["subscriptions", "show", clientid]);
        assert_eq!(text.matches(" -> ").count(), 1, "{text}");
        publisher.pub_("$client/other", 1, "secret");
        publisher.pub_("user/other", 1, "secret");
        client.nothing_from(&mut publisher);
    }
    await_log(&broker, "is not subscribed to $client/%c");
}

#[test]
fn templates_are_rewritten() {
    let broker = with_templates(
        "module.subscription.3.topic = x/y/%c\n\
         module.rewrite = on\nmodule.rewrite.rule.1 = x/# ^x/y/(.+)$ z/y/$1\n",
    );
    let client = broker.client(Version::V5, "auto");
    await_subscription(&broker, &client.name, &format!("z/y/{}", client.name), 1);
}

// Rewrite.

#[test]
fn topics_are_rewritten() {
    for v in ALL {
        let id = unique("rw");
        let mut publisher = broker().client(v, "pub");
        let mut subscriber = broker().client(v, "sub");
        subscriber.sub(&format!("x/y/{id}/#"), 1);
        await_subscription(broker(), &subscriber.name, &format!("z/y/{id}/#"), 1);
        let (sent, got) = (format!("x/y/{id}/1"), format!("z/y/{id}/1"));
        publisher.pub_(&sent, 1, "from x");
        subscriber.expect(&got, "from x");
        publisher.pub_(&got, 2, "from z");
        subscriber.expect(&got, "from z");
        subscriber.unsubscribe(&[&format!("x/y/{id}/#")]);
        publisher.pub_(&sent, 1, "late");
        subscriber.nothing_from(&mut publisher);
    }
}

#[test]
fn a_filter_with_wildcards_is_rewritten_as_text() {
    let (mut client, id) = (broker().client(Version::V5, "wild"), unique("g"));
    client.sub(&format!("y/a/z/{id}/+"), 1);
    client.sub(&format!("$share/{id}/x/y/{id}"), 2);
    await_subscription(broker(), &client.name, &format!("y/z/{id}/+"), 1);
    let (_, text) = broker().ctl(&["subscriptions", "show", &client.name]);
    let shared = format!(" -> z/y/{id}\n  qos     : 2\n  share   : {id}\n");
    assert!(text.contains(&shared), "{text}");
    let mut publisher = broker().client(Version::V311, "pub");
    publisher.pub_(&format!("y/b/z/{id}/7"), 1, "m");
    client.expect(&format!("y/z/{id}/7"), "m");
    publisher.pub_(&format!("x/y/{id}"), 1, "shared");
    client.expect(&format!("z/y/{id}"), "shared");
}

/// The first rule whose filter matches decides, and no other is tried.
#[test]
fn the_first_filter_decides() {
    let id = unique("first");
    let mut client = broker().client(Version::V311, "first");
    client.sub(&format!("x/1/{id}"), 1);
    client.sub(&format!("never/1/{id}"), 1);
    client.pub_(&format!("x/1/{id}"), 1, "m");
    client.expect(&format!("x/1/{id}"), "m");
    client.quiet();
}

/// One publish, received on a topic of its own.
#[track_caller]
fn becomes(client: &mut Client, sent: &str, got: &str) {
    client.sub(got, 1);
    client.pub_(sent, 1, got);
    client.expect(got, got);
    client.unsubscribe(&[got]);
}

#[test]
fn groups_of_one_and_two_digits() {
    let id = unique("ten");
    let mut client = broker().client(Version::V311, "ten");
    becomes(
        &mut client,
        &format!("ten/abcdefghij/{id}"),
        &format!("tenj/{id}"),
    );
    becomes(&mut client, &format!("one/{id}"), &format!("{id}0/one"));
    // What was matched has no meaning of its own.
    let odd = format!(r"{id}&\1$1&");
    becomes(&mut client, &format!("one/{odd}"), &format!("{odd}0/one"));
}

#[test]
fn perl_expressions() {
    let id = unique("look");
    let mut client = broker().client(Version::V311, "look");
    becomes(&mut client, &format!("look/{id}"), &format!("seen/{id}"));
    let private = format!("look/private/{id}");
    becomes(&mut client, &private, &private);
}

#[test]
fn an_expression_cannot_hold_up_the_broker() {
    let evil = format!("evil/{}", "a".repeat(4000));
    let mut client = broker().client(Version::V311, "evil");
    let started = Instant::now();
    for _ in 0..20 {
        becomes(&mut client, &evil, &evil);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let hit = format!("evil/{}b", "a".repeat(40));
    becomes(&mut client, &hit, "hit");
    await_log(
        broker(),
        "rewrite: module.rewrite.rule.06 leaves \"evil/aaa",
    );
    await_log(
        broker(),
        "aaa\" unchanged: the expression takes too much work",
    );
}

#[test]
fn a_result_that_is_no_topic_changes_nothing() {
    let topic = format!("bad/{}", unique("bad"));
    let mut client = broker().client(Version::V311, "bad");
    becomes(&mut client, &topic, &topic);
    client.sub(&format!("{topic}/+"), 0);
    await_subscription(broker(), &client.name, &format!("{topic}/+"), 0);
    await_log(broker(), "rewrite: module.rewrite.rule.07 leaves \"bad/");
}

/// The ACL is asked about the topic that was sent, and it is enforced.
#[test]
fn the_acl_sees_the_topic_as_sent() {
    let id = unique("acl");
    for v in V3 {
        let mut client = broker().client(v, "acl");
        let denied = format!("x/y/denied/{id}");
        let codes = client.subscribe(&[Sub::new(&denied, 1)], &[]);
        assert_eq!(codes, [0x80], "{v}");
        let (_, text) = broker().ctl(&["subscriptions", "show", &client.name]);
        assert!(!text.contains("denied"), "{text}");
        client.sub(&format!("z/y/denied/{id}"), 1);
        client.publish(Publish::new(&denied, "m"));
        client.quiet();
        becomes(
            &mut client,
            &format!("z/y/denied/{id}/2"),
            &format!("z/y/denied/{id}/2"),
        );
    }
}

#[test]
fn wills_and_retained_messages_are_rewritten() {
    let id = unique("will");
    let mut subscriber = broker().client(Version::V5, "sub");
    subscriber.sub(&format!("z/y/{id}"), 1);
    let will = Will::new(&format!("x/y/{id}"), "gone").qos(1).retained();
    let dying = Connect::new(Version::V311, &unique("dying")).will(will);
    broker().open(&dying).drop_connection();
    subscriber.expect(&format!("z/y/{id}"), "gone");
    let mut late = broker().client(Version::V311, "late");
    late.sub(&format!("x/y/{id}"), 1);
    assert!(late.expect(&format!("z/y/{id}"), "gone").retain);
    late.publish(Publish::new(&format!("x/y/{id}"), "").qos(1).retained());
}

/// What the broker and its plugins publish is rewritten, too.
#[test]
fn messages_of_plugins_are_rewritten() {
    let id = unique("rewritten");
    let mut watcher = broker().client(Version::V311, "watcher");
    let rest = id.strip_prefix("rewritten").unwrap();
    watcher.sub(&format!("presence/{rest}/+"), 1);
    broker()
        .open(&Connect::new(Version::V311, &id))
        .disconnect();
    for event in ["connected", "disconnected"] {
        let message = watcher.recv_message();
        assert_eq!(message.topic, format!("presence/{rest}/{event}"));
    }
}

// Loading.

/// Hooks come and go between two packets of clients that notice nothing else.
#[test]
fn it_is_loaded_and_unloaded_under_clients() {
    let conf = |dest: &str| {
        format!(
            "module.presence = on\nmodule.rewrite = on\n\
             module.rewrite.rule.1 = x/# ^x/(.+)$ {dest}/$1\n"
        )
    };
    let broker = Broker::start(Config::with_plugin(PLUGIN, &conf("z")));
    let mut client = broker.client(Version::V5, "live");
    let mut watcher = watcher(&broker, "+");
    let comes = |broker: &Broker| {
        let id = unique("guest");
        broker.open(&Connect::new(Version::V311, &id)).disconnect();
        id
    };
    for dest in ["z", "w", "v"] {
        assert!(broker.is_active(PLUGIN));
        becomes(&mut client, "x/1", &format!("{dest}/1"));
        let id = comes(&broker);
        for event in ["connected", "disconnected"] {
            let message = watcher.recv_message();
            assert!(
                message.topic.ends_with(&format!("/{id}/{event}")),
                "{message:?}"
            );
        }
        broker.unload(PLUGIN);
        assert!(!broker.is_active(PLUGIN));
        becomes(&mut client, "x/1", "x/1");
        comes(&broker);
        watcher.nothing_from(&mut client);
        let next = if dest == "z" { "w" } else { "v" };
        broker.write_plugin_conf(PLUGIN, &conf(next));
        broker.load(PLUGIN);
    }
    let log = broker.log();
    for (module, times) in [("presence", 4), ("rewrite", 4), ("subscription", 0)] {
        let line = format!("Load emq_mod_{module} module successfully.\n");
        assert_eq!(log.matches(&line).count(), times, "{line}{log}");
    }
}

/// While it is loaded and unloaded again and again, each message arrives once, under one of its two names.
#[test]
fn no_message_is_lost_while_it_comes_and_goes() {
    const MESSAGES: usize = 2000;
    let conf = "module.rewrite = on\nmodule.rewrite.rule.1 = x/# ^x/(.+)$ z/$1\n";
    let broker = Broker::start(Config::with_plugin(PLUGIN, conf));
    let (mut subscriber, mut publisher) = (
        broker.client(Version::V311, "sub"),
        broker.client(Version::V311, "pub"),
    );
    // While it is loaded, a subscription of `x/+` is one of `z/+`.
    broker.unload(PLUGIN);
    subscriber.sub("x/+", 1);
    subscriber.sub("z/+", 1);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..10 {
                broker.load(PLUGIN);
                broker.unload(PLUGIN);
            }
        });
        threads.spawn(move || {
            for n in 0..MESSAGES {
                publisher.pub_(&format!("x/{n}"), 1, &n.to_string());
            }
        });
        for n in 0..MESSAGES {
            let message = subscriber.recv_message();
            assert_eq!(message.payload, n.to_string());
        }
    });
    subscriber.quiet();
}

#[test]
fn a_bad_rule_refuses_the_load() {
    let good = "module.rewrite = on\nmodule.rewrite.rule.1 = x/# ^x/(.+)$ z/$1\n";
    let broker = Broker::start(Config::with_plugin(PLUGIN, good));
    let mut client = broker.client(Version::V311, "bad");
    for (rule, why) in [
        ("x/# ^x/( z", "the expression ^x/("),
        ("x/# (a{999}){999} z", "it is too large"),
        ("x/# ^x(?R)? z", "the expression ^x(?R)?"),
    ] {
        broker.unload(PLUGIN);
        let bad = format!("{good}\nmodule.rewrite.rule.2 = {rule}\n");
        broker.write_plugin_conf(PLUGIN, &bad);
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        assert!(text.starts_with("load plugin error: "), "{text}");
        assert!(
            text.contains("emq_modules.conf:4: module.rewrite.rule.2"),
            "{text}"
        );
        assert!(text.contains(why), "{text}");
        assert!(!broker.is_active(PLUGIN));
        becomes(&mut client, "x/1", "x/1");
        broker.write_plugin_conf(PLUGIN, good);
        broker.load(PLUGIN);
        becomes(&mut client, "x/1", "z/1");
    }
}
