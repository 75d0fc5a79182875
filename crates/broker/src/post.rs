//! What plugins ask of a running broker: done soon, waited for by nobody, so that a hook may ask it on an
//! event loop. Operations whose outcome matters to the caller are in `admin.rs`.

use crate::admin::Broker;
use crate::alarm::Severity;
use crate::conn::{ConnId, NONE};
use crate::info::AdminError;
use crate::passing::internal_sender;
use crate::shard::{Mail, Shard};
use emqttd_mqtt::ReasonCode;
use emqttd_plugin_sdk::{ClientRef, Publish, TopicEntry};
use emqttd_session::{Message, MessageParts};
use std::sync::Arc;

impl Broker {
    /// Publishes a message, with hooks and retaining; no ACL. Messages of one sender keep their order.
    ///
    /// # Errors
    /// When the topic name is not valid, or the event loop has far more to do than it can.
    pub fn post_publish(&self, publish: Publish) -> Result<(), AdminError> {
        let topic = &publish.topic;
        if topic.len() > usize::from(u16::MAX) || emqttd_mqtt::topic::validate_name(topic).is_err()
        {
            return Err(AdminError::BadTopic);
        }
        let index = publish
            .from
            .as_deref()
            .map_or(0, |from| self.node.shard_of(from));
        let mailbox = &self.node.mailboxes[index];
        if mailbox.is_overfull() {
            return Err(AdminError::Unavailable("the broker is congested".into()));
        }
        let publisher = publish.from.as_deref().map(internal_sender);
        let parts = MessageParts {
            topic,
            properties: &[],
            payload: &publish.payload,
            qos: publish.qos.into(),
            retain: publish.retain,
        };
        let unix = crate::node::unix_millis();
        let message = Message::new(parts, publisher, unix, u64::MAX);
        mailbox.post(&mut vec![Mail::Own(Arc::new(message))]);
        Ok(())
    }

    /// Subscribes a connected client: `client.subscribe` runs, no ACL, no SUBACK.
    /// Not when another user has come under its client id meanwhile.
    pub fn post_subscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.post_to_user(client, |shard, id| shard.subscribe_for(id, table));
    }

    /// Takes subscriptions of a connected client away; `client.unsubscribe` runs.
    pub fn post_unsubscribe(&self, client: ClientRef<'_>, table: Vec<TopicEntry>) {
        self.post_to_user(client, |shard, id| shard.unsubscribe_for(id, table));
    }

    /// Ends a client's connection (reason `kick`).
    pub fn post_kick(&self, clientid: &str) {
        self.post_to_client(clientid, |shard, id| {
            shard.close(id, ReasonCode::ADMINISTRATIVE_ACTION, "kick");
        });
    }

    /// Sets an alarm, or clears it when there is no summary.
    pub fn post_alarm(&self, id: &str, severity: Severity, title: &str, summary: Option<&str>) {
        let (id, title, summary) = (id.to_string(), title.to_string(), summary.map(String::from));
        self.post(0, move |shard| {
            shard.set_alarm(&id, severity, &title, summary.as_deref());
        });
    }

    /// Makes every ACL decision void, and asks again about the subscriptions of connected clients.
    pub fn post_forget(&self) {
        self.node.access.forget();
        for index in 0..self.node.mailboxes.len() {
            self.post(index, Shard::recheck_all);
        }
    }

    pub(crate) fn post(&self, index: usize, f: impl FnOnce(&mut Shard) + Send + 'static) {
        self.node.mailboxes[index].post(&mut vec![Mail::Call(Box::new(f))]);
    }

    fn post_to_user(
        &self,
        client: ClientRef<'_>,
        f: impl FnOnce(&mut Shard, ConnId) + Send + 'static,
    ) {
        let username = client.username.map(str::to_string);
        self.post_to_client(client.clientid, move |shard, id| {
            let publisher = shard.conns[id as usize].peek().publisher.as_ref();
            let now = publisher.and_then(|publisher| publisher.username.as_deref());
            if now == username.as_deref() {
                f(shard, id);
            }
        });
    }

    fn post_to_client(&self, clientid: &str, f: impl FnOnce(&mut Shard, ConnId) + Send + 'static) {
        let index = self.node.shard_of(clientid);
        let clientid = clientid.to_string();
        self.post(index, move |shard| {
            let slot = shard.find_session(&clientid);
            let id = slot.map_or(NONE, |slot| shard.sessions[slot as usize].conn);
            if id != NONE {
                f(shard, id);
            }
        });
    }
}
