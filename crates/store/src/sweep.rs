//! Crashes at every instant of a recorded run, and disks that fail: what was durable must be there.
//!
//! A random life of a broker is run on a [`SimDisk`] that records. Then, for every operation of the record, the
//! disk is cut there, opened again, and compared with ordinary maps: it must hold the state after some
//! batch, not before the last one that was durable at that instant and not after the last one handed over. Some of
//! these stores live on, recorded too, and are cut again. Every failure names the seed that brings it back.

mod model;
mod workload;

pub use model::{Act, Message, Model, Owner, size_of};
pub use workload::Workload;

use crate::sim::{Cut, Faults, Record, Replay, Rng, SimDisk, Step};
use crate::store::Engine;
use crate::{Batch, Health, Load, Options, Position, Recovered, Store};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Plan {
    /// everything follows from it
    pub seed: u64,
    /// batches of a run
    pub batches: usize,
    /// power cuts at each instant, besides one kill
    pub power_cuts: u32,
    /// every how many operations of the first run there are crashes; 1 = at each
    pub stride: usize,
    /// how often a store that was cut lives on and is cut again
    pub generations: u32,
    /// how many instants of a run begin a further generation
    pub branches: usize,
    /// whether the disk fails now and then while it runs
    pub faults: bool,
    /// bytes of a segment
    pub segment_bytes: u64,
    /// [`crate::Sync::Every`] instead of always: then a power cut may take what was said to be durable since the
    /// last sync, but never something from the middle
    pub seldom_synced: bool,
}

impl Plan {
    /// A short one, for every run of the tests.
    #[must_use]
    pub fn short(seed: u64) -> Plan {
        Plan {
            seed,
            batches: 120,
            power_cuts: 2,
            stride: 1,
            generations: 2,
            branches: 2,
            faults: false,
            segment_bytes: 16 << 10,
            seldom_synced: false,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// runs that were recorded
    pub runs: u64,
    /// crashes after which the store was opened and compared
    pub instants: u64,
    /// batches handed over in all runs and found durable
    pub acknowledged: u64,
    /// segments removed by the cleaner
    pub cleaned: u64,
    /// operations that were made to fail
    pub faults: u64,
    /// crashes after which something durable was missing or changed
    pub lost: u64,
    /// crashes after which something was there that was done, deleted or ended
    pub revived: u64,
    /// the first failures, each with what is needed to bring it back
    pub failures: Vec<String>,
}

impl Report {
    /// Adds what another one found.
    pub fn add(&mut self, other: Report) {
        self.runs += other.runs;
        self.instants += other.instants;
        self.acknowledged += other.acknowledged;
        self.cleaned += other.cleaned;
        self.faults += other.faults;
        self.lost += other.lost;
        self.revived += other.revived;
        self.failures.extend(other.failures);
        self.failures.truncate(20);
    }

    fn fail(&mut self, where_: &str, what: &str) {
        if self.failures.len() < 20 {
            self.failures.push(format!("{where_}: {what}"));
        }
    }
}

/// Runs a plan.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut report = Report::default();
    let disk = SimDisk::new(plan.seed);
    let name = format!(
        "seed {}{}",
        plan.seed,
        if plan.faults { " with faults" } else { "" }
    );
    generation(
        plan,
        &name,
        plan.seed,
        0,
        disk,
        vec![Model::default()],
        &mut report,
    );
    report
}

/// Runs `rounds` plans with seeds from `seed` on: every other one on a disk that fails now and then, with segments
/// of several sizes, some synced seldom, and every third with more crashes at each instant. `tell` hears of each round and of
/// what came out so far.
pub fn rounds(seed: u64, rounds: u64, tell: &mut dyn FnMut(u64, &Report)) -> Report {
    let mut all = Report::default();
    for round in 0..rounds {
        // All of it follows from the seed, so that one round can be run again alone.
        let seed = seed + round;
        let long = seed % 5 == 4;
        let plan = Plan {
            faults: seed % 2 == 1,
            segment_bytes: [16, 8, 40][(seed / 2 % 3) as usize] << 10,
            power_cuts: if seed % 3 == 2 { 5 } else { 2 },
            batches: if long { 400 } else { 120 },
            stride: if long { 3 } else { 1 },
            seldom_synced: seed % 4 == 2 || seed % 8 == 5,
            ..Plan::short(seed)
        };
        all.add(run(&plan));
        tell(round + 1, &all);
    }
    all
}

/// A store that is driven by hand, on one thread.
pub struct Driven {
    /// its handle
    pub store: Store,
    engine: Engine,
}

impl Driven {
    /// Opens one. `wake` as for [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(
        disk: &SimDisk,
        options: Options,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Driven, Recovered), String> {
        let (store, engine, recovered) =
            Engine::open(Arc::new(disk.clone()), options, wake).map_err(|e| e.message)?;
        Ok((Driven { store, engine }, recovered))
    }

