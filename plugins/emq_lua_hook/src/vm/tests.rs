#![allow(clippy::unwrap_used)]
use super::*;
use crate::settings::Settings;
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Descriptor};
use std::sync::OnceLock;
use std::time::Duration;

/// A library of some broker.
fn library() -> Arc<Library> {
    static FOUND: OnceLock<Arc<Library>> = OnceLock::new();
    let plugin = Descriptor::new("lua", "1", "", |ctx| {
        let settings = Settings::read(&Config::default())?;
        let _ = FOUND.set(Library::new(ctx, &settings));
        Ok(Box::new(()))
    });
    if FOUND.get().is_none() {
        let broker = Box::leak(Box::new(FakeBroker::new()));
        broker.start(&plugin, Config::default()).unwrap();
    }
    Arc::clone(FOUND.get().unwrap())
}

const HOOK: Hook = Hook::ClientConnected;

fn recipe(source: &str) -> Recipe {
    Recipe {
        name: "x".into(),
        source: source.as_bytes().into(),
        limits: Limits {
            instructions: 1_000_000,
            time: Duration::from_secs(30),
            memory: 4 << 20,
        },
        keep: false,
        library: library(),
    }
}

/// A script whose callback has that body, after `head`.
fn with_body(head: &str, body: &str) -> Recipe {
    recipe(&format!(
        "{head}\nfunction on_client_connected(a, b) {body} end\nfunction register_hook() return 'on_client_connected' end"
    ))
}

fn make(recipe: &Recipe) -> Vm {
    recipe.make(Phase::Load).unwrap().0
}

