//! A log file that is rotated by size and at midnight.

use jiff::civil::Date;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long after a failure the file is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens a log file for appending and makes its directory. Logs are for the owner and his group.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// A file to which lines are added, and its rotated forms `path.0` (the newest), `path.1` and so on.
pub struct RotatingFile {
    path: PathBuf,
    /// Rotated before a line that would make it longer than this (0 = no limit).
    max_size: u64,
    /// Rotated files kept.
    keep: u32,
    /// `None` after a failure, until it could be opened again.
    file: Option<File>,
    /// Bytes of the file, those in `pending` included.
    size: u64,
    /// Day of the lines in the file; `None` while it is empty.
    day: Option<Date>,
    pending: Vec<u8>,
    /// Lines that could not be written since the file failed.
    lost: u64,
    failed_at: Option<Instant>,
}

impl RotatingFile {
    /// Opens the file for appending and makes its directory. `max_size`: bytes beyond which it is rotated (0 = only
    /// when the day changes); `keep`: rotated files kept; `day_of`: the day of a moment.
    ///
    /// # Errors
    /// The directory cannot be made or the file not be opened.
    pub fn open(
        path: PathBuf,
        max_size: u64,
        keep: u32,
        day_of: impl Fn(SystemTime) -> Date,
    ) -> io::Result<RotatingFile> {
        let file = open(&path)?;
        let metadata = file.metadata()?;
        // What an earlier run left is of the day it was last written to.
        let day =
            (metadata.len() > 0).then(|| day_of(metadata.modified().unwrap_or(SystemTime::now())));
        Ok(RotatingFile {
            path,
            max_size,
            keep,
            size: metadata.len(),
            file: Some(file),
            day,
            pending: Vec::new(),
            lost: 0,
            failed_at: None,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line (with its end) of that day; it is written by [`RotatingFile::flush`].
    ///
    /// # Errors
    /// A rotation failed. The line is kept, in the old file.
    pub fn add(&mut self, line: &[u8], today: Date) -> io::Result<()> {
        let length = line.len() as u64;
        let too_long = self.max_size > 0 && self.size > 0 && self.size + length > self.max_size;
        // A clock that was put back does not rotate.
        let new_day = self.size > 0 && self.day.is_some_and(|day| day < today);
        let rotated = if too_long || new_day {
            self.flush().and_then(|()| self.rotate())
        } else {
            Ok(())
        };
        if rotated.is_err() {
            // Tried again when as much has been written once more, and not with every line.
            self.size = 0;
        }
        self.day = Some(today);
        self.size += length;
        self.pending.extend_from_slice(line);
        rotated
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// The first failure of a row; the lines are lost. The file is tried again a second later.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let outcome = self.write_pending();
        if outcome.is_err() {
            self.lost += self.pending.iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.file = None;
        }
        self.pending.clear();
        let first = self.failed_at.is_none();
        match outcome {
            Ok(()) => {
                self.failed_at = None;
                Ok(())
            }
            Err(error) => {
                self.failed_at = Some(Instant::now());
                if first { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Lines lost before the file could be written again; asked once it could.
    pub fn take_lost(&mut self) -> u64 {
        if self.failed_at.is_some() {
            return 0;
        }
        std::mem::take(&mut self.lost)
    }

    /// Whether the last lines could not be written.
    pub fn is_failing(&self) -> bool {
        self.failed_at.is_some()
    }

    /// The file at `path` and its `keep` rotated forms, the newest first; not all of them need to be there.
    pub fn files(path: &Path, keep: u32) -> Vec<PathBuf> {
        let rotated = (0..keep).map(|number| numbered(path, number));
        std::iter::once(path.to_owned()).chain(rotated).collect()
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.open_again()?;
        }
        match &mut self.file {
            Some(file) => file.write_all(&self.pending),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens the path anew, after a tool outside has moved the file away.
    ///
    /// # Errors
    /// It cannot be opened; it is tried again with the next lines.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        self.file = None;
        self.open_again().and(flushed)
    }

    fn open_again(&mut self) -> io::Result<()> {
        let file = open(&self.path)?;
        self.size = file.metadata()?.len() + self.pending.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Moves `path` to `path.0`, `path.0` to `path.1`, and so on; the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        match self.keep {
            0 => std::fs::remove_file(&self.path)?,
            keep => {
                for number in (1..keep).rev() {
                    let moved = std::fs::rename(self.numbered(number - 1), self.numbered(number));
                    moved.or_else(unless_missing)?;
                }
                std::fs::rename(&self.path, self.numbered(0)).or_else(unless_missing)?;
            }
        }
        self.file = None;
        self.open_again()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        numbered(&self.path, number)
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::logger::test::Directory;
    use jiff::civil::date;

    const TODAY: Date = date(2026, 11, 22);

    fn open(path: PathBuf, max_size: u64, keep: u32) -> RotatingFile {
        RotatingFile::open(path, max_size, keep, |_| TODAY).unwrap()
    }

    fn add(file: &mut RotatingFile, line: &str, day: Date) {
        file.add(line.as_bytes(), day).unwrap();
        file.flush().unwrap();
    }

    #[test]
    fn by_size_with_a_number_of_old_files() {
        let directory = Directory::new();
        let path = directory.path("deep/er/x.log");
        let mut file = open(path.clone(), 8, 2);
        for line in [
            "one\n",
            "two\n",
            "three\n",
            "four\n",
            "five\n",
            "a line too long\n",
            "six\n",
        ] {
            add(&mut file, line, TODAY);
        }
        assert_eq!(directory.read("deep/er/x.log"), "six\n");
        assert_eq!(directory.read("deep/er/x.log.0"), "a line too long\n");
        assert_eq!(directory.read("deep/er/x.log.1"), "five\n");
        let files = RotatingFile::files(&path, 2);
        assert_eq!(
            files[1..],
            [
                directory.path("deep/er/x.log.0"),
                directory.path("deep/er/x.log.1")
            ]
        );
        assert!(!directory.path("deep/er/x.log.2").exists());
        drop(file);
        let mut file = open(path, 8, 2);
        add(&mut file, "seven\n", TODAY);
        assert_eq!(
            directory.read("deep/er/x.log.0"),
            "six\n",
            "the size before the start counts"
        );
    }

    #[test]
    fn lines_of_one_flush_are_split_too() {
        let directory = Directory::new();
        let mut file = open(directory.path("x.log"), 8, 5);
        for line in ["one\n", "two\n", "three\n"] {
            file.add(line.as_bytes(), TODAY).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(directory.read("x.log.0"), "one\ntwo\n");
        assert_eq!(directory.read("x.log"), "three\n");
    }

    #[test]
    fn without_old_files_it_starts_anew() {
        let directory = Directory::new();
        let mut file = open(directory.path("x.log"), 5, 0);
        add(&mut file, "one\n", TODAY);
        add(&mut file, "two\n", TODAY);
        assert_eq!(directory.read("x.log"), "two\n");
        assert!(!directory.path("x.log.0").exists());
    }

    #[test]
    fn at_midnight_once() {
        let directory = Directory::new();
        let mut file = open(directory.path("x.log"), 0, 3);
        add(&mut file, "sunday\n", TODAY);
        add(&mut file, "monday\n", TODAY.tomorrow().unwrap());
        add(&mut file, "monday too\n", TODAY.tomorrow().unwrap());
        add(&mut file, "clock put back\n", TODAY);
        assert_eq!(directory.read("x.log.0"), "sunday\n");
        assert_eq!(
            directory.read("x.log"),
            "monday\nmonday too\nclock put back\n"
        );
        assert!(!directory.path("x.log.1").exists());
    }

    #[test]
    fn what_was_left_yesterday_is_rotated_and_an_empty_file_is_not() {
        let directory = Directory::new();
        for (name, text) in [("old.log", "yesterday\n"), ("empty.log", "")] {
            std::fs::write(directory.path(name), text).unwrap();
            let mut file = open(directory.path(name), 0, 3);
            add(&mut file, "today\n", TODAY.tomorrow().unwrap());
            assert_eq!(directory.read(name), "today\n");
        }
        assert_eq!(directory.read("old.log.0"), "yesterday\n");
        assert!(!directory.path("empty.log.0").exists());
    }

    #[test]
    fn reopened_after_it_was_moved_away() {
        let directory = Directory::new();
        let mut file = open(directory.path("x.log"), 0, 3);
        add(&mut file, "one\n", TODAY);
        std::fs::rename(directory.path("x.log"), directory.path("moved")).unwrap();
        add(&mut file, "two\n", TODAY);
        file.reopen().unwrap();
        add(&mut file, "three\n", TODAY);
        assert_eq!(directory.read("moved"), "one\ntwo\n");
        assert_eq!(directory.read("x.log"), "three\n");
    }

    #[test]
    fn a_failure_is_reported_once_and_mended() {
        let directory = Directory::new();
        let mut file = open(directory.path("sub/x.log"), 6, 1);
        add(&mut file, "one\n", TODAY);
        std::fs::remove_dir_all(directory.path("sub")).unwrap();
        std::fs::write(directory.path("sub"), "a file where the directory was").unwrap();
        let error = file.add(b"two\n", TODAY).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        file.file = None;
        assert!(file.flush().is_err(), "the first time");
        assert_eq!(file.take_lost(), 0, "not known yet how many");
        assert!(file.is_failing());
        file.failed_at = Some(Instant::now() - RETRY);
        file.add(b"three\n", TODAY).unwrap_or_default();
        assert!(file.flush().is_ok(), "not again");
        std::fs::remove_file(directory.path("sub")).unwrap();
        file.failed_at = Some(Instant::now() - RETRY);
        add(&mut file, "four\n", TODAY);
        assert!(!file.is_failing());
        assert_eq!(file.take_lost(), 2);
        assert_eq!(directory.read("sub/x.log"), "four\n");
    }
}
