//! The tables of the rows about logins.

use super::{Bench, Kind, Row};
use crate::bench::Run;
use crate::bench::report::{failures, machine_lines, middle, number, values};
use std::fmt::Write;

/// The part of the report, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load: &str, bench: &Bench) -> String {
    let mut out = machine_lines(load);
    let _ = writeln!(
        out,
        "- {reps} interleaved repetitions, medians; server, generator and broker on the same machine\n"
    );
    let storms: Vec<&&Row> = rows
        .iter()
        .filter(|row| matches!(row.kind, Kind::Storm(..)))
        .collect();
    if !storms.is_empty() {
        let _ = writeln!(
            out,
            "{} new clients, 64 at a time, each asked for with the queries that EMQ shipped (password, superuser) through \
             a pool as shipped; from the begin of the connect to CONNACK. Processor time is the broker's, hashing \
             included, not the server's. bcrypt has cost 10, and there are 16 at a time, since they wait for the hashing; \
             that is remembered, so that they cost little when they come again.\n\n\
             | row | who is asked | logins a second | p50 | p99 | processor time of a login | least to most |\n\
             |---|---|--:|--:|--:|--:|--:|",
            bench.clients
        );
        for row in storms {
            storm(&mut out, row, "", row.title, runs);
            if !sorted(row, "again_login_s", runs).is_empty() {
                storm(&mut out, row, "again_", "… the same clients again", runs);
            }
        }
    }
    let publishes: Vec<&&Row> = rows
        .iter()
        .filter(|row| matches!(row.kind, Kind::Publish(_)))
        .collect();
    if !publishes.is_empty() {
        out.push_str(
            "\nQoS 0 one to one in a closed loop, by clients whose rules a server gave; the decision is cached after \
             the first message.\n\n\
             | row | | processor time of a message | least to most |\n|---|---|--:|--:|\n",
        );
        for row in publishes {
            let _ = writeln!(
                out,
                "| {} | {} | {} µs | {} |",
                row.name,
                row.title,
                cell(row, "broker_us_msg", runs),
                spread(row, "broker_us_msg", runs)
            );
        }
    }
    let mut notes = String::new();
    failures(&mut notes, runs);
    let _ = write!(out, "\n{notes}");
    out
}

/// A line of the table of storms.
fn storm(out: &mut String, row: &Row, prefix: &str, title: &str, runs: &[Run]) {
    let of = |key| cell(row, &format!("{prefix}{key}"), runs);
    let cpu = format!("{prefix}broker_us_login");
    let _ = writeln!(
        out,
        "| {} | {title} | {} | {} ms | {} ms | {} µs | {} |",
        row.name,
        of("login_s"),
        of("p50_ms"),
        of("p99_ms"),
        cell(row, &cpu, runs),
        spread(row, &cpu, runs)
    );
}

fn sorted(row: &Row, key: &str, runs: &[Run]) -> Vec<f64> {
    let mut values = values(runs, row.name, "emqttd", key);
    values.sort_by(f64::total_cmp);
    values
}

fn cell(row: &Row, key: &str, runs: &[Run]) -> String {
    middle(&sorted(row, key, runs)).map_or("–".into(), number)
}

fn spread(row: &Row, key: &str, runs: &[Run]) -> String {
    match sorted(row, key, runs)[..] {
        [least, .., most] => format!("{} – {}", number(least), number(most)),
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::logins::ROWS;
    use serde_json::json;
    use std::path::PathBuf;

    #[test]
    fn rows_are_lines_of_two_tables() {
        let row = |name| {
            ROWS.iter()
                .find(|r| r.name == name)
                .expect("the row exists")
        };
        let rows = [row("login-mysql"), row("acl-none"), row("login-redis")];
        let run = |row, result| Run {
            row,
            peer: "emqttd",
            result,
        };
        let login = |us: f64| {
            Ok(json!({"login_s": 2500.0, "p50_ms": 20.0, "p99_ms": 41.0, "broker_us_login": us}))
        };
        let runs = [
            run("login-mysql", login(150.0)),
            run("login-mysql", login(120.0)),
            run("login-mysql", login(130.0)),
            run("login-redis", Err("refused: 3".into())),
            run("acl-none", Ok(json!({"broker_us_msg": 0.19}))),
        ];
        let programs = crate::bench::server::Programs::default();
        let bench = Bench {
            programs: &programs,
            home: PathBuf::new(),
            clients: 2000,
            duration: 1.0,
            warmup: 0.0,
        };
        let text = markdown(&rows, &runs, 3, "0", &bench);
        for part in [
            "| login-mysql | MariaDB, SHA-256 | 2,500 | 20.0 ms | 41.0 ms | 130 µs | 120 – 150 |",
            "| login-redis | Redis, SHA-256 | – | – ms |",
            "| acl-none | no plugin | 0.190 µs | – |",
            "refused: 3",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
