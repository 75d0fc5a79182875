//! What a broker's store remembers: batches of records, of which a crash leaves some and forgets the rest.
//! The broker's own store can stand behind it: it then has to agree.

mod real;

use crate::rng::Rng;
use real::Real;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The session as an owner of messages.
pub const SELF: u64 = 1;
/// The shared group as an owner of messages.
pub const GROUP: u64 = 2;

/// One thing to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// a delivery is owed
    Message {
        owner: u64,
        seq: u64,
        num: u32,
        size: u32,
    },
    /// it left; with a `seq` of 0 it was never owed
    Sent {
        id: u16,
        owner: u64,
        seq: u64,
        num: u32,
    },
    Released {
        id: u16,
    },
    Completed {
        id: u16,
    },
    Done {
        owner: u64,
        seq: u64,
    },
    /// a message of the client's waits for its PUBREL
    Await {
        id: u16,
        seq: u64,
    },
    /// and no longer
    Unawait {
        id: u16,
    },
    /// a message of the client's goes to those who are owed it
    Routed {
        seq: u64,
    },
}

/// A message that is on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flown {
    pub id: u16,
    pub released: bool,
    pub owner: u64,
    pub seq: u64,
    pub num: u32,
}

/// What follows from the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// owner and number → number of the delivery
    pub owed: BTreeMap<(u64, u64), u32>,
    /// in the order of sending
    pub flights: Vec<Flown>,
    pub last_id: u16,
    /// number given out last, by owner
    pub last_seq: BTreeMap<u64, u64>,
    pub awaiting: BTreeMap<u16, u64>,
    pub routed: HashMap<u64, u32>,
}

impl State {
    pub fn flying(&self, owner: u64, seq: u64) -> Option<&Flown> {
        self.flights
            .iter()
            .find(|flown| flown.owner == owner && flown.seq == seq)
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Message {
                owner, seq, num, ..
            } => {
                assert_eq!(self.owed.insert((owner, seq), num), None);
                self.last_seq.insert(owner, seq);
            }
            Record::Sent {
                id,
                owner,
                seq,
                num,
            } => {
                if seq != 0 {
                    let owed = self.owed.get(&(owner, seq));
                    assert_eq!(owed, Some(&num), "{seq} sent and not owed");
                    let flying = self.flying(owner, seq);
                    assert_eq!(flying, None, "{seq} is told to be sent twice");
                }
                assert!(
                    self.flights.iter().all(|flown| flown.id != id),
                    "{id} in use"
                );
                self.flights.push(Flown {
                    id,
                    released: false,
                    owner,
                    seq,
                    num,
                });
                self.last_id = id;
            }
            Record::Released { id } => {
                let flown = self.flights.iter_mut().find(|flown| flown.id == id);
                let flown = flown.unwrap_or_else(|| panic!("{id} released and not sent"));
                assert!(!flown.released, "{id} released twice");
                flown.released = true;
                let key = (flown.owner, flown.seq);
                let owed = self.owed.remove(&key).is_some();
                assert!(owed || key.1 == 0, "{key:?} was not owed");
            }
            Record::Completed { id } => {
                let at = self.flights.iter().position(|flown| flown.id == id);
                let at = at.unwrap_or_else(|| panic!("{id} completed and not sent"));
                let flown = self.flights.remove(at);
                let owed = self.owed.remove(&(flown.owner, flown.seq)).is_some();
                let stored = flown.seq != 0;
                assert_eq!(owed, stored && !flown.released, "{id} completed");
            }
            Record::Done { owner, seq } => {
                assert_eq!(self.flying(owner, seq), None, "{seq} done while in flight");
                let owed = self.owed.remove(&(owner, seq));
                assert!(owed.is_some(), "{seq} done and not owed");
            }
            Record::Await { id, seq } => {
                assert_eq!(self.awaiting.insert(id, seq), None);
            }
            Record::Unawait { id } => {
                assert!(self.awaiting.remove(&id).is_some(), "{id} did not wait");
            }
            Record::Routed { seq } => *self.routed.entry(seq).or_default() += 1,
        }
    }
}

