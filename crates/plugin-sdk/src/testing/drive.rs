//! What a test asks of the plugin: the broker's side of each call.

use super::FakeBroker;
use crate::{
    Access, AclAnswer, AuthAnswer, Call, Client, ClientRef, Exchange, Flow, HookPoint, Hooks,
    HttpRequest, HttpResponse, Message, Publish, Reply, TopicEntry, Verdict,
};
use std::sync::Arc;

impl FakeBroker {
    /// Asks the authentication chain; `Ignore` when nobody decides.
    pub fn auth(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        let chain = self.fake.state().registered.auth.clone();
        let client = Arc::new(client.clone());
        for (_, provider) in chain {
            let answer = provider.check(Arc::clone(&client), password.map(<[u8]>::to_vec));
            match self.runtime.block_on(answer) {
                AuthAnswer::Ignore => {}
                decided => return decided,
            }
        }
        AuthAnswer::Ignore
    }

    /// Asks the ACL chain; `Ignore` when nobody decides.
    pub fn acl(&self, client: &Client, access: Access, topic: &str) -> AclAnswer {
        let chain = self.fake.state().registered.acl.clone();
        let client = Arc::new(client.clone());
        for (_, provider) in chain {
            let answer = provider.check(Arc::clone(&client), access, topic.to_string());
            match self.runtime.block_on(answer) {
                AclAnswer::Ignore => {}
                decided => return decided,
            }
        }
        AclAnswer::Ignore
    }

    /// As [`FakeBroker::auth`], with the story that `emqttd_ctl auth test` shows of who decided, or was asked last.
    pub fn explain_auth(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, String) {
        let chain = self.fake.state().registered.auth.clone();
        let client = Arc::new(client.clone());
        let mut last = (AuthAnswer::Ignore, String::new());
        for (_, provider) in chain {
            let answer = provider.explain(Arc::clone(&client), password.map(<[u8]>::to_vec));
            last = self.runtime.block_on(answer);
            if last.0 != AuthAnswer::Ignore {
                break;
            }
        }
        last
    }

    /// Somebody has changed rights (`emqttd_ctl acl cache clean`).
    pub fn acl_cache_clean(&self) {
        let chain = self.fake.state().registered.acl.clone();
        for (_, provider) in chain {
            provider.forget();
        }
    }

    /// Begins an enhanced authentication; `None` = there is no such method.
    pub fn exchange(&self, method: &str, client: &Client) -> Option<Box<dyn Exchange>> {
        let mechanisms = self.fake.state().registered.mechanisms.clone();
        let found = mechanisms.iter().find(|found| found.method() == method)?;
        Some(found.begin(client))
    }

    /// Those that want a hook point, in the order in which they run.
    fn hooked(&self, point: HookPoint) -> Vec<Arc<dyn Hooks>> {
        let state = self.fake.state();
        let all = state.registered.hooks.iter();
        all.filter(|(_, hooks)| hooks.points() & point as u32 != 0)
            .map(|(_, hooks)| Arc::clone(hooks))
            .collect()
    }

    /// Runs [`Hooks::client_connected`].
    pub fn client_connected(&self, client: &Client, connack: u8) {
        for hooks in self.hooked(HookPoint::ClientConnected) {
            hooks.client_connected(client, connack);
        }
    }

