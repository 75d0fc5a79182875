//! The benchmark's table.

use super::Run;
use super::peers::{Figure, Goal, Row};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// What the machine has to do beside the benchmark.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// When and where it was measured.
pub fn machine_lines(load_before: &str) -> String {
    format!(
        "- measured on {}\n- machine: {}\n- load average before: {load_before}; after: {}\n",
        date(),
        machine(),
        load_average()
    )
}

/// The part of the report about messages in memory, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load_before: &str) -> String {
    let mut out = machine_lines(load_before);
    let _ = writeln!(
        out,
        "- {reps} interleaved repetitions, medians; processor time of the broker's process\n"
    );
    out.push_str(
        "`bar` is the best of six peers, measured earlier on the same kind of machine and scaled by what the relay \
         (where it has no such row: mosquitto) needed then and needs now. `goal` is what this project set itself. \
         The relay parses nothing: it is the floor.\n\n\
         | row | what | emqttd | relay | mosquitto | × relay | bar (whose) | bar met | goal | goal met |\n\
         |---|---|--:|--:|--:|--:|--:|---|--:|---|\n",
    );
    for row in rows {
        for figure in row.figures {
            line(&mut out, row, figure, runs);
        }
    }
    notes(&mut out, rows, runs);
    out
}

fn line(out: &mut String, row: &Row, figure: &Figure, runs: &[Run]) {
    let of = |peer| median(runs, row.name, peer, figure.key);
    let (ours, relay, mosquitto) = (of("emqttd"), of("relay"), of("mosquitto"));
    let scale = match (figure.unit, figure.relay, relay, mosquitto) {
        ("B", ..) => Some(1.0),
        (_, Some(then), Some(now), _) => Some(now / then),
        (_, None, _, Some(now)) => Some(now / figure.mosquitto),
        _ => None,
    };
    let bar = scale.map(|scale| figure.best.0 * scale);
    let goal = match figure.goal {
        Goal::None => None,
        Goal::Relay(times) => relay.map(|relay| relay * times),
        Goal::Scaled(value) => scale.map(|scale| scale * value),
        Goal::Plain(value) => Some(value),
    };
    let ratio = ours
        .zip(relay)
        .map_or("–".into(), |(ours, relay)| format!("{:.2}", ours / relay));
    let cell = |value: Option<f64>| {
        value.map_or("–".into(), |value| {
            format!("{} {}", number(value), figure.unit)
        })
    };
    let _ = writeln!(
        out,
        "| {} | {} | {} | {} | {} | {ratio} | {} ({}) | {} | {} | {} |",
        row.name,
        figure.title,
        cell(ours),
        cell(relay),
        cell(mosquitto),
        cell(bar),
        figure.best.1,
        met(ours, bar),
        cell(goal),
        met(ours, goal),
    );
}

/// Whether the figure is within the limit, and by how much not.
pub fn met(ours: Option<f64>, limit: Option<f64>) -> String {
    match ours.zip(limit) {
        None => "–".into(),
        Some((ours, limit)) if ours <= limit => "yes".into(),
        Some((ours, limit)) => format!("no, {:+.0} %", (ours / limit - 1.0) * 100.0),
    }
}

/// What the table's columns cannot hold: losses, order, growth with the number of filters, failures.
fn notes(out: &mut String, rows: &[&Row], runs: &[Run]) {
    let few = median(runs, "wild-1k", "emqttd", "broker_us_msg");
    let many = median(runs, "wild-1m", "emqttd", "broker_us_msg");
    if let Some((few, many)) = few.zip(many) {
        let times = many / few;
        let _ = write!(
            out,
            "\n1,000,000 wildcard filters cost {times:.2} times what 1,000 cost (goal 1.2)"
        );
        let user = |row| median(runs, row, "emqttd", "broker_user_us").unwrap_or_default();
        let _ = writeln!(
            out,
            "; in user space {} and {} µs.",
            number(user("wild-1m")),
            number(user("wild-1k"))
        );
    }
    let mut seen = String::new();
    for row in rows {
        for peer in ["emqttd", "mosquitto"] {
            if let Some(faults) = faults(runs, row.name, peer) {
                let _ = writeln!(seen, "- {} {peer}: {faults}", row.name);
            }
        }
        if let Some(rate) = rate(runs, row.name) {
            let _ = writeln!(seen, "- {}: {rate}", row.name);
        }
    }
    failures(&mut seen, runs);
    if !seen.is_empty() {
        let _ = write!(out, "\nSeen by the generator:\n\n{seen}");
    }
}

/// Measurements that came to nothing.
pub fn failures(out: &mut String, runs: &[Run]) {
    for run in runs {
        if let Err(error) = &run.result {
            let _ = writeln!(out, "- {} {} failed: {error}", run.row, run.peer);
        }
    }
}

