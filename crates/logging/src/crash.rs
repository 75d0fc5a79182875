//! What is written when a thread panics.

use crate::line::{MAX_MESSAGE, Message};
use crate::logger::{Entry, Shared};
use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

/// Longest backtrace, bytes.
const MAX_BACKTRACE: usize = 64 * 1024;

/// How long a panicking thread waits until its report is written.
const PATIENCE: Duration = Duration::from_secs(2);

/// From now on a panic is logged, with its backtrace, before anything else happens; what a panic
/// did before (a message on standard error) it does too.
pub(crate) fn install(shared: Arc<Shared>) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(&shared, panic);
        previous(panic);
    }));
}

fn report(shared: &Shared, panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let entry = Entry::Crash {
        time: shared.now(),
        message: Message::format(
            MAX_MESSAGE,
            format_args!(
                "thread '{}' panicked{}: {}",
                thread.name().unwrap_or("<unnamed>"),
                Place(panic),
                panic.payload_as_str().unwrap_or("no message"),
            ),
        ),
        backtrace: backtrace(),
    };
    // The writing thread itself would wait for itself; its panic is left to the previous hook.
    if !shared.is_writer(thread.id()) {
        shared.queue.put_always(entry);
        shared.queue.flush(PATIENCE);
    }
}

fn backtrace() -> String {
    let mut text = Backtrace::force_capture().to_string();
    text.truncate(text.floor_char_boundary(MAX_BACKTRACE));
    text
}

/// ` at file:line:column`, where known.
struct Place<'a>(&'a PanicHookInfo<'a>);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.location() {
            Some(location) => write!(f, " at {location}"),
            None => Ok(()),
        }
    }
}
