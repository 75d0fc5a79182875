//! Black-box tests of everything behind HTTP: `server_*` is how one comes in, `v2_*` the API of EMQ 2.3, `console_*`
//! what the dashboard asks beyond it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod server_auth;
