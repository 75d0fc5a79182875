//! All about one client, one session's messages, one retained message.

use crate::admin::{Broker, client_info, session_info, subscription_info};
use crate::conn::NONE;
use crate::durable::RETAINED;
use crate::durable::record::{self, Clock};
use crate::find::silent;
use crate::info::*;
use crate::metrics::Metric;
use crate::retain::is_stub;
use crate::shard::Shard;
use emqttd_mqtt::ReasonCode;
use emqttd_session::{Delivery, InFlight, Message, Session};
use emqttd_store::Health;
use std::ops::Bound;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long the store may take to read a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages of a queue that are dropped before an event loop goes on with its work.
const CLEARED: usize = 512;

/// Subscriptions in a [`ClientDetail`] at the most.
pub const MOST_SUBSCRIPTIONS: usize = 1000;
/// Messages of each kind in a [`SessionQueue`] at the most.
pub const MOST_MESSAGES: usize = 1000;

/// All about a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDetail {
    /// as `clients list` shows it
    pub client: ClientInfo,
    /// as `sessions list` shows it
    pub session: SessionInfo,
    /// protocol of its listener: `mqtt:tcp`
    pub listener: String,
    /// address of its listener, as `listeners` shows it
    pub listen_on: String,
    /// what has passed since it connected
    pub traffic: Traffic,
    /// what is published when it is lost
    pub will: Option<WillInfo>,
    /// how long its session outlives the connection, seconds; 0 = not at all, `u32::MAX` = for ever
    pub expiry_interval: u32,
    /// what its listener puts before its topics
    pub mountpoint: Option<String>,
    /// whether no ACL holds for it
    pub superuser: bool,
    /// bytes that wait to be written to it
    pub send_pending: usize,
    /// by their filter, the first [`MOST_SUBSCRIPTIONS`]; `session.subscriptions` says how many there are
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// What has passed over a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// bytes of MQTT that came
    pub bytes_received: u64,
    /// bytes of MQTT that were written
    pub bytes_sent: u64,
    /// packets that came
    pub packets_received: u64,
    /// packets for it
    pub packets_sent: u64,
    /// PUBLISH packets that came
    pub messages_received: u64,
    /// PUBLISH packets for it
    pub messages_sent: u64,
}

/// A will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillInfo {
    /// with the mountpoint
    pub topic: String,
    /// its QoS
    pub qos: u8,
    /// its RETAIN flag
    pub retain: bool,
    /// bytes
    pub payload_size: usize,
    /// Will Delay Interval, seconds
    pub delay: u32,
}

/// The messages of a session that have not arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionQueue {
    /// sent and not finished, the oldest first
    pub inflight: Vec<InflightRow>,
    /// waiting in memory, the next first
    pub waiting: Vec<WaitingRow>,
    /// how many are in flight
    pub inflight_len: usize,
    /// how many wait, in memory and on disk
    pub waiting_len: usize,
    /// how many of those are on disk alone
    pub on_disk: usize,
    /// inbound QoS 2 messages not yet released
    pub awaiting_rel: usize,
}

/// How far a message in flight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightState {
    /// PUBLISH sent; PUBACK or PUBREC awaited
    Published,
    /// PUBREL sent, PUBCOMP awaited; the message itself is done with
    Released,
    /// sent before a restart, and still to be read from the disk
    Stored,
}

impl FlightState {
    /// `published`, `released`, `stored`.
    pub fn as_str(self) -> &'static str {
        match self {
            FlightState::Published => "published",
            FlightState::Released => "released",
            FlightState::Stored => "stored",
        }
    }
}

/// A message in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InflightRow {
    /// packet identifier
    pub packet_id: u16,
    /// how far it has come
    pub state: FlightState,
    /// what was sent, while that is known
    pub message: Option<WaitingRow>,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// QoS of the delivery
    pub qos: u8,
    /// its topic
    pub topic: String,
    /// bytes
    pub payload_size: usize,
    /// client identifier of who published it
    pub from: Option<String>,
    /// when it was published, unix milliseconds
    pub at: u64,
    /// RETAIN flag of the delivery
    pub retain: bool,
    /// it came by a shared group
    pub shared: bool,
}

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedMessage {
    /// its topic
    pub topic: String,
    /// QoS it was published with
    pub qos: u8,
    /// its payload
    pub payload: Vec<u8>,
    /// when it was published, unix milliseconds
    pub published_at: u64,
    /// client identifier of who published it
    pub from: Option<String>,
    /// user name of who published it
    pub username: Option<String>,
    /// when its own expiry interval ends, unix milliseconds
    pub expires_at: Option<u64>,
}