/// The log and what is known of it.
#[derive(Default)]
pub struct Store {
    /// with all that was handed over
    pub now: State,
    /// with what is on stable storage
    pub durable: State,
    /// handed over and not synced
    batches: VecDeque<(Vec<Record>, emqttd_store::Position)>,
    position: u64,
    real: Option<Real>,
}

impl Store {
    /// One that is the broker's own.
    pub fn real(seed: u64) -> Store {
        Store {
            real: Some(Real::new(seed)),
            ..Store::default()
        }
    }

    /// Hands over a batch; it will be found whole or not at all.
    pub fn commit(&mut self, batch: Vec<Record>) {
        if batch.is_empty() {
            return;
        }
        self.position += 1;
        let place = match &mut self.real {
            Some(real) => real.commit(&self.now, self.position, &batch),
            None => 0,
        };
        for record in &batch {
            self.now.apply(*record);
        }
        self.batches.push_back((batch, place));
    }

    /// The place behind all that was handed over.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The place up to which all is synced.
    pub fn durable_to(&self) -> u64 {
        self.position - self.batches.len() as u64
    }

    pub fn sync_to(&mut self, position: u64) {
        while self.durable_to() < position {
            let (batch, place) = self.batches.pop_front().expect("it was handed over");
            if let Some(real) = &self.real {
                real.wait(place);
            }
            for record in batch {
                self.durable.apply(record);
            }
        }
    }

    /// A crash leaves some of the batches that were not synced.
    pub fn crash(&mut self, rng: &mut Rng) {
        let synced = self.durable_to();
        let kept = rng.below(self.position - synced + 1);
        let kept = if rng.percent(50) { 0 } else { kept };
        let (power, seed) = (rng.percent(50), rng.next());
        let Some(mut real) = self.real.take() else {
            self.sync_to(synced + kept);
            return self.forget();
        };
        let (recovered, last) = real.crash(power, seed);
        assert!(
            (synced..=self.position).contains(&last),
            "{last} batches were found, of {synced} synced and {} handed over",
            self.position
        );
        self.sync_to(last);
        self.forget();
        real.check(&self.durable, &recovered);
        self.real = Some(real);
    }

    fn forget(&mut self) {
        self.position -= self.batches.len() as u64;
        self.batches.clear();
        self.now = self.durable.clone();
    }

    /// The body of what is in flight can be read.
    pub fn check_body(&mut self, owner: u64, seq: u64, num: u32) {
        let Some(real) = &self.real else { return };
        let (read, _) = real.page(owner, seq, seq + 1, 1);
        assert_eq!(read, [(seq, num)]);
    }

    /// Numbers of deliveries owed to the session from `from` on and below `to`, the first `most`, and where
    /// to go on.
    pub fn page(&mut self, from: u64, to: u64, most: usize) -> (Vec<(u64, u32)>, Option<u64>) {
        if self.real.is_some() {
            // It may be ahead of what was waited for.
            self.sync_to(self.position);
        }
        let mut owed = self.durable.owed.range((SELF, from)..(SELF, to));
        let page = owed.by_ref().take(most).map(|(key, num)| (key.1, *num));
        let page = page.collect();
        let next = owed.next().map(|(key, _)| key.1);
        let Some(real) = &self.real else {
            return (page, next);
        };
        let (read, goes_on) = real.page(SELF, from, to, most);
        assert_eq!(read, page, "read in {from}..{to}");
        let last = page.last().map_or(from, |last| last.0 + 1);
        match (goes_on, next) {
            (None, None) => {}
            (Some(at), Some(next)) => assert!(at >= last && at <= next, "goes on at {at}"),
            (Some(at), None) => assert!(at >= last, "goes on at {at}"),
            (None, Some(next)) => panic!("{next} is left out"),
        }
        (page, goes_on)
    }
}
