//! Loads, runs and unloads plugins.
//!
//! A [`Manager`] knows which plugins there are: those built into the program and those that lie as libraries
//! in the release tree. Each that runs has a *life*: the plugin, the [`emqttd_plugin_sdk::Context`] it works
//! with, and behind that a host, which notes all that is registered and takes it away again at the end.
//!
//! The broker never calls a plugin itself. What it has in its tables are wrappers that go through the
//! plugin's guard: a panic becomes an answer, time is measured, and a plugin that panics again and again is
//! called no more. Whoever holds such a wrapper may be in the plugin, so that a plugin is known to be quiet
//! when its wrappers are held by nobody else. That costs a call nothing.

mod boot;
mod clock;
mod control;
mod desk;
mod guard;
mod host;
mod library;
mod life;
mod loaded_file;
mod manager;
mod registered;
mod reloads;
mod retaining;
mod runtime;
mod stop;
mod watchdog;
mod web;
mod wrap;

pub use guard::{MOST_PANICS, PANIC_WINDOW, SLOW};
pub use library::load as load_library;
pub use life::{DRAIN_PATIENCE, START_PATIENCE, START_PATIENCE_AT_BOOT, STOP_PATIENCE};
pub use manager::{Manager, OpenLibrary, Setup};
pub use watchdog::{BLOCKED, BLOCKED_ASIDE};
pub use web::{OpenWeb, WebServer};
pub use wrap::ASK_TIMEOUT;

#[cfg(test)]
mod tests;
