//! The scripts that are loaded.

use crate::emq::Library;
use crate::settings::Settings;
use emqttd_plugin_sdk::{Context, StartError};
use std::sync::Arc;

/// The scripts that are loaded, and their interpreters.
pub(crate) struct Engine {
    _settings: Settings,
    _library: Arc<Library>,
}

/// What a script is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptStatus {
    /// without `.lua`
    pub name: String,
    /// hooks that it has registered, in the order of the sheet
    pub hooks: Vec<&'static str>,
    /// names that its `register_hook` has returned and that are no hooks
    pub unknown: Vec<String>,
    /// callbacks called
    pub calls: u64,
    /// of them failed: errors, and returns that cannot be used; those that were cut off are among them
    pub errors: u64,
    /// of them were cut off by a limit
    pub cut_off: u64,
    /// the last error with its file and line, and when it was (unix seconds)
    pub last_error: Option<(String, u64)>,
    /// it has been cut off too often in a row, and is not called until it is loaded again
    pub suspended: bool,
    /// time spent in its callbacks, microseconds
    pub micros: u64,
}

impl Engine {
    /// Without scripts.
    ///
    /// # Errors
    /// When no interpreter can be made.
    pub fn new(
        ctx: &Context,
        settings: Settings,
        library: Arc<Library>,
    ) -> Result<Arc<Engine>, StartError> {
        let _ = ctx;
        Ok(Arc::new(Engine {
            _settings: settings,
            _library: library,
        }))
    }

    /// Loads a script in the place of the one with its name.
    ///
    /// # Errors
    /// What is wrong with it, with file and line; the old one stays loaded then.
    pub fn load(&self, name: &str, source: &[u8]) -> Result<(), String> {
        let _ = (name, source);
        Ok(())
    }

    /// Takes a script out; `false` = there is none of that name.
    pub fn unload(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// All scripts by name.
    pub fn status(&self) -> Vec<ScriptStatus> {
        Vec::new()
    }
}
