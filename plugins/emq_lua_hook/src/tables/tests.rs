#![allow(clippy::unwrap_used)]

use crate::comparison::{Dice, Pair};
use std::time::{Duration, Instant};

/// What a table holds, as text.
const SHOW: &str = "local function show(t)
  local parts = {}
  for i = -2, 14 do parts[#parts + 1] = tostring(rawget(t, i)) end
  return table.concat(parts, ',')
end\n";

#[test]
fn functions_do_as_those_of_lua() {
    let pair = Pair::new();
    for source in [
        "local t = {} table.insert(t, 'a') table.insert(t, 1, 'b') table.insert(t, 3, 'c') return show(t)",
        "local t = {1, 2, 3} table.insert(t, 2, 'x') return show(t)",
        "local t = {1, 2, 3} table.insert(t, '2', 'x') return show(t)",
        "local t = {1, 2, 3} table.insert(t, 2.9, 'x') return show(t)",
        "local t = {1, 2, 3} table.insert(t, nil) return show(t)",
        "table.insert({1}, 0, 'x')",
        "table.insert({1}, 3, 'x')",
        "table.insert({1}, 'x', 'x')",
        "table.insert({1}, {}, 'x')",
        "table.insert({1})",
        "table.insert({1}, 1, 2, 3)",
        "table.insert()",
        "table.insert('x', 1)",
        "table.insert(nil, 1)",
        "local t = {1, 2, 3} local r = table.remove(t) return r, show(t)",
        "local t = {1, 2, 3} local r = table.remove(t, 1) return r, show(t)",
        "local t = {1, 2, 3} local r = table.remove(t, 3) return r, show(t)",
        "local t = {1, 2, 3} local r = table.remove(t, 4) return r, show(t)",
        "local t = {1, 2, 3} local r = table.remove(t, 2.5) return r, show(t)",
        "local t = {1, 2, 3} table.remove(t, 5)",
        "local t = {1, 2, 3} table.remove(t, 0)",
        "local t = {1, 2, 3} table.remove(t, -1)",
        "local t = {} return table.remove(t), table.remove(t, 0), table.remove(t, 1), show(t)",
        "table.remove({}, 2)",
        "table.remove(1)",
        "table.remove({1}, 'x')",
        "return table.concat({}), table.concat({1}), table.concat({1, 2}, ', '), table.concat({'a', 2.5, 'c'}, 0)",
        "return table.concat({1, 2, 3}, '-', 2), table.concat({1, 2, 3}, '-', 2, 2), table.concat({1, 2, 3}, '-', 3, 2)",
        "return table.concat({[-1] = 'a', [0] = 'b'}, ',', -1, 0)",
        "return table.concat({1, nil, 3}, ',', 1, 3)",
        "return table.concat({1, {}, 3})",
        "return table.concat({1, true, 3}, ',')",
        "return table.concat({1, 2}, {})",
        "return table.concat(1)",
        "return table.concat()",
        "return table.concat({1}, '', 'x')",
        "return table.concat({1}, '', 1, 'x')",
        "return table.concat({1}, '', 1, 2)",
        "return table.concat(setmetatable({'a', 'b', 'c'}, {__len = function() return 2 end}), ',')",
        "return table.concat(setmetatable({}, {__index = function() return 'x' end, __len = function() return 2 end}))",
        "return table.concat(setmetatable({}, {__len = function() return {} end}))",
        "return table.concat(setmetatable({}, {__len = function() error('inside', 0) end}))",
        "return table.unpack({})",
        "return table.unpack({1, 2, 3})",
        "return table.unpack({1, 2, 3}, 2)",
        "return table.unpack({1, 2, 3}, 2, 3)",
        "return table.unpack({1, 2, 3}, -1, 1)",
        "return table.unpack({1, 2, 3}, '2', 2.9)",
        "return table.unpack({1, 2}, 1, 5)",
        "return table.unpack({}, 1, 1e7)",
        "return table.unpack({}, 1, 1e8)",
        "return table.unpack({}, 5, 1)",
        "return table.unpack(1)",
        "return table.unpack()",
        "return table.unpack({}, 'x')",
        "return table.unpack({}, 1, {})",
        "return table.unpack(setmetatable({}, {__index = function() return 1 end, __len = function() return 2 end}))",
        "local t = table.pack(1, nil, 3) return t.n, show(t)",
        "local t = {3, 1, 2} table.sort(t) return show(t)",
        "local t = {'b', 'a', 'B', ''} table.sort(t) return show(t)",
        "local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return show(t)",
        "table.sort({3, 1, 2, 5, 4, 9, 8, 7}, function(a, b) return true end)",
        "table.sort({3, 1, 2}, function(a, b) error('inside') end)",
        "return pcall(table.sort, {3, 1, 2}, function(a, b) error({}) end)",
        "table.sort({3, 1, 2}, 1)",
        "table.sort(1)",
        "table.sort()",
        "return pcall(table.sort, {})",
        "return pcall(table.insert, {})",
        // Past metamethods, but for __len.
        "local log = {}
         local t = setmetatable({1, 2, 3}, {__newindex = function(_, k) log[#log + 1] = k end,
           __index = function(_, k) log[#log + 1] = k end})
         table.insert(t, 4) table.insert(t, 1, 0) table.remove(t, 1) table.sort(t) table.unpack(t, 1, 10)
         return show(t), #log",
        "local t = setmetatable({1, 2, 3, 4}, {__len = function() return 2 end})
         table.insert(t, 'x') local r = table.remove(t, 1) return r, show(t)",
        "local t = setmetatable({4, 3, 2, 1}, {__len = function() return 2 end}) table.sort(t) return show(t)",
        "table.insert(setmetatable({}, {__len = function() return 'x' end}), 1)",
        "table.remove(setmetatable({}, {__len = function() return {} end}))",
    ] {
        let source = match source.strip_prefix("return ") {
            Some(values) => format!("return _({values})"),
            None => source.to_owned(),
        };
        pair.same(&format!("{SHOW}{source}"));
    }
    // Of Lua 5.1; 5.2 has them if it is built so.
    let outcome = pair.within(1000, "return unpack({1, 2})");
    assert_eq!(outcome, "1.0 2.0");
    let outcome = pair.within(
        1000,
        "return table.maxn({}), table.maxn({1, 2}), table.maxn({[100] = 1, [2.5] = 1, x = 1}), table.maxn({[-1] = 1})",
    );
    assert_eq!(outcome, "0.0 2.0 100.0 0.0");
    // Lua says at no line that two values cannot be compared; we say at which of the library.
    let outcome = pair.within(1000, "table.sort({3, 'x', 2})");
    assert!(outcome.contains("attempt to compare"), "{outcome}");
}

/// Orders of every kind, broken ones among them: the same swaps lead to the same end.
#[test]
fn sort_goes_about_it_as_in_lua() {
    let pair = Pair::new();
    let sort = pair.load(
        "local seed, n, distinct, kind = ...
         local t = {}
         for i = 1, n do
           seed = (seed * 16807) % 2147483647
           t[i] = seed % distinct
         end
         local calls = 0
         local orders = {
           function(a, b) calls = calls + 1 return a < b end,
           function(a, b) calls = calls + 1 return a > b end,
           function(a, b) calls = calls + 1 return a % 3 < b % 3 end,
           function(a, b) calls = calls + 1 return a <= b end,
           function(a, b) calls = calls + 1 return (a or 0) % 5 == (b or 0) % 7 end,
           function(a, b) calls = calls + 1 return true end,
         }
         local ok, message = pcall(table.sort, t, orders[kind])
         local parts = {}
         for i = 1, n do parts[i] = tostring(t[i]) end
         return ok, message, calls, table.concat(parts, ',')",
    );
    let mut dice = Dice(0x1234_5678_9abc);
    let mut broken = 0;
    for _ in 0..3000 {
        let seed = 1 + dice.below(1 << 30);
        let (n, distinct) = (dice.below(40), 1 + dice.below(30));
        let outcome = sort.same((seed, n, distinct, 1 + dice.below(7)));
        broken += usize::from(outcome.starts_with("false"));
    }
    assert!(broken > 50, "{broken}");
}

#[test]
fn tonumber_is_that_of_lua() {
    let pair = Pair::new();
    for value in [
        "1",
        "' 12 '",
        "'0x1F'",
        "'1e3'",
        "'x'",
        "''",
        "' '",
        "'1 2'",
        "'-7'",
        "'+7'",
        "'--7'",
        "'- 7'",
        "'7\\0'",
        "'ff'",
        "'-FF'",
        "'zz'",
        "'8'",
        "'1.5'",
        "'inf'",
        "'nan'",
        "'0x'",
        "'\\v7\\n'",
        "nil",
        "true",
        "{}",
        "'1e'",
        "'1_0'",
    ] {
        pair.same(&format!("return tonumber({value})"));
        for base in [
            "10", "16", "36", "2", "8", "1", "37", "'16'", "nil", "{}", "16.5", "-1",
        ] {
            // Lua takes `tonumber(12, 16)` for a string as we do.
            pair.same(&format!("return tonumber({value}, {base})"));
        }
    }
}

/// Whatever a function is told to do, it ends with the budget, and soon.
#[test]
fn bombs_end_with_the_budget() {
    let pair = Pair::new();
    for source in [
        "table.insert(setmetatable({}, {__len = function() return 2^53 end}), 1, 1)",
        "table.insert(setmetatable({}, {__len = function() return 2^31 - 2 end}), 1, 1)",
        "table.remove(setmetatable({}, {__len = function() return 2^53 end}), 1)",
        "table.sort(setmetatable({}, {__len = function() return 2^53 end}), function() return false end)",
        "table.concat(setmetatable({}, {__len = function() while true do end end}))",
        "while true do table.unpack({}, 1, 1e5) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.remove(t, 1) end",
        "local t = {} for i = 1, 1e5 do t[i] = -i end while true do table.sort(t) end",
        "local t = {} for i = 1, 1e5 do t[i] = '' end while true do table.concat(t) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.maxn(t) end",
        "local t = {} while true do t[#t + 1] = 1 table.pack(unpack(t, 1, 1000)) end",
        "table.sort({3, 2, 1}, function() while true do end end)",
    ] {
        let begun = Instant::now();
        let outcome = pair.within(1_000_000, source);
        let took = begun.elapsed();
        assert!(outcome.contains("cut off"), "{source}: {outcome}");
        assert!(took < Duration::from_secs(10), "{source}: {took:?}");
    }
}
