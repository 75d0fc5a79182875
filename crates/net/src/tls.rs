//! TLS on the server's side, without a socket (rustls).
//!
//! A listener has one [`TlsContext`]; each of its connections has a [`TlsStream`] between the
//! socket and everything else.

mod stream;

pub(crate) use emqttd_tls::files;

pub use emqttd_tls::{TlsContext, cert_username};
pub use stream::{TlsError, TlsStream};
