//! The broker without sockets: sessions, routing, access, metrics, `$SYS`.

mod admin;
mod info;

pub use admin::Broker;
pub use info::*;
