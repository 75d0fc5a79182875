//! An attempt to connect that leaves nothing behind when it fails.
//!
//! The driver says goodbye to a server by a task of its own when a connection is dropped, also when that has never
//! been one. Over a connection whose TLS handshake failed that task panics, and over one that hangs it waits for
//! ever. Nobody needs a goodbye from a connection that is given up: here it is spawned on a runtime that has
//! ended, and is dropped there with the socket.

use mysql_async::{Conn, Error, Opts};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use tokio::runtime::{Builder, EnterGuard, Handle};

/// Until it is dropped, tasks that this thread spawns end before they begin.
pub(crate) fn no_tasks() -> Option<EnterGuard<'static>> {
    static ENDED: OnceLock<Option<Handle>> = OnceLock::new();
    let ended = ENDED.get_or_init(|| {
        let runtime = Builder::new_current_thread().build().ok()?;
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        Some(handle)
    });
    ended.as_ref().map(Handle::enter)
}

/// Closes a connection at once, whatever the server is doing.
pub(crate) fn drop_at_once(conn: Conn) {
    let _guard = no_tasks();
    drop(conn);
}

type Connecting = Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send>>;

/// Connects to one address.
pub(crate) struct Attempt {
    connecting: Connecting,
    /// the socket exists: from here on no runtime is needed
    begun: bool,
}

impl Attempt {
    /// `opts` name an address, not a host to be looked up.
    pub fn new(opts: Opts) -> Attempt {
        Attempt {
            connecting: Conn::new(opts),
            begun: false,
        }
    }
}

impl Future for Attempt {
    /// `None` = what the server sent made the driver panic
    type Output = Option<Result<Conn, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _guard = self.begun.then(no_tasks);
        self.begun = true;
        let connecting = self.connecting.as_mut();
        match catch_unwind(AssertUnwindSafe(|| connecting.poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _guard = no_tasks();
        self.connecting = Box::pin(std::future::pending());
    }
}

#[cfg(test)]
mod tests;
