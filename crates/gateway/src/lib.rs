//! What gateways share: sockets over TCP with TLS, and over UDP.
