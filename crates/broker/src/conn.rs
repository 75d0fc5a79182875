//! One connection as the protocol sees it: what was agreed in CONNECT, and the encoder of what leaves.

use crate::ask::Asking;
use crate::decisions::{Decision, Decisions};
use crate::durable::journal::Journal;
use crate::durable::record::note_of;
use crate::group::Groups;
use crate::hooks::{HookTable, by_name, view};
use crate::listener::ListenerState;
use crate::metrics::{Counters, Metric};
use crate::out::{OutBuf, SHARE_FROM};
use crate::replay::Replay;
use emqttd_mqtt::{AckKind, PublishHead, QoS, ReasonCode, Version};
use emqttd_plugin_sdk::{Client, Exchange, HookPoint};
use emqttd_router::Target;
use emqttd_session::{Change, Delivery, Effect, Message, Publisher, Sink};
use emqttd_store::OwnerId;
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Number of a connection within its shard, chosen by the event loop.
pub type ConnId = u32;

/// No session, no connection.
pub(crate) const NONE: u32 = u32::MAX;

/// No DISCONNECT with a reason code.
pub(crate) const NO_CODE: u16 = 0x100;

/// Who is at the other end, as far as the transport knows.
#[derive(Debug, Clone)]
pub struct Peer {
    /// address, after PROXY protocol or forwarded headers
    pub addr: SocketAddr,
    /// the listener it came in by
    pub listener: Arc<ListenerState>,
    /// user name from the client certificate, where the listener asks for it
    pub cert_username: Option<Box<str>>,
    /// whether `mqtt.allow_anonymous` counts for it
    pub anonymous: bool,
    /// headers of the WebSocket handshake
    pub headers: Option<Arc<[(String, String)]>>,
}

/// A peer as its connection keeps it.
pub(crate) struct Kept {
    pub addr: SocketAddr,
    pub listener: Arc<ListenerState>,
    /// what the peers of most listeners do not have
    told: Option<Box<Told>>,
}

/// What the transport was told of a peer.
struct Told {
    cert_username: Option<Box<str>>,
    headers: Option<Arc<[(String, String)]>>,
}

impl Kept {
    /// The peer, and whether `mqtt.allow_anonymous` counts for it.
    pub fn new(peer: Peer) -> (Kept, bool) {
        let told = Told {
            cert_username: peer.cert_username,
            headers: peer.headers,
        };
        let something = told.cert_username.is_some() || told.headers.is_some();
        let kept = Kept {
            addr: peer.addr,
            listener: peer.listener,
            told: something.then(|| Box::new(told)),
        };
        (kept, peer.anonymous)
    }

    /// As it came.
    pub fn into_peer(self, anonymous: bool) -> Peer {
        let (cert_username, headers) = match self.told {
            Some(told) => (told.cert_username, told.headers),
            None => (None, None),
        };
        Peer {
            addr: self.addr,
            listener: self.listener,
            cert_username,
            anonymous,
            headers,
        }
    }

    /// User name from the client certificate, where the listener asks for it.
    pub fn cert_username(&self) -> Option<&str> {
        self.told.as_ref()?.cert_username.as_deref()
    }

