//! The queue: events of one client are in one lane, and each lane has one request under way at the most.

use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::ops::{Add, AddAssign, SubAssign};
use std::sync::Arc;

/// What an event takes beside its body, bytes.
const OVERHEAD: usize = 96;
/// [`Waiting::expires`] of what may wait as long as it takes.
pub(crate) const NEVER: u64 = u64::MAX;
/// Expired events that are taken out of a lane at a time: the event loops may be waiting for the lock.
const MOST_EXPIRED: usize = 512;
/// Events in a piece of a lane.
const PIECE: usize = 64;

/// Events, and what they take in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub count: usize,
    pub bytes: usize,
}

impl Amount {
    /// That of one event.
    pub fn of(body: &Bytes) -> Amount {
        Amount {
            count: 1,
            bytes: body.len() + OVERHEAD,
        }
    }

    /// Neither more events nor more bytes.
    pub fn within(self, most: Amount) -> bool {
        self.count <= most.count && self.bytes <= most.bytes
    }
}

impl Add for Amount {
    type Output = Amount;

    fn add(mut self, other: Amount) -> Amount {
        self += other;
        self
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        self.count -= other.count;
        self.bytes -= other.bytes;
    }
}

/// An event in a lane.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// its place among all events of the queue
    pub order: u64,
    /// [`crate::event::Event::lane`]
    pub lane: u64,
    /// the row of the spool it comes from, which is kept until it is done; 0 = none
    pub row: u64,
    /// when it is too old, milliseconds of the outbox's clock
    pub expires: u64,
    pub body: Bytes,
}

/// Events that go in one request.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub events: Vec<Waiting>,
    pub amount: Amount,
}

impl Batch {
    /// With copies of these.
    pub fn of(events: &[Waiting]) -> Batch {
        let mut batch = Batch::default();
        events.iter().cloned().for_each(|event| batch.push(event));
        batch
    }

    pub fn push(&mut self, event: Waiting) {
        self.amount += Amount::of(&event.body);
        self.events.push(event);
    }

    /// When the last of them is too old.
    pub fn expires(&self) -> u64 {
        let each = self.events.iter().map(|event| event.expires);
        each.max().unwrap_or(0)
    }
}

/// What [`Lanes::take`] finds.
pub(crate) enum Taken {
    /// These are under way now.
    Batch(Arc<Batch>),
    /// Only what had expired; there may be more.
    Expired,
    /// The lane is empty.
    Nothing,
}

/// The lanes.
///
/// Invariant: `fronts` has the order of the first event that waits in each lane that is not empty; `all` is the sum
/// of what waits and what is under way.
pub(crate) struct Lanes {
    lanes: Box<[Lane]>,
    fronts: BTreeSet<(u64, usize)>,
    next: u64,
    all: Amount,
    under_way: Amount,
}

#[derive(Default)]
struct Lane {
    waiting: Pieces<Waiting>,
    under_way: Option<Arc<Batch>>,
    /// its sender has found nothing, and wants to be woken
    idle: bool,
}

impl Lanes {
    pub fn new(number: usize) -> Lanes {
        Lanes {
            lanes: (0..number.max(1)).map(|_| Lane::default()).collect(),
            fronts: BTreeSet::new(),
            next: 0,
            all: Amount::default(),
            under_way: Amount::default(),
        }
    }

    /// What waits and what is under way.
    pub fn all(&self) -> Amount {
        self.all
    }

    /// What is under way.
    pub fn under_way(&self) -> Amount {
        self.under_way
    }

    /// Puts an event behind all others. Gives the lane whose sender has to be woken.
    pub fn push(&mut self, lane: u64, row: u64, expires: u64, body: Bytes) -> Option<usize> {
        // Less than the number of lanes, which is a usize.
        let at = (lane % self.lanes.len() as u64) as usize;
        let order = self.next;
        self.next += 1;
        self.all += Amount::of(&body);
        let found = &mut self.lanes[at];
        if found.waiting.front().is_none() {
            self.fronts.insert((order, at));
        }
        found.waiting.push(Waiting {
            order,
            lane,
            row,
            expires,
            body,
        });
        std::mem::take(&mut found.idle).then_some(at)
    }

