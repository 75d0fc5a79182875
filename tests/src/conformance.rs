//! `docs/conformance.md`: every normative statement beside the code that obeys it and the tests that check it.
//!
//! The statements stand in `conformance/*.txt`; the links are found in the sources, by the numbers in
//! brackets (`[MQTT-3.1.2-3]` of 5.0, `[3.1.1: MQTT-3.1.2-3]` or `[MQTT311-3.1.2-3]` of 3.1.1) and by the
//! names of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A line of `conformance/*.txt`.
#[derive(Debug, Clone)]
struct Statement {
    number: String,
    who: char,
    /// the number of the same statement in 5.0, for those of 3.1.1
    same: Option<String>,
    text: String,
    note: String,
}

/// Where a statement is spoken of.
#[derive(Debug, Default, Clone)]
struct Links {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
}

/// Links by the number of 5.0, and by that of 3.1.1.
#[derive(Debug, Default)]
struct Found {
    v5: BTreeMap<String, Links>,
    v311: BTreeMap<String, Links>,
    /// tests that run with all versions, by the number of 5.0
    all_versions: BTreeMap<String, BTreeSet<String>>,
}

/// What came of it.
pub struct Outcome {
    /// the text of `docs/conformance.md`
    pub page: String,
    /// what must be mended: statements without test or reason, numbers that do not exist
    pub problems: Vec<String>,
}

/// Makes the page for the repository at `root`.
pub fn generate(root: &Path) -> Outcome {
    let v5 = read(&root.join("tests/conformance/mqtt5.txt"), false);
    let v311 = read(&root.join("tests/conformance/mqtt311.txt"), true);
    let mut found = Found::default();
    let mut problems = Vec::new();
    for file in rust_files(&root.join("crates")) {
        let name = relative(root, &file);
        let text = fs::read_to_string(&file).unwrap_or_default();
        for number in ids(&text) {
            links(&mut found, &number).code.insert(name.clone());
        }
    }
    for file in rust_files(&root.join("tests/tests")) {
        tests_of(
            &fs::read_to_string(&file).unwrap_or_default(),
            &module(&file),
            &mut found,
        );
    }
    // The decoder of the test client is strict: what it checks, every test checks.
    let decoder = fs::read_to_string(root.join("tests/src/packet.rs")).unwrap_or_default();
    let client = fs::read_to_string(root.join("tests/src/client.rs")).unwrap_or_default();
    for number in ids(&(decoder + &client)) {
        let every = "every test, by its strict client".to_string();
        if let Number::V5(n) = &number {
            found
                .all_versions
                .entry(n.clone())
                .or_default()
                .insert(every.clone());
        }
        links(&mut found, &number).tests.insert(every);
    }

    let known5: BTreeSet<&str> = v5.iter().map(|s| s.number.as_str()).collect();
    let known311: BTreeSet<&str> = v311.iter().map(|s| s.number.as_str()).collect();
    for (name, known, links) in [
        ("5.0", &known5, &found.v5),
        ("3.1.1", &known311, &found.v311),
    ] {
        for (number, links) in links {
            if !known.contains(number.as_str()) {
                let places: Vec<&str> = links
                    .code
                    .iter()
                    .chain(&links.tests)
                    .map(String::as_str)
                    .collect();
                problems.push(format!(
                    "no statement {number} in MQTT {name}: {}",
                    places.join(", ")
                ));
            }
        }
    }
    for statement in &v311 {
        if let Some(same) = &statement.same
            && !known5.contains(same.as_str())
        {
            problems.push(format!(
                "mqtt311.txt {}: no statement {same} in MQTT 5.0",
                statement.number
            ));
        }
    }

    let mut page = HEAD.to_string();
    let rows5 = v5
        .iter()
        .map(|s| (s, found.v5.get(&s.number).cloned().unwrap_or_default()));
    table(&mut page, &mut problems, root, "MQTT 5.0", rows5.collect());
    let rows311 = v311.iter().map(|s| {
        let mut links = found.v311.get(&s.number).cloned().unwrap_or_default();
        if let Some(same) = &s.same {
            let shared = found.v5.get(same).map(|l| l.code.clone());
            let twin = v5.iter().find(|s| s.number == *same);
            links.code.extend(shared.unwrap_or_default());
            links
                .code
                .extend(twin.into_iter().flat_map(|s| named_files(&s.note)));
            links
                .tests
                .extend(found.all_versions.get(same).cloned().unwrap_or_default());
        }
        (s, links)
    });
    table(
        &mut page,
        &mut problems,
        root,
        "MQTT 3.1.1",
        rows311.collect(),
    );
    Outcome { page, problems }
}

const HEAD: &str = "\
# Conformance

Made by `cargo run -p emqttd-tests --bin conformance`; do not edit. Every normative statement of the appendices B of
MQTT 5.0 and MQTT 3.1.1, in our own words, with the code that obeys it and the black-box tests that check it.

