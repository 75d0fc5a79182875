//! `emq_web_hook` and `emq_lua_hook` through the real binary.

#![allow(clippy::unwrap_used)]

mod lua;
mod web;