    /// Takes what goes in the lane's next request: one event at least, then as many as are within `most`. What is
    /// too old at `now` is moved to `expired`.
    pub fn take(&mut self, at: usize, most: Amount, now: u64, expired: &mut Vec<Waiting>) -> Taken {
        let mut batch = Batch::default();
        let mut front = None;
        for _ in 0..most.count.saturating_add(MOST_EXPIRED) {
            let Some(next) = self.lanes[at].waiting.front() else {
                break;
            };
            let amount = Amount::of(&next.body);
            let too_old = next.expires <= now;
            let fits = batch.events.is_empty() || (batch.amount + amount).within(most);
            if !too_old && !fits || too_old && expired.len() >= MOST_EXPIRED {
                break;
            }
            let Some(event) = self.lanes[at].waiting.pop() else {
                break;
            };
            front = front.or(Some(event.order));
            if too_old {
                self.all -= amount;
                expired.push(event);
            } else {
                batch.push(event);
            }
        }
        if let Some(front) = front {
            self.has_lost(at, front);
        }
        let lane = &mut self.lanes[at];
        if batch.events.is_empty() {
            lane.idle = expired.is_empty();
            return match expired.is_empty() {
                true => Taken::Nothing,
                false => Taken::Expired,
            };
        }
        self.under_way += batch.amount;
        let batch = Arc::new(batch);
        lane.under_way = Some(Arc::clone(&batch));
        Taken::Batch(batch)
    }

    /// Puts another batch in the place of the one that is under way: the same events in other memory, or fewer. Gives
    /// the former.
    pub fn replace(&mut self, at: usize, batch: Option<Arc<Batch>>) -> Option<Arc<Batch>> {
        let former = self.lanes[at].under_way.take()?;
        self.under_way -= former.amount;
        self.all -= former.amount;
        if let Some(batch) = &batch {
            self.under_way += batch.amount;
            self.all += batch.amount;
        }
        self.lanes[at].under_way = batch;
        Some(former)
    }

    /// Takes out the oldest event of all that are not under way.
    pub fn drop_oldest(&mut self) -> Option<Waiting> {
        let &(_, at) = self.fronts.first()?;
        let event = self.pop(at)?;
        self.all -= Amount::of(&event.body);
        Some(event)
    }

    /// Takes everything, what is under way too, in order.
    pub fn drain(&mut self) -> Vec<Waiting> {
        let mut events = Vec::with_capacity(self.all.count);
        for lane in &mut self.lanes {
            if let Some(batch) = lane.under_way.take() {
                events.extend(batch.events.iter().cloned());
            }
            while let Some(event) = lane.waiting.pop() {
                events.push(event);
            }
        }
        self.fronts.clear();
        self.all = Amount::default();
        self.under_way = Amount::default();
        events.sort_unstable_by_key(|event| event.order);
        events
    }

    fn pop(&mut self, at: usize) -> Option<Waiting> {
        let event = self.lanes[at].waiting.pop()?;
        self.has_lost(at, event.order);
        Some(event)
    }

    /// Events have been taken out of a lane, of which `front` was the first.
    fn has_lost(&mut self, at: usize, front: u64) {
        self.fronts.remove(&(front, at));
        if let Some(next) = self.lanes[at].waiting.front() {
            self.fronts.insert((next.order, at));
        }
    }
}

/// A queue that grows by a piece: nothing that waits in it is ever moved for one more.
struct Pieces<T>(VecDeque<VecDeque<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces(VecDeque::new())
    }
}

impl<T> Pieces<T> {
    fn front(&self) -> Option<&T> {
        self.0.front()?.front()
    }

