//! `emq_auth_mysql`.
