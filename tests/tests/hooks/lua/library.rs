//! The library `emq`: to log, to publish, to tell the time, JSON, keys and values.

use emqttd_tests::{ALL, Connect, Packet, Publish, Sub, Version, unique};

use super::dialect::evaluate;
use super::{broker, echo, listener, logs, luahook, on_publish};

#[test]
fn json() {
    evaluate(&[
        ("emq.json.encode({ a = 1 })", "{\"a\":1}"),
        (
            "emq.json.encode({ 1, 2.5, \"x\", true })",
            "[1,2.5,\"x\",true]",
        ),
        (
            "emq.json.encode(\"a\\\"b\\\\c\\n\\0\")",
            "\"a\\\"b\\\\c\\n\\u0000\"",
        ),
        ("emq.json.encode(1e15)", "1000000000000000"),
        ("emq.json.encode({ n = emq.json.null })", "{\"n\":null}"),
        ("emq.json.encode(emq.json.array({}))", "[]"),
        (
            "emq.json.decode(\"{\\\"a\\\": [1, 2, {\\\"b\\\": \\\"c\\\"}]}\").a[3].b",
            "c",
        ),
        ("emq.json.decode(\"10\") / 2", "5"),
        ("emq.json.decode(\"null\") == emq.json.null", "true"),
        (
            "emq.json.decode(\"\\\"\\\\u00e9\\\\ud83e\\\\udd80\\\"\")",
            "\u{e9}\u{1f980}",
        ),
        ("emq.json.encode(emq.json.decode(\"[]\"))", "[]"),
        ("pcall(emq.json.decode, \"{\") == false", "true"),
        ("pcall(emq.json.decode, \"[1] x\") == false", "true"),
        ("pcall(emq.json.encode, { print }) == false", "true"),
        ("pcall(emq.json.encode, \"\\255\") == false", "true"),
        (
            "(function() local t = {} t.t = t return pcall(emq.json.encode, t) == false end)()",
            "true",
        ),
        (
            "pcall(emq.json.decode, (\"[\"):rep(100000)) == false",
            "true",
        ),
        (
            "pcall(emq.json.decode, \"1e999\") == false or emq.json.decode(\"1e999\")",
            "true",
        ),
    ]);
}

/// A message of which a script changes a field, as most of them want.
#[test]
fn a_field_of_a_json_message_is_changed() {
    let script = on_publish(
        "local message = emq.json.decode(payload)\n\
         message.temperature = message.temperature * 9 / 5 + 32\n\
         message.by = clientid\n\
         return topic, emq.json.encode(message), qos, retain",
    );
    let broker = broker(&[("json", &script)], "");
    let mut client = broker.client(Version::V311, "json");
    client.sub("t", 1);
    let got = echo(&mut client, "t", "{\"temperature\": 100}");
    assert!(got.contains("\"temperature\":212"), "{got}");
    assert!(
        got.contains(&format!("\"by\":\"{}\"", client.name)),
        "{got}"
    );
    // What is no JSON goes on as it was.
    assert_eq!(
        echo(&mut client, "t", "{\"temperature\""),
        "t {\"temperature\""
    );
    logs(&broker, &["json.lua:2:"]);
}

#[test]
fn the_time() {
    evaluate(&[
        ("math.abs(emq.now() - os.time()) < 60", "true"),
        ("math.abs(emq.now(\"ms\") / 1000 - emq.now()) < 60", "true"),
        ("emq.now(\"ms\") % 1", "0"),
        ("emq.now(\"s\") % 1", "0"),
        ("pcall(emq.now, \"days\") == false", "true"),
    ]);
}

