//! A message on its way to the broker, and why one is not.

use super::{Failed, Inner, LONG, SOON};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// Why a message was not published by [`VirtualClient::try_publish`](super::VirtualClient::try_publish).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotNow {
    /// The broker takes no packets now, or as many messages as may be are without acknowledgement.
    Busy,
    /// The connection has ended, with that reason.
    Closed(String),
    /// It cannot be said in MQTT.
    Invalid(&'static str),
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotNow::Busy => f.write_str("the broker has no room for it now"),
            NotNow::Closed(reason) => write!(f, "closed: {reason}"),
            NotNow::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for NotNow {}

/// A message that is on its way; a future of the reason code, as that of
/// [`VirtualClient::publish`](super::VirtualClient::publish). Dropping it does not call the message back.
#[must_use = "the reason code is known when it is awaited"]
pub struct Publishing(Option<Waiting>);

struct Waiting {
    inner: Arc<Inner>,
    answer: oneshot::Receiver<u8>,
    serial: u64,
    /// when the broker will be asked what has become of it; there once it was polled, and only where it may be silent
    asking: Option<Timer>,
}

/// A timer, and the runtime that it is of.
struct Timer {
    runtime: runtime::Id,
    sleep: Pin<Box<Sleep>>,
}

thread_local! {
    /// Timers of messages that have been acknowledged, for the next ones of this thread. They stay set: putting off one
    /// that is set costs nothing, where each new one that would ring before all others wakes the runtime, so that it
    /// waits anew, and less long.
    static SPARE: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// Timers that are kept.
const SPARES: usize = 32;

impl Timer {
    /// Rings [`SOON`].
    fn soon() -> Timer {
        let runtime = Handle::current().id();
        let spare = SPARE.with_borrow_mut(Vec::pop);
        // Those of a runtime that has ended are of no use.
        if let Some(mut timer) = spare.filter(|timer| timer.runtime == runtime) {
            timer.sleep.as_mut().reset(Instant::now() + SOON);
            return timer;
        }
        Timer {
            runtime,
            sleep: Box::pin(tokio::time::sleep(SOON)),
        }
    }

    fn keep(self) {
        // Not where the thread ends.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(self);
            }
        });
    }
}

impl Publishing {
    /// Nobody will say more about it.
    pub(super) fn done() -> Publishing {
        Publishing(None)
    }

    /// The acknowledgement of the message with that serial number is awaited.
    pub(super) fn new(
        inner: &Arc<Inner>,
        answer: oneshot::Receiver<u8>,
        serial: u64,
    ) -> Publishing {
        Publishing(Some(Waiting {
            inner: Arc::clone(inner),
            answer,
            serial,
            asking: None,
        }))
    }
}

impl Future for Publishing {
    type Output = Result<u8, Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiting) = &mut self.0 else {
            return Poll::Ready(Ok(0));
        };
        loop {
            if let Poll::Ready(answer) = Pin::new(&mut waiting.answer).poll(context) {
                if let Some(timer) = waiting.asking.take() {
                    timer.keep();
                }
                return Poll::Ready(answer.map_err(|_| waiting.inner.failed()));
            }
            if waiting.inner.always_answers {
                return Poll::Pending;
            }
            let asking = waiting.asking.get_or_insert_with(Timer::soon);
            let asking = &mut asking.sleep;
            ready!(asking.as_mut().poll(context));
            asking.as_mut().reset(Instant::now() + LONG);
            waiting.inner.ask_after(Some(waiting.serial));
        }
    }
}
