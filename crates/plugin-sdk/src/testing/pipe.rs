//! A virtual connection whose broker's end is in the hands of a test.

use super::Fake;
use crate::virtual_client::Will;
use crate::{PeerInfo, Pipe, PipeEvents};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A virtual connection that the plugin has opened, as the broker's end sees it.
#[derive(Clone)]
pub struct FakePipe(Arc<Ends>);

struct Ends {
    peer: PeerInfo,
    /// never held while `flow` is, so that the plugin may call its pipe from an event
    events: Mutex<Option<Box<dyn PipeEvents>>>,
    flow: Mutex<Flow>,
}

struct Flow {
    received: Vec<u8>,
    /// bytes that the broker takes before it says that it is full
    room: usize,
    resumed: usize,
    closed: Option<String>,
    wills: Vec<Option<Will>>,
}

impl FakePipe {
    pub(super) fn new(peer: PeerInfo, events: Box<dyn PipeEvents>) -> FakePipe {
        FakePipe(Arc::new(Ends {
            peer,
            events: Mutex::new(Some(events)),
            flow: Mutex::new(Flow {
                received: Vec::new(),
                room: usize::MAX,
                resumed: 0,
                closed: None,
                wills: Vec::new(),
            }),
        }))
    }

    pub(super) fn for_the_plugin(&self, fake: Arc<Fake>) -> Arc<dyn Pipe> {
        Arc::new(PluginEnd {
            ends: Arc::clone(&self.0),
            fake,
        })
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.0.flow()
    }

    fn events(&self) -> MutexGuard<'_, Option<Box<dyn PipeEvents>>> {
        let events = self.0.events.lock();
        events.unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the plugin says is at the far end.
    pub fn peer(&self) -> &PeerInfo {
        &self.0.peer
    }

    /// Bytes that the plugin has sent since this was last asked.
    pub fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.flow().received)
    }

    /// The broker takes so many bytes more. The plugin is told when there was no room before.
    pub fn set_room(&self, bytes: usize) {
        let was_full = std::mem::replace(&mut self.flow().room, bytes) == 0;
        if was_full
            && bytes > 0
            && let Some(events) = &mut *self.events()
        {
            events.room();
        }
    }

    /// Gives the plugin bytes for the client: how many it takes; 0 after the end.
    pub fn output(&self, bytes: &[u8]) -> usize {
        match &mut *self.events() {
            Some(events) => events.output(bytes),
            None => 0,
        }
    }

    /// How often the plugin has said that it can take bytes again.
    pub fn resumed(&self) -> usize {
        self.flow().resumed
    }

    /// Wills that the plugin has put in the place of that of CONNECT since this was last asked.
    pub fn wills(&self) -> Vec<Option<Will>> {
        std::mem::take(&mut self.flow().wills)
    }

    /// The broker ends the connection.
    pub fn end(&self, reason: &str) {
        let events = self.events().take();
        if let Some(mut events) = events {
            self.flow().closed = Some(reason.into());
            events.closed(reason);
        }
    }

    /// Why the connection has ended; `None` = it has not. One that the plugin closed has its reason.
    pub fn closed(&self) -> Option<String> {
        self.flow().closed.clone()
    }
}

impl Ends {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the plugin holds.
struct PluginEnd {
    ends: Arc<Ends>,
    fake: Arc<Fake>,
}

impl Pipe for PluginEnd {
    fn send(&self, bytes: &[u8]) -> usize {
        let mut flow = self.ends.flow();
        if flow.closed.is_some() {
            return 0;
        }
        let taken = bytes.len().min(flow.room);
        if flow.room != usize::MAX {
            flow.room -= taken;
        }
        flow.received.extend_from_slice(&bytes[..taken]);
        drop(flow);
        self.fake.changed.notify_all();
        taken
    }

    fn close(&self, reason: &str) {
        self.ends
            .flow()
            .closed
            .get_or_insert_with(|| reason.to_string());
        self.fake.changed.notify_all();
    }

    fn resume(&self) {
        self.ends.flow().resumed += 1;
        self.fake.changed.notify_all();
    }

    fn set_will(&self, will: Option<Will>) {
        self.ends.flow().wills.push(will);
        self.fake.changed.notify_all();
    }
}