    /// Headers of the WebSocket handshake.
    pub fn headers(&self) -> Option<Arc<[(String, String)]>> {
        self.told.as_ref()?.headers.clone()
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// nobody is there
    Free,
    /// CONNECT awaited
    Fresh,
    /// an enhanced authentication exchange runs before CONNACK
    Authenticating,
    /// CONNACK 0 sent
    Connected,
    /// no more is read; what waits is written, then it closes
    Closing,
}

/// A will as it will be published: topic with mountpoint.
#[derive(Debug)]
pub(crate) struct Will {
    pub message: Arc<Message>,
    /// Will Delay Interval, seconds
    pub delay: u32,
    /// what the ACL said at CONNECT, for the record in the store; it is asked again at the end
    pub allowed: bool,
}

/// What the connection published last, so that the same again costs no look-up.
#[derive(Debug, Default)]
pub(crate) struct PublishCache {
    /// without mountpoint
    pub topic: String,
    pub known: Known,
    /// PUBLISH packets that came
    pub received: u64,
}

/// What is known of that topic.
#[derive(Debug)]
pub(crate) struct Known {
    pub route_generation: u64,
    pub decision: Decision,
    /// sorted by owner
    pub targets: Vec<Target>,
}

impl Default for Known {
    fn default() -> Self {
        Known {
            route_generation: 0,
            decision: Decision::VOID,
            targets: Vec::new(),
        }
    }
}

/// Topic aliases of one direction.
#[derive(Debug, Default)]
pub(crate) struct AliasesOut {
    pub most: u16,
    pub known: HashMap<Box<str>, u16>,
}

/// What is not needed for each message.
pub(crate) struct Detail {
    pub peer: Kept,
    pub publisher: Option<Arc<Publisher>>,
    pub will: Option<Box<Will>>,
    pub rare: Option<Box<Rare>>,
    /// since when the packet that is arriving has been incomplete; 0 = none is
    pub partial_since: u64,
    /// how much of it is there
    pub partial_len: u32,
    /// since when nothing could be written; 0 = the client reads
    pub blocked_since: u64,
    pub close_reason: &'static str,
    /// unix seconds
    pub connected_at: u64,
    /// what has passed: added up where a read or a write ends, and its details are looked at anyway
    pub bytes_received: u64,
    pub packets_received: u64,
    pub bytes_sent: u64,
    /// those in writes that are over; the rest is in [`Conn::packets`]
    pub packets_sent: u64,
    /// what its session had delivered before
    pub delivered_before: u64,
    /// Session Expiry Interval agreed, seconds
    pub expiry: u32,
    pub keepalive: u16,
    pub clean_start: bool,
    pub problem_information: bool,
    /// whether `mqtt.allow_anonymous` counts for it
    pub anonymous: bool,
    /// its CONNACK said that nothing is retained
    pub told_no_retain: bool,
    /// reason code of the DISCONNECT that was sent or came; [`NO_CODE`] = none
    pub disconnect_code: u16,
}

/// What most connections never need.
#[derive(Default)]
pub(crate) struct Rare {
    /// topics by alias, which begins at 1
    pub aliases_in: Vec<Option<Box<str>>>,
    pub aliases_out: AliasesOut,
    /// retained messages that wait for room
    pub replay: Replay,
    /// it waits for the next round to go on with them
    pub in_line: bool,
    pub decisions: Decisions,
    pub exchange: Option<RunningExchange>,
    /// questions to the access chains
    pub asking: Option<Box<Asking>>,
    /// as plugins see it
    pub client: Option<Arc<Client>>,
    pub trace: Option<emqttd_logging::trace::TraceFile>,
    /// PUBLISH packets that may still come now, in thousandths, and since when
    pub rate: (u64, u64),
}

impl Detail {
    /// The rare parts, which come to be with the first use.
    pub fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Retained messages wait for room.
    #[inline]
    pub fn replaying(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.replay.is_empty())
    }
}

/// An enhanced authentication exchange, with the CONNECT it belongs to (kept whole until it ends).
pub(crate) struct RunningExchange {
    pub method: String,
    pub exchange: Option<Box<dyn Exchange>>,
    pub connect: Option<Vec<u8>>,
    /// it has succeeded, with this for the client, who waits to be accepted
    pub proved: Option<Vec<u8>>,
}

/// One connection. Small, because most of a million of them are idle.
pub(crate) struct Conn {
    pub out: OutBuf,
    pub detail: Option<Box<Detail>>,
    pub cache: Option<Box<PublishCache>>,
    /// when the last whole packet came, milliseconds
    pub last_packet: u64,
    pub session: u32,
    /// Maximum Packet Size of the client; `u32::MAX` = none
    pub max_packet: u32,
    /// packets appended to its output since it was last written
    pub packets: u32,
    pub version: Version,
    pub phase: Phase,
    pub dirty: bool,
    pub superuser: bool,
    pub bridge: bool,
    pub traced: bool,
    /// it has asked the access chains and has not used the answers yet
    pub asking: bool,
    /// it had its time to take what was left: its socket may be closed at once
    pub given_up: bool,
    /// its listener has a mountpoint, which is taken off the topics it is sent
    pub mounted: bool,
    /// the socket takes nothing now
    pub blocked: bool,
    /// sends aliases, or subscription ids are in play: nothing encoded for others can be used
    pub plain: bool,
}

impl Default for Conn {
    fn default() -> Self {
        Conn {
            out: OutBuf::default(),
            detail: None,
            cache: None,
            last_packet: 0,
            session: NONE,
            max_packet: u32::MAX,
            packets: 0,
            version: Version::V311,
            phase: Phase::Free,
            dirty: false,
            superuser: false,
            bridge: false,
            traced: false,
            asking: false,
            given_up: false,
            mounted: false,
            blocked: false,
            plain: true,
        }
    }
}

