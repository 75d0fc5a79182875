//! Crashes at every operation of recorded runs, on disks that keep their word and on disks that fail.
//!
//! `SWEEP_SEED=n` runs another seed; the long form is `cargo xtask crash-test --faults`.

use emqttd_store::sweep::{Plan, Report, run};

fn seed() -> u64 {
    std::env::var("SWEEP_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1)
}

#[track_caller]
fn expect_nothing_lost(report: &Report) {
    println!(
        "{} runs, {} instants, {} batches acknowledged, {} segments cleaned, {} faults; {} lost, {} revived",
        report.runs,
        report.instants,
        report.acknowledged,
        report.cleaned,
        report.faults,
        report.lost,
        report.revived
    );
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert_eq!((report.lost, report.revived), (0, 0));
}

#[test]
fn nothing_durable_is_lost_and_nothing_done_comes_back_at_any_instant() {
    let report = run(&Plan::short(seed()));
    expect_nothing_lost(&report);
    assert!(report.instants > 1000, "the run was recorded: {report:?}");
    assert!(
        report.cleaned > 2,
        "segments were cleaned in it: {report:?}"
    );
}

#[test]
fn nor_when_the_disk_fails_now_and_then() {
    let mut all = Report::default();
    for round in 0..4 {
        let plan = Plan {
            faults: true,
            generations: 1,
            stride: 3,
            ..Plan::short(seed() + 100 + round)
        };
        all.add(run(&plan));
    }
    expect_nothing_lost(&all);
    assert!(all.faults > 50, "the disk failed: {all:?}");
}

#[test]
fn nor_is_anything_found_without_what_came_before_it_when_syncs_are_rare() {
    let plan = Plan {
        seldom_synced: true,
        generations: 1,
        stride: 2,
        ..Plan::short(seed() + 200)
    };
    let report = run(&plan);
    expect_nothing_lost(&report);
    assert!(report.instants > 500, "the run was recorded: {report:?}");
}
