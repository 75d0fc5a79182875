#![allow(clippy::unwrap_used)]
use crate::plugin;
use emqttd_plugin_sdk::testing::{FakeBroker, by_name, client, entry, message};
use emqttd_plugin_sdk::{Client, ClientRef, Config, Message, Publish, QoS, Reply};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A broker with scripts.
struct Node {
    broker: FakeBroker,
    dir: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn node(keys: &[(&str, &str)], scripts: &[(&str, &str)]) -> Node {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("emq-lua-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let node = Node {
        broker: FakeBroker::new(),
        dir,
    };
    for (name, source) in scripts {
        node.write(name, source);
    }
    let dir = node.dir.display().to_string();
    let keys: Vec<_> = [("lua.dir", &*dir)].iter().chain(keys).copied().collect();
    node.broker.start(&plugin(), Config::of(&keys)).unwrap();
    node
}

impl Node {
    fn write(&self, name: &str, source: &str) {
        std::fs::write(self.dir.join(format!("{name}.lua")), source).unwrap();
    }

    fn verb(&self, words: &str) -> String {
        let words: Vec<_> = words.split(' ').collect();
        match self.broker.command(&words) {
            Some(Reply::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn publish(&self, topic: &str) -> Option<Publish> {
        let message = Message {
            from: Some(by_name("c1", Some("u1"))),
            ..message(topic, b"m\xFF")
        };
        self.broker.message_publish(&message)
    }

    /// The topic and payload of a message on `a`.
    fn becomes(&self) -> String {
        match self.publish("a") {
            Some(message) => {
                let payload = String::from_utf8_lossy(&message.payload);
                format!("{} {payload}", message.topic)
            }
            None => "dropped".into(),
        }
    }

    fn told(&self) -> Vec<String> {
        let told = self.broker.published();
        let text = |message: &Publish| {
            format!(
                "{} {}",
                message.topic,
                String::from_utf8_lossy(&message.payload)
            )
        };
        told.iter().map(text).collect()
    }
}

fn publishing(body: &str) -> String {
    format!(
        "function on_message_publish(c, u, t, p, q, r) {body} end\n\
         function register_hook() return 'on_message_publish' end"
    )
}

fn subscribing(body: &str) -> String {
    format!(
        "function on_client_subscribe(c, u, t) {body} end\n\
         on_client_unsubscribe = on_client_subscribe\n\
         function register_hook() return 'on_client_subscribe', 'on_client_unsubscribe' end"
    )
}

fn user() -> ClientRef<'static> {
    by_name("c1", None)
}

#[test]
fn arguments_of_all_callbacks() {
    let node = node(
        &[],
        &[(
            "all",
            "local names = {'on_client_connected', 'on_client_disconnected', 'on_client_subscribe',
               'on_client_unsubscribe', 'on_session_subscribed', 'on_session_unsubscribed', 'on_message_publish',
               'on_message_delivered', 'on_message_acked'}
             for _, name in ipairs(names) do
               _G[name] = function(...)
                 local words = {}
                 for i = 1, select('#', ...) do
                   local value = select(i, ...)
                   words[i] = type(value) .. ':' .. tostring(value)
                 end
                 emq.publish(name, table.concat(words, ' '))
                 return select(3, ...)
               end
             end
             function register_hook() return table.unpack(names) end",
        )],
    );
    let broker = &node.broker;
    let named = Client {
        username: Some("u".into()),
        ..client("c")
    };
    broker.client_connected(&named, 0);
    broker.client_connected(&client("c"), 5);
    broker.client_disconnected(&named, "keepalive_timeout", None);
    let table = vec![
        entry("a/+", QoS::AtLeastOnce),
        entry("$SYS/#", QoS::AtMostOnce),
    ];
    assert_eq!(
        broker.client_subscribe(user(), table.clone()),
        Some(table.clone())
    );
    assert_eq!(
        broker.client_unsubscribe(user(), table.clone()),
        Some(table.clone())
    );
    for entry in &table {
        broker.session_subscribed(user(), entry);
        broker.session_unsubscribed(user(), entry);
    }
    for topic in ["t", "$SYS/x", "$x"] {
        let message = Message {
            qos: QoS::ExactlyOnce,
            retain: true,
            from: Some(by_name("http", Some(""))),
            ..message(topic, b"x")
        };
        assert!(broker.message_publish(&message).is_some());
        broker.message_delivered(user(), &message);
        broker.message_acked(user(), &message);
    }
    let expected = [
        "on_client_connected string:c string:u number:0",
        "on_client_connected string:c nil:nil number:5",
        "on_client_disconnected string:c string:u string:keepalive_timeout",
        "on_client_subscribe string:c1 nil:nil string:a/+",
        "on_client_unsubscribe string:c1 nil:nil string:a/+",
        "on_session_subscribed string:c1 nil:nil string:a/+",
        "on_session_unsubscribed string:c1 nil:nil string:a/+",
        "on_message_publish string:http string: string:t string:x number:2 boolean:true",
        "on_message_delivered string:c1 nil:nil string:t string:x number:2 boolean:true",
        "on_message_acked string:c1 nil:nil string:t string:x number:2 boolean:true",
    ];
    assert_eq!(node.told(), expected);
}

#[test]
fn messages_are_changed_and_dropped() {
    let node = node(
        &[],
        &[(
            "x",
            &publishing(
                "if t == 'drop' then return false end
         if t == 'odd' then return 'x' end
         if t == 'wild' then return 'a/+', p, q, r end
         if t == 'fail' then error('oh') end
         return t .. '/x', p .. '\\0', 2, 'true'",
            ),
        )],
    );
    let changed = Publish {
        from: Some("c1".into()),
        topic: "a/x".into(),
        payload: b"m\xFF\0".to_vec(),
        qos: QoS::ExactlyOnce,
        retain: true,
    };
    assert_eq!(node.publish("a"), Some(changed));
    assert_eq!(node.publish("drop"), None);
    for topic in ["odd", "wild", "fail", "$SYS/x"] {
        let message = node.publish(topic).unwrap();
        assert_eq!((&*message.topic, &*message.payload), (topic, &b"m\xFF"[..]));
    }
    let status = node.verb("luahook status x");
    assert!(status.contains("x.lua:4: oh"), "{status}");
}

#[test]
fn what_scripts_publish_is_not_offered_to_them() {
    let node = node(&[], &[("x", &publishing("return 'seen', p, q, r"))]);
    let offered = |clientid, username| {
        let message = Message {
            from: Some(by_name(clientid, username)),
            ..message("a", b"")
        };
        node.broker.message_publish(&message).unwrap().topic == "seen"
    };
    assert!(!offered("emq_lua_hook", Some("")));
    assert!(offered("emq_lua_hook", None), "a client of that name");
    assert!(offered("emq_lua_hook", Some("u")));
    assert!(offered("http", Some("")));
}

#[test]
fn scripts_are_called_by_name_one_after_the_other() {
    let add = |word: &str| publishing(&format!("return t .. '/{word}', p, q, r"));
    let scripts = [("c", add("c")), ("a", add("a")), ("b", add("b"))];
    let scripts: Vec<_> = scripts
        .iter()
        .map(|(name, source)| (*name, &**source))
        .collect();
    let node = node(&[], &scripts);
    assert_eq!(node.publish("x").unwrap().topic, "x/a/b/c");
    node.write("a", &publishing("return t .. '/new', p, q, r"));
    assert_eq!(
        node.publish("x").unwrap().topic,
        "x/a/b/c",
        "not loaded yet"
    );
    node.verb("luahook reload a");
    assert_eq!(node.publish("x").unwrap().topic, "x/new/b/c");
    // One that fails is passed over, and one that cannot be loaded leaves the old in its place.
    node.write("b", &publishing("error('x')"));
    node.verb("luahook reload b");
    assert_eq!(node.publish("x").unwrap().topic, "x/new/c");
    node.write("b", "function");
    assert!(
        node.verb("luahook reload b")
            .starts_with("fail to reload \"b\"")
    );
    assert_eq!(node.publish("x").unwrap().topic, "x/new/c");
    node.write("b", &publishing("return false"));
    node.verb("luahook reload b");
    assert_eq!(node.publish("x"), None);
    node.verb("luahook unload b");
    node.write("a", &publishing("return '$SYS/x', p, q, r"));
    node.verb("luahook reload a");
    assert_eq!(
        node.publish("x").unwrap().topic,
        "$SYS/x",
        "and c is not asked"
    );
}

#[test]
fn scripts_do_not_see_each_other() {
    let one = publishing(
        "n = 'one' string.n = 'one' math.floor = nil return t, tostring(n) .. tostring(string.n), q, r",
    );
    let two = publishing(
        "return t, p .. tostring(n) .. tostring(string.n) .. math.floor(1.5) .. tostring(('').n), q, r",
    );
    for state in ["reset", "keep"] {
        let node = node(&[("lua.state", state)], &[("one", &one), ("two", &two)]);
        for _ in 0..3 {
            assert_eq!(node.becomes(), "a oneonenilnil1nil", "{state}");
        }
    }
    // Nor does the memory that one has used up keep another from working.
    let hoard = publishing(
        "all = all or {} for i = 1, 1e5 do all[#all + 1] = t .. i end return t, 'hoarded', q, r",
    );
    let keys = [("lua.state", "keep"), ("lua.max_memory", "256KB")];
    let node = node(
        &keys,
        &[
            ("hoard", &hoard),
            ("other", &publishing("return t, ('x'):rep(100), q, r")),
        ],
    );
    for _ in 0..5 {
        assert_eq!(node.becomes(), format!("a {}", "x".repeat(100)));
    }
}

#[test]
fn state_is_kept_where_it_is_wanted() {
    let count = "n = 0\n".to_string() + &publishing("n = n + 1 return t, tostring(n), q, r");
    let keeping = node(&[("lua.state", "keep")], &[("x", &count)]);
    let counts = |node: &Node| [node.becomes(), node.becomes(), node.becomes()];
    assert_eq!(counts(&keeping), ["a 1", "a 2", "a 3"]);
    // From all threads it is the same.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| drop(keeping.becomes())));
        }
    });
    assert_eq!(keeping.becomes(), "a 104");
    keeping.verb("luahook reload x");
    assert_eq!(keeping.becomes(), "a 1");
    assert_eq!(counts(&node(&[], &[("x", &count)])), ["a 1", "a 1", "a 1"]);
}

