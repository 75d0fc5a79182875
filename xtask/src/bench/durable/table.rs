//! The table of the durable rows.

use super::rows::{Figure, Goal, Row};
use super::{Bench, FAULTS};
use crate::bench::Run;
use crate::bench::report::{failures, machine_lines, met, middle, number, values};
use std::fmt::Write;
use std::path::Path;

/// The part of the report, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load: &str, bench: &Bench) -> String {
    let mut out = machine_lines(load);
    let sync = bench.sync.as_deref().unwrap_or("always");
    let _ = writeln!(
        out,
        "- `persistence.sync = {sync}`; the store and the floor on {}\n\
         - {reps} interleaved repetitions: median, and least to most\n",
        file_system(&bench.scratch)
    );
    out.push_str(
        "An acknowledgement says that the message is on the disk. The floor writes and syncs, with no broker around it, \
         as many bytes at a time as the store did, in a file allocated beforehand on the same file system, right after.\n\n\
         | row | what | emqttd | least to most | goal | goal met |\n|---|---|--:|--:|--:|---|\n",
    );
    for row in rows {
        for figure in row.figures {
            line(&mut out, row, figure, runs);
        }
    }
    let mut notes = String::new();
    for row in rows {
        let wrong = FAULTS.iter().filter_map(|key| {
            let values = values(runs, row.name, "emqttd", key);
            let sum: f64 = values.iter().map(|v| v.abs()).sum();
            (sum > 0.0).then(|| format!("{sum} {key}"))
        });
        let wrong: Vec<String> = wrong.collect();
        if !wrong.is_empty() {
            let _ = writeln!(notes, "- {}: {}", row.name, wrong.join(", "));
        }
    }
    failures(&mut notes, runs);
    let silent = |row: &&Row| !values(runs, row.name, "emqttd", "store_silent").is_empty();
    if rows.iter().any(silent) {
        notes.push_str(
            "- **`emqttd_ctl store` told of no syncs: nothing here is known to be on a disk, and the floor is not known.**\n",
        );
    }
    if notes.is_empty() {
        notes.push_str("Every message arrived once and in order.\n");
    }
    let _ = write!(out, "\n{notes}");
    out
}

fn line(out: &mut String, row: &Row, figure: &Figure, runs: &[Run]) {
    let mut values = values(runs, row.name, "emqttd", figure.key);
    values.sort_by(f64::total_cmp);
    let ours = middle(&values);
    let cell = |value: f64| {
        let text = format!("{} {}", number(value), figure.unit);
        text.trim_end().to_owned()
    };
    let spread = match values[..] {
        [least, .., most] => format!("{} – {}", number(least), number(most)),
        _ => "–".into(),
    };
    let (goal, verdict) = match figure.goal {
        Goal::None => ("–".into(), "–".into()),
        Goal::AtMost(limit) => (format!("≤ {}", cell(limit)), met(ours, Some(limit))),
        Goal::AtLeast(limit) => {
            let verdict = match ours {
                None => "–".into(),
                Some(ours) if ours >= limit => "yes".into(),
                Some(ours) => format!("no, {:+.0} %", (ours / limit - 1.0) * 100.0),
            };
            (format!("≥ {}", cell(limit)), verdict)
        }
    };
    let _ = writeln!(
        out,
        "| {} | {} | {} | {spread} | {goal} | {verdict} |",
        row.name,
        figure.title,
        ours.map_or("–".into(), cell),
    );
}

/// The type of the file system that `dir` is on.
fn file_system(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let on = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        dir.starts_with(place).then_some((place.len(), kind))
    });
    // Of mounts on one place the last is on top.
    let nearest = on.max_by_key(|(length, _)| *length);
    nearest.map_or("an unknown file system".into(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_are_upper_and_lower_bounds() {
        let row = |name| {
            let rows = crate::bench::durable::ROWS;
            rows.iter()
                .find(|r| r.name == name)
                .expect("the row exists")
        };
        let rows = [row("durable-q1"), row("durable-q1-10k")];
        let run = |row, json| Run {
            row,
            peer: "emqttd",
            result: Ok(json),
        };
        let runs = [
            run(
                "durable-q1",
                json!({"ack_s": 90_000.0, "floor_ratio": 0.5, "lost": 0}),
            ),
            run(
                "durable-q1",
                json!({"ack_s": 80_000.0, "floor_ratio": 0.7, "lost": 0}),
            ),
            run(
                "durable-q1",
                json!({"ack_s": 70_000.0, "floor_ratio": 0.6, "lost": -3}),
            ),
            run(
                "durable-q1-10k",
                json!({"p99_of_p99": 6.0, "p99_of_mean": 3.0}),
            ),
        ];
        let programs = crate::bench::server::Programs::default();
        let bench = Bench {
            programs: &programs,
            scratch: "/".into(),
            duration: 1.0,
            warmup: 0.0,
            sync: None,
            sessions: 1,
        };
        let text = markdown(&rows, &runs, 3, "0", &bench);
        for part in [
            "| 80,000 msg/s | 70,000 – 90,000 | ≥ 100,000 msg/s | no, -20 % |",
            "| … of the floor | 0.600 × | 0.500 – 0.700 | ≥ 0.500 × | yes |",
            "| PUBACK p99 / fdatasync p99 | 6.00 × | – | ≤ 3.00 × | no, +100 % |",
            "| PUBACK p99 / fdatasync mean | 3.00 × | – | ≤ 3.00 × | yes |",
            "\n- durable-q1: 3 lost\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