impl Broker {
    /// A connected client; `None` when it is not connected.
    pub fn client_detail(&self, clientid: &str) -> Option<ClientDetail> {
        self.on_client(clientid, |shard, slot| client_detail(shard, slot))
            .flatten()
    }

    /// The messages of a session that have not arrived, `limit` of each kind ([`MOST_MESSAGES`] at the most);
    /// `None` when there is no such session.
    pub fn session_queue(&self, clientid: &str, limit: usize) -> Option<SessionQueue> {
        let most = limit.min(MOST_MESSAGES);
        self.on_client(clientid, move |shard, slot| {
            session_queue(&shard.sessions[slot as usize].session, most)
        })
    }

    /// Ends a session with all that waits in it; its client's connection ends first (reason `kick`). When this returns
    /// it does not come back with the next start.
    ///
    /// # Errors
    /// When there is no such session; when its end is not on disk, because the store fails.
    pub fn session_delete(&self, clientid: &str) -> Result<(), AdminError> {
        let clientid_there = clientid.to_string();
        self.on_session(clientid, move |shard, slot| {
            let conn = shard.sessions[slot as usize].conn;
            if conn != NONE {
                shard.close(conn, ReasonCode::ADMINISTRATIVE_ACTION, "kick");
            }
            // Unless it went with its connection.
            if let Some(slot) = shard.find_session(&clientid_there) {
                shard.end_session(slot, "kick");
            }
        })?;
        self.on_disk()
    }

