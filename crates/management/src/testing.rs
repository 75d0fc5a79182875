//! A broker without sockets, for tests: event loops that do nothing but answer mail.

#![allow(clippy::unwrap_used)]

use crate::commands::plugins::{PluginControl, PluginDone, PluginError, PluginRow};
use crate::{Cli, Core};
use emqttd_broker::{Alarm, Broker, Shard, Storage};
use emqttd_config::Config;
use emqttd_plugin_sdk::Entry;
use emqttd_store::Directory;
use parking_lot::Mutex;
use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;
use tempfile::TempDir;

/// The plugin that the tests have.
pub const PLUGIN: &str = "emq_web_hook";

pub struct Site {
    pub core: Core,
    pub plugins: Arc<OnePlugin>,
    /// goes last
    pub dir: TempDir,
}

impl Site {
    /// With the defaults, and `mqtt.acl_nomatch = allow`.
    pub fn new() -> Site {
        Site::with("")
    }

    /// With further lines of `emq.conf`.
    pub fn with(lines: &str) -> Site {
        Site::open(tempfile::tempdir().unwrap(), lines, false)
    }

    /// On a real disk, where an earlier one may have been.
    pub fn stored(dir: TempDir) -> Site {
        Site::stored_with(dir, "")
    }

    /// The same with further lines of `emq.conf`.
    pub fn stored_with(dir: TempDir, lines: &str) -> Site {
        Site::open(dir, lines, true)
    }

    /// Ends a broker of [`Site::stored`]. Its directory can be opened again.
    pub fn end(self) -> TempDir {
        self.core.broker.store().unwrap().close();
        self.dir
    }

    fn open(dir: TempDir, lines: &str, stored: bool) -> Site {
        let etc = dir.path().join("etc");
        fs::create_dir_all(etc.join("plugins")).unwrap();
        let log = dir.path().join("log");
        let text = format!(
            "node.name = emq@127.0.0.1\nmqtt.acl_nomatch = allow\nlog.dir = {}\nnode.data_dir = {}\n{lines}",
            log.display(),
            dir.path().display()
        );
        fs::write(etc.join("emq.conf"), text).unwrap();
        let hook = etc.join("plugins/emq_web_hook.conf");
        fs::write(hook, "web.hook.api.url = http://127.0.0.1:1\n").unwrap();
        let loaded = emqttd_config::load(&etc, std::iter::empty()).unwrap();
        let storage = match stored {
            true => {
                let settings = &loaded.settings.persistence;
                let disk = Directory::new(&settings.dir).unwrap();
                Storage::open(Arc::new(disk), settings).unwrap()
            }
            false => None,
        };
        let (broker, shards) = Broker::open(loaded.settings, 1, storage).unwrap();
        shards.into_iter().for_each(drive);
        let core = Core::new(broker, Arc::new(Mutex::new(loaded.config)));
        Site {
            plugins: Arc::new(OnePlugin::new(Arc::clone(&core.config), etc)),
            core,
            dir,
        }
    }

    /// With the plugin [`PLUGIN`], which runs.
    pub fn with_plugin() -> Site {
        let site = Site::new();
        site.core.set_plugins(Arc::clone(&site.plugins) as _);
        site.plugins.load(PLUGIN).unwrap();
        site
    }

    /// The alarm of that name, when it holds.
    pub fn alarm(&self, id: &str) -> Option<Alarm> {
        // Behind what was posted before.
        self.core.broker.acl_reload().unwrap();
        self.core.broker.alarms().into_iter().find(|a| a.id == id)
    }

    /// The commands of the core.
    pub fn cli(&self) -> Arc<Cli> {
        crate::core(&self.core)
    }
}

/// One event loop; it ends when the test does.
pub fn drive(mut shard: Shard) {
    let (wake, woken) = mpsc::channel();
    shard.set_waker(Box::new(move || {
        let _ = wake.send(());
    }));
    thread::spawn(move || {
        while woken.recv().is_ok() {
            shard.begin_round();
            shard.receive();
            shard.post();
        }
    });
}

