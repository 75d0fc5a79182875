//! Callbacks at all hook points: each prints a line and lets things take their course.
//!
//! They run on the event loops of the broker and must not block. `points` names those that are wanted; the
//! others need not be written down, and cost nothing.

use crate::say;
use crate::settings::Settings;
use emqttd_plugin_sdk::{
    Client, ClientRef, Context, Flow, HookPoint, Hooks, Message, Metric, TopicEntry, Verdict,
};
use std::sync::Arc;

pub struct DemoHooks {
    settings: Arc<Settings>,
    /// messages seen, in `emqttd_ctl plugins show`
    messages: Metric,
}

impl DemoHooks {
    pub fn new(ctx: &Context, settings: &Arc<Settings>) -> DemoHooks {
        DemoHooks {
            settings: Arc::clone(settings),
            messages: ctx.metric("messages"),
        }
    }
}

/// `say!` prints when the key `say` is on.
macro_rules! say {
    ($hooks:expr, $($text:tt)+) => {
        if $hooks.settings.say() {
            say(format_args!($($text)+));
        }
    };
}

impl Hooks for DemoHooks {
    fn points(&self) -> u32 {
        HookPoint::ALL
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        say!(
            self,
            "client {} connected, connack: {connack}",
            client.clientid
        );
    }

    fn client_disconnected(&self, client: &Client, reason: &str, _code: Option<u8>) {
        say!(
            self,
            "client {} disconnected, reason: {reason}",
            client.clientid
        );
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        let (id, user) = (client.clientid, user(client));
        say!(self, "client({user}/{id}) will subscribe: {}", list(table));
        Flow::Next
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        let (id, user) = (client.clientid, user(client));
        say!(self, "client({id}/{user}) unsubscribe {}", list(table));
        Flow::Next
    }

    fn session_created(&self, client: ClientRef<'_>) {
        say!(
            self,
            "session({}/{}) created.",
            client.clientid,
            user(client)
        );
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        let (id, user) = (client.clientid, user(client));
        say!(self, "session({user}/{id}) subscribed: {}", term(entry));
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        let (id, user) = (client.clientid, user(client));
        say!(self, "session({user}/{id}) unsubscribed: {}", term(entry));
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        let (id, user) = (client.clientid, user(client));
        say!(self, "session({id}/{user}) terminated: {reason}.");
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if !message.topic.starts_with("$SYS/") {
            self.messages.inc();
            say!(self, "publish {}", text(message));
        }
        Verdict::Pass
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        if !message.topic.starts_with("$SYS/") {
            let (id, user) = (client.clientid, user(client));
            say!(self, "delivered to client({user}/{id}): {}", text(message));
        }
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        let (id, user) = (client.clientid, user(client));
        say!(self, "client({user}/{id}) acked: {}", text(message));
    }

    fn message_dropped(&self, message: &Message<'_>, reason: &str) {
        if !message.topic.starts_with("$SYS/") {
            say!(self, "dropped, {reason}: {}", text(message));
        }
    }
}

fn user<'a>(client: ClientRef<'a>) -> &'a str {
    client.username.unwrap_or("undefined")
}

/// A message as EMQ prints it.
fn text(message: &Message<'_>) -> String {
    let (id, user) = match message.from {
        Some(client) => (client.clientid, user(client)),
        None => ("broker", "undefined"),
    };
    format!(
        "Message(Q{}, R{}, From={id}/{user}, Topic={})",
        message.qos as u8,
        u8::from(message.retain),
        message.topic
    )
}

/// An entry of a topic table as EMQ prints it.
fn term(entry: &TopicEntry) -> String {
    let mut options = vec![format!("{{qos,{}}}", entry.qos as u8)];
    if let Some(group) = &entry.share {
        options.push(format!("{{share,{group:?}}}"));
    }
    if entry.local {
        options.push("local".into());
    }
    format!("{{{:?},[{}]}}", entry.topic, options.join(","))
}

fn list(table: &[TopicEntry]) -> String {
    let terms: Vec<String> = table.iter().map(term).collect();
    format!("[{}]", terms.join(","))
}
