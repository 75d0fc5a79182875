//! Scripts as users of EMQ 2.x wrote them, and the Lua that they were written in: 5.2.

use emqttd_tests::{Client, Connect, Version, unique};

use super::{broker, echo, logs, on_publish};

/// Each expression has to give this text. The expressions are functions of a script, chosen by the payload.
#[track_caller]
pub(super) fn evaluate(expressions: &[(&str, &str)]) {
    let functions: String = expressions
        .iter()
        .map(|(expression, _)| format!("function(topic, payload) return {expression} end,\n"))
        .collect();
    let script = format!(
        "local expressions = {{\n{functions}}}\n{}",
        on_publish(
            "local values = table.pack(expressions[tonumber(payload)](topic, payload))\n\
             for n = 1, values.n do values[n] = tostring(values[n]) end\n\
             return topic, table.concat(values, \" \"), qos, retain"
        )
    );
    let broker = broker(&[("expressions", &script)], "");
    let mut client = broker.client(Version::V311, "evaluate");
    client.sub("t", 1);
    let wrong: Vec<String> = (1..)
        .zip(expressions)
        .filter_map(|(n, (expression, wanted))| {
            let got = echo(&mut client, "t", &n.to_string());
            let got = &got["t ".len()..];
            (got != *wanted).then(|| format!("{expression} is {got:?}, not {wanted:?}"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.join("\n"),
        broker.log_of_this_start()
    );
}

#[test]
fn numbers_and_strings() {
    evaluate(&[
        ("10 / 2", "5"),
        ("tostring(10 / 2) == \"5\"", "true"),
        ("7 / 2", "3.5"),
        ("2 ^ 53", "9.007199254741e+15"),
        ("1e15", "1e+15"),
        ("2 ^ 31", "2147483648"),
        ("7 % 3 .. \"\"", "1"),
        ("-7 % 3", "2"),
        ("10 .. 20", "1020"),
        ("\"10\" + 5", "15"),
        ("\"0x10\" + 0", "16"),
        ("tonumber(\"abc\")", "nil"),
        ("tonumber(\" 12 \")", "12"),
        ("tonumber(\"ff\", 16)", "255"),
        ("tonumber(\"1e2\")", "100"),
        ("math.floor(3.7)", "3"),
        ("math.max(1, 5, 3)", "5"),
        ("math.huge", "inf"),
        ("type(math.random())", "number"),
        ("math.random(3) <= 3", "true"),
        ("#\"abc\"", "3"),
        ("(\"x\"):rep(3)", "xxx"),
        ("(\"x\"):rep(3, \",\")", "x,x,x"),
        ("string.format(\"%d\", 3)", "3"),
        (
            "string.format(\"%5.2f|%-5s|%05d|%x|%q\", 3.14159, \"ab\", 42, 255, \"a\\\"b\")",
            " 3.14|ab   |00042|ff|\"a\\\"b\"",
        ),
        ("string.format(\"%s %s %s\", 1, true, nil)", "1 true nil"),
        ("string.format(\"%%\")", "%"),
        ("string.gsub(\"hello\", \"l\", \"L\")", "heLLo 2"),
        ("string.gsub(\"hello\", \"l\", \"L\", 1)", "heLlo 1"),
        ("string.gsub(\"abc\", \"%w\", \"%0%0\")", "aabbcc 3"),
        (
            "string.gsub(\"$name is $age\", \"%$(%w+)\", { name = \"tom\", age = 3 })",
            "tom is 3 2",
        ),
        ("string.find(\"a.b\", \".\", 1, true)", "2 2"),
        ("string.find(\"key=val\", \"(%w+)=(%w+)\")", "1 7 key val"),
        ("string.match(\"a/b/c\", \"^([^/]+)/\")", "a"),
        ("string.match(\"x\", \"y\")", "nil"),
        ("string.byte(\"A\")", "65"),
        ("string.lower(\"ABC\")", "abc"),
        (
            "(function() local t = {} for w in (\"a b c\"):gmatch(\"%a\") do t[#t + 1] = w end return table.concat(t, \",\") end)()",
            "a,b,c",
        ),
        ("table.concat({ 1, 2, 3 }, \"-\")", "1-2-3"),
        ("select(\"#\", table.unpack({ 1, nil, 3 }, 1, 3))", "3"),
        ("select(2, \"a\", \"b\", \"c\")", "b c"),
        (
            "(function() local t = { 3, 1, 2 } table.sort(t) return table.concat(t) end)()",
            "123",
        ),
        (
            "(function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return table.concat(t) end)()",
            "321",
        ),
        (
            "(function() local t = { 1, 2 } table.insert(t, 3) table.insert(t, 1, 0) table.remove(t) return table.concat(t) end)()",
            "012",
        ),
        ("bit32.band(12, 10)", "8"),
        ("bit32.lshift(1, 4)", "16"),
        ("next({})", "nil"),
        ("rawlen({ 1, 2 })", "2"),
        ("rawequal(\"a\", \"a\")", "true"),
        ("type(nil) .. type({}) .. type(print)", "niltablefunction"),
        ("pcall(error, \"x\", 0)", "false x"),
        ("select(2, pcall(error, { code = 7 })).code", "7"),
        ("select(\"#\", pcall(error))", "2"),
        ("pcall(function() return 1, 2 end)", "true 1 2"),
        (
            "xpcall(function() error(\"x\", 0) end, function(e) return e .. \"!\" end)",
            "false x!",
        ),
        ("assert(1, \"no\")", "1 no"),
        ("pcall(assert, false, \"no\")", "false no"),
        (
            "(select(2, pcall(function() local x = nil; return x.y end)):gsub(\"%d+\", \"N\"))",
            "expressions.lua:N: attempt to index local 'x' (a nil value)",
        ),
        (
            "(function() goto done; do return \"no\" end ::done:: return \"yes\" end)()",
            "yes",
        ),
        ("_VERSION", "Lua 5.2"),
        (
            "setmetatable({}, { __index = function(_, k) return k .. \"!\" end }).x",
            "x!",
        ),
        (
            "tostring(setmetatable({}, { __tostring = function() return \"me\" end }))",
            "me",
        ),
        (
            "#setmetatable({}, { __len = function() return 42 end })",
            "42",
        ),
        (
            "(function(...) return select(\"#\", ...) end)(nil, nil)",
            "2",
        ),
        ("_G ~= nil and _G.string == string", "true"),
    ]);
}

/// Scripts of EMQ looked at the clock.
#[test]
fn the_clock() {
    evaluate(&[
        ("os.time() > 1.7e9", "true"),
        ("os.time() % 1", "0"),
        (
            "os.time({ year = 2020, month = 1, day = 2, hour = 0 }) - os.time({ year = 2020, month = 1, day = 1, hour = 0 })",
            "86400",
        ),
        ("os.date(\"!%Y-%m-%d %H:%M:%S\", 0)", "1970-01-01 00:00:00"),
        ("#os.date(\"%Y\")", "4"),
        ("os.date(\"!*t\", 86400).day", "2"),
        ("type(os.clock())", "number"),
    ]);
}

/// Globals assigned in callbacks, as nearly all of them do.
#[test]
fn globals_assigned_in_callbacks() {
    let script = "\
        prefix = \"dev/\"\n\
        function helper(t)\n\
            parts = {}\n\
            for part in string.gmatch(t, \"[^/]+\") do table.insert(parts, part) end\n\
            return parts\n\
        end\n\
        function on_message_publish(ClientId, Username, Topic, Payload, Qos, Retain)\n\
            list = helper(Topic)\n\
            new_topic = prefix .. list[#list]\n\
            count = (count or 0) + 1\n\
            return new_topic, Payload .. count, Qos, Retain\n\
        end\n\
        function register_hook()\n\
            return \"on_message_publish\"\n\
        end\n";
    let broker = broker(&[("globals", script)], "");
    let mut client = broker.client(Version::V311, "globals");
    client.sub("dev/#", 1);
    for _ in 0..5 {
        assert_eq!(echo(&mut client, "a/b/c", "n"), "dev/c n1");
    }
}

/// The user name is concatenated although it can be missing: the message is as it was then.
#[test]
fn a_user_name_that_is_missing() {
    let script = on_publish("return \"user/\" .. username .. \"/\" .. topic, payload, qos, retain");
    let broker = broker(&[("user", &script)], "");
    let mut nobody = broker.client(Version::V311, "nobody");
    nobody.sub("#", 1);
    assert_eq!(echo(&mut nobody, "t", "x"), "t x");
    nobody.unsubscribe(&["#"]);
    let connect = Connect::new(Version::V311, &unique("somebody")).username("tom");
    let mut somebody: Client = broker.open(&connect);
    somebody.sub("#", 1);
    assert_eq!(echo(&mut somebody, "t", "x"), "user/tom/t x");
    logs(&broker, &["user.lua:2:", "username", "nil"]);
}

/// `string.gsub` gives two values, of which one counts where others follow. At the end of a list, or alone, there is one
/// too many: another shape, at which EMQ kept what it had, and said so.
#[test]
fn gsub_in_a_list_of_returns() {
    let script = "\
        function on_message_publish(c, u, topic, payload, qos, retain)\n\
            if topic == \"last\" then return topic, qos, retain, string.gsub(payload, \"a\", \"b\") end\n\
            return string.gsub(topic, \"old\", \"new\"), string.gsub(payload, \"a\", \"b\"), qos, retain\n\
        end\n\
        function on_client_subscribe(c, u, topic)\n\
            if topic == \"alone\" then return string.gsub(topic, \"alone\", \"other\") end\n\
            return (string.gsub(topic, \"old\", \"new\"))\n\
        end\n\
        function register_hook() return \"on_message_publish\", \"on_client_subscribe\" end\n";
    let broker = broker(&[("gsub", script)], "");
    let mut client = broker.client(Version::V311, "gsub");
    for filter in ["old/#", "alone", "last"] {
        client.sub(filter, 1);
    }
    assert_eq!(echo(&mut client, "old/old", "aa"), "new/new bb");
    assert_eq!(echo(&mut client, "last", "aa"), "last aa");
    assert_eq!(echo(&mut client, "alone", "aa"), "alone bb");
    logs(&broker, &["gsub.lua", "on_client_subscribe", "2 values"]);
}

/// Numbers are no payload: another shape. With `tostring` they are one, without a decimal point that nobody wrote.
#[test]
fn numbers_for_strings() {
    let script = on_publish(
        "if topic == \"t\" then payload = #payload * 2 else payload = tostring(#payload * 2) end\n\
         return topic, payload, qos, retain",
    );
    let broker = broker(&[("numbers", &script)], "");
    let mut client = broker.client(Version::V311, "numbers");
    client.sub("#", 1);
    assert_eq!(echo(&mut client, "t", "abc"), "t abc");
    assert_eq!(echo(&mut client, "x", "abc"), "x 6");
}

/// Comments, line ends of Windows, a mark of UTF-8 and a first line for the shell.
#[test]
fn files_as_editors_leave_them() {
    let body = "-- comment\r\n--[[ long\r\ncomment ]]\r\nlocal x = [[a\r\nb]]\r\n";
    let script = format!(
        "{body}{}",
        on_publish("return topic, payload .. #x, qos, retain").replace('\n', "\r\n")
    );
    let mark = format!(
        "\u{feff}{}",
        on_publish("return topic, payload .. \"mark\", qos, retain")
    );
    let shell = format!(
        "#!/usr/bin/lua\n{}",
        on_publish("return topic, payload .. \"shell\", qos, retain")
    );
    let broker = broker(
        &[("windows", &script), ("mark", &mark), ("shell", &shell)],
        "",
    );
    let mut client = broker.client(Version::V311, "editors");
    client.sub("t", 1);
    let got = echo(&mut client, "t", "");
    for word in ["3", "mark", "shell"] {
        assert!(got.contains(word), "{got} {}", broker.log());
    }
}
