//! `cargo xtask crash-test`: kills under traffic, and disks that fail. See docs/durability.md.

use crate::shell::{binaries, build, cargo, option, run as sh};
use std::process::Command;

/// Builds what is needed and runs the harness. `--profile NAME` is for cargo, all else for the harness.
pub fn run(args: &[String]) -> Result<(), String> {
    let faults = args.iter().any(|a| a == "--faults");
    let usual = if faults { "release" } else { "dev" };
    let profile = option(args, "--profile").unwrap_or(usual);
    let mut harness = cargo(&["build", "--profile", profile, "-p", "emqttd-crash"]);
    if faults {
        harness.args(["--features", "faults"]);
    }
    sh(&mut harness)?;
    let mut command = Command::new(binaries(profile).join("emqttd-crash"));
    if !faults && option(args, "--broker").is_none() {
        build(profile)?;
        command
            .arg("--broker")
            .arg(binaries(profile).join("emqttd"));
    }
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--profile" => _ = words.next(),
            word => _ = command.arg(word),
        }
    }
    sh(&mut command)
}

/// What every run of the tests does: some kills, and a small sweep that is always the same. New seeds are for runs by
/// hand, which have the time to follow up what they find.
pub fn short() -> Result<(), String> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    run(&words("--rounds 25 --drain-every 13"))?;
    // Its third round is one that found something.
    run(&words("--faults --rounds 3 --seed 521881935 --profile dev"))
}
