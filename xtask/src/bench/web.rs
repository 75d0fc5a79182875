//! Rows about publishing beside a web hook: how long a message takes from its publisher to its subscriber, at a fixed
//! rate, while the hook's target answers or hangs; beside the same without the plugin, in the same run.

use super::report::{failures, machine_lines, met, micros, middle, sorted, spread};
use super::server::Extra;
use super::{OneToOne, Run};
use crate::hook_soak::Sink;
use crate::node;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Messages a second, at QoS 1.
const RATE: &str = "10000";
/// With a target that hangs, the 99th of a hundred may take so many times what it takes without the plugin: what is
/// beyond is more than two runs of the same row differ by.
const TIMES: f64 = 1.25;

/// One row.
pub struct Row {
    pub name: &'static str,
    title: &'static str,
    hook: Option<Hook>,
}

/// The plugin.
struct Hook {
    /// what the target does, as `mqload sink` has it
    target: &'static str,
    keys: &'static str,
}

/// The row that the others are compared with.
const NONE: &str = "web-none";

pub const ROWS: &[Row] = &[
    Row {
        name: NONE,
        title: "no plugin",
        hook: None,
    },
    Row {
        name: "web-answers",
        title: "the target answers; requests of 100 events",
        hook: Some(Hook {
            target: "serve",
            keys: "",
        }),
    },
    Row {
        name: "web-hangs",
        title: "the target hangs, and the queue is full: the oldest is dropped",
        hook: Some(Hook {
            target: "hang",
            keys: "web.hook.queue.max_count = 1000\n",
        }),
    },
    Row {
        name: "web-hangs-spill",
        title: "the target hangs, and the queue is full: the newest goes to disk",
        hook: Some(Hook {
            target: "hang",
            keys: "web.hook.queue.max_count = 1000\nweb.hook.on_full = spill\n",
        }),
    },
];

impl Row {
    /// Starts the target and the broker, runs the generator, and stops them.
    pub(super) fn run(&self, bench: &OneToOne<'_>) -> Result<Map<String, Value>, String> {
        let mut extra = Extra::default();
        let mut sink = None;
        if let Some(hook) = &self.hook {
            let port = node::free_port()?;
            let mut target = Sink::start(&bench.programs.mqload, port)?;
            target.tell(hook.target)?;
            sink = Some(target);
            let keys = format!(
                "web.hook.api.url = http://127.0.0.1:{port}\n\
                 web.hook.rule.message.publish.1 = {{\"action\": \"on_message_publish\"}}\n\
                 web.hook.encode_payload = base64\nweb.hook.batch_size = 100\n{}",
                hook.keys
            );
            extra.plugin = Some(("emq_web_hook", keys));
        }
        let mut broker = bench.start(&extra)?;
        let figures =
            bench.measure(&mut broker, &["--pairs", "8", "--qos", "1", "--rate", RATE])?;
        // A plugin that posts nothing would be measured as one that costs nothing.
        if let Some(sink) = &mut sink {
            let arrived = sink.report()?;
            if arrived.get("unique").and_then(Value::as_i64).unwrap_or(0) == 0 {
                return Err(format!("nothing has been posted: {}", broker.said()));
            }
        }
        Ok(figures)
    }
}

/// The part of the report, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load: &str) -> String {
    let mut out = machine_lines(load);
    let _ = writeln!(
        out,
        "- {reps} interleaved repetitions, medians\n\n\
         {RATE} messages a second at QoS 1 from 8 publishers to a subscriber each, every one of them an event; payloads \
         of 64 bytes. The time is that from publisher to subscriber; the processor time is that of the broker's process \
         with the plugin in it: posting takes some of it. A target that hangs may change nothing: the goal is what it takes \
         without the plugin, and a quarter.\n\n\
         | row | | p50 | p99 | least to most | goal | goal met | processor time of a message |\n\
         |---|---|--:|--:|--:|--:|---|--:|"
    );
    let of = |row: &str, key| sorted(runs, row, key);
    let without = middle(&of(NONE, "p99_us"));
    for row in rows {
        let p99 = of(row.name, "p99_us");
        let hangs = row.hook.as_ref().is_some_and(|hook| hook.target == "hang");
        let goal = without.filter(|_| hangs).map(|us| TIMES * us);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.title,
            micros(middle(&of(row.name, "p50_us"))),
            micros(middle(&p99)),
            spread(&p99),
            micros(goal),
            met(middle(&p99), goal),
            micros(middle(&of(row.name, "broker_us_msg"))),
        );
    }
    let mut notes = String::new();
    failures(&mut notes, runs);
    let _ = write!(out, "\n{notes}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hanging_target_is_compared_with_no_plugin() {
        let run = |row, us: f64| Run {
            row,
            peer: "emqttd",
            result: Ok(json!({"p50_us": us / 4.0, "p99_us": us, "broker_us_msg": 9.0})),
        };
        let runs = [
            run(NONE, 400.0),
            run("web-hangs", 480.0),
            run("web-answers", 1000.0),
        ];
        let rows: Vec<&Row> = ROWS.iter().collect();
        let text = markdown(&rows, &runs, 1, "0");
        for line in [
            "| web-none | no plugin | 100 µs | 400 µs | – | – | – | 9.00 µs |",
            "| 120 µs | 480 µs | – | 500 µs | yes | 9.00 µs |",
            "| 250 µs | 1,000 µs | – | – | – | 9.00 µs |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
