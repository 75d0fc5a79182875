//! An `etc` directory for one test, and short ways to load it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use emqttd_config::{Loaded, Problem, load};

/// A directory that is removed with the value.
pub struct Etc {
    root: PathBuf,
    /// what is removed
    tree: PathBuf,
}

impl Etc {
    /// `emq.conf` with this text, and an empty `plugins`.
    pub fn new(emq_conf: impl AsRef<[u8]>) -> Self {
        let tree = new_directory();
        Self::at(tree.clone(), tree, emq_conf)
    }

    /// The same as `etc` of a release tree.
    pub fn in_tree(emq_conf: impl AsRef<[u8]>) -> Self {
        let tree = new_directory();
        Self::at(tree.join("etc"), tree, emq_conf)
    }

    fn at(root: PathBuf, tree: PathBuf, emq_conf: impl AsRef<[u8]>) -> Self {
        fs::create_dir_all(root.join("plugins")).unwrap();
        fs::write(root.join("emq.conf"), emq_conf).unwrap();
        Self { root, tree }
    }

    /// With a further file; `name` may begin with `plugins/`.
    pub fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.root.join(name), text).unwrap();
        self
    }

    /// With `mqtt.plugins.loaded_file` set to a file with this text.
    pub fn loading(self, names: &str) -> Self {
        let file = self.path("loaded_plugins");
        fs::write(&file, names).unwrap();
        let conf = self.path("emq.conf");
        let mut text = fs::read_to_string(&conf).unwrap();
        text.push_str(&format!(
            "\nmqtt.plugins.loaded_file = {}\n",
            file.display()
        ));
        fs::write(&conf, text).unwrap();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn load(&self) -> Result<Loaded, Vec<Problem>> {
        self.load_with(&[])
    }

    pub fn load_with(&self, env: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
        load_dir(&self.root, env)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.tree);
    }
}

fn new_directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("emqttd-config-{}-{number}", std::process::id()))
}

pub fn load_dir(dir: &Path, env: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    load(
        dir,
        env.iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned())),
    )
}

/// Loads `emq.conf` with this text; it must be right.
pub fn loaded(emq_conf: &str) -> Loaded {
    loaded_with(emq_conf, &[])
}

pub fn loaded_with(emq_conf: &str, env: &[(&str, &str)]) -> Loaded {
    accepted(Etc::new(emq_conf).load_with(env))
}

pub fn accepted(result: Result<Loaded, Vec<Problem>>) -> Loaded {
    result.unwrap_or_else(|problems| panic!("refused:\n{}", lines(&problems)))
}

/// The errors (not the warnings) of a text that must be refused.
pub fn refused(emq_conf: &str) -> Vec<Problem> {
    errors(Etc::new(emq_conf).load())
}

pub fn errors(result: Result<Loaded, Vec<Problem>>) -> Vec<Problem> {
    match result {
        Ok(loaded) => panic!("accepted with {}", lines(&loaded.warnings)),
        Err(problems) => problems.into_iter().filter(Problem::is_error).collect(),
    }
}

pub fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

/// The only warning whose text has `part` in it.
pub fn warning<'a>(loaded: &'a Loaded, part: &str) -> &'a Problem {
    let mut found = loaded
        .warnings
        .iter()
        .filter(|warning| warning.to_string().contains(part));
    let Some(first) = found.next() else {
        panic!(
            "no warning with {part:?} among\n{}",
            lines(&loaded.warnings)
        );
    };
    assert!(
        found.next().is_none(),
        "{part:?} twice in\n{}",
        lines(&loaded.warnings)
    );
    first
}

pub fn no_warning(loaded: &Loaded) {
    assert!(loaded.warnings.is_empty(), "{}", lines(&loaded.warnings));
}
