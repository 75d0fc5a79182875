//! The library `table`, with every function bounded by the budget of a call.
//!
//! All but `concat` and `pack` is written in Lua, so that the count hook sees what it does. `pack` is Lua's own: its
//! arguments bound it.

use crate::arguments::{self, Call, as_number, kind};
use crate::budget::Budget;
use crate::format;
use mlua::{Function, Lua, LuaString, Table, Value};

/// Puts the functions in place of Lua's own.
pub(crate) fn install(lua: &Lua, budget: &Budget) -> mlua::Result<()> {
    let checks = arguments::checks(lua)?;
    let length = arguments::run::<Function>(lua, "return function(t) return #t end", ())?;
    let spend = arguments::spender(lua, budget)?;
    arguments::run::<()>(lua, include_str!("tables.lua"), (checks, spend))?;
    let budget = budget.clone();
    let concat = lua.create_function(move |lua, (table, separator, first, last)| {
        let call = Call {
            lua,
            budget: &budget,
            name: "concat",
        };
        concat(call, table, separator, &first, &last, &length)
    })?;
    lua.globals().get::<Table>("table")?.set("concat", concat)
}

/// `table.concat`
fn concat(
    call: Call<'_>,
    table: Value,
    separator: Value,
    first: &Value,
    last: &Value,
    length: &Function,
) -> mlua::Result<LuaString> {
    let separator = match separator {
        Value::Nil => None,
        value => Some(call.text(value, 2)?),
    };
    let Value::Table(table) = table else {
        return Err(call.wrong(1, "table", &table));
    };
    let first = call.integer_or(first, 1, 3)?;
    let last = match last {
        // `#` is Lua's when there is no metamethod.
        Value::Nil if table.metatable().is_none() => table.raw_len() as i64,
        Value::Nil => match as_number(&length.call::<Value>(&table)?) {
            Some(length) => length as i64,
            None => return Err(call.error("object length is not a number")),
        },
        value => call.integer(value, 4)?,
    };
    let mut out = Vec::new();
    let separator = separator.as_ref().map(LuaString::as_bytes);
    for n in first..=last {
        // Going on for an element costs some 100 ns, and a long separator counts as often as it is written.
        call.spend(10)?;
        match table.raw_get::<Value>(n)? {
            Value::String(text) => out.extend_from_slice(&text.as_bytes()),
            other => match as_number(&other) {
                Some(number) => out.extend_from_slice(format::number(number).as_bytes()),
                None => {
                    return Err(call.error(format_args!(
                        "invalid value ({}) at index {n} in table for 'concat'",
                        kind(&other)
                    )));
                }
            },
        }
        if let Some(separator) = separator.as_ref().filter(|_| n < last) {
            out.extend_from_slice(separator);
        }
        call.fits(out.len())?;
    }
    call.pay_for(out.len())?;
    call.lua.create_string(out)
}

#[cfg(test)]
mod tests;