    /// Does something with a session. An event loop that does not answer in time may do it later.
    fn on_session<T: Send + 'static>(
        &self,
        clientid: &str,
        f: impl FnOnce(&mut Shard, u32) -> T + Send + 'static,
    ) -> Result<T, AdminError> {
        let id = clientid.to_string();
        let done = self.on_shard(self.node.shard_of(clientid), move |shard| {
            shard.find_session(&id).map(|slot| f(shard, slot))
        });
        done.ok_or_else(silent)?.ok_or(AdminError::NotFound)
    }

    /// Waits until what was done so far would outlast the process.
    fn on_disk(&self) -> Result<(), AdminError> {
        let Some(durable) = &self.node.durable else {
            return Ok(());
        };
        self.commit_all();
        let store = &durable.store;
        // Who waits for one that fails waits for nothing.
        let most = match store.health() {
            Health::Failing => Duration::ZERO,
            _ => PATIENCE,
        };
        if durable.wait(store.position(), most) {
            return Ok(());
        }
        let why = store.status().error.unwrap_or_default();
        Err(not_stored(&format!(
            "it is done, and not on disk yet: {why}"
        )))
    }

    /// Drops what waits in a session, not what is in flight; says how many messages. Those that are on disk alone are
    /// dropped as they are read, little by little; what is left of them when the broker ends stays. The others do not
    /// come back with the next start when this returns.
    ///
    /// # Errors
    /// When there is no such session; when its event loop does not answer; when it is not on disk, because the store
    /// fails.
    pub fn clear_queue(&self, clientid: &str) -> Result<usize, AdminError> {
        let begin = |shard: &mut Shard, slot: u32| {
            let in_memory = shard.sessions[slot as usize].session.queue_len_in_memory();
            let (entry, mut sink) = shard.sink(slot);
            let on_disk = entry.session.clear_backlog(&mut sink);
            shard.handle_effects(slot);
            (in_memory, on_disk)
        };
        let (in_memory, on_disk) = self.on_session(clientid, begin)?;
        let mut left = in_memory;
        while left > 0 {
            let most = left.min(CLEARED);
            let clear = move |shard: &mut Shard, slot: u32| shard.clear_queue(slot, most);
            match self.on_session(clientid, clear) {
                Ok(some @ 1..) => left -= some,
                // It has been sent meanwhile, or the session has ended.
                Ok(0) | Err(AdminError::NotFound) => break,
                Err(error) => return Err(error),
            }
        }
        self.on_disk()?;
        Ok(in_memory - left + on_disk)
    }

    /// The retained message of a topic. Reads the disk where the payload is there alone.
    ///
    /// # Errors
    /// `NotFound` when there is none; when the disk cannot be read.
    pub fn retained_get(&self, topic: &str) -> Result<RetainedMessage, AdminError> {
        let clock = self.clock();
        let there = self.node.retained.of(topic, clock);
        let (_, message) = there.ok_or(AdminError::NotFound)?;
        if !is_stub(&message) {
            return Ok(retained_message(&message, clock));
        }
        match self.read_retained(topic)? {
            Some(message) => Ok(retained_message(&message, clock)),
            // It has gone meanwhile.
            None if self.node.retained.of(topic, clock).is_none() => Err(AdminError::NotFound),
            None => Err(AdminError::Unavailable(
                "the message cannot be read: the log says why".into(),
            )),
        }
    }

    /// What the store has of a topic.
    fn read_retained(&self, topic: &str) -> Result<Option<Message>, AdminError> {
        let Some(durable) = &self.node.durable else {
            return Ok(None);
        };
        // What was written of it just now may still be with its shard.
        self.commit_all();
        let (told, answer) = mpsc::sync_channel(1);
        let tell = Box::new(move |values| drop(told.send(values)));
        let key = vec![topic.as_bytes().to_vec()];
        let store = &durable.store;
        store.values(RETAINED, key, usize::MAX, store.position(), tell);
        let values = answer
            .recv_timeout(PATIENCE)
            .map_err(|_| not_stored("the store does not answer"))?;
        let row = values.into_iter().next().flatten();
        let clock = self.clock();
        let message = row.and_then(|row| record::retained(&row, clock));
        Ok(message.map(|(_, message)| message))
    }

    /// Removes the retained message of a topic; subscribers are not told. When this returns it does not come back with
    /// the next start.
    ///
    /// # Errors
    /// `NotFound` when there is none; when its end is not on disk, because the store fails.
    pub fn retained_delete(&self, topic: &str) -> Result<(), AdminError> {
        let topic = topic.to_string();
        // By a shard, so that the store hears of it in the right order with what clients do.
        let removed = self.on_shard(0, move |shard| {
            let node = Arc::clone(&shard.node);
            (node.retained).remove(&topic, |gone| shard.forget_retained(gone))
        });
        match removed {
            Some(true) => self.on_disk(),
            Some(false) => Err(AdminError::NotFound),
            None => Err(silent()),
        }
    }
}

/// What the store could not do, and what whoever asked can do about it.
pub(crate) fn not_stored(why: &str) -> AdminError {
    AdminError::Unavailable(format!(
        "{}: see `emqttd_ctl store` and the alarms, and try again when the disk has room and works",
        why.trim_end_matches([' ', ':'])
    ))
}

impl Shard {
    /// Drops some of what waits in memory; how many messages.
    fn clear_queue(&mut self, slot: u32, most: usize) -> usize {
        let (entry, mut sink) = self.sink(slot);
        let gone = entry.session.clear(most, &mut sink);
        self.handle_effects(slot);
        for message in &gone {
            self.counters.add(Metric::DroppedCleared, 1);
            self.node.hooks.dropped(message, "cleared");
        }
        self.offer_groups(slot);
        gone.len()
    }
}

