//! sn
