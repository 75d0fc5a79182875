//! The broker without sockets: sessions, routing, access, metrics, `$SYS`.

pub mod acl_file;
mod admin;
pub mod alarm;
mod info;

pub use admin::Broker;
pub use info::*;
