//! Where events wait until they have been posted.
//!
//! The event loops put them in and never wait: what happens under the lock is short, and what is dropped is given back
//! to the allocator outside of it. Beside the event loops each lane has a task that posts ([`crate::sender`]), and where
//! events wait on disk there are some that write, read and delete ([`crate::keeper`]).
//!
//! What is under way stays in the state until it is done. So the end finds all there is in one place.

use crate::event::Event;
use crate::figures::{Figures, Reason};
use crate::keeper;
use crate::lanes::{Amount, Batch, Lanes, NEVER, Taken, Waiting};
use crate::owner::Owner;
use crate::sender;
use crate::settings::{OnFull, Settings, TargetSettings};
use crate::spill::{Limits, Spill};
use crate::spool::Spool;
use crate::trouble::Trouble;
use arc_swap::ArcSwap;
use emqttd_http_client::{HttpClient, Url};
use emqttd_plugin_sdk::{Context, StartError};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Bytes of a request at the most, unless one event has more.
const MOST_BYTES: usize = 1 << 20;
/// For the end of the plugin's life before this one.
const FORMER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what people should know.
const LOOK: Duration = Duration::from_secs(1);

/// The web server.
pub(crate) struct Target {
    pub url: Url,
    pub client: HttpClient,
}

impl Target {
    fn new(ctx: &Context, settings: &TargetSettings) -> Target {
        Target {
            url: settings.url.clone(),
            client: HttpClient::new(ctx, &settings.http),
        }
    }
}

/// Events on their way to the web server.
pub(crate) struct Outbox {
    pub ctx: Context,
    pub settings: Settings,
    pub target: ArcSwap<Target>,
    pub figures: Figures,
    pub trouble: Trouble,
    pub spool: Option<Arc<Spool>>,
    /// of the spool, until the end
    owner: Mutex<Option<Owner>>,
    pub wakes: Wakes,
    /// for each lane when its last request was taken, by the outbox's clock plus 1; 0 = it was not
    pub taken: Box<[AtomicU64]>,
    state: Mutex<State>,
    tasks: Mutex<Vec<AbortHandle>>,
    began: Instant,
}

/// What wakes the tasks.
pub(crate) struct Wakes {
    /// each sender
    lanes: Box<[Notify]>,
    /// senders that wait before they try again
    pub retry: Notify,
    pub writer: Notify,
    pub reader: Notify,
    pub deleter: Notify,
}

/// All that waits.
pub(crate) struct State {
    pub lanes: Lanes,
    pub spill: Option<Spill>,
    pub closed: bool,
}

/// What became of an event.
enum Pushed {
    /// it is in a lane, whose sender may have to be woken
    Lane(Option<usize>),
    /// it goes to disk; whether the tasks have to be woken
    Disk(bool),
    Lost(Reason),
}

impl State {
    /// The disk is a part of the queue.
    fn spills(&mut self) -> Option<&mut Spill> {
        let spill = self.spill.as_mut();
        spill.filter(|spill| spill.wanted || spill.active())
    }

    /// `dropped` gets what had to go for it.
    fn push(
        &mut self,
        settings: &Settings,
        event: Event,
        expires: u64,
        dropped: &mut Vec<Waiting>,
    ) -> Pushed {
        if self.closed {
            return Pushed::Lost(Reason::Stopped);
        }
        let amount = Amount::of(&event.body);
        if self.spills().is_some() {
            return self.push_or_spill(event, amount);
        }
        let all = self.lanes.all() + amount;
        if !all.within(settings.queue) {
            // Not if they would go in vain.
            let room = (self.lanes.under_way() + amount).within(settings.queue);
            if settings.on_full != OnFull::DropOldest || !room {
                return Pushed::Lost(Reason::Full);
            }
        }
        while !(self.lanes.all() + amount).within(settings.queue) {
            let Some(oldest) = self.lanes.drop_oldest() else {
                return Pushed::Lost(Reason::Full);
            };
            dropped.push(oldest);
        }
        Pushed::Lane(self.lanes.push(event.lane, 0, expires, event.body))
    }

    fn push_or_spill(&mut self, event: Event, amount: Amount) -> Pushed {
        let Some(spill) = &mut self.spill else {
            return Pushed::Lost(Reason::Disk);
        };
        if spill.lets_pass(&self.lanes, amount) {
            return Pushed::Lane(self.lanes.push(event.lane, 0, NEVER, event.body));
        }
        match spill.push(event, amount) {
            Ok(wakes) => Pushed::Disk(wakes),
            Err(reason) => Pushed::Lost(reason),
        }
    }