#[test]
fn many_threads_at_once() {
    let node = node(
        &[],
        &[(
            "x",
            &publishing("local s = '' for i = 1, 50 do s = s .. c .. t end return t, s, q, r"),
        )],
    );
    let expected = "c1a".repeat(50);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(node.becomes(), format!("a {expected}"));
                }
            });
        }
    });
    let status = node.verb("luahook status x");
    assert!(status.contains("400"), "{status}");
}

#[test]
fn subscriptions_are_changed_and_cancelled() {
    let node = node(
        &[],
        &[(
            "x",
            &subscribing(
                "if t == 'no' then return false end
         if t == 'fail' then error('oh') end
         if t == 'odd' then return 'a/#/b' end
         if t == 'share' then return '$share/g/t' end
         return t .. '/x'",
            ),
        )],
    );
    let topics = ["a", "no", "fail", "odd", "share", "$SYS/a", "b"];
    let table: Vec<_> = topics
        .iter()
        .map(|topic| entry(topic, QoS::AtLeastOnce))
        .collect();
    for answer in [
        node.broker.client_subscribe(user(), table.clone()),
        node.broker.client_unsubscribe(user(), table.clone()),
    ] {
        let topics: Vec<_> = answer
            .unwrap()
            .into_iter()
            .map(|entry| entry.topic)
            .collect();
        assert_eq!(topics, ["a/x", "", "fail", "odd", "share", "$SYS/a", "b/x"]);
    }
}

