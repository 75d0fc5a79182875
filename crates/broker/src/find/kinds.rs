//! What can be looked for in the slots of shards: clients, sessions, subscriptions.

use super::key::Key;
use super::text::{begins, contains, has, is};
use super::walk::Sought;
use super::*;
use crate::admin::{client_info, session_info, subscription_info};
use crate::conn::{Conn, Detail, NONE};
use crate::shard::{SessionSlot, Shard};
use crate::subscribe::parts_of;
use emqttd_session::Subscription;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::{Bound, RangeBounds};

/// What there is in a slot at the most once has no name.
const NAMELESS: &str = "";

fn once(from: Bound<&str>) -> bool {
    RangeBounds::<str>::contains(&(from, Bound::Unbounded), NAMELESS)
}

pub(super) struct Clients {
    pub filter: ClientFilter,
    pub order: Option<ClientOrder>,
}

/// A connected client.
pub(super) struct ClientAt<'a> {
    shard: &'a Shard,
    slot: u32,
    entry: &'a SessionSlot,
    conn: &'a Conn,
    detail: &'a Detail,
}

/// Addresses of IPv4 in the place of those of IPv6 that stand for them.
fn number_of(ip: IpAddr) -> u128 {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Ipv6Addr::to_bits(ip)
}

impl Sought for Clients {
    type Item<'a> = ClientAt<'a>;
    type Row = ClientRow;

    fn items<'a>(
        shard: &'a Shard,
        slot: u32,
        from: Bound<&str>,
    ) -> impl Iterator<Item = ClientAt<'a>> {
        let entry = &shard.sessions[slot as usize];
        let there = entry.conn != NONE && once(from);
        let item = there.then(|| {
            let conn = &shard.conns[entry.conn as usize];
            ClientAt {
                shard,
                slot,
                entry,
                conn,
                detail: conn.peek(),
            }
        });
        item.into_iter()
    }

    fn name<'a>(_: &Self::Item<'a>) -> &'a str {
        NAMELESS
    }

    fn wants(&self, item: &ClientAt<'_>) -> bool {
        let (filter, peer) = (&self.filter, &item.detail.peer);
        let publisher = &item.entry.publisher;
        is(item.conn.version.level(), filter.proto_ver)
            && is(item.detail.clean_start, filter.clean_sess)
            && (filter.username.as_deref())
                .is_none_or(|name| publisher.username.as_deref() == Some(name))
            && (filter.listener.as_deref()).is_none_or(|name| peer.listener.protocol() == name)
            && (filter.ip.as_deref()).is_none_or(|with| begins(peer.addr.ip(), with))
            && has(&publisher.clientid, &filter.search)
    }

    fn key<'a>(&self, item: &Self::Item<'a>) -> Key<'a> {
        let entry = item.entry;
        let mut key = Key::of(&entry.publisher.clientid);
        match self.order {
            None | Some(ClientOrder::ClientId) => {}
            Some(ClientOrder::Username) => {
                if let Some(username) = &entry.publisher.username {
                    (key.number, key.text) = (1, Cow::Borrowed(&**username));
                }
            }
            Some(ClientOrder::IpAddress) => key.number = number_of(item.detail.peer.addr.ip()),
            Some(ClientOrder::ConnectedAt) => key.number = item.detail.connected_at.into(),
            Some(ClientOrder::ProtoVer) => key.number = item.conn.version.level().into(),
            Some(ClientOrder::Keepalive) => key.number = item.detail.keepalive.into(),
        }
        key
    }

    fn row(item: &ClientAt<'_>) -> ClientRow {
        ClientRow {
            client: client_info(item.shard, item.slot)
                .expect("what was found in the slot is a client with a connection"),
            listener: item.detail.peer.listener.protocol().into(),
        }
    }
}

pub(super) struct Sessions {
    pub filter: SessionFilter,
    pub order: Option<SessionOrder>,
}

/// A session.
pub(super) struct SessionAt<'a> {
    shard: &'a Shard,
    slot: u32,
    entry: &'a SessionSlot,
}

