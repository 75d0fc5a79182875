//! `emq_reloader`: loads anew what has changed on disk while the broker runs.
//!
//! EMQ's reloader looked for changed Erlang modules. Here a *module* is what the broker names in
//! [`Context::reloadables`]: `acl`, `certs`, plugins from libraries, what plugins have added. What cannot be
//! loaded leaves the old in its place.

mod journal;
mod watch;

use emqttd_plugin_sdk::{Call, Config, Context, Descriptor, Plugin, Reply, StartError, Timer};
use journal::Journal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use watch::Watch;

const INTERVAL: &str = "reloader.interval";
const LOGFILE: &str = "reloader.logfile";

/// Defaults of the keys.
const MINUTE: Duration = Duration::from_secs(60);
const LOG: &str = "reloader.log";

/// How long a file must not have changed before it is taken for whole.
const SETTLED: Duration = Duration::from_millis(200);

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_reloader",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
        start,
    )
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let config = ctx.config();
    let interval = interval(&config)?;
    let file = logfile(&ctx.log_dir(), config.text(LOGFILE).unwrap_or(LOG));
    let journal = Journal::open(&file)
        .map_err(|error| format!("{LOGFILE}: {} cannot be written: {error}", file.display()))?;
    let reloader = Reloader::new(ctx, journal);
    let command = Arc::clone(&reloader);
    let usage = [("reload <Module>", "Reload a Module")];
    ctx.command("reload", &usage, move |call| command.answer(call));
    Ok(Box::new(Running {
        _timer: interval.map(|interval| reloader.every(interval)),
    }))
}

/// Time between looks at the files; `None` = never. A number alone is seconds, as in EMQ 2.0.
fn interval(config: &Config) -> Result<Option<Duration>, String> {
    let Some(text) = config.text(INTERVAL) else {
        return Ok(Some(MINUTE));
    };
    let interval = match text.trim().parse::<i64>() {
        Ok(seconds) => u64::try_from(seconds).map_or(Some(Duration::ZERO), |seconds| {
            Some(Duration::from_secs(seconds))
        }),
        Err(_) => config.duration(INTERVAL),
    };
    interval
        .map(|interval| (!interval.is_zero()).then_some(interval))
        .ok_or_else(|| format!("{INTERVAL}: a duration such as 60s is expected, not `{text}`"))
}

/// Below the directory of log files; EMQ's own default, `log/reloader.log`, says that already.
fn logfile(dir: &Path, name: &str) -> PathBuf {
    dir.join(
        Path::new(name)
            .strip_prefix("log")
            .unwrap_or(Path::new(name)),
    )
}

struct Running {
    _timer: Option<Timer>,
}

impl Plugin for Running {}

struct Reloader {
    ctx: Context,
    journal: Journal,
    watch: Mutex<Watch>,
}

impl Reloader {
    fn new(ctx: &Context, journal: Journal) -> Arc<Reloader> {
        Arc::new(Reloader {
            ctx: ctx.clone(),
            journal,
            watch: Mutex::default(),
        })
    }

    /// Looks at the files from time to time; what they are now is not loaded again.
    fn every(self: &Arc<Self>, interval: Duration) -> Timer {
        self.watch().look(self.ctx.reloadables());
        let reloader = Arc::clone(self);
        self.ctx.every(interval, move || {
            let (ctx, reloader) = (reloader.ctx.clone(), Arc::clone(&reloader));
            let blocking = ctx.clone();
            ctx.spawn(async move { blocking.blocking(move || reloader.look()).await });
        })
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads what has changed since the last look.
    fn look(&self) {
        // The look before this one may still be at work, as with a large plugin.
        let Ok(mut watch) = self.watch.try_lock() else {
            return;
        };
        for module in watch.look_settled(|| self.ctx.reloadables(), SETTLED) {
            let text = self.load(&module);
            log::info!("{text}");
        }
    }

    /// Loads a module anew; the sentence that says what became of it.
    fn load(&self, module: &str) -> String {
        let text = match self.ctx.reload(module) {
            Ok(()) => format!("Reload module {module} successfully."),
            // The sentence has its own full stop.
            Err(error) => {
                let reason = error.0.trim_end().trim_end_matches('.');
                format!("Failed to reload module {module}: {reason}.")
            }
        };
        self.journal.write(&text);
        text
    }

    fn answer(&self, call: Call<'_>) -> Reply {
        let [module] = call.args else {
            return Reply::Usage;
        };
        // What is loaded now is not to be loaded again by the next look.
        let mut watch = self.watch();
        watch.seen(module, self.ctx.reloadables());
        Reply::Text(self.load(module) + "\n")
    }
}

#[cfg(test)]
mod tests;
