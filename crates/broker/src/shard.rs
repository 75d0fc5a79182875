//! One event loop's share of the broker: its connections and sessions.
//!
//! The event loop (`net`) opens and closes connections here, hands in bytes, and takes out what is to
//! be written. A client id belongs to one shard, so everything about a client happens on one thread.

use crate::ask::Rechecks;
use crate::conn::{Conn, ConnId, ConnSink, Detail, Kept, NO_CODE, NONE, Peer, Phase};
use crate::durable::Owing;
use crate::durable::journal::Journal;
use crate::durable::load::Read;
use crate::durable::write::Debts;
use crate::group::Group;
use crate::hooks::HookTable;
use crate::listener::ListenerState;
use crate::metrics::{Counters, Metric};
use crate::node::{Mailbox, Node, unix_millis};
use crate::out::OutBuf;
use crate::replay::Replay;
use crate::target::Owner;
use crate::timer::Wheel;
use emqttd_config::Settings;
use emqttd_mqtt::{DecodeError, ReasonCode, Version};
use emqttd_router::Target;
use emqttd_session::{Effect, Limits, Message, Publisher, Session};
use emqttd_store::Health;
use hashbrown::HashTable;
use slab::Slab;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// A message another shard has for sessions of this one, or a question from management.
pub(crate) enum Mail {
    /// for these sessions of this shard, sorted by owner
    Publish {
        message: Arc<Message>,
        targets: Box<[Target]>,
        /// for each target the number under which its session is owed it in the store; none of them when empty
        seqs: Box<[u64]>,
        from: u64,
    },
    /// a shared group has chosen this session
    Assigned {
        message: Arc<Message>,
        seq: u64,
        group: Arc<Group>,
        owner: u64,
    },
    /// what was asked of the store
    Read(Read),
    /// a message that a plugin publishes
    Own(Arc<Message>),
    /// a closure for the shard itself
    Call(Box<dyn FnOnce(&mut Shard) + Send>),
}

impl Mail {
    /// Roughly the bytes it keeps in memory.
    pub fn weight(&self) -> usize {
        match self {
            Mail::Publish {
                message,
                targets,
                seqs,
                ..
            } => {
                message.size() + size_of_val(&**targets) + size_of_val(&**seqs) + size_of::<Mail>()
            }
            Mail::Assigned { message, .. } | Mail::Own(message) => {
                message.size() + size_of::<Mail>()
            }
            // Bounded by what was asked for.
            Mail::Read(_) | Mail::Call(_) => 0,
        }
    }
}

/// What the event loop is to do after [`Shard::input`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    Continue,
    /// Keep what was not consumed, and read on after so many milliseconds.
    Pause(u64),
    /// Hand the connection with all its bytes to that shard.
    Move(usize),
}

/// How much of the input was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// bytes consumed
    pub consumed: usize,
    /// bytes of the packet that is arriving, as far as its header is known; 0 = unknown
    pub wanted: usize,
    /// what to do
    pub next: Next,
}

/// A session with what the broker keeps beside it.
pub(crate) struct SessionSlot {
    pub session: Session,
    pub publisher: Arc<Publisher>,
    /// who it is in the store
    pub owing: Option<Arc<Owing>>,
    pub conn: u32,
    pub epoch: u32,
    /// Session Expiry Interval, seconds; 0 = ends with its connection, `u32::MAX` = never ends
    pub expiry: u32,
    /// when it ends if nobody returns; 0 = somebody is here
    pub expires_at: u64,
    /// the will that waits for its delay, and when it is due
    pub will: Option<Box<(u64, Arc<Message>)>>,
    /// shared groups it is a member of
    pub groups: Vec<Arc<Group>>,
    /// retained messages that its last connection had no time to take
    pub replay: Option<Box<Replay>>,
    /// of a restored session
    pub notes: Option<Box<Notes>>,
    /// a group has been told that there is no room here
    pub refused_group: bool,
    /// its queue is above the high mark
    pub alarmed: bool,
    /// generation of the access chains under which its subscriptions were last looked at
    pub acl_generation: u64,
    /// of the user name and address under which they were
    pub identity: u64,
    /// unix seconds
    pub created_at: u64,
}

