//! The tokio runtime of plugins: beside the event loops, and there only once something needs it.

use emqttd_plugin_sdk::BoxFuture;
use parking_lot::Mutex;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime as Tokio};

/// Threads that poll futures of plugins.
const WORKERS: usize = 2;
/// Most threads that poll futures of gateways.
const GATEWAYS: usize = 4;
/// Threads for work that blocks (`Context::blocking`); more of it waits its turn.
const BLOCKING: usize = 16;

/// Where futures of plugins run; those of gateways ([`Descriptor::gateway`](emqttd_plugin_sdk::Descriptor::gateway))
/// by themselves.
///
/// Of several threads one waits for sockets and the others for work; what comes from an event loop wakes one of the
/// others, and then that one and the first go on side by side. A single thread does both, and a message of a gateway
/// needs half of the switches. So there is a thread of theirs for every two processors, and nobody else's work in the
/// way.
#[derive(Default)]
pub(crate) struct Runtime {
    plugins: Mutex<State>,
    gateways: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Unused,
    Runs(Tokio),
    Ended,
}

impl State {
    /// Starts it if nobody has needed it before.
    fn handle(&mut self, threads: usize, name: &str) -> io::Result<Handle> {
        if matches!(self, State::Unused) {
            *self = State::Runs(
                Builder::new_multi_thread()
                    .worker_threads(threads)
                    .max_blocking_threads(BLOCKING)
                    .thread_name(name)
                    .enable_all()
                    .build()?,
            );
        }
        match self {
            State::Runs(tokio) => Ok(tokio.handle().clone()),
            _ => Err(io::Error::other("the broker stops")),
        }
    }

    fn tasks(&self) -> u64 {
        match self {
            State::Runs(tokio) => tokio.metrics().num_alive_tasks() as u64,
            _ => 0,
        }
    }
}

impl Runtime {
    /// That of plugins.
    ///
    /// # Errors
    /// When the system gives no threads, or it has been ended.
    pub fn handle(&self) -> io::Result<Handle> {
        self.plugins.lock().handle(WORKERS, "plugins")
    }

    /// That of gateways.
    ///
    /// # Errors
    /// As [`Runtime::handle`].
    pub fn of_gateways(&self) -> io::Result<Handle> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).clamp(1, GATEWAYS);
        self.gateways.lock().handle(threads, "gateways")
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> u64 {
        self.plugins.lock().tasks() + self.gateways.lock().tasks()
    }

    /// Ends all tasks; waits a little for work that blocks.
    pub fn end(&self) {
        for state in [&self.gateways, &self.plugins] {
            let ended = std::mem::replace(&mut *state.lock(), State::Ended);
            if let State::Runs(tokio) = ended {
                tokio.shutdown_timeout(Duration::from_secs(1));
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Not the waiting that dropping it would do: this may be one of its own threads.
        for state in [&mut self.gateways, &mut self.plugins] {
            if let State::Runs(tokio) = std::mem::replace(state.get_mut(), State::Ended) {
                tokio.shutdown_background();
            }
        }
    }
}

impl emqttd_broker::Executor for Runtime {
    fn spawn(&self, future: BoxFuture<()>) {
        match self.handle() {
            Ok(handle) => drop(handle.spawn(future)),
            // Dropping it is no answer: the connection that waits for one ends with the broker.
            Err(error) => log::warn!("a question to plugins is not answered: {error}"),
        }
    }
}
