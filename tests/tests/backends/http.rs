//! `emq_auth_http`.
