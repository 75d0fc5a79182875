//! Functions without a library that would run long on their own: `tonumber`.

use crate::arguments::{Call, PARSED};
use crate::budget::Budget;
use mlua::{Lua, Value};

/// Puts the functions in place of Lua's own.
pub(crate) fn install(lua: &Lua, budget: &Budget) -> mlua::Result<()> {
    let budget = budget.clone();
    let tonumber = lua.create_function(move |lua, (value, base): (Value, Value)| {
        let call = Call {
            lua,
            budget: &budget,
            name: "tonumber",
        };
        tonumber(call, value, &base)
    })?;
    lua.globals().set("tonumber", tonumber)
}

/// `tonumber`
fn tonumber(call: Call<'_>, value: Value, base: &Value) -> mlua::Result<Option<f64>> {
    if let Value::String(text) = &value {
        call.spend((text.as_bytes().len() / PARSED) as u64)?;
    }
    if matches!(base, Value::Nil) {
        return match value {
            Value::Integer(n) => Ok(Some(n as f64)),
            Value::Number(n) => Ok(Some(n)),
            Value::String(_) => call.lua.coerce_number(value),
            _ => Ok(None),
        };
    }
    let text = call.text(value, 1)?;
    let base = call.integer(base, 2)?;
    let Some(base) = u32::try_from(base).ok().filter(|b| (2..=36).contains(b)) else {
        return Err(call.bad(2, "base out of range"));
    };
    Ok(in_base(&text.as_bytes(), base))
}

/// A number in another base; spaces may stand around it.
fn in_base(text: &[u8], base: u32) -> Option<f64> {
    let space = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|b| !space(b))?;
    let end = text.iter().rposition(|b| !space(b))? + 1;
    let (sign, digits) = match &text[start..end] {
        [b'-', digits @ ..] => (-1.0, digits),
        [b'+', digits @ ..] => (1.0, digits),
        digits => (1.0, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for digit in digits {
        let digit = char::from(*digit).to_digit(base)?;
        number = number * f64::from(base) + f64::from(digit);
    }
    Some(sign * number)
}
