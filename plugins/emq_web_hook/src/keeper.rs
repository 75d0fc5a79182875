//! The tasks that write events to disk, read them back and delete them.
//!
//! Each waits for the store on threads that may block, of which it takes few: they are shared by all plugins.

use crate::lanes::{NEVER, Waiting};
use crate::outbox::Outbox;
use crate::spill::{Due, Refill, Spill};
use crate::spool::{NewRow, Row, Spool};
use emqttd_plugin_sdk::HostError;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Tasks that delete.
pub(crate) const DELETERS: usize = 2;
/// A store that fails is tried again so often.
const RETRY: Duration = Duration::from_secs(1);
/// Events that come into the lanes while nobody else gets at them.
const SLICE: usize = 256;
/// Threads that write at the end. A store may sync once a second only: what is written at a time waits together.
const WRITERS: usize = 16;
/// At the end, for all of it: the broker waits a second more. Of that for what the tasks have begun; and for rows that
/// can also be deleted later.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(4);
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_millis(1500);
const DELETE_PATIENCE: Duration = Duration::from_secs(1);

/// Writes the tail.
pub(crate) async fn write(outbox: Arc<Outbox>) {
    let Some(spool) = outbox.spool.clone() else {
        return;
    };
    loop {
        let due = {
            let state = outbox.state();
            let spill = state.spill.as_ref();
            spill.map_or(Due::Nothing, |spill| spill.due(&state.lanes))
        };
        match due {
            Due::Nothing => outbox.wakes.writer.notified().await,
            Due::In(period) => {
                // It may be that it need not be written.
                outbox.wakes.reader.notify_one();
                let _ = timeout(period, outbox.wakes.writer.notified()).await;
            }
            Due::Now => {
                if let Err(why) = write_rows(&outbox, &spool).await {
                    outbox.trouble.store_fails(&why.0);
                    outbox.wakes.reader.notify_one();
                    sleep(RETRY).await;
                }
            }
        }
    }
}

/// Writes what is to be written now; all of it, or it is tried again.
async fn write_rows(outbox: &Arc<Outbox>, spool: &Arc<Spool>) -> Result<(), HostError> {
    let (rows, (first, end)) = {
        let mut state = outbox.state();
        let Some(spill) = &mut state.spill else {
            return Ok(());
        };
        let rows = spill.next_rows();
        (rows, spill.needs())
    };
    let written = write_all(outbox, spool, rows, first, end).await;
    {
        let mut state = outbox.state();
        let Some(spill) = &mut state.spill else {
            return Ok(());
        };
        match written {
            Ok(()) => spill.written(),
            Err(_) => spill.not_written(),
        }
        outbox.show(&state);
    }
    written?;
    outbox.trouble.store_works();
    outbox.wakes.reader.notify_one();
    Ok(())
}

async fn write_all(
    outbox: &Arc<Outbox>,
    spool: &Arc<Spool>,
    rows: Vec<Arc<NewRow>>,
    first: u64,
    end: u64,
) -> Result<(), HostError> {
    let bounds = Arc::clone(spool);
    on_disk(outbox, move || bounds.reserve(first, end)).await?;
    let mut writing = Vec::new();
    for row in rows {
        let (outbox, spool) = (Arc::clone(outbox), Arc::clone(spool));
        let context = outbox.ctx.clone();
        writing
            .push(context.spawn(async move { on_disk(&outbox, move || spool.write(&row)).await }));
    }
    let mut result = Ok(());
    for row in writing {
        // All of them, so that none is under way when they are tried again.
        let written = row
            .await
            .unwrap_or_else(|error| Err(HostError(error.to_string())));
        result = result.and(written);
    }
    result
}

/// Does something with the store.
async fn on_disk<T: Send + 'static>(
    outbox: &Outbox,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = outbox.ctx.blocking(work).await;
    done.unwrap_or_else(|| Err(HostError("it has panicked".into())))
}

/// Fills the lanes when they are nearly empty.
pub(crate) async fn read(outbox: Arc<Outbox>) {
    let Some(spool) = outbox.spool.clone() else {
        return;
    };
    loop {
        let refill = {
            let mut state = outbox.state();
            let state = &mut *state;
            match &mut state.spill {
                Some(spill) => spill.refill(&mut state.lanes),
                None => Refill::Nothing,
            }
        };
        match refill {
            Refill::Nothing => outbox.wakes.reader.notified().await,
            Refill::Moved(lanes) => {
                lanes.into_iter().for_each(|lane| outbox.wake(lane));
                // A row that could not be written may be there all the same.
                outbox.wakes.deleter.notify_one();
            }
            Refill::Read(numbers) => {
                if let Err(why) = read_row(&outbox, &spool, numbers).await {
                    outbox.trouble.store_fails(&why.0);
                    sleep(RETRY).await;
                }
            }
        }
    }
}

