//! What must be retained, and what a new subscriber got of it.

use std::collections::HashMap;

use super::Ledger;
use crate::findings::Kind;
use crate::message::Key;

/// A retained topic: one publisher, one after the other.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// the last one acknowledged
    pub(super) base: Option<u32>,
    pub(super) last_deletion: Option<u32>,
}

/// What a check of the retained messages began with.
#[derive(Debug, Clone, Default)]
pub struct Baseline(Vec<(u16, Option<u32>)>);

impl Ledger {
    /// What must be retained at least, at this moment.
    pub fn baseline(&self) -> Baseline {
        Baseline(
            self.retained
                .iter()
                .map(|(topic, r)| (*topic, r.base))
                .collect(),
        )
    }

    /// A new subscriber has seen all that is retained, `seen` being the last it got on each topic: what is
    /// wrong with that.
    pub fn retained_wrong(
        &self,
        baseline: &Baseline,
        seen: &HashMap<String, Option<Key>>,
    ) -> Vec<String> {
        let mut all = Vec::new();
        for (topic, base) in &baseline.0 {
            let name = &self.topics[usize::from(*topic)];
            let Some(retained) = self.retained.get(topic) else {
                continue;
            };
            let deleted_since = retained
                .last_deletion
                .is_some_and(|n| base.is_none_or(|b| n >= b));
            let wrong = match (seen.get(name).copied().flatten(), base) {
                (None, None) => None,
                (None, Some(_)) if deleted_since => None,
                (None, Some(base)) => Some(format!("nothing, where {base} was acknowledged")),
                (Some(key), Some(base)) if key.n < *base => {
                    Some(format!("{key}, where {base} was acknowledged"))
                }
                (Some(_), _) => None,
            };
            if let Some(wrong) = wrong {
                all.push(format!("on {name} a new subscriber got {wrong}"));
            }
        }
        all
    }

    /// That is how it stays.
    pub fn retained_seen(&mut self, baseline: &Baseline, wrong: Vec<String>) {
        self.counts.retained += baseline.0.len() as u64;
        for what in wrong {
            self.findings.add(Kind::Retained, || what);
        }
    }
}
