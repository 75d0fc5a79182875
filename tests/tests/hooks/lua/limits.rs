//! Scripts that loop, allocate, recurse and hide it: cut off, told, and suspended when they do it each time.

use std::thread;
use std::time::{Duration, Instant};

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Broker, Client, Publish, V3, Version};

use super::{
    PATIENCE, broker, echo, eventually, listener, logs, luahook, on_publish, status, succeed,
    write_script,
};

/// Bodies that never end, or would need all memory there is.
const BOMBS: [&str; 34] = [
    "while true do end",
    "repeat until false",
    "for i = 1, math.huge do end",
    "::again:: goto again",
    "local function f() return f() end f()",
    "local function f() return 1 + f() end f()",
    "local function f(...) return f(1, ...) end f()",
    "while true do pcall(error) end",
    "while true do pcall(function() while true do end end) end",
    "local function f() pcall(f) f() end f()",
    "local function f() xpcall(function() while true do end end, function() while true do end end) return f() end f()",
    "xpcall(function() while true do end end, function() return f() end) while true do end",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "string.rep(\"x\", 1e9)",
    "string.rep(\"x\", 1e5, string.rep(\"y\", 1e5))",
    "string.rep(\"\", 1e18)",
    "local s = \"x\" while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = {} end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "string.find(string.rep(\"a\", 5000), string.rep(\"a-\", 5000) .. \"b\")",
    "string.find(string.rep(\"a\", 30000), \".-.-.-.-.-.-.-.-b\")",
    "string.match(string.rep(\"(\", 20000), \"%b()%b()%b()\") string.gsub(string.rep(\"a\", 30000), \"a*a*a*a*b\", \"\")",
    "for w in string.gmatch(string.rep(\"a\", 50000), \"()a*()$\") do local s = string.rep(w, 1000) end while true do end",
    "string.gsub(string.rep(\"a\", 1e5), \"\", function() while true do end end)",
    "string.gsub(string.rep(\"a\", 1e5), \"a\", string.rep(\"b\", 1e5))",
    "string.format(\"%99s\", \"x\") while true do string.format(\"%s\", string.rep(\"x\", 1e4)) end",
    "table.concat(setmetatable({}, { __len = function() return 1e15 end, __index = function() return \"x\" end }))",
    "table.sort({ 1, 2, 3, 4, 5 }, function() while true do end end)",
    "local t = {} for i = 1, 1000 do t[i] = i % 7 end while true do table.sort(t, function(a, b) return a > b end) end",
    "table.insert(setmetatable({}, { __len = function() return 1e15 end }), 1, 1) while true do end",
    "return table.unpack({}, 1, 1e7)",
    "return select(-1, table.unpack({}, 1, 1e6)) or string.byte(string.rep(\"x\", 1e7), 1, -1)",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]",
    "while true do emq.json.encode({ string.rep(\"x\", 1000) }) end",
];

/// A script that has one of these bodies by the payload, and appends `+` to every other message.
fn bombs() -> String {
    let functions: String = BOMBS
        .iter()
        .map(|bomb| format!("function(topic, payload) {bomb} end,\n"))
        .collect();
    format!(
        "local bombs = {{\n{functions}}}\n{}",
        on_publish(
            "local bomb = bombs[tonumber(payload)]\n\
             if bomb then return bomb(topic, payload) end\n\
             return topic, payload .. \"+\", qos, retain"
        )
    )
}

/// Each is cut off, its message passes unchanged, and the next call is fine.
#[test]
fn bombs_are_cut_off() {
    for keys in ["", "lua.state = keep\n"] {
        let broker = broker(
            &[("bombs", &bombs())],
            &format!(
                "lua.max_memory = 4MB\nlua.max_time = 1s\nlua.max_instructions = 300000\n{keys}"
            ),
        );
        let mut client = broker.client(Version::V311, "bombs");
        client.sub("t", 1);
        for (n, bomb) in (1..).zip(BOMBS) {
            let begin = Instant::now();
            assert_eq!(
                echo(&mut client, "t", &n.to_string()),
                format!("t {n}"),
                "{bomb}"
            );
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(8), "{took:?}: {bomb}");
            assert_eq!(echo(&mut client, "t", "x"), "t x+", "after {bomb}");
        }
        assert_eq!(status(&broker, "bombs", "errors"), BOMBS.len().to_string());
        let error = status(&broker, "bombs", "last error");
        assert!(
            error.contains(&format!("bombs.lua:{}:", BOMBS.len() + 1)),
            "{error}"
        );
    }
}

