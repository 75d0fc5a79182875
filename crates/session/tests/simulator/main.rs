//! The session under a seeded simulator: clients that come and go, connections that break between any
//! two packets, time that jumps. Every packet and effect is checked against a ledger of what is owed.
//! Durable sessions have a store beside them, and the broker crashes and finds what the store had synced.
//!
//! A round is a function of its seed. A failure prints it; `SIM_SEED=n` plays that round again and shows
//! each event, `SIM_SEED=n SIM_ROUNDS=m` plays `m` rounds from there on.

#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod inbound;
mod ledger;
mod rng;
mod store;
mod world;

use store::Store;
use world::World;

struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "failed in the round of seed {seed}: SIM_SEED={seed} cargo test -p emqttd-session --test simulator"
            );
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// Plays rounds from `first` on, or those that the environment asks for.
fn rounds(first: u64, count: u64, play: impl Fn(World, u64)) {
    let seed = number("SIM_SEED");
    let count = number("SIM_ROUNDS").unwrap_or(if seed.is_some() { 1 } else { count });
    let first = seed.unwrap_or(first);
    for seed in first..first + count {
        let _tell = TellSeed(seed);
        play(World::new(seed, count == 1), seed);
    }
}

#[test]
fn guarantees_hold() {
    rounds(1, 4000, |mut world, seed| {
        let steps = world.rng.pick(&[20, 100, 400]);
        for _ in 0..steps {
            world.step();
        }
        if seed.is_multiple_of(4) {
            world.end_session();
        } else {
            world.finish();
        }
    });
}

/// What a durable session is owed is stored, most of its queue is on disk only, and the broker crashes.
#[test]
fn guarantees_hold_over_crashes() {
    rounds(1, 4000, |world, seed| {
        durable_round(world, seed, Store::default())
    });
}

/// The same with the broker's own store on a disk that forgets at a crash what was not synced. How much more
/// than that is found depends on its threads, so a round may differ from the last one of its seed.
#[test]
fn guarantees_hold_with_the_real_store() {
    rounds(1, 150, |world, seed| {
        durable_round(world, seed, Store::real(seed));
    });
}

fn durable_round(mut world: World, seed: u64, store: Store) {
    world.make_durable(store);
    let steps = world.rng.pick(&[50, 200, 600]);
    for _ in 0..steps {
        world.step();
    }
    if seed.is_multiple_of(4) {
        world.end_session();
    } else {
        world.finish();
    }
}

/// The identifiers begin anew at 1 while one of them is still in use.
#[test]
fn guarantees_hold_when_identifiers_begin_anew() {
    rounds(1, 8, |mut world, _| {
        world.near_the_last_id();
        for _ in 0..200 {
            world.step();
        }
        world.finish();
    });
}
