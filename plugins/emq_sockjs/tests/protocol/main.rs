//! The SockJS protocol 0.3, statement by statement, as its public tests for servers ask for it.
#![allow(clippy::unwrap_used)]

mod client;
mod closing;
mod hixie;
mod http;
mod jsonp;
mod origins;
mod resources;
mod services;
mod streaming;
mod times;
mod websocket;
mod xhr;