/// What a script catches is not the limit: it ends all the same.
#[test]
fn limits_cannot_be_caught() {
    let catch = |inner: &str| {
        on_publish(&format!(
            "if payload ~= \"go\" then return topic, payload, qos, retain end\n\
             pcall(function() {inner} end)\n\
             xpcall(function() {inner} end, function() return 1 end)\n\
             pcall(pcall, function() {inner} end)\n\
             return topic, \"it got away\", qos, retain"
        ))
    };
    for inner in [
        "while true do end",
        "for i = 1, 1e9 do string.rep(\"x\", 1000) end",
    ] {
        let broker = broker(
            &[("catch", &catch(inner))],
            "lua.max_instructions = 50000\n",
        );
        let mut client = broker.client(Version::V311, "catch");
        client.sub("t", 1);
        assert_eq!(echo(&mut client, "t", "go"), "t go", "{inner}");
    }
}

/// By the clock when instructions are many.
#[test]
fn time_is_limited() {
    let script = on_publish(
        "if payload == \"loop\" then while true do end end return topic, payload .. \"+\", qos, retain",
    );
    let broker = broker(
        &[("time", &script)],
        "lua.max_time = 100ms\nlua.max_instructions = 1000000000000\n",
    );
    let mut client = broker.client(Version::V311, "time");
    client.sub("t", 1);
    let begin = Instant::now();
    assert_eq!(echo(&mut client, "t", "loop"), "t loop");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(90), "{took:?}");
    logs(&broker, &["time.lua:2:"]);
    // On a machine that does not let us run the clock may cut off a call that did nothing.
    eventually("the next one is fine", || {
        echo(&mut client, "t", "x") == "t x+"
    });
}

/// Memory that was used up is there again.
#[test]
fn memory_is_limited() {
    let script = on_publish(
        "if payload == \"fill\" then local t = {} for i = 1, 1e7 do t[i] = (\"x\"):rep(1000) .. i end end\n\
         local s = (\"x\"):rep(100000)\n\
         return topic, payload .. #s, qos, retain",
    );
    let broker = broker(
        &[("memory", &script)],
        "lua.max_memory = 2MB\nlua.max_instructions = 1000000000\n",
    );
    let mut client = broker.client(Version::V311, "memory");
    client.sub("t", 1);
    for _ in 0..5 {
        assert_eq!(echo(&mut client, "t", "fill"), "t fill");
        assert_eq!(echo(&mut client, "t", "x"), "t x100000");
    }
    // Lua does not say where it was.
    logs(
        &broker,
        &["on_message_publish of memory.lua", "not enough memory"],
    );
}

/// A script that is kept and fills its memory for good harms the broker no more than one that does it each time.
#[test]
fn kept_memory_is_limited() {
    let script = format!(
        "kept = {{}}\n{}",
        on_publish(
            "for i = 1, 100 do kept[#kept + 1] = (\"x\"):rep(1000) .. #kept end\nreturn topic, payload .. \"+\", qos, retain"
        )
    );
    let broker = broker(
        &[("kept", &script)],
        "lua.max_memory = 1MB\nlua.state = keep\n",
    );
    let mut client = broker.client(Version::V311, "kept");
    client.sub("t", 1);
    let got: Vec<String> = (0..60).map(|_| echo(&mut client, "t", "x")).collect();
    assert_eq!(got.first().unwrap(), "t x+");
    assert_eq!(got.last().unwrap(), "t x");
    succeed(&broker, "reload", "kept");
    assert_eq!(echo(&mut client, "t", "x"), "t x+");
}

