//! A set of numbers that mostly follow one another.

/// Numbers as ranges `[first, behind)`, ascending, none touching the next. What a session is owed comes
/// numbered without gaps, only not quite in order when several threads publish: there are few ranges.
#[derive(Debug, Default)]
pub(crate) struct Seqs(Vec<(u64, u64)>);

impl Seqs {
    /// All from `first` to before `behind`.
    pub fn range(first: u64, behind: u64) -> Seqs {
        Seqs(if first < behind {
            vec![(first, behind)]
        } else {
            Vec::new()
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    /// The number behind the last one.
    pub fn behind(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    /// How many are at or above `from`.
    pub fn len_from(&self, from: u64) -> usize {
        let above = self.0.iter().rev().take_while(|range| range.1 > from);
        above
            .map(|range| (range.1 - range.0.max(from)) as usize)
            .sum()
    }

    /// `false` when it was in already.
    pub fn insert(&mut self, seq: u64) -> bool {
        // The range that begins behind it: nearly always there is none.
        let at = match self.0.last() {
            Some(last) if last.0 <= seq => self.0.len(),
            _ => self.0.partition_point(|range| range.0 <= seq),
        };
        if at > 0 && seq < self.0[at - 1].1 {
            return false;
        }
        let joins_before = at > 0 && self.0[at - 1].1 == seq;
        let joins_behind = self.0.get(at).is_some_and(|range| range.0 == seq + 1);
        match (joins_before, joins_behind) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = seq + 1,
            (false, true) => self.0[at].0 = seq,
            (false, false) => self.0.insert(at, (seq, seq + 1)),
        }
        true
    }

    /// `false` when it was not in.
    pub fn remove(&mut self, seq: u64) -> bool {
        let at = match self.0.first() {
            Some(first) if seq < first.1 => 0,
            _ => self.0.partition_point(|range| range.1 <= seq),
        };
        let Some(&(first, behind)) = self.0.get(at).filter(|range| range.0 <= seq) else {
            return false;
        };
        match (first == seq, behind == seq + 1) {
            (true, true) => {
                self.0.remove(at);
            }
            (true, false) => self.0[at].0 = seq + 1,
            (false, true) => self.0[at].1 = seq,
            (false, false) => {
                self.0[at].1 = seq;
                self.0.insert(at + 1, (seq + 1, behind));
            }
        }
        true
    }

    /// Takes over all of `other`.
    pub fn append(&mut self, other: Seqs) {
        for (first, behind) in other.0 {
            match self.0.last_mut() {
                Some(last) if last.1 == first => last.1 = behind,
                Some(last) if last.1 > first => {
                    for seq in first..behind {
                        self.insert(seq);
                    }
                }
                _ => self.0.push((first, behind)),
            }
        }
    }

    /// Removes all below `to`.
    pub fn remove_below(&mut self, to: u64) {
        let whole = self.0.partition_point(|range| range.1 <= to);
        self.0.drain(..whole);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn takes_over_another(a in proptest::collection::btree_set(1..60u64, 0..20), b in proptest::collection::btree_set(1..60u64, 0..20)) {
            let of = |set: &BTreeSet<u64>| {
                let mut seqs = Seqs::default();
                for seq in set {
                    seqs.insert(*seq);
                }
                seqs
            };
            let mut both = of(&a);
            both.append(of(&b));
            prop_assert_eq!(both.0, of(&a.union(&b).copied().collect()).0);
        }

        #[test]
        fn behaves_like_a_set(ops in proptest::collection::vec((0..5u8, 1..60u64), 0..300)) {
            let mut seqs = Seqs::default();
            let mut model = BTreeSet::new();
            for (op, seq) in ops {
                match op {
                    0..2 => prop_assert_eq!(seqs.insert(seq), model.insert(seq)),
                    2 | 3 => prop_assert_eq!(seqs.remove(seq), model.remove(&seq)),
                    _ => {
                        seqs.remove_below(seq / 2);
                        model.retain(|s| *s >= seq / 2);
                    }
                }
                prop_assert_eq!(seqs.first(), model.first().copied());
                prop_assert_eq!(seqs.behind(), model.last().map(|s| s + 1));
                prop_assert_eq!(seqs.is_empty(), model.is_empty());
                prop_assert_eq!(seqs.len_from(seq), model.range(seq..).count());
                prop_assert!(seqs.0.windows(2).all(|pair| pair[0].1 < pair[1].0), "ranges touch");
            }
        }
    }
}
