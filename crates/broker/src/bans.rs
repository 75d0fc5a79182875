//! Who may not come in, whatever else is said of them: client ids, user names, addresses.

use crate::admin::Broker;
use crate::info::AdminError;
use std::fmt;
use std::str::FromStr;

/// What a ban is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BanKind {
    /// exactly this client identifier
    ClientId,
    /// exactly this user name
    Username,
    /// an address or a network: `10.1.2.3`, `10.0.0.0/8`, `2001:db8::/32`
    Ip,
}

impl BanKind {
    /// `client_id`, `username`, `ip`.
    pub fn as_str(self) -> &'static str {
        match self {
            BanKind::ClientId => "client_id",
            BanKind::Username => "username",
            BanKind::Ip => "ip",
        }
    }
}

impl fmt::Display for BanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BanKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "client_id" => Ok(BanKind::ClientId),
            "username" => Ok(BanKind::Username),
            "ip" => Ok(BanKind::Ip),
            _ => Err(()),
        }
    }
}

/// Somebody who may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// what it is about
    pub kind: BanKind,
    /// whom it means; an address is kept in its shortest form, without host bits
    pub value: String,
    /// why
    pub reason: String,
    /// unix seconds from which it does not count any more; `None` = never
    pub until: Option<u64>,
    /// who has said so
    pub by: String,
    /// when, unix seconds
    pub at: u64,
}

/// The bans of a broker.
pub struct Bans<'a> {
    #[expect(dead_code)]
    broker: &'a Broker,
}

impl Broker {
    /// Who may not come in.
    pub fn bans(&self) -> Bans<'_> {
        Bans { broker: self }
    }
}

impl Bans<'_> {
    /// Bans, in place of a ban of the same kind and value; on disk when this returns, and whom it means is gone.
    /// The answer is the ban as it is kept. Blocks; not for event loops.
    ///
    /// # Errors
    /// When the value is none of its kind, there are too many bans, or the store cannot take it.
    pub fn add(&self, _ban: Ban) -> Result<Ban, AdminError> {
        Err(AdminError::Other("not there yet".into()))
    }

    /// Takes a ban away.
    ///
    /// # Errors
    /// `NotFound` when there is none; when the store cannot take it.
    pub fn remove(&self, _kind: BanKind, _value: &str) -> Result<(), AdminError> {
        Err(AdminError::NotFound)
    }

    /// Those that count now, by kind and value.
    pub fn list(&self) -> Vec<Ban> {
        Vec::new()
    }
}
