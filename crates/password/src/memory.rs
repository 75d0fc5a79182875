//! The memory that Argon2id works in: 19 MiB a check, but for hashes made elsewhere.
//!
//! To get it from the system for each check would cost as much as the check. To leave it to the C library would
//! leave it there: up to once for each thread that ever made a check.

use argon2::Block;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Pieces that are kept for the next check.
const KEPT: usize = 4;

/// How long they are kept.
const REST: Duration = Duration::from_secs(10);

/// Blocks asked for at least, of 1 KiB; only those that are used take memory. The C library gives what is larger
/// than 32 MiB back to the system when it is freed.
const RESERVED: usize = 33 * 1024;

static FREE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());
static RESTING: AtomicBool = AtomicBool::new(false);

/// Lets `work` have so many blocks, with whatever is in them.
pub(crate) fn with_blocks<T>(blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
    let kept = free(Vec::pop);
    let mut memory = kept.unwrap_or_else(|| Vec::with_capacity(blocks.max(RESERVED)));
    memory.resize(blocks, Block::new());
    let result = work(&mut memory);
    free(|free| {
        // More than that is only needed for hashes made elsewhere, and goes back at once.
        if free.len() < KEPT && memory.capacity() <= RESERVED {
            free.push(memory);
        }
    });
    if !RESTING.swap(true, Ordering::AcqRel) {
        let rest = || {
            thread::sleep(REST);
            release();
        };
        let thread = thread::Builder::new().name("password-rest".into());
        if thread.spawn(rest).is_err() {
            release();
        }
    }
    result
}

/// Gives back what is kept.
fn release() {
    RESTING.store(false, Ordering::Release);
    let freed = free(std::mem::take);
    drop(freed);
}

fn free<T>(f: impl FnOnce(&mut Vec<Vec<Block>>) -> T) -> T {
    f(&mut FREE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size() {
        for blocks in [8, 4096, 19_456, 65_536, 100] {
            let got = with_blocks(blocks, |memory| memory.len());
            assert_eq!(got, blocks);
        }
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| with_blocks(1024, |memory| memory.fill(Block::new())));
            }
        });
        assert!(free(|free| free.len()) <= KEPT);
        assert!(free(|free| free
            .iter()
            .all(|kept| kept.capacity() <= RESERVED)));
    }
}
