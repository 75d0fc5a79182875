//! Who may not come in, whatever else is said of them: client ids, user names, addresses.
//!
//! Bans are asked at CONNECT, before authentication. What is asked lies in memory; the table of the store is for the
//! next start.

mod network;

use crate::admin::Broker;
use crate::conn::Phase;
use crate::detail::not_stored;
use crate::durable::DurableTable;
use crate::durable::record::{Reader, put_bytes, put_number};
use crate::info::AdminError;
use crate::node::unix_seconds;
use crate::shard::Shard;
use emqttd_mqtt::ReasonCode;
use hashbrown::HashMap;
use network::{Network, Width};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Name of the table of bans.
const TABLE: &str = "management/bans";
/// Bans at a time.
const MOST: usize = 100_000;
/// Bytes of a reason, and of who has banned.
const LONGEST_TEXT: usize = 1024;
/// Bytes of a value: those of an MQTT string.
const LONGEST_VALUE: usize = 65_535;
/// Bans that are over and are taken from the store at a time.
const SWEPT: usize = 64;
/// Connections that a shard looks at before it goes on with its work, and that it ends at the most.
const PIECE: usize = 2048;
const MOST_ENDED: usize = 64;
/// Version of the form of a ban in the store.
const FORM: u8 = 1;

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

impl Ban {
    fn counts(&self, now: u64) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// The ban as it is kept.
    fn examined(mut self, now: u64) -> Result<Ban, AdminError> {
        let bad = |why: &str| Err(AdminError::Other(why.into()));
        if self.value.is_empty() || self.value.len() > LONGEST_VALUE {
            return bad("a ban needs a value");
        }
        if self.reason.len() > LONGEST_TEXT || self.by.len() > LONGEST_TEXT {
            return bad("the reason is too long");
        }
        if !self.counts(now) {
            return bad("the ban would be over already");
        }
        self.value = value_of(self.kind, &self.value)?;
        Ok(self)
    }

    fn key(&self) -> Vec<u8> {
        [&[letter(self.kind)], self.value.as_bytes()].concat()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORM];
        put_number(&mut out, self.at);
        put_number(&mut out, self.until.unwrap_or(0));
        put_bytes(&mut out, self.reason.as_bytes());
        put_bytes(&mut out, self.by.as_bytes());
        out
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Ban> {
        let (kind, name) = key.split_first()?;
        let (form, rest) = value.split_first()?;
        let mut reader = Reader(rest);
        let at = reader.number().filter(|_| *form == FORM)?;
        let until = Some(reader.number()?).filter(|until| *until != 0);
        Some(Ban {
            kind: [BanKind::ClientId, BanKind::Username, BanKind::Ip]
                .into_iter()
                .find(|other| letter(*other) == *kind)?,
            value: String::from_utf8(name.to_vec()).ok()?,
            reason: reader.text()?.into(),
            until,
            by: reader.text()?.into(),
            at,
        })
    }
}

/// What the keys of a kind begin with in the store.
fn letter(kind: BanKind) -> u8 {
    match kind {
        BanKind::ClientId => b'c',
        BanKind::Username => b'u',
        BanKind::Ip => b'i',
    }
}

/// The one form of a value.
fn value_of(kind: BanKind, value: &str) -> Result<String, AdminError> {
    match kind {
        BanKind::ClientId | BanKind::Username => Ok(value.into()),
        BanKind::Ip => match value.trim().parse::<Network>() {
            Ok(network) => Ok(network.to_string()),
            Err(()) => Err(AdminError::Other(format!(
                "not an address or a network: {value}"
            ))),
        },
    }
}

/// The bans of a node as CONNECT asks about them.
#[derive(Default)]
pub(crate) struct BanTable {
    all: RwLock<All>,
    /// how many there are, so that nobody asks while there are none
    count: AtomicUsize,
    /// one change at a time, in memory and in the store
    changing: Mutex<()>,
}

#[derive(Default)]
struct All {
    clientids: HashMap<Box<str>, Ban>,
    usernames: HashMap<Box<str>, Ban>,
    /// by how much of the address counts: a look-up for each width that is there
    networks: BTreeMap<Width, HashMap<u128, Ban>>,
}

impl All {
    fn len(&self) -> usize {
        let networks = self.networks.values().map(HashMap::len).sum::<usize>();
        self.clientids.len() + self.usernames.len() + networks
    }

    fn iter(&self) -> impl Iterator<Item = &Ban> {
        let networks = self.networks.values().flat_map(HashMap::values);
        let names = self.clientids.values().chain(self.usernames.values());
        names.chain(networks)
    }

