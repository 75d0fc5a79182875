//! One client's session as a pure machine.
//!
//! Packets, deliveries and the time go in; packets come out through a [`Sink`], effects as return
//! values. There is no socket, clock, thread or log in here, so that a simulator can drive it through
//! any order of events. Times are milliseconds of whatever monotonic clock the caller has.

mod flows;
mod ids;
mod message;
mod queue;
mod session;
mod subscriptions;

pub use message::{Delivery, GroupRef, Message, MessageParts, Publisher};
pub use queue::{Dropped, Queue, QueueLimits};
pub use session::{Ack, Effect, Inbound, Limits, Sent, Session, Sink};
pub use subscriptions::{Subscription, Subscriptions};
