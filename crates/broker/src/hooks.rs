//! Hook points (sheet 5.2): where a plugin is told, or asked, about clients and messages.
//!
//! Callbacks run in ascending priority, equal ones in the order of registering. A point that nobody
//! uses costs the test of one bit.

use crate::passing::NO_CLIENT;
use arc_swap::ArcSwap;
use emqttd_plugin_sdk::{Change, ClientRef, Flow, HookPoint, Hooks, Verdict};
use emqttd_session::{Message, MessageParts, Publisher};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The callbacks in force.
#[derive(Default)]
pub struct HookTable {
    /// held while the other two are changed, so that they belong together
    changing: Mutex<()>,
    points: AtomicU32,
    chain: ArcSwap<Vec<(i32, Arc<dyn Hooks>)>>,
}

/// What `message.publish` has made of a message.
pub(crate) enum Passed {
    /// it goes on as it was
    Same,
    /// this goes on in its place
    Changed(Arc<Message>),
    /// nothing goes on
    Dropped,
}

impl HookTable {
    /// Adds a set of callbacks with a priority (EMQ's default is 0).
    pub fn add(&self, priority: i32, hooks: Arc<dyn Hooks>) {
        self.change(|chain| {
            let at = chain.partition_point(|(p, _)| *p <= priority);
            chain.insert(at, (priority, Arc::clone(&hooks)));
        });
    }

    /// Takes a set of callbacks away.
    pub fn remove(&self, hooks: &Arc<dyn Hooks>) {
        self.change(|chain| chain.retain(|(_, h)| !Arc::ptr_eq(h, hooks)));
    }

    /// Puts a set of callbacks in the place of another: no message passes without one of the two.
    pub fn replace(&self, old: &Arc<dyn Hooks>, new: &Arc<dyn Hooks>) {
        self.change(|chain| {
            for (_, hooks) in chain.iter_mut().filter(|(_, h)| Arc::ptr_eq(h, old)) {
                *hooks = Arc::clone(new);
            }
        });
    }

    fn change(&self, f: impl Fn(&mut Vec<(i32, Arc<dyn Hooks>)>)) {
        let _changing = self.changing.lock();
        self.chain.rcu(|old| {
            let mut chain = Vec::clone(old);
            f(&mut chain);
            chain
        });
        let points = self
            .chain
            .load()
            .iter()
            .fold(0, |sum, (_, h)| sum | h.points());
        self.points.store(points, Ordering::Release);
    }

    /// Whether anybody uses a point.
    #[inline]
    pub fn has(&self, point: HookPoint) -> bool {
        self.points.load(Ordering::Relaxed) & point as u32 != 0
    }

    /// Calls `f` with each set of callbacks that wants the point, in order.
    pub fn each(&self, point: HookPoint, mut f: impl FnMut(&dyn Hooks)) {
        self.ask(point, |hooks| {
            f(hooks);
            Flow::Next
        });
    }

    /// As [`HookTable::each`], until one of them stops the chain.
    pub fn ask(&self, point: HookPoint, mut f: impl FnMut(&dyn Hooks) -> Flow) -> Flow {
        if self.has(point) {
            for (_, hooks) in self
                .chain
                .load()
                .iter()
                .filter(|(_, h)| h.points() & point as u32 != 0)
            {
                if f(&**hooks) == Flow::Stop {
                    return Flow::Stop;
                }
            }
        }
        Flow::Next
    }

    /// Runs `message.publish`.
    pub(crate) fn publish(&self, message: &Arc<Message>) -> Passed {
        let mut changed: Option<Arc<Message>> = None;
        let flow = self.ask(HookPoint::MessagePublish, |hooks| {
            let current = changed.as_ref().unwrap_or(message);
            match hooks.message_publish(&view(current)) {
                Verdict::Pass => {}
                Verdict::Drop => return Flow::Stop,
                Verdict::Change(change) => match apply(current, &change) {
                    Ok(new) => changed = Some(Arc::new(new)),
                    Err(topic) => log::error!(
                        "a plugin wants the topic {} for a message on {}: it is not valid, the message stays \
                         as it is",
                        emqttd_logging::escape(topic),
                        emqttd_logging::escape(current.topic())
                    ),
                },
            }
            Flow::Next
        });
        match (flow, changed) {
            (Flow::Stop, _) => Passed::Dropped,
            (Flow::Next, None) => Passed::Same,
            (Flow::Next, Some(changed)) => Passed::Changed(changed),
        }
    }

    /// Tells of a message that somebody will not get.
    pub(crate) fn dropped(&self, message: &Message, reason: &str) {
        self.each(HookPoint::MessageDropped, |h| {
            h.message_dropped(&view(message), reason);
        });
    }
}

/// A message as plugins see it.
pub(crate) fn view(message: &Message) -> emqttd_plugin_sdk::Message<'_> {
    emqttd_plugin_sdk::Message {
        topic: message.topic(),
        payload: message.payload(),
        qos: message.qos.into(),
        retain: message.retain,
        from: message.publisher.as_deref().map(sender),
        properties: message.properties(),
        timestamp: message.timestamp,
    }
}

/// The sender of a message as plugins see it. An empty user name says that it is no client; a client that gave one
/// has none here, so that nobody passes for a plugin.
fn sender(publisher: &Publisher) -> ClientRef<'_> {
    ClientRef {
        username: match publisher.username.as_deref() {
            Some(NO_CLIENT) => Some(""),
            Some("") => None,
            username => username,
        },
        ..by_name(publisher)
    }
}

/// A client as plugins see it where its names are enough.
pub(crate) fn by_name(publisher: &Publisher) -> ClientRef<'_> {
    ClientRef {
        clientid: &publisher.clientid,
        username: publisher.username.as_deref(),
    }
}

/// The changed message, or the topic name that is not one.
fn apply<'a>(message: &'a Message, change: &'a Change) -> Result<Message, &'a str> {
    let old = message.parts();
    let topic = change.topic.as_deref().unwrap_or(old.topic);
    if topic.len() > usize::from(u16::MAX) || emqttd_mqtt::topic::validate_name(topic).is_err() {
        return Err(topic);
    }
    let parts = MessageParts {
        topic,
        properties: old.properties,
        payload: change.payload.as_deref().unwrap_or(old.payload),
        qos: change.qos.map_or(old.qos, Into::into),
        retain: change.retain.unwrap_or(old.retain),
    };
    let publisher = message.publisher.clone();
    Ok(Message::new(
        parts,
        publisher,
        message.timestamp,
        message.expires_at,
    ))
}
