//! The directory of scripts: `x.lua` is the script x, `x.lua.x` is the same script switched off.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Largest script, bytes.
pub(crate) const MAX_SCRIPT: usize = 1 << 20;
/// Longest name, bytes: with its endings a file system takes it.
const MAX_NAME: usize = 200;
/// Endings of a script that is on, and of one that is off.
const ON: &str = ".lua";
const OFF: &str = ".lua.x";

/// The name that is meant: without its ending, if it was given with one.
///
/// # Errors
/// Why it can be no script's name.
pub(crate) fn name_of(text: &str) -> Result<&str, &'static str> {
    let name = text.strip_suffix(OFF).or_else(|| text.strip_suffix(ON));
    let name = name.unwrap_or(text);
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("a name has 1 to 200 bytes");
    }
    if name.starts_with('.') {
        return Err("a name does not begin with a dot");
    }
    if name.contains(['/', '\\', '"']) || name.chars().any(char::is_control) {
        return Err("a name has no slashes, quotes and control characters");
    }
    Ok(name)
}

/// Which files of a script there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Files {
    /// `x.lua`
    pub on: bool,
    /// `x.lua.x`
    pub off: bool,
}

/// Why a script cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is no such file.
    NotThere,
    /// Another reason.
    Wrong(String),
}

/// The directory of scripts.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// It need not be there yet.
    pub fn new(path: PathBuf) -> Directory {
        Directory(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All scripts by name. What has a name that no script can have is passed over.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> io::Result<BTreeMap<String, Files>> {
        let mut scripts: BTreeMap<String, Files> = BTreeMap::new();
        for entry in fs::read_dir(&self.0)? {
            let file = entry?.file_name();
            let Some(file) = file.to_str() else {
                continue;
            };
            let Ok(name) = name_of(file) else {
                continue;
            };
            let ending = &file[name.len()..];
            if ending == ON {
                scripts.entry(name.into()).or_default().on = true;
            } else if ending == OFF {
                scripts.entry(name.into()).or_default().off = true;
            }
        }
        Ok(scripts)
    }

    /// Which files of one script there are.
    pub fn files(&self, name: &str) -> Files {
        let there = |ending| self.file(name, ending).symlink_metadata().is_ok();
        Files {
            on: there(ON),
            off: there(OFF),
        }
    }

    /// The text of a script that is on.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is too large.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Unread> {
        let path = self.file(name, ON);
        let wrong = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => Unread::NotThere,
            _ => Unread::Wrong(format!("{}: {error}", path.display())),
        };
        // To open a pipe would wait for its writer.
        if !fs::metadata(&path).map_err(wrong)?.is_file() {
            return Err(Unread::Wrong(format!("{} is no file", path.display())));
        }
        let mut source = Vec::new();
        let file = File::open(&path).map_err(wrong)?;
        file.take(MAX_SCRIPT as u64 + 1)
            .read_to_end(&mut source)
            .map_err(wrong)?;
        if source.len() > MAX_SCRIPT {
            return Err(Unread::Wrong(format!(
                "{} is larger than {MAX_SCRIPT} bytes",
                path.display()
            )));
        }
        Ok(source)
    }

    /// Gives a script that is off the name of one that is on.
    ///
    /// # Errors
    /// `NotFound` when there is none that is off, `AlreadyExists` when one that is on is there too.
    pub fn enable(&self, name: &str) -> io::Result<()> {
        rename(&self.file(name, OFF), &self.file(name, ON))
    }

    /// The other way round.
    ///
    /// # Errors
    /// As [`Directory::enable`].
    pub fn disable(&self, name: &str) -> io::Result<()> {
        rename(&self.file(name, ON), &self.file(name, OFF))
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join(format!("{name}{ending}"))
    }
}

/// Renames a file, and never onto another.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The file system cannot promise it.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error.into()),
    }
}

