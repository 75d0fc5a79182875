//! The long form of the fault sweep: `faults [seed] [rounds]`; a seed that fails is run again alone with 1 round.
//! Ends with an error when anything was lost.

use emqttd_store::sweep::rounds;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse().unwrap_or(1));
    let (seed, count) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(10));
    let report = rounds(seed, count, &mut |round, r| {
        println!(
            "round {round}: {} runs, {} instants, {} batches acknowledged, {} segments cleaned, {} faults; \
             {} lost, {} revived",
            r.runs, r.instants, r.acknowledged, r.cleaned, r.faults, r.lost, r.revived
        );
    });
    for failure in &report.failures {
        println!("{failure}");
    }
    println!("seeds {seed} to {}", seed + count - 1);
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
