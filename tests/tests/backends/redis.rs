//! `emq_auth_redis`.