    /// One step of the committer: a commit, or a slice of cleaning. `false` when there was nothing to do.
    pub fn step(&mut self) -> bool {
        self.engine.step()
    }

    /// Bytes the cleaner has written again, and segments it has removed.
    #[must_use]
    pub fn cleaned(&self) -> (u64, u64) {
        let shared = self.store.shared();
        (
            shared.moved.load(Ordering::Relaxed),
            shared.cleaned.load(Ordering::Relaxed),
        )
    }

    /// Everything that is there.
    ///
    /// # Errors
    /// Says what does not fit together.
    pub fn observe(&mut self) -> Result<Model, String> {
        let mut found = Model::default();
        for table in 1..=3 {
            let mut add = |key: &[u8], value: &[u8]| {
                found.tables.insert((table, key.to_vec()), value.to_vec());
            };
            self.store
                .for_each(table, &mut add)
                .map_err(|e| format!("table {table} cannot be read: {e}"))?;
        }
        for state in self.engine.owners() {
            let id = state.owner;
            let mut owner = Owner {
                next: state.next,
                owed: std::collections::BTreeMap::new(),
                last_id: state.last_id,
                in_flight: state.in_flight,
            };
            let mut from = 1;
            let mut last = 0;
            loop {
                let load = Load {
                    owner: id,
                    from,
                    to: u64::MAX,
                    most: 7,
                    most_bytes: 3000,
                    after: 0,
                };
                let page = self.engine.load(&load);
                for message in page.messages {
                    if message.seq <= last || message.seq < state.front {
                        return Err(format!("owner {id}: message {} out of order", message.seq));
                    }
                    last = message.seq;
                    let body = message.body.as_slice().into();
                    owner.owed.insert(
                        message.seq,
                        Message {
                            extra: message.extra,
                            body,
                        },
                    );
                }
                match page.next {
                    Some(next) if next > from => from = next,
                    Some(next) => return Err(format!("owner {id}: from {from} on to {next}")),
                    None => break,
                }
            }
            let bytes: u64 = owner
                .owed
                .values()
                .map(|m| u64::from(size_of(&m.body)))
                .sum();
            if (state.owed, state.bytes) != (owner.owed.len() as u64, bytes) {
                return Err(format!(
                    "owner {id} is said to be owed {} messages of {} bytes, and {} of {bytes} are there",
                    state.owed,
                    state.bytes,
                    owner.owed.len()
                ));
            }
            found.owners.insert(id, owner);
        }
        Ok(found)
    }
}

/// What a mark in a record says.
enum Note {
    /// so many batches have been handed over
    Handed(usize),
    /// durable up to here
    Durable(Position),
    /// the store is open: what it found is there for good
    Open,
}

impl Note {
    fn mark(&self) -> u64 {
        match self {
            Note::Handed(n) => (*n as u64) << 2,
            Note::Durable(position) => position << 2 | 1,
            Note::Open => 2,
        }
    }

    fn read(mark: u64) -> Note {
        match mark & 3 {
            0 => Note::Handed((mark >> 2) as usize),
            1 => Note::Durable(mark >> 2),
            _ => Note::Open,
        }
    }
}

/// A recorded run.
struct Run {
    record: Record,
    /// the states it may be in: those it may have been found in, then one after each batch
    states: Vec<Model>,
    /// how many of them it may have been found in
    before: usize,
    /// position behind each batch
    positions: Vec<Position>,
}

