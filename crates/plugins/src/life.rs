//! One life of a plugin, from its start to its end.

use crate::desk::Site;
use crate::guard::{Guard, panic_text};
use crate::registered::{End, NativeHost, Refusals};
use crate::wrap::ASK_TIMEOUT;
use emqttd_plugin_sdk::{Config, Context, Descriptor, Plugin, StartError};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// For a plugin to start; less than `emqttd_ctl` waits for an answer.
pub const START_PATIENCE: Duration = Duration::from_secs(50);
/// The same when the broker starts: nobody waits at a prompt, and much may have to be read from the disk.
pub const START_PATIENCE_AT_BOOT: Duration = Duration::from_secs(600);
/// For calls of a plugin to end when it is unloaded: a little more than an answer may take.
pub const DRAIN_PATIENCE: Duration = ASK_TIMEOUT.saturating_add(Duration::from_millis(500));
/// For a plugin to stop, and for it to take a changed key; for all plugins together when the broker stops.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether a plugin is still waited for.
const STEP: Duration = Duration::from_millis(50);

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// it is part of the program
    BuiltIn,
    /// it is loaded from a library
    Library {
        /// the file
        path: PathBuf,
        /// versions of the ABI, the kit and the compiler
        made_with: String,
    },
}

/// A plugin that runs, or has run.
pub(crate) struct Life {
    pub descriptor: Descriptor,
    pub source: Source,
    pub guard: Arc<Guard>,
    pub context: Context,
    pub host: Arc<NativeHost>,
    pub since: Instant,
    plugin: Mutex<Option<Arc<dyn Plugin>>>,
}

/// What a bounded piece of work came to.
enum Ended<T> {
    Well(T),
    Panicked(String),
    /// it goes on, on its own thread
    NotYet,
}

/// A piece of work on a thread of its own. What it gives when nobody waits any more is dropped on that thread.
struct Work<T>(Receiver<thread::Result<T>>);

impl<T: Send + 'static> Work<T> {
    fn begin(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Work<T>> {
        let (sender, result) = sync_channel(1);
        thread::Builder::new().name(name.into()).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            // Nobody may be waiting any more. What is dropped then is the plugin's.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(sender.send(result))));
        })?;
        Ok(Work(result))
    }

    fn wait(&self, patience: Duration) -> Ended<T> {
        match self.0.recv_timeout(patience) {
            Ok(Ok(value)) => Ended::Well(value),
            Ok(Err(panic)) => Ended::Panicked(panic_text(&*panic).to_string()),
            Err(RecvTimeoutError::Timeout) => Ended::NotYet,
            Err(RecvTimeoutError::Disconnected) => Ended::Panicked("it ended".into()),
        }
    }
}

/// Runs `work` on a thread of its own, and waits for it at the most so long.
fn bounded<T: Send + 'static>(
    name: &str,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Ended<T> {
    match Work::begin(name, work) {
        Ok(work) => work.wait(patience),
        Err(error) => Ended::Panicked(format!("no thread: {error}")),
    }
}

/// The same, and it waits no more once the broker stops.
fn bounded_by(
    stopping: &AtomicBool,
    name: &str,
    patience: Duration,
    start: impl FnOnce() -> Started + Send + 'static,
) -> Ended<Started> {
    let work = match Work::begin(name, start) {
        Ok(work) => work,
        Err(error) => return Ended::Panicked(format!("no thread: {error}")),
    };
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match work.wait(left.min(STEP)) {
            Ended::NotYet if !left.is_zero() && !stopping.load(Ordering::SeqCst) => {}
            ended => return ended,
        }
    }
}

/// A plugin, or why it does not start; nothing when it panicked.
type Started = Option<Result<Arc<dyn Plugin>, StartError>>;

impl Life {
    /// Starts a plugin. What it registers is not in force before [`NativeHost::commit`].
    ///
    /// # Errors
    /// Why it does not start; nothing of it is left then.
    pub fn start(
        descriptor: Descriptor,
        source: Source,
        guard: Arc<Guard>,
        host: Arc<NativeHost>,
        runtime: tokio::runtime::Handle,
        patience: Duration,
        stopping: &AtomicBool,
    ) -> Result<Life, String> {
        let context = Context::new(Arc::clone(&host) as _, runtime.clone());
        let started = {
            let (start, context, guard) = (
                Arc::clone(&descriptor.start),
                context.clone(),
                Arc::clone(&guard),
            );
            bounded_by(stopping, "plugin-start", patience, move || {
                let _inside = runtime.enter();
                let plugin = guard.call(Site::Start, || start(&context));
                // After the time it is dropped here, and nobody stops it.
                plugin.map(|result| result.map(Arc::<dyn Plugin>::from))
            })
        };
        let reason = match started {
            Ended::Well(Some(Ok(plugin))) => {
                return Ok(Life {
                    descriptor,
                    source,
                    guard,
                    context,
                    host,
                    since: Instant::now(),
                    plugin: Mutex::new(Some(plugin)),
                });
            }
            Ended::Well(Some(Err(error))) => error.0,
            Ended::Well(None) => "it panicked while it started; see the log".to_string(),
            Ended::Panicked(why) => why,
            Ended::NotYet if stopping.load(Ordering::SeqCst) => "the broker stops".to_string(),
            Ended::NotYet => format!("it has not started within {} s", patience.as_secs()),
        };
        guard.close();
        host.withdraw(End::Unload);
        context.end_tasks();
        host.clear();
        Err(reason)
    }

