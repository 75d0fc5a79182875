//! `emq_retainer`: retained messages, their limits, expiry and verbs.
