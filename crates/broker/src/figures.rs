//! What the broker knows of its own working: how busy its event loops are, what holds memory, and for whom.
//!
//! Nothing is added up while messages pass; it is counted when somebody asks, in pieces so small that no event
//! loop is held up.

use crate::Broker;
use crate::conn::{Conn, Detail, NONE, PublishCache, Rare};
use crate::metrics::Metric;
use crate::shard::{SessionSlot, Shard};
use emqttd_plugin_sdk::{Figures, Holder, LoopFigures};
use emqttd_router::Target;
use emqttd_session::Subscription;
use std::cmp::Reverse;
use std::ops::Range;
use std::time::Duration;

/// Connections and sessions that are looked at before an event loop goes on: some tenths of a millisecond.
const PIECE: usize = 2048;

/// How an event loop has spent its time.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// when the round began, since the start of the node; `None` while the loop waits
    began: Option<Duration>,
    rounds: u64,
    busy: Duration,
    /// since it was last asked for
    longest: Duration,
}

impl Work {
    #[inline]
    pub fn begin(&mut self, now: Duration) {
        self.began = Some(now);
    }

    #[inline]
    fn end(&mut self, now: Duration) {
        let Some(began) = self.began.take() else {
            return;
        };
        let took = now.saturating_sub(began);
        self.rounds += 1;
        self.busy += took;
        self.longest = self.longest.max(took);
    }
}

impl Shard {
    /// Ends a round: the event loop is going to wait. Without it nothing is known of how busy it is.
    #[inline]
    pub fn end_round(&mut self) {
        self.work.end(self.node.started.elapsed());
    }

    /// All but the number of connections; the longest round begins anew.
    fn loop_figures(&mut self) -> LoopFigures {
        let figures = self.loop_reading();
        self.work.longest = Duration::ZERO;
        figures
    }

