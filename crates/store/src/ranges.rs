//! The numbers an owner is still owed, and in which segment each of these messages lies.

use std::collections::VecDeque;

/// Consecutive numbers whose messages lie in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    pub start: u64,
    pub count: u32,
    pub segment: u32,
}

impl Range {
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.count)
    }
}

/// What came of [`Ranges::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    New,
    /// it was there, and its message now lies elsewhere
    Moved {
        from: u32,
    },
    Same,
}

/// Numbers in ascending order. One run of them, the usual case, takes no memory of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges {
    /// the lowest; none when its count is 0
    first: Range,
    /// those above, ascending, disjoint; never empty
    #[allow(clippy::box_collection)]
    more: Option<Box<VecDeque<Range>>>,
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.first.count == 0
    }

    pub fn front(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.first.start)
    }

    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        let first = (!self.is_empty()).then_some(self.first);
        first
            .into_iter()
            .chain(self.more.iter().flat_map(|more| more.iter().copied()))
    }

    /// The ranges that reach into `from..to`, in order, not cut to it. Finds the first without walking there.
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = Range> + '_ {
        let first = (self.first.count > 0 && self.first.end() > from).then_some(self.first);
        let rest = self.more.iter().flat_map(move |more| {
            let skip = more.partition_point(|r| r.end() <= from);
            more.range(skip..).copied()
        });
        first
            .into_iter()
            .chain(rest)
            .take_while(move |r| r.start < to)
    }

    /// The segment in which the message of `seq` lies, if it is owed.
    pub fn segment_of(&self, seq: u64) -> Option<u32> {
        self.between(seq, seq.saturating_add(1))
            .next()
            .map(|r| r.segment)
    }

    /// Gives memory back that is not in use.
    pub fn shrink(&mut self) {
        if let Some(more) = &mut self.more {
            more.shrink_to_fit();
        }
    }

    /// How many.
    pub fn total(&self) -> u64 {
        self.iter().map(|r| u64::from(r.count)).sum()
    }

    /// Puts ranges behind what is there, as a decoder does; the caller has them in ascending order.
    pub fn push(&mut self, range: Range) {
        if range.count == 0 {
            return;
        }
        if self.first.count == 0 {
            self.first = range;
        } else {
            self.more.get_or_insert_default().push_back(range);
        }
    }

    #[inline]
    pub fn insert(&mut self, seq: u64, segment: u32) -> Inserted {
        if self.first.count == 0 {
            self.first = Range {
                start: seq,
                count: 1,
                segment,
            };
            return Inserted::New;
        }
        let last = match &mut self.more {
            Some(more) => more.back_mut().unwrap_or(&mut self.first),
            None => &mut self.first,
        };
        if last.end() == seq {
            if last.segment == segment && last.count < u32::MAX {
                last.count += 1;
            } else {
                self.push(Range {
                    start: seq,
                    count: 1,
                    segment,
                });
            }
            return Inserted::New;
        }
        self.edit(|list| insert_into(list, seq, segment))
    }

    /// Takes a number out; the segment of its message, if it was there.
    #[inline]
    pub fn remove(&mut self, seq: u64) -> Option<u32> {
        if self.first.count > 0 && self.first.start == seq {
            self.first.start += 1;
            self.first.count -= 1;
            let segment = self.first.segment;
            if self.first.count == 0
                && let Some(more) = &mut self.more
            {
                self.first = more.pop_front().unwrap_or_default();
                if more.is_empty() {
                    self.more = None;
                }
            }
            return Some(segment);
        }
        if self.first.count == 0 || seq < self.first.start {
            return None;
        }
        self.edit(|list| remove_from(list, seq))
    }

    /// Takes out all ranges for whose segment `keep` says no; how many numbers that were.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) -> u64 {
        let mut gone = 0;
        self.edit(|list| {
            list.retain(|r| {
                let keep = keep(r.segment);
                if !keep {
                    gone += u64::from(r.count);
                }
                keep
            });
        });
        gone
    }

    /// Works on all ranges as one list: the first joins it for that time.
    fn edit<T>(&mut self, work: impl FnOnce(&mut VecDeque<Range>) -> T) -> T {
        let mut list = self.more.take().unwrap_or_default();
        if self.first.count > 0 {
            list.push_front(self.first);
        }
        let result = work(&mut list);
        self.first = list.pop_front().unwrap_or_default();
        if !list.is_empty() {
            self.more = Some(list);
        }
        result
    }
}

/// The range that holds `seq`, or the place where one that holds it would stand.
fn locate(list: &VecDeque<Range>, seq: u64) -> Result<usize, usize> {
    let i = list.partition_point(|r| r.start <= seq);
    match i.checked_sub(1) {
        Some(before) if list[before].end() > seq => Ok(before),
        _ => Err(i),
    }
}

fn insert_into(list: &mut VecDeque<Range>, seq: u64, segment: u32) -> Inserted {
    match locate(list, seq) {
        Ok(i) if list[i].segment == segment => Inserted::Same,
        Ok(i) => {
            let from = list[i].segment;
            remove_from(list, seq);
            insert_into(list, seq, segment);
            Inserted::Moved { from }
        }
        Err(i) => {
            let joins = |r: &Range| r.segment == segment && r.count < u32::MAX;
            let after = list.get(i).is_some_and(|r| r.start == seq + 1 && joins(r));
            let before = i > 0 && list[i - 1].end() == seq && joins(&list[i - 1]);
            if before {
                list[i - 1].count += 1;
                // Two ranges have become one, unless that would not fit its count.
                if after && let Some(sum) = list[i - 1].count.checked_add(list[i].count) {
                    list[i - 1].count = sum;
                    list.remove(i);
                }
            } else if after {
                list[i].start = seq;
                list[i].count += 1;
            } else {
                list.insert(
                    i,
                    Range {
                        start: seq,
                        count: 1,
                        segment,
                    },
                );
            }
            Inserted::New
        }
    }
}

fn remove_from(list: &mut VecDeque<Range>, seq: u64) -> Option<u32> {
    let i = locate(list, seq).ok()?;
    let range = list[i];
    let below = (seq - range.start) as u32;
    let above = range.count - below - 1;
    match (below, above) {
        (0, 0) => {
            list.remove(i);
        }
        (0, _) => {
            list[i].start += 1;
            list[i].count -= 1;
        }
        (_, 0) => list[i].count -= 1,
        _ => {
            list[i].count = below;
            list.insert(
                i + 1,
                Range {
                    start: seq + 1,
                    count: above,
                    segment: range.segment,
                },
            );
        }
    }
    Some(range.segment)
}

#[cfg(test)]
mod tests;
