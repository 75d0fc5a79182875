//! What can be looked for in the tables that all shards share: routes and retained messages.

use super::cursor::{Cursor, Question};
use super::key::{Best, Key};
use super::text::has;
use super::walk::{Budget, Found, PIECE, Picked, picked};
use super::*;
use crate::admin::route_info;
use crate::durable::record::Clock;
use crate::retain::is_stub;
use emqttd_mqtt::topic::{SubscriptionFilter as Parts, matches};
use emqttd_router::{Walk, Walked};
use emqttd_session::Message;

/// A walk over routes begins anew when the table has been put in another order: so often at the most.
const MOST_BEGINNINGS: usize = 32;
/// Places of the router that are looked at between two looks at the clock.
const STEP: usize = 64;

const ROUTES: Question = Question {
    kind: b'r',
    order: 1,
    descending: false,
};

impl Broker {
    pub(super) fn routes_page(
        &self,
        find: &Find<RouteFilter, RouteOrder>,
    ) -> Result<Page<RouteInfo>, AdminError> {
        let question = Question {
            descending: find.descending,
            ..ROUTES
        };
        let after = find.after.as_deref().map(|text| question.key(text));
        let Picked {
            best,
            next,
            matched,
        } = picked(find, after.transpose()?, |best| {
            self.pick_routes(find, best)
        })?;
        let router = self.node.router.read();
        let row = |(key, ()): &(Key<'_>, ())| {
            let targets = router.targets(&key.id);
            (!targets.is_empty()).then(|| route_info(&key.id, targets))
        };
        Ok(Page {
            rows: best.iter().filter_map(row).collect(),
            next: next.map(|cursor| question.write(&cursor)),
            matched: Some(matched),
            total: router.len(),
        })
    }

    fn pick_routes(
        &self,
        find: &Find<RouteFilter, RouteOrder>,
        best: Best<()>,
    ) -> Result<Found<()>, AdminError> {
        for _ in 0..MOST_BEGINNINGS {
            let (mut best, mut matched) = (best.another(), 0);
            let mut walk = Walk::default();
            let end = loop {
                let how = self.some_routes(&mut walk, |filter| {
                    if has(filter, &find.filter.search) {
                        matched += 1;
                        best.add(Key::of(filter), || ());
                    }
                });
                if how != Walked::More {
                    break how;
                }
            };
            if end == Walked::Done {
                return Ok((best.take(), matched));
            }
        }
        Err(AdminError::Unavailable(
            "routes change too fast: try again later".into(),
        ))
    }

    /// Goes on with a walk for so long as who waits for the lock may be held up.
    fn some_routes(&self, walk: &mut Walk, mut f: impl FnMut(&str)) -> Walked {
        let budget = Budget::new();
        let router = self.node.router.read();
        for _ in 0..PIECE / STEP {
            let how = router.walk(walk, STEP, |filter, _| f(filter));
            if how != Walked::More || !budget.in_time() {
                return how;
            }
        }
        Walked::More
    }

    pub(super) fn retained_page(
        &self,
        find: &Find<RetainedFilter, RetainedOrder>,
    ) -> Result<Page<RetainedRow>, AdminError> {
        let filter = find.filter.filter.as_deref();
        if filter.is_some_and(|filter| Parts::parse(filter, false).is_err()) {
            return Err(AdminError::BadTopic);
        }
        let question = Question {
            kind: b'm',
            order: u8::from(find.order.is_some()),
            descending: find.descending && find.order.is_some(),
        };
        let total = self.retained_count();
        let (rows, next, matched) = match find.order {
            None => {
                let (rows, next) = self.retained_by_time(find, question)?;
                let all = find.filter == RetainedFilter::default();
                (rows, next, all.then_some(total))
            }
            Some(RetainedOrder::Topic) => {
                let after = find.after.as_deref().map(|text| question.key(text));
                let picked = picked(find, after.transpose()?, |best| {
                    Ok(self.pick_retained(find, best))
                })?;
                let clock = self.clock();
                let row = |(_, sequence): &(Key<'_>, u64)| {
                    let message = self.node.retained.at(*sequence)?;
                    Some(retained_row(&message, clock))
                };
                let rows = picked.best.iter().filter_map(row).collect();
                (rows, picked.next, Some(picked.matched))
            }
        };
        Ok(Page {
            rows,
            next: next.map(|cursor| question.write(&cursor)),
            matched,
            total,
        })
    }

    fn retained_by_time(
        &self,
        find: &Find<RetainedFilter, RetainedOrder>,
        question: Question,
    ) -> Result<(Vec<RetainedRow>, Option<Cursor>), AdminError> {
        let most = find.limit.min(MOST_ROWS);
        let mut next = match &find.after {
            Some(after) => Some(question.number(after)?),
            None => Some(0),
        };
        let (mut rows, mut skip, mut more) = (Vec::new(), find.offset, false);
        while let Some(from) = next.filter(|_| !more) {
            let clock = self.clock();
            next = self.node.retained.look(from, clock, |_, message| {
                if !wanted(&find.filter, message) {
                } else if skip > 0 {
                    skip -= 1;
                } else if rows.len() < most {
                    rows.push(retained_row(message, clock));
                } else {
                    more = true;
                }
                !more
            });
        }
        Ok((rows, next.map(Cursor::Number)))
    }

    fn pick_retained(
        &self,
        find: &Find<RetainedFilter, RetainedOrder>,
        mut best: Best<u64>,
    ) -> Found<u64> {
        let (mut next, mut matched) = (Some(0), 0);
        while let Some(from) = next {
            next = (self.node.retained).look(from, self.clock(), |sequence, message| {
                if wanted(&find.filter, message) {
                    matched += 1;
                    best.add(Key::of(message.topic()), || sequence);
                }
                true
            });
        }
        (best.take(), matched)
    }
}

fn wanted(filter: &RetainedFilter, message: &Message) -> bool {
    (filter.filter.as_deref()).is_none_or(|filter| matches(filter, message.topic()))
        && has(message.topic(), &filter.search)
}

fn retained_row(message: &Message, clock: Clock) -> RetainedRow {
    let publisher = message.publisher.as_ref();
    RetainedRow {
        topic: message.topic().into(),
        qos: message.qos as u8,
        payload_size: (!is_stub(message)).then(|| message.payload().len()),
        published_at: message.timestamp,
        from: publisher.map(|publisher| publisher.clientid.to_string()),
        expires_at: Some(clock.calendar(message.expires_at)).filter(|at| *at != u64::MAX),
    }
}
