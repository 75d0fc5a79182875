#![allow(clippy::unwrap_used)]

use crate::comparison::{Dice, Pair};
use std::time::{Duration, Instant};

const SUBJECTS: &[&[u8]] = &[
    b"a", b"b", b"ab", b"A", b"1", b"/", b" ", b"(", b")", b".", b"-", b"_", b"\n", b"\0", b"\xff",
    b"]", b"%",
];

const PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"ab",
    b"A",
    b"1",
    b"/",
    b".",
    b"%a",
    b"%w",
    b"%W",
    b"%d",
    b"%s",
    b"%S",
    b"%p",
    b"%x",
    b"%c",
    b"%g",
    b"%u",
    b"%l",
    b"%z",
    b"%Z",
    b"%.",
    b"%%",
    b"%(",
    b"[ab]",
    b"[^a]",
    b"[a-c%d]",
    b"[%]]",
    b"[]]",
    b"[^]a]",
    b"[a-]",
    b"[-a]",
    b"[%w_]",
    b"[\x80-\xff]",
    b"[%a-z]",
    b"[a-%]",
    b"%b()",
    b"%bab",
    b"%baa",
    b"%f[%w]",
    b"%f[^a]",
    b"%f[\0]",
    b"%1",
    b"%2",
    b"%0",
    b"(",
    b")",
    b"(",
    b")",
    b"()",
    b"*",
    b"+",
    b"-",
    b"?",
    b"*",
    b"+",
    b"-",
    b"?",
    b"^",
    b"$",
    b"[",
    b"]",
    b"%",
    b"\0",
    b"\xff",
    b"%b",
    b"%f",
    b"%f[",
    b"[^",
    b"[%",
];

const REPLACEMENTS: &[&[u8]] = &[
    b"x", b"", b"%0", b"%1", b"%2", b"%%", b"<", b">", b"%", b"%x", b"\0", b"%9",
];

