#![allow(clippy::unwrap_used)]
use super::*;
use crate::keeper::{END_PATIENCE, keep_all};
use crate::lanes::Taken;
use crate::spool::Spool;
use crate::spool::tests::Disk;
use bytes::Bytes;
use std::collections::HashSet;

const QUEUE: Amount = Amount {
    count: 64,
    bytes: 64 << 10,
};
const LANES: u64 = 3;

/// A number that is different each time, and the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The plugin without its tasks: what they do is done here, in any order.
struct Bench {
    disk: Disk,
    spool: Spool,
    spill: Spill,
    lanes: Lanes,
    /// each lane has a request under way
    under_way: Vec<Option<Arc<crate::lanes::Batch>>>,
    /// in the order in which they were
    delivered: Vec<u64>,
    /// what must arrive whatever happens
    durable: HashSet<u64>,
    pushed: u64,
}

fn text(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}

impl Bench {
    fn open(disk: &Disk, lanes: usize) -> Bench {
        let (spool, left) = Spool::open(disk.clone()).unwrap();
        let end = spool.bounds().end;
        let spill = Spill::new(true, Limits::new(QUEUE, 1 << 20), left, end);
        Bench {
            disk: disk.clone(),
            spool,
            spill,
            lanes: Lanes::new(lanes),
            under_way: vec![None; lanes],
            delivered: Vec::new(),
            durable: HashSet::new(),
            pushed: 0,
        }
    }

    fn push(&mut self, random: &mut Random) {
        let number = self.pushed;
        self.pushed += 1;
        let body = format!("{number}.{}", "x".repeat(random.below(200) as usize));
        let body = Bytes::from(body);
        let amount = Amount::of(&body);
        // The client is told by the number.
        let event = Event {
            lane: number % LANES,
            at: 0,
            body,
        };
        if self.spill.lets_pass(&self.lanes, amount) {
            self.lanes.push(event.lane, 0, NEVER, event.body);
        } else {
            self.spill.push(event, amount).unwrap();
        }
        let memory = self.lanes.all() + self.spill.in_memory();
        assert!(memory.bytes <= QUEUE.bytes, "{memory:?}");
    }

    fn write(&mut self) {
        if self.spill.tail.is_empty() && self.spill.writing.is_empty() {
            return;
        }
        let rows = self.spill.next_rows();
        let (first, end) = self.spill.needs();
        let mut written = self.spool.reserve(first, end);
        for row in &rows {
            written = written.and_then(|()| self.spool.write(row));
            if written.is_ok() {
                let events = row.events().map(|event| text(&event.body));
                self.durable.extend(events);
            }
        }
        match written {
            Ok(()) => self.spill.written(),
            Err(_) => self.spill.not_written(),
        }
    }

    fn refill(&mut self) -> bool {
        match self.spill.refill(&mut self.lanes) {
            Refill::Nothing => return false,
            Refill::Moved(_) => {}
            Refill::Read(numbers) => {
                let end = numbers.end;
                match self.spool.read(numbers).unwrap() {
                    None => self.spill.none_before(end),
                    Some((number, row)) => {
                        let spill = &mut self.spill;
                        spill.comes(number, row.place, row.size, row.events.len());
                        for (lane, body) in row.events {
                            self.lanes.push(lane, number, NEVER, body);
                        }
                    }
                }
                self.spill.came();
            }
        }
        true
    }

    /// A lane's request is made or answered.
    fn post(&mut self, lane: usize, most: usize) -> bool {
        if let Some(batch) = self.under_way[lane].take() {
            self.lanes.replace(lane, None).unwrap();
            for event in &batch.events {
                let number = text(&event.body);
                self.delivered.push(number);
                self.durable.remove(&number);
                if event.row > 0 {
                    self.spill.finished(event.row, 1);
                }
            }
            return true;
        }
        let most = Amount {
            count: most,
            bytes: 1 << 20,
        };
        match self.lanes.take(lane, most, 0, &mut Vec::new()) {
            Taken::Batch(batch) => self.under_way[lane] = Some(batch),
            _ => return false,
        }
        true
    }

    fn delete(&mut self) {
        if let Some(number) = self.spill.next_useless() {
            let deleted = self.spool.delete(number).is_ok();
            self.spill.deleted(number, deleted);
        }
    }

