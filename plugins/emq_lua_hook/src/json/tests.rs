#![allow(clippy::unwrap_used)]
use super::*;

struct Bench {
    lua: Lua,
    budget: Budget,
    array: Table,
}

impl Bench {
    fn new() -> Bench {
        let lua = Lua::new();
        let array = lua.create_table().unwrap();
        lua.globals().set("array_meta", &array).unwrap();
        lua.globals().set("null", Value::NULL).unwrap();
        let budget = Budget::default();
        Bench { lua, budget, array }
    }

    fn value(&self, expression: &str) -> Value {
        let chunk = format!("return {expression}");
        self.lua.load(chunk).eval().unwrap()
    }

    fn encode(&self, expression: &str) -> Result<String, String> {
        self.budget.refill(1_000_000);
        encode(&self.budget, &self.array, &self.value(expression))
            .map(|text| String::from_utf8(text).unwrap())
            .map_err(|failure| failure.to_string())
    }

    fn decode(&self, text: &[u8]) -> Result<Value, String> {
        self.budget.refill(1_000_000);
        decode(&self.lua, &self.budget, &self.array, text).map_err(|failure| failure.to_string())
    }

    /// What a text reads after it was read and written.
    fn turned(&self, text: &str) -> String {
        let value = self.decode(text.as_bytes()).unwrap();
        self.budget.refill(1_000_000);
        String::from_utf8(encode(&self.budget, &self.array, &value).unwrap()).unwrap()
    }
}

