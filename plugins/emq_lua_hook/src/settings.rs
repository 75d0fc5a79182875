//! The keys of `emq_lua_hook`.

use crate::budget::Limits;
use emqttd_plugin_sdk::{Config, Entry, StartError};
use std::path::PathBuf;
use std::time::Duration;

/// What the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `lua.dir`: where the scripts are
    pub dir: PathBuf,
    /// `lua.state = keep`: what scripts have assigned stays
    pub keep: bool,
    /// `lua.on_error = refuse`: what a script fails at does not happen
    pub refuse: bool,
    /// of one call
    pub limits: Limits,
    /// `lua.kv.max_bytes`
    pub kv_bytes: usize,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// Which key cannot be used, and where it stands.
    pub fn read(config: &Config) -> Result<Settings, StartError> {
        let bytes = |key: &str, default: usize| {
            number(config, key, default, |c| c.size(key)?.try_into().ok())
        };
        let memory = bytes("lua.max_memory", 16 << 20)?;
        if memory < LEAST_MEMORY {
            return Err(refused(
                config,
                "lua.max_memory",
                "must be 256KB or more: an interpreter needs them before it has a script",
            ));
        }
        Ok(Settings {
            dir: config.text("lua.dir").unwrap_or("hook_lua").into(),
            keep: word(config, "lua.state", "reset", "keep")?,
            refuse: word(config, "lua.on_error", "pass", "refuse")?,
            limits: Limits {
                instructions: positive(config, "lua.max_instructions", 1_000_000, |c| {
                    c.integer("lua.max_instructions")?.try_into().ok()
                })?,
                time: number(config, "lua.max_time", Duration::from_millis(100), |c| {
                    c.duration("lua.max_time").filter(|time| !time.is_zero())
                })?,
                memory,
            },
            kv_bytes: bytes("lua.kv.max_bytes", 16 << 20)?,
        })
    }
}

/// Less than this is not enough for an interpreter with its libraries.
const LEAST_MEMORY: usize = 256 << 10;

/// Whether a key has its second word.
fn word(config: &Config, key: &str, default: &str, other: &str) -> Result<bool, StartError> {
    match config.text(key).map(str::trim) {
        None => Ok(false),
        Some(word) if word == default => Ok(false),
        Some(word) if word == other => Ok(true),
        Some(_) => Err(refused(
            config,
            key,
            &format!("must be {default} or {other}"),
        )),
    }
}

/// What `read` makes of a key, or the default when there is none.
fn number<T>(
    config: &Config,
    key: &str,
    default: T,
    read: impl Fn(&Config) -> Option<T>,
) -> Result<T, StartError> {
    match config.text(key) {
        None => Ok(default),
        Some(_) => read(config).ok_or_else(|| refused(config, key, "is no such value")),
    }
}

fn positive(
    config: &Config,
    key: &str,
    default: u64,
    read: impl Fn(&Config) -> Option<u64>,
) -> Result<u64, StartError> {
    number(config, key, default, |c| {
        read(c).filter(|number| *number > 0)
    })
}

fn refused(config: &Config, key: &str, what: &str) -> StartError {
    match config.entry(key) {
        Some(entry) => Entry::refused(entry, what),
        None => StartError(format!("{key} {what}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn defaults() {
        let settings = Settings::read(&Config::default()).unwrap();
        assert_eq!(
            settings,
            Settings {
                dir: "hook_lua".into(),
                keep: false,
                refuse: false,
                limits: Limits {
                    instructions: 1_000_000,
                    time: Duration::from_millis(100),
                    memory: 16 << 20,
                },
                kv_bytes: 16 << 20,
            }
        );
    }

    #[test]
    fn all_keys() {
        let settings = Settings::read(&Config::of(&[
            ("lua.dir", "scripts"),
            ("lua.state", "keep"),
            ("lua.on_error", "refuse"),
            ("lua.max_instructions", "5000"),
            ("lua.max_memory", "1MB"),
            ("lua.max_time", "20ms"),
            ("lua.kv.max_bytes", "64KB"),
        ]))
        .unwrap();
        assert_eq!(
            settings,
            Settings {
                dir: "scripts".into(),
                keep: true,
                refuse: true,
                limits: Limits {
                    instructions: 5000,
                    time: Duration::from_millis(20),
                    memory: 1 << 20,
                },
                kv_bytes: 64 << 10,
            }
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (key, value) in [
            ("lua.state", "kept"),
            ("lua.on_error", "drop"),
            ("lua.max_instructions", "0"),
            ("lua.max_instructions", "-1"),
            ("lua.max_instructions", "many"),
            ("lua.max_memory", "100KB"),
            ("lua.max_memory", "16 apples"),
            ("lua.max_time", "0"),
            ("lua.max_time", "soon"),
            ("lua.kv.max_bytes", "-"),
        ] {
            let error = Settings::read(&Config::of(&[(key, value)])).unwrap_err().0;
            assert!(error.starts_with(key), "{error}");
        }
    }
}