impl Sought for Sessions {
    type Item<'a> = SessionAt<'a>;
    type Row = SessionInfo;

    fn items<'a>(
        shard: &'a Shard,
        slot: u32,
        from: Bound<&str>,
    ) -> impl Iterator<Item = SessionAt<'a>> {
        let entry = &shard.sessions[slot as usize];
        let item = once(from).then_some(SessionAt { shard, slot, entry });
        item.into_iter()
    }

    fn name<'a>(_: &Self::Item<'a>) -> &'a str {
        NAMELESS
    }

    fn wants(&self, item: &SessionAt<'_>) -> bool {
        let (filter, entry) = (&self.filter, item.entry);
        is(entry.conn != NONE, filter.online)
            && is(entry.expiry == 0, filter.clean_sess)
            && has(&entry.publisher.clientid, &filter.search)
    }

    fn key<'a>(&self, item: &Self::Item<'a>) -> Key<'a> {
        let (entry, session) = (item.entry, &item.entry.session);
        let number = match self.order {
            None | Some(SessionOrder::ClientId) => 0,
            Some(SessionOrder::MqueueLen) => session.queue_len() as u64,
            Some(SessionOrder::MqueueDropped) => session.dropped,
            Some(SessionOrder::Inflight) => session.inflight_len() as u64,
            Some(SessionOrder::Subscriptions) => session.subscriptions.len() as u64,
            Some(SessionOrder::CreatedAt) => entry.created_at,
            Some(SessionOrder::DeliverMsg) => session.delivered,
        };
        Key {
            number: number.into(),
            ..Key::of(&entry.publisher.clientid)
        }
    }

    fn row(item: &SessionAt<'_>) -> SessionInfo {
        session_info(item.shard, item.slot)
    }
}

pub(super) struct Subscribed {
    pub filter: SubscriptionFilter,
    pub order: Option<SubscriptionOrder>,
}

/// A subscription, with the name under which its session has it.
pub(super) struct SubscriptionAt<'a> {
    shard: &'a Shard,
    slot: u32,
    entry: &'a SessionSlot,
    name: &'a str,
    subscription: &'a Subscription,
}

impl Sought for Subscribed {
    type Item<'a> = SubscriptionAt<'a>;
    type Row = SubscriptionInfo;

    fn items<'a>(
        shard: &'a Shard,
        slot: u32,
        from: Bound<&str>,
    ) -> impl Iterator<Item = SubscriptionAt<'a>> {
        let entry = &shard.sessions[slot as usize];
        let all = entry.session.subscriptions.range(from);
        all.map(move |(name, subscription)| SubscriptionAt {
            shard,
            slot,
            entry,
            name,
            subscription,
        })
    }

    fn name<'a>(item: &Self::Item<'a>) -> &'a str {
        item.name
    }

    fn wants(&self, item: &SubscriptionAt<'_>) -> bool {
        let filter = &self.filter;
        if !is(item.subscription.qos as u8, filter.qos)
            || !has(&item.entry.publisher.clientid, &filter.search)
        {
            return false;
        }
        if filter.topic.is_none() && filter.share.is_none() {
            return true;
        }
        let parts = parts_of(item.name);
        (filter.share.as_deref()).is_none_or(|share| parts.share == Some(share))
            && (filter.topic.as_deref()).is_none_or(|topic| contains(parts.filter, topic))
    }

    fn key<'a>(&self, item: &Self::Item<'a>) -> Key<'a> {
        let text = match self.order {
            Some(SubscriptionOrder::Topic) => Cow::Borrowed(parts_of(item.name).filter),
            None | Some(SubscriptionOrder::ClientId) => Cow::default(),
        };
        Key {
            text,
            name: Cow::Borrowed(item.name),
            ..Key::of(&item.entry.publisher.clientid)
        }
    }

    fn row(item: &SubscriptionAt<'_>) -> SubscriptionInfo {
        subscription_info(item.shard, item.slot, item.name, item.subscription)
    }
}
