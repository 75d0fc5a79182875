//! The manager as commands see it: `plugins list|load|unload|reload|show`, `set --app=<plugin>`.

use crate::Manager;
use crate::life::{Life, Source};
use crate::manager::present_name;
use emqttd_broker::VERSION;
use emqttd_config::find_plugin;
use emqttd_management::{PluginControl, PluginDone, PluginError, PluginRow};
use emqttd_plugin_sdk::{Config as Keys, Descriptor, Entry};
use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;

impl PluginControl for Manager {
    fn list(&self) -> Vec<PluginRow> {
        let mut names = self.files();
        names.retain(|name| find_plugin(name).is_some_and(|plugin| plugin.name == name));
        let strangers = self.built_in.iter().map(|d| d.name.to_string());
        names.extend(strangers.filter(|name| find_plugin(name).is_none()));
        names.extend(self.libraries());
        names.extend(self.lives().iter().map(|life| life.guard.name.to_string()));
        names.iter().map(|name| self.row(name)).collect()
    }

    fn load(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.load_now(name)
    }

    fn unload(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.unload_now(name)
    }

    fn reload(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.reload_now(name)
    }

    fn show(&self, name: &str) -> Option<Vec<(String, String)>> {
        let name = present_name(name);
        let row = self.list().into_iter().find(|row| row.name == name)?;
        let life = self.life(name);
        let state = match &life {
            Some(_) => "active",
            None if self.is_off(name) => "switched off after panics",
            None => "inactive",
        };
        let mut facts = vec![
            ("name".to_string(), row.name),
            ("version".to_string(), row.version),
            ("description".to_string(), row.description),
            ("kind".to_string(), self.kind(name)),
            ("state".to_string(), state.to_string()),
        ];
        if let Some(life) = life {
            facts.extend(running_facts(&life));
        }
        Some(facts)
    }

    fn reconfigure(&self, name: &str, entries: Vec<Entry>) -> Result<(), String> {
        match self.life(present_name(name)) {
            Some(life) if life.descriptor.anew => self.begin_anew(&life, Keys::new(entries)),
            Some(life) => life.reconfigure(Keys::new(entries)),
            None => Ok(()),
        }
    }
}

fn running_facts(life: &Life) -> Vec<(String, String)> {
    let calls = life.guard.figures();
    let mut facts = vec![
        (
            "running for".to_string(),
            format!("{} s", life.since.elapsed().as_secs()),
        ),
        ("calls".to_string(), calls.calls.to_string()),
        ("panics".to_string(), calls.panics.to_string()),
        ("slow calls".to_string(), calls.slow.to_string()),
        ("timeouts".to_string(), calls.timeouts.to_string()),
    ];
    if !life.descriptor.depends.is_empty() {
        facts.push(("needs".to_string(), life.descriptor.depends.join(" ")));
    }
    facts.extend(life.host.facts());
    facts
}

impl Manager {
    fn row(&self, name: &str) -> PluginRow {
        let life = self.life(name);
        let opened = self.opened.lock();
        let built_in = || self.built_in.iter().find(|d| d.name == name);
        let descriptor: Option<&Descriptor> = match &life {
            Some(life) => Some(&life.descriptor),
            None => built_in().or_else(|| opened.get(name)),
        };
        let known = find_plugin(name);
        let description = descriptor.map(|d| d.description.as_ref());
        let description = match (description, known) {
            (Some(""), Some(plugin)) | (None, Some(plugin)) => plugin.description,
            (Some(text), _) => text,
            // Only what has been loaded once can say what it is.
            (None, None) => "a library",
        };
        let version = match (descriptor, known) {
            (Some(descriptor), _) => &descriptor.version,
            (None, Some(_)) => VERSION,
            (None, None) => "unknown",
        };
        PluginRow {
            name: name.into(),
            version: version.into(),
            description: description.into(),
            active: life.is_some(),
        }
    }

    fn kind(&self, name: &str) -> String {
        let life = self.life(name);
        match life.as_ref().map(|life| &life.source) {
            Some(Source::BuiltIn) => return "built in".into(),
            Some(Source::Library { path, made_with }) => {
                return format!("library {} ({made_with})", path.display());
            }
            None => {}
        }
        if self.built_in.iter().any(|d| d.name == name) {
            return "built in".into();
        }
        match emqttd_config::library(&self.etc, name) {
            Some(path) => format!("library {}", path.display()),
            None => "not part of this version".into(),
        }
    }

    /// Names of the files of configuration that are there, up to the first dot.
    fn files(&self) -> BTreeSet<String> {
        let settings = self.shared.broker.settings();
        let dir = settings.plugins_etc_dir.as_deref();
        dir.map(file_names)
            .unwrap_or_default()
            .iter()
            .filter_map(|file| {
                let name = file
                    .strip_suffix(".conf")
                    .or_else(|| file.strip_suffix(".config"))?;
                (!name.contains('.')).then(|| name.to_string())
            })
            .collect()
    }

    /// Whether there is a file of configuration for the plugin.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.files()
            .iter()
            .any(|file| present_name(file) == present_name(name))
    }

    /// Names of plugins that lie as libraries in the release tree.
    fn libraries(&self) -> BTreeSet<String> {
        let dir = self.etc.join("../plugins");
        let names = file_names(&dir).into_iter().filter_map(|file| {
            let name = file.strip_suffix(DLL_SUFFIX)?;
            Some(name.strip_prefix(DLL_PREFIX).unwrap_or(name).to_string())
        });
        names
            .filter(|name| emqttd_config::library(&self.etc, name).is_some())
            .collect()
    }
}

fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
