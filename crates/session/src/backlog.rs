//! What a durable session is owed and does not hold in memory: only its numbers are known here.

use crate::seqs::Seqs;

/// Messages on disk that are still to be read. There only while there are some.
///
/// A message may be read from the disk before the word of it arrives from the thread that stored it: only
/// what was counted is taken from a page, so that nothing is taken twice.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// those counted; below `restored_to` also some that were done with before the restart
    seqs: Seqs,
    /// numbers below this one were given out before the restart
    restored_to: u64,
    /// counted since a page was asked for: it may be without them, whatever their numbers, since those who
    /// store messages are not as fast as each other
    late: Seqs,
    /// how many of those given out before the restart are still to be read
    restored: usize,
    /// how many were counted since
    since: usize,
    bytes: usize,
    /// a page was asked for, with numbers below this
    asked_to: Option<u64>,
    /// those with smaller numbers are dropped when they have been read; 0 = none are
    clear_to: u64,
    /// the client lost rights while there was something on disk
    pub filter: bool,
    /// messages in flight at the restart have no bodies yet
    pub unloaded: bool,
    /// a connection waits for those
    pub resume_due: bool,
}

impl Backlog {
    /// After a restart: `owed` messages of `bytes` bytes among the numbers `seqs`, which end before `next`.
    pub fn restored(seqs: Seqs, next: u64, owed: usize, bytes: usize, unloaded: bool) -> Backlog {
        Backlog {
            seqs,
            restored_to: next,
            restored: owed,
            bytes,
            unloaded,
            ..Backlog::default()
        }
    }

    /// Messages to be read.
    pub fn len(&self) -> usize {
        self.restored + self.since
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing is to be read.
    pub fn is_empty(&self) -> bool {
        self.seqs.is_empty() && self.late.is_empty()
    }

    pub fn loading(&self) -> bool {
        self.asked_to.is_some()
    }

    /// Counts one that is on disk.
    pub fn count(&mut self, seq: u64, size: usize) {
        let into = match self.asked_to {
            None => &mut self.seqs,
            Some(_) => &mut self.late,
        };
        if into.insert(seq) {
            if seq < self.restored_to {
                self.restored += 1;
            } else {
                self.since += 1;
            }
            self.bytes += size;
        }
    }

    /// Asks for a page: from which number, and below which. The caller has seen that there is something.
    pub fn ask(&mut self) -> Option<(u64, u64)> {
        let behind = self.seqs.behind()?;
        self.asked_to = Some(match self.clear_to {
            0 => behind,
            // What is to be kept is read when there is room for it.
            clear_to => behind.min(clear_to),
        });
        Some((self.seqs.first()?, self.asked_to?))
    }

    /// Has all that is here now dropped when it has been read.
    pub fn clear(&mut self) {
        let behind = self.seqs.behind().max(self.late.behind());
        self.clear_to = behind.unwrap_or(0);
    }

    /// Something is still to be read to be dropped.
    pub fn clearing(&self) -> bool {
        self.clear_to > 0
    }

    /// Whether a message that was read is to be dropped.
    pub fn drops(&self, seq: u64) -> bool {
        seq < self.clear_to
    }

    /// One was read; `false` when it had not been counted when the page was asked for: one of the same
    /// publisher may have been counted after that and have to go first.
    pub fn take(&mut self, seq: u64, size: usize) -> bool {
        let counted = self.seqs.remove(seq);
        if counted {
            let of = if seq < self.restored_to {
                &mut self.restored
            } else {
                &mut self.since
            };
            *of = of.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
        counted
    }

    /// A page has come, and `next` is where reading goes on: what was counted before it was asked for, and
    /// should have been in it, is not there any more.
    pub fn read_to(&mut self, next: Option<u64>) {
        let Some(asked_to) = self.asked_to.take() else {
            return;
        };
        self.seqs
            .remove_below(next.map_or(asked_to, |next| next.min(asked_to)));
        self.seqs.append(std::mem::take(&mut self.late));
        if self.seqs.first().is_none_or(|first| first >= self.clear_to) {
            self.clear_to = 0;
        }
        self.correct();
    }

    /// Bytes of messages in flight, which the account of before the restart has in it.
    pub fn not_waiting(&mut self, size: usize) {
        self.bytes = self.bytes.saturating_sub(size);
    }

    fn correct(&mut self) {
        let before = self.len();
        self.since = self.seqs.len_from(self.restored_to);
        if self
            .seqs
            .first()
            .is_none_or(|first| first >= self.restored_to)
        {
            self.restored = 0;
        }
        let len = self.len();
        if len == 0 {
            self.bytes = 0;
        } else if len < before {
            // The sizes of what is lost are not known: it is taken to be as large as the rest.
            self.bytes = (self.bytes as u128 * len as u128 / before as u128) as usize;
        }
    }
}
