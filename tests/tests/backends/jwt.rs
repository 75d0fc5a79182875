//! `emq_auth_jwt`.
