//! An `etc` directory: `emq.conf`, then the file of a plugin, then environment variables, then a plugin's file with
//! Erlang terms, parted by lines that hold only `---`.
//!
//! Nothing may panic; a refusal names an error; a configuration that was taken can be reported, shown and set again; the
//! keys of each plugin can be read, or are refused with an error.
#![no_main]

use emqttd_config::{Problem, load, load_plugin};
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Files live in memory where the system has a place for that.
static ETC: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let etc = base.join(format!("emqttd-fuzz-config-{}", std::process::id()));
    std::fs::create_dir_all(etc.join("plugins")).expect("a directory for the files");
    etc
});

fuzz_target!(|input: &[u8]| {
    let mut parts = split(input).into_iter();
    let mut part = || parts.next().unwrap_or_default();
    write("emq.conf", part());
    write("plugins/emq_retainer.conf", part());
    let environment = String::from_utf8_lossy(part()).into_owned();
    write("plugins/emq_modules.config", part());
    let variables = || {
        environment
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    for plugin in ["emq_retainer", "emq_modules", "emq_mod_rewrite"] {
        match load_plugin(&ETC, plugin, &[], variables()) {
            Ok(keys) => assert!(!keys.entries.is_empty()),
            Err(problems) => refused(&problems),
        }
    }
    let mut loaded = match load(&ETC, variables()) {
        Ok(loaded) => loaded,
        Err(problems) => return refused(&problems),
    };
    assert!(!loaded.warnings.iter().any(Problem::is_error));
    assert!(!loaded.config.render_report().is_empty());
    // One key a run: each `set` checks the whole again.
    let settable = loaded.config.settable();
    let key = &settable[input.len() % settable.len()];
    let (app, name) = (key.app.to_owned(), key.key.to_owned());
    let shown = loaded
        .config
        .show(&app, &name)
        .expect("a settable key can be shown");
    assert_eq!(shown, key.value);
    // The value may have a form that is only shown; what must not happen is a panic.
    let _ = loaded.config.set(&app, &name, &shown);
});

fn refused(problems: &[Problem]) {
    assert!(problems.iter().any(Problem::is_error));
    for problem in problems {
        assert!(!problem.to_string().is_empty());
    }
}

fn write(name: &str, bytes: &[u8]) {
    std::fs::write(ETC.join(name), bytes).expect("a file can be written");
}

/// The parts of the input between `---` lines.
fn split(input: &[u8]) -> Vec<&[u8]> {
    const MARK: &[u8] = b"\n---\n";
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        parts.push(&rest[..at + 1]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
