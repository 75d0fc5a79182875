//! A bounded queue to one thread. Putting something in never waits for that thread.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Something that can stand in a [`Queue`].
pub(crate) trait Item {
    /// Bytes of memory it holds.
    fn size(&self) -> usize;
}

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Something was put in, or the queue was closed.
    filled: Condvar,
    /// The thread has finished a batch.
    written: Condvar,
    max_items: usize,
    max_bytes: usize,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Items that found no room since the thread looked last.
    dropped: u64,
    /// Items ever put in, and of those how many the thread has finished.
    put: u64,
    finished: u64,
    closed: bool,
}

/// What the thread gets at a time.
pub(crate) struct Batch<T> {
    pub(crate) items: VecDeque<T>,
    pub(crate) dropped: u64,
    pub(crate) closed: bool,
}

impl<T: Item> Queue<T> {
    pub(crate) fn new(max_items: usize, max_bytes: usize) -> Queue<T> {
        Queue {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                dropped: 0,
                put: 0,
                finished: 0,
                closed: false,
            }),
            filled: Condvar::new(),
            written: Condvar::new(),
            max_items,
            max_bytes,
        }
    }

    /// Puts an item in, or counts it as dropped when there is no room.
    pub(crate) fn put(&self, item: T) {
        let mut state = self.state.lock();
        if state.items.len() >= self.max_items || state.bytes + item.size() > self.max_bytes {
            state.dropped += 1;
        } else {
            self.add(&mut state, item);
        }
    }

    /// Puts an item in even when the queue is full: for the few that must not be lost.
    pub(crate) fn put_always(&self, item: T) {
        self.add(&mut self.state.lock(), item);
    }

    fn add(&self, state: &mut State<T>, item: T) {
        state.bytes += item.size();
        state.put += 1;
        state.items.push_back(item);
        self.filled.notify_one();
    }

    /// Everything in the queue; sleeps until there is something, the queue is closed, or `until`.
    pub(crate) fn take(&self, until: Option<Instant>) -> Batch<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            match until {
                None => self.filled.wait(&mut state),
                Some(until) => {
                    if self.filled.wait_until(&mut state, until).timed_out() {
                        break;
                    }
                }
            }
        }
        state.bytes = 0;
        Batch {
            items: std::mem::take(&mut state.items),
            dropped: std::mem::take(&mut state.dropped),
            closed: state.closed,
        }
    }

    /// The thread has written `count` items of its batch to where they belong.
    pub(crate) fn finish(&self, count: u64) {
        self.state.lock().finished += count;
        self.written.notify_all();
    }

    /// Waits until what is in the queue now is written; `false` when that took too long.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        let put = state.put;
        while state.finished < put {
            if self.written.wait_until(&mut state, deadline).timed_out() {
                return state.finished >= put;
            }
        }
        true
    }

    /// The thread ends when it has taken what is in the queue.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for &'static str {
        fn size(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn bounded_by_count_and_by_bytes() {
        let queue = Queue::new(2, 100);
        for item in ["a", "b", "c"] {
            queue.put(item);
        }
        queue.put_always("d");
        let batch = queue.take(None);
        assert_eq!(
            (batch.items, batch.dropped),
            (VecDeque::from(["a", "b", "d"]), 1)
        );
        let queue = Queue::new(100, 4);
        for item in ["aaa", "bb", "c"] {
            queue.put(item);
        }
        let batch = queue.take(None);
        assert_eq!(
            (batch.items, batch.dropped),
            (VecDeque::from(["aaa", "c"]), 1)
        );
        queue.put("aaaa");
        let batch = queue.take(None);
        assert_eq!((batch.items, batch.dropped), (VecDeque::from(["aaaa"]), 0));
    }

    #[test]
    fn flush_waits_for_the_thread() {
        let queue = Queue::new(10, 100);
        assert!(queue.flush(Duration::ZERO), "nothing to wait for");
        queue.put("a");
        assert!(!queue.flush(Duration::ZERO));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let batch = queue.take(None);
                queue.finish(batch.items.len() as u64);
            });
            assert!(queue.flush(Duration::from_secs(60)));
        });
    }

    #[test]
    fn taking_ends_at_the_time_and_at_the_close() {
        let queue: Queue<&str> = Queue::new(10, 100);
        let batch = queue.take(Some(Instant::now()));
        assert!(batch.items.is_empty() && !batch.closed);
        queue.close();
        assert!(queue.take(None).closed);
    }
}