#[test]
fn keys_and_values() {
    evaluate(&[
        ("emq.kv.get(\"nothing\")", "nil"),
        ("emq.kv.set(\"text\", \"a\\0\\255b\")", "true"),
        ("emq.kv.get(\"text\") == \"a\\0\\255b\"", "true"),
        (
            "emq.kv.set(\"number\", 1.5) and type(emq.kv.get(\"number\")) .. emq.kv.get(\"number\")",
            "number1.5",
        ),
        ("emq.kv.set(\"no\", false) and emq.kv.get(\"no\")", "false"),
        ("pcall(emq.kv.set, \"table\", {}) == false", "true"),
        ("pcall(emq.kv.set, {}, 1) == false", "true"),
        ("pcall(emq.kv.set, \"k\", 1, -1) == false", "true"),
        ("pcall(emq.kv.set, \"k\", 1, 0/0) == false", "true"),
        ("emq.kv.set(\"long\", 1, 1e300)", "true"),
        ("pcall(emq.kv.set, (\"k\"):rep(5000), 1) == false", "true"),
        ("emq.kv.incr(\"n\")", "1"),
        ("emq.kv.incr(\"n\", 41)", "42"),
        ("emq.kv.get(\"n\") / 2", "21"),
        ("emq.kv.incr(\"text\")", "nil not a number"),
        ("emq.kv.delete(\"n\")", "true"),
        ("emq.kv.delete(\"n\")", "false"),
        ("emq.kv.get(\"n\")", "nil"),
    ]);
}

/// Memory of `emq.kv` is bounded: what does not fit is refused, and said so.
#[test]
fn keys_and_values_are_bounded() {
    let script = on_publish(
        "local n = tonumber(payload)\n\
         local set, why = emq.kv.set(\"k\" .. n, (\"x\"):rep(10000))\n\
         return topic, tostring(set) .. \" \" .. tostring(why), qos, retain",
    );
    let broker = broker(&[("kv", &script)], "lua.kv.max_bytes = 100KB\n");
    let mut client = broker.client(Version::V311, "kv");
    client.sub("t", 1);
    let got: Vec<String> = (0..12)
        .map(|n| echo(&mut client, "t", &n.to_string()))
        .collect();
    assert_eq!(got[0], "t true nil");
    assert_eq!(got[11], "t nil full");
    // In place of the old value there is room.
    assert_eq!(echo(&mut client, "t", "0"), "t true nil");
}

/// Counting is one step, whichever event loop the others count on.
#[test]
fn counters_count_exactly() {
    let script = on_publish("emq.kv.incr(\"n\") return topic, payload, qos, retain");
    let look = "function on_client_subscribe(c, u, topic)\n\
                if topic == \"look\" then return \"n/\" .. emq.kv.get(\"n\") end return topic end\n";
    let script = look.to_owned()
        + &script.replace(
            "return \"on_message_publish\" end",
            "return \"on_message_publish\", \"on_client_subscribe\" end",
        );
    let broker = broker(&[("count", &script)], "");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = broker.client(Version::V311, "count");
                for _ in 0..200 {
                    client.pub_("x", 0, "");
                }
                client.ping();
            });
        }
    });
    let mut client = broker.client(Version::V311, "look");
    client.sub("look", 1);
    let (_, shown) = broker.ctl(&["subscriptions", "show", &client.name]);
    assert!(shown.contains("n/1600"), "{shown}");
}

