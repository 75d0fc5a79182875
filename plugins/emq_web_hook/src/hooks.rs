//! The hook points: what happens becomes events.

use crate::body::{self, Encoding};
use crate::event::Event;
use crate::rules::Rules;
use bytes::Bytes;
use emqttd_plugin_sdk::{Client, ClientRef, Flow, HookPoint, Hooks, Message, TopicEntry, Verdict};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives an event to `post` for each rule that asks for it.
pub(crate) struct WebHooks<P> {
    rules: Rules,
    post: P,
}

impl<P: Fn(Event)> WebHooks<P> {
    pub fn new(rules: Rules, post: P) -> WebHooks<P> {
        WebHooks { rules, post }
    }

    /// Something about a client.
    fn of_client(&self, point: HookPoint, clientid: &str, body: impl FnOnce() -> Bytes) {
        if self.rules.has(point) {
            (self.post)(event(clientid, body()));
        }
    }

    /// Something about a filter.
    fn of_filter(
        &self,
        point: HookPoint,
        clientid: &str,
        entry: &TopicEntry,
        body: impl Fn() -> Bytes,
    ) {
        // A hook before this one has cancelled it.
        if entry.topic.is_empty() {
            return;
        }
        for _ in self.rules.about(point, &entry.topic) {
            (self.post)(event(clientid, body()));
        }
    }

    /// Something about a message.
    fn of_message(
        &self,
        point: HookPoint,
        clientid: &str,
        message: &Message<'_>,
        body: impl Fn(Encoding) -> Bytes,
    ) {
        for rule in self.rules.about(point, message.topic) {
            (self.post)(event(clientid, body(rule.encoding)));
        }
    }
}

/// An event of now. `clientid` is the client that others of its events must not overtake.
fn event(clientid: &str, body: Bytes) -> Event {
    let mut hasher = DefaultHasher::new();
    clientid.hash(&mut hasher);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Event {
        lane: hasher.finish(),
        at: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
        body,
    }
}

impl<P: Fn(Event) + Send + Sync + 'static> Hooks for WebHooks<P> {
    fn points(&self) -> u32 {
        self.rules.points()
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        if connack == 0 {
            self.of_client(HookPoint::ClientConnected, &client.clientid, || {
                body::client_connected(client.by_name())
            });
        }
    }

    /// As EMQ: nothing of a client that never was accepted, and nothing of one that has been displaced by another
    /// connection with its client id, which goes on with its session or ends it.
    fn client_disconnected(&self, client: &Client, reason: &str, _code: Option<u8>) {
        if client.connected_at > 0 && reason != "conflict" {
            self.of_client(HookPoint::ClientDisconnected, &client.clientid, || {
                body::client_disconnected(client.by_name(), reason)
            });
        }
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        for entry in table {
            let body = || body::client_subscribe(client, entry);
            self.of_filter(HookPoint::ClientSubscribe, client.clientid, entry, body);
        }
        Flow::Next
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        for entry in table {
            let body = || body::client_unsubscribe(client, entry);
            self.of_filter(HookPoint::ClientUnsubscribe, client.clientid, entry, body);
        }
        Flow::Next
    }

    fn session_created(&self, client: ClientRef<'_>) {
        self.of_client(HookPoint::SessionCreated, client.clientid, || {
            body::session_created(client)
        });
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        let body = || body::session_subscribed(client, entry);
        self.of_filter(HookPoint::SessionSubscribed, client.clientid, entry, body);
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        let body = || body::session_unsubscribed(client, entry);
        self.of_filter(HookPoint::SessionUnsubscribed, client.clientid, entry, body);
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.of_client(HookPoint::SessionTerminated, client.clientid, || {
            body::session_terminated(client, reason)
        });
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if !message.topic.starts_with("$SYS/") {
            let clientid = message.from.map_or("", |from| from.clientid);
            self.of_message(HookPoint::MessagePublish, clientid, message, |encoding| {
                body::message_publish(message, encoding)
            });
        }
        Verdict::Pass
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        let body = |encoding| body::message_delivered(client, message, encoding);
        self.of_message(HookPoint::MessageDelivered, client.clientid, message, body);
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        let body = |encoding| body::message_acked(client, message, encoding);
        self.of_message(HookPoint::MessageAcked, client.clientid, message, body);
    }
}

#[cfg(test)]
mod tests;
