//! The keys of one plugin: read anew when it is loaded, and as they are while it runs.

use std::path::Path;

use emqttd_plugin_sdk as sdk;

use crate::load::{Loading, app_of};
use crate::own;
use crate::plugin::{Strangers, find_plugin, stem};
use crate::plugin_list::switch_on;
use crate::schema::{self, CORE};
use crate::value::{Checked, Value};
use crate::{Config, Origin, Problem};

/// What [`load_plugin`] gives.
#[derive(Debug, Clone, Default)]
pub struct PluginKeys {
    /// the keys with their values, as they stand in the files, and behind them those that have only a default
    pub entries: Vec<sdk::Entry>,
    /// what the operator should know
    pub warnings: Vec<Problem>,
    /// of a plugin whose keys the table has
    table: Config,
    /// of a stranger
    stranger: Option<Stranger>,
}

/// A stranger that is loaded, with its keys.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    pub(crate) name: String,
    pub(crate) keys: Vec<sdk::Key>,
    /// of the keys that have one
    pub(crate) values: Vec<StrangerValue>,
}

#[derive(Debug, Clone)]
pub(crate) struct StrangerValue {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Reads the keys of the plugin `name` anew: from its files below `etc_dir/plugins`, from `emq.conf`, from the
/// environment, with defaults. `own` are the keys that it defines itself; a plugin of EMQ has none, its keys are in
/// the table. Earlier names of the plugin and of its keys are understood.
///
/// # Errors
/// Everything that is wrong with the plugin's files or keys, errors and warnings, when at least one is an error.
/// What is wrong elsewhere is not said here.
pub fn load_plugin(
    etc_dir: &Path,
    name: &str,
    own: &[sdk::Key],
    env: impl Iterator<Item = (String, String)>,
) -> Result<PluginKeys, Vec<Problem>> {
    load_plugin_with(etc_dir, name, own, env, &[])
}

/// [`load_plugin`], and the pairs of `given` ([`Config::plugin_overrides`]) count more than what stands there. What of
/// them is none of the plugin's keys any more, or none of its values, is passed by with a warning.
///
/// # Errors
/// As [`load_plugin`].
pub fn load_plugin_with(
    etc_dir: &Path,
    name: &str,
    own: &[sdk::Key],
    env: impl Iterator<Item = (String, String)>,
    given: &[(String, String)],
) -> Result<PluginKeys, Vec<Problem>> {
    let variables: Vec<(String, String)> = env.collect();
    let now = find_plugin(name).map_or(name, |plugin| plugin.name);
    // Only strangers bring keys with them.
    let compiled_in = [now];
    let compiled_in = if own.is_empty() {
        &[]
    } else {
        &compiled_in[..]
    };
    let strangers = Strangers::beside(etc_dir, compiled_in);
    let mut loading = Loading::of(now, own);
    let wanted = loading.read(etc_dir, &variables, &strangers);
    let mut table = loading.checked();
    let before = loading.problems.len();
    loading.wanted_plugins(&mut table, wanted);
    // The list of plugins to start is no matter of this plugin.
    loading.problems.truncate(before);
    switch_on(&mut table, name, Origin::Set);
    let problems = problems_of(&loading, etc_dir, now);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let mut stranger = (!own.is_empty()).then(|| Stranger {
        name: now.to_owned(),
        keys: own.to_vec(),
        values: std::mem::take(&mut loading.own_values),
    });
    table.keep_app(now);
    let mut problems = problems;
    for (key, value) in given {
        let set = match &mut stranger {
            Some(stranger) => stranger.set(key, value),
            None => table.set_of_app(now, key, value),
        };
        if let Err(error) = set {
            problems.push(Problem::warning(format!("set while it ran: {error}")));
        }
    }
    Ok(PluginKeys {
        entries: match &stranger {
            Some(stranger) => stranger.entries(),
            None => table.table_entries(now),
        },
        warnings: problems,
        table,
        stranger,
    })
}

/// What of the problems concerns the plugin.
fn problems_of(loading: &Loading<'_>, etc_dir: &Path, name: &str) -> Vec<Problem> {
    let main = etc_dir.join("emq.conf");
    let is_own = |key: &str| own::find(loading.own, key).is_some();
    let is_of_it = |problem: &&Problem| {
        if problem.key.as_deref().is_some_and(is_own) {
            return true;
        }
        let file = problem.file.as_deref();
        let in_its_file = file
            .filter(|file| file.parent() == Some(&loading.plugins_dir))
            .and_then(stem)
            .is_some_and(|stem| {
                stem == name || find_plugin(&stem).is_some_and(|plugin| plugin.name == name)
            });
        // A file that cannot be read may hold its keys.
        let unreadable =
            (file == Some(&main) || file == Some(&loading.plugins_dir)) && problem.line.is_none();
        in_its_file || unreadable || app_of(problem, &loading.plugins_dir) == Some(name)
    };
    loading.problems.iter().filter(is_of_it).cloned().collect()
}

impl Stranger {
    /// The keys with their values, then those that have only a default.
    pub(crate) fn entries(&self) -> Vec<sdk::Entry> {
        let mut entries = Vec::new();
        for given in &self.values {
            if let Some(key) = own::find(&self.keys, &given.key) {
                entries.push(sdk::Entry {
                    key: given.key.clone(),
                    value: in_form(own::check(&key.kind, &given.value).ok(), &given.value),
                    origin: given.origin.to_string(),
                });
            }
        }
        for key in self.keys.iter().filter(|key| own::is_concrete(key)) {
            let given = self.values.iter().any(|given| given.key == key.name);
            if let Some(default) = key.default.as_deref().filter(|_| !given) {
                entries.push(sdk::Entry {
                    key: key.name.clone().into_owned(),
                    value: in_form(own::check(&key.kind, default).ok(), default),
                    origin: Origin::Default.to_string(),
                });
            }
        }
        entries
    }

