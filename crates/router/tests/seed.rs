//! Routers with any seed agree; only their hashes differ.

use emqttd_router::{Router, Target};

#[test]
fn every_seed_routes_alike() {
    for seed in [0, 1, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
        let mut router = Router::with_seed(seed);
        for owner in 0..500 {
            for filter in [format!("a/{owner}/+"), format!("exact/{owner}")] {
                let target = Target {
                    owner,
                    opts: 0,
                    sub_id: 0,
                };
                assert_eq!(router.subscribe(&filter, target), None);
            }
        }
        for owner in 0..500 {
            for topic in [format!("a/{owner}/x"), format!("exact/{owner}")] {
                let mut reached = Vec::new();
                router.route(&topic, |t| reached.push(t.owner));
                assert_eq!(reached, [owner], "{topic} with seed {seed}");
            }
        }
    }
}
