//! What the plugins that ask another server about clients have in common: `emq_auth_ldap`, `_http`, `_mysql`,
//! `_pgsql`, `_redis`, `_mongo`.
//!
//! A plugin says how its server is asked: that is a [`Backend`]. The [`Door`] before it is the same for all:
//! clients without credentials, the time an answer may take, the circuit breaker, what happens when nobody
//! answers (`on_unavailable`), and the figures. Servers that are spoken to over connections of our own stand
//! behind a [`Pool`].
//!
//! Nothing that a client sends is ever pasted into a query: [`Template`] and [`Statement`] say where values go,
//! and each protocol binds or escapes them in its own way.

#![warn(missing_debug_implementations)]

mod address;
mod breaker;
mod checker;
mod door;
mod figures;
mod health;
mod pool;
mod question;
mod rows;
mod settings;
mod sql;
mod stale;
mod statement;
mod template;
mod tls;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use checker::Checker;
pub use door::{Backend, Credentials, Door, Fault, Trace};
pub use figures::{Figures, Kind};
pub use health::Health;
pub use pool::{Broken, Connector, Pool};
pub use question::Question;
pub use rows::Row;
pub use settings::{OnUnavailable, Settings, Unavailability};
pub use sql::{Asked, Cell, Dialect, Entrance, Query, Rows, Sql};
pub use statement::{Placeholder, Statement};
pub use template::{Template, Var};
pub use tls::TlsSettings;
