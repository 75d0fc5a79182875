//! What lies between the broker and a plugin in a library.
//!
//! No Rust type crosses it: a library may have been built by another compiler. What crosses is
//!
//! - one static, `emqttd_plugin_abi` ([`Header`]): plain numbers and text that are read before anything of
//!   the library is called;
//! - one function, `emqttd_plugin_v1`, by which broker and library give each other a [`Face`]: a number and
//!   a function that takes *calls*;
//! - calls: an operation, a handle, and two borrowed slices of bytes in; a status and an owned [`Buffer`]
//!   out, which is released by the side that made it.
//!
//! What the bytes mean is not known here: `emqttd_plugin_sdk::wire` has the operations and their messages.
//!
//! Both sides answer calls through [`Answer`], and make them through [`Remote`]. A panic ends at the edge and
//! becomes [`Fault::Panicked`].
//!
//! # Versions
//! The header, the entry function, [`Face`], [`Buffer`] and the statuses are frozen within a major version.
//! A minor version adds operations, or fields at the end of messages. A broker loads libraries of its own
//! major version with the same or an older minor version. An operation that the other side does not know is
//! answered with [`Fault::NotSupported`].
//!
//! This is the only crate of the project with unsafe code.

mod bytes;
#[cfg(feature = "broker")]
mod elf;
mod face;
pub mod guest;
mod header;
#[cfg(feature = "broker")]
pub mod host;

pub use bytes::{Buffer, Data, Slice};
pub use face::{Answer, Call, CallFn, Face, Fault, Remote, Reply};
pub use header::{Header, MAGIC, MAJOR, MINOR};

/// Operation number of "I need you no more", the last call to a library's instance. It is the only one that
/// this crate knows.
pub const RELEASE: u32 = 0;

#[cfg(test)]
mod tests;