    /// Does anything.
    fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0..=4 => self.push(random),
            5 => self.write(),
            6 => drop(self.refill()),
            7 => self.delete(),
            _ => {
                let lane = random.below(self.under_way.len() as u64) as usize;
                let most = 1 + random.below(8) as usize;
                self.post(lane, most);
            }
        }
    }

    /// The server takes all.
    fn drain(&mut self) {
        loop {
            let mut goes_on = self.refill();
            for lane in 0..self.under_way.len() {
                goes_on |= self.post(lane, 5);
            }
            while !self.spill.done.is_empty() {
                self.delete();
            }
            if !goes_on {
                assert!(!self.spill.active() && self.spill.loaded.is_empty());
                assert_eq!(self.lanes.all(), Amount::default());
                assert_eq!(self.spill.in_memory(), Amount::default());
                assert_eq!(self.spill.tail_size, 0);
                assert_eq!(self.spill.unread(), 0);
                assert_eq!(self.spill.disk_bytes(), 0);
                assert_eq!(self.disk.rows(), 0);
                return;
            }
        }
    }
}

/// What comes for the first time is in order for each client.
fn check_order(delivered: &[u64]) {
    let mut seen = HashSet::new();
    let mut last = [None; LANES as usize];
    for &number in delivered {
        if seen.insert(number) {
            let last = &mut last[(number % LANES) as usize];
            assert!(
                Some(number) > *last,
                "{number} after {last:?}: {delivered:?}"
            );
            *last = Some(number);
        }
    }
}

#[test]
fn all_arrive_in_order_and_once() {
    for seed in 1..60 {
        let mut random = Random(seed * 7919);
        let disk = Disk::default();
        let mut bench = Bench::open(&disk, 3);
        for _ in 0..1500 {
            // What does not fit is another test.
            if bench.spill.in_memory().bytes < QUEUE.bytes / 4 - 400 {
                bench.step(&mut random);
            } else {
                bench.write();
            }
        }
        bench.drain();
        check_order(&bench.delivered);
        bench.delivered.sort_unstable();
        let wanted: Vec<u64> = (0..bench.pushed).collect();
        assert_eq!(bench.delivered, wanted, "{seed}");
    }
}

/// The plugin ends at any moment, and begins again with other lanes.
#[test]
fn an_end_loses_nothing() {
    for seed in 1..60 {
        let mut random = Random(seed * 104_729);
        let disk = Disk::default();
        let mut delivered = Vec::new();
        let mut pushed = 0;
        for run in 0..6 {
            let mut bench = Bench::open(&disk, 1 + (run + seed as usize) % 4);
            bench.pushed = pushed;
            for _ in 0..random.below(400) {
                if bench.spill.in_memory().bytes < QUEUE.bytes / 4 - 400 {
                    bench.step(&mut random);
                } else {
                    bench.write();
                }
            }
            pushed = bench.pushed;
            delivered.append(&mut bench.delivered);
            assert_eq!(
                keep_all(&bench.spool, bench.spill, bench.lanes.drain(), END_PATIENCE),
                0
            );
        }
        let mut bench = Bench::open(&disk, 2);
        bench.drain();
        delivered.append(&mut bench.delivered);
        check_order(&delivered);
        // Nothing twice either: none of these was cut off in the middle.
        delivered.sort_unstable();
        let wanted: Vec<u64> = (0..pushed).collect();
        assert_eq!(delivered, wanted, "{seed}");
    }
}

/// Events of the run that has left [`half_full`].
const FORMER: u64 = 150;

/// What a run leaves that ends while some rows are in the lanes.
fn half_full() -> Disk {
    let disk = Disk::default();
    let mut bench = Bench::open(&disk, 2);
    let mut random = Random(FORMER);
    while bench.pushed < FORMER {
        bench.push(&mut random);
        if bench.pushed.is_multiple_of(30) {
            bench.write();
        }
    }
    bench.spill.limits.low = bench.spill.limits.lanes;
    assert!(bench.refill() && !bench.spill.loaded.is_empty());
    assert_eq!(
        keep_all(&bench.spool, bench.spill, bench.lanes.drain(), END_PATIENCE),
        0
    );
    assert_ne!(bench.spool.bounds().void.0, bench.spool.bounds().void.1);
    disk.survivor()
}

