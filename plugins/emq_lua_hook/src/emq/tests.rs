#![allow(clippy::unwrap_used)]
use super::*;
use crate::errors;
use emqttd_plugin_sdk::Descriptor;
use emqttd_plugin_sdk::testing::{self, FakeBroker};
use mlua::FromLuaMulti;
use std::sync::OnceLock;

struct Bench {
    broker: FakeBroker,
    lua: Lua,
    budget: Budget,
    library: Arc<Library>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with("64KB")
    }

    fn with(kv_bytes: &str) -> Bench {
        let broker = FakeBroker::new();
        let held: Arc<OnceLock<Arc<Library>>> = Arc::default();
        let given = Arc::clone(&held);
        let plugin = Descriptor::new(SENDER, "1.0", "", move |ctx| {
            let settings = Settings::read(&ctx.config())?;
            given.get_or_init(|| Library::new(ctx, &settings));
            Ok(Box::new(()))
        });
        let config = emqttd_plugin_sdk::Config::of(&[("lua.kv.max_bytes", kv_bytes)]);
        broker.start(&plugin, config).unwrap();
        let library = Arc::clone(held.get().unwrap());
        let (lua, budget) = (Lua::new(), Budget::default());
        install(&lua, &budget, &library).unwrap();
        Bench {
            broker,
            lua,
            budget,
            library,
        }
    }

    fn eval<T: FromLuaMulti>(&self, script: &str) -> T {
        self.budget.refill(1_000_000);
        let chunk = self.lua.load(script).set_name("=t.lua");
        chunk.eval().map_err(|error| errors::text(&error)).unwrap()
    }

    fn error(&self, script: &str) -> String {
        self.budget.refill(1_000_000);
        self.error_now(script)
    }

    /// On what is left of the budget.
    fn error_now(&self, script: &str) -> String {
        let chunk = self.lua.load(script).set_name("=t.lua");
        errors::text(&chunk.exec().unwrap_err())
    }
}

#[test]
fn messages_are_published() {
    let bench = Bench::new();
    let told: bool = bench.eval("return emq.publish('a/b', 'x\\0\\255')");
    assert!(told);
    bench.eval::<()>(
        "emq.publish('n', 5, 1, true) emq.publish('n', '', 2, 0) emq.publish('n', 1.5, 0, 1)",
    );
    bench.eval::<()>("emq.publish{topic='t', payload='p', qos=1, retain=true} emq.publish{topic='t', payload=''}");
    let message = |topic: &str, payload: &[u8], qos: u8, retain: bool| Publish {
        from: Some("emq_lua_hook".into()),
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::from_u8(qos).unwrap(),
        retain,
    };
    assert_eq!(
        bench.broker.published(),
        [
            message("a/b", b"x\0\xff", 0, false),
            message("n", b"5", 1, true),
            message("n", b"", 2, false),
            message("n", b"1.5", 0, true),
            message("t", b"p", 1, true),
            message("t", b"", 0, false),
        ]
    );
    assert_eq!(bench.broker.metric("published"), Some(6));
}

#[test]
fn what_cannot_be_published_is_told() {
    let bench = Bench::new();
    for topic in ["'a/#'", "''", "'\\255'", "'a\\0b'"] {
        let script = format!("local ok, why = emq.publish({topic}, 'x') return ok == nil, why");
        let (refused, why): (bool, String) = bench.eval(&script);
        assert!(refused && !why.is_empty(), "{topic}");
    }
    for (script, error) in [
        (
            "emq.publish()",
            "t.lua:1: bad argument #1 to 'publish' (string expected, got no value)",
        ),
        (
            "emq.publish('t')",
            "t.lua:1: bad argument #2 to 'publish' (string expected, got no value)",
        ),
        (
            "emq.publish('t', nil)",
            "t.lua:1: bad argument #2 to 'publish' (string expected, got nil)",
        ),
        (
            "emq.publish('t', {})",
            "t.lua:1: bad argument #2 to 'publish' (string expected, got table)",
        ),
        (
            "emq.publish('t', 'x', 3)",
            "t.lua:1: bad argument #3 to 'publish' (a QoS of 0, 1 or 2 expected)",
        ),
        (
            "emq.publish('t', 'x', 0.5)",
            "t.lua:1: bad argument #3 to 'publish' (a QoS of 0, 1 or 2 expected)",
        ),
        (
            "emq.publish('t', 'x', 0, 'yes')",
            "t.lua:1: bad argument #4 to 'publish' (true or false expected)",
        ),
        (
            "\nemq.publish{topic='t', payload='', retained=true}",
            "t.lua:2: bad argument #1 to 'publish' (no field 'retained')",
        ),
    ] {
        assert_eq!(bench.error(script), error);
    }
    assert_eq!(bench.broker.published(), []);
}

