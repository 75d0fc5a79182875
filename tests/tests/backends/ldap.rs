//! `emq_auth_ldap`.
