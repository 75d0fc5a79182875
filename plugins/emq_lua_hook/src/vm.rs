//! One interpreter with one script in it.

use crate::budget::{Budget, Limits, Phase};
use crate::emq::Library;
use crate::errors;
use crate::hooks::Hook;
use crate::sandbox::{Sandbox, chunk_name};
use mlua::{Error, Function, Lua, MultiValue, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Longest text of an error that is kept, bytes.
const MAX_ERROR: usize = 512;

/// Names that `register_hook` may return.
const MAX_NAMES: usize = 100;

/// What an interpreter is made of, so that it can be made again.
pub(crate) struct Recipe {
    /// without `.lua`
    pub name: Box<str>,
    pub source: Box<[u8]>,
    pub limits: Limits,
    /// what the script has assigned stays
    pub keep: bool,
    pub library: Arc<Library>,
}

/// An interpreter that has run the file of its script.
pub(crate) struct Vm {
    lua: Lua,
    budget: Budget,
    /// what calls the callbacks, by number of the hook; `None` = not registered
    callers: [Option<Function>; Hook::ALL.len()],
    /// lets go of what the last call has left; `None` = that is kept
    forget: Option<Function>,
    /// what it has done, for the status
    pub work: Work,
}

/// Figures of one interpreter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// callbacks called
    pub calls: u64,
    /// time spent in them
    pub nanos: u64,
}

/// What `register_hook` has returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// each once, in the order of [`Hook::ALL`]
    pub hooks: Vec<Hook>,
    /// names that are no hooks, or have no function
    pub unknown: Vec<String>,
}

/// Why a callback has given nothing that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// an error of the script, with file and line
    Error(String),
    /// it was cut off by a limit
    CutOff(String),
    /// it was not called, for a payload that it has no room for; that says nothing about the script
    TooLarge(String),
}

impl Failure {
    /// What went wrong.
    pub fn text(&self) -> &str {
        match self {
            Failure::Error(text) | Failure::CutOff(text) | Failure::TooLarge(text) => text,
        }
    }
}

impl Recipe {
    /// An interpreter, and what the script wants to be called for. `phase` is [`Phase::Load`] for the first one.
    ///
    /// # Errors
    /// What is wrong with the script, with file and line.
    pub fn make(&self, phase: Phase) -> Result<(Vm, Registered), String> {
        let budget = Budget::new(&self.name, self.limits);
        let failed = |error: &Error| failure(&self.name, &budget, error).text().to_string();
        let sandbox = match catch_unwind(AssertUnwindSafe(|| Sandbox::new(&budget, &self.library)))
        {
            Ok(sandbox) => sandbox.map_err(|error| failed(&error))?,
            Err(_) => return Err("an interpreter could not be made".into()),
        };
        budget.begin(phase, Instant::now());
        let run = catch_unwind(AssertUnwindSafe(|| {
            let source = sandbox.lua.load(chunk(&self.source));
            let main = source
                .set_name(format!("={}", chunk_name(&self.name)))
                .set_mode(mlua::chunk::ChunkMode::Text)
                .into_function()?;
            sandbox.load.call::<MultiValue>(main)
        }));
        let names = match run {
            Ok(names) => names.map_err(|error| failed(&error))?,
            Err(_) => return Err("a function of the library has failed; see the log".into()),
        };
        let registered = registered(&sandbox, names).map_err(|error| failed(&error))?;
        let mut callers = Hook::ALL.map(|_| None);
        for hook in &registered.hooks {
            let caller = sandbox.caller.call((hook.name(), self.keep));
            callers[*hook as usize] = Some(caller.map_err(|error| failed(&error))?);
        }
        let vm = Vm {
            lua: sandbox.lua,
            budget,
            callers,
            forget: (!self.keep).then_some(sandbox.forget),
            work: Work::default(),
        };
        Ok((vm, registered))
    }
}

impl Vm {
    /// Calls a callback and gives what it returns to `read`, whose error means: that cannot be used.
    ///
    /// # Errors
    /// When the script fails. The interpreter is fit for the next call all the same.
    pub fn call<T>(
        &mut self,
        recipe: &Recipe,
        hook: Hook,
        args: impl mlua::IntoLuaMulti,
        read: impl FnOnce(MultiValue) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        self.budget.begin(Phase::Call, begun);
        let run = catch_unwind(AssertUnwindSafe(|| {
            let Some(caller) = &self.callers[hook as usize] else {
                return Err(Failure::Error(format!("{} is not registered", hook.name())));
            };
            self.make_room()
                .map_err(|error| failure(&recipe.name, &self.budget, &error))?;
            let returned = caller
                .call::<MultiValue>(args)
                .map_err(|error| failure(&recipe.name, &self.budget, &error))?;
            read(returned).map_err(|what| {
                let file = chunk_name(&recipe.name);
                Failure::Error(one_line(&format!("{file}: {} {what}", hook.name())))
            })
        }));
        let result = run.unwrap_or_else(|_| {
            self.replace(recipe);
            Err(Failure::Error(
                "a function of the library has failed; see the log".into(),
            ))
        });
        self.work.calls += 1;
        self.work.nanos += u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        result
    }

