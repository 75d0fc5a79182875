//! Reading the files of an `etc` directory and the environment into one checked table.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::environment::{self, Environment};
use crate::plugin::{find_plugin, plugin_files, read_loaded};
use crate::reader::{self, Platform, decode, read_file};
use crate::reference::Expander;
use crate::schema::{self, Class, Key};
use crate::value::Type;
use crate::{Config, Loaded, Origin, Problem, assemble, legacy};

/// A value as written.
struct Raw {
    value: String,
    origin: Origin,
    /// of the value, for files
    column: Option<usize>,
}

#[derive(Default)]
struct Loading {
    raw: HashMap<String, Raw>,
    order: Vec<String>,
    /// present keys that old names stand for, until all files are read
    translated: Vec<(String, String, Raw)>,
    unknown_files: Vec<String>,
    problems: Vec<Problem>,
}

/// Reads `etc_dir/emq.conf` and `etc_dir/plugins/*.conf`, lets `env` override, and checks the whole.
///
/// # Errors
/// Every problem of the run, errors and warnings, when at least one is an error.
pub fn load(
    etc_dir: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    let variables: Vec<(String, String)> = env.collect();
    // Placeholders of the files come from the environment, keys of the environment from the files.
    let platform = environment::read(variables.iter().cloned(), std::iter::empty()).platform;
    let mut loading = Loading::default();
    loading.read_etc(etc_dir, &platform);
    loading.take_translated();
    let given = loading.order.iter().map(String::as_str);
    let environment = environment::read(variables.into_iter(), given);
    let plugins = loading.take_environment(environment);
    let mut config = loading.checked();
    loading.plugins(&mut config, plugins);
    loading.finish(config)
}

/// Reads one text as `emq.conf`, with no other file and no environment: for tests and fuzzing.
///
/// # Errors
/// As [`load`].
pub fn load_text(emq_conf: &[u8]) -> Result<Loaded, Vec<Problem>> {
    let mut loading = Loading::default();
    loading.read_bytes(Path::new("emq.conf"), emq_conf, &Platform::default());
    loading.take_translated();
    let config = loading.checked();
    loading.finish(config)
}

impl Loading {
    fn read_etc(&mut self, etc_dir: &Path, platform: &Platform) {
        self.read_file(&etc_dir.join("emq.conf"), platform);
        let dir = etc_dir.join("plugins");
        let files = match plugin_files(&dir) {
            Ok(files) => files,
            Err(error) => {
                self.problems
                    .push(Problem::error(format!("cannot be read: {error}")).in_file(&dir));
                return;
            }
        };
        for path in files.conf {
            self.read_file(&path, platform);
        }
        for path in files.terms {
            self.problems.push(
                Problem::warning(
                    "Erlang terms are not read; write `key = value` in a file ending in .conf",
                )
                .in_file(&path),
            );
        }
        for file in files.unknown {
            self.problems.push(
                Problem::warning(
                    "belongs to a plugin that this broker does not have; nothing in it is read",
                )
                .in_file(&dir.join(&file)),
            );
            self.unknown_files.push(file);
        }
    }