    /// Runs [`Hooks::client_disconnected`].
    pub fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        for hooks in self.hooked(HookPoint::ClientDisconnected) {
            hooks.client_disconnected(client, reason, code);
        }
    }

    /// Runs [`Hooks::client_subscribe`]: the table that the session would see; `None` = stopped.
    pub fn client_subscribe(
        &self,
        client: ClientRef<'_>,
        mut table: Vec<TopicEntry>,
    ) -> Option<Vec<TopicEntry>> {
        for hooks in self.hooked(HookPoint::ClientSubscribe) {
            if hooks.client_subscribe(client, &mut table) == Flow::Stop {
                return None;
            }
        }
        Some(table)
    }

    /// Runs [`Hooks::client_unsubscribe`], as [`FakeBroker::client_subscribe`].
    pub fn client_unsubscribe(
        &self,
        client: ClientRef<'_>,
        mut table: Vec<TopicEntry>,
    ) -> Option<Vec<TopicEntry>> {
        for hooks in self.hooked(HookPoint::ClientUnsubscribe) {
            if hooks.client_unsubscribe(client, &mut table) == Flow::Stop {
                return None;
            }
        }
        Some(table)
    }

    /// Runs [`Hooks::session_created`].
    pub fn session_created(&self, client: ClientRef<'_>) {
        for hooks in self.hooked(HookPoint::SessionCreated) {
            hooks.session_created(client);
        }
    }

    /// Runs [`Hooks::session_subscribed`].
    pub fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        for hooks in self.hooked(HookPoint::SessionSubscribed) {
            hooks.session_subscribed(client, entry);
        }
    }

    /// Runs [`Hooks::session_unsubscribed`].
    pub fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        for hooks in self.hooked(HookPoint::SessionUnsubscribed) {
            hooks.session_unsubscribed(client, entry);
        }
    }

    /// Runs [`Hooks::session_terminated`].
    pub fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        for hooks in self.hooked(HookPoint::SessionTerminated) {
            hooks.session_terminated(client, reason);
        }
    }

    /// Runs [`Hooks::message_publish`]: the message as it would pass; `None` = dropped.
    pub fn message_publish(&self, message: &Message<'_>) -> Option<Publish> {
        let mut passing = Publish {
            from: message.from.map(|client| client.clientid.to_string()),
            topic: message.topic.into(),
            payload: message.payload.into(),
            qos: message.qos,
            retain: message.retain,
        };
        for hooks in self.hooked(HookPoint::MessagePublish) {
            let seen = Message {
                topic: &passing.topic,
                payload: &passing.payload,
                qos: passing.qos,
                retain: passing.retain,
                ..*message
            };
            match hooks.message_publish(&seen) {
                Verdict::Pass => {}
                Verdict::Drop => return None,
                Verdict::Change(change) => {
                    passing.topic = change.topic.unwrap_or(passing.topic);
                    passing.payload = change.payload.unwrap_or(passing.payload);
                    passing.qos = change.qos.unwrap_or(passing.qos);
                    passing.retain = change.retain.unwrap_or(passing.retain);
                }
            }
        }
        Some(passing)
    }

    /// Runs [`Hooks::message_delivered`].
    pub fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        for hooks in self.hooked(HookPoint::MessageDelivered) {
            hooks.message_delivered(client, message);
        }
    }

    /// Runs [`Hooks::message_acked`].
    pub fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        for hooks in self.hooked(HookPoint::MessageAcked) {
            hooks.message_acked(client, message);
        }
    }

    /// Runs [`Hooks::message_dropped`].
    pub fn message_dropped(&self, message: &Message<'_>, reason: &str) {
        for hooks in self.hooked(HookPoint::MessageDropped) {
            hooks.message_dropped(message, reason);
        }
    }

    /// Runs a command, its name first; `None` = there is no such command.
    pub fn command(&self, words: &[&str]) -> Option<Reply> {
        self.command_with(words, None)
    }

    /// As [`FakeBroker::command`], with standard input.
    pub fn command_with(&self, words: &[&str], stdin: Option<&str>) -> Option<Reply> {
        let (name, args) = words.split_first()?;
        let handler = {
            let state = self.fake.state();
            let mut commands = state.registered.commands.iter();
            Arc::clone(&commands.find(|command| command.name == *name)?.handler)
        };
        Some(handler(Call { args, stdin }))
    }

    /// The usage rows of a command; `None` = there is no such command.
    pub fn usage(&self, name: &str) -> Option<Vec<(String, String)>> {
        let state = self.fake.state();
        let mut commands = state.registered.commands.iter();
        let found = commands.find(|command| command.name == name)?;
        Some(found.usage.clone())
    }

    /// Sends a request to the plugin's routes; `None` = it has none.
    pub fn http(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let handler = self.fake.state().registered.http.clone()?;
        Some(handler(request))
    }
}