    fn push(&mut self, item: T) {
        match self.0.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back(item),
            _ => {
                let mut piece = VecDeque::with_capacity(PIECE);
                piece.push_back(item);
                self.0.push_back(piece);
            }
        }
    }

    fn pop(&mut self) -> Option<T> {
        let piece = self.0.front_mut()?;
        let item = piece.pop_front();
        // The last one is kept for what comes next.
        if piece.is_empty() && self.0.len() > 1 {
            self.0.pop_front();
        }
        item
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: Amount = Amount {
        count: 1,
        bytes: usize::MAX,
    };

    fn push(lanes: &mut Lanes, lane: u64, text: &str) -> Option<usize> {
        lanes.push(lane, 0, NEVER, Bytes::copy_from_slice(text.as_bytes()))
    }

    fn take(lanes: &mut Lanes, at: usize, most: Amount) -> Vec<String> {
        match lanes.take(at, most, 0, &mut Vec::new()) {
            Taken::Batch(batch) => texts(&batch.events),
            _ => Vec::new(),
        }
    }

    fn texts(events: &[Waiting]) -> Vec<String> {
        let text = |event: &Waiting| String::from_utf8(event.body.to_vec()).unwrap();
        events.iter().map(text).collect()
    }

    #[test]
    fn each_lane_in_its_order() {
        let mut lanes = Lanes::new(2);
        assert!(matches!(
            lanes.take(0, ONE, 0, &mut Vec::new()),
            Taken::Nothing
        ));
        assert_eq!(push(&mut lanes, 4, "a"), Some(0));
        assert_eq!(push(&mut lanes, 5, "b"), None);
        assert_eq!(push(&mut lanes, 6, "c"), None);
        assert_eq!(take(&mut lanes, 0, ONE), ["a"]);
        assert_eq!(take(&mut lanes, 1, ONE), ["b"]);
        assert_eq!(lanes.all().count, 3);
        assert_eq!(lanes.under_way().count, 2);
        lanes.replace(0, None).unwrap();
        assert_eq!(take(&mut lanes, 0, ONE), ["c"]);
        lanes.replace(0, None).unwrap();
        lanes.replace(1, None).unwrap();
        assert_eq!(lanes.all(), Amount::default());
        assert_eq!(lanes.under_way(), Amount::default());
        assert!(lanes.replace(1, None).is_none());
    }

    #[test]
    fn batches_by_count_and_bytes() {
        let mut lanes = Lanes::new(1);
        for text in ["aaaa", "bb", "c", "d", "e"] {
            push(&mut lanes, 0, text);
        }
        let most = |count, bytes| Amount {
            count,
            bytes: bytes + count * OVERHEAD,
        };
        // One at least.
        assert_eq!(take(&mut lanes, 0, most(1, 1)), ["aaaa"]);
        assert_eq!(take(&mut lanes, 0, most(3, 3)), ["bb", "c"]);
        assert_eq!(take(&mut lanes, 0, most(9, 9)), ["d", "e"]);
    }

    #[test]
    fn the_oldest_of_all_lanes_that_is_not_under_way() {
        let mut lanes = Lanes::new(3);
        for (lane, text) in [(0, "a"), (1, "b"), (0, "c"), (2, "d"), (1, "e")] {
            push(&mut lanes, lane, text);
        }
        assert_eq!(take(&mut lanes, 0, ONE), ["a"]);
        let mut dropped = Vec::new();
        while let Some(event) = lanes.drop_oldest() {
            dropped.push(event);
        }
        assert_eq!(texts(&dropped), ["b", "c", "d", "e"]);
        assert_eq!(lanes.all(), lanes.under_way());
        assert_eq!(lanes.all().count, 1);
    }

    #[test]
    fn what_is_too_old_is_no_part_of_a_batch() {
        let mut lanes = Lanes::new(1);
        for expires in [5, 9, 5, 9] {
            lanes.push(0, 0, expires, Bytes::from_static(b"x"));
        }
        let mut expired = Vec::new();
        let most = Amount {
            count: 2,
            bytes: 1000,
        };
        let Taken::Batch(batch) = lanes.take(0, most, 5, &mut expired) else {
            panic!("there are two");
        };
        assert_eq!((batch.events.len(), expired.len()), (2, 2));
        assert_eq!(batch.expires(), 9);
        assert_eq!(lanes.all(), batch.amount);
        // A lane with many of them is looked at in parts.
        let mut lanes = Lanes::new(1);
        for _ in 0..MOST_EXPIRED + 1 {
            lanes.push(0, 0, 1, Bytes::new());
        }
        let mut seen = 0;
        loop {
            let mut expired = Vec::new();
            match lanes.take(0, ONE, 2, &mut expired) {
                Taken::Expired => seen += expired.len(),
                Taken::Nothing => break,
                Taken::Batch(_) => panic!("all have expired"),
            }
            assert!(expired.len() <= MOST_EXPIRED);
        }
        assert_eq!(seen, MOST_EXPIRED + 1);
        assert_eq!(lanes.all(), Amount::default());
    }

    #[test]
    fn all_in_order_at_the_end() {
        let mut lanes = Lanes::new(3);
        let wanted: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        for (n, text) in wanted.iter().enumerate() {
            push(&mut lanes, n as u64 % 7, text);
        }
        assert_eq!(take(&mut lanes, 1, ONE).len(), 1);
        assert_eq!(texts(&lanes.drain()), wanted);
        assert_eq!(lanes.all(), Amount::default());
        assert!(lanes.drain().is_empty() && lanes.drop_oldest().is_none());
    }
}
