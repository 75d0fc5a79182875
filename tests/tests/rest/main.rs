//! Black-box tests of everything behind HTTP: `server_*` is how one comes in, `v2_*` the API of EMQ 2.3, `console_*`
//! what the dashboard asks beyond it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod console_bans;
mod console_common;
mod console_events;
mod console_figures;
mod console_manage;
mod console_search;
mod openapi;
mod server_auth;
mod server_listeners;
mod v2_legacy;
mod v2_lists;
mod v2_manage;
mod v2_messages;
mod v2_users;