/// Ten calls in a row: then it is left alone, with an alarm, until it is loaded again.
#[test]
fn a_script_that_always_loops_is_suspended() {
    let script = on_publish(
        "if payload == \"fine\" then return topic, payload .. \"+\", qos, retain end while true do end",
    );
    let broker = broker(&[("loop", &script)], "lua.max_instructions = 20000\n");
    let mut watcher = broker.client(Version::V5, "alarm");
    watcher.sub("$SYS/brokers/+/alarms/#", 1);
    let mut client = broker.client(Version::V311, "loop");
    client.sub("t", 1);
    // Not in a row.
    for _ in 0..2 {
        for _ in 0..9 {
            assert_eq!(echo(&mut client, "t", "loop"), "t loop");
        }
        assert_eq!(echo(&mut client, "t", "fine"), "t fine+");
    }
    for _ in 0..10 {
        assert_eq!(echo(&mut client, "t", "loop"), "t loop");
    }
    for _ in 0..3 {
        assert_eq!(echo(&mut client, "t", "fine"), "t fine");
    }
    let raised = watcher.recv_message();
    assert!(
        raised.topic.ends_with("/alarms/lua_script_loop/alert"),
        "{raised:?}"
    );
    logs(&broker, &["loop", "suspended"]);
    for words in [&["status"][..], &["status", "loop"], &["list"]] {
        let text = luahook(&broker, words);
        assert!(text.contains("suspended"), "{words:?}: {text}");
    }
    succeed(&broker, "reload", "loop");
    let cleared = watcher.recv_message();
    assert!(
        cleared.topic.ends_with("/alarms/lua_script_loop/clear"),
        "{cleared:?}"
    );
    assert_eq!(echo(&mut client, "t", "fine"), "t fine+");
    assert!(!luahook(&broker, &["status"]).contains("suspended"));
    // A reload that fails mends nothing; one that unloads does.
    for _ in 0..10 {
        assert_eq!(echo(&mut client, "t", "loop"), "t loop");
    }
    assert!(
        watcher
            .recv_message()
            .topic
            .ends_with("/lua_script_loop/alert")
    );
    write_script(&broker, "loop", "x = = 1");
    luahook(&broker, &["reload", "loop"]);
    assert_eq!(echo(&mut client, "t", "fine"), "t fine");
    succeed(&broker, "unload", "loop");
    assert!(
        watcher
            .recv_message()
            .topic
            .ends_with("/lua_script_loop/clear")
    );
}

/// What was refused while it looped is refused when it is suspended.
#[test]
fn a_suspended_script_refuses_when_errors_do() {
    let script = on_publish("if topic == \"loop\" then while true do end end return topic, payload .. \"+\", qos, retain")
        .replace(
            "return \"on_message_publish\" end",
            "return \"on_message_publish\", \"on_client_subscribe\" end\n\
             function on_client_subscribe(c, u, topic) return topic end",
        );
    let broker = broker(
        &[("loop", &script)],
        "lua.max_instructions = 20000\nlua.on_error = refuse\n",
    );
    for v in V3 {
        let mut client = broker.client(v, "loop");
        client.sub("#", 1);
        assert_eq!(echo(&mut client, "t", "x"), "t x+");
        for _ in 0..10 {
            assert_eq!(client.pub_("loop", 1, "x"), 0);
        }
        client.pub_("t", 1, "x");
        client.quiet();
        let codes = client.subscribe(&[emqttd_tests::Sub::new("other", 1)], &[]);
        assert_eq!(codes, [0x80]);
        succeed(&broker, "reload", "loop");
        assert_eq!(echo(&mut client, "t", "x"), "t x+");
    }
}

/// One script is suspended, the others are not.
#[test]
fn the_others_go_on() {
    let looping = on_publish("while true do end");
    let good = on_publish("return topic, payload .. \"+\", qos, retain");
    let broker = broker(
        &[("loop", &looping), ("good", &good)],
        "lua.max_instructions = 20000\n",
    );
    let mut client = broker.client(Version::V311, "others");
    client.sub("t", 1);
    for _ in 0..15 {
        assert_eq!(echo(&mut client, "t", "x"), "t x+");
    }
    assert_eq!(status(&broker, "loop", "state"), "suspended");
    assert_eq!(status(&broker, "loop", "cut off"), "10");
    assert_eq!(status(&broker, "good", "state"), "loaded");
    assert_eq!(status(&broker, "good", "calls"), "15");
}

