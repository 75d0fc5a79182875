//! Writes `docs/conformance.md`; with `--check` it only says whether the page is up to date.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let outcome = emqttd_tests::conformance::generate(root);
    for problem in &outcome.problems {
        eprintln!("{problem}");
    }
    let path = root.join("docs/conformance.md");
    if std::env::args().any(|a| a == "--check") {
        let stale = std::fs::read_to_string(&path).unwrap_or_default() != outcome.page;
        if stale {
            eprintln!("docs/conformance.md is stale: cargo run -p emqttd-tests --bin conformance");
        }
        return if stale || !outcome.problems.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    if let Err(e) = std::fs::write(&path, &outcome.page) {
        eprintln!("{}: {e}", path.display());
        return ExitCode::FAILURE;
    }
    if outcome.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