/// What a script publishes goes where messages go, and is not given to scripts again.
#[test]
fn publish() {
    let script = on_publish(
        "if topic == \"go\" then\n\
             assert(emq.publish(\"made/0\", payload))\n\
             assert(emq.publish(\"made/1\", \"\\0\\255\", 1, true))\n\
             assert(emq.publish({ topic = \"made/2\", payload = clientid, qos = 2, retain = false }))\n\
         end\n\
         return topic, payload .. \"!\", qos, retain",
    );
    let broker = broker(&[("publish", &script)], "");
    let mut client = broker.client(Version::V5, "publish");
    let codes = client.subscribe(&[Sub::new("made/#", 2).retain_as_published()], &[]);
    assert_eq!(codes, [2]);
    client.pub_("go", 1, "x");
    let message = client.recv_message();
    assert_eq!(
        (message.topic.as_str(), message.payload.as_str()),
        ("made/0", "x")
    );
    assert_eq!((message.qos, message.retain), (0, false));
    match client.recv() {
        Packet::Publish {
            topic,
            payload,
            qos,
            retain,
            id,
            ..
        } => {
            assert_eq!((topic.as_str(), qos, retain), ("made/1", 1, true));
            assert_eq!(payload, [0, 255]);
            client.send_ack(emqttd_tests::packet::AckKind::Puback, id.unwrap());
        }
        other => panic!("{other:?}"),
    }
    let name = client.name.clone();
    assert_eq!(client.expect("made/2", &name).qos, 2);
    // The message that it was called for goes on.
    client.sub("go", 1);
    client.pub_("go", 1, "y");
    let mut all: Vec<String> = (0..4)
        .map(|_| match client.recv() {
            Packet::Publish {
                topic,
                qos,
                id,
                payload,
                ..
            } => {
                let message = emqttd_tests::client::Message {
                    topic: topic.clone(),
                    payload: String::from_utf8_lossy(&payload).into_owned(),
                    qos,
                    retain: false,
                    dup: false,
                    id,
                    props: Default::default(),
                };
                client.acknowledge(&message);
                topic
            }
            other => panic!("{other:?}"),
        })
        .collect();
    all.sort();
    assert_eq!(all, ["go", "made/0", "made/1", "made/2"]);
}

/// A script that publishes because of what it has published would do so for ever.
#[test]
fn publishing_does_not_go_round() {
    let script =
        on_publish("emq.publish(topic, payload .. \"+\") return topic, payload, qos, retain");
    let broker = broker(&[("round", &script), ("other", &script)], "");
    let mut client = broker.client(Version::V311, "round");
    client.sub("t", 0);
    client.pub_("t", 1, "x");
    let mut got = client.payloads(3);
    got.sort();
    assert_eq!(got, ["x", "x+", "x+"]);
    client.pub_("t", 1, "last");
    let mut got = client.payloads(3);
    got.sort();
    assert_eq!(got, ["last", "last+", "last+"]);
}

/// What goes round no more is what scripts have published, not what a client with a name like theirs has.
#[test]
fn nobody_slips_by_under_a_name() {
    let script = on_publish("return topic, payload .. \"!\", qos, retain");
    let broker = broker(&[("name", &script)], "");
    for v in ALL {
        for user in [None, Some(""), Some("emq_lua_hook")] {
            let mut connect = Connect::new(v, "emq_lua_hook");
            connect.username = user.map(str::to_owned);
            let mut client = broker.open(&connect);
            client.sub("t", 1);
            assert_eq!(echo(&mut client, "t", "x"), "t x!", "{v} {user:?}");
            client.disconnect();
        }
    }
}

/// What cannot be published is an error or a reason, and never a harm; in one call are at most 100.
#[test]
fn publishing_has_bounds() {
    let tell =
        |call: &str| format!("(pcall(function() local ok, why = {call} assert(ok, why) end))");
    let wrong = [
        "emq.publish(\"a/+\", \"x\")",
        "emq.publish(\"a/#\", \"x\")",
        "emq.publish(\"\", \"x\")",
        "emq.publish(\"a\\0b\", \"x\")",
        "emq.publish(\"a\\255\", \"x\")",
        "emq.publish((\"x\"):rep(65536), \"x\")",
        "emq.publish(\"a\", {})",
        "emq.publish(\"a\")",
        "emq.publish(nil, \"x\")",
        "emq.publish(\"a\", \"x\", 3)",
        "emq.publish(\"a\", \"x\", 1.5)",
        "emq.publish(\"a\", \"x\", 1, \"maybe\")",
        "emq.publish({ topic = \"a\", payload = \"x\", typo = 1 })",
    ];
    let wrong: Vec<String> = wrong.iter().map(|call| tell(call)).collect();
    let mut cases: Vec<(&str, &str)> = wrong.iter().map(|call| (call.as_str(), "false")).collect();
    let hundred = "(function() for n = 1, 100 do emq.publish(\"flood\", n) end return true end)()";
    let more = "(function() for n = 1, 101 do emq.publish(\"flood\", n) end return true end)()";
    let more = format!("pcall(function() return {more} end) == false");
    cases.push((hundred, "true"));
    cases.push((&more, "true"));
    evaluate(&cases);
}

