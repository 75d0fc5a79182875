//! Retained messages: one for each topic name, in a tree and in the order of publishing.
//!
//! They are kept while a plugin (`emq_retainer`) says so, with [`Broker::retain`]. Where:
//!
//! | | in memory | in the store |
//! |---|---|---|
//! | ram | the messages | nothing |
//! | disc | the messages | the messages |
//! | disc_only | the messages without their payload | the messages |
//!
//! What is below `$SYS/` is said anew with each start, and so is never in the store.
//!
//! Invariant: who changes what is kept holds the lock, and has handed over what the store is to hear of it
//! before it lets go, wherever another shard could be next; so the store hears of a topic in the order in
//! which its messages replace each other.

mod order;
mod switch;

use crate::durable::record::Clock;
use crate::find::Budget;
use crate::metrics::Metric;
use crate::passing::Passing;
use crate::shard::Shard;
use emqttd_mqtt::topic::matches;
use emqttd_plugin_sdk::{RetainSettings, RetainStorage};
use emqttd_router::{Advance, NameId, RetainedTree, Selection};
use emqttd_session::{Message, MessageParts};
use order::Order;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// So many messages found by way of the tree are kept for one subscription until they are sent, eight bytes
/// for each. A filter that matches more goes through all messages in their order, which needs no memory.
const MOST_FOUND: usize = 32 * 1024;
/// Lines a second in the log about messages that are not retained.
const LINES: u32 = 10;
/// Below this nothing expires by the retainer's interval, counts for its limit, or is stored.
const SYS: &str = "$SYS/";

/// A message and its sequence.
pub(crate) type Kept = (u64, Arc<Message>);

/// The retained messages of the node.
pub(crate) struct Retained {
    index: RwLock<Index>,
    /// one thread at a time changes how messages are kept
    switching: Mutex<()>,
    on: AtomicBool,
    /// messages are written to the store
    writes: AtomicBool,
    count: AtomicUsize,
    most: AtomicUsize,
    /// bytes of the messages
    bytes: AtomicUsize,
    /// when the next expires, in the node's time; `u64::MAX` = none does
    due: AtomicU64,
    lines: Mutex<Lines>,
}

/// What is kept, and how.
#[derive(Default)]
struct Index {
    tree: RetainedTree<Kept>,
    order: Order,
    /// the ends of those that have one of their own, with their sequences
    ends: BTreeSet<(u64, u64)>,
    /// all with a smaller sequence either live on under the present interval for ever, or are gone
    aged: u64,
    /// the largest sequence given out
    last: u64,
    /// those below `$SYS/`
    sys: usize,
    /// bytes of messages
    bytes: usize,
    settings: Option<RetainSettings>,
    /// what the store had at the start is here
    loaded: bool,
    /// the store has all of them
    rows: bool,
    /// the payload of some may be in the store only
    stubs: bool,
}

/// What became of a message that was to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    /// An empty payload: what was there is gone [MQTT-3.3.1-6].
    Removed,
    /// More than `max_payload_size`.
    TooBig,
    /// `max_message_num` are there.
    Full,
    /// Nothing is retained now.
    Off,
}