    fn insert(&mut self, ban: Ban) {
        match ban.kind {
            BanKind::ClientId => drop(self.clientids.insert(ban.value.as_str().into(), ban)),
            BanKind::Username => drop(self.usernames.insert(ban.value.as_str().into(), ban)),
            BanKind::Ip => {
                if let Ok(network) = ban.value.parse::<Network>() {
                    let same = self.networks.entry(network.width).or_default();
                    same.insert(network.bits, ban);
                }
            }
        }
    }

    fn get(&self, kind: BanKind, value: &str) -> Option<&Ban> {
        match kind {
            BanKind::ClientId => self.clientids.get(value),
            BanKind::Username => self.usernames.get(value),
            BanKind::Ip => {
                let network: Network = value.parse().ok()?;
                self.networks.get(&network.width)?.get(&network.bits)
            }
        }
    }

    fn remove(&mut self, kind: BanKind, value: &str) {
        match kind {
            BanKind::ClientId => drop(self.clientids.remove(value)),
            BanKind::Username => drop(self.usernames.remove(value)),
            BanKind::Ip => {
                let Ok(network) = value.parse::<Network>() else {
                    return;
                };
                if let Some(same) = self.networks.get_mut(&network.width) {
                    same.remove(&network.bits);
                    if same.is_empty() {
                        self.networks.remove(&network.width);
                    }
                }
            }
        }
    }
}

impl BanTable {
    /// Whether somebody may not come in.
    pub fn meets(&self, clientid: &str, username: Option<&str>, ip: IpAddr) -> bool {
        self.find(clientid, username, ip, |_| ()).is_some()
    }

    /// The ban that somebody meets; exactly these names are meant, upper and lower case being different.
    fn find<T>(
        &self,
        clientid: &str,
        username: Option<&str>,
        ip: IpAddr,
        f: impl FnOnce(&Ban) -> T,
    ) -> Option<T> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = unix_seconds();
        let all = self.all.read();
        let counts = |ban: &&Ban| ban.counts(now);
        let address = Network::of(ip);
        let by_name = |username: &str| all.usernames.get(username).filter(counts);
        let ban = (all.clientids.get(clientid).filter(counts))
            .or_else(|| username.and_then(by_name))
            .or_else(|| {
                let mut networks = all.networks.iter();
                networks.find_map(|(width, same)| {
                    let network = width.network(address.bits);
                    let same = (width.v6 == address.width.v6).then_some(same)?;
                    same.get(&network.bits).filter(counts)
                })
            });
        ban.map(f)
    }

    fn change(&self, f: impl FnOnce(&mut All)) {
        let mut all = self.all.write();
        f(&mut all);
        self.count.store(all.len(), Ordering::Release);
    }
}

/// The bans of a broker.
pub struct Bans<'a> {
    broker: &'a Broker,
}

impl Broker {
    /// Who may not come in.
    pub fn bans(&self) -> Bans<'_> {
        Bans { broker: self }
    }
}

