//! For tests: the same script with Lua's own library and with ours.
#![allow(clippy::unwrap_used)]

use crate::budget::Budget;
use crate::{base, errors, strings, tables};
use mlua::{BString, Function, HookTriggers, IntoLuaMulti, Lua, MultiValue, Value, VmState};

/// Steps that no test uses up.
pub(crate) const PLENTY: u64 = 1 << 60;

/// Two interpreters.
pub(crate) struct Pair {
    own: Lua,
    ours: Lua,
    pub budget: Budget,
}

/// A function in both.
pub(crate) struct Both<'a> {
    pair: &'a Pair,
    own: Function,
    ours: Function,
}

impl Pair {
    pub fn new() -> Pair {
        let (own, ours, budget) = (Lua::new(), Lua::new(), Budget::default());
        base::install(&ours, &budget).unwrap();
        strings::install(&ours, &budget).unwrap();
        tables::install(&ours, &budget).unwrap();
        // A function of ours that is the last thing a function does leaves no trace of its caller, if it is written in
        // Lua. So that errors have their line, tests go through this one.
        for lua in [&own, &ours] {
            lua.load("function _(...) return ... end").exec().unwrap();
        }
        // As in the interpreters of the engine.
        let spent = budget.clone();
        let triggers = HookTriggers::new().every_nth_instruction(100);
        ours.set_hook(triggers, move |_, _| {
            spent.spend(100)?;
            Ok(VmState::Continue)
        })
        .unwrap();
        Pair { own, ours, budget }
    }

    /// A string as an argument.
    pub fn text(&self, bytes: &[u8]) -> BString {
        bytes.into()
    }

    /// A script, which gets its arguments as `...`.
    pub fn load(&self, source: &str) -> Both<'_> {
        let load = |lua: &Lua| lua.load(source).set_name("=x").into_function().unwrap();
        Both {
            pair: self,
            own: load(&self.own),
            ours: load(&self.ours),
        }
    }

    /// Runs a script with both, which must come to the same, and says what that is.
    #[track_caller]
    pub fn same(&self, source: &str) -> String {
        match source.strip_prefix("return ") {
            Some(values) => self.load(&format!("return _({values})")).same(()),
            None => self.load(source).same(()),
        }
    }

    /// What a script comes to with our library and so many steps.
    pub fn within(&self, steps: u64, source: &str) -> String {
        self.budget.refill(steps);
        let f = self.ours.load(source).set_name("=x").into_function();
        outcome(&f.unwrap(), ())
    }
}

impl Both<'_> {
    /// Calls it in both.
    #[track_caller]
    pub fn same(&self, arguments: impl IntoLuaMulti + Clone) -> String {
        self.pair.budget.refill(PLENTY);
        let own = outcome(&self.own, arguments.clone());
        let ours = outcome(&self.ours, arguments);
        // What is missing is nil for us.
        let alike = |text: &str| text.replace("got no value", "got nil");
        assert_eq!(alike(&ours), alike(&own));
        ours
    }
}

fn outcome(f: &Function, arguments: impl IntoLuaMulti) -> String {
    match f.call::<MultiValue>(arguments) {
        Ok(values) => values.iter().map(shown).collect::<Vec<_>>().join(" "),
        Err(error) => format!("error: {}", errors::text(&error)),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.as_bytes().escape_ascii()),
        Value::Integer(n) => format!("{:?}", *n as f64),
        Value::Number(n) => format!("{n:?}"),
        Value::Boolean(b) => b.to_string(),
        Value::Error(error) => format!("'{}'", errors::text(error)),
        other => other.type_name().to_owned(),
    }
}

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(pub u64);

impl Dice {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }

    /// One of them.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Up to `most` of them in a row.
    pub fn some(&mut self, most: usize, of: &[&[u8]]) -> Vec<u8> {
        let n = self.below(most + 1);
        (0..n).flat_map(|_| self.one(of).to_vec()).collect()
    }
}
