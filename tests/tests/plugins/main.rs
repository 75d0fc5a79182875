//! Black-box tests of plugins over sockets and `emqttd_ctl`, one module a plugin; `mechanism` has loading,
//! unloading and all that can go wrong with it.

#![allow(clippy::unwrap_used, missing_docs)]

mod acl_cache;
mod auth_clientid;
mod auth_username;
mod library;
mod mechanism;
mod modules;
mod recon;
mod reloader;
mod retainer;
mod stranger;
mod template;
mod virtual_client;
