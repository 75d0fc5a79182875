//! `cargo xtask run`: the broker in the foreground, out of the repository.

use crate::shell::{at, binaries, build, root};
use crate::{dist, ui};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Builds quickly and becomes the broker, so that Ctrl-C and signals reach it.
pub fn run(args: &[String]) -> Result<(), String> {
    ui::ensure()?;
    build("fast")?;
    for dir in ["data", "log"] {
        let dir = root().join(dir);
        at(&dir, std::fs::create_dir_all(&dir))?;
    }
    // Once: what is in them then is the user's.
    let data = root().join("data");
    if !data.join("loaded_plugins").exists() {
        dist::loaded_plugins(&data)?;
    }
    if !root().join("hook_lua").exists() {
        dist::scripts(&root())?;
    }
    let program = binaries("fast").join("emqttd");
    println!("Starting the broker with ./etc and ./data; stop it with Ctrl-C.");
    println!("The dashboard: http://localhost:18083, at first admin with the password public.");
    println!("Try: mosquitto_sub -t 'hello/#' -v &  mosquitto_pub -t hello/world -m hi");
    // The program lies outside of a release tree, so the current directory is its root.
    let error = Command::new(&program)
        .arg("foreground")
        .args(args)
        .current_dir(root())
        .exec();
    Err(format!("{}: {error}", program.display()))
}
