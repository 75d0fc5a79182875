//! Where the messages owed from one segment lie, while that is known from memory: for the open segment, and
//! for a sealed one until its index file is written.

use crate::OwnerId;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// No further ref.
const NONE: u32 = u32::MAX;

/// A message owed to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefEntry {
    pub owner: OwnerId,
    pub seq: u64,
    /// bytes from the start of the file to the message's record
    pub offset: u32,
    pub size: u32,
}

/// The same with less: chained from the first of an owner to its latest. 20 bytes.
#[derive(Debug, Clone, Copy)]
struct Link {
    seq: [u32; 2],
    offset: u32,
    size: u32,
    next: u32,
}

impl Link {
    fn seq(&self) -> u64 {
        u64::from(self.seq[0]) | u64::from(self.seq[1]) << 32
    }
}

/// Where an owner's chain begins and ends.
#[derive(Debug)]
struct Head {
    owner: OwnerId,
    first: u32,
    last: u32,
    /// A link with a larger number than all before it, near where the owner was read last: pages are read one
    /// after the other, and must not begin at the first link each time.
    near: AtomicU32,
}

/// Refs of one segment, chained for each owner, and who was touched in it, refs or not.
#[derive(Debug, Default)]
pub(crate) struct MemRefs {
    heads: Vec<Head>,
    links: Vec<Link>,
    /// the slots in the order of their owners, made when an owner is first looked for by its number
    by_owner: OnceLock<Vec<u32>>,
}

impl MemRefs {
    /// Number of refs.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Notes that something was said of an owner; the slot to give to [`MemRefs::push`].
    pub fn touch(&mut self, owner: OwnerId) -> u32 {
        self.heads.push(Head {
            owner,
            first: NONE,
            last: NONE,
            near: AtomicU32::new(NONE),
        });
        (self.heads.len() - 1) as u32
    }

    #[inline]
    pub fn push(&mut self, slot: u32, seq: u64, offset: u32, size: u32) {
        let head = &mut self.heads[slot as usize];
        let new = self.links.len() as u32;
        match self.links.get_mut(head.last as usize) {
            Some(last) => last.next = new,
            None => head.first = new,
        }
        head.last = new;
        self.links.push(Link {
            seq: [seq as u32, (seq >> 32) as u32],
            offset,
            size,
            next: NONE,
        });
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let slots = self.by_owner.get().map_or(0, Vec::capacity);
        self.heads.capacity() * size_of::<Head>()
            + self.links.capacity() * size_of::<Link>()
            + slots * size_of::<u32>()
    }

    /// Who was touched, each once, in ascending order.
    pub fn touched(&self) -> Vec<OwnerId> {
        let mut owners: Vec<OwnerId> = self.heads.iter().map(|h| h.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// The slots of an owner in a segment that is sealed: nothing is added from here on.
    fn slots_of(&self, owner: OwnerId) -> &[u32] {
        let slots = self.by_owner.get_or_init(|| {
            let mut slots: Vec<u32> = (0..self.heads.len() as u32).collect();
            slots.sort_unstable_by_key(|&slot| self.heads[slot as usize].owner);
            slots
        });
        let id = |slot: &u32| self.heads[*slot as usize].owner;
        let first = slots.partition_point(|slot| id(slot) < owner);
        let of = &slots[first..];
        &of[..of.partition_point(|slot| id(slot) == owner)]
    }

    /// Links of an owner from `at` on, with their places.
    fn chain(&self, mut at: u32) -> impl Iterator<Item = (u32, &Link)> {
        std::iter::from_fn(move || {
            let link = self.links.get(at as usize)?;
            let place = std::mem::replace(&mut at, link.next);
            Some((place, link))
        })
    }

    /// The refs of one owner with numbers in `runs` (first and behind the last; ascending), in no order. Each of
    /// these is there, and once. `slot` if it is known.
    pub fn of(
        &self,
        owner: OwnerId,
        slot: Option<u32>,
        runs: &[(u64, u64)],
        out: &mut Vec<RefEntry>,
    ) {
        let Some((from, _)) = runs.first().copied() else {
            return;
        };
        let all: u64 = runs.iter().map(|run| run.1 - run.0).sum();
        let end = out.len() + all as usize;
        let wanted = |seq: u64| {
            let run = runs.partition_point(|run| run.1 <= seq);
            runs.get(run).is_some_and(|run| run.0 <= seq)
        };
        let known;
        let slots = match slot {
            Some(slot) => {
                known = [slot];
                &known[..]
            }
            None => self.slots_of(owner),
        };
        for head in slots.iter().map(|&slot| &self.heads[slot as usize]) {
            let near = head.near.load(Ordering::Relaxed);
            let begin = match self.links.get(near as usize) {
                Some(link) if link.seq() <= from => near,
                _ => head.first,
            };
            let mut largest = None;
            for (place, link) in self.chain(begin) {
                if out.len() == end {
                    return;
                }
                let seq = link.seq();
                if largest < Some(seq) {
                    largest = Some(seq);
                    head.near.store(place, Ordering::Relaxed);
                }
                if wanted(seq) {
                    out.push(RefEntry {
                        owner,
                        seq,
                        offset: link.offset,
                        size: link.size,
                    });
                }
            }
        }
    }

    /// All refs whose record lies before `end`, by owner and number.
    pub fn sorted(&self, end: u64) -> Vec<RefEntry> {
        let mut heads: Vec<&Head> = self.heads.iter().collect();
        heads.sort_by_key(|head| head.owner);
        let mut all = Vec::with_capacity(self.links.len());
        for head in heads {
            let chain = self.chain(head.first).map(|(_, link)| RefEntry {
                owner: head.owner,
                seq: link.seq(),
                offset: link.offset,
                size: link.size,
            });
            all.extend(chain.filter(|r| u64::from(r.offset) < end));
        }
        // Sorted already but for what the cleaner has moved.
        all.sort_by_key(|r| (r.owner, r.seq));
        all
    }
}
