//! `emqttd backup DIR` and `emqttd restore DIR`.

use crate::check;
use crate::storage;
use crate::system::{complain, say};
use emqttd_config::{PersistenceSync, Settings};
use emqttd_management::backup::{self, LOADED_PLUGINS, STORE};
use emqttd_management::client::{CallError, Node, socket_in};
use emqttd_management::server::{self, Reserved};
use emqttd_management::{Bar, Progress, Watcher, figures};
use emqttd_store::{Directory, Options, Store};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Takes a backup of the node to `to`: from the broker if it runs, else from its directory. Gives the exit code.
pub fn take(node: &Node, to: &Path) -> i32 {
    let Some(name) = to.to_str() else {
        return ended(Err(format!("emqttd: {} is not UTF-8", to.display())));
    };
    let mut bar = Bar::new("backup");
    let asked = node.ask_watched(&["backup", name], &mut |progress| bar.show(progress));
    drop(bar);
    ended(match asked {
        Ok(reply) if reply.exit == 0 => Ok(reply.text),
        Ok(reply) => Err(reply.text),
        Err(CallError::NotThere) => take_alone(to),
        Err(e) => Err(format!("emqttd: {}: {e}", node.name)),
    })
}

/// Puts the backup `from` in the place of what the node has, which must not run. Gives the exit code.
pub fn restore(from: &Path) -> i32 {
    ended(put_back(from))
}

fn ended(result: Result<String, String>) -> i32 {
    match result {
        Ok(text) => {
            say(text.trim_end());
            0
        }
        Err(text) => {
            complain(text.trim_end());
            1
        }
    }
}

/// The settings of the tree that is the current directory.
fn settings() -> Result<Settings, String> {
    let loaded = check::configuration(Path::new("etc"));
    loaded.map(|l| l.settings).map_err(|lines| lines.join("\n"))
}

/// The data directory for us alone: no broker can run meanwhile.
fn alone(settings: &Settings) -> Result<Reserved, String> {
    let data = &settings.node.data_dir;
    server::reserve(&socket_in(data)).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            "emqttd: the broker runs, or starts: stop it first (bin/emqttd stop)".to_owned()
        }
        _ => format!("emqttd: node.data_dir {}: {e}", data.display()),
    })
}

/// A backup while no broker runs.
fn take_alone(to: &Path) -> Result<String, String> {
    let settings = settings()?;
    let dir = &settings.persistence.dir;
    if !dir.is_dir() {
        return Err(format!("emqttd: there is no store in {}", dir.display()));
    }
    let _alone = alone(&settings)?;
    let disk = Directory::new(dir)
        .map_err(|e| format!("emqttd: persistence.dir {}: {e}", dir.display()))?;
    let options = Options {
        segment_bytes: settings.persistence.segment_bytes,
        ..Options::default()
    };
    let (store, found) = Store::open(Arc::new(disk), options, Arc::new(|| {}))
        .map_err(|e| format!("emqttd: {e}"))?;
    found.reports.iter().for_each(storage::report);
    let bar = RefCell::new(Bar::new("backup"));
    let told = |progress: Progress| bar.borrow_mut().show(progress);
    let done = backup::take(&store, &settings, to, Watcher::new(&told));
    store.close();
    done
}

fn put_back(from: &Path) -> Result<String, String> {
    let begun = Instant::now();
    let settings = settings()?;
    let data = &settings.node.data_dir;
    fs::create_dir_all(data).map_err(|e| format!("emqttd: {}: {e}", data.display()))?;
    let _alone = alone(&settings)?;
    let dir = &settings.persistence.dir;
    let mut bar = Bar::new("restore");
    let restored = emqttd_store::backup::restore(&from.join(STORE), dir, &mut |done, total| {
        bar.show(Progress { done, total });
    });
    drop(bar);
    let restored = restored.map_err(|e| format!("emqttd: {e}"))?;
    let mut text = format!(
        "Restored {} from {} to {} in {}.\n",
        figures::bytes(restored.contents.bytes),
        from.display(),
        dir.display(),
        figures::seconds(begun.elapsed())
    );
    if let Some(aside) = restored.aside {
        text += &format!(
            "The store that was there is in {}: remove it when all is well.\n",
            aside.display()
        );
    }
    text += &put_back_list(from, &settings)?;
    if settings.persistence.sync == PersistenceSync::Off {
        text += "It will not be read: persistence.sync = off.\n";
    }
    Ok(text)
}

/// Puts the list of plugins to start back, if the backup has one that is another than ours.
fn put_back_list(from: &Path, settings: &Settings) -> Result<String, String> {
    let (copy, Some(list)) = (from.join(LOADED_PLUGINS), &settings.plugins_loaded_file) else {
        return Ok(String::new());
    };
    let failed = |e| format!("emqttd: {} was not restored: {e}", list.display());
    let kept = match fs::read(&copy) {
        Ok(kept) => kept,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(failed(e)),
    };
    if fs::read(list).is_ok_and(|ours| ours == kept) {
        return Ok(String::new());
    }
    let named = |suffix: &str| {
        let mut name = list.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (new, aside) = (named(".restoring"), named(".before-restore"));
    fs::write(&new, kept).map_err(failed)?;
    match fs::rename(list, &aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => fs::rename(&new, list).map_err(failed)?,
    }
    Ok(format!("Restored {}.\n", list.display()))
}