/// The word that EMQ had for an error of the file system.
pub(crate) fn word(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "enoent".into(),
        ErrorKind::AlreadyExists => "eexist".into(),
        ErrorKind::PermissionDenied => "eacces".into(),
        ErrorKind::ReadOnlyFilesystem => "erofs".into(),
        ErrorKind::StorageFull => "enospc".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::testing::FakeBroker;

    /// The directory ends with the broker.
    fn directory() -> (FakeBroker, Directory) {
        let broker = FakeBroker::new();
        let path = broker.data_dir().join("hook_lua");
        fs::create_dir_all(&path).unwrap();
        (broker, Directory::new(path))
    }

    fn write(directory: &Directory, file: &str, text: &str) {
        fs::write(directory.path().join(file), text).unwrap();
    }

    #[test]
    fn names() {
        for (text, name) in [
            ("t1", "t1"),
            ("t1.lua", "t1"),
            ("t1.lua.x", "t1"),
            ("a.b c", "a.b c"),
            ("x.lua.lua", "x.lua"),
            ("x", "x"),
            ("..x", ""),
            ("", ""),
            (".lua", ""),
            (".", ""),
            ("..", ""),
            (".hidden.lua", ""),
            ("../acl", ""),
            ("a/b", ""),
            ("a\\b", ""),
            ("a\0", ""),
            ("a\nb", ""),
            ("a\"", ""),
        ] {
            let expected = Some(name).filter(|name| !name.is_empty());
            assert_eq!(name_of(text).ok(), expected, "{text:?}");
        }
        assert!(name_of(&"n".repeat(200)).is_ok());
        assert!(name_of(&"n".repeat(201)).is_err());
    }

    #[test]
    fn scripts_are_listed_by_name() {
        let (_broker, directory) = directory();
        for file in [
            "b.lua", "a.lua.x", "c.lua", "c.lua.x", "README", ".d.lua", "e.lua~",
        ] {
            write(&directory, file, "");
        }
        let list = directory.list().unwrap();
        let files = |name: &str| list.get(name).map(|files| (files.on, files.off));
        assert_eq!(list.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(files("a"), Some((false, true)));
        assert_eq!(files("b"), Some((true, false)));
        assert_eq!(files("c"), Some((true, true)));
        let nowhere = Directory::new(directory.path().join("nowhere"));
        assert_eq!(nowhere.list().unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_script_is_read_up_to_its_bound() {
        let (_broker, directory) = directory();
        write(&directory, "a.lua", "x = 1\0\n");
        assert_eq!(directory.read("a").unwrap(), b"x = 1\0\n");
        assert_eq!(directory.read("b"), Err(Unread::NotThere));
        write(&directory, "full.lua", &" ".repeat(MAX_SCRIPT));
        assert_eq!(directory.read("full").unwrap().len(), MAX_SCRIPT);
        write(&directory, "large.lua", &" ".repeat(MAX_SCRIPT + 1));
        let wrong = directory.read("large").unwrap_err();
        assert!(matches!(wrong, Unread::Wrong(why) if why.contains("larger than 1048576")));
        fs::create_dir(directory.path().join("dir.lua")).unwrap();
        let wrong = directory.read("dir").unwrap_err();
        assert!(matches!(wrong, Unread::Wrong(why) if why.ends_with("dir.lua is no file")));
    }

    #[test]
    fn a_script_is_switched_and_none_is_overwritten() {
        let (_broker, directory) = directory();
        let error = |result: io::Result<()>| word(&result.unwrap_err());
        assert_eq!(error(directory.enable("a")), "enoent");
        assert_eq!(error(directory.disable("a")), "enoent");
        write(&directory, "a.lua", "on");
        directory.disable("a").unwrap();
        assert_eq!(directory.read("a"), Err(Unread::NotThere));
        directory.enable("a").unwrap();
        assert_eq!(directory.read("a").unwrap(), b"on");
        assert_eq!(error(directory.enable("a")), "enoent");

        write(&directory, "a.lua.x", "off");
        assert_eq!(error(directory.enable("a")), "eexist");
        assert_eq!(error(directory.disable("a")), "eexist");
        assert_eq!(directory.read("a").unwrap(), b"on");
        assert_eq!(fs::read(directory.path().join("a.lua.x")).unwrap(), b"off");
    }
}