    fn read_file(&mut self, path: &Path, platform: &Platform) {
        let bytes = match read_file(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problems
                    .push(Problem::error(format!("cannot be read: {error}")).in_file(path));
                return;
            }
        };
        self.read_bytes(path, &bytes, platform);
    }

    fn read_bytes(&mut self, path: &Path, bytes: &[u8], platform: &Platform) {
        let (lines, problems) = reader::read(&decode(bytes), platform);
        self.problems
            .extend(problems.into_iter().map(|problem| problem.in_file(path)));
        for line in lines {
            self.take_line(path, line);
        }
    }

    fn take_line(&mut self, path: &Path, line: reader::Line) {
        let raw = |value| Raw {
            value,
            origin: Origin::File {
                path: path.to_path_buf(),
                line: line.number,
            },
            column: Some(line.value_column),
        };
        let here = |problem: Problem| {
            problem
                .in_file(path)
                .at(line.number, line.key_column)
                .about(&line.key)
        };
        if let Some(translation) = legacy::translate(&line.key, &line.value) {
            self.problems
                .push(here(Problem::warning(translation.message)));
            for (key, value) in translation.assignments {
                self.translated.push((line.key.clone(), key, raw(value)));
            }
            return;
        }
        if schema::find(&line.key).is_none() {
            let mut problem = here(Problem::error("unknown key"));
            // Whoever has so many errors loaded some other file.
            if self.problems.len() < 100 {
                problem.nearest = schema::nearest(&line.key);
            }
            self.problems.push(problem);
            return;
        }
        if let Some(earlier) = self.raw.get(&line.key) {
            let message = format!("is set a second time; {} is overridden", earlier.origin);
            self.problems.push(here(Problem::warning(message)));
        }
        self.assign(line.key.clone(), raw(line.value.clone()));
    }

    fn assign(&mut self, key: String, raw: Raw) {
        if !self.raw.contains_key(&key) {
            self.order.push(key.clone());
        }
        self.raw.insert(key, raw);
    }

    /// A key under its present name counts more than one under an old name, wherever they stand.
    fn take_translated(&mut self) {
        let explicit: HashSet<String> = self.order.iter().cloned().collect();
        for (old, key, raw) in std::mem::take(&mut self.translated) {
            if explicit.contains(&key) {
                let by = self
                    .raw
                    .get(&key)
                    .map(|raw| raw.origin.to_string())
                    .unwrap_or_default();
                self.problems.push(
                    Problem::warning(format!("is ignored, because {by} sets {key}"))
                        .from_origin(&raw.origin)
                        .about(&old),
                );
            } else {
                self.assign(key, raw);
            }
        }
    }

    /// Returns the plugins that the environment wants to be loaded.
    fn take_environment(&mut self, environment: Environment) -> Option<Vec<String>> {
        self.problems.extend(environment.warnings);
        for (key, value, variable) in environment.ports {
            if self.raw.contains_key(&key) {
                self.override_with(key, value, variable);
            } else {
                let mut problem = Problem::warning(format!("is ignored: no file opens {key}"));
                problem.variable = Some(variable);
                self.problems.push(problem);
            }
        }
        for (key, value, variable) in environment.assignments {
            self.override_with(key, value, variable);
        }
        environment.loaded_plugins
    }

    fn override_with(&mut self, key: String, value: String, variable: String) {
        let raw = Raw {
            value,
            origin: Origin::Environment(variable),
            column: None,
        };
        self.assign(key, raw);
    }

    /// The table with references expanded and values checked; those that fail are left out.
    fn checked(&mut self) -> Config {
        let mut config = Config::default();
        let raw_value = |key: &str| match self.raw.get(key) {
            Some(raw) => Some(raw.value.as_str()),
            None => schema::find(key).and_then(|row| row.default),
        };
        let mut expander = Expander::new(&raw_value);
        let mut problems = Vec::new();
        for key in &self.order {
            let (Some(raw), Some(row)) = (self.raw.get(key), schema::find(key)) else {
                continue;
            };
            let place = |problem: Problem| {
                let mut problem = problem.from_origin(&raw.origin).about(key);
                problem.column = raw.column;
                problem
            };
            let expanded = match expander.expand(key) {
                Ok(expanded) => expanded,
                Err(message) => {
                    problems.push(place(Problem::error(message)));
                    continue;
                }
            };
            match row.kind.check(&expanded) {
                Ok(checked) => {
                    if let Some(note) = &checked.note {
                        problems.push(place(Problem::warning(note.clone())));
                    }
                    config.insert(key, &expanded, checked, raw.origin.clone(), row);
                }
                Err(message) => problems.push(place(Problem::error(bad_value(row, message)))),
            }
        }
        self.problems.extend(problems);
        config
    }

    /// Fills in the plugins to start, and refuses those that would be missed.
    fn plugins(&mut self, config: &mut Config, wanted: Option<Vec<String>>) {
        let file = config.get("mqtt.plugins.loaded_file").map(PathBuf::from);
        config.plugins_from_environment = wanted.is_some();
        let (names, place): (Vec<(String, usize)>, Place) = match (wanted, file) {
            (Some(names), _) => (
                names.into_iter().map(|name| (name, 0)).collect(),
                Place::Environment,
            ),
            (None, None) => return,
            (None, Some(path)) => match read_loaded(&path) {
                Ok(names) => (names, Place::File(path)),
                Err(problem) => {
                    self.problems.push(*problem);
                    return;
                }
            },
        };
        for (name, line) in names {
            if let Some(problem) = self.plugin_problem(&name) {
                self.problems.push(place.mark(problem, line));
            }
            let name = find_plugin(&name).map_or(name.as_str(), |plugin| plugin.name);
            if !config.loaded_plugins.iter().any(|known| known == name) {
                config.loaded_plugins.push(name.to_owned());
            }
        }
    }

    fn plugin_problem(&self, name: &str) -> Option<Problem> {
        const GO_ON: &str = "to go on without it, take its name out of the list of loaded plugins";
        match find_plugin(name) {
            Some(plugin) if plugin.name != name => Some(Problem::warning(format!(
                "the plugin {name} is called {} now",
                plugin.name
            ))),
            // Starting without it would let in, or allow, more than is configured.
            Some(plugin) if plugin.guards && !plugin.present => Some(Problem::error(format!(
                "the plugin {name} decides who may connect and is not part of this version; {GO_ON}"
            ))),
            Some(_) => None,
            None => {
                let has_file = self
                    .unknown_files
                    .iter()
                    .any(|file| file.split('.').next() == Some(name));
                Some(if has_file {
                    Problem::error(format!(
                        "the plugin {name} is to be loaded, but this broker does not have it; {GO_ON}"
                    ))
                } else {
                    Problem::warning(format!(
                        "there is no plugin {name}, nor a file of it; it is not loaded"
                    ))
                })
            }
        }
    }

    /// The result, once the table is complete.
    fn finish(mut self, config: Config) -> Result<Loaded, Vec<Problem>> {
        let (settings, problems) = assemble::settings(&config);
        self.problems.extend(problems);
        self.remark_on(&config);
        if self.problems.iter().any(Problem::is_error) {
            return Err(self.problems);
        }
        Ok(Loaded {
            config,
            settings,
            warnings: self.problems,
        })
    }

    /// What concerns the table as a whole.
    fn remark_on(&mut self, config: &Config) {
        let without_effect: Vec<&str> = config
            .given()
            .filter(|(_, entry)| entry.row.class == Class::NoEffect)
            .map(|(key, _)| key)
            .collect();
        if !without_effect.is_empty() {
            self.problems.push(Problem::warning(format!(
                "these keys are accepted but have no effect here: {}",
                without_effect.join(", ")
            )));
        }
        if config
            .get("cluster.discovery")
            .is_some_and(|how| how != "manual")
        {
            let problem =
                Problem::warning("clusters come with a later version; the node runs alone")
                    .about("cluster.discovery");
            self.problems
                .push(match config.entries.get("cluster.discovery") {
                    Some(entry) => problem.from_origin(&entry.origin),
                    None => problem,
                });
        }
    }
}

/// Where the list of plugins comes from.
enum Place {
    Environment,
    File(PathBuf),
}

impl Place {
    fn mark(&self, problem: Problem, line: usize) -> Problem {
        match self {
            Self::Environment => {
                problem.from_origin(&Origin::Environment("EMQ_LOADED_PLUGINS".into()))
            }
            Self::File(path) => problem.in_file(path).at(line, 1),
        }
    }
}

fn bad_value(row: &Key, message: String) -> String {
    match row.kind {
        Type::Flag | Type::Bool => format!("bad value: {message}"),
        _ => format!("bad value ({}): {message}", row.meaning),
    }
}
