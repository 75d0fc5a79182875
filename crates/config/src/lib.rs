//! The `key = value` configuration of EMQ 2.x: reading, checking, and the typed result.

mod settings;

pub use settings::*;
