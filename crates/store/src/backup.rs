//! Copies of a store: taken from a running one, checked, and brought back.
//!
//! A backup is a directory with the segments as they lay in the store, and `MANIFEST`, which lists them with their
//! lengths and checksums. It is a store itself, but a store without its last file looks like an older store;
//! only the manifest tells that something is missing.

use crate::disk::{Directory, Disk, DiskFile, sync_parent};
use crate::recover::check_frames;
use crate::segment::{log_name, number_of};
use crate::shared::Shared;
use crate::{Health, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the list of files in a backup.
const MANIFEST: &str = "MANIFEST";
/// Its first line, with the version of its format.
const FIRST_LINE: &str = "emqttd store backup 1";
/// Its last line: without it the list is not whole.
const LAST_LINE: &str = "end";
/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// A segment to be copied, from the beginning of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub number: u32,
    pub bytes: u64,
}

impl Part {
    fn name(&self) -> String {
        log_name(self.number)
    }
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// segments of the log
    pub files: u64,
    /// their bytes
    pub bytes: u64,
    /// frames in them, each of which passed its check
    pub frames: u64,
}

/// A listed file.
struct Line {
    part: Part,
    crc: u32,
}

fn sentence(e: &io::Error, what: String) -> io::Error {
    io::Error::new(e.kind(), what)
}

fn refused(what: String) -> io::Error {
    io::Error::other(what)
}

/// Puts a word in front of what follows the last `/` of a path: `a/b` becomes `a/b.partial`.
fn beside(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or_else(|| {
            refused(format!(
                "{} is not the name of a directory. Give it a name of its own.",
                path.display()
            ))
        })?
        .to_owned();
    name.push(suffix);
    Ok(path.with_file_name(name))
}

fn is_empty_dir(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Copies `parts` of a disk into the new directory `to`, checks the copy and gives it its name only then.
/// `progress` hears how many bytes are done, and of how many.
pub(crate) fn copy(
    from: &dyn Disk,
    parts: &[Part],
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    if to.exists() && !(to.is_dir() && is_empty_dir(to)?) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{} exists and is not empty. Name a directory that does not exist yet.",
                to.display()
            ),
        ));
    }
    let partial = beside(to, ".partial")?;
    if partial.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{} is left from a backup that was not finished, or another one is running into it. \
                 Remove it if none is running.",
                partial.display()
            ),
        ));
    }
    let result = copy_into(from, parts, &partial, progress).and_then(|()| {
        // An empty directory may be replaced by a rename.
        fs::rename(&partial, to)
            .and_then(|()| sync_parent(to))
            .map_err(|e| {
                sentence(
                    &e,
                    format!(
                        "{} cannot be renamed to {}: {e}",
                        partial.display(),
                        to.display()
                    ),
                )
            })
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

fn copy_into(
    from: &dyn Disk,
    parts: &[Part],
    partial: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    let target = Directory::new(partial)
        .map_err(|e| sentence(&e, format!("{} cannot be made: {e}", partial.display())))?;
    // It is written, and read again.
    let total = 2 * parts.iter().map(|p| p.bytes).sum::<u64>();
    let mut done = 0;
    let mut list = format!("{FIRST_LINE}\n");
    for part in parts {
        let crc = copy_file(from, &target, part, &mut |n| {
            done += n;
            progress(done, total);
        })?;
        list.push_str(&format!("{} {} {crc:08x}\n", part.name(), part.bytes));
    }
    list.push_str(LAST_LINE);
    list.push('\n');
    let write = || -> io::Result<()> {
        let file = target.create(MANIFEST, 0)?;
        file.write_all_at(0, list.as_bytes())?;
        file.sync_data()?;
        target.sync_dir()
    };
    write().map_err(|e| {
        sentence(
            &e,
            format!("{}: {MANIFEST} cannot be written: {e}", partial.display()),
        )
    })?;
    check(&target, &mut |n| {
        done += n;
        progress(done, total);
    })
    .map_err(|e| {
        sentence(
            &e,
            format!(
                "The copy was taken but does not pass its check: {e} If the file is damaged in the store as well, \
                 a restart of the broker sets it aside and keeps what can be read."
            ),
        )
    })?;
    Ok(())
}

/// Copies a file; the CRC-32 of what was copied.
fn copy_file(
    from: &dyn Disk,
    to: &Directory,
    part: &Part,
    progress: &mut dyn FnMut(u64),
) -> io::Result<u32> {
    let reading = |e: io::Error| {
        sentence(
            &e,
            format!("{} of {} cannot be read: {e}.", part.name(), from.place()),
        )
    };
    let writing = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                " Make room there, and start again."
            }
            _ => "",
        };
        sentence(
            &e,
            format!(
                "{} cannot be written to {}: {e}.{hint}",
                part.name(),
                to.place()
            ),
        )
    };
    let source = from.open(&part.name()).map_err(reading)?;
    let target = to.create(&part.name(), part.bytes).map_err(writing)?;
    let mut crc = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < part.bytes {
        let n = (part.bytes - at).min(CHUNK as u64) as usize;
        source.read_exact_at(at, &mut chunk[..n]).map_err(reading)?;
        target.write_all_at(at, &chunk[..n]).map_err(writing)?;
        crc.update(&chunk[..n]);
        at += n as u64;
        progress(n as u64);
    }
    target.sync_data().map_err(writing)?;
    Ok(crc.finalize())
}

