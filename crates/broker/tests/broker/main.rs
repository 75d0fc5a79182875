//! The broker without sockets: what cannot be reached well, or not in a controlled order or time, over
//! the network.
#![allow(clippy::unwrap_used)]

mod access;
mod bans;
mod bounds;
mod decisions;
mod delivery;
mod exchange;
mod figures;
mod finding;
mod hooks;
mod lasting;
mod leaks;
mod net;
mod packets;
mod retaining;
mod shards;
mod tables;
mod threads;
mod times;
mod waiting;
