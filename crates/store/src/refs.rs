//! Where the messages owed from one segment lie, while that is known from memory: for the open segment, and
//! for a sealed one until its index file is written.

use crate::OwnerId;

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

/// The same with less: chained from the latest of an owner to its first. 20 bytes.
#[derive(Debug, Clone, Copy)]
struct Link {
    seq: [u32; 2],
    offset: u32,
    size: u32,
    before: u32,
}

/// Refs of one segment, chained for each owner, and who was touched in it, refs or not.
#[derive(Debug, Default)]
pub(crate) struct MemRefs {
    heads: Vec<(OwnerId, u32)>,
    links: Vec<Link>,
}

impl MemRefs {
    /// Number of refs.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Notes that something was said of an owner; the slot to give to [`MemRefs::push`].
    pub fn touch(&mut self, owner: OwnerId) -> u32 {
        self.heads.push((owner, NONE));
        (self.heads.len() - 1) as u32
    }

    #[inline]
    pub fn push(&mut self, slot: u32, seq: u64, offset: u32, size: u32) {
        let head = &mut self.heads[slot as usize].1;
        let before = std::mem::replace(head, self.links.len() as u32);
        self.links.push(Link { seq: [seq as u32, (seq >> 32) as u32], offset, size, before });
    }

    /// Who was touched, each once, in ascending order.
    pub fn touched(&self) -> Vec<OwnerId> {
        let mut owners: Vec<OwnerId> = self.heads.iter().map(|h| h.0).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    fn chain(&self, slot: usize) -> impl Iterator<Item = RefEntry> + '_ {
        let (owner, mut at) = self.heads[slot];
        std::iter::from_fn(move || {
            let link = self.links.get(at as usize)?;
            at = link.before;
            Some(RefEntry {
                owner,
                seq: u64::from(link.seq[0]) | u64::from(link.seq[1]) << 32,
                offset: link.offset,
                size: link.size,
            })
        })
    }

    /// The refs of one owner with a number in `from..to`, in no order. `slot` if it is known.
    pub fn of(&self, owner: OwnerId, slot: Option<u32>, from: u64, to: u64, out: &mut Vec<RefEntry>) {
        let wanted = |r: &RefEntry| r.seq >= from && r.seq < to;
        match slot {
            Some(slot) => out.extend(self.chain(slot as usize).filter(wanted)),
            None => {
                for (slot, head) in self.heads.iter().enumerate() {
                    if head.0 == owner {
                        out.extend(self.chain(slot).filter(wanted));
                    }
                }
            }
        }
    }

    /// All refs whose record lies before `end`, by owner and number.
    pub fn sorted(&self, end: u64) -> Vec<RefEntry> {
        let mut slots: Vec<u32> = (0..self.heads.len() as u32).collect();
        slots.sort_unstable_by_key(|&s| self.heads[s as usize].0);
        let mut all = Vec::with_capacity(self.links.len());
        for slot in slots {
            all.extend(self.chain(slot as usize).filter(|r| u64::from(r.offset) < end));
        }
        // Nearly sorted: the runs of an owner stand in reverse.
        all.sort_by_key(|r| (r.owner, r.seq));
        all
    }
}