fn options(plan: &Plan) -> Options {
    Options {
        segment_bytes: plan.segment_bytes,
        sync: if plan.seldom_synced {
            crate::Sync::Every(Duration::from_secs(3600))
        } else {
            crate::Sync::Always
        },
        ..Options::default()
    }
}

/// Opens, works, records, and cuts. `before` are the states the disk may be found in, the last of them the one it
/// is in while the system keeps running.
fn generation(
    plan: &Plan,
    name: &str,
    seed: u64,
    depth: u32,
    disk: SimDisk,
    before: Vec<Model>,
    report: &mut Report,
) {
    report.runs += 1;
    let run = match live(plan, seed, disk, before, report) {
        Ok(run) => run,
        Err(what) => {
            report.lost += 1;
            return report.fail(name, &what);
        }
    };
    let mut rng = Rng::new(seed ^ 0xc0de);
    let stride = if depth == 0 {
        plan.stride
    } else {
        plan.stride * 7
    };
    let total = run.record.len();
    let branches: Vec<usize> = if depth < plan.generations {
        (0..plan.branches)
            .map(|_| rng.below(total as u64) as usize)
            .collect()
    } else {
        Vec::new()
    };
    let (mut floor, mut ceiling) = (0, run.before - 1);
    // What it was opened with is synced in any case.
    let mut synced = 0;
    let mut replay = Replay::new(&run.record);
    let mut at = 0;
    while let Some(step) = replay.step() {
        at += 1;
        if let Step::Mark(mark) = step {
            match Note::read(mark) {
                Note::Handed(n) => ceiling = run.before - 1 + n,
                Note::Durable(position) => {
                    let durable = run.positions.iter().take_while(|p| **p <= position).count();
                    floor = floor.max(run.before - 1 + durable);
                }
                Note::Open => {
                    synced = run.before - 1;
                    floor = floor.max(synced);
                }
            }
        }
        // An empty batch has the position of the one before it.
        let floor = floor.min(ceiling);
        let least = if plan.seldom_synced { synced } else { floor };
        let branch = branches.contains(&at);
        if at % stride != 0 && !branch {
            continue;
        }
        for cut in 0..=plan.power_cuts {
            let kind = if cut == 0 { Cut::Kill } else { Cut::Power };
            let cut_seed = rng.draw();
            let disk = replay.cut(kind, cut_seed);
            let name = format!("{name}, {kind:?} after operation {at} of {total} (cut {cut_seed})");
            // A sync that failed may have dropped what only the process still has.
            let kept = kind == Cut::Kill && !plan.faults;
            let first = if kept { floor } else { least };
            let states = &run.states[first..=ceiling];
            let found = check(plan, &name, &disk.crash(Cut::Kill, 0), states, report);
            if let Some(found) = found.map(|n| first + n).filter(|_| branch) {
                // After a kill alone a later power cut may still take what was never synced.
                let first = if kind == Cut::Kill { least } else { found };
                let before = run.states[first..=found].to_vec();
                let name = format!("{name}, then");
                generation(plan, &name, rng.draw(), depth + 1, disk, before, report);
            }
        }
    }
}

/// Opens a disk that was cut and finds out which of `states` it holds.
fn check(
    plan: &Plan,
    name: &str,
    disk: &SimDisk,
    states: &[Model],
    report: &mut Report,
) -> Option<usize> {
    report.instants += 1;
    let seen = Driven::open(disk, options(plan), Arc::new(|| {}))
        .map_err(|e| format!("it cannot be opened: {e}"))
        .and_then(|(mut driven, recovered)| {
            // A cut leaves nothing worse than a torn tail.
            match recovered.reports.iter().find(|r| r.contains(".corrupt")) {
                Some(bad) => Err(format!("taken for corrupt: {bad}")),
                None => driven.observe(),
            }
        });
    let seen = match seen {
        Ok(seen) => seen,
        Err(what) => {
            report.lost += 1;
            report.fail(name, &what);
            return None;
        }
    };
    if let Some(found) = states.iter().position(|s| *s == seen) {
        return Some(found);
    }
    let what: Vec<String> = states.iter().filter_map(|s| s.difference(&seen)).collect();
    if what.iter().all(|w| w.contains("should not be there")) {
        report.revived += 1;
    } else {
        report.lost += 1;
    }
    let first = what.first().map_or("", String::as_str);
    let last = what.last().map_or("", String::as_str);
    report.fail(
        name,
        &format!(
            "none of {} states; to the first: {first}; to the last: {last}",
            states.len()
        ),
    );
    None
}

