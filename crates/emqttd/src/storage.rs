//! The store of the broker: opened before anything else, closed last.

use crate::system::{complain, say};
use emqttd_broker::{Broker, Shard, Storage};
use emqttd_config::{Persistence, PersistenceSync, Settings};
use emqttd_management::{figures, persistence};
use emqttd_store::{Directory, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Closes the store when it goes. It has to go after the event loops, so that what they did last is
/// stored, and before the data directory is given to another node.
pub struct Closing(Option<Store>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(store) = &self.0 {
            store.close();
        }
    }
}

/// A broker with what its store holds, and one line on standard output about that.
///
/// # Errors
/// When the store cannot be opened, or acl.conf cannot be used.
pub fn open(
    settings: &Settings,
    shards: usize,
) -> Result<(Broker, Vec<Shard>, Closing), Vec<String>> {
    let begun = Instant::now();
    let storage = open_store(&settings.persistence).map_err(|e| vec![e])?;
    let owed = storage.as_ref().map(|storage| {
        storage.recovered.reports.iter().for_each(report);
        let owners = storage.recovered.owners.iter();
        owners.map(|owner| owner.owed).sum::<u64>()
    });
    let (broker, shards) = Broker::open(settings.clone(), shards, storage).map_err(|e| vec![e])?;
    let closing = Closing(broker.store());
    let mut line = format!(
        "persistence: {}",
        persistence::mode(settings.persistence.sync)
    );
    if let Some(owed) = owed {
        let stats = broker.stats();
        let sessions = stats.iter().find(|(name, _)| *name == "sessions/count");
        line += &format!(
            ", {}, {} sessions, {} messages owed, opened in {}",
            settings.persistence.dir.display(),
            figures::count(sessions.map_or(0, |(_, n)| *n)),
            figures::count(owed),
            figures::seconds(begun.elapsed())
        );
    }
    say(&line);
    log::info!("{line}");
    Ok((broker, shards, closing))
}

fn open_store(settings: &Persistence) -> Result<Option<Storage>, String> {
    if settings.sync == PersistenceSync::Off {
        return Ok(None);
    }
    let dir = &settings.dir;
    let disk = Directory::new(dir)
        .map_err(|e| format!("emqttd: persistence.dir {}: {e}", dir.display()))?;
    Storage::open(Arc::new(disk), settings).map_err(|e| format!("emqttd: {e}"))
}

/// What was not as it should be in the store: to be seen wherever somebody looks.
pub fn report(sentence: &String) {
    complain(format_args!("WARNING: the store: {sentence}"));
    log::error!("the store: {sentence}");
}

/// Why `dir` could not hold the store, as far as one can see without touching it.
pub enum Unusable {
    /// Nobody could write there.
    NoDirectory(PathBuf),
    /// Who asks may not; who runs the broker perhaps may.
    NoPermission(PathBuf),
}

/// Whether the store could be in `dir`, which need not be there yet.
pub fn look_at(dir: &Path) -> Option<Unusable> {
    use rustix::fs::{Access, access};
    let there = dir.ancestors().find(|path| path.symlink_metadata().is_ok());
    // The empty path is the current directory, where relative paths begin.
    let there = there
        .filter(|path| path.as_os_str() != "")
        .unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Some(Unusable::NoDirectory(there.to_owned()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK)
        .is_err()
        .then(|| Unusable::NoPermission(there.to_owned()))
}
