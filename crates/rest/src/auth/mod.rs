//! Who asks, and what they may.
//!
//! [`guard`](guard::guard) stands before all handlers that need a login. It finds out who asks (a password, a token of
//! a login to the web interface, an API key), whether they may ([`needs`] has the table), and notes in the audit log
//! what was changed. Handlers get a [`Caller`] as an argument.

mod caller;
mod failures;
pub(crate) mod guard;
mod login;
mod needs;
mod origin;
mod password;
mod refusals;
mod remembered;
mod token;

pub use caller::{Caller, Came};
pub use login::router;
pub(crate) use password::Door;
pub use password::{Welcome, check_login};

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
