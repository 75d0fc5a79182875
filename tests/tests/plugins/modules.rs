//! `emq_modules`: presence, subscription templates, rewrite.
