//! How long syncs take, over the last seconds.

use std::time::{Duration, Instant};

/// Steps per doubling of time.
const STEPS: u32 = 8;
const BUCKETS: usize = 32 * STEPS as usize;
/// Values older than twice this are forgotten.
const WINDOW: Duration = Duration::from_secs(30);

/// Two halves of a histogram with logarithmic buckets of microseconds: one filling, one of the window before.
#[derive(Debug)]
pub(crate) struct Latency {
    now: Box<[u32; BUCKETS]>,
    before: Box<[u32; BUCKETS]>,
    since: Instant,
}

fn bucket(micros: u64) -> usize {
    let value = micros.clamp(1, u64::from(u32::MAX)) as u32;
    let octave = value.ilog2();
    // the three bits below the highest one
    let step = if octave >= 3 {
        (value >> (octave - 3)) & 7
    } else {
        (value << (3 - octave)) & 7
    };
    (octave * STEPS + step) as usize
}

/// The largest time that falls into a bucket.
fn upper(bucket: usize) -> Duration {
    let (octave, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    Duration::from_nanos((1000u64 << octave) / 8 * u64::from(9 + step))
}

impl Latency {
    pub fn new(now: Instant) -> Latency {
        Latency {
            now: Box::new([0; BUCKETS]),
            before: Box::new([0; BUCKETS]),
            since: now,
        }
    }

    pub fn add(&mut self, took: Duration, now: Instant) {
        self.turn(now);
        let count = &mut self.now[bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))];
        *count = count.saturating_add(1);
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= WINDOW {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            if age >= 2 * WINDOW {
                self.before.fill(0);
            }
            self.since = now;
        }
    }

    /// The time that `permille` of 1000 did not exceed, to an eighth; zero when there were none.
    pub fn quantile(&mut self, permille: u64, now: Instant) -> Duration {
        self.turn(now);
        let count = |i: usize| u64::from(self.now[i]) + u64::from(self.before[i]);
        let total: u64 = (0..BUCKETS).map(count).sum();
        let wanted = (total * permille).div_ceil(1000);
        let mut seen = 0;
        for i in 0..BUCKETS {
            seen += count(i);
            if seen >= wanted && seen > 0 {
                return upper(i);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_an_eighth_and_old_values_are_forgotten() {
        let start = Instant::now();
        let mut latency = Latency::new(start);
        assert_eq!(latency.quantile(500, start), Duration::ZERO);
        for i in 1..=1000 {
            latency.add(Duration::from_micros(i), start);
        }
        let near = |got: Duration, want: u64| {
            let got = got.as_micros() as u64;
            assert!(
                got >= want && got <= want + want / 8 + 1,
                "{got} for {want}"
            );
        };
        near(latency.quantile(500, start), 500);
        near(latency.quantile(990, start), 990);
        latency.add(Duration::from_secs(100_000), start);
        assert!(latency.quantile(1000, start) > Duration::from_secs(4000));
        assert_eq!(latency.quantile(500, start + 2 * WINDOW), Duration::ZERO);
    }
}
