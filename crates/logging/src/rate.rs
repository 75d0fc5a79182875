//! `log.error.messages_per_second`.

use emqttd_config::LogLevel;

/// Warnings, and errors with all above, are limited apart, so that a flood of complaints about
/// clients does not hide the disk that fails. What is less than a warning is written only where
/// somebody asked for it, and is not limited.
const CLASSES: usize = 2;

fn class(severity: LogLevel) -> Option<usize> {
    match severity {
        LogLevel::Debug | LogLevel::Info | LogLevel::Notice | LogLevel::None => None,
        LogLevel::Warning => Some(0),
        LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => Some(1),
    }
}

/// Counts messages in the second they belong to.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Messages of a class in a second; 0 = no limit.
    limit: u32,
    second: i64,
    counts: [u32; CLASSES],
    dropped: u64,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Write,
    Drop,
    /// Dropped, as the first since the drops were last reported.
    DropFirst,
}

impl Rate {
    pub(crate) fn new(limit: u32) -> Rate {
        Rate {
            limit,
            second: 0,
            counts: [0; CLASSES],
            dropped: 0,
        }
    }

    pub(crate) fn admit(&mut self, severity: LogLevel, second: i64) -> Admission {
        let Some(class) = class(severity).filter(|_| self.limit > 0) else {
            return Admission::Write;
        };
        if self.second != second {
            self.second = second;
            self.counts = [0; CLASSES];
        }
        if self.counts[class] < self.limit {
            self.counts[class] += 1;
            return Admission::Write;
        }
        self.dropped += 1;
        if self.dropped == 1 {
            Admission::DropFirst
        } else {
            Admission::Drop
        }
    }

    /// How many were dropped since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::Admission::{Drop, DropFirst, Write};
    use super::*;

    #[test]
    fn limits_each_second_and_class() {
        let mut rate = Rate::new(2);
        let admitted =
            |rate: &mut Rate, severity, second| [0; 4].map(|_| rate.admit(severity, second));
        assert_eq!(
            admitted(&mut rate, LogLevel::Warning, 7),
            [Write, Write, DropFirst, Drop]
        );
        assert_eq!(
            admitted(&mut rate, LogLevel::Error, 7),
            [Write, Write, Drop, Drop]
        );
        assert_eq!(rate.admit(LogLevel::Emergency, 7), Drop);
        assert_eq!(admitted(&mut rate, LogLevel::Info, 7), [Write; 4]);
        assert_eq!(rate.take_dropped(), 5);
        assert_eq!(
            admitted(&mut rate, LogLevel::Error, 8),
            [Write, Write, DropFirst, Drop]
        );
        assert_eq!(rate.take_dropped(), 2);
        assert_eq!(rate.take_dropped(), 0);
    }

    #[test]
    fn zero_is_no_limit() {
        let mut rate = Rate::new(0);
        assert!((0..5000).all(|_| rate.admit(LogLevel::Error, 1) == Write));
    }
}
