#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::testing::message;
use std::hint::black_box;
use std::time::Instant;

/// So many rules `r<n>/# ^r<n>/(.+)$ s<n>/$1`.
fn rules(count: usize) -> Rewrite {
    let rules: Vec<(String, String)> = (0..count)
        .map(|n| {
            let key = format!("module.rewrite.rule.{n:03}");
            (key, format!("r{n}/# ^r{n}/(.+)$ s{n}/$1"))
        })
        .collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(k, v)| (&**k, &**v)).collect();
    Rewrite::new(Rules::of(&Config::of(&rules)).unwrap())
}

/// The figures in README.md.
#[test]
#[ignore = "measures: run it with --profile fast -- --ignored --nocapture"]
fn cost_of_the_publish_hook() {
    const CALLS: u32 = 1_000_000;
    for (count, topic, what) in [
        (0, "sensors/7/temperature", "no rule"),
        (1, "sensors/7/temperature", "one rule, of others"),
        (1, "r0/sensors/7/temperature", "one rule, rewritten"),
        (100, "sensors/7/temperature", "100 rules, of others"),
        (100, "r50/sensors/7/temperature", "100 rules, rewritten"),
    ] {
        let rewrite = rules(count);
        let started = Instant::now();
        for _ in 0..CALLS {
            black_box(rewrite.message_publish(&message(black_box(topic), b"")));
        }
        println!("{what}: {:?}", started.elapsed() / CALLS);
    }
}
