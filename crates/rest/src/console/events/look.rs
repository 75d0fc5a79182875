//! What is looked at, once for all streams: figures, every two seconds, and which plugins and listeners there are, at
//! once when management has done something about them. What they do by themselves (a plugin that is switched off after
//! panics, one that opens a listener of its own) nobody tells of, and is seen with the next figures.

use super::hub::{Event, Hub};
use super::kinds::Kinds;
use super::seen::now;
use crate::state::App;
use emqttd_management::Core;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Counters that go with the figures.
const MAIN: [&str; 9] = [
    "bytes/received",
    "bytes/sent",
    "messages/received",
    "messages/sent",
    "messages/dropped",
    "messages/retained",
    "packets/received",
    "packets/sent",
    "packets/connect",
];

#[derive(Serialize)]
struct Stats {
    at: u64,
    stats: BTreeMap<&'static str, u64>,
    metrics: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct PluginName {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ListenerName {
    protocol: String,
    listen: String,
}

/// What was there at the last look; `None` when nobody wanted to know.
#[derive(Default)]
struct Last {
    plugins: Option<BTreeSet<PluginName>>,
    listeners: Option<BTreeSet<ListenerName>>,
}

/// What has come and gone since the last look.
fn changes<T: Ord + Clone + Serialize>(
    last: &mut Option<BTreeSet<T>>,
    present: Option<BTreeSet<T>>,
    kinds: Kinds,
    (came, went): (&str, &str),
    out: &mut Vec<Event>,
) {
    if let (Some(old), Some(new)) = (&*last, &present) {
        out.extend(
            old.difference(new)
                .map(|gone| Event::new(kinds, went, gone)),
        );
        out.extend(
            new.difference(old)
                .map(|here| Event::new(kinds, came, here)),
        );
    }
    *last = present;
}

impl Last {
    fn look(&mut self, core: &Core, wanted: Kinds, figures: bool) -> Vec<Event> {
        let mut out = Vec::new();
        let plugins = wanted.has(Kinds::PLUGINS).then(|| {
            let rows = core.plugins().map(|plugins| plugins.list());
            let rows = rows.unwrap_or_default().into_iter();
            rows.filter(|row| row.active)
                .map(|row| PluginName { name: row.name })
                .collect()
        });
        let words = ("plugin.started", "plugin.stopped");
        changes(&mut self.plugins, plugins, Kinds::PLUGINS, words, &mut out);
        let listeners = wanted.has(Kinds::LISTENERS).then(|| {
            let rows = core.broker.listeners().into_iter();
            rows.map(|row| ListenerName {
                protocol: row.protocol,
                listen: row.listen_on,
            })
            .collect()
        });
        let words = ("listener.opened", "listener.closed");
        changes(
            &mut self.listeners,
            listeners,
            Kinds::LISTENERS,
            words,
            &mut out,
        );
        if figures {
            let metrics = core.broker.all_metrics().into_iter();
            let stats = Stats {
                at: now(),
                stats: core.broker.stats().into_iter().collect(),
                metrics: metrics.filter(|(name, _)| MAIN.contains(name)).collect(),
            };
            out.push(Event::new(Kinds::STATS, "stats", &stats));
        }
        out
    }
}

/// Who looks.
pub(super) struct Looks {
    hub: Hub,
    app: App,
    ticks: Interval,
    last: Last,
}

impl Looks {
    /// The first look is at once.
    pub fn new(hub: Hub, app: App) -> Looks {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Looks {
            hub,
            app,
            ticks,
            last: Last::default(),
        }
    }

    /// Waits until it is time; what was looked at, and what has happened.
    pub async fn next(mut self) -> (Looks, Kinds, Vec<Event>) {
        let due = tokio::select! {
            _ = self.ticks.tick() => true,
            () = self.hub.changed() => false,
        };
        let wanted = self.hub.wanted();
        let figures = due && wanted.has(Kinds::STATS);
        let mut last = std::mem::take(&mut self.last);
        let looked = self.app.ask(move |core| {
            let events = last.look(core, wanted, figures);
            (last, events)
        });
        let events;
        (self.last, events) = looked.await.unwrap_or_default();
        (self, wanted, events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes() {
        let set = |names: &[&str]| {
            let names = names.iter().map(|name| PluginName {
                name: (*name).into(),
            });
            Some(names.collect::<BTreeSet<_>>())
        };
        let mut last = None;
        let mut told = |present| {
            let mut out = Vec::new();
            let words = ("came", "went");
            changes(&mut last, present, Kinds::PLUGINS, words, &mut out);
            let texts: Vec<String> = out.iter().map(|event| event.text.to_string()).collect();
            texts.concat()
        };
        // What is there at first is no news, nor is it after nobody has looked for a while.
        assert_eq!(told(set(&["a"])), "");
        assert_eq!(
            told(set(&["b"])),
            "event: went\ndata: {\"name\":\"a\"}\n\nevent: came\ndata: {\"name\":\"b\"}\n\n"
        );
        assert_eq!(told(set(&["b"])), "");
        assert_eq!(told(None), "");
        assert_eq!(told(set(&["c"])), "");
    }
}