/// Checks a backup: that all its files are there, each as long as it was and with the same contents, and every
/// frame of the log in them. `progress` hears how many bytes are done, and of how many.
///
/// # Errors
/// A sentence that says which file is not as it was.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Contents> {
    let disk = open_backup(dir)?;
    let total = read_manifest(&disk)?.iter().map(|l| l.part.bytes).sum();
    let mut done = 0;
    check(&disk, &mut |n| {
        done += n;
        progress(done, total);
    })
}

fn open_backup(dir: &Path) -> io::Result<Directory> {
    if !dir.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "{} is not a directory. Name the one that `emqttd backup` made.",
                dir.display()
            ),
        ));
    }
    Directory::new(dir)
        .map_err(|e| sentence(&e, format!("{} cannot be opened: {e}", dir.display())))
}

fn read_manifest(disk: &Directory) -> io::Result<Vec<Line>> {
    let path = disk.path().join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|e| {
        sentence(
            &e,
            format!(
                "{} cannot be read: {e}. Without it this is not a backup; name the directory that `emqttd backup` made.",
                path.display()
            ),
        )
    })?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(refused(format!(
            "{} is of a version that this program does not know. Use the one that made the backup.",
            path.display()
        )));
    }
    let damaged = || {
        refused(format!(
            "{} is damaged. Take another backup.",
            path.display()
        ))
    };
    let mut files = Vec::new();
    for line in lines {
        if line == LAST_LINE {
            return Ok(files);
        }
        let mut words = line.split(' ');
        let (Some(name), Some(bytes), Some(crc), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(damaged());
        };
        // Only names of segments: nothing may lead out of the directory.
        let number = number_of(name)
            .filter(|&number| log_name(number) == name)
            .ok_or_else(damaged)?;
        let bytes = bytes.parse().map_err(|_| damaged())?;
        let crc = u32::from_str_radix(crc, 16).map_err(|_| damaged())?;
        files.push(Line {
            part: Part { number, bytes },
            crc,
        });
    }
    Err(damaged())
}

fn check(disk: &Directory, progress: &mut dyn FnMut(u64)) -> io::Result<Contents> {
    let lines = read_manifest(disk)?;
    let mut contents = Contents::default();
    for line in &lines {
        let path = disk.path().join(line.part.name());
        let bad = |what: &str| {
            refused(format!(
                "{} {what}. This backup cannot be used as a whole; take another one.",
                path.display()
            ))
        };
        let file = match disk.open(&line.part.name()) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(bad("is missing")),
            Err(e) => {
                return Err(sentence(
                    &e,
                    format!("{} cannot be opened: {e}.", path.display()),
                ));
            }
        };
        let reading =
            |e: io::Error| sentence(&e, format!("{} cannot be read: {e}.", path.display()));
        if file.len().map_err(reading)? != line.part.bytes {
            return Err(bad("has not the length it was written with"));
        }
        if checksum(&*file, line.part.bytes, progress).map_err(reading)? != line.crc {
            return Err(bad("has not the contents it was written with"));
        }
        match check_frames(&file, line.part.number, line.part.bytes).map_err(reading)? {
            Ok(frames) => contents.frames += frames,
            Err(at) => return Err(bad(&format!("is damaged at byte {at}"))),
        }
        contents.files += 1;
        contents.bytes += line.part.bytes;
    }
    Ok(contents)
}

fn checksum(file: &dyn DiskFile, bytes: u64, progress: &mut dyn FnMut(u64)) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(CHUNK as u64) as usize;
        file.read_exact_at(at, &mut chunk[..n])?;
        crc.update(&chunk[..n]);
        at += n as u64;
        progress(n as u64);
    }
    Ok(crc.finalize())
}

/// Where the store was put that a restored one took the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// what the backup holds
    pub contents: Contents,
    /// the directory as it was before; `None` when there was none
    pub aside: Option<PathBuf>,
}

