//! `cargo xtask instructions`: how many instructions the hot paths take, and that they do not take more than before.
//!
//! Each crate of the data path has an example `count_*` that does an operation N times (and prints the names of
//! its operations when it is not told one). callgrind counts N and 3 N of them: half the difference is N
//! operations and nothing else. The counts do not depend on what else the machine does, so they can be compared
//! with those kept in `bench/instructions.txt`.

use crate::shell::{at, cargo, has, root, run as run_command, target};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Package and example.
const PROGRAMS: [(&str, &str); 3] = [
    ("emqttd-mqtt", "count_codec"),
    ("emqttd-router", "count_route"),
    ("emqttd-session", "count_deliver"),
];

/// Growth of a count, in percent, that is taken for a change for the worse.
const TOLERANCE: f64 = 5.0;

const TIMES: u64 = 10_000;

const HEADER: &str = "\
# Instructions for one operation, counted by callgrind in a release build (x86-64).
# `cargo xtask instructions` fails when one grows by more than 5 %; `--update` writes this file.
";

/// Counts all operations. With `update` the file takes the new counts; without, a count that has grown by more
/// than [`TOLERANCE`], or an operation that the file does not know, is an error.
pub fn run(update: bool) -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        println!("instructions: the kept counts are those of x86-64; nothing to compare here");
        return Ok(());
    }
    if !has("valgrind") {
        return Err("valgrind is missing (Debian: apt-get install valgrind)".into());
    }
    let file = root().join("bench/instructions.txt");
    let counts = count_all()?;
    if update {
        let mut text = String::from(HEADER);
        for (name, count) in &counts {
            let _ = writeln!(text, "{name} {count:.0}");
        }
        print!("{text}");
        return at(&file, std::fs::write(&file, text));
    }
    let text = at(&file, std::fs::read_to_string(&file))?;
    let (report, worse) = compare(&parse(&text)?, &counts);
    print!("{report}");
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nA change that is worth it: cargo xtask instructions --update, and say why in the commit.",
        worse.join("\n")
    ))
}

fn count_all() -> Result<BTreeMap<String, f64>, String> {
    let mut counts = BTreeMap::new();
    for (package, example) in PROGRAMS {
        run_command(cargo(&["build", "--quiet", "--release"]).args([
            "-p",
            package,
            "--example",
            example,
        ]))?;
        let program = target().join("release/examples").join(example);
        let names = at(&program, Command::new(&program).output())?;
        for name in String::from_utf8_lossy(&names.stdout).lines() {
            let once = callgrind(&program, name, TIMES)?;
            let thrice = callgrind(&program, name, 3 * TIMES)?;
            counts.insert(name.to_owned(), (thrice - once) / (2 * TIMES) as f64);
        }
    }
    Ok(counts)
}

/// Instructions of a whole run of the program.
fn callgrind(program: &Path, operation: &str, times: u64) -> Result<f64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([operation, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{operation}: callgrind failed: {said}")),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, count) = line
                .split_once(' ')
                .ok_or_else(|| format!("instructions.txt: {line}?"))?;
            let count = count
                .trim()
                .parse()
                .map_err(|_| format!("instructions.txt: {line}?"))?;
            Ok((name.to_owned(), count))
        })
        .collect()
}

/// The table of all operations, and what is wrong.
fn compare(kept: &BTreeMap<String, f64>, counts: &BTreeMap<String, f64>) -> (String, Vec<String>) {
    let (mut report, mut worse) = (String::new(), Vec::new());
    for (name, count) in counts {
        let Some(before) = kept.get(name) else {
            worse.push(format!(
                "{name}: {count:.0} instructions, but bench/instructions.txt does not have it"
            ));
            continue;
        };
        let growth = (count / before - 1.0) * 100.0;
        let _ = writeln!(
            report,
            "{name:32} {before:>8.0} {count:>8.0} {growth:>+7.1} %"
        );
        if growth > TOLERANCE {
            worse.push(format!(
                "{name}: {count:.0} instructions where {before:.0} were enough, {growth:+.1} %"
            ));
        }
    }
    for name in kept.keys().filter(|name| !counts.contains_key(*name)) {
        worse.push(format!(
            "{name}: in bench/instructions.txt, but nothing counts it"
        ));
    }
    (report, worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_tolerance_is_an_error() {
        let kept =
            parse("# comment\na 100\nb 100\nc 100\ngone 1\n").expect("the file is well formed");
        let counts = [("a", 104.9), ("b", 105.1), ("c", 50.0), ("new", 1.0)];
        let counts = counts
            .map(|(name, count)| (name.to_owned(), count))
            .into_iter()
            .collect();
        let (report, worse) = compare(&kept, &counts);
        assert_eq!(report.lines().count(), 3);
        let names: Vec<_> = worse
            .iter()
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        assert_eq!(names, ["b", "new", "gone"]);
        assert!(parse("a b c\n").is_err());
    }
}
