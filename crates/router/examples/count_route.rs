//! Does one operation of the router N times, for `cargo xtask instructions`: `count_route OPERATION N`.
//! Without arguments it prints the operations that it knows.

use emqttd_router::{RetainedTree, Router, Target};
use std::hint::black_box;

const OPERATIONS: [&str; 6] = [
    "route-exact",
    "route-wildcard-1k",
    "route-wildcard-100k",
    "route-miss-100k",
    "subscribe-wildcard-100k",
    "retained-each",
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [operation, times] = &args[..] else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times: u64 = times.parse().unwrap_or(0);
    let done = match &**operation {
        "route-exact" => {
            let mut router = filters(1_000);
            for i in 0..1_000 {
                router.subscribe(&format!("site/{}/device/{i}", i % 100), target(i));
            }
            route(&router, times, |i| format!("site/{}/device/{i}", i % 100))
        }
        "route-wildcard-1k" => route(&filters(1_000), times, matching),
        "route-wildcard-100k" => route(&filters(100_000), times, matching),
        "route-miss-100k" => route(&filters(100_000), times, |i| format!("w/z{i}/r/x")),
        "subscribe-wildcard-100k" => {
            let mut router = filters(100_000);
            for i in 0..times {
                let filter = format!("w/new{i}/+/x");
                router.subscribe(black_box(&filter), target(i));
                router.unsubscribe(black_box(&filter), i % 100);
            }
            times
        }
        "retained-each" => {
            let mut tree = RetainedTree::new();
            for i in 0..1_000 {
                tree.insert(&format!("site/{}/device/{i}", i % 10), i);
            }
            let mut seen = 0;
            for _ in 0..times / 100 {
                tree.matching(black_box("site/7/+/#"), |name, value| {
                    black_box((name, value));
                    seen += 1;
                });
            }
            seen
        }
        other => {
            eprintln!("count_route: no operation {other}");
            std::process::exit(2);
        }
    };
    println!("{done}");
}

/// Routes names made ahead of the count.
fn route(router: &Router, times: u64, name: impl Fn(u64) -> String) -> u64 {
    let names: Vec<String> = (0..1_000).map(|i| name(i * 97 % 1_000)).collect();
    let mut reached = 0u64;
    for (_, name) in (0..times).zip(names.iter().cycle()) {
        router.route(black_box(name), |target| {
            reached += black_box(target).owner & 1
        });
    }
    black_box(reached);
    times
}

/// A router with a seed of its own would have better or worse luck each time.
fn filters(count: u64) -> Router {
    let mut router = Router::with_seed(2);
    for i in 0..count {
        router.subscribe(&wildcard(i), target(i));
    }
    router
}

fn target(i: u64) -> Target {
    Target {
        owner: i % 100,
        opts: 1,
        sub_id: 0,
    }
}

/// The filters of the benchmark's `wild` rows.
fn wildcard(i: u64) -> String {
    match i % 4 {
        0 => format!("w/a{i}/+/x"),
        1 => format!("w/+/b{i}/x"),
        2 => format!("w/c{i}/d/#"),
        _ => format!("+/e{i}/+"),
    }
}

/// A name that the filter of the same number matches.
fn matching(i: u64) -> String {
    match i % 4 {
        0 => format!("w/a{i}/r/x"),
        1 => format!("w/r/b{i}/x"),
        2 => format!("w/c{i}/d/r"),
        _ => format!("r/e{i}/z"),
    }
}
