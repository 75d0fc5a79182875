//! `reloader.log`: what was loaded anew, a line each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes after which the file becomes `<name>.0` and a new one is begun.
const MOST: u64 = 1024 * 1024;

/// A file of lines with their time.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// one writer at a time
    writing: Mutex<()>,
}

impl Journal {
    /// Sees that the file can be written.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path) -> io::Result<Journal> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        append(path)?;
        Ok(Journal {
            path: path.into(),
            writing: Mutex::default(),
        })
    }

    /// Adds a line. What cannot be written is said in the log of the broker.
    pub fn write(&self, text: &str) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.add(text) {
            log::warn!("{}: {error}", self.path.display());
        }
    }

    fn add(&self, text: &str) -> io::Result<()> {
        let mut file = append(&self.path)?;
        if file.metadata()?.len() > MOST {
            let mut old = self.path.clone().into_os_string();
            old.push(".0");
            fs::rename(&self.path, old)?;
            file = append(&self.path)?;
        }
        let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
        // A reason may hold anything; a line is a line.
        let text = text.replace(['\n', '\r'], " ");
        file.write_all(format!("{time} {text}\n").as_bytes())
    }
}

/// Opened each time: who moves the file away gets a new one.
fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_each_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/reloader.log");
        let journal = Journal::open(&path).unwrap();
        journal.write("one\ntwo");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(" one two\n"), "{text}");
        // `2026-01-02 03:04:05.678 `
        assert_eq!(text.find("one"), Some(24), "{text}");
        fs::write(&path, vec![b'x'; MOST as usize + 1]).unwrap();
        journal.write("three");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(" three\n") && text.len() < 100, "{text}");
        let old = fs::metadata(dir.path().join("below/reloader.log.0")).unwrap();
        assert_eq!(old.len(), MOST + 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::open(dir.path()).is_err());
    }
}