/// How much of the store's keeping a change needs.
pub(crate) enum Change<'a> {
    /// a message with its sequence
    Put(u64, &'a Message),
    /// none any more on that topic
    Delete(&'a str),
}

/// The retained messages of one subscription while they are looked for.
#[derive(Default)]
pub(crate) enum Search {
    /// all are found
    #[default]
    Over,
    /// by way of the tree: where it has come to, what it has found, and the sequence to stop at
    Tree(Box<Selection>, Vec<u64>, u64),
    /// by their order: the next sequence, and the one to stop at
    Order(u64, u64),
}

/// Lines of this second.
#[derive(Default)]
struct Lines {
    second: u64,
    count: u32,
    left_out: u64,
}

/// Whether the payload of a kept message is in the store only: one without payload is never retained.
pub(crate) fn is_stub(message: &Message) -> bool {
    message.payload().is_empty()
}

/// What stays in memory of a message whose payload is in the store.
fn stub(message: &Message) -> Arc<Message> {
    let parts = MessageParts {
        topic: message.topic(),
        properties: &[],
        payload: &[],
        qos: message.qos,
        retain: true,
    };
    let (timestamp, expires_at) = (message.timestamp, message.expires_at);
    Arc::new(Message::new(parts, None, timestamp, expires_at))
}

fn is_sys(message: &Message) -> bool {
    message.topic_bytes().starts_with(SYS.as_bytes())
}

/// When a message that has no end of its own is over by the retainer's interval.
fn old_at(message: &Message, settings: &RetainSettings, clock: Clock) -> u64 {
    let interval = settings.expiry_interval.as_millis() as u64;
    if interval == 0 || message.expires_at != u64::MAX || is_sys(message) {
        return u64::MAX;
    }
    // By the calendar: the node's own clock began with its start.
    let age = clock.unix.saturating_sub(message.timestamp);
    clock.now.saturating_add(interval.saturating_sub(age))
}

impl Index {
    /// `topic` is that of the message.
    fn insert(&mut self, topic: &str, sequence: u64, message: Arc<Message>) {
        self.last = self.last.max(sequence);
        self.bytes += message.size();
        let (expires_at, sys) = (message.expires_at, is_sys(&message));
        let (name, old) = self.tree.put(topic, (sequence, message));
        match old {
            Some(old) => self.forget(&old),
            None => self.sys += usize::from(sys),
        }
        self.order.insert(sequence, name);
        if expires_at != u64::MAX {
            self.ends.insert((expires_at, sequence));
        }
    }

    fn remove(&mut self, name: NameId) -> Option<Kept> {
        let old = self.tree.remove_at(name)?;
        self.forget(&old);
        self.sys -= usize::from(is_sys(&old.1));
        Some(old)
    }

    /// Takes a message out of everything but the tree.
    fn forget(&mut self, (sequence, message): &Kept) {
        self.bytes -= message.size();
        self.order.remove(*sequence);
        if message.expires_at != u64::MAX {
            self.ends.remove(&(message.expires_at, *sequence));
        }
    }

    /// Puts another form of the same message in its place.
    fn reform(&mut self, name: NameId, message: Arc<Message>) {
        let size = message.size();
        if let Some((_, there)) = self.tree.at_mut(name) {
            self.bytes = self.bytes + size - there.size();
            *there = message;
        }
    }

    /// Whether messages go to the store.
    fn writes(&self) -> bool {
        self.settings
            .as_ref()
            .is_some_and(|settings| settings.storage != RetainStorage::Ram)
    }

    fn is_over(&self, message: &Message, clock: Clock) -> bool {
        message.expired(clock.now)
            || self
                .settings
                .as_ref()
                .is_some_and(|settings| old_at(message, settings, clock) <= clock.now)
    }

    /// Those that are over, `most` at the most, and when the next one will be. Looks at some more than that.
    fn over(&mut self, clock: Clock, most: usize) -> (Vec<NameId>, u64) {
        let mut over = Vec::new();
        let mut next = u64::MAX;
        for (at, sequence) in &self.ends {
            if *at > clock.now || over.len() >= most {
                next = *at;
                break;
            }
            over.extend(self.order.get(*sequence));
        }
        let Some(settings) = &self.settings else {
            return (over, next);
        };
        if settings.expiry_interval.is_zero() {
            return (over, next);
        }
        // In the order of publishing, which is that of their age.
        for (looked, (sequence, name)) in self.order.from(self.aged).enumerate() {
            self.aged = sequence;
            let Some((_, message)) = self.tree.at(name) else {
                continue;
            };
            let at = old_at(message, settings, clock);
            if at == u64::MAX {
                if looked >= 8 * most {
                    return (over, clock.now);
                }
                continue;
            }
            if at > clock.now || over.len() >= most {
                next = next.min(at);
                break;
            }
            over.push(name);
        }
        (over, next)
    }
}

impl Retained {
    pub fn new() -> Retained {
        Retained {
            index: RwLock::default(),
            switching: Mutex::default(),
            on: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            due: AtomicU64::new(u64::MAX),
            lines: Mutex::default(),
        }
    }

    /// Whether messages are retained now.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Whether they are also written to the store.
    pub fn writes(&self) -> bool {
        self.writes.load(Ordering::Acquire)
    }

    /// Keeps the message, or removes what its topic had when the payload is empty [MQTT-3.3.1-7]. `write` is
    /// called when the store is to hear of it, before anybody else can change anything.
    pub fn store(
        &self,
        passing: &mut Passing<'_>,
        clock: Clock,
        write: impl FnOnce(Change<'_>),
    ) -> Stored {
        let topic = passing.parts.topic;
        let size = passing.parts.payload.len();
        let mut guard = self.index.write();
        let index = &mut *guard;
        let Some(settings) = &index.settings else {
            return Stored::Off;
        };
        let sys = topic.starts_with(SYS);
        let writes = settings.storage != RetainStorage::Ram && !sys;
        if size == 0 {
            if let Some(name) = index.tree.id(topic) {
                index.remove(name);
                if writes {
                    write(Change::Delete(topic));
                }
                self.note(index);
            }
            return Stored::Removed;
        }
        if settings.max_payload_size > 0 && size > settings.max_payload_size {
            return Stored::TooBig;
        }
        let full = settings.max_message_num > 0
            && index.tree.len() - index.sys >= settings.max_message_num;
        if full && !sys && index.tree.get(topic).is_none() {
            return Stored::Full;
        }
        let message = passing.keep();
        let due = message.expires_at.min(old_at(message, settings, clock));
        let kept = match settings.storage {
            RetainStorage::DiscOnly if !sys => stub(message),
            _ => Arc::clone(message),
        };
        let sequence = index.last + 1;
        index.insert(topic, sequence, kept);
        if writes {
            write(Change::Put(sequence, message));
        }
        self.due.fetch_min(due, Ordering::AcqRel);
        self.note(index);
        Stored::Yes
    }

    /// Says what there is now.
    fn note(&self, index: &Index) {
        let count = index.tree.len();
        self.count.store(count, Ordering::Relaxed);
        self.most.fetch_max(count, Ordering::Relaxed);
        self.bytes.store(index.bytes, Ordering::Relaxed);
    }

    /// Begins to look for the messages that match.
    pub fn search(&self, filter: &str) -> Search {
        let index = self.index.read();
        let end = index.last + 1;
        if filter == "#" {
            return Search::Order(0, end);
        }
        Search::Tree(Box::new(index.tree.select(filter)), Vec::new(), end)
    }

    /// Goes on with a search and adds to `found` the sequences of messages, in the order in which they were
    /// published. Looks at `most` places at the most, and says at how many it has.
    pub fn find(
        &self,
        search: &mut Search,
        filter: &str,
        most: usize,
        found: &mut VecDeque<u64>,
    ) -> usize {
        let index = self.index.read();
        match search {
            Search::Over => 0,
            Search::Tree(selection, list, end) => {
                let end = *end;
                let (how, visited) = index.tree.advance(selection, most, |_, (sequence, _)| {
                    if *sequence < end {
                        list.push(*sequence);
                    }
                });
                if how == Advance::Lost || list.len() > MOST_FOUND {
                    *search = Search::Order(0, end);
                } else if how == Advance::Done {
                    list.sort_unstable();
                    found.extend(list.iter());
                    *search = Search::Over;
                }
                visited.max(1)
            }
            Search::Order(next, end) => {
                let mut visited = 0;
                let all = filter == "#";
                for (sequence, name) in index.order.from(*next) {
                    if sequence >= *end {
                        break;
                    }
                    if visited == most {
                        *next = sequence;
                        return visited;
                    }
                    visited += 1;
                    let Some((_, message)) = index.tree.at(name) else {
                        continue;
                    };
                    // [MQTT-4.7.2-1]
                    let wanted = match all {
                        true => !message.topic_bytes().starts_with(b"$"),
                        false => matches(filter, message.topic()),
                    };
                    if wanted {
                        found.push_back(sequence);
                    }
                }
                *search = Search::Over;
                visited.max(1)
            }
        }
    }

    /// Takes the first `most` of `found`, leaving out what was replaced or removed meanwhile or is over. They
    /// come without their payload where that is in the store.
    pub fn take(
        &self,
        found: &mut VecDeque<u64>,
        clock: Clock,
        most: usize,
        into: &mut VecDeque<Kept>,
    ) {
        let index = self.index.read();
        let most = most.min(found.len());
        let mut names = index.order.looker();
        for sequence in found.drain(..most) {
            let name = names.get(sequence);
            if let Some((_, message)) = name.and_then(|name| index.tree.at(name))
                && !index.is_over(message, clock)
            {
                into.push_back((sequence, Arc::clone(message)));
            }
        }
    }

    /// Whether the message with this sequence is still the one its topic has.
    pub fn is_current(&self, sequence: u64) -> bool {
        self.index.read().order.get(sequence).is_some()
    }

    /// Removes what is over, `most` at the most; `removed` is called with the topics of which the store is to
    /// hear. Whether there may be more of them now.
    pub fn sweep(&self, clock: Clock, most: usize, removed: impl FnOnce(&[Arc<Message>])) -> bool {
        let mut guard = self.index.write();
        let index = &mut *guard;
        if index.settings.is_none() {
            self.due.store(u64::MAX, Ordering::Release);
            return false;
        }
        let (names, next) = index.over(clock, most);
        let messages = remove_all(index, names);
        if index.writes() {
            removed(&messages);
        }
        self.due.store(next, Ordering::Release);
        self.note(index);
        next <= clock.now
    }

    /// Removes `most` of those with a sequence up to `last`, as [`Retained::sweep`] does; how many there were.
    pub fn clean(&self, last: u64, most: usize, removed: impl FnOnce(&[Arc<Message>])) -> usize {
        let mut guard = self.index.write();
        let index = &mut *guard;
        let all = index.order.from(0).take_while(|(at, _)| *at <= last);
        let names: Vec<NameId> = all.take(most).map(|(_, name)| name).collect();
        let messages = remove_all(index, names);
        if index.writes() {
            removed(&messages);
        }
        self.note(index);
        messages.len()
    }

    /// Calls `f` for messages from a sequence on, in the order of publishing, until it says to stop, or who waits
    /// to write has been held up for long enough: then, where to go on. What is over is left out.
    pub fn look(
        &self,
        from: u64,
        clock: Clock,
        mut f: impl FnMut(u64, &Message) -> bool,
    ) -> Option<u64> {
        let mut budget = Budget::new();
        let index = self.index.read();
        let mut all = index.order.from(from);
        while let Some((sequence, name)) = all.next() {
            if let Some((_, message)) = index.tree.at(name)
                && !index.is_over(message, clock)
                && !f(sequence, message)
            {
                return Some(sequence);
            }
            if !budget.spend() {
                return all.next().map(|(sequence, _)| sequence);
            }
        }
        None
    }

    /// The message with this sequence, if its topic still has it; without its payload where that is in the store.
    pub fn at(&self, sequence: u64) -> Option<Arc<Message>> {
        let index = self.index.read();
        let (_, message) = index.tree.at(index.order.get(sequence)?)?;
        Some(Arc::clone(message))
    }

    /// The message of a topic, likewise.
    pub fn of(&self, topic: &str, clock: Clock) -> Option<Kept> {
        let index = self.index.read();
        let (sequence, message) = index.tree.get(topic)?;
        (!index.is_over(message, clock)).then(|| (*sequence, Arc::clone(message)))
    }

    /// Removes the message of a topic; `removed` is called when the store is to hear of it. Whether there was one.
    pub fn remove(&self, topic: &str, removed: impl FnOnce(&[Arc<Message>])) -> bool {
        let mut guard = self.index.write();
        let index = &mut *guard;
        let names = index.tree.id(topic).into_iter().collect();
        let messages = remove_all(index, names);
        // Also while nothing is retained, if the store has what is there.
        if index.writes() || index.rows {
            removed(&messages);
        }
        self.note(index);
        !messages.is_empty()
    }

    /// The largest sequence given out.
    pub fn last(&self) -> u64 {
        self.index.read().last
    }

    /// When [`Retained::sweep`] has something to do, in the node's time; `u64::MAX` = never.
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The most there have been since the start.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Bytes held: messages, their names, their order. Walks the long levels of names.
    pub fn memory(&self) -> usize {
        let index = self.index.read();
        let each = size_of::<Message>() + 2 * size_of::<usize>();
        let ends = index.ends.len() * 2 * size_of::<(u64, u64)>();
        index.tree.memory() + index.order.memory() + ends + index.bytes + index.tree.len() * each
    }

    /// The topics of `most` messages from sequence `next` on, and where to go on; for who reads them all
    /// without keeping others from writing.
    fn topics(&self, next: u64, most: usize, into: &mut Vec<String>) -> Option<u64> {
        let index = self.index.read();
        for (n, (sequence, name)) in index.order.from(next).enumerate() {
            if n == most {
                return Some(sequence);
            }
            if let Some((_, message)) = index.tree.at(name) {
                into.push(message.topic().to_string());
            }
        }
        None
    }

    /// Whether one more line may go to the log now.
    fn may_say(&self, second: u64) -> bool {
        let mut lines = self.lines.lock();
        if lines.second != second {
            if lines.left_out > 0 {
                log::error!("Cannot retain {} more messages", lines.left_out);
            }
            *lines = Lines {
                second,
                ..Lines::default()
            };
        }
        lines.count += 1;
        lines.left_out += u64::from(lines.count > LINES);
        lines.count <= LINES
    }
}

fn remove_all(index: &mut Index, names: Vec<NameId>) -> Vec<Arc<Message>> {
    let gone = names.into_iter().filter_map(|name| index.remove(name));
    gone.map(|(_, message)| message).collect()
}

impl Shard {
    /// A message that asks for it is retained, or takes the place of one that is [MQTT-3.3.1-5].
    pub(crate) fn retain(&mut self, passing: &mut Passing<'_>) {
        let node = Arc::clone(&self.node);
        if !node.retained.is_on() {
            return;
        }
        let due = node.retained.due();
        let clock = self.clock();
        let stored = node
            .retained
            .store(passing, clock, |change| self.write_retained(change));
        match stored {
            Stored::TooBig | Stored::Full => self.not_retained(passing, stored),
            Stored::Yes | Stored::Removed | Stored::Off => {}
        }
        if self.index != 0 && node.retained.due() < due {
            // Shard 0 may be asleep until later.
            node.mailboxes[0].wake();
        }
    }

    fn not_retained(&mut self, passing: &Passing<'_>, why: Stored) {
        self.counters.add(Metric::DroppedRetainFull, 1);
        if !self.node.retained.may_say(self.now / 1000) {
            return;
        }
        let topic = emqttd_logging::escape(passing.parts.topic);
        match why {
            Stored::TooBig => log::error!(
                "Cannot retain message(topic={topic}, payload_size={}) for payload is too big!",
                passing.parts.payload.len()
            ),
            _ => log::error!("Cannot retain message(topic={topic}) for table is full!"),
        }
    }

    /// Removes what is over, some at a time; on shard 0. Whether there is more to be done at once.
    pub(crate) fn sweep_retained(&mut self) -> bool {
        let node = Arc::clone(&self.node);
        node.retained
            .sweep(self.clock(), SLICE, |gone| self.forget_retained(gone))
    }

    /// Removes some of what is retained, up to that sequence; how many.
    fn clean_retained(&mut self, last: u64) -> usize {
        let node = Arc::clone(&self.node);
        node.retained
            .clean(last, SLICE, |gone| self.forget_retained(gone))
    }
}

/// Messages that are worked on while the lock is held by who changes many.
const SLICE: usize = 1000;

#[cfg(test)]
mod tests;
