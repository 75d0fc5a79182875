//! `emq_auth_pgsql`.
