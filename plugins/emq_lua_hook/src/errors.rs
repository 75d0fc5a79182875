//! Errors that library functions raise in scripts.

use mlua::{Error, Lua};
use std::fmt;

/// An error with the text that a function of Lua's own library would raise: `file:line: message`.
///
/// mlua hands it to scripts as an object, not as a string: whoever catches errors for them (`pcall`) or writes them
/// to the log finds the text with [`text`].
#[derive(Debug)]
pub(crate) struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScriptError {}

/// An error at the line of the script that called the running library function.
#[cold]
pub(crate) fn raise(lua: &Lua, message: impl fmt::Display) -> Error {
    // Level 0 is the library function itself.
    let at = lua.inspect_stack(1, |caller| {
        let source = caller.source().short_src?.into_owned();
        Some((source, caller.current_line()?))
    });
    Error::external(ScriptError(match at.flatten() {
        Some((source, line)) => format!("{source}:{line}: {message}"),
        None => message.to_string(),
    }))
}

/// The error of a wrong argument, as Lua words it.
#[cold]
pub(crate) fn bad_argument(lua: &Lua, n: usize, function: &str, why: impl fmt::Display) -> Error {
    raise(
        lua,
        format_args!("bad argument #{n} to '{function}' ({why})"),
    )
}

/// The text of an error without mlua's additions (kind, traceback).
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => text(cause),
        Error::RuntimeError(message)
        | Error::MemoryError(message)
        | Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}