/// What went wrong in all runs of a row together; `None` when nothing did.
pub fn faults(runs: &[Run], row: &str, peer: &str) -> Option<String> {
    let sum = |key| values(runs, row, peer, key).iter().sum::<f64>();
    // The retained row tells how many arrived in each of its rounds.
    let missing = results(runs, row, peer).filter_map(|result| {
        let sent = result.get("messages")?.as_f64()?;
        let got = result.get("got")?.as_array()?.iter();
        let differences = got.filter_map(|got| Some((sent - got.as_f64()?).abs()));
        Some(differences.sum::<f64>())
    });
    let counts = [
        (sum("lost"), "lost"),
        (sum("gaps"), "out of order or missing"),
        (sum("bad"), "bad"),
        (sum("closed"), "connections closed"),
        (sum("errors"), "errors"),
        (missing.sum(), "retained messages not as sent"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0.0);
    let text: Vec<String> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!text.is_empty()).then(|| text.join(", "))
}

/// The results of a row's successful runs.
fn results<'a>(runs: &'a [Run], row: &str, peer: &str) -> impl Iterator<Item = &'a Value> {
    let runs = runs
        .iter()
        .filter(move |run| run.row == row && run.peer == peer);
    runs.filter_map(|run| run.result.as_ref().ok())
}

/// Our rate and latency beside those of the others.
fn rate(runs: &[Run], row: &str) -> Option<String> {
    let (key, unit) = [
        ("recv_s", "messages/s"),
        ("cycles_s", "cycles/s"),
        ("conn_s", "connections/s"),
    ]
    .into_iter()
    .find(|(key, _)| median(runs, row, "emqttd", key).is_some())?;
    let peers = ["emqttd", "relay", "mosquitto"]
        .into_iter()
        .filter_map(|peer| {
            let mut text = format!("{peer} {}", number(median(runs, row, peer, key)?));
            if let Some((p50, p99)) =
                median(runs, row, peer, "p50_us").zip(median(runs, row, peer, "p99_us"))
            {
                let _ = write!(text, " (p50 {} µs, p99 {} µs)", number(p50), number(p99));
            }
            Some(text)
        });
    Some(format!("{unit}: {}", peers.collect::<Vec<_>>().join(", ")))
}

pub fn values(runs: &[Run], row: &str, peer: &str, key: &str) -> Vec<f64> {
    results(runs, row, peer)
        .filter_map(|result| result.get(key)?.as_f64())
        .collect()
}

fn median(runs: &[Run], row: &str, peer: &str, key: &str) -> Option<f64> {
    let mut values = values(runs, row, peer, key);
    values.sort_by(f64::total_cmp);
    middle(&values)
}

/// The median of sorted values.
pub fn middle(values: &[f64]) -> Option<f64> {
    let (low, high) = (
        values.get(values.len().checked_sub(1)? / 2)?,
        values.get(values.len() / 2)?,
    );
    Some((low + high) / 2.0)
}

/// Three digits that count, and all of those before the point.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((&*text, String::new()), |(w, r)| (w, format!(".{r}")));
    let digits = whole.len();
    let grouped = whole
        .char_indices()
        .fold(String::new(), |mut all, (at, digit)| {
            if at > 0 && (digits - at) % 3 == 0 && digit.is_ascii_digit() {
                all.push(',');
            }
            all.push(digit);
            all
        });
    grouped + &rest
}

/// A time as a cell of a table.
pub fn micros(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{} µs", number(value)))
}

/// The least and the greatest of sorted values, as a cell.
pub fn spread(sorted: &[f64]) -> String {
    match sorted {
        [least, .., most] => format!("{} – {}", number(*least), number(*most)),
        _ => "–".into(),
    }
}

/// What our broker's runs of a row gave for a key, the least first.
pub fn sorted(runs: &[Run], row: &str, key: &str) -> Vec<f64> {
    let mut values = values(runs, row, "emqttd", key);
    values.sort_by(f64::total_cmp);
    values
}

fn date() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    output.map_or_else(
        |_| "an unknown day".into(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
    )
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        >> 20;
    format!(
        "{cores} cores of {model}, {memory} GiB, Linux {}; everything on loopback",
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(peer: &'static str, json: serde_json::Value) -> Run {
        Run {
            row: "p2p-q0-max",
            peer,
            result: Ok(json),
        }
    }

    #[test]
    fn figures_are_medians_scaled_by_the_relay() {
        let row = super::super::ROWS
            .iter()
            .find(|r| r.name == "p2p-q0-max")
            .expect("the row exists");
        let runs = [
            run("relay", serde_json::json!({"broker_us_msg": 0.146})),
            run(
                "emqttd",
                serde_json::json!({"broker_us_msg": 0.3, "lost": 0, "gaps": 0}),
            ),
            run(
                "emqttd",
                serde_json::json!({"broker_us_msg": 9.0, "lost": 2, "gaps": 1}),
            ),
            run(
                "emqttd",
                serde_json::json!({"broker_us_msg": 0.5, "lost": 0, "gaps": 0}),
            ),
        ];
        let text = markdown(&[row], &runs, 3, "0");
        // Twice the relay's earlier figure, so twice the bar of 0.54.
        assert!(
            text.contains("| 0.500 µs | 0.146 µs | – | 3.42 | 1.08 µs (flashmq) | yes |"),
            "{text}"
        );
        assert!(text.contains("| 0.394 µs | no, +27 % |"), "{text}");
        assert!(
            text.contains("emqttd: 2 lost, 1 out of order or missing\n"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0.073", "1.50", "19.5", "593", "1,148", "2,500,000"].map(str::to_owned),
            [0.073, 1.5, 19.5, 593.2, 1148.0, 2.5e6].map(number)
        );
    }
}