/// Opens a store and works with it for a while, recording.
fn live(
    plan: &Plan,
    seed: u64,
    disk: SimDisk,
    before: Vec<Model>,
    report: &mut Report,
) -> Result<Run, String> {
    let mut rng = Rng::new(seed);
    disk.record();
    let handle: Arc<OnceLock<Store>> = Arc::default();
    let (marks, slot) = (disk.clone(), handle.clone());
    let wake = Arc::new(move || {
        if let Some(store) = slot.get() {
            marks.mark(Note::Durable(store.durable()).mark());
        }
    });
    let (mut driven, recovered) = Driven::open(&disk, options(plan), wake)?;
    let _ = handle.set(driven.store.clone());
    let base = before.last().cloned().unwrap_or_default();
    if let Some(what) = base.difference(&driven.observe()?) {
        return Err(format!("opened a second time: {what}"));
    }
    disk.mark(Note::Open.mark());

    let next_owner = recovered
        .next_owner
        .max(base.owners.keys().next_back().map_or(1, |o| o + 1));
    let mut workload = Workload::new(rng.draw(), base, next_owner, 60, 2 * plan.segment_bytes);
    let start = before.len();
    let (mut states, mut positions) = (before, Vec::new());
    let mut batch = Batch::new();
    let mut failing = false;
    for n in 1..=plan.batches {
        if plan.faults && rng.chance(if failing { 250 } else { 60 }) {
            failing = !failing;
            disk.fail(if failing {
                some_faults(&mut rng, &disk)
            } else {
                Faults::default()
            });
        }
        for act in workload.batch() {
            act.into_batch(&mut batch);
        }
        disk.mark(Note::Handed(n).mark());
        states.push(workload.model.clone());
        positions.push(driven.store.commit(&mut batch));
        if rng.chance(600) {
            for _ in 0..=rng.below(3) {
                driven.step();
            }
        }
        if !failing && rng.chance(30) {
            settle(&mut driven)?;
            if let Some(what) = workload.model.difference(&driven.observe()?) {
                return Err(format!("while running, after batch {n}: {what}"));
            }
        }
    }
    report.faults += disk.counts().faults;
    disk.heal();
    settle(&mut driven)?;
    if let Some(what) = workload.model.difference(&driven.observe()?) {
        return Err(format!("at the end of the run: {what}"));
    }
    if driven.store.health() != Health::Good {
        return Err(format!(
            "the disk is well, and the store says {:?}",
            driven.store.status()
        ));
    }
    let durable = driven.store.durable();
    report.acknowledged += positions.iter().filter(|p| **p <= durable).count() as u64;
    report.cleaned += driven.store.shared().cleaned.load(Ordering::Relaxed);
    Ok(Run {
        record: disk.take_record(),
        states,
        before: start,
        positions,
    })
}

/// Steps until all is durable and cleaning has come to an end.
fn settle(driven: &mut Driven) -> Result<(), String> {
    for _ in 0..5000 {
        if !driven.step() && driven.store.durable() >= driven.store.position() {
            return Ok(());
        }
    }
    Err(format!(
        "it does not come to rest: {:?}",
        driven.store.status()
    ))
}

fn some_faults(rng: &mut Rng, disk: &SimDisk) -> Faults {
    let some = |rng: &mut Rng| {
        if rng.chance(400) {
            [50, 300, 1000][rng.below(3) as usize]
        } else {
            0
        }
    };
    Faults {
        short_write: some(rng),
        write_error: some(rng),
        write_full: some(rng),
        sync_error: some(rng),
        dir_error: some(rng),
        name_error: some(rng),
        read_error: if rng.chance(200) { 100 } else { 0 },
        capacity: if rng.chance(300) {
            disk.bytes() + rng.below(10_000)
        } else {
            0
        },
    }
}
