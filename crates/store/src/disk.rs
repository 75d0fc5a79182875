//! The few operations on files that the store is made of, and the real directory behind them.
//!
//! Everything the store does to a disk goes through [`Disk`] and [`DiskFile`], so that tests can put a disk
//! under it that fails, and lose at a power cut what a real one may lose (`sim`, under the feature of that
//! name). What an implementation promises is only what file systems promise: bytes are safe after
//! [`DiskFile::sync_data`] of their file *and* [`Disk::sync_dir`] after the last change of its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

/// A file of a [`Disk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// its name, without directory
    pub name: String,
    /// its length in bytes
    pub bytes: u64,
}

/// One flat directory of files.
pub trait Disk: Send + Sync {
    /// All regular files, in no order.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Makes a file of `size` zero bytes for which the room on the disk is taken at once (so that writing within
    /// it does not meet a full disk). It must not exist; if this fails, it does not exist afterwards either, as
    /// far as that is in one's power.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name; a file that had it is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open may go on using it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Forces what was created, renamed and removed to stable storage.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that can still be stored.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// An open file. It may be used by several threads at once.
pub trait DiskFile: Send + Sync {
    /// Writes at `pos`; may write less than all and says how much. A file grows when written behind its end.
    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Reads from `pos` on; may read less than asked, and 0 at the end of the file.
    fn read_at(&self, pos: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Forces what was written, and the length, to stable storage. After an error nothing is known of what was
    /// written since the last success, and a later success says nothing about it: it must be written anew,
    /// elsewhere.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it, or makes it longer with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

impl dyn DiskFile + '_ {
    /// Writes all of `bytes` at `pos`, however many calls that takes.
    pub fn write_all_at(&self, mut pos: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(pos, bytes) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::WriteZero,
                        "the disk takes nothing more",
                    ));
                }
                Ok(n) => {
                    pos += n as u64;
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Fills `into` from `pos` on; a file that ends before is `UnexpectedEof`.
    pub fn read_exact_at(&self, pos: u64, into: &mut [u8]) -> io::Result<()> {
        let n = self.read_full_at(pos, into)?;
        if n < into.len() {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    /// Fills `into` from `pos` on as far as the file goes, and says how far that was.
    pub fn read_full_at(&self, pos: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < into.len() {
            match self.read_at(pos + have as u64, &mut into[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(have)
    }
}

/// A real directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// kept open, so that it can be synced when no file descriptor is left for it
    handle: File,
}

impl Directory {
    /// Takes a directory, which is made (for its owner only) when it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Directory> {
        let path = path.into();
        if !path.is_dir() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)?;
            sync_parent(&path)?;
        }
        let handle = File::open(&path)?;
        Ok(Directory { path, handle })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Forces the name of `path` itself to stable storage.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // removed since the directory was read
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            // The store's own names are all ASCII.
            if let Ok(name) = entry.file_name().into_string()
                && meta.is_file()
            {
                entries.push(Entry {
                    name,
                    bytes: meta.len(),
                });
            }
        }
        Ok(entries)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        if let Err(e) = allocate(&file, size) {
            let _ = std::fs::remove_file(&path);
            return Err(e);
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path.join(name))?,
        )))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// Takes room for `size` bytes.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // Such a file system gives no room in advance; writing may then meet a full disk, which is survived.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                return file.set_len(size);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, pos)
    }

    fn read_at(&self, pos: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(into, pos)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[cfg(test)]
mod tests;
