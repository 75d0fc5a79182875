//! `emq_web_hook`.
