//! What the broker calls.

use crate::Doing;
use emqttd_plugin_sdk::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthMechanism, AuthProvider, Change, Client,
    ClientRef, Context, Exchange, ExchangeStep, Flow, HookPoint, Hooks, HttpResponse, Message,
    Reloadable, TopicEntry, Verdict, tokio,
};
use std::sync::Arc;
use std::time::Duration;

pub fn register(ctx: &Context, doing: &Arc<Doing>) {
    if ctx.config().switch("emq_plugin_fixture.guard") == Some(true) {
        ctx.auth(0, Guard(Arc::clone(doing)));
        ctx.acl(0, Guard(Arc::clone(doing)));
    }
    ctx.mechanism(Mechanism(Arc::clone(doing)));
    ctx.hooks(0, Callbacks(Arc::clone(doing)));
    let of_http = Arc::clone(doing);
    ctx.http(move |request| {
        of_http.act("http");
        HttpResponse {
            status: 200,
            content_type: "text/plain".into(),
            body: format!(
                "{} {}: {} bytes",
                request.method,
                request.path,
                request.body.len()
            )
            .into(),
        }
    });
    let of_reload = Arc::clone(doing);
    let what = Reloadable {
        name: "fixture_part".into(),
        files: vec!["fixture_part.txt".into()],
    };
    ctx.reloadable(what, move || {
        of_reload.act("reload");
        match of_reload.is("reload", "fail") {
            true => Err("as told".into()),
            false => Ok(()),
        }
    });
    if doing.at == "task" {
        let of_task = Arc::clone(doing);
        ctx.spawn(async move { of_task.act("task") });
    }
}

/// Lets everybody in, and refuses topics that begin with "no" and what it was told to refuse.
struct Guard(Arc<Doing>);

impl Guard {
    /// Waits, if it is told to.
    async fn wait(&self, at: &str) {
        self.0.act(at);
        if self.0.is(at, "late") {
            tokio::time::sleep(self.0.time).await;
        }
        if self.0.is(at, "never") {
            std::future::pending::<()>().await;
        }
        if self.0.is(at, "late panic") {
            tokio::time::sleep(Duration::from_millis(5)).await;
            panic!("as told, late");
        }
    }
}

impl AuthProvider for Guard {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        self.wait("auth").await;
        match (client.username.as_deref(), password) {
            (Some("root"), Some(b"secret")) => AuthAnswer::Allow { superuser: true },
            (Some("root"), _) => AuthAnswer::Deny,
            (Some("unknown"), _) => AuthAnswer::Unavailable,
            _ => AuthAnswer::Ignore,
        }
    }
}

impl AclProvider for Guard {
    async fn check(&self, _: &Client, access: Access, topic: &str) -> AclAnswer {
        self.wait("acl").await;
        let access_word = match access {
            Access::Publish => "publish",
            Access::Subscribe => "subscribe",
        };
        let denied = self.0.denied.lock().unwrap();
        match (access, topic) {
            _ if denied.contains(&format!("{access_word} {topic}")) => AclAnswer::Deny,
            (_, topic) if topic.starts_with("no") => AclAnswer::Deny,
            (Access::Subscribe, "write/#") => AclAnswer::Deny,
            _ => AclAnswer::Ignore,
        }
    }
}

/// `FIXTURE`: the client sends its name, is asked for it again, and is in when it is the same.
struct Mechanism(Arc<Doing>);

impl AuthMechanism for Mechanism {
    fn method(&self) -> &str {
        "FIXTURE"
    }

    fn begin(&self, _: &Client) -> Box<dyn Exchange> {
        self.0.act("begin");
        Box::new(Names(Arc::clone(&self.0), None))
    }
}

struct Names(Arc<Doing>, Option<Vec<u8>>);

impl Exchange for Names {
    fn step(&mut self, data: &[u8]) -> ExchangeStep {
        self.0.act("step");
        match self.1.take() {
            None => {
                self.1 = Some(data.to_vec());
                ExchangeStep::Continue(b"again".to_vec())
            }
            Some(first) if first == data => ExchangeStep::Success {
                data: b"welcome".to_vec(),
                superuser: false,
            },
            Some(_) => ExchangeStep::Fail,
        }
    }
}

struct Callbacks(Arc<Doing>);

impl Hooks for Callbacks {
    fn points(&self) -> u32 {
        HookPoint::ALL
    }

    fn client_connected(&self, _: &Client, _: u8) {
        self.0.act("client_connected");
    }

    fn client_disconnected(&self, _: &Client, _: &str, _: Option<u8>) {
        self.0.act("client_disconnected");
    }

    /// Subscribes `from` as `to`; refuses `stop`.
    fn client_subscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.0.act("client_subscribe");
        for entry in table.iter_mut().filter(|entry| entry.topic == "from") {
            entry.topic = "to".into();
        }
        match table.iter().any(|entry| entry.topic == "stop") {
            true => Flow::Stop,
            false => Flow::Next,
        }
    }

    fn client_unsubscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.0.act("client_unsubscribe");
        for entry in table.iter_mut().filter(|entry| entry.topic == "from") {
            entry.topic = "to".into();
        }
        Flow::Next
    }

    fn session_created(&self, _: ClientRef<'_>) {
        self.0.act("session_created");
    }

    fn session_subscribed(&self, _: ClientRef<'_>, _: &TopicEntry) {
        self.0.act("session_subscribed");
    }

    fn session_unsubscribed(&self, _: ClientRef<'_>, _: &TopicEntry) {
        self.0.act("session_unsubscribed");
    }

    fn session_terminated(&self, _: ClientRef<'_>, _: &str) {
        self.0.act("session_terminated");
    }

    /// Drops `drop`; changes `change/<x>` to `changed/<x>` with its payload reversed.
    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if message.topic.starts_with("$SYS/") {
            return Verdict::Pass;
        }
        self.0.act("message_publish");
        if message.topic == "drop" {
            return Verdict::Drop;
        }
        match message.topic.strip_prefix("change/") {
            Some(rest) => Verdict::Change(Change {
                topic: Some(format!("changed/{rest}")),
                payload: Some(message.payload.iter().rev().copied().collect()),
                ..Change::default()
            }),
            None => Verdict::Pass,
        }
    }

    fn message_delivered(&self, _: ClientRef<'_>, message: &Message<'_>) {
        if !message.topic.starts_with("$SYS/") {
            self.0.act("message_delivered");
        }
    }

    fn message_acked(&self, _: ClientRef<'_>, _: &Message<'_>) {
        self.0.act("message_acked");
    }

    fn message_dropped(&self, message: &Message<'_>, _: &str) {
        if !message.topic.starts_with("$SYS/") {
            self.0.act("message_dropped");
        }
    }
}
