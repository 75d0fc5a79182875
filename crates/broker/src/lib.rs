//! The broker without sockets: sessions, routing, access, metrics, `$SYS`.
//!
//! An event loop drives a [`Shard`]; management drives a [`Broker`].

mod access;
pub mod acl_file;
mod admin;
mod alarm;
mod ask;
mod assign;
mod certs;
mod conn;
mod connect;
mod decisions;
mod deliver;
mod durable;
mod figures;
mod group;
mod hooks;
mod info;
mod life;
mod listener;
mod metrics;
mod node;
mod out;
mod packet;
mod passing;
mod pipe;
mod post;
mod publish;
mod replay;
mod retain;
mod shard;
mod subscribe;
mod sys;
mod target;
mod timer;
mod trace;

pub use access::{AccessControl, Executor};
pub use acl_file::Access;
pub use admin::Broker;
pub use alarm::{Alarm, Alarms, Severity};
pub use conn::{ConnId, Peer};
pub use durable::{DurableTable, Storage, StoreWake};
pub use hooks::HookTable;
pub use info::*;
pub use listener::ListenerState;
pub use metrics::{Counters, Metric};
pub use node::ListenerControl;
pub use out::OutBuf;
pub use shard::{Next, Shard, Taken};
pub use sys::{SYSDESCR, VERSION};
