//! Reading the files of an `etc` directory and the environment into one checked table.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use emqttd_plugin_sdk as sdk;

use crate::environment::{self, Environment};
use crate::plugin::{PluginFile, PluginFiles, Strangers, find_plugin, plugin_files, stem};
use crate::plugin_keys::StrangerValue;
use crate::reader::{self, Platform, decode, read_file};
use crate::reference::Expander;
use crate::schema::{self, CORE, Class, Key};
use crate::value::Type;
use crate::{Config, Loaded, Origin, Problem, Severity, assemble, legacy, own, term_file};

/// A value as written.
struct Raw {
    value: String,
    origin: Origin,
    /// of the value, for files
    column: Option<usize>,
}

/// What defines a key.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Table(&'static Key),
    /// a stranger's
    Own(&'a sdk::Key),
}

/// The tables while they are read.
#[derive(Default)]
pub(crate) struct Loading<'a> {
    raw: HashMap<String, Raw>,
    order: Vec<String>,
    /// present keys that old names stand for, until all files are read
    translated: Vec<(String, String, Raw)>,
    /// `etc/plugins`
    pub(crate) plugins_dir: PathBuf,
    pub(crate) files: PluginFiles,
    pub(crate) problems: Vec<Problem>,
    /// the stranger whose files are read too, and its keys
    pub(crate) stranger: &'a str,
    pub(crate) own: &'a [sdk::Key],
    /// its values, once checked, in the order of the files
    pub(crate) own_values: Vec<StrangerValue>,
}

/// Reads `etc_dir/emq.conf` and `etc_dir/plugins/*.conf`, lets `env` override, and checks the whole.
///
/// # Errors
/// Every problem of the run, errors and warnings, when at least one is an error.
pub fn load(
    etc_dir: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    load_with(etc_dir, env, &[])
}

