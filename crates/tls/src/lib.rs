//! TLS on the server's side: what the connections of one listener share, read from files that may change.