    /// Arguments come before what the last call has left is cleared away: it may be all of the memory.
    fn make_room(&self) -> mlua::Result<()> {
        match &self.forget {
            Some(forget) if self.lua.used_memory() > self.budget.limits().memory / 2 => {
                forget.call(())
            }
            _ => Ok(()),
        }
    }

    /// After a panic: nobody knows what the interpreter is at. What a script has kept in it is lost.
    #[cold]
    fn replace(&mut self, recipe: &Recipe) {
        log::error!(
            "emq_lua_hook: a function of the library panicked, called by {}.lua; its interpreter is made anew",
            recipe.name
        );
        // It was loaded before; if it cannot be now, the old one is the best there is.
        if let Ok((vm, _)) = recipe.make(Phase::Rerun) {
            let work = self.work;
            *self = Vm { work, ..vm };
        }
    }
}

/// The file as it is run: its globals are what it is called with. A first line that begins with `#` is for the shell.
fn chunk(source: &[u8]) -> Vec<u8> {
    // With a semicolon: the script would go on with the expression else, and see the globals of the sandbox itself.
    const GLOBALS: &[u8] = b"local _ENV = ...; ";
    let source = source.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(source);
    let text = match source.first() {
        Some(b'#') => {
            let line = source.iter().position(|byte| *byte == b'\n');
            &source[line.unwrap_or(source.len())..]
        }
        _ => source,
    };
    [GLOBALS, text].concat()
}

/// Sorts out what `register_hook` has returned.
fn registered(sandbox: &Sandbox, names: MultiValue) -> mlua::Result<Registered> {
    let mut registered = Registered::default();
    if names.len() > MAX_NAMES {
        let why = format!("register_hook returned more than {MAX_NAMES} names");
        return Err(Error::runtime(why));
    }
    for name in names {
        let Value::String(name) = name else {
            registered.unknown.push(format!("(a {})", name.type_name()));
            continue;
        };
        let name = name.as_bytes();
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_ERROR)]);
        match Hook::of(&name) {
            None => registered.unknown.push(one_line(&name)),
            Some(hook) if registered.hooks.contains(&hook) => {}
            Some(hook) if sandbox.has.call(hook.name())? => registered.hooks.push(hook),
            Some(_) => registered
                .unknown
                .push(format!("{name} (no such function)")),
        }
    }
    registered.hooks.sort();
    Ok(registered)
}

/// An error as people are told it, with file and line where there are any.
fn failure(script: &str, budget: &Budget, error: &Error) -> Failure {
    let file = chunk_name(script);
    let text = errors::text(error);
    let text = match place(error, &file) {
        Some(place) if !text.starts_with(&file) => format!("{place}: {text}"),
        _ if !text.starts_with(&file) => format!("{file}: {text}"),
        _ => text.to_string(),
    };
    let text = one_line(&text);
    match error {
        _ if budget.exhausted() => Failure::CutOff(text),
        _ if is_memory(error) => {
            let most = budget.limits().memory;
            Failure::CutOff(format!("{text}: cut off at lua.max_memory = {most}"))
        }
        _ => Failure::Error(text),
    }
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => is_memory(cause),
        _ => false,
    }
}

/// `x.lua:3`, where an error says so.
fn place(error: &Error, file: &str) -> Option<String> {
    match error {
        Error::WithContext { context, .. } if context.starts_with(file) => Some(context.clone()),
        Error::WithContext { cause, .. } => place(cause, file),
        Error::CallbackError { traceback, cause } => place(cause, file).or_else(|| {
            let mut frames = traceback.lines().map(str::trim);
            let frame = frames.find_map(|frame| frame.strip_prefix(file)?.strip_prefix(':'))?;
            let line = frame.split(':').next()?;
            Some(format!("{file}:{line}"))
        }),
        _ => None,
    }
}

/// Bounded, and without what would break a line of the log.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.trim_end().chars() {
        if line.len() >= MAX_ERROR {
            line.push('…');
            break;
        }
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests;
