//! Questions that cannot be answered at once: the broker gets its answer by the ticket it gave.

use super::Guest;
use crate::wire::{self, number, request::Completion, to_broker};
use emqttd_plugin_abi::{Fault, Reply};
use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::task::AbortHandle;

/// Tickets whose questions are being worked on.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<u64, AbortHandle>>);

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits any more.
    pub fn cancel(&self, ticket: u64) {
        let task = self.lock().remove(&ticket);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Nobody waits for any of them.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.lock());
        for task in tasks.into_values() {
            task.abort();
        }
    }
}

/// Gives the answer if it is there at once; else it comes with the ticket.
pub(super) fn ask(
    guest: &Guest,
    ticket: u64,
    answer: impl Future<Output = u64> + Send + 'static,
) -> Result<Reply, Fault> {
    let mut answer = Box::pin(answer);
    let runtime = guest.runtime()?;
    let first = {
        let _inside = runtime.enter();
        answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
    if let Poll::Ready(answer) = first {
        return Ok(answer.into());
    }
    let (tickets, broker) = (Arc::clone(&guest.tickets), Arc::clone(&guest.broker));
    // Held until the ticket is in the list: the task takes it out.
    let mut list = guest.tickets.lock();
    let task = runtime.spawn(async move {
        let completion = match caught(answer).await {
            Ok(answer) => Completion {
                answer,
                panic: None,
            },
            Err(text) => Completion {
                answer: number::PENDING,
                panic: Some(text),
            },
        };
        tickets.lock().remove(&ticket);
        // A broker that has not waited so long does not know the ticket any more.
        let _ = broker.call(to_broker::COMPLETE, ticket, &wire::encode(&completion), &[]);
    });
    list.insert(ticket, task.abort_handle());
    Ok(number::PENDING.into())
}

/// A future whose panic is its result.
async fn caught<T>(mut future: Pin<Box<impl Future<Output = T> + ?Sized>>) -> Result<T, String> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(payload) => Poll::Ready(Err(text_of(&*payload))),
        }
    })
    .await
}

/// What a panic said.
pub(super) fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).into());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with something that is no text".into())
}