/// As [`load`], in a program into which the plugins `compiled_in` are built besides those of EMQ. Their files are not
/// read here, but when they are loaded ([`crate::load_plugin`]); the same goes for plugins that have a library in
/// the directory `plugins` beside `etc_dir`.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    etc_dir: &Path,
    env: impl Iterator<Item = (String, String)>,
    compiled_in: &[&str],
) -> Result<Loaded, Vec<Problem>> {
    let variables: Vec<(String, String)> = env.collect();
    let strangers = Strangers::beside(etc_dir, compiled_in);
    let mut loading = Loading::default();
    let wanted = loading.read(etc_dir, &variables, &strangers);
    loading.report_unknown_files();
    let mut config = loading.checked();
    let list = loading.wanted_plugins(&mut config, wanted);
    loading.check_plugins(&mut config, &list, &strangers);
    loading.soften(&config);
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

impl<'a> Loading<'a> {
    /// Reads the files of this stranger too.
    pub(crate) fn of(stranger: &'a str, own: &'a [sdk::Key]) -> Self {
        Self {
            stranger,
            own,
            ..Self::default()
        }
    }

    /// Reads all files and the environment. Returns the plugins that the environment wants to be loaded.
    pub(crate) fn read(
        &mut self,
        etc_dir: &Path,
        variables: &[(String, String)],
        strangers: &Strangers<'_>,
    ) -> Option<Vec<String>> {
        let own = self.own;
        let is_key = |key: &str| own::find(own, key).is_some() || schema::find(key).is_some();
        // Placeholders of the files come from the environment, keys of the environment from the files.
        let variables = || variables.iter().cloned();
        let platform = environment::read(variables(), std::iter::empty(), &is_key).platform;
        self.read_etc(etc_dir, &platform, strangers);
        self.take_translated();
        let given = self.order.iter().map(String::as_str);
        let mut environment = environment::read(variables(), given, &is_key);
        environment
            .warnings
            .retain(|warning| !self.may_be_of_a_stranger(warning));
        self.take_environment(environment)
    }

    fn read_etc(&mut self, etc_dir: &Path, platform: &Platform, strangers: &Strangers<'_>) {
        self.plugins_dir = etc_dir.join("plugins");
        self.read_file(&etc_dir.join("emq.conf"), platform);
        let files = match plugin_files(&self.plugins_dir, strangers) {
            Ok(files) => files,
            Err(error) => {
                let problem = Problem::error(format!("cannot be read: {error}"));
                self.problems.push(problem.in_file(&self.plugins_dir));
                return;
            }
        };
        for file in &files.known {
            self.read_plugin_file(file, &files.known, platform);
        }
        let stranger = self.stranger;
        for file in files.strangers.iter().filter(|f| f.stem == stranger) {
            self.read_plugin_file(file, &files.strangers, platform);
        }
        self.files = files;
    }

    fn read_plugin_file(&mut self, file: &PluginFile, all: &[PluginFile], platform: &Platform) {
        let now = find_plugin(&file.stem).map_or(file.stem.as_str(), |plugin| plugin.name);
        if now != file.stem {
            let message = format!(
                "the plugin {} is called {now} now, and its file {now}.conf",
                file.stem
            );
            self.problems
                .push(Problem::warning(message).in_file(&file.path));
        }
        if !file.terms {
            return self.read_file(&file.path, platform);
        }
        let bytes = match read_file(&file.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let problem = Problem::error(format!("cannot be read: {error}"));
                self.problems.push(problem.in_file(&file.path));
                return;
            }
        };
        let own = self.own;
        let is_key = |key: &str| own::find(own, key).is_some() || schema::find(key).is_some();
        let read = term_file::read(&decode(&bytes), now, &is_key);
        let other = all.iter().find(|o| !o.terms && o.stem == file.stem);
        if let Some(other) = other.filter(|_| !read.lines.is_empty()) {
            let message = format!(
                "{} configures {now} too; keep one of the two files",
                other.path.display()
            );
            self.problems
                .push(Problem::error(message).in_file(&file.path));
            return;
        }
        self.problems
            .extend(read.problems.into_iter().map(|p| p.in_file(&file.path)));
        for mut line in read.lines {
            if let Some(word) = term_file::in_words_of(&line.key, &line.value) {
                line.value = word.to_owned();
            }
            self.take_line(&file.path, line);
        }
    }

    fn report_unknown_files(&mut self) {
        for file in &self.files.unknown {
            self.problems.push(
                Problem::warning(
                    "belongs to a plugin that this broker does not have; nothing in it is read",
                )
                .in_file(&file.path),
            );
        }
    }

    /// Whether a variable that stands for no key begins with the name of a plugin that brings its keys with it.
    fn may_be_of_a_stranger(&self, warning: &Problem) -> bool {
        let Some(variable) = &warning.variable else {
            return false;
        };
        // Once the keys are known, a variable for none of them is a mistake.
        if !self.own.is_empty() {
            return false;
        }
        let folded = variable.to_ascii_lowercase().replace('-', "_");
        let rest = folded.strip_prefix("emq_").unwrap_or(&folded);
        self.files.strangers.iter().any(|file| {
            let short = file.stem.strip_prefix("emq_").unwrap_or(&file.stem);
            rest.starts_with(file.stem.as_str()) || rest.starts_with(short)
        })
    }

    /// What defines `key`.
    pub(crate) fn row(&self, key: &str) -> Option<Row<'a>> {
        own::find(self.own, key)
            .map(Row::Own)
            .or_else(|| schema::find(key).map(Row::Table))
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
        let known = self.row(&line.key);
        if !matches!(known, Some(Row::Own(_)))
            && let Some(translation) = legacy::translate(&line.key, &line.value)
        {
            self.problems
                .push(here(Problem::warning(translation.message)));
            for (key, value) in translation.assignments {
                self.translated.push((line.key.clone(), key, raw(value)));
            }
            return;
        }
        if known.is_none() {
            let mut problem = here(Problem::error("unknown key"));
            // Whoever has so many errors loaded some other file.
            if self.problems.len() < 100 {
                problem.nearest = match self.own {
                    [] => schema::nearest(&line.key),
                    own => own::nearest(own, &line.key),
                };
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
    pub(crate) fn checked(&mut self) -> Config {
        let mut config = Config::default();
        let raw_value = |key: &str| match (self.raw.get(key), self.row(key)) {
            (Some(raw), _) => Some(raw.value.as_str()),
            (None, Some(Row::Table(row))) => row.default,
            (None, Some(Row::Own(own))) => own.default.as_deref(),
            (None, None) => None,
        };
        let mut expander = Expander::new(&raw_value);
        let mut problems = Vec::new();
        let mut own_values = Vec::new();
        for key in &self.order {
            let (Some(raw), Some(row)) = (self.raw.get(key), self.row(key)) else {
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
            let checked = match row {
                Row::Table(row) => row.kind.check(&expanded),
                Row::Own(own) => own::check(&own.kind, &expanded),
            };
            let checked = match checked {
                Ok(checked) => checked,
                Err(message) => {
                    problems.push(place(Problem::error(bad_value(row, message))));
                    continue;
                }
            };
            if let Some(note) = &checked.note {
                problems.push(place(Problem::warning(note.clone())));
            }
            match row {
                Row::Table(row) => config.insert(key, &expanded, checked, raw.origin.clone(), row),
                Row::Own(_) => own_values.push(StrangerValue {
                    key: key.clone(),
                    value: checked.text.unwrap_or(expanded),
                    origin: raw.origin.clone(),
                }),
            }
        }
        self.own_values = own_values;
        self.problems.extend(problems);
        config
    }

    /// What is wrong with plugins that are not loaded can do no harm: it is said, and the broker starts.
    fn soften(&mut self, config: &Config) {
        let plugins_dir = self.plugins_dir.clone();
        for problem in &mut self.problems {
            let Some(app) = app_of(problem, &plugins_dir).filter(|_| problem.is_error()) else {
                continue;
            };
            if !config.loaded_plugins.iter().any(|name| name == app) {
                problem.severity = Severity::Warning;
                problem.message += &format!(" ({app} is not loaded: an error once it is)");
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

/// The plugin that a problem concerns: the one whose key it is, or in whose file it stands.
pub(crate) fn app_of(problem: &Problem, plugins_dir: &Path) -> Option<&'static str> {
    let of_key = problem.key.as_deref().and_then(|key| {
        let new = legacy::translate(key, "").and_then(|t| t.assignments.into_iter().next());
        schema::find(new.as_ref().map_or(key, |(key, _)| key))
    });
    if let Some(row) = of_key {
        return (row.app != CORE).then_some(row.app);
    }
    let file = problem.file.as_deref()?;
    if file.parent() != Some(plugins_dir) {
        return None;
    }
    Some(find_plugin(&stem(file)?)?.name)
}

fn bad_value(row: Row<'_>, message: String) -> String {
    match row {
        Row::Table(Key {
            kind: Type::Flag | Type::Bool,
            ..
        })
        | Row::Own(sdk::Key {
            kind: sdk::KeyKind::Switch,
            ..
        }) => format!("bad value: {message}"),
        Row::Table(row) => format!("bad value ({}): {message}", row.meaning),
        Row::Own(own) if own.meaning.is_empty() => format!("bad value: {message}"),
        Row::Own(own) => format!("bad value ({}): {message}", own.meaning),
    }
}
