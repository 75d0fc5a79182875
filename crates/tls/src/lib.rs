//! TLS on the server's side (rustls): what the connections of one listener share, read from files that may change.
//!
//! ```no_run
//! use emqttd_tls::TlsContext;
//!
//! fn open(settings: &emqttd_config::Tls) -> Result<TlsContext, String> {
//!     let (context, warnings) = TlsContext::from_settings(settings)?;
//!     for warning in warnings {
//!         println!("{warning}");
//!     }
//!     // Each connection takes the configuration of the moment: `context.config()`.
//!     Ok(context)
//! }
//! ```

mod ciphers;
mod context;
mod files;
mod username;

pub use context::{Credentials, TlsContext, files};
pub use username::cert_username;
