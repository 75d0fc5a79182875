//! Which files have changed, by time of change and size.

use emqttd_plugin_sdk::Reloadable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often a module is looked at whose files do not come to rest.
const TRIES: usize = 10;

/// What tells one state of a file from another.
type Stamp = (SystemTime, u64);

/// The files of each module as they were when it was last loaded.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    known: BTreeMap<String, Stamps>,
    /// time of the last look
    looked: Option<SystemTime>,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Watch {
    /// Takes all modules as they are now, and names those that have changed since the last look. One that is
    /// new has changed if a file of it has: who loads a plugin and builds it again before the next look is not
    /// left with the first. A file that is missing has not changed: it may be on its way.
    pub fn look(&mut self, modules: Vec<Reloadable>) -> Vec<String> {
        let last = self.looked.replace(SystemTime::now());
        let mut changed = Vec::new();
        let mut known = BTreeMap::new();
        for Reloadable { name, files } in modules {
            let mut stamps: Stamps = files.iter().map(|f| (f.clone(), stamp(f))).collect();
            let has_changed = match self.known.get(&name) {
                Some(before) => differ(&mut stamps, before),
                None => last.is_some_and(|last| stamps.values().flatten().any(|s| s.0 > last)),
            };
            if has_changed {
                changed.push(name.clone());
            }
            known.insert(name, stamps);
        }
        self.known = known;
        changed
    }

    /// As [`Watch::look`]; but waits until what has changed does not change any more, so that nothing is loaded
    /// of which only a part is written.
    pub fn look_settled(
        &mut self,
        modules: impl Fn() -> Vec<Reloadable>,
        settled: Duration,
    ) -> Vec<String> {
        let mut changed = self.look(modules());
        let mut moving = changed.clone();
        for _ in 0..TRIES {
            if moving.is_empty() {
                break;
            }
            std::thread::sleep(settled);
            moving = self.look(modules());
            for name in &moving {
                if !changed.contains(name) {
                    changed.push(name.clone());
                }
            }
        }
        changed
    }

    /// A module is loaded as it is now.
    pub fn seen(&mut self, module: &str, modules: Vec<Reloadable>) {
        for what in modules.into_iter().filter(|what| what.name == module) {
            let stamps = what.files.into_iter().map(|f| {
                let stamp = stamp(&f);
                (f, stamp)
            });
            self.known.insert(what.name, stamps.collect());
        }
    }
}

/// Whether a file is another than before. Those that are missing keep what they had; those that the module did
/// not have before are loaded with the others that it has now.
fn differ(stamps: &mut Stamps, before: &Stamps) -> bool {
    let mut differ = false;
    for (file, stamp) in stamps {
        match before.get(file) {
            Some(old) if stamp.is_none() => *stamp = *old,
            Some(old) => differ |= old != stamp,
            None => {}
        }
    }
    differ
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    /// Two files of one module and one of another, in a directory of their own.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            let files = Files(tempfile::tempdir().unwrap());
            for name in ["a", "b", "c"] {
                files.write(name, "old", 100);
            }
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str, time: u64) {
            fs::write(self.path(name), text).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
            let file = fs::File::options().write(true).open(self.path(name));
            file.unwrap().set_modified(at).unwrap();
        }

        fn modules(&self) -> Vec<Reloadable> {
            let of = |name: &str, files: &[&str]| Reloadable {
                name: name.into(),
                files: files.iter().map(|f| self.path(f)).collect(),
            };
            vec![of("first", &["a", "b"]), of("second", &["c", "none"])]
        }
    }

    #[test]
    fn time_or_size_tells_of_a_change_once() {
        let files = Files::new();
        let mut watch = Watch::default();
        assert!(watch.look(files.modules()).is_empty(), "all is new");
        assert!(watch.look(files.modules()).is_empty());
        files.write("a", "new", 101);
        files.write("b", "longer", 100);
        assert_eq!(watch.look(files.modules()), ["first"]);
        assert!(watch.look(files.modules()).is_empty());
        // Also one with an older time: a copy that keeps it.
        files.write("c", "old", 7);
        assert_eq!(watch.look(files.modules()), ["second"]);
    }

    #[test]
    fn a_file_that_is_missing_has_not_changed_until_it_is_back() {
        let files = Files::new();
        let mut watch = Watch::default();
        watch.look(files.modules());
        fs::remove_file(files.path("c")).unwrap();
        assert!(watch.look(files.modules()).is_empty());
        files.write("c", "old", 100);
        assert!(watch.look(files.modules()).is_empty(), "it is as it was");
        fs::remove_file(files.path("c")).unwrap();
        assert!(watch.look(files.modules()).is_empty());
        files.write("c", "new!", 100);
        assert_eq!(watch.look(files.modules()), ["second"]);
        // One that was not there at the beginning.
        files.write("none", "now it is", 100);
        assert_eq!(watch.look(files.modules()), ["second"]);
    }

    #[test]
    fn what_was_loaded_by_hand_has_been_seen() {
        let files = Files::new();
        let mut watch = Watch::default();
        watch.seen("first", files.modules());
        watch.look(files.modules());
        files.write("a", "new", 101);
        files.write("c", "new", 101);
        watch.seen("first", files.modules());
        assert_eq!(watch.look(files.modules()), ["second"]);
    }

    #[test]
    fn a_new_module_has_changed_if_a_file_of_it_has_since_the_last_look() {
        let files = Files::new();
        let mut watch = Watch::default();
        watch.look(Vec::new());
        let far = SystemTime::now() + Duration::from_secs(1000);
        let far = far.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        files.write("b", "built again", far.as_secs());
        assert_eq!(watch.look(files.modules()), ["first"]);
        assert!(watch.look(files.modules()).is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let files = Files::new();
        let mut watch = Watch::default();
        watch.look(files.modules());
        let looks = std::cell::Cell::new(0);
        let modules = || {
            // It changes before each of the first three looks.
            looks.set(looks.get() + 1);
            if looks.get() <= 3 {
                files.write("a", &"x".repeat(looks.get()), 100);
            }
            files.modules()
        };
        assert_eq!(watch.look_settled(modules, Duration::ZERO), ["first"]);
        assert_eq!(looks.get(), 4);
    }
}
