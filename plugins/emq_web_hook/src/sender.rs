//! The tasks that post.

use crate::figures::Reason;
use crate::lanes::{Batch, NEVER, Waiting};
use crate::outbox::Outbox;
use bytes::{BufMut as _, Bytes, BytesMut};
use emqttd_http_client::Request;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// Between two attempts: at first, and at the most.
const FIRST_PAUSE: u64 = 100;
const LONGEST_PAUSE: u64 = 5000;
const JSON: &str = "application/json";

/// What came of a request.
enum Outcome {
    Delivered,
    /// The server does not want it.
    Refused(u16),
    /// It may be delivered later; why it was not, and the answer's status.
    Failed(String, Option<u16>),
    /// There is another URL now.
    Moved,
}

/// Posts what comes into a lane, one request after the other.
pub(crate) async fn send(outbox: Arc<Outbox>, lane: usize) {
    let (mut pause, mut fault) = (Pause::new(), Fault::new(lane));
    while let Some(batch) = outbox.next(lane).await {
        deliver(&outbox, lane, batch, &mut pause, &mut fault).await;
    }
}

/// Posts a batch until it is done: delivered, refused or too old.
async fn deliver(
    outbox: &Outbox,
    lane: usize,
    batch: Arc<Batch>,
    pause: &mut Pause,
    fault: &mut Fault,
) {
    let Some((mut batch, mut body)) = composed(outbox, lane, batch) else {
        return;
    };
    // Its events go one by one.
    let mut alone = false;
    fault.next();
    loop {
        pause.wait(outbox, batch.expires()).await;
        let now = outbox.now();
        if batch.events.iter().any(|event| event.expires <= now) {
            let Some(young) = without_expired(outbox, lane, &batch, now) else {
                return;
            };
            let Some(composed) = composed(outbox, lane, young) else {
                return;
            };
            (batch, body) = composed;
            alone = false;
        }
        let outcome = post(outbox, &body, batch.expires().saturating_sub(now)).await;
        let events = if alone { 1 } else { batch.events.len() };
        let taken = matches!(outcome, Outcome::Delivered | Outcome::Refused(_));
        match outcome {
            Outcome::Failed(why, status) => {
                outbox.figures.failed.inc();
                outbox.trouble.fails(&why);
                pause.failed(outbox.now());
                let bad = fault.is_the_events(outbox, status);
                let Some(status) = bad.filter(|_| batch.expires() == NEVER) else {
                    continue;
                };
                pause.reset();
                if events > 1 {
                    alone = true;
                    fault.next();
                    body = joined(&batch.events[..1]).1;
                    continue;
                }
                outbox.trouble.refuses(status);
                outbox.figures.dropped(Reason::Refused, 1);
            }
            Outcome::Moved => {
                pause.reset();
                continue;
            }
            Outcome::Delivered => outbox.figures.sent.add(events as u64),
            Outcome::Refused(status) => {
                outbox.trouble.refuses(status);
                outbox.figures.dropped(Reason::Refused, events);
            }
        }
        if taken {
            outbox.trouble.answers();
            pause.reset();
            fault.none(outbox);
        }
        let (done, rest) = batch.events.split_at(events);
        let rest = (!rest.is_empty()).then(|| Arc::new(Batch::of(rest)));
        let goes_on = outbox.replace(lane, rest.clone(), done);
        let (true, Some(rest)) = (goes_on, rest) else {
            return;
        };
        body = joined(&rest.events[..1]).1;
        batch = rest;
        fault.next();
    }
}

/// Whose fault it is that a lane's requests are answered with errors: the server's, or that of one event, which
/// nobody else should wait for. What waits on disk has no deadline of its own.
struct Fault {
    at: usize,
    /// when such answers to the lane began, and when the last one came; by the outbox's clock
    lane: Option<(u64, u64)>,
    /// since when there was nothing else for what is under way
    since: Option<u64>,
}

