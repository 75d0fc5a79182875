//! `recon node_stats`: what the node does, second by second.

use crate::process;
use emqttd_plugin_sdk::{Figures, LoopFigures};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Takes samples, until the plugin ends.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    ended: Mutex<bool>,
    ending: Condvar,
}

/// All that a sample is made of.
struct Look {
    at: Instant,
    figures: Figures,
    cpu: Duration,
    disk: (u64, u64),
}

impl Samples {
    /// Those who take samples stop at once.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ending.notify_all();
    }

    /// A line for each of `count` samples, `apart` from each other.
    pub fn take(&self, count: usize, apart: Duration, figures: impl Fn() -> Figures) -> String {
        let look = || Look {
            at: Instant::now(),
            figures: figures(),
            cpu: process::cpu(),
            disk: process::disk().unwrap_or_default(),
        };
        let begun = Instant::now();
        let mut last = look();
        let mut out = String::new();
        for n in 1..=count {
            if self.wait_until(begun + apart * n as u32) {
                break;
            }
            let now = look();
            let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
            out += &format!("{time} {}\n", line(&last, &now));
            last = now;
        }
        out
    }

    /// `true` when the plugin ends before that.
    fn wait_until(&self, end: Instant) -> bool {
        let guard = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end.saturating_duration_since(Instant::now());
        let waited = self.ending.wait_timeout_while(guard, left, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// `{[what is],[what happened since]}`, as recon puts it.
fn line(last: &Look, now: &Look) -> String {
    let sum = |of: fn(&LoopFigures) -> u64| -> u64 { now.figures.loops.iter().map(of).sum() };
    let held = now.figures.held.iter().map(|(_, bytes)| bytes);
    let (threads, running) = process::threads().unwrap_or_default();
    let is = [
        ("process_count", now.figures.tasks),
        ("threads", threads),
        ("run_queue", running),
        ("mail", sum(|l| l.mail)),
        ("connections", sum(|l| l.connections)),
        ("sessions", sum(|l| l.sessions)),
        ("memory_total", process::status("VmRSS").unwrap_or(0)),
        ("memory_held", held.sum()),
    ];
    let elapsed = now.at.saturating_duration_since(last.at);
    let before = |n: usize| last.figures.loops.get(n).cloned().unwrap_or_default();
    let loops = || now.figures.loops.iter().enumerate();
    let rounds = loops().map(|(n, l)| l.rounds.saturating_sub(before(n).rounds));
    let longest = now.figures.loops.iter().map(|l| l.longest).max();
    let happened = [
        (
            "bytes_in",
            now.figures.traffic.0.saturating_sub(last.figures.traffic.0),
        ),
        (
            "bytes_out",
            now.figures.traffic.1.saturating_sub(last.figures.traffic.1),
        ),
        ("disk_read", now.disk.0.saturating_sub(last.disk.0)),
        ("disk_written", now.disk.1.saturating_sub(last.disk.1)),
        ("rounds", rounds.sum()),
        ("longest_round", longest.unwrap_or(0)),
    ];
    let cpu = part(now.cpu.saturating_sub(last.cpu), elapsed);
    let usage: Vec<String> = loops()
        .map(|(n, l)| {
            let busy = Duration::from_micros(l.busy.saturating_sub(before(n).busy));
            format!("{{{},{}}}", n + 1, part(busy, elapsed))
        })
        .collect();
    format!(
        "{{[{}],[{},{{cpu,{cpu}}},{{scheduler_usage,[{}]}}]}}",
        terms(&is),
        terms(&happened),
        usage.join(",")
    )
}

fn terms(rows: &[(&str, u64)]) -> String {
    let rows: Vec<String> = rows.iter().map(|(k, v)| format!("{{{k},{v}}}")).collect();
    rows.join(",")
}

/// The part of a time: 1 is all of it.
fn part(of: Duration, whole: Duration) -> String {
    format!("{:.4}", of.as_secs_f64() / whole.as_secs_f64().max(1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn figures(n: u64) -> Figures {
        Figures {
            loops: vec![
                LoopFigures {
                    connections: 3,
                    sessions: 4,
                    rounds: 10 * n,
                    busy: 500_000 * n,
                    longest: 70 + n,
                    mail: 5,
                },
                LoopFigures::default(),
            ],
            held: vec![("a".into(), 30), ("b".into(), 12)],
            traffic: (100 * n, 1000 * n),
            tasks: 6,
            uptime: 0,
        }
    }

    #[test]
    fn a_line_has_what_is_and_what_happened() {
        let look = |n: u64| Look {
            at: Instant::now(),
            figures: figures(n),
            cpu: Duration::from_millis(250 * n),
            disk: (n, 10 * n),
        };
        let last = look(1);
        let mut now = look(2);
        now.at = last.at + Duration::from_secs(1);
        let line = line(&last, &now);
        let (is, happened) = line.split_once("],[").unwrap_or_default();
        assert!(is.starts_with("{[{process_count,6},{threads,"), "{line}");
        assert!(
            is.contains("{mail,5},{connections,3},{sessions,4},{memory_total,"),
            "{line}"
        );
        assert!(is.ends_with("{memory_held,42}"), "{line}");
        assert_eq!(
            happened,
            "{bytes_in,100},{bytes_out,1000},{disk_read,1},{disk_written,10},{rounds,10},\
             {longest_round,72},{cpu,0.2500},{scheduler_usage,[{1,0.5000},{2,0.0000}]}]}"
        );
    }

    #[test]
    fn samples_are_taken_in_time() {
        let asked = AtomicU64::new(0);
        let begun = Instant::now();
        let samples = Samples::default();
        let text = samples.take(4, Duration::from_millis(30), || {
            figures(asked.fetch_add(1, Ordering::Relaxed))
        });
        let took = begun.elapsed();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(asked.into_inner(), 5);
        assert!(took >= Duration::from_millis(120), "{took:?}");
    }

    #[test]
    fn the_end_of_the_plugin_ends_them() {
        let samples = Samples::default();
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| samples.take(1000, Duration::from_secs(1), || figures(1)));
            samples.end();
            let text = taking.join().unwrap_or_default();
            assert!(text.lines().count() < 1000);
        });
    }
}