- Numbers are those of the standards. Code names them in brackets: `[MQTT-3.1.2-3]` is a statement of 5.0,
  `[3.1.1: MQTT-3.1.2-3]` or `[MQTT311-3.1.2-3]` one of 3.1.1. A statement that both have shares its code.
- Tests are functions in `tests/tests/mqtt`, shown with their module. A test `mqtt_3_1_2_3_...` is numbered as in 5.0 and
  runs with every version that has the statement; `mqtt5_...` runs with 5.0; `mqtt311_...` is numbered as in 3.1.1. Further
  statements that a test checks stand in its comment; `emq_...` tests what EMQ 2.x did where the standard leaves a choice.
- *Who* says whom a statement binds: the server, the client, or both. What binds clients alone is tested where the broker
  must notice that it was broken.
";

fn table(
    page: &mut String,
    problems: &mut Vec<String>,
    root: &Path,
    title: &str,
    rows: Vec<(&Statement, Links)>,
) {
    let tested = rows.iter().filter(|(_, l)| !l.tests.is_empty()).count();
    let clients = rows
        .iter()
        .filter(|(s, l)| l.tests.is_empty() && s.who == 'C')
        .count();
    let _ = write!(
        page,
        "\n## {title}\n\n{} statements: {tested} tested, {clients} that bind clients alone and need no test, {} with a reason.\n\n\
         | statement | who | what it asks | code | tests |\n|---|---|---|---|---|\n",
        rows.len(),
        rows.len() - tested - clients,
    );
    for (statement, links) in rows {
        let named = named_files(&statement.note);
        let reason = if named.is_empty() {
            statement.note.as_str()
        } else {
            ""
        };
        for path in &named {
            if !root.join(path).exists() {
                problems.push(format!("{title} {}: no file {path}", statement.number));
            }
        }
        if links.tests.is_empty() && reason.is_empty() && statement.who != 'C' {
            problems.push(format!(
                "{title} {}: neither test nor reason",
                statement.number
            ));
        }
        let code: BTreeSet<&String> = links.code.iter().chain(&named).collect();
        let code: Vec<String> = code
            .iter()
            .map(|p| format!("[{}](../{p})", short(p)))
            .collect();
        let mut tests: Vec<String> = links
            .tests
            .iter()
            .map(|t| t.replace("::", "::<wbr>"))
            .collect();
        if links.tests.is_empty() && reason.is_empty() {
            tests.push("binds clients alone".into());
        } else if !reason.is_empty() {
            tests.push(format!("*{reason}*"));
        }
        let who = match statement.who {
            'S' => "server",
            'C' => "client",
            _ => "both",
        };
        let _ = writeln!(
            page,
            "| {} | {who} | {} | {} | {} |",
            statement.number,
            statement.text,
            code.join("<br>"),
            tests.join("<br>")
        );
    }
}

/// The files of a note such as `code: mqtt/decode.rs, session/flows.rs`.
fn named_files(note: &str) -> Vec<String> {
    note.strip_prefix("code: ")
        .map_or_else(Vec::new, |files| files.split(',').map(full).collect())
}

/// `mqtt/decode.rs` as `crates/mqtt/src/decode.rs`.
fn full(short: &str) -> String {
    let (name, file) = short.trim().split_once('/').unwrap_or((short, ""));
    format!("crates/{name}/src/{file}")
}

/// `crates/mqtt/src/decode.rs` as `mqtt/decode.rs`.
fn short(path: &str) -> String {
    path.trim_start_matches("crates/").replacen("/src/", "/", 1)
}

fn read(path: &Path, has_twin: bool) -> Vec<Statement> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let mut next = || {
                fields
                    .next()
                    .unwrap_or_else(|| panic!("too few fields: {line}"))
                    .to_string()
            };
            let (number, who) = (next(), next());
            let same = has_twin.then(&mut next).filter(|s| s != "-");
            let (text, note) = (next(), next());
            assert!(["S", "C", "B"].contains(&who.as_str()), "S, C or B: {line}");
            Statement {
                number,
                who: who.chars().next().unwrap(),
                same,
                text,
                note,
            }
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    V5(String),
    V311(String),
}

fn links<'a>(found: &'a mut Found, number: &Number) -> &'a mut Links {
    match number {
        Number::V5(n) => found.v5.entry(n.clone()).or_default(),
        Number::V311(n) => found.v311.entry(n.clone()).or_default(),
    }
}

/// The numbers that stand in brackets.
fn ids(text: &str) -> BTreeSet<Number> {
    let mut numbers = BTreeSet::new();
    for (at, _) in text.match_indices('[') {
        let rest = &text[at + 1..];
        let Some(end) = rest.find(']').filter(|end| *end < 200) else {
            continue;
        };
        let inner = &rest[..end];
        let old = inner.starts_with("3.1.1:") || inner.ends_with("of 3.1.1");
        for word in inner.split([' ', ',', ';']) {
            let (digits, old) = match (word.strip_prefix("MQTT-"), word.strip_prefix("MQTT311-")) {
                (Some(digits), _) => (digits, old),
                (_, Some(digits)) => (digits, true),
                _ => continue,
            };
            if digits.contains('-')
                && digits
                    .chars()
                    .all(|c| c.is_ascii_digit() || c == '.' || c == '-')
            {
                numbers.insert(if old {
                    Number::V311(digits.into())
                } else {
                    Number::V5(digits.into())
                });
            }
        }
    }
    numbers
}

