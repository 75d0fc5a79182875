//! The callbacks of scripts as hooks of the broker.

use crate::emq::{Quiet, SENDER};
use crate::engine::Engine;
use crate::returned::{Passing, Published, filter, settled};
use emqttd_plugin_sdk::{Client, ClientRef, Flow, HookPoint, Hooks, Message, TopicEntry, Verdict};
use mlua::{IntoLua, IntoLuaMulti, Lua, MultiValue, Value};
use std::sync::Arc;

/// A callback that a script may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub(crate) enum Hook {
    ClientConnected,
    ClientDisconnected,
    ClientSubscribe,
    ClientUnsubscribe,
    SessionSubscribed,
    SessionUnsubscribed,
    MessagePublish,
    MessageDelivered,
    MessageAcked,
}

impl Hook {
    /// All of them; each stands at its own number.
    pub const ALL: [Hook; 9] = [
        Hook::ClientConnected,
        Hook::ClientDisconnected,
        Hook::ClientSubscribe,
        Hook::ClientUnsubscribe,
        Hook::SessionSubscribed,
        Hook::SessionUnsubscribed,
        Hook::MessagePublish,
        Hook::MessageDelivered,
        Hook::MessageAcked,
    ];

    /// What scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Hook::ClientConnected => "on_client_connected",
            Hook::ClientDisconnected => "on_client_disconnected",
            Hook::ClientSubscribe => "on_client_subscribe",
            Hook::ClientUnsubscribe => "on_client_unsubscribe",
            Hook::SessionSubscribed => "on_session_subscribed",
            Hook::SessionUnsubscribed => "on_session_unsubscribed",
            Hook::MessagePublish => "on_message_publish",
            Hook::MessageDelivered => "on_message_delivered",
            Hook::MessageAcked => "on_message_acked",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| hook.name() == name)
    }

    fn point(self) -> HookPoint {
        match self {
            Hook::ClientConnected => HookPoint::ClientConnected,
            Hook::ClientDisconnected => HookPoint::ClientDisconnected,
            Hook::ClientSubscribe => HookPoint::ClientSubscribe,
            Hook::ClientUnsubscribe => HookPoint::ClientUnsubscribe,
            Hook::SessionSubscribed => HookPoint::SessionSubscribed,
            Hook::SessionUnsubscribed => HookPoint::SessionUnsubscribed,
            Hook::MessagePublish => HookPoint::MessagePublish,
            Hook::MessageDelivered => HookPoint::MessageDelivered,
            Hook::MessageAcked => HookPoint::MessageAcked,
        }
    }
}

/// The hook of one callback, for all scripts. There is one for each that some script has registered, so that
/// the others cost nothing.
pub(crate) struct LuaHook {
    pub hook: Hook,
    pub engine: Arc<Engine>,
}

/// Bytes as a string of Lua.
struct Bytes<'a>(&'a [u8]);

impl IntoLua for Bytes<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

impl LuaHook {
    /// Tells all scripts; what they return is not looked at.
    fn tell<A: IntoLuaMulti>(&self, bytes: usize, args: impl Fn() -> A) {
        for script in self.engine.chain(self.hook).iter() {
            script.call(self.hook, bytes, args(), |_| Ok(()));
        }
    }

    fn tell_of_message(&self, client: ClientRef<'_>, message: &Message<'_>) {
        if message.topic.starts_with('$') {
            return;
        }
        // A script that publishes whenever something is delivered would hear of its own messages for ever.
        let _quiet = is_ours(message).then(Quiet::begin);
        let ClientRef { clientid, username } = client;
        self.tell(message.payload.len(), || {
            let payload = Bytes(message.payload);
            let (qos, retain) = (message.qos as u8, message.retain);
            (clientid, username, message.topic, payload, qos, retain)
        });
    }

    /// Lets scripts change a table of filters. What they cancel is left without a topic, which the broker takes for
    /// no filter: it must not be taken out, for the broker goes by places.
    fn change(&self, client: ClientRef<'_>, table: &mut [TopicEntry], refuse: bool) {
        let ClientRef { clientid, username } = client;
        for entry in table {
            for script in self.engine.chain(self.hook).iter() {
                if entry.topic.is_empty() || entry.topic.starts_with('$') {
                    break;
                }
                let args = (clientid, username, entry.topic.as_str());
                let read = |values: MultiValue| filter(&values);
                match script.call(self.hook, 0, args, read) {
                    Some(Some(topic)) => entry.topic = topic,
                    Some(None) => entry.topic.clear(),
                    None if refuse => entry.topic.clear(),
                    None => {}
                }
            }
        }
    }
}

/// Published by a script.
fn is_ours(message: &Message<'_>) -> bool {
    // A client of this name has a user name, or none.
    matches!(message.from, Some(from) if from.clientid == SENDER && from.username == Some(""))
}

impl Hooks for LuaHook {
    fn points(&self) -> u32 {
        self.hook.point() as u32
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        let ClientRef { clientid, username } = client.by_name();
        self.tell(0, || (clientid, username, connack));
    }

    fn client_disconnected(&self, client: &Client, reason: &str, _code: Option<u8>) {
        let ClientRef { clientid, username } = client.by_name();
        self.tell(0, || (clientid, username, reason));
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.change(client, table, self.engine.refuses());
        Flow::Next
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.change(client, table, false);
        Flow::Next
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.tell_of_session(client, entry);
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.tell_of_session(client, entry);
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if message.topic.starts_with('$') || is_ours(message) {
            return Verdict::Pass;
        }
        // The broker itself has no name.
        let from = message.from.unwrap_or(ClientRef {
            clientid: "",
            username: Some(""),
        });
        let mut passing = Passing::of(message);
        for script in self.engine.chain(self.hook).iter() {
            // One before may have moved it.
            if passing.topic.starts_with('$') {
                break;
            }
            let args = (
                from.clientid,
                from.username,
                &*passing.topic,
                Bytes(&passing.payload),
                passing.qos as u8,
                passing.retain,
            );
            let read = |values: MultiValue| settled(values, &passing);
            match script.call(self.hook, passing.payload.len(), args, read) {
                Some(Published::Same) => {}
                Some(Published::Changed(change)) => passing.apply(change),
                Some(Published::Dropped) => return Verdict::Drop,
                None if self.engine.refuses() => return Verdict::Drop,
                None => {}
            }
        }
        passing.verdict()
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.tell_of_message(client, message);
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.tell_of_message(client, message);
    }
}

impl LuaHook {
    fn tell_of_session(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        if entry.topic.starts_with('$') {
            return;
        }
        let ClientRef { clientid, username } = client;
        self.tell(0, || (clientid, username, entry.topic.as_str()));
    }
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;
