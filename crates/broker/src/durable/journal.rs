//! What a shard has to write in a round, and which outputs wait for it.

use super::NodeStore;
use crate::conn::{Conn, ConnId};
use crate::node::Node;
use crate::shard::Shard;
use emqttd_store::{Batch, Health, Position};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// What waits for nobody is handed over after so many milliseconds,
const LAZY: u64 = 20;
/// or when it is so many bytes: each hand-over costs a sync.
const LAZY_BYTES: usize = 64 * 1024;

/// What a shard has to write in a round, and which outputs wait for it.
///
/// The records of a round are handed to the store before its outputs are written and its mail is posted, so
/// that nobody hears of anything that is not on its way to the disk. Gates in the outputs hold back what must
/// not be heard before it is there. What became of single messages, if no gate waits for it (one of QoS 1 was
/// sent, was acknowledged), is gathered over some rounds: what a crash takes of it makes a message come once
/// more, which QoS 1 allows.
pub(crate) struct Journal {
    pub batch: Batch,
    /// number of the round whose records `batch` holds
    round: u64,
    /// a gate was closed for this round
    gates: bool,
    /// `batch` has messages that somebody is owed
    pub owing: bool,
    /// `batch` has something that is not to wait for more, though no gate does
    pub prompt: bool,
    /// since when `batch` has something, milliseconds; 0 = it has nothing
    since: u64,
    /// position behind everything that sessions of this shard are owed, as far as they have heard of it
    pub owed_to: Position,
    /// rounds for which gates are closed, and the positions that open them; both ascend
    pending: VecDeque<(u64, Position)>,
    /// outputs with gates, by round
    gated: VecDeque<(u64, ConnId)>,
    /// grows with all that is written
    handed: u64,
}

impl Journal {
    pub fn new() -> Journal {
        Journal {
            batch: Batch::new(),
            round: 1,
            gates: false,
            owing: false,
            prompt: false,
            since: 0,
            owed_to: 0,
            pending: VecDeque::new(),
            gated: VecDeque::new(),
            handed: 0,
        }
    }

    /// A number that changes with everything that is written.
    pub fn written(&self) -> u64 {
        self.handed + self.batch.len() as u64
    }

    /// When the records are to be handed over that no gate waits for, milliseconds.
    pub fn due(&self) -> Option<u64> {
        (self.since > 0).then_some(self.since + LAZY)
    }

    /// What stands in the output of `conn` from `position` on waits for all that was written so far.
    pub fn gate(&mut self, conn: &mut Conn, id: ConnId, position: usize) {
        self.gates = true;
        if conn.out.close_gate(position, self.round) {
            self.gated.push_back((self.round, id));
        }
    }
}

impl Shard {
    pub(crate) fn store(&self) -> Option<&NodeStore> {
        self.node.durable.as_ref()
    }

    /// [`Journal::written`]; 0 without a store.
    #[inline]
    pub(crate) fn written(&self) -> u64 {
        self.journal.as_ref().map_or(0, |journal| journal.written())
    }

    /// Closes a gate before `position` of an output, if something was written since `before`.
    pub(crate) fn gate_if_written(&mut self, id: ConnId, position: usize, before: u64) {
        if self.written() != before {
            self.gate(id, position);
        }
    }

    /// Closes a gate before `position` of an output.
    pub(crate) fn gate(&mut self, id: ConnId, position: usize) {
        if let Some(journal) = &mut self.journal {
            journal.gate(&mut self.conns[id as usize], id, position);
        }
    }

    /// Hands over what was written so far if the disk has nothing to do and somebody waits: so it works while
    /// the rest of the round is worked on. To be called between packets, whose records belong together.
    #[inline]
    pub(crate) fn commit_early(&mut self) {
        if let (Some(journal), Some(durable)) = (&self.journal, &self.node.durable)
            && journal.gates
            && durable.store.durable() == durable.store.position()
        {
            self.commit();
        }
    }

    /// Hands over what this round has written, unless it can wait for more.
    pub(crate) fn commit_round(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        if journal.since == 0 && !journal.batch.is_empty() {
            journal.since = self.now.max(1);
        }
        let due = journal.due().is_some_and(|at| at <= self.now);
        if journal.gates
            || journal.owing
            || journal.prompt
            || due
            || journal.batch.len() > LAZY_BYTES
        {
            self.commit();
        }
    }

