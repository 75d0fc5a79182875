//! Walks through the slots of shards.
//!
//! Everything a shard has belongs to one of its sessions, each in its slot. A shard looks at some slots and goes on
//! with its work; the walk goes on where it was.

use super::cursor::{Cursor, Question, bad};
use super::key::{Best, Key};
use super::{Find, MOST_ROWS, Page};
use crate::admin::Broker;
use crate::info::AdminError;
use crate::shard::Shard;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots and things that are looked at before a shard goes on with its work, and for how long.
pub(crate) const PIECE: usize = 2048;
const PIECE_TIME: Duration = Duration::from_micros(300);
/// Things between two looks at the clock.
const BETWEEN: usize = 32;
/// Things picked in one walk: who wants those behind more than so many pays for further walks, not with memory.
const MOST_PICKED: usize = 65_536;
/// Rows that a shard makes before it goes on with its work.
const ROWS: usize = 256;

/// What is looked for in the slots of shards.
pub(crate) trait Sought: Send + Sync + 'static {
    /// One thing, where it lies.
    type Item<'a>;
    /// What is told of it.
    type Row: Send + 'static;

    /// The things in a slot from a name on, ordered by their names.
    fn items<'a>(
        shard: &'a Shard,
        slot: u32,
        from: Bound<&str>,
    ) -> impl Iterator<Item = Self::Item<'a>>;

    /// What tells it apart from others in its slot: nothing where a slot has one at the most.
    fn name<'a>(item: &Self::Item<'a>) -> &'a str;

    /// Whether it is looked for.
    fn wants(&self, item: &Self::Item<'_>) -> bool;

    /// What orders it. The id is that of the client.
    fn key<'a>(&self, item: &Self::Item<'a>) -> Key<'a>;

    fn row(item: &Self::Item<'_>) -> Self::Row;
}

/// Whether a piece is long enough.
pub(crate) struct Budget {
    left: usize,
    end: Instant,
}

impl Budget {
    pub fn new() -> Budget {
        Budget {
            left: PIECE,
            end: Instant::now() + PIECE_TIME,
        }
    }

    /// One more is looked at; `false` when it should be the last.
    #[inline]
    pub fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && (!self.left.is_multiple_of(BETWEEN) || self.in_time())
    }

    pub fn in_time(&self) -> bool {
        Instant::now() < self.end
    }
}

/// Where a walk through one shard has come to: behind a name in a slot, or before the slot.
#[derive(Debug, Clone, Default)]
struct Spot {
    slot: u32,
    name: Option<String>,
}

/// A thing that was picked: its shard, slot and name.
#[derive(Debug, Clone)]
struct Place {
    shard: u16,
    slot: u32,
    name: Box<str>,
}