impl Fault {
    fn new(at: usize) -> Fault {
        Fault {
            at,
            lane: None,
            since: None,
        }
    }

    /// Something else is under way.
    fn next(&mut self) {
        self.since = None;
    }

    /// The server has taken something.
    fn none(&mut self, outbox: &Outbox) {
        self.since = None;
        outbox.taken[self.at].store(outbox.now() + 1, Ordering::Relaxed);
    }

    /// It has failed once more. Gives the status when that is the event's fault: it has been so for the deadline, and
    /// another lane has had success since and not failed after it.
    fn is_the_events(&mut self, outbox: &Outbox, status: Option<u16>) -> Option<u16> {
        outbox.taken[self.at].store(0, Ordering::Relaxed);
        if !matches!(status, Some(500..=501 | 505..)) {
            (self.lane, self.since) = (None, None);
            return None;
        }
        let now = outbox.now();
        let deadline = u64::try_from(outbox.settings.deadline.as_millis()).unwrap_or(u64::MAX);
        // It outlasts a success in between: one such event may follow another, and the other lanes may have nothing
        // to send before both are done.
        let lately = deadline.max(2 * LONGEST_PAUSE);
        let lane = self.lane.filter(|(_, last)| now - last < lately);
        let begin = lane.map_or(now, |(begin, _)| begin);
        self.lane = Some((begin, now));
        let since = *self.since.get_or_insert(now);
        let others = outbox
            .taken
            .iter()
            .map(|taken| taken.load(Ordering::Relaxed));
        let others_go = others.max().is_some_and(|taken| taken > begin + 1);
        status.filter(|_| now - since >= deadline && others_go)
    }
}

/// The body of a request with these events; with batches they lie in it from now on, so that there is one of each.
/// `None` = the lane has ended.
fn composed(outbox: &Outbox, lane: usize, batch: Arc<Batch>) -> Option<(Arc<Batch>, Bytes)> {
    if outbox.settings.batch_size <= 1 {
        let body = batch.events.first()?.body.clone();
        return Some((batch, body));
    }
    let (batch, body) = joined(&batch.events);
    let batch = Arc::new(batch);
    let goes_on = outbox.replace(lane, Some(Arc::clone(&batch)), &[]);
    goes_on.then_some((batch, body))
}

/// A JSON array of events, and the events as parts of it.
fn joined(events: &[Waiting]) -> (Batch, Bytes) {
    let length = events
        .iter()
        .map(|event| event.body.len() + 1)
        .sum::<usize>()
        + 1;
    let mut out = BytesMut::with_capacity(length);
    for (at, event) in events.iter().enumerate() {
        out.put_u8(if at == 0 { b'[' } else { b',' });
        out.put_slice(&event.body);
    }
    out.put_u8(b']');
    let body = out.freeze();
    let mut parts = Batch::default();
    let mut begin = 1;
    for event in events {
        let end = begin + event.body.len();
        parts.push(Waiting {
            body: body.slice(begin..end),
            ..*event
        });
        begin = end + 1;
    }
    (parts, body)
}

/// What is not too old of a batch; what is, is dropped. `None` = that was all, or the lane has ended.
fn without_expired(outbox: &Outbox, lane: usize, batch: &Batch, now: u64) -> Option<Arc<Batch>> {
    let mut young = Batch::default();
    let mut gone = Vec::new();
    for event in &batch.events {
        match event.expires <= now {
            true => gone.push(event.clone()),
            false => young.push(event.clone()),
        }
    }
    let young = (!young.events.is_empty()).then(|| Arc::new(young));
    if !outbox.replace(lane, young.clone(), &gone) {
        return None;
    }
    outbox.figures.dropped(Reason::Expired, gone.len());
    young
}

