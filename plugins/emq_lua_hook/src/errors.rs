//! Errors that library functions raise in scripts.

use mlua::{Error, Lua};
use std::fmt;

/// How the parts of the library that are written in Lua are named; [`raise`] passes over them.
pub(crate) const LIBRARY: &str = "=[library]";

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

/// The line of the script that called the running library function, as `file:line`.
#[cold]
pub(crate) fn place(lua: &Lua) -> Option<String> {
    // Level 0 is the library function itself; it may have been called for another.
    for level in 1..8 {
        let (source, line) = lua.inspect_stack(level, |caller| {
            let source = caller.source().short_src.map(|s| s.into_owned());
            (source.unwrap_or_default(), caller.current_line())
        })?;
        if source != LIBRARY[1..] {
            return line.map(|line| format!("{source}:{line}"));
        }
    }
    None
}

/// An error at the line of the script that called the running library function.
#[cold]
pub(crate) fn raise(lua: &Lua, message: impl fmt::Display) -> Error {
    Error::external(ScriptError(match place(lua) {
        Some(place) => format!("{place}: {message}"),
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
        | Error::SyntaxError { message, .. } => {
            let end = message.find("\nstack traceback:");
            message[..end.unwrap_or(message.len())].to_owned()
        }
        other => other.to_string(),
    }
}