/// A disk that takes too long at the end gets nothing more: what was in memory is lost, and what it had is not.
#[test]
fn an_end_that_takes_too_long() {
    let disk = Disk::default();
    let mut bench = Bench::open(&disk, 2);
    let mut random = Random(7);
    while bench.pushed < 150 || bench.spill.in_memory().count == 0 {
        bench.push(&mut random);
        if bench.pushed.is_multiple_of(40) {
            bench.write();
        }
    }
    let in_memory = bench.lanes.all().count + bench.spill.in_memory().count;
    let (pushed, durable) = (bench.pushed as usize, bench.durable.clone());
    assert!(in_memory + durable.len() == pushed && !durable.is_empty());
    let events = bench.lanes.drain();
    let lost = keep_all(&bench.spool, bench.spill, events, Duration::ZERO);
    assert_eq!(lost, in_memory);
    let mut next = Bench::open(&disk.survivor(), 3);
    next.drain();
    check_order(&next.delivered);
    assert_eq!(next.delivered.len(), durable.len());
    assert!(next.delivered.iter().all(|number| durable.contains(number)));
}

/// The broker crashes between any two writes, also those of the end: what was on disk arrives.
#[test]
fn a_crash_loses_nothing_that_was_on_disk() {
    for seed in 1..25 {
        // First without, to see how many writes there are.
        let mut writes = usize::MAX;
        let mut crash = 0;
        while crash < writes {
            let mut random = Random(seed * 15_485_863);
            let disk = half_full();
            let mut bench = Bench::open(&disk, 3);
            (bench.pushed, bench.durable) = (FORMER, (0..FORMER).collect());
            if writes < usize::MAX {
                disk.crash_after(crash);
            }
            for _ in 0..300 {
                if bench.spill.in_memory().bytes < QUEUE.bytes / 4 - 400 {
                    bench.step(&mut random);
                } else if writes < usize::MAX && disk.writes() == crash {
                    break;
                } else {
                    bench.write();
                }
            }
            let before = bench.durable.clone();
            let mut delivered = std::mem::take(&mut bench.delivered);
            let lost = keep_all(&bench.spool, bench.spill, bench.lanes.drain(), END_PATIENCE);
            let mut next = Bench::open(&disk.survivor(), 2);
            next.drain();
            let arrived: HashSet<u64> = next.delivered.iter().copied().collect();
            let missing: Vec<_> = before.difference(&arrived).collect();
            assert!(missing.is_empty(), "{seed} {crash}: {missing:?}");
            delivered.append(&mut next.delivered);
            check_order(&delivered);
            if writes == usize::MAX {
                assert_eq!(lost, 0);
                writes = disk.writes();
                // Not all of them, but others with each seed.
                crash = seed as usize % 3;
            } else {
                crash += 3;
            }
        }
    }
}

/// The store takes nothing for a while: nothing of what there was room for is lost, and it goes past the disk as
/// soon as the server takes it.
#[test]
fn a_store_that_fails() {
    let mut random = Random(4711);
    let disk = Disk::default();
    let mut bench = Bench::open(&disk, 3);
    disk.crash_after(3);
    while bench.spill.in_memory().bytes < QUEUE.bytes / 4 - 400 {
        bench.push(&mut random);
        if bench.pushed.is_multiple_of(50) {
            bench.write();
        }
    }
    // Then there is no more room.
    let event = Event {
        lane: 0,
        at: 0,
        body: Bytes::from(vec![b'x'; 1000]),
    };
    let amount = Amount::of(&event.body);
    assert_eq!(bench.spill.push(event.clone(), amount), Err(Reason::Disk));
    bench.write();
    assert!(bench.spill.stuck);
    loop {
        let mut goes_on = bench.refill();
        for lane in 0..3 {
            goes_on |= bench.post(lane, 5);
        }
        if !goes_on {
            break;
        }
    }
    check_order(&bench.delivered);
    bench.delivered.sort_unstable();
    let wanted: Vec<u64> = (0..bench.pushed).collect();
    assert_eq!(bench.delivered, wanted);
    // And then events pass as if there were no disk.
    assert!(bench.spill.lets_pass(&bench.lanes, amount));
}