impl Conn {
    /// The parts that are there from opening to closing.
    pub fn detail(&mut self) -> &mut Detail {
        self.detail
            .as_mut()
            .expect("a connection that is not free has its detail")
    }

    /// As [`Conn::detail`], to look at.
    pub fn peek(&self) -> &Detail {
        self.detail
            .as_ref()
            .expect("a connection that is not free has its detail")
    }
}

/// Writes the packets of a session to its connection. An offline session has none to write to.
pub(crate) struct ConnSink<'a> {
    pub conn: Option<&'a mut Conn>,
    pub id: ConnId,
    /// number of the session in the store; 0 = it has none
    pub number: OwnerId,
    pub journal: Option<&'a mut Journal>,
    pub groups: &'a Groups,
    pub counters: &'a Counters,
    pub hooks: &'a HookTable,
    pub effects: &'a mut Vec<Effect>,
    pub pressure: &'a mut usize,
    pub now: u64,
}

impl ConnSink<'_> {
    fn count_sent(&self, message: &Message, qos: QoS) {
        // What the broker says of itself is not counted (sheet 8.1).
        if message.publisher.is_some() {
            let metric = match qos {
                QoS::AtMostOnce => Metric::Qos0Sent,
                QoS::AtLeastOnce => Metric::Qos1Sent,
                QoS::ExactlyOnce => Metric::Qos2Sent,
            };
            self.counters.add(metric, 1);
        }
    }

    /// Position behind what is written now, if what follows has to wait for the store: the client keeps an
    /// identifier used at QoS 2, so it must not see one that could be forgotten [MQTT-4.3.3-5].
    fn before_gate(&self, qos: QoS) -> Option<usize> {
        let conn = self.conn.as_ref()?;
        (self.number != 0 && qos == QoS::ExactlyOnce).then(|| conn.out.end())
    }

    fn gate(&mut self, position: Option<usize>) {
        if let (Some(position), Some(conn), Some(journal)) =
            (position, &mut self.conn, &mut self.journal)
        {
            journal.gate(conn, self.id, position);
        }
    }

    /// Who is owed a delivery in the store: its group, or the session.
    fn owner(&self, delivery: &Delivery) -> OwnerId {
        match delivery.group {
            None => self.number,
            // A group that is gone is owed nothing.
            Some(group) => self.groups.owing(group).map_or(0, |owing| owing.number),
        }
    }
}

impl Sink for ConnSink<'_> {
    fn record(&mut self, change: Change<'_>) {
        let (by, owner) = match &change {
            Change::Sent { delivery, .. } | Change::Done { delivery } => {
                (self.number, self.owner(delivery))
            }
            _ => (self.number, 0),
        };
        let Some(journal) = &mut self.journal else {
            return;
        };
        let batch = &mut journal.batch;
        match change {
            Change::Sent { id, delivery } => {
                let size = delivery.message.size() as u32;
                let note = note_of(delivery.qos, delivery.retain);
                batch.sent(by, id, owner, delivery.seq, size, note);
            }
            Change::Released { id, .. } => batch.released(by, id),
            Change::Completed { id, .. } => batch.completed(by, id),
            Change::Done { delivery } => {
                batch.done(owner, delivery.seq, delivery.message.size() as u32);
            }
        }
    }

    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        let gate = self.before_gate(delivery.qos);
        let Some(conn) = &mut self.conn else {
            return false;
        };
        let written = delivery.with_ids(|ids| {
            write_publish(
                conn,
                &delivery.message,
                delivery.qos,
                delivery.retain,
                id,
                dup,
                ids,
                self.now,
            )
        });
        if written == 0 {
            return false;
        }
        self.gate(gate);
        *self.pressure += written;
        self.counters.add(Metric::BytesSent, written as u64);
        self.count_sent(&delivery.message, delivery.qos);
        if self.hooks.has(HookPoint::MessageDelivered)
            && let Some(conn) = &self.conn
            && let Some(client) = &conn.peek().publisher
        {
            self.hooks.each(HookPoint::MessageDelivered, |h| {
                h.message_delivered(by_name(client), &view(&delivery.message))
            });
        }
        true
    }

    fn pubrel(&mut self, id: u16, reason: ReasonCode) {
        let gate = self.before_gate(QoS::ExactlyOnce);
        if let Some(conn) = &mut self.conn {
            write_ack(conn, AckKind::PubRel, id, reason, self.counters);
        }
        self.gate(gate);
    }

    fn effect(&mut self, effect: Effect) {
        if !matches!(effect, Effect::Acked(_)) || self.hooks.has(HookPoint::MessageAcked) {
            self.effects.push(effect);
        }
    }
}

