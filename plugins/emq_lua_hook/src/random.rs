//! `math.random` and `math.randomseed`: those of C are one generator for the whole process.

use crate::budget::{Budget, Phase};
use crate::errors;
use mlua::{Lua, MultiValue, Table, Value};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A generator (SplitMix64) for each interpreter.
#[derive(Clone)]
struct Generator(Arc<AtomicU64>);

impl Generator {
    /// 0 to below 1.
    fn next(&self) -> f64 {
        let state = self
            .0
            .load(Ordering::Relaxed)
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = (mixed ^ (mixed >> 31)) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

/// Puts them in place. A seed that the file of a script sets counts when it is loaded, not each time it is run
/// again: every call would get the same numbers.
pub(crate) fn install(lua: &Lua, budget: &Budget) -> mlua::Result<()> {
    let math: Table = lua.globals().get("math")?;
    let seed = RandomState::new().build_hasher().finish();
    let generator = Generator(Arc::new(AtomicU64::new(seed)));
    let numbers = generator.clone();
    math.raw_set(
        "random",
        lua.create_function(move |lua, args: MultiValue| random(lua, &numbers, &args))?,
    )?;
    let budget = budget.clone();
    math.raw_set(
        "randomseed",
        lua.create_function(move |lua, seed: Value| {
            let Some(seed) = number(lua, &seed) else {
                return Err(errors::bad_argument(
                    lua,
                    1,
                    "randomseed",
                    "number expected",
                ));
            };
            if budget.phase() != Phase::Rerun {
                generator.0.store(seed.to_bits(), Ordering::Relaxed);
            }
            Ok(())
        })?,
    )
}

fn random(lua: &Lua, numbers: &Generator, args: &MultiValue) -> mlua::Result<f64> {
    let bound = |n: usize| {
        let number = args.get(n - 1).and_then(|value| number(lua, value));
        number.ok_or_else(|| errors::bad_argument(lua, n, "random", "number expected"))
    };
    let (low, high) = match args.len() {
        0 => return Ok(numbers.next()),
        1 => (1.0, bound(1)?),
        2 => (bound(1)?, bound(2)?),
        _ => return Err(errors::raise(lua, "wrong number of arguments")),
    };
    if low > high || low.is_nan() || high.is_nan() {
        let last = args.len();
        return Err(errors::bad_argument(
            lua,
            last,
            "random",
            "interval is empty",
        ));
    }
    Ok((numbers.next() * (high - low + 1.0)).floor() + low)
}

fn number(lua: &Lua, value: &Value) -> Option<f64> {
    lua.coerce_number(value.clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lua() -> (Lua, Budget) {
        let lua = Lua::new();
        let budget = Budget::default();
        install(&lua, &budget).unwrap();
        (lua, budget)
    }

    #[test]
    fn numbers_are_in_their_interval() {
        let (lua, _) = lua();
        lua.load(
            "local seen = {}
             for _ = 1, 2000 do
               local a, b, c = math.random(), math.random(6), math.random(-1, 1)
               assert(a >= 0 and a < 1 and b >= 1 and b <= 6 and b % 1 == 0 and c >= -1 and c <= 1)
               seen[b] = true; seen['c' .. c] = true
             end
             for b = 1, 6 do assert(seen[b]) end
             for c = -1, 1 do assert(seen['c' .. c]) end
             assert(math.random(3, 3) == 3)",
        )
        .exec()
        .unwrap();
        for wrong in ["0", "2, 1", "1, 2, 3", "'x'", "{}", "0/0", "1, nil"] {
            let code = format!("return math.random({wrong})");
            assert!(lua.load(code).eval::<f64>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_seed_counts_once() {
        let (lua, budget) = lua();
        let draw = || {
            let code = "math.randomseed(7) return math.random(1e9)";
            lua.load(code).eval::<f64>().unwrap()
        };
        let first = draw();
        assert_eq!(draw(), first);
        budget.enter(Phase::Rerun);
        assert_ne!(draw(), first);
    }
}
