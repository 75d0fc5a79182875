//! Passwords that were found right a moment ago: hashing one takes its time, and scripts give theirs with every request.

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a password is remembered.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// How many are.
const MOST: usize = 1024;

/// What stands for a user with a password: nothing can be learned from it without the key, which is in memory only.
pub type Mark = [u8; 32];

/// What is known of a password that was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// that of the user then: when it is another now, the password has to be looked at again
    pub generation: u64,
    /// it is `public`
    pub default_password: bool,
}

/// Passwords that were right, and those that are being looked at.
pub struct Remembered {
    key: [u8; 32],
    known: Mutex<HashMap<Mark, (Known, Instant)>>,
    under_way: Mutex<HashMap<Mark, Arc<tokio::sync::Mutex<()>>>>,
}

impl Remembered {
    /// Nothing; `None` without randomness.
    pub fn new() -> Option<Remembered> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        Some(Remembered {
            key,
            known: Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    /// The mark of a user with a password.
    pub fn mark(&self, user: &str, password: &str) -> Mark {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What is known, if it was found out not too long ago.
    pub fn get(&self, mark: &Mark, now: Instant) -> Option<Known> {
        let known = self.known.lock();
        let (known, at) = known.get(mark)?;
        (now < *at + LIFE).then_some(*known)
    }

    /// It was right.
    pub fn keep(&self, mark: Mark, what: Known, now: Instant) {
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, (_, at)| now < *at + LIFE);
        }
        if known.len() >= MOST {
            let oldest = known.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(mark, _)| *mark) {
                known.remove(&oldest);
            }
        }
        known.insert(mark, (what, now));
    }

    /// Not any more.
    pub fn forget(&self, mark: &Mark) {
        self.known.lock().remove(mark);
    }

    /// Waits until nobody else looks at the same password: many requests of one script are one look.
    pub async fn alone(&self, mark: Mark) -> Alone<'_> {
        let turn = Arc::clone(self.under_way.lock().entry(mark).or_default());
        // Before it waits: who gives up waiting tidies up, too.
        let mut alone = Alone {
            remembered: self,
            mark,
            turn: Some(Arc::clone(&turn)),
            held: None,
        };
        alone.held = Some(turn.lock_owned().await);
        alone
    }
}

/// Nobody else looks at that password meanwhile.
pub struct Alone<'a> {
    remembered: &'a Remembered,
    mark: Mark,
    turn: Option<Arc<tokio::sync::Mutex<()>>>,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut under_way = self.remembered.under_way.lock();
        self.held = None;
        self.turn = None;
        // One in the table, and nobody who waits.
        if under_way
            .get(&self.mark)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            under_way.remove(&self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RIGHT: Known = Known {
        generation: 1,
        default_password: false,
    };

    #[test]
    fn for_five_minutes_and_no_more_than_there_is_room_for() {
        let remembered = Remembered::new().unwrap();
        let start = Instant::now();
        let mark = remembered.mark("admin", "secret");
        assert_eq!(remembered.get(&mark, start), None);
        remembered.keep(mark, RIGHT, start);
        assert_eq!(remembered.get(&mark, start), Some(RIGHT));
        assert_eq!(remembered.get(&mark, start + LIFE), None);
        assert_eq!(
            remembered.get(&remembered.mark("admin", "Secret"), start),
            None
        );
        assert_eq!(
            remembered.get(&remembered.mark("admins", "ecret"), start),
            None
        );
        assert_ne!(mark, Remembered::new().unwrap().mark("admin", "secret"));
        for n in 0..3000 {
            let at = start + Duration::from_millis(1 + n);
            remembered.keep(remembered.mark("u", &n.to_string()), RIGHT, at);
        }
        assert_eq!(remembered.known.lock().len(), MOST);
        assert_eq!(remembered.get(&mark, start), None);
        let last = remembered.mark("u", "2999");
        assert_eq!(remembered.get(&last, start), Some(RIGHT));
        remembered.forget(&last);
        assert_eq!(remembered.get(&last, start), None);
    }

    #[tokio::test]
    async fn one_look_at_a_time() {
        let remembered = Remembered::new().unwrap();
        let mark = remembered.mark("a", "b");
        let first = remembered.alone(mark).await;
        let mut second = Box::pin(remembered.alone(mark));
        let waits = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await);
        // Another password does not wait.
        drop(remembered.alone(remembered.mark("a", "c")).await);
        drop(first);
        drop(second.await);
        assert!(remembered.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let remembered = Remembered::new().unwrap();
        let mark = remembered.mark("a", "b");
        let first = remembered.alone(mark).await;
        let mut second = Box::pin(remembered.alone(mark));
        let waits = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await);
        // It is the second one's turn, which never hears of it.
        drop(first);
        drop(second);
        assert!(remembered.under_way.lock().is_empty());
    }
}