#[test]
fn what_a_script_fails_at_can_be_refused() {
    let scripts = [
        (
            "a",
            publishing("if t ~= 'good' then error('oh') end return t, p, q, r"),
        ),
        (
            "b",
            subscribing("if t ~= 'good' then return 7 end return t"),
        ),
    ];
    let scripts: Vec<_> = scripts
        .iter()
        .map(|(name, source)| (*name, &**source))
        .collect();
    for (on_error, refused) in [("pass", false), ("refuse", true)] {
        let node = node(&[("lua.on_error", on_error)], &scripts);
        assert!(node.publish("good").is_some());
        assert_eq!(node.publish("bad").is_none(), refused);
        let table = vec![
            entry("bad", QoS::AtMostOnce),
            entry("good", QoS::AtMostOnce),
        ];
        let topics = |table: Option<Vec<_>>| -> Vec<String> {
            let entries = table.unwrap().into_iter();
            entries
                .map(|entry: emqttd_plugin_sdk::TopicEntry| entry.topic)
                .collect()
        };
        let first = if refused { "" } else { "bad" };
        assert_eq!(
            topics(node.broker.client_subscribe(user(), table.clone())),
            [first, "good"]
        );
        // Whoever wants to leave may.
        assert_eq!(
            topics(node.broker.client_unsubscribe(user(), table)),
            ["bad", "good"]
        );
    }
}