/// How the messages of groups were sent that a session had in flight at the restart, by packet identifier.
pub(crate) struct Notes(pub Vec<(u16, u8)>);

/// One event loop's share of the broker.
pub struct Shard {
    pub(crate) node: Arc<Node>,
    pub(crate) index: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) sessions: Slab<SessionSlot>,
    pub(crate) registry: HashTable<u32>,
    pub(crate) hasher: RandomState,
    pub(crate) epoch: u32,
    pub(crate) conn_timers: Wheel,
    pub(crate) session_timers: Wheel,
    pub(crate) dirty: Vec<ConnId>,
    /// mail gathered this round, by shard
    pub(crate) outgoing: Vec<Vec<Mail>>,
    pub(crate) effects: Vec<Effect>,
    /// number of the last question that could not be answered at once
    pub(crate) questions: u64,
    pub(crate) rechecks: Rechecks,
    /// connections that have their answers
    pub(crate) awake: Vec<ConnId>,
    /// sessions and messages that wait for the present call to end (wills, bounced group messages)
    pub(crate) later: VecDeque<Later>,
    /// what is to be stored of this round; `None` = nothing is stored
    pub(crate) journal: Option<Box<Journal>>,
    /// whether the store can take more, as of this round
    pub(crate) health: Health,
    /// for each target of the message that is passing, its number in the store
    pub(crate) seqs: Vec<u64>,
    pub(crate) debts: Debts,
    /// milliseconds since the node started, as of this round
    pub(crate) now: u64,
    /// unix milliseconds, as of this round
    pub(crate) unix: u64,
    pub(crate) encoded: Vec<u8>,
    /// another shard has more mail than it can work on: clients are read later
    congested: bool,
    /// the store is so far behind that clients are read later
    swamped: bool,
    /// bytes appended to outputs, and to mail, since they were last written
    pub(crate) pressure: usize,
    pub(crate) sys: crate::sys::Ticker,
    pub(crate) work: crate::figures::Work,
    /// taken from the mailbox and not yet worked on
    incoming: VecDeque<Mail>,
    fired: Vec<u32>,
    /// connections whose retained messages go on in the next round
    pub(crate) replaying: VecDeque<ConnId>,
    /// what was done about retained messages in this round
    pub(crate) replayed: usize,
    /// questions for the store, so far
    pub(crate) questions_of_replays: u64,
}

/// Work that must not begin while a session or connection is being worked on.
pub(crate) enum Later {
    /// publish a message of the broker's own making or a will
    Publish(Arc<Message>),
    /// find another member for a group's message
    Assign(Arc<Group>, Arc<Message>, u64),
    /// tell plugins what has become of a client
    Hook(Box<dyn FnOnce(&HookTable) + Send>),
}

impl Shard {
    pub(crate) fn new(node: Arc<Node>, index: usize) -> Shard {
        let now = node.now();
        Shard {
            counters: Arc::clone(&node.counters[index]),
            settings: node.settings.load_full(),
            limits: node.limits.load_full(),
            conns: Vec::new(),
            sessions: Slab::new(),
            registry: HashTable::new(),
            hasher: RandomState::new(),
            epoch: 0,
            conn_timers: Wheel::new(now),
            session_timers: Wheel::new(now),
            dirty: Vec::new(),
            outgoing: node.mailboxes.iter().map(|_| Vec::new()).collect(),
            effects: Vec::new(),
            questions: 0,
            rechecks: Rechecks::default(),
            awake: Vec::new(),
            later: VecDeque::new(),
            journal: crate::durable::journal::journal_of(&node),
            health: Health::Good,
            seqs: Vec::new(),
            debts: Debts::default(),
            now,
            unix: unix_millis(),
            encoded: Vec::new(),
            congested: false,
            swamped: false,
            pressure: 0,
            sys: crate::sys::Ticker::new(now),
            work: Default::default(),
            incoming: VecDeque::new(),
            fired: Vec::new(),
            replaying: VecDeque::new(),
            replayed: 0,
            questions_of_replays: 0,
            node,
            index,
        }
    }

