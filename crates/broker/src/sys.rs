//! What the broker says of itself below `$SYS/brokers/<node>/` (sheet 8).

use crate::node::Node;
use crate::shard::Shard;
use crate::target::NOBODY;
use emqttd_mqtt::QoS;
use emqttd_session::{Message, MessageParts};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Version of this broker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// `sysdescr` (sheet 8.2): consumers know EMQ by this sentence's place, not by its words.
pub const SYSDESCR: &str = "EMQ-compatible MQTT Broker";

/// Milliseconds between two looks at what has expired.
const SWEEPS: u64 = 1000;

/// When what is due; kept by shard 0.
#[derive(Debug)]
pub(crate) struct Ticker {
    next_second: u64,
    next_interval: u64,
    /// when retained messages that are over may be removed next
    next_sweep: u64,
    /// whether anybody hears `uptime` and `datetime`, as of that generation of the routes
    heard: (u64, bool),
    begun: bool,
}

impl Ticker {
    pub fn new(now: u64) -> Ticker {
        Ticker {
            next_second: now + 1000,
            next_interval: now,
            next_sweep: 0,
            heard: (0, false),
            begun: false,
        }
    }
}

impl Shard {
    /// When shard 0 has something to say next.
    pub(crate) fn sys_due(&self) -> Option<u64> {
        if !self.sys.begun {
            return Some(self.now);
        }
        // A change of the routes is looked at by the next tick, which comes at once.
        let generation = self.node.route_generation.load(Ordering::Relaxed);
        let stale = self.sys.heard.0 != generation;
        let next = if self.sys.heard.1 || stale {
            self.sys.next_second.min(self.sys.next_interval)
        } else {
            self.sys.next_interval
        };
        Some(next.min(self.sweep_due()))
    }

    /// When retained messages are removed for being over: not one by one.
    fn sweep_due(&self) -> u64 {
        self.node.retained.due().max(self.sys.next_sweep)
    }

    pub(crate) fn sys_tick(&mut self) {
        let interval = self.settings.mqtt.sys_interval.as_millis() as u64;
        if !self.sys.begun {
            self.sys.begun = true;
            self.sys.next_interval = self.now + interval;
        }
        if self.now >= self.sweep_due() {
            let more = self.sweep_retained();
            self.sys.next_sweep = if more { 0 } else { self.now + SWEEPS };
        }
        if self.now < self.sys.next_second.min(self.sys.next_interval) {
            return;
        }
        let prefix = format_prefix(&self.node.name);
        if self.now >= self.sys.next_second {
            self.sys.next_second = (self.sys.next_second + 1000).max(self.now + 1);
            let generation = self.node.route_generation.load(Ordering::Relaxed);
            if self.sys.heard.0 != generation {
                let mut heard = false;
                let router = self.node.router.read();
                router.route(&format!("{prefix}uptime"), |_| heard = true);
                router.route(&format!("{prefix}datetime"), |_| heard = true);
                drop(router);
                self.sys.heard = (generation, heard);
            }
            if self.sys.heard.1 {
                self.publish_own(
                    &format!("{prefix}uptime"),
                    uptime(&self.node).as_bytes(),
                    false,
                );
                self.publish_own(&format!("{prefix}datetime"), datetime().as_bytes(), false);
            }
        }
        if self.now >= self.sys.next_interval {
            self.sys.next_interval = self.now + interval;
            self.sys_report(&prefix);
        }
    }

    fn sys_report(&mut self, prefix: &str) {
        for (name, value) in stats(&self.node) {
            self.publish_own(
                &format!("{prefix}stats/{name}"),
                value.to_string().as_bytes(),
                false,
            );
        }
        for (name, value) in metrics(&self.node, false) {
            self.publish_own(
                &format!("{prefix}metrics/{name}"),
                value.to_string().as_bytes(),
                false,
            );
        }
        let node = self.node.name.clone();
        self.publish_own("$SYS/brokers", node.as_bytes(), true);
        self.publish_own(&format!("{prefix}version"), VERSION.as_bytes(), true);
        self.publish_own(&format!("{prefix}sysdescr"), SYSDESCR.as_bytes(), true);
    }

    pub(crate) fn own_message(&self, topic: &str, payload: &[u8], retain: bool) -> Arc<Message> {
        let parts = MessageParts {
            topic,
            properties: &[],
            payload,
            qos: QoS::AtMostOnce,
            retain,
        };
        Arc::new(Message::new(parts, None, self.unix, u64::MAX))
    }

    /// Publishes a message of the broker's own.
    pub(crate) fn publish_own(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let message = self.own_message(topic, payload, retain);
        self.publish_message(message, NOBODY);
    }
}

fn format_prefix(node: &str) -> String {
    format!("$SYS/brokers/{node}/")
}

/// Stats by name (sheet 8.3), sorted.
pub(crate) fn stats(node: &Node) -> Vec<(&'static str, u64)> {
    let gauges = &node.gauges;
    let retained = (node.retained.count() as u64, node.retained.most() as u64);
    let pairs = [
        ("clients/count", "clients/max", gauges.clients.get()),
        ("retained/count", "retained/max", retained),
        ("routes/count", "routes/max", gauges.routes.get()),
        ("sessions/count", "sessions/max", gauges.sessions.get()),
        (
            "subscribers/count",
            "subscribers/max",
            // One for each subscription that is routed, and all of them are.
            gauges.subscriptions.get(),
        ),
        (
            "subscriptions/count",
            "subscriptions/max",
            gauges.subscriptions.get(),
        ),
        ("topics/count", "topics/max", gauges.routes.get()),
    ];
    pairs
        .into_iter()
        .flat_map(|(count, max, (now, most))| [(count, now), (max, most)])
        .collect()
}

/// Metrics by name (sheet 8.4), sorted; `ours` adds those that EMQ 2.x had not.
pub(crate) fn metrics(node: &Node, ours: bool) -> Vec<(&'static str, u64)> {
    let counters: Vec<_> = node.counters.iter().map(|c| &**c).collect();
    crate::metrics::report(&counters, node.retained.count() as u64, ours)
}

/// `5 seconds`, `2 minutes, 5 seconds`, `3 days,1 hours, 2 minutes, 5 seconds` (sheet 8.2).
pub(crate) fn uptime(node: &Node) -> String {
    uptime_text(node.started.elapsed().as_secs())
}

fn uptime_text(seconds: u64) -> String {
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    let (days, h) = (hours / 24, hours % 24);
    match (days, hours, minutes) {
        (1.., _, _) => format!("{days} days,{h} hours, {m} minutes, {s} seconds"),
        (_, 1.., _) => format!("{h} hours, {m} minutes, {s} seconds"),
        (_, _, 1..) => format!("{m} minutes, {s} seconds"),
        _ => format!("{s} seconds"),
    }
}

/// Local time as `YYYY-MM-DD HH:MM:SS`.
pub(crate) fn datetime() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::uptime_text;

    #[test]
    fn uptime_reads_as_in_emq() {
        assert_eq!(uptime_text(5), "5 seconds");
        assert_eq!(uptime_text(125), "2 minutes, 5 seconds");
        assert_eq!(uptime_text(3725), "1 hours, 2 minutes, 5 seconds");
        assert_eq!(
            uptime_text(3 * 86400 + 3725),
            "3 days,1 hours, 2 minutes, 5 seconds"
        );
    }
}
