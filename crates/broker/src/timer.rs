//! One timer for each small number, in a coarse wheel.
//!
//! Every id has at most one deadline; setting it again moves it. An entry costs 16 bytes and no
//! allocation of its own. Deadlines beyond the horizon are looked at again once a turn.

const SLOTS: usize = 1024;
/// Milliseconds for each slot: deadlines are met up to this much late.
const TICK: u64 = 100;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    /// `0` = not set
    deadline: u64,
}

/// Timers of ids `0..n`.
#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Box<[u32; SLOTS]>,
    occupied: [u64; SLOTS / 64],
    links: Vec<Link>,
    /// the tick up to which everything has fired
    now: u64,
    armed: usize,
}

fn tick_of(deadline: u64) -> u64 {
    deadline.div_ceil(TICK)
}

impl Wheel {
    pub fn new(now: u64) -> Wheel {
        Wheel {
            heads: Box::new([NONE; SLOTS]),
            occupied: [0; SLOTS / 64],
            links: Vec::new(),
            now: now / TICK,
            armed: 0,
        }
    }

    fn slot(&self, deadline: u64) -> usize {
        (tick_of(deadline).clamp(self.now + 1, self.now + SLOTS as u64 - 1) as usize) % SLOTS
    }

    /// Sets or moves the timer of `id` (milliseconds).
    pub fn set(&mut self, id: u32, deadline: u64) {
        let deadline = deadline.max(1);
        if id as usize >= self.links.len() {
            self.links.resize(
                id as usize + 1,
                Link {
                    next: NONE,
                    previous: NONE,
                    deadline: 0,
                },
            );
        }
        if self.links[id as usize].deadline == deadline {
            return;
        }
        self.cancel(id);
        self.insert(id, deadline);
    }

    /// As [`Wheel::set`], unless the timer of `id` fires before that anyway.
    pub fn set_by(&mut self, id: u32, deadline: u64) {
        let set = self.links.get(id as usize).map_or(0, |link| link.deadline);
        if set == 0 || deadline < set {
            self.set(id, deadline);
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        let slot = self.slot(deadline);
        let head = self.heads[slot];
        // `previous` of a head names its slot, so that it can be unlinked without a search.
        self.links[id as usize] = Link {
            next: head,
            previous: NONE - 1 - slot as u32,
            deadline,
        };
        if head != NONE {
            self.links[head as usize].previous = id;
        }
        self.heads[slot] = id;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.armed += 1;
    }

    /// Takes the timer of `id` away.
    pub fn cancel(&mut self, id: u32) {
        let Some(link) = self.links.get(id as usize).copied() else {
            return;
        };
        if link.deadline == 0 {
            return;
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        let as_slot = (NONE - 1).wrapping_sub(link.previous) as usize;
        if as_slot < SLOTS {
            self.heads[as_slot] = link.next;
            if link.next == NONE {
                self.occupied[as_slot / 64] &= !(1 << (as_slot % 64));
            }
        } else {
            self.links[link.previous as usize].next = link.next;
        }
        self.links[id as usize].deadline = 0;
        self.armed -= 1;
    }

    /// Collects the ids whose time has come; their timers are no longer set.
    pub fn expired(&mut self, now: u64, into: &mut Vec<u32>) {
        let target = now / TICK;
        if self.armed == 0 || target <= self.now {
            self.now = self.now.max(target);
            return;
        }
        let turns = (target - self.now).min(SLOTS as u64);
        let first = self.now;
        self.now = target;
        for step in 1..=turns {
            let slot = ((first + step) as usize) % SLOTS;
            if self.occupied[slot / 64] & (1 << (slot % 64)) == 0 {
                continue;
            }
            let mut id = self.heads[slot];
            while id != NONE {
                let Link { next, deadline, .. } = self.links[id as usize];
                if tick_of(deadline) <= target {
                    self.cancel(id);
                    into.push(id);
                } else if self.slot(deadline) != slot {
                    self.cancel(id);
                    self.insert(id, deadline);
                }
                id = next;
            }
        }
    }

    /// When [`Wheel::expired`] should be called next (milliseconds); `None` = nothing is set.
    pub fn next(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let start = (self.now + 1) as usize % SLOTS;
        // Whole words first: an idle broker has few slots in use.
        let mut distance = 0;
        while distance < SLOTS {
            let slot = (start + distance) % SLOTS;
            let word = self.occupied[slot / 64] >> (slot % 64);
            if word == 0 {
                distance += 64 - slot % 64;
                continue;
            }
            distance += word.trailing_zeros() as usize;
            break;
        }
        Some((self.now + 1 + distance.min(SLOTS - 1) as u64) * TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn fires_each_once_and_in_time(ops in proptest::collection::vec((0u32..40, 0u64..200_000, 0u64..4_000, any::<bool>()), 1..300)) {
            let mut wheel = Wheel::new(0);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            let mut fired = Vec::new();
            for (id, ahead, step, cancel) in ops {
                if cancel { wheel.cancel(id); model.remove(&id); }
                else { wheel.set(id, now + ahead); model.insert(id, (now + ahead).max(1)); }
                now += step;
                if let Some(next) = wheel.next() {
                    let earliest = model.values().min().copied().unwrap_or(u64::MAX);
                    prop_assert!(next <= earliest.div_ceil(TICK).max(1) * TICK + TICK * SLOTS as u64);
                } else { prop_assert!(model.is_empty()); }
                fired.clear();
                wheel.expired(now, &mut fired);
                for id in &fired {
                    let deadline = model.remove(id);
                    prop_assert!(deadline.is_some_and(|d| d <= now), "{} fired early: {:?} > {}", id, deadline, now);
                }
                for (id, deadline) in &model {
                    prop_assert!(deadline.div_ceil(TICK) > now / TICK, "{} is late: {} <= {}", id, deadline, now);
                }
            }
        }
    }
}
