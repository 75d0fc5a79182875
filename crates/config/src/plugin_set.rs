//! What a plugin may be told by its keys, and changing them while the broker runs.

use emqttd_plugin_sdk::KeyKind;

use crate::config::{Config, Origin, SetError};
use crate::plugin_keys::{Stranger, StrangerValue};
use crate::schema::{self, Key, Shipped};
use crate::value::Type;
use crate::{Reload, assemble, find_plugin, own};

/// Keys of one plugin that may be set beside its file: those with a free word could be made up without end.
const MOST_GIVEN: usize = 1000;

/// A key of a plugin, with all that a form for it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginKeyFacts {
    /// the key
    pub key: String,
    /// its value as text, given or by default; `None` = not set
    pub value: Option<String>,
    /// the value when nothing is given
    pub default: Option<String>,
    /// what it means
    pub meaning: String,
    /// `enum`, `integer`, `duration`, ...
    pub datatype: &'static str,
    /// the words it takes, where it takes only some
    pub choices: Vec<String>,
    /// not to be shown
    pub secret: bool,
    /// it always has a value, or the shipped file gives it one
    pub required: bool,
    /// a running plugin takes a new value
    pub live: bool,
}

/// What [`Config::set_plugin`] has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginChange {
    /// some key has another value than before
    pub any: bool,
    /// a running plugin takes all that changed as it runs
    pub live: bool,
}

impl Config {
    /// The keys of a plugin: those with a fixed name in the order of the shipped file, then those with a free word that
    /// are given. `None` = nobody knows keys of it: it is no plugin of EMQ and not loaded.
    pub fn plugin_keys(&self, name: &str) -> Option<Vec<PluginKeyFacts>> {
        if let Some(stranger) = self.stranger(name) {
            return Some(stranger.facts());
        }
        find_plugin(name)?;
        let fixed = schema::keys()
            .filter(|row| row.app == name && row.is_concrete())
            .map(|row| self.facts(row.pattern, row));
        let free = self
            .given()
            .filter(|(_, entry)| entry.row.app == name && !entry.row.is_concrete())
            .map(|(key, entry)| self.facts(key, entry.row));
        Some(fixed.chain(free).collect())
    }

    fn facts(&self, key: &str, row: &'static Key) -> PluginKeyFacts {
        PluginKeyFacts {
            key: key.to_owned(),
            value: self.get(key).map(str::to_owned),
            default: row.default.map(str::to_owned),
            meaning: row.meaning.to_owned(),
            datatype: row.kind.datatype(),
            choices: row.kind.choices().iter().map(ToString::to_string).collect(),
            secret: row.kind == Type::Secret,
            required: row.default.is_some()
                || matches!(row.shipped, Shipped::Value(_) | Shipped::Each(_)),
            live: row.reload == Reload::Now,
        }
    }

    /// Gives keys of a plugin other values, whether it is loaded or not, and remembers them for when it is loaded
    /// anew. The file is not written.
    ///
    /// # Errors
    /// See [`SetError`]; the configuration is then unchanged.
    pub fn set_plugin(
        &mut self,
        name: &str,
        pairs: &[(&str, &str)],
    ) -> Result<PluginChange, SetError> {
        let mut changed = self.clone();
        let mut change = PluginChange {
            any: false,
            live: true,
        };
        for (key, value) in pairs {
            let before = changed.plugin_value(name, key);
            let live = changed.takes_live(name, key);
            match changed.strangers.iter_mut().find(|s| s.name == name) {
                Some(stranger) => stranger.set(key, value)?,
                None => changed.set_of_app(name, key, value)?,
            }
            if before != changed.plugin_value(name, key) {
                change.any = true;
                change.live &= live;
                let given = changed.overrides.entry(name.to_owned()).or_default();
                given.retain(|(other, _)| other != key);
                if given.len() >= MOST_GIVEN {
                    return Err(SetError::BadValue {
                        key: (*key).to_owned(),
                        value: (*value).to_owned(),
                        reason: format!("{MOST_GIVEN} keys are set already; use the file"),
                    });
                }
                given.push(((*key).to_owned(), (*value).to_owned()));
            }
        }
        let (_, problems) = assemble::settings(&changed);
        let error = problems.iter().find(|problem| problem.is_error());
        if let (Some(problem), Some((key, value))) = (error, pairs.last()) {
            return Err(SetError::BadValue {
                key: problem.key.clone().unwrap_or_else(|| (*key).to_owned()),
                value: (*value).to_owned(),
                reason: problem.message.clone(),
            });
        }
        *self = changed;
        Ok(change)
    }

