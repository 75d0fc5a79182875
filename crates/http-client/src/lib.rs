//! The HTTP client of plugins that ask a web service: kept connections, of which one that the service has
//! closed meanwhile harms nobody, TLS as the plugin's keys say, redirections, and answers of bounded size.
//!
//! It has no clock of its own but for connecting: who asks says how long it may take.

#![warn(missing_debug_implementations)]

mod address;
mod client;
mod encode;
mod stream;
#[cfg(test)]
mod tests;
mod transport;
mod url;

pub use client::{Answer, Headers, HttpClient, HttpSettings, Request, Version};
pub use encode::form_encoded;
pub use url::Url;