/// One request; `left` = for so many milliseconds it makes sense.
async fn post(outbox: &Outbox, body: &Bytes, left: u64) -> Outcome {
    // Before the target is looked at: so no change is missed.
    let changed = outbox.wakes.retry.notified();
    let target = outbox.target.load_full();
    let patience = outbox.settings.timeout.min(Duration::from_millis(left));
    let request = Request {
        url: &target.url,
        post: Some((JSON, body)),
        // Its status says it all.
        most: 0,
    };
    let answer = tokio::select! {
        answer = timeout(patience, target.client.ask(&request)) => answer,
        () = changed => return Outcome::Moved,
    };
    match answer {
        Ok(Ok(answer)) => match answer.status {
            ..400 => Outcome::Delivered,
            status @ (408 | 425 | 429 | 500..) => {
                Outcome::Failed(format!("{}: answers {status}", target.url), Some(status))
            }
            status => Outcome::Refused(status),
        },
        Ok(Err(fault)) => Outcome::Failed(fault.why().to_string(), None),
        Err(_) => {
            let why = format!("{}: no answer within {patience:?}", target.url);
            Outcome::Failed(why, None)
        }
    }
}

/// What lies between attempts. It belongs to the lane: the next event waits for what the last one has found.
struct Pause {
    length: u64,
    /// when the next attempt may be made, by the outbox's clock
    until: u64,
    random: RandomState,
    attempts: u64,
}

impl Pause {
    fn new() -> Pause {
        Pause {
            length: 0,
            until: 0,
            random: RandomState::new(),
            attempts: 0,
        }
    }

    fn reset(&mut self) {
        self.length = 0;
        self.until = 0;
    }

    /// Twice as long as before, and by chance up to half as long: the lanes do not come all at once.
    fn failed(&mut self, now: u64) {
        self.length = (2 * self.length).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.attempts += 1;
        let chance = self.random.hash_one(self.attempts) % (self.length / 2 + 1);
        self.until = now + self.length - chance;
    }

    /// Waits for the next attempt, or until there is none any more because all is too old, or for another URL.
    async fn wait(&mut self, outbox: &Outbox, expires: u64) {
        let until = self.until.min(expires);
        let rest = until.saturating_sub(outbox.now());
        if rest == 0 || until == NEVER {
            return;
        }
        let retry = outbox.wakes.retry.notified();
        if timeout(Duration::from_millis(rest), retry).await.is_ok() {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn batches_are_arrays() {
        let mut batch = Batch::default();
        for text in ["{\"a\":1}", "{}", "{\"b\":2}"] {
            batch.push(Waiting {
                order: 1,
                lane: 2,
                row: 3,
                expires: 4,
                body: Bytes::from_static(text.as_bytes()),
            });
        }
        let (parts, body) = joined(&batch.events);
        assert_eq!(body, "[{\"a\":1},{},{\"b\":2}]");
        assert_eq!(parts.amount, batch.amount);
        for (part, event) in parts.events.iter().zip(&batch.events) {
            assert_eq!(part.body, event.body);
            assert_eq!((part.order, part.lane), (event.order, event.lane));
            assert_eq!((part.row, part.expires), (event.row, event.expires));
            // They lie in the body.
            assert!(body.as_ptr_range().contains(&part.body.as_ptr()));
        }
        assert_eq!(joined(&parts.events).1, body);
    }

    #[test]
    fn pauses_grow_and_differ() {
        let mut pause = Pause::new();
        let mut longest = 100;
        for _ in 0..10 {
            pause.failed(1000);
            let length = pause.until - 1000;
            assert!((longest / 2..=longest).contains(&length), "{length}");
            longest = (2 * longest).min(LONGEST_PAUSE);
        }
        pause.reset();
        let mut lengths: Vec<u64> = (0..50)
            .map(|_| {
                pause.length = LONGEST_PAUSE;
                pause.failed(0);
                pause.until
            })
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        assert!(lengths.len() > 10);
        pause.reset();
        pause.failed(0);
        assert!(pause.until <= FIRST_PAUSE);
    }
}