#[test]
fn a_script_does_not_hear_itself_for_ever() {
    let script = "function register_hook() return 'on_message_delivered', 'on_message_acked' end
        function on_message_delivered(c, u, topic) emq.publish(topic .. '/d', 'x') end
        function on_message_acked(c, u, topic) emq.publish(topic .. '/a', 'x') end";
    let broker = FakeBroker::new();
    let dir = broker.data_dir().join("hook_lua");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("x.lua"), script).unwrap();
    let config = emqttd_plugin_sdk::Config::of(&[
        ("lua.dir", dir.to_str().unwrap()),
        ("lua.max_time", "10s"),
    ]);
    broker.start(&crate::plugin(), config).unwrap();
    let hear = |from: &str, username: Option<&str>| {
        let to = testing::by_name("c", None);
        let mut message = testing::message("t", b"");
        message.from = Some(testing::by_name(from, username));
        broker.message_delivered(to, &message);
        broker.message_acked(to, &message);
        broker.published().len()
    };
    assert_eq!(hear("client", None), 2);
    assert_eq!(hear(SENDER, Some("")), 0);
    // a client that goes by the same name
    assert_eq!(hear(SENDER, None), 2);
}

#[test]
fn a_call_publishes_so_many() {
    let bench = Bench::new();
    let many = "for i = 1, 101 do emq.publish('t', i) end";
    assert_eq!(
        bench.error(many),
        "t.lua:1: emq.publish: more than 100 messages in one call"
    );
    assert_eq!(bench.broker.published().len(), 100);
    bench.eval::<()>("emq.publish('t', 'x')");
    assert_eq!(bench.broker.published().len(), 1);
}

#[test]
fn while_a_file_is_run_nothing_is_changed() {
    let bench = Bench::new();
    bench.eval::<()>("emq.kv.set('a', 1)");
    for phase in [Phase::Load, Phase::Rerun] {
        for call in [
            "publish('t', 'x')",
            "kv.set('a', 2)",
            "kv.delete('a')",
            "kv.incr('a')",
        ] {
            bench.budget.refill(1_000_000);
            bench.budget.enter(phase);
            let function = call.split('(').next().unwrap();
            assert_eq!(
                bench.error_now(&format!("emq.{call}")),
                format!("t.lua:1: emq.{function} can only be called from a callback")
            );
        }
        let still: f64 = bench.lua.load("return emq.kv.get('a')").eval().unwrap();
        assert_eq!(still, 1.0);
    }
    assert_eq!(bench.broker.published(), []);
}

