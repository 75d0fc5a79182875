//! `cargo xtask pictures`: what the README shows of the dashboard, as the tests see it.

use crate::shell::{at, build, cargo, root, run as sh, target};
use crate::{tools, ui};
use std::fs;

/// How long the broker works before it is pictured: enough for charts that show something.
const SECONDS: &str = "120";

/// Runs the scenario `pictures` and puts what it has made below `docs/`.
pub fn run() -> Result<(), String> {
    tools::ensure();
    ui::build()?;
    build("dev")?;
    sh(cargo(&[
        "test",
        "-p",
        "emqttd-tests",
        "--test",
        "dashboard",
        "pictures",
    ])
    .env("EMQTTD_TEST_NODE_DIR", tools::node_dir())
    .env("EMQTTD_PICTURE_SECONDS", SECONDS))?;
    for name in ["overview", "clients"] {
        let from = target().join(format!("dashboard/pictures-{name}.png"));
        let to = root().join(format!("docs/dashboard-{name}.png"));
        at(&from, fs::copy(&from, &to))?;
        println!("{} is new", to.display());
    }
    Ok(())
}