/// While a file is run nothing is done to the world: it is run before each call.
#[test]
fn files_do_nothing_but_define() {
    let publish = format!(
        "emq.publish(\"at/load\", \"x\")\n{}",
        on_publish("return topic, payload .. \"1\", qos, retain")
    );
    let set = format!(
        "emq.kv.set(\"k\", 1)\n{}",
        on_publish("return topic, payload .. \"2\", qos, retain")
    );
    let log = format!(
        "print(\"told\", 1, nil, true)\nemq.log(\"warning\", \"warned\")\n{}",
        on_publish("return topic, payload .. \"3\", qos, retain")
    );
    let broker = broker(&[("publish", &publish), ("set", &set), ("log", &log)], "");
    let mut client = listener(&broker);
    for _ in 0..3 {
        assert_eq!(echo(&mut client, "t", ""), "t 3");
    }
    logs(&broker, &["publish.lua:1:", "emq.publish"]);
    logs(&broker, &["set.lua:1:", "emq.kv.set"]);
    let log = broker.log_of_this_start();
    assert_eq!(log.matches("warned").count(), 1, "{log}");
    // The log has no control characters.
    assert_eq!(
        log.matches("log: told\\t1\\tnil\\ttrue").count(),
        1,
        "{log}"
    );
    luahook(&broker, &["reload", "log"]);
    let log = broker.log_of_this_start();
    assert_eq!(log.matches("warned").count(), 2, "{log}");
}

/// Levels as the log has them; the script's name is in each line, and a line is one line.
#[test]
fn lines_of_the_log() {
    let script = on_publish(
        "emq.log(\"error\", \"one\", 2, { 3 } ~= nil)\n\
         emq.log(\"info\", \"first\\nsecond\\27[31m\")\n\
         emq.log(\"plain\")\n\
         print(\"by print\", (\"x\"):rep(100000))\n\
         emq.log(\"warning\", \"bytes \\255\\0\")\n\
         return topic, tostring(pcall(emq.log, \"shout\", \"x\")), qos, retain",
    );
    let broker = broker(&[("lines", &script)], "");
    let mut client = broker.client(Version::V311, "lines");
    client.sub("t", 1);
    assert_eq!(echo(&mut client, "t", "x"), "t false");
    logs(&broker, &["[error]", "lines", "one\\t2\\ttrue"]);
    logs(&broker, &["[info]", "lines", "plain"]);
    logs(&broker, &["[warning]", "lines", "bytes"]);
    logs(&broker, &["[info]", "lines", "by print"]);
    let log = broker.log_of_this_start();
    assert!(!log.lines().any(|line| line.starts_with("second")), "{log}");
    assert!(log.lines().all(|line| line.len() < 10_000));
}

/// A script that logs each message fills no disk.
#[test]
fn lines_of_the_log_are_bounded() {
    let script =
        on_publish("for n = 1, 50 do print(\"chatter\", n) end return topic, payload, qos, retain");
    let broker = broker(&[("chatter", &script)], "");
    let mut client = broker.client(Version::V311, "chatter");
    let topic = unique("t");
    client.sub(&topic, 0);
    for _ in 0..100 {
        client.publish(Publish::new(&topic, "x"));
        client.expect(&topic, "x");
    }
    logs(&broker, &["chatter", "logs too much"]);
    let log = broker.log_of_this_start();
    let lines = log.matches("chatter\\t").count();
    assert!((100..4000).contains(&lines), "{lines}");
}
