//! The connections of a listener, and which of them make room for others.

use super::listener::{GOODBYE, LEAVING};
use super::paced::Pace;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};

/// The connections of a listener.
#[derive(Default)]
pub struct Crowd {
    tasks: JoinSet<u64>,
    /// in the order in which they came
    open: BTreeMap<u64, Member>,
    next: u64,
}

/// A connection that has not been asked to leave.
struct Member {
    pace: Pace,
    leave: Arc<Notify>,
    task: Id,
}

impl Crowd {
    /// Takes in a connection: `serve` is to end soon after it was told to leave, unless it answers something.
    pub fn add<F>(&mut self, serve: impl FnOnce(Pace, Arc<Notify>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = self.next;
        self.next += 1;
        let (pace, leave) = (Pace::new(), Arc::new(Notify::new()));
        let served = serve(pace.clone(), Arc::clone(&leave));
        let task = self.tasks.spawn(async move {
            served.await;
            number
        });
        let task = task.id();
        self.open.insert(number, Member { pace, leave, task });
    }

    /// Waits until one has ended; `None` when there are none.
    pub async fn one_gone(&mut self) -> Option<()> {
        let ended = self.tasks.join_next().await?;
        self.forget(ended);
        Some(())
    }

    fn forget(&mut self, ended: Result<u64, JoinError>) {
        match ended {
            Ok(number) => drop(self.open.remove(&number)),
            // It panicked, and says no number.
            Err(error) => self.open.retain(|_, one| one.task != error.id()),
        }
    }

    /// Asks the `over` that came first of those that are not answered anything to leave, and waits for what becomes free:
    /// whoever opens connections and says nothing must not keep out who asks for something. Nobody has to leave when that
    /// would not be enough.
    pub async fn make_room<T>(&mut self, over: usize, free: impl Fn() -> Option<T>) -> Option<T> {
        // Who has gone already leaves no place.
        while let Some(ended) = self.tasks.try_join_next() {
            self.forget(ended);
        }
        let silent = self.open.iter().filter(|(_, one)| !one.pace.is_busy());
        let silent: Vec<u64> = silent.map(|(number, _)| *number).take(over).collect();
        if silent.len() < over {
            return None;
        }
        let asked: Vec<Member> = silent.iter().filter_map(|n| self.open.remove(n)).collect();
        for one in &asked {
            one.leave.notify_one();
        }
        for patience in [LEAVING, GOODBYE] {
            let freed = async {
                loop {
                    // The one that was to leave may have gone by itself.
                    if let Some(found) = free() {
                        return Some(found);
                    }
                    self.one_gone().await?;
                }
            };
            if let Ok(found) = tokio::time::timeout(patience, freed).await {
                return found;
            }
            if asked.iter().any(|one| one.pace.is_busy()) {
                // Something came at the last moment. It is answered first.
                return None;
            }
        }
        None
    }

    /// Ends all that are left.
    pub async fn end(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;

    /// So many connections that leave when they are asked to.
    fn crowd(n: usize, left: &Arc<AtomicUsize>) -> Crowd {
        let mut crowd = Crowd::default();
        for _ in 0..n {
            let left = Arc::clone(left);
            crowd.add(|_, leave| async move {
                leave.notified().await;
                left.fetch_add(1, Ordering::SeqCst);
            });
        }
        crowd
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_panics_is_forgotten() {
        let mut crowd = Crowd::default();
        crowd.add(|_, _| async { panic!("this is meant to be seen") });
        crowd.one_gone().await.unwrap();
        assert!(crowd.open.is_empty());
        assert_eq!(crowd.one_gone().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_leave_as_are_too_many() {
        let left = Arc::new(AtomicUsize::new(0));
        let mut crowd = crowd(5, &left);
        let free = || (left.load(Ordering::SeqCst) == 3).then_some(());
        assert_eq!(crowd.make_room(3, free).await, Some(()));
        assert_eq!(crowd.open.keys().copied().collect::<Vec<_>>(), [3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_gone_leaves_no_place_again() {
        let left = Arc::new(AtomicUsize::new(0));
        let mut crowd = crowd(2, &left);
        crowd.open.values().next().unwrap().leave.notify_one();
        while left.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let free = || (left.load(Ordering::SeqCst) == 2).then_some(());
        assert_eq!(crowd.make_room(1, free).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_leaves_in_vain() {
        let left = Arc::new(AtomicUsize::new(0));
        let mut crowd = crowd(2, &left);
        let busy: Vec<_> = crowd.open.values().map(|one| one.pace.clone()).collect();
        let busy = busy[0].busy();
        let begun = Instant::now();
        assert_eq!(crowd.make_room(2, || None::<()>).await, None);
        // Nobody was asked, and nobody was waited for.
        assert_eq!((crowd.open.len(), begun.elapsed().as_millis()), (2, 0));
        drop(busy);
        let free = || (left.load(Ordering::SeqCst) == 2).then_some(());
        assert_eq!(crowd.make_room(2, free).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_begins_to_answer_is_not_waited_for_longer() {
        let mut crowd = Crowd::default();
        crowd.add(|pace, leave| async move {
            leave.notified().await;
            let _busy = pace.busy();
            std::future::pending::<()>().await;
        });
        let begun = Instant::now();
        assert_eq!(crowd.make_room(1, || None::<()>).await, None);
        assert!(begun.elapsed() < 2 * LEAVING);
        // It is there still.
        assert_eq!(crowd.tasks.len(), 1);
    }
}
