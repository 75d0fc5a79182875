//! Arguments of library functions, converted as Lua converts them.

use crate::budget::Budget;
use crate::errors::{self, bad_argument};
use crate::format;
use mlua::{Error, Function, Lua, LuaString, Table, Value};

/// Bytes that are copied in the time of one step.
const COPIED: usize = 32;

/// Bytes of a number that are read in the time of one step.
pub(crate) const PARSED: usize = 4;

/// One call of a library function: whom its errors name, and who pays.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub lua: &'a Lua,
    pub budget: &'a Budget,
    pub name: &'static str,
}

impl Call<'_> {
    /// A string; numbers stand for theirs.
    pub fn text(&self, value: Value, n: usize) -> mlua::Result<LuaString> {
        match value {
            Value::String(text) => Ok(text),
            Value::Integer(_) | Value::Number(_) => match as_number(&value) {
                Some(number) => self.lua.create_string(format::number(number)),
                None => Err(self.wrong(n, "string", &value)),
            },
            other => Err(self.wrong(n, "string", &other)),
        }
    }

    /// A number; strings that look like one stand for it.
    pub fn number(&self, value: &Value, n: usize) -> mlua::Result<f64> {
        if let Some(number) = as_number(value) {
            return Ok(number);
        }
        if let Value::String(text) = value {
            self.spend((text.as_bytes().len() / PARSED) as u64)?;
            if let Some(number) = self.lua.coerce_number(value.clone())? {
                return Ok(number);
            }
        }
        Err(self.wrong(n, "number", value))
    }

    /// An integer: what a number has behind the point is cut off.
    pub fn integer(&self, value: &Value, n: usize) -> mlua::Result<i64> {
        // As close as 64 bits come; C leaves numbers beyond to the processor.
        Ok(self.number(value, n)? as i64)
    }

    /// An integer, or `default` if there is none.
    pub fn integer_or(&self, value: &Value, default: i64, n: usize) -> mlua::Result<i64> {
        match value {
            Value::Nil => Ok(default),
            value => self.integer(value, n),
        }
    }

    /// Spends what it costs to write so many bytes, which must fit into memory.
    pub fn pay_for(&self, bytes: usize) -> mlua::Result<()> {
        self.fits(bytes)?;
        self.spend((bytes / COPIED) as u64)
    }

    /// An error if so many bytes do not fit into the memory of the interpreter, which would not see them otherwise.
    pub fn fits(&self, bytes: usize) -> mlua::Result<()> {
        if bytes > self.budget.limits().memory {
            return Err(self.no_memory());
        }
        Ok(())
    }

    /// The error of memory that is used up.
    #[cold]
    pub fn no_memory(&self) -> Error {
        Error::MemoryError("not enough memory".to_owned())
    }

    /// Spends steps.
    #[inline]
    pub fn spend(&self, steps: u64) -> mlua::Result<()> {
        self.budget.spend(steps).map_err(|e| placed(self.lua, e))
    }

    /// The error of the budget, which is used up.
    #[cold]
    pub fn exhausted(&self) -> Error {
        placed(self.lua, self.budget.error())
    }

    /// An error at the line of the script.
    #[cold]
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        errors::raise(self.lua, message)
    }

    /// An argument that will not do.
    #[cold]
    pub fn bad(&self, n: usize, why: impl std::fmt::Display) -> Error {
        bad_argument(self.lua, n, self.name, why)
    }

    /// An argument of another type.
    #[cold]
    pub fn wrong(&self, n: usize, expected: &str, got: &Value) -> Error {
        self.bad(n, format_args!("{expected} expected, got {}", kind(got)))
    }
}

/// A budget that is used up, and at which line.
#[cold]
fn placed(lua: &Lua, error: Error) -> Error {
    match errors::place(lua) {
        Some(place) => mlua::ErrorContext::context(error, place),
        None => error,
    }
}

/// What Lua calls the type of a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}

/// The number that a value is.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) => Some(*n),
        _ => None,
    }
}

/// What the parts that are written in Lua use: the functions of checks.lua.
pub(crate) fn checks(lua: &Lua) -> mlua::Result<Table> {
    let place = lua.create_function(|lua, ()| {
        Ok(errors::place(lua).map_or_else(String::new, |place| place + ": "))
    })?;
    run(lua, include_str!("checks.lua"), place)
}

/// For Lua: `spend(steps)`.
pub(crate) fn spender(lua: &Lua, budget: &Budget) -> mlua::Result<Function> {
    let budget = budget.clone();
    // What is spent is the size of something, so no number is below 0 or beyond 64 bits.
    lua.create_function(move |lua, steps: f64| {
        budget.spend(steps as u64).map_err(|e| placed(lua, e))
    })
}

/// Runs a part of the library that is written in Lua.
pub(crate) fn run<R: mlua::FromLuaMulti>(
    lua: &Lua,
    source: &str,
    arguments: impl mlua::IntoLuaMulti,
) -> mlua::Result<R> {
    lua.load(source).set_name(errors::LIBRARY).call(arguments)
}
