//! The REST API as EMQ 2.3.11 answered it.
