//! The log: console, files with rotation, syslog; crash reports; trace files.
//!
//! Everything speaks through the macros of the `log` crate. EMQ knows more severities than that
//! crate: a record whose *target* is `notice`, `critical`, `alert` or `emergency` has that severity,
//! whatever its level ([`notice!`], [`critical!`], [`alert!`], [`emergency!`] write such records).
//!
//! Whoever logs only puts a line into a bounded queue; one thread writes. When the queue is full
//! lines are dropped, and a line says how many. That thread sleeps while there is nothing to write.
//! A message is one line always: control characters in it are shown as escapes, so that no text of
//! a client can pass for a line of the log.

mod clock;
mod crash;
mod file;
mod line;
mod logger;
mod queue;
mod rate;
mod sinks;
mod syslog;
pub mod trace;

pub use file::RotatingFile;
pub use line::{Escaped, escape};
pub use logger::{Handle, init};

/// Logs with the severity `notice`: more than info, no cause for worry.
#[macro_export]
macro_rules! notice {
    ($($message:tt)+) => { $crate::__log::info!(target: "notice", $($message)+) };
}

/// Logs with the severity `critical`.
#[macro_export]
macro_rules! critical {
    ($($message:tt)+) => { $crate::__log::error!(target: "critical", $($message)+) };
}

/// Logs with the severity `alert`.
#[macro_export]
macro_rules! alert {
    ($($message:tt)+) => { $crate::__log::error!(target: "alert", $($message)+) };
}

/// Logs with the severity `emergency`.
#[macro_export]
macro_rules! emergency {
    ($($message:tt)+) => { $crate::__log::error!(target: "emergency", $($message)+) };
}

#[doc(hidden)]
pub use log as __log;
