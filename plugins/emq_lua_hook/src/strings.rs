//! The library `string`, with every function bounded by the budget of a call.
//!
//! `len` and `sub` are Lua's own: they do no more than operators of the language do. `dump` is gone.

use crate::arguments::{self, Call, as_number, kind};
use crate::budget::Budget;
use crate::format::{self, Spec};
use crate::pattern::{self, Captured, Fault, Matcher};
use mlua::{Error, Function, Lua, LuaString, MultiValue, Value, Variadic};
use std::ops::Range;

/// Puts the functions in place of Lua's own.
pub(crate) fn install(lua: &Lua, budget: &Budget) -> mlua::Result<()> {
    let string: mlua::Table = lua.globals().get("string")?;
    for (name, finds) in [("find", true), ("match", false)] {
        string.set(
            name,
            function(lua, budget, name, move |call, (s, p, from, plain)| {
                search(call, s, p, &from, finds, as_bool(&plain))
            })?,
        )?;
    }
    string.set("rep", function(lua, budget, "rep", repeat)?)?;
    string.set("byte", function(lua, budget, "byte", bytes)?)?;
    string.set("char", function(lua, budget, "char", from_bytes)?)?;
    for (name, change) in [
        ("lower", <[u8]>::make_ascii_lowercase as fn(&mut [u8])),
        ("upper", <[u8]>::make_ascii_uppercase),
        ("reverse", <[u8]>::reverse),
    ] {
        string.set(
            name,
            function(lua, budget, name, move |call, s| changed(call, s, change))?,
        )?;
    }
    let tostring: Function = lua.globals().get("tostring")?;
    string.set(
        "format",
        function(
            lua,
            budget,
            "format",
            move |call, (form, values): (Value, Variadic<Value>)| {
                formatted(call, form, &values, &tostring)
            },
        )?,
    )?;
    string.set("dump", Value::Nil)?;
    let scan = function(lua, budget, "gsub", scan)?;
    let replace = function(lua, budget, "gsub", replace)?;
    let spend = arguments::spender(lua, budget)?;
    let checks = arguments::checks(lua)?;
    arguments::run::<()>(
        lua,
        include_str!("strings.lua"),
        (checks, scan, replace, spend),
    )?;
    Ok(())
}

