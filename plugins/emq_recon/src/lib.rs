//! `emq_recon`: where memory and time of the broker go, by the words of EMQ's `recon`.
//!
//! EMQ looked into the Erlang VM; here the figures are those of the allocator, of Linux, and the broker's own.

mod memory;
mod process;
mod rows;
mod samples;

use emqttd_plugin_sdk::{Call, Config, Context, Descriptor, Plugin, Reply, StartError, Timer};
use rows::{Allocated, Peaks};
use samples::Samples;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Holders shown by `recon bin_leak`.
const HOLDERS: usize = 100;
/// What `recon node_stats` samples: so many, so far apart.
const SAMPLES: (usize, Duration) = (10, Duration::from_secs(1));

const INTERVAL: &str = "recon.gc_interval";
/// Its default.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

const USAGE: [(&str, &str); 5] = [
    ("recon memory", "recon_alloc:memory/2"),
    (
        "recon allocated",
        "recon_alloc:memory(allocated_types, current|max)",
    ),
    ("recon bin_leak", "recon:bin_leak(100)"),
    ("recon node_stats", "recon:node_stats(10, 1000)"),
    ("recon remote_load Mod", "recon:remote_load(Mod)"),
];

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_recon",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
        start,
    )
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let interval = interval(&ctx.config())?;
    let recon = Recon::new(ctx);
    let command = Arc::clone(&recon);
    ctx.command("recon", &USAGE, move |call| command.answer(call));
    let watch = Mutex::new(recon.watch(interval));
    Ok(Box::new(Running { recon, watch }))
}

/// How often peaks are looked for. A number alone is seconds, as in EMQ 2.0.
fn interval(config: &Config) -> Result<Duration, String> {
    let Some(text) = config.text(INTERVAL) else {
        return Ok(FIVE_MINUTES);
    };
    let interval = match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => config.duration(INTERVAL),
    };
    interval
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| format!("{INTERVAL}: a duration such as 5m is expected, not `{text}`"))
}

struct Running {
    recon: Arc<Recon>,
    watch: Mutex<Timer>,
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let timer = self.recon.watch(interval(&ctx.config())?);
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = timer;
        Ok(())
    }

    fn stop(&self) {
        self.recon.samples.end();
    }
}

struct Recon {
    ctx: Context,
    /// of the allocator
    peaks: Mutex<Peaks>,
    allocated: Mutex<Allocated>,
    samples: Samples,
}

impl Recon {
    fn new(ctx: &Context) -> Arc<Recon> {
        Arc::new(Recon {
            ctx: ctx.clone(),
            peaks: Mutex::default(),
            allocated: Mutex::default(),
            samples: Samples::default(),
        })
    }

    /// Looks at what the broker holds from time to time, so that the peaks of `recon allocated` are not only
    /// those of the moments at which somebody asked.
    fn watch(self: &Arc<Self>, interval: Duration) -> Timer {
        let recon = Arc::clone(self);
        self.ctx.every(interval, move || {
            let (ctx, recon) = (recon.ctx.clone(), Arc::clone(&recon));
            let look = move || {
                let figures = recon.ctx.figures();
                recon.allocated().see(&figures.held);
            };
            let blocking = ctx.clone();
            ctx.spawn(async move { blocking.blocking(look).await });
        })
    }

    fn allocated(&self) -> MutexGuard<'_, Allocated> {
        self.allocated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, call: Call<'_>) -> Reply {
        match call.args {
            ["memory"] => self.memory(),
            ["allocated"] => {
                let figures = self.ctx.figures();
                let mut allocated = self.allocated();
                allocated.see(&figures.held);
                Reply::Text(allocated.rows())
            }
            ["bin_leak"] => Reply::Text(rows::holders(&self.ctx.holders(HOLDERS))),
            ["node_stats"] => {
                let (count, apart) = SAMPLES;
                Reply::Text(self.samples.take(count, apart, || self.ctx.figures()))
            }
            ["remote_load", module] => self.remote_load(module),
            _ => Reply::Usage,
        }
    }

    fn memory(&self) -> Reply {
        match memory::look() {
            Ok(now) => {
                let mut peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
                peaks.see(now);
                Reply::Text(peaks.rows(now))
            }
            Err(error) => Reply::Failed(format!("The allocator cannot be asked: {error}\n")),
        }
    }

    /// There is no code to be sent to other nodes; a plugin in a library of its own is loaded anew.
    fn remote_load(&self, module: &str) -> Reply {
        let known = self.ctx.reloadables();
        if !known.iter().any(|what| what.name == module) {
            return Reply::Text(format!(
                "Not applicable: {module} is not a plugin that was loaded from a library. What is part of the \
                 broker changes with the broker.\n"
            ));
        }
        Reply::Text(match self.ctx.reload(module) {
            Ok(()) => format!("[{{module,{module}}}]\n"),
            Err(error) => format!("[{{error,{module}}}]\n{error}\n"),
        })
    }
}

#[cfg(test)]
mod tests;
