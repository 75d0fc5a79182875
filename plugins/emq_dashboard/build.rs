//! Embeds the pages of the web interface, where `dashboard/dist` has them.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::{env, process};

fn main() {
    if let Err(error) = embed() {
        println!("cargo::error=the pages of the dashboard: {error}");
        process::exit(1);
    }
}

fn embed() -> io::Result<()> {
    let missing = |name: &str| io::Error::other(format!("{name} is not set"));
    let here = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?,
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    let dist = here.join("../../dashboard/dist");
    // An empty one, so that cargo sees when pages come: what does not exist would have it run this each time.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut list = String::from("&[\n");
    if dist.join("index.html").is_file() {
        let mut files = Vec::new();
        find(&dist, "", &mut files)?;
        files.sort();
        let pages = out.join("pages");
        // Of an earlier build.
        let _ = fs::remove_dir_all(&pages);
        fs::create_dir_all(&pages)?;
        for (number, path) in files.iter().enumerate() {
            add(&mut list, &dist, path, &pages.join(number.to_string()))?;
        }
    }
    list.push_str("]\n");
    fs::write(out.join("pages.rs"), list)
}

/// The files below `dir`, as paths that begin with `/`; those compressed come with their originals.
fn find(dir: &Path, above: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = format!("{above}/{name}");
        if entry.file_type()?.is_dir() {
            find(&entry.path(), &path, files)?;
        } else if content_type(name).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

/// Copies a file, since the directory may be built anew while this is compiled, and writes its entry.
fn add(list: &mut String, dist: &Path, path: &str, copy: &Path) -> io::Result<()> {
    let from = dist.join(&path[1..]);
    let plain = fs::read(&from)?;
    fs::write(copy, &plain)?;
    let mut packed = from.into_os_string();
    packed.push(".gz");
    let packed = fs::read(packed)
        .ok()
        .filter(|packed| packed.len() < plain.len());
    let gzip = match packed {
        Some(packed) => {
            let to = copy.with_extension("gz");
            fs::write(&to, packed)?;
            format!("Some(include_bytes!({to:?}))")
        }
        None => "None".to_owned(),
    };
    let kind = content_type(path).unwrap_or("application/octet-stream");
    let immutable = is_named_by_content(path);
    // Writing into a String cannot fail.
    let _ = writeln!(
        list,
        "WebFile {{ path: {path:?}, content_type: {kind:?}, content: include_bytes!({copy:?}), gzip: {gzip}, immutable: {immutable} }},"
    );
    Ok(())
}

/// What a browser is told; `None` = not one of the pages' files.
fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

/// `assets/<name>-<8 characters of a hash>.<type>`, as the bundler names what never changes.
fn is_named_by_content(path: &str) -> bool {
    let Some((stem, _)) = path
        .strip_prefix("/assets/")
        .and_then(|name| name.rsplit_once('.'))
    else {
        return false;
    };
    let hash = stem
        .len()
        .checked_sub(8)
        .and_then(|at| stem.split_at_checked(at));
    hash.is_some_and(|(name, hash)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        name.ends_with('-') && hash.bytes().all(plain)
    })
}