/// A function of the library.
fn function<A, R>(
    lua: &Lua,
    budget: &Budget,
    name: &'static str,
    body: impl Fn(Call<'_>, A) -> mlua::Result<R> + Send + 'static,
) -> mlua::Result<Function>
where
    A: mlua::FromLuaMulti,
    R: mlua::IntoLuaMulti,
{
    let budget = budget.clone();
    lua.create_function(move |lua, arguments| {
        let call = Call {
            lua,
            budget: &budget,
            name,
        };
        body(call, arguments)
    })
}

fn as_bool(value: &Value) -> bool {
    !matches!(value, Value::Nil | Value::Boolean(false))
}

/// Where a position that a script gave lies; negative ones count from the end. 0 is before the first byte.
fn position(at: i64, length: usize) -> usize {
    if at >= 0 {
        return usize::try_from(at).unwrap_or(usize::MAX);
    }
    let back = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
    (length + 1).saturating_sub(back)
}

fn fault(call: Call<'_>, fault: Fault) -> Error {
    match fault {
        Fault::Stopped => call.exhausted(),
        Fault::TooLong => call.no_memory(),
        other => call.error(other),
    }
}

/// `string.find`, `string.match`
fn search(
    call: Call<'_>,
    s: Value,
    p: Value,
    from: &Value,
    finds: bool,
    plain: bool,
) -> mlua::Result<MultiValue> {
    let (s, p) = (call.text(s, 1)?, call.text(p, 2)?);
    let (subject, pattern) = (s.as_bytes(), p.as_bytes());
    let from = position(call.integer_or(from, 1, 3)?, subject.len()).max(1) - 1;
    let mut results = MultiValue::new();
    if from > subject.len() {
        results.push_back(Value::Nil);
        return Ok(results);
    }
    let meter = |steps| call.budget.spend(steps).is_ok();
    // To look through a pattern costs, whatever comes of it.
    call.spend(pattern.len() as u64 / 16)?;
    if finds && (plain || pattern::is_plain(&pattern)) {
        let found = pattern::find_plain(&subject[from..], &pattern, meter);
        match found.map_err(|e| fault(call, e))? {
            Some(at) => {
                results.push_back(index(from + at + 1));
                results.push_back(index(from + at + pattern.len()));
            }
            None => results.push_back(Value::Nil),
        }
        return Ok(results);
    }
    let mut matcher = Matcher::new(&subject, &pattern, true, meter);
    match matcher.search(from).map_err(|e| fault(call, e))? {
        Some(whole) => {
            if finds {
                results.push_back(index(whole.start + 1));
                results.push_back(index(whole.end));
            }
            let count = matcher.captures().max(usize::from(!finds));
            captures(call, &matcher, &whole, count, &subject, &mut results)?;
        }
        None => results.push_back(Value::Nil),
    }
    matcher.settle().map_err(|e| fault(call, e))?;
    Ok(results)
}

fn index(n: usize) -> Value {
    // Strings are far shorter than 2^63.
    Value::Integer(n as i64)
}

/// Appends the first `count` captures of a match; without captures, the first stands for the whole.
fn captures<M: FnMut(u64) -> bool>(
    call: Call<'_>,
    matcher: &Matcher<'_, M>,
    whole: &Range<usize>,
    count: usize,
    subject: &[u8],
    results: &mut MultiValue,
) -> mlua::Result<()> {
    for n in 0..count {
        results.push_back(
            match matcher.capture(n, whole).map_err(|e| fault(call, e))? {
                Captured::Position(at) => index(at),
                Captured::Text(range) => {
                    call.pay_for(range.len())?;
                    Value::String(call.lua.create_string(&subject[range])?)
                }
            },
        );
    }
    Ok(())
}

/// For `gsub` and `gmatch`: the first and last byte of the next match, and `most` of its captures; or nothing.
fn scan(
    call: Call<'_>,
    (s, p, from, anchors, most): (LuaString, LuaString, usize, bool, usize),
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (s.as_bytes(), p.as_bytes());
    let mut results = MultiValue::new();
    let mut matcher = Matcher::new(&subject, &pattern, anchors, |steps| {
        call.budget.spend(steps).is_ok()
    });
    // `from` counts from 1.
    if let Some(whole) = matcher.search(from - 1).map_err(|e| fault(call, e))? {
        results.push_back(index(whole.start + 1));
        results.push_back(index(whole.end));
        let count = matcher.captures().clamp(1, most);
        captures(call, &matcher, &whole, count, &subject, &mut results)?;
    }
    matcher.settle().map_err(|e| fault(call, e))?;
    Ok(results)
}

/// `string.gsub` with a string in place of each match.
fn replace(
    call: Call<'_>,
    (s, p, replacement, most): (Value, Value, Value, Value),
) -> mlua::Result<(LuaString, i64)> {
    let (s, p) = (call.text(s, 1)?, call.text(p, 2)?);
    let most = call.integer_or(&most, -1, 4)?;
    if !matches!(replacement, Value::String(_)) && as_number(&replacement).is_none() {
        return Err(call.bad(3, "string/function/table expected"));
    }
    let replacement = call.text(replacement, 3)?;
    let (subject, pattern, replacement) = (s.as_bytes(), p.as_bytes(), replacement.as_bytes());
    // Below 0 it is as if there were none.
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let mut matcher = Matcher::new(&subject, &pattern, true, |steps| {
        call.budget.spend(steps).is_ok()
    });
    let limit = call.budget.limits().memory;
    let mut out = Vec::new();
    let (mut count, mut from, mut kept) = (0, 0, 0);
    while count < most && from <= subject.len() {
        let Some(whole) = matcher.search(from).map_err(|e| fault(call, e))? else {
            break;
        };
        count += 1;
        out.extend_from_slice(&subject[kept..whole.start]);
        matcher
            .replace(&replacement, &whole, limit, &mut out)
            .map_err(|e| fault(call, e))?;
        kept = whole.end;
        call.fits(out.len())?;
        if matcher.anchored() {
            break;
        }
        from = if whole.is_empty() {
            whole.end + 1
        } else {
            whole.end
        };
    }
    matcher.settle().map_err(|e| fault(call, e))?;
    if count == 0 {
        return Ok((s.clone(), 0));
    }
    out.extend_from_slice(&subject[kept..]);
    call.pay_for(out.len())?;
    Ok((
        call.lua.create_string(out)?,
        i64::try_from(count).unwrap_or(i64::MAX),
    ))
}

/// `string.rep`
fn repeat(call: Call<'_>, (s, n, separator): (Value, Value, Value)) -> mlua::Result<LuaString> {
    let s = call.text(s, 1)?;
    let n = call.integer(&n, 2)?;
    let separator = match separator {
        Value::Nil => call.lua.create_string("")?,
        value => call.text(value, 3)?,
    };
    let (text, separator) = (s.as_bytes(), separator.as_bytes());
    let Some(n) = usize::try_from(n).ok().filter(|n| *n > 0) else {
        return call.lua.create_string("");
    };
    let size = text.len().checked_add(separator.len());
    let size = size.and_then(|size| size.checked_mul(n));
    let Some(size) = size.filter(|size| isize::try_from(*size).is_ok()) else {
        return Err(call.error("resulting string too large"));
    };
    call.pay_for(size)?;
    if size == 0 {
        return call.lua.create_string("");
    }
    let mut unit = Vec::with_capacity(text.len() + separator.len());
    unit.extend_from_slice(&text);
    unit.extend_from_slice(&separator);
    let mut out = unit.repeat(n);
    out.truncate(size - separator.len());
    call.lua.create_string(out)
}

/// `string.byte`
fn bytes(call: Call<'_>, (s, first, last): (Value, Value, Value)) -> mlua::Result<Variadic<u8>> {
    let s = call.text(s, 1)?;
    let text = s.as_bytes();
    let first = call.integer_or(&first, 1, 2)?;
    let start = position(first, text.len());
    let end = match last {
        Value::Nil => start,
        value => position(call.integer(&value, 3)?, text.len()),
    };
    let Some(slice) = text.get(start.max(1) - 1..end.min(text.len())) else {
        return Ok(Variadic::new());
    };
    if slice.len() > MOST_RESULTS {
        return Err(call.error("stack overflow (string slice too long)"));
    }
    call.spend(slice.len() as u64)?;
    Ok(slice.iter().copied().collect())
}

/// Values that a function may return; Lua's own bound is near a million.
const MOST_RESULTS: usize = 200_000;

/// `string.char`
fn from_bytes(call: Call<'_>, values: Variadic<Value>) -> mlua::Result<LuaString> {
    call.spend(values.len() as u64)?;
    let mut out = Vec::with_capacity(values.len());
    for (n, value) in values.iter().enumerate() {
        let byte = u8::try_from(call.integer(value, n + 1)?);
        out.push(byte.map_err(|_| call.bad(n + 1, "value out of range"))?);
    }
    call.lua.create_string(out)
}

/// `string.lower`, `string.upper`, `string.reverse`
fn changed(call: Call<'_>, s: Value, change: fn(&mut [u8])) -> mlua::Result<LuaString> {
    let s = call.text(s, 1)?;
    let text = s.as_bytes();
    call.pay_for(text.len())?;
    let mut text = text.to_vec();
    change(&mut text);
    call.lua.create_string(text)
}

/// `string.format`
fn formatted(
    call: Call<'_>,
    form: Value,
    values: &[Value],
    tostring: &Function,
) -> mlua::Result<LuaString> {
    let form = call.text(form, 1)?;
    let form = form.as_bytes();
    // Before it is gone through: what is literal in it costs a step for some bytes.
    call.spend(form.len() as u64 / 4)?;
    let mut rest: &[u8] = &form;
    let mut used = 1;
    let mut out = Vec::with_capacity(form.len());
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let [b'%', after @ ..] = rest {
            out.push(b'%');
            rest = after;
            continue;
        }
        used += 1;
        let Some(value) = values.get(used - 2) else {
            return Err(call.bad(used, "no value"));
        };
        let (spec, length) = Spec::read(rest).map_err(|e| call.error(e))?;
        let conversion = rest.get(length).copied().unwrap_or(0);
        rest = rest.get(length + 1..).unwrap_or_default();
        let before = out.len();
        item(call, spec, conversion, used, value, tostring, &mut out)?;
        // Digits of large floats take about a step each; strings are but copied.
        let written = out.len() - before;
        call.spend(if conversion == b's' {
            10
        } else {
            10 + written as u64
        })?;
        call.fits(out.len())?;
    }
    out.extend_from_slice(rest);
    call.pay_for(out.len())?;
    call.lua.create_string(out)
}

