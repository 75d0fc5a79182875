//! Passwords: how they are kept, read in the forms of old tables, and proved without being sent.
