//! `emq_lua_hook`.
