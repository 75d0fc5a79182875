//! Hashing passwords of users: slow on purpose, and therefore few at a time.

use emqttd_password::{Cost, HashError, Stored};
use parking_lot::{Condvar, Mutex};
use std::sync::OnceLock;

/// Hashes computed at a time: whoever tries passwords must not take the machine from the event loops.
const AT_A_TIME: usize = 2;

/// Hashes passwords, and checks them.
pub(super) struct Hashing {
    cost: Cost,
    inside: Mutex<usize>,
    left: Condvar,
    /// what an unknown user is checked against
    nobody: OnceLock<Option<Stored>>,
}

/// A turn at hashing; given back when dropped.
struct Turn<'a>(&'a Hashing);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.inside.lock() -= 1;
        self.0.left.notify_one();
    }
}

impl Hashing {
    pub fn new(cost: Cost) -> Hashing {
        Hashing {
            cost,
            inside: Mutex::new(0),
            left: Condvar::new(),
            nobody: OnceLock::new(),
        }
    }

    /// Waits for a turn.
    fn turn(&self) -> Turn<'_> {
        let mut inside = self.inside.lock();
        self.left
            .wait_while(&mut inside, |inside| *inside >= AT_A_TIME);
        *inside += 1;
        Turn(self)
    }

    /// The password as it is kept.
    pub fn hash(&self, password: &str) -> Result<Stored, HashError> {
        let _turn = self.turn();
        Stored::new(password.as_bytes(), self.cost, None)
    }

    /// Whether `password` is the one in `stored`. Without one it takes as long, and is not.
    pub fn verify(&self, stored: Option<&str>, password: &str) -> bool {
        let known = stored.and_then(Stored::decode);
        let _turn = self.turn();
        match known {
            Some(stored) => stored.verify(password.as_bytes()),
            None => {
                let make = || Stored::new(b"nobody", self.cost, None).ok();
                if let Some(nobody) = self.nobody.get_or_init(make) {
                    nobody.verify(password.as_bytes());
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn at_most_two_are_inside() {
        let hashing = Arc::new(Hashing::new(Cost::LIGHT));
        let (first, second) = (hashing.turn(), hashing.turn());
        let other = Arc::clone(&hashing);
        let third = thread::spawn(move || {
            let _turn = other.turn();
            *other.inside.lock()
        });
        assert_eq!(*hashing.inside.lock(), AT_A_TIME);
        drop(first);
        assert_eq!(third.join().unwrap(), AT_A_TIME);
        drop(second);
        assert_eq!(*hashing.inside.lock(), 0);
    }
}
