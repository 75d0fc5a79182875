//! A Lua pattern, a line feed, a subject: what the matcher of emq_lua_hook finds, and how it fails, is what Lua does.
#![no_main]

#[allow(dead_code)]
#[path = "../../plugins/emq_lua_hook/src/pattern.rs"]
mod pattern;

use libfuzzer_sys::fuzz_target;
use mlua::{BString, Function, Lua, MultiValue, Value};
use pattern::{Captured, Fault, Matcher};
use std::cell::OnceCell;

/// Steps that a match may take; Lua has no bound, so that it gets only what ends within these.
const STEPS: u64 = 20_000;

thread_local! {
    static LUA: OnceCell<(Lua, Function, Function)> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|b| *b == b'\n') else {
        return;
    };
    let (pattern, subject) = (&input[..end], &input[end + 1..]);
    let mut left = STEPS;
    let meter = |steps: u64| {
        left = left.saturating_sub(steps.max(1));
        left > 0
    };
    let mut matcher = Matcher::new(subject, pattern, true, meter);
    let outcome = found(&mut matcher, subject);
    if outcome == Err(Fault::Stopped.to_string()) {
        return;
    }
    let replaced = replaced(pattern, subject);
    LUA.with(|lua| {
        let (_, matches, gsub) = lua.get_or_init(|| {
            let lua = Lua::new();
            // Behind a function of Lua, so that errors have a line that can be cut off.
            let load = |source: &str| lua.load(source).set_name("=x").eval().expect("is Lua");
            let matches = load("function(s, p) return pcall(s.match, s, p) end");
            let gsub = load("function(s, p) return pcall(s.gsub, s, p, '<%0>') end");
            (lua, matches, gsub)
        });
        let arguments = (BString::from(subject), BString::from(pattern));
        assert_eq!(outcome, by_lua(matches, arguments.clone()));
        if replaced != Err(Fault::Stopped.to_string()) {
            assert_eq!(replaced, by_lua(gsub, arguments));
        }
    });
});

/// Captures of the first match, as text; none are a `nil`.
fn found<M: FnMut(u64) -> bool>(
    matcher: &mut Matcher<'_, M>,
    subject: &[u8],
) -> Result<Vec<Vec<u8>>, String> {
    let text = |fault: Fault| fault.to_string();
    let Some(whole) = matcher.search(0).map_err(text)? else {
        return Ok(vec![b"nil".to_vec()]);
    };
    (0..matcher.captures().max(1))
        .map(|n| match matcher.capture(n, &whole).map_err(text)? {
            Captured::Text(range) => Ok(subject[range].to_vec()),
            Captured::Position(at) => Ok(at.to_string().into_bytes()),
        })
        .collect()
}

/// Every match between `<` and `>`, and how many they were.
fn replaced(pattern: &[u8], subject: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut left = STEPS;
    let mut matcher = Matcher::new(subject, pattern, true, |steps| {
        left = left.saturating_sub(steps.max(1));
        left > 0
    });
    let (mut out, mut count, mut from, mut kept) = (Vec::new(), 0, 0, 0);
    let text = |fault: Fault| fault.to_string();
    while from <= subject.len() {
        let Some(whole) = matcher.search(from).map_err(text)? else {
            break;
        };
        assert!(from <= whole.start && whole.start <= whole.end && whole.end <= subject.len());
        count += 1;
        out.extend_from_slice(&subject[kept..whole.start]);
        matcher
            .replace(b"<%0>", &whole, usize::MAX, &mut out)
            .map_err(text)?;
        kept = whole.end;
        if matcher.anchored() {
            break;
        }
        from = whole.end + usize::from(whole.is_empty());
    }
    out.extend_from_slice(&subject[kept..]);
    Ok(vec![out, count.to_string().into_bytes()])
}

/// What a function behind a `pcall` returns, as text.
fn by_lua(f: &Function, arguments: (BString, BString)) -> Result<Vec<Vec<u8>>, String> {
    let values: MultiValue = f.call(arguments).expect("pcall catches errors");
    let mut values = values.into_iter();
    let ok = values.next() == Some(Value::Boolean(true));
    let values = values.map(|value| match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(n) => n.to_string().into_bytes(),
        Value::Nil => b"nil".to_vec(),
        other => panic!("{other:?}"),
    });
    let mut values: Vec<Vec<u8>> = values.collect();
    if ok {
        return Ok(values);
    }
    let message = values.pop().unwrap_or_default();
    Err(String::from_utf8_lossy(&message).into_owned())
}
