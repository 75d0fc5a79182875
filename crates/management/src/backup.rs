//! A backup: a directory with what the broker keeps in its data directory.
//!
//! `store/` is the store, and `loaded_plugins` the list of plugins to start, where there is one. Not in it is what the
//! operator keeps: `etc/` with its keys and certificates.

use crate::cli::Watcher;
use crate::figures;
use emqttd_config::Settings;
use emqttd_store::Store;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Instant;

/// Where in a backup the store is.
pub const STORE: &str = "store";

/// Where in a backup the list of plugins to start is.
pub const LOADED_PLUGINS: &str = "loaded_plugins";

/// Takes a backup of a store that may be in use to the directory `to`, which must not exist or be empty, and says
/// what it did. If it fails, what it wrote is removed again.
///
/// # Errors
/// A sentence that says what is in the way.
pub fn take(
    store: &Store,
    settings: &Settings,
    to: &Path,
    watcher: Watcher<'_>,
) -> Result<String, String> {
    let begun = Instant::now();
    let made = claim(to, &settings.persistence.dir)?;
    // The store comes last, and gets its name when it is whole: a backup with a store is a whole one.
    let copied = copy_list(settings, to)
        .and_then(|()| {
            store.backup(&to.join(STORE), &mut |done, total| {
                watcher.tell(done, total);
            })
        })
        .and_then(|()| sync_names(to))
        .and_then(|()| size(&to.join(STORE)));
    let size = copied.map_err(|e| {
        let _ = fs::remove_dir_all(to.join(STORE));
        let _ = fs::remove_file(to.join(LOADED_PLUGINS));
        if made {
            let _ = fs::remove_dir(to);
        }
        format!("The backup to {} failed: {e}\n", to.display())
    })?;
    Ok(format!(
        "Backup of {} in {}, taken in {}.\n",
        figures::bytes(size),
        to.display(),
        figures::seconds(begun.elapsed())
    ))
}

/// Sees to it that `to` is an empty directory, for its owner only; whether it had to be made.
fn claim(to: &Path, store: &Path) -> Result<bool, String> {
    let wrong = |what: &str| Err(format!("{} {what}\n", to.display()));
    let failed = |e: io::Error| format!("{}: {e}\n", to.display());
    if !to.is_absolute() {
        return wrong("is not an absolute path.");
    }
    let made = match fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => false,
        Ok(false) => {
            return wrong("is not empty: each backup has a directory of its own.");
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(to)
                .map_err(failed)?;
            true
        }
        Err(e) => return Err(failed(e)),
    };
    let inside = |to: &Path| Ok(to.canonicalize()?.starts_with(store.canonicalize()?));
    if inside(to).map_err(failed)? {
        if made {
            let _ = fs::remove_dir(to);
        }
        return wrong("is inside of the store itself.");
    }
    Ok(made)
}

fn copy_list(settings: &Settings, to: &Path) -> io::Result<()> {
    let Some(list) = &settings.plugins_loaded_file else {
        return Ok(());
    };
    match fs::copy(list, to.join(LOADED_PLUGINS)) {
        Ok(_) => File::open(to.join(LOADED_PLUGINS))?.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e}", list.display()))),
    }
}

/// Forces the names in `dir`, and its own, to stable storage.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Bytes of the files in `dir`.
fn size(dir: &Path) -> io::Result<u64> {
    fs::read_dir(dir)?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum()
}