#[test]
fn the_disk_is_bounded() {
    let mut spill = Bench::open(&Disk::default(), 1).spill;
    spill.limits.disk = 5000;
    let event = Event {
        lane: 0,
        at: 0,
        body: Bytes::from(vec![b'x'; 900]),
    };
    let amount = Amount::of(&event.body);
    for _ in 0..5 {
        assert!(spill.push(event.clone(), amount).is_ok());
    }
    assert_eq!(spill.push(event.clone(), amount), Err(Reason::Full));
    spill.next_rows();
    spill.written();
    assert_eq!(spill.push(event, amount), Err(Reason::Full));
    // One that is larger than the tail fits never.
    let body = Bytes::from(vec![b'x'; 20 << 10]);
    let amount = Amount::of(&body);
    let event = Event {
        lane: 0,
        at: 0,
        body,
    };
    assert_eq!(spill.push(event, amount), Err(Reason::Full));
}

#[test]
fn the_tail_gathers_a_little() {
    let mut bench = Bench::open(&Disk::default(), 1);
    let mut random = Random(99);
    assert_eq!(bench.spill.due(&bench.lanes), Due::Nothing);
    while !bench.spill.active() {
        bench.push(&mut random);
    }
    let Due::In(rest) = bench.spill.due(&bench.lanes) else {
        panic!("it may wait for more");
    };
    assert!(rest <= LINGER);
    while bench.spill.tail.len() < 2 {
        bench.push(&mut random);
    }
    assert_eq!(bench.spill.due(&bench.lanes), Due::Now);
    // The server takes what is before it: it need not go to disk.
    while bench.post(0, 5) {}
    assert!(matches!(bench.spill.due(&bench.lanes), Due::In(_)));
    assert!(bench.refill());
    assert_eq!(bench.disk.writes(), 0);
}

/// The plugin ends while the events of a row are coming into the lanes: they stay in that row.
#[test]
fn an_end_while_a_row_comes() {
    for (before, coming) in [(0, 0), (1, 0), (1, 1), (2, 3)] {
        let disk = Disk::default();
        let mut bench = Bench::open(&disk, 1);
        let mut random = Random(5);
        // Several rows, and then some lanes.
        while bench.spool.bounds().end == bench.spill.next || disk.rows() < 4 {
            bench.push(&mut random);
            if bench.pushed.is_multiple_of(30) {
                bench.write();
            }
        }
        while bench.post(0, 1000) {}
        let delivered = bench.pushed;
        for _ in 0..before {
            assert!(bench.refill());
            while bench.spill.loaded.is_empty() {
                assert!(bench.refill());
            }
            bench.spill.limits.low = Amount {
                count: usize::MAX,
                bytes: usize::MAX,
            };
        }
        let Refill::Read(numbers) = bench.spill.refill(&mut bench.lanes) else {
            panic!("there are rows");
        };
        let (number, row) = bench.spool.read(numbers).unwrap().unwrap();
        let events = row.events.len();
        bench.spill.comes(number, row.place, row.size, events);
        for (lane, body) in row.events.into_iter().take(coming) {
            bench.lanes.push(lane, number, NEVER, body);
        }
        let rest = bench.lanes.drain();
        assert_eq!(keep_all(&bench.spool, bench.spill, rest, END_PATIENCE), 0);
        let mut next = Bench::open(&disk, 1);
        next.drain();
        let all = [bench.delivered, next.delivered].concat();
        assert_eq!(all, (0..delivered).collect::<Vec<_>>(), "{before} {coming}");
    }
}

/// What it has written in spite of what it said is deleted, when it was delivered past the disk.
#[test]
fn a_store_that_fails_and_writes_all_the_same() {
    let mut random = Random(815);
    let disk = Disk::default();
    let mut bench = Bench::open(&disk, 3);
    while bench.spill.in_memory().bytes < QUEUE.bytes / 8 {
        bench.push(&mut random);
    }
    bench.spool.reserve(0, u64::from(u32::MAX) + 10).unwrap();
    disk.lies(true);
    bench.write();
    assert!(bench.spill.stuck && disk.rows() > 0);
    disk.lies(false);
    while bench.post(0, 5) | bench.post(1, 5) | bench.post(2, 5) {}
    bench.drain();
    bench.delivered.sort_unstable();
    assert_eq!(bench.delivered, (0..bench.pushed).collect::<Vec<_>>());
}