/// Brings a backup back as the store in `to`. It is checked first; what was in `to` is set aside beside it as
/// `NAME.before-restore-<unix time>`, and never removed. No broker may be using `to`: the caller holds its lock.
/// `progress` hears how many bytes are done, and of how many.
///
/// # Errors
/// A sentence that says what is wrong. Until everything is copied and synced, `to` is as it was.
pub fn restore(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Restored> {
    let source = open_backup(from)?;
    let lines = read_manifest(&source)?;
    // Read to be checked, then read and written.
    let total = 2 * lines.iter().map(|l| l.part.bytes).sum::<u64>();
    let mut done = 0;
    let mut tell = |n| {
        done += n;
        progress(done, total);
    };
    let contents = check(&source, &mut tell)?;

    let partial = beside(to, ".restoring")?;
    if partial.exists() {
        // Left from a restore that was cut short; nobody else can be at it, for the caller holds the lock.
        fs::remove_dir_all(&partial)
            .map_err(|e| sentence(&e, format!("{} cannot be removed: {e}.", partial.display())))?;
    }
    let fill = |tell: &mut dyn FnMut(u64)| -> io::Result<()> {
        let target = Directory::new(&partial)
            .map_err(|e| sentence(&e, format!("{} cannot be made: {e}.", partial.display())))?;
        for line in &lines {
            let crc = copy_file(&source, &target, &line.part, tell)?;
            if crc != line.crc {
                return Err(refused(format!(
                    "{} changed while it was copied. Start again.",
                    source.path().join(line.part.name()).display()
                )));
            }
        }
        target
            .sync_dir()
            .map_err(|e| sentence(&e, format!("{}: {e}", partial.display())))
    };
    if let Err(e) = fill(&mut tell) {
        let _ = fs::remove_dir_all(&partial);
        return Err(e);
    }
    let aside = put_in_place(&partial, to).map_err(|e| {
        sentence(
            &e,
            format!(
                "{} is ready but cannot take the place of {}: {e}. Rename both by hand.",
                partial.display(),
                to.display()
            ),
        )
    })?;
    Ok(Restored { contents, aside })
}

/// Makes `new` the directory `to`; where the one went that had this name.
fn put_in_place(new: &Path, to: &Path) -> io::Result<Option<PathBuf>> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    if !to.exists() {
        fs::rename(new, to)?;
        sync_parent(to)?;
        return Ok(None);
    }
    let aside = name_aside(to)?;
    // In one step where the system can: at no instant is there no store, which a broker would begin anew.
    match renameat_with(CWD, new, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => fs::rename(new, &aside)?,
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::rename(to, &aside)?;
            fs::rename(new, to)?;
        }
        Err(e) => return Err(e.into()),
    }
    sync_parent(to)?;
    Ok(Some(aside))
}

/// A name, not in use, that says when a directory was replaced.
fn name_aside(to: &Path) -> io::Result<PathBuf> {
    let mut time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    loop {
        let aside = beside(to, &format!(".before-restore-{time}"))?;
        if !aside.exists() {
            return Ok(aside);
        }
        time += 1;
    }
}

/// While this lives, no segment is cleaned.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn new(shared: &'a Shared) -> Held<'a> {
        *shared.cleaning_held.lock() += 1;
        Held(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.cleaning_held.lock() -= 1;
        self.0.kick();
    }
}

impl Store {
    /// Copies the store into the directory `to`, which must not exist or be empty, while it goes on working. The
    /// copy holds everything that was handed over before this call. It is written to `to` with `.partial` behind its
    /// name, synced, read again and checked, and only then gets its name. `progress` hears how many bytes are done,
    /// and of how many.
    ///
    /// # Errors
    /// A sentence that says what is in the way. Nothing is left behind then.
    pub fn backup(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> io::Result<()> {
        let shared = self.shared();
        let _held = Held::new(shared);
        let position = self.position();
        while shared.folded.load(Ordering::SeqCst) < position {
            if self.health() == Health::Failing {
                let status = self.status();
                return Err(refused(format!(
                    "The store cannot be written at present ({}), so that a copy would lack what waits. Try again when it works.",
                    status.error.unwrap_or_default()
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let parts = {
            let index = shared.index.lock();
            let mut parts: Vec<Part> = index
                .segments
                .iter()
                .filter(|s| !s.gone)
                .map(|s| Part {
                    number: s.number,
                    bytes: s.end,
                })
                .collect();
            parts.sort_unstable_by_key(|p| p.number);
            parts
        };
        copy(&*shared.disk, &parts, to, progress)
    }
}