    /// The value of a key as it is now.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        match self.values.iter().find(|given| given.key == key) {
            Some(given) => Some(&given.value),
            None => own::find(&self.keys, key)?.default.as_deref(),
        }
    }

    /// The settable keys.
    pub(crate) fn hot(&self) -> impl Iterator<Item = &sdk::Key> {
        self.keys
            .iter()
            .filter(|key| key.hot && own::is_concrete(key))
    }
}

impl Config {
    /// Takes note that a plugin was loaded, and of its keys as they were then read. `name` is its present name.
    pub fn plugin_loaded(&mut self, name: &str, keys: PluginKeys) {
        self.forget_app(name);
        self.strangers.retain(|stranger| stranger.name != name);
        for key in &keys.table.order {
            if let Some(entry) = keys.table.entries.get(key) {
                self.order.push(key.clone());
                self.entries.insert(key.clone(), entry.clone());
            }
        }
        self.strangers.extend(keys.stranger);
        if !self.loaded_plugins.iter().any(|loaded| loaded == name) {
            self.loaded_plugins.push(name.to_owned());
        }
    }

    /// Takes note that a plugin does not run: its keys cannot be set or shown.
    pub fn plugin_unloaded(&mut self, name: &str) {
        self.loaded_plugins.retain(|loaded| loaded != name);
        self.strangers.retain(|stranger| stranger.name != name);
    }

    /// The keys of a plugin as they are now, with what [`Config::set`] changed.
    pub fn plugin_entries(&self, name: &str) -> Vec<sdk::Entry> {
        match self.strangers.iter().find(|s| s.name == name) {
            Some(stranger) => stranger.entries(),
            None => self.table_entries(name),
        }
    }

    fn table_entries(&self, name: &str) -> Vec<sdk::Entry> {
        let given = self.given().filter(|(_, entry)| entry.row.app == name);
        let given = given.map(|(key, entry)| sdk::Entry {
            key: key.to_owned(),
            value: in_form(Some(Checked::from(entry.parsed.clone())), &entry.value),
            origin: entry.origin.to_string(),
        });
        let defaults = schema::keys()
            .filter(|row| row.app == name && row.is_concrete())
            .filter(|row| !self.entries.contains_key(row.pattern))
            .filter_map(|row| {
                let default = row.default?;
                Some(sdk::Entry {
                    key: row.pattern.to_owned(),
                    value: in_form(row.kind.check(default).ok(), default),
                    origin: Origin::Default.to_string(),
                })
            });
        given.chain(defaults).collect()
    }

    /// Leaves only the keys of one plugin.
    fn keep_app(&mut self, name: &str) {
        self.entries.retain(|_, entry| entry.row.app == name);
        let entries = &self.entries;
        self.order.retain(|key| entries.contains_key(key));
    }

    pub(crate) fn forget_app(&mut self, name: &str) {
        debug_assert!(name != CORE);
        self.entries.retain(|_, entry| entry.row.app != name);
        let entries = &self.entries;
        self.order.retain(|key| entries.contains_key(key));
    }
}

/// The value in a form that [`sdk::Config`] reads as it was meant here, where more is understood.
fn in_form(checked: Option<Checked>, text: &str) -> String {
    let Some(checked) = checked else {
        return text.to_owned();
    };
    let text = checked.text.as_deref().unwrap_or(text);
    let there = sdk::Config::of(&[("key", text)]);
    match checked.value {
        Value::Duration(meant) if there.duration("key") != Some(meant) => {
            format!("{}ms", meant.as_millis())
        }
        Value::Size(meant) if there.size("key") != Some(meant) => meant.to_string(),
        _ => text.to_owned(),
    }
}