#[test]
fn values_are_kept() {
    let bench = Bench::new();
    let all: String = bench.eval(
        r#"
        local out = {}
        local function say(...) out[#out + 1] = table.concat({...}, " ") end
        say(tostring(emq.kv.get("a")))
        say(tostring(emq.kv.set("a", "x\0y")), emq.kv.get("a") == "x\0y" and "same" or "other")
        emq.kv.set("a", 10 / 2)        say(tostring(emq.kv.get("a")))
        emq.kv.set("a", 0.5)           say(tostring(emq.kv.get("a")))
        emq.kv.set("a", false, 60)     say(tostring(emq.kv.get("a")))
        say(tostring(emq.kv.delete("a")), tostring(emq.kv.delete("a")))
        emq.kv.set(1, "one")           say(emq.kv.get("1"))
        say(emq.kv.incr("n"), emq.kv.incr("n", 2), emq.kv.incr("n", -0.5))
        local sum, why = emq.kv.incr(1) say(tostring(sum), why)
        emq.kv.set("gone", 1, 0.000001)
        local till = emq.now() + 0.01 repeat until emq.now() > till
        say(tostring(emq.kv.get("gone")))
        emq.kv.set("stays", 1, math.huge) say(emq.kv.get("stays"))
        return table.concat(out, "|")
        "#,
    );
    assert_eq!(
        all,
        "nil|true same|5|0.5|false|true false|one|1 3 2.5|nil not a number|nil|1"
    );
    // one store for all interpreters
    let other = Lua::new();
    install(&other, &bench.budget, &bench.library).unwrap();
    let number: f64 = other.load("return emq.kv.get('n')").eval().unwrap();
    assert_eq!(number, 2.5);
    assert_eq!(bench.library.kv_figures().entries, 3);
}

#[test]
fn what_cannot_be_kept_is_told() {
    let bench = Bench::with("1KB");
    let (kept, why): (Value, String) = bench.eval("return emq.kv.set('a', ('x'):rep(2000))");
    assert!(kept.is_nil());
    assert_eq!(why, "full");
    let (sum, why): (Value, String) =
        bench.eval("emq.kv.set('a', ('x'):rep(700)) return emq.kv.incr('b')");
    assert!(sum.is_nil());
    assert_eq!(why, "full");
    for (script, error) in [
        (
            "emq.kv.get()",
            "bad argument #1 to 'get' (string expected, got no value)",
        ),
        (
            "emq.kv.get(true)",
            "bad argument #1 to 'get' (string expected, got boolean)",
        ),
        (
            "emq.kv.get(('k'):rep(4097))",
            "bad argument #1 to 'get' (a key has at most 4096 bytes)",
        ),
        (
            "emq.kv.set('a')",
            "bad argument #2 to 'set' (string, number or boolean expected, got no value)",
        ),
        (
            "emq.kv.set('a', {})",
            "bad argument #2 to 'set' (string, number or boolean expected, got table)",
        ),
        (
            "emq.kv.set('a', 1, 0)",
            "bad argument #3 to 'set' (seconds above 0 expected)",
        ),
        (
            "emq.kv.set('a', 1, 0/0)",
            "bad argument #3 to 'set' (seconds above 0 expected)",
        ),
        (
            "emq.kv.set('a', 1, '1')",
            "bad argument #3 to 'set' (number expected, got string)",
        ),
        (
            "emq.kv.incr('a', 'x')",
            "bad argument #2 to 'incr' (number expected, got string)",
        ),
    ] {
        assert_eq!(bench.error(script), format!("t.lua:1: {error}"));
    }
}

#[test]
fn the_time() {
    let bench = Bench::new();
    let (fraction, seconds, ms): (f64, f64, f64) =
        bench.eval("return emq.now(), emq.now('s'), emq.now('ms')");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((fraction - now).abs() < 10.0 && (seconds - now).abs() < 10.0);
    assert!((ms / 1000.0 - now).abs() < 10.0);
    assert_eq!((seconds.fract(), ms.fract()), (0.0, 0.0));
    assert!(bench.error("emq.now('h')").contains("s or ms expected"));
}

#[test]
fn json_from_scripts() {
    let bench = Bench::new();
    let text: String = bench.eval(
        r#"
        local t = emq.json.decode('{"list":[],"n":3,"none":null,"s":"\\u00e4"}')
        assert(t.none == emq.json.null and t.n == 3 and t.s == "ä")
        t.made = emq.json.array()
        t.made2 = emq.json.array{1}
        t.object = {}
        return emq.json.encode(t)
        "#,
    );
    assert_eq!(
        text,
        r#"{"list":[],"made":[],"made2":[1],"n":3,"none":null,"object":{},"s":"ä"}"#
    );
    let protected: String = bench.eval("return getmetatable(emq.json.array())");
    assert_eq!(protected, "array");
    for (script, error) in [
        (
            "emq.json.encode{p='\\255'}",
            "emq.json.encode: a string is not UTF-8 (at .p)",
        ),
        (
            "emq.json.decode('\"\\255\"')",
            "emq.json.decode: invalid unicode code point at line 1 column 2",
        ),
        (
            "emq.json.decode()",
            "bad argument #1 to 'decode' (string expected, got nil)",
        ),
        (
            "emq.json.array(1)",
            "bad argument #1 to 'array' (table expected)",
        ),
        (
            "emq.json.array(setmetatable({}, {}))",
            "bad argument #1 to 'array' (a table without metatable expected)",
        ),
    ] {
        assert_eq!(bench.error(script), format!("t.lua:1: {error}"));
    }
}

#[test]
fn lines_as_text() {
    let bench = Bench::new();
    let text = |script: &str| -> String {
        bench.budget.refill(1_000_000);
        let args: MultiValue = bench.lua.load(script).eval().unwrap();
        line_text(
            &Call {
                lua: &bench.lua,
                budget: &bench.budget,
                library: &bench.library,
                args,
            },
            1,
        )
        .unwrap()
    };
    assert_eq!(
        text(r#"return "a\0\255", 10/2, 1.5, nil, true, emq.json.null"#),
        "a\0\u{fffd}\t5\t1.5\tnil\ttrue\tnull"
    );
    assert_eq!(
        text("return setmetatable({}, {__tostring = function() return 'me' end})"),
        "me"
    );
    assert!(text("return {}").starts_with("table: "));
    assert_eq!(text("return"), "nil");
    let long = text("return ('x'):rep(5000), ('y'):rep(5000)");
    assert_eq!(long.len(), MAX_LINE + 2);
    assert!(long.ends_with("x.."));
}

#[test]
fn the_words_of_log_are_checked() {
    let bench = Bench::new();
    bench.eval::<()>("emq.log('just text') emq.log('warning', 'text') emq.log(5) emq.log() print() print(1, nil)");
    assert_eq!(
        bench.error("emq.log('loud', 'text')"),
        "t.lua:1: bad argument #1 to 'log' (debug, info, warning, .. expected)"
    );
}

#[test]
fn every_function_is_paid_for() {
    let bench = Bench::new();
    bench.eval::<()>("large = ('x'):rep(1000000)");
    for script in [
        "while true do emq.log('x') end",
        "while true do emq.kv.get('x') end",
        "while true do emq.kv.set('x', 1) end",
        "while true do emq.json.encode({}) end",
        "while true do emq.json.decode('1') end",
        "while true do emq.kv.set('x', large) end",
        "while true do emq.publish('#', large) end",
    ] {
        bench.budget.refill(100_000);
        bench.error_now(script);
        assert!(bench.budget.exhausted(), "{script}");
    }
}
