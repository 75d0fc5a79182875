//! What nobody tells of, and what is therefore looked at every two seconds, once for all streams: figures, and which plugins
//! and listeners there are.

use super::hub::{Event, Hub};
use super::kinds::Kinds;
use super::seen::now;
use crate::state::App;
use emqttd_management::Core;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

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
    fn look(&mut self, core: &Core, wanted: Kinds) -> Vec<Event> {
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
        if wanted.has(Kinds::STATS) {
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

/// Looks until nobody takes what it has seen.
pub(super) async fn look(hub: Hub, app: App, seen: mpsc::Sender<Vec<Event>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Last::default();
    loop {
        ticks.tick().await;
        let wanted = hub.wanted();
        let looked = app
            .ask(move |core| {
                let events = last.look(core, wanted);
                (last, events)
            })
            .await;
        let events;
        (last, events) = looked.unwrap_or_default();
        if seen.send(events).await.is_err() {
            return;
        }
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
