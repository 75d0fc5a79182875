//! Plugins built as a stranger builds them: by cargo, outside of the workspace, once in a run of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The source of emqttd.
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Where cargo puts what it builds of them: kept, so that only the first build is a long one.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("strangers")
}

/// Runs to the end: what it printed. Fails with that when the command does.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    // What cargo has set for this test is none of theirs.
    for name in ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{shown}: {text}");
    text
}

/// The library of `tests/plugin-fixture`.
pub fn fixture() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--release", "--quiet", "--target-dir"])
            .arg(target())
            .current_dir(source().join("tests/plugin-fixture"));
        run(&mut cargo);
        target().join("release/libemq_plugin_fixture.so")
    })
}
