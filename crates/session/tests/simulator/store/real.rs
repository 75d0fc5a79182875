//! The store of the broker itself, on a disk in memory that forgets at a crash what was not synced.

use super::{GROUP, Record, SELF, State};
use emqttd_store::sim::{Cut, SimDisk};
use emqttd_store::{Batch, Load, Options, Owed, Page, Position, Recovered, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

/// Table in which the number of the last batch stands, so that it can be told after a crash what was kept.
const BATCHES: u8 = 16;
/// Table of inbound messages that wait for PUBREL, as in the broker.
const INBOUND: u8 = 4;
/// Nothing takes that long.
const LONG: Duration = Duration::from_secs(60);

/// A store at work.
pub struct Real {
    disk: SimDisk,
    store: Store,
    batch: Batch,
    woken: Arc<(Mutex<()>, Condvar)>,
    /// size of each delivery's message
    sizes: BTreeMap<u32, u32>,
}

fn open(disk: &SimDisk) -> (Store, Recovered, Arc<(Mutex<()>, Condvar)>) {
    let woken = Arc::new((Mutex::new(()), Condvar::new()));
    let wake = Arc::clone(&woken);
    let options = Options {
        // Small, so that segments are filled, cleaned and removed.
        segment_bytes: 4 << 10,
        ..Options::default()
    };
    let wakes = move || {
        let _held = wake.0.lock().unwrap();
        wake.1.notify_all();
    };
    let (store, recovered) =
        Store::open(Arc::new(disk.clone()), options, Arc::new(wakes)).expect("it can be opened");
    (store, recovered, woken)
}

/// What is stored of a delivery: its number, and as much as its message has.
fn body(num: u32, size: u32) -> Vec<u8> {
    let mut body = num.to_le_bytes().to_vec();
    body.resize(4 + size as usize, num as u8);
    body
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were put in"))
}

impl Real {
    pub fn new(seed: u64) -> Real {
        let disk = SimDisk::new(seed);
        let (store, _, woken) = open(&disk);
        Real {
            disk,
            store,
            batch: Batch::new(),
            woken,
            sizes: BTreeMap::new(),
        }
    }

    /// Hands over batch `number`; the state is that before it.
    pub fn commit(&mut self, before: &State, number: u64, records: &[Record]) -> Position {
        let batch = &mut self.batch;
        batch.put(BATCHES, b"n", &number.to_le_bytes());
        batch.begin(SELF);
        batch.begin(GROUP);
        for record in records {
            match *record {
                Record::Message {
                    owner,
                    seq,
                    num,
                    size,
                } => {
                    self.sizes.insert(num, size);
                    let extra = &num.to_be_bytes();
                    let owed = Owed { owner, seq, extra };
                    batch.message(&[&body(num, size)], size, &[owed]);
                }
                Record::Sent {
                    id,
                    owner,
                    seq,
                    num,
                } => {
                    let size = self.sizes.get(&num).copied().unwrap_or(0);
                    batch.sent(SELF, id, owner, seq, size, 0);
                }
                Record::Released { id } => batch.released(SELF, id),
                Record::Completed { id } => batch.completed(SELF, id),
                Record::Done { owner, seq } => {
                    let num = before.owed.get(&(owner, seq)).expect("it is owed");
                    batch.done(owner, seq, self.sizes[num]);
                }
                Record::Await { id, seq } => {
                    batch.put(INBOUND, &id.to_be_bytes(), &seq.to_le_bytes());
                }
                Record::Unawait { id } => batch.delete(INBOUND, &id.to_be_bytes()),
                Record::Routed { .. } => {}
            }
        }
        self.store.commit(batch)
    }

    /// Returns when all before this place is synced.
    pub fn wait(&self, position: Position) {
        let mut held = self.woken.0.lock().unwrap();
        while self.store.durable() < position {
            let (next, late) = self.woken.1.wait_timeout(held, LONG).unwrap();
            assert!(!late.timed_out(), "the store does not sync");
            held = next;
        }
    }

    /// Numbers of deliveries owed, and where to go on.
    pub fn page(
        &self,
        owner: u64,
        from: u64,
        to: u64,
        most: usize,
    ) -> (Vec<(u64, u32)>, Option<u64>) {
        let (tell, told) = mpsc::channel::<Page>();
        let load = Load {
            owner,
            from,
            to,
            most,
            most_bytes: 1 << 20,
            after: self.store.position(),
        };
        let answer = Box::new(move |page| tell.send(page).unwrap_or(()));
        self.store.load(load, answer);
        let page = told.recv_timeout(LONG).expect("a page comes");
        assert_eq!(page.owner, owner);
        let nums = page.messages.iter().map(|loaded| {
            let extra = loaded.extra.as_slice().try_into();
            let num = u32::from_be_bytes(extra.expect("four bytes were put in"));
            assert_eq!(loaded.body, body(num, self.sizes[&num]), "body of {num}");
            (loaded.seq, num)
        });
        (nums.collect(), page.next)
    }

    /// The broker ends at once; returns the number of the last batch that is found afterwards.
    pub fn crash(&mut self, power: bool, seed: u64) -> (Recovered, u64) {
        let cut = if power { Cut::Power } else { Cut::Kill };
        self.disk = self.disk.crash(cut, seed);
        let (store, recovered, woken) = open(&self.disk);
        assert!(
            recovered.reports.iter().all(|r| !r.contains("corrupt")),
            "{:?}",
            recovered.reports
        );
        self.store = store;
        self.woken = woken;
        self.batch = Batch::new();
        let last = self.store.get(BATCHES, b"n").expect("it can be read");
        (recovered, last.map_or(0, |last| number(&last)))
    }

    /// The store holds exactly this.
    pub fn check(&self, state: &State, recovered: &Recovered) {
        for owner in [SELF, GROUP] {
            let owed: Vec<(u64, u32)> = state
                .owed
                .range((owner, 0)..(owner + 1, 0))
                .map(|(key, num)| (key.1, *num))
                .collect();
            let found = recovered.owners.iter().find(|found| found.owner == owner);
            let Some(found) = found else {
                assert_eq!((owed.len(), state.flights.len()), (0, 0), "{owner} is lost");
                continue;
            };
            let last = state.last_seq.get(&owner).copied().unwrap_or(0);
            assert_eq!(found.next, last + 1, "next number of {owner}");
            assert_eq!(found.owed, owed.len() as u64, "owed to {owner}");
            let bytes: u64 = owed.iter().map(|(_, num)| u64::from(self.sizes[num])).sum();
            assert_eq!(found.bytes, bytes, "bytes owed to {owner}");
            assert!(owed.iter().all(|(seq, _)| *seq >= found.front));
            if owner == SELF {
                assert_eq!(found.last_id, state.last_id, "last identifier");
                let flights = found
                    .in_flight
                    .iter()
                    .map(|f| (f.id, f.released, f.owner, f.seq));
                let wanted = state
                    .flights
                    .iter()
                    .map(|f| (f.id, f.released, f.owner, f.seq));
                assert_eq!(flights.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
            }
            let mut read = Vec::new();
            let mut from = Some(0);
            while let Some(at) = from {
                let (mut page, next) = self.page(owner, at, last + 1, 5);
                assert!(next.is_none_or(|next| next > at), "reading goes in circles");
                read.append(&mut page);
                from = next;
            }
            assert_eq!(read, owed, "what can be read of what {owner} is owed");
        }
        let mut awaiting = BTreeMap::new();
        self.store
            .for_each(INBOUND, &mut |id, seq| {
                let id = u16::from_be_bytes(id.try_into().expect("two bytes were put in"));
                awaiting.insert(id, number(seq));
            })
            .expect("it can be read");
        assert_eq!(awaiting, state.awaiting, "awaited");
    }
}
