//! `cargo xtask ui`: the dashboard's pages, out of `dashboard/`, for the broker that is built next.

use crate::shell::{at, has, root, run, target};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the pages are made of, below the root of the repository.
const SOURCES: &[&str] = &[
    "dashboard/index.html",
    "dashboard/package.json",
    "dashboard/package-lock.json",
    "dashboard/postcss.config.js",
    "dashboard/scripts",
    "dashboard/src",
    "dashboard/tsconfig.json",
    "dashboard/vite.config.ts",
    "docs/openapi.json",
];

/// Builds the pages if npm is there; without it the broker has a page that says how to get them.
///
/// # Errors
/// When npm is there and they cannot be built.
pub fn ensure() -> Result<(), String> {
    if has("npm") {
        return build();
    }
    println!(
        "xtask: no npm here: the broker comes without its web interface (Node.js 20 or newer has npm)"
    );
    Ok(())
}

/// Builds the pages, unless they were built from just these sources.
///
/// # Errors
/// When there is no npm, or it fails.
pub fn build() -> Result<(), String> {
    let dashboard = root().join("dashboard");
    let stamp = target().join("ui.stamp");
    let now = fingerprint()?;
    let is_built = dashboard.join("dist/index.html").is_file()
        && fs::read_to_string(&stamp).is_ok_and(|built| built == now);
    if is_built {
        return Ok(());
    }
    if !has("npm") {
        return Err("ui: npm is missing: install Node.js 20 or newer".into());
    }
    if !is_installed(&dashboard) {
        run(Command::new("npm")
            .args(["ci", "--no-fund", "--no-audit"])
            .current_dir(&dashboard))?;
    }
    run(Command::new("npm")
        .args(["run", "--silent", "build"])
        .current_dir(&dashboard))?;
    at(&stamp, fs::write(&stamp, now))
}

/// What the pages themselves test.
///
/// # Errors
/// When one of their tests fails.
pub fn test() -> Result<(), String> {
    run(Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(root().join("dashboard")))
}

/// npm notes what it has installed in a file of the same form.
fn is_installed(dashboard: &Path) -> bool {
    let changed = |file: &str| {
        fs::metadata(dashboard.join(file))
            .and_then(|m| m.modified())
            .ok()
    };
    match (
        changed("node_modules/.package-lock.json"),
        changed("package-lock.json"),
    ) {
        (Some(installed), Some(wanted)) => installed >= wanted,
        _ => false,
    }
}

fn fingerprint() -> Result<String, String> {
    let mut files = Vec::new();
    for source in SOURCES {
        list(&root().join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        at(&file, fs::read(&file))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// The files of a source, except the one that each build makes anew.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if path.is_dir() {
        for entry in at(path, fs::read_dir(path))? {
            list(&at(path, entry)?.path(), files)?;
        }
    } else if path.is_file() && !path.ends_with("schema.d.ts") {
        files.push(path.to_owned());
    }
    Ok(())
}
