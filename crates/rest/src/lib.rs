//! The HTTP view of management.
//!
//! [`server`] accepts connections, [`auth`] says who asks, [`v2`] is the REST API as EMQ 2.3.11 answered it, and
//! [`console`] what the dashboard needs beyond it. What is done is done by the management crate; here are only the
//! forms of questions and answers.

pub mod answer;
pub mod auth;
pub mod console;
pub mod openapi;
pub mod server;
pub mod state;
pub mod v2;

pub use state::App;
