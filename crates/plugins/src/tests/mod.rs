//! The manager with a broker whose event loops run on threads of the test, and with plugins made for it.

#![allow(clippy::unwrap_used)]

mod bench;
mod comings;
mod ending;
mod failures;
mod reloading;
mod waiting;
