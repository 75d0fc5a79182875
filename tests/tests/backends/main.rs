//! Black-box tests of the plugins that ask a server about logins and access, against the real servers
//! (`emqttd_tests::servers`); `common` has the tests of those servers themselves.
//!
//! `cargo xtask test` installs the servers. Tests of one that is missing are skipped with a word, but never in
//! CI (`CI=true`).

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod http;
mod jwt;
mod ldap;
mod mongo;
mod mysql;
mod pgsql;
mod redis;
mod sql;
