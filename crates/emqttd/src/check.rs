//! What can be found wrong without starting: the configuration, `acl.conf`, the certificates, the place of the
//! store.

use crate::storage::{self, Unusable};
use crate::system::{complain, say};
use emqttd_broker::acl_file::AclFile;
use emqttd_config::{Config, Loaded, PersistenceSync, Problem, Settings, find_plugin};
use emqttd_management::client;
use emqttd_net::tls::TlsContext;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names of the plugins that are built into this program.
static BUILT_IN: OnceLock<Vec<String>> = OnceLock::new();

/// Says which plugins are built into this program, before anything is looked at.
pub fn set_built_in(names: Vec<String>) {
    // A program is run once.
    let _ = BUILT_IN.set(names);
}

/// The configuration of the directory `etc` in the release tree `root`, with the files it names
/// looked at as well.
///
/// # Errors
/// All that keeps the broker from starting, a line each.
pub fn load(root: &Path, etc: &Path) -> Result<Loaded, Vec<String>> {
    let mut loaded = configuration(etc)?;
    loaded.warnings.extend(missing_plugins(&loaded.config));
    let places = Places { root, etc };
    let mut errors = places.acl(&loaded.settings, &mut loaded.warnings);
    errors.extend(places.certificates(&loaded.settings));
    errors.extend(places.store(&loaded.settings, &mut loaded.warnings));
    if errors.is_empty() {
        Ok(loaded)
    } else {
        Err(errors)
    }
}

/// The configuration alone.
///
/// # Errors
/// What is wrong with it, a line each.
pub fn configuration(etc: &Path) -> Result<Loaded, Vec<String>> {
    let main = etc.join("emq.conf");
    if !main.exists() {
        return Err(vec![format!(
            "emqttd: there is no {}. The release tree is the directory above that of the program, \
             or else the current one.",
            main.display()
        )]);
    }
    let built_in: Vec<&str> = BUILT_IN
        .get()
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    emqttd_config::load_with(etc, client::environment(), &built_in).map_err(lines)
}

/// `emqttd check-config`: each key on standard output, what is wrong or odd on standard error;
/// whether a broker would start.
pub fn report(root: &Path, etc: &Path) -> bool {
    match load(root, etc) {
        Ok(loaded) => {
            say(loaded.config.render_report().trim_end());
            lines(loaded.warnings).iter().for_each(complain);
            true
        }
        Err(errors) => {
            errors.iter().for_each(complain);
            false
        }
    }
}

/// One line for each, in the order of the files: first what keeps the broker from starting.
pub fn lines(mut problems: Vec<Problem>) -> Vec<String> {
    problems.sort_by_cached_key(|p| (!p.is_error(), p.file.clone(), p.line));
    let text = |p: &Problem| match p.is_error() {
        true => p.to_string(),
        false => format!("warning: {p}"),
    };
    problems.iter().map(text).collect()
}

/// Plugins that are to be loaded and decide nothing, so that the broker starts without them. (One that
/// decides who may do what is an error already.)
fn missing_plugins(config: &Config) -> Option<Problem> {
    let missing: Vec<&str> = config
        .loaded_plugins()
        .iter()
        .map(String::as_str)
        .filter(|name| find_plugin(name).is_some_and(|plugin| !plugin.present))
        .collect();
    (!missing.is_empty()).then(|| {
        Problem::warning(format!(
            "these plugins are to be loaded but come with a later version; the broker starts \
             without what they do: {}",
            missing.join(", ")
        ))
    })
}

/// Whether `dir` is there and holds no certificate or key: a start then makes them.
pub fn no_keys_in(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        !entries
            .flatten()
            .any(|e| e.path().extension().is_some_and(|x| x == "pem"))
    })
}

/// Where the paths of a configuration lead.
struct Places<'a> {
    root: &'a Path,
    etc: &'a Path,
}

impl Places<'_> {
    /// Relative paths are relative to the release tree; `etc/` is the directory looked at, which
    /// `check-config` may have been given.
    fn find(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("etc") {
            Ok(rest) => self.etc.join(rest),
            Err(_) => self.root.join(path),
        }
    }

    /// What is wrong in `acl.conf`; what is only odd goes to `warnings`.
    fn acl(&self, settings: &Settings, warnings: &mut Vec<Problem>) -> Vec<String> {
        let Some(path) = settings.mqtt.acl_file.as_deref() else {
            return Vec::new();
        };
        let path = self.find(path);
        let parsed = std::fs::read_to_string(&path).map(|text| AclFile::parse(&text));
        let errors = match parsed {
            Err(e) => return vec![format!("{}: cannot be read: {e}", path.display())],
            Ok(Err(errors)) => errors,
            Ok(Ok(file)) => {
                warnings.extend(file.warnings().iter().map(|w| {
                    Problem::warning(&w.message)
                        .in_file(&path)
                        .at(w.line, w.column)
                }));
                return Vec::new();
            }
        };
        let line = |e: &emqttd_broker::acl_file::AclError| {
            format!("{}:{}:{}: {}", path.display(), e.line, e.column, e.message)
        };
        errors.iter().map(line).collect()
    }

    /// What keeps the store from its directory; what is only odd goes to `warnings`.
    fn store(&self, settings: &Settings, warnings: &mut Vec<Problem>) -> Option<String> {
        if settings.persistence.sync == PersistenceSync::Off {
            return None;
        }
        match storage::look_at(&self.root.join(&settings.persistence.dir))? {
            Unusable::NoDirectory(path) => Some(format!(
                "emqttd: persistence.dir: {} is not a directory",
                path.display()
            )),
            Unusable::NoPermission(path) => {
                warnings.push(Problem::warning(format!(
                    "persistence.dir: who asks this may not write to {}",
                    path.display()
                )));
                None
            }
        }
    }

    /// What is wrong with the certificates of the listeners.
    fn certificates(&self, settings: &Settings) -> Vec<String> {
        let ours = self.etc.join("certs");
        let to_be_made = no_keys_in(&ours);
        let mut errors = Vec::new();
        for listener in &settings.listeners {
            let Some(mut tls) = listener.tls.clone() else {
                continue;
            };
            for path in [
                &mut tls.keyfile,
                &mut tls.certfile,
                &mut tls.cacertfile,
                &mut tls.crlfile,
            ]
            .into_iter()
            .flatten()
            {
                *path = self.find(path);
            }
            if to_be_made && tls.certfile.iter().all(|path| path.starts_with(&ours)) {
                continue;
            }
            if let Err(e) = TlsContext::from_settings(&tls) {
                errors.push(format!("emqttd: listener on {}: {e}", listener.listen_on));
            }
        }
        errors
    }
}