#[test]
fn a_script_that_is_cut_off_again_and_again_is_suspended() {
    let source = publishing("while t ~= 'good' do end return 'seen', p, q, r");
    for (on_error, passes) in [("pass", true), ("refuse", false)] {
        let keys = [
            ("lua.max_instructions", "10000"),
            ("lua.on_error", on_error),
        ];
        let node = node(&keys, &[("x", &source)]);
        for _ in 0..9 {
            assert_eq!(node.publish("a").is_some(), passes);
        }
        // One that comes through in between, and all is well.
        assert_eq!(node.publish("good").unwrap().topic, "seen");
        for _ in 0..9 {
            assert_eq!(node.publish("a").is_some(), passes);
        }
        assert!(node.broker.alarms().is_empty());
        assert_eq!(node.publish("a").is_some(), passes);
        let alarms = node.broker.alarms();
        let alarm = &alarms["lua_script_x"];
        assert!(
            alarm.summary.contains("x.lua:1: cut off"),
            "{}",
            alarm.summary
        );
        let good = node.publish("good").map(|message| message.topic);
        assert_eq!(good, passes.then(|| "good".to_string()), "it is not called");
        let status = node.verb("luahook status x");
        assert!(status.contains("suspended"), "{status}");
        node.verb("luahook reload x");
        assert!(node.broker.alarms().is_empty());
        assert_eq!(node.publish("good").unwrap().topic, "seen");
        for _ in 0..10 {
            node.publish("a");
        }
        assert_eq!(node.broker.alarms().len(), 1);
        node.broker.stop();
        assert!(node.broker.alarms().is_empty());
    }
}

#[test]
fn a_callback_that_always_hangs_is_found_out_beside_one_that_does_not() {
    let source = "function on_client_connected() end
                  function on_message_publish() while true do end end
                  function register_hook() return 'on_client_connected', 'on_message_publish' end";
    let node = node(&[("lua.max_instructions", "10000")], &[("x", source)]);
    for _ in 0..10 {
        assert!(node.broker.alarms().is_empty());
        node.publish("a");
        node.broker.client_connected(&client("c1"), 0);
    }
    assert!(node.broker.alarms().contains_key("lua_script_x"));
}

#[test]
fn a_payload_that_does_not_fit_is_not_held_against_the_script() {
    let node = node(
        &[("lua.max_memory", "256KB")],
        &[("x", &publishing("return 'seen', p, q, r"))],
    );
    let large = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        let large = Message {
            from: Some(user()),
            ..message("a", &large)
        };
        assert_eq!(node.broker.message_publish(&large).unwrap().topic, "a");
    }
    assert!(node.broker.alarms().is_empty());
    assert_eq!(node.publish("a").unwrap().topic, "seen");
}

#[test]
fn one_broken_script_keeps_no_other_out() {
    let node = node(
        &[],
        &[
            ("broken", "function"),
            ("silent", "x = 1"),
            (
                "unknown",
                "function f() end function register_hook() return 'on_nothing' end",
            ),
            ("good", &publishing("return 'seen', p, q, r")),
        ],
    );
    assert_eq!(node.publish("a").unwrap().topic, "seen");
    let status = node.verb("luahook status unknown");
    assert!(status.contains("on_nothing"), "{status}");
}

#[test]
fn a_hook_that_comes_later_is_joined() {
    let node = node(&[], &[("x", &subscribing("return t"))]);
    assert_eq!(node.publish("a").unwrap().topic, "a");
    node.write("y", &publishing("return 'seen', p, q, r"));
    node.verb("luahook load y");
    assert_eq!(node.publish("a").unwrap().topic, "seen");
    node.verb("luahook reload y");
    node.verb("luahook unload y");
    assert_eq!(node.publish("a").unwrap().topic, "a");
    node.verb("luahook load y");
    assert_eq!(node.publish("a").unwrap().topic, "seen");
}
