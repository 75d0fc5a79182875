//! Counters. Each shard has its own, which only it changes; a reader sums them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($variant:ident = $name:literal,)*) => {
        /// A counter of one shard.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric { $($variant,)* }

        const NAMES: &[&str] = &[$($name,)*];
    };
}

// The names of sheet 8.4 that are counted as they are; the sums among them are made when read. Those
// below `messages/retained` are ours.
counters! {
    BytesReceived = "bytes/received",
    BytesSent = "bytes/sent",
    Connect = "packets/connect",
    Connack = "packets/connack",
    PubackReceived = "packets/puback/received",
    PubackSent = "packets/puback/sent",
    PubackMissed = "packets/puback/missed",
    PubrecReceived = "packets/pubrec/received",
    PubrecSent = "packets/pubrec/sent",
    PubrecMissed = "packets/pubrec/missed",
    PubrelReceived = "packets/pubrel/received",
    PubrelSent = "packets/pubrel/sent",
    PubrelMissed = "packets/pubrel/missed",
    PubcompReceived = "packets/pubcomp/received",
    PubcompSent = "packets/pubcomp/sent",
    PubcompMissed = "packets/pubcomp/missed",
    Subscribe = "packets/subscribe",
    Suback = "packets/suback",
    Unsubscribe = "packets/unsubscribe",
    Unsuback = "packets/unsuback",
    Pingreq = "packets/pingreq",
    Pingresp = "packets/pingresp",
    Disconnect = "packets/disconnect",
    Qos0Received = "messages/qos0/received",
    Qos0Sent = "messages/qos0/sent",
    Qos1Received = "messages/qos1/received",
    Qos1Sent = "messages/qos1/sent",
    Qos2Received = "messages/qos2/received",
    Qos2Sent = "messages/qos2/sent",
    Qos2Dropped = "messages/qos2/dropped",
    Dropped = "messages/dropped",
    AuthReceived = "packets/auth/received",
    AuthSent = "packets/auth/sent",
    DisconnectSent = "packets/disconnect/sent",
    DroppedQueueFull = "messages/dropped/queue_full",
    DroppedQos0Queue = "messages/dropped/queue_qos0",
    DroppedExpired = "messages/dropped/expired",
    DroppedTooLarge = "messages/dropped/too_large",
    DroppedSendBuffer = "messages/dropped/send_buffer_full",
    DroppedCleared = "messages/dropped/cleared",
    DroppedGroupFull = "messages/dropped/group_full",
    DroppedRetainFull = "messages/dropped/retain_full",
    AclDenied = "messages/dropped/acl_denied",
    RateLimited = "clients/rate_limited",
}

const COUNT: usize = NAMES.len();

/// The counters of one shard. Written by that shard alone, so a plain load and store do.
#[derive(Debug)]
pub struct Counters([AtomicU64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Counters([const { AtomicU64::new(0) }; COUNT])
    }
}

impl Counters {
    /// Adds `n`. Only the owning shard may call it.
    #[inline]
    pub fn add(&self, metric: Metric, n: u64) {
        let counter = &self.0[metric as usize];
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The present value.
    pub fn get(&self, metric: Metric) -> u64 {
        self.0[metric as usize].load(Relaxed)
    }
}

/// All counters of all shards by name, sorted, with the sums of sheet 8.4; `ours` adds those that
/// EMQ 2.x did not have.
pub(crate) fn report(shards: &[&Counters], retained: u64, ours: bool) -> Vec<(&'static str, u64)> {
    let total = |metric: usize| {
        shards
            .iter()
            .map(|c| c.0[metric].load(Relaxed))
            .sum::<u64>()
    };
    let sum = |metrics: &[Metric]| metrics.iter().map(|m| total(*m as usize)).sum::<u64>();
    use Metric as M;
    let received = [M::Qos0Received, M::Qos1Received, M::Qos2Received];
    let sent = [M::Qos0Sent, M::Qos1Sent, M::Qos2Sent];
    let other_received = [
        M::Connect,
        M::PubackReceived,
        M::PubrecReceived,
        M::PubrelReceived,
        M::PubcompReceived,
        M::Subscribe,
        M::Unsubscribe,
        M::Pingreq,
        M::Disconnect,
        M::AuthReceived,
    ];
    let other_sent = [
        M::Connack,
        M::PubackSent,
        M::PubrecSent,
        M::PubrelSent,
        M::PubcompSent,
        M::Suback,
        M::Unsuback,
        M::Pingresp,
        M::AuthSent,
        M::DisconnectSent,
    ];
    let last_of_emq = Metric::Dropped as usize;
    let mut rows: Vec<(&'static str, u64)> = NAMES
        .iter()
        .enumerate()
        .filter(|(n, _)| ours || *n <= last_of_emq)
        .map(|(n, name)| (*name, total(n)))
        .collect();
    rows.extend([
        ("messages/received", sum(&received)),
        ("messages/sent", sum(&sent)),
        ("messages/retained", retained),
        ("packets/publish/received", sum(&received)),
        ("packets/publish/sent", sum(&sent)),
        ("packets/received", sum(&received) + sum(&other_received)),
        ("packets/sent", sum(&sent) + sum(&other_sent)),
    ]);
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_38_names_of_emq() {
        let rows = report(&[&Counters::default()], 0, false);
        assert_eq!(rows.len(), 38);
        assert!(rows.is_sorted());
    }
}