type Meanwhile = Box<dyn FnOnce() + Send>;

/// Runs [`PLUGIN`], or does not, as the manager of plugins would.
pub struct OnePlugin {
    config: Arc<Mutex<Config>>,
    etc: std::path::PathBuf,
    runs: Mutex<bool>,
    /// why it takes no other values
    refuses: Mutex<Option<&'static str>>,
    /// the values with which it does not start
    cannot: Mutex<Option<&'static str>>,
    /// what happens while it is loaded anew
    meanwhile: Mutex<Option<Meanwhile>>,
    /// somebody unloads it just before it is loaded anew
    vanishes: Mutex<bool>,
    /// what it was last told
    pub told: Mutex<Vec<Entry>>,
}

impl OnePlugin {
    fn new(config: Arc<Mutex<Config>>, etc: std::path::PathBuf) -> OnePlugin {
        OnePlugin {
            config,
            etc,
            runs: Mutex::new(false),
            refuses: Mutex::new(None),
            cannot: Mutex::new(None),
            meanwhile: Mutex::new(None),
            vanishes: Mutex::new(false),
            told: Mutex::default(),
        }
    }

    /// From now on it does not take values, or does.
    pub fn refuse(&self, why: Option<&'static str>) {
        *self.refuses.lock() = why;
    }

    /// It does not start with a value that has this in it.
    pub fn cannot_start_with(&self, part: &'static str) {
        *self.cannot.lock() = Some(part);
    }

    /// The next time that it is loaded anew, this happens between its end and its start.
    pub fn meanwhile(&self, f: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some(Box::new(f));
    }

    /// The next time that it is to be loaded anew, somebody else has unloaded it.
    pub fn vanish(&self) {
        *self.vanishes.lock() = true;
    }

    /// What a key was last told to be.
    pub fn value(&self, key: &str) -> Option<String> {
        let told = self.told.lock();
        let found = told.iter().find(|entry| entry.key == key);
        found.map(|entry| entry.value.clone())
    }
}

impl PluginControl for OnePlugin {
    fn list(&self) -> Vec<PluginRow> {
        vec![PluginRow {
            name: PLUGIN.into(),
            version: "1.0".into(),
            description: "For tests".into(),
            active: *self.runs.lock(),
        }]
    }

    fn load(&self, name: &str) -> Result<PluginDone, PluginError> {
        assert_eq!(name, PLUGIN);
        if *self.runs.lock() {
            return Err(PluginError::AlreadyStarted);
        }
        let given = self.config.lock().plugin_overrides(name);
        let none = std::iter::empty();
        let keys = emqttd_config::load_plugin_with(&self.etc, name, &[], none, &given).unwrap();
        let cannot = *self.cannot.lock();
        let is_bad = |entry: &Entry| cannot.is_some_and(|part| entry.value.contains(part));
        if keys.entries.iter().any(is_bad) {
            return Err(PluginError::Failed {
                app: name.into(),
                reason: "it cannot\n".into(),
            });
        }
        *self.told.lock() = keys.entries.clone();
        self.config.lock().plugin_loaded(name, keys);
        *self.runs.lock() = true;
        Ok(PluginDone::default())
    }

    fn unload(&self, name: &str) -> Result<PluginDone, PluginError> {
        assert_eq!(name, PLUGIN);
        self.config.lock().plugin_unloaded(name);
        *self.runs.lock() = false;
        Ok(PluginDone::default())
    }

    fn reload(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.unload(name)?;
        if std::mem::take(&mut *self.vanishes.lock()) {
            return Err(PluginError::NotStarted);
        }
        let meanwhile = self.meanwhile.lock().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.load(name)
    }

    fn show(&self, _: &str) -> Option<Vec<(String, String)>> {
        None
    }

    fn reconfigure(&self, _: &str, entries: Vec<Entry>) -> Result<(), String> {
        // It may take long.
        assert!(!self.config.is_locked(), "the configuration is held");
        if let Some(why) = *self.refuses.lock() {
            return Err(why.into());
        }
        *self.told.lock() = entries;
        Ok(())
    }
}
