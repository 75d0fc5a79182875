//! The texts of `recon`, line by line.

use crate::memory::Memory;
use emqttd_plugin_sdk::Holder;
use std::fmt::Write;

/// The most that was seen of the allocator's figures.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    used: u64,
    allocated: u64,
}

impl Peaks {
    pub fn see(&mut self, now: Memory) {
        self.used = self.used.max(now.used);
        self.allocated = self.allocated.max(now.allocated_most);
    }

    /// `recon memory`. As in recon the peaks of `usage` and `unused` are made of the other two.
    pub fn rows(&self, now: Memory) -> String {
        let of = |used: u64, allocated: u64| {
            let usage = used as f64 / allocated.max(1) as f64;
            let unused = allocated.saturating_sub(used).to_string();
            [
                ("usage", format!("{usage:.4}")),
                ("used", used.to_string()),
                ("allocated", allocated.to_string()),
                ("unused", unused),
            ]
        };
        let most = of(self.used, self.allocated);
        let pairs = of(now.used, now.allocated).into_iter().zip(most);
        pairs
            .map(|((key, current), (_, max))| {
                let (first, second) = (format!("{key}/current"), format!("{key}/max"));
                format!("{first:<20}: {current}\n{second:<20}: {max}\n")
            })
            .collect()
    }
}

/// EMQ's allocators that have a meaning here, and what of ours belongs to each.
const EMQ: [(&str, &[&str]); 4] = [
    // messages
    (
        "binary_alloc",
        &[
            "queues", "inflight", "groups", "mail", "retained", "unsynced",
        ],
    ),
    // buffers of sockets
    ("driver_alloc", &["inputs", "outputs"]),
    // processes: a client's connection and its session
    ("eheap_alloc", &["connections", "sessions"]),
    // tables
    ("ets_alloc", &["routes", "store"]),
];

/// Bytes by what holds them, now and at most, in the order of the first look.
#[derive(Debug, Default)]
pub(crate) struct Allocated(Vec<Row>);

#[derive(Debug)]
struct Row {
    name: String,
    now: u64,
    most: u64,
}

impl Allocated {
    /// Takes up what the broker says of itself.
    pub fn see(&mut self, held: &[(String, u64)]) {
        let sums = EMQ.iter().map(|(name, parts)| {
            let of_it = held
                .iter()
                .filter(|(part, _)| parts.contains(&part.as_str()));
            (*name, of_it.map(|(_, bytes)| bytes).sum())
        });
        let own = held.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        for (name, now) in sums.chain(own) {
            match self.0.iter_mut().find(|row| row.name == name) {
                Some(row) => {
                    row.now = now;
                    row.most = row.most.max(now);
                }
                None => self.0.push(Row {
                    name: name.into(),
                    now,
                    most: now,
                }),
            }
        }
    }

    /// `recon allocated`: all as they are now, then all peaks.
    pub fn rows(&self) -> String {
        let mut out = String::new();
        for row in &self.0 {
            let _ = writeln!(out, "{}/current: {}", row.name, row.now);
        }
        for row in &self.0 {
            let _ = writeln!(out, "{}/max: {}", row.name, row.most);
        }
        out
    }
}

/// `recon bin_leak`: who, the bytes that would be free without it, and where they are.
pub(crate) fn holders(holders: &[Holder]) -> String {
    let mut out = String::new();
    for holder in holders {
        let _ = writeln!(
            out,
            "{{<<\"{}\">>,-{},[{{queue,{}}},{{queue_bytes,{}}},{{inflight,{}}},{{output,{}}}]}}",
            escaped(&holder.clientid),
            holder.queued_bytes + holder.output,
            holder.queued,
            holder.queued_bytes,
            holder.inflight,
            holder.output,
        );
    }
    out
}

/// As Erlang writes it between quotes; a client id may hold anything.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_rows_of_memory() {
        let mut peaks = Peaks::default();
        peaks.see(Memory {
            used: 900,
            allocated: 1000,
            allocated_most: 1200,
        });
        let now = Memory {
            used: 300,
            allocated: 400,
            allocated_most: 1200,
        };
        peaks.see(now);
        assert_eq!(
            peaks.rows(now),
            "usage/current       : 0.7500\n\
             usage/max           : 0.7500\n\
             used/current        : 300\n\
             used/max            : 900\n\
             allocated/current   : 400\n\
             allocated/max       : 1200\n\
             unused/current      : 100\n\
             unused/max          : 300\n"
        );
    }

    #[test]
    fn rows_of_what_is_allocated() {
        let held = |queues, outputs| {
            [("queues", queues), ("inflight", 5), ("outputs", outputs)]
                .map(|(name, n)| (name.to_string(), n))
        };
        let mut allocated = Allocated::default();
        allocated.see(&held(100, 7));
        allocated.see(&held(20, 9));
        let rows = allocated.rows();
        let lines: Vec<&str> = rows.lines().collect();
        assert_eq!(
            lines,
            [
                "binary_alloc/current: 25",
                "driver_alloc/current: 9",
                "eheap_alloc/current: 0",
                "ets_alloc/current: 0",
                "queues/current: 20",
                "inflight/current: 5",
                "outputs/current: 9",
                "binary_alloc/max: 105",
                "driver_alloc/max: 9",
                "eheap_alloc/max: 0",
                "ets_alloc/max: 0",
                "queues/max: 100",
                "inflight/max: 5",
                "outputs/max: 9",
            ]
        );
    }

    #[test]
    fn rows_of_holders() {
        let holder = Holder {
            clientid: "a\"b\n".into(),
            queued: 3,
            queued_bytes: 300,
            inflight: 2,
            output: 40,
        };
        assert_eq!(
            holders(&[holder]),
            "{<<\"a\\\"b\\x{A}\">>,-340,[{queue,3},{queue_bytes,300},{inflight,2},{output,40}]}\n"
        );
        assert_eq!(holders(&[]), "");
    }
}