    /// Ends it: first nothing calls it any more, then what is under way comes to its end, then it stops. Gives
    /// the chain entries that refuse in its place, and what the operator should know.
    pub fn retire(&self, end: End) -> (Refusals, Option<String>) {
        let mut retiring = self.begin_retiring(end, DRAIN_PATIENCE);
        retiring.wait(STOP_PATIENCE);
        retiring.conclude(self)
    }

    /// The same as far as to the beginning of the plugin's stop, for which nobody waits yet. `drain` is for the
    /// calls that are under way.
    pub fn begin_retiring(&self, end: End, drain: Duration) -> Retiring {
        let refusals = self.host.withdraw(end);
        let quiet = wait_until(drain, || self.host.is_quiet());
        self.guard.close();
        let plugin = self.plugin.lock().take();
        let (guard, context, host) = (
            Arc::clone(&self.guard),
            self.context.clone(),
            Arc::clone(&self.host),
        );
        let work = Work::begin("plugin-stop", move || {
            let Some(plugin) = plugin else { return };
            guard.call_even_closed(Site::Stop, || plugin.stop());
            context.end_tasks();
            if quiet {
                host.clear();
                guard.call_even_closed(Site::Stop, || drop(plugin));
            } else {
                // Somebody is still in it: it must stay where it is.
                std::mem::forget(plugin);
            }
        });
        let (work, stopped) = match work {
            Ok(work) => (Some(work), Ended::NotYet),
            Err(error) => (None, Ended::Panicked(format!("no thread: {error}"))),
        };
        Retiring {
            refusals,
            quiet,
            work,
            stopped,
        }
    }

    /// Gives it other values of its keys.
    ///
    /// # Errors
    /// Why it does not take them; it has the former again then.
    pub fn reconfigure(&self, config: Config) -> Result<(), String> {
        let Some(plugin) = self.plugin.lock().clone() else {
            return Err("it is being unloaded".into());
        };
        let former = self.host.set_config(config);
        let (guard, context) = (Arc::clone(&self.guard), self.context.clone());
        let taken = bounded("plugin-set", STOP_PATIENCE, move || {
            guard.call(Site::Reconfigure, || plugin.reconfigure(&context))
        });
        let why = match taken {
            Ended::Well(Some(Ok(()))) => return Ok(()),
            Ended::Well(Some(Err(why))) | Ended::Panicked(why) => why,
            Ended::Well(None) => "it panicked, or is switched off; see the log".into(),
            Ended::NotYet => "it has not answered".into(),
        };
        self.host.set_config(former);
        Err(why)
    }
}

/// A plugin that is called no more and stops.
pub(crate) struct Retiring {
    refusals: Refusals,
    /// no call is under way
    quiet: bool,
    work: Option<Work<()>>,
    stopped: Ended<()>,
}

impl Retiring {
    /// Waits for its end at the most so long.
    pub fn wait(&mut self, patience: Duration) {
        if let (Some(work), Ended::NotYet) = (&self.work, &self.stopped) {
            self.stopped = work.wait(patience);
        }
    }

    /// It is waited for no more.
    pub fn conclude(self, life: &Life) -> (Refusals, Option<String>) {
        let name = &life.guard.name;
        let note = match (self.quiet, self.stopped) {
            (true, Ended::Well(())) => None,
            (true, Ended::Panicked(why)) => Some(format!("{name} could not be stopped: {why}")),
            (true, Ended::NotYet) => Some(format!(
                "{name} has not stopped within {} s: its code stays in memory",
                STOP_PATIENCE.as_secs()
            )),
            (false, _) => Some(format!(
                "calls of {name} are still under way: its code stays in memory"
            )),
        };
        life.context.end_tasks();
        if let Some(note) = &note {
            log::warn!("plugin {note}");
        }
        (self.refusals, note)
    }
}

/// Waits until something holds; `false` when it still does not after that time.
fn wait_until(most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + most;
    let mut pause = Duration::from_micros(100);
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        // What it waits for are counts that fall without telling anybody.
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn work_is_bounded_and_what_it_gives_too_late_is_dropped() {
        struct Told(std::sync::mpsc::Sender<&'static str>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send("dropped");
            }
        }
        let (sender, told) = channel();
        let (go, gate) = channel::<()>();
        let late = bounded("t", Duration::from_millis(10), move || {
            let _ = gate.recv();
            Told(sender)
        });
        assert!(matches!(late, Ended::NotYet));
        assert!(told.try_recv().is_err());
        assert!(go.send(()).is_ok());
        assert_eq!(told.recv(), Ok("dropped"));
        let patience = Duration::from_secs(20);
        assert!(matches!(bounded("t", patience, || 3), Ended::Well(3)));
        let panics = bounded("t", patience, || panic!("on purpose"));
        assert!(matches!(panics, Ended::<()>::Panicked(why) if why == "on purpose"));
    }
}