/// Patterns of every kind, good and bad, on subjects that they sometimes match: results and errors are Lua's own.
#[test]
fn patterns_match_as_in_lua() {
    let pair = Pair::new();
    let find = pair.load("local s, p, i = ... return string.find(s, p, i)");
    let matches = pair.load("local s, p, i = ... return s:match(p, i)");
    let gmatch = pair.load(
        "local s, p, out = ..., (select(2, ...)), {}
         for a, b, c in s:gmatch(p) do
           out[#out + 1] = tostring(a) .. '|' .. tostring(b) .. '|' .. tostring(c)
         end
         return table.concat(out, ';')",
    );
    let by_string = pair.load("local s, p, i, r, n = ... return _(s:gsub(p, r, n))");
    let by_table = pair.load(
        "local s, p, i, r, n = ...
         return _(s:gsub(p, {a = 'x', ab = 7, b = false, ['1'] = '', [1] = 'first', [2] = '\\0'}, n))",
    );
    let by_function = pair.load(
        "local s, p, i, r, n = ...
         local calls = {}
         local result, count = s:gsub(p, function(a, b)
           calls[#calls + 1] = tostring(a) .. '|' .. tostring(b)
           if a == 'b' then return nil elseif a == 'ab' then return false elseif a == 1 then return 12 end
           return '<' .. tostring(b) .. '>'
         end, n)
         return result, count, table.concat(calls, ';')",
    );
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut hits, mut errors, mut placed) = (0, 0, 0);
    for _ in 0..4_000 {
        let subject = pair.text(&dice.some(14, SUBJECTS));
        let mut pattern = dice.some(5, PIECES);
        if dice.below(4) == 0 {
            pattern.insert(0, b'^');
        }
        let pattern = pair.text(&pattern);
        let from = dice.below(20) as i64 - 8;
        let replacement = pair.text(&dice.some(4, REPLACEMENTS));
        let most = [None, Some(1), Some(2), Some(0), Some(-1)][dice.below(5)];
        let found = find.same((subject.clone(), pattern.clone(), from));
        hits += usize::from(found.as_bytes()[0].is_ascii_digit());
        errors += usize::from(found.starts_with("error"));
        matches.same((subject.clone(), pattern.clone(), from));
        gmatch.same((subject.clone(), pattern.clone()));
        let arguments = (subject, pattern, from, replacement, most);
        for f in [&by_string, &by_table, &by_function] {
            placed += usize::from(f.same(arguments.clone()).contains("x:"));
        }
    }
    // The test is worth something only if it meets all of these.
    assert!(
        hits > 500 && errors > 500 && placed > 500,
        "{hits} {errors} {placed}"
    );
}

#[test]
fn arguments_are_looked_at_as_in_lua() {
    let pair = Pair::new();
    let values = [
        "nil", "true", "0", "1", "-1", "2.7", "-2.7", "1e15", "'2'", "' 0x10 '", "'x'", "''",
        "'a.c'", "{}", "tostring", "0/0",
    ];
    for name in [
        "find", "match", "gmatch", "gsub", "rep", "byte", "char", "lower", "upper", "reverse",
        "sub", "len",
    ] {
        pair.same(&format!("return string.{name}()"));
        for a in values {
            let many = name == "rep" && ["1e15", "' 0x10 '"].contains(&a);
            pair.same(&format!("return type(string.{name}({a}))"));
            for b in values {
                if !(many || name == "rep" && b == "1e15") {
                    pair.same(&format!("return type(string.{name}({a}, {b}))"));
                }
                for c in values {
                    let far = [b, c].contains(&"1e15") || [b, c].contains(&"0/0");
                    if !far {
                        pair.same(
                            &format!("return (string.{name}('abcabc', {b}, {c}))")
                                .replace("(string.gmatch", "type(string.gmatch"),
                        );
                        pair.same(
                            &format!("return (string.{name}('abc', 'b', {b}, {c}))")
                                .replace("(string.gmatch", "type(string.gmatch"),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn edges_are_those_of_lua() {
    let pair = Pair::new();
    let deep = |open: &str, n| open.repeat(n);
    for source in [
        "return ('abc'):find('b', 1, true), ('a.c'):find('.', 1, true), ('a.c'):find('%.')".to_owned(),
        "return (''):find(''), (''):find('', 1), (''):find('', 2), ('a'):find('', 10), ('abc'):find('', -1)".to_owned(),
        "return ('a]b'):find(']'), ('a)b'):find(')')".to_owned(),
        "return ('x'):rep(0), ('x'):rep(-1), ('ab'):rep(3, ','), (''):rep(100), (''):rep(3, 'x'), ('x'):rep(1, ',')".to_owned(),
        "return ('abc'):byte(1, -1)".to_owned(),
        "return ('abc'):byte(10), ('abc'):byte(0), ('abc'):byte(-1), ('abc'):byte(-10, 10)".to_owned(),
        "return string.char(), string.char(0, 255, 97), string.char('65')".to_owned(),
        "return string.char(256)".to_owned(),
        "return string.char(1, -1)".to_owned(),
        "return ('aBc\\0\\200Z'):upper(), ('aBc\\0\\200Z'):lower(), ('aBc\\0\\200Z'):reverse()".to_owned(),
        "return ('abc'):gsub('', '-')".to_owned(),
        "return ('abc'):gsub('%w', '%0%0', 2)".to_owned(),
        "return ('hello world'):gsub('(%w+) (%w+)', '%2 %1')".to_owned(),
        "return ('abc'):gsub('b', {b = true})".to_owned(),
        "return ('abc'):gsub('b', {b = {}})".to_owned(),
        "return ('abc'):gsub('b', function() return {} end)".to_owned(),
        "return ('abc'):gsub('b', function() error('inside') end)".to_owned(),
        "return pcall(string.gsub, 'abc', 'b', function() error({}) end)".to_owned(),
        "return ('abc'):gsub('(b', 'x')".to_owned(),
        "return ('abc'):gsub('b', '%1')".to_owned(),
        "return ('abc'):gsub('b', '%2')".to_owned(),
        "return ('abc'):gsub('()b()', '%1-%2')".to_owned(),
        "return ('abc'):gsub('b', setmetatable({}, {__index = function(_, k) return k .. k end}))".to_owned(),
        "return ('x = 1, y = 2'):gsub('(%w+) = (%w+)', '%2 = %1')".to_owned(),
        "local f = ('ab'):gmatch('.') return f(), f(), f(), f()".to_owned(),
        "local f = ('ab'):gmatch('()') return f(), f(), f(), f()".to_owned(),
        "return pcall(string.gmatch('ab', '(')) ".to_owned(),
        "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end return table.concat(t)".to_owned(),
        "return string.find('a\\nb', 'a\\nb'), #string.format('%q', 'a\\nb\\0001')".to_owned(),
        // As deep as a match may go, and one more.
        format!("return (('a'):rep(300)):find('{}')", deep("a?", 199)),
        format!("return (('a'):rep(300)):find('{}')", deep("a?", 200)),
        format!("return (('a'):rep(300)):find('{}')", deep("a?", 250)),
        format!("return (('a'):rep(300)):find('{}')", deep("(a)", 32)),
        format!("return (('a'):rep(300)):find('{}')", deep("(a)", 33)),
        format!("return (('a'):rep(300)):find('{}')", deep("(", 33)),
    ] {
        pair.same(&source);
        // And from a function that was called by another.
        let source = match source.strip_prefix("return ") {
            Some(values) => format!("return _({values})"),
            None => source,
        };
        pair.same(&format!("local function f()\n {source} end\nreturn _(f())"));
    }
}

#[test]
fn formats_are_those_of_c() {
    let pair = Pair::new();
    let format = pair.load("local f, v = ... return string.format(f, v)");
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        0.1,
        0.25,
        0.35,
        99.5,
        123_456_789.0,
        1e15,
        1e16,
        1e21,
        1e100,
        1e-5,
        1e-4,
        123.456,
        9.995,
        999_999.5,
        0.000_123_456,
        5e-324,
        2.2e-308,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        255.0,
        4_294_967_295.0,
        4_294_967_296.0,
        9_007_199_254_740_993.0,
        1.0 / 3.0,
        9_223_372_036_854_775_807.0,
        -9_223_372_036_854_775_808.0,
        1.8e19,
        -0.5,
        -0.99,
        65.0,
        1e14,
        99_999_999_999_999.9,
        123_456_789_012_345.0,
        1.999_999_999_999_999_8,
    ];
    let mut dice = Dice(0xdead_beef_cafe);
    for _ in 0..300 {
        let (a, b) = (dice.below(usize::MAX >> 24), dice.below(600));
        values.push((a as f64) * 10_f64.powi(b as i32 - 300));
        values.push(f64::from_bits((a as u64) << 24 | b as u64));
    }
    for n in values {
        for conversion in [
            "d", "i", "u", "o", "x", "X", "e", "E", "f", "g", "G", "a", "A", "s", "c",
        ] {
            for _ in 0..4 {
                let flags = dice.some(2, &[b"-", b"+", b" ", b"#", b"0"]);
                // What C leaves open.
                let flags = String::from_utf8(flags).unwrap();
                let flags = if ["s", "c"].contains(&conversion) {
                    flags.replace('0', "")
                } else {
                    flags
                };
                if conversion == "c" && !(0.0..300.0).contains(&n) {
                    continue;
                }
                // glibc forgets zeros where rounding carries.
                let flags = if ["g", "G"].contains(&conversion) {
                    flags.replace('#', "")
                } else {
                    flags
                };
                let width = dice.one(&["", "", "1", "5", "12", "30"]);
                let precision =
                    dice.one(&["", "", ".", ".0", ".1", ".2", ".5", ".14", ".20", ".99"]);
                let precision = if conversion == "c" { "" } else { precision };
                format.same((format!("[%{flags}{width}{precision}{conversion}]"), n));
            }
        }
        pair.load("return tostring((...)), (...) .. ''").same(n);
        pair.load("return ('').rep(..., 1), table.concat({...})")
            .same(n);
    }
}

#[test]
fn formats_of_other_values_are_those_of_lua() {
    let pair = Pair::new();
    for source in [
        "return string.format('%s %s %s %s %s', 1, 'x', true, nil, 1.5)",
        "return string.format('%s', setmetatable({}, {__tostring = function() return 'me' end}))",
        "return (string.format('%s', {}):gsub('0x%x+', ''))",
        "return string.format('%5s|%-5s|%.1s|%5.1s', 'ab', 'ab', 'ab', 'ab')",
        "return string.format('%s|%.3s|%200s', ('x'):rep(150), ('x'):rep(150), 'x')",
        "return string.format('%s|%.3s|%99s', ('x'):rep(150), ('x'):rep(150), 'x')",
        "return string.format('%q', 'a\"b\\\\c\\nd\\0e\\0001\\r\\127\\200')",
        "return string.format('%q', 12)",
        "return string.format('%q', {})",
        "return string.format('%c%c', 0, 300)",
        "return string.format('%d', '12'), string.format('%x', '0xff'), string.format('%g', ' 1e3 ')",
        "return string.format('%d', 'x')",
        "return string.format('%d', {})",
        "return string.format('%d')",
        "return string.format('%d %d', 1)",
        "return string.format('%y', 1)",
        "return string.format('%F', 1)",
        "return string.format('%p', 1)",
        "return string.format('%-+ #0-d', 1)",
        "return string.format('%-+ #0d', 1)",
        "return string.format('%100d', 1)",
        "return string.format('%.100d', 1)",
        "return string.format('%1.99999d', 1)",
        "return string.format('%%')",
        "return string.format('%5%', 1)",
        "return string.format()",
        "return string.format({})",
        "return string.format(12)",
        "return string.format('%#g %#g %#g %#.3g %#.1g %#.0g', 1, 0.5, 1e20, 100, 100, 5)",
        "return string.format('%99.99f', -1e308)",
        "return string.format('%x', -1)",
        "return string.format('%d', 1e300)",
        "return string.format('%d', 0/0)",
        "return string.format('\\0%s\\0', 'x')",
    ] {
        pair.same(source);
    }
    // Here C would end at a NUL.
    assert_eq!(
        pair.within(1000, "return (string.format('%', 1))"),
        "error: x:1: invalid option '%' to 'format'"
    );
    assert_eq!(
        pair.within(1000, "return string.format('%s|%5s', 'a\\0b', '\\0')"),
        r"'a\x00b|    \x00'"
    );
}

/// Whatever a function is told to do, it ends with the budget, and soon.
#[test]
fn bombs_end_with_the_budget() {
    let pair = Pair::new();
    for source in [
        "local s = ('a'):rep(1e5) .. 'b' return s:find('.-.-.-.-c')",
        "local s = ('a'):rep(1e5) return s:find(('a*'):rep(20) .. 'b')",
        "local s = ('a'):rep(1e5) return s:match('(.-)(.-)(.-)%1c')",
        "local s = ('a'):rep(1e5) return s:gsub('.-.-.-c', 'x')",
        "local s = ('a'):rep(1e5) return s:gsub('.-.-.-c', {})",
        "local s = ('a'):rep(1e5) for w in s:gmatch('.-.-.-c') do end",
        "local s = ('('):rep(1e5) return s:find('%b()')",
        "local s = ('('):rep(1e5) return s:gsub('%b()', 'x')",
        "local s = ('a'):rep(1e6) return s:find('[' .. ('b'):rep(1e4) .. ']')",
        "local s = ('a'):rep(1e6) return s:find('[^' .. ('b'):rep(1e4) .. ']-c')",
        "local s = ('a'):rep(1e6) return s:find('%f[' .. ('b'):rep(1e4) .. ']')",
        "local s = ('a'):rep(1e6) return s:find('(.*)%1b')",
        "local s = ('a'):rep(1e6) while true do s:find('b', 1, true) end",
        "local s = ('a'):rep(1e6) while true do s:find('b+c') end",
        "local s = ('a'):rep(1e6) while true do s:match('.*') end",
        "local s = ('a'):rep(1e6) while true do s:upper() end",
        "local s = ('a'):rep(1e6) while true do s:reverse() end",
        "local s = ('a'):rep(1e6) while true do s:format() end",
        "local s = ('a'):rep(1e6) while true do string.format('%q', s) end",
        "local s = ('a'):rep(1e6) while true do s:gsub('b', 'c') end",
        "local s = ('1'):rep(1e6) while true do tonumber(s) end",
        "local s = ('1'):rep(1e6) while true do tonumber(s, 10) end",
        "local s = ('1'):rep(1e6) while true do ('x'):find('y', s) end",
        "while true do ('x'):rep(1e6) end",
        "while true do (''):rep(1e15) ; ('x'):rep(1000) end",
        "local s = ('a'):rep(1e5) while true do s:byte(1, -1) end",
        "local f, n = ('%99.99f'):rep(200), {} for i = 1, 200 do n[i] = 1e308 end while true do f:format(unpack(n)) end",
    ] {
        let begun = Instant::now();
        let outcome = pair.within(1_000_000, source);
        let took = begun.elapsed();
        assert!(
            outcome.contains("x:1") || outcome.contains("cut off"),
            "{source}: {outcome}"
        );
        assert!(outcome.contains("cut off"), "{source}: {outcome}");
        assert!(pair.budget.exhausted(), "{source}");
        // 1e6 steps of 10 ns are 10 ms. This is not optimized, and not alone.
        assert!(took < Duration::from_secs(10), "{source}: {took:?}");
    }
}

/// What Rust holds for a script is bounded as what Lua holds for it.
#[test]
fn nothing_grows_beyond_memory() {
    let pair = Pair::new();
    for source in [
        "return ('x'):rep(1e9)",
        "return ('x'):rep(1e9, 'y')",
        "return ('x'):rep(2^40)",
        "local s = ('x'):rep(1e6) return s:gsub('.*', ('%0'):rep(1e5))",
        "local s = ('x'):rep(1e4) return s:gsub('.', s)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return table.concat(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = '' end return table.concat(t, s)",
        "local s = ('x'):rep(1e6) return (('%s'):rep(60)):format(unpack((function(t) for i = 1, 60 do t[i] = s end return t end)({})))",
    ] {
        let outcome = pair.within(1 << 40, source);
        assert_eq!(outcome, "error: not enough memory", "{source}");
    }
    assert_eq!(
        pair.within(1 << 40, "return ('x'):rep(2^62, 'abc')"),
        "error: x:1: resulting string too large"
    );
}

#[test]
fn recursion_through_metamethods_ends() {
    let pair = Pair::new();
    let outcome = pair.within(
        1 << 30,
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) return string.format('%s', t) end
         return string.format('%s', t)",
    );
    assert!(outcome.contains("stack overflow"), "{outcome}");
    let outcome = pair.within(
        1 << 30,
        "local function f(s) return (s:gsub('.', f)) end return f('x')",
    );
    assert!(outcome.contains("stack overflow"), "{outcome}");
}

#[test]
fn nothing_is_spent_on_nothing() {
    let pair = Pair::new();
    // Topics are short; a script looks at some of them in each call.
    assert_eq!(
        pair.within(
            100,
            "return ('sensors/room1/temperature'):match('^[^/]+/([^/]+)/')"
        ),
        "'room1'"
    );
}