    /// All but the number of connections.
    pub(crate) fn loop_reading(&self) -> LoopFigures {
        LoopFigures {
            connections: 0,
            sessions: self.sessions.len() as u64,
            rounds: self.work.rounds,
            busy: micros(self.work.busy),
            longest: micros(self.work.longest),
            mail: (self.mail_behind() + self.node.mailboxes[self.index].load()) as u64,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Bytes by what holds them, of some connections and sessions.
#[derive(Debug, Default)]
struct Held {
    /// how many there are
    open: u64,
    connections: usize,
    inputs: usize,
    outputs: usize,
    sessions: usize,
    queues: usize,
    inflight: usize,
}

impl Held {
    /// Of those with numbers in `piece`; with the first, also the tables they are in.
    fn of(shard: &Shard, piece: Range<usize>) -> Held {
        let mut held = Held::default();
        if piece.start == 0 {
            held.connections = shard.conns.capacity() * size_of::<Conn>();
            held.sessions = shard.sessions.capacity() * size_of::<SessionSlot>();
        }
        for number in piece {
            if let Some(conn) = shard.conns.get(number) {
                held.add_connection(conn);
            }
            if let Some(entry) = shard.sessions.get(number) {
                held.add_session(entry);
            }
        }
        held
    }

    fn add_connection(&mut self, conn: &Conn) {
        self.outputs += conn.out.memory();
        if let Some(cache) = &conn.cache {
            self.connections += size_of::<PublishCache>()
                + cache.topic.capacity()
                + cache.known.targets.capacity() * size_of::<Target>();
        }
        let Some(detail) = &conn.detail else { return };
        self.open += 1;
        self.inputs += detail.partial_len as usize;
        self.connections += size_of::<Detail>();
        if let Some(will) = &detail.will {
            self.connections += will.message.size();
        }
        if let Some(rare) = &detail.rare {
            self.connections += size_of::<Rare>() + rare.decisions.memory();
        }
    }

    fn add_session(&mut self, entry: &SessionSlot) {
        let subscriptions = entry.session.subscriptions.iter();
        self.sessions += subscriptions
            .map(|(filter, _)| filter.len() + size_of::<(Box<str>, Subscription)>())
            .sum::<usize>();
        if let Some(will) = &entry.will {
            self.sessions += will.1.size();
        }
        self.queues += entry.session.queue_bytes_in_memory();
        self.inflight += entry.session.inflight_bytes();
    }

    fn add(&mut self, other: Held) {
        self.connections += other.connections;
        self.inputs += other.inputs;
        self.outputs += other.outputs;
        self.sessions += other.sessions;
        self.queues += other.queues;
        self.inflight += other.inflight;
    }
}

/// What is held for the session in a slot.
fn holder(shard: &Shard, slot: usize) -> Option<Holder> {
    let entry = shard.sessions.get(slot)?;
    let output = match entry.conn {
        NONE => 0,
        conn => shard.conns[conn as usize].out.len(),
    };
    let holder = Holder {
        clientid: entry.publisher.clientid.to_string(),
        queued: entry.session.queue_len() as u64,
        queued_bytes: entry.session.queue_bytes_in_memory() as u64,
        inflight: entry.session.inflight_len() as u64,
        output: output as u64,
    };
    (rank(&holder) != Reverse((0, 0))).then_some(holder)
}

/// The greatest first: by bytes in memory, then by messages.
fn rank(holder: &Holder) -> Reverse<(u64, u64)> {
    let bytes = holder.queued_bytes + holder.output;
    Reverse((bytes, holder.queued + holder.inflight))
}

fn greatest(holders: &mut Vec<Holder>, most: usize) {
    holders.sort_by(|a, b| rank(a).cmp(&rank(b)).then(a.clientid.cmp(&b.clientid)));
    holders.truncate(most);
}

impl Broker {
    /// Figures of the node's own working; the number of tasks is for whoever runs them to say. Messages that
    /// several hold are counted for each of them.
    pub fn figures(&self) -> Figures {
        let node = &self.node;
        let mut loops = self.on_all(|shard| (shard.index, shard.loop_figures()));
        let mut held = Held::default();
        self.in_pieces(Held::of, |index, piece| {
            if let Some((_, figures)) = loops.iter_mut().find(|(of, _)| *of == index) {
                figures.connections += piece.open;
            }
            held.add(piece);
        });
        loops.sort_by_key(|(index, _)| *index);
        let mail: usize = node.mailboxes.iter().map(|mailbox| mailbox.load()).sum();
        let mut rows = vec![
            ("connections", held.connections),
            ("inputs", held.inputs),
            ("outputs", held.outputs),
            ("sessions", held.sessions),
            ("queues", held.queues),
            ("inflight", held.inflight),
            ("groups", node.groups.bytes()),
            ("routes", node.router.read().memory()),
            ("retained", node.retained.memory()),
            ("mail", mail),
        ];
        if let Some(durable) = &node.durable {
            let store = &durable.store;
            let unsynced = store.position().saturating_sub(store.durable());
            rows.push(("store", store.memory()));
            rows.push(("unsynced", usize::try_from(unsynced).unwrap_or(usize::MAX)));
        }
        let rows = rows.into_iter();
        let sum = |metric| node.counters.iter().map(|c| c.get(metric)).sum();
        Figures {
            loops: loops.into_iter().map(|(_, figures)| figures).collect(),
            held: rows.map(|(name, n)| (name.to_string(), n as u64)).collect(),
            traffic: (sum(Metric::BytesReceived), sum(Metric::BytesSent)),
            tasks: 0,
            uptime: node.started.elapsed().as_secs(),
        }
    }

    /// The clients for which most is held, the greatest first; those for which nothing is are left out.
    pub fn holders(&self, most: usize) -> Vec<Holder> {
        let mut all = Vec::new();
        let greatest_of = move |shard: &Shard, piece: Range<usize>| {
            let mut found = piece.filter_map(|slot| holder(shard, slot)).collect();
            greatest(&mut found, most);
            found
        };
        self.in_pieces(greatest_of, |_, piece| {
            all.extend(piece);
            greatest(&mut all, most);
        });
        all
    }

    /// Has each shard look at its connections and sessions, `PIECE` numbers at a time, and go on with its work
    /// between; `take` is given the shard and what it found. What opens meanwhile may be missed.
    fn in_pieces<T: Send + 'static>(
        &self,
        look: impl Fn(&Shard, Range<usize>) -> T + Copy + Send + 'static,
        mut take: impl FnMut(usize, T),
    ) {
        for index in 0..self.node.mailboxes.len() {
            let mut at = 0;
            // A shard that has ended has nothing to tell.
            while let Some((found, end)) = self.on_shard(index, move |shard| {
                let end = shard.conns.len().max(shard.sessions.capacity());
                (look(shard, at..(at + PIECE).min(end)), end)
            }) {
                take(index, found);
                at += PIECE;
                if at >= end {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_busy_between_beginning_and_end() {
        let mut work = Work::default();
        let at = Duration::from_micros;
        for (began, ended) in [(10, 14), (100, 130), (200, 201)] {
            work.begin(at(began));
            work.end(at(ended));
        }
        // An end without a beginning is no round.
        work.end(at(900));
        assert_eq!((work.rounds, work.busy, work.longest), (3, at(35), at(30)));
    }

    #[test]
    fn the_greatest_come_first() {
        let of = |clientid: &str, queued_bytes, output, inflight| Holder {
            clientid: clientid.into(),
            queued_bytes,
            output,
            inflight,
            queued: 0,
        };
        let mut holders = vec![
            of("c", 1, 0, 9),
            of("b", 0, 5, 0),
            of("d", 4, 4, 0),
            of("a", 1, 0, 9),
        ];
        greatest(&mut holders, 3);
        let names: Vec<&str> = holders.iter().map(|h| h.clientid.as_str()).collect();
        assert_eq!(names, ["d", "b", "a"]);
    }
}