fn client_detail(shard: &Shard, slot: u32) -> Option<ClientDetail> {
    let client = client_info(shard, slot)?;
    let entry = &shard.sessions[slot as usize];
    let conn = &shard.conns[entry.conn as usize];
    let detail = conn.peek();
    let listener = &detail.peer.listener;
    let subscriptions = entry.session.subscriptions.range(Bound::Unbounded);
    let rows = subscriptions
        .take(MOST_SUBSCRIPTIONS)
        .map(|(key, subscription)| subscription_info(shard, slot, key, subscription));
    Some(ClientDetail {
        client,
        session: session_info(shard, slot),
        listener: listener.protocol().into(),
        listen_on: listener.listen_on(),
        traffic: Traffic {
            bytes_received: detail.bytes_received,
            bytes_sent: detail.bytes_sent,
            packets_received: detail.packets_received,
            packets_sent: detail.packets_sent + u64::from(conn.packets),
            messages_received: conn.cache.as_ref().map_or(0, |cache| cache.received),
            messages_sent: (entry.session.delivered).saturating_sub(detail.delivered_before),
        },
        will: detail.will.as_ref().map(|will| WillInfo {
            topic: will.message.topic().into(),
            qos: will.message.qos as u8,
            retain: will.message.retain,
            payload_size: will.message.payload().len(),
            delay: will.delay,
        }),
        expiry_interval: entry.expiry,
        mountpoint: listener.settings.mountpoint.clone(),
        superuser: conn.superuser,
        send_pending: conn.out.len(),
        subscriptions: rows.collect(),
    })
}

fn session_queue(session: &Session, most: usize) -> SessionQueue {
    let flight = |(packet_id, how): (u16, InFlight<'_>)| {
        let (state, message) = match how {
            InFlight::Published(delivery) => (FlightState::Published, Some(waiting(delivery))),
            InFlight::Released => (FlightState::Released, None),
            InFlight::Unloaded => (FlightState::Stored, None),
        };
        InflightRow {
            packet_id,
            state,
            message,
        }
    };
    SessionQueue {
        inflight: session.in_flight().take(most).map(flight).collect(),
        waiting: session.waiting().take(most).map(waiting).collect(),
        inflight_len: session.inflight_len(),
        waiting_len: session.queue_len(),
        on_disk: session.queue_len() - session.queue_len_in_memory(),
        awaiting_rel: session.awaiting_rel_len(),
    }
}

fn waiting(delivery: &Delivery) -> WaitingRow {
    let message = &delivery.message;
    let publisher = message.publisher.as_ref();
    WaitingRow {
        qos: delivery.qos as u8,
        topic: message.topic().into(),
        payload_size: message.payload().len(),
        from: publisher.map(|publisher| publisher.clientid.to_string()),
        at: message.timestamp,
        retain: delivery.retain,
        shared: delivery.group.is_some(),
    }
}

fn retained_message(message: &Message, clock: Clock) -> RetainedMessage {
    let publisher = message.publisher.as_ref();
    let username = publisher.and_then(|publisher| publisher.username.as_ref());
    RetainedMessage {
        topic: message.topic().into(),
        qos: message.qos as u8,
        payload: message.payload().to_vec(),
        published_at: message.timestamp,
        from: publisher.map(|publisher| publisher.clientid.to_string()),
        username: username.map(ToString::to_string),
        expires_at: Some(clock.calendar(message.expires_at)).filter(|at| *at != u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Ban, BanKind};

    #[test]
    fn an_event_loop_that_hangs_is_not_told_as_done_or_as_nothing_there() {
        let text = b"node.name = emq@127.0.0.1\n";
        let settings = emqttd_config::load_text(text).unwrap().settings;
        // Nobody runs them.
        let (broker, _shards) = Broker::new(settings, 1).unwrap();
        let ban = Ban {
            kind: BanKind::ClientId,
            value: "c".into(),
            reason: String::new(),
            until: None,
            by: "test".into(),
            at: 1,
        };
        // At the same time: each takes as long as an answer may.
        let (deleted, cleared, banned) = std::thread::scope(|scope| {
            let deleted = scope.spawn(|| broker.session_delete("c"));
            let cleared = scope.spawn(|| broker.clear_queue("c").map(drop));
            let banned = scope.spawn(|| broker.bans().add(ban).map(drop));
            (
                deleted.join().unwrap(),
                cleared.join().unwrap(),
                banned.join().unwrap(),
            )
        });
        for done in [deleted, cleared, banned] {
            assert!(matches!(done, Err(AdminError::Unavailable(_))), "{done:?}");
        }
        // The ban itself holds all the same.
        assert_eq!(broker.bans().list().len(), 1);
    }
}