/// What a callback returns, as text.
fn call(vm: &mut Vm, recipe: &Recipe) -> Result<String, Failure> {
    vm.call(recipe, HOOK, ("A", "B"), |values| {
        let words = values.iter().map(|value| match value {
            Value::String(text) => text.to_string_lossy(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            other => other.type_name().to_string(),
        });
        Ok(words.collect::<Vec<_>>().join(" "))
    })
}

fn once(head: &str, body: &str) -> Result<String, Failure> {
    let recipe = with_body(head, body);
    let mut vm = make(&recipe);
    let first = call(&mut vm, &recipe);
    let again = call(&mut vm, &recipe);
    // Whatever happened, the next call finds the same interpreter.
    assert_eq!(first.is_ok(), again.is_ok(), "{first:?} {again:?}");
    first
}

#[track_caller]
fn error(head: &str, body: &str) -> String {
    match once(head, body) {
        Err(Failure::Error(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn cut_off(head: &str, body: &str) -> String {
    let recipe = with_body(head, body);
    let mut vm = make(&recipe);
    for _ in 0..3 {
        match call(&mut vm, &recipe) {
            Err(Failure::CutOff(_)) => {}
            other => panic!("{body}: {other:?}"),
        }
    }
    match call(&mut vm, &recipe) {
        Err(Failure::CutOff(text)) => text,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn it_is_lua_5_2() {
    assert_eq!(
        once("", "return _VERSION, 10 / 2, a .. b").unwrap(),
        "Lua 5.2 5 AB"
    );
    assert_eq!(
        once("", "return tostring(10 / 2), #'\\0\\255'").unwrap(),
        "5 2"
    );
}

#[test]
fn each_call_finds_what_loading_left() {
    let heads = [
        ("n = 0", "n = n + 1 return n"),
        ("local n = 0", "n = n + 1 return n"),
        (
            "t = {inner = {0}}",
            "t.inner[1] = t.inner[1] + 1 return t.inner[1]",
        ),
        ("", "n = (n or 0) + 1 return n"),
        ("", "_G.n = (_G.n or 0) + 1 return n"),
        ("", "rawset(_G, 'n', (n or 0) + 1) return n"),
        ("", "string.n = (string.n or 0) + 1 return string.n"),
        ("", "rawset(math, 'n', (math.n or 0) + 1) return math.n"),
        ("", "table.insert(table, 1) return #table"),
        ("", "emq.kv.n = (emq.kv.n or 0) + 1 return emq.kv.n"),
        ("", "emq.n = (emq.n or 0) + 1 return emq.n"),
        (
            "",
            "for k, v in pairs(_G) do if k == 'string' then v.n = (v.n or 0) + 1 return v.n end end",
        ),
        (
            "m = setmetatable({}, {n = 0})",
            "local t = getmetatable(m) t.n = t.n + 1 return t.n",
        ),
        (
            "function f() return 1 end",
            "local g = f f = function() return g() + 1 end return g()",
        ),
        (
            "local function make() local n = 0 return function() n = n + 1 return n end end c = make()",
            "return c()",
        ),
    ];
    for (head, body) in heads {
        let mut recipe = with_body(head, body);
        let mut vm = make(&recipe);
        for _ in 0..3 {
            assert_eq!(call(&mut vm, &recipe).unwrap(), "1", "{head} {body}");
        }
        recipe.keep = true;
        let mut vm = make(&recipe);
        assert_eq!(call(&mut vm, &recipe).unwrap(), "1", "{head} {body}");
        assert_eq!(call(&mut vm, &recipe).unwrap(), "2", "{head} {body}");
    }
}

#[test]
fn what_register_hook_does_is_part_of_loading() {
    let source = "function on_client_connected() set.n = set.n + 1 return set.n end
                  function register_hook() set = {n = 5} return 'on_client_connected' end";
    let recipe = recipe(source);
    let mut vm = make(&recipe);
    assert_eq!(call(&mut vm, &recipe).unwrap(), "6");
    assert_eq!(call(&mut vm, &recipe).unwrap(), "6");
}

#[test]
fn libraries_can_be_extended_by_a_script() {
    let head = "function string.twice(s) return s .. s end
                local old = string.upper
                function string.upper(s) return '<' .. old(s) .. '>' end";
    for keep in [false, true] {
        let mut recipe = with_body(
            head,
            "return ('x'):twice(), ('x'):upper(), string.lower('Y'), ('y'):rep(2)",
        );
        recipe.keep = keep;
        let mut vm = make(&recipe);
        for _ in 0..3 {
            assert_eq!(call(&mut vm, &recipe).unwrap(), "xx <X> y yy");
        }
    }
    // A library that was spoilt in one call is whole in the next.
    let recipe = with_body(
        "",
        "local r = string.rep and 'whole' string.rep = false return r",
    );
    let mut vm = make(&recipe);
    assert_eq!(call(&mut vm, &recipe).unwrap(), "whole");
    assert_eq!(call(&mut vm, &recipe).unwrap(), "whole");
}

#[test]
fn libraries_and_globals_can_be_listed() {
    let body = "local n, m = 0, 0
                mine = 1
                for name in pairs(_G) do n = n + 1; if name == 'mine' or name == 'pairs' then m = m + 1 end end
                for name in pairs(string) do if name == 'rep' then m = m + 1 end end
                return n > 15, m";
    assert_eq!(once("", body).unwrap(), "true 3");
}

#[test]
fn nothing_leads_outside() {
    let gone = "io os.execute os.remove os.getenv os.exit os.rename os.tmpname debug package require module dofile \
                loadfile load loadstring collectgarbage coroutine string.dump newproxy getfenv setfenv";
    for name in gone.split_whitespace() {
        assert_eq!(
            once("", &format!("return {name} == nil")).unwrap(),
            "true",
            "{name}"
        );
    }
    for metatable in ["''", "string", "_G", "math", "emq", "emq.kv"] {
        let body = format!("return getmetatable({metatable})");
        assert_eq!(once("", &body).unwrap(), "false", "{metatable}");
        if metatable != "''" {
            error("", &format!("setmetatable({metatable}, {{}})"));
        }
    }
    assert!(recipe("\x1bLua").make(Phase::Load).is_err(), "no bytecode");
    error("", "setmetatable({}, {__gc = function() end})");
}

#[test]
fn the_sandbox_itself_is_not_seen() {
    for start in ["and _ENV", ", _ENV", "or _ENV", "== _ENV", ".. ''"] {
        let error = recipe(start).make(Phase::Load).map(drop).unwrap_err();
        assert!(
            error.starts_with("x.lua:1: unexpected symbol"),
            "{start}: {error}"
        );
    }
}

#[test]
fn nothing_is_done_when_the_file_is_run_again() {
    // Without asking for the library by its name.
    let head = "local found for k, v in pairs(_G) do if k == 'emq' then found = v end end
                pcall(found.kv.incr, 'run again')";
    let body = "return emq.kv.get('run again')";
    assert_eq!(once(head, body).unwrap(), "nil");
}

#[test]
fn a_first_line_for_the_shell_is_passed_over() {
    for head in [
        "#!/usr/bin/lua",
        "\u{feff}-- x",
        "\u{feff}#!/usr/bin/lua",
        "#",
    ] {
        assert_eq!(once(head, "return 1").unwrap(), "1", "{head:?}");
        assert!(
            error(head, "return nil + 1").starts_with("x.lua:2: "),
            "{head:?}"
        );
    }
}

#[test]
fn what_does_not_end_is_cut_off() {
    let text = cut_off("", "while true do end");
    assert_eq!(
        text,
        "x.lua:2: cut off after lua.max_instructions = 1000000"
    );
    for body in [
        "repeat until false",
        "while true do pcall(error, 'x') end",
        "local function f() pcall(f) return f() end f()",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "pcall(function() while true do end end) while true do end",
        "local t = setmetatable({}, {__index = function(t, k) return t[k .. 'x'] end}) while true do pcall(function() return t.a end) end",
        "for i = 1, 1e300 do end",
        "while true do string.rep('x', 1000) end",
        "string.rep('x', 1e9)",
        "('x'):rep(1e9, ('y'):rep(100))",
        "string.find(('a'):rep(30000), ('a*'):rep(50) .. 'b')",
        "('x'):rep(100):gsub('x', function() while true do end end)",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "table.concat(setmetatable({}, {__len = function() return 1e9 end}))",
        "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
        "for _ in pairs(setmetatable({}, {__pairs = function() while true do end end})) do end",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        "while true do tostring(1) end",
        "while true do emq.now() end",
    ] {
        let recipe = with_body("", body);
        let mut vm = make(&recipe);
        let begun = Instant::now();
        let failure = call(&mut vm, &recipe).unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{body}: {:?}",
            begun.elapsed()
        );
        assert!(failure.text().starts_with("x.lua"), "{body}: {failure:?}");
        let again = call(&mut vm, &recipe).unwrap_err();
        assert_eq!(again, failure, "{body}");
    }
}

#[test]
fn time_ends() {
    let mut recipe = with_body("", "while true do end");
    recipe.limits.instructions = u64::MAX;
    recipe.limits.time = Duration::from_millis(30);
    let mut vm = make(&recipe);
    let begun = Instant::now();
    let failure = call(&mut vm, &recipe).unwrap_err();
    let expected = "x.lua:2: cut off after lua.max_time = 30ms";
    assert_eq!(failure, Failure::CutOff(expected.into()));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn instructions_that_do_much_are_few() {
    let large =
        "local s = ('x'):rep(2e6) local t = ('x'):rep(2e6 - 1) .. 'y' local n = ('1'):rep(1e6)";
    for body in [
        "while true do local u = s .. t end",
        "while true do local u = s < t end",
        "while true do local u = s == t end",
        "while true do local u = n + 1 end",
        "while true do local u = {table.unpack({}, 1, 1e5)} end",
        "while true do tostring(s):upper() end",
        "local p = '[' .. s .. s while true do pcall(string.find, 'a', p) end",
        "while true do pcall(math.max, n, n, n, n, n, n, n, n) end",
    ] {
        let mut recipe = with_body("", &format!("{large} {body}"));
        recipe.limits.memory = 16 << 20;
        recipe.limits.time = Duration::from_millis(100);
        let mut vm = make(&recipe);
        let begun = Instant::now();
        let failure = call(&mut vm, &recipe).unwrap_err();
        let took = begun.elapsed();
        assert!(matches!(failure, Failure::CutOff(_)), "{body}: {failure:?}");
        assert!(took < Duration::from_secs(3), "{body}: {took:?}");
    }
}

#[test]
fn memory_ends() {
    let text = cut_off("", "local s = 'x' while true do s = s .. s end");
    assert!(text.contains("lua.max_memory = 4194304"), "{text}");
    cut_off("", "local t = {} for i = 1, 1e6 do t[i] = i end");
    cut_off(
        "",
        "local t = {} while true do t = {t, ('x'):rep(10000) .. #t} end",
    );
    cut_off("", "local function f() return 1 + f() end f()");
}

#[test]
fn garbage_is_not_held_against_a_script() {
    // 400 calls make far more than the limit.
    for keep in [false, true] {
        let mut recipe = with_body(
            "",
            "local t = {} for i = 1, 20 do t[i] = ('x'):rep(5000) .. i end return #t",
        );
        recipe.keep = keep;
        let mut vm = make(&recipe);
        for _ in 0..400 {
            assert_eq!(call(&mut vm, &recipe).unwrap(), "20");
        }
        assert!(vm.lua.used_memory() <= recipe.limits.memory);
    }
}

#[test]
fn what_a_call_has_gathered_is_free_again() {
    let recipe = with_body(
        "all = {}",
        "for i = 1, 100 do all[#all + 1] = ('x'):rep(20000) .. i end return #all",
    );
    let mut vm = make(&recipe);
    for _ in 0..50 {
        assert_eq!(call(&mut vm, &recipe).unwrap(), "100");
    }
    // Kept, it ends at the limit, and what was kept is still there.
    let recipe = Recipe {
        keep: true,
        ..recipe
    };
    let mut vm = make(&recipe);
    assert_eq!(call(&mut vm, &recipe).unwrap(), "100");
    let failure = call(&mut vm, &recipe)
        .and_then(|_| call(&mut vm, &recipe))
        .unwrap_err();
    assert!(matches!(failure, Failure::CutOff(_)), "{failure:?}");
}

/// To the last byte, by smaller and smaller pieces.
const FILL: &str = "local ok
    all = {}
    for _, size in ipairs{100000, 10000, 1000, 100, 1} do
      repeat ok = pcall(function() all = {all, ('x'):rep(size) .. #all} end) until not ok
    end
    repeat ok = pcall(function() all = {all} end) until not ok";

#[test]
fn memory_that_a_call_has_filled_is_free_for_the_next() {
    for body in [
        "all = nil",
        "string.all = all all = nil",
        "emq.kv.all = all",
        // Libraries that are asked for when there is no memory to note it.
        "pcall(function() return math, os, bit32, table, string, emq end)",
    ] {
        // With its own arguments, which need memory before anything is cleared away.
        let body = format!(
            "if a == 'full' then {FILL} {body} end return string.all, emq.kv.all, all, math.pi"
        );
        let recipe = with_body("", &body);
        let mut vm = make(&recipe);
        for _ in 0..3 {
            let _ = vm.call(&recipe, HOOK, ("full", "B"), |_| Ok(()));
            let large = "x".repeat(recipe.limits.memory / 4);
            let read = |values: MultiValue| Ok(values.iter().filter(|v| v.is_nil()).count());
            assert_eq!(vm.call(&recipe, HOOK, ("A", large), read), Ok(3), "{body}");
        }
    }
}

#[test]
fn many_globals_are_not_paid_for_by_the_next_call() {
    let body = "if a == 'many' then for i = 1, 20000 do _G[i] = i end end return 1";
    let mut recipe = with_body("", body);
    // To set them takes 3 each; to clear them one by one takes more.
    recipe.limits.instructions = 70_000;
    let mut vm = make(&recipe);
    for _ in 0..3 {
        vm.call(&recipe, HOOK, ("many", "B"), |_| Ok(())).unwrap();
        assert_eq!(call(&mut vm, &recipe).unwrap(), "1");
    }
}

#[test]
fn deep_recursion_is_an_error() {
    for body in [
        "local function f() return 1 + f() end return f()",
        "local function f() return (('x'):gsub('x', f)) end return f()",
        "local function f() return pcall(f) and 1 end error(f())",
        "local function f(...) return (select('#', ...)), f(1, ...) end f()",
        "local function f() table.sort({1, 2}, f) return true end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "local t = {} for i = 1, 300 do t = setmetatable({}, {__index = t}) end local function f() return t.x + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) return tostring(t) end return tostring(t)",
        "local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end return t .. t",
        "local t = {} for _ = 1, 1e5 do t = {t} end return emq.json.encode(t)",
    ] {
        let recipe = with_body("", body);
        // As large as that of an event loop.
        let run = move || {
            let mut vm = make(&recipe);
            let failure = call(&mut vm, &recipe).unwrap_err();
            assert!(failure.text().starts_with("x.lua"), "{failure:?}");
            assert!(call(&mut vm, &recipe).is_err());
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(run).unwrap().join().unwrap();
    }
}

#[test]
fn errors_name_file_and_line() {
    for (body, expected) in [
        (
            "return nil + 1",
            "x.lua:2: attempt to perform arithmetic on a nil value",
        ),
        ("error('oh')", "x.lua:2: oh"),
        ("error('oh', 0)", "x.lua: oh"),
        ("error('a\\nb\\1')", "x.lua:2: a\\nb\\u{1}"),
        (
            "nothing()",
            "x.lua:2: attempt to call global 'nothing' (a nil value)",
        ),
    ] {
        assert_eq!(error("", body), expected, "{body}");
    }
    for body in [
        "error({})",
        "error(nil)",
        "error(true)",
        "error(setmetatable({}, {__tostring = function() return 'z' end}))",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "error(setmetatable({}, {__tostring = function() return {} end}))",
        "error(('x'):rep(100000))",
        "error(print)",
    ] {
        let text = error("", body);
        assert!(text.starts_with("x.lua"), "{text}");
        assert!(text.len() < 600, "{}", text.len());
    }
    for body in [
        "string.rep()",
        "('x'):rep({})",
        "table.concat({{}})",
        "emq.json.decode('{')",
        "math.random(0)",
    ] {
        let text = error("", body);
        assert!(text.starts_with("x.lua:2: "), "{text}");
    }
}

#[test]
fn errors_can_be_caught() {
    for (body, expected) in [
        ("return pcall(error, 'x', 0)", "false x"),
        ("return pcall(function() error({}) end)", "false table"),
        (
            "return pcall(function(...) return ... end, 1, 2)",
            "true 1 2",
        ),
        ("return pcall(nil)", "false attempt to call a nil value"),
        ("return type(select(2, pcall(string.rep)))", "string"),
        (
            "return xpcall(function() error('x', 0) end, function(e) return e .. '!' end)",
            "false x!",
        ),
        (
            "return xpcall(function(...) return ... end, print, 1, 2)",
            "true 1 2",
        ),
        (
            "return type(select(2, xpcall(string.rep, function(e) return e end)))",
            "string",
        ),
        (
            "local ok, e = pcall(function() return 1 .. {} end) return ok, e",
            "false x.lua:2: attempt to concatenate a table value",
        ),
        (
            "local ok, e = pcall(string.rep, 'x', 1e7) return ok, e:match('memory')",
            "false memory",
        ),
    ] {
        assert_eq!(once("", body).unwrap(), expected, "{body}");
    }
}

#[test]
fn a_script_that_cannot_be_loaded_says_why() {
    let mut endless = recipe("while true do end");
    endless.limits.instructions = 10_000;
    for (recipe, expected) in [
        (recipe("x ="), "x.lua:1: "),
        (recipe("\n\nx = = 1"), "x.lua:3: "),
        (recipe("end"), "x.lua:1: "),
        (recipe("error('no')"), "x.lua:1: no"),
        (recipe(""), "register_hook"),
        (recipe("register_hook = 5"), "register_hook"),
        (
            recipe("function register_hook()\nerror('no') end"),
            "x.lua:2: no",
        ),
        (
            recipe("s = 'x' while true do s = s .. s end"),
            "lua.max_memory",
        ),
        (recipe("goto nowhere"), "nowhere"),
        (recipe("emq.publish('a', 'b')"), "x.lua:1: "),
        (recipe("emq.kv.set('a', 'b')"), "x.lua:1: "),
        (
            endless,
            "x.lua:1: cut off after lua.max_instructions = 10000",
        ),
    ] {
        let text = recipe
            .make(Phase::Load)
            .map(|(_, registered)| registered)
            .unwrap_err();
        assert!(
            text.starts_with("x.lua") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn names_are_sorted_out() {
    let source = "function on_message_publish() end
                  function on_client_connected() end
                  on_message_acked = 5
                  function register_hook()
                    return 'on_message_publish', 'on_client_connected', 'on_message_publish', 'on_nothing', 7,
                      'on_message_acked', 'on_message_delivered', nil, ('x\\n'):rep(2)
                  end";
    let (_, registered) = recipe(source).make(Phase::Load).unwrap();
    assert_eq!(
        registered.hooks,
        [Hook::ClientConnected, Hook::MessagePublish]
    );
    let unknown = [
        "on_nothing",
        "(a integer)",
        "on_message_acked (no such function)",
        "on_message_delivered (no such function)",
        "(a nil)",
        "x\\nx",
    ];
    assert_eq!(registered.unknown, unknown);
    let (_, registered) = recipe("function register_hook() end")
        .make(Phase::Load)
        .unwrap();
    assert_eq!(registered, Registered::default());
    let many = "function register_hook() local t = {} for i = 1, 101 do t[i] = 'x' end return unpack(t) end";
    let error = recipe(many).make(Phase::Load).map(drop).unwrap_err();
    assert!(error.contains("more than 100 names"), "{error}");
}

#[test]
fn a_panic_inside_ends_nothing() {
    let recipe = with_body(
        "n = 0",
        "n = n + 1 if a == 'A' then return panic and panic() or n end return n",
    );
    let mut vm = make(&recipe);
    assert_eq!(call(&mut vm, &recipe).unwrap(), "1");
    let read = |_: MultiValue| -> Result<(), String> { panic!("a test") };
    let failure = vm.call(&recipe, HOOK, ("A", "B"), read).unwrap_err();
    assert!(matches!(failure, Failure::Error(_)));
    assert_eq!(call(&mut vm, &recipe).unwrap(), "1");
    assert_eq!(vm.work.calls, 3);
    // In a function that a script calls.
    let panics = |_: &mlua::Lua, ()| -> mlua::Result<()> { panic!("a test") };
    let panics = vm.lua.create_function(panics).unwrap();
    vm.lua.globals().set("unused", panics.clone()).unwrap();
    for _ in 0..3 {
        let result = vm.call(&recipe, HOOK, ("A", panics.clone()), |_| Ok(()));
        assert!(result.is_ok(), "it is not called");
    }
    let calling = with_body("", "local ok = pcall(b) return ok");
    let mut vm = make(&calling);
    let panics = |_: &mlua::Lua, ()| -> mlua::Result<()> { panic!("a test") };
    let panics = vm.lua.create_function(panics).unwrap();
    let failure = vm
        .call(&calling, HOOK, ("A", panics), |_| Ok(()))
        .unwrap_err();
    assert!(matches!(failure, Failure::Error(_)), "{failure:?}");
    assert!(call(&mut vm, &calling).is_ok());
}
