//! What a session has, for who wants to see it or be rid of it.

use super::{Session, Stage};
use crate::message::{Delivery, Message};
use crate::sink::{Sink, record_done};
use std::sync::Arc;

/// How far an outbound QoS 1 or 2 message has come.
#[derive(Debug)]
pub enum InFlight<'a> {
    /// PUBLISH sent, PUBACK or PUBREC awaited
    Published(&'a Delivery),
    /// PUBREL sent, PUBCOMP awaited
    Released,
    /// sent before a restart; its body is still to be read
    Unloaded,
}

impl Session {
    /// Messages on their way, by packet identifier, in the order of sending.
    pub fn in_flight(&self) -> impl Iterator<Item = (u16, InFlight<'_>)> {
        let all = self.flows.iter().flat_map(|flows| flows.inflight.iter());
        all.map(|(id, entry)| {
            let how = match &entry.stage {
                Stage::Published(delivery) => InFlight::Published(delivery),
                Stage::Released => InFlight::Released,
                Stage::Unloaded { .. } => InFlight::Unloaded,
            };
            (id, how)
        })
    }

    /// Messages that wait in memory, the next to be sent first.
    pub fn waiting(&self) -> impl Iterator<Item = &Delivery> {
        self.flows.iter().flat_map(|flows| flows.queue.iter())
    }

    /// Drops the next `most` messages that wait in memory and hands them out.
    pub fn clear(&mut self, most: usize, sink: &mut impl Sink) -> Vec<Arc<Message>> {
        let mut gone = Vec::new();
        if let Some(flows) = &mut self.flows {
            while gone.len() < most
                && let Some(delivery) = flows.queue.pop()
            {
                record_done(sink, &delivery);
                gone.push(delivery.message);
            }
        }
        self.queue_changed(sink);
        gone
    }

    /// Has all that waits on disk now dropped as it is read, in pages, whether the client is there or not. Says how
    /// many messages that are.
    pub fn clear_backlog(&mut self, sink: &mut impl Sink) -> usize {
        let Some(backlog) = self.flows.as_mut().and_then(|flows| flows.backlog.as_mut()) else {
            return 0;
        };
        let len = backlog.len();
        backlog.clear();
        self.want_page(sink);
        len
    }
}
