//! The list of plugins to start: where it comes from, and which of its names can be started.

use std::path::PathBuf;

use crate::load::Loading;
use crate::plugin::{Strangers, find_plugin, read_loaded, switch_of};
use crate::schema;
use crate::{Config, Origin, Problem};

/// The names, as they are written, with what is to be said about them.
pub(crate) struct PluginList {
    names: Vec<(String, usize)>,
    place: Place,
}

/// Where the list comes from.
enum Place {
    Environment,
    File(PathBuf),
}

impl Place {
    fn origin(&self, line: usize) -> Origin {
        match self {
            Self::Environment => Origin::Environment("EMQ_LOADED_PLUGINS".into()),
            Self::File(path) => Origin::File {
                path: path.clone(),
                line,
            },
        }
    }

    fn mark(&self, problem: Problem, line: usize) -> Problem {
        match self {
            Self::Environment => problem.from_origin(&self.origin(line)),
            Self::File(path) => problem.in_file(path).at(line, 1),
        }
    }
}

impl Loading<'_> {
    /// The names to start: `wanted` from the environment, or else what the file says. Plugins that are switches of
    /// another one today are switched on.
    pub(crate) fn wanted_plugins(
        &mut self,
        config: &mut Config,
        wanted: Option<Vec<String>>,
    ) -> PluginList {
        let file = config.get("mqtt.plugins.loaded_file").map(PathBuf::from);
        config.plugins_from_environment = wanted.is_some();
        let (names, place) = match (wanted, file) {
            (Some(names), _) => {
                let names = names.into_iter().map(|name| (name, 0)).collect();
                (names, Place::Environment)
            }
            (None, None) => (Vec::new(), Place::Environment),
            (None, Some(path)) => match read_loaded(&path) {
                Ok(names) => (names, Place::File(path)),
                Err(problem) => {
                    self.problems.push(*problem);
                    (Vec::new(), Place::File(path))
                }
            },
        };
        for (name, line) in &names {
            switch_on(config, name, place.origin(*line));
        }
        PluginList { names, place }
    }

    /// Fills in the plugins to start, and refuses those that would be missed.
    pub(crate) fn check_plugins(
        &mut self,
        config: &mut Config,
        list: &PluginList,
        strangers: &Strangers<'_>,
    ) {
        let go_on = config.get("plugins.on_failure") == Some("continue");
        for (name, line) in &list.names {
            if let Some(problem) = self.plugin_problem(name, strangers, go_on) {
                self.problems.push(list.place.mark(problem, *line));
            }
            let name = find_plugin(name).map_or(name.as_str(), |plugin| plugin.name);
            if !config.loaded_plugins.iter().any(|known| known == name) {
                config.loaded_plugins.push(name.to_owned());
            }
        }
    }

    fn plugin_problem(
        &self,
        name: &str,
        strangers: &Strangers<'_>,
        go_on: bool,
    ) -> Option<Problem> {
        const GO_ON: &str = "to go on without it, take its name out of the list of loaded plugins";
        // Starting without it would let in, or allow, more than is configured.
        let missing = |what: String| match go_on {
            true => Problem::warning(format!(
                "{what}; the broker starts without it, as plugins.on_failure says"
            )),
            false => Problem::error(format!("{what}; {GO_ON}")),
        };
        match find_plugin(name) {
            _ if strangers.have(name) => None,
            Some(plugin) if plugin.name != name => Some(Problem::warning(match switch_of(name) {
                Some(key) => format!(
                    "the plugin {name} is called {} now, and is switched on by {key} = on in its file",
                    plugin.name
                ),
                None => format!("the plugin {name} is called {} now", plugin.name),
            })),
            Some(_) => None,
            None if self.files.unknown.iter().any(|file| file.stem == name) => Some(missing(
                format!("the plugin {name} is to be loaded, but this broker does not have it"),
            )),
            None => Some(Problem::warning(format!(
                "there is no plugin {name}, nor a file of it; it is not loaded"
            ))),
        }
    }
}

/// Sets the switch that the plugin `name` of 2.0 has become, unless a file or a variable says what it is to be.
pub(crate) fn switch_on(config: &mut Config, name: &str, origin: Origin) {
    let Some(key) = switch_of(name).filter(|key| !config.entries.contains_key(*key)) else {
        return;
    };
    let row = schema::find(key);
    debug_assert!(row.is_some(), "{key} is not in the table");
    if let Some(row) = row
        && let Ok(checked) = row.kind.check("on")
    {
        config.insert(key, "on", checked, origin, row);
    }
}
