//! `emq_coap`, `emq_sn`, `emq_stomp` and `emq_sockjs` through the real binary.

#![allow(clippy::unwrap_used)]

mod coap;
mod common;
mod crossing;
mod sn;
mod sockjs;
mod stomp;
