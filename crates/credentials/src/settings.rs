//! The keys of the plugin.

use crate::Kind;
use crate::book::checked_name;
use emqttd_password::{Cost, Form, Given, scram};
use emqttd_plugin_sdk::{Config, Entry, StartError};
use std::collections::BTreeMap;

/// Iterations of SCRAM where the file does not say (RFC 7677, section 4).
const SCRAM_ITERATIONS: u32 = 15_000;

/// What the keys say.
pub(crate) struct Settings {
    pub(crate) cost: Cost,
    /// `None` = no SCRAM
    pub(crate) scram_iterations: Option<u32>,
    /// whether passwords that were checked are recognized
    pub(crate) password_cache: bool,
    /// those of the file, in the order of their numbers
    pub(crate) entries: Vec<(String, Given)>,
}

impl Settings {
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub(crate) fn read(kind: &Kind, config: &Config) -> Result<Settings, StartError> {
        let key = |name: &str| format!("{}.{name}", kind.keys);
        let cost = match config.entry(&key("hash_cost")) {
            None => Cost::STANDARD,
            Some(entry) => match entry.value.trim() {
                "standard" => Cost::STANDARD,
                "light" => Cost::LIGHT,
                _ => return Err(entry.refused("takes `standard` or `light`")),
            },
        };
        let scram_iterations = match config.entry(&key("scram_iterations")) {
            _ if !kind.scram => None,
            None => Some(SCRAM_ITERATIONS),
            Some(entry) => scram_iterations(entry)?,
        };
        let form = match config.entry(&key("password_hash")) {
            None => Form::Plain,
            Some(entry) => entry
                .value
                .parse()
                .map_err(|error: String| entry.refused(error))?,
        };
        Ok(Settings {
            cost,
            scram_iterations,
            password_cache: config.switch(&key("password_cache")).unwrap_or(true),
            entries: entries(kind, config, form)?,
        })
    }
}

fn scram_iterations(entry: &Entry) -> Result<Option<u32>, StartError> {
    match entry.value.trim().parse() {
        Ok(0) => Ok(None),
        Ok(n @ scram::MIN_ITERATIONS..=10_000_000) => Ok(Some(n)),
        _ => Err(entry.refused("takes 0 (no SCRAM) or 4096 to 10000000")),
    }
}

/// Name and password of one number.
#[derive(Default)]
struct Pair<'a> {
    name: Option<&'a Entry>,
    password: Option<&'a Entry>,
}

/// `auth.user.1.username` and `auth.user.1.password`: each pair, by number.
fn entries(kind: &Kind, config: &Config, form: Form) -> Result<Vec<(String, Given)>, StartError> {
    let head = format!("{}.", kind.keys);
    let mut pairs: BTreeMap<(u64, &str), Pair<'_>> = BTreeMap::new();
    for entry in config.entries() {
        // In keys of the oldest form the word between is a name, which may have dots in it.
        let Some((id, field)) = entry
            .key
            .strip_prefix(&head)
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        // Numbers by their value, then words.
        let pair = pairs
            .entry((id.parse().unwrap_or(u64::MAX), id))
            .or_default();
        if field == kind.field {
            pair.name = Some(entry);
        } else if field == "password" {
            pair.password = Some(entry);
        }
    }
    let mut entries: Vec<(String, Given)> = Vec::new();
    for ((_, id), pair) in pairs {
        let (name, password) = match (pair.name, pair.password) {
            (Some(name), Some(password)) => (name, password),
            (Some(name), None) => {
                return Err(name.refused(format!("has no {head}{id}.password beside it")));
            }
            (None, Some(password)) => {
                let wanted = format!("has no {head}{id}.{} beside it", kind.field);
                return Err(password.refused(wanted));
            }
            (None, None) => continue,
        };
        checked_name(&name.value).map_err(|error| name.refused(error))?;
        // No error text has the value in it.
        let given = Given::parse(form, &password.value).map_err(|error| password.refused(error))?;
        if let Some(earlier) = entries.iter().position(|(known, _)| *known == name.value) {
            log::warn!(
                "{} ({}) names {:?} a second time: the {} counts",
                name.key,
                name.origin,
                name.value,
                if kind.file_wins { "last" } else { "first" }
            );
            if kind.file_wins {
                entries.remove(earlier);
            } else {
                continue;
            }
        }
        entries.push((name.value.clone(), given));
    }
    Ok(entries)
}