/// Brings the first of these rows into the lanes.
async fn read_row(
    outbox: &Outbox,
    spool: &Arc<Spool>,
    numbers: Range<u64>,
) -> Result<(), HostError> {
    let end = numbers.end;
    let spool = Arc::clone(spool);
    let row = on_disk(outbox, move || spool.read(numbers)).await;
    let mut state = outbox.state();
    let Some(spill) = &mut state.spill else {
        return Ok(());
    };
    match row {
        Ok(Some((number, row))) => {
            spill.comes(number, row.place, row.size, row.events.len());
            drop(state);
            comes(outbox, number, row);
            outbox.wakes.deleter.notify_one();
            return Ok(());
        }
        Ok(None) => spill.none_before(end),
        Err(why) => {
            spill.came();
            return Err(why);
        }
    }
    spill.came();
    outbox.show(&state);
    Ok(())
}

/// The events of a row come into the lanes, slice by slice: the event loops may be waiting for the lock.
fn comes(outbox: &Outbox, number: u64, row: Row) {
    let mut events = row.events.into_iter();
    loop {
        let mut woken = BTreeSet::new();
        let last = events.len() <= SLICE;
        {
            let mut state = outbox.state();
            let state = &mut *state;
            let Some(spill) = &mut state.spill else {
                // The plugin ends. They are on disk.
                return;
            };
            for (lane, body) in events.by_ref().take(SLICE) {
                woken.extend(state.lanes.push(lane, number, NEVER, body));
            }
            if last {
                spill.came();
            }
            outbox.show(state);
        }
        woken.into_iter().for_each(|lane| outbox.wake(lane));
        if last {
            return;
        }
    }
}

/// Deletes rows whose events are done.
pub(crate) async fn delete(outbox: Arc<Outbox>) {
    let Some(spool) = outbox.spool.clone() else {
        return;
    };
    loop {
        let number = {
            let mut state = outbox.state();
            state.spill.as_mut().and_then(Spill::next_useless)
        };
        let Some(number) = number else {
            outbox.wakes.deleter.notified().await;
            continue;
        };
        let table = Arc::clone(&spool);
        let deleted = on_disk(&outbox, move || table.delete(number)).await;
        if let Some(spill) = &mut outbox.state().spill {
            spill.deleted(number, deleted.is_ok());
        }
        if let Err(why) = deleted {
            outbox.trouble.store_fails(&why.0);
            sleep(RETRY).await;
        }
    }
}

/// The plugin ends: what was in memory goes to disk; `events` = what was in the lanes. Gives how many events are lost.
///
/// No crash on the way loses what was on disk: first the bounds grow, then rows are written, and then those are void
/// whose events are in others now. When `patience` is over nothing more is begun.
pub(crate) fn keep_all(
    spool: &Spool,
    spill: Spill,
    events: Vec<Waiting>,
    patience: Duration,
) -> usize {
    let end = Instant::now() + patience;
    spool.close(CLOSE_PATIENCE.min(patience));
    let last = spill.last_rows(events);
    let nothing = last.rows.is_empty() && last.void.is_empty() && last.useless.is_empty();
    if nothing && !spool.touched() {
        return 0;
    }
    let count = |row: &Arc<NewRow>| row.amount().count;
    let first = |rows: &BTreeSet<u64>| rows.first().map_or(last.first, |row| last.first.min(*row));
    let mut bounds = spool.bounds();
    bounds.first = first(&last.useless);
    bounds.end = bounds.end.max(last.end);
    // What an earlier end has made void is useless now; new rows may have its numbers.
    bounds.void = (last.first, last.first);
    if let Err(why) = spool.bound(bounds) {
        log::warn!("emq_web_hook: events cannot wait on disk: {why}");
        return last.rows.iter().map(count).sum();
    }
    let failed = AtomicBool::new(false);
    let lost = AtomicUsize::new(0);
    together(&last.rows, |row| {
        if failed.load(Ordering::Relaxed) {
            lost.fetch_add(count(row), Ordering::Relaxed);
            return;
        }
        let written = match Instant::now() < end {
            true => spool.keep(row),
            false => Err(HostError("the disk takes too long".into())),
        };
        if let Err(why) = written {
            lost.fetch_add(count(row), Ordering::Relaxed);
            if !failed.swap(true, Ordering::Relaxed) {
                log::warn!("emq_web_hook: events cannot wait on disk: {why}");
            }
        }
    });
    let end = end.min(Instant::now() + DELETE_PATIENCE);
    let useless: Vec<u64> = last.useless.iter().copied().collect();
    let stays = Mutex::new(BTreeSet::new());
    together(&useless, |row| {
        let late = failed.load(Ordering::Relaxed) || Instant::now() >= end;
        if late || spool.remove(*row).is_err() {
            stays.lock().insert(*row);
        }
    });
    // They may be delivered twice, and none is left behind.
    bounds.first = first(&stays.into_inner());
    if !failed.load(Ordering::Relaxed) {
        bounds.void = (last.void.start, last.void.end);
        if let Err(why) = spool.bound(bounds) {
            log::warn!("emq_web_hook: some events will be delivered twice: {why}");
        }
    }
    lost.into_inner()
}

/// Does something with each of these, on several threads.
fn together<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..WRITERS.min(all.len()) {
            let thread = thread::Builder::new().name("web-hook-end".into());
            // One that cannot be started does nothing; the others do it all.
            let _ = thread.spawn_scoped(scope, worker);
        }
        worker();
    });
}
