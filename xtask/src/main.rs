//! Developer commands of the project: `cargo xtask help`.

mod bench;
mod check;
mod crash;
mod dist;
mod fuzz;
mod hook_soak;
mod instructions;
mod node;
mod oracle;
mod pictures;
mod plugin_soak;
mod run;
mod shell;
mod strangers;
mod tools;
mod ui;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

  run                      build and start the broker from ./etc with data under ./data
  test [--quick]           every test there is; installs on Debian what they need
                           (--quick: format, lints and the tests of the crates)
       [--fuzz-seconds N]  how long each fuzz target runs (40)
  pictures                 make the pictures of the README, by the test that has their name
  ui                       build the pages of the dashboard, which the next build of the broker
                           takes in; run, test and dist do it when npm is there
  dist --out DIR           a release tree: bin, etc, data, log
       [--profile NAME]    of cargo (release)
  oracle [ARGS]            replay recorded answers of EMQ 2.3.11; ARGS go to the runner
  fuzz [--seconds N] [T]   run the fuzz targets, or the one named T
  crash-test [ARGS]        the broker killed again and again under traffic; ARGS go to the
                           harness (docs/durability.md): --rounds N, --seed S, --shards N,
                           --no-kill, ...; --faults [--rounds N]: disks that fail instead
       [--profile NAME]    of cargo (dev; with --faults release)
  plugin-soak              all plugins loaded and unloaded again and again under traffic:
                           nothing may be lost, nobody disconnected, memory may not grow
       [--seconds N]       how long (300)
       [--rate N]          messages a second, at QoS 0, 1 and 2 (20000)
       [--profile NAME]    of cargo (release)
  hook-soak                a web hook under traffic while its target stops, hangs and comes back:
                           no publisher slower, memory bounded, with spill nothing lost
       [--seconds N]       how long (300)
       [--rate N]          messages a second (10000)
       [--batch N]         web.hook.batch_size (100)
       [--short]           what `test` runs
       [--profile NAME]    of cargo (release)
  tools                    only install, or name, what the tests need
  bench [ARGS]             the speed table of bench/RESULTS.md
  instructions [--update]  compare instruction counts with those kept in the repository
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "run" => run::run(rest),
        "test" => check::run(rest),
        "dist" => dist::run(rest),
        "pictures" => pictures::run(),
        "ui" => ui::build(),
        "oracle" => oracle::run(rest).map(|_| ()),
        "fuzz" => fuzz::run(rest).map(|_| ()),
        "tools" => match tools::ensure() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(format!("missing:\n  {}", missing.join("\n  "))),
        },
        "bench" => bench::run(rest),
        "crash-test" => crash::run(rest),
        "plugin-soak" => plugin_soak::run(rest),
        "hook-soak" => hook_soak::run(rest),
        "instructions" => instructions::run(rest.iter().any(|a| a == "--update")),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no such command: {other}\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            ExitCode::FAILURE
        }
    }
}
