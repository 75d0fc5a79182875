//! What is done at COMMIT.

use super::deliveries::Verdict;
use emqttd_plugin_sdk::virtual_client::Outgoing;
use std::time::{Duration, Instant};

/// Bytes of all transactions of a connection that are open.
pub(crate) const BYTES: usize = 1024 * 1024;
/// Bytes that a frame counts for beside its topic and body.
const FRAME: usize = 128;

/// A frame that waits for COMMIT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// SEND; `asked` = its quality of service was asked for
    Send { message: Outgoing, asked: bool },
    /// ACK or NACK of the message with that number
    Settle { number: u64, verdict: Verdict },
}

impl Step {
    fn size(&self) -> usize {
        match self {
            Step::Send { message, .. } => {
                let about = message.about.as_ref().map_or(0, |about| about.size());
                FRAME + message.topic.len() + message.payload.len() + about
            }
            Step::Settle { .. } => FRAME,
        }
    }
}

/// Why something cannot be done. The texts of those that the original knew are its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Started,
    NotFound,
    TooMany(usize),
    TooLarge,
}

impl Refusal {
    /// The sentence for the client.
    pub fn text(&self, name: &str) -> String {
        match self {
            Refusal::Started => format!("Transaction {name} already started"),
            Refusal::NotFound => format!("Transaction {name} not found"),
            Refusal::TooMany(most) => {
                format!("More transactions at the same time than max_transactions = {most}")
            }
            Refusal::TooLarge => {
                format!("More than {BYTES} bytes of open transactions wait for COMMIT")
            }
        }
    }
}

/// Transactions of a connection that are open, in the order in which they were opened.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: Vec<Transaction>,
    bytes: usize,
}

#[derive(Debug)]
struct Transaction {
    name: String,
    opened: Instant,
    steps: Vec<Step>,
    bytes: usize,
}

impl Transactions {
    /// BEGIN.
    pub fn begin(&mut self, name: &str, most: usize, now: Instant) -> Result<(), Refusal> {
        if self.is_open(name) {
            return Err(Refusal::Started);
        }
        if self.open.len() >= most {
            return Err(Refusal::TooMany(most));
        }
        let bytes = FRAME + name.len();
        if self.bytes + bytes > BYTES {
            return Err(Refusal::TooLarge);
        }
        self.bytes += bytes;
        self.open.push(Transaction {
            name: name.into(),
            opened: now,
            steps: Vec::new(),
            bytes,
        });
        Ok(())
    }

    /// Whether that one is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|open| open.name == name)
    }

    /// A frame with a `transaction` header.
    pub fn add(&mut self, name: &str, step: Step) -> Result<(), Refusal> {
        let mut open = self.open.iter_mut();
        let transaction = open
            .find(|open| open.name == name)
            .ok_or(Refusal::NotFound)?;
        let bytes = step.size();
        if self.bytes + bytes > BYTES {
            return Err(Refusal::TooLarge);
        }
        self.bytes += bytes;
        transaction.bytes += bytes;
        transaction.steps.push(step);
        Ok(())
    }

    /// COMMIT and ABORT: it is over, and these were its frames.
    pub fn end(&mut self, name: &str) -> Result<Vec<Step>, Refusal> {
        let found = self.open.iter().position(|open| open.name == name);
        let transaction = self.open.remove(found.ok_or(Refusal::NotFound)?);
        self.bytes -= transaction.bytes;
        Ok(transaction.steps)
    }

    /// Aborts those that were opened too long ago; how many.
    pub fn expire(&mut self, now: Instant, life: Duration) -> usize {
        let old = |open: &Transaction| now.saturating_duration_since(open.opened) >= life;
        let count = self.open.iter().take_while(|open| old(open)).count();
        for transaction in self.open.drain(..count) {
            self.bytes -= transaction.bytes;
        }
        count
    }

    /// When the oldest is to be aborted.
    pub fn deadline(&self, life: Duration) -> Option<Instant> {
        self.open.first()?.opened.checked_add(life)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn send(bytes: usize) -> Step {
        Step::Send {
            message: Outgoing::new("t", vec![b'x'; bytes]),
            asked: false,
        }
    }

    #[test]
    fn frames_come_out_in_their_order_once() {
        let now = Instant::now();
        let mut all = Transactions::default();
        all.begin("a", 2, now).unwrap();
        all.begin("b", 2, now).unwrap();
        assert_eq!(all.begin("a", 2, now), Err(Refusal::Started));
        assert_eq!(all.begin("c", 2, now), Err(Refusal::TooMany(2)));
        all.add("a", send(1)).unwrap();
        all.add("b", send(9)).unwrap();
        all.add("a", send(2)).unwrap();
        assert_eq!(all.add("c", send(1)), Err(Refusal::NotFound));
        assert_eq!(all.end("a").unwrap(), [send(1), send(2)]);
        assert_eq!(all.end("a"), Err(Refusal::NotFound));
        assert_eq!(all.end("b").unwrap(), [send(9)]);
        assert_eq!(all.bytes, 0);
    }

    #[test]
    fn bytes_are_bounded_over_all_of_them() {
        let now = Instant::now();
        let mut all = Transactions::default();
        all.begin("a", 2, now).unwrap();
        all.begin("b", 2, now).unwrap();
        all.add("a", send(BYTES / 2)).unwrap();
        assert_eq!(all.add("b", send(BYTES / 2)), Err(Refusal::TooLarge));
        all.end("a").unwrap();
        all.add("b", send(BYTES / 2)).unwrap();
    }

    #[test]
    fn the_old_ones_are_aborted() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut all = Transactions::default();
        assert_eq!(all.deadline(second), None);
        all.begin("a", 2, start).unwrap();
        all.begin("b", 2, start + second).unwrap();
        assert_eq!(all.deadline(second * 2), Some(start + second * 2));
        assert_eq!(all.expire(start + second, second * 2), 0);
        assert_eq!(all.expire(start + second * 2, second * 2), 1);
        assert_eq!(all.end("a"), Err(Refusal::NotFound));
        assert_eq!(all.end("b").unwrap(), []);
    }
}