    /// Hands what was written to the store.
    pub(crate) fn commit(&mut self) {
        let (Some(journal), Some(durable)) = (&mut self.journal, &self.node.durable) else {
            return;
        };
        if journal.batch.is_empty() && !journal.gates {
            return;
        }
        let position = if journal.batch.is_empty() {
            // The gates wait for what was handed over earlier.
            durable.store.position()
        } else {
            journal.handed += journal.batch.len() as u64;
            durable.store.commit(&mut journal.batch)
        };
        (journal.since, journal.prompt) = (0, false);
        if std::mem::take(&mut journal.owing) {
            journal.owed_to = position;
        }
        if std::mem::take(&mut journal.gates) {
            journal.pending.push_back((journal.round, position));
            journal.round += 1;
            self.await_durable();
        }
    }

    /// Asks to be woken when the first pending round is durable.
    fn await_durable(&mut self) {
        let (Some(journal), Some(durable)) = (&self.journal, &self.node.durable) else {
            return;
        };
        let first = journal
            .pending
            .front()
            .map_or(u64::MAX, |pending| pending.1);
        durable.awaited[self.index].store(first, Ordering::Release);
        // Either this shard sees what has become durable, or the store sees that somebody waits.
        fence(Ordering::SeqCst);
        if durable.store.durable() >= first {
            // It came to be before the store could see that somebody waits.
            self.node.mailboxes[self.index].wake();
        }
    }

    /// Opens the gates of what has become durable.
    pub(crate) fn open_gates(&mut self) {
        let (Some(journal), Some(durable)) = (&mut self.journal, &self.node.durable) else {
            return;
        };
        if journal.pending.is_empty() {
            return;
        }
        let reached = durable.store.durable();
        let mut open = 0;
        while let Some((round, _)) = journal.pending.front().filter(|(_, at)| *at <= reached) {
            open = *round;
            journal.pending.pop_front();
        }
        if open == 0 {
            return;
        }
        while let Some((_, id)) = journal.gated.front().filter(|(round, _)| *round <= open) {
            // The number may be another connection's by now, whose gates are no older.
            let conn = &mut self.conns[*id as usize];
            conn.out.open_gates(open);
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(*id);
            }
            journal.gated.pop_front();
        }
        self.await_durable();
    }

    /// Whether a client that wants something stored has to wait.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.health != Health::Good
    }

    /// Looks at the store at the beginning of a round; `true` when nothing at all should be read.
    pub(crate) fn look_at_store(&mut self) -> bool {
        let Some(durable) = &self.node.durable else {
            return false;
        };
        let health = durable.store.health();
        let swamped = durable.is_swamped();
        if self.health != health {
            self.health = health;
            if self.index == 0 {
                self.store_alarm();
            }
        }
        self.open_gates();
        swamped
    }

    /// Raises the alarm of the store, or clears it; on shard 0.
    fn store_alarm(&mut self) {
        let Some(durable) = &self.node.durable else {
            return;
        };
        let summary = match self.health {
            // Behind: back-pressure at work, and over within moments.
            Health::Good | Health::Behind => None,
            Health::Full => {
                let status = durable.store.status();
                let why = match status.exceeds(self.settings.persistence.max_bytes) {
                    true => "persistence.max_bytes is reached".to_string(),
                    false => status.error.unwrap_or_default(),
                };
                Some(format!("{why}: publishers wait until there is room"))
            }
            Health::Failing => {
                let error = durable.store.status().error.unwrap_or_default();
                Some(format!(
                    "the store cannot write ({error}): publishers wait, and it is tried again"
                ))
            }
        };
        let severity = crate::alarm::Severity::Critical;
        self.set_alarm("store", severity, "Durable store", summary.as_deref());
    }
}

/// The journal of each shard, if there is a store.
pub(crate) fn journal_of(node: &Arc<Node>) -> Option<Box<Journal>> {
    node.durable.as_ref().map(|_| Box::new(Journal::new()))
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.commit();
    }
}
