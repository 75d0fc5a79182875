//! `bench/RESULTS.md`: parts that are written by the benchmark, each by the last run that had rows of it, and below
//! them what people wrote.

const HEAD: &str = "# Benchmark results\n\nWritten by `cargo xtask bench --write`; each part by the last run that had rows of it.\n";
const BY_HAND: &str = "<!-- written by hand from here on: --write keeps it -->";

/// The parts in their order: name and title.
const PARTS: [(&str, &str); 8] = [
    ("memory", "In memory"),
    ("durable", "On disk"),
    ("start", "Starting with a large store"),
    ("logins", "Logins that other servers decide"),
    ("hooks", "Plugins that hear of each message"),
    ("web", "Publishing beside a web hook"),
    ("gateways", "Other protocols"),
    ("dashboard", "Somebody looks"),
];

fn marker(name: &str) -> String {
    format!("<!-- bench: {name} -->")
}

/// The file with the given parts (name and text) in place of those it had.
pub fn with(old: &str, new: &[(&str, String)]) -> String {
    let mut text = HEAD.to_owned();
    for (name, title) in PARTS {
        let given = new.iter().find(|(part, _)| *part == name);
        let body = match given {
            Some((_, body)) => format!("\n## {title}\n\n{}\n", body.trim()),
            None => match part(old, name) {
                Some(body) => format!("\n{}\n", body.trim()),
                None => continue,
            },
        };
        text.push_str(&format!("\n{}\n{body}", marker(name)));
    }
    let by_hand = by_hand(old);
    format!("{text}\n{BY_HAND}\n\n{}\n", by_hand.trim())
        .trim_end()
        .to_owned()
        + "\n"
}

/// The text of a part that the file has, up to the next marker.
fn part<'a>(old: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = old.split_once(&marker(name))?;
    let end = [rest.find("<!-- bench: "), rest.find(BY_HAND)];
    let end = end.into_iter().flatten().min();
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// What people wrote; all of a file that has no marker, so that nothing is lost.
fn by_hand(old: &str) -> &str {
    match old.split_once(BY_HAND) {
        Some((_, rest)) => rest,
        None if old.contains("<!-- bench: ") => "",
        None => old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let first = with(
            "my notes\n",
            &[("memory", "table 1".into()), ("durable", "table 2".into())],
        );
        assert!(first.contains("## In memory\n\ntable 1\n"), "{first}");
        assert!(
            first.ends_with("from here on: --write keeps it -->\n\nmy notes\n"),
            "{first}"
        );
        let second = with(&first, &[("durable", "table 3\n".into())]);
        assert_eq!(second, first.replace("table 2", "table 3"));
        assert_eq!(with(&second, &[]), second);
    }

    #[test]
    fn an_empty_file_gets_what_there_is() {
        let text = with("", &[("start", "x".into())]);
        assert_eq!(
            text,
            format!(
                "{HEAD}\n<!-- bench: start -->\n\n## Starting with a large store\n\nx\n\n{BY_HAND}\n"
            )
        );
    }
}
