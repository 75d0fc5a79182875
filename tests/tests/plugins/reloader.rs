//! `emq_reloader`: what changes on disk is loaded anew.
