//! The keys of one plugin: seen, and changed for as long as the broker runs.

use crate::configs::MASK;
use crate::{Core, PluginControl, PluginError};
use emqttd_config::{Config, PluginKeyFacts, SetError};
use std::fmt;

/// A key of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginKey {
    /// the key
    pub key: String,
    /// its value as it stands in the file, or was set since; [`MASK`] for a secret that is set; `None` = not set
    pub value: Option<String>,
    /// what counts when the file does not say
    pub default: Option<String>,
    /// what it means
    pub desc: String,
    /// `enum`, `integer`, `duration`, …
    pub datatype: &'static str,
    /// the words it takes, where it takes only some
    pub choices: Vec<String>,
    /// it is not to be shown
    pub secret: bool,
    /// the plugin always has a value for it
    pub required: bool,
    /// a running plugin takes a new value as it runs
    pub live: bool,
}

/// What became of new values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// the plugin runs on with them
    Live,
    /// the plugin was unloaded and loaded again
    Restarted,
    /// the plugin does not run; it will have them when it is loaded
    Kept,
}

/// Why the keys of a plugin were not changed. As text, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginConfigError {
    /// there is no such plugin
    NotFound,
    /// a key or a value is wrong, or the plugin does not start with it
    Refused(String),
}

impl fmt::Display for PluginConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginConfigError::NotFound => f.write_str("there is no such plugin"),
            PluginConfigError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PluginConfigError {}

impl Core {
    /// The keys of a plugin, whether it runs or not; `None` = there is no such plugin. Of a stranger that has never
    /// run nobody knows any.
    pub fn plugin_keys(&self, name: &str) -> Option<Vec<PluginKey>> {
        let name = present_name(name);
        let facts = self.config.lock().plugin_keys(name);
        match facts {
            Some(facts) => Some(facts.into_iter().map(key).collect()),
            None => self.is_plugin(name).then(Vec::new),
        }
    }

    fn is_plugin(&self, name: &str) -> bool {
        let rows = self.plugins().map(|plugins| plugins.list());
        rows.is_some_and(|rows| rows.iter().any(|row| row.name == name))
    }

    fn runs(&self, name: &str) -> bool {
        let rows = self.plugins().map(|plugins| plugins.list());
        rows.is_some_and(|rows| rows.iter().any(|row| row.name == name && row.active))
    }

    /// Changes keys of a plugin, until the broker is restarted: all of them or none. [`MASK`] for a secret leaves it
    /// as it is, and so does a value that it has already. A plugin that runs takes them as it runs when it can with
    /// all of them, and is otherwise unloaded and loaded; when it does not start with them, it runs again with what it
    /// had.
    ///
    /// # Errors
    /// See [`PluginConfigError`].
    pub fn set_plugin_keys(
        &self,
        name: &str,
        pairs: &[(String, String)],
    ) -> Result<Applied, PluginConfigError> {
        let name = present_name(name);
        let _changing = self.changing();
        let facts = self.plugin_keys(name).ok_or(PluginConfigError::NotFound)?;
        let runs = self.runs(name);
        let is_masked = |key: &str, value: &str| {
            value == MASK && facts.iter().any(|f| f.key == key && f.secret)
        };
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(|(key, value)| !is_masked(key, value))
            .collect();
        let before = self.config.lock().clone();
        let mut tried = before.clone();
        let change = tried.set_plugin(name, &pairs).map_err(refused)?;
        // Not `tried` itself: other plugins may come or go meanwhile.
        let keep = || self.config.lock().set_plugin(name, &pairs).map_err(refused);
        match self.plugins().filter(|_| runs) {
            None => keep().map(|_| Applied::Kept),
            Some(_) if !change.any => Ok(Applied::Live),
            Some(plugins) if change.live => {
                let told = plugins.reconfigure(name, tried.plugin_entries(name));
                told.map_err(PluginConfigError::Refused)?;
                keep().map(|_| Applied::Live)
            }
            Some(plugins) => {
                keep()?;
                match plugins.reload(name) {
                    Ok(_) => Ok(Applied::Restarted),
                    // Somebody has just unloaded it, and does not want it back.
                    Err(PluginError::NotStarted) => Ok(Applied::Kept),
                    Err(error) => Err(self.put_back(&*plugins, name, &before, error)),
                }
            }
        }
    }

    /// A plugin did not start with its new values: it gets the old ones, and runs with them if it can.
    fn put_back(
        &self,
        plugins: &dyn PluginControl,
        name: &str,
        before: &Config,
        error: PluginError,
    ) -> PluginConfigError {
        self.config.lock().restore_plugin(name, before);
        let again = match self.runs(name) {
            true => Ok(()),
            false => plugins.load(name).map(drop),
        };
        let state = match again {
            Ok(()) => "it runs with the values it had".to_string(),
            Err(error) => format!("it does not run any more: {}", sentence(error)),
        };
        PluginConfigError::Refused(format!("{}; {state}", sentence(error)))
    }

    /// What must stand in the file of the plugin so that the next start knows these values, too. A secret is left to
    /// the reader.
    pub fn plugin_lines(&self, name: &str, pairs: &[(String, String)]) -> String {
        let facts = self.plugin_keys(name).unwrap_or_default();
        let line = |(key, value): &(String, String)| {
            let secret = facts.iter().any(|fact| fact.key == *key && fact.secret);
            format!("{key} = {}\n", if secret { MASK } else { value })
        };
        pairs.iter().map(line).collect()
    }
}

/// The name by which a plugin goes now.
fn present_name(name: &str) -> &str {
    emqttd_config::find_plugin(name).map_or(name, |plugin| plugin.name)
}

fn refused(error: SetError) -> PluginConfigError {
    PluginConfigError::Refused(match error {
        SetError::BadValue { key, reason, .. } => format!("{key}: {reason}"),
        SetError::InvalidKey(key) | SetError::NotSettable(key) => {
            format!("{key} is no key of this plugin")
        }
        other => other.to_string(),
    })
}

fn sentence(error: PluginError) -> String {
    match error {
        PluginError::Failed { reason, .. } => reason.trim_end().replace('\n', "; "),
        other => other.to_string(),
    }
}

fn key(facts: PluginKeyFacts) -> PluginKey {
    let masked = |value: String| match facts.secret && !value.is_empty() {
        true => MASK.to_string(),
        false => value,
    };
    PluginKey {
        value: facts.value.map(masked),
        default: facts.default.map(masked),
        key: facts.key,
        desc: facts.meaning,
        datatype: facts.datatype,
        choices: facts.choices,
        secret: facts.secret,
        required: facts.required,
        live: facts.live,
    }
}

#[cfg(test)]
#[path = "plugin_config_tests.rs"]
mod tests;
