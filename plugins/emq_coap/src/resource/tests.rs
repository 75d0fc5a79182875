#![allow(clippy::unwrap_used)]

mod bench;
mod mqtt;
mod observing;
mod ps;
mod seed;
mod sessions;
mod well_known;
