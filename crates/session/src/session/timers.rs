//! What is sent again and what is given up when time passes.

use super::{Session, Stage};
use crate::flows::Inflight;
use crate::sink::{Effect, Sink};
use emqttd_mqtt::{ReasonCode, Version};

impl Session {
    /// The next time at which [`Session::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<u64> {
        let flows = self.flows.as_ref().filter(|_| self.online)?;
        match (flows.retry_at, flows.await_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Sends again what was not acknowledged, and gives up what was not released. Only 3.x clients have
    /// either: MQTT 5 forbids the one on a living connection [MQTT-4.4.0-1] and knows not the other.
    pub fn on_timer(&mut self, now: u64, sink: &mut impl Sink) {
        if !self.online || self.version == Version::V5 {
            return;
        }
        let Some(flows) = &mut self.flows else { return };
        let interval = self.limits.retry_interval;
        if flows.retry_at.is_some_and(|at| at <= now) {
            for (id, entry) in flows.inflight.iter_mut() {
                if entry.sent_at + interval > now
                    || (!entry.counted && !matches!(entry.stage, Stage::Released))
                {
                    continue;
                }
                match &entry.stage {
                    Stage::Published(delivery) if sink.publish(delivery, id, true) => {
                        self.delivered += 1
                    }
                    Stage::Published(_) | Stage::Unloaded { .. } => {}
                    Stage::Released => sink.pubrel(id, ReasonCode::SUCCESS),
                }
                entry.sent_at = now;
            }
            self.arm_retry(now);
        }
        let Some(flows) = &mut self.flows else { return };
        let timeout = self.limits.await_rel_timeout;
        if flows.await_at.is_some_and(|at| at <= now) {
            let old: Vec<u16> = flows
                .awaiting
                .iter_mut()
                .filter(|(_, a)| a.since + timeout <= now)
                .map(|(id, _)| id)
                .collect();
            for id in old {
                if let Some(awaiting) = flows.awaiting.remove(id) {
                    sink.effect(Effect::AwaitRelTimeout(id, awaiting.message));
                }
            }
            self.arm_await(now);
        }
    }

    pub(super) fn arm_retry(&mut self, now: u64) {
        let interval = self.limits.retry_interval;
        let wanted = self.online && self.version != Version::V5 && interval > 0;
        let Some(flows) = &mut self.flows else { return };
        if !wanted {
            flows.retry_at = None;
            return;
        }
        // What has not been sent to this connection is not for the timer.
        let sent = |entry: &&mut Inflight| entry.counted || matches!(entry.stage, Stage::Released);
        let entries = flows.inflight.iter_mut().map(|(_, entry)| entry);
        let oldest = entries.filter(sent).map(|entry| entry.sent_at).min();
        flows.retry_at = oldest.map(|at| (at + interval).max(now + 1));
    }

    pub(super) fn arm_await(&mut self, now: u64) {
        let timeout = self.limits.await_rel_timeout;
        let wanted = self.online && self.version != Version::V5 && timeout > 0;
        let Some(flows) = &mut self.flows else { return };
        if !wanted {
            flows.await_at = None;
            return;
        }
        let entries = flows.awaiting.iter_mut();
        let oldest = entries.map(|(_, awaiting)| awaiting.since).min();
        flows.await_at = oldest.map(|at| (at + timeout).max(now + 1));
    }
}