/// Appends an acknowledgement.
pub(crate) fn write_ack(
    conn: &mut Conn,
    kind: AckKind,
    id: u16,
    reason: ReasonCode,
    counters: &Counters,
) {
    let metric = match kind {
        AckKind::PubAck => Metric::PubackSent,
        AckKind::PubRec => Metric::PubrecSent,
        AckKind::PubRel => Metric::PubrelSent,
        AckKind::PubComp => Metric::PubcompSent,
    };
    counters.add(metric, 1);
    let version = conn.version;
    let bytes = conn.out.bytes();
    let before = bytes.len();
    emqttd_mqtt::encode_ack(bytes, version, kind, id, reason, None);
    counters.add(Metric::BytesSent, (bytes.len() - before) as u64);
    conn.packets += 1;
    trace_sent(conn, before);
}

/// Appends a PUBLISH; returns its length, 0 when it is larger than the client takes [MQTT-3.1.2-24].
#[allow(clippy::too_many_arguments)]
pub(crate) fn write_publish(
    conn: &mut Conn,
    message: &Arc<Message>,
    qos: QoS,
    retain: bool,
    id: u16,
    dup: bool,
    ids: &[u32],
    now: u64,
) -> usize {
    let version = conn.version;
    let payload = message.payload();
    let listener = conn.mounted.then(|| Arc::clone(&conn.peek().peer.listener));
    let mountpoint = listener
        .as_ref()
        .and_then(|listener| listener.settings.mountpoint.as_deref());
    let topic = message.topic();
    let mut head = PublishHead {
        dup,
        qos,
        retain,
        // Topics that do not begin with the mountpoint pass unchanged (sheet 7.9).
        topic: mountpoint
            .and_then(|prefix| topic.strip_prefix(prefix))
            .unwrap_or(topic),
        packet_id: id,
        properties: message.properties(),
        message_expiry: None,
        topic_alias: None,
        subscription_ids: ids,
        payload_len: payload.len(),
    };
    if version == Version::V5 {
        head.message_expiry = message.expiry_left(now);
        if conn.max_packet != u32::MAX
            && emqttd_mqtt::publish_len(version, &head) > conn.max_packet as usize
        {
            return 0;
        }
        let rare = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut());
        if let Some(aliases) = rare.map(|rare| &mut rare.aliases_out) {
            let known = aliases.known.get(head.topic).copied();
            if let Some(alias) = known {
                // The receiver knows the topic by its alias [MQTT-3.3.2-8].
                (head.topic, head.topic_alias) = ("", Some(alias));
            } else if aliases.known.len() < usize::from(aliases.most) {
                let alias = aliases.known.len() as u16 + 1;
                let with_alias = PublishHead {
                    topic_alias: Some(alias),
                    ..head
                };
                // The alias adds three bytes, which the limit may not have room for.
                if conn.max_packet == u32::MAX
                    || emqttd_mqtt::publish_len(version, &with_alias) <= conn.max_packet as usize
                {
                    aliases.known.insert(head.topic.into(), alias);
                    head.topic_alias = Some(alias);
                }
            }
        }
    }
    let bytes = conn.out.bytes();
    let before = bytes.len();
    emqttd_mqtt::encode_publish_head(bytes, version, &head);
    if payload.len() < SHARE_FROM {
        bytes.extend_from_slice(payload);
    } else {
        conn.out.push_payload(message);
    }
    let written = conn.out.bytes().len() - before
        + if payload.len() < SHARE_FROM {
            0
        } else {
            payload.len()
        };
    conn.packets += 1;
    if conn.traced {
        crate::trace::sent_publish(conn, &head, payload);
    }
    written
}

/// Shows the packets appended since `before` to the trace of this client.
pub(crate) fn trace_sent(conn: &mut Conn, before: usize) {
    if conn.traced {
        crate::trace::sent(conn, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection holds. The allocator gives out steps of 16 bytes and takes 8 of the first for
    /// itself, so what is counted in the details costs nothing.
    #[test]
    fn an_idle_connection_stays_small() {
        assert_eq!(size_of::<Conn>(), 88);
        assert_eq!(size_of::<Detail>(), 168);
        assert_eq!(size_of::<crate::shard::SessionSlot>(), 184);
        // Of one that publishes.
        assert_eq!(size_of::<PublishCache>(), 88);
    }
}