    /// These are done, one way or the other. `true` = a row can be deleted.
    fn finished(&mut self, events: &[Waiting]) -> bool {
        let Some(spill) = &mut self.spill else {
            return false;
        };
        let mut deletes = false;
        for run in events.chunk_by(|a, b| a.row == b.row) {
            if let Some(event) = run.first().filter(|event| event.row > 0) {
                deletes |= spill.finished(event.row, run.len());
            }
        }
        deletes
    }

    /// Events in memory, and those on disk alone.
    fn levels(&self) -> (Amount, u64) {
        match &self.spill {
            None => (self.lanes.all(), 0),
            Some(spill) => (self.lanes.all() + spill.in_memory(), spill.unread()),
        }
    }
}

impl Outbox {
    /// Starts the senders.
    ///
    /// # Errors
    /// When the store cannot be read in which events wait.
    pub fn start(ctx: &Context, settings: Settings) -> Result<Arc<Outbox>, StartError> {
        let (owner, opened) = opened(ctx, &settings)?.unzip();
        let (spool, spill) = opened.unzip();
        let keeps = spill.is_some();
        let outbox = Arc::new(Outbox {
            target: ArcSwap::from_pointee(Target::new(ctx, &settings.target)),
            figures: Figures::new(ctx),
            trouble: Trouble::new(ctx),
            spool,
            owner: Mutex::new(owner),
            wakes: Wakes {
                lanes: (0..settings.pool).map(|_| Notify::new()).collect(),
                retry: Notify::new(),
                writer: Notify::new(),
                reader: Notify::new(),
                deleter: Notify::new(),
            },
            taken: (0..settings.pool).map(|_| AtomicU64::new(0)).collect(),
            state: Mutex::new(State {
                lanes: Lanes::new(settings.pool),
                spill,
                closed: false,
            }),
            tasks: Mutex::default(),
            began: Instant::now(),
            ctx: ctx.clone(),
            settings,
        });
        outbox.show(&outbox.state.lock());
        outbox.spawn_all(keeps);
        Ok(outbox)
    }