/// One item of a format, `value` being argument `n`.
fn item(
    call: Call<'_>,
    spec: Spec,
    conversion: u8,
    n: usize,
    value: &Value,
    tostring: &Function,
    out: &mut Vec<u8>,
) -> mlua::Result<()> {
    match conversion {
        b'c' => spec.byte(call.integer(value, n)? as u8, out),
        b'd' | b'i' => {
            let number = call.number(value, n)?.trunc();
            if !(-TWO_63..TWO_63).contains(&number) {
                return Err(call.bad(n, "not a number in proper range"));
            }
            spec.signed(number as i64, out);
        }
        b'o' | b'u' | b'x' | b'X' => {
            let number = call.number(value, n)?.trunc();
            if !(0.0..2.0 * TWO_63).contains(&number) {
                return Err(call.bad(n, "not a non-negative number in proper range"));
            }
            spec.unsigned(conversion, number as u64, out);
        }
        b'e' | b'E' | b'f' | b'g' | b'G' | b'a' | b'A' => {
            spec.float(conversion, call.number(value, n)?, out);
        }
        b'q' => {
            let text = call.text(value.clone(), n)?;
            call.pay_for(4 * text.as_bytes().len())?;
            format::quoted(&text.as_bytes(), out);
        }
        b's' => match value {
            Value::String(text) => spec.text(&text.as_bytes(), out),
            Value::Nil => spec.text(b"nil", out),
            Value::Boolean(true) => spec.text(b"true", out),
            Value::Boolean(false) => spec.text(b"false", out),
            value => match as_number(value) {
                Some(number) => spec.text(format::number(number).as_bytes(), out),
                None => match tostring.call::<Value>(value)? {
                    Value::String(text) => spec.text(&text.as_bytes(), out),
                    other => {
                        return Err(call.error(format_args!(
                            "'tostring' must return a string, not a {}",
                            kind(&other)
                        )));
                    }
                },
            },
        },
        other => {
            let other = (other != 0).then_some(char::from(other));
            let other = other.map(String::from).unwrap_or_default();
            return Err(call.error(format_args!("invalid option '%{other}' to 'format'")));
        }
    }
    Ok(())
}

/// 2^63
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

#[cfg(test)]
mod tests;
