//! The `key = value` configuration of EMQ 2.x: reading, checking, and the typed result.

mod config;
mod problem;
mod settings;

use std::path::Path;

pub use config::{Config, KeyReport, Loaded, Origin, Reload, SetError, SettableKey};
pub use problem::{Problem, Severity};
pub use settings::*;

/// Reads `etc_dir/emq.conf` and `etc_dir/plugins/*.conf`, lets `env` override, and checks the whole.
///
/// # Errors
/// Every problem of the run, errors and warnings, when at least one is an error.
pub fn load(
    etc_dir: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    drop(env);
    Err(vec![
        Problem::error("the reader is not there yet").in_file(&etc_dir.join("emq.conf")),
    ])
}
