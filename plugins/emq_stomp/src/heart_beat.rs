//! Heart-beats: the client shows that it lives, and is shown that the server does.

use std::time::{Duration, Instant};

/// Shortest interval that is agreed to: a client that asks for less is told this.
const SHORTEST: u32 = 100;

/// What silence beyond twice the interval is tolerated at the least, counted from one interval on: a slow network is
/// not a dead client.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client says in `heart-beat`, milliseconds; 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// it can send one each so long
    pub sends: u32,
    /// it wants one each so long
    pub wants: u32,
}

impl Offer {
    /// Two numbers with a comma.
    pub fn parse(text: &str) -> Option<Offer> {
        let (sends, wants) = text.split_once(',')?;
        let number = |text: &str| {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        Some(Offer {
            sends: number(sends)?,
            wants: number(wants)?,
        })
    }

    /// What the server answers: what it sends, what it wants.
    pub fn answer(self) -> (u32, u32) {
        let agreed = |milliseconds: u32| match milliseconds {
            0 => 0,
            some => some.max(SHORTEST),
        };
        (agreed(self.wants), agreed(self.sends))
    }
}

/// The heart-beats of one connection.
#[derive(Debug)]
pub(crate) struct HeartBeat {
    /// the client is lost after so long a silence
    patience: Option<Duration>,
    /// after so long without anything else a line feed is sent
    interval: Option<Duration>,
    received: Instant,
    sent: Instant,
}

impl HeartBeat {
    /// None in either direction.
    pub fn none(now: Instant) -> HeartBeat {
        HeartBeat {
            patience: None,
            interval: None,
            received: now,
            sent: now,
        }
    }

    /// As was agreed: the server sends, and wants, milliseconds.
    pub fn agreed((sends, wants): (u32, u32), now: Instant) -> HeartBeat {
        let interval = |milliseconds: u32| {
            let some = milliseconds > 0;
            some.then(|| Duration::from_millis(milliseconds.into()))
        };
        HeartBeat {
            patience: interval(wants).map(|wanted| {
                let slack = (wanted / 4).min(Duration::from_millis(500));
                (wanted * 2).max(wanted + PATIENCE) + slack
            }),
            // A little early, so that it is there in time.
            interval: interval(sends).map(|sent| sent - (sent / 20).min(Duration::from_millis(50))),
            received: now,
            sent: now,
        }
    }

    /// Something has come.
    pub fn received(&mut self, now: Instant) {
        self.received = now;
    }

    /// Something has been sent.
    pub fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Whether the client has been silent for too long.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.patience
            .is_some_and(|patience| now.saturating_duration_since(self.received) >= patience)
    }

    /// Whether a line feed is to be sent.
    pub fn is_due(&self, now: Instant) -> bool {
        self.interval
            .is_some_and(|interval| now.saturating_duration_since(self.sent) >= interval)
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let lost = self.patience.map(|patience| self.received + patience);
        let due = self.interval.map(|interval| self.sent + interval);
        lost.into_iter().chain(due).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn offers() {
        let offer = |sends, wants| Some(Offer { sends, wants });
        assert_eq!(Offer::parse("0,0"), offer(0, 0));
        assert_eq!(Offer::parse("1000, 2000"), offer(1000, 2000));
        assert_eq!(Offer::parse("99999999999,1"), offer(u32::MAX, 1));
        for wrong in ["", "1", "1,", ",1", "-1,2", "1,2,3", "a,b", "1.5,2"] {
            assert_eq!(Offer::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Offer::parse("1000,2000").unwrap().answer(), (2000, 1000));
        assert_eq!(Offer::parse("1,0").unwrap().answer(), (0, 100));
    }

    #[test]
    fn a_silent_client_is_lost_after_two_intervals_and_a_little() {
        let start = Instant::now();
        let mut beat = HeartBeat::agreed((0, 1000), start);
        assert!(!beat.is_lost(start + ms(2000)));
        assert!(beat.is_lost(start + ms(2250)));
        assert_eq!(beat.deadline(), Some(start + ms(2250)));
        beat.received(start + ms(2200));
        assert!(!beat.is_lost(start + ms(4400)));
        assert!(!beat.is_due(start + ms(100_000)));
        // A network may be slower than a short interval.
        let quick = HeartBeat::agreed((0, 100), start);
        assert!(!quick.is_lost(start + ms(1100)));
        assert!(quick.is_lost(start + ms(1125)));
    }

    #[test]
    fn a_line_feed_is_due_when_nothing_else_was_sent() {
        let start = Instant::now();
        let mut beat = HeartBeat::agreed((2000, 0), start);
        assert!(!beat.is_due(start + ms(1900)));
        assert!(beat.is_due(start + ms(1950)));
        beat.sent(start + ms(1000));
        assert!(!beat.is_due(start + ms(2900)));
        assert_eq!(beat.deadline(), Some(start + ms(2950)));
        assert!(!beat.is_lost(start + ms(100_000)));
    }

    #[test]
    fn none_is_none() {
        let start = Instant::now();
        let beat = HeartBeat::none(start);
        assert_eq!(beat.deadline(), None);
        let nothing = HeartBeat::agreed((0, 0), start);
        assert_eq!(nothing.deadline(), None);
        let longest = HeartBeat::agreed((u32::MAX, u32::MAX), start);
        assert!(longest.deadline().is_some());
    }
}
