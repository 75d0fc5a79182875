//! What is slow to make is made once, kept below the target directory, and copied for each instance.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::process::scratch_dir;
use super::{run, target};

/// To be raised when a recipe changes in a way that its `version` does not show.
const RECIPES: u32 = 1;

/// The directory that `make` filled, now or in an earlier run with the same `name` and `version`.
///
/// `make` works in a temporary directory, because other users, as which servers run, may not enter ours.
pub fn keep(name: &str, version: &str, make: impl FnOnce(&Path)) -> PathBuf {
    // A lock on a file is between processes, and between the threads of this one as well only if each
    // opens the file anew, which they do; the mutex spares them the wait in the kernel.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut hasher = DefaultHasher::new();
    // What root made, belongs to users that others cannot become.
    let user = rustix::process::geteuid().as_raw();
    (RECIPES, version, user).hash(&mut hasher);
    let all = target().join("servers");
    let kept = all.join(format!("{name}-{:016x}", hasher.finish()));
    if kept.is_dir() {
        return kept;
    }
    fs::create_dir_all(&all).unwrap();
    let lock = File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    if kept.is_dir() {
        return kept;
    }
    let scratch = scratch_dir("template");
    let made = scratch.join("made");
    fs::create_dir(&made).unwrap();
    make(&made);
    let half = all.join(format!("{name}.new"));
    let _ = fs::remove_dir_all(&half);
    copy(&made, &half);
    fs::rename(&half, &kept).unwrap();
    let _ = fs::remove_dir_all(&scratch);
    kept
}

/// Copies a directory with owners and modes; `to` is made.
pub(super) fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.args(["--reflink=auto", "-a", "--"]).arg(from);
    run(command.arg(to), "");
}
