//! One client's session as a pure machine.
//!
//! Packets, deliveries and the time go in; packets come out through a [`Sink`], effects as return
//! values. There is no socket, clock, thread or log in here, so that a simulator can drive it through
//! any order of events. Times are milliseconds of whatever monotonic clock the caller has.

mod backlog;
mod flows;
mod ids;
mod message;
mod queue;
mod seqs;
mod session;
mod sink;
mod subscriptions;

pub use message::{Delivery, GroupRef, Message, MessageParts, Publisher};
pub use queue::{Dropped, Queue, QueueLimits, RAM_OFFLINE, RAM_ONLINE};
pub use session::{Ack, InFlight, Inbound, Limits, Owed, Restored, RestoredFlight, Sent, Session};
pub use sink::{Change, Effect, Sink};
pub use subscriptions::{Subscription, Subscriptions};