    fn spawn_all(self: &Arc<Outbox>, keeps: bool) {
        let mut tasks = Vec::new();
        for lane in 0..self.settings.pool {
            tasks.push(self.ctx.spawn(sender::send(Arc::clone(self), lane)));
        }
        if keeps {
            tasks.push(self.ctx.spawn(keeper::write(Arc::clone(self))));
            tasks.push(self.ctx.spawn(keeper::read(Arc::clone(self))));
            for _ in 0..keeper::DELETERS {
                tasks.push(self.ctx.spawn(keeper::delete(Arc::clone(self))));
            }
        }
        let outbox = Arc::clone(self);
        tasks.push(self.ctx.spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                outbox.trouble.look(&outbox.figures, Instant::now());
            }
        }));
        *self.tasks.lock() = tasks.iter().map(|task| task.abort_handle()).collect();
    }

    /// Takes an event; never waits.
    pub fn push(&self, event: Event) {
        let expires = self.expires(&event);
        let mut dropped = Vec::new();
        let mut deletes = false;
        let pushed = {
            let mut state = self.state.lock();
            let pushed = state.push(&self.settings, event, expires, &mut dropped);
            if !dropped.is_empty() {
                deletes = state.finished(&dropped);
            }
            self.show(&state);
            pushed
        };
        match pushed {
            Pushed::Lane(Some(lane)) => self.wake(lane),
            Pushed::Lane(None) | Pushed::Disk(false) => {}
            Pushed::Disk(true) => {
                self.wakes.writer.notify_one();
                self.wakes.reader.notify_one();
            }
            Pushed::Lost(reason) => self.figures.dropped(reason, 1),
        }
        if !dropped.is_empty() {
            self.figures.dropped(Reason::Full, dropped.len());
        }
        if deletes {
            self.wakes.deleter.notify_one();
        }
    }

    /// `web.hook.api.url` has changed: `ctx` has the new one.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays.
    pub fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = TargetSettings::read(&ctx.config()).map_err(|StartError(why)| why)?;
        self.target.store(Arc::new(Target::new(ctx, &settings)));
        self.wakes.retry.notify_waiters();
        Ok(())
    }

    /// The plugin ends: with spill, what waits in memory goes to disk before this returns; else it is dropped and
    /// counted. Requests under way are abandoned.
    pub fn stop(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        let (events, spill) = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            (state.lanes.drain(), state.spill.take())
        };
        self.figures.levels(Amount::default(), 0);
        // The others are on disk, and stay there.
        let waited = events.iter().filter(|event| event.row == 0).count();
        let spilled = self.spool.as_ref().zip(spill);
        let (lost, reason) = match spilled {
            Some((spool, spill)) if spill.wanted => {
                let lost = keeper::keep_all(spool, spill, events, keeper::END_PATIENCE);
                (lost, Reason::Disk)
            }
            Some((spool, spill)) => {
                spool.close(keeper::CLOSE_PATIENCE);
                (waited + spill.in_memory().count, Reason::Stopped)
            }
            None => (waited, Reason::Stopped),
        };
        *self.owner.lock() = None;
        if lost > 0 {
            self.figures.dropped(reason, lost);
            log::warn!("emq_web_hook: {lost} events are lost, which waited when it ended");
        }
    }

    /// The state; for a moment only, as the event loops want it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Shows how much there is.
    pub fn show(&self, state: &State) {
        let (queued, spilled) = state.levels();
        self.figures.levels(queued, spilled);
    }

    /// Wakes the sender of a lane.
    pub fn wake(&self, lane: usize) {
        self.wakes.lanes[lane].notify_one();
    }

    /// Milliseconds since it began: a clock that nobody sets.
    pub fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// When an event is too old. Its age is told by the machine's clock, once; what happens to that clock later
    /// changes nothing, and an event from the future is one of now.
    fn expires(&self, event: &Event) -> u64 {
        if self.settings.on_full == OnFull::Spill {
            return NEVER;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, millis);
        let left = millis(self.settings.deadline).saturating_sub(now.saturating_sub(event.at));
        self.now().saturating_add(left)
    }

    /// Waits for what goes in the next request of a lane; `None` = it has ended.
    pub async fn next(&self, lane: usize) -> Option<Arc<Batch>> {
        let most = Amount {
            count: self.settings.batch_size,
            bytes: MOST_BYTES,
        };
        loop {
            let mut expired = Vec::new();
            let taken = {
                let mut state = self.state.lock();
                if state.closed {
                    return None;
                }
                let taken = state.lanes.take(lane, most, self.now(), &mut expired);
                if !expired.is_empty() {
                    self.let_go(state, &expired);
                }
                taken
            };
            self.figures.dropped(Reason::Expired, expired.len());
            match taken {
                Taken::Batch(batch) => return Some(batch),
                Taken::Expired => {}
                Taken::Nothing => self.wakes.lanes[lane].notified().await,
            }
        }
    }

    /// Puts another batch in the place of a lane's; `None` = the lane has none. `gone` = the events that were in the
    /// former alone. `false` = it has ended.
    pub fn replace(&self, lane: usize, batch: Option<Arc<Batch>>, gone: &[Waiting]) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let former = state.lanes.replace(lane, batch);
        self.let_go(state, gone);
        // Without the lock: it may be what held the last of them.
        drop(former);
        true
    }

    /// Events have left the lanes: what there was to do about that is done, and the lock released.
    fn let_go(&self, mut state: MutexGuard<'_, State>, gone: &[Waiting]) {
        let deletes = state.finished(gone);
        let spill = state.spill.as_ref();
        let refills = spill.is_some_and(|spill| spill.may_refill(&state.lanes));
        self.show(&state);
        drop(state);
        if deletes {
            self.wakes.deleter.notify_one();
        }
        if refills {
            self.wakes.reader.notify_one();
        }
    }
}

/// Whose table it is; the table, and what is in it.
type Opened = (Owner, (Arc<Spool>, Spill));

/// The table in which events wait, and what is in it. Without spill it counts only if an earlier run has left
/// something.
fn opened(ctx: &Context, settings: &Settings) -> Result<Option<Opened>, StartError> {
    let wanted = settings.on_full == OnFull::Spill;
    if wanted && !ctx.tables_last() {
        let what = "web.hook.on_full = spill cannot be with persistence.sync = off: nothing is on disk then";
        return Err(StartError(what.into()));
    }
    let Some(owner) = Owner::take(&ctx.data_dir(), FORMER_PATIENCE) else {
        let what = "it ran before and is still writing to disk what waited then; try again later";
        return Err(StartError(what.into()));
    };
    let (spool, left) = match Spool::open(ctx.table("spool")) {
        Ok(opened) => opened,
        Err(why) if wanted => {
            let what = format!("the events that wait on disk cannot be read: {why}");
            return Err(StartError(what));
        }
        Err(why) => {
            log::warn!("emq_web_hook: whether events wait on disk cannot be read: {why}");
            return Ok(None);
        }
    };
    let waits = left.end.since(left.begin).events;
    if waits > 0 {
        log::info!("emq_web_hook: {waits} events of an earlier run wait on disk and come first");
    }
    if !wanted && waits == 0 && left.void.is_empty() {
        return Ok(None);
    }
    let limits = Limits::new(settings.queue, settings.spill_max_bytes);
    let end = spool.bounds().end;
    let spill = Spill::new(wanted, limits, left, end);
    Ok(Some((owner, (Arc::new(spool), spill))))
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