    /// Number of this shard.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Registers how to wake this shard's event loop.
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        self.node.set_waker(self.index, waker);
    }

    /// Begins a round: the clock is read once for all that happens in it.
    pub fn begin_round(&mut self) {
        let now = self.node.started.elapsed();
        self.work.begin(now);
        self.begin_round_at(Node::clock(now));
    }

    /// As [`Shard::begin_round`], at a time of the caller's (milliseconds, never less than before): for
    /// tests that do not wait.
    pub fn begin_round_at(&mut self, now: u64) {
        self.now = now;
        // The calendar goes along with a clock that is ahead of the node's.
        self.unix = unix_millis() + now.saturating_sub(self.node.now());
        self.begin_replays();
        self.swamped = self.look_at_store();
        self.congested = self.swamped || self.node.mailboxes.iter().any(Mailbox::is_full);
    }

    /// A connection whose transport is ready. `id` must be free.
    pub fn open(&mut self, id: ConnId, peer: Peer) {
        if id as usize >= self.conns.len() {
            self.conns.resize_with(id as usize + 1, Conn::default);
        }
        let conn = &mut self.conns[id as usize];
        let (peer, anonymous) = Kept::new(peer);
        *conn = Conn {
            phase: Phase::Fresh,
            last_packet: self.now,
            detail: Some(Box::new(Detail {
                peer,
                publisher: None,
                will: None,
                rare: None,
                connected_at: 0,
                bytes_received: 0,
                packets_received: 0,
                bytes_sent: 0,
                packets_sent: 0,
                delivered_before: 0,
                partial_since: 0,
                partial_len: 0,
                blocked_since: 0,
                expiry: 0,
                keepalive: 0,
                clean_start: true,
                problem_information: true,
                anonymous,
                told_no_retain: false,
                disconnect_code: NO_CODE,
                close_reason: "closed",
            })),
            ..Conn::default()
        };
        self.conn_timers.set(
            id,
            self.now + self.settings.mqtt.idle_timeout.as_millis() as u64,
        );
    }

    /// Takes a connection out again before its CONNECT was used, to give it to another shard.
    pub fn give_away(&mut self, id: ConnId) -> Option<Peer> {
        let conn = std::mem::take(&mut self.conns[id as usize]);
        self.conn_timers.cancel(id);
        conn.detail
            .map(|detail| detail.peer.into_peer(detail.anonymous))
    }

    /// Bytes from a connection. What is not consumed must come again, with more behind it.
    pub fn input(&mut self, id: ConnId, bytes: &[u8]) -> Taken {
        let mut at = 0;
        let mut packets = 0;
        let mut wanted = 0;
        let mut next = if self.is_waiting(id) {
            Next::Pause(crate::ask::WAIT)
        } else if self.congested || self.answers_wait(id) {
            Next::Pause(CONGESTED)
        } else {
            Next::Continue
        };
        while next == Next::Continue
            && at < bytes.len()
            && self.conns[id as usize].phase != Phase::Closing
        {
            if self.pressed() {
                next = Next::Pause(0);
                break;
            }
            match self.packet(id, &bytes[at..]) {
                Ok(Step::Done(n)) => {
                    at += n;
                    packets += 1;
                }
                Ok(Step::More(n)) => {
                    wanted = n;
                    break;
                }
                Ok(Step::Wait(n, verdict)) => {
                    at += n;
                    next = verdict;
                    break;
                }
                Err(error) => {
                    self.malformed(id, error, &bytes[at..]);
                    break;
                }
            }
            if !self.later.is_empty() {
                self.settle();
            }
            if self.journal.is_some() {
                self.commit_early();
            }
        }
        if !self.later.is_empty() {
            self.settle();
        }
        self.counters.add(Metric::BytesReceived, at as u64);
        let closing = self.conns[id as usize].phase == Phase::Closing;
        let consumed = if closing { bytes.len() } else { at };
        let partial = if next == Next::Continue {
            bytes.len() - consumed
        } else {
            0
        };
        self.note_progress(id, (at, packets), partial);
        Taken {
            consumed,
            wanted,
            next,
        }
    }

    /// Whether so many answers to a client wait for the disk that no more should be asked for.
    #[inline]
    fn answers_wait(&self, id: ConnId) -> bool {
        self.journal.is_some() && {
            let out = &self.conns[id as usize].out;
            out.len() > self.settings.mqtt.max_send_buffer && out.is_gated()
        }
    }

    /// Watches for a packet that stops half-way, and counts the bytes and packets that were used.
    fn note_progress(&mut self, id: ConnId, (bytes, packets): (usize, u64), partial: usize) {
        let progress = bytes > 0;
        let now = self.now;
        let idle = self.settings.mqtt.idle_timeout.as_millis() as u64;
        let conn = &mut self.conns[id as usize];
        if progress {
            conn.last_packet = now;
        }
        let fresh = conn.phase != Phase::Connected;
        let Some(detail) = &mut conn.detail else {
            return;
        };
        detail.bytes_received += bytes as u64;
        detail.packets_received += packets;
        let grown = !fresh && partial as u64 > u64::from(detail.partial_len);
        detail.partial_len = u32::try_from(partial).unwrap_or(u32::MAX);
        if grown && partial > LARGE {
            // A client in the middle of a large packet cannot send PINGREQ: its bytes show that it lives.
            conn.last_packet = now;
        }
        if partial == 0 {
            detail.partial_since = 0;
        } else if progress || grown || detail.partial_since == 0 {
            detail.partial_since = now;
            if !fresh {
                self.conn_timers.set_by(id, now + idle);
            }
        }
    }

    /// A connection can take no more of what it was given: bytes that could not be written stay in its
    /// buffer. `written` bytes went out.
    pub fn after_write(&mut self, id: ConnId, written: usize, blocked: bool) {
        let limit = self.settings.mqtt.max_send_buffer;
        let now = self.now;
        let conn = &mut self.conns[id as usize];
        conn.blocked = blocked;
        let pending = conn.out.len();
        let Some(detail) = &mut conn.detail else {
            return;
        };
        detail.bytes_sent += written as u64;
        detail.packets_sent += u64::from(std::mem::take(&mut conn.packets));
        let timeout = detail.peer.listener.settings.send_timeout.as_millis() as u64;
        if !blocked {
            detail.blocked_since = 0;
        } else if written > 0 || detail.blocked_since == 0 {
            detail.blocked_since = now;
            // The keep alive may be over before that.
            self.conn_timers.set_by(id, now + timeout);
        }
        if blocked && pending > HARD * limit {
            return self.give_up(id);
        }
        if pending < limit / 2 {
            if self.conns[id as usize].peek().replaying() {
                self.replay(id);
            }
            let slot = self.conns[id as usize].session;
            if slot != NONE && self.sessions[slot as usize].refused_group {
                self.offer_groups(slot);
            }
        }
    }

    /// Ends a connection whose client does not read, at once: no packet would arrive, so none is sent, and
    /// what waits for it is dropped.
    fn give_up(&mut self, id: ConnId) {
        if self.conns[id as usize].phase != Phase::Closing {
            self.hang_up(id, "timeout");
        }
        self.conns[id as usize].out = OutBuf::default();
        self.conns[id as usize].given_up = true;
        self.mark(id);
        self.settle();
    }

    /// More bytes of a packet came that is far from whole; `partial` are there by now.
    pub fn grew(&mut self, id: ConnId, partial: usize) {
        self.note_progress(id, (0, 0), partial);
    }

    /// The event loop does not read this connection for so many milliseconds: that is no silence of the
    /// client's.
    pub fn hold(&mut self, id: ConnId, milliseconds: u64) {
        let until = self.now + milliseconds;
        let conn = &mut self.conns[id as usize];
        if conn.phase == Phase::Connected {
            conn.last_packet = conn.last_packet.max(until);
            if let Some(detail) = conn
                .detail
                .as_mut()
                .filter(|detail| detail.partial_since > 0)
            {
                detail.partial_since = until;
            }
        }
    }

    /// The transport is gone, or is to go: ends the connection if it has not ended yet.
    pub fn lost(&mut self, id: ConnId, reason: &'static str) {
        if !matches!(self.conns[id as usize].phase, Phase::Free | Phase::Closing) {
            self.hang_up(id, reason);
            self.settle();
        }
    }

    /// Frees the number; the event loop has closed the socket.
    pub fn release(&mut self, id: ConnId) {
        let conn = std::mem::take(&mut self.conns[id as usize]);
        self.conn_timers.cancel(id);
        if let Some(detail) = conn.detail {
            detail.peer.listener.leave(detail.close_reason);
        }
    }

    /// Milliseconds of the node's clock, as of this round.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whether other threads have left something here.
    pub fn has_mail(&self) -> bool {
        !self.incoming.is_empty()
            || !self.replaying.is_empty()
            || self.node.mailboxes[self.index].is_waiting()
    }

    /// Weight of mail that was taken and waits for its turn.
    pub(crate) fn mail_behind(&self) -> usize {
        self.incoming.iter().map(Mail::weight).sum()
    }

    /// Whether so much has been appended to outputs that they should be written before more is read.
    #[inline]
    pub fn pressed(&self) -> bool {
        self.pressure > PRESSURE
    }

    /// All outputs have been written, as far as their sockets took them; mail for other shards goes out
    /// as well.
    pub fn flushed(&mut self) {
        self.pressure = 0;
        self.post();
        self.congested = self.swamped || self.node.mailboxes.iter().any(Mailbox::is_full);
    }

    /// Whether the socket took less than there was at the last write.
    pub fn is_blocked(&self, id: ConnId) -> bool {
        self.conns[id as usize].blocked
    }

    /// Whether a connection came in by that listener.
    pub fn came_by(&self, id: ConnId, listener: &Arc<ListenerState>) -> bool {
        let detail = self
            .conns
            .get(id as usize)
            .and_then(|conn| conn.detail.as_ref());
        detail.is_some_and(|detail| Arc::ptr_eq(&detail.peer.listener, listener))
    }

    /// The broker stops: ends the connection, telling MQTT 5 clients why.
    pub fn shut_down(&mut self, id: ConnId) {
        if !self.closing(id) {
            self.close(id, ReasonCode::SERVER_SHUTTING_DOWN, "shutdown");
            self.settle();
        }
    }

    /// Whether the connection is to be closed once its output is written.
    pub fn closing(&self, id: ConnId) -> bool {
        self.conns[id as usize].phase == Phase::Closing
    }

    /// Whether a connection that is closing is not waited for any longer.
    pub fn given_up(&self, id: ConnId) -> bool {
        self.conns[id as usize].given_up
    }

    /// Why a connection that is closing does so.
    pub fn close_reason(&self, id: ConnId) -> &'static str {
        self.conns[id as usize]
            .detail
            .as_ref()
            .map_or("closed", |detail| detail.close_reason)
    }

    /// What waits to be written.
    pub fn output(&mut self, id: ConnId) -> &mut OutBuf {
        &mut self.conns[id as usize].out
    }

    /// Connections with output, or to be closed, since the last call. What this round has for the store is
    /// handed over first.
    pub fn take_dirty(&mut self, into: &mut Vec<ConnId>) {
        self.commit_round();
        into.clear();
        std::mem::swap(&mut self.dirty, into);
        for id in into.iter() {
            self.conns[*id as usize].dirty = false;
        }
    }

    /// Whether [`Shard::take_dirty`] would hand out something.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Puts a connection on the list of those with something to do.
    #[inline]
    pub(crate) fn mark(&mut self, id: ConnId) {
        let conn = &mut self.conns[id as usize];
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Gathers mail for another shard.
    #[inline]
    pub(crate) fn mail(&mut self, shard: u16, mail: Mail) {
        self.pressure += mail.weight();
        self.outgoing[usize::from(shard)].push(mail);
    }

    /// Hands the mail of this round to the other shards.
    pub fn post(&mut self) {
        if self.outgoing.iter().any(|batch| !batch.is_empty()) {
            // The owners of what is posted write about it in batches that must come after this one.
            self.commit();
        }
        for (shard, batch) in self.outgoing.iter_mut().enumerate() {
            if !batch.is_empty() {
                self.node.mailboxes[shard].post(batch);
            }
        }
    }

    /// Does what other threads have left here, until so much has to be written that the rest waits: then
    /// [`Shard::has_mail`] says so.
    pub fn receive(&mut self) {
        if self.incoming.is_empty() {
            // The same memory serves again.
            let mut mail = Vec::from(std::mem::take(&mut self.incoming));
            self.node.mailboxes[self.index].take(&mut mail);
            self.incoming = mail.into();
            // The store wakes a shard by the same flag, which says nothing while it is up: what became durable
            // between the beginning of the round and now is seen here or wakes the shard again.
            fence(Ordering::SeqCst);
            self.swamped = self.look_at_store();
        }
        while let Some(item) = self.incoming.pop_front() {
            match item {
                Mail::Publish {
                    message,
                    targets,
                    seqs,
                    from,
                } => {
                    self.heard_of(&seqs);
                    self.deliver_here(&message, &targets, &seqs, from);
                }
                Mail::Assigned {
                    message,
                    seq,
                    group,
                    owner,
                } => self.assigned(message, seq, &group, owner),
                Mail::Read(read) => self.read(read),
                Mail::Own(message) => self.publish_message(message, crate::target::NOBODY),
                Mail::Call(call) => call(self),
            }
            self.settle();
            if self.pressed() {
                return;
            }
        }
        self.go_on_with_replays();
    }

    /// Does what waits until nothing else is being worked on.
    pub(crate) fn settle(&mut self) {
        while let Some(later) = self.later.pop_front() {
            match later {
                Later::Publish(message) => self.publish_message(message, crate::target::NOBODY),
                Later::Assign(group, message, seq) => self.assign(&group, &message, seq),
                Later::Hook(tell) => tell(&self.node.hooks),
            }
        }
    }

    /// Fires what is due.
    pub fn timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.conn_timers.expired(self.now, &mut fired);
        for id in fired.drain(..) {
            self.conn_timer(id);
            // A will is published in the batch that takes it from its session.
            self.settle();
        }
        self.session_timers.expired(self.now, &mut fired);
        for slot in fired.drain(..) {
            self.session_timer(slot);
            self.settle();
        }
        self.fired = fired;
        self.recheck_due();
        if self.index == 0 {
            self.sys_tick();
        }
        self.settle();
    }

    /// Milliseconds until [`Shard::timers`] has something to do; `None` = nothing is set.
    pub fn timeout(&self) -> Option<u64> {
        let sys = if self.index == 0 {
            self.sys_due()
        } else {
            None
        };
        let lazy = self.journal.as_ref().and_then(|journal| journal.due());
        let recheck = Some(self.rechecks.due).filter(|due| *due > 0);
        let next = [
            self.conn_timers.next(),
            self.session_timers.next(),
            sys,
            lazy,
            recheck,
        ]
        .into_iter()
        .flatten()
        .min()?;
        Some(next.saturating_sub(self.now))
    }

    fn conn_timer(&mut self, id: ConnId) {
        let idle = self.settings.mqtt.idle_timeout.as_millis() as u64;
        let now = self.now;
        let conn = &mut self.conns[id as usize];
        let (phase, last) = (conn.phase, conn.last_packet);
        let Some(detail) = &mut conn.detail else {
            return;
        };
        let send_timeout = detail.peer.listener.settings.send_timeout.as_millis() as u64;
        let (partial, blocked) = (detail.partial_since, detail.blocked_since);
        let keepalive = u64::from(detail.keepalive) * 1500;
        if blocked > 0 && now >= blocked + send_timeout {
            return self.give_up(id);
        }
        let mut next = if blocked > 0 {
            blocked + send_timeout
        } else {
            u64::MAX
        };
        match phase {
            Phase::Free | Phase::Closing => {}
            Phase::Fresh | Phase::Authenticating if now >= last + idle => {
                return self.hang_up(id, "idle_timeout");
            }
            Phase::Fresh | Phase::Authenticating => next = next.min(last + idle),
            Phase::Connected => {
                if partial > 0 && now >= partial + idle {
                    return self.close(id, ReasonCode::MALFORMED_PACKET, "idle_timeout");
                }
                if partial > 0 {
                    next = next.min(partial + idle);
                }
                // [MQTT-3.1.2-22]: nothing within one and a half times the keep alive.
                if keepalive > 0 && now >= last + keepalive {
                    return self.close(id, ReasonCode::KEEP_ALIVE_TIMEOUT, "keepalive_timeout");
                }
                if keepalive > 0 {
                    next = next.min(last + keepalive);
                }
                conn.out.shrink();
            }
        }
        if next != u64::MAX {
            self.conn_timers.set(id, next);
        }
    }

    /// A packet that breaks the rules: answered where the version has an answer, then closed
    /// [MQTT-4.13.1-1].
    fn malformed(&mut self, id: ConnId, error: DecodeError, packet: &[u8]) {
        let reason = error.emq_reason();
        let conn = &self.conns[id as usize];
        let addr = conn.peek().peer.addr;
        let who =
            emqttd_logging::escape(conn.peek().publisher.as_ref().map_or("", |p| &*p.clientid));
        log::warn!("Client({who}@{addr}): {reason}: {}", error.detail);
        if conn.phase == Phase::Connected {
            return self.close(id, error.reason(), reason);
        }
        self.refuse_bad_connect(id, &error, packet);
    }

    pub(crate) fn sink<'a>(&'a mut self, slot: u32) -> (&'a mut SessionSlot, ConnSink<'a>) {
        let entry = &mut self.sessions[slot as usize];
        let id = entry.conn;
        let conn = match id {
            NONE => None,
            _ => {
                let conn = &mut self.conns[id as usize];
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(id);
                }
                Some(conn)
            }
        };
        let sink = ConnSink {
            conn,
            id,
            number: entry.owing.as_ref().map_or(0, |owing| owing.number),
            journal: self.journal.as_deref_mut(),
            groups: &self.node.groups,
            counters: &self.counters,
            hooks: &self.node.hooks,
            effects: &mut self.effects,
            pressure: &mut self.pressure,
            now: self.now,
        };
        (entry, sink)
    }

    pub(crate) fn owner_of(&self, slot: u32) -> u64 {
        let epoch = self.sessions[slot as usize].epoch;
        Owner {
            shard: self.index as u16,
            slot,
            epoch,
        }
        .pack()
    }

    pub(crate) fn find_session(&self, clientid: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(clientid);
        self.registry
            .find(hash, |slot| {
                *self.sessions[*slot as usize].publisher.clientid == *clientid
            })
            .copied()
    }

    /// The slot, if the session that owner names still lives.
    #[inline]
    pub(crate) fn living(&self, owner: u64) -> Option<u32> {
        let owner = Owner::unpack(owner);
        let entry = self.sessions.get(owner.slot as usize)?;
        (entry.epoch == owner.epoch).then_some(owner.slot)
    }

    pub(crate) fn version_of(&self, id: ConnId) -> Version {
        self.conns[id as usize].version
    }
}

/// Bytes of output after which no more input is used before they are written.
const PRESSURE: usize = 4 * 1024 * 1024;

/// How long, in milliseconds, clients wait to be read while another shard catches up.
const CONGESTED: u64 = 5;

/// Bytes of an unfinished packet beyond which each further one counts for the keep alive.
const LARGE: usize = 4096;

/// Beyond so many times the limit of the send buffer a connection that takes nothing is ended at once.
const HARD: usize = 8;

/// What one packet came to.
pub(crate) enum Step {
    /// so many bytes were used
    Done(usize),
    /// the packet is not whole yet; it will have so many bytes (0 = unknown)
    More(usize),
    /// so many bytes were used, then stop
    Wait(usize, Next),
}
