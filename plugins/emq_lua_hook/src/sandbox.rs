//! An interpreter before it has a script: bounded libraries, nothing that reaches outside, limits.

use crate::budget::{Budget, Phase};
use crate::emq::{self, Library};
use crate::errors;
use crate::{base, clock, random, strings, tables};
use mlua::state::{GcIncParams, GcMode};
use mlua::{
    Error, ErrorContext, Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Value, VmState,
};
use std::sync::Arc;

/// Instructions between two looks at the budget. A single one may copy or compare as much as fits into
/// `lua.max_memory`, so that they must not be many.
const COUNTED: u32 = 100;
/// Collection begins when memory has grown to this many percent of what was in use after the last one. What a call
/// leaves behind is little; what must be looked at is the libraries, each time.
const PAUSE: i32 = 400;

/// An interpreter.
pub(crate) struct Sandbox {
    pub lua: Lua,
    /// `(chunk) -> names`: runs a script's file, and its `register_hook`
    pub load: Function,
    /// `(name) -> bool`: whether the script has such a function
    pub has: Function,
    /// `(name, keep) -> function`: what calls a callback, after the file has been run again or as things are
    pub caller: Function,
    /// lets go of what the last call has left, when memory is short; not with `keep`
    pub forget: Function,
}

impl Sandbox {
    /// With the limits of `budget`, in force.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(budget: &Budget, library: &Arc<Library>) -> mlua::Result<Sandbox> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::BIT;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        base::install(&lua, budget)?;
        strings::install(&lua, budget)?;
        tables::install(&lua, budget)?;
        emq::install(&lua, budget, library)?;
        clock::install(&lua)?;
        random::install(&lua, budget)?;
        let strings = lua.type_metatable::<LuaString>();
        let prelude = lua
            .load(include_str!("prelude.lua"))
            .set_name("=emq_lua_hook");
        let rerun = entering(&lua, budget, Phase::Rerun)?;
        let enter = entering(&lua, budget, Phase::Call)?;
        let (load, has, caller, forget) =
            prelude.call((caught(&lua, budget)?, rerun, enter, strings))?;
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(PAUSE)));
        lua.set_memory_limit(budget.limits().memory)?;
        count(&lua, budget)?;
        Ok(Sandbox {
            lua,
            load,
            has,
            caller,
            forget,
        })
    }
}

/// What a script gets that has caught an error.
fn caught(lua: &Lua, budget: &Budget) -> mlua::Result<Function> {
    let budget = budget.clone();
    lua.create_function(move |lua, error: Value| match error {
        Value::Error(error) if budget.exhausted() => Err(*error),
        _ if budget.exhausted() => Err(budget.error()),
        Value::Error(error) => Ok(Value::String(lua.create_string(errors::text(&error))?)),
        other => Ok(other),
    })
}

/// Says what the script is doing from now on, unless it is being loaded.
fn entering(lua: &Lua, budget: &Budget, phase: Phase) -> mlua::Result<Function> {
    let budget = budget.clone();
    lua.create_function(move |_, ()| {
        if budget.phase() != Phase::Load {
            budget.enter(phase);
        }
        Ok(())
    })
}

/// Spends the budget as instructions are used.
fn count(lua: &Lua, budget: &Budget) -> mlua::Result<()> {
    let budget = budget.clone();
    let triggers = HookTriggers::new().every_nth_instruction(COUNTED);
    lua.set_global_hook(triggers, move |lua, _| {
        match budget.spend_and_look(u64::from(COUNTED)) {
            Ok(()) => Ok(VmState::Continue),
            Err(error) => Err(placed(lua, &budget, error)),
        }
    })
}

/// The error with the line that is being run.
#[cold]
fn placed(lua: &Lua, budget: &Budget, error: Error) -> Error {
    let chunk = chunk_name(budget.script());
    // The nearest line of the script: the innermost function may be one of the prelude.
    let line = (0..8).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let source = frame.source().short_src?;
            (source == chunk).then(|| frame.current_line())?
        })?
    });
    match line {
        Some(line) => error.context(format!("{chunk}:{line}")),
        None => error,
    }
}

/// How errors name the file of a script.
pub(crate) fn chunk_name(script: &str) -> String {
    format!("{script}.lua")
}