#[test]
fn values_are_written() {
    let bench = Bench::new();
    for (expression, text) in [
        ("nil", "null"),
        ("null", "null"),
        ("true", "true"),
        ("1", "1"),
        ("10/2", "5"),
        ("-3", "-3"),
        ("-0.0", "0"),
        ("1.5", "1.5"),
        ("0.1", "0.1"),
        ("1e-17", "1e-17"),
        ("2^53", "9007199254740992"),
        ("1e300", "1e+300"),
        (r#""a\"\n\0\127é""#, "\"a\\\"\\n\\u0000\u{7f}é\""),
        ("{}", "{}"),
        ("setmetatable({}, array_meta)", "[]"),
        ("{1, 'a', {true}}", r#"[1,"a",[true]]"#),
        ("{nil, 2}", "[null,2]"),
        ("{b=1, a={c=null}, B=2}", r#"{"B":2,"a":{"c":null},"b":1}"#),
        ("{1, x=2}", r#"{"1":1,"x":2}"#),
        ("{[0]=1}", r#"{"0":1}"#),
        ("{[1.5]=1, [-1]=2}", r#"{"-1":2,"1.5":1}"#),
        // lists that are used twice are no loop
        (
            "(function() local t = {1} return {t, t} end)()",
            "[[1],[1]]",
        ),
    ] {
        assert_eq!(
            bench.encode(expression).as_deref(),
            Ok(text),
            "{expression}"
        );
    }
}

#[test]
fn what_has_no_json_is_named_with_its_place() {
    let bench = Bench::new();
    for (expression, error) in [
        ("print", "a function has no JSON"),
        ("0/0", "NaN has no JSON"),
        ("{a={1,{b=1/0}}}", "inf has no JSON (at .a[2].b)"),
        (r#"{p="\255"}"#, "a string is not UTF-8 (at .p)"),
        (r#"{["\255"]=1}"#, "a string is not UTF-8"),
        ("{[true]=1}", "a boolean cannot be a name"),
        ("{[1/0]=1}", "inf has no JSON"),
        (
            "{[1000]=1}",
            "an array is mostly holes: give it strings as keys",
        ),
        (
            "setmetatable({a=1}, array_meta)",
            "an array has a key that is not 1, 2, ..",
        ),
        (
            "(function() local t = {} t.t = {t} return t end)()",
            "a table is inside itself (at .t[1])",
        ),
    ] {
        assert_eq!(bench.encode(expression).unwrap_err(), error, "{expression}");
    }
    let deep = "(function() local t = {} for i = 1, %d do t = {t} end return t end)()";
    assert!(bench.encode(&deep.replace("%d", "127")).is_ok());
    let error = bench.encode(&deep.replace("%d", "128")).unwrap_err();
    assert!(
        error.starts_with("tables are nested deeper than 128"),
        "{error}"
    );
}

#[test]
fn texts_are_read() {
    let bench = Bench::new();
    for text in [
        "null",
        "false",
        "12",
        "-1.25",
        r#""""#,
        r#""ü\u0000""#,
        "[]",
        "{}",
        r#"[[],{},[null],{"a":[]}]"#,
        r#"{"1":1,"a":{"b":[1,2.5,"x",true,null]}}"#,
        "0.1234567890123456",
    ] {
        assert_eq!(bench.turned(text), text);
    }
    assert_eq!(
        bench.turned(" [1.0 , 1e2,\t\"\\ud83d\\ude00\"]\r\n"),
        r#"[1,100,"😀"]"#
    );
    assert_eq!(bench.turned(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
    let table = bench.decode(br#"{"a":[1,"x"]}"#).unwrap();
    let list: Table = table.as_table().unwrap().get("a").unwrap();
    assert_eq!(list.raw_len(), 2);
    assert_eq!(list.get::<String>(2).unwrap(), "x");
}

#[test]
fn texts_that_are_no_json_are_refused() {
    let bench = Bench::new();
    for text in [
        &b""[..],
        b"nul",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b"1 2",
        b"\"\xff\"",
        b"{\"\xff\":1}",
        b"\"\\ud800\"",
        b"1e999",
        b"NaN",
        b"\x00",
    ] {
        assert!(bench.decode(text).is_err(), "{text:?}");
    }
    let error = bench.decode(b"{\n \"a\": x}").unwrap_err();
    assert!(error.contains("line 2 column 7"), "{error}");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(bench.decode(nested(127).as_bytes()).is_ok());
    assert!(bench.decode(nested(100_000).as_bytes()).is_err());
}

#[test]
fn work_is_paid_for_by_size() {
    let bench = Bench::new();
    let ends = |steps: u64, work: &dyn Fn() -> Result<(), Failure>| {
        bench.budget.refill(steps);
        matches!(work(), Err(Failure::Lua(_))) && bench.budget.exhausted()
    };
    let text = format!("[{}1]", "1,".repeat(10_000));
    let read = || decode(&bench.lua, &bench.budget, &bench.array, text.as_bytes()).map(drop);
    assert!(ends(100_000, &read));
    assert!(!ends(1_000_000, &read));
    let long = format!("\"{}\"", "x".repeat(100_000));
    let read = || decode(&bench.lua, &bench.budget, &bench.array, long.as_bytes()).map(drop);
    assert!(ends(10_000, &read));
    assert!(!ends(20_000, &read));
    // a few tables that stand for very many
    let doubled = "(function() local t = {1} for i = 1, 100 do t = {t, t} end return t end)()";
    let doubled = bench.value(doubled);
    assert!(ends(1_000_000, &|| {
        encode(&bench.budget, &bench.array, &doubled).map(drop)
    }));
    // a text that would be longer than memory, though the budget has no end
    let large = "(function() local s = ('x'):rep(1000000) local t = {} for i = 1, 1000 do t[i] = s end return t end)()";
    let large = bench.value(large);
    bench.budget.refill(u64::MAX);
    let error = encode(&bench.budget, &bench.array, &large).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the text is longer than 16777216 bytes")
    );
}

#[test]
fn memory_that_is_used_up_is_no_panic() {
    let bench = Bench::new();
    let limit = bench.lua.used_memory() + 200_000;
    bench.lua.set_memory_limit(limit).unwrap();
    let text = format!("[{}1]", "\"0123456789\",[],".repeat(20_000));
    bench.budget.refill(u64::MAX);
    let read = decode(&bench.lua, &bench.budget, &bench.array, text.as_bytes());
    assert!(matches!(
        read,
        Err(Failure::Lua(mlua::Error::MemoryError(_)))
    ));
    bench.lua.gc_collect().unwrap();
    assert!(bench.decode(b"[1,2]").is_ok());
}