/// The number in a test's name: `mqtt_3_1_2_3_reserved` is 3.1.2-3.
fn number_in_name(name: &str) -> Option<(&str, String)> {
    let (prefix, rest) = name.split_once('_')?;
    if !["mqtt", "mqtt5", "mqtt311"].contains(&prefix) {
        return None;
    }
    let parts: Vec<&str> = rest.splitn(5, '_').collect();
    let [a, b, c, n, _] = parts.as_slice() else {
        return None;
    };
    [a, b, c, n]
        .iter()
        .all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit()))
        .then(|| (prefix, format!("{a}.{b}.{c}-{n}")))
}

/// Finds the tests of a file, with their comments and bodies.
fn tests_of(text: &str, module: &str, found: &mut Found) {
    let mut comment = String::new();
    let mut is_test = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("///") {
            comment += line;
            comment.push('\n');
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]";
        } else if let (true, Some(rest)) = (is_test, line.strip_prefix("fn ")) {
            let name = rest.split('(').next().unwrap_or_default();
            let mut body = std::mem::take(&mut comment);
            for line in lines.by_ref().take_while(|l| *l != "}") {
                body += line;
                body.push('\n');
            }
            is_test = false;
            let shown = format!("{module}::{name}");
            let named = number_in_name(name);
            let only_v5 = name.starts_with("mqtt5_");
            let mut numbers = ids(&body);
            if let Some((prefix, number)) = named {
                numbers.insert(if prefix == "mqtt311" {
                    Number::V311(number)
                } else {
                    Number::V5(number)
                });
            }
            for number in numbers {
                if let (Number::V5(n), false) = (&number, only_v5) {
                    found
                        .all_versions
                        .entry(n.clone())
                        .or_default()
                        .insert(shown.clone());
                }
                links(found, &number).tests.insert(shown.clone());
            }
        } else {
            comment.clear();
            is_test = false;
        }
    }
}

fn module(file: &Path) -> String {
    file.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .to_string_lossy()
        .replace('\\', "/")
}

/// All `.rs` files below `dir`, sorted, without those of test directories of the crates.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                let name = entry.file_name();
                if !["target", "tests", "benches"]
                    .iter()
                    .any(|n| name.to_str() == Some(n))
                {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_brackets() {
        let text = "// [MQTT-3.1.2-3] [3.1.1: MQTT-3-8.3-4] [MQTT-3.2.2-5 of 3.1.1] [MQTT311-1.2.3-4] [MQTT-x] [MQTT]";
        let wanted = [
            Number::V5("3.1.2-3".into()),
            Number::V311("1.2.3-4".into()),
            Number::V311("3-8.3-4".into()),
            Number::V311("3.2.2-5".into()),
        ];
        assert_eq!(ids(text).into_iter().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn numbers_in_names() {
        assert_eq!(
            number_in_name("mqtt_3_1_2_22_silent"),
            Some(("mqtt", "3.1.2-22".into()))
        );
        assert_eq!(
            number_in_name("mqtt5_4_8_2_5_x_y"),
            Some(("mqtt5", "4.8.2-5".into()))
        );
        for name in [
            "emq_3_1_2_2_x",
            "mqtt_4_8_2_offline",
            "mqtt_3_1_2_2",
            "tests",
        ] {
            assert_eq!(number_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn comment_body_and_name_of_a_test_count() {
        let mut found = Found::default();
        let text = "/// [MQTT-1.1.1-1]\n#[test]\nfn mqtt5_2_2_2_2_x() {\n    // [MQTT311-3.3.3-3]\n}\n\
                    /// [MQTT-4.4.4-4]\nfn helper() {\n}\n#[test]\nfn mqtt_5_5_5_5_y() {\n}\n";
        tests_of(text, "m", &mut found);
        assert_eq!(
            found.v5.keys().collect::<Vec<_>>(),
            ["1.1.1-1", "2.2.2-2", "5.5.5-5"]
        );
        assert_eq!(found.v311.keys().collect::<Vec<_>>(), ["3.3.3-3"]);
        assert_eq!(found.all_versions.keys().collect::<Vec<_>>(), ["5.5.5-5"]);
    }

    /// Whether the page itself is up to date, `conformance --check` says.
    #[test]
    fn every_statement_has_a_test_or_a_reason() {
        let outcome = generate(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
        assert!(
            outcome.problems.is_empty(),
            "{}",
            outcome.problems.join("\n")
        );
    }
}
