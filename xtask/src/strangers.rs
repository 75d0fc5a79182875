//! Plugins that are no members of the workspace, because they are built as a stranger builds his.

use crate::shell::{binaries, cargo, root, run};

/// Where they are; the first is the pattern for others.
const CRATES: [&str; 3] = [
    "templates/emq_plugin_template",
    "tests/plugin-fixture",
    "tests/plugin-gateway",
];

/// Format and lints, as of the workspace. That they build and work is for the tests of the broker.
pub fn lint() -> Result<(), String> {
    // With what the tests build of them.
    let target = binaries("dev").with_file_name("tmp").join("strangers");
    for name in CRATES {
        let dir = root().join(name);
        run(cargo(&["fmt", "--check"]).current_dir(&dir))?;
        let mut clippy = cargo(&["clippy", "--all-targets", "--target-dir"]);
        clippy.arg(&target).args(["--", "-D", "warnings"]);
        run(clippy.current_dir(&dir))?;
    }
    Ok(())
}