impl Bans<'_> {
    fn table(&self) -> DurableTable {
        self.broker.table(TABLE)
    }

    fn bans(&self) -> &BanTable {
        &self.broker.node.bans
    }

    /// Reads what an earlier run has left.
    pub(crate) fn load(&self) -> Result<(), String> {
        let rows = self
            .table()
            .rows()
            .map_err(|error| format!("the bans cannot be read: {error}"))?;
        self.bans().change(|all| {
            for (key, value) in rows {
                match Ban::read(&key, &value) {
                    Some(ban) => all.insert(ban),
                    None => log::error!("the store: a ban cannot be read; it is left out"),
                }
            }
        });
        Ok(())
    }

    /// Bans, in place of a ban of the same kind and value; on disk when this returns, and whom it means is gone.
    /// The answer is the ban as it is kept. Blocks; not for event loops.
    ///
    /// # Errors
    /// When the value is none of its kind, there are too many bans, or the store cannot take it. When an event loop does
    /// not answer the ban holds, and connections of whom it means may be open for some time.
    pub fn add(&self, ban: Ban) -> Result<Ban, AdminError> {
        let ban = ban.examined(unix_seconds())?;
        {
            let _one = self.bans().changing.lock();
            self.sweep();
            let all = self.bans().all.read();
            if all.len() >= MOST && all.get(ban.kind, &ban.value).is_none() {
                return Err(AdminError::Other("there are too many bans".into()));
            }
            drop(all);
            let put = self.table().put(&ban.key(), &ban.to_bytes());
            put.map_err(|error| not_stored(&error.to_string()))?;
            self.bans().change(|all| all.insert(ban.clone()));
        }
        match self.broker.end_banned(&ban) {
            true => Ok(ban),
            false => Err(AdminError::Unavailable(
                "the ban holds; an event loop does not answer, so connections that it ends may still be open: say it again \
                 later, or close them"
                    .into(),
            )),
        }
    }

    /// Takes a ban away.
    ///
    /// # Errors
    /// `NotFound` when there is none; when the store cannot take it.
    pub fn remove(&self, kind: BanKind, value: &str) -> Result<(), AdminError> {
        let value = value_of(kind, value).map_err(|_| AdminError::NotFound)?;
        let _one = self.bans().changing.lock();
        let there = self.bans().all.read().get(kind, &value).cloned();
        let ban = there.ok_or(AdminError::NotFound)?;
        let counted = ban.counts(unix_seconds());
        self.forget(&ban)
            .map_err(|error| not_stored(&error.to_string()))?;
        counted.then_some(()).ok_or(AdminError::NotFound)
    }

    /// The ban that somebody meets, as CONNECT asks.
    pub fn find(&self, clientid: &str, username: Option<&str>, ip: IpAddr) -> Option<Ban> {
        self.bans().find(clientid, username, ip, Ban::clone)
    }

    /// Those that count now, by kind and value.
    pub fn list(&self) -> Vec<Ban> {
        let now = unix_seconds();
        let all = self.bans().all.read();
        let mut bans: Vec<Ban> = all.iter().filter(|ban| ban.counts(now)).cloned().collect();
        drop(all);
        bans.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
        bans
    }

    /// Takes some of those away that are over, when another comes. What the store does not take now is tried again.
    fn sweep(&self) {
        let now = unix_seconds();
        let all = self.bans().all.read();
        let over = all.iter().filter(|ban| !ban.counts(now));
        let over: Vec<Ban> = over.take(SWEPT).cloned().collect();
        drop(all);
        for ban in over {
            if let Err(error) = self.forget(&ban) {
                log::warn!("a ban that is over stays in the store for now: {error}");
                return;
            }
        }
    }

    fn forget(&self, ban: &Ban) -> std::io::Result<()> {
        self.table().delete(&ban.key())?;
        self.bans().change(|all| all.remove(ban.kind, &ban.value));
        Ok(())
    }
}

impl Broker {
    /// Ends the connections of those whom a new ban means; `false` when an event loop did not answer.
    fn end_banned(&self, ban: &Ban) -> bool {
        let mut shards = 0..self.shards();
        if ban.kind == BanKind::ClientId {
            let of = self.node.shard_of(&ban.value);
            shards = of..of + 1;
        }
        let mut answered = true;
        for index in shards {
            let mut next = Some(0);
            while let Some(from) = next {
                let looked = self.on_shard(index, move |shard| shard.end_some_banned(from));
                answered &= looked.is_some();
                next = looked.flatten();
            }
        }
        answered
    }
}

impl Shard {
    /// Looks at some connections and ends those that are banned; where to go on.
    fn end_some_banned(&mut self, from: u32) -> Option<u32> {
        let end = (from as usize + PIECE).min(self.conns.len()) as u32;
        let mut ended = 0;
        for id in from..end {
            let conn = &self.conns[id as usize];
            // Who is still on the way in is asked again before that.
            let Some(detail) = (conn.detail.as_ref()).filter(|_| conn.phase == Phase::Connected)
            else {
                continue;
            };
            let banned = detail.publisher.as_ref().is_some_and(|publisher| {
                let username = publisher.username.as_deref();
                let ip = detail.peer.addr.ip();
                self.node.bans.meets(&publisher.clientid, username, ip)
            });
            if banned {
                // "Banned" is for CONNACK alone [MQTT-3.14.2-1].
                self.close(id, ReasonCode::ADMINISTRATIVE_ACTION, "banned");
                self.settle();
                ended += 1;
                if ended == MOST_ENDED {
                    return Some(id + 1);
                }
            }
        }
        ((end as usize) < self.conns.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ban_comes_back_from_the_store(value in "[^/]{1,20}", reason: String, by: String, until: Option<u32>, at: u32, name: bool) {
            let ban = Ban {
                kind: if name { BanKind::Username } else { BanKind::ClientId },
                value,
                reason,
                until: until.map(|until| u64::from(until) + 1),
                by,
                at: at.into(),
            };
            prop_assert_eq!(Ban::read(&ban.key(), &ban.to_bytes()), Some(ban));
        }

        #[test]
        fn whatever_the_store_has_is_read_or_refused(key: Vec<u8>, value: Vec<u8>) {
            let _ = Ban::read(&key, &value);
        }
    }
}
