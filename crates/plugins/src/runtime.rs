//! The tokio runtime of plugins: beside the event loops, and there only once something needs it.

use emqttd_plugin_sdk::BoxFuture;
use parking_lot::Mutex;
use std::io;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime as Tokio};

/// Threads that poll futures of plugins.
const WORKERS: usize = 2;
/// Threads for work that blocks (`Context::blocking`); more of it waits its turn.
const BLOCKING: usize = 16;

/// Where futures of plugins run.
#[derive(Default)]
pub(crate) struct Runtime(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Unused,
    Runs(Tokio),
    Ended,
}

impl Runtime {
    /// Starts it if nobody has needed it before.
    ///
    /// # Errors
    /// When the system gives no threads, or it has been ended.
    pub fn handle(&self) -> io::Result<Handle> {
        let mut state = self.0.lock();
        if matches!(*state, State::Unused) {
            *state = State::Runs(
                Builder::new_multi_thread()
                    .worker_threads(WORKERS)
                    .max_blocking_threads(BLOCKING)
                    .thread_name("plugins")
                    .enable_all()
                    .build()?,
            );
        }
        match &*state {
            State::Runs(tokio) => Ok(tokio.handle().clone()),
            _ => Err(io::Error::other("the broker stops")),
        }
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> u64 {
        match &*self.0.lock() {
            State::Runs(tokio) => tokio.metrics().num_alive_tasks() as u64,
            _ => 0,
        }
    }

    /// Ends all tasks; waits a little for work that blocks.
    pub fn end(&self) {
        let ended = std::mem::replace(&mut *self.0.lock(), State::Ended);
        if let State::Runs(tokio) = ended {
            tokio.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Not the waiting that dropping it would do: this may be one of its own threads.
        if let State::Runs(tokio) = std::mem::replace(self.0.get_mut(), State::Ended) {
            tokio.shutdown_background();
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