    /// What [`Config::set_plugin`] changed of a plugin: for [`crate::load_plugin_with`].
    pub fn plugin_overrides(&self, name: &str) -> Vec<(String, String)> {
        self.overrides.get(name).cloned().unwrap_or_default()
    }

    /// Gives the keys of a plugin back the values that they have in `before`, which is an earlier state of this.
    pub fn restore_plugin(&mut self, name: &str, before: &Config) {
        match before.overrides.get(name) {
            Some(given) => self.overrides.insert(name.to_owned(), given.clone()),
            None => self.overrides.remove(name),
        };
        self.forget_app(name);
        for (key, entry) in before.given().filter(|(_, entry)| entry.row.app == name) {
            self.order.push(key.to_owned());
            self.entries.insert(key.to_owned(), entry.clone());
        }
        let values = before.stranger(name).map(|stranger| &stranger.values);
        let stranger = self.strangers.iter_mut().find(|s| s.name == name);
        if let (Some(stranger), Some(values)) = (stranger, values) {
            stranger.values.clone_from(values);
        }
    }

    fn stranger(&self, name: &str) -> Option<&Stranger> {
        self.strangers.iter().find(|stranger| stranger.name == name)
    }

    fn plugin_value(&self, name: &str, key: &str) -> Option<String> {
        let value = match self.stranger(name) {
            Some(stranger) => stranger.value(key),
            // What nobody knows has no value, either.
            None => self.get(key),
        };
        value.map(str::to_owned)
    }

    fn takes_live(&self, name: &str, key: &str) -> bool {
        match self.stranger(name) {
            Some(stranger) => own::find(&stranger.keys, key).is_some_and(|key| key.hot),
            None => schema::find(key).is_some_and(|row| row.reload == Reload::Now),
        }
    }

    /// Sets a key of the table that belongs to `app`, settable or not.
    pub(crate) fn set_of_app(&mut self, app: &str, key: &str, value: &str) -> Result<(), SetError> {
        let row = schema::find(key).filter(|row| row.app == app);
        let row = row.ok_or_else(|| SetError::InvalidKey(key.to_owned()))?;
        let checked = row.kind.check(value).map_err(|reason| SetError::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            reason,
        })?;
        self.insert(key, value, checked, Origin::Set, row);
        Ok(())
    }
}

impl Stranger {
    /// Sets a key, settable or not.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), SetError> {
        let kind = own::find(&self.keys, key).map(|found| &found.kind);
        let kind = kind.ok_or_else(|| SetError::InvalidKey(key.to_owned()))?;
        let checked = own::check(kind, value).map_err(|reason| SetError::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            reason,
        })?;
        self.values.retain(|given| given.key != key);
        self.values.push(StrangerValue {
            key: key.to_owned(),
            value: checked.text.unwrap_or_else(|| value.to_owned()),
            origin: Origin::Set,
        });
        Ok(())
    }

    fn facts(&self) -> Vec<PluginKeyFacts> {
        let fixed = self.keys.iter().filter(|key| own::is_concrete(key));
        let fixed = fixed.map(|key| (key.name.to_string(), key));
        let free = self.values.iter().filter_map(|given| {
            let key = own::find(&self.keys, &given.key)?;
            (!own::is_concrete(key)).then(|| (given.key.clone(), key))
        });
        let facts = fixed.chain(free).map(|(name, key)| PluginKeyFacts {
            value: self.value(&name).map(str::to_owned),
            default: key.default.clone().map(Into::into),
            meaning: key.meaning.to_string(),
            datatype: own::datatype(&key.kind),
            choices: match &key.kind {
                KeyKind::OneOf(words) => words.iter().map(ToString::to_string).collect(),
                KeyKind::Switch => vec!["on".into(), "off".into()],
                _ => Vec::new(),
            },
            secret: matches!(key.kind, KeyKind::Secret),
            required: key.default.is_some(),
            live: key.hot,
            key: name,
        });
        facts.collect()
    }
}

#[cfg(test)]
#[path = "plugin_set_tests.rs"]
mod tests;
