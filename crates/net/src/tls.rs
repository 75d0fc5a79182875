//! TLS on the server's side, without a socket (rustls).
//!
//! A listener has one [`TlsContext`]; each of its connections has a [`TlsStream`] between the
//! socket and everything else.

mod ciphers;
mod context;
mod files;
mod stream;
mod username;

pub(crate) use context::files;

pub use context::TlsContext;
pub use stream::{TlsError, TlsStream};
pub use username::cert_username;