/// A script that loops for every message costs its event loop ten times the limit, not one time for each message.
#[test]
fn looping_for_every_message_is_over_soon() {
    const MESSAGES: usize = 600;
    let script = on_publish(
        "if topic == \"loop\" then while true do end end return topic, payload, qos, retain",
    );
    let broker = broker(
        &[("loop", &script)],
        "lua.max_time = 100ms\nlua.max_instructions = 1000000000000\n",
    );
    let mut others: Vec<Client> = (0..6)
        .map(|_| broker.client(Version::V311, "other"))
        .collect();
    let mut looper = broker.client(Version::V311, "looper");
    let begin = Instant::now();
    let done = thread::scope(|scope| {
        let looping = scope.spawn(move || {
            let ids: Vec<u16> = (0..MESSAGES)
                .map(|_| looper.send_publish(Publish::new("loop", "x").qos(1)))
                .collect();
            for id in ids {
                looper.ack(AckKind::Puback, id);
            }
        });
        let waits: Vec<_> = others
            .iter_mut()
            .map(|other| {
                scope.spawn(|| ping_until(other, || begin.elapsed() > Duration::from_secs(2)))
            })
            .collect();
        looping.join().unwrap();
        let done = begin.elapsed();
        for wait in waits {
            let longest = wait.join().unwrap();
            assert!(longest < Duration::from_secs(8), "{longest:?}");
        }
        done
    });
    // Without an end it would take a minute.
    assert!(done < PATIENCE, "{done:?}");
    logs(&broker, &["loop", "suspended"]);
}

/// Pings again and again; the longest time an answer took.
fn ping_until(client: &mut Client, over: impl Fn() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    while !over() {
        let begin = Instant::now();
        client.ping();
        longest = longest.max(begin.elapsed());
    }
    longest
}

/// A plugin is unloaded while a call runs: after that call.
#[test]
fn unloaded_while_a_script_loops() {
    let script = on_publish(
        "if topic == \"loop\" then print(\"here it loops\") while true do end end return topic, payload .. \"+\", qos, retain",
    );
    let broker = broker(
        &[("loop", &script)],
        "lua.max_time = 2s\nlua.max_instructions = 1000000000000\n",
    );
    let mut listener = listener(&broker);
    let mut looper = broker.client(Version::V311, "looper");
    looper.send_publish(Publish::new("loop", "x").qos(1));
    looper.send_publish(Publish::new("after", "x").qos(1));
    logs(&broker, &["here it loops"]);
    unload_in_time(&broker);
    listener.expect("loop", "x");
    // The second one came before the unloading was over, or after it.
    let after = listener.recv_message().payload;
    assert!(["x", "x+"].contains(&after.as_str()), "{after}");
    for id in [1, 2] {
        looper.ack(AckKind::Puback, id);
    }
    looper.pub_("t", 1, "x");
    listener.expect("t", "x");
    broker.load(super::PLUGIN);
    looper.pub_("t", 1, "x");
    listener.expect("t", "x+");
}

#[track_caller]
fn unload_in_time(broker: &Broker) {
    let begin = Instant::now();
    broker.unload(super::PLUGIN);
    let took = begin.elapsed();
    assert!(took < PATIENCE, "{took:?}");
}

/// A stop of the broker does not wait for scripts longer than they may run.
#[test]
fn stopped_while_a_script_loops() {
    let script = on_publish("print(\"here it loops\") while true do end");
    let mut broker = broker(
        &[("loop", &script)],
        "lua.max_time = 1s\nlua.max_instructions = 1000000000000\n",
    );
    let mut looper = broker.client(Version::V311, "looper");
    for _ in 0..5 {
        looper.send_publish(Publish::new("loop", "x"));
    }
    logs(&broker, &["here it loops"]);
    let begin = Instant::now();
    broker.end(emqttd_tests::End::Stop);
    let took = begin.elapsed();
    assert!(took < PATIENCE, "{took:?}");
}