/// Calls `f` for things from a spot on until it says to stop, or the piece is long enough: then, where to go on.
fn look<S: Sought>(
    shard: &Shard,
    spot: Spot,
    mut f: impl FnMut(u32, S::Item<'_>) -> bool,
) -> Option<Spot> {
    let mut budget = Budget::new();
    let mut behind = spot.name;
    let end = shard.sessions.capacity() as u32;
    for slot in spot.slot..end {
        let mut last = None;
        if shard.sessions.contains(slot as usize) {
            let from = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for item in S::items(shard, slot, from) {
                let name = S::name(&item);
                if !f(slot, item) {
                    // It was not taken.
                    let name = last.map(str::to_string).or_else(|| behind.clone());
                    return Some(Spot { slot, name });
                }
                last = Some(name);
                if !budget.spend() {
                    let name = Some(name.to_string());
                    return Some(Spot { slot, name });
                }
            }
        }
        behind = None;
        if !budget.spend() {
            return Some(Spot {
                slot: slot + 1,
                name: None,
            });
        }
    }
    None
}

/// A page of what a shard has, as it lies.
struct Part<R> {
    rows: Vec<R>,
    skipped: usize,
    /// the page is full, and there is more
    more: bool,
    next: Option<Spot>,
}

fn part_of<S: Sought>(
    sought: &S,
    shard: &Shard,
    spot: Spot,
    skip: usize,
    most: usize,
) -> Part<S::Row> {
    let (mut rows, mut skipped, mut more) = (Vec::new(), 0, false);
    let next = look::<S>(shard, spot, |_, item| {
        if !sought.wants(&item) {
        } else if skipped < skip {
            skipped += 1;
        } else if rows.len() < most {
            rows.push(S::row(&item));
        } else {
            more = true;
        }
        !more
    });
    Part {
        rows,
        skipped,
        more,
        next,
    }
}

/// Numbers of the orders in cursors, and what they are about.
pub(crate) struct Asked<S> {
    pub sought: S,
    pub kind: u8,
    /// 0 = as they lie
    pub order: u8,
    /// nothing is left out
    pub all: bool,
    pub total: usize,
}

impl Broker {
    /// A page of what is looked for.
    pub(super) fn page<F, O, S: Sought>(
        &self,
        find: &Find<F, O>,
        asked: Asked<S>,
    ) -> Result<Page<S::Row>, AdminError> {
        let question = Question {
            kind: asked.kind,
            order: asked.order,
            descending: find.descending && asked.order > 0,
        };
        let sought = Arc::new(asked.sought);
        let (rows, next, matched) = match asked.order {
            0 => {
                let (rows, next) = self.as_they_lie(find, question, &sought)?;
                (rows, next, asked.all.then_some(asked.total))
            }
            _ => {
                let (rows, next, matched) = self.in_order(find, question, &sought)?;
                (rows, next, Some(matched))
            }
        };
        let next = next.map(|cursor| question.write(&cursor));
        Ok(Page {
            rows,
            next,
            matched,
            total: asked.total,
        })
    }

    fn as_they_lie<F, O, S: Sought>(
        &self,
        find: &Find<F, O>,
        question: Question,
        sought: &Arc<S>,
    ) -> Result<(Vec<S::Row>, Option<Cursor>), AdminError> {
        let (mut index, mut spot) = (0, Spot::default());
        if let Some(after) = &find.after {
            let (shard, slot, name) = question.slot(after)?;
            if usize::from(shard) >= self.shards() {
                return Err(bad());
            }
            (index, spot) = (usize::from(shard), Spot { slot, name });
        }
        let most = find.limit.min(MOST_ROWS);
        let (mut rows, mut skip) = (Vec::new(), find.offset);
        while index < self.shards() {
            let (of, from, left) = (Arc::clone(sought), spot.clone(), most - rows.len());
            let part = self
                .on_shard(index, move |shard| part_of(&*of, shard, from, skip, left))
                .ok_or_else(silent)?;
            rows.extend(part.rows);
            skip -= part.skipped;
            match part.next {
                Some(next) if part.more => {
                    let cursor = Cursor::Slot(index as u16, next.slot, next.name);
                    return Ok((rows, Some(cursor)));
                }
                Some(next) => spot = next,
                None => (index, spot) = (index + 1, Spot::default()),
            }
        }
        Ok((rows, None))
    }

    fn in_order<F, O, S: Sought>(
        &self,
        find: &Find<F, O>,
        question: Question,
        sought: &Arc<S>,
    ) -> Result<Ordered<S::Row>, AdminError> {
        let after = match &find.after {
            Some(after) => Some(question.key(after)?),
            None => None,
        };
        let pass = |best: Best<Place>| self.pick(sought, best);
        let picked = picked(find, after, pass)?;
        let rows = self.rows_of::<S>(&picked.best)?;
        Ok((rows, picked.next, picked.matched))
    }

    /// One walk through all shards; also says how many things are looked for.
    fn pick<S: Sought>(
        &self,
        sought: &Arc<S>,
        mut best: Best<Place>,
    ) -> Result<Found<Place>, AdminError> {
        let mut matched = 0;
        for index in 0..self.shards() {
            let mut spot = Some(Spot::default());
            while let Some(from) = spot {
                let (sought, mut some) = (Arc::clone(sought), best.another());
                let piece = move |shard: &mut Shard| {
                    let mut matched = 0;
                    let next = look::<S>(shard, from, |slot, item| {
                        if sought.wants(&item) {
                            matched += 1;
                            some.add(sought.key(&item), || Place {
                                shard: shard.index as u16,
                                slot,
                                name: S::name(&item).into(),
                            });
                        }
                        true
                    });
                    (some, matched, next)
                };
                let (some, n, next) = self.on_shard(index, piece).ok_or_else(silent)?;
                best.merge(some);
                matched += n;
                spot = next;
            }
        }
        Ok((best.take(), matched))
    }

    /// The rows of what was picked, without what has gone meanwhile.
    fn rows_of<S: Sought>(
        &self,
        picked: &[(Key<'static>, Place)],
    ) -> Result<Vec<S::Row>, AdminError> {
        let mut rows: Vec<(usize, S::Row)> = Vec::new();
        for index in 0..self.shards() {
            let all = picked.iter().enumerate();
            let here: Vec<_> = all
                .filter(|(_, (_, place))| usize::from(place.shard) == index)
                .map(|(n, (key, place))| (n, key.id.to_string(), place.clone()))
                .collect();
            for some in here.chunks(ROWS) {
                let some = some.to_vec();
                let make = move |shard: &mut Shard| {
                    let row = |(n, id, place): &(usize, String, Place)| {
                        Some((*n, row_at::<S>(shard, id, place)?))
                    };
                    some.iter().filter_map(row).collect::<Vec<_>>()
                };
                rows.extend(self.on_shard(index, make).ok_or_else(silent)?);
            }
        }
        rows.sort_by_key(|(n, _)| *n);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// The row of a thing, if it is still there.
fn row_at<S: Sought>(shard: &Shard, id: &str, place: &Place) -> Option<S::Row> {
    let entry = shard.sessions.get(place.slot as usize)?;
    if *entry.publisher.clientid != *id {
        return None;
    }
    let mut items = S::items(shard, place.slot, Bound::Included(&place.name));
    let item = items.next().filter(|item| S::name(item) == &*place.name);
    item.map(|item| S::row(&item))
}

pub(crate) fn silent() -> AdminError {
    AdminError::Unavailable("an event loop does not answer: try again later".into())
}

/// What was picked in one walk, and how many things are looked for at all.
pub(super) type Found<P> = (Vec<(Key<'static>, P)>, usize);

/// Rows, where the next page begins, and how many there are on all pages.
type Ordered<R> = (Vec<R>, Option<Cursor>, usize);

/// What was picked for a page.
pub(super) struct Picked<P> {
    pub best: Vec<(Key<'static>, P)>,
    pub next: Option<Cursor>,
    pub matched: usize,
}

/// Picks a page by walks of `pass`, each of which gives the best that it was asked for, and how many things are
/// looked for at all.
pub(super) fn picked<F, O, P>(
    find: &Find<F, O>,
    mut after: Option<Key<'static>>,
    mut pass: impl FnMut(Best<P>) -> Result<Found<P>, AdminError>,
) -> Result<Picked<P>, AdminError> {
    let most = find.limit.min(MOST_ROWS);
    let mut skip = find.offset;
    while skip > MOST_PICKED {
        let (best, matched) = pass(Best::new(MOST_PICKED, find.descending, after))?;
        if best.len() < MOST_PICKED {
            let best = Vec::new();
            return Ok(Picked {
                best,
                next: None,
                matched,
            });
        }
        skip -= MOST_PICKED;
        after = best.into_iter().last().map(|(key, _)| key);
    }
    // One more tells whether there is another page.
    let wanted = skip + most;
    let (mut best, matched) = pass(Best::new(wanted + 1, find.descending, after.clone()))?;
    let more = best.len() > wanted;
    best.truncate(wanted);
    let last = best.last().map(|(key, _)| key.clone()).or(after);
    let next = last.filter(|_| more).map(Cursor::Key);
    best.drain(..skip.min(best.len()));
    Ok(Picked {
        best,
        next,
        matched,
    })
}
