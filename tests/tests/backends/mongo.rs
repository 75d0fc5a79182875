//! `emq_auth_mongo`.
